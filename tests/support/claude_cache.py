"""A scripted Claude that counts its prompt cache as platform.claude.com/docs/en/build-with-claude/prompt-caching documents it.

A prompt is a row of blocks: tools, system, messages. Each mark has the prefix that ends there written, if it has enough tokens.
What an earlier request wrote is found at a mark, or up to 20 blocks before it. A token is four bytes.
"""

import json
from collections.abc import Iterator
from typing import Any, Final

from scripted import Request, Script, Upstream, answer, stream

LOOKED: Final = 20  # blocks
MOST: Final = 4  # marks


def message(blocks: list[dict[str, Any]], stop: str, usage: dict[str, Any]) -> Script:
    """A streamed answer of these whole blocks."""
    events: list[dict[str, Any]] = [
        {"type": "message_start", "message": {"id": "msg_1", "type": "message", "role": "assistant", "content": [],
         "model": "claude", "stop_reason": None, "stop_sequence": None, "usage": {**usage, "output_tokens": 1}}},
    ]  # fmt: skip
    for at, block in enumerate(blocks):
        empty = {**block, "text": ""} if block["type"] == "text" else {**block, "input": {}}
        delta = (
            {"type": "text_delta", "text": block["text"]}
            if block["type"] == "text"
            else {"type": "input_json_delta", "partial_json": json.dumps(block["input"])}
        )
        events += [
            {"type": "content_block_start", "index": at, "content_block": empty},
            {"type": "content_block_delta", "index": at, "delta": delta},
            {"type": "content_block_stop", "index": at},
        ]
    events += [
        {
            "type": "message_delta",
            "delta": {"stop_reason": stop, "stop_sequence": None},
            "usage": {"output_tokens": 20},
        },
        {"type": "message_stop"},
    ]
    return stream(b"".join(f"event: {each['type']}\ndata: {json.dumps(each)}\n\n".encode() for each in events))


def blocks_of(request: dict[str, Any]) -> Iterator[dict[str, Any]]:
    system = request.get("system", [])
    yield from request.get("tools", [])
    yield from [{"type": "text", "text": system}] if isinstance(system, str) else system
    for turn in request["messages"]:
        content = turn["content"]
        for block in [{"type": "text", "text": content}] if isinstance(content, str) else content:
            yield {"role": turn["role"], **block}


class Claude(Upstream):
    """counted: the usage of each request, in order; calls: whether each answer calls a tool. minimum: tokens of a prefix."""

    def __init__(self, minimum: int = 1024) -> None:
        super().__init__()
        self.counted: list[dict[str, Any]] = []
        self.minimum, self.calls = minimum, True
        self._written: set[str] = set()

    def heard(self, request: Request) -> Script:
        self.requests.append(request)
        asked = request.json
        usage = self.count(asked)
        if usage is None:
            return answer({"type": "error", "error": {"type": "invalid_request_error", "message": "A maximum of 4 blocks with "
                           "cache_control may be provided."}}, 400)  # fmt: skip
        self.counted.append(usage)
        if not self.calls:
            return message([{"type": "text", "text": "Done."}], "end_turn", usage)
        call = {"type": "tool_use", "id": f"toolu_{len(self.counted)}", "name": "read", "input": {"path": "a.py"}}
        return message([{"type": "text", "text": "Reading."}, call], "tool_use", usage)

    def count(self, asked: dict[str, Any]) -> dict[str, Any] | None:
        """The usage of a request; None where it has too many marks. What it has marked is written."""
        texts, sizes, marks = [], [0], []
        for at, block in enumerate(blocks_of(asked)):
            if "cache_control" in block:
                marks.append(at)
            plain = {name: value for name, value in block.items() if name != "cache_control"}
            texts.append(json.dumps(plain, sort_keys=True))
            sizes.append(sizes[-1] + len(texts[-1]) // 4)
        if len(marks) > MOST:
            return None
        prefixes = [json.dumps(texts[: at + 1]) for at in range(len(texts))]
        read = written = 0
        for mark in marks:
            hits = [at for at in range(mark, max(-1, mark - LOOKED), -1) if prefixes[at] in self._written]
            read = max(read, sizes[hits[0] + 1] if hits else 0)
        for mark in marks:
            if sizes[mark + 1] >= self.minimum:
                self._written.add(prefixes[mark])
                written = max(written, sizes[mark + 1] - read)
        hour = '"ttl": "1h"' in json.dumps(asked)
        return {
            "input_tokens": sizes[-1] - read - written,
            "cache_creation_input_tokens": written,
            "cache_read_input_tokens": read,
            "cache_creation": {
                "ephemeral_5m_input_tokens": 0 if hour else written,
                "ephemeral_1h_input_tokens": written if hour else 0,
            },
        }
