"""A Responses request as any upstream may have it natively: without what only this server understands. Pure.

Ids and reasoning of this server's own are removed: no upstream knows them. A conversation that this server made shorter goes
as a message. Everything else stays as it is, keys that nobody knows included.
"""

import re
from typing import Any, Final

from providers.contract import Json
from providers.openai.responses.pairs import PLACES, found, put, translated

from .. import seal
from . import compaction

_OWN: Final = re.compile(r"[a-z]{2,8}_ms[0-9a-f]{32}(?:[0-9a-f]{4})?")
_REASONING: Final = "input.reasoning"
# Default of this server's configuration (a parameter of chat completions) → where it stands in a Responses request.
_SAME: Final = ("temperature", "top_p", "parallel_tool_calls", "service_tier", "prompt_cache_key", "prompt_cache_retention",
                "safety_identifier", "user", "metadata", "store")  # fmt: skip
_PLACES: Final[dict[str, tuple[str, ...]]] = PLACES | {name: (name,) for name in _SAME}


def is_own(ident: Any) -> bool:
    """Whether an id is of this server's making."""
    return isinstance(ident, str) and _OWN.fullmatch(ident) is not None


def cleaned(raw: Json) -> tuple[Json, tuple[str, ...]]:
    """Return a request without what is this server's own, and what was dropped for that. The request is not changed."""
    given = raw.get("input")
    if not isinstance(given, list):
        return raw, ()
    items = [_cleaned(item) if isinstance(item, dict) else item for item in given]
    if all(new is old for new, old in zip(items, given, strict=True)):
        return raw, ()
    left = [item for item in items if item is not None]
    return {**raw, "input": left}, (_REASONING,) if len(left) < len(items) else ()


def without_reasoning_of(raw: Json, idents: frozenset[str]) -> tuple[Json, tuple[str, ...]]:
    """Return a request without the reasoning items of these ids, and what was dropped for that."""
    given = raw.get("input")
    if not idents or not isinstance(given, list):
        return raw, ()
    left = [each for each in given if not (is_reasoning(each) and each.get("id") in idents)]
    return ({**raw, "input": left}, (_REASONING,)) if len(left) < len(given) else (raw, ())


def is_reasoning(item: Any) -> bool:
    return isinstance(item, dict) and item.get("type") == "reasoning"


def with_defaults(raw: Json, missing: Json) -> Json:
    """Return a request with the defaults of the configuration that it does not name. missing: as chat completions call them."""
    for name, value in missing.items():
        place = _PLACES.get(name)
        if place is None:
            continue
        if isinstance(raw.get(place[0]), dict | None) and found(raw, place) is None:
            raw = dict(raw)
            put(raw, place, translated(name, value))
    return raw


def _cleaned(item: Json) -> Json | None:
    """Return an item as an upstream may have it: the same, a new one, or None where it may not have it at all."""
    text = item.get("encrypted_content")
    if isinstance(text, str) and (summary := compaction.opened(text)) is not None:
        return compaction.as_message(summary)
    own = is_own(item.get("id"))
    if is_reasoning(item) and (own or (isinstance(text, str) and text.startswith(seal.ENVELOPE))):
        return None
    return {name: value for name, value in item.items() if name != "id"} if own else item
