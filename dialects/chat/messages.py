"""The messages of a chat request: checked each for itself, and brought to one form."""

from typing import Any, Final

from providers import codec
from providers.contract import Json
from providers.errors import BadRequest

from ..validation import TYPES, drop_nulls, unsupported_value, wrong_type

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
# Fields of a message that OpenAI's documentation allows to be null.
_NULLABLE: Final = frozenset({"content", "refusal", "audio", "function_call"})


def check_messages(value: Any) -> tuple[bool, bool]:
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
            drop_nulls(message, _NULLABLE)
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
        drop_nulls(part)
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
            drop_nulls(call)
        match call:
            case {"function": {"name": str()}} | {"custom": {"name": str()}} if isinstance(call.get("id", ""), str):
                drop_nulls(call)
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
