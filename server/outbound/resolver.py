"""Host names → addresses, so that a name server in trouble holds up nothing but its own names.

getaddrinfo(3) cannot be cancelled and may hang for half a minute. In the loop's own threads (uvloop has four) a few such
names would stop every other lookup; so each lookup has a thread of its own, a daemon: the process may end meanwhile.
Whoever resolves has a bound of its own on them: one Resolver for each provider, one for images.

Addresses that once were good outlive a failing name server (RFC 8767): they are used again when it fails, or says nothing
for a second, but not when it says that the name is gone.
"""

import asyncio
import socket
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final

from aiohttp.abc import AbstractResolver, ResolveResult

from providers.bounded_dict import BoundedDict

_PATIENCE: Final = 1.0  # seconds for a fresh answer while an old one is at hand
_GONE: Final = frozenset({socket.EAI_NONAME, getattr(socket, "EAI_NODATA", socket.EAI_NONAME)})
# Only kinds of addresses this machine has itself; Windows does not count its loopback as one.
_FLAGS: Final = socket.AI_ADDRCONFIG if sys.platform != "win32" else 0

Infos = list[tuple[Any, ...]]  # as socket.getaddrinfo gives them


class Resolver(AbstractResolver):
    """most: lookups at once; more are refused. keep: names whose last addresses are remembered. lookup: for tests."""

    def __init__(self, most: int, keep: int = 0, lookup: Callable[..., Infos] = socket.getaddrinfo) -> None:
        self._most, self._keep, self._lookup = most, keep, lookup
        self._known: BoundedDict[tuple[str, int], list[ResolveResult]] = BoundedDict(keep)
        self._running = 0

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """The addresses of a host. Raises OSError, UnicodeError."""
        known = self._known.get((host, port))
        try:
            async with asyncio.timeout(_PATIENCE if known else None):
                return await self._fresh(host, port, family)
        except OSError as error:  # TimeoutError is one
            if known is None or (isinstance(error, socket.gaierror) and error.errno in _GONE):
                raise
            return known

    def _fresh(self, host: str, port: int, family: int) -> "asyncio.Future[list[ResolveResult]]":
        """What the system says now; it is remembered even when nobody waits for it any more."""
        if self._running >= self._most:
            raise OSError("too many host names are being looked up")
        self._running += 1
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[list[ResolveResult]] = loop.create_future()

        def settle(infos: Infos, error: Exception | None) -> None:
            self._running -= 1
            found = [_result(host, port, info) for info in infos]
            if found and self._keep:
                self._known[host, port] = found
            if answer.done():
                return
            if error is None:
                answer.set_result(found)
            else:
                answer.set_exception(error)

        def run() -> None:
            infos: Infos = []
            problem = None
            try:
                infos = self._lookup(host, port, type=socket.SOCK_STREAM, family=family, flags=_FLAGS)
            except Exception as error:
                problem = error
            with suppress(RuntimeError):  # the loop is closed: the process ends
                loop.call_soon_threadsafe(settle, infos, problem)

        threading.Thread(target=run, name="resolver", daemon=True).start()
        return answer

    async def close(self) -> None:
        """Nothing is open."""


def _result(host: str, port: int, info: tuple[Any, ...]) -> ResolveResult:
    family, _, protocol, _, address = info
    scope = f"%{address[3]}" if len(address) == 4 and address[3] else ""  # of a link-local IPv6 address
    return ResolveResult(
        hostname=host,
        host=f"{address[0]}{scope}",
        port=port,
        family=family,
        proto=protocol,
        flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
    )
