"""Fields by which a client would choose another model, route, price or length than its key may use."""

import re
from pathlib import Path
from typing import Any

import httpx2 as httpx
import pytest
from process import Process
from scripted import Upstream as Scripted
from scripted import answer, sse, stream
from usage_helpers import at_once, counted, rows, settings, usage

from gateway.restricted_fields import FIELDS, permitted
from gateway.routing import Target
from providers.contract import Json, Upstream
from providers.errors import Unsupported
from providers.hosts import HOSTS, Host
from providers.models import ModelFacts, Price

ASK: Json = {"model": "m", "messages": [{"role": "user", "content": "x"}]}


def target(host: Host = HOSTS["openrouter"], **facts: Any) -> Target:
    return Target(Upstream("up", "m", host=host, facts=ModelFacts(**facts)), {})


@pytest.mark.parametrize("host", HOSTS)
def test_no_host_is_sent_what_chooses_a_route(host: str) -> None:
    for name in FIELDS:
        with pytest.raises(Unsupported) as caught:
            permitted({**ASK, name: ["x"]}, [target(HOSTS[host])])
        assert (caught.value.status, caught.value.code, caught.value.param) == (400, "unsupported_parameter", name)
        assert f"'{name}'" in caught.value.message


def test_every_field_says_what_to_do() -> None:
    def words(name: str) -> str:
        with pytest.raises(Unsupported) as caught:
            permitted({**ASK, name: 7}, [target()])
        return caught.value.message

    end = ", or ask the operator of this server to let it pass (overrides: allow)."
    head = "Unsupported parameter: '{}': "
    route = "it chooses another model, route or price than this key may use. Leave it out"
    assert words("models") == head.format("models") + route + end
    length = "this key's limits know the length of an answer as 'max_tokens' only. Send that instead"
    assert words("max_new_tokens") == head.format("max_new_tokens") + length + end
    number = "this key's limits know the number of answers as 'n' only. Send that instead"
    assert words("best_of") == head.format("best_of") + number + end
    inside = "what is inside would pass this key's limits by. Send OpenAI's parameters instead"
    assert words("options") == head.format("options") + inside + end
    tier = "the price of this tier is not known, and this key is limited. Leave it out"
    assert words("service_tier") == head.format("service_tier") + tier + end


def test_what_asks_for_nothing_passes_and_so_does_what_the_operator_allows() -> None:
    nothing = {**ASK, "models": [], "provider": {}, "route": None, "preset": "", "top_k": 5, "user": "u", "n": 2}
    assert permitted(nothing, [target()]) == [target()]
    open_ = target(Host(allow=("models", "service_tier")))
    body = {**ASK, "models": ["a"], "service_tier": "priority"}
    assert permitted(body, [open_]) == [open_]
    assert permitted(body, [target(), open_]) == [open_]  # another target may take it
    with pytest.raises(Unsupported):
        permitted({**body, "route": "fallback"}, [target(), open_])


def test_a_service_tier_passes_where_its_price_is_known() -> None:
    price = Price(input=1, output=1)
    known = target(price=price, tiers={"priority": 2})
    for tier, targets in (
        ("auto", [target(price=price)]),
        ("default", [target(price=price)]),
        ("flex", [target(price=price)]),
        ("priority", [known]),
        ("fast", [known]),
        ("priority", [target(HOSTS["ollama"])]),
        ("priority", [target(HOSTS["together"])]),  # which is not sent it
    ):
        assert permitted({**ASK, "service_tier": tier}, targets) == targets
    for tier in ("priority", "scale", "of tomorrow"):
        with pytest.raises(Unsupported):
            permitted({**ASK, "service_tier": tier}, [target(price=price)])


# The real process

FORCED: Json = {
    "models": ["d/dear"], "route": "fallback", "provider": {"order": ["x"]}, "plugins": [{"id": "web"}],
    "fallbacks": ["dear"], "transforms": ["middle-out"], "preset": "p", "best_of": 20, "max_new_tokens": 99999,
    "options": {"num_predict": 99999}, "generation_config": {"n": 9}, "min_tokens": 9, "max_output_tokens": 9,
    "service_tier": "priority",
}  # fmt: skip


def test_limited_keys_may_not_send_them_and_others_may(upstream: Scripted, tmp_path: Path) -> None:
    upstream.script("priced-forced", counted(1, 1))
    vectors = {"data": [{"index": 0, "embedding": [1.0]}], "usage": {"prompt_tokens": 1}}
    upstream.script("priced-routed-vectors", answer(vectors))
    keys = ['models: ["up/*"]', "budget_usd: 9", "tpm: 100000", "rpm: 1000"]
    text = settings(upstream, tmp_path, keys)
    with Process(text) as server:
        for name, value in FORCED.items():
            for key in ("sk-canary-0", "sk-canary-1", "sk-canary-2"):
                for more in ({}, {"stream": True}):
                    [(status, _, body)] = at_once(1, [server], "up/priced-forced", key=key, **{name: value}, **more)
                    error = body["error"]
                    assert (status, error["param"], error["code"]) == (400, name, "unsupported_parameter")
        auth = {"Authorization": "Bearer sk-canary-1"}
        ask = {"model": "up/priced-routed-vectors", "input": "a", "provider": {"order": ["x"]}}
        assert httpx.post(f"{server.url}/embeddings", json=ask, headers=auth).status_code == 400
        assert upstream.of("priced-forced") == upstream.of("priced-routed-vectors") == []
        [(status, _, _)] = at_once(1, [server], "up/priced-forced", key="sk-canary-3", **FORCED)
        assert (status, FORCED.items() <= upstream.of("priced-forced")[0].json.items()) == (200, True)
    allowed = re.sub(r"up: \{", "up: {overrides: {allow: [models, route]}, ", text)
    with Process(allowed) as server:
        more = {"models": ["d/dear"], "route": "fallback"}
        [(status, _, _)] = at_once(1, [server], "up/priced-forced", key="sk-canary-1", **more)
        assert (status, more.items() <= upstream.of("priced-forced")[1].json.items()) == (200, True)


def test_a_tier_is_reserved_and_booked_at_its_price_and_told(upstream: Scripted, tmp_path: Path) -> None:
    facts = "  tiered: {price: {input: 1000, output: 1000}, tiers: {priority: 2}}\n"
    text = settings(upstream, tmp_path, ["budget_usd: 2, budget_period: total"]).replace(
        "model_facts:\n", f"model_facts:\n{facts}"
    )
    used = {"prompt_tokens": 100, "completion_tokens": 100, "total_tokens": 200}
    message = {"role": "assistant", "content": "Yes."}
    whole = {"choices": [{"index": 0, "message": message, "finish_reason": "stop"}], "usage": used}
    end = {"choices": [{"index": 0, "delta": {"content": "Yes."}, "finish_reason": "stop"}], "service_tier": "default"}
    upstream.script(
        "tiered",
        answer({**whole, "service_tier": "priority"}),
        stream(sse(end, {"choices": [], "usage": used, "service_tier": "default"})),
        answer(whole),
        answer({**whole, "service_tier": "of tomorrow"}),
    )
    with Process(text) as server:
        tiers = []
        for i in range(4):
            [(status, _, body)] = at_once(
                1, [server], "up/tiered", max_tokens=10, service_tier="priority", stream=i == 1
            )
            assert status == 200
            tiers.append(
                body.get("service_tier") if i != 1 else "default" if '"service_tier":"default"' in body else None
            )
        assert tiers == ["priority", "default", None, "of tomorrow"]
        spent = usage(server)["limits"]["budget"]["spent_usd"]
        assert [row["cost"] for row in rows(tmp_path)] == [400_000, 200_000, 400_000, 400_000]
        assert spent == pytest.approx(1.4)
        [(status, _, body)] = at_once(1, [server], "up/tiered", max_tokens=500, service_tier="priority")
        assert (status, "may cost $1.0" in body["error"]["message"]) == (429, True)  # of 500 tokens, twice $0.50
