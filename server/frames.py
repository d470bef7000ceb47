"""Chunks of one answer → server-sent events, as OpenAI's own clients expect them."""

import random
import time

from dialects.chat import functions, request
from gateway.reasoning_cache import ReasoningCollector
from providers import codec
from providers.contract import Json

from .logs import RequestRecord


class Frames:
    """Chunks of one stream → its SSE frames. The envelope (id, created, model) is ours, the same in every frame."""

    def __init__(self, ask: request.ClientRequest, envelope: Json, record: RequestRecord) -> None:
        self._legacy, self._envelope, self._entry = ask.legacy, envelope, record.entry
        self._usage = bool(ask.body.get("stream_options", {}).get("include_usage"))
        self.watcher: ReasoningCollector | None = None  # keeps the thinking behind tool calls
        self.hides = False  # reasoning is not shown

    def of(self, batch: list[Json]) -> bytearray:
        """One write's worth of frames; empty when the client is to hear of none of the chunks."""
        data = bytearray()
        for chunk in batch:
            self._entry.saw(chunk)
            if "usage" in chunk:
                self._entry.tells(chunk)
                if not self._usage:
                    continue
            elif self._usage:
                chunk["usage"] = None
            if self.watcher is not None:
                self.watcher.see(chunk)
            if self.hides:
                emptied = [hide(choice["delta"]) for choice in chunk["choices"]]
                if emptied and all(emptied):
                    continue
            if self._legacy:
                chunk = functions.chunk_with_function(chunk)
            chunk.update(self._envelope)
            codec.frame_into(data, chunk)
        return one_line(data)


def hide(message: Json) -> bool:
    """Take the reasoning out of a message or a delta; returns whether that was all there was."""
    was = bool(message)
    for name in ("reasoning_content", "reasoning_details", "reasoning_items", "thinking_blocks", "output_order"):
        message.pop(name, None)
    return was and not message


def one_line(data: bytearray) -> bytearray:
    """Escape the three characters that some clients take for line ends inside an event: NEL, LS and PS."""
    if b"\xe2\x80" in data or b"\xc2\x85" in data:
        for char in ("\u0085", "\u2028", "\u2029"):
            data = data.replace(char.encode(), f"\\u{ord(char):04x}".encode())
    return data


def envelope(kind: str, record: RequestRecord) -> Json:
    """What every answer of ours carries. The id is not the upstream's: it may change in mid-stream, and fallback exists."""
    ident = f"chatcmpl-{random.getrandbits(128):032x}"
    return {"id": ident, "object": kind, "created": int(time.time()), "model": record.model}
