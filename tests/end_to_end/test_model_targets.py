"""GET /v1/models/{id}: a model's other names, its targets in order with their state, and what is dropped for them."""

from collections.abc import Iterator
from typing import Any

import httpx2 as httpx
import pytest
from process import Process
from scripted import Upstream, answer

APP, LIMITED = "sk-canary-of-an-app-0123", "sk-canary-limited-0123456"


def text(upstream: Upstream, more: str = "") -> str:
    return f"""
server: {{port: 0, cooldown: {{failures: 1, seconds: 60}}}}
keys:
  - {{name: app, key: {APP}}}
  - {{name: limited, key: {LIMITED}, models: [pool]}}
providers:
  up: {{protocol: openai, base_url: "{upstream.url}/v1", api_key: sk-upstream-canary}}
  claude: {{host: anthropic, base_url: "{upstream.url}", api_key: sk-upstream-canary}}
models:
  pool: [{{target: up/plain, on: [context]}}, claude/claude-sonnet-4-5]
  same: [{{target: up/plain, on: [context]}}, claude/claude-sonnet-4-5]
  turned: [claude/claude-sonnet-4-5, up/plain]
  shared: {{targets: {{up/plain: 1, up/tired: 3}}}}
  tired: up/tired
  short: up/plain
  vectors: up/vectors
model_facts:
  plain: {{context: 8000, max_output: 1000, stop: false, penalties: false, price: {{input: 1, output: 2, cache_read: 0.1}}}}
  vectors: {{embeds: true}}
  dear: {{price: {{input: 3, output: 15}}, long_context: {{above: 200000, input: 6, output: 22.5}},
    off_peak: {{input: 1, output: 5, peak: ["01:00-04:00"], peak_days: mon-fri}}}}
{more}
"""


@pytest.fixture(scope="module")
def server(upstream: Upstream) -> Iterator[Process]:
    with Process(text(upstream)) as running:
        yield running


def card(server: Process, model: str, key: str = APP) -> dict[str, Any]:
    response = httpx.get(f"{server.url}/models/{model}", headers={"Authorization": f"Bearer {key}"})
    assert response.status_code == 200 and "canary" not in response.text, response.text
    return dict(response.json())


def test_targets_stand_in_their_order(server: Process) -> None:
    first, second = card(server, "pool")["targets"]
    assert first == {
        "target": "up/plain", "status": "up", "on": ["context"],
        "architecture": {"input_modalities": ["text"], "output_modalities": ["text"]},
        "supported_parameters": [
            "max_tokens", "temperature", "top_p", "tools", "tool_choice", "response_format", "structured_outputs",
        ],
        "context_length": 8000, "top_provider": {"context_length": 8000, "max_completion_tokens": 1000},
        "pricing": {"prompt": "0.000001", "completion": "0.000002", "input_cache_read": "0.0000001"},
        "dropped": ["presence_penalty", "frequency_penalty"], "refused": ["stop"],
    }  # fmt: skip
    assert second["target"] == "claude/claude-sonnet-4-5" and second["context_length"] >= 200_000
    assert {"seed", "logit_bias", "presence_penalty", "frequency_penalty"} <= {*second["dropped"]}
    assert {"n", "logprobs"} <= {*second["refused"]} and "tools" not in second["dropped"] + second["refused"]
    assert [each["target"] for each in card(server, "turned")["targets"]] == [second["target"], "up/plain"]
    assert [(each["target"], each["weight"]) for each in card(server, "shared")["targets"]] == [
        ("up/plain", 1),
        ("up/tired", 3),
    ]


def test_models_tell_when_they_were_released(server: Process) -> None:
    """The first target's model: the month, and its first day in each API's form; a constant where it is not known."""
    turned, plain = card(server, "turned"), card(server, "pool")
    assert (turned["released"], turned["created"]) == ("2025-09", 1_756_684_800)
    assert ("released" in plain, plain["created"]) == (False, 1_764_000_000)
    headers = {"x-api-key": APP, "anthropic-version": "2023-06-01"}
    told = httpx.get(f"{server.url}/models", headers=headers).json()["data"]
    born = {each["id"]: each["created_at"] for each in told}
    assert (born["turned"], born["pool"]) == ("2025-09-01T00:00:00Z", "2025-11-24T16:00:00Z")


def test_what_is_said_to_be_dropped_is(server: Process, upstream: Upstream) -> None:
    """The header of a request that is answered names the same."""
    upstream.script("plain", answer({"choices": [{"index": 0, "message": {"content": "Hi"}, "finish_reason": "stop"}]}))
    body = {"model": "pool", "messages": [{"role": "user", "content": "Hi"}], "presence_penalty": 0.5, "seed": 7}
    sent = httpx.post(f"{server.url}/chat/completions", json=body, headers={"Authorization": f"Bearer {APP}"})
    assert sent.status_code == 200 and sent.headers["x-modelserver-dropped"] == "presence_penalty"


def test_a_server_that_drops_nothing_refuses_it(upstream: Upstream) -> None:
    with Process(text(upstream, "strict_params: true")) as server:
        [target] = card(server, "short")["targets"]
    assert (target["dropped"], target["refused"]) == ([], ["stop", "presence_penalty", "frequency_penalty"])


def test_a_model_of_embeddings(server: Process) -> None:
    [target] = card(server, "vectors")["targets"]
    assert target["architecture"]["output_modalities"] == ["embeddings"] and target["supported_parameters"] == []
    assert (target["dropped"], target["refused"]) == ([], [])


def test_prices_of_long_prompts_and_quiet_hours(server: Process) -> None:
    [target] = card(server, "up/dear")["targets"]
    assert target["pricing"] == {"prompt": "0.000003", "completion": "0.000015"}
    assert target["long_context"] == {"above": 200_000, "prompt": "0.000006", "completion": "0.0000225"}
    off_peak = {"peak": ["01:00-04:00"], "peak_days": "mon-fri", "prompt": "0.000001", "completion": "0.000005"}
    assert target["off_peak"] == off_peak


def test_aliases_lead_to_the_same_targets(server: Process) -> None:
    assert card(server, "pool")["aliases"] == ["same"]
    assert card(server, "turned")["aliases"] == []
    assert card(server, "short")["aliases"] == ["up/plain"]
    assert card(server, "up/plain")["aliases"] == ["short"]
    assert card(server, "pool", LIMITED)["aliases"] == []  # which this key may not use


def test_a_target_that_cools_down(server: Process, upstream: Upstream) -> None:
    upstream.script("tired", answer({"error": {"message": "broken"}}, 500))
    body = {"model": "tired", "messages": [{"role": "user", "content": "Hi"}]}
    headers = {"Authorization": f"Bearer {APP}"}
    assert httpx.post(f"{server.url}/chat/completions", json=body, headers=headers).status_code == 502
    told = card(server, "shared")
    assert told["status"] == "up"
    assert [(each["target"], each["status"]) for each in told["targets"]] == [
        ("up/plain", "up"),
        ("up/tired", "cooling_down"),
    ]


def test_names_of_the_built_in_model(server: Process, site: Process) -> None:
    told = httpx.get(f"{site.url}/models/resilient").json()
    assert [each["target"] for each in told["targets"]] == ["echo/echo-503", "echo/echo"] and told["aliases"] == []
    assert [each["dropped"] + each["refused"] for each in told["targets"]] == [[], []]
