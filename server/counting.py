"""POST /v1/messages/count_tokens."""

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Final

from aiohttp import web

from dialects import messages
from dialects.contract import ClientRequest
from dialects.messages import count_tokens
from gateway.routing import Target
from providers import PROVIDERS, codec
from providers.contract import Call
from providers.errors import Failure

from . import inspector
from .answer import Answer
from .attempts import answer_headers, began, exchange_of
from .calls import check_translatable, made
from .error_response import JSON
from .ingress import authenticate_request, enter, parse_body, read_body, usable
from .json_answer import json_answer
from .outbound.batches import fetch_whole
from .request import Request

_PATIENCE: Final = 10.0  # seconds an upstream may take to count tokens


async def count(request: Request) -> web.Response:
    """POST /v1/messages/count_tokens: as the first target counts, else an estimate. It is in no ledger: Ledger.counting."""
    caller = authenticate_request(request)
    with enter(request), request.app_state.ledger.counting(caller):
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


async def counted(request: Request, asked: ClientRequest, target: Target) -> web.Response:
    """Return the count of the upstream. Raises Failure, TimeoutError."""
    upstream, live = target.upstream, request.generation
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
    exchange = exchange_of(request, target, call, _PATIENCE)
    async with asyncio.timeout(_PATIENCE):
        answer = await fetch_whole(exchange, live.http, live.settings.config.server)
    began(request, exchange)
    headers = {**JSON, **answer_headers(exchange, messages)}
    if exchange.verbatim:
        return Answer(exchange.answer, headers)
    tokens = answer["usage"]["prompt_tokens"]
    return Answer(codec.encode(count_tokens.counted(tokens)), headers)
