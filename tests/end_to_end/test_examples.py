"""The configurations of examples/: no mistake in them, with and without their variables, and a server starts with each."""

import re
from pathlib import Path

import pytest
from documents import LANGUAGES, page
from model_table import FACTS
from openai import OpenAI
from process import ROOT, Process, run

from gateway.config import load

EXAMPLES = sorted((ROOT / "examples").glob("*/config.yaml"))
NAMES = ["ci", "claude-code", "fallback", "laptop", "team"]


def text(file: Path) -> str:
    return file.read_text(encoding="utf-8")


def started(file: Path) -> str:
    """The example at any free port, with a ledger of its own beside it and a key for the tests where it has keys."""
    settings = re.sub(r"(?m)^server:\n", "server:\n  port: 0\n", text(file))
    settings = settings if "port: 0" in settings else f"server: {{port: 0}}\n{settings}"
    return re.sub(r"(?m)^keys:\n", 'keys:\n  - {name: tests, key: "sk-tests-0123456789abcdef"}\n', settings)


def test_these_are_the_examples() -> None:
    assert [file.parent.name for file in EXAMPLES] == NAMES
    for language in LANGUAGES:
        assert "../../examples" in page(language, "configuration")


@pytest.mark.parametrize("file", EXAMPLES, ids=lambda file: file.parent.name)
def test_an_example_has_no_mistake(file: Path) -> None:
    variables = {name: f"sk-{name.lower()}" for name in re.findall(r"\$\{(\w+)\}", text(file))}
    done = run("check", text=text(file), env=variables)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    assert "no mistakes" in done.stdout and "  off  " not in done.stdout
    assert "echo" in load(text(file), {}, FACTS).routes.public(("*",))


@pytest.mark.parametrize("file", EXAMPLES, ids=lambda file: file.parent.name)
def test_a_server_starts_with_an_example(file: Path) -> None:
    with Process(started(file)) as server:
        headers = {"Host": "llm.example.com"} if "llm.example.com" in text(file) else {}
        with OpenAI(base_url=server.url, api_key="sk-tests-0123456789abcdef", default_headers=headers) as sdk:
            answer = sdk.chat.completions.create(model="echo", messages=[{"role": "user", "content": "Hello!"}])
            assert answer.choices[0].message.content == "Hello!"
            if file.parent.name == "ci":
                for model in ("gpt-4o", "claude-opus-5-5", "flaky"):
                    found = sdk.chat.completions.with_raw_response.create(
                        model=model, messages=[{"role": "user", "content": "Hello!"}]
                    )
                    assert found.headers["x-modelserver-upstream"] == "echo/echo"
                assert found.headers["x-modelserver-tried"] == "echo/echo-503=overloaded"
