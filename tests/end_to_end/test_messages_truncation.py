"""Streams that end too early, at every boundary between two events: the SDK raises, and no message_stop comes."""

import re
from collections.abc import Iterator
from typing import Final

import anthropic
import httpx2 as httpx
import pytest
from messages_fold import read_by_sdk
from process import Process
from replay import STREAMS
from scripted import CLOSE, Upstream, stream

CONFIG: Final = """
server: {{port: 0}}
providers:
  claude: {{protocol: anthropic, base_url: "{url}", api_key: sk-ant-x}}
  chat: {{protocol: openai, base_url: "{url}/v1", api_key: sk-x}}
  google: {{protocol: gemini, base_url: "{url}/v1beta", api_key: sk-x}}
"""
# Stream → the provider whose it is. Claude's are passed on natively.
CUT: Final = {
    **dict.fromkeys(("claude_text", "claude_thinking", "claude_tools", "claude_search"), "claude"),
    **dict.fromkeys(("text", "tools", "tools_without_index", "groq", "mistral", "openrouter", "refusal"), "chat"),
    **dict.fromkeys(("gemini_text", "gemini_call", "gemini_parallel"), "google"),
}
_EVENT: Final = re.compile(rb"(?:[^\r\n]+\r?\n)+\r?\n?")
# What is in the event from which on an answer is whole, though the stream should say more.
_WHOLE: Final = re.compile(rb'"finish_?[rR]eason": ?"|event: message_stop')


@pytest.fixture(scope="module")
def server(upstream: Upstream) -> Iterator[Process]:
    with Process(CONFIG.format(url=upstream.url)) as process:
        yield process


@pytest.mark.parametrize("name", CUT)
def test_a_stream_that_ends_too_early(http: httpx.Client, server: Process, upstream: Upstream, name: str) -> None:
    events = _EVENT.findall((STREAMS / f"{name}.sse").read_bytes())
    assert b"".join(events) == (STREAMS / f"{name}.sse").read_bytes()
    whole = next(n for n, event in enumerate(events) if _WHOLE.search(event))
    assert whole > 0
    for n in range(whole + 1):
        for closed in (True, False):  # a body that has its end, and a connection that breaks
            script = stream(b"".join(events[:n])) if closed else [*stream(b"".join(events[:n]), end=False), CLOSE]
            upstream.script(f"{name}-{n}-{closed}", script)
            body = {
                "model": f"{CUT[name]}/{name}-{n}-{closed}",
                "max_tokens": 50,
                "stream": True,
                "thinking": {"type": "adaptive"},
                "messages": [{"role": "user", "content": "hi"}],
            }
            got = http.post(f"{server.url}/messages", json=body)
            assert b"message_stop" not in got.content
            if got.status_code != 200:
                assert (got.status_code, got.json()["error"]["type"]) == (502, "api_error")
                continue
            with pytest.raises(anthropic.APIStatusError):
                read_by_sdk(got.content)
            assert got.content.count(b"event: error") == 1
