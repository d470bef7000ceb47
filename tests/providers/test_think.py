"""`<think>` tags: split wherever the stream is cut, and whole; never taken from the middle of an answer."""

import json
from typing import Any

import pytest
import replay
from cuts import CUTS
from hypothesis import given
from hypothesis import strategies as st
from translators import made_call, translator_of

from providers import openai
from providers.chunks import collect
from providers.common.think_tags import ThinkTags, split
from providers.contract import Json, Upstream
from providers.errors import UpstreamTruncated
from providers.hosts import HOSTS
from providers.sse import DONE, Event

VLLM = Upstream("mine", "m", host=HOSTS["vllm"])
OPENAI = Upstream("openai", "m", host=HOSTS["openai"])
STREAM, WHOLE = made_call({"n": 2}, True), made_call({}, False)

CASES = {
    "<think>Hm, 你好.</think>Yes.": ("Hm, 你好.", "Yes."),
    "\n <think>\nHm.\n</think>\n\nYes.\n": ("Hm.\n", "Yes.\n"),
    "<think>\n\n</think>\n\nYes.": ("", "Yes."),
    "<think></think>": ("", ""),
    "<think>never closed </thin": ("never closed </thin", ""),
    "<think>a < b </ c </think >d</think>e": ("a < b </ c </think >d", "e"),
    "<think>a</think>b<think>c</think>d": ("a", "b<think>c</think>d"),
    "No. <think>a</think>": ("", "No. <think>a</think>"),
    "<thi": ("", "<thi"),
    "<thinking>a": ("", "<thinking>a"),
    "<Think>a": ("", "<Think>a"),
    "a</think>b": ("", "a</think>b"),
    "  \n ": ("", "  \n "),
    "  indented": ("", "  indented"),
    "": ("", ""),
    "<<think>a</think>b": ("", "<<think>a</think>b"),
    "<think>a<</think>b": ("a<", "b"),
    "<think>a</</think>b": ("a</", "b"),
}


@pytest.mark.parametrize("text", CASES)
def test_a_whole_text(text: str) -> None:
    assert split(text) == CASES[text]


@pytest.mark.parametrize("text", CASES)
@pytest.mark.parametrize("size", [1, 2, 3, 7])
def test_a_text_in_pieces(text: str, size: int) -> None:
    tags = ThinkTags()
    found = [*(tags.feed(text[i : i + size]) for i in range(0, len(text), size)), tags.end()]
    assert ("".join(thought for thought, _ in found), "".join(content for _, content in found)) == CASES[text]


@given(st.lists(st.sampled_from(["<think>", "</think>", "<", "</", "think>", " ", "\n", "a", "汉", "<thi"])), st.data())
def test_where_a_text_is_cut_carries_no_meaning(words: list[str], data: st.DataObject) -> None:
    text = "".join(words)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=6)))
    tags = ThinkTags()
    edges = zip([0, *cuts], [*cuts, len(text)], strict=True)
    found = [*(tags.feed(text[i:j]) for i, j in edges), tags.end()]
    assert ("".join(thought for thought, _ in found), "".join(content for _, content in found)) == split(text)


def content(text: str, index: int = 0, finish: str | None = None) -> Json:
    return {"choices": [{"index": index, "delta": {"content": text}, "finish_reason": finish}]}


def said(*datas: Any, to: Upstream = VLLM) -> list[Json]:
    """The chunks of a stream's events, [DONE] at its end."""
    translator, chunks = translator_of("openai", STREAM, to), []
    for data in datas:
        chunks += translator.send(Event("", data))
    with pytest.raises(StopIteration) as end:
        translator.send(Event("", DONE))
    return [*chunks, *end.value.value]


def delta(delta: Json, finish: str | None = None, index: int = 0) -> Json:
    return {"choices": [{"index": index, "delta": delta, "logprobs": None, "finish_reason": finish}]}


def test_a_stream_of_chunks() -> None:
    chunks = said(
        content("<thi"),
        content("nk>a</"),
        content("think>\n"),
        content("b"),
        content("<think>"),
        content("", 0, "stop"),
    )
    plain = {"choices": [{"index": 0, "delta": {"content": "<think>"}, "finish_reason": None}]}
    assert chunks == [
        delta({"role": "assistant"}),
        delta({"reasoning_content": "a"}),
        delta({"content": "b"}),
        plain,
        delta({"content": ""}),
        delta({}, "stop"),
    ]


def test_what_was_held_back_comes_before_the_finish() -> None:
    assert said(content("<"), content("thin", 0, "stop"), content("<think>x</", 1, "stop")) == [
        delta({"role": "assistant"}),
        delta({"role": "assistant", "reasoning_content": "x"}, index=1),
        delta({"content": "<thin"}),
        delta({"reasoning_content": "</"}, index=1),
        delta({}, "stop"),
        delta({}, "stop", 1),
    ]


def test_hosts_that_separate_reasoning_keep_their_text() -> None:
    assert collect(said(content("<think>a</think>b", 0, "stop"), to=OPENAI))["choices"][0]["message"] == {
        "role": "assistant",
        "content": "<think>a</think>b",
        "refusal": None,
    }


@pytest.mark.parametrize("size", CUTS)
def test_the_whole_answer_is_the_sum_of_the_stream(size: int | None) -> None:
    text = "<think>\nTwo plus two: \u20284.</think>\n\n四 <think>"
    raw = "".join(f"data: {json.dumps(content(char), ensure_ascii=False)}\n\n" for char in text).encode()
    raw += b'data: {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}\n\ndata: [DONE]\n\n'
    chunks = list(replay.chunks(openai, raw, size, call=STREAM, to=VLLM))
    whole = translator_of("openai", WHOLE, VLLM)
    with pytest.raises(StopIteration) as answer:
        whole.send(Event("", {"choices": [{"message": {"content": text}, "finish_reason": "stop"}]}))
    message = {
        "role": "assistant",
        "content": "四 <think>",
        "reasoning_content": "Two plus two: \u20284.",
        "refusal": None,
    }
    assert collect(chunks)["choices"][0]["message"] == message
    assert answer.value.value[0]["choices"][0]["message"] == message


def test_a_stream_that_ends_while_thinking_is_truncated() -> None:
    translator = translator_of("openai", STREAM, VLLM)
    translator.send(Event("", content("<think>a")))
    with pytest.raises(UpstreamTruncated):
        translator.send(None)
