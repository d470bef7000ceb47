"""What an upstream may make a translator keep: each answer's share of memory has a bound that the upstream cannot move."""

from typing import Any, Final

from .. import codec, density
from ..contract import Json
from ..errors import UpstreamBadOutput

MAX_CALLS: Final = 1024  # tool calls in one choice
THING: Final = 256  # bytes that an entry of a table costs
_MOST_KEPT: Final = 32 * 2**20  # bytes kept until the end of one answer: 128,000 tokens of thinking are a tenth
_MOST_EXTRAS: Final = 2**20  # bytes of fields that wait for a chunk
_OVERHEAD: Final = 64  # bytes that a text costs beside its characters
_ENVELOPE: Final = frozenset({"id", "object", "created", "model", "choices", "usage"})


def too_many_calls() -> UpstreamBadOutput:
    """The failure of an answer with more tool calls than MAX_CALLS."""
    return UpstreamBadOutput(f"The upstream sent more than {MAX_CALLS} tool calls in one answer.")


class Kept:
    """Counts what a translator keeps until an answer ends."""

    __slots__ = ("_size",)

    def __init__(self) -> None:
        self._size = 0

    def add(self, size: int = THING) -> None:
        """Count one more text of `size` bytes (or characters), or one more thing. Raises UpstreamBadOutput above the bound."""
        self._size += size + _OVERHEAD
        if self._size > _MOST_KEPT:
            raise UpstreamBadOutput(
                f"The upstream's answer holds more than {_MOST_KEPT} bytes that can only be passed on at its end.",
                code="upstream_too_large",
            )

    def add_json(self, value: Any) -> None:
        """Count a JSON value: its bytes, or a share of the memory it takes where it is dense. Raises as add does."""
        data = codec.encode(value)
        self.add(max(len(data), density.memory(data) // density.TIMES))


class Extras:
    """Fields of chunks that are not passed on, such as `time_info` beside a finish: they ride on a later chunk."""

    __slots__ = ("_fields", "_size", "_sizes")

    def __init__(self) -> None:
        self._fields: Json = {}
        self._sizes: dict[str, int] = {}
        self._size = 0

    def keep(self, data: Json) -> None:
        """Keep the fields of a chunk, without its choices and its envelope. Raises UpstreamBadOutput above a bound."""
        for name, value in data.items():
            if name not in _ENVELOPE and value is not None:
                size = len(name) + len(codec.encode(value)) + THING
                self._size += size - self._sizes.get(name, 0)
                self._sizes[name], self._fields[name] = size, value
        if self._size > _MOST_EXTRAS:
            raise UpstreamBadOutput(
                f"The upstream sent more than {_MOST_EXTRAS} bytes of fields beside its answer.",
                code="upstream_too_large",
            )

    def ride(self, *chunks: Json) -> None:
        """Put the fields on these chunks, whose own win. Afterwards there are none."""
        for chunk in chunks:
            for name, value in self._fields.items():
                chunk.setdefault(name, value)
        self._fields, self._sizes, self._size = {}, {}, 0
