"""The real Codex in front of a real server: commands, patches, a conversation made shorter, what its user is told.

Skipped where there is no Codex: MODELSERVER_CODEX names its program, else it is looked for on PATH. It is not installed here,
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
from answers import (
    chat_call,
    chat_text,
    claude_blocks,
    claude_call,
    claude_text,
    gemini,
    gemini_call,
    native_call,
    native_text,
    of_every_protocol,
)
from process import Process
from scripted import CLOSE, Script, Upstream, answer, sse, stream

Json = dict[str, Any]
CODEX: Final = os.environ.get("MODELSERVER_CODEX") or shutil.which("codex")
pytestmark = pytest.mark.skipif(CODEX is None, reason="Codex is not installed")

PATCH: Final = "*** Begin Patch\n*** Add File: patched.txt\n+from a patch\n*** End Patch\n"
COMMAND: Final = {"cmd": "echo from a command > ran.txt; cat ran.txt"}
FILES: Final = {"ran.txt": "from a command\n", "patched.txt": "from a patch\n"}
CLIENT: Final = """
model = "{model}"
model_provider = "modelserver"
{more}
[analytics]
enabled = false
[model_providers.modelserver]
name = "{name}"
base_url = "{url}"
env_key = "MODELSERVER_KEY"
wire_api = "responses"
request_max_retries = 0
stream_max_retries = 1
"""


@dataclass
class Ran:
    """What a run of Codex left: its exit code, what it told the user, and the files it made."""

    code: int
    events: list[Json]
    files: dict[str, str]

    @property
    def said(self) -> list[str]:
        return [item["text"] for item in self._items() if item["type"] == "agent_message"]

    @property
    def did(self) -> list[tuple[str, str]]:
        """The commands and patches that were carried out, and how they ended."""
        kinds = ("command_execution", "file_change")
        return [(item["type"], item["status"]) for item in self._items() if item["type"] in kinds]

    @property
    def errors(self) -> list[str]:
        return [event["message"] for event in self.events if event["type"] == "error"]

    def _items(self) -> Iterator[Json]:
        return (event["item"] for event in self.events if event["type"] == "item.completed")


@pytest.fixture
def run(tmp_path: Path, upstream: Upstream) -> Callable[..., Ran]:
    """Runs `codex exec` with a home of its own in front of a server whose model gpt-5.5 is `target`.

    Codex knows that model: it offers its tools one by one, apply_patch among them as a custom tool.
    """

    def start(target: str, model: str = "gpt-5.5", name: str = "ModelServer", more: str = "") -> Ran:
        home, work = tmp_path / "home", tmp_path / "work"
        home.mkdir()
        work.mkdir()
        with Process(of_every_protocol(upstream, target)) as server:
            text = CLIENT.format(model=model, name=name, more=more, url=server.url)
            (home / "config.toml").write_text(text, encoding="utf-8")
            done = subprocess.run(
                [
                    str(CODEX),
                    *("exec", "--json", "--skip-git-repo-check", "--dangerously-bypass-approvals-and-sandbox"),
                    "Do it.",
                ],
                cwd=work,
                env={"PATH": os.environ["PATH"], "HOME": str(home), "CODEX_HOME": str(home), "MODELSERVER_KEY": "-"},
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=60,
            )
        print(done.stdout, done.stderr)  # for pytest to show
        events = [json.loads(line) for line in done.stdout.splitlines()]
        return Ran(done.returncode, events, {each.name: each.read_text() for each in work.iterdir()})

    return start


@pytest.mark.parametrize(
    ("target", "call", "text"),
    [
        ("chat/codex-chat", chat_call, chat_text),
        ("claude/codex-claude", claude_call, claude_text),
        ("gemini/codex-gemini", gemini_call, lambda text: gemini({"text": text})),
        ("openai/codex-native", native_call, native_text),
    ],
)
def test_commands_and_patches_are_carried_out(
    run: Callable[..., Ran], upstream: Upstream, target: str, call: Callable[..., Script], text: Callable[..., Script]
):
    name = target.partition("/")[2]
    upstream.script(name, call("exec_command", COMMAND), call("apply_patch", {"input": PATCH}), text("All done."))
    ran = run(target)
    assert (ran.code, ran.errors, ran.said, ran.files) == (0, [], ["All done."], FILES)
    assert ran.did == [("command_execution", "completed"), ("file_change", "completed")]
    first, second, third = (request.body.decode() for request in upstream.of(name))
    assert "from a command" not in first
    assert "Process exited with code 0" in second
    assert "Success. Updated the following files" in third


def test_claude_gets_its_thinking_back_in_front_of_the_call(run: Callable[..., Ran], upstream: Upstream):
    thinking = {"type": "thinking", "thinking": "Hm.", "signature": "U0lHTkVE"}
    call = {"type": "tool_use", "id": "toolu_1", "name": "exec_command", "input": COMMAND}
    name = upstream.script("claude-sonnet-4-5", claude_blocks(thinking, call), claude_text("All done."))
    ran = run(f"claude/{name}", more='model_reasoning_effort = "high"\nmodel_reasoning_summary = "detailed"')
    assert (ran.code, ran.errors, ran.said) == (0, [], ["All done."])
    answered = [each for each in upstream.of(name)[1].json["messages"] if each["role"] == "assistant"]
    assert answered == [{"role": "assistant", "content": [thinking, call]}]


def test_echo_answers(run: Callable[..., Ran]):
    ran = run("echo", model="echo")
    assert (ran.code, ran.errors, ran.said) == (0, [], ["Do it."])


@pytest.mark.parametrize(
    ("name", "script", "told", "asked"),
    [
        (
            "codex-long",
            answer({"error": {"message": "Too long.", "code": "context_length_exceeded"}}, 400),
            "Codex ran out of room in the model's context window. Start a new thread or clear earlier history before "
            "retrying.",
            1,
        ),
        (
            "codex-refused",
            answer({"error": {"message": "Incorrect API key.", "code": "invalid_api_key"}}, 401),
            "unexpected status 502 Bad Gateway: The upstream refused this server's credentials. Tell the operator of "
            "this server.",
            2,
        ),
        (
            "codex-busy",
            answer({"error": {"message": "Busy.", "type": "server_error"}}, 503),
            "unexpected status 503 Service Unavailable: Busy.",
            2,
        ),
        (
            "codex-cut",
            [*stream(sse({"choices": [{"index": 0, "delta": {"content": "Half"}}]}, done=False), end=False), CLOSE],
            "stream disconnected before completion: The upstream closed the stream before completion.",
            2,
        ),
    ],
)
def test_what_the_user_is_told(
    run: Callable[..., Ran], upstream: Upstream, name: str, script: Script, told: str, asked: int
):
    """asked: how often Codex asks: what cannot be helped is not tried again."""
    upstream.script(name, script)
    ran = run(f"chat/{name}")
    assert (ran.code, ran.files) == (1, {})
    assert ran.errors[-1].startswith(told)
    assert len(ran.errors) == asked


def test_a_cut_answer_is_asked_for_again(run: Callable[..., Ran], upstream: Upstream):
    half = stream(sse({"choices": [{"index": 0, "delta": {"content": "Half"}}]}, done=False), end=False)
    upstream.script("codex-once", [*half, CLOSE], chat_text("Whole."))
    ran = run("chat/codex-once")
    assert (ran.code, ran.said, len(ran.errors)) == (0, ["Whole."], 1)


def test_a_long_conversation_is_made_shorter(run: Callable[..., Ran], upstream: Upstream):
    """Codex does so by itself, by what an answer says of its tokens; not when it is refused."""
    scripts = chat_call("exec_command", COMMAND, tokens=9000), chat_text("A summary."), chat_text("After.")
    upstream.script("codex-full", *scripts)
    ran = run("chat/codex-full", more="model_auto_compact_token_limit = 8000")
    assert (ran.code, ran.errors, ran.said) == (0, [], ["After."])
    assert "A summary." in json.dumps(upstream.of("codex-full")[2].json["messages"][-1])
