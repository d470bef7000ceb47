"""Tools and tool_choice as a host takes them."""

from typing import Any, Final

from ..common import tool_schemas
from ..common.tidy_schemas import tidied
from ..contract import Json, Upstream
from ..errors import BadRequest, Unsupported
from ..hosts import Host
from .messages import omit, stripped

_STRICT: Final = frozenset({"strict"})
_NO_PARAMETERS: Final[Json] = {"type": "object", "properties": {}}
_WITH_PARAMETERS: Final = ("properties", "anyOf", "oneOf", "allOf", "$ref")  # one of these is in every other schema


def has_functions(body: Json) -> bool:
    """Whether a request brings function tools."""
    return any(_is_function(tool) for tool in body.get("tools") or ())


def _is_function(tool: Json) -> bool:
    return bool(tool.get("type", "function") == "function")


def edit_tools(out: Json, upstream: Upstream, thinks: bool, changed: list[str]) -> None:
    """Bring tools and tool_choice into the host's terms. thinks: the model will reason. Changes `out`."""
    host = upstream.host
    tools = out.get("tools") or []
    if not host.custom_tools:
        for index, tool in enumerate(tools):
            if not _is_function(tool):
                raise Unsupported("This model's host takes function tools only.", param=f"tools[{index}].type")
    edited = [_tool(tool, host, f"tools[{index}].function.parameters") for index, tool in enumerate(tools)]
    if edited != tools:
        out["tools"] = tools = edited
    choice = out.get("tool_choice")
    match choice:
        case {"type": "allowed_tools", "allowed_tools": {"mode": mode, "tools": allowed}} if not host.openai_rules:
            names = {_name(tool) for tool in allowed}
            out["tools"] = [tool for tool in tools if _name(tool) in names]
            if not out["tools"]:
                raise BadRequest(
                    "tool_choice allows none of the tools.",
                    param="tool_choice.allowed_tools.tools",
                    code="invalid_value",
                )
            out["tool_choice"] = choice = mode
    if choice is None or choice == "auto":
        if host.forced_tools == "none":
            out.pop("tool_choice", None)
        return
    if host.forced_tools == "none":
        del out["tool_choice"]
        if choice == "none":
            out.pop("tools", None)
        else:
            changed.append("tool_choice")
    elif choice != "none" and (
        host.forced_tools == "no"
        or (host.forced_tools == "without_thinking" and thinks)
        or not upstream.facts.forced_tools
    ):
        out["tool_choice"] = "auto"
        changed.append("tool_choice")
    elif isinstance(choice, str) and choice in host.tool_choice:
        out["tool_choice"] = host.tool_choice[choice]


def _tool(tool: Json, host: Host, param: str) -> Json:
    """A tool as the host takes it; the same object where there is nothing to change."""
    if host.strip:
        tool = stripped(tool, host.strip)
    if not isinstance(function := tool.get("function"), dict):
        return tool
    fit = function if host.strict_tools or "strict" not in function else omit(function, _STRICT)
    fit = fitted_schema(fit, host, param)
    return tool if fit is function else tool | {"function": fit}


def fitted_schema(function: Json, host: Host, param: str) -> Json:
    """A function with parameters that the host takes; the same object where there is nothing to change."""
    parameters = function.get("parameters")
    if not isinstance(parameters, dict):
        return function if host.bare_tools or parameters is not None else function | {"parameters": _NO_PARAMETERS}
    schema = tool_schemas.without_top_reference(tidied(parameters, param))
    if not host.bare_tools and schema.keys().isdisjoint(_WITH_PARAMETERS):
        schema = {**_NO_PARAMETERS, **schema}
    if not host.any_parameters:
        schema = tool_schemas.plain_object(schema, param)
    if not host.typed_unions:
        schema = tool_schemas.typed_unions(schema, param)
    return function if schema is parameters else function | {"parameters": schema}


def _name(tool: Json) -> Any:
    return tool.get(tool.get("type", "function"), {}).get("name")
