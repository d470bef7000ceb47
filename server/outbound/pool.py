"""HTTP to upstreams: one POST over a pooled connection, and its answer read in bounded pieces.

This stands on aiohttp's connector (pool, DNS, happy eyeballs, TLS) and its response parser, but not on ClientSession:
cookies, redirects, tracing and automatic headers are nothing a gateway may use, and leaving them out more than halves the
cost of a request (measured: 139 → 63 µs for the whole passage through the process). Both classes are aiohttp's own layer
below ClientSession; requirements.txt pins the exact version and tests/test_http.py covers what is used of it.
"""

import asyncio
import socket
import ssl
from base64 import b64encode
from collections.abc import Callable, Mapping
from functools import partial
from itertools import chain
from math import inf
from typing import Final, NamedTuple, Protocol

from aiohttp import ClientRequest, ClientTimeout, TCPConnector, client_exceptions
from aiohttp.abc import AbstractResolver
from aiohttp.client_proto import ResponseHandler
from aiohttp.connector import Connection
from aiohttp.helpers import _EXC_SENTINEL, set_exception
from aiohttp.http import RawResponseMessage
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.streams import StreamReader
from yarl import URL

from gateway.config_schema import ProviderConfig, Timeouts
from providers import density
from providers.contract import CannedReply
from providers.errors import Failure, Overloaded, UpstreamBadOutput, UpstreamError, UpstreamTimeout, UpstreamTruncated

from .resolver import Resolver
from .upload import Upload, framing, send_upload

PIECE: Final = 64 * 1024  # bytes that one read returns at most: the loop must get its turn between two
_INTERIM = 16  # 1xx answers before the real one: more say that no answer is coming
_LOOKUPS = 4  # host names looked up at once: a provider has one, and aiohttp asks for each only once at a time
_LINGER = 0.5  # seconds for the end of a body after its last event
NO_PROXIES: Mapping[str, str] = {}
_CLOSED = (client_exceptions.ServerDisconnectedError, client_exceptions.ClientOSError, ConnectionResetError)


class UpstreamResponse(Protocol):
    """What came back: status, headers, and the body as it arrives."""

    status: int
    headers: Mapping[str, str]

    async def read(self, patience: float = 0.0) -> bytes:
        """Return the next piece of the body, b"" at its end. A piece of PIECE bytes says that more is waiting.

        patience: seconds of silence allowed after the first piece; 0: timeouts.between_bytes. The first piece must come
        in what the head has left of its time. Raises Failure when the connection fails or falls silent.
        """

    def close(self) -> None:
        """Give the connection back when the body was read to its end, else close it at once."""

    def finish(self) -> None:
        """Give the connection back after a complete answer. What ends the body may still be on its way."""


class RequestTemplate(NamedTuple):
    """Where an upstream is: what the connector needs, and the head of a request without its headers."""

    request: ClientRequest
    head: str


class Proxy(NamedTuple):
    """An HTTP proxy: its address without a password, and the headers that it, and nobody else, is sent."""

    url: URL
    headers: dict[str, str]

    @classmethod
    def of(cls, address: str) -> "Proxy":
        url = URL(address)
        if url.user is None:
            return cls(url, {})
        pair = f"{url.user}:{url.password or ''}".encode()
        return cls(url.with_user(None), {"Proxy-Authorization": f"Basic {b64encode(pair).decode()}"})


class ResponseProtocol(ResponseHandler):
    """aiohttp's protocol, with four changes. used: a call has been made on it; awaits_head: the next bytes begin a head.

    aiohttp tells of broken framing to who waits for a head, not to who reads a body: that one would wait for ever. Its read
    timeout starts anew with every byte, so that who sends a head byte by byte is never late: _Timer replaces it. The queue
    of heads has a bound: what arrives in one turn of the loop would be heads by the hundred thousand. And after each piece
    of a body that is read, aiohttp runs the parser again, on nothing: only one that was paused may hold something back.
    """

    used = awaits_head = False
    _paused_parser: object = None

    def __init__(self, loop: asyncio.AbstractEventLoop, shortest: float) -> None:
        super().__init__(loop)
        self.timer = _Timer(loop, shortest, self.set_exception)

    def connection_lost(self, exc: BaseException | None) -> None:
        super().connection_lost(exc)
        self.timer.cancel()

    def _reschedule_timeout(self) -> None:
        if self.awaits_head:
            self.awaits_head = False
            self.timer.hurry()

    def pause_reading(self) -> None:
        super().pause_reading()
        self._paused_parser = self._parser

    def resume_reading(self, resume_parser: bool = True) -> None:
        if self._paused_parser is self._parser:  # it has one parser for each answer
            super().resume_reading(resume_parser)

    def feed_data(self, data: tuple[RawResponseMessage, StreamReader], size: int = 0) -> None:
        if len(self._buffer) <= _INTERIM:
            super().feed_data(data, size)
        elif self.transport is not None:
            self.transport.abort()  # post() has more than enough of them to refuse the answer

    def set_exception(self, exc: BaseException, exc_cause: BaseException = _EXC_SENTINEL) -> None:
        super().set_exception(exc, exc_cause)
        payload = self._payload
        if payload is not None and not payload.is_eof() and payload.exception() is None:
            set_exception(payload, exc, exc_cause)


class _Timer:
    """Ends a call that is silent for too long. A wait makes no timer object: it moves `due`, and the one timer of its
    connection follows.

    due: loop time, inf while nothing is waited for; end: called with a TimeoutError.
    """

    __slots__ = ("_at", "_end", "_handle", "_loop", "_shortest", "due")

    def __init__(self, loop: asyncio.AbstractEventLoop, shortest: float, end: Callable[[BaseException], None]) -> None:
        """shortest: seconds of the shortest wait; the timer looks that early, so that it need not be made anew."""
        self._loop, self._shortest, self._end = loop, shortest, end
        self._handle: asyncio.TimerHandle | None = None
        self._at = self.due = inf

    def wait(self, seconds: float) -> None:
        """A wait begins that may last this long."""
        now = self._loop.time()
        self.due = due = now + seconds
        if due < self._at:
            self._start(min(due, now + self._shortest))

    def hurry(self) -> None:
        """What is waited for has begun to come: it must be here in the shortest time, or when it had to be anyway."""
        due = self._loop.time() + self._shortest
        if due < self.due:
            self.due = due
            if due < self._at:
                self._start(due)

    def cancel(self) -> None:
        if self._handle is not None:
            self._handle.cancel()
        self._at, self._handle, self.due = inf, None, inf

    def _start(self, at: float) -> None:
        if self._handle is not None:
            self._handle.cancel()
        self._at, self._handle = at, self._loop.call_at(at, self._check)

    def _check(self) -> None:
        if self.due == inf:
            self._at, self._handle = inf, None
        elif self.due > self._loop.time() + 0.001:  # uvloop counts in milliseconds
            self._start(self.due)
        else:
            self._end(TimeoutError())


class ConnectionPool:
    """One provider's connections: its own, so that a provider that hangs takes nothing from another.

    limit: calls at once; tls: what certificates are trusted; stale: called when a pooled connection had to be replaced;
    resolver: of host names, its own by default; proxy: the HTTP proxy to go through, "": none.
    """

    def __init__(
        self,
        timeouts: Timeouts,
        agent: str,
        limit: int,
        tls: ssl.SSLContext | bool,
        stale: Callable[[], None],
        resolver: AbstractResolver | None = None,
        proxy: str = "",
    ) -> None:
        self._proxy = Proxy.of(proxy) if proxy else None
        self._timeouts = timeouts
        self._agent = agent
        self._limit = limit
        self._stale = stale
        self._connector = TCPConnector(
            limit=0,
            resolver=resolver or Resolver(_LOOKUPS, keep=_LOOKUPS),
            ttl_dns_cache=60,
            keepalive_timeout=15,
            ssl=tls,
        )
        shortest = min(timeouts.first_byte, timeouts.between_bytes)
        self._connector._factory = partial(ResponseProtocol, asyncio.get_running_loop(), shortest)  # type: ignore[assignment]
        self._connect = ClientTimeout(total=None, connect=timeouts.connect)
        self._dials: dict[tuple[str, str], RequestTemplate] = {}
        self._ending: set[asyncio.Task[None]] = set()
        self.calls = 0  # under way

    async def aclose(self) -> None:
        for task in self._ending:
            task.cancel()
        await asyncio.gather(*self._ending, return_exceptions=True)
        await self._connector.close()

    async def request(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes | Upload, first_byte: float
    ) -> "PooledResponse":
        """Send one request and wait for the answer's head. body: JSON, unless headers have another Content-Type; first_byte:
        seconds for the head and the first piece, from when the body has been sent.

        A pooled connection that the upstream closed while it was idle is replaced once: nothing had been answered on it.
        Raises Failure (502, 503 or 504) when no answer comes.
        """
        if self.calls >= self._limit:
            raise Overloaded(
                "This server has as many calls under way at this model's provider as it may have.",
                code="provider_busy",
                retry_after=1,
            )
        dial = self._dials.get((method, url)) or self._dial(method, url)
        extra = "".join([f"{name}: {value}\r\n" for name, value in headers.items()])
        kind = "" if "Content-Type" in headers else "Content-Type: application/json\r\n"
        head = f"{dial.head}{kind}{extra}{framing(body)}\r\n\r\n".encode("ascii")
        self.calls += 1
        try:
            retried = False
            while True:
                try:
                    connection = await self._connector.connect(dial.request, [], self._connect)
                except Exception as error:
                    raise _connect_failure(error) from error
                protocol = connection.protocol
                assert isinstance(protocol, ResponseProtocol) and protocol.transport is not None
                reused, timer = protocol.used, protocol.timer
                if not reused:
                    protocol.used = True
                    _watch_over(protocol.transport)
                timer.wait(first_byte)
                due = timer.due
                try:
                    protocol.set_response_params(read_until_eof=True)
                    protocol.awaits_head = True
                    if isinstance(body, bytes):
                        protocol.transport.writelines([head, body])
                        message, payload = await protocol.read()
                    else:
                        timer.due = inf
                        sent = partial(timer.wait, first_byte)
                        message, payload = await send_upload(protocol, head, body, self.between_bytes, sent)
                        sent()
                        due = timer.due
                    if 100 <= message.code < 200:
                        retried = True  # it was being answered
                        message, payload = await _behind_interim(protocol, due)
                    timer.due = due
                except BaseException as error:
                    timer.due = inf
                    protocol.abort()
                    connection.close()
                    if isinstance(error, Failure):  # of what the client was to send
                        raise
                    begun = not isinstance(getattr(error, "message", ""), str)  # it then holds the head received so far
                    again = isinstance(body, bytes) or body.repeatable
                    if reused and again and not retried and not begun and isinstance(error, _CLOSED):
                        retried = True
                        self._stale()
                        continue
                    if isinstance(error, Exception):
                        raise _failure_before_body(error, first_byte) from error
                    raise
                return PooledResponse(self, connection, protocol, message, payload, first_byte)
        except BaseException:
            self.calls -= 1
            raise

    def release(self, connection: Connection) -> None:
        """The answer on this connection was read to its end, or the connection is closed."""
        self.calls -= 1
        connection.release()

    def linger(self, connection: Connection, protocol: ResponseHandler, payload: StreamReader) -> None:
        """Give the connection back once its body has ended, or close it when that takes too long. The call is over."""
        self.calls -= 1
        task = asyncio.get_running_loop().create_task(_ending(connection, protocol, payload))
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)

    @property
    def between_bytes(self) -> float:
        return self._timeouts.between_bytes

    def _dial(self, method: str, url: str) -> RequestTemplate:
        where, proxy = URL(url, encoded=True), self._proxy
        request = ClientRequest(
            method,
            where,
            loop=asyncio.get_running_loop(),
            proxy=proxy and proxy.url,
            # With its Host: aiohttp would add it, and by that change the key under which it keeps the connection.
            proxy_headers=proxy and {**proxy.headers, "Host": _host(where)},
        )
        host = _host(where)
        path, extra = where.raw_path_qs, ""
        if proxy and where.scheme == "http":  # no tunnel: the proxy reads this request
            path = f"http://{host}{path}"
            extra = "".join([f"{name}: {value}\r\n" for name, value in proxy.headers.items()])
        dial = RequestTemplate(
            request,
            f"{method} {path} HTTP/1.1\r\nHost: {host}\r\n{extra}User-Agent: {self._agent}\r\n"
            # identity: a stream must not wait in a compressor, and no answer may unfold into gigabytes.
            "Accept-Encoding: identity\r\nAccept: */*\r\n",
        )
        if len(self._dials) >= 1024:  # paths hold model ids, which clients may invent behind a pattern
            self._dials.clear()
        self._dials[method, url] = dial
        return dial


class ConnectionPools:
    """The pools of all providers of one configuration. They are closed with it."""

    def __init__(
        self,
        providers: Mapping[str, ProviderConfig],
        timeouts: Timeouts,
        agent: str,
        proxies: Mapping[str, str] = NO_PROXIES,
    ) -> None:
        """proxies: provider → the address of its proxy.

        Raises OSError when a provider's `ca_file` cannot be read or holds no certificates.
        """
        self.stale = 0  # pooled connections that were dead and had to be replaced

        def stale() -> None:
            self.stale += 1

        self._pools = {
            name: ConnectionPool(
                timeouts, agent, each.concurrency, ssl_context(each.ca_file), stale, proxy=proxies.get(name, "")
            )
            for name, each in providers.items()
        }

    def of(self, provider: str) -> ConnectionPool:
        return self._pools[provider]

    def calls(self) -> dict[str, int]:
        """Provider → calls under way."""
        return {name: pool.calls for name, pool in self._pools.items()}

    async def aclose(self) -> None:
        for pool in self._pools.values():
            await pool.aclose()


def ssl_context(ca_file: str) -> ssl.SSLContext | bool:
    """What `ssl=` takes. True: the certificates the system trusts. Verification cannot be turned off. Raises OSError."""
    if not ca_file:
        return True
    try:
        return ssl.create_default_context(cafile=ca_file)
    except OSError as error:
        raise OSError(f"ca_file {ca_file}: {error.strerror or 'holds no certificates'}") from None


class PooledResponse:
    """An answer on a connection of the pool. read_whole and chunks both end with close()."""

    def __init__(
        self,
        pool: ConnectionPool,
        connection: Connection,
        protocol: ResponseProtocol,
        message: RawResponseMessage,
        payload: StreamReader,
        first_byte: float,
    ) -> None:
        self._pool, self._connection, self._protocol, self._payload = pool, connection, protocol, payload
        self._patience, self._timer = first_byte, protocol.timer
        self.status: int = message.code
        self.headers: Mapping[str, str] = message.headers
        self._begun = self._ended = self._closed = False

    async def read(self, patience: float = 0.0) -> bytes:
        payload, timer = self._payload, self._timer
        try:
            if payload._buffer:  # it counts even where the connection broke since: payload.read() would raise at once
                data = payload._read_nowait(-1 if payload._size <= PIECE else PIECE)
            elif payload._eof and payload._exception is None:
                data = b""
            else:
                if self._begun:
                    self._patience = patience or self._pool.between_bytes
                    timer.wait(self._patience)
                data = await payload.read(PIECE)
        except Exception as error:
            if self._begun:
                raise _failure_in_body(error, self._patience) from error
            raise _failure_before_body(error, self._patience) from error  # a head is not yet an answer
        timer.due = inf  # from here on the upstream waits for us
        if data:
            self._begun = True
        else:
            self._ended = True
        return data

    def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        self._timer.due = inf
        if not (self._ended or self._payload.is_eof()):
            self._protocol.abort()  # not close(): that would first send what is still buffered
            self._connection.close()
        self._pool.release(self._connection)

    def finish(self) -> None:
        if self._closed or self._ended or self._payload.is_eof():
            self.close()
            return
        self._closed = True
        self._pool.linger(self._connection, self._protocol, self._payload)


async def _ending(connection: Connection, protocol: ResponseHandler, payload: StreamReader) -> None:
    """Wait for the end of a body whose answer is complete: many hosts send the last chunk in a packet of its own.

    Without it the connection could not be used again, and the next request would pay for a new one.
    """
    try:
        async with asyncio.timeout(_LINGER):
            more = await payload.readany()
        over = not more and payload.is_eof()
    except (Exception, asyncio.CancelledError):
        over = False
    if not over:
        protocol.abort()
        connection.close()
    connection.release()


def _host(url: URL) -> str:
    """Return the value of a Host header."""
    host = url.host_subcomponent or ""
    return host if url.is_default_port() else f"{host}:{url.port}"


async def _behind_interim(protocol: ResponseProtocol, due: float) -> tuple[RawResponseMessage, StreamReader]:
    """Read on until the head of the real answer. due: when that must be here."""
    for _ in range(_INTERIM):
        protocol.timer.due, protocol.awaits_head = due, True
        message, payload = await protocol.read()
        if not 100 <= message.code < 200:
            return message, payload
    raise HttpProcessingError(message="too many interim answers")


def _connect_failure(error: Exception) -> Failure:
    """Why no connection came about, without naming hosts or addresses. The request was surely not accepted."""
    failure: Failure
    match error:
        case TimeoutError():
            failure = UpstreamTimeout(
                "The upstream did not accept a connection in time.", code="upstream_connect_timeout"
            )
        case client_exceptions.ClientConnectorDNSError():
            failure = UpstreamError("The upstream's host name could not be resolved.", code="upstream_dns")
        case client_exceptions.ClientSSLError() | ssl.SSLError() | client_exceptions.ClientConnectorCertificateError():
            failure = UpstreamError("No trusted TLS connection to the upstream is possible.", code="upstream_tls")
        case client_exceptions.ClientHttpProxyError():
            failure = UpstreamError(
                f"The proxy before the upstream refused the connection (HTTP status {error.status}). Tell the operator of "
                "this server.",
                code="upstream_connect",
            )
        case client_exceptions.ClientProxyConnectionError():
            failure = UpstreamError("The proxy before the upstream cannot be reached.", code="upstream_connect")
        case _:
            failure = UpstreamError("The upstream cannot be reached.", code="upstream_connect")
    failure.not_sent = True
    return failure


def _failure_before_body(error: Exception, patience: float) -> Failure:
    """What a failure before the first byte of an answer means. The work may be under way, and paid."""
    failure: Failure
    match error:
        case TimeoutError():
            failure = UpstreamTimeout(
                f"The upstream did not answer within {patience:g} s.", code="upstream_first_byte_timeout"
            )
        case HttpProcessingError():
            failure = UpstreamError("The upstream's answer is not valid HTTP.", code="upstream_protocol")
        case client_exceptions.ClientPayloadError():
            failure = UpstreamTruncated()
        case _:
            failure = UpstreamError("The upstream closed the connection without an answer.")
    failure.should_retry = False
    return failure


def _failure_in_body(error: Exception, patience: float) -> Failure:
    """What a failure in the middle of an answer means."""
    failure: Failure
    match error:
        case TimeoutError():
            failure = UpstreamTimeout(f"The upstream fell silent for {patience:g} s.", code="upstream_idle_timeout")
        case HttpProcessingError():
            failure = UpstreamError("The upstream's answer is not valid HTTP.", code="upstream_protocol")
        case _:
            failure = UpstreamTruncated()
    failure.should_retry = False
    return failure


def _watch_over(transport: asyncio.BaseTransport) -> None:
    """Let the kernel notice in two minutes that the machine at the other end is gone: a whole answer may take an hour."""
    connected = transport.get_extra_info("socket")
    if connected is None or connected.family not in (socket.AF_INET, socket.AF_INET6):
        return
    connected.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in (("TCP_KEEPIDLE", 60), ("TCP_KEEPINTVL", 15), ("TCP_KEEPCNT", 4)):
        if hasattr(socket, name):
            connected.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)


async def read_all(
    answer: UpstreamResponse, limit: int, start: bytes = b"", tail: float = 0.0
) -> tuple[bytes, Failure | None]:
    """Read the rest of a body. Returns `start`, which was read before, with what came, and what kept the rest from coming.

    More than `limit` bytes are not read. tail: seconds that the end of the body may take once the JSON in it is whole; 0: as
    long as any silence.
    """
    pieces, size, whole = [start], len(start), density.Whole()
    try:
        patience = tail if tail and whole.add(start) else 0.0
        while size <= limit and (piece := await answer.read(patience)):
            size += len(piece)
            pieces.append(piece)
            patience = tail if tail and whole.add(piece) else 0.0
    except Failure as failure:
        return b"".join(pieces), failure
    if size <= limit:
        return b"".join(pieces), None
    return b"".join(pieces)[:limit], UpstreamBadOutput(
        f"The upstream's answer is larger than {limit} bytes.", code="upstream_too_large"
    )


async def read_document(answer: UpstreamResponse, limit: int) -> bytes:
    """The rest of an answer's body. Raises Failure when it breaks off or is longer than `limit` bytes."""
    body, failure = await read_all(answer, limit)
    if failure is not None:
        raise failure
    return body


class SimulatedResponse:
    """An answer that is made here (contract.Reply), played with its delays as if it came over a socket."""

    def __init__(self, reply: CannedReply, timeouts: Timeouts, first_byte: float) -> None:
        self.status, self.headers = reply.status, reply.headers
        self._steps, self._cut, self._timeouts = iter(reply.steps), reply.cut, timeouts
        self._patience, self._begun = first_byte, False

    async def read(self, patience: float = 0.0) -> bytes:
        pieces: list[bytes] = []
        if self._begun:
            self._patience = patience or self._timeouts.between_bytes
        for step in self._steps:
            if step.delay and pieces:
                self._steps = chain((step,), self._steps)
                break
            if step.delay:
                await asyncio.sleep(min(step.delay, self._patience))
                if step.delay > self._patience:
                    raise (_failure_in_body if self._begun else _failure_before_body)(TimeoutError(), self._patience)
            if step.data:
                pieces.append(step.data)
                self._begun = True
        if not pieces and self._cut:
            raise UpstreamTruncated
        return b"".join(pieces)

    def finish(self) -> None:
        self.close()

    def close(self) -> None:
        """Nothing is open."""
