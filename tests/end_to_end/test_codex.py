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
from process import Process
from scripted import CLOSE, Script, Upstream, answer, sse, stream

Json = dict[str, Any]
CODEX: Final = os.environ.get("MODELSERVER_CODEX") or shutil.which("codex")
pytestmark = pytest.mark.skipif(CODEX is None, reason="Codex is not installed")

PATCH: Final = "*** Begin Patch\n*** Add File: patched.txt\n+from a patch\n*** End Patch\n"
COMMAND: Final = {"cmd": "echo from a command > ran.txt; cat ran.txt"}
FILES: Final = {"ran.txt": "from a command\n", "patched.txt": "from a patch\n"}
# Codex knows this model: for gpt-5.5 it offers its tools one by one, apply_patch among them as a custom tool.
SERVER: Final = """
server: {{port: 0}}
providers:
  echo: {{options: {{delay: 0}}}}
  chat: {{protocol: openai, base_url: "{url}/v1", api_key: "sk-upstream-canary"}}
  claude: {{host: anthropic, base_url: "{url}/v1", api_key: "sk-upstream-canary"}}
  gemini: {{base_url: "{url}/v1beta", api_key: "sk-upstream-canary"}}
  openai: {{base_url: "{url}/v1", api_key: "sk-upstream-canary"}}
models: {{gpt-5.5: "{target}", echo: echo}}
"""
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
    """Runs `codex exec` with a home of its own in front of a server whose model gpt-5.5 is `target`."""

    def start(target: str, model: str = "gpt-5.5", name: str = "ModelServer", more: str = "") -> Ran:
        home, work = tmp_path / "home", tmp_path / "work"
        home.mkdir()
        work.mkdir()
        with Process(SERVER.format(url=upstream.url, target=target)) as server:
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


def chunks(delta: Json, finish: str, tokens: int = 10) -> Script:
    """A chat completion's stream."""
    base = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m"}
    usage = {"prompt_tokens": tokens, "completion_tokens": 3, "total_tokens": tokens + 3}
    choices = (
        [{"index": 0, "delta": delta, "finish_reason": None}],
        [{"index": 0, "delta": {}, "finish_reason": finish}],
    )
    return stream(sse(*({**base, "choices": each} for each in choices), {**base, "choices": [], "usage": usage}))


def chat_text(text: str) -> Script:
    return chunks({"role": "assistant", "content": text}, "stop")


def chat_call(name: str, arguments: Json, tokens: int = 10) -> Script:
    function = {"name": name, "arguments": json.dumps(arguments)}
    call = {"index": 0, "id": f"call_{name}", "type": "function", "function": function}
    return chunks({"role": "assistant", "tool_calls": [call]}, "tool_calls", tokens)


def gemini(part: Json) -> Script:
    candidate = {"content": {"role": "model", "parts": [part]}, "finishReason": "STOP", "index": 0}
    usage = {"promptTokenCount": 10, "candidatesTokenCount": 3, "totalTokenCount": 13}
    return stream(sse({"candidates": [candidate], "usageMetadata": usage}, done=False))


def gemini_call(name: str, arguments: Json) -> Script:
    return gemini({"functionCall": {"name": name, "args": arguments}, "thoughtSignature": "c2lnbmVk"})


def named(*events: Json) -> bytes:
    """Events with their names, as Claude and the Responses API send them."""
    return b"".join(b"event: %b\ndata: %b\n\n" % (each["type"].encode(), json.dumps(each).encode()) for each in events)


def claude_blocks(*blocks: Json) -> Script:
    """Claude's stream of these blocks; each block's text comes as one delta."""
    usage = {"input_tokens": 10, "output_tokens": 1}
    message = {"id": "msg_1", "type": "message", "role": "assistant", "model": "m", "content": [], "usage": usage}
    events: list[Json] = [{"type": "message_start", "message": message}]
    for index, block in enumerate(blocks):
        opened, *deltas = _opened(block)
        events.append({"type": "content_block_start", "index": index, "content_block": opened})
        events += [{"type": "content_block_delta", "index": index, "delta": delta} for delta in deltas]
        events.append({"type": "content_block_stop", "index": index})
    reason = "tool_use" if blocks[-1]["type"] == "tool_use" else "end_turn"
    events.append({"type": "message_delta", "delta": {"stop_reason": reason}, "usage": {"output_tokens": 3}})
    return stream(named(*events, {"type": "message_stop"}))


def _opened(block: Json) -> list[Json]:
    """A block as it is opened, and its deltas."""
    match block:
        case {"type": "text", "text": text}:
            return [{**block, "text": ""}, {"type": "text_delta", "text": text}]
        case {"type": "thinking", "thinking": text, "signature": signature}:
            deltas = {"type": "thinking_delta", "thinking": text}, {"type": "signature_delta", "signature": signature}
            return [{**block, "thinking": "", "signature": ""}, *deltas]
    return [{**block, "input": {}}, {"type": "input_json_delta", "partial_json": json.dumps(block["input"])}]


def claude_text(text: str) -> Script:
    return claude_blocks({"type": "text", "text": text})


def claude_call(name: str, arguments: Json) -> Script:
    return claude_blocks({"type": "tool_use", "id": f"toolu_{name}", "name": name, "input": arguments})


def native(item: Json) -> Script:
    """An answer of the Responses API with one item."""
    ident = f"resp_{item['id']}"
    whole = {"id": ident, "object": "response", "created_at": 1, "model": "m", "status": "completed", "output": [item]}
    usage = {"input_tokens": 10, "output_tokens": 3, "total_tokens": 13}
    begun = {**whole, "status": "in_progress", "output": [], "usage": None}
    events: list[Json] = [
        {"type": "response.created", "response": begun},
        {"type": "response.output_item.added", "output_index": 0, "item": {**item, "status": "in_progress"}},
        {"type": "response.output_item.done", "output_index": 0, "item": item},
        {"type": "response.completed", "response": {**whole, "usage": usage}},
    ]
    return stream(named(*({**event, "sequence_number": number} for number, event in enumerate(events))))


def native_text(text: str) -> Script:
    part = {"type": "output_text", "text": text, "annotations": []}
    return native({"type": "message", "id": "msg_1", "status": "completed", "role": "assistant", "content": [part]})


def native_call(name: str, arguments: Json) -> Script:
    item = {"id": f"i_{name}", "status": "completed", "call_id": f"call_{name}", "name": name}
    if name == "apply_patch":
        return native({"type": "custom_tool_call", **item, "input": arguments["input"]})
    return native({"type": "function_call", **item, "arguments": json.dumps(arguments)})


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
