"""What a key has spent, whatever is reloaded, lifted, restored or lost meanwhile, in this process and in Redis."""

import shutil
import signal
import socket
import sqlite3
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import httpx2 as httpx
import pytest
from http_client import until
from process import Process
from scripted import Upstream
from test_redis import Redis
from usage_helpers import at_once, counted, rows, settings, statuses, usage

BUDGET = "budget_usd: 1, budget_period: day"
NONE = "disabled: false"
ONCE = counted(100, 100)  # costs $0.30

needs_redis = pytest.mark.skipif(shutil.which("redis-server") is None, reason="redis-server is not installed")


@pytest.fixture
def shared(tmp_path: Path) -> Iterator[Redis]:
    server = Redis(tmp_path)
    yield server
    server.close()


@pytest.fixture(params=["alone", pytest.param("redis", marks=needs_redis)])
def state(request: pytest.FixtureRequest) -> str:
    """The section of the configuration that says where limits are counted."""
    return f"shared_state: {request.getfixturevalue('shared').url}\n" if request.param == "redis" else ""


def health(server: Process) -> Any:
    return httpx.get(f"{server.root}/healthz").json()


def reload(server: Process, text: str) -> None:
    before = health(server)
    server.config.write_text(text.replace("port: 0", f"port: {server.port}"), encoding="utf-8")
    server.send(signal.SIGHUP)
    until(lambda: health(server)["generation"] > before["generation"])


def spend(server: Process, times: int, model: str = "up/priced-spent", **more: Any) -> None:
    for _ in range(times):
        assert statuses(at_once(1, [server], model, max_tokens=100, **more)) == {200: 1}


def refused(server: Process, model: str = "up/priced-spent") -> str:
    """The message of a refusal for want of budget."""
    [(status, _, body)] = at_once(1, [server], model, max_tokens=100)
    assert (status, body["error"]["code"]) == (429, "budget_exceeded")
    return str(body["error"]["message"])


def spent(server: Process) -> Any:
    return pytest.approx(usage(server)["limits"]["budget"]["spent_usd"])


def test_a_budget_that_was_lifted_and_is_restored_knows_what_was_spent_without_it(
    upstream: Upstream, tmp_path: Path, state: str
) -> None:
    upstream.script("priced-spent", ONCE)

    def text(key: str) -> str:
        return settings(upstream, tmp_path, [key], state)

    with Process(text(BUDGET)) as server:
        spend(server, 1)
        reload(server, text(NONE))
        spend(server, 4)
        reload(server, text(BUDGET))
        assert "$1.50 are spent" in refused(server)
        assert spent(server) == 1.5
        reload(server, text("budget_usd: 2, budget_period: month"))
        spend(server, 1)
        assert spent(server) == 1.8
        reload(server, text("budget_usd: 2, budget_period: total"))
        assert "$1.80 are spent" in refused(server)
    with Process(text(NONE)) as server:
        spend(server, 1)
    with Process(text("budget_usd: 2.2, budget_period: day")) as server:
        assert "$2.10 are spent" in refused(server)


def test_requests_that_run_when_their_key_gets_a_budget_are_counted_in_it(
    upstream: Upstream, tmp_path: Path, state: str
) -> None:
    upstream.script("priced-spent", ONCE)
    go = threading.Event()
    upstream.script("priced-spent-1", [go, *ONCE])
    budget = "budget_usd: 1.8, budget_period: day"
    with (
        ThreadPoolExecutor() as pool,
        Process(settings(upstream, tmp_path, [budget], state)) as server,
    ):
        spend(server, 1)
        reload(server, settings(upstream, tmp_path, [NONE], state))
        before = len(upstream.of("priced-spent-1"))
        crowd = pool.submit(at_once, 5, [server], "up/priced-spent-1", max_tokens=100)
        upstream.wait("priced-spent-1", before + 5)
        reload(server, settings(upstream, tmp_path, [budget], state))
        assert spent(server) == 0.3
        go.set()
        assert statuses(crowd.result()) == {200: 5}
        assert "$1.80 are spent" in refused(server)
        assert spent(server) == 1.8


def test_a_request_that_runs_while_its_budget_changes_its_period_is_counted_in_the_new_one(
    upstream: Upstream, tmp_path: Path, state: str
) -> None:
    go = threading.Event()
    upstream.script("priced-spent-2", [go, *ONCE])
    with (
        ThreadPoolExecutor() as pool,
        Process(settings(upstream, tmp_path, ["budget_usd: 0.8, budget_period: day"], state)) as server,
    ):
        before = len(upstream.of("priced-spent-2"))
        crowd = pool.submit(at_once, 3, [server], "up/priced-spent-2", max_tokens=100)
        upstream.wait("priced-spent-2", before + 3)
        reload(server, settings(upstream, tmp_path, ["budget_usd: 0.8, budget_period: total"], state))
        assert "reserved by requests that still run" in refused(server, "up/priced-spent-2")
        go.set()
        assert statuses(crowd.result()) == {200: 3}
        assert "$0.90 are spent" in refused(server, "up/priced-spent-2")


def test_new_budgets_do_not_wait_for_a_locked_file(upstream: Upstream, tmp_path: Path) -> None:
    """The sums are read in a thread, once for all keys, with what could not be written yet: the loop goes on answering."""
    upstream.script("priced-spent", ONCE)
    many = [f"{BUDGET}, rpm: {100 + n}" for n in range(12)]
    with (
        Process(settings(upstream, tmp_path, [NONE])) as server,
        closing(sqlite3.connect(tmp_path / "usage.db", isolation_level=None)) as other,
    ):
        other.execute("BEGIN IMMEDIATE")
        spend(server, 3)
        reload(server, settings(upstream, tmp_path, many))
        assert "$0.90 are spent" in refused(server)
        other.execute("ROLLBACK")
        assert spent(server) == 0.9


def test_a_new_budget_that_cannot_know_what_was_spent_is_refused(upstream: Upstream, tmp_path: Path) -> None:
    with Process(settings(upstream, tmp_path, [NONE])) as server:
        with closing(sqlite3.connect(tmp_path / "usage.db", isolation_level=None)) as other:
            other.execute("ALTER TABLE days RENAME TO gone")
            before = health(server)["failed"]
            text = settings(upstream, tmp_path, [BUDGET]).replace("port: 0", f"port: {server.port}")
            server.config.write_text(text, encoding="utf-8")
            server.send(signal.SIGHUP)
            until(lambda: health(server)["failed"] > before)
            assert "budgets could not go on from it" in health(server)["reload"]
            other.execute("ALTER TABLE gone RENAME TO days")
        server.kill()  # what it has logged is an error


def test_a_key_of_another_name_begins_anew(upstream: Upstream, tmp_path: Path) -> None:
    upstream.script("priced-spent", ONCE)
    text = settings(upstream, tmp_path, [BUDGET])
    with Process(text) as server:
        spend(server, 3)
        reload(server, text.replace("name: k0", "name: renamed"))
        spend(server, 1)
        assert spent(server) == 0.3
        reload(server, text)
        assert "$0.90 are spent" in refused(server)


@pytest.mark.parametrize("what", ["deleted", "all deleted", "replaced by text", "overwritten", "emptied", "torn"])
def test_a_budget_outlives_its_file(upstream: Upstream, tmp_path: Path, what: str) -> None:
    upstream.script("priced-spent", ONCE)
    path = tmp_path / "usage.db"
    text = settings(upstream, tmp_path, [BUDGET])
    with Process(text) as server:
        spend(server, 2)
        assert usage(server)["by_day"][0]["requests"] == 2
        BREAK[what](path)
        [words] = until(lambda: health(server).get("trouble"), patience=3)
        assert words.startswith("the usage file was "), words
        server.logged(level="warning", message=f"the usage file {path} {words.removeprefix('the usage file ')}")
        spend(server, 1)
        assert "$0.90 are spent" in refused(server)
        told = usage(server)
        assert told["limits"]["budget"]["spent_usd"] == pytest.approx(0.9)
        assert told["by_day"][0]["cost_usd"] == pytest.approx(0.9)
        assert path.stat().st_mode & 0o777 == 0o600
    with Process(text) as server:
        assert "$0.90 are spent" in refused(server)
        assert len(rows(tmp_path, "status = 200")) == 3


def overwrite(path: Path) -> None:
    with path.open("r+b") as file:
        file.write(b"\xff" * 4096)


def replace(path: Path) -> None:
    (path.parent / "other").write_text("not a database " * 1000, encoding="utf-8")
    (path.parent / "other").replace(path)


BREAK: dict[str, Callable[[Path], Any]] = {
    "deleted": Path.unlink,
    "all deleted": lambda path: [each.unlink() for each in path.parent.glob("usage.db*")],
    "replaced by text": replace,
    "overwritten": overwrite,
    "torn": lambda path: Path(f"{path}-wal").unlink(),
    "emptied": lambda path: path.write_bytes(b""),
}


class Proxy:
    """Stands between a server and Redis. lose: the next answer to a command with this word in it, and the connection."""

    def __init__(self, port: int) -> None:
        self._to = port
        self.lose = b""
        self.lost = 0
        self._door = socket.create_server(("127.0.0.1", 0))
        self.url = f"redis://127.0.0.1:{self._door.getsockname()[1]}/0"
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._door.accept()
                threading.Thread(target=self._pass_on, args=(client,), daemon=True).start()

    def _pass_on(self, client: socket.socket) -> None:
        with client, socket.create_connection(("127.0.0.1", self._to)) as redis, suppress(OSError):
            while asked := client.recv(2**20):
                redis.sendall(asked)
                answer = redis.recv(2**20)
                if self.lose and self.lose in asked:
                    self.lose = b""
                    self.lost += 1
                    return
                client.sendall(answer)

    def close(self) -> None:
        self._door.close()


@needs_redis
def test_a_settlement_that_is_sent_twice_counts_once(upstream: Upstream, tmp_path: Path, shared: Redis) -> None:
    """Redis has heard it, and its answer is lost."""
    go = threading.Event()
    upstream.script("priced-spent-3", [go, *ONCE])
    with closing(Proxy(shared.port)) as proxy:
        keys = ["budget_usd: 1, budget_period: total, tpm: 10000"]
        text = settings(upstream, tmp_path, keys, f"shared_state: {proxy.url}\n")
        with ThreadPoolExecutor() as pool, Process(text) as server:
            running = pool.submit(spend, server, 1, "up/priced-spent-3")
            upstream.wait("priced-spent-3")
            proxy.lose = b"return spent"  # the script of a settlement
            go.set()
            running.result()
            until(lambda: proxy.lost)
            for name in shared.client.scan_iter(
                "*:done:*"
            ):  # Redis stays away for longer than it knows single requests
                shared.client.delete(name)
            server.logged(message="Redis answers again")
            spend(server, 1, "up/priced-spent-3")
            assert spent(server) == 0.6
        assert shared.client.get("{modelserver:k0}:spent:total") == "600000"
        assert sum(map(int, shared.client.hvals("{modelserver:k0}:tpm"))) == 400
        assert shared.client.hlen("{modelserver:k0}:held") == 0
