"""POST /v1/explain: which targets a request would go to, in which order, and as what. Nothing is sent, reserved or booked."""

import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final

from aiohttp import web

from dialects import DIALECTS, Dialect, responses
from dialects.contract import ClientRequest
from dialects.conversations import conversation_of
from gateway.estimates import Prompt, check_fits
from gateway.failover import CAUSES
from gateway.pricing import TokenUsage, cost, has_price
from gateway.routing import Target, with_defaults
from gateway.settings import Caller
from providers import PROVIDERS, codec, raw_json
from providers.contract import Call, Json, Upstream
from providers.errors import BadRequest, Failure, Overloaded, PermissionDenied

from .answer import Answer
from .calls import prepare_call, strictly_refused
from .error_response import JSON
from .ingress import authenticate_request, enter, usable, worker_of
from .reading import begin_response, read_request
from .request import Request
from .whole_response import sent
from .worker import done

HEADER: Final = "x-modelserver-api"
PATH: Final = "/explain"
SUFFIXES: Final = tuple(f"/{name}" for name in DIALECTS)  # of the path
_APIS: Final = {"chat": "chat/completions"} | {name: name for name in DIALECTS}


def dialect_named(request: Request) -> Dialect:
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
    told: Json = {"target": target.upstream.target_name, "verdict": verdict}
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
        "cost_usd_at_most": dearest if most or upstream.host.free else None,
    }


def decoded(asked: ClientRequest) -> Json:
    """Return a client's request as it was sent, as a JSON object; in the hub's form, where it has no other."""
    if asked.raw is None:
        return asked.body
    return {name: raw_json.decoded(value) for name, value in asked.raw.items()}


async def explain_request(request: Request) -> web.StreamResponse:
    """POST /v1/explain: what would be sent where. Nothing is sent, reserved or booked."""
    caller = authenticate_request(request)
    with enter(request):
        named = dialect_named(request)
        begin = begin_response if named is responses else None
        asked, prompt, dialect, operation = await read_request(request, caller, named, begin)
        targets = await usable(request, caller, asked, operation)
        asked = asked._replace(images=False)  # they would be fetched
        live, run, verdict, worker = request.generation, request.in_flight, "asked", worker_of(request)
        scrub = None if sees_hosts(request, caller) else live.scrub
        told: list[bytes] = []  # of each target: as bytes they take less memory
        given = await done(worker, partial(decoded, asked))
        order = live.health.order(targets, time.monotonic(), conversation_of(asked, request.headers))
        for n, (target, resting) in enumerate(order):
            found, failure = await explain_target(request, caller, dialect, asked, given, prompt, target, resting)
            mine = verdict
            if failure is not None and verdict != "not_reached":
                mine = "passed_over" if goes_on(target, failure, n == len(order) - 1) else "refused"
            told.append(await done(worker, partial(encoded, explained(mine, target, failure) | found, scrub)))
            del found
            run.hold_bytes(run.held + len(told[-1]))
            verdict = {"refused": "not_reached", "asked": "asked_next"}.get(mine, verdict)
        head = encoded({"object": "explanation", "api": dialect.operation, "model": request.record.model}, scrub)
        data = b'%b,"targets":[%b]}' % (head[:-1], b",".join(told))
        del told
        return await sent(request, Answer(data, dict(JSON)))


def encoded(body: Json, scrub: Callable[[str], str] | None) -> bytes:
    """Return an explanation as JSON. scrub: removes addresses and secrets from it; None: its reader may see the former."""
    data = codec.encode(body)
    return data if scrub is None else scrub(data.decode()).encode()


def sees_hosts(request: Request, caller: Caller) -> bool:
    """Whether this caller may see where upstreams are: an administrator, or anybody where there are no keys."""
    return caller.admin or not request.generation.settings.keys


async def explain_target(
    request: Request,
    caller: Caller,
    dialect: Dialect,
    asked: ClientRequest,
    given: Json,
    prompt: Prompt,
    target: Target,
    resting: bool,
) -> tuple[Json, Failure | None]:
    """Return what one target would be sent, and why it would not be. given: what the client sent (decoded)."""
    limits, added, failure = caller.limits, "", None
    if limits is not None and limits.need_estimate:
        target, _, _ = request.app_state.ledger.most_at(limits, asked.body, prompt, target)
        added = target.added
    told: Json = {"estimate": estimate(asked.body, prompt, target)}
    try:
        if resting:
            raise Overloaded(
                "It has failed, or is throttled, and is left alone for a moment.", code="provider_unavailable"
            )
        if not caller.allow_unpriced and not has_price(asked.body, target.upstream):
            raise PermissionDenied("Its price is not known, and this key has a budget.", code="model_not_priced")
        check_fits(asked.body, prompt, target.upstream, asked.raw or ())
        call = await prepare_call(request, dialect, asked, target)
        told |= changes(asked, given, call, added)
        sent = partial(request_of, call, target.upstream, sees_hosts(request, caller))
        told["request"] = await done(worker_of(request), sent)
        if call.dropped and request.generation.settings.config.strict_params:
            raise strictly_refused(call)
    except Failure as why:
        failure = why.with_traceback(None)
    return told, failure
