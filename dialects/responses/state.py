"""What a Responses request says of earlier ones: the response it goes on from, items it only names. Pure.

server/responses.py looks them up.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

from providers import codec, density
from providers.contract import Json
from providers.errors import BadRequest, Failure

from ..validation import count_and_read, unsupported_value
from .outgoing import is_own
from .tables import TYPES

_PREVIOUS: Final = b'"previous_response_id"'
_SPELT: Final = re.compile(rb"\\u00[4-7]")  # a letter as an escape: nobody writes one, but to hide a name
_NO_TEXT: Final = re.compile(rb'\s{0,64}:\s{0,64}[^\s"]')
_PREFIXES: Final = {
    "message": "msg",
    "reasoning": "rs",
    "function_call_output": "fco",
    "custom_tool_call_output": "cto",
    "compaction": "cmp",
    **dict(TYPES.values()),
}
_NOT_PERSISTED: Final = (
    " Items are not persisted when `store` is set to false. Try again with `store` set to true, or remove this item from"
    " your input."
)
_IDENT: Final = re.compile(r"(?!\.+$)[A-Za-z0-9_.:=~-]{1,512}", re.ASCII)
_LIMIT: Final = 20  # items of a page
_MOST: Final = 100


class References(NamedTuple):
    """previous: the response a request goes on from; items: ids of items that it names, where they stand in its input."""

    previous: str | None
    items: Mapping[int, str]


def goes_on(data: bytes) -> bool:
    """Whether a request may name anything of earlier ones; `references` says whether it does."""
    short = density.outline(data)
    if b"item_reference" in short or (b"\\u00" in short and _SPELT.search(short)):
        return True
    at = short.find(_PREVIOUS)
    while at >= 0:
        if not _NO_TEXT.match(short, at := at + len(_PREVIOUS)):
            return True
        at = short.find(_PREVIOUS, at)
    return False


def is_ident(ident: Any) -> bool:
    """Whether a value may be the id of a response or an item: a text that means nothing else in a path, and can be kept."""
    return isinstance(ident, str) and _IDENT.fullmatch(ident) is not None


def by_ident(items: Sequence[Any]) -> dict[str, Json]:
    """Return those items that have an id, by it. An upstream's may be anything."""
    return {item["id"]: item for item in items if isinstance(item, dict) and is_ident(item.get("id"))}


def references(data: bytes) -> tuple[Any, References]:
    """Return a request and what it names of earlier ones. What has the wrong type is left to the parser. Raises BadRequest."""
    body = count_and_read(data)
    if not isinstance(body, dict) or body.get("conversation"):
        return body, References(None, {})
    previous, given = body.get("previous_response_id"), body.get("input")
    named = {
        at: item["id"]
        for at, item in enumerate(given if isinstance(given, list) else ())
        if isinstance(item, dict) and isinstance(item.get("id"), str) and item.get("type") == "item_reference"
    }
    return body, References(previous if isinstance(previous, str) else None, named)


def resolved(body: Json, named: Mapping[int, str], items: Mapping[str, Json]) -> list[Json]:
    """Return the items of a request's own input, with those it names in place of the references to them."""
    given = body.get("input")
    if isinstance(given, str):
        return [{"type": "message", "role": "user", "content": [{"type": "input_text", "text": given}]}]
    if not isinstance(given, list):
        return []
    return [items.get(named[at], item) if at in named else item for at, item in enumerate(given)]


def expanded(
    body: Json, named: Mapping[int, str], items: Mapping[str, Json], before: Sequence[Json], largest: int
) -> tuple[list[Json], bytes]:
    """Return the items of a request's own input, and the request that holds its whole conversation: `before`, then these.

    The request is b"" where it would be larger than that many bytes.
    """
    own = resolved(body, named, items)
    if _size_of(named, items) > largest:  # one item may be named many times
        return own, b""
    body = {**body, "input": [*before, *own] if before or isinstance(body.get("input"), list) else body.get("input")}
    body.pop("previous_response_id", None)
    whole = codec.encode(body)
    return own, whole if len(whole) <= largest else b""


def _size_of(named: Mapping[int, str], items: Mapping[str, Json]) -> int:
    """Return how many bytes of JSON the items take that are put in place of references."""
    sizes = {ident: len(codec.encode(items[ident])) for ident in set(named.values()) if ident in items}
    return sum(sizes.get(ident, 0) for ident in named.values())


def with_ids(items: Sequence[Any], unique: str) -> list[Json]:
    """Return input items as they are kept: each has an id. unique: 32 random hexadecimal digits."""
    kept: list[Json] = []
    for n, item in enumerate(items):
        if not isinstance(item, dict):
            continue
        kind = item.get("type") or "message"
        ident = item.get("id")
        if not isinstance(ident, str) or not ident:
            prefix = _PREFIXES.get(kind, "item") if isinstance(kind, str) else "item"
            ident = f"{prefix}_ms{unique}{0x8000 + n:04x}"
        content = item.get("content")
        if kind == "message" and isinstance(content, str):
            text = "output_text" if item.get("role") == "assistant" else "input_text"
            item = {**item, "content": [{"type": text, "text": content}]}
        kept.append({**item, "id": ident, "type": kind})
    return kept


def page(items: Sequence[Json], query: Mapping[str, str]) -> Json:
    """Return a page of a list of items, oldest first in `items`. query: limit, order, after. Raises BadRequest.

    What is no item at all is left out: an upstream's answer may hold anything.
    """
    items = [item for item in items if isinstance(item, dict)]
    order = query.get("order", "desc")
    if order not in ("asc", "desc"):
        raise unsupported_value(order, ("asc", "desc"), "order")
    digits = query.get("limit", str(_LIMIT))
    limit = int(digits) if re.fullmatch(r"\d{1,4}", digits, re.ASCII) else 0
    if not 1 <= limit <= _MOST:
        raise BadRequest(
            f"Invalid 'limit': expected an integer from 1 to {_MOST}.", param="limit", code="invalid_value"
        )
    left = list(items) if order == "asc" else list(reversed(items))
    if after := query.get("after"):
        places = [n for n, item in enumerate(left) if item.get("id") == after]
        if not places:
            raise BadRequest(f"Item with id '{after[:100]}' not found.", param="after", code="invalid_value")
        left = left[places[0] + 1 :]
    shown = left[:limit]
    return {
        "object": "list",
        "data": shown,
        "first_id": shown[0].get("id") if shown else None,
        "last_id": shown[-1].get("id") if shown else None,
        "has_more": len(left) > limit,
    }


class PreviousNotFound(BadRequest):
    """The previous response is unknown, has expired, or is another key's. Another target may keep it itself."""

    code, try_next = "previous_response_not_found", True


class NotHere(Failure):
    """A response or an item is unknown, has expired, or is another key's."""

    status, type, try_next = 404, "invalid_request_error", True
    code: str | None = None


def previous_not_found(ident: str, off: bool = False) -> Failure:
    """Return the error for a previous response that is not known. off: none are kept at all."""
    why = " This server keeps no responses (responses.store: off)." if off else ""
    return PreviousNotFound(f"Previous response with id '{ident[:200]}' not found.{why}", param="previous_response_id")


def item_not_found(ident: str, store: Any) -> Failure:
    """Return the error for an item that is not known. store: what the request says of keeping its answer."""
    more = _NOT_PERSISTED if store is False or is_own(ident) else ""
    return NotHere(f"Item with id '{ident[:200]}' not found.{more}", param="input")


def response_not_found(ident: str) -> Failure:
    """Return the error for a response that is not known."""
    return NotHere(f"Response with id '{ident[:200]}' not found.")
