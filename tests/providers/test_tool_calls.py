"""Tool calls of a stream that hosts number, name and argue in ways of their own; each must come out as one whole call."""

import copy
import json
import re
from collections.abc import Iterable
from typing import Any

import pytest
import replay
from test_anthropic_edge import CALL, TO, closed, ended, grown, opened, start
from test_anthropic_edge import STOP as MESSAGE_STOP
from test_anthropic_edge import sse as claude_sse
from test_gemini import asked, candidate
from test_gemini import to as gemini_to
from test_host_answers import DONE, body, part, read, sse, whole
from test_responses import CREATED, added, done, event, frames, response
from test_responses import read as read_responses
from translators import made_call, translator_of

from providers import anthropic
from providers.chunks import collect
from providers.common.arguments import Arguments
from providers.contract import Upstream
from providers.errors import UpstreamBadOutput
from providers.sse import Event

Json = dict[str, Any]
X, Y = '{"x":1}', '{"y":"}{\\"\\\\"}'


def fragment(name: str | None = None, arguments: Any = None, **call: Any) -> Json:
    """A fragment as a host sends it; what is None is left out."""
    function = {"name": name, "arguments": arguments}
    return {**call, "function": {key: value for key, value in function.items() if value is not None}}


def made(*deltas: Json | list[Json]) -> list[tuple[str, str, str]]:
    """Id (NEW: made here), name and arguments of the calls that a stream adds up to: one fragment, or a list, a delta."""
    parts = (part({"tool_calls": each if isinstance(each, list) else [each]}) for each in deltas)
    chunks = read(sse(*parts, part({}, "tool_calls")) + DONE)
    seen: list[int] = []
    for chunk in chunks:
        for call in chunk["choices"][0]["delta"].get("tool_calls", ()):
            assert (call["index"] == len(seen)) == ("id" in call), "dense, and opened once"
            seen += [call["index"]] * ("id" in call)
    calls = collect(chunks)["choices"][0]["message"].get("tool_calls", ())
    assert len({call["id"] for call in calls}) == len(calls), "ids are unique"
    new = re.compile("call_[0-9a-f]{24}")
    return [
        (
            "NEW" if new.fullmatch(call["id"]) else call["id"],
            call["function"].get("name"),
            call["function"]["arguments"],
        )
        for call in calls
    ]


F, G = ("NEW", "f", X), ("NEW", "g", Y)
FORMS: dict[str, tuple[list[Any], list[tuple[str, str, str]]]] = {
    # Two calls at one index
    "ids empty": ([fragment("f", X, index=0, id=""), fragment("g", Y, index=0, id="")], [F, G]),
    "no ids": ([fragment("f", X, index=0), fragment("g", Y, index=0)], [F, G]),
    "no ids, in one delta": ([[fragment("f", X, index=0), fragment("g", Y, index=0)]], [F, G]),
    "no ids, in pieces": (
        [fragment("f", '{"x"', index=0), fragment(None, ":1}", index=0), fragment("g", Y[:4], index=0),
         fragment(None, Y[4:], index=0)],
        [F, G],
    ),
    "one name twice": ([fragment("f", X, index=0), fragment("f", Y, index=0)], [F, ("NEW", "f", Y)]),
    "one name twice, opened without arguments": (
        [fragment("f", "", index=0), fragment(None, X, index=0), fragment("f", "", index=0), fragment(None, Y, index=0)],
        [F, ("NEW", "f", Y)],
    ),
    "one name twice in one delta, without arguments": (
        [[fragment("f", "", index=0), fragment("f", "", index=0)]],
        [("NEW", "f", "{}"), ("NEW", "f", "{}")],
    ),
    "other ids": ([fragment("f", X, index=0, id="a"), fragment("f", Y, index=0, id="b")], [("a", "f", X), ("b", "f", Y)]),
    "arguments as objects": ([fragment("f", {"x": 1}, index=0), fragment("f", {"y": 2}, index=0)],
                             [F, ("NEW", "f", '{"y":2}')]),
    "an index used again later": (
        [fragment("f", X, index=0), fragment("g", Y[:4], index=1), fragment(None, Y[4:], index=1),
         fragment("h", "", index=0), fragment(None, X, index=0)],
        [F, G, ("NEW", "h", X)],
    ),
    # Ids that are not unique
    "one id, two names": ([fragment("f", X, index=0, id="a"), fragment("g", Y, index=1, id="a")],
                          [("a", "f", X), ("NEW", "g", Y)]),
    "one id and name, two indexes": (
        [fragment("f", X, index=0, id="a"), fragment("f", Y[:4], index=1, id="a"), fragment(None, Y[4:], index=1, id="a")],
        [("a", "f", X), ("NEW", "f", Y)],
    ),
    # One call, however often it says who it is
    "id and name on each fragment": (
        [fragment("f", "", index=0, id="a"), fragment("f", '{"x"', index=0, id="a"), fragment("f", ":1}", index=0, id="a"),
         fragment("f", "", index=0, id="a")],
        [("a", "f", X)],
    ),
    "name on each fragment": (
        [fragment("f", '{"x"', index=0), fragment("f", ":1", index=0), fragment("f", "}", index=0),
         fragment("f", "", index=0)],
        [F],
    ),
    "name on each fragment, no index": ([fragment("f", '{"x"'), fragment("f", ":1}")], [F]),
    "an index that counts fragments": (
        [fragment("f", '{"x"', index=0, id="a"), fragment("f", ":1}", index=1, id="a"), fragment("f", "", index=2, id="a")],
        [("a", "f", X)],
    ),
    "another id on each fragment": (
        [fragment("f", '{"x"', index=0, id="a"), fragment(None, ":1", index=0, id="b"), fragment(None, "}", index=0, id="c")],
        [("a", "f", X)],
    ),
    "the whole call once more at the end": (
        [fragment("f", "", index=0, id="a"), fragment(None, X, index=0), fragment("f", X, index=0, id="a")],
        [("a", "f", X)],
    ),
    "the id comes late": ([fragment("f", "", index=0), fragment("f", X, index=0, id="a")], [F]),
    # Placeholders
    **{
        f"placeholder {held!r}": (
            [fragment("f", held, index=0, id="a"), fragment(None, '{"x"', index=0), fragment(None, ":1}", index=0)],
            [("a", "f", X)],
        )
        for held in ("{}", {}, " { } ", "null", [], "[]", "")
    },
    **{
        f"placeholder {held!r}, and nothing follows": ([fragment("f", held, index=0, id="a")], [("a", "f", "{}")])
        for held in ("{}", {}, "null", [], "", None)
    },
    # … in pieces
    **{
        f"placeholder in pieces {held}, then {more}": (
            [fragment("f", held[0], index=0, id="a"), *(fragment(None, piece, index=0) for piece in (*held[1:], *more))],
            [("a", "f", arguments)],
        )
        for held in (["{", "}"], ["", "{", "\n", "}"], ["nu", "ll"], ["[", "]"], ["{", "}", "{", "}"], ["{}", "{", "}"],
                     ['"', '"'], list(" { } "))
        for more, arguments in (([X], X), (['{"x"', ":1}"], X), (list(X), X), ([], "{}"))
    },
    **{
        f"placeholder glued to the beginning of the real ones {pieces}": (
            [fragment("f", "", index=0, id="a"), *(fragment(None, piece, index=0) for piece in pieces)],
            [("a", "f", X)],
        )
        for pieces in (['{}{"x"', ":1}"], ["{", '}{"x":', "1}"], ['null{"x"', ":1}"])
    },
    "arguments that are cut short after their first sign": ([fragment("f", "{", index=0, id="a")], [("a", "f", "{")]),
    "a placeholder in its own fragment": (
        [fragment("f", "", index=0, id="a"), fragment(None, "{}", index=0), fragment(None, X, index=0)],
        [("a", "f", X)],
    ),
    "placeholders of two calls": (
        [[fragment("f", "{}", index=0, id="a"), fragment("g", "{}", index=1, id="b")], fragment(None, Y, index=1)],
        [("a", "f", "{}"), ("b", "g", Y)],
    ),
    # The same once more, and placeholders that come late
    **{
        f"{X} and then {more}": (
            [fragment("f", X[:4], index=0, id="a"), fragment(None, X[4:], index=0),
             *(fragment(None, piece, index=0) for piece in more)],
            [("a", "f", X)],
        )
        for more in ([X], [X, X], ["{}"], ["\"\""],
                     ["null"], [" {} "], ["{", "}"], list(X), ["\n" + X + "\n"], [{}], [X, "{}"], [X[:4]])
    },
    **{
        f"{more} is no repetition": (
            [fragment("f", X, index=0, id="a"), *(fragment(None, piece, index=0) for piece in more)],
            [("a", "f", X + "".join(more))],
        )
        for more in ([Y], ['{"x"', ":2}"], list('{"x":1,}'), ["}"])
    },
    "an object within": (
        [fragment("f", '{"x":', index=0, id="a"), *(fragment(None, piece, index=0) for piece in ("{}", ",", '"y":', "{}", "}"))],
        [("a", "f", '{"x":{},"y":{}}')],
    ),
    **{f"glued {text}": ([fragment("f", text, index=0, id="a")], [("a", "f", X)])
       for text in (X + X, "{}" + X, X + "{}", "null" + X)},
    "placeholders glued, then the real ones": ([fragment("f", "{}{}", index=0, id="a"), fragment(None, X, index=0)],
                                               [("a", "f", X)]),
    # Arguments encoded twice
    "encoded twice": ([fragment("f", json.dumps(Y), index=0, id="a")], [("a", "f", Y)]),
    "encoded twice, in pieces": (
        [fragment("f", "", index=0, id="a"), *(fragment(None, piece, index=0) for piece in json.dumps(Y))],
        [("a", "f", Y)],
    ),
    "encoded twice, name on each fragment": ([fragment("f", piece) for piece in json.dumps(Y)], [("NEW", "f", Y)]),
    "encoded twice, cut short": ([fragment("f", '"{', index=0, id="a"), fragment(None, "\\", index=0)],
                                 [("a", "f", '"{\\')]),
    "a text that holds no object": ([fragment("f", '"a', index=0, id="a"), fragment(None, '"', index=0)],
                                    [("a", "f", '"a"')]),
    "an empty text as the placeholder": (
        [fragment("f", '""', index=0, id="a"), fragment(None, X, index=0)],
        [("a", "f", X)],
    ),
    # Nothing
    "no calls": ([[], None or []], []),
}  # fmt: skip


@pytest.mark.parametrize("name", FORMS)
def test_what_a_stream_adds_up_to(name: str) -> None:
    deltas, expected = FORMS[name]
    assert made(*deltas) == expected


@pytest.mark.parametrize(
    ("text", "arguments"),
    [
        (X, X), (X + X, X), ("{}" + X, X), (X + " {}", X), (json.dumps(Y), Y), ("{}{}", "{}"), ('""', "{}"),
        (X + Y, X + Y), ('{"x":', '{"x":'), (' {"x": 1} ', ' {"x": 1} '), ('"a"', '"a"'), ("[" * 100_000, "[" * 100_000),
    ],
)  # fmt: skip
def test_the_arguments_of_a_whole_answer(text: str, arguments: str) -> None:
    message = {"content": None, "tool_calls": [{"id": "a", "function": {"name": "f", "arguments": text}}]}
    [call] = whole(body(message))["choices"][0]["message"]["tool_calls"]
    assert call["function"] == {"name": "f", "arguments": arguments}


def test_a_custom_tools_input_is_text_and_no_placeholder() -> None:
    call = {"index": 0, "id": "a", "type": "custom", "custom": {"name": "sh", "input": "{}"}}
    more = {"index": 0, "custom": {"input": "x"}}
    chunks = read(sse(part({"tool_calls": [call]}), part({"tool_calls": [more]}), part({}, "tool_calls")) + DONE)
    [given] = collect(chunks)["choices"][0]["message"]["tool_calls"]
    assert given == {"id": "a", "type": "custom", "custom": {"name": "sh", "input": "{}x"}}


@pytest.mark.parametrize(
    ("pieces", "complete"),
    [
        ([X], True),
        (list(Y), True),
        ([Y[:5], Y[5:]], True),
        (['{"a": "\\', '\\"', "}"], True),
        (['{"a": "\\', '"}'], False),
        (['{"a": [', "1]"], False),
        (["{", "}"], False),  # a placeholder, so far
        ([], False),
    ],
)
def test_when_arguments_are_complete(pieces: list[str], complete: bool) -> None:
    arguments = Arguments()
    for piece in pieces:
        arguments.add(piece)
    assert arguments.complete == complete
    arguments = Arguments()
    asked = [arguments.complete for piece in pieces if arguments.add(piece)]
    assert asked[-1:] in ([], [complete]), "asked after each piece, it is the same"


def claude(events: Iterable[Json]) -> Json:
    raw = claude_sse(start(input_tokens=1), *events, ended("tool_use", output_tokens=1), MESSAGE_STOP)
    message: Json = collect(replay.chunks(anthropic, raw, call=CALL, to=TO))["choices"][0]["message"]
    return message


HELD = [["{}"], ["null"], [" "], [""], ["{", "}"], ["{", "}", "{}"], ["nu", "ll"]]
MORE = [(['{"x"', ":1}"], X), (["{", '"x":1}'], X), ([], "{}")]


@pytest.mark.parametrize("held", HELD)
@pytest.mark.parametrize(("more", "arguments"), MORE)
def test_claude_holds_a_placeholder_back(held: list[str], more: list[str], arguments: str) -> None:
    grows = [grown(0, type="input_json_delta", partial_json=piece) for piece in (*held, *more)]
    message = claude([opened(0, type="tool_use", id="a", name="f", input={}), *grows, closed(0)])
    assert message["tool_calls"] == [{"id": "a", "type": "function", "function": {"name": "f", "arguments": arguments}}]


@pytest.mark.parametrize("held", HELD)
@pytest.mark.parametrize(("more", "arguments"), MORE)
@pytest.mark.parametrize("glued", [False, True])
def test_responses_hold_a_placeholder_back(glued: bool, held: list[str], more: list[str], arguments: str) -> None:
    call = {"id": "fc", "type": "function_call", "call_id": "a", "name": "f", "arguments": ""}
    grows = [event("function_call_arguments.delta", output_index=0, delta=piece) for piece in (*held, *more)]
    said = "".join([*held, *more] if glued else more or held)
    ends = done(0, call | {"arguments": said}), event("completed", response=response())
    raw = frames(CREATED, added(0, call), *grows, *ends)
    message = collect(read_responses(raw))["choices"][0]["message"]
    assert message["tool_calls"] == [{"id": "a", "type": "function", "function": {"name": "f", "arguments": arguments}}]
    assert json.loads(arguments) is not None


# Two calls of one id, in the protocols whose calls come whole. The client must be able to answer each.
def ids_of(calls: list[Json]) -> list[tuple[str, str]]:
    assert len({call["id"] for call in calls}) == len(calls), "ids are unique"
    return [(call["id"] if call["id"] == "a" else "NEW", call["function"]["name"]) for call in calls]


def test_one_id_twice_in_a_whole_answer() -> None:
    calls = [{"id": "a", "type": "function", "function": {"name": name, "arguments": X}} for name in "fgh"]
    message = whole(body({"content": None, "tool_calls": calls}))["choices"][0]["message"]
    assert ids_of(message["tool_calls"]) == [("a", "f"), ("NEW", "g"), ("NEW", "h")]


def test_one_id_twice_from_claude() -> None:
    events: list[Json] = []
    for at, name in enumerate("fg"):
        events += [opened(2 * at, type="thinking", thinking="", signature="s"), closed(2 * at)]
        events += [opened(2 * at + 1, type="tool_use", id="a", name=name, input={"x": 1}), closed(2 * at + 1)]
    message = claude(events)
    assert ids_of(message["tool_calls"]) == [("a", "f"), ("NEW", "g")]
    order = [entry["id"] for entry in message["output_order"] if entry["type"] == "call"]
    assert order == [call["id"] for call in message["tool_calls"]]


def test_one_id_twice_from_responses() -> None:
    items = [
        item
        for name in "fg"
        for item in (
            {"id": f"rs_{name}", "type": "reasoning", "summary": []},
            {"id": f"fc_{name}", "type": "function_call", "call_id": "a", "name": name, "arguments": X},
        )
    ]
    for streamed in (True, False):
        events = (
            [each for at, item in enumerate(items) for each in (added(at, item), done(at, item))] if streamed else []
        )
        raw = frames(CREATED, *events, event("completed", response=response(output=items)))
        message = collect(read_responses(raw))["choices"][0]["message"]
        assert ids_of(message["tool_calls"]) == [("a", "f"), ("NEW", "g")]
        order = [entry["id"] for entry in message["output_order"] if entry["type"] == "call"]
        assert order == [call["id"] for call in message["tool_calls"]]


def test_one_id_twice_from_gemini() -> None:
    calls = [{"functionCall": {"id": "a", "name": name, "args": {"x": 1}}} for name in "fg"]
    translating = translator_of("gemini", asked(), gemini_to())
    chunks = [chunk for call in calls for chunk in translating.send(Event("", candidate(call)))]
    translating.send(Event("", candidate(finish="STOP")))
    with pytest.raises(StopIteration) as end:
        translating.send(None)
    message = collect([*chunks, *end.value.value])["choices"][0]["message"]
    assert ids_of(message["tool_calls"]) == [("a", "f"), ("NEW", "g")]


def test_one_id_and_one_index_of_two_candidates() -> None:
    """What has no index, or another's, is told apart by its place; what was not asked for is no answer."""
    ask = asked()
    ask = ask._replace(body={**ask.body, "generationConfig": {"candidateCount": 2}})
    translating = translator_of("gemini", ask, gemini_to())
    parts = [{"content": {"parts": [{"text": text}]}, "finishReason": "STOP"} for text in "ab"]
    chunks = translating.send(Event("", {"candidates": parts}))
    with pytest.raises(StopIteration) as end:
        translating.send(None)
    found = collect([*chunks, *end.value.value])["choices"]
    assert [(choice["index"], choice["message"]["content"]) for choice in found] == [(0, "a"), (1, "b")]


def test_a_custom_tools_input_from_responses_is_no_placeholder_either() -> None:
    call = {"id": "fc", "type": "custom_tool_call", "call_id": "a", "name": "sh", "input": ""}
    for pieces in (["{}", '{"x":1}'], [" ", "ls"], ["{", "}"]):
        grows = [event("custom_tool_call_input.delta", output_index=0, delta=piece) for piece in pieces]
        ends = [event("custom_tool_call_input.done", output_index=0, input="".join(pieces)),
                done(0, call | {"input": "".join(pieces)}), event("completed", response=response())]  # fmt: skip
        for deltas in (grows, []):
            message = collect(read_responses(frames(CREATED, added(0, call), *deltas, *ends)))["choices"][0]["message"]
            assert message["tool_calls"][0]["custom"] == {"name": "sh", "input": "".join(pieces)}


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_arguments_with_a_number_that_is_none_are_no_call(number: float) -> None:
    """JSON does not know it, and null in its place would make another call; a null of the host's own is one."""
    for args, fine in (({"x": number}, False), ({"x": [{"y": number}], "z": None}, False), ({"x": None}, True)):
        calls = [{"id": "a", "type": "function", "function": {"name": "f", "arguments": args}}]
        message = {"role": "assistant", "content": None, "tool_calls": calls}
        given = {
            "openai": (made_call({}, True), {"choices": [{"index": 0, "delta": message, "finish_reason": None}]}),
            "gemini": (asked(), candidate({"functionCall": {"name": "f", "args": args}})),
        }
        for protocol, (call, data) in given.items():
            translating = translator_of(protocol, call, Upstream("p", "m") if protocol == "openai" else gemini_to())
            if fine:
                [*_, last] = translating.send(Event("", copy.deepcopy(data)))
                assert last["choices"][0]["delta"]["tool_calls"][0]["function"]["arguments"] == '{"x":null}'
            else:
                with pytest.raises(UpstreamBadOutput):
                    translating.send(Event("", copy.deepcopy(data)))
