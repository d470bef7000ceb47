"""What requests and answers of the Responses API share: which of its tools become functions, and how their calls look. Pure.

A tool of the client's that is no function is sent to the upstream as one ("lowered"); its calls are given back in their own
form ("raised"). Both directions are read off the tables here.
"""

import re
from hashlib import sha256
from typing import Any, Final

from providers.contract import Json
from providers.openai.responses.pairs import BY_KIND

# Kind of a tool (LoweredTool.kind) → type of its calls, and how their ids begin.
TYPES: Final = {
    "function": (BY_KIND["function"].item, "fc"),
    "custom": (BY_KIND["custom"].item, "ctc"),
    "local_shell": ("local_shell_call", "lsh"),
    "shell": ("shell_call", "sh"),
    "apply_patch": ("apply_patch_call", "apc"),
    "tool_search": ("tool_search_call", "tsc"),
}
# Type of a call → the kind of tool it calls. The output of each has that type + "_output", but for tool_search's.
CALLS: Final = {call: kind for kind, (call, _) in TYPES.items()}
OUTPUTS: Final = {
    "tool_search_output" if kind == "tool_search" else f"{call}_output": kind for call, kind in CALLS.items()
}

# Kinds of tools that hold no name: the function has the kind's. Argument of the function ↔ field of the call's action.
ACTIONS: Final = {
    "local_shell": {
        "command": "command",
        "workdir": "working_directory",
        "timeout_ms": "timeout_ms",
        "env": "env",
    },
    "shell": {"commands": "commands", "timeout_ms": "timeout_ms", "max_output_length": "max_output_length"},
}


def _strings(description: str) -> Json:
    return {"type": "array", "items": {"type": "string"}, "description": description}


def _object(properties: Json, *required: str) -> Json:
    return {"type": "object", "properties": properties, "required": list(required), "additionalProperties": False}


_TIMEOUT: Final = {"type": "integer", "description": "Milliseconds after which the command is stopped."}
# Kind → description and parameters of the function that stands for the tool.
BUILT_IN: Final[dict[str, tuple[str, Json]]] = {
    "local_shell": (
        "Run a command on the user's machine and return what it prints.",
        _object(
            {
                "command": _strings("The program and its arguments."),
                "workdir": {"type": "string", "description": "The folder to run it in."},
                "timeout_ms": _TIMEOUT,
                "env": {
                    "type": "object",
                    "additionalProperties": {"type": "string"},
                    "description": "Environment variables to set.",
                },
            },
            "command",
        ),
    ),
    "shell": (
        "Run shell commands on the user's machine and return what each prints and how it ended.",
        _object(
            {
                "commands": _strings("Shell commands, each run by itself."),
                "timeout_ms": _TIMEOUT,
                "max_output_length": {"type": "integer", "description": "Characters of output to return at most."},
            },
            "commands",
        ),
    ),
    "apply_patch": (
        "Create, update or delete one file.",
        _object(
            {
                "operation": {
                    "type": "object",
                    "properties": {
                        "type": {"type": "string", "enum": ["create_file", "update_file", "delete_file"]},
                        "path": {"type": "string", "description": "The file, relative to the working directory."},
                        "diff": {
                            "type": "string",
                            "description": "What changes, as a V4A diff: lines that begin with '+' are added, with '-' removed, "
                            "with a blank kept; '@@' and a line of context lead to a place. For create_file every line begins "
                            "with '+'; for delete_file leave it out.",
                        },
                    },
                    "required": ["type", "path"],
                    "additionalProperties": False,
                }
            },
            "operation",
        ),
    ),
}

_LONGEST_NAME: Final = 64
_UNFIT: Final = re.compile("[^A-Za-z0-9_-]")


def flattened(name: str, namespace: Any = None) -> str:
    """Return the name of the function that stands for a tool of a namespace; without one, the tool's own name.

    The same for the same two at any time: calls of earlier turns get it without a table.
    """
    if not isinstance(namespace, str) or not namespace:
        return name
    full = f"{namespace}__{name}"
    clean = _UNFIT.sub("_", full)
    if len(clean) <= _LONGEST_NAME:
        return clean
    digest = sha256(full.encode("utf-8", "surrogatepass")).hexdigest()[:8]
    return f"{clean[: _LONGEST_NAME - 9]}_{digest}"


def custom_schema(name: str) -> Json:
    """Return the parameters of the function that stands for a custom tool: one text."""
    return _object({"input": {"type": "string", "description": f"The whole input of {name[:100]}, as it is."}}, "input")
