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
from typing import Any, Final, NamedTuple, TypeVar

from gateway.config_schema import ServerConfig
from providers import PROVIDERS, codec, density
from providers.chunks import collect, says_something
from providers.contract import Batch, Call, CannedReply, Ended, Json, Translator, Upstream
from providers.errors import (
    BadRequest,
    ContentFiltered,
    Failure,
    QuotaExhausted,
    RequestTooLarge,
    UpstreamAuthError,
    UpstreamBadOutput,
    UpstreamError,
    UpstreamTruncated,
    sane_wait,
)
from providers.frames import Frames
from providers.openai.errors import in_band
from providers.sse import DONE, Cut, Decoder, Event, is_stream, unframed

from ..worker import Worker
from .pool import PIECE, ConnectionPools, SimulatedResponse, UpstreamResponse, read_all
from .upload import Upload

LOGGER: Final = logging.getLogger("modelserver")
# A value is not what its place says, or holds others too many levels deep.
_MISSHAPEN: Final = (TypeError, AttributeError, LookupError, ValueError, RecursionError)
_REFUSALS: Final = frozenset({400, 413, 422})  # statuses by which an upstream speaks about the client's request
_PASSED_REFUSALS: Final = _REFUSALS | {404, 405, 409, 410, 412, 415, 416}  # the same, where any path may be asked for
_ERROR_BODY = 256 * 1024  # bytes of an error answer that are read
_WEB_PAGE: Final = "The upstream answered with a web page."
_WORDS: Final = 300  # bytes of a text in place of an answer that are read
# Character sets of error texts, where they are not UTF-8. Only these: some codecs cost the square of what they read.
_CHARSETS: Final = frozenset({"gbk", "gb2312", "gb18030", "big5", "shift_jis", "euc-jp", "euc-kr", "iso-8859-1", "windows-1251",
                              "windows-1252", "utf-16", "utf-16le", "utf-16be"})  # fmt: skip
_CHARSET: Final = re.compile(r"charset=\"?([\w-]{1,20})", re.ASCII | re.IGNORECASE)
_OPENING = 2**20  # bytes of a stream that may make chunks which say nothing, before the first that says something
_TAIL = 3.0  # seconds that usage and the end of a stream may take once the answer is complete
_BOM = b"\xef\xbb\xbf"
# Bytes that say what a body is: the longest field name, or the first byte.
_TELLING: Final = 6
_AT_ONCE: Final = (b"{", b"[", b"<", b":")
_SAID: Final = ("content", "reasoning_content", "tool_calls")  # what of an answer cannot be taken back
_NONE: Final[Json] = {}
T = TypeVar("T")
_SECONDS = re.compile(r"\d{1,9}(?:\.\d{1,9})?", re.ASCII)


@dataclass(slots=True)
class Exchange:
    """A call and, once the upstream has answered, what its headers said.

    first_byte: seconds it may take to answer, and be silent until it has said something; said: whether it has;
    held: chunks that nobody was shown yet; body: the call's, in bytes, while it is being made; away: runs work on a large
    body outside of the event loop; worker: does so for an answer; large: whether the answer is worked on so.
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
    body: bytes | Upload = b""
    verbatim: bool = False  # the answer goes to the client as it came (Call.native)
    answer: bytes = b""  # of a whole answer, its body
    chunks: list[Json] = field(default_factory=list)  # of a whole answer that was put together
    away: "Callable[[Callable[[], bytes]], Awaitable[bytes]] | None" = None
    worker: Worker | None = None
    large: bool = False
    filter_fails: bool = False  # an answer that a filter refused is a failure: another target is asked

    async def on_answer(self, work: Callable[[], T]) -> T:
        """Return what `work` on the answer returns; outside of the event loop where the answer is large."""
        return await self.worker.run(work) if self.large and self.worker is not None else work()


async def send_request(exchange: Exchange, http: ConnectionPools, limits: ServerConfig) -> UpstreamResponse:
    """Make the call and wait for the head of a good answer; the caller closes it. Raises Failure.

    A call that the upstream refuses and that can be repaired is made once more.
    """
    call = exchange.call
    if (call.method == "POST" or call.passed) and (call.reply is None or exchange.observer is not None):
        if isinstance(call.body, bytes) or call.passed:
            exchange.body = call.body
        elif exchange.away is None:
            exchange.body = codec.encode(call.body)
        else:
            exchange.body = await exchange.away(partial(codec.encode, call.body))
    try:
        making = _dispatch(exchange, http, limits)
        answer = await (making if exchange.observer is None else exchange.observer(exchange, making))
    finally:
        exchange.body = b""
    exchange.request_id = _request_id(answer)
    if answer.status == 200 or (call.passed and 200 < answer.status < 300):
        return answer
    try:
        parse = PROVIDERS[exchange.to.host.protocol].parse_error
        failure = await _failure(answer, parse, limits.timeouts.between_bytes, call)
    finally:
        answer.close()
    if call.repair is None or (repaired := call.repair(failure)) is None:
        raise failure
    exchange.call = repaired._replace(repair=None)
    return await send_request(exchange, http, limits)


def _dispatch(exchange: Exchange, http: ConnectionPools, limits: ServerConfig) -> Awaitable[UpstreamResponse]:
    call = exchange.call
    if call.reply is not None:
        return _played(call.reply, exchange, limits)
    pool = http.of(exchange.to.name)
    return pool.request(call.method, call.url, call.headers, exchange.body, exchange.first_byte)


async def _played(reply: CannedReply, exchange: Exchange, limits: ServerConfig) -> UpstreamResponse:
    return SimulatedResponse(reply, limits.timeouts, exchange.first_byte)


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
            pass
        case _:
            exchange.chunks = held
            answer = await exchange.on_answer(partial(collect, held))
    if exchange.filter_fails:
        check_filter([answer])
    return answer


def check_filter(chunks: list[Json]) -> None:
    """Raise ContentFiltered for an answer that says nothing but that a filter refused it. chunks: or a whole answer."""
    refused = False
    for choice in (choice for piece in chunks for choice in piece.get("choices", ())):
        if any(choice.get("delta", _NONE).get(name) for name in _SAID):
            return
        refused |= choice.get("finish_reason") == "content_filter"
    if refused:
        failure = ContentFiltered("The filter of this model's provider refused the request.", param="messages")
        failure.usage = next((piece["usage"] for piece in reversed(chunks) if piece.get("usage")), None)
        raise failure


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
        call = exchange.call
        streamed = _is_stream(data, answer.headers.get("Content-Type", ""), call.stream)
        exchange.verbatim = call.native is not None and streamed == call.stream
        return _Begun(answer, data, streamed)
    except BaseException:
        answer.close()
        raise


async def _document(begun: _Begun, exchange: Exchange, http: ConnectionPools, limits: ServerConfig) -> list[Json]:
    """Read an answer that is one JSON document, and those of the calls that go on with it. Return the chunks they make.

    Closes the answers. Raises Failure, with the usage of the calls that were answered before it.
    """
    translator = _reader(exchange, exchange.call.stream)
    batch: list[Json] = []
    tail = min(_TAIL, limits.timeouts.between_bytes)
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
            begun = await _begin(exchange, http, limits)
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
        for event in (Event("", value), Event("", DONE)):  # JSON that is whole is an answer that is whole
            batch += translator.send(event)  # type: ignore[arg-type]
        following = translator.send(None)
        assert isinstance(following, Call)
        return following
    except StopIteration as end:
        batch += end.value
    except _MISSHAPEN as error:
        raise _failed(error, exchange) from None
    return None


def _reader(exchange: Exchange, streamed: bool) -> Translator:
    """Return a new reader of an answer: what watches it, where it goes to the client as it came, else what translates it."""
    call = exchange.call
    return call.native(streamed) if exchange.verbatim and call.native is not None else call.read(call, streamed)


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
    opening = data[:_WORDS]
    try:
        send: Callable[[Event | None], Any] = _reader(exchange, True).send
        decoder: Decoder | Frames = (Frames if exchange.verbatim else Decoder)(limits.max_event)
        read = answer.read
        feed, patience = decoder.feed, max(exchange.first_byte, limits.timeouts.between_bytes)
        bound = room = most or min(_OPENING, limits.max_answer)  # room: what is left of it, 0: no bound any more
        lost: Failure | None = None  # why the connection gave no more
        since = 0  # bytes read since the last batch
        made: list[Json] = []  # chunks of the last event
        due = 0.0  # time.monotonic() at which a complete answer is ended here
        while True:
            batch: list[Json] = []
            events: list[Event] = []
            event: Event | None = None  # the one that is being read
            count = 0  # events before it
            try:
                try:
                    events = feed(data) if data else decoder.flush()
                except UpstreamBadOutput:
                    for event in decoder.flush():  # those before the one that cannot be read
                        batch += send(event)
                        count += 1
                    event = None
                    raise
                for event in events:
                    made = send(event)
                    batch += made
                    count += 1
                event = None
                if not data:
                    before = b"" if exchange.said else opening
                    exchange.call = _at_the_end(send, lost, decoder.cut, before, batch)  # it goes on with another call
                    answer.close()
                    answer = await send_request(exchange, http, limits)
                    decoder, read, lost, made = Decoder(limits.max_event), answer.read, None, []
                    feed = decoder.feed
            except StopIteration as end:
                batch += end.value
                answer.finish()
                raw = decoder.raw
                if isinstance(decoder, Frames) and count + 1 < len(events):
                    raw = decoder.before(count + 1)  # nothing follows the end of an answer
                if batch or raw:
                    exchange.said = True
                    yield Batch(batch, raw)
                return
            except (Failure, *_MISSHAPEN) as error:
                failure = _failed(error, exchange)
                raw = b""
                if isinstance(decoder, Frames) and exchange.said:
                    raw = decoder.before(count)
                    if event is not None and event.name == "error":
                        failure.verbatim = decoder.before(count + 1)[len(raw) :]
                if exchange.said and (batch or raw):
                    yield Batch(batch, raw)
                else:
                    exchange.held_back += batch
                raise failure from None
            if room:
                since += len(data)
                if batch or decoder.raw:
                    room -= since
                    since = 0
                    if bound - room > density.LARGE and most:
                        exchange.large = True
                        decoder.keep()
                    if room <= 0:
                        exchange.held_back += batch
                        raise _too_much(bound, "" if most else " before it says anything")
                    if not exchange.said and any(map(says_something, batch)):
                        exchange.said, patience = True, limits.timeouts.between_bytes
                        room = room if most else 0
                elif decoder.empty:
                    since = 0  # comments, which are not kept
            if batch or decoder.raw:
                yield Batch(batch, decoder.raw)
            if len(data) >= PIECE:
                await asyncio.sleep(0)  # more is waiting, and so are others
            wait = patience
            if type(made) is Ended:
                now = monotonic()
                if batch or not due:
                    due = now + _TAIL
                wait = min(patience, due - now)
                if wait <= 0:
                    data = b""
                    continue
            else:
                due = 0.0
            try:
                data = await read(wait)
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


def _at_the_end(
    send: Callable[[Event | None], Any], lost: Failure | None, cut: bool, opening: bytes, batch: list[Json]
) -> Call:
    """Tell a translator that no more comes; how the connection ended decides only when the answer is not complete.

    lost: why the connection gave no more; cut: whether it ended inside an event; opening: the first bytes, where nothing has
    been said yet: they may be words in place of a stream. Adds chunks to `batch`. Returns the call that goes on with the
    answer. Raises StopIteration with the last chunks.
    """
    try:
        if lost is not None or cut:
            batch += send(Event("", Cut(cut)))
        following = send(None)
    except Failure as failure:
        if lost is not None:
            lost.usage = lost.usage or failure.usage
            raise lost from None
        if opening and isinstance(failure, UpstreamTruncated) and not is_stream(opening):
            raise _no_json(opening) from None
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
    bytes may be anything. Raises UpstreamBadOutput for a web page in place of a stream.
    """
    if start[:1] in (b"{", b"["):
        return False
    if is_stream(start):
        return True
    if asked and (start[:1] == b"<" or kind.startswith("text/html")):
        raise UpstreamBadOutput(_WEB_PAGE, code="upstream_protocol")
    return asked and not kind.startswith("application/json")


def _no_json(body: bytes) -> Failure:
    """Return the failure of an answer that should have been JSON and is none; words in its place say what went wrong."""
    start = " ".join(body[:_WORDS].decode("utf-8", errors="replace").split())
    if start[:1] == "<":
        return UpstreamBadOutput(_WEB_PAGE, code="upstream_bad_json")
    if not start or start[0] in '{["' or not start.isprintable():
        return UpstreamBadOutput("The upstream's answer is not JSON.", code="upstream_bad_json")
    return in_band(start)


def _too_much(limit: int, when: str = "") -> UpstreamBadOutput:
    return UpstreamBadOutput(f"The upstream's answer is larger than {limit} bytes{when}.", code="upstream_too_large")


def parsed(body: bytes, failure: Failure | None, read: Callable[[bytes], Any] = codec.decode) -> Any:
    """Return the value of a body that is one JSON document. An object that is whole counts, however the connection ended.

    failure: why the connection gave no more; read: raises ValueError for what is no JSON. Raises Failure.
    """
    try:
        density.check(body)
        value = read(body)
    except ValueError:
        raise failure or _no_json(bytes(body)) from None
    if failure is not None and not isinstance(value, dict | list):
        raise failure
    return value


async def _failure(
    answer: UpstreamResponse, error: Callable[[int, bytes], Failure], patience: float, call: Call
) -> Failure:
    """Read an answer that is not good; what it means. patience: seconds for its body, of which what came must do.

    Of a call that was the client's own, what it did wrong it is told as the upstream does.
    """
    if answer.status < 400:
        # A redirect is never followed: aiohttp would carry body and key to the other host.
        return UpstreamError(f"The upstream answered with HTTP status {answer.status}.", code="upstream_protocol")
    pieces: list[bytes] = []
    size = 0
    due, whole = monotonic() + patience, density.Whole()
    with suppress(Failure):
        while size < _ERROR_BODY and (left := due - monotonic()) > 0 and (piece := await answer.read(left)):
            pieces.append(piece)
            size += len(piece)
            if whole.add(piece):
                due = min(due, monotonic() + _TAIL)
    body = _in_utf8(b"".join(pieces)[:_ERROR_BODY], answer.headers.get("Content-Type", ""))
    failure = error(answer.status, unframed(body))
    failure.upstream_status = answer.status
    if call.native is not None or call.passed:
        retry = answer.headers.get("x-should-retry")
        failure.should_retry = retry == "true" if retry in ("true", "false") else failure.should_retry
        if _speaks_to_client(answer.status, failure, call) and body.startswith(b"{"):
            failure.verbatim = body
            failure.headers = {"request-id": ident} if (ident := _request_id(answer)) else {}
    wait = _milliseconds(answer.headers.get("retry-after-ms"))
    if wait is None:
        wait = parse_retry_after(answer.headers.get("Retry-After"), time())
    if wait is not None:
        failure.retry_after = wait
    return failure


def _speaks_to_client(status: int, failure: Failure, call: Call) -> bool:
    """Whether an upstream's refusal is about the client's request, and not about this server's key or account."""
    if call.passed:
        return status in _PASSED_REFUSALS and not isinstance(failure, UpstreamAuthError | QuotaExhausted)
    return status in _REFUSALS and isinstance(failure, BadRequest | RequestTooLarge)


def _in_utf8(body: bytes, kind: str) -> bytes:
    """Return a body in UTF-8, whatever character set its Content-Type names."""
    named = _CHARSET.search(kind)
    if named is None or named[1].lower() not in _CHARSETS:
        return body
    return body.decode(named[1], errors="replace").encode()


def _milliseconds(header: str | None) -> float | None:
    """Return a retry-after-ms header (Azure's; SDKs read it first) in seconds; None where it says nothing of use."""
    return sane_wait(float(header) / 1000) if header and _SECONDS.fullmatch(header.strip()) else None


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
