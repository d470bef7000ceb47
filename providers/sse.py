"""Server-Sent Events of model providers: bytes in, JSON events out, any cut. https://html.spec.whatwg.org/#event-stream-interpretation

- Where the network cuts a stream carries no meaning: one byte at a time gives the same events as the whole.
- LF, CRLF and CR end lines (Gemini sends CRLF); a BOM at the start is skipped.
- Reading is linear: a long line is joined once, at its end, and is bounded.
- `id:` and `retry:` are ignored: we must never reconnect, a repeated POST is a second bill.
- An `error:` field (llama.cpp, GPUStack) counts as an event named error, as it is meant.
- Data that begins like JSON and is none is a broken answer, at the first event: what is left out of tool arguments can make
  another valid command of the rest. Only what never was JSON, a word or a comment that keeps the line alive, is ignored.
- A line that lost its `data:`, or has it in capitals or indented, is data all the same: a piece of an answer is never dropped.
- Hosts lose the line ends between events: several JSON documents in the data of one event are as many events.
"""

import re
from collections.abc import Iterator
from typing import Any, Final

import msgspec

from . import codec, density
from .errors import UpstreamBadOutput

DONE: Final = "[DONE]"
MAX_EVENT: Final = 8 * 2**20  # bytes; the default of server.max_event
_BAD_EVENTS: Final = 3  # this many events of a web page, and the stream is given up
# two documents: blanks, and the field of an event that lost its own line. Possessive: no state is kept for each blank.
_BETWEEN: Final = re.compile(r"(?:\s++|data:)*+")
_NAME: Final = 100  # characters of an event's name
_DOCUMENTS: Final = 1000  # JSON documents in one event
_PIECE_OF_JSON: Final = re.compile(r'["{}]')
_FIELD: Final = re.compile(rb"(?:\xef\xbb\xbf)?\s*(?i:data|event|error|id|retry)?:")


def append_event(buffer: bytearray, value: Any) -> None:
    """Append one event, `data: {json}` and a blank line, to `buffer`: on one line, with LF only, as OpenAI sends it."""
    start = len(buffer)
    buffer += b"data: "
    try:
        codec.encoder.encode_into(value, buffer, -1)
    except UnicodeEncodeError:
        del buffer[start:]
        buffer += b"data: " + codec.encode(value)
    buffer += b"\n\n"


class Event(msgspec.Struct, frozen=True):
    """One event: its name ("" when the stream gives none) and its data, decoded from JSON (or `DONE`), or bytes (Frames).

    The data of an event named error may be plain text.
    """

    name: str
    data: Any


class Cut(msgspec.Struct, frozen=True):
    """The data of an event that tells a translator, before None does, that the stream did not end cleanly.

    inside: it ended inside an event, which is lost.
    """

    inside: bool


class Decoder:
    """Incremental event-stream parser. limit: bytes an event may have; decode: False leaves the data of events as bytes.

    Raises UpstreamBadOutput for an event over the limit or too dense (density.check), one that begins like JSON and is none, and
    the third line of markup.
    """

    raw: Final = b""  # see Frames

    def __init__(self, limit: int = MAX_EVENT, decode: bool = True) -> None:
        self._limit, self._decode = limit, decode
        self._unchecked = min(limit, density.ANSWER)  # bytes of an event that cannot be too large or too dense
        self._kept: density.Sum | None = None  # of the events, since keep
        self._pending: list[bytes] = []  # pieces of the unfinished line
        self.size = 0  # bytes kept: of the unfinished line and of the unfinished event's data
        self._after_cr = False  # the last read ended in CR: an LF that follows is the same line end
        self._first = True
        self._name = ""
        # By the number of data lines before them: more than one where a blank line was lost.
        self._names: dict[int, str] = {}
        self._data: list[bytes] = []
        self._counted = self._held = 0  # lines of _data that have been counted, and their bytes
        self._bad = 0
        self._left: list[Event] | None = None  # events that were read before one that feed raised for
        self._ending = False
        self.cut = False  # flush found the beginning of an event

    def feed(self, data: bytes) -> list[Event]:
        """The events that `data` completes. When it raises, flush has those that came before."""
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
        self.size += len(data)
        if b"\n" not in data:
            if self.size > self._limit:
                raise self._too_large()
            self._pending.append(data)
            return []
        if self._pending:
            self._pending.append(data)
            data = b"".join(self._pending)
            self._pending.clear()
        if self._first:
            self._first = False
            data = data.removeprefix(b"\xef\xbb\xbf")
        events: list[Event] = []
        try:
            if self._data or self._name:
                self._lines(data.split(b"\n"), events)
            else:
                self._blocks(data, events)
        except UpstreamBadOutput:
            self._left = events
            raise
        return events

    def flush(self) -> list[Event]:
        """The events left when nothing more comes, with or without the blank line that should end the last one.

        After feed has raised: those that came before what it raised for.
        """
        if self._left is not None:
            events, self._left = self._left, []
            return events
        self._ending = True
        return self.feed(b"\n\n")

    def _blocks(self, data: bytes, events: list[Event]) -> None:
        """As _lines, for data that begins with a new event: the two forms that nearly all events have are read at once."""
        *blocks, rest = data.split(b"\n\n")
        for block in blocks:
            if block[:6] == b"data: " and b"\n" not in block:
                self._event("", block[6:], events)
                continue
            name, _, value = block.partition(b"\ndata: ")
            if name[:7] == b"event: " and value and b"\n" not in value and b"\n" not in name:
                self._event(name[7:].decode("utf-8", errors="replace").strip(), value, events)
            else:
                self._lines([*block.split(b"\n"), b"", b""], events)
        self._lines(rest.split(b"\n"), events)

    def _lines(self, lines: list[bytes], events: list[Event]) -> None:
        rest = lines.pop()
        for line in lines:
            if line[:6] == b"data: ":
                self._data.append(line[6:])
            elif not line:
                if self._data:
                    self._dispatch(events)
                else:
                    self._name = ""
                    self._names.clear()
                    self._held = 0
            else:
                self._field(line, events)
        if rest:
            self._pending.append(rest)
        # Counted once each, with their line end: many short lines, or empty ones, are bounded and cost no more.
        self._held += sum(len(line) + 1 for line in self._data[self._counted :])
        self._counted = len(self._data)
        self.size = len(rest) + self._held
        if self.size > self._limit:
            raise self._too_large()

    def _field(self, line: bytes, events: list[Event]) -> None:
        if line.lstrip().startswith((b"{", b"[{", b"[DONE]")):
            self._data.append(line)
            return
        name, _, value = line.partition(b":")
        name, value = name.strip().lower(), value.removeprefix(b" ")
        if name == b"data":
            self._data.append(value)
        elif name == b"event":
            self._name = value[:_NAME].decode("utf-8", errors="replace").strip()
            self._held += 0 if len(self._data) in self._names else _NAME
            self._names[len(self._data)] = self._name
        elif name == b"error" and value:
            if self._data:
                self._dispatch(events)
            self._name, self._data, self._counted, self._held = "error", [value], 0, 0
            self._dispatch(events)

    def _dispatch(self, events: list[Event]) -> None:
        name, data = self._name, self._data[0] if len(self._data) == 1 else b"\n".join(self._data)
        self._name = ""
        self._data.clear()
        self._counted = self._held = 0
        self._event(name, data, events)
        self._names.clear()

    def _event(self, name: str, data: bytes, events: list[Event]) -> None:
        if len(data) > self._unchecked:
            self._check(data)
        if not self._decode:
            events.append(Event(name, data))
            return
        try:
            events.append(Event(name, codec.decode(data)))
        except ValueError:
            self._several(name, data.decode("utf-8", errors="replace"), events)

    def keep(self) -> None:
        """Bound what the events from now on take in memory together: they are kept until the answer ends."""
        if self._kept is None:
            self._kept = density.Sum()
            self._unchecked = -1

    def _check(self, data: bytes) -> None:
        if len(data) > self._limit:
            raise self._too_large()
        density.check(data)
        if self._kept is not None:
            self._kept.add(data)

    def _several(self, name: str, text: str, events: list[Event]) -> None:
        """Add the events of data that is not one JSON document: several documents, the mark of the end, words, or nothing.

        What of an event named error is no JSON is its message.
        """
        known, broken, line, counted = len(events), False, 0, 0
        of = self._names.get(0, "" if self._names else name)
        try:
            for at, value in self._documents(text):
                if len(events) - known >= _DOCUMENTS:
                    raise UpstreamBadOutput("The upstream sent an event of too many parts.")
                for _ in range(text.count("\n", counted, at)):
                    line += 1
                    of = self._names.get(line, of)
                counted = at
                events.append(Event(of, value))
        except UpstreamBadOutput:
            if name != "error":
                raise
            broken = True
        if name == "error" and (broken or len(events) == known) and text.strip():
            events.append(Event(name, text.strip()))

    def _documents(self, text: str) -> Iterator[tuple[int, Any]]:
        """Where each JSON document of `text` begins, and its value. Raises UpstreamBadOutput for what is a piece of one."""
        at = _between(text, 0)
        while at < len(text):
            start = at
            if text.startswith(DONE, at):
                at += len(DONE)
                yield start, DONE
            elif text[at] in "{[":
                try:
                    value, at = codec.document(text, at)
                except (ValueError, RecursionError):
                    if self._ending:
                        self.cut = True
                        return
                    raise UpstreamBadOutput("The upstream sent an event that is not JSON.") from None
                yield start, value
            else:
                end = text.find("\n", at)
                at = end if end >= 0 else len(text)
                self._words(text[start:at])
            at = _between(text, at)

    def _words(self, words: str) -> None:
        """Ignore a line that never was JSON. Raises UpstreamBadOutput for the possible end of a document, or a web page."""
        if words.startswith("<!--"):
            return
        if words.startswith("<"):
            self._bad += 1
        elif _PIECE_OF_JSON.search(words):
            raise UpstreamBadOutput("The upstream sent an event that is not JSON.")
        if self._bad >= _BAD_EVENTS:
            raise UpstreamBadOutput("The upstream sent events that are not JSON.")

    def _too_large(self) -> UpstreamBadOutput:
        self._pending.clear()
        return too_large(self._limit)


def too_large(limit: int) -> UpstreamBadOutput:
    """Return the failure of a stream with an event over the limit."""
    return UpstreamBadOutput(
        f"The upstream sent an event larger than {limit} bytes (server.max_event).",
        code="upstream_event_too_large",
    )


def _between(text: str, at: int) -> int:
    found = _BETWEEN.match(text, at)
    assert found is not None
    return found.end()


def refuse_value(event: Event) -> None:
    """Raise UpstreamBadOutput for JSON that is no object and may be a piece of the answer: a list, or JSON inside a text."""
    match event.data:
        case [_, *_]:
            raise UpstreamBadOutput("The upstream sent an event that is not a JSON object.")
        case str() as text if text != DONE and _PIECE_OF_JSON.search(text):
            raise UpstreamBadOutput("The upstream sent an event that is not a JSON object.")


def is_stream(body: bytes) -> bool:
    """Whether a body begins like an event stream."""
    return _FIELD.match(body) is not None


def unframed(body: bytes) -> bytes:
    """The data of the first event that has some, for a body that should have been JSON and is an event stream."""
    if is_stream(body):
        decoder = Decoder()
        try:
            events = decoder.feed(body) + decoder.flush()
        except UpstreamBadOutput:
            events = decoder.flush()
        for event in events:
            if isinstance(event.data, dict):
                return codec.encode(event.data)
            if event.name == "error":
                return str(event.data).encode("utf-8", errors="replace")
    return body
