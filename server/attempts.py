"""Targets are asked one after the other, until one answers; what its answer tells about itself beside its body."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine
from functools import lru_cache, partial
from typing import Any, Final, TypeVar
from urllib.parse import quote

from dialects.contract import ClientRequest, Dialect
from dialects.conversations import conversation_of
from dialects.validation import addressed
from gateway.config_schema import ServerConfig
from gateway.estimates import check_fits
from gateway.routing import Target, first_byte_timeout
from providers.contract import Call
from providers.errors import Failure

from .calls import strictly_refused
from .ingress import worker_of
from .outbound.exchange import Exchange
from .outbound.pool import ConnectionPools
from .request import Request
from .tracebacks import let_go

T = TypeVar("T")
_IN_HEADER: Final = 200  # characters of a name that a header shows


async def first_that_answers(
    request: Request,
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
    live, record, app_state = request.generation, request.record, request.app_state
    meter, trace = request.meter, request.trace
    server = live.settings.config.server
    conversation = partial(conversation_of, asked, request.headers)
    attempts = live.health.attempts(targets, record.started + server.timeouts.attempts, conversation)
    while not is_begun() and (attempt := attempts.next(time.monotonic())) is not None:
        target = attempt.target
        if meter.failed_attempts and not await app_state.ledger.extend(meter, body, target):
            record.tried.append((target.upstream.target_name, "beyond_limits"))
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
                # Of an answer that passes as bytes nothing but its end says what it has cost: it is not read on.
                outlives = target.upstream.finish_seconds and not meter.passed
                got = await (app_state.detached.outlive(work, meter, request.in_flight) if outlives else work)
            finally:
                record.waited += time.monotonic() - since
        except Failure as failure:
            if asked.address is not None and failure.param is not None and not failure.upstream_status:
                addressed(failure, asked.address)
            meter.attempt_failed(failure)
            record.tried.append((target.upstream.target_name, failure.code or failure.type))
            if trace is not None:
                trace.failed(target.upstream.target_name, failure)
            attempts.failed(failure, time.monotonic())
            let_go(failure)
        else:
            attempts.answered()
            record.retried = attempts.retried
            return exchange, got
    record.retried = attempts.retried
    try:
        raise attempts.last
    finally:
        del attempts  # its failure knows this frame, which would know it: a circle that holds the request


def exchange_of(request: Request, target: Target, call: Call, first_byte: float) -> Exchange:
    """Return the exchange that makes a call for a request: seen by the inspector, a large body encoded by its worker."""
    trace = request.trace
    observer = trace.watch if trace is not None else None
    worker = request.app_state.worker
    return Exchange(target.upstream, call, first_byte, observer, worker_of(request), worker, target.added)


def began(request: Request, exchange: Exchange) -> None:
    """Note in the record who answers, and since when."""
    record = request.record
    record.upstream = exchange.to.target_name
    record.first = time.monotonic()


def answer_headers(exchange: Exchange, dialect: Dialect) -> dict[str, str]:
    """Return what an answer tells about itself beside its body."""
    headers = {"x-modelserver-upstream": header_safe(exchange.to.target_name[:_IN_HEADER])}
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
