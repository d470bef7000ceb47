"""An answer as the batches that its reads give: one by one, poured out as they arrive, or put together."""

from collections.abc import Callable
from contextlib import aclosing
from functools import partial
from time import monotonic
from typing import Any, Final, Protocol

from gateway.config_schema import ServerConfig
from providers import density
from providers.chunks import collect, says_something
from providers.contract import Batch, Call, Ended, Json
from providers.errors import ContentFiltered, Failure, UpstreamBadOutput, UpstreamTruncated
from providers.frames import Frames
from providers.runs import Runs
from providers.sse import Cut, Decoder, Event, is_stream

from .document import MISSHAPEN, chunks_of_document, failed, reader_of
from .exchange import TAIL, Exchange, send_request
from .opening import WORDS, Begun, begin, no_json
from .pool import ConnectionPools
from .response import UpstreamResponse, too_much

_OPENING: Final = (
    2**20
)  # bytes of a stream that may make chunks which say nothing, before the first that says something
_LARGE: Final = 256 * 2**10  # bytes of an event that is worked on outside of the event loop
_BURST: Final = 16 * 2**10  # bytes of a first read, from which on it is not decoded whole before anything is shown
_CUTS: Final = 32  # pieces of a read that are looked at apart
_SAID: Final = ("content", "reasoning_content", "tool_calls")  # what of an answer cannot be taken back
_NONE: Final[Json] = {}
_NOTHING: Final = Batch([])

TakeBatch = Callable[[Batch], bool]  # takes a batch; returns whether it takes another


class Batches(Protocol):
    """What is left of an answer."""

    async def __anext__(self) -> Batch:
        """Return the next batch. Raises Failure, once what came before it has been returned."""

    def __aiter__(self) -> "Batches":
        """Return this."""

    async def pour(self, take: TakeBatch) -> None:
        """Give batches to `take` as they arrive, until it returns False or the next has to be waited for in another way.

        It may give none: `anext` goes on from there. Raises what `take` raises.
        """

    async def aclose(self) -> None:
        """Close the connection, unless the answer has been read to its end."""


class BatchStream:
    """A call and what it answers, one batch for each read. A whole answer is one batch: a chat.completion where none was to be
    streamed, else the chunks it makes.

    It sets exchange.said before it gives the batch that says something. What decides is what came, not its label nor how
    the connection ended. Chunks that arrived before a failure are given first, unless they are all there was: then nothing
    of this answer has been shown, exchange.held_back has them, and another target can still take over.
    """

    def __init__(
        self,
        exchange: Exchange,
        http: ConnectionPools,
        limits: ServerConfig,
        most: int = 0,
        begun: Begun | None = None,
    ) -> None:
        """most: bytes that all reads together may have; 0: only what comes before the first word has a bound. begun: the
        call, where it has been made.
        """
        self._exchange, self._http, self._limits = exchange, http, limits
        self._most, self._begun = most, begun
        self._answer: UpstreamResponse | None = begun and begun.answer
        self._data: bytes | None = None  # read, and not translated yet
        self._opened = False
        self._opening = b""  # the first bytes
        self._cuts = _CUTS  # events that may still be looked at alone before the first word
        self._patience = max(exchange.first_byte, limits.timeouts.between_bytes)
        self._bound = self._room = most or min(
            _OPENING, limits.max_answer
        )  # _room: what is left of it, 0: no bound any more
        self._since = 0  # bytes read since the last batch
        self._gave = False  # the last read gave chunks
        self._lost: Failure | None = None  # why the connection gave no more
        self._made: list[Json] = []  # chunks of the last event
        self._due = 0.0  # time.monotonic() at which a complete answer is ended here
        self._following: Call | None = None  # the call that goes on with the answer
        self._failure: Failure | None = None  # to be raised next
        self._over = False

    def __aiter__(self) -> "BatchStream":
        return self

    async def __anext__(self) -> Batch:
        try:
            while not self._over:
                if self._failure is not None:
                    failure, self._failure = self._failure, None
                    try:
                        raise failure
                    finally:
                        del failure  # it knows this frame, which would know it: a circle that holds the request
                if (batch := await self._next()).chunks or batch.raw:
                    return batch
        except BaseException:
            await self.aclose()
            raise
        raise StopAsyncIteration

    async def pour(self, take: TakeBatch) -> None:
        """See Batches."""
        if self._pours and self._answer is not None:
            data, self._data = self._data, None
            if data is not None and not self._pour(take, data):
                return
            await self._answer.pour(partial(self._pour, take), self._patience)

    async def aclose(self) -> None:
        """Close the connection, unless the answer has been read to its end."""
        self._over = True
        if self._answer is not None:
            self._answer.close()

    @property
    def _pours(self) -> bool:
        """Whether nothing but reading is to be done for the next batch."""
        return self._exchange.said and self._failure is None and not self._over and type(self._made) is not Ended

    def _pour(self, take: TakeBatch, data: bytes) -> bool:
        """Give what a read makes: runs as they are found, the rest decoded. Returns whether another read may follow at once."""
        runs = self._runs
        if runs is None:
            return self._give(take, data)
        for _ in range(_CUTS):
            run, event, data = runs.cut(data, not self._decoder.size)
            if not (take(Batch(run)) if run is not None else self._give(take, event)):
                if not self._over and self._failure is None:
                    self._data = (self._data or b"") + data or None
                return False
            if not data:
                return True
        return self._give(take, data)

    def _give(self, take: TakeBatch, data: bytes) -> bool:
        if self._decoder.size + len(data) > _LARGE and _ends_line(data):
            self._data = data
            return False
        batch = self._translate(data)
        more = take(batch) if batch.chunks or batch.raw else True
        return more and not self._over and self._failure is None and type(self._made) is not Ended

    async def _next(self) -> Batch:
        """Return what the next read gives, which may be nothing."""
        if not self._opened:
            begun = self._begun or await begin(self._exchange, self._http, self._limits)
            self._answer = begun.answer
            if not begun.is_stream:
                self._over = True
                return Batch(await chunks_of_document(begun, self._exchange, self._http, self._limits))
            self._begin_reading(Frames if self._exchange.verbatim else Decoder)
            self._translator = reader_of(self._exchange, True)
            self._data, self._opening, self._opened = begun.data, begun.data[:WORDS], True
        data = await self._read() if self._data is None else self._data
        self._data = None
        if len(data) > _BURST and self._runs is not None and not self._exchange.said and self._cuts:
            self._cuts -= 1
            _, data, rest = self._runs.cut(data, not self._decoder.size)  # up to the first word
            self._data = rest or None
        worker = self._exchange.worker
        if worker is not None and self._decoder.size + len(data) > _LARGE and _ends_line(data):
            batch = (await worker.run(partial(self._translate, data)))._replace(large=True)
        else:
            batch = self._translate(data)
        if self._following is not None and self._failure is None:
            return await self._go_on(self._following, batch)
        if self._over and self._answer is not None:
            self._answer.finish()
        return batch

    def _begin_reading(self, kind: type[Decoder] | type[Frames]) -> None:
        self._decoder: Decoder | Frames = kind(self._limits.max_event)
        self._lost, self._made = None, []
        self._runs = Runs() if kind is Decoder and not self._most else None

    async def _go_on(self, call: Call, batch: Batch) -> Batch:
        """Make the call that goes on with the answer. Returns `batch`, which came before it, where it may be shown."""
        self._following = None
        self._exchange.call = call
        assert self._answer is not None
        self._answer.close()
        try:
            self._answer = await send_request(self._exchange, self._http, self._limits)
        except Failure as failure:
            self._failure = failure
            if not self._exchange.said:
                self._exchange.held_back += batch.chunks
                return _NOTHING
        else:
            self._begin_reading(Decoder)
        return batch

    async def _read(self) -> bytes:
        """Return the next piece; b"" where no more comes: _lost says why."""
        wait = self._patience
        if type(self._made) is Ended:
            now = monotonic()
            if self._gave or not self._due:
                self._due = now + TAIL
            wait = min(wait, self._due - now)
            if wait <= 0:
                return b""
        else:
            self._due = 0.0
        assert self._answer is not None
        try:
            return await self._answer.read(wait)
        except Failure as error:
            self._lost = error
            return b""

    def _translate(self, data: bytes) -> Batch:
        """Return what a read gives; b"": no more comes. Notes how it goes on: _over, _failure or _following."""
        decoder, send = self._decoder, self._translator.send
        batch: list[Json] = []
        events: list[Event] = []
        count = 0  # events that have been translated
        whole = not decoder.size
        try:
            try:
                events = decoder.feed(data) if data else decoder.flush()
            except UpstreamBadOutput:
                events = decoder.flush()  # those before the one that cannot be read
                for event in events:
                    batch += send(event)  # type: ignore[arg-type]
                    count += 1
                raise
            for event in events:
                self._made = made = send(event)  # type: ignore[assignment]
                batch += made  # type: ignore[arg-type]
                count += 1
            if events and self._runs is not None:
                self._runs.learn(data if whole and len(events) == 1 else b"", self._made)
            if not data:
                self._following = self._at_the_end(send, batch)
        except StopIteration as end:
            batch += end.value
            return self._ended(batch, count, len(events))
        except (Failure, *MISSHAPEN) as error:
            broken = events[count] if count < len(events) else None
            return self._failed(failed(error, self._exchange), batch, count, broken)
        self._gave = bool(batch)
        return self._counted(data, batch) if self._room else Batch(batch, decoder.raw)

    def _at_the_end(self, send: Callable[[Event | None], Any], batch: list[Json]) -> Call:
        """Tell the translator that no more comes; how the connection ended decides only when the answer is not complete.

        Adds chunks to `batch`. Returns the call that goes on with the answer. Raises StopIteration with the last chunks, or
        Failure: words in place of a stream say what went wrong.
        """
        cut = self._decoder.cut
        lost, self._lost = self._lost, None
        try:
            if lost is not None or cut:
                batch += send(Event("", Cut(cut)))
            following = send(None)
        except Failure as failure:
            if lost is not None:
                lost.usage = lost.usage or failure.usage
                try:
                    raise lost from None
                finally:
                    del lost  # see __anext__
            opening = b"" if self._exchange.said else self._opening
            if opening and isinstance(failure, UpstreamTruncated) and not is_stream(opening):
                raise no_json(opening) from None
            raise
        assert isinstance(following, Call)
        return following

    def _ended(self, batch: list[Json], count: int, events: int) -> Batch:
        """Return the last batch. count: events before the one that ended the answer, of so many of the last read."""
        self._over = True
        decoder = self._decoder
        raw = decoder.raw
        if isinstance(decoder, Frames) and count + 1 < events:
            raw = decoder.before(count + 1)  # nothing follows the end of an answer
        if batch or raw:
            self._exchange.said = True
        return Batch(batch, raw)

    def _failed(self, failure: Failure, batch: list[Json], count: int, broken: Event | None) -> Batch:
        """Return what came before a failure. count: events before it; broken: the event that tells of it, if one does."""
        self._failure, exchange, decoder = failure, self._exchange, self._decoder
        raw = b""
        if isinstance(decoder, Frames) and exchange.said:
            raw = decoder.before(count)
            if broken is not None and broken.name == "error":
                failure.verbatim = decoder.before(count + 1)[len(raw) :]
        if not exchange.said:
            exchange.held_back += batch
            return _NOTHING
        return Batch(batch, raw)

    def _counted(self, data: bytes, batch: list[Json]) -> Batch:
        """Return a batch, once its bytes have been counted, and whether it says something is known."""
        raw, exchange = self._decoder.raw, self._exchange
        self._since += len(data)
        if not (batch or raw):
            if not self._decoder.size:
                self._since = 0  # comments, which are not kept
            return _NOTHING
        self._room -= self._since
        self._since = 0
        if self._bound - self._room > density.LARGE and self._most:
            exchange.large = True
            self._decoder.keep()
        if self._room <= 0:
            exchange.held_back += batch
            self._failure = too_much(self._bound, "" if self._most else " before it says anything")
            return _NOTHING
        if not exchange.said and any(map(says_something, batch)):
            exchange.said, self._patience = True, self._limits.timeouts.between_bytes
            self._room = self._room if self._most else 0
        return Batch(batch, raw)


def _ends_line(data: bytes) -> bool:
    """Whether a read may complete an event."""
    return b"\n" in data or b"\r" in data or not data


async def open_stream(exchange: Exchange, http: ConnectionPools, limits: ServerConfig) -> tuple[Batch, Batches]:
    """Return what an answer gives up to, and with, the first words, and the rest, which the caller closes. Raises Failure.

    The first words are the point of no return: until then a failure moves on to the next target. What only opens the answer
    does not count: upstreams do open a stream and then say "overloaded".
    """
    rest = BatchStream(exchange, http, limits)
    held = exchange.held_back
    raw: list[bytes] = []
    large = False
    async for batch in rest:
        held += batch.chunks
        raw.append(batch.raw)
        large = large or batch.large
        if exchange.said:
            break
    try:
        _check_filter(exchange, held)
    except BaseException:
        await rest.aclose()
        raise
    exchange.held_back = []
    return Batch(held, b"".join(raw), large), rest


async def fetch_whole(exchange: Exchange, http: ConnectionPools, limits: ServerConfig) -> Json:
    """Make a call and return its answer as one object, put together where the upstream streams it. Raises Failure."""
    begun = await begin(exchange, http, limits)
    if begun.is_stream:
        held = exchange.held_back

        def keep(batch: Batch) -> bool:
            held.extend(batch.chunks)
            return True

        async with aclosing(BatchStream(exchange, http, limits, limits.max_answer, begun)) as batches:
            async for batch in batches:
                keep(batch)
                await batches.pour(keep)
    else:
        held = await chunks_of_document(begun, exchange, http, limits)
    exchange.held_back = []
    match held:
        case [{"choices": [{"message": _}, *_]} | {"object": "list"} as answer]:  # it was not streamed
            pass
        case _:
            exchange.chunks = held
            answer = await exchange.on_answer(partial(collect, held))
    _check_filter(exchange, [answer])
    return answer


def _check_filter(exchange: Exchange, chunks: list[Json]) -> None:
    """Raise ContentFiltered for an answer that says nothing but that a filter refused it, where that is a failure.

    chunks: or a whole answer.
    """
    if not exchange.filter_fails:
        return
    refused = False
    for choice in (choice for piece in chunks for choice in piece.get("choices", ())):
        if any(choice.get("delta", _NONE).get(name) for name in _SAID):
            return
        refused |= choice.get("finish_reason") == "content_filter"
    if refused:
        failure = ContentFiltered("The filter of this model's provider refused the request.", param="messages")
        failure.usage = next((piece["usage"] for piece in reversed(chunks) if piece.get("usage")), None)
        raise failure
