"""The same answers, a text or a call of a tool, as the upstreams of each protocol stream them; and a server in front of them."""

import json
from typing import Any

from process import config
from scripted import Script, Upstream, sse, stream

Json = dict[str, Any]


def of_every_protocol(upstream: Upstream, target: str = "echo") -> str:
    """A configuration with a provider of each protocol at the upstream: chat, claude, gemini, openai. gpt-5.5 is `target`."""
    at = {
        "chat": f'protocol: openai, base_url: "{upstream.url}/v1"',
        "claude": f'host: anthropic, base_url: "{upstream.url}/v1"',
        "gemini": f'base_url: "{upstream.url}/v1beta"',
        "openai": f'base_url: "{upstream.url}/v1"',
    }
    providers = "\n".join(f'{name}: {{{where}, api_key: "sk-upstream-canary"}}' for name, where in at.items())
    return config(providers=providers, models=f'gpt-5.5: "{target}"')


def chunks(delta: Json, finish: str, tokens: int = 10) -> Script:
    """A chat completion's stream."""
    base = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m"}
    usage = {"prompt_tokens": tokens, "completion_tokens": 3, "total_tokens": tokens + 3}
    choices = (
        [{"index": 0, "delta": delta, "finish_reason": None}],
        [{"index": 0, "delta": {}, "finish_reason": finish}],
    )
    return stream(sse(*({**base, "choices": each} for each in choices), {**base, "choices": [], "usage": usage}))


def chat_text(text: str) -> Script:
    return chunks({"role": "assistant", "content": text}, "stop")


def chat_call(name: str, arguments: Json, tokens: int = 10) -> Script:
    function = {"name": name, "arguments": json.dumps(arguments)}
    call = {"index": 0, "id": f"call_{name}", "type": "function", "function": function}
    return chunks({"role": "assistant", "tool_calls": [call]}, "tool_calls", tokens)


def gemini(part: Json) -> Script:
    candidate = {"content": {"role": "model", "parts": [part]}, "finishReason": "STOP", "index": 0}
    usage = {"promptTokenCount": 10, "candidatesTokenCount": 3, "totalTokenCount": 13}
    return stream(sse({"candidates": [candidate], "usageMetadata": usage}, done=False))


def gemini_call(name: str, arguments: Json) -> Script:
    return gemini({"functionCall": {"name": name, "args": arguments}, "thoughtSignature": "c2lnbmVk"})


def named(*events: Json) -> bytes:
    """Events with their names, as Claude and the Responses API send them."""
    return b"".join(b"event: %b\ndata: %b\n\n" % (each["type"].encode(), json.dumps(each).encode()) for each in events)


def claude_blocks(*blocks: Json) -> Script:
    """Claude's stream of these blocks; each block's text comes as one delta."""
    usage = {"input_tokens": 10, "output_tokens": 1}
    message = {"id": "msg_1", "type": "message", "role": "assistant", "model": "m", "content": [], "usage": usage}
    events: list[Json] = [{"type": "message_start", "message": message}]
    for index, block in enumerate(blocks):
        opened, *deltas = _opened(block)
        events.append({"type": "content_block_start", "index": index, "content_block": opened})
        events += [{"type": "content_block_delta", "index": index, "delta": delta} for delta in deltas]
        events.append({"type": "content_block_stop", "index": index})
    reason = "tool_use" if blocks[-1]["type"] == "tool_use" else "end_turn"
    events.append({"type": "message_delta", "delta": {"stop_reason": reason}, "usage": {"output_tokens": 3}})
    return stream(named(*events, {"type": "message_stop"}))


def _opened(block: Json) -> list[Json]:
    """A block as it is opened, and its deltas."""
    match block:
        case {"type": "text", "text": text}:
            return [{**block, "text": ""}, {"type": "text_delta", "text": text}]
        case {"type": "thinking", "thinking": text, "signature": signature}:
            deltas = {"type": "thinking_delta", "thinking": text}, {"type": "signature_delta", "signature": signature}
            return [{**block, "thinking": "", "signature": ""}, *deltas]
    return [{**block, "input": {}}, {"type": "input_json_delta", "partial_json": json.dumps(block["input"])}]


def claude_text(text: str) -> Script:
    return claude_blocks({"type": "text", "text": text})


def claude_call(name: str, arguments: Json) -> Script:
    return claude_blocks({"type": "tool_use", "id": f"toolu_{name}", "name": name, "input": arguments})


def native(item: Json) -> Script:
    """An answer of the Responses API with one item."""
    ident = f"resp_{item['id']}"
    whole = {"id": ident, "object": "response", "created_at": 1, "model": "m", "status": "completed", "output": [item]}
    usage = {"input_tokens": 10, "output_tokens": 3, "total_tokens": 13}
    begun = {**whole, "status": "in_progress", "output": [], "usage": None}
    events: list[Json] = [
        {"type": "response.created", "response": begun},
        {"type": "response.output_item.added", "output_index": 0, "item": {**item, "status": "in_progress"}},
        {"type": "response.output_item.done", "output_index": 0, "item": item},
        {"type": "response.completed", "response": {**whole, "usage": usage}},
    ]
    return stream(named(*({**event, "sequence_number": number} for number, event in enumerate(events))))


def native_text(text: str) -> Script:
    part = {"type": "output_text", "text": text, "annotations": []}
    return native({"type": "message", "id": "msg_1", "status": "completed", "role": "assistant", "content": [part]})


def native_call(name: str, arguments: Json) -> Script:
    item = {"id": f"i_{name}", "status": "completed", "call_id": f"call_{name}", "name": name}
    if name == "apply_patch":
        return native({"type": "custom_tool_call", **item, "input": arguments["input"]})
    return native({"type": "function_call", **item, "arguments": json.dumps(arguments)})
