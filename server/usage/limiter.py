"""Who counts what limited keys use: this process by itself, or Redis for several (server/usage/redis_limiter.py)."""

import time
from collections.abc import Mapping
from typing import Final, Protocol

from gateway.limits import LimitCounters, Limits, Remaining, Reservation, Spent

_NONE: Final = Limits()


class Limiter(Protocol):
    """Counts what limited keys use, in this process (`Local`) or for several (server/usage/redis_limiter.py)."""

    async def reserve(self, name: str, limits: Limits, tokens: int, cost: int) -> Reservation:
        """Let a request of this key in, or raise Throttled."""

    async def extend(self, name: str, limits: Limits, reservation: Reservation, tokens: int, cost: int) -> bool:
        """Raise what a running request holds to these totals; return False, and change nothing, where a limit is in the way."""

    def settle(self, name: str, day: str, reservation: Reservation | None, tokens: int, cost: int) -> None:
        """Count what a request has used, begun on this day, and give back what it has reserved, if it has.

        Called for every request, whether its key has limits or not: a reload may give it some.
        """

    def remaining(self, name: str) -> Remaining | None:
        """How much of the key's limits is left, as far as it is known here."""

    async def spent(self, name: str) -> int:
        """Micro-USD of the key's budget that are spent in the running period."""

    def apply(self, limits: Mapping[str, Limits]) -> None:
        """Go by these limits from now on; what keys have used stays. What their periods have cost must be known."""

    def problem(self) -> str:
        """What is wrong, in a few words; "" when nothing is."""

    async def aclose(self) -> None:
        """Nothing more is asked."""


class LocalLimiter:
    """Limits counted in this process. spending: what keys have spent, from the books and since."""

    def __init__(self, limits: Mapping[str, Limits], spending: Spent) -> None:
        self.spending = spending
        self._accounts: dict[str, LimitCounters] = {}
        self.apply(limits)

    def apply(self, limits: Mapping[str, Limits]) -> None:
        for name, account in self._accounts.items():  # they stay: requests may still run, a minute is not over
            account.limits = limits.get(name, _NONE)
        for name, each in limits.items():
            if name not in self._accounts:
                self._accounts[name] = LimitCounters(each, name, self.spending)

    async def reserve(self, name: str, limits: Limits, tokens: int, cost: int) -> Reservation:
        return self._accounts[name].reserve(tokens, cost, time.monotonic(), time.time())

    async def extend(self, name: str, limits: Limits, reservation: Reservation, tokens: int, cost: int) -> bool:
        return self._accounts[name].extend(reservation, tokens, cost, time.monotonic(), time.time())

    def settle(self, name: str, day: str, reservation: Reservation | None, tokens: int, cost: int) -> None:
        account = self._accounts.get(name)
        if account is not None and reservation is not None:
            account.settle(reservation, tokens, cost, time.monotonic())
            return
        self.spending.add(name, day, cost)
        if account is not None:
            account.used(tokens, time.monotonic())

    def remaining(self, name: str) -> Remaining | None:
        return self._accounts[name].remaining(time.monotonic())

    async def spent(self, name: str) -> int:
        self.spending.roll(time.time())
        return self._accounts[name].spent

    def problem(self) -> str:
        return ""

    async def aclose(self) -> None:
        """Nothing is open."""

    def limits(self, name: str) -> Limits:
        """The limits that hold for a key now; one that has none has Limits()."""
        account = self._accounts.get(name)
        return account.limits if account is not None else _NONE
