"""Whole answers of this server: head and body are sent in one write."""

import time
from email.utils import formatdate
from functools import lru_cache
from http import HTTPStatus
from typing import Any, Final

from aiohttp import ClientConnectionResetError, HttpVersion, HttpVersion10, HttpVersion11, web

# Of every answer to a request, unless it has its own: not to be kept, guessed about, framed or followed with a referrer.
HEADERS: Final = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Server": "ModelServer",
}
_ALWAYS: Final = "\r\n".join(map(": ".join, HEADERS.items()))
_STATUSES: Final = frozenset(HTTPStatus)
_JOINED: Final = 64 * 2**10  # bytes of a body that is copied behind its head


class Answer(web.Response):
    """An answer of bytes, with HEADERS among its headers: what aiohttp asks of a response, without what is not used here.

    headers: their names are written as they are. keep_alive: whether another request may follow; known once it is prepared.
    """

    status = 200
    headers: Any = None
    body = b""
    keep_alive: bool | None = None

    def __init__(self, body: bytes, headers: dict[str, str], status: int = 200) -> None:
        """headers: it is changed."""
        self.body, self.headers, self.status = body, headers, status
        self._for: web.Request | None = None  # the request it answers, once it is prepared
        self._written = False

    @property
    def prepared(self) -> bool:
        return self._for is not None

    def force_close(self) -> None:
        self.keep_alive = False

    async def prepare(self, request: web.BaseRequest) -> None:
        """Complete the headers, as aiohttp's responses do."""
        if self._for is None and isinstance(request, web.Request):
            await request.app.on_response_prepare.send(request, self)
            self.begin(request)

    def begin(self, request: web.Request) -> None:
        """Note which request it answers: its headers are complete."""
        self._for = request
        if self.keep_alive is None:
            self.keep_alive = request.keep_alive

    async def write_eof(self, data: bytes = b"") -> None:
        """Send the answer, once. Waits while a client takes less than it is sent. Raises ConnectionError when it has left."""
        request = self._for
        if request is None or self._written:
            return
        self._written = True
        transport = request.transport
        if transport is None or transport.is_closing():
            raise ClientConnectionResetError("the client has left")
        head = self._head(request)
        body = self.body if request.method != "HEAD" else b""
        if len(body) <= _JOINED:
            transport.write(head + body)
        else:
            transport.write(head)
            transport.write(body)
        if request.protocol.writing_paused:
            await request.writer.drain()

    def _head(self, request: web.Request) -> bytes:
        """Return the status line and the headers. Raises ValueError for a line end in a header."""
        version, headers = request.version, self.headers
        if "Connection" not in headers:
            if self.keep_alive:
                if version == HttpVersion10:
                    headers["Connection"] = "keep-alive"
            elif version == HttpVersion11:
                headers["Connection"] = "close"
        values = "".join(headers.values())
        if "\n" in values or "\r" in values:
            raise ValueError("a line end in a header")
        lines = [
            _start(version, self.status),
            *map(": ".join, headers.items()),
            f"{_ALWAYS}\r\nContent-Length: {len(self.body)}\r\nDate: {_date(int(time.time()))}\r\n\r\n",
        ]
        return "\r\n".join(lines).encode()


@lru_cache(64)
def _start(version: HttpVersion, status: int) -> str:
    """Return the status line of an answer."""
    phrase = HTTPStatus(status).phrase if status in _STATUSES else ""
    return f"HTTP/{version.major}.{version.minor} {status} {phrase}"


@lru_cache(4)
def _date(second: int) -> str:
    """Return a Unix time as an HTTP date."""
    return formatdate(second, usegmt=True)
