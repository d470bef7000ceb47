"""What an answer of Claude has said so far, and the chat completion chunks that each event makes of it.

A message is a list of blocks, each opened, grown and closed; of these the client gets text, tool calls and, when shown,
thinking. Blocks of server tools, and everything that is new, pass by.
"""

from collections.abc import Mapping
from contextlib import suppress
from types import MappingProxyType
from typing import Any, NamedTuple

import msgspec

from .. import density
from ..chunks import after_opening, chunk, tool_call, usage_chunk
from ..common import output_order
from ..common.arguments import Beginning, as_object, as_text
from ..common.bounds import MAX_CALLS, Kept, too_many_calls
from ..common.finish_reasons import reason_of
from ..common.tools import CallIds
from ..common.typed import text as text_of
from ..common.usage import count, total_of
from ..contract import Json
from ..errors import UpstreamBadOutput

_GAP = "\n\n"
# What the sums are made of. An upstream must not fill memory with names of its own.
_COUNTED = frozenset(
    {
        *("input_tokens", "output_tokens", "cache_read_input_tokens", "cache_creation_input_tokens"),
        *("prompt_tokens", "completion_tokens", "cache_creation", "output_tokens_details", "iterations"),
    }
)


class Way(NamedTuple):
    """What the answer's translator must know of the request."""

    custom: frozenset[str] = frozenset()  # names of custom tools, which were sent as functions of one text
    json_tool: str | None = None  # the tool whose input is the answer: response_format where it had to be emulated
    names: Mapping[str, str] = MappingProxyType({})  # of tools that were renamed: the name sent → the client's


class ToolUse:
    """A tool_use block: where its arguments go."""

    def __init__(self, kind: str, index: int, given: Json | None) -> None:
        self.kind = kind  # function; custom; json: the answer itself
        self.index = index  # among the tool calls, not among the blocks
        self.given = given or {}  # arguments that came whole with the block
        self.pieces: list[str] = []  # of a custom tool's input, which can only be read at its end
        self.empty = True  # nothing has come, or a placeholder for what follows
        self.beginning = Beginning()


class MessageState:
    """The state of one answer. Each method takes an event and gives the chunks it makes."""

    def __init__(self, way: Way, reasoning: bool) -> None:
        self.way = way
        self.reasoning = reasoning
        self.started = False
        self.opened = False  # a block was: from here on the answer cannot begin anew
        self.said = False  # the client has got the role
        self.kept = Kept()  # all that the following fields hold
        self.order: dict[int, Json] = {}  # block → what output_order says of it
        self.thinking: int | None = None  # the block whose thinking was shown last
        self.length = 0  # characters of content so far
        self.spoken = False  # some of them are no blanks
        self.apart = False  # the next piece of text is not of the text before it
        self.fresh = False  # a text block was opened of which only blanks have come
        self.last = ""  # type of the block that was opened last
        self.calls = 0
        self.ids = CallIds()
        self.counted: Json = {}
        self.final = False  # its output tokens were counted after all that was said
        self.stop: str | None = None
        self.told = False  # why the message ended, and no block was opened since
        self.details: Json = {}
        self.tools: dict[int, ToolUse] = {}
        self.early: set[int] = set()  # blocks that arguments came for before they were opened
        self.thoughts: dict[int, tuple[Json, list[str]]] = {}  # block → (as it was opened, what was thought)
        self.cited: dict[int, list[Json]] = {}  # block of text → its sources
        self.annotations: list[Json] = []
        # Where the answer was to come as a tool call but need not, text may be a preamble: it waits for the end.
        self.held: list[str] | None = [] if way.json_tool else None
        self.answered = False  # by the tool that stands for response_format

    def begin(self, event: Json) -> list[Json]:
        if self.opened:  # what a proxy does that tries again in the middle; the client has half of the first answer
            raise UpstreamBadOutput("The upstream began its answer a second time.")
        self._count(event["message"].get("usage"))
        self.started = True
        return []

    def open(self, event: Json) -> list[Json]:
        at, block = event["index"], event["content_block"]
        self.opened, self.told, self.final = True, False, False
        last, self.last = self.last, block.get("type")
        match block:
            case {"type": "text"}:
                self.fresh = True
                self._place(at, {"type": "text", "start": self.length, "end": self.length})
                self.cited[at] = []
                for citation in block.get("citations") or ():
                    self._cite(at, citation)
                # Neighbours are one text, cut by its sources; after anything else it is another one.
                self.apart = self.spoken and last != "text"
                return self.text(at, block.get("text"))
            case {"type": "tool_use"}:
                name = text_of(block.get("name"))
                if not name:
                    raise UpstreamBadOutput("The upstream sent a tool call without a name.")
                id = "" if name == self.way.json_tool else self.ids.own(block.get("id"))
                self._place(at, {"type": "call", "id": id})
                return self._call(at, id, name, block.get("input"))
            case {"type": "thinking" | "redacted_thinking"}:
                self._place(at, {"type": "thinking"})
                self.kept.add_json(block)
                self.thoughts[at] = block, []
                return self._think(at, block.get("thinking"))
        self._place(at, {"type": "other"})
        return []

    def _place(self, at: int, entry: Json) -> None:
        self.kept.add()
        self.order[at] = entry

    def _cite(self, at: int, citation: Json) -> None:
        self.kept.add_json(citation)
        self.cited[at].append(citation)

    def text(self, at: int, text: str | None) -> list[Json]:
        """A piece of a text block, with a blank line where it begins a text of its own and does not say so itself."""
        if not text:
            return []
        if type(text) is not str:
            raise TypeError("a text that is none")
        if self.fresh and not text.isspace():
            if self.apart and not text[0].isspace():
                text = _GAP + text
                self.order[at]["start"] += len(_GAP)
            self.fresh, self.spoken = False, True
        self.apart = False
        if self.held is not None:
            self.kept.add(len(text))
            self.held.append(text)
            return []
        self.length += len(text)
        return [chunk({"content": text})]

    def skip(self, characters: int) -> None:
        """Count texts that were not looked at."""
        self.length += characters

    def on_block_delta(self, event: Json) -> list[Json]:
        at = event["index"]
        self.final = False
        match event["delta"]:
            case {"type": "text_delta", "text": text}:
                return self.text(at, text)
            case {"type": "input_json_delta", "partial_json": piece}:
                if at not in self.order and at not in self.early:
                    self.kept.add()
                    self.early.add(at)
                tool = self.tools.get(at)
                return self.add_arguments(tool, as_text(piece)) if tool and piece else []
            case {"type": "thinking_delta", "thinking": text} if at in self.thoughts:
                self.kept.add(len(text))
                self.thoughts[at][1].append(text)
                return self._think(at, text)
            case {"type": "signature_delta", "signature": signature} if at in self.thoughts:
                self.kept.add(len(signature))
                self.thoughts[at][0]["signature"] = signature
            case {"type": "citations_delta", "citation": dict(citation)} if at in self.cited:
                self._cite(at, citation)
        return []

    def close(self, event: Json) -> list[Json]:
        at = event["index"]
        if at in self.cited:
            citations, place = self.cited.pop(at), self.order[at]
            place["end"] = self.length
            for one in citations:
                if one.get("url"):
                    self.annotations.append(_annotation(one, place["start"], self.length))
        return self._settle(self.tools.pop(at)) if at in self.tools else []

    def on_message_delta(self, event: Json) -> list[Json]:
        self._stopped(event["delta"], told := event.get("usage"))
        self._count(told)
        return []

    def _stopped(self, delta: Json, told: Any) -> None:
        """Note why the message ended. told: the usage beside that."""
        self.stop = delta.get("stop_reason") or self.stop
        self.told = self.started and self.stop is not None
        self.details = delta.get("stop_details") or self.details
        self.final = self.final or (isinstance(told, dict) and told.get("output_tokens") is not None)

    def whole(self, message: Json) -> list[Json]:
        """The chunks of a message that came in one piece, from a relay that does not stream."""
        chunks = self.begin({"message": message})
        for at, block in enumerate(message["content"]):
            chunks += self.open({"index": at, "content_block": block})
            chunks += self.close({"index": at})
        self._stopped(message, message.get("usage"))
        return chunks + self.finish()

    def finish(self) -> list[Json]:
        """The last chunks, at message_stop or where a stream ends after the stop_reason."""
        if not self.started:
            raise UpstreamBadOutput("The upstream ended an answer that it never began.")
        if self.early - self.order.keys():
            raise UpstreamBadOutput("The upstream sent arguments of a tool call that it never began.")
        chunks = [piece for at in (*self.tools, *self.cited) for piece in self.close({"index": at})]
        if self.held and not self.answered:
            chunks.append(chunk({"content": "".join(self.held)}))
        if self.thoughts:
            blocks = [_thought(*one) for one in self.thoughts.values()]
            chunks.append(chunk({"thinking_blocks": blocks, **output_order.told(list(self.order.values()))}))
        last: Json = {}
        if self.annotations:
            last["annotations"] = self.annotations
        if self.stop == "refusal":
            last["refusal"] = text_of(self.details.get("explanation")) or "The model declined to answer."
        return [*chunks, chunk(last, self._reason()), usage_chunk(self.usage(), early=not self.final)]

    def usage(self) -> Json:
        """OpenAI's usage object of what the upstream has counted so far. Claude counts cached input apart."""
        rows = [self.counted]
        listed = self.counted.get("iterations")
        turns = [turn for turn in listed if isinstance(turn, dict)] if isinstance(listed, list) else []
        # After a compaction the top level counts the last turn only; the usage ledger needs them all.
        if turns and not any(turn.get("type") == "fallback_message" for turn in turns):
            rows = [turn for turn in turns if turn.get("type") in ("message", "compaction")] or rows
        told, details = total_of(rows), self.counted.get("output_tokens_details")
        hour = 0
        for row in rows:
            if isinstance(kinds := row.get("cache_creation"), dict):
                hour += count(kinds.get("ephemeral_1h_input_tokens"))
        if hour:
            before = told["prompt_tokens_details"]
            before["cache_write_1h_tokens"] = min(hour, before["cache_write_tokens"])
        if turns and isinstance(details, dict):
            thought = min(count(details.get("thinking_tokens")), told["completion_tokens"])
            told["completion_tokens_details"] = {"reasoning_tokens": thought}
        return told

    def begun(self, chunks: list[Json]) -> list[Json]:
        """The chunks, after the one that opens the answer if they are its first."""
        if self.said or not chunks:
            return chunks
        self.said = True
        return after_opening(chunks)

    def _reason(self) -> str:
        if self.stop == "tool_use" and not self.calls:
            if not self.answered:
                raise UpstreamBadOutput("The upstream stopped for a tool call that it did not send.")
            return "stop"  # the tool that stood for response_format
        return reason_of(self.stop, self.calls > 0)

    def _count(self, counted: Any) -> None:
        # Counts are cumulative, and what a later event leaves out, or has as null or 0, still holds.
        if isinstance(counted, dict):
            for name, value in counted.items():
                if name in _COUNTED and (count(value) or type(value) in (dict, list)):
                    self.counted[name] = value

    def _think(self, at: int, text: str | None) -> list[Json]:
        """A piece of thinking, with a blank line before that of another block."""
        if not text or not self.reasoning:
            return []
        if type(text) is not str:
            raise TypeError("thinking that is no text")
        if self.thinking is not None and self.thinking != at:
            text = _GAP + text
        self.thinking = at
        return [chunk({"reasoning_content": text})]

    def _call(self, at: int, id: str, name: str, given: Any) -> list[Json]:
        if name == self.way.json_tool:
            if not self.answered:  # a second answer would make the first one unreadable
                self.tools[at] = ToolUse("json", 0, given)
            self.answered = True
            return []
        if self.calls >= MAX_CALLS:
            raise too_many_calls()
        kind = "custom" if name in self.way.custom else "function"
        name = self.way.names.get(name, name)
        self.tools[at] = tool = ToolUse(kind, self.calls, given)
        self.calls += 1
        if kind == "custom":
            return [_custom(tool.index, {"name": name, "input": ""}, id=id, type="custom")]
        return [chunk(tool_call(tool.index, {"name": name, "arguments": ""}, id=id, type="function"))]

    def add_arguments(self, tool: ToolUse, piece: str) -> list[Json]:
        """A piece of a call's arguments. A placeholder is held back: `_settle` says `{}` where nothing follows."""
        if tool.empty:
            piece = tool.beginning.add(piece)
            if not piece:
                return []
            tool.empty = False
        if tool.kind == "function":
            return [chunk(tool_call(tool.index, {"arguments": piece}))]
        if tool.kind == "json":
            self.length += len(piece)
            return [chunk({"content": piece})]
        self.kept.add(len(piece))
        tool.pieces.append(piece)
        return []

    def _settle(self, tool: ToolUse) -> list[Json]:
        """The end of a tool_use block. One without arguments may have sent no JSON at all: 15 of 103 recorded."""
        chunks: list[Json] = []
        if tool.empty:
            tool.empty = False
            chunks = self.add_arguments(tool, tool.beginning.held or as_text(tool.given))
        if tool.kind == "custom" and (text := _input("".join(tool.pieces))):
            chunks.append(_custom(tool.index, {"input": text}))
        return chunks


def _thought(block: Json, pieces: list[str]) -> Json:
    if pieces:
        block["thinking"] = block.get("thinking", "") + "".join(pieces)
    return block


def _annotation(citation: Json, start: int, end: int) -> Json:
    """A web source of the text block that spans start to end of the content, in characters."""
    url = text_of(citation["url"]) or ""
    source = {"url": url, "title": text_of(citation.get("title")) or url}
    return {"type": "url_citation", "url_citation": {"start_index": start, "end_index": end, **source}}


def _custom(index: int, custom: Json, **first: str) -> Json:
    return chunk({"tool_calls": [{"index": index, **first, "custom": custom}]})


class _Called(msgspec.Struct):
    """The arguments that stand for a custom tool's text. Whatever else they hold is read, but never made."""

    input: str


_called = msgspec.json.Decoder(_Called).decode


def _input(arguments: str) -> str:
    """The text a custom tool was called with; where it was cut short, what there is of it."""
    with suppress(ValueError):
        return _called(arguments).input
    if not density.is_dense(arguments):  # what only lenient readers take
        match as_object(arguments):
            case {"input": str(text)}:
                return text
    return arguments
