"""Answers that are read on after their client has left, to learn what they cost (`on_disconnect: drain`).

Reading happens in tasks of its own, which the end of the client's request does not touch; each has the provider's time to
come to an end, then the call is cancelled like any other. The request is settled when its answer has ended.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import suppress
from typing import Any, TypeVar

from providers.contract import Batch
from providers.errors import Failure

from ..usage.ledger import UsageMeter

T = TypeVar("T")


class DetachedReads:
    """The answers being drained. Closed before the connections upstream are."""

    def __init__(self) -> None:
        self._tasks: dict[int, asyncio.Task[None]] = {}  # by the identity of the request's meter

    async def outlive(self, answer: Coroutine[Any, Any, T], meter: UsageMeter) -> T:
        """Wait for an answer (`upstream.whole` or `opening`) that goes on when the client leaves meanwhile."""
        task = asyncio.ensure_future(answer)
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            if not task.cancelled():
                self.start(self._finish(task, meter), meter)
            raise

    async def _finish(self, task: "asyncio.Task[Any]", meter: UsageMeter) -> None:
        try:
            found = await task
        finally:
            task.cancel()
        if isinstance(found, dict):
            meter.count_answer(found)
            return
        batch, rest = found
        note(meter, batch)
        try:
            async for batch in rest:
                note(meter, batch)
        finally:
            await rest.aclose()

    def start(self, work: Coroutine[Any, Any, None], meter: UsageMeter) -> None:
        """Do this after the request has ended, and settle the request then."""
        task = asyncio.get_running_loop().create_task(self._bounded(work, meter))
        self._tasks[id(meter)] = task
        task.add_done_callback(lambda _: self._tasks.pop(id(meter)))

    def after(self, meter: UsageMeter | None, settle: Callable[[], None]) -> None:
        """Settle a request that has ended: now, or when its answer has come to its end too."""
        task = self._tasks.get(id(meter))
        if task is None:
            settle()
        else:
            task.add_done_callback(lambda _: settle())

    async def _bounded(self, work: Coroutine[Any, Any, None], meter: UsageMeter) -> None:
        assert meter.exchange is not None
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout(meter.exchange.to.drain):
                    await work
        except Failure as failure:
            meter.stream_failed(failure)

    async def aclose(self) -> None:
        """Give up what is not yet at its end; it is settled by what is known."""
        await asyncio.sleep(0)  # those that have only just been made begin: a task cancelled before never runs at all
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


class DetachableStream:
    """The chunks of a stream; closed before its end, it is drained."""

    def __init__(self, chunks: AsyncGenerator[Batch, None], drains: DetachedReads, meter: UsageMeter) -> None:
        self._chunks, self._drains, self._meter = chunks, drains, meter
        self._next: asyncio.Task[Batch | None] | None = None
        self._ended = False

    def __aiter__(self) -> "DetachableStream":
        return self

    async def __anext__(self) -> Batch:
        self._next = asyncio.ensure_future(self._read())
        batch = await asyncio.shield(self._next)
        self._next = None
        if batch is None:
            raise StopAsyncIteration
        return batch

    async def _read(self) -> Batch | None:
        try:
            batch = await anext(self._chunks, None)
        except BaseException:
            self._ended = True
            raise
        self._ended = batch is None
        return batch

    async def aclose(self) -> None:
        """Close the call, if it has ended, or leave it to be drained."""
        if self._ended and self._next is None:
            await self._chunks.aclose()
        else:
            self._drains.start(self._drain(), self._meter)

    async def _drain(self) -> None:
        try:
            while self._next is not None or not self._ended:
                reading, self._next = self._next, None
                note(self._meter, await (reading or self._read()))
        finally:
            await self._chunks.aclose()


def note(meter: UsageMeter, batch: Batch | None) -> None:
    """Count what nobody is shown."""
    if batch is not None:
        meter.count_chunks(batch.chunks)
