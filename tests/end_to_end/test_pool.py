"""server/outbound/pool.py and wire.py on real sockets, through the real process or alone."""

import asyncio
import gzip
import ssl
import threading
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx2 as httpx
import pytest
from http_client import ask, delta
from process import Process, config
from scripted import ABORT, CLOSE, FOREVER, Script, Upstream, answer, chunked, head, sse, stream, until_close

from gateway.config_schema import Timeouts
from providers.errors import Failure, UpstreamError, UpstreamTimeout, UpstreamTruncated
from server.outbound.pool import ConnectionPool, PooledResponse
from server.outbound.response import read_all

CHUNKED = head(200, {"Transfer-Encoding": "chunked"})
FINE = b'{"choices": [{"message": {"content": "Hi"}, "finish_reason": "stop"}]}'


class Caller:
    """Upstreams, and what a POST for a model brings back."""

    def __init__(self, upstream: Upstream, **timeouts: float) -> None:
        self.upstream = upstream
        self.patience = timeouts.pop("first_byte", 5.0)
        self.http = ConnectionPool(Timeouts(**{"between_bytes": 5.0, **timeouts}), "test/1", 100, True, lambda: None)

    async def post(self, name: str, body: bytes = b"{}") -> PooledResponse:
        return await self.http.request(
            "POST", f"{self.upstream.url}/models/{name}:x?alt=sse", {"x-key": "k"}, body, self.patience
        )

    async def whole(self, name: str, limit: int = 2**20) -> bytes:
        response = await self.post(name)
        try:
            body, failure = await read_all(response, limit)
        finally:
            response.close()
        if failure is not None:
            raise failure
        return body

    async def __aenter__(self) -> "Caller":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.http.aclose()


async def test_what_is_sent(upstream: Upstream) -> None:
    upstream.script("sent", answer(b"ok", headers={"X-Request-Id": "r1"}))
    async with Caller(upstream) as caller:
        response = await caller.post("sent", b'{"a": "\xe4\xbd\xa0"}')
        assert (response.status, response.headers["x-request-id"]) == (200, "r1")
        assert await response.read() == b"ok" and await response.read() == b""
        response.close()
    [request] = upstream.of("sent")
    assert (request.method, request.path, request.body) == ("POST", "/models/sent:x?alt=sse", b'{"a": "\xe4\xbd\xa0"}')
    assert request.headers == {
        "host": f"127.0.0.1:{upstream.port}",
        "user-agent": "test/1",
        "accept-encoding": "identity",
        "accept": "*/*",
        "content-type": "application/json",
        "x-key": "k",
        "content-length": "12",
    }


async def test_headers_of_an_answer(upstream: Upstream) -> None:
    lines = (
        b"X-Twice: first \t\r\nx-TWICE: second\r\nX-Name: caf\xc3\xa9\r\nX-Empty:\r\n"
        b"X-Raw: \xff\r\nX-Folded: one\r\n\tX-Not: two\r\nContent-Length: 2\r\n"
    )
    upstream.script("lines", [b"HTTP/1.1 200 OK\r\n" + lines + b"\r\nok"])
    async with Caller(upstream) as caller:
        response = await caller.post("lines")
        headers = response.headers
        response.close()
    assert dict(headers) == {
        "x-twice": "first",
        "x-name": "café",
        "x-empty": "",
        "x-raw": "\udcff",
        "x-folded": "one\tX-Not: two",
        "content-length": "2",
    }
    assert headers.get("X-TWICE") == headers["x-Twice"] == "first" and "X-twice" in headers
    assert headers.get("x-none") is None and headers.get("x-none", "d") == "d" and "x-none" not in headers


@pytest.mark.parametrize("end", [b"\r\r\n", b"\r\r\n\r\n", b"\rX-Other: a\r\n\r\n"])
async def test_a_head_that_does_not_end_where_its_body_begins(upstream: Upstream, end: bytes) -> None:
    upstream.script("bare", [b"HTTP/1.1 200 OK\r\nX-Empty:" + end + b"X-Body: a\r\n\r\nmore", CLOSE])
    async with Caller(upstream) as caller:
        with pytest.raises(UpstreamError, match="not valid HTTP"):
            await caller.post("bare")


@pytest.mark.parametrize(
    "script",
    [
        answer(b"x" * 5000, cut=7),
        answer(b"x" * 5000),
        [CHUNKED, *chunked(b"x" * 5000, 64)],
        [b"".join(piece for piece in [CHUNKED, *chunked(b"x" * 5000, 1)] if piece)],  # type: ignore[misc]
        [b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n", b"HTTP/1.1 100 Continue\r\n\r\n", *answer(b"x" * 5000)],
        [b"HTTP/1.1 100 Continue\r\n\r\n" + b"".join(answer(b"x" * 5000))],  # type: ignore[arg-type]
    ],
)
async def test_bodies_and_reuse(upstream: Upstream, script: Script) -> None:
    """However the body comes, it is read to its end, and the connection serves the next request."""
    upstream.script("body", script)
    before = len(upstream.of("body"))
    async with Caller(upstream) as caller:
        for _ in range(3):
            assert await caller.whole("body") == b"x" * 5000
    assert len({request.connection for request in upstream.of("body")[before:]}) == 1


async def test_close_delimited_bodies(upstream: Upstream) -> None:
    upstream.script("delimited", until_close(b"x" * 5000, cut=1000))
    before = len(upstream.of("delimited"))
    async with Caller(upstream) as caller:
        for _ in range(2):
            assert await caller.whole("delimited") == b"x" * 5000
    assert len({request.connection for request in upstream.of("delimited")[before:]}) == 2


async def test_an_answer_that_is_left_unread_closes_its_connection(upstream: Upstream) -> None:
    upstream.script("unread", [head(200, {"Content-Length": "100"}), b"x", FOREVER])
    async with Caller(upstream) as caller:
        response = await caller.post("unread")
        assert await response.read() == b"x"
        response.close()
        request = upstream.of("unread")[-1]
        assert await asyncio.to_thread(request.wait_left) and request.peer_left


async def test_a_connection_that_was_closed_while_idle(upstream: Upstream) -> None:
    upstream.script("idle", [*answer(b"1"), CLOSE], answer(b"2"))
    async with Caller(upstream) as caller:
        assert await caller.whole("idle") == b"1"
        upstream.of("idle")[0].wait_left()
        assert await caller.whole("idle") == b"2"
    assert len(upstream.of("idle")) == 2


@pytest.mark.parametrize("end", [CLOSE, ABORT])
async def test_a_stale_connection_is_replaced_once(upstream: Upstream, end: str) -> None:
    """The upstream closes just as the second request comes: nothing was answered, so it is sent again, once."""
    upstream.script("stale", answer(b"1"), [end], answer(b"2"))
    upstream.script("gone", answer(b"1"), [end], [end], answer(b"never asked for"))
    before = len(upstream.of("stale"))
    async with Caller(upstream) as caller:
        assert await caller.whole("stale") == b"1"
        assert await caller.whole("stale") == b"2"
        assert len(upstream.of("stale")) - before == 3
    async with Caller(upstream) as caller:
        before = len(upstream.of("gone"))
        assert await caller.whole("gone") == b"1"
        with pytest.raises(UpstreamError):
            await caller.whole("gone")
        assert len(upstream.of("gone")) - before == 3


@pytest.mark.parametrize(
    "script",
    [
        [CLOSE],
        [ABORT],
        [b"HTTP/1.1 200 OK\r\nContent-", CLOSE],
        [b"HTTP/1.1 100 Continue\r\n\r\n", CLOSE],
    ],
)
async def test_a_first_request_is_never_repeated(upstream: Upstream, script: Script) -> None:
    upstream.script("once", script)
    before = len(upstream.of("once"))
    async with Caller(upstream) as caller:
        with pytest.raises(Failure):
            await caller.post("once")
    assert len(upstream.of("once")) - before == 1


@pytest.mark.parametrize("begun", [b"HTTP/1.1 200 OK\r\nContent-", b"HTTP/1.1 100 Continue\r\n\r\n"])
async def test_a_request_that_was_being_answered_is_never_repeated(upstream: Upstream, begun: bytes) -> None:
    upstream.script("begun", answer(b"1"), [begun, CLOSE], answer(b"a second bill"))
    before = len(upstream.of("begun"))
    async with Caller(upstream) as caller:
        assert await caller.whole("begun") == b"1"
        with pytest.raises(UpstreamError):
            await caller.whole("begun")
    assert len(upstream.of("begun")) - before == 2


@pytest.mark.parametrize(
    ("script", "kind", "code"),
    [
        ([b"HTTP/1.1 OK\r\n\r\n"], UpstreamError, "upstream_protocol"),
        ([b"ICY 200 OK\r\n\r\n"], UpstreamError, "upstream_protocol"),
        ([head(200, {"X": "a" * 20_000}), CLOSE], UpstreamError, "upstream_protocol"),
        ([head(200, {f"X{i}": "a" for i in range(2000)}), CLOSE], UpstreamError, "upstream_protocol"),
        ([b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nabcdef"], UpstreamError, "upstream_protocol"),
        ([CLOSE], UpstreamError, "upstream_error"),
        ([ABORT], UpstreamError, "upstream_error"),
        ([FOREVER], UpstreamTimeout, "upstream_first_byte_timeout"),
        ([b"HTTP/1.1 200 OK\r\nX: ", FOREVER], UpstreamTimeout, "upstream_first_byte_timeout"),
        ([head(200, {"Content-Length": "5"}), FOREVER], UpstreamTimeout, "upstream_first_byte_timeout"),
        ([head(200, {"Content-Length": "5"}), b"abc", FOREVER], UpstreamTimeout, "upstream_idle_timeout"),
        ([head(200, {"Content-Length": "5"}), b"abc", CLOSE], UpstreamTruncated, "upstream_truncated"),
        ([head(200, {"Content-Length": "5"}), b"abc", 0.05, ABORT], UpstreamTruncated, "upstream_truncated"),
        ([CHUNKED, b"5\r\nabc", CLOSE], UpstreamTruncated, "upstream_truncated"),
        ([CHUNKED, b"5\r\nabcde\r\n", CLOSE], UpstreamTruncated, "upstream_truncated"),
        ([CHUNKED, b"zz\r\n", FOREVER], UpstreamError, "upstream_protocol"),
        ([CHUNKED, b"2\r\nab\r\n", 0.05, b"zz\r\n", FOREVER], UpstreamError, "upstream_protocol"),
        (answer(b"x" * (2**20 + 1)), Failure, "upstream_too_large"),
        (answer(gzip.compress(b" " * 2**24), headers={"Content-Encoding": "gzip"}), Failure, "upstream_too_large"),
        ([CHUNKED, b"1\r\na\r\n0\r\nX: " + b"a" * 2**21, FOREVER], UpstreamError, "upstream_protocol"),
        ([CHUNKED, b"1;" + b"a" * 2**21, FOREVER], UpstreamError, "upstream_protocol"),
        ([b"HTTP/1.1 100 Continue\r\n\r\n" * 2**16, FOREVER], UpstreamError, "upstream_protocol"),
        ([b"HTTP/1.1 101 Go\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n", FOREVER], UpstreamError, "upstream_protocol"),
        (answer(b"{}", headers={"Content-Encoding": "br"}), UpstreamError, "upstream_protocol"),
        (answer(b"not gzip", headers={"Content-Encoding": "gzip"}), UpstreamError, ("upstream_truncated", "upstream_protocol")),
    ],
)  # fmt: skip
async def test_failures(upstream: Upstream, script: Script, kind: type[Failure], code: Any) -> None:
    upstream.script("failing", script)
    async with Caller(upstream, first_byte=0.3, between_bytes=0.2) as caller:
        with pytest.raises(kind) as caught:
            await caller.whole("failing")
    assert caught.value.code == code or caught.value.code in code
    assert "127.0.0.1" not in caught.value.message
    assert await asyncio.to_thread(upstream.of("failing")[-1].wait_left)


async def test_patience_starts_anew_with_each_read(upstream: Upstream) -> None:
    """The whole takes longer than between_bytes; no silence in it does. And a pooled connection may be idle for long."""
    upstream.script("steady", [head(200, {"Content-Length": "6"}), *[step for _ in range(6) for step in (b"x", 0.1)]])
    async with Caller(upstream, first_byte=0.3, between_bytes=0.3) as caller:
        assert await caller.whole("steady") == b"xxxxxx"
        upstream.script("steady", [0.2, *answer(b"x")])
        assert await caller.whole("steady") == b"x"


async def test_a_body_that_paused_the_reading_is_read_to_its_end(upstream: Upstream) -> None:
    """More than may wait is not read from the socket, until some of it has been taken."""
    size = 8 * 2**20
    upstream.script("paused", [CHUNKED, *chunked(b"x" * size, 2**16)])
    async with Caller(upstream, between_bytes=2.0) as caller:
        for _ in range(2):  # and the connection serves the next request
            response = await caller.post("paused")
            for _ in range(50):
                await asyncio.sleep(0)
            got = 0
            while piece := await response.read():
                assert len(piece) <= 2**16
                got += len(piece)
            assert got == size
            response.close()
    assert len({request.connection for request in upstream.of("paused")}) == 1


def bare(data: bytes) -> bytes:
    """Deflated without the header of zlib, as some hosts do."""
    folder = zlib.compressobj(wbits=-15)
    return folder.compress(data) + folder.flush()


@pytest.mark.parametrize(
    ("coding", "data"),
    [
        ("gzip", gzip.compress(b"x" * 2**18)),
        ("GZIP", gzip.compress(b"x" * 2**17) + gzip.compress(b"x" * 2**17)),
        ("deflate", zlib.compress(b"x" * 2**18)),
        ("deflate", bare(b"x" * 2**18)),
        ("identity", b"x" * 2**18),
    ],
)
async def test_what_is_compressed_unasked(upstream: Upstream, coding: str, data: bytes) -> None:
    upstream.script("compressed", answer(data, headers={"Content-Encoding": coding}, cut=50))
    async with Caller(upstream) as caller:
        for _ in range(2):
            response = await caller.post("compressed")
            got = []
            while piece := await response.read():
                assert len(piece) <= 2**16
                got.append(piece)
            response.close()
            assert b"".join(got) == b"x" * 2**18
    assert len({request.connection for request in upstream.of("compressed")[-2:]}) == 1


async def test_what_comes_unasked_closes_the_connection(upstream: Upstream) -> None:
    """Servers say 408 before they close an idle connection: that is no answer to the next request."""
    idle = threading.Event()
    late = [idle, b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n"]
    upstream.script("unasked", [*answer(b"1"), *late], answer(b"2"))
    async with Caller(upstream) as caller:
        assert await caller.whole("unasked") == b"1"
        idle.set()
        assert await asyncio.to_thread(upstream.of("unasked")[0].wait_left)
        assert await caller.whole("unasked") == b"2"


async def test_an_interim_answer_does_not_hurry_the_real_one(upstream: Upstream) -> None:
    """A head that has begun must be complete soon; one that has not may take its time."""
    upstream.script("early", [b"HTTP/1.1 103 Early Hints\r\n\r\n", 0.5, *answer(b"x")])
    async with Caller(upstream, first_byte=10.0, between_bytes=0.2) as caller:
        assert await caller.whole("early") == b"x"


async def test_redirects_are_not_followed(upstream: Upstream, http: httpx.Client, server: Process) -> None:
    with Upstream() as other:
        for status in (301, 302, 303, 307, 308):
            upstream.script(f"moved-{status}", answer("", status, {"Location": f"{other.url}/v1/chat/completions"}))
            for streamed in (False, True):
                ask = {
                    "model": f"up/moved-{status}",
                    "messages": [{"role": "user", "content": "x"}],
                    "stream": streamed,
                }
                got = http.post(f"{server.url}/chat/completions", json=ask)
                assert (got.status_code, got.json()["error"]["code"]) == (502, "upstream_protocol")
        assert other.connections == 0


@pytest.mark.fault("F50")
def test_a_stale_connection_does_not_show(upstream: Upstream, http: httpx.Client, server: Process) -> None:
    """It is reset once the answer has been read: a reset before that takes what the system has received with it."""
    for end in ([CLOSE], [ABORT], []):
        for _ in range(3):
            read = threading.Event()
            upstream.script("again", [*answer(FINE), read, *end] if end else answer(FINE))
            ask = {"model": "up/again", "messages": [{"role": "user", "content": "x"}]}
            got = http.post(f"{server.url}/chat/completions", json=ask)
            assert got.json()["choices"][0]["message"]["content"] == "Hi"
            read.set()
            if end:
                upstream.of("again")[-1].wait_left()
    assert len(upstream.of("again")) == 9


def test_a_certificate_nobody_signed(certificate: tuple[ssl.SSLContext, Path], http: httpx.Client) -> None:
    context, _ = certificate
    with Upstream(ssl=context) as upstream, Process(config(upstream)) as server:
        ask = {"model": "up/secret", "messages": [{"role": "user", "content": "x"}]}
        got = http.post(f"{server.url}/chat/completions", json=ask)
        assert (got.status_code, got.json()["error"]["code"]) == (502, "upstream_tls")
        assert upstream.requests == []


def test_a_bomb_does_not_go_off(upstream: Upstream, http: httpx.Client, hasty: Process) -> None:
    def peak() -> int:
        status = Path(f"/proc/{hasty.pid}/status")
        if not status.exists():
            pytest.skip("no /proc here")
        return int(status.read_text().split("VmHWM:")[1].split()[0])

    bomb = answer(gzip.compress(b" " * 300 * 2**20, 9), headers={"Content-Encoding": "gzip"})
    upstream.script("bomb", bomb)
    before = peak()
    for streamed in (False, True):
        ask = {"model": "up/bomb", "messages": [{"role": "user", "content": "x"}], "stream": streamed}
        got = http.post(f"{hasty.url}/chat/completions", json=ask)
        assert (got.status_code, got.json()["error"]["code"]) == (502, "upstream_too_large")
    assert peak() - before < 40 * 1024  # KiB


def test_the_end_of_a_body_may_come_after_the_end_of_the_answer(
    server: Process, upstream: Upstream, scripted: Callable[..., str]
) -> None:
    """Many hosts send the last chunk in a packet of its own; the connection is used again all the same."""
    said = sse(delta("Hi", finish="stop"))
    name = scripted([*stream(said, end=False), 0.2, b"0\r\n\r\n"])
    for _ in range(2):
        assert ask(server, f"up/{name}", stream=True).done
        time.sleep(0.5)  # until the body has ended
    first, second = upstream.of(name)
    assert (first.connection, first.left) == (second.connection, None)
    endless = scripted([*stream(said, end=False), FOREVER])
    assert ask(server, f"up/{endless}", stream=True).done
    assert upstream.of(endless)[0].wait_left() and upstream.of(endless)[0].peer_left  # it is not waited for long
    more = scripted([*stream(said, end=False), *stream(said, end=False)[1:], FOREVER])
    assert ask(server, f"up/{more}", stream=True).done
    assert upstream.of(more)[0].wait_left()
