"""Tools as OpenAI names them: what every translated protocol asks of `tools` and `tool_choice`."""

import secrets
from collections.abc import Callable, Iterable
from typing import Any

from ..contract import Json
from ..errors import Unsupported
from .typed import text


def new_call_id() -> str:
    """Return an id for a tool call that has none: unique across turns and conversations, in OpenAI's form."""
    return f"call_{secrets.token_hex(12)}"


class CallIds:
    """The ids of one choice's tool calls: the upstream's, but for those that are missing or another call has already."""

    __slots__ = ("_new", "_taken")

    def __init__(self, new: Callable[[], str] = new_call_id) -> None:
        self._new = new
        self._taken: set[str] = set()

    def own(self, ident: Any) -> str:
        """Return the id for a call that the upstream gave this one, and note it as taken."""
        own = text(ident)
        if not own or own in self._taken:
            own = self._new()
        self._taken.add(own)
        return own


def tool_name(tool: Json) -> str:
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


def called_name(call: Json) -> str:
    """Return the name of the tool that a call names; "" where it names none."""
    name = (call.get("function") or call.get("custom") or {}).get("name")
    return name if isinstance(name, str) else ""


def refuse_grammar(custom: Json, at: str) -> None:
    """Raise Unsupported for a custom tool whose text must follow a grammar. at: path of the tool."""
    if (custom.get("format") or {}).get("type", "text") != "text":
        raise Unsupported("This model takes no grammars for custom tools.", param=f"{at}.custom.format")


def allowed_tools(choice: Any) -> tuple[frozenset[str] | None, Any]:
    """tool_choice → (the names `allowed_tools` leaves, or None for all; the choice that remains: auto, required …)."""
    match choice:
        case {"type": "allowed_tools", "allowed_tools": {"mode": mode, "tools": [*tools]}}:
            return frozenset(map(tool_name, tools)), mode
    return None, choice


class Distinct:
    """Makes texts distinct: a second `a` becomes `a_2`, a third `a_3`. taken: texts that may not come out.

    Each text continues to count where it stopped, so that n equal ones cost n steps.
    """

    __slots__ = ("_next", "_taken")

    def __init__(self, taken: Iterable[str] = ()) -> None:
        self._taken = set(taken)
        self._next: dict[str, int] = {}

    def __call__(self, wanted: str) -> str:
        """Return `wanted`, or the first of its numbered forms that is free. It is taken from now on."""
        made = wanted
        if made in self._taken:
            number = self._next.get(wanted, 2)
            while (made := f"{wanted}_{number}") in self._taken:
                number += 1
            self._next[wanted] = number + 1
        self._taken.add(made)
        return made
