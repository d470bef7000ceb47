"""One exchange with one upstream: the call goes out, chunks come back, a batch for each read."""

import asyncio
import logging
import re
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing, suppress
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from functools import partial
from math import ceil
from time import monotonic, time
from typing import Any, Final, NamedTuple

from gateway.config_schema import ServerConfig
from providers import PROVIDERS, codec
from providers.chunks import collect, says_something
from providers.contract import Batch, Call, Json, Translator, Upstream
from providers.errors import Failure, UpstreamBadOutput, UpstreamError, sane_wait
from providers.sse import DONE, Cut, Decoder, Event, is_stream, unframed

from .pool import PIECE, ConnectionPools, SimulatedResponse, UpstreamResponse, read_all

LOGGER: Final = logging.getLogger("modelserver")
# A value is not what its place says, or holds others too many levels deep.
_MISSHAPEN: Final = (TypeError, AttributeError, LookupError, ValueError, RecursionError)
_ERROR_BODY = 256 * 1024  # bytes of an error answer that are read
_OPENING = 2**20  # bytes of a stream that may make chunks which say nothing, before the first that says something
_BOM = b"\xef\xbb\xbf"
# Bytes that say what a body is: the longest field name, or the first byte.
_TELLING: Final = 6
_AT_ONCE: Final = (b"{", b"[", b"<", b":")
_SECONDS = re.compile(r"\d{1,9}(?:\.\d{1,9})?", re.ASCII)


@dataclass(slots=True)
class Exchange:
    """A call and, once the upstream has answered, what its headers said.

    first_byte: seconds it may take to answer, and be silent until it has said something; said: whether it has;
    held: chunks that nobody was shown yet; body: the call's, in bytes, while it is being made; away: runs work on a large
    body outside of the event loop.
    """

    to: Upstream
    call: Call
    first_byte: float
    request_id: str = ""
    added: str = ""  # the limit of the answer that this server has added: Target.added
    said: bool = False
    held_back: list[Json] = field(default_factory=list)
    observer: "Callable[[Exchange, Awaitable[UpstreamResponse]], Awaitable[UpstreamResponse]] | None" = (
        None  # the inspector, if it is on
    )
    body: bytes = b""
    away: "Callable[[Callable[[], bytes]], Awaitable[bytes]] | None" = None


async def send_request(exchange: Exchange, http: ConnectionPools, limits: ServerConfig) -> UpstreamResponse:
    """Make the call and wait for the head of a good answer; the caller closes it. Raises Failure."""
    call = exchange.call
    if call.reply is None or exchange.observer is not None:
        encode = partial(codec.encode, call.body)
        exchange.body = encode() if exchange.away is None else await exchange.away(encode)
    try:
        making = _dispatch(exchange, http, limits)
        answer = await (making if exchange.observer is None else exchange.observer(exchange, making))
    finally:
        exchange.body = b""
    exchange.request_id = _request_id(answer)
    if answer.status == 200:
        return answer
    try:
        raise await _failure(answer, PROVIDERS[exchange.to.host.protocol].parse_error, limits.timeouts.between_bytes)
    finally:
        answer.close()


async def _dispatch(exchange: Exchange, http: ConnectionPools, limits: ServerConfig) -> UpstreamResponse:
    call = exchange.call
    if call.reply is not None:
        return SimulatedResponse(call.reply, limits.timeouts, exchange.first_byte)
    pool = http.of(exchange.to.name)
    return await pool.post(call.url, call.headers, exchange.body, exchange.first_byte)


async def fetch_whole(exchange: Exchange, http: ConnectionPools, limits: ServerConfig) -> Json:
    """Make a call and return its answer as one object, put together where the upstream streams it. Raises Failure."""
    begun = await _begin(exchange, http, limits)
    if begun.is_stream:
        held = exchange.held_back
        async with aclosing(stream_batches(exchange, http, limits, limits.max_answer, begun)) as batches:
            async for batch in batches:
                held += batch.chunks
    else:
        held = await _document(begun, exchange, http, limits)
    exchange.held_back = []
    match held:
        case [{"choices": [{"message": _}, *_]} | {"object": "list"} as answer]:  # it was not streamed
            return answer
    return collect(held)


class _Begun(NamedTuple):
    """An answer of which the first bytes have been read."""

    answer: UpstreamResponse
    data: bytes
    is_stream: bool


async def _begin(exchange: Exchange, http: ConnectionPools, limits: ServerConfig) -> _Begun:
    """Make the call and read the beginning of its answer, which the caller closes. Raises Failure."""
    answer = await send_request(exchange, http, limits)
    try:
        data = await answer.read(exchange.first_byte)
        if data[:1] not in _AT_ONCE:
            data = await beginning(answer, data, exchange.first_byte, limits.max_answer)
        return _Begun(answer, data, _is_stream(data, answer.headers.get("Content-Type", ""), exchange.call.stream))
    except BaseException:
        answer.close()
        raise


async def _document(begun: _Begun, exchange: Exchange, http: ConnectionPools, limits: ServerConfig) -> list[Json]:
    """Read an answer that is one JSON document, and those of the calls that go on with it. Return the chunks they make.

    Closes the answers. Raises Failure.
    """
    translator = exchange.call.read(exchange.call, exchange.call.stream)
    batch: list[Json] = []
    while True:
        try:
            value = await read_json(begun.answer, limits.max_answer, begun.data)
        finally:
            begun.answer.close()
        following = _translate_whole(translator, value, exchange, batch)
        if following is None:
            return batch
        exchange.call = following
        begun = await _begin(exchange, http, limits)


async def stream_batches(
    exchange: Exchange, http: ConnectionPools, limits: ServerConfig, most: int = 0, begun: _Begun | None = None
) -> AsyncGenerator[Batch, None]:
    """Make a call; yield what it answers, one batch for each read. A whole answer is one batch: a chat.completion where none
    was to be streamed, else the chunks it makes.

    most: bytes that all reads together may have; 0: only what comes before the first word has a bound. Sets exchange.said
    before it yields the batch that says something. What decides is what came, not its label nor how the connection ended.
    begun: the call, where it has been made.

    Leaving the generator (aclose) closes the connection. Raises Failure; chunks that arrived before it are yielded first,
    unless they are all there was: then nothing of this answer has been shown and another target can still take over.
    """
    begun = begun or await _begin(exchange, http, limits)
    if not begun.is_stream:
        yield Batch(await _document(begun, exchange, http, limits))
        return
    answer, data, _ = begun
    try:
        send: Callable[[Event | None], Any] = exchange.call.read(exchange.call, True).send
        decoder, read = Decoder(limits.max_event), answer.read
        feed, patience = decoder.feed, max(exchange.first_byte, limits.timeouts.between_bytes)
        bound = room = most or min(_OPENING, limits.max_answer)  # room: what is left of it, 0: no bound any more
        lost: Failure | None = None  # why the connection gave no more
        since = 0  # bytes read since the last batch
        while True:
            batch: list[Json] = []
            try:
                try:
                    events = feed(data) if data else decoder.flush()
                except UpstreamBadOutput:
                    for event in decoder.flush():  # those before the one that cannot be read
                        batch += send(event)
                    raise
                for event in events:
                    batch += send(event)
                if not data:
                    exchange.call = _at_the_end(send, lost, decoder.cut, batch)  # it goes on with another call
                    answer.close()
                    answer = await send_request(exchange, http, limits)
                    decoder, read, lost = Decoder(limits.max_event), answer.read, None
                    feed = decoder.feed
            except StopIteration as end:
                batch += end.value
                answer.finish()
                if batch:
                    exchange.said = True
                    yield Batch(batch)
                return
            except (Failure, *_MISSHAPEN) as error:
                if exchange.said and batch:
                    yield Batch(batch)
                else:
                    exchange.held_back += batch
                raise _failed(error, exchange) from None
            if room:
                since += len(data)
                if batch:
                    room -= since
                    since = 0
                    if room <= 0:
                        exchange.held_back += batch
                        raise _too_much(bound, "" if most else " before it says anything")
                    if not exchange.said and any(map(says_something, batch)):
                        exchange.said, patience = True, limits.timeouts.between_bytes
                        room = room if most else 0
                elif decoder.empty:
                    since = 0  # comments, which are not kept
            if batch:
                yield Batch(batch)
            if len(data) >= PIECE:
                await asyncio.sleep(0)  # more is waiting, and so are others
            try:
                data = await read(patience)
            except Failure as error:
                data, lost = b"", error
    finally:
        answer.close()


def _failed(error: Exception, exchange: Exchange) -> Failure:
    """A failure as it is; an answer that broke the translator is the upstream's, and a reason to look at the log."""
    if isinstance(error, Failure):
        return error
    LOGGER.warning("an answer of %s does not have the shape of its protocol", exchange.to.name, exc_info=error)
    return UpstreamBadOutput("The upstream's answer does not have the shape of its protocol.")


def _at_the_end(send: Callable[[Event | None], Any], lost: Failure | None, cut: bool, batch: list[Json]) -> Call:
    """Tell a translator that no more comes; how the connection ended decides only when the answer is not complete.

    lost: why the connection gave no more; cut: whether it ended inside an event. Adds chunks to `batch`. Returns the call
    that goes on with the answer. Raises StopIteration with the last chunks.
    """
    try:
        if lost is not None or cut:
            batch += send(Event("", Cut(cut)))
        following = send(None)
    except Failure:
        if lost is not None:
            raise lost from None
        raise
    assert isinstance(following, Call)
    return following


async def beginning(answer: UpstreamResponse, piece: bytes, patience: float, limit: int) -> bytes:
    """Read a body up to and with the first piece that holds more than blanks, and leave these, and a BOM, out.

    piece: what has been read; patience: seconds of silence; limit: bytes of blanks.
    """
    start, blanks = b"", 0
    while piece:
        blanks += len(piece)
        start = (start + piece).lstrip().removeprefix(_BOM).lstrip()
        if len(start) >= _TELLING or start[:1] in _AT_ONCE:
            break
        if blanks > limit:
            raise _too_much(limit)
        piece = await answer.read(patience)
    return start


def _is_stream(start: bytes, kind: str, asked: bool) -> bool:
    """Whether a body is an event stream. Its label (kind), and whether a stream was asked for, count only where its first
    bytes may be anything. Raises BadOutput for a web page in place of a stream.
    """
    if start[:1] in (b"{", b"["):
        return False
    if is_stream(start):
        return True
    if asked and (start[:1] == b"<" or kind.startswith("text/html")):
        raise UpstreamBadOutput("The upstream answered with a web page.", code="upstream_protocol")
    return asked and not kind.startswith("application/json")


def _too_much(limit: int, when: str = "") -> UpstreamBadOutput:
    return UpstreamBadOutput(f"The upstream's answer is larger than {limit} bytes{when}.", code="upstream_too_large")


async def read_json(answer: UpstreamResponse, limit: int, start: bytes = b"") -> Any:
    """The rest of a body that is one JSON document. An object that is whole counts, however the connection ended.

    start: what was read of it. Raises Failure.
    """
    body, failure = await read_all(answer, limit, start)
    try:
        value = codec.decode(body)
    except ValueError:
        raise failure or UpstreamBadOutput("The upstream's answer is not JSON.", code="upstream_bad_json") from None
    if failure is not None and not isinstance(value, dict | list):
        raise failure
    return value


def _translate_whole(translator: Translator, value: Any, exchange: Exchange, batch: list[Json]) -> Call | None:
    """Add the chunks that an answer in one piece makes to `batch`. Return the call that goes on with it, if one does.

    Raises Failure.
    """
    try:
        for event in (Event("", value), Event("", DONE)):  # JSON that is whole is an answer that is whole
            batch += translator.send(event)  # type: ignore[arg-type]
        following = translator.send(None)
        assert isinstance(following, Call)
        return following
    except StopIteration as end:
        batch += end.value
    except _MISSHAPEN as error:
        raise _failed(error, exchange) from None
    exchange.said = True
    return None


async def _failure(answer: UpstreamResponse, error: Callable[[int, bytes], Failure], patience: float) -> Failure:
    """Read an answer that is not good; what it means. patience: seconds for its body, of which what came must do."""
    if answer.status < 400:
        # A redirect is never followed: aiohttp would carry body and key to the other host.
        return UpstreamError(f"The upstream answered with HTTP status {answer.status}.", code="upstream_protocol")
    pieces: list[bytes] = []
    size = 0
    due = monotonic() + patience
    with suppress(Failure):
        while size < _ERROR_BODY and (left := due - monotonic()) > 0 and (piece := await answer.read(left)):
            pieces.append(piece)
            size += len(piece)
    failure = error(answer.status, unframed(b"".join(pieces)[:_ERROR_BODY]))
    failure.upstream_status = answer.status
    if failure.retry_after is None:
        failure.retry_after = parse_retry_after(answer.headers.get("Retry-After"), time())
    return failure


def parse_retry_after(header: str | None, now: float) -> float | None:
    """A Retry-After header (seconds, or an HTTP date) → seconds from `now` (a Unix time); None where it says neither."""
    if not header:
        return None
    if _SECONDS.fullmatch(header.strip()):
        return sane_wait(float(header))
    try:
        return sane_wait(max(0.0, ceil(parsedate_to_datetime(header).timestamp() - now)))
    except (ValueError, TypeError, OverflowError):
        return None


def _request_id(answer: UpstreamResponse) -> str:
    value = answer.headers.get("x-request-id") or answer.headers.get("request-id") or ""
    return value if len(value) <= 128 and value.isascii() and value.isprintable() else ""
