"""Calls of functions that stand for tools which only OpenAI's models have, as the client's own kinds of calls again. Pure."""

import re
from typing import Any, Final

from providers import codec
from providers.contract import Json
from providers.errors import UpstreamBadOutput

from .wanted import LoweredTool

# Kind of a tool → type of its calls, and how their ids begin.
TYPES: Final = {
    "function": ("function_call", "fc"),
    "custom": ("custom_tool_call", "ctc"),
    "local_shell": ("local_shell_call", "lsh"),
    "shell": ("shell_call", "sh"),
    "apply_patch": ("apply_patch_call", "apc"),
    "tool_search": ("tool_search_call", "tsc"),
}
_CUT_ESCAPE: Final = re.compile(r"(?<!\\)((?:\\\\)*)\\(?:u[0-9a-fA-F]{0,3})?$")


def custom_input(arguments: str) -> str:
    """Return the input of a custom tool from the arguments of the function: models do not keep to its one name."""
    match _decoded(arguments):
        case {"input": str() as text}:
            return text
        case dict() as given if not given:
            return ""
        case dict() as given:
            texts = [value for value in given.values() if isinstance(value, str)]
            return texts[0] if len(texts) == 1 else arguments
        case str() as text:
            return text
    return arguments


def cut_input(arguments: str) -> str:
    """Return the input of a custom tool as far as it goes: the arguments have been cut."""
    for whole in (arguments, _CUT_ESCAPE.sub(r"\1", arguments) + '"}'):
        if isinstance(_decoded(whole), dict | str):
            return custom_input(whole)
    return "" if arguments.lstrip().startswith("{") else arguments


def typed_fields(kind: str, arguments: str) -> Json:
    """Return what a call of a tool with a type of its own holds. Raises BadOutput for arguments that do not fit it."""
    given = _decoded(arguments or "{}")
    match kind, given:
        case "local_shell", {"command": [*command]} if _texts(command):
            env = given["env"] if isinstance(given.get("env"), dict) else {}
            action: Json = {"type": "exec", "command": command, "env": env}
            places = {"timeout_ms": "timeout_ms", "workdir": "working_directory"}
            return {"action": action | {to: given[name] for name, to in places.items() if given.get(name) is not None}}
        case "shell", _:
            commands = given.get("commands") if isinstance(given, dict) else None
            if not (isinstance(commands, list) and _texts(commands)):
                given, commands = {}, [arguments]
            limits = {name: given.get(name) for name in ("timeout_ms", "max_output_length")}
            return {"action": {"commands": commands, **limits}, "environment": {"type": "local"}}
        case "apply_patch", {"operation": {"type": "delete_file", "path": str()} as operation}:
            return {"operation": {"type": "delete_file", "path": operation["path"]}}
        case "apply_patch", {
            "operation": {"type": "create_file" | "update_file" as what, "path": str() as path, "diff": str() as diff}
        }:
            return {"operation": {"type": what, "path": path, "diff": diff}}
        case "tool_search", dict():
            return {"execution": "client", "arguments": given}
    raise UpstreamBadOutput(f"The model called {kind} with arguments that do not fit it.")


def named(tool: LoweredTool) -> Json:
    """Return the fields that name the tool of a call."""
    return {"name": tool.name, "namespace": tool.namespace} if tool.namespace is not None else {"name": tool.name}


def _texts(values: list[Any]) -> bool:
    return bool(values) and all(isinstance(each, str) for each in values)


def _decoded(text: str) -> Any:
    try:
        return codec.decode(text.encode("utf-8", "surrogatepass"))
    except ValueError:
        return None
