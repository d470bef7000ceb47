"""The inspector: the last exchanges as they happened, byte for byte, for people who build on this server.

Off, it costs nothing: no middleware is installed, and an upstream call makes one comparison. On, it keeps in memory, and
nowhere else, what the client sent, what went upstream, every read of what came back, and every write to the client, each
with its time (traces.py). It is bounded in exchanges and in bytes; the oldest go first. Only this machine, or an admin key,
may look.
"""

from collections.abc import Callable
from typing import Final

from aiohttp import web
from aiohttp.typedefs import Middleware

from dialects import dialect_of
from gateway.config_schema import InspectorConfig
from providers import codec
from providers.contract import Json
from providers.errors import NotFound

from .event_stream import EventStream, Heartbeat
from .json_answer import json_answer
from .masking import SHORTEST_SECRET, masked_headers, masked_text, masked_texts
from .request import Handler, Request, delete, get, middleware
from .traces import Recorder, Trace, TracedEventStream
from .whole_response import sent

UNSEEN: Final = "/admin/"  # paths that are not kept: an answer there may hold a new key

RECORDER: Final = web.AppKey("RECORDER", Recorder)


def record_body(request: Request, body: bytes) -> bytes:
    """The body, as it was given: seen, if anybody looks."""
    trace = request.trace
    if trace is not None and trace.charge(len(body)):
        trace.body = body
    return body


def record_hub(request: Request, body: Json) -> None:
    """Note what a request of another form became in the hub's, if anybody looks: for the call that is made of it."""
    if (trace := request.trace) is not None:
        trace.hub = codec.encode(body)


def record_write(request: Request, data: bytes) -> None:
    """Keep what the client was sent of an answer, if anybody looks."""
    if (trace := request.trace) is not None:
        trace.wrote(data)


def event_stream(request: Request, heartbeat: Heartbeat, keep_alive: bytes) -> EventStream:
    """The event stream to this client, traced while the inspector is on."""
    trace = request.trace
    if trace is None:
        return EventStream(request, heartbeat, keep_alive)
    return TracedEventStream(request, heartbeat, keep_alive, trace)


def install(app: web.Application, settings: InspectorConfig) -> list[Middleware]:
    """The middlewares to put around all others: none while the inspector is off."""
    if not settings.enabled:
        return []
    recorder = app[RECORDER] = Recorder(settings)

    @middleware
    async def watch(request: Request, handler: Handler) -> web.StreamResponse:
        if request.method != "POST" or request.path.startswith(UNSEEN):
            return await handler(request)
        trace = request.trace = recorder.open(request)
        trace.status = 499  # the client left, unless something better is known
        try:
            response = await handler(request)
            trace.status, trace.answer = response.status, masked_headers(response.headers)
            if isinstance(response, web.Response) and isinstance(response.body, bytes):
                trace.wrote(response.body)
            return response
        finally:
            trace.took = trace.now()
            record = getattr(request, "record", None)
            if record is not None:
                trace.facts = {
                    name: getattr(record, name, None)
                    for name in ("id", "key", "model", "upstream", "stream", "prompt", "completion", "code")
                }

    return [watch]


def routes(authorise: Callable[[Request], object]) -> list[web.RouteDef]:
    """The inspector's own routes. authorise: raises unless the caller may see everything."""

    def recorder_of(request: Request) -> Recorder:
        authorise(request)
        if RECORDER not in request.app:
            raise NotFound(
                "The inspector is off: write `inspector: {enabled: true}` in config.yaml and restart the server.",
                code="inspector_off",
            )
        return request.app[RECORDER]

    async def listed(request: Request) -> web.Response:
        """GET /inspector/exchanges: what is kept, newest first."""
        recorder = recorder_of(request)
        data = [_summary(trace) for trace in reversed(recorder.traces)]
        limits = {"exchanges": recorder.settings.exchanges, "max_bytes": recorder.settings.max_bytes}
        return await _json(request, {"object": "list", "bytes": recorder.size, "limits": limits, "data": data})

    async def shown(request: Request) -> web.Response:
        """GET /inspector/exchanges/{serial}: one exchange, whole."""
        recorder = recorder_of(request)
        serial = request.match_info["serial"]
        for trace in recorder.traces:
            if str(trace.serial) == serial:
                return await _json(request, _whole(trace))
        raise NotFound("This exchange is not kept (any more).")

    async def cleared(request: Request) -> web.Response:
        """DELETE /inspector/exchanges: forget everything."""
        recorder_of(request).clear()
        return web.Response(status=204)

    return [
        get("/inspector/exchanges", listed),
        delete("/inspector/exchanges", cleared),
        get("/inspector/exchanges/{serial}", shown),
    ]


async def _json(request: Request, value: Json) -> web.Response:
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
    secrets = [secret for secret in trace.secrets if len(secret) >= SHORTEST_SECRET]
    return {
        **_summary(trace),
        "cut": trace.cut,
        "request": {"headers": trace.headers, "body": masked_text(trace.body, secrets)},
        "attempts": [
            {
                "upstream": attempt.name,
                "url": attempt.url,
                "headers": {name: masked_text(value.encode(), secrets) for name, value in attempt.headers.items()},
                "hub": masked_text(attempt.hub, secrets),
                "body": masked_text(attempt.body, secrets),
                "dropped": attempt.dropped,
                "sent": attempt.sent,
                "head": attempt.head,
                "status": attempt.status,
                "answer": attempt.answer,
                "reads": masked_texts(attempt.reads, secrets),
                "failure": attempt.failure,
            }
            for attempt in trace.attempts
        ],
        "response": {"headers": trace.answer, "writes": masked_texts(trace.writes, secrets)},
    }
