"""Agents over the real process: what a model thought before it called tools comes back to it on the next turn.

The client is the official OpenAI SDK used as most agents use it: they keep id, name and arguments of a call and nothing
else. The upstreams are Claude- and Gemini-shaped; what they are sent is what is looked at.
"""

import base64
import json
from collections.abc import Callable, Iterator
from typing import Any

import httpx2 as httpx
import pytest
from openai import OpenAI
from process import Process
from scripted import Script, Upstream, answer, until_close

TOOLS: Any = [
    {
        "type": "function",
        "function": {"name": name, "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}},
    }
    for name in ("weather", "time")
]
ASK: Any = {"role": "user", "content": "北京?"}


def text(upstream: Upstream) -> str:
    return f"""
server: {{port: 0}}
providers:
  claude: {{protocol: anthropic, base_url: "{upstream.url}", api_key: sk-ant-canary}}
  gemini: {{protocol: gemini, base_url: "{upstream.url}/v1beta", api_key: AIza-canary}}
model_facts:
  "agent-claude*": {{like: claude-haiku-4-5}}
  "agent-gemini*": {{like: gemini-3.5-flash}}
"""


@pytest.fixture(scope="module")
def front(upstream: Upstream) -> Iterator[Process]:
    with Process(text(upstream)) as process:
        yield process


@pytest.fixture
def agent(front: Process) -> Iterator[OpenAI]:
    with OpenAI(base_url=front.url, api_key="-", max_retries=0) as client:
        yield client


# Claude


def claude(*events: dict[str, Any]) -> Script:
    return until_close(b"".join(f"event: {e['type']}\ndata: {json.dumps(e)}\n\n".encode() for e in events))


THINKING = {"type": "thinking", "thinking": "Which city? 北京.", "signature": "EpAC+/signed=="}
REDACTED = {"type": "redacted_thinking", "data": "EmwKAhgBEgy3va=="}
START = {"type": "message_start", "message": {"usage": {"input_tokens": 9, "output_tokens": 1}}}
STOP = {"type": "message_stop"}


def ended(reason: str) -> dict[str, Any]:
    return {"type": "message_delta", "delta": {"stop_reason": reason}, "usage": {"output_tokens": 20}}


CALLS = claude(
    START,
    {"type": "content_block_start", "index": 0, "content_block": {"type": "thinking", "thinking": "", "signature": ""}},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "thinking_delta", "thinking": THINKING["thinking"]}},
    {
        "type": "content_block_delta",
        "index": 0,
        "delta": {"type": "signature_delta", "signature": THINKING["signature"]},
    },
    {"type": "content_block_stop", "index": 0},
    {"type": "content_block_start", "index": 1, "content_block": REDACTED},
    {"type": "content_block_stop", "index": 1},
    {
        "type": "content_block_start",
        "index": 2,
        "content_block": {"type": "tool_use", "id": "toolu_1", "name": "weather", "input": {}},
    },
    {
        "type": "content_block_delta",
        "index": 2,
        "delta": {"type": "input_json_delta", "partial_json": '{"city":"北京"}'},
    },
    {"type": "content_block_stop", "index": 2},
    ended("tool_use"),
    STOP,
)
SAYS = claude(
    START,
    {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": "晴"}},
    {"type": "content_block_stop", "index": 0},
    ended("end_turn"),
    STOP,
)


@pytest.mark.parametrize("streamed", [False, True])
def test_claude_gets_its_signed_thinking_back(
    agent: OpenAI, upstream: Upstream, scripted: Callable[..., str], streamed: bool
) -> None:
    name = scripted(CALLS, SAYS, prefix="agent-claude")
    ask: Any = {"model": f"claude/{name}", "tools": TOOLS, "reasoning_effort": "high"}
    if streamed:
        with agent.chat.completions.stream(messages=[ASK], **ask) as stream:
            message = stream.get_final_completion().choices[0].message
    else:
        message = agent.chat.completions.create(messages=[ASK], **ask).choices[0].message
    call = message.tool_calls[0]
    assert (call.id, call.function.name, call.function.arguments) == ("toolu_1", "weather", '{"city":"北京"}')

    # The client keeps what the OpenAI API has fields for.
    kept = {
        "id": call.id,
        "type": "function",
        "function": {"name": call.function.name, "arguments": call.function.arguments},
    }
    turns: Any = [
        ASK,
        {"role": "assistant", "content": None, "tool_calls": [kept]},
        {"role": "tool", "tool_call_id": call.id, "content": "sunny"},
    ]
    said = agent.chat.completions.create(messages=turns, **ask)
    assert said.choices[0].message.content == "晴"
    first, second = upstream.of(name)
    assert first.json["thinking"]["type"] == second.json["thinking"]["type"] == "enabled"
    assert second.json["messages"] == [
        {"role": "user", "content": [{"type": "text", "text": "北京?"}]},
        {
            "role": "assistant",
            "content": [
                THINKING,
                REDACTED,
                {"type": "tool_use", "id": "toolu_1", "name": "weather", "input": {"city": "北京"}},
            ],
        },
        {
            "role": "user",
            "content": [{"type": "tool_result", "tool_use_id": "toolu_1", "content": "sunny"}],
        },
    ]


def test_another_key_or_a_changed_call_gets_no_thinking(upstream: Upstream, scripted: Callable[..., str]) -> None:
    """Ids are not secret: what one client's model thought must not be had by naming its call."""
    name = scripted(CALLS, SAYS, prefix="agent-claude")
    keys = "\nkeys: [{name: one, key: sk-canary-one}, {name: two, key: sk-canary-two}]\n"
    with Process(text(upstream) + keys) as process:
        ask: Any = {"model": f"claude/{name}", "tools": TOOLS, "reasoning_effort": "high"}
        one = OpenAI(base_url=process.url, api_key="sk-canary-one", max_retries=0)
        two = OpenAI(base_url=process.url, api_key="sk-canary-two", max_retries=0)
        with one, two:
            one.chat.completions.create(messages=[ASK], **ask)
            call = {"id": "toolu_1", "type": "function", "function": {"name": "weather", "arguments": "{}"}}
            turns: Any = [
                ASK,
                {"role": "assistant", "tool_calls": [call]},
                {"role": "tool", "tool_call_id": "toolu_1", "content": ""},
            ]
            two.chat.completions.create(messages=turns, **ask)
    assert [block["type"] for block in upstream.of(name)[1].json["messages"][1]["content"]] == ["tool_use"]


# Gemini


def gemini(*parts: dict[str, Any]) -> Script:
    event = {
        "candidates": [{"content": {"role": "model", "parts": list(parts)}, "finishReason": "STOP"}],
        "usageMetadata": {"promptTokenCount": 5, "candidatesTokenCount": 7, "totalTokenCount": 12},
    }
    return until_close(f"data: {json.dumps(event)}\r\n\r\n".encode())


def signature(n: int) -> str:
    return base64.b64encode(f"signature {n}".encode()).decode()


DUMMY = "c2tpcF90aG91Z2h0X3NpZ25hdHVyZV92YWxpZGF0b3I="
TURNS = [
    gemini(
        {"functionCall": {"id": "f1", "name": "weather", "args": {"city": "北京"}}, "thoughtSignature": signature(1)},
        {"functionCall": {"id": "f2", "name": "time", "args": {}}},
    ),
    gemini({"functionCall": {"id": "f3", "name": "time", "args": {"city": "上海"}}, "thoughtSignature": signature(2)}),
    gemini({"text": "done"}),
]


def converse(client: OpenAI, model: str, keeps: bool, before: Callable[[int], OpenAI] | None = None) -> str:
    """An agent's loop: three turns, tools called in parallel and in sequence. keeps: extra fields of calls come back."""
    messages: list[Any] = [ASK]
    for turn in range(3):
        asked = before(turn) if before else client
        message = asked.chat.completions.create(model=model, messages=messages, tools=TOOLS).choices[0].message
        if not message.tool_calls:
            return message.content or ""
        calls = [call.to_dict() for call in message.tool_calls]
        if not keeps:
            calls = [{name: call[name] for name in ("id", "type", "function")} for call in calls]
        messages.append({"role": "assistant", "content": message.content, "tool_calls": calls})
        messages += [{"role": "tool", "tool_call_id": call["id"], "content": '{"ok": true}'} for call in calls]
    raise AssertionError("the agent did not end")


def signed(request: Any) -> list[list[tuple[str, str | None]]]:
    """(id, signature) of each functionCall, by turn of the model."""
    return [
        [
            (part["functionCall"]["id"], part.get("thoughtSignature"))
            for part in content["parts"]
            if "functionCall" in part
        ]
        for content in request.json["contents"]
        if content["role"] == "model"
    ]


@pytest.mark.parametrize("keeps", [True, False], ids=["the client keeps them", "the client loses them"])
def test_gemini_signatures_return_to_their_parts(
    agent: OpenAI, upstream: Upstream, scripted: Callable[..., str], keeps: bool
) -> None:
    name = scripted(*TURNS, prefix="agent-gemini")
    assert converse(agent, f"gemini/{name}", keeps) == "done"
    _, second, third = upstream.of(name)
    parallel = [("f1", signature(1)), ("f2", None)]
    assert signed(second) == [parallel]
    assert signed(third) == [parallel, [("f3", signature(2))]]
    results = [part["functionResponse"] for part in second.json["contents"][-1]["parts"]]
    assert results == [
        {"id": id, "name": tool, "response": {"ok": True}} for id, tool in (("f1", "weather"), ("f2", "time"))
    ]


def test_gemini_after_a_restart(upstream: Upstream, scripted: Callable[..., str]) -> None:
    """What was kept is gone, and the client has nothing: the documented dummy stands in for the first call's signature."""
    name = scripted(*TURNS, prefix="agent-gemini")
    with Process(text(upstream)) as old, Process(text(upstream)) as new:
        clients = [OpenAI(base_url=process.url, api_key="-", max_retries=0) for process in (old, new, new)]
        assert converse(clients[0], f"gemini/{name}", keeps=False, before=clients.__getitem__) == "done"
        for client in clients:
            client.close()
    _, second, third = upstream.of(name)
    assert signed(second) == [[("f1", DUMMY), ("f2", None)]]
    assert signed(third) == [[("f1", DUMMY), ("f2", None)], [("f3", signature(2))]]


def test_gemini_goes_on_where_it_was_cut(agent: OpenAI, upstream: Upstream, scripted: Callable[..., str]) -> None:
    """finishReason CONTINUATION: the same request again with its token; one answer for the client."""

    def leg(text: str, reason: str, **more: str) -> Script:
        candidate = {"content": {"role": "model", "parts": [{"text": text}]}, "finishReason": reason, **more}
        usage = {"promptTokenCount": 5, "candidatesTokenCount": 2, "totalTokenCount": 7}
        return until_close(f"data: {json.dumps({'candidates': [candidate], 'usageMetadata': usage})}\r\n\r\n".encode())

    name = scripted(
        leg("half ", "CONTINUATION", continuationToken="go-on"), leg("whole", "STOP"), prefix="agent-gemini"
    )
    whole = agent.chat.completions.create(model=f"gemini/{name}", messages=[ASK])
    assert (whole.choices[0].message.content, whole.choices[0].finish_reason) == ("half whole", "stop")
    first, second = upstream.of(name)
    assert second.json == {**first.json, "continuationToken": "go-on"}


# Images


@pytest.mark.parametrize("provider", ["claude", "gemini"])
def test_an_image_url_into_the_own_network_is_refused(
    front: Process, upstream: Upstream, scripted: Callable[..., str], http: httpx.Client, provider: str
) -> None:
    name = scripted(answer({}), prefix="never-asked")
    part = {"type": "image_url", "image_url": {"url": f"http://127.0.0.1:{upstream.port}/x.png"}}
    body = {
        "model": f"{provider}/{name}",
        "messages": [{"role": "user", "content": [{"type": "text", "text": "?"}, part]}],
    }
    before = upstream.connections
    refused = http.post(f"{front.url}/chat/completions", json=body)
    assert refused.status_code == 400
    error = refused.json()["error"]
    assert (error["code"], error["param"]) == ("invalid_image_url", "messages[0].content[1].image_url.url")
    assert upstream.connections == before and not upstream.of(name)


def test_fetching_can_be_turned_off(upstream: Upstream, http: httpx.Client) -> None:
    with Process(text(upstream).replace("{port: 0}", "{port: 0, fetch_images: false}")) as process:
        part = {"type": "image_url", "image_url": {"url": "https://example.com/x.png"}}
        body = {"model": "gemini/x", "messages": [{"role": "user", "content": [part]}]}
        refused = http.post(f"{process.url}/chat/completions", json=body)
    assert refused.status_code == 400
    assert "data URI" in refused.json()["error"]["message"]
