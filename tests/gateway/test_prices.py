"""What requests cost: recorded answers priced by hand, and the estimates that are reserved before them."""

from datetime import UTC, datetime
from fractions import Fraction
from math import ceil
from typing import Any

import msgspec
import pytest
import replay
from hypothesis import example, given
from hypothesis import strategies as st
from model_table import MODELS as FACTS
from msgspec.structs import replace
from oracles import Json
from translators import translator_of

from gateway.estimates import measure
from gateway.pricing import NO_USAGE, TokenUsage, believable, cost, has_price, parse_usage, streamed_estimate, told_cost
from providers import PROVIDERS
from providers.contract import Upstream
from providers.hosts import HOSTS, Host
from providers.models import LongContext, ModelFacts, OffPeak, Price
from providers.sse import Event

ASK: Json = {"model": "m", "messages": [{"role": "user", "content": "x"}]}


def to(provider: str, model: str) -> Upstream:
    return Upstream(
        provider, model, "https://x", "k", row=provider, host=HOSTS[provider], facts=FACTS.of(model, provider)
    )


def whole(prompt: int, cached: int, completion: int, reasoning: int) -> bytes:
    """An answer as OpenAI sends it."""
    told = {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
        "prompt_tokens_details": {"cached_tokens": cached, "audio_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": reasoning, "audio_tokens": 0},
    }
    message = {"role": "assistant", "content": "Yes."}
    return msgspec.json.encode({"choices": [{"index": 0, "message": message, "finish_reason": "stop"}], "usage": told})


# provider, model, the answer, its tokens; then its price per million: fresh, cached and newly cached prompt, answer.
RECORDED = [
    # 20 × 5 + 75 × 0.50 + 5 × 6.25 + 40 × 25 = 100 + 37.5 + 31.25 + 1000 = 1168.75
    ("anthropic", "claude-opus-4-8", "claude_tools", TokenUsage(100, 40, 75, 5), 1169),
    # 20 × 3 + 50 × 15, of which 30 were thought = 60 + 750
    ("anthropic", "claude-sonnet-4-6", "claude_thinking", TokenUsage(20, 50, reasoning=30), 810),
    # 20 × 1 + 60 × 5
    ("anthropic", "claude-haiku-4-5", "claude_search", TokenUsage(20, 60), 320),
    # 57 × 1.25 + 200 × 0.125 + (12 said + 40 thought) × 10 = 71.25 + 25 + 520 = 616.25
    ("gemini", "gemini-2.5-pro", "gemini_text", TokenUsage(257, 52, 200, reasoning=40), 617),
    # 80 × 0.30 + (44 + 60) × 2.50 = 24 + 260
    ("gemini", "gemini-2.5-flash", "gemini_parallel", TokenUsage(80, 104, reasoning=60), 284),
    # 88 × 0.30 + 512 × 0.006 + 3 × 1.20 = 26.4 + 3.072 + 3.6 = 33.072
    ("deepseek", "deepseek-v4-flash", "usage_on_finish", TokenUsage(600, 3, 512, reasoning=1), 34),
    # 9 × 2.50 + 4 × 10 = 62.5
    ("openai", "gpt-4o", "text", TokenUsage(9, 4), 63),
    # (2006 − 1920) × 1.75 + 1920 × 0.175 + 300 × 14 = 150.5 + 336 + 4200 = 4686.5
    ("openai", "gpt-5.2", whole(2006, 1920, 300, 192), TokenUsage(2006, 300, 1920, reasoning=192), 4687),
    # 100 × 15 + 1024 × 7.50 + 700 × 60 = 1500 + 7680 + 42000
    ("openai", "o1", whole(1124, 1024, 700, 640), TokenUsage(1124, 700, 1024, reasoning=640), 51_180),
    # above 272,000 tokens all of it costs more: 100,000 × 4 + 200,000 × 0.40 + 1000 × 15
    ("openai", "gpt-6-sol", whole(300_000, 200_000, 1000, 0), TokenUsage(300_000, 1000, 200_000), 495_000),
]


@pytest.mark.parametrize(("provider", "model", "answer", "used", "micro"), RECORDED)
def test_recorded_answers_cost_what_the_price_list_says(
    provider: str, model: str, answer: str | bytes, used: TokenUsage, micro: int
) -> None:
    target, protocol = to(provider, model), PROVIDERS[HOSTS[provider].protocol]
    if isinstance(answer, str):
        call = protocol.build_request({**ASK, "stream": True}, target)
        raw = (replay.STREAMS / f"{answer}.sse").read_bytes()
        told = [chunk["usage"] for chunk in replay.chunks(protocol, raw, call=call, to=target) if "usage" in chunk]
    else:
        translator = translator_of(protocol, protocol.build_request(ASK, target)._replace(stream=False), target)
        told = []
        try:
            translator.send(Event("", msgspec.json.decode(answer)))
            translator.send(None)
        except StopIteration as end:
            told = [body["usage"] for body in end.value]
    assert parse_usage(told[-1]) == used
    assert cost(used, target) == micro


def priced_at(price: Price | None, long: LongContext | None = None, free: bool = False) -> Upstream:
    return Upstream("up", "m", host=Host(free=free), facts=ModelFacts(price=price, long_context=long))


@pytest.mark.parametrize(
    ("price", "used", "micro"),
    [
        (None, TokenUsage(1, 1), None),
        (None, NO_USAGE, 0),  # nothing was used: nothing is owed
        (Price(input=1), TokenUsage(5, 1), None),
        (Price(output=1), TokenUsage(5, 1), None),
        (Price(input=1), TokenUsage(5, 0), 5),
        (Price(input=2, output=1), TokenUsage(9, 0, cached=4, written=3), 18),  # what is not listed costs what is fresh
        (Price(input=2, output=1, cache_read=0), TokenUsage(9, 0, cached=4), 10),  # listed as free
        (
            Price(input=1, output=1, cache_write=2, cache_write_1h=4),
            TokenUsage(9, 0, hour=3),
            9 - 6 + 12,
        ),  # an upstream forgot `written`
        (Price(input=0.1, output=0.1), TokenUsage(3, 0), 1),  # rounded up once, and not by the error of 0.1 × 3
        (Price(input=0.1, output=0.1), TokenUsage(30, 0), 3),
        (Price(input=0, output=0), TokenUsage(30, 9), 0),
    ],
)
def test_an_unknown_price_is_none_and_a_small_one_is_not_nothing(
    price: Price | None, used: TokenUsage, micro: int | None
) -> None:
    assert cost(used, priced_at(price)) == micro
    assert cost(used, priced_at(price, free=True)) == 0


RATES = st.none() | st.sampled_from([0, 0.1, 1.25, 2.5, 3, 75])


@given(
    st.builds(Price, RATES, RATES, RATES, RATES, RATES),
    st.tuples(*[st.integers(0, 300)] * 6),
    st.sampled_from([None, "default", "flex", "priority", "invented"]),
    st.sampled_from([0, 100]),
)
@example(Price(input=1, output=1), (0, 0, 0, 0, 0, 0), "invented", 0)
def test_a_cost_is_the_sum_of_tokens_by_their_prices(
    price: Price, tokens: tuple[int, ...], tier: str | None, above: int
) -> None:
    """Worked out by fractions, for all kinds of tokens; a price that is not known matters where there are such tokens."""
    fresh, completion, cached, written, hour, reasoning = tokens
    used = TokenUsage(fresh + cached + written + hour, completion, cached, written + hour, reasoning, hour)
    long = LongContext(above=above, input=7, cache_read=None) if above else None
    target = Upstream("up", "m", facts=ModelFacts(price=price, long_context=long, tiers={"priority": 2.5}))
    base = 7 if long is not None and used.prompt > above else price.input
    write = base if price.cache_write is None else price.cache_write
    prices = (
        (fresh, base),
        (completion, price.output),
        (cached, base if price.cache_read is None else price.cache_read),
        (written, write),
        (hour, write if price.cache_write_1h is None else price.cache_write_1h),
    )
    known = all(dollars is not None for n, dollars in prices if n) and (tier != "invented" or used == NO_USAGE)
    micro = sum(n * Fraction(str(dollars)) for n, dollars in prices if n and dollars is not None)
    micro *= Fraction(5, 2) if tier == "priority" else 1
    assert cost(used, target, tier) == (ceil(micro) if known else None)


def test_a_long_prompt_is_dearer_from_the_first_token_above_the_bound() -> None:
    target = priced_at(Price(input=1, output=2, cache_read=0.5), LongContext(above=100, input=10))
    assert cost(TokenUsage(100, 10), target) == 100 + 20
    assert cost(TokenUsage(101, 10), target) == 1010 + 20  # what the long price leaves out is as before
    assert cost(TokenUsage(101, 0, cached=100), target) == 10 + 50


def test_only_targets_with_both_prices_are_priced() -> None:
    assert has_price(ASK, priced_at(Price(input=1, output=1)))
    assert not has_price(ASK, priced_at(Price(input=1)))
    assert not has_price(ASK, priced_at(None))
    assert has_price(ASK, priced_at(None, free=True))
    assert has_price({"input": "x"}, priced_at(Price(input=1)))  # embeddings have no output


def test_a_service_tier_costs_what_the_facts_say_or_its_price_is_unknown() -> None:
    facts = ModelFacts(price=Price(input=1, output=2), tiers={"priority": 1.7, "flex": 0.5})
    target, used = Upstream("up", "m", facts=facts), TokenUsage(101, 10)
    tiers: list[Any] = [None, "auto", "default", "priority", "fast", "flex", "batch", "scale", 7]
    assert [cost(used, target, tier) for tier in tiers] == [121, 121, 121, 206, 206, 61, 121, None, None]
    unlisted = priced_at(Price(input=1, output=2))
    assert [cost(used, unlisted, tier) for tier in tiers] == [121, 121, 121, None, None, 121, 121, None, None]
    assert cost(used, priced_at(None, free=True), "priority") == 0
    drops = Upstream("up", "m", host=Host(drop=("service_tier",)), facts=ModelFacts(price=Price(input=1, output=2)))
    assert cost(used, drops, "priority") == 121  # it is not sent there


@pytest.mark.parametrize(
    ("told", "used"),
    [
        (None, NO_USAGE),
        ({}, NO_USAGE),
        ({"prompt_tokens": 5, "total_tokens": 5}, TokenUsage(5)),  # embeddings
        (
            {"prompt_tokens": 5, "completion_tokens": 0, "prompt_tokens_details": {"cached_tokens": 2}},
            TokenUsage(5, 0, 2),
        ),
        ({"prompt_tokens": 0, "completion_tokens": 5, "completion_tokens_details": None}, TokenUsage(0, 5)),
    ],
)
def test_a_canonical_usage_object_is_tokens(told: Any, used: TokenUsage) -> None:
    assert parse_usage(told) == used


def test_more_tokens_than_a_request_can_use_are_not_believed() -> None:
    small, unknown = Upstream("up", "m", facts=ModelFacts(max_output=500)), Upstream("up", "m")
    image: Json = {"type": "image_url", "image_url": {"url": "https://x/y.png"}}
    seen: Json = {"messages": [{"role": "user", "content": [image, image]}]}
    function: Json = {**ASK, "tools": [{"type": "function", "function": {"name": "f"}}]}
    added = 131_072
    for body, size, target, most in (
        (ASK, 100, unknown, TokenUsage(400 + added, 10**6)),
        (ASK, 100, small, TokenUsage(400 + added, 500)),
        ({**ASK, "n": 3}, 100, small, TokenUsage(400 + added, 1500)),
        (seen, 100, small, TokenUsage(400 + added + 100_000, 500)),
        (function, 100, small, TokenUsage(400 + added, 500)),
        ({"input": ["x"]}, 100, unknown, TokenUsage(400 + added)),
    ):
        assert believable(most, measure(body, size, False), target)
        assert believable(NO_USAGE, measure(body, size, False), target)
        assert not believable(replace(most, prompt=most.prompt + 1), measure(body, size, False), target)
        assert not believable(replace(most, completion=2 * 10**6), measure(body, size, False), target)
    assert not believable(TokenUsage(5, 501), measure(ASK, 100, False), small)
    assert believable(TokenUsage(400 + added + 10**6, 500), measure(ASK, 100, False, searches=True), small)


def test_the_text_of_a_long_request() -> None:
    assert measure({"input": ["x" * 10**6]}, 10**6 + 20, False).likely == 250_000
    assert measure({"input": [[1] * 10**5]}, 10**6, False).likely == 100_000


def test_the_bytes_of_an_image_are_no_tokens() -> None:
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 10**6}}
    text = {"type": "text", "text": "世界" * 20_000}
    with_image = measure({"messages": [{"role": "user", "content": [image, text]}]}, 10**6, False).likely
    without = measure({"messages": [{"role": "user", "content": [text]}]}, 10**6, False).likely
    assert with_image - without == 1000
    assert without == pytest.approx(20_000 * 6 / 4, rel=0.01)
    deep: Any = []
    for _ in range(5000):
        deep = [deep]
    assert measure({"messages": [], "documents": deep}, 10**6, False).likely == 0  # it says nothing


@pytest.mark.parametrize(
    ("size", "deltas", "tokens"), [(0, 0, 0), (0, 5, 0), (40, 10, 10), (100, 10, 10), (101, 10, 26), (4000, 3, 1000)]
)
def test_streamed_pieces_are_tokens_unless_they_are_lumps(size: int, deltas: int, tokens: int) -> None:
    assert streamed_estimate(size, deltas) == tokens


PEAK = {"peak": ("01:00-04:00", "22:30-00:30"), "peak_days": "mon-fri"}


@pytest.mark.parametrize(
    ("moment", "micro"),
    [
        ("2026-11-27T00:59:59", 60),  # a Friday
        ("2026-11-27T01:00:00", 120),
        ("2026-11-27T03:59:59", 120),
        ("2026-11-27T04:00:00", 60),
        ("2026-11-27T22:30:00", 120),
        ("2026-11-27T00:29:59", 120),
        ("2026-11-27T00:30:00", 60),
        ("2026-11-28T02:00:00", 60),  # a Saturday
        ("2026-11-30T02:00:00", 120),  # a Monday
        (None, 120),  # a reservation knows no time
    ],
)
def test_off_peak_a_request_costs_less(moment: str | None, micro: int) -> None:
    facts = ModelFacts(price=Price(input=1, output=2), off_peak=OffPeak(input=0.5, output=1, **PEAK))
    target = Upstream("p", "m", facts=facts)
    at = datetime.fromisoformat(f"{moment}+00:00").timestamp() if moment else None
    assert cost(TokenUsage(100, 10), target, at=at) == micro


def test_deepseek_is_cheaper_outside_of_peking_office_hours() -> None:
    deepseek = to("deepseek", "deepseek-v4-pro")
    friday = datetime(2026, 11, 27, tzinfo=UTC).timestamp()
    used = TokenUsage(1_000_000, 0)
    assert [cost(used, deepseek, at=friday + hour * 3600) for hour in (0, 2, 5, 8, 12)] == [
        660_000, 1_320_000, 660_000, 1_320_000, 660_000,
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("host", "usage", "micro"),
    [
        ("openrouter", {"cost": 0.0001017}, 102),
        ("openrouter", {"cost": 0}, 0),
        ("openrouter", {"cost": 3}, 3_000_000),
        ("xai", {"cost_in_usd_ticks": 1_330_500}, 134),
        ("perplexity", {"cost": {"total_cost": 0.005, "request_cost": 0.005}}, 5000),
        *(
            ("openrouter", {"cost": value}, None)
            for value in (-1, 1e9, float("nan"), float("inf"), True, "1", None, {}, 10**400)
        ),
        ("openrouter", {}, None),
        ("openrouter", None, None),
        ("perplexity", {"cost": 1}, None),
        ("openai", {"cost": 1}, None),  # which tells none: whoever does, is not OpenAI
    ],
)
def test_what_an_upstream_says_a_request_has_cost(host: str, usage: Any, micro: int | None) -> None:
    assert told_cost(usage, Upstream(host, "m", host=HOSTS[host])) == micro
