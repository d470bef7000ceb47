"""Answers of /v1/responses that are passed on as they came: what of them counts here. No text is decoded.

It must know when an answer begins to say something (until then another target may take over), whether it came to its end,
what was used, and about how much was written, for answers that break off. What is not known passes.
"""

from typing import Final

from ... import codec
from ...chunks import chunk, usage_chunk
from ...common.usage import spent
from ...contract import Ended, Json, Translator, prime
from ...errors import Failure, UpstreamError, UpstreamTruncated
from ...frames import SAYS, object_of
from ..errors import in_band

_AROUND: Final = 150  # bytes of a delta's data that are no text
_DONE: Final = b"[DONE]"
_SILENT: Final = frozenset({"response.created", "response.in_progress", "response.queued", "ping", "keepalive"})
_ENDS: Final = {"response.completed": "stop", "response.incomplete": "length"}
_FILTERED: Final = "content_filter"
_FAILS: Final = frozenset({"response.failed", "response.cancelled", "error"})


def watch(streamed: bool, done: bool = False) -> Translator:
    """Return the primed watcher of an answer: of a stream's undecoded events, or of a whole Response, decoded.

    done: the stream ends with [DONE], behind the last event.

    It raises what the upstream says went wrong before it has said anything; a failure after that is part of what passes.
    Raises UpstreamTruncated where a stream has no end.
    """
    return prime(_stream(done) if streamed else _whole())


def _stream(done: bool) -> Translator:
    chunks: list[Json] = []
    begun = False
    while (event := (yield chunks)) is not None:
        name, data = event.name, event.data
        if name in _ENDS:
            response = _response(object_of(data))
            end = _end(response, _FILTERED if _is_filtered(response) else _ENDS[name])
            if not done:
                return end
            chunks = Ended(end)
            continue
        if data == _DONE and type(chunks) is Ended:
            return []
        value = object_of(data) if name in _FAILS or not name else {}
        if name in _FAILS or value.get("error"):
            failure = _failure(value)
            if not begun:
                raise failure
            chunks = Ended(_usage(_response(value)))
        elif name in _SILENT or not name:
            chunks = []
        else:
            begun = True
            written = max(1, len(data) - _AROUND) if name.endswith(".delta") else 0
            chunks = [chunk({"content": "." * written} if written else SAYS)]
    if type(chunks) is Ended:
        return []
    raise UpstreamTruncated


def _whole() -> Translator:
    event = yield []
    response = event.data if event is not None and isinstance(event.data, dict) else {}
    if wrong := response.get("error"):
        raise in_band(wrong)
    told = _usage(response)
    text = "" if told else "." * len(codec.encode(response.get("output")))
    message = {"role": "assistant", "content": text}
    finish = _FILTERED if _is_filtered(response) else "stop"
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": finish}
    return [{"choices": [choice], "usage": told[0]["usage"] if told else None} | _tier(response)]


def _end(response: Json, finish: str) -> list[Json]:
    tier = _tier(response)
    return [piece | tier for piece in (chunk({}, finish), *_usage(response))]


def _is_filtered(response: Json) -> bool:
    details = response.get("incomplete_details")
    return isinstance(details, dict) and details.get("reason") == _FILTERED


def _tier(response: Json) -> Json:
    tier = response.get("service_tier")
    return {"service_tier": tier} if isinstance(tier, str) and tier else {}


def _usage(response: Json) -> list[Json]:
    """Return the chunk that says what was used; none where that is not told in a form that is known."""
    told = response.get("usage")
    try:
        return [usage_chunk({**told, **spent(told)})] if isinstance(told, dict) and told else []
    except (TypeError, AttributeError, LookupError, ValueError):
        return []


def _failure(event: Json) -> Failure:
    response = _response(event)
    wrong = response.get("error") or event.get("error") or (event if event.get("message") else None)
    failure = in_band(wrong) if wrong else UpstreamError("The upstream did not complete its answer.")
    if told := _usage(response):
        failure.usage = told[0]["usage"]
    return failure


def _response(event: Json) -> Json:
    response = event.get("response")
    return response if isinstance(response, dict) else {}
