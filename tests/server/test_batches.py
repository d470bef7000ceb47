"""server/outbound/batches.py and wire.py: what is read where, and what it costs when an upstream sends byte by byte."""

import asyncio
import sys
import threading
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import pytest
from cuts import pieces
from scripted import sse

from gateway.config_schema import ServerConfig
from providers import PROVIDERS
from providers.contract import Batch, Call, CannedReply, ReplyStep, Upstream
from providers.frames import Frames
from providers.hosts import HOSTS
from providers.sse import Decoder
from server.outbound.batches import BatchStream, fetch_whole
from server.outbound.exchange import Exchange
from server.outbound.wire import Wire
from server.worker import Worker

OPENAI = Upstream("openai", "m", "https://up.example/v1", "k", host=HOSTS["openai"])
LIMITS = ServerConfig()
NO_HTTP: Any = None
HEAD = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


def said(text: str, finish: str | None = None) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": {"content": text}, "finish_reason": finish}]}


def asked(answer: Iterable[bytes], stream: bool = True) -> Exchange:
    """A call that is answered with these reads."""
    body = {"model": "m", "messages": [{"role": "user", "content": "x"}], "stream": stream}
    call: Call = PROVIDERS["openai"].build_request(body, OPENAI)
    steps = [ReplyStep(1e-9, piece) for piece in answer]
    return Exchange(OPENAI, call._replace(reply=CannedReply(200, {"Content-Type": "text/event-stream"}, steps)), 5.0)


async def test_a_large_event_is_read_by_the_worker() -> None:
    """Small ones are read on the loop. The pieces of a large one are only kept until it is complete."""
    large = "x" * 2**20
    data = sse(said("small"), said(large), said("small again"), said("", finish="stop"))
    exchange = asked(pieces(data, 2**16))
    threads: dict[str, int] = {}
    read = exchange.call.read

    def watched(call: Call, streamed: bool) -> Any:
        translator = read(call, streamed)
        chunks: Any = []
        while True:
            event = yield chunks
            if event is not None and isinstance(event.data, dict):
                threads[event.data["choices"][0]["delta"]["content"][:9]] = threading.get_ident()
            try:
                chunks = translator.send(event)
            except StopIteration as end:
                return end.value

    def primed(call: Call, streamed: bool) -> Any:
        translator = watched(call, streamed)
        next(translator)
        return translator

    exchange.call = exchange.call._replace(read=primed)
    worker = exchange.worker = Worker()
    batches: list[Batch] = [batch async for batch in BatchStream(exchange, NO_HTTP, LIMITS)]
    worker.close()
    text = "".join(chunk["choices"][0]["delta"].get("content", "") for batch in batches for chunk in batch.chunks)
    assert text == f"small{large}small again"
    here = threading.get_ident()
    assert [batch.large for batch in batches].count(True) == 1
    assert threads["small"] == here != threads["xxxxxxxxx"]


class Transport:
    """Takes note of what a Wire asks of its connection."""

    def __init__(self) -> None:
        self.sent = b""
        self.reading = True

    def writelines(self, data: Iterable[bytes]) -> None:
        self.sent += b"".join(data)

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True

    def is_closing(self) -> bool:
        return False

    def abort(self) -> None:
        self.reading = False


async def started() -> tuple[Wire, Any]:
    """A connection on which a request has been sent, and the head of the answer has come."""
    wire, transport = Wire(asyncio.get_running_loop(), 5.0), Transport()
    wire.connection_made(transport)  # type: ignore[arg-type]
    sending = asyncio.ensure_future(wire.send(b"GET / HTTP/1.1\r\n\r\n", b"", 5.0))
    await asyncio.sleep(0)
    wire.data_received(HEAD)
    assert (await sending).status == 200 and transport.sent == b"GET / HTTP/1.1\r\n\r\n"
    return wire, transport


async def test_more_than_may_wait_is_not_read_from_the_socket() -> None:
    wire, transport = await started()
    piece = b"10000\r\n" + b"x" * 2**16 + b"\r\n"
    for _ in range(9):
        wire.data_received(piece)
    assert not transport.reading
    sizes = []
    for _ in range(9):
        sizes.append(len(await wire.read()))
        assert transport.reading == (len(sizes) >= 5)
    assert sizes == [2**16] * 9
    wire.connection_lost(None)


async def test_what_is_poured() -> None:
    """Pieces are given inside data_received, until no more are taken; what came since then is read, or poured, next."""
    wire, _ = await started()
    got: list[bytes] = []

    def take(data: bytes) -> bool:
        got.append(data)
        return len(got) < 2

    pouring = asyncio.ensure_future(wire.pour(take, 5.0))
    await asyncio.sleep(0)
    wire.data_received(b"1\r\na\r\n1\r\nb\r\n")
    assert got == [b"ab"]
    wire.data_received(b"1\r\nc\r\n")
    wire.data_received(b"1\r\nd\r\n")
    assert got == [b"ab", b"c"]
    await pouring
    assert await wire.read() == b"d"
    pouring = asyncio.ensure_future(wire.pour(take, 5.0))
    await asyncio.sleep(0)
    pouring.cancel()
    with pytest.raises(asyncio.CancelledError):
        await pouring
    wire.data_received(b"1\r\ne\r\n0\r\n\r\n")
    assert (await wire.read(), await wire.read(), wire.ended) == (b"e", b"", True)

    def breaks(data: bytes) -> bool:
        raise ZeroDivisionError

    wire, _ = await started()
    pouring = asyncio.ensure_future(wire.pour(breaks, 5.0))
    await asyncio.sleep(0)
    wire.data_received(b"1\r\na\r\n")
    with pytest.raises(ZeroDivisionError):
        await pouring
    wire.connection_lost(None)


class ByteByByte:
    """An answer that is read a byte at a time, and cannot be poured."""

    status: int = 200
    headers: Mapping[str, str] = {"Content-Type": "text/event-stream"}

    def __init__(self, data: bytes) -> None:
        self._pieces = iter(data[at : at + 1] for at in range(len(data)))

    async def read(self, patience: float = 0.0) -> bytes:
        return next(self._pieces, b"")

    async def pour(self, take: Callable[[bytes], bool], patience: float) -> None:
        """All is left to read."""

    def close(self) -> None:
        """Nothing is open."""

    finish = close


class Pools:
    """ConnectionPools with one answer."""

    def __init__(self, answer: ByteByByte) -> None:
        self._answer = answer

    def of(self, provider: str) -> "Pools":
        return self

    async def request(self, *_: Any) -> ByteByByte:
        return self._answer


def lines_run(work: Callable[[], Any]) -> int:
    """How many lines of Python a piece of work runs through."""
    count = 0

    def trace(frame: Any, event: str, arg: Any) -> Any:
        nonlocal count
        count += event == "line"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        work()
    finally:
        sys.settrace(before)
    return count


async def whole(data: bytes) -> str:
    exchange = asked([])
    exchange.call = exchange.call._replace(reply=None)
    answer = await fetch_whole(exchange, Pools(ByteByByte(data)), LIMITS)  # type: ignore[arg-type]
    text: str = answer["choices"][0]["message"]["content"]
    return text


def played(n: int) -> int:
    """Lines run for an answer of n characters, one byte for each read."""
    data = sse(said("x" * n), said("", finish="stop"))
    results: list[str] = []

    def work() -> None:
        coroutine = whole(data)
        try:
            coroutine.send(None)
        except StopIteration as end:
            results.append(end.value)

    lines = lines_run(work)
    assert results == ["x" * n]
    return lines


def test_a_byte_for_each_read_costs_the_same_for_each() -> None:
    small, large = played(2000), played(8000)
    assert large < 4.5 * small


@pytest.mark.parametrize("kind", [Decoder, Frames])
def test_the_bytes_that_are_kept(kind: type[Decoder] | type[Frames]) -> None:
    decoder = kind()
    assert decoder.size == 0
    decoder.feed(b"data: {")
    assert decoder.size == 7
    decoder.feed(b"}\n\n")
    assert decoder.size == 0
