"""Names of tools that an upstream refuses: renamed in the request, and given back in the answer. Pure, copy on write.

OpenAI: 400 "Invalid 'tools[0].function.name': string does not match pattern … '^[a-zA-Z0-9_-]+$'", or "string too long.
Expected a string with maximum length 64". Claude: 400 "String should match pattern '^[a-zA-Z0-9_-]{1,128}$'". MCP allows
dots, slashes and any length, and clients prefix a tool's name with its server's.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache, partial
from itertools import count
from typing import Any, Final

from ..contract import Json, Translator, edited

_UNFIT: Final = "[^A-Za-z0-9_-]"  # replaced by _
_FIRSTS: Final = ("", "_", "f_")  # put before a name that may not begin as it does


def renamed(body: Json, pattern: str, most: int) -> tuple[Json, dict[str, str]]:
    """A chat request in which all names of tools match `pattern` ("": any name does), and (name sent → the client's).

    The request itself and {} where every name fits. tools, tool_choice and the calls of the history get the same names.
    most: characters of a name that had to change.
    """
    if not pattern:
        return body, {}
    wanted = _names(body)
    if not wanted or all(map(_compiled(pattern).fullmatch, wanted)):
        return body, {}
    names = fitted(wanted, pattern, most)
    out = body.copy()
    if tools := body.get("tools"):
        out["tools"] = [_with_name(tool, names) for tool in tools]
    match body.get("tool_choice"):
        case {"type": "allowed_tools", "allowed_tools": {"tools": [*listed], **more}, **others}:
            listed = [_with_name(tool, names) for tool in listed]
            out["tool_choice"] = {"type": "allowed_tools", **others, "allowed_tools": {**more, "tools": listed}}
        case dict(choice):
            out["tool_choice"] = _with_name(choice, names)
    out["messages"] = [_message(message, names) for message in body["messages"]]
    return out, {sent: name for name, sent in names.items() if sent != name}


def fitted(wanted: Iterable[str], pattern: str, most: int, unfit: str = _UNFIT) -> dict[str, str]:
    """Names → names that match `pattern`, distinct as they were. Names that fit are kept.

    most: characters of a name that had to change. unfit: pattern of the characters to replace by an underscore.
    """
    fits, replace = _compiled(pattern).fullmatch, _compiled(unfit).sub
    wanted = list(dict.fromkeys(wanted))
    names = {name: name for name in wanted if fits(name)}
    taken = set(names)
    numbers: dict[
        str, Iterator[int]
    ] = {}  # by what stands before the number: linear, however many names become the same
    for name in wanted:
        if name in names:
            continue
        clean = replace("_", name)
        fit = next((f for first in _FIRSTS if fits(f := (first + clean)[:most])), clean[:most])
        new = fit
        for number in numbers.setdefault(fit[: most - 8], count(2)) if new in taken else ():
            if (new := fit[: most - len(str(number)) - 1] + f"_{number}") not in taken:
                break
        taken.add(new)
        names[name] = new
    return names


def given_back(translator: Translator, names: Mapping[str, str]) -> Translator:
    """The translator of an answer, with the client's names in its tool calls."""
    return edited(translator, partial(_with_clients_names, names=names))


def _with_clients_names(chunks: list[Json], names: Mapping[str, str]) -> list[Json]:
    for chunk in chunks:
        for choice in chunk["choices"]:
            for call in (choice.get("delta") or choice.get("message") or {}).get("tool_calls") or ():
                called = call.get("function") or call.get("custom")
                if called and (name := names.get(called.get("name"))):
                    called["name"] = name
    return chunks


@lru_cache(64)
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern)


def _names(body: Json) -> list[str]:
    """The names of all tools that a request offers, chooses or has called."""
    tools = list(body["tools"]) if body.get("tools") else []
    for message in body["messages"]:
        if "tool_calls" in message:
            tools += message["tool_calls"] or ()
    if not tools:  # a choice among none says nothing
        return []
    if type(choice := body.get("tool_choice")) is dict:
        tools += choice["allowed_tools"]["tools"] if choice.get("type") == "allowed_tools" else (choice,)
    holders = [tool.get("function") or tool.get("custom") for tool in tools]
    return [held["name"] for held in holders if type(held) is dict and type(held.get("name")) is str]


def _named(tool: Json) -> tuple[str, Any] | None:
    """Where the name of a tool, a call or a named choice stands: ("function" or "custom", the object that holds it)."""
    for kind in ("function", "custom"):
        held = tool.get(kind)
        if isinstance(held, dict) and isinstance(held.get("name"), str):
            return kind, held
    return None


def _with_name(tool: Json, names: Mapping[str, str]) -> Json:
    if not (named := _named(tool)):
        return tool
    kind, held = named
    new = names.get(held["name"], held["name"])
    return tool if new == held["name"] else tool | {kind: held | {"name": new}}


def _message(message: Json, names: Mapping[str, str]) -> Json:
    if calls := message.get("tool_calls"):
        return message | {"tool_calls": [_with_name(call, names) for call in calls]}
    if message["role"] == "tool" and message.get("name") in names:
        return message | {"name": names[message["name"]]}
    return message
