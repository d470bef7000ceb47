"""An answer as the Responses API tells it: streamed, or whole. Both are made by the same machine."""

import re
from collections.abc import Generator, Iterator, Sequence
from contextlib import suppress
from types import TracebackType
from typing import Any, Final, NoReturn

from providers import codec
from providers.contract import Batch, Json
from providers.errors import Failure, UpstreamBadOutput
from providers.sse import Decoder

from ..chat.stream import escape_line_ends
from ..contract import ClientRequest, Envelope, Renderer
from .errors import stream_error
from .events import Events
from .machine import Machine
from .response_object import ended
from .wanted import Wanted

_OPENED: Final = frozenset({"response.created", "response.queued", "response.in_progress"})
_OVER: Final = frozenset({"response.completed", "response.incomplete", "response.failed", "response.cancelled"})
# What a read of a stream must hold to be worth decoding: the words of some event's type, or a number.
_BEGINS, _ENDS = (re.compile("|".join(map(re.escape, sorted(kinds))).encode()) for kinds in (_OPENED, _OVER))
_NUMBERED: Final = b'"sequence_number"'
_NUMBER: Final = re.compile(_NUMBERED + rb"\s*:\s*(\d{1,18})\b")


class Answered(Generator["bytes | bytearray", "Batch | None", bytes]):
    """The renderer of a streamed answer. A fault in the answer raises, and the stream can still be ended by a Failure."""

    def __init__(self, wanted: Wanted, envelope: Envelope, reasoning: bool) -> None:
        self._machine = Machine(wanted, envelope, reasoning)
        self._native = Passed()

    @property
    def response(self) -> Json | None:
        """The Response, once the answer has ended; None before. It is known before the end of the answer is returned."""
        return self._native.ended if self._native.seen else self._machine.response

    @property
    def begun(self) -> Json | None:
        """The Response as it was at the beginning of a native answer, once that has been seen; None of any other."""
        return self._native.begun

    def send(self, batch: Batch | None) -> bytes | bytearray:
        if batch is None:
            if not self._native.seen:
                self._machine.end()
            raise StopIteration(bytes(self._taken()))
        if batch.raw:
            self._native.see(batch.raw)
            return batch.raw
        if not self._native.seen:
            for chunk in batch.chunks:
                self._machine.feed(chunk)
            if not batch.chunks:
                self._machine.beat()
        return self._taken()

    def throw(self, kind: Any, value: Any = None, traceback: TracebackType | None = None, /) -> NoReturn:
        failure = kind if isinstance(kind, BaseException) else value if value is not None else kind()
        if not isinstance(failure, Failure):
            raise failure
        if self._native.seen:
            raise StopIteration(self._native.failed(failure, self._machine.begun))
        self._machine.fail(failure)
        raise StopIteration(bytes(self._taken()))

    def go_on(self, envelope: Envelope, reasoning: bool) -> None:
        """Let another upstream give what follows of an answer of which nothing but the beginning has been told."""
        self._machine.answer_by(envelope, reasoning)

    def _taken(self) -> bytearray:
        data, self._machine.events.data = self._machine.events.data, bytearray()
        return escape_line_ends(data)


class Passed:
    """What is known of a stream that is passed on as it came: how it began and ended, and enough to end it when it breaks."""

    def __init__(self) -> None:
        self.seen = False
        self.over = False
        self.begun: Json | None = None  # the Response as it was at the beginning
        self.ended: Json | None = None  # and at the end
        self._numbered = b""  # the last read that numbers its events

    def see(self, raw: bytes) -> None:
        """Look at whole events. A read is decoded only where it may hold a Response, so at most twice."""
        self.seen = True
        if _NUMBERED in raw:
            self._numbered = raw
        if self.begun is None and _BEGINS.search(raw):
            self.begun = next(filter(None, _responses(raw, _BEGINS, _OPENED)), None)
        if _ENDS.search(raw):
            for response in _responses(raw, _ENDS, _OVER):
                self.over, self.ended = True, response or self.ended

    def failed(self, failure: Failure, unseen: Json) -> bytes:
        """Return what ends the stream: nothing where it has been ended. unseen: the Response where none has been seen."""
        if self.over:
            return b""
        events = Events()
        numbers = _NUMBER.findall(self._numbered)
        events.number = int(numbers[-1]) + 1 if numbers else 0
        told, error = stream_error(failure)
        events.say("error", **told)
        begun = {**unseen, **(self.begun or {})}
        events.say("response.failed", response=ended(begun, "failed", begun.get("output") or [], error=error))
        return bytes(escape_line_ends(events.data))


def _responses(raw: bytes, marks: re.Pattern[bytes], kinds: frozenset[str]) -> Iterator[Json | None]:
    """Yield, of the events of these types in whole events of a stream, the Response that each holds; None where it holds none.

    Only what holds one of the marks is decoded.
    """
    raw += b"\n\n"  # the last event may lack its blank line
    for event in Decoder(len(raw), decode=False).feed(raw):
        if marks.search(event.data):
            with suppress(ValueError):
                match codec.decode(event.data):
                    case {"type": str(kind), **more} if kind in kinds:
                        response = more.get("response")
                        yield response if isinstance(response, dict) else None


def render(
    request: ClientRequest, envelope: Envelope, reasoning: bool, begun: Renderer | None = None
) -> "Answered | Renderer":
    """Return the renderer of a streamed answer."""
    if isinstance(begun, Answered):
        begun.go_on(envelope, reasoning)
    return begun or Answered(wanted_of(request), envelope, reasoning)


def completion(
    request: ClientRequest, answer: Json, envelope: Envelope, reasoning: bool, chunks: Sequence[Json] = ()
) -> Json:
    """Return the Response of a whole answer: what the stream of it would end with. Raises BadOutput."""
    whole = [{**answer, "choices": [_as_piece(choice) for choice in answer["choices"]]}]
    try:
        return _folded(request, envelope, reasoning, chunks or whole)
    except UpstreamBadOutput:
        if not chunks:
            raise
        return _folded(request, envelope, reasoning, whole)  # pieces that no stream can tell: a call behind its end


def _folded(request: ClientRequest, envelope: Envelope, reasoning: bool, chunks: Sequence[Json]) -> Json:
    machine = Machine(wanted_of(request), envelope, reasoning, quiet=True)
    for chunk in chunks:
        machine.feed(chunk)
    machine.end()
    assert machine.response is not None
    return machine.response


def _as_piece(choice: Json) -> Json:
    message: Json = choice["message"]
    calls = [{"index": at, **call} for at, call in enumerate(message.get("tool_calls") or ())]
    return {**choice, "delta": {**message, "tool_calls": calls}}


def wanted_of(request: ClientRequest) -> Wanted:
    """Return what the answer to a request depends on."""
    return request.answer if isinstance(request.answer, Wanted) else Wanted(request.body)
