"""Where the model's name stands in a multipart/form-data request, found while its bytes pass: no file is held.

Strict, because the provider reads the same bytes: what two readers could understand in two ways is refused. RFC 7578.
"""

import re
from collections.abc import Callable, Sequence
from typing import Final

from providers.errors import BadRequest

_BOUNDARY: Final = re.compile(
    r"multipart/form-data\s*;(?:.*;)?\s*boundary=(?:\"([^\"]{1,70})\"|([^\s;\"]{1,70}))\s*(?:;.*)?", re.IGNORECASE
)
# It takes nothing back (`*+`): else blanks would cost the square of their number.
_DISPOSITION: Final = re.compile(
    rb'form-data(?:\s*+;\s*+(?:name=(?:"(?P<quoted>[^"\\\r\n]*+)"|(?P<token>[\w.\[\]-]++))'
    rb'|filename=(?:"(?:[^"\\\r\n]|\\.)*+"|[^\s;"]++)|filename\*=[^\s;"]++))*+\s*+;?+\s*+',
    re.IGNORECASE,
)
_PLAIN: Final = (b"7bit", b"8bit", b"binary")
_MAX_HEAD: Final = 8 * 1024  # bytes of the headers of a part
_MAX_VALUE: Final = 2048  # bytes of the model's name
_MAX_PARTS: Final = 1000
_END: Final = b"\r\n\r\n"


def boundary_of(content_types: Sequence[str]) -> bytes | None:
    """Return the boundary that a request's Content-Type headers name; None for what is no form. Raises BadRequest."""
    if not any(each.strip().lower().startswith("multipart/") for each in content_types):
        return None
    found = _BOUNDARY.fullmatch(content_types[0].strip())
    plain = content_types[0].isascii() and content_types[0].isprintable()
    if found is None or not plain or len(content_types) > 1 or content_types[0].lower().count("boundary=") != 1:
        raise _wrong("its Content-Type is not 'multipart/form-data; boundary=…'")
    return (found[1] or found[2]).encode("ascii", "replace")


class FormScanner:
    """Reads a form as it comes. model: its value; start, end: the bytes at which it stands; None and 0 until it has come.

    check: called with the name of each field; raises for one that must not pass.
    """

    def __init__(self, boundary: bytes, check: Callable[[str], None]) -> None:
        self._mark, self._check = b"--" + boundary, check
        self._rest = b""  # what came last, and what was not yet understood then
        self._place = 0  # where in it what has not been taken begins
        self._at = 0  # where that is in the form
        self._names: list[str] = []
        self._step: Callable[[], bool] = self._first
        self.model: str | None = None
        self.start = self.end = 0

    def feed(self, data: bytes) -> None:
        """Take the next bytes. Raises BadRequest."""
        self._rest, self._place = self._rest[self._place :] + data, 0
        while self._step():
            pass

    def close(self) -> None:
        """Nothing more comes. Raises BadRequest for a form that is not whole."""
        if self._step != self._behind:
            raise _wrong("it ends before its last boundary")

    def _take(self, count: int) -> None:
        self._place += count
        self._at += count

    @property
    def _left(self) -> int:
        """How many bytes have not been taken."""
        return len(self._rest) - self._place

    def _find(self, what: bytes) -> int:
        """Return how far away the first of these is, in what has not been taken; -1: none is there."""
        at = self._rest.find(what, self._place)
        return at - self._place if at >= 0 else -1

    def _next(self, count: int) -> bytes:
        """Return so many of the bytes that have not been taken."""
        return self._rest[self._place : self._place + count]

    def _first(self) -> bool:
        if self._left < len(self._mark):
            return False
        if not self._rest.startswith(self._mark, self._place):
            raise _wrong("it does not begin with its boundary")
        self._take(len(self._mark))
        self._step = self._boundary
        return True

    def _boundary(self) -> bool:
        """Behind a boundary: another part, or the end."""
        if self._left < 2:
            return False
        match self._next(2):
            case b"\r\n":
                self._step = self._head
            case b"--":
                self._take(2)
                self._step = self._behind
            case _:
                raise _wrong("its boundary stands inside of a part")
        return True

    def _head(self) -> bool:
        """From the line break behind a boundary to the blank line: the headers of a part."""
        end = self._find(_END)
        if (self._left if end < 0 else end) > _MAX_HEAD:
            raise _wrong("a part's headers are too long")
        if end < 0:
            return False
        if len(self._names) == _MAX_PARTS:
            raise _wrong(f"it has more than {_MAX_PARTS} parts")
        name = _name_of(self._next(end)[2:])
        self._check(name)
        if name == "model" and "model" in self._names:
            raise BadRequest("The form holds 'model' twice. Send it once.", param="model", code="invalid_value")
        self._names.append(name)
        self._take(end + len(_END))
        self._step = self._model if name == "model" else self._value
        return True

    def _value(self) -> bool:
        end = self._mark_at()
        if end is None:
            self._take(max(0, self._left - len(self._mark) - 1))
            return False
        self._take(end + 2 + len(self._mark))
        self._step = self._boundary
        return True

    def _model(self) -> bool:
        end = self._mark_at()
        if (self._left if end is None else end) > _MAX_VALUE:
            raise _wrong("the name of its model is too long")
        if end is None:
            return False
        try:
            self.model = self._next(end).decode()
        except UnicodeDecodeError:
            raise _wrong("the name of its model is no text") from None
        self.start, self.end = self._at, self._at + end
        self._take(end + 2 + len(self._mark))
        self._step = self._boundary
        return True

    def _behind(self) -> bool:
        if self._next(self._left).strip():
            raise _wrong("something stands behind its last boundary")
        self._take(self._left)
        return False

    def _mark_at(self) -> int | None:
        """Return where a part ends, in front of the line break of its boundary; None where it goes on."""
        at = self._find(self._mark)
        if at < 0:
            return None
        before = self._place + at
        if at < 2 or self._rest[before - 2 : before] != b"\r\n":
            raise _wrong("its boundary stands inside of a part")
        return at - 2


def _name_of(head: bytes) -> str:
    """Return the name of a part by its headers. Raises BadRequest where they may be understood in another way."""
    found = ""
    for line in head.split(b"\r\n"):
        header, colon, value = line.partition(b":")
        value = value.strip()
        match header.lower():
            case b"content-disposition":
                named = _DISPOSITION.fullmatch(value)
                if found or named is None or len(re.findall(rb";\s*name=", value)) != 1:
                    raise _wrong("the name of a part is not clear")
                found = (named["quoted"] or named["token"] or b"").decode("utf-8", "replace")
            case b"content-transfer-encoding" if value.lower() not in _PLAIN:
                raise _wrong("a part has a Content-Transfer-Encoding")
            case name if not colon or name != name.strip() or b"\n" in line or b"\r" in line:
                raise _wrong("a part's headers are broken")
    if not found:
        raise _wrong("a part has no name")
    return found


def _wrong(why: str) -> BadRequest:
    return BadRequest(f"The request's form cannot be passed on: {why}.", code="invalid_value")
