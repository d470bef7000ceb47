"""Request bodies that go upstream while they arrive, so that none is ever held whole."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Protocol

from providers.errors import UpstreamTimeout


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


async def send_pieces(
    transport: asyncio.Transport, drained: Callable[[], Awaitable[None]], head: bytes, upload: Upload, silence: float
) -> None:
    """Send a request whose body is still arriving. drained: waits until the socket takes more; silence: seconds for that.

    Raises ConnectionResetError where the upstream takes no more, Failure where it, or the client, holds the body up.
    """
    _write(transport, head)
    chunked = upload.size is None
    async for piece in upload.pieces():
        if piece:
            _write(transport, b"%x\r\n%b\r\n" % (len(piece), piece) if chunked else piece)
        try:
            async with asyncio.timeout(silence):
                await drained()
        except TimeoutError:
            raise UpstreamTimeout(
                f"The upstream took nothing of the request for {silence:g} s.", code="upstream_idle_timeout"
            ) from None
    if chunked:
        _write(transport, b"0\r\n\r\n")


def _write(transport: asyncio.Transport, data: bytes) -> None:
    if transport.is_closing():
        raise ConnectionResetError
    transport.write(data)
