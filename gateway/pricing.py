"""The price of a request in micro-USD, from the facts of a model; and a check of the usage that an upstream reports.

Prices are USD per million tokens, so micro-USD per token. An unknown price is None, never 0. Sums are exact (integers of
a millionth of a micro-USD) and rounded up once, at the end: a request that cost something never shows 0.
"""

from math import ceil
from operator import add
from typing import Any, Final

import msgspec
from msgspec.structs import astuple

from providers.contract import Json, Upstream
from providers.models import ModelFacts, Rates

from .estimates import Prompt

_SCALE: Final = 10**6
_LUMP: Final = 10  # bytes: deltas that are shorter on average are tokens, one by one
# Tiers that cost the price of the list, or less; which they are called depends on the host.
_LISTED: Final = frozenset({None, "auto", "default", "standard", "standard_only", "on_demand", "flex", "batch"})
_DEAREST: Final = 1000  # dollars of one request
_LARGEST: Final = 2**60  # of a number by which an upstream tells a cost
_ANSWER: Final = 10**6  # of one answer of a model of which nothing is known


class TokenUsage(msgspec.Struct, frozen=True, gc=False):
    """Tokens. cached and written (to the upstream's cache) are part of prompt; reasoning is part of completion.

    hour: of those written, the ones that are cached for an hour.
    """

    prompt: int = 0
    completion: int = 0
    cached: int = 0
    written: int = 0
    reasoning: int = 0
    hour: int = 0

    def __add__(self, other: "TokenUsage") -> "TokenUsage":
        return TokenUsage(*map(add, astuple(self), astuple(other)))


NO_USAGE: Final = TokenUsage()
USUAL_TIER: Final = "default"  # the service tier of a model's own price
_NO_DETAILS: Final[Json] = {}


def parse_usage(body: Json | None) -> TokenUsage:
    """Return the tokens of a canonical usage object (providers/common/usage.py); NO_USAGE when there is none."""
    if not body:
        return NO_USAGE
    before = body.get("prompt_tokens_details") or _NO_DETAILS
    after = body.get("completion_tokens_details") or _NO_DETAILS
    return TokenUsage(
        body["prompt_tokens"],
        body.get("completion_tokens", 0),
        before.get("cached_tokens", 0),
        before.get("cache_write_tokens", 0),
        after.get("reasoning_tokens", 0),
        before.get("cache_write_1h_tokens", 0),
    )


def believable(used: TokenUsage, prompt: Prompt, upstream: Upstream) -> bool:
    """Whether a request can have used so much: no more than the model writes, and no more prompt than prompt.bound."""
    return used.prompt <= prompt.bound and used.completion <= (upstream.facts.max_output or _ANSWER) * prompt.answers


def cost(used: TokenUsage, upstream: Upstream, tier: Any = None, at: float | None = None) -> int | None:
    """Return the micro-USD that these tokens cost at this target; None where a price that is needed is unknown.

    tier: the service tier they were used at, if any was named; at: Unix time, None: when they cost most.
    """
    if upstream.host.free:
        return 0
    facts = upstream.facts
    if facts.price is None:
        return 0 if used == NO_USAGE else None
    rates = facts.price.rates
    if facts.off_peak is not None or facts.long_context is not None:
        rates = _rates(facts, rates, used.prompt, at)
    fresh, answer = rates[0], rates[1]
    if fresh is None or answer is None or used.cached or used.written or used.hour:
        sum = _sum(used, rates)
        if sum is None:
            return None
    else:  # nearly always
        sum = used.prompt * fresh + used.completion * answer
    if tier is None or tier == USUAL_TIER or used == NO_USAGE:
        return -(-sum // _SCALE)
    times = times_the_price(tier, upstream)
    if times == 1:
        return -(-sum // _SCALE)
    return None if times is None else ceil(-(-sum * round(times * 1000) // 1000) / _SCALE)


def _rates(facts: ModelFacts, usual: Rates, prompt: int, at: float | None) -> Rates:
    """Return the Price.rates that hold for a prompt of so many tokens at a Unix time, None: those of the peak hours."""
    if facts.off_peak is not None and at is not None and facts.off_peak.is_on(at):
        return facts.off_peak.rates
    long = facts.long_context
    return facts.long_rates if long is not None and prompt > long.above else usual


def _sum(used: TokenUsage, rates: Rates) -> int | None:
    """Return what tokens cost by these rates, in millionths of a micro-USD; None where a rate that is needed is unknown."""
    sum = 0
    fresh, written = used.prompt - used.cached - used.written, used.written - used.hour
    for tokens, rate in zip((fresh, used.completion, used.cached, written, used.hour), rates, strict=True):
        if tokens:
            if rate is None:
                return None
            sum += tokens * rate
    return sum


def told_cost(usage: Json | None, upstream: Upstream) -> int | None:
    """Return the micro-USD that an upstream says a request has cost, rounded up; None where it says nothing that can be true."""
    path = upstream.host.cost
    if not path or upstream.host.cost_unit <= 0:
        return None
    value: Any = usage
    for name in path:
        value = value.get(name) if isinstance(value, dict) else None
    if type(value) not in (int, float) or not 0 <= value <= _LARGEST:
        return None
    dollars = value / upstream.host.cost_unit
    return ceil(round(dollars * 10**6, 6)) if dollars <= _DEAREST else None


def saved(used: TokenUsage, upstream: Upstream, tier: Any = None, at: float | None = None) -> int | None:
    """Return the micro-USD that the upstream's cache has saved of what these tokens cost; negative where it has cost more.

    None where a price that is needed is unknown.
    """
    if not (used.cached or used.written):
        return 0
    without, with_it = (cost(each, upstream, tier, at) for each in (TokenUsage(used.prompt, used.completion), used))
    return None if without is None or with_it is None else without - with_it


def times_the_price(tier: Any, upstream: Upstream) -> float | None:
    """Return how many times its price a model costs at a service tier; None where that is not known, and may be more."""
    if upstream.host.free or "service_tier" in upstream.host.drop:
        return 1.0
    if isinstance(tier, str) and (times := upstream.facts.tiers.get("priority" if tier == "fast" else tier)):
        return times
    return 1.0 if tier is None or (isinstance(tier, str) and tier in _LISTED) else None


def has_price(body: Json, upstream: Upstream) -> bool:
    """Whether any answer of this target to such a request can be priced."""
    if upstream.host.free:
        return True
    price = upstream.facts.price
    return price is not None and price.input is not None and (price.output is not None or "messages" not in body)


def streamed_estimate(size: int, deltas: int) -> int:
    """Return the tokens in `deltas` pieces of text of `size` bytes in all.

    Most hosts send a token at a time, so that the pieces are counted; those that send lumps are counted by bytes / 4.
    """
    if deltas <= 0 or size <= 0:
        return 0
    return deltas if size <= deltas * _LUMP else ceil(size / 4)
