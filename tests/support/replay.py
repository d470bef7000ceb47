"""Upstream bytes through our decoder and a translator: what the server does, without the server."""

from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path

from cuts import pieces
from oracles import Json
from translators import translator_of

from providers import Call, Provider, Upstream
from providers.contract import Translator
from providers.sse import Decoder, Event

STREAMS = Path(__file__).parents[1] / "streams"


def events(raw: bytes, size: int | None = None) -> Iterator[Event]:
    """The events of a stream that arrives in reads of `size` bytes; None: in one."""
    decoder = Decoder()
    for data in pieces(raw, size):
        yield from decoder.feed(data)
    yield from decoder.flush()


def translated(translator: Translator, given: Iterable[Event | None]) -> Iterator[Json]:
    """The chunks that a translator makes of events; None is the upstream's end. The answer must end with them."""
    try:
        for event in given:
            yield from translator.send(event)
    except StopIteration as end:
        yield from end.value
        return
    raise AssertionError("the answer has not ended")


def chunks(provider: Provider, raw: bytes, size: int | None = None, *, call: Call, to: Upstream) -> Iterator[Json]:
    """The chunks a provider makes of an event stream that arrives in reads of `size` bytes; None: in one."""
    return translated(translator_of(provider, call, to), chain(events(raw, size), [None]))
