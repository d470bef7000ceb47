"""Which conversation a Messages request belongs to."""

from collections.abc import Mapping
from hashlib import sha256
from typing import Final

from providers.contract import Json
from providers.raw_json import Members

_HEADER: Final = "x-claude-code-session-id"
_LONGEST: Final = 64  # characters of a name
_LOOKED: Final = 1024  # bytes of a conversation's beginning


def named(headers: Mapping[str, str]) -> str:
    """Return the name that the client gives its conversation, "" where it gives none that can be shown."""
    name = headers.get(_HEADER, "")
    return name if len(name) <= _LONGEST and name.isascii() and name.isprintable() else ""


def session(given: Json, raw: Members, headers: Mapping[str, str]) -> str:
    """Return what is the same in all requests of a conversation: its name, its user's, or a hash of how it begins.

    given, raw: the request's members, decoded and as they came.
    """
    if name := named(headers):
        return name
    match given.get("metadata"):
        case {"user_id": str(user)} if user:
            return user
    begins = b"".join([bytes(memoryview(raw[part])[:_LOOKED]) for part in ("system", "messages") if part in raw])
    return sha256(begins[:_LOOKED]).hexdigest()
