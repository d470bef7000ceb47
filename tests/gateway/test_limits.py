"""Limits and budgets: no interleaving of requests exceeds them, and nothing stays reserved."""

from datetime import UTC, datetime
from math import ceil, inf

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from dialects.contract import HeaderForm
from gateway.limits import KINDS, LimitCounters, Limits, Reservation, dollars, header_names, headers
from gateway.spending import SlidingWindow, Spent, period_at, period_of
from providers.errors import BudgetExceeded, Failure, RateLimitExceeded

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC).timestamp()
DAY = 86_400.0


class Interleavings(RuleBasedStateMachine):
    """Requests come, end, fail and are cancelled in any order, while both clocks go on, and one is set back at times."""

    @initialize(
        rpm=st.integers(0, 5), tpm=st.integers(0, 50), concurrency=st.integers(0, 3), budget=st.integers(0, 50),
        period=st.sampled_from(["day", "month", "total"]),
    )  # fmt: skip
    def begin(self, rpm: int, tpm: int, concurrency: int, budget: int, period: str) -> None:
        self.limits = Limits(rpm, tpm, concurrency, budget, period)
        self.account = LimitCounters(self.limits)
        self.now, self.wall = 1000.0, NOON
        self.running: list[Reservation] = []
        self.sent: list[float] = []  # when requests were let in
        self.used: list[tuple[float, int]] = []  # when tokens were booked, how many
        self.spent: dict[str, int] = {}  # period → micro-USD

    @rule(tokens=st.integers(0, 60), cost=st.integers(0, 60))
    def come(self, tokens: int, cost: int) -> None:
        before = self.account.remaining(self.now)
        try:
            reservation = self.account.reserve(tokens, cost, self.now, self.wall)
        except Failure as failure:
            assert isinstance(failure, RateLimitExceeded)
            limits = self.limits
            ever = not (limits.tpm and tokens > limits.tpm) and not (limits.budget and cost > limits.budget)
            ever = ever and (
                limits.period != "total" or failure.code != "budget_exceeded" or failure.should_retry is None
            )
            # A time is named where waiting helps, and nowhere else. (What is looked at first is said first.)
            assert (failure.retry_after is not None and failure.retry_after > 0) or not ever
            assert self.account.remaining(self.now) == before  # a refusal takes nothing
            return
        self.running.append(reservation)
        self.sent.append(self.now)

    @precondition(lambda self: self.running)
    @rule(data=st.data(), tokens=st.integers(0, 60), cost=st.integers(0, 60))
    def need_more(self, data: st.DataObject, tokens: int, cost: int) -> None:
        reservation = data.draw(st.sampled_from(self.running))
        before = reservation.tokens, reservation.cost
        wanted = max(tokens, before[0]), max(cost, before[1])
        enough = self.account.extend(reservation, tokens, cost, self.now, self.wall)
        assert (reservation.tokens, reservation.cost) == (wanted if enough else before)
        assert enough or wanted != before  # what is held already is never refused

    @precondition(lambda self: self.running)
    @rule(data=st.data(), share=st.floats(0, 1))
    def end(self, data: st.DataObject, share: float) -> None:
        """share: how much of its estimate the request used; 0 is what a cancelled one used."""
        reservation = self.running.pop(data.draw(st.integers(0, len(self.running) - 1)))
        tokens, cost = int(reservation.tokens * share), int(reservation.cost * share)
        self.account.settle(reservation, tokens, cost, self.now)
        self.used.append((self.now, tokens))
        period = period_of(self.limits.period, reservation.day)
        self.spent[period] = self.spent.get(period, 0) + cost

    @rule(seconds=st.floats(0, 90))
    def wait(self, seconds: float) -> None:
        self.now += seconds
        self.wall += seconds

    @rule(days=st.sampled_from([-1, 1, 31]))
    def jump(self, days: int) -> None:
        self.wall += days * DAY

    @invariant()
    def holds(self) -> None:
        if not hasattr(self, "limits"):
            return
        limits, account = self.limits, self.account
        since = self.now - 60
        reserved = sum(reservation.tokens for reservation in self.running)
        assert not limits.rpm or sum(at >= since for at in self.sent) <= limits.rpm
        assert not limits.tpm or sum(n for at, n in self.used if at >= since) + reserved <= limits.tpm
        assert not limits.concurrency or len(self.running) <= limits.concurrency
        if limits.budget:
            period, of = limits.period, period_of(limits.period, account._spent.day)
            held = sum(reservation.cost for reservation in self.running if period_of(period, reservation.day) == of)
            assert self.spent.get(of, 0) + held <= limits.budget
            assert (account.spent, account.reserved_cost) == (self.spent.get(of, 0), held)

    def teardown(self) -> None:
        if not hasattr(self, "limits"):
            return
        for reservation in self.running:
            self.account.settle(reservation, 0, 0, self.now)
        account = self.account
        assert (account.running, account.reserved_tokens, account.reserved_cost) == (0, 0, 0)
        standing = account.remaining(self.now + 61)
        limits = (("requests", self.limits.rpm), ("tokens", self.limits.tpm))
        assert standing == [(header, cap, cap, 0) for header, cap in limits if cap]


TestInterleavings = Interleavings.TestCase
TestInterleavings.settings = settings(max_examples=80, stateful_step_count=40, deadline=None)


@given(st.lists(st.tuples(st.floats(0, 30), st.integers(0, 9)), max_size=40), st.integers(0, 100))
def test_a_window_holds_what_came_in_the_last_minute_and_knows_when_there_is_room(
    steps: list[tuple[float, int]], room: int
) -> None:
    window, now, all = SlidingWindow(60), 0.0, []
    for pause, amount in steps:
        now += pause
        window.sum(now)
        window.add(amount, now)
        all.append((now, amount))
    exact = sum(amount for at, amount in all if at > now - 60)
    late = sum(amount for at, amount in all if at > now - 61)
    assert exact <= window.sum(now) <= late
    wait = window.wait(room, now)
    assert (wait == 0) == (window.sum(now) <= room)
    assert wait <= 61
    assert window.sum(now + wait) <= room


@given(
    st.lists(st.tuples(st.sampled_from([0, 0.25, 1, 2, 59.5, 60, 61]), st.integers(0, 9)), max_size=40),
    st.floats(0, 70),
    st.integers(-3, 100),
)
def test_a_window_counts_as_a_list_of_all_amounts_does(steps: list[tuple[float, int]], pause: float, room: int) -> None:
    """However often it is asked in between: each second's amounts are there until 61 s after its begin, and then gone."""
    window, asked, now, all = SlidingWindow(60), SlidingWindow(60), 1000.0, []
    for wait, amount in steps:
        now += wait
        window.add(amount, now)
        asked.add(amount, now)
        all.append((int(now) + 61, amount))
        assert asked.sum(now) == sum(n for end, n in all if end > now)
    now += pause
    here = [(end, n) for end, n in all if end > now and n]
    ends = [ceil(end - now) for end, _ in here]
    waits = [each for each in ends if sum(n for end, n in here if ceil(end - now) > each) <= room]
    needed = 0 if sum(n for _, n in here) <= room else min(waits, default=max(ends, default=0))
    for each in (window, asked):
        assert each.wait(room, now) == needed
        assert (each.sum(now), each.reset(now)) == (sum(n for _, n in here), max(ends, default=0))


@given(
    st.lists(
        st.tuples(st.sampled_from(["a", "b"]), st.integers(0, 9), st.sampled_from([-40, -1, 0]), st.integers(0, 40)),
        max_size=30,
    )
)
def test_what_keys_have_spent_is_the_sum_of_their_requests(steps: list[tuple[str, int, int, int]]) -> None:
    """Requests may have begun on an earlier day, and another process may tell of more at any time."""
    spent, wall, all = Spent(), NOON, []
    for name, cost, begun, days in steps:
        wall += (days if days > 30 else days % 2) * DAY
        today = spent.roll(wall)
        day, _ = period_at("day", wall + begun * DAY)
        spent.add(name, day, cost)
        all.append((name, day, cost))
        if cost == 9:  # the month has cost 5 more than is known here
            spent.learn("month", today, spent.copy()["month"], {name: spent.of(name, "month") + 5})
            all.append((name, f"{today[:7]} only", 5))
        for each in ("a", "b"):
            told = [(day, cost) for name, day, cost in all if name == each]
            of_day = sum(cost for day, cost in told if day == today)
            of_month = sum(cost for day, cost in told if day[:7] == today[:7])
            in_all = sum(cost for day, cost in told if not day.endswith("only"))
            found = [spent.of(each, period) for period in ("day", "month", "total")]
            assert found == [of_day, of_month, in_all]
            assert [spent.copy()[period].get(each, 0) for period in ("day", "month", "total")] == found


@pytest.mark.parametrize(
    ("limits", "code", "kind", "wait", "words"),
    [
        (Limits(rpm=1), "rate_limit_exceeded", RateLimitExceeded, 61, "may send 1 request per minute. Try again in 61 s."),
        (Limits(tpm=10), "rate_limit_exceeded", RateLimitExceeded, 1, "may use 10 tokens per minute. Try again in 1 s."),
        (Limits(concurrency=1), "rate_limit_exceeded", RateLimitExceeded, 1, "1 request at once"),
        (Limits(budget=10), "budget_exceeded", RateLimitExceeded, 1, "0.000006 are reserved by requests that still run"),
    ],
)  # fmt: skip
def test_a_second_request_is_refused(limits: Limits, code: str, kind: type, wait: int, words: str) -> None:
    account = LimitCounters(limits)
    account.reserve(6, 6, 1000.0, NOON)
    with pytest.raises(kind) as caught:
        account.reserve(5, 4 + 1, 1000.0, NOON)
    assert (caught.value.code, caught.value.retry_after) == (code, wait)
    assert words in caught.value.message


@pytest.mark.parametrize(
    ("period", "wait", "words"),
    [
        ("day", DAY / 2, "budget of $0.00001 a day does not cover this request, which may cost $0.000005: $0.00001 are "
                         "spent. It resets at 2026-11-24T00:00:00Z."),
        ("month", 7.5 * DAY, "It resets at 2026-12-01T00:00:00Z."),
        ("total", None, "It does not reset"),
    ],
)  # fmt: skip
def test_a_spent_budget_says_when_it_resets(period: str, wait: float | None, words: str) -> None:
    account = LimitCounters(Limits(budget=10, period=period))
    account.settle(account.reserve(1, 10, 0.0, NOON), 1, 10, 0.0)
    with pytest.raises(BudgetExceeded) as caught:
        account.reserve(1, 5, 1.0, NOON)
    assert (caught.value.status, caught.value.type, caught.value.code) == (429, "rate_limit_error", "budget_exceeded")
    assert (caught.value.retry_after, caught.value.should_retry) == (wait, False)
    assert words in caught.value.message


@pytest.mark.parametrize(
    ("limits", "words"),
    [
        (Limits(tpm=10), "it may use 11 tokens, and this key may use 10 per minute"),
        (Limits(budget=10, period="day"), "which may cost $0.000011: $0.00 are spent. Send a shorter prompt, or a smaller"),
        (Limits(budget=10, period="total"), "which may cost $0.000011: $0.00 are spent. Send a shorter prompt"),
    ],
)  # fmt: skip
def test_a_request_larger_than_the_limit_is_told_so_and_no_time_to_wait(limits: Limits, words: str) -> None:
    with pytest.raises(BudgetExceeded) as caught:
        LimitCounters(limits).reserve(11, 11, 0.0, NOON)
    assert words in caught.value.message
    assert (caught.value.retry_after, caught.value.should_retry) == (None, False)


def test_what_was_used_beyond_the_estimate_is_booked_and_waited_for() -> None:
    account = LimitCounters(Limits(tpm=100, budget=100))
    account.settle(account.reserve(10, 10, 0.0, NOON), 150, 99, 0.0)
    with pytest.raises(RateLimitExceeded, match="61 s"):
        account.reserve(1, 1, 0.0, NOON)
    account.reserve(1, 1, 61.0, NOON)
    with pytest.raises(BudgetExceeded):
        account.reserve(1, 2, 61.0, NOON)


def test_a_budget_is_new_in_a_new_period_and_a_clock_set_back_brings_no_second_one() -> None:
    account = LimitCounters(Limits(budget=10, period="day"))
    running = account.reserve(1, 4, 0.0, NOON)
    account.settle(account.reserve(1, 6, 0.0, NOON), 1, 6, 0.0)
    account.reserve(1, 10, 0.0, NOON + DAY)
    account.settle(running, 1, 4, 0.0)  # yesterday's: not of today's budget
    assert (account.spent, account.reserved_cost) == (0, 10)
    with pytest.raises(Failure):
        account.reserve(1, 1, 0.0, NOON)


def test_a_budget_of_another_kind_of_period_takes_over_what_runs() -> None:
    account = LimitCounters(Limits(budget=10, period="day"))
    account.settle(account.reserve(1, 3, 0.0, NOON - DAY), 1, 3, 0.0)
    running = account.reserve(1, 4, 0.0, NOON)
    assert (account.spent, account.reserved_cost) == (0, 4)
    account.apply(Limits(budget=10, period="month"))
    assert (account.spent, account.reserved_cost) == (3, 4)
    with pytest.raises(RateLimitExceeded, match="reserved by requests that still run"):
        account.reserve(1, 4, 0.0, NOON)
    account.settle(running, 1, 2, 0.0)
    assert (account.spent, account.reserved_cost) == (5, 0)
    old = account.reserve(1, 5, 0.0, NOON)
    with pytest.raises(BudgetExceeded):
        account.reserve(1, 11, 0.0, NOON + 40 * DAY)
    account.settle(old, 1, 5, 0.0)
    assert (account.spent, account.reserved_cost) == (0, 0)
    account.apply(Limits(budget=10, period="total"))
    assert account.spent == 10


def test_what_ends_twice_is_given_back_and_counted_once() -> None:
    account = LimitCounters(Limits(tpm=100, concurrency=9, budget=100))
    first, second = account.reserve(10, 10, 0.0, NOON), account.reserve(20, 20, 0.0, NOON)
    for _ in range(2):
        account.settle(first, 5, 4, 0.0)
    assert (account.running, account.reserved_tokens, account.reserved_cost, account.spent) == (1, 20, 20, 4)
    assert account.remaining(0.0) == [("tokens", 100, 100 - 20 - 5, 61)]
    account.settle(second, 0, 0, 0.0)
    assert (account.running, account.reserved_tokens, account.reserved_cost, account.spent) == (0, 0, 0, 4)


def test_sums_that_are_read_while_requests_end_are_neither_lost_nor_counted_twice() -> None:
    spent = Spent()
    day = spent.roll(NOON)
    spent.add("k", day, 5)
    before = spent.copy()["month"]
    spent.add("k", day, 7)
    spent.add("new", day, 1)
    spent.learn(
        "month", day, before, {"k": 105, "gone": 3}
    )  # the ledger knew 100 more: of before, or of another process
    assert [spent.of(name, "month") for name in ("k", "new", "gone")] == [112, 1, 3]
    spent.learn("month", day, spent.copy()["month"], {"k": 9})  # the file was lost
    assert spent.of("k", "month") == 112
    assert [spent.of("k", period) for period in ("day", "total")] == [12, 12]
    stale = spent.copy()["day"]
    spent.roll(NOON + DAY)
    spent.learn("day", day, stale, {"k": 99})  # midnight has come while they were read
    assert [spent.of("k", period) for period in ("day", "month", "total")] == [0, 112, 12]


@pytest.mark.parametrize(
    ("period", "at", "name", "ends"),
    [
        ("day", "2026-12-31T23:59:59Z", "2026-12-31", "2027-01-01T00:00:00Z"),
        ("month", "2026-12-31T23:59:59Z", "2026-12", "2027-01-01T00:00:00Z"),
        ("month", "2028-02-29T00:00:00Z", "2028-02", "2028-03-01T00:00:00Z"),
    ],
)
def test_periods_are_utc(period: str, at: str, name: str, ends: str) -> None:
    wall, end = datetime.fromisoformat(at).timestamp(), datetime.fromisoformat(ends).timestamp()
    assert period_at(period, wall) == (name, end)
    assert period_at("total", wall) == ("total", 0.0)
    assert period_at("total", wall)[1] != inf


def test_headers_name_the_limits_there_are() -> None:
    account = LimitCounters(Limits(rpm=10, tpm=100))
    account.settle(account.reserve(40, 0, 1000.5, NOON), 25, 0, 1001.5)
    account.reserve(30, 0, 1002.0, NOON)
    assert headers(account.remaining(1003.0)) == {
        "x-ratelimit-limit-requests": "10",
        "x-ratelimit-remaining-requests": "8",
        "x-ratelimit-reset-requests": "60s",
        "x-ratelimit-limit-tokens": "100",
        "x-ratelimit-remaining-tokens": "45",
        "x-ratelimit-reset-tokens": "59s",
    }
    assert headers(LimitCounters(Limits(concurrency=1)).remaining(0.0)) == {}


def test_every_kind_of_limit_is_a_row() -> None:
    assert {kind.name for kind in KINDS} == {*Limits.__struct_fields__} - {"period"}
    assert [kind.name for kind, _ in Limits(rpm=1, budget=2).rows] == ["rpm", "budget"]
    assert header_names(HeaderForm(limits="{of}-{value}")) == [
        *("requests-limit", "requests-remaining", "requests-reset", "tokens-limit", "tokens-remaining", "tokens-reset"),
    ]


@pytest.mark.parametrize(
    ("micro", "text"), [(0, "0.00"), (5_000_000, "5.00"), (1_234_560, "1.23456"), (1, "0.000001"), (500_000, "0.50")]
)
def test_dollars(micro: int, text: str) -> None:
    assert dollars(micro) == text
