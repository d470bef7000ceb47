"""What hosts demand of a request, through a real server and the official client: names of tools, reasoning, marks, lists.

Each provider is the row of its name in hosts.py, at a scripted upstream that answers in the provider's protocol.
"""

import json
from collections.abc import Callable, Iterator
from typing import Any

import httpx2 as httpx
import pytest
from openai import BadRequestError, OpenAI
from process import Process
from scripted import Script, answer, sse, stream
from scripted import Upstream as Scripted

Json = dict[str, Any]
V1 = ("openai", "mistral", "deepseek", "moonshot", "groq", "anthropic")
DOTTED = "github.com/acme/mcp__list"
FIT = "github_com_acme_mcp__list"
LONG = "mcp__" + "x" * 90


def function(name: str, **more: Any) -> Json:
    return {"type": "function", "function": {"name": name, **more}}


def call(name: str, ident: str = "c1") -> Json:
    return {"id": ident, "type": "function", "function": {"name": name, "arguments": "{}"}}


HISTORY: list[Any] = [
    {"role": "user", "content": "hi"},
    {"role": "assistant", "content": None, "tool_calls": [call("files.read")]},
    {"role": "tool", "tool_call_id": "c1", "name": "files.read", "content": "x"},
]


@pytest.fixture(scope="module")
def hosts(upstream: Scripted) -> Iterator[Process]:
    lines = [f'  {name}: {{api_key: k-1234567890, base_url: "{upstream.url}/v1"}}' for name in V1]
    lines.append(f'  gemini: {{api_key: k-1234567890, base_url: "{upstream.url}/v1beta"}}')
    with Process("\n".join(["server:", "  port: 0", "providers:", *lines, ""])) as process:
        yield process


@pytest.fixture(scope="module")
def client(hosts: Process) -> Iterator[OpenAI]:
    with OpenAI(base_url=hosts.url, api_key="-", max_retries=0) as client:
        yield client


def events(*data: Json) -> Script:
    """A stream of named events, as Claude and /v1/responses send it."""
    return stream("".join(f"event: {one['type']}\ndata: {json.dumps(one)}\n\n" for one in data).encode())


def claude(name: str) -> Script:
    usage = {"input_tokens": 1, "output_tokens": 1}
    message = {"id": "m", "type": "message", "role": "assistant", "content": [], "model": "m", "usage": usage}
    block = {"type": "tool_use", "id": "toolu_1", "name": name, "input": {}}
    return events(
        {"type": "message_start", "message": message},
        {"type": "content_block_start", "index": 0, "content_block": block},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "input_json_delta", "partial_json": "{}"}},
        {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", "delta": {"stop_reason": "tool_use"}, "usage": {"output_tokens": 2}},
        {"type": "message_stop"},
    )


def chat(name: str) -> Script:
    calls = [{"index": 0, **call(name, "call_1")}]
    return stream(
        sse(
            {"choices": [{"index": 0, "delta": {"role": "assistant", "tool_calls": calls}, "finish_reason": None}]},
            {"choices": [{"index": 0, "delta": {}, "finish_reason": "tool_calls"}]},
        )
    )


def whole(name: str) -> Script:
    message = {"role": "assistant", "content": None, "tool_calls": [call(name, "call_1")]}
    return answer({"choices": [{"index": 0, "message": message, "finish_reason": "tool_calls"}]})


def responses(name: str) -> Script:
    item = {"type": "function_call", "id": "fc", "call_id": "call_1", "name": name, "arguments": "{}"}
    done = {"status": "completed", "output": [item], "usage": {"input_tokens": 1, "output_tokens": 1}}
    return events(
        {"type": "response.output_item.added", "output_index": 0, "item": item | {"arguments": ""}},
        {"type": "response.output_item.done", "output_index": 0, "item": item},
        {"type": "response.completed", "response": done},
    )


def gemini(name: str) -> Script:
    part = {"functionCall": {"id": "call_1", "name": name, "args": {}}}
    candidate = {"content": {"role": "model", "parts": [part]}, "finishReason": "STOP"}
    return stream(f"data: {json.dumps({'candidates': [candidate]})}\r\n\r\n".encode())


# Host and model → how its streams call a tool, whole answers that it gives itself, what names the upstream is sent.
NAMED: list[tuple[str, str, Callable[[str], Script], bool, list[str]]] = [
    ("anthropic", "claude-haiku-4-5", claude, False, ["files_read", FIT, LONG]),
    ("openai", "gpt-4o", chat, True, ["files_read", FIT, LONG[:64]]),
    ("openai", "gpt-6-astra", responses, False, ["files_read", FIT, LONG[:64]]),
    ("mistral", "mistral-large-4", chat, True, ["files_read", FIT, LONG[:64]]),
    ("moonshot", "kimi-k2-0905-preview", chat, True, ["files_read", FIT, LONG[:64]]),
    ("gemini", "gemini-3.8-flash", gemini, False, ["files.read", "github.com_acme_mcp__list", LONG]),
]


def names_in(body: Json) -> list[str]:
    """The names of the tools a request offers, in whatever protocol."""
    tools = body["tools"][0].get("functionDeclarations") or body["tools"]
    return [tool.get("name") or tool["function"]["name"] for tool in tools]


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize(("host", "model", "script", "has_whole", "sent"), NAMED, ids=[f"{n[0]}-{n[1]}" for n in NAMED])
def test_a_tools_name_goes_in_a_form_that_fits_and_comes_back_as_it_was(
    client: OpenAI,
    upstream: Scripted,
    host: str,
    model: str,
    script: Callable[[str], Script],
    has_whole: bool,
    sent: list[str],
    streamed: bool,
) -> None:
    upstream.script(model, whole(sent[1]) if has_whole and not streamed else script(sent[1]))
    tools: list[Any] = [function(name) for name in ("files.read", DOTTED, LONG)]
    asked: Any = {"model": f"{host}/{model}", "messages": HISTORY, "tools": tools}
    if streamed:
        calls = [
            made
            for chunk in client.chat.completions.create(**asked, stream=True)
            for choice in chunk.choices
            for made in choice.delta.tool_calls or ()
        ]
    else:
        calls = client.chat.completions.create(**asked).choices[0].message.tool_calls or []
    assert [made.function.name for made in calls if made.function.name] == [DOTTED]
    body = upstream.of(model)[-1].json
    assert names_in(body) == sent
    assert "files.read" not in json.dumps(body) or host == "gemini"


def test_every_way_of_choosing_a_tool_names_it_alike(client: OpenAI, upstream: Scripted) -> None:
    tools: list[Any] = [function("files.read"), function(DOTTED)]
    allowed = {"mode": "required", "tools": [function("files.read")]}
    ways: list[tuple[str, str, Script, Any, Any]] = [
        ("anthropic", "claude-haiku-4-5", claude("files_read"), function("files.read"), {"type": "tool", "name": "files_read"}),
        ("openai", "gpt-4o", whole("files_read"), function("files.read"), function("files_read")),
        (
            "openai",
            "gpt-4o",
            whole("files_read"),
            {"type": "allowed_tools", "allowed_tools": allowed},
            {"type": "allowed_tools", "allowed_tools": {"mode": "required", "tools": [function("files_read")]}},
        ),
        ("openai", "gpt-6-astra", responses("files_read"), function("files.read"), {"type": "function", "name": "files_read"}),
    ]  # fmt: skip
    for host, model, script, choice, there in ways:
        upstream.script(model, script)
        asked: Any = {"model": f"{host}/{model}", "messages": HISTORY, "tools": tools, "tool_choice": choice}
        made = client.chat.completions.create(**asked).choices[0].message.tool_calls or []
        assert [one.function.name for one in made if one.type == "function"] == ["files.read"]
        assert upstream.of(model)[-1].json["tool_choice"] == there


def sent(
    hosts: Process, http: httpx.Client, upstream: Scripted, host: str, model: str, body: Json
) -> tuple[Json, httpx.Response]:
    """What the upstream was sent for a whole chat request, and the answer."""
    script = claude("f") if host == "anthropic" else gemini("f") if host == "gemini" else whole("f")
    upstream.script(model, script)
    found = http.post(f"{hosts.url}/chat/completions", json={"model": f"{host}/{model}", **body})
    assert found.status_code == 200, found.text
    return upstream.of(model)[-1].json, found


TURNS: list[Json] = [
    {"role": "system", "content": [{"type": "text", "text": "S"}]},
    {"role": "user", "content": "hi"},
    {"role": "assistant", "content": None, "tool_calls": [call("f")]},
    {"role": "tool", "tool_call_id": "c1", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]},
]


def test_deepseek_and_kimi_get_texts_and_reasoning(hosts: Process, http: httpx.Client, upstream: Scripted) -> None:
    expected = [
        {"role": "system", "content": "S"},
        {"role": "user", "content": "hi"},
        {"role": "assistant", "content": None, "tool_calls": [call("f")], "reasoning_content": " "},
        {"role": "tool", "tool_call_id": "c1", "content": "a\nb"},
    ]
    for host, model in ("deepseek", "deepseek-v4-pro"), ("moonshot", "kimi-k2.6"), ("moonshot", "kimi-k2-thinking"):
        body, _ = sent(hosts, http, upstream, host, model, {"messages": TURNS, "tools": [function("f")]})
        assert body["messages"] == expected
    quiet = {"messages": TURNS, "tools": [function("f")], "reasoning_effort": "none"}
    body, _ = sent(hosts, http, upstream, "moonshot", "kimi-k2.6", quiet)
    assert "reasoning_content" not in body["messages"][2]
    assert body["thinking"] == {"type": "disabled"}


MARK = {"type": "ephemeral"}


def test_no_mark_reaches_a_host_that_refuses_it(hosts: Process, http: httpx.Client, upstream: Scripted) -> None:
    content = [{"type": "text", "text": "hi", "cache_control": MARK}]
    marked = function("f", arguments="{}", cache_control=MARK)
    picture = {"type": "image_url", "image_url": {"url": "https://a.test/a.png", "cache_control": MARK}}
    asked = {
        "cache_control": MARK,
        "messages": [
            {"role": "system", "content": content, "cache_control": MARK},
            {"role": "user", "content": [*content, picture]},
            {"role": "assistant", "content": None, "tool_calls": [marked | {"id": "c1"}]},
            {"role": "tool", "tool_call_id": "c1", "content": content},
        ],
        "tools": [{**function("f", parameters={"type": "object", "properties": {"cache_control": {}}}, cache_control=MARK),
                   "cache_control": MARK}],
    }  # fmt: skip
    for host, model in (
        ("openai", "gpt-4o"),
        ("groq", "x"),
        ("mistral", "mistral-large-4"),
        ("deepseek", "deepseek-v4-pro"),
    ):
        body, found = sent(hosts, http, upstream, host, model, asked)
        assert body["tools"] == [function("f", parameters={"type": "object", "properties": {"cache_control": {}}})]
        assert '"cache_control": {"type"' not in json.dumps(body)
        assert found.headers["x-modelserver-dropped"] == "cache_control"
    upstream.script("gpt-6-astra", responses("f"))
    http.post(
        f"{hosts.url}/chat/completions",
        json={"model": "openai/gpt-6-astra", "messages": HISTORY[:1], "tools": asked["tools"]},
    )
    assert '"cache_control": {"type"' not in json.dumps(upstream.of("gpt-6-astra")[-1].json)


def test_a_null_is_an_absent_key(hosts: Process, http: httpx.Client, upstream: Scripted) -> None:
    """Mistral: 422 "Extra inputs are not permitted"; and it was a 500 of ours."""
    user = {"role": "user", "content": "go", "tool_call_id": None, "tool_calls": None, "name": None}
    tool = function("f", description=None, parameters=None, strict=None)
    asked = {"messages": [*TURNS, user], "tools": [tool], "tool_choice": None, "prompt_cache_key": "k"}
    demanded = {"parameters": {"type": "object", "properties": {}}}
    for host, model, parameters in ("mistral", "mistral-large-4", demanded), ("openai", "gpt-4o", {}):
        body, found = sent(hosts, http, upstream, host, model, asked)
        assert body["messages"][-1] == {"role": "user", "content": "go"}
        assert body["tools"] == [function("f", **parameters)]
        assert body["prompt_cache_key"] == "k"
        assert "x-modelserver-dropped" not in found.headers


def test_a_parameter_does_not_stand_alone(hosts: Process, http: httpx.Client, upstream: Scripted) -> None:
    alone = {"parallel_tool_calls": True, "tool_choice": "auto", "top_logprobs": 0, "messages": HISTORY[:1]}
    for more in ({"tools": []}, {"tools": None}, {}):
        body, _ = sent(hosts, http, upstream, "openai", "gpt-4o", alone | more)
        assert body == {"model": "gpt-4o", "messages": HISTORY[:1]}


UNION = {
    "anyOf": [
        {"type": "object", "properties": {name: {"type": "string"}}, "required": [name]} for name in ("id", "slug")
    ]
}
MERGED = {
    "type": "object",
    "properties": {"id": {"type": "string"}, "slug": {"type": "string"}},
    "description": "Give at least one of these sets of properties: id; slug.",
}


def test_schemas_that_a_host_refuses_are_rewritten(hosts: Process, http: httpx.Client, upstream: Scripted) -> None:
    old = {"$schema": "http://json-schema.org/draft-07/schema#", "type": "object",
           "properties": {"ttl": {"type": "integer", "minimum": 0, "exclusiveMinimum": True}}}  # fmt: skip
    asked = {"messages": HISTORY[:1], "tools": [function("find", parameters=UNION), function("g", parameters=old)]}
    body, _ = sent(hosts, http, upstream, "anthropic", "claude-sonnet-5-5", asked)
    assert body["tools"] == [
        {"name": "find", "input_schema": MERGED},
        {
            "name": "g",
            "input_schema": {"type": "object", "properties": {"ttl": {"type": "integer", "exclusiveMinimum": 0}}},
        },
    ]
    for host, model in ("openai", "gpt-4o"), ("moonshot", "kimi-k2.6"):
        body, _ = sent(hosts, http, upstream, host, model, asked)
        assert body["tools"] == [function("find", parameters=MERGED), function("g", parameters=old)]
    upstream.script("gpt-6-astra", responses("find"))
    http.post(f"{hosts.url}/chat/completions", json={"model": "openai/gpt-6-astra", **asked})
    flat = {"type": "function", "name": "find", "parameters": MERGED, "strict": False}
    assert upstream.of("gpt-6-astra")[-1].json["tools"][0] == flat
    body, _ = sent(hosts, http, upstream, "groq", "x", asked)
    assert body["tools"][0] == function("find", parameters=UNION)


def test_a_map_is_declared_to_gemini(hosts: Process, http: httpx.Client, upstream: Scripted) -> None:
    string = {"type": "string"}
    forms: list[tuple[Json, Json | None]] = [
        ({"type": "object", "additionalProperties": string}, {"type": "object", "additionalProperties": string}),
        ({"type": "object", "additionalProperties": True}, {"type": "object", "additionalProperties": True}),
        ({"additionalProperties": {}}, {"type": "object", "additionalProperties": {}}),
        (
            {"type": "object", "patternProperties": {"^x-": string}, "additionalProperties": False},
            {"type": "object", "additionalProperties": string, "description": "names match: ^x-"},
        ),
        ({"type": "object", "unevaluatedProperties": string}, {"type": "object", "additionalProperties": string}),
        ({"type": "object", "properties": {}}, None),
        ({"type": "object", "additionalProperties": False}, None),
        ({"type": "object", "required": ["a"]}, None),
        ({}, None),
    ]
    tools = [function(f"f{n}", parameters=schema) for n, (schema, _) in enumerate(forms)]
    asked = {"messages": HISTORY[:1], "tools": tools}
    body, _ = sent(hosts, http, upstream, "gemini", "gemini-3.8-flash", asked)
    declared = body["tools"][0]["functionDeclarations"]
    assert [one.get("parametersJsonSchema") for one in declared] == [there for _, there in forms]


def test_an_empty_object_asks_for_a_search(client: OpenAI) -> None:
    with pytest.raises(BadRequestError) as refused:
        client.chat.completions.create(
            model="anthropic/claude-sonnet-5-5", messages=[{"role": "user", "content": "hi"}], web_search_options={}
        )
    assert (refused.value.code, refused.value.param) == ("unsupported_value", "web_search_options")


LONG_ERRORS = [
    ({"code": 400, "message": "request (60179 tokens) exceeds the available context size", "type": "exceed_context_size_error"}),
    ({"message": "Invalid request: Your request exceeded model token limit: 9 (requested: 10)", "type": "invalid_request_error"}),
]  # fmt: skip


@pytest.mark.parametrize("wrong", LONG_ERRORS)
def test_too_long_is_named(hosts: Process, http: httpx.Client, upstream: Scripted, wrong: Json) -> None:
    in_band = stream(b"data: " + json.dumps({"error": wrong}).encode() + b"\n\n")
    for streamed, script in (
        (False, answer({"error": wrong}, 400)),
        (False, answer({"error": wrong})),
        (True, answer({"error": wrong}, 400)),
        (True, in_band),
    ):
        upstream.script("kimi-k2.5", script)
        asked = {"model": "moonshot/kimi-k2.5", "messages": HISTORY[:1], "stream": streamed}
        found = http.post(f"{hosts.url}/chat/completions", json=asked)
        error = found.json()["error"]
        assert (found.status_code, error["code"], error["param"]) == (400, "context_length_exceeded", "messages")


def test_an_id_that_is_too_long_is_replaced_alike(hosts: Process, http: httpx.Client, upstream: Scripted) -> None:
    """OpenAI takes 40 characters, 64 on /v1/responses; vLLM's ids have 46, those of other gateways more."""
    for length in 40, 41, 64, 65:
        ident = "x" * length
        asked = {
            "messages": [
                HISTORY[0],
                {"role": "assistant", "content": None, "tool_calls": [call("f", ident)]},
                {"role": "tool", "tool_call_id": ident, "content": "t"},
            ],
            "tools": [function("f")],
        }
        body, _ = sent(hosts, http, upstream, "openai", "gpt-4o", asked)
        ids = {body["messages"][1]["tool_calls"][0]["id"], body["messages"][2]["tool_call_id"]}
        assert [len(one) for one in ids] == [length if length <= 40 else 37]
        upstream.script("gpt-6-astra", responses("f"))
        http.post(f"{hosts.url}/chat/completions", json={"model": "openai/gpt-6-astra", **asked})
        items = upstream.of("gpt-6-astra")[-1].json["input"]
        assert [len(one) for one in {items[1]["call_id"], items[2]["call_id"]}] == [length if length <= 64 else 37]
        body, _ = sent(hosts, http, upstream, "groq", "x", asked)
        assert body["messages"][2]["tool_call_id"] == ident


def test_a_list_of_no_calls_is_no_list(hosts: Process, http: httpx.Client, upstream: Scripted) -> None:
    turns = [HISTORY[0], {"role": "assistant", "content": "a", "tool_calls": []}, HISTORY[0]]
    body, _ = sent(hosts, http, upstream, "openai", "gpt-4o", {"messages": turns})
    assert body["messages"] == [HISTORY[0], {"role": "assistant", "content": "a"}, HISTORY[0]]


def test_a_conversation_with_holes_is_answered_by_all(client: OpenAI, upstream: Scripted) -> None:
    """Refusals, empty turns, calls without type or arguments, PHP's empty objects, a schema without a name."""
    history: list[Any] = [
        {"role": "user", "content": "hi"},
        {"role": "assistant", "content": [{"type": "refusal", "refusal": "No."}]},
        {"role": "user", "content": "please"},
        {"role": "assistant", "content": None},
        {"role": "assistant", "content": None, "tool_calls": [{"id": "abcdefgh1", "function": {"name": "f"}}]},
        {"role": "tool", "tool_call_id": "abcdefgh1", "content": "x"},
    ]
    tool: Any = function("f", parameters={"type": "object", "properties": []})
    form: Any = {
        "type": "json_schema",
        "json_schema": {"schema": {"type": "object", "properties": {"a": {"type": "array"}}}},
    }
    asked: Json = {"messages": history, "tools": [tool], "response_format": form, "stop": []}
    mended = [
        history[0],
        {"role": "assistant", "content": "No."},
        history[2],
        {"role": "assistant", "content": None, "tool_calls": [call("f", "abcdefgh1")]},
        history[5],
    ]
    array = {"type": "object", "properties": {"a": {"type": "array", "items": {}}}}
    tidy = function("f", parameters={"type": "object", "properties": {}})
    for model in "groq/x", "mistral/mistral-large-4":
        name = model.partition("/")[2]
        upstream.script(name, whole("f"))
        client.chat.completions.create(model=model, **asked)
        body = upstream.of(name)[-1].json
        assert (body["messages"], body["tools"]) == (mended, [tidy])
        assert body["response_format"] == {"type": "json_schema", "json_schema": {"name": "answer", "schema": array}}
        assert "stop" not in body
    for model, script in ("anthropic/claude-haiku-4-5", claude("f")), ("gemini/gemini-3.8-flash", gemini("f")):
        name = model.partition("/")[2]
        upstream.script(name, script)
        client.chat.completions.create(model=model, **asked)
        assert "No." in json.dumps(upstream.of(name)[-1].json)


def test_a_tool_without_parameters_is_an_object_without_properties(
    hosts: Process, http: httpx.Client, upstream: Scripted
) -> None:
    """OpenAI: 400 "object schema missing properties"; DeepSeek: 400 "schema must be … 'type: "object"', got 'type: null'"."""
    empty = {"type": "object", "properties": {}}
    forms: list[Json] = [{}, {"type": "object"}, {"type": None}, {"properties": {}, "required": None}]
    asked = {"messages": HISTORY[:1], "tools": [function(f"f{n}", parameters=form) for n, form in enumerate(forms)]}
    for host, model in ("openai", "gpt-4o"), ("deepseek", "deepseek-v4-pro"), ("moonshot", "kimi-k2.6"):
        body, _ = sent(hosts, http, upstream, host, model, asked)
        assert [tool["function"]["parameters"] for tool in body["tools"]] == [empty] * 4
    body, _ = sent(hosts, http, upstream, "anthropic", "claude-haiku-4-5", asked)
    assert [tool["input_schema"] for tool in body["tools"]] == [empty] * 4
    upstream.script("gpt-6-astra", responses("f0"))
    http.post(f"{hosts.url}/chat/completions", json={"model": "openai/gpt-6-astra", **asked})
    assert [tool["parameters"] for tool in upstream.of("gpt-6-astra")[-1].json["tools"]] == [empty] * 4
