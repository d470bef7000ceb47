"""Request bodies that go upstream while they arrive, so that none is ever held whole."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from typing import Final, Protocol

from aiohttp.client_proto import ResponseHandler
from aiohttp.http import RawResponseMessage
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.streams import StreamReader

from providers.errors import UpstreamTimeout

_INTERIM: Final = 16  # 1xx answers before the real one


class Upload(Protocol):
    """A request's body, on its way. size: its bytes, None where that is not known before its end.

    repeatable: whether it can be sent from its beginning once more, to another connection or another target; head: of what
    has come so far the beginning, for the inspector.
    """

    size: int | None

    @property
    def repeatable(self) -> bool: ...

    @property
    def head(self) -> bytes: ...

    def pieces(self) -> AsyncIterator[bytes]:
        """Yield its bytes, from the beginning. Raises Failure where the client does not send what it must."""


def framing(body: "bytes | Upload") -> str:
    """Return the header that says how long a body is."""
    size = len(body) if isinstance(body, bytes) else body.size
    return "Transfer-Encoding: chunked" if size is None else f"Content-Length: {size}"


async def send_upload(
    protocol: ResponseHandler, head: bytes, upload: Upload, silence: float, sent: Callable[[], None]
) -> tuple[RawResponseMessage, StreamReader]:
    """Send a request whose body is still arriving; return the head of its answer, which may come before all has been sent.

    silence: seconds in which the upstream must take some of it; sent: called when it has all of it. Raises Failure where the
    client, or the upstream, holds it up, else what reading from the protocol raises.
    """
    sending = asyncio.ensure_future(_send(protocol, head, upload, silence))
    reading = asyncio.ensure_future(_answer(protocol))
    try:
        await asyncio.wait((sending, reading), return_when=asyncio.FIRST_COMPLETED)
        if sending.done():
            with suppress(ConnectionError):  # an upstream that has read enough answers, and closes
                sending.result()
                sent()
        else:
            protocol.force_close()  # it cannot be used again: the rest of the body is not sent
        return await reading
    finally:
        for task in (sending, reading):
            task.cancel()
        await asyncio.gather(sending, reading, return_exceptions=True)


async def _answer(protocol: ResponseHandler) -> tuple[RawResponseMessage, StreamReader]:
    """Return the head of the answer: not of an interim one, during which the body goes on."""
    for _ in range(_INTERIM):
        message, payload = await protocol.read()
        if message.code >= 200:
            return message, payload
    raise HttpProcessingError(message="too many interim answers")


async def _send(protocol: ResponseHandler, head: bytes, upload: Upload, silence: float) -> None:
    _write(protocol, head)
    chunked = upload.size is None
    async for piece in upload.pieces():
        if piece:
            _write(protocol, b"%x\r\n%b\r\n" % (len(piece), piece) if chunked else piece)
        try:
            async with asyncio.timeout(silence):
                await protocol._drain_helper()
        except TimeoutError:
            raise UpstreamTimeout(
                f"The upstream took nothing of the request for {silence:g} s.", code="upstream_idle_timeout"
            ) from None
    if chunked:
        _write(protocol, b"0\r\n\r\n")


def _write(protocol: ResponseHandler, data: bytes) -> None:
    if protocol.transport is None or protocol.transport.is_closing():
        raise ConnectionResetError
    protocol.transport.write(data)
