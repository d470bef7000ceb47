"""What clients see: the official SDK and raw requests against the real process, in front of echo and a scripted upstream."""

import json
import re
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import aiohttp
import httpx2 as httpx
import openai
import pytest
from conftest import LAPTOP, PHONE
from cuts import CUTS
from http_client import until
from openai import AsyncOpenAI, OpenAI, pydantic_function_tool
from process import Process, config
from pydantic import BaseModel
from scripted import Upstream, answer, sse, stream

from server.commands.ask import events

HELLO: Any = [{"role": "user", "content": "Hello, 世界!"}]
Scripted = Callable[..., str]


class Weather(BaseModel):
    city: str
    days: int


TOOLS: Any = [pydantic_function_tool(Weather)]


def delta(text: str | None = None, finish: str | None = None, **more: Any) -> dict[str, Any]:
    """A chunk as OpenAI sends it."""
    body = {**({} if text is None else {"content": text}), **more}
    choice = {"index": 0, "delta": body, "logprobs": None, "finish_reason": finish}
    return {"id": "chatcmpl-up", "object": "chat.completion.chunk", "created": 1, "model": "up-1", "choices": [choice]}


def whole(text: str | None = "Hi", finish: str = "stop", **message: Any) -> dict[str, Any]:
    """An answer as OpenAI sends it."""
    said = {"role": "assistant", "content": text, "refusal": None, "annotations": [], **message}
    return {
        "id": "chatcmpl-up",
        "object": "chat.completion",
        "created": 1,
        "model": "up-1",
        "choices": [{"index": 0, "message": said, "logprobs": None, "finish_reason": finish}],
        "usage": {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5},
        "system_fingerprint": "fp_1",
    }


USAGE = {"id": "chatcmpl-up", "choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}}
STREAMED = sse(delta("", role="assistant"), delta("你"), delta("好"), delta(finish="stop"), USAGE)


# The official SDK


def test_chat(sdk: OpenAI) -> None:
    answer = sdk.chat.completions.create(model="echo", messages=HELLO)
    assert answer.choices[0].message.content == "Hello, 世界!"
    assert answer.choices[0].finish_reason == "stop"
    assert answer.model == "echo" and answer.object == "chat.completion" and answer.id.startswith("chatcmpl-")
    assert answer.usage and (answer.usage.prompt_tokens, answer.usage.total_tokens) == (2, 4)


def test_chat_with_an_upstream(sdk: OpenAI, upstream: Upstream, scripted: Scripted) -> None:
    name = scripted(answer(whole("Hi", annotations=[{"type": "x"}], future=1)))
    got = sdk.chat.completions.create(model=f"up/{name}", messages=HELLO, seed=7, extra_body={"future": [1]})
    assert got.model == f"up/{name}" and got.id != "chatcmpl-up" and got.system_fingerprint == "fp_1"
    assert got.choices[0].message.to_dict()["future"] == 1
    [request] = upstream.of(name)
    assert request.json == {"model": name, "messages": HELLO, "seed": 7, "future": [1]}
    assert (request.method, request.path) == ("POST", "/v1/chat/completions")
    assert request.headers["authorization"] == "Bearer sk-upstream-canary"


@pytest.mark.parametrize("model", ["echo", "up"])
def test_stream(sdk: OpenAI, scripted: Scripted, model: str) -> None:
    model = "echo" if model == "echo" else f"up/{scripted(stream(STREAMED, cut=7))}"
    said: Any = [{"role": "user", "content": "你好"}]
    chunks = list(
        sdk.chat.completions.create(
            model=model, messages=said, stream=True, stream_options={"include_usage": True}, max_tokens=9
        )
    )
    assert len({(chunk.id, chunk.created, chunk.model, chunk.object) for chunk in chunks}) == 1
    *pieces, end, last = chunks
    assert "".join(piece.choices[0].delta.content or "" for piece in pieces) == "你好"
    assert [piece.choices[0].delta.role for piece in pieces] == ["assistant", *[None] * (len(pieces) - 1)]
    assert end.choices[0].finish_reason == "stop" and end.choices[0].delta.content is None
    assert last.choices == [] and last.usage and last.usage.total_tokens > 0
    assert all(chunk.usage is None for chunk in chunks[:-1])


async def test_async(server: Process) -> None:
    async with AsyncOpenAI(base_url=server.url, api_key="-", max_retries=0) as sdk:
        got = await sdk.chat.completions.create(model="echo", messages=HELLO)
        assert got.choices[0].message.content == "Hello, 世界!"
        text = ""
        async for chunk in await sdk.chat.completions.create(model="echo", messages=HELLO, stream=True):
            assert chunk.usage is None
            text += chunk.choices[0].delta.content or ""
        assert text == "Hello, 世界!"
        async with sdk.chat.completions.stream(model="echo", messages=HELLO) as helper:
            final = await helper.get_final_completion()
        assert final.choices[0].message.content == "Hello, 世界!"
        assert [model.id async for model in await sdk.models.list()] == ["echo"]
        with pytest.raises(openai.RateLimitError):
            await sdk.chat.completions.create(model="echo-429", messages=HELLO, stream=True)


def test_the_stream_helper_with_tools(sdk: OpenAI) -> None:
    with sdk.chat.completions.stream(
        model="echo", messages=HELLO, tools=TOOLS, tool_choice={"type": "function", "function": {"name": "Weather"}}
    ) as helper:
        kinds = {event.type for event in helper}
        final = helper.get_final_completion()
    [call] = final.choices[0].message.tool_calls or []
    assert final.choices[0].finish_reason == "tool_calls"
    assert isinstance(call.function.parsed_arguments, Weather)
    assert {"chunk", "tool_calls.function.arguments.delta", "tool_calls.function.arguments.done"} <= kinds


def test_parse_with_a_pydantic_model(sdk: OpenAI) -> None:
    got = sdk.chat.completions.parse(model="echo", messages=HELLO, response_format=Weather)
    assert isinstance(got.choices[0].message.parsed, Weather)


def test_raw_responses(sdk: OpenAI, scripted: Scripted) -> None:
    name = scripted(answer(whole(), headers={"x-request-id": "req_upstream"}))
    raw = sdk.chat.completions.with_raw_response.create(model=f"up/{name}", messages=HELLO)
    assert raw.headers["x-modelserver-upstream"] == f"up/{name}"
    assert raw.headers["x-upstream-request-id"] == "req_upstream"
    assert raw.headers["x-request-id"].startswith("req_") and raw.headers["x-request-id"] != "req_upstream"
    assert raw.parse()._request_id == raw.headers["x-request-id"]


def test_models(sdk: OpenAI, keyed: Process) -> None:
    assert [model.id for model in sdk.models.list()] == ["echo"]
    assert sdk.models.retrieve("echo").owned_by == "echo"
    for name in ("up/team/model-1", "up/模型"):
        assert sdk.models.retrieve(name).id == name
    with pytest.raises(openai.NotFoundError) as caught:
        sdk.models.retrieve("ecko")
    assert caught.value.code == "model_not_found" and "did you mean 'echo'" in caught.value.message


@pytest.mark.parametrize(
    ("status", "kind", "type_", "code"),
    [
        (400, openai.BadRequestError, "invalid_request_error", None),
        (401, openai.AuthenticationError, "authentication_error", "authentication_error"),
        (403, openai.PermissionDeniedError, "invalid_request_error", "permission_denied"),
        (404, openai.NotFoundError, "invalid_request_error", "model_not_found"),
        (408, openai.APIStatusError, "invalid_request_error", "request_timeout"),
        (409, openai.ConflictError, "invalid_request_error", "conflict"),
        (413, openai.APIStatusError, "invalid_request_error", "request_too_large"),
        (429, openai.RateLimitError, "rate_limit_error", "rate_limit_exceeded"),
        (500, openai.InternalServerError, "server_error", "internal_error"),
        (502, openai.InternalServerError, "server_error", "upstream_error"),
        (503, openai.InternalServerError, "server_error", "overloaded"),
        (504, openai.InternalServerError, "server_error", "upstream_timeout"),
    ],
)
@pytest.mark.parametrize("streamed", [False, True])
def test_error_classes_of_echo(
    sdk: OpenAI, status: int, kind: type[openai.APIStatusError], type_: str, code: str | None, streamed: bool
) -> None:
    with pytest.raises(kind) as caught:
        sdk.chat.completions.create(model=f"echo-{status}", messages=HELLO, stream=streamed)
    wrong = caught.value
    assert (wrong.status_code, wrong.type, wrong.code) == (status, type_, code)
    assert f"echo-{status}" in wrong.message
    assert set(wrong.body or ()) == {"message", "type", "param", "code"}


OVERLOADED = "upstream connect error or disconnect/reset before headers"
QUOTA = {
    "error": {"message": "You exceeded your current quota", "type": "insufficient_quota", "code": "insufficient_quota"}
}
TOO_LONG = {
    "error": {
        "message": "maximum context length is 8192 tokens",
        "param": "messages",
        "code": "context_length_exceeded",
    }
}
BAD = {"error": {"message": "Bad value", "type": "invalid_request_error", "param": "seed", "code": "invalid_value"}}


@pytest.mark.parametrize(
    ("status", "body", "kind", "to", "type_", "code", "param"),
    [
        (400, BAD, openai.BadRequestError, 400, "invalid_request_error", "invalid_value", "seed"),
        (400, [BAD], openai.BadRequestError, 400, "invalid_request_error", "invalid_value", "seed"),
        (422, {"detail": "Bad value"}, openai.BadRequestError, 400, "invalid_request_error", None, None),
        (400, TOO_LONG, openai.BadRequestError, 400, "invalid_request_error", "context_length_exceeded", "messages"),
        (401, BAD, openai.InternalServerError, 502, "server_error", "upstream_auth_error", None),
        (402, {"error": "pay"}, openai.InternalServerError, 503, "server_error", "upstream_quota_exhausted", None),
        (403, BAD, openai.PermissionDeniedError, 403, "invalid_request_error", "permission_denied", "seed"),
        (404, {"error": "no"}, openai.NotFoundError, 404, "invalid_request_error", "model_not_found", "model"),
        (409, {}, openai.ConflictError, 409, "invalid_request_error", "conflict", None),
        (413, {}, openai.APIStatusError, 413, "invalid_request_error", "request_too_large", None),
        (429, {}, openai.RateLimitError, 429, "rate_limit_error", "rate_limit_exceeded", None),
        (429, QUOTA, openai.InternalServerError, 503, "server_error", "upstream_quota_exhausted", None),
        (500, BAD, openai.InternalServerError, 502, "server_error", "upstream_error", "seed"),
        (503, OVERLOADED, openai.InternalServerError, 503, "server_error", "overloaded", None),
        (529, {}, openai.InternalServerError, 503, "server_error", "overloaded", None),
        (504, {}, openai.InternalServerError, 504, "server_error", "upstream_timeout", None),
        (999, {}, openai.InternalServerError, 502, "server_error", "upstream_error", None),
    ],
)
@pytest.mark.parametrize("streamed", [False, True])
def test_error_classes_of_an_upstream(
    sdk: OpenAI,
    upstream: Upstream,
    scripted: Scripted,
    status: int,
    body: Any,
    kind: type[openai.APIStatusError],
    to: int,
    type_: str,
    code: str | None,
    param: str | None,
    streamed: bool,
) -> None:
    name = scripted(answer(body, status))
    with pytest.raises(kind) as caught:
        sdk.chat.completions.create(model=f"up/{name}", messages=HELLO, stream=streamed)
    wrong = caught.value
    assert (wrong.status_code, wrong.type, wrong.code, wrong.param) == (to, type_, code, param)
    assert len(upstream.of(name)) == (2 if status in (503, 529) else 1)  # who says "overloaded" is asked once more
    if code in ("upstream_auth_error", "upstream_quota_exhausted"):
        assert wrong.response.headers["x-should-retry"] == "false"


def test_retry_after_is_an_integer_and_obeyed(
    server: Process, sdk: OpenAI, upstream: Upstream, scripted: Scripted
) -> None:
    name = scripted(answer({}, 429, {"Retry-After": "38.2"}))
    with pytest.raises(openai.RateLimitError) as caught:
        sdk.chat.completions.create(model=f"up/{name}", messages=HELLO)
    assert caught.value.response.headers["retry-after"] == "39"
    again = scripted(answer({}, 503, {"Retry-After": "0"}), answer(whole()))
    with OpenAI(base_url=server.url, api_key="-", max_retries=1) as patient:
        assert patient.chat.completions.create(model=f"up/{again}", messages=HELLO).choices[0].message.content == "Hi"
    paid = scripted(answer("{", kind="application/json"), answer(whole()))
    with OpenAI(base_url=server.url, api_key="-", max_retries=2) as patient, pytest.raises(openai.InternalServerError):
        patient.chat.completions.create(model=f"up/{paid}", messages=HELLO)
    assert len(upstream.of(paid)) == 1  # x-should-retry: false


def test_keys(keyed: Process) -> None:
    with OpenAI(base_url=keyed.url, api_key="wrong", max_retries=0) as stranger:
        for call in (stranger.models.list, lambda: stranger.chat.completions.create(model="echo", messages=HELLO)):
            with pytest.raises(openai.AuthenticationError) as caught:
                call()
            wrong = caught.value
            assert wrong.body == {
                "message": "Invalid API key",
                "type": "authentication_error",
                "param": None,
                "code": "authentication_error",
            }
    with OpenAI(base_url=keyed.url, api_key=LAPTOP) as laptop:
        assert laptop.chat.completions.create(model="echo", messages=HELLO).choices[0].message.content == "Hello, 世界!"
    with OpenAI(base_url=keyed.url, api_key=PHONE) as phone, pytest.raises(openai.NotFoundError) as missing:
        phone.chat.completions.create(model="up/other", messages=HELLO)
    assert missing.value.code == "model_not_found"


FUNCTIONS: Any = [{"name": "weather", "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}}]


def test_legacy_functions(sdk: OpenAI) -> None:
    ask: Any = {"model": "echo", "messages": HELLO, "functions": FUNCTIONS, "function_call": {"name": "weather"}}
    got = sdk.chat.completions.create(**ask)
    message = got.choices[0].message
    assert got.choices[0].finish_reason == "function_call" and message.tool_calls is None
    assert message.function_call and message.function_call.name == "weather"
    assert isinstance(json.loads(message.function_call.arguments), dict)
    chunks = list(sdk.chat.completions.create(**ask, stream=True))
    calls = [chunk.choices[0].delta.function_call for chunk in chunks if chunk.choices[0].delta.function_call]
    assert [call.name for call in calls] == ["weather", *[None] * (len(calls) - 1)]
    assert "".join(call.arguments or "" for call in calls) == message.function_call.arguments
    assert chunks[-1].choices[0].finish_reason == "function_call"
    assert all(chunk.choices[0].delta.tool_calls is None for chunk in chunks)
    assistant = {"role": "assistant", "content": None, "function_call": message.function_call.to_dict()}
    result = {"role": "function", "name": "weather", "content": "sunny"}
    ask["messages"] = [*HELLO, assistant, result]
    assert sdk.chat.completions.create(**ask).choices[0].message.content == "Hello, 世界!"


# Other clients: the contract of spec/CLIENTS.md 4.3


def test_a_stream_byte_by_byte(http: httpx.Client, server: Process, scripted: Scripted) -> None:
    ask = {"model": f"up/{scripted(stream(STREAMED))}", "messages": HELLO, "stream": True}
    got = http.post(f"{server.url}/chat/completions", json=ask)
    assert got.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert got.headers["x-accel-buffering"] == "no" and got.headers["cache-control"] == "no-cache, no-store"
    assert b"\r" not in got.content and got.content.endswith(b"}\n\ndata: [DONE]\n\n")
    events = got.text.removesuffix("\n\n").split("\n\n")
    assert all(re.fullmatch(r"data: \S.*", event) for event in events) and events.count("data: [DONE]") == 1
    chunks = [json.loads(event[6:]) for event in events[:-1]]
    assert all({"id", "object", "created", "model", "choices"} <= chunk.keys() for chunk in chunks)
    assert len({(chunk["id"], chunk["created"], chunk["model"], chunk["object"]) for chunk in chunks}) == 1
    assert [chunk["choices"][0]["delta"] for chunk in chunks] == [
        {"role": "assistant", "content": ""},
        {"content": "你"},
        {"content": "好"},
        {},
    ]
    assert [chunk["choices"][0]["finish_reason"] for chunk in chunks] == [None, None, None, "stop"]
    assert all("usage" not in chunk and chunk["choices"][0]["index"] == 0 for chunk in chunks)


@pytest.mark.parametrize("cut", CUTS)
def test_cuts_of_a_stream_do_not_show(http: httpx.Client, server: Process, scripted: Scripted, cut: int | None) -> None:
    text = "你好 \u2028 \x85 😀 " + "x" * 100
    body = b"\xef\xbb\xbf: hello\n\n" + sse(delta("", role="assistant"), delta(text), delta(text, "stop"))
    for data in (body, body.replace(b"\n", b"\r\n"), body.replace(b"\n", b"\r"), body.replace(b"data: ", b"data:")):
        ask = {"model": f"up/{scripted(stream(data, cut))}", "messages": HELLO, "stream": True}
        got = http.post(f"{server.url}/chat/completions", json=ask).text
        events = got.split("\n\n")
        assert got.endswith("\n\ndata: [DONE]\n\n") and len(got.splitlines()) == 10
        assert "".join(json.loads(e[6:])["choices"][0]["delta"].get("content", "") for e in events[:-2]) == text * 2


async def test_another_implementation_of_sse(server: Process, upstream: Upstream, scripted: Scripted) -> None:
    name = scripted(stream(STREAMED, cut=1))
    async with aiohttp.ClientSession() as session:
        ask = {"model": f"up/{name}", "messages": HELLO, "stream": True, "stream_options": {"include_usage": True}}
        got = [data async for data in events(session, f"{server.url}/chat/completions", ask)]
    *chunks, done = got
    assert done == "[DONE]" and len(upstream.of(name)) == 1
    assert [json.loads(chunk)["choices"][:1] != [] for chunk in chunks] == [True] * 4 + [False]
    assert json.loads(chunks[-1])["usage"]["total_tokens"] == 5


def test_model_cards(http: httpx.Client, server: Process) -> None:
    got = http.get(f"{server.url}/models").json()
    assert got["object"] == "list"
    for card in got["data"]:
        assert {"id": str, "object": str, "created": int, "owned_by": str, "name": str, "status": str}.items() <= {
            name: type(value) for name, value in card.items()
        }.items()
        assert card["object"] == "model" and card["supported_endpoint_types"] == ["openai", "openai-response"]
        assert card["architecture"]["input_modalities"][0] == "text"
    for path in ("up/a/b", "up%2Fa%2Fb"):
        assert http.get(f"{server.url}/models/{path}").json()["id"] == "up/a/b"
    known = http.get(f"{server.url}/models/up/gpt-4o").json()
    assert known["context_length"] == 128_000 and known["architecture"]["input_modalities"] == ["text", "image", "file"]
    for name in ("text-embedding-3-small", "gemini-embedding-001", "mistral-embed", "nomic-embed-text", "bge-m3"):
        embeds = http.get(f"{server.url}/models/up/{name}").json()
        assert embeds["architecture"] == {"input_modalities": ["text"], "output_modalities": ["embeddings"]}, name
        assert embeds["supported_parameters"] == [] and "context_length" not in embeds


def test_cards_tell_which_models_rest(http: httpx.Client, upstream: Upstream) -> None:
    """Resting: a request would be refused at once. Before, after, and where another target stands in: up."""
    upstream.script("ill", *[answer({"error": {"message": "broken"}}, 500)] * 2, answer(whole()))
    models = "ill: up/ill\npair: [up/ill, echo/echo]\nother: up/other"
    with Process(config(upstream, server="cooldown: {failures: 2, seconds: 3}", models=models)) as server:

        def statuses() -> dict[str, str]:
            listed = {card["id"]: card["status"] for card in http.get(f"{server.url}/models").json()["data"]}
            for name in (*listed, "up/ill"):
                listed[name] = http.get(f"{server.url}/models/{name}").json()["status"]
            return listed

        def ask(model: str) -> tuple[int, str | None]:
            got = http.post(f"{server.url}/chat/completions", json={"model": model, "messages": HELLO})
            return got.status_code, got.json().get("error", {}).get("code")

        well = dict.fromkeys(("echo", "ill", "pair", "other", "up/ill"), "up")
        assert statuses() == well
        assert ask("ill") == (502, "upstream_error") and statuses() == well
        assert ask("ill") == (502, "upstream_error")
        assert statuses() == {**well, "ill": "cooling_down", "up/ill": "cooling_down"}
        assert ask("ill") == (503, "provider_unavailable") and ask("pair") == (200, None)
        until(lambda: statuses() == well)  # its rest is over: the next request tries it
        assert ask("ill") == (200, None) and statuses() == well
        assert len(upstream.of("ill")) == 3


@pytest.mark.parametrize(
    "path", ["/v1/models", "/models", "/v1/models?beta=true", "/models/", "/v1/models/", "/v1/models/echo/"]
)
def test_paths_that_clients_make_up(http: httpx.Client, server: Process, path: str) -> None:
    got = http.get(server.root + path)
    assert got.status_code == 200 and got.json()["object"] in ("list", "model")


@pytest.mark.parametrize(
    "path", ["/chat/completions", "/v1/chat/completions/", "/chat/completions/", "/v1/chat/completions?beta=true"]
)
def test_chat_paths_that_clients_make_up(http: httpx.Client, server: Process, path: str) -> None:
    got = http.post(server.root + path, json={"model": "echo", "messages": HELLO})
    assert got.status_code == 200 and got.json()["choices"][0]["message"]["content"] == "Hello, 世界!"


def test_the_front_page_and_health(http: httpx.Client, server: Process) -> None:
    assert "ModelServer" in http.get(server.root + "/").text
    assert http.head(server.root + "/").status_code == 200 and http.head(server.root + "/").content == b""
    assert http.get(server.root + "/healthz").json()["status"] == "ok"


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/v1/nothing", 404, "unknown_url"),
        ("GET", "/v1/chat/completions", 405, "method_not_allowed"),
        ("POST", "/v1/models", 405, "method_not_allowed"),
        ("DELETE", "/v1/models/echo", 405, "method_not_allowed"),
        ("GET", "/v1/../admin%2f..", 404, "unknown_url"),
        ("GET", "//v1/models", 404, "unknown_url"),
    ],
)
def test_unknown_urls_and_methods(
    http: httpx.Client, server: Process, method: str, path: str, status: int, code: str
) -> None:
    got = http.request(method, server.root + path)
    wrong = got.json()["error"]
    assert (got.status_code, wrong["code"], wrong["type"]) == (status, code, "invalid_request_error")
    assert got.headers["x-request-id"] and set(wrong) == {"message", "type", "param", "code"}


def test_unknown_fields_never_fail(http: httpx.Client, server: Process, upstream: Upstream, scripted: Scripted) -> None:
    name = scripted(answer(whole()))
    ask = {
        "model": f"up/{name}",
        "messages": [{"role": "developer", "content": "Be brief."}, *HELLO],
        "max_completion_tokens": 9,
        "reasoning_effort": "low",
        "metadata": {"a": "b"},
        "store": False,
        "parallel_tool_calls": True,
        "prompt_cache_key": "k",
        "tools": [{"type": "web_search"}, {"type": "namespace", "name": "n", "tools": []}],
        "future": {"deep": [1]},
    }
    assert http.post(f"{server.url}/chat/completions", json=ask).status_code == 200
    assert upstream.of(name)[0].json == {**ask, "model": name}


@pytest.mark.parametrize(
    ("body", "content", "usage"),
    [
        ({"choices": [{"message": {"content": None}}]}, "", [0, 0, 0]),
        ({"choices": [{"message": {}}], "usage": {"prompt_tokens": 5}}, "", [5, 0, 5]),
        ({"choices": [{"message": {"reasoning": "hm", "content": "x"}}], "usage": None}, "x", [0, 0, 0]),
        ({"choices": [{"message": {"tool_calls": [{"function": {"name": "f"}}]}}]}, None, [0, 0, 0]),
    ],
)
def test_whole_answers_are_made_regular(
    http: httpx.Client, server: Process, scripted: Scripted, body: Any, content: str | None, usage: list[int]
) -> None:
    ask = {"model": f"up/{scripted(answer(body))}", "messages": HELLO}
    got = http.post(f"{server.url}/chat/completions", json=ask).json()
    assert [got["usage"][f"{name}_tokens"] for name in ("prompt", "completion", "total")] == usage
    [choice] = got["choices"]
    assert choice["index"] == 0 and choice["message"]["role"] == "assistant" and choice["message"]["content"] == content
    if "reasoning" in body["choices"][0]["message"]:
        assert choice["message"]["reasoning_content"] == "hm"
    if content is None:
        [call] = choice["message"]["tool_calls"]
        assert call["id"].startswith("call_") and call["type"] == "function"
        assert call["function"] == {"name": "f", "arguments": "{}"} and choice["finish_reason"] == "tool_calls"


# Headers


@pytest.mark.parametrize(
    ("sent", "kept"),
    [("abc-123", True), ("x" * 128, True), ("x" * 129, False), ("a b", False), ("é", False), ("", False)],
)
def test_request_ids(http: httpx.Client, server: Process, sent: str, kept: bool) -> None:
    got = http.get(server.root + "/healthz", headers={"x-request-id": sent.encode()}).headers["x-request-id"]
    assert got == sent if kept else re.fullmatch("req_[0-9a-f]{24}", got)


@pytest.mark.parametrize(
    "evil", ["a\r\nX-Evil: 1", "a\nb", "a\x00b", "你好", "a\x7f", "é" * 253, "\u2028", '"><script>']
)
def test_model_names_cannot_write_headers(http: httpx.Client, server: Process, upstream: Upstream, evil: str) -> None:
    upstream.script(evil, answer(whole()))
    for streamed in (False, True):
        ask = {"model": f"up/{evil}", "messages": HELLO, "stream": streamed}
        got = http.post(f"{server.url}/chat/completions", json=ask)
        assert got.status_code == 200 and "x-evil" not in got.headers
        assert re.fullmatch(r"[\x20-\x7e]+", got.headers["x-modelserver-upstream"])
    missing = http.post(f"{server.url}/chat/completions", json={"model": evil, "messages": HELLO, "user": evil})
    assert missing.status_code == 404 and missing.json()["error"]["code"] == "model_not_found"
    card = http.get(f"{server.url}/models/up/{quote(evil, safe='')}")
    assert card.status_code == 200 and card.json()["id"] == f"up/{evil}" and "x-evil" not in card.headers


ASKED = "authorization,content-type,x-stainless-lang"


def test_preflight_without_a_key(http: httpx.Client, keyed: Process) -> None:
    origin = {"Origin": "https://app.example", "Access-Control-Request-Method": "POST"}
    for path in ("/v1/chat/completions", "/anything/at/all"):
        got = http.options(keyed.root + path, headers={**origin, "Access-Control-Request-Headers": ASKED})
        assert got.status_code == 204 and got.content == b""
        assert got.headers["access-control-allow-origin"] == "*"
        assert got.headers["access-control-allow-headers"] == ASKED
        assert "POST" in got.headers["access-control-allow-methods"] and got.headers["access-control-max-age"] == "600"
        assert "access-control-allow-credentials" not in got.headers
    call = http.get(f"{keyed.url}/models", headers={"Origin": "https://app.example", "x-api-key": LAPTOP})
    assert call.headers["access-control-allow-origin"] == "*"
    exposed = call.headers["access-control-expose-headers"]
    assert {"x-request-id", "retry-after", "x-ratelimit-remaining-requests"} <= set(exposed.split(", "))
    refused = http.get(f"{keyed.url}/models", headers={"Origin": "https://app.example"})
    assert refused.status_code == 401 and refused.headers["access-control-allow-origin"] == "*"


def test_every_answer_is_signed(http: httpx.Client, server: Process) -> None:
    for got in (
        http.get(f"{server.url}/models"),
        http.get(server.root + "/nothing"),
        http.post(f"{server.url}/chat/completions", json={"model": "echo", "messages": HELLO, "stream": True}),
        http.post(f"{server.url}/chat/completions", content=b"{"),
    ):
        assert got.headers["server"] == "ModelServer" and got.headers["x-content-type-options"] == "nosniff"
        assert "no-store" in got.headers["cache-control"] and got.headers["x-request-id"]


@pytest.mark.parametrize("name", ["a" * 257, "up/" + "a/" * 100, "a" * 2**20], ids=["long", "slashes", "megabytes"])
def test_a_name_that_is_too_long_is_refused_at_once(http: httpx.Client, server: Process, name: str) -> None:
    asked = [http.post(f"{server.url}/chat/completions", json={"model": name, "messages": HELLO})]
    asked.append(http.post(f"{server.url}/embeddings", json={"model": name, "input": "x"}))
    if len(name) < 2000:  # of a longer line the HTTP parser has its own opinion
        asked.append(http.get(f"{server.url}/models/{name}"))
    for got in asked:
        error = got.json()["error"]
        assert (got.status_code, error["param"], error["code"]) == (404, "model", "model_not_found")
        assert len(got.content) < 600
        line = server.logged(request=got.headers["x-request-id"])
        assert len(json.dumps(line)) < 1000 and "model" not in line
