"""The ledger of the real process: kill -9, a full disk, a locked file, clients that leave."""

import asyncio
import json
import sqlite3
import subprocess
import threading
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import aiohttp
import httpx2 as httpx
import pytest
from http_client import until
from process import Process
from scripted import FOREVER, Upstream, answer
from usage_helpers import at_once, counted, post, rows, settings, statuses, usage, words

HELLO: Any = [{"role": "user", "content": "Hello!"}]


class Load(threading.Thread):
    """Clients that ask without pause until the server is gone; who was answered, in order."""

    def __init__(self, server: Process) -> None:
        super().__init__()
        self.answered: list[str] = []
        self._server = server
        self.start()

    def wait_for(self, count: int) -> None:
        until(lambda: len(self.answered) > count)

    def run(self) -> None:
        asyncio.run(self._run())

    async def _run(self) -> None:
        async with aiohttp.ClientSession() as session:
            await asyncio.gather(*[self._client(session) for _ in range(8)])

    async def _client(self, session: aiohttp.ClientSession) -> None:
        with suppress(aiohttp.ClientError):
            while True:
                status, headers, _ = await post(session, self._server, "up/priced-load", max_tokens=9)
                assert status == 200
                self.answered.append(headers["x-request-id"])


@pytest.mark.anew
@pytest.mark.fault("F41")
def test_kill_9_loses_nothing_but_the_last_batch_and_leaves_nothing_open(upstream: Upstream, tmp_path: Path) -> None:
    upstream.script("priced-load", counted(10, 5))
    upstream.script("priced-stuck", [FOREVER])
    text = settings(upstream, tmp_path, ["budget_usd: 90000, budget_period: total"])
    lost: list[int] = []
    for turn in range(4):
        with Process(text) as server:
            load = Load(server)
            stuck = {"model": "up/priced-stuck", "messages": HELLO, "max_tokens": 9}
            with pytest.raises(httpx.ReadTimeout):  # leaves, and is settled
                httpx.post(
                    f"{server.url}/chat/completions",
                    json=stuck,
                    headers={"Authorization": "Bearer sk-canary-0"},
                    timeout=0.1,
                )
            waiting = threading.Thread(target=_ask_in_vain, args=(server, stuck))  # stays, and is left open
            waiting.start()
            upstream.wait("priced-stuck", 2 * turn + 2)
            before = list(load.answered)
            usage(server, limit=1)  # waits for what was put
            kept = {row["request"] for row in rows(tmp_path, "status = 200")}
            assert kept.issuperset(before)
            load.wait_for(len(before) + 50)
            server.kill()
            load.join()
            waiting.join()
        kept = {row["request"] for row in rows(tmp_path, "status = 200")}
        assert kept.issuperset(before)
        lost.append(len(set(load.answered) - kept))
    with Process(text) as server:
        assert rows(tmp_path, "status IS NULL") == []
        crashed = rows(tmp_path, "code = 'crashed'")
        assert len([row for row in crashed if row["model"] == "up/priced-stuck"]) == 4
        assert all(row["status"] == 500 and row["estimated"] and row["prompt"] and row["cost"] for row in crashed)
        booked = sum(row["cost"] for row in rows(tmp_path))
        told = usage(server)
        assert told["limits"]["budget"]["spent_usd"] == pytest.approx(booked / 1e6)
        assert told["by_day"][0]["cost_usd"] == pytest.approx(booked / 1e6)
        assert sum(day["requests"] for day in told["by_day"]) == len(rows(tmp_path))
        assert sum(day["errors"] for day in told["by_day"]) == len(crashed)
        by_hour = usage(server, bucket="hour", days=1)["by_hour"]
        for sums in ("requests", "prompt_tokens", "cost_usd", "errors"):
            assert sum(row[sums] for row in by_hour) == pytest.approx(sum(row[sums] for row in told["by_day"]))
    print(f"answered and lost at each kill: {lost}")


def _ask_in_vain(server: Process, body: Any) -> None:
    with suppress(httpx.HTTPError):
        httpx.post(
            f"{server.url}/chat/completions", json=body, headers={"Authorization": "Bearer sk-canary-0"}, timeout=60
        )


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 KB."""
    folder = tmp_path / "small"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", folder], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"cannot mount a file system here: {mounted.stderr.decode().strip()}")
    yield folder
    subprocess.run(["umount", folder], check=True)


def grow(folder: Path) -> None:
    subprocess.run(["mount", "-o", "remount,size=16m", folder], check=True)


def trouble(server: Process) -> Any:
    return httpx.get(f"{server.root}/healthz").json().get("trouble")


@pytest.mark.fault("F42")
def test_a_full_disk_fails_no_request_and_the_rows_arrive_when_there_is_room(upstream: Upstream, small: Path) -> None:
    with Process(settings(upstream, small, ["rpm: 0"])) as server:
        assert statuses(at_once(100, [server], "echo")) == {200: 100}
        [words] = until(lambda: trouble(server))
        assert "usage cannot be written" in words
        assert statuses(at_once(100, [server], "echo")) == {200: 100}
        grow(small)
        until(lambda: not trouble(server))
        told = usage(server)
        assert told["by_day"][0]["requests"] == 200
        assert len(rows(small, "status = 200")) == 200
        lines = [line for line in server.lines() if "usage cannot be written" in line.get("message", "")]
        assert len(lines) == 1


@pytest.mark.fault("F42")
def test_a_server_that_must_keep_a_ledger_refuses_while_it_cannot(upstream: Upstream, small: Path) -> None:
    with Process(settings(upstream, small, ["rpm: 0"], usage="fail_closed: true")) as server:
        at_once(9, [server], "echo")
        until(lambda: trouble(server))
        [(status, _, body)] = at_once(1, [server], "echo")
        assert (status, body["error"]["code"]) == (503, "usage_unavailable")
        grow(small)
        until(lambda: not trouble(server))
        assert statuses(at_once(1, [server], "echo")) == {200: 1}


@pytest.mark.fault("F43")
def test_a_locked_file_fails_no_request_and_the_rows_arrive_when_it_is_free(upstream: Upstream, tmp_path: Path) -> None:
    with Process(settings(upstream, tmp_path, ["rpm: 0"])) as server:
        with closing(sqlite3.connect(tmp_path / "usage.db", isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            assert statuses(at_once(20, [server], "echo")) == {200: 20}
            until(lambda: trouble(server))
            other.execute("ROLLBACK")
        until(lambda: not trouble(server))
        assert usage(server)["by_day"][0]["requests"] == 20


async def leave_after(session: aiohttp.ClientSession, server: Process, model: str, count: int) -> int:
    """Read a stream until `count` words have come, then leave. Returns the words."""
    heard = 0
    body = {"model": model, "messages": HELLO, "stream": True}
    headers = {"Authorization": "Bearer sk-canary-0"}
    async with session.post(f"{server.url}/chat/completions", json=body, headers=headers) as response:
        async for line in response.content:
            if line.startswith(b"data: "):
                heard += len((json.loads(line[6:])["choices"][0]["delta"].get("content") or "").split())
            if heard >= count:
                response.close()
                break
    return heard


def test_streams_that_clients_leave_cost_what_was_streamed(upstream: Upstream, tmp_path: Path) -> None:
    async def run(server: Process) -> list[int]:
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=20)) as session:
            tasks = []
            for n in range(100):
                upstream.script(f"priced-left-{n}", words(3 + n % 50))
                tasks.append(leave_after(session, server, f"up/priced-left-{n}", 3 + n % 50))
            return await asyncio.gather(*tasks)

    with Process(settings(upstream, tmp_path, ["rpm: 1000"])) as server:
        heard = asyncio.run(run(server))
        left = until(lambda: len(found := rows(tmp_path, "status = 499")) == 100 and found)
        assert [day["errors"] for day in usage(server)["by_day"]] == [0]  # that is the clients' right
    assert all(row["completion"] > 0 and row["prompt"] > 0 and row["cost"] > 0 and row["estimated"] for row in left)
    assert sum(row["completion"] for row in left) == pytest.approx(sum(heard), rel=0.1)
    for row in left:
        assert row["cost"] == 1000 * row["prompt"] + 2000 * row["completion"]
        assert row["code"] == "client_closed"


def test_a_long_prompt_is_booked_with_its_answer(upstream: Upstream, tmp_path: Path) -> None:
    """Its estimate takes longer than its answer: the row that ends must not be mixed with the one that began."""
    upstream.script("priced-long", counted(100, 10))
    upstream.script("priced-refused", answer({"error": {"message": "no"}}, 400))
    long = [{"role": "user", "content": "abc"}] * 6000
    with Process(settings(upstream, tmp_path, ["disabled: false"])) as server:
        for _ in range(30):
            assert statuses(at_once(1, [server], "up/priced-long", messages=long)) == {200: 1}
            assert statuses(at_once(1, [server], "up/priced-refused", messages=long)) == {400: 1}
        told = usage(server)["by_model"]
    assert [(row["model"], row["prompt_tokens"], row["completion_tokens"], row["cost_usd"]) for row in told] == [
        ("up/priced-long", 3000, 300, pytest.approx(30 * 0.12)),
        ("up/priced-refused", 0, 0, 0),
    ]


def test_the_file_is_for_its_owner_alone(upstream: Upstream, tmp_path: Path) -> None:
    with Process(settings(upstream, tmp_path, ["rpm: 0"])) as server:
        at_once(1, [server], "echo")
        usage(server)
        made = {each.name: each.stat().st_mode & 0o777 for each in tmp_path.glob("usage.db*")}
    assert made == dict.fromkeys(("usage.db", "usage.db-wal", "usage.db-shm", "usage.db-runs"), 0o600)


def test_a_file_that_cannot_be_put_back_is_trouble_until_it_can(upstream: Upstream, tmp_path: Path) -> None:
    """Rows wait in memory meanwhile, and a server that must keep a ledger refuses."""
    folder = tmp_path / "ledger"
    folder.mkdir()
    text = settings(upstream, folder, ["rpm: 0"], usage="fail_closed: true")
    with Process(text) as server:
        assert statuses(at_once(3, [server], "echo")) == {200: 3}
        usage(server)
        folder.rename(tmp_path / "elsewhere")
        [words] = until(lambda: trouble(server))
        assert "usage cannot be written" in words
        [(status, _, body)] = at_once(1, [server], "echo")
        assert (status, body["error"]["code"]) == (503, "usage_unavailable")
        assert httpx.get(f"{server.url}/usage", headers={"Authorization": "Bearer sk-canary-0"}).status_code == 503
        assert not folder.exists()
        (tmp_path / "elsewhere").rename(folder)
        until(lambda: not any("cannot be" in words for words in trouble(server) or []))
        assert statuses(at_once(1, [server], "echo")) == {200: 1}
        assert usage(server)["by_day"][0]["requests"] == 4
