"""The call that asks one target for what a request wants: natively, or translated from a chat completion."""

from collections.abc import Awaitable, Callable, Mapping
from copy import copy
from functools import partial
from typing import Any, Final, TypeVar

from aiohttp import web

from dialects import chat, seal
from dialects.contract import ClientRequest, Dialect
from gateway.reasoning_cache import ReasoningCache
from gateway.restricted_fields import refusal, run_upstream
from gateway.routing import Target, with_defaults
from providers import PROVIDERS
from providers.contract import Call, Json, Upstream
from providers.errors import BadRequest

from . import inspector
from .ingress import worker_of
from .outbound.image_fetcher import inline
from .request import Request
from .responses import Conversation
from .worker import done

REASONING: Final = web.AppKey("REASONING", ReasoningCache)

T = TypeVar("T")


async def prepare_call(request: Request, dialect: Dialect, asked: ClientRequest, target: Target) -> Call:
    """Return the call that asks this target: natively where it speaks the client's own API. Raises Unsupported, BadRequest."""
    upstream = target.upstream
    provider = PROVIDERS[upstream.host.protocol]
    native = provider.native.get(dialect.operation) if asked.raw is not None else None
    conversation = request.conversation
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


def made(request: Request, build: Callable[[], T]) -> Awaitable[T]:
    """Return what `build` makes of a request; outside of the event loop where that is large."""
    return done(worker_of(request), build)


def native_call(
    conversation: Conversation | None,
    build: Callable[[Any, Mapping[str, str], Upstream], Call | None],
    asked: ClientRequest,
    target: Target,
) -> Call | None:
    """Return the call that passes a request on as it is; None where this target is to have it translated.

    Raises Unsupported for tools that a restricted key may not have the upstream run, and no translation leaves out.
    """
    if conversation is None:
        return build(asked.raw, asked.headers, target.upstream)
    if (fit := conversation.native(asked, target)) is None:
        return None
    call = build(fit.body, asked.headers, target.upstream)
    if call is None:
        return None
    if conversation.restricted and (name := run_upstream(asked.upstream_tools, target.upstream)) is not None:
        if asked.refusal is not None:
            raise refusal(name)
        return None  # translated, the request goes without such tools
    return call._replace(dropped=tuple(dict.fromkeys((*fit.dropped, *call.dropped))))


async def fill_in(request: Request, asked: ClientRequest, body: Json, upstream: Upstream) -> Json:
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
        run = request.in_flight
        have = request.images = request.images or {}
        body = await inline(
            body,
            lambda url: must_inline(url, upstream),
            request.generation.fetcher,
            key=request.record.key,
            have=have,
            hold=lambda size: run.hold_bytes(run.held + 2 * size),
        )
    return body


def cache_scope(request: Request, upstream: Upstream) -> str:
    """Whose thinking of whom: one client's must not reach another's conversation."""
    return f"{request.record.key}/{upstream.name}"


def strictly_refused(call: Call) -> BadRequest:
    """Return the error of a request of which something would have to be dropped, where strict_params forbids that."""
    return BadRequest(
        f"This model does not take {', '.join(call.dropped)[:500]}, and this server refuses what it would have to drop or "
        "change (strict_params).",
        param=call.dropped[0][:200],
        code="unsupported_parameter",
    )
