"""What is known of the health of upstreams, and in which order one request asks them.

- A target that failed several times in a row rests; when its time is over, one request may try it (half-open), and its
  end decides for all.
- A key that was refused is benched: used only when no other is left, so that a server with one key stays truthful about
  it. A key that is throttled (429 with Retry-After) rests for that model, and is not asked until its time is over.
- One request asks each target once, with another key where only the key was at fault. One more try of the last target
  comes only where the upstream surely did no work, or said so itself, and only for a tenth of all requests: retries must
  not become the load that keeps an upstream down.

Time (monotonic seconds) and chance (0 to 1) are handed in.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from math import log
from typing import Final, NamedTuple, TypeVar

from providers.contract import Upstream
from providers.errors import (
    Failure,
    ModelNotFound,
    Overloaded,
    QuotaExhausted,
    RateLimitExceeded,
    UpstreamAuthError,
    UpstreamError,
    UpstreamTimeout,
)

from .config_schema import Cooldown
from .routing import Target

SHORT: Final = 2.0  # seconds: a Retry-After up to this is waited for
LONGEST: Final = 60.0  # seconds: a key rests no longer, whatever the upstream said
_ENTRIES: Final = 1024
_RETRIES: Final = 10.0  # retries that may come at once; each request earns a tenth of one


K = TypeVar("K")
V = TypeVar("V")


class Attempt(NamedTuple):
    """What to do next: wait, then ask this target."""

    target: Target
    wait: float = 0.0  # seconds


class _Breaker:
    """A target that has failed."""

    __slots__ = ("failures", "open_until", "rests", "trial")

    def __init__(self) -> None:
        self.failures = 0  # in a row
        self.rests = 0  # in a row
        self.open_until = 0.0  # 0: closed
        self.trial = False  # one request is trying it; open_until then bounds how long the others wait for its end


Key = tuple[str, str, str]  # provider, model ("": all), key


class CircuitBreakers:
    """Of all upstreams of one configuration."""

    def __init__(self, rules: Cooldown, chance: Callable[[], float]) -> None:
        self._rules, self._chance = rules, chance
        self._circuits: dict[tuple[str, str], _Breaker] = {}
        self._resting: dict[Key, float] = {}  # until when
        self._benched: dict[Key, float] = {}
        self._retries = _RETRIES

    def attempts(self, targets: Sequence[Target], deadline: float) -> "AttemptPlan":
        """The attempts of one request; no new one begins after `deadline`."""
        self._retries = min(_RETRIES, self._retries + 0.1)
        return AttemptPlan(self, self._shared(targets), deadline)

    def open_circuits(self, at: float) -> dict[str, int]:
        """Provider → targets that rest now."""
        resting: dict[str, int] = {}
        for (name, _), circuit in self._circuits.items():
            if circuit.open_until > at:
                resting[name] = resting.get(name, 0) + 1
        return resting

    def all_unavailable(self, targets: Sequence[Target], at: float) -> bool:
        """Whether a request for these targets would be refused now without any of them being asked.

        A target whose rest is over counts as up: the next request tries it. So does one whose key is benched, for it is
        still asked when no other key is left. Changes nothing, unlike `blocked`.
        """
        if not self._circuits and not self._resting:
            return False
        return all(self._left_alone(target.upstream, at) for target in targets)

    def _left_alone(self, to: Upstream, at: float) -> bool:
        """Whether `blocked` would refuse this target, whichever of its keys is used."""
        circuit = self._circuits.get((to.name, to.model))
        if circuit is not None and circuit.open_until > at:
            return True
        return all(self._resting.get((to.name, to.model, key), 0.0) > at for key in to.api_keys or (to.api_key,))

    def _shared(self, targets: Sequence[Target]) -> Sequence[Target]:
        """Targets with weights in a random order, each first as often as its weight says."""
        if len(targets) < 2 or not targets[0].weight:
            return targets
        return sorted(targets, key=lambda target: -log(1 - self._chance()) / target.weight)

    def with_each_key(self, target: Target, at: float) -> list[Target]:
        """The target with each of its keys, benched ones last."""
        to = target.upstream
        if not to.api_keys:
            return [target]
        first = int(self._chance() * len(to.api_keys))
        keys = [*to.api_keys[first:], *to.api_keys[:first]]
        keys.sort(key=lambda key: self._benched.get((to.name, "", key), 0.0) > at)
        return [replace(target, upstream=replace(to, api_key=key)) for key in keys]

    def try_admit(self, to: Upstream, at: float) -> Failure | None:
        """Why this target must not be asked now; None lets it be asked, and is the one trial of a target that rested."""
        if self._resting and (until := self._resting.get((to.name, to.model, to.api_key), 0.0)) > at:
            return RateLimitExceeded(
                "This model's provider is throttling this server. Try again later.", retry_after=until - at
            )
        circuit = self._circuits.get((to.name, to.model))
        if circuit is None or not circuit.open_until:
            return None
        if circuit.open_until > at:
            return Overloaded(
                "This model's provider has failed several times in a row and is left alone for a moment.",
                code="provider_unavailable",
                retry_after=circuit.open_until - at,
            )
        circuit.trial, circuit.open_until = True, at + self._rest(circuit)
        return None

    def failed(self, to: Upstream, failure: Failure, at: float) -> None:
        """An attempt ended with this failure. What is answered here (echo) has no health."""
        if not to.base_url:
            return
        match failure:
            case RateLimitExceeded():
                if failure.retry_after:
                    _bounded(self._resting)[to.name, to.model, to.api_key] = at + min(LONGEST, failure.retry_after)
                self.answered(to)  # whoever throttles is alive
            case UpstreamAuthError() | QuotaExhausted():
                self._benched[to.name, "", to.api_key] = at + self._rules.refused_key_seconds
                self.answered(to)
            case Overloaded(code="provider_busy"):
                pass  # our own bound says nothing of the upstream
            case UpstreamError() | UpstreamTimeout() | Overloaded():
                self._trip(_bounded(self._circuits).setdefault((to.name, to.model), _Breaker()), at)
            case _ if failure.upstream_status:
                self.answered(to)

    def answered(self, to: Upstream) -> None:
        """The upstream is alive."""
        if self._circuits:
            self._circuits.pop((to.name, to.model), None)

    def _trip(self, circuit: _Breaker, at: float) -> None:
        if circuit.open_until and not circuit.trial:
            return  # one of those that were under way when it was opened
        circuit.failures += 1
        if circuit.trial or circuit.failures >= self._rules.failures:
            circuit.trial = False
            circuit.rests += 1
            circuit.open_until = at + self._rest(circuit)

    def _rest(self, circuit: _Breaker) -> float:
        return float(self._rules.seconds * min(2 ** max(0, circuit.rests - 1), 12))

    def take_retry(self) -> bool:
        """Whether one more retry is within a tenth of the traffic; takes it."""
        if self._retries < 1:
            return False
        self._retries -= 1
        return True

    def jitter(self) -> float:
        """Seconds: clients that failed together must not come back together."""
        return 0.1 + 0.2 * self._chance()


def _bounded(table: dict[K, V]) -> dict[K, V]:
    """The table with room for one more entry: behind a pattern, clients may invent models."""
    if len(table) >= _ENTRIES:
        del table[next(iter(table))]
    return table


class AttemptPlan:
    """The attempts of one request.

    made: how many; retried: whether one was a repeat; last: the failure to answer with when there is no other.
    """

    __slots__ = ("_again", "_deadline", "_health", "_keys", "_last", "_targets", "_tried", "made", "retried")

    def __init__(self, health: CircuitBreakers, targets: Sequence[Target], deadline: float) -> None:
        self._health, self._targets, self._deadline = health, iter(targets), deadline
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
        """What to do next; None: nothing, `last` is the answer."""
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
            target = next(self._targets, None)
            if target is None or not target.upstream.api_keys:
                return target
            self._keys = self._health.with_each_key(target, at)
        return self._keys.pop(0)

    def _attempt(self, target: Target, wait: float) -> Attempt:
        self.made += 1
        self._tried = target
        return Attempt(target, wait)

    def failed(self, failure: Failure, at: float) -> None:
        """The attempt failed. Raises the failure when no other target can help."""
        assert self._tried is not None
        self._health.failed(self._tried.upstream, failure, at)
        if not failure.try_next:
            try:
                raise failure
            finally:
                del failure  # it knows this frame, which would know it: a circle that holds the request
        self._last = failure
        if not isinstance(failure, RateLimitExceeded | UpstreamAuthError | QuotaExhausted):
            self._keys.clear()  # another key would not help
        self._again = self._tried if self._tried.upstream.base_url and _repeatable(failure) else None

    def answered(self) -> None:
        """The attempt succeeded."""
        assert self._tried is not None
        self._health.answered(self._tried.upstream)


def _repeatable(failure: Failure) -> bool:
    """Whether the same target may be asked again: it surely did no work, and a wait is short or not asked for."""
    if (failure.retry_after or 0.0) > SHORT or isinstance(failure, QuotaExhausted):
        return False
    if failure.not_sent:
        return failure.code == "upstream_connect"  # a name, a certificate or a silence will be the same in a moment
    if failure.upstream_status == 429:
        return failure.retry_after is not None  # too fast already: only when told when
    return failure.upstream_status in (502, 503, 529)
