"""What a strict server refuses of Messages requests, and what is left out of them by what is known of a model."""

import re
from collections.abc import Iterator
from typing import Any

import httpx2 as httpx
import pytest
from process import Process
from scripted import Upstream, answer, sse, stream

KEY = "sk-client-canary"
CONFIG = """
server: {{port: 0}}
strict_params: {strict}
providers:
  mine: {{protocol: openai, base_url: "{url}/v1", api_key: sk-other, host: groq}}
  deep: {{protocol: openai, base_url: "{url}/v1", api_key: sk-deep, host: deepseek}}
  openai: {{base_url: "{url}/v1", api_key: sk-openai}}
models:
  two: [mine/plain, mine/small]
  plain: mine/plain
  thinker: deep/thinker
  streamer: deep/streamer
  small: mine/small
  blind: mine/blind
  unknown: mine/unknown
  gpt-4o: openai
  o4-mini: openai
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


@pytest.fixture(scope="module")
def server(upstream: Upstream) -> Iterator[Process]:
    with Process(CONFIG.format(url=upstream.url, key=KEY, strict="false")) as process:
        yield process


def post(server: Process, upstream: Upstream, **body: Any) -> httpx.Response:
    upstream.script(body["model"], answer(DONE))
    sent = {"max_tokens": 50, "messages": HI, **body}
    return httpx.post(f"{server.root}/v1/messages", json=sent, headers={"x-api-key": KEY})


@pytest.mark.case(messages=46)
def test_what_the_client_did_not_send_is_not_refused(strict: Process, upstream: Upstream) -> None:
    got = post(strict, upstream, model="plain", metadata={"user_id": "u" * 150})
    assert (got.status_code, got.headers.get("x-modelserver-dropped")) == (200, None)
    assert {"safety_identifier", "prompt_cache_key"}.isdisjoint(upstream.of("plain")[-1].json)


@pytest.mark.case(messages=56)
def test_a_strict_server_names_it_as_the_client_does(strict: Process, upstream: Upstream) -> None:
    got = post(strict, upstream, model="plain", top_k=5, metadata={"user_id": "u"})
    assert got.status_code == 400
    assert "does not take top_k, and" in got.json()["error"]["message"]


@pytest.mark.case(messages=48)
def test_a_refusal_is_told_twice_alike(strict: Process, upstream: Upstream) -> None:
    """It is raised for each of two targets, as a copy: type, param and words are the same."""
    got = post(strict, upstream, model="two", container={"id": "c"})
    assert (got.status_code, got.json()["error"]) == (
        400,
        {
            "type": "invalid_request_error",
            "message": "container: this model cannot do what it asks for; only Claude can",
        },
    )
    assert upstream.of("two") == []


def dropped(got: httpx.Response) -> tuple[int, str | None]:
    return got.status_code, got.headers.get("x-modelserver-dropped")


@pytest.mark.case(messages=43)
def test_a_limit_above_the_models_is_clamped(server: Process, upstream: Upstream) -> None:
    assert dropped(post(server, upstream, model="gpt-4o", max_tokens=32_000)) == (200, "max_tokens")
    assert upstream.of("gpt-4o")[-1].json["max_completion_tokens"] == 16_384
    assert dropped(post(server, upstream, model="small", max_tokens=1000)) == (200, None)
    assert dropped(post(server, upstream, model="unknown", max_tokens=10**6)) == (200, None)
    assert upstream.of("unknown")[-1].json["max_completion_tokens"] == 10**6


@pytest.mark.parametrize("model", ["o4-mini", "small"])
@pytest.mark.case(messages=44)
def test_a_model_without_stop_sequences(server: Process, upstream: Upstream, model: str) -> None:
    assert dropped(post(server, upstream, model=model, stop_sequences=["END"])) == (200, "stop_sequences")
    assert "stop" not in upstream.of(model)[-1].json


IMAGE = {"type": "image", "source": {"type": "url", "url": "https://u.example/a.png"}}
PDF = {"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": "JVBERi0xLjQK"}}
NO_IMAGE, NO_PDF = (
    "[image omitted: this model does not read images]",
    "[document omitted: this model does not read PDFs]",
)


@pytest.mark.case(messages=34)
def test_a_model_that_reads_neither_images_nor_pdfs(server: Process, upstream: Upstream) -> None:
    """Also in a tool's result; nothing is downloaded for it."""
    use = {"type": "tool_use", "id": "toolu_1", "name": "Read", "input": {}}
    messages = [
        {"role": "user", "content": [{"type": "text", "text": "look"}, IMAGE, PDF]},
        {"role": "assistant", "content": [use]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "toolu_1", "content": [IMAGE]}]},
    ]
    assert dropped(post(server, upstream, model="blind", messages=messages)) == (
        200,
        "messages.image,messages.document",
    )
    sent = upstream.of("blind")[-1].json["messages"]
    assert [sent[0]["content"], sent[2]["content"], len(sent)] == [f"look\n{NO_IMAGE}\n{NO_PDF}", NO_IMAGE, 3]


@pytest.mark.case(messages=34)
def test_a_model_of_which_nothing_is_known_gets_both(server: Process, upstream: Upstream) -> None:
    got = post(server, upstream, model="unknown", messages=[{"role": "user", "content": [IMAGE, PDF]}])
    assert dropped(got) == (200, None)
    kinds = [part["type"] for part in upstream.of("unknown")[-1].json["messages"][0]["content"]]
    assert kinds == ["image_url", "file"]


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.case(messages=64)
def test_thinking_is_found_under_the_id_that_the_client_has(
    server: Process, upstream: Upstream, streamed: bool
) -> None:
    """The upstream's is one that Claude does not take."""
    model = "streamer" if streamed else "thinker"
    call = {"index": 0, "id": "functions.Bash:0", "type": "function", "function": {"name": "Bash", "arguments": "{}"}}
    message = {"role": "assistant", "content": None, "reasoning_content": "hm", "tool_calls": [call]}
    choice = {"index": 0, "finish_reason": "tool_calls", "delta" if streamed else "message": message}
    upstream.script(
        model, stream(sse({"choices": [choice]})) if streamed else answer({"choices": [choice]}), answer(DONE)
    )
    body: Any = {"model": model, "max_tokens": 50, "tools": [{"name": "Bash", "input_schema": {"type": "object"}}]}
    url, key = f"{server.root}/v1/messages", {"x-api-key": KEY}
    got = httpx.post(url, json={**body, "messages": HI, "stream": streamed}, headers=key)
    (ident,) = set(re.findall(r"toolu_[0-9a-f]{24}", got.text))
    use = {"role": "assistant", "content": [{"type": "tool_use", "id": ident, "name": "Bash", "input": {}}]}
    result = {"role": "user", "content": [{"type": "tool_result", "tool_use_id": ident, "content": "ok"}]}
    assert httpx.post(url, json={**body, "messages": [*HI, use, result]}, headers=key).status_code == 200
    assert upstream.of(model)[-1].json["messages"][1]["reasoning_content"] == "hm"
