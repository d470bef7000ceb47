"""The signature keeper: what goes in comes back unaltered, once lost and only then, and never grows without bound."""

import copy
from typing import Any

import pytest

from gateway.reasoning_cache import ReasoningCache
from providers.chunks import chunk, tool_call

THINKING = [
    {"type": "thinking", "thinking": "查天气\u2028…", "signature": "c2ln"},
    {"type": "thinking", "thinking": "", "signature": "ZW1wdHk="},
    {"type": "redacted_thinking", "data": "ZGF0YQ=="},
]


def call(id: str = "toolu_1", name: str = "weather", arguments: str = "{}", **more: Any) -> dict[str, Any]:
    return {"id": id, "type": "function", "function": {"name": name, "arguments": arguments}, **more}


def asked(*calls: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {
        "model": "m",
        "messages": [
            {"role": "user", "content": "天气？"},
            {"role": "assistant", "content": None, "tool_calls": list(calls), **fields},
            {"role": "tool", "tool_call_id": calls[0]["id"], "content": "晴"},
        ],
    }


def test_a_stream_watched_chunk_by_chunk_comes_back_whole() -> None:
    keeper = ReasoningCache()
    watcher = keeper.collector()
    for piece in (
        chunk({"role": "assistant", "content": ""}),
        chunk({"reasoning_content": "查"}),
        chunk({"reasoning_content": "天气"}),
        chunk({"content": "好"}),
        chunk(tool_call(0, {"name": "weather", "arguments": ""}, id="toolu_1", type="function")),
        chunk(tool_call(0, {"arguments": '{"city":"北京"}'})),
        chunk({"thinking_blocks": THINKING}),
        chunk({"reasoning_items": [{"id": "rs_1"}]}),
        chunk({}, "tool_calls"),
        {"choices": [], "usage": {}},
    ):
        watcher.see([piece])
    assert len(keeper) == 0, "nothing is kept of an answer that is not complete"
    watcher.commit()
    body = asked(call(arguments='{ "city": "北京" }'))
    before = copy.deepcopy(body)
    restored = keeper.restore(body)
    assert body == before
    assert restored == asked(
        call(arguments='{ "city": "北京" }'),
        reasoning_content="查天气",
        thinking_blocks=THINKING,
        reasoning_items=[{"id": "rs_1"}],
    )
    assert restored["messages"][0] is body["messages"][0]


def test_gemini_signatures_belong_to_their_calls() -> None:
    keeper = ReasoningCache()
    signed = {"google": {"thought_signature": "c2ln"}}
    keeper.remember({"role": "assistant", "tool_calls": [call("a", extra_content=signed), call("b")]})
    assert keeper.restore(asked(call("a"), call("b"))) == asked(call("a", extra_content=signed), call("b"))
    assert keeper.restore(asked(call("b"), call("a"))) == asked(call("b"), call("a", extra_content=signed))


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"thinking_blocks": []}, {"thinking_blocks": []}),
        ({"thinking_blocks": THINKING[:1]}, {"thinking_blocks": THINKING[:1]}),
        ({"thinking_blocks": None}, {"thinking_blocks": THINKING}),
        ({"reasoning_details": [{"type": "reasoning.text"}]}, {"reasoning_details": [{"type": "reasoning.text"}]}),
        ({"reasoning_content": "mine"}, {"reasoning_content": "mine", "thinking_blocks": THINKING}),
    ],
)
def test_what_the_client_brings_wins(fields: dict[str, Any], expected: dict[str, Any]) -> None:
    keeper = ReasoningCache()
    keeper.remember({"tool_calls": [call()], "thinking_blocks": THINKING})
    assert keeper.restore(asked(call(), **fields)) == asked(call(), **expected)


def test_the_clients_extra_content_wins() -> None:
    keeper = ReasoningCache()
    keeper.remember({"tool_calls": [call(extra_content={"google": {"thought_signature": "kept"}})]})
    mine = asked(call(extra_content={"google": {"thought_signature": "mine"}}))
    assert keeper.restore(mine) is mine


@pytest.mark.parametrize(
    "body",
    [
        {"messages": [{"role": "user", "content": "x"}, {"role": "assistant", "content": "y"}]},
        {"messages": [{"role": "assistant", "content": "y", "tool_calls": []}]},
        asked(call("other")),
        asked(call(name="other_tool")),
    ],
    ids=["no calls", "empty calls", "unknown id", "another tool's call"],
)
def test_nothing_to_restore_is_the_same_object(body: dict[str, Any]) -> None:
    keeper = ReasoningCache()
    keeper.remember({"tool_calls": [call()], "thinking_blocks": THINKING})
    assert keeper.restore(body) is body


def test_scopes_do_not_meet() -> None:
    keeper = ReasoningCache()
    keeper.remember({"tool_calls": [call("call_0")], "reasoning_content": "alice"}, "alice")
    keeper.remember({"tool_calls": [call("call_0")], "reasoning_content": "bob"}, "bob")
    assert keeper.restore(asked(call("call_0")), "bob") == asked(call("call_0"), reasoning_content="bob")
    assert keeper.restore(asked(call("call_0")), "alice") == asked(call("call_0"), reasoning_content="alice")
    assert "reasoning_content" not in keeper.restore(asked(call("call_0")))["messages"][1]


def test_an_answer_without_calls_or_without_thinking_is_not_kept() -> None:
    keeper = ReasoningCache()
    keeper.remember({"content": "x", "reasoning_content": "y"})
    keeper.remember({"content": None, "tool_calls": [call()]})
    assert (len(keeper), keeper.size) == (0, 0)


def test_the_longest_unused_goes_first() -> None:
    keeper = ReasoningCache(capacity=3)
    for id in "abc":
        keeper.remember({"tool_calls": [call(id)], "reasoning_content": id})
    keeper.restore(asked(call("a")))
    keeper.remember({"tool_calls": [call("d")], "reasoning_content": "d"})
    kept = [id for id in "abcd" if keeper.restore(asked(call(id))) != asked(call(id))]
    assert kept == ["a", "c", "d"]


def test_bytes_are_bounded() -> None:
    keeper = ReasoningCache(limit=10_000)
    for n in range(100):
        keeper.remember({"tool_calls": [call(f"call_{n}"), call(f"again_{n}")], "reasoning_content": "思" * 1000})
        assert keeper.size <= 10_000
    assert len(keeper) == 4  # two messages of 3 kB with two calls each
    keeper.remember({"tool_calls": [call("huge")], "thinking_blocks": [{"thinking": "x" * 20_000}]})
    assert len(keeper) == 4, "one that is larger than the whole is not kept, and drives nothing out"


def test_reasoning_larger_than_the_keeper_is_not_gathered() -> None:
    keeper = ReasoningCache(limit=1000)
    watcher = keeper.collector()
    for _ in range(100):
        watcher.see([chunk({"reasoning_content": "x" * 100})])
    assert sum(map(len, watcher._reasoning)) <= 1000


def test_an_id_used_again_replaces_the_first() -> None:
    keeper = ReasoningCache()
    keeper.remember({"tool_calls": [call("call_0"), call("call_1")], "reasoning_content": "one"})
    keeper.remember({"tool_calls": [call("call_0")], "reasoning_content": "two"})
    assert keeper.restore(asked(call("call_0"))) == asked(call("call_0"), reasoning_content="two")
    assert len(keeper) == 1


def test_a_lone_surrogate_survives() -> None:
    keeper = ReasoningCache()
    keeper.remember({"tool_calls": [call()], "reasoning_content": "\ud83d"})
    assert keeper.restore(asked(call())) == asked(call(), reasoning_content="\ud83d")


def test_long_ids_and_names_are_counted() -> None:
    keeper = ReasoningCache(limit=1_000_000)
    for n in range(40):
        keeper.remember({"tool_calls": [call(f"{n}" + "x" * 50_000, "y" * 50_000)], "reasoning_content": "z"})
    assert 900_000 < keeper.size <= 1_000_000 and len(keeper) == 9


def test_what_one_request_gets_back_is_bounded() -> None:
    keeper = ReasoningCache(limit=400_000)
    keeper.remember({"tool_calls": [call()], "reasoning_content": "x" * 30_000})
    body = {"messages": [{"role": "assistant", "tool_calls": [call()]} for _ in range(10)]}
    restored = ["reasoning_content" in message for message in keeper.restore(body)["messages"]]
    assert restored == [False] * 7 + [True] * 3, "a quarter of the limit, to the latest messages"
    own = {"messages": [{"role": "assistant", "tool_calls": [call()], "reasoning_content": "mine"} for _ in range(10)]}
    assert keeper.restore(own) is own


@pytest.mark.parametrize("odd", [["x"], {"text": "x"}, 5, True], ids=str)
@pytest.mark.parametrize("name", ["reasoning_content", "thinking_blocks", "reasoning_items", "output_order"])
def test_a_field_of_an_odd_type_is_ignored(name: str, odd: Any) -> None:
    keeper = ReasoningCache()
    kept = {"reasoning_items": [{"id": "rs_1"}]} if name == "reasoning_content" else {"reasoning_content": "mine"}
    keeper.remember({"tool_calls": [call()], **kept, name: odd})
    assert keeper.restore(asked(call())) == asked(call(), **kept)


@pytest.mark.parametrize(
    "odd",
    [
        {"id": {"a": 1}},
        {"id": ["a"]},
        {"id": "a", "function": "f"},
        {"id": "a", "function": {"name": {"b": 1}}},
        {"id": "a", "custom": 5},
        {"id": "a", "extra_content": 5},
        {"id": "a", "index": {}},
        "call",
        None,
    ],
    ids=str,
)
def test_an_odd_call_keeps_nothing_from_the_others(odd: Any) -> None:
    keeper = ReasoningCache()
    keeper.remember({"tool_calls": [odd, call()], "reasoning_content": "mine"})
    assert keeper.restore(asked(call())) == asked(call(), reasoning_content="mine")


@pytest.mark.parametrize("odd", [5, "call", {"id": "a"}], ids=str)
def test_calls_that_are_no_list_are_ignored(odd: Any) -> None:
    keeper = ReasoningCache()
    keeper.remember({"tool_calls": odd, "reasoning_content": "mine"})
    assert len(keeper) == 0
