"""The tools of a chat request, and tool_choice: refused where OpenAI refuses them."""

from typing import Any

from providers.errors import BadRequest

from ..validation import drop_nulls, unsupported_value, wrong_type


def check_tools(value: Any, param: str) -> None:
    if not isinstance(value, list):
        raise wrong_type("an array of objects", value, param)
    for i, tool in enumerate(value):
        if not isinstance(tool, dict):
            raise wrong_type("an object", tool, f"{param}[{i}]")
        drop_nulls(tool)
        match tool:
            case {"type": "function" | "custom" as kind}:
                _named(tool.get(kind), f"{param}[{i}].{kind}")
            case {"type": str()}:
                pass  # tools of the upstream's own, such as web_search, are its business
            case _:
                raise BadRequest(
                    f"Missing required parameter: '{param}[{i}].type'.",
                    param=f"{param}[{i}].type",
                    code="missing_required_parameter",
                )


def _named(value: Any, param: str) -> None:
    if not isinstance(value, dict):
        raise wrong_type("an object", value, param)
    if not isinstance(value.get("name"), str) or not value["name"]:
        raise BadRequest(
            f"Missing required parameter: '{param}.name'.", param=f"{param}.name", code="missing_required_parameter"
        )
    parameters = value.get("parameters")
    if parameters == []:
        value["parameters"] = {}  # PHP's empty object
    elif parameters is not None and not isinstance(parameters, dict):
        raise wrong_type("an object", parameters, f"{param}.parameters")


def check_tool_choice(value: Any, param: str) -> None:
    match value:
        case "none" | "auto" | "required":
            return
        case {"type": "function" | "custom" as kind}:
            _named(value.get(kind), f"{param}.{kind}")
        case {"type": "allowed_tools", "allowed_tools": {"mode": "auto" | "required", "tools": list(tools)}}:
            check_tools(tools, f"{param}.allowed_tools.tools")
        case {"type": "allowed_tools"}:
            raise BadRequest(
                f"Invalid value for '{param}.allowed_tools': expected a 'mode' ('auto' or 'required') and 'tools'.",
                param=f"{param}.allowed_tools",
                code="invalid_value",
            )
        case {"type": str()}:
            return
        case str():
            raise unsupported_value(value, ("none", "auto", "required"), param)
        case _:
            raise wrong_type("'none', 'auto', 'required' or an object", value, param)
