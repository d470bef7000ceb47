"""Limits shared by several processes, against a real redis-server that the tests start."""

import asyncio
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from http_client import until
from process import Process
from process import run as command
from scripted import Upstream
from test_limits_process import LIMITED, crowd
from test_store_process import trouble
from usage_helpers import at_once, counted, settings, statuses, usage

from gateway.config_schema import SharedStateConfig
from gateway.limits import Limits
from gateway.spending import Spent
from providers.errors import Overloaded
from server.usage.limiter import LocalLimiter
from server.usage.redis_limiter import RedisLimiter

KEYS = ["k0", "k1", "k2", "k3"]
pytestmark = pytest.mark.skipif(shutil.which("redis-server") is None, reason="redis-server is not installed")


class Redis:
    """A redis-server on a free port."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self.client = redis.Redis(port=self.port, decode_responses=True)
        self.start()

    def start(self) -> None:
        options = {"port": self.port, "bind": "127.0.0.1", "dir": self._folder, "save": "", "appendonly": "no"}
        words = [word for name, value in options.items() for word in (f"--{name}", str(value))]
        self._process = subprocess.Popen(["redis-server", *words], stdout=subprocess.DEVNULL)
        until(self._answers)

    def _answers(self) -> bool:
        try:
            return bool(self.client.ping())
        except redis.RedisError:
            return False

    def stop(self) -> None:
        self._process.kill()
        self._process.wait()

    def close(self) -> None:
        self.stop()
        self.client.close()


@pytest.fixture
def shared(tmp_path: Path) -> Iterator[Redis]:
    server = Redis(tmp_path)
    yield server
    server.close()


def test_two_processes_keep_the_limits_together(upstream: Upstream, tmp_path: Path, shared: Redis) -> None:

    def held(key: str) -> int:
        return shared.client.zcard(f"{{modelserver:{key}}}:running") + shared.client.hlen(f"{{modelserver:{key}}}:held")

    text = settings(upstream, tmp_path, LIMITED, f"shared_state: {shared.url}\n")
    with Process(text) as one, Process(text) as two:
        crowd([one, two], upstream, "both", lambda: not any(map(held, KEYS)))
        spent = [usage(server, "sk-canary-2")["limits"]["budget"]["spent_usd"] for server in (one, two)]
        assert spent == pytest.approx([2 * 0.205] * 2)
        # one file for both, and the rows of both are in it
        assert usage(one, "sk-canary-0")["by_day"][0]["requests"] == 10
    assert not any(map(held, KEYS))


def test_one_client_after_the_other_never_meets_its_own_last_request(
    upstream: Upstream, tmp_path: Path, shared: Redis
) -> None:
    with Process(settings(upstream, tmp_path, ["concurrency: 1"], f"shared_state: {shared.url}\n")) as server:
        for _ in range(50):
            assert statuses(at_once(1, [server], "echo")) == {200: 1}


def test_what_a_dead_process_held_comes_back_when_its_lease_ends(
    upstream: Upstream, tmp_path: Path, shared: Redis
) -> None:
    upstream.script("lease", [float("inf")])
    text = settings(upstream, tmp_path, ["concurrency: 2, tpm: 1000"], f"shared_state: {shared.url}\n")
    with Process(text) as server:
        shared.client.zadd("{modelserver:k0}:running", {"dead": 1.0, "alive": 9e9})
        shared.client.hset("{modelserver:k0}:held", mapping={"dead": "900 0 2026-11", "alive": "500 0 2026-11"})
        assert statuses(at_once(1, [server], "echo", max_tokens=400)) == {200: 1}
        until(lambda: shared.client.zrange("{modelserver:k0}:running", 0, -1) == ["alive"])
        assert statuses(at_once(1, [server], "echo", max_tokens=600)) == {429: 1}


@pytest.mark.parametrize(
    ("choice", "status", "says"), [("closed", 503, "are refused"), ("open", 200, "in each process")]
)
def test_what_is_chosen_holds_while_redis_is_gone(
    upstream: Upstream, tmp_path: Path, shared: Redis, choice: str, status: int, says: str
) -> None:
    upstream.script("priced-gone", counted(100, 100))
    state = f"shared_state: {{url: {shared.url}, on_unavailable: {choice}}}\n"
    keys = ["budget_usd: 1, budget_period: total, rpm: 4", "disabled: false"]
    with Process(settings(upstream, tmp_path, keys, state)) as server:
        assert statuses(at_once(1, [server], "up/priced-gone", max_tokens=100)) == {200: 1}
        until(lambda: shared.client.get("{modelserver:k0}:spent:total") == "300000")
        shared.stop()
        answers = at_once(2, [server], "up/priced-gone", max_tokens=100)
        assert statuses(answers) == {status: 2}
        [words] = trouble(server)
        assert says in words
        server.logged(message=f"{words} (ConnectionError)")
        assert statuses(at_once(1, [server], "echo", key="sk-canary-1")) == {
            200: 1
        }  # a key without limits needs no Redis
        if choice == "closed":
            assert answers[0][2]["error"]["code"] == "limits_unavailable"
        else:  # what was spent before is known, and limits hold here
            assert statuses(at_once(9, [server], "up/priced-gone", max_tokens=100)) == {429: 9}
        shared.start()
        until(lambda: not trouble(server))
        assert statuses(at_once(1, [server], "up/priced-gone", max_tokens=100)) == (
            {200: 1} if choice == "closed" else {429: 1}
        )
        expected = "600000" if choice == "closed" else "900000"
        until(lambda: shared.client.get("{modelserver:k0}:spent:total") == expected)


def test_limits_that_cannot_be_kept_are_an_error_at_the_start(tmp_path: Path, upstream: Upstream) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    ended = command(text=settings(upstream, tmp_path, ["rpm: 5"], f"shared_state: redis://127.0.0.1:{port}\n"))
    assert ended.returncode == 1
    assert "Redis (shared_state) cannot be reached, and limits could not be enforced" in ended.stderr


def test_a_request_whose_question_is_dropped_from_a_full_queue_is_refused() -> None:
    """And does not wait for ever: while Redis hangs, more comes together than is kept."""

    async def run() -> None:
        limits = {"k": Limits(tpm=100)}
        limiter = RedisLimiter(
            SharedStateConfig(url="redis://127.0.0.1:1/0"), LocalLimiter(limits, Spent())
        )  # which nobody has begun
        asked = asyncio.ensure_future(limiter.reserve("k", limits["k"], 1, 0))
        await asyncio.sleep(0)
        for _ in range(20_000):
            limiter.settle("k", "2026-11-28", None, 1, 0)
        with pytest.raises(Overloaded):
            async with asyncio.timeout(5):
                await asked

    asyncio.run(run())
