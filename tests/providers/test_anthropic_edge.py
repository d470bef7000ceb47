"""Claude's answer → chat completion chunks: the acceptance cases 42 to 57, each with everything the client gets."""

import json
from typing import Any

import claude_facts as facts
import oracles
import pytest
import replay
from cuts import CUTS
from translators import made_call, translator_of

from providers import Upstream, anthropic
from providers.anthropic.message_state import Way
from providers.chunks import collect
from providers.errors import (
    BadRequest,
    Conflict,
    ContextLengthExceeded,
    Failure,
    ModelNotFound,
    Overloaded,
    PermissionDenied,
    QuotaExhausted,
    RateLimitExceeded,
    RequestTooLarge,
    UpstreamAuthError,
    UpstreamBadOutput,
    UpstreamError,
    UpstreamTimeout,
    UpstreamTruncated,
)
from providers.sse import Event

Json = dict[str, Any]
TO = Upstream("anthropic", "claude", "https://api.test", "key", facts=facts.HAIKU_4_5)
CALL = made_call({}, True, Way())


def piece(delta: Json, finish: str | None = None) -> Json:
    return {"choices": [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}]}


def fragment(index: int, arguments: str) -> Json:
    return piece({"tool_calls": [{"index": index, "function": {"arguments": arguments}}]})


def opening(index: int, id: str, name: str) -> Json:
    call = {"index": index, "id": id, "type": "function", "function": {"name": name, "arguments": ""}}
    return piece({"tool_calls": [call]})


def usage(prompt: int, completion: int, cached: int = 0, written: int = 0, reasoning: int = 0) -> Json:
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
        "prompt_tokens_details": {"cached_tokens": cached, "cache_write_tokens": written},
        "completion_tokens_details": {"reasoning_tokens": reasoning},
    }


def tally(*args: int, **more: int) -> Json:
    return {"choices": [], "usage": usage(*args, **more)}


def sse(*events: Json) -> bytes:
    return "".join(f"event: {e['type']}\ndata: {json.dumps(e, ensure_ascii=False)}\n\n" for e in events).encode()


def start(**counted: int) -> Json:
    return {"type": "message_start", "message": {"role": "assistant", "content": [], "usage": counted}}


def opened(index: int, **block: Any) -> Json:
    return {"type": "content_block_start", "index": index, "content_block": block}


def grown(index: int, **delta: Any) -> Json:
    return {"type": "content_block_delta", "index": index, "delta": delta}


def closed(index: int) -> Json:
    return {"type": "content_block_stop", "index": index}


def ended(reason: str | None, details: Json | None = None, **counted: Any) -> Json:
    return {"type": "message_delta", "delta": {"stop_reason": reason, "stop_details": details}, "usage": counted}


STOP: Json = {"type": "message_stop"}
ROLE = piece({"role": "assistant", "content": ""})
NO_TEXT = piece({"role": "assistant", "content": None})  # opens an answer that begins with something else
THOUGHTS = [
    {"type": "thinking", "thinking": "想一想\u2028", "signature": "c2lnMQ=="},
    {"type": "redacted_thinking", "data": "cmVkYWN0ZWQ="},
    {"type": "thinking", "thinking": "", "signature": "c2lnMg=="},
]

ORDER = [
    *[{"type": "thinking"}] * 3,
    {"type": "text", "start": 0, "end": 1},
    {"type": "call", "id": "toolu_a"},
]


def answer(content: list[Json], reason: str | None, details: Json | None = None, **counted: Any) -> bytes:
    """A whole message as the stream of it."""
    events = [start(input_tokens=1)]
    for n, block in enumerate(content):
        if block["type"] == "text":
            events += [opened(n, type="text", text=""), grown(n, type="text_delta", text=block["text"]), closed(n)]
        elif block["type"] == "thinking":
            events += [opened(n, type="thinking", thinking="", signature="")]
            events += [grown(n, type="thinking_delta", thinking=block["thinking"]), closed(n)]
        else:
            given = grown(n, type="input_json_delta", partial_json=json.dumps(block["input"]).replace(" ", ""))
            events += [opened(n, **{**block, "input": {}}), given, closed(n)]
    return sse(*events, ended(reason, details, **{"output_tokens": 1, **counted}), STOP)


STREAMS: dict[str, list[Json]] = {
    # 47: ping and blanks make no chunk; the empty delta neither
    "claude_text": [
        ROLE,
        piece({"content": "你好，\u2028"}),
        piece({"content": "世界 🌏"}),
        piece({}, "stop"),
        tally(20, 5),
    ],
    # 50: blocks 1, 3 and 4 are calls 0, 1 and 2; 49: a call without arguments has the arguments {}
    "claude_tools": [
        ROLE,
        piece({"content": "查"}),
        piece({"content": "一查"}),
        opening(0, "toolu_a", "weather"),
        fragment(0, '{"城市": "北'),
        fragment(0, '京\u2028\\n\\"x\\""}'),
        opening(1, "toolu_b", "now"),
        fragment(1, "{}"),
        opening(2, "toolu_c", "given"),
        fragment(2, '{"a":"甲"}'),
        piece({}, "tool_calls"),
        tally(100, 40, cached=75, written=5),
    ],
    # 51: redacted and empty thinking shows nothing, and none of it is lost
    "claude_thinking": [
        NO_TEXT,
        piece({"reasoning_content": "想一"}),
        piece({"reasoning_content": "想\u2028"}),
        piece({"content": "好"}),
        opening(0, "toolu_a", "weather"),
        fragment(0, "{}"),
        piece({"thinking_blocks": THOUGHTS, "output_order": ORDER}),
        piece({}, "tool_calls"),
        tally(20, 50, reasoning=30),
    ],
    # 48: server tools pass by; 55: so do unknown events, blocks and deltas
    "claude_search": [
        ROLE,
        piece({"content": "先查。"}),
        piece({"content": "\n\n十四万"}),
        opening(0, "toolu_a", "get_exchange_rate"),
        fragment(0, '{"from_currency": "USD", '),
        fragment(0, '"to_currency": "EUR"}'),
        piece(
            {
                "annotations": [
                    {
                        "type": "url_citation",
                        "url_citation": {"start_index": 5, "end_index": 8, "url": "https://a.test", "title": "甲"},
                    }
                ]
            },
            "tool_calls",
        ),
        tally(20, 60),
    ],
}


@pytest.mark.parametrize("size", CUTS)
@pytest.mark.parametrize("name", STREAMS)
@pytest.mark.case(chat=47)
@pytest.mark.case(chat=48)
@pytest.mark.case(chat=49)
@pytest.mark.case(chat=50)
@pytest.mark.case(chat=51)
@pytest.mark.case(chat=55)
def test_streams(name: str, size: int | None) -> None:
    raw = (replay.STREAMS / f"{name}.sse").read_bytes()
    chunks = list(replay.chunks(anthropic, raw, size, call=CALL, to=TO))
    assert chunks == STREAMS[name]
    oracles.check_chunks(chunks)


@pytest.mark.parametrize("name", STREAMS)
@pytest.mark.parametrize("eol", [b"\n", b"\r\n", b"\r"])
def test_streams_are_what_the_sdk_makes_of_them(name: str, eol: bytes) -> None:
    raw = (replay.STREAMS / f"{name}.sse").read_bytes()
    chunks = list(replay.chunks(anthropic, raw.replace(b"\n", eol), 5, call=CALL, to=TO))
    assert oracles.completion(collect(chunks)) == oracles.claude(raw)


def test_a_very_long_line() -> None:
    long = "长\u2028" * 300_000
    raw = answer([{"type": "text", "text": long}], "end_turn")
    chunks = replay.chunks(anthropic, raw, 65_536, call=CALL, to=TO)
    assert [chunk["choices"][0]["delta"] for chunk in list(chunks)[1:-2]] == [{"content": long}]


def test_reasoning_not_shown_is_still_kept() -> None:
    raw = (replay.STREAMS / "claude_thinking.sse").read_bytes()
    hidden = Upstream("anthropic", "claude", reasoning=False)
    chunks = list(replay.chunks(anthropic, raw, call=CALL, to=hidden))
    assert chunks == [ROLE, *(c for c in STREAMS["claude_thinking"][1:] if "reasoning_content" not in str(c))]


TEXT: Json = {"type": "text", "text": "A"}
USE: Json = {"type": "tool_use", "id": "toolu_1", "name": "f", "input": {"x": 1}}
CALLED: Json = {"id": "toolu_1", "type": "function", "function": {"name": "f", "arguments": '{"x":1}'}}
CONTENTS: list[tuple[str, bytes, Json, str, Json]] = [
    (
        "42 text and call",
        answer([TEXT, USE], "tool_use"),
        {"content": "A", "refusal": None, "tool_calls": [CALLED]},
        "tool_calls",
        usage(1, 1),
    ),
    (
        "43 only a call",
        answer([USE], "tool_use"),
        {"content": None, "refusal": None, "tool_calls": [CALLED]},
        "tool_calls",
        usage(1, 1),
    ),
    (
        "43 thinking and text",
        answer([{"type": "thinking", "thinking": "想"}, TEXT], "end_turn"),
        {
            "content": "A",
            "refusal": None,
            "reasoning_content": "想",
            "thinking_blocks": [{"type": "thinking", "thinking": "想", "signature": ""}],
        },
        "stop",
        usage(1, 1),
    ),
    (
        "44 usage",
        answer(
            [TEXT],
            "end_turn",
            input_tokens=10,
            cache_creation_input_tokens=5,
            cache_read_input_tokens=85,
            output_tokens=7,
            output_tokens_details={"thinking_tokens": 4},
        ),
        {"content": "A", "refusal": None},
        "stop",
        usage(100, 7, cached=85, written=5, reasoning=4),
    ),
    (
        "44 usage after a compaction",
        answer(
            [TEXT],
            "end_turn",
            input_tokens=3,
            output_tokens=4,
            iterations=[
                {"type": "compaction", "input_tokens": 60, "output_tokens": 5, "cache_read_input_tokens": 2},
                {"type": "advisor_message", "input_tokens": 1000, "output_tokens": 1000},
                {"type": "message", "input_tokens": 3, "output_tokens": 4},
            ],
        ),
        {"content": "A", "refusal": None},
        "stop",
        usage(65, 9, cached=2),
    ),
    (
        "44 usage after a fallback",
        answer(
            [TEXT],
            "end_turn",
            input_tokens=3,
            output_tokens=4,
            iterations=[{"type": "message", "input_tokens": 9}, {"type": "fallback_message", "input_tokens": 3}],
        ),
        {"content": "A", "refusal": None},
        "stop",
        usage(3, 4),
    ),
    (
        "45 refusal",
        answer([], "refusal", {"type": "refusal", "explanation": "no"}),
        {"content": None, "refusal": "no"},
        "content_filter",
        usage(1, 1),
    ),
    (
        "45 refusal without a word, after text",
        answer([TEXT], "refusal"),
        {"content": "A", "refusal": "The model declined to answer."},
        "content_filter",
        usage(1, 1),
    ),
    (
        "46 window full",
        answer([TEXT], "model_context_window_exceeded"),
        {"content": "A", "refusal": None},
        "length",
        usage(1, 1),
    ),
    ("46 unknown, text", answer([TEXT], "foo"), {"content": "A", "refusal": None}, "stop", usage(1, 1)),
    (
        "46 unknown, call",
        answer([USE], "foo"),
        {"content": None, "refusal": None, "tool_calls": [CALLED]},
        "tool_calls",
        usage(1, 1),
    ),
    ("46 none", answer([], None), {"content": "", "refusal": None}, "stop", usage(1, 1)),
    ("46 pause", answer([TEXT], "pause_turn"), {"content": "A", "refusal": None}, "stop", usage(1, 1)),
    ("46 stop sequence", answer([TEXT], "stop_sequence"), {"content": "A", "refusal": None}, "stop", usage(1, 1)),
    (
        "46 a call cut short is kept",
        sse(
            start(input_tokens=1),
            opened(0, type="tool_use", id="toolu_1", name="f", input={}),
            grown(0, type="input_json_delta", partial_json='{"x":'),
            ended("max_tokens", output_tokens=1),
            STOP,
        ),
        {
            "content": None,
            "refusal": None,
            "tool_calls": [{"id": "toolu_1", "type": "function", "function": {"name": "f", "arguments": '{"x":'}}],
        },
        "length",
        usage(1, 1),
    ),
    (
        "49 a block that is never closed",
        sse(
            start(input_tokens=1),
            opened(0, type="tool_use", id="toolu_1", name="f", input={}),
            ended("tool_use", output_tokens=1),
            STOP,
        ),
        {
            "content": None,
            "refusal": None,
            "tool_calls": [{"id": "toolu_1", "type": "function", "function": {"name": "f", "arguments": "{}"}}],
        },
        "tool_calls",
        usage(1, 1),
    ),
]


@pytest.mark.parametrize(
    ("raw", "message", "finish", "counted"), [pytest.param(*row[1:], id=row[0]) for row in CONTENTS]
)
def test_whole_answers(raw: bytes, message: Json, finish: str, counted: Json) -> None:
    assert collect(replay.chunks(anthropic, raw, 7, call=CALL, to=TO)) == {
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", **message},
                "logprobs": None,
                "finish_reason": finish,
            }
        ],
        "usage": counted,
    }


def test_custom_tools_get_their_text_back() -> None:
    custom = made_call({}, True, Way(custom=frozenset({"sh"})))
    raw = sse(
        start(input_tokens=1),
        opened(0, type="tool_use", id="toolu_1", name="sh", input={}),
        grown(0, type="input_json_delta", partial_json='{"input": "echo \\"你'),
        grown(0, type="input_json_delta", partial_json='好\\"\\n"}'),
        closed(0),
        ended("tool_use", output_tokens=2),
        STOP,
    )
    chunks = list(replay.chunks(anthropic, raw, 3, call=custom, to=TO))
    first = {"index": 0, "id": "toolu_1", "type": "custom", "custom": {"name": "sh", "input": ""}}
    assert chunks == [
        NO_TEXT,
        piece({"tool_calls": [first]}),
        piece({"tool_calls": [{"index": 0, "custom": {"input": 'echo "你好"\n'}}]}),
        piece({}, "tool_calls"),
        tally(1, 2),
    ]
    assert collect(chunks)["choices"][0]["message"]["tool_calls"] == [
        {"id": "toolu_1", "type": "custom", "custom": {"name": "sh", "input": 'echo "你好"\n'}}
    ]


JSON_WAY = made_call({}, True, Way(json_tool="json_response"))


@pytest.mark.parametrize(
    ("blocks", "message", "finish"),
    [
        ([{**USE, "name": "json_response"}], {"content": '{"x":1}'}, "stop"),
        ([TEXT, {**USE, "name": "json_response"}, {**USE, "name": "json_response"}], {"content": '{"x":1}'}, "stop"),
        ([TEXT, TEXT], {"content": "AA"}, "tool_use"),
        ([TEXT, USE], {"content": "A", "tool_calls": [CALLED]}, "tool_calls"),
        (
            [{**USE, "name": "json_response"}, USE],
            {"content": '{"x":1}', "tool_calls": [CALLED]},
            "tool_calls",
        ),
    ],
    ids=["the answer", "a preamble and a second answer", "text after all", "another tool", "both"],
)
@pytest.mark.case(chat=36)
def test_the_tool_that_is_the_answer(blocks: list[Json], message: Json, finish: str) -> None:
    reason = "end_turn" if finish == "tool_use" else "tool_use"
    whole = collect(replay.chunks(anthropic, answer(blocks, reason), 9, call=JSON_WAY, to=TO))
    assert whole["choices"][0]["message"] == {"role": "assistant", "refusal": None, **message}
    assert whole["choices"][0]["finish_reason"] == ("stop" if finish == "tool_use" else finish)


TWO_PIECES = [start(input_tokens=20, output_tokens=1), opened(0, type="text", text="")]
TWO_PIECES += [grown(0, type="text_delta", text="你"), grown(0, type="text_delta", text="好")]
OVERLOADED: Json = {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}


def failing(raw: bytes, size: int | None) -> tuple[list[Json], Failure]:
    """The chunks before a failure, and the failure."""
    chunks: list[Json] = []
    with pytest.raises(Failure) as failed:
        chunks.extend(replay.chunks(anthropic, raw, size, call=CALL, to=TO))
    return chunks, failed.value


@pytest.mark.parametrize("size", CUTS)
@pytest.mark.case(chat=52)
def test_an_error_as_the_first_event(size: int | None) -> None:
    chunks, failure = failing(sse(OVERLOADED), size)
    assert chunks == []
    assert (type(failure), failure.status, failure.usage) == (Overloaded, 503, None)
    assert failure.body() == {
        "error": {"message": "Overloaded", "type": "server_error", "param": None, "code": "overloaded"}
    }


@pytest.mark.parametrize("size", CUTS)
@pytest.mark.case(chat=52)
def test_an_error_after_text(size: int | None) -> None:
    chunks, failure = failing(sse(*TWO_PIECES, OVERLOADED, ended("end_turn"), STOP), size)
    assert chunks == [ROLE, piece({"content": "你"}), piece({"content": "好"})]
    assert failure.body()["error"]["code"] == "overloaded"
    assert failure.usage == usage(20, 1)


@pytest.mark.parametrize("size", CUTS)
@pytest.mark.parametrize(
    "more",
    [
        [],
        [closed(0)],
        [closed(0), ended(None, output_tokens=9)],
        [closed(0), ended("end_turn", output_tokens=9), opened(1, type="text")],
    ],
    ids=["in a text", "after a text", "no reason was told", "another block began"],
)
@pytest.mark.case(chat=53)
def test_a_stream_cut_short(more: list[Json], size: int | None) -> None:
    chunks, failure = failing(sse(*TWO_PIECES, *more), size)
    assert chunks == [ROLE, piece({"content": "你"}), piece({"content": "好"})]
    assert (type(failure), failure.status, failure.should_retry) == (UpstreamTruncated, 502, False)
    assert failure.body() == {
        "error": {
            "message": "The upstream closed the stream before completion.",
            "type": "server_error",
            "param": None,
            "code": "upstream_truncated",
        }
    }
    assert failure.usage == usage(20, 9 if len(more) > 1 else 1)


@pytest.mark.parametrize("size", CUTS)
@pytest.mark.case(chat=54)
def test_a_stream_that_ends_after_its_stop_reason(size: int | None) -> None:
    raw = sse(*TWO_PIECES, closed(0), ended("end_turn", output_tokens=9))
    assert list(replay.chunks(anthropic, raw, size, call=CALL, to=TO)) == [
        ROLE, piece({"content": "你"}), piece({"content": "好"}), piece({}, "stop"), tally(20, 9)
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("invalid_request_error", BadRequest),
        ("authentication_error", UpstreamAuthError),
        ("billing_error", QuotaExhausted),
        ("permission_error", PermissionDenied),
        ("not_found_error", ModelNotFound),
        ("conflict_error", Conflict),
        ("request_too_large", RequestTooLarge),
        ("rate_limit_error", RateLimitExceeded),
        ("api_error", UpstreamError),
        ("timeout_error", UpstreamTimeout),
        ("overloaded_error", Overloaded),
        ("new_error", UpstreamError),
    ],
)
@pytest.mark.case(chat=52)
def test_error_types_in_a_stream(kind: str, expected: type[Failure]) -> None:
    _, failure = failing(sse({"type": "error", "error": {"type": kind, "message": "because"}}), 0)
    assert type(failure) is expected


@pytest.mark.parametrize(
    "data", [b'"text"', b'{"message": "x"}', b"[1]", b"null"], ids=["string", "no type", "list", "null"]
)
@pytest.mark.case(chat=52)
def test_errors_of_other_shapes(data: bytes) -> None:
    _, failure = failing(sse(*TWO_PIECES) + b"event: error\ndata: " + data + b"\n\n", 0)
    assert type(failure) is UpstreamError


@pytest.mark.parametrize(
    "raw",
    [
        sse(STOP),
        sse(start(), {"type": "content_block_delta", "index": 0}),
        sse(start(), {"type": "message_delta"}),
        sse(*TWO_PIECES, start()),
        sse(*TWO_PIECES, grown(1, type="input_json_delta", partial_json="{}"), ended("end_turn"), STOP),
        sse(start(), opened(0, type="tool_use", id="toolu_1", name=None, input={}), closed(0), ended("tool_use"), STOP),
        sse(start(), opened(0, type="tool_use", id="toolu_1", name="", input={}), closed(0), ended("tool_use"), STOP),
        sse(start(), opened(0, type="tool_use", id="toolu_1", input={}), closed(0), ended("end_turn"), STOP),
        sse(*TWO_PIECES, closed(0), ended("tool_use"), STOP),
    ],
    ids=[
        *("never begun", "no delta", "no delta in message_delta", "begun twice", "arguments of no block"),
        *("a call with name null", "a call with an empty name", "a call without name", "a stop for calls without one"),
    ],
)
def test_events_out_of_protocol(raw: bytes) -> None:
    _, failure = failing(raw, 0)
    assert type(failure) is UpstreamBadOutput


@pytest.mark.parametrize("given", [{}, {"id": None}, {"id": ""}], ids=["no id", "null", "empty"])
def test_a_call_without_an_id_gets_one(given: Json) -> None:
    block = opened(0, type="tool_use", name="f", input={"a": 1}, **given)
    raw = sse(start(input_tokens=1), block, closed(0), ended("tool_use", output_tokens=1), STOP)
    first, call, *rest = replay.chunks(anthropic, raw, call=CALL, to=TO)
    id = call["choices"][0]["delta"]["tool_calls"][0]["id"]
    assert len(id) == 29
    assert id.startswith("call_")
    assert [first, call, *rest] == [
        piece({"role": "assistant", "content": None}),
        opening(0, id, "f"),
        fragment(0, '{"a":1}'),
        piece({}, "tool_calls"),
        tally(1, 1),
    ]


def test_events_that_are_no_objects_and_deltas_of_unknown_blocks_pass_by() -> None:
    odd = sse(start(input_tokens=1)) + b"data: [DONE]\n\ndata: 7\n\n"
    odd += sse(grown(7, type="thinking_delta", thinking="x"))
    odd += sse(start(input_tokens=1), closed(7), ended("end_turn", output_tokens=1), STOP)
    assert list(replay.chunks(anthropic, odd, call=CALL, to=TO)) == [ROLE, piece({}, "stop"), tally(1, 1)]


def error(kind: str, message: str, **more: Any) -> bytes:
    return json.dumps(
        {"type": "error", "error": {"type": kind, "message": message, **more}, "request_id": "r"}
    ).encode()


HTTP: list[tuple[str, int, bytes, type[Failure], Json]] = [
    ("56 529", 529, error("overloaded_error", "Overloaded"), Overloaded, {"message": "Overloaded"}),
    (
        "56 413",
        413,
        error("request_too_large", "Request exceeds the maximum size"),
        RequestTooLarge,
        {"message": "Request exceeds the maximum size"},
    ),
    (
        "56 401",
        401,
        error("authentication_error", "invalid x-api-key"),
        UpstreamAuthError,
        {"message": "The upstream refused this server's credentials. Tell the operator of this server."},
    ),
    (
        "56 429 keeps the account's numbers and names to itself",
        429,
        error("rate_limit_error", "… your organization's rate limit of 450,000 tokens (org: 0000, model: claude-x)"),
        RateLimitExceeded,
        {"message": "The upstream's rate limit is reached. Try again later."},
    ),
    (
        "57 model",
        404,
        error("not_found_error", "model: x"),
        ModelNotFound,
        {"message": "The upstream does not know this model.", "param": "model"},
    ),
    (
        "400",
        400,
        error(
            "invalid_request_error",
            "This model does not support assistant message prefill. See https://docs.claude.com/en/x for more.",
        ),
        BadRequest,
        {"message": "This model does not support assistant message prefill."},
    ),
    (
        "400 names our parameter",
        400,
        error("invalid_request_error", "max_tokens: 99 > 64, the maximum for claude-haiku-4-5-20251001"),
        BadRequest,
        {"message": "max_tokens: 99 > 64, the maximum for the model", "param": "max_completion_tokens"},
    ),
    (
        "400 names the upstream",
        400,
        error("invalid_request_error", "messages.0: Blocked by Anthropic's policy (request req_011abc)"),
        BadRequest,
        {"message": "messages.0: Blocked by the upstream policy", "param": "messages"},
    ),
    (
        "400 too long",
        400,
        error("invalid_request_error", "prompt is too long: 210000 tokens > 200000 maximum"),
        ContextLengthExceeded,
        {"message": "prompt is too long: 210000 tokens > 200000 maximum", "param": "messages"},
    ),
    (
        "400 spend limit",
        400,
        error("invalid_request_error", "You have reached your specified API usage limits."),
        QuotaExhausted,
        {"message": "The upstream account of this server has no quota left. Tell the operator of this server."},
    ),
    (
        "400 no credit",
        400,
        error("invalid_request_error", "Your credit balance is too low to access the API."),
        QuotaExhausted,
        {"message": "The upstream account of this server has no quota left. Tell the operator of this server."},
    ),
    (
        "429 no credit, by its code",
        429,
        error("rate_limit_error", "…", details={"error_code": "credit_balance_exhausted"}),
        QuotaExhausted,
        {"message": "The upstream account of this server has no quota left. Tell the operator of this server."},
    ),
    (
        "402",
        402,
        error("billing_error", "…"),
        QuotaExhausted,
        {"message": "The upstream account of this server has no quota left. Tell the operator of this server."},
    ),
    (
        "403",
        403,
        error("permission_error", "Your API key …"),
        PermissionDenied,
        {"message": "The upstream does not permit this request."},
    ),
    (
        "500",
        500,
        error("api_error", "Internal server error"),
        UpstreamError,
        {"message": "The upstream failed. Try again later."},
    ),
    ("504", 504, error("timeout_error", "x"), UpstreamTimeout, {"message": "The upstream took too long."}),
    (
        "HTML",
        502,
        b"<html><body>Bad gateway at 10.0.0.1</body></html>",
        UpstreamError,
        {"message": "The upstream failed. Try again later."},
    ),
    ("400 in HTML", 400, b" <html>x</html>", BadRequest, {"message": "The upstream failed. Try again later."}),
    ("list", 400, b'[{"error": "as text"}]', BadRequest, {"message": "as text"}),
    ("detail", 422, b'{"detail": "as detail"}', BadRequest, {"message": "as detail"}),
    ("text", 400, b"plain words", BadRequest, {"message": "plain words"}),
    ("empty", 503, b"", Overloaded, {"message": "The upstream failed. Try again later."}),
]


@pytest.mark.parametrize(("status", "body", "kind", "expected"), [pytest.param(*row[1:], id=row[0]) for row in HTTP])
@pytest.mark.case(chat=56)
@pytest.mark.case(chat=57)
def test_http_errors(status: int, body: bytes, kind: type[Failure], expected: Json) -> None:
    failure = anthropic.parse_error(status, body)
    assert type(failure) is kind
    assert failure.body() == {"error": {"type": kind.type, "param": None, "code": kind.code, **expected}}


@pytest.mark.case(chat=56)
def test_what_sdks_are_told() -> None:
    refused = anthropic.parse_error(401, error("authentication_error", "invalid x-api-key"))
    assert (refused.status, refused.should_retry, refused.code) == (502, False, "upstream_auth_error")
    throttled = anthropic.parse_error(429, error("rate_limit_error", "x"))
    assert (throttled.status, throttled.retry_after, throttled.try_next) == (429, None, True)
    throttled.retry_after = 39
    assert (anthropic.parse_error(529, b"").status, anthropic.parse_error(413, b"").status) == (503, 413)


def test_a_message_that_came_in_one_piece() -> None:
    """From a relay that does not stream: the same as its stream."""
    message = {
        "type": "message",
        "role": "assistant",
        "content": [{"type": "text", "text": "Hi"}, {"type": "tool_use", "id": "t1", "name": "f", "input": {"a": 1}}],
        "stop_reason": "tool_use",
        "usage": {"input_tokens": 3, "output_tokens": 4},
    }
    translator = translator_of("anthropic", CALL, TO)
    with pytest.raises(StopIteration) as end:
        translator.send(Event("", message))
    assert end.value.value == [
        ROLE, piece({"content": "Hi"}), opening(0, "t1", "f"), fragment(0, '{"a":1}'), piece({}, "tool_calls"), tally(3, 4),
    ]  # fmt: skip


@pytest.mark.parametrize("wrong", [{"message": "x", "type": "overloaded_error"}, "x"])
def test_an_error_without_a_type(wrong: Any) -> None:
    translator = translator_of("anthropic", CALL, TO)
    with pytest.raises(Overloaded if isinstance(wrong, dict) else UpstreamError):
        translator.send(Event("", {"error": wrong}))


@pytest.mark.parametrize("data", ['{"a":1}', [{"a": 1}]])
def test_json_that_may_be_a_piece_of_the_answer(data: Any) -> None:
    translator = translator_of("anthropic", CALL, TO)
    with pytest.raises(UpstreamBadOutput):
        translator.send(Event("", data))
