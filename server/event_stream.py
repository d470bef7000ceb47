"""The SSE response to one client: its status is sent as late as possible, and comments keep it alive during silence.

Streams that pass as bytes get theirs between whole events. One task per process looks after all responses (`Heartbeat`), so
that a chunk costs no timer.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from aiohttp import HttpVersion11, web

from gateway.config_schema import ServerConfig

_EVENT_ENDS: Final = (b"\n\n", b"\n\r\n", b"\r\r")
_LONGEST_END: Final = 3  # bytes
_FULL: Final = 64 * 2**10  # bytes that wait for the client, from which on no more are to be sent


class EventStream:
    """One event stream to one client. `response.headers` may be added to until it opens, with the first byte written."""

    def __init__(
        self,
        request: web.Request,
        heartbeat: "Heartbeat",
        keep_alive: bytes,
        response: web.StreamResponse | None = None,
    ) -> None:
        self.response = response or web.StreamResponse(
            headers={
                "Content-Type": "text/event-stream; charset=utf-8",
                "Cache-Control": "no-cache, no-store",
                "X-Accel-Buffering": "no",  # nginx would otherwise collect the stream
            }
        )
        self._request = request
        self._heartbeat = heartbeat
        self._keep_alive = keep_alive
        self._transport: asyncio.Transport | None = None  # once it is open
        self._lock = asyncio.Lock()  # a comment and a chunk must not both send the status
        self.open = self._chunked = False  # open: the client has been told 200
        self.quiet_since = self._silent_since = heartbeat.now()  # silent: but for comments
        self._commented = 0.0  # quiet_since, where it was a comment that ended the quiet
        self.longest_gap = 0.0  # seconds, the longest so far between two pieces
        # From the seconds in which there were only comments to what is sent in place of the next; b"": the comment.
        self.on_silence: Callable[[float], bytes | bytearray] | None = None

    def __enter__(self) -> "EventStream":
        self._heartbeat.lines.add(self)
        return self

    def __exit__(self, *_: object) -> None:
        self._heartbeat.lines.discard(self)
        self.on_silence = None  # it knows the answer, which knows this: a circle that holds the request

    async def write(self, data: bytes | bytearray, end: bool = False) -> None:
        """Send `data`, after the status and headers if they have not been sent. end: nothing follows.

        Raises ConnectionError when the client is gone, or was cut off because it takes nothing (listener.Unread).
        """
        async with self._lock:
            now = self._heartbeat.now()
            if not self.open:
                await self.response.prepare(self._request)
                self.open, self._chunked = True, self._request.version >= HttpVersion11
                self._transport = self._request.transport
            elif now - self.quiet_since > self.longest_gap:
                self.longest_gap = now - self.quiet_since
            if end:
                await self.response.write_eof(bytes(data))
            else:
                await self.response.write(data)
            self.quiet_since = self._heartbeat.now()

    def send(self, data: bytes | bytearray) -> bool:
        """Send `data` at once, once the stream is open; return whether there is room for more, else wait for `drained`.

        Raises ConnectionError when the client is gone.
        """
        transport = self._transport
        if transport is None or transport.is_closing():
            raise ConnectionResetError("the client has left")
        now = self._heartbeat.now()
        if now - self.quiet_since > self.longest_gap:
            self.longest_gap = now - self.quiet_since
        self.quiet_since = now
        transport.write(b"%x\r\n" % len(data) + data + b"\r\n" if self._chunked else data)
        return transport.get_write_buffer_size() <= _FULL

    async def drained(self) -> None:
        """Wait until the client has taken enough of what was sent. Raises ConnectionError when it is gone."""
        await self._request.writer.drain()
        self.quiet_since = self._heartbeat.now()

    async def send_keepalive(self) -> None:
        """Send a comment, so that proxies keep the connection; do nothing while something else is being written."""
        transport = self._request.transport
        if transport is None or self._lock.locked() or transport.get_write_buffer_size():
            return
        if self.quiet_since != self._commented:
            self._silent_since = self.quiet_since
        told: bytes | bytearray = b""
        if self.on_silence is not None:
            told = self.on_silence(self._heartbeat.now() - self._silent_since)
        await self.write(told or self._keep_alive)
        if not told:
            self._commented = self.quiet_since


class PassedStream(EventStream):
    """An event stream that passes as bytes, in pieces that may end anywhere: comments stand only between whole events."""

    _tail: bytes | bytearray = _EVENT_ENDS[0]

    async def write(self, data: bytes | bytearray, end: bool = False) -> None:
        self._tail = data if len(data) >= _LONGEST_END else self._tail[-_LONGEST_END:] + data
        await super().write(data, end)

    async def send_keepalive(self) -> None:
        if self._tail.endswith(_EVENT_ENDS):
            await super().send_keepalive()


class Heartbeat:
    """Looks at every open stream a few times a second. Closed with the application.

    settings: server.keep_alive. callbacks: called with the time (of the loop) at every beat. lag: seconds by which the last
    beat came too late, the server's own slowness; max_lag: the most there was. write: seconds after which a client that
    takes nothing is cut off.
    """

    def __init__(self, settings: ServerConfig) -> None:
        self.lines: set[EventStream] = set()
        self.callbacks: list[Callable[[float], object]] = []
        self.lag = self.max_lag = 0.0
        self.now = asyncio.get_running_loop().time
        self.apply(settings)
        self._task = asyncio.create_task(self._beat())

    def apply(self, settings: ServerConfig) -> None:
        """Go by these settings from now on."""
        self.settings = times = settings.keep_alive
        self.write = settings.timeouts.write
        self._period = min(1.0, times.after / 4, times.every / 4, self.write / 4, settings.timeouts.total / 4)

    async def _beat(self) -> None:
        while True:
            due = self.now() + self._period
            await asyncio.sleep(self._period)
            now = self.now()
            self.lag = max(0.0, now - due)
            self.max_lag = max(self.max_lag, self.lag)
            for call in self.callbacks:
                call(now)
            for line in list(self.lines):
                if now - line.quiet_since >= (self.settings.every if line.open else self.settings.after):
                    with suppress(ConnectionError, RuntimeError):  # the stream's own handler gets the same error
                        await line.send_keepalive()

    async def aclose(self) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
