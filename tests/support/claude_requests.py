"""A Claude request → the OpenAI request that asks for the same; and whether a Claude request is valid."""

import base64
import json
from collections.abc import Iterable
from typing import Any, Literal

import anthropic.types
import pydantic
import typing_extensions
from anthropic.types import message_create_params
from anthropic.types.beta import message_create_params as beta_create_params

Json = dict[str, Any]


class Inexpressible(Exception):
    """OpenAI's shape has no words for this."""


def openai_request(body: Json) -> Json:
    """The request in OpenAI's shape. Raises Inexpressible and names what has no counterpart."""
    known = {"model", "messages", "max_tokens", "system", "tools", "tool_choice", "temperature", "top_p", "stream"}
    known |= {"stop_sequences", "metadata", "thinking", "output_config", "service_tier"}
    if more := body.keys() - known:
        raise Inexpressible(f"parameter {sorted(more)[0]}")
    made: Json = {"model": body["model"], "messages": [], "max_completion_tokens": body["max_tokens"]}
    if system := body.get("system"):
        made["messages"].append({"role": "system", "content": _content(system)})
    for message in body["messages"]:
        made["messages"] += _messages(message)
    made |= {name: body[name] for name in ("temperature", "top_p") if name in body}
    if "stop_sequences" in body:
        made["stop"] = body["stop_sequences"][:4]
    if "metadata" in body:
        made["user"] = body["metadata"].get("user_id")
    if body.get("tools"):
        made["tools"] = [_tool(tool) for tool in body["tools"]]
    return made | _choice(body.get("tool_choice")) | _thinking(body)


def _messages(message: Json) -> list[Json]:
    content = message["content"]
    if message["role"] == "system" or isinstance(content, str):
        return [{"role": message["role"], "content": _content(content)}]
    if message["role"] == "user":
        results = [block for block in content if block["type"] == "tool_result"]
        rest = [block for block in content if block["type"] != "tool_result"]
        return [*map(_result, results), *([{"role": "user", "content": _content(rest)}] if rest else [])]
    made: Json = {"role": "assistant"}
    if text := [block for block in content if block["type"] == "text"]:
        made["content"] = _content(text)
    if thinking := [block for block in content if block["type"] in ("thinking", "redacted_thinking")]:
        made["thinking_blocks"] = thinking
    if calls := [block for block in content if block["type"] == "tool_use"]:
        made["tool_calls"] = list(map(_call, calls))
    if len(text) + len(thinking) + len(calls) < len(content):
        raise Inexpressible("blocks of server tools in an assistant turn")
    return [made]


def _content(content: Any) -> Any:
    return content if isinstance(content, str) else [_part(block) for block in content]


def _part(block: Json) -> Json:
    mark = {"cache_control": block["cache_control"]} if "cache_control" in block else {}
    match block:
        case {"type": "text", "text": text}:
            return {"type": "text", "text": text, **mark}
        case {"type": "image", "source": {"type": "base64", "media_type": kind, "data": data}}:
            return {"type": "image_url", "image_url": {"url": f"data:{kind};base64,{data}"}, **mark}
        case {"type": "image", "source": {"type": "url", "url": url}}:
            return {"type": "image_url", "image_url": {"url": url}, **mark}
        case {"type": "document", "source": {"type": "text", "data": data}} if not block.get("citations"):
            uri = f"data:text/plain;base64,{base64.b64encode(data.encode()).decode()}"
            return {"type": "file", "file": {"file_data": uri, "filename": block.get("title")}, **mark}
        case {"type": "document", "source": {"type": "base64", "media_type": kind, "data": data}}:
            if block.get("citations"):
                raise Inexpressible("citations of documents")
            file = {"file_data": f"data:{kind};base64,{data}", "filename": block.get("title")}
            return {"type": "file", "file": file, **mark}
    source = block.get("source")
    raise Inexpressible(f"block {block['type']} {source['type'] if isinstance(source, dict) else ''}".rstrip())


def _result(block: Json) -> Json:
    mark = {"cache_control": block["cache_control"]} if "cache_control" in block else {}
    made = {
        "role": "tool",
        "tool_call_id": block["tool_use_id"],
        "content": _content(block.get("content") or ""),
        **mark,
    }
    if block.get("is_error"):
        raise Inexpressible("is_error of tool results")
    return made


def _call(block: Json) -> Json:
    arguments = json.dumps(block["input"], ensure_ascii=False)
    mark = {"cache_control": block["cache_control"]} if "cache_control" in block else {}
    return {"id": block["id"], "type": "function", "function": {"name": block["name"], "arguments": arguments}, **mark}


def _tool(tool: Json) -> Json:
    if tool.get("type", "custom") != "custom":
        raise Inexpressible("server tools")
    function = {"name": tool["name"], "parameters": tool["input_schema"]}
    function |= {name: tool[name] for name in ("description", "strict") if name in tool}
    mark = {"cache_control": tool["cache_control"]} if "cache_control" in tool else {}
    if more := tool.keys() - {"type", "name", "input_schema", "description", "strict", "cache_control"}:
        raise Inexpressible(f"tool property {sorted(more)[0]}")
    return {"type": "function", "function": function, **mark}


def _choice(choice: Json | None) -> Json:
    if choice is None:
        return {}
    serial = {"parallel_tool_calls": False} if choice.get("disable_parallel_tool_use") else {}
    if choice["type"] == "tool":
        return {"tool_choice": {"type": "function", "function": {"name": choice["name"]}}, **serial}
    return {"tool_choice": {"any": "required"}.get(choice["type"], choice["type"]), **serial}


def _thinking(body: Json) -> Json:
    made: Json = {}
    config = body.get("output_config") or {}
    match body.get("thinking"):
        case {"type": "enabled", "budget_tokens": budget}:
            made["reasoning_effort"] = "low" if budget < 8192 else "medium" if budget < 16384 else "high"
        case {"type": "adaptive"}:
            made["reasoning_effort"] = "high"
        case {"type": "disabled"}:
            made["reasoning_effort"] = "none"
    if effort := config.get("effort"):
        made["reasoning_effort"] = effort
    if form := config.get("format"):
        made["response_format"] = {"type": "json_schema", "json_schema": {"name": "answer", "schema": form["schema"]}}
    return made


def _forbid_unknown() -> None:
    """The SDK's types say what exists; a key they do not know is a mistake of ours."""
    places = (anthropic.types, message_create_params, anthropic.types.beta, beta_create_params)
    for thing in [thing for place in places for thing in vars(place).values()]:
        if typing_extensions.is_typeddict(thing):
            closed = thing.__extra_items__ is typing_extensions.NoExtraItems
            extra: Literal["forbid", "allow"] = "forbid" if closed else "allow"
            thing.__pydantic_config__ = pydantic.ConfigDict(extra=extra, arbitrary_types_allowed=True)


_forbid_unknown()
_ADAPTER: pydantic.TypeAdapter[Any] = pydantic.TypeAdapter(message_create_params.MessageCreateParamsStreaming)
_BETA: pydantic.TypeAdapter[Any] = pydantic.TypeAdapter(beta_create_params.MessageCreateParamsStreaming)


def validate(body: Json, *, beta: bool = False) -> None:
    """Raises pydantic.ValidationError unless the anthropic SDK's own types accept this request body.

    They describe version 2026-10-21; temperature and top_p are those of 2023-06-01, which is the one we speak.
    """
    sampling = {name: body[name] for name in ("temperature", "top_p") if name in body}
    assert len(sampling) < 2
    assert all(0 <= value <= 1 for value in sampling.values())
    adapter = _BETA if beta else _ADAPTER
    rest = {name: value for name, value in body.items() if name not in sampling}
    _exhaust(adapter.validate_python({**rest, "stream": True}))  # the type of streamed ones; nothing else differs


def _exhaust(value: Any) -> None:
    # Where a block is none of the request's types, those of the answer (which allow anything) may still fit it.
    assert not isinstance(value, pydantic.BaseModel), f"not a block of a request: {value!r}"
    # Where a block is none of the request's types, those of the answer (which allow anything) may still fit it.
    assert not isinstance(value, pydantic.BaseModel), f"not a block of a request: {value!r}"
    # Lists are declared as Iterable, which pydantic checks only as they are read.
    if isinstance(value, dict):
        for one in value.values():
            _exhaust(one)
    elif isinstance(value, Iterable) and not isinstance(value, (str, bytes)):
        for one in value:
            _exhaust(one)
