"""Slowloris: clients that are slow on purpose, in their heads, their bodies and their reading, with live ones alongside.

That a connection whose head does not end is closed after 75 seconds is aiohttp's keepalive_timeout, which is not waited
for here; that connections have a bound is in test_life.py.
"""

import json
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest
from http_client import ask, delta, dial, metric, raw
from process import Process, config
from scripted import FOREVER, Upstream, chunked, sse, stream

pytestmark = pytest.mark.anew

SLOW = "timeouts: {request_body: 1, write: 1}\nkeep_alive: {every: 0.5}"
HEAD = b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"


class Drip(threading.Thread):
    """Sends one more byte on each connection, again and again, until `stop`."""

    def __init__(self, clients: list[socket.socket]) -> None:
        super().__init__()
        self._clients, self._end = clients, threading.Event()
        self.start()

    def run(self) -> None:
        while not self._end.wait(0.1):
            for client in self._clients:
                with suppress(OSError):  # the server has had enough
                    client.send(b"a")

    def stop(self) -> None:
        self._end.set()
        self.join()


def live(server: Process, count: int) -> list[str]:
    """What that many good clients hear, four at a time."""
    with ThreadPoolExecutor(4) as pool:
        return [got.text for got in pool.map(lambda n: ask(server, "echo", n % 2 == 0), range(count))]


@pytest.mark.fault("F35", "F36")
def test_the_slow_do_not_slow_the_others(upstream: Upstream) -> None:
    flood = chunked(b"".join(sse(delta("x" * 50_000), done=False) for _ in range(20)), end=False)
    upstream.script("slow-read", [*stream(b"", end=False), *flood * 20, FOREVER])
    with Process(config(upstream, server=SLOW)) as server:
        heads = [dial(server) for _ in range(150)]
        bodies = [dial(server) for _ in range(100)]
        readers = [dial(server) for _ in range(20)]
        for client in heads:
            client.sendall(HEAD + b"X-Slow: ")
        for client in bodies:
            client.sendall(HEAD + b'Content-Length: 100000\r\n\r\n{"model": "')
        for client in readers:
            client.sendall(raw("up/slow-read"))
        drip = Drip([*heads, *bodies])
        began = time.monotonic()
        assert metric(server, "connections") >= 270
        while time.monotonic() - began < 2.5:  # longer than the limits that these clients run into
            assert live(server, 8) == ["Hello"] * 8
        drip.stop()
        for client in bodies:
            said = client.recv(65536)
            assert said.startswith(b"HTTP/1.1 408 ")
            assert json.loads(said.partition(b"\r\n\r\n")[2])["error"]["code"] == "request_timeout"
        for request in upstream.of("slow-read"):
            request.wait_left()
        assert len(upstream.of("slow-read")) == 20
        for client in heads:
            client.sendall(b"\r\nContent-Length: 2\r\n\r\n{}")  # was patiently waited for, and is a request now
            assert client.recv(65536).startswith(b"HTTP/1.1 400 ")
        for client in [*heads, *bodies, *readers]:
            client.close()
        assert live(server, 8) == ["Hello"] * 8
        assert metric(server, "in_flight") == metric(server, "request_bytes") == 0
