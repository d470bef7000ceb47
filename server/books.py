"""The books: what a request may cost is reserved before it is sent, what it did cost is settled at its end, whatever the end.

    open    limits and budget of the key, an open row
    close   tokens and their cost, told by the upstream or estimated; the reservation and the row settled with them

Where the upstream told nothing (the client left, the answer broke off, the host does not count) the prompt's estimate and
what was streamed are booked, flagged as an estimate. A request that no upstream has begun to answer costs nothing, unless
the client, or our patience, gave up on one that may well be working on it.
"""

import time
from typing import Final

from gateway import prices
from gateway.config import Caller, Settings
from gateway.limits import Limits, Reservation, headers
from gateway.prices import NOTHING, Usage
from gateway.routes import Target
from gateway.schema import Usage as UsageSettings
from providers.contract import Json, Upstream
from providers.errors import Failure, Forbidden, Overloaded

from .limiters import Limiter, Local
from .logs import Record
from .store import Row, Store
from .upstream import Exchange

_PAID: Final = frozenset(  # failures of an upstream that may have worked, and charge, for nothing
    {"upstream_truncated", "upstream_first_byte_timeout", "upstream_idle_timeout", "upstream_too_large"}
)
_ENDED_BY_US: Final = frozenset({"total_timeout", "server_shutting_down"})  # while an upstream may have been working
_NO_DELTA: Final[Json] = {}


class Entry:
    """One request in the books. The spine fills in what it learns: who was asked, what was sent, what was counted."""

    reservation: Reservation | None = None
    exchange: Exchange | None = None  # with the upstream that was asked last
    usage: Json | None = None  # as that upstream told it
    sent = 0  # bytes of text that were streamed to the client
    deltas = 0  # in so many pieces
    lost: tuple[tuple[Usage, Upstream], ...] = ()  # what failed attempts have cost
    estimated = False
    # At the end
    status: int | None = None
    used = NOTHING
    cost: int | None = 0
    milliseconds: int | None = None
    booked = False

    def __init__(self, id: int, record: Record, size: int, to: Upstream) -> None:
        """id: of its row; size: bytes of the request's text; to: the target that is asked first."""
        self.id, self.record, self._size, self._to = id, record, size, to
        self.at = time.time()

    def prompt(self) -> int:
        """Tokens of the prompt, estimated."""
        return prices.prompt_estimate(self._size, self._to)

    def saw(self, chunk: Json) -> None:
        """Count the text of a chunk."""
        for choice in chunk["choices"]:
            delta = choice.get("delta") or choice.get("message") or _NO_DELTA
            text = delta.get("content")
            if len(delta) == 1 and text is not None and text.isascii():  # nearly every chunk
                size = len(text)
            else:
                size = sum([_text(each) for name, each in delta.items() if name != "role"])
            if size:
                self.sent += size
                self.deltas += 1

    def took(self, answer: Json) -> None:
        """Note the usage in a whole answer, or count its text."""
        self.usage = usage = answer.get("usage")
        if "choices" in answer and not (usage and usage["completion_tokens"]):
            self.saw(answer)

    def broke(self, error: Exception) -> None:
        """The answer failed after it had begun."""
        if self.exchange is not None:
            self.usage = getattr(error, "usage", None) or self.usage
            self.estimated = True

    def failed(self, failure: Failure) -> None:
        """The upstream asked last has failed, before anything was sent; another one may be asked."""
        if self.exchange is None:
            return
        if failure.usage:
            self.lost = (*self.lost, (prices.usage_of(failure.usage), self.exchange.to))
            self.estimated = True
        elif failure.code in _PAID:
            self.lost = (*self.lost, (self._guess(), self.exchange.to))
        self.exchange = None

    def settle(self, status: int) -> None:
        """The request has ended: what it used, and what that costs in micro-USD (None: unknown)."""
        record = self.record
        self.milliseconds = round((time.monotonic() - record.started) * 1000)
        if self.exchange is not None:
            # An answer that began, or that the client did not wait for, has been worked on.
            told = prices.usage_of(self.usage)
            if told == NOTHING and (record.first or status == 499 or record.code in _ENDED_BY_US):
                told = self._guess()
            self.used, self.cost = told, prices.cost(told, self.exchange.to)
        for each, to in self.lost:
            more = prices.cost(each, to)
            self.cost = None if self.cost is None or more is None else self.cost + more
            self.used = Usage(*map(sum, zip(self.used, each, strict=True)))
        if self.exchange is not None and not record.upstream:
            record.upstream = f"{self.exchange.to.name}/{self.exchange.to.model}"
        self.status = status  # the store's thread looks at it
        # Record and entry know each other: what they hold until the collector comes by must not be whole conversations.
        self.exchange, record.entry = None, None

    def row(self) -> Row:
        """For the store, as it stands: of an open entry the prompt is booked, in case this process dies."""
        record = self.record
        used, cost, code, upstream = self.used, self.cost, record.code, record.upstream
        if self.status is None:
            used = Usage(self.prompt())
            cost = prices.cost(used, self._to)
        elif self.status == 499:
            code = code or "client_closed"
        exchange = self.exchange
        if not upstream and exchange is not None:
            upstream = f"{exchange.to.name}/{exchange.to.model}"
        return Row(
            self.id,
            int(self.at * 1000),
            record.id,
            record.key,
            record.model,
            upstream,
            record.stream,
            self.status,
            code if code.isascii() else "upstream_error",
            used.prompt,
            used.completion,
            used.cached,
            used.reasoning,
            cost,
            self.estimated,
            round((record.first - record.started) * 1000) if record.first else None,
            self.milliseconds,
        )

    def _guess(self) -> Usage:
        """The prompt, and what came of the answer, shown to the client or not."""
        assert self.exchange is not None
        self.estimated = True
        for chunk in self.exchange.held:
            self.saw(chunk)
        sent, deltas, self.sent, self.deltas = self.sent, self.deltas, 0, 0
        return Usage(self.prompt(), prices.streamed_estimate(sent, deltas))


def _text(value: object) -> int:
    """Bytes of the texts in a delta, names and ids included: tokens, all of them."""
    match value:
        case str():
            return len(value) if value.isascii() else len(value.encode("utf-8", "surrogatepass"))
        case dict():
            return sum([_text(each) for each in value.values()])
        case list():
            return sum([_text(each) for each in value])
    return 0


async def begin(settings: Settings) -> "Books":
    """The books of a configuration, opened. Raises OSError when they cannot be: no limit is off without a word."""
    usage = settings.config.usage
    store = Store(usage.path, usage.retention_days) if usage.path else None
    local = Local(limits_of(settings), store.spent if store else None)
    limiter: Limiter = local
    if settings.state.url:
        from .shared import Shared  # redis-py is only needed here

        limiter = shared = Shared(settings.state, local)
        await shared.begin()
    return Books(usage, store, limiter)


def limits_of(settings: Settings) -> dict[str, Limits]:
    """The limits of each key that has some, by its name."""
    return {caller.name: caller.limits for caller in settings.keys.values() if caller.limits}


class Books:
    """Opens and closes entries. store: None where no rows are kept."""

    def __init__(self, settings: UsageSettings, store: Store | None, limiter: Limiter) -> None:
        self.store, self.limiter = store, limiter
        self._settings = settings

    async def open(self, record: Record, caller: Caller, body: Json, size: int, targets: list[Target]) -> list[Target]:
        """Let a request in and open its row; returns the targets it may use.

        Sets record.entry. Raises Throttled when a limit is reached, Forbidden when the key may only use models whose price
        is known, Overloaded when the books cannot be kept and are to be (fail_closed).
        """
        store = self.store
        if store is not None and store.failing and self._settings.fail_closed:
            raise Overloaded("This server cannot keep its books just now. Try again later.", code="usage_unavailable")
        if not caller.unpriced:
            targets = [target for target in targets if prices.priced(body, target.to)]
            if not targets:
                raise Forbidden(
                    "The price of this model is unknown, and this key has a budget. The operator of this server can give "
                    "the price (facts), or let the key use such models (unpriced: true).",
                    param="model",
                    code="model_not_priced",
                )
        entry = Entry(store.number() if store is not None else 0, record, size, targets[0].to)
        if caller.limits is not None:
            tokens, cost = self._most(body, size, targets)
            entry.reservation = await self.limiter.reserve(caller.name, caller.limits, tokens, cost)
        record.entry = entry
        if store is not None:
            store.put(entry)
        return targets

    def _most(self, body: Json, size: int, targets: list[Target]) -> tuple[int, int]:
        """Tokens and micro-USD that a request can come to, at the worst of its targets."""
        tokens = cost = 0
        for target in targets:
            used = prices.most(body, size, target.to, self._settings.reserve_tokens)
            tokens = max(tokens, used.prompt + used.completion)
            for each in (used, used._replace(written=used.prompt)):  # writing to a cache can cost more than reading
                cost = max(cost, prices.cost(each, target.to) or 0)
        return tokens, cost

    def close(self, record: Record, status: int) -> None:
        """Settle what the request reserved, and its row. status: of the answer; 499: the client left."""
        entry = record.entry
        assert isinstance(entry, Entry)
        entry.settle(status)
        used = entry.used
        if used is not NOTHING:
            record.prompt, record.completion = used.prompt, used.completion
            record.cost = entry.cost / 10**6 if entry.cost is not None else None
        if entry.reservation is not None:
            self.limiter.settle(record.key, entry.reservation, used.prompt + used.completion, entry.cost or 0)
        if self.store is not None:
            self.store.put(entry)

    def use(self, settings: Settings) -> None:
        """Go by the limits and rules of these settings from now on; the file, its retention and Redis stay."""
        self.limiter.use(limits_of(settings))
        self._settings = settings.config.usage

    def trouble(self) -> list[str]:
        """What does not work as it should, in a few words each."""
        found = [self.limiter.health()]
        if self.store is not None and self.store.failing:
            found.append(f"usage cannot be written: {self.store.waiting} rows wait, {self.store.dropped} were dropped")
        return [each for each in found if each]

    async def aclose(self) -> None:
        """Settle and write what is left."""
        await self.limiter.aclose()
        if self.store is not None:
            self.store.close()

    def headers(self, record: Record) -> dict[str, str]:
        """The x-ratelimit-* headers for the caller of a request."""
        if record.limits is None:
            return {}
        standing = self.limiter.standing(record.key)
        return headers(record.limits, standing) if standing is not None else {}
