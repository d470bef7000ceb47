"""Answers in Anthropic's form: streams and whole messages, beside what the anthropic SDK makes of the streamed bytes."""

import copy
from typing import Any

import anthropic
import pytest
from cuts import FEW
from messages_fold import EMPTY, Json, check_grammar, events_of, read_by_sdk, without_cache_creation
from replay import STREAMS
from replay import chunks as replay_chunks

from dialects import messages, seal
from dialects.contract import ClientRequest, Envelope, end_of
from dialects.messages.message import fold
from dialects.messages.wanted import Wanted
from providers import PROVIDERS, errors
from providers.chunks import chunk, collect, opening, tool_call, usage_chunk
from providers.contract import Batch, Upstream
from providers.errors import Failure
from providers.hosts import HOSTS

ENVELOPE = Envelope("0" * 31 + "1", 1, "claude-x", "req_1", "up", "m", 7, context=1000)
THINKING = Wanted(thinking=True)
ROLE = opening({"content": ""})
STOP, CALLS = chunk({}, "stop"), chunk({}, "tool_calls")
USAGE = usage_chunk({"prompt_tokens": 12, "completion_tokens": 3, "total_tokens": 15})


def text(value: str) -> Json:
    return chunk({"content": value})


def thought(value: str) -> Json:
    return chunk({"reasoning_content": value})


def called(index: int, arguments: str, **more: Any) -> Json:
    return chunk(
        tool_call(index, {"name": f"f{index}", "arguments": arguments}, id=f"c{index}", type="function", **more)
    )


def more(index: int, arguments: str) -> Json:
    return chunk(tool_call(index, {"arguments": arguments}))


def rendered(
    chunks: list[Json], wanted: Wanted = EMPTY, reasoning: bool = True, failure: Failure | None = None
) -> bytes:
    renderer = messages.render(ClientRequest({}, answer=wanted), ENVELOPE, reasoning)
    data = b"".join(bytes(renderer.send(Batch([copy.deepcopy(each)]))) for each in chunks)
    return data + end_of(renderer, failure)


def whole(chunks: list[Json], wanted: Wanted = EMPTY, reasoning: bool = True) -> Json:
    return messages.completion(ClientRequest({}, answer=wanted), collect(copy.deepcopy(chunks)), ENVELOPE, reasoning)


def blocks(chunks: list[Json], wanted: Wanted = EMPTY, reasoning: bool = True) -> list[Json]:
    """The blocks of an answer, which are the same in the stream (by the SDK) and whole; seals opened."""
    data = rendered(chunks, wanted, reasoning)
    check_grammar(events_of(data))
    streamed, at_once = read_by_sdk(data), whole(chunks, wanted, reasoning)
    assert streamed["content"] == at_once["content"]
    assert streamed["stop_reason"] == at_once["stop_reason"]
    assert streamed["usage"] == without_cache_creation(at_once["usage"])
    found: list[Json] = at_once["content"]
    return [{**each, "signature": seal.opened(each["signature"])} if "signature" in each else each for each in found]


def tool(index: int, value: Json, ident: str = "", name: str = "") -> Json:
    return {"type": "tool_use", "id": ident or f"c{index}", "name": name or f"f{index}", "input": value}


def told(value: str) -> Json:
    return {"type": "text", "text": value}


def think(value: str, **sealed: Any) -> Json:
    return {"type": "thinking", "thinking": value, "signature": {"by": "up", "model": "m", **sealed}}


def counted(prompt: int, cached: int, written: int, out: int, thinking: int) -> Json:
    return usage_chunk(
        {
            "prompt_tokens": prompt,
            "completion_tokens": out,
            "total_tokens": prompt + out,
            "prompt_tokens_details": {"cached_tokens": cached, "cache_write_tokens": written},
            "completion_tokens_details": {"reasoning_tokens": thinking},
        }
    )


@pytest.mark.case(messages=57)
def test_the_events_of_a_text() -> None:
    assert rendered([ROLE, text("Hi"), text(" you"), STOP, USAGE]).decode() == (
        "event: message_start\n"
        'data: {"type":"message_start","message":{"id":"msg_010000000000000000000001","type":"message","role":"assistant",'
        '"model":"claude-x","content":[],"stop_reason":null,"stop_sequence":null,"stop_details":null,"usage":{"input_tokens":7,'
        '"cache_creation_input_tokens":0,"cache_read_input_tokens":0,"cache_creation":{"ephemeral_5m_input_tokens":0,'
        '"ephemeral_1h_input_tokens":0},"output_tokens":1,"service_tier":"standard"}}}\n\n'
        "event: content_block_start\n"
        'data: {"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}\n\n'
        "event: content_block_delta\n"
        'data: {"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"Hi"}}\n\n'
        "event: content_block_delta\n"
        'data: {"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":" you"}}\n\n'
        'event: content_block_stop\ndata: {"type":"content_block_stop","index":0}\n\n'
        "event: message_delta\n"
        'data: {"type":"message_delta","delta":{"stop_reason":"end_turn","stop_sequence":null,"stop_details":null},'
        '"usage":{"input_tokens":12,"cache_creation_input_tokens":0,"cache_read_input_tokens":0,"cache_creation":'
        '{"ephemeral_5m_input_tokens":0,"ephemeral_1h_input_tokens":0},"output_tokens":3}}\n\n'
        'event: message_stop\ndata: {"type":"message_stop"}\n\n'
    )


EXTRA = {"google": {"thought_signature": "s"}}
ITEM = {"type": "reasoning", "id": "rs_1"}
OMITTED = Wanted(thinking=True, thinking_text=False)


@pytest.mark.parametrize(
    ("chunks", "wanted", "expected"),
    [
        pytest.param([thought("a"), thought("b"), text("c"), STOP], THINKING, [think("ab"), told("c")], id="58"),
        pytest.param([thought("a"), text("c"), STOP], EMPTY, [told("c")], id="58-not-asked"),
        pytest.param([thought("a"), text("c"), STOP], OMITTED, [think("", text="a"), told("c")], id="58-omitted"),
        pytest.param(
            [text("t"), called(0, '{"x'), more(0, '":1}'), STOP], EMPTY, [told("t"), tool(0, {"x": 1})], id="59"
        ),
        pytest.param([called(0, '{"a":'), more(0, "1}"), CALLS], EMPTY, [tool(0, {"a": 1})], id="60"),
        pytest.param(
            [called(0, '{"a":1}'), called(1, '{"b":2}'), CALLS], EMPTY, [tool(0, {"a": 1}), tool(1, {"b": 2})], id="61"
        ),
        pytest.param(
            [called(0, '{"a"'), called(1, '{"b"'), more(0, ":1}"), more(1, ":2}"), CALLS],
            EMPTY,
            [tool(0, {"a": 1}), tool(1, {"b": 2})],
            id="61-interleaved",
        ),
        pytest.param([called(0, ""), CALLS], EMPTY, [tool(0, {})], id="63"),
        pytest.param(
            [called(0, "{}"), CALLS],
            Wanted(call_ids=frozenset({"c0"})),
            [tool(0, {}, "toolu_5b2f58fa2faea134eb0db71b")],
            id="64",
        ),
        pytest.param([called(0, "{}"), CALLS], Wanted(tool_names={"f0": "long"}), [tool(0, {}, "", "long")], id="51"),
        pytest.param(
            [thought("a"), called(0, "{}", extra_content=EXTRA), CALLS],
            THINKING,
            [think("a", extra={"c0": EXTRA}), tool(0, {})],
            id="66",
        ),
        pytest.param(
            [called(0, "{}", extra_content=EXTRA), CALLS],
            THINKING,
            [think("", extra={"c0": EXTRA}), tool(0, {})],
            id="66-none",
        ),
        pytest.param(
            [chunk({"reasoning_items": [ITEM]}), called(0, "{}"), CALLS],
            THINKING,
            [think("", items=[ITEM]), tool(0, {})],
            id="67",
        ),
        pytest.param([STOP], EMPTY, [], id="75"),
        pytest.param([text("a\u2028b\u0085"), text("中"), STOP], EMPTY, [told("a\u2028b\u0085中")], id="76"),
    ],
)
def test_blocks(chunks: list[Json], wanted: Wanted, expected: list[Json]) -> None:
    assert blocks([ROLE, *chunks, USAGE], wanted) == expected


@pytest.mark.case(messages=79)
def test_an_operator_hides_reasoning() -> None:
    assert blocks([ROLE, thought("a"), text("c"), STOP], THINKING, reasoning=False) == [told("c")]


@pytest.mark.case(messages=62)
def test_text_after_a_call_is_a_block_of_its_own() -> None:
    data = rendered([ROLE, called(0, "{}"), text("\n"), STOP])
    check_grammar(events_of(data))
    assert [each["type"] for each in read_by_sdk(data)["content"]] == ["tool_use", "text"]


@pytest.mark.parametrize(
    ("chunks", "wanted", "expected"),
    [
        pytest.param([text("a"), STOP], EMPTY, ("end_turn", None, None), id="57"),
        pytest.param([called(0, "{}"), STOP], EMPTY, ("tool_use", None, None), id="59"),
        pytest.param([text("a"), CALLS], EMPTY, ("end_turn", None, None), id="no-call"),
        pytest.param([text("a"), chunk({}, "length")], EMPTY, ("max_tokens", None, None), id="65"),
        pytest.param(
            [text("a"), chunk({}, "length"), counted(900, 0, 0, 90, 0)],
            Wanted(max_tokens=100),
            ("model_context_window_exceeded", None, None),
            id="65-context",
        ),
        pytest.param(
            [text("a"), chunk({}, "length"), counted(900, 0, 0, 100, 0)],
            Wanted(max_tokens=100),
            ("max_tokens", None, None),
            id="65-limit",
        ),
        pytest.param(
            [text("a"), chunk({}, "length"), counted(800, 0, 0, 90, 0)],
            Wanted(max_tokens=100),
            ("max_tokens", None, None),
            id="65-room",
        ),
        pytest.param(
            [chunk({"refusal": "no"}), chunk({}, "content_filter")],
            EMPTY,
            ("refusal", None, {"type": "refusal", "category": None, "explanation": "no"}),
            id="65-refusal",
        ),
        pytest.param(
            [text("a"), {"choices": [{**STOP["choices"][0], "stop_reason": "END"}]}],
            Wanted(stop_sequences=("END",)),
            ("stop_sequence", "END", None),
            id="73",
        ),
    ],
)
def test_stop_reasons(chunks: list[Json], wanted: Wanted, expected: tuple[Any, ...]) -> None:
    for message in whole([ROLE, *chunks], wanted), read_by_sdk(rendered([ROLE, *chunks], wanted)):
        assert (message["stop_reason"], message["stop_sequence"], message["stop_details"]) == expected


@pytest.mark.parametrize(
    ("last", "expected"),
    [
        pytest.param(counted(100, 85, 5, 7, 4), (10, 85, 5, 7, {"thinking_tokens": 4}), id="68"),
        pytest.param(counted(64, 64, 0, 7, 0), (1, 63, 0, 7, None), id="69"),
        pytest.param(ROLE, (7, 0, 0, 1, None), id="69-none"),
    ],
)
def test_usage(last: Json, expected: tuple[Any, ...]) -> None:
    usage = whole([ROLE, text("a"), STOP, last])["usage"]
    names = ("input_tokens", "cache_read_input_tokens", "cache_creation_input_tokens", "output_tokens")
    assert (*(usage[name] for name in names), usage.get("output_tokens_details")) == expected


@pytest.mark.case(messages=78)
def test_broken_arguments() -> None:
    chunks = [ROLE, called(0, '{"a":'), CALLS]
    assert whole(chunks)["content"] == [tool(0, {"_raw_arguments": '{"a":'})]
    assert whole([*chunks[:-1], chunk({}, "length")])["content"] == [tool(0, {})]


@pytest.mark.parametrize("at", range(9))
@pytest.mark.case(messages=70)
def test_a_failure_at_every_point(at: int) -> None:
    chunks = [ROLE, thought("a"), text("b"), called(0, '{"a"'), called(1, "{}"), more(0, ":1}"), text("c"), STOP, USAGE]
    data = rendered(chunks[:at], THINKING, failure=errors.RateLimitExceeded("slow"))
    events = events_of(data)
    assert [each["type"] for each in events if each["type"] in ("error", "message_delta", "message_stop")] == ["error"]
    assert data.endswith(
        b'event: error\ndata: {"type":"error","error":{"type":"rate_limit_error","message":"slow"},"request_id":"req_1"}\n\n'
    )
    with pytest.raises(anthropic.APIStatusError, match="slow"):
        read_by_sdk(data)


def test_more_arguments_of_a_complete_call_are_refused() -> None:
    with pytest.raises(errors.UpstreamBadOutput):
        rendered([ROLE, called(0, "{}"), called(1, "{}"), more(0, "x")])


@pytest.mark.case(messages=71)
def test_keep_alive() -> None:
    assert messages.keep_alive == b'event: ping\ndata: {"type": "ping"}\n\n'


@pytest.mark.parametrize(
    ("wanted", "reasoning", "waits"),
    [(THINKING, True, True), (OMITTED, True, True), (EMPTY, True, False), (THINKING, False, False)],
)
@pytest.mark.case(messages=80)
def test_a_long_silence(wanted: Wanted, reasoning: bool, waits: bool) -> None:
    renderer = messages.render(ClientRequest({}, answer=wanted), ENVELOPE, reasoning)
    data = [bytes(renderer.send(Batch(each))) for each in ([], [], [ROLE], [text("a")], [], [STOP])]
    answer = b"".join(data) + end_of(renderer)
    check_grammar(events_of(answer))
    assert [bool(each) for each in data] == [waits, waits, False, True, False, False]
    thinking = [{"type": "thinking", "thinking": ""}] if waits else []
    found = read_by_sdk(answer)["content"]
    assert [{k: v for k, v in each.items() if k != "signature"} for each in found] == [*thinking, told("a")]


@pytest.mark.case(messages=72)
def test_whole_is_the_fold_of_the_stream() -> None:
    chunks = [ROLE, text("Hi"), called(0, '{"a":1}'), CALLS, USAGE]
    assert whole(chunks) == {
        "id": "msg_010000000000000000000001",
        "type": "message",
        "role": "assistant",
        "model": "claude-x",
        "content": [told("Hi"), tool(0, {"a": 1})],
        "stop_reason": "tool_use",
        "stop_sequence": None,
        "stop_details": None,
        "usage": {
            "input_tokens": 12,
            "cache_creation_input_tokens": 0,
            "cache_read_input_tokens": 0,
            "cache_creation": {"ephemeral_5m_input_tokens": 0, "ephemeral_1h_input_tokens": 0},
            "output_tokens": 3,
            "service_tier": "standard",
        },
    }
    assert fold(events_of(rendered(chunks))) == whole(chunks)


def test_what_a_native_call_gave_is_passed_on() -> None:
    renderer = messages.render(ClientRequest({}), ENVELOPE, True)
    assert renderer.send(Batch([text("a")], b"event: x\n\n")) == b"event: x\n\n"
    assert renderer.send(Batch([STOP])) == b""
    assert end_of(renderer) == b""


OPENAI = (
    "This model's maximum context length is 128000 tokens. However, you requested 140000 tokens (108000 in the messages, 32000 "
    "in the completion). Please reduce the length."
)
GEMINI = "The input token count (2000000) exceeds the maximum number of tokens allowed (1048576)."
SPENT = errors.BudgetExceeded("This key's budget …")
SPENT.period = "monthly; resets 2026-12-01 00:00 UTC"


@pytest.mark.parametrize(
    ("failure", "status", "kind", "message"),
    [
        pytest.param(
            errors.ContextLengthExceeded(OPENAI),
            400,
            "invalid_request_error",
            "input length and `max_tokens` exceed context limit: 108000 + 32000 > 128000, decrease input length or `max_tokens` "
            "and try again",
            id="81",
        ),
        pytest.param(
            errors.ContextLengthExceeded(GEMINI),
            400,
            "invalid_request_error",
            "prompt is too long: 2000000 tokens > 1048576 maximum",
            id="82",
        ),
        pytest.param(
            errors.ContextLengthExceeded("上下文过长"),
            400,
            "invalid_request_error",
            "prompt is too long",
            id="82-no-numbers",
        ),
        pytest.param(
            SPENT, 429, "billing_error", "spend limit reached (monthly; resets 2026-12-01 00:00 UTC)", id="84"
        ),
        pytest.param(errors.RateLimitExceeded("r"), 429, "rate_limit_error", "r", id="85"),
        pytest.param(errors.Overloaded("o"), 529, "overloaded_error", "o", id="86"),
        pytest.param(errors.QuotaExhausted("q"), 503, "api_error", "q", id="quota"),
        pytest.param(errors.UpstreamBadOutput("b"), 502, "api_error", "b", id="87"),
        pytest.param(errors.UpstreamTimeout("t"), 504, "timeout_error", "t", id="timeout"),
        pytest.param(
            errors.ModelNotFound("The model 'x' does not exist."),
            404,
            "not_found_error",
            "model: x. The model 'x' does not exist.",
            id="404",
        ),
        pytest.param(Failure("f"), 500, "api_error", "f", id="500"),
    ],
)
def test_errors(failure: Failure, status: int, kind: str, message: str) -> None:
    assert messages.error_status(failure) == status
    assert messages.error_body(failure, "req_1") == {
        "type": "error",
        "error": {"type": kind, "message": message},
        "request_id": "req_1",
    }


def upstream_of(name: str) -> tuple[Any, Any]:
    protocol = (
        "anthropic" if name.startswith(("claude", "messages")) else "gemini" if name.startswith("gemini") else "openai"
    )
    row = HOSTS.get(protocol)
    to = Upstream(protocol, "m", "https://up.example/v1", "k", **({"row": protocol, "host": row} if row else {}))
    body = {"model": "m", "stream": True, "messages": [{"role": "user", "content": "x"}]}
    return PROVIDERS[protocol].build_request(body, to), to


@pytest.mark.parametrize("name", sorted(path.name for path in STREAMS.glob("*.sse") if "_leg_" not in path.name))
def test_streams_of_every_provider(name: str) -> None:
    call, to = upstream_of(name)
    raw, made = (STREAMS / name).read_bytes(), list[list[Json]]()
    for size in FEW:
        try:
            made.append(
                [
                    each
                    for each in replay_chunks(PROVIDERS[to.name], raw, size, call=call, to=to)
                    if isinstance(each, dict)
                ]
            )
        except Failure:
            return
    for chunks in made:  # ids that are made here differ from cut to cut
        data = rendered(chunks, THINKING)
        check_grammar(events_of(data))
        streamed, at_once = read_by_sdk(data), whole(chunks, THINKING)
        for ours, sdks in zip(at_once["content"], streamed["content"], strict=False):
            if "_raw_arguments" in ours.get("input", ()):
                sdks["input"] = ours["input"]  # arguments that are no object, which the SDK has as they are
        assert words(streamed) == words(at_once)
        assert streamed["stop_reason"] == at_once["stop_reason"]


def words(message: Json) -> tuple[str, str, list[Json]]:
    """What a message says, without the order of its blocks: a whole answer does not tell it."""
    found = message["content"]
    return (
        "".join(each["text"] for each in found if each["type"] == "text"),
        "".join(each["thinking"] for each in found if each["type"] == "thinking"),
        [each for each in found if each["type"] == "tool_use"],
    )
