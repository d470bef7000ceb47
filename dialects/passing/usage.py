"""The tokens that an answer tells which passes as bytes: its beginning and its end are kept, and looked at when it is over."""

import re
from typing import Final

import msgspec

from providers import codec
from providers.common.usage import count, spent, usage
from providers.contract import Json

_KEPT: Final = 64 * 1024  # bytes of each end of an answer
_LONGEST: Final = 8 * 1024  # bytes of a usage object
_MOST: Final = 8  # of them that are read in search of one that holds tokens, from the last one on
# In JSON this cannot stand inside of a text: its quotes would be escaped there.
_TOLD: Final = re.compile(rb'"(?:usage|usageMetadata|tokens)"\s*:\s*(?=\{)')


class UsageWatch:
    """Looks at an answer that passes. It keeps a bounded part of it, however long it is and in however many pieces it comes."""

    def __init__(self) -> None:
        self._first, self._last = bytearray(), bytearray()  # of the last, up to twice what is looked at

    def see(self, piece: bytes) -> None:
        """Take the next bytes."""
        if len(self._first) < _KEPT:
            room = _KEPT - len(self._first)
            self._first += piece[:room]
            piece = piece[room:]
        if piece:
            self._last += piece[-_KEPT:]
            if len(self._last) > 2 * _KEPT:  # not at every piece: each time what is kept is copied
                del self._last[:-_KEPT]

    def usage(self) -> Json | None:
        """Return the last usage that the answer told, in OpenAI's words; None where it told none."""
        first, last = bytes(self._first), bytes(self._last[-_KEPT:])
        for part in [first + last] if len(last) < _KEPT else [last, first]:
            for found in [*_TOLD.finditer(part)][: -_MOST - 1 : -1]:
                told = _object(part[found.end() : found.end() + _LONGEST])
                if told is None:
                    continue
                if (counts := spent(told))["total_tokens"]:
                    return counts
                if total := count(told.get("total_tokens")):  # all that some tell who rank
                    return usage(total, 0)
        return None


def _object(data: bytes) -> Json | None:
    """Return the object that begins here, whatever follows it."""
    depth = 0
    for brace in re.finditer(rb'"(?:[^"\\]++|\\.)*+"|[{}]', data, re.DOTALL):
        depth += {b"{": 1, b"}": -1}.get(brace[0], 0)
        if not depth:
            try:
                value = codec.decode(data[: brace.end()])
            except (ValueError, msgspec.DecodeError):
                return None
            return value if isinstance(value, dict) else None
    return None
