"""Runs: events of a streamed answer that differ in nothing but their text, as nine of ten do, read without decoding each.

What stands around the text is learnt from two events that were decoded. Then an event, or the hundred that one read gave, is
known by these bytes, and its text is taken as it stands. Everything else is decoded: other events, texts whose form in JSON
is not the usual one, and the event after each of these, before the run goes on.
"""

import re
from collections.abc import Callable, Iterator
from itertools import takewhile
from typing import Final

import msgspec

from . import codec
from .contract import Json, Repeatable

_TRIES: Final = 64  # events in a row from which nothing was learnt, after which no more is tried
_WORTH: Final = 4  # events that must follow in a read, by their size, so that the first is decoded alone
_END: Final = b"\n\n"
_ESCAPE: Final = re.compile(r'\\["\\nrt]')  # those that our encoder writes, and nobody can write in another way but \u


class Run(msgspec.Struct):
    """Chunks that differ in nothing but their text. They are made when they are asked for, anew each time.

    chunk: one of them, not to be changed; field: where its delta has the text, all others are null; texts: as JSON writes
    them, without quotes; size, characters: of all texts (the size in bytes of UTF-8).
    """

    chunk: Json
    field: str
    texts: list[bytes]
    size: int
    characters: int

    def __len__(self) -> int:
        return len(self.texts)

    def __iter__(self) -> Iterator[Json]:
        for text in self.texts:
            yield with_text(self.chunk, self.field, codec.decode(b'"%b"' % text))


# What is to be done with what was read, in this order: give the run; decode so much; cut the rest.
Cut = tuple[Run | None, bytes, bytes]


class Runs:
    """Finds the runs in one stream. Call `cut` with what is read, and `learn` with what was decoded of it."""

    def __init__(self) -> None:
        self._head = self._tail = b""  # what stands around the text, and around its padding
        self._gap = b""  # between the text and its padding; b"": there is none
        self._chunk: Json = {}
        self._field = ""
        self._text: str | None = None  # of the event that these were learnt from; None: another has proved them
        self._open = False  # the translator is as it was at these events
        self._skipped: Callable[[int], object] | None = None
        self._tries = 0

    def cut(self, data: bytes, whole: bool) -> Cut:
        """Return how `data` is to be read. whole: an event begins with it. The translator is told of the run."""
        if self._open and whole and data.startswith(self._head) and (found := self._run(data)) is not None:
            run, rest = found
            if self._skipped is not None:
                self._skipped(run.characters)
            return (run, b"", rest)
        end = data.find(_END) + len(_END) if self._tries < _TRIES else 0
        if len(_END) <= end < len(data) // (_WORTH + 1):
            return (None, data[:end], data[end:])
        return (None, data, b"")

    def learn(self, event: bytes, chunks: list[Json]) -> None:
        """Note the bytes of an event, with its blank line, and the chunks it made. b"": of the last of several events."""
        self._open = False
        if type(chunks) is not Repeatable or not event or self._tries >= _TRIES:
            return
        delta: Json = chunks[0]["choices"][0]["delta"]
        ((field, text),) = [item for item in delta.items() if item[1] is not None]
        head, tail = self._head, self._tail
        if head and event.startswith(head) and event.endswith(tail):
            said, _, padding = self._parted(event[len(head) : -len(tail)])
            known = padding == chunks.padding.encode()
            if known and _END not in said and (self._text is None or self._proves(said, text)):
                self._text, self._open, self._tries = None, True, 0
                self._skipped = chunks.skipped
                return
        self._tries += 1
        quoted = codec.encode(text)
        if event.count(quoted) == 1 and event.find(_END) == len(event) - len(_END) and b"\r" not in event:
            head, _, tail = event.partition(quoted)
            before, after = b"", tail
            if chunks.padding and tail.count(padding := b'"%b"' % chunks.padding.encode()) == 1:
                before, _, after = tail.partition(padding)
            self._gap = before and b'"' + before + b'"'
            self._head, self._tail = head + b'"', b'"' + after
            self._text, self._field, self._chunk = text, field, with_text(chunks[0], field, "")

    def _proves(self, said: bytes, text: str) -> bool:
        """Whether what stands between head and tail of an event is the text that it says."""
        return text != self._text and _sizes_of(said) is not None and codec.decode(b'"%b"' % said) == text

    def _parted(self, said: bytes) -> tuple[bytes, bytes, bytes]:
        """Return the text of what an event says, what is between, and the padding."""
        return said.partition(self._gap) if self._gap else (said, b"", b"")

    def _padded_run(self, data: bytes) -> tuple[Run, bytes] | None:
        """Return the run that `data` begins with, if there is one, and the rest: of events that have a padding."""
        head, last = self._head, self._tail[: -len(_END)]
        begin, end = len(head), -len(last)
        texts: list[bytes] = []
        size = characters = length = 0
        for block in data.split(_END)[:-1]:
            text, gap, padding = block[begin:end].partition(self._gap)
            whole = gap and padding.isalnum() and block.startswith(head) and block.endswith(last)
            sizes = _sizes_of(text) if whole else None
            if sizes is None:
                break
            texts.append(text)
            size, characters, length = size + sizes[0], characters + sizes[1], length + len(block) + len(_END)
        return (Run(self._chunk, self._field, texts, size, characters), data[length:]) if texts else None

    def _run(self, data: bytes) -> tuple[Run, bytes] | None:
        """Return the run that `data` begins with, if there is one, and the rest."""
        if self._gap:
            return self._padded_run(data)
        head, tail = self._head, self._tail
        if data.endswith(tail):  # it may be one event, as most reads are; a text has no line ends
            said = data[len(head) : -len(tail)]
            if (sizes := _sizes_of(said)) is not None:
                return Run(self._chunk, self._field, [said], *sizes), b""
        begin, last = len(head), tail[: -len(_END)]
        end = -len(last)
        blocks = data.split(_END)
        del blocks[-1]
        while blocks and not (blocks[-1].startswith(head) and blocks[-1].endswith(last)):
            del blocks[-1]  # the end of an answer, most often
        texts = [block[begin:end] for block in blocks]
        if not data.startswith(self._written(texts)):
            alike = takewhile(lambda block: block.startswith(head) and block.endswith(last), blocks)
            texts = texts[: len(list(alike))]
        sizes = _sizes(texts) if texts else None
        if texts and sizes is None:
            del texts[next(place for place, text in enumerate(texts) if _sizes_of(text) is None) :]
            sizes = _sizes(texts) if texts else None
        if sizes is None:
            return None
        return Run(self._chunk, self._field, texts, *sizes), data[len(self._written(texts)) :]

    def _written(self, texts: list[bytes]) -> bytes:
        return self._head + (self._tail + self._head).join(texts) + self._tail


def with_text(chunk: Json, field: str, text: str) -> Json:
    """Return a chunk of one choice with this text in its delta, new in all that its reader may change."""
    (choice,) = chunk["choices"]
    return {**chunk, "choices": [{**choice, "delta": {**choice["delta"], field: text}}]}


def _sizes_of(said: bytes) -> tuple[int, int] | None:
    """Return the bytes and the characters of a text in JSON; None where it is empty, or may be written otherwise by us."""
    try:
        text = said.decode()
    except UnicodeDecodeError:
        return None
    bare, escapes = text, 0
    if "\\" in text:
        bare, escapes = _ESCAPE.subn("", text)
        if "\\" in bare:
            return None
    if not text or '"' in bare or not bare.isprintable():
        return None
    return len(said) - escapes, len(text) - escapes


def _sizes(texts: list[bytes]) -> tuple[int, int] | None:
    """Return the same of several, looked at together: a blank between two keeps an escape from going on in the next."""
    sizes, blanks = _sizes_of(b" ".join(texts)), len(texts) - 1
    return (sizes[0] - blanks, sizes[1] - blanks) if sizes is not None and b"" not in texts else None
