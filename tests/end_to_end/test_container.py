"""ops/Dockerfile and ops/compose.yaml: their steps, as far as they go without Docker."""

import json
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from process import ROOT, environment

TEXT = (ROOT / "ops" / "Dockerfile").read_text(encoding="utf-8")
STEPS = [tuple(line.split(" ", 1)) for line in re.sub(r"\\\n *", "", TEXT).splitlines() if line and line[0] not in "# "]
LAST = STEPS[max(i for i, (word, _) in enumerate(STEPS) if word == "FROM") :]


EVERYWHERE = "0.0.0.0"  # noqa: S104


def last(word: str) -> str:
    return [rest for each, rest in LAST if each == word][-1]


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the Dockerfile copies, with its root here."""
    root = tmp_path_factory.mktemp("image")
    for _, rest in (step for step in LAST if step[0] == "COPY" and "--from" not in step[1]):
        *sources, to = [word for word in rest.split() if not word.startswith("--")]
        target = root / "app" / to if not to.startswith("/") else root / to[1:]
        for source in sources:
            place = target / source if to.endswith("./") else target
            place.parent.mkdir(parents=True, exist_ok=True)
            (shutil.copytree if (ROOT / source).is_dir() else shutil.copy)(ROOT / source, place)
    return root


def test_it_is_not_root_and_all_that_is_kept_is_in_the_volume() -> None:
    words = [word for word, _ in LAST]
    assert last("USER") == "modelserver" and words.index("USER") < words.index("ENTRYPOINT")
    assert last("VOLUME") == "/data" and "MODELSERVER_CONFIG=/data/config.yaml" in last("ENV")
    assert all(rest.startswith("python:3.13-slim") for word, rest in STEPS if word == "FROM")
    [install] = [rest for word, rest in STEPS if "pip install" in rest]
    assert "--require-hashes" in install and "-r /requirements.lock" in install


def test_what_is_copied_serves(image: Path) -> None:
    """keys add, check and the health check, by the commands of the file; the Python is that of the tests."""
    entry = json.loads(last("ENTRYPOINT"))
    assert entry == ["/venv/bin/python", "modelserver.py"] and json.loads(last("CMD")) == ["--host", EVERYWHERE]
    (image / "data" / "config.yaml").chmod(0o600)
    env = environment(MODELSERVER_CONFIG=str(image / "data" / "config.yaml"), PYTHONDONTWRITEBYTECODE="1")

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, *entry[1:], *words], cwd=image / "app", env=env, capture_output=True, text=True
        )

    refused = run("--host", EVERYWHERE, "--port", "0")
    assert refused.returncode == 2 and "refusing to listen on 0.0.0.0 without keys" in refused.stderr
    assert run("keys", "add", "me", "--port", "1").stdout.startswith("sk-ms-")
    with subprocess.Popen(
        [sys.executable, *entry[1:], "--host", EVERYWHERE, "--port", "0"],
        cwd=image / "app", env=env, stdout=subprocess.PIPE, text=True,
    ) as server:  # fmt: skip
        assert server.stdout is not None
        [_, port] = re.findall(r":(\d+)/v1|$", server.stdout.readline())[:1] * 2
        check: list[str] = json.loads(last("HEALTHCHECK").partition("CMD ")[2])
        assert check[:2] == ["/venv/bin/python", "-c"] and "8080" in check[2]
        healthy = subprocess.run([sys.executable, "-c", check[2].replace("8080", port)], env=env)
        server.terminate()
        server.stdout.read()
    assert (healthy.returncode, server.returncode) == (0, 0)
    assert {file.name for file in (image / "data").iterdir()} >= {"config.yaml", "keys.yaml", "usage.db"}


def test_what_is_copied_is_not_ignored() -> None:
    kept = {line[1:] for line in (ROOT / "ops" / "Dockerfile.dockerignore").read_text().splitlines() if line[:1] == "!"}
    copied = {
        source
        for word, rest in STEPS
        if word == "COPY" and "--from" not in rest
        for source in [part for part in shlex.split(rest) if not part.startswith("--")][:-1]
    }
    assert kept == copied


def test_compose() -> None:
    text = (ROOT / "ops" / "compose.yaml").read_text(encoding="utf-8")
    service: Any = yaml.safe_load(text)["services"]["modelserver"]
    assert service["build"] == {"context": "..", "dockerfile": "ops/Dockerfile"}
    assert service["volumes"] == ["data:/data"] and service["read_only"] is True and service["cap_drop"] == ["ALL"]
    assert service["ports"] == ["127.0.0.1:8080:8080"]
    with_secrets = yaml.safe_load(re.sub(r"(?m)^( *)# (secrets:|  openai:)", r"\1\2", text))
    assert with_secrets["secrets"] == {"openai": {"file": "./openai.key"}}
    assert with_secrets["services"]["modelserver"]["secrets"] == ["openai"]


def test_the_version_is_one_everywhere() -> None:
    [version] = re.findall(r'^VERSION: Final = "(.+)"$', (ROOT / "modelserver.py").read_text(encoding="utf-8"), re.M)
    changes = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert re.findall(r"^## (\S+)", changes, re.M)[0] == version
    assert f"image: modelserver:{version}\n" in (ROOT / "ops" / "compose.yaml").read_text(encoding="utf-8")
    major, minor, _ = version.split(".")
    assert f"| {major}.{minor}.x | yes |" in (ROOT / "SECURITY.md").read_text(encoding="utf-8")
