"""Tools, tool_choice and response_format, as Claude takes them.

https://platform.claude.com/docs/en/agents-and-tools/tool-use/implement-tool-use. Some models, and every model while it
thinks on a budget, refuse to be forced to a tool: then the tools are cut to the ones wanted and the system prompt asks
for them.
"""

from typing import Any, NamedTuple

from ..common import tools
from ..common.tidy_schemas import tidied
from ..contract import Json, Upstream
from ..errors import BadRequest, Unsupported
from . import schema as schema

_CHOICES = {"auto": {"type": "auto"}, "none": {"type": "none"}, "required": {"type": "any"}}
_NO_TOOL = {"name": "noop", "description": "Not to be called.", "input_schema": {"type": "object", "properties": {}}}
_TEXT_INPUT = {"type": "object", "properties": {"input": {"type": "string"}}, "required": ["input"]}
_JSON_TOOL = "json_response"


class ToolSettings(NamedTuple):
    """What of a request concerns tools and the form of the answer."""

    tools: list[Json]
    choice: Json | None
    format: Json | None = None  # output_config.format
    lines: tuple[str, ...] = ()  # for the system prompt
    custom: frozenset[str] = frozenset()  # tools that were custom ones
    json_tool: str | None = None  # the tool whose input is the answer


_SETTINGS = frozenset({"tools", "tool_choice", "parallel_tool_calls", "response_format", "web_search_options"})
_NO_SETTINGS = ToolSettings([], None)


def toolbox(body: Json, upstream: Upstream, *, thinking_budget: bool, dropped: dict[str, None]) -> ToolSettings:
    """The request's tools and form of answer. thinking_budget: the model thinks on a budget, so it cannot be forced.

    Adds to dropped what is emulated. Raises Unsupported and BadRequest with the tool's index.
    """
    if _SETTINGS.isdisjoint(body):
        return _NO_SETTINGS
    names, choice = tools.allowed_tools(body.get("tool_choice"))
    every = body.get("tools") or []
    listed = [(n, tool) for n, tool in enumerate(every) if names is None or tools.tool_name(tool) in names]
    if every and not listed:
        raise BadRequest("tool_choice allows none of the tools.", param="tool_choice.allowed_tools.tools")
    box = ToolSettings(
        [_tool(tool, f"tools[{n}]") for n, tool in listed],
        None,
        custom=frozenset(tools.tool_name(tool) for _, tool in listed if tool.get("type") == "custom"),
    )
    box = _answer(_strict(box, listed, upstream, dropped), body.get("response_format"), upstream, dropped)
    box = _choose(box, choice, forcing=upstream.facts.forced_tools and not thinking_budget, dropped=dropped)
    if (search := body.get("web_search_options")) is not None:
        box = box._replace(tools=[*box.tools, _web_search(search, upstream)])
    return _one_at_a_time(box) if body.get("parallel_tool_calls") is False else box


def with_history(box: ToolSettings) -> ToolSettings:
    """A conversation with tool calls in it is refused without tools: one that must not be called stands in."""
    return box if box.tools else box._replace(tools=[_NO_TOOL], choice={"type": "none"})


def _tool(tool: Json, at: str) -> Json:
    mark = {"cache_control": cache} if (cache := tool.get("cache_control")) else {}
    if tool.get("type") == "custom":
        custom = tool["custom"]
        tools.refuse_grammar(custom, at)
        return {"name": custom["name"], **_described(custom), "input_schema": _TEXT_INPUT, **mark}
    name, function = tools.tool_name(tool), tool["function"]
    taken = schema.as_input(function.get("parameters"), f"{at}.function.parameters")
    if taken["type"] != "object":
        raise BadRequest("Parameters must be a schema of type object.", param=f"{at}.function.parameters.type")
    if cache := function.get("cache_control"):
        mark = {"cache_control": cache}
    return {"name": name, **_described(function), "input_schema": taken, **mark}


def _described(thing: Json) -> Json:
    return {"description": thing["description"]} if thing.get("description") else {}


def _strict(
    box: ToolSettings, listed: list[tuple[int, Json]], upstream: Upstream, dropped: dict[str, None]
) -> ToolSettings:
    """Strict tools where the model has them and the request stays within their limits; loose ones otherwise."""
    count = optional = unions = 0
    made: list[Json] = []
    for tool, (n, wish) in zip(box.tools, listed, strict=True):
        if not (wish.get("function") or {}).get("strict"):
            made.append(tool)
            continue
        parameters = tool["input_schema"]
        fits = (
            upstream.facts.json_schema
            and count < schema.MAX_STRICT
            and schema.holds(parameters)
            and optional + schema.optional(parameters) <= schema.MAX_OPTIONAL_STRICT
            and unions + schema.unions(parameters) <= schema.MAX_UNIONS
        )
        if not fits:
            dropped[f"tools[{n}].function.strict"] = None
            made.append(tool)
            continue
        count, optional = count + 1, optional + schema.optional(parameters)
        unions += schema.unions(parameters)
        made.append({**tool, "input_schema": schema.cleaned(parameters), "strict": True})
    return box._replace(tools=made)


def _answer(box: ToolSettings, wanted: Json | None, upstream: Upstream, dropped: dict[str, None]) -> ToolSettings:
    """response_format: by the model's own means, or as a tool whose input is the answer."""
    match wanted:
        case {"type": "json_object"}:
            dropped["response_format"] = None
            return box._replace(lines=("Reply with one JSON object only.",))
        case {"type": "json_schema", "json_schema": dict(named)}:
            form = tidied(named.get("schema") or {"type": "object"}, "response_format.json_schema.schema")
        case _:
            return box
    if upstream.facts.json_schema and _fits(form):
        return box._replace(format={"type": "json_schema", "schema": schema.cleaned(form)})
    taken = schema.as_input(form, "response_format.json_schema.schema")
    if taken["type"] != "object":
        raise Unsupported("The schema must be of type object.", param="response_format.json_schema.schema.type")
    dropped["response_format"] = None
    name = tools.Distinct(tool["name"] for tool in box.tools)(_JSON_TOOL)
    about = named.get("description") or "Give the answer by calling this tool."
    tool = {"name": name, "description": about, "input_schema": taken}
    return box._replace(tools=[*box.tools, tool], json_tool=name)


def _fits(form: Json) -> bool:
    return (
        schema.holds(form) and schema.optional(form) <= schema.MAX_OPTIONAL and schema.unions(form) <= schema.MAX_UNIONS
    )


def _choose(box: ToolSettings, choice: Any, *, forcing: bool, dropped: dict[str, None]) -> ToolSettings:
    """tool_choice, the answering tool of response_format included."""
    theirs = [tool for tool in box.tools if tool["name"] != box.json_tool]
    if isinstance(choice, dict):
        name = tools.tool_name(choice)
        if all(tool["name"] != name for tool in theirs):
            raise BadRequest(f"tool_choice names {name!r}, which is not one of the tools.", param="tool_choice")
        # The client wants this call and no answer yet.
        box = box._replace(tools=theirs, json_tool=None)
        if forcing:
            return box._replace(choice={"type": "tool", "name": name})
        dropped["tool_choice"] = None
        return _asked(box, name, [tool for tool in theirs if tool["name"] == name])
    if choice == "required":
        box = box._replace(tools=theirs, json_tool=None)
        if forcing:
            return box._replace(choice=_CHOICES[choice])
        dropped["tool_choice"] = None
        line = "You must answer by calling one of the tools."
        return box._replace(choice=_CHOICES["auto"], lines=(*box.lines, line))
    if box.json_tool is None:
        return box._replace(choice=_CHOICES.get(choice))
    if not theirs or choice == "none":
        if forcing:
            return box._replace(choice={"type": "tool", "name": box.json_tool})
        return _asked(box, box.json_tool, box.tools[-1:])
    if forcing:
        return box._replace(choice=_CHOICES["required"])
    line = f"When you have what you need, you must answer by calling the tool {box.json_tool}."
    return box._replace(choice=_CHOICES["auto"], lines=(*box.lines, line))


def _asked(box: ToolSettings, name: str, left: list[Json]) -> ToolSettings:
    line = f"You must answer by calling the tool {name}."
    return box._replace(tools=left, choice=_CHOICES["auto"], lines=(*box.lines, line))


def _one_at_a_time(box: ToolSettings) -> ToolSettings:
    if not box.tools or box.choice == _CHOICES["none"]:
        return box
    return box._replace(choice={**(box.choice or _CHOICES["auto"]), "disable_parallel_tool_use": True})


def _web_search(wanted: Json, upstream: Upstream) -> Json:
    if not upstream.options.get("web_search"):
        raise Unsupported("Web search is not enabled for this model.", param="web_search_options")
    tool: Json = {"type": "web_search_20250305", "name": "web_search", "max_uses": 5}
    if place := (wanted.get("user_location") or {}).get("approximate"):
        tool["user_location"] = {"type": "approximate", **place}
    return tool
