"""Whatever bytes an upstream or a client sends, the only exception is Failure.

MODELSERVER_FUZZ: examples of each test; by default 150.
"""

import json
import os
import re
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway import requests
from gateway.schema import Server
from providers import PROVIDERS, wire
from providers.chat import collect
from providers.contract import Reply, Step, Upstream
from providers.errors import Failure
from providers.hosts import HOSTS
from server.upstream import Exchange, chunks, whole

EXAMPLES = int(os.environ.get("MODELSERVER_FUZZ", "150"))
LOTS = settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
PROTOCOLS = ["openai", "anthropic", "gemini"]
NO_HTTP: Any = None  # what is played needs no connections
LIMITS = Server(max_event=4096, max_answer=16_384)

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
BODY = {"model": "m", "stream": True, "messages": [{"role": "user", "content": "x"}]}


def target(protocol: str) -> Upstream:
    row = HOSTS.get(protocol)
    return Upstream(protocol, "m", "https://up.example/v1", "k", **({"row": protocol, "host": row} if row else {}))


def run(played: Coroutine[Any, Any, None]) -> None:
    """Run a coroutine that waits for nothing; a loop for each example would cost more than the example."""
    with suppress(StopIteration):
        played.send(None)
        raise AssertionError("it waits for something")


async def play(protocol: str, pieces: list[bytes], streamed: bool, kind: str, cut: bool, status: int) -> None:
    """An upstream answers with these bytes; the chunks or the failure are what may come of it."""
    to = target(protocol)
    call = PROVIDERS[protocol].request({**BODY, "stream": streamed}, to)
    steps = [Step(0.0, piece) for piece in pieces]
    call = call._replace(reply=Reply(status, {"Content-Type": kind}, steps, cut))
    exchange = Exchange(to, call, 5.0)
    try:
        got = []
        if call.stream:
            async for batch in chunks(exchange, NO_HTTP, LIMITS):
                got += batch
            for chunk in got:
                assert isinstance(chunk["choices"], list)
                frame = bytearray()
                wire.frame_into(frame, chunk)
                assert frame.count(b"\n") == 2
            collect(got)
        else:
            wire.encode(await whole(exchange, NO_HTTP, LIMITS))
    except Failure as failure:
        assert 400 <= failure.status < 600 and wire.encode(failure.body())


@pytest.mark.parametrize("protocol", PROTOCOLS)
@LOTS
@given(
    data=EVENTS,
    cut=st.integers(1, 60),
    broken=st.booleans(),
    kind=st.sampled_from(["text/event-stream", "application/json", ""]),
)
def test_any_stream(protocol: str, data: bytes, cut: int, broken: bool, kind: str) -> None:
    pieces = [data[i : i + cut] for i in range(0, len(data), cut)]
    run(play(protocol, pieces, True, kind, broken, 200))


@pytest.mark.parametrize("protocol", PROTOCOLS)
@LOTS
@given(
    value=NEARLY | st.binary(max_size=40),
    status=st.sampled_from([200, 200, 200, 204, 302, 400, 401, 404, 429, 500, 529]),
)
def test_any_whole_answer(protocol: str, value: Any, status: int) -> None:
    data = value if isinstance(value, bytes) else dumped(value)
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


@pytest.mark.parametrize("protocol", PROTOCOLS)
@LOTS
@given(messages=MESSAGES, more=st.dictionaries(WORDS, VALUES, max_size=5))
def test_any_request(protocol: str, messages: Any, more: Any) -> None:
    body = {"model": "m", "messages": [*messages, {"role": "user", "content": "x"}], **more}
    try:
        ask = requests.parse(dumped(body))
        call = PROVIDERS[protocol].request(ask.body, target(protocol))
        wire.encode(call.body)
    except Failure as failure:
        assert 400 <= failure.status < 500, failure


@LOTS
@given(data=st.binary(max_size=200) | NEARLY.map(dumped))
def test_any_body(data: bytes) -> None:
    try:
        requests.parse(data)
    except Failure as failure:
        assert failure.status == 400
