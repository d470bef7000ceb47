"""Tools and tool_choice: what is no function is lowered to one (tables.py), what cannot be is dropped or refused. Pure."""

import re
from collections.abc import Iterable
from typing import Any, Final, NamedTuple

from providers.contract import Json
from providers.errors import BadRequest, Unsupported
from providers.openai.responses.pairs import nested

from ..validation import unsupported_value, wrong_type
from .tables import BUILT_IN, custom_schema, flattened
from .wanted import LoweredTool

# The answer would be misread without them: it would seem to know, or to have done, what it does not.
_REFUSED: Final = frozenset(
    {"file_search", "code_interpreter", "mcp", "computer", "computer_use", "computer_use_preview"}
)
_LOCAL: Final = (None, "local")  # types of a shell's environment
# Types, without dates, of tools that clients run, or that only group or find tools of the request. Others, and those of
# tomorrow, run upstream: they are paid for apart, or have the model asked again and again with what they find.
_RUN_BY_CLIENTS: Final = frozenset(
    {"function", "custom", "local_shell", "apply_patch", "namespace", "tool_search", "computer", "computer_use"}
)
_DATE: Final = re.compile(r"(?:_preview)?(?:_\d{4}_\d{2}_\d{2})?$", re.ASCII)
_LONGEST_GRAMMAR: Final = 8192  # characters
_NO_PARAMETERS: Final[Json] = {"type": "object", "properties": {}}
_FREE_TEXT: Final = "The input is free text, not JSON. Put the whole text into `input`, without a code fence around it."


class Lowered(NamedTuple):
    """tools: of the chat request; names: of its functions → the client's tools; paths: of each in the client's request."""

    tools: list[Json]
    names: dict[str, LoweredTool]
    paths: list[str]
    dropped: list[str]


def lower(given: Iterable[tuple[Any, str]]) -> Lowered:
    """Return tools as functions. given: each with its path. Raises BadRequest, and Unsupported for tools of OpenAI's own.

    Of two with one name the later one counts, at the place of the first.
    """
    made: dict[str, tuple[Json, LoweredTool, str]] = {}
    dropped: dict[str, None] = {}
    for tool, at in _each(given, dropped):
        kind, namespace, about = tool["type"], tool.get("namespace"), tool.get("description")
        name = kind if kind in BUILT_IN or kind == "tool_search" else _name(tool, at)
        sent = flattened(name, namespace)
        if sent in made and made[sent][1].kind != kind:
            raise BadRequest(
                f"Two tools of different types are named '{sent[:100]}'.", param=f"{at}.name", code="invalid_value"
            )
        strict, parameters = False, tool.get("parameters")
        match kind:
            case "custom":
                about, parameters = _custom(about, tool.get("format"), dropped), custom_schema(name)
            case str() if kind in BUILT_IN:
                about, parameters = BUILT_IN[kind]
            case _:
                strict = tool.get("strict") is True
        function: Json = {"type": "function", "name": sent}
        if about := "\n\n".join(text for text in (tool.get("lead"), about) if isinstance(text, str) and text):
            function["description"] = about
        function["parameters"] = _NO_PARAMETERS if parameters is None else parameters
        function["strict"] = strict
        made[sent] = nested(function), LoweredTool(kind, name, namespace), at
    return Lowered(
        [tool for tool, _, _ in made.values()],
        {name: raised for name, (_, raised, _) in made.items()},
        [at for _, _, at in made.values()],
        list(dropped),
    )


def upstream_tools(given: Json) -> tuple[str, ...]:
    """Return "tools." and the type, without its date, of each tool that is not the client's to run, wherever it is defined.

    given: a request. Malformed ones are the upstream's to refuse.
    """
    found: dict[str, None] = {}
    items = given.get("input")
    lists = [given, *(items if isinstance(items, list) else ())]
    while lists:
        holder = lists.pop()
        tools = holder.get("tools") if isinstance(holder, dict) else None
        for tool in tools if isinstance(tools, list) else ():
            lists.append(tool)  # a namespace holds others
            match tool:
                case {"type": "shell"} if _is_local(tool):
                    pass
                case {"type": str(kind)} if (name := _DATE.sub("", kind)) not in _RUN_BY_CLIENTS:
                    found[f"tools.{name[:100]}"] = None
    return tuple(found)


def _is_local(shell: Json) -> bool:
    environment = shell.get("environment") or {}
    return isinstance(environment, dict) and environment.get("type") in _LOCAL


def _each(given: Iterable[tuple[Any, str]], dropped: dict[str, None]) -> Iterable[tuple[Json, str]]:
    """Yield the tools that become functions; those of a namespace say it, and its description as `lead`."""
    for tool, at in given:
        if not isinstance(tool, dict):
            raise wrong_type("an object", tool, at)
        match tool.get("type"):
            case "function" | "custom" | "local_shell" | "apply_patch" as kind:
                yield {**tool, "type": kind, "namespace": None, "lead": None}, at
            case "shell":
                if not _is_local(tool):
                    raise _not_here("shell", f"{at}.environment")
                yield {"type": "shell"}, at
            case "tool_search":
                if tool.get("execution") == "client":
                    yield {**tool, "namespace": None, "lead": None}, at
                else:
                    dropped["tools.tool_search"] = None
            case "namespace":
                yield from _of_namespace(tool, at, dropped)
            case str(kind) if kind in _REFUSED:
                raise _not_here(kind, f"{at}.type")
            case str(kind):
                search = kind.startswith("web_search")
                dropped["tools.web_search" if search else f"tools.{kind[:64]}"] = None
            case _:
                raise BadRequest(
                    f"Missing required parameter: '{at}.type'.", param=f"{at}.type", code="missing_required_parameter"
                )


def _of_namespace(tool: Json, at: str, dropped: dict[str, None]) -> Iterable[tuple[Json, str]]:
    name, inside = _name(tool, at), tool.get("tools")
    if not isinstance(inside, list):
        raise wrong_type("an array of objects", inside, f"{at}.tools")
    listed = [(each, f"{at}.tools[{n}]") for n, each in enumerate(inside)]
    for each, path in listed:
        match each:
            case {"type": "function" | "custom"}:
                yield {**each, "namespace": name, "lead": tool.get("description")}, path
            case {"type": str(kind)}:
                dropped[f"tools.{kind[:64]}"] = None
            case _:
                raise wrong_type("an object with a 'type'", each, path)


def _name(tool: Json, at: str) -> str:
    name = tool.get("name")
    if not isinstance(name, str) or not name:
        raise BadRequest(
            f"Missing required parameter: '{at}.name'.", param=f"{at}.name", code="missing_required_parameter"
        )
    return name


def _not_here(kind: str, param: str) -> Unsupported:
    return Unsupported(f"The tool '{kind}' needs a model served natively.", param=param)


def _custom(about: Any, form: Any, dropped: dict[str, None]) -> str:
    """Return the description of a custom tool, with its grammar: there is no other way to ask for it."""
    texts = [about] if isinstance(about, str) and about else []
    texts.append(_FREE_TEXT)
    match form:
        case {"type": "grammar", "definition": str(grammar), **more}:
            dropped["tools.format"] = None
            cut = " (cut)" if len(grammar) > _LONGEST_GRAMMAR else ""
            syntax = more.get("syntax") if more.get("syntax") in ("lark", "regex") else "lark"
            texts.append(f"It must follow this {syntax} grammar{cut}:\n{grammar[:_LONGEST_GRAMMAR]}")
    return "\n\n".join(texts)


def choice(value: Any, lowered: Lowered) -> Any:
    """Return a tool_choice as chat has it. Raises BadRequest for one that names a tool that is not there."""
    match value:
        case "none" | "auto" | "required":
            if value == "required" and not lowered.tools:
                raise _no_tool("No tool is left that could be required.")
            return value
        case {"type": "allowed_tools", "mode": "auto" | "required" as mode, "tools": [*listed]}:
            left = [each for tool in listed if (each := _forced(tool, lowered, True)) is not None]
            if not left:
                raise _no_tool("None of the allowed tools is there.")
            return nested({"type": "allowed_tools", "mode": mode, "tools": left})
        case {"type": str()}:
            return _forced(value, lowered, False)
        case str():
            raise unsupported_value(value, ("none", "auto", "required"), "tool_choice")
    raise wrong_type("'none', 'auto', 'required' or an object", value, "tool_choice")


def _forced(tool: Any, lowered: Lowered, optional: bool) -> Json | None:
    """Return the choice of one function. optional: None for a tool that was dropped."""
    match tool:
        case {"type": "function" | "custom", "name": str(name)}:
            sent = flattened(name, tool.get("namespace"))
            found = sent in lowered.names
        case {"type": str(sent)}:
            found = sent in lowered.names and lowered.names[sent].kind == sent
            if not found and optional:
                return None
        case _:
            raise wrong_type("an object with a 'type'", tool, "tool_choice")
    if not found:
        raise _no_tool(f"There is no tool '{sent[:100]}' that could be chosen.")
    return nested({"type": "function", "name": sent})


def _no_tool(message: str) -> Unsupported:
    return Unsupported(f"Invalid value for 'tool_choice': {message}", param="tool_choice", code="invalid_value")
