"""The seventeen templates of the Open Responses compliance suite, against echo and each protocol, through the real process.

The suite is a program for another runtime; here its requests are ours, and its schema is openresponses-types, generated from the
same specification. Seven templates need WebSocket, which is not offered: they are named here and in the documentation.
"""

import json
from collections.abc import Callable, Iterator
from typing import Any, Final

import httpx2 as httpx
import pytest
from answers import chat_call, chat_text, claude_call, claude_text, gemini, gemini_call, of_every_protocol
from process import ROOT, Process
from scripted import Script, Upstream

schema = pytest.importorskip("openresponses_types.types", reason="openresponses-types is not installed")

Json = dict[str, Any]
NOT_OFFERED: Final = (
    "websocket-response",
    "websocket-sequential-responses",
    "websocket-continuation",
    "websocket-reconnect-store-false-recovery",
    "websocket-previous-response-not-found",
    "websocket-failed-continuation-evicts-cache",
    "websocket-compact-new-chain",
)
WEATHER: Json = {
    "type": "function",
    "name": "get_weather",
    "description": "Get the current weather for a location",
    "parameters": {
        "type": "object",
        "properties": {"location": {"type": "string", "enum": ["San Francisco, CA"]}},
        "required": ["location"],
    },
}
RED_PIXEL = (
    "data:image/png;base64,"
    + "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8DwHwAFBQIAX8jx0gAAAABJRU5ErkJggg=="
)
ARGUMENTS: Json = {"location": "San Francisco, CA"}
# Provider → its answers: a text, a call. The names are models that the provider is known to have.
SCRIPTS: dict[str, tuple[str, Callable[[], Script], Callable[[], Script]]] = {
    "chat": ("open-m", lambda: chat_text("Hello to you."), lambda: chat_call("get_weather", ARGUMENTS)),
    "claude": ("claude-sonnet-4-5", lambda: claude_text("Hello to you."), lambda: claude_call("get_weather", ARGUMENTS)),
    "gemini": (
        "gemini-2.5-flash", lambda: gemini({"text": "Hello to you."}), lambda: gemini_call("get_weather", ARGUMENTS)),
}  # fmt: skip
EVENTS = {
    str(next(iter(each.model_fields["type"].annotation))): each  # type: ignore[arg-type]
    for name in dir(schema)
    if name.endswith("StreamingEvent") and hasattr(each := getattr(schema, name), "model_fields")
}
Ask = Callable[..., httpx.Response]


@pytest.fixture(scope="module")
def server(upstream: Upstream) -> Iterator[Process]:
    with Process(of_every_protocol(upstream)) as process:
        yield process


@pytest.fixture(params=["echo", *SCRIPTS])
def ask(request: pytest.FixtureRequest, server: Process, upstream: Upstream, http: httpx.Client) -> Ask:
    """Asks one provider. calls: it answers with a call of the tool."""

    def asked(path: str = "/responses", calls: bool = False, **body: Any) -> httpx.Response:
        model = "echo"
        if request.param != "echo":
            name, says, call = SCRIPTS[request.param]
            model = f"{request.param}/{upstream.script(name, call() if calls else says())}"
        return http.post(f"{server.url}{path}", json={"model": model, **body})

    return asked


def user(text: Any) -> Json:
    return {"type": "message", "role": "user", "content": text}


def valid(found: httpx.Response) -> Json:
    """The Response of an answer, after the checks of the suite: it fits the schema, it is completed, and it says something."""
    assert found.status_code == 200
    response: Json = found.json()
    schema.ResponseResource.model_validate(response)
    assert response["status"] == "completed" and response["output"]
    return response


def test_basic_response(ask: Ask):
    valid(ask(input=[user("Say hello in exactly 3 words.")]))


@pytest.mark.parametrize("calls", [False, True], ids=["text", "call"])
def test_streaming_response(ask: Ask, calls: bool):
    asked = "call get_weather" if calls else "Count from 1 to 5."
    found = ask(input=[user(asked)], tools=[WEATHER], stream=True, calls=calls)
    assert found.status_code == 200 and found.headers["content-type"].startswith("text/event-stream")
    events = [json.loads(line.removeprefix("data: ")) for line in found.text.splitlines() if line.startswith("data: ")]
    for event in events:
        EVENTS[event["type"]].model_validate(event)  # no event is of a type that the specification does not know
    assert events[-1]["type"] == "response.completed" and events[-1]["response"]["output"]


def test_system_prompt(ask: Ask):
    system = {"type": "message", "role": "system", "content": "You are a pirate. Always respond in pirate speak."}
    valid(ask(input=[system, user("Say hello.")]))


def test_tool_calling(ask: Ask):
    found = ask(input=[user("call get_weather")], tools=[WEATHER], calls=True)
    (call,) = valid(found)["output"]
    assert (call["type"], call["name"], json.loads(call["arguments"])) == ("function_call", "get_weather", ARGUMENTS)


def test_image_input(ask: Ask):
    text = {"type": "input_text", "text": "What do you see in this image? Answer in one sentence."}
    valid(ask(input=[user([text, {"type": "input_image", "image_url": RED_PIXEL}])]))


def test_multi_turn(ask: Ask):
    reply = {
        "type": "message",
        "role": "assistant",
        "content": "Hello Alice! Nice to meet you. How can I help you today?",
    }
    valid(ask(input=[user("My name is Alice."), reply, user("What is my name?")]))


def test_assistant_phase(ask: Ask):
    part = {"type": "output_text", "text": "Let me look."}
    remark = {"type": "message", "role": "assistant", "phase": "commentary", "content": [part]}
    answer = {**remark, "phase": "final_answer", "content": [{**part, "text": "Four."}]}
    valid(ask(input=[user("What is 2 + 2?"), remark, answer, user("And 3 + 3?")]))


def test_response_output_phase_schema(ask: Ask):
    """A message without phase leaves it out: the schema allows no null."""
    (item,) = valid(ask(input="Hi"))["output"]
    assert "phase" not in item
    schema.Message.model_validate({**item, "phase": "final_answer"})


def test_compact_response(ask: Ask):
    found = ask("/responses/compact", input=[user("Plan a trip to Oslo."), user("By train.")], prompt_cache_key="k")
    assert found.status_code == 200
    compacted = found.json()
    schema.CompactResource.model_validate(compacted)
    assert compacted["object"] == "response.compaction"
    assert [item["type"] for item in compacted["output"]].count("compaction") == 1


def test_compact_missing_model(server: Process, http: httpx.Client):
    found = http.post(f"{server.url}/responses/compact", json={"input": [user("Hi")]})
    assert found.status_code in (400, 422)


@pytest.mark.parametrize("template", NOT_OFFERED)
@pytest.mark.parametrize("page", ["docs/en/clients.md", "docs/zh/clients.md", "web/text.js"])
def test_what_needs_websocket_is_named_as_not_offered(template: str, page: str):
    assert f"`{template}`" in (ROOT / page).read_text(encoding="utf-8")


def test_websocket_is_refused_at_once(server: Process, http: httpx.Client):
    found = http.get(f"{server.url}/responses", headers={"Upgrade": "websocket", "Connection": "Upgrade"})
    assert (found.status_code, found.json()["error"]["code"]) == (426, "websocket_not_supported")
