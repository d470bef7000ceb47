"""The headers of an upstream's answer, kept as they came: providers send two dozen of them, and a few are looked up."""

import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Final

_LINE: Final = 8190  # bytes of one header
_HEADERS: Final = 128  # of one head
_FOLDED: Final = re.compile(rb"[^\n]*(?:\n[ \t][^\n]*)*")  # a value that goes on in the next line


@lru_cache(256)
def _line_start(name: str) -> bytes:
    """Return how the line of a header begins, after the line before it."""
    return b"\n%b:" % name.lower().encode()


class InvalidHead(Exception):
    """A head cannot be told from the body, has more headers, or a longer one, than any answer needs."""


class ResponseHeaders(Mapping[str, str]):
    """Names in any case → values, without the blanks around them; of several with one name, the first.

    They are looked up in the text of the head, which a parser has found to be valid.
    """

    __slots__ = ("_head", "_lower")

    def __init__(self, head: bytes) -> None:
        """head: with its first line, without the empty one at its end. Raises InvalidHead."""
        if head.count(b"\n") > _HEADERS or (len(head) > _LINE and max(map(len, head.split(b"\n"))) > _LINE):
            raise InvalidHead("a head too large")
        self._head, self._lower = head, head.lower()

    def get(self, name: str, default: str | None = None) -> str | None:  # type: ignore[override]
        start = self._lower.find(_line_start(name))
        if start < 0:
            return default
        head = self._head
        start += len(name) + 2
        end = head.find(b"\n", start)
        if head[end + 1 : end + 2] in (b" ", b"\t") and end >= 0:  # nobody folds lines any more, nearly
            value = _FOLDED.match(head, start)[0].replace(b"\n", b"").replace(b"\r", b"")  # type: ignore[index]
        else:
            value = head[start : end if end >= 0 else None]
        return value.strip(b" \t\r").decode("utf-8", "surrogateescape")

    @property
    def tell_end(self) -> bool:
        """Whether they say how long the body is; else it ends with the connection."""
        coding = self.get("Transfer-Encoding")
        return "Content-Length" in self if coding is None else coding.lower().endswith("chunked")

    def __getitem__(self, name: str) -> str:
        value = self.get(name)
        if value is None:
            raise KeyError(name)
        return value

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and self.get(name) is not None

    def __iter__(self) -> Iterator[str]:
        names = (line.partition(b":")[0] for line in self._lower.split(b"\n")[1:] if line[:1] not in b" \t\r")
        return iter(dict.fromkeys(name.decode("latin-1") for name in names))

    def __len__(self) -> int:
        return len(list(iter(self)))


def taken_head(received: bytearray) -> bytes:
    """Take a whole head off the beginning of what was received, with its empty line, and return it without that.

    Raises InvalidHead where a CR is alone: behind a value it is refused by the parser too, behind an empty one it ends a line.
    """
    start = max(0, received.find(b"HTTP/"))  # empty lines may come before it
    end = received.find(b"\n\r\n", start)
    bare = received.find(b"\n\n", start, end if end >= 0 else len(received))
    end, after = (bare, bare + 2) if bare >= 0 else (end, end + 3)
    head = bytes(received[start : end + 1])
    if end < 0 or head.count(b"\r") != head.count(b"\r\n"):
        raise InvalidHead("a CR without LF in a head")
    del received[:after]
    return head[:-1]
