"""What a strict server refuses of Messages requests, and what is left out of them by what is known of a model."""

from collections.abc import Iterator
from typing import Any

import httpx2 as httpx
import pytest
from process import Process
from scripted import Upstream, answer

KEY = "sk-client-canary"
CONFIG = """
server: {{port: 0}}
strict_params: {strict}
providers:
  mine: {{protocol: openai, base_url: "{url}/v1", api_key: sk-other, host: groq}}
  openai: {{base_url: "{url}/v1", api_key: sk-openai}}
models: {{plain: mine/plain, two: [mine/plain, mine/small], small: mine/small, blind: mine/blind, gpt-4o: openai, o4-mini: openai, unknown: mine/unknown}}
keys: [{{name: laptop, key: "{key}"}}]
model_facts: {{small: {{max_output: 1000, stop: false}}, blind: {{vision: false, pdf: false}}}}
"""
DONE: Any = {"choices": [{"index": 0, "message": {"role": "assistant", "content": "ok"}, "finish_reason": "stop"}]}
HI: Any = [{"role": "user", "content": "hi"}]


@pytest.fixture(scope="module")
def upstream() -> Iterator[Upstream]:
    with Upstream() as upstream:
        yield upstream


@pytest.fixture(scope="module")
def strict(upstream: Upstream) -> Iterator[Process]:
    with Process(CONFIG.format(url=upstream.url, key=KEY, strict="true")) as process:
        yield process


def post(server: Process, upstream: Upstream, **body: Any) -> httpx.Response:
    upstream.script(body["model"], answer(DONE))
    sent = {"max_tokens": 50, "messages": HI, **body}
    return httpx.post(f"{server.root}/v1/messages", json=sent, headers={"x-api-key": KEY})


def test_what_the_client_did_not_send_is_not_refused__case_46(strict: Process, upstream: Upstream) -> None:
    got = post(strict, upstream, model="plain", metadata={"user_id": "u" * 150})
    assert (got.status_code, got.headers.get("x-modelserver-dropped")) == (200, None)
    assert {"safety_identifier", "prompt_cache_key"}.isdisjoint(upstream.of("plain")[-1].json)


def test_a_strict_server_names_it_as_the_client_does__case_56(strict: Process, upstream: Upstream) -> None:
    got = post(strict, upstream, model="plain", top_k=5, metadata={"user_id": "u"})
    assert got.status_code == 400
    assert "does not take top_k, and" in got.json()["error"]["message"]


def test_a_refusal_is_told_twice_alike__case_48(strict: Process, upstream: Upstream) -> None:
    """It is raised for each of two targets, as a copy: type, param and words are the same."""
    got = post(strict, upstream, model="two", container={"id": "c"})
    assert (got.status_code, got.json()["error"]) == (
        400,
        {"type": "invalid_request_error", "message": "container: this model cannot do what it asks for; only Claude can"},
    )
    assert upstream.of("two") == []
