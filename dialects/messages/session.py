"""Which conversation a Messages request belongs to."""

from collections.abc import Mapping
from typing import Final

from providers.contract import Json

from ..conversations import HEADERS, beginning, name_in

_HEADER: Final = HEADERS[0]
_LONGEST: Final = 64  # characters of a name


def named(headers: Mapping[str, str]) -> str:
    """Return the name that the client gives its conversation, "" where it gives none that can be shown."""
    name = headers.get(_HEADER, "")
    return name if len(name) <= _LONGEST and name.isascii() and name.isprintable() else ""


def session(given: Json, headers: Mapping[str, str]) -> str:
    """Return what is the same in all requests of a conversation: its name, its user's, or a hash of how it begins."""
    if name := name_in(headers):
        return name
    match given.get("metadata"):
        case {"user_id": str(user)} if user:
            return user
    turns = (turn for turn in given["messages"] if isinstance(turn, dict) and turn.get("role") == "user")
    return beginning([given.get("system")], next(turns, {}).get("content"))
