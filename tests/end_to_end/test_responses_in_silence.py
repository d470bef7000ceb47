"""Clients of /v1/responses while the upstream is silent: cases 64 and 65, through the real process."""

import json
from collections.abc import Iterator
from typing import Any, Final

import httpx2 as httpx
import pytest
from answers import chat_call, chat_text, native_text
from openai import OpenAI
from process import Process
from responses_in import accumulated, checked
from scripted import Script, Upstream, chunked, sse, stream

Json = dict[str, Any]
CONFIG: Final = """
server: {{port: 0, keep_alive: {{after: 0.1, every: 0.05, events: 0.2}}, timeouts: {{between_bytes: 5}}}}
providers:
  chat: {{protocol: openai, base_url: "{url}/v1", api_key: sk-upstream-canary}}
  openai: {{base_url: "{url}/v1", api_key: sk-upstream-canary}}
models:
  two: [chat/silent-a, chat/silent-b]
  moves: [chat/silent-c, openai/silent-d]
"""
OVERLOADED: Final[Json] = {"error": {"message": "Overloaded", "type": "overloaded_error"}}
PATCH: Final[Json] = {"type": "custom", "name": "apply_patch", "description": "Patches."}
SHELL: Final[Json] = {"type": "shell"}


@pytest.fixture(scope="module")
def server(upstream: Upstream) -> Iterator[Process]:
    with Process(CONFIG.format(url=upstream.url)) as process:
        yield process


def told(server: Process, model: str, **more: Any) -> bytes:
    body = {"model": model, "input": "Hi", "stream": True, **more}
    got = httpx.post(f"{server.url}/responses", json=body, timeout=30)
    assert (got.status_code, got.headers["content-type"]) == (200, "text/event-stream; charset=utf-8")
    return got.content


def events(data: bytes) -> list[Json]:
    """The events of a stream whose comments are left out, with the rules that hold for every stream."""
    assert b": keep-alive\n\n" in data
    return checked(data.replace(b": keep-alive\n\n", b""))


def kinds(found: list[Json]) -> list[str]:
    return [event["type"].removeprefix("response.") for event in found]


def late(answer: Script, seconds: float) -> Script:
    """An answer whose body comes after so many seconds."""
    return [answer[0], seconds, *answer[1:]]


def piece(delta: Json, finish: str | None = None) -> bytes:
    return sse({"choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}, done=False)


@pytest.mark.case(responses=64)
@pytest.mark.parametrize("model", ["two", "moves"])
def test_another_target_goes_on_with_what_has_begun(server: Process, upstream: Upstream, model: str) -> None:
    """The second target of `moves` is asked by chat: a native answer would begin anew, under an id of its own."""
    silent, good = ("silent-a", "silent-b") if model == "two" else ("silent-c", "silent-d")
    upstream.script(silent, [*stream(b"", end=False), 0.6, *chunked(sse(OVERLOADED))])
    upstream.script(good, chat_text("Hello"))
    data = told(server, model)
    found = events(data)
    names = kinds(found)
    assert names[:3] == ["created", "in_progress", "in_progress"] and names[-1] == "completed"
    assert names.count("created") == 1
    assert len({event["response"]["id"] for event in found if "response" in event}) == 1
    assert found[-1]["response"]["output"][0]["content"][0]["text"] == "Hello"
    assert [sent.path for sent in upstream.of(good)] == ["/v1/chat/completions"]
    with OpenAI(base_url=server.url, api_key="-", max_retries=0) as sdk:
        upstream.script(silent, [*stream(b"", end=False), 0.6, *chunked(sse(OVERLOADED))])
        with sdk.responses.stream(model=model, input="Hi") as streamed:
            assert streamed.get_final_response().output_text == "Hello"


@pytest.mark.case(responses=64)
def test_a_request_that_no_target_answers(server: Process, upstream: Upstream) -> None:
    for name in "silent-a", "silent-b":
        upstream.script(name, [*stream(b"", end=False), 0.4, *chunked(sse(OVERLOADED))])
    found = events(told(server, "two"))
    assert kinds(found)[:2] == ["created", "in_progress"] and kinds(found)[-2:] == ["error", "failed"]
    assert found[-1]["response"]["error"]["code"] == "server_is_overloaded"


@pytest.mark.case(responses=64)
def test_nothing_is_begun_natively(server: Process, upstream: Upstream) -> None:
    script = native_text("Hello")
    upstream.script("native-late", late(script, 0.6))
    data = told(server, "openai/native-late")
    assert data.startswith(b": keep-alive\n\n")
    (event,) = [line for line in data.splitlines() if b'"response.completed"' in line and line.startswith(b"data")]
    assert json.loads(event[5:])["response"]["id"] == "resp_msg_1"
    assert data.count(b"response.created") == 2  # its name, and its type


@pytest.mark.case(responses=65)
def test_silence_inside_a_patch(server: Process, upstream: Upstream) -> None:
    function = {"name": "apply_patch", "arguments": '{"input":"*** Begin'}
    call = {"index": 0, "id": "call_1", "type": "function", "function": function}
    rest = {"index": 0, "function": {"arguments": ' Patch"}'}}
    upstream.script(
        "patches",
        [
            *stream(piece({"role": "assistant", "tool_calls": [call]}), end=False),
            0.9,
            *chunked(piece({"tool_calls": [rest]}) + piece({}, "tool_calls") + b"data: [DONE]\n\n"),
        ],
    )
    data = told(server, "chat/patches", tools=[PATCH])
    found = events(data)
    deltas = [event["delta"] for event in found if event["type"] == "response.custom_tool_call_input.delta"]
    assert deltas[0] == "*** Begin" and deltas[-1] == " Patch" and len(deltas) > 3 and not any(deltas[1:-1])
    (item,) = accumulated(data)["output"]
    assert (item["type"], item["input"]) == ("custom_tool_call", "*** Begin Patch")


@pytest.mark.case(responses=65)
def test_silence_inside_a_call_that_is_told_whole(server: Process, upstream: Upstream) -> None:
    """Nothing of it has been shown: the answer is in progress."""
    function = {"name": "shell", "arguments": '{"commands":'}
    call = {"index": 0, "id": "call_1", "type": "function", "function": function}
    rest = {"index": 0, "function": {"arguments": '["ls"]}'}}
    upstream.script(
        "shells",
        [
            *stream(piece({"role": "assistant", "tool_calls": [call]}), end=False),
            0.9,
            *chunked(piece({"tool_calls": [rest]}) + piece({}, "tool_calls") + b"data: [DONE]\n\n"),
        ],
    )
    names = kinds(events(told(server, "chat/shells", tools=[SHELL])))
    assert names[:3] == ["created", "in_progress", "in_progress"]
    assert names[-3:] == ["output_item.added", "output_item.done", "completed"]


def test_a_conversation_that_is_made_shorter_in_silence(server: Process, upstream: Upstream) -> None:
    upstream.script("shorter", late(chat_text("In short."), 0.6))
    trigger = [{"role": "user", "content": "Hi"}, {"type": "compaction_trigger"}]
    found = events(told(server, "chat/shorter", input=trigger))
    names = kinds(found)
    assert names[:3] == ["created", "in_progress", "in_progress"]
    assert names[-3:] == ["output_item.added", "output_item.done", "completed"]
    assert [item["type"] for item in found[-1]["response"]["output"]] == ["compaction"]


def test_chat_gets_comments_only(server: Process, upstream: Upstream) -> None:
    upstream.script("chats", late(chat_call("f", {}), 0.6))
    body = {"model": "chat/chats", "messages": [{"role": "user", "content": "Hi"}], "stream": True}
    got = httpx.post(f"{server.url}/chat/completions", json=body, timeout=30)
    assert set(got.content.partition(b"data: ")[0].split(b"\n\n")) == {b": keep-alive", b""}
