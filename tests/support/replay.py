"""Upstream bytes through our decoder and a translator: what the server does, without the server."""

from collections.abc import Iterator
from pathlib import Path

from cuts import pieces
from oracles import Json
from translators import translator_of

from providers import Call, Provider, Upstream
from providers.sse import Decoder

STREAMS = Path(__file__).parents[1] / "streams"


def chunks(provider: Provider, raw: bytes, size: int | None = None, *, call: Call, to: Upstream) -> Iterator[Json]:
    """The chunks a provider makes of an event stream that arrives in reads of `size` bytes; None: in one."""
    decoder, translator = Decoder(), translator_of(provider, call, to)
    try:
        for data in pieces(raw, size):
            for event in decoder.feed(data):
                yield from translator.send(event)
        for event in decoder.flush():
            yield from translator.send(event)
        yield from translator.send(None)
    except StopIteration as end:
        yield from end.value
        return
    raise AssertionError("the answer has not ended")
