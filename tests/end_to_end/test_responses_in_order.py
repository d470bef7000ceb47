"""The order of an answer's pieces, through the Responses API: as they came, and Claude's thinking goes back to its place."""

import json
from collections.abc import Iterator
from typing import Any

import httpx2 as httpx
import pytest
from answers import claude_blocks, claude_text
from process import Process
from scripted import Script, Upstream, answer

Json = dict[str, Any]
CONFIG = """
server: {{port: 0}}
providers:
  claude: {{host: anthropic, base_url: "{url}/v1", api_key: "sk-upstream-canary"}}
"""
TOOL = {"type": "function", "name": "look", "parameters": {"type": "object", "properties": {"at": {"type": "string"}}}}


@pytest.fixture(scope="module")
def server(upstream: Upstream) -> Iterator[Process]:
    with Process(CONFIG.format(url=upstream.url)) as process:
        yield process


def thought(text: str) -> Json:
    return {"type": "thinking", "thinking": text, "signature": f"U0lHTkVE{text}"}


def call(at: str) -> Json:
    return {"type": "tool_use", "id": f"toolu_{at}", "name": "look", "input": {"at": at}}


def claude(blocks: list[Json], streamed: bool) -> Script:
    """Claude's answer of these blocks."""
    usage = {"input_tokens": 10, "output_tokens": 3}
    message = {"id": "msg_1", "type": "message", "role": "assistant", "model": "m", "stop_reason": "tool_use"}
    return claude_blocks(*blocks) if streamed else answer({**message, "content": blocks, "usage": usage})


def output_of(server: Process, body: Json) -> list[Json]:
    """The items of an answer: those that a stream tells one by one, or those of a whole Response."""
    told = httpx.post(f"{server.url}/responses", json=body).text
    if not body["stream"]:
        return list(json.loads(told)["output"])
    events = [json.loads(line[6:]) for line in told.splitlines() if line.startswith("data: ")]
    return [each["item"] for each in events if each["type"] == "response.output_item.done"]


@pytest.mark.parametrize("upstream_streams", [True, False], ids=["from-a-stream", "from-a-whole"])
@pytest.mark.parametrize("streamed", [True, False], ids=["streamed", "whole"])
@pytest.mark.case(responses=39)
def test_texts_and_calls_come_in_their_order(
    server: Process, upstream: Upstream, streamed: bool, upstream_streams: bool
):
    blocks = [{"type": "text", "text": "One."}, call("a"), {"type": "text", "text": "Two."}, call("b")]
    name = upstream.script("claude-sonnet-4-5", claude(blocks, upstream_streams))
    body = {"model": f"claude/{name}", "tools": [TOOL], "input": "Hi", "stream": streamed}
    told = [
        item["content"][0]["text"].strip() if item["type"] == "message" else item["call_id"]
        for item in output_of(server, body)
    ]
    assert told == ["One.", "toolu_a", "Two.", "toolu_b"]


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
def test_thinking_returns_to_its_place(server: Process, upstream: Upstream, blocks: list[Json], streamed: bool):
    name = upstream.script("claude-sonnet-4-5", claude(blocks, streamed), claude_text("Done."))
    before = len(upstream.of(name))
    base = {
        "model": f"claude/{name}", "tools": [TOOL], "store": False, "stream": streamed,
        "reasoning": {"effort": "high"}, "include": ["reasoning.encrypted_content"],
    }  # fmt: skip
    asked: list[Json] = [{"role": "user", "content": "Hi"}]
    output = output_of(server, {**base, "input": asked})
    results = [
        {"type": "function_call_output", "call_id": block["id"], "output": "x"}
        for block in blocks
        if block["type"] == "tool_use"
    ]
    output_of(server, {**base, "input": [*asked, *output, *results]})
    assert upstream.of(name)[before + 1].json["messages"][1] == {"role": "assistant", "content": blocks}
