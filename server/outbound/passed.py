"""One call that is passed on, and its answer, which passes back: neither is read here."""

from dataclasses import dataclass

from gateway.config_schema import ServerConfig
from providers.errors import Failure

from .exchange import Exchange, send_request
from .pool import ConnectionPools
from .response import UpstreamResponse


@dataclass(slots=True)
class PassedAnswer:
    """An answer that passes as bytes. first: what was read of its body; answer: gives the rest, and is to be closed."""

    answer: UpstreamResponse
    first: bytes


async def open_passed(exchange: Exchange, http: ConnectionPools, limits: ServerConfig) -> PassedAnswer:
    """Make a call that is passed on; return its answer with the first of its body, which nothing here reads. Raises Failure.

    The failure of a call whose body came and went is final: it cannot be sent to another target.
    """
    try:
        answer = await send_request(exchange, http, limits)
        try:
            return PassedAnswer(answer, await answer.read(exchange.first_byte))
        except BaseException:
            answer.close()
            raise
    except Failure as failure:
        if not isinstance(exchange.call.body, bytes) and not exchange.call.body.repeatable:
            failure.try_next = False
        raise
