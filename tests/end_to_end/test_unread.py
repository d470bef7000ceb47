"""Clients that do not read what they asked for: every kind of answer has its limit, and counts until it is taken."""

import json
import select
import socket
import time
from collections.abc import Callable

import httpx2 as httpx
import pytest
from http_client import HELLO, ask, metric, raw, until, whole
from process import Process, config
from scripted import Upstream, answer

SIZE = 20_000_000
HASTY = "timeouts: {write: 1}\nkeep_alive: {every: 0.4}"


def slow(server: Process) -> socket.socket:
    """A connection whose client takes little at a time."""
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    client.settimeout(20)
    client.connect(("127.0.0.1", server.port))
    return client


def rest(client: socket.socket, size: int = 2**20) -> int:
    """How many bytes come until the connection ends."""
    count = 0
    try:
        while data := client.recv(size):
            count += len(data)
    except ConnectionError:
        pass
    return count


def test_whole_answers_count_until_they_are_taken(upstream: Upstream, scripted: Callable[..., str]) -> None:
    name, quick = scripted(answer(whole("x" * SIZE))), scripted(answer(whole()))
    limits = f"{HASTY}\nmax_body: 1MiB\ncapacity: {{bytes: 30MiB}}"
    with Process(config(upstream, server=limits)) as server:
        clients = [slow(server) for _ in range(2)]
        for client in clients:
            client.sendall(raw(f"up/{name}", stream=False))
        until(lambda: metric(server, "request_bytes") > 2 * SIZE)
        assert metric(server, "in_flight") == 2
        refused = ask(server, f"up/{quick}")
        assert (refused.status, refused.code) == (503, "overloaded")
        until(lambda: metric(server, "in_flight") == 0)
        assert metric(server, "request_bytes") == 0
        assert all(rest(client) < SIZE for client in clients)
        for client in clients:
            client.close()
        assert ask(server, f"up/{quick}").text == "Hi"
        assert server.logged(status=499)["model"] == f"up/{name}"


def test_memory_goes_back_once_much_of_it_is_no_longer_held(upstream: Upstream, scripted: Callable[..., str]) -> None:
    """Twelve clients wait for 20 MB each and read none of it. The C library keeps 64 MiB of what it was given."""
    name = scripted(answer(whole("x" * SIZE)))
    with Process(config(upstream, server=HASTY)) as server:
        before = metric(server, "resident_bytes")
        clients = [slow(server) for _ in range(12)]
        for client in clients:
            client.sendall(raw(f"up/{name}", stream=False))
        until(lambda: metric(server, "resident_bytes") > before + 6 * SIZE, 30)
        until(lambda: metric(server, "in_flight") == 0, 30)
        until(lambda: metric(server, "resident_bytes") < before + 4 * SIZE, 30)
        for client in clients:
            client.close()


def test_who_reads_slowly_is_not_cut(upstream: Upstream, scripted: Callable[..., str]) -> None:
    name = scripted(answer(whole("x" * SIZE)))
    with Process(config(upstream, server=HASTY)) as server, slow(server) as client:
        client.sendall(raw(f"up/{name}", stream=False))
        got, end = 0, time.monotonic() + 3  # several times the limit
        while time.monotonic() < end:
            got += len(client.recv(2**16))
            time.sleep(0.02)
        assert metric(server, "in_flight") == 1
        client.settimeout(1)
        with pytest.raises(TimeoutError):
            while data := client.recv(2**20):
                got += len(data)
        assert got > SIZE
        assert metric(server, "in_flight") == 0


@pytest.mark.parametrize("what", ["error", "inspector", "usage"])
def test_any_other_answer(upstream: Upstream, scripted: Callable[..., str], what: str) -> None:
    """They are asked for again and again on one connection, until the system's buffers are full."""
    message = "word " * 800
    name = scripted(answer({"error": {"message": message}}, 400), prefix="e")
    more = "inspector: {enabled: true}\nusage: {path: usage.db}"
    ask_for = {
        "error": raw(f"up/{name}", stream=False),
        "inspector": b"GET /inspector/exchanges/1 HTTP/1.1\r\nHost: localhost\r\n\r\n",
        "usage": b"GET /v1/usage?limit=10000 HTTP/1.1\r\nHost: localhost\r\n\r\n",
    }[what]
    with Process(config(upstream, more, server=HASTY)) as server:
        if what == "inspector":
            ask(server, "echo", messages=[{"role": "user", "content": "x" * 1_000_000}])
        if what == "usage":
            with httpx.Client(trust_env=False) as http:
                for _ in range(200):
                    http.post(f"{server.url}/chat/completions", json={"model": "echo", "messages": HELLO})
        with slow(server) as client:
            client.setblocking(False)
            asked = 0
            try:
                while asked < 2000:
                    client.send(ask_for)
                    asked += 1
            except BlockingIOError:
                pass
            arrived = select.poll()
            arrived.register(client, select.POLLIN)
            assert arrived.poll(20_000), "nothing was answered"
            until(lambda: metric(server, "connections") == 1, 60)  # the one that asks for it
            client.settimeout(20)
            rest(client)
        assert metric(server, "request_bytes") == 0
        assert json.loads(ask(server, "echo").body)["choices"]


def test_requests_that_came_together_let_others_in(upstream: Upstream) -> None:
    """Ten connections send 800 requests each at once; the log says in which order requests were answered."""
    many, one = (
        f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode() for path in ("/v1/models", "/v1/models/echo")
    )
    with Process(config(upstream)) as server:
        clients = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(10)]
        for client in clients:
            client.setblocking(False)
            client.send(many * 800)
        with socket.create_connection(("127.0.0.1", server.port), timeout=20) as other:
            other.sendall(one)
            assert other.recv(2**16).startswith(b"HTTP/1.1 200 ")
        server.logged(path="/v1/models/echo")
        for client in clients:
            client.close()
        until(lambda: metric(server, "connections") == 1)
    assert [line.get("path") for line in server.lines()].index("/v1/models/echo") < 800
