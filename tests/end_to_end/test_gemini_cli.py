"""The real gemini-cli in front of a real server, and a scripted Gemini behind it: what it asks for passes as it is.

Skipped where there is none: MODELSERVER_GEMINI_CLI names its program, else it is looked for on PATH. It is not installed here,
and it needs no network: all it asks is this machine.
"""

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest
from answers import gemini, gemini_call
from process import Process
from scripted import CLOSE, Upstream, stream

Json = dict[str, Any]
GEMINI: Final = os.environ.get("MODELSERVER_GEMINI_CLI") or shutil.which("gemini")
pytestmark = pytest.mark.skipif(GEMINI is None, reason="gemini-cli is not installed")

KEY: Final = "sk-client-canary-gemini-cli"
CONFIG: Final = """
server: {{port: 0}}
keys: [{{name: one, key: "{key}", tpm: 10000000}}]
providers:
  google: {{host: gemini, base_url: "{url}/v1beta", api_key: "sk-upstream-canary"}}
  up: {{protocol: openai, base_url: "{url}/v1", api_key: "sk-upstream-canary"}}
models:
  gemini-2.5-pro: google
  gemini-2.5-flash: up
"""


@dataclass
class Ran:
    """What a run left: its exit code, what it told the user, and the files it made."""

    code: int
    said: Json
    files: dict[str, str]


@pytest.fixture(scope="module")
def server(upstream: Upstream) -> Iterator[Process]:
    with Process(CONFIG.format(url=upstream.url, key=KEY)) as process:
        yield process


@pytest.fixture
def run(tmp_path: Path, server: Process) -> Callable[..., Ran]:
    """Runs `gemini -p` with a home of its own. It takes a key for a server of one's own only where its settings say so."""

    def start(model: str = "gemini-2.5-pro", key: str = KEY) -> Ran:
        home, work = tmp_path / "home", tmp_path / "work"
        (home / ".gemini").mkdir(parents=True)
        work.mkdir()
        settings = {
            "security": {"auth": {"selectedType": "gemini-api-key"}},
            "privacy": {"usageStatisticsEnabled": False},
        }
        (home / ".gemini" / "settings.json").write_text(json.dumps(settings), encoding="utf-8")
        done = subprocess.run(
            [str(GEMINI), "-p", "Do it.", "--yolo", "-m", model, "--output-format", "json"],
            cwd=work,
            env={
                "PATH": os.environ["PATH"],
                "HOME": str(home),
                "GEMINI_API_KEY": key,
                "GOOGLE_GEMINI_BASE_URL": server.root,
                "GEMINI_CLI_TRUST_WORKSPACE": "true",
            },
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
        )
        print(done.stdout, done.stderr)  # for pytest to show
        told = next(text for text in (done.stdout, done.stderr) if "session_id" in text)
        said = json.loads(told[told.rindex('{\n  "session_id"') :])
        return Ran(done.returncode, said, {each.name: each.read_text() for each in work.iterdir()})

    return start


def test_commands_and_files(run: Callable[..., Ran], upstream: Upstream, tmp_path: Path) -> None:
    path = str(tmp_path / "work" / "written.txt")
    upstream.script(
        "gemini-2.5-pro",
        gemini_call("run_shell_command", {"command": "echo from a command > ran.txt; cat ran.txt"}),
        gemini_call("write_file", {"file_path": path, "content": "from a call\n"}),
        gemini({"text": "All done."}),
    )
    ran = run()
    assert (ran.code, ran.said["response"]) == (0, "All done.")
    assert ran.files == {"ran.txt": "from a command\n", "written.txt": "from a call\n"}
    first, second, third = upstream.of("gemini-2.5-pro")
    assert first.path == "/v1beta/models/gemini-2.5-pro:streamGenerateContent?alt=sse"
    assert "from a command" not in first.body.decode() and "from a command" in second.body.decode()
    [call] = [part for content in third.json["contents"] for part in content["parts"]
              if part.get("functionCall", {}).get("name") == "write_file"]  # fmt: skip
    assert call["thoughtSignature"] == "c2lnbmVk"


def test_a_model_that_is_not_geminis_is_refused_in_words(run: Callable[..., Ran]) -> None:
    ran = run("gemini-2.5-flash")
    assert ran.code != 0 and "does not serve streamGenerateContent" in ran.said["error"]["message"]


def test_an_unknown_key_is_told(run: Callable[..., Ran]) -> None:
    ran = run(key="sk-client-canary-nobody")
    assert ran.code != 0 and "API key" in ran.said["error"]["message"]


def test_half_an_answer_is_none(run: Callable[..., Ran], upstream: Upstream) -> None:
    event = b'data: {"candidates": [{"content": {"role": "model", "parts": [{"text": "Half"}]}}]}\n\n'
    upstream.script("gemini-2.5-pro", [*stream(event, end=False), CLOSE])
    ran = run()
    assert (ran.code, ran.said["error"]["message"]) == (1, "terminated")
