"""HTTP to upstreams: one request over a pooled connection, and its answer read in bounded pieces.

There are no cookies, redirects or automatic headers: nothing a gateway may use. Each provider has connections of its own.

    ConnectionPools → ConnectionPool (one per provider) → Dialer, idle Wires
                                    └ PooledResponse (one per call) → Wire
"""

import asyncio
import ssl
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Final, NamedTuple

from yarl import URL

from gateway.config_schema import ProviderConfig, Timeouts
from providers.bounded_dict import BoundedDict
from providers.errors import Failure, Overloaded

from .dial import Dialer, Origin, Proxy, ssl_context
from .inflate import Inflater, inflater_of
from .resolver import Resolver
from .response import failure_of
from .upload import Upload, framing
from .wire import ClosedEarly, Head, Take, Wire

_LINGER: Final = 0.5  # seconds for the end of a body after its last event
_IDLE: Final = 15.0  # seconds for which a connection is kept without a call
_REQUESTS: Final = 1024  # kinds of requests whose heads are kept: paths hold model ids, which clients may invent
NO_PROXIES: Mapping[str, str] = {}


class RequestTemplate(NamedTuple):
    """Where a request goes, and its head without its headers."""

    origin: Origin
    head: str


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
        resolver: Resolver | None = None,
        proxy: str = "",
    ) -> None:
        self._proxy = Proxy.of(proxy) if proxy else None
        self._agent, self._limit, self._stale = agent, limit, stale
        self.between_bytes = timeouts.between_bytes
        self._loop = asyncio.get_running_loop()
        make = partial(Wire, self._loop, min(timeouts.first_byte, timeouts.between_bytes))
        self._dialer = Dialer(tls, resolver, self._proxy, timeouts.connect, make)
        self._templates: BoundedDict[tuple[str, str], RequestTemplate] = BoundedDict(_REQUESTS)
        self._idle: dict[
            Origin, deque[tuple[float, Wire]]
        ] = {}  # with the loop time of their last call, the newest last
        self._sweep: asyncio.TimerHandle | None = None
        self._busy: set[Wire] = set()
        self._ending: set[asyncio.Task[None]] = set()
        self._closed = False
        self.calls = 0  # under way

    async def aclose(self) -> None:
        """Close all connections."""
        self._closed = True
        for task in self._ending:
            task.cancel()
        await asyncio.gather(*self._ending, return_exceptions=True)
        await self._dialer.aclose()
        if self._sweep is not None:
            self._sweep.cancel()
        for wire in self._busy.union(*({wire for _, wire in idle} for idle in self._idle.values())):
            wire.abort()
        self._idle.clear()

    def request(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes | Upload, first_byte: float
    ) -> Awaitable["PooledResponse"]:
        """Send one request and wait for the answer's head. body: JSON, unless headers have another Content-Type; first_byte:
        seconds for the head and the first piece, from when the body has been sent.

        A pooled connection that the upstream closed while it was idle is replaced once: nothing had been answered on it.
        Raises Failure (502, 503 or 504) when no answer comes.
        """
        template = self._templates.get((method, url)) or self._template(method, url)
        kind = "" if "Content-Type" in headers else "Content-Type: application/json\r\n"
        head = "\r\n".join([template.head, *map(": ".join, headers.items()), f"{kind}{framing(body)}\r\n\r\n"])
        return self._sent(template.origin, head.encode("ascii"), body, first_byte)

    async def _sent(self, origin: Origin, head: bytes, body: bytes | Upload, first_byte: float) -> "PooledResponse":
        """Send a request that counts as a call until its answer is closed. See request."""
        if self.calls >= self._limit:
            raise Overloaded(
                "This server has as many calls under way at this model's provider as it may have.",
                code="provider_busy",
                retry_after=1,
            )
        self.calls += 1
        replaced = False
        while True:
            pooled, wire = self._pooled(origin), None
            try:
                wire = pooled or await self._dialer.connect(origin)
                self._busy.add(wire)
                if isinstance(body, bytes):
                    answered = await wire.send(head, body, first_byte)
                else:
                    answered = await wire.upload(head, body, first_byte, self.between_bytes)
                return PooledResponse(self, origin, wire, answered, first_byte)
            except BaseException as error:
                if wire is not None:
                    self._busy.discard(wire)
                    wire.abort()
                again = isinstance(body, bytes) or body.repeatable
                if pooled and again and not replaced and not pooled.begun and isinstance(error, ClosedEarly):
                    replaced = True
                    self._stale()
                    continue
                self.calls -= 1
                if wire is None or isinstance(error, Failure) or not isinstance(error, Exception):
                    raise  # of dialling; of what the client was to send; of who waits no more
                raise failure_of(error, first_byte, False) from error

    def _pooled(self, origin: Origin) -> Wire | None:
        """Return the idle connection that was used last."""
        idle = self._idle.get(origin)
        while idle:
            _, wire = idle.pop()
            if wire.reusable:
                return wire
        return None

    def _swept(self) -> None:
        """Close what has been idle for too long, and look again later."""
        self._sweep = None
        limit = self._loop.time() - _IDLE
        for idle in self._idle.values():
            while idle and (idle[0][0] < limit or not idle[0][1].reusable):
                idle.popleft()[1].abort()
        self._sweep_later()

    def _sweep_later(self) -> None:
        if self._sweep is None and any(self._idle.values()):
            self._sweep = self._loop.call_later(_IDLE / 4, self._swept)

    def release(self, origin: Origin, wire: Wire) -> None:
        """The answer on this connection was read to its end, or the connection is closed."""
        self.calls -= 1
        self._keep(origin, wire)

    def _keep(self, origin: Origin, wire: Wire) -> None:
        self._busy.discard(wire)
        if not wire.reusable or self._closed:
            wire.abort()
            return
        wire.forget()
        self._idle.setdefault(origin, deque()).append((self._loop.time(), wire))
        self._sweep_later()

    def linger(self, origin: Origin, wire: Wire) -> None:
        """Keep the connection once its body has ended, or close it when that takes too long. The call is over."""
        self.calls -= 1
        task = self._loop.create_task(self._at_the_end(origin, wire))
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)

    async def _at_the_end(self, origin: Origin, wire: Wire) -> None:
        """Wait for the end of a body whose answer is complete: many hosts send the last chunk in a packet of its own.

        Without it the connection could not be used again, and the next request would pay for a new one.
        """
        try:
            async with asyncio.timeout(_LINGER):
                over = not await wire.read()
        except (Exception, asyncio.CancelledError):
            over = False
        if not over:
            wire.abort()
        self._keep(origin, wire)

    def _template(self, method: str, url: str) -> RequestTemplate:
        where, proxy = URL(url, encoded=True), self._proxy
        host = where.host_subcomponent or ""
        host = host if where.is_default_port() else f"{host}:{where.port}"
        path, extra = where.raw_path_qs, ""
        if proxy and where.scheme == "http":  # no tunnel: the proxy reads this request
            path = f"http://{host}{path}"
            extra = "".join([f"{name}: {value}\r\n" for name, value in proxy.headers.items()])
        template = RequestTemplate(
            Origin(where.raw_host or "", where.port or 0, where.scheme == "https"),
            f"{method} {path} HTTP/1.1\r\nHost: {host}\r\n{extra}User-Agent: {self._agent}\r\n"
            # identity: a stream must not wait in a compressor, and no answer may unfold into gigabytes.
            "Accept-Encoding: identity\r\nAccept: */*",
        )
        self._templates[method, url] = template
        return template


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


class PooledResponse:
    """An answer on a connection of the pool. See response.UpstreamResponse."""

    def __init__(self, pool: ConnectionPool, origin: Origin, wire: Wire, head: Head, first_byte: float) -> None:
        """Raises InvalidHttp for a body in a coding that nobody asked for."""
        self._pool, self._origin, self._wire = pool, origin, wire
        self._patience = first_byte
        self.status = head.status
        self.headers: Mapping[str, str] = head.headers
        self._begun = self._closed = False
        self._inflater: Inflater | None = inflater_of(head.headers)

    @property
    def is_read(self) -> bool:
        return self._inflater is None and self._wire.is_read

    async def read(self, patience: float = 0.0) -> bytes:
        if self._begun:
            self._patience = patience = patience or self._pool.between_bytes
        else:
            patience = 0.0
        try:
            if self._inflater is None:
                data = await self._wire.read(patience)
            else:
                data = await self._inflater.read(self._wire, patience)
        except Exception as error:
            raise failure_of(error, self._patience, self._begun) from error
        self._begun = self._begun or bool(data)
        return data

    async def pour(self, take: Take, patience: float) -> None:
        if self._begun and self._inflater is None:
            await self._wire.pour(take, patience)

    def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        if not self._wire.ended:
            self._wire.abort()
        self._pool.release(self._origin, self._wire)

    def finish(self) -> None:
        if self._closed or self._wire.ended:
            self.close()
            return
        self._closed = True
        self._pool.linger(self._origin, self._wire)
