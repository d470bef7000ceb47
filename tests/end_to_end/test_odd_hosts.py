"""What hosts send in forms of their own, as the official clients read it through a real server."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from anthropic import Anthropic
from anthropic import InternalServerError as AnthropicError
from openai import InternalServerError, OpenAI
from process import Process
from scripted import answer, sse, stream

Json = dict[str, Any]
HI: Any = [{"role": "user", "content": "hi"}]
TOOLS: Any = [{"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}]
CALL = {"type": "function", "function": {"name": "f", "arguments": '{"x":1}'}}
THOUGHT = [
    {"type": "reasoning", "summary": [{"type": "summary_text", "text": "hm"}]},
    {"type": "text", "text": "Hi"},
]
NAN = b'{"candidates":[{"content":{"parts":[{"functionCall":{"name":"f","args":{"x":NaN}}}]},"finishReason":"STOP"}]}'


@pytest.fixture(scope="module")
def client(every_protocol: Process) -> Iterator[OpenAI]:
    with OpenAI(base_url=every_protocol.url, api_key="-", max_retries=0) as client:
        yield client


def part(delta: Json, finish: str | None = None) -> Json:
    return {"code": 0, "message": "Success", "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}


def whole(message: Json) -> Json:
    return {"choices": [{"index": 0, "message": {"role": "assistant", **message}, "finish_reason": "stop"}]}


def test_one_call_in_place_of_a_list(client: OpenAI, scripted: Callable[..., str]) -> None:
    """Spark's."""
    events = sse(part({"role": "assistant", "content": "", "tool_calls": {"index": 0, **CALL}}), part({}, "tool_calls"))
    model = f"up/{scripted(stream(events), answer(whole({'content': '', 'tool_calls': CALL})))}"
    with client.chat.completions.stream(model=model, messages=HI, tools=TOOLS) as answering:
        [choice] = answering.get_final_completion().choices
    [streamed] = choice.message.tool_calls or ()
    [plain] = client.chat.completions.create(model=model, messages=HI, tools=TOOLS).choices[0].message.tool_calls or ()
    for call in streamed, plain:
        assert call.type == "function" and call.id.startswith("call_")
        assert (call.function.name, call.function.arguments) == ("f", '{"x":1}')
    assert choice.finish_reason == "tool_calls"


def test_thinking_in_a_list(client: OpenAI, scripted: Callable[..., str]) -> None:
    """Databricks', of Claude."""
    model = (
        f"up/{scripted(stream(sse(part({'content': THOUGHT}), part({}, 'stop'))), answer(whole({'content': THOUGHT})))}"
    )
    with client.chat.completions.stream(model=model, messages=HI) as answering:
        streamed = answering.get_final_completion().choices[0].message
    plain = client.chat.completions.create(model=model, messages=HI).choices[0].message
    assert [(each.content, (each.model_extra or {})["reasoning_content"]) for each in (streamed, plain)] == [
        ("Hi", "hm")
    ] * 2


def test_arguments_with_a_number_that_is_none(
    client: OpenAI, every_protocol: Process, scripted: Callable[..., str]
) -> None:
    for script in stream(b"data: " + NAN + b"\r\n\r\n"), answer(NAN):
        model = f"gemini/{scripted(script)}"
        with pytest.raises(InternalServerError) as failed:
            client.chat.completions.create(model=model, messages=HI, tools=TOOLS)
        assert failed.value.code == "upstream_bad_output"
        with (
            Anthropic(base_url=every_protocol.root, api_key="-", max_retries=0) as claude,
            pytest.raises(AnthropicError),
        ):
            claude.messages.create(model=model, max_tokens=9, messages=HI)
