"""Requests that have their conversation made shorter, as dialects of their own: the same request, with another answer. Pure.

Natively they are passed on. Translated, the model is asked for a summary, which comes as one item (compaction.py).
"""

from collections.abc import Mapping, Sequence
from typing import Final

from providers import codec
from providers.chunks import collect
from providers.contract import Batch, Json
from providers.errors import BadRequest

from .. import responses
from ..contract import ClientRequest, Envelope, Renderer
from ..validation import read_json
from . import compaction, state
from .stream import wanted_of


class Compacting:
    """A dialect. operation: responses, for requests that end in a trigger, or responses/compact."""

    headers: Final = responses.headers
    header_form: Final = responses.header_form
    keep_alive: Final = responses.keep_alive
    parameters: Final = responses.parameters
    begins_early: Final = responses.begins_early
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

    def completion(
        self, request: ClientRequest, answer: Json, envelope: Envelope, reasoning: bool, chunks: Sequence[Json] = ()
    ) -> Json:
        """Return the answer that holds the summary. Raises UpstreamBadOutput where the model gave none."""
        response = responses.completion(request, answer, envelope, reasoning, chunks)
        item = compaction.item(response, envelope.unique)
        if self._trigger:
            return {**response, "output": [item]}
        kept = state.with_ids(compaction.latest(request.raw.get("input")), envelope.unique)
        return {
            "id": response["id"],
            "object": "response.compaction",
            "created_at": response["created_at"],
            "output": [*({"status": "completed", **each} for each in kept), item],
            "usage": response["usage"],
        }

    def render(
        self, request: ClientRequest, envelope: Envelope, reasoning: bool, begun: Renderer | None = None
    ) -> Renderer:
        """Return the renderer of a streamed answer."""
        if isinstance(begun, _Summarised):
            begun.go_on(envelope, reasoning)
        return begun or _Summarised(self, request, envelope, reasoning)


class _Summarised(responses.Answered):
    """Passes a native answer on as it comes. Of any other it writes one item, once the summary is whole."""

    def __init__(self, dialect: Compacting, request: ClientRequest, envelope: Envelope, reasoning: bool) -> None:
        super().__init__(wanted_of(request), envelope, reasoning)
        self._dialect, self._request = dialect, request
        self._chunks: list[Json] = []

    def send(self, batch: Batch | None) -> bytes | bytearray:
        if self._native.seen or (batch is not None and batch.raw):
            return super().send(batch)
        if batch is None:
            # Of what the model thought nothing is told.
            answer = collect(self._chunks)
            self._tell(self._dialect.completion(self._request, answer, self._machine.envelope, False))
            raise StopIteration(bytes(self._taken()))
        self._chunks += batch.chunks
        return b"" if batch.chunks else super().send(batch)

    def _tell(self, response: Json) -> None:
        (item,) = response["output"]
        self._machine.open()
        say = self._machine.events.say
        say("response.output_item.added", output_index=0, item=item)
        say("response.output_item.done", output_index=0, item=item)
        say("response.completed", response=response)
        self._machine.response = response
