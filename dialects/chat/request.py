"""A client's chat request: from bytes to a body that every provider can rely on, or to the error OpenAI would give.

`parse` refuses what OpenAI refuses, in its words, and removes what means nothing (null, both token limits, a
tool_choice without tools), so that providers only see one form. Legacy functions become tools here and are turned back
on the way out (dialects/chat/functions.py). Fields it does not know are left alone: the upstream may know them.
"""

import difflib
from collections.abc import Callable, Mapping
from typing import Any, Final

from providers import codec
from providers.contract import Json
from providers.errors import BadRequest

from ..contract import NO_HEADERS, ClientRequest
from ..validation import TYPES, number, of_type, one_of, read_request, unsupported_value, wrong_type
from . import functions
from .pairing import paired

_MAX_SCHEMAS: Final = 2**20  # bytes of tools and response_format together


def parse(data: bytes, headers: Mapping[str, str] = NO_HEADERS) -> ClientRequest:
    """Return the request that these bytes hold. Its `answer`: whether it speaks of functions, as in 2023.

    Raises BadRequest with OpenAI's param and code, and ModelNotFound for a name that is too long.
    """
    return checked(read_request(data, _CHECKS, "messages", "gpt-4o"), len(data))


_CLIENTS_TOOLS: Final = ("function", "custom")  # types of tools that clients run
_SEARCH: Final = "web_search_options"


def checked(body: Json, size: int) -> ClientRequest:
    """Return the request that a chat body is, checked and normalised; see parse. Changes `body`.

    Parsers of other client APIs end here too. size: bytes of the client's request.
    """
    for name, value in body.items():
        check = _CHECKS.get(name)
        if check is not None:
            check(value, name)
            if type(value) is float and name in _WHOLE:
                body[name] = int(value)  # 100.0: some clients know no integers, some upstreams nothing else
    calls, images = _messages(body["messages"])
    for name in _HOLDERS & body.keys():
        _drop_nulls(body[name])
    speaks_legacy = False
    changed: tuple[str, ...] = ()
    if calls or "functions" in body or "function_call" in body:
        body, speaks_legacy = functions.functions_to_tools(body)
        body["messages"], changed = paired(body["messages"])
    _reconcile(body)
    if size > _MAX_SCHEMAS:
        _check_schemas(body)
    return ClientRequest(
        body,
        stream=body.get("stream") is True,
        tool_calls=calls,
        images=images,
        answer=speaks_legacy,
        dropped=changed,
        upstream_tools=_upstream_tools(body),
    )


def _upstream_tools(body: Json) -> tuple[str, ...]:
    """Return ClientRequest.upstream_tools of a chat body: hosts have tools of their own, and a parameter for their search."""
    kinds = [kind for tool in body.get("tools", ()) if (kind := tool["type"]) not in _CLIENTS_TOOLS]
    named = dict.fromkeys(f"tools.{kind[:100]}" for kind in kinds)
    return (*named, _SEARCH) if _SEARCH in body else tuple(named)


def _stop(value: Any, param: str) -> None:
    if isinstance(value, str):
        return
    if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
        raise wrong_type("a string or an array of strings", value, param)
    if len(value) > 4:
        raise BadRequest(
            f"Invalid '{param}': array too long. Expected an array with maximum length 4, but got an array with length "
            f"{len(value)} instead.",
            param=param,
            code="array_above_max_length",
        )


def _response_format(value: Any, param: str) -> None:
    match value:
        case {"type": "text" | "json_object"} | {"type": "json_schema", "json_schema": {"schema": dict() | None}}:
            return
        case {"type": "json_schema", "json_schema": {"schema": []} as named}:
            named["schema"] = {}  # PHP's empty object
            return
        case {"type": "json_schema", "json_schema": {"schema": schema}}:
            raise wrong_type("an object", schema, f"{param}.json_schema.schema")
        case {"type": "json_schema", "json_schema": dict()}:
            return
        case {"type": "json_schema"}:
            raise BadRequest(
                f"Missing required parameter: '{param}.json_schema'.",
                param=f"{param}.json_schema",
                code="missing_required_parameter",
            )
        case {"type": kind}:
            raise unsupported_value(kind, ("text", "json_object", "json_schema"), f"{param}.type")
    raise wrong_type("an object with a 'type'", value, param)


def _tools(value: Any, param: str) -> None:
    if not isinstance(value, list):
        raise wrong_type("an array of objects", value, param)
    for i, tool in enumerate(value):
        if not isinstance(tool, dict):
            raise wrong_type("an object", tool, f"{param}[{i}]")
        _drop_nulls(tool)
        match tool:
            case {"type": "function" | "custom" as kind}:
                _named(tool.get(kind), f"{param}[{i}].{kind}")
            case {"type": str()}:
                pass  # tools of the upstream's own, such as web_search, are its business
            case _:
                raise BadRequest(
                    f"Missing required parameter: '{param}[{i}].type'.",
                    param=f"{param}[{i}].type",
                    code="missing_required_parameter",
                )


def _named(value: Any, param: str) -> None:
    if not isinstance(value, dict):
        raise wrong_type("an object", value, param)
    if not isinstance(value.get("name"), str) or not value["name"]:
        raise BadRequest(
            f"Missing required parameter: '{param}.name'.", param=f"{param}.name", code="missing_required_parameter"
        )
    parameters = value.get("parameters")
    if parameters == []:
        value["parameters"] = {}  # PHP's empty object
    elif parameters is not None and not isinstance(parameters, dict):
        raise wrong_type("an object", parameters, f"{param}.parameters")


def _tool_choice(value: Any, param: str) -> None:
    match value:
        case "none" | "auto" | "required":
            return
        case {"type": "function" | "custom" as kind}:
            _named(value.get(kind), f"{param}.{kind}")
        case {"type": "allowed_tools", "allowed_tools": {"mode": "auto" | "required", "tools": list(tools)}}:
            _tools(tools, f"{param}.allowed_tools.tools")
        case {"type": "allowed_tools"}:
            raise BadRequest(
                f"Invalid value for '{param}.allowed_tools': expected a 'mode' ('auto' or 'required') and 'tools'.",
                param=f"{param}.allowed_tools",
                code="invalid_value",
            )
        case {"type": str()}:
            return
        case str():
            raise unsupported_value(value, ("none", "auto", "required"), param)
        case _:
            raise wrong_type("'none', 'auto', 'required' or an object", value, param)


# What a content part of each type must hold, and the field of it that carries the payload.
_PARTS: Final = {
    "text": ("text", None),
    "refusal": ("refusal", None),
    "image_url": ("image_url", "url"),
    "input_audio": ("input_audio", "data"),
    "video_url": ("video_url", "url"),  # not OpenAI's: Qwen, Moonshot and vLLM take it
    "file": ("file", None),
}
_SPEAKERS: Final = ("system", "developer", "user", "assistant")
_ROLES: Final = (*_SPEAKERS, "tool", "function")


def _messages(value: Any) -> tuple[bool, bool]:
    """Check the messages, each for itself; returns whether any speaks of tools or functions, and whether any has images."""
    if not isinstance(value, list):
        raise wrong_type("an array of objects", value, "messages")
    if not value:
        raise BadRequest(
            "Invalid 'messages': empty array. Expected an array with minimum length 1, but got an empty array instead.",
            param="messages",
            code="empty_array",
        )
    calls = images = False
    for i, message in enumerate(value):
        if type(message) is not dict:
            raise wrong_type("an object", message, f"messages[{i}]")
        if len(message) == 2 and type(message.get("content")) is str and message.get("role") in _SPEAKERS:
            continue  # nearly all of them
        if None in message.values():
            _drop_nulls(message, _NULLABLE)
        role = message.get("role")
        if role not in _ROLES:
            if role is not None and not isinstance(role, str):
                raise wrong_type("a string", role, f"messages[{i}].role")
            raise unsupported_value(role, _ROLES, f"messages[{i}].role")
        content = message.get("content")
        if type(content) is list:
            images |= _parts(content, f"messages[{i}].content")
        elif type(content) is not str:
            _no_content(message, i)
        if message.get("tool_calls"):
            _calls(message["tool_calls"], f"messages[{i}].tool_calls")
        if role == "assistant":
            calls |= bool(message.get("tool_calls")) or "function_call" in message
            if isinstance(old := message.get("function_call"), dict):
                _texts_inside({"function": old})
        elif role in ("tool", "function"):
            calls = True
            if role == "tool" and not isinstance(message.setdefault("tool_call_id", ""), str):
                raise wrong_type("a string", message["tool_call_id"], f"messages[{i}].tool_call_id")
    return calls, images


def _no_content(message: Json, i: int) -> None:
    """Only an assistant may say nothing (it called tools, or refused); a function result may be null."""
    content = message.get("content")
    if content is not None:
        raise wrong_type("a string or an array of content parts", content, f"messages[{i}].content")
    if message["role"] not in ("assistant", "function"):
        raise BadRequest(
            f"Invalid value for 'messages[{i}].content': expected a string, got null.",
            param=f"messages[{i}].content",
            code="invalid_value",
        )


def _parts(parts: list[Any], path: str) -> bool:
    """Check content parts; returns whether one is an image."""
    images = False
    for j, part in enumerate(parts):
        if type(part) is not dict:
            raise wrong_type("an object", part, f"{path}[{j}]")
        _drop_nulls(part)
        kind = part.get("type")
        payload, inner = _PARTS.get(kind, (None, None)) if isinstance(kind, str) else (None, None)
        if payload is None:
            raise unsupported_value(kind, tuple(_PARTS), f"{path}[{j}]")
        images |= kind == "image_url"
        value = part.get(payload)
        if inner and isinstance(value, dict):
            value, payload = value.get(inner), f"{payload}.{inner}"
        elif inner and isinstance(value, str):
            part[payload] = {inner: value}  # a bare URL, as some clients send it: providers only see the object
        expected = dict if kind == "file" else str
        if not isinstance(value, expected):
            raise BadRequest(
                f"Invalid value for '{path}[{j}]': a part of type '{kind}' needs '{payload}', {TYPES[expected]}.",
                param=f"{path}[{j}]",
                code="invalid_value",
            )
        if isinstance(value, dict) and not isinstance(data := value.get("file_data", ""), str):
            raise wrong_type("a string", data, f"{path}[{j}].file.file_data")
    return images


def _calls(calls: Any, path: str) -> None:
    """Check tool calls, and give each what clients leave out and strict hosts demand. Changes them in place."""
    if not isinstance(calls, list):
        raise wrong_type("an array of objects", calls, path)
    for k, call in enumerate(calls):
        if type(call) is dict and None in call.values():
            _drop_nulls(call)
        match call:
            case {"function": {"name": str()}} | {"custom": {"name": str()}} if isinstance(call.get("id", ""), str):
                _drop_nulls(call)
                _texts_inside(call)
                call.setdefault("type", "function" if "function" in call else "custom")
            case dict():
                raise BadRequest(
                    f"Invalid value for '{path}[{k}]': a tool call needs an 'id' and a 'function' with a 'name'.",
                    param=f"{path}[{k}]",
                    code="invalid_value",
                )
            case _:
                raise wrong_type("an object", call, f"{path}[{k}]")


def _texts_inside(call: Json) -> None:
    """Replace a call's arguments or input that are no text by their JSON text, which is all that providers know.

    What is missing or empty becomes no arguments. vLLM: 400 for arguments that are no JSON; DeepSeek: 400 "missing field
    `arguments`". Changes `call` in place.
    """
    for kind, inner, nothing in ("function", "arguments", "{}"), ("custom", "input", ""):
        if isinstance(held := call.get(kind), dict) and (type(text := held.get(inner)) is not str or not text):
            held[inner] = nothing if text is None or text == "" else codec.encode_text(text)


_CHECKS: Final[dict[str, Callable[[Any, str], None]]] = {
    "temperature": number(0, 2),
    "top_p": number(0, 1),
    "frequency_penalty": number(-2, 2),
    "presence_penalty": number(-2, 2),
    "n": number(1, 128, whole=True),
    "top_logprobs": number(0, 20, whole=True),
    "max_tokens": number(1, whole=True),
    "max_completion_tokens": number(1, whole=True),
    "seed": number(-(2**63), 2**63 - 1, whole=True),
    "stop": _stop,
    "stream": of_type(bool),
    "logprobs": of_type(bool),
    "store": of_type(bool),
    "parallel_tool_calls": of_type(bool),
    "stream_options": of_type(dict),
    "logit_bias": of_type(dict),
    "metadata": of_type(dict),
    "audio": of_type(dict),
    "prediction": of_type(dict),
    "web_search_options": of_type(dict),
    "modalities": of_type(list),
    "user": of_type(str),
    "reasoning_effort": of_type(str),
    "verbosity": one_of("low", "medium", "high"),
    "service_tier": of_type(str),
    "safety_identifier": of_type(str),
    "prompt_cache_key": of_type(str),
    "response_format": _response_format,
    "tools": _tools,
    "tool_choice": _tool_choice,
    "functions": functions.check_functions,
    "function_call": functions.check_function_call,
}


_CLIENTS_OWN: Final = frozenset({"model", "messages", "stream", "stream_options", "functions", "function_call"})


def wrong_default(name: str, value: Any) -> str:
    """What is wrong with a parameter that config.yaml adds to requests (`defaults`); "" if nothing is.

    It is held to what a client's would be. A name that is not known may be the upstream's own, unless it is nearly one
    that is.
    """
    if name in _CLIENTS_OWN:
        return "has no default: only the client can say it"
    if value is None:
        return ""
    check = _CHECKS.get(name)
    if check is None:
        close = difflib.get_close_matches(name, _CHECKS, 1, 0.85)
        return f"unknown parameter; did you mean '{close[0]}'?" if close else ""
    try:
        check(value, name)
    except BadRequest as error:
        return error.message
    return ""


_WHOLE: Final = frozenset({"n", "top_logprobs", "max_tokens", "max_completion_tokens", "seed"})


def _drop_nulls(value: Json, kept: frozenset[str] = frozenset()) -> None:
    """Remove the keys of an object that are null, and those of the objects directly inside it: null is absence.

    kept: keys that may be null. Changes `value` in place.
    """
    if None in value.values():
        for name in [name for name, inner in value.items() if inner is None and name not in kept]:
            del value[name]
    for inner in value.values():
        if type(inner) is dict and None in inner.values():
            for name in [name for name, each in inner.items() if each is None]:
                del inner[name]


# Fields of a message that OpenAI's documentation allows to be null.
_NULLABLE: Final = frozenset({"content", "refusal", "audio", "function_call"})
# Parameters that are objects in which null is absence, as it is for the parameters themselves.
_HOLDERS: Final = frozenset({"response_format", "stream_options", "web_search_options", "audio", "prediction"})
# Parameters that mean nothing, and that OpenAI refuses, without another one.
BESIDE: Final = {"tool_choice": "tools", "parallel_tool_calls": "tools", "top_logprobs": "logprobs"}


def _check_schemas(body: Json) -> None:
    given = [name for name in ("tools", "response_format") if name in body]
    if sum(len(codec.encode(body[name])) for name in given) > _MAX_SCHEMAS:
        raise BadRequest(
            f"'tools' and 'response_format' have more than {_MAX_SCHEMAS} bytes together. Send fewer tools, or shorter "
            "descriptions and lists of values.",
            param=given[0],
            code="invalid_schema",
        )


def _no_empty_stops(body: Json) -> None:
    """Leave out texts to stop at that are empty, and `stop` where none is left: OpenAI refuses both. Changes `body`."""
    stops = body["stop"]
    if not stops:
        del body["stop"]
    elif type(stops) is list and "" in stops:
        body["stop"] = [text for text in stops if text]
        if not body["stop"]:
            del body["stop"]


def _reconcile(body: Json) -> None:
    """Check and normalise parameters that depend on each other. Changes `body` in place."""
    if "stream_options" in body and body.get("stream") is not True:
        raise BadRequest(
            "The 'stream_options' parameter is only allowed when 'stream' is enabled.",
            param="stream_options",
            code="invalid_value",
        )
    if "max_completion_tokens" in body:
        body.pop("max_tokens", None)
    if body.get("tools") == []:
        del body["tools"]
    if "stop" in body:
        _no_empty_stops(body)
    if "tools" not in body and body.get("tool_choice") not in (None, "none", "auto"):
        raise BadRequest(
            "'tool_choice' is only allowed when 'tools' are specified.", param="tool_choice", code="invalid_value"
        )
    if body.get("top_logprobs") and not body.get("logprobs"):
        raise BadRequest(
            "'top_logprobs' is only allowed when 'logprobs' is true.", param="top_logprobs", code="invalid_value"
        )
    for name, other in BESIDE.items():
        if name in body and not body.get(other):
            del body[name]
