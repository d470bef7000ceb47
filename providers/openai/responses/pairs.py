"""What OpenAI's two APIs both say, in the words of chat completions and of Responses. Each pair stands once.

The bridge to upstreams (request.py, stream.py) reads it one way, the dialect of clients (dialects/responses/) the other way.
What only one of them does stays there. Pure.
"""

from typing import Any, Final, NamedTuple

from ...contract import Json


class CallForm(NamedTuple):
    """How a call of one kind of tool is told: `{"type": kind, kind: {"name": …, field: …}}`, or an item with name and field."""

    kind: str
    item: str  # the item's type; that of its output has "_output" behind it
    field: str  # what grows
    event: str  # type of the events that tell its pieces and its end, without ".delta" and ".done"


CALLS: Final = (
    CallForm("function", "function_call", "arguments", "response.function_call_arguments"),
    CallForm("custom", "custom_tool_call", "input", "response.custom_tool_call_input"),
)
BY_ITEM: Final = {form.item: form for form in CALLS}
BY_KIND: Final = {form.kind: form for form in CALLS}

# Parameter of chat → where a Responses request has it.
PLACES: Final[dict[str, tuple[str, ...]]] = {
    "max_completion_tokens": ("max_output_tokens",),
    "max_tokens": ("max_output_tokens",),
    "reasoning_effort": ("reasoning", "effort"),
    "verbosity": ("text", "verbosity"),
    "response_format": ("text", "format"),
}
# Type of a content part in chat → in Responses, where an assistant's text is output_text.
PARTS: Final = {
    "text": "input_text",
    "refusal": "refusal",
    "image_url": "input_image",
    "file": "input_file",
    "input_audio": "input_audio",
}
# finish_reason → incomplete_details.reason. Of other answers the status says that they are complete.
INCOMPLETE: Final = {"length": "max_output_tokens", "content_filter": "content_filter"}


def flat(nested_one: Json) -> Json:
    """Return an object of chat as Responses has it: its fields beside its type, not under the name of the type.

    So it is with tools, choices of them, grammars, json_schema and url_citation.
    """
    kind = nested_one["type"]
    return {"type": kind, **nested_one[kind]}


def nested(flat_one: Json) -> Json:
    """Return an object of Responses as chat has it. See flat."""
    kind = flat_one["type"]
    return {"type": kind, kind: {name: value for name, value in flat_one.items() if name != "type"}}


def translated(parameter: str, value: Any) -> Any:
    """Return the value of a parameter of chat as Responses has it: a response_format becomes flat, all else is the same."""
    if parameter == "response_format" and isinstance(value, dict):
        return flat(value) if value.get("type") == "json_schema" else {"type": value.get("type")}
    return value


def put(body: Json, place: tuple[str, ...], value: Any) -> None:
    """Set a value at a place of a Responses request; what it stands in is copied, and `body` is changed."""
    head, *rest = place
    if rest:
        inside = body.get(head)
        value = {**(inside if isinstance(inside, dict) else {}), rest[0]: value}
    body[head] = value


def found(body: Json, place: tuple[str, ...]) -> Any:
    """Return the value at a place of a Responses request; None where there is none."""
    value: Any = body
    for name in place:
        value = value.get(name) if isinstance(value, dict) else None
    return value
