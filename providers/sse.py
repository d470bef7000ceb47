"""Server-Sent Events of model providers: bytes in, JSON events out, any cut. https://html.spec.whatwg.org/#event-stream-interpretation

- Where the network cuts a stream carries no meaning: one byte at a time gives the same events as the whole.
- LF, CRLF and CR end lines (Gemini sends CRLF); a BOM at the start is skipped.
- Reading is linear: a long line is joined once, at its end, and is bounded.
- `id:` and `retry:` are ignored: we must never reconnect, a repeated POST is a second bill.
- An `error:` field (llama.cpp, GPUStack) counts as an event named error, as it is meant.
"""

from typing import Any, Final

import msgspec

from . import wire
from .errors import BadOutput

DONE: Final = "[DONE]"
MAX_EVENT: Final = 8 * 2**20  # bytes; the default of server.max_event
_BAD_EVENTS: Final = 3  # this many events that are not JSON, and the stream is given up


class Event(msgspec.Struct, frozen=True):
    """One event: its name ("" when the stream gives none) and its data, decoded from JSON (or `DONE`).

    The data of an event named error may be plain text.
    """

    name: str
    data: Any


class Decoder:
    """Incremental event-stream parser. limit: bytes an event may have.

    Raises BadOutput for an event over the limit and for the third event that is not JSON.
    """

    def __init__(self, limit: int = MAX_EVENT) -> None:
        self._limit = limit
        self._pending: list[bytes] = []  # pieces of the unfinished line
        self._size = 0  # bytes of the unfinished line and of the unfinished event's data
        self._after_cr = False  # the last read ended in CR: an LF that follows is the same line end
        self._first = True
        self._name = ""
        self._data: list[bytes] = []
        self._counted = self._held = 0  # lines of _data that have been counted, and their bytes
        self._bad = 0

    def feed(self, data: bytes) -> list[Event]:
        """The events that `data` completes."""
        if not data:
            return []
        if self._after_cr and data[:1] == b"\n":
            self._after_cr = False
            data = data[1:]
            if not data:
                return []
        self._after_cr = data[-1] == 13
        if b"\r" in data:
            data = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        self._size += len(data)
        if b"\n" not in data:
            if self._size > self._limit:
                raise self._too_large()
            self._pending.append(data)
            return []
        if self._pending:
            self._pending.append(data)
            data = b"".join(self._pending)
            self._pending.clear()
        if self._first or self._data or self._name:
            return self._lines(data.split(b"\n"))
        return self._blocks(data)

    def flush(self) -> list[Event]:
        """The events left when the peer has closed, with or without the blank line that should end the last one."""
        return self.feed(b"\n\n")

    def _blocks(self, data: bytes) -> list[Event]:
        """As _lines, for data that begins with a new event: the two forms that nearly all events have are read at once."""
        events: list[Event] = []
        *blocks, rest = data.split(b"\n\n")
        for block in blocks:
            if block[:6] == b"data: " and b"\n" not in block:
                self._event("", block[6:], events)
                continue
            name, _, value = block.partition(b"\ndata: ")
            if name[:7] == b"event: " and value and b"\n" not in value and b"\n" not in name:
                self._event(name[7:].decode("utf-8", errors="replace").strip(), value, events)
            else:
                events += self._lines([*block.split(b"\n"), b"", b""])
        return events + self._lines(rest.split(b"\n"))

    def _lines(self, lines: list[bytes]) -> list[Event]:
        events: list[Event] = []
        if self._first:
            self._first = False
            lines[0] = lines[0].removeprefix(b"\xef\xbb\xbf")
        rest = lines.pop()
        for line in lines:
            if line[:6] == b"data: ":
                self._data.append(line[6:])
            elif not line:
                if self._data:
                    self._dispatch(events)
                else:
                    self._name = ""
            else:
                self._field(line, events)
        if rest:
            self._pending.append(rest)
        # Counted once each, with their line end: many short lines, or empty ones, are bounded and cost no more.
        self._held += sum(len(line) + 1 for line in self._data[self._counted :])
        self._counted = len(self._data)
        self._size = len(rest) + self._held
        if self._size > self._limit:
            raise self._too_large()
        return events

    def _field(self, line: bytes, events: list[Event]) -> None:
        name, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if name == b"data":
            self._data.append(value)
        elif name == b"event":
            self._name = value.decode("utf-8", errors="replace").strip()
        elif name == b"error" and value:
            self._name, self._data, self._counted, self._held = "error", [value], 0, 0
            self._dispatch(events)

    def _dispatch(self, events: list[Event]) -> None:
        name, data = self._name, self._data[0] if len(self._data) == 1 else b"\n".join(self._data)
        self._name = ""
        self._data.clear()
        self._counted = self._held = 0
        self._event(name, data, events)

    def _event(self, name: str, data: bytes, events: list[Event]) -> None:
        if len(data) > self._limit:
            raise self._too_large()
        try:
            events.append(Event(name, wire.decode(data)))
        except ValueError:
            if data.strip() == b"[DONE]":
                events.append(Event(name, DONE))
            elif name == "error" and data.strip():
                events.append(Event(name, data.decode("utf-8", errors="replace").strip()))
            elif data.strip():
                self._bad += 1
                if self._bad >= _BAD_EVENTS:
                    raise BadOutput("The upstream sent events that are not JSON.") from None

    def _too_large(self) -> BadOutput:
        self._pending.clear()
        return BadOutput(
            f"The upstream sent an event larger than {self._limit} bytes (server.max_event).",
            code="upstream_event_too_large",
        )
