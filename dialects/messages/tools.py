"""Tools and tool_choice of Messages → those of a chat request."""

import re
from collections.abc import Iterator
from typing import Any, Final

from providers import codec
from providers.contract import Json
from providers.errors import Unsupported

from .content import cache_mark
from .reading import Reading, invalid, list_at, object_at, text_at

_MOST_EXAMPLES: Final = 3
_TEXT: Final = {"type": "string"}
_LINE: Final = {"type": "integer"}
_RANGE: Final = {"type": "array", "items": _LINE}
_EDIT: Final[Json] = {
    "path": _TEXT,
    "view_range": _RANGE,
    "old_str": _TEXT,
    "new_str": _TEXT,
    "file_text": _TEXT,
    "insert_line": _LINE,
    "insert_text": _TEXT,
}


def _commands(*names: str) -> Json:
    return {"command": {"type": "string", "enum": list(names)}}


# Tools that Claude knows by type and clients run: beginning of the type → what they do, their inputs, those required.
_KNOWN: Final[dict[str, tuple[str, Json, list[str]]]] = {
    "bash_": (
        "Run a command in a persistent bash session, or restart it.",
        {"command": _TEXT, "restart": {"type": "boolean"}},
        [],
    ),
    "text_editor_20250124": (
        "View, create and edit text files.",
        _commands("view", "str_replace", "create", "insert", "undo_edit") | _EDIT,
        ["command", "path"],
    ),
    "text_editor_": (
        "View, create and edit text files.",
        _commands("view", "str_replace", "create", "insert") | _EDIT,
        ["command", "path"],
    ),
    "memory_": (
        "View and edit files of a memory directory that outlasts the conversation.",
        _commands("view", "create", "str_replace", "insert", "delete", "rename")
        | _EDIT
        | {"old_path": _TEXT, "new_path": _TEXT},
        ["command"],
    ),
}
_SEARCH: Final = "tool_search_tool_"
# Types, without dates, of tools that clients run. Others, and those of tomorrow, run upstream, but for those that only find
# tools of the request: they are paid for apart, or have models asked again and again with what they find.
_RUN_BY_CLIENTS: Final = frozenset(
    {"", "custom", "bash", "text_editor", "memory", "computer", "computer_toolset", "browser_toolset"}
)
_DATE: Final = re.compile(r"_\d{8}$", re.ASCII)
_DEFINE: Final = ("tool_addition", "compaction")
_CHOICES: Final = {"auto": "auto", "any": "required", "none": "none"}


def put_tools(tools: Any, choice: Any, body: Json, reading: Reading) -> None:
    """Add tools and tool_choice to a chat request. `reading` knows the tools that the history has loaded.

    Raises BadRequest, and Unsupported where only tools of Anthropic's servers could be used.
    """
    wanted = _choice(choice)
    forced = wanted.get("name")
    listed = [object_at(tool, f"tools.{n}") for n, tool in enumerate(list_at([] if tools is None else tools, "tools"))]
    types = [str(tool.get("type") or "custom") for tool in listed]
    if searched := any(kind.startswith(_SEARCH) for kind in types):
        reading.drop("tools.tool_search")
    made: list[Json] = []
    away: list[tuple[int, str]] = []  # tools of Anthropic's servers
    ours = 0
    for n, (tool, kind) in enumerate(zip(listed, types, strict=True)):
        known = next((row for begin, row in _KNOWN.items() if kind.startswith(begin)), None)
        if kind != "custom" and known is None:
            if not kind.startswith(_SEARCH):
                away.append((n, kind[:100]))
            continue
        name = text_at(tool.get("name"), f"tools.{n}.name")
        if isinstance(callers := tool.get("allowed_callers"), list) and "direct" not in callers:
            reading.drop("tools.allowed_callers")
            continue
        ours += 1
        loaded = reading.loaded.get(name, not tool.get("defer_loading"))
        if loaded or (searched and reading.loaded.get(name) is not False) or name == forced:
            made.append(_function(n, tool, known, reading))
    for n, kind in away:
        if not ours or (forced is not None and listed[n].get("name") == forced):
            raise Unsupported(
                f"tools.{n}: {kind} runs on Anthropic's servers; this model cannot use it", param=f"tools.{n}"
            )
        reading.drop(f"tools.{kind}")
    if made:
        body["tools"] = made
    if wanted:
        _put_choice(wanted, body, reading)


def upstream_tools(given: Json) -> tuple[str, ...]:
    """Return "tools." and the type, without its date, of each tool that is not the client's to run, wherever it is defined.

    Malformed ones are the upstream's to refuse.
    """
    found: dict[str, None] = {}
    for tool in (*_list(given.get("tools")), *_defined(given.get("messages"))):
        kind = tool.get("type") if isinstance(tool, dict) else None
        if (
            isinstance(kind, str)
            and (name := _DATE.sub("", kind)) not in _RUN_BY_CLIENTS
            and not name.startswith(_SEARCH)
        ):
            found[f"tools.{name[:100]}"] = None
    return tuple(found)


def _defined(messages: Any) -> Iterator[Any]:
    """The tools that blocks of messages define: those that add one, and those that sum up what was added."""
    for message in _list(messages):
        for block in _list(message.get("content")) if isinstance(message, dict) else ():
            if isinstance(block, dict) and block.get("type") in _DEFINE:
                for change in (block, *_list(block.get("tool_changes"))):
                    match change:
                        case {"tool": {"definition": definition}}:
                            yield definition


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def fits(schema: Any) -> bool:
    """Whether OpenAI's strict mode takes a schema: every object is closed and all its properties are required."""
    waiting = [schema]
    while waiting:
        value = waiting.pop()
        if isinstance(value, list):
            waiting += value
        elif isinstance(value, dict):
            properties = value.get("properties")
            if isinstance(properties, dict) or value.get("type") == "object":
                required = value.get("required")
                named = set(properties) if isinstance(properties, dict) else set()
                if value.get("additionalProperties") is not False or named - set(
                    filter(lambda each: isinstance(each, str), required if isinstance(required, list) else ())
                ):
                    return False
            waiting += [inner for name, inner in value.items() if name not in ("enum", "const", "default", "examples")]
    return True


def _function(n: int, tool: Json, known: tuple[str, Json, list[str]] | None, reading: Reading) -> Json:
    function: Json = {"name": reading.tool_name(tool["name"])}
    if known is not None:
        description, properties, required = known
        function |= {"description": description, "parameters": {"type": "object", "properties": properties}}
        if required:
            function["parameters"]["required"] = required
    else:
        if words := _description(tool):
            function["description"] = words
        function["parameters"] = _schema(tool.get("input_schema"), f"tools.{n}.input_schema")
        if tool.get("strict") is True:
            if fits(function["parameters"]):
                function["strict"] = True
            else:
                reading.drop("tools.strict")
    return {"type": "function", "function": function} | cache_mark(tool)


def _description(tool: Json) -> str:
    words = [tool["description"]] if isinstance(tool.get("description"), str) else []
    examples = tool.get("input_examples")
    shown = examples[:_MOST_EXAMPLES] if isinstance(examples, list) else []
    words += [f"Example input: {codec.encode_text(example)}" for example in shown]
    return "\n".join(words)


def _schema(value: Any, path: str) -> Json:
    if value is None:
        raise invalid(path, "Field required")
    schema = object_at(value, path)
    kind = schema.get("type")
    if kind not in (None, "object"):
        raise invalid(f"{path}.type", "Input should be 'object'")
    return schema if isinstance(schema.get("properties"), dict) else {"type": "object", **schema, "properties": {}}


def _choice(value: Any) -> Json:
    """Return a valid tool_choice, or {}."""
    if value is None:
        return {}
    choice = object_at(value, "tool_choice")
    match choice:
        case {"type": "tool"}:
            text_at(choice.get("name"), "tool_choice.name")
        case {"type": "auto" | "any" | "none"}:
            return {name: each for name, each in choice.items() if name != "name"}
        case _:
            raise invalid("tool_choice.type", "Input should be 'auto', 'any', 'tool' or 'none'")
    return choice


def _put_choice(choice: Json, body: Json, reading: Reading) -> None:
    kind = choice["type"]
    if "tools" not in body:
        if kind in ("any", "tool"):
            raise invalid("tool_choice", "may only be specified while providing tools")
        return
    if kind == "tool":
        name = reading.tool_name(choice["name"])
        if all(tool["function"]["name"] != name for tool in body["tools"]):
            raise invalid("tool_choice.name", f"Tool '{choice['name'][:100]}' not found in provided tools")
        body["tool_choice"] = {"type": "function", "function": {"name": name}}
    else:
        body["tool_choice"] = _CHOICES[kind]
    if choice.get("disable_parallel_tool_use") is True:
        body["parallel_tool_calls"] = False
