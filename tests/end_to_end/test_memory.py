"""Memory: what a request held is let go with it, without waiting for the cycle collector."""

import json
import re
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx2 as httpx
import pytest
from count_garbage import GARBAGE
from http_client import metric, until
from process import Process, beside, config
from scripted import ABORT, FOREVER, Script, Upstream, answer, sse, stream

pytestmark = pytest.mark.anew

FINE = {"choices": [{"index": 0, "message": {"role": "assistant", "content": "ok"}, "finish_reason": "stop"}]}
CHUNKS = sse({"choices": [{"index": 0, "delta": {"content": "ok"}, "finish_reason": "stop"}]})
SIZE = 4 * 2**20
REQUESTS = 40
MOST = 150 * 2**10  # kB more than before: a few bodies in flight and what the C library keeps; 40 bodies are 160 MiB


def resident(pid: int) -> int:
    """kB of memory the process has now."""
    found = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert found
    return int(found[1])


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux's /proc")
@pytest.mark.parametrize(
    ("kind", "usage"),
    [("whole", ""), ("streamed", "usage: {path: usage.db}"), ("failing", "usage: {path: usage.db}")],
    ids=["whole", "streamed, with a ledger", "failing, with a ledger"],
)
def test_bodies_are_let_go(
    upstream: Upstream, scripted: Callable[..., str], http: httpx.Client, kind: str, usage: str
) -> None:
    scripts = {"whole": answer(FINE), "streamed": stream(CHUNKS), "failing": answer({"error": {"message": "no"}}, 500)}
    name = scripted(scripts[kind])
    text = json.dumps({"role": "user", "content": "x" * SIZE})
    body = f'{{"model": "up/{name}", "stream": {"true" if kind == "streamed" else "false"}, "messages": [{text}]}}'
    with Process(config(upstream, usage)) as server:
        http.post(f"{server.url}/chat/completions", content=body)
        before = resident(server.pid)
        for _ in range(REQUESTS):
            http.post(f"{server.url}/chat/completions", content=body)
        assert resident(server.pid) - before < MOST
    upstream.requests.clear()


HELLO = [{"role": "user", "content": "Hello"}]
LONG = {
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "x" * 8_000_000}, "finish_reason": "stop"}]
}
BEGUN = sse(*[{"choices": [{"index": 0, "delta": {"content": "ok"}, "finish_reason": None}]}] * 3, done=False)
ASKS: dict[str, Any] = {
    "chat/completions": {"messages": HELLO},
    "messages": {"messages": HELLO, "max_tokens": 9},
    "responses": {"input": "x"},
    "images/generations": {"prompt": "x"},
}
HALF: Script = [*stream(BEGUN, end=False), FOREVER]
# How a request ends → its script, its path, what it asks beside its model, and whether its client leaves.
ENDS: dict[str, tuple[Script, str, Any, str]] = {
    "a failure": (answer({"error": {"message": "no"}}, 500), "chat/completions", {}, ""),
    "a failure of a stream": (answer({"error": {"message": "no"}}, 400), "chat/completions", {"stream": True}, ""),
    "a stream that breaks": ([*stream(BEGUN, end=False), ABORT], "chat/completions", {"stream": True}, ""),
    "a stream that falls silent": (HALF, "chat/completions", {"stream": True}, ""),
    "a native failure": (answer({"error": {"message": "no"}}, 400), "messages", {}, ""),
    "a failure that passes": (answer({"error": {"message": "no"}}, 400), "images/generations", {}, ""),
    "an id that is not known": (answer(FINE), "responses", {"previous_response_id": "resp_x"}, ""),
    "a client that waits no longer": ([FOREVER], "chat/completions", {}, "waiting"),
    "a client that waits no longer for a stream": ([FOREVER], "chat/completions", {"stream": True}, "waiting"),
    "a client that leaves a stream": (HALF, "chat/completions", {"stream": True}, "reading"),
    "a client that leaves a stream of items": (HALF, "responses", {"stream": True}, "reading"),
    "a client that waits no longer for what passes": ([FOREVER], "images/generations", {}, "waiting"),
    "a client that leaves a long answer": (answer(LONG), "chat/completions", {}, "reading"),
    "a client that is cut off": (answer(LONG), "chat/completions", {}, "idle"),
    "a client that is cut off, natively": (answer(LONG), "images/generations", {}, "idle"),
    "what passes breaks": ([*stream(BEGUN, end=False), ABORT], "images/generations", {"stream": True}, ""),
}


def ends(http: httpx.Client, server: Process, path: str, body: bytes, how: str) -> None:
    """Send a request and see it end. how: what its client does when it leaves, or does not; "": it reads the answer."""
    if not how:
        with suppress(httpx.RemoteProtocolError):  # an answer that passes may end in the middle
            http.post(f"{server.url}/{path}", content=body)
        return
    with socket.create_connection(("127.0.0.1", server.port)) as client:
        client.sendall(
            f"POST /v1/{path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body
        )
        until(lambda: metric(server, "in_flight") == 1)
        if how == "reading":
            assert client.recv(100)
        elif how == "idle":
            until(lambda: metric(server, "in_flight") == 0)
    until(lambda: metric(server, "in_flight") == 0)


@pytest.fixture(scope="module")
def counting(upstream: Upstream) -> Iterator[Process]:
    hasty = "timeouts: {between_bytes: 0.5, write: 0.5}\nkeep_alive: {every: 0.2}"
    with Process(config(upstream, server=hasty, providers=beside(upstream)), inside=GARBAGE) as process:
        yield process


@pytest.mark.parametrize("end", ENDS)
def test_nothing_but_a_request_holds_it(
    counting: Process, scripted: Callable[..., str], http: httpx.Client, end: str
) -> None:
    """An exception knows the frames that it has passed: one of them must not know the exception."""
    script, path, more, how = ENDS[end]
    provider = "claude" if path == "messages" else "up"
    body = json.dumps({"model": f"{provider}/{scripted(script)}", **ASKS[path], **more}).encode()
    ends(http, counting, path, body, how)
    before = len(counting.out)
    counting.send(signal.SIGUSR2)
    until(lambda: "requests held by circles" in counting.out[before:])
    assert "requests held by circles: 0\n" in counting.out[before:]
