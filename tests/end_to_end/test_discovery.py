"""The models of providers are read from their lists in the background; a provider that fails costs nothing and says so."""

import json
import signal
import threading
from collections.abc import Iterator
from typing import Any, Final

import httpx2 as httpx
import pytest
from http_client import until, whole
from process import Process, run
from scripted import FOREVER, Upstream, answer, head

from gateway.config import load
from providers.common.model_ids import ids
from providers.errors import UpstreamBadOutput

KEY, FEW = "sk-client-canary-all", "sk-client-canary-few"
CONFIG: Final = """
server: {{port: 0}}
keys:
  - {{name: all, key: "{key}"}}
  - {{name: few, key: "{few}", models: ["here-*", "claude/*"]}}
providers:
  ollama: {{base_url: "{url}/ollama/v1"}}
  claude: {{host: anthropic, base_url: "{url}/claude/v1", api_key: "sk-upstream-canary", models: discover}}
  google: {{host: gemini, base_url: "{url}/google/v1beta", api_key: "sk-upstream-canary", models: discover}}
  hangs: {{protocol: openai, base_url: "{url}/hangs/v1", models: discover}}
  big: {{protocol: openai, base_url: "{url}/big/v1", models: discover}}
  garbage: {{protocol: openai, base_url: "{url}/garbage/v1", models: discover}}
  other: {{protocol: openai, base_url: "{url}/other/v1", models: discover}}
  down: {{host: lmstudio, base_url: "http://127.0.0.1:1/v1"}}
  quiet: {{host: vllm, base_url: "{url}/quiet/v1", models: listed}}
  unasked: {{protocol: openai, base_url: "{url}/unasked/v1"}}
models:
  "here-*": ollama/*
  "small-*": ollama/*-mini
  "claude-*": claude
  ollama/llama3.2: ollama/llama3.2
"""
FOUND: Final = {
    "/ollama/v1/models": {"object": "list", "data": [{"id": "llama3.2"}, {"id": "qwen3:4b"}, {"id": "phi-mini"}, {"id": 1}]},
    "/claude/v1/models?limit=1000": {"data": [{"type": "model", "id": "claude-opus-5-5"}], "has_more": False},
    "/google/v1beta/models?pageSize=1000": {"models": [{"name": "models/gemini-2.5-flash"}]},
}  # fmt: skip


@pytest.fixture(scope="module")
def there() -> Iterator[Upstream]:
    with Upstream() as there:
        for path, listed in FOUND.items():
            there.script(path, answer(listed))
        there.script("/hangs/v1/models", [FOREVER])
        there.script("/big/v1/models", [head(200, {"Content-Length": str(10 * 2**20)}), *[b"[" + b" " * 2**20] * 10])
        there.script("/garbage/v1/models", answer(b"<html>\x00\xff", kind="text/html"))
        there.script("/other/v1/models", answer({"object": "list", "data": "none"}))
        yield there


@pytest.fixture(scope="module")
def server(there: Upstream) -> Iterator[Process]:
    with Process(CONFIG.format(url=there.url, key=KEY, few=FEW)) as process:
        yield process


def listed(server: Process, key: str = KEY) -> list[str]:
    got = httpx.get(f"{server.url}/models", headers={"x-api-key": key}, trust_env=False)
    return [each["id"] for each in got.json()["data"]]


def health(server: Process) -> dict[str, Any]:
    return dict(httpx.get(f"{server.root}/healthz", trust_env=False).json())


def test_what_providers_have_is_listed(server: Process, there: Upstream) -> None:
    until(lambda: len(health(server).get("undiscovered", ())) == 5, 20)
    assert sorted(listed(server)) == sorted(
        ["ollama/llama3.2", "claude/claude-opus-5-5", "claude-opus-5-5", "google/gemini-2.5-flash", "here-llama3.2",
         "ollama/qwen3:4b", "here-qwen3:4b", "ollama/phi-mini", "here-phi-mini", "small-phi"]
    )  # fmt: skip
    assert sorted(listed(server, FEW)) == ["claude/claude-opus-5-5", "here-llama3.2", "here-phi-mini", "here-qwen3:4b"]
    asked = {request.path: request.headers for request in there.requests}
    assert not {path for path in asked if path.startswith(("/quiet", "/unasked"))}
    assert asked["/claude/v1/models?limit=1000"]["x-api-key"] == "sk-upstream-canary"
    assert asked["/google/v1beta/models?pageSize=1000"]["x-goog-api-key"] == "sk-upstream-canary"
    there.script("phi-mini", answer(whole("Hi")))
    body = {"model": "small-phi", "messages": [{"role": "user", "content": "Hello"}]}
    got = httpx.post(f"{server.url}/chat/completions", json=body, headers={"x-api-key": KEY}, trust_env=False)
    assert got.headers["x-modelserver-upstream"] == "ollama/phi-mini"
    card = httpx.get(f"{server.url}/models/small-phi", headers={"x-api-key": KEY}, trust_env=False).json()
    assert (card["id"], card["owned_by"]) == ("small-phi", "ollama")


def test_a_list_that_cannot_be_read_is_told_of(server: Process) -> None:
    until(lambda: len(health(server).get("undiscovered", ())) == 5, 20)
    assert health(server)["undiscovered"] == {
        "hangs": "upstream_timeout",
        "big": "upstream_too_large",
        "garbage": "upstream_bad_json",
        "other": "upstream_bad_output",
        "down": "upstream_connect",
    }
    assert health(server)["status"] == "ok"


def test_a_reload_reads_them_again(server: Process, there: Upstream) -> None:
    """Until it has, what was found at the same addresses stays listed."""
    until(lambda: "ollama/qwen3:4b" in listed(server), 20)
    seen = threading.Event()
    there.script("/ollama/v1/models", [seen, *answer({"object": "list", "data": [{"id": "new"}]})])
    server.config.write_text(server.config.read_text().replace('"here-*": ollama/*', '"there-*": ollama/*'))
    server.send(signal.SIGHUP)
    until(lambda: "here-qwen3:4b" not in (found := listed(server)) and "there-qwen3:4b" in found)
    seen.set()
    until(lambda: "there-new" in listed(server), 20)
    assert "ollama/qwen3:4b" not in listed(server)


@pytest.mark.parametrize(
    "given, expected",
    [
        ([{"id": "a"}, {"id": "a"}, {"name": "models/b"}, {"model": "c"}, {"id": "x" * 201}, {"id": "\n"}, 5], ["a", "b", "c"]),
        ({"object": "list", "data": None}, []),
        ({"data": [{"id": f"m{i}"} for i in range(3000)]}, [f"m{i}" for i in range(2000)]),
        ({"error": "x"}, None),
        ("x", None),
    ],
    ids=["shapes", "null", "many", "error", "text"],
)  # fmt: skip
def test_lists(given: Any, expected: list[str] | None) -> None:
    if expected is None:
        with pytest.raises(UpstreamBadOutput):
            ids(given)
    else:
        assert ids(given) == expected


def test_who_is_asked() -> None:
    text = json.dumps({"providers": {
        "ollama": {}, "vllm": {"models": "listed"}, "echo": {}, "mine": {"host": "lmstudio"},
        "plain": {"protocol": "openai", "base_url": "https://x.example.com/v1"},
    }})  # fmt: skip
    assert load(text, {}, "families: {}\nmodels: {}").discovers == {"ollama", "mine"}


def test_who_has_no_list() -> None:
    for provider in (
        "echo: {models: discover}",
        'azure: {base_url: "https://x.example.com", api_key: k-12345678, models: discover}',
    ):
        done = run("check", text=f"providers:\n  {provider}\n")
        assert done.returncode == 2 and "no list of models to discover" in done.stdout + done.stderr
