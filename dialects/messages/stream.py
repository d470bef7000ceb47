"""Chunks of one answer → the events of an Anthropic message, and their bytes.

https://platform.claude.com/docs/en/build-with-claude/streaming. A message is a list of blocks. One is open at a time, and
its index is the number of those before it. An error event ends a stream that failed; message_stop one that did not.
"""

import re
from hashlib import sha256
from typing import Any, Final

from providers import codec
from providers.chunks import says_something
from providers.contract import Batch, Json
from providers.errors import Failure, UpstreamBadOutput
from providers.runs import Run
from providers.sse import append_event

from .. import seal
from ..chat.stream import escape_line_ends
from ..contract import ClientRequest, Envelope, Renderer
from .ends import message_start, stop_reason, used
from .errors import error_body
from .wanted import Wanted

_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,40}", re.ASCII)  # of a call, as Claude takes it
_DELTA: Final = (
    b'event: content_block_delta\ndata: {"type":"content_block_delta","index":%d,"delta":{"type":"text_delta","text":'
)
_DELTA_END: Final = b"}}\n\n"
_NONE: Final = "{}"  # the arguments of a call that has none
_RUN_END: Final = b'"' + _DELTA_END


def render(request: ClientRequest, envelope: Envelope, reasoning: bool, begun: Renderer | None = None) -> Renderer:
    """Return the primed renderer of a streamed answer. What a native call gave is passed on as it came."""
    if begun is not None:
        return begun
    renderer = _render(request, envelope, reasoning)
    next(renderer)
    return renderer


def _render(request: ClientRequest, envelope: Envelope, reasoning: bool) -> Renderer:
    message = MessageEvents(request, envelope, reasoning)
    native = False
    data: bytes | bytearray = b""
    while True:
        try:
            batch = yield data
        except Failure as failure:
            return bytes(_frame(error_body(failure, envelope.request_id)))
        if batch is None:
            break
        native = native or bool(batch.raw)
        data = batch.raw if native else _frames_of(batch, message)
    if native:
        return b""
    return bytes(_frames(message.end()))


def _frames_of(batch: Batch, message: "MessageEvents") -> bytes | bytearray:
    """Return the bytes of what a batch adds. Text for the text block that is open, nearly all there is, goes a short way."""
    if not batch.chunks:
        return _frames(message.wait())
    if type(batch.chunks) is Run and batch.chunks.field == "content" and message.open == "text":
        run = batch.chunks
        message.shown += run.characters
        before = _DELTA % message.index + b'"'
        return before + (_RUN_END + before).join(run.texts) + _RUN_END
    data = bytearray()
    for chunk in batch.chunks:
        match chunk:
            case {"choices": [{"delta": {"content": str(text), **rest}, "finish_reason": None}]} if (
                text and message.open == "text" and not rest
            ):
                message.shown += len(text)
                data += _DELTA % message.index
                data += codec.encode(text)
                data += _DELTA_END
            case _:
                data += _frames(message.see(chunk))
    return escape_line_ends(data)


def _frames(events: list[Json]) -> bytearray:
    data = bytearray()
    for event in events:
        data += _frame(event)
    return data


def _frame(event: Json) -> bytearray:
    data = bytearray(b"event: %b\n" % event["type"].encode())
    append_event(data, event)
    return escape_line_ends(data)


class _ToolUse:
    """A call of the answer, and what of its arguments waits until its block may be opened."""

    def __init__(self, ident: str) -> None:
        self.id = ident
        self.name = ""  # some hosts tell it after the id
        self.pieces: list[str] = []  # of its arguments, all that came
        self.closed = False


class MessageEvents:
    """The state of one answer. `see` and `end` return the events that a chunk, and the end, add."""

    def __init__(self, request: ClientRequest, envelope: Envelope, reasoning: bool) -> None:
        self.wanted: Wanted = request.answer or Wanted()
        self.envelope = envelope
        self.carries = self.wanted.thinking and reasoning  # thinking blocks are shown
        self.started = False
        self.open = ""  # the type of the block that is open
        self.index = -1  # of the block that was opened last
        self.shown = 0  # characters
        self.tools: dict[int, _ToolUse] = {}  # by index of the call
        self.tool: int | None = None  # the call whose block is open
        self.waiting: dict[int, None] = {}  # calls that came while another one was not complete
        self.ids = set(self.wanted.call_ids)
        self.sealed: Json = {}  # what the upstream wants back and no block has carried yet
        self.unseen: list[str] = []  # thinking that the client is not shown, for the seal
        self.refused: list[str] = []
        self.finish: str | None = None
        self.stopped_by: Any = None
        self.usage: Json = {}

    def see(self, chunk: Json) -> list[Json]:
        """Return the events that a chunk adds. Raises BadOutput for arguments of a call that was complete."""
        self.usage = chunk.get("usage") or self.usage
        if not self.started and not says_something(chunk):
            return []
        events = self._begin()
        for choice in chunk["choices"]:
            delta = choice["delta"]
            if self.carries:
                events += self._think(delta)
            if text := delta.get("content"):
                events += self._write(text)
            if refusal := delta.get("refusal"):
                self.refused.append(refusal)
                events += self._write(refusal)
            for fragment in delta.get("tool_calls") or ():
                events += self._call(fragment)
            self.finish = self.finish or choice.get("finish_reason")
            self.stopped_by = choice.get("stop_reason") or self.stopped_by
        return events

    def end(self) -> list[Json]:
        """Return the last events."""
        events = self._begin()
        for at in list(self.waiting):
            events += self._open_tool(at)
        events += self._close()
        usage = used(self.usage, self.envelope, self.shown)
        reason = stop_reason(self.finish, self.stopped_by, bool(self.tools), self.wanted, usage, self.envelope.context)
        delta: Json = {"stop_reason": reason, "stop_sequence": None, "stop_details": None}
        if reason == "stop_sequence":
            delta["stop_sequence"] = self.stopped_by
        if reason == "refusal":
            refused = "".join(self.refused) or None
            delta["stop_details"] = {"type": "refusal", "category": None, "explanation": refused}
        return [*events, {"type": "message_delta", "delta": delta, "usage": usage}, {"type": "message_stop"}]

    def wait(self) -> list[Json]:
        """Return the events that keep a client waiting which is shown thinking; none where anything else has been said.

        To the watchdog of Claude Code a stream of nothing but pings is dead after five minutes.
        """
        if not self.carries or self.open not in ("", "thinking") or (self.index >= 0 and not self.open):
            return []
        events = self._begin() if self.open else [*self._begin(), *self._open_thinking()]
        return [*events, self._delta("thinking_delta", "thinking", "")]

    def _begin(self) -> list[Json]:
        if self.started:
            return []
        self.started = True
        return [message_start(self.envelope)]

    def _block(self, block: Json) -> list[Json]:
        """Return the events that open a block, after the end of the one that is open."""
        events = self._close()
        self.open = block["type"]
        self.index += 1
        return [*events, {"type": "content_block_start", "index": self.index, "content_block": block}]

    def _delta(self, kind: str, field: str, text: str) -> Json:
        self.shown += len(text)
        return {"type": "content_block_delta", "index": self.index, "delta": {"type": kind, field: text}}

    def _close(self) -> list[Json]:
        events: list[Json] = []
        match self.open:
            case "":
                return events
            case "thinking":
                signature = {"type": "signature_delta", "signature": self._signature()}
                events.append({"type": "content_block_delta", "index": self.index, "delta": signature})
            case "tool_use" if self.tool is not None:
                tool, self.tool = self.tools[self.tool], None
                tool.closed = True
                if not any(tool.pieces):
                    tool.pieces = [_NONE]  # as the translator may say at the end
                    events.append(self._delta("input_json_delta", "partial_json", _NONE))
        self.open = ""
        return [*events, {"type": "content_block_stop", "index": self.index}]

    def _think(self, delta: Json) -> list[Json]:
        """Note what the upstream wants back, and return the events of its thinking."""
        events: list[Json] = []
        for name, field in seal.FIELDS.items():
            if type(found := delta.get(field)) is list and found:
                self.sealed.setdefault(name, []).extend(found)
        if text := delta.get("reasoning_content"):
            if self.open != "thinking":
                events = self._open_thinking()
            if self.wanted.thinking_text:
                events.append(self._delta("thinking_delta", "thinking", text))
            else:
                self.unseen.append(text)
        return events

    def _open_thinking(self) -> list[Json]:
        return self._block({"type": "thinking", "thinking": "", "signature": ""})

    def _signature(self) -> str:
        text = {"text": "".join(self.unseen)} if self.unseen else {}
        fields = {"by": self.envelope.provider, "model": self.envelope.upstream_model, **text, **self.sealed}
        self.sealed, self.unseen = {}, []
        return seal.signature(fields)

    def _write(self, text: str) -> list[Json]:
        events = [] if self.open == "text" else self._block({"type": "text", "text": ""})
        return [*events, self._delta("text_delta", "text", text)]

    def _call(self, fragment: Json) -> list[Json]:
        """Return the events of a piece of a call. Gives it the id that the client is told: the reasoning cache needs that one."""
        at = fragment["index"]
        function = fragment.get("function") or {}
        tool = self.tools.get(at)
        events: list[Json] = []
        if new := tool is None:
            tool = self.tools[at] = _ToolUse(self._own_id(fragment.get("id"), at))
        if "id" in fragment:
            fragment["id"] = tool.id
        if name := function.get("name"):
            tool.name = tool.name or self.wanted.tool_names.get(name, name)
        if self.carries and (extra := fragment.get("extra_content")):
            self.sealed.setdefault("extra", {})[tool.id] = extra
        piece = function.get("arguments") or ""
        if tool.closed:
            if piece.strip() and not (piece == _NONE and tool.pieces == [_NONE]):
                raise UpstreamBadOutput("The upstream sent more arguments of a tool call that was complete.")
            return events
        if piece:
            tool.pieces.append(piece)
        if new:
            if not tool.name or self.waiting or (self.tool is not None and not self._complete()):
                self.waiting[at] = None
                return events
            return self._open_tool(at)
        if at == self.tool and piece:
            events.append(self._delta("input_json_delta", "partial_json", piece))
        elif at not in self.waiting and at != self.tool:
            raise UpstreamBadOutput("The upstream sent a tool call in an order that cannot be told.")
        return events

    def _complete(self) -> bool:
        """Whether the arguments of the call that is open are whole JSON. Looked at once: calls that wait go on waiting."""
        assert self.tool is not None
        try:
            codec.decode("".join(self.tools[self.tool].pieces).encode("utf-8", "surrogatepass"))
        except ValueError:
            return False
        return True

    def _open_tool(self, at: int) -> list[Json]:
        """Return the events that open the block of a call, with what there is of its arguments."""
        tool = self.tools[at]
        self.waiting.pop(at, None)
        events = self._open_thinking() if self.sealed and self.open != "thinking" else []
        events += self._block({"type": "tool_use", "id": tool.id, "name": tool.name, "input": {}})
        self.tool = at
        return events + [self._delta("input_json_delta", "partial_json", piece) for piece in tool.pieces]

    def _own_id(self, ident: Any, at: int) -> str:
        """Return the id that the client is told of a call, and note it as taken."""
        if not isinstance(ident, str) or not _ID.fullmatch(ident) or ident in self.ids:
            ident = f"toolu_{sha256(f'{self.envelope.unique}/{at}'.encode()).hexdigest()[:24]}"
        self.ids.add(ident)
        return str(ident)
