"""What came decides, not its label: event streams, JSON and web pages under each other's names; bounds on all that comes."""

import gzip
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2 as httpx
import pytest
from http_client import Got, ask, delta, whole
from process import Process, beside, config
from scripted import ABORT, CLOSE, FOREVER, Script, Upstream, answer, chunked, head, sse, stream

Scripted = Callable[..., str]
EVENTS = sse(delta("", role="assistant"), delta("Hi"), delta(finish="stop"))
CLAUDE = [
    {"type": "message_start", "message": {"usage": {"input_tokens": 1}}},
    {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Hi"}},
    {"type": "message_delta", "delta": {"stop_reason": "end_turn"}},
    {"type": "message_stop"},
]
MESSAGE = {"type": "message", "role": "assistant", "content": [{"type": "text", "text": "Hi"}], "stop_reason": "end_turn",
           "usage": {"input_tokens": 1, "output_tokens": 2}}  # fmt: skip
GEMINI = [
    {"candidates": [{"index": 0, "content": {"parts": [{"text": "H"}]}, "finishReason": "STOP"}]},
    {"candidates": [{"index": 0, "content": {"parts": [{"text": "i"}]}, "finishReason": "STOP"}]},
]
STREAMS: dict[str, tuple[bytes, Any]] = {
    "up": (EVENTS, whole("Hi")),
    "claude": (sse(*CLAUDE, done=False), MESSAGE),
    "gemini": (sse(*GEMINI, done=False), GEMINI),
}
HASTY = """
timeouts: {first_byte: 1, between_bytes: 0.5}
max_answer: 256KiB
"""


@pytest.fixture(scope="module")
def server(upstream: Upstream) -> Iterator[Process]:
    drips = '"drips": {targets: [up/drips], first_byte: 1}'
    with Process(config(upstream, server=HASTY, models=drips, providers=beside(upstream))) as process:
        yield process


@pytest.mark.parametrize("streamed", [True, False])
@pytest.mark.parametrize("kind", ["application/json", "text/event-stream", "text/html", "application/octet-stream"])
@pytest.mark.parametrize("start", [b"", b"\xef\xbb\xbf", b"\r\n\r\n"], ids=["", "BOM", "blank lines"])
@pytest.mark.parametrize("cut", [0, 1])
@pytest.mark.parametrize("provider", STREAMS)
def test_an_answer_under_any_label(
    server: Process, upstream: Upstream, provider: str, kind: str, start: bytes, cut: int, streamed: bool
) -> None:
    """A stream, and a whole answer, to either kind of call, in every protocol."""
    events, body = STREAMS[provider]
    for data in (start + events, start + json.dumps(body).encode()):
        if cut and len(data) > 400:
            data = data[:400] + data[400:]
        script = [
            head(200, {"Transfer-Encoding": "chunked"}, kind),
            *chunked(data[:8], cut, end=False),
            *chunked(data[8:]),
        ]
        got = ask(server, f"{provider}/{upstream.script('any-label', script)}", streamed)
        assert (got.status, got.text, got.code) == (200, "Hi", None)


@pytest.mark.parametrize("kind", ["text/html", "text/event-stream", "application/json"])
def test_a_web_page_in_place_of_a_stream(server: Process, upstream: Upstream, kind: str) -> None:
    page = "\n<!DOCTYPE html><html><head><title>secret.internal</title></head><body>data: x</body></html>"
    for provider in STREAMS:
        got = ask(server, f"{provider}/{upstream.script('page', answer(page, kind=kind))}", True)
        assert (got.status, got.code) == (502, "upstream_protocol")
        assert got.error and got.error["message"] == "The upstream answered with a web page."


GONE = {"error": {"message": "no such model", "type": "invalid_request_error", "code": "model_not_found"}}
SLOW = b'{"error": {"message": "slow", "type": "rate_limit_error"}}'


@pytest.mark.parametrize(
    ("script", "status", "code", "words"),
    [
        (answer(sse(GONE, done=False), 404, kind="text/event-stream"), 404, "model_not_found", "no such model"),
        (answer(b"event: error\n" + sse(GONE), 404, kind="application/json"), 404, "model_not_found", "no such model"),
        (answer(b"\xef\xbb\xbf" + json.dumps(GONE).encode(), 404), 404, "model_not_found", "no such model"),
        (answer(gzip.compress(SLOW), 429, {"Content-Encoding": "gzip"}), 429, "rate_limit_exceeded", "slow"),
        ([head(429, {"Content-Length": "500"}), SLOW, CLOSE], 429, "rate_limit_exceeded", "slow"),
        ([head(429, {"Transfer-Encoding": "chunked"}), *chunked(SLOW, end=False), ABORT], 429, "rate_limit_exceeded", None),
        ([head(429, {"Content-Length": "500"}), SLOW, FOREVER], 429, "rate_limit_exceeded", "slow"),
        ([head(429, {"Content-Length": "500"}), *[b" ", 0.2] * 50], 429, "rate_limit_exceeded", None),
        (answer(b"x" * 400_000, 429), 429, "rate_limit_exceeded", None),
    ],
)  # fmt: skip
def test_error_bodies(
    server: Process, scripted: Scripted, script: Script, status: int, code: str, words: str | None
) -> None:
    """The status is the failure, however its body came, or did not come; words: what the client is told."""
    got = ask(server, f"up/{scripted(script)}", True)
    assert (got.status, got.code) == (status, code)
    assert words is None or (got.error and got.error["message"] == words)


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("inf", None),
        ("Infinity", None),
        ("1e400", None),
        ("1e300", None),
        ("nan", None),
        ("-5", None),
        ("1_000", None),
        ("٧", None),
        ("9" * 30, None),
        ("86401", None),
        ("Fri, 31 Dec 9999 23:59:59 GMT", None),
        ("Fri, 31 Dec 99999 23:59:59 GMT", None),
        ("Sun, 06 Nov 1994 08:49:37 GMT", "1"),
        ("86400", "86400"),
        (" 7 ", "7"),
    ],
)
def test_retry_after(server: Process, scripted: Scripted, header: str, expected: str | None) -> None:
    for streamed in (False, True):
        got = ask(server, f"up/{scripted(answer(SLOW, 429, {'Retry-After': header}))}", streamed)
        assert (got.status, got.code, got.headers.get("Retry-After")) == (429, "rate_limit_exceeded", expected)


@pytest.mark.parametrize(
    ("delay", "expected"), [("86400s", "86400"), ("86401s", None), ("999999999s", None), ("12.2s", "13")]
)
def test_retry_delay(server: Process, scripted: Scripted, delay: str, expected: str | None) -> None:
    wrong = {"code": 429, "status": "RESOURCE_EXHAUSTED", "message": "", "details": [{"retryDelay": delay}]}
    name = scripted(answer({"error": wrong}, 429))
    got = ask(server, f"gemini/{name}")
    assert (got.status, got.headers.get("Retry-After")) == (429, expected)


@pytest.mark.parametrize(
    ("ident", "kept"),
    [
        ("req_1", True),
        ("a" * 128, True),
        ("a" * 129, False),
        ("a" * 7000, False),
        ("req-é".encode().decode("latin-1"), False),
        ("a\x7fb", False),
        ("a\tb", False),
        ('with spaces; and=signs, "too"', True),
    ],
)
def test_request_ids_of_upstreams(server: Process, scripted: Scripted, ident: str, kept: bool) -> None:
    for field in ("x-request-id", "request-id"):
        top = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n{field}: {ident}\r\n".encode("latin-1")
        body = json.dumps(whole("Hi")).encode()
        got = ask(server, f"up/{scripted([top + b'Content-Length: %d' % len(body) + bytes(2 * [13, 10]) + body])}")
        assert (got.status, got.text) == (200, "Hi")
        assert got.headers.get("x-upstream-request-id") == (ident if kept else None)
    assert ident == "req_1" or ident not in server.out


# Bounds


def resident(server: Process) -> int:
    """The most memory it has had so far, in KiB."""
    status = Path(f"/proc/{server.pid}/status")
    if not status.exists():
        pytest.skip("no /proc here")
    return int(status.read_text().split("VmHWM:")[1].split()[0])


def lasting(piece: bytes) -> list[Any]:
    """One piece again and again: 32 MiB."""
    return [piece * (2**18 // len(piece))] * 128


def small(got: Got, code: str) -> None:
    assert (got.code, got.done, got.text) == (code, False, "")


def test_interim_answers_have_an_end(server: Process, upstream: Upstream, scripted: Scripted) -> None:
    before = resident(server)
    for streamed in (False, True):
        name = scripted([*lasting(b"HTTP/1.1 100 Continue\r\n\r\n"), FOREVER])
        small(ask(server, f"up/{name}", streamed), "upstream_protocol")
        assert upstream.of(name)[0].wait_left() and len(upstream.of(name)) == 1
    assert resident(server) - before < 16 * 1024
    sixteen = b"HTTP/1.1 102 Processing\r\n\r\n" * 16
    assert ask(server, f"up/{scripted([sixteen, *answer(whole('Hi'))])}").text == "Hi"


@pytest.mark.parametrize(
    ("model", "script", "code"),
    [
        ("up/{}", [b"HTTP/1.1 200 OK\r\nX: ", *[b"a", 0.2] * 60], "upstream_first_byte_timeout"),
        ("up/{}", [head(200, {"Transfer-Encoding": "chunked"}), b"5;", *[b"a", 0.2] * 60], "upstream_first_byte_timeout"),
        ("up/{}", [*stream(sse(delta("x"), done=False), end=False), b"5;", *[b"a", 0.2] * 60], "upstream_idle_timeout"),
    ],
    ids=["head", "chunk extension at once", "chunk extension later"],
)  # fmt: skip
@pytest.mark.parametrize("streamed", [True, False])
def test_drips(
    server: Process, upstream: Upstream, scripted: Scripted, model: str, script: Script, code: str, streamed: bool
) -> None:
    """A byte now and then is no answer: what counts is a piece of it. Twelve seconds of them are not waited for."""
    if not streamed and script[0] == head(200, {"Transfer-Encoding": "chunked"}):
        pytest.skip("a whole answer may take as long as a request may")
    name = scripted(script)
    got = ask(server, model.format(name), streamed)
    assert got.code == code and not got.done
    assert upstream.of(name)[0].wait_left() and upstream.of(name)[0].peer_left


EMPTY = sse(delta(""), done=False)
WORD = {"candidates": [{"index": 0, "content": {"parts": [{"text": "word "}]}}]}


def test_a_stream_that_never_says_anything(server: Process, upstream: Upstream, scripted: Scripted) -> None:
    before = resident(server)
    name = scripted([*stream(b"", end=False), *chunked(EMPTY * 1000, end=False) * 200, FOREVER])
    small(ask(server, f"up/{name}", True), "upstream_too_large")
    assert upstream.of(name)[0].wait_left() and resident(server) - before < 40 * 1024
    quiet = b": keep-alive\n\n" * 50_000  # more than that, of which nothing is kept
    assert ask(server, f"up/{scripted(stream(quiet + EVENTS, 2**16))}", True).text == "Hi"


def test_a_stream_that_never_ends_is_no_whole_answer(server: Process, upstream: Upstream) -> None:
    before = resident(server)
    name = upstream.script(
        "endless", [*stream(b"", end=False), *chunked(sse(WORD, done=False) * 1000, end=False) * 200]
    )
    small(ask(server, f"gemini/{name}"), "upstream_too_large")
    assert upstream.of(name)[0].wait_left() and resident(server) - before < 40 * 1024


def test_a_flood_of_events_lets_others_in(server: Process, scripted: Scripted, http: httpx.Client) -> None:
    """The loop turns after each piece, though more is waiting: a request beside the flood is answered before its end."""
    flood = chunked(sse(delta("x"), done=False) + b"data: 1\n\n" * 7000, end=False) * 60
    name = scripted([*stream(b"", end=False), *flood, *chunked(EVENTS)])
    asked = {"model": f"up/{name}", "messages": [{"role": "user", "content": "x"}], "stream": True}
    with http.stream("POST", f"{server.url}/chat/completions", json=asked) as answer:
        pieces = answer.iter_raw()
        next(pieces)
        assert http.get(f"{server.root}/healthz").status_code == 200
        assert b"".join(pieces).endswith(b"data: [DONE]\n\n")
