"""An answer as the Responses API tells it: streamed, or whole. Both are made by the same machine."""

import re
from collections.abc import Generator
from types import TracebackType
from typing import Any, Final, NoReturn

from providers import codec
from providers.contract import Batch, Json
from providers.errors import Failure

from ..chat.stream import escape_line_ends
from ..contract import ClientRequest, Envelope
from .errors import stream_error
from .events import Events
from .machine import Machine
from .response_object import ended
from .wanted import Wanted

_NUMBER: Final = re.compile(rb'"sequence_number"\s*:\s*(\d+)')
_BEGUN: Final = re.compile(rb'^data:\s*(\{.*"type"\s*:\s*"response\.(?:created|in_progress)".*\})\s*$', re.M)
_OVER: Final = re.compile(rb'"type"\s*:\s*"response\.(?:completed|incomplete|failed)"')


class Answered(Generator["bytes | bytearray", "Batch | None", bytes]):
    """The renderer of a streamed answer. A fault in the answer raises, and the stream can still be ended by a Failure."""

    def __init__(self, wanted: Wanted, envelope: Envelope, reasoning: bool) -> None:
        self._machine = Machine(wanted, envelope, reasoning)
        self._native = Passed()

    @property
    def response(self) -> Json | None:
        """The Response, once the answer has ended; None before, and of a native answer."""
        return None if self._native.seen else self._machine.response

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
        return self._taken()

    def throw(self, kind: Any, value: Any = None, traceback: TracebackType | None = None, /) -> NoReturn:
        failure = kind if isinstance(kind, BaseException) else value if value is not None else kind()
        if not isinstance(failure, Failure):
            raise failure
        if self._native.seen:
            raise StopIteration(self._native.failed(failure, self._machine.begun))
        self._machine.fail(failure)
        raise StopIteration(bytes(self._taken()))

    def opened(self) -> bytes:
        """Return what the stream begins with, where nothing of the answer is there yet."""
        self._machine.open()
        return bytes(self._taken())

    def heartbeat(self) -> bytes:
        """Return an event that says nothing; b"" where none can be told."""
        if not self._native.seen:
            self._machine.beat()
        return bytes(self._taken())

    def _taken(self) -> bytearray:
        data, self._machine.events.data = self._machine.events.data, bytearray()
        return escape_line_ends(data)


class Passed:
    """What is known of a stream that is passed on as it came: enough to end it when it breaks."""

    def __init__(self) -> None:
        self.seen = False
        self.over = False
        self.number = -1  # of the last event
        self.begun: Json | None = None  # the Response as it was at the beginning

    def see(self, raw: bytes) -> None:
        """Look at whole events."""
        self.seen = True
        self.over = self.over or _OVER.search(raw) is not None
        for found in _NUMBER.finditer(raw):
            self.number = int(found[1])
        if self.begun is None and (event := _BEGUN.search(raw)) is not None:
            try:
                response = codec.decode(event[1]).get("response")
            except (ValueError, AttributeError):
                return
            self.begun = response if isinstance(response, dict) else None

    def failed(self, failure: Failure, unseen: Json) -> bytes:
        """Return what ends the stream: nothing where it has been ended. unseen: the Response where none has been seen."""
        if self.over:
            return b""
        events = Events()
        events.number = self.number + 1
        told, error = stream_error(failure)
        events.say("error", **told)
        begun = {**unseen, **(self.begun or {})}
        events.say("response.failed", response=ended(begun, "failed", begun.get("output") or [], error=error))
        return bytes(escape_line_ends(events.data))


def render(request: ClientRequest, envelope: Envelope, reasoning: bool) -> Answered:
    """Return the renderer of a streamed answer."""
    return Answered(wanted_of(request), envelope, reasoning)


def completion(request: ClientRequest, answer: Json, envelope: Envelope, reasoning: bool) -> Json:
    """Return the Response of a whole answer: what the stream of it in one piece would end with. Raises BadOutput."""
    machine = Machine(wanted_of(request), envelope, reasoning, quiet=True)
    machine.feed({**answer, "choices": [_as_piece(choice) for choice in answer["choices"]]})
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
