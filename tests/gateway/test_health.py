"""Which target and key a request asks next: gateway/failover.py, with time and chance in the test's hand."""

import sys
from collections import Counter
from collections.abc import Callable
from copy import deepcopy
from typing import Any

import pytest
from msgspec.structs import replace

from gateway.config_schema import Cooldown
from gateway.failover import Attempt, CircuitBreakers, Unwell
from gateway.metrics import Fault, Histogram, Metrics, percentile
from gateway.record import RequestRecord
from gateway.routing import Target
from gateway.scrub import Scrubber
from providers.contract import Upstream
from providers.errors import (
    BadRequest,
    Failure,
    ModelNotFound,
    Overloaded,
    QuotaExhausted,
    RateLimitExceeded,
    Unsupported,
    UpstreamAuthError,
    UpstreamError,
    UpstreamTimeout,
    UpstreamTruncated,
)

RULES = Cooldown(failures=3, seconds=10.0, refused_key_seconds=300.0)


def target(name: str, weight: float = 0.0, keys: tuple[str, ...] = ()) -> Target:
    return Target(Upstream(name, "m", f"https://{name}.example", keys[0] if keys else "k", api_keys=keys), {}, weight)


A, B = target("a"), target("b")
PAIR = target("pair", keys=("one", "two"))


def health(chance: float = 0.0) -> CircuitBreakers:
    return CircuitBreakers(RULES, lambda: chance)


def answered_with(failure: Failure, status: int = 0, unsent: bool = False) -> Failure:
    failure.upstream_status, failure.not_sent = status, unsent
    return failure


def play(
    health: CircuitBreakers, targets: list[Target], *failures: Failure | None, now: float = 100.0
) -> list[tuple[str, float]]:
    """Which targets a request asks, and after which wait, when its attempts end like this (None: well, and no more)."""
    attempts = health.attempts(targets, now + 60)
    asked: list[tuple[str, float]] = []
    for failure in failures:
        attempt = attempts.next(now)
        if attempt is None:
            return asked
        asked.append((attempt.target.upstream.name, attempt.wait))
        if failure is None:
            attempts.answered()
            return asked
        attempts.failed(failure, now)
    assert attempts.next(now) is None, "a further attempt"
    return asked


BUSY = answered_with(Overloaded("busy"), 503)


def test_targets_are_asked_in_order_until_one_answers() -> None:
    assert play(health(), [A, B], None) == [("a", 0)]
    assert play(health(), [A, B], UpstreamTruncated(), None) == [("a", 0), ("b", 0)]
    assert play(health(), [A, B], UpstreamTruncated(), UpstreamTimeout("x")) == [("a", 0), ("b", 0)]


def test_a_failure_that_no_other_target_helps_is_raised() -> None:
    with pytest.raises(BadRequest):
        play(health(), [A, B], BadRequest("x"))


def test_the_last_failure_is_the_answer() -> None:
    attempts = health().attempts([A, B], 1e9)
    assert isinstance(attempts.last, ModelNotFound)
    first, second = UpstreamTruncated(), Unsupported("x")
    for failure in (first, second):
        assert attempts.next(0)
        attempts.failed(failure, 0)
    assert attempts.next(0) is None and attempts.last is second


@pytest.mark.parametrize(
    ("failure", "wait"),
    [
        (answered_with(UpstreamError("x", code="upstream_connect"), unsent=True), 0.1),
        (BUSY, 0.1),
        (answered_with(Overloaded("x", retry_after=2), 529), 2.1),
        (answered_with(UpstreamError("x"), 502), 0.1),
        (answered_with(RateLimitExceeded("x", retry_after=1.5), 429), 1.6),
    ],
)
def test_one_more_try_where_no_work_was_done(failure: Failure, wait: float) -> None:
    assert play(health(), [A], failure, failure) == [("a", 0), ("a", wait)]
    assert play(health(), [B, A], UpstreamTruncated(), failure, None) == [("b", 0), ("a", 0), ("a", wait)]


@pytest.mark.parametrize(
    "failure",
    [
        answered_with(UpstreamError("x", code="upstream_tls"), unsent=True),
        answered_with(UpstreamError("x", code="upstream_dns"), unsent=True),
        answered_with(UpstreamTimeout("x", code="upstream_connect_timeout"), unsent=True),
        answered_with(UpstreamError("x"), 500),
        answered_with(UpstreamTimeout("x"), 504),
        answered_with(RateLimitExceeded("x"), 429),
        answered_with(RateLimitExceeded("x", retry_after=3), 429),
        answered_with(Overloaded("x", retry_after=3), 503),
        answered_with(QuotaExhausted("x"), 503),
        Overloaded("an event in a stream"),
        Overloaded("x", code="provider_busy", retry_after=1),
        UpstreamError("closed without an answer"),
        UpstreamTruncated(),
    ],
)
def test_no_second_try_where_it_might_be_paid_twice_or_take_long(failure: Failure) -> None:
    assert play(health(), [A], failure) == [("a", 0)]


def test_jitter_is_added_to_the_wait() -> None:
    assert play(health(1.0), [A], BUSY, None)[1][1] == pytest.approx(0.3)


def test_retries_are_a_tenth_of_the_traffic() -> None:
    ill = CircuitBreakers(Cooldown(failures=100_000), lambda: 0.0)
    tries = sum(len(play(ill, [A], BUSY, BUSY)) - 1 for _ in range(300))
    assert tries == 39  # ten at once, then one in ten


def test_no_attempt_after_the_deadline() -> None:
    attempts = health().attempts([A, B], deadline=50)
    assert attempts.next(60)  # the first always
    attempts.failed(UpstreamTruncated(), 70)
    assert attempts.next(70) is None
    attempts = health().attempts([A], deadline=50)
    assert attempts.next(49.95)
    attempts.failed(BUSY, 49.95)
    assert attempts.next(49.95) is None  # the wait would end behind it


def test_a_target_rests_after_failures_in_a_row_and_one_trial_decides() -> None:
    ill = health()
    bad = answered_with(UpstreamError("x"), 500)
    for _ in range(2):
        play(ill, [A], bad)
    play(ill, [A], None)  # not in a row
    for _ in range(3):
        play(ill, [A], bad)
    assert ill.open_circuits(100) == {"a": 1} and ill.open_circuits(110.5) == {}
    attempts = ill.attempts([A], 1e9)
    assert attempts.next(101) is None
    assert (attempts.last.status, attempts.last.code, attempts.last.retry_after) == (503, "provider_unavailable", 9.0)
    assert play(ill, [A, B], None, now=101) == [("b", 0)]

    trial, late = ill.attempts([A], 1e9), ill.attempts([A, B], 1e9)
    assert trial.next(111) == Attempt(A)
    assert late.next(111) == Attempt(B)  # one trial at a time
    trial.failed(bad, 112)
    assert ill.open_circuits(131.9) == {"a": 1} and ill.open_circuits(132.1) == {}  # twice as long
    trial = ill.attempts([A], 1e9)
    assert trial.next(133) == Attempt(A)
    trial.answered()
    assert ill.open_circuits(133) == {} and play(ill, [A], None, now=133) == [("a", 0)]


def test_what_is_not_as_it_should_be_is_told_and_not_changed() -> None:
    ill = health()
    bad = answered_with(UpstreamError("x"), 500)
    play(ill, [A], bad)
    assert ill.unwell(100) == [Unwell("a", A.upstream.model, "failing", 1)]
    for _ in range(2):
        play(ill, [A], bad)
    assert ill.unwell(104) == [Unwell("a", A.upstream.model, "cooling_down", 3, 6.0)]
    assert ill.unwell(110) == ill.unwell(111) == [Unwell("a", A.upstream.model, "trial", 3)]
    trial = ill.attempts([A], 1e9)
    assert trial.next(112) == Attempt(A)
    assert ill.unwell(115) == [Unwell("a", A.upstream.model, "trial", 3, 7.0)]  # until then the others wait for its end
    trial.answered()
    assert ill.unwell(115) == []
    ill.failed(A.upstream, RateLimitExceeded("x", retry_after=30.0), 200)
    ill.failed(B.upstream, UpstreamAuthError("x"), 200)
    assert ill.unwell(210) == [
        Unwell("a", A.upstream.model, "throttled", seconds=20.0),
        Unwell("b", "", "key_refused", seconds=290.0),
    ]
    assert ill.unwell(231) == [Unwell("b", "", "key_refused", seconds=269.0)] and ill.unwell(501) == []


def refused_at_once(health: CircuitBreakers, targets: list[Target], now: float) -> bool:
    """Whether a request would be answered without asking anybody; asked of a copy, for it may become the trial."""
    return deepcopy(health).attempts(targets, 1e9).next(now) is None


def test_a_model_rests_exactly_when_a_request_would_be_refused_at_once() -> None:
    ill = health()
    said = []

    def look(now: float) -> None:
        models = [[A], [A, B], [PAIR], [PAIR, A]]
        rests = [ill.all_unavailable(targets, now) for targets in models]
        assert rests == [refused_at_once(ill, targets, now) for targets in models]
        said.append([n for n, resting in enumerate(rests) if resting])

    look(100)
    for _ in range(3):
        look(100)
        play(ill, [A], UpstreamTruncated(), now=100)
    look(101)  # A rests until 110
    play(ill, [PAIR], RateLimitExceeded("x", retry_after=4), None, now=101)  # the other key takes it
    look(102)
    play(ill, [PAIR], RateLimitExceeded("x", retry_after=3), now=102)  # which is the other key
    look(104)
    look(105.5)
    ill.failed(replace(PAIR.upstream, api_key="one"), UpstreamAuthError("x"), 106)  # a refused key: still asked
    look(106)
    look(110.5)
    assert ill.attempts([A], 1e9).next(111)  # the trial: meanwhile others are refused
    look(112)
    ill.answered(A.upstream)
    look(112)
    assert said == [[], [], [], [], [0], [0], [0, 2, 3], [0], [0], [], [0], []]


def test_a_trial_that_never_ends_blocks_for_one_rest_only() -> None:
    ill = health()
    for _ in range(3):
        play(ill, [A], UpstreamTruncated())
    assert ill.attempts([A], 1e9).next(111)  # its client leaves
    assert ill.attempts([A], 1e9).next(112) is None
    assert ill.attempts([A], 1e9).next(121.5)


def test_the_rest_grows_to_twelve_times_at_most() -> None:
    ill, now = health(), 100.0
    for _ in range(3):
        play(ill, [A], UpstreamTruncated(), now=now)
    rests = []
    for _ in range(7):
        now += 1000
        play(ill, [A], UpstreamTruncated(), now=now)
        blocked = ill.try_admit(A.upstream, now)
        assert blocked and blocked.retry_after
        rests.append(blocked.retry_after)
    assert rests == [20, 40, 80, 120, 120, 120, 120]


def test_those_under_way_when_it_was_opened_do_not_lengthen_the_rest() -> None:
    ill = health()
    running = [ill.attempts([A], 1e9) for _ in range(9)]
    for each in running:
        each.next(100)
    for n, each in enumerate(running):
        each.failed(UpstreamTruncated(), 100 + n)
    blocked = ill.try_admit(A.upstream, 108)
    assert blocked and blocked.retry_after == 4  # since the third


@pytest.mark.parametrize(
    "failure",
    [
        Overloaded("x", code="provider_busy"),
        answered_with(BadRequest("x"), 400),
        answered_with(ModelNotFound("x"), 404),
        Unsupported("x"),
        answered_with(UpstreamAuthError("x"), 401),
        answered_with(QuotaExhausted("x"), 402),
        answered_with(RateLimitExceeded("x"), 429),
    ],
)
def test_what_does_not_make_a_target_ill(failure: Failure) -> None:
    ill = health()
    for _ in range(9):
        ill.failed(A.upstream, failure, 100)
    assert ill.open_circuits(100) == {} and ill.try_admit(A.upstream, 100) is None


def test_a_client_of_echo_does_not_make_it_rest() -> None:
    echo = replace(A, upstream=replace(A.upstream, base_url=""))
    ill = health()
    for _ in range(9):
        assert play(ill, [echo], BUSY) == [("a", 0)]
    assert ill.open_circuits(100) == {}


def test_a_refused_key_is_benched_and_comes_last() -> None:
    ill = health()
    attempts = ill.attempts([PAIR, B], 1e9)
    keys = []
    for failure in (UpstreamAuthError("x"), None):
        attempt = attempts.next(100)
        assert attempt
        keys.append(attempt.target.upstream.api_key)
        if failure:
            attempts.failed(failure, 100)
    assert keys == ["one", "two"]
    assert [each.upstream.api_key for each in ill.with_each_key(PAIR, 399)] == ["two", "one"]
    assert [each.upstream.api_key for each in ill.with_each_key(PAIR, 401)] == ["one", "two"]
    assert ill.with_each_key(A, 100) == [A]


def test_the_only_key_is_asked_though_it_was_refused() -> None:
    ill = health()
    for _ in range(3):
        assert play(ill, [A], UpstreamAuthError("x")) == [("a", 0)]


def test_keys_share_the_load() -> None:
    assert [each.upstream.api_key for each in health(0.0).with_each_key(PAIR, 0)] == ["one", "two"]
    assert [each.upstream.api_key for each in health(0.9).with_each_key(PAIR, 0)] == ["two", "one"]


def test_another_key_does_not_help_where_the_target_fails() -> None:
    assert play(health(), [PAIR, B], UpstreamTimeout("x"), None) == [("pair", 0), ("b", 0)]
    assert play(health(), [PAIR, B], RateLimitExceeded("x"), RateLimitExceeded("x"), None) == [
        ("pair", 0),
        ("pair", 0),
        ("b", 0),
    ]


def test_a_throttled_key_rests_for_its_time_for_that_model() -> None:
    ill = health()
    play(ill, [A], RateLimitExceeded("x", retry_after=30))
    attempts = ill.attempts([A], 1e9)
    assert attempts.next(110) is None
    assert (attempts.last.status, attempts.last.retry_after) == (429, 20)
    assert ill.try_admit(replace(A.upstream, model="other"), 110) is None
    assert ill.try_admit(replace(A.upstream, api_key="other"), 110) is None
    assert ill.try_admit(A.upstream, 130.1) is None
    play(ill, [A], RateLimitExceeded("x", retry_after=86_400), now=200)
    assert ill.try_admit(A.upstream, 259) and not ill.try_admit(A.upstream, 261)  # no upstream silences us for a day


def test_weights_share_the_load() -> None:
    import random

    random.seed(7)
    shared = CircuitBreakers(RULES, random.random)
    first: Counter[str] = Counter()
    for _ in range(4000):
        attempt = shared.attempts([target("a", 3), target("b", 1)], 1e9).next(0)
        assert attempt
        first[attempt.target.upstream.name] += 1
    assert 0.72 < first["a"] / 4000 < 0.78
    order = shared.attempts([target("a", 3), target("b", 1)], 1e9)
    assert len(list(order._targets)) == 2  # the other one stays as a fallback


def test_invented_models_do_not_fill_the_memory() -> None:
    ill = health()
    for n in range(3000):
        ill.failed(replace(A.upstream, model=f"m{n}"), UpstreamTruncated(), 100)
        ill.failed(replace(A.upstream, model=f"m{n}"), RateLimitExceeded("x", retry_after=9), 100)
    assert len(ill._circuits) <= 1024 and len(ill._throttled) <= 1024


def record(**fields: Any) -> RequestRecord:
    made = RequestRecord("id", 10.0)
    for name, value in fields.items():
        setattr(made, name, value)
    return made


def test_what_is_counted() -> None:
    metrics = Metrics()
    metrics.seen(
        record(
            model="m", upstream="b/x", first=12.0, waited=1.5, gap=0.3, prompt=3, completion=2, cost=0.25,
            tried=[("a/x", "upstream_connect"), ("a/x", "invented by an upstream")], retried=True,
        ),
        "m", 200,
    )  # fmt: skip
    metrics.seen(record(model="m", upstream="b/x", code="upstream_truncated"), "m", 200)
    metrics.seen(record(model="m"), "m", 499)
    assert metrics.requests == {("m", "b", 200): 2, ("m", "", 499): 1}
    assert metrics.errors == {("a", "upstream_connect"): 1, ("a", "other"): 1, ("b", "upstream_truncated"): 1}
    assert metrics.tokens == {("m", "b", "prompt"): 3, ("m", "b", "completion"): 2}
    assert metrics.cost == {("m", "b"): 0.25}
    assert (metrics.retries, metrics.fallbacks, metrics.cancelled) == (1, 1, 1)
    assert metrics.first["m"].sum == 2.0 and metrics.overhead.sum == pytest.approx(0.5)
    assert metrics.gap["m"].counts[metrics.gap["m"].bounds.index(0.5)] == 1


def test_the_latest_failures_and_latencies_of_each_provider() -> None:
    metrics = Metrics()
    metrics.seen(
        record(upstream="b/x", stream=True, first=12.0, waited=1.5, tried=[("a/x", "upstream_connect")]), "m", 200
    )
    for waited in (3.0, 1.0, 2.0):
        metrics.seen(record(upstream="b/x", stream=True, first=12.0, waited=waited), "m", 200)
    metrics.seen(record(upstream="b/x", first=12.0, waited=9.0), "m", 200)
    metrics.seen(record(tried=[("a/y", "beyond_limits"), ("a/y", "budget_exceeded")]), "m", 429)  # it was not called
    metrics.seen(record(upstream="b/x", code="upstream_truncated"), "m", 200)
    begun, name = record().started, record().id
    assert {provider: [*faults] for provider, faults in metrics.faults.items()} == {
        "a": [Fault(begun, name, "a/x", "upstream_connect")],
        "b": [Fault(begun, name, "b/x", "upstream_truncated")],
    }
    # Not that of the first, which holds what another one took.
    assert {name: [[*waits] for waits in both] for name, both in metrics.waits.items()} == {
        "b": [[9.0], [3.0, 1.0, 2.0]],
        "": [[], []],
    }
    for _ in range(200):
        metrics.seen(record(upstream="b/x", first=12.0, waited=1.0, code="upstream_truncated"), "m", 200)
    assert (len(metrics.faults["b"]), len(metrics.waits["b"][False])) == (10, 100)
    assert [percentile([3.0, 1.0, 2.0], share) for share in (0.5, 0.95, 0.0)] == [2.0, 3.0, 1.0]


def test_a_histogram_counts_values_up_to_each_bound() -> None:
    histogram = Histogram((1.0, 2.0))
    for value in (0.5, 1.0, 1.5, 3.0):
        histogram.see(value)
    assert (histogram.counts, histogram.sum) == ([2, 1, 1], 6.0)


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("nothing to see: task-bar, sky, 127.0.0.1", None),
        ("key sk-proj-ABCdef123 and sk-ant-api03-x_y-z1", "key [secret] and [secret]"),
        ("AIzaSyA1234567890abcdef", "[secret]"),
        ("Authorization: Bearer abc.def-123456", "Authorization: [secret]"),
        ("GET /v1/models?key=abc123&x=1", "GET /v1/models[secret]&x=1"),
        ("mine is pass-phrase!", "mine is [secret]"),
        ('quoted: qu\\"ote-key', "quoted: [secret]"),
        ("at https://llm.example.com:8443/v1 or llm.example.com", "at https://[upstream]/v1 or [upstream]"),
        ("at 127.0.0.1:11434", "at [upstream]"),
        ("gsk_abcdefghijklmnop1234", "[secret]"),
    ],
)
def test_scrubbing(text: str, clean: str | None) -> None:
    urls = ["https://llm.example.com:8443/v1", "http://127.0.0.1:11434/v1"]
    scrub = Scrubber(["pass-phrase!", 'qu"ote-key', "tiny"], urls)
    assert scrub(text) == (text if clean is None else clean)
    assert scrub("a tiny word") == "a tiny word"  # a secret this short would blank out words


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("gateway-0003-bbbbbb", "[secret]"),
        ("xgateway-0003-bbbbbbx gateway-0003-cccccc", "x[secret]x gateway-0003-cccccc"),
        ("éé/gateway-0001-aaaaaa?gateway-0001-aaaaaa-longer.", "éé/[secret]?[secret]."),
        ("Bearer gateway-0003-bbbbbb, gateway-0002-\U0001f511 key", "[secret], [secret] key"),
        ("abcdefgateway-0003-bbbbbbabcdef", "[secret][secret][secret]"),
        ("sk-12345gateway-0003-bbbbbb", "[secret]"),  # two that overlap
        ("gateway-", None),
        ("abcde", None),
        ("", None),
    ],
)
def test_secrets_stand_anywhere(text: str, clean: str | None) -> None:
    secrets = ["gateway-0001-aaaaaa", "gateway-0001-aaaaaa-longer", "gateway-0002-\U0001f511", "gateway-0003-bbbbbb"]
    more = [f"another-{i:04}" for i in range(100)]  # more than are searched for one by one
    for some in (secrets, [*secrets, "abcdef"], [*secrets, *more], [*secrets, "abcdef", *more]):
        if "abcdef" in text and "abcdef" not in some:
            continue
        for before in range(20):  # wherever the looks at the text fall
            text_there = "." * before + text
            assert Scrubber(some)(text_there) == "." * before + (text if clean is None else clean)


@pytest.mark.parametrize(
    "key",
    ["sk-", "csk-", "AIza", "gsk_", "xai-", "pplx-", "hf_", "r8_", "nvapi-", "fw_", "Bearer ", "BEARER "],
)
def test_a_key_is_known_by_its_shape_alone(key: str) -> None:
    """The text around it has none of the characters by which shapes are looked for first."""
    assert Scrubber()(f"bbb\n{key}{'b' * 16}\n") == "bbb\n[secret]\n"


@pytest.mark.parametrize("name", ["key", "KEY", "api_key", "apikey"])
def test_a_key_is_known_by_its_name_in_an_address(name: str) -> None:
    assert Scrubber()(f"/?{name}={'b' * 8}") == "/[secret]"


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/sk-test-/gateway-000"], ids=["usual", "like a key"])
def test_more_keys_make_scrubbing_no_dearer(path: str) -> None:
    line = f'{{"time":"2026-11-28T10:00:00.000Z","request":"req_0123456789","method":"POST","path":"{path}","status":200}}\n'
    few, many = (calls_of(Scrubber([f"gateway-{i:06}-x" for i in range(n)]), line) for n in (100, 10_000))
    assert few == many


def calls_of(work: Callable[[str], object], text: str) -> int:
    """Return how many functions and generator steps `work` takes on a text."""
    count = 0

    def profile(frame: object, event: str, _: object) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    sys.setprofile(profile)
    try:
        work(text)
    finally:
        sys.setprofile(None)
    return count
