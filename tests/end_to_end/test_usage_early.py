"""A count that an upstream told before the last of its answer is a lower bound; one that it told with the last is believed."""

import json
from pathlib import Path
from typing import Any

import pytest
from process import Process
from scripted import ABORT, Script, Upstream, answer, sse, stream
from translators import ON_RESPONSES, made_call, translator_of
from usage_helpers import at_once, piece, rows, settings, usage

from providers import PROVIDERS
from providers import Upstream as To
from providers.chunks import EARLY
from providers.contract import Json
from providers.hosts import HOSTS
from providers.sse import DONE, Event

ASK: Json = {"model": "m", "messages": [{"role": "user", "content": "x"}], "stream": True}
TOLD: Json = {"prompt_tokens": 70, "completion_tokens": 1, "total_tokens": 71}
END: Json = {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}
CALL: Json = {"index": 0, "id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}


def chunk(text: str, **more: Any) -> Json:
    return {"choices": [{"index": 0, "delta": {"content": text}, "finish_reason": None}], **more}


def inside(text: str) -> Json:
    """A chunk whose choice has the usage."""
    return {"choices": [{"index": 0, "delta": {"content": text}, "finish_reason": None, "usage": TOLD}]}


OPENAI: list[tuple[list[Any], bool]] = [
    ([chunk("a", usage=TOLD), chunk("b"), END], True),
    ([chunk("", usage=TOLD), chunk("b"), END], True),
    ([{"choices": [], "usage": TOLD}, chunk("a"), END], True),
    ([chunk("a", x_groq={"usage": TOLD}), chunk("b"), END], True),
    ([inside("a"), chunk("b"), chunk("c"), END], True),
    ([chunk("a"), inside(""), {"choices": [{"index": 0, "delta": {"tool_calls": [CALL]}}]}, END], True),
    ([chunk("a"), chunk("b", usage=TOLD), {"choices": [{"index": 0, "delta": {"tool_calls": [CALL]}}]}, END], True),
    ([chunk("a"), chunk("b", usage=TOLD), {"choices": [{"index": 0, "delta": {"reasoning": "r"}}]}, END], True),
    ([chunk("a", usage=TOLD), chunk("b"), {**END, "usage": TOLD}], False),
    ([chunk("a", usage=TOLD), chunk("b", usage=TOLD), END], False),  # a running total, in every chunk with text
    ([chunk("a", usage=TOLD), chunk("b", usage=TOLD), chunk(""), END], False),
    ([chunk("a"), {"choices": [], "usage": TOLD}, chunk("b"), {"choices": [], "usage": TOLD}, END], False),
    ([inside("a"), inside("b"), END], False),
    ([inside("a"), chunk("b"), {"choices": [{**END["choices"][0], "usage": TOLD}]}], False),
    ([chunk("a"), END, {"choices": [], "usage": TOLD}], False),
    ([{"choices": [{"index": 0, "message": {"content": "all"}, "finish_reason": "stop"}], "usage": TOLD}], False),
]


def claude(*events: Any, told: Any = None) -> list[Any]:
    """told: what message_delta counts, if it counts."""
    delta = {"type": "message_delta", "delta": {"stop_reason": "end_turn"}}
    begun = {"type": "message_start", "message": {"usage": {"input_tokens": 70, "output_tokens": 1}}}
    return [begun, *events, delta if told is None else {**delta, "usage": told}, {"type": "message_stop"}]


BLOCK: Json = {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}
CLOSE: Json = {"type": "content_block_stop", "index": 0}


def text(text: str) -> Json:
    return {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": text}}


SOFAR: Json = {"type": "message_delta", "delta": {}, "usage": {"output_tokens": 2}}
MESSAGE: Json = {"type": "message", "role": "assistant", "stop_reason": "end_turn"}
CONTENT: list[Json] = [{"type": "text", "text": "a"}]
COUNTS: Json = {"input_tokens": 70, "output_tokens": 1}
ANTHROPIC: list[tuple[list[Any], bool]] = [
    (claude(BLOCK, text("a"), text("b"), CLOSE), True),
    (claude(BLOCK, text("a"), CLOSE, told={"input_tokens": 70}), True),
    (claude(BLOCK, text("a"), SOFAR, text("b"), text("c"), CLOSE), True),
    (claude(BLOCK, text("a"), SOFAR, text("b"), CLOSE, told={"output_tokens": 3}), False),
    (claude(BLOCK, text("a"), text("b"), CLOSE, told={"output_tokens": 1}), False),
    ([{**MESSAGE, "content": CONTENT, "usage": COUNTS}], False),
]


def google(words: str, told: bool, **more: Any) -> Json:
    event: Json = {"candidates": [{"content": {"parts": [{"text": words}] if words else []}, **more}]}
    return event | ({"usageMetadata": {"promptTokenCount": 70, "candidatesTokenCount": 1}} if told else {})


STOP = {"finishReason": "STOP"}
GEMINI: list[tuple[list[Any], bool]] = [
    ([google("a", True), google("b", False, **STOP)], True),
    ([google("a", True), google("b", False), google("", False, **STOP)], True),
    ([google("a", True), google("b", True), google("", False, **STOP)], False),
    ([google("a", True), google("b", False), google("", True, **STOP)], False),
    ([google("a", True, **STOP)], False),
]
OUTPUT = [{"type": "message", "content": [{"type": "output_text", "text": "ab"}]}]
RESPONSES: list[tuple[list[Any], bool]] = [
    (
        [
            {"type": "response.created", "response": {"usage": {"input_tokens": 1, "output_tokens": 1}}},
            {"type": "response.output_text.delta", "output_index": 0, "content_index": 0, "delta": "ab"},
            {"type": "response.completed", "response": {"status": "completed", "output": OUTPUT, "usage": COUNTS}},
        ],
        False,
    )
]
CASES = [
    (protocol, events, early)
    for protocol, cases in (("openai", OPENAI), ("anthropic", ANTHROPIC), ("gemini", GEMINI), ("responses", RESPONSES))
    for events, early in cases
]


@pytest.mark.parametrize(("protocol", "events", "early"), CASES)
def test_whether_text_came_after_the_count(protocol: str, events: list[Any], early: bool) -> None:
    host = "openai" if protocol == "responses" else protocol
    to = To(host, "m", "https://x/v1", "k", host, HOSTS[host])
    module = PROVIDERS[HOSTS[host].protocol]
    call = made_call({}, True, ON_RESPONSES) if protocol == "responses" else module.build_request(ASK, to)
    translator = translator_of(protocol, call, to)
    chunks: list[Json] = []
    try:
        for event in [*json.loads(json.dumps(events)), *([DONE] if protocol == "openai" else [])]:
            chunks += translator.send(Event("", event))
        chunks += translator.send(None)
    except StopIteration as end:
        chunks += end.value
    [last] = [chunk for chunk in chunks if "usage" in chunk]
    assert (last["usage"]["prompt_tokens"], last.get(EARLY)) == (70, True if early else None)


# The real process

WORDS = [piece("word ") for _ in range(50)]
FINISH = piece(finish="stop")
FIRST = {**piece("word "), "usage": TOLD}


def running(total: int) -> Json:
    return {**piece("word "), "usage": {**TOLD, "completion_tokens": total}}


RESET = sse(*claude(BLOCK, *[text("word ")] * 50, CLOSE, told={"output_tokens": 90})[:-1], done=False)
# Name → what the upstream sends, and the tokens that are booked (estimated or not) for a stream, and for a whole answer: a
# text that comes in one piece is estimated by its bytes.
SCRIPTS: dict[str, tuple[Script, tuple[int, int], tuple[int, int]]] = {
    "first": (stream(sse(FIRST, *WORDS, FINISH)), (51, 1), (64, 1)),
    "running": (stream(sse(*[running(n) for n in (10, 20, 30)], FINISH)), (30, 0), (30, 0)),
    "last": (stream(sse(*WORDS, FINISH, {"choices": [], "usage": TOLD})), (1, 0), (1, 0)),
    "prompt": (stream(sse(*WORDS, FINISH, {"choices": [], "usage": {"prompt_tokens": 70}})), (50, 1), (63, 1)),
    "cut": (stream(sse(*[running(n) for n in (90, 120)], *WORDS, done=False)), (120, 1), (120, 1)),
    "claude": (stream(sse(*claude(BLOCK, *[text("word ")] * 50, CLOSE), done=False)), (50, 1), (63, 1)),
    "claude-reset": ([*stream(RESET, end=False), ABORT], (90, 0), (90, 0)),  # its end had been told
    "document": (
        answer({"choices": [{"index": 0, "message": {"content": "x" * 400}}], "usage": {"prompt_tokens": 70}}),
        (100, 1),
        (100, 1),
    ),
}


@pytest.mark.parametrize("streamed", [True, False])
def test_what_is_booked_is_no_less_than_the_text(upstream: Upstream, tmp_path: Path, streamed: bool) -> None:
    for name, (script, *_) in SCRIPTS.items():
        upstream.script(f"early-{name}", script)
    config = settings(upstream, tmp_path, ["tpm: 1000000"])
    own = f'  claude: {{protocol: anthropic, base_url: "{upstream.url}", api_key: sk-ant-canary-0123456789}}\n'
    include = {"stream_options": {"include_usage": True}} if streamed else {}
    with Process(config.replace("models:\n", own + "models:\n", 1)) as server:
        for name, (_, *booked) in SCRIPTS.items():
            model = f"{'claude' if name.startswith('claude') else 'up'}/early-{name}"
            [(_, _, got)] = at_once(1, [server], model, max_tokens=200, stream=streamed, **include)
            assert "usage_early" not in str(got)
            usage(server)
            row = rows(tmp_path)[-1]
            expected = booked[0] if streamed else booked[1]
            assert (name, row["prompt"], row["completion"], row["estimated"]) == (name, 70, *expected)
