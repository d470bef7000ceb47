"""One exchange with one upstream: the call goes out, chunks come back, a batch for each read."""

import logging
from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from functools import partial
from math import ceil
from time import time
from typing import Final

from gateway.schema import Server
from providers import PROVIDERS, wire
from providers.contract import Call, Json, Translator, Upstream
from providers.errors import BadOutput, Failure, UpstreamFailed
from providers.sse import DONE, Decoder, Event

from .http import Answer, Played, Upstreams, read_whole

LOGGER: Final = logging.getLogger("modelserver")
_MISSHAPEN: Final = (TypeError, AttributeError, LookupError, ValueError)  # a value is not what its place says
_ERROR_BODY = 256 * 1024  # bytes of an error answer that are read


@dataclass(slots=True)
class Exchange:
    """A call and, once the upstream has answered, what its headers said.

    first_byte: seconds it may take to answer; held: chunks that nobody was shown yet; body: the call's, in bytes, while
    it is being made; away: runs work on a large body outside of the event loop.
    """

    to: Upstream
    call: Call
    first_byte: float
    request_id: str = ""
    added: str = ""  # the limit of the answer that this server has added: Target.added
    held: list[Json] = field(default_factory=list)
    watch: "Callable[[Exchange, Awaitable[Answer]], Awaitable[Answer]] | None" = None  # the inspector, if it is on
    body: bytes = b""
    away: "Callable[[Callable[[], bytes]], Awaitable[bytes]] | None" = None


async def answered(exchange: Exchange, http: Upstreams, limits: Server) -> Answer:
    """Make the call and wait for the head of a good answer; the caller closes it. Raises Failure."""
    call = exchange.call
    if call.reply is None or exchange.watch is not None:
        encode = partial(wire.encode, call.body)
        exchange.body = encode() if exchange.away is None else await exchange.away(encode)
    try:
        making = _made(exchange, http, limits)
        answer = await (making if exchange.watch is None else exchange.watch(exchange, making))
    finally:
        exchange.body = b""
    exchange.request_id = _request_id(answer)
    if answer.status == 200:
        return answer
    try:
        raise await _failure(answer, PROVIDERS[exchange.to.host.protocol].error)
    finally:
        answer.close()


async def _made(exchange: Exchange, http: Upstreams, limits: Server) -> Answer:
    call = exchange.call
    if call.reply is not None:
        return Played(call.reply, limits.timeouts, exchange.first_byte)
    pool = http.of(exchange.to.name)
    return await pool.post(call.url, call.headers, exchange.body, exchange.first_byte)


async def whole(exchange: Exchange, http: Upstreams, limits: Server) -> Json:
    """Make a call that is not streamed; its answer as a chat.completion. Raises Failure."""
    answer = await answered(exchange, http, limits)
    try:
        body = await read_whole(answer, limits.max_answer)
    finally:
        answer.close()
    return _last(PROVIDERS[exchange.to.host.protocol].stream(exchange.call, exchange.to), body, exchange)[0]


async def chunks(exchange: Exchange, http: Upstreams, limits: Server) -> AsyncGenerator[list[Json], None]:
    """Make a streamed call; yield OpenAI chunks, one batch for each read.

    Leaving the generator (aclose) closes the connection. Raises Failure; chunks that arrived before it are yielded first,
    unless they are all there was: then nothing of this answer has been shown and another target can still take over.
    """
    answer = await answered(exchange, http, limits)
    try:
        provider = PROVIDERS[exchange.to.host.protocol]
        translator = provider.stream(exchange.call, exchange.to)
        kind = answer.headers.get("Content-Type", "")
        if kind.startswith("text/html"):
            raise BadOutput("The upstream answered with a web page.", code="upstream_protocol")
        if kind.startswith("application/json"):  # a host that cannot stream, or has failed
            yield _last(translator, await read_whole(answer, limits.max_answer), exchange)
            return
        send, feed, read = translator.send, Decoder(limits.max_event).feed, answer.read
        started = ended = False
        while not ended:
            batch: list[Json] = []
            try:
                data = await read()
                # The blank line makes an event of what the last one left unfinished.
                for event in feed(data or b"\n\n"):
                    batch += send(event)
                if not data:
                    batch += send(None)
                    answer.close()
                    exchange.call = provider.continuation(exchange.call) or exchange.call
                    answer = await answered(exchange, http, limits)
                    feed, read = Decoder(limits.max_event).feed, answer.read
            except StopIteration as end:
                batch += end.value
                ended = True
                answer.finish()
            except (Failure, *_MISSHAPEN) as error:
                if started and batch:
                    yield batch
                raise _failed(error, exchange) from None
            if batch:
                started = True
                yield batch
    finally:
        answer.close()


def _failed(error: Exception, exchange: Exchange) -> Failure:
    """A failure as it is; an answer that broke the translator is the upstream's, and a reason to look at the log."""
    if isinstance(error, Failure):
        return error
    LOGGER.warning("an answer of %s does not have the shape of its protocol", exchange.to.name, exc_info=error)
    return BadOutput("The upstream's answer does not have the shape of its protocol.")


def _last(translator: Translator, body: bytes, exchange: Exchange) -> list[Json]:
    """What an answer that came in one piece makes. Raises Failure."""
    batch: list[Json] = []
    try:
        event = Event("", wire.decode(body))
    except ValueError:
        raise BadOutput("The upstream's answer is not JSON.", code="upstream_bad_json") from None
    try:
        batch += translator.send(event)
        batch += translator.send(Event("", DONE))  # JSON that is whole is an answer that is whole
        batch += translator.send(None)
    except StopIteration as end:
        batch += end.value
    except _MISSHAPEN as error:
        raise _failed(error, exchange) from None
    return batch


async def _failure(answer: Answer, error: Callable[[int, bytes], Failure]) -> Failure:
    if answer.status < 400:
        # A redirect is never followed: aiohttp would carry body and key to the other host.
        return UpstreamFailed(f"The upstream answered with HTTP status {answer.status}.", code="upstream_protocol")
    failure = error(answer.status, await read_whole(answer, _ERROR_BODY))
    failure.upstream = answer.status
    if failure.retry_after is None:
        failure.retry_after = seconds(answer.headers.get("Retry-After"), time())
    return failure


def seconds(header: str | None, now: float) -> float | None:
    """A Retry-After header (seconds, or an HTTP date) → seconds from `now` (a Unix time)."""
    if not header:
        return None
    try:
        return max(0.0, float(header))
    except ValueError:
        pass
    try:
        return max(0.0, ceil(parsedate_to_datetime(header).timestamp() - now))
    except (ValueError, TypeError):
        return None


def _request_id(answer: Answer) -> str:
    value = answer.headers.get("x-request-id") or answer.headers.get("request-id") or ""
    return value if len(value) <= 128 and value.isascii() and value.isprintable() else ""
