"""The usage ledger: it reserves what a request may cost before it is sent, and settles what it did cost when it has ended.

    reserve  take the worst case from the key's limits and budget; open a row
    settle   find tokens and their cost, as the upstream reports or estimated; with them, settle the reservation and the row

Where the upstream reports no usage (the client left, the answer broke off, the host does not count) the prompt's estimate and
what was streamed are counted, flagged as an estimate. A request that no upstream has begun to answer costs nothing, unless
the client left, or a timeout ended it, while an upstream may have been working on it.
"""

import asyncio
import sqlite3
import time
from typing import Final, NamedTuple

from dialects.contract import HeaderForm
from gateway import pricing, reservations
from gateway.config_schema import UsageConfig as UsageSettings
from gateway.estimates import Prompt
from gateway.limits import Limits, Reservation, headers
from gateway.pricing import NO_USAGE, TokenUsage
from gateway.record import RequestRecord
from gateway.routing import Target
from gateway.settings import Caller, Settings
from gateway.spending import Spent, since
from providers.chunks import EARLY, says_something
from providers.contract import Json, Upstream
from providers.errors import (
    BudgetExceeded,
    ContentFiltered,
    Failure,
    Overloaded,
    PermissionDenied,
    RateLimitExceeded,
)

from ..outbound.exchange import Exchange
from .limiter import Limiter, LocalLimiter
from .store import UsageRow, UsageStore

_PAID: Final = frozenset(  # failures of an upstream that may have done work, and charge for it
    {
        *("upstream_truncated", "upstream_first_byte_timeout", "upstream_idle_timeout", "upstream_too_large"),
        *("upstream_bad_output", "upstream_bad_json", "upstream_event_too_large"),
    }
)
_ENDED_BY_US: Final = frozenset({"total_timeout", "server_shutting_down"})  # while an upstream may have been working
_NO_DELTA: Final[Json] = {}
_DEEPEST: Final = 64  # levels of an answer in which texts are counted


class Opened(NamedTuple):
    """What is known of a request when it begins, as an immutable value for the store's thread."""

    id: int  # of its row
    at: float  # Unix time
    request: str
    key: str
    model: str
    stream: bool
    prompt: int  # tokens, estimated
    upstream: Upstream  # the target that is called first

    def row(self) -> UsageRow:
        """Return the row while the request runs, with the prompt's estimate and cost, in case this process dies."""
        cost = pricing.cost(TokenUsage(self.prompt), self.upstream)
        return UsageRow(
            self.id,
            int(self.at * 1000),
            self.request,
            self.key,
            self.model,
            self.upstream.target_name,
            self.stream,
            None,
            "",
            self.prompt,
            0,
            0,
            0,
            cost,
            False,
            None,
            None,
            0,
            cost,
        )


class UsageMeter:
    """The usage of one request. The handler fills in what it learns: the exchange, the text sent, the usage reported.

    It is used on the event loop alone: the store gets immutable values. day: on which it began, for budgets; id: of its row.
    """

    id = 0
    day = ""

    reservation: Reservation | None = None
    exchange: Exchange | None = None  # with the upstream that was called last
    usage: Json | None = None  # as that upstream reported it
    told: TokenUsage | None = None  # the same of a whole answer, checked
    early = False  # … before the whole answer had arrived
    tier: object = None  # the service tier that the upstream reported
    sent = 0  # bytes of text that were streamed to the client
    deltas = 0  # in so many pieces
    failed_attempts: tuple[tuple[TokenUsage, int | None], ...] = ()  # what failed attempts have used, and its micro-USD
    estimated = False
    broken = False  # the answer failed after it had begun
    passed = False  # it passes as bytes: what was used is what it tells, and nothing is estimated
    # At the end
    status: int | None = None
    used = NO_USAGE
    cost: int | None = 0
    listed: int | None = 0  # the cost by the prices that this server knows, whatever the upstream tells
    saved: int | None = 0  # micro-USD, by the upstream's cache
    milliseconds: int | None = None

    def __init__(self, record: RequestRecord, prompt: Prompt, upstream: Upstream, at: float) -> None:
        """Start to meter a request. upstream: the target that is called first; at: Unix time."""
        self.record, self.prompt, self._upstream, self.at = record, prompt, upstream, at

    def count_chunks(self, chunks: list[Json]) -> None:
        """Count the texts of chunks, and note the usage in them."""
        for chunk in chunks:
            self.count_chunk(chunk)
            if "usage" in chunk:
                self.note_usage(chunk)

    def count_chunk(self, chunk: Json) -> None:
        """Count the text of a chunk."""
        for choice in chunk["choices"]:
            delta = choice.get("delta") or choice.get("message") or _NO_DELTA
            text = delta.get("content")
            if len(delta) == 1 and text is not None and text.isascii():  # nearly every chunk
                size = len(text)
            else:
                size = _text([each for name, each in delta.items() if name != "role"])
            if size:
                self.sent += size
                self.deltas += 1

    def note_usage(self, chunk: Json) -> None:
        """Note the usage in a chunk or a whole answer; removes from it the field that is meant for the ledger alone."""
        self.usage, self.tier = chunk.get("usage"), chunk.get("service_tier")
        if EARLY in chunk:
            self.early = chunk.pop(EARLY) is True

    def count_answer(self, answer: Json) -> None:
        """Note the usage in a whole answer, or count its text."""
        self.note_usage(answer)
        self.told = self._told(self.usage)
        if "choices" in answer and (self.early or not (self.told and self.told.completion)):
            self.count_chunk(answer)

    def stream_failed(self, error: Exception) -> None:
        """Note that the answer failed after it had begun."""
        if self.exchange is not None:
            self.usage = getattr(error, "usage", None) or self.usage
            self.estimated = self.broken = True

    def attempt_failed(self, failure: Failure) -> None:
        """Note what a failed attempt has used. Nothing has been sent to the client; another target may be called."""
        if self.exchange is None:
            return
        answered = isinstance(failure, ContentFiltered) and not failure.upstream_status  # by a filter's refusal
        if failure.usage or answered or failure.code in _PAID or any(map(says_something, self.exchange.held_back)):
            used = self._until_broken(failure.usage)
            self.failed_attempts = (
                *self.failed_attempts,
                (used, pricing.cost(used, self.exchange.to, self.prompt.tier)),
            )
        self.exchange = None

    def settle(self, status: int) -> None:
        """Determine what a request that has ended used, and what that costs in micro-USD (None: unknown)."""
        record = self.record
        self.milliseconds = round((time.monotonic() - record.started) * 1000)
        if self.exchange is not None:
            # An upstream has worked on an answer that began, or that the client did not wait for.
            told = self.told or self._told(self.usage)
            if self.broken or (told and self.sent and (self.early or not told.completion)):
                told = self._until_broken(self.usage)
            if told is None or (told == NO_USAGE and (record.first or status == 499 or record.code in _ENDED_BY_US)):
                told = self._estimate()
            upstream, tier = self.exchange.to, self._tier()
            at = self.at + self.milliseconds / 1000
            self.used, self.listed = told, pricing.cost(told, upstream, tier, at)
            self.saved = pricing.saved(told, upstream, tier, at)
            own = pricing.told_cost(self.usage, upstream)
            self.cost = self.listed if own is None else own
            if self.passed and told == NO_USAGE and not upstream.host.free:
                self.cost = None
        for each, more in self.failed_attempts:
            self.cost = None if self.cost is None or more is None else self.cost + more
            self.listed = None if self.listed is None or more is None else self.listed + more
            self.used = TokenUsage(*map(sum, zip(self.used, each, strict=True)))
        if self.exchange is not None and not record.upstream:
            record.upstream = self.exchange.to.target_name
        self.status = status
        self.exchange = None  # it holds the request and its answer

    def opened(self) -> Opened:
        """Return what is known at the beginning."""
        record = self.record
        return Opened(
            self.id,
            self.at,
            record.id,
            record.key,
            record.model,
            record.stream,
            self.prompt.tokens(self._upstream),
            self._upstream,
        )

    def row(self) -> UsageRow:
        """Return the row of a request that has been settled."""
        record, used = self.record, self.used
        code = record.code or ("client_closed" if self.status == 499 else "")
        return UsageRow(
            self.id,
            int(self.at * 1000),
            record.id,
            record.key,
            record.model,
            record.upstream,
            record.stream,
            self.status,
            code if code.isascii() else "upstream_error",
            used.prompt,
            used.completion,
            used.cached,
            used.reasoning,
            self.cost,
            self.estimated,
            round((record.first - record.started) * 1000) if record.first else None,
            self.milliseconds,
            self.saved,
            self.listed,
        )

    def _told(self, usage: Json | None) -> TokenUsage | None:
        """Return the usage that the upstream reports; None, with a note for the log, where it cannot be true."""
        assert self.exchange is not None
        told, upstream = pricing.parse_usage(usage), self.exchange.to
        if pricing.believable(told, self.prompt, upstream):
            return told
        self.record.doubted = upstream.name, told.prompt, told.completion
        return None

    def _until_broken(self, usage: Json | None) -> TokenUsage:
        """Return what an answer that broke off has used. Its last report may count no more than its first token."""
        told, guess = self._told(usage), self._estimate()
        if told is None or told == NO_USAGE:
            return guess
        return told._replace(completion=max(told.completion, guess.completion))

    def _tier(self) -> object:
        """Return the service tier to price: the one the upstream reports, if its price is known, else the client's."""
        assert self.exchange is not None
        if self.tier == pricing.USUAL_TIER or (self.tier and pricing.times_the_price(self.tier, self.exchange.to)):
            return self.tier
        return self.prompt.tier

    def _estimate(self) -> TokenUsage:
        """Estimate usage from the prompt's size and all text received so far, including chunks still held back."""
        assert self.exchange is not None
        if self.passed:
            return NO_USAGE
        self.estimated = True
        for chunk in self.exchange.held_back:
            self.count_chunk(chunk)
        sent, deltas, self.sent, self.deltas = self.sent, self.deltas, 0, 0
        return TokenUsage(self.prompt.tokens(self._upstream), pricing.streamed_estimate(sent, deltas))


def _text(value: object) -> int:
    """Return the bytes of the texts in a delta, names and ids included. Texts that are nested too deep are not counted."""
    size = 0
    level = [value]
    for _ in range(_DEEPEST):
        below: list[object] = []
        for each in level:
            match each:
                case str():
                    size += len(each) if each.isascii() else len(each.encode("utf-8", "surrogatepass"))
                case dict():
                    below += each.values()
                case list():
                    below += each
        if not below:
            break
        level = below
    return size


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
        self._known: set[str] = set()  # the kinds of periods whose sums have been read

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
            tokens, cost = max(each[1] for each in bound), max(each[2] for each in bound)
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
        standing = self.limiter.remaining(record.key)
        return headers(record.limits, standing, form, time.time()) if standing is not None else {}
