"""The Limiter protocol, and the limiter that counts in this process. server/usage/redis_limiter.py counts for several."""

import time
from collections.abc import Mapping
from typing import Final, Protocol

from gateway.limits import LimitCounters, Limits, Remaining, Reservation
from gateway.spending import Spent

_NONE: Final = Limits()


class Limiter(Protocol):
    """Counts what limited keys use, in this process (`LocalLimiter`) or for several (server/usage/redis_limiter.py)."""

    async def reserve(self, name: str, limits: Limits, tokens: int, cost: int) -> Reservation:
        """Reserve what a request of this key may use. Raises RateLimitExceeded or BudgetExceeded where a limit is reached."""

    async def extend(self, name: str, limits: Limits, reservation: Reservation, tokens: int, cost: int) -> bool:
        """Raise what a running request has reserved to these totals; return False and change nothing where a limit forbids it."""

    def settle(self, name: str, day: str, reservation: Reservation | None, tokens: int, cost: int) -> None:
        """Count what a request has used, begun on this day, and release what it has reserved, if it has.

        Called for every request, whether its key has limits or not: a reload may give it some.
        """

    def remaining(self, name: str) -> Remaining:
        """Return how much of the key's limits is left, as far as this process knows; nothing where it does not."""

    async def spent(self, name: str) -> int:
        """Return the micro-USD of the key's budget that are spent in the running period."""

    def apply(self, limits: Mapping[str, Limits]) -> None:
        """Use these limits from now on; what keys have used stays counted. What their periods have cost must be known."""

    def problem(self) -> str:
        """Return what is wrong, in a few words; "" when nothing is."""

    async def aclose(self) -> None:
        """Release connections. No method is called afterwards."""


class LocalLimiter:
    """Limits counted in this process. spending: what keys have spent, from the ledger's file and since."""

    def __init__(self, limits: Mapping[str, Limits], spending: Spent) -> None:
        self.spending = spending
        self._counters: dict[str, LimitCounters] = {}
        self.apply(limits)

    def apply(self, limits: Mapping[str, Limits]) -> None:
        for name, counters in self._counters.items():  # they stay: requests may still run, a minute is not over
            counters.apply(limits.get(name, _NONE))
        for name, each in limits.items():
            if name not in self._counters:
                self._counters[name] = LimitCounters(each, name, self.spending)

    async def reserve(self, name: str, limits: Limits, tokens: int, cost: int) -> Reservation:
        return self._counters[name].reserve(tokens, cost, time.monotonic(), time.time())

    async def extend(self, name: str, limits: Limits, reservation: Reservation, tokens: int, cost: int) -> bool:
        return self._counters[name].extend(reservation, tokens, cost, time.monotonic(), time.time())

    def settle(self, name: str, day: str, reservation: Reservation | None, tokens: int, cost: int) -> None:
        counters = self._counters.get(name)
        if counters is not None and reservation is not None:
            counters.settle(reservation, tokens, cost, time.monotonic())
            return
        self.spending.add(name, day, cost)
        if counters is not None:
            counters.used(tokens, time.monotonic())

    def remaining(self, name: str) -> Remaining:
        return self._counters[name].remaining(time.monotonic())

    async def spent(self, name: str) -> int:
        self.spending.roll(time.time())
        return self._counters[name].spent

    def problem(self) -> str:
        return ""

    async def aclose(self) -> None:
        """Do nothing: there is no connection."""

    def limits(self, name: str) -> Limits:
        """Return the limits that hold for a key now; Limits() for one that has none."""
        counters = self._counters.get(name)
        return counters.limits if counters is not None else _NONE
