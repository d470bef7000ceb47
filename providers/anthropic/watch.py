"""Claude's answers that are passed on as they came: what of them counts here. No text is decoded.

It must know when an answer begins to say something (until then another target may take over), whether it came to its end,
what was used, and about how much was written, for answers that break off.
"""

from collections.abc import Callable, Mapping
from typing import Final

from .. import codec
from ..chunks import EARLY, chunk
from ..common.error_shapes import told_instead
from ..contract import Json, Translator, prime
from ..errors import Failure, UpstreamBadOutput, UpstreamTruncated
from ..frames import SAYS, object_of
from ..sse import Event
from .errors import to_failure
from .message_state import MessageState, Way
from .stream import count_in

_AROUND: Final = 90  # bytes of a delta's data that are no text
_SILENT: Final = frozenset({"message_start", "ping"})  # events that say nothing yet
# Events that are none of an answer's without message_start; SDKs fail at them.
_WITHIN: Final = frozenset(
    {"content_block_start", "content_block_delta", "content_block_stop", "message_delta", "message_stop"}
)


def watch(streamed: bool) -> Translator:
    """Return the primed watcher of an answer: of a stream's undecoded events, or of a whole message, decoded."""
    return prime(_stream() if streamed else _whole())


def _stream() -> Translator:
    answer = MessageState(Way(), False)
    chunks: list[Json] = []
    try:
        while not answer.started:
            if (event := (yield chunks)) is None:
                raise UpstreamTruncated
            if event.name in _WITHIN:
                raise UpstreamBadOutput("The upstream goes on with an answer that it never began.")
            chunks = _handled(answer, event)
        while (event := (yield chunks)) is not None:
            name, data = event.name, event.data
            if name == "content_block_delta":
                answer.opened, answer.final = True, False
                chunks = [chunk({"content": "." * max(1, len(data) - _AROUND)})]
                continue
            if name == "message_stop":
                return [_used(answer)]
            chunks = _handled(answer, event)
            if type(data) is bytes and name not in _SILENT:
                answer.opened = True
                chunks = [chunk(SAYS), *chunks]
        raise UpstreamTruncated
    except Failure as failed:
        raise count_in(failed, answer) from None


def _whole() -> Translator:
    answer = MessageState(Way(), False)
    event = yield []
    message = event.data if event is not None and isinstance(event.data, dict) else {}
    if message.get("type") == "error" or ("content" not in message and told_instead(message)):
        raise to_failure(message)
    if not isinstance(message.get("content"), list):
        raise UpstreamBadOutput("The upstream's answer is not a message.")
    _begin(answer, {"message": message})
    text = "." * len(codec.encode(message["content"])) if not answer.counted.get("output_tokens") else ""
    finish = "content_filter" if message.get("stop_reason") == "refusal" else "stop"
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": finish}
    return [{"choices": [choice], "usage": answer.usage() if answer.counted else None}]


def _handled(answer: MessageState, event: Event) -> list[Json]:
    """Return the chunks of an event of which more than its length counts; none of any other."""
    handler = _HANDLERS.get(event.name)
    return handler(answer, object_of(event.data)) if handler else []


def _begin(answer: MessageState, event: Json) -> list[Json]:
    message = event.get("message")
    if not isinstance(message, dict):
        raise UpstreamBadOutput("The upstream began its answer without a message.")
    answer.begin(event)
    return [_used(answer)] if answer.counted else []


def _delta(answer: MessageState, event: Json) -> list[Json]:
    answer.on_message_delta({"delta": {}, "usage": event.get("usage")})
    match event.get("delta"):
        case {"stop_reason": "refusal"}:
            return [chunk({}, "content_filter")]
    return []


def _fail(answer: MessageState, event: Json) -> list[Json]:
    raise to_failure(event)


def _unnamed(answer: MessageState, event: Json) -> list[Json]:
    if "error" in event or told_instead(event):
        raise to_failure(event)
    if not answer.started:
        raise UpstreamBadOutput("The upstream's stream is not of its protocol.")
    return []


_HANDLERS: Final[Mapping[str, Callable[[MessageState, Json], list[Json]]]] = {
    "message_start": _begin,
    "message_delta": _delta,
    "error": _fail,
    "": _unnamed,
}


def _used(answer: MessageState) -> Json:
    """Return the chunk that says what was used, and whether more was written since that was counted."""
    return {"choices": [], "usage": answer.usage(), EARLY: not answer.final} if answer.counted else {"choices": []}
