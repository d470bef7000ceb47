"""Answers in which thinking, texts and tool calls alternate: the texts are kept apart, and all goes back in its order."""

from typing import Any

import claude_facts as facts
import pytest
import replay
from cached import remember
from test_anthropic import HI, F, call, text, tool, use
from test_anthropic_defects import calls, sent
from test_anthropic_edge import CALL, TO, closed, ended, grown, opened, start
from test_anthropic_edge import STOP as MESSAGE_STOP
from test_anthropic_edge import sse as claude_sse
from test_responses import CREATED, TOOL, USAGE_CHUNK, added, chunk, done, event, frames, read, response
from test_responses import asked as asked_openai
from test_responses import to as to_openai

from gateway.reasoning_cache import ReasoningCache
from providers import anthropic, openai
from providers.chunks import collect

Json = dict[str, Any]
T1: Json = {"type": "thinking", "thinking": "t1", "signature": "czE="}
T2: Json = {"type": "thinking", "thinking": "t2", "signature": "czI="}
HIDDEN: Json = {"type": "redacted_thinking", "data": "ZGF0YQ=="}


# Claude


def thought(at: int, block: Json) -> list[Json]:
    if block["type"] == "redacted_thinking":
        return [opened(at, **block), closed(at)]
    return [
        opened(at, type="thinking", thinking=""),
        grown(at, type="thinking_delta", thinking=block["thinking"]),
        grown(at, type="signature_delta", signature=block["signature"]),
        closed(at),
    ]


def said(at: int, words: str) -> list[Json]:
    return [opened(at, type="text", text=""), grown(at, type="text_delta", text=words), closed(at)]


def searched(at: int) -> list[Json]:
    return [
        opened(at, type="server_tool_use", id="srv", name="web_search", input={}),
        closed(at),
        opened(at + 1, type="web_search_tool_result", tool_use_id="srv", content=[]),
        closed(at + 1),
    ]


def answered(*blocks: list[Json]) -> list[Json]:
    """The chunks of an answer of these blocks."""
    events = [each for block in blocks for each in block]
    called = any(each.get("content_block", {}).get("type") == "tool_use" for each in events)
    end = ended("tool_use" if called else "end_turn", output_tokens=1)
    raw = claude_sse(start(input_tokens=1), *events, end, MESSAGE_STOP)
    return list(replay.chunks(anthropic, raw, call=CALL, to=TO))


def back(chunks: list[Json], *kept: str, cache: ReasoningCache | None = None) -> list[Json]:
    """The assistant turn of the next request, from a client that keeps these fields; none: all of the message."""
    message = collect(chunks)["choices"][0]["message"]
    if cache is not None:
        remember(cache, message)
    mine = {name: message[name] for name in ("role", *kept)} if kept else message
    body = {"messages": [HI, mine, *(tool(each["id"]) for each in message["tool_calls"])]}
    if cache is not None:
        body = cache.restore(body)
    turn: list[Json] = sent(body["messages"], facts.FABLE_5, tools=[F]).body["messages"][1]["content"]
    return turn


ALTERNATING = answered(thought(0, T1), calls("a", at=1), thought(2, T2), said(3, "and"), calls("b", at=4))
IN_ORDER = [T1, use("a"), T2, *text("and"), use("b")]


def test_thinking_between_calls_goes_back_where_it_was() -> None:
    assert back(ALTERNATING) == IN_ORDER
    assert back(ALTERNATING, "content", "tool_calls", cache=ReasoningCache()) == IN_ORDER
    assert back(ALTERNATING, "content", "tool_calls", "thinking_blocks", cache=ReasoningCache()) == IN_ORDER
    assert back(ALTERNATING, "tool_calls", cache=ReasoningCache()) == [T1, use("a"), T2, use("b")]


def test_thinking_whose_place_is_not_known_is_left_out() -> None:
    assert back(ALTERNATING, "content", "tool_calls", "thinking_blocks") == [*text("and"), use("a"), use("b")]
    message = collect(ALTERNATING)["choices"][0]["message"] | {"content": "edited"}
    turn = sent([HI, message, tool("a"), tool("b")], facts.FABLE_5, tools=[F]).body["messages"][1]["content"]
    assert turn == [*text("edited"), use("a"), use("b")]


def test_pieces_of_thinking_are_read_apart() -> None:
    deltas = [choice["delta"] for each in ALTERNATING for choice in each["choices"]]
    assert [delta["reasoning_content"] for delta in deltas if "reasoning_content" in delta] == ["t1", "\n\nt2"]


@pytest.mark.parametrize(
    ("blocks", "expected"),
    [
        ([thought(0, T1), said(1, "x"), calls("a", at=2)], [T1, *text("x"), use("a")]),
        ([said(0, "x"), thought(1, T1), calls("a", at=2)], [*text("x"), T1, use("a")]),
        ([thought(0, T1), thought(1, HIDDEN), calls("a", at=2)], [T1, HIDDEN, use("a")]),
        ([thought(0, T1), said(1, "x"), thought(2, T2), said(3, "y"), calls("a", at=4)],
         [T1, *text("x"), T2, *text("y"), use("a")]),
        # What stood between them cannot come back.
        ([thought(0, T1), *[searched(1)], thought(3, T2), said(4, "x"), calls("a", at=5)], [*text("x"), use("a")]),
        ([thought(0, T1), *[searched(1)], said(3, "x"), calls("a", at=4)], [T1, *text("x"), use("a")]),
    ],
    ids=["usual", "text first", "two first", "texts between", "a server's tool between", "a server's tool"],
)  # fmt: skip
def test_other_orders(blocks: list[list[Json]], expected: list[Json]) -> None:
    chunks = answered(*blocks)
    assert back(chunks) == expected
    assert back(chunks, "content", "tool_calls", cache=ReasoningCache()) == expected


@pytest.mark.parametrize(
    ("blocks", "content"),
    [
        ([said(0, "I look."), searched(1), said(3, "Found it.")], "I look.\n\nFound it."),
        ([said(0, "I look."), thought(1, T1), said(2, "Found it.")], "I look.\n\nFound it."),
        ([said(0, "It is "), said(1, "raining"), said(2, ".")], "It is raining."),  # cut by its sources
        ([said(0, "I look.\n"), searched(1), said(3, "\n"), said(4, "Found it.")], "I look.\n\nFound it."),
        ([said(0, "\n\n"), thought(1, T1), said(2, "Found it.")], "\n\nFound it."),
        ([thought(0, T1), said(1, "Found it.")], "Found it."),
    ],
    ids=["tool", "thinking", "one text", "blanks of its own", "only blanks before", "nothing before"],
)
def test_texts_with_something_between_them_are_read_apart(blocks: list[list[Json]], content: str) -> None:
    assert collect(answered(*blocks))["choices"][0]["message"]["content"] == content


def test_nothing_is_said_of_an_order_that_everybody_assumes() -> None:
    for blocks in ([thought(0, T1), said(1, "x"), calls("a", at=2)], [thought(0, T1), said(1, "x"), thought(2, T2)]):
        assert "output_order" not in collect(answered(*blocks))["choices"][0]["message"]


def test_neighbours_that_become_one_turn_keep_their_order() -> None:
    first = {"role": "assistant", "content": "x", "thinking_blocks": [T1]}
    second = {"role": "assistant", "content": "y", "thinking_blocks": [T2], "tool_calls": [call("a")]}
    turn = sent([HI, first, second, tool("a")], facts.FABLE_5, tools=[F]).body["messages"][1]["content"]
    assert turn == [T1, *text("x"), T2, *text("y"), use("a")]


# OpenAI's Responses


def message(at: int, words: str, phase: str | None = None, **part: Any) -> Json:
    content = [{"type": "output_text", "text": words, "annotations": [], **part}]
    return {"id": f"m{at}", "type": "message", "role": "assistant", "content": content} | (
        {"phase": phase} if phase else {}
    )


def wrote(at: int, item: Json, *deltas: str) -> list[Json]:
    """The events of a message: with deltas, or only as a whole."""
    pieces = (event("output_text.delta", output_index=at, content_index=0, item_id=item["id"], delta=d) for d in deltas)
    return [added(at, item, content=[]), *pieces, done(at, item)]


REMARK, FINAL = message(0, "I look.", "commentary"), message(1, "My name is Sol.", "final_answer")
ENDED = event("completed", response=response())
BOTH = "I look.\n\nMy name is Sol."


@pytest.mark.parametrize("phases", [True, False])
@pytest.mark.parametrize("deltas", [True, False])
def test_two_messages_are_two_texts(deltas: bool, phases: bool) -> None:
    one, two = ({k: v for k, v in each.items() if phases or k != "phase"} for each in (REMARK, FINAL))
    events = [*wrote(0, one, *["I ", "look."] * deltas), *wrote(1, two, *["My ", "name is Sol."] * deltas)]
    chunks = read(frames(CREATED, *events, ENDED))
    texts = [choice["delta"].get("content") for each in chunks for choice in each["choices"]]
    pieces = ["I ", "look.", "\n\nMy ", "name is Sol."] if deltas else ["I look.", "\n\nMy name is Sol."]
    assert [each for each in texts if each] == pieces
    assert collect(chunks)["choices"][0]["message"]["content"] == BOTH
    only = read(frames(CREATED, event("completed", response=response(output=[one, two]))))
    assert collect(only)["choices"][0]["message"]["content"] == BOTH


def test_an_empty_message_leaves_no_gap() -> None:
    chunks = read(frames(CREATED, *wrote(0, message(0, "")), *wrote(1, FINAL, "My name is Sol."), ENDED))
    assert collect(chunks)["choices"][0]["message"]["content"] == "My name is Sol."


def in_json(*events: Json, tools: bool = True) -> Json:
    """The answer to a request with a JSON schema."""
    form = {"type": "json_schema", "json_schema": {"name": "n", "schema": {"type": "object"}}}
    body = {"model": "m", "messages": [HI], "response_format": form} | ({"tools": [TOOL]} if tools else {})
    to = to_openai("gpt-6-astra")
    return collect(replay.chunks(openai, frames(CREATED, *events, ENDED), call=asked_openai(body, to), to=to))


@pytest.mark.parametrize("deltas", [True, False])
@pytest.mark.parametrize("phases", [("commentary", "final_answer"), (None, None), (None, "final_answer")])
def test_json_is_the_final_answer_alone(phases: tuple[str | None, str | None], deltas: bool) -> None:
    one, two = message(0, "I look.", phases[0]), message(1, '{"a":1}', phases[1])
    answer = in_json(*wrote(0, one, *["I ", "look."] * deltas), *wrote(1, two, *['{"a"', ":1}"] * deltas))
    assert answer["choices"][0]["message"]["content"] == '{"a":1}'
    assert answer["usage"] == USAGE_CHUNK["usage"]


def test_places_of_citations_count_in_the_whole_content() -> None:
    def cited(start: int) -> Json:
        return {"type": "url_citation", "start_index": start, "end_index": start + 2, "url": "https://a", "title": "A"}

    two = message(1, "Sol.", annotations=[cited(1)])
    streamed = [
        *wrote(0, REMARK, "I look."),
        added(1, two, content=[]),
        event("output_text.delta", output_index=1, content_index=0, delta="Sol."),
        event("output_text.annotation.added", output_index=1, content_index=0, annotation=cited(1)),
        done(1, two),
    ]
    expected = {"start_index": 10, "end_index": 12, "url": "https://a", "title": "A"}
    for events in (streamed, [done(0, REMARK), done(1, two)]):
        found = collect(read(frames(CREATED, *events, ENDED)))["choices"][0]["message"]
        assert found["annotations"] == [{"type": "url_citation", "url_citation": expected}]
        assert found["content"][10:12] == "ol"


def thinks(n: int) -> Json:
    return {"id": f"rs_{n}", "type": "reasoning", "summary": [], "encrypted_content": f"e{n}"}


def calls_weather(n: int) -> Json:
    return {"id": f"fc_{n}", "type": "function_call", "call_id": f"c{n}", "name": "weather", "arguments": "{}"}


@pytest.mark.parametrize("kept", [None, ("content", "tool_calls")])
def test_phases_and_order_go_back(kept: tuple[str, ...] | None) -> None:
    """From the client that brings all, and by the cache from one that brings what most do."""
    items = [thinks(0), REMARK, calls_weather(0), thinks(1), message(4, "And on.", "commentary"), calls_weather(1)]
    chunks = read(frames(CREATED, *(done(at, item) for at, item in enumerate(items)), ENDED))
    answer, cache = collect(chunks)["choices"][0]["message"], ReasoningCache()
    remember(cache, answer)
    mine = {name: answer[name] for name in ("role", *kept)} if kept else answer
    results = [{"role": "tool", "tool_call_id": each["id"], "content": "ok"} for each in answer["tool_calls"]]
    body = cache.restore({"model": "m", "messages": [HI, mine, *results], "tools": [TOOL]})

    def remark(words: str) -> Json:
        content = [{"type": "output_text", "text": words}]
        return {"type": "message", "role": "assistant", "content": content, "phase": "commentary"}

    def called(n: int) -> Json:
        return {name: value for name, value in calls_weather(n).items() if name != "id"}

    assert asked_openai(body).body["input"][1:-2] == [
        thinks(0), remark("I look."), called(0), thinks(1), remark("And on."), called(1),
    ]  # fmt: skip


def test_a_message_that_was_edited_goes_back_as_one() -> None:
    chunks = read(frames(CREATED, done(0, REMARK), done(1, calls_weather(0)), ENDED))
    answer = collect(chunks)["choices"][0]["message"] | {"content": "Edited here."}
    body = {
        "model": "m",
        "messages": [HI, answer, {"role": "tool", "tool_call_id": "c0", "content": "ok"}],
        "tools": [TOOL],
    }
    assert asked_openai(body).body["input"][1] == {
        "role": "assistant",
        "content": [{"type": "output_text", "text": "Edited here."}],
    }


def test_an_answer_of_calls_alone_has_no_empty_text() -> None:
    chunks = read(frames(CREATED, done(0, calls_weather(0)), ENDED))
    assert chunks[0] == chunk({"role": "assistant", "content": None})


@pytest.mark.parametrize(("start", "words"), [(1, "and"), (2, "a\n\nb"), (4, "\n\nnd then")])
def test_an_order_that_leaves_out_words_is_not_followed(start: int, words: str) -> None:
    order = [{"type": "text", "start": start, "end": len(words), "phase": "commentary"}]
    body = {
        "model": "m",
        "messages": [HI, {"role": "assistant", "content": words, "output_order": order}],
        "tools": [TOOL],
    }
    assert asked_openai(body).body["input"][1:] == [
        {"role": "assistant", "content": [{"type": "output_text", "text": words}]}
    ]
