"""ops/bench runs: every scenario for a fraction of a second, and beside a copy of this project and no server at all."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from process import ROOT

sys.path.append(str(ROOT / "ops" / "bench"))
from scenarios import SCENARIOS


def bench(tmp_path: Path, *arguments: str) -> dict[str, Any]:
    """The figures of a run, by scenario."""
    out = tmp_path / "out.json"
    command = [sys.executable, "ops/bench/run.py", "--home", str(tmp_path), "--out", str(out), "--rounds", "1"]
    done = subprocess.run(
        [*command, "--scale", "0.02", *arguments], cwd=ROOT, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr[-5000:]
    return dict(json.loads(out.read_text())["scenarios"])


def test_every_scenario_is_measured(tmp_path: Path) -> None:
    """With a good answer to all that was asked, by every way that this project has."""
    names = [name for name in SCENARIOS if name != "S4-1000"]  # which is S4-100 with more streams
    found = bench(tmp_path, "--scenarios", ",".join(names))
    assert {name: one["skipped"] for name, one in found.items()} == {name: {} for name in names}
    assert {name: one["samples"]["modelserver"][0]["errors"] for name, one in found.items()} == {
        name: {} for name in names
    }


def test_another_version_and_no_server_are_measured_beside_it(tmp_path: Path) -> None:
    svg = tmp_path / "plot.svg"
    found = bench(
        tmp_path, "--against", str(ROOT), "--peers", "direct", "--scenarios", "S4-100,growth", "--plot", str(svg)
    )
    one = found["S4-100"]["summary"]
    assert list(one) == ["modelserver", str(ROOT), "direct"]
    assert found["growth"]["skipped"] == {"direct": "it has no keys"}
    assert svg.read_text().startswith("<svg ")
