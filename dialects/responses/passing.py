"""Streams of a Responses upstream that go out as they came: what is added where one breaks off. Pure.

A client must not take half of an answer for all of it. What is added speaks of the response that the upstream began.
"""

import re
from collections.abc import Callable
from typing import Any, Final

from providers import codec
from providers.contract import Json
from providers.errors import Failure
from providers.sse import Decoder, Event

from ..chat.stream import escape_line_ends
from ..contract import Renderer, end_of

_NUMBER: Final = re.compile(rb'"sequence_number"\s*:\s*(\d{1,9})')
_ENDS: Final = ("error", "response.failed")


def verbatim(anew: Callable[[], Renderer]) -> Renderer:
    """Return the primed renderer of a stream that passes (Call.native). anew: one of this dialect, for the words of a failure."""
    renderer = _verbatim(anew)
    next(renderer)
    return renderer


def _verbatim(anew: Callable[[], Renderer]) -> Renderer:
    first = last = data = b""  # what came first, and last, that was not empty
    try:
        while (batch := (yield data)) is not None:
            data = batch.raw
            if data:
                first, last = first or data, data
        return b""
    except Failure as failure:
        end = end_of(anew(), failure)
        return _continued(end, first, last) if first else end


def _continued(end: bytes, first: bytes, last: bytes) -> bytes:
    """Return the end of a failed stream, as a part of the stream that began with `first`. end: of a stream of its own."""
    seen = next((found for event in _events(first) if (found := _response(event)) is not None), None)
    numbers = _NUMBER.findall(last)
    number = int(numbers[-1]) + 1 if numbers else 0
    data = bytearray()
    for event in _events(end):
        if event.name not in _ENDS or not isinstance(event.data, dict):
            continue
        value: Json = {**event.data, "sequence_number": number}
        if seen is not None and (failed := _response(event)) is not None:
            value["response"] = {**seen, "status": "failed", "error": failed.get("error")}
        data += f"event: {event.name}\ndata: ".encode() + codec.encode(value) + b"\n\n"
        number += 1
    return bytes(escape_line_ends(data))


def _events(data: bytes) -> list[Event]:
    decoder = Decoder()
    try:
        return [*decoder.feed(data), *decoder.flush()]
    except Failure:
        return decoder.flush()


def _response(event: Event) -> Any:
    """Return the Response object of an event; None where it has none."""
    response = event.data.get("response") if isinstance(event.data, dict) else None
    return response if isinstance(response, dict) else None
