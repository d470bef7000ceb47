"""The order of an answer's pieces, where thinking, texts and tool calls alternate.

A chat message keeps them apart: thinking_blocks or reasoning_items, content, tool_calls. Claude and OpenAI's Responses
refuse, or misread, a turn that comes back in another order than they gave it. So the message says the order too, as
`output_order`: a list of {"type": "thinking"}, {"type": "text", "start": 0, "end": 5} (characters of content; `phase`,
if it has one) and {"type": "call", "id": "…"}. The reasoning cache keeps it beside the thinking.
"""

from typing import Any, Final

from ..contract import Json

FIELD: Final = "output_order"
_PLACES: Final = {"thinking": 0, "text": 1, "call": 2}


def told(order: list[Json]) -> Json:
    """Return the field that tells an order, or {} where it matters to nobody.

    It does where texts have phases, and beside calls where there is more than one piece of thinking, or one that does not
    come first.
    Pieces of other types (of the upstream's own tools) cannot come back: an order with them fits no message.
    """
    places = [_PLACES.get(entry["type"], -1) for entry in order]
    thoughts = places.count(0)
    matters = thoughts > 1 or (thoughts == 1 and -1 not in places and places != sorted(places))
    return {FIELD: order} if (matters and 2 in places) or any("phase" in entry for entry in order) else {}


def arranged(message: Json, thoughts: list[Json]) -> list[tuple[Json, Any]] | None:
    """Return the pieces of an assistant message in the order it names, each with its entry of the order.

    A piece is one of `thoughts`, a text, or a tool call. None where the message names no order, or one that does not fit
    it or leaves out words of it: a client may have edited it. One that brings calls without the content beside them gets
    its calls in order.
    """
    order, text = message.get(FIELD), _text(message.get("content"))
    if not isinstance(order, list) or text is None:
        return None
    calls = {call["id"]: call for call in message.get("tool_calls") or ()}
    left, end = iter(thoughts), 0
    made: list[tuple[Json, Any]] = []
    for entry in order:
        match entry:
            case {"type": "thinking"} if (thought := next(left, None)) is not None:
                made.append((entry, thought))
            case {"type": "text", "start": int(), "end": int()} if not text:
                pass
            case {"type": "text", "start": int(start), "end": int(stop)} if (
                end <= start <= stop <= len(text) and not text[end:start].strip()
            ):
                made.append((entry, text[start:stop]))
                end = stop
            case {"type": "call", "id": str(ident)} if ident in calls:
                made.append((entry, calls.pop(ident)))
            case _:
                return None
    return None if calls or end != len(text) or next(left, None) is not None else made


def _text(content: Any) -> str | None:
    """The text of a content that is nothing else."""
    match content:
        case None | str():
            return content or ""
        case [*parts] if all(isinstance(part, dict) and isinstance(part.get("text"), str) for part in parts):
            return "".join(part["text"] for part in parts)
    return None
