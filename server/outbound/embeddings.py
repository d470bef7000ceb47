"""The exchange of an embeddings request with one upstream: its calls, one after the other, answered whole."""

from functools import partial
from typing import Any

from gateway.config_schema import ServerConfig
from providers import density, embeddings
from providers.contract import Call, Json, Upstream
from providers.errors import Failure

from .exchange import Exchange, beginning, parsed, send_request
from .pool import ConnectionPools, read_all


def prepared(body: Json, to: Upstream) -> Call:
    """The first call, which brings the others, and the request, as its state. Raises Unsupported, NoSuchModel."""
    first, *more = embeddings.calls(body, to)
    return first._replace(state=(body, more))


async def once(exchange: Exchange, http: ConnectionPools, limits: ServerConfig) -> Json:
    """Return the whole answer, of all calls. Raises Failure, with the usage of the calls that were answered before it."""
    body, more = exchange.call.state
    answers = [await _made(exchange, http, limits)]
    try:
        for call in more:
            exchange.call = call
            answers.append(await _made(exchange, http, limits))
    except Failure as failure:
        failure.usage = embeddings.usage_of(exchange.to, answers)
        raise
    return await exchange.on_answer(partial(embeddings.answer, body, exchange.to, answers, exchange.large))


async def _made(exchange: Exchange, http: ConnectionPools, limits: ServerConfig) -> Any:
    answer = await send_request(exchange, http, limits)
    try:
        patience, limit = exchange.first_byte, limits.max_answer
        start = await beginning(answer, await answer.read(patience), patience, limit)
        body, failure = await read_all(answer, limit, start)
    finally:
        answer.close()
    exchange.large = exchange.large or density.heavy(body)
    return await exchange.on_answer(partial(parsed, body, failure))
