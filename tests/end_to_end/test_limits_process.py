"""Limits against the real process: crowds of clients, counted where it matters, at the scripted upstream."""

import re
from collections.abc import Callable
from pathlib import Path

import httpx2 as httpx
import pytest
from http_client import until
from process import Process
from scripted import FOREVER, Script, Upstream, answer
from usage_helpers import at_once, counted, rows, settings, statuses, usage

CROWD = 64
LIMITED = ["rpm: 10", "tpm: 1000", "budget_usd: 0.5, budget_period: day", "concurrency: 3"]


def crowd(servers: list[Process], upstream: Upstream, prefix: str, settled: Callable[[], bool] = lambda: True) -> None:
    """Four crowds against four limits. A request reserves 24 or 25 tokens of prompt, and max_tokens; it uses as many."""
    for key, model, longest, fits in (
        ("sk-canary-0", f"{prefix}-rpm", 90, 10),
        ("sk-canary-1", f"{prefix}-tpm", 75, 10),  # 100 tokens each, of 1000
        ("sk-canary-2", f"priced-{prefix}", 90, 2),  # $0.205 each, of $0.50
        ("sk-canary-3", f"{prefix}-slow", 90, 3),
    ):
        slow: Script = [1.5] if key == "sk-canary-3" else []
        upstream.script(model, [*slow, *counted(25, longest)])
        answers = at_once(CROWD, servers, f"up/{model}", key=key, max_tokens=longest)
        assert statuses(answers) == {200: fits, 429: CROWD - fits}
        assert len(upstream.of(model)) == fits
        for status, headers, body in answers:
            if status == 429:
                assert body["error"]["type"] == "rate_limit_error"
                assert body["error"]["code"] == ("budget_exceeded" if key == "sk-canary-2" else "rate_limit_exceeded")
                assert int(headers["Retry-After"]) > 0
            if key == "sk-canary-0":
                assert headers["x-ratelimit-limit-requests"] == "10"
                assert 0 <= int(headers["x-ratelimit-remaining-requests"]) < 10
    until(settled)
    # slots come back, and whoever was refused has used nothing
    assert statuses(at_once(3, servers, f"up/{prefix}-slow", key="sk-canary-3", max_tokens=9)) == {200: 3}


def test_a_crowd_gets_what_the_limits_allow_and_no_more(upstream: Upstream, tmp_path: Path) -> None:
    with Process(settings(upstream, tmp_path, LIMITED)) as server:
        crowd([server], upstream, "crowd")
        spent = usage(server, "sk-canary-2")["limits"]["budget"]["spent_usd"]
        assert spent == pytest.approx(2 * 0.205)
        assert len(rows(tmp_path, "status = 200")) == 10 + 10 + 2 + 6


def test_a_slot_comes_back_when_the_client_leaves_or_the_upstream_fails(upstream: Upstream, tmp_path: Path) -> None:
    with Process(settings(upstream, tmp_path, ["concurrency: 1, tpm: 1000"])) as server:
        upstream.script("slot-stuck", [FOREVER])
        body = {"model": "up/slot-stuck", "messages": [{"role": "user", "content": "x"}], "max_tokens": 700}
        auth = {"Authorization": "Bearer sk-canary-0"}
        with pytest.raises(httpx.ReadTimeout):
            httpx.post(f"{server.url}/chat/completions", json=body, headers=auth, timeout=0.5)
        until(lambda: rows(tmp_path, "status = 499"))
        upstream.script("slot-broken", answer({"error": {"message": "no"}}, 500))
        for model, status in (("slot-broken", 502), ("slot-broken", 502), ("slot-none", 502)):
            assert statuses(at_once(1, [server], f"up/{model}", max_tokens=700)) == {status: 1}


def test_headers_are_on_every_answer_of_a_limited_key(upstream: Upstream, tmp_path: Path) -> None:
    with Process(settings(upstream, tmp_path, ["rpm: 5, tpm: 5000", "disabled: false"])) as server:
        limited, free = ({"Authorization": f"Bearer sk-canary-{i}"} for i in range(2))
        ask = {"model": "echo", "messages": [{"role": "user", "content": "Hello!"}]}
        chat = f"{server.url}/chat/completions"
        for n, response in enumerate((
            httpx.post(chat, json=ask, headers=limited),
            httpx.post(chat, json={**ask, "stream": True}, headers=limited),
            httpx.post(chat, json={**ask, "model": "echo-429"}, headers=limited),
            httpx.post(chat, json={**ask, "model": "none"}, headers=limited),
            httpx.get(f"{server.url}/models", headers=limited),
        )):  # fmt: skip
            assert response.headers["x-ratelimit-limit-requests"] == "5"
            assert response.headers["x-ratelimit-remaining-requests"] == str(5 - min(n + 1, 3))
            assert response.headers["x-ratelimit-limit-tokens"] == "5000"
            assert response.headers["x-ratelimit-reset-tokens"].endswith("s")
        assert "x-ratelimit-limit-requests" not in httpx.post(chat, json=ask, headers=free).headers


def test_keys_that_are_disabled_or_expired_are_refused(upstream: Upstream, tmp_path: Path) -> None:
    keys = ["disabled: true", "expires: 2020-01-31", "expires: 2999-12-31"]
    with Process(settings(upstream, tmp_path, keys)) as server:
        for key, status, code in (
            ("sk-canary-0", 401, "key_disabled"),
            ("sk-canary-1", 401, "key_expired"),
            ("sk-canary-2", 200, None),
        ):
            [(got, _, body)] = at_once(1, [server], "echo", key=key)
            assert got == status
            assert body.get("error", {}).get("code") == code


def test_a_budget_wants_prices(upstream: Upstream, tmp_path: Path) -> None:
    keys = ["budget_usd: 1", "budget_usd: 1, allow_unpriced: true", "rpm: 9"]
    upstream.script("nobody-knows", counted(9, 9))
    with Process(settings(upstream, tmp_path, keys)) as server:
        answers = [at_once(1, [server], "up/nobody-knows", key=f"sk-canary-{i}")[0] for i in range(3)]
        assert [status for status, *_ in answers] == [403, 200, 200]
        assert answers[0][2]["error"]["code"] == "model_not_priced"
        assert at_once(1, [server], "echo")[0][0] == 200  # costs nothing
        until(lambda: len(rows(tmp_path, "status = 200")) == 3)
        assert [row["cost"] for row in rows(tmp_path)] == [None, None, 0]


def test_what_is_reserved_is_priced_at_the_dearest_target_and_as_if_its_prompt_were_newly_cached(
    upstream: Upstream, tmp_path: Path
) -> None:
    """Nobody is asked: the refusal says what the request may cost."""
    prices = ["cheap: {price: {input: 1, output: 1}}", "plain: {price: {input: 800, output: 100, cache_read: 1}}",
              "write: {price: {input: 800, output: 100, cache_write: 1000}}"]  # fmt: skip
    models = "three: [up/cheap, up/write, up/plain]"
    text = settings(upstream, tmp_path, ["budget_usd: 0.000001"], models=models)
    text = text.replace("model_facts:\n", "model_facts:\n" + "".join(f"  {price}\n" for price in prices))
    with Process(text) as server:
        costs = []
        for model in ("up/plain", "up/write", "three"):
            [(status, _, body)] = at_once(1, [server], model, max_tokens=1000)
            assert (status, body["error"]["code"]) == (429, "budget_exceeded")
            found = re.search(r"may cost \$([\d.]+)", body["error"]["message"])
            assert found
            costs.append(float(found[1]) - 0.1)  # without the answer's thousand tokens
    plain, write, three = costs
    assert plain > 0 and write == pytest.approx(plain * 1000 / 800)
    assert three == pytest.approx(write, rel=0.05)  # its name is shorter


def test_a_budget_continues_after_a_restart(upstream: Upstream, tmp_path: Path) -> None:
    upstream.script("priced-again", counted(100, 100))
    text = settings(upstream, tmp_path, ["budget_usd: 1, budget_period: total"])
    for spent in (0.3, 0.6, 0.9):
        with Process(text) as server:
            assert statuses(at_once(1, [server], "up/priced-again", max_tokens=150)) == {200: 1}
            assert usage(server)["limits"]["budget"]["spent_usd"] == pytest.approx(spent)
    with Process(text) as server:
        [(status, headers, body)] = at_once(1, [server], "up/priced-again", max_tokens=150)
        assert (status, body["error"]["code"]) == (429, "budget_exceeded")
        assert "$0.90 are spent" in body["error"]["message"]
        assert headers["x-should-retry"] == "false"
    assert len(upstream.of("priced-again")) == 3


def test_embeddings_are_limited_and_booked_like_chats(upstream: Upstream, tmp_path: Path) -> None:
    told = {"prompt_tokens": 40, "total_tokens": 40}
    vectors = {"object": "list", "data": [{"object": "embedding", "index": 0, "embedding": [1.0]}], "usage": told}
    upstream.script("priced-vectors", answer(vectors))
    with Process(settings(upstream, tmp_path, ["rpm: 1, budget_usd: 1"])) as server:
        ask = {"model": "up/priced-vectors", "input": "x" * 120}
        auth = {"Authorization": "Bearer sk-canary-0"}
        got = [httpx.post(f"{server.url}/embeddings", json=ask, headers=auth) for _ in range(2)]
        assert [response.status_code for response in got] == [200, 429]
        assert got[0].headers["x-ratelimit-remaining-requests"] == "0"
        assert usage(server)["limits"]["budget"]["spent_usd"] == pytest.approx(0.04)
        [row] = rows(tmp_path)
        assert (row["prompt"], row["completion"], row["cost"], row["estimated"]) == (40, 0, 40_000, 0)


def test_the_batches_of_embeddings_that_were_answered_before_one_failed_are_booked(
    upstream: Upstream, tmp_path: Path
) -> None:
    vectors = {"embeddings": [{"values": [1.0, 0.0]}] * 100, "usageMetadata": {"promptTokenCount": 300}}
    fails = answer({"error": {"message": "no", "code": 500}}, 500)
    upstream.script("priced-batches", answer(vectors), fails)
    told = {"prompt_tokens": 450, "total_tokens": 450}
    data = [{"object": "embedding", "index": i, "embedding": [1.0]} for i in range(150)]
    upstream.script("priced-whole", answer({"data": data, "usage": told}))
    text = settings(upstream, tmp_path, ["budget_usd: 9"], models="both: [gemini/priced-batches, up/priced-whole]")
    gemini = f'  gemini: {{base_url: "{upstream.url}/v1beta", api_key: AIza-canary}}\n'
    with Process(text.replace("models:\n", gemini + "models:\n", 1)) as server:
        auth = {"Authorization": "Bearer sk-canary-0"}
        got = httpx.post(f"{server.url}/embeddings", json={"model": "both", "input": ["word"] * 150}, headers=auth)
        assert (got.status_code, got.headers["x-modelserver-upstream"]) == (200, "up/priced-whole")
        usage(server)
        [row] = rows(tmp_path)
        assert (row["prompt"], row["completion"], row["cost"]) == (750, 0, 750_000)


def test_a_prompt_that_is_cached_for_an_hour_is_reserved_and_booked_at_its_price(
    upstream: Upstream, tmp_path: Path
) -> None:
    told = {"input_tokens": 10, "cache_creation_input_tokens": 100, "output_tokens": 1}
    told |= {"cache_creation": {"ephemeral_5m_input_tokens": 40, "ephemeral_1h_input_tokens": 60}}
    text = [{"type": "text", "text": "Yes."}]
    upstream.script(
        "hour",
        answer({"type": "message", "role": "assistant", "content": text, "stop_reason": "end_turn", "usage": told}),
    )
    config = settings(upstream, tmp_path, ["budget_usd: 0.000001", "budget_usd: 100"])
    price = "hour: {price: {input: 800, output: 100, cache_write: 1000, cache_write_1h: 1600}}"
    claude = f'  claude: {{protocol: anthropic, base_url: "{upstream.url}", api_key: sk-ant-canary-0123456789}}\n'
    config = config.replace("model_facts:\n", f"model_facts:\n  {price}\n").replace(
        "models:\n", claude + "models:\n", 1
    )
    with Process(config) as server:
        costs = []
        for ttl in ("5m", "1h"):
            part = {"type": "text", "text": "word " * 1000, "cache_control": {"type": "ephemeral", "ttl": ttl}}
            ask = {"messages": [{"role": "user", "content": [part]}], "max_tokens": 10}
            [(status, _, body)] = at_once(1, [server], "claude/hour", **ask)
            assert (status, body["error"]["code"]) == (429, "budget_exceeded")
            found = re.search(r"may cost \$([\d.]+)", body["error"]["message"])
            assert found
            costs.append(float(found[1]) - 0.001)  # without the answer's ten tokens
            [(status, _, body)] = at_once(1, [server], "claude/hour", key="sk-canary-1", **ask)
            assert status == 200
            assert body["usage"]["prompt_tokens_details"] == {
                "cached_tokens": 0, "cache_write_tokens": 100, "cache_write_1h_tokens": 60,
            }  # fmt: skip
        assert costs[1] == pytest.approx(costs[0] * 1.6)
        usage(server)
        assert [row["cost"] for row in rows(tmp_path)] == [10 * 800 + 40 * 1000 + 60 * 1600 + 100] * 2
