"""Recorded answers of /v1/responses, passed on by the real process: what comes out is what came in. Case 76."""

import importlib.util
import json
from collections.abc import Iterator
from typing import Any

import corpus
import httpx2 as httpx
import pytest
from process import Process
from scripted import Upstream, answer, stream

pytestmark = [
    corpus.needed,
    pytest.mark.skipif(importlib.util.find_spec("providers.frames") is None, reason="no raw events in this version"),
]
CONFIG = """
server: {{port: 0}}
providers:
  openai: {{base_url: "{url}/v1", api_key: "sk-upstream-canary"}}
  openrouter: {{base_url: "{url}/v1", api_key: "sk-upstream-canary", responses: native}}
"""
RECORDED = {corpus.short(each): each for name in ("openai-responses", "compat-responses") for each in corpus.wire(name)}
ENDS = ("response.completed", "response.incomplete", "response.failed")


@pytest.fixture(scope="module")
def gateway(upstream: Upstream) -> Iterator[Process]:
    with Process(CONFIG.format(url=upstream.url)) as process:
        yield process


def data_of(body: bytes) -> list[Any]:
    """What the events of a stream say, whatever stands around it."""
    lines = body.decode("utf-8", "surrogateescape").replace("\r\n", "\n").split("\n")
    return [line.removeprefix("data:").strip() for line in lines if line.startswith("data:")]


def says_an_end(body: bytes) -> bool:
    return any(f'"{end}"'.encode() in body.replace(b" ", b"") for end in ENDS)


def usage_of(body: bytes, streamed: bool) -> Any:
    if not streamed:
        return json.loads(body).get("usage")
    ends = [json.loads(each) for each in data_of(body) if any(f'"{end}"' in each for end in ENDS)]
    return ends[-1]["response"].get("usage")


@pytest.mark.parametrize("name", RECORDED)
@pytest.mark.case(responses=76)
def test_a_recorded_answer_passes(gateway: Process, upstream: Upstream, http: httpx.Client, name: str):
    exchange = RECORDED[name]
    body, streamed = corpus.body_of(exchange), bool(exchange["response"]["stream"])
    script = f"recorded-{name}"
    for cut in (None, 1000):
        upstream.script(script, stream(body, cut) if streamed else answer(body, cut=cut))
        provider = "openrouter" if "openrouter" in name else "openai"
        asked = {"model": f"{provider}/{script}", "input": "Hi", "stream": streamed}
        found = http.post(f"{gateway.url}/responses", json=asked)
        if streamed and not says_an_end(body):
            continue  # it broke off when it was recorded
        if found.status_code != 200:  # it failed before it had said anything
            assert b'"error"' in body
            continue
        if not streamed or b"event:" in body[:200]:
            assert found.content == body
        else:  # its events have no names of their own
            assert data_of(found.content) == data_of(body)
        told = usage_of(body, streamed)
        line = gateway.logged(model=asked["model"], request=found.headers["x-request-id"])
        if (
            told
            and told.get("input_tokens")
            and told.get("total_tokens") == told["input_tokens"] + told["output_tokens"]
        ):
            assert (line["prompt_tokens"], line["completion_tokens"]) == (told["input_tokens"], told["output_tokens"])
