"""The configuration at work, and the step from one to the next.

A reload builds everything that follows from the new configuration beside the old, then swaps one reference. Requests keep
what they began with; the old connections are closed when the last of them has ended.
"""

import asyncio
import random

import msgspec

from gateway.failover import CircuitBreakers
from gateway.scrub import Scrubber
from gateway.settings import Settings

from .outbound.image_fetcher import ImageFetcher
from .outbound.pool import ConnectionPools


class Generation(msgspec.Struct, eq=False):
    """One configuration and what was built for it. users: requests that began with it and have not ended."""

    settings: Settings
    http: ConnectionPools
    fetcher: ImageFetcher
    health: CircuitBreakers
    scrub: Scrubber
    in_flight: int = 0

    async def aclose(self) -> None:
        await self.fetcher.close()
        await self.http.aclose()


def build(settings: Settings, agent: str) -> Generation:
    """Build what a configuration needs. Raises OSError for a certificate file that cannot be used."""
    server = settings.config.server
    return Generation(
        settings,
        ConnectionPools(settings.config.providers, server.timeouts, agent, settings.proxies),
        ImageFetcher(enabled=server.fetch_images),
        CircuitBreakers(server.cooldown, random.random),
        settings.scrubber(),
    )


class Generations(msgspec.Struct, eq=False):
    """now: the configuration at work; generation: 1 for the first. failed: reloads that changed nothing.

    begun: how many reloads have begun; ended: the number of the last that has ended. A file written before `begun` was read
    is in what a reload of a higher number reads.
    """

    now: Generation
    generation: int = 1
    failed: int = 0
    begun: int = 0
    ended: int = 0
    error: str = ""  # why the last reload changed nothing
    _retired: set[Generation] = set()
    _closing: set["asyncio.Task[None]"] = set()

    def acquire(self) -> Generation:
        """The configuration for a request that begins."""
        live = self.now
        live.in_flight += 1
        return live

    def release(self, live: Generation) -> None:
        """The request has ended."""
        live.in_flight -= 1
        if not live.in_flight and live is not self.now:
            self._close(live)

    def swap(self, live: Generation) -> None:
        """From here on requests begin with this one."""
        old, self.now = self.now, live
        self.generation += 1
        self.error = ""
        self._retired.add(old)
        if not old.in_flight:
            self._close(old)

    def discard(self, live: Generation) -> None:
        """This one is not to be used after all."""
        self._close(live)

    def _close(self, live: Generation) -> None:
        self._retired.discard(live)
        task = asyncio.get_running_loop().create_task(live.aclose())
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    async def aclose(self) -> None:
        for live in [*self._retired, self.now]:
            await live.aclose()
        await asyncio.gather(*self._closing, return_exceptions=True)
