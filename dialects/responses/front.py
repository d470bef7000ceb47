"""How requests come in: what cannot be translated is refused only where no upstream takes it as it is. Pure."""

from collections.abc import Mapping
from functools import partial
from typing import Any

from providers.contract import Json
from providers.errors import BadRequest
from providers.models import EFFORTS

from ..contract import ClientRequest
from ..validation import addressed, read_json
from . import request
from .params import own, within
from .state import NotHere
from .tools import upstream_tools
from .wanted import Wanted


def parse(data: bytes, headers: Mapping[str, str]) -> ClientRequest:
    """Return what a client sent. Raises BadRequest, ModelNotFound for what no upstream takes.

    What only the translation refuses becomes ClientRequest.refusal.
    """
    try:
        return request.parse(data, headers)
    except (BadRequest, NotHere) as failure:
        raw = read_json(data)
        if not _is_sound(raw):
            raise
        return ClientRequest(
            _measured(raw),
            raw,
            raw.get("stream") is True,
            headers=headers,
            answer=Wanted(raw),
            refusal=failure.with_traceback(None),
            upstream_tools=upstream_tools(raw),
        )


def behind(asked: ClientRequest, before: int) -> ClientRequest:
    """Return a parsed request whose input begins with so many items that are not the client's own: errors do not count them."""
    if asked.refusal is not None:
        addressed(asked.refusal, partial(own, before=before))
        return asked
    places = asked.answer.places._replace(before=before)
    return asked._replace(answer=asked.answer._replace(places=places), address=partial(within, places=places))


def _is_sound(raw: Any) -> bool:
    """Whether an upstream could be asked to decide about a request: what every request must have is there."""
    if not isinstance(raw, dict):
        return False
    if raw.get("previous_response_id") is not None and raw.get("conversation") is not None:
        return False
    model, given, stream = raw.get("model"), raw.get("input"), raw.get("stream")
    named = isinstance(model, str) and model != ""
    return named and isinstance(given, str | list | None) and isinstance(stream, bool | None)


def _measured(raw: Json) -> Json:
    """Return a chat request that costs about what this one does."""
    body: Json = {"model": raw["model"], "messages": []}
    if type(raw.get("max_output_tokens")) is int and raw["max_output_tokens"] > 0:
        body["max_completion_tokens"] = raw["max_output_tokens"]
    if isinstance(raw.get("service_tier"), str):
        body["service_tier"] = raw["service_tier"]
    match raw.get("reasoning"):
        case {"effort": str(effort)} if effort in EFFORTS:
            body["reasoning_effort"] = effort
    return body
