"""One connection to an upstream, which carries one exchange after the other.

What arrives is parsed as it arrives (llhttp, by httptools), inside data_received. A body is read (`read`), or poured (`pour`):
then each piece is given to a function at once, and no task is woken until something else is to be done. Nothing here makes a
timer, and while it is poured no future either, for a piece.

    connection_made → send → head → read … / pour → ended → send → …
"""

import asyncio
from collections.abc import Awaitable, Callable
from math import inf
from typing import Final, NamedTuple, cast

from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser

from .headers import InvalidHead, ResponseHeaders, taken_head
from .upload import Upload, send_pieces

PIECE: Final = 64 * 2**10  # bytes that are given at once at most: the loop must get its turn between two
_FULL: Final = 512 * 2**10  # bytes of a body that wait, from which on no more are read from the socket
_LOW: Final = 256 * 2**10  # bytes that may still wait when reading goes on
_INTERIM: Final = 16  # 1xx answers before the real one: more say that no answer is coming
_OUTSIDE: Final = 2**20  # bytes that may come without one of a body among them: heads, trailers, extensions of chunks

Take = Callable[[bytes], bool]  # takes a piece of a body; returns whether it takes another


class InvalidHttp(Exception):
    """What the upstream sent is not HTTP, or more of it than any answer needs."""


class ClosedEarly(Exception):
    """The connection ended before the head of an answer."""


class BodyCut(Exception):
    """The connection ended in the middle of a body."""


class Head(NamedTuple):
    """The status and the headers of an answer."""

    status: int
    headers: ResponseHeaders


class Wire(asyncio.Protocol):
    """The protocol of one connection. What it raises: InvalidHttp, ClosedEarly, BodyCut, and TimeoutError for silence.

    ended: the answer has been received to its end; error: why no more of it comes.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, shortest: float) -> None:
        """shortest: seconds of the shortest wait; a timer looks that early, so that it need not be made anew."""
        self._loop, self._shortest = loop, shortest
        self.transport: asyncio.Transport | None = None
        self._body = bytearray()  # received and not yet given
        self.on_body = self._body.extend  # what the parser calls with each piece of a body
        parser = HttpResponseParser(self)
        parser.set_dangerous_leniencies(  # what aiohttp, and so most clients of Python, let pass
            lenient_headers=True, lenient_optional_cr_before_lf=True, lenient_spaces_after_chunk_size=True
        )
        self._parser: HttpResponseParser | None = parser
        self._waiter: asyncio.Future[None] | None = None  # of the task that waits in send, read or pour
        self._take: Take | None = None  # while the body is poured
        self._patience = 0.0  # seconds of silence allowed then
        self._pump_due = False  # _pump is to be called in the next turn of the loop
        self._more_waits = self._paused = False
        self._received = bytearray()  # since the head that is being received has begun
        self._outside = self._interim = 0
        self._due = self._head_due = inf  # loop time at which silence is a fault
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = inf
        self.head: Head | None = None
        self.error: Exception | None = None
        self.begun = False  # something of an answer has come
        self._keeps = False
        self._heading = False  # a head has begun to come
        self.ended = True  # no exchange is under way
        self._sending: asyncio.Task[None] | None = None  # of a body that is still arriving
        self._full: asyncio.Future[None] | None = None  # done when the socket takes more
        self._cut = False  # a request was not sent to its end

    # What the pool asks

    @property
    def reusable(self) -> bool:
        """Whether another exchange can follow."""
        return (
            self._keeps
            and self.ended
            and not self._cut
            and self.transport is not None
            and not self.transport.is_closing()
        )

    @property
    def is_read(self) -> bool:
        """Whether the answer has been received to its end, and given."""
        return self.ended and not self._body

    def abort(self) -> None:
        """Close the connection at once: close() would first send what is still buffered."""
        self._keeps = False
        if self.transport is not None:
            self.transport.abort()

    def forget(self) -> None:
        """Forget what is left of an answer that has ended: the end of an idle connection must be noticed."""
        self._body.clear()
        if self._paused:
            self._resume()

    # What an exchange does

    def send(self, head: bytes, body: bytes, patience: float) -> Awaitable[Head]:
        """Send a request and return the head of its answer. patience: seconds for the head, and the first piece of the body."""
        self._begin().writelines((head, body))
        self._due = self._head_due = self._loop.time() + patience
        return self._answered()

    async def upload(self, head: bytes, body: Upload, patience: float, silence: float) -> Head:
        """Send a request whose body is still arriving; return the head of its answer, which may come before all has been sent.

        patience: seconds for the head, from when all has been sent; silence: in which the upstream must take some of it. Raises
        Failure where the client, or the upstream, holds it up.
        """
        transport = self._begin()
        self._due = self._head_due = inf
        sending = self._loop.create_task(send_pieces(transport, self._drained, head, body, silence))
        sending.add_done_callback(lambda _: self._sent(patience))
        self._sending = sending
        try:
            return await self._answered()
        finally:
            self._sending = None
            self._due = self._head_due = self._loop.time() + patience
            if not sending.done():  # the connection cannot be used again: the rest of the body is not sent
                self._cut = True
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)

    def _sent(self, patience: float) -> None:
        if self._sending is not None:
            self._due = self._head_due = self._loop.time() + patience
            self._wake()

    def _begin(self) -> asyncio.Transport:
        """Begin an exchange. Raises ClosedEarly."""
        transport = self.transport
        if transport is None:
            raise ClosedEarly
        self.head = self.error = None
        self.begun = self.ended = self._keeps = self._heading = self._more_waits = False
        self._received.clear()
        self._outside = self._interim = 0
        return transport

    async def _answered(self) -> Head:
        """Return the head of the answer."""
        while (answered := self.head) is None:
            sending = self._sending
            if sending is not None and sending.done() and not sending.cancelled():
                error = sending.exception()
                if error is not None and not isinstance(error, ConnectionError):
                    raise error
            if self.error is not None:
                raise self._broken()
            await self._begin_wait()
        return answered

    async def _drained(self) -> None:
        """Wait until the socket takes more."""
        if self._full is not None:
            await self._full

    def pause_writing(self) -> None:
        self._full = self._loop.create_future()

    def resume_writing(self) -> None:
        if self._full is not None and not self._full.done():
            self._full.set_result(None)
        self._full = None

    async def read(self, patience: float = 0.0) -> bytes:
        """Return the next piece of the body, b"" at its end. What came before a failure is returned before that is raised.

        patience: seconds of silence allowed; 0: what the head has left of its time.
        """
        if self._more_waits:
            self._more_waits = False
            await asyncio.sleep(0)
        if patience and not self._body:
            self._due = self._loop.time() + patience
        while not self._body:
            if self.error is not None:
                raise self._broken()
            if self.ended:
                return b""
            await self._begin_wait()
        return self._taken()

    async def pour(self, take: Take, patience: float) -> None:
        """Give the body to `take`, piece by piece as it arrives, until it returns False, or nothing more comes.

        `take` is called inside data_received; what it raises is raised here. Leaving at any time loses nothing: `read` says
        how it goes on. patience: seconds of silence allowed.
        """
        if not self._body and (self.ended or self.error is not None):
            return
        self._take, self._patience = take, patience
        self._due = self._loop.time() + patience
        waiter = self._begin_wait()
        if self._body:
            self._pump()
        try:
            await waiter
        finally:
            self._take = self._waiter = None  # nobody else can have begun to wait: who pours closes the answer
            del waiter  # its exception knows this frame, which would know it: a circle that holds the request

    def _broken(self) -> Exception:
        """Return why no more comes, anew: the traceback of what is kept would hold whoever waited for it."""
        assert self.error is not None
        return type(self.error)(*self.error.args)

    def _taken(self) -> bytes:
        body = self._body
        if len(body) <= PIECE:
            data = bytes(body)
            body.clear()
        else:
            data = bytes(body[:PIECE])
            del body[:PIECE]
            self._more_waits = True
        if self._paused and len(body) <= _LOW:
            self._resume()
        return data

    def _resume(self) -> None:
        self._paused = False
        if self.transport is not None and not self.transport.is_closing():
            self.transport.resume_reading()

    def _pump(self) -> None:
        """Give a piece to who takes it; the next in the next turn of the loop."""
        take = self._take
        if take is None:
            return
        more = True
        try:
            if self._body:
                self._due = self._loop.time() + self._patience
                more = take(self._taken())
        except Exception as error:
            self._take = None
            if self._waiter is not None and not self._waiter.done():
                self._waiter.set_exception(error)
            return
        if not more:
            self._take = None
            self._wake()
        elif self._body:
            if not self._pump_due:
                self._pump_due = True
                self._loop.call_soon(self._pump_again)
        elif self.ended or self.error is not None:
            self._wake()

    def _pump_again(self) -> None:
        self._pump_due = False
        self._pump()

    # Waiting, and its one timer

    def _begin_wait(self) -> "asyncio.Future[None]":
        self._waiter = waiter = self._loop.create_future()
        if self._due < self._timer_at:
            self._start_timer(min(self._due, self._loop.time() + self._shortest))
        return waiter

    def _wake(self) -> None:
        waiter, self._waiter = self._waiter, None
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    def _start_timer(self, at: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer_at, self._timer = at, self._loop.call_at(at, self._check)

    def _check(self) -> None:
        """End a wait that is over; else look again when it would be. One timer does for all waits of the connection."""
        self._timer_at, self._timer = inf, None
        if self._waiter is None or self._waiter.done():
            return
        if self._due > self._loop.time() + 0.001:  # uvloop counts in milliseconds
            self._start_timer(self._due)
        else:
            self.error = self.error or TimeoutError()
            self._wake()

    def _hurry(self) -> None:
        """A head has begun to come: it must be here in the shortest time, or when it had to be anyway."""
        self._heading = False
        due = self._loop.time() + self._shortest
        if due < self._due:
            self._due = due
            if due < self._timer_at:
                self._start_timer(due)

    # What the socket says

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's is none by inheritance

    def data_received(self, data: bytes) -> None:
        if self.ended or self.error is not None:  # nothing was asked
            self.abort()
            return
        self.begun = True
        before = len(self._body)
        assert self._parser is not None
        if self.head is None:
            self._received += data
        try:
            self._parser.feed_data(data)
            self._outside = 0 if len(self._body) > before else self._outside + len(data)
            if self._outside > _OUTSIDE:
                raise InvalidHttp
        except (HttpParserError, HttpParserUpgrade, InvalidHttp) as error:
            self._keeps = False
            if not self.ended:
                self.error = InvalidHttp(str(error))
        if self._heading:
            self._hurry()
        if self._take is not None:
            if not self._pump_due:
                self._pump()
        else:
            self._wake()
        transport = self.transport
        if len(self._body) > _FULL and not self._paused and transport is not None and not transport.is_closing():
            self._paused = True
            transport.pause_reading()

    def connection_lost(self, exc: BaseException | None) -> None:
        self.resume_writing()
        self.transport = self._parser = None  # the parser knows this object, which would know it
        if self._timer is not None:
            self._timer.cancel()
            self._timer_at, self._timer = inf, None
        if not self.ended and self.error is None:
            if self.head is None:
                self.error = ClosedEarly()
            elif exc is None and not self.head.headers.tell_end:
                self.ended = True
            else:
                self.error = BodyCut()
        if self._take is not None and not self._body:
            self._take = None
        if self._take is None:
            self._wake()

    # What the parser says

    def on_message_begin(self) -> None:
        if self.head is not None:
            raise InvalidHttp("more than one answer")
        self._heading = True

    def on_headers_complete(self) -> None:
        assert self._parser is not None
        self._heading = False
        status = self._parser.get_status_code()
        try:
            headers = ResponseHeaders(taken_head(self._received))
        except InvalidHead as error:
            raise InvalidHttp(str(error)) from None
        if status < 200:
            self._interim += 1
            if self._interim > _INTERIM:
                raise InvalidHttp("too many interim answers")
            self._due = self._head_due  # what follows may take its time
            return
        self._due = self._head_due
        self.head = Head(status, headers)
        self._received.clear()

    def on_message_complete(self) -> None:
        if self.head is not None:
            assert self._parser is not None
            self.ended, self._keeps = True, self._parser.should_keep_alive()
