"""Finish words: what a client sees of them, in every protocol."""

import json
from typing import Any

import pytest
from http_client import ask, delta, whole
from process import Process
from scripted import CLOSE, Upstream, answer, chunked, sse, stream

from providers.common.finish_reasons import reason_of
from providers.errors import Failure, Overloaded, UpstreamBadOutput, UpstreamError, UpstreamTruncated


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("stop", "stop"),
        ("STOP", "stop"),
        ("COMPLETE", "stop"),
        ("end_turn", "stop"),
        ("length ", "length"),
        ("max-tokens", "length"),
        ("MAX_TOKENS", "length"),
        ("model_context_window_exceeded", "length"),
        ("tool_use", "tool_calls"),
        ("Tool_Calls", "tool_calls"),
        ("sensitive", "content_filter"),
        ("recitation", "content_filter"),
        ("function_call", "stop"),
        (None, "stop"),
        ("", "stop"),
        (5, "stop"),
        (True, "stop"),
        ("of tomorrow", "stop"),
    ],
)
def test_words(word: Any, expected: str) -> None:
    assert reason_of(word) == expected
    assert reason_of(word, called=True) == ("tool_calls" if expected == "stop" else expected)


def test_a_function_call_of_old() -> None:
    assert (reason_of("function_call", old=True), reason_of("function_call", True, True)) == (
        "function_call",
        "tool_calls",
    )


@pytest.mark.parametrize(
    ("word", "kind"),
    [
        ("network_error", UpstreamError),
        ("Error", UpstreamError),
        ("cancelled", UpstreamError),
        ("MALFORMED_FUNCTION_CALL", UpstreamBadOutput),
        ("insufficient_system_resource", Overloaded),
        ("load", UpstreamTruncated),
    ],
)
def test_words_for_an_answer_that_broke_off(word: str, kind: type[Failure]) -> None:
    with pytest.raises(Failure) as caught:
        reason_of(word)
    assert type(caught.value) is kind


def openai_events(word: Any) -> list[Any]:
    return [delta("", role="assistant"), delta("hel"), delta(finish=word)]


def claude_events(word: Any) -> list[Any]:
    return [
        {"type": "message_start", "message": {"usage": {"input_tokens": 1}}},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "hel"}},
        {"type": "message_delta", "delta": {"stop_reason": word}},
        {"type": "message_stop"},
    ]


def gemini_events(word: Any) -> list[Any]:
    return [
        {"candidates": [{"index": 0, "content": {"parts": [{"text": "hel"}]}}]},
        {"candidates": [{"index": 0, "finishReason": word}]},
    ]


PROTOCOLS = {"up": openai_events, "claude": claude_events, "gemini": gemini_events}


@pytest.fixture(scope="module")
def server(every_protocol: Process) -> Process:
    return every_protocol


def finish(body: str) -> str | None:
    """The only finish_reason in an answer, streamed or whole."""
    blocks = [block[6:] for block in body.split("\n\n") if block.startswith("data: {")] or [body]
    found = [choice["finish_reason"] for block in blocks for choice in json.loads(block).get("choices", ())]
    words = [word for word in found if word is not None]
    assert len(words) <= 1
    return words[0] if words else None


@pytest.mark.parametrize("streamed", [True, False])
@pytest.mark.parametrize(
    ("word", "expected"), [("Max_Tokens", "length"), ("SENSITIVE", "content_filter"), ("xyz-of-tomorrow", "stop")]
)
@pytest.mark.parametrize("provider", PROTOCOLS)
def test_a_client_sees_openais_words(
    server: Process, upstream: Upstream, provider: str, word: str, expected: str, streamed: bool
) -> None:
    name = upstream.script(f"finish-{word.lower()}", script(provider, word, streamed))
    got = ask(server, f"{provider}/{name}", streamed)
    assert (got.status, got.text, got.code, finish(got.body)) == (200, "hel", None, expected)
    assert word not in got.body.replace(name, "")


@pytest.mark.parametrize("streamed", [True, False])
@pytest.mark.parametrize("word", ["network_error", "Cancelled"])
@pytest.mark.parametrize("provider", PROTOCOLS)
def test_an_answer_that_broke_off_is_no_success(
    server: Process, upstream: Upstream, provider: str, word: str, streamed: bool
) -> None:
    name = upstream.script(f"broken-{word.lower()}", script(provider, word, streamed))
    got = ask(server, f"{provider}/{name}", streamed)
    if streamed:
        assert (got.status, got.text, got.done, finish(got.body)) == (200, "hel", False, None)
    else:
        assert got.status == 502
    assert got.code == "upstream_error"


def script(provider: str, word: str, streamed: bool) -> Any:
    """Answers of OpenAI's protocol come whole when they are asked for so; the others here come streamed in any case."""
    if provider == "up" and not streamed:
        body = whole("hel")
        body["choices"][0]["finish_reason"] = word
        return answer(body)
    *said, last = PROTOCOLS[provider](word)
    if provider == "claude":
        said, last = said[:-1], [said[-1], last]
    ends = last if isinstance(last, list) else [last]
    return [*stream(sse(*said, done=False), end=False), 0.05, *chunked(sse(*ends, done=provider == "up"))]


def test_an_unknown_word_is_logged_once(server: Process, upstream: Upstream) -> None:
    name = upstream.script("odd-finish", stream(sse(*openai_events("sk-odd\n" + "x" * 200))))
    for _ in range(3):
        assert finish(ask(server, f"up/{name}", True).body) == "stop"
    server.logged(model=f"up/{name}")
    lines = [line["message"] for line in server.lines() if "sk-odd" in line.get("message", "")]
    word = repr("sk-odd\n" + "x" * 57)
    assert lines == [f"an upstream ended an answer with {word}, which is no finish_reason that is known here"]


def claude_message(*content: Any, stop: str, usage: Any = {"input_tokens": 3, "output_tokens": 2}) -> Any:  # noqa: B006
    return {"id": "msg_1", "type": "message", "role": "assistant", "model": "claude", "content": [*content],
            "stop_reason": stop, "stop_sequence": None, "usage": usage}  # fmt: skip


def gemini_answer(*parts: Any, stop: str) -> Any:
    return {"candidates": [{"index": 0, "content": {"role": "model", "parts": [*parts]}, "finishReason": stop}],
            "usageMetadata": {"promptTokenCount": 3, "candidatesTokenCount": 2, "totalTokenCount": 5}}  # fmt: skip


def called(ident: str) -> Any:
    return {"id": ident, "type": "function", "function": {"name": "f", "arguments": '{"a":1}'}}


# Answers in one piece: provider, what it says, and the message and finish_reason that the client gets.
WHOLE: Any = {
    "Claude's text": (
        "claude", claude_message({"type": "text", "text": "hel"}, stop="max_tokens"), {"content": "hel"}, "length",
    ),
    "Claude's call": (
        "claude",
        claude_message({"type": "tool_use", "id": "toolu_1", "name": "f", "input": {"a": 1}}, stop="tool_use"),
        {"content": None, "tool_calls": [called("toolu_1")]},
        "tool_calls",
    ),
    "Claude's refusal": (
        "claude",
        claude_message({"type": "text", "text": "I"}, stop="refusal"),
        {"content": "I", "refusal": "The model declined to answer."},
        "content_filter",
    ),
    "Gemini's text": ("gemini", gemini_answer({"text": "hel"}, stop="MAX_TOKENS"), {"content": "hel"}, "length"),
    "Gemini's call": (
        "gemini",
        gemini_answer({"functionCall": {"id": "call-1", "name": "f", "args": {"a": 1}}}, stop="STOP"),
        {"content": None, "tool_calls": [called("call-1")]},
        "tool_calls",
    ),
}  # fmt: skip
TOOL: Any = {
    "type": "function",
    "function": {"name": "f", "parameters": {"type": "object", "properties": {"a": {"type": "integer"}}}},
}


@pytest.mark.parametrize("case", WHOLE, ids=lambda case: case.replace(" ", "-"))
def test_a_client_that_does_not_stream_is_asked_for_whole(server: Process, upstream: Upstream, case: str) -> None:
    provider, said, message, reason = WHOLE[case]
    name = upstream.script(f"whole-{provider}-{reason}", answer(said))
    got = ask(server, f"{provider}/{name}", False, max_tokens=100, tools=[TOOL])
    sent = upstream.of(name)[0]
    if provider == "gemini":
        assert sent.path == f"/models/{name}:generateContent"
    else:
        assert "stream" not in sent.json
    body = json.loads(got.body)
    assert got.status == 200
    assert {"refusal": None, **body["choices"][0]["message"]} == {"role": "assistant", "refusal": None, **message}
    assert body["choices"][0]["finish_reason"] == reason
    assert (body["usage"]["prompt_tokens"], body["usage"]["completion_tokens"]) == (3, 2)


@pytest.mark.parametrize("provider", ["claude", "gemini"])
def test_a_whole_answer_that_breaks_off_is_none(server: Process, upstream: Upstream, provider: str) -> None:
    said = next(said for by, said, _, _ in WHOLE.values() if by == provider)
    steps = answer(json.dumps(said)[:-20], headers={"Content-Length": "1000"})
    name = upstream.script(f"whole-cut-{provider}", [*steps, CLOSE])
    got = ask(server, f"{provider}/{name}", False, max_tokens=100)
    assert (got.status, got.code) == (502, "upstream_truncated")


@pytest.mark.parametrize("provider", ["claude", "gemini"])
def test_an_answer_that_may_be_long_is_streamed_and_put_together(
    server: Process, upstream: Upstream, provider: str
) -> None:
    events = PROTOCOLS[provider]("MAX_TOKENS")
    name = upstream.script(f"long-{provider}", stream(sse(*events, done=False)))
    got = ask(server, f"{provider}/{name}", False, max_tokens=21_334)
    sent = upstream.of(name)[0]
    assert sent.path.endswith(":streamGenerateContent?alt=sse") if provider == "gemini" else sent.json["stream"] is True
    assert (got.status, got.text, finish(got.body)) == (200, "hel", "length")
