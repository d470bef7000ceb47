"""What is reserved for requests of limited keys, and the limit of the answer that holds upstreams to it."""

import json
from pathlib import Path
from typing import Any

import pytest
from model_table import MODELS as FACTS
from process import Process, config
from scripted import Upstream as Scripted
from scripted import sse, stream
from usage_helpers import at_once, counted, rows, settings, statuses, usage

from gateway.config_schema import UsageConfig as UsageSettings
from gateway.estimates import measure
from gateway.limits import Limits
from gateway.pricing import TokenUsage
from gateway.reservations import reserved
from gateway.routing import Target, with_defaults
from providers import PROVIDERS
from providers.contract import Json, Upstream
from providers.hosts import HOSTS, Host
from providers.models import ModelFacts, Price

ASK: Json = {"model": "m", "messages": [{"role": "user", "content": "x"}]}
UNKNOWN = Upstream("up", "m")
CAPPED, OPEN = UsageSettings(), UsageSettings(cap_output=False)
NO_LIMIT = Limits(budget=10**12)


def to(host: str, model: str) -> Upstream:
    return Upstream(host, model, HOSTS[host].base_url, "k", host, HOSTS[host], FACTS.of(model, host))


def most(
    body: Json,
    to: Upstream,
    limits: Limits = NO_LIMIT,
    settings: UsageSettings = CAPPED,
    size: int = 400,
    **defaults: Any,
) -> tuple[str, TokenUsage]:
    target, used = reserved(body, measure(body, size, True), Target(to, defaults), settings, limits)
    return target.added, used


def test_what_the_client_names_is_reserved() -> None:
    small = Upstream("up", "m", facts=ModelFacts(context=1000, max_output=500))
    assert most({**ASK, "max_tokens": 50}, UNKNOWN) == ("", TokenUsage(100, 50))
    assert most({**ASK, "max_completion_tokens": 50, "n": 3}, UNKNOWN) == ("", TokenUsage(100, 150))
    assert most({**ASK, "max_tokens": 10**9}, UNKNOWN) == ("", TokenUsage(100, 131_072))
    assert most({**ASK, "max_tokens": 10**9}, small, size=10**6) == ("", TokenUsage(14, 500))  # the bytes were no text
    assert most({"input": ["x" * 10**6]}, UNKNOWN, size=10**6) == ("", TokenUsage(250_008))
    assert most({"input": [[1] * 10**5]}, UNKNOWN, size=10**6) == ("", TokenUsage(100_000))
    # of the defaults of config.yaml too, which are sent
    assert most(ASK, UNKNOWN, max_tokens=70, n=2) == ("", TokenUsage(100, 140))
    assert most({**ASK, "max_completion_tokens": 50}, UNKNOWN, max_tokens=70) == ("", TokenUsage(100, 50))


@pytest.mark.parametrize(
    ("host", "model", "more", "added", "tokens"),
    [
        # the name that the host and the model take
        ("openai", "gpt-4o", {}, "max_completion_tokens=4096", 4096),
        ("vllm", "m", {}, "max_tokens=4096", 4096),
        ("deepseek", "deepseek-chat", {}, "max_tokens=4096", 4096),
        ("openai", "gpt-4o", {"n": 3}, "max_completion_tokens=4096", 3 * 4096),
        # a model that reasons gets room for it: what it would think is part of the limit
        ("openai", "gpt-5", {}, "max_completion_tokens=12288", 12_288),
        ("openai", "gpt-5.2", {}, "max_completion_tokens=4096", 4096),
        ("openai", "gpt-5.2", {"reasoning_effort": "high"}, "max_completion_tokens=28672", 28_672),
        ("openai", "gpt-5.2", {"reasoning_effort": "none"}, "max_completion_tokens=4096", 4096),
        ("deepseek", "deepseek-v4-pro", {"thinking": {"type": "disabled"}}, "max_tokens=4096", 4096),
        ("deepseek", "deepseek-v4-pro", {}, "max_tokens=12288", 12_288),
        ("openrouter", "anthropic/claude-haiku-4.5", {"reasoning": {"max_tokens": 9000}}, "max_tokens=13096", 13_096),
        ("openrouter", "m", {"reasoning": {"effort": "high"}}, "max_tokens=28672", 28_672),
        ("dashscope", "m", {"thinking_budget": 1000}, "max_tokens=5096", 5096),
        ("anthropic", "claude-haiku-4-5", {}, "max_completion_tokens=4096", 4096),
        ("anthropic", "claude-haiku-4-5", {"reasoning_effort": "high"}, "max_completion_tokens=28672", 28_672),
        ("anthropic", "claude-opus-5-5", {}, "max_completion_tokens=12288", 12_288),
        ("gemini", "gemini-2.5-pro", {"reasoning_effort": "high"}, "max_completion_tokens=28672", 28_672),
        # a limit that is lower in any case needs none
        ("openai", "gpt-3.5-turbo", {}, "max_completion_tokens=4096", 4096),
        ("anthropic", "claude-3-5-haiku", {"reasoning_effort": "high"}, "", 8192),
        ("anthropic", "claude-sonnet-4", {}, "", 4096),
        ("anthropic", "claude-of-tomorrow", {}, "", 4096),
        # what Claude may think on top of max_tokens is reserved too
        ("anthropic", "claude-haiku-4-5", {"max_tokens": 100, "reasoning_effort": "high"}, "", 100 + 16_384),
        ("anthropic", "claude-haiku-4-5", {"max_completion_tokens": 5000, "reasoning_effort": "high"}, "", 5000),
    ],
)  # fmt: skip
def test_a_request_without_a_limit_is_given_one(host: str, model: str, more: Json, added: str, tokens: int) -> None:
    asked = {**ASK, **more}
    target, used = reserved(asked, measure(asked, 400, True), Target(to(host, model), {}), CAPPED, NO_LIMIT)
    assert (target.added, used) == (added, TokenUsage(100, tokens))
    # and the upstream is sent it, whatever it is called there
    call = PROVIDERS[HOSTS[host].protocol].build_request(with_defaults({**ASK, **more}, target), target.upstream)
    body = {**call.body, **call.body.get("generationConfig", {})}
    sent = [body[name] for name in ("max_tokens", "max_completion_tokens", "maxOutputTokens") if name in body]
    assert sent == [tokens // more.get("n", 1)]
    assert set(call.dropped) <= {"reasoning_effort"}
    if budget := body.get("thinking", {}).get("budget_tokens") or body.get("thinkingConfig", {}).get("thinkingBudget"):
        assert budget < sent[0]


def test_without_a_cap_the_longest_answer_is_reserved() -> None:
    assert most(ASK, to("openai", "gpt-4o"), settings=OPEN) == ("", TokenUsage(100, 16_384))
    assert most({**ASK, "n": 2}, UNKNOWN, settings=OPEN) == ("", TokenUsage(100, 2 * 131_072))
    for rules in ({"drop": ("max_tokens", "max_completion_tokens")}, {"refuse": ("max_tokens",)}):
        held = Upstream("up", "m", host=Host(**rules), facts=ModelFacts(max_output=9000))
        assert most(ASK, held) == ("", TokenUsage(100, 9000))  # a host that takes no limit is held to none
    clamped = Upstream("up", "m", host=Host(clamp={"max_tokens": (10, 2000)}))
    assert most(ASK, clamped) == ("max_tokens=2000", TokenUsage(100, 2000))
    assert most({**ASK, "max_tokens": 1}, clamped) == ("", TokenUsage(100, 10))
    assert most({**ASK, "max_tokens": 1}, held) == ("", TokenUsage(100, 9000))


def test_a_small_limit_allows_short_answers_rather_than_none() -> None:
    assert most(ASK, UNKNOWN, Limits(tpm=1000)) == ("max_tokens=900", TokenUsage(100, 900))
    assert most({**ASK, "n": 3}, UNKNOWN, Limits(tpm=1000)) == ("max_tokens=300", TokenUsage(100, 900))
    assert most(ASK, UNKNOWN, Limits(tpm=1000), OPEN) == ("", TokenUsage(100, 900))
    assert most(ASK, UNKNOWN, Limits(tpm=101)) == ("max_tokens=16", TokenUsage(100, 16))  # which is refused, then
    assert most({**ASK, "max_tokens": 2000}, UNKNOWN, Limits(tpm=1000)) == ("", TokenUsage(100, 2000))  # and so is this
    dear = Upstream("up", "m", facts=ModelFacts(price=Price(input=1, output=10), tiers={"priority": 2}))
    assert most(ASK, dear, Limits(budget=10_100)) == ("max_tokens=1000", TokenUsage(100, 1000))
    assert most({**ASK, "service_tier": "priority"}, dear, Limits(budget=10_200)) == (
        "max_tokens=500",
        TokenUsage(100, 500),
    )
    assert most(ASK, dear, Limits(budget=50)) == ("max_tokens=16", TokenUsage(100, 16))


def prompt(content: Any, **more: Any) -> Json:
    return {"model": "m", "messages": [{"role": "user", "content": content}], **more}


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("word " * 4000, 5000),
        ("0123456789" * 300, 3000),
        ("{}[]();,.!" * 300, 3000),
        ("世界" * 1000, 2000),
        ("привет" * 500, 3000),
        ("한국어" * 1000, 3000),
        ("ሰላም" * 500, 4500),
        ("😀" * 500, 2000),
        ("\ud83d" * 10, 10),  # half an emoji, as some clients cut them
    ],
)
def test_no_kind_of_text_has_far_more_tokens_than_are_reserved(text: str, tokens: int) -> None:
    body = prompt(text)
    size = len(json.dumps(body, ensure_ascii=False).encode(errors="surrogatepass"))
    assert tokens <= measure(body, size, True).most <= tokens + 20
    big = prompt(text * (200_000 // len(text)))
    size = len(json.dumps(big, ensure_ascii=False).encode(errors="surrogatepass"))
    expected = tokens * (200_000 // len(text))
    assert measure(big, size, True).most == pytest.approx(expected, rel=0.1)  # of which a part is looked at


def test_images_sounds_and_files_count_at_any_size() -> None:
    image: Json = {"type": "image_url", "image_url": {"url": "https://x/y.png"}}
    inline: Json = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 50_000}}
    sound: Json = {"type": "input_audio", "input_audio": {"data": "A" * 256_000, "format": "wav"}}
    file: Json = {"type": "file", "file": {"file_id": "file-1"}}
    long: Json = {"type": "file", "file": {"file_data": "A" * 320_000, "filename": "a.pdf"}}
    video: Json = {"type": "video_url", "video_url": {"url": "https://x/y.mp4"}}
    for part, tokens in ((image, 1000), (inline, 1000), (sound, 2000), (file, 1000), (long, 10_000), (video, 10_000)):
        body = prompt([part] * 5)
        size = len(json.dumps(body))
        said = measure(body, size, True)
        for estimate in (said.most, said.likely):
            assert 5 * tokens <= estimate <= 5 * tokens + 20
    # a text does not become an image by what stands beside it, nor a schema
    hidden = prompt([{**image, "more": "word " * 4000}])
    schema = prompt("x", tools=[{"type": "file", "description": "word " * 4000}])
    assert measure(hidden, 20_000, True).most >= 6000
    assert measure(schema, 20_000, True).most >= 5000


def test_whatever_is_said_to_the_model_counts() -> None:
    text = "0123456789" * 100
    for body in (
        prompt("x", tools=[{"type": "function", "function": {"name": "f", "description": text}}]),
        prompt("x", response_format={"type": "json_schema", "json_schema": {"schema": {"description": text}}}),
        prompt("x", prediction={"type": "content", "content": text}),
        prompt("x", documents=[text]),
        {"model": "m", "messages": [{"role": "assistant", "content": None, "tool_calls": [{"function": {"a": text}}]}]},
        {"model": "m", "messages": [{"role": "user", "content": [{"type": "text", "text": text}]}]},
        {"model": "m", "messages": [{"role": "user", "content": "x", "name": text}]},
        {"model": "m", "input": [text]},
    ):
        assert 1000 <= measure(body, 1100, True).most <= 1050
    deep: Any = []
    for _ in range(5000):
        deep = [deep]
    assert measure({"messages": [], "documents": deep}, 10_000, True).most == 2500


# The real process


def test_a_burst_of_requests_that_name_no_limit_does_not_pass_one(upstream: Scripted, tmp_path: Path) -> None:
    """Each answer of the upstream is as long as it may be: 24 of them fit into 100,000 tokens a minute, and 1 dollar."""
    upstream.script("burst", [0.7, *counted(10, 4096)])
    facts = "model_facts:\n  burst: {price: {input: 1, output: 10}, context: 1000000, max_output: 64000}\n"
    keys = "keys: [{name: a, key: sk-canary-0, tpm: 100000, budget_usd: 1}]\n"
    more = f"{facts}{keys}usage: {{path: {tmp_path / 'usage.db'}}}\n"
    with Process(config(upstream, more)) as server:
        answers = at_once(40, [server], "up/burst")
        assert statuses(answers) == {200: 24, 429: 16}
        assert {headers.get("x-modelserver-added") for status, headers, _ in answers if status == 200} == {
            "max_tokens=4096"
        }
        assert [request.json["max_tokens"] for request in upstream.of("burst")] == [4096] * 24
        assert usage(server)["limits"]["budget"]["spent_usd"] <= 1
        assert sum(row["prompt"] + row["completion"] for row in rows(tmp_path)) <= 100_000


def test_streams_and_small_keys_are_capped_and_others_are_not(upstream: Scripted, tmp_path: Path) -> None:
    chunk = {"choices": [{"index": 0, "delta": {"content": "a"}, "finish_reason": "length"}]}
    upstream.script("some", stream(sse(chunk)))
    keys = ["tpm: 500", "rpm: 9, concurrency: 9", "budget_usd: 1, allow_unpriced: true"]
    for more, sent in (("", [0, None, 4096]), ("cap_output: false", [None, None, None])):
        with Process(settings(upstream, tmp_path, keys, usage=more)) as server:
            for i, limit in enumerate(sent):
                before = len(upstream.of("some"))
                [(status, headers, _)] = at_once(1, [server], "up/some", key=f"sk-canary-{i}", stream=True)
                got = upstream.wait("some", before + 1).json.get("max_tokens")
                assert status == 200
                assert headers.get("x-modelserver-added") == (None if limit is None else f"max_tokens={got}")
                assert got == limit or (limit == 0 and 450 < got < 490)


def test_a_time_to_wait_is_named_where_waiting_helps(upstream: Scripted, tmp_path: Path) -> None:
    upstream.script("priced-waits", counted(100, 400))  # $0.90
    keys = ["tpm: 500", "budget_usd: 1, budget_period: total", "budget_usd: 1, budget_period: day", "rpm: 1"]
    large, next_one, second = {"max_tokens": 1000}, {"max_tokens": 400}, {"max_tokens": 10}
    with Process(settings(upstream, tmp_path, keys)) as server:
        for key, more, status, words, waits in (
            (0, large, 429, "Request too large", False),
            (1, large, 429, "Send a shorter prompt, or a smaller max_tokens", False),  # may cost $2
            (2, large, 429, "Send a shorter prompt, or a smaller max_tokens", False),
            (1, next_one, 200, "", False),
            (2, next_one, 200, "", False),
            (1, next_one, 429, "It does not reset", False),
            (2, next_one, 429, "It resets at", True),
            (3, second, 200, "", False),
            (3, second, 429, "Try again in", True),
        ):
            [(got, headers, body)] = at_once(1, [server], "up/priced-waits", key=f"sk-canary-{key}", **more)
            assert (got, "Retry-After" in headers) == (status, waits)
            assert words in str(body)
            if status == 429 and key != 3:
                assert headers["x-should-retry"] == "false"
            if "resets" in words:
                assert 0 < int(headers["Retry-After"]) <= 86_400
