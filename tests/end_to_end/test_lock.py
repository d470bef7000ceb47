"""requirements.lock: every package that is installed, with its hashes, and in step with requirements.txt."""

import os
import re
import shutil
import subprocess
import tomllib
from importlib import metadata
from pathlib import Path
from typing import Final

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from process import ROOT, environment

LOCK: Final = (ROOT / "requirements.lock").read_text(encoding="utf-8")
ASKED: Final = [
    Requirement(line)
    for line in (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    if line and not line.startswith("#")
]


def locked() -> dict[str, tuple[str, list[str]]]:
    """Package → its version and hashes."""
    found = {}
    for block in re.split(r"\n(?=\S)", LOCK.partition("\n#")[2].partition("\n")[2]):
        first, *hashes = block.split(" \\\n")
        pin = Requirement(first)
        [version] = pin.specifier
        assert version.operator == "==", first
        found[canonicalize_name(pin.name)] = version.version, [each.strip() for each in hashes]
    return found


def needed(requirements: list[Requirement], seen: set[str]) -> set[str]:
    """These packages and all that they need on this machine."""
    for each in requirements:
        name = canonicalize_name(each.name)
        if name not in seen and (each.marker is None or each.marker.evaluate({"extra": ""})):
            seen.add(name)
            needed([Requirement(text) for text in metadata.requires(name) or ()], seen)
    return seen


def test_the_lock_holds_what_requirements_txt_asks_for() -> None:
    pins = locked()
    for each in ASKED:
        assert str(each.specifier) == f"=={pins[canonicalize_name(each.name)][0]}", f"{each}: see CONTRIBUTING.md"
    assert needed(ASKED, set()) <= pins.keys()


def test_every_package_has_hashes_and_nothing_else_is_in_the_file() -> None:
    assert len(locked()) >= 15
    for name, (_, hashes) in locked().items():
        assert len(hashes) >= 2, name  # a wheel and the source
        assert all(re.fullmatch(r"--hash=sha256:[0-9a-f]{64}", each) for each in hashes), name
    assert not re.search(r"://|--index|--find|--extra|/\w", LOCK)


def test_uv_run_installs_what_requirements_txt_asks_for() -> None:
    """The block of PEP 723 in modelserver.py, read as that document says."""
    text = (ROOT / "modelserver.py").read_text(encoding="utf-8")
    [block] = re.findall(r"(?m)^# /// script$\s((?:^#(?:| .*)$\s)+?)^# ///$", text)
    script = tomllib.loads("".join(line[2:] + "\n" for line in block.splitlines()))
    lines = (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    assert script == {
        "requires-python": ">=3.11",
        "dependencies": [line for line in lines if line and not line.startswith("#")],
    }


@pytest.mark.skipif(shutil.which("uv") is None, reason="uv is not installed")
def test_uv_run_starts_with_nothing_else(tmp_path: Path) -> None:
    done = subprocess.run(
        ["uv", "run", "modelserver.py", "--version"],
        cwd=ROOT,
        env={**environment(), "UV_CACHE_DIR": os.environ.get("UV_CACHE_DIR", str(tmp_path))},
        capture_output=True,
        text=True,
    )
    if done.returncode and re.search("(?i)failed to (fetch|download)|dns error", done.stderr):
        pytest.skip("the packages cannot be downloaded here")
    assert done.returncode == 0, done.stderr


def test_the_lock_is_what_people_install() -> None:
    for file in ("README.md", "README.zh-CN.md", "ops/modelserver.service"):
        text = (ROOT / file).read_text(encoding="utf-8")
        assert "pip install -q -r requirements.lock" in text, file
