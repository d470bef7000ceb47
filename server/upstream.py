"""One exchange with one upstream: the call goes out, chunks come back, a batch for each read."""

from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from math import ceil
from time import time

from gateway.schema import Server
from providers import PROVIDERS, wire
from providers.chat import collect
from providers.contract import Call, Json, Translator, Upstream
from providers.errors import BadOutput, Failure, UpstreamFailed
from providers.sse import Decoder, Event

from .http import Answer, Played, Upstreams, whole

_ERROR_BODY = 256 * 1024  # bytes of an error answer that are read


@dataclass(slots=True)
class Exchange:
    """A call and, once the upstream has answered, what its headers said."""

    to: Upstream
    call: Call
    request_id: str = ""


async def chunks(exchange: Exchange, http: Upstreams, limits: Server) -> AsyncGenerator[list[Json], None]:
    """Make the call; yield OpenAI chunks, one batch for each read, or the one whole answer of a call without stream.

    Leaving the generator (aclose) closes the connection. Raises Failure; chunks that arrived before it are yielded first,
    unless they are all there was: then nothing of this answer has been shown and another target can still take over.
    """
    to, call = exchange.to, exchange.call
    provider = PROVIDERS[to.host.protocol]
    if call.reply is not None:
        answer: Answer = Played(call.reply, limits.timeouts)
    else:
        answer = await http.post(call.url, call.headers, wire.encode(call.body))
    try:
        exchange.request_id = _request_id(answer)
        if answer.status != 200:
            raise await _failure(answer, provider.error)
        translator = provider.stream(call, to)
        kind = answer.headers.get("Content-Type", "")
        if call.stream and not kind.startswith("application/json"):
            if kind.startswith("text/html"):
                raise BadOutput("The upstream answered with a web page.", code="upstream_protocol")
            async for batch in _streamed(answer, translator, Decoder(limits.max_event)):
                yield batch
        else:
            # A host that answers an event stream's request with JSON cannot stream, or has failed.
            yield _last(translator, _whole_event(await whole(answer, limits.max_answer)))
    finally:
        answer.close()


async def _streamed(answer: Answer, translator: Translator, decoder: Decoder) -> AsyncGenerator[list[Json], None]:
    send = translator.send
    started = False
    while True:
        batch: list[Json] = []
        ended = False
        try:
            data = await answer.read()
            for event in decoder.feed(data) if data else decoder.flush():
                batch += send(event)
            if not data:
                send(None)
        except StopIteration as end:
            batch += end.value
            ended = True
        except Failure:
            if started and batch:
                yield batch
            raise
        if batch:
            started = True
            yield batch
        if ended:
            return


def _whole_event(body: bytes) -> Event:
    try:
        return Event("", wire.decode(body))
    except ValueError:
        raise BadOutput("The upstream's answer is not JSON.", code="upstream_bad_json") from None


def _last(translator: Translator, event: Event) -> list[Json]:
    """What an answer that came in one piece makes."""
    batch: list[Json] = []
    try:
        batch += translator.send(event)
        batch += translator.send(None)
    except StopIteration as end:
        batch += end.value
    return batch


async def _failure(answer: Answer, error: Callable[[int, bytes], Failure]) -> Failure:
    if answer.status < 400:
        # A redirect is never followed: aiohttp would carry body and key to the other host.
        return UpstreamFailed(f"The upstream answered with HTTP status {answer.status}.", code="upstream_protocol")
    failure = error(answer.status, await whole(answer, _ERROR_BODY))
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


__all__ = ["Exchange", "chunks", "collect", "seconds"]
