#!/usr/bin/env python3
"""Measures ModelServer beside its peers, or beside another version of itself, in interleaved rounds.

    python ops/bench/run.py                                                  # this checkout alone
    python ops/bench/run.py --against v1.2 --scenarios S1,S2,S7 --rounds 15  # is it slower than that commit, or folder?
    python ops/bench/run.py --peers nginx,litellm --out bench.json --plot bench.svg
    python ops/bench/run.py --peers direct                                   # how much the bench itself can do

What counts is a ratio: the CPU that a unit of work cost this checkout, divided by what it cost the other in the window beside
it; the median over the rounds, and the quartiles. Below 1.00 this checkout is ahead. See README.md here.
"""

import argparse
import asyncio
import json
import os
import platform
import subprocess
import sys
import sysconfig
import tempfile
import time
from pathlib import Path
from statistics import median, quantiles
from typing import Any, Final

import plot
import uvloop
from measure import RUNS, Sample, works
from recipes import DIRECT, OURS, PEERS, ROOT, Recipe, checkout, install
from scenarios import SCENARIOS, Scenario, chosen
from servers import BENCH_CPU, Server
from upstream import Upstream

# What is shown of a sample beside the CPU, and how.
FIGURES: Final = {
    "rate": "{:,.0f}/s",
    "refused_rate": "{:,.0f}/s refused",
    "bench_us": "bench {:,.1f} µs",
    "latency_ms.p99": "p99 {:,.1f} ms",
    "delay_ms.p99": "delay p99 {:,.1f} ms",
    "gap_ms": "gap {:,.1f} ms",
    "seconds": "{:.2f} s",
    "growth": "grew {:.3f}",
    "rss_mb": "{:,.0f} MB",
    "others_share": "others {:.0%}",
}
Samples = dict[str, list[Sample]]  # by server, one a round


async def can(upstream: Upstream, server: Server, scenario: Scenario) -> str:
    """Return why a scenario cannot be measured at a server; empty when it can."""
    if scenario.api not in server.recipe.apis:
        return f"it has no {scenario.api}"
    if scenario.run in ("flood", "growth") and not server.key:
        return "it has no keys"
    if scenario.run == "growth" and server.recipe.config != OURS.config:
        return "its keys are not in its configuration"
    if scenario.run == "start" and not server.recipe.command:
        return "nothing starts"
    return await works(upstream, server, scenario)


async def rounds(
    recipes: list[Recipe], scenarios: list[Scenario], count: int, scale: float, home: Path
) -> dict[str, Any]:
    """Start all servers, and measure each scenario in rounds of one window of each, there and back."""
    upstream = Upstream()
    port = await upstream.listen()
    servers: list[Server] = []
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        try:
            for recipe in recipes:
                servers.append(Server(recipe, port, home, Path(folder)))
                await servers[-1].ready(lambda one: works(upstream, one, SCENARIOS["S1"]))
            for scenario in scenarios:
                skipped = {each.name: why for each in servers if (why := await can(upstream, each, scenario))}
                able = [each for each in servers if each.name not in skipped]
                samples: Samples = {each.name: [] for each in able}
                for n in range(count):
                    for server in able if n % 2 == 0 else reversed(able):
                        sample = await RUNS[scenario.run](upstream, server, scenario.scaled(scale))
                        samples[server.name].append(sample)
                        print(f"  {scenario.name} round {n + 1} {server.name}: {json.dumps(sample)}", file=sys.stderr)
                        await asyncio.sleep(0.2 * scale)
                found[scenario.name] = {
                    "what": scenario.what,
                    "unit": scenario.unit,
                    "summary": summary(samples, recipes[0].name),
                    "skipped": skipped,
                    "samples": samples,
                }
                show(scenario.name, found[scenario.name])
        finally:
            for server in servers:
                await server.stop()
    return found


def summary(samples: Samples, ours: str) -> dict[str, Any]:
    """Medians of each server, and the ratios of our CPU to its, round by round."""
    return {
        name: {
            "cpu_us": _median(theirs, "cpu_us"),
            **{figure: _median(theirs, figure) for figure in FIGURES},
            "errors": sum(sum(each["errors"].values()) for each in theirs),
            "ratio": None if name == ours else _ratio(samples.get(ours, []), theirs),
        }
        for name, theirs in samples.items()
    }


def _median(samples: list[Sample], figure: str) -> float | None:
    values = []
    for sample in samples:
        name, _, inner = figure.partition(".")
        value = sample.get(name)
        values.append(value.get(inner) if inner and value else value)
    known = [value for value in values if value is not None and value != {}]
    return round(median(known), 3) if known else None


def _ratio(ours: list[Sample], theirs: list[Sample]) -> dict[str, float] | None:
    pairs = zip(ours, theirs, strict=False)
    ratios = [a["cpu_us"] / b["cpu_us"] for a, b in pairs if a["cpu_us"] and b["cpu_us"]]
    if not ratios:
        return None
    low, _, high = quantiles(ratios, n=4, method="inclusive") if len(ratios) > 1 else ratios * 3
    return {"median": round(median(ratios), 3), "low": round(low, 3), "high": round(high, 3)}


def show(name: str, found: dict[str, Any]) -> None:
    """Print a scenario's lines of the table."""
    for server, said in found["summary"].items():
        cost = f"{said['cpu_us']:12,.1f} µs/{found['unit']:8}" if said["cpu_us"] else f"{'–':>12} {'':11}"
        ratio = "ratio {median:6.3f} [{low:.3f} to {high:.3f}]".format(**said["ratio"]) if said["ratio"] else ""
        rest = [text.format(said[figure]) for figure, text in FIGURES.items() if said[figure]]
        wrong = [f"{said['errors']} ERRORS"] if said["errors"] else []
        print("  ".join([f"{name:17} {server[-16:]:16} {cost} {ratio:30}", *rest, *wrong]), flush=True)
    for server, why in found["skipped"].items():
        print(f"{name:17} {server[-16:]:16} skipped: {why[:100]}", flush=True)


def machine() -> dict[str, Any]:
    """What the figures depend on."""
    model = next((line for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line), "")
    commit = subprocess.run(
        ["git", "describe", "--always", "--dirty"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    return {
        "cpu": model.partition(": ")[2],
        "cpus": os.cpu_count(),
        "load": os.getloadavg(),
        "python": sys.version,
        "optimised": "--enable-optimizations" in (sysconfig.get_config_var("CONFIG_ARGS") or ""),
        "system": platform.platform(),
        "congestion_control": Path("/proc/sys/net/ipv4/tcp_congestion_control").read_text().strip(),
        "commit": commit.stdout.strip(),
        "when": time.strftime("%Y-%m-%d %H:%M:%S"),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peers", default="", help=f"with commas, of: {', '.join([*PEERS, DIRECT.name])}")
    parser.add_argument("--against", action="append", default=[], help="another commit or folder of this project")
    parser.add_argument("--scenarios", default="core", help=f"core, all, or with commas: {', '.join(SCENARIOS)}")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--scale", type=float, default=1, help="multiplies the length of windows and warm-ups")
    parser.add_argument("--out", type=Path, help="a JSON file for all figures")
    parser.add_argument("--plot", type=Path, help="an SVG file for the ratios")
    parser.add_argument(
        "--home", type=Path, default=Path.home() / ".cache/modelserver-bench", help="where peers are installed"
    )
    options = parser.parse_args()
    known = {**PEERS, DIRECT.name: DIRECT}
    try:
        scenarios = chosen(options.scenarios)
        peers = [known[name] for name in options.peers.split(",") if name]
    except KeyError as error:
        parser.error(f"unknown: {error}")
    options.home.mkdir(parents=True, exist_ok=True)
    for peer in peers:
        install(peer, options.home)
    recipes = [OURS, *(checkout(name, options.home) for name in options.against), *peers]
    os.sched_setaffinity(0, BENCH_CPU)
    about = machine()
    print(json.dumps(about), file=sys.stderr)
    found = uvloop.run(rounds(recipes, scenarios, options.rounds, options.scale, options.home.resolve()))
    said = {"machine": about, "command": sys.argv, "scenarios": found}
    if options.out:
        options.out.write_text(json.dumps(said, indent=1))
    if options.plot:
        options.plot.write_text(plot.svg(said))
    return 1 if any(each["errors"] for one in found.values() for each in one["summary"].values()) else 0


if __name__ == "__main__":
    sys.exit(main())
