"""The exchange of an embeddings request with one upstream: its calls, one after the other, answered whole."""

from typing import Any

from gateway.config_schema import ServerConfig
from providers import embeddings
from providers.contract import Call, Json, Upstream

from .exchange import Exchange, beginning, read_json, send_request
from .pool import ConnectionPools


def prepared(body: Json, to: Upstream) -> Call:
    """The first call, which brings the others, and the request, as its state. Raises Unsupported, NoSuchModel."""
    first, *more = embeddings.calls(body, to)
    return first._replace(state=(body, more))


async def once(exchange: Exchange, http: ConnectionPools, limits: ServerConfig) -> Json:
    """The whole answer, of all calls. Raises Failure."""
    body, more = exchange.call.state
    answers = [await _made(exchange, http, limits)]
    for call in more:
        exchange.call = call
        answers.append(await _made(exchange, http, limits))
    return embeddings.answer(body, exchange.to, answers)


async def _made(exchange: Exchange, http: ConnectionPools, limits: ServerConfig) -> Any:
    answer = await send_request(exchange, http, limits)
    try:
        patience, limit = exchange.first_byte, limits.max_answer
        start = await beginning(answer, await answer.read(patience), patience, limit)
        return await read_json(answer, limit, start)
    finally:
        answer.close()
