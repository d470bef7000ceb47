"""Claude's thinking goes back to it where it stood among the calls of its answer, through the Responses API."""

import json
from typing import Any

import httpx2 as httpx
import pytest
from process import Process
from scripted import Upstream, answer
from test_codex import claude_blocks, claude_text

Json = dict[str, Any]
CONFIG = """
server: {{port: 0}}
providers:
  claude: {{host: anthropic, base_url: "{url}/v1", api_key: "sk-upstream-canary"}}
"""
TOOL = {"type": "function", "name": "look", "parameters": {"type": "object", "properties": {"at": {"type": "string"}}}}


def thought(text: str) -> Json:
    return {"type": "thinking", "thinking": text, "signature": f"U0lHTkVE{text}"}


def call(at: str) -> Json:
    return {"type": "tool_use", "id": f"toolu_{at}", "name": "look", "input": {"at": at}}


@pytest.mark.parametrize("streamed", [True, False], ids=["streamed", "whole"])
@pytest.mark.parametrize(
    "blocks",
    [
        [thought("A"), call("a")],
        [thought("A"), call("a"), call("b")],
        [thought("A"), {"type": "text", "text": "So."}, call("a")],
        [thought("A"), call("a"), thought("B"), call("b")],
        [{"type": "text", "text": "So."}, thought("A"), call("a")],
    ],
    ids=["first", "calls", "text", "between", "behind-text"],
)
def test_thinking_returns_to_its_place(upstream: Upstream, blocks: list[Json], streamed: bool):
    usage = {"input_tokens": 10, "output_tokens": 3}
    message = {"id": "msg_1", "type": "message", "role": "assistant", "model": "m", "stop_reason": "tool_use"}
    whole = answer({**message, "content": blocks, "usage": usage})
    name = upstream.script("claude-sonnet-4-5", claude_blocks(*blocks) if streamed else whole, claude_text("Done."))
    before = len(upstream.of(name))
    with Process(CONFIG.format(url=upstream.url)) as server:
        base = {
            "model": f"claude/{name}", "tools": [TOOL], "store": False, "stream": streamed,
            "reasoning": {"effort": "high"}, "include": ["reasoning.encrypted_content"],
        }  # fmt: skip
        asked: list[Json] = [{"role": "user", "content": "Hi"}]
        told = httpx.post(f"{server.url}/responses", json={**base, "input": asked}).text
        events = [json.loads(line[6:]) for line in told.splitlines() if line.startswith("data: ")]
        done = [each["item"] for each in events if each["type"] == "response.output_item.done"]
        output = done if streamed else json.loads(told)["output"]
        results = [
            {"type": "function_call_output", "call_id": block["id"], "output": "x"}
            for block in blocks
            if block["type"] == "tool_use"
        ]
        httpx.post(f"{server.url}/responses", json={**base, "input": [*asked, *output, *results]})
    assert upstream.of(name)[before + 1].json["messages"][1] == {"role": "assistant", "content": blocks}
