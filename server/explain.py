"""POST /v1/explain: which targets a request would go to, in which order, and as what. Nothing is sent, reserved or booked."""

from collections.abc import Mapping
from typing import Any, Final

from aiohttp import web

from dialects import DIALECTS, Dialect
from dialects.contract import ClientRequest
from gateway.estimates import Prompt
from gateway.failover import CAUSES
from gateway.pricing import TokenUsage, cost
from gateway.routing import Target, with_defaults
from providers import PROVIDERS, codec
from providers.contract import Call, Json, Upstream
from providers.errors import BadRequest, Failure, PermissionDenied

HEADER: Final = "x-modelserver-api"
PATH: Final = "/explain"
SUFFIXES: Final = tuple(f"/{name}" for name in DIALECTS)  # of the path
_APIS: Final = {"chat": "chat/completions"} | {name: name for name in DIALECTS}


def dialect_named(request: web.Request) -> Dialect:
    """Return the dialect that a request to be explained is in: by the path behind /explain, a header, or chat's.

    Raises BadRequest for a header that names none.
    """
    _, _, behind = request.path.partition(f"{PATH}/")
    name = behind.strip("/") or request.headers.get(HEADER, "")
    if not name:
        return DIALECTS["messages" if "anthropic-version" in request.headers else "chat/completions"]
    if name not in _APIS:
        raise BadRequest(f"'{HEADER}' must be one of {', '.join(_APIS)}.", param=HEADER, code="invalid_value")
    return DIALECTS[_APIS[name]]


def explained(verdict: str, target: Target, failure: Failure | None) -> Json:
    """Return the beginning of what is said of a target."""
    told: Json = {"target": f"{target.upstream.name}/{target.upstream.model}", "verdict": verdict}
    if target.weight:
        told["weight"] = target.weight
    if target.on:
        told["on"] = target.on
    if failure is not None:
        told["why"] = {"code": failure.code or failure.type, "message": failure.message, "param": failure.param}
    return told


def goes_on(target: Target, failure: Failure, last: bool) -> bool:
    """Whether the next target would be asked after this failure of one."""
    # A target without a price is left out before any is asked.
    left_out = isinstance(failure, PermissionDenied)
    return failure.try_next or left_out or (not last and CAUSES.get(type(failure)) in target.on)


def request_of(call: Call, upstream: Upstream, whole: bool) -> Json:
    """Return an upstream request, with its keys masked. whole: whether the host is named too."""
    host = upstream.base_url.partition("://")[2].partition("/")[0]
    url = call.url if whole or not host else call.url.partition(host)[2]
    body = codec.decode(bytes(call.body)) if isinstance(call.body, bytes | bytearray) else call.body
    secrets = [key for key in (upstream.api_key, *upstream.api_keys) if key]
    own = {name.lower() for name in upstream.options.get("headers") or ()}  # the operator's
    headers = {name: "…" if name.lower() in own else _masked(value, secrets) for name, value in call.headers.items()}
    return {"method": call.method, "url": _masked(url, secrets), "headers": headers, "body": body}


def _masked(text: str, secrets: list[str]) -> str:
    for secret in secrets:
        text = text.replace(secret, "…")
    return text


def changes(asked: ClientRequest, given: Mapping[str, Any], call: Call, added: str) -> Json:
    """Return what became of the client's parameters: those that are sent otherwise, dropped or changed, and added."""
    sent = call.body if isinstance(call.body, dict) else given
    dropped = [*call.dropped]
    mapped = [name for name in given if name not in dropped and (name not in sent or sent[name] != given[name])]
    return {
        "native": call.native is not None,
        "mapped": [name for name in mapped if name not in ("model", "stream")],
        "dropped": dropped,
        "added": [*filter(None, (added,)), *call.added],
    }


def estimate(body: Json, prompt: Prompt, target: Target) -> Json:
    """Return the tokens that a request is likely to have, those that its answer has at most, and what these cost."""
    upstream = target.upstream
    tokens = prompt.tokens(upstream)
    try:
        limit = PROVIDERS[upstream.host.protocol].answer_limit(with_defaults(body, target), upstream)
    except Failure:
        limit = None
    most = limit or upstream.facts.max_output
    prices = [cost(TokenUsage(tokens, answer), upstream, prompt.tier) for answer in (0, (most or 0) * prompt.answers)]
    least, dearest = (None if micro is None else micro / 10**6 for micro in prices)
    return {
        "prompt_tokens": tokens,
        "completion_tokens_at_most": most,
        "prompt_usd": least,
        "cost_usd_at_most": dearest if most else None,
    }


def decoded(raw: Any, body: Json) -> Json:
    """Return a client's request as a JSON object. raw: ClientRequest.raw, body: its form in the hub, for who has no other."""
    if not isinstance(raw, Mapping):
        return body
    return {
        name: value if isinstance(value, str | int | float | list | dict | None) else codec.decode(bytes(value))
        for name, value in raw.items()
    }
