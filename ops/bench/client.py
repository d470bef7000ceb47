"""The load generator: keep-alive connections on a bare protocol, which check every answer."""

import asyncio
import re
import time
from array import array
from collections import Counter
from collections.abc import AsyncIterator, Coroutine, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final

import httptools
from upstream import unpaced

STAMP: Final = re.compile(rb"@(\d{5}):(\d{19})@")
_LONGEST: Final = 32  # bytes of what is looked for, which two reads may cut


class Meter:
    """What clients saw since `clear`. latencies: seconds of whole answers; delays: of chunks; gap: the longest between two."""

    def __init__(self) -> None:
        self.stopped = False
        self.clear()

    def clear(self) -> None:
        self.answers, self.chunks, self.gap = 0, 0, 0.0
        self.latencies, self.delays = array("d"), array("d")
        self.errors: Counter[str] = Counter()


class Client(asyncio.Protocol):
    """One connection, and what it expects of each answer: a status, so many stamps in their order, then `done`."""

    def __init__(
        self, meter: Meter, address: tuple[str, int], pieces: int, done: bytes, statuses: Sequence[int] = (200,)
    ) -> None:
        self._meter, self._address = meter, address
        self._pieces, self._done, self._statuses = pieces, done, statuses
        self._transport: Any = None

    async def ask(self, request: bytes, began: float) -> bool:
        """Send a request and count its answer; returns whether it was good. began: when it should have been sent."""
        loop = asyncio.get_running_loop()
        if self._transport is None:
            await loop.create_connection(lambda: self, *self._address)
        self._parser = httptools.HttpResponseParser(self)
        self._next, self._ended, self._tail, self._said, self._last = 0, not self._done, b"", b"", 0.0
        self._answered: asyncio.Future[str] = loop.create_future()
        self._transport.write(request)
        fault = await self._answered
        if fault:
            self._meter.errors[fault] += 1
            await asyncio.sleep(0.01)
        else:
            self._meter.answers += 1
            self._meter.latencies.append(time.monotonic() - began)
        return not fault

    def close(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        unpaced(transport.get_extra_info("socket"))

    def connection_lost(self, error: Exception | None) -> None:
        self._transport = None
        self._end(f"the connection broke: {error!r}")

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self._end(f"no HTTP: {error!r}")

    def on_body(self, body: bytes) -> None:
        self._said = self._said or body[:200]
        if self._next < self._pieces:
            body = self._read_stamps(self._tail + body)
        elif not self._ended:
            body = self._tail + body
            self._ended = self._done in body
        self._tail = body[-_LONGEST:]

    def _read_stamps(self, data: bytes) -> bytes:
        """Count the stamps in data; returns what follows the last."""
        end, now = 0, time.monotonic_ns()
        meter, number = self._meter, self._next
        for found in STAMP.finditer(data):
            if int(found[1]) != number:
                self._end(f"chunk {int(found[1])} instead of {number}")
            number += 1
            end = found.end()
            if sent := int(found[2]):
                meter.delays.append((now - sent) / 1e9)
            if number == self._pieces:
                break
        if end:
            if self._last:
                meter.gap = max(meter.gap, now / 1e9 - self._last)
            self._last = now / 1e9
            meter.chunks += number - self._next
            self._next = number
        rest = data[end:]
        self._ended = self._ended or (number == self._pieces and self._done in rest)
        return rest

    def on_message_complete(self) -> None:
        status = self._parser.get_status_code()
        if status not in self._statuses:
            self._end(f"{status}: {self._said!r}")
        elif status == 200 and (self._next < self._pieces or not self._ended):
            self._end(f"cut after {self._next} of {self._pieces} chunks: {self._said!r}")
        else:
            self._end("")

    def _end(self, fault: str) -> None:
        if hasattr(self, "_answered") and not self._answered.done():
            self._answered.set_result(fault)


async def flat_out(client: Client, meter: Meter, requests: Sequence[bytes], wait: float = 0) -> None:
    """One after the other, from `wait` seconds on; the requests in turn."""
    await asyncio.sleep(wait)
    try:
        while not meter.stopped:
            for request in requests:
                await client.ask(request, time.monotonic())
                if meter.stopped:
                    break
    finally:
        client.close()


async def paced(client: Client, meter: Meter, requests: Sequence[bytes], rate: float, first: float) -> None:
    """So many a second, from the time `first` on, whatever the answers take as long as the one before has come."""
    n, due = 0, first
    try:
        while not meter.stopped:
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            await client.ask(requests[n % len(requests)], due)
            n, due = n + 1, due + 1 / rate
    finally:
        client.close()


def at_rate(
    clients: list[Client], meter: Meter, requests: Sequence[bytes], rate: float
) -> list[Coroutine[Any, Any, None]]:
    """What asks `rate` times a second in all, evenly, the clients in turn."""
    now, each = time.monotonic(), rate / len(clients)
    mine = [requests[n :: len(clients)] or requests for n in range(len(clients))]
    return [paced(client, meter, mine[n], each, now + n / rate) for n, client in enumerate(clients)]


@asynccontextmanager
async def running(meter: Meter, *loads: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Run these while the block does; then let answers end that end soon, and cut the others."""
    tasks = [asyncio.create_task(load) for load in loads]
    try:
        yield
    finally:
        meter.stopped = True
        _, late = await asyncio.wait(tasks, timeout=0.3)
        for task in late:
            task.cancel()
        for result in await asyncio.gather(*tasks, return_exceptions=True):
            if isinstance(result, OSError):
                meter.errors[repr(result)] += 1
            elif isinstance(result, Exception):
                raise result
