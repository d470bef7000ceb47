"""Tools as OpenAI names them: what every translated protocol asks of `tools` and `tool_choice`."""

from typing import Any

from .contract import Json
from .errors import Unsupported


def name_of(tool: Json) -> str:
    """The name of a function or custom tool, of a tool call or of a named choice: they share one shape.

    Raises Unsupported for a tool of another kind, which only its own host knows.
    """
    match tool:
        case {"type": "function" | None, "function": {"name": str(name)}} | {
            "type": "custom",
            "custom": {"name": str(name)},
        }:
            return name
        case {"function": {"name": str(name)}} | {"custom": {"name": str(name)}} if "type" not in tool:
            return name
    raise Unsupported("This model takes functions and custom tools only.", param="tools")


def allowed(choice: Any) -> tuple[frozenset[str] | None, Any]:
    """tool_choice → (the names `allowed_tools` leaves, or None for all; the choice that remains: auto, required …)."""
    match choice:
        case {"type": "allowed_tools", "allowed_tools": {"mode": mode, "tools": [*tools]}}:
            return frozenset(map(name_of, tools)), mode
    return None, choice
