"""What an upstream sends without end: the answer ends, before it fills memory, and the work is linear in what was read."""

import json
import time
from collections.abc import Callable, Iterator
from itertools import count, islice
from typing import Any

import pytest
from test_anthropic_edge import CALL as CLAUDE
from test_anthropic_edge import TO, grown, opened, start
from translators import ON_RESPONSES, made_call, translator_of

from providers.chunks import collect
from providers.common.bounds import MAX_CALLS
from providers.common.think_tags import ThinkTags
from providers.contract import Call, Json, Translator, Upstream
from providers.errors import Failure, UpstreamBadOutput
from providers.gemini.stream import State
from providers.hosts import HOSTS
from providers.openai.normalize import ToolCallNumbering
from providers.sse import Event

BIG, LINE = "x" * 50_000, "x" * 1000
FIRST = {"choices": [{"index": 0, "delta": {"role": "assistant", "content": "Hi"}, "finish_reason": None}]}
GEMINI = made_call({}, True, State({}, frozenset(), None, lambda: "id"))


def openai(n: int | None = None) -> tuple[str, Call, Upstream]:
    return "openai", made_call({} if n is None else {"n": n}, True), Upstream("up", "m")


ANTHROPIC, RESPONSES = ("anthropic", CLAUDE, TO), ("openai", made_call({}, True, ON_RESPONSES), Upstream("up", "m"))
GOOGLE = ("gemini", GEMINI, Upstream("gemini", "m", host=HOSTS["gemini"]))


def piece(index: Any = 0, **delta: Any) -> Json:
    return {"choices": [{"index": index, "delta": delta, "finish_reason": None}]}


def function(n: int) -> Json:
    return {"index": n, "id": f"c{n}", "function": {"name": "f", "arguments": "{"}}


def candidate(index: int, **part: Any) -> Json:
    return {"candidates": [{"index": index, "content": {"parts": [part]}}]}


def response(kind: str, **fields: Any) -> Json:
    return {"type": f"response.{kind}", **fields}


# Protocol; the event that comes first; the nth after it. None may need more than 200,000 of them.
ENDLESS: dict[str, tuple[tuple[str, Call, Upstream], Json, Callable[[int], Json]]] = {
    "fields beside nothing": (openai(), FIRST, lambda n: {"choices": [], f"k{n}": "x"}),
    "large fields": (openai(), FIRST, lambda n: {"choices": [], f"k{n}": BIG}),
    "fields beside empty deltas": (openai(), FIRST, lambda n: piece() | {f"k{n}": 1}),
    "choices": (openai(), FIRST, lambda n: piece(n, content="x")),
    "choices, of two": (openai(2), FIRST, lambda n: piece(n, content="x")),
    "a choice below the first": (openai(), FIRST, lambda n: piece(-n, content="x")),
    "calls": (openai(), FIRST, lambda n: piece(tool_calls=[function(n)])),
    "calls, all of one index": (openai(), FIRST, lambda n: piece(tool_calls=[function(n) | {"index": 0}])),
    "calls of Claude": (ANTHROPIC, start(), lambda n: opened(n, type="tool_use", id=f"c{n}", name="f", input={})),
    "thinking of Claude": (
        ANTHROPIC,
        opened(0, type="thinking", thinking=""),
        lambda n: grown(0, type="thinking_delta", thinking=LINE),
    ),
    "large thinking of Claude": (ANTHROPIC, start(), lambda n: opened(n, type="thinking", thinking=BIG)),
    "redacted thinking of Claude": (ANTHROPIC, start(), lambda n: opened(n, type="redacted_thinking", data=BIG)),
    "blocks of Claude": (ANTHROPIC, start(), lambda n: opened(n, type="text", text="x")),
    "sources of Claude": (
        ANTHROPIC,
        opened(0, type="text", text=""),
        lambda n: grown(0, type="citations_delta", citation={"url": f"https://{LINE}"}),
    ),
    "calls of Gemini": (GOOGLE, candidate(0, text="x"), lambda n: candidate(0, functionCall={"name": "f"})),
    "candidates of Gemini": (GOOGLE, candidate(0, text="x"), lambda n: candidate(n, text="x")),
    "items": (
        RESPONSES,
        response("created"),
        lambda n: response("output_item.added", output_index=n, item={"id": f"i{n}", "type": "message"}),
    ),
    "calls on /v1/responses": (
        RESPONSES,
        response("created"),
        lambda n: response(
            "output_item.added", output_index=n, item={"type": "function_call", "call_id": f"c{n}", "name": "f"}
        ),
    ),
    "texts of items that were never opened": (
        RESPONSES,
        response("created"),
        lambda n: response("output_text.delta", output_index=n, content_index=0, delta="x"),
    ),
    "reasoning items": (
        RESPONSES,
        response("created"),
        lambda n: response("output_item.done", output_index=n, item={"type": "reasoning", "encrypted_content": BIG}),
    ),
}


def translator(of: tuple[str, Call, Upstream]) -> Translator:
    protocol, call, to = of
    return translator_of(protocol, call, to)


@pytest.mark.parametrize("name", ENDLESS)
def test_an_answer_ends_that_would_be_kept_without_end(name: str) -> None:
    of, first, nth = ENDLESS[name]
    stream = translator(of)
    stream.send(Event("", first))
    with pytest.raises(UpstreamBadOutput) as ended:
        for n in range(1, 200_000):
            stream.send(Event("", nth(n)))
    assert ended.value.code in ("upstream_bad_output", "upstream_too_large")
    assert ended.value.status == 502


def test_an_index_is_a_whole_number() -> None:
    for index in ("x", 0.5, [], {}, True):
        with pytest.raises(UpstreamBadOutput):
            translator(openai()).send(Event("", piece(index, content="x")))
    for index in (None, "0", 0.0):
        [chunk] = translator(openai()).send(Event("", piece(index, content="x")))
        assert chunk["choices"][0]["index"] == 0


def test_the_same_fields_over_and_over_are_no_growth() -> None:
    """Hosts that think in silence repeat their fingerprint for minutes."""
    stream = translator(openai())
    stream.send(Event("", FIRST))
    for _ in range(20_000):
        assert stream.send(Event("", piece() | {"system_fingerprint": "fp_1", "timings": {"n": "x" * 100}})) == []
    [chunk] = stream.send(Event("", piece(content="!")))
    assert (chunk["system_fingerprint"], chunk["timings"]) == ("fp_1", {"n": "x" * 100})


def test_blanks_before_an_answer_are_not_held_for_ever() -> None:
    tags = ThinkTags()
    given = [tags.feed(" ") for _ in range(5000)]
    assert "".join(content for _, content in given) == " " * 5000


def test_as_many_calls_as_an_answer_may_have() -> None:
    calls = ToolCallNumbering()
    assert len(calls.fragments(list(map(function, range(MAX_CALLS))))) == MAX_CALLS
    assert (
        len(calls.fragments([{"index": n, "function": {"arguments": '"a":1}'}} for n in range(MAX_CALLS)])) == MAX_CALLS
    )
    with pytest.raises(UpstreamBadOutput):
        calls.fragments([function(MAX_CALLS)])


def test_too_many_calls_in_one_event_are_refused_at_once() -> None:
    with pytest.raises(Failure):
        translator(openai()).send(Event("", piece(tool_calls=[function(n) for n in range(20_000)])))
    message = {"role": "assistant", "tool_calls": [function(n) for n in range(MAX_CALLS + 1)]}
    whole = made_call({}, False)
    with pytest.raises(UpstreamBadOutput):
        translator_of("openai", whole, Upstream("up", "m")).send(Event("", {"choices": [{"message": message}]}))


def growing(calls: int) -> Iterator[Json]:
    for n in range(calls):
        yield piece(tool_calls=[function(n)])
    yield piece(tool_calls=[{"index": n, "function": {"arguments": '"a":1}'}} for n in range(calls)])


def named(fragments: int) -> Iterator[Json]:
    """One call whose name comes with every fragment: whether its arguments are complete is asked each time."""
    texts = json.dumps({"x": ["{\\" * 20] * fragments})
    for at in islice(count(0, 40), fragments):
        yield {"index": 0, "function": {"name": "f", "arguments": texts[at : at + 40]}}


def cpu(work: Callable[[], object]) -> float:
    """Seconds of CPU, the least of five."""
    times = []
    for _ in range(5):
        begun = time.process_time()
        work()
        times.append(time.process_time() - begun)
    return min(times)


@pytest.mark.parametrize(
    "work",
    [
        lambda n: collect(growing(n)),
        lambda n: [c.fragments([each]) for c in [ToolCallNumbering()] for each in named(n)],
    ],
    ids=["collect", "one call"],
)
def test_eight_times_as_much_takes_about_eight_times_as_long(work: Callable[[int], object]) -> None:
    assert cpu(lambda: work(8_000)) < 24 * cpu(lambda: work(1_000))
