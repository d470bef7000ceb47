"""Acceptance cases of the Responses API that need the whole way of a request: headers, failures, a client that leaves."""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2 as httpx
import pytest
from answers import chat_text, claude_text
from process import Process
from scripted import FOREVER, Upstream, answer, sse, stream
from usage_helpers import counted, settings

from dialects import seal

Json = dict[str, Any]
HI: Json = {"role": "user", "content": "Hi"}
TOOL: Json = {"type": "function", "name": "f", "parameters": {"type": "object", "properties": {}}}
CONFIG = """
server: {{port: 0}}
providers:
  echo: {{options: {{delay: 0}}}}
  chat: {{protocol: openai, base_url: "{url}/v1", api_key: "sk-upstream-canary"}}
  other: {{protocol: openai, base_url: "{url}/v1", api_key: "sk-upstream-canary"}}
  claude: {{host: anthropic, base_url: "{url}/v1", api_key: "sk-upstream-canary"}}
models:
  echo: echo
  two: [chat/case-first, other/case-second]
{more}
"""


@pytest.fixture(scope="module")
def server(upstream: Upstream) -> Iterator[Process]:
    with Process(CONFIG.format(url=upstream.url, more="")) as process:
        yield process


@pytest.mark.case(responses=36)
def test_one_call_at_a_time(server: Process, upstream: Upstream, http: httpx.Client):
    body = {"input": "Hi", "tools": [TOOL], "parallel_tool_calls": False}
    chat, claude = upstream.script("case-36", chat_text("x")), upstream.script("claude-haiku-4-5", claude_text("x"))
    http.post(f"{server.url}/responses", json={**body, "model": f"chat/{chat}"})
    http.post(f"{server.url}/responses", json={**body, "model": f"claude/{claude}"})
    assert upstream.of(chat)[-1].json["parallel_tool_calls"] is False
    assert upstream.of(claude)[-1].json["tool_choice"] == {"type": "auto", "disable_parallel_tool_use": True}


@pytest.mark.parametrize(
    "content",
    ["msr1:garbage", seal.envelope({"by": "claude", "brand_new": 1}), "msr1:" + "A" * 2**21, "msr1:"],
    ids=["garbage", "unknown key", "2 MiB", "empty"],
)
@pytest.mark.case(responses=47)
def test_an_envelope_that_is_none_is_dropped_and_said(server: Process, http: httpx.Client, content: str):
    thought = {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": content}
    reply = {"role": "assistant", "content": "x"}
    found = http.post(f"{server.url}/responses", json={"model": "echo", "input": [HI, thought, reply, HI]})
    assert (found.status_code, found.headers["x-modelserver-dropped"]) == (200, "input.reasoning")


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
@pytest.mark.case(responses=57)
def test_what_the_headers_tell(server: Process, upstream: Upstream, http: httpx.Client, streamed: bool):
    name = upstream.script("case-57", chat_text("x"))
    body = {"model": f"chat/{name}", "input": "Hi", "stream": streamed, "truncation": "auto"}
    found = http.post(f"{server.url}/responses", json=body, headers={"x-request-id": "req-57"})
    told = [found.headers[f"x-{each}"] for each in ("request-id", "modelserver-upstream", "modelserver-dropped")]
    assert told == ["req-57", f"chat/{name}", "truncation"]


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
@pytest.mark.case(responses=58)
def test_failures_before_the_first_word(server: Process, upstream: Upstream, http: httpx.Client, streamed: bool):
    wrong = answer({"error": {"message": "Wrong key.", "code": "invalid_api_key"}}, 401)
    busy = answer({"error": {"message": "Slow down."}}, 429, {"Retry-After": "7"})
    url = f"{server.url}/responses"
    refused = http.post(
        url, json={"model": f"chat/{upstream.script('case-401', wrong)}", "input": "Hi", "stream": streamed}
    )
    assert (refused.status_code, refused.json()["error"]["code"]) == (502, "upstream_auth_error")
    assert refused.json()["error"].keys() == {"message", "type", "param", "code"}
    slow = http.post(
        url, json={"model": f"chat/{upstream.script('case-429', busy)}", "input": "Hi", "stream": streamed}
    )
    assert (slow.status_code, slow.headers["retry-after"]) == (429, "7")
    upstream.script("case-first", busy)
    upstream.script("case-second", chat_text("From the other."))
    instead = http.post(url, json={"model": "two", "input": "Hi", "stream": streamed})
    assert (instead.status_code, instead.headers["x-modelserver-upstream"]) == (200, "other/case-second")


@pytest.mark.case(responses=62)
def test_a_budget_that_is_used_up(upstream: Upstream, http: httpx.Client, tmp_path: Path):
    upstream.script("priced-spent", counted(100, 100))  # costs $0.30
    key = "budget_usd: 0.4, budget_period: total"
    with Process(settings(upstream, tmp_path, [key])) as process:
        body = {"model": "up/priced-spent", "input": "Hi", "max_output_tokens": 100, "stream": False}
        for _ in range(2):
            found = http.post(f"{process.url}/responses", json=body, headers={"Authorization": "Bearer sk-canary-0"})
    assert (found.status_code, found.headers["x-should-retry"]) == (429, "false")
    assert (found.json()["error"]["code"], found.json()["error"]["param"]) == ("budget_exceeded", None)


@pytest.mark.case(responses=63)
def test_a_client_that_leaves(server: Process, upstream: Upstream, http: httpx.Client):
    half = sse({"choices": [{"index": 0, "delta": {"content": "Half"}}]}, done=False)
    name = upstream.script("case-63", [*stream(half, end=False), FOREVER])
    body = {"model": f"chat/{name}", "input": "Hi", "stream": True}
    with http.stream("POST", f"{server.url}/responses", json=body) as found:
        told = _until_delta(found.iter_lines())
        ident = told["response"]["id"]
    deadline = time.monotonic() + 10
    while upstream.open and time.monotonic() < deadline:
        time.sleep(0.01)
    assert server.logged(model=body["model"])["status"] == 499
    assert http.get(f"{server.url}/responses/{ident}").status_code == 404


def _until_delta(lines: Iterator[str]) -> Json:
    """The first event of a stream, once its first delta has come."""
    first: Json = {}
    for line in lines:
        if line.startswith("data: "):
            event = json.loads(line[6:])
            first = first or event
            if event["type"].endswith(".delta"):
                break
    return first
