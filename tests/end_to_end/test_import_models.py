"""`modelserver.py import openrouter`, `import ollama`: the host is asked for its models, and a configuration with them is printed."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from process import config, run
from scripted import Upstream, answer, head

OPENROUTER = {"data": [{"id": "openai/gpt-5.5", "name": "OpenAI: GPT-5.5", "context_length": 400000, "pricing": {"prompt": "0.00000125"}},
                       {"id": "anthropic/claude-opus-5.5:beta"}, {"id": "odd/*"}, {"id": "qwen/qwen3.8-27b:free"}]}  # fmt: skip
OLLAMA = {"object": "list", "data": [{"id": "llama3.2:latest", "object": "model"}, {"id": "qwen3:4b", "object": "model"}]}


@pytest.fixture(scope="module")
def there() -> Iterator[Upstream]:
    with Upstream() as there:
        there.script("/openrouter/models", answer(OPENROUTER))
        there.script("/ollama/v1/models", answer(OLLAMA))
        there.script("/empty/models", answer({"object": "list", "data": None}))
        there.script("/refused/models", answer({"error": {"message": "Incorrect API key provided: sk-or-canary-1"}}, 401))
        there.script("/garbage/models", answer(b"<html>", kind="text/html"))
        there.script("/large/models", [head(200, {"Content-Length": str(10 * 2**20)}), *[b"[" + b" " * 2**20] * 10])
        yield there


def imported(name: str, base_url: str, key: str = "", **variables: str) -> Any:
    given = json.dumps({"base_url": base_url, **({"api_key": key} if key else {})})
    return run("import", name, text=config(providers=f"{name}: {given}"), env=variables)


def test_openrouter(there: Upstream) -> None:
    done = imported("openrouter", f"{there.url}/openrouter", "${OPENROUTER_API_KEY}", OPENROUTER_API_KEY="sk-or-canary-1")
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
        "# - prices: a list of models is not where they are taken from. Run `python modelserver.py models update`, which knows those "
        "of most hosts: without a price a key with a budget may not use a model.",
    ]
    assert done.stderr.startswith("3 models and 1 providers; 1 things were not carried over")
    assert there.requests[-1].headers["authorization"] == "Bearer sk-or-canary-1"
    assert run("check", text=done.stdout, env={"OPENROUTER_API_KEY": "sk-or-canary-1"}).returncode == 0


def test_ollama(there: Upstream) -> None:
    done = imported("ollama", f"{there.url}/ollama/v1")
    assert (done.returncode, yaml.safe_load(done.stdout)) == (
        0,
        {
            "providers": {"ollama": {"base_url": f"{there.url}/ollama/v1"}},
            "models": {"llama3.2:latest": "ollama/llama3.2:latest", "qwen3:4b": "ollama/qwen3:4b"},
        },
    )
    assert "authorization" not in there.requests[-1].headers
    assert run("check", text=done.stdout).returncode == 0


@pytest.mark.parametrize(
    ("path", "key", "says"),
    [
        ("/empty", "", "{url}/empty lists no models"),
        ("/refused", "sk-or-canary-1", "{url}/refused: The upstream refused this server's key: set OPENROUTER_API_KEY, and try again"),
        ("/garbage", "", "{url}/garbage: "),
        ("/large", "", "{url}/large: The upstream's answer is larger than 4194304 bytes"),
        ("/gone", "", "{url}/gone: "),
    ],
)
def test_a_list_that_cannot_be_read(there: Upstream, path: str, key: str, says: str) -> None:
    there.script("/gone/models", answer({"error": {"message": "Not found"}}, 404))
    done = imported("openrouter", f"{there.url}{path}", key or "sk-or-canary-2")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"modelserver: {says.format(url=there.url)}"), done.stderr
    assert "canary" not in done.stderr


def test_a_host_that_does_not_run() -> None:
    done = imported("ollama", "http://127.0.0.1:1/v1")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        "modelserver: http://127.0.0.1:1/v1: The upstream cannot be reached: is it running, and is its base_url right? "
        "`python modelserver.py doctor` tries each host\n"
    )


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("litellm",), "name the file to read: import litellm FILE"),
        (("frobnicate",), "there is no provider 'frobnicate' whose models could be listed: name one of config.yaml that is on"),
        (("azure",), "there is no provider 'azure' whose models could be listed: "),
        (("frobnicate", "x.yaml"), "there is no program 'frobnicate' whose file could be read: name one of litellm, one-api, new-api"),
        (("ollama", "x.yaml"), "there is no program 'ollama' whose file could be read: "),
    ],
)
def test_what_cannot_be_imported(words: tuple[str, ...], says: str) -> None:
    done = run("import", *words, text=config())
    assert (done.returncode, done.stdout) == (2, "") and done.stderr.startswith(f"modelserver: {says}")
