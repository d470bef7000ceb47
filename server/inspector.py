"""The inspector: the last exchanges as they happened, byte for byte, for people who build on this server.

Off, it costs nothing: no middleware is installed, and an upstream call makes one comparison. On, it keeps in memory, and
nowhere else, what the client sent, what went upstream, every read of what came back, and every write to the client, each
with its time. It is bounded in exchanges and in bytes; the oldest go first. Only this machine, or an admin key, may look.

    middleware → Trace (one per POST)         body, response, writes
                   └ Attempt (one per call)   request, reads, failure
"""

import re
import time
from codecs import getincrementaldecoder
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from itertools import islice
from math import inf
from typing import Final
from urllib.parse import urlsplit

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from dialects import dialect_of
from gateway.config_schema import InspectorConfig
from providers import codec
from providers.contract import Json
from providers.errors import Failure, NotFound

from .event_stream import EventStream, Heartbeat
from .json_answer import json_answer
from .logs import RECORD
from .outbound.exchange import Exchange
from .outbound.response import UpstreamResponse
from .outbound.wire import Take
from .state import APP_STATE
from .whole_response import sent

# Names of headers and query parameters that carry secrets; not x-ratelimit-limit-tokens.
_SECRET_NAME = re.compile(
    r"auth|(^|[-_])key$|apikey|secret|cookie|(access|security|session|id)[-_]token", re.IGNORECASE
)
_OVERHEAD: Final = 400  # bytes that an exchange, a call or a read costs beside its content
_SHORTEST_SECRET: Final = (
    8  # what is shorter is masked in its header, but not searched for: it would be found everywhere
)
_MOST_SECRETS: Final = 32  # words of a client's headers that are searched for: each costs a look at every byte
HEAD: Final = 64 * 2**10  # bytes of each body that is kept of an exchange that passes as bytes
UNSEEN: Final = "/admin/"  # paths that are not kept: an answer there may hold a new key
_SCHEMES: Final = ("bearer", "basic", "token")


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
        self.method, self.path = request.method, _masked_url(request.path_qs[:1000])
        self.headers = _masked(request.headers)
        self.secrets = _tokens(request.headers)
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
        self.url = _masked_url(call.url)
        self.headers = _masked(call.headers)
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
        attempt.status, attempt.answer = answer.status, _masked(answer.headers)

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


RECORDER: Final = web.AppKey("RECORDER", Recorder)
_TRACE: Final = web.RequestKey("trace", Trace)


def trace_of(request: web.Request) -> Trace | None:
    """The trace of a request; None while the inspector is off."""
    return request.get(_TRACE) if request[APP_STATE].inspects else None


def record_body(request: web.Request, body: bytes) -> bytes:
    """The body, as it was given: seen, if anybody looks."""
    trace = trace_of(request)
    if trace is not None and trace.charge(len(body)):
        trace.body = body
    return body


def record_hub(request: web.Request, body: Json) -> None:
    """Note what a request of another form became in the hub's, if anybody looks: for the call that is made of it."""
    if (trace := trace_of(request)) is not None:
        trace.hub = codec.encode(body)


def record_write(request: web.Request, data: bytes) -> None:
    """Keep what the client was sent of an answer, if anybody looks."""
    if (trace := trace_of(request)) is not None:
        trace.wrote(data)


def event_stream(request: web.Request, heartbeat: Heartbeat, keep_alive: bytes) -> EventStream:
    """The event stream to this client, traced while the inspector is on."""
    trace = trace_of(request)
    if trace is None:
        return EventStream(request, heartbeat, keep_alive)
    return TracedEventStream(request, heartbeat, keep_alive, trace)


def install(app: web.Application, settings: InspectorConfig) -> list[Middleware]:
    """The middlewares to put around all others: none while the inspector is off."""
    if not settings.enabled:
        return []
    recorder = app[RECORDER] = Recorder(settings)

    @web.middleware
    async def watch(request: web.Request, handler: Handler) -> web.StreamResponse:
        if request.method != "POST" or request.path.startswith(UNSEEN):
            return await handler(request)
        trace = request[_TRACE] = recorder.open(request)
        trace.status = 499  # the client left, unless something better is known
        try:
            response = await handler(request)
            trace.status, trace.answer = response.status, _masked(response.headers)
            if isinstance(response, web.Response) and isinstance(response.body, bytes):
                trace.wrote(response.body)
            return response
        finally:
            trace.took = trace.now()
            record = request.get(RECORD)
            if record is not None:
                trace.facts = {
                    name: getattr(record, name, None)
                    for name in ("id", "key", "model", "upstream", "stream", "prompt", "completion", "code")
                }

    return [watch]


def routes(authorise: Callable[[web.Request], object]) -> list[web.RouteDef]:
    """The inspector's own routes. authorise: raises unless the caller may see everything."""

    def recorder_of(request: web.Request) -> Recorder:
        authorise(request)
        if RECORDER not in request.app:
            raise NotFound(
                "The inspector is off: write `inspector: {enabled: true}` in config.yaml and restart the server.",
                code="inspector_off",
            )
        return request.app[RECORDER]

    async def listed(request: web.Request) -> web.Response:
        """GET /inspector/exchanges: what is kept, newest first."""
        recorder = recorder_of(request)
        data = [_summary(trace) for trace in reversed(recorder.traces)]
        limits = {"exchanges": recorder.settings.exchanges, "max_bytes": recorder.settings.max_bytes}
        return await _json(request, {"object": "list", "bytes": recorder.size, "limits": limits, "data": data})

    async def shown(request: web.Request) -> web.Response:
        """GET /inspector/exchanges/{serial}: one exchange, whole."""
        recorder = recorder_of(request)
        serial = request.match_info["serial"]
        for trace in recorder.traces:
            if str(trace.serial) == serial:
                return await _json(request, _whole(trace))
        raise NotFound("This exchange is not kept (any more).")

    async def cleared(request: web.Request) -> web.Response:
        """DELETE /inspector/exchanges: forget everything."""
        recorder_of(request).clear()
        return web.Response(status=204)

    return [
        web.get("/inspector/exchanges", listed),
        web.delete("/inspector/exchanges", cleared),
        web.get("/inspector/exchanges/{serial}", shown),
    ]


async def _json(request: web.Request, value: Json) -> web.Response:
    return await sent(request, json_answer(value))


def _summary(trace: Trace) -> Json:
    return {
        "serial": trace.serial,
        "at": trace.at,
        "method": trace.method,
        "path": trace.path,
        "api": _api_of(trace),
        "status": trace.status,
        "running": trace.took is None,
        "took": trace.took,
        "first": trace.writes[0][0] if trace.writes else None,
        "attempts": len(trace.attempts),
        **trace.facts,
    }


def _api_of(trace: Trace) -> str:
    """Return the operation that a client asked for: of a dialect, or the path that passes as bytes."""
    path = trace.path.partition("?")[0]
    operation = dialect_of(path, trace.headers).operation
    return operation if operation in path else path.strip("/").removeprefix("v1/")


def _whole(trace: Trace) -> Json:
    """Everything about one exchange, with the secrets that passed through it masked wherever they stand."""
    secrets = [secret for secret in trace.secrets if len(secret) >= _SHORTEST_SECRET]
    return {
        **_summary(trace),
        "cut": trace.cut,
        "request": {"headers": trace.headers, "body": _text(trace.body, secrets)},
        "attempts": [
            {
                "upstream": attempt.name,
                "url": attempt.url,
                "headers": {name: _text(value.encode(), secrets) for name, value in attempt.headers.items()},
                "hub": _text(attempt.hub, secrets),
                "body": _text(attempt.body, secrets),
                "dropped": attempt.dropped,
                "sent": attempt.sent,
                "head": attempt.head,
                "status": attempt.status,
                "answer": attempt.answer,
                "reads": _texts(attempt.reads, secrets),
                "failure": attempt.failure,
            }
            for attempt in trace.attempts
        ],
        "response": {"headers": trace.answer, "writes": _texts(trace.writes, secrets)},
    }


def _text(data: bytes, secrets: list[str]) -> str:
    return "".join(piece["data"] for piece in _texts([(0.0, data)], secrets))


def _texts(pieces: list[tuple[float, bytes]], secrets: list[str]) -> list[Json]:
    """Pieces of one stream of bytes as text. Neither a secret nor a character can hide behind a cut."""
    whole = b"".join([data for _, data in pieces])
    for secret in secrets:
        whole = whole.replace(secret.encode(), b"*" * len(secret.encode()))
    decode = getincrementaldecoder("utf-8")("replace").decode
    texts, start = [], 0
    for at, data in pieces:
        texts.append({"at": at, "data": decode(whole[start : start + len(data)])})
        start += len(data)
    return texts


def _masked(headers: Mapping[str, str]) -> dict[str, str]:
    """Headers with the values of those that may hold a secret shortened."""
    return {
        name: " ".join([word if word.lower() in _SCHEMES else _short(word) for word in value.split(" ")])
        if _SECRET_NAME.search(name)
        else value
        for name, value in headers.items()
    }


def _weight(headers: Mapping[str, str]) -> int:
    return sum([len(name) + len(value) for name, value in headers.items()])


def _tokens(headers: Mapping[str, str]) -> set[str]:
    words = (word for name, value in headers.items() if _SECRET_NAME.search(name) for word in value.split(" "))
    return set(islice((word for word in words if len(word) >= _SHORTEST_SECRET), _MOST_SECRETS))


def _short(secret: str) -> str:
    """A key's first letters and its last four: enough to know which one it was."""
    return f"{secret[:3]}…{secret[-4:]}" if len(secret) >= 16 else "…"


def _masked_url(url: str) -> str:
    """The URL with every query value shortened whose name speaks of a secret."""
    query = urlsplit(url).query
    for pair in query.split("&"):
        name, _, value = pair.partition("=")
        if value and _SECRET_NAME.search(name):
            url = url.replace(f"{name}={value}", f"{name}={_short(value)}")
    return url
