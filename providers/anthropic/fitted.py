"""A Messages request for one Claude, made to fit another that the operator has put in its place.

The client tuned it for the model that it named. A client that named the model which answers gets what it asked for, or what
that model says about it. What models take is data (Upstream.facts); nothing is changed for a model nothing is known of.
"""

import re
from collections.abc import Callable
from typing import Any, Final

import msgspec

from .. import codec
from ..contract import Json, Upstream
from ..models import ModelFacts, effort_of_budget, nearest_effort
from ..raw_json import Members

_VARIANT: Final = re.compile(r"(?:\[1m\])+$", re.IGNORECASE)
_SNAPSHOT: Final = re.compile(r"[-@](?:\d{8}|\d{4}-\d\d-\d\d|latest)$", re.ASCII)
_BUDGET: Final = 16_384  # of a model that is asked to think as much as it likes
_LEAST_BUDGET: Final = 1024
_SAMPLING: Final = ("temperature", "top_p", "top_k")
_OF_THINKING: Final = ("display",)  # what `adaptive` and `enabled` have in common


def fitted(raw: Members, upstream: Upstream, dropped: dict[str, None]) -> Members:
    """Return the members as this model takes them; adds to dropped the names of those that were changed."""
    asked = codec.decode(bytes(raw["model"]))
    if not isinstance(asked, str) or _plain(asked, upstream.name) == _plain(upstream.model, upstream.name):
        return raw
    members: Json = {name: _value(raw, name) for name in _READ if name in raw}
    before = dict(members)
    for fit in _FITS:
        fit(members, upstream.facts)
    made: Members = {name: value for name, value in raw.items() if name not in before or name in members}
    for name, value in members.items():
        if name not in before or value != before[name]:
            made[name] = msgspec.Raw(codec.encode(value))
    dropped |= dict.fromkeys(_named(name) for name in _READ if members.get(name) != before.get(name))
    return made


def _thinking(members: Json, facts: ModelFacts) -> None:
    match members.get("thinking"):
        case {"type": str(kind), **rest} if facts.thinking and kind not in facts.thinking:
            pass
        case _:
            return
    common = {name: rest[name] for name in _OF_THINKING if name in rest}
    if kind == "enabled" and "adaptive" in facts.thinking:
        members["thinking"] = {"type": "adaptive", **common}
        config = members.get("output_config") or {}
        if isinstance(config, dict) and "effort" not in config and isinstance(budget := rest.get("budget_tokens"), int):
            members["output_config"] = {**config, "effort": effort_of_budget(budget)}
        return
    if kind == "adaptive" and "enabled" in facts.thinking:
        limit = members.get("max_tokens")
        budget = min(_BUDGET, limit - 1) if isinstance(limit, int) else _BUDGET
        if budget >= _LEAST_BUDGET:
            members["thinking"] = {"type": "enabled", "budget_tokens": budget, **common}
            return
    del members["thinking"]


def _effort(members: Json, facts: ModelFacts) -> None:
    match members.get("output_config"):
        case {"effort": str(effort), **rest} if facts.thinking and effort not in facts.efforts:
            pass
        case _:
            return
    found = nearest_effort(effort, facts.efforts)
    config = {**rest, "effort": found} if found else rest
    if config:
        members["output_config"] = config
    else:
        del members["output_config"]


def _sampling(members: Json, facts: ModelFacts) -> None:
    if facts.sampling == "no":
        for name in _SAMPLING:
            members.pop(name, None)


def _tool_choice(members: Json, facts: ModelFacts) -> None:
    match members.get("tool_choice"):
        case {"type": "any" | "tool", **rest} if not facts.forced_tools:
            parallel = {name: value for name, value in rest.items() if name == "disable_parallel_tool_use"}
            members["tool_choice"] = {"type": "auto", **parallel}


def _limit(members: Json, facts: ModelFacts) -> None:
    limit = members.get("max_tokens")
    if isinstance(limit, int) and facts.max_output and limit > facts.max_output:
        members["max_tokens"] = facts.max_output


# The limit comes first: a budget must be below it.
_FITS: Final[tuple[Callable[[Json, ModelFacts], None], ...]] = (_limit, _thinking, _effort, _sampling, _tool_choice)
_READ: Final = ("thinking", "output_config", *_SAMPLING, "tool_choice", "max_tokens")


def _named(name: str) -> str:
    return "output_config.effort" if name == "output_config" else name


def _value(raw: Members, name: str) -> Any:
    return codec.decode(bytes(raw[name]))


def _plain(model: str, provider: str) -> str:
    """Return a model's name without its provider, the client's mark of a long context, and the date of its snapshot."""
    name = _VARIANT.sub("", model.lower()).removeprefix(f"{provider.lower()}/")
    return _SNAPSHOT.sub("", name)
