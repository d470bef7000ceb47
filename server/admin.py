"""What the page's administration shows and does: how providers are, what keys have used, a new key, a key that is disabled.

For an admin key, or without keys for whoever sits at this machine, and for no other web page than this server's own
(auth.require_operator). Keys are changed by the function of `modelserver.py keys` (managed_keys.change); a new one stands in
the answer that makes it and nowhere else: the inspector keeps nothing of these paths, the log names the key's name only.
"""

import asyncio
import re
import time
from collections.abc import Callable
from typing import Any, Final

from aiohttp import web

from dialects.validation import count_and_read
from gateway import key_fields
from gateway.failover import Unwell
from gateway.key_file import KEY_FILE
from gateway.metrics import percentile
from gateway.problems import ConfigError
from gateway.settings import Caller
from gateway.spending import period_at
from gateway.words import moment
from providers.contract import Json, Upstream
from providers.errors import BadRequest, NotFound, PermissionDenied

from . import auth, logs
from .config_file import Source, models_text, words_of_error
from .generations import Generation
from .ingress import enter, read_body
from .json_answer import json_answer
from .key_file import Refused
from .managed_keys import change
from .request import Handler, Request, get, post
from .state import AppState
from .usage.key_usage import Used, used_by_keys
from .usage.reports import read_ledger
from .whole_response import sent

SOURCE: Final = web.AppKey("SOURCE", Source)  # where the configuration of this process comes from
_AS_OF: Final = re.compile(r"^(?:# *)?as_of:? +\"?(\d{4}-\d\d-\d\d)", re.MULTILINE)
# The states of a target, or of a key, that make a provider's: the first that one of them is in.
_WORSE: Final = ("cooling_down", "key_refused", "throttled", "trial", "failing")


def routes() -> list[web.RouteDef]:
    """The routes of the administration."""
    return [
        get("/admin/providers", providers),
        get("/admin/keys", keys),
        *(post(f"/admin/keys/{action}", changing(action)) for action in ("add", "disable", "enable")),
    ]


def _operator(request: Request) -> Caller:
    """Return who is asking; the log names it. Raises as auth.require_operator does."""
    caller = auth.require_operator(request, request.generation.settings)
    request.record.key = caller.name
    return caller


# Providers


async def providers(request: Request) -> web.Response:
    """GET /admin/providers: each provider's state, latest failures, latency and list of models; how old the prices are."""
    _operator(request)
    state, live, now = request.app_state, request.generation, time.monotonic()
    unwell = live.health.unwell(now)
    calls = live.http.calls()
    data = [
        _provider(state, live, upstream, [each for each in unwell if each.provider == name], calls.get(name, 0), now)
        for name, upstream in live.settings.providers.items()
    ]
    off = [{"name": name, "state": "off", "lacks": lacks} for name, lacks in live.settings.off.items()]
    return await sent(request, json_answer({"object": "list", "data": [*data, *off], "facts": await _facts(request)}))


def _provider(
    state: AppState, live: Generation, upstream: Upstream, unwell: list[Unwell], calls: int, now: float
) -> Json:
    name, metrics = upstream.name, state.metrics
    states = {each.state for each in unwell}
    whole, streams = metrics.waits.get(name, ((), ()))
    return {
        "name": name,
        "state": next((each for each in _WORSE if each in states), "up"),
        "protocol": upstream.host.protocol,
        "base_url": upstream.base_url,
        "calls": calls,
        "keys": len(upstream.api_keys) or int(bool(upstream.api_key)),
        "unwell": [
            {"model": each.model, "state": each.state, "failures": each.failures, "seconds": round(each.seconds, 1)}
            for each in unwell
        ],
        "latency": {"stream": _latency(streams), "whole": _latency(whole)},
        "failures": [
            {"ago": round(now - each.at, 1), "request_id": each.request, "target": each.target, "code": each.code}
            for each in reversed(metrics.faults.get(name, ()))
        ],
        "models": _models(state, live, upstream, now),
    }


def _latency(waits: Any) -> Json | None:
    """Return what the latest answers of a provider took until their first byte, or, of whole answers, until their end."""
    if not waits:
        return None
    p50, p95 = (round(percentile(waits, share) * 1000, 1) for share in (0.5, 0.95))
    return {"answers": len(waits), "p50_ms": p50, "p95_ms": p95}


def _models(state: AppState, live: Generation, upstream: Upstream, now: float) -> Json | None:
    """Return what is known of a provider's list of models; None where it is not read."""
    if upstream.name not in live.settings.discovers:
        return None
    listed = state.discovery.found(upstream.name, upstream.base_url)
    return {
        "listed": len(listed.ids) if listed else None,
        "age": round(now - listed.at, 1) if listed else None,
        "failed": state.discovery.failed.get(upstream.name),
    }


async def _facts(request: Request) -> Json:
    """Return the dates of the tables of prices and windows: the one that is shipped, and models.local.yaml."""
    source = request.app.get(SOURCE)
    if source is None:
        return {"as_of": None, "local": None}
    texts = await asyncio.to_thread(models_text, source.path)
    as_of, local = (found[1] if (found := _AS_OF.search(text)) else None for text in texts)
    return {"as_of": as_of, "local": local}


# Keys


async def keys(request: Request) -> web.Response:
    """GET /admin/keys: every key, with what it may use and has used. No key and no digest is told."""
    _operator(request)
    state, settings = request.app_state, request.generation.settings
    used: dict[str, Used] | None = None
    if state.ledger.store is not None:
        used = await read_ledger(state.ledger, lambda connection: used_by_keys(connection, time.time()))
    written = {key.name for key in settings.config.keys}
    data = [
        {
            **_key(caller, used.get(caller.name, Used()) if used is not None else None),
            "managed": caller.name not in written,
        }
        for caller in settings.keys.values()
    ]
    return await sent(request, json_answer({"object": "list", "data": data, "usage": used is not None}))


def _key(caller: Caller, used: Used | None) -> Json:
    """Return what is shown of a key. used: None where usage is not kept."""
    expired = caller.expires and time.time() >= caller.expires
    return {
        "name": caller.name,
        "state": "disabled" if caller.disabled else "expired" if expired else "on",
        "admin": caller.admin,
        "passthrough": caller.passthrough,
        "models": list(caller.models),
        "expires": moment(caller.expires) if caller.expires else None,
        "limits": _limits(caller, used),
        "today": {"requests": used.today, "cost_usd": used.spent.get("day", 0) / 1e6} if used else None,
        "total_usd": used.spent.get("total", 0) / 1e6 if used else None,
        "last_day": (used.last or None) if used else None,
    }


def _limits(caller: Caller, used: Used | None) -> list[Json]:
    """Return the limits of a key, each with what is used of it: None where that is not known."""
    limits = caller.limits
    if limits is None:
        return []
    counted = {"rpm": used.minute[0], "tpm": used.minute[1], "concurrency": used.running} if used else {}
    found: list[Json] = []
    for kind, cap in limits.rows:
        if kind.over == "period":
            _, ends = period_at(limits.period, time.time())
            spent = used.spent.get(limits.period, 0) / 1e6 if used else None
            found.append(
                {
                    "name": "budget_usd",
                    "limit": cap / 1e6,
                    "used": spent,
                    "period": limits.period,
                    "resets_at": moment(ends) if ends else None,
                }
            )
        else:
            found.append({"name": kind.name, "limit": cap, "used": counted.get(kind.name)})
    return found


def changing(action: str) -> Handler:
    """Return the handler of POST /admin/keys/{action}: the body names the key, and for `add` what it may do."""

    async def handler(request: Request) -> web.Response:
        caller = _operator(request)
        if request.content_type != "application/json":
            raise BadRequest("Send the body as JSON, with Content-Type: application/json.", code="invalid_type")
        with enter(request):
            name, given = _fields(action, count_and_read(await read_body(request)))
        source, reload = request.app.get(SOURCE), request.app_state.reload
        if source is None or reload is None:
            raise NotFound("This server does not know the file of its configuration.")
        try:
            made = await asyncio.to_thread(change, source, action, name, given)
        except ConfigError as error:
            words = "; ".join(f"{each.path.partition('.')[2] or each.path}: {each.message}" for each in error.problems)
            raise BadRequest(f"{KEY_FILE} would have a mistake: {words}.", code="invalid_value") from None
        except Refused as error:
            raise BadRequest(f"{error}.", param="name", code="invalid_value") from None
        except OSError as error:
            raise PermissionDenied(
                f"This server cannot write {KEY_FILE} ({words_of_error(error)}). On its machine `python modelserver.py keys "
                f"{action} NAME` can, as a user that may."
            ) from None
        logs.LOGGER.info("key %s: %s, by %s", name, action, caller.name)
        wrong = await reload()
        told: Json = {"object": "key", "name": name, "action": action, "first": made.is_first, "reload": wrong or None}
        return json_answer({**told, "key": made.key} if made.key else told)

    return handler


def _fields(action: str, body: Any) -> tuple[str, Json]:
    """Return the name and the fields of a key that a body names, checked as the command line does. Raises BadRequest."""
    if not isinstance(body, dict):
        raise BadRequest("The body must be a JSON object.", code="invalid_type")
    if "name" not in body:
        raise BadRequest("The body has no 'name'.", param="name", code="missing_required_parameter")
    known = ("name", *key_fields.FIELDS, *key_fields.FLAGS) if action == "add" else ("name",)
    found: Json = {}
    for field, value in body.items():
        if field not in known:
            raise BadRequest(
                f"There is no '{field[:100]}': known are {', '.join(known)}.",
                param=field[:100],
                code="unsupported_parameter",
            )
        if field in key_fields.FLAGS:
            if not isinstance(value, bool):
                raise BadRequest(f"'{field}' must be true or false.", param=field, code="invalid_type")
            found[field] = value
            continue
        try:
            found[field] = _READERS[field](_text(field, value))
        except ValueError as error:
            raise BadRequest(f"{field}: {error}.", param=field, code="invalid_value") from None
    return found.pop("name"), found


_READERS: Final[dict[str, Callable[[str], Any]]] = {"name": key_fields.name, **key_fields.FIELDS}


def _text(field: str, value: Any) -> str:
    """Return a value as the command line would have it. Raises BadRequest."""
    match value:
        case str():
            return value
        case int() | float() if not isinstance(value, bool) and field not in ("name", "models"):
            return str(value)
        case list() if field == "models" and all(isinstance(each, str) for each in value):
            return ",".join(value)
    raise BadRequest(f"'{field}' has a value of the wrong type.", param=field, code="invalid_type")
