"""POST /v1/explain: what a request would become, and where it would go. Nothing is sent."""

import json
from collections.abc import Iterator
from typing import Any

import httpx2 as httpx
import pytest
from openai import AuthenticationError, BadRequestError, NotFoundError, OpenAI
from process import Process
from scripted import Upstream

KEY, ADMIN, POOR = "sk-canary-of-a-client-0123", "sk-canary-of-an-admin-0123", "sk-canary-of-a-poor-client"
SECRET = "sk-upstream-canary"
HI: list[Any] = [{"role": "user", "content": "Hello!"}]
TOOL: Any = {"type": "function", "function": {"name": "read", "parameters": {"type": "object", "properties": {}}}}


@pytest.fixture(scope="module")
def server(upstream: Upstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    text = f"""
server: {{port: 0}}
keys:
  - {{name: app, key: {KEY}}}
  - {{name: boss, key: {ADMIN}, admin: true}}
  - {{name: poor, key: {POOR}, budget_usd: 1}}
providers:
  up: {{protocol: openai, base_url: "{upstream.url}/v1", api_key: [{SECRET}, {SECRET}-2]}}
  claude: {{host: anthropic, base_url: "{upstream.url}", api_key: {SECRET}, options: {{headers: {{x-own: sk-own-canary}}}}}}
  echo: {{}}
  oai: {{host: openai, base_url: "{upstream.url}/v1", api_key: {SECRET}}}
models:
  pool: [{{target: up/tiny, on: [context]}}, claude/claude-sonnet-4-5, up/any]
  strict: [up/tiny, up/any]
  echo: echo
  responses: oai/gpt-5.6-terra
model_facts:
  tiny: {{context: 1000, price: {{input: 1, output: 2}}, max_output: 100}}
usage: {{path: "{tmp_path_factory.mktemp("usage")}/usage.db"}}
"""
    with Process(text) as running:
        yield running


def explained(
    server: Process, body: dict[str, Any], path: str = "/explain", key: str = ADMIN, **headers: str
) -> dict[str, Any]:
    with OpenAI(base_url=server.url, api_key=key, max_retries=0) as client:
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        told: Any = client.post(path, body=body, cast_to=httpx.Response, options={"headers": sent})
        assert SECRET not in told.text and "sk-own-canary" not in told.text
        return dict(told.json())


def test_a_chat_request_to_three_targets(server: Process, upstream: Upstream) -> None:
    prompt = "word " * 5000
    before = list(upstream.requests)
    body = {
        "model": "pool",
        "messages": [{"role": "user", "content": prompt}],
        "tools": [TOOL],
        "seed": 7,
        "max_tokens": 50,
    }
    got = explained(server, body)
    assert (got["object"], got["api"], got["model"]) == ("explanation", "chat/completions", "pool")
    tiny, claude, other = got["targets"]
    assert (tiny["target"], tiny["verdict"], tiny["why"]["code"]) == (
        "up/tiny",
        "passed_over",
        "context_length_exceeded",
    )
    assert tiny["estimate"] == {
        "prompt_tokens": 1000, "completion_tokens_at_most": 50, "prompt_usd": 0.001, "cost_usd_at_most": 0.0011,
    }  # fmt: skip
    assert (claude["target"], claude["verdict"]) == ("claude/claude-sonnet-4-5", "asked")
    assert (claude["added"], claude["dropped"], claude["mapped"]) == (
        ["cache_control"],
        ["seed"],
        ["messages", "tools"],
    )
    request = claude["request"]
    assert request["url"] == f"{upstream.url}/v1/messages" and request["method"] == "POST"
    assert (request["headers"]["x-api-key"], request["headers"]["x-own"]) == ("…", "…")
    assert request["body"]["max_tokens"] == 50 and request["body"]["messages"][0]["content"][0]["cache_control"]
    assert (other["target"], other["verdict"], other["dropped"]) == ("up/any", "asked_next", [])
    assert other["request"]["body"]["seed"] == 7 and other["request"]["headers"]["Authorization"] == "Bearer …"
    assert other["estimate"]["cost_usd_at_most"] is None
    free = explained(server, {"model": "echo", "messages": [{"role": "user", "content": "Hi"}]})["targets"][0]
    assert (free["estimate"]["completion_tokens_at_most"], free["estimate"]["cost_usd_at_most"]) == (None, 0)
    assert upstream.requests == before
    rows = httpx.get(f"{server.url}/usage", headers={"Authorization": f"Bearer {ADMIN}"}).json()["requests"]
    assert rows == []


def test_only_administrators_see_where_upstreams_are(server: Process, upstream: Upstream) -> None:
    got = explained(server, {"model": "pool", "messages": HI}, key=KEY)
    assert [each["request"]["url"] for each in got["targets"]] == [
        "/v1/chat/completions",
        "/v1/messages",
        "/v1/chat/completions",
    ]
    assert str(upstream.port) not in json.dumps(got)


def test_a_request_that_its_first_target_refuses(server: Process) -> None:
    got = explained(server, {"model": "strict", "messages": [{"role": "user", "content": "word " * 5000}]})
    assert [(each["target"], each["verdict"]) for each in got["targets"]] == [
        ("up/tiny", "refused"),
        ("up/any", "not_reached"),
    ]


@pytest.mark.parametrize(
    ("path", "headers"), [("/explain/messages", {}), ("/explain", {"x_modelserver_api": "messages"})]
)
def test_a_messages_request(server: Process, path: str, headers: dict[str, str]) -> None:
    body = {"model": "pool", "max_tokens": 9, "system": "Be brief.", "messages": HI}
    got = explained(server, body, path, **headers)
    assert got["api"] == "messages"
    tiny, claude, _ = got["targets"]
    assert (tiny["native"], tiny["verdict"], tiny["mapped"]) == (False, "asked", ["max_tokens", "system", "messages"])
    assert (claude["native"], claude["mapped"], claude["verdict"]) == (True, [], "asked_next")
    assert claude["request"]["body"] == {**body, "model": "claude-sonnet-4-5"}


def test_a_responses_request_and_a_reasoning_model_with_tools(server: Process, upstream: Upstream) -> None:
    got = explained(server, {"model": "responses", "input": "Hello!"}, "/explain/responses")
    assert (got["api"], got["targets"][0]["native"]) == ("responses", True)
    assert got["targets"][0]["request"]["body"] == {"model": "gpt-5.6-terra", "input": "Hello!"}
    got = explained(server, {"model": "responses", "messages": HI, "tools": [TOOL]}, "/explain/chat/completions")
    assert got["targets"][0]["request"]["url"] == f"{upstream.url}/v1/responses"
    assert "reasoning" not in got["targets"][0]["request"]["body"]


def test_a_limited_key_is_told_its_limit(server: Process) -> None:
    got = explained(server, {"model": "pool", "messages": HI}, key=POOR)
    tiny, claude, other = got["targets"]
    assert tiny["added"] == ["max_tokens=100"] and tiny["request"]["body"]["max_tokens"] == 100
    assert claude["verdict"] == "asked_next" and other["why"]["code"] == "model_not_priced"


def test_what_cannot_be_explained(server: Process) -> None:
    with pytest.raises(NotFoundError):
        explained(server, {"model": "no-such-model", "messages": HI})
    with pytest.raises(BadRequestError) as caught:
        explained(server, {"model": "pool", "messages": HI}, x_modelserver_api="soap")
    assert caught.value.param == "x-modelserver-api"
    with pytest.raises(BadRequestError):
        explained(server, {"model": "pool", "messages": "Hello!"})
    with pytest.raises(AuthenticationError):
        explained(server, {"model": "pool", "messages": HI}, key="sk-canary-of-nobody")
    refused = httpx.post(f"{server.url}/explain/messages", headers={"x-api-key": KEY}, json={"model": "pool"})
    assert refused.status_code == 400 and refused.json()["type"] == "error"
