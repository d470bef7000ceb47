"""The reasoning cache: what goes in comes back unaltered, once lost and only then, and never grows without bound."""

import copy
from typing import Any

import pytest
from cached import remember

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
    cache = ReasoningCache()
    collector = cache.collector()
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
        collector.see([piece])
    assert len(cache) == 0, "nothing is kept of an answer that is not complete"
    collector.commit()
    body = asked(call(arguments='{ "city": "北京" }'))
    before = copy.deepcopy(body)
    restored = cache.restore(body)
    assert body == before
    assert restored == asked(
        call(arguments='{ "city": "北京" }'),
        reasoning_content="查天气",
        thinking_blocks=THINKING,
        reasoning_items=[{"id": "rs_1"}],
    )
    assert restored["messages"][0] is body["messages"][0]


def test_gemini_signatures_belong_to_their_calls() -> None:
    cache = ReasoningCache()
    signed = {"google": {"thought_signature": "c2ln"}}
    remember(cache, {"role": "assistant", "tool_calls": [call("a", extra_content=signed), call("b")]})
    assert cache.restore(asked(call("a"), call("b"))) == asked(call("a", extra_content=signed), call("b"))
    assert cache.restore(asked(call("b"), call("a"))) == asked(call("b"), call("a", extra_content=signed))


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
    cache = ReasoningCache()
    remember(cache, {"tool_calls": [call()], "thinking_blocks": THINKING})
    assert cache.restore(asked(call(), **fields)) == asked(call(), **expected)


def test_the_clients_extra_content_wins() -> None:
    cache = ReasoningCache()
    remember(cache, {"tool_calls": [call(extra_content={"google": {"thought_signature": "kept"}})]})
    mine = asked(call(extra_content={"google": {"thought_signature": "mine"}}))
    assert cache.restore(mine) is mine


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
    cache = ReasoningCache()
    remember(cache, {"tool_calls": [call()], "thinking_blocks": THINKING})
    assert cache.restore(body) is body


def test_scopes_do_not_meet() -> None:
    cache = ReasoningCache()
    remember(cache, {"tool_calls": [call("call_0")], "reasoning_content": "alice"}, "alice")
    remember(cache, {"tool_calls": [call("call_0")], "reasoning_content": "bob"}, "bob")
    assert cache.restore(asked(call("call_0")), "bob") == asked(call("call_0"), reasoning_content="bob")
    assert cache.restore(asked(call("call_0")), "alice") == asked(call("call_0"), reasoning_content="alice")
    assert "reasoning_content" not in cache.restore(asked(call("call_0")))["messages"][1]


def test_an_answer_without_calls_or_without_thinking_is_not_kept() -> None:
    cache = ReasoningCache()
    remember(cache, {"content": "x", "reasoning_content": "y"})
    remember(cache, {"content": None, "tool_calls": [call()]})
    assert (len(cache), cache.size) == (0, 0)


def test_the_longest_unused_goes_first() -> None:
    cache = ReasoningCache(capacity=3)
    for id in "abc":
        remember(cache, {"tool_calls": [call(id)], "reasoning_content": id})
    cache.restore(asked(call("a")))
    remember(cache, {"tool_calls": [call("d")], "reasoning_content": "d"})
    kept = [id for id in "abcd" if cache.restore(asked(call(id))) != asked(call(id))]
    assert kept == ["a", "c", "d"]


def test_bytes_are_bounded() -> None:
    cache = ReasoningCache(limit=10_000)
    for n in range(100):
        remember(cache, {"tool_calls": [call(f"call_{n}"), call(f"again_{n}")], "reasoning_content": "思" * 1000})
        assert cache.size <= 10_000
    assert len(cache) == 4  # two messages of 3 kB with two calls each
    remember(cache, {"tool_calls": [call("huge")], "thinking_blocks": [{"thinking": "x" * 20_000}]})
    assert len(cache) == 4, "one that is larger than the whole is not kept, and drives nothing out"


def test_reasoning_larger_than_the_cache_is_not_gathered() -> None:
    cache = ReasoningCache(limit=1000)
    collector = cache.collector()
    for _ in range(100):
        collector.see([chunk({"reasoning_content": "x" * 100})])
    assert sum(map(len, collector._reasoning)) <= 1000


def test_an_id_used_again_replaces_the_first() -> None:
    cache = ReasoningCache()
    remember(cache, {"tool_calls": [call("call_0"), call("call_1")], "reasoning_content": "one"})
    remember(cache, {"tool_calls": [call("call_0")], "reasoning_content": "two"})
    assert cache.restore(asked(call("call_0"))) == asked(call("call_0"), reasoning_content="two")
    assert len(cache) == 1


def test_a_lone_surrogate_survives() -> None:
    cache = ReasoningCache()
    remember(cache, {"tool_calls": [call()], "reasoning_content": "\ud83d"})
    assert cache.restore(asked(call())) == asked(call(), reasoning_content="\ud83d")


def test_long_ids_and_names_are_counted() -> None:
    cache = ReasoningCache(limit=1_000_000)
    for n in range(40):
        remember(cache, {"tool_calls": [call(f"{n}" + "x" * 50_000, "y" * 50_000)], "reasoning_content": "z"})
    assert 900_000 < cache.size <= 1_000_000 and len(cache) == 9


def test_what_one_request_gets_back_is_bounded() -> None:
    cache = ReasoningCache(limit=400_000)
    remember(cache, {"tool_calls": [call()], "reasoning_content": "x" * 30_000})
    body = {"messages": [{"role": "assistant", "tool_calls": [call()]} for _ in range(10)]}
    restored = ["reasoning_content" in message for message in cache.restore(body)["messages"]]
    assert restored == [False] * 7 + [True] * 3, "a quarter of the limit, to the latest messages"
    own = {"messages": [{"role": "assistant", "tool_calls": [call()], "reasoning_content": "mine"} for _ in range(10)]}
    assert cache.restore(own) is own


@pytest.mark.parametrize("odd", [["x"], {"text": "x"}, 5, True], ids=str)
@pytest.mark.parametrize("name", ["reasoning_content", "thinking_blocks", "reasoning_items", "output_order"])
def test_a_field_of_an_odd_type_is_ignored(name: str, odd: Any) -> None:
    cache = ReasoningCache()
    kept = {"reasoning_items": [{"id": "rs_1"}]} if name == "reasoning_content" else {"reasoning_content": "mine"}
    remember(cache, {"tool_calls": [call()], **kept, name: odd})
    assert cache.restore(asked(call())) == asked(call(), **kept)


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
    cache = ReasoningCache()
    remember(cache, {"tool_calls": [odd, call()], "reasoning_content": "mine"})
    assert cache.restore(asked(call())) == asked(call(), reasoning_content="mine")


@pytest.mark.parametrize("odd", [5, "call", {"id": "a"}], ids=str)
def test_calls_that_are_no_list_are_ignored(odd: Any) -> None:
    cache = ReasoningCache()
    remember(cache, {"tool_calls": odd, "reasoning_content": "mine"})
    assert len(cache) == 0
