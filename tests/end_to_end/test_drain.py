"""`on_disconnect: finish`: the answer is read on when its client has left, and its true usage is booked."""

import contextlib
import threading
from pathlib import Path
from typing import Any

import httpx2 as httpx
import pytest
from http_client import until
from process import Process
from scripted import FOREVER, Script, Upstream, answer, sse, stream
from usage_helpers import at_once, counted, piece, rows, settings, statuses

pytestmark = pytest.mark.anew

USAGE = {"choices": [], "usage": {"prompt_tokens": 70, "completion_tokens": 30, "total_tokens": 100}}
HEAD = stream(sse(piece("Hello "), done=False), end=False)
REST = stream(sse(piece("there"), piece(finish="stop"), USAGE))[1:]


def drained(upstream: Upstream, folder: Path, seconds: float = 20, drain: float = 60) -> str:
    text = settings(upstream, folder, ["concurrency: 1, tpm: 100000"], server=f"drain: {drain}")
    return text.replace("  up: {", f"  up: {{on_disconnect: finish, finish_seconds: {seconds}, ")


def leave(server: Process, model: str, **body: Any) -> None:
    """Ask, and go away without the end of the answer."""
    ask = {"model": f"up/{model}", "messages": [{"role": "user", "content": "Hello!"}], "max_tokens": 9, **body}
    auth = {"Authorization": "Bearer sk-canary-0"}
    with contextlib.suppress(httpx.ReadTimeout):
        httpx.post(f"{server.url}/chat/completions", json=ask, headers=auth, timeout=httpx.Timeout(10, read=0.4))


@pytest.mark.parametrize(
    ("script", "streamed"),
    [
        ([*HEAD, 1.0, *REST], True),  # leaves in the middle
        ([1.0, *HEAD, *REST], True),  # leaves before the first byte
        ([1.0, *counted(70, 30)], False),
    ],
)
def test_what_the_upstream_counts_after_the_client_has_left_is_booked(
    upstream: Upstream, tmp_path: Path, script: Script, streamed: bool
) -> None:
    name = upstream.script(f"drain-{tmp_path.name}", script)
    with Process(drained(upstream, tmp_path)) as server:
        leave(server, name, stream=streamed)
        [row] = until(lambda: rows(tmp_path, "status IS NOT NULL"))
        assert (row["status"], row["prompt"], row["completion"], row["estimated"]) == (499, 70, 30, 0)
        [request] = upstream.of(name)
        assert request.left is None  # the connection went back to the pool: the answer was read to its end
        leave(server, upstream.script(f"after-{tmp_path.name}", counted(1, 1)))  # the slot is free again
        until(lambda: rows(tmp_path, "status = 200"))


@pytest.mark.parametrize("stop", [False, True])
def test_draining_has_an_end(upstream: Upstream, tmp_path: Path, stop: bool) -> None:
    name = upstream.script(f"endless-{tmp_path.name}", [*HEAD, FOREVER])
    with Process(drained(upstream, tmp_path, seconds=60 if stop else 0.5)) as server:
        leave(server, name, stream=True)
        if stop:
            assert rows(tmp_path, "status = 499") == []
            server.stop()
        else:
            upstream.of(name)[0].wait_left()
        [row] = until(lambda: rows(tmp_path, "status = 499"))
        assert (row["completion"], row["estimated"]) == (1, 1)


def test_an_upstream_that_fails_while_it_is_drained_is_booked_by_what_it_sent(
    upstream: Upstream, tmp_path: Path
) -> None:
    name = upstream.script(f"broken-{tmp_path.name}", [*HEAD, 1.0, "abort"])
    with Process(drained(upstream, tmp_path)) as server:
        leave(server, name, stream=True)
        [row] = until(lambda: rows(tmp_path, "status IS NOT NULL"))
        assert (row["completion"], row["estimated"]) == (1, 1)


@pytest.mark.parametrize("streamed", [True, False])
@pytest.mark.parametrize("bounds", ["requests: 1, waiting: 0", "bytes: 512KiB"])
def test_an_answer_that_is_drained_keeps_its_place_and_its_bytes(
    upstream: Upstream, tmp_path: Path, bounds: str, streamed: bool
) -> None:
    go = threading.Event()
    name = upstream.script(f"place-{tmp_path.name}", [*HEAD, go, *REST], counted(1, 1))
    text = settings(upstream, tmp_path, ["rpm: 100"], server=f"max_body: 512KiB\ncapacity: {{{bounds}}}")
    body = [{"role": "user", "content": "word " * 50_000}]
    with Process(text.replace("  up: {", "  up: {on_disconnect: finish, ")) as server:
        leave(server, name, stream=streamed, messages=body)
        server.logged(status=499)
        for _ in range(3):
            [(status, headers, got)] = at_once(1, [server], f"up/{name}", messages=body)
            assert (status, got["error"]["code"], headers["Retry-After"]) == (503, "overloaded", "1")
        go.set()
        [row] = until(lambda: rows(tmp_path, "status = 499"))
        assert (row["prompt"], row["completion"], row["estimated"]) == (70, 30, 0)
        assert statuses(at_once(1, [server], f"up/{name}", messages=body)) == {200: 1}


def test_the_time_of_a_request_ends_its_draining(upstream: Upstream, tmp_path: Path) -> None:
    name = upstream.script(f"total-{tmp_path.name}", [*HEAD, FOREVER])
    text = settings(upstream, tmp_path, ["rpm: 100"], server="timeouts: {total: 1.5}")
    with Process(text.replace("  up: {", "  up: {on_disconnect: finish, ")) as server:
        leave(server, name, stream=True)
        upstream.of(name)[0].wait_left()
        [row] = until(lambda: rows(tmp_path, "status = 499"))
        assert (row["completion"], row["estimated"]) == (1, 1)


def test_an_upstream_that_refuses_a_request_whose_client_has_left_is_not_paid(
    upstream: Upstream, tmp_path: Path
) -> None:
    name = upstream.script(f"refused-{tmp_path.name}", [1.0, *answer({"error": {"message": "no"}}, 500)])
    with Process(drained(upstream, tmp_path)) as server:
        leave(server, name, stream=True)
        [row] = until(lambda: rows(tmp_path, "status IS NOT NULL"))
        assert (row["status"], row["prompt"], row["completion"], row["estimated"]) == (499, 0, 0, 0)
