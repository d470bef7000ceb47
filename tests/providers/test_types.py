"""Fields of wrong types in hosts' answers: a client gets each with the type that OpenAI's SDK gives it, or not at all."""

from copy import deepcopy
from typing import Any, Final

import pytest
import replay
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from test_anthropic_edge import CALL, TO, closed, ended, grown, opened, piece, start, tally
from test_anthropic_edge import STOP as MESSAGE_STOP
from test_anthropic_edge import sse as claude_sse
from test_gemini import asked, candidate
from test_gemini import to as gemini_to
from test_host_answers import DONE, USAGE, body, chunk, part, read, sse, whole
from test_responses import CREATED, added, done, event, frames, response
from test_responses import read as read_responses
from translators import translator_of

from providers import anthropic, codec
from providers.chunks import collect
from providers.contract import Json
from providers.errors import UpstreamBadOutput
from providers.sse import Event

ENVELOPE: Final[Json] = {"id": "c", "created": 1, "model": "m"}
CHUNK: Final[Json] = {**ENVELOPE, "object": "chat.completion.chunk"}
CALLED: Final[Json] = {"id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"}}


def valid(chunks: list[Json]) -> list[Json]:
    """The chunks, which the SDK's types take, and so does what they add up to."""
    for each in chunks:
        ChatCompletionChunk.model_validate(codec.decode(codec.encode(each | CHUNK)))
    valid_whole(collect(deepcopy(chunks)))
    return chunks


def valid_whole(answer: Json) -> Json:
    ChatCompletion.model_validate(codec.decode(codec.encode(answer | ENVELOPE | {"object": "chat.completion"})))
    return answer


VALUES: Final[list[Any]] = [5, 1.5, True, False, 0, {}, {"a": 1}, [], ["x"], [5], [{}], [None], "", "x", None]
DELTA: Final = (
    "content",
    "refusal",
    "reasoning_content",
    "reasoning",
    "role",
    "annotations",
    "function_call",
    "tool_calls",
)
CHOICE: Final = ("finish_reason", "logprobs", "index")
TOP: Final = (
    "service_tier",
    "system_fingerprint",
    "id",
    "object",
    "created",
    "model",
    "usage",
    "metadata",
    "moderation",
)
# Not tried: what is refused as no answer (a reason, a call or an index that cannot be read), objects without what the SDK
# requires of them, and tiers, which hosts have of their own.
APART: Final[dict[str, list[Any]]] = {
    "finish_reason": [{}, {"a": 1}, [], ["x"], [5], [{}], [None]],
    "tool_calls": [5, 1.5, True, {"a": 1}, ["x"], [5], [{}], [None], "x"],
    "index": [5, 1.5, True, False, {}, {"a": 1}, [], ["x"], [5], [{}], [None], "", "x"],
    "function_call": [{}, {"a": 1}],
    "annotations": [[{}]],
    "moderation": [{}, {"a": 1}],
    "service_tier": ["x"],
}


def with_field(name: str, value: Any, holder: str) -> Json:
    """An answer in which one field has this value. holder: delta or message."""
    finish = None if holder == "delta" else "stop"
    choice: Json = {"index": 0, holder: {"role": "assistant", "content": "a"}, "finish_reason": finish}
    answer: Json = {"choices": [choice]}
    (choice[holder] if name in DELTA else choice if name in CHOICE else answer)[name] = deepcopy(value)
    return answer


CASES: Final = [
    (name, value) for name in (*DELTA, *CHOICE, *TOP) for value in VALUES if value not in APART.get(name, ())
]


@pytest.mark.parametrize(("name", "value"), CASES)
def test_a_field_of_any_type_in_a_stream(name: str, value: Any) -> None:
    """In the first chunk, behind it, where most chunks take the short way, and beside no choices."""
    odd = with_field(name, value, "delta")
    short = odd | {"choices": [{"index": 0, "delta": {"content": "b"}, "finish_reason": None}]}
    valid(read(sse(odd, short, odd | {"choices": []}, part({}, "stop")) + DONE))
    if name not in TOP:
        valid(read(sse(part({"content": "b"}), odd, part({}, "stop")) + DONE))


@pytest.mark.parametrize(("name", "value"), CASES)
def test_a_field_of_any_type_in_a_whole_answer(name: str, value: Any) -> None:
    valid_whole(whole(codec.encode(with_field(name, value, "message"))))


TOKEN: Final[Json] = {"token": "a", "logprob": -1, "bytes": None, "top_logprobs": []}
# What a host says → what the client gets of it.
MESSAGES: Final[list[tuple[Json, Json]]] = [
    ({"content": 5}, {"content": "5"}),
    ({"content": "a", "refusal": 5}, {"content": "a", "refusal": "5"}),
    ({"content": "a", "refusal": {"a": 1}}, {"content": "a"}),
    ({"content": "a", "reasoning": {"text": "hm"}}, {"content": "a", "reasoning_content": "hm"}),
    ({"content": "a", "reasoning": {"effort": 1}}, {"content": "a"}),
    ({"content": "a", "reasoning_content": {"content": "hm"}}, {"content": "a", "reasoning_content": "hm"}),
    ({"content": "a", "reasoning_content": ["hm"]}, {"content": "a"}),
    ({"content": "a", "role": None}, {"content": "a"}),
    ({"content": "a", "audio": 1}, {"content": "a"}),
    ({"content": None, "audio": {"id": 5, "data": "AA==", "transcript": [], "expires_at": "soon", "of_tomorrow": [1]}},
     {"content": None, "audio": {"id": "5", "data": "AA==", "of_tomorrow": [1]}}),
    ({"content": "a", "annotations": {}}, {"content": "a"}),
    ({"content": "a", "annotations": ["x", {"type": "url_citation", "url_citation": {
        "url": "https://a.example", "title": 5, "start_index": "1", "end_index": 2}}]},
     {"content": "a", "annotations": [
         {"type": "url_citation", "url_citation": {"url": "https://a.example", "title": "5", "end_index": 2}}]}),
    ({"content": "a", "function_call": "f"}, {"content": "a"}),
    ({"content": None, "function_call": {"name": "f", "arguments": {"x": 1}}},
     {"content": None, "function_call": {"name": "f", "arguments": '{"x":1}'}}),
    ({"content": None, "tool_calls": [{"id": 7, "type": 5, "function": {"name": 5, "arguments": {"x": 1}}}]},
     {"content": None, "tool_calls": [{"id": "7", "type": "function", "function": {"name": "5", "arguments": '{"x":1}'}}]}),
    ({"content": None, "tool_calls": [{"id": "a", "function": {"name": None, "arguments": "{}"}}]},
     {"content": None, "tool_calls": [{"id": "a", "type": "function", "function": {"arguments": "{}"}}]}),
    ({"content": None, "tool_calls": [{"id": "a", "type": "custom", "custom": {"name": "f", "input": {"x": 1}}}]},
     {"content": None, "tool_calls": [{"id": "a", "type": "custom", "custom": {"name": "f", "input": '{"x":1}'}}]}),
    ({"content": "a", "of_tomorrow": {"x": [1]}}, {"content": "a", "of_tomorrow": {"x": [1]}}),
]  # fmt: skip


@pytest.mark.parametrize(("message", "expected"), MESSAGES)
def test_what_a_client_gets_of_a_message(message: Json, expected: Json) -> None:
    expected = {"role": "assistant", "refusal": None} | expected
    got = whole(body(deepcopy(message)))["choices"][0]
    assert got["message"] == expected
    calls = message.get("tool_calls", [])
    delta = message | ({"tool_calls": [{"index": i, **call} for i, call in enumerate(calls)]} if calls else {})
    assert (
        collect(read(sse(part(delta), part({}, got["finish_reason"])) + DONE))["choices"][0]["message"]
        | {"content": expected["content"]}
        == expected
    )


@pytest.mark.parametrize(
    ("logprobs", "expected"),
    [
        ([], None), ("x", None), (5, None), ({"content": [{"token": "a"}]}, None), ({"content": "x"}, None),
        ({"content": [TOKEN | {"logprob": "low"}]}, None),
        ({"content": [TOKEN], "refusal": None}, {"content": [TOKEN], "refusal": None}),
        ({"tokens": ["a"], "token_logprobs": [-1]}, {"tokens": ["a"], "token_logprobs": [-1]}),
    ],
)  # fmt: skip
def test_logprobs(logprobs: Any, expected: Any) -> None:
    said = part({"content": "a"})
    said["choices"][0]["logprobs"] = logprobs
    got = valid(read(sse(part({"role": "assistant", "content": ""}), said, part({}, "stop")) + DONE))
    assert got[1]["choices"][0]["logprobs"] == expected
    answer = {"choices": [{"index": 0, "message": {"content": "a"}, "logprobs": logprobs, "finish_reason": "stop"}]}
    assert whole(codec.encode(answer))["choices"][0]["logprobs"] == expected


def test_what_a_host_says_of_itself() -> None:
    odd = {"service_tier": 5, "system_fingerprint": 6, "of_tomorrow": [7]}
    chunks = read(sse(part({"content": "a"}, **odd), part({"content": "b"}, **odd), part({}, "stop", **odd)) + DONE)
    told = {"system_fingerprint": "6", "of_tomorrow": [7]}
    assert chunks == [chunk({"role": "assistant", "content": "a"}, **told), part({"content": "b"}, **told),
                      chunk({}, "stop", **told)]  # fmt: skip
    got = whole(codec.encode({"choices": [{"message": {"content": "a"}}], "usage": USAGE, **odd}))
    assert {name: got.get(name) for name in odd} == {"service_tier": None, **told}


def test_a_chunk_of_several_choices_with_one_index() -> None:
    """Of all that stand in one place their places are the indexes; in a stream only where so many were asked for."""
    message = {"message": {"content": "a"}, "finish_reason": "stop"}
    for indexes in ([0, 0, 0], [None, None, None], [1, 1, 2], [True, False, 1], ["0", "0", "1"]):
        answer = {"choices": [{"index": index, **deepcopy(message)} for index in indexes]}
        assert [choice["index"] for choice in valid_whole(whole(codec.encode(answer)))["choices"]] == [0, 1, 2]
    answer = {"choices": [{"index": index, **deepcopy(message)} for index in (2, 0)]}
    assert [choice["index"] for choice in whole(codec.encode(answer))["choices"]] == [2, 0]


def claude(*events: Json, stop: str = "end_turn") -> list[Json]:
    raw = claude_sse(start(input_tokens=1), *events, ended(stop, output_tokens=1), MESSAGE_STOP)
    return valid(list(replay.chunks(anthropic, raw, call=CALL, to=TO)))


@pytest.mark.parametrize("wrong", [5, ["x"], {"a": 1}])
@pytest.mark.parametrize("kind", ["text", "thinking"])
@pytest.mark.parametrize("first", [[], ["x"]])
def test_claudes_text_of_another_type_is_no_answer(kind: str, wrong: Any, first: list[str]) -> None:
    grows = [grown(0, type=f"{kind}_delta", **{kind: piece}) for piece in (*first, wrong)]
    with pytest.raises(UpstreamBadOutput):
        claude(opened(0, type=kind, **{kind: ""}), *grows, closed(0))


def test_claudes_calls_and_sources_of_another_type() -> None:
    source = {"type": "web_search_result_location", "url": "https://a.example", "title": 5}
    chunks = claude(
        opened(0, type="text", text="a", citations=[source]), closed(0),
        opened(1, type="tool_use", id=7, name=5, input={}),
        grown(1, type="input_json_delta", partial_json={"x": 1}), closed(1),
        opened(2, type="tool_use", id=["x"], name="g", input='{"y":2}'), closed(2),
        stop="tool_use",
    )  # fmt: skip
    message = collect(chunks)["choices"][0]["message"]
    assert message["annotations"][0]["url_citation"]["title"] == "5"
    first, second = message["tool_calls"]
    assert first == {"id": "7", "type": "function", "function": {"name": "5", "arguments": '{"x":1}'}}
    assert second["id"].startswith("call_") and second["function"] == {"name": "g", "arguments": '{"y":2}'}


def test_claudes_refusal_of_another_type() -> None:
    raw = claude_sse(start(input_tokens=1), ended("refusal", {"explanation": {"a": 1}}, output_tokens=1), MESSAGE_STOP)
    assert list(replay.chunks(anthropic, raw, call=CALL, to=TO)) == [
        piece({"role": "assistant", "content": ""}),
        piece({"refusal": "The model declined to answer."}, "content_filter"),
        tally(1, 1),
    ]


def test_geminis_parts_of_another_type() -> None:
    translating = translator_of("gemini", asked(), gemini_to())
    call = {"functionCall": {"id": 7, "name": 5, "args": '{"x":1}'}}
    chunks = translating.send(
        Event("", candidate({"text": 5}, call, {"functionCall": {"id": {}, "name": "g", "args": [1]}}))
    )
    with pytest.raises(StopIteration) as end:
        translating.send(Event("", candidate(finish="STOP")))
        translating.send(None)
    message = collect(valid([*chunks, *end.value.value]))["choices"][0]["message"]
    assert message["content"] == "5"
    first, second = message["tool_calls"]
    assert first == {"id": "7", "type": "function", "function": {"name": "5", "arguments": '{"x":1}'}}
    assert second == {"id": "id-1", "type": "function", "function": {"name": "g", "arguments": "[1]"}}


def test_a_responses_items_of_another_type() -> None:
    call = {"id": "fc", "type": "function_call", "call_id": 7, "name": 5, "arguments": ""}
    cited = {"type": "url_citation", "url": "https://a.example", "title": 5, "start_index": 0, "end_index": 1}
    text = {"type": "message", "id": "m", "content": [{"type": "output_text", "text": "a", "annotations": [cited]}]}
    chunks = valid(read_responses(frames(
        CREATED, added(0, call), done(0, call | {"arguments": {"x": 1}}), done(1, text),
        event("completed", response=response() | {"service_tier": 5}),
    )))  # fmt: skip
    message = collect(chunks)["choices"][0]["message"]
    assert message["tool_calls"] == [{"id": "7", "type": "function", "function": {"name": "5", "arguments": '{"x":1}'}}]
    assert message["annotations"] == [
        {
            "type": "url_citation",
            "url_citation": {"url": "https://a.example", "title": "5", "start_index": 0, "end_index": 1},
        }
    ]
    assert not any("service_tier" in each for each in chunks)
