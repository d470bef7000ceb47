"""The usage ledger: it reserves what a request may cost before it is sent, and settles what it did cost when it has ended.

reserve  take the worst case from the key's limits and budget; open a row
settle   find tokens and their cost (meter.py); with them, settle the reservation and the row
"""

import asyncio
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from dialects.contract import HeaderForm
from gateway import pricing, reservations
from gateway.config_schema import UsageConfig as UsageSettings
from gateway.estimates import Prompt
from gateway.limits import LimitCounters, Limits, Reservation, headers
from gateway.pricing import NO_USAGE
from gateway.record import RequestRecord
from gateway.routing import Target
from gateway.settings import Caller, Settings
from gateway.spending import Spent, since
from providers.bounded_dict import BoundedDict
from providers.contract import Json
from providers.errors import (
    BudgetExceeded,
    Overloaded,
    PermissionDenied,
    RateLimitExceeded,
)

from .limiter import Limiter, LocalLimiter
from .meter import UsageMeter
from .store import UsageStore

_MOST_COUNTED: Final = 10_000  # keys


async def begin(settings: Settings) -> "Ledger":
    """Open the ledger of a configuration. Raises OSError when that fails: no limit is silently ignored."""
    usage = settings.config.usage
    store = UsageStore(usage.path, usage.retention_days) if usage.path else None
    ledger = Ledger(usage, store)
    try:
        await ledger.learn(settings)
        limits = limits_of(settings)
        ledger.limiter = local = LocalLimiter(limits, ledger.spent)
        if settings.shared_state.url:
            from .redis_limiter import RedisLimiter

            ledger.limiter = shared = RedisLimiter(settings.shared_state, local)
            await shared.begin(limits)
    except BaseException:
        if store is not None:
            store.close()
        raise
    return ledger


def limits_of(settings: Settings) -> dict[str, Limits]:
    """Return the limits of each key that has some: name → limits."""
    return {caller.name: caller.limits for caller in settings.keys.values() if caller.limits}


class Ledger:
    """Reserves and settles the usage of requests. store: None without a usage file; spent: what each key has spent."""

    limiter: Limiter

    def __init__(self, settings: UsageSettings, store: UsageStore | None) -> None:
        self.store, self.spent = store, Spent()
        self._settings = settings
        self._counts: BoundedDict[str, LimitCounters] = BoundedDict(
            _MOST_COUNTED
        )  # by key: requests that only count tokens
        self._known: set[str] = set()  # the kinds of periods whose sums have been read

    @contextmanager
    def counting(self, caller: Caller) -> Iterator[None]:
        """Take the place of a request that only counts tokens, until the block ends. Raises RateLimitExceeded.

        It costs nothing, so a key may send as many of them as it may send others, beside those, in each process.
        """
        limits = caller.limits.of_requests if caller.limits is not None else None
        if limits is None or not limits.rows:
            yield
            return
        counters = self._counts.get(caller.name)
        if counters is None:
            counters = self._counts[caller.name] = LimitCounters(limits)
        elif counters.limits is not limits:
            counters.apply(limits)
        held = counters.reserve(0, 0, time.monotonic(), time.time())
        try:
            yield
        finally:
            counters.settle(held, 0, 0, time.monotonic())

    async def learn(self, settings: Settings) -> None:
        """Read what keys have spent in the periods of these settings' budgets. Raises OSError when that fails.

        What is settled meanwhile is counted once: the sums are of all rows that were enqueued before, and self.spent has
        what has been added since.
        """
        periods = sorted({limits.period for limits in limits_of(settings).values() if limits.budget})
        if self.store is None or not periods:
            return
        day, before = self.spent.roll(time.time()), self.spent.copy()
        try:
            found = await asyncio.wrap_future(self.store.spent([since(period, day) for period in periods]))
        except sqlite3.Error as error:
            if self._known.issuperset(periods):
                return  # sums that were read before go on; the store reports what is wrong with its file
            raise OSError(f"the usage file cannot be read, and budgets could not go on from it: {error}") from None
        for period, sums in zip(periods, found, strict=True):
            self.spent.learn(period, day, before[period], sums)
        self._known.update(periods)

    async def reserve(
        self, record: RequestRecord, caller: Caller, body: Json, prompt: Prompt, targets: list[Target]
    ) -> tuple[UsageMeter, list[Target]]:
        """Reserve what a request may use and open its row. Return its meter, and the targets it may use.

        Raises RateLimitExceeded or BudgetExceeded when a limit is reached, PermissionDenied when the key may only use
        models whose price is known, Overloaded when rows cannot be written and fail_closed is set.
        """
        store = self.store
        if store is not None and store.failing and self._settings.fail_closed:
            raise Overloaded("This server cannot record usage just now. Try again later.", code="usage_unavailable")
        if not caller.allow_unpriced:
            targets = [target for target in targets if pricing.has_price(body, target.upstream)]
            if not targets:
                raise PermissionDenied(
                    "The price of this model is unknown, and this key has a budget. The operator of this server can give "
                    "the price (model_facts), or let the key use such models (allow_unpriced: true).",
                    param="model",
                    code="model_not_priced",
                )
        meter = UsageMeter(record, prompt, targets[0].upstream, time.time())
        meter.day = self.spent.roll(meter.at)
        if caller.limits is not None:
            targets, meter.reservation = await self._reserve(record, caller.limits, body, prompt, targets)
        if store is not None:
            meter.id = store.next_id()
            store.enqueue(meter.opened())
        return meter, targets

    async def _reserve(
        self, record: RequestRecord, limits: Limits, body: Json, prompt: Prompt, targets: list[Target]
    ) -> tuple[list[Target], Reservation]:
        """Reserve what a request can come to at the worst of its targets; return these, and the reservation.

        Where the budget does not cover that, targets that are to be left out then are, the dearest first; the record says so.
        Raises RateLimitExceeded, BudgetExceeded.
        """
        if not limits.need_estimate:
            return targets, await self.limiter.reserve(record.key, limits, 0, 0)
        bound = [self.most_at(limits, body, prompt, target) for target in targets]
        refused: RateLimitExceeded | None = None
        while True:
            tokens = cost = 0
            for _, most, price in bound:
                tokens, cost = most if most > tokens else tokens, price if price > cost else cost
            try:
                held = await self.limiter.reserve(record.key, limits, tokens, cost)
                return [target for target, _, _ in bound], held
            except RateLimitExceeded as failure:
                refused = refused or failure
            before = bound if bound[0][0].weight else bound[:-1]  # those that have a next one
            left_out = [each for each in before if "budget" in each[0].on]
            if refused.code != BudgetExceeded.code or not left_out or len(bound) == 1:
                raise refused
            dearest = max(left_out, key=lambda each: each[2])
            bound.remove(dearest)
            record.tried.append((dearest[0].upstream.target_name, "budget_exceeded"))

    def most_at(self, limits: Limits, body: Json, prompt: Prompt, target: Target) -> tuple[Target, int, int]:
        """Return a target, with the limit that is to be sent, and the tokens and micro-USD that a request can come to there."""
        target, used = reservations.reserved(body, prompt, target, self._settings, limits)
        cost = reservations.most_costly(used, target.upstream, prompt.tier, prompt.hour)
        return target, used.prompt + used.completion, cost

    async def extend(self, meter: UsageMeter, body: Json, target: Target) -> bool:
        """Reserve what one more attempt may use, on top of what failed attempts have used.

        Returns False where a limit of the key does not cover that: then this target must not be called.
        """
        record, held = meter.record, meter.reservation
        limits = record.limits
        if limits is None or held is None or not limits.need_estimate:
            return True
        _, tokens, cost = self.most_at(limits, body, meter.prompt, target)
        for used, price in meter.failed_attempts:
            tokens += used.prompt + used.completion
            cost += price or 0
        if tokens <= held.tokens and cost <= held.cost:
            return True
        return await self.limiter.extend(record.key, limits, held, tokens, cost)

    def settle(self, meter: UsageMeter, status: int) -> None:
        """Settle the reservation and the row of a request that has ended. status: of the answer; 499: the client left."""
        record = meter.record
        try:
            meter.settle(status)
        finally:  # a reservation is released even after an error
            used = meter.used
            tokens = used.prompt + used.completion
            self.limiter.settle(record.key, meter.day, meter.reservation, tokens, meter.cost or 0)
        if used is not NO_USAGE:
            record.prompt, record.completion = used.prompt, used.completion
            record.cost = meter.cost / 10**6 if meter.cost is not None else None
        if self.store is not None:
            self.store.enqueue(meter.row())

    def apply(self, settings: Settings) -> None:
        """Use the limits and rules of these settings, after `learn`. The file, its retention and Redis do not change."""
        self.limiter.apply(limits_of(settings))
        self._settings = settings.config.usage

    def problems(self) -> list[str]:
        """Return what does not work, in a few words each."""
        health = self.limiter.problem()
        return [*([health] if health else []), *(self.store.problems() if self.store is not None else [])]

    async def aclose(self) -> None:
        """Send and write the settlements that wait, and close the limiter and the store."""
        await self.limiter.aclose()
        if self.store is not None:
            self.store.close()

    def headers(self, record: RequestRecord, form: HeaderForm) -> dict[str, str]:
        """Return the headers that tell the caller of a request what is left of its limits."""
        if record.limits is None:
            return {}
        return headers(self.limiter.remaining(record.key), form, time.time())
