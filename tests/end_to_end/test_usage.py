"""What upstreams say they counted, made canonical: whatever it is, clients read integers that add up."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import embedded
import pytest
from process import Process, config
from scripted import Upstream as Scripted
from scripted import answer, sse, stream
from translators import ON_RESPONSES, made_call, translator_of
from usage_helpers import at_once, rows, settings, usage

from providers import PROVIDERS
from providers.common.usage import MOST, count, usage_of
from providers.contract import Call, Json, Upstream
from providers.hosts import HOSTS
from providers.sse import DONE, Event

ASK: Json = {"model": "m", "messages": [{"role": "user", "content": "x"}], "stream": True}
INF, NAN = float("inf"), float("nan")


@pytest.mark.parametrize(
    ("value", "tokens"),
    [(0, 0), (7, 7), (7.0, 7), (MOST, MOST), (MOST + 1, MOST), (10**30, MOST), (1e300, MOST)]
    + [
        (each, 0)
        for each in (-1, -(10**18), True, False, None, "-9", "9.0", "٩", "9" * 11, "", 7.5, INF, -INF, NAN, [], {})
    ]
    + [("9", 9), ("0012", 12), ("9999999999", MOST)],
)
def test_a_number_of_tokens_is_an_integer_within_bounds(value: Any, tokens: int) -> None:
    assert count(value) == tokens
    assert type(count(value)) is int


CANONICAL: list[tuple[Any, Json]] = [
    (None, {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}),
    ("9", {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}),
    (
        {"prompt_tokens": 5, "completion_tokens": True, "total_tokens": 99},
        {"prompt_tokens": 5, "completion_tokens": 94, "total_tokens": 99},
    ),
    (
        {"prompt_tokens": 10**18, "completion_tokens": NAN, "prompt_tokens_details": {"cached_tokens": -1}},
        {"prompt_tokens": MOST, "completion_tokens": 0, "total_tokens": MOST}
        | {"prompt_tokens_details": {"cached_tokens": 0}},
    ),
    (
        {"prompt_tokens": 5, "completion_tokens": 3}
        | {"prompt_tokens_details": {"cached_tokens": 10**9, "cache_write_tokens": 4, "audio_tokens": 9, "new": "x"}}
        | {
            "completion_tokens_details": {
                "reasoning_tokens": 4,
                "audio_tokens": 1.0,
                "rejected_prediction_tokens": None,
            },
            "total_tokens": 8,
        },
        {"prompt_tokens": 5, "completion_tokens": 3, "total_tokens": 8}
        | {"prompt_tokens_details": {"cached_tokens": 5, "cache_write_tokens": 0, "audio_tokens": 5, "new": "x"}}
        | {"completion_tokens_details": {"reasoning_tokens": 3, "audio_tokens": 1, "rejected_prediction_tokens": 0}},
    ),
    (  # xAI: reasoning is neither in the one nor in the other, but in the sum
        {"prompt_tokens": 32, "completion_tokens": 9, "total_tokens": 135}
        | {"completion_tokens_details": {"reasoning_tokens": 94}},
        {"prompt_tokens": 32, "completion_tokens": 103, "total_tokens": 135}
        | {"completion_tokens_details": {"reasoning_tokens": 94}},
    ),
    (  # Mistral: so with sound
        {
            "prompt_tokens": 9,
            "completion_tokens": 248,
            "total_tokens": 632,
            "prompt_tokens_details": {"audio_tokens": 375},
        },
        {"prompt_tokens": 384, "completion_tokens": 248, "total_tokens": 632}
        | {"prompt_tokens_details": {"audio_tokens": 375}},
    ),
    (  # OpenAI: it is in there
        {"prompt_tokens": 32, "completion_tokens": 103, "total_tokens": 135}
        | {"completion_tokens_details": {"reasoning_tokens": 94}},
        {"prompt_tokens": 32, "completion_tokens": 103, "total_tokens": 135}
        | {"completion_tokens_details": {"reasoning_tokens": 94}},
    ),
    (  # DeepSeek
        {"prompt_tokens": 5, "completion_tokens": 1, "total_tokens": 6}
        | {"prompt_cache_hit_tokens": 10**9, "prompt_tokens_details": None},
        {"prompt_tokens": 5, "completion_tokens": 1, "total_tokens": 6, "prompt_cache_hit_tokens": 10**9}
        | {"prompt_tokens_details": {"cached_tokens": 5}},
    ),
    (  # what is not ours stays, without the numbers that JSON does not know
        {
            "prompt_tokens": 1,
            "completion_tokens": 1,
            "cost": 0.5,
            "queue_time": NAN,
            "prompt_time": INF,
            "ticks": 10**30,
        }
        | {"deep": {"a": [1, NAN, {"b": -INF, "c": None}], "d": True}, "citation_tokens": "9"},
        {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2, "cost": 0.5}
        | {"deep": {"a": [1, {"c": None}], "d": True}, "citation_tokens": 9},
    ),
    (
        {"prompt_tokens": 1, "completion_tokens": 1, "prompt_tokens_details": "x", "completion_tokens_details": [7]},
        {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
        | {"prompt_tokens_details": {}, "completion_tokens_details": {}},
    ),
]


@pytest.mark.parametrize(("told", "canonical"), CANONICAL)
def test_whatever_an_upstream_tells_becomes_a_usage_object(told: Any, canonical: Json) -> None:
    assert usage_of(told) == canonical


def to(host: str) -> Upstream:
    return Upstream(host, "m", "https://x/v1", "k", host, HOSTS[host])


def told_by(host: str, events: list[Any], call: Call | None = None) -> Any:
    """The usage that a provider makes of a stream of these events."""
    target, protocol = to(host), PROVIDERS[HOSTS[host].protocol]
    translator = translator_of(protocol, call or protocol.build_request(ASK, target), target)
    chunks: list[Json] = []
    try:
        for event in events:
            chunks += translator.send(Event("", event))
        chunks += translator.send(None)
    except StopIteration as end:
        chunks += end.value
    return next((chunk["usage"] for chunk in chunks if "usage" in chunk), None)


BAD: list[Any] = [True, -5, 10**30, NAN, INF, "9", [], {}, None, 1e300]


def openai(bad: Any) -> list[Any]:
    finish = {"choices": [{"index": 0, "delta": {"content": "a"}, "finish_reason": "stop"}]}
    details = {"prompt_tokens_details": {"cached_tokens": bad}, "completion_tokens_details": {"reasoning_tokens": bad}}
    return [finish, {"choices": [], "usage": {"prompt_tokens": bad, "completion_tokens": bad, **details}}, DONE]


def anthropic(bad: Any) -> list[Any]:
    told = {"input_tokens": bad, "output_tokens": bad, "cache_read_input_tokens": bad, "iterations": bad}
    return [
        {"type": "message_start", "message": {"usage": told}},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": "a"}},
        {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens_details": bad}},
        {"type": "message_stop"},
    ]


def gemini(bad: Any) -> list[Any]:
    candidate = {"content": {"parts": [{"text": "a"}]}, "finishReason": "STOP"}
    names = (
        "promptTokenCount",
        "candidatesTokenCount",
        "thoughtsTokenCount",
        "cachedContentTokenCount",
        "totalTokenCount",
    )
    return [{"candidates": [candidate], "usageMetadata": dict.fromkeys(names, bad)}]


def responses(bad: Any) -> list[Any]:
    details = {"input_tokens_details": {"cached_tokens": bad}, "output_tokens_details": bad}
    message = {"type": "message", "content": [{"type": "output_text", "text": "a"}]}
    told = {"input_tokens": bad, "output_tokens": bad, **details}
    return [
        {"type": "response.completed", "response": {"status": "completed", "output": [message], "usage": told}},
    ]


def numbers(value: Any) -> Iterator[Any]:
    for each in value.values():
        if isinstance(each, dict):
            yield from numbers(each)
        else:
            yield each


@pytest.mark.parametrize("bad", BAD, ids=repr)
@pytest.mark.parametrize("protocol", [openai, anthropic, gemini, responses])
def test_no_protocol_passes_on_what_is_no_number_of_tokens(protocol: Any, bad: Any) -> None:
    call = None
    if protocol is responses:
        call = made_call({}, True, ON_RESPONSES)
    host = "openai" if protocol is responses else protocol.__name__
    told = told_by(host, protocol(bad), call)
    assert told["total_tokens"] == told["prompt_tokens"] + told["completion_tokens"]
    assert all(type(number) is int and 0 <= number <= 2 * MOST for number in numbers(told))
    assert told["prompt_tokens_details"]["cached_tokens"] <= told["prompt_tokens"]
    assert told["completion_tokens_details"]["reasoning_tokens"] <= told["completion_tokens"]


@pytest.mark.parametrize("bad", BAD, ids=repr)
def test_embeddings_too(bad: Any) -> None:
    body: Json = {"model": "m", "input": "a"}
    tokens = 9 if bad == "9" else MOST if bad in (10**30, 1e300) else 0
    openai_like = {"data": [{"index": 0, "embedding": [0.5]}], "usage": {"prompt_tokens": bad}}
    google = {"embedding": {"values": [1.0]}, "usageMetadata": {"promptTokenCount": bad}}
    for host, said in (("openai", openai_like), ("gemini", google)):
        assert embedded.answer(body, to(host), [said])["usage"] == {"prompt_tokens": tokens, "total_tokens": tokens}


# What a host tells → prompt, completion, cached, written, reasoning
IN_OTHER_WORDS: dict[str, tuple[Json, tuple[int, int, int, int, int]]] = {
    "no completion": ({"prompt_tokens": 5, "total_tokens": 7}, (5, 2, 0, 0, 0)),
    "no prompt": ({"completion_tokens": 2, "total_tokens": 7}, (5, 2, 0, 0, 0)),
    "null and zero": ({"prompt_tokens": None, "completion_tokens": 2, "total_tokens": 7}, (5, 2, 0, 0, 0)),
    "no completion, the prompt's total": ({"prompt_tokens": 5, "total_tokens": 5}, (5, 0, 0, 0, 0)),
    "texts": ({"prompt_tokens": "5", "completion_tokens": "2", "total_tokens": "7"}, (5, 2, 0, 0, 0)),
    "Claude": (
        {"input_tokens": 5, "output_tokens": 2, "cache_read_input_tokens": 90, "cache_creation_input_tokens": 4},
        (99, 2, 90, 4, 0),
    ),
    "Claude, with the naive total": (
        {"input_tokens": 5, "output_tokens": 2, "total_tokens": 7, "cache_read_input_tokens": 90},
        (95, 2, 90, 0, 0),
    ),
    "Claude, with its own total": (
        {"input_tokens": 100, "output_tokens": 2, "total_tokens": 192, "cache_read_input_tokens": 90},
        (190, 2, 90, 0, 0),
    ),
    "Claude under OpenAI's names": (
        {"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7, "cache_read_input_tokens": 90},
        (95, 2, 90, 0, 0),
    ),
    "the same, as a part": (
        {"prompt_tokens": 99, "completion_tokens": 2, "total_tokens": 101}
        | {"cache_read_input_tokens": 90, "cache_creation_input_tokens": 4},
        (99, 2, 90, 4, 0),
    ),
    "Claude thinks": (
        {"input_tokens": 5, "output_tokens": 9, "output_tokens_details": {"thinking_tokens": 6}},
        (5, 9, 0, 0, 6),
    ),
    "Bedrock": (
        {"inputTokens": 5, "outputTokens": 2, "totalTokens": 97, "cacheReadInputTokens": 90},
        (95, 2, 90, 0, 0),
    ),
    "DashScope writes": (
        {"prompt_tokens": 9, "completion_tokens": 2, "total_tokens": 11}
        | {"prompt_tokens_details": {"cached_tokens": 3, "cache_creation_input_tokens": 4, "cache_type": "ephemeral"}},
        (9, 2, 3, 4, 0),
    ),
    "DeepSeek": (
        {"completion_tokens": 2, "prompt_cache_hit_tokens": 4, "prompt_cache_miss_tokens": 1},
        (5, 2, 4, 0, 0),
    ),
    "Gemini": (
        {"promptTokenCount": 5, "candidatesTokenCount": 2, "thoughtsTokenCount": 7, "totalTokenCount": 14}
        | {"cachedContentTokenCount": 3},
        (5, 9, 3, 0, 7),
    ),
    "Gemini, without a total": (
        {"promptTokenCount": 5, "candidatesTokenCount": 2, "thoughtsTokenCount": 1, "toolUsePromptTokenCount": 3},
        (8, 3, 0, 0, 1),
    ),
    "Gemini, thoughts inside": (
        {"promptTokenCount": 5, "candidatesTokenCount": 9, "thoughtsTokenCount": 7, "totalTokenCount": 14},
        (5, 9, 0, 0, 7),
    ),
    "Google for OpenAI's clients: thoughts in the total only": (
        {"prompt_tokens": 66, "completion_tokens": 6, "total_tokens": 100},
        (66, 34, 0, 0, 0),
    ),
    "xAI without a total": (
        {"prompt_tokens": 32, "completion_tokens": 9, "completion_tokens_details": {"reasoning_tokens": 94}},
        (32, 103, 0, 0, 94),
    ),
    "OpenRouter: reasoning is an estimate": (
        {"prompt_tokens": 15, "completion_tokens": 220, "total_tokens": 235}
        | {"completion_tokens_details": {"reasoning_tokens": 238}},
        (15, 220, 0, 0, 220),
    ),
    "xAI: more cached than there was": (
        {
            "prompt_tokens": 7,
            "completion_tokens": 1,
            "total_tokens": 8,
            "prompt_tokens_details": {"cached_tokens": 163},
        },
        (7, 1, 7, 0, 0),
    ),
    "a total that is too small": ({"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 3}, (5, 2, 0, 0, 0)),
    "only a total": ({"total_tokens": 7}, (0, 0, 0, 0, 0)),
}


def numbers_of(told: Json) -> tuple[int, int, int, int, int]:
    before, after = told.get("prompt_tokens_details", {}), told.get("completion_tokens_details", {})
    assert told["total_tokens"] == told["prompt_tokens"] + told["completion_tokens"]
    cached, written = before.get("cached_tokens", 0), before.get("cache_write_tokens", 0)
    return told["prompt_tokens"], told["completion_tokens"], cached, written, after.get("reasoning_tokens", 0)


@pytest.mark.parametrize("name", IN_OTHER_WORDS)
def test_usage_in_other_words(name: str) -> None:
    told, expected = IN_OTHER_WORDS[name]
    assert numbers_of(usage_of(told)) == expected
    bridged = made_call({}, True, ON_RESPONSES)
    message = {"type": "message", "content": [{"type": "output_text", "text": "a"}]}
    done = {"status": "completed", "output": [message], "usage": told}
    events: dict[str, tuple[str, list[Any], Call | None]] = {
        "openai": ("vllm", [SAID, {"choices": [], "usage": told}, DONE], None),
        "responses": ("openai", [{"type": "response.completed", "response": done}], bridged),
        "gemini": ("gemini", [{"candidates": [CANDIDATE], "usageMetadata": told}], None),
    }
    for host, each, call in events.values():
        assert numbers_of(told_by(host, each, call)) == expected


SAID: Json = {"choices": [{"index": 0, "delta": {"content": "a"}, "finish_reason": "stop"}]}
CANDIDATE: Json = {"content": {"parts": [{"text": "a"}]}, "finishReason": "STOP"}
REAL: Json = {
    "prompt_tokens": 5,
    "completion_tokens": 2,
    "total_tokens": 7,
    "prompt_tokens_details": {"cached_tokens": 4},
}
ZERO: Json = {
    "prompt_tokens": 0,
    "completion_tokens": 0,
    "total_tokens": 0,
    "prompt_tokens_details": {"cached_tokens": 0},
}
# The usage objects of one stream → the last word
SERIES: list[tuple[list[Any], tuple[int, int, int, int, int]]] = [
    ([REAL, ZERO], (5, 2, 4, 0, 0)),
    ([ZERO, REAL, ZERO], (5, 2, 4, 0, 0)),
    ([REAL, None, {}, "x", [7]], (5, 2, 4, 0, 0)),
    ([REAL, dict.fromkeys(REAL)], (5, 2, 4, 0, 0)),
    ([{"prompt_tokens": 5, "completion_tokens": n, "total_tokens": 5 + n} for n in range(4)], (5, 3, 0, 0, 0)),
    ([REAL, {"completion_tokens": 9}], (5, 9, 4, 0, 0)),
    ([REAL, {"prompt_tokens": 0, "completion_tokens": 9, "total_tokens": 9}], (5, 9, 4, 0, 0)),
    ([{"prompt_tokens": 5, "total_tokens": 5}, {"completion_tokens": 9}], (5, 9, 0, 0, 0)),
    ([{"prompt_tokens": 5}, {"completion_tokens": 9}, {"total_tokens": 14}], (5, 9, 0, 0, 0)),
    ([{"input_tokens": 5, "cache_read_input_tokens": 90, "output_tokens": 1}, {"output_tokens": 9}], (95, 9, 90, 0, 0)),
    ([{"promptTokenCount": 5, "totalTokenCount": 5}, {"candidatesTokenCount": 2, "thoughtsTokenCount": 3}], (5, 5, 0, 0, 3)),
    ([{"promptTokenCount": 5}, {"candidatesTokenCount": 2, "totalTokenCount": 7}, {"thoughtsTokenCount": 0}],
     (5, 2, 0, 0, 0)),
    ([{"promptTokenCount": 5, "candidatesTokenCount": 9, "totalTokenCount": 14},  # Gemini corrects itself
      {"promptTokenCount": 5, "thoughtsTokenCount": 3, "totalTokenCount": 8}], (5, 3, 0, 0, 3)),
]  # fmt: skip


@pytest.mark.parametrize(("series", "expected"), SERIES)
@pytest.mark.parametrize("host", ["openai", "gemini"])
def test_a_later_usage_does_not_erase_what_was_counted(
    host: str, series: list[Any], expected: tuple[int, int, int, int, int]
) -> None:
    series = json.loads(json.dumps(series))
    if host == "openai":
        events: list[Any] = [SAID, *({"choices": [], "usage": told} for told in series), DONE]
    else:
        events = [{"candidates": [CANDIDATE]}, *({"usageMetadata": told} for told in series)]
    assert numbers_of(told_by(host, json.loads(json.dumps(events)))) == expected


CLAUDES: list[tuple[Json, Json, tuple[int, int, int, int, int]]] = [
    ({"input_tokens": 5, "output_tokens": 1}, {"output_tokens": 9}, (5, 9, 0, 0, 0)),
    ({"input_tokens": 5, "cache_read_input_tokens": 3, "output_tokens": 1},
     {"input_tokens": 0, "cache_read_input_tokens": 0, "output_tokens": 9}, (8, 9, 3, 0, 0)),
    ({"input_tokens": 0, "output_tokens": 0}, {"input_tokens": 5, "output_tokens": 9}, (5, 9, 0, 0, 0)),
    ({"input_tokens": "5", "output_tokens": 1}, {"input_tokens": "x", "output_tokens": "9"}, (5, 9, 0, 0, 0)),
    ({"input_tokens": 5, "output_tokens": 4}, {"input_tokens": None, "output_tokens": 0}, (5, 4, 0, 0, 0)),
    ({"prompt_tokens": 5, "completion_tokens": 1}, {"completion_tokens": 9}, (5, 9, 0, 0, 0)),
]  # fmt: skip


@pytest.mark.parametrize(("first", "last", "expected"), CLAUDES)
def test_claude_counts_up(first: Json, last: Json, expected: tuple[int, int, int, int, int]) -> None:
    events = [
        {"type": "message_start", "message": {"usage": first}},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": "a"}},
        {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": last},
        {"type": "message_stop"},
    ]
    assert numbers_of(told_by("anthropic", events)) == expected


def places(told: Json, field: str) -> dict[str, Json]:
    """Where hosts put the usage of an answer; field: delta, or message of a whole one."""
    said: Json = {"content": "a"}
    choice: Json = {"index": 0, field: said, "finish_reason": "stop"}
    return {
        "choice": {"choices": [choice | {"usage": told}]},
        "message or delta": {"choices": [choice | {field: said | {"usage": told}}]},
        "message": {"choices": [choice], "message": {"usage": told}},
        "x_groq": {"choices": [choice], "x_groq": {"usage": told}},
        "metadata": {"choices": [choice], "metadata": {"usage": told, "kept": 1}},
        "usageMetadata": {"choices": [choice], "usageMetadata": told},
        "beside zeros": {"choices": [choice | {"usage": told}], "usage": ZERO},
    }


@pytest.mark.parametrize("host", [name for name, host in HOSTS.items() if host.protocol == "openai"])
@pytest.mark.parametrize("place", places({}, ""))
def test_wherever_a_host_puts_it(host: str, place: str) -> None:
    event = json.loads(json.dumps(places(REAL, "delta")[place]))
    target = to(host)
    assert numbers_of(told_by(host, [event, DONE], made_call({}, True))) == (5, 2, 4, 0, 0)
    body = json.loads(json.dumps(places(REAL, "message")[place]))
    with pytest.raises(StopIteration) as end:
        translator_of("openai", made_call({}, False), target).send(Event("", body))
    [whole] = end.value.value
    assert numbers_of(whole["usage"]) == (5, 2, 4, 0, 0)
    assert json.dumps(whole).count("prompt_tokens") == 2  # and its details: it stands nowhere else
    assert "metadata" not in place or whole.get("metadata") in (None, {"kept": "1"})


@pytest.mark.parametrize(
    ("told", "tokens"),
    [({"total_tokens": 3}, 3), ({"input_tokens": 3}, 3), ({"prompt_tokens": "3"}, 3),
     ({"prompt_tokens": 3, "total_tokens": 9}, 3)],
)  # fmt: skip
def test_usage_of_embeddings_in_other_words(told: Json, tokens: int) -> None:
    said = {"data": [{"index": 0, "embedding": [0.5]}], "usage": told}
    made = embedded.answer({"model": "m", "input": "a"}, to("openai"), [said])
    assert made["usage"] == {"prompt_tokens": tokens, "total_tokens": tokens}


# The real process


def said(text: str, told: str) -> bytes:
    """A whole answer with this usage, which may hold what JSON does not know."""
    message = json.dumps({"role": "assistant", "content": text})
    return f'{{"choices": [{{"index": 0, "message": {message}, "finish_reason": "stop"}}], "usage": {told}}}'.encode()


def test_an_answer_that_counts_the_impossible_is_booked_by_an_estimate(upstream: Scripted, tmp_path: Path) -> None:
    lie = '{"prompt_tokens": 1e18, "completion_tokens": 1000000000000000000000000000000, "total_tokens": true}'
    upstream.script("priced-lie", answer(said("word " * 10, lie)))
    chunk = {"choices": [{"index": 0, "delta": {"content": "one "}, "finish_reason": None}]}
    end = {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}
    upstream.script(
        "priced-stream", stream(sse(*[chunk] * 5, end, f'{{"choices": [], "usage": {lie}}}'))
    )  # fmt: skip
    with Process(settings(upstream, tmp_path, ["budget_usd: 100000, budget_period: total"])) as server:
        [(status, _, body)] = at_once(1, [server], "up/priced-lie", max_tokens=99)
        assert (status, body["usage"]) == (
            200,
            {"prompt_tokens": MOST, "completion_tokens": MOST, "total_tokens": 2 * MOST},
        )
        [(status, _, _)] = at_once(1, [server], "up/priced-stream", max_tokens=99, stream=True)
        assert status == 200
        spent = usage(server)["limits"]["budget"]["spent_usd"]
        booked = [(row["prompt"], row["completion"], row["estimated"]) for row in rows(tmp_path)]
        assert [row[1:] for row in booked] == [(13, 1), (5, 1)]  # 50 bytes / 4, five pieces
        assert all(20 <= row[0] <= 35 for row in booked)
        assert spent == pytest.approx(sum(row["cost"] for row in rows(tmp_path)) / 10**6)
        assert spent < 0.2
        warned = [line for line in server.out.splitlines() if "cannot have used so many" in line]
        assert len(warned) == 1  # a minute
        assert "provider up counts 2147483647 and 2147483647 tokens" in warned[0]


def test_reasoning_that_a_host_counts_apart_is_paid_as_output(upstream: Scripted, tmp_path: Path) -> None:
    told = {"prompt_tokens": 32, "completion_tokens": 9, "total_tokens": 135}
    told |= {"completion_tokens_details": {"reasoning_tokens": 94}}
    upstream.script("priced-grok", answer(said("ok", json.dumps(told))))
    with Process(settings(upstream, tmp_path, ["rpm: 9"])) as server:
        [(status, _, body)] = at_once(1, [server], "up/priced-grok")
        assert (status, body["usage"]) == (200, told | {"completion_tokens": 103})
        usage(server)
        [row] = rows(tmp_path)
        booked = {name: row[name] for name in ("prompt", "completion", "reasoning", "cost", "estimated")}
        cost = 32 * 1000 + 103 * 2000
        assert booked == {"prompt": 32, "completion": 103, "reasoning": 94, "cost": cost, "estimated": 0}


@pytest.mark.parametrize("streamed", [False, True])
def test_a_token_that_cannot_be_has_the_logprob_that_openai_gives_it(streamed: bool, upstream: Scripted) -> None:
    rival = '{"token": "b", "logprob": -Infinity, "bytes": null}'
    first = f'{{"token": "a", "logprob": NaN, "bytes": null, "top_logprobs": [{rival}]}}'
    field, text = ("delta", '{"content": "a"}') if streamed else ("message", '{"role": "assistant", "content": "a"}')
    odds = f'"logprobs": {{"content": [{first}], "refusal": null}}'
    said = f'{{"choices": [{{"index": 0, "{field}": {text}, {odds}, "finish_reason": "stop"}}]}}'
    upstream.script("odds", stream(sse(said)) if streamed else answer(said))
    with Process(config(upstream)) as server:
        [(status, _, body)] = at_once(1, [server], "up/odds", stream=streamed)
    if streamed:
        body = json.loads(next(line for line in body.split("\n") if '"token"' in line).removeprefix("data: "))
    [odds] = body["choices"][0]["logprobs"]["content"]
    assert (status, odds["logprob"], odds["top_logprobs"][0]["logprob"]) == (200, -9999.0, -9999.0)
