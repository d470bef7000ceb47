"""The arguments of a tool call in a stream: text in pieces, which adds up to one JSON object.

Hosts send the object itself, null, or a placeholder ("{}") before the real arguments. Whether a call's arguments are
complete decides whether another fragment at the same place goes on with it; it is found out only when that is asked.
"""

import re
from typing import Any, Final

from . import wire

_MARKS: Final = re.compile(r'["\\{}\[\]]')
_NOTHING: Final = frozenset({"", "{}", "null", "[]"})  # what is sent where there are no arguments, or not yet
_UNREAD: Final = 64 * 1024  # characters that are kept before they are read unasked


def as_text(value: Any) -> str:
    """Arguments as JSON text; some hosts send the object itself, or null."""
    return value if isinstance(value, str) else "" if value is None else wire.text(value)


def say_nothing(text: str) -> bool:
    """Whether arguments that begin with this text are none, or a placeholder for those that follow."""
    return len(text) < 16 and "".join(text.split()) in _NOTHING


class Arguments:
    """What has come of one call's arguments. The text itself is not kept."""

    __slots__ = ("_depth", "_escaped", "_pieces", "_quoted", "_unread", "given")

    def __init__(self) -> None:
        self.given = False  # whether there are any, placeholders apart
        self._pieces: list[str] = []  # not read yet
        self._unread = 0  # characters in them
        self._depth = 0
        self._quoted = self._escaped = False

    def add(self, piece: str) -> str:
        """Add a piece. Return what of it the client is to get: a placeholder is held back."""
        if not self.given:
            if say_nothing(piece):
                return ""
            self.given = True
        self._pieces.append(piece)
        self._unread += len(piece)
        if self._unread > _UNREAD:
            self._read()
        return piece

    @property
    def complete(self) -> bool:
        """Whether they are a whole JSON value. Each piece is read once, however often this is asked."""
        self._read()
        return self.given and self._depth <= 0 and not self._quoted

    def _read(self) -> None:
        text = "".join(self._pieces)
        self._pieces.clear()
        self._unread = 0
        if not text:
            return
        skip = 0 if self._escaped else -1  # where the character after a backslash stands
        for mark in _MARKS.finditer(text):
            at = mark.start()
            if at == skip:
                continue
            char = text[at]
            if char == "\\":
                skip = at + 1
            elif char == '"':
                self._quoted = not self._quoted
            elif not self._quoted:
                self._depth += 1 if char in "{[" else -1
        self._escaped = skip == len(text)
