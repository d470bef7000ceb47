"""What the official SDKs make of the same bytes, as one value to compare our own answers with."""

import json
import warnings
from collections.abc import Iterable
from typing import Any, NamedTuple

import anthropic
import httpx2

Json = dict[str, Any]

# Claude's stop reasons as the specification maps them, kept apart from the code that is tested.
_FINISH = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "pause_turn": "stop",
    "tool_use": "tool_calls",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "compaction": "length",
    "refusal": "content_filter",
}


class Answer(NamedTuple):
    """What a client can tell of an answer."""

    text: str
    calls: list[tuple[str, str, Any]]  # id, name, parsed arguments
    finish: str
    usage: Json
    thinking: list[Json]  # signed blocks, unaltered


def claude(raw: bytes) -> Answer:
    """The answer that the anthropic SDK accumulates from a recorded event stream."""
    return claude_message(accumulated(raw))


def accumulated(raw: bytes) -> Json:
    """The message that the anthropic SDK accumulates from a recorded event stream."""

    def upstream(request: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(200, headers={"content-type": "text/event-stream"}, content=raw)

    http = httpx2.Client(transport=httpx2.MockTransport(upstream))
    with (
        warnings.catch_warnings(),  # of retired models, and of blocks newer than the SDK
        anthropic.Anthropic(api_key="test", base_url="http://upstream.test", http_client=http, max_retries=0) as client,
    ):
        warnings.simplefilter("ignore")
        with client.beta.messages.stream(
            model="claude-test", max_tokens=1, messages=[{"role": "user", "content": "x"}]
        ) as stream:
            return stream.get_final_message().to_dict()


def claude_message(message: Any) -> Answer:
    """A whole Claude message (as a dict) → the answer an OpenAI client should get."""
    blocks = message["content"]
    return Answer(
        text=_claude_text(blocks),
        calls=[(block["id"], block["name"], block["input"]) for block in blocks if block["type"] == "tool_use"],
        finish=_FINISH[message["stop_reason"]],
        usage=_claude_usage(message["usage"]),
        thinking=[
            {name: block[name] for name in ("type", "thinking", "signature", "data") if block.get(name) is not None}
            for block in blocks
            if block["type"] in ("thinking", "redacted_thinking")
        ],
    )


def _claude_text(blocks: list[Json]) -> str:
    """The texts of a message: neighbours are one, and after a block of another kind a new one begins."""
    text, before = "", ""
    for block in blocks:
        if block["type"] == "text":
            apart = before not in ("", "text") and text.strip() and block["text"][:1].strip()
            text += "\n\n" * bool(apart) + block["text"]
        before = block["type"]
    return text


def _claude_usage(usage: Json) -> Json:
    turns = [turn for turn in usage.get("iterations") or () if turn["type"] in ("message", "compaction")]
    kinds = {turn["type"] for turn in usage.get("iterations") or ()}
    counted = turns if turns and "fallback_message" not in kinds else [usage]
    total = {
        name: sum(row.get(name) or 0 for row in counted)
        for name in ("input_tokens", "cache_creation_input_tokens", "cache_read_input_tokens", "output_tokens")
    }
    prompt = total["input_tokens"] + total["cache_creation_input_tokens"] + total["cache_read_input_tokens"]
    thought = (usage.get("output_tokens_details") or {}).get("thinking_tokens") or 0
    return {
        "prompt_tokens": prompt,
        "completion_tokens": total["output_tokens"],
        "total_tokens": prompt + total["output_tokens"],
        "prompt_tokens_details": {
            "cached_tokens": total["cache_read_input_tokens"],
            "cache_write_tokens": total["cache_creation_input_tokens"],
        },
        "completion_tokens_details": {"reasoning_tokens": min(thought, total["output_tokens"])},
    }


def completion(answer: Json) -> Answer:
    """A chat.completion (from collect(), or from the wire) → the same form."""
    choice = answer["choices"][0]
    message = choice["message"]
    return Answer(
        text=message["content"] or "",
        calls=[
            (call["id"], call["function"]["name"], json.loads(call["function"]["arguments"]))
            for call in message.get("tool_calls") or ()
        ],
        finish=choice["finish_reason"],
        usage=answer["usage"],
        thinking=[
            {name: block[name] for name in ("type", "thinking", "signature", "data") if block.get(name) is not None}
            for block in message.get("thinking_blocks") or ()
        ],
    )


def check_chunks(chunks: Iterable[Json]) -> None:
    """The invariants of every successful stream of chunks, as the server gets them."""
    chunks = list(chunks)
    choices = [choice for chunk in chunks for choice in chunk["choices"]]
    assert [choice["index"] for choice in choices] == [0] * len(choices)
    roles = [at for at, choice in enumerate(choices) if "role" in choice["delta"]]
    assert roles == [0], "the role comes once and first"
    finishes = [at for at, choice in enumerate(choices) if choice["finish_reason"] is not None]
    assert finishes == [len(choices) - 1], "one finish_reason, on the last choice"
    usages = [at for at, chunk in enumerate(chunks) if "usage" in chunk]
    assert usages == [len(chunks) - 1]
    assert chunks[-1]["choices"] == [], "usage comes last and alone"
    usage = chunks[-1]["usage"]
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]
    assert usage["prompt_tokens_details"]["cached_tokens"] <= usage["prompt_tokens"]
    assert usage["completion_tokens_details"]["reasoning_tokens"] <= usage["completion_tokens"]
    assert all("content" not in choice["delta"] or choice["delta"]["content"] for choice in choices[1:])
    seen: set[int] = set()
    for choice in choices:
        for call in choice["delta"].get("tool_calls", ()):
            first = call["index"] not in seen
            assert first == ("id" in call) == ("type" in call), "id and type only on the first fragment"
            assert not first or call["index"] == len(seen), "indexes are dense"
            seen.add(call["index"])
