"""How many values JSON text holds, and the memory they take once it is parsed. Counted before it is parsed, by scans that
take no memory themselves: three bytes (`{},`) become 64 or more, so 30 MB of them would be 850 MB.

The same bounds hold for what clients and upstreams send, and for JSON inside the strings of either.
"""

import re
from collections.abc import Iterator
from typing import Final

from .errors import UpstreamBadOutput

SMALL: Final = 64 * 2**10  # bytes of JSON that is never worth a look
LARGE: Final = 2**20  # bytes of JSON that is worked on outside of the event loop
MANY: Final = 10_000  # values of JSON that is worked on outside of the event loop
MOST: Final = 500_000  # values that any body may hold; OpenAI's own bound on embeddings is 300,000 tokens a request
ANSWER: Final = 100_000  # values that any answer, or event of a stream, may hold
TIMES: Final = (
    12  # bytes of memory that an answer of more values may take for each of its own; log probabilities take 10
)
_BLANKS: Final = 64  # bytes at the end of a piece that are looked at first
_WINDOW: Final = 2**16  # bytes that are looked at in one step: other threads run in between
_APART: Final = 320  # bytes between two marks, from which on finding each is faster than counting
_AT_ONCE: Final = 8  # marks that may stand closer at first
_MARKS: Final = (b"{", b"[", b",")  # one for each value, about: `[1,2]` has two
# Bytes of memory for each mark: an object of up to five fields, a short list, a number or a short string.
_MEMORY: Final = {b"{": 192, b"[": 80, b",": 40}
# A whole number of one or two digits takes a place in its list only: Python has it already.
_SMALL_NUMBER: Final = re.compile(rb",\s?\d{1,2}(?=[,\]}\s])")
_SAVED: Final = 30  # bytes, of those that its comma stands for
_ROOM: Final = 128 * ANSWER  # bytes of memory that any answer may take


def values(data: bytes, rough: int) -> int:
    """Return how many values JSON text holds, roughly: the `{`, `[` and `,` in it.

    Up to `rough` those inside strings count too, which is faster. The count stops soon after MOST.
    """
    count = marks(data, rough)
    return count if count <= rough else _outside_strings(data)


def marks(data: bytes, most: int) -> int:
    """Return how many values JSON text holds at most: those that its strings may hold count too.

    The count stops soon after `most`.
    """
    found = 0
    for at in range(0, len(data), _WINDOW):
        found += sum([count(data, mark, at, at + _WINDOW) for mark in _MARKS])
        if found > most:
            break
    return found


def count(data: bytes, mark: bytes, at: int, end: int) -> int:
    """Return how often a byte stands in data[at:end].

    Finding the next one is twenty times as fast as counting up to it, as long as they stand far apart: in base64, in texts.
    """
    found, start = 0, at - _AT_ONCE * _APART
    while (there := data.find(mark, at, end)) >= 0:
        found, at = found + 1, there + 1
        if at - start < _APART * found:
            return found + data.count(mark, at, end)
    return found


def _outside_strings(data: bytes) -> int:
    count = 0
    for structure in _structure(data):
        count += sum([structure.count(mark) for mark in _MARKS])
        if count > MOST:
            break
    return count


def outline(data: bytes) -> bytes:
    """Return JSON text without the rest of what goes on for long without a quote: what names things stands between quotes.

    A body of megabytes is nearly all texts, and in what is left anything is found fast.
    """
    pieces, at, probe = [], 0, _WINDOW
    while probe < len(data):
        if data.find(b'"', probe, probe + _WINDOW) < 0:
            pieces.append(data[at:probe])
            at = probe = max(data.find(b'"', probe), 0) or len(data)
        probe += _WINDOW
    return b"".join([*pieces, data[at:]]) if pieces else data


class Structure:
    """JSON text without its strings, read a piece at a time."""

    __slots__ = ("_cut", "inside")

    def __init__(self) -> None:
        self.inside = 0  # 1 between the quotes of a string
        self._cut = b""  # a backslash whose other half is in the next piece

    def of(self, piece: bytes) -> bytes:
        """Return what the next piece holds outside of strings."""
        piece = self._cut + piece
        self._cut = b""
        if b"\\" in piece:  # which is found faster than two bytes are
            piece = piece.replace(b"\\\\", b"")
            self._cut = b"\\" if piece.endswith(b"\\") else b""
            piece = piece.replace(b'\\"', b"")
        parts = piece.split(b'"')
        outside = b" ".join(parts[self.inside :: 2])
        self.inside ^= (len(parts) - 1) & 1
        return outside


def _structure(data: bytes) -> Iterator[bytes]:
    """Yield JSON text without its strings, a window at a time."""
    structure = Structure()
    for at in range(0, len(data), _WINDOW):
        yield structure.of(data[at : at + _WINDOW])


class Whole:
    """Tells when an object or a list that comes in pieces is whole.

    Pieces are looked at only when one may be the last, or many wait: a large text is not looked at in one go.
    """

    __slots__ = ("_depth", "_pieces", "_structure", "_told", "_waiting")

    def __init__(self) -> None:
        self._structure = Structure()
        self._pieces: list[bytes] = []  # not looked at yet
        self._waiting = 0  # bytes of these
        self._depth = 0  # objects and lists that are open
        self._told = False

    def add(self, piece: bytes) -> bool:
        """Whether the value is whole with this piece; blanks behind it change nothing."""
        if not (end := piece[-_BLANKS:].rstrip() or piece.rstrip()):
            return self._told
        self._pieces.append(piece)
        self._waiting += len(piece)
        may_end = end.endswith((b"}", b"]"))
        if may_end or self._waiting > _WINDOW:
            for waiting in self._pieces:
                outside = self._structure.of(waiting)
                self._depth += outside.count(b"{") + outside.count(b"[") - outside.count(b"}") - outside.count(b"]")
            self._pieces.clear()
            self._waiting = 0
        self._told = may_end and self._depth == 0 and not self._structure.inside
        return self._told


def heavy(data: bytes) -> bool:
    """Whether JSON text is worked on outside of the event loop."""
    size = len(data)
    return size > LARGE or (size > SMALL and marks(data, MANY) > MANY)


def is_dense(text: str) -> bool:
    """Whether text that may be JSON holds many values, or others may be in its strings."""
    return len(text) > SMALL and sum(map(text.count, "{[,")) > MANY


def check(data: bytes) -> None:
    """Raise UpstreamBadOutput for an answer of too much memory: more values than ANSWER, and more than TIMES its bytes."""
    if len(data) > ANSWER and values(data, ANSWER) > ANSWER and _exact(data) > TIMES * len(data):
        raise too_dense()


def too_dense() -> UpstreamBadOutput:
    """The failure of an answer whose values would take too much memory."""
    return UpstreamBadOutput(
        f"The upstream's answer holds too many JSON values: more than {ANSWER:,}, which would take more than {TIMES} "
        "times its bytes of memory.",
        code="upstream_too_large",
    )


def memory(data: bytes) -> int:
    """Return the bytes of memory that the values of JSON text take, but for long strings; marks inside strings count too."""
    return sum([data.count(mark) * size for mark, size in _MEMORY.items()])


def _exact(data: bytes) -> int:
    """Return the bytes of memory that the values of JSON text take, but for long strings."""
    taken = sum(map(memory, _structure(data)))
    if taken > TIMES * len(data):
        taken -= _SAVED * sum(len(_SMALL_NUMBER.findall(structure)) for structure in _structure(data))
    return taken


class Sum:
    """The bytes and the memory of several JSON texts whose values are kept together."""

    __slots__ = ("_memory", "_size")

    def __init__(self) -> None:
        self._memory = self._size = 0

    def add(self, data: bytes) -> None:
        """Count one more text. Raises UpstreamBadOutput where all of them take more than TIMES their bytes, and much memory."""
        size = len(data)
        taken = memory(data)
        if taken > TIMES * size:  # some of the marks may be inside strings
            taken = _exact(data)
        self._size += size
        self._memory += taken
        if self._memory > _ROOM and self._memory > TIMES * self._size:
            raise too_dense()
