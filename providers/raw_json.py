"""JSON whose values stay the bytes they came as: one level is read, nothing is written anew.

What a client sends is passed on so: a number keeps its spelling, an object its order, a text its escapes.
"""

import re
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from . import codec

Members = dict[str, msgspec.Raw]
_members = msgspec.json.Decoder(Members).decode
_items = msgspec.json.Decoder(list[msgspec.Raw]).decode
# Half of a pair, or the whole pair, behind an even number of backslashes. msgspec refuses a half.
_SURROGATE: Final = re.compile(rb"(?<!\\)((?:\\\\)*)\\u([dD][89a-fA-F][0-9a-fA-F]{2})")
_MARKS: Final = (b"\x7f", b"\xc2\x80", b"\xc2\x81", b"\xc2\x82", b"\xc2\x83")


def members(data: bytes | bytearray | msgspec.Raw) -> Members:
    """Return the members of an object. Raises ValueError for what is none."""
    found: Members = _read(_members, data)
    return found


def items(data: bytes | bytearray | msgspec.Raw) -> list[msgspec.Raw]:
    """Return the items of a list. Raises ValueError for what is none."""
    found: list[msgspec.Raw] = _read(_items, data)
    return found


def decoded(value: Any) -> Any:
    """Return a value that may be bytes yet. Raises ValueError."""
    return codec.decode(bytes(value)) if isinstance(value, msgspec.Raw) else value


def joined(values: Mapping[str, bytes | msgspec.Raw]) -> bytes:
    """Return the object of these members."""
    pieces: list[bytes | msgspec.Raw] = []
    for name, value in values.items():
        pieces += b",", codec.encode(name), b":", value
    return b"".join([b"{", *pieces[1:], b"}"])  # the values are copied once


def listed(values: list[Any]) -> bytes:
    """Return the list of these items."""
    return b"[" + b",".join(values) + b"]"


def _read(decode: Any, data: bytes | bytearray | msgspec.Raw) -> Any:
    try:
        return decode(data)
    except (msgspec.DecodeError, RecursionError):
        data = bytes(data)
        mark = next((mark for mark in _MARKS if mark not in data), None)
        if mark is None or not _SURROGATE.search(data):
            raise ValueError("not the JSON that was expected") from None
    # Written so that msgspec reads over them, and back again.
    try:
        found = decode(_SURROGATE.sub(rb"\1" + mark + rb"\2", data))
    except (msgspec.DecodeError, RecursionError):
        raise ValueError("not the JSON that was expected") from None
    if isinstance(found, list):
        return [_shown(value, mark) for value in found]
    return {
        codec.decode(codec.encode(name).replace(mark, b"\\u")): _shown(value, mark) for name, value in found.items()
    }


def _shown(value: msgspec.Raw, mark: bytes) -> msgspec.Raw:
    return msgspec.Raw(bytes(value).replace(mark, b"\\u"))
