"""The bridge from chat completions to /v1/responses: whole bodies in, whole bodies out; streams cut anywhere."""

import copy
import json
from collections.abc import Callable
from typing import Any

import pytest
import replay
from cuts import CUTS
from model_table import MODELS
from openai import BadRequestError, OpenAI
from process import Process, config
from scripted import Upstream as Scripted
from scripted import answer, stream
from translators import translator_of

from gateway.reasoning_cache import ReasoningCache
from providers import openai
from providers.chunks import collect
from providers.contract import Call, Json, Upstream
from providers.errors import (
    BadRequest,
    Failure,
    QuotaExhausted,
    RateLimitExceeded,
    Unsupported,
    UpstreamBadOutput,
    UpstreamError,
    UpstreamTruncated,
)
from providers.hosts import HOSTS
from providers.sse import Event

HI = {"role": "user", "content": "hi"}
WEATHER = {"name": "weather", "description": "Of a city.", "parameters": {"type": "object", "properties": {}}}
TOOL = {"type": "function", "function": WEATHER}
FLAT = {"type": "function", **WEATHER, "strict": False}
ALWAYS = {"stream": True, "store": False, "include": ["reasoning.encrypted_content"]}
PNG = "data:image/png;base64,iVBORw0KGgo="
REASONING = {"id": "rs_1", "type": "reasoning", "summary": [], "encrypted_content": "gAAA…", "status": None}


def to(model: str = "gpt-6-astra", host: str = "openai", **more: Any) -> Upstream:
    return Upstream(host, model, HOSTS[host].base_url, "k", host, HOSTS[host], MODELS.of(model, host), **more)


def asked(body: Json, target: Upstream | None = None) -> Call:
    before = copy.deepcopy(body)
    call = openai.build_request(body, target or to())
    assert body == before
    return call


REQUESTS: list[tuple[str, Json, Json, tuple[str, ...]]] = [
    ("nothing but tools", {}, {}, ()),
    (
        "each message as items",
        {
            "messages": [
                {"role": "system", "content": "Be brief."},
                {"role": "developer", "content": [{"type": "text", "text": "And kind."}]},
                {
                    "role": "user",
                    "content": [
                        {"type": "text", "text": "What is this?"},
                        {"type": "image_url", "image_url": {"url": PNG, "detail": "low"}},
                        {"type": "image_url", "image_url": "https://example.com/a.png"},
                        {"type": "file", "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,AA=="}},
                        {"type": "file", "file": {"file_id": "file-1"}},
                    ],
                },
                {"role": "assistant", "content": "A dot."},
                {"role": "user", "content": "And this?"},
                {"role": "assistant", "content": None, "refusal": "No."},
                {"role": "assistant", "content": [{"type": "text", "text": "b"}, {"type": "refusal", "refusal": "c"}]},
                HI,
            ]
        },
        {
            "input": [
                {"role": "system", "content": "Be brief."},
                {"role": "developer", "content": [{"type": "input_text", "text": "And kind."}]},
                {
                    "role": "user",
                    "content": [
                        {"type": "input_text", "text": "What is this?"},
                        {"type": "input_image", "image_url": PNG, "detail": "low"},
                        {"type": "input_image", "image_url": "https://example.com/a.png", "detail": "auto"},
                        {"type": "input_file", "filename": "a.pdf", "file_data": "data:application/pdf;base64,AA=="},
                        {"type": "input_file", "file_id": "file-1"},
                    ],
                },
                {"role": "assistant", "content": [{"type": "output_text", "text": "A dot."}]},
                {"role": "user", "content": "And this?"},
                {"role": "assistant", "content": [{"type": "refusal", "refusal": "No."}]},
                {
                    "role": "assistant",
                    "content": [{"type": "output_text", "text": "b"}, {"type": "refusal", "refusal": "c"}],
                },
                {"role": "user", "content": "hi"},
            ]
        },
        (),
    ),
    (
        "calls, their reasoning and their results",
        {
            "messages": [
                HI,
                {
                    "role": "assistant",
                    "content": "Looking.",
                    "reasoning_content": "Hm.",
                    "reasoning_items": [REASONING],
                    "tool_calls": [
                        {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": '{"a":1}'}},
                        {"id": "call_2", "type": "custom", "custom": {"name": "sh", "input": "ls"}},
                        {"id": "call_3", "type": "function", "function": {"name": "weather", "arguments": ""}},
                    ],
                },
                {"role": "tool", "tool_call_id": "call_1", "content": "rain"},
                {"role": "tool", "tool_call_id": "call_2", "content": [{"type": "text", "text": "a.txt"}]},
                {"role": "tool", "tool_call_id": "call_3", "content": "sun"},
            ]
        },
        {
            "input": [
                {"role": "user", "content": "hi"},
                REASONING,
                {"role": "assistant", "content": [{"type": "output_text", "text": "Looking."}]},
                {"type": "function_call", "call_id": "call_1", "name": "weather", "arguments": '{"a":1}'},
                {"type": "custom_tool_call", "call_id": "call_2", "name": "sh", "input": "ls"},
                {"type": "function_call", "call_id": "call_3", "name": "weather", "arguments": "{}"},
                {"type": "function_call_output", "call_id": "call_1", "output": "rain"},
                {
                    "type": "custom_tool_call_output",
                    "call_id": "call_2",
                    "output": [{"type": "input_text", "text": "a.txt"}],
                },
                {"type": "function_call_output", "call_id": "call_3", "output": "sun"},
            ]
        },
        (),
    ),
    (
        "tools of every kind, flat",
        {
            "tools": [
                {"type": "function", "function": {"name": "now"}},
                {"type": "function", "function": {**WEATHER, "strict": True}},
                {"type": "function", "function": {**WEATHER, "strict": None}},
                {"type": "custom", "custom": {"name": "sh", "format": {"type": "text"}}},
                {
                    "type": "custom",
                    "custom": {
                        "name": "sql",
                        "format": {"type": "grammar", "grammar": {"syntax": "lark", "definition": "start: x"}},
                    },
                },
                {"type": "web_search"},
            ]
        },
        {
            "tools": [
                {"type": "function", "name": "now", "parameters": {"type": "object", "properties": {}}, "strict": False},
                {**FLAT, "strict": True},
                FLAT,
                {"type": "custom", "name": "sh", "format": {"type": "text"}},
                {
                    "type": "custom",
                    "name": "sql",
                    "format": {"type": "grammar", "syntax": "lark", "definition": "start: x"},
                },
                {"type": "web_search"},
            ]
        },
        (),
    ),
    ("a choice in a word", {"tool_choice": "required"}, {"tool_choice": "required"}, ()),
    (
        "a named function",
        {"tool_choice": {"type": "function", "function": {"name": "weather"}}},
        {"tool_choice": {"type": "function", "name": "weather"}},
        (),
    ),
    (
        "a named custom tool",
        {"tool_choice": {"type": "custom", "custom": {"name": "sh"}}},
        {"tool_choice": {"type": "custom", "name": "sh"}},
        (),
    ),
    (
        "allowed tools",
        {
            "tool_choice": {
                "type": "allowed_tools",
                "allowed_tools": {"mode": "auto", "tools": [TOOL, {"type": "web_search"}]},
            }
        },
        {
            "tool_choice": {
                "type": "allowed_tools",
                "mode": "auto",
                "tools": [{"type": "function", "name": "weather"}, {"type": "web_search"}],
            }
        },
        (),
    ),
    (
        "a schema and verbosity",
        {
            "response_format": {
                "type": "json_schema",
                "json_schema": {"name": "a", "schema": {"type": "object"}, "strict": True},
            },
            "verbosity": "low",
        },
        {
            "text": {
                "format": {"type": "json_schema", "name": "a", "schema": {"type": "object"}, "strict": True},
                "verbosity": "low",
            }
        },
        (),
    ),
    ("JSON", {"response_format": {"type": "json_object"}}, {"text": {"format": {"type": "json_object"}}}, ()),
    ("text", {"response_format": {"type": "text"}}, {"text": {"format": {"type": "text"}}}, ()),
    ("effort", {"reasoning_effort": "max"}, {"reasoning": {"effort": "max"}}, ()),
    ("less effort than it can", {"reasoning_effort": "none"}, {"reasoning": {"effort": "low"}}, ("reasoning_effort",)),
    ("a limit", {"max_completion_tokens": 100}, {"max_output_tokens": 100}, ()),
    ("a limit by its old name", {"max_tokens": 100}, {"max_output_tokens": 100}, ()),
    ("a limit below the least", {"max_completion_tokens": 5}, {"max_output_tokens": 16}, ("max_completion_tokens",)),
    (
        "what both take",
        {
            "metadata": {"a": "b"},
            "service_tier": "flex",
            "user": "u",
            "safety_identifier": "s",
            "prompt_cache_key": "p",
            "prompt_cache_retention": "24h",
            "parallel_tool_calls": False,
            "tomorrow": 1,
        },
        {
            "metadata": {"a": "b"},
            "service_tier": "flex",
            "user": "u",
            "safety_identifier": "s",
            "prompt_cache_key": "p",
            "prompt_cache_retention": "24h",
            "parallel_tool_calls": False,
            "tomorrow": 1,
        },
        (),
    ),
    (
        "what only tunes is dropped and named",
        {
            "seed": 1,
            "presence_penalty": 1,
            "frequency_penalty": 1,
            "logit_bias": {"1": 1},
            "prediction": {"type": "content", "content": ""},
            "web_search_options": {},
            "store": True,
            "temperature": 0.5,
            "top_p": 0.5,
            "messages": [HI | {"name": "Ann"}],
        },
        {},
        ("seed", "presence_penalty", "frequency_penalty", "logit_bias", "prediction", "web_search_options", "store",
         "temperature", "top_p", "messages.name"),
    ),
    (
        "what asks for nothing goes quietly",
        {"n": 1, "logprobs": False, "modalities": ["text"], "store": False, "stop": [], "stream": True,
         "stream_options": {"include_usage": True}, "temperature": 1},
        {},
        (),
    ),
]  # fmt: skip


@pytest.mark.parametrize(("more", "expected", "dropped"), [case[1:] for case in REQUESTS], ids=[c[0] for c in REQUESTS])
def test_a_chat_request_as_responses_takes_it(more: Json, expected: Json, dropped: tuple[str, ...]) -> None:
    call = asked({"model": "m", "messages": [HI], "tools": [TOOL]} | more)
    assert call.body == {"model": "gpt-6-astra", "input": [HI], "tools": [FLAT]} | ALWAYS | expected
    assert (call.url, call.headers) == ("https://api.openai.com/v1/responses", {"Authorization": "Bearer k"})
    assert call.stream
    assert call.dropped == dropped


@pytest.mark.parametrize(
    ("more", "param"),
    [
        ({"n": 2}, "n"),
        ({"stop": ["END"]}, "stop"),
        ({"logprobs": True}, "logprobs"),
        ({"modalities": ["text", "audio"]}, "modalities"),
        ({"audio": {"voice": "a"}}, "audio"),
        (
            {"messages": [{"role": "user", "content": [{"type": "text", "text": ""}, {"type": "input_audio"}]}]},
            "messages[0].content[1].type",
        ),
    ],
)
def test_what_would_be_misread_is_refused(more: Json, param: str) -> None:
    with pytest.raises(Unsupported) as refused:
        asked({"model": "m", "messages": [HI], "tools": [TOOL]} | more)
    assert refused.value.param == param


def test_a_summary_is_asked_for_where_the_operator_wants_one() -> None:
    body = {"model": "m", "messages": [HI], "tools": [TOOL]}
    wanted = to(options={"reasoning_summary": "auto"})
    assert asked(body, wanted).body["reasoning"] == {"summary": "auto"}
    assert asked(body | {"reasoning_effort": "low"}, wanted).body["reasoning"] == {"effort": "low", "summary": "auto"}
    assert asked(body | {"reasoning": {"summary": "concise"}}, wanted).body["reasoning"] == {"summary": "concise"}
    assert "reasoning" not in asked(body, to(options={"reasoning_summary": "auto"}, reasoning=False)).body


@pytest.mark.parametrize(
    ("model", "more", "path", "effort"),
    [
        ("gpt-5.6-terra", {}, "/v1/responses", None),
        ("gpt-5.6-terra", {"n": 2}, "/v1/chat/completions", "none"),  # which /v1/responses lacks, as the next
        ("gpt-5.6-terra", {"stop": ["."]}, "/v1/chat/completions", "none"),
        ("gpt-5.6-terra", {"n": 1, "stop": []}, "/v1/responses", None),
        ("gpt-5.4", {}, "/v1/chat/completions", None),
        ("gpt-5.6-terra", {"reasoning_effort": "none"}, "/v1/chat/completions", "none"),
        ("gpt-5.6-terra", {"reasoning_effort": "low"}, "/v1/responses", "low"),
        ("gpt-5.4", {"reasoning_effort": "max"}, "/v1/responses", "xhigh"),
        ("gpt-6-astra", {}, "/v1/responses", None),
        ("gpt-6-astra", {"tools": []}, "/v1/chat/completions", None),
        ("gpt-6-astra", {"tools": [{"type": "custom", "custom": {"name": "sh"}}]}, "/v1/chat/completions", None),
        ("gpt-5.5-pro", {"tools": []}, "/v1/responses", None),
        ("gpt-5.2", {"reasoning_effort": "low"}, "/v1/chat/completions", "low"),
        ("gpt-4o", {}, "/v1/chat/completions", None),
    ],
)
@pytest.mark.case(chat=96)
def test_which_way_a_request_goes(model: str, more: Json, path: str, effort: str | None) -> None:
    call = asked({"model": "m", "messages": [HI], "tools": [TOOL]} | more, to(model))
    assert call.url == f"https://api.openai.com{path}"
    sent = (
        call.body.get("reasoning", {}).get("effort") if path == "/v1/responses" else call.body.get("reasoning_effort")
    )
    assert sent == effort


def test_azure_has_it_too() -> None:
    target = Upstream("a", "my-gpt", "https://me.openai.azure.com/openai/v1", "k", "azure_v1", HOSTS["azure_v1"],
                      MODELS.of("gpt-6-astra", "openai"))  # fmt: skip
    call = asked({"model": "m", "messages": [HI], "tools": [TOOL]}, target)
    assert (call.url, call.headers) == ("https://me.openai.azure.com/openai/v1/responses", {"api-key": "k"})


# The way back


def frames(*events: Json) -> bytes:
    return "".join(f"event: {e['type']}\ndata: {json.dumps(e, ensure_ascii=False)}\n\n" for e in events).encode()


def read(raw: bytes, size: int | None = None) -> list[Json]:
    call = asked({"model": "m", "messages": [HI], "tools": [TOOL]})
    return list(replay.chunks(openai, raw, size, call=call, to=to()))


def chunk(delta: Json, finish: str | None = None) -> Json:
    return {"choices": [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}]}


USAGE = {
    "input_tokens": 10,
    "input_tokens_details": {"cached_tokens": 4, "cache_write_tokens": 2},
    "output_tokens": 7,
    "output_tokens_details": {"reasoning_tokens": 3},
    "total_tokens": 17,
}
USAGE_CHUNK = {
    "choices": [],
    "usage": {
        "prompt_tokens": 10,
        "completion_tokens": 7,
        "total_tokens": 17,
        "prompt_tokens_details": {"cached_tokens": 4, "cache_write_tokens": 2},
        "completion_tokens_details": {"reasoning_tokens": 3},
    },
}
ROLE = chunk({"role": "assistant", "content": ""})
NO_TEXT = chunk({"role": "assistant", "content": None})  # opens an answer that begins with something else
MESSAGE: Json = {
    "id": "msg_1",
    "type": "message",
    "role": "assistant",
    "content": [
        {
            "type": "output_text",
            "text": "四\u2028. ",
            "annotations": [
                {"type": "url_citation", "start_index": 0, "end_index": 1, "url": "https://a", "title": "A"},
                {"type": "file_citation", "file_id": "f", "filename": "f", "index": 0},
            ],
        },
        {"type": "refusal", "refusal": "No."},
    ],
}
CALL = {"id": "fc_1", "type": "function_call", "call_id": "call_1", "name": "weather", "arguments": '{"a":"北"}'}
SHELL = {"id": "ct_1", "type": "custom_tool_call", "call_id": "call_2", "name": "sh", "input": "ls"}
EMPTY = {"id": "fc_2", "type": "function_call", "call_id": "call_3", "name": "now", "arguments": ""}
THOUGHT: Json = REASONING | {
    "summary": [{"type": "summary_text", "text": "One."}, {"type": "summary_text", "text": "Two."}]
}
OUTPUT = [THOUGHT, {"type": "web_search_call", "id": "ws"}, MESSAGE, CALL, SHELL, EMPTY]


def response(status: str = "completed", **more: Any) -> Json:
    return {"id": "resp_1", "object": "response", "status": status, "output": [], "usage": USAGE} | more


def event(kind: str, **more: Any) -> Json:
    return {"type": f"response.{kind}", "sequence_number": 1, **more}


def added(at: int, item: Json, **blank: Any) -> Json:
    return event("output_item.added", output_index=at, item=item | blank)


def done(at: int, item: Json) -> Json:
    return event("output_item.done", output_index=at, item=item)


CREATED = event("created", response=response("in_progress", usage=None))
STREAM = frames(
    CREATED,
    event("in_progress", response=response("in_progress")),
    added(0, THOUGHT, summary=[], encrypted_content=""),
    event("reasoning_summary_part.added", output_index=0, summary_index=0, part={}),
    event("reasoning_summary_text.delta", output_index=0, summary_index=0, delta="On"),
    event("reasoning_summary_text.delta", output_index=0, summary_index=0, delta="e."),
    event("reasoning_summary_text.delta", output_index=0, summary_index=1, delta="Two."),
    event("reasoning_summary_text.done", output_index=0, summary_index=1, text="Two."),
    done(0, THOUGHT),
    added(1, OUTPUT[1]),
    event("web_search_call.completed", output_index=1),
    done(1, OUTPUT[1]),
    added(2, MESSAGE, content=[]),
    event("output_text.delta", output_index=2, content_index=0, delta="四", obfuscation="xx"),
    event("output_text.delta", output_index=2, content_index=0, delta="\u2028. "),
    event("output_text.annotation.added", output_index=2, content_index=0, annotation=MESSAGE["content"][0]["annotations"][0]),
    event("output_text.annotation.added", output_index=2, content_index=0, annotation=MESSAGE["content"][0]["annotations"][1]),
    event("output_text.done", output_index=2, content_index=0, text="四\u2028. "),
    event("refusal.delta", output_index=2, content_index=1, delta="No."),
    event("refusal.done", output_index=2, content_index=1, refusal="No."),
    done(2, MESSAGE),
    added(3, CALL, arguments=""),
    added(4, SHELL, input=""),
    event("function_call_arguments.delta", output_index=3, item_id="fc_1", delta='{"a":'),
    event("custom_tool_call_input.delta", output_index=4, item_id="ct_1", delta="ls"),
    event("function_call_arguments.delta", output_index=3, item_id="fc_1", delta='"北"}'),
    event("function_call_arguments.done", output_index=3, item_id="fc_1", arguments=CALL["arguments"]),
    done(3, CALL),
    event("custom_tool_call_input.done", output_index=4, item_id="ct_1", input="ls"),
    done(4, SHELL),
    added(5, EMPTY),
    done(5, EMPTY),
    event("completed", response=response(output=OUTPUT, service_tier="flex")),
)  # fmt: skip
CITED = {"type": "url_citation", "url_citation": {"start_index": 0, "end_index": 1, "url": "https://a", "title": "A"}}
CHUNKS = [
    NO_TEXT,
    chunk({"reasoning_content": "On"}),
    chunk({"reasoning_content": "e."}),
    chunk({"reasoning_content": "\n\nTwo."}),
    chunk({"content": "四"}),
    chunk({"content": "\u2028. "}),
    chunk({"annotations": [CITED]}),
    chunk({"refusal": "No."}),
    chunk({"tool_calls": [{"index": 0, "id": "call_1", "type": "function",
                           "function": {"name": "weather", "arguments": ""}}]}),
    chunk({"tool_calls": [{"index": 1, "id": "call_2", "type": "custom", "custom": {"name": "sh", "input": ""}}]}),
    chunk({"tool_calls": [{"index": 0, "function": {"arguments": '{"a":'}}]}),
    chunk({"tool_calls": [{"index": 1, "custom": {"input": "ls"}}]}),
    chunk({"tool_calls": [{"index": 0, "function": {"arguments": '"北"}'}}]}),
    chunk({"tool_calls": [{"index": 2, "id": "call_3", "type": "function", "function": {"name": "now", "arguments": ""}}]}),
    chunk({"tool_calls": [{"index": 2, "function": {"arguments": "{}"}}]}),
    chunk({"reasoning_items": [THOUGHT]}),
    chunk({}, "tool_calls") | {"service_tier": "flex"},
    USAGE_CHUNK | {"service_tier": "flex"},
]  # fmt: skip


@pytest.mark.parametrize("size", CUTS)
def test_a_stream(size: int | None) -> None:
    assert read(STREAM, size) == CHUNKS


def whole(body: Json) -> list[Json]:
    translator = translator_of("openai", asked({"model": "m", "messages": [HI], "tools": [TOOL]}), to())
    with pytest.raises(StopIteration) as end:
        translator.send(Event("", body))
    value: list[Json] = end.value.value
    return value


def test_a_whole_answer_is_the_sum_of_the_stream() -> None:
    assert collect(whole(response(output=OUTPUT, service_tier="flex"))) == collect(CHUNKS)


def test_items_without_deltas_are_not_lost() -> None:
    """Hosts that imitate it may only send what is done, or only the end."""
    ends = frames(CREATED, *(done(i, item) for i, item in enumerate(OUTPUT)), event("completed", response=response()))
    only = frames(CREATED, event("completed", response=response(output=OUTPUT)))
    expected = collect(CHUNKS)
    del expected["service_tier"]
    assert collect(read(ends)) == collect(read(only)) == expected


def test_items_are_known_by_id_where_the_index_is_missing_or_counts_otherwise() -> None:
    said = event("output_text.delta", output_index=0, content_index=1, delta="Hi")  # its part is the only one
    item = {"id": "msg_1", "type": "message", "content": [{"type": "output_text", "text": "Hi"}]}
    last = {"id": "msg_1", "type": "reasoning", "summary": []}  # xAI uses ids twice
    end = event("completed", response=response(output=[item, last]))
    raw = frames(CREATED, added(0, item, content=[]), said, event("output_item.done", item=item), end)
    assert read(raw) == [
        ROLE,
        chunk({"content": "Hi"}),
        chunk({"reasoning_items": [last]}),
        chunk({}, "stop"),
        USAGE_CHUNK,
    ]


@pytest.mark.parametrize(
    ("status", "details", "output", "finish"),
    [
        ("completed", None, [MESSAGE], "stop"),
        ("completed", None, [CALL], "tool_calls"),
        ("incomplete", {"reason": "max_output_tokens"}, [MESSAGE], "length"),
        ("incomplete", {"reason": "max_output_tokens"}, [CALL], "length"),
        ("incomplete", {"reason": "content_filter"}, [], "content_filter"),
        ("incomplete", None, [], "length"),
    ],
)
def test_how_an_answer_ends(status: str, details: Any, output: list[Json], finish: str) -> None:
    end = event(status, response=response(status, incomplete_details=details, output=output))
    chunks = read(frames(CREATED, end))
    assert chunks[0] == (NO_TEXT if output == [CALL] else ROLE)
    assert chunks[-2:] == [chunk({}, finish), USAGE_CHUNK]


def test_without_usage_there_is_no_usage_chunk() -> None:
    assert read(frames(event("completed", response=response(usage=None)))) == [ROLE, chunk({}, "stop")]


FAILURES: list[tuple[Json, type[Failure], str | None]] = [
    (event("failed", response=response("failed", error={"code": "server_error", "message": "x"})), UpstreamError,
     "upstream_error"),
    (event("failed", response=response("failed", error={"code": "rate_limit_exceeded", "message": "x"})), RateLimitExceeded,
     "rate_limit_exceeded"),
    (event("failed", response=response("failed", error={"code": "insufficient_quota", "message": "x"})), QuotaExhausted,
     "upstream_quota_exhausted"),
    (event("failed", response=response("failed", error={"code": "invalid_prompt", "message": "x"})), BadRequest,
     "invalid_prompt"),
    (event("failed", response=response("failed", error={"code": "image_too_large", "message": "x"})), BadRequest,
     "image_too_large"),
    (event("failed", response=response("failed", error={"code": "context_length_exceeded", "message": "x"})), BadRequest,
     "context_length_exceeded"),
    (event("cancelled", response=response("cancelled")), UpstreamError, "upstream_error"),
    ({"type": "error", "code": "server_error", "message": "x", "param": None}, UpstreamError, "upstream_error"),
    ({"type": "error", "error": {"code": "rate_limit_exceeded", "message": "x"}}, RateLimitExceeded, "rate_limit_exceeded"),
    ({"error": {"code": "rate_limit_exceeded", "message": "x"}, "type": None}, RateLimitExceeded, "rate_limit_exceeded"),
    ({"type": "response.output_text.delta", "delta": "x"}, UpstreamBadOutput, "upstream_bad_output"),
    ({"type": "response.output_item.added", "output_index": 0, "item": 7}, UpstreamBadOutput, "upstream_bad_output"),
]  # fmt: skip


@pytest.mark.parametrize(("wrong", "kind", "code"), FAILURES)
def test_failures(wrong: Json, kind: type[Failure], code: str | None) -> None:
    with pytest.raises(kind) as failed:
        read(frames(CREATED, wrong))
    assert failed.value.code == code
    if wrong.get("response"):
        assert failed.value.usage == USAGE_CHUNK["usage"]


@pytest.mark.parametrize("count", range(1, 33))
def test_a_stream_that_just_stops_is_truncated(count: int) -> None:
    events = STREAM.split(b"\n\n")[:-2]
    assert len(events) == 32
    with pytest.raises(UpstreamTruncated):
        read(b"\n\n".join(events[:count]) + b"\n\n")


def test_parameters_are_named_as_the_client_knows_them() -> None:
    for there, here in (("max_output_tokens", "max_completion_tokens"), ("reasoning.effort", "reasoning_effort"),
                        ("text.format", "response_format"), ("input", "messages"), ("tools[0]", "tools[0]")):  # fmt: skip
        body = json.dumps(
            {"error": {"message": "wrong", "type": "invalid_request_error", "param": there, "code": None}}
        )
        assert openai.parse_error(400, body.encode()).param == here


def test_reasoning_returns_with_the_tool_results() -> None:
    """What the reasoning cache kept of a stream is back in the next request, unaltered, before the calls."""
    cache = ReasoningCache()
    watcher = cache.collector("s")
    for each in CHUNKS:
        watcher.see([each])
    watcher.commit()
    calls = collect(CHUNKS)["choices"][0]["message"]["tool_calls"]
    results = [{"role": "tool", "tool_call_id": call["id"], "content": "ok"} for call in calls]
    body = {"model": "m", "messages": [HI, {"role": "assistant", "tool_calls": calls}, *results], "tools": [TOOL]}
    assert asked(cache.restore(body, "s")).body["input"][:3] == [
        HI,
        THOUGHT,
        {"type": "function_call", "call_id": "call_1", "name": "weather", "arguments": '{"a":"北"}'},
    ]
    without_tools = {name: value for name, value in cache.restore(body, "s").items() if name != "tools"}
    chat = asked(without_tools)
    assert chat.url.endswith("/chat/completions")
    assert "reasoning_items" not in chat.body["messages"][1]


@pytest.mark.parametrize("streamed", [True, False])
def test_two_turns_through_the_real_process(streamed: bool, upstream: Scripted, scripted: Callable[..., str]) -> None:
    second = frames(
        CREATED, event("completed", response=response(output=[MESSAGE | {"content": MESSAGE["content"][:1]}]))
    )
    name = scripted(
        stream(STREAM), stream(second), answer({"error": {"message": "Bad.", "param": "max_output_tokens"}}, 400)
    )
    like = "gpt-6-always" if streamed else "gpt-5.6"  # which reasons unless it is told not to
    text = config(upstream) + f"model_facts: {{{name}: {{like: {like}}}}}\n"
    text = text.replace(
        "\nmodels:", f'\n  gpt: {{host: openai, base_url: "{upstream.url}/v1", api_key: sk-canary}}\nmodels:'
    )
    with Process(text) as server, OpenAI(base_url=server.url, api_key="-", max_retries=0) as sdk:
        ask: Any = {"model": f"gpt/{name}", "tools": [TOOL], "messages": [HI]}
        if streamed:
            kept = collect([c.model_dump(exclude_unset=True) for c in sdk.chat.completions.create(**ask, stream=True)])
            message = kept["choices"][0]["message"]
            assert kept["choices"][0]["finish_reason"] == "tool_calls"
        else:
            given = sdk.chat.completions.create(**ask)
            message = given.choices[0].message.model_dump(exclude_unset=True)
            assert given.usage and given.usage.model_dump(exclude_unset=True) == USAGE_CHUNK["usage"]
        assert message == collect(CHUNKS)["choices"][0]["message"]
        poor = {"role": "assistant", "tool_calls": message["tool_calls"]}  # what most clients bring back
        results = [{"role": "tool", "tool_call_id": call["id"], "content": "ok"} for call in message["tool_calls"]]
        ask["messages"] = [HI, poor, *results]
        if streamed:
            last = collect([c.model_dump(exclude_unset=True) for c in sdk.chat.completions.create(**ask, stream=True)])
            assert last["choices"][0]["message"]["content"] == "四\u2028. "
        else:
            assert sdk.chat.completions.create(**ask).choices[0].message.content == "四\u2028. "
        with pytest.raises(BadRequestError) as refused:
            sdk.chat.completions.create(**ask)
        assert refused.value.body == {
            "message": "Bad.", "type": "invalid_request_error", "param": "max_completion_tokens", "code": None,
        }  # fmt: skip
    first, again, _ = upstream.of(name)
    assert first.path == again.path == "/v1/responses"
    assert first.json == {"model": name, "input": [HI], "tools": [FLAT]} | ALWAYS
    assert again.json["input"][:2] == [HI, THOUGHT]
    assert [item["type"] for item in again.json["input"][2:]] == [
        "function_call", "custom_tool_call", "function_call",
        "function_call_output", "custom_tool_call_output", "function_call_output",
    ]  # fmt: skip


PARTS = [
    event("output_text.delta", output_index=0, content_index=0, delta="on"),
    event("output_text.delta", output_index=0, content_index=0, delta="e 😀"),
    event("output_text.done", output_index=0, content_index=0, text="one 😀"),
    done(0, {"id": "msg_1", "type": "message", "content": [{"type": "output_text", "text": "one 😀"}]}),
]
FUNCTION = {"id": "fc_1", "type": "function_call", "call_id": "call_1", "name": "run", "arguments": '{"a":1}'}
CALLED = [
    added(1, FUNCTION, arguments=""),
    event("function_call_arguments.delta", output_index=1, delta='{"a"'),
    event("function_call_arguments.delta", output_index=1, delta=":1}"),
    event("function_call_arguments.done", output_index=1, arguments='{"a":1}'),
    done(1, FUNCTION),
]
END = event("completed", response=response())


@pytest.mark.parametrize("repeats", [(0, 0), (0, 1), (1, 0)], ids=["told twice", "only the item", "only the part"])
@pytest.mark.parametrize(("events", "deltas"), [(PARTS, (0, 1)), (CALLED, (1, 2))], ids=["text", "arguments"])
def test_deltas_that_do_not_add_up_have_lost_a_piece(
    events: list[Json], deltas: tuple[int, ...], repeats: tuple[int, int]
) -> None:
    """Each piece is told twice. Where one was lost, the rest may be another valid text, or another command."""
    kept = [each for k, each in zip((-2, -1), events[-2:], strict=True) if not repeats[k + 2]]
    whole = [*events[:-2], *kept]
    read(frames(CREATED, *whole, END))
    for lost in deltas:
        with pytest.raises(UpstreamBadOutput, match="do not add up"):
            read(frames(CREATED, *whole[:lost], *whole[lost + 1 :], END))


def test_an_emoji_cut_in_two_adds_up() -> None:
    halves = [event("output_text.delta", output_index=0, content_index=0, delta=half) for half in ("\ud83d", "\ude00")]
    ends = event("output_text.done", output_index=0, content_index=0, text="😀")
    raw = b"".join(b"data: " + json.dumps(each).encode() + b"\n\n" for each in (*halves, ends, END))
    assert read(raw)[1:3] == [chunk({"content": "\ud83d"}), chunk({"content": "\ude00"})]


def test_an_error_event_in_words() -> None:
    with pytest.raises(UpstreamError, match="out of memory"):
        read(frames(CREATED) + b"event: error\ndata: out of memory\n\n")


@pytest.mark.parametrize(
    "odd", [5, "xy", {"type": "reasoning"}, [5], [["x"]], [{"type": "message", "role": "user"}]], ids=str
)
def test_what_comes_back_as_reasoning_and_is_none_is_left_out(odd: Any) -> None:
    body = {
        "model": "m",
        "tools": [TOOL],
        "messages": [HI, {"role": "assistant", "content": "A"} | {"reasoning_items": odd}],
    }
    said = {"role": "assistant", "content": [{"type": "output_text", "text": "A"}]}
    assert asked(body).body["input"] == [HI, said]
    if isinstance(odd, list):
        body["messages"][1]["reasoning_items"] = [*odd, REASONING]
        assert asked(body).body["input"] == [HI, REASONING, said]


def test_a_phase_that_is_no_text_is_left_out() -> None:
    order = [{"type": "text", "start": 0, "end": 1, "phase": {"a": 1}}]
    body = {
        "model": "m",
        "tools": [TOOL],
        "messages": [HI, {"role": "assistant", "content": "A", "output_order": order}],
    }
    said = {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "A"}]}
    assert asked(body).body["input"] == [HI, said]


UNSENT = {
    "deltas": CALLED[1:3],
    "done": CALLED[3:4],
    "both": CALLED[1:4],
    "of another item": [event("function_call_arguments.delta", output_index=1, item_id="fc_2", delta="{}")],
    "a custom tool": [event("custom_tool_call_input.delta", output_index=1, item_id="ctc_1", delta="x")],
}


@pytest.mark.parametrize("events", UNSENT.values(), ids=UNSENT)
def test_arguments_of_a_call_that_never_came_are_an_error(events: list[Json]) -> None:
    """A client would take the rest for the whole answer."""
    with pytest.raises(UpstreamBadOutput, match="arguments of a tool call"):
        read(frames(CREATED, *events, END))
    other = {**FUNCTION, "id": "fc_0", "call_id": "call_0"}
    with pytest.raises(UpstreamBadOutput, match="arguments of a tool call"):
        read(frames(CREATED, done(0, other), *events, END))


@pytest.mark.parametrize(
    "end",
    [
        [CALLED[4], END],
        [event("output_item.done", item=FUNCTION), END],
        [event("completed", response=response(output=[MESSAGE, FUNCTION]))],
    ],
    ids=["done", "done, without its index", "only at the end"],
)
def test_arguments_that_came_before_their_call(end: list[Json]) -> None:
    known = [each | {"item_id": "fc_1"} for each in CALLED[1:4]]
    answer = collect(read(frames(CREATED, *known, *end)))["choices"][0]
    assert answer["finish_reason"] == "tool_calls"
    assert answer["message"]["tool_calls"] == [
        {"id": "call_1", "type": "function", "function": {"name": "run", "arguments": '{"a":1}'}}
    ]
