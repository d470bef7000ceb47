"""Large bodies: what they stand for is counted, dense ones are refused, and the event loop is not what works on them."""

import asyncio
import json
import re
import socket
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx2 as httpx
import pytest
from http_client import ask, dial, metric, raw, until, whole
from process import Process, config
from scripted import FOREVER, Upstream, answer

from dialects.validation import count_and_read
from gateway.config_schema import CapacityConfig
from providers import density
from providers.errors import BadRequest, Overloaded
from server.admission import Admission
from server.worker import Worker

MESSAGES = '"messages":[{"role":"user","content":"x"}]'
linux = pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux's /proc")


def with_array(item: str, count: int, model: str = "echo") -> bytes:
    return f'{{"model":"{model}",{MESSAGES},"x":[{",".join([item] * count)}]}}'.encode()


def memory(server: Process, what: str = "VmRSS") -> int:
    """Bytes: VmRSS now, VmHWM the most there was."""
    found = re.search(rf"{what}:\s+(\d+) kB", Path(f"/proc/{server.pid}/status").read_text())
    assert found
    return int(found[1]) * 1024


def threads(server: Process) -> int:
    return len([*Path(f"/proc/{server.pid}/task").iterdir()])


def post(server: Process, body: bytes, path: str = "chat/completions") -> httpx.Response:
    with httpx.Client(timeout=60, trust_env=False) as http:
        return http.post(f"{server.url}/{path}", content=body)


@pytest.mark.parametrize("window", [1, 2, 3, 7, 64, 2**18])
def test_values_are_counted_outside_of_strings(window: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(density, "_WINDOW", window)
    text = '{"a,{[\\",\\\\": ["\\\\\\",", "世,界", {}], "b\\\\": "[{,", "": [1, 2, "\\\\"]}'
    json.loads(text)
    assert density.values(text.encode(), 0) == 10
    assert density.values(text.encode(), 100) == sum(map(text.count, "{[,"))


def test_text_may_be_as_dense_as_it_likes() -> None:
    numbers = "1,[2],{3}" * density.MOST
    value = count_and_read(json.dumps({"messages": [{"role": "user", "content": numbers}]}).encode())
    assert value["messages"][0]["content"] == numbers


@pytest.mark.parametrize("item", ["{}", "[]", "0", '""', '{"a":"b"}', '{"role":"user","content":"hello hello"}'])
def test_too_many_values_are_refused_before_they_are_parsed(item: str) -> None:
    with pytest.raises(BadRequest) as refused:
        count_and_read(with_array(item, density.MOST + 1)[:-1])  # not even JSON
    assert (refused.value.code, refused.value.message) == (
        "too_many_values",
        "The request body holds more than 500,000 JSON values. Send fewer of them, in more requests.",
    )
    assert len(count_and_read(with_array("0", density.MOST - 10))["x"]) == density.MOST - 10


@linux
@pytest.mark.parametrize("path", ["chat/completions", "embeddings"])
def test_a_dense_body_takes_little_memory(path: str) -> None:
    """Refused again and again, it leaves nothing behind either."""
    body = with_array("{}", 4_000_000)
    with Process(config()) as server:
        before = memory(server)
        for _ in range(8):
            refused = post(server, body, path)
            assert refused.status_code == 400 and refused.json()["error"]["code"] == "too_many_values"
        assert memory(server, "VmHWM") - before < 6 * len(body)
        assert metric(server, "request_bytes") == 0
        assert ask(server, "echo").text == "Hello"


@linux
@pytest.mark.parametrize("to", ["up", "claude", "gemini"])
def test_many_large_bodies_at_once(upstream: Upstream, scripted: Callable[..., str], to: str) -> None:
    """They are answered or refused, one at a time; others are answered meanwhile, and the memory is given back."""
    name = scripted(answer(whole()))
    rows = "".join(
        f'  {row}: {{base_url: "{upstream.url}/v1", api_key: k, protocol: {protocol}}}\n'
        for row, protocol in (("claude", "anthropic"), ("gemini", "gemini"))
    )
    text = config(upstream).replace("models:\n", f"{rows}models:\n", 1)
    message = {"role": "user", "content": "多" * 20}
    body = json.dumps({"model": f"{to}/{name}", "messages": [message] * 15_000}, ensure_ascii=False).encode()
    with Process(text) as server, ThreadPoolExecutor(6) as pool:
        before = memory(server)
        answers = [pool.submit(post, server, body) for _ in range(6)]
        meanwhile = 0
        while not all(each.done() for each in answers):
            assert ask(server, "echo").text == "Hello"
            meanwhile += 1
        assert meanwhile > 0
        # What answers like OpenAI is no answer of Claude's or Gemini's: the request got there all the same.
        assert {each.result().status_code for each in answers} <= ({200, 503} if to == "up" else {502, 503})
        assert memory(server, "VmHWM") - before < 200 * 2**20
        assert metric(server, "request_bytes") == metric(server, "in_flight") == 0
        if to == "up":
            assert upstream.of(name)[-1].json["messages"] == [message] * 15_000
    upstream.requests.clear()


@linux
def test_small_bodies_need_no_thread(upstream: Upstream, scripted: Callable[..., str]) -> None:
    name = scripted(answer(whole()))
    with Process(config(upstream)) as server:
        assert ask(server, f"up/{name}").text == "Hi"
        before = threads(server)
        assert ask(server, f"up/{name}", messages=[{"role": "user", "content": "x" * 500_000}]).text == "Hi"
        assert threads(server) == before
        assert ask(server, f"up/{name}", messages=[{"role": "user", "content": "x" * 2_000_000}]).text == "Hi"
        assert threads(server) == before + 1
    upstream.requests.clear()


@pytest.mark.parametrize(
    ("body", "least", "most"),
    [
        ({"messages": [{"role": "user", "content": "x" * 3_000_000}]}, 6_000_000, 6_100_000),
        ({"messages": [{"role": "user", "content": "x" * 3_000_000 + "😀"}]}, 15_000_000, 15_100_000),
        ({"messages": [{"role": "user", "content": "x" * 300_000 + "😀"}]}, 1_200_000, 1_600_000),
        ({"messages": [{"role": "user", "content": "x"}], "x": [{}] * 100_000}, 6_400_000, 30_000_000),
    ],
    ids=["text", "wide text", "short wide text", "objects"],
)
def test_what_a_body_stands_for_is_counted(
    upstream: Upstream, scripted: Callable[..., str], body: Any, least: int, most: int
) -> None:
    name = scripted([FOREVER])
    with Process(config(upstream)) as server, dial(server) as client:
        client.sendall(raw(f"up/{name}", **body))
        upstream.wait(name)
        assert least <= metric(server, "request_bytes") <= most
        client.close()
        until(lambda: metric(server, "request_bytes") == 0)
    upstream.requests.clear()


def test_what_unfolds_beyond_the_bound_is_refused_beside_others(
    upstream: Upstream, scripted: Callable[..., str]
) -> None:
    name, quick = scripted([FOREVER]), scripted(answer(whole()))
    limits = "max_body: 2MiB\ncapacity: {bytes: 8MiB}"
    with Process(config(upstream, server=limits)) as server, dial(server) as client:
        assert ask(server, f"up/{quick}", x=[{"a": 0}] * 60_000).text == "Hi"  # alone it may
        client.sendall(raw(f"up/{name}"))
        upstream.wait(name)
        refused = ask(server, f"up/{quick}", x=[{"a": 0}] * 60_000)
        assert (refused.status, refused.code) == (503, "overloaded")
        assert metric(server, "refused_total", reason="bytes") == 1
        assert ask(server, f"up/{quick}").text == "Hi"
    upstream.requests.clear()


async def test_one_alone_may_hold_more_than_the_bound() -> None:
    admission = Admission(CapacityConfig(bytes=1024))
    with admission.enter(5) as first, admission.enter(5) as second:
        first.hold_bytes(5000)
        with pytest.raises(Overloaded):
            second.hold_bytes(1)
        first.keep(1000)
        second.hold_bytes(24)
        assert (first.held, second.held, admission.bytes) == (1000, 24, 1024)
    assert admission.bytes == 0


async def test_the_worker_does_one_thing_at_a_time_elsewhere() -> None:
    worker, begun, go = Worker(), threading.Event(), threading.Event()
    order: list[str] = []

    def slow() -> str:
        begun.set()
        go.wait(10)
        order.append("slow")
        return threading.current_thread().name

    def quick(name: str) -> Callable[[], None]:
        return lambda: order.append(name)

    first = asyncio.create_task(worker.run(slow))
    leaves = asyncio.create_task(worker.run(quick("left while it waited")))
    last = asyncio.create_task(worker.run(quick("last")))
    while not begun.is_set():
        await asyncio.sleep(0.01)
    leaves.cancel()
    first.cancel()  # it cannot be stopped: its place is not free before it has ended
    await asyncio.sleep(0.05)
    assert leaves.cancelled() and not first.done() and not last.done()
    go.set()
    await last
    assert first.cancelled() and order == ["slow", "last"]
    assert await worker.run(slow) != threading.current_thread().name
    worker.close()


def test_a_client_that_leaves_while_it_waits_gives_up_its_place(
    upstream: Upstream, scripted: Callable[..., str]
) -> None:
    name = scripted(answer(whole()))
    big = raw(f"up/{name}", messages=[{"role": "user", "content": "x" * 4_000_000}])
    with Process(config(upstream)) as server:
        for _ in range(3):
            clients = [dial(server) for _ in range(8)]
            for client in clients:
                client.sendall(big)
            for client in clients:
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
                with suppress(OSError):
                    client.close()
        until(lambda: metric(server, "request_bytes") == metric(server, "in_flight") == 0)
        assert ask(server, f"up/{name}", messages=[{"role": "user", "content": "x" * 4_000_000}]).text == "Hi"
    upstream.requests.clear()
