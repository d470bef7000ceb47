"""The books: what a request may cost is reserved before it is sent, what it did cost is settled at its end, whatever the end.

    open    limits and budget of the key, an open row
    close   tokens and their cost, told by the upstream or estimated; the reservation and the row settled with them

Where the upstream told nothing (the client left, the answer broke off, the host does not count) the prompt's estimate and
what was streamed are booked, flagged as an estimate. A request that no upstream has begun to answer costs nothing, unless
the client, or our patience, gave up on one that may well be working on it.
"""

import asyncio
import sqlite3
import time
from typing import Final, NamedTuple

from gateway import pricing, reservations
from gateway.config import Caller, Settings
from gateway.config_schema import UsageConfig as UsageSettings
from gateway.estimates import Prompt
from gateway.limits import Limits, Reservation, Spent, headers, since
from gateway.pricing import NO_USAGE, TokenUsage
from gateway.record import RequestRecord
from gateway.routing import Target
from providers.chunks import EARLY, says_something
from providers.contract import Json, Upstream
from providers.errors import Failure, Overloaded, PermissionDenied

from ..outbound.exchange import Exchange
from .limiter import Limiter, LocalLimiter
from .store import UsageRow, UsageStore

_PAID: Final = frozenset(  # failures of an upstream that may have worked, and charge, for nothing
    {
        *("upstream_truncated", "upstream_first_byte_timeout", "upstream_idle_timeout", "upstream_too_large"),
        *("upstream_bad_output", "upstream_bad_json", "upstream_event_too_large"),
    }
)
_ENDED_BY_US: Final = frozenset({"total_timeout", "server_shutting_down"})  # while an upstream may have been working
_NO_DELTA: Final[Json] = {}
_DEEPEST: Final = 64  # levels of an answer in which texts are counted


class Opened(NamedTuple):
    """What is known of a request when it begins: as a value, for the store's thread."""

    id: int  # of its row
    at: float  # Unix time
    request: str
    key: str
    model: str
    stream: bool
    prompt: int  # tokens, estimated
    to: Upstream  # the target that is asked first

    def row(self) -> UsageRow:
        """The row while the request runs: its prompt is booked, in case this process dies."""
        cost = pricing.cost(TokenUsage(self.prompt), self.to)
        return UsageRow(
            self.id,
            int(self.at * 1000),
            self.request,
            self.key,
            self.model,
            _name(self.to),
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
        )


class UsageMeter:
    """One request in the books. The spine fills in what it learns: who was asked, what was sent, what was counted.

    Used on the event loop alone: the store gets values. day: on which it began, for budgets; id: of its row.
    """

    id = 0
    day = ""

    reservation: Reservation | None = None
    exchange: Exchange | None = None  # with the upstream that was asked last
    usage: Json | None = None  # as that upstream told it
    told: TokenUsage | None = None  # the same of a whole answer, checked
    early = False  # … before all of the answer had come
    tier: object = None  # the service tier it was used at, as that upstream told it
    sent = 0  # bytes of text that were streamed to the client
    deltas = 0  # in so many pieces
    failed_attempts: tuple[tuple[TokenUsage, int | None], ...] = ()  # what failed attempts have used, and its micro-USD
    estimated = False
    broken = False  # the answer failed after it had begun
    # At the end
    status: int | None = None
    used = NO_USAGE
    cost: int | None = 0
    milliseconds: int | None = None

    def __init__(self, record: RequestRecord, prompt: Prompt, to: Upstream, at: float) -> None:
        """to: the target that is asked first; at: Unix time."""
        self.record, self.prompt, self._to, self.at = record, prompt, to, at

    def count_chunks(self, chunks: list[Json]) -> None:
        """Count the texts of chunks, and note the usage that they tell."""
        for chunk in chunks:
            self.count_chunk(chunk)
            if "usage" in chunk:
                self.tells(chunk)

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

    def tells(self, chunk: Json) -> None:
        """Note the usage that a chunk, or a whole answer, tells of; removes from it what is meant for the books alone."""
        self.usage, self.tier = chunk.get("usage"), chunk.get("service_tier")
        if EARLY in chunk:
            self.early = chunk.pop(EARLY) is True

    def count_answer(self, answer: Json) -> None:
        """Note the usage in a whole answer, or count its text."""
        self.tells(answer)
        self.told = self._told(self.usage)
        if "choices" in answer and (self.early or not (self.told and self.told.completion)):
            self.count_chunk(answer)

    def stream_failed(self, error: Exception) -> None:
        """The answer failed after it had begun."""
        if self.exchange is not None:
            self.usage = getattr(error, "usage", None) or self.usage
            self.estimated = self.broken = True

    def attempt_failed(self, failure: Failure) -> None:
        """The upstream asked last has failed, before anything was sent; another one may be asked."""
        if self.exchange is None:
            return
        if failure.usage or failure.code in _PAID or any(map(says_something, self.exchange.held_back)):
            used = self._until_broken(failure.usage)
            self.failed_attempts = (
                *self.failed_attempts,
                (used, pricing.cost(used, self.exchange.to, self.prompt.tier)),
            )
        self.exchange = None

    def settle(self, status: int) -> None:
        """The request has ended: what it used, and what that costs in micro-USD (None: unknown)."""
        record = self.record
        self.milliseconds = round((time.monotonic() - record.started) * 1000)
        if self.exchange is not None:
            # An answer that began, or that the client did not wait for, has been worked on.
            told = self.told or self._told(self.usage)
            if self.broken or (told and self.sent and (self.early or not told.completion)):
                told = self._until_broken(self.usage)
            if told is None or (told == NO_USAGE and (record.first or status == 499 or record.code in _ENDED_BY_US)):
                told = self._estimate()
            self.used, self.cost = told, pricing.cost(told, self.exchange.to, self._tier())
        for each, more in self.failed_attempts:
            self.cost = None if self.cost is None or more is None else self.cost + more
            self.used = TokenUsage(*map(sum, zip(self.used, each, strict=True)))
        if self.exchange is not None and not record.upstream:
            record.upstream = _name(self.exchange.to)
        self.status = status
        self.exchange = None  # it holds the request and its answer

    def opened(self) -> Opened:
        """What is known at the beginning."""
        record = self.record
        return Opened(
            self.id, self.at, record.id, record.key, record.model, record.stream, self.prompt.tokens(self._to), self._to
        )

    def row(self) -> UsageRow:
        """The row of a request that has been settled."""
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
        )

    def _told(self, usage: Json | None) -> TokenUsage | None:
        """Return what the upstream says was used; None, with a note for the log, where that cannot be."""
        assert self.exchange is not None
        told, to = pricing.parse_usage(usage), self.exchange.to
        if pricing.believable(told, self.prompt, to):
            return told
        self.record.doubted = to.name, told.prompt, told.completion
        return None

    def _until_broken(self, usage: Json | None) -> TokenUsage:
        """Return what an answer that broke off has used. What it told until then may count no more than its first token."""
        told, guess = self._told(usage), self._estimate()
        if told is None or told == NO_USAGE:
            return guess
        return told._replace(completion=max(told.completion, guess.completion))

    def _tier(self) -> object:
        """Return the service tier whose price holds: the one the upstream names, where it is one, else the client's."""
        assert self.exchange is not None
        if self.tier == pricing.USUAL_TIER or (self.tier and pricing.times_the_price(self.tier, self.exchange.to)):
            return self.tier
        return self.prompt.tier

    def _estimate(self) -> TokenUsage:
        """The prompt, and what came of the answer, shown to the client or not."""
        assert self.exchange is not None
        self.estimated = True
        for chunk in self.exchange.held_back:
            self.count_chunk(chunk)
        sent, deltas, self.sent, self.deltas = self.sent, self.deltas, 0, 0
        return TokenUsage(self.prompt.tokens(self._to), pricing.streamed_estimate(sent, deltas))


def _text(value: object) -> int:
    """Bytes of the texts in a delta, names and ids included: tokens, all of them. What is nested too deep counts for nothing."""
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


def _name(to: Upstream) -> str:
    return f"{to.name}/{to.model}"


async def begin(settings: Settings) -> "Ledger":
    """The books of a configuration, opened. Raises OSError when they cannot be: no limit is off without a word."""
    usage = settings.config.usage
    store = UsageStore(usage.path, usage.retention_days) if usage.path else None
    books = Ledger(usage, store)
    try:
        await books.learn(settings)
        limits = limits_of(settings)
        books.limiter = local = LocalLimiter(limits, books.spent)
        if settings.shared_state.url:
            from .redis_limiter import RedisLimiter

            books.limiter = shared = RedisLimiter(settings.shared_state, local)
            await shared.begin(limits)
    except BaseException:
        if store is not None:
            store.close()
        raise
    return books


def limits_of(settings: Settings) -> dict[str, Limits]:
    """The limits of each key that has some, by its name."""
    return {caller.name: caller.limits for caller in settings.keys.values() if caller.limits}


class Ledger:
    """Opens and closes entries. store: None where no rows are kept; spent: what each key has spent, limited or not."""

    limiter: Limiter

    def __init__(self, settings: UsageSettings, store: UsageStore | None) -> None:
        self.store, self.spent = store, Spent()
        self._settings = settings
        self._known: set[str] = set()  # the kinds of periods whose sums have been read

    async def learn(self, settings: Settings) -> None:
        """Read what the budgets of these settings have to go on from. Raises OSError when that cannot be known.

        What is settled meanwhile is counted once: the sums are of all that was put in the store before it was asked, and
        self.spent knows what has been added since.
        """
        periods = sorted({limits.period for limits in limits_of(settings).values() if limits.budget})
        if self.store is None or not periods:
            return
        day, before = self.spent.roll(time.time()), self.spent.copy()
        try:
            found = await asyncio.wrap_future(self.store.spent([since(period, day) for period in periods]))
        except sqlite3.Error as error:
            if self._known.issuperset(periods):
                return  # as before; the store says what is the matter with its file
            raise OSError(f"the usage file cannot be read, and budgets could not go on from it: {error}") from None
        for period, sums in zip(periods, found, strict=True):
            self.spent.learn(period, day, before[period], sums)
        self._known.update(periods)

    async def reserve(
        self, record: RequestRecord, caller: Caller, body: Json, prompt: Prompt, targets: list[Target]
    ) -> tuple[UsageMeter, list[Target]]:
        """Reserve what a request may use and open its row. Return its meter, and the targets it may use.

        Raises Throttled when a limit is reached, Forbidden when the key may only use models whose price
        is known, Overloaded when the books cannot be kept and are to be (fail_closed).
        """
        store = self.store
        if store is not None and store.failing and self._settings.fail_closed:
            raise Overloaded("This server cannot keep its books just now. Try again later.", code="usage_unavailable")
        if not caller.allow_unpriced:
            targets = [target for target in targets if pricing.has_price(body, target.upstream)]
            if not targets:
                raise PermissionDenied(
                    "The price of this model is unknown, and this key has a budget. The operator of this server can give "
                    "the price (model_facts), or let the key use such models (allow_unpriced: true).",
                    param="model",
                    code="model_not_priced",
                )
        entry = UsageMeter(record, prompt, targets[0].upstream, time.time())
        entry.day = self.spent.roll(entry.at)
        if caller.limits is not None:
            targets, tokens, cost = self._worst_case(caller.limits, body, prompt, targets)
            entry.reservation = await self.limiter.reserve(caller.name, caller.limits, tokens, cost)
        if store is not None:
            entry.id = store.next_id()
            store.enqueue(entry.opened())
        return entry, targets

    def _worst_case(
        self, limits: Limits, body: Json, prompt: Prompt, targets: list[Target]
    ) -> tuple[list[Target], int, int]:
        """Return the targets, and the tokens and micro-USD that a request can come to at the worst of them."""
        if not (limits.tpm or limits.budget):
            return targets, 0, 0
        tokens = cost = 0
        bound = []
        for target in targets:
            target, used, price = self._most_at(limits, body, prompt, target)
            bound.append(target)
            tokens, cost = max(tokens, used), max(cost, price)
        return bound, tokens, cost

    def _most_at(self, limits: Limits, body: Json, prompt: Prompt, target: Target) -> tuple[Target, int, int]:
        """Return a target, with the limit that is to be sent, and the tokens and micro-USD that a request can come to there."""
        target, used = reservations.reserved(body, prompt, target, self._settings, limits)
        cost = reservations.most_costly(used, target.upstream, prompt.tier, prompt.hour)
        return target, used.prompt + used.completion, cost

    async def extend(self, meter: UsageMeter, body: Json, target: Target) -> bool:
        """Reserve what one more attempt may use, on top of what failed attempts have used.

        Returns False where a limit of the key does not cover that: then this target must not be asked.
        """
        record, held = meter.record, meter.reservation
        limits = record.limits
        if limits is None or held is None or not (limits.tpm or limits.budget):
            return True
        _, tokens, cost = self._most_at(limits, body, meter.prompt, target)
        for used, price in meter.failed_attempts:
            tokens += used.prompt + used.completion
            cost += price or 0
        if tokens <= held.tokens and cost <= held.cost:
            return True
        return await self.limiter.extend(record.key, limits, held, tokens, cost)

    def settle(self, entry: UsageMeter, status: int) -> None:
        """Settle what the request reserved, and its row. status: of the answer; 499: the client left."""
        record = entry.record
        try:
            entry.settle(status)
        finally:  # whatever happens, a reservation is given back
            used = entry.used
            tokens = used.prompt + used.completion
            self.limiter.settle(record.key, entry.day, entry.reservation, tokens, entry.cost or 0)
        if used is not NO_USAGE:
            record.prompt, record.completion = used.prompt, used.completion
            record.cost = entry.cost / 10**6 if entry.cost is not None else None
        if self.store is not None:
            self.store.enqueue(entry.row())

    def apply(self, settings: Settings) -> None:
        """Go by the limits and rules of these settings from now on, after `learn`; the file, its retention and Redis stay."""
        self.limiter.apply(limits_of(settings))
        self._settings = settings.config.usage

    def problems(self) -> list[str]:
        """What does not work as it should, in a few words each."""
        health = self.limiter.problem()
        return [*([health] if health else []), *(self.store.trouble() if self.store is not None else [])]

    async def aclose(self) -> None:
        """Settle and write what is left."""
        await self.limiter.aclose()
        if self.store is not None:
            self.store.close()

    def headers(self, record: RequestRecord) -> dict[str, str]:
        """The x-ratelimit-* headers for the caller of a request."""
        if record.limits is None:
            return {}
        standing = self.limiter.remaining(record.key)
        return headers(record.limits, standing) if standing is not None else {}
