"""GET /v1/models as Claude Code and Anthropic's SDKs read it. https://platform.claude.com/docs/en/api/models-list"""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from providers import PROVIDERS
from providers.contract import Json, Upstream
from providers.errors import BadRequest
from providers.models import ModelFacts

from .. import model_objects
from .params import CLAUDE_EFFORTS

_PAGING: Final = frozenset({"limit", "before_id", "after_id"})  # OpenAI's list takes none of them
_MOST: Final = 1000
# What only Anthropic's own API has.
_OWN: Final = ("citations", "code_execution", "context_management")
_THINKING: Final = ("adaptive", "between_tools", "disabled", "enabled")


def wanted(headers: Mapping[str, str], query: Mapping[str, str]) -> bool:
    """Whether a request for the models comes from a client of this API."""
    return "anthropic-version" in headers or not _PAGING.isdisjoint(query)


def card(name: str, upstream: Upstream) -> Json:
    """Return what is said of a model. upstream: its first target."""
    facts = upstream.facts
    return {
        "type": "model",
        "id": name,
        "display_name": name,
        "description": f"{upstream.name}, {facts.context} tokens" if facts.context else upstream.name,
        "created_at": f"{datetime.fromtimestamp(model_objects.created(facts), UTC):%Y-%m-%dT%H:%M:%SZ}",
        "lifecycle": "deprecated" if facts.shutdown else "active",
        "deprecated_at": None,
        "retires_at": f"{facts.shutdown}T00:00:00Z" if facts.shutdown else None,
        "max_input_tokens": facts.context,
        "max_tokens": facts.max_output,
        "capabilities": _capabilities(facts, "messages" in PROVIDERS[upstream.host.protocol].native),
    }


def page(cards: list[Json], query: Mapping[str, str]) -> Json:
    """Return the part of the list that is asked for. Raises BadRequest for a limit that is none."""
    limit = query.get("limit", str(_MOST))
    if not (limit.isascii() and limit.isdigit() and len(limit) <= 4 and 1 <= int(limit) <= _MOST):
        raise BadRequest(f"limit: expected a number from 1 to {_MOST}", param="limit")
    size = int(limit) if "limit" in query else len(cards)
    ids = [each["id"] for each in cards]
    if "before_id" in query:
        end = ids.index(query["before_id"]) if query["before_id"] in ids else 0
        start = max(0, end - size)
        more = start > 0
    else:
        start = ids.index(query["after_id"]) + 1 if query.get("after_id") in ids else 0
        end = min(len(cards), start + size)
        more = end < len(cards)
    shown = cards[start:end]
    first, last = (shown[0]["id"], shown[-1]["id"]) if shown else (None, None)
    return {"data": shown, "has_more": more, "first_id": first, "last_id": last}


def _capabilities(facts: ModelFacts, own: bool) -> Json:
    thinks = facts.thinking or (("adaptive",) if facts.reasoning != "no" else ())
    kinds: dict[str, Any] = {kind: _is(kind in thinks) for kind in _THINKING}
    efforts: dict[str, Any] = {effort: _is(effort in facts.efforts) for effort in CLAUDE_EFFORTS}
    return {
        "batch": _is(False),
        **{name: _is(own) for name in _OWN},
        "server_tools": {**_is(own), "code_execution": _is(own), "web_search": _is(own)},
        "effort": {**_is(any(effort in facts.efforts for effort in CLAUDE_EFFORTS)), **efforts},
        "image_input": _is(facts.vision is True),
        "pdf_input": _is(facts.pdf is True),
        "structured_outputs": _is(facts.json_schema),
        "thinking": {**_is(bool(thinks)), "types": kinds},
    }


def _is(supported: bool) -> Json:
    return {"supported": supported}
