"""Tools as OpenAI names them: what every translated protocol asks of `tools` and `tool_choice`."""

from typing import Any

from .contract import Json


def name_of(tool: Json) -> str:
    """The name of a function or custom tool, of a tool call or of a named choice: they share one shape."""
    kind = "custom" if tool.get("type") == "custom" else "function"
    name: str = tool[kind]["name"]
    return name


def allowed(choice: Any) -> tuple[frozenset[str] | None, Any]:
    """tool_choice → (the names `allowed_tools` leaves, or None for all; the choice that remains: auto, required …)."""
    match choice:
        case {"type": "allowed_tools", "allowed_tools": {"mode": mode, "tools": [*tools]}}:
            return frozenset(map(name_of, tools)), mode
    return None, choice
