"""ops/bench runs: every scenario for a fraction of a second, and beside a copy of this project and no server at all."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from process import ROOT

sys.path.append(str(ROOT / "ops" / "bench"))
from recipes import checkout
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


def test_a_commit_is_put_into_a_folder(tmp_path: Path) -> None:
    kept = ["git", "ls-tree", "-r", "--name-only", "HEAD"]
    listed = subprocess.run(kept, cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip("this is not a clone")
    folder = checkout("HEAD", tmp_path).folder
    assert folder.parent == tmp_path
    assert {str(file.relative_to(folder)) for file in folder.rglob("*") if file.is_file()} == {*listed.stdout.split()}


def test_a_request_is_counted_by_layer() -> None:
    command = [sys.executable, "ops/bench/budget.py", "--requests", "5", "--no-valgrind", "--functions", "1"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    table, _, functions = done.stdout.partition("\n\n")[2].partition("\n\n")
    heading, *rows = table.split("\n")
    assert heading.split() == ["layer", "chat", "claude", "gemini"]
    columns = {row[:30].strip(): [bool(row[n : n + 18].strip()) for n in (30, 48, 66)] for row in rows}
    assert {name: has for name, has in columns.items() if name.startswith(("all", "providers/", "dialects/"))} == {
        "all": [True, True, True],
        "dialects/chat": [True, True, True],
        "providers/common": [True, True, True],
        "providers/openai": [True, False, False],
        "providers/anthropic": [False, True, False],
        "providers/gemini": [False, False, True],
    }
    assert [line.split()[0] for line in functions.strip().split("\n")] == ["chat", "claude", "gemini"]


def test_another_version_and_no_server_are_measured_beside_it(tmp_path: Path) -> None:
    svg = tmp_path / "plot.svg"
    found = bench(
        tmp_path, "--against", str(ROOT), "--peers", "direct", "--scenarios", "S4-100,growth", "--plot", str(svg)
    )
    one = found["S4-100"]["summary"]
    assert list(one) == ["modelserver", str(ROOT), "direct"]
    assert found["growth"]["skipped"] == {"direct": "it has no keys"}
    assert svg.read_text().startswith("<svg ")
