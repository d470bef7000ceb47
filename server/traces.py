"""What the inspector keeps: a trace of each exchange with a client, and in it one of each call to an upstream.

Recorder
  └ Trace (one per POST)               body, response, writes
      └ TracedCall (one per call)      request, reads, failure
"""

import time
from collections import deque
from collections.abc import Awaitable, Mapping
from math import inf
from typing import Final

from aiohttp import web

from gateway.config_schema import InspectorConfig
from providers.contract import Json
from providers.errors import Failure

from .event_stream import EventStream, Heartbeat
from .masking import masked_headers, masked_url, secrets_in
from .outbound.exchange import Exchange
from .outbound.response import UpstreamResponse
from .outbound.wire import Take

_OVERHEAD: Final = 400  # bytes that an exchange, a call or a read costs beside its content
HEAD: Final = 64 * 2**10  # bytes of each body that is kept of an exchange that passes as bytes


class Recorder:
    """The exchanges kept, oldest first, and what they weigh together."""

    def __init__(self, settings: InspectorConfig) -> None:
        self.settings = settings
        self.size = 0
        self.serial = 0
        self.traces: deque[Trace] = deque()

    def open(self, request: web.Request) -> "Trace":
        self.serial += 1
        trace = Trace(self, self.serial, request)
        self.traces.append(trace)
        while len(self.traces) > self.settings.exchanges:
            self._forget()
        trace.charge(_OVERHEAD + _weight(trace.headers))
        return trace

    def make_room(self) -> None:
        """Forget the oldest exchanges until the rest fits."""
        while self.size > self.settings.max_bytes and self.traces:
            self._forget()

    def clear(self) -> None:
        while self.traces:
            self._forget()

    def _forget(self) -> None:
        trace = self.traces.popleft()
        self.size -= trace.size
        trace.size, trace.kept = 0, False  # it may still be running


class Trace:
    """One exchange with a client. Times are seconds since it began."""

    def __init__(self, recorder: Recorder, serial: int, request: web.Request) -> None:
        self._recorder = recorder
        self.serial = serial
        self.began, self.at = time.monotonic(), time.time()
        self.method, self.path = request.method, masked_url(request.path_qs[:1000])
        self.headers = masked_headers(request.headers)
        self.secrets = secrets_in(request.headers)
        self.body = b""
        self.hub = b""  # in the hub's form, for the call that is made next; b"" where the client's own form is sent on
        self.attempts: list[TracedCall] = []
        self.writes: list[tuple[float, bytes]] = []
        self.status = 0  # while it runs
        self.answer: Json = {}  # headers of the answer
        self.took: float | None = None
        self.facts: Json = {}  # what the log line says
        self.size = 0
        self.kept = True
        self.cut = False  # there was more than may be kept

    def now(self) -> float:
        return time.monotonic() - self.began

    def charge(self, size: int) -> bool:
        """Take room for so many bytes; False when there is none left: one exchange may have a quarter of all."""
        if not self.kept:
            return False
        if self.size + size > self._recorder.settings.max_bytes // 4:
            self.cut = True
            return False
        self.size += size
        self._recorder.size += size
        self._recorder.make_room()
        return True

    def wrote(self, data: bytes) -> None:
        if data and self.charge(len(data) + _OVERHEAD):
            self.writes.append((self.now(), bytes(data)))

    async def watch(self, exchange: Exchange, answer: Awaitable[UpstreamResponse]) -> UpstreamResponse:
        """Make the call that `answer` stands for and see what comes of it. For Exchange.watch."""
        attempt = TracedCall(self, exchange)
        self.attempts.append(attempt)
        try:
            watched = TracedResponse(await answer, attempt)
        except Failure as failure:
            attempt.failed(failure)
            raise
        finally:
            attempt.head = self.now()
        return watched

    def failed(self, name: str, failure: Failure) -> None:
        """A target did not answer: why, as the client would have heard it."""
        last = self.attempts[-1] if self.attempts else None
        if last is None or last.name != name or last.cause not in (None, failure):
            if not self.charge(_OVERHEAD):
                return
            last = TracedCall(self, None, name)  # it was refused before any call
            self.attempts.append(last)
        last.failed(failure)


class TracedCall:
    """One call to an upstream, or a target that was passed over without one."""

    def __init__(self, trace: Trace, exchange: Exchange | None, name: str = "") -> None:
        self.trace = trace
        self.name = name
        self.sent = trace.now()
        self.url, self.headers, self.body, self.hub = "", dict[str, str](), b"", b""
        self.dropped: tuple[str, ...] = ()
        self.head: float | None = None
        self.status = 0
        self.answer: dict[str, str] = {}
        self.reads: list[tuple[float, bytes]] = []
        self.cause: Failure | None = None
        self.failure: Json | None = None
        self.room = inf  # bytes of the answer that may be kept
        if exchange is None:
            return
        to, call = exchange.to, exchange.call
        self.name = to.target_name
        self.dropped = call.dropped
        self.url = masked_url(call.url)
        self.headers = masked_headers(call.headers)
        trace.secrets |= {to.api_key}
        body, hub, trace.hub = exchange.body if isinstance(exchange.body, bytes) else exchange.body.head, trace.hub, b""
        if call.passed:
            body, self.room = body[:HEAD], HEAD
        if trace.charge(
            len(body) + len(hub) + len(self.url) + _weight(self.headers) + sum(map(len, self.dropped)) + _OVERHEAD
        ):
            self.body, self.hub = body, hub
        else:
            self.dropped = ()

    def failed(self, failure: Failure) -> None:
        self.cause, self.failure = failure, failure.body()["error"]

    def read(self, data: bytes) -> None:
        if len(data) > self.room:
            data, self.trace.cut = data[: int(self.room)], True
        self.room -= len(data)
        if data and self.trace.charge(len(data) + _OVERHEAD):
            self.reads.append((self.trace.now(), data))


class TracedResponse:
    """An upstream's answer that is looked at while it is read."""

    def __init__(self, answer: UpstreamResponse, attempt: TracedCall) -> None:
        self._answer, self._attempt = answer, attempt
        self.status, self.headers = answer.status, answer.headers
        attempt.status, attempt.answer = answer.status, masked_headers(answer.headers)

    @property
    def is_read(self) -> bool:
        return self._answer.is_read

    async def read(self, patience: float = 0.0) -> bytes:
        try:
            data = await self._answer.read(patience)
        except Failure as failure:
            self._attempt.failed(failure)
            raise
        self._attempt.read(data)
        return data

    async def pour(self, take: Take, patience: float) -> None:
        def seen(data: bytes) -> bool:
            self._attempt.read(data)
            return take(data)

        await self._answer.pour(seen, patience)

    def close(self) -> None:
        self._answer.close()

    def finish(self) -> None:
        self._answer.finish()


class TracedEventStream(EventStream):
    """An event stream whose writes are kept, comments included."""

    def __init__(self, request: web.Request, heartbeat: Heartbeat, keep_alive: bytes, trace: Trace) -> None:
        super().__init__(request, heartbeat, keep_alive)
        self._trace = trace

    async def write(self, data: bytes | bytearray, end: bool = False) -> None:
        self._trace.wrote(bytes(data))
        await super().write(data, end)

    def send(self, data: bytes | bytearray) -> bool:
        self._trace.wrote(bytes(data))
        return super().send(data)


def _weight(headers: Mapping[str, str]) -> int:
    return sum([len(name) + len(value) for name, value in headers.items()])
