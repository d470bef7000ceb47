"""Which models providers have: their lists are read in the background, at the start, after a reload and every few minutes.

Nothing waits for it. A provider that does not answer, or not with a list, keeps what it last had, and /healthz says why.
"""

import asyncio
import time
from contextlib import suppress
from typing import Final, NamedTuple

from msgspec.structs import replace

from gateway.config_schema import ServerConfig
from providers import PROVIDERS
from providers.contract import Upstream
from providers.errors import Failure

from . import logs
from .generations import Generation, Generations
from .outbound.batches import fetch_whole
from .outbound.exchange import Exchange
from .outbound.pool import ConnectionPools
from .worker import Worker

_EVERY: Final = 180.0  # seconds between two looks
_PATIENCE: Final = 5.0  # seconds for an answer, from the first word to the last
_LARGEST: Final = 4 * 2**20  # bytes of it: OpenRouter's has half a megabyte


class Listed(NamedTuple):
    """What a provider's list of models said last. at: monotonic seconds."""

    ids: list[str]
    at: float


async def listed_ids(
    upstream: Upstream, http: ConnectionPools, limits: ServerConfig, patience: float, worker: Worker | None = None
) -> list[str]:
    """Ask a provider for its list of models; return their ids. patience: seconds until its end.

    Raises Failure, and TimeoutError.
    """
    call = PROVIDERS[upstream.host.protocol].build_models(upstream)
    async with asyncio.timeout(patience):
        answer = await fetch_whole(Exchange(upstream, call, patience, worker=worker), http, limits)
    return [each["id"] for each in answer["data"]]


class Discovery:
    """Reads the lists. failed: provider → the code of what went wrong the last time. Closed before the connections are."""

    def __init__(self, generations: Generations, worker: Worker) -> None:
        self._generations, self._worker = generations, worker
        self.failed: dict[str, str] = {}
        self._found: dict[tuple[str, str], Listed] = {}  # provider, base_url → its list
        self._wanted = asyncio.Event()
        self._task = asyncio.create_task(self._run())

    def refresh(self) -> None:
        """Read the lists of a new configuration soon; until then it has what was found at the same addresses."""
        settings = self._generations.now.settings
        for name in settings.discovers:
            if found := self._found.get((name, settings.providers[name].base_url)):
                settings.routes.learn(name, found.ids)
        self._wanted.set()

    def found(self, name: str, base_url: str) -> Listed | None:
        """Return the list that a provider at this address last had; None where none has been read."""
        return self._found.get((name, base_url))

    async def _run(self) -> None:
        while True:
            self._wanted.clear()
            await self._look()
            with suppress(TimeoutError):
                async with asyncio.timeout(_EVERY):
                    await self._wanted.wait()

    async def _look(self) -> None:
        live = self._generations.acquire()  # its connections stay open
        try:
            names = sorted(live.settings.discovers)
            errors = await asyncio.gather(*(self._read(live, name) for name in names))
            self.failed = {name: error for name, error in zip(names, errors, strict=True) if error}
        finally:
            self._generations.release(live)

    async def _read(self, live: Generation, name: str) -> str:
        """Read the list of a provider; return the code of the error, "" where there is none."""
        upstream, server = live.settings.providers[name], live.settings.config.server
        try:
            limits = replace(server, max_answer=_LARGEST)
            found = await listed_ids(upstream, live.http, limits, _PATIENCE, self._worker)
        except TimeoutError:
            return "upstream_timeout"
        except Failure as failure:
            return failure.code or failure.type
        except Exception:
            logs.LOGGER.exception("the models of provider %s could not be read, by a fault of this server", name)
            return "internal_error"
        self._found[name, upstream.base_url] = Listed(found, time.monotonic())
        live.settings.routes.learn(name, found)
        return ""

    async def aclose(self) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
