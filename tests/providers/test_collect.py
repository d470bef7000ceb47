"""A stream's chunks, added up."""

import copy
import time
from typing import Any

import pytest

from providers.chunks import chunk, collect, tool_call, usage_chunk
from providers.errors import UpstreamBadOutput

Json = dict[str, Any]


def test_texts_join_lists_grow_and_other_values_are_replaced() -> None:
    chunks = [
        chunk({"role": "assistant", "content": None}),
        chunk({"reasoning_content": "想"}),
        chunk({"reasoning_content": "想"}),
        chunk({"content": "你"}),
        chunk({"content": "好"}),
        chunk(tool_call(0, {"name": "f", "arguments": ""}, id="a", type="function")),
        chunk(tool_call(1, {"name": "g", "arguments": "{"}, id="b", type="function")),
        chunk(tool_call(1, {"arguments": "}"})),
        chunk(tool_call(0, {"arguments": "{}"})),
        chunk({"annotations": [{"a": 1}]}),
        chunk({"annotations": [{"a": 2}], "vendor": {"x": 1}}),
        chunk({"vendor": {"y": [2]}}),
        {"choices": [{"index": 0, "delta": {}, "logprobs": {"content": [{"token": "你"}]}, "finish_reason": None}]},
        {"choices": [{"index": 0, "delta": {}, "logprobs": {"content": [{"token": "好"}]}, "finish_reason": None}]},
        chunk({}, "tool_calls"),
        usage_chunk({"total_tokens": 3}),
    ]
    before = copy.deepcopy(chunks)
    whole = collect(chunks)
    assert whole == {
        "choices": [
            {
                "index": 0,
                "message": {
                    "role": "assistant",
                    "content": "你好",
                    "refusal": None,
                    "reasoning_content": "想想",
                    "annotations": [{"a": 1}, {"a": 2}],
                    "vendor": {"x": 1, "y": [2]},
                    "tool_calls": [
                        {"id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"}},
                        {"id": "b", "type": "function", "function": {"name": "g", "arguments": "{}"}},
                    ],
                },
                "logprobs": {"content": [{"token": "你"}, {"token": "好"}]},
                "finish_reason": "tool_calls",
            }
        ],
        "usage": {"total_tokens": 3},
    }
    assert chunks == before, "the chunks are the server's: they may be looked at again"


def test_a_long_answer_is_added_up_in_linear_time() -> None:
    chunks = [chunk({"content": "长 long "}) for _ in range(100_000)]
    began = time.perf_counter()
    whole = collect(chunks)
    assert time.perf_counter() - began < 5  # 30 s while each piece copied the whole
    assert whole["choices"][0]["message"]["content"] == "长 long " * 100_000


def test_what_is_nested_too_deeply_is_the_upstreams_failure() -> None:
    deep: Any = {}
    for _ in range(2000):
        deep = {"a": deep}
    pieces = [{"choices": [{"index": 0, "delta": {"zz": deep}}]}] * 2
    with pytest.raises(UpstreamBadOutput):
        collect(pieces)
