"""A null where a key may be absent: at every place of a request, for every row of the hosts and every protocol."""

import copy
import json
from collections.abc import Iterator
from typing import Any

import pytest
from cached import remember
from model_table import MODELS

from dialects.chat import request
from gateway.reasoning_cache import ReasoningCache
from providers import PROVIDERS
from providers.contract import Json, Upstream
from providers.errors import Failure
from providers.hosts import HOSTS

NAMES = {
    "openai": ("gpt-4o", "gpt-6-astra"),
    "deepseek": ("deepseek-v4-pro",),
    "moonshot": ("kimi-k2.6",),
    "anthropic": ("claude-sonnet-5-5", "claude-haiku-4-5", "claude-3-opus"),
    "gemini": ("gemini-3.8-flash", "gemini-2.5-flash"),
    "echo": ("echo",),
}
PNG = "data:image/png;base64,iVBORw0KGgoAAAANSUhEUg=="
MARK = {"type": "ephemeral"}
SCHEMA = {"type": "object", "properties": {"x": {"type": "string", "enum": ["a"]}}, "required": ["x"], "title": "T"}
FULL: Json = {
    "model": "m",
    "stream": True,
    "stream_options": {"include_usage": True},
    "temperature": 0.5,
    "stop": ["x"],
    "user": "u",
    "metadata": {"a": "b"},
    "reasoning_effort": "low",
    "service_tier": "auto",
    "parallel_tool_calls": False,
    "response_format": {
        "type": "json_schema",
        "json_schema": {"name": "n", "description": "d", "strict": True, "schema": SCHEMA},
    },
    "tools": [
        {
            "type": "function",
            "cache_control": MARK,
            "function": {"name": "f", "description": "d", "strict": True, "parameters": SCHEMA, "cache_control": MARK},
        }
    ],
    "tool_choice": {"type": "function", "function": {"name": "f"}},
    "messages": [
        {"role": "system", "content": [{"type": "text", "text": "S", "cache_control": MARK}], "name": "s"},
        {
            "role": "user",
            "name": "u",
            "tool_call_id": "none",
            "tool_calls": [],
            "cache_control": MARK,
            "content": [
                {"type": "text", "text": "hi", "cache_control": MARK},
                {"type": "image_url", "image_url": {"url": PNG, "detail": "low"}},
                {"type": "file", "file": {"filename": "a.txt", "file_data": "data:text/plain;base64,aGk=", "file_id": "i"}},
            ],
        },
        {
            "role": "assistant",
            "content": "a",
            "name": "n",
            "refusal": "r",
            "audio": {"id": "x"},
            "annotations": [],
            "function_call": {"name": "f", "arguments": "{}"},
            "reasoning_content": "r",
            "reasoning": "r",
            "reasoning_details": [{"type": "reasoning.text", "text": "t", "signature": "s", "format": "anthropic"}],
            "thinking_blocks": [{"type": "thinking", "thinking": "t", "signature": "s", "cache_control": MARK}],
            "reasoning_items": [{"type": "reasoning", "id": "r", "summary": []}],
            "extra_content": {"google": {"thought_signature": "s"}},
            "tool_call_id": "none",
            "tool_calls": [
                {
                    "id": "c",
                    "type": "function",
                    "index": 0,
                    "function": {"name": "f", "arguments": "{}", "cache_control": MARK},
                    "extra_content": {"google": {"thought_signature": "s"}},
                    "custom": {"name": "f", "input": "x"},
                }
            ],
        },
        {"role": "tool", "tool_call_id": "c", "name": "f", "content": [{"type": "text", "text": "t", "cache_control": MARK}]},
        {"role": "developer", "content": "D", "name": "d"},
        {"role": "user", "content": "go", "tool_call_id": "none"},
    ],
}  # fmt: skip


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in inside:
        yield (*path, key)
        yield from places(inner, (*path, key))


def put(body: Json, path: tuple[Any, ...], value: Any) -> Json:
    body = copy.deepcopy(body)
    at: Any = body
    for key in path[:-1]:
        at = at[key]
    at[path[-1]] = value
    return body


def without_function_call(body: Json) -> Json:
    """The same request in today's form, so that what follows the legacy form is reached too."""
    body = copy.deepcopy(body)
    for message in body["messages"]:
        message.pop("function_call", None)
        if message.get("tool_calls"):
            message.pop("audio", None)
            del message["tool_calls"][0]["custom"]
    return body


TARGETS = [
    Upstream(name, model, host=host, facts=MODELS.of(model, name), options={"web_search": True})
    for name, host in HOSTS.items()
    for model in NAMES.get(name, ("x",))
]
BODIES = [FULL, without_function_call(FULL)]
ASKED = [(body, path) for body in BODIES for path in places(body)]


@pytest.mark.parametrize("value", [None, 7, "text", [], {}, [None], [7]], ids=repr)
def test_an_odd_value_at_any_place_is_an_answer_or_a_clear_error(value: Any) -> None:
    cache = ReasoningCache()
    remember(cache, FULL["messages"][2])
    reached = 0
    for body, path in ASKED:
        try:
            ask = request.parse(json.dumps(put(body, path, value)).encode())
            whole = cache.restore(ask.body) if ask.tool_calls else ask.body
        except Failure:
            continue
        for to in TARGETS:
            try:
                PROVIDERS[to.host.protocol].build_request(whole, to)
            except Failure as failed:
                assert failed.status == 400, (path, to.name)
            except Exception as bug:
                raise AssertionError((path, value, to.name)) from bug
            else:
                reached += 1
    assert reached > (1000 if value is None else 0)
