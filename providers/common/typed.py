"""The types that OpenAI's SDKs give the fields of an answer: a host's value of another type does not reach a client.

A number in place of a text becomes a text. Any other value of a wrong type is removed, and with it the field. Fields that
the SDKs do not type pass through. openai 3.54.0, types/chat/chat_completion.py and chat_completion_chunk.py.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final, NotRequired, TypedDict

import msgspec

from .. import codec
from ..contract import Json
from .arguments import as_text

Rules = Mapping[str, Callable[[Any], Any]]  # field → what gives its value the type; None: the field is removed


class _Top(TypedDict):
    token: str
    logprob: float
    bytes: NotRequired[list[int] | None]


class _Token(_Top):
    top_logprobs: NotRequired[list[_Top] | None]


class _Logprobs(TypedDict, total=False):
    content: list[_Token] | None
    refusal: list[_Token] | None


def typed(fields: Json, rules: Rules) -> bool:
    """Give the fields of an object their types, in place. Return whether a value had another."""
    wrong = False
    for name in fields.keys() & rules.keys():
        rule, value = rules[name], fields[name]
        if value is None or (rule is text and type(value) is str):
            continue
        fields[name] = better = rule(value)
        wrong = wrong or better != value
    if wrong:
        for name in [name for name, value in fields.items() if value is None and name in rules]:
            del fields[name]
    return wrong


def text(value: Any) -> str | None:
    """Return a text; a number as one; None for anything else."""
    if isinstance(value, str):
        return value
    return codec.encode_text(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def thinking(value: Any) -> str | None:
    """Return a reasoning text, also where it stands in an object."""
    if isinstance(value, dict):
        value = value.get("text") or value.get("content")
    return text(value)


def _number(value: Any) -> int | None:
    return value if type(value) is int else None


def logprobs(value: Any) -> Any:
    """Return the logprobs of a choice; None for what is none."""
    try:
        msgspec.convert(value, _Logprobs)
    except msgspec.ValidationError:
        return None
    return value


def _object(rules: Rules) -> Callable[[Any], Json | None]:
    """The rule of a field that holds an object, whose fields have these rules."""

    def rule(value: Any) -> Json | None:
        if not isinstance(value, dict):
            return None
        fields: Json = dict(value)
        typed(fields, rules)
        return fields

    return rule


def _texts(value: Any) -> Json | None:
    return (
        {name: said for name, each in value.items() if (said := text(each)) is not None}
        if isinstance(value, dict)
        else None
    )


def _objects(rules: Rules) -> Callable[[Any], list[Json] | None]:
    """The rule of a field that holds a list of objects, whose fields have these rules."""
    rule = _object(rules)
    return lambda value: (
        [better for each in value if (better := rule(each)) is not None] if isinstance(value, list) else None
    )


_CITATION: Final[Rules] = {"url": text, "title": text, "start_index": _number, "end_index": _number}
_AUDIO: Final[Rules] = {"id": text, "data": text, "transcript": text, "expires_at": _number}
TEXTS: Final = frozenset({"content", "refusal", "reasoning_content"})
DELTA: Final[Rules] = {  # and message
    "content": text,
    "refusal": text,
    "reasoning_content": thinking,
    "annotations": _objects({"url_citation": _object(_CITATION)}),
    "audio": _object(_AUDIO),
    "function_call": _object({"name": text, "arguments": as_text}),
}
ANSWER: Final[Rules] = {  # and chunk
    "service_tier": lambda value: value if isinstance(value, str) and value else None,
    "system_fingerprint": text,
    "metadata": _texts,
    "moderation": _object({}),
}
