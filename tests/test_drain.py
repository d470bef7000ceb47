"""`on_disconnect: drain`: the answer is read on when its client has left, and its true usage is booked."""

import contextlib
from pathlib import Path
from typing import Any

import httpx2 as httpx
import pytest
from asking import until
from books import counted, piece, rows, settings
from process import Process
from scripted import FOREVER, Script, Upstream, sse, stream

USAGE = {"choices": [], "usage": {"prompt_tokens": 70, "completion_tokens": 30, "total_tokens": 100}}
HEAD = stream(sse(piece("Hello "), done=False), end=False)
REST = stream(sse(piece("there"), piece(finish="stop"), USAGE))[1:]


def drained(upstream: Upstream, folder: Path, seconds: float = 20, drain: float = 60) -> str:
    text = settings(upstream, folder, ["concurrency: 1, tpm: 100000"], server=f"drain: {drain}")
    return text.replace("  up: {", f"  up: {{on_disconnect: drain, drain_seconds: {seconds}, ")


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
