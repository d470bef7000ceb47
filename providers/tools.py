"""Tools of a request, as every protocol reads them."""

from typing import Any

from .contract import Json


def allowed(body: Json) -> tuple[list[Json], Any]:
    """The tools of a request and its tool_choice, with allowed_tools resolved: only the tools it lists, and its mode.

    https://platform.openai.com/docs/guides/function-calling#tool-choice
    """
    tools: list[Json] = body.get("tools") or []
    match body.get("tool_choice"):
        case {"type": "allowed_tools", "allowed_tools": {"tools": list(listed), "mode": mode}}:
            names = {name(tool) for tool in listed}
            return [tool for tool in tools if name(tool) in names], mode
        case choice:
            return tools, choice


def name(tool: Json) -> str:
    """The name inside a tool, a tool call or a named tool_choice: all keep it under the word that is their type."""
    return str(tool[tool.get("type", "function")]["name"])
