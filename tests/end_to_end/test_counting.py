"""Requests that only count tokens: they have bounds of their own, and nobody counts what is another client's."""

from collections.abc import Iterator
from typing import Any, Final

import httpx2 as httpx
import pytest
from http_client import HELLO
from process import Process
from scripted import Upstream, answer

LIMITED, POOR, ONE, OTHER = (f"sk-client-canary-{name}" for name in ("limited", "poor", "one", "other"))
CONFIG: Final = """
server: {{port: 0}}
usage: {{path: usage.db}}
keys:
  - {{name: limited, key: "{limited}", rpm: 2}}
  - {{name: poor, key: "{poor}", budget_usd: 1}}
  - {{name: one, key: "{one}"}}
  - {{name: other, key: "{other}"}}
providers:
  echo: {{options: {{delay: 0}}}}
  oai: {{host: openai, base_url: "{url}/v1", api_key: sk-upstream-canary}}
models: {{echo: echo}}
"""


@pytest.fixture(scope="module")
def counting(upstream: Upstream) -> Iterator[Process]:
    upstream.script("gpt-5.4", answer({"object": "response.input_tokens", "input_tokens": 7}))
    with Process(CONFIG.format(url=upstream.url, limited=LIMITED, poor=POOR, one=ONE, other=OTHER)) as process:
        yield process


def post(http: httpx.Client, server: Process, path: str, key: str, **body: Any) -> tuple[int, Any]:
    """Return the status of an answer, and the code of its error or the value itself."""
    got = http.post(f"{server.url}/{path}", json=body, headers={"Authorization": f"Bearer {key}"})
    value = got.json()
    return got.status_code, value["error"].get("code", value["error"]["type"]) if "error" in value else value


def test_a_key_counts_as_often_as_it_may_ask_and_beside_that(http: httpx.Client, counting: Process) -> None:
    def ask(path: str) -> int:
        return post(http, counting, path, LIMITED, model="echo", messages=HELLO)[0]

    assert [ask("messages/count_tokens") for _ in range(3)] == [200, 200, 429]
    assert [ask("chat/completions") for _ in range(3)] == [200, 200, 429]
    status, code = post(http, counting, "responses/input_tokens", LIMITED, model="oai/gpt-5.4", input="Hi")
    assert (status, code) == (429, "rate_limit_exceeded")
    status, count = post(http, counting, "messages/count_tokens", ONE, model="echo", messages=HELLO)
    assert status == 200 and count["input_tokens"] > 0


@pytest.mark.parametrize("field", ["previous_response_id", "conversation", "prompt"])
def test_a_limited_key_counts_what_is_in_its_request(http: httpx.Client, counting: Process, field: str) -> None:
    value = {"id": "pmpt_1"} if field == "prompt" else "resp_1"
    ask = {"model": "oai/gpt-5.4", "input": "Hi", "max_output_tokens": 5}
    assert post(http, counting, "responses/input_tokens", POOR, **ask)[0] == 200
    refused = post(http, counting, "responses/input_tokens", POOR, **ask, **{field: value})
    assert refused == (400, "unsupported_parameter")


def test_nobody_counts_what_is_another_clients(http: httpx.Client, counting: Process, upstream: Upstream) -> None:
    ident = "resp_0a1b2c3d"
    made = {"id": ident, "object": "response", "status": "completed", "output": [], "model": "gpt-5.4", "created_at": 1}
    upstream.script("gpt-5.4-mini", answer(made))
    upstream.script("gpt-5.4-nano", answer({"object": "response.input_tokens", "input_tokens": 7}))
    status, response = post(http, counting, "responses", ONE, model="oai/gpt-5.4-mini", input="Hi")
    assert (status, response["id"]) == (200, ident)
    ask = {"model": "oai/gpt-5.4-nano", "input": "Hi", "previous_response_id": ident}
    assert post(http, counting, "responses/input_tokens", ONE, **ask)[1]["input_tokens"] == 7
    refused = post(http, counting, "responses/input_tokens", OTHER, **ask)
    assert refused == (400, "previous_response_not_found")
