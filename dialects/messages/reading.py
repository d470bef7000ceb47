"""What is found out while a Messages request is read, and the errors it is refused with."""

import re
from hashlib import sha1
from typing import Any, Final

import msgspec

from providers.contract import Json
from providers.errors import BadRequest

_CALL_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,40}")
_TOOL_NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")
_UNFIT: Final = re.compile(r"[^A-Za-z0-9_-]")


class Reading(msgspec.Struct):
    """What is found out while a request is read, beside the chat request itself."""

    dropped: dict[str, None] = {}  # in the client's words, in the order found
    tool_names: dict[str, str] = {}  # name sent → the client's, where they differ
    call_ids: set[str] = set()  # of the history, as the client has them and as they are sent
    loaded: dict[str, bool] = {}  # tool → whether the history has loaded it, or removed it
    seals: dict[int, list[Json]] = {}  # by index of the message in the chat request
    images: bool = False
    effort: str | None = None  # that a system turn sets from there on
    thinking: bool = False  # thinking blocks are part of the answer
    thinking_text: bool = True

    def drop(self, name: str) -> None:
        self.dropped[name] = None

    def tool_name(self, name: str) -> str:
        """Return a tool's name as it is sent: OpenAI takes 64 letters, digits, _ and -. Notes one that had to change."""
        if _TOOL_NAME.fullmatch(name):
            return name
        sent = f"{_UNFIT.sub('_', name[:55])}_{_digest(name)[:8]}"
        self.tool_names[sent] = name
        return sent

    def call_id(self, ident: str) -> str:
        """Return a call's id as it is sent: OpenAI takes 40 characters, Claude letters, digits, _ and -."""
        return ident if _CALL_ID.fullmatch(ident) else f"call_{_digest(ident)[:24]}"


def _digest(text: str) -> str:
    return sha1(text.encode("utf-8", "surrogatepass"), usedforsecurity=False).hexdigest()


def invalid(path: str, what: str) -> BadRequest:
    """Return the error for a value of the request. Its message begins with the path."""
    return BadRequest(f"{path}: {what}", param=path)


def object_at(value: Any, path: str) -> Json:
    """Return a value that must be an object."""
    if not isinstance(value, dict):
        raise invalid(path, "Input should be an object")
    return value


def text_at(value: Any, path: str) -> str:
    """Return a value that must be a string."""
    if value is None:
        raise invalid(path, "Field required")
    if not isinstance(value, str):
        raise invalid(path, "Input should be a valid string")
    return value


def list_at(value: Any, path: str) -> list[Any]:
    """Return a value that must be a list."""
    if not isinstance(value, list):
        raise invalid(path, "Input should be a valid list")
    return value
