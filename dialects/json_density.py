"""The memory that a request's body takes: before it is parsed, by the values in it (providers/density.py), and after."""

from sys import getsizeof
from typing import Any, Final

_VALUE: Final = 128  # bytes of memory a value takes beside its text, at most; an object of one short text takes two


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
