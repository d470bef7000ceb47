"""Circuit breakers of upstreams, and the order in which one request calls them.

- A conversation stays with one target and one key while both are healthy (affinity.py): caches, and with some models what was
  thought, belong to them. Targets that are to be called in order are called in order.
- A target that failed several times in a row cools down: it is not called. Then one request may try it (half-open), and the
  result of that one decides for all.
- A key that was refused is used only when no other is left, so that a server with one key still returns the upstream's own
  error. A key that is throttled (429 with Retry-After) cools down for that model.
- One request calls each target once, with another key where only the key was at fault. The last target is
  called once more only where the upstream surely did no work, or said so itself, and only for a tenth of all requests:
  retries must not become the load that keeps an upstream down.

Time (monotonic seconds) and chance (0 to 1) are handed in.
"""

from collections.abc import Callable, Mapping, Sequence
from math import log
from typing import Final, Literal, NamedTuple

from msgspec.structs import replace

from providers.bounded_dict import BoundedDict
from providers.contract import Upstream
from providers.errors import (
    ContentFiltered,
    ContextLengthExceeded,
    Failure,
    ModelNotFound,
    Overloaded,
    QuotaExhausted,
    RateLimitExceeded,
    UpstreamAuthError,
    UpstreamError,
    UpstreamTimeout,
)

from .affinity import ranked
from .config_schema import Cause, Cooldown
from .routing import Target

SHORT: Final = 2.0  # seconds: a Retry-After up to this is waited for
LONGEST: Final = 60.0  # seconds: a key cools down no longer, whatever the upstream said
_ENTRIES: Final = 1024  # of each table: behind a pattern, clients may invent models
_RETRIES: Final = 10.0  # retries that may come at once; each request earns a tenth of one


# Failures that another target may be asked after, where the one that failed has their cause in `on`.
CAUSES: Final[Mapping[type[Failure], Cause]] = {
    ContextLengthExceeded: "context",
    ContentFiltered: "content_filter",
}


class Attempt(NamedTuple):
    """The next step of a request: wait, then call this target."""

    target: Target
    wait: float = 0.0  # seconds


class Unwell(NamedTuple):
    """Why a target, or a key of a provider, is not called now, or was not answered by last time.

    failing: it has failed, and is still called; cooling_down: it is not; trial: the next request, or one that runs, decides;
    throttled, key_refused: one of the provider's keys. model: "" for all; failures: in a row; seconds: until it is called again.
    """

    provider: str
    model: str
    state: Literal["failing", "cooling_down", "trial", "throttled", "key_refused"]
    failures: int = 0
    seconds: float = 0.0


class _Breaker:
    """The state of a target that has failed."""

    __slots__ = ("cooldowns", "failures", "open_until", "trial")

    def __init__(self) -> None:
        self.failures = 0  # in a row
        self.cooldowns = 0  # in a row
        self.open_until = 0.0  # 0: closed
        self.trial = False  # one request is trying it; open_until then bounds how long the others wait for its end


Key = tuple[str, str, str]  # provider, model ("": all), key


def _none() -> str:
    return ""


def _name_of(target: Target) -> str:
    return target.upstream.target_name


def _weight_of(target: Target) -> float:
    return target.weight


class CircuitBreakers:
    """The circuit breakers of all upstreams of one configuration, and the retry budget."""

    def __init__(self, rules: Cooldown, chance: Callable[[], float]) -> None:
        self._rules, self._chance = rules, chance
        self._circuits: BoundedDict[tuple[str, str], _Breaker] = BoundedDict(_ENTRIES)
        self._throttled: BoundedDict[Key, float] = BoundedDict(_ENTRIES)  # until when, monotonic
        self._refused: dict[Key, float] = {}  # until when
        self._retries = _RETRIES

    def attempts(
        self, targets: Sequence[Target], deadline: float, conversation: Callable[[], str] = _none
    ) -> "AttemptPlan":
        """Return the attempts of one request; no new one begins after `deadline`. Adds a tenth of a retry to the budget.

        conversation: returns the one it belongs to, "" where there is none; only called where there is a choice.
        """
        self._retries = min(_RETRIES, self._retries + 0.1)
        return AttemptPlan(self, self._shared(targets, conversation), deadline, conversation)

    def order(self, targets: Sequence[Target], at: float, conversation: str) -> list[tuple[Target, bool]]:
        """Return targets in the order a conversation calls them, each with its first key, and whether it may not be called now.

        Changes nothing, unlike `attempts`.
        """
        shared = self._shared(targets, lambda: conversation)
        keyed = [self.with_each_key(target, at, conversation)[0] for target in shared]
        return [(target, self._is_unavailable(target.upstream, at)) for target in keyed]

    def open_circuits(self, at: float) -> dict[str, int]:
        """Count the targets of each provider that cool down now."""
        cooling: dict[str, int] = {}
        for (name, _), circuit in self._circuits.items():
            if circuit.open_until > at:
                cooling[name] = cooling.get(name, 0) + 1
        return cooling

    def unwell(self, at: float) -> list[Unwell]:
        """Return everything that is not as it should be now. Changes nothing."""
        found = []
        for (name, model), circuit in self._circuits.items():
            seconds = max(0.0, circuit.open_until - at)
            if not circuit.open_until:
                found.append(Unwell(name, model, "failing", circuit.failures))
            elif circuit.trial or not seconds:
                found.append(Unwell(name, model, "trial", circuit.failures, seconds))
            else:
                found.append(Unwell(name, model, "cooling_down", circuit.failures, seconds))
        for (name, model, _), until in self._throttled.items():
            if until > at:
                found.append(Unwell(name, model, "throttled", seconds=until - at))
        for (name, _, _), until in self._refused.items():
            if until > at:
                found.append(Unwell(name, "", "key_refused", seconds=until - at))
        return found

    def all_unavailable(self, targets: Sequence[Target], at: float) -> bool:
        """Whether a request for these targets would be refused now without any of them being called.

        A target whose cooldown is over counts as up: the next request tries it. So does one whose key was refused, for it is
        still called when no other key is left. Changes nothing, unlike `try_admit`.
        """
        if not self._circuits and not self._throttled:
            return False
        return all(self._is_unavailable(target.upstream, at) for target in targets)

    def _is_unavailable(self, upstream: Upstream, at: float) -> bool:
        """Whether `try_admit` would refuse this target, whichever of its keys is used."""
        circuit = self._circuits.get((upstream.name, upstream.model))
        if circuit is not None and circuit.open_until > at:
            return True
        return all(
            self._throttled.get((upstream.name, upstream.model, key), 0.0) > at
            for key in upstream.api_keys or (upstream.api_key,)
        )

    def _shared(self, targets: Sequence[Target], conversation: Callable[[], str]) -> Sequence[Target]:
        """Return targets with weights in the conversation's order, or a random one; others as they are.

        Each is first as often as its weight says. conversation: as of `attempts`.
        """
        if len(targets) < 2 or not targets[0].weight:
            return targets
        if belongs := conversation():
            return ranked(targets, belongs, _name_of, _weight_of)
        return sorted(targets, key=lambda target: -log(1 - self._chance()) / target.weight)

    def with_each_key(self, target: Target, at: float, conversation: str = "") -> list[Target]:
        """Return the target once with each of its keys, in the conversation's order, or a random one; refused ones last."""
        upstream = target.upstream
        if not (count := len(upstream.api_keys)):
            return [target]
        if conversation:
            keys = ranked(upstream.api_keys, conversation, str)
        else:
            first = int(self._chance() * count)
            keys = [*upstream.api_keys[first:], *upstream.api_keys[:first]]
        keys.sort(key=lambda key: self._refused.get((upstream.name, "", key), 0.0) > at)
        return [replace(target, upstream=replace(upstream, api_key=key)) for key in keys]

    def try_admit(self, upstream: Upstream, at: float) -> Failure | None:
        """Return the error if this target may not be called now, else None.

        Side effect: if its cooldown has ended, None claims the single half-open trial.
        """
        if (
            self._throttled
            and (until := self._throttled.get((upstream.name, upstream.model, upstream.api_key), 0.0)) > at
        ):
            return RateLimitExceeded(
                "This model's provider is throttling this server. Try again later.", retry_after=until - at
            )
        circuit = self._circuits.get((upstream.name, upstream.model))
        if circuit is None or not circuit.open_until:
            return None
        if circuit.open_until > at:
            return Overloaded(
                "This model's provider has failed several times in a row and is left alone for a moment.",
                code="provider_unavailable",
                retry_after=circuit.open_until - at,
            )
        circuit.trial, circuit.open_until = True, at + self._cooldown(circuit)
        return None

    def failed(self, upstream: Upstream, failure: Failure, at: float) -> None:
        """Count the failure of an attempt. Upstreams without an address (echo) are not counted."""
        if not upstream.base_url:
            return
        match failure:
            case RateLimitExceeded():
                if failure.retry_after:
                    self._throttled[upstream.name, upstream.model, upstream.api_key] = at + min(
                        LONGEST, failure.retry_after
                    )
                self.answered(upstream)  # an upstream that throttles is alive
            case UpstreamAuthError() | QuotaExhausted():
                self._refused[upstream.name, "", upstream.api_key] = at + self._rules.refused_key_seconds
                self.answered(upstream)
            case ContentFiltered():
                self.answered(upstream)
            case Overloaded(code="provider_busy"):
                pass  # our own limit of calls, no error of the upstream
            case UpstreamError() | UpstreamTimeout() | Overloaded():
                self._trip(self._circuits.setdefault((upstream.name, upstream.model), _Breaker()), at)
            case _ if failure.upstream_status:
                self.answered(upstream)

    def answered(self, upstream: Upstream) -> None:
        """Forget the failures of a target: it has answered."""
        if self._circuits:
            self._circuits.pop((upstream.name, upstream.model), None)

    def _trip(self, circuit: _Breaker, at: float) -> None:
        if circuit.open_until and not circuit.trial:
            return  # a call that had begun before the breaker opened
        circuit.failures += 1
        if circuit.trial or circuit.failures >= self._rules.failures:
            circuit.trial = False
            circuit.cooldowns += 1
            circuit.open_until = at + self._cooldown(circuit)

    def _cooldown(self, circuit: _Breaker) -> float:
        return float(self._rules.seconds * min(2 ** max(0, circuit.cooldowns - 1), 12))

    def take_retry(self) -> bool:
        """Take a retry from the budget, a tenth of the traffic; return whether there was one."""
        if self._retries < 1:
            return False
        self._retries -= 1
        return True

    def jitter(self) -> float:
        """Return random seconds to wait: requests that failed together must not be repeated together."""
        return 0.1 + 0.2 * self._chance()


class AttemptPlan:
    """The attempts of one request.

    made: how many; retried: whether a target was called twice; last: the failure to return when no attempt is left.
    """

    __slots__ = (
        "_again",
        "_at",
        "_conversation",
        "_deadline",
        "_health",
        "_keys",
        "_last",
        "_targets",
        "_tried",
        "made",
        "retried",
    )

    def __init__(
        self, health: CircuitBreakers, targets: Sequence[Target], deadline: float, conversation: Callable[[], str]
    ) -> None:
        self._conversation = conversation
        self._health, self._targets, self._deadline = health, targets, deadline
        self._at = 0  # of the next target
        self._keys: list[Target] = []  # the rest of the keys of the target at hand
        self.made = 0
        self.retried = False
        self._last: Failure | None = None
        self._tried: Target | None = None
        self._again: Target | None = None

    @property
    def last(self) -> Failure:
        return self._last or ModelNotFound("No provider serves this model.", param="model")

    def next(self, at: float) -> Attempt | None:
        """Return the next attempt, and count it as made; None when there is none, then `last` is the answer.

        Side effects: those of `try_admit` and `take_retry`.
        """
        if self.made and at >= self._deadline:
            return None
        while (target := self._candidate(at)) is not None:
            blocked = self._health.try_admit(target.upstream, at)
            if blocked is None:
                return self._attempt(target, 0.0)
            if not self.made:
                self._last = blocked
        again = self._again
        if again is None or self.retried:
            return None
        wait = (self.last.retry_after or 0.0) + self._health.jitter()
        if at + wait >= self._deadline or not self._health.take_retry():
            return None
        self.retried = True
        return self._attempt(again, wait)

    def _candidate(self, at: float) -> Target | None:
        if not self._keys:
            if self._at >= len(self._targets):
                return None
            target = self._targets[self._at]
            self._at += 1
            if not target.upstream.api_keys:
                return target
            self._keys = self._health.with_each_key(target, at, self._conversation())
        return self._keys.pop(0)

    def _attempt(self, target: Target, wait: float) -> Attempt:
        self.made += 1
        self._tried = target
        return Attempt(target, wait)

    def failed(self, failure: Failure, at: float) -> None:
        """Count the failure of the attempt that `next` returned last. Raises it when no other target can help."""
        assert self._tried is not None
        self._health.failed(self._tried.upstream, failure, at)
        if not failure.try_next and not self.goes_on(CAUSES.get(type(failure))):
            try:
                raise failure
            finally:
                del failure  # its traceback refers to this frame: a reference cycle that would hold the request
        self._last = failure
        if not isinstance(failure, RateLimitExceeded | UpstreamAuthError | QuotaExhausted):
            self._keys.clear()  # another key would not help
        self._again = self._tried if self._tried.upstream.base_url and _repeatable(failure) else None

    def goes_on(self, cause: Cause | None) -> bool:
        """Whether another target is asked where the one that `next` returned last fails for this cause."""
        return self._tried is not None and cause in self._tried.on and self._at < len(self._targets)

    def answered(self) -> None:
        """Count the success of the attempt that `next` returned last."""
        assert self._tried is not None
        self._health.answered(self._tried.upstream)


def _repeatable(failure: Failure) -> bool:
    """Whether the same target may be called again: it surely did no work, and asks for no wait or a short one."""
    if (failure.retry_after or 0.0) > SHORT or isinstance(failure, QuotaExhausted):
        return False
    if failure.not_sent:
        return failure.code == "upstream_connect"  # a name, a certificate or a silence will be the same in a moment
    if failure.upstream_status == 429:
        return failure.retry_after is not None  # only with a Retry-After
    return failure.upstream_status in (502, 503, 529)
