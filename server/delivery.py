"""One streamed answer on its way to the client: batches are counted, rendered and written."""

from functools import partial
from typing import Final

from dialects.contract import Renderer, end_of
from gateway.reasoning_cache import ReasoningCollector
from providers.contract import Batch

from .error_response import scrubbed_events, tells_failure
from .event_stream import EventStream
from .outbound.exchange import Exchange
from .request import Request
from .worker import done

_LARGE: Final = 64 * 2**10  # bytes of events that are searched outside of the event loop


class Delivery:
    """Writes the answer of one exchange. collector: of the thinking behind tool calls, if they may come.

    A batch is written at once by `take`, inside the read from the upstream, where nothing has to be waited for; else by
    `write`. Both raise ConnectionError when the client is gone, and what the renderer raises.

    busy: whether something has been rendered, or is being rendered, that is to be written before anything else.
    """

    def __init__(
        self,
        request: Request,
        line: EventStream,
        exchange: Exchange,
        renderer: Renderer,
        collector: ReasoningCollector | None,
    ) -> None:
        self._request, self._line, self._exchange = request, line, exchange
        self._renderer, self._collector = renderer, collector
        self._render = renderer.send
        self._count = request.meter.count_chunks
        self._conversation = request.conversation
        self._left: bytes | bytearray = b""  # rendered by `take`, and not written
        self._writing = False

    @property
    def busy(self) -> bool:
        return self._writing or bool(self._left)

    def take(self, batch: Batch) -> bool:
        """Write a batch; return whether another may follow at once. If not, call `settle`."""
        self._note(batch)
        data = self._render(batch)
        if not data:
            return True
        if not self._line.open or (self._exchange.verbatim and self._must_wait(data)):
            self._left = data
            return False
        return self._line.send(data)

    def _must_wait(self, data: bytes | bytearray) -> bool:
        """Whether a native answer is to be kept, or to be scrubbed, before this may be written."""
        conversation = self._conversation
        return tells_failure(data) or (conversation is not None and conversation.must_keep(self._renderer))

    async def settle(self) -> None:
        """Write what `take` has left, and wait until the client has taken enough."""
        if self._left:
            await self._written(await self._scrubbed(self._left))
            self._left = b""
        else:
            await self._line.drained()

    async def write(self, batch: Batch) -> None:
        """Write a batch, and wait until the client has taken enough."""
        self._note(batch)
        self._writing = True
        data = await done(self._exchange.worker if batch.large else None, partial(self._render, batch))
        if data:
            await self._written(await self._scrubbed(data))
        self._writing = False

    async def end(self) -> None:
        """Write the end of a complete answer."""
        self._writing = True
        if self._collector is not None:
            self._collector.commit()
        await self._written(end_of(self._renderer), end=True)

    async def _scrubbed(self, data: bytes | bytearray) -> bytes | bytearray:
        """Return what may be written of it: see scrubbed_events."""
        if not self._exchange.verbatim:
            return data
        worker = self._exchange.worker if len(data) > _LARGE else None
        return await done(worker, partial(scrubbed_events, data, self._request))

    def _note(self, batch: Batch) -> None:
        self._count(batch.chunks)
        if self._collector is not None:
            self._collector.see(batch.chunks)

    async def _written(self, data: bytes | bytearray, end: bool = False) -> None:
        if self._conversation is not None and (end or self._exchange.verbatim):
            await self._conversation.keep_streamed(self._renderer, self._exchange)
        await self._line.write(data, end)
