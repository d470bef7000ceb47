"""The listening socket: how many connections may be open, and what happens to those beyond.

Each connection is an open file, and so is each call upstream. A server that runs out of them can neither accept nor call,
and asyncio then writes a hundred tracebacks a second; so the bound on connections stays below what the system allows.
At the bound, a new connection takes the place of the oldest on which no request is under way: who holds connections open
without asking anything (slowloris, a pool grown too large) must not shut out who does ask.
"""

import asyncio
import errno
import logging
import os
import socket
import sys
import time
from collections.abc import Callable
from typing import Any, Final, cast

from aiohttp import web
from aiohttp.http_exceptions import BadHttpMethod, LineTooLong

from providers import codec
from providers.errors import BadRequest, Failure

from ..aiohttp_internals import ConnectionHandler, connections, settings
from ..answer import HEADERS
from ..throttle import Throttle
from . import systemd

try:
    import resource
except ImportError:  # Windows has no such limit
    resource = None  # type: ignore[assignment]

LOGGER: Final = logging.getLogger("modelserver")
BACKLOG: Final = 1024
_OWN_FILES: Final = 40  # of the process itself: the log, the loop, the database, certificates while they are read
_EVERY: Final = 1.0  # seconds between two log lines of one kind

# The system's error number → why the server cannot listen, and what to do.
_CANNOT_LISTEN: Final = {
    errno.EADDRINUSE: "the port is in use: stop what uses it (another ModelServer?), or choose another with --port or "
    "server.port",
    errno.EADDRNOTAVAIL: "this machine has no such address: write one of its own, or 0.0.0.0 for all (with keys)",
    errno.EACCES: "ports below 1024 are for root: choose another with --port or server.port, and let a proxy or the socket "
    "unit in ops/ listen on that one",
    errno.EAFNOSUPPORT: "this system has no IPv6: write an IPv4 address, such as 127.0.0.1",
}
# Exceptions of aiohttp's parser → what the client is told; the first that fits.
_BROKEN: Final = (
    (LineTooLong, "The URL or a header of this request is longer than 8 kB, or all of them are too long: send less."),
    (BadHttpMethod, "This is not HTTP/1.1: this port takes neither TLS (https://) nor HTTP/2 without it."),
    (BaseException, "The request is not valid HTTP."),
)
_REFUSAL: Final = (
    b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\nRetry-After: 1\r\nConnection: close\r\n"
    b"Content-Length: %d\r\n\r\n%b"
)
_BODY: Final = (
    b'{"error":{"message":"This server has as many connections open as it may have. Try again in a moment.",'
    b'"type":"server_error","param":null,"code":"overloaded"}}'
)


def listen(host: str, port: int) -> socket.socket:
    """The socket to serve on: the one systemd holds open for us, or our own. Raises OSError."""
    if (given := systemd.listener()) is not None:
        return given
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        return socket.create_server(address[:2], family=family, backlog=BACKLOG)
    except OSError as error:
        # create_server's own words would name the address once more.
        number = error.errno or 0
        reason = _CANNOT_LISTEN.get(number) or (os.strerror(number) if number > 0 else error.strerror or str(error))
        if isinstance(error, socket.gaierror):
            reason = (
                f"the name cannot be resolved ({error.strerror}): write an address of this machine, such as 127.0.0.1"
            )
        place = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        raise OSError(f"cannot listen on {place}: {reason}") from None


def most_connections(wanted: int) -> int:
    """How many connections of clients may be open: as configured, or what the limit of open files leaves.

    The soft limit is raised to the hard one first; half of the files are left for calls upstream.
    """
    if resource is None:
        return wanted
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
            soft = hard
        except (OSError, ValueError):
            pass
    if soft == resource.RLIM_INFINITY:
        return wanted
    return max(4, min(wanted, (soft - _OWN_FILES) // 2))


class RejectingProtocol(asyncio.Protocol):
    """One connection too many: told so, and closed once the client has read it."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        out = cast(asyncio.Transport, transport)  # uvloop's is none by inheritance
        out.write(_REFUSAL % (len(_BODY), _BODY))
        out.write_eof()  # close() with a request unread would be a reset, and the answer lost
        asyncio.get_running_loop().call_later(1.0, out.abort)

    def data_received(self, data: bytes) -> None:
        """What is asked does not matter."""


class ClientProtocol(ConnectionHandler):
    """The protocol of a connection, whose answer to broken HTTP is our error shape and quotes nothing of what was sent.

    And after each piece of a body that is read, aiohttp runs the parser again, on nothing: only one that was paused may
    hold something back.

    For Unread: taken is how many bytes the client had taken when it last looked, taken_at when that changed (loop time);
    0: nothing waited for it.
    """

    __slots__ = ("_was_paused", "taken", "taken_at")

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.taken, self.taken_at = 0, 0.0
        self._was_paused = False

    def pause_reading(self) -> None:
        super().pause_reading()
        self._was_paused = True

    def resume_reading(self, resume_parser: bool = True) -> None:
        if self._was_paused:
            super().resume_reading(resume_parser)

    def handle_error(
        self, request: web.BaseRequest, status: int = 500, exc: BaseException | None = None, message: str | None = None
    ) -> web.StreamResponse:
        if isinstance(exc, ConnectionError):
            raise exc  # the client left just when it was to be answered: nothing to log
        response = super().handle_error(request, status, exc, message)
        words = next((words for kind, words in _BROKEN if isinstance(exc, kind)), _BROKEN[-1][1])
        what = BadRequest(words, code="invalid_http") if status < 500 else Failure("This server made a mistake.")
        body = codec.encode(what.body())
        better = web.Response(status=status, body=body, content_type="application/json", headers=HEADERS)
        better.force_close()
        return better if isinstance(response, web.Response) else response


class ProtocolFactory:
    """Makes the protocol of each new connection: aiohttp's, or a refusal.

    refused: how many of these there were; replaced: idle connections that were closed for a new one.
    """

    def __init__(self, server: web.Server, most: int) -> None:
        self._server, self._most = server, most
        self._loop = asyncio.get_running_loop()
        self.refused = self.replaced = 0

    @property
    def open(self) -> int:
        """Connections that are open."""
        return len(connections(self._server))

    def __call__(self) -> asyncio.BaseProtocol:
        if self.open >= self._most and not self._make_room():
            self.refused += 1
            return RejectingProtocol()
        return ClientProtocol(self._server, loop=self._loop, **settings(self._server))

    def _make_room(self) -> bool:
        """Close the oldest idle connection; returns whether there was one."""
        for handler, transport in connections(self._server):  # the oldest first
            if handler.is_idle and not transport.is_closing():
                transport.close()
                self.replaced += 1
                return True
        return False


class Unread:
    """Called a few times a second; breaks each connection whose client has taken nothing of what waits for it for too long.

    TCP_USER_TIMEOUT would not do: Linux counts only what is sent and not acknowledged, and a client that does not read
    acknowledges every probe of its closed window. patience: seconds, as configured now.
    """

    def __init__(self, server: web.Server, patience: Callable[[], float]) -> None:
        self._server, self._patience = server, patience

    def __call__(self, now: float) -> None:
        patience = self._patience()
        for handler, transport in list(connections(self._server)):
            assert isinstance(handler, ClientProtocol)
            left = transport.get_write_buffer_size()
            if left == 0:
                handler.taken_at = 0.0
                continue
            taken = _acknowledged(transport) or -left
            if handler.taken_at == 0.0 or taken != handler.taken:
                handler.taken, handler.taken_at = taken, now
            elif now - handler.taken_at >= patience:
                transport.abort()


def _acknowledged(transport: asyncio.Transport) -> int:
    """Return how many bytes the peer has acknowledged (tcp_info.tcpi_bytes_acked, tcp(7)); 0 where that is not known.

    The system takes bytes from us in lumps of megabytes, which a client that reads slowly makes room for once in a while.
    """
    try:
        info = transport.get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 128)
    except (AttributeError, OSError):
        return 0
    return int.from_bytes(info[120:128], sys.byteorder)


def throttled_exception_handler(
    now: Callable[[], float] = time.monotonic,
) -> Callable[[asyncio.AbstractEventLoop, dict[str, Any]], None]:
    """Return an exception handler for the loop that says each thing once a second, however often it happens."""
    throttle = Throttle(1, _EVERY)

    def handler(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        message = str(context.get("message") or "an error in the event loop")
        error = context.get("exception")
        if not throttle.allows(message, now()):
            return
        if isinstance(error, OSError):
            LOGGER.error("%s: %s", message, error)
        else:
            LOGGER.error("%s", message, exc_info=error)

    return handler
