"""Chunks of one answer → server-sent events, as OpenAI's own clients expect them."""

from typing import Final

from providers.contract import Json
from providers.errors import Failure
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
    usage_asked = bool(request.body.get("stream_options", {}).get("include_usage"))
    speaks_functions = request.answer
    head: Json = {
        "id": f"chatcmpl-{envelope.unique}",
        "object": "chat.completion.chunk",
        "created": envelope.created,
        "model": envelope.model,
    }
    data = bytearray()
    try:
        while (batch := (yield data)) is not None:
            data = bytearray()
            for chunk in batch.chunks:
                if "usage" in chunk:
                    if not usage_asked:
                        continue
                elif usage_asked:
                    chunk["usage"] = None
                if not reasoning:
                    emptied = [hide_reasoning(choice["delta"]) for choice in chunk["choices"]]
                    if emptied and all(emptied):
                        continue
                if speaks_functions:
                    chunk = functions.chunk_with_function(chunk)
                chunk.update(head)
                append_event(data, chunk)
            data = escape_line_ends(data)
    except Failure as failure:
        data = bytearray()
        append_event(data, failure.body())
        return bytes(data)  # no [DONE] follows
    return _DONE


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
