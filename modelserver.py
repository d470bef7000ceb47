#!/usr/bin/env python3
"""ModelServer: one OpenAI-compatible door to many model providers.

A request crosses this file once, top to bottom:

    bytes → authenticate → parse → routes → provider.request → upstream → translator → frames → bytes

Everything else that touches a socket, a file or a clock is in server/, policy is in gateway/, wire formats are in
providers/; imports point inward: modelserver → server → gateway → providers.
"""

import server.preflight  # noqa: F401, I001  it comes first: the packages below may be missing
import asyncio
import random
import re
import sys
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import aclosing
from functools import lru_cache, partial
from typing import Any, Final, TypeVar
from urllib.parse import quote

from aiohttp import web
from aiohttp.typedefs import Handler

from dialects import embeddings
from dialects.chat import functions
from dialects.chat import request as chat_request
from gateway.config import Settings
from gateway.route_hints import nearest
from gateway.reasoning_cache import ReasoningCache
from gateway.routing import Target, first_byte_timeout, with_defaults
from gateway.config_schema import ServerConfig
from providers import PROVIDERS, codec
from providers.contract import Call, Json, Upstream
from providers.errors import BadRequest, Failure, MethodNotAllowed, NotFound
from server import auth, handlers, state, inspector, logs, page
from server.outbound import exchange as outbound
from server.outbound import embeddings as vectors
from server.whole_response import sent
from server.ingress import (
    STATE,
    IMAGES,
    GENERATION,
    RECORD,
    ROOMS,
    IN_FLIGHT,
    admit,
    handle_expect,
    authenticate_request,
    enter,
    parsed,
    read_body,
    worker_of,
)
from server.outbound.image_fetcher import inline
from server.frames import Frames, envelope, hide
from server.outbound.pool import ConnectionPools
from server.process.listener import HEADERS
from server.error_response import JSON, to_failure, internal_error, error_response, error_body
from server.outbound.exchange import Exchange

VERSION: Final = "0.1.0"

KEEPER = web.AppKey("KEEPER", ReasoningCache)

_ID = re.compile(r"[\x21-\x7e]{1,128}")
T = TypeVar("T")
DONE: Final = b"data: [DONE]\n\n"
_IN_HEADER: Final = 200  # characters of a name that a header shows


async def chat(request: web.Request) -> web.StreamResponse:
    """POST /v1/chat/completions, streamed or whole."""
    record: logs.RequestRecord = request[RECORD]
    caller = authenticate_request(request)
    with enter(request):
        data = inspector.record_body(request, await read_body(request))
        ask, prompt = await parsed(request, data, chat_request.parse)
        del data  # an answer may take long
        record.stream = ask.body.get("stream") is True
        targets = await admit(request, caller, ask.body, prompt)
        return await (respond_stream if record.stream else respond_whole)(request, ask, targets)


async def respond_whole(
    request: web.Request, ask: chat_request.ClientRequest, targets: list[Target]
) -> web.StreamResponse:
    """The answer as one JSON body; what was streamed upstream is put together."""
    record: logs.RequestRecord = request[RECORD]
    exchange, body = await first_that_answers(
        request, ask.body, targets, partial(prepare_call, request, ask), outbound.fetch_whole
    )
    record.upstream = target_name(exchange.to)
    record.first = time.monotonic()
    if "tools" in ask.body and body["choices"]:
        request.app[KEEPER].remember(body["choices"][0]["message"], cache_scope(request, exchange.to))
    if not exchange.to.reasoning:
        for choice in body["choices"]:
            hide(choice["message"])
    if ask.legacy:
        body = functions.answer_with_function(body)
    body |= envelope("chat.completion", record)
    record.entry.took(body)
    data = await exchange.on_answer(partial(codec.encode, body))
    del body
    return await sent(request, web.Response(body=data, headers={**JSON, **answer_headers(exchange)}))


async def respond_stream(
    request: web.Request, ask: chat_request.ClientRequest, targets: list[Target]
) -> web.StreamResponse:
    """The answer as server-sent events, one write for each read from the upstream."""
    record: logs.RequestRecord = request[RECORD]
    frames = Frames(ask, envelope("chat.completion.chunk", record), record)
    with inspector.event_stream(request, request[ROOMS].pulse) as line:
        try:
            prepare = partial(prepare_call, request, ask)
            exchange, (batch, rest) = await first_that_answers(request, ask.body, targets, prepare, open_stream)
            record.upstream = target_name(exchange.to)
            record.first = time.monotonic()
            line.response.headers.update(answer_headers(exchange))
            frames.hides = not exchange.to.reasoning
            if "tools" in ask.body:
                frames.watcher = request.app[KEEPER].watcher(cache_scope(request, exchange.to))
            async with aclosing(rest) as chunks:
                if data := frames.of(batch):
                    await line.write(data)
                async for batch in chunks:
                    if data := frames.of(batch):
                        await line.write(data)
            if frames.watcher is not None:
                frames.watcher.commit()
            await line.write(DONE, end=True)
        except ConnectionError:
            raise
        except (Exception, asyncio.CancelledError) as error:
            failure = to_failure(error, request)
            record.entry.broke(failure)
            if not line.open:
                raise failure from None
            record.code = failure.code or failure.type
            data = bytearray()
            codec.frame_into(data, error_body(failure, request))
            await line.write(data, end=True)  # and no [DONE]: the client must not mistake this for an end
        finally:
            record.gap = line.longest_gap
    return line.response


async def first_that_answers(
    request: web.Request,
    body: Json,
    targets: list[Target],
    prepare: Callable[[Target], Awaitable[Call]],
    answer: Callable[[Exchange, ConnectionPools, ServerConfig], Coroutine[Any, Any, T]],
) -> tuple[Exchange, T]:
    """The first target that gives an answer (`outbound.whole` or `opening`) to the call prepared for it, and its answer.

    Raises the failure of the last target when none answers, or the first that no other target can help.
    """
    live, record, rooms, worker = request[GENERATION], request[RECORD], request[ROOMS], worker_of(request)
    entry, trace = record.entry, inspector.trace_of(request)
    server: ServerConfig = live.settings.config.server
    attempts = live.health.attempts(targets, record.started + server.timeouts.attempts)
    while (attempt := attempts.next(time.monotonic())) is not None:
        target = attempt.target
        if entry.lost and not await rooms.books.extend(record, body, target):
            record.tried.append((target_name(target.to), "beyond_limits"))
            continue
        try:
            if attempt.wait:
                await asyncio.sleep(attempt.wait)
            call = await prepare(target)
            if call.dropped and live.settings.config.strict_params:
                raise BadRequest(
                    f"This model does not take {', '.join(call.dropped)[:500]}, and this server refuses what it would have "
                    "to drop or change (strict_params).",
                    param=call.dropped[0][:200],
                    code="unsupported_parameter",
                )
            first_byte = first_byte_timeout(target, body, server.timeouts, call.stream)
            exchange = entry.exchange = Exchange(
                target.to,
                call,
                first_byte,
                added=target.added,
                observer=trace.watch if trace else None,
                worker=rooms.worker,
            )
            if worker is not None:
                exchange.away = worker.run
            work = answer(exchange, live.http, server)
            asked = time.monotonic()
            try:
                got = await (rooms.drains.outlive(work, record, request[IN_FLIGHT]) if target.to.drain else work)
            finally:
                record.waited += time.monotonic() - asked
        except Failure as failure:
            entry.failed(failure)
            record.tried.append((target_name(target.to), failure.code or failure.type))
            if trace is not None:
                trace.failed(target_name(target.to), failure)
            attempts.failed(failure, time.monotonic())
        else:
            attempts.answered()
            record.retried = attempts.retried
            return exchange, got
    record.retried = attempts.retried
    try:
        raise attempts.last
    finally:
        del attempts  # its failure knows this frame, which would know it: a circle that holds the request


async def prepare_call(request: web.Request, ask: chat_request.ClientRequest, target: Target) -> Call:
    """The call that asks this target. Raises Unsupported, BadRequest."""
    provider = PROVIDERS[target.upstream.host.protocol]
    body = with_defaults(ask.body, target)
    if ask.calls or ask.images:
        body = await fill_in(request, ask, body, target.upstream)
    worker = worker_of(request)
    if worker is None:
        return provider.build_request(body, target.upstream)
    return await worker.run(partial(provider.build_request, body, target.upstream))


async def fill_in(request: web.Request, ask: chat_request.ClientRequest, body: Json, to: Upstream) -> Json:
    """The request with what this target needs and the client did not send.

    That is the thinking behind tool calls (gateway/reasoning_cache.py), and images the provider would not fetch.
    Raises BadRequest for an image that cannot be had.
    """
    if ask.calls:
        body = request.app[KEEPER].restore(body, cache_scope(request, to))
    if ask.images:
        fetches = PROVIDERS[to.host.protocol].must_inline
        run = request[IN_FLIGHT]
        body = await inline(
            body,
            lambda url: fetches(url, to),
            request[GENERATION].fetcher,
            key=request[RECORD].key,
            have=request.setdefault(IMAGES, {}),
            hold=lambda size: run.hold(run.held + 2 * size),
        )
    return body


def cache_scope(request: web.Request, to: Upstream) -> str:
    """Whose thinking of whom: one client's must not reach another's conversation."""
    return f"{request[RECORD].key}/{to.name}"


async def open_stream(
    exchange: Exchange, http: ConnectionPools, limits: ServerConfig
) -> tuple[list[Json], AsyncGenerator[list[Json], None]]:
    """The chunks up to, and with, the first that says something, and the rest, to be closed by the caller.

    The first chunk is the point of no return: until then a failure moves on to the next target. A chunk that only opens
    the answer does not count: upstreams do open a stream and then say "overloaded".
    """
    rest = outbound.stream_batches(exchange, http, limits)
    held = exchange.held_back
    try:
        async for batch in rest:
            held += batch
            if exchange.said:
                break
    except BaseException:
        await rest.aclose()
        raise
    exchange.held_back = []
    return held, rest


def target_name(to: Upstream) -> str:
    return f"{to.name}/{to.model}"


def answer_headers(exchange: Exchange) -> dict[str, str]:
    """What an answer tells about itself beside its body."""
    headers = {"x-modelserver-upstream": header_safe(target_name(exchange.to)[:_IN_HEADER])}
    if exchange.call.dropped:
        headers["x-modelserver-dropped"] = header_safe(",".join(exchange.call.dropped)[:_IN_HEADER])
    if exchange.added:
        headers["x-modelserver-added"] = exchange.added
    if exchange.request_id:
        headers["x-upstream-request-id"] = exchange.request_id
    return headers


@lru_cache(1024)
def header_safe(name: str) -> str:
    """A name as a header value: it may be a client's invention. Kept for the next time, so it must have been cut."""
    return quote(name, safe="/:@.,+~!$&'()*;= -_")


async def create_embeddings(request: web.Request) -> web.Response:
    """POST /v1/embeddings."""
    record: logs.RequestRecord = request[RECORD]
    caller = authenticate_request(request)
    with enter(request):
        data = inspector.record_body(request, await read_body(request))
        body, prompt = await parsed(request, data, embeddings.parse)
        del data
        targets = await admit(request, caller, body, prompt)

        async def prepare(target: Target) -> Call:
            worker, work = worker_of(request), partial(vectors.prepared, body, target.upstream)
            return work() if worker is None else await worker.run(work)

        exchange, answer = await first_that_answers(request, body, targets, prepare, vectors.once)
        record.upstream = target_name(exchange.to)
        record.first = time.monotonic()
        record.entry.took(answer)
        answer["model"] = record.model
        data = await exchange.on_answer(partial(codec.encode, answer))
        del answer
        return await sent(request, web.Response(body=data, headers={**JSON, **answer_headers(exchange)}))


async def not_found(request: web.Request) -> web.Response:
    """Any path that is not served."""
    if known := [method for method in ("GET", "POST", "DELETE") if await is_served(request, method)]:
        failure = MethodNotAllowed(f"{request.method} is not allowed here: use {' or '.join(known)}.")
        failure.headers = {"Allow": ", ".join([*known, *(["HEAD"] if "GET" in known else []), "OPTIONS"])}
        raise failure
    known_paths = [path for each in request.app.router.resources() if "{" not in (path := each.canonical)]
    raise NotFound(
        f"Unknown request URL: {request.method} {request.path[:200]}. {nearest(request.path, known_paths)}",
        code="unknown_url",
    )


async def is_served(request: web.Request, method: str) -> bool:
    """Whether this path is served with another method."""
    match = await request.app.router.resolve(request.clone(method=method))
    return match.handler is not not_found


# The only handlers that answer without a key.
PUBLIC: Final = (handlers.home, page.asset, handlers.healthz, handlers.readyz, handlers.preflight, not_found)


def routes() -> list[web.RouteDef]:
    """The route table. Everything under /v1 is served without it too, and with a slash at the end: clients differ."""
    table = [
        web.get("/", handlers.home),
        web.get("/web/{name}", page.asset),
        web.get("/healthz", handlers.healthz),
        web.get("/readyz", handlers.readyz),
        web.get("/metrics", handlers.metrics),
        *inspector.routes(handlers.admin),
    ]
    for prefix in ("/v1", ""):
        for end in ("", "/"):
            table += [
                web.post(f"{prefix}/chat/completions{end}", chat),
                web.post(f"{prefix}/embeddings{end}", create_embeddings),
                web.get(f"{prefix}/models{end}", handlers.models),
                web.get(f"{prefix}/usage{end}", handlers.usage),
                web.get(f"{prefix}/dashboard/billing/subscription{end}", handlers.subscription),
                web.get(f"{prefix}/dashboard/billing/usage{end}", handlers.billed),
            ]
        table.append(web.get(f"{prefix}/models/{{id:(?s:.+)}}", handlers.model))
    table += [web.options("/{path:(?s:.*)}", handlers.preflight), web.route("*", "/{path:(?s:.*)}", not_found)]
    for route in table:
        route.kwargs["expect_handler"] = handle_expect
    return table


@web.middleware
async def errors_and_log(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Turns failures into OpenAI's error shape and writes the log line, whatever the end."""
    asked = request.headers.get("x-request-id", "")
    ident = asked if _ID.fullmatch(asked) else f"req_{random.getrandbits(96):024x}"
    rooms = request[ROOMS] = request.app[STATE]
    record = request[RECORD] = logs.RequestRecord(ident, time.monotonic())
    live = request[GENERATION] = rooms.lives.acquire()
    status = 499  # the client left, unless something better is known
    try:
        response = await handler(request)
        status = response.status
        return response
    except Failure as failure:
        status, record.code = failure.status, failure.code or failure.type
        return error_response(failure, request)
    except ConnectionError:  # the client left while something was being sent to it
        return web.Response(status=status)  # which nobody hears
    except web.HTTPException:  # of aiohttp's router: `OPTIONS *`, `CONNECT host:443`
        refused = NotFound("The target of this request is not a path.", code="unknown_url")
        status, record.code = refused.status, "unknown_url"
        return error_response(refused, request)
    except Exception:
        status, record.code = 500, "internal_error"
        return error_response(internal_error(record), request)
    finally:
        rooms.finish_request(live, record, status)
        rooms.log.request(record, request.method, request.path, status, time.monotonic())


async def add_headers(request: web.Request, response: web.StreamResponse) -> None:
    """The headers of every answer."""
    try:
        record, rooms = request[RECORD], request[ROOMS]
    except KeyError:  # the door was not reached: aiohttp's 417, where no route is
        return
    headers = response.headers
    headers["x-request-id"] = record.id
    for name, value in HEADERS.items():
        headers.setdefault(name, value)
    headers["Server"] = HEADERS["Server"]  # aiohttp has already set its own
    if record.limits is not None:
        headers.update(rooms.books.headers(record))
    if "Origin" in request.headers:
        headers.update(auth.cors(request, request[GENERATION].settings))
        headers["Vary"] = f"{headers['Vary']}, Origin" if "Vary" in headers else "Origin"
    # After chunks aiohttp takes the last trailer for a header of the next request, which behind a proxy may be another's.
    if rooms.admission.draining or "Transfer-Encoding" in request.headers:
        response.force_close()
        headers["Connection"] = "close"  # which aiohttp has decided by now


def create_app(settings: Settings, log: logs.Log) -> web.Application:
    """The application, with its first configuration."""

    async def furnish(app: web.Application) -> AsyncIterator[None]:
        app[STATE] = await state.open_state(settings, log, VERSION)
        yield
        await app[STATE].aclose()

    app = web.Application(client_max_size=2**30)  # read_body has the limit
    app[KEEPER], app[page.SITE] = ReasoningCache(), page.Site(VERSION)
    app.middlewares.extend([*inspector.install(app, settings.config.inspector), errors_and_log])
    app.cleanup_ctx.append(furnish)
    app.on_response_prepare.append(add_headers)
    app.add_routes(routes())
    return app


if __name__ == "__main__":
    from server.commands.cli import main

    sys.exit(main(create_app, VERSION))
