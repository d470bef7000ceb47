"""The Responses API against what clients and upstreams may send to break it. The real process, raw requests."""

import asyncio
import json
from collections.abc import Callable, Iterator
from typing import Any

import httpx2 as httpx
import pytest
from process import Process
from scripted import Upstream, answer, stream

from server.responses_store import Pin, ResponsesStore, Stored

Json = dict[str, Any]
Scripted = Callable[..., str]
CONFIG = """
server: {{port: 0, max_body: 64KiB}}
providers:
  echo: {{options: {{delay: 0}}}}
  openai: {{base_url: "{url}/v1", api_key: "sk-upstream-canary"}}
models:
  echo: echo
"""
HALF = "\ud800"  # of a surrogate pair: legal in JSON, and in no database
ODD_OUTPUT: list[Any] = [5, None, "x", [], {}, {"id": 7}, {"id": []}, {"id": HALF}, {"type": [], "id": "odd_1"}]


@pytest.fixture(scope="module")
def gateway(upstream: Upstream) -> Iterator[Process]:
    with Process(CONFIG.format(url=upstream.url)) as process:
        yield process


def response(ident: Any, output: list[Any]) -> Json:
    usage = {"input_tokens": 1, "output_tokens": 1, "total_tokens": 2}
    return {
        "id": ident,
        "object": "response",
        "created_at": 1,
        "status": "completed",
        "model": "up",
        "output": output,
        "usage": usage,
    }


@pytest.mark.parametrize("kind", [[], {}, 5, True, "", None], ids=str)
def test_an_item_whose_type_is_no_text_is_the_upstreams_to_judge(
    gateway: Process, http: httpx.Client, scripted: Scripted, kind: Any
):
    name = scripted(answer(response("resp_t", [])))
    body = {"model": f"openai/{name}", "input": [{"type": kind, "role": "user", "content": "x"}]}
    assert http.post(f"{gateway.url}/responses", json=body).status_code == 200


@pytest.mark.parametrize("ident", ["resp_odd", HALF, "../files", ["x"], None], ids=repr)
def test_an_answer_of_odd_items_and_ids_passes(gateway: Process, http: httpx.Client, scripted: Scripted, ident: Any):
    given = response(ident, ODD_OUTPUT)
    name = scripted(answer(given))
    found = http.post(f"{gateway.url}/responses", json={"model": f"openai/{name}", "input": "x"})
    assert (found.status_code, json.loads(found.content)) == (200, given)


@pytest.mark.parametrize("ident", [HALF, "../files"], ids=repr)
def test_a_stream_of_an_odd_id_passes(gateway: Process, http: httpx.Client, scripted: Scripted, ident: str):
    kinds = {"response.created": [], "response.completed": ODD_OUTPUT}
    events = [{"type": kind, "response": response(ident, output)} for kind, output in kinds.items()]
    data = b"".join(f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode() for event in events)
    name = scripted(stream(data))
    body = {"model": f"openai/{name}", "input": "x", "stream": True}
    found = http.post(f"{gateway.url}/responses", json=body)
    assert (found.status_code, found.content) == (200, data)


def test_an_item_that_is_named_many_times_is_bounded_as_any_body(gateway: Process, http: httpx.Client):
    url = f"{gateway.url}/responses"
    made = http.post(url, json={"model": "echo", "input": "a" * 30_000}).json()
    (item,) = http.get(f"{url}/{made['id']}/input_items").json()["data"]
    named = {"type": "item_reference", "id": item["id"]}
    assert http.post(url, json={"model": "echo", "input": [named]}).status_code == 200
    found = http.post(url, json={"model": "echo", "input": [named] * 800})
    assert (found.status_code, found.json()["error"]["code"]) == (413, "request_too_large")


@pytest.mark.parametrize("ident", ["..%2Ffiles", "%2E%2E", "a%2Fb", "a%3Fb", "a%00", "a%0Ab", "a" * 600, "%ED%A0%80"])
@pytest.mark.parametrize(
    ("method", "more"), [("GET", ""), ("DELETE", ""), ("GET", "/input_items"), ("POST", "/cancel")]
)
def test_what_is_no_id_is_asked_of_nobody(gateway: Process, upstream: Upstream, ident: str, method: str, more: str):
    before = len(upstream.requests)
    found = httpx.request(method, f"{gateway.url}/responses/{ident}{more}")
    assert found.status_code == 404
    assert len(upstream.requests) == before


@pytest.mark.parametrize("path", ["memory", "file"])
def test_many_ids_are_looked_up_in_turns(path: str, tmp_path: Any):
    """Other work of the event loop goes on between them."""

    async def run() -> tuple[Any, Any, int]:
        store = ResponsesStore("memory" if path == "memory" else f"{tmp_path}/responses.db", 100, 2**20, lambda: 1.0)
        own = {"id": "msg_1", "type": "message"}
        await store.put("me", Stored("resp_1", None, "echo", False, [own], response("resp_1", [*ODD_OUTPUT])))
        await store.pin("me", "openai", ["id_4999"])
        turns = 0

        async def other() -> None:
            nonlocal turns
            while True:
                turns += 1
                await asyncio.sleep(0)

        task = asyncio.create_task(other())
        idents = [f"id_{n}" for n in range(5000)]
        found = await store.items("me", [*idents, "msg_1", "odd_1", HALF.encode("utf-8", "replace").decode()])
        pins = await store.pinned(idents)
        task.cancel()
        store.close()
        return found, pins, turns

    found, pins, turns = asyncio.run(run())
    assert found == {"msg_1": {"id": "msg_1", "type": "message"}, "odd_1": {"type": [], "id": "odd_1"}}
    assert pins == {"id_4999": Pin("me", "openai")}
    assert turns >= 20


@pytest.mark.parametrize("named", [True, False], ids=["named", "unnamed"])
@pytest.mark.parametrize("kind", ["error", "response.failed"])
def test_a_failure_inside_a_stream_holds_no_secret(
    gateway: Process, http: httpx.Client, scripted: Scripted, kind: str, named: bool
):
    said = {"type": "response.output_text.delta", "item_id": "m", "output_index": 0, "content_index": 0, "delta": "Hi"}
    wrong = {"code": "server_error", "message": "The key sk-upstream-canary is wrong."}
    failed = {"type": kind, **(wrong if kind == "error" else {"response": {**response("resp_f", []), "error": wrong}})}
    events = [json.dumps(event) for event in (said, failed)]
    names = [f"event: {event['type']}\n" if named else "" for event in (said, failed)]
    data = "".join(f"{name}data: {event}\n\n" for name, event in zip(names, events, strict=True))
    name = scripted(stream(data.encode()))
    body = {"model": f"openai/{name}", "input": "x", "stream": True}
    found = http.post(f"{gateway.url}/responses", json=body)
    assert "Hi" in found.text and "is wrong." in found.text
    assert "canary" not in found.text
