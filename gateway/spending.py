"""What keys have spent by day, by month and in all, and the sum of a sliding window. Pure: time is passed in."""

from collections import defaultdict, deque
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from math import ceil, inf
from typing import Final, Literal

Period = Literal["day", "month", "total"]

NEVER: Final = 0.0  # the end of the period `total`
_NAMED: Final[dict[Period, int]] = {"day": 10, "month": 7, "total": 0}  # characters of a day that name its period


class SlidingWindow:
    """A sum over the last `seconds`, by the second. What was added in one second is removed so long after its end."""

    __slots__ = ("_seconds", "_slots", "_total")

    def __init__(self, seconds: int) -> None:
        self._seconds = seconds
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
        while slots and slots[0][0] + self._seconds + 1 <= at:
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
            wait = ceil(second + self._seconds + 1 - at)
        return wait

    def sum_and_reset(self, at: float) -> tuple[int, int]:
        """Return the sum, and whole seconds until it is 0. at: as of sum()."""
        sum = self.sum(at)
        return sum, ceil(self._slots[-1][0] + self._seconds + 1 - at) if sum else 0


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
