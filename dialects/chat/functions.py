"""`functions` and `function_call`, which OpenAI replaced by tools in 2023 and clients still send.

They become tools when a request is parsed, so that nothing else knows them, and the answer is turned back:
message.function_call, finish_reason "function_call", the first call only. https://platform.openai.com/docs/api-reference/chat/create
"""

from typing import Any

from providers.contract import Json
from providers.errors import BadRequest


def check_functions(value: Any, param: str) -> None:
    """Raises BadRequest unless value is a list of {"name": …}."""
    named = isinstance(value, list) and all(isinstance(f, dict) and isinstance(f.get("name"), str) for f in value)
    if not named:
        raise BadRequest(
            f"Invalid type for '{param}': expected an array of objects with a 'name'.", param=param, code="invalid_type"
        )


def check_function_call(value: Any, param: str) -> None:
    """Raises BadRequest unless value is "none", "auto" or {"name": …}."""
    match value:
        case "none" | "auto" | {"name": str()}:
            return
    raise BadRequest(
        f"Invalid value for '{param}': expected 'none', 'auto' or an object with a 'name'.",
        param=param,
        code="invalid_value",
    )


def functions_to_tools(body: Json) -> tuple[Json, bool]:
    """A request with functions → the same with tools, and whether its answer must speak of functions.

    A `function` result is paired with the nearest earlier call of its name that has no answer yet.
    """
    messages = body["messages"]
    if any("function_call" in message or message["role"] == "function" for message in messages):
        body["messages"] = _messages(messages)
    functions, call = body.pop("functions", None), body.pop("function_call", None)
    if isinstance(call, dict) and not functions:
        raise BadRequest(
            "'function_call' is only allowed when 'functions' are specified.",
            param="function_call",
            code="invalid_value",
        )
    if not functions or body.get("tools"):
        return body, False
    body["tools"] = [{"type": "function", "function": function} for function in functions]
    if call is not None:
        body["tool_choice"] = call if isinstance(call, str) else {"type": "function", "function": call}
    return body, True


def _messages(messages: list[Json]) -> list[Json]:
    modern: list[Json] = []
    waiting: dict[str, list[str]] = {}  # name → ids of its calls that have no answer yet, the latest last
    for i, message in enumerate(messages):
        call = message.get("function_call")
        if message["role"] == "assistant" and call is not None:
            if not isinstance(call, dict) or not isinstance(call.get("name"), str):
                raise BadRequest(
                    f"Invalid value for 'messages[{i}].function_call': expected an object with a 'name'.",
                    param=f"messages[{i}].function_call",
                    code="invalid_value",
                )
            ident = f"call_function_{i}"
            waiting.setdefault(call["name"], []).append(ident)
            rest = {key: value for key, value in message.items() if key != "function_call"}
            function = {"name": call["name"], "arguments": call.get("arguments") or ""}
            modern.append({**rest, "tool_calls": [{"id": ident, "type": "function", "function": function}]})
        elif message["role"] == "function":
            name = message.get("name")
            if not isinstance(name, str) or not name:
                raise BadRequest(
                    f"Missing required parameter: 'messages[{i}].name'.",
                    param=f"messages[{i}].name",
                    code="missing_required_parameter",
                )
            result = {"role": "tool", "content": message.get("content") or ""}
            if open_calls := waiting.get(name):
                modern.append({**result, "tool_call_id": open_calls.pop()})
            else:  # its call is gone
                modern.append({**result, "tool_call_id": f"call_function_{i}", "name": name})
        else:
            modern.append(message)
    return modern


def answer_with_function(body: Json) -> Json:
    """A whole answer that speaks of tool calls → one that speaks of its first function call. Changes `body`."""
    for choice in body["choices"]:
        calls = choice["message"].pop("tool_calls", None)
        if calls:
            choice["message"]["function_call"] = calls[0].get("function")
        _finish(choice)
    return body


def chunk_with_function(body: Json) -> Json:
    """The same for a chunk. Fragments of other calls than the first become empty deltas."""
    for choice in body["choices"]:
        fragments = choice["delta"].pop("tool_calls", None)
        if fragments:
            first = next((each.get("function") for each in fragments if each.get("index") == 0), None)
            if first:
                choice["delta"]["function_call"] = first
        _finish(choice)
    return body


def _finish(choice: Json) -> None:
    if choice.get("finish_reason") == "tool_calls":
        choice["finish_reason"] = "function_call"
