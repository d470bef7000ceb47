"""Answers in the form of the Responses API, by the number of the specification's acceptance cases."""

import json
from pathlib import Path
from typing import Any

import pytest
import replay
from cuts import FEW
from gemini_run import run as gemini_chunks
from openai import APIError
from openai.types.responses import Response
from replay import STREAMS
from responses_in import ENVELOPE, UNIQUE, accumulated, checked, events, failing, request, sdk, stream, whole
from translators import made_call

from dialects import seal
from dialects.contract import ClientRequest, end_of
from dialects.responses import error_body, parameters, render, told_in_stream
from dialects.responses.wanted import LoweredTool
from providers import Upstream, anthropic, openai
from providers.anthropic.message_state import Way
from providers.chunks import chunk, collect, tool_call, usage_chunk
from providers.contract import Batch
from providers.errors import (
    BadRequest,
    BudgetExceeded,
    ContextLengthExceeded,
    Failure,
    Overloaded,
    QuotaExhausted,
    RateLimitExceeded,
    UpstreamAuthError,
    UpstreamBadOutput,
    UpstreamError,
    UpstreamTimeout,
    UpstreamTruncated,
)

Json = dict[str, Any]
USAGE = usage_chunk({"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7})


def text(*pieces: str) -> list[Json]:
    return [chunk({"content": piece}) for piece in pieces]


def call(index: int, ident: str, name: str, *arguments: str, **first: Any) -> list[Json]:
    opened = chunk(tool_call(index, {"name": name, "arguments": ""}, id=ident, type="function", **first))
    return [opened, *[chunk(tool_call(index, {"arguments": piece})) for piece in arguments]]


def stop(reason: str = "stop") -> Json:
    return chunk({}, reason)


def kinds(found: list[Json]) -> list[str]:
    return [event["type"].removeprefix("response.") for event in found]


def output(chunks: list[Json], asked: ClientRequest | None = None) -> list[Json]:
    """The items of an answer, which streamed, whole, and read by the SDK, are the same."""
    data = stream(chunks, asked)
    response: Json = checked(data)[-1]["response"]
    if response["status"] != "failed":
        Response.model_validate(response)
        assert accumulated(data)["output"] == response["output"]
        assert whole(collect(chunks), asked, chunks=chunks) == whole(collect(chunks), asked) == response
    return response["output"]


@pytest.mark.case(responses=37)
@pytest.mark.case(responses=38)
def test_text() -> None:
    chunks = [chunk({"role": "assistant", "content": ""}), *text("Hel", "lo"), stop(), USAGE]
    found = checked(stream(chunks))
    assert kinds(found) == [
        "created",
        "in_progress",
        "output_item.added",
        "content_part.added",
        "output_text.delta",
        "output_text.delta",
        "output_text.done",
        "content_part.done",
        "output_item.done",
        "completed",
    ]
    ident = f"msg_ms{UNIQUE}0000"
    place = {"item_id": ident, "output_index": 0, "content_index": 0}
    assert found[2]["item"] == {
        "id": ident,
        "type": "message",
        "status": "in_progress",
        "role": "assistant",
        "content": [],
    }
    assert found[3]["part"] == {"type": "output_text", "text": "", "annotations": [], "logprobs": []}
    assert found[5] == {
        "type": "response.output_text.delta",
        "sequence_number": 5,
        **place,
        "delta": "lo",
        "logprobs": [],
    }
    assert found[6] == {
        "type": "response.output_text.done",
        "sequence_number": 6,
        **place,
        "text": "Hello",
        "logprobs": [],
    }
    assert found[-1]["response"]["usage"] == {
        "input_tokens": 5,
        "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
        "output_tokens": 2,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": 7,
    }
    assert b"[DONE]" not in stream(chunks)


@pytest.mark.case(responses=38)
def test_characters_that_end_lines_for_some() -> None:
    data = stream([*text("a\u2028b\u0085c\ud83d"), stop()])
    assert "\u2028".encode() not in data and "\u0085".encode() not in data
    assert checked(data)[-1]["response"]["output"][0]["content"][0]["text"] == "a\u2028b\u0085c\ud83d"


@pytest.mark.case(responses=39)
def test_text_call_text() -> None:
    chunks = [*text("a"), *call(0, "c1", "f", "{}"), *text("b"), stop("tool_calls")]
    found = checked(stream(chunks))
    items = found[-1]["response"]["output"]
    assert [item["type"] for item in items] == ["message", "function_call", "message"]
    assert [item["id"][-4:] for item in items] == ["0000", "0001", "0002"]
    assert whole(collect(chunks), chunks=chunks)["output"] == items


@pytest.mark.case(responses=39)
def test_a_whole_answer_of_pieces_that_no_stream_can_tell() -> None:
    chunks = [*call(0, "c1", "f", '{"a"'), *text("b"), chunk(tool_call(0, {"arguments": ":1}"})), stop("tool_calls")]
    assert [item["type"] for item in whole(collect(chunks), chunks=chunks)["output"]] == ["message", "function_call"]


@pytest.mark.parametrize("first", ['{"a":', '{"a":"}\\', '{"a":"\\"', "["])
@pytest.mark.case(responses=40)
def test_calls_that_interleave(first: str) -> None:
    rest = {'{"a":': "1}", '{"a":"}\\': '""}', '{"a":"\\"': '"}', "[": "1]"}[first]
    chunks = [
        *call(0, "c0", "f"),
        chunk(tool_call(0, {"arguments": first})),
        *call(1, "c1", "g"),
        chunk(tool_call(0, {"arguments": rest})),
        chunk(tool_call(1, {"arguments": "{}"})),
        stop("tool_calls"),
    ]
    assert [(item["call_id"], item["arguments"]) for item in output(chunks)] == [("c0", first + rest), ("c1", "{}")]


@pytest.mark.case(responses=41)
def test_a_piece_for_a_call_that_is_over() -> None:
    chunks = [*call(0, "c0", "f", "{}"), *text("x"), chunk(tool_call(0, {"arguments": "{"})), *text("y"), stop()]
    found = checked(stream(chunks))
    assert kinds(found)[-2:] == ["error", "failed"]
    assert found[-1]["response"]["error"]["code"] == "upstream_bad_output"
    assert [item.get("status") for item in found[-1]["response"]["output"]] == ["completed", "incomplete"]


@pytest.mark.parametrize("size", [1, 2, 99])
@pytest.mark.case(responses=41)
def test_what_came_before_in_the_same_read_is_told(size: int) -> None:
    chunks = [*call(0, "c0", "f", "{}"), *text("x"), chunk(tool_call(0, {"arguments": "{"}))]
    assert len(checked(stream(chunks, size=size))) == len(checked(stream(chunks)))


@pytest.mark.case(responses=42)
def test_no_arguments_and_one_piece() -> None:
    found = checked(stream([*call(0, "c0", "f"), stop("tool_calls")]))
    assert found[-1]["response"]["output"][0]["arguments"] == "{}"
    found = checked(stream([*call(0, "c0", "f", "{}"), stop("tool_calls")]))
    assert (
        kinds(found).count("function_call_arguments.delta") == kinds(found).count("function_call_arguments.done") == 1
    )


@pytest.mark.case(responses=42)
def test_arguments_that_a_translator_adds_at_the_end() -> None:
    chunks = [*call(0, "c0", "f"), *text("x"), chunk(tool_call(0, {"arguments": "{}"})), stop("tool_calls")]
    items = checked(stream(chunks))[-1]["response"]["output"]
    assert [item.get("arguments") for item in items] == ["{}", None]


THOUGHT = [chunk({"reasoning_content": "A"}), chunk({"reasoning_content": "B"})]


@pytest.mark.case(responses=43)
def test_reasoning_shown() -> None:
    chunks = [*THOUGHT, *text("x"), stop()]
    thought, message = output(chunks, request(summary=True))
    assert thought == {
        "id": f"rs_ms{UNIQUE}0000",
        "type": "reasoning",
        "summary": [{"type": "summary_text", "text": "AB"}],
    }
    assert message["id"] == f"msg_ms{UNIQUE}0001"
    assert [item["type"] for item in output(chunks)] == ["message"]


@pytest.mark.parametrize("summary", [True, False])
@pytest.mark.parametrize("late", [True, False])
@pytest.mark.case(responses=44)
def test_what_the_upstream_wants_back(summary: bool, late: bool) -> None:
    block = {"type": "thinking", "thinking": "AB", "signature": "S"}
    blocks = [chunk({"thinking_blocks": [block]})]
    chunks = [*THOUGHT, *([] if late else blocks), *text("x"), *(blocks if late else []), stop()]
    found = checked(stream(chunks, request(summary=summary, carried=True)))
    items = found[-1]["response"]["output"]
    assert [item["type"] for item in items] == ["reasoning", "message", *(["reasoning"] if late else [])]
    sealed = [seal.opened(item["encrypted_content"]) for item in items if item["type"] == "reasoning"]
    assert all(item["encrypted_content"].startswith("msr1:") for item in items if item["type"] == "reasoning")
    by = {"by": "claude", "model": "claude-x"}
    assert sealed == ([{**by, "text": "AB"}, {**by, "blocks": [block]}] if late else [{**by, "blocks": [block]}])
    assert items[0]["summary"] == ([{"type": "summary_text", "text": "AB"}] if summary else [])


@pytest.mark.case(responses=46)
def test_a_signature_of_a_call() -> None:
    signed = {"google": {"thought_signature": "S"}}
    chunks = [*call(0, "c0", "f", "{}", extra_content=signed), stop("tool_calls")]
    thought, called = output(chunks, request(carried=True))
    assert thought["summary"] == [] and called["type"] == "function_call"
    opened = seal.opened(thought["encrypted_content"])
    assert opened == {"by": "claude", "model": "claude-x", "extra": {"c0": signed}}


@pytest.mark.case(responses=48)
def test_hidden_reasoning() -> None:
    chunks = [*THOUGHT, chunk({"thinking_blocks": [{"type": "thinking"}]}), *text("x"), stop()]
    found = checked(stream(chunks, request(summary=True, carried=True), reasoning=False))
    assert [item["type"] for item in found[-1]["response"]["output"]] == ["message"]


@pytest.mark.parametrize("finish", ["stop", "content_filter"])
@pytest.mark.case(responses=49)
def test_refusal(finish: str) -> None:
    chunks = [chunk({"refusal": "No"}), stop(finish)]
    data = stream(chunks)
    assert output(chunks)[0]["content"] == [{"type": "refusal", "refusal": "No"}]
    assert events(data)[-1]["type"] == "response.completed"


@pytest.mark.parametrize(("finish", "reason"), [("length", "max_output_tokens"), ("content_filter", "content_filter")])
@pytest.mark.case(responses=49)
@pytest.mark.case(responses=50)
def test_incomplete(finish: str, reason: str) -> None:
    chunks = [*text("x"), stop(finish)]
    items = output(chunks)
    last = events(stream(chunks))[-1]
    assert items[0]["status"] == "incomplete" and last["type"] == "response.incomplete"
    assert last["response"]["incomplete_details"] == {"reason": reason} and last["response"]["completed_at"] is None


@pytest.mark.case(responses=50)
def test_cut_within_a_call() -> None:
    [item] = output([*call(0, "c0", "f", '{"a":'), stop("length")])
    assert (item["status"], item["arguments"]) == ("incomplete", '{"a":')


CITED = {"type": "url_citation", "url_citation": {"url": "https://a.example", "title": "T"}}
FLAT = {"type": "url_citation", "start_index": 2, "end_index": 2, "url": "https://a.example", "title": "T"}


@pytest.mark.case(responses=51)
def test_citations() -> None:
    chunks = [*text("ab"), chunk({"annotations": [CITED]}), stop()]
    assert output(chunks)[0]["content"][0]["annotations"] == [FLAT]
    named = kinds(checked(stream(chunks)))
    assert named.index("output_text.annotation.added") < named.index("output_text.done")


@pytest.mark.case(responses=51)
def test_citations_that_come_late_or_early() -> None:
    late = [*text("ab"), *call(0, "c", "f", "{}"), chunk({"annotations": [CITED]}), stop("tool_calls")]
    assert checked(stream(late))[-1]["response"]["output"][0]["content"][0]["annotations"] == [FLAT]
    early = [chunk({"annotations": [CITED]}), *text("ab"), stop()]
    assert output(early)[0]["content"][0]["annotations"] == [FLAT]


@pytest.mark.case(responses=52)
def test_image_and_logprobs() -> None:
    url = {"type": "image_url", "image_url": {"url": "data:image/png;base64,QUJD"}, "index": 0}
    [item] = output([chunk({"images": [url]}), stop()])
    ident = f"ig_ms{UNIQUE}0000"
    assert item == {"id": ident, "type": "image_generation_call", "status": "completed", "result": "QUJD"}
    top = {"token": "a", "logprob": -0.1, "bytes": None}
    piece = chunk({"content": "a"})
    piece["choices"][0]["logprobs"] = {"content": [{**top, "top_logprobs": [top]}]}
    full = {"token": "a", "logprob": -0.1, "bytes": [97]}
    [item] = output([piece, stop()], request(logprobs=True))
    assert item["content"][0]["logprobs"] == [{**full, "top_logprobs": [full]}]
    [item] = output([piece, stop()])
    assert item["content"][0]["logprobs"] == []


@pytest.mark.case(responses=53)
def test_nothing() -> None:
    [item] = output([stop()])
    assert item["content"] == [{"type": "output_text", "text": "", "annotations": [], "logprobs": []}]


@pytest.mark.case(responses=54)
def test_usage_and_tier() -> None:
    response = checked(stream([*text("x"), stop()]))[-1]["response"]
    assert response["usage"] is None and response["service_tier"] == "default"
    tiered = [{**chunk({"content": "x"}), "service_tier": "flex"}, stop()]
    assert checked(stream(tiered))[-1]["response"]["service_tier"] == "flex"


@pytest.mark.case(responses=56)
def test_the_object() -> None:
    asked: Json = {
        "model": "m",
        "input": "x",
        "tools": [{"type": "function", "name": "f"}, {"type": "custom", "name": "g"}],
        "text": {"format": {"type": "json_schema", "name": "n", "schema": {}}, "verbosity": None},
        "reasoning": {"effort": "low", "summary": "auto"},
        "metadata": {"a": "b"},
        "temperature": 0,
        "truncation": "auto",
    }
    wanted = request(body=asked, previous="resp_1", stored=True)
    found = checked(stream([*text("x"), stop(), USAGE], wanted))
    first, last = found[0]["response"], found[-1]["response"]
    assert first == {
        "id": f"resp_ms{UNIQUE}",
        "object": "response",
        "created_at": 1700000000,
        "completed_at": None,
        "status": "in_progress",
        "error": None,
        "incomplete_details": None,
        "model": "m",
        "output": [],
        "previous_response_id": "resp_1",
        "background": False,
        "store": True,
        "instructions": None,
        "max_output_tokens": None,
        "max_tool_calls": None,
        "prompt_cache_key": None,
        "safety_identifier": None,
        "user": None,
        "parallel_tool_calls": True,
        "temperature": 0,
        "top_p": 1.0,
        "presence_penalty": 0.0,
        "frequency_penalty": 0.0,
        "top_logprobs": 0,
        "tool_choice": "auto",
        "metadata": {"a": "b"},
        "reasoning": {"effort": "low", "summary": "auto"},
        "service_tier": "auto",
        "text": {
            "format": {"type": "json_schema", "name": "n", "description": None, "schema": {}, "strict": False},
            "verbosity": "medium",
        },
        "tools": [
            {"type": "function", "name": "f", "description": None, "parameters": None, "strict": False},
            {"type": "custom", "name": "g"},
        ],
        "truncation": "disabled",
        "usage": None,
    }
    assert last.keys() == first.keys() and last["completed_at"] == 1700000000


@pytest.mark.case(responses=71)
def test_an_answer_too_large_to_keep_says_so() -> None:
    chunks = [*text("x" * 2**22), stop()]
    assert checked(stream(chunks, request(stored=True)))[-1]["response"]["store"] is False


# Tools that were sent as functions.

PATCH = {"p": LoweredTool("custom", "apply_patch")}


@pytest.mark.case(responses=23)
def test_a_custom_call() -> None:
    patch = "*** Begin Patch\n*** End Patch\n"
    chunks = [*call(0, "c0", "p", '{"input":"*** Begin Patch\\n', '*** End Patch\\n"}'), stop("tool_calls")]
    [item] = output(chunks, request(PATCH))
    ident = f"ctc_ms{UNIQUE}0000"
    head = {"id": ident, "type": "custom_tool_call", "status": "completed", "call_id": "c0", "name": "apply_patch"}
    assert item == {**head, "input": patch}
    assert kinds(checked(stream(chunks, request(PATCH))))[2:-1] == [
        "output_item.added",
        "custom_tool_call_input.delta",
        "custom_tool_call_input.delta",
        "custom_tool_call_input.done",
        "output_item.done",
    ]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ('{"patch":"X"}', "X"),
        ('"X"', "X"),
        ("X", "X"),
        ("{}", ""),
        ("", ""),
        ('{"a":"1","b":"2"}', '{"a":"1","b":"2"}'),
        ('{"input":"X","b":"2"}', "X"),
    ],
)
@pytest.mark.case(responses=24)
def test_arguments_of_a_custom_call(arguments: str, expected: str) -> None:
    [item] = output([*call(0, "c0", "p", arguments), stop("tool_calls")], request(PATCH))
    assert item["input"] == expected


@pytest.mark.parametrize("cut", ['{"input":"a\\n', '{"input":"a\\n\\', '{"input":"a\\n\\u00', '{"input":"a\\n"'])
def test_a_custom_call_that_was_cut(cut: str) -> None:
    [item] = output([*call(0, "c0", "p", cut), stop("length")], request(PATCH))
    assert (item["status"], item["input"]) == ("incomplete", "a\n" if not cut.endswith('n"') else item["input"])


INPUTS = ["", "plain", 'a "quoted" \\ b/c', "é 世界 😀", "\n\t\r\b\f\x01", "😀" * 3, "\\\\n", '}"{', "\ud83d"]


@pytest.mark.parametrize("ascii", [True, False])
@pytest.mark.parametrize("size", [1, 2, 5, 7, 99])
@pytest.mark.parametrize("text", INPUTS, ids=ascii)
@pytest.mark.case(responses=23)
def test_the_input_of_a_custom_call_comes_piece_by_piece(text: str, size: int, ascii: bool) -> None:
    arguments = json.dumps({"input": text}, ensure_ascii=ascii)
    pieces = [arguments[at : at + size] for at in range(0, len(arguments), size)]
    chunks = [*call(0, "c0", "p", *pieces), stop("tool_calls")]
    found = checked(stream(chunks, request(PATCH)))
    deltas = [event["delta"] for event in found if event["type"] == "response.custom_tool_call_input.delta"]
    assert "".join(deltas) == text == found[-1]["response"]["output"][0]["input"]
    assert len(deltas) >= min(
        len(text), len(arguments) // (12 + size)
    )  # an escape of twelve characters is told at once


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ('{"input":"a\nb"}', "a\nb"),  # a bare line end
        ('{"input":"a\\qb"}', "a\\qb"),  # an unknown escape
        ('{"input":"a\\uZZb"}', "a\\uZZb"),
        ('{"input":"X"', "X"),
        (' { "input" : "X" , "more": [1] } ', "X"),
        ('{"input":"\\ud83dx"}', "\ud83dx"),
    ],
)
@pytest.mark.case(responses=24)
def test_input_that_is_nearly_json(arguments: str, expected: str) -> None:
    [item] = checked(stream([*call(0, "c0", "p", *arguments), stop("tool_calls")], request(PATCH)))[-1]["response"][
        "output"
    ]
    assert (item["status"], item["input"]) == ("completed", expected)


@pytest.mark.parametrize("arguments", ['{"input":"print("hi")"}', '{"input":"a","input":"b"}', '{"input":"a'])
@pytest.mark.case(responses=24)
def test_input_that_may_be_another(arguments: str) -> None:
    """Half of a command may be a command."""
    found = checked(stream([*call(0, "c0", "p", *arguments), stop("tool_calls")], request(PATCH)))
    assert found[-1]["response"]["error"]["code"] == "upstream_bad_output"
    assert found[-1]["response"]["output"][0]["status"] == "incomplete"


@pytest.mark.case(responses=26)
def test_namespace() -> None:
    tools = {"mcp__db__query": LoweredTool("function", "query", "mcp__db")}
    [item] = output([*call(0, "c0", "mcp__db__query", "{}"), stop("tool_calls")], request(tools))
    assert (item["name"], item["namespace"]) == ("query", "mcp__db")


@pytest.mark.parametrize(
    ("kind", "arguments", "expected"),
    [
        (
            "local_shell",
            {"command": ["ls"], "timeout_ms": 1000},
            {"action": {"type": "exec", "command": ["ls"], "env": {}, "timeout_ms": 1000}},
        ),
        (
            "shell",
            {"commands": ["ls"]},
            {
                "action": {"commands": ["ls"], "timeout_ms": None, "max_output_length": None},
                "environment": {"type": "local"},
            },
        ),
        (
            "apply_patch",
            {"operation": {"type": "delete_file", "path": "a"}},
            {"operation": {"type": "delete_file", "path": "a"}},
        ),
        ("tool_search", {"query": "x"}, {"execution": "client", "arguments": {"query": "x"}}),
    ],
)
@pytest.mark.case(responses=33)
@pytest.mark.case(responses=34)
@pytest.mark.case(responses=35)
def test_calls_of_built_in_tools(kind: str, arguments: Json, expected: Json) -> None:
    chunks = [*call(0, "c0", "t", json.dumps(arguments)), stop("tool_calls")]
    asked = request({"t": LoweredTool(kind, kind)})
    [item] = output(chunks, asked)
    assert item == {"id": item["id"], "type": f"{kind}_call", "status": "completed", "call_id": "c0", **expected}
    assert kinds(checked(stream(chunks, asked)))[2:-1] == ["output_item.added", "output_item.done"]


@pytest.mark.parametrize("kind", ["local_shell", "apply_patch", "tool_search"])
@pytest.mark.case(responses=34)
def test_arguments_that_do_not_fit(kind: str) -> None:
    found = checked(stream([*call(0, "c0", "t", "[1"), stop("tool_calls")], request({"t": LoweredTool(kind, kind)})))
    assert found[-1]["response"]["error"]["code"] == "upstream_bad_output"
    with pytest.raises(UpstreamBadOutput):
        whole(collect([*call(0, "c0", "t", "[1"), stop()]), request({"t": LoweredTool(kind, kind)}))


def test_a_shell_takes_what_does_not_parse_as_its_command() -> None:
    chunks = [*call(0, "c0", "t", "ls -l"), stop("tool_calls")]
    assert output(chunks, request({"t": LoweredTool("shell", "shell")}))[0]["action"]["commands"] == ["ls -l"]


# Failures.


@pytest.mark.parametrize(
    ("failure", "code"),
    [
        (ContextLengthExceeded("long"), "context_length_exceeded"),
        (QuotaExhausted("none"), "insufficient_quota"),
        (BudgetExceeded("none"), "insufficient_quota"),
        (Overloaded("busy"), "server_is_overloaded"),
        (RateLimitExceeded("slow", retry_after=7), "rate_limit_exceeded"),
        (BadRequest("bad"), "invalid_prompt"),
        (UpstreamTruncated(), "upstream_truncated"),
        (UpstreamBadOutput("odd"), "upstream_bad_output"),
        (UpstreamError("down"), "server_error"),
        (UpstreamTimeout("slow"), "upstream_timeout"),
        (UpstreamAuthError("key"), "upstream_auth_error"),
        (Failure("ours"), "server_error"),
        (Overloaded("This server is shutting down.", code="server_shutting_down"), "server_error"),
    ],
)
@pytest.mark.parametrize("begun", [True, False])
@pytest.mark.case(responses=59)
@pytest.mark.case(responses=60)
@pytest.mark.case(responses=61)
@pytest.mark.case(responses=66)
def test_failures(failure: Failure, code: str, begun: bool) -> None:
    data = failing(text("a", "b") if begun else [], failure)
    error, failed = checked(data)[-2:]
    nested = {"type": failure.type, "code": code, "message": error["message"], "param": None}
    assert error["error"] == nested and error["code"] == code
    assert failed["response"]["error"] == {"code": code, "message": error["message"]}
    assert [item["status"] for item in failed["response"]["output"]] == (["incomplete"] if begun else [])
    if code == "rate_limit_exceeded":
        assert error["message"].endswith(" Please try again in 7s.")
    with sdk(data) as client, pytest.raises(APIError):
        for _ in client.responses.create(model="m", input="x", stream=True):
            pass


@pytest.mark.case(responses=61)
def test_is_told_in_the_stream() -> None:
    assert "context_length_exceeded" in told_in_stream and parameters["max_completion_tokens"] == "max_output_tokens"


@pytest.mark.parametrize(
    ("param", "expected"),
    [
        ("messages[3].content[0]", "input"),
        ("response_format.json_schema.schema", "text.format.schema"),
        ("max_tokens", "max_output_tokens"),
        ("tools[0]", "tools[0]"),
        (None, None),
    ],
)
def test_errors_in_the_clients_words(param: str | None, expected: str | None) -> None:
    failure = BadRequest(f"Invalid value for '{param}'.", param=param)
    error = error_body(failure, "req")["error"]
    assert error.keys() == {"message", "type", "param", "code"} and error["param"] == expected
    assert "messages" not in error["message"]


MIXED = [
    *THOUGHT,
    *text("a", "b"),
    *call(0, "c0", "f", '{"a"', ":1}"),
    *call(1, "c1", "p", '{"input":"x"}'),
    *call(2, "c2", "s", '{"commands":["ls"]}'),
    stop("tool_calls"),
    USAGE,
]
TOOLS = {**PATCH, "s": LoweredTool("shell", "shell")}


@pytest.mark.parametrize("at", range(len(MIXED) + 1))
@pytest.mark.case(responses=59)
def test_a_failure_at_every_point(at: int) -> None:
    data = failing(MIXED[:at], UpstreamTruncated(), request(TOOLS, summary=True, carried=True))
    assert checked(data)[-1]["response"]["error"]["code"] == "upstream_truncated"


@pytest.mark.parametrize("at", range(len(MIXED) - 1))
def test_an_answer_without_an_end_is_never_completed(at: int) -> None:
    found = checked(stream(MIXED[:at], request(TOOLS, summary=True)))
    assert found[-1]["type"] == "response.failed"


@pytest.mark.parametrize("carried", [True, False])
@pytest.mark.parametrize("summary", [True, False])
@pytest.mark.case(responses=55)
def test_whole_is_the_streams_end(summary: bool, carried: bool) -> None:
    assert output(MIXED, request(TOOLS, summary=summary, carried=carried))


# The time in which nothing comes.


SILENCE = Batch([])


@pytest.mark.case(responses=64)
def test_the_answer_goes_on_with_another_upstream() -> None:
    begun = render(request(carried=True), ENVELOPE, False)
    data = begun.send(SILENCE)
    other = ENVELOPE._replace(provider="other", upstream_model="m2")
    renderer = render(request(carried=True), other, True, begun)
    assert renderer is begun
    data += b"".join(renderer.send(Batch([piece])) for piece in (chunk({"reasoning_content": "T"}), *text("a"), stop()))
    data += end_of(renderer)
    assert kinds(checked(bytes(data))).count("created") == 1
    carrying, _ = checked(bytes(data))[-1]["response"]["output"]
    assert seal.opened(carrying["encrypted_content"]) == {"by": "other", "model": "m2", "text": "T"}


@pytest.mark.case(responses=64)
@pytest.mark.case(responses=65)
def test_opened_and_heartbeats() -> None:
    renderer = render(request(PATCH), ENVELOPE, True)
    data = renderer.send(SILENCE) + renderer.send(SILENCE)
    assert kinds(events(data)) == ["created", "in_progress", "in_progress"]
    for piece in call(0, "c0", "p", '{"input":"x"}'):
        data += renderer.send(Batch([piece])) + renderer.send(SILENCE)
    data += renderer.send(Batch([stop()])) + end_of(renderer)
    assert renderer.response == events(data)[-1]["response"]
    assert [event["delta"] for event in events(data) if "delta" in event] == ["", "x", ""]
    assert accumulated(bytes(data))["output"][0]["input"] == "x"


# Native answers.

RAW = stream([*text("a", "b"), stop()])
FRAMES = [frame + b"\n\n" for frame in RAW.split(b"\n\n")[:-1]]


@pytest.mark.case(responses=76)
def test_native_bytes_pass() -> None:
    renderer = render(request(), ENVELOPE, True)
    assert b"".join(bytes(renderer.send(Batch([], frame))) for frame in FRAMES) + end_of(renderer) == RAW
    found = events(RAW)
    assert (renderer.begun, renderer.response) == (found[0]["response"], found[-1]["response"])


@pytest.mark.parametrize(
    ("numbered", "number"),
    [
        (b'"sequence_number":41', 42),
        (b'"sequence_number" : 41', 42),
        (b'"delta":"\\"sequence_number\\":9","sequence_number":41', 42),
        (b'"sequence_number":' + b"9" * 5000, 0),
        (b'"sequence_number":null', 0),
        (b'"x":1', 0),
    ],
    ids=["plain", "blanks", "in a text", "digits", "null", "none"],
)
@pytest.mark.case(responses=77)
def test_numbers_go_on_where_a_native_answer_breaks(numbered: bytes, number: int) -> None:
    renderer = render(request(), ENVELOPE, True)
    renderer.send(Batch([], b'data: {"type":"response.output_text.delta",' + numbered + b"}\n\n"))
    found = events(end_of(renderer, UpstreamTruncated()))
    assert [event["sequence_number"] for event in found] == [number, number + 1]


@pytest.mark.parametrize(
    "frame",
    [
        b'data: {"type":"response.created",' * 50 + b"\n\n",
        b'data: {"type":"response.created","response":[]}\n\n',
        b": x\n\n",
    ],
    ids=["no JSON", "no object", "comment"],
)
@pytest.mark.case(responses=77)
def test_what_is_no_beginning(frame: bytes) -> None:
    renderer = render(request(), ENVELOPE, True)
    renderer.send(Batch([], frame))
    assert (renderer.begun, renderer.response) == (None, None)
    renderer.send(Batch([], FRAMES[0]))
    assert renderer.begun == events(RAW)[0]["response"]


@pytest.mark.parametrize("end", ["", "\n", "\n\n", "\r\n", "\r\n\r\n"], ids=repr)
@pytest.mark.case(responses=77)
def test_an_end_that_lacks_its_blank_line(end: str) -> None:
    renderer = render(request(), ENVELOPE, True)
    said = json.dumps({"type": "response.completed", "response": {"id": "r", "output": []}})
    renderer.send(Batch([], f"event: response.completed\ndata: {said}{end}".encode()))
    assert (renderer.response, end_of(renderer, UpstreamTruncated())) == ({"id": "r", "output": []}, b"")


@pytest.mark.parametrize("kind", ["completed", "incomplete", "failed", "cancelled"])
@pytest.mark.case(responses=77)
def test_what_has_ended_is_ended_once(kind: str) -> None:
    renderer = render(request(), ENVELOPE, True)
    said = json.dumps({"type": f"response.{kind}", "response": {"id": "r", "output": []}})
    renderer.send(Batch([], b"data: 5\n\n: x\n\ndata: " + said.encode() + b"\n\ndata: [DONE]\n\n"))
    assert renderer.response == {"id": "r", "output": []}
    assert end_of(renderer, UpstreamTruncated()) == b""


@pytest.mark.parametrize("at", range(1, len(FRAMES) + 1))
@pytest.mark.case(responses=77)
def test_a_native_answer_that_breaks(at: int) -> None:
    renderer = render(request(), ENVELOPE, True)
    data = b"".join(bytes(renderer.send(Batch([], frame))) for frame in FRAMES[:at])
    data += end_of(renderer, UpstreamTruncated())
    found = events(data)
    assert [event["sequence_number"] for event in found] == list(range(len(found)))
    assert kinds(found)[-2:] == (["error", "failed"] if at < len(FRAMES) else ["output_item.done", "completed"])


# Every stream of the other tests, through the translators of their providers.


def translated(path: Path, size: int | None) -> list[Json]:
    name, raw = path.stem, path.read_bytes()
    if name.startswith("gemini_"):
        return gemini_chunks(raw, size)
    if name.startswith("claude_"):
        to = Upstream("anthropic", "claude-test", "https://api.test")
        return list(replay.chunks(anthropic, raw, size, call=made_call({}, True, Way()), to=to))
    return list(replay.chunks(openai, raw, size, call=made_call(), to=Upstream("up", "m", "https://api.test")))


@pytest.mark.parametrize("size", FEW)
@pytest.mark.parametrize(
    "path", [path for path in sorted(STREAMS.glob("*.sse")) if "_leg_" not in path.stem], ids=lambda path: path.stem
)
def test_every_stream(path: Path, size: int | None) -> None:
    try:
        chunks = translated(path, size)
    except Failure:
        return
    asked = request(summary=True, carried=True, logprobs=True)
    data = stream(chunks, asked, size=3)
    last = checked(data)[-1]
    if last["type"] == "response.completed":
        Response.model_validate(last["response"])
        assert accumulated(data)["output"] == last["response"]["output"]
    frames = data.split(b"\n\n")
    for at in range(len(chunks)):
        cut = checked(failing(chunks[:at], UpstreamTruncated(), asked))
        assert cut[-1]["type"] == "response.failed"
    assert frames[-1] == b""
