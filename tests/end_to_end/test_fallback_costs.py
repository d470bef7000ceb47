"""What attempts that failed have cost is reserved beside what the next attempt may cost, or there is no next attempt."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from process import Process
from scripted import Script, Upstream, answer, sse, until_close
from test_redis import Redis
from usage_helpers import at_once, counted, rows, settings, statuses, usage

TARGETS = ("priced-a", "priced-b", "priced-c")
MODELS = "three: [claude/priced-a, claude/priced-b, claude/priced-c]"
EACH = 20 + 100  # tokens that a failed attempt has used, of 24 or 25 and 100 reserved: $0.22 of $0.225


@pytest.fixture(params=["alone", "redis"])
def state(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The section of the configuration that says where limits are counted."""
    if request.param == "alone":
        yield ""
        return
    if shutil.which("redis-server") is None:
        pytest.skip("redis-server is not installed")
    server = Redis(tmp_path)
    yield f"shared_state: {server.url}\n"
    server.close()


def cut(wait: float = 0.0) -> Script:
    """An answer of Claude's of which all tokens are counted, and that then ends without its last event."""
    begun = {"type": "message_start", "message": {"usage": {"input_tokens": 20, "output_tokens": 1}}}
    text = {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": "Hello"}}
    told = {"type": "message_delta", "delta": {}, "usage": {"output_tokens": 100}}
    return [wait, *until_close(sse(begun, text, told, done=False))]


def three(upstream: Upstream, folder: Path, key: str, state: str) -> str:
    text = settings(upstream, folder, [key], state, models=MODELS)
    claude = f'  claude: {{protocol: anthropic, base_url: "{upstream.url}", api_key: sk-ant-canary-0123456789}}\n'
    return text.replace("models:\n", claude + "models:\n", 1)


@pytest.mark.parametrize(("key", "most"), [("budget_usd: 1, budget_period: total", 1_000_000), ("tpm: 500", None)])
def test_a_burst_whose_answers_break_off_at_every_target_stays_within_its_limit(
    upstream: Upstream, tmp_path: Path, state: str, key: str, most: int | None
) -> None:
    for name in TARGETS:
        upstream.script(name, cut(0.3))
    with Process(three(upstream, tmp_path, key, state)) as server:
        before = len(upstream.requests)
        answers = at_once(16, [server], "three", max_tokens=100)
        assert statuses(answers) == {502: 4, 429: 12}
        usage(server)
        booked = rows(tmp_path)
        asked = len(upstream.requests) - before
        assert 4 <= asked < 12
        assert sum(row["prompt"] + row["completion"] for row in booked) == asked * EACH
        assert sum(row["cost"] for row in booked) <= (most or 10**9)
        assert most or asked * EACH <= 500
        # all that was reserved has been given back
        if most:
            left = (1 - asked * 0.22) // 0.225
            upstream.script("priced-whole", [0.3, *counted(20, 100)])
            assert statuses(at_once(8, [server], "up/priced-whole", max_tokens=100))[200] == left


def test_the_failure_of_the_target_that_was_asked_is_the_answer_where_another_is_not_covered(
    upstream: Upstream, tmp_path: Path, state: str
) -> None:
    for name in TARGETS:
        upstream.script(name, cut())
    with Process(three(upstream, tmp_path, "budget_usd: 1, budget_period: total", state)) as server:
        for asked, spent, tried in (
            ([1, 1, 1], 660_000, [f"claude/{name}: upstream_truncated" for name in TARGETS]),
            ([1, 0, 0], 220_000, ["claude/priced-a: upstream_truncated"]
             + [f"claude/{name}: beyond_limits" for name in TARGETS[1:]]),
        ):  # fmt: skip
            before = [len(upstream.of(name)) for name in TARGETS]
            [(status, headers, body)] = at_once(1, [server], "three", max_tokens=100)
            assert (status, body["error"]["code"]) == (502, "upstream_truncated")
            assert headers["x-should-retry"] == "false"
            assert [len(upstream.of(name)) - n for name, n in zip(TARGETS, before, strict=True)] == asked
            server.logged(request=headers["x-request-id"], tried=", ".join(tried))
            usage(server)
            assert rows(tmp_path)[-1]["cost"] == spent


def test_a_cheaper_target_behind_one_that_is_not_covered_is_asked(
    upstream: Upstream, tmp_path: Path, state: str
) -> None:
    """And a failure that has cost nothing takes nothing from those that follow."""
    upstream.script("priced-a", cut())
    upstream.script("priced-b", cut())
    upstream.script("priced-c", answer({"error": {"message": "no"}}, 500))
    text = three(upstream, tmp_path, "budget_usd: 0.4, budget_period: total", state)
    text = text.replace(
        "claude/priced-c]", "claude/priced-c, up/priced-cheap]\n  other: [claude/priced-c, up/priced-whole]"
    )
    text = text.replace("model_facts:\n", "model_facts:\n  priced-cheap: {price: {input: 1, output: 2}}\n")
    upstream.script("priced-cheap", counted(20, 100))
    upstream.script("priced-whole", counted(5, 80))
    with Process(text) as server:
        before = len(upstream.of("priced-b"))
        [(status, headers, _)] = at_once(1, [server], "three", max_tokens=100)
        assert (status, headers["x-modelserver-upstream"]) == (200, "up/priced-cheap")
        assert len(upstream.of("priced-b")) == before
        usage(server)
        assert rows(tmp_path)[-1]["cost"] == 220_000 + 220
        [(status, headers, _)] = at_once(1, [server], "other", max_tokens=70)
        assert (status, headers["x-modelserver-upstream"]) == (200, "up/priced-whole")
