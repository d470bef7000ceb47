"""Answers that are read on after their client has left, to learn what they cost (`on_disconnect: finish`).

`DetachedReads.outlive` wraps the exchange with an upstream; nothing else knows of it. Reading happens in tasks of its own, which
the end of the client's request does not touch. Each has the provider's time to come to an end, and no more than the request
has, then the call is cancelled like any other. The request is settled when its answer has ended, and until then it keeps
its place among the others (Run.detached): its turn, the bytes of its body, and what its key has reserved.
"""

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any, TypeVar, cast

from providers.contract import Batch
from providers.errors import Failure

from ..admission import InFlightRequest
from ..tracebacks import let_go
from ..usage.meter import UsageMeter
from .batches import Batches, TakeBatch

T = TypeVar("T")


class DetachedReads:
    """The answers being drained. Closed before the connections upstream are."""

    def __init__(self) -> None:
        self._tasks: dict[int, asyncio.Task[None]] = {}  # by the identity of the request's meter

    async def outlive(self, answer: Coroutine[Any, Any, T], meter: UsageMeter, run: InFlightRequest) -> T:
        """Wait for an answer (`fetch_whole` or `open_stream`), and read it on when the client leaves.

        What `open_stream` has left to read goes on in the same way, when it is closed before its end.
        """
        task = asyncio.ensure_future(answer)
        try:
            found = await asyncio.shield(task)
        except asyncio.CancelledError:
            if not task.cancelled():
                self.start(self._finish(task, meter), meter, run)
            raise
        match found:
            case (batch, rest):
                return cast(T, (batch, _DetachableStream(rest, self, meter, run)))
        return found

    async def _finish(self, task: "asyncio.Task[Any]", meter: UsageMeter) -> None:
        try:
            found = await task
        except Failure as failure:
            meter.attempt_failed(failure)
            let_go(failure)
            return
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

    def start(self, work: Coroutine[Any, Any, None], meter: UsageMeter, run: InFlightRequest) -> None:
        """Do this after the request has ended, which is settled, and gives its place to others, when that is done."""
        loop = asyncio.get_running_loop()
        assert meter.exchange is not None
        until = min(loop.time() + meter.exchange.to.finish_seconds, run.deadline)
        task = self._tasks[id(meter)] = run.detached = loop.create_task(self._bounded(work, meter, until))
        task.add_done_callback(lambda _: self._tasks.pop(id(meter)))

    def after(self, meter: UsageMeter | None, settle: Callable[[], None]) -> None:
        """Settle a request that has ended: now, or when its answer has come to its end too."""
        task = self._tasks.get(id(meter))
        if task is None:
            settle()
        else:
            task.add_done_callback(lambda _: settle())

    async def _bounded(self, work: Coroutine[Any, Any, None], meter: UsageMeter, until: float) -> None:
        """until: loop time."""
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout_at(until):
                    await work
        except Failure as failure:
            meter.stream_failed(failure)
            let_go(failure)

    async def aclose(self) -> None:
        """Give up what is not yet at its end; it is settled by what is known."""
        await asyncio.sleep(0)  # those that have only just been made begin: a task cancelled before never runs at all
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


class _DetachableStream:
    """What is left of an answer (Batches); closed before its end, it is drained."""

    def __init__(self, chunks: Batches, detached: DetachedReads, meter: UsageMeter, run: InFlightRequest) -> None:
        self._chunks, self._detached, self._meter, self._run = chunks, detached, meter, run
        self._next: asyncio.Task[Batch | None] | None = None
        self._ended = False

    def __aiter__(self) -> "_DetachableStream":
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

    async def pour(self, take: TakeBatch) -> None:
        await self._chunks.pour(take)  # leaving it loses nothing

    async def aclose(self) -> None:
        """Close the call, if it has ended, or leave it to be drained."""
        if self._ended and self._next is None:
            await self._chunks.aclose()
        else:
            self._detached.start(self._drain(), self._meter, self._run)

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
