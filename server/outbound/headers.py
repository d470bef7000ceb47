"""The headers of an upstream's answer, kept as they came: providers send two dozen of them, and a few are looked up."""

from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Final

_LINE: Final = 8190  # bytes of one header
_HEADERS: Final = 128  # of one head


@lru_cache(256)
def _line_start(name: str) -> bytes:
    """Return how the line of a header begins, after the line before it."""
    return b"\n%b:" % name.lower().encode()


class HeadTooLarge(Exception):
    """A head has more headers, or a longer one, than any answer needs."""


class ResponseHeaders(Mapping[str, str]):
    """Names in any case → values, without the blanks around them; of several with one name, the first.

    They are looked up in the text of the head, which a parser has found to be valid.
    """

    __slots__ = ("_head", "_lower")

    def __init__(self, head: bytes) -> None:
        """head: with its first line, without the empty one at its end. Raises HeadTooLarge."""
        if head.count(b"\n") > _HEADERS or (len(head) > _LINE and max(map(len, head.split(b"\n"))) > _LINE):
            raise HeadTooLarge
        self._head, self._lower = head, head.lower()

    def get(self, name: str, default: str | None = None) -> str | None:  # type: ignore[override]
        start = self._lower.find(_line_start(name))
        if start < 0:
            return default
        start += len(name) + 2
        end = self._head.find(b"\n", start)
        return self._head[start : end if end >= 0 else None].strip(b" \t\r").decode("utf-8", "surrogateescape")

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
        names = (line.partition(b":")[0] for line in self._lower.split(b"\n")[1:] if b":" in line)
        return iter(dict.fromkeys(name.decode("latin-1") for name in names))

    def __len__(self) -> int:
        return len(list(iter(self)))


def taken_head(received: bytearray) -> bytes:
    """Take a whole head off the beginning of what was received, with its empty line, and return it without that."""
    start = max(0, received.find(b"HTTP/"))  # empty lines may come before it
    end = received.find(b"\n\r\n", start)
    bare = received.find(b"\n\n", start, end if end >= 0 else len(received))
    end, after = (bare, bare + 2) if bare >= 0 else (end, end + 3)
    head = bytes(received[start:end])
    del received[:after]
    return head
