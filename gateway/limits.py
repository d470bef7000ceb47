"""Limits of a key: requests and tokens per minute, requests at once, and a budget. Pure: time is passed in.

`KINDS` is the table of them: the counters here, the script in Redis (server/usage/redis_limiter.py), errors and headers all
follow it. A limit more is a row, its field in `Limits`, and its key in gateway/config_schema.py.

`LimitCounters.reserve` takes an estimate from every limit at once, or refuses and takes nothing; `LimitCounters.settle`
returns it and counts what was really used. So what is used and what is reserved never exceed a limit together, as long as no
request uses more than its estimate; one that does is counted in full, and later requests wait for it.

A minute is any sixty seconds. A bucket that refills, or a minute by the clock, lets twice the limit through in a minute
that straddles two of them.
"""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import cached_property, lru_cache
from math import ceil
from typing import Final, Literal, NamedTuple, get_args

import msgspec

from dialects.contract import HeaderForm
from providers.errors import BudgetExceeded, Failure, RateLimitExceeded

from .spending import NEVER, Period, SlidingWindow, Spent, period_at, period_of
from .words import counted, moment

Unit = Literal["requests", "tokens", "cost"]
_UNITS: Final[tuple[Unit, ...]] = get_args(Unit)

_EACH: Final[dict[Period, str]] = {"day": "daily", "month": "monthly"}
_OPENAI: Final = HeaderForm()


class Kind(NamedTuple):
    """One kind of limit. over: the seconds of a sliding window, `now`: what is running, `period`: day, month or all time."""

    name: str  # its field of Limits
    unit: Unit  # what it counts. Requests are counted when they begin, tokens and micro-USD when they have ended
    over: int | Literal["now", "period"]
    header: str = ""  # its name in the headers of an answer (HeaderForm.limits); "": it has none
    code: str = "rate_limit_exceeded"
    words: str = ""  # of the error. cap: the limit; wait: seconds
    too_large: str = ""  # of the error of a request that needs more than the whole limit. needed: what it needs


# In the order in which they are looked at.
KINDS: Final = (
    Kind(
        "concurrency",
        "requests",
        "now",
        words="This key may have {cap} at once; wait until one of them has ended.",
    ),
    Kind(
        "rpm",
        "requests",
        60,
        header="requests",
        words="Rate limit reached: this key may send {cap} per minute. Try again in {wait} s.",
    ),
    Kind(
        "tpm",
        "tokens",
        60,
        header="tokens",
        words="Rate limit reached: this key may use {cap} per minute. Try again in {wait} s.",
        too_large="Request too large: it may use {needed}, and this key may use {cap} per minute. Send a shorter prompt, or a "
        "smaller max_tokens.",
    ),
    Kind("budget", "cost", "period", code="budget_exceeded"),  # its errors: budget_error
)


class Limits(msgspec.Struct, frozen=True, dict=True):
    """The limits of one key; 0: no limit. budget: micro-USD in each period."""

    rpm: int = 0
    tpm: int = 0
    concurrency: int = 0
    budget: int = 0
    period: Period = "month"

    @cached_property
    def rows(self) -> tuple[tuple[Kind, int], ...]:
        """The kinds of limit that hold, with the limit."""
        return tuple((kind, cap) for kind in KINDS if (cap := getattr(self, kind.name)))

    @cached_property
    def need_estimate(self) -> bool:
        """Whether what a request may use is to be reserved."""
        return any(kind.unit != "requests" for kind, _ in self.rows)

    @cached_property
    def of_requests(self) -> "Limits":
        """The same for requests that use no tokens."""
        return Limits(rpm=self.rpm, concurrency=self.concurrency)

    @cached_property
    def tokens(self) -> int:
        """The smallest limit of tokens; 0: there is none."""
        return min((cap for kind, cap in self.rows if kind.unit == "tokens"), default=0)


class Reservation(msgspec.Struct, gc=False):
    """What a running request has reserved: tokens, and micro-USD of the budget. day: on which it began; id: its name in Redis."""

    tokens: int
    cost: int
    day: str
    id: str = ""
    running: bool = True


# What the headers of an answer tell of each limit that has some: Kind.header, the limit, how much is left of it, and the seconds
# until nothing is used any more.
Remaining = Sequence[tuple[str, int, int, int]]


def left(kind: Kind, cap: int, used: int, reset: int) -> tuple[str, int, int, int]:
    """Return how much is left of a limit. used: counted and reserved; reset: seconds until nothing is counted any more."""
    return kind.header, cap, cap - used if used < cap else 0, reset or (1 if used else 0)


class LimitCounters:
    """The limits of one key, counted in this process. name: of the key; spent: where its cost is counted."""

    def __init__(self, limits: Limits, name: str = "", spent: Spent | None = None) -> None:
        self._name, self._spent = name, spent if spent is not None else Spent()
        self._windows = {kind.name: SlidingWindow(kind.over) for kind in KINDS if isinstance(kind.over, int)}
        self.running = self.reserved_tokens = 0
        self._reserved: dict[str, int] = {}  # day on which requests began → micro-USD that they hold
        self.apply(limits)

    def apply(self, limits: Limits) -> None:
        """Use these limits from now on; what has been used stays counted."""
        self.limits = limits
        # Prepared, since each request asks all of them. In _rows: kind, limit, place of its unit, how much of it is in use.
        self._rows = tuple((kind, cap, _UNITS.index(kind.unit), self._use_of(kind)) for kind, cap in limits.rows)
        windows = [(kind, cap, self._windows[kind.name]) for kind, cap in limits.rows if kind.name in self._windows]
        self._counts_requests = tuple(window for kind, _, window in windows if kind.unit == "requests")
        self._counts_tokens = tuple(window for kind, _, window in windows if kind.unit == "tokens")
        self._shown = tuple((kind, cap, self._use_of(kind), window) for kind, cap, window in windows if kind.header)

    def _use_of(self, kind: Kind) -> Callable[[float], int]:
        """Return the function from monotonic seconds to how much of a limit is counted and reserved."""
        if kind.over == "period":
            return lambda _: self.spent + self.reserved_cost
        if kind.over == "now":
            return lambda _: self.running
        window = self._windows[kind.name]
        return window.sum if kind.unit == "requests" else lambda at: window.sum(at) + self.reserved_tokens

    @property
    def spent(self) -> int:
        """Return the micro-USD spent in the running period of the budget."""
        return self._spent.of(self._name, self.limits.period)

    @property
    def reserved_cost(self) -> int:
        """Return the micro-USD that running requests have reserved of the budget's running period."""
        period, last, sum = self.limits.period, self._spent.day, 0
        for day, cost in self._reserved.items():
            if day == last or period_of(period, day) == period_of(period, last):
                sum += cost
        return sum

    def reserve(self, tokens: int, cost: int, at: float, wall: float) -> Reservation:
        """Reserve `tokens` and `cost` micro-USD for a request, or raise and reserve nothing.

        at: monotonic seconds; wall: Unix time. Raises RateLimitExceeded, or BudgetExceeded where waiting a minute will not
        help.
        """
        day = self._spent.roll(wall)
        exceeded = self._exceeded((1, tokens, cost), at)
        if exceeded is not None:
            raise self._refusal(*exceeded, at, wall)
        for window in self._counts_requests:
            window.add(1, at)
        self.running += 1
        self.reserved_tokens += tokens
        if cost:
            self._reserved[day] = self._reserved.get(day, 0) + cost
        return Reservation(tokens, cost, day)

    def extend(self, reservation: Reservation, tokens: int, cost: int, at: float, wall: float) -> bool:
        """Raise what a running request has reserved to these totals; return False and change nothing where a limit forbids it.

        The cost of a period that has ended since the request began is no longer known: its budget covers no more.
        """
        limits, day = self.limits, self._spent.roll(wall)
        tokens, cost = max(0, tokens - reservation.tokens), max(0, cost - reservation.cost)
        if limits.budget and cost and period_of(limits.period, reservation.day) != period_of(limits.period, day):
            return False
        if self._exceeded((0, tokens, cost), at) is not None:
            return False
        reservation.tokens += tokens
        self.reserved_tokens += tokens
        if cost:
            reservation.cost += cost
            self._reserved[reservation.day] = self._reserved.get(reservation.day, 0) + cost
        return True

    def _exceeded(self, needed: tuple[int, int, int], at: float) -> tuple[Kind, int, int] | None:
        """Return the first limit that does not cover what is needed of it, with the limit and that; None where all do.

        needed: of each of _UNITS. What is not needed is never refused.
        """
        for kind, cap, unit, use in self._rows:
            need = needed[unit]
            if need and use(at) + need > cap:
                return kind, cap, need
        return None

    def _refusal(self, kind: Kind, cap: int, needed: int, at: float, wall: float) -> Failure:
        """Return the error of a limit that does not cover what is needed."""
        if kind.over == "period":
            return budget_error(self.limits, self.spent, self.reserved_cost, needed, wall)
        if kind.over == "now":
            return limit_error(kind, cap, 1, needed)
        reserved = self.reserved_tokens if kind.unit == "tokens" else 0
        return limit_error(kind, cap, self._windows[kind.name].wait(cap - reserved - needed, at), needed)

    def settle(self, reservation: Reservation, tokens: int, cost: int, at: float) -> None:
        """Release what a request has reserved, and count what it has used. A second call for it does nothing."""
        if not reservation.running:
            return
        reservation.running = False
        self.running -= 1
        self.reserved_tokens -= reservation.tokens
        if rest := self._reserved.pop(reservation.day, 0) - reservation.cost:
            self._reserved[reservation.day] = rest
        self.used(tokens, at)
        self._spent.add(self._name, reservation.day, cost)

    def used(self, tokens: int, at: float) -> None:
        """Count the tokens of a request that has ended."""
        for window in self._counts_tokens:
            window.add(tokens, at)

    def remaining(self, at: float) -> Remaining:
        """Return what the next request may use."""
        found = []
        for kind, cap, use, window in self._shown:
            used = use(at)  # before reset()
            found.append(left(kind, cap, used, window.reset(at)))
        return found


def limit_error(kind: Kind, cap: int, wait: int, needed: int) -> Failure:
    """Return the error of a limit that is no budget. wait: seconds; needed: what the request needs of it.

    No time is named where that is more than the whole limit, since no wait will help.
    """
    unit = kind.unit.removesuffix("s")
    if needed > cap:
        words = kind.too_large.format(needed=counted(needed, unit), cap=cap)
        return BudgetExceeded(words, code=kind.code)
    wait = max(1, wait)
    return RateLimitExceeded(kind.words.format(cap=counted(cap, unit), wait=wait), code=kind.code, retry_after=wait)


def budget_error(limits: Limits, spent: int, reserved: int, cost: int, wall: float) -> Failure:
    """Return the error for a budget that does not cover a request. All in micro-USD.

    It names a time to wait only where the request would be admitted after it.
    """
    _, ends = period_at(limits.period, wall)
    each = "" if limits.period == "total" else f" a {limits.period}"
    words = f"This key's budget of ${dollars(limits.budget)}{each} does not cover this request, which may cost "
    words += f"${dollars(cost)}: ${dollars(spent)} are spent"
    if spent + cost <= limits.budget:  # only running requests are in the way
        words += f" and ${dollars(reserved)} are reserved by requests that still run. Try again when they have ended."
        return RateLimitExceeded(words, code="budget_exceeded", retry_after=1)
    if cost > limits.budget:
        return BudgetExceeded(f"{words}. Send a shorter prompt, or a smaller max_tokens.")
    if ends == NEVER:
        failure = BudgetExceeded(f"{words}. It does not reset: ask the operator of this server.")
        failure.period = "total; does not reset"
        return failure
    resets = datetime.fromtimestamp(ends, UTC)
    failure = BudgetExceeded(f"{words}. It resets at {moment(ends)}.", retry_after=ends - wall)
    failure.period = f"{_EACH.get(limits.period, limits.period)}; resets {resets:%Y-%m-%d %H:%M} UTC"
    return failure


def headers(remaining: Remaining, form: HeaderForm = _OPENAI, at: float = 0.0) -> dict[str, str]:
    """Return the headers of an answer that tell what is left of the limits there are. at: Unix time."""
    names, moments, told = _names(form.limits), form.moments, {}
    for header, cap, amount, seconds in remaining:
        limit, remains, reset = names[header]
        told[limit], told[remains] = str(cap), str(amount)
        told[reset] = moment(ceil(at) + seconds) if moments else f"{seconds}s"
    return told


def header_names(form: HeaderForm) -> list[str]:
    """Return the names of all headers that tell what is left."""
    return [name for names in _names(form.limits).values() for name in names]


@lru_cache(16)
def _names(form: str) -> dict[str, tuple[str, ...]]:
    """Return the names of the headers of each limit, by Kind.header. form: HeaderForm.limits."""
    return {
        kind.header: tuple(form.format(value=value, of=kind.header) for value in ("limit", "remaining", "reset"))
        for kind in KINDS
        if kind.header
    }


def dollars(micro: int) -> str:
    """Return micro-USD as dollars, with all digits that are needed, two at least."""
    whole, rest = divmod(micro, 10**6)
    digits = f"{rest:06}".rstrip("0").ljust(2, "0")
    return f"{whole}.{digits}"
