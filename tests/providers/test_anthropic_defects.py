"""Defects that users of other gateways reported, one test for each that concerns Claude, named by its id."""

import json
from typing import Any

import claude_facts as facts
import claude_requests
import pytest
import replay
from cuts import CUTS
from test_anthropic import CLAUDE_F, CLAUDE_G, HI, F, G, assistant, call, form, result, text, to, tool, use, user
from test_anthropic_edge import (
    CALL,
    NO_TEXT,
    ROLE,
    TO,
    answer,
    closed,
    ended,
    failing,
    fragment,
    grown,
    opened,
    opening,
    piece,
    sse,
    start,
    tally,
    usage,
)
from test_anthropic_edge import STOP as MESSAGE_STOP

from gateway.reasoning_cache import ReasoningCache
from providers import Call, anthropic
from providers.chunks import collect
from providers.errors import BadRequest, Unsupported

Json = dict[str, Any]


def asked(messages: list[Json], **more: Any) -> Json:
    return {"model": "m", "messages": messages, **more}


def sent(messages: list[Json], model: Any = facts.HAIKU_4_5, **more: Any) -> Call:
    return anthropic.build_request(asked(messages, **more), to(model))


def chunks(raw: bytes, size: int | None = 0) -> list[Json]:
    return list(replay.chunks(anthropic, raw, size, call=CALL, to=TO))


def calls(id: str, *pieces: str, at: int = 0) -> list[Json]:
    """The events of one tool_use block."""
    grows = (grown(at, type="input_json_delta", partial_json=piece) for piece in pieces)
    return [opened(at, type="tool_use", id=id, name="f", input={}), *grows, closed(at)]


THOUGHT: Json = {"type": "thinking", "thinking": "想\u2028", "signature": "c2ln"}
EMPTY: Json = {"type": "thinking", "thinking": "", "signature": "ZW1wdHk="}
REDACTED: Json = {"type": "redacted_thinking", "data": "ZGF0YQ=="}


@pytest.mark.case(defects="T1")
def test_tool_indexes_count_tools_only() -> None:
    blocks: list[Json] = [{"type": "text", "text": "a"}, use("toolu_1"), {"type": "text", "text": "b"}, use("toolu_2")]
    got = chunks(answer(blocks, "tool_use"))
    assert [c["index"] for chunk in got[:-1] for c in chunk["choices"][0]["delta"].get("tool_calls", ())] == [
        0,
        0,
        1,
        1,
    ]


@pytest.mark.case(defects="T2")
def test_the_choice_index_stays_0_after_thinking() -> None:
    got = chunks((replay.STREAMS / "claude_thinking.sse").read_bytes())
    assert {choice["index"] for chunk in got for choice in chunk["choices"]} == {0}


@pytest.mark.case(defects="T3")
def test_parallel_calls_that_arrive_interleaved_stay_apart() -> None:
    raw = sse(
        start(input_tokens=1),
        opened(0, type="tool_use", id="a", name="f", input={}),
        opened(1, type="tool_use", id="b", name="g", input={}),
        grown(1, type="input_json_delta", partial_json='{"b":'),
        grown(0, type="input_json_delta", partial_json='{"a":'),
        grown(1, type="input_json_delta", partial_json="2}"),
        grown(0, type="input_json_delta", partial_json="1}"),
        closed(0),
        closed(1),
        ended("tool_use", output_tokens=1),
        MESSAGE_STOP,
    )
    assert collect(chunks(raw))["choices"][0]["message"]["tool_calls"] == [
        {"id": "a", "type": "function", "function": {"name": "f", "arguments": '{"a":1}'}},
        {"id": "b", "type": "function", "function": {"name": "g", "arguments": '{"b":2}'}},
    ]


@pytest.mark.case(defects="T4")
def test_a_whole_answer_holds_every_call() -> None:
    whole = collect(chunks(answer([use("a"), use("b"), use("c")], "tool_use")))
    assert [one["id"] for one in whole["choices"][0]["message"]["tool_calls"]] == ["a", "b", "c"]


@pytest.mark.parametrize("pieces", [(), ("",), ("", "")])
@pytest.mark.case(defects="T5")
def test_a_call_without_arguments_has_empty_ones(pieces: tuple[str, ...]) -> None:
    got = chunks(sse(start(input_tokens=1), *calls("a", *pieces), ended("tool_use", output_tokens=1), MESSAGE_STOP))
    assert got == [NO_TEXT, opening(0, "a", "f"), fragment(0, "{}"), piece({}, "tool_calls"), tally(1, 1)]


@pytest.mark.case(defects="T9")
def test_results_of_parallel_calls_are_one_user_turn() -> None:
    history = [HI, {"role": "assistant", "tool_calls": [call("a"), call("b")]}, tool("a"), tool("b"), HI]
    assert sent(history, tools=[F]).body["messages"] == [
        user("x"),
        {"role": "assistant", "content": [use("a"), use("b")]},
        {"role": "user", "content": [result("a"), result("b"), *text("x")]},
    ]


@pytest.mark.parametrize(
    ("messages", "param", "named"),
    [
        ([HI, tool("lost")], "messages[1].tool_call_id", "lost"),
        ([HI, {"role": "assistant", "tool_calls": [call("lost")]}], "messages[1].role", "lost"),
        (
            [HI, {"role": "assistant", "tool_calls": [call("a"), call("lost")]}, tool("a"), assistant("y")],
            "messages[3].role",
            "lost",
        ),
        (
            [HI, {"role": "assistant", "tool_calls": [call("a")]}, tool("a"), assistant("y"), tool("a")],
            "messages[4].tool_call_id",
            "a",
        ),
    ],
    ids=["result without call", "call without result", "one of two", "result a turn late"],
)
@pytest.mark.case(defects="T10")
def test_orphans_are_named(messages: list[Json], param: str, named: str) -> None:
    with pytest.raises(BadRequest, match=named) as refused:
        sent(messages, tools=[F])
    assert refused.value.param == param


@pytest.mark.case(defects="T11")
def test_two_results_for_one_call_are_refused() -> None:
    with pytest.raises(BadRequest, match="'a' already has a result") as refused:
        sent([HI, {"role": "assistant", "tool_calls": [call("a")]}, tool("a"), tool("a")], tools=[F])
    assert refused.value.param == "messages[3].tool_call_id"


@pytest.mark.case(defects="T11")
def test_two_calls_of_one_id_are_refused() -> None:
    with pytest.raises(BadRequest, match="'a' is used twice") as refused:
        sent([HI, {"role": "assistant", "tool_calls": [call("a"), call("a")]}, tool("a")], tools=[F])
    assert refused.value.param == "messages[1].tool_calls[1].id"


@pytest.mark.parametrize(
    ("parameters", "expected"),
    [
        (None, {"type": "object", "properties": {}}),
        ({}, {"type": "object", "properties": {}}),
        ({"type": "object", "properties": None, "required": None}, {"type": "object", "properties": {}}),
        ({"properties": {"a": {}}}, {"type": "object", "properties": {"a": {}}}),
        ({"type": ["object", "null"], "properties": {}}, {"type": "object", "properties": {}}),
        ({"$ref": "#/$defs/A", "$defs": {"A": {}}}, {"$defs": {"A": {}}, "type": "object", "properties": {}}),
    ],
)
@pytest.mark.case(defects="T13")
def test_schemas_with_holes_are_mended(parameters: Any, expected: Json) -> None:
    made = sent([HI], tools=[{"type": "function", "function": {"name": "f", "parameters": parameters}}])
    assert made.body["tools"] == [{"name": "f", "input_schema": expected}]


@pytest.mark.case(defects="T14")
def test_tool_names_go_and_come_unchanged() -> None:
    name = "Mcp__git-hub_" + "x" * 50
    made = sent([HI], tools=[{"type": "function", "function": {"name": name}}])
    assert made.body["tools"][0]["name"] == name
    got = chunks(answer([use("a", name)], "tool_use"))
    assert got[1] == opening(0, "a", name)


@pytest.mark.parametrize("size", CUTS)
@pytest.mark.case(defects="T15")
def test_arguments_pass_byte_by_byte(size: int | None) -> None:
    given = {"q": '他说 "好"\n\t\\ \u2028 🌏', "n": [1, 2.5, None]}
    whole = json.dumps(given, ensure_ascii=False)
    pieces = [whole[at : at + 2] for at in range(0, len(whole), 2)]
    raw = sse(start(input_tokens=1), *calls("a", *pieces), ended("tool_use", output_tokens=1), MESSAGE_STOP)
    got = chunks(raw, size)
    assert got[2:-2] == [fragment(0, part) for part in pieces]
    arguments = collect(got)["choices"][0]["message"]["tool_calls"][0]["function"]["arguments"]
    assert arguments == whole


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        ("auto", {"type": "auto"}),
        ("required", {"type": "any"}),
        ("none", {"type": "none"}),
        ({"type": "function", "function": {"name": "f"}}, {"type": "tool", "name": "f"}),
        ({"type": "custom", "custom": {"name": "c"}}, {"type": "tool", "name": "c"}),
        (
            {
                "type": "allowed_tools",
                "allowed_tools": {"mode": "auto", "tools": [{"type": "custom", "custom": {"name": "c"}}]},
            },
            {"type": "auto"},
        ),
    ],
)
@pytest.mark.case(defects="T17")
def test_tool_choice_in_every_form(choice: Any, expected: Json) -> None:
    custom = {"type": "custom", "custom": {"name": "c"}}
    assert sent([HI], tools=[F, custom], tool_choice=choice).body["tool_choice"] == expected


@pytest.mark.case(defects="T17")
def test_allowed_tools_that_allow_nothing_are_refused() -> None:
    choice = {"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": []}}
    with pytest.raises(BadRequest) as refused:
        sent([HI], tools=[F], tool_choice=choice)
    assert refused.value.param == "tool_choice.allowed_tools.tools"


@pytest.mark.case(defects="T18")
def test_an_empty_list_of_calls_is_no_call() -> None:
    made = sent([HI, {"role": "assistant", "content": "y", "tool_calls": []}, HI])
    assert made.body["messages"] == [user("x"), assistant("y"), user("x")]
    assert "tools" not in made.body


@pytest.mark.case(defects="T19")
def test_a_delta_before_its_block_does_no_harm() -> None:
    early = [grown(0, type="input_json_delta", partial_json="{"), grown(1, type="text_delta", text="好")]
    raw = sse(start(input_tokens=1), *early, *calls("a", "{}"), ended("tool_use", output_tokens=1), MESSAGE_STOP)
    assert chunks(raw) == [
        ROLE,
        piece({"content": "好"}),
        opening(0, "a", "f"),
        fragment(0, "{}"),
        piece({}, "tool_calls"),
        tally(1, 1),
    ]


@pytest.mark.case(defects="R1")
def test_signed_thinking_survives_a_client_that_cannot_carry_it() -> None:
    """Two turns: what the second request sends upstream begins with the blocks of the first answer, unchanged."""
    cache, first = ReasoningCache(), asked([HI], tools=[F], reasoning_effort="minimal")
    collector = cache.collector()
    raw = (replay.STREAMS / "claude_thinking.sse").read_bytes()
    got = list(replay.chunks(anthropic, raw, 7, call=anthropic.build_request(first, TO), to=TO))
    for chunk in got:
        collector.see([chunk])
    collector.commit()
    message = collect(got)["choices"][0]["message"]
    kept = {name: message[name] for name in ("role", "content", "tool_calls")}  # all that most clients keep
    second = asked([HI, kept, tool("toolu_a", "晴")], tools=[F], reasoning_effort="minimal")
    body = anthropic.build_request(cache.restore(second), TO).body
    assert body["messages"][1]["content"] == [
        {"type": "thinking", "thinking": "想一想\u2028", "signature": "c2lnMQ=="},
        {"type": "redacted_thinking", "data": "cmVkYWN0ZWQ="},
        {"type": "thinking", "thinking": "", "signature": "c2lnMg=="},
        {"type": "text", "text": "好"},
        {"type": "tool_use", "id": "toolu_a", "name": "weather", "input": {}},
    ]
    assert body["thinking"] == {"type": "enabled", "budget_tokens": 1024}
    assert "thinking" not in anthropic.build_request(second, TO).body, (
        "without the cache there is no thinking to be had"
    )


@pytest.mark.parametrize(
    "carried",
    [
        {"thinking_blocks": [THOUGHT, EMPTY, REDACTED]},
        {
            "reasoning_details": [
                {"type": "reasoning.summary", "summary": "skipped"},
                {"type": "reasoning.text", "text": "想\u2028", "signature": "c2ln", "format": "anthropic-claude-v1"},
                {"type": "reasoning.text", "text": "another's", "signature": "x", "format": "google-gemini-v1"},
                {"type": "reasoning.text", "text": "unsigned", "signature": None},
                {"type": "reasoning.text", "signature": "ZW1wdHk="},
                {"type": "reasoning.encrypted", "data": "ZGF0YQ=="},
            ]
        },
    ],
    ids=["thinking_blocks", "reasoning_details"],
)
@pytest.mark.case(defects="R2")
def test_thinking_that_the_client_brings_back_is_sent(carried: Json) -> None:
    order = [*[{"type": "thinking"}] * 3, {"type": "text", "start": 0, "end": 1}, {"type": "call", "id": "call_1"}]
    message = {"role": "assistant", "content": "y", **carried, "tool_calls": [call()]}
    body = sent([HI, message | {"output_order": order}, tool()], facts.FABLE_5, tools=[F]).body
    assert body["messages"][1]["content"] == [THOUGHT, EMPTY, REDACTED, *text("y"), use()]
    assert "thinking" not in body
    body = sent([HI, message, tool()], facts.FABLE_5, tools=[F]).body
    assert body["messages"][1]["content"] == [*text("y"), use()], "several, and no word of their order"


@pytest.mark.parametrize(("effort", "more"), [(None, {}), ("low", {"display": "summarized"})])
@pytest.mark.case(defects="R2")
def test_a_model_bound_to_its_history_may_do_without_old_blocks(effort: str | None, more: Json) -> None:
    history = [HI, {"role": "assistant", "thinking_blocks": [THOUGHT], "tool_calls": [call()]}, tool()]
    asks = {"reasoning_effort": effort} if effort else {}
    upstream = to(facts.OPUS_5_5, headers={"anthropic-beta": "b-1"})
    made = anthropic.build_request(asked(history, tools=[F], **asks), upstream)
    binding = {"prefix_mismatch_behavior": "drop_block"}
    assert made.body["thinking"] == {"type": "adaptive", **more, "block_binding": binding}
    assert made.headers["anthropic-beta"] == "b-1,thinking-binding-controls-2026-08-01"
    claude_requests.validate(made.body, beta=True)
    fresh = anthropic.build_request(asked([HI], tools=[F]), upstream)
    assert ("thinking" in fresh.body, fresh.headers["anthropic-beta"]) == (False, "b-1")
    quiet = sent(history, facts.SONNET_5_5, tools=[F], reasoning_effort="none").body
    assert (quiet["thinking"], quiet["messages"][1]["content"]) == ({"type": "between_tools"}, [use()])


@pytest.mark.parametrize(
    ("model", "effort"), [(facts.HAIKU_4_5, None), (facts.HAIKU_5_5, "none"), (facts.UNKNOWN, "high")]
)
@pytest.mark.case(defects="R2")
def test_thinking_is_not_sent_to_a_model_that_does_not_think_now(model: Any, effort: str | None) -> None:
    history = [HI, {"role": "assistant", "thinking_blocks": [THOUGHT], "tool_calls": [call()]}, tool()]
    more = {"reasoning_effort": effort} if effort else {}
    assert sent(history, model, tools=[F], **more).body["messages"][1]["content"] == [use()]


@pytest.mark.case(defects="R2")
def test_blocks_that_are_not_signed_are_not_sent() -> None:
    odd = [{"type": "thinking", "thinking": "x"}, {"type": "text", "text": "x"}, "x", None, THOUGHT]
    history = [HI, {"role": "assistant", "content": "y", "thinking_blocks": odd}, HI]
    assert sent(history, facts.FABLE_5).body["messages"][1]["content"] == [THOUGHT, *text("y")]


@pytest.mark.case(defects="R3")
def test_thinking_comes_first_even_where_turns_merge() -> None:
    history = [
        HI,
        {"role": "assistant", "content": "a"},
        {"role": "assistant", "content": "b", "thinking_blocks": [THOUGHT], "tool_calls": [call()]},
        tool(),
    ]
    assert sent(history, facts.FABLE_5, tools=[F]).body["messages"][1]["content"] == [
        THOUGHT,
        *text("a", "b"),
        use(),
    ]


@pytest.mark.case(defects="R6")
def test_thinking_is_shown_as_it_comes() -> None:
    got = chunks((replay.STREAMS / "claude_thinking.sse").read_bytes())
    assert got[1:3] == [piece({"reasoning_content": "想一"}), piece({"reasoning_content": "想\u2028"})]


@pytest.mark.parametrize("model", [facts.HAIKU_4_5, facts.OPUS_4_6, facts.SONNET_5_5, facts.OPUS_5_5, facts.UNKNOWN])
@pytest.mark.case(defects="R7")
def test_nothing_is_added_that_was_not_asked_for(model: Any) -> None:
    limit = {"max_tokens": model.max_output, "stream": True} if model.max_output else {"max_tokens": 4096}
    assert sent([HI], model).body == {"model": "claude", "messages": [user("x")], **limit}


@pytest.mark.case(defects="R8")
def test_thinking_and_a_call_without_text_is_no_empty_stop() -> None:
    whole = collect(chunks(answer([{"type": "thinking", "thinking": "想"}, use("a", x=1)], "tool_use")))
    assert whole["choices"][0]["finish_reason"] == "tool_calls"
    assert whole["choices"][0]["message"]["content"] is None
    assert len(whole["choices"][0]["message"]["tool_calls"]) == 1


@pytest.mark.case(defects="U1")
def test_usage_is_one_last_chunk_without_choices() -> None:
    got = chunks(answer([{"type": "text", "text": "A"}], "end_turn"))
    assert [at for at, chunk in enumerate(got) if "usage" in chunk] == [len(got) - 1]
    assert got[-1] == tally(1, 1)


@pytest.mark.parametrize(
    "options", [{}, {"stream": False}, {"stream": True, "stream_options": {"include_usage": False}}]
)
@pytest.mark.case(defects="U2")
def test_the_upstream_streams_what_may_be_long_and_so_counts(options: Json) -> None:
    made = sent([HI], **options)
    assert (made.stream, made.body["stream"], made.dropped) == (True, True, ())


@pytest.mark.parametrize(
    ("model", "limit", "streamed"),
    [
        (facts.HAIKU_4_5, 21_333, False),  # 10 minutes at 128,000 tokens an hour, as the SDKs have it
        (facts.HAIKU_4_5, 21_334, True),
        (facts.HAIKU_4_5, 10**6, True),  # cut to what the model writes
        (facts.OPUS_4, 8_192, False),
        (facts.OPUS_4, 8_193, True),
    ],
)
def test_a_short_answer_is_asked_whole(model: Any, limit: int, streamed: bool) -> None:
    made = sent([HI], model, max_tokens=limit)
    assert (made.stream, made.body.get("stream")) == (streamed, True if streamed else None)
    assert sent([HI], model, max_tokens=limit, stream=True).body["stream"] is True


@pytest.mark.case(defects="U3")
def test_cached_tokens_are_part_of_the_prompt_once() -> None:
    raw = sse(
        start(input_tokens=10, cache_creation_input_tokens=5, cache_read_input_tokens=85, output_tokens=1),
        ended("end_turn", input_tokens=10, cache_creation_input_tokens=5, cache_read_input_tokens=85, output_tokens=7),
        MESSAGE_STOP,
    )
    assert chunks(raw)[-1] == tally(100, 7, cached=85, written=5)


@pytest.mark.case(defects="U5")
def test_an_answer_that_breaks_off_knows_what_it_cost() -> None:
    raw = sse(start(input_tokens=10, cache_read_input_tokens=90, output_tokens=2), opened(0, type="text", text="A"))
    _, failure = failing(raw, 0)
    assert failure.usage == usage(100, 2, cached=90)


@pytest.mark.parametrize(
    ("name", "value"), [("seed", 1), ("frequency_penalty", 0.5), ("prediction", {"type": "content", "content": "x"})]
)
@pytest.mark.case(defects="P1")
def test_what_is_dropped_is_named(name: str, value: Any) -> None:
    made = sent([HI], **{name: value})
    assert made.dropped == (name,)
    assert name not in made.body


@pytest.mark.parametrize("name", ["n", "top_logprobs"])
@pytest.mark.case(defects="P1")
def test_what_would_be_missed_is_refused(name: str) -> None:
    with pytest.raises(Unsupported) as refused:
        sent([HI], **{name: 3})
    assert (refused.value.param, refused.value.status) == (name, 400)


@pytest.mark.parametrize(
    ("schema", "native"),
    [
        ({"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]}, True),
        ({"type": "object", "properties": {f"p{n}": {"type": "string"} for n in range(10)}}, True),
        ({"type": "object", "properties": {f"p{n}": {"type": "string"} for n in range(11)}}, False),
        ({"type": "object"}, False),
        ({"type": "object", "properties": {"a": {}}, "required": ["a"]}, False),
        ({"type": "object", "properties": {"a": True}, "required": ["a"]}, False),
        ({"type": "object", "properties": {"a": {"type": "array"}}, "required": ["a"]}, False),
        ({"type": "object", "properties": {"a": {"type": "string"}}, "additionalProperties": True}, False),
        (
            {"type": "object", "properties": {"a": {"type": "object", "additionalProperties": {"type": "string"}}}},
            False,
        ),
        ({"$ref": "#/$defs/A", "$defs": {"A": {"type": "object", "properties": {"a": {"const": 1}}}}}, True),
        ({"type": "object", "properties": {"a": {"$ref": "#"}}}, False),
        (
            {
                "$ref": "#/$defs/A",
                "$defs": {
                    "A": {"type": "object", "properties": {"b": {"$ref": "#/$defs/B"}}},
                    "B": {"type": "object", "properties": {"a": {"$ref": "#/$defs/A"}}},
                },
            },
            False,
        ),
        (
            {
                "type": "object",
                "properties": {f"p{n}": {"type": ["string", "null"]} for n in range(17)},
                "required": [f"p{n}" for n in range(17)],
            },
            False,
        ),
    ],
)
@pytest.mark.case(defects="P2")
def test_a_schema_is_held_natively_or_by_a_forced_tool(schema: Json, native: bool) -> None:
    made = sent([HI], **form(schema))
    assert ("output_config" in made.body) is native
    assert ("tools" in made.body) is not native
    assert made.dropped == (() if native else ("response_format",))
    assert made.read.keywords["way"].json_tool == (None if native else "json_response")


@pytest.mark.case(defects="P2")
def test_more_references_than_can_be_followed_are_left_to_the_tool() -> None:
    names = [f"p{n}" for n in range(501)]
    schema = {
        "type": "object",
        "properties": {name: {"$ref": f"#/$defs/{name}"} for name in names},
        "required": names,
        "$defs": {name: {"type": "string"} for name in names},
    }
    assert sent([HI], **form(schema)).dropped == ("response_format",)


@pytest.mark.case(defects="P2")
def test_the_answering_tool_beside_the_clients_tools() -> None:
    deep = {"$ref": "#"}
    mine = {"type": "function", "function": {"name": "json_response"}}
    free = sent([HI], tools=[mine], **form(deep))
    assert (free.body["tool_choice"], free.read.keywords["way"].json_tool) == ({"type": "any"}, "json_response_2")
    closed_ = sent([HI], tools=[F], tool_choice="none", **form(deep))
    assert closed_.body["tool_choice"] == {"type": "tool", "name": "json_response"}
    must = sent([HI], tools=[F, G], tool_choice="required", **form(deep))
    assert (must.body["tools"], must.body["tool_choice"]) == ([CLAUDE_F, CLAUDE_G], {"type": "any"})
    assert must.read.keywords["way"].json_tool is None
    soft = sent([HI], facts.OPUS_5_5, tools=[F], **form(deep))
    assert soft.body["tool_choice"] == {"type": "auto"}
    assert soft.body["system"] == "When you have what you need, you must answer by calling the tool json_response."


@pytest.mark.case(defects="P2")
def test_prefill_and_a_grammar_do_not_meet() -> None:
    schema = {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]}
    made = sent([HI, {"role": "assistant", "content": "{"}], **form(schema))
    assert made.body["messages"][-1] == user("Continue.")


@pytest.mark.case(defects="P2")
def test_strict_tools_stay_within_the_limits() -> None:
    def strict(n: int, **properties: Any) -> Json:
        parameters = {"type": "object", "properties": properties}
        return {"type": "function", "function": {"name": f"f{n}", "parameters": parameters, "strict": True}}

    many = sent([HI], tools=[strict(n, a={"type": "string"}) for n in range(22)])
    assert [tool.get("strict") for tool in many.body["tools"]] == [True] * 20 + [None] * 2
    assert many.dropped == ("tools[20].function.strict", "tools[21].function.strict")
    wide = sent(
        [HI], tools=[strict(0, **{f"p{n}": {"type": "string"} for n in range(25)}), strict(1, a={"type": "null"})]
    )
    assert [tool.get("strict") for tool in wide.body["tools"]] == [None, True]
    old = sent([HI], facts.OPUS_4, tools=[strict(0, a={"type": "string"})])
    assert old.dropped == ("tools[0].function.strict",)


@pytest.mark.case(defects="P2")
def test_a_schema_nested_without_end_is_refused() -> None:
    deep: Json = {"type": "string"}
    for _ in range(5000):
        deep = {"type": "object", "properties": {"a": deep}, "required": ["a"]}
    with pytest.raises(BadRequest, match="nested too deeply"):
        sent([HI], **form(deep))


@pytest.mark.parametrize(("name", "limit"), [("max_tokens", 7), ("max_completion_tokens", 7), ("max_tokens", 10**9)])
@pytest.mark.case(defects="P3")
def test_either_limit_is_max_tokens(name: str, limit: int) -> None:
    assert sent([HI], **{name: limit}).body["max_tokens"] == min(limit, 64_000)


@pytest.mark.parametrize("blank", ["", " ", "\n\t", "\u2028"])
@pytest.mark.case(defects="P4")
def test_no_blank_text_block_is_sent(blank: str) -> None:
    history = [
        {"role": "system", "content": blank},
        {"role": "user", "content": blank},
        {"role": "assistant", "content": blank, "tool_calls": [call()]},
        tool("call_1", [{"type": "text", "text": blank}]),
        {"role": "system", "content": blank},
        {"role": "assistant", "content": [{"type": "text", "text": blank}]},
        {"role": "user", "content": [{"type": "text", "text": blank}]},
    ]
    made = sent(history, tools=[F])
    assert "system" not in made.body
    assert made.body["messages"] == [
        user("(empty message)"),
        {"role": "assistant", "content": [use()]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "call_1"}, *text("(empty message)")]},
    ]


@pytest.mark.case(defects="P5")
@pytest.mark.case(defects="P6")
def test_only_mapped_fields_are_sent_and_the_others_named() -> None:
    made = sent([HI], extra_body={"a": 1}, api_key="leak", cache={"no-cache": True})
    assert made.body == {"model": "claude", "max_tokens": 64_000, "messages": [user("x")], "stream": True}
    assert made.dropped == ("extra_body", "api_key", "cache")
