"""Event streams that are passed on as they came: whole events as bytes, their data not decoded.

It is used like sse.Decoder. `raw` is what the last feed or flush completed. The beginning of an event is held back until
the blank line behind it, so that what breaks off there is never half sent.

SDKs skip events without a name. Where an upstream names none, each gets its data's `type` for one.
"""

import re
from typing import Any, Final

import msgspec

from . import codec
from .contract import Json
from .errors import UpstreamBadOutput
from .sse import MAX_EVENT, Decoder, Event, too_large

# Two line ends. A CR at the end of what has come may be half of one.
_BLANK: Final = re.compile(rb"(?:\r\n|\n|\r(?!\n|\Z)){2}")
_LONGEST: Final = 4  # bytes of a blank line


SAYS: Final = {"native": True}  # a delta that says something, and counts for nothing: an event that passes as it came


class _Typed(msgspec.Struct):
    type: str = ""


_type_of = msgspec.json.Decoder(_Typed).decode


class Frames:
    """Incremental reader of an event stream. limit: bytes an event may have. Raises as Decoder does."""

    def __init__(self, limit: int = MAX_EVENT) -> None:
        self._limit = limit
        self._decoder = Decoder(limit, decode=False)
        self._tail: list[bytes] = []  # what came behind the last blank line
        self._last = b""  # its last bytes
        self.size = 0  # bytes of it
        self._named: bool | None = None  # whether the upstream names its events; None: none has come
        self._events: list[Event] = []  # of raw
        self._failed = False
        self.raw = b""
        self.cut = False  # flush found the beginning of an event

    def keep(self) -> None:
        """See Decoder.keep."""
        self._decoder.keep()

    def feed(self, data: bytes) -> list[Event]:
        """The events that `data` completes. When it raises, flush has those that came before."""
        window = self._last + data
        end = _end_of_blank(window)
        if not end:
            self._tail.append(data)
            self.size += len(data)
            self._last = window[-_LONGEST:]
            if self.size > self._limit:
                self._failed, self.raw = True, b""
                raise too_large(self._limit)
            self.raw, self._events = b"", []
            return self._events
        end -= len(self._last)
        raw, rest = b"".join([*self._tail, data[:end]]), data[end:]
        self._tail, self.size, self._last = [rest], len(rest), rest[-_LONGEST:]
        return self._complete(raw)

    def flush(self) -> list[Event]:
        """The events left when nothing more comes: the last one may lack its blank line, if its data is whole.

        After feed has raised: those that came before what it raised for.
        """
        if self._failed:
            self._events = self._with_names(self._decoder.flush())
            self.raw = self.before(len(self._events))
            return self._events
        tail = b"".join(self._tail)
        self._tail, self.size = [], 0
        probe = Decoder(self._limit, decode=False)
        try:
            for event in probe.feed(tail + b"\n\n"):
                codec.decode(event.data)
        except (ValueError, UpstreamBadOutput):
            self.cut, self.raw, self._events = True, b"", []
            return self._events
        events = self._complete(tail + b"\n\n")
        self.raw = self.raw if self._named is False else tail
        return events

    def before(self, count: int) -> bytes:
        """Return the bytes of the first `count` events of raw, and of all that stands before the next."""
        if self._named is False:
            return b"".join(map(_frame, self._events[:count]))
        decoder, end = Decoder(self._limit, decode=False), 0
        for blank in _BLANK.finditer(self.raw):
            try:
                count -= len(decoder.feed(self.raw[end : blank.end()]))
            except UpstreamBadOutput:
                break
            if count < 0:
                break
            end = blank.end()
        return self.raw[:end]

    def _complete(self, raw: bytes) -> list[Event]:
        self.raw, self._failed = raw, True
        self._events = self._with_names(self._decoder.feed(raw))
        self._failed = False
        if self._named is False:
            self.raw = b"".join(map(_frame, self._events))
        return self._events

    def _with_names(self, events: list[Event]) -> list[Event]:
        if self._named is None and events:
            self._named = events[0].name != ""
        if self._named is not False:
            return events
        return [event if event.name else Event(_name_of(event.data), event.data) for event in events]


def object_of(data: Any) -> Json:
    """Return the data of an event as an object, an empty one where it is none."""
    if isinstance(data, bytes):
        try:
            data = codec.decode(data)
        except ValueError:
            return {}
    return data if isinstance(data, dict) else {}


def _end_of_blank(data: bytes) -> int:
    """Return where the last blank line ends; 0 where there is none."""
    if b"\r" not in data:
        return data.rfind(b"\n\n") + 2 if b"\n\n" in data else 0
    return max((blank.end() for blank in _BLANK.finditer(data)), default=0)


def _name_of(data: bytes) -> str:
    try:
        return _type_of(data).type
    except ValueError:
        return ""


def _frame(event: Event) -> bytes:
    name = b"event: " + event.name.encode() + b"\n" if event.name else b""
    return name + b"".join(b"data: " + line + b"\n" for line in event.data.split(b"\n")) + b"\n"
