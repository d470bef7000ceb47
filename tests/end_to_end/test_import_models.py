"""`modelserver.py import openrouter`, `import ollama`: the host is asked for its models, and they are printed as ours."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml
from process import config, run
from scripted import Upstream, answer, head

from gateway.config import load
from server.commands.import_file import import_from
from server.config_file import Source
from server.key_file import Refused

OPENROUTER = {"data": [{"id": "openai/gpt-5.5", "name": "OpenAI: GPT-5.5", "context_length": 400000},
                       {"id": "anthropic/claude-opus-5.5:beta"}, {"id": "odd/*"}, {"id": "qwen/qwen3.8-27b:free"}]}  # fmt: skip
OLLAMA = {
    "object": "list",
    "data": [{"id": "llama3.2:latest", "object": "model"}, {"id": "qwen3:4b", "object": "model"}],
}


@pytest.fixture(scope="module")
def there() -> Iterator[Upstream]:
    with Upstream() as there:
        there.script("/openrouter/models", answer(OPENROUTER))
        there.script("/ollama/v1/models", answer(OLLAMA))
        there.script("/empty/models", answer({"object": "list", "data": None}))
        there.script(
            "/refused/models", answer({"error": {"message": "Incorrect API key provided: sk-or-canary-1"}}, 401)
        )
        there.script("/garbage/models", answer(b"<html>", kind="text/html"))
        there.script("/large/models", [head(200, {"Content-Length": str(10 * 2**20)}), *[b"[" + b" " * 2**20] * 10])
        yield there


Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def imported(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Command:
    """`import NAME …` in this process, with this provider in the configuration: exit code, standard output and error."""

    def imported(*words: str, **provider: str) -> tuple[int, str, str]:
        file = tmp_path / "config.yaml"
        file.write_text(config(providers=f"{words[0]}: {json.dumps(provider)}" if provider else ""), encoding="utf-8")
        kind, name = (*words, "")[:2]
        try:
            code, said = import_from(kind, name, Source(file, {}), "modelserver/0"), ""
        except Refused as error:
            code, said = 2, f"modelserver: {error}\n"
        except OSError as error:
            code, said = 1, f"modelserver: {error}\n"
        out, err = capsys.readouterr()
        return code, out, err + said

    return imported


def test_openrouter(there: Upstream) -> None:
    """As a command, and what it prints is read without a mistake."""
    provider = json.dumps({"base_url": f"{there.url}/openrouter", "api_key": "${OPENROUTER_API_KEY}"})
    done = run(
        "import",
        "openrouter",
        text=config(providers=f"openrouter: {provider}"),
        env={"OPENROUTER_API_KEY": "sk-or-canary-1"},
    )
    assert done.returncode == 0
    assert yaml.safe_load(done.stdout) == {
        "providers": {"openrouter": {"api_key": "${OPENROUTER_API_KEY}", "base_url": f"{there.url}/openrouter"}},
        "models": {
            "openai/gpt-5.5": "openrouter/openai/gpt-5.5",
            "anthropic/claude-opus-5.5:beta": "openrouter/anthropic/claude-opus-5.5:beta",
            "qwen/qwen3.8-27b:free": "openrouter/qwen/qwen3.8-27b:free",
        },
    }
    assert done.stdout.splitlines()[:4] == [
        "# Made from the models that openrouter lists by `python modelserver.py import`; `check` tells what is wrong with it.",
        "#",
        "# Not carried over, or not as it was:",
        "# - prices: a list of models is not where they are taken from. Run `python modelserver.py models update`, which knows "
        "those of most hosts: without a price a key with a budget may not use a model.",
    ]
    assert done.stderr.startswith("3 models and 1 providers; 1 things were not carried over")
    assert there.requests[-1].headers["authorization"] == "Bearer sk-or-canary-1"
    assert load(done.stdout, {"OPENROUTER_API_KEY": "sk-or-canary-1"}, "families: {}\nmodels: {}\n").warnings == ()


def test_ollama(there: Upstream, imported: Command) -> None:
    code, out, _ = imported("ollama", base_url=f"{there.url}/ollama/v1")
    assert (code, yaml.safe_load(out)) == (
        0,
        {
            "providers": {"ollama": {"base_url": f"{there.url}/ollama/v1"}},
            "models": {"llama3.2:latest": "ollama/llama3.2:latest", "qwen3:4b": "ollama/qwen3:4b"},
        },
    )
    assert "authorization" not in there.requests[-1].headers
    assert load(out, {}, "families: {}\nmodels: {}\n").warnings == ()


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("/empty", "{url}/empty lists no models\n"),
        ("/refused", "{url}/refused refuses the key: set OPENROUTER_API_KEY to one it takes\n"),
        ("/garbage", "{url}/garbage: The upstream answered with a web page\n"),
        ("/large", "{url}/large: The upstream's answer is larger than 4194304 bytes"),
        ("/gone", "{url}/gone: "),
    ],
)
def test_a_list_that_cannot_be_read(there: Upstream, imported: Command, path: str, says: str) -> None:
    there.script("/gone/models", answer({"error": {"message": "Not found"}}, 404))
    code, out, err = imported("openrouter", base_url=f"{there.url}{path}", api_key="sk-or-canary-1")
    assert (code, out) == (1, "")
    assert err.startswith(f"modelserver: {says.format(url=there.url)}"), err
    assert "canary" not in err


def test_a_host_that_does_not_run(imported: Command) -> None:
    assert imported("ollama", base_url="http://127.0.0.1:1/v1") == (
        1,
        "",
        "modelserver: http://127.0.0.1:1/v1: The upstream cannot be reached: is it running, and is its base_url right? "
        "`python modelserver.py doctor` tries each host\n",
    )


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("litellm",), "name the file to read: import litellm FILE"),
        (
            ("frobnicate",),
            "there is no provider 'frobnicate' whose models could be listed: name one of config.yaml that is on",
        ),
        (("azure",), "there is no provider 'azure' whose models could be listed: "),
        (
            ("frobnicate", "x.yaml"),
            "there is no program 'frobnicate' whose file could be read: name one of litellm, one-api, new-api",
        ),
        (("ollama", "x.yaml"), "there is no program 'ollama' whose file could be read: "),
    ],
)
def test_what_cannot_be_imported(imported: Command, words: tuple[str, ...], says: str) -> None:
    code, out, err = imported(*words)
    assert (code, out) == (2, "") and err.startswith(f"modelserver: {says}")
