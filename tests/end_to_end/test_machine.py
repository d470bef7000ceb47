"""What a machine does to the process that runs on it: name servers that say nothing, addresses that swallow connections,
clocks that jump. With the default limits, which are those that the fault matrix names.
"""

import json
import os
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from http_client import Got, ask, delta, dial, metric, whole
from process import Process, config
from scripted import Upstream, answer, chunked, sse, stream
from test_fault_matrix import hole
from test_logs import wait_until_it_listens
from usage_helpers import counted, settings

pytestmark = pytest.mark.anew

Scripted = Callable[..., str]
assert hole  # a fixture of this module, too

RESOLVER = "127.0.0.153"  # of this machine's own, and nobody's
FAKETIME = next(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"), None)


@pytest.fixture
def silent(tmp_path: Path) -> Iterator[list[str]]:
    """A command inside which names are asked of a name server that never answers."""
    if subprocess.run(["unshare", "--mount", "true"], capture_output=True, check=False).returncode:
        pytest.skip(
            "no process can be given a name server of its own here: that takes root, and a root that is a mount"
        )
    resolv = tmp_path / "resolv.conf"
    resolv.write_text(f"nameserver {RESOLVER}\n", encoding="ascii")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind((RESOLVER, 53))
        yield ["unshare", "--mount", "sh", "-c", f'mount --bind {resolv} /etc/resolv.conf && exec "$@"', "sh"]
        server.setblocking(False)
        assert b"slow" in server.recv(512), "nobody asked"


@pytest.mark.fault("F2", "F4")
def test_nobody_says_where_an_upstream_is_and_nobody_answers_there(silent: list[str], hole: int) -> None:
    """F2, F4: five seconds each, whatever the resolver's and the kernel's own patience."""
    text = config().replace(
        "models:\n",
        f"""  slow: {{protocol: openai, base_url: "https://llm.slow.example/v1", api_key: sk-slow-canary}}
  hole: {{protocol: openai, base_url: "http://127.0.0.1:{hole}/v1", api_key: sk-hole-canary}}
models:
""",
        1,
    )
    with Process(text, inside=silent) as server, ThreadPoolExecutor(20) as pool:
        began = time.monotonic()
        asked = [
            pool.submit(ask, server, f"{name}/m", streamed) for name in ("slow", "hole") for streamed in (True, False)
        ]
        asked += [pool.submit(ask, server, "slow/m") for _ in range(8)]  # more than uvloop has threads for names
        while not all(each.done() for each in asked):
            assert ask(server, "echo").text == "Hello"  # others do not wait
            time.sleep(0.05)
        assert 4.5 < time.monotonic() - began < 7.5
        for each in asked:
            got: Got = each.result()
            assert (got.status, got.code) == (504, "upstream_connect_timeout"), got.body
            assert got.headers.get("x-should-retry") is None  # nothing was sent
            server.logged(request=got.headers["x-request-id"], status=504, code="upstream_connect_timeout")
        for name, count in (("slow", 10), ("hole", 2)):
            assert metric(server, "upstream_errors_total", upstream=name, code="upstream_connect_timeout") == count
            assert metric(server, "upstream_calls", upstream=name) == 0
        began = time.monotonic()
        server.stop()  # though the lookups still hang
        assert time.monotonic() - began < 5


class Clock:
    """The wall clock of a server: this machine's, and some seconds."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.set(0)
        # libfaketime 0.9.10 refuses Python's way to sleep, until a time of the monotonic clock, once its own has jumped.
        path.with_name("sitecustomize.py").write_text(
            "import select, time\ntime.sleep = lambda seconds: select.select([], [], [], seconds)\n", encoding="ascii"
        )
        self.env = {
            "LD_PRELOAD": str(FAKETIME),
            "FAKETIME_TIMESTAMP_FILE": str(path),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",  # that one never jumps
            "NO_FAKE_STAT": "1",
            "PYTHONPATH": str(path.parent),
        }

    def set(self, seconds: int) -> None:
        new = self._path.with_suffix(".new")
        new.write_text(f"{seconds:+}\n", encoding="ascii")
        new.replace(self._path)


@pytest.fixture
def clock(tmp_path: Path) -> Clock:
    if FAKETIME is None:
        pytest.skip("libfaketime is not installed")
    return Clock(tmp_path / "clock")


DAY, HOUR = 86_400, 3600


@pytest.mark.fault("F46")
def test_a_clock_that_jumps(clock: Clock, upstream: Upstream, scripted: Scripted, tmp_path: Path) -> None:
    """F46: a day forward, then an hour behind where it was. Nothing expires, nobody waits for longer, or for less than
    nothing; only what goes by the calendar does.
    """
    piece = chunked(sse(delta("word "), done=False), end=False)
    long = scripted([*stream(sse(delta("first "), done=False), end=False),
                     *[step for _ in range(8) for step in (0.4, *piece)],
                     *chunked(sse(delta(finish="stop")))], prefix="priced")  # fmt: skip
    silent = scripted([3.0, *answer(whole())], prefix="priced")
    rests = scripted(answer({"error": {"message": "slow down"}}, 429, {"Retry-After": "50"}))
    quick = scripted(answer(whole()), prefix="priced")
    dear = scripted(counted(100, 50), prefix="priced")
    keys = ["rpm: 2", "budget_usd: 0.1, budget_period: total", "tpm: 100000, expires: 2999-12-31", "concurrency: 2"]
    limited, spent, free, busy = ({"Authorization": f"Bearer sk-canary-{n}"} for n in range(len(keys)))
    text = settings(upstream, tmp_path, keys, server="keep_alive: {after: 0.3, every: 0.2}")

    def created(server: Process) -> int:
        answer = ask(server, "echo", headers=free)
        assert answer.status == 200
        return int(answer.body.partition('"created":')[2].partition(",")[0])

    def check(server: Process) -> None:
        """What holds before and after each jump."""
        got = ask(server, f"up/{quick}", headers=limited)
        assert (got.status, got.code) == (429, "rate_limit_exceeded") and 1 <= int(got.headers["retry-after"]) <= 61
        got = ask(server, f"up/{dear}", headers=spent, max_tokens=9)
        assert (got.status, got.code) == (429, "budget_exceeded")
        got = ask(server, f"up/{rests}", headers=free)
        assert (got.status, got.code) == (429, "rate_limit_exceeded") and 1 <= int(got.headers["retry-after"]) <= 50
        assert ask(server, f"up/{quick}", headers=free).text == "Hi"

    with Process(text, env=clock.env) as server, ThreadPoolExecutor(2) as pool, dial(server) as idle:
        idle.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert b"200 OK" in idle.recv(4096)
        for _ in range(2):
            assert ask(server, f"up/{quick}", headers=limited).status == 200
        assert ask(server, f"up/{dear}", headers=spent, max_tokens=9).status == 200  # and costs 20 cents of 10
        check(server)
        running = pool.submit(ask, server, f"up/{long}", True, headers=busy)
        waiting = pool.submit(ask, server, f"up/{silent}", True, headers=busy)
        before = created(server)
        for jump in (DAY, -HOUR, 0):
            time.sleep(0.4)
            assert not running.done() and not waiting.done()
            clock.set(jump)
            assert abs(created(server) - before - jump) < 30  # the server does see another time
            check(server)
            got = ask(server, f"up/{quick}", headers=busy)  # two run, as before
            assert (got.status, got.code) == (429, "rate_limit_exceeded")
        got = running.result()
        assert (got.text, got.done, got.error) == ("first " + "word " * 8, True, None)
        got = waiting.result()
        assert (got.text, got.done) == ("Hi", True) and 8 <= got.body.count(": keep-alive") <= 16
        idle.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")  # no idle connection was closed
        assert b"200 OK" in idle.recv(4096)
        assert metric(server, "in_flight") == 0 and metric(server, "loop_lag_max_seconds") < 5
        server.stop()
        lines = [line for line in server.lines() if "status" in line]
    assert {line["status"] for line in lines} == {200, 429}
    assert all(0 <= line["total_ms"] < 60_000 and line.get("first_ms", 0) >= 0 for line in lines)


@pytest.mark.fault("F44")
def test_what_is_not_logged_is_counted() -> None:
    """F44: nobody reads the log. Requests are answered as ever; the lines that find no room are counted, the others come
    when somebody reads again.
    """
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    outlet, inlet = os.pipe()
    server = Process(config().replace("port: 0", f"port: {port}"), stdout=inlet)
    os.close(inlet)
    try:
        server.at(port)
        wait_until_it_listens(port, server)
        pile, piles = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n" * 100, 120
        with dial(server) as client:
            for _ in range(piles):
                client.sendall(pile)
                said = b""
                while said.count(b'"status":"ok"') < 100:
                    said += client.recv(2**18)
        dropped = metric(server, "log_dropped_total")
        assert 0 < dropped < 100 * piles
        with os.fdopen(outlet, encoding="utf-8") as pipe, ThreadPoolExecutor(1) as pool:  # now it is read
            read = pool.submit(pipe.read)
            assert server.stop() == 0
            lines = [json.loads(line) for line in read.result().split("\n") if line.startswith("{")]
        written = sum(line.get("path") == "/healthz" for line in lines)
        assert written + dropped == 100 * piles
    finally:
        server.kill()
