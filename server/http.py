"""HTTP to upstreams: one POST over a pooled connection, and its answer read in bounded pieces.

This stands on aiohttp's connector (pool, DNS, happy eyeballs, TLS) and its response parser, but not on ClientSession:
cookies, redirects, tracing and automatic headers are nothing a gateway may use, and leaving them out more than halves the
cost of a request (measured: 139 → 63 µs for the whole passage through the process). Both classes are aiohttp's own layer
below ClientSession; requirements.txt pins the exact version and tests/test_http.py covers what is used of it.
"""

import asyncio
import ssl
from collections.abc import Mapping
from functools import partial
from itertools import chain
from time import monotonic
from typing import NamedTuple, Protocol

from aiohttp import ClientRequest, ClientTimeout, TCPConnector, client_exceptions
from aiohttp.client_proto import ResponseHandler
from aiohttp.connector import Connection
from aiohttp.helpers import _EXC_SENTINEL, set_exception
from aiohttp.http import RawResponseMessage
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.streams import StreamReader
from yarl import URL

from gateway.schema import Timeouts
from providers.contract import Reply
from providers.errors import BadOutput, Failure, Truncated, UpstreamFailed, UpstreamTimeout

_CLOSED = (client_exceptions.ServerDisconnectedError, client_exceptions.ClientOSError, ConnectionResetError)


class Answer(Protocol):
    """What came back: status, headers, and the body as it arrives."""

    status: int
    headers: Mapping[str, str]

    async def read(self) -> bytes:
        """The next piece of the body, b"" at its end. Raises Failure when the connection fails or falls silent."""

    def close(self) -> None:
        """Give the connection back when the body was read to its end, else close it at once."""


class Dial(NamedTuple):
    """Where an upstream is: what the connector needs, and the head of a request without its headers."""

    request: ClientRequest
    head: str


class _Handler(ResponseHandler):
    """aiohttp tells of broken framing to who waits for a head, not to who reads a body: that one would wait for ever."""

    def set_exception(self, exc: BaseException, exc_cause: BaseException = _EXC_SENTINEL) -> None:
        super().set_exception(exc, exc_cause)
        payload = self._payload
        if payload is not None and not payload.is_eof() and payload.exception() is None:
            set_exception(payload, exc, exc_cause)


class Upstreams:
    """Connections to upstreams. timeouts: of the configuration. Lives as long as the configuration does."""

    def __init__(self, timeouts: Timeouts, agent: str) -> None:
        self._timeouts = timeouts
        self._agent = agent
        self._connector = TCPConnector(limit=0, ttl_dns_cache=60, keepalive_timeout=15)
        self._connector._factory = partial(_Handler, loop=asyncio.get_running_loop())  # type: ignore[assignment]
        self._connect = ClientTimeout(total=None, connect=timeouts.connect)
        self._dials: dict[str, Dial] = {}

    async def aclose(self) -> None:
        await self._connector.close()

    async def post(self, url: str, headers: Mapping[str, str], body: bytes) -> "Response":
        """Send one POST of JSON and wait for the answer's head.

        A pooled connection that the upstream closed while it was idle is replaced once: nothing had been answered on it.
        Raises Failure (502 or 504) when no answer comes.
        """
        dial = self._dials.get(url) or self._dial(url)
        extra = "".join([f"{name}: {value}\r\n" for name, value in headers.items()])
        head = f"{dial.head}{extra}Content-Length: {len(body)}\r\n\r\n".encode("ascii")
        retried = False
        while True:
            try:
                connection = await self._connector.connect(dial.request, [], self._connect)
            except Exception as error:
                raise _unreachable(error) from error
            protocol = connection.protocol
            assert protocol is not None and protocol.transport is not None
            reused = getattr(protocol, "_modelserver_used", False)
            protocol._modelserver_used = True  # type: ignore[attr-defined]
            try:
                protocol.set_response_params(read_until_eof=True, read_timeout=self._timeouts.first_byte)
                protocol.start_timeout()
                protocol.transport.writelines([head, body])
                message, payload = await protocol.read()
                while 100 <= message.code < 200:
                    retried = True  # it was being answered
                    message, payload = await protocol.read()
            except BaseException as error:
                protocol.abort()
                connection.close()
                begun = not isinstance(getattr(error, "message", ""), str)  # it then holds the head received so far
                if reused and not retried and not begun and isinstance(error, _CLOSED):
                    retried = True
                    continue
                if isinstance(error, Exception):
                    raise _broken(error, self._timeouts, answered=False) from error
                raise
            return Response(connection, protocol, message, payload, self._timeouts)

    def _dial(self, url: str) -> Dial:
        where = URL(url, encoded=True)
        request = ClientRequest("POST", where, loop=asyncio.get_running_loop())
        host = where.host_subcomponent or ""
        host = host if where.is_default_port() else f"{host}:{where.port}"
        dial = Dial(
            request,
            f"POST {where.raw_path_qs} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: {self._agent}\r\n"
            # identity: a stream must not wait in a compressor, and no answer may unfold into gigabytes.
            "Accept-Encoding: identity\r\nAccept: */*\r\nContent-Type: application/json\r\n",
        )
        if len(self._dials) >= 1024:  # paths hold model ids, which clients may invent behind a pattern
            self._dials.clear()
        self._dials[url] = dial
        return dial


class Response:
    """An answer on a connection of the pool."""

    def __init__(
        self,
        connection: Connection,
        protocol: ResponseHandler,
        message: RawResponseMessage,
        payload: StreamReader,
        timeouts: Timeouts,
    ) -> None:
        self._connection, self._protocol, self._payload, self._timeouts = connection, protocol, payload, timeouts
        self.status: int = message.code
        self.headers: Mapping[str, str] = message.headers
        self._begun = self._ended = False
        self._deadline = monotonic() + timeouts.total

    async def read(self) -> bytes:
        try:
            data = await self._payload.readany()
        except Exception as error:
            silent = isinstance(error, TimeoutError) and not self._begun  # a head is not yet an answer
            raise _broken(error, self._timeouts, answered=not silent) from error
        if data:
            if monotonic() > self._deadline:  # silence has its own limit, so it is enough to look at each read
                raise UpstreamTimeout(f"The upstream was not done within {self._timeouts.total:g} s.")
            self._begun = True
            self._protocol.read_timeout = self._timeouts.between_bytes
        else:
            self._ended = True
        return data

    def close(self) -> None:
        if self._ended or self._payload.is_eof():
            self._connection.release()
        else:
            self._protocol.abort()  # not close(): that would first send what is still buffered
            self._connection.close()


def _unreachable(error: Exception) -> Failure:
    """Why no connection came about, without naming hosts or addresses."""
    match error:
        case TimeoutError():
            return UpstreamTimeout("The upstream did not accept a connection in time.", code="upstream_connect_timeout")
        case client_exceptions.ClientConnectorDNSError():
            return UpstreamFailed("The upstream's host name could not be resolved.", code="upstream_dns")
        case client_exceptions.ClientSSLError() | ssl.SSLError() | client_exceptions.ClientConnectorCertificateError():
            return UpstreamFailed("No trusted TLS connection to the upstream is possible.", code="upstream_tls")
    return UpstreamFailed("The upstream cannot be reached.", code="upstream_connect")


def _broken(error: Exception, timeouts: Timeouts, answered: bool) -> Failure:
    """What a failure on an open connection means. answered: whether the head of the answer had arrived."""
    match error:
        case TimeoutError() if answered:
            return UpstreamTimeout(
                f"The upstream fell silent for {timeouts.between_bytes:g} s.", code="upstream_idle_timeout"
            )
        case TimeoutError():
            return UpstreamTimeout(
                f"The upstream did not answer within {timeouts.first_byte:g} s.", code="upstream_first_byte_timeout"
            )
        case HttpProcessingError():
            return UpstreamFailed("The upstream's answer is not valid HTTP.", code="upstream_protocol")
    if answered:
        return Truncated()
    return UpstreamFailed("The upstream closed the connection without an answer.")


async def read_whole(answer: Answer, limit: int) -> bytes:
    """The rest of an answer's body. Raises BadOutput when it is longer than `limit` bytes."""
    pieces: list[bytes] = []
    size = 0
    while piece := await answer.read():
        size += len(piece)
        if size > limit:
            raise BadOutput(f"The upstream's answer is larger than {limit} bytes.", code="upstream_too_large")
        pieces.append(piece)
    return b"".join(pieces)


class Played:
    """An answer that is made here (contract.Reply), played with its delays as if it came over a socket."""

    def __init__(self, reply: Reply, timeouts: Timeouts) -> None:
        self.status, self.headers = reply.status, reply.headers
        self._steps, self._cut, self._timeouts = iter(reply.steps), reply.cut, timeouts
        self._patience = timeouts.first_byte

    async def read(self) -> bytes:
        pieces: list[bytes] = []
        for step in self._steps:
            if step.delay and pieces:
                self._steps = chain((step,), self._steps)
                break
            if step.delay:
                await asyncio.sleep(min(step.delay, self._patience))
                if step.delay > self._patience:
                    raise _broken(TimeoutError(), self._timeouts, answered=self._patience != self._timeouts.first_byte)
            if step.data:
                pieces.append(step.data)
                self._patience = self._timeouts.between_bytes
        if not pieces and self._cut:
            raise Truncated
        return b"".join(pieces)

    def close(self) -> None:
        """Nothing is open."""
