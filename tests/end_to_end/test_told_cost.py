"""What an upstream says a request has cost is booked; what the list of prices says stands beside it in the row."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2 as httpx
import pytest
from openai import OpenAI
from process import Process
from scripted import Upstream, answer, sse, stream

HI: list[Any] = [{"role": "user", "content": "Hello!"}]
USAGE: dict[str, Any] = {"prompt_tokens": 1000, "completion_tokens": 100, "total_tokens": 1100}


@pytest.fixture(scope="module")
def server(upstream: Upstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    folder: Path = tmp_path_factory.mktemp("usage")
    providers = "".join(
        f'  {host}: {{base_url: "{upstream.url}/v1", api_key: sk-upstream-canary}}\n'
        for host in ("openai", "openrouter", "xai", "perplexity")
    )
    text = f"""
server: {{port: 0}}
providers:
{providers}
model_facts:
  priced: {{price: {{input: 1, output: 10}}}}
usage: {{path: "{folder}/usage.db"}}
"""
    with Process(text) as running:
        yield running


def booked(server: Process) -> tuple[float, float]:
    [row] = httpx.get(f"{server.url}/usage?limit=1").json()["requests"]
    return row["cost_usd"], row["listed_usd"]


@pytest.mark.parametrize("streaming", [True, False])
@pytest.mark.parametrize(
    ("model", "told", "cost", "listed"),
    [
        ("openrouter/priced", {"cost": 0.0005}, 0.0005, 0.002),
        ("openrouter/not-priced", {"cost": 0.0005}, 0.0005, None),
        ("openrouter/priced", {"cost": -5}, 0.002, 0.002),
        ("xai/priced", {"cost_in_usd_ticks": 70_000_000}, 0.007, 0.002),
        ("perplexity/priced", {"cost": {"request_cost": 0.005, "total_cost": 0.0061}}, 0.0061, 0.002),
        ("openai/priced", {"cost": 0}, 0.002, 0.002),
    ],
)
def test_a_chat_answer(
    server: Process,
    upstream: Upstream,
    model: str,
    told: dict[str, Any],
    cost: float,
    listed: float | None,
    streaming: bool,
) -> None:
    usage = USAGE | told
    if streaming:
        begin = {
            "id": "u",
            "choices": [{"index": 0, "delta": {"role": "assistant", "content": "Yes."}, "finish_reason": None}],
        }
        end = {"id": "u", "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}
        script = stream(sse(begin, end, {"id": "u", "choices": [], "usage": usage}))
    else:
        said = {"role": "assistant", "content": "Yes."}
        script = answer(
            {"id": "u", "choices": [{"index": 0, "message": said, "finish_reason": "stop"}], "usage": usage}
        )
    upstream.script(model.partition("/")[2], script)
    with OpenAI(base_url=server.url, api_key="-", max_retries=0) as client:
        got: Any = client.chat.completions.create(model=model, messages=HI, stream=streaming)
        if streaming:
            list(got)
    assert booked(server) == (cost, listed)


@pytest.mark.parametrize("streaming", [True, False])
def test_a_response_that_is_passed_on(server: Process, upstream: Upstream, streaming: bool) -> None:
    usage = {"input_tokens": 1000, "output_tokens": 100, "total_tokens": 1100, "cost_in_usd_ticks": 70_000_000}
    whole = {"id": "resp_1", "object": "response", "created_at": 1, "model": "u", "status": "completed", "output": [],
             "parallel_tool_calls": True, "tool_choice": "auto", "tools": [], "usage": usage}  # fmt: skip
    event = {"type": "response.completed", "sequence_number": 1, "response": whole}
    upstream.script(
        "priced",
        stream(f"event: response.completed\ndata: {json.dumps(event)}\n\n".encode()) if streaming else answer(whole),
    )
    with OpenAI(base_url=server.url, api_key="-", max_retries=0) as client:
        got: Any = client.responses.create(model="xai/priced", input="Hello!", stream=streaming)
        if streaming:
            list(got)
    assert booked(server) == (0.007, 0.002)
