"""The meter of one request: finds the tokens that it used and what they cost, as the upstream reports or estimated.

Where the upstream reports no usage (the client left, the answer broke off, the host does not count) the prompt's estimate and
what was streamed are counted, flagged as an estimate. A request that no upstream has begun to answer costs nothing, unless
the client left, or a timeout ended it, while an upstream may have been working on it.
"""

import time
from collections.abc import Iterable
from typing import Final

from msgspec.structs import replace

from gateway import pricing
from gateway.estimates import Prompt
from gateway.limits import Reservation
from gateway.pricing import NO_USAGE, TokenUsage
from gateway.record import RequestRecord
from providers.chunks import EARLY, says_something
from providers.contract import Json, Upstream
from providers.errors import ContentFiltered, Failure
from providers.runs import Run

from ..outbound.exchange import Exchange
from .rows import Opened, UsageRow

_PAID: Final = frozenset(  # failures of an upstream that may have done work, and charge for it
    {
        *("upstream_truncated", "upstream_first_byte_timeout", "upstream_idle_timeout", "upstream_too_large"),
        *("upstream_bad_output", "upstream_bad_json", "upstream_event_too_large"),
    }
)
_ENDED_BY_US: Final = frozenset({"total_timeout", "server_shutting_down"})  # while an upstream may have been working
_NO_DELTA: Final[Json] = {}
_DEEPEST: Final = 64  # levels of an answer in which texts are counted


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

    def count_chunks(self, chunks: Iterable[Json]) -> None:
        """Count the texts of chunks, and note the usage in them."""
        if type(chunks) is Run:
            self.sent += chunks.size
            self.deltas += len(chunks.texts)
            return
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
            self.used += each
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
            self.prompt,
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
            1 if record.stream else 0,
            self.status,
            code if code.isascii() else "upstream_error",
            used.prompt,
            used.completion,
            used.cached,
            used.reasoning,
            self.cost,
            1 if self.estimated else 0,
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
        return replace(told, completion=max(told.completion, guess.completion))

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
