"""What upstreams say they counted, made canonical: whatever it is, clients read integers that add up."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import embedded
import pytest
from books import at_once, rows, settings, usage
from process import Process, config
from scripted import Upstream as Scripted
from scripted import answer, sse, stream
from translators import ON_RESPONSES, made_call, translator_of

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
    + [(each, 0) for each in (-1, -(10**18), True, False, None, "9", 7.5, INF, -INF, NAN, [], {})],
)
def test_a_number_of_tokens_is_an_integer_within_bounds(value: Any, tokens: int) -> None:
    assert count(value) == tokens
    assert type(count(value)) is int


CANONICAL: list[tuple[Any, Json]] = [
    (None, {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}),
    ("9", {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}),
    (
        {"prompt_tokens": 5, "completion_tokens": True, "total_tokens": 99},
        {"prompt_tokens": 5, "completion_tokens": 0, "total_tokens": 5},
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
            }
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
        {"prompt_tokens": 5, "completion_tokens": 1, "prompt_cache_hit_tokens": 10**9, "prompt_tokens_details": None},
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
        | {"deep": {"a": [1, {"c": None}], "d": True}, "citation_tokens": 0},
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
    tokens = MOST if bad in (10**30, 1e300) else 0
    openai_like = {"data": [{"index": 0, "embedding": [0.5]}], "usage": {"prompt_tokens": bad}}
    google = {"embedding": {"values": [1.0]}, "usageMetadata": {"promptTokenCount": bad}}
    for host, said in (("openai", openai_like), ("gemini", google)):
        assert embedded.answer(body, to(host), [said])["usage"] == {"prompt_tokens": tokens, "total_tokens": tokens}


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
