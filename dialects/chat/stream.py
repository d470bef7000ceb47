"""Chunks of one answer → server-sent events, as OpenAI's own clients expect them."""

from collections.abc import Iterable
from typing import Final

from providers.contract import Json
from providers.errors import Failure
from providers.runs import Run, with_text
from providers.sse import append_event

from ..contract import ClientRequest, Envelope, Renderer
from . import functions

_DONE: Final = b"data: [DONE]\n\n"
_REASONING: Final = ("reasoning_content", "reasoning_details", "reasoning_items", "thinking_blocks", "output_order")


def render(request: ClientRequest, envelope: Envelope, reasoning: bool, begun: Renderer | None = None) -> Renderer:
    """Return the primed renderer of a streamed answer. id, created and model are ours, the same in every chunk."""
    if begun is not None:
        return begun
    renderer = _render(request, envelope, reasoning)
    next(renderer)
    return renderer


def _render(request: ClientRequest, envelope: Envelope, reasoning: bool) -> Renderer:
    frames = _Frames(request, envelope, reasoning)
    data: bytes | bytearray = b""
    try:
        while (batch := (yield data)) is not None:
            data = frames.of_run(batch.chunks) if type(batch.chunks) is Run else frames.of(batch.chunks)
    except Failure as failure:
        data = bytearray()
        append_event(data, failure.body())
        return bytes(data)  # no [DONE] follows
    return _DONE


class _Frames:
    """Writes the chunks of one answer as events. What it writes of a chunk depends on nothing that came before."""

    def __init__(self, request: ClientRequest, envelope: Envelope, reasoning: bool) -> None:
        self._usage_asked = bool(request.body.get("stream_options", {}).get("include_usage"))
        self._speaks_functions, self._reasoning = request.answer, reasoning
        self._head: Json = {
            "id": f"chatcmpl-{envelope.unique}",
            "object": "chat.completion.chunk",
            "created": envelope.created,
            "model": envelope.model,
        }
        self._mark = envelope.unique  # a text that no upstream knows
        self._chunk: Json | None = None  # of the run that was written last
        self._before = self._between = self._after = b""  # what stands around its texts

    def of(self, chunks: Iterable[Json]) -> bytearray:
        """Return the events of chunks, which are changed."""
        usage_asked, data = self._usage_asked, bytearray()
        for chunk in chunks:
            if "usage" in chunk:
                if not usage_asked:
                    continue
            elif usage_asked:
                chunk["usage"] = None
            if not self._reasoning:
                emptied = [hide_reasoning(choice["delta"]) for choice in chunk["choices"]]
                if emptied and all(emptied):
                    continue
            if self._speaks_functions:
                chunk = functions.chunk_with_function(chunk)
            chunk.update(self._head)
            append_event(data, chunk)
        return escape_line_ends(data)

    def of_run(self, run: Run) -> bytes | bytearray:
        """Return the events of a run: one is written, with a mark for its text, which the texts then replace."""
        if run.chunk is not self._chunk:
            self._chunk = run.chunk
            event = bytes(self.of([with_text(run.chunk, run.field, self._mark)]))
            before, mark, after = event.partition(f'"{self._mark}"'.encode())
            self._before, self._after = before + b'"', b'"' + after if mark else b""
            self._between = self._after + self._before
        if not self._after:  # it is not shown
            return self.of(run)
        return b"".join((self._before, self._between.join(run.texts), self._after))


def hide_reasoning(message: Json) -> bool:
    """Take the reasoning out of a message or a delta. Return whether that was all there was."""
    was = bool(message)
    for name in _REASONING:
        message.pop(name, None)
    return was and not message


def escape_line_ends(data: bytearray) -> bytearray:
    """Escape the three characters that some clients take for line ends inside an event: NEL, LS and PS."""
    if b"\xe2\x80" in data or b"\xc2\x85" in data:
        for char in ("\u0085", "\u2028", "\u2029"):
            data = data.replace(char.encode(), f"\\u{ord(char):04x}".encode())
    return data
