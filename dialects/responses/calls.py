"""Calls and outputs of items: as functions, which is all that every upstream knows. Pure."""

from typing import Any, Final

from providers import codec
from providers.contract import Json
from providers.errors import BadRequest

from ..validation import wrong_type
from .content import parts, plain
from .tables import ACTIONS, CALLS, flattened

_LONGEST_REPORT: Final = 4096  # characters of what a tool of another server did


def called(item: Json, kind: str, at: str) -> tuple[str, str]:
    """Return the name and the arguments of the function that stands for the tool of a call."""
    match kind:
        case "function_call":
            arguments = item.get("arguments")
            text = (
                arguments if isinstance(arguments, str) else "" if arguments is None else codec.encode_text(arguments)
            )
            return flattened(text_of(item, "name", at), item.get("namespace")), text or "{}"
        case "custom_tool_call":
            given = item.get("input")
            name = flattened(text_of(item, "name", at), item.get("namespace"))
            return name, codec.encode_text({"input": given if isinstance(given, str) else ""})
        case "tool_search_call":
            arguments = item.get("arguments")
            return "tool_search", arguments if isinstance(arguments, str) else codec.encode_text(arguments or {})
        case "apply_patch_call":
            return "apply_patch", codec.encode_text({"operation": item.get("operation") or {}})
    tool = CALLS[kind]
    action = item.get("action")
    held = action if isinstance(action, dict) else {}
    named = {name: held[where] for name, where in ACTIONS[tool].items() if held.get(where) not in (None, {})}
    return tool, codec.encode_text(named)


def result(item: Json, kind: str, at: str) -> tuple[Any, list[str]]:
    """Return the content of the message that an output becomes, and the paths of its parts."""
    output = item.get("output")
    match kind:
        case "tool_search_output":
            found = [
                {name: tool.get(name) for name in ("name", "description")}
                for tool in item["tools"]
                if type(tool) is dict
            ]
            return codec.encode_text(found), []
        case "shell_call_output" if isinstance(output, list):
            kept = ("stdout", "stderr", "outcome")
            told = [{name: each[name] for name in kept if name in each} for each in output if isinstance(each, dict)]
            return codec.encode_text(told), []
        case "apply_patch_call_output":
            return codec.encode_text(
                {name: item[name] for name in ("status", "output") if item.get(name) is not None}
            ), []
    if output is None:
        return "", []
    if isinstance(output, dict):
        return codec.encode_text(output), []
    made = parts(output, f"{at}.output")
    return plain(made), [path for _, path in made]


def text_of(item: Json, name: str, at: str, instead: Any = None) -> str:
    value = item.get(name)
    if value is None or value == "":
        value = instead
    if value is None or value == "":
        raise BadRequest(
            f"Missing required parameter: '{at}.{name}'.", param=f"{at}.{name}", code="missing_required_parameter"
        )
    if not isinstance(value, str):
        raise wrong_type("a string", value, f"{at}.{name}")
    return value


def report(item: Json) -> str:
    """Return what a tool of another server did, as a text: its output stands nowhere else."""
    output = item.get("output") if item.get("output") is not None else item.get("error")
    texts = [
        each if isinstance(each, str) else codec.encode_text(each)
        for each in (item.get("arguments") or "", output or "")
    ]
    return f"[tool {str(item.get('name'))[:200]} {texts[0]} → {texts[1]}"[: _LONGEST_REPORT - 1] + "]"
