"""A conversation stays with one target and one key while both are healthy (dialects/conversations.py, gateway/affinity.py)."""

import asyncio
import json
from collections import Counter
from typing import Any

import aiohttp
import pytest
from process import Process
from scripted import Request, Script, Upstream, answer

from dialects import chat, messages, responses
from dialects.conversations import conversation_of
from gateway.affinity import ranked
from gateway.config_schema import Cooldown
from gateway.failover import CircuitBreakers
from gateway.routing import Target
from providers.contract import Upstream as Host
from providers.errors import UpstreamTimeout

KEYS = {"one": ["sk-one-a-canary", "sk-one-b-canary"], "two": ["sk-two-a-canary", "sk-two-b-canary"]}
REVOKED = "sk-one-a-canary"
SYSTEM = "You are an agent of many words. " * 50


class Keyed(Upstream):
    """Answers a chat request, and notes by which key each conversation came; a key that is revoked is refused."""

    def __init__(self) -> None:
        super().__init__()
        self.came: dict[str, list[str]] = {}
        self.revoked = ""

    def heard(self, request: Request) -> Script:
        key = request.headers["authorization"].removeprefix("Bearer ")
        if key == self.revoked:
            return answer({"error": {"message": "no such key", "code": "invalid_api_key"}}, 401)
        first = next(message for message in request.json["messages"] if message["role"] == "user")
        self.came.setdefault(first["content"], []).append(key)
        said = {"role": "assistant", "content": "Yes."}
        usage = {"prompt_tokens": 9, "completion_tokens": 1, "total_tokens": 10}
        return answer({"choices": [{"index": 0, "message": said, "finish_reason": "stop"}], "usage": usage})


async def converse(url: str, names: list[str], turns: int, past: dict[str, list[Any]]) -> None:
    """So many further turns of each conversation, ten conversations at once."""
    gate = asyncio.Semaphore(10)
    async with aiohttp.ClientSession() as client:

        async def one(name: str) -> None:
            history = past.setdefault(name, [{"role": "system", "content": SYSTEM}, {"role": "user", "content": name}])
            async with gate:
                for _ in range(turns):
                    body = {"model": "pool", "messages": history}
                    async with client.post(f"{url}/chat/completions", json=body) as got:
                        answer = await got.json()
                    history += [{"role": "assistant", "content": answer["choices"][0]["message"]["content"]}]
                    history += [{"role": "user", "content": "And then?"}]

        await asyncio.gather(*map(one, names))


def test_a_hundred_conversations_of_ten_turns() -> None:
    """Each key gets its share, no conversation moves; then a key is revoked, and only its conversations move."""
    with Keyed() as upstream:
        providers = "".join(
            f'  {name}: {{protocol: openai, base_url: "{upstream.url}/v1", api_key: [{", ".join(keys)}]}}\n'
            for name, keys in KEYS.items()
        )
        text = f"server: {{port: 0}}\nproviders:\n{providers}models:\n  pool: {{targets: {{one/m: 1, two/m: 1}}}}\n"
        with Process(text) as server:
            names = [f"Conversation {n}." for n in range(100)]
            past: dict[str, list[Any]] = {}
            asyncio.run(converse(server.url, names, 5, past))
            before = {name: keys[0] for name, keys in upstream.came.items()}
            assert all(set(keys) == {before[name]} and len(keys) == 5 for name, keys in upstream.came.items())
            upstream.came.clear()
            upstream.revoked = REVOKED
            asyncio.run(converse(server.url, names, 5, past))
    share = Counter(before.values())
    print(share)
    assert len(before) == 100 and all(abs(share[key] - 25) <= 10 for keys in KEYS.values() for key in keys)
    assert abs(share["sk-one-a-canary"] + share["sk-one-b-canary"] - 50) <= 10
    after = {name: set(keys) for name, keys in upstream.came.items()}
    assert all(len(keys) == 5 for keys in upstream.came.values())
    assert after == {name: {"sk-one-b-canary" if key == REVOKED else key} for name, key in before.items()}


def places(conversation: str, weights: dict[str, float]) -> list[str]:
    return ranked(weights, conversation, str, lambda name: weights[name])


def test_places_by_weight_the_same_in_every_process() -> None:
    weights = {"a": 3.0, "b": 1.0}
    first = Counter(places(f"{n}", weights)[0] for n in range(4000))
    assert abs(first["a"] / 4000 - 0.75) < 0.02
    orders = ["".join(places(f"{n}", dict.fromkeys("abc", 1.0))) for n in range(8)]
    assert orders == ["bac", "cab", "acb", "abc", "bca", "bca", "bac", "acb"]


def test_a_place_that_goes_or_comes_moves_no_other_conversation() -> None:
    four = dict.fromkeys("abcd", 1.0)
    three = {name: weight for name, weight in four.items() if name != "b"}
    for n in range(500):
        with_it, without = places(f"{n}", four), places(f"{n}", three)
        assert without == [name for name in with_it if name != "b"]


def test_a_target_that_fails_and_returns_has_its_conversations_again() -> None:
    targets = [Target(Host(name, "m", f"https://{name}.example"), {}, 1.0) for name in "ab"]
    health = CircuitBreakers(Cooldown(failures=2, seconds=10), lambda: 0.5)

    def first(at: float) -> str:
        attempt = health.attempts(targets, 1e9, lambda: "talk").next(at)
        assert attempt is not None
        health.answered(attempt.target.upstream)
        return attempt.target.upstream.name

    mine = first(0)
    other = "b" if mine == "a" else "a"
    [failing] = [target for target in targets if target.upstream.name == mine]
    for _ in range(2):
        health.failed(failing.upstream, UpstreamTimeout("silent"), 1)
    assert [first(2), first(9), first(12), first(13)] == [other, other, mine, mine]


def test_targets_without_weights_are_called_in_order() -> None:
    targets = [Target(Host(name, "m", f"https://{name}.example"), {}) for name in "ab"]
    health = CircuitBreakers(Cooldown(), lambda: 0.5)
    for n in range(20):
        attempt = health.attempts(targets, 1e9, f"{n}".format).next(0)
        assert attempt is not None and attempt.target.upstream.name == "a"


def said(dialect: Any, body: dict[str, Any], **headers: str) -> str:
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    return conversation_of(dialect.parse(json.dumps({"model": "m", **body}).encode(), sent), sent)


HI: list[Any] = [{"role": "user", "content": "Hi."}]
MORE: list[Any] = [{"role": "assistant", "content": "Hello!"}, {"role": "user", "content": "And?"}]


@pytest.mark.parametrize(
    ("dialect", "turn", "later", "other"),
    [
        (
            chat,
            {"messages": [{"role": "system", "content": SYSTEM}, *HI]},
            {"messages": [{"role": "system", "content": [{"type": "text", "text": SYSTEM}]}, *HI, *MORE]},
            {"messages": [{"role": "system", "content": SYSTEM}, {"role": "user", "content": "Hi!"}]},
        ),
        (
            messages,
            {"max_tokens": 9, "system": SYSTEM, "messages": HI},
            {"max_tokens": 9, "system": [
                {"type": "text", "text": "x-anthropic-billing-header: cch=1"},
                {"type": "text", "text": SYSTEM, "cache_control": {"type": "ephemeral"}}],
             "messages": [{"role": "user", "content": [{"type": "text", "text": "Hi.", "cache_control": {"type": "ephemeral"}}]},
                          *MORE]},
            {"max_tokens": 9, "system": f"{SYSTEM}!", "messages": HI},
        ),
        (
            responses,
            {"instructions": SYSTEM, "input": "Hi."},
            {"instructions": SYSTEM, "input": [*HI, *MORE]},
            {"instructions": SYSTEM, "input": "Hi!"},
        ),
    ],
    ids=["chat", "messages", "responses"],
)  # fmt: skip
def test_a_conversation_is_known_by_how_it_begins(
    dialect: Any, turn: dict[str, Any], later: dict[str, Any], other: dict[str, Any]
) -> None:
    assert said(dialect, turn) == said(dialect, later) != said(dialect, other)
    for header in ("x_claude_code_session_id", "session_id", "x_session_id"):
        assert said(dialect, turn, **{header: "s"}) == said(dialect, other, **{header: "s"}) == "s"


def test_its_own_names_come_before_that() -> None:
    key: dict[str, Any] = {"prompt_cache_key": "k"}
    assert said(chat, {"messages": HI, **key}, session_id="s") == "k"
    assert said(responses, {"input": "Hi.", **key}, x_session_id="s") == "k"
    assert said(messages, {"max_tokens": 9, "messages": HI, "metadata": {"user_id": "u"}}) == "u"
