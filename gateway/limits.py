"""What a key may use: requests and tokens in a minute, requests at once, and a budget. Pure: time is handed in.

`Account.reserve` takes an estimate out of every limit at once, or refuses and takes nothing; `Account.settle` gives it
back and books what was really used. So what is booked and what is reserved never exceed a limit together, as long as no
request uses more than its estimate; one that does is booked in full, and the next ones wait for it.

A minute is any sixty seconds. A bucket that refills, or a minute by the clock, lets twice the limit through in a minute
that straddles two of them.
"""

from collections import deque
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from math import ceil
from typing import Final, Literal, NamedTuple

from providers.errors import Exhausted, Failure, Throttled

Period = Literal["day", "month", "total"]
Limit = Literal["rpm", "tpm", "concurrency", "budget"]

WINDOW: Final = 60  # seconds
NEVER: Final = 0.0  # the end of a period that has none


class Limits(NamedTuple):
    """Of one key; 0: none. budget: micro-USD in each period."""

    rpm: int = 0
    tpm: int = 0
    concurrency: int = 0
    budget: int = 0
    period: Period = "month"


@dataclass(slots=True)
class Reservation:
    """What a running request holds: tokens, and micro-USD of the budget of one period. id: its name in shared state."""

    tokens: int
    cost: int
    period: str
    id: str = ""
    running: bool = True


class Standing(NamedTuple):
    """How much is left, for the headers of an answer. reset: seconds until all of it is."""

    requests: int
    requests_reset: int
    tokens: int
    tokens_reset: int


class Window:
    """A sum over the last minute, kept by the second. What came in one second leaves sixty seconds after its end."""

    __slots__ = ("_slots", "_total")

    def __init__(self) -> None:
        self._slots: deque[list[int]] = deque()  # [second, amount], oldest first
        self._total = 0

    def add(self, amount: int, at: float) -> None:
        if amount:
            if self._slots and self._slots[-1][0] >= int(at):
                self._slots[-1][1] += amount
            else:
                self._slots.append([int(at), amount])
            self._total += amount

    def sum(self, at: float) -> int:
        """The sum. at: monotonic seconds, never less than before."""
        slots = self._slots
        while slots and slots[0][0] + WINDOW + 1 <= at:
            self._total -= slots.popleft()[1]
        return self._total

    def wait(self, room: int, at: float) -> int:
        """Whole seconds until the sum is at most `room`; 0 when it is."""
        over = self.sum(at) - room
        wait = 0
        for second, amount in self._slots:
            if over <= 0:
                break
            over -= amount
            wait = ceil(second + WINDOW + 1 - at)
        return wait


class Account:
    """One key's limits in this process. spent: micro-USD booked in the running period."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.spent = 0
        self.period = ""
        self._ends = -1.0
        self._before: set[str] = set()  # periods of another kind, whose running requests this one has taken over
        self._requests, self._tokens = Window(), Window()
        self.running = self.reserved_tokens = self.reserved_cost = 0

    def reserve(self, tokens: int, cost: int, at: float, wall: float) -> Reservation:
        """Let a request in that will use at most `tokens` and `cost` micro-USD.

        at: monotonic seconds; wall: Unix time. Raises Throttled, or Exhausted where waiting a minute will not help.
        """
        limits = self.limits
        self.roll(wall)
        if limits.concurrency and self.running >= limits.concurrency:
            raise refusal(limits, "concurrency", 1)
        if limits.rpm and (wait := self._requests.wait(limits.rpm - 1, at)):
            raise refusal(limits, "rpm", wait)
        if limits.tpm:
            if tokens > limits.tpm:
                raise refusal(limits, "tpm", 0, tokens)
            if self._tokens.sum(at) + self.reserved_tokens + tokens > limits.tpm:
                raise refusal(limits, "tpm", self._tokens.wait(limits.tpm - self.reserved_tokens - tokens, at) or 1)
        if limits.budget and self.spent + self.reserved_cost + cost > limits.budget:
            raise over_budget(limits, self.spent, self.reserved_cost, cost, wall)
        if limits.rpm:
            self._requests.add(1, at)
        self.running += 1
        self.reserved_tokens += tokens
        self.reserved_cost += cost
        return Reservation(tokens, cost, self.period)

    def settle(self, reservation: Reservation, tokens: int, cost: int, at: float) -> None:
        """The request has ended, and has used this much. A second call for the same reservation does nothing."""
        if not reservation.running:
            return
        reservation.running = False
        self.running -= 1
        self.reserved_tokens -= reservation.tokens
        if self.limits.tpm:
            self._tokens.sum(at)
            self._tokens.add(tokens, at)
        if reservation.period == self.period or reservation.period in self._before:  # else its budget is a past one's
            self.reserved_cost -= reservation.cost
            self.spent += cost

    def change(self, limits: Limits, fresh: "Account | None" = None) -> None:
        """Go by other limits; what was used and what is reserved stays. fresh: knows what the new budget's period has cost."""
        self.limits = limits
        if fresh is None:
            return
        if fresh.period == self.period:
            self.spent = max(self.spent, fresh.spent)
        else:
            self._before = (self._before | {self.period}) - {fresh.period}
            self.period, self._ends, self.spent = fresh.period, fresh._ends, fresh.spent

    def roll(self, wall: float) -> None:
        """Begin a new period when its time has come. A clock that is set back does not bring an old one back."""
        if wall < self._ends or (self._ends == NEVER and self.period):
            return
        self.period, self._ends = period_at(self.limits.period, wall)
        self.spent = self.reserved_cost = 0
        self._before = set()

    def standing(self, at: float) -> Standing:
        """What the next request may use."""
        requests, tokens = self._requests.sum(at), self._tokens.sum(at) + self.reserved_tokens
        return Standing(
            max(0, self.limits.rpm - requests),
            self._requests.wait(0, at),
            max(0, self.limits.tpm - tokens),
            self._tokens.wait(0, at) or (1 if self.reserved_tokens else 0),
        )


def period_at(period: Period, wall: float) -> tuple[str, float]:
    """The name of the running period (UTC; names sort by time), and the Unix time of its end, NEVER for `total`."""
    moment = datetime.fromtimestamp(wall, UTC)
    day = moment.replace(hour=0, minute=0, second=0, microsecond=0)
    match period:
        case "day":
            return f"{day:%Y-%m-%d}", (day + timedelta(days=1)).timestamp()
        case "month":
            return f"{day:%Y-%m}", (day.replace(day=1) + timedelta(days=32)).replace(day=1).timestamp()
    return "total", NEVER


def refusal(limits: Limits, what: Limit, wait: int, tokens: int = 0) -> Failure:
    """Return the error for a limit. wait: seconds.

    tokens: what the request wants, when that is more than the limit at all: then no time is named, since no wait will help.
    """
    match what:
        case "concurrency":
            words = f"This key may have {limits.concurrency} requests at once; wait until one of them has ended."
        case "rpm":
            words = f"Rate limit reached: this key may send {limits.rpm} requests per minute. Try again in {wait} s."
        case _ if tokens:
            return Exhausted(
                f"Request too large: it may use {tokens} tokens, and this key may use {limits.tpm} per minute. Send a "
                "shorter prompt, or a smaller max_tokens.",
                code="rate_limit_exceeded",
            )
        case _:
            words = f"Rate limit reached: this key may use {limits.tpm} tokens per minute. Try again in {wait} s."
    return Throttled(words, retry_after=wait)


def over_budget(limits: Limits, spent: int, reserved: int, cost: int, wall: float) -> Failure:
    """Return the error for a budget that does not cover a request. All in micro-USD.

    It names a time to wait only where the request would be let in after it.
    """
    _, ends = period_at(limits.period, wall)
    each = "" if limits.period == "total" else f" a {limits.period}"
    words = f"This key's budget of ${dollars(limits.budget)}{each} does not cover this request, which may cost "
    words += f"${dollars(cost)}: ${dollars(spent)} are spent"
    if spent + cost <= limits.budget:  # only running requests are in the way
        words += f" and ${dollars(reserved)} are reserved by requests that still run. Try again when they have ended."
        return Throttled(words, code="budget_exceeded", retry_after=1)
    if cost > limits.budget:
        return Exhausted(f"{words}. Send a shorter prompt, or a smaller max_tokens.")
    if ends == NEVER:
        return Exhausted(f"{words}. It does not reset: ask the operator of this server.")
    return Exhausted(
        f"{words}. It resets at {datetime.fromtimestamp(ends, UTC):%Y-%m-%dT%H:%M:%SZ}.", retry_after=ends - wall
    )


def headers(limits: Limits, standing: Standing) -> dict[str, str]:
    """The x-ratelimit-* headers of an answer, in OpenAI's form, for the limits there are."""
    values: dict[str, str] = {}
    if limits.rpm:
        values["x-ratelimit-limit-requests"] = str(limits.rpm)
        values["x-ratelimit-remaining-requests"] = str(standing.requests)
        values["x-ratelimit-reset-requests"] = f"{standing.requests_reset}s"
    if limits.tpm:
        values["x-ratelimit-limit-tokens"] = str(limits.tpm)
        values["x-ratelimit-remaining-tokens"] = str(standing.tokens)
        values["x-ratelimit-reset-tokens"] = f"{standing.tokens_reset}s"
    return values


def dollars(micro: int) -> str:
    """Micro-USD as dollars: two digits at least, and all that are needed."""
    whole, rest = divmod(micro, 10**6)
    digits = f"{rest:06}".rstrip("0").ljust(2, "0")
    return f"{whole}.{digits}"
