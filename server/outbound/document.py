"""An answer that is one JSON document, and the chunks it makes."""

import logging
from collections.abc import Callable
from functools import partial
from typing import Any, Final

from gateway.config_schema import ServerConfig
from providers import codec, density
from providers.contract import Call, Json, Translator
from providers.errors import Failure, UpstreamBadOutput
from providers.sse import DONE, Event

from .exchange import TAIL, Exchange
from .opening import Begun, begin, no_json
from .pool import ConnectionPools
from .response import read_all

LOGGER: Final = logging.getLogger("modelserver")
# A value is not what its place says, or holds others too many levels deep.
MISSHAPEN: Final = (TypeError, AttributeError, LookupError, ValueError, RecursionError)
_END: Final = Event("", DONE)


async def chunks_of_document(
    begun: Begun, exchange: Exchange, http: ConnectionPools, limits: ServerConfig
) -> list[Json]:
    """Read an answer that is one JSON document, and those of the calls that go on with it. Return the chunks they make.

    Closes the answers. Raises Failure, with the usage of the calls that were answered before it.
    """
    translator = reader_of(exchange, exchange.call.stream)
    batch: list[Json] = []
    tail = min(TAIL, limits.timeouts.between_bytes)
    while True:
        try:
            try:
                body, failure = await read_all(begun.answer, limits.max_answer, begun.data, tail)
            finally:
                begun.answer.close()
            exchange.large = exchange.large or density.heavy(body)
            exchange.answer = bytes(body) if exchange.verbatim else b""
            translating = partial(_translate_whole, translator, body, failure, exchange, batch)
            if (following := await exchange.on_answer(translating)) is None:
                exchange.said = True
                return batch
            exchange.call = following
            begun = await begin(exchange, http, limits)
        except Failure as failed:
            translator.throw(failed)  # which knows what has been paid
            raise


def _translate_whole(
    translator: Translator, body: bytes, failure: Failure | None, exchange: Exchange, batch: list[Json]
) -> Call | None:
    """Add the chunks that an answer in one piece makes to `batch`. Return the call that goes on with it, if one does.

    Raises Failure, as parsed does.
    """
    many = exchange.large and body.count(b"{") > density.MANY
    value = parsed(body, failure, codec.decode_in_turns if many else codec.decode)
    try:
        for event in (Event("", value), _END):  # JSON that is whole is an answer that is whole
            batch += translator.send(event)  # type: ignore[arg-type]
        following = translator.send(None)
        assert isinstance(following, Call)
        return following
    except StopIteration as end:
        batch += end.value
    except MISSHAPEN as error:
        raise failed(error, exchange) from None
    return None


def reader_of(exchange: Exchange, streamed: bool) -> Translator:
    """Return a new reader of an answer: what watches it, where it goes to the client as it came, else what translates it."""
    call = exchange.call
    return call.native(streamed) if exchange.verbatim and call.native is not None else call.read(call, streamed)


def parsed(body: bytes, failure: Failure | None, read: Callable[[bytes], Any] = codec.decode) -> Any:
    """Return the value of a body that is one JSON document. An object that is whole counts, however the connection ended.

    failure: why the connection gave no more; read: raises ValueError for what is no JSON. Raises Failure.
    """
    try:
        density.check(body)
        value = read(body)
    except ValueError:
        raise failure or no_json(bytes(body)) from None
    if failure is not None and not isinstance(value, dict | list):
        raise failure
    return value


def failed(error: Exception, exchange: Exchange) -> Failure:
    """A failure as it is; an answer that broke the translator is the upstream's, and a reason to look at the log."""
    if isinstance(error, Failure):
        return error
    LOGGER.warning("an answer of %s does not have the shape of its protocol", exchange.to.name, exc_info=error)
    return UpstreamBadOutput("The upstream's answer does not have the shape of its protocol.")
