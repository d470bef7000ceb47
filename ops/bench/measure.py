"""One window of one scenario at one server: how much CPU a unit of work cost it, and what its clients saw."""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any, Final

from client import Client, Meter, at_rate, flat_out, running
from scenarios import APIS, SCENARIOS, Scenario, body
from servers import Server, core_time
from upstream import Upstream

Sample = dict[str, Any]
FLOOD: Final = 10_000  # wrong keys a second
KEYS: Final = 10_000  # of the scenario growth
MINUTE: Final = 15  # windows of it


def request(server: Server, scenario: Scenario, key: str | None = None, prompt: str = "") -> bytes:
    """A request as bytes. key: instead of the server's own."""
    api = APIS[scenario.api]
    said = body(api, server.models[api.upstream], prompt or scenario.prompt, scenario.stream and not prompt)
    head = (
        f"POST {server.prefix}{api.path} HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\nContent-Type: application/json\r\n"
        f"Authorization: Bearer {key or server.key}\r\nanthropic-version: 2023-06-01\r\nContent-Length: {len(said)}\r\n\r\n"
    )
    return head.encode() + said


def client(server: Server, scenario: Scenario, meter: Meter) -> Client:
    """A connection that expects the answer of this scenario."""
    pieces, done = (scenario.chunks, APIS[scenario.api].done) if scenario.stream else (1, b"")
    return Client(meter, server.address, pieces, done)


async def works(upstream: Upstream, server: Server, scenario: Scenario) -> str:
    """Ask once; returns what is wrong with the answer, if anything."""
    upstream.chunks, upstream.delay = 3, 0
    scenario, meter = replace(scenario, chunks=3), Meter()
    one = client(server, scenario, meter)
    try:
        async with asyncio.timeout(30):
            await one.ask(request(server, scenario), time.monotonic())
    except (OSError, TimeoutError) as error:
        return repr(error)
    finally:
        one.close()
    return next(iter(meter.errors), "")


async def measured(server: Server, scenario: Scenario, meter: Meter, unit: str = "") -> Sample:
    """Warm up, then measure a window of the load that is running."""
    await asyncio.sleep(scenario.warm)
    meter.clear()
    cpu, own, busy, began = server.cpu(), time.process_time(), core_time(), time.monotonic()
    await asyncio.sleep(scenario.seconds)
    cpu, own, busy, took = (
        server.cpu() - cpu,
        time.process_time() - own,
        core_time() - busy,
        time.monotonic() - began,
    )
    units = meter.chunks if (unit or scenario.unit) == "chunk" else meter.answers
    return {
        "units": units,
        "rate": round(units / took, 1),
        "cpu_us": round(1e6 * cpu / units, 2) if units else None,
        "cpu_share": round(cpu / took, 3),
        "others_share": round(max(0.0, busy - cpu) / took, 2),  # of the server's core, taken by what is not the server
        "bench_us": round(1e6 * own / units, 2) if units else None,
        "bench_share": round(own / took, 3),
        "latency_ms": _percentiles(meter.latencies),
        "delay_ms": _percentiles(meter.delays),
        "gap_ms": round(1000 * meter.gap, 1),
        "rss_mb": server.memory(),
        "errors": dict(meter.errors.most_common(3)),
    }


def _percentiles(seconds: Any) -> dict[str, float]:
    """In milliseconds."""
    ranked = sorted(seconds)
    return {f"p{p}": round(1000 * ranked[len(ranked) * p // 100], 2) for p in (50, 99)} if ranked else {}


async def traffic(upstream: Upstream, server: Server, scenario: Scenario) -> Sample:
    """Clients flat out, or at the scenario's rate."""
    upstream.chunks, upstream.delay = scenario.chunks, scenario.delay
    meter = Meter()
    clients = [client(server, scenario, meter) for _ in range(scenario.clients)]
    asked = [request(server, scenario)]
    if scenario.rate:
        loads = at_rate(clients, meter, asked, scenario.rate)
    else:
        step = scenario.ramp / scenario.clients
        loads = [flat_out(each, meter, asked, step * n) for n, each in enumerate(clients)]
    async with running(meter, *loads):
        return await measured(server, scenario, meter)


async def flood(upstream: Upstream, server: Server, scenario: Scenario) -> Sample:
    """Good clients at a rate, beside 10⁴ requests a second (or as many as the server takes) with a wrong key each."""
    good, bad = Meter(), Meter()
    intruders = [Client(bad, server.address, 0, b"", (401, 403, 429)) for _ in range(scenario.clients)]
    wrong = [request(server, scenario, f"sk-wrong-{random.getrandbits(64):016x}") for _ in range(FLOOD)]
    loads = [
        *at_rate([client(server, scenario, good) for _ in range(16)], good, [request(server, scenario)], scenario.rate),
        *at_rate(intruders, bad, wrong, FLOOD),
    ]
    async with running(bad, *loads):
        await asyncio.sleep(scenario.warm)
        bad.clear()
        sample = await measured(server, replace(scenario, warm=0), good)
        good.stopped = True
    refused = bad.answers
    sample["refused_rate"] = round(refused / scenario.seconds, 1)
    sample["cpu_us"] = round(1e6 * sample["cpu_share"] * scenario.seconds / max(1, sample["units"] + refused), 2)
    sample["errors"] |= dict(bad.errors.most_common(2))
    return sample


async def line(upstream: Upstream, server: Server, scenario: Scenario) -> Sample:
    """Paced streams, and beside them one body of 30 MB after the other: gap_ms is the longest that a stream stood still."""
    upstream.chunks, upstream.delay = scenario.chunks, scenario.delay
    meter, other = Meter(), Meter()
    step = scenario.ramp / scenario.clients
    asked = [request(server, scenario)]
    streams = [flat_out(client(server, scenario, meter), meter, asked, step * n) for n in range(scenario.clients)]
    huge = flat_out(Client(other, server.address, 1, b""), other, [request(server, scenario, prompt="huge")])
    async with running(meter, *streams, huge):
        sample = await measured(server, scenario, meter)
        other.stopped = True
    return sample | {"huge_bodies": other.answers, "errors": sample["errors"] | dict(other.errors.most_common(1))}


async def start(upstream: Upstream, server: Server, scenario: Scenario) -> Sample:
    """A process of its own: CPU and time until it has answered one request, memory a little later."""
    began = time.monotonic()
    fresh = server.again()
    try:
        await fresh.ready(lambda one: works(upstream, one, SCENARIOS["S1"]))
        took, cpu = time.monotonic() - began, fresh.cpu()
        await asyncio.sleep(scenario.warm)
        return {
            "units": 1,
            "cpu_us": round(1e6 * cpu),
            "seconds": round(took, 3),
            "rss_mb": fresh.memory(),
            "errors": {},
        }
    finally:
        await fresh.stop()


async def growth(upstream: Upstream, server: Server, scenario: Scenario) -> Sample:
    """A process of its own with 10⁴ keys, half of the requests with one of them; cpu_us is that after a minute of traffic."""
    count = min(KEYS, max(10, round(KEYS * scenario.seconds)))
    keys = [f"sk-bench-many-{n:05d}" for n in range(count)]
    fresh = server.again(keys)
    meter = Meter()
    try:
        await fresh.ready(lambda one: works(upstream, one, scenario))
        asked = [request(fresh, scenario, key) for key in keys]
        loads = []
        for _ in range(scenario.clients):
            mixed = [each for key in random.sample(asked, min(500, count)) for each in (asked[0], key)]
            loads.append(flat_out(client(fresh, scenario, meter), meter, mixed))
        async with running(meter, *loads):
            first = await measured(fresh, replace(scenario, warm=scenario.warm / 4), meter)
            await asyncio.sleep(scenario.seconds * (MINUTE - 2))
            last = await measured(fresh, replace(scenario, warm=0), meter)
        both = first["cpu_us"] and last["cpu_us"]
        grew = round(last["cpu_us"] / first["cpu_us"], 3) if both else None
        return last | {"first_us": first["cpu_us"], "growth": grew, "keys": count}
    finally:
        await fresh.stop()


RUNS: Final[dict[str, Callable[[Upstream, Server, Scenario], Awaitable[Sample]]]] = {
    "traffic": traffic,
    "flood": flood,
    "line": line,
    "start": start,
    "growth": growth,
}
