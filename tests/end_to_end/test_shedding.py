"""Under strain the server takes on no more than it must: memory near its limit (F48), a loop that keeps coming late."""

import os
import re
import signal
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from http_client import Got, ask, dial, metric, raw, until, whole
from process import Process, config
from scripted import FOREVER, Upstream, answer

from gateway.config_schema import CapacityConfig
from providers.errors import Overloaded
from server.admission import Admission
from server.process import memory

pytestmark = pytest.mark.anew

Scripted = Callable[..., str]


def ready(server: Process) -> bool:
    return metric(server, "ready") == 1


@pytest.mark.fault("F48")
def test_memory_near_its_limit(upstream: Upstream, scripted: Scripted) -> None:
    """Prompts that hang upstream fill it; what comes then is refused until they are gone. The process is not killed."""
    name, quick = scripted([FOREVER]), scripted(answer(whole()))
    limits = "capacity: {memory: 120MiB}\nkeep_alive: {every: 0.4}\nmax_body: 2MiB"
    big = [{"role": "user", "content": "x" * 1_000_000}]
    with Process(config(upstream, server=limits)) as server:
        assert metric(server, "resident_bytes_limit") == 120 * 2**20 and ready(server)
        clients: list[socket.socket] = []

        got: list[Got] = []

        def refused() -> bool:
            clients.append(dial(server))
            with suppress(ConnectionError):
                clients[-1].sendall(raw(f"up/{name}", messages=big))
            got.append(ask(server, f"up/{quick}"))
            return got[-1].status != 200

        until(refused, 30)
        assert (got[-1].status, got[-1].code, got[-1].headers["retry-after"]) == (503, "overloaded", "1")
        assert metric(server, "refused_total", reason="memory") >= 1
        assert server.logged(level="warning")["message"].startswith("too much memory: no new request is let in")
        for client in clients:
            client.close()
        until(lambda: ready(server))
        assert ask(server, f"up/{quick}").text == "Hi"
    assert len(upstream.of(quick)) == len(got)
    upstream.requests.clear()


@pytest.fixture
def cage() -> Iterator[list[str]]:
    """A command inside which the kernel allows 200 MiB of memory, as systemd's MemoryMax= or a container would."""
    line = next(line for line in Path("/proc/self/cgroup").read_text().splitlines() if re.search(":memory:|^0::", line))
    top, name = (
        ("/sys/fs/cgroup/memory", "memory.limit_in_bytes") if "memory" in line else ("/sys/fs/cgroup", "memory.max")
    )
    group = Path(top + line.split(":", 2)[2], f"modelserver-test-{os.getpid()}")
    try:
        group.mkdir()
        (group / name).write_text(str(200 * 2**20))
    except OSError as error:
        with suppress(OSError):
            group.rmdir()
        pytest.skip(f"no control group can be made here: {error}")
    yield ["sh", "-c", f'echo $$ >{group}/cgroup.procs && exec "$@"', "sh"]
    group.rmdir()


@pytest.mark.fault("F48")
def test_the_limit_that_the_kernel_sets_is_not_reached(cage: list[str], upstream: Upstream, scripted: Scripted) -> None:
    """Twice as much as there is room for: some of it is refused, and the process goes on."""
    name = scripted([FOREVER])
    big = [{"role": "user", "content": "x" * 15_000_000}]
    with Process(config(upstream, server="max_body: 16MiB\nkeep_alive: {every: 0.4}"), inside=cage) as server:
        assert metric(server, "resident_bytes_limit") == 160 * 2**20
        clients: list[socket.socket] = []
        for _ in range(20):
            clients.append(dial(server))
            with suppress(ConnectionError):  # one that is refused may be closed before it has sent all
                clients[-1].sendall(raw(f"up/{name}", messages=big))
            time.sleep(0.1)  # the server looks as often
        until(lambda: metric(server, "refused_total", reason="memory") >= 1)
        for client in clients:
            client.close()
        until(lambda: ready(server))
        assert ask(server, "echo").text == "Hello"


def test_bodies_that_come_at_once_are_counted_before_they_are_taken(
    cage: list[str], upstream: Upstream, scripted: Scripted
) -> None:
    """Faster than the server looks at its memory: 24 clients say how much they are about to send, then all send it."""
    name = scripted([FOREVER])
    data = raw(f"up/{name}", messages=[{"role": "user", "content": "x" * 15_000_000}])
    limits = "max_body: 16MiB\nkeep_alive: {after: 30, every: 30}\ntimeouts: {write: 30}\ncapacity: {bytes: 1GiB}"
    with Process(config(upstream, server=limits), inside=cage) as server:
        clients = [dial(server) for _ in range(24)]
        for client in clients:
            client.sendall(data[:500])  # the head among it
        for client in clients:
            with suppress(ConnectionError):
                client.sendall(data[500:])
        until(lambda: metric(server, "refused_total", reason="memory") >= 10)
        for client in clients:
            client.close()
        until(lambda: metric(server, "in_flight") == 0 and ready(server))
        assert ask(server, "echo").text == "Hello"
    upstream.requests.clear()


def test_a_loop_that_keeps_coming_late(upstream: Upstream, scripted: Scripted) -> None:
    """A process that gets its processor only now and then: one pause alone refuses nobody."""
    name, quick = scripted([FOREVER]), scripted(answer(whole()))
    with (
        Process(config(upstream, server="capacity: {lag: 0.2}\nkeep_alive: {every: 0.4}")) as server,
        dial(server) as client,
    ):
        client.sendall(raw(f"up/{name}"))
        upstream.wait(name)

        def pause() -> None:
            server.send(signal.SIGSTOP)
            time.sleep(0.5)
            server.send(signal.SIGCONT)

        pause()
        assert ask(server, f"up/{quick}").text == "Hi"

        def refused() -> bool:
            pause()
            time.sleep(0.02)
            return ask(server, f"up/{quick}").status == 503

        until(refused, 20)
        assert metric(server, "refused_total", reason="lag") >= 1
        until(lambda: ready(server))
        assert ask(server, f"up/{quick}").text == "Hi"


async def test_bytes_are_counted_before_the_next_look_at_memory() -> None:
    """A limit of 800 bytes is four fifths of 1,000. A body that arrives takes three times its bytes."""
    admission = Admission(CapacityConfig(), memory=800)
    admission.observe(0.0, 500)
    with admission.enter(5) as one, admission.enter(5) as two, admission.enter(5) as three:
        one.hold_bytes(600)  # nothing else is held
        with pytest.raises(Overloaded):
            two.hold_bytes(1)
        assert admission.refused["memory"] == 1 and admission.pressed
        admission.observe(0.0, 700)  # it turned out to be less
        two.hold_bytes(70)
        with pytest.raises(Overloaded):
            three.hold_bytes(31)
        three.hold_bytes(30)
        assert admission.bytes == admission.taken == 700
    assert (admission.bytes, admission.taken) == (0, 700)


async def test_one_at_a_time_is_always_let_in() -> None:
    admission = Admission(CapacityConfig(), memory=100)
    admission.observe(0.0, 101)
    assert admission.overload == "memory" and admission.ready
    with admission.enter(5) as first:
        await first.acquire()
        assert not admission.ready
        with pytest.raises(Overloaded):
            admission.enter(5)
    with admission.enter(5) as second:
        await second.acquire()
    admission.observe(1.1, 100)
    assert admission.overload == ""
    admission.observe(1.1, 100)
    assert admission.overload == "lag"
    admission.observe(0.9, 100)
    assert admission.overload == ""
    assert admission.refused == {"requests": 0, "bytes": 0, "memory": 1, "lag": 0}


def test_the_limit_of_the_control_groups(tmp_path: Path) -> None:
    """Version 2, whose limits are those of every group above too; version 1; and a container, which sees its own as the root."""
    service = tmp_path / "system.slice" / "modelserver.service"
    service.mkdir(parents=True)
    groups = "0::/system.slice/modelserver.service\n"
    assert memory.allowed(groups, tmp_path) == 0
    (service / "memory.max").write_text("max\n")
    assert memory.allowed(groups, tmp_path) == 0
    (service.parent / "memory.max").write_text("2000000000\n")
    assert memory.allowed(groups, tmp_path) == 1_600_000_000
    (service / "memory.max").write_text("1000000000\n")
    assert memory.allowed(groups, tmp_path) == 800_000_000

    first = tmp_path / "memory"
    first.mkdir()
    (first / "memory.limit_in_bytes").write_text("500000000\n")
    assert memory.allowed("5:cpu,cpuacct:/x\n4:memory:/docker/abc\n", tmp_path) == 400_000_000
    (first / "memory.limit_in_bytes").write_text("9223372036854771712\n")
    assert memory.allowed("4:memory:/docker/abc\n", tmp_path) == 0


def test_what_is_resident() -> None:
    before = memory.resident()
    held = bytearray(200 * 2**20)  # more than the process may have kept of what it freed
    assert memory.resident() - before > 100 * 2**20 and len(held)
    del held
    memory.trim()
    assert memory.resident() - before < 20 * 2**20
