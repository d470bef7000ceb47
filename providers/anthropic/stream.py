"""The answer of Claude, read event by event: message stream events → chat completion chunks.

https://platform.claude.com/docs/en/build-with-claude/streaming and recorded streams. message_state.py holds what an answer has
said so far.
"""

from collections.abc import Callable

from ..chunks import chunk
from ..common.error_shapes import told_instead
from ..contract import Call, Ended, Json, Repeatable, Translator, prime
from ..errors import Failure, UpstreamBadOutput, UpstreamTruncated
from ..sse import refuse_value
from .errors import to_failure
from .message_state import MessageState, Way

_HANDLERS: dict[str, Callable[[MessageState, Json], list[Json]]] = {
    "message_start": MessageState.begin,
    "content_block_start": MessageState.open,
    "content_block_delta": MessageState.on_block_delta,
    "content_block_stop": MessageState.close,
    "message_delta": MessageState.on_message_delta,
}


def translate(call: Call, streamed: bool, way: Way, reasoning: bool) -> Translator:
    """Return the primed translator of a call's answer, which may be whole in any case: the message is one event."""
    return prime(_translate(way, reasoning))


def _translate(way: Way, reasoning: bool) -> Translator:
    """The translator of one answer (see contract.Translator).

    What it raises carries the usage counted so far: it was paid for.
    """
    answer = MessageState(way, reasoning)
    streaming = False  # text goes to the client at once: the role has been sent, and nothing is held back
    chunks: list[Json] = []
    try:
        while (event := (yield chunks)) is not None:
            data = event.data
            if type(data) is not dict:
                if event.name == "error":
                    raise to_failure(data)
                refuse_value(event)
                chunks = Ended() if answer.told else []
                continue
            kind = data.get("type")
            # Nearly every event is a piece of text: the short way first.
            if (
                kind == "content_block_delta"
                and streaming
                and (delta := data["delta"]).get("type") == "text_delta"
                and type(text := delta["text"]) is str
                and text
            ):
                answer.length += len(text)
                chunks = repeatable = Repeatable((chunk({"content": text}),))
                repeatable.skipped = answer.skip
            elif kind == "message_stop":
                return answer.begun(answer.finish())
            elif kind == "error" or event.name == "error" or (kind is None and ("error" in data or told_instead(data))):
                raise to_failure(data)
            elif kind == "message":
                return answer.begun(answer.whole(data))
            else:
                handler = _HANDLERS.get(kind or "")
                chunks = handler(answer, data) if handler else []
                if not answer.said:
                    chunks = answer.begun(chunks)
                streaming = answer.said and answer.held is None and not (answer.fresh or answer.final)
                if answer.told:
                    chunks = Ended(chunks)
        if answer.told:
            return answer.begun(answer.finish())
        raise UpstreamTruncated
    except (KeyError, TypeError, AttributeError) as bad:
        raise count_in(
            UpstreamBadOutput("The upstream sent an event that its protocol does not know."), answer
        ) from bad
    except Failure as failed:
        count_in(failed, answer)
        raise


def count_in(failure: Failure, answer: MessageState) -> Failure:
    """Return the failure with the usage counted so far: it was paid for."""
    if answer.counted:
        failure.usage = answer.usage()
    return failure
