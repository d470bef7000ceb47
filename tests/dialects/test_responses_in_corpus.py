"""Every recorded stream of other providers, through the hub, as an answer of the Responses API.

Skipped where the recordings are absent. What is said is compared with what the chunks of the hub add up to.
"""

import re
from collections import Counter
from typing import Any

import corpus
import pytest
import replay
from gemini_run import run as gemini_chunks
from responses_in import accumulated, checked, events, request, stream, whole
from translators import ON_RESPONSES, made_call

from dialects.responses.response_object import usage_of
from dialects.responses.stream import Passed
from providers import Upstream, anthropic, openai
from providers.anthropic.message_state import Way
from providers.chunks import collect
from providers.errors import Failure, UpstreamTruncated

Json = dict[str, Any]
pytestmark = corpus.needed
TO = Upstream("up", "m", "https://api.test")
CLAUDE = Upstream("anthropic", "claude-test", "https://api.test")
# File → streams of it that become an answer, at least.
FILES = {
    "anthropic-messages": 1,
    "gemini-stream": 1,
    "openai-chat": 1,
    "openai-responses": 1,
    "compat-responses": 1,
    "compat-chat": 1,
    "deepseek-chat": 1,
    "groq-chat": 1,
    "mistral-chat": 1,
    "openrouter-chat": 1,
    "together-chat": 1,
    "xai-chat": 1,
    "zai-chat": 1,
    "hf-chat": 1,
    "cerebras-chat": 1,
    "ollama-openai-chat": 1,
}


def translated(name: str, raw: bytes) -> list[Json]:
    match name:
        case "anthropic-messages":
            return list(replay.chunks(anthropic, raw, call=made_call({}, True, Way()), to=CLAUDE))
        case "gemini-stream":
            return gemini_chunks(raw)
        case "openai-responses" | "compat-responses":
            return list(replay.chunks(openai, raw, call=made_call(state=ON_RESPONSES), to=TO))
    return list(replay.chunks(openai, raw, call=made_call(), to=TO))


@pytest.mark.parametrize("name", FILES)
def test_every_recorded_stream(name: str) -> None:
    seen: Counter[str] = Counter()
    wrong: dict[str, str] = {}
    for exchange in corpus.load(name):
        if not exchange["response"]["stream"] or exchange["response"]["status"] != 200:
            continue
        try:
            chunks = translated(name, corpus.body_of(exchange))
        except (Failure, AssertionError):
            seen["no answer"] += 1
            continue
        if any(choice["index"] for chunk in chunks for choice in chunk["choices"]):
            seen["several choices"] += 1
            continue
        asked = request(summary=True, carried=True, logprobs=True)
        answer = collect(chunks)
        try:
            data = stream(chunks, asked, size=5)
            last = checked(data)[-1]
            seen[last["type"]] += 1
            response = last["response"]
            assert last["type"] != "response.failed"
            if seen.total() % 5 == 1:  # the SDK takes long; `checked` has put the pieces of all of them together
                assert accumulated(data)["output"] == response["output"]
            message = answer["choices"][0]["message"] if answer["choices"] else {}
            assert whole(answer, asked, chunks=chunks)["output"] == response["output"]
            for given in (response, whole(answer, asked)):
                assert said(given) == expected(message)
            # The bridge to upstreams reads the same of it.
            back = collect(replay.chunks(openai, data, call=made_call(state=ON_RESPONSES), to=TO))
            apart = {"text": "message", "reasoning": "reasoning"}
            again = expected(message) | {"images": 0} | {name: joined(response, kind) for name, kind in apart.items()}
            assert expected(back["choices"][0]["message"]) == again
            assert (answer.get("usage") and usage_of(answer["usage"])) == (
                back.get("usage") and usage_of(back["usage"])
            )
        except Exception as no:
            wrong[exchange["id"]] = f"{type(no).__name__}: {no}"[:1500]
    print(f"\n{name}: {dict(seen)}, wrong {len(wrong)}")
    assert not wrong, "\n".join(f"{id}: {why}" for id, why in wrong.items())
    assert not corpus.load(name) or seen.total() >= FILES[name]


def joined(response: Json, kind: str) -> str:
    """What all items of a type say: parts of one belong together, items do not."""
    items = (item.get("content") or item.get("summary") or () for item in response["output"] if item["type"] == kind)
    return "\n\n".join(filter(None, ("".join(part.get("text", "") for part in parts) for parts in items)))


def said(response: Json) -> Json:
    items = response["output"]
    parts = [part for item in items if item["type"] == "message" for part in item["content"]]
    return {
        "text": "".join(part.get("text", "") for part in parts),
        "refusal": "".join(part.get("refusal", "") for part in parts),
        "reasoning": "".join(part["text"] for item in items for part in item.get("summary") or ()),
        "citations": sum(len(part.get("annotations") or ()) for part in parts),
        "calls": [(i["call_id"], i["name"], i["arguments"]) for i in items if i["type"] == "function_call"],
        "customs": [(i["call_id"], i["name"], i["input"]) for i in items if i["type"] == "custom_tool_call"],
        "images": sum(item["type"] == "image_generation_call" for item in items),
    }


def expected(message: Json) -> Json:
    calls = [(call["id"], call["function"]) for call in message.get("tool_calls") or () if "function" in call]
    customs = [
        (call["id"], call["custom"]["name"], call["custom"]["input"])
        for call in message.get("tool_calls") or ()
        if "custom" in call
    ]
    return {
        "text": message.get("content") or "",
        "refusal": message.get("refusal") or "",
        "reasoning": message.get("reasoning_content") or "",
        "citations": sum(each.get("type") == "url_citation" for each in message.get("annotations") or ()),
        "calls": [(ident, each["name"], each["arguments"] or "{}") for ident, each in calls],
        "customs": customs,
        "images": len(message.get("images") or ()),
    }


def test_every_recorded_native_stream_is_cut_at_every_event() -> None:
    """What is added to a native stream that breaks off: an error, and a Response that has failed, in the order of its numbers."""
    cuts, streams = 0, 0
    for exchange in (*corpus.load("openai-responses"), *corpus.load("compat-responses")):
        if not exchange["response"]["stream"] or exchange["response"]["status"] != 200:
            continue
        streams += 1
        blocks = [block + b"\n\n" for block in corpus.body_of(exchange).replace(b"\r\n", b"\n").split(b"\n\n") if block]
        known, number = Passed(), -1
        for block in blocks:
            known.see(block)
            if known.over:
                break
            cuts += 1
            number = max([number, *map(int, re.findall(rb'"sequence_number": ?(\d+)', block))])
            ending = events(known.failed(UpstreamTruncated(), {"id": "resp_ms", "created_at": 1, "output": []}))
            assert [event["type"] for event in ending] == ["error", "response.failed"]
            assert [event["sequence_number"] for event in ending] == [number + 1, number + 2]
            assert known.begun is None or ending[1]["response"]["id"] == known.begun["id"]
    print(f"\n{streams} streams, {cuts} cuts")
    assert not streams or cuts > 1000
