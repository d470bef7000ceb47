"""The work and the memory that the JSON of a request's body stands for: before it is parsed, and after.

Parsed, three bytes (`{},`) become 64 or more: 30 MB of them would be 850 MB, and would stop the event loop for two
seconds. So the values of a body are counted before it is parsed, by scans that take no memory.
"""

from sys import getsizeof
from typing import Any, Final

SMALL: Final = 64 * 2**10  # bytes of a body that is never worth a look
LARGE: Final = 2**20  # bytes of a body that is worked on outside of the event loop
MANY: Final = 10_000  # values of a body that is worked on outside of the event loop; those up to which it is weighed
MOST: Final = 500_000  # values that a body may hold; OpenAI's own bound on embeddings is 300,000 tokens a request
_VALUE: Final = 128  # bytes of memory a value takes beside its text, at most; an object of one short text takes two
_WINDOW: Final = 2**18  # bytes that are looked at in one step: other threads run in between
_MARKS: Final = (
    b"{",
    b"[",
    b",",
)  # one for each value, about: `[1,2]` has two


def values(data: bytes, rough: int) -> int:
    """Return how many values JSON text holds, roughly: the `{`, `[` and `,` in it.

    Up to `rough` those inside strings count too, which is faster. The count stops soon after MOST.
    """
    count = _marks(data, rough)
    return count if count <= rough else _outside_strings(data)


def _marks(data: bytes, most: int) -> int:
    count = 0
    for at in range(0, len(data), _WINDOW):
        count += sum([data.count(mark, at, at + _WINDOW) for mark in _MARKS])
        if count > most:
            break
    return count


def _outside_strings(data: bytes) -> int:
    count = inside = 0  # inside: 1 between the quotes of a string
    cut = b""  # a backslash whose other half is in the next window
    for at in range(0, len(data), _WINDOW):
        window = (cut + data[at : at + _WINDOW]).replace(b"\\\\", b"")
        cut = b"\\" if window.endswith(b"\\") else b""
        pieces = window.replace(b'\\"', b"").split(b'"')
        structure = b" ".join(pieces[inside::2])
        count += sum([structure.count(mark) for mark in _MARKS])
        if count > MOST:
            break
        inside ^= (len(pieces) - 1) & 1
    return count


def room(size: int, values: int) -> int:
    """Return the bytes of memory to set aside while a body of `size` bytes and so many values is parsed.

    Text takes four times its bytes where one of its characters needs four.
    """
    return 4 * size + _VALUE * values


def weight(value: Any) -> int:
    """Return the bytes of memory that a parsed JSON value takes."""
    total, rest = 0, [value]
    while rest:
        each = rest.pop()
        total += getsizeof(each)
        if type(each) is dict:
            total += sum(map(getsizeof, each))
            rest += each.values()
        elif type(each) is list:
            rest += each
    return total
