"""Messages streams: their grammar, and what the anthropic SDK makes of them."""

import json
import warnings
from functools import cache
from typing import Any

import anthropic
import httpx2

from dialects.messages.wanted import Wanted

Json = dict[str, Any]
EMPTY = Wanted()


def events_of(data: bytes) -> list[Json]:
    """The events, each named by its line as in its data."""
    events = []
    for frame in data.decode().split("\n\n")[:-1]:
        name, value = frame.split("\n")
        events.append(json.loads(value.removeprefix("data: ")))
        assert name == f"event: {events[-1]['type']}"
    return events


def check_grammar(events: list[Json]) -> None:
    """The invariants of a complete answer: one block open at a time, dense indexes, one end."""
    kinds = [each["type"] for each in events]
    assert kinds[0] == "message_start" and kinds[-2:] == ["message_delta", "message_stop"]
    assert all(kinds.count(kind) == 1 for kind in ("message_start", "message_delta", "message_stop"))
    at, kind, signed, ids = -1, "", False, set()
    for each in events[1:-2]:
        match each:
            case {"type": "content_block_start", "index": index, "content_block": block}:
                assert not kind and index == at + 1
                at, kind, signed = index, block["type"], False
                assert block.get("id") not in ids or kind != "tool_use"
                ids.add(block.get("id"))
            case {"type": "content_block_delta", "index": index, "delta": {"type": grown}}:
                assert index == at and not signed
                fits = {
                    "text": ["text_delta"],
                    "tool_use": ["input_json_delta"],
                    "thinking": ["thinking_delta", "signature_delta"],
                }
                assert grown in fits[kind]
                signed = grown == "signature_delta"
            case {"type": "content_block_stop", "index": index}:
                assert index == at and kind and (kind != "thinking" or signed)
                kind = ""
            case _:
                raise AssertionError(each)
    assert not kind


_ANSWER: list[bytes] = []


@cache
def _client() -> anthropic.Anthropic:
    def upstream(request: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(200, headers={"content-type": "text/event-stream"}, content=_ANSWER.pop())

    http = httpx2.Client(transport=httpx2.MockTransport(upstream))
    return anthropic.Anthropic(api_key="test", base_url="http://up.test", http_client=http, max_retries=0)


def read_by_sdk(data: bytes) -> Json:
    """The message that the SDK accumulates."""
    _ANSWER.append(data)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with _client().messages.stream(model="m", max_tokens=1, messages=[{"role": "user", "content": "x"}]) as stream:
            message: Json = stream.get_final_message().to_dict()
    return message


def without_cache_creation(usage: Json) -> Json:
    """A usage as SDKs have it after a stream: they take its counts from the end, but these from the start."""
    return {**usage, "cache_creation": {"ephemeral_5m_input_tokens": 0, "ephemeral_1h_input_tokens": 0}}
