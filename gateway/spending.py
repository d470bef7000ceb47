"""What keys have spent by day, by month and in all, and the sum of a sliding window. Pure: time is passed in."""

from collections import defaultdict, deque
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from math import ceil, inf
from typing import Final, Literal

Period = Literal["day", "month", "total"]

NEVER: Final = 0.0  # the end of the period `total`
_NAMED: Final[dict[Period, int]] = {"day": 10, "month": 7, "total": 0}  # characters of a day that name its period


class SlidingWindow:
    """A sum over the last `seconds`, by the second. What was added in one second leaves it so long after its end.

    What was ever added is one number, and what of it has left is another. The sum is their difference.
    """

    __slots__ = ("_added", "_leaves", "_left", "_next", "_seconds", "_slots")

    def __init__(self, seconds: int) -> None:
        self._seconds = seconds
        # Of each second in which something was added: when that leaves, and what had been added before. Oldest first.
        self._slots: deque[tuple[int, int]] = deque()
        self._added = self._left = 0
        self._leaves: float = inf  # when the oldest leaves
        self._next: float = -inf  # the end of the newest second

    def add(self, amount: int, at: float) -> None:
        """Add an amount. at: monotonic seconds, never less than before."""
        if amount:
            if at >= self._next:
                self._begin(at)
            self._added += amount

    def _begin(self, at: float) -> None:
        """Begin a second; removes what is older than the window."""
        self.sum(at)
        self._next = end = int(at) + 1
        self._slots.append((end + self._seconds, self._added))
        self._leaves, self._left = self._slots[0]

    def sum(self, at: float) -> int:
        """Return the sum; removes what is older than the window. at: monotonic seconds, never less than before."""
        if at >= self._leaves:
            slots = self._slots
            while slots and slots[0][0] <= at:
                slots.popleft()
            self._leaves, self._left = slots[0] if slots else (inf, self._added)
        return self._added - self._left

    def wait(self, limit: int, at: float) -> int:
        """Return whole seconds until the sum is at most `limit`, or 0 where that is less; 0 when it is."""
        wait = 0
        if self.sum(at) > limit:
            for (leaves, _), (_, before) in pairwise([*self._slots, (0, self._added)]):
                wait = ceil(leaves - at)
                if self._added - before <= limit:
                    break
        return wait

    def reset(self, at: float) -> int:
        """Return whole seconds until the sum is 0. at: as of sum(), which was called for it."""
        return ceil(self._next + self._seconds - at) if self._added != self._left else 0


class Spent:
    """What each key has spent in the running day, the running month and in total: micro-USD by the key's name.

    Budgets are counted here and nowhere else, and every request that has cost something is added, whether its key has a
    budget or not: a budget that is lifted and restored, or new, or for another period, goes on from what was spent.

    All that was ever added for a key is one number. What of it is not of the running period is another for each period.
    """

    def __init__(self) -> None:
        self.day = ""  # the running day (UTC), YYYY-MM-DD
        self._ends = -inf  # Unix time
        self._added: defaultdict[str, int] = defaultdict(int)
        # Less than 0 where another count has told of more than was added (learn).
        self._before: dict[Period, defaultdict[str, int]] = {period: defaultdict(int) for period in _NAMED}

    def roll(self, wall: float) -> str:
        """Return the running day; empties the sums of a day or a month that has ended. wall: Unix time.

        A clock that is set back does not start an old day again.
        """
        if wall >= self._ends:
            before, (self.day, self._ends) = self.day, period_at("day", wall)
            for period in self._before:
                if period_of(period, before) != period_of(period, self.day):
                    self._before[period] = self._added.copy()
        return self.day

    def add(self, name: str, day: str, cost: int) -> None:
        """Add what a request of this key that began on this day has cost."""
        if cost:
            self._added[name] += cost
            if day != self.day:
                for period, before in self._before.items():
                    if period_of(period, day) != period_of(period, self.day):
                        before[name] += cost

    def of(self, name: str, period: Period) -> int:
        """Return what a key has spent in the running day or month, or in total."""
        return self._added.get(name, 0) - self._before[period].get(name, 0)

    def copy(self) -> dict[Period, dict[str, int]]:
        """Return all sums as they are now."""
        return {
            period: {name: self.of(name, period) for name in self._added.keys() | before.keys()}
            for period, before in self._before.items()
        }

    def learn(self, period: Period, day: str, before: Mapping[str, int], known: Mapping[str, int]) -> None:
        """Raise the sums of a period to what another count knew at the moment when they were `before`, on this day.

        What was added since stays added. A count that knows less changes nothing: its file may have been lost.
        """
        if period_of(period, day) != period_of(period, self.day):
            return
        for name, spent in known.items():
            missing = spent - before.get(name, 0)
            if missing > 0:
                self._before[period][name] -= missing


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
