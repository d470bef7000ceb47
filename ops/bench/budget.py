#!/usr/bin/env python3
"""Prints what a small request costs this checkout, layer by layer, in figures that do not depend on the machine's load.

    python ops/bench/budget.py                                # OpenAI, Claude and Gemini for chat completions
    python ops/bench/budget.py --api messages,responses --stream
    python ops/bench/budget.py --api chat --functions 40      # and which functions they are

Bytecodes and Python calls of the event loop, counted by the interpreter (counted.py); and, where valgrind is installed,
instructions of each thread, which have what C does too. Compare them before and after a change: they are nearly the same each
time, but for what depends on how the bytes of a stream arrive. See README.md here.
"""

import argparse
import asyncio
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import sysconfig
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, NamedTuple

from client import Meter
from measure import client, request, works
from recipes import OURS, ROOT
from scenarios import APIS, SCENARIOS, Scenario
from servers import Server
from upstream import Upstream

WARM: Final = 30  # requests before it is counted
CHUNKS, DELAY = 20, 0.01  # of a streamed answer, so that each chunk comes alone
THREADS: Final = {1: "event loop", 2: "log", 3: "usage file"}  # in the order in which they begin


class Function(NamedTuple):
    """What a function costs a request."""

    place: str
    layer: str
    bytecodes: float
    calls: float


def short(file: str) -> str:
    """Return a file's name without where it is installed, which may be inside of this checkout."""
    for place in (*map(Path, (sysconfig.get_path("purelib"), sysconfig.get_path("stdlib"))), ROOT):
        if Path(file).is_relative_to(place):
            return str(Path(file).relative_to(place))
    return file


def layer_of(file: str) -> str:
    """Return the layer of a file: a folder of this project, a package, or a module of Python."""
    name = short(file)
    if Path(file) == ROOT / name:
        return name.rpartition("/")[0] or name
    return name.partition("/")[0].removesuffix(".py")


def functions_of(rows: list[Any], count: int) -> list[Function]:
    """Return the functions that ran for every request, the dearest first; others are the server's own timers."""
    found = [
        Function(
            f"{short(file)}:{line} {name}",
            layer_of(file),
            ops / count,
            calls / count,
        )
        for file, line, name, ops, calls in rows
        if calls >= 0.9 * count
    ]
    return sorted(found, key=lambda each: each.bytecodes, reverse=True)


async def send(upstream: Upstream, server: Server, scenario: Scenario, count: int) -> None:
    """Send so many requests, one after the other on one connection. Raises RuntimeError for a bad answer."""
    upstream.chunks, upstream.delay = scenario.chunks, scenario.delay
    meter = Meter()
    one = client(server, scenario, meter)
    for _ in range(count):
        await one.ask(request(server, scenario), time.monotonic())
    one.close()
    if meter.errors:
        raise RuntimeError(f"{server.name}: {dict(meter.errors)}")


async def counted(scenarios: list[Scenario], count: int, home: Path) -> list[list[Function]]:
    """Return what the event loop runs for a request of each scenario."""
    there = home / "functions.json"
    command = [sys.executable, str(ROOT / "ops" / "bench" / "counted.py"), "--config", "$folder/config"]
    recipe = replace(OURS, command=command, env={"BUDGET_FILE": str(there)})
    found = []
    upstream = Upstream()
    server = Server(recipe, await upstream.listen(), home, home)
    try:
        await server.ready(lambda one: works(upstream, one, SCENARIOS["S1"]))
        for scenario in scenarios:
            await send(upstream, server, scenario, WARM)
            os.kill(server.pid, signal.SIGUSR1)
            await asyncio.sleep(0.3)
            await send(upstream, server, scenario, count)
            os.kill(server.pid, signal.SIGUSR2)
            async with asyncio.timeout(60):
                while not there.exists():
                    await asyncio.sleep(0.05)
            found.append(functions_of(json.loads(there.read_text()), count))
            there.unlink()
    finally:
        await server.stop()
    return found


async def instructions(scenarios: list[Scenario], count: int, home: Path) -> list[dict[str, str]]:
    """Return thousands of instructions for a request of each scenario, by thread, as valgrind's callgrind counts them."""
    out = home / "callgrind.out"
    options = ["--tool=callgrind", "--instr-atstart=no", "--separate-threads=yes", f"--callgrind-out-file={out}"]
    recipe = replace(OURS, command=["valgrind", *options, *OURS.command])
    found = []
    upstream = Upstream()
    server = Server(recipe, await upstream.listen(), home, home)
    try:
        await server.ready(lambda one: works(upstream, one, SCENARIOS["S1"]))
        for n, scenario in enumerate(scenarios, 1):
            await send(upstream, server, scenario, WARM)
            _control(server, "--instr=on")
            await send(upstream, server, scenario, count)
            await asyncio.sleep(1.5)  # until the other threads have written what they have of it
            _control(server, "--instr=off")
            _control(server, "--dump")
            found.append(_threads(out, n, count))
    finally:
        await server.stop()
    return found


def _control(server: Server, what: str) -> None:
    subprocess.run(["callgrind_control", what, str(server.pid)], capture_output=True, check=True)


def _threads(out: Path, dump: int, count: int) -> dict[str, str]:
    """Read a dump's files, one for each thread."""
    found = {}
    for file in sorted(out.parent.glob(f"{out.name}.{dump}-*")):
        number = int(file.name.rpartition("-")[2])
        total = re.search(r"^totals: (\d+)", file.read_text(), re.MULTILINE)
        if total and int(total[1]):
            found[THREADS.get(number, f"thread {number}")] = f"{int(total[1]) / count / 1000:,.0f}"
    return found


def table(heading: str, names: list[str], columns: list[dict[str, str]]) -> None:
    """Print rows by their names, those of the first column first."""
    rows = list(dict.fromkeys(row for column in columns for row in column))
    print("  ".join([f"{heading:30}", *(f"{name:>16}" for name in names)]))
    for row in rows:
        print("  ".join([f"{row:30}", *(f"{column.get(row, ''):>16}" for column in columns)]))
    print()


def layers(functions: list[Function]) -> dict[str, str]:
    """Return bytecodes and calls of all layers, and of each, the dearest first."""
    sums: dict[str, tuple[float, float]] = {}
    for each in functions:
        for name in ("all", each.layer):
            bytecodes, calls = sums.get(name, (0.0, 0.0))
            sums[name] = bytecodes + each.bytecodes, calls + each.calls
    dearest = sorted(sums.items(), key=lambda item: item[1], reverse=True)
    return {name: f"{bytecodes:,.0f} {calls:6,.0f}" for name, (bytecodes, calls) in dearest}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--api", default="chat,claude,gemini", help=f"with commas, of: {', '.join(APIS)}")
    parser.add_argument("--stream", action="store_true", help=f"streamed, {CHUNKS} chunks that come alone")
    parser.add_argument("--requests", type=int, default=100, metavar="N", help="how many are counted (default 100)")
    parser.add_argument(
        "--functions", type=int, default=0, metavar="N", help="print the N dearest functions of each API"
    )
    parser.add_argument("--no-valgrind", action="store_true", help="count bytecodes only")
    options = parser.parse_args()
    names = options.api.split(",")
    if unknown := [name for name in names if name not in APIS]:
        parser.error(f"unknown: {unknown[0]}")
    kind = {"stream": True, "chunks": CHUNKS, "delay": DELAY} if options.stream else {}
    scenarios = [replace(SCENARIOS["S1"], name=name, api=name, clients=1, **kind) for name in names]
    with tempfile.TemporaryDirectory() as folder:
        found = asyncio.run(counted(scenarios, options.requests, Path(folder)))
    print(f"a request{f', {CHUNKS} chunks' if options.stream else ''}: bytecodes and Python calls of the event loop\n")
    table("layer", names, [layers(functions) for functions in found])
    for name, functions in zip(names, found, strict=True):
        for each in functions[: options.functions]:
            print(f"{name:12} {each.bytecodes:8,.0f} {each.calls:6.1f}  {each.place}")
    if options.functions:
        print()
    if options.no_valgrind or not shutil.which("valgrind"):
        return 0
    with tempfile.TemporaryDirectory() as folder:
        threads = asyncio.run(instructions(scenarios, options.requests, Path(folder)))
    table("thousand instructions", names, threads)
    return 0


if __name__ == "__main__":
    sys.exit(main())
