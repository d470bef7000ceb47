"""When an answer is over: its end was told, and the host says no more, or goes on without closing its stream."""

import json
from concurrent.futures import ThreadPoolExecutor
from copy import deepcopy
from typing import Any

import pytest
from http_client import Got, ask, delta
from process import Process
from scripted import CLOSE, FOREVER, Script, Upstream, chunked, sse, stream
from test_finish import claude_events, finish, gemini_events, openai_events
from translators import made_call, translator_of

from providers import PROVIDERS
from providers.contract import Ended, Json
from providers.contract import Upstream as To
from providers.errors import UpstreamTruncated
from providers.hosts import HOSTS
from providers.openai.responses import stream as responses_stream
from providers.sse import Cut, Event

USAGE = {"prompt_tokens": 7, "completion_tokens": 2, "total_tokens": 9}
USAGE_CHUNK = {"choices": [], "usage": USAGE}
CLAUDE_USAGE = {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 2}}
THOUGHT = {"text": "hm", "thought": True}


def candidate(*parts: Json, **more: Any) -> Json:
    return {"candidates": [{"content": {"parts": list(parts)}, **more}]}


def response_events() -> list[Json]:
    item = {"type": "message", "id": "m", "role": "assistant", "content": [{"type": "output_text", "text": "hel"}]}
    return [
        {"type": "response.output_item.added", "output_index": 0, "item": {**item, "content": []}},
        {"type": "response.output_text.delta", "output_index": 0, "content_index": 0, "delta": "hel"},
        {"type": "response.output_item.done", "output_index": 0, "item": item},
    ]


# Protocol, request fields, events, and after which of them the answer is complete.
TOLD: dict[str, tuple[str, Json, list[Any], list[bool]]] = {
    "openai": ("openai", {}, openai_events("stop"), [False, False, True]),
    "openai, finish beside the last text": ("openai", {}, [delta("a"), delta("b", "stop")], [False, True]),
    "openai, usage and words after it": (
        "openai", {}, [delta("a"), delta(finish="stop"), USAGE_CHUNK, "ping"], [False, True, True, True],
    ),
    "openai, text after it": (
        "openai", {}, [delta("a"), delta(finish="stop"), delta("b"), delta(finish="stop")], [False, True, False, True],
    ),
    "openai, one of two choices": ("openai", {"n": 2}, openai_events("stop"), [False, False, False]),
    "claude": ("anthropic", {}, claude_events("end_turn")[:-1], [False, False, False, True]),
    "claude, a ping after it": (
        "anthropic", {}, [*claude_events("end_turn")[:-1], {"type": "ping"}], [False, False, False, True, True],
    ),
    "claude, no reason": ("anthropic", {}, claude_events(None)[:-1], [False, False, False, False]),
    "claude, another block": (
        "anthropic", {},
        [*claude_events("end_turn")[:-1], {"type": "content_block_start", "index": 1, "content_block": {"type": "text"}}],
        [False, False, False, True, False],
    ),
    "gemini": ("gemini", {}, gemini_events("STOP"), [False, True]),
    "gemini, in one event": ("gemini", {}, [candidate({"text": "a"}, finishReason="STOP")], [True]),
    "gemini, repeated": (
        "gemini", {}, [candidate({"text": "a"}, finishReason="STOP"), candidate({"text": "b"}, finishReason="STOP")],
        [True, False],
    ),
    "gemini, while thinking": ("gemini", {}, [candidate(THOUGHT, finishReason="STOP")], [False]),
    "gemini, only thoughts": ("gemini", {}, [candidate(THOUGHT, finishReason="MAX_TOKENS")], [True]),
    "gemini, blocked": ("gemini", {}, [{"promptFeedback": {"blockReason": "SAFETY"}}], [True]),
    "gemini, one of two candidates": (
        "gemini", {"generationConfig": {"candidateCount": 2}}, gemini_events("STOP"), [False, False],
    ),
}  # fmt: skip


def translator(protocol: str, **body: Any) -> Any:
    provider = PROVIDERS[protocol]
    to = To(protocol, "m", host=HOSTS[protocol])
    call = provider.build_request({"model": "m", "stream": True, "messages": [{"role": "user", "content": "x"}]}, to)
    return translator_of(provider, call._replace(body={**call.body, **body}), to)


@pytest.mark.parametrize("name", TOLD)
def test_after_which_event_an_answer_is_complete(name: str) -> None:
    protocol, body, events, expected = TOLD[name]
    translating = translator(protocol, **body)
    assert [type(translating.send(Event("", event))) is Ended for event in deepcopy(events)] == expected


@pytest.mark.parametrize("cut", [None, False, True], ids=["closed", "reset", "reset inside an event"])
@pytest.mark.parametrize("name", [name for name in TOLD if TOLD[name][3][-1]])
def test_a_complete_answer_ends_however_its_connection_does(name: str, cut: bool | None) -> None:
    protocol, body, events, _ = TOLD[name]
    translating = translator(protocol, **body)
    for event in deepcopy(events):
        translating.send(Event("", event))
    if cut is not None and not (cut and protocol == "gemini"):
        translating.send(Event("", Cut(cut)))
    with pytest.raises(StopIteration) as end:
        translating.send(None)
    assert [choice["finish_reason"] for chunk in end.value.value for choice in chunk["choices"]][-1] is not None


def test_all_items_of_a_response_are_no_end() -> None:
    translating = responses_stream.translate(made_call({}, True), True)
    assert [type(translating.send(Event("", event))) is Ended for event in response_events()] == [False] * 3
    with pytest.raises(UpstreamTruncated):
        translating.send(None)


SAID = {
    "up": openai_events("stop"),
    "claude": claude_events("end_turn")[:-1],
    "gemini": gemini_events("STOP"),
}


@pytest.fixture(scope="module")
def server(every_protocol: Process) -> Process:
    """One with the default timeouts: 60 seconds between bytes."""
    return every_protocol


def script(provider: str, ends: list[Any]) -> Script:
    """An answer whose end is told."""
    return [*stream(sse(*SAID[provider], done=False), end=False), *ends]


COMMENTS = [step for _ in range(100) for step in (0.3, *chunked(b": keep-alive\n\n", end=False))]
ENDS: dict[str, list[Any]] = {"silent": [FOREVER], "comments": [*COMMENTS, FOREVER], "closed": [0.05, CLOSE]}


def test_a_host_that_does_not_close_holds_no_answer_back(server: Process, upstream: Upstream) -> None:
    """All at once: each takes the seconds that usage and the end of a stream have."""
    cases = [(provider, end, streamed) for provider in SAID for end in ENDS for streamed in (True, False)
             if streamed or provider != "up"]  # fmt: skip

    def got(case: tuple[str, str, bool]) -> Got:
        provider, end, streamed = case
        name = upstream.script(f"told-{provider}-{end}-{streamed}", script(provider, ENDS[end]))
        return ask(server, f"{provider}/{name}", streamed)

    with ThreadPoolExecutor(len(cases)) as pool:
        answers = dict(zip(cases, pool.map(got, cases), strict=True))
    for case, answer in answers.items():
        assert (answer.status, answer.text, answer.error, finish(answer.body)) == (200, "hel", None, "stop"), case
        assert answer.done == case[2], case


def test_usage_that_comes_late_is_not_lost(server: Process, upstream: Upstream) -> None:
    ends = [1.5, *chunked(sse(USAGE_CHUNK, done=False), end=False), FOREVER]
    name = upstream.script("told-late-usage", script("up", ends))
    got = ask(server, f"up/{name}", True, stream_options={"include_usage": True})
    told = [json.loads(block[6:]).get("usage") for block in got.body.split("\n\n") if block.startswith("data: {")]
    assert (got.text, got.done, [usage for usage in told if usage]) == ("hel", True, [USAGE])
