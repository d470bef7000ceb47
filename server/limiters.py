"""Who counts what limited keys use: this process by itself, or Redis for several (server/shared.py)."""

import time
from collections.abc import Callable, Mapping
from typing import Protocol

from gateway.limits import Account, Limits, Reservation, Standing, period_at


class Limiter(Protocol):
    """Counts what limited keys use, in this process (`Local`) or for several (server/shared.py)."""

    async def reserve(self, name: str, limits: Limits, tokens: int, cost: int) -> Reservation:
        """Let a request of this key in, or raise Throttled."""

    def settle(self, name: str, reservation: Reservation, tokens: int, cost: int) -> None:
        """The request has used this."""

    def standing(self, name: str) -> Standing | None:
        """How much of the key's limits is left, as far as it is known here."""

    async def spent(self, name: str) -> int:
        """Micro-USD of the key's budget that are spent in the running period."""

    def use(self, limits: Mapping[str, Limits]) -> None:
        """Go by these limits from now on; what keys have used stays. All or nothing."""

    def health(self) -> str:
        """What is wrong, in a few words; "" when nothing is."""

    async def aclose(self) -> None:
        """Nothing more is asked."""


class Local:
    """Limits counted in this process. spent: tells what keys have spent since a day, for budgets to go on from."""

    def __init__(self, limits: Mapping[str, Limits], spent: Callable[[str], dict[str, int]] | None) -> None:
        self._spent = spent
        self._accounts: dict[str, Account] = {}
        self.use(limits)

    def use(self, limits: Mapping[str, Limits]) -> None:
        wall = time.time()
        new = {
            name: self._begun(name, each, wall)
            for name, each in limits.items()
            if name not in self._accounts or _counts_otherwise(self._accounts[name].limits, each)
        }
        for name, each in limits.items():
            if name in self._accounts:
                self._accounts[name].change(each, new.get(name))
            else:
                self._accounts[name] = new[name]  # that of a key which is gone stays, for requests that still run

    def _begun(self, name: str, limits: Limits, wall: float) -> Account:
        account = Account(limits)
        account.roll(wall)
        if limits.budget and self._spent is not None:
            account.spent = self._spent(first_day(limits, wall)).get(name, 0)
        return account

    async def reserve(self, name: str, limits: Limits, tokens: int, cost: int) -> Reservation:
        return self._accounts[name].reserve(tokens, cost, time.monotonic(), time.time())

    def settle(self, name: str, reservation: Reservation, tokens: int, cost: int) -> None:
        self._accounts[name].settle(reservation, tokens, cost, time.monotonic())

    def standing(self, name: str) -> Standing | None:
        return self._accounts[name].standing(time.monotonic())

    async def spent(self, name: str) -> int:
        return self.known(name, time.time())

    def health(self) -> str:
        return ""

    async def aclose(self) -> None:
        """Nothing is open."""

    def limits(self, name: str) -> Limits:
        return self._accounts[name].limits

    def known(self, name: str, wall: float) -> int:
        """Micro-USD spent in the running period, as far as it is known here."""
        account = self._accounts[name]
        account.roll(wall)
        return account.spent

    def learn(self, name: str, period: str, spent: int) -> None:
        """Another count knows better what a period has cost."""
        account = self._accounts[name]
        if account.period == period:
            account.spent = spent


def _counts_otherwise(old: Limits, new: Limits) -> bool:
    """Whether what is spent has to be summed up again: the budget is new, or for another period."""
    return bool(new.budget) and (not old.budget or old.period != new.period)


def first_day(limits: Limits, wall: float) -> str:
    """The first day (YYYY-MM-DD) of the budget's running period; "" sorts before all days."""
    period, _ = period_at(limits.period, wall)
    return "" if limits.period == "total" else f"{period}-01"[:10]
