"""The client leaves: the upstream's socket closes within a quarter of a second. Real processes, see DESIGN.md §6 rule 4."""

import json
import socket
import struct
import time
from collections.abc import Callable, Iterator

import pytest
from process import Process, config
from scripted import FOREVER, Script, Upstream, chunked, head, sse, stream

pytestmark = pytest.mark.anew

SOON = 0.25  # seconds, from the client's close to the upstream's; the only time that a test asserts
CHUNK = sse({"choices": [{"index": 0, "delta": {"role": "assistant", "content": "Once "}}]}, done=False)

WHOLE_SILENT: Script = [FOREVER]
WHOLE_BEGUN: Script = [head(200, {"Content-Length": "1000"}), b'{"choices": [', FOREVER]
STREAM_HEAD: Script = [head(200, {"Transfer-Encoding": "chunked"}, "text/event-stream"), FOREVER]
STREAM_BEGUN: Script = [*stream(CHUNK, end=False), FOREVER]
STREAM_BUSY: Script = [
    *stream(CHUNK, end=False),
    *[step for _ in range(5000) for step in (0.002, *chunked(CHUNK, end=False))],
]


@pytest.fixture(scope="module")
def lively(upstream: Upstream) -> Iterator[Process]:
    """A server that soon fills silence with comments, and is otherwise patient."""
    with Process(config(upstream, server="keep_alive: {after: 0.2, every: 0.1}")) as process:
        yield process


def ask(server: Process, name: str, streamed: bool) -> socket.socket:
    """Send the request, and leave the connection to the test."""
    body = json.dumps({"model": f"up/{name}", "stream": streamed, "messages": [{"role": "user", "content": "x"}]})
    client = socket.create_connection(("127.0.0.1", server.port), timeout=10)
    text = f"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n{body}"
    client.sendall(text.encode())
    return client


def until(client: socket.socket, mark: bytes) -> None:
    """Read what the server sends until `mark` is there."""
    got = b""
    while mark not in got:
        piece = client.recv(65536)
        assert piece, got
        got += piece


@pytest.mark.parametrize("how", ["close", "reset", "half-close"])
@pytest.mark.parametrize(
    ("script", "streamed", "mark"),
    [
        (WHOLE_SILENT, False, b""),
        (WHOLE_BEGUN, False, b""),
        (WHOLE_SILENT, True, b""),
        (STREAM_HEAD, True, b""),
        (STREAM_BEGUN, True, b"Once "),
        (STREAM_BUSY, True, b"Once "),
        (WHOLE_SILENT, True, b": keep-alive"),
        (STREAM_HEAD, True, b": keep-alive"),
        (STREAM_BEGUN, True, b": keep-alive"),
    ],
)
@pytest.mark.fault("F32")
def test_the_client_leaves(
    lively: Process, upstream: Upstream, scripted: Callable[..., str],
    script: Script, streamed: bool, mark: bytes, how: str,
) -> None:  # fmt: skip
    name = scripted(script, prefix="left")
    client = ask(lively, name, streamed)
    request = upstream.wait(name)
    until(client, mark)
    left = time.monotonic()
    if how == "half-close":
        client.shutdown(socket.SHUT_WR)
    elif how == "reset":
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.close()
    else:
        client.close()
    noticed = request.wait_left()
    client.close()
    assert request.peer_left and noticed - left < SOON
    assert lively.logged(model=f"up/{name}")["status"] == 499
    assert sum(line.get("model") == f"up/{name}" for line in lively.lines()) == 1
    assert len(upstream.of(name)) == 1


def test_many_leave_at_once_and_the_server_goes_on(
    lively: Process, upstream: Upstream, scripted: Callable[..., str]
) -> None:
    name = scripted(STREAM_BEGUN, prefix="left")
    clients = [ask(lively, name, True) for _ in range(50)]
    for client in clients:
        until(client, b"Once ")
    for client in clients:
        client.close()
    assert all(request.wait_left() and request.peer_left for request in upstream.of(name))
    assert len(upstream.of(name)) == 50
    again = scripted(stream(CHUNK + sse({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})))
    client = ask(lively, again, True)
    until(client, b"data: [DONE]")
    client.close()
