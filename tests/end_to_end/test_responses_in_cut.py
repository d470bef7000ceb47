"""Streams that are cut at every boundary of their events, natively and translated: none is ever taken for complete.

The real process; the client is the openai SDK, which must raise, or be told last that the answer has failed.
"""

import re
from collections.abc import Iterator
from typing import Any

import pytest
from answers import of_every_protocol
from openai import APIError, OpenAI
from process import Process
from replay import STREAMS
from responses_in import request
from responses_in import stream as rendered
from scripted import CLOSE, Upstream, stream
from test_responses_in_answer import translated

# Stream → who sends it, and what makes an answer of it complete.
TEN = {
    "claude_text": ("claude", rb'"stop_reason": ?"'),
    "claude_tools": ("claude", rb'"stop_reason": ?"'),
    "claude_thinking": ("claude", rb'"stop_reason": ?"'),
    "claude_search": ("claude", rb'"stop_reason": ?"'),
    "gemini_text": ("gemini", b'"finishReason"'),
    "gemini_parallel": ("gemini", b'"finishReason"'),
    "text": ("chat", rb'"finish_reason": ?"'),
    "tools": ("chat", rb'"finish_reason": ?"'),
    "refusal": ("chat", rb'"finish_reason": ?"'),
    "logprobs": ("chat", rb'"finish_reason": ?"'),
}


@pytest.fixture(scope="module")
def sdk(upstream: Upstream) -> Iterator[OpenAI]:
    with (
        Process(of_every_protocol(upstream)) as process,
        OpenAI(base_url=process.url, api_key="-", max_retries=0) as client,
    ):
        yield client


def end(sdk: OpenAI, model: str) -> str:
    """The type of the last event; "raised" where the SDK raised."""
    last: Any = None
    try:
        for event in sdk.responses.create(model=model, input="Hi", stream=True):
            last = event
    except APIError:
        return "raised"
    return str(last.type)


@pytest.mark.parametrize("way", ["translated", "native"])
@pytest.mark.parametrize("name", TEN)
@pytest.mark.case(responses=59)
@pytest.mark.case(responses=77)
def test_a_cut_answer_is_never_complete(sdk: OpenAI, upstream: Upstream, name: str, way: str):
    data = (STREAMS / f"{name}.sse").read_bytes()
    provider, mark = TEN[name]
    if way == "native":
        data = rendered(translated(STREAMS / f"{name}.sse", None), request(summary=True))
        provider, mark = "openai", rb'"type":"response.completed"'
    frames = [frame for frame in re.split(rb"(?<=\n\n)|(?<=\r\n\r\n)", data) if frame]
    ends: list[tuple[bool, str]] = []
    for at in range(1, len(frames) + 1):
        told = b"".join(frames[:at])
        # A body that ends, and one that breaks off, in turns.
        script = stream(told) if at % 2 else [*stream(told, end=False), CLOSE]
        model = upstream.script(f"cut-{name}-{way}-{at}", script)
        ends.append((re.search(mark, told) is not None, end(sdk, f"{provider}/{model}")))
        assert len(upstream.of(model)) == 1
    assert {ending for complete, ending in ends if not complete} <= {"raised", "response.failed"}
    assert {ending for complete, ending in ends if complete} == {"response.completed"}
    assert len(ends) == len(frames)
