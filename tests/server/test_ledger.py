"""What one request is booked with, however it ends."""

from typing import Any

import pytest
from translators import made_call

from gateway.estimates import Prompt
from gateway.pricing import TokenUsage
from gateway.record import RequestRecord
from providers.contract import Upstream
from providers.errors import Failure, Overloaded, UpstreamBadOutput, UpstreamTimeout, UpstreamTruncated
from providers.models import ModelFacts, Price
from server.outbound.exchange import Exchange
from server.usage.meter import UsageMeter
from server.usage.rows import UsageRow

CHEAP = Upstream("cheap", "m", facts=ModelFacts(price=Price(input=1, output=2)))
DEAR = Upstream("dear", "m", facts=ModelFacts(price=Price(input=10, output=20)))
UNKNOWN = Upstream("unknown", "m")
CALL = made_call()
USAGE = {"prompt_tokens": 100, "completion_tokens": 10, "total_tokens": 110}


def entry(to: Upstream | None) -> UsageMeter:
    """An open request of 100 tokens by estimate, that `to` has been asked."""
    made = UsageMeter(RequestRecord("req", 0.0, "k", "m"), Prompt(100, 0, 10**9, 1, None), CHEAP, 0.0)
    made.exchange = Exchange(to, CALL, 1.0) if to else None
    return made


def failure(kind: type[Failure], usage: Any = None, code: str | None = None) -> Failure:
    made = kind("no", code=code) if code else kind("no")
    made.usage = usage
    return made


def delta(text: str, **more: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": {"content": text, **more}}]}


def test_what_the_upstream_counted() -> None:
    one = entry(CHEAP)
    one.usage = USAGE
    one.settle(200)
    assert (one.used, one.cost, one.estimated, one.status) == (TokenUsage(100, 10), 120, False, 200)
    assert (one.row().prompt, one.row().cost, one.row().upstream) == (100, 120, "cheap/m")


def test_a_failed_attempt_that_was_paid_for_is_added_at_its_own_price() -> None:
    one = entry(DEAR)
    one.attempt_failed(failure(UpstreamTruncated, USAGE))
    one.exchange = Exchange(CHEAP, CALL, 1.0)
    one.usage = USAGE
    one.settle(200)
    assert (one.used, one.cost, one.estimated) == (TokenUsage(200, 20), 1200 + 120, True)


@pytest.mark.parametrize(
    ("error", "used"),
    [
        (failure(Overloaded), TokenUsage(100, 2)),  # it had begun to answer
        (failure(UpstreamTimeout, code="upstream_idle_timeout"), TokenUsage(100, 2)),
        (failure(UpstreamTruncated), TokenUsage(100, 2)),
        (failure(UpstreamTruncated, USAGE), TokenUsage(100, 10)),
    ],
)
def test_failures_before_anything_was_sent(error: Failure, used: TokenUsage) -> None:
    one = entry(CHEAP)
    assert one.exchange is not None
    one.exchange.held_back = [delta("Hello ", role="assistant"), delta("you")]
    one.attempt_failed(error)
    one.attempt_failed(error)  # there is no one left who could fail
    one.settle(502)
    assert (one.used, one.cost, one.estimated) == (used, used.prompt + 2 * used.completion, used != TokenUsage())


@pytest.mark.parametrize(
    ("error", "used"),
    [
        (failure(Overloaded), TokenUsage()),
        (failure(UpstreamTimeout, code="upstream_connect_timeout"), TokenUsage()),
        (failure(UpstreamBadOutput), TokenUsage(100)),
    ],
)
def test_failures_before_anything_was_said(error: Failure, used: TokenUsage) -> None:
    one = entry(CHEAP)
    assert one.exchange is not None
    one.exchange.held_back = [delta("", role="assistant")]
    one.attempt_failed(error)
    one.settle(502)
    assert (one.used, one.cost) == (used, used.prompt)


def test_what_was_told_at_the_start_of_a_broken_answer_is_not_all_there_was() -> None:
    """Claude and Gemini count one token in their first event, and all of them in the last."""
    one = entry(CHEAP)
    one.record.first = 1.0
    for _ in range(50):
        one.count_chunk(delta("word "))
    one.stream_failed(failure(UpstreamTruncated, {"prompt_tokens": 90, "completion_tokens": 1, "total_tokens": 91}))
    one.settle(200)
    assert (one.used, one.estimated) == (TokenUsage(90, 50), True)


@pytest.mark.parametrize("tier", [["priority"], [[]], {"a": 1}, [None], 5, True])
def test_a_tier_of_any_type_is_settled(tier: Any) -> None:
    one = entry(CHEAP)
    one.count_answer({"usage": USAGE, "service_tier": tier, "choices": []})
    one.settle(200)
    assert (one.used, one.cost) == (TokenUsage(100, 10), 120)


def test_an_answer_that_breaks_off_is_what_was_counted_or_else_what_was_streamed() -> None:
    for told, used in ((USAGE, TokenUsage(100, 10)), (None, TokenUsage(100, 3))):
        one = entry(CHEAP)
        one.record.first = 1.0
        for text in ("Hello ", "", "you ", "there"):
            one.count_chunk(delta(text))
        one.stream_failed(failure(UpstreamTruncated, told))
        one.settle(200)
        assert (one.used, one.estimated) == (used, True)


def test_a_client_that_leaves_pays_for_the_prompt_and_a_fault_of_ours_costs_nothing() -> None:
    for status, used in ((499, TokenUsage(100)), (500, TokenUsage())):
        one = entry(CHEAP)
        one.settle(status)
        assert one.used == used
    nobody_asked = entry(None)
    nobody_asked.settle(499)
    assert (nobody_asked.used, nobody_asked.cost) == (TokenUsage(), 0)


def test_an_unknown_price_makes_the_sum_unknown() -> None:
    one = entry(UNKNOWN)
    one.attempt_failed(failure(UpstreamTruncated, USAGE))
    one.exchange, one.usage = Exchange(CHEAP, CALL, 1.0), USAGE
    one.settle(200)
    assert one.cost is None


def test_a_host_that_does_not_count_is_counted_by_its_text() -> None:
    one = entry(CHEAP)
    one.record.first = 1.0
    message = {"role": "assistant", "content": "字" * 40, "tool_calls": [{"function": {"arguments": "x" * 40}}]}
    one.count_answer(
        {"choices": [{"index": 0, "message": message}], "usage": {"prompt_tokens": 0, "completion_tokens": 0}}
    )
    one.settle(200)
    assert (one.used, one.estimated) == (TokenUsage(100, 40), True)  # (40 × 3 + 40) / 4


def test_an_open_row_holds_the_prompt_in_case_the_process_dies() -> None:
    row = entry(DEAR).opened().row()
    assert row == UsageRow(
        0, 0, "req", "k", "m", "cheap/m", False, None, "", 100, 0, 0, 0, 100, False, None, None, 0, 100
    )


def test_text_at_any_depth_is_counted_without_an_end_to_the_stack() -> None:
    one = entry(CHEAP)
    deep: Any = "x" * 4
    for _ in range(40):
        deep = [{"a": deep}] if _ % 2 else deep
    one.count_chunk(delta("Hello", deep=deep))
    assert one.sent == 9
    for _ in range(100_000):
        deep = [deep]
    one.count_chunk(delta("Hello", deep=deep))
    assert one.sent == 14  # nobody's answer is nested like that
