"""Whatever bytes an upstream or a client sends, the only exception is Failure.

MODELSERVER_FUZZ: examples of each test, by default 200; each is given to every protocol, for it takes longer to make one.
"""

import json
import os
import re
from contextlib import suppress
from typing import Any

import pytest
from cuts import pieces
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec import structs
from msgspec.structs import replace
from simulated import PROTOCOLS, play, run, target

from dialects.chat import request
from providers import PROVIDERS, codec
from providers.chunks import collect
from providers.errors import Failure, UpstreamBadOutput

EXAMPLES = int(os.environ.get("MODELSERVER_FUZZ", "200"))
LOTS = settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))

# Words of the wire formats: values made of them get past the first `match`.
WORDS = st.sampled_from(
    re.findall(
        r"\S+",
        """choices delta content role finish_reason index tool_calls function name arguments id type usage error message code
    text prompt_tokens completion_tokens total_tokens stop length assistant message_start content_block_start
    content_block_delta content_block_stop message_delta message_stop ping content_block text_delta input_json_delta
    thinking_delta signature_delta thinking signature tool_use partial_json stop_reason end_turn max_tokens input_tokens
    output_tokens candidates parts functionCall args finishReason STOP usageMetadata promptTokenCount candidatesTokenCount
    thought thoughtSignature promptFeedback blockReason overloaded_error status reasoning_content logprobs refusal audio
    model messages system user tool tool_call_id image_url url data:image/png;base64, response_format json_schema schema
    json_object tools tool_choice auto required stream stream_options include_usage max_completion_tokens temperature n
    reasoning_effort high none properties object string $ref #/$defs/x anyOf enum functions function_call developer""",
    )
)
KEYS = WORDS | st.text(max_size=3)
SCALARS = st.none() | st.booleans() | st.integers(-5, 2**66) | st.floats() | WORDS | st.text(max_size=20)
VALUES = st.recursive(
    SCALARS, lambda each: st.lists(each, max_size=4) | st.dictionaries(KEYS, each, max_size=6), max_leaves=25
)


def openai_chunk(delta: Any, finish: Any, more: Any) -> Any:
    return {"choices": [{"index": 0, "delta": delta, "finish_reason": finish}], **more}


# Events that are nearly right: the shape of each protocol with a wild value in one place.
NEARLY = st.one_of(
    st.builds(openai_chunk, VALUES, SCALARS, st.dictionaries(KEYS, VALUES, max_size=2)),
    st.builds(lambda c: {"choices": c}, VALUES),
    st.builds(lambda e: {"error": e}, VALUES),
    st.builds(lambda kind, more: {"type": kind, **more}, WORDS, st.dictionaries(KEYS, VALUES, max_size=4)),
    st.builds(
        lambda i, d: {"type": "content_block_delta", "index": i, "delta": d}, SCALARS, st.dictionaries(KEYS, VALUES)
    ),
    st.builds(
        lambda p, f: {"candidates": [{"content": {"parts": p}, "finishReason": f}]},
        st.lists(VALUES, max_size=3),
        SCALARS,
    ),
    VALUES,
)


def dumped(value: Any) -> bytes:
    return json.dumps(value).encode()


EVENTS = st.lists(
    st.builds(
        lambda value, name: name + b"data: " + dumped(value) + b"\n\n", NEARLY, st.sampled_from([b"", b"event: x\r\n"])
    )
    | st.sampled_from([b"data: [DONE]\n\n", b": ping\n\n", b"\r", b"\xef\xbb\xbf", b"data: {\n\n", b"\xff\x00\n"])
    | st.binary(max_size=30),
    max_size=8,
).map(b"".join)


@LOTS
@given(
    data=EVENTS,
    cut=st.integers(1, 60),
    broken=st.booleans(),
    kind=st.sampled_from(["text/event-stream", "application/json", ""]),
)
def test_any_stream(data: bytes, cut: int, broken: bool, kind: str) -> None:
    for protocol in PROTOCOLS:
        run(play(protocol, pieces(data, cut), True, kind, broken, 200))


@LOTS
@given(
    value=NEARLY | st.binary(max_size=40),
    status=st.sampled_from([200, 200, 200, 204, 302, 400, 401, 404, 429, 500, 529]),
)
def test_any_whole_answer(value: Any, status: int) -> None:
    data = value if isinstance(value, bytes) else dumped(value)
    for protocol in PROTOCOLS:
        run(play(protocol, [data], False, "application/json", False, status))


MESSAGES = st.lists(
    st.dictionaries(st.sampled_from(["role", "content", "tool_calls", "tool_call_id", "name", "refusal"]), VALUES)
    | st.builds(lambda role, content: {"role": role, "content": content}, WORDS, VALUES)
    | st.builds(
        lambda part: {"role": "user", "content": [part]},
        st.builds(lambda kind, more: {"type": kind, kind: more}, WORDS, VALUES),
    )
    | VALUES,
    max_size=4,
)


@LOTS
@given(messages=MESSAGES, more=st.dictionaries(WORDS, VALUES, max_size=5))
def test_any_request(messages: Any, more: Any) -> None:
    body = {"model": "m", "messages": [*messages, {"role": "user", "content": "x"}], **more}
    for protocol in PROTOCOLS:
        try:
            ask = request.parse(dumped(body))
            call = PROVIDERS[protocol].build_request(ask.body, target(protocol))
            codec.encode(call.body)
        except Failure as failure:
            assert 400 <= failure.status < 500, (protocol, failure)


@LOTS
@given(data=st.binary(max_size=200) | NEARLY.map(dumped))
def test_any_body(data: bytes) -> None:
    try:
        request.parse(data)
    except Failure as failure:
        assert failure.status == 400


# What ops/fuzz.py has found

CALL = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
FUNCTION = {"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {"a": {}}}}}


def form(schema: Any) -> dict[str, Any]:
    return {"response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": schema}}}


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize(
    "more",
    [
        {"tools": [FUNCTION], "tool_choice": {"type": "auto"}},
        {"tools": [{"type": "x"}]},
        {"tools": [{"type": "x", "function": {"parameters": {}}}]},
        {"tools": [{"type": "", "function": {"name": "f", "parameters": "x"}}]},
        {"tools": [FUNCTION], "calls": [{**CALL, "type": "x", "function": {"name": "f", "arguments": 5}}]},
        {"tools": [FUNCTION], "calls": [{**CALL, "function": {"name": "f", "arguments": 5}}]},
        {"tools": [FUNCTION], "calls": [{"id": "c", "custom": {"name": "f"}}]},
        form("stop"),
        form({"type": "object", "properties": "{}"}),
        form({"type": "object", "properties": {"a": {"type": "string"}}, "required": [{}]}),
        form({"type": "object", "properties": {"a": {"anyOf": ["x"]}}}),
        form({"type": "object", "properties": {"a": {"type": "string", "format": []}}}),
    ],
)
def test_requests_that_were_found(protocol: str, more: dict[str, Any]) -> None:
    """They were answered with 500: what is wrong with them is the client's."""
    calls = more.get("calls", [CALL])
    turns = [{"role": "assistant", "tool_calls": calls}, {"role": "tool", "tool_call_id": "c", "content": "1"}]
    body = {"model": "m", "messages": [*turns, {"role": "user", "content": "x"}], **more}
    body.pop("calls", None)
    to = target(protocol)
    to = replace(to, facts=structs.replace(to.facts, json_schema=True))
    try:
        call = PROVIDERS[protocol].build_request(request.parse(dumped(body)).body, to)
        assert codec.encode(call.body)
    except Failure as failure:
        assert failure.status == 400


def test_a_call_may_leave_its_kind_out() -> None:
    call = {name: value for name, value in CALL.items() if name != "type"}
    custom = {"id": "d", "custom": {"name": "g", "input": "x"}}
    turns = [
        {"role": "assistant", "tool_calls": [call, custom]},
        *({"role": "tool", "tool_call_id": ident, "content": "1"} for ident in "cd"),
    ]
    ask = request.parse(dumped({"model": "m", "messages": [*turns, {"role": "user", "content": "x"}]}))
    for protocol in ("anthropic", "gemini"):
        text = codec.encode_text(PROVIDERS[protocol].build_request(ask.body, target(protocol)).body)
        assert '"name":"f"' in text and '"name":"g"' in text


def piece(delta: Any, **more: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": delta, "finish_reason": None, **more}]}


@pytest.mark.parametrize(
    "pieces",
    [
        [piece({"content": "a"}), piece({"content": "b"}), piece({"content": [[]]})],
        [piece({"content": "a"}, logprobs={"content": []}), piece({}, logprobs={"content": {"a": 1}})],
        [piece({}, logprobs={"content": {"a": 1}}), piece({}, logprobs={"content": []}), piece([])],
        [piece({}), {"choices": [{"index": "x", "delta": {}}]}],
    ],
)
def test_answers_that_were_found(pieces: list[dict[str, Any]]) -> None:
    """Pieces that do not fit together are the upstream's mistake: 502, not 500."""
    with suppress(UpstreamBadOutput):
        collect(pieces)
