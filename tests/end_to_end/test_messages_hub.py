"""Messages clients at the real process, with models of other protocols behind it. Ids name the acceptance cases."""

import json
import re
from collections.abc import Iterator
from typing import Any, Final

import anthropic
import httpx2 as httpx
import pytest
from answers import chat_call, chat_text, gemini_call
from answers import gemini as gemini_part
from anthropic import Anthropic
from messages_fold import check_grammar, events_of
from process import Process
from scripted import Script, Upstream, answer, chunked, sse, stream

Json = dict[str, Any]
KEY: Final = "sk-client-canary"
SPENT: Final = "sk-client-canary-spent"
LIMITED: Final = "sk-client-canary-limited"
CONFIG: Final = """
server: {{port: 0, keep_alive: {{after: 0.2, every: 0.1, thinking: 0.5}}}}
providers:
  claude: {{protocol: anthropic, base_url: "{url}", api_key: sk-ant-x}}
  allowed: {{protocol: anthropic, base_url: "{url}", api_key: sk-ant-x, overrides: {{allow: [tools.web_search, speed]}}}}
  openai: {{base_url: "{url}/v1", api_key: sk-x}}
  deepseek: {{base_url: "{url}/v1", api_key: sk-x}}
  gemini: {{base_url: "{url}/v1beta", api_key: sk-x}}
  router: {{host: openrouter, base_url: "{url}/v1", api_key: sk-x}}
models:
  gpt-4o: openai
  deepseek-chat: deepseek
  gemini-3-pro: gemini
  claude-here: claude
  to-claude: [openai/ab-gpt, claude/ab-claude]
  to-gpt: [claude/ba-claude, openai/ba-gpt]
  long: [openai/long-1, openai/long-2]
  silent: [openai/silent-1, openai/silent-2]
  claude-moves: claude
keys:
  - {{name: laptop, key: "{key}"}}
  - {{name: spent, key: "{spent}", budget_usd: 0.5, tpm: 1000000}}
  - {{name: limited, key: "{limited}", budget_usd: 100, tpm: 10000000}}
usage: {{path: "{path}"}}
model_facts:
  "*": {{price: {{input: 1, output: 1, cache_read: 1, cache_write: 1}}}}
  claude-allowed: {{price: {{input: 1, output: 1, cache_read: 1, cache_write: 1}}}}
  claude-priced: {{price: {{input: 1, output: 1, cache_read: 1, cache_write: 1}}}}
"""
HI: Any = [{"role": "user", "content": "hi"}]
ADD: Any = {
    "name": "add",
    "description": "",
    "input_schema": {"type": "object", "properties": {"a": {"type": "integer"}}},
}
MESSAGE: Json = {
    "id": "msg_theirs", "type": "message", "role": "assistant", "model": "claude-x", "stop_reason": "end_turn",
    "content": [{"type": "text", "text": "Hello"}], "stop_sequence": None, "usage": {"input_tokens": 9, "output_tokens": 3},
}  # fmt: skip
WHOLE: Json = {
    "id": "chatcmpl-1", "object": "chat.completion", "model": "gpt-x",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "Hello"}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 9, "completion_tokens": 3, "total_tokens": 12},
}  # fmt: skip
OVERLOADED: Json = {"error": {"message": "Overloaded", "type": "overloaded_error"}}


def claude(*blocks: Json, stop: str = "end_turn") -> Script:
    """A stream of Claude's with these blocks, each in one delta."""
    deltas = {
        "text": ("text_delta", "text"),
        "thinking": ("thinking_delta", "thinking"),
        "tool_use": ("input_json_delta", ""),
    }
    told: list[Json] = [{"type": "message_start", "message": {**MESSAGE, "content": [], "stop_reason": None}}]
    for n, block in enumerate(blocks):
        kind, field = deltas[block["type"]]
        empty = {**block, field: ""} if field else {**block, "input": {}}
        value = {field: block[field]} if field else {"partial_json": json.dumps(block["input"])}
        told += [
            {"type": "content_block_start", "index": n, "content_block": empty},
            {"type": "content_block_delta", "index": n, "delta": {"type": kind, **value}},
            {"type": "content_block_stop", "index": n},
        ]
    told += [
        {"type": "message_delta", "delta": {"stop_reason": stop, "stop_sequence": None}, "usage": {"output_tokens": 3}},
        {"type": "message_stop"},
    ]
    return stream(b"".join(f"event: {each['type']}\ndata: {json.dumps(each)}\n\n".encode() for each in told))


@pytest.fixture(scope="module")
def upstream() -> Iterator[Upstream]:
    with Upstream() as upstream:
        yield upstream


@pytest.fixture(scope="module")
def server(upstream: Upstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    path = tmp_path_factory.mktemp("usage") / "usage.db"
    with Process(CONFIG.format(url=upstream.url, key=KEY, spent=SPENT, limited=LIMITED, path=path)) as process:
        yield process


@pytest.fixture(scope="module")
def sdk(server: Process) -> Iterator[Anthropic]:
    with Anthropic(base_url=server.root, auth_token=KEY, max_retries=0) as client:
        yield client


def post(server: Process, path: str = "", key: str = KEY, **body: Any) -> httpx.Response:
    sent = {"max_tokens": 50, "messages": HI, **body}
    return httpx.post(f"{server.url}/messages{path}", json=sent, headers={"x-api-key": key}, timeout=30)


def error_of(got: httpx.Response) -> tuple[int, str, str]:
    told = got.json()
    assert set(told) == {"type", "error", "request_id"} and got.headers["request-id"] == told["request_id"]
    return got.status_code, told["error"]["type"], told["error"]["message"]


@pytest.mark.parametrize("streamed", [True, False])
@pytest.mark.parametrize("model", ["openai/as-json", "openai/as-sse"])
@pytest.mark.case(messages=74)
@pytest.mark.case(messages=77)
def test_the_form_that_was_asked_for(server: Process, upstream: Upstream, model: str, streamed: bool) -> None:
    upstream.script("as-json", answer(WHOLE))
    upstream.script("as-sse", chat_text("Hello"))
    got = post(server, model=model, stream=streamed)
    if streamed:
        assert got.headers["content-type"] == "text/event-stream; charset=utf-8"
        events = events_of(got.content)
        check_grammar(events)
        message = events[0]["message"]
    else:
        assert got.headers["content-type"] == "application/json"
        message = got.json()
        assert message["content"] == [{"type": "text", "text": "Hello"}]
    assert message["model"] == model
    assert re.fullmatch("msg_[A-Za-z0-9]{24}", message["id"])
    assert b"chatcmpl" not in got.content


@pytest.mark.case(messages=45)
def test_top_k_goes_where_it_is_taken(server: Process, upstream: Upstream) -> None:
    upstream.script("sampled", answer(WHOLE))
    upstream.script("gemini-2.5-flash", gemini_part({"text": "Hello"}))
    dropped = {}
    for model in ("gemini/gemini-2.5-flash", "router/sampled", "openai/sampled"):
        got = post(server, model=model, top_k=5)
        assert got.status_code == 200
        dropped[model] = got.headers.get("x-modelserver-dropped")
    [gemini] = upstream.of("gemini-2.5-flash")
    assert gemini.json["generationConfig"]["topK"] == 5
    assert [sent.json.get("top_k") for sent in upstream.of("sampled")] == [5, None]
    assert dropped == {"gemini/gemini-2.5-flash": None, "router/sampled": None, "openai/sampled": "top_k"}
    assert error_of(post(server, model="gpt-4o", top_k="many"))[2] == "top_k: Input should be a valid integer"


@pytest.mark.case(messages=80)
def test_a_long_silence_begins_with_thinking(server: Process, upstream: Upstream) -> None:
    body: Json = {"model": "openai/waits", "stream": True}
    said = sse({"choices": [{"index": 0, "delta": {"content": "Hello"}, "finish_reason": "stop"}]})
    for thinking in ({"type": "adaptive"}, {"type": "disabled"}):
        upstream.script("waits", [*stream(b"", end=False), 1.5, *chunked(said)])
        got = post(server, **body, thinking=thinking)
        events = [event for event in events_of(got.content) if event["type"] != "ping"]
        assert b'event: ping\ndata: {"type": "ping"}\n\n' in got.content
        check_grammar(events)
        kinds = [event["content_block"]["type"] for event in events if event["type"] == "content_block_start"]
        silent = [event for event in events if event.get("delta") == {"type": "thinking_delta", "thinking": ""}]
        assert (kinds, bool(silent)) == (
            (["thinking", "text"], True) if thinking["type"] == "adaptive" else (["text"], False)
        )


@pytest.mark.case(messages=80)
def test_no_other_target_follows_a_beginning(server: Process, upstream: Upstream) -> None:
    upstream.script("silent-1", [*stream(b"", end=False), 1.5, *chunked(sse(OVERLOADED))])
    upstream.script("silent-2", chat_text("Hello"))
    got = post(server, model="silent", stream=True, thinking={"type": "adaptive"})
    assert events_of(got.content)[-1]["error"]["type"] == "overloaded_error"
    assert not upstream.of("silent-2")
    got = post(server, model="silent", stream=True)
    assert events_of(got.content)[-1]["type"] == "message_stop"


@pytest.mark.case(messages=83)
def test_too_long_is_told_at_once(server: Process, upstream: Upstream) -> None:
    message = "This model's maximum context length is 100 tokens. However, your messages resulted in 200 tokens."
    upstream.script("long-1", answer({"error": {"message": message, "code": "context_length_exceeded"}}, 400))
    upstream.script("long-2", answer({"error": {"message": "busy"}}, 503))
    words = "prompt is too long: 200 tokens > 100 maximum"
    assert error_of(post(server, model="long")) == (400, "invalid_request_error", words)
    assert not upstream.of("long-2")


@pytest.mark.case(messages=84)
@pytest.mark.case(messages=90)
def test_a_budget_that_is_spent(server: Process, upstream: Upstream) -> None:
    usage = {"prompt_tokens": 9, "completion_tokens": 600_000, "total_tokens": 600_009}
    upstream.script("dear", answer({**WHOLE, "usage": usage}))
    assert post(server, model="openai/dear", key=SPENT).status_code == 200
    got = post(server, model="openai/dear", key=SPENT)
    status, kind, message = error_of(got)
    assert (status, kind, got.headers["x-should-retry"]) == (429, "billing_error", "false")
    assert message.startswith("spend limit reached (")
    with Anthropic(base_url=server.root, auth_token=SPENT) as client, pytest.raises(anthropic.RateLimitError):
        client.messages.create(model="openai/dear", max_tokens=5, messages=HI)
    assert len(upstream.of("dear")) == 1
    counted = post(server, "/count_tokens", model="openai/dear", key=SPENT, tools=[{"type": "web_search_20250305"}])
    assert counted.json()["input_tokens"] >= 1
    assert error_of(post(server, "/count_tokens", model="openai/dear", key="nobody"))[0] == 401


@pytest.mark.parametrize(
    ("name", "more"),
    [
        ("speed", {"speed": "fast"}),
        ("mcp_servers", {"mcp_servers": [{"type": "url", "url": "https://a", "name": "a"}]}),
        ("container", {"container": "container_1"}),
        ("inference_geo", {"inference_geo": "us"}),
        ("service_tier", {"service_tier": "priority"}),
        ("fallbacks", {"fallbacks": [{"model": "claude-dear"}]}),
        ("user_profile_id", {"user_profile_id": "u"}),
        ("tools.web_search", {"tools": [ADD, {"type": "web_search_20250305", "name": "web_search"}]}),
        ("tools.web_fetch", {"tools": [{"type": "web_fetch_20250910", "name": "web_fetch"}]}),
        ("tools.code_execution", {"tools": [{"type": "code_execution_20260521", "name": "code_execution"}]}),
        ("tools.advisor", {"tools": [ADD, {"type": "advisor_20260301", "name": "advisor", "model": "claude-dear"}]}),
        ("tools.mcp_toolset", {"tools": [{"type": "mcp_toolset", "mcp_server_name": "a"}]}),
        ("tools.of_tomorrow", {"tools": [{"type": "of_tomorrow", "name": "x"}]}),
        (
            "tools.web_search",
            {
                "messages": [
                    *HI,
                    {
                        "role": "system",
                        "content": [
                            {
                                "type": "tool_addition",
                                "tool": {"type": "tool_definition", "definition": {"type": "web_search_20260209"}},
                            }
                        ],
                    },
                ]
            },
        ),
    ],
)
def test_limited_keys_choose_no_route_and_no_price(server: Process, upstream: Upstream, name: str, more: Json) -> None:
    upstream.script("claude-priced", answer(MESSAGE))
    before = len(upstream.of("claude-priced"))
    got = post(server, model="claude/claude-priced", key=LIMITED, **more)
    status, kind, message = error_of(got)
    assert (status, kind) == (400, "invalid_request_error")
    assert message.startswith(f"Unsupported parameter: '{name}': ") and "overrides: allow" in message
    assert len(upstream.of("claude-priced")) == before
    got = post(server, model="claude/claude-priced", **more)
    assert got.status_code == 200
    sent = upstream.of("claude-priced")[-1].json
    assert {field: sent[field] for field in more} == more


def test_limited_keys_may_send_what_costs_nothing_or_is_allowed(server: Process, upstream: Upstream) -> None:
    upstream.script("claude-allowed", answer(MESSAGE))
    free = [ADD, *({"type": each} for each in ("custom", "bash_20250124", "text_editor_20250728", "memory_20250818"))]
    free += [
        {"type": each} for each in ("computer_20250124", "computer_toolset_20260801", "tool_search_tool_bm25_20251119")
    ]
    for provider, more in (
        (
            "claude",
            {"speed": "standard", "inference_geo": "global", "service_tier": "standard_only", "mcp_servers": []},
        ),
        ("claude", {"tools": free, "container": None, "billing_policy": "self"}),
        ("allowed", {"speed": "fast", "tools": [{"type": "web_search_20250305", "name": "web_search"}]}),
    ):
        got = post(server, model=f"{provider}/claude-allowed", key=LIMITED, **more)
        assert got.status_code == 200, got.text


@pytest.mark.parametrize("name", ["to-claude", "to-gpt"])
@pytest.mark.parametrize("streamed", [True, False])
def test_claude_and_gpt_take_over_from_each_other(
    sdk: Anthropic, upstream: Upstream, name: str, streamed: bool
) -> None:
    good = {"to-claude": ("ab-claude", claude({"type": "text", "text": "Hello"}), answer(MESSAGE)),
            "to-gpt": ("ba-gpt", chat_text("Hello"), answer(WHOLE))}[name]  # fmt: skip
    bad = {"to-claude": "ab-gpt", "to-gpt": "ba-claude"}[name]
    upstream.script(bad, answer(OVERLOADED, 529))
    upstream.script(good[0], good[1] if streamed else good[2])
    if streamed:
        with sdk.messages.stream(model=name, max_tokens=50, messages=HI) as told:
            final = told.get_final_message()
    else:
        final = sdk.messages.create(model=name, max_tokens=50, messages=HI)
    assert (final.content[0].text, final.stop_reason) == ("Hello", "end_turn")  # type: ignore[union-attr]
    assert final.usage.input_tokens in (9, 10)


TARGETS: Final[dict[str, tuple[str, list[Script]]]] = {
    "gpt-4o": ("gpt-4o", [chat_call("add", {"a": 1}), chat_text("It is 1.")]),
    "deepseek-chat": ("deepseek-chat", [chat_call("add", {"a": 1}), chat_text("It is 1.")]),
    "gemini-3-pro": ("gemini-3-pro", [gemini_call("add", {"a": 1}), gemini_part({"text": "It is 1."})]),
    "claude-here": (
        "claude-here",
        [
            claude({"type": "tool_use", "id": "toolu_1", "name": "add", "input": {"a": 1}}, stop="tool_use"),
            claude({"type": "text", "text": "It is 1."}),
        ],
    ),
}


@pytest.mark.parametrize("model", TARGETS)
@pytest.mark.case(messages=91)
@pytest.mark.case(messages=93)
def test_one_program_on_every_target(sdk: Anthropic, upstream: Upstream, model: str) -> None:
    name, scripts = TARGETS[model]
    upstream.script(name, *scripts)
    history: list[Any] = [*HI]
    for turn in range(2):
        with sdk.messages.stream(
            model=model, max_tokens=500, messages=history, tools=[ADD], thinking={"type": "adaptive"}
        ) as told:
            final = told.get_final_message()
        history.append({"role": "assistant", "content": [block.to_dict() for block in final.content]})
        if turn == 0:
            assert final.stop_reason == "tool_use"
            [use] = [block for block in final.content if block.type == "tool_use"]
            assert (use.name, use.input) == ("add", {"a": 1})
            found = {"type": "tool_result", "tool_use_id": use.id, "content": "1"}
            history.append({"role": "user", "content": [found]})
    assert [block.text for block in final.content if block.type == "text"] == ["It is 1."]
    assert final.stop_reason == "end_turn"


@pytest.mark.case(messages=92)
def test_a_conversation_that_moves_there_and_back(sdk: Anthropic, upstream: Upstream) -> None:
    """From DeepSeek to Claude, and back: nobody is sent the other's signatures, and thinking comes back to who thought it."""
    base = {"index": 0, "finish_reason": None}
    call = {"index": 0, "id": "call_1", "type": "function", "function": {"name": "add", "arguments": '{"a": 1}'}}
    thought = sse(
        {"choices": [{**base, "delta": {"role": "assistant", "reasoning_content": "Hm."}}]},
        {"choices": [{**base, "delta": {"tool_calls": [call]}}]},
        {"choices": [{**base, "delta": {}, "finish_reason": "tool_calls"}]},
    )
    signed = {"type": "thinking", "thinking": "So.", "signature": "EqQBClaude"}
    used = {"type": "tool_use", "id": "toolu_2", "name": "add", "input": {"a": 2}}
    upstream.script("deepseek-moves", stream(thought), chat_text("Done."))
    upstream.script("claude-moves", claude(signed, used, stop="tool_use"))
    history: list[Any] = [*HI]
    for model in ("deepseek/deepseek-moves", "claude-moves", "deepseek/deepseek-moves"):
        with sdk.messages.stream(
            model=model, max_tokens=500, messages=history, tools=[ADD], thinking={"type": "adaptive"}
        ) as told:
            final = told.get_final_message()
        history.append({"role": "assistant", "content": [block.to_dict() for block in final.content]})
        for use in final.content:
            if use.type == "tool_use":
                found = {"type": "tool_result", "tool_use_id": use.id, "content": "1"}
                history.append({"role": "user", "content": [found]})
    assert final.content[-1].text == "Done."  # type: ignore[union-attr]
    [at_claude] = upstream.of("claude-moves")
    assert [block["type"] for block in at_claude.json["messages"][1]["content"]] == ["tool_use"]
    back = upstream.of("deepseek-moves")[1].json["messages"]
    assert [message.get("reasoning_content") for message in back if message["role"] == "assistant"] == ["Hm.", None]
    assert "EqQBClaude" not in json.dumps(back)
