"""A whole chat completion made canonical, and what it shares with a stream: the choices that came together."""

from typing import Any, Final

from ..common.error_shapes import SIGNS, TOLD, told_instead
from ..common.finish_reasons import reason_of
from ..common.typed import ANSWER, logprobs, typed
from ..common.usage import merged, usage_of
from ..contract import Json, Translator, Upstream
from ..errors import UpstreamBadOutput, UpstreamTruncated
from ..sse import Event
from .errors import in_band, refuse_errors
from .normalize import drop_private_fields, whole_message

# What a translator stumbles over in an answer of the wrong shape.
MISSHAPEN: Final = (AttributeError, LookupError, TypeError, ValueError)
_WRONG: Final = TOLD | {"object"}  # names of which one is in every choice that tells an error


def misshapen() -> UpstreamBadOutput:
    """Return the failure of an answer of the wrong shape."""
    return UpstreamBadOutput("The upstream's answer does not have the shape of a chat completion.")


def whole(upstream: Upstream) -> Translator:
    """Return the translator of an answer that comes in one piece."""
    event = yield []
    if event is None:
        raise UpstreamTruncated
    try:
        return [_canonical(event, upstream)]
    except MISSHAPEN as error:
        raise misshapen() from error


def _canonical(event: Event, upstream: Upstream) -> Json:
    """Return the chat completion that an event holds, in canonical form."""
    body = event.data
    if not isinstance(body, dict):
        raise UpstreamBadOutput("The upstream's answer is not a JSON object.", code="upstream_bad_json")
    choices = body.get("choices")
    if event.name or not SIGNS.isdisjoint(body) or body.get("object") == "error":
        refuse_errors(event.name, body, bool(choices) and not is_bare(choices))
    if type(choices) is not list or {*map(type, choices)} != {dict}:
        if not choices and (wrong := told_instead(body, sure=False)):
            raise in_band(wrong)
        raise UpstreamBadOutput("The upstream's answer holds no choices.", code="upstream_bad_json")
    usage, elsewhere = body.get("usage"), drop_private_fields(body)
    if elsewhere:
        usage = merged(elsewhere, usage)
    number(choices)
    typed(body, ANSWER)
    for choice in choices:
        choice["logprobs"] = None if choice.get("logprobs") is None else logprobs(choice["logprobs"])
        choice.pop("native_finish_reason", None)
        if not _WRONG.isdisjoint(choice):
            refuse_errors("", choice)
        message = choice.get("message") or choice.pop("delta", None) or legacy(choice)
        for holder in choice, message:
            if "usage" in holder:
                usage = merged(usage, holder.pop("usage"))
        message = choice["message"] = whole_message(message, upstream.host.think_tags)
        choice["finish_reason"] = reason_of(
            choice.get("finish_reason"), bool(message.get("tool_calls")), "function_call" in message
        )
    body["usage"] = usage_of(usage)
    return body


def number(choices: list[Json]) -> None:
    """Set the indexes of choices that came together, in place, where the host left one out or gave one twice."""
    if len(choices) == 1 and type(choices[0].get("index")) is int:
        return
    indexes = [choice.get("index") for choice in choices]
    if {*map(type, indexes)} != {int} or len({*indexes}) < len(indexes):
        for position, choice in enumerate(choices):
            choice["index"] = position


def is_bare(choices: Any) -> bool:
    """Whether no choice says anything: then what stands beside them may be an error."""
    return isinstance(choices, list) and not any(
        says_anything(said)
        for choice in choices
        if isinstance(choice, dict)
        for said in (choice.get("message") or choice.get("delta") or legacy(dict(choice)),)
    )


def legacy(choice: Json) -> Json:
    """The message of a choice that has neither message nor delta: its `text`, as in the completions of old."""
    text = choice.pop("text", None)
    return {} if text is None else {"content": text}


def says_anything(delta: Json) -> bool:
    """Whether a delta says more than its role."""
    return any(value for name, value in delta.items() if name not in ("role", "usage"))
