"""An upstream that answers with any bytes, without a socket or a loop: chunks or a failure are what may come of it."""

from collections.abc import Coroutine
from contextlib import suppress
from typing import Any, Final

from gateway.config_schema import ServerConfig
from providers import PROVIDERS, codec
from providers.chunks import collect
from providers.contract import CannedReply, ReplyStep, Upstream
from providers.errors import Failure
from providers.hosts import HOSTS
from providers.sse import append_event
from server.outbound.batches import BatchStream, fetch_whole
from server.outbound.exchange import Exchange

PROTOCOLS: Final = ("openai", "anthropic", "gemini")
BODY: Final = {"model": "m", "stream": True, "messages": [{"role": "user", "content": "x"}]}
LIMITS: Final = ServerConfig(max_event=4096, max_answer=16_384)
NO_HTTP: Any = None  # what is played needs no connections


def target(protocol: str) -> Upstream:
    row = HOSTS.get(protocol)
    return Upstream(protocol, "m", "https://up.example/v1", "k", **({"row": protocol, "host": row} if row else {}))


def run(played: Coroutine[Any, Any, None]) -> None:
    """Run a coroutine that waits for nothing; a loop for each example would cost more than the example."""
    with suppress(StopIteration):
        played.send(None)
        raise AssertionError("it waits for something")


async def play(protocol: str, pieces: list[bytes], streamed: bool, kind: str, cut: bool, status: int) -> None:
    """An answer in these pieces, whole or streamed, of this content type; cut: the connection breaks behind it."""
    to = target(protocol)
    call = PROVIDERS[protocol].build_request({**BODY, "stream": streamed}, to)
    steps = iter([ReplyStep(0.0, piece) for piece in pieces])  # a call that continues the answer finds nothing more
    call = call._replace(reply=CannedReply(status, {"Content-Type": kind}, steps, cut))
    exchange = Exchange(to, call, 5.0)
    try:
        got = []
        if call.stream:
            async for batch in BatchStream(exchange, NO_HTTP, LIMITS):
                got += batch.chunks
            for chunk in got:
                assert isinstance(chunk["choices"], list)
                frame = bytearray()
                append_event(frame, chunk)
                assert frame.count(b"\n") == 2
            collect(got)
        else:
            codec.encode(await fetch_whole(exchange, NO_HTTP, LIMITS))
    except Failure as failure:
        assert 400 <= failure.status < 600 and codec.encode(failure.body())
