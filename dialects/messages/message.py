"""A whole answer as an Anthropic message: the fold of the events that tell the same answer in a stream."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from providers.chunks import chunk
from providers.common.arguments import RAW, as_object
from providers.contract import Json

from .. import seal
from ..contract import ClientRequest, Envelope
from .stream import MessageEvents

_THOUGHT: Final = ("reasoning_content", *seal.FIELDS.values())
# Type of a delta → the field of the block that it adds to.
_GROWS: Final = {
    "text_delta": "text",
    "thinking_delta": "thinking",
    "signature_delta": "signature",
    "input_json_delta": "partial_json",
}


def completion(
    request: ClientRequest, answer: Json, envelope: Envelope, reasoning: bool, chunks: Sequence[Json] = ()
) -> Json:
    """Return a whole answer as a message."""
    message = MessageEvents(request, envelope, reasoning)
    events = [event for piece in chunks_of(answer) for event in message.see(piece)]
    return fold([*events, *message.end()])


def chunks_of(answer: Json) -> Iterator[Json]:
    """The chunks that a whole answer could have come in: thinking, text, calls. Its calls are in them, and get an index."""
    for choice in answer["choices"][:1]:
        message = choice["message"]
        yield chunk({name: message[name] for name in _THOUGHT if message.get(name)})
        yield chunk({name: message[name] for name in ("content", "refusal") if message.get(name)})
        for index, call in enumerate(message.get("tool_calls") or ()):
            call["index"] = index
            yield chunk({"tool_calls": [call]})
        last = chunk({}, choice.get("finish_reason"))
        last["choices"][0]["stop_reason"] = choice.get("stop_reason")
        yield last
    yield {"choices": [], "usage": answer.get("usage")}


def fold(events: Iterable[Json]) -> Json:
    """Return the message that these events tell, as the SDKs put it together."""
    message: Json = {}
    grown: list[dict[str, list[str]]] = []  # by block: field → its pieces
    for event in events:
        match event:
            case {"type": "message_start", "message": dict(begun)}:
                message = {**begun, "content": []}
            case {"type": "content_block_start", "content_block": dict(block)}:
                message["content"].append(dict(block))
                grown.append({})
            case {"type": "content_block_delta", "index": int(at), "delta": dict(delta)}:
                field = _GROWS[delta["type"]]
                grown[at].setdefault(field, []).append(delta[field])
            case {"type": "message_delta", "delta": dict(delta), "usage": dict(usage)}:
                message |= delta
                message["usage"] = {**message["usage"], **usage}
    for block, pieces in zip(message["content"], grown, strict=True):
        joined: Json = {field: "".join(each) for field, each in pieces.items()}
        if block["type"] == "tool_use":
            joined = {"input": _input(joined.get("partial_json", ""), message["stop_reason"] == "max_tokens")}
        block |= joined
    return message


def _input(arguments: str, cut: bool) -> Json:
    """Return a call's input. cut: the answer ended at its limit, so that arguments which are no JSON are not whole."""
    value = as_object(arguments)
    return value if value is not None else {} if cut else {RAW: arguments}
