"""The real Claude Code in front of a real server, with models of four kinds: files written and changed, what its user is told.

Skipped where there is no Claude Code: MODELSERVER_CLAUDE_CODE names its program, else it is looked for on PATH. It is not
installed here, and it needs no network: all it asks is this machine.
"""

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pytest
from answers import chat_call, chat_text, claude_call, claude_text, gemini, gemini_call, of_every_protocol
from process import Process
from scripted import CLOSE, Script, Upstream, answer, sse, stream

Json = dict[str, Any]
CLAUDE: Final = os.environ.get("MODELSERVER_CLAUDE_CODE") or shutil.which("claude")
BEGUN: Final = {"choices": [{"index": 0, "delta": {"content": "Al"}}]}
pytestmark = pytest.mark.skipif(CLAUDE is None, reason="Claude Code is not installed")


def run(folder: Path, upstream: Upstream, target: str, model: str = "gpt-5.5", patience: float = 90) -> tuple[int, str]:
    """Run `claude -p` with a home of its own, in front of a server whose model gpt-5.5 is `target`.

    Returns its exit code and what it prints. The files it works on are in folder/work.
    """
    home, work = folder / "home", folder / "work"
    home.mkdir()
    work.mkdir()
    with Process(of_every_protocol(upstream, target)) as server:
        done = subprocess.run(
            [str(CLAUDE), "-p", "Do it.", "--model", model, "--allowedTools", "Write,Edit,Read"],
            cwd=work,
            env={
                "PATH": os.environ["PATH"],
                "HOME": str(home),
                "CLAUDE_CONFIG_DIR": str(home),
                "ANTHROPIC_BASE_URL": server.root,
                "ANTHROPIC_AUTH_TOKEN": "-",
                **dict.fromkeys(("ANTHROPIC_SMALL_FAST_MODEL", "ANTHROPIC_DEFAULT_HAIKU_MODEL"), "echo"),
                **dict.fromkeys(("CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC", "CLAUDE_CODE_MAX_RETRIES"), "1"),
            },
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=patience,
        )
        print(done.stdout, done.stderr)  # for pytest to show
        return done.returncode, done.stdout


@pytest.mark.parametrize(
    ("target", "call", "text"),
    [
        ("chat/cc-chat", chat_call, chat_text),
        ("claude/cc-claude", claude_call, claude_text),
        ("gemini/cc-gemini", gemini_call, lambda text: gemini({"text": text})),
    ],
)
@pytest.mark.case(messages=94)
def test_a_file_is_written_and_changed(
    tmp_path: Path, upstream: Upstream, target: str, call: Callable[..., Script], text: Callable[..., Script]
) -> None:
    name, path = target.partition("/")[2], str(tmp_path / "work" / "a.txt")
    upstream.script(
        name,
        call("Write", {"file_path": path, "content": "one\n"}),
        call("Edit", {"file_path": path, "old_string": "one", "new_string": "two"}),
        text("All done."),
    )
    code, said = run(tmp_path, upstream, target)
    assert (code, said.strip()) == (0, "All done.")
    assert Path(path).read_text() == "two\n"
    assert len(upstream.of(name)) == 3


@pytest.mark.case(messages=94)
def test_echo_answers(tmp_path: Path, upstream: Upstream) -> None:
    code, said = run(tmp_path, upstream, "echo", model="echo")
    assert code == 0 and said.strip().endswith("Do it.")


@pytest.mark.parametrize(
    ("name", "script", "told"),
    [
        (
            "cc-long",
            answer(
                {
                    "error": {
                        "message": "This model's maximum context length is 100 tokens. However, your messages resulted in "
                        "200 tokens.",
                        "code": "context_length_exceeded",
                    }
                },
                400,
            ),
            "rompt is too long",
        ),
        ("cc-refused", answer({"error": {"message": "Incorrect key.", "code": "invalid_api_key"}}, 401), "API Error"),
        (
            "cc-busy",
            answer({"error": {"message": "The engine is overloaded.", "code": "engine_overloaded"}}, 503),
            "verloaded",
        ),
        ("cc-cut", [*stream(sse(BEGUN, done=False), end=False), CLOSE], "API Error"),
    ],
)  # fmt: skip
@pytest.mark.case(messages=95)
def test_what_its_user_is_told(tmp_path: Path, upstream: Upstream, name: str, script: Script, told: str) -> None:
    upstream.script(name, script)
    code, said = run(tmp_path, upstream, f"chat/{name}")
    assert code != 0 and told in said
