"""Limits of a key: requests and tokens per minute, requests at once, and a budget. Pure: time is passed in.

`LimitCounters.reserve` takes an estimate from every limit at once, or refuses and takes nothing; `LimitCounters.settle`
returns it and counts what was really used. So what is used and what is reserved never exceed a limit together, as long as no
request uses more than its estimate; one that does is counted in full, and later requests wait for it.

A minute is any sixty seconds. A bucket that refills, or a minute by the clock, lets twice the limit through in a minute
that straddles two of them.
"""

from collections import defaultdict, deque
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from math import ceil, inf
from typing import Final, Literal, NamedTuple

from dialects.contract import HeaderForm
from providers.errors import BudgetExceeded, Failure, RateLimitExceeded

from .words import counted

Period = Literal["day", "month", "total"]
Limit = Literal["rpm", "tpm", "concurrency", "budget"]

WINDOW: Final = 60  # seconds
_EACH: Final[dict[Period, str]] = {"day": "daily", "month": "monthly"}
_OPENAI: Final = HeaderForm()
NEVER: Final = 0.0  # the end of the period `total`
_NAMED: Final[dict[Period, int]] = {"day": 10, "month": 7, "total": 0}  # characters of a day that name its period


class Limits(NamedTuple):
    """The limits of one key; 0: no limit. budget: micro-USD in each period."""

    rpm: int = 0
    tpm: int = 0
    concurrency: int = 0
    budget: int = 0
    period: Period = "month"


@dataclass(slots=True)
class Reservation:
    """What a running request has reserved: tokens, and micro-USD of the budget. day: on which it began; id: its name in Redis."""

    tokens: int
    cost: int
    day: str
    id: str = ""
    running: bool = True


class Remaining(NamedTuple):
    """How much is left, for the headers of an answer. reset: seconds until nothing is used any more."""

    requests: int
    requests_reset: int
    tokens: int
    tokens_reset: int


class SlidingWindow:
    """A sum over the last minute, by the second. What was added in one second is removed sixty seconds after its end."""

    __slots__ = ("_slots", "_total")

    def __init__(self) -> None:
        self._slots: deque[list[int]] = deque()  # [second, amount], oldest first
        self._total = 0

    def add(self, amount: int, at: float) -> None:
        """Add an amount. at: monotonic seconds, never less than before."""
        if amount:
            if self._slots and self._slots[-1][0] >= int(at):
                self._slots[-1][1] += amount
            else:
                self._slots.append([int(at), amount])
            self._total += amount

    def sum(self, at: float) -> int:
        """Return the sum; removes what is older than the window. at: monotonic seconds, never less than before."""
        slots = self._slots
        while slots and slots[0][0] + WINDOW + 1 <= at:
            self._total -= slots.popleft()[1]
        return self._total

    def wait(self, limit: int, at: float) -> int:
        """Return whole seconds until the sum is at most `limit`; 0 when it is."""
        over = self.sum(at) - limit
        if over <= 0:
            return 0
        wait = 0
        for second, amount in self._slots:
            if over <= 0:
                break
            over -= amount
            wait = ceil(second + WINDOW + 1 - at)
        return wait

    def sum_and_reset(self, at: float) -> tuple[int, int]:
        """Return the sum, and whole seconds until it is 0. at: as of sum()."""
        sum = self.sum(at)
        return sum, ceil(self._slots[-1][0] + WINDOW + 1 - at) if sum else 0


class Spent:
    """What each key has spent in the running day, the running month and in total: micro-USD by the key's name.

    Budgets are counted here and nowhere else, and every request that has cost something is added, whether its key has a
    budget or not: a budget that is lifted and restored, or new, or for another period, goes on from what was spent.
    """

    def __init__(self) -> None:
        self.day = ""  # the running day (UTC), YYYY-MM-DD
        self._ends = -inf  # Unix time
        self._sums: dict[Period, defaultdict[str, int]] = {period: defaultdict(int) for period in _NAMED}

    def roll(self, wall: float) -> str:
        """Return the running day; empties the sums of a day or a month that has ended. wall: Unix time.

        A clock that is set back does not start an old day again.
        """
        if wall >= self._ends:
            before, (self.day, self._ends) = self.day, period_at("day", wall)
            for period, sums in self._sums.items():
                if period_of(period, before) != period_of(period, self.day):
                    sums.clear()
        return self.day

    def add(self, name: str, day: str, cost: int) -> None:
        """Add what a request of this key that began on this day has cost."""
        if not cost:
            return
        if day == self.day:
            for sums in self._sums.values():
                sums[name] += cost
            return
        for period, sums in self._sums.items():
            if period_of(period, day) == period_of(period, self.day):
                sums[name] += cost

    def of(self, name: str, period: Period) -> int:
        """Return what a key has spent in the running day or month, or in total."""
        return self._sums[period].get(name, 0)

    def copy(self) -> dict[Period, dict[str, int]]:
        """Return all sums as they are now."""
        return {period: dict(sums) for period, sums in self._sums.items()}

    def learn(self, period: Period, day: str, before: Mapping[str, int], known: Mapping[str, int]) -> None:
        """Raise the sums of a period to what another count knew at the moment when they were `before`, on this day.

        What was added since stays added. A count that knows less changes nothing: its file may have been lost.
        """
        if period_of(period, day) != period_of(period, self.day):
            return
        sums = self._sums[period]
        for name, spent in known.items():
            missing = spent - before.get(name, 0)
            if missing > 0:
                sums[name] += missing


class LimitCounters:
    """The limits of one key, counted in this process. name: of the key; spent: where its cost is counted."""

    def __init__(self, limits: Limits, name: str = "", spent: Spent | None = None) -> None:
        self.limits = limits
        self._name, self._spent = name, spent if spent is not None else Spent()
        self._requests, self._tokens = SlidingWindow(), SlidingWindow()
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
        limits = self.limits
        day = self._spent.roll(wall)
        if limits.concurrency and self.running >= limits.concurrency:
            raise limit_error(limits, "concurrency", 1)
        if limits.rpm and (wait := self._requests.wait(limits.rpm - 1, at)):
            raise limit_error(limits, "rpm", wait)
        if limits.tpm:
            if tokens > limits.tpm:
                raise limit_error(limits, "tpm", 0, tokens)
            if self._tokens.sum(at) + self.reserved_tokens + tokens > limits.tpm:
                raise limit_error(limits, "tpm", self._tokens.wait(limits.tpm - self.reserved_tokens - tokens, at) or 1)
        if limits.budget and cost and self.spent + self.reserved_cost + cost > limits.budget:
            raise budget_error(limits, self.spent, self.reserved_cost, cost, wall)
        if limits.rpm:
            self._requests.add(1, at)
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
        if limits.tpm and tokens and self._tokens.sum(at) + self.reserved_tokens + tokens > limits.tpm:
            return False
        if limits.budget and cost:
            if period_of(limits.period, reservation.day) != period_of(limits.period, day):
                return False
            if self.spent + self.reserved_cost + cost > limits.budget:
                return False
        reservation.tokens += tokens
        self.reserved_tokens += tokens
        if cost:
            reservation.cost += cost
            self._reserved[reservation.day] = self._reserved.get(reservation.day, 0) + cost
        return True

    def settle(self, reservation: Reservation, tokens: int, cost: int, at: float) -> None:
        """Release what a request has reserved, and count what it has used. A second call for it does nothing."""
        if not reservation.running:
            return
        reservation.running = False
        self.running -= 1
        self.reserved_tokens -= reservation.tokens
        if left := self._reserved.pop(reservation.day, 0) - reservation.cost:
            self._reserved[reservation.day] = left
        self.used(tokens, at)
        self._spent.add(self._name, reservation.day, cost)

    def used(self, tokens: int, at: float) -> None:
        """Count the tokens of a request that has ended."""
        if self.limits.tpm:
            self._tokens.sum(at)
            self._tokens.add(tokens, at)

    def remaining(self, at: float) -> Remaining:
        """Return what the next request may use."""
        requests, requests_reset = self._requests.sum_and_reset(at)
        tokens, tokens_reset = self._tokens.sum_and_reset(at)
        reserved = self.reserved_tokens
        return Remaining(
            max(0, self.limits.rpm - requests),
            requests_reset,
            max(0, self.limits.tpm - tokens - reserved),
            tokens_reset or (1 if reserved else 0),
        )


def period_of(period: Period, day: str) -> str:
    """Return the name of the day, month or `total` that a day (YYYY-MM-DD) belongs to."""
    return since(period, day) or "total"


def since(period: Period, day: str) -> str:
    """Return a text that sorts before all days of the running period and after all days before it. day: YYYY-MM-DD."""
    return day[: _NAMED[period]]


def period_at(period: Period, wall: float) -> tuple[str, float]:
    """Return the name of the running period (UTC; names sort by time), and the Unix time of its end, NEVER for `total`."""
    moment = datetime.fromtimestamp(wall, UTC)
    day = moment.replace(hour=0, minute=0, second=0, microsecond=0)
    match period:
        case "day":
            return f"{day:%Y-%m-%d}", (day + timedelta(days=1)).timestamp()
        case "month":
            return f"{day:%Y-%m}", (day.replace(day=1) + timedelta(days=32)).replace(day=1).timestamp()
    return "total", NEVER


def limit_error(limits: Limits, what: Limit, wait: int, tokens: int = 0) -> Failure:
    """Return the error for a limit. wait: seconds.

    tokens: what the request needs, if that is more than the whole limit: then no time is named, since no wait will help.
    """
    match what:
        case "concurrency":
            words = (
                f"This key may have {counted(limits.concurrency, 'request')} at once; wait until one of them has ended."
            )
        case "rpm":
            words = f"Rate limit reached: this key may send {counted(limits.rpm, 'request')} per minute. Try again in {wait} s."
        case _ if tokens:
            return BudgetExceeded(
                f"Request too large: it may use {counted(tokens, 'token')}, and this key may use {limits.tpm} per minute. Send a "
                "shorter prompt, or a smaller max_tokens.",
                code="rate_limit_exceeded",
            )
        case _:
            words = f"Rate limit reached: this key may use {counted(limits.tpm, 'token')} per minute. Try again in {wait} s."
    return RateLimitExceeded(words, retry_after=wait)


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
    failure = BudgetExceeded(f"{words}. It resets at {resets:%Y-%m-%dT%H:%M:%SZ}.", retry_after=ends - wall)
    failure.period = f"{_EACH.get(limits.period, limits.period)}; resets {resets:%Y-%m-%d %H:%M} UTC"
    return failure


def headers(limits: Limits, standing: Remaining, form: HeaderForm = _OPENAI, at: float = 0.0) -> dict[str, str]:
    """The headers of an answer that tell what is left of the limits there are. at: Unix time."""
    values: dict[str, str] = {}
    for of, limit, left, reset in (
        ("requests", limits.rpm, standing.requests, standing.requests_reset),
        ("tokens", limits.tpm, standing.tokens, standing.tokens_reset),
    ):
        if limit:
            until = (
                f"{datetime.fromtimestamp(ceil(at) + reset, UTC):%Y-%m-%dT%H:%M:%SZ}" if form.moments else f"{reset}s"
            )
            for value, text in (("limit", str(limit)), ("remaining", str(left)), ("reset", until)):
                values[form.limits.format(value=value, of=of)] = text
    return values


def dollars(micro: int) -> str:
    """Return micro-USD as dollars, with all digits that are needed, two at least."""
    whole, rest = divmod(micro, 10**6)
    digits = f"{rest:06}".rstrip("0").ljust(2, "0")
    return f"{whole}.{digits}"
