"""An agent's loop over echo with the openai SDK: tools, streamed and whole, and conversations that go on by their id."""

from collections.abc import Iterator
from typing import Any, Final

import pytest
from openai import OpenAI
from process import Process, config
from pydantic import BaseModel

WEATHER: Final[Any] = {
    "type": "function",
    "name": "get_weather",
    "description": "The weather in a city.",
    "parameters": {
        "type": "object",
        "properties": {"city": {"type": "string", "enum": ["Paris"]}},
        "required": ["city"],
        "additionalProperties": False,
    },
    "strict": True,
}
SHOUT: Final[Any] = {"type": "custom", "name": "shout", "description": "Says a text loudly."}


@pytest.fixture(scope="module")
def sdk() -> Iterator[OpenAI]:
    with Process(config()) as server, OpenAI(base_url=server.url, api_key="-", max_retries=0) as client:
        yield client


def test_a_tool_is_called_and_its_result_is_told(sdk: OpenAI):
    first = sdk.responses.create(model="echo", input="call get_weather", tools=[WEATHER, SHOUT])
    [call] = first.output
    assert call.type == "function_call" and (call.name, call.arguments) == ("get_weather", '{"city":"Paris"}')
    result: Any = {"type": "function_call_output", "call_id": call.call_id, "output": "Sunny."}
    second = sdk.responses.create(
        model="echo", input=[result, {"role": "user", "content": "So?"}], tools=[WEATHER, SHOUT],
        previous_response_id=first.id,
    )  # fmt: skip
    assert (second.output_text, second.previous_response_id) == ("So?", first.id)
    assert [item.type for item in sdk.responses.input_items.list(second.id, order="asc").data] == [
        "message", "function_call", "function_call_output", "message"
    ]  # fmt: skip


def test_the_same_streamed(sdk: OpenAI):
    with sdk.responses.stream(model="echo", input="call get_weather", tools=[WEATHER, SHOUT]) as stream:
        given = "".join(event.delta for event in stream if event.type == "response.function_call_arguments.delta")
        first = stream.get_final_response()
    [call] = first.output
    assert call.type == "function_call" and given == call.arguments == '{"city":"Paris"}'
    result: Any = {"type": "function_call_output", "call_id": call.call_id, "output": "Sunny."}
    asked: Any = [result, {"role": "user", "content": "So?"}]
    with sdk.responses.stream(model="echo", input=asked, tools=[WEATHER], previous_response_id=first.id) as stream:
        said = "".join(event.delta for event in stream if event.type == "response.output_text.delta")
        second = stream.get_final_response()
    assert (said, second.output_text, second.previous_response_id) == ("So?", "So?", first.id)


def test_a_custom_tool_streamed(sdk: OpenAI):
    with sdk.responses.stream(model="echo", input="call shout", tools=[WEATHER, SHOUT]) as stream:
        kinds = [event.type for event in stream if "custom" in event.type]
        [call] = stream.get_final_response().output
    assert call.type == "custom_tool_call" and (call.name, bool(call.input)) == ("shout", True)
    assert kinds[-1] == "response.custom_tool_call_input.done"


def test_an_answer_by_a_schema_is_read(sdk: OpenAI):
    class Place(BaseModel):
        city: str
        people: int

    found = sdk.responses.parse(model="echo", input="Where?", text_format=Place)
    assert isinstance(found.output_parsed, Place)
    with sdk.responses.stream(model="echo", input="Where?", text_format=Place) as stream:
        assert isinstance(stream.get_final_response().output_parsed, Place)
