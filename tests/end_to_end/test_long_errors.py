"""Errors of upstreams that are long: clients get the beginning of their words, whichever way they came."""

import json
import threading
from collections.abc import Iterator
from typing import Any, Final

import httpx2 as httpx
import pytest
from http_client import HELLO, delta
from process import Process, beside, config
from scripted import Script, Upstream, answer, chunked, sse, stream

LONG: Final = "word " * 50_000
TOLD: Final = "word " * 799 + "word…"  # 4,000 characters and the sign that more was said
KEY: Final = "sk-ant-canary-0123456789"


@pytest.fixture(scope="module")
def server(upstream: Upstream) -> Iterator[Process]:
    with Process(config(upstream, providers=beside(upstream))) as process:
        yield process


def posted(http: httpx.Client, server: Process, path: str, model: str, **more: Any) -> httpx.Response:
    return http.post(f"{server.url}{path}", json={"model": model, "messages": HELLO, "max_tokens": 9, **more})


def events(*values: Any) -> bytes:
    return b"".join(f"event: {value['type']}\ndata: {json.dumps(value)}\n\n".encode() for value in values)


@pytest.mark.parametrize(
    "script",
    [
        answer({"error": {"message": LONG, "code": "x", "param": "p"}}, 400),
        answer([{"error": {"message": LONG, "code": "x", "param": "p"}}], 400),
        answer({"detail": [{"loc": ["body", "p"], "msg": LONG}], "code": "x"}, 400),
    ],
    ids=["object", "list", "detail"],
)
def test_an_answer(http: httpx.Client, server: Process, upstream: Upstream, script: Script) -> None:
    upstream.script("long", script)
    got = posted(http, server, "/chat/completions", "up/long")
    error = got.json()["error"]
    assert (got.status_code, error["message"], error["param"]) == (400, TOLD, "p")


def test_an_event(http: httpx.Client, server: Process, upstream: Upstream) -> None:
    upstream.script("long", stream(sse(delta("Hi"), {"error": {"message": LONG, "code": "x"}}, done=False)))
    got = posted(http, server, "/chat/completions", "up/long", stream=True)
    assert json.loads(got.text.split("data: ")[-1]) == {
        "error": {"message": TOLD, "type": "server_error", "param": None, "code": "upstream_error"}
    }


def test_a_native_answer_that_is_long_is_told_in_our_form(
    http: httpx.Client, server: Process, upstream: Upstream
) -> None:
    """A shorter one goes to the client as it came, but for secrets."""
    kind = "invalid_request_error"
    body = {"type": "error", "error": {"type": kind, "message": f"messages: {KEY} " + LONG[:15_000]}, "request_id": "r"}
    upstream.script("long", answer(body, 400), answer({**body, "error": {"type": kind, "message": LONG}}, 400))
    got = posted(http, server, "/messages", "claude/long").json()
    body["error"]["message"] = "messages: [secret] " + LONG[:15_000]
    assert got == body
    got = posted(http, server, "/messages", "claude/long").json()
    assert got["error"] == {"type": kind, "message": LONG[:999] + "…"}


@pytest.mark.parametrize("size", [15_000, 250_000])
def test_a_native_event_that_is_long_is_told_in_our_form(
    http: httpx.Client, server: Process, upstream: Upstream, size: int
) -> None:
    start = {"type": "message_start", "message": {"id": "msg_1", "usage": {"input_tokens": 1, "output_tokens": 1}}}
    begin = {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}
    text = {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Hi"}}
    error = {"type": "error", "error": {"type": "overloaded_error", "message": f"No {KEY} " + LONG[:size]}}
    begun = threading.Event()  # the client has been shown the beginning
    upstream.script("long", [*stream(events(start, begin, text), end=False), begun, *chunked(events(error))])
    got = ""
    body = {"model": "claude/long", "messages": HELLO, "max_tokens": 9, "stream": True}
    with http.stream("POST", f"{server.url}/messages", json=body) as answer:
        for piece in answer.iter_text():
            got += piece
            begun.set()
    shown, told = got.split("event: error\n")
    assert shown.count('"Hi"') == 1
    if size == 15_000:
        assert f"event: error\n{told}".encode() == events(error).replace(KEY.encode(), b"[secret]")
    else:
        words = f"No [secret] {LONG[:965]}word…"  # 1,000 characters, before the secret is taken out
        assert json.loads(told.removeprefix("data: "))["error"] == {"type": "overloaded_error", "message": words}
