"""Connections to upstreams: names, addresses, TCP, TLS, and the HTTP proxy before them, if there is one."""

import asyncio
import re
import socket
import ssl
import threading
from base64 import b64encode
from collections.abc import Callable
from math import inf
from typing import Final, NamedTuple

from aiohappyeyeballs import AddrInfoType, start_connection
from yarl import URL

from providers.bounded_dict import BoundedDict
from providers.errors import Failure, UpstreamError, UpstreamTimeout

from .resolver import Resolver
from .wire import Wire

_LOOKUPS: Final = 4  # host names looked up at once: a provider has one, and each is asked for only once at a time
_FRESH: Final = 60.0  # seconds for which the addresses of a name are not asked for again
_NAMES: Final = 64  # whose addresses are remembered
_SECOND_FAMILY: Final = 0.25  # seconds after which the next address is tried beside the first (RFC 8305)
_ADDRESS: Final = re.compile(r"[\d.]+|.*:.*", re.ASCII)
_KEEP_ALIVE: Final = (("TCP_KEEPIDLE", 60), ("TCP_KEEPINTVL", 15), ("TCP_KEEPCNT", 4))


class Origin(NamedTuple):
    """Whom a connection leads to."""

    host: str
    port: int
    tls: bool


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


class Addresses:
    """The addresses of host names, from one resolver, remembered for a minute."""

    def __init__(self, resolver: Resolver) -> None:
        self._resolver = resolver
        # With the loop time they are good until.
        self._found: BoundedDict[tuple[str, int], tuple[float, list[AddrInfoType]]] = BoundedDict(_NAMES)
        self._lookups: dict[tuple[str, int], asyncio.Task[list[AddrInfoType]]] = {}

    async def of(self, host: str, port: int) -> list[AddrInfoType]:
        """Return where a host can be reached, another address first each time. Raises OSError, UnicodeError."""
        if _ADDRESS.fullmatch(host):
            return [_info(host, port)]
        name = host, port
        loop = asyncio.get_running_loop()
        until, infos = self._found.get(name, (0.0, []))
        if until <= loop.time():
            task = self._lookups.get(name)
            if task is None:
                task = self._lookups[name] = loop.create_task(self._look_up(host, port))
                task.add_done_callback(self._looked_up)
            infos = await asyncio.shield(task)  # who gives up does not end the lookup of others
        found = list(infos)
        infos.append(infos.pop(0))
        return found

    async def _look_up(self, host: str, port: int) -> list[AddrInfoType]:
        try:
            infos = [_info(each["host"], each["port"]) for each in await self._resolver.resolve(host, port)]
            if not infos:
                raise OSError("the name has no addresses")
            self._found[host, port] = asyncio.get_running_loop().time() + _FRESH, infos
            return infos
        finally:
            del self._lookups[host, port]

    @staticmethod
    def _looked_up(task: "asyncio.Task[list[AddrInfoType]]") -> None:
        """Take note of an exception that nobody may have waited for."""
        if not task.cancelled():
            task.exception()

    async def aclose(self) -> None:
        """End the lookups."""
        tasks = list(self._lookups.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


class Dialer:
    """Makes connections to one provider. tls: what certificates are trusted, True: those the system trusts."""

    def __init__(
        self,
        tls: ssl.SSLContext | bool,
        resolver: Resolver | None,
        proxy: Proxy | None,
        patience: float,
        make: Callable[[], Wire],
    ) -> None:
        """resolver: of host names, its own by default; patience: seconds for a connection; make: a new protocol."""
        self._tls, self._proxy, self._patience, self._make = tls, proxy, patience, make
        self._addresses = Addresses(resolver or Resolver(_LOOKUPS, keep=_LOOKUPS))

    async def connect(self, origin: Origin) -> Wire:
        """Return a new connection. Raises Failure, which names no host and no address; the request was surely not sent."""
        context = None
        if origin.tls:
            context = self._tls if isinstance(self._tls, ssl.SSLContext) else await system_trust()
        try:
            async with asyncio.timeout(self._patience):
                if self._proxy is None:
                    return await self._direct(origin, context)
                return await self._through(self._proxy, origin, context)
        except Failure as failure:
            failure.not_sent = True
            raise
        except TimeoutError as error:
            words = "The upstream did not accept a connection in time."
            late = UpstreamTimeout(words, code="upstream_connect_timeout")
            late.not_sent = True
            raise late from error

    async def aclose(self) -> None:
        await self._addresses.aclose()

    async def _direct(self, origin: Origin, tls: ssl.SSLContext | None) -> Wire:
        connected = await self._socket(origin.host, origin.port, "The upstream cannot be reached.")
        loop, name = asyncio.get_running_loop(), origin.host.rstrip(".") if tls is not None else None
        try:
            _, wire = await loop.create_connection(self._make, sock=connected, ssl=tls, server_hostname=name)
        except ssl.SSLError as error:
            raise _untrusted() from error
        except OSError as error:
            raise _unreachable("The upstream cannot be reached.") from error
        return wire

    async def _through(self, proxy: Proxy, origin: Origin, tls: ssl.SSLContext | None) -> Wire:
        """Connect to the proxy, and through it to the upstream where that speaks TLS."""
        gone = "The proxy before the upstream cannot be reached."
        loop = asyncio.get_running_loop()
        connected = await self._socket(proxy.url.raw_host or "", proxy.url.port or 80, gone)
        _, wire = await loop.create_connection(self._make, sock=connected)
        if tls is None:
            return wire
        try:
            await self._tunnel(proxy, origin, wire)
            assert wire.transport is not None
            secured = self._make()
            host = origin.host.rstrip(".")
            transport = await loop.start_tls(wire.transport, secured, tls, server_hostname=host)
        except BaseException as error:
            wire.abort()
            match error:
                case ssl.SSLError():
                    raise _untrusted() from error
                case Failure():
                    raise
                case Exception():
                    raise _unreachable(gone) from error
            raise
        if transport is None:
            raise _unreachable(gone)
        secured.connection_made(transport)
        return secured

    async def _tunnel(self, proxy: Proxy, origin: Origin, wire: Wire) -> None:
        """Have the proxy connect to the upstream."""
        host = f"[{origin.host}]" if ":" in origin.host else origin.host
        headers = {"Host": host if origin.port == 443 else f"{host}:{origin.port}", **proxy.headers}
        lines = [f"CONNECT {host}:{origin.port} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
        answered = await wire.send("\r\n".join([*lines, "", ""]).encode("ascii"), b"", inf)
        if answered.status != 200:
            raise _unreachable(
                f"The proxy before the upstream refused the connection (HTTP status {answered.status}). Tell the operator of "
                "this server."
            )

    async def _socket(self, host: str, port: int, gone: str) -> socket.socket:
        """Return a connected socket. gone: what to say when nobody is there."""
        try:
            infos = await self._addresses.of(host, port)
        except (OSError, UnicodeError) as error:
            raise UpstreamError("The upstream's host name could not be resolved.", code="upstream_dns") from error
        try:
            connected = await start_connection(infos, happy_eyeballs_delay=_SECOND_FAMILY)
        except OSError as error:
            raise _unreachable(gone) from error
        _keep_alive(connected)
        return connected


async def system_trust() -> ssl.SSLContext:
    """Return the context that trusts what the system trusts. It is made at the first call, in a thread: it takes long."""
    if _made.context is None:
        await asyncio.get_running_loop().run_in_executor(None, _made.make)
    assert _made.context is not None
    return _made.context


class _SystemTrust:
    """The one context. context: None before it has been made."""

    def __init__(self) -> None:
        self.context: ssl.SSLContext | None = None
        self._lock = threading.Lock()

    def make(self) -> None:
        with self._lock:
            if self.context is None:
                context = ssl.create_default_context()
                context.set_alpn_protocols(("http/1.1",))
                self.context = context


_made: Final = _SystemTrust()


def ssl_context(ca_file: str) -> ssl.SSLContext | bool:
    """What `ssl=` takes. True: the certificates the system trusts. Verification cannot be turned off. Raises OSError."""
    if not ca_file:
        return True
    try:
        return ssl.create_default_context(cafile=ca_file)
    except OSError as error:
        raise OSError(f"ca_file {ca_file}: {error.strerror or 'holds no certificates'}") from None


def _info(host: str, port: int) -> AddrInfoType:
    if ":" in host:
        return socket.AF_INET6, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (host, port, 0, 0)
    return socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (host, port)


def _unreachable(words: str) -> UpstreamError:
    return UpstreamError(words, code="upstream_connect")


def _untrusted() -> UpstreamError:
    return UpstreamError("No trusted TLS connection to the upstream is possible.", code="upstream_tls")


def _keep_alive(connected: socket.socket) -> None:
    """Let the kernel notice in two minutes that the machine at the other end is gone: a whole answer may take an hour."""
    connected.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in _KEEP_ALIVE:
        if hasattr(socket, name):
            connected.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
