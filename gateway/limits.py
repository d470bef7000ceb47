"""Limits of a key: requests and tokens per minute, requests at once, and a budget. Pure: time is passed in.

`KINDS` is the table of them: the counters here, the script in Redis (server/usage/redis_limiter.py), errors and headers all
follow it. A limit more is a row, its field in `Limits`, and its key in gateway/config_schema.py.

`LimitCounters.reserve` takes an estimate from every limit at once, or refuses and takes nothing; `LimitCounters.settle`
returns it and counts what was really used. So what is used and what is reserved never exceed a limit together, as long as no
request uses more than its estimate; one that does is counted in full, and later requests wait for it.

A minute is any sixty seconds. A bucket that refills, or a minute by the clock, lets twice the limit through in a minute
that straddles two of them.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from functools import lru_cache
from math import ceil
from typing import Final, Literal, NamedTuple

import msgspec

from dialects.contract import HeaderForm
from providers.errors import BudgetExceeded, Failure, RateLimitExceeded

from .spending import NEVER, Period, SlidingWindow, Spent, period_at, period_of
from .words import counted, moment

Unit = Literal["requests", "tokens", "cost"]

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


class Limits(NamedTuple):
    """The limits of one key; 0: no limit. budget: micro-USD in each period."""

    rpm: int = 0
    tpm: int = 0
    concurrency: int = 0
    budget: int = 0
    period: Period = "month"

    @property
    def rows(self) -> tuple[tuple[Kind, int], ...]:
        """Return the kinds of limit that hold, with the limit."""
        return _rows(self)

    @property
    def need_estimate(self) -> bool:
        """Whether what a request may use is to be reserved."""
        return _need_estimate(self)

    def least(self, unit: Unit) -> int:
        """Return the smallest limit of a unit; 0: there is none."""
        return min((cap for kind, cap in _rows(self) if kind.unit == unit), default=0)


@lru_cache(1024)
def _rows(limits: Limits) -> tuple[tuple[Kind, int], ...]:
    return tuple((kind, cap) for kind in KINDS if (cap := getattr(limits, kind.name)))


@lru_cache(1024)
def _need_estimate(limits: Limits) -> bool:
    return any(kind.unit != "requests" for kind, _ in _rows(limits))


class Reservation(msgspec.Struct):
    """What a running request has reserved: tokens, and micro-USD of the budget. day: on which it began; id: its name in Redis."""

    tokens: int
    cost: int
    day: str
    id: str = ""
    running: bool = True


class Left(NamedTuple):
    """How much is left of a limit. reset: seconds until nothing is used any more."""

    amount: int
    reset: int


Remaining = Mapping[str, Left]  # by the name of the kind: what the headers of an answer tell


def left(cap: int, used: int, reset: int) -> Left:
    """Return how much is left. used: counted and reserved; reset: seconds until nothing is counted any more."""
    return Left(max(0, cap - used), reset or (1 if used else 0))


class LimitCounters:
    """The limits of one key, counted in this process. name: of the key; spent: where its cost is counted."""

    def __init__(self, limits: Limits, name: str = "", spent: Spent | None = None) -> None:
        self.limits = limits
        self._name, self._spent = name, spent if spent is not None else Spent()
        self._windows = {kind.name: SlidingWindow(kind.over) for kind in KINDS if isinstance(kind.over, int)}
        self.running = self.reserved_tokens = 0
        self._reserved: dict[str, int] = {}  # day on which requests began → micro-USD that they hold

    @property
    def spent(self) -> int:
        """Return the micro-USD spent in the running period of the budget."""
        return self._spent.of(self._name, self.limits.period)

    @property
    def reserved_cost(self) -> int:
        """Return the micro-USD that running requests have reserved of the budget's running period."""
        last = self._spent.day
        if self._reserved.keys() <= {last}:  # nearly always
            return self._reserved.get(last, 0)
        period, running = self.limits.period, period_of(self.limits.period, last)
        return sum(cost for day, cost in self._reserved.items() if period_of(period, day) == running)

    def reserve(self, tokens: int, cost: int, at: float, wall: float) -> Reservation:
        """Reserve `tokens` and `cost` micro-USD for a request, or raise and reserve nothing.

        at: monotonic seconds; wall: Unix time. Raises RateLimitExceeded, or BudgetExceeded where waiting a minute will not
        help.
        """
        day = self._spent.roll(wall)
        needed: dict[Unit, int] = {"requests": 1, "tokens": tokens, "cost": cost}
        rows = self.limits.rows
        for kind, cap in rows:
            if refusal := self._refusal(kind, cap, needed[kind.unit], at, wall):
                raise refusal
        for kind, _ in rows:
            if kind.unit == "requests" and kind.name in self._windows:
                self._windows[kind.name].add(1, at)
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
        needed: dict[Unit, int] = {"requests": 0, "tokens": tokens, "cost": cost}
        if limits.budget and cost and period_of(limits.period, reservation.day) != period_of(limits.period, day):
            return False
        if any(
            needed[kind.unit] and self._refusal(kind, cap, needed[kind.unit], at, wall) for kind, cap in limits.rows
        ):
            return False
        reservation.tokens += tokens
        self.reserved_tokens += tokens
        if cost:
            reservation.cost += cost
            self._reserved[reservation.day] = self._reserved.get(reservation.day, 0) + cost
        return True

    def _refusal(self, kind: Kind, cap: int, needed: int, at: float, wall: float) -> Failure | None:
        """Return why a limit does not cover what is needed; None where it does."""
        match kind.over:
            case "now":
                wait, fits = 1, self._held(kind) + needed <= cap
            case "period":
                if not needed or self.spent + self.reserved_cost + needed <= cap:
                    return None
                return budget_error(self.limits, self.spent, self.reserved_cost, needed, wall)
            case _:
                unused = cap - self._held(kind) - needed
                wait = self._windows[kind.name].wait(unused, at)
                fits = self._windows[kind.name].sum(at) <= unused
        return None if fits else limit_error(kind, cap, wait, needed)

    def _held(self, kind: Kind) -> int:
        """Return what running requests hold of a limit and have not been counted for yet."""
        if kind.unit == "tokens":
            return self.reserved_tokens
        return self.running if kind.over == "now" else 0

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
        for kind, _ in self.limits.rows:
            if kind.unit == "tokens" and kind.name in self._windows:
                self._windows[kind.name].sum(at)
                self._windows[kind.name].add(tokens, at)

    def remaining(self, at: float) -> Remaining:
        """Return what the next request may use."""
        found = {}
        for kind, cap in self.limits.rows:
            if kind.header:
                used, reset = self._windows[kind.name].sum_and_reset(at)
                found[kind.name] = left(cap, used + self._held(kind), reset)
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


def headers(limits: Limits, remaining: Remaining, form: HeaderForm = _OPENAI, at: float = 0.0) -> dict[str, str]:
    """Return the headers of an answer that tell what is left of the limits there are. at: Unix time."""
    told: dict[str, str] = {}
    for kind, cap in limits.rows:
        if kind.header and (found := remaining.get(kind.name)):
            reset = f"{found.reset}s"
            if form.moments:
                reset = moment(ceil(at) + found.reset)
            limit, remains, resets = _names(form.limits, kind.header)
            told[limit], told[remains], told[resets] = str(cap), str(found.amount), reset
    return told


def header_names(form: HeaderForm) -> list[str]:
    """Return the names of all headers that tell what is left."""
    return [name for kind in KINDS if kind.header for name in _names(form.limits, kind.header)]


@lru_cache(16)
def _names(form: str, of: str) -> tuple[str, ...]:
    """Return the names of the headers of one limit. form, of: HeaderForm.limits, and what is limited there."""
    return tuple(form.format(value=value, of=of) for value in ("limit", "remaining", "reset"))


def dollars(micro: int) -> str:
    """Return micro-USD as dollars, with all digits that are needed, two at least."""
    whole, rest = divmod(micro, 10**6)
    digits = f"{rest:06}".rstrip("0").ljust(2, "0")
    return f"{whole}.{digits}"
