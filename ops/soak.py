#!/usr/bin/env python3
"""A soak: ModelServer under mixed traffic with random faults, and whether anything grows, leaks or is left.

    python ops/soak.py [--seconds 600] [--streams 500] [--warm 60]

Starts a scripted upstream and `python modelserver.py`, keeps `streams` clients busy (streams and whole answers, clients
that leave, upstreams that break, hang, refuse and throttle, a reload now and then), then lets everything end. Every stream
carries its own word in each chunk, so that one that reached the wrong client would be seen. Prints one line a second to
standard error and a report to standard output; exit code 1 when a check fails. Needs tests/requirements.txt.
"""

import argparse
import asyncio
import json
import random
import re
import signal
import socket
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from tempfile import TemporaryFile
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "support")]

from leak_watch import WORD  # noqa: E402
from process import Process, config  # noqa: E402
from scripted import ABORT, CLOSE, FOREVER, Request, Script, Upstream, answer, chunked, head, sse  # noqa: E402

LIMITS = """
timeouts: {first_byte: 3, between_bytes: 10, write: 5, request_body: 5}
keep_alive: {after: 1, every: 1}
cooldown: {failures: 100000}
drain: 5
"""
# What a request's upstream does, by the model's name, and how often: mostly well.
MIX = {
    "good": 60, "long": 15, "whole": 15, "cut": 3, "reset": 2, "error": 2, "refuse": 2, "throttle": 2, "silent": 1,
    "stall": 1, "garbage": 1, "closed": 1, "leave": 8,
}  # fmt: skip


def delta(text: str, **more: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": {"content": text}, "finish_reason": None, **more}]}


def script(request: Request) -> Script:
    """The upstream's side of a request: what its model says, with the client's own word in it."""
    body = request.json
    word = body["messages"][0]["content"]
    piece = chunked(sse(delta(f"{word} "), done=False))[0]
    end = chunked(sse(delta("", finish_reason="stop")))
    top = head(200, {"Transfer-Encoding": "chunked"}, "text/event-stream")
    begun: Script = [top, piece, 0.05, piece]
    usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
    message = {"message": {"role": "assistant", "content": f"{word} "}, "index": 0, "finish_reason": "stop"}
    scripts: dict[str, Script] = {
        "good": [*begun, *[step for _ in range(10) for step in (0.25, piece)], *end],
        "long": [*begun, *[step for _ in range(80) for step in (0.1, piece)], *end],
        "leave": [*begun, *[step for _ in range(80) for step in (0.1, piece)], *end],
        "whole": answer({"choices": [message], "usage": usage}),
        "cut": [*begun, CLOSE],
        "reset": [*begun, ABORT],
        "error": [*begun, *chunked(sse({"error": {"message": "broken", "code": 500}}))],
        "refuse": answer({"error": {"message": "overloaded"}}, 503),
        "throttle": answer({"error": {"message": "slow down"}}, 429),
        "silent": [FOREVER],
        "stall": [*begun, FOREVER],
        "garbage": [b"HTTP/1.1 banana\r\n\r\n", CLOSE],
        "closed": [CLOSE],
    }
    return scripts[request.model]


class Faulty(Upstream):
    """A scripted upstream that makes each script from its request, and remembers none of them."""

    def heard(self, request: Request) -> Script:
        return script(request)


@dataclass
class Seen:
    """What clients saw. wrong: what must not be."""

    ends: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)


async def client(server: Process, seen: Seen, until: float) -> None:
    """Ask again and again, on a new connection each time."""
    while time.monotonic() < until:
        kind = random.choices(list(MIX), list(MIX.values()))[0]
        word = f"w{random.getrandbits(48):x}"
        try:
            async with asyncio.timeout(30):
                await exchange(server, kind, word, seen)
        except TimeoutError:
            seen.wrong.append(f"{kind}: no end within 30 s")
        except OSError as error:
            seen.wrong.append(f"{kind}: {error!r}")


async def exchange(server: Process, kind: str, word: str, seen: Seen) -> None:
    body = json.dumps(
        {"model": f"up/{kind}", "stream": kind != "whole", "messages": [{"role": "user", "content": word}]}
    ).encode()
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    try:
        top = f"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {len(body)}\r\n\r\n"
        writer.write(top.encode() + body)
        if kind == "leave":
            await asyncio.sleep(random.random())
            seen.ends["left"] += 1
            return
        said = (await reader.read(-1)).decode()
    finally:
        writer.close()
    judge(kind, word, said, seen)


def judge(kind: str, word: str, said: str, seen: Seen) -> None:
    """Whether an answer is the truth about what its upstream did."""
    if '"code":"overloaded"' in said and said.startswith("HTTP/1.1 503") and kind != "refuse":
        seen.ends["shed"] += 1  # a machine that is too slow for the load: refused in time, which is no fault
        return
    words = set(re.findall(r'"content":"(w[0-9a-f]+) "', said))
    done, failed = "data: [DONE]" in said, '"error":{' in said
    seen.ends["done" if done else "failed" if failed else said[9:12]] += 1
    if words - {word}:
        seen.wrong.append(f"{kind}: somebody else's words {words}")
    if kind in ("good", "long") and not done and "server_shutting_down" not in said:
        seen.wrong.append(f"{kind}: not done: {said[-300:]}")
    if kind == "whole" and word not in said:
        seen.wrong.append(f"{kind}: {said[-300:]}")
    if kind not in ("good", "long", "whole") and (done or not failed):
        seen.wrong.append(f"{kind}: looks like a success: {said[-300:]}")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


async def answering(port: int) -> None:
    """Wait until the server answers."""
    for _ in range(200):
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            await asyncio.sleep(0.05)
            continue
        writer.write(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        await reader.read(-1)
        writer.close()
        await asyncio.sleep(0.2)
        return
    raise AssertionError("the server did not start")


async def metrics(port: int) -> dict[str, float]:
    """What the server says of itself: the metrics without labels."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
    said = (await reader.read(-1)).decode()
    writer.close()
    return {name: float(value) for name, value in re.findall(r"^modelserver_(\w+) (\S+)", said, re.MULTILINE)}


def resident(pid: int) -> int:
    """KiB."""
    found = re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())
    return int(found[1]) if found else 0


def sockets(pid: int) -> int:
    count = 0
    for link in Path(f"/proc/{pid}/fd").iterdir():
        try:
            count += str(link.readlink()).startswith("socket:")
        except OSError:
            continue
    return count


def slope(points: list[tuple[float, float]]) -> float:
    """Of the line through the points, by least squares."""
    n = len(points)
    if n < 2:
        return 0.0
    x, y = sum(p[0] for p in points) / n, sum(p[1] for p in points) / n
    return sum((p[0] - x) * (p[1] - y) for p in points) / (sum((p[0] - x) ** 2 for p in points) or 1.0)


async def watch(server: Process, until: float, warm: float, busy: list[float]) -> list[tuple[float, float]]:
    """Resident memory, once a second after the warm-up; and a reload every ten. busy: gets the requests under way."""
    began = time.monotonic()
    points = []
    while (now := time.monotonic()) < until:
        await asyncio.sleep(1)
        size = resident(server.pid)
        said = await metrics(server.port)
        if now - began >= warm:
            points.append((now, float(size)))
            busy.append(said["in_flight"])
        print(
            f"{now - began:6.0f} s  {size / 1024:7.1f} MiB  {sockets(server.pid)} sockets  {said['in_flight']:.0f} requests"
            f"  {said['loop_lag_seconds'] * 1000:.0f} ms late",
            file=sys.stderr,
        )
        if int(now - began) % 10 == 9:
            server.send(signal.SIGHUP)
    return points


async def settled(server: Process, before: int, upstream: Upstream, patience: float) -> int:
    """Sockets more than at the start, once all have ended. Idle connections upstream are closed within 30 s; with less
    patience they are taken to be those that the upstream still has open."""
    left = 0
    for _ in range(int(max(patience, 2) * 10)):
        left = sockets(server.pid) - before - (len(upstream.open) if patience < 30 else 0)
        if left <= 0:
            break
        await asyncio.sleep(0.1)
    return max(0, left)


async def run(seconds: float, streams: int, warm: float, patience: float = 45) -> dict[str, Any]:
    """The soak; its report. `wrong` is empty when all is well. patience: seconds for idle connections to close."""
    seen = Seen()
    # The log goes to a file: a pipe whose reader falls behind would fill the server's queue, and that is not a leak.
    with Faulty() as upstream, TemporaryFile("w+", encoding="utf-8") as log:
        port = free_port()
        text = config(upstream, server=LIMITS).replace("port: 0", f"port: {port}")
        text = text.replace("{protocol", "{concurrency: 5000, protocol", 1)
        with Process(text, stdout=log.fileno()) as server:
            server.at(port)
            await answering(port)
            before = sockets(server.pid)
            until = time.monotonic() + seconds
            busy: list[float] = []
            watching = asyncio.create_task(watch(server, until, warm, busy))
            await asyncio.gather(*(client(server, seen, until) for _ in range(streams)))
            points = await watching
            late = (await metrics(port)).get("loop_lag_max_seconds", -1.0)
            left = await settled(server, before, upstream, patience)
            code = server.stop()
        log.seek(0)
        text = log.read()
        lines = [json.loads(line) for line in text.split("\n") if line.startswith("{")]
    if WORD.decode() in text:
        seen.wrong.append("a key is in the log")
    seen.wrong += [str(line) for line in lines if "traceback" in line or line.get("level") in ("error", "critical")]
    return {
        "seconds": seconds,
        "streams": streams,
        "requests": sum(line.get("method") == "POST" for line in lines),
        "at_once": median(busy) if busy else 0,
        "ends": dict(seen.ends),
        "resident_mib": [round(points[0][1] / 1024, 1), round(points[-1][1] / 1024, 1)] if points else [],
        "slope_kib_per_minute": round(slope(points) * 60, 1),
        "loop_lag_max": round(late, 3),
        "sockets_left": left,
        "exit_code": code,
        "wrong": seen.wrong[:20],
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--streams", type=int, default=500)
    parser.add_argument("--warm", type=float, default=60)
    options = parser.parse_args()
    report = asyncio.run(run(options.seconds, options.streams, options.warm))
    print(json.dumps(report, indent=2))
    return 1 if report["wrong"] or report["sockets_left"] else 0


if __name__ == "__main__":
    sys.exit(main())
