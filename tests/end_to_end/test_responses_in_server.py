"""The Responses API through the real process: state, endpoints, native calls. The openai SDK, and raw requests.

Numbers are the acceptance cases of the Responses API.
"""

import importlib.util
import itertools
import json
import socket
from collections.abc import Callable, Iterator
from typing import Any

import httpx2 as httpx
import openai
import pytest
from conftest import LAPTOP, PHONE
from openai import OpenAI
from process import Process
from scripted import Request, Upstream, answer, stream

Json = dict[str, Any]
Scripted = Callable[..., str]
HI = {"role": "user", "content": "Hi"}
# Native answers pass as bytes where the exchange with the upstream can do that.
passes = pytest.mark.skipif(
    importlib.util.find_spec("providers.frames") is None, reason="no raw events in this version"
)

CONFIG = """
server: {{port: 0}}
providers:
  echo: {{options: {{delay: 0}}}}
  chat: {{protocol: openai, base_url: "{url}/v1", api_key: "sk-upstream-canary"}}
  openai: {{base_url: "{url}/v1", api_key: "sk-upstream-canary"}}
  xai: {{base_url: "{url}/v1", api_key: "sk-upstream-canary"}}
  shy: {{host: openai, base_url: "{url}/v1", api_key: "sk-upstream-canary", reasoning: false}}
  opted: {{protocol: openai, base_url: "{url}/v1", api_key: "sk-upstream-canary", responses: native}}
  sent-back: {{host: openai, base_url: "{url}/v1", api_key: "sk-upstream-canary", responses: hub}}
models:
  echo: echo
  "mixed-*": ["chat/*", "openai/*"]
{more}
"""
KEYS = f"""
keys:
  - {{name: laptop, key: "{LAPTOP}"}}
  - {{name: phone, key: "{PHONE}"}}
"""


@pytest.fixture(scope="module")
def gateway(upstream: Upstream) -> Iterator[Process]:
    with Process(CONFIG.format(url=upstream.url, more="")) as process:
        yield process


@pytest.fixture(scope="module")
def guarded(upstream: Upstream) -> Iterator[Process]:
    """The same with two keys."""
    with Process(CONFIG.format(url=upstream.url, more=KEYS)) as process:
        yield process


@pytest.fixture(scope="module")
def sdk(gateway: Process) -> Iterator[OpenAI]:
    with OpenAI(base_url=gateway.url, api_key="-", max_retries=0) as client:
        yield client


_numbers = itertools.count(1)


def said(text: str, ident: str = "", **more: Any) -> Json:
    """A Response as OpenAI gives it."""
    ident = ident or f"resp_{next(_numbers):032x}"
    part = {"type": "output_text", "text": text, "annotations": [], "logprobs": []}
    message = {"type": "message", "id": f"msg_{ident}", "status": "completed", "role": "assistant", "content": [part]}
    return {
        "id": ident,
        "object": "response",
        "created_at": 1,
        "status": "completed",
        "error": None,
        "incomplete_details": None,
        "model": "up-1",
        "output": [message],
        "parallel_tool_calls": True,
        "tool_choice": "auto",
        "tools": [],
        "usage": {
            "input_tokens": 5,
            "input_tokens_details": {"cached_tokens": 0},
            "output_tokens": 2,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": 7,
        },
        **more,
    }


def streamed(text: str, ident: str = "", end: bool = True, **more: Any) -> bytes:
    """The same as a stream, with what OpenAI pads it with, and an event that nobody knows."""
    response = said(text, ident, **more)
    begun = {**response, "status": "in_progress", "output": [], "usage": None}
    item = response["output"][0]
    at = {"item_id": item["id"], "output_index": 0, "content_index": 0}
    events: list[Json] = [
        {"type": "response.created", "response": begun},
        {"type": "response.in_progress", "response": begun},
        {
            "type": "response.output_item.added",
            "output_index": 0,
            "item": {**item, "status": "in_progress", "content": []},
        },
        {"type": "response.content_part.added", **at, "part": {"type": "output_text", "text": "", "annotations": []}},
        {"type": "response.brand_new", "anything": [1]},
        *({"type": "response.output_text.delta", **at, "delta": letter, "obfuscation": "x7Kq"} for letter in text),
    ]
    if end:
        events += [
            {"type": "response.output_text.done", **at, "text": text},
            {"type": "response.content_part.done", **at, "part": item["content"][0]},
            {"type": "response.output_item.done", "output_index": 0, "item": item},
            {"type": "response.completed", "response": response},
        ]
    lines = [
        f"event: {each['type']}\ndata: {json.dumps({**each, 'sequence_number': n})}\n\n"
        for n, each in enumerate(events)
    ]
    return "".join(lines).encode()


def chat(text: str) -> Json:
    """A chat completion as an upstream gives it."""
    message = {"role": "assistant", "content": text}
    usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
    return {"choices": [{"index": 0, "message": message, "finish_reason": "stop"}], "usage": usage}


def asked_of(upstream: Upstream, name: str) -> list[Request]:
    return [each for each in upstream.requests if each.model == name]


def words(response: Any) -> list[tuple[str, str]]:
    return [(item.type, item.content[0].text) for item in response.output]


# State


@pytest.mark.case(responses=67)
def test_a_response_can_be_read_again(sdk: OpenAI):
    made = sdk.responses.create(model="echo", input="Hello")
    again = sdk.responses.retrieve(made.id)
    assert again.model_dump() == made.model_dump()
    assert made.model_dump()["store"] is True
    items = sdk.responses.input_items.list(made.id).data
    assert [(item.type, item.role, item.content[0].text) for item in items] == [("message", "user", "Hello")]  # type: ignore[union-attr]
    assert items[0].id.startswith("msg_ms")


@pytest.mark.case(responses=67)
def test_a_conversation_goes_on_by_its_id(sdk: OpenAI, upstream: Upstream, scripted: Scripted):
    name = scripted(answer(chat("one")), answer(chat("two")), answer(chat("three")))
    first = sdk.responses.create(model=f"chat/{name}", input="a", instructions="Be brief.")
    second = sdk.responses.create(model=f"chat/{name}", input="b", previous_response_id=first.id)
    third = sdk.responses.create(model=f"chat/{name}", input=[HI], previous_response_id=second.id, instructions="New.")  # type: ignore[list-item]
    assert (second.previous_response_id, third.previous_response_id) == (first.id, second.id)
    sent = [
        [(each["role"], text_of(each)) for each in request.json["messages"]] for request in asked_of(upstream, name)
    ]
    assert sent[1] == [("user", "a"), ("assistant", "one"), ("user", "b")]
    # 72: instructions are not inherited
    assert sent[2] == [
        ("system", "New."), ("user", "a"), ("assistant", "one"), ("user", "b"), ("assistant", "two"), ("user", "Hi")
    ]  # fmt: skip
    listed = sdk.responses.input_items.list(third.id, order="asc").data
    assert [item.content[0].text for item in listed] == ["a", "one", "b", "two", "Hi"]  # type: ignore[union-attr]


def text_of(message: Json) -> str:
    content = message["content"]
    return content if isinstance(content, str) else "".join(part["text"] for part in content)


@pytest.mark.parametrize("streaming", [False, True], ids=["whole", "streamed"])
@pytest.mark.case(responses=75)
def test_the_id_is_known_once_the_end_has_come(sdk: OpenAI, streaming: bool):
    if streaming:
        with sdk.responses.create(model="echo", input="Hello", stream=True) as events:
            last = next(event for event in events if event.type == "response.completed")
            second = sdk.responses.create(model="echo", input="b", previous_response_id=last.response.id)
        assert second.previous_response_id == last.response.id
    else:
        first = sdk.responses.create(model="echo", input="Hello")
        assert sdk.responses.create(model="echo", input="b", previous_response_id=first.id).status == "completed"


@pytest.mark.case(responses=68)
def test_what_is_not_to_be_kept_is_not_known(sdk: OpenAI):
    made = sdk.responses.create(model="echo", input="Hello", store=False)
    assert made.model_dump()["store"] is False
    with pytest.raises(openai.NotFoundError) as missing:
        sdk.responses.retrieve(made.id)
    assert missing.value.body == {
        "message": f"Response with id '{made.id}' not found.",
        "type": "invalid_request_error",
        "param": None,
        "code": None,
    }
    with pytest.raises(openai.BadRequestError) as refused:
        sdk.responses.create(model="echo", input="b", previous_response_id=made.id)
    assert refused.value.body == {
        "message": f"Previous response with id '{made.id}' not found.",
        "type": "invalid_request_error",
        "param": "previous_response_id",
        "code": "previous_response_not_found",
    }


@pytest.mark.case(responses=69)
def test_another_keys_response_is_as_unknown_as_any(guarded: Process, http: httpx.Client):
    laptop, phone = ({"Authorization": f"Bearer {key}"} for key in (LAPTOP, PHONE))
    made = http.post(f"{guarded.url}/responses", headers=laptop, json={"model": "echo", "input": "Hello"}).json()
    ident, never = made["id"], made["id"][:-1] + ("0" if made["id"][-1] != "0" else "1")
    item = made["output"][0]["id"]

    def tried(path: str, method: str = "GET", **more: Any) -> tuple[int, str]:
        found = http.request(method, f"{guarded.url}{path}", headers=phone, **more)
        return found.status_code, found.text.replace(ident, "ID").replace(never, "ID").replace(item, "ITEM")

    for path, method in (("", "GET"), ("", "DELETE"), ("/input_items", "GET"), ("/cancel", "POST")):
        known, unknown = (tried(f"/responses/{each}{path}", method) for each in (ident, never))
        assert known == unknown and known[0] == 404
    known, unknown = (
        tried("/responses", "POST", json={"model": "echo", "input": "x", "previous_response_id": each})
        for each in (ident, never)
    )
    assert known == unknown and known[0] == 400
    reference = [{"type": "item_reference", "id": item}]
    assert tried("/responses", "POST", json={"model": "echo", "input": reference})[0] == 404
    assert http.get(f"{guarded.url}/responses/{ident}", headers=laptop).status_code == 200
    assert http.get(f"{guarded.url}/responses/{ident}").status_code == 401


@pytest.mark.case(responses=70)
def test_a_deleted_response_is_gone(gateway: Process, http: httpx.Client):
    url = f"{gateway.url}/responses"
    first = http.post(url, json={"model": "echo", "input": "a"}).json()["id"]
    second = http.post(url, json={"model": "echo", "input": "b", "previous_response_id": first}).json()["id"]
    assert http.delete(f"{url}/{first}").json() == {"id": first, "object": "response", "deleted": True}
    assert http.delete(f"{url}/{first}").status_code == 404
    onwards = http.post(url, json={"model": "echo", "input": "c", "previous_response_id": second})
    assert onwards.status_code == 400 and onwards.json()["error"]["code"] == "previous_response_not_found"


@pytest.mark.case(responses=71)
def test_nothing_is_kept_where_that_is_off(http: httpx.Client, upstream: Upstream):
    with Process(CONFIG.format(url=upstream.url, more="responses: {store: off}")) as process:
        url = f"{process.url}/responses"
        made = http.post(url, json={"model": "echo", "input": "a"}).json()
        assert made["store"] is False
        assert http.get(f"{url}/{made['id']}").status_code == 404
        onwards = http.post(url, json={"model": "echo", "input": "c", "previous_response_id": made["id"]})
        assert onwards.json()["error"]["message"].endswith("This server keeps no responses (responses.store: off).")


@pytest.mark.case(responses=73)
def test_outputs_of_calls_come_with_the_previous_id(sdk: OpenAI, upstream: Upstream, scripted: Scripted):
    call = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    calling = chat("")
    calling["choices"][0] |= {
        "message": {"role": "assistant", "content": None, "tool_calls": [call]},
        "finish_reason": "tool_calls",
    }
    name = scripted(answer(calling), answer(chat("done")))
    tool: Any = {"type": "function", "name": "f", "parameters": {"type": "object", "properties": {}}, "strict": False}
    first = sdk.responses.create(model=f"chat/{name}", input="a", tools=[tool])
    output: Any = {"type": "function_call_output", "call_id": "c1", "output": "ok"}
    second = sdk.responses.create(model=f"chat/{name}", input=[output], tools=[tool], previous_response_id=first.id)
    assert second.output_text == "done"
    messages = asked_of(upstream, name)[1].json["messages"]
    assert [each["role"] for each in messages] == ["user", "assistant", "tool"]
    assert (messages[1]["tool_calls"][0]["id"], messages[2]["tool_call_id"]) == ("c1", "c1")


@pytest.mark.case(responses=12)
def test_an_item_that_was_kept_may_be_named(sdk: OpenAI, upstream: Upstream, scripted: Scripted):
    name = scripted(answer(chat("one")), answer(chat("two")))
    first = sdk.responses.create(model=f"chat/{name}", input="a")
    given: Any = [{"role": "user", "content": "a"}, {"type": "item_reference", "id": first.output[0].id}, HI]
    sdk.responses.create(model=f"chat/{name}", input=given)
    sent = asked_of(upstream, name)[1].json["messages"]
    assert [(each["role"], text_of(each)) for each in sent] == [("user", "a"), ("assistant", "one"), ("user", "Hi")]


@pytest.mark.parametrize(
    "ident, more, words",
    [
        (
            "msg_x",
            {"store": False},
            " Items are not persisted when `store` is set to false. Try again with `store` set to true,",
        ),
        (
            "msg_ms" + "0" * 36,
            {},
            " Items are not persisted when `store` is set to false. Try again with `store` set to true,",
        ),
    ],
    ids=["not kept", "own"],
)
@pytest.mark.case(responses=12)
def test_an_item_that_is_not_known(gateway: Process, http: httpx.Client, ident: str, more: Json, words: str):
    body = {"model": "echo", "input": [HI, {"type": "item_reference", "id": ident}], **more}
    found = http.post(f"{gateway.url}/responses", json=body)
    assert found.status_code == 404
    error = found.json()["error"]
    assert error["message"].startswith(f"Item with id '{ident}' not found.{words}")
    assert (error["param"], error["code"]) == ("input", None)


@pytest.mark.case(responses=17)
def test_a_conversation_and_a_previous_response(gateway: Process, http: httpx.Client):
    body = {"model": "echo", "input": "a", "conversation": "conv_1", "previous_response_id": "resp_1"}
    assert http.post(f"{gateway.url}/responses", json=body).status_code == 400


def test_an_expanded_conversation_is_bounded_as_any_body(http: httpx.Client, upstream: Upstream):
    with Process(CONFIG.format(url=upstream.url, more="").replace("port: 0", "port: 0, max_body: 64KiB")) as process:
        url = f"{process.url}/responses"
        made = http.post(url, json={"model": "echo", "input": "a" * 40_000}).json()
        onwards = http.post(url, json={"model": "echo", "input": "b", "previous_response_id": made["id"]})
        assert onwards.status_code == 413


@pytest.mark.case(responses=67)
def test_responses_in_a_file_outlive_a_restart(http: httpx.Client, upstream: Upstream, tmp_path: Any):
    text = CONFIG.format(url=upstream.url, more=f"responses: {{store: {tmp_path}/responses.db, ttl: 600}}")
    with Process(text) as process:
        ident = http.post(f"{process.url}/responses", json={"model": "echo", "input": "a"}).json()["id"]
    with Process(text) as process:
        again = http.post(
            f"{process.url}/responses", json={"model": "echo", "input": "b", "previous_response_id": ident}
        )
        assert again.status_code == 200
        assert http.get(f"{process.url}/responses/{ident}").json()["id"] == ident


# Endpoints


@pytest.mark.case(responses=74)
def test_a_response_of_this_server_is_over(sdk: OpenAI):
    made = sdk.responses.create(model="echo", input="a")
    with pytest.raises(openai.BadRequestError, match=r"Cannot cancel a synchronous response\."):
        sdk.responses.cancel(made.id)
    with pytest.raises(openai.BadRequestError) as refused:
        list(sdk.responses.retrieve(made.id, stream=True))
    assert (refused.value.code, refused.value.param) == ("unsupported_value", "stream")


@pytest.mark.parametrize("path", ["/v1/responses", "/responses", "/v1/responses/"])
@pytest.mark.case(responses=85)
def test_websocket_is_told_at_once_to_use_http(guarded: Process, path: str):
    """In one piece, before anybody is asked for a key, and the connection ends."""
    lines = [f"GET {path} HTTP/1.1", "Host: 127.0.0.1", "Connection: Upgrade", "Upgrade: websocket",
             "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", "", ""]  # fmt: skip
    with socket.create_connection(("127.0.0.1", guarded.port), timeout=10) as client:
        client.sendall("\r\n".join(lines).encode())
        data = b""
        while piece := client.recv(65_536):
            data += piece
    head, _, body = data.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 426 ")
    assert b"\r\nconnection: close" in head.lower()
    assert json.loads(body) == {
        "error": {
            "message": "This server speaks Responses over HTTP: POST /v1/responses.",
            "type": "invalid_request_error",
            "param": None,
            "code": "websocket_not_supported",
        }
    }


@pytest.mark.case(responses=85)
def test_without_upgrade_the_method_is_wrong(gateway: Process, http: httpx.Client):
    found = http.get(f"{gateway.url}/responses")
    assert found.status_code == 405 and found.headers["Allow"].startswith("POST")


@pytest.mark.case(responses=88)
def test_models_for_codex(gateway: Process, http: httpx.Client):
    plain = http.get(f"{gateway.url}/models").json()
    codex = http.get(f"{gateway.url}/models", params={"client_version": "0.171.0"}).json()
    assert "models" not in plain
    assert codex == {**plain, "models": []}
    assert plain["data"][0]["supported_endpoint_types"] == ["openai", "openai-response"]


@pytest.mark.case(responses=86)
def test_a_conversation_is_made_shorter(gateway: Process, http: httpx.Client, upstream: Upstream, scripted: Scripted):
    name = scripted(answer(chat("The goal is tea.")), answer(chat("two")))
    body = {"model": f"chat/{name}", "input": [HI, {"role": "assistant", "content": "Hello"}], "prompt_cache_key": "k"}
    made = http.post(f"{gateway.url}/responses/compact", json=body)
    assert made.status_code == 200
    compacted = made.json()
    assert compacted["object"] == "response.compaction" and compacted["usage"]["total_tokens"] == 2
    kept, item = compacted["output"]
    part = {"type": "input_text", "text": "Hi"}
    assert (kept["role"], kept["content"], kept["status"]) == ("user", [part], "completed") and kept["id"].startswith(
        "msg_ms"
    )
    assert item["type"] == "compaction" and item["encrypted_content"].startswith("msc1:")
    asked = asked_of(upstream, name)[0].json
    assert "hand-over" in asked["messages"][-1]["content"] and asked["max_completion_tokens"] == 8192
    # Its output is the next input, here and natively
    http.post(f"{gateway.url}/responses", json={"model": f"chat/{name}", "input": [*compacted["output"], HI]})
    texts = [text_of(each) for each in asked_of(upstream, name)[1].json["messages"]]
    assert texts[1] == "Summary of the conversation so far, made by the assistant:\n\nThe goal is tea."
    native = scripted(answer(said("three")))
    http.post(f"{gateway.url}/responses", json={"model": f"openai/{native}", "input": compacted["output"]})
    sent = asked_of(upstream, native)[0].json["input"]
    assert sent[1]["role"] == "user" and sent[1]["content"][0]["text"].endswith("The goal is tea.")


@pytest.mark.case(responses=86)
def test_compaction_needs_a_model(gateway: Process, http: httpx.Client):
    found = http.post(f"{gateway.url}/responses/compact", json={"input": "Hi"})
    assert found.status_code == 400
    assert (found.json()["error"]["param"], found.json()["error"]["code"]) == ("model", "missing_required_parameter")


@pytest.mark.case(responses=87)
def test_an_empty_summary_is_a_failure(gateway: Process, http: httpx.Client, scripted: Scripted):
    name = scripted(answer(chat(" ")))
    found = http.post(f"{gateway.url}/responses/compact", json={"model": f"chat/{name}", "input": "Hi"})
    assert found.status_code == 502 and found.json()["error"]["code"] == "upstream_bad_output"


@pytest.mark.case(responses=87)
def test_a_trigger_is_answered_with_exactly_one_item(sdk: OpenAI, scripted: Scripted):
    name = scripted(answer(chat("The goal is tea.")))
    given: Any = [HI, {"type": "compaction_trigger"}]
    with sdk.responses.create(model=f"chat/{name}", input=given, stream=True) as events:
        got = list(events)
    assert [event.type for event in got] == [
        "response.created",
        "response.in_progress",
        "response.output_item.added",
        "response.output_item.done",
        "response.completed",
    ]
    assert [event.sequence_number for event in got] == [0, 1, 2, 3, 4]
    completed = got[-1]
    assert completed.type == "response.completed"
    (item,) = completed.response.output
    assert item.type == "compaction" and item.encrypted_content.startswith("msc1:")
    assert completed.response.usage is not None


@passes
@pytest.mark.case(responses=87)
def test_a_streamed_native_answer_to_a_trigger_passes(gateway: Process, http: httpx.Client, scripted: Scripted):
    item = {"id": "cmp_1", "type": "compaction", "encrypted_content": "gAAA"}
    response = {**said("x"), "output": [item]}
    events = [
        {"type": "response.created", "response": {**response, "status": "in_progress", "output": []}},
        {"type": "response.output_item.done", "output_index": 0, "item": item},
        {"type": "response.completed", "response": response},
    ]
    data = "".join(f"event: {each['type']}\ndata: {json.dumps(each)}\n\n" for each in events).encode()
    name = scripted(stream(data))
    body = {"model": f"openai/{name}", "input": [HI, {"type": "compaction_trigger"}], "stream": True}
    assert http.post(f"{gateway.url}/responses", json=body).content == data


@pytest.mark.case(responses=87)
def test_a_trigger_elsewhere_is_refused(gateway: Process, http: httpx.Client):
    body = {"model": "echo", "input": [{"type": "compaction_trigger"}, HI], "stream": True}
    found = http.post(f"{gateway.url}/responses", json=body)
    assert found.status_code == 400 and found.json()["error"]["param"] == "input[0]"


@pytest.mark.case(responses=89)
def test_tokens_are_counted_by_who_can(gateway: Process, http: httpx.Client, upstream: Upstream, scripted: Scripted):
    counted = {"object": "response.input_tokens", "input_tokens": 11}
    name = scripted(answer(counted))
    found = http.post(f"{gateway.url}/responses/input_tokens", json={"model": f"openai/{name}", "input": "Hi"})
    assert found.json() == counted
    request = asked_of(upstream, name)[0]
    assert (request.path, request.json) == ("/v1/responses/input_tokens", {"model": name, "input": "Hi"})
    refused = http.post(f"{gateway.url}/responses/input_tokens", json={"model": "echo", "input": "Hi"})
    assert refused.status_code == 400
    assert (refused.json()["error"]["param"], refused.json()["error"]["code"]) == ("model", "unsupported_value")


# Native


@pytest.mark.case(responses=76)
def test_a_request_goes_as_it_came(gateway: Process, http: httpx.Client, upstream: Upstream, scripted: Scripted):
    name = scripted(answer(said("x")))
    body = {
        "brand_new": {"deep": [1, None]},
        "model": f"openai/{name}",
        "input": [HI, {"type": "brand_new"}],
        "tools": [{"type": "file_search", "vector_store_ids": ["vs_1"]}],
    }
    headers = {"OpenAI-Beta": "b", "session_id": "s", "Cookie": "c", "x-codex-window-id": "w"}
    found = http.post(f"{gateway.url}/responses", json=body, headers=headers)
    assert found.status_code == 200
    (request,) = asked_of(upstream, name)
    assert request.path == "/v1/responses"
    assert request.json == {**body, "model": name} and list(request.json) == list(body)
    assert (request.headers["openai-beta"], request.headers["session_id"]) == ("b", "s")
    assert not {"cookie", "x-codex-window-id"} & request.headers.keys()


@passes
@pytest.mark.parametrize("cut", [None, 1, 7, 1000])
@pytest.mark.case(responses=76)
def test_a_stream_passes_as_it_came(gateway: Process, http: httpx.Client, scripted: Scripted, cut: int | None):
    data = streamed("Hello, wörld!")
    name = scripted(stream(data, cut))
    found = http.post(f"{gateway.url}/responses", json={"model": f"openai/{name}", "input": "Hi", "stream": True})
    assert found.content == data
    line = gateway.logged(model=f"openai/{name}")
    assert (line["status"], line["prompt_tokens"], line["completion_tokens"]) == (200, 5, 2)


@passes
@pytest.mark.case(responses=84)
def test_a_whole_answer_passes_as_it_came(gateway: Process, http: httpx.Client, scripted: Scripted):
    data = json.dumps(said("Hello"), indent=3)
    name = scripted(answer(data))
    found = http.post(f"{gateway.url}/responses", json={"model": f"openai/{name}", "input": "Hi"})
    assert found.text == data
    line = gateway.logged(model=f"openai/{name}")
    assert (line["status"], line["prompt_tokens"], line["completion_tokens"]) == (200, 5, 2)


@pytest.mark.case(responses=84)
def test_an_upstreams_refusal_is_handed_on(gateway: Process, http: httpx.Client, scripted: Scripted):
    error = {
        "message": "Invalid value: 'x'.",
        "type": "invalid_request_error",
        "param": "input[0]",
        "code": "invalid_value",
    }
    name = scripted(answer({"error": error}, 400))
    found = http.post(f"{gateway.url}/responses", json={"model": f"openai/{name}", "input": [HI]})
    assert (found.status_code, found.json()) == (400, {"error": error})


@passes
@pytest.mark.case(responses=77)
def test_a_stream_without_its_end(sdk: OpenAI, scripted: Scripted):
    name = scripted(stream(streamed("Hello", end=False)))
    with (
        pytest.raises(openai.APIError),
        sdk.responses.create(model=f"openai/{name}", input="Hi", stream=True) as events,
    ):
        seen = [event.type for event in events]
        pytest.fail(f"no error after {seen}")


@pytest.mark.case(responses=77)
def test_a_failure_before_anything_was_said_moves_on(http: httpx.Client, upstream: Upstream, scripted: Scripted):
    failed = {
        "type": "response.failed",
        "response": {"id": "r", "status": "failed", "error": {"code": "server_error", "message": "."}},
    }
    data = f"event: response.failed\ndata: {json.dumps(failed)}\n\n".encode()
    name = scripted(stream(data), answer(chat("from the other")))
    body = {"model": "two", "input": "Hi", "stream": True}
    models = f"models:\n  two: [openai/{name}, chat/{name}]"
    with Process(CONFIG.format(url=upstream.url, more="").replace("models:", models)) as process:
        found = http.post(f"{process.url}/responses", json=body)
        assert found.status_code == 200 and found.headers["x-modelserver-upstream"] == f"chat/{name}"


@pytest.mark.case(responses=80)
def test_reasoning_of_another_account_is_left_out_once(
    gateway: Process, http: httpx.Client, upstream: Upstream, scripted: Scripted
):
    error = {"message": "The encrypted content could not be verified.", "type": "invalid_request_error", "param": None,
             "code": "invalid_encrypted_content"}  # fmt: skip
    name = scripted(answer({"error": error}, 400), answer(said("x")), answer({"error": error}, 400))
    thought = {"type": "reasoning", "id": "rs_9", "summary": [], "encrypted_content": "gAAA"}
    body = {"model": f"openai/{name}", "input": [thought, HI]}
    found = http.post(f"{gateway.url}/responses", json=body)
    assert (found.status_code, found.headers["x-modelserver-dropped"]) == (200, "input.reasoning")
    assert [each.json["input"] for each in asked_of(upstream, name)] == [[thought, HI], [HI]]
    without = http.post(f"{gateway.url}/responses", json={"model": f"openai/{name}", "input": [HI]})
    assert (without.status_code, without.json()["error"]["code"]) == (400, "invalid_encrypted_content")
    assert len(asked_of(upstream, name)) == 3


@pytest.mark.case(responses=79)
def test_own_ids_go_nowhere(sdk: OpenAI, upstream: Upstream, scripted: Scripted):
    first = sdk.responses.create(model="echo", input="a")
    name = scripted(answer(said("x")))
    given: Any = [HI, first.output[0].model_dump(exclude_none=True), HI]
    sdk.responses.create(model=f"openai/{name}", input=given)
    (request,) = asked_of(upstream, name)
    assert request.json["input"][1] == {key: value for key, value in given[1].items() if key != "id"}


@pytest.mark.case(responses=79)
def test_an_own_conversation_goes_on_natively(sdk: OpenAI, upstream: Upstream, scripted: Scripted):
    first = sdk.responses.create(model="echo", input="a")
    name = scripted(answer(said("x")))
    sdk.responses.create(model=f"openai/{name}", input="b", previous_response_id=first.id)
    (request,) = asked_of(upstream, name)
    assert "previous_response_id" not in request.json
    assert [(item["role"], item["content"][0]["text"]) for item in request.json["input"]] == [
        ("user", "a"), ("assistant", "a"), ("user", "b")
    ]  # fmt: skip
    assert all("id" not in item for item in request.json["input"])


@passes
@pytest.mark.case(responses=81)
def test_a_native_id_goes_back_to_where_it_came_from(
    guarded: Process, http: httpx.Client, upstream: Upstream, scripted: Scripted
):
    laptop, phone = ({"Authorization": f"Bearer {key}"} for key in (LAPTOP, PHONE))
    first = said("one")
    name = scripted(answer(first), answer(said("two")))
    url = f"{guarded.url}/responses"
    http.post(url, headers=laptop, json={"model": f"openai/{name}", "input": "a"})
    onwards = {"model": f"openai/{name}", "input": "b", "previous_response_id": first["id"]}
    assert http.post(url, headers=phone, json=onwards).status_code == 400
    escaped = json.dumps(onwards).replace("previous_response_id", "previous_response\\u005fid")
    assert http.post(url, headers=phone, content=escaped).status_code == 400
    assert len(asked_of(upstream, name)) == 1
    assert http.post(url, headers=laptop, json=onwards).status_code == 200
    assert asked_of(upstream, name)[1].json == {**onwards, "model": name}
    # What neither key has seen is not asked for: the upstream's key is shared.
    unknown = {**onwards, "previous_response_id": "resp_0123"}
    assert http.post(url, headers=laptop, json=unknown).json()["error"]["code"] == "previous_response_not_found"


@pytest.mark.case(responses=81)
def test_an_unknown_id_passes_where_there_is_one_client(
    gateway: Process, http: httpx.Client, upstream: Upstream, scripted: Scripted
):
    name = scripted(answer(said("x")))
    body = {"model": f"openai/{name}", "input": "b", "previous_response_id": "resp_0123"}
    assert http.post(f"{gateway.url}/responses", json=body).status_code == 200
    assert asked_of(upstream, name)[0].json == {**body, "model": name}
    translated = http.post(f"{gateway.url}/responses", json={**body, "model": "echo"})
    assert translated.json()["error"]["code"] == "previous_response_not_found"


@pytest.mark.case(responses=81)
def test_an_unknown_item_passes_where_there_is_one_client(
    gateway: Process, http: httpx.Client, upstream: Upstream, scripted: Scripted
):
    name = scripted(answer(said("x")))
    body = {"model": f"openai/{name}", "input": [HI, {"type": "item_reference", "id": "msg_0123"}]}
    assert http.post(f"{gateway.url}/responses", json=body).status_code == 200
    assert asked_of(upstream, name)[0].json == {**body, "model": name}
    assert http.post(f"{gateway.url}/responses", json={**body, "model": "echo"}).status_code == 404


@passes
@pytest.mark.parametrize("streaming", [False, True], ids=["whole", "streamed"])
@pytest.mark.case(responses=82)
def test_a_native_conversation_moves_to_another_provider(
    gateway: Process, http: httpx.Client, upstream: Upstream, scripted: Scripted, streaming: bool
):
    ident = f"resp_{next(_numbers):032x}"
    script = stream(streamed("one", ident)) if streaming else answer(said("one", ident))
    native, other = scripted(script), scripted(answer(chat("two")), answer(chat("three")))
    url = f"{gateway.url}/responses"
    http.post(url, json={"model": f"openai/{native}", "input": "a", "stream": streaming})
    http.post(url, json={"model": f"chat/{other}", "input": "b", "previous_response_id": ident})
    reference = {"type": "item_reference", "id": f"msg_{ident}"}
    http.post(url, json={"model": f"chat/{other}", "input": [HI, reference, HI]})
    by_id, by_item = ([text_of(each) for each in request.json["messages"]] for request in asked_of(upstream, other))
    assert (by_id, by_item) == (["a", "one", "b"], ["Hi", "one", "Hi"])


@passes
@pytest.mark.case(responses=81)
def test_what_an_upstream_keeps_is_asked_of_it(
    gateway: Process, http: httpx.Client, upstream: Upstream, scripted: Scripted
):
    made = said("one")
    ident = made["id"]
    name = scripted(answer(made))
    url = f"{gateway.url}/responses"
    http.post(url, json={"model": f"openai/{name}", "input": "a"})
    listed = {"object": "list", "data": []}
    upstream.script(f"/v1/responses/{ident}", answer(made), answer({"id": ident, "deleted": True}))
    upstream.script(f"/v1/responses/{ident}/input_items?limit=3&order=asc", answer(listed))
    upstream.script(f"/v1/responses/{ident}/cancel", answer({**made, "status": "cancelled"}))
    assert http.get(f"{url}/{ident}").json() == made
    assert http.get(f"{url}/{ident}/input_items", params={"limit": 3, "order": "asc"}).json() == listed
    assert http.post(f"{url}/{ident}/cancel").json()["status"] == "cancelled"
    assert http.delete(f"{url}/{ident}").json() == {"id": ident, "deleted": True}
    asked = [each for each in upstream.requests if ident in each.path]
    assert [(each.method, each.headers["authorization"]) for each in asked] == [
        (method, "Bearer sk-upstream-canary") for method in ("GET", "GET", "POST", "DELETE")
    ]


@pytest.mark.case(responses=30)
def test_what_cannot_be_translated_goes_to_who_takes_it(
    gateway: Process, http: httpx.Client, upstream: Upstream, scripted: Scripted
):
    name = scripted(answer(said("x")), prefix="f")
    body = {"model": f"mixed-{name}", "input": "Hi", "tools": [{"type": "file_search", "vector_store_ids": ["vs_1"]}]}
    found = http.post(f"{gateway.url}/responses", json=body)
    assert (found.status_code, found.headers["x-modelserver-upstream"]) == (200, f"openai/{name}")
    refused = http.post(f"{gateway.url}/responses", json={**body, "model": f"chat/{name}"})
    assert refused.status_code == 400
    assert (refused.json()["error"]["param"], refused.json()["error"]["code"]) == ("tools[0].type", "unsupported_value")
    assert len(asked_of(upstream, name)) == 1


@pytest.mark.parametrize(
    "provider, tool, path",
    [
        ("xai", "custom", "/v1/chat/completions"),
        ("opted", "function", "/v1/responses"),
        ("shy", "function", "/v1/chat/completions"),
        ("sent-back", "function", "/v1/chat/completions"),
        ("chat", "function", "/v1/chat/completions"),
    ],
)
@pytest.mark.case(responses=83)
def test_who_is_asked_how(
    gateway: Process, http: httpx.Client, upstream: Upstream, scripted: Scripted, provider: str, tool: str, path: str
):
    name = scripted(answer(chat("x") if "chat" in path else said("x")))
    given = {
        "type": tool,
        "name": "f",
        "description": ".",
        **({"parameters": {"type": "object"}} if tool == "function" else {}),
    }
    http.post(f"{gateway.url}/responses", json={"model": f"{provider}/{name}", "input": "Hi", "tools": [given]})
    requests = asked_of(upstream, name)
    assert [each.path for each in requests] == [path]


def test_limited_keys_do_not_pass_their_limits_natively(http: httpx.Client, upstream: Upstream, scripted: Scripted):
    name = scripted(answer(said("x")))
    keys = f'keys: [{{name: laptop, key: "{LAPTOP}", tpm: 100000}}]'
    with Process(CONFIG.format(url=upstream.url, more=keys)) as process:
        headers = {"Authorization": f"Bearer {LAPTOP}"}
        url, body = f"{process.url}/responses", {"model": f"openai/{name}", "input": "Hi"}
        for more in ({"prompt": {"id": "pmpt_1"}}, {"background": True}, {"previous_response_id": "resp_1"}):
            assert http.post(url, json={**body, **more}, headers=headers).status_code == 400
        assert asked_of(upstream, name) == []
        found = http.post(url, json=body, headers=headers)
        assert found.status_code == 200
        (request,) = asked_of(upstream, name)
        assert request.json["max_output_tokens"] == 4096 and found.headers["x-modelserver-added"]
