#!/usr/bin/env python3
"""ModelServer: one OpenAI-compatible server in front of many model providers.

A request crosses this file once, top to bottom:

    bytes → authenticate → Dialect.parse → admit → Provider.build_request → upstream → translator → renderer → bytes

Everything else that touches a socket, a file or a clock is in server/, policy is in gateway/, what clients speak is in
dialects/, what upstreams speak is in providers/. Imports point one way: modelserver → server → gateway → dialects → providers.
"""

import server.preflight  # noqa: F401, I001  it comes first: the packages below may be missing
import asyncio
import random
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping
from contextlib import aclosing, suppress
from copy import copy
from functools import lru_cache, partial
from typing import Any, Final, TypeVar
from urllib.parse import quote

from aiohttp import web
from aiohttp.typedefs import Handler

from dialects import chat, embeddings, messages, responses, seal
from dialects.conversations import conversation_of
from dialects.contract import ClientRequest, Dialect, Envelope, Renderer, end_of
from dialects.messages import count_tokens
from dialects.validation import addressed
from gateway.config import Caller, Settings
from gateway.config_schema import ServerConfig
from gateway.estimates import Prompt, check_fits
from gateway.pricing import has_price
from gateway.reasoning_cache import ReasoningCache
from gateway.routing import Target, first_byte_timeout, with_defaults
from providers import PROVIDERS, codec
from providers.contract import Batch, Call, Json, Upstream
from providers.errors import BadRequest, Failure, Overloaded, PermissionDenied
from server import explain, handlers, inspector, logs, page, responses_endpoints, state
from server.answer import Answer
from server.delivery import Delivery
from server.error_response import JSON, scrubbed, to_failure
from server.ingress import admit, authenticate_request, enter, handle_expect, parse_body, read_body, usable, worker_of
from server.json_answer import json_answer
from server.logs import RECORD
from server.middleware import add_headers, errors_and_log, not_found
from server.outbound.batches import Batches, BatchStream, check_filter, fetch_whole
from server.outbound.exchange import Exchange
from server.outbound.image_fetcher import inline
from server.outbound.pool import ConnectionPools
from server.passing import handlers as passing
from server.responses import CONVERSATION, STORE, Conversation, begin_compact, begin_response, open_store
from server.state import APP_STATE, GENERATION, IMAGES, IN_FLIGHT, METER, STATE
from server.whole_response import sent
from server.worker import done

VERSION: Final = "0.1.0"

REASONING = web.AppKey("REASONING", ReasoningCache)

T = TypeVar("T")
Begin = Callable[[web.Request, Caller, bytes], Awaitable[tuple[bytes, Dialect]]]
COUNTING: Final = 10.0  # seconds an upstream may take to count tokens
_IN_HEADER: Final = 200  # characters of a name that a header shows


def complete(dialect: Dialect, begin: Begin | None = None) -> Handler:
    """Return the handler of a client API: a POST that is answered by a model, streamed or whole.

    begin: looks at a request before it is parsed; returns its body, and the dialect to parse it by.
    """

    async def handler(request: web.Request) -> web.StreamResponse:
        caller = authenticate_request(request)
        request[CONVERSATION] = None
        with enter(request):
            data = inspector.record_body(request, await read_body(request))
            spoken = dialect
            if begin is not None:
                data, spoken = await begin(request, caller, data)
            asked, prompt = await parse_body(request, data, spoken)
            del data  # an answer may take long
            request[RECORD].stream, request[RECORD].session = asked.stream, asked.session_name
            operation = spoken.operation
            if (conversation := request[CONVERSATION]) is not None:
                asked = await conversation.begin(asked)
                operation = ""  # what limited keys may not send natively, it knows
            targets = await admit(request, caller, asked, prompt, operation)
            respond = respond_stream if asked.stream else respond_whole
            return await respond(request, spoken, asked, targets)

    return handler


async def respond_whole(
    request: web.Request, dialect: Dialect, asked: ClientRequest, targets: list[Target]
) -> web.StreamResponse:
    """Answer with one JSON body; what was streamed upstream is put together."""
    prepare = partial(prepare_call, request, dialect, asked)
    exchange, answer = await first_that_answers(request, asked, targets, prepare, fetch_whole)
    began(request, exchange)
    to = exchange.to
    collector = None
    if "tools" in asked.body and answer["choices"] and not exchange.verbatim:
        collector = request.app[REASONING].collector(cache_scope(request, to))
        collector.see_message(answer["choices"][0]["message"])
    request[METER].count_answer(answer)
    data = exchange.answer
    if not exchange.verbatim:
        pieces, exchange.chunks = exchange.chunks, []
        rendering = partial(dialect.completion, asked, answer, envelope(request, to), to.reasoning, pieces)
        answer = await exchange.on_answer(rendering)
        del rendering, pieces
        if collector is not None:
            collector.commit()  # now that calls have the ids that the client is told
        data = await exchange.on_answer(partial(codec.encode, answer))
    if (conversation := request[CONVERSATION]) is not None:
        await conversation.keep_whole(answer, exchange)
    del answer
    return await sent(request, Answer(data, {**JSON, **answer_headers(exchange, dialect)}))


async def respond_stream(
    request: web.Request, dialect: Dialect, asked: ClientRequest, targets: list[Target]
) -> web.StreamResponse:
    """Answer with server-sent events, one write for each read from the upstream, most of them inside that read."""
    meter, record = request[METER], request[RECORD]
    renderer: Renderer | None = None

    def begin_early() -> bytes | bytearray:
        """Return what the answer begins with although the upstream is silent; b"" where it cannot. No other target follows."""
        nonlocal renderer
        if (silent := meter.exchange) is None or silent.call.native is not None:
            return b""
        rendering = renderer or dialect.render(asked, envelope(request, silent.to), silent.to.reasoning)
        if data := rendering.send(Batch([])):
            renderer = rendering
        return data

    with inspector.event_stream(request, request[APP_STATE].heartbeat, dialect.keep_alive) as line:
        line.on_silence = begin_early
        try:
            prepare = partial(prepare_call, request, dialect, asked)
            found = first_that_answers(request, asked, targets, prepare, open_stream, lambda: renderer is not None)
            exchange, (batch, rest) = await found
            line.on_silence = None
            began(request, exchange)
            to = exchange.to
            line.response.headers.update(answer_headers(exchange, dialect))
            renderer = renderer or dialect.render(asked, envelope(request, to), to.reasoning)
            translated = "tools" in asked.body and not exchange.verbatim
            collector = request.app[REASONING].collector(cache_scope(request, to)) if translated else None
            delivery = Delivery(request, line, exchange, renderer, collector)
            async with aclosing(rest) as batches:
                more: Batch | None = batch
                while more is not None:
                    await delivery.write(more)
                    await batches.pour(delivery.take)
                    await delivery.settle()
                    more = await anext(batches, None)
            await delivery.end()
        except ConnectionError:
            raise
        except (Exception, asyncio.CancelledError) as error:
            failure = to_failure(error, request)
            meter.stream_failed(failure)
            if not line.open and failure.code not in dialect.told_in_stream:
                raise failure from None
            record.code = failure.code or failure.type
            await line.write(failed_end(request, dialect, asked, renderer, scrubbed(failure, request)), end=True)
        finally:
            record.gap = line.longest_gap
    return line.response


def failed_end(
    request: web.Request, dialect: Dialect, asked: ClientRequest, renderer: Renderer | None, failure: Failure
) -> bytes:
    """Return what ends a stream that has failed. renderer: of the answer, if there has been one; it may be what failed."""
    if renderer is not None:
        if failure.verbatim is not None:  # of a native answer
            return failure.verbatim
        with suppress(Failure, RuntimeError):
            return end_of(renderer, failure)
    return end_of(dialect.render(asked, envelope(request), True), failure)


def began(request: web.Request, exchange: Exchange) -> None:
    """Note in the record who answers, and since when."""
    record = request[RECORD]
    record.upstream = target_name(exchange.to)
    record.first = time.monotonic()


def envelope(request: web.Request, upstream: Upstream | None = None) -> Envelope:
    """Return what the answer to this request says of itself. upstream: who answers, once that is known."""
    record = request[RECORD]
    unique, created = f"{random.getrandbits(128):032x}", int(time.time())
    if upstream is None:
        return Envelope(unique, created, record.model, record.id)
    tokens = request[METER].prompt.tokens(upstream)
    return Envelope(
        unique, created, record.model, record.id, upstream.name, upstream.model, tokens, upstream.facts.context or 0
    )


async def first_that_answers(
    request: web.Request,
    asked: ClientRequest,
    targets: list[Target],
    prepare: Callable[[Target], Awaitable[Call]],
    answer: Callable[[Exchange, ConnectionPools, ServerConfig], Coroutine[Any, Any, T]],
    is_begun: Callable[[], bool] = lambda: False,
) -> tuple[Exchange, T]:
    """Return the exchange with the first target that answers the call prepared for it, and what `answer` makes of it.

    answer: fetch_whole or open_stream; is_begun: whether the client has been shown the beginning of an answer, so that no
    other target may follow. Raises the failure of the last target when none answers, or the first that no other
    target can help.
    """
    body = asked.body
    live, record, app_state = request[GENERATION], request[RECORD], request[APP_STATE]
    meter, trace = request[METER], inspector.trace_of(request)
    server = live.settings.config.server
    conversation = partial(conversation_of, asked, request.headers)
    attempts = live.health.attempts(targets, record.started + server.timeouts.attempts, conversation)
    while not is_begun() and (attempt := attempts.next(time.monotonic())) is not None:
        target = attempt.target
        if meter.failed_attempts and not await app_state.ledger.extend(meter, body, target):
            record.tried.append((target_name(target.upstream), "beyond_limits"))
            continue
        try:
            if attempt.wait:
                await asyncio.sleep(attempt.wait)
            check_fits(body, meter.prompt, target.upstream, asked.raw or ())
            call = await prepare(target)
            if call.dropped and live.settings.config.strict_params:
                raise strictly_refused(call)
            first_byte = first_byte_timeout(target, body, server.timeouts, call.stream)
            exchange = meter.exchange = exchange_of(request, target, call, first_byte)
            exchange.filter_fails = attempts.goes_on("content_filter")
            work = answer(exchange, live.http, server)
            since = time.monotonic()
            try:
                outlives = target.upstream.finish_seconds
                got = await (app_state.detached.outlive(work, meter, request[IN_FLIGHT]) if outlives else work)
            finally:
                record.waited += time.monotonic() - since
        except Failure as failure:
            if asked.address is not None and failure.param is not None and not failure.upstream_status:
                addressed(failure, asked.address)
            meter.attempt_failed(failure)
            record.tried.append((target_name(target.upstream), failure.code or failure.type))
            if trace is not None:
                trace.failed(target_name(target.upstream), failure)
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


def exchange_of(request: web.Request, target: Target, call: Call, first_byte: float) -> Exchange:
    """Return the exchange that makes a call for a request: seen by the inspector, a large body encoded by its worker."""
    worker, trace = worker_of(request), inspector.trace_of(request)
    return Exchange(
        target.upstream,
        call,
        first_byte,
        added=target.added,
        observer=trace.watch if trace is not None else None,
        away=worker.run if worker is not None else None,
        worker=request[APP_STATE].worker,
    )


def strictly_refused(call: Call) -> BadRequest:
    """Return the error of a request of which something would have to be dropped, where strict_params forbids that."""
    return BadRequest(
        f"This model does not take {', '.join(call.dropped)[:500]}, and this server refuses what it would have to drop or "
        "change (strict_params).",
        param=call.dropped[0][:200],
        code="unsupported_parameter",
    )


async def prepare_call(request: web.Request, dialect: Dialect, asked: ClientRequest, target: Target) -> Call:
    """Return the call that asks this target: natively where it speaks the client's own API. Raises Unsupported, BadRequest."""
    upstream = target.upstream
    provider = PROVIDERS[upstream.host.protocol]
    native = provider.native.get(dialect.operation) if asked.raw is not None else None
    conversation = request[CONVERSATION]
    if native is not None:
        as_sent = partial(native_call, conversation, native, asked, target)
        if (native_one := await made(request, as_sent)) is not None:
            return in_clients_words(native_one, dialect)
    if conversation is not None:
        conversation.check()
    check_translatable(asked)
    body = with_defaults(asked.body, target)
    changed: tuple[str, ...] = ()
    if asked.fit is not None:
        body, changed = asked.fit(body, upstream)
    if asked.tool_calls or asked.images or asked.seals:
        body = await fill_in(request, asked, body, upstream)
    if dialect is not chat:
        inspector.record_hub(request, body)
    build = partial(provider.build_request, body, upstream)
    call = await made(request, build)
    call = call._replace(dropped=(*changed, *call.dropped)) if changed else call
    return in_clients_words(call, dialect, asked.dropped)


def check_translatable(asked: ClientRequest) -> None:
    """Raise the failure of a request that only native calls can be made of."""
    if asked.refusal is not None:
        raise copy(asked.refusal)  # its traceback knows the frames that know the request, which would know it


def in_clients_words(call: Call, dialect: Dialect, before: tuple[str, ...] = ()) -> Call:
    """Return a call that names what it drops in the client's words, behind `before`, and not what the client did not send."""
    if not call.dropped and not before:
        return call
    words = (dialect.parameters.get(name, name) for name in call.dropped)
    return call._replace(dropped=tuple(filter(None, dict.fromkeys((*before, *words)))))


async def made(request: web.Request, build: Callable[[], T]) -> T:
    """Return what `build` makes of a request; outside of the event loop where that is large."""
    return await done(worker_of(request), build)


def native_call(
    conversation: Conversation | None,
    build: Callable[[Any, Mapping[str, str], Upstream], Call | None],
    asked: ClientRequest,
    target: Target,
) -> Call | None:
    """Return the call that passes a request on as it is; None where this target is to have it translated."""
    if conversation is None:
        return build(asked.raw, asked.headers, target.upstream)
    if (fit := conversation.native(asked, target)) is None:
        return None
    call = build(fit.body, asked.headers, target.upstream)
    return call and call._replace(dropped=tuple(dict.fromkeys((*fit.dropped, *call.dropped))))


async def fill_in(request: web.Request, asked: ClientRequest, body: Json, upstream: Upstream) -> Json:
    """Return the request with what this target needs and the client did not send.

    That is the thinking behind tool calls (gateway/reasoning_cache.py), and images the provider would not fetch.
    Raises BadRequest for an image that cannot be had.
    """
    if asked.seals:
        body = seal.restore(body, asked.seals, upstream.name, upstream.model)
    if asked.tool_calls:
        body = request.app[REASONING].restore(body, cache_scope(request, upstream))
    if asked.images:
        must_inline = PROVIDERS[upstream.host.protocol].must_inline
        run = request[IN_FLIGHT]
        body = await inline(
            body,
            lambda url: must_inline(url, upstream),
            request[GENERATION].fetcher,
            key=request[RECORD].key,
            have=request.setdefault(IMAGES, {}),
            hold=lambda size: run.hold_bytes(run.held + 2 * size),
        )
    return body


def cache_scope(request: web.Request, upstream: Upstream) -> str:
    """Whose thinking of whom: one client's must not reach another's conversation."""
    return f"{request[RECORD].key}/{upstream.name}"


async def open_stream(exchange: Exchange, pools: ConnectionPools, config: ServerConfig) -> tuple[Batch, Batches]:
    """Return what an answer gives up to, and with, the first words, and the rest, which the caller closes. Raises Failure.

    The first words are the point of no return: until then a failure moves on to the next target. What only opens the answer
    does not count: upstreams do open a stream and then say "overloaded".
    """
    rest = BatchStream(exchange, pools, config)
    held = exchange.held_back
    raw: list[bytes] = []
    large = False
    async for batch in rest:
        held += batch.chunks
        raw.append(batch.raw)
        large = large or batch.large
        if exchange.said:
            break
    if exchange.filter_fails:
        try:
            check_filter(held)
        except BaseException:
            await rest.aclose()
            raise
    exchange.held_back = []
    return Batch(held, b"".join(raw), large), rest


def target_name(upstream: Upstream) -> str:
    return f"{upstream.name}/{upstream.model}"


def answer_headers(exchange: Exchange, dialect: Dialect) -> dict[str, str]:
    """Return what an answer tells about itself beside its body."""
    headers = {"x-modelserver-upstream": header_safe(target_name(exchange.to)[:_IN_HEADER])}
    if exchange.call.dropped:
        headers["x-modelserver-dropped"] = header_safe(",".join(exchange.call.dropped)[:_IN_HEADER])
    if exchange.added or exchange.call.added:
        headers["x-modelserver-added"] = ",".join(filter(None, (exchange.added, *exchange.call.added)))
    if exchange.request_id:
        headers["x-upstream-request-id"] = exchange.request_id
        if exchange.verbatim:
            headers[dialect.header_form.request_id] = exchange.request_id
    return headers


@lru_cache(1024)
def header_safe(name: str) -> str:
    """A name as a header value: it may be a client's invention. Kept for the next time, so it must have been cut."""
    return quote(name, safe="/:@.,+~!$&'()*;= -_")


async def create_embeddings(request: web.Request) -> web.Response:
    """POST /v1/embeddings."""
    caller = authenticate_request(request)
    with enter(request):
        data = inspector.record_body(request, await read_body(request))
        asked, prompt = await parse_body(request, data, embeddings)
        del data
        body = asked.body
        targets = await admit(request, caller, asked, prompt, "embeddings")

        async def prepare(target: Target) -> Call:
            build_embeddings = PROVIDERS[target.upstream.host.protocol].build_embeddings
            return await made(request, partial(build_embeddings, body, target.upstream))

        exchange, answer = await first_that_answers(request, asked, targets, prepare, fetch_whole)
        began(request, exchange)
        request[METER].count_answer(answer)
        answer["model"] = request[RECORD].model
        data = await exchange.on_answer(partial(codec.encode, answer))
        del answer
        return await sent(request, Answer(data, {**JSON, **answer_headers(exchange, chat)}))


async def count(request: web.Request) -> web.Response:
    """POST /v1/messages/count_tokens: as the first target counts, else an estimate. It is in no ledger, and no limit."""
    caller = authenticate_request(request)
    with enter(request):
        data = inspector.record_body(request, await read_body(request))
        asked, _ = await parse_body(request, data, count_tokens)
        del data
        target = (await usable(request, caller, asked, ""))[0]  # a count costs nothing: no field is refused
        try:
            return await counted(request, asked, target)
        except (Failure, TimeoutError) as failure:
            if isinstance(failure, Failure) and not count_tokens.may_estimate(failure):
                raise
        return json_answer(count_tokens.estimated(asked), headers=count_tokens.ESTIMATED)


async def counted(request: web.Request, asked: ClientRequest, target: Target) -> web.Response:
    """Return the count of the upstream. Raises Failure, TimeoutError."""
    upstream, live = target.upstream, request[GENERATION]
    provider = PROVIDERS[upstream.host.protocol]
    native = provider.native.get(count_tokens.operation)
    build: Callable[[], Call | None]
    if native is not None:
        build = partial(native, asked.raw, asked.headers, upstream)
    else:
        check_translatable(asked)
        build = partial(provider.build_count, asked.body, upstream)
    call = await made(request, build)
    assert call is not None
    exchange = exchange_of(request, target, call, COUNTING)
    async with asyncio.timeout(COUNTING):
        answer = await fetch_whole(exchange, live.http, live.settings.config.server)
    began(request, exchange)
    headers = {**JSON, **answer_headers(exchange, messages)}
    if exchange.verbatim:
        return Answer(exchange.answer, headers)
    tokens = answer["usage"]["prompt_tokens"]
    return Answer(codec.encode(count_tokens.counted(tokens)), headers)


async def explain_request(request: web.Request) -> web.Response:
    """POST /v1/explain: what would be sent where. Nothing is sent, reserved or booked."""
    caller = authenticate_request(request)
    with enter(request):
        data = await read_body(request)
        dialect = explain.dialect_named(request)
        request[CONVERSATION] = None
        if dialect is responses:
            data, dialect = await begin_response(request, caller, data)
        asked, prompt = await parse_body(request, data, dialect)
        if (conversation := request[CONVERSATION]) is not None:
            asked = await conversation.begin(asked)
        targets = await usable(request, caller, asked, dialect.operation if conversation is None else "")
        asked = asked._replace(images=False)  # they would be fetched
        live, told, verdict = request[GENERATION], [], "asked"
        order = live.health.order(targets, time.monotonic(), conversation_of(asked, request.headers))
        for n, (target, resting) in enumerate(order):
            found = await explain_target(request, caller, dialect, asked, prompt, target, resting)
            failure, last = found.pop("failure"), n == len(order) - 1
            mine = verdict
            if failure is not None and verdict != "not_reached":
                mine = "passed_over" if explain.goes_on(target, failure, last) else "refused"
            told.append(explain.explained(mine, target, failure) | found)
            verdict = {"refused": "not_reached", "asked": "asked_next"}.get(mine, verdict)
        body = {"object": "explanation", "api": dialect.operation, "model": request[RECORD].model, "targets": told}
        text = codec.encode(body).decode()
        return web.Response(text=text if sees_hosts(request, caller) else live.scrub(text), headers=JSON)


def sees_hosts(request: web.Request, caller: Caller) -> bool:
    """Whether this caller may see where upstreams are: an administrator, or anybody where there are no keys."""
    return caller.admin or not request[GENERATION].settings.keys


async def explain_target(
    request: web.Request,
    caller: Caller,
    dialect: Dialect,
    asked: ClientRequest,
    prompt: Prompt,
    target: Target,
    resting: bool,
) -> Json:
    """Return what one target would be sent, and `failure`: why it would not be."""
    limits, added, failure = caller.limits, "", None
    if limits is not None and (limits.tpm or limits.budget):
        target, _, _ = request[APP_STATE].ledger.most_at(limits, asked.body, prompt, target)
        added = target.added
    told: Json = {"estimate": explain.estimate(asked.body, prompt, target)}
    try:
        if resting:
            raise Overloaded(
                "It has failed, or is throttled, and is left alone for a moment.", code="provider_unavailable"
            )
        if not caller.allow_unpriced and not has_price(asked.body, target.upstream):
            raise PermissionDenied("Its price is not known, and this key has a budget.", code="model_not_priced")
        check_fits(asked.body, prompt, target.upstream, asked.raw or ())
        call = await prepare_call(request, dialect, asked, target)
        given = explain.decoded(asked.raw, asked.body)
        told |= explain.changes(asked, given, call, added)
        told["request"] = explain.request_of(call, target.upstream, sees_hosts(request, caller))
        if call.dropped and request[GENERATION].settings.config.strict_params:
            raise strictly_refused(call)
    except Failure as why:
        failure = why.with_traceback(None)
    return {**told, "failure": failure}


# The only handlers that answer without a key.
PUBLIC: Final = (
    responses_endpoints.upgrade,
    handlers.home,
    page.asset,
    handlers.healthz,
    handlers.readyz,
    handlers.hello,
    handlers.client_events,
    handlers.preflight,
    not_found,
)


def routes() -> list[web.RouteDef]:
    """The route table. Everything under /v1 is served without it too, and with a slash at the end: clients differ."""
    chat_handler = complete(chat)
    responses_handler = complete(responses, begin_response)
    compact_handler = complete(responses, begin_compact)
    table = [
        web.get("/", handlers.home),
        web.get("/web/{name}", page.asset),
        web.get("/healthz", handlers.healthz),
        web.get("/readyz", handlers.readyz),
        web.get("/metrics", handlers.metrics),
        web.get("/api/hello", handlers.hello),
        web.post("/api/event_logging/batch", handlers.client_events),
        web.post("/api/event_logging/v2/batch", handlers.client_events),
        *inspector.routes(handlers.admin),
    ]
    messages_handler = complete(messages)
    for prefix in ("/v1", "", "/v1/v1", "/anthropic/v1", "/anthropic"):  # what Anthropic's clients ask
        for end in ("", "/"):
            table += [
                web.post(f"{prefix}/messages{end}", messages_handler),
                web.post(f"{prefix}/messages/count_tokens{end}", count),
                web.get(f"{prefix}/models{end}", handlers.models),
            ]
        table.append(web.get(f"{prefix}/models/{{id:(?s:.+)}}", handlers.model))
    for prefix in ("/v1", ""):
        for end in ("", "/"):
            table += [
                web.post(f"{prefix}/chat/completions{end}", chat_handler),
                web.post(f"{prefix}/embeddings{end}", create_embeddings),
                web.post(f"{prefix}/responses{end}", responses_handler),
                web.get(f"{prefix}/responses{end}", responses_endpoints.upgrade, allow_head=False),
                web.post(f"{prefix}/responses/compact{end}", compact_handler),
                web.post(f"{prefix}/responses/input_tokens{end}", responses_endpoints.input_tokens),
                web.get(f"{prefix}/responses/{{id}}{end}", responses_endpoints.retrieve),
                web.delete(f"{prefix}/responses/{{id}}{end}", responses_endpoints.delete),
                web.get(f"{prefix}/responses/{{id}}/input_items{end}", responses_endpoints.input_items),
                web.post(f"{prefix}/responses/{{id}}/cancel{end}", responses_endpoints.cancel),
                *(web.post(f"{prefix}{explain.PATH}{api}{end}", explain_request) for api in ("", *explain.SUFFIXES)),
                web.get(f"{prefix}/usage{end}", handlers.usage),
                web.get(f"{prefix}/dashboard/billing/subscription{end}", handlers.subscription),
                web.get(f"{prefix}/dashboard/billing/usage{end}", handlers.billed),
            ]
    table += passing.routes(passing.Way(first_that_answers, answer_headers))
    table += [web.options("/{path:(?s:.*)}", handlers.preflight), web.route("*", "/{path:(?s:.*)}", not_found)]
    for route in table:
        route.kwargs["expect_handler"] = handle_expect
    return table


def create_app(settings: Settings, log: logs.Log) -> web.Application:
    """The application, with its first configuration."""

    async def lifespan(app: web.Application) -> AsyncIterator[None]:
        app[STATE] = await state.open_state(settings, log, VERSION)
        app[STORE] = open_store(settings)
        yield
        app[STORE].close()
        await app[STATE].aclose()

    app = web.Application(client_max_size=2**30)  # read_body has the limit
    app[REASONING], app[page.SITE] = ReasoningCache(), page.Site(VERSION)
    app.middlewares.extend([*inspector.install(app, settings.config.inspector), errors_and_log])
    app.cleanup_ctx.append(lifespan)
    app.on_response_prepare.append(add_headers)
    app.add_routes(routes())
    return app


if __name__ == "__main__":
    from server.commands.cli import main

    sys.exit(main(create_app, VERSION))
