"""A short run of ops/soak.py: mixed traffic, random faults, reloads. MODELSERVER_SOAK: seconds (default 15)."""

import asyncio
import os
import sys

from process import ROOT

sys.path.append(str(ROOT / "ops"))
from soak import run

SECONDS = float(os.environ.get("MODELSERVER_SOAK", "15"))


def test_nothing_is_left_after_a_soak() -> None:
    report = asyncio.run(run(SECONDS, streams=60, warm=4, patience=20))
    assert report["wrong"] == [] and report["sockets_left"] == 0 and report["exit_code"] == 0
    ends = report["ends"]
    assert report["requests"] == sum(ends.values()) > 100
    assert all(ends[end] > 0 for end in ("done", "failed", "left"))
    assert report["resident_mib"][1] < 120
