"""Requests of clients: what is refused and in which words, and the one form that providers see."""

import json
from copy import deepcopy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dialects.chat import functions
from dialects.chat.request import parse
from providers.errors import BadRequest, ModelNotFound

USER = {"role": "user", "content": "Hi"}
ASK = {"model": "m", "messages": [USER]}
NAMED = {"type": "function", "function": {"name": "f"}}
TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
OTHER = {"type": "function", "function": {"name": "g"}}


def calls(*ids: str, arguments: Any = "{}") -> dict[str, Any]:
    made = [{"id": each, "type": "function", "function": {"name": "f", "arguments": arguments}} for each in ids]
    return {"role": "assistant", "content": None, "tool_calls": made}


def spoken(extra: Any) -> tuple[Any, bool]:
    """The body that a request becomes, and whether it speaks of functions."""
    asked = parse(json.dumps({**ASK, **extra}).encode())
    return asked.body, asked.answer


def result(ident: str) -> dict[str, Any]:
    return {"role": "tool", "tool_call_id": ident, "content": "42"}


def body_of(**extra: Any) -> dict[str, Any]:
    return parse(json.dumps({**ASK, **extra}).encode()).body


def refused(data: bytes) -> tuple[str | None, str | None, str]:
    """Param, code and message of the error; status and type are the same in all of them."""
    with pytest.raises(BadRequest) as caught:
        parse(data)
    failure = caught.value
    assert (failure.status, failure.body()["error"].keys()) == (400, {"message", "type", "param", "code"})
    assert failure.body()["error"]["type"] == "invalid_request_error"
    return failure.param, failure.code, failure.message


NOT_JSON = "We could not parse the JSON body of your request: "
MINIMAL = b'{"model":"m","messages":[{"role":"user","content":"Hi"}]'

BAD_BYTES: dict[str, tuple[bytes, str | None, str]] = {
    "empty": (b"", None, NOT_JSON + "Input data was truncated."),
    "not JSON": (b"not json", None, NOT_JSON + "JSON is malformed: invalid character (byte 4)."),
    "cut": (b'{"model":"m"', None, NOT_JSON + "Input data was truncated."),
    "more behind it": (MINIMAL + b"} x", None, NOT_JSON + "JSON is malformed: trailing characters (byte 59)."),
    "a comma too many": (MINIMAL + b",}", None, NOT_JSON + "JSON is malformed: trailing comma in object (byte 57)."),
    "NaN": (MINIMAL + b',"temperature":NaN}', None, NOT_JSON + "JSON is malformed: invalid character (byte 71)."),
    "a number too large": (MINIMAL + b',"temperature":1e999}', "temperature", NOT_JSON + "a number is out of range."),
    "an array": (b"[]", None, "The request body must be a JSON object."),
    "a text": (b'"x"', None, "The request body must be a JSON object."),
    "null": (b"null", None, "The request body must be a JSON object."),
    "arrays 100 000 deep": (b"[" * 100_000, None, "The request body is nested too deeply."),
    "arrays 100 000 deep in a field": (
        MINIMAL + b',"x":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        None,
        "The request body is nested too deeply.",
    ),
    "objects 100 000 deep": (b'{"a":' * 100_000, None, "The request body is nested too deeply."),
    "an integer of 5 000 digits": (
        MINIMAL + b',"seed":' + b"9" * 5_000 + b"}",
        "seed",
        NOT_JSON + "an integer has more than 4300 digits.",
    ),
    "an integer of 5 000 digits, deep": (
        MINIMAL + b',"a":{"b":[0,' + b"9" * 5_000 + b"]}}",
        "a.b[1]",
        NOT_JSON + "an integer has more than 4300 digits.",
    ),
    "half an emoji": (
        b'{"model":"m","messages":[{"role":"user","content":"\\ud83d"}]}',
        "messages[0].content",
        NOT_JSON + "a string holds half of a surrogate pair.",
    ),
    "half an emoji as a key": (
        MINIMAL + b',"\\ud83d":1}',
        None,
        NOT_JSON + "a key holds half of a surrogate pair.",
    ),
    "half an emoji as a key, deep": (
        MINIMAL + b',"a":[{"\\ud83d":1}]}',
        "a[0]",
        NOT_JSON + "a key holds half of a surrogate pair.",
    ),
    "half an emoji after a long integer": (
        MINIMAL + b',"a":' + b"9" * 40 + b',"b":"\\ud83d"}',
        "b",
        NOT_JSON + "a string holds half of a surrogate pair.",
    ),
    "half an emoji before deep arrays": (
        b'{"a":"\\ud83d","b":' + b"[" * 100_000,
        None,
        NOT_JSON + "JSON is malformed: unexpected end of escaped utf-16 surrogate pair (byte 12).",
    ),
    "bad UTF-8": (b'{"model":"m\xff","messages":[]}', None, "The request body is not valid UTF-8 (byte 11)."),
    "Latin-1": ('{"model":"é"}'.encode("latin-1"), None, "The request body is not valid UTF-8 (byte 10)."),
    "UTF-16": ('{"model":"m"}'.encode("utf-16"), None, NOT_JSON + "JSON is malformed: invalid character (byte 0)."),
}


@pytest.mark.parametrize("data, param, message", BAD_BYTES.values(), ids=BAD_BYTES)
def test_what_is_no_json_object(data: bytes, param: str | None, message: str):
    assert refused(data) == (param, "invalid_json", message)


def range_error(name: str, kind: str, side: str, bound: float, got: float) -> tuple[str, str, str]:
    words = {"min": ("below minimum", ">="), "max": ("above maximum", "<=")}[side]
    where = {"min": "below_min", "max": "above_max"}[side]
    message = f"Invalid '{name}': {kind} {words[0]} value. Expected a value {words[1]} {bound}, but got {got} instead."
    return name, f"{kind}_{where}_value", message


def type_error(param: str, expected: str, got: str) -> tuple[str, str, str]:
    return param, "invalid_type", f"Invalid type for '{param}': expected {expected}, but got {got} instead."


def part_error(param: str, kind: str, payload: str, expected: str) -> tuple[str, str, str]:
    message = f"Invalid value for '{param}': a part of type '{kind}' needs '{payload}', {expected}."
    return param, "invalid_value", message


ROLES = "Supported values are: 'system', 'developer', 'user', 'assistant', 'tool', 'function'."
PARTS = "Supported values are: 'text', 'refusal', 'image_url', 'input_audio', 'video_url', 'file'."
PART = "messages[0].content[0]"
UNANSWERED = (
    "An assistant message with 'tool_calls' must be followed by tool messages responding to each 'tool_call_id'. "
    "The following tool_call_ids did not have response messages: {}"
)


def parts(*content: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": [*content]}]}


def message(**fields: Any) -> dict[str, Any]:
    return {"messages": [fields]}


BAD: dict[str, tuple[dict[str, Any], tuple[str | None, str | None, str]]] = {
    "model null": (
        {"model": None},
        ("model", "missing_required_parameter", "You must provide a model: a string such as 'gpt-4o'."),
    ),
    "model empty": (
        {"model": ""},
        ("model", "missing_required_parameter", "You must provide a model: a string such as 'gpt-4o'."),
    ),
    "model a number": ({"model": 4}, ("model", "invalid_type", "You must provide a model: a string such as 'gpt-4o'.")),
    "messages null": ({"messages": None}, type_error("messages", "an array of objects", "null")),
    "messages a text": ({"messages": "Hi"}, type_error("messages", "an array of objects", "a string")),
    "messages an object": ({"messages": USER}, type_error("messages", "an array of objects", "an object")),
    "messages empty": (
        {"messages": []},
        (
            "messages",
            "empty_array",
            "Invalid 'messages': empty array. Expected an array with minimum length 1, but got an empty array instead.",
        ),
    ),
    "a message of text": ({"messages": [USER, "Hi"]}, type_error("messages[1]", "an object", "a string")),
    "an unknown role": (
        {"messages": [USER, {"role": "robot", "content": "Hi"}]},
        ("messages[1].role", "invalid_value", f"Invalid value: 'robot'. {ROLES}"),
    ),
    "a long unknown role": (
        message(role="r" * 5_000, content="Hi"),
        ("messages[0].role", "invalid_value", f"Invalid value: '{'r' * 100}'. {ROLES}"),
    ),
    "no role": (message(content="Hi"), ("messages[0].role", "invalid_value", f"Invalid value: null. {ROLES}")),
    "a role of numbers": (message(role=1, content="Hi"), type_error("messages[0].role", "a string", "an integer")),
    "no content": (
        message(role="user"),
        (
            "messages[0].content",
            "invalid_value",
            "Invalid value for 'messages[0].content': expected a string, got null.",
        ),
    ),
    "content null of a tool": (
        {"messages": [USER, calls("a"), {**result("a"), "content": None}]},
        (
            "messages[2].content",
            "invalid_value",
            "Invalid value for 'messages[2].content': expected a string, got null.",
        ),
    ),
    "content a number": (
        message(role="user", content=5),
        type_error("messages[0].content", "a string or an array of content parts", "an integer"),
    ),
    "content an object": (
        message(role="assistant", content={}),
        type_error("messages[0].content", "a string or an array of content parts", "an object"),
    ),
    "a part of text": (parts("Hi"), type_error(PART, "an object", "a string")),
    "an unknown part": (parts({"type": "smell"}), (PART, "invalid_value", f"Invalid value: 'smell'. {PARTS}")),
    "a part without type": (parts({"text": "Hi"}), (PART, "invalid_value", f"Invalid value: null. {PARTS}")),
    "a part with a list as type": (parts({"type": []}), (PART, "invalid_value", f"Invalid value: an array. {PARTS}")),
    "text without text": (parts({"type": "text"}), part_error(PART, "text", "text", "a string")),
    "the second part": (
        parts({"type": "text", "text": "Hi"}, {"type": "text", "text": 5}),
        part_error("messages[0].content[1]", "text", "text", "a string"),
    ),
    "an image without image": (parts({"type": "image_url"}), part_error(PART, "image_url", "image_url", "a string")),
    "an image without url": (
        parts({"type": "image_url", "image_url": {"detail": "low"}}),
        part_error(PART, "image_url", "image_url.url", "a string"),
    ),
    "audio without data": (
        parts({"type": "input_audio", "input_audio": {"format": "wav"}}),
        part_error(PART, "input_audio", "input_audio.data", "a string"),
    ),
    "a file without file": (parts({"type": "file", "file": "x"}), part_error(PART, "file", "file", "an object")),
    "a refusal without refusal": (
        {"messages": [{"role": "assistant", "content": [{"type": "refusal"}]}]},
        part_error(PART, "refusal", "refusal", "a string"),
    ),
    "temperature -1": ({"temperature": -1}, range_error("temperature", "decimal", "min", 0, -1)),
    "temperature 2.1": ({"temperature": 2.1}, range_error("temperature", "decimal", "max", 2, 2.1)),
    "temperature a text": ({"temperature": "1"}, type_error("temperature", "a decimal", "a string")),
    "temperature true": ({"temperature": True}, type_error("temperature", "a decimal", "a boolean")),
    "top_p -0.1": ({"top_p": -0.1}, range_error("top_p", "decimal", "min", 0, -0.1)),
    "top_p 1.1": ({"top_p": 1.1}, range_error("top_p", "decimal", "max", 1, 1.1)),
    "presence_penalty -2.1": ({"presence_penalty": -2.1}, range_error("presence_penalty", "decimal", "min", -2, -2.1)),
    "presence_penalty 3": ({"presence_penalty": 3}, range_error("presence_penalty", "decimal", "max", 2, 3)),
    "frequency_penalty -3": ({"frequency_penalty": -3}, range_error("frequency_penalty", "decimal", "min", -2, -3)),
    "frequency_penalty 2.5": ({"frequency_penalty": 2.5}, range_error("frequency_penalty", "decimal", "max", 2, 2.5)),
    "n 0": ({"n": 0}, range_error("n", "integer", "min", 1, 0)),
    "n 129": ({"n": 129}, range_error("n", "integer", "max", 128, 129)),
    "n 0.0": ({"n": 0.0}, range_error("n", "integer", "min", 1, 0.0)),
    "n 129.0": ({"n": 129.0}, range_error("n", "integer", "max", 128, 129.0)),
    "n 1.5": ({"n": 1.5}, type_error("n", "an integer", "a decimal")),
    "n true": ({"n": True}, type_error("n", "an integer", "a boolean")),
    "top_logprobs -1": ({"top_logprobs": -1}, range_error("top_logprobs", "integer", "min", 0, -1)),
    "top_logprobs 21": ({"top_logprobs": 21}, range_error("top_logprobs", "integer", "max", 20, 21)),
    "top_logprobs without logprobs": (
        {"top_logprobs": 2},
        ("top_logprobs", "invalid_value", "'top_logprobs' is only allowed when 'logprobs' is true."),
    ),
    "max_tokens 0": ({"max_tokens": 0}, range_error("max_tokens", "integer", "min", 1, 0)),
    "max_tokens -5.0": ({"max_tokens": -5.0}, range_error("max_tokens", "integer", "min", 1, -5.0)),
    "max_tokens a text": ({"max_tokens": "5"}, type_error("max_tokens", "an integer", "a string")),
    "max_completion_tokens -1": (
        {"max_completion_tokens": -1},
        range_error("max_completion_tokens", "integer", "min", 1, -1),
    ),
    "seed 2**63": ({"seed": 2**63}, range_error("seed", "integer", "max", 2**63 - 1, 2**63)),
    "stop of five": (
        {"stop": ["a", "b", "c", "d", "e"]},
        (
            "stop",
            "array_above_max_length",
            "Invalid 'stop': array too long. Expected an array with maximum length 4, but got an array with length 5 instead.",
        ),
    ),
    "stop a number": ({"stop": 1}, type_error("stop", "a string or an array of strings", "an integer")),
    "stop of numbers": ({"stop": [1]}, type_error("stop", "a string or an array of strings", "an array")),
    "stream a text": ({"stream": "yes"}, type_error("stream", "a boolean", "a string")),
    "logprobs a number": ({"logprobs": 3}, type_error("logprobs", "a boolean", "an integer")),
    "store a text": ({"store": ""}, type_error("store", "a boolean", "a string")),
    "parallel_tool_calls 1": ({"parallel_tool_calls": 1}, type_error("parallel_tool_calls", "a boolean", "an integer")),
    "logit_bias a list": ({"logit_bias": []}, type_error("logit_bias", "an object", "an array")),
    "metadata a text": ({"metadata": "x"}, type_error("metadata", "an object", "a string")),
    "audio true": ({"audio": True}, type_error("audio", "an object", "a boolean")),
    "prediction a text": ({"prediction": "x"}, type_error("prediction", "an object", "a string")),
    "web_search_options a list": (
        {"web_search_options": []},
        type_error("web_search_options", "an object", "an array"),
    ),
    "modalities a text": ({"modalities": "text"}, type_error("modalities", "an array", "a string")),
    "user a number": ({"user": 7}, type_error("user", "a string", "an integer")),
    "reasoning_effort a number": ({"reasoning_effort": 1}, type_error("reasoning_effort", "a string", "an integer")),
    "service_tier a list": ({"service_tier": []}, type_error("service_tier", "a string", "an array")),
    "safety_identifier a list": ({"safety_identifier": []}, type_error("safety_identifier", "a string", "an array")),
    "prompt_cache_key a list": ({"prompt_cache_key": []}, type_error("prompt_cache_key", "a string", "an array")),
    "verbosity a number": ({"verbosity": 1}, type_error("verbosity", "a string", "an integer")),
    "verbosity unknown": (
        {"verbosity": "chatty"},
        ("verbosity", "invalid_value", "Invalid value: 'chatty'. Supported values are: 'low', 'medium', 'high'."),
    ),
    "stream_options a list": (
        {"stream": True, "stream_options": []},
        type_error("stream_options", "an object", "an array"),
    ),
    "stream_options without stream": (
        {"stream_options": {"include_usage": True}},
        (
            "stream_options",
            "invalid_value",
            "The 'stream_options' parameter is only allowed when 'stream' is enabled.",
        ),
    ),
    "stream_options with stream false": (
        {"stream": False, "stream_options": {}},
        (
            "stream_options",
            "invalid_value",
            "The 'stream_options' parameter is only allowed when 'stream' is enabled.",
        ),
    ),
    "response_format a text": (
        {"response_format": "json"},
        type_error("response_format", "an object with a 'type'", "a string"),
    ),
    "response_format unknown": (
        {"response_format": {"type": "xml"}},
        (
            "response_format.type",
            "invalid_value",
            "Invalid value: 'xml'. Supported values are: 'text', 'json_object', 'json_schema'.",
        ),
    ),
    "response_format without schema": (
        {"response_format": {"type": "json_schema"}},
        (
            "response_format.json_schema",
            "missing_required_parameter",
            "Missing required parameter: 'response_format.json_schema'.",
        ),
    ),
    "tools an object": ({"tools": {}}, type_error("tools", "an array of objects", "an object")),
    "a tool of text": ({"tools": ["f"]}, type_error("tools[0]", "an object", "a string")),
    "a tool without type": (
        {"tools": [TOOL, {"function": {"name": "f"}}]},
        ("tools[1].type", "missing_required_parameter", "Missing required parameter: 'tools[1].type'."),
    ),
    "a tool without function": (
        {"tools": [{"type": "function"}]},
        type_error("tools[0].function", "an object", "null"),
    ),
    "a tool without name": (
        {"tools": [{"type": "function", "function": {}}]},
        (
            "tools[0].function.name",
            "missing_required_parameter",
            "Missing required parameter: 'tools[0].function.name'.",
        ),
    ),
    "a custom tool without name": (
        {"tools": [{"type": "custom", "custom": {"name": ""}}]},
        ("tools[0].custom.name", "missing_required_parameter", "Missing required parameter: 'tools[0].custom.name'."),
    ),
    "parameters a text": (
        {"tools": [{"type": "function", "function": {"name": "f", "parameters": "{}"}}]},
        type_error("tools[0].function.parameters", "an object", "a string"),
    ),
    "tool_choice unknown": (
        {"tools": [TOOL], "tool_choice": "any"},
        ("tool_choice", "invalid_value", "Invalid value: 'any'. Supported values are: 'none', 'auto', 'required'."),
    ),
    "tool_choice a list": (
        {"tools": [TOOL], "tool_choice": ["f"]},
        type_error("tool_choice", "'none', 'auto', 'required' or an object", "an array"),
    ),
    "tool_choice without name": (
        {"tools": [TOOL], "tool_choice": {"type": "function"}},
        type_error("tool_choice.function", "an object", "null"),
    ),
    "allowed_tools without mode": (
        {"tools": [TOOL], "tool_choice": {"type": "allowed_tools", "allowed_tools": {"tools": [NAMED]}}},
        (
            "tool_choice.allowed_tools",
            "invalid_value",
            "Invalid value for 'tool_choice.allowed_tools': expected a 'mode' ('auto' or 'required') and 'tools'.",
        ),
    ),
    "allowed_tools without name": (
        {
            "tools": [TOOL],
            "tool_choice": {
                "type": "allowed_tools",
                "allowed_tools": {"mode": "auto", "tools": [{"type": "function"}]},
            },
        },
        type_error("tool_choice.allowed_tools.tools[0].function", "an object", "null"),
    ),
    "tool_choice required without tools": (
        {"tool_choice": "required"},
        ("tool_choice", "invalid_value", "'tool_choice' is only allowed when 'tools' are specified."),
    ),
    "tool_choice named without tools": (
        {"tool_choice": NAMED, "tools": []},
        ("tool_choice", "invalid_value", "'tool_choice' is only allowed when 'tools' are specified."),
    ),
    "functions an object": (
        {"functions": {}},
        ("functions", "invalid_type", "Invalid type for 'functions': expected an array of objects with a 'name'."),
    ),
    "functions without name": (
        {"functions": [{}]},
        ("functions", "invalid_type", "Invalid type for 'functions': expected an array of objects with a 'name'."),
    ),
    "function_call unknown": (
        {"functions": [{"name": "f"}], "function_call": "required"},
        (
            "function_call",
            "invalid_value",
            "Invalid value for 'function_call': expected 'none', 'auto' or an object with a 'name'.",
        ),
    ),
    "function_call without functions": (
        {"function_call": {"name": "f"}},
        ("function_call", "invalid_value", "'function_call' is only allowed when 'functions' are specified."),
    ),
    "a function_call of text": (
        {"messages": [USER, {"role": "assistant", "content": None, "function_call": "f"}]},
        (
            "messages[1].function_call",
            "invalid_value",
            "Invalid value for 'messages[1].function_call': expected an object with a 'name'.",
        ),
    ),
    "a function_call without name": (
        {"messages": [USER, {"role": "assistant", "content": None, "function_call": {"arguments": "{}"}}]},
        (
            "messages[1].function_call",
            "invalid_value",
            "Invalid value for 'messages[1].function_call': expected an object with a 'name'.",
        ),
    ),
    "tool_calls a text": (
        {"messages": [USER, {"role": "assistant", "content": None, "tool_calls": "f"}]},
        type_error("messages[1].tool_calls", "an array of objects", "a string"),
    ),
    "a tool call of text": (
        {"messages": [USER, {"role": "assistant", "content": None, "tool_calls": ["f"]}]},
        type_error("messages[1].tool_calls[0]", "an object", "a string"),
    ),
    "a tool call with an odd id": (
        {
            "messages": [
                USER,
                {"role": "assistant", "content": None, "tool_calls": [{"id": 7, "function": {"name": "f"}}]},
            ]
        },
        (
            "messages[1].tool_calls[0]",
            "invalid_value",
            "Invalid value for 'messages[1].tool_calls[0]': a tool call needs an 'id' and a 'function' with a 'name'.",
        ),
    ),
    "a tool result without id": (
        {"messages": [USER, calls("a"), {"role": "tool", "content": "42"}]},
        (
            "messages[2].tool_call_id",
            "missing_required_parameter",
            "Missing required parameter: 'messages[2].tool_call_id'.",
        ),
    ),
    "a tool result of no call": (
        {"messages": [USER, calls("a"), result("b")]},
        ("messages[2].role", None, UNANSWERED.format("a")),
    ),
    "one of two calls answered, at the end": (
        {"messages": [USER, calls("call_1", "call_2"), result("call_1")]},
        ("messages[2].role", None, UNANSWERED.format("call_2")),
    ),
    "calls last": ({"messages": [USER, calls("a")]}, ("messages[1].role", None, UNANSWERED.format("a"))),
    "a tool result without an id": (
        {"messages": [USER, {"role": "tool", "content": "42"}]},
        (
            "messages[1].tool_call_id",
            "missing_required_parameter",
            "Missing required parameter: 'messages[1].tool_call_id'.",
        ),
    ),
    "a function result without a name": (
        {"messages": [USER, {"role": "function", "content": "42"}]},
        ("messages[1].name", "missing_required_parameter", "Missing required parameter: 'messages[1].name'."),
    ),
}


@pytest.mark.parametrize("extra, expected", BAD.values(), ids=BAD)
def test_refused(extra: dict[str, Any], expected: tuple[str | None, str | None, str]):
    assert refused(json.dumps({**ASK, **extra}).encode()) == expected


def test_missing_messages():
    expected = ("messages", "missing_required_parameter", "Missing required parameter: 'messages'.")
    assert refused(b'{"model":"m"}') == expected


def test_missing_model():
    expected = ("model", "missing_required_parameter", "You must provide a model: a string such as 'gpt-4o'.")
    assert refused(b'{"messages":[{"role":"user","content":"Hi"}]}') == expected


OPTIONAL = [
    "temperature",
    "top_p",
    "frequency_penalty",
    "presence_penalty",
    "n",
    "top_logprobs",
    "max_tokens",
    "max_completion_tokens",
    "seed",
    "stop",
    "stream",
    "logprobs",
    "store",
    "parallel_tool_calls",
    "stream_options",
    "logit_bias",
    "metadata",
    "audio",
    "prediction",
    "web_search_options",
    "modalities",
    "user",
    "reasoning_effort",
    "verbosity",
    "service_tier",
    "safety_identifier",
    "prompt_cache_key",
    "response_format",
    "tools",
    "tool_choice",
    "functions",
    "function_call",
]


@pytest.mark.parametrize("name", OPTIONAL)
def test_null_is_absent(name: str):
    assert body_of(**{name: None}) == ASK


GOOD: dict[str, dict[str, Any]] = {
    "nothing more": {},
    "the limits from below": {
        "temperature": 0, "top_p": 0, "presence_penalty": -2, "frequency_penalty": -2.0, "n": 1, "max_tokens": 1,
        "logprobs": True, "top_logprobs": 0, "seed": -(2**63),
    },
    "the limits from above": {
        "temperature": 2, "top_p": 1.0, "presence_penalty": 2, "frequency_penalty": 2.0, "n": 128, "logprobs": True,
        "top_logprobs": 20, "seed": 2**63 - 1, "stop": ["a", "b", "c", "d"],
    },
    "a stop": {"stop": "a"},
    "stream_options": {"stream": True, "stream_options": {"include_usage": True, "include_obfuscation": False}},
    "unknown fields, null or not": {"top_k": 40, "min_p": None, "chat_template_kwargs": {"a": [1, None]}},
    "integers of more than 64 bits that are not ours": {"x": 2**80},
    "tools of all kinds": {
        "tools": [TOOL, {"type": "custom", "custom": {"name": "c"}}, {"type": "web_search", "max_uses": 3}],
        "tool_choice": "required",
    },
    "a named tool": {"tools": [TOOL], "tool_choice": NAMED},
    "a custom tool named": {
        "tools": [{"type": "custom", "custom": {"name": "c"}}],
        "tool_choice": {"type": "custom", "custom": {"name": "c"}},
    },
    "a tool choice of the upstream's own": {"tools": [TOOL], "tool_choice": {"type": "web_search"}},
    "allowed tools": {
        "tools": [TOOL, OTHER],
        "tool_choice": {"type": "allowed_tools", "allowed_tools": {"mode": "required", "tools": [NAMED]}},
    },
    "response formats": {"response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": {}}}},
    "all roles and parts": {
        "messages": [
            {"role": "system", "content": "Be kind."},
            {"role": "developer", "content": [{"type": "text", "text": "Be brief."}], "name": "d"},
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "你好"},
                    {"type": "image_url", "image_url": {"url": "https://example.com/a.png", "detail": "low"}},
                    {"type": "input_audio", "input_audio": {"data": "AA==", "format": "wav"}},
                    {"type": "video_url", "video_url": {"url": "https://example.com/a.mp4"}},
                    {"type": "file", "file": {"file_id": "file-1"}},
                ],
            },
            {"role": "assistant", "content": None, "refusal": "No."},
            {"role": "assistant", "content": [{"type": "refusal", "refusal": "No."}]},
            {"role": "assistant", "content": "", "tool_calls": []},
            USER,
        ]
    },
    "pairs": {"messages": [USER, calls("a", "b"), result("b"), result("a"), calls("a"), result("a"), result("a"), USER]},
    "calls of a custom tool": {
        "messages": [
            USER,
            {"role": "assistant", "tool_calls": [{"id": "a", "type": "custom", "custom": {"name": "c", "input": "x"}}]},
            result("a"),
        ]
    },
}  # fmt: skip


@pytest.mark.parametrize("extra", GOOD.values(), ids=GOOD)
def test_passed_as_it_is(extra: dict[str, Any]):
    assert spoken(extra) == ({**ASK, **extra}, False)


CHANGED: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "both token limits": ({"max_tokens": 5, "max_completion_tokens": 7}, {"max_completion_tokens": 7}),
    "both token limits, one null": ({"max_tokens": 5, "max_completion_tokens": None}, {"max_tokens": 5}),
    "whole numbers as decimals": (
        {"max_tokens": 100.0, "n": 2.0, "seed": -1.0},
        {"max_tokens": 100, "n": 2, "seed": -1},
    ),
    "tool_choice none without tools": ({"tool_choice": "none"}, {}),
    "tool_choice auto with no tools": ({"tools": [], "tool_choice": "auto"}, {}),
    "no tools": ({"tools": []}, {}),
    "an image as a bare URL": (
        parts({"type": "image_url", "image_url": "https://example.com/a.png"}),
        parts({"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}),
    ),
    "arguments as an object": (
        {"messages": [USER, calls("a", arguments={"city": "北京", "n": [1, None]}), result("a")]},
        {"messages": [USER, calls("a", arguments='{"city":"北京","n":[1,null]}'), result("a")]},
    ),
    "arguments as an empty object": (
        {"messages": [USER, calls("a", arguments={}), result("a")]},
        {"messages": [USER, calls("a"), result("a")]},
    ),
    "arguments of a function_call as an object": (
        {
            "messages": [
                USER,
                {"role": "assistant", "function_call": {"name": "f", "arguments": {"a": 1}}},
                {"role": "function", "name": "f", "content": "42"},
            ]
        },
        {
            "messages": [
                USER,
                {"role": "assistant", "tool_calls": calls("call_function_1", arguments='{"a":1}')["tool_calls"]},
                result("call_function_1"),
            ]
        },
    ),
    "no functions": ({"functions": [], "function_call": "auto"}, {}),
    "functions beside tools": ({"tools": [TOOL], "functions": [{"name": "g"}]}, {"tools": [TOOL]}),
}


@pytest.mark.parametrize("extra, expected", CHANGED.values(), ids=CHANGED)
def test_changed(extra: dict[str, Any], expected: dict[str, Any]):
    body, speaks_legacy = spoken(extra)
    assert (body, speaks_legacy) == ({**ASK, **expected}, False)
    assert all(type(body[name]) is int for name in ("max_tokens", "n", "seed") if name in body)


FUNCTION = {"name": "f", "description": "d", "parameters": {"type": "object"}}
LEGACY: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "functions": ({"functions": [FUNCTION]}, {"tools": [{"type": "function", "function": FUNCTION}]}),
    "function_call auto": (
        {"functions": [{"name": "f"}], "function_call": "auto"},
        {"tools": [NAMED], "tool_choice": "auto"},
    ),
    "function_call none": (
        {"functions": [{"name": "f"}], "function_call": "none"},
        {"tools": [NAMED], "tool_choice": "none"},
    ),
    "function_call named": (
        {"functions": [{"name": "f"}], "function_call": {"name": "f"}},
        {"tools": [NAMED], "tool_choice": NAMED},
    ),
}


@pytest.mark.parametrize("extra, expected", LEGACY.values(), ids=LEGACY)
def test_functions_become_tools(extra: dict[str, Any], expected: dict[str, Any]):
    assert spoken(extra) == ({**ASK, **expected}, True)


def test_functions_in_the_history_become_tool_calls():
    history = [
        USER,
        {"role": "assistant", "content": None, "function_call": {"name": "f", "arguments": '{"a":1}'}, "name": "bot"},
        {"role": "function", "name": "f", "content": "one"},
        {"role": "assistant", "content": "Hm.", "function_call": {"name": "f"}},
        {"role": "function", "name": "f", "content": None},
        {"role": "assistant", "content": "Done.", "function_call": None},
    ]

    def call(ident: str, arguments: str) -> list[dict[str, Any]]:
        return [{"id": ident, "type": "function", "function": {"name": "f", "arguments": arguments}}]

    assert body_of(messages=history)["messages"] == [
        USER,
        {"role": "assistant", "content": None, "name": "bot", "tool_calls": call("call_function_1", '{"a":1}')},
        {"role": "tool", "tool_call_id": "call_function_1", "content": "one"},
        {"role": "assistant", "content": "Hm.", "tool_calls": call("call_function_3", "{}")},
        {"role": "tool", "tool_call_id": "call_function_3", "content": ""},
        {"role": "assistant", "content": "Done.", "function_call": None},
    ]


def call_of(name: str, index: int | None = None) -> dict[str, Any]:
    made = {"id": f"call_{name}", "type": "function", "function": {"name": name, "arguments": "{}"}}
    return made if index is None else {"index": index, **made}


ANSWERS: dict[str, tuple[dict[str, Any], str, dict[str, Any], str]] = {
    "a call": (
        {"role": "assistant", "content": None, "tool_calls": [call_of("f")]},
        "tool_calls",
        {"role": "assistant", "content": None, "function_call": {"name": "f", "arguments": "{}"}},
        "function_call",
    ),
    "two calls: the first": (
        {"role": "assistant", "content": None, "tool_calls": [call_of("f"), call_of("g")]},
        "tool_calls",
        {"role": "assistant", "content": None, "function_call": {"name": "f", "arguments": "{}"}},
        "function_call",
    ),
    "no call": ({"role": "assistant", "content": "Hi"}, "stop", {"role": "assistant", "content": "Hi"}, "stop"),
    "cut": ({"role": "assistant", "content": "Hi"}, "length", {"role": "assistant", "content": "Hi"}, "length"),
}


@pytest.mark.parametrize("said, finish, expected, end", ANSWERS.values(), ids=ANSWERS)
def test_a_whole_answer_speaks_of_functions_again(said: Any, finish: str, expected: Any, end: str):
    answer = {"choices": [{"index": 0, "message": deepcopy(said), "finish_reason": finish}], "usage": {}}
    assert functions.answer_with_function(answer) == {
        "choices": [{"index": 0, "message": expected, "finish_reason": end}],
        "usage": {},
    }


CHUNKS: dict[str, tuple[dict[str, Any], str | None, dict[str, Any], str | None]] = {
    "the role": ({"role": "assistant", "content": None}, None, {"role": "assistant", "content": None}, None),
    "a call opens": (
        {"tool_calls": [call_of("f", 0)]},
        None,
        {"function_call": {"name": "f", "arguments": "{}"}},
        None,
    ),
    "it goes on": (
        {"tool_calls": [{"index": 0, "function": {"arguments": "{}"}}]},
        None,
        {"function_call": {"arguments": "{}"}},
        None,
    ),
    "the second call": ({"tool_calls": [call_of("g", 1)]}, None, {}, None),
    "both at once": (
        {"tool_calls": [call_of("g", 1), call_of("f", 0)]},
        None,
        {"function_call": {"name": "f", "arguments": "{}"}},
        None,
    ),
    "the end": ({}, "tool_calls", {}, "function_call"),
    "another end": ({}, "stop", {}, "stop"),
}


@pytest.mark.parametrize("delta, finish, expected, end", CHUNKS.values(), ids=CHUNKS)
def test_a_chunk_speaks_of_functions_again(delta: Any, finish: str | None, expected: Any, end: str | None):
    chunk = {"choices": [{"index": 0, "delta": deepcopy(delta), "finish_reason": finish}]}
    assert functions.chunk_with_function(chunk) == {"choices": [{"index": 0, "delta": expected, "finish_reason": end}]}


def test_a_chunk_without_choices_stays():
    assert functions.chunk_with_function({"choices": [], "usage": {"total_tokens": 1}}) == {
        "choices": [],
        "usage": {"total_tokens": 1},
    }


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
fields = st.sampled_from(
    [
        "role",
        "content",
        "tool_calls",
        "tool_call_id",
        "function_call",
        "name",
        "type",
        "function",
        "custom",
        "id",
        "arguments",
        "text",
        "image_url",
        "url",
        "json_schema",
        "allowed_tools",
        "mode",
        "tools",
        "parameters",
    ]
)
words = st.sampled_from(
    ["user", "assistant", "tool", "function", "system", "text", "image_url", "file", "custom", "auto", "required", "f"]
)
shaped = st.recursive(
    anything | words,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(fields, inner, max_size=4),
    max_leaves=12,
)
messages = st.lists(st.fixed_dictionaries({"role": words, "content": shaped}, optional={
    "tool_calls": shaped, "tool_call_id": shaped, "function_call": shaped, "name": shaped,
}), max_size=4)  # fmt: skip


@given(anything)
def test_any_json_is_refused_or_read(value: Any):
    data = json.dumps(value).encode()
    try:
        parse(data)
    except BadRequest as failure:
        assert failure.message


@given(st.fixed_dictionaries({"model": st.just("m"), "messages": messages | shaped}), st.dictionaries(
    st.sampled_from(OPTIONAL), shaped, max_size=4
))  # fmt: skip
def test_anything_that_looks_like_a_request_is_refused_or_read(body: dict[str, Any], extra: dict[str, Any]):
    data = json.dumps(body | extra).encode()
    try:
        read = parse(data).body
    except BadRequest as failure:
        assert failure.message
        return
    # What was read is settled: reading it again changes nothing.
    assert parse(json.dumps(read).encode()).body == read


@given(st.binary(max_size=40))
def test_any_bytes_are_refused_or_read(data: bytes):
    with pytest.raises(BadRequest):
        parse(data)


ALONE: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "no tools": ({"parallel_tool_calls": True}, {}),
    "tools that are none": ({"tools": [], "tool_choice": "none", "parallel_tool_calls": False}, {}),
    "functions that are none": ({"functions": [], "function_call": "auto", "parallel_tool_calls": True}, {}),
    "functions": (
        {"functions": [FUNCTION], "parallel_tool_calls": False},
        {"tools": [{"type": "function", "function": FUNCTION}], "parallel_tool_calls": False},
    ),
    "tools": ({"tools": [TOOL], "parallel_tool_calls": True}, {"tools": [TOOL], "parallel_tool_calls": True}),
    "top_logprobs: 0": ({"top_logprobs": 0}, {}),
    "top_logprobs: 0, no logprobs": ({"top_logprobs": 0, "logprobs": False}, {"logprobs": False}),
    "top_logprobs: 0, logprobs": ({"top_logprobs": 0, "logprobs": True}, {"top_logprobs": 0, "logprobs": True}),
}


@pytest.mark.parametrize("extra, expected", ALONE.values(), ids=ALONE)
def test_parameters_that_do_not_stand_alone(extra: dict[str, Any], expected: dict[str, Any]):
    assert parse(json.dumps({**ASK, **extra}).encode()).body == {**ASK, **expected}


def test_null_is_absence_inside_objects_too():
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    part = {"type": "image_url", "image_url": {"url": "https://a.test/a.png"}}
    tool = {"type": "function", "function": {"name": "f", "parameters": {"properties": {"x": {"default": None}}}}}
    body = {
        **ASK,
        "messages": [
            {"role": "user", "content": [part], "tool_calls": None, "tool_call_id": None, "name": None},
            {"role": "assistant", "content": None, "refusal": None, "tool_calls": [call]},
            {"role": "tool", "tool_call_id": "c", "content": "t"},
        ],
        "tools": [tool],
        "response_format": {"type": "json_schema", "json_schema": {"name": "n"}},
    }
    nulls = json.loads(json.dumps(body))
    nulls["messages"][0]["content"][0] = {
        **part,
        "cache_control": None,
        "image_url": {**part["image_url"], "detail": None},
    }
    nulls["messages"][1]["tool_calls"][0] = {**call, "index": None, "custom": None, "extra_content": None}
    nulls["messages"][2] |= {"name": None, "tool_calls": None}
    nulls["tools"][0] = {
        **tool,
        "cache_control": None,
        "custom": None,
        "function": {**tool["function"], "strict": None},
    }
    nulls["response_format"]["json_schema"] |= {"schema": None, "strict": None}
    del body["messages"][0]["tool_calls"], body["messages"][0]["tool_call_id"], body["messages"][0]["name"]
    assert parse(json.dumps(nulls).encode()).body == body


def test_what_a_message_may_not_hold():
    for message, param in (
        ({"role": "user", "content": "x", "tool_calls": "f"}, "messages[0].tool_calls"),
        ({"role": "user", "content": "x", "tool_calls": [5]}, "messages[0].tool_calls[0]"),
        (
            {"role": "user", "content": [{"type": "file", "file": {"file_data": 5}}]},
            "messages[0].content[0].file.file_data",
        ),
    ):
        with pytest.raises(BadRequest) as refused:
            parse(json.dumps({**ASK, "messages": [message]}).encode())
        assert refused.value.param == param


LONG = {
    "256 characters": ("a" * 256, None),
    "257 characters": ("a" * 257, "a" * 100),
    "8 slashes": ("a/" * 8, None),
    "9 slashes": ("a/" * 9, "a/" * 9),
    "megabytes": ("echo/" + "a/" * 2**20, ("echo/" + "a/" * 50)[:100]),
}


@pytest.mark.parametrize(("name", "shown"), LONG.values(), ids=LONG)
def test_a_name_that_is_too_long_is_no_models(name: str, shown: str | None) -> None:
    data = json.dumps({"model": name, "messages": [{"role": "user", "content": "x"}]}).encode()
    if shown is None:
        assert parse(data).body["model"] == name
        return
    with pytest.raises(ModelNotFound) as caught:
        parse(data)
    assert caught.value.body()["error"] == {
        "message": f"The model '{shown}…' does not exist: a name has at most 256 characters and 8 slashes; GET /v1/models "
        "lists the models you can use.",
        "type": "invalid_request_error",
        "param": "model",
        "code": "model_not_found",
    }


def test_tools_and_schemas_have_a_mebibyte_together() -> None:
    def ask(size: int) -> bytes:
        tool = {"type": "function", "function": {"name": "f", "description": "x" * size}}
        schema = {"type": "json_schema", "json_schema": {"name": "a", "schema": {"description": "x" * size}}}
        messages = [{"role": "user", "content": "x" * 2**20}]
        return json.dumps({"model": "m", "messages": messages, "tools": [tool], "response_format": schema}).encode()

    assert "tools" in parse(ask(500_000)).body
    with pytest.raises(BadRequest) as caught:
        parse(ask(2**19))
    assert (caught.value.param, caught.value.code) == ("tools", "invalid_schema")
    assert caught.value.message == (
        "'tools' and 'response_format' have more than 1048576 bytes together. Send fewer tools, or shorter descriptions "
        "and lists of values."
    )


def test_the_way_to_a_bad_value_is_named_in_part() -> None:
    name = "k" * 1000
    with pytest.raises(BadRequest) as caught:
        parse(json.dumps({"model": "m", "messages": [], name: [0, {"a": [1]}]}).replace("1", "1e999").encode())
    assert caught.value.param == "k" * 200
    with pytest.raises(BadRequest) as caught:
        parse(b'{"model": "m", "x": [0, {"a": [2, 1e999]}]}')
    assert caught.value.param == "x[1].a[1]"


def test_functions_are_answered_from_the_latest_call_of_their_name() -> None:
    names = ["f", "g", "f", "f", "g", "f"]
    calls = [{"role": "assistant", "content": None, "function_call": {"name": name}} for name in names]
    results = [{"role": "function", "name": name, "content": "1"} for name in names]
    body, _ = functions.functions_to_tools({"messages": [*calls, *results]})
    ids = [message["tool_call_id"] for message in body["messages"][len(calls) :]]
    assert ids == [f"call_function_{i}" for i in (5, 4, 3, 2, 1, 0)]


def said(content: Any) -> dict[str, Any]:
    return {"role": "user", "content": content}


def no_result(ident: str) -> dict[str, Any]:
    return result(ident) | {"content": "(no result: this call was not completed)"}


IMAGE = {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}
RESULTS, CALLS = "messages.tool_call_id", "messages.tool_calls"
# What a client's messages become whose calls and results have lost each other, and what x-modelserver-dropped names.
UNPAIRED: dict[str, tuple[list[dict[str, Any]], list[dict[str, Any]], tuple[str, ...]]] = {
    "the call was trimmed off": (
        [result("call_x"), USER],
        [said("[Result of the tool call call_x]\n42"), USER],
        (RESULTS,),
    ),
    "… of a tool that is named": (
        [result("call_x") | {"name": "clock"}, USER],
        [said("[Result of the tool call clock call_x]\n42"), USER],
        (RESULTS,),
    ),
    "… with an image": (
        [result("a") | {"content": [{"type": "text", "text": "see"}, IMAGE]}, USER],
        [
            said([{"type": "text", "text": "[Result of the tool call a]"}, {"type": "text", "text": "see"}, IMAGE]),
            USER,
        ],
        (RESULTS,),
    ),
    "one of two calls was trimmed off": (
        [USER, calls("a"), result("b"), result("a"), USER],
        [USER, calls("a"), result("a"), said("[Result of the tool call b]\n42"), USER],
        (RESULTS,),
    ),
    "a second result, a turn late": (
        [USER, calls("a"), result("a"), USER, result("a")],
        [USER, calls("a"), result("a"), USER, said("[Result of the tool call f a]\n42")],
        (RESULTS,),
    ),
    "a result behind the user's interjection": (
        [USER, calls("a", "b"), result("b"), USER, result("a"), USER],
        [USER, calls("a", "b"), result("b"), result("a"), USER, USER],
        (RESULTS,),
    ),
    "calls of two turns, then their results": (
        [USER, calls("a"), calls("b"), result("a"), result("b"), USER],
        [USER, calls("a"), result("a"), calls("b"), result("b"), USER],
        (RESULTS,),
    ),
    "ids that count anew in each turn": (
        [USER, calls("a"), USER, calls("a"), result("a"), USER],
        [USER, calls("a"), no_result("a"), USER, calls("a"), result("a"), USER],
        (CALLS,),
    ),
    "an agent was interrupted": (
        [USER, calls("a", "b"), result("a"), USER],
        [USER, calls("a", "b"), result("a"), no_result("b"), USER],
        (CALLS,),
    ),
    "… before other calls": (
        [USER, calls("a"), calls("b"), result("b")],
        [USER, calls("a"), no_result("a"), calls("b"), result("b")],
        (CALLS,),
    ),
    "… and said so itself": (
        [USER, calls("a"), {"role": "system", "content": "Interrupted."}],
        [USER, calls("a"), no_result("a"), {"role": "system", "content": "Interrupted."}],
        (CALLS,),
    ),
    "both": (
        [result("z"), calls("a"), USER],
        [said("[Result of the tool call z]\n42"), calls("a"), no_result("a"), USER],
        (RESULTS, CALLS),
    ),
    "a function result without call": (
        [USER, {"role": "function", "name": "f", "content": "42"}],
        [USER, said("[Result of the tool call f call_function_1]\n42")],
        (RESULTS,),
    ),
    "a function_call not answered": (
        [USER, {"role": "assistant", "content": None, "function_call": {"name": "f", "arguments": "{}"}}, USER],
        [USER, calls("call_function_1"), no_result("call_function_1"), USER],
        (CALLS,),
    ),
}


@pytest.mark.parametrize("given, made, dropped", UNPAIRED.values(), ids=UNPAIRED)
def test_calls_and_results_that_lost_each_other(
    given: list[dict[str, Any]], made: list[dict[str, Any]], dropped: tuple[str, ...]
):
    asked = parse(json.dumps({**ASK, "messages": given}).encode())
    assert (asked.body["messages"], asked.dropped) == (made, dropped)
