"""One call that is passed on, and its answer, which passes back: neither is read here."""

import asyncio
from typing import Final

import msgspec

from gateway.config_schema import ServerConfig
from providers.errors import Failure

from .exchange import Exchange, send_request
from .pool import ConnectionPools
from .response import UpstreamResponse

# Protocols whose SDKs lose what follows a comment: those of Gemini look for "data: " where an event has ended.
_NO_COMMENTS: Final = frozenset({"gemini"})


class PassedAnswer(msgspec.Struct):
    """An answer that passes as bytes, and is to be closed. answer: gives its body behind what `begin` returns.

    first: what was read of its body; reading: reads that, where it has not come yet; events: whether it is an event stream
    to which comments may be added.
    """

    answer: UpstreamResponse
    first: bytes = b""
    reading: "asyncio.Future[bytes] | None" = None
    events: bool = False

    @property
    def begun(self) -> bool:
        """Whether the first of the body has come."""
        return self.reading is None or self.reading.done()

    async def begin(self) -> bytes:
        """Return the first of the body; b"" where it has none. Raises Failure."""
        return self.first if self.reading is None else await self.reading

    def close(self) -> None:
        """Let the connection go, whatever has been read."""
        if self.reading is not None and not self.reading.cancel() and not self.reading.cancelled():
            self.reading.exception()  # it may be that nobody has asked for it
        self.answer.close()


async def open_passed(exchange: Exchange, http: ConnectionPools, limits: ServerConfig) -> PassedAnswer:
    """Make a call that is passed on; return its answer with the first of its body, which nothing here reads. Raises Failure.

    An event stream is returned before its first byte once it has been silent for keep_alive.after. The failure of a call
    whose body came and went is final: it cannot be sent to another target.
    """
    try:
        answer = await send_request(exchange, http, limits)
        try:
            if not _takes_comments(exchange, answer):
                return PassedAnswer(answer, await answer.read(exchange.first_byte))
            reading = asyncio.ensure_future(answer.read(exchange.first_byte))
            try:
                await asyncio.wait([reading], timeout=limits.keep_alive.after)
            except asyncio.CancelledError:
                reading.cancel()
                raise
            if reading.done():
                reading.result()
            return PassedAnswer(answer, reading=reading, events=True)
        except BaseException:
            answer.close()
            raise
    except Failure as failure:
        if not isinstance(exchange.call.body, bytes) and not exchange.call.body.repeatable:
            failure.try_next = False
        raise


def _takes_comments(exchange: Exchange, answer: UpstreamResponse) -> bool:
    """Whether an answer is an event stream, of a size that is not told, in which clients skip comments."""
    headers = answer.headers
    kind = headers.get("Content-Type", "").partition(";")[0].strip().lower()
    sized = "Content-Length" in headers and "Content-Encoding" not in headers  # that was undone by the parser
    return kind == "text/event-stream" and not sized and exchange.to.host.protocol not in _NO_COMMENTS
