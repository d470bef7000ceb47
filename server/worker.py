"""One thread beside the event loop, for work on large bodies: parsing, translating, encoding.

One piece of work at a time, in the order in which it was asked for: each may need several times the memory of its body,
and threads of Python take turns anyway. What a thread gains is that the loop gets its turn in between.
"""

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")


class Worker:
    """Runs pure functions outside of the event loop; `async with` holds its only place over several of them."""

    def __init__(self) -> None:
        self._place = asyncio.Lock()
        self._thread = ThreadPoolExecutor(1, "bodies")

    async def __aenter__(self) -> "Callable[[Callable[[], T]], Awaitable[T]]":
        await self._place.acquire()
        return self._run

    async def __aexit__(self, *_: object) -> None:
        self._place.release()

    async def run(self, work: Callable[[], T]) -> T:
        """Return what `work` returns, once its turn has come."""
        async with self:
            return await self._run(work)

    async def _run(self, work: Callable[[], T]) -> T:
        running = asyncio.get_running_loop().run_in_executor(self._thread, work)
        try:
            return await asyncio.shield(running)
        except asyncio.CancelledError:
            await asyncio.wait([running])  # a thread cannot be stopped, and what it works on is still in memory
            raise
        finally:
            del running  # its exception knows this frame, which would know it: a circle that holds the body

    def close(self) -> None:
        """End the thread."""
        self._thread.shutdown(wait=False)


async def done(worker: Worker | None, work: Callable[[], T]) -> T:
    """Return what `work` returns; outside of the event loop where there is a worker for it."""
    return work() if worker is None else await worker.run(work)
