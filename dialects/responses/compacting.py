"""Requests that have their conversation made shorter, as dialects of their own: the same request, with another answer. Pure.

Natively they are passed on. Translated, the model is asked for a summary, which comes as one item (compaction.py).
"""

from collections.abc import Mapping
from typing import Final

from providers import codec
from providers.chunks import collect
from providers.contract import Json
from providers.errors import BadRequest, Failure

from .. import responses
from ..chat.stream import escape_line_ends
from ..contract import ClientRequest, Envelope, Renderer, end_of
from ..validation import read_json
from . import compaction


class Compacting:
    """A dialect. operation: responses, for requests that end in a trigger, or responses/compact."""

    headers: Final = responses.headers
    header_form: Final = responses.header_form
    keep_alive: Final = responses.keep_alive
    parameters: Final = responses.parameters
    told_in_stream: Final = responses.told_in_stream
    error_status = staticmethod(responses.error_status)
    error_body = staticmethod(responses.error_body)

    def __init__(self, operation: str) -> None:
        self.operation = operation
        self._trigger = operation == responses.operation

    def parse(self, data: bytes, headers: Mapping[str, str]) -> ClientRequest:
        """Return the request for a summary. Raises BadRequest, ModelNotFound."""
        raw = read_json(data)
        if not self._trigger and isinstance(raw, dict) and raw.get("stream"):
            raise BadRequest("This is not streamed.", param="stream", code="unsupported_value")
        if isinstance(raw, dict) and compaction.triggered(raw):
            data = codec.encode(compaction.without_trigger(raw))
        asked = responses.parse(data, headers)
        body = compaction.question(asked.body)
        return asked._replace(body=body, raw=raw)

    def completion(self, request: ClientRequest, answer: Json, envelope: Envelope, reasoning: bool) -> Json:
        """Return the answer that holds the summary. Raises UpstreamBadOutput where the model gave none."""
        response = responses.completion(request, answer, envelope, reasoning)
        item = compaction.item(response, envelope.unique)
        if self._trigger:
            return {**response, "output": [item]}
        return {
            "id": response["id"],
            "object": "response.compaction",
            "created_at": response["created_at"],
            "output": [*compaction.latest(request.raw.get("input")), item],
            "usage": response["usage"],
        }

    def render(self, request: ClientRequest, envelope: Envelope, reasoning: bool) -> Renderer:
        """Return the primed renderer of a streamed answer: one item, told once the summary is whole."""
        renderer = self._render(request, envelope, reasoning)
        next(renderer)
        return renderer

    def _render(self, request: ClientRequest, envelope: Envelope, reasoning: bool) -> Renderer:
        chunks: list[Json] = []
        try:
            while (batch := (yield b"")) is not None:
                chunks += batch.chunks
        except Failure as failure:
            return end_of(responses.render(request, envelope, reasoning), failure)
        response = self.completion(request, collect(chunks), envelope, reasoning)
        (item,) = response["output"]
        begun = {**response, "status": "in_progress", "completed_at": None, "output": [], "usage": None}
        events: list[tuple[str, Json]] = [
            ("response.created", {"response": begun}),
            ("response.in_progress", {"response": begun}),
            ("response.output_item.added", {"output_index": 0, "item": item}),
            ("response.output_item.done", {"output_index": 0, "item": item}),
            ("response.completed", {"response": response}),
        ]
        data = bytearray()
        for n, (kind, payload) in enumerate(events):
            data += f"event: {kind}\ndata: ".encode()
            data += codec.encode({"type": kind, "sequence_number": n, **payload}) + b"\n\n"
        return bytes(escape_line_ends(data))
