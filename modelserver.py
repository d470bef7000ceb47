#!/usr/bin/env python3
# /// script
# requires-python = ">=3.11"
# dependencies = [
#   "aiohttp==3.14.5",
#   "aiohttp-sse-client==0.2.1",
#   "httptools==0.9.0",
#   "msgspec==0.22.0",
#   "prometheus-client==0.26.0",
#   "PyYAML==6.0.3",
#   'uvloop==0.23.0; sys_platform != "win32" and implementation_name == "cpython"',
# ]
# ///
"""ModelServer: one OpenAI-compatible server in front of many model providers.

A request crosses this file once, top to bottom:

    bytes → authenticate → Dialect.parse → admit → Provider.build_request → upstream → translator → renderer → bytes

Everything else that touches a socket, a file or a clock is in server/, policy is in gateway/, what clients speak is in
dialects/, what upstreams speak is in providers/. Imports point one way: modelserver → server → gateway → dialects → providers.
"""

import server.preflight  # noqa: F401, I001  it comes first: the packages below may be missing
import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import aclosing
from functools import partial
from typing import Final

from aiohttp import web

from dialects import chat, embeddings, messages, responses
from dialects.contract import ClientRequest, Dialect
from gateway.settings import Settings
from gateway.reasoning_cache import ReasoningCache
from gateway.routing import Target
from providers import PROVIDERS, codec
from providers.contract import Batch, Call
from server import admin, docs, explain, handlers, inspector, logs, openapi, page, responses_endpoints, state
from server.answer import Answer
from server.attempts import answer_headers, began, first_that_answers
from server.calls import REASONING, cache_scope, made, prepare_call
from server.counting import count
from server.delivery import Delivery
from server.error_response import JSON, scrubbed, to_failure
from server.ingress import admit, authenticate_request, enter, handle_expect, parse_body, read_body
from server.middleware import errors_and_log, not_found, on_prepare
from server.outbound.batches import fetch_whole, open_stream
from server.passing import handlers as passing
from server.rendering import Rendering, answered_by, envelope
from server.reading import Begin, begin_compact, begin_response, read_request
from server.request import Handler, Request, delete, get, post, route
from server.responses import STORE, open_store
from server.state import STATE
from server.tracebacks import let_go
from server.whole_response import sent

VERSION: Final = "0.2.0"


def complete(dialect: Dialect, begin: Begin | None = None) -> Handler:
    """Return the handler of a client API: a POST that is answered by a model, streamed or whole.

    begin: looks at a request before it is parsed, see reading.Begin.
    """

    async def handler(request: Request) -> web.StreamResponse:
        caller = authenticate_request(request)
        with enter(request):
            asked, prompt, spoken, operation = await read_request(request, caller, dialect, begin)
            request.record.stream, request.record.session = asked.stream, asked.session_name
            targets = await admit(request, caller, asked, prompt, operation)
            respond = respond_stream if asked.stream else respond_whole
            return await respond(request, spoken, asked, targets)

    return handler


async def respond_whole(
    request: Request, dialect: Dialect, asked: ClientRequest, targets: list[Target]
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
    request.meter.count_answer(answer)
    data = exchange.answer
    if not exchange.verbatim:
        pieces, exchange.chunks = exchange.chunks, []
        ident = answered_by(request, envelope(request), to)
        rendering = partial(dialect.completion, asked, answer, ident, to.reasoning, pieces)
        answer = await exchange.on_answer(rendering)
        del rendering, pieces
        if collector is not None:
            collector.commit()  # now that calls have the ids that the client is told
        data = await exchange.on_answer(partial(codec.encode, answer))
    if (conversation := request.conversation) is not None:
        await conversation.keep_whole(answer, exchange)
    del answer
    return await sent(request, Answer(data, {**JSON, **answer_headers(exchange, dialect)}))


async def respond_stream(
    request: Request, dialect: Dialect, asked: ClientRequest, targets: list[Target]
) -> web.StreamResponse:
    """Answer with server-sent events, one write for each read from the upstream, most of them inside that read."""
    meter, record = request.meter, request.record
    rendering = Rendering(request, dialect, asked)
    with inspector.event_stream(request, request.app_state.heartbeat, dialect.keep_alive) as line:
        if dialect.begins_early is not None:
            line.on_silence = rendering.on_silence
        try:
            prepare, is_bound = rendering.prepare, rendering.is_bound
            found = first_that_answers(request, asked, targets, prepare, open_stream, is_bound)
            exchange, (batch, rest) = await found
            began(request, exchange)
            to = exchange.to
            line.response.headers.update(answer_headers(exchange, dialect))
            translated = "tools" in asked.body and not exchange.verbatim
            collector = request.app[REASONING].collector(cache_scope(request, to)) if translated else None
            delivery = rendering.delivery = Delivery(request, line, exchange, rendering.by(to), collector)
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
            let_go(error)
            await line.write(rendering.failed(scrubbed(failure, request)), end=True)
        finally:
            record.gap = line.longest_gap
    return line.response


async def create_embeddings(request: Request) -> web.Response:
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
        request.meter.count_answer(answer)
        answer["model"] = request.record.model
        data = await exchange.on_answer(partial(codec.encode, answer))
        del answer
        return await sent(request, Answer(data, {**JSON, **answer_headers(exchange, chat)}))


# The only handlers that answer without a key.
PUBLIC: Final = (
    responses_endpoints.upgrade,
    handlers.home,
    page.asset,
    page.favicon,
    openapi.openapi,
    handlers.healthz,
    handlers.readyz,
    handlers.hello,
    handlers.client_events,
    docs.home,
    docs.style,
    docs.page,
    docs.whole,
    docs.llms,
    handlers.preflight,
    not_found,
)


def routes() -> list[web.RouteDef]:
    """The route table. Everything under /v1 is served without it too, and with a slash at the end: clients differ."""
    chat_handler = complete(chat)
    responses_handler = complete(responses, begin_response)
    compact_handler = complete(responses, begin_compact)
    table = [
        get("/", handlers.home),
        get("/web/{name}", page.asset),
        get("/favicon.ico", page.favicon),
        get("/openapi.json", openapi.openapi),
        get("/healthz", handlers.healthz),
        get("/readyz", handlers.readyz),
        get("/metrics", handlers.metrics),
        get("/api/hello", handlers.hello),
        post("/api/event_logging/batch", handlers.client_events),
        post("/api/event_logging/v2/batch", handlers.client_events),
        *inspector.routes(handlers.admin),
        *admin.routes(),
        *docs.routes(),
    ]
    messages_handler = complete(messages)
    for prefix in ("/v1", "", "/v1/v1", "/anthropic/v1", "/anthropic"):  # what Anthropic's clients ask
        for end in ("", "/"):
            table += [
                post(f"{prefix}/messages{end}", messages_handler),
                post(f"{prefix}/messages/count_tokens{end}", count),
                get(f"{prefix}/models{end}", handlers.models),
            ]
        table.append(get(f"{prefix}/models/{{id:(?s:.+)}}", handlers.model))
    for prefix in ("/v1", ""):
        for end in ("", "/"):
            table += [
                post(f"{prefix}/chat/completions{end}", chat_handler),
                post(f"{prefix}/embeddings{end}", create_embeddings),
                post(f"{prefix}/responses{end}", responses_handler),
                get(f"{prefix}/responses{end}", responses_endpoints.upgrade, allow_head=False),
                post(f"{prefix}/responses/compact{end}", compact_handler),
                post(f"{prefix}/responses/input_tokens{end}", responses_endpoints.input_tokens),
                get(f"{prefix}/responses/{{id}}{end}", responses_endpoints.retrieve),
                delete(f"{prefix}/responses/{{id}}{end}", responses_endpoints.delete),
                get(f"{prefix}/responses/{{id}}/input_items{end}", responses_endpoints.input_items),
                post(f"{prefix}/responses/{{id}}/cancel{end}", responses_endpoints.cancel),
                *(
                    post(f"{prefix}{explain.PATH}{api}{end}", explain.explain_request)
                    for api in ("", *explain.SUFFIXES)
                ),
                get(f"{prefix}/usage{end}", handlers.usage),
                get(f"{prefix}/dashboard/billing/subscription{end}", handlers.subscription),
                get(f"{prefix}/dashboard/billing/usage{end}", handlers.billed),
            ]
    table += passing.routes()
    table += [route("OPTIONS", "/{path:(?s:.*)}", handlers.preflight), route("*", "/{path:(?s:.*)}", not_found)]
    for each in table:
        each.kwargs["expect_handler"] = handle_expect
    return table


def create_app(settings: Settings, log: logs.Log) -> web.Application:
    """The application, with its first configuration."""

    async def lifespan(app: web.Application) -> AsyncIterator[None]:
        app[STATE] = await state.open_state(settings, log, VERSION)
        app[STORE] = open_store(settings, app[STATE].worker)
        yield
        app[STORE].close()
        await app[STATE].aclose()

    app = web.Application()
    app[REASONING], app[page.SITE], app[docs.DOCS] = ReasoningCache(), page.Site(VERSION), docs.Docs()
    app.middlewares.extend([*inspector.install(app, settings.config.inspector), errors_and_log])
    app.cleanup_ctx.append(lifespan)
    app.on_response_prepare.append(on_prepare)
    app.add_routes(routes())
    return app


if __name__ == "__main__":
    from server.commands.cli import main

    sys.exit(main(create_app, VERSION))
