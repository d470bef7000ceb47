"""The bridge to upstreams that have only /v1/responses, and the dialect of clients that speak it, check each other.

What one makes of a chat request or of a chat answer, the other makes a chat request, or answer, of again: the same, but for
what is listed here.
"""

from typing import Any, Final

import pytest
import replay
from responses_in import request, stream
from translators import ON_RESPONSES, made_call

from dialects.chat.request import checked
from dialects.responses.request import parse
from dialects.responses.response_object import usage_of
from providers import Upstream, codec, openai
from providers.chunks import after_opening, chunk, collect, tool_call, usage_chunk
from providers.common.finish_reasons import reason_of
from providers.common.usage import usage
from providers.hosts import HOSTS
from providers.openai.responses.pairs import BY_ITEM, BY_KIND, CALLS, INCOMPLETE, flat, nested
from providers.openai.responses.request import build_request

Json = dict[str, Any]
TO: Final = Upstream("up", "m", "https://api.test", host=HOSTS["openai"])
USER: Final = {"role": "user", "content": "Hi"}
FUNCTION: Final = {
    "type": "function",
    "function": {
        "name": "f",
        "description": "Does.",
        "parameters": {"type": "object", "properties": {}},
        "strict": False,
    },
}
EMPTY: Final[Json] = {"type": "object", "properties": {}}
CALL: Final = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": '{"a": 1}'}}
OTHER: Final = {"id": "c2", "type": "function", "function": {"name": "f", "arguments": "{}"}}
SCHEMA: Final = {
    "name": "n",
    "schema": {"type": "object", "properties": {}, "additionalProperties": False},
    "strict": True,
}


def there_and_back(body: Json) -> Json:
    """A chat request as the bridge sends it, read as a client's."""
    given = checked({"model": "m", "messages": [USER], **body}, 100).body
    sent = build_request(given, TO).body
    back = parse(codec.encode(sent)).body
    assert back.pop("stream") is True  # an upstream is always asked for a stream
    assert back.pop("model") == "m"
    return {name: back[name] for name in body if name in back}


@pytest.mark.parametrize(
    "body",
    [
        {"messages": [{"role": "system", "content": "S"}, USER, {"role": "assistant", "content": "A"}, USER]},
        {"messages": [{"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]}]},
        {"messages": [{"role": "user", "content": [
            {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA", "detail": "low"}},
            {"type": "file", "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,AAAA"}},
        ]}]},
        {"messages": [USER, {"role": "assistant", "content": [
            {"type": "text", "text": "a"}, {"type": "refusal", "refusal": "b"},
        ]}]},
        {"messages": [
            USER,
            {"role": "assistant", "content": "A", "tool_calls": [CALL, OTHER]},
            {"role": "tool", "tool_call_id": "c1", "content": "1"},
            {"role": "tool", "tool_call_id": "c2", "content": "2"},
            USER,
        ]},
        {"messages": [
            USER,
            {"role": "assistant", "content": None, "tool_calls": [CALL]},
            {"role": "tool", "tool_call_id": "c1", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]},
        ]},
        {"max_completion_tokens": 100, "verbosity": "low", "temperature": 0.5, "top_p": 0.5, "user": "u"},
        {"reasoning_effort": "high", "service_tier": "flex", "safety_identifier": "s", "prompt_cache_key": "k"},
        {"response_format": {"type": "json_object"}},
        {"response_format": {"type": "json_schema", "json_schema": SCHEMA}},
        {"response_format": {"type": "json_schema", "json_schema": {**SCHEMA, "description": "D"}}, "verbosity": "high"},
        {"tools": [FUNCTION], "tool_choice": "required", "parallel_tool_calls": False},
        {"tools": [FUNCTION], "tool_choice": {"type": "function", "function": {"name": "f"}}},
        {"tools": [FUNCTION], "tool_choice": {"type": "allowed_tools", "allowed_tools": {
            "mode": "auto", "tools": [{"type": "function", "function": {"name": "f"}}],
        }}},
    ],
    ids=["roles", "texts", "media", "refusal", "calls", "result of parts", "limits", "reasoning", "json", "schema",
         "schema and verbosity", "tools", "choice", "allowed tools"],
)  # fmt: skip
def test_requests(body: Json) -> None:
    assert there_and_back(body) == body


@pytest.mark.parametrize(
    ("body", "back"),
    [
        ({"max_tokens": 5}, {}),  # OpenAI answers no less than 16, and knows the limit by its new name
        ({"response_format": {"type": "text"}}, {}),  # it says nothing
        (
            {"messages": [{"role": "developer", "content": "D"}, USER]},
            {"messages": [{"role": "system", "content": "D"}, USER]},
        ),
        (
            {"tools": [{"type": "function", "function": {"name": "f"}}]},
            {"tools": [nested({"type": "function", "name": "f", "parameters": EMPTY, "strict": False})]},
        ),
    ],
    ids=["max_tokens", "text", "developer", "bare function"],
)  # fmt: skip
def test_what_is_lost_of_requests(body: Json, back: Json) -> None:
    assert there_and_back(body) == back


def test_custom_tools_come_back_as_functions() -> None:
    """As all upstreams but OpenAI's know them; the bridge itself keeps them."""
    custom = {
        "type": "custom",
        "custom": {"name": "c", "format": {"type": "grammar", "grammar": {"syntax": "lark", "definition": "x"}}},
    }
    said = {"id": "c1", "type": "custom", "custom": {"name": "c", "input": "text"}}
    messages = [
        USER,
        {"role": "assistant", "content": None, "tool_calls": [said]},
        {"role": "tool", "tool_call_id": "c1", "content": "1"},
    ]
    sent = build_request({"model": "m", "messages": messages, "tools": [custom]}, TO).body
    assert sent["tools"] == [
        {"type": "custom", "name": "c", "format": {"type": "grammar", "syntax": "lark", "definition": "x"}}
    ]
    assert [item["type"] for item in sent["input"][1:]] == ["custom_tool_call", "custom_tool_call_output"]
    back = parse(codec.encode(sent)).body
    assert back["tools"][0]["function"]["parameters"]["required"] == ["input"]
    (call,) = back["messages"][1]["tool_calls"]
    assert call == {"id": "c1", "type": "function", "function": {"name": "c", "arguments": '{"input":"text"}'}}


def piece(index: int, **function: Any) -> Json:
    return chunk(tool_call(index, function))


def opened(index: int, ident: str, name: str) -> Json:
    return chunk(tool_call(index, {"name": name, "arguments": ""}, id=ident, type="function"))


CITED: Final = {
    "type": "url_citation",
    "url_citation": {"start_index": 0, "end_index": 1, "url": "https://a.test", "title": "A"},
}
USED: Final = usage(9, 5, cached=4, written=2, reasoning=3)


@pytest.mark.parametrize(
    "chunks",
    [
        [chunk({"content": "Hel"}), chunk({"content": "lo"}), chunk({}, "stop"), usage_chunk(USED)],
        [chunk({"content": "Hel"}), chunk({}, "length"), usage_chunk(USED)],
        [chunk({"content": "Hel"}), chunk({}, "content_filter")],
        [chunk({"refusal": "No"}), chunk({"refusal": "."}), chunk({}, "stop")],
        [chunk({"reasoning_content": "Th"}), chunk({"reasoning_content": "ink"}), chunk({"content": "x"}), chunk({}, "stop")],
        [chunk({"content": "a"}), chunk({"annotations": [CITED]}), chunk({}, "stop")],
        [opened(0, "c1", "f"), piece(0, arguments='{"a":'), piece(0, arguments="1}"), opened(1, "c2", "g"),
         piece(1, arguments="{}"), chunk({}, "tool_calls"), usage_chunk(USED)],
        [chunk({"content": "First."}), opened(0, "c1", "f"), piece(0, arguments="{}"), chunk({}, "tool_calls")],
    ],
    ids=["text", "cut", "filtered", "refusal", "reasoning", "citation", "calls", "text and call"],
)  # fmt: skip
def test_answers(chunks: list[Json]) -> None:
    wanted = collect(after_opening(chunks))
    data = stream(chunks, request(summary=True))
    back = collect(replay.chunks(openai, data, call=made_call(state=ON_RESPONSES), to=TO))
    for answer in wanted, back:
        answer["choices"][0]["message"].pop("reasoning_items", None)  # which carries the reasoning to the next turn
        answer["choices"][0]["message"].pop("output_order", None)
        answer.pop("service_tier", None)
    assert back == wanted


def test_the_pairs_themselves() -> None:
    assert {BY_ITEM[form.item] for form in CALLS} == {BY_KIND[form.kind] for form in CALLS} == set(CALLS)
    assert {finish: reason_of(reason) for finish, reason in INCOMPLETE.items()} == {each: each for each in INCOMPLETE}
    for one in FUNCTION, CITED, {"type": "json_schema", "json_schema": SCHEMA}:
        assert nested(flat(one)) == one
    assert usage_of(USED) == {
        "input_tokens": 9,
        "input_tokens_details": {"cached_tokens": 4, "cache_write_tokens": 2},
        "output_tokens": 5,
        "output_tokens_details": {"reasoning_tokens": 3},
        "total_tokens": 14,
    }
    bare = usage_of({"prompt_tokens": 9, "completion_tokens": 5, "prompt_tokens_details": None, "cost": 1})
    assert bare["input_tokens_details"] == {"cached_tokens": 0, "cache_write_tokens": 0}
