"""The built-in model: what it says, what it calls, and how its magic names misbehave."""

import base64
import json
import re
import struct
from copy import deepcopy
from typing import Any

import pytest
import replay
from hypothesis import given
from hypothesis import strategies as st
from translators import translator_of

from dialects.chat.request import parse
from providers import echo
from providers.chunks import collect
from providers.common import media
from providers.contract import Call, CannedReply, ReplyStep, Upstream
from providers.echo import chat as echo_chat
from providers.echo import scenarios
from providers.errors import BadRequest, Failure, ModelNotFound, UpstreamTruncated
from providers.sse import Decoder, Event

Json = dict[str, Any]


def body_of(text: Any = "Hello there, 世界!", **extra: Any) -> Json:
    body = {"model": "echo", "messages": [{"role": "user", "content": text}], **extra}
    return parse(json.dumps(body).encode()).body


def reply_to(body: Json, model: str = "echo", **options: Any) -> tuple[Call, CannedReply]:
    before = deepcopy(body)
    call = echo.build_request(body, Upstream("echo", model, options=options))
    assert body == before and call.reply is not None
    return call, call.reply


def steps_of(body: Json, model: str = "echo", **options: Any) -> list[ReplyStep]:
    return list(reply_to(body, model, **options)[1].steps)


def chunks_of(body: Json, model: str = "echo") -> list[Json]:
    """The chunks of echo's streamed answer, through the decoder and the translator."""
    call, reply = reply_to({**body, "stream": True}, model)
    raw = b"".join(step.data for step in reply.steps)
    return list(replay.chunks(echo, raw, call=call, to=Upstream("echo", model)))


def whole_of(body: Json, model: str = "echo") -> Json:
    """Echo's answer as one body."""
    call, reply = reply_to(body, model)
    event = Event("", json.loads(b"".join(step.data for step in reply.steps)))
    [answer] = replay.translated(translator_of("openai", call, Upstream("echo", model)), [event])
    return answer


def said(body: Json, model: str = "echo") -> tuple[str | None, str]:
    """Text and finish_reason, which are the same streamed and whole."""
    whole, streamed = whole_of(body, model), collect(chunks_of(body, model))
    for answer in (whole, streamed):
        for choice in answer["choices"]:
            for call in choice["message"].get("tool_calls", ()):
                assert re.fullmatch("call_[0-9a-f]{24}", call.pop("id"))
    assert streamed["choices"] == whole["choices"] and streamed["usage"] == whole["usage"]
    return whole["choices"][0]["message"]["content"], whole["choices"][0]["finish_reason"]


def called(body: Json, model: str = "echo") -> list[Json]:
    content, finish = said(body, model)
    calls = whole_of(body, model)["choices"][0]["message"].get("tool_calls", [])
    assert (finish == "tool_calls") == bool(calls) and (content is None) == bool(calls)
    return [{key: value for key, value in call.items() if key != "id"} for call in calls]


def usage(prompt: int, completion: int, reasoning: int = 0) -> Json:
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
        "prompt_tokens_details": {"cached_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": reasoning},
    }


def say(delta: Json, finish: str | None = None, index: int = 0) -> Json:
    return {"index": index, "delta": delta, "logprobs": None, "finish_reason": finish}


def test_a_stream_word_by_word():
    assert [(chunk["choices"], chunk.get("usage")) for chunk in chunks_of(body_of())] == [
        ([say({"role": "assistant", "content": "", "refusal": None})], None),
        ([say({"content": "Hello"})], None),
        ([say({"content": " there,"})], None),
        ([say({"content": " 世界!"})], None),
        ([say({}, "stop")], None),
        ([], usage(3, 3)),
    ]


def test_a_whole_answer():
    assert whole_of(body_of()) == {
        "object": "chat.completion",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": "Hello there, 世界!", "refusal": None},
                "logprobs": None,
                "finish_reason": "stop",
            }
        ],
        "usage": usage(3, 3),
    }


@given(st.text())
def test_every_text_comes_back(text: str):
    assert said(body_of(text)) == (text or "(empty message)", "stop")


TEXTS: dict[str, tuple[Json, tuple[str, str]]] = {
    "the last user message": (
        body_of(
            messages=[
                {"role": "system", "content": "S"},
                {"role": "user", "content": "one"},
                {"role": "assistant", "content": "two"},
                {"role": "user", "content": "three"},
                {"role": "assistant", "content": "four"},
            ]
        ),
        ("three", "stop"),
    ),
    "no user message": (body_of(messages=[{"role": "system", "content": "S"}]), ("(empty message)", "stop")),
    "parts": (
        body_of([{"type": "text", "text": "a"}, {"type": "input_audio", "input_audio": {"data": "AA=="}}]),
        ("a [input_audio]", "stop"),
    ),
    "a file": (
        body_of([{"type": "file", "file": {"filename": "a.pdf", "file_data": "x"}}, {"type": "file", "file": {}}]),
        ("[the file a.pdf] [file]", "stop"),
    ),
    "an image by URL": (
        body_of([{"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}]),
        ("[an image by URL: echo fetches nothing]", "stop"),
    ),
    "max_tokens": (body_of("a b c d", max_tokens=2), ("a b", "length")),
    "max_completion_tokens": (body_of("a b c d", max_completion_tokens=3), ("a b c", "length")),
    "max_tokens as a decimal": (body_of("a b c d", max_tokens=2.0), ("a b", "length")),
    "max_tokens, just enough": (body_of("a b c d", max_tokens=4), ("a b c d", "stop")),
    "stop": (body_of("a b c d", stop=" c"), ("a b", "stop")),
    "the earliest of stops": (body_of("a b c d", stop=["d", "b"]), ("a ", "stop")),
    "an empty stop": (body_of("a b", stop=["", "b"]), ("a ", "stop")),
    "an empty stop alone": (body_of("a b", stop=""), ("a b", "stop")),
    "json_object": (body_of("a", response_format={"type": "json_object"}), ('{"echo":"a"}', "stop")),
    "json_schema": (
        body_of(
            response_format={
                "type": "json_schema",
                "json_schema": {"name": "x", "schema": {"type": "object", "properties": {"年": {"type": "integer"}}}},
            }
        ),
        ('{"年":1}', "stop"),
    ),
    "a response format of text": (body_of("a", response_format={"type": "text"}), ("a", "stop")),
    "tools, none asked for": (body_of("a", tools=[{"type": "function", "function": {"name": "f"}}]), ("a", "stop")),
}


@pytest.mark.parametrize("body, expected", TEXTS.values(), ids=TEXTS)
def test_texts(body: Json, expected: tuple[str, str]):
    assert said(body) == expected


@pytest.mark.parametrize(
    "model, finish", [("echo", "stop"), ("echo-length", "length"), ("echo-filter", "content_filter")]
)
def test_finishes(model: str, finish: str):
    assert said(body_of("a b"), model) == ("a b", finish)


def test_several_choices():
    body = body_of("a b", n=3)
    assert [choice["message"]["content"] for choice in whole_of(body)["choices"]] == ["a b"] * 3
    assert [choice["index"] for choice in whole_of(body)["choices"]] == [0, 1, 2]
    assert [len(chunk["choices"]) for chunk in chunks_of(body)] == [3, 3, 3, 1, 1, 1, 0]
    assert collect(chunks_of(body))["choices"] == whole_of(body)["choices"]


def test_thinking_aloud():
    thought = "I was asked to think with high effort, and will repeat what was said."
    body = body_of("a", reasoning_effort="high")
    assert whole_of(body)["choices"][0]["message"] == {
        "role": "assistant",
        "content": "a",
        "refusal": None,
        "reasoning_content": thought,
    }
    assert collect(chunks_of(body))["choices"][0]["message"]["reasoning_content"] == thought
    assert whole_of(body)["usage"] == usage(1, 15, 14)
    assert "reasoning_content" not in whole_of(body_of("a", reasoning_effort="none"))["choices"][0]["message"]


WEATHER = {
    "type": "function",
    "function": {
        "name": "weather",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}, "days": {"type": "integer", "minimum": 3}},
            "required": ["city"],
        },
    },
}
TIME = {"type": "function", "function": {"name": "time"}}
SHELL = {"type": "custom", "custom": {"name": "shell"}}
SEARCH = {"type": "web_search", "web_search": {"enable": True}}
ODD = {"type": "type"}
CALL_WEATHER = {"type": "function", "function": {"name": "weather", "arguments": '{"city":"echo","days":3}'}}
CALL_TIME = {"type": "function", "function": {"name": "time", "arguments": "{}"}}
CALL_SHELL = {"type": "custom", "custom": {"name": "shell", "input": "echo"}}


def allowed(mode: str, *tools: Json) -> Json:
    return {"type": "allowed_tools", "allowed_tools": {"mode": mode, "tools": [*tools]}}


CALLS: dict[str, tuple[Json, list[Json]]] = {
    "none": ({"tools": [WEATHER], "tool_choice": "none"}, []),
    "auto": ({"tools": [WEATHER], "tool_choice": "auto"}, []),
    "required: the first": ({"tools": [WEATHER, TIME], "tool_choice": "required"}, [CALL_WEATHER]),
    "required: the first that a client runs": (
        {"tools": [SEARCH, ODD, TIME], "tool_choice": "required"},
        [CALL_TIME],
    ),
    "required: none that a client runs": ({"tools": [SEARCH], "tool_choice": "required"}, []),
    "named": ({"tools": [WEATHER, TIME], "tool_choice": TIME}, [CALL_TIME]),
    "a custom tool named": ({"tools": [WEATHER, SHELL], "tool_choice": SHELL}, [CALL_SHELL]),
    "a custom tool required": ({"tools": [SHELL], "tool_choice": "required"}, [CALL_SHELL]),
    "a name that no tool has": ({"tools": [WEATHER], "tool_choice": TIME}, []),
    "allowed, required": ({"tools": [WEATHER, TIME], "tool_choice": allowed("required", TIME)}, [CALL_TIME]),
    "allowed, a custom tool": ({"tools": [WEATHER, SHELL], "tool_choice": allowed("required", SHELL)}, [CALL_SHELL]),
    "allowed, auto": ({"tools": [WEATHER], "tool_choice": allowed("auto", WEATHER)}, []),
    "allowed, none of them": ({"tools": [WEATHER], "tool_choice": allowed("required")}, []),
}


@pytest.mark.parametrize("extra, expected", CALLS.values(), ids=CALLS)
def test_tool_calls(extra: Json, expected: list[Json]):
    assert called(body_of("a", **extra)) == expected


@pytest.mark.parametrize(
    "parameters",
    [None, {}, {"description": "x"}, {"additionalProperties": False}],
    ids=["null", "{}", "untyped", "closed"],
)
def test_arguments_are_always_an_object(parameters: Any):
    tool = {"type": "function", "function": {"name": "f", "parameters": parameters}}
    [call] = called(body_of("a", tools=[tool], tool_choice="required"))
    assert call["function"]["arguments"] == "{}"


def test_a_tool_with_a_broken_schema():
    tool = {"type": "function", "function": {"name": "f", "parameters": {"properties": [1]}}}
    with pytest.raises(BadRequest) as caught:
        reply_to(body_of("a", tools=[tool], tool_choice="required"))
    assert (caught.value.param, caught.value.code) == ("tools", "invalid_value")


def test_after_the_result_the_tool_is_not_called_again():
    call = {"id": "call_1", "type": "function", "function": {"name": "time", "arguments": "{}"}}
    history = [
        {"role": "user", "content": "When?"},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "call_1", "content": "now"},
    ]
    body = body_of(messages=history, tools=[TIME], tool_choice="required")
    assert called(body) == [] and said(body) == ("When?", "stop")


def test_tool_calls_are_streamed_in_pieces():
    deltas = [
        chunk["choices"][0]["delta"] for chunk in chunks_of(body_of(tools=[WEATHER], tool_choice="required"))[:-1]
    ]
    ident = deltas[1]["tool_calls"][0].pop("id")
    assert re.fullmatch("call_[0-9a-f]{24}", ident)
    assert deltas == [
        {"role": "assistant", "content": None, "refusal": None},
        {"tool_calls": [{"index": 0, "type": "function", "function": {"name": "weather", "arguments": ""}}]},
        {"tool_calls": [{"index": 0, "function": {"arguments": '{"city":"ech'}}]},
        {"tool_calls": [{"index": 0, "function": {"arguments": 'o","days":3}'}}]},
        {},
    ]


def png(width: int, height: int) -> bytes:
    return b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR" + struct.pack(">II", width, height) + b"\x08\x02\x00\x00\x00"


def gif(width: int, height: int) -> bytes:
    return b"GIF89a" + struct.pack("<HH", width, height) + b"\x00\x00\x00"


def jpeg(width: int, height: int, marker: int = 0xC0) -> bytes:
    tables = b"\xff\xe0\x00\x10JFIF\x00" + b"\x00" * 9 + b"\xff\xc4\x00\x04\x00\x00"
    return (
        b"\xff\xd8"
        + tables
        + bytes([0xFF, marker, 0, 17, 8])
        + struct.pack(">HH", height, width)
        + b"\x03"
        + b"\x00" * 9
    )


def riff(kind: bytes, data: bytes) -> bytes:
    return b"RIFF" + struct.pack("<I", len(data) + 12) + b"WEBP" + kind + struct.pack("<I", len(data)) + data


def webp_lossy(width: int, height: int) -> bytes:
    return riff(b"VP8 ", b"\x00\x00\x00\x9d\x01\x2a" + struct.pack("<HH", width, height))


def webp_lossless(width: int, height: int) -> bytes:
    return riff(b"VP8L", b"\x2f" + struct.pack("<I", (width - 1) | (height - 1) << 14))


def webp_extended(width: int, height: int) -> bytes:
    return riff(b"VP8X", b"\x00" * 4 + (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little"))


def uri(data: bytes, kind: str = "image/png") -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"


IMAGES: dict[str, tuple[str, str]] = {
    "PNG": (uri(png(640, 480)), "[image/png, 640 x 480 pixels]"),
    "GIF": (uri(gif(3, 258), "image/gif"), "[image/gif, 3 x 258 pixels]"),
    "JPEG": (uri(jpeg(1920, 1080), "image/jpeg"), "[image/jpeg, 1920 x 1080 pixels]"),
    "JPEG, progressive": (uri(jpeg(7, 9, 0xC2), "image/jpeg"), "[image/jpeg, 7 x 9 pixels]"),
    "WebP, lossy": (uri(webp_lossy(300, 200), "image/webp"), "[image/webp, 300 x 200 pixels]"),
    "WebP, lossless": (uri(webp_lossless(5000, 4), "image/webp"), "[image/webp, 5000 x 4 pixels]"),
    "WebP, extended": (uri(webp_extended(70000, 2), "image/webp"), "[image/webp, 70000 x 2 pixels]"),
    "a PNG that says JPEG": (uri(png(1, 2), "image/jpeg"), "[image/png, 1 x 2 pixels]"),
    "an unknown type": (uri(b"hello", "image/x"), "[image/x]"),
    "PNG cut before its size": (uri(png(640, 480)[:18]), "[image/png]"),
    "JPEG cut before its size": (uri(jpeg(7, 9)[:26], "image/jpeg"), "[image/jpeg]"),
    "GIF cut before its size": (uri(gif(3, 4)[:7], "image/gif"), "[image/gif]"),
    "text": ("data:text/plain,hello%20you", "[text/plain]"),
    "upper case": (uri(png(1, 2)).replace("data:", "DATA:").replace("base64", "BASE64"), "[image/png, 1 x 2 pixels]"),
    "parameters": (uri(png(1, 2), "image/png;charset=x"), "[image/png, 1 x 2 pixels]"),
    "no padding": (uri(png(1, 2) + b"x").rstrip("="), "[image/png, 1 x 2 pixels]"),
}


@pytest.mark.parametrize("url, expected", IMAGES.values(), ids=IMAGES)
def test_images(url: str, expected: str):
    assert said(body_of([{"type": "image_url", "image_url": {"url": url}}])) == (expected, "stop")
    assert said(body_of([{"type": "image_url", "image_url": url}])) == (expected, "stop")


@pytest.mark.parametrize(
    "url, code",
    [
        ("data:image/png", "invalid_image_url"),
        ("data:image/png;base64", "invalid_image_url"),
        ("data:image/png;base64,", "invalid_base64"),
        ("data:image/png;base64,!!!!", "invalid_base64"),
        ("data:image/png;base64,A", "invalid_base64"),
    ],
)
def test_broken_images(url: str, code: str):
    with pytest.raises(BadRequest) as caught:
        reply_to(body_of([{"type": "image_url", "image_url": {"url": url}}]))
    assert (caught.value.param, caught.value.code) == ("messages", code)


@given(
    st.binary(max_size=60),
    st.sampled_from([b"", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff\xe0", b"GIF89a", b"RIFFxxxxWEBPVP8X"]),
)
def test_no_bytes_of_an_image_break_it(data: bytes, head: bytes):
    size = media.pixels(media.Inline("image/png", base64.b64encode(head + data).decode()))
    assert size is None or min(size) > 0


def test_nothing_is_fetched():
    assert not echo.must_inline("https://example.com/a.png", Upstream("echo", "echo"))


def waits(steps: list[ReplyStep]) -> list[float]:
    return [step.delay for step in steps]


SLOW = {**body_of("a b"), "stream": True}
DELAYS: dict[str, tuple[str, Json, list[float]]] = {
    "echo": ("echo", {}, [0.0, 0.0, 0.02, 0.02, 0.02, 0.0]),
    "the delay setting": ("echo", {"delay": 1}, [0.0, 0.0, 1.0, 1.0, 1.0, 0.0]),
    "echo-slow": ("echo-slow", {}, [5.0, 0.0, 0.5, 0.5, 0.5, 0.0]),
    "echo-slow-3": ("echo-slow-3", {"delay": 1}, [3.0, 0.0, 0.3, 0.3, 0.3, 0.0]),
    "echo-slow-0.5": ("echo-slow-0.5", {}, [0.5, 0.0, 0.05, 0.05, 0.05, 0.0]),
    "echo-silent": ("echo-silent", {}, [scenarios.NEVER, 0.0, 0.02, 0.02, 0.02, 0.0]),
    "echo-stall": ("echo-stall", {}, [0.0, 0.0, 0.02, scenarios.NEVER]),
    "echo-cut": ("echo-cut", {}, [0.0, 0.0, 0.02]),
    "echo-error": ("echo-error", {}, [0.0, 0.0, 0.02, 0.02]),
}


@pytest.mark.parametrize("model, options, expected", DELAYS.values(), ids=DELAYS)
def test_delays(model: str, options: Json, expected: list[float]):
    assert waits(steps_of(SLOW, model, **options)) == pytest.approx(expected)


WHOLE_DELAYS = [
    ("echo", [0.0, 0.04]),
    ("echo-slow-2", [2.0, 0.4]),
    ("echo-silent", [scenarios.NEVER, 0.04]),
    ("echo-stall", [0.0, scenarios.NEVER]),
]


@pytest.mark.parametrize("model, expected", WHOLE_DELAYS, ids=[model for model, _ in WHOLE_DELAYS])
def test_delays_of_a_whole_answer(model: str, expected: list[float]):
    assert waits(steps_of(body_of("a b"), model)) == pytest.approx(expected)


@pytest.mark.parametrize("model, cut", [("echo-cut", True), ("echo-end", False)])
def test_streams_that_break_off(model: str, cut: bool):
    _, reply = reply_to(SLOW, model)
    assert (reply.status, reply.cut) == (200, cut)
    with pytest.raises(UpstreamTruncated):
        chunks_of(body_of("a b"), model)
    [_, word] = Decoder().feed(b"".join(step.data for step in reply.steps))
    assert word.data["choices"][0]["delta"] == {"content": "a"}


@pytest.mark.parametrize("model", ["echo-cut", "echo-end"])
def test_whole_answers_that_break_off(model: str):
    with pytest.raises(json.JSONDecodeError):
        whole_of(body_of("a b"), model)


@pytest.mark.parametrize("ask", [chunks_of, whole_of], ids=["streamed", "whole"])
def test_an_error_in_the_answer(ask: Any):
    with pytest.raises(Failure, match="This is the error that echo-error always stops with") as caught:
        ask(body_of("a b"), "echo-error")
    assert (caught.value.status, caught.value.code) == (502, "upstream_error")


STATUSES = {
    400: (400, "invalid_request_error", None),
    401: (401, "authentication_error", "authentication_error"),
    402: (503, "server_error", "upstream_quota_exhausted"),
    403: (403, "invalid_request_error", "permission_denied"),
    404: (404, "invalid_request_error", "model_not_found"),
    408: (408, "invalid_request_error", "request_timeout"),
    409: (409, "invalid_request_error", "conflict"),
    413: (413, "invalid_request_error", "request_too_large"),
    429: (429, "rate_limit_error", "rate_limit_exceeded"),
    500: (500, "server_error", "internal_error"),
    502: (502, "server_error", "upstream_error"),
    503: (503, "server_error", "overloaded"),
    504: (504, "server_error", "upstream_timeout"),
    529: (503, "server_error", "overloaded"),
}


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("status", STATUSES)
def test_statuses(status: int, streamed: bool):
    call, reply = reply_to(body_of(stream=streamed), f"echo-{status}")
    retry = {"Retry-After": "1"} if status in (429, 503) else {}
    assert (reply.status, reply.headers, call.stream) == (
        status,
        {"Content-Type": "application/json", **retry},
        streamed,
    )
    failure = echo.parse_error(reply.status, b"".join(step.data for step in reply.steps))
    assert (failure.status, failure.type, failure.code) == STATUSES[status]
    assert failure.message == f"This is the error that echo-{status} always answers with."


@pytest.mark.parametrize("model", ["echo-200", "echo-418", "echo-0", "echo-999999"])
def test_statuses_that_do_not_exist(model: str):
    with pytest.raises(BadRequest) as caught:
        reply_to(body_of(), model)
    assert caught.value.param == "model"
    assert caught.value.message == (
        f"{model} does not exist: the statuses are 400, 401, 402, 403, 404, 408, 409, 413, 429, 500, 502, 503, 504, 529."
    )


@pytest.mark.parametrize(
    "model", ["echo-nope", "echoes", "gpt-4o", "", "echo-", "echo-slow-", "Echo", "echo-slow-1e9", "echo-" + "9" * 999]
)
def test_names_that_do_not_exist(model: str):
    with pytest.raises(ModelNotFound) as caught:
        reply_to(body_of(), model)
    assert (caught.value.status, caught.value.code, caught.value.param) == (404, "model_not_found", "model")
    assert caught.value.message == (
        f"The model {model[:200]!r} does not exist. The built-in models are echo, echo-slow, echo-silent, echo-stall, "
        "echo-cut, echo-end, echo-error, echo-length, echo-filter and echo-<status>, such as echo-429."
    )


def test_every_scene_is_documented_here():
    assert set(scenarios.SCENARIOS) == {
        "echo", "echo-slow", "echo-silent", "echo-stall", "echo-cut", "echo-end", "echo-error", "echo-length", "echo-filter",
    }  # fmt: skip
    assert set(scenarios.FAILURES) == set(STATUSES)


def test_the_answer_to_the_same_question_is_the_same():
    assert [step.data for step in steps_of(SLOW)] == [step.data for step in steps_of(SLOW)]


BY_NAME = {
    "type": "function",
    "function": {"name": "get_weather", "parameters": {"properties": {"city": {"type": "string"}}}},
}
OTHER = {"type": "custom", "custom": {"name": "shell"}}
CALLED_BY_NAME = [{"type": "function", "function": {"name": "get_weather", "arguments": '{"city":"echo"}'}}]


@pytest.mark.parametrize(
    ("text", "choice", "calls"),
    [
        ("Please call get_weather for Paris.", None, CALLED_BY_NAME),
        ("Please call get_weather for Paris.", "auto", CALLED_BY_NAME),
        ("USE THE TOOL `get_weather`!", "auto", CALLED_BY_NAME),
        ("请调用 get_weather", "auto", CALLED_BY_NAME),
        ("请使用get_weather", "auto", CALLED_BY_NAME),
        ("call nobody, then call shell", "auto", [{"type": "custom", "custom": {"name": "shell", "input": "echo"}}]),
        (
            "call get_weather",
            {"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": [BY_NAME]}},
            CALLED_BY_NAME,
        ),
        ("call get_weather", {"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": [OTHER]}}, []),
        ("call get_weather", "none", []),
        ("What does get_weather do?", "auto", []),
        ("call get_weather_of_tomorrow", "auto", []),
        ("recall get_weather", "auto", []),
    ],
)
def test_a_tool_is_called_when_the_user_asks_for_it_by_name(text: str, choice: Any, calls: list[Json]):
    tools = [BY_NAME, OTHER]
    more = {} if choice is None else {"tool_choice": choice}
    assert called(body_of(text, tools=tools, **more)) == calls


def test_an_agents_loop_over_echo_ends():
    """After the tool's result the answer is words."""
    first = body_of("call get_weather", tools=[BY_NAME])
    [call] = whole_of(first)["choices"][0]["message"]["tool_calls"]
    messages = [
        *first["messages"],
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": call["id"], "content": "sunny"},
    ]
    assert said(body_of(messages=messages, tools=[BY_NAME])) == ("call get_weather", "stop")


def test_an_answer_has_a_bound():
    limit = 2**20
    assert said(body_of("x" * limit))[0] == "x" * limit
    for body in (
        body_of("x" * (limit + 1)),
        body_of("x" * (limit // 128 + 1), n=128),
        body_of("a " * 2**18),
        body_of("a " * 2049, n=128),
        body_of("x" * (limit + 1), response_format={"type": "json_object"}),
    ):
        with pytest.raises(BadRequest) as caught:
            reply_to(body)
        assert (caught.value.param, caught.value.code) == ("messages", "invalid_value")
        assert caught.value.message == (
            "echo's answer would be too long: it has at most 1048576 characters and 262144 words, those of all choices (n) "
            "together. Send a shorter message, or max_completion_tokens."
        )
    assert said(body_of("a " * 2**20, max_completion_tokens=2)) == ("a a", "length")


@pytest.mark.parametrize(
    "text", ["", " ", "a", "a ", " a", "a\n b\t", "你 好", "ab " * 50_000, "a" * 200_000, " " * 70_000]
)
def test_words_are_counted_as_they_are_said(text: str):
    assert echo_chat.count_words(text) == len(echo_chat._WORDS.findall(text))
