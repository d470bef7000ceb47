"""Chat completion chunks: how they are made, and how a stream of them becomes the whole answer."""

from collections.abc import Iterable
from typing import Any, Final

from .contract import Json
from .errors import UpstreamBadOutput

EARLY: Final = "usage_early"
# Deltas of these fields are pieces of one text; every other string is a value of its own.
_TEXTS = frozenset({"content", "refusal", "reasoning_content", "reasoning", "arguments", "input", "transcript", "data"})


def chunk(delta: Json, finish: str | None = None, index: int = 0) -> Json:
    """One streamed piece of choice `index`."""
    return {"choices": [{"index": index, "delta": delta, "logprobs": None, "finish_reason": finish}]}


def opening(first: Json | None, index: int = 0) -> Json:
    """The chunk that opens choice `index`; first: the delta it begins with, None if it says nothing.

    OpenAI's content is "" where text follows, and null where a tool call or anything else comes first.
    """
    text = first is None or "content" in first
    return chunk({"role": "assistant", "content": "" if text else None}, None, index)


def after_opening(chunks: list[Json]) -> list[Json]:
    """Return the first chunks of an answer behind the one that opens it."""
    first = chunks[0]["choices"][0]
    return [opening(None if first["finish_reason"] else first["delta"]), *chunks]


def says_something(piece: Json) -> bool:
    """Whether a chunk does more than open the answer: from then on no other upstream can take over."""
    for choice in piece["choices"]:
        if "message" in choice or choice.get("finish_reason"):
            return True
        if any(value for name, value in choice["delta"].items() if name != "role"):
            return True
    return False


def usage_chunk(usage: Json, early: bool = False) -> Json:
    """Return the last chunk of a stream, which is sent to clients that asked for it.

    early: more of the answer came after the upstream had counted, so that the usage is less than was used. The chunk, and
    what `collect` makes of it, says so in EARLY, which is for the usage ledger alone and is removed there.
    """
    return {"choices": [], "usage": usage, EARLY: True} if early else {"choices": [], "usage": usage}


def collect(chunks: Iterable[Json]) -> Json:
    """Chunks of one stream → the chat.completion they add up to, without id, created and model.

    Unknown fields survive: text deltas join, lists grow, other values are replaced by later ones. Raises UpstreamBadOutput for
    pieces that do not fit together, such as a text where an object was.
    """
    try:
        return _collected(chunks)
    except (TypeError, AttributeError, LookupError, ValueError, RecursionError) as odd:
        raise UpstreamBadOutput("The upstream's answer does not have the shape of its protocol.") from odd


def _collected(chunks: Iterable[Json]) -> Json:
    whole: Json = {}
    choices: dict[int, Json] = {}
    for piece in chunks:
        if len(piece) > 1:
            whole |= {name: value for name, value in piece.items() if name != "choices" and value is not None}
        for choice in piece["choices"]:
            have = choices.get(index := choice["index"])
            if have is None:
                have = choices[index] = {"index": index, "message": {}, "logprobs": None, "finish_reason": None}
            for name, value in choice.items():
                if name == "delta":
                    _grow(have["message"], value)
                elif value is None or name == "index":
                    pass
                elif name == "logprobs" and isinstance(value, dict):
                    have["logprobs"] = have["logprobs"] or {}
                    _grow(have["logprobs"], value)
                else:
                    have[name] = value
    for choice in choices.values():
        choice["message"] = _message(_joined(choice["message"]))
    return {"choices": [choices[index] for index in sorted(choices)], **whole}


def _message(delta: Json) -> Json:
    calls, content = delta.pop("tool_calls", None), delta.pop("content", None)
    message: Json = {
        "role": delta.pop("role", "assistant"),
        "content": content or (None if calls else ""),
        "refusal": None,
    }
    if delta:
        if delta.get("refusal"):
            message["content"] = content or None
        message |= delta
    if calls:
        message["tool_calls"] = [{k: v for k, v in call.items() if k != "index"} for call in calls]
    return message


class _Pieces(list[str]):
    """A text that grows: joined once, at the end. Adding to a string copies it, in a long answer 100,000 times."""


def _grow(have: Json, more: Json) -> None:
    """Add what a delta says. Lists and objects are copied, so that growing never reaches into a chunk."""
    for name, value in more.items():
        known = have.get(name)
        if value is None:
            have.setdefault(name, None)
        elif name == "tool_calls":
            _grow_calls(have.setdefault("tool_calls", {}), value)
        elif isinstance(value, str):
            if not known or name not in _TEXTS:
                have[name] = value
            elif isinstance(known, _Pieces):
                known.append(value)
            else:
                have[name] = _Pieces((known, value)) if isinstance(known, str) else value
        elif isinstance(value, list):
            if isinstance(known, list) and not isinstance(known, _Pieces):
                known += value
            else:
                have[name] = value.copy()
        elif isinstance(value, dict):
            if isinstance(known, dict):
                _grow(known, value)
            else:
                have[name] = value.copy()
        else:
            have[name] = value


def _grow_calls(calls: dict[int, Json], more: list[Json]) -> None:
    """Grow tool calls, by index: a list of them would be searched for every fragment."""
    for call in more:
        known = calls.get(call["index"])
        if known is None:
            known = calls[call["index"]] = {}
        _grow(known, call)


def _joined(have: Json) -> Json:
    for name, value in have.items():
        if isinstance(value, _Pieces):
            have[name] = "".join(value)
        elif name == "tool_calls":
            have[name] = [_joined(call) for call in value.values()]
        elif isinstance(value, dict):
            _joined(value)
    return have


def tool_call(index: int, function: Json, **first: Any) -> Json:
    """A delta that opens tool call `index` (with id= and type=) or goes on with its arguments."""
    return {"tool_calls": [{"index": index, **first, "function": function}]}
