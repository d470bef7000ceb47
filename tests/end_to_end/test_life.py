"""The life of the server under load: drain, reload, restart, overload, and clients that leave at any stage."""

import asyncio
import json
import re
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import httpx2 as httpx
import pytest
from http_client import PLAIN, Got, ask, delta, dial, metric, metrics, raw, until, whole
from process import PATIENCE, Process, config, run
from scripted import CLOSE, FOREVER, Script, Upstream, answer, chunked, sse, stream

from server.page import POLICY

Scripted = Callable[..., str]
START = sse(delta("", role="assistant"), delta("Once "), done=False)
END = sse(delta("upon"), delta(finish="stop"))
FINE = answer(whole())


def slow(seconds: float) -> Script:
    """A stream that takes its time."""
    return [*stream(START, end=False), seconds, *chunked(END)]


def get(server: Process, path: str) -> httpx.Response:
    with httpx.Client(timeout=PATIENCE, trust_env=False, verify=PLAIN) as http:
        return http.get(f"{server.root}{path}")


class Crowd:
    """Requests of many clients at once, each in a thread of its own."""

    def __init__(self, server: Process, model: str, count: int, stream: bool = True) -> None:
        self._pool = ThreadPoolExecutor(count)
        self._asked = [self._pool.submit(ask, server, model, stream) for _ in range(count)]

    def running(self) -> bool:
        """Whether none has its answer yet."""
        return not any(each.done() for each in self._asked)

    def got(self) -> list[Got]:
        got = [each.result(PATIENCE) for each in self._asked]
        self._pool.shutdown()
        return got


# Drain


@pytest.mark.anew
@pytest.mark.fault("F38")
def test_running_streams_finish(upstream: Upstream, scripted: Scripted) -> None:
    name = scripted(slow(2.0))
    with Process(config(upstream)) as server:
        crowd = Crowd(server, f"up/{name}", 20)
        upstream.wait(name, 20)
        with dial(server) as idle, dial(server) as quiet:
            idle.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert b"200 OK" in idle.recv(4096)
            server.send(signal.SIGTERM)
            until(lambda: "stopping" in server.out)
            idle.sendall(b"GET /readyz HTTP/1.1\r\nHost: localhost\r\n\r\n")  # in the grace for requests under way
            said = idle.recv(4096)
            assert b"503 Service" in said
            assert b"Connection: close" in said  # or a pool would take it for its next request
            assert quiet.recv(1) == b"" and crowd.running()  # closed while the streams go on
        with pytest.raises(ConnectionRefusedError):
            dial(server)
        assert [(each.text, each.done, each.error) for each in crowd.got()] == [("Once upon", True, None)] * 20
        assert server.ended() == 0
        assert "20 requests finished, 0 ended early" in server.out


@pytest.mark.anew
@pytest.mark.fault("F38")
def test_what_does_not_finish_in_time_hears_of_it(upstream: Upstream, scripted: Scripted) -> None:
    streamed, silent = scripted([*stream(START, end=False), FOREVER]), scripted([FOREVER])
    with Process(config(upstream, server="drain: 0.4")) as server:
        streams, wholes = Crowd(server, f"up/{streamed}", 5), Crowd(server, f"up/{silent}", 5, stream=False)
        upstream.wait(streamed, 5)
        upstream.wait(silent, 5)
        began = time.monotonic()
        server.send(signal.SIGTERM)
        for each in streams.got():
            assert (each.status, each.text, each.code, each.done) == (200, "Once ", "server_shutting_down", False)
        for each in wholes.got():
            assert (each.status, each.code, each.headers["x-should-retry"]) == (503, "server_shutting_down", "false")
        assert server.ended() == 0 and time.monotonic() - began < 4
        assert "0 requests finished, 10 ended early" in server.out
    for name in (streamed, silent):
        for request in upstream.of(name):
            request.wait_left()
            assert request.peer_left


@pytest.mark.anew
@pytest.mark.parametrize("first", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_does_not_wait(upstream: Upstream, scripted: Scripted, first: signal.Signals) -> None:
    name = scripted([*stream(START, end=False), FOREVER])
    with Process(config(upstream, server="drain: 60")) as server:
        crowd = Crowd(server, f"up/{name}", 3)
        upstream.wait(name, 3)
        server.send(first)
        until(lambda: "stopping" in server.out)
        server.send(signal.SIGTERM)
        began = time.monotonic()
        assert {each.code for each in crowd.got()} == {"server_shutting_down"}
        assert server.ended() == 0 and time.monotonic() - began < 3


# Reload


@pytest.mark.fault("F39")
def test_a_reload_brings_models_and_running_streams_keep_theirs() -> None:
    with Upstream() as old, Upstream() as other, Process(config(old)) as server:
        name = old.script("running", slow(1.2))
        other.script("new", answer(whole("from the new one")))
        crowd = Crowd(server, f"up/{name}", 5)
        old.wait(name, 5)
        text = config(other, models="fresh: up/new").replace("port: 0", f"port: {server.port}")
        server.config.write_text(text, encoding="utf-8")
        done = run("--config", str(server.config), "reload")
        assert (done.returncode, done.stdout, done.stderr) == (0, "reloaded: generation 2\n", "")
        assert ask(server, "fresh").text == "from the new one"
        assert [model["id"] for model in get(server, "/v1/models").json()["data"]] == ["echo", "fresh"]
        assert all(each.text == "Once upon" and each.done for each in crowd.got())
        assert metric(server, "config_generation") == 2
        until(lambda: not old.open)  # the old configuration's connections are closed with its last request


BROKEN = {
    "a typo": (lambda text: text.replace("providers:", "provider:"), r"config\.yaml:3: provider: unknown key; did you"),
    "no YAML": (lambda text: text + "\nserver: [", r"config\.yaml:\d+: not valid YAML"),
    "a certificate": (
        lambda text: text.replace("{protocol", "{ca_file: /nowhere.pem, protocol"),
        r"/nowhere\.pem: No such",
    ),
    "an open port": (lambda text: text.replace("server:", "server:\n  host: 0.0.0.0"), "refusing to listen"),
}


@pytest.mark.parametrize("how", [*BROKEN, "no file"])
@pytest.mark.fault("F40")
def test_a_broken_file_changes_nothing(upstream: Upstream, scripted: Scripted, how: str) -> None:
    name = scripted(FINE)
    with Process(config(upstream)) as server:
        if how == "no file":
            server.config.unlink()
            says = "No such file"
        else:
            change, says = BROKEN[how]
            server.config.write_text(change(config(upstream)), encoding="utf-8")
        server.send(signal.SIGHUP)
        health = until(lambda: (said := get(server, "/healthz").json())["failed"] and said)
        assert health["generation"] == 1 and re.search(says, health["reload"]), health
        assert ask(server, f"up/{name}").text == "Hi"
        assert metric(server, "config_reload_failed_total") == 1
        line = server.logged(level="error")
        assert re.search(says, line["message"])
        server.kill()  # an error in the log is what `stop` would complain of


def test_the_reload_command_says_what_is_wrong(upstream: Upstream) -> None:
    with Process(config(upstream)) as server:
        good = config(upstream).replace("port: 0", f"port: {server.port}")
        server.config.write_text(good + "\nmodles: {}\n", encoding="utf-8")
        other = server.config.with_name("address.yaml")  # where the command finds the server
        other.write_text(good, encoding="utf-8")
        done = run("--config", str(other), "reload")
        assert done.returncode == 2 and "modles: unknown key; did you mean 'models'?" in done.stderr
        server.kill()
    done = run("--config", "/nowhere.yaml", "reload")
    assert done.returncode == 1 and "there is no file /nowhere.yaml" in done.stderr
    assert run("reload", text="server: {port: 1}").returncode == 1


def test_a_watched_file_is_read_again_when_it_has_changed(upstream: Upstream) -> None:
    text = config(upstream, server="reload_on_change: true\nkeep_alive: {every: 0.2}", models="old: echo/echo")
    with Process(text) as server:

        def health() -> Any:
            return get(server, "/healthz").json()

        server.config.write_text(text.replace("old:", "new:"), encoding="utf-8")
        until(lambda: health()["generation"] == 2)
        assert ask(server, "new").status == 200 and ask(server, "old").status == 404
        server.config.write_text("server: [", encoding="utf-8")
        until(lambda: health()["failed"] == 1)
        server.config.unlink()
        other = server.config.with_suffix(".new")  # as editors do it
        other.write_text(text.replace("reload_on_change: true", "reload_on_change: false"), encoding="utf-8")
        other.rename(server.config)
        until(lambda: health()["generation"] == 3)
        assert ask(server, "old").status == 200 and health()["failed"] == 1  # a file that is not there is no file yet
        server.config.write_text(text, encoding="utf-8")
        time.sleep(0.5)  # ten looks
        assert health()["generation"] == 3
        server.kill()


def test_what_needs_a_restart_is_said(upstream: Upstream) -> None:
    with Process(config(upstream)) as server:
        server.config.write_text(config(upstream, server="log: text").replace("port: 0", "port: 1"), encoding="utf-8")
        server.send(signal.SIGHUP)
        for name in ("port", "log"):
            server.logged(level="warning", message=f"server.{name} has changed: that needs a restart")


class Load:
    """Clients that ask without a pause, each request on a connection of its own, until `stop`. failed: what went wrong."""

    def __init__(self, server: Process, model: str, clients: int = 4) -> None:
        self.server, self.model = server, model
        self.done = 0
        self.failed: list[str] = []
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._ask) for _ in range(clients)]
        for thread in self._threads:
            thread.start()

    def _ask(self) -> None:
        while not self._stop.is_set():
            try:
                got = ask(self.server, self.model, True)
                if not (got.done and got.text):
                    self.failed.append(got.body)
            except (httpx.HTTPError, OSError) as error:
                self.failed.append(repr(error))
            self.done += 1

    def stop(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(PATIENCE)


@pytest.mark.fault("F39", "F40")
def test_two_hundred_reloads_under_load(upstream: Upstream) -> None:
    """Half of them are of broken files. F39, F40."""
    upstream.script("reloaded", stream(START + END, cut=40))
    good = config(upstream, models="m: up/reloaded")
    with Process(good.replace("up/reloaded", "echo/echo")) as server:
        load = Load(server, "m", clients=2)
        for n in range(100):
            for text, name in ((good + f"# {n}", "generation"), (good + "\nbroken: [", "failed")):
                before = get(server, "/healthz").json()[name]
                server.config.write_text(text, encoding="utf-8")
                server.send(signal.SIGHUP)
                until(lambda before=before, name=name: get(server, "/healthz").json()[name] > before)
        load.stop()
        assert load.failed == [] and load.done > 20
        health = get(server, "/healthz").json()
        assert (health["generation"], health["failed"]) == (101, 100)
        assert {line["level"] for line in server.lines() if "level" in line} <= {"info", "error"}
        assert "Traceback" not in server.out and "never" not in server.err
        server.kill()


# Restart


def listening() -> socket.socket:
    """A socket as systemd holds it for a .socket unit."""
    return socket.create_server(("127.0.0.1", 0), backlog=1024)


def test_a_restart_behind_an_open_socket_refuses_nobody(upstream: Upstream) -> None:
    upstream.script("restart", stream(START + END))
    text = config(upstream, models="m: up/restart")
    with listening() as listener:
        server = Process(text, listener=listener)
        server.__enter__()
        load = Load(server, "m")
        for _ in range(3):
            time.sleep(0.3)
            server.stop()  # nobody accepts now; who connects waits
            server = Process(text, listener=listener)
            server.__enter__()
        time.sleep(0.3)
        load.stop()
        server.stop()
    assert load.failed == [] and load.done > 20


@pytest.mark.fault("F41")
def test_killed_in_mid_stream(upstream: Upstream, scripted: Scripted) -> None:
    """F41: the client sees a break, the upstream is left, and whoever connects next waits for the next process."""
    name = scripted([*stream(START, end=False), FOREVER])
    with listening() as listener:
        with Process(config(upstream), listener=listener) as server:
            with dial(server) as client:
                client.sendall(raw(f"up/{name}"))
                request = upstream.wait(name)
                until(lambda: b"Once" in client.recv(65536))
                server.kill()
                assert b"[DONE]" not in client.recv(65536)
            request.wait_left()
        with ThreadPoolExecutor(1) as pool:
            waiting = pool.submit(ask, server, "echo")
            with Process(config(upstream), listener=listener):
                assert waiting.result(PATIENCE).text == "Hello"


@pytest.mark.fault("F47")
def test_systemd_hears_of_everything(upstream: Upstream) -> None:
    with TemporaryDirectory() as folder, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(f"{folder}/notify")
        manager.settimeout(5)
        env = {"NOTIFY_SOCKET": f"{folder}/notify", "WATCHDOG_USEC": "200000"}
        said: list[str] = []

        def hear(line: str) -> None:
            while not said or not said[-1].startswith(line):
                said.append(manager.recv(4096).decode())

        with Process(config(upstream, server="keep_alive: {every: 0.2}"), env=env) as server:
            hear("READY=1")
            assert said == ["READY=1"]
            hear("WATCHDOG=1")
            server.send(signal.SIGHUP)
            hear("RELOADING=1\nMONOTONIC_USEC=")
            hear("READY=1")
        hear("STOPPING=1")


# Too much


def test_a_full_server_refuses_at_once_and_stays_healthy(upstream: Upstream, scripted: Scripted) -> None:
    name = scripted([*stream(START, end=False), FOREVER])
    quick = scripted(FINE)
    limits = "capacity: {requests: 2, waiting: 1, wait: 0.4}"
    with Process(config(upstream, server=limits)) as server:
        assert get(server, "/readyz").status_code == 200
        clients = [dial(server) for _ in range(2)]
        for client in clients:
            client.sendall(raw(f"up/{name}"))
        upstream.wait(name, 2)
        with ThreadPoolExecutor(1) as pool:
            began = time.monotonic()
            waits = pool.submit(ask, server, f"up/{quick}")
            until(lambda: metric(server, "waiting") == 1)
            refused = ask(server, f"up/{quick}")
            assert (refused.status, refused.code, refused.headers["retry-after"]) == (503, "overloaded", "1")
            late = waits.result()
            assert (late.status, late.code) == (503, "overloaded") and 0.3 < time.monotonic() - began < 2
            assert get(server, "/healthz").elapsed.total_seconds() < 0.25
            assert get(server, "/readyz").status_code == 503
            assert metric(server, "waiting") == 0
            assert metric(server, "refused_total", reason="requests") == 2 and metric(server, "in_flight") == 2

            waits = pool.submit(ask, server, f"up/{quick}")  # this one's turn comes
            until(lambda: metric(server, "waiting") == 1)
            clients[0].close()
            assert waits.result().text == "Hi"
        clients[1].close()
        until(lambda: metric(server, "in_flight") == 0)
        assert get(server, "/readyz").status_code == 200
    assert len(upstream.of(name)) == 2 and len(upstream.of(quick)) == 1


def test_bodies_have_a_bound_in_all(upstream: Upstream) -> None:
    limits = "max_body: 1MiB\ncapacity: {bytes: 1048576}"
    big = [{"role": "user", "content": "x" * 600_000}]
    with Process(config(upstream, server=limits)) as server:
        with dial(server) as client:
            client.sendall(raw("echo", messages=big)[:-1])
            until(lambda: metric(server, "request_bytes") > 600_000)
            got = ask(server, "echo", messages=big)
            assert (got.status, got.code, got.headers["retry-after"]) == (503, "overloaded", "1")
            assert ask(server, "echo").status == 200
        until(lambda: metric(server, "request_bytes") == 0)
        assert ask(server, "echo", messages=big).status == 200
    done = run("check", text="server: {max_body: 2MiB, capacity: {bytes: 1048576}}")
    assert done.returncode == 2 and "1: server.capacity.bytes: is less than server.max_body" in done.stderr


def test_a_provider_that_hangs_takes_nothing_from_another(upstream: Upstream, scripted: Scripted) -> None:
    name, quick = scripted([FOREVER]), scripted(FINE)
    text = config(upstream, models=f"both: [up/{name}, more/{quick}]").replace("{protocol", "{concurrency: 3, protocol")
    text = text.replace("models:", f'  more: {{protocol: openai, base_url: "{upstream.url}/v1"}}\nmodels:', 1)
    with Process(text) as server:
        clients = [dial(server) for _ in range(3)]
        for client in clients:
            client.sendall(raw(f"up/{name}"))
        upstream.wait(name, 3)
        assert metric(server, "upstream_calls", upstream="up") == 3
        got = ask(server, f"up/{quick}")
        assert (got.status, got.code, got.headers["retry-after"]) == (503, "provider_busy", "1")
        assert ask(server, f"more/{quick}").text == "Hi"
        assert ask(server, "both").text == "Hi"  # the bound is a reason to go elsewhere
        for client in clients:
            client.close()
        until(lambda: metric(server, "upstream_calls", upstream="up") == 0)
        assert all(ask(server, f"up/{quick}").text == "Hi" for _ in range(4))


@pytest.mark.fault("F36")
def test_connections_have_a_bound(upstream: Upstream, scripted: Scripted) -> None:
    name = scripted([FOREVER])
    with Process(config(upstream, server="capacity: {connections: 10}")) as server:
        clients = [dial(server) for _ in range(10)]
        for client in clients:
            client.sendall(raw(f"up/{name}"))
        upstream.wait(name, 10)
        for _ in range(5):
            with dial(server) as more:
                more.sendall(b"GET / HTTP/1.1\r\n\r\n")
                said = b"".join(iter(lambda: more.recv(4096), b""))
            assert said.startswith(b"HTTP/1.1 503 ") and b"Retry-After: 1" in said
            assert json.loads(said.partition(b"\r\n\r\n")[2])["error"]["code"] == "overloaded"
        for client in clients:
            client.close()
        for request in upstream.of(name):
            request.wait_left()
        assert metric(server, "connections_refused_total") == 5
        assert metric(server, "connections_replaced_total") == 0


def test_connections_without_a_request_make_room(upstream: Upstream, scripted: Scripted) -> None:
    """Slowloris beyond the bound: who asks is answered, who is being answered stays, the oldest of the others go."""
    name = scripted([*stream(START, end=False), FOREVER])
    with Process(config(upstream, server="capacity: {connections: 10}")) as server:
        busy, body = dial(server), dial(server)
        busy.sendall(raw(f"up/{name}"))
        until(lambda: b"Once" in busy.recv(65536))
        body.sendall(raw("echo")[:-1])  # its last byte is still to come
        until(lambda: metric(server, "request_bytes"))
        silent, headers, kept = ([dial(server) for _ in range(3)] for _ in range(3))
        for client in headers:
            client.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nX-a: b\r\n")
        for client in kept:
            client.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert b"200 OK" in client.recv(4096)
        for _ in range(20):
            assert ask(server, "echo").status == 200
        assert metric(server, "connections_refused_total") == 0
        assert 1 <= metric(server, "connections_replaced_total") < 10
        assert silent[0].recv(1) == b""
        body.sendall(b"}")
        assert b"200 OK" in body.recv(65536)
        assert metric(server, "in_flight") == 1
        for client in (busy, body, *silent, *headers, *kept):
            client.close()


@pytest.mark.fault("F45")
def test_few_open_files_are_enough(upstream: Upstream, scripted: Scripted) -> None:
    """F45: the bound on connections follows the limit of open files, so that calls upstream still find some."""
    name = scripted(slow(0.5))
    with Process(config(upstream), files=64) as server:
        crowd = Crowd(server, f"up/{name}", 10)
        upstream.wait(name, 10)
        clients = [dial(server) for _ in range(60)]
        assert all(each.text == "Once upon" for each in crowd.got())
        for client in clients:
            client.close()
        assert until(lambda: ask(server, "echo").status == 200)
    assert len([line for line in server.lines() if "level" in line]) < 20


@pytest.mark.fault("F47")
def test_a_loop_that_stood_still(upstream: Upstream, scripted: Scripted) -> None:
    """F47: late, not failed."""
    name = scripted(slow(0.3))
    with Process(config(upstream)) as server:
        crowd = Crowd(server, f"up/{name}", 5)
        upstream.wait(name, 5)
        server.send(signal.SIGSTOP)
        time.sleep(1.6)
        server.send(signal.SIGCONT)
        assert all(each.text == "Once upon" and each.done for each in crowd.got())
        assert until(lambda: metric(server, "loop_lag_max_seconds") > 0.5)


# Clients that leave, at each stage, many times, and nothing is left


def sockets(pid: int) -> int:
    """Open sockets of a process."""
    count = 0
    for link in Path(f"/proc/{pid}/fd").iterdir():
        try:
            count += str(link.readlink()).startswith("socket:")
        except FileNotFoundError:
            continue
    return count


@pytest.fixture(scope="module")
def hole() -> Iterator[int]:
    """A port where connections are neither accepted nor refused: its queue is full."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        waiting = [socket.socket() for _ in range(8)]
        for each in waiting:
            each.setblocking(False)
            each.connect_ex(listener.getsockname())
        yield listener.getsockname()[1]
        for each in waiting:
            each.close()


STAGES: dict[str, Script] = {
    "queue": FINE,
    "connect": FINE,
    "first byte": [FOREVER],
    "stream": [*stream(START, end=False), FOREVER],
    "retry sleep": answer({}, 503, {"Retry-After": "2"}),
}


@pytest.mark.fault("F32")
def test_leaving_at_each_stage_leaves_nothing(upstream: Upstream, hole: int) -> None:
    """F32: 5 stages, 50 clients each, streamed and not."""
    limits = "capacity: {requests: 60, waiting: 100}\ncooldown: {failures: 1000}"
    text = config(upstream, server=limits)
    text = text.replace("models:", f'  hole: {{protocol: openai, base_url: "http://127.0.0.1:{hole}/v1"}}\nmodels:', 1)
    with Process(text) as server:
        assert ask(server, "echo").status == 200
        before = sockets(server.pid)
        for stage, script in STAGES.items():
            name = upstream.script(f"leave-{stage.replace(' ', '-')}", script)
            model = f"hole/{name}" if stage == "connect" else f"up/{name}"
            holders = [dial(server) for _ in range(60 if stage == "queue" else 0)]
            for holder in holders:
                holder.sendall(raw(f"up/{upstream.script('hold', [FOREVER])}"))
            if holders:
                upstream.wait("hold", 60)
            count = 10 if stage == "retry sleep" else 50  # so many retries may come at once
            clients = [dial(server) for _ in range(count)]
            for n, client in enumerate(clients):
                client.sendall(raw(model, stream=n % 2 == 0))
            match stage:
                case "queue":
                    until(lambda: metric(server, "waiting") == 50)
                case "connect":
                    until(lambda: metric(server, "upstream_calls", upstream="hole") == 50)
                case _:
                    upstream.wait(name, count)
            if stage == "retry sleep":
                until(lambda: metric(server, "upstream_calls", upstream="up") == 0)
            asked = len(upstream.of(name))
            left = time.monotonic()
            for client in clients:
                client.close()
            held = len(holders)
            until(lambda held=held: metric(server, "in_flight") == held and not metric(server, "waiting"), 2)
            if stage in ("first byte", "stream"):
                assert max(request.wait_left() for request in upstream.of(name)) - left < 0.5  # 50 at once, 2 cores
            for holder in holders:
                holder.close()
            until(lambda: metric(server, "in_flight") == 0)
            assert len(upstream.of(name)) == asked == (0 if stage in ("queue", "connect") else count), stage

            def lines(model: str = model) -> list[dict[str, Any]]:
                return [line for line in server.lines() if line.get("model") == model]

            until(lambda lines=lines, count=count: len(lines()) == count)
            assert {line["status"] for line in lines()} == {499}
        time.sleep(2.2)  # longer than the retry sleep: nobody asks again
        assert len(upstream.of("leave-retry-sleep")) == 10
        counted = metrics(server)
        assert counted[("cancelled_total", frozenset())] == 4 * 50 + 10 + 60
        # The refusals were read to their end, so their ten connections are kept for later calls; nothing else is.
        until(lambda: sockets(server.pid) - len(upstream.open) <= before and len(upstream.open) <= 10)


# Secrets


@pytest.mark.parametrize("streamed", [False, True])
def test_no_canary_gets_out(upstream: Upstream, streamed: bool) -> None:
    """Upstreams that quote the key they were sent, wherever an error may hold words; every protocol; every route."""
    keys = {"up": "sk-upstream-canary", "claude": "sk-ant-canary-12345678", "gem": "AIza-canary-1234567890"}
    text = config(upstream, more='keys: [{name: me, key: "client-key-canary!"}]').replace(
        "models:",
        f"""  claude: {{protocol: anthropic, base_url: "{upstream.url}", api_key: {keys["claude"]}}}
  gem: {{protocol: gemini, base_url: "{upstream.url}", api_key: {keys["gem"]}}}
  odd: {{protocol: openai, base_url: "{upstream.url}/v1", api_key: "plain-canary-pass"}}
models:""",
        1,
    )
    keys["odd"] = "plain-canary-pass"
    client = {"Authorization": "Bearer client-key-canary!"}
    heard = ""
    with Process(text) as server:
        for provider, key in keys.items():
            words = f"{key} is bad; Authorization: Bearer {key}, x-api-key: {key}, client-key-canary! at {upstream.url}"
            error = {"error": {"message": words, "type": words, "param": words, "code": words, "status": words}}
            for status in (400, 401, 403, 404, 409, 413, 422, 429, 500, 503, 200):
                name = upstream.script(f"c-{provider}-{status}-{streamed}", answer(error, status))
                heard += ask(server, f"{provider}/{name}", streamed, headers=client).body
            name = upstream.script(f"c-{provider}-{streamed}", [*stream(sse(error)), CLOSE])
            heard += ask(server, f"{provider}/{name}", streamed, headers=client).body
            heard += ask(server, f"{provider}/{key}", streamed, headers=client).body
            heard += ask(server, key, streamed, headers=client).body
            heard += ask(server, "echo", headers={"Authorization": f"Bearer {key}"}).body
        for path in ("/", "/healthz", "/readyz", "/metrics", "/v1/models", f"/v1/models/{key}", f"/{key}"):
            with httpx.Client(trust_env=False, verify=PLAIN, headers=client) as http:
                got = http.get(server.root + path)
            heard += got.text + str(dict(got.headers))
    assert len(heard) > 5000 and "canary" not in heard
    assert upstream.url.removeprefix("http://") not in heard
    assert "canary" not in server.out


def test_files_with_keys_that_all_may_read_are_refused() -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder, "config.yaml")
        path.write_text("providers: {openai: {api_key: sk-literal-canary}}\n", encoding="utf-8")
        path.chmod(0o644)
        assert run("--config", str(path), "check").returncode == 0  # nobody else gets into the folder
        Path(folder).chmod(0o755)
        done = run("--config", str(path), "check")
        assert done.returncode == 2 and "can be read by every user" in done.stderr and "canary" not in done.stderr
        path.chmod(0o640)
        assert run("--config", str(path), "check").returncode == 0
        path.write_text('providers: {openai: {api_key: "${OPENAI_API_KEY}"}}\n', encoding="utf-8")
        path.chmod(0o644)
        for key in ("sk-canary", "providers"):  # a word that stands in the file, too, is not why
            assert run("--config", str(path), "check", env={"OPENAI_API_KEY": key}).returncode == 0
        path.write_text("keys: [{name: me, key: a-literal-canary}]\nproviders: {echo: {}}\n", encoding="utf-8")
        path.chmod(0o644)
        assert run("--config", str(path), "check").returncode == 2


def test_keys_come_from_credentials_of_the_unit() -> None:
    with TemporaryDirectory() as folder:
        Path(folder, "OPENAI_API_KEY").write_text("sk-canary-from-a-file\n", encoding="utf-8")
        done = run(
            "check",
            text='providers: {openai: {api_key: "${OPENAI_API_KEY}"}}',
            env={"CREDENTIALS_DIRECTORY": folder},
        )
    assert done.returncode == 0 and "Providers: openai." in done.stdout


# What the server tells about itself


def test_metrics_are_for_this_machine_and_for_keys(upstream: Upstream) -> None:
    more = 'keys: [{name: me, key: "a-good-canary"}]'
    with Process(config(upstream, more)) as server:
        for headers, status in (
            ({}, 200),
            ({"X-Forwarded-For": "192.0.2.1"}, 401),
            ({"Origin": "https://evil.example"}, 401),
            ({"Host": "evil.example"}, 401),
            ({"X-Forwarded-For": "192.0.2.1", "Authorization": "Bearer a-good-canary"}, 200),
        ):
            with httpx.Client(trust_env=False, verify=PLAIN, headers=headers) as http:
                assert http.get(f"{server.root}/metrics").status_code == status, headers
                assert ("pid" in http.get(f"{server.root}/healthz").json()) == (not headers)


def test_labels_come_from_the_configuration_alone(upstream: Upstream, scripted: Scripted) -> None:
    name = scripted(FINE)
    with Process(config(upstream, models=f"mine: up/{name}")) as server:
        for n in range(50):
            ask(server, f"invented-{n}")
            ask(server, f"up/invented-{n}")
            ask(server, f"echo-{n}")
        ask(server, "mine")
        ask(server, "echo", True)
        counted = metrics(server)
    models = {dict(labels)["model"] for _, labels in counted if "model" in dict(labels)}
    assert models == {"mine", "echo", "echo-*", "up/*", "other"}
    assert counted["requests_total", frozenset({"model": "mine", "upstream": "up", "status": "200"}.items())] == 1
    assert counted["requests_total", frozenset({"model": "other", "upstream": "", "status": "404"}.items())] == 50
    assert counted["tokens_total", frozenset({"model": "mine", "upstream": "up", "kind": "prompt"}.items())] == 3
    assert counted["first_byte_seconds_count", frozenset({("model", "echo")})] == 1
    assert counted["overhead_seconds_count", frozenset()] >= 2


def test_every_answer_has_its_headers(upstream: Upstream) -> None:
    with Process(config(upstream)) as server:
        for path in ("/", "/healthz", "/v1/models", "/nothing"):
            headers = get(server, path).headers
            assert headers["content-security-policy"] == (
                POLICY if path == "/" else "default-src 'none'; frame-ancestors 'none'"
            )
            assert headers["x-content-type-options"] == "nosniff" and headers["referrer-policy"] == "no-referrer"
            assert headers["cache-control"] == "no-store" and headers["x-request-id"]
        with dial(server) as client:
            client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nX-Key: sk-canary-in-a-broken\x00header\r\n\r\n")
            said = b"".join(iter(lambda: client.recv(65536), b""))
        assert said.startswith(b"HTTP/1.") and b" 400 " in said[:14] and b"canary" not in said
        assert json.loads(said.partition(b"\r\n\r\n")[2])["error"]["code"] == "invalid_http"
        assert b"Server: ModelServer\r\n" in said and b"nosniff" in said and b"aiohttp" not in said


def test_a_flood_of_broken_requests_does_not_fill_the_log(upstream: Upstream) -> None:
    with Process(config(upstream)) as server:
        for _ in range(300):
            with dial(server) as client:
                client.sendall(b"GET / HTTP/1.1\r\nA\x00B: c\r\n\r\n")
        until(lambda: ask(server, "echo").status == 200)
    assert 1 <= sum("not valid HTTP" in line for line in server.out.splitlines()) <= 60  # ten a second


def test_a_flood_without_a_key_does_not_fill_the_log(upstream: Upstream) -> None:
    """T47: whoever has a key is logged in full; the rest of the world a few times a second."""
    with Process(config(upstream, more='keys: [{name: me, key: "a-good-key"}]')) as server:
        began = time.monotonic()
        with httpx.Client(timeout=PATIENCE, trust_env=False, verify=PLAIN) as http:
            for n in range(500):
                assert http.post(f"{server.url}/chat/completions", content=b"{}").status_code == 401
                assert http.get(f"{server.root}/wp-admin/{n}").status_code == 404
            for _ in range(30):
                good = {"Authorization": "Bearer a-good-key"}
                assert http.get(f"{server.url}/models/none", headers=good).status_code == 404
            seconds = time.monotonic() - began
            server.logged(status=404, key="me")
            dropped = metric(server, "log_dropped_total")
    lines = [line for line in server.lines() if "status" in line]
    without = [line for line in lines if "key" not in line and line["status"] in (401, 404)]
    assert len(without) + dropped == 1000
    assert 20 <= len(without) <= 2 * 10 * (seconds + 2)
    assert sum(line.get("key") == "me" and line["status"] == 404 for line in lines) == 30


def test_the_handler_of_the_loop_says_each_thing_once_a_second(caplog: pytest.LogCaptureFixture) -> None:
    from server.process.listener import throttled_exception_handler

    now = 100.0
    handler, loop = throttled_exception_handler(lambda: now), asyncio.new_event_loop()
    for _ in range(500):
        handler(loop, {"message": "socket.accept() out of system resource", "exception": OSError(24, "Too many")})
    assert [record.message for record in caplog.records] == [
        "socket.accept() out of system resource: [Errno 24] Too many"
    ]
    now = 101.0
    handler(loop, {"message": "socket.accept() out of system resource", "exception": OSError(24, "Too many")})
    assert len(caplog.records) == 2
    loop.close()


def test_a_client_that_leaves_at_the_moment_of_its_answer_is_no_error_of_ours(caplog: pytest.LogCaptureFixture) -> None:
    from server.process.listener import ClientProtocol

    with pytest.raises(ConnectionResetError):
        ClientProtocol.handle_error(object.__new__(ClientProtocol), None, 500, ConnectionResetError())  # type: ignore[arg-type]
    assert caplog.records == []
