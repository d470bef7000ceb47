"""Where the server's life and its ledger meet: embeddings have bounds too, limits are reloaded, ends of ours are paid for."""

import signal
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx2 as httpx
from http_client import ask, dial, metric, raw, until
from process import Process, config
from scripted import FOREVER, Upstream, answer, sse, stream
from usage_helpers import counted, piece, rows, settings

VECTORS = {"data": [{"index": 0, "embedding": [0.5, 0.25]}], "usage": {"prompt_tokens": 7, "total_tokens": 7}}
HEAD = stream(sse(piece("Hello "), done=False), end=False)
USAGE = {"choices": [], "usage": {"prompt_tokens": 70, "completion_tokens": 30, "total_tokens": 100}}
REST = stream(sse(piece("there"), piece(finish="stop"), USAGE))[1:]


def embed(server: Process, model: str, key: str = "-") -> Any:
    headers = {"Authorization": f"Bearer {key}"}
    body = {"model": model, "input": "x"}
    return httpx.post(f"{server.url}/embeddings", json=body, headers=headers, timeout=20)


def hear(client: socket.socket, word: bytes) -> None:
    """Read until this word has come."""
    data = b""
    while word not in data:
        more = client.recv(65536)
        assert more, data
        data += more


def reloaded(server: Process, text: str) -> None:
    before = httpx.get(f"{server.root}/healthz").json()["generation"]
    server.config.write_text(text, encoding="utf-8")
    server.send(signal.SIGHUP)
    until(lambda: httpx.get(f"{server.root}/healthz").json()["generation"] == before + 1)


def test_embeddings_are_bounded_counted_and_leave_a_failing_target_alone(
    upstream: Upstream, scripted: Callable[..., str]
) -> None:
    bounds = "capacity: {requests: 1, waiting: 0}\ncooldown: {failures: 2}"
    with Process(config(upstream, server=bounds)) as server:
        good, bad, busy = scripted(answer(VECTORS)), scripted(answer({}, 500)), scripted([*HEAD, FOREVER])
        assert embed(server, f"up/{good}").status_code == 200
        until(lambda: metric(server, "tokens_total", model="up/*", upstream="up", kind="prompt") == 7)
        said = [embed(server, f"up/{bad}").json()["error"]["code"] for _ in range(3)]
        assert said == ["upstream_error", "upstream_error", "provider_unavailable"]
        assert len(upstream.of(bad)) == 2
        with dial(server) as client:
            client.sendall(raw(f"up/{busy}"))
            hear(client, b"Hello")
            refused = embed(server, f"up/{good}")
            assert (refused.status_code, refused.json()["error"]["code"]) == (503, "overloaded")
            assert refused.headers["retry-after"] == "1"
        until(lambda: embed(server, f"up/{good}").status_code == 200)


def test_limits_are_reloaded_and_what_was_used_stays(
    upstream: Upstream, scripted: Callable[..., str], tmp_path: Path
) -> None:
    name = scripted(counted(10, 10))

    def status(key: str) -> int:
        return ask(server, f"up/{name}", headers={"Authorization": f"Bearer {key}"}).status

    with Process(settings(upstream, tmp_path, ["rpm: 5"])) as server:
        assert [status("sk-canary-0") for _ in range(2)] == [200, 200]
        reloaded(server, settings(upstream, tmp_path, ["rpm: 3", "rpm: 1"]))
        assert [status("sk-canary-0") for _ in range(2)] == [200, 429]  # two of the three were used before
        assert [status("sk-canary-1") for _ in range(2)] == [200, 429]  # a key that is new
        reloaded(server, settings(upstream, tmp_path, ["budget_usd: 0.000001", ""]).replace("up/", "priced-up/"))
        assert [status("sk-canary-1") for _ in range(2)] == [200, 200]
        reloaded(server, settings(upstream, tmp_path, ["rpm: 5"]))
        assert (status("sk-canary-0"), status("sk-canary-1")) == (200, 401)


def test_a_call_that_this_server_ends_is_booked_as_begun(
    upstream: Upstream, scripted: Callable[..., str], tmp_path: Path
) -> None:
    name = scripted([FOREVER])
    with Process(settings(upstream, tmp_path, ["rpm: 5"], server="timeouts: {total: 0.5}")) as server:
        for streamed in (False, True):
            got = ask(server, f"up/{name}", streamed, headers={"Authorization": "Bearer sk-canary-0"})
            assert (got.status, got.code) == (504, "total_timeout")
        [whole, streaming] = until(lambda: len(found := rows(tmp_path, "status = 504")) == 2 and found)
        assert whole["prompt"] > 0 and whole["estimated"] == 1 and whole["upstream"] == f"up/{name}"
        assert streaming["prompt"] > 0 and streaming["estimated"] == 1 and streaming["upstream"] == f"up/{name}"


def test_a_drained_answer_outlives_a_reload(upstream: Upstream, scripted: Callable[..., str], tmp_path: Path) -> None:
    text = settings(upstream, tmp_path, ["rpm: 5"]).replace("  up: {", "  up: {on_disconnect: finish, ")
    name = scripted([*HEAD, 1.5, *REST])
    with Process(text) as server:
        with dial(server) as client:
            client.sendall(
                raw(f"up/{name}").replace(b"Host: localhost", b"Host: localhost\r\nAuthorization: Bearer sk-canary-0")
            )
            hear(client, b"Hello")
        server.logged(status=499)
        reloaded(server, text)
        [row] = until(lambda: rows(tmp_path, "status IS NOT NULL"))
        assert (row["status"], row["prompt"], row["completion"], row["estimated"]) == (499, 70, 30, 0)
