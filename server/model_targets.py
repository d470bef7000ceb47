"""What GET /v1/models/{id} says beside a model's card: its other names, and its targets in the order they are asked.

What a target drops or refuses is not written down: a chat completion with one parameter at a time is built for it, as for a
client, and is sent nowhere.
"""

import time
from collections.abc import Mapping
from typing import Any, Final

from dialects import model_objects
from gateway.failover import CircuitBreakers
from gateway.routing import ModelRouter, Target, may_use, with_defaults
from providers import PROVIDERS
from providers.contract import Json
from providers.errors import Failure

_MOST: Final = 100  # other names of one model
_TOOLS: Final = [{"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}]
_SCHEMA: Final = {"type": "object", "properties": {}, "required": [], "additionalProperties": False}
_FORMAT: Final = {"type": "json_schema", "json_schema": {"name": "f", "schema": _SCHEMA, "strict": True}}
_CHAT: Final[Json] = {"messages": [{"role": "user", "content": "Hello!"}]}
_EMBEDDINGS: Final[Json] = {"input": "Hello!"}
# Parameters that clients send, each with what a request needs to have it tried.
_OF_CHAT: Final[Mapping[str, Json]] = {
    "temperature": {"temperature": 0.5},
    "top_p": {"top_p": 0.5},
    "presence_penalty": {"presence_penalty": 0.5},
    "frequency_penalty": {"frequency_penalty": 0.5},
    "stop": {"stop": ["END"]},
    "seed": {"seed": 7},
    "n": {"n": 2},
    "logprobs": {"logprobs": True},
    "logit_bias": {"logit_bias": {"1": 1}},
    "tools": {"tools": _TOOLS},
    "parallel_tool_calls": {"tools": _TOOLS, "parallel_tool_calls": False},
    "response_format": {"response_format": _FORMAT},
    "reasoning_effort": {"reasoning_effort": "high"},
    "verbosity": {"verbosity": "low"},
    "prompt_cache_key": {"prompt_cache_key": "f"},
    "metadata": {"metadata": {"name": "value"}},
    "user": {"user": "f"},
}
_OF_EMBEDDINGS: Final[Mapping[str, Json]] = {
    "dimensions": {"dimensions": 256},
    "encoding_format": {"encoding_format": "base64"},
    "user": {"user": "f"},
}


def details(
    routes: ModelRouter,
    health: CircuitBreakers,
    name: str,
    targets: list[Target],
    allowed: tuple[str, ...],
    strict: bool,
) -> Json:
    """Return `aliases` and `targets` of a model. strict: a request is refused rather than a parameter dropped."""
    now = time.monotonic()
    return {
        "aliases": _aliases(routes, name, targets, allowed),
        "targets": [
            _described(target, name, "cooling_down" if health.all_unavailable([target], now) else "up", strict)
            for target in targets
        ],
    }


def _described(target: Target, name: str, status: str, strict: bool) -> Json:
    told: Json = {"target": target.upstream.target_name, "status": status}
    if target.weight:
        told["weight"] = target.weight
    if target.on:
        told["on"] = target.on
    facts = target.upstream.facts
    if (long := facts.long_context) is not None and not target.upstream.host.free:
        told["long_context"] = {"above": long.above, **model_objects.per_token(long)}
    if (off := facts.off_peak) is not None and not target.upstream.host.free:
        told["off_peak"] = {"peak": list(off.peak), "peak_days": off.peak_days, **model_objects.per_token(off)}
    dropped, refused = _tried(target, name)
    if strict:
        dropped, refused = [], [*refused, *dropped]
    return {**told, **model_objects.described(target.upstream), "dropped": dropped, "refused": refused}


def _tried(target: Target, name: str) -> tuple[list[str], list[str]]:
    """Return the parameters that this target drops or changes, and those with which it refuses a request."""
    upstream = target.upstream
    provider = PROVIDERS[upstream.host.protocol]
    build, base, parameters = provider.build_request, _CHAT, _OF_CHAT
    if upstream.facts.embeds:
        build, base, parameters = provider.build_embeddings, _EMBEDDINGS, _OF_EMBEDDINGS
    dropped, refused = [], []
    for parameter, given in parameters.items():
        body = {"model": name, **base, **given}
        try:
            call = build(body if upstream.facts.embeds else with_defaults(body, target), upstream)
        except Failure:
            refused.append(parameter)
            continue
        if parameter in call.dropped:
            dropped.append(parameter)
    return dropped, refused


def _aliases(routes: ModelRouter, name: str, targets: list[Target], allowed: tuple[str, ...]) -> list[str]:
    """Return the other names under which this caller gets the same targets, with the same defaults."""
    public = routes.public(allowed)
    direct = targets[0].upstream.target_name
    if len(targets) == 1 and direct not in public and may_use(direct, allowed):
        public[direct] = routes.resolve(direct, allowed)
    same = _route(targets)
    return [other for other, those in public.items() if other != name and _route(those) == same][:_MOST]


def _route(targets: list[Target]) -> list[Any]:
    """Return what two names have in common if they mean the same model."""
    return [(each.upstream.target_name, each.weight, each.on, each.first_byte, dict(each.defaults)) for each in targets]
