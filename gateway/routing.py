"""Find the targets of a public model, and the models that a caller may use."""

import re
from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from math import inf
from typing import Any, Final, NamedTuple

import msgspec
from msgspec.structs import replace

from dialects.chat.params import BESIDE
from providers.contract import Json, Upstream
from providers.errors import ModelNotFound
from providers.model_table import ModelTable
from providers.models import ModelFacts
from providers.near_words import closest

from .config_schema import Cause, RouteConfig, TargetConfig, Timeouts

# Parameters that a model which reasons refuses; a default must not add them.
_ONE_OF: Final = frozenset({"temperature", "top_p"})  # of which one is to be set, says OpenAI, and Claude insists
SAMPLING: Final = frozenset(
    {"temperature", "top_p", "presence_penalty", "frequency_penalty", "logprobs", "top_logprobs"}
)
_VARIANT: Final = re.compile(r"(?:\[1m\])+\Z", re.IGNORECASE)


class Target(msgspec.Struct, frozen=True):
    """One upstream model for a public one.

    defaults: parameters sent when the client sends none; added: the one that this server has added to them for a limited
    key (gateway/reservations.py), with its value, if it has; weight: its share of the load, 0: targets are tried in order;
    first_byte: seconds the upstream may think, None: what the timeouts say; on: causes, beside failure, for which the next target
    is asked.
    """

    upstream: Upstream
    defaults: Mapping[str, Any]
    weight: float = 0.0
    first_byte: float | None = None
    added: str = ""
    on: tuple[Cause, ...] = ()


class Place(NamedTuple):
    """A target as the configuration names it: provider/model, or provider."""

    target: str
    weight: float = 0.0
    on: tuple[Cause, ...] = ()


class ModelRouter:
    """The public models of a configuration. Providers that are off are left out; `off` says why, for the error."""

    def __init__(
        self,
        models: Mapping[str, str | tuple[str | TargetConfig, ...] | RouteConfig],
        defaults: Mapping[str, Any],
        providers: Mapping[str, Upstream],
        off: Mapping[str, str],
        facts: ModelTable,
    ) -> None:
        self._defaults, self._providers, self._off, self._facts = defaults, providers, off, facts
        self._exact: dict[str, list[Target]] = {}
        self._patterns: dict[str, RouteConfig] = {}
        self._discovered: dict[str, dict[str, list[Target]]] = {}  # provider → public name → targets
        self._lacking: dict[str, list[str]] = {}  # public name or pattern → the variables its providers lack
        for public, written in models.items():
            route = route_of(written)
            names = dict.fromkeys(_provider(place.target) for place in places(route))
            self._lacking[public] = [off[name] for name in names if name in off]
            if "*" in public:
                self._patterns[public] = route
            else:
                self._exact[public] = self._targets(public, route, "")

    def public_name(self, model: str) -> str:
        """Return the public model that a client means: the name as it was sent, if it is one, else without `[1m]`.

        That is what Claude Code adds to a model of which it may use a context of a million tokens.
        """
        return model if model in self._exact else _VARIANT.sub("", model)

    def resolve(self, model: str, allowed: tuple[str, ...]) -> list[Target]:
        """Return the targets of a public model, in the order to try them.

        allowed: patterns of the caller's models. Raises ModelNotFound for a model that does not exist, that the caller
        may not use (they cannot tell the two apart), or whose providers are all off.
        """
        usable = may_use(model, allowed)
        targets = self._exact.get(model) if usable else None
        if targets is None and usable:
            targets = self._by_pattern(model)
        if targets:
            return targets
        lacking = self._lacking.get(model if model in self._exact else self._pattern(model) or "", [])
        lacking = lacking or [self._off[name] for name in [_provider(model)] if name in self._off]
        if lacking and usable:
            why = f"its provider is off: set {' or '.join(lacking)} and restart the server"
        else:
            why = self._guess(model[:200], allowed) or "GET /v1/models lists the models you can use."
        raise ModelNotFound(
            f"The model '{model[:200]}' does not exist or you do not have access to it; {why}", param="model"
        )

    def learn(self, provider: str, ids: Iterable[str]) -> None:
        """Take these for the models of a provider: they are listed as provider/id, and under the patterns that lead to them."""
        found: dict[str, list[Target]] = {}
        for model in ids:
            for name in self._names_of(provider, model):
                if name in self._exact or name in found:
                    continue
                targets = self._by_pattern(name) or []
                if any((each.upstream.name, each.upstream.model) == (provider, model) for each in targets):
                    found[name] = targets
        self._discovered[provider] = found

    def _names_of(self, provider: str, model: str) -> list[str]:
        """Return the public names that may lead to a provider's model without being written in the configuration."""
        names = [f"{provider}/{model}"]
        for pattern, route in self._patterns.items():
            for place in places(route):
                name, _, there = place.target.partition("/")
                if name != provider:
                    continue
                if not there:
                    names.append(model)
                elif "*" in there and (matched := _matched(there, model)):
                    names.append(pattern.replace("*", matched))
        return names

    def _guess(self, model: str, allowed: tuple[str, ...]) -> str:
        """Return a question that names the model that was probably meant, "" when none is near.

        Models that are served come first; one whose provider is off is named with what it lacks.
        """
        names = [name for name in self._exact if may_use(name, allowed)]
        names.sort(key=lambda name: not self._exact[name])
        squeezed = _squeezed(model)
        close = next((name for name in names if _squeezed(name) == squeezed), "")
        for some in (list(self.public(allowed)), names):
            close = close or closest(model, some, 0.5)
        if not close:
            return ""
        lacking = "" if self._exact[close] else " or ".join(self._lacking.get(close, []))
        return f"did you mean '{close}'?" + (
            f" (its provider is off: set {lacking} and restart the server)" if lacking else ""
        )

    def public(self, allowed: tuple[str, ...]) -> dict[str, list[Target]]:
        """Return the models a caller can use now, with their targets: those written in the configuration, then those that
        providers told of. Patterns are not listed.
        """
        return {
            name: targets
            for some in (self._exact, *self._discovered.values())
            for name, targets in some.items()
            if targets and may_use(name, allowed)
        }

    def _by_pattern(self, model: str) -> list[Target] | None:
        found = self._pattern(model)
        if found is not None:
            return self._targets(model, self._patterns[found], _matched(found, model))
        name, _, rest = model.partition("/")
        if rest and name in self._providers:
            return self._targets(model, RouteConfig(targets=(model,)), "")
        return None

    def _pattern(self, model: str) -> str | None:
        """Return the first pattern of the configuration that covers this name."""
        return next((pattern for pattern in self._patterns if _matched(pattern, model)), None)

    def _targets(self, public: str, route: RouteConfig, matched: str) -> list[Target]:
        """Return the targets of a route whose providers are on. matched: what the public name's `*` stands for."""
        # A model's null takes a global default away.
        defaults = {name: value for name, value in {**self._defaults, **route.defaults}.items() if value is not None}
        targets = []
        for place in places(route):
            name, _, model = place.target.partition("/")
            if name not in self._providers:
                continue
            # A target without a model means the public name, without the provider's own in front of it.
            model = model.replace("*", matched) if model else public.removeprefix(f"{name}/")
            provider = self._providers[name]
            facts = self._facts.of(model, provider.row or name)
            upstream = replace(provider, model=model, facts=facts)
            accepted = _accepted(defaults, facts)
            targets.append(Target(upstream, accepted, place.weight, route.first_byte, on=place.on))
        return targets

    def metric_label(self, model: str) -> str:
        """Return the name of a public model in metrics, always one of the configuration: clients invent names."""
        if model in self._exact:
            return model
        if (pattern := self._pattern(model)) is not None:
            return pattern
        name = _provider(model)
        return f"{name}/*" if name in self._providers else "other"


def places(route: RouteConfig) -> list[Place]:
    """Return the targets of a route, in the order of the configuration."""
    if isinstance(route.targets, dict):
        return [Place(target, weight) for target, weight in route.targets.items()]
    return [
        Place(given.target, given.weight or 0.0, given.on) if isinstance(given, TargetConfig) else Place(given)
        for given in route.targets
    ]


def route_of(written: str | tuple[str | TargetConfig, ...] | RouteConfig) -> RouteConfig:
    """Return a model's route in its long form."""
    if isinstance(written, RouteConfig):
        return written
    return RouteConfig(targets=(written,) if isinstance(written, str) else written)


def first_byte_timeout(target: Target, body: Json, timeouts: Timeouts, streamed: bool) -> float:
    """Return the seconds that the upstream may take until its first byte. A model that thinks first may take longer.

    streamed: whether the answer is streamed upstream. One that is not has no first byte before its last word: inf, so that
    only the request's own time (timeouts.total) ends it, unless the model's own route says otherwise.
    """
    if target.first_byte is not None:
        return target.first_byte
    if not streamed:
        return inf
    facts = target.upstream.facts
    thinks = facts.reasoning in ("on", "always") or body.get("reasoning_effort", "none") != "none"
    return timeouts.first_byte_reasoning if thinks else timeouts.first_byte


def _matched(pattern: str, name: str) -> str:
    """Return what the first `*` of a pattern stands for in a name, "" where the pattern does not cover it."""
    head, _, tail = pattern.partition("*")
    covers = len(name) > len(head) + len(tail) and name.startswith(head) and name.endswith(tail)
    return name[len(head) : len(name) - len(tail)] if covers else ""


def _squeezed(name: str) -> str:
    """Return a model's name in lower case, letters and digits only: gpt4o, GPT-4o and gpt_4o are one."""
    return "".join(char for char in name.lower() if char.isalnum())


def _provider(target: str) -> str:
    """Return the name of a target's provider."""
    return target.partition("/")[0]


def may_use(model: str, allowed: tuple[str, ...]) -> bool:
    """Whether one of the patterns covers this public name."""
    return "*" in allowed or any(fnmatchcase(model, pattern) for pattern in allowed)


def _accepted(defaults: Mapping[str, Any], facts: ModelFacts) -> dict[str, Any]:
    """Return the defaults that this model takes."""
    takes = facts.sampling == "yes" or (facts.sampling == "without_reasoning" and facts.reasoning == "off")
    return {name: value for name, value in defaults.items() if takes or name not in SAMPLING}


def with_defaults(body: Json, target: Target) -> Json:
    """Return the request with the target's defaults for what the client left out: a new body, or the same one.

    A sampling default is left out where the client samples in another way or asks for reasoning: models refuse the two
    together, and the client did not ask for the conflict.
    """
    if not target.defaults:
        return body
    missing = {name: value for name, value in target.defaults.items() if name not in body}
    if body.get("reasoning_effort", "none") != "none":
        missing = {name: value for name, value in missing.items() if name not in SAMPLING}
    elif not _ONE_OF.isdisjoint(body):
        missing = {name: value for name, value in missing.items() if name not in _ONE_OF}
    if "max_tokens" in body or "max_completion_tokens" in body:
        missing.pop("max_tokens", None)
        missing.pop("max_completion_tokens", None)
    for name, other in BESIDE.items():
        if name in missing and not missing.get(other, body.get(other)):
            del missing[name]
    return {**missing, **body} if missing else body
