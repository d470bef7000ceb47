"""Whatever conversation comes in, what goes out keeps Claude's rules."""

import copy
from typing import Any

import claude_facts as facts
import claude_requests
import pydantic
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from providers import Upstream, anthropic

Json = dict[str, Any]

WORDS = st.sampled_from(["", " ", "\n", "hi", "你好\u2028", "🌏", "{}", '{"a": 1}', "\ud83d"])
PARTS = st.one_of(
    WORDS.map(lambda text: {"type": "text", "text": text}),
    st.just({"type": "image_url", "image_url": {"url": "https://x.test/a.png"}}),
    st.just({"type": "text", "text": "marked", "cache_control": {"type": "ephemeral"}}),
)
TEXTS = st.one_of(WORDS, st.lists(WORDS.map(lambda text: {"type": "text", "text": text}), max_size=3))
BLOCKS = st.lists(
    st.sampled_from(
        [
            {"type": "thinking", "thinking": "", "signature": "c2ln"},
            {"type": "redacted_thinking", "data": "eA=="},
            {"type": "thinking", "thinking": "unsigned"},
        ]
    ),
    max_size=2,
)


@st.composite
def turns(draw: st.DrawFn) -> list[Json]:
    """A conversation the ingress lets through: every call answered before anyone but the system speaks."""
    messages: list[Json] = []
    for _ in range(draw(st.integers(1, 6))):
        role = draw(st.sampled_from(["system", "developer", "user", "assistant", "assistant with calls"]))
        if role == "assistant with calls":
            ids = draw(
                st.lists(st.sampled_from(["a", "b", "call|1", "f:0", "f.0"]), min_size=1, max_size=3, unique=True)
            )
            calls = [{"id": i, "type": "function", "function": {"name": "f", "arguments": draw(WORDS)}} for i in ids]
            messages.append({"role": "assistant", "content": draw(WORDS), "tool_calls": calls})
            messages[-1] |= draw(st.sampled_from([{}, {"thinking_blocks": draw(BLOCKS)}]))
            for id in draw(st.permutations(ids)):
                if draw(st.booleans()):
                    messages.append({"role": "system", "content": draw(TEXTS)})
                messages.append({"role": "tool", "tool_call_id": id, "content": draw(TEXTS)})
        elif role == "user":
            messages.append({"role": role, "content": draw(st.one_of(WORDS, st.lists(PARTS, max_size=3)))})
        else:
            messages.append({"role": role, "content": draw(TEXTS)})
    return messages


MODELS = st.sampled_from(
    [facts.HAIKU_4_5, facts.OPUS_4_6, facts.HAIKU_5_5, facts.SONNET_5_5, facts.OPUS_5_5, facts.UNKNOWN]
)
EFFORTS = st.sampled_from([None, "none", "minimal", "low", "medium", "high", "xhigh", "max"])
TOOLS = [{"type": "function", "function": {"name": "f"}}]


@given(turns(), MODELS, EFFORTS, st.sampled_from([None, "auto", "required", "none"]))
@settings(max_examples=150, deadline=None)
def test_the_rules_of_the_messages_api(
    messages: list[Json], model: Any, effort: str | None, choice: str | None
) -> None:
    asked: Json = {"model": "m", "messages": messages}
    if effort:
        asked["reasoning_effort"] = effort
    if choice:
        asked |= {"tools": TOOLS, "tool_choice": choice}
    before = copy.deepcopy(asked)
    made = anthropic.build_request(asked, Upstream("a", "claude", facts=model)).body
    assert asked == before
    claude_requests.validate(made, beta=True)
    roles = [turn["role"] for turn in made["messages"]]
    assert roles == ["user", "assistant"] * (len(roles) // 2) + ["user"] * (len(roles) % 2)
    thinking = made.get("thinking", {}).get("type")
    if roles[-1] == "assistant":
        assert model.prefill
        assert thinking is None
        assert made["messages"][-1]["content"][-1]["text"] == made["messages"][-1]["content"][-1]["text"].rstrip()
    used: list[str] = []
    asked_for: list[str] = []
    for turn in made["messages"]:
        kinds = [block["type"] for block in turn["content"]]
        assert kinds
        assert all(block["text"].strip() for block in turn["content"] if block["type"] == "text")
        results = [block["tool_use_id"] for block in turn["content"] if block["type"] == "tool_result"]
        assert results == asked_for, "every call is answered in the next turn, in order"
        assert kinds[: len(results)] == ["tool_result"] * len(results), "and first"
        asked_for = [block["id"] for block in turn["content"] if block["type"] == "tool_use"]
        used += asked_for
        assert kinds == sorted(kinds, key=lambda kind: "thinking" not in kind), "thinking comes first"
    assert asked_for == []
    assert len(used) == len(set(used)), "ids are unique"
    assert not used or made["tools"]
    if thinking == "disabled":
        assert "thinking" not in str([turn["content"] for turn in made["messages"]])
    if thinking == "enabled":
        assert 1024 <= made["thinking"]["budget_tokens"] < made["max_tokens"]
        assert made.get("tool_choice", {}).get("type") not in ("any", "tool")


def test_the_sdk_types_refuse_what_they_do_not_know() -> None:
    """The oracle of the request tests is strict at every depth."""
    body: Json = {"model": "m", "max_tokens": 1, "stream": True, "messages": []}
    claude_requests.validate(body)
    wrong: list[Json] = [
        {**body, "seed": 1},
        {**body, "messages": [{"role": "user", "content": [{"type": "text", "text": "x", "name": "y"}]}]},
        {**body, "tools": [{"name": "f", "input_schema": {"type": "object"}, "parameters": {}}]},
    ]
    for one in wrong:
        with pytest.raises((pydantic.ValidationError, AssertionError)):
            claude_requests.validate(one)
