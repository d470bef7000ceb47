"""Paths of errors: what providers and the checks of chat say of a chat request, said of the client's own. Pure."""

import re
from collections.abc import Sequence
from typing import Final, NamedTuple

from providers.openai.responses.pairs import PLACES

# Parameter of the hub → the client's own word for it: the one table, of dropped parameters and of those in errors.
PARAMETERS: Final = {
    "messages": "input",
    **{name: ".".join(place) for name, place in PLACES.items()},
    "response_format.json_schema": "text.format",
    "logprobs": "include",
    "web_search_options": "tools.web_search",
}


class Place(NamedTuple):
    """Where the client's input holds a message."""

    item: str  # path of its item, or of the field that it is made of
    content: str = "content"  # the item's field that became the message's content; "": the path is the content's
    parts: Sequence[str] = ()  # paths of its content parts
    calls: Sequence[str] = ()  # paths of the items of its calls


class Places(NamedTuple):
    """Where a client's request holds what the chat request does. before: items that stand in front of the client's own."""

    messages: Sequence[Place] = ()
    tools: Sequence[str] = ()
    before: int = 0


NOWHERE: Final = Places()
_HEAD: Final = re.compile(r"(messages|tools)\[(\d{1,9})\]")
_CONTENT: Final = re.compile(r"\.content(?:\[(\d{1,9})\])?")
_CALL: Final = re.compile(r"\.tool_calls\[(\d{1,9})\](?:\.(?:function|custom))?")
_INPUT: Final = re.compile(r"input\[(\d{1,9})\]")
_MESSAGES: Final = re.compile(r"messages\b")
_CHOICE: Final = re.compile(r"^tool_choice\.(?:function|custom|allowed_tools)\b")
_LONGEST_FIRST: Final = sorted(PARAMETERS, key=len, reverse=True)
# Ends of paths inside a part or a call, as chat has them → the client's.
_ENDS: Final = {
    ".image_url.url": ".image_url",
    ".file.file_data": ".file_data",
    ".file.file_id": ".file_id",
    ".id": ".call_id",
}


def within(param: str, places: Places = NOWHERE) -> str:
    """Return a path in words of chat as a path of the client's request; one that is the client's already stays as it is.

    Where it is not known what became of each message, a path into messages is the input's.
    """
    if head := _HEAD.match(param):
        kind, index, rest = head[1], int(head[2]), param[head.end() :]
        if kind == "tools":
            path = places.tools[index] if index < len(places.tools) else f"tools[{index}]"
            return own(path + rest.removeprefix(".function").removeprefix(".custom"), places.before)
        if index >= len(places.messages):
            return PARAMETERS["messages"]
        return own(_in_message(places.messages[index], rest), places.before)
    if _MESSAGES.match(param):
        return PARAMETERS["messages"]
    name = next((name for name in _LONGEST_FIRST if param == name or param.startswith((f"{name}.", f"{name}["))), "")
    return PARAMETERS[name] + param[len(name) :] if name else _CHOICE.sub("tool_choice", param)


def own(path: str, before: int) -> str:
    """Return a path of the whole conversation as one of the client's own input. before: items in front of that."""
    if not before or not (found := _INPUT.match(path)):
        return path
    index = int(found[1]) - before
    return "previous_response_id" if index < 0 else f"input[{index}]{path[found.end() :]}"


def _in_message(place: Place, rest: str) -> str:
    if found := _CONTENT.match(rest):
        if found[1] is None:
            return f"{place.item}.{place.content}" if place.content else place.item
        path = place.parts[int(found[1])] if int(found[1]) < len(place.parts) else place.item
        return path + _end(rest[found.end() :])
    if found := _CALL.match(rest):
        path = place.calls[int(found[1])] if int(found[1]) < len(place.calls) else place.item
        return path + _end(rest[found.end() :])
    return (
        f"{place.item}.call_id"
        if rest == ".tool_call_id"
        else place.item + ("" if place.content != "content" else rest)
    )


def _end(rest: str) -> str:
    return _ENDS.get(rest, rest)
