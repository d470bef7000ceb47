"""Limits counted in Redis, for several processes. Every decision is one Lua script, so that no two of them overlap.

One task sends commands to Redis (redis_queue.py), in order, so that a request that has ended is settled before the next
reservation. Settlements are numbered: one that is sent again, because its answer was lost, counts once. A request holds its
reservation by a lease, renewed while its process runs: what a dead process held is released within a minute. The clock is
Redis's; the day and month of a budget are this machine's.

When Redis cannot be reached, keys with limits are refused (`on_unavailable: closed`) or counted in each process by itself
(`open`); what was used meanwhile is counted when it is back. Either way the log says so once a minute, and /healthz while it
lasts.
"""

import asyncio
import secrets
import time
from collections import defaultdict
from collections.abc import Mapping
from contextlib import suppress
from itertools import count
from typing import Any, Final

from gateway.config_schema import SharedStateConfig
from gateway.limits import KINDS, Kind, Limits, Remaining, Reservation, budget_error, left, limit_error
from gateway.spending import Period, period_of
from providers import codec
from providers.contract import Json
from providers.errors import Failure, Overloaded

from . import redis_scripts
from .limiter import LocalLimiter
from .redis_queue import TIMEOUT, ScriptCall, ScriptQueue, Unreachable, errors

LEASE: Final = 60  # seconds
_TTL: Final = {
    "day": 3 * 86_400,
    "month": 40 * 86_400,
    "total": 0,
}  # seconds that Redis holds a period's sum; 0: for ever
_WINDOWS: Final = tuple(kind.name for kind in KINDS if isinstance(kind.over, int))
_FIXED: Final = 4  # keys of a script in front of those of windows
_SPENT: Final = 2  # place of the key of what a period has cost


class RedisLimiter:
    """See the module. local: the same limits in this process, used while Redis is unreachable; it knows what keys have spent."""

    def __init__(self, state: SharedStateConfig, local: LocalLimiter) -> None:
        self._state, self._local = state, local
        self._running: defaultdict[str, set[str]] = defaultdict(set)  # key name → ids of what it has reserved in Redis
        self._remaining: dict[str, Remaining] = {}
        self._process, self._settled = secrets.token_hex(8), count(1)  # its name, and the numbers of its settlements
        closed = state.on_unavailable == "closed"
        effect = "limited keys are refused" if closed else "limits hold in each process by itself"
        self._queue = ScriptQueue(state.url, effect, self._learn)

    async def begin(self, limits: Mapping[str, Limits]) -> None:
        """Connect and start the tasks. Raises OSError when Redis is unreachable and on_unavailable is closed."""
        try:
            await self._queue.redis.ping()
        except errors() as error:
            if self._state.on_unavailable == "closed":
                await self._queue.redis.aclose()
                raise OSError(
                    f"Redis (shared_state) cannot be reached, and limits could not be enforced: {error}"
                ) from None
            self._queue.mark_unreachable(error)
        self._tasks = [asyncio.create_task(self._queue.run()), asyncio.create_task(self._renew())]
        self._begin_budgets(limits)

    def _begin_budgets(self, limits: Mapping[str, Limits]) -> None:
        """Raise the sums in Redis to what the ledger says of these keys' budgets: Redis may not have them."""
        day = self._local.spending.roll(time.time())
        for name, each in limits.items():
            if each.budget:
                known = self._local.spending.of(name, each.period)
                period = period_of(each.period, day)
                arguments = known, _TTL[each.period]
                self._queue.put(
                    ScriptCall(redis_scripts.RAISE, self._keys(name, period), arguments, spent=(name, each.period, day))
                )

    # Limiter

    async def reserve(self, name: str, limits: Limits, tokens: int, cost: int) -> Reservation:
        wall = time.time()
        for kind, cap in limits.rows:
            if kind.too_large and tokens > cap:
                raise limit_error(kind, cap, 0, tokens)
        day = self._local.spending.roll(wall)
        reservation = Reservation(tokens, cost, day, secrets.token_hex(8))
        if self._queue.unreachable:
            return await self._reserve_locally(name, limits, reservation)
        self._running[name].add(reservation.id)
        try:
            verdict, wait, spent, held, told = await self._eval_reserve(name, limits, reservation, limits.rows, 1)
        except Unreachable:
            self._running[name].discard(reservation.id)
            try:
                return await self._reserve_locally(name, limits, reservation)
            except Failure:
                self._release(name, day, reservation.id, 0, 0)  # Redis may have reserved it
                raise
        except BaseException:  # the client has left: release what Redis may have reserved
            self._release(name, day, reservation.id, 0, 0)
            raise
        if limits.budget:
            self._learn(name, limits.period, day, spent)
        standing = zip(limits.rows, told, strict=True)
        self._remaining[name] = [left(kind, cap, *each) for (kind, cap), each in standing if kind.header]
        if verdict == "ok":
            return reservation
        self._running[name].discard(reservation.id)
        [(kind, cap)] = [row for row in limits.rows if row[0].name == verdict]
        if kind.over == "period":
            raise budget_error(limits, spent, held, cost, wall)
        raise limit_error(kind, cap, wait, 0)

    async def extend(self, name: str, limits: Limits, reservation: Reservation, tokens: int, cost: int) -> bool:
        """See Limiter. What is reserved in Redis is not extended while Redis is unreachable."""
        if reservation.id not in self._running[name]:
            return await self._local.extend(name, limits, reservation, tokens, cost)
        if self._queue.unreachable:
            return False
        more = Reservation(
            max(tokens, reservation.tokens), max(cost, reservation.cost), reservation.day, reservation.id
        )
        try:
            rows = tuple(row for row in limits.rows if row[0].unit != "requests")
            verdict, *_ = await self._eval_reserve(name, limits, more, rows, 0)
        except Unreachable:
            return False
        if verdict == "ok":
            reservation.tokens, reservation.cost = more.tokens, more.cost
        return bool(verdict == "ok")

    async def _eval_reserve(
        self, name: str, limits: Limits, wanted: Reservation, rows: tuple[tuple[Kind, int], ...], requests: int
    ) -> list[Any]:
        """Reserve this in Redis, in place of what is held for the same id; return the script's result. Raises Unreachable."""
        period = period_of(limits.period, wanted.day)
        given = {
            "rows": [_row(kind, cap) for kind, cap in rows],
            "needed": {"requests": requests, "tokens": wanted.tokens, "cost": wanted.cost},
            "need_estimate": limits.need_estimate,
            "id": wanted.id,
            "period": period,
            "known": self._known(name, limits.period, period),
            "ttl": _TTL[limits.period],
            "lease": LEASE,
            "day": wanted.day,
        }
        answer: asyncio.Future[list[Any]] = asyncio.get_running_loop().create_future()
        self._queue.put(
            ScriptCall(redis_scripts.RESERVE, self._keys(name, period), (codec.encode_text(given),), answer)
        )
        return await answer

    def _known(self, name: str, kind: Period, period: str) -> int:
        """Return what a key has spent in a period as far as this process knows: 0 for one that has ended."""
        spending = self._local.spending
        return spending.of(name, kind) if period == period_of(kind, spending.day) else 0

    async def _reserve_locally(self, name: str, limits: Limits, reservation: Reservation) -> Reservation:
        if self._state.on_unavailable == "closed":
            raise Overloaded(
                "This server cannot count this key's limits just now. Try again later.",
                code="limits_unavailable",
                retry_after=5,
            )
        mine = await self._local.reserve(name, limits, reservation.tokens, reservation.cost)
        mine.id = reservation.id
        return mine

    def settle(self, name: str, day: str, reservation: Reservation | None, tokens: int, cost: int) -> None:
        mine: Reservation | None = None  # what is reserved in this process
        if reservation is not None:
            if not reservation.running:
                return
            if reservation.id in self._running[name]:
                reservation.running = False
            else:
                mine = reservation
        limits = self._local.limits(name)
        if reservation is not None:
            self._release(name, day, reservation.id, tokens, cost)
        elif limits.tokens or (limits.budget and cost):  # it began before the key had limits
            self._release(name, day, secrets.token_hex(8), tokens, cost)
        self._local.settle(
            name, day, mine, tokens, cost
        )  # last: the sum that `_release` sends must be without this cost

    def _release(self, name: str, day: str, id: str, tokens: int, cost: int) -> None:
        """Release a reservation in Redis and count there what was used."""
        self._running[name].discard(id)
        limits = self._local.limits(name)
        period = period_of(limits.period, day)
        given = {
            "rows": [_row(kind, cap) for kind, cap in limits.rows if kind.unit == "tokens" and kind.name in _WINDOWS],
            "id": id,
            "tokens": tokens,
            "cost": cost if limits.budget else 0,  # what a key spends without a budget is sent when it has one again
            "known": self._known(name, limits.period, period),
            "ttl": _TTL[limits.period],
            "process": self._process,
            "number": next(self._settled),
        }
        keys = self._keys(name, period)
        self._queue.put(
            ScriptCall(redis_scripts.SETTLE, keys, (codec.encode_text(given),), spent=(name, limits.period, day))
        )

    def _learn(self, name: str, period: Period, day: str, spent: int) -> None:
        """Raise this process's sum to what Redis says a period has cost: other processes may have spent too."""
        spending = self._local.spending
        spending.learn(period, day, {name: spending.of(name, period)}, {name: spent})

    def remaining(self, name: str) -> Remaining:
        return self._local.remaining(name) if self._queue.unreachable else self._remaining.get(name, ())

    def apply(self, limits: Mapping[str, Limits]) -> None:
        old = {name: self._local.limits(name) for name in limits}
        self._local.apply(limits)
        self._begin_budgets({name: each for name, each in limits.items() if _begins(old[name], each)})

    async def spent(self, name: str) -> int:
        known = await self._local.spent(name)
        if not self._queue.unreachable:
            period = period_of(self._local.limits(name).period, self._local.spending.day)
            with suppress(*errors()):
                found = await self._queue.redis.get(self._keys(name, period)[_SPENT])
                return int(found) if found is not None else known
        return known

    def problem(self) -> str:
        return self._queue.problem()

    async def aclose(self) -> None:
        """Send the settlements that wait, if Redis answers within a second; end the tasks and close the connection."""
        if not self._queue.unreachable:
            last = asyncio.get_running_loop().create_future()
            self._queue.put(ScriptCall(redis_scripts.RENEW, self._keys(""), (LEASE,), last))
            with suppress(TimeoutError, Unreachable):
                await asyncio.wait_for(last, TIMEOUT)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._queue.redis.aclose()

    # Redis

    def _keys(self, name: str, period: str = "") -> tuple[str, ...]:
        """Return the names of a key's data in Redis. The part in braces puts them on one node of a cluster."""
        base = f"{{{self._state.prefix}:{name}}}"
        parts = "running", "held", f"spent:{period}", "settled", *_WINDOWS
        return tuple(f"{base}:{part}" for part in parts)

    async def _renew(self) -> None:
        """Renew the leases of running requests, for ever."""
        while True:
            await asyncio.sleep(LEASE / 3)
            for name, ids in self._running.items():
                if ids and not self._queue.unreachable:
                    self._queue.put(ScriptCall(redis_scripts.RENEW, self._keys(name), (LEASE, *ids)))


def _row(kind: Kind, cap: int) -> Json:
    """Return a limit as the scripts read it. key: where the sum of its window is, counted from 1."""
    row: Json = {
        "name": kind.name,
        "unit": kind.unit,
        "over": kind.over,
        "cap": cap,
        "at_begin": kind.unit == "requests",
    }
    return {**row, "key": _FIXED + 1 + _WINDOWS.index(kind.name)} if kind.name in _WINDOWS else row


def _begins(old: Limits, new: Limits) -> bool:
    """Whether a budget begins to hold that did not, or for another kind of period."""
    return bool(new.budget) and (not old.budget or old.period != new.period)
