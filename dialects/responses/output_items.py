"""The items of an answer while they are open: each tells its beginning, its pieces and its end, and is then whole. Pure.

`close(status)` returns the item as it stands in the Response, or None for a call that cannot be told because it was cut.
"""

import re
from typing import Any, Final

from providers import codec
from providers.contract import Json
from providers.openai.responses.pairs import BY_KIND

from .events import Events
from .response_object import flat_annotation
from .tables import TYPES
from .tools_raised import InputText, custom_input, cut_input, named, typed_fields
from .wanted import LoweredTool

_NO_LOGPROBS: Final = b"[]"


class Message:
    """A message: a text, a refusal, or one behind the other."""

    def __init__(self, events: Events, ident: str, index: int) -> None:
        self.events, self.index = events, index
        self.item: Json = {"id": ident, "type": "message", "status": "in_progress", "role": "assistant", "content": []}
        self.pieces: list[str] = []
        self.logprobs: list[Any] = []
        self.part: Json | None = None  # the open part
        self.head = b""
        events.say("response.output_item.added", output_index=index, item=self.item)

    def text(self, text: str, logprobs: list[Any] | None = None) -> None:
        """Go on with the text, in a part of its own where something else is open."""
        if self.part is None or self.part["type"] != "output_text":
            self._open(
                {"type": "output_text", "text": "", "annotations": [], "logprobs": []}, "response.output_text.delta"
            )
        if logprobs:
            self.logprobs += logprobs
        if text:
            self.pieces.append(text)
            self.events.piece(self.head, text, codec.encode(logprobs) if logprobs else _NO_LOGPROBS)

    def refusal(self, text: str) -> None:
        """Go on with the refusal."""
        if self.part is None or self.part["type"] != "refusal":
            self._open({"type": "refusal", "refusal": ""}, "response.refusal.delta")
        self.pieces.append(text)
        self.events.piece(self.head, text)

    def cite(self, annotations: list[Json]) -> None:
        """Tell annotations of the open text."""
        assert self.part is not None
        known, length = self.part["annotations"], sum(map(len, self.pieces))
        for each in annotations:
            flat = flat_annotation(each, length)
            self.events.say(
                "response.output_text.annotation.added", **self._place(), annotation_index=len(known), annotation=flat
            )
            known.append(flat)

    @property
    def text_part(self) -> Json | None:
        """The open part, if it is a text."""
        return self.part if self.part is not None and self.part["type"] == "output_text" else None

    def beat(self) -> None:
        """Write an empty piece."""
        if self.part is not None:
            self.events.piece(self.head, "", _NO_LOGPROBS if self.text_part is not None else b"")

    def close(self, status: str) -> Json:
        self._close_part()
        self.item["status"] = status
        self.events.say("response.output_item.done", output_index=self.index, item=self.item)
        return self.item

    def so_far(self) -> Json:
        """Return the item as it stands in an answer that has failed."""
        self._fill()
        return {**self.item, "status": "incomplete"}

    def _place(self) -> Json:
        at = len(self.item["content"]) - 1
        return {"item_id": self.item["id"], "output_index": self.index, "content_index": at}

    def _open(self, part: Json, delta: str) -> None:
        self._close_part()
        self.pieces, self.logprobs, self.part = [], [], part
        self.item["content"].append(part)
        self.head = self.events.head(delta, self._place())
        self.events.say("response.content_part.added", **self._place(), part=part)

    def _fill(self) -> None:
        if self.part is None:
            return
        if self.part["type"] == "refusal":
            self.part["refusal"] = "".join(self.pieces)
        else:
            self.part["text"], self.part["logprobs"] = "".join(self.pieces), self.logprobs

    def _close_part(self) -> None:
        if (part := self.part) is None:
            return
        self._fill()
        if part["type"] == "refusal":
            self.events.say("response.refusal.done", **self._place(), refusal=part["refusal"])
        else:
            self.events.say("response.output_text.done", **self._place(), text=part["text"], logprobs=part["logprobs"])
        self.events.say("response.content_part.done", **self._place(), part=part)
        self.part = None


class Reasoning:
    """Thinking: shown as a summary of one part, or only carried."""

    def __init__(self, events: Events, ident: str, index: int) -> None:
        self.events, self.index = events, index
        self.item: Json = {"id": ident, "type": "reasoning", "summary": []}
        self.place: Json = {"item_id": ident, "output_index": index, "summary_index": 0}
        self.pieces: list[str] = []
        self.head = b""
        events.say("response.output_item.added", output_index=index, item=self.item)

    def text(self, text: str) -> None:
        """Go on with the summary."""
        if not self.pieces:
            self.head = self.events.head("response.reasoning_summary_text.delta", self.place)
            part = {"type": "summary_text", "text": ""}
            self.events.say("response.reasoning_summary_part.added", **self.place, part=part)
        self.pieces.append(text)
        self.events.piece(self.head, text)

    def beat(self) -> None:
        """Write an empty piece."""
        if self.pieces:
            self.events.piece(self.head, "")

    def seal(self, sealed: str) -> None:
        """Add what the upstream wants back."""
        self.item["encrypted_content"] = sealed

    def close(self, status: str) -> Json:
        if self.pieces:
            part = {"type": "summary_text", "text": "".join(self.pieces)}
            self.item["summary"] = [part]
            self.events.say("response.reasoning_summary_text.done", **self.place, text=part["text"])
            self.events.say("response.reasoning_summary_part.done", **self.place, part=part)
        self.events.say("response.output_item.done", output_index=self.index, item=self.item)
        return self.item

    def so_far(self) -> Json:
        """Return the item as it stands in an answer that has failed."""
        parts = [{"type": "summary_text", "text": "".join(self.pieces)}] if self.pieces else []
        return {**self.item, "summary": parts}


class Call:
    """A call of a tool. Those of functions and of custom tools are told piece by piece; the others once they are whole."""

    def __init__(
        self, events: Events, unique: str, index: int, call_id: str, tool: LoweredTool, plain: bool = False
    ) -> None:
        self.events, self.index, self.tool, self.plain = events, index, tool, plain
        self.input = InputText()
        self.pieces: list[str] = []
        self.whole = Wholeness()
        kind, short = TYPES[tool.kind]
        head: Json = {"id": f"{short}_ms{unique}{index:04x}", "type": kind, "status": "in_progress", "call_id": call_id}
        self.item = head
        self.head = b""
        form = BY_KIND.get(tool.kind)
        self.field, self.event = (form.field, form.event) if form is not None else ("", "")
        if self.field:
            self.item = {**head, **named(tool), self.field: ""}
            self.place: Json = {"item_id": head["id"], "output_index": index}
            self.head = events.head(f"{self.event}.delta", self.place)
            events.say("response.output_item.added", output_index=index, item=self.item)

    def arguments(self, text: str) -> None:
        """Go on with the arguments."""
        if text:
            self.pieces.append(text)
            if self.field == "input" and not self.plain:
                text = self.input.feed(text)
            if self.field and text:
                self.events.piece(self.head, text)

    def complete(self) -> bool:
        """Whether the arguments are a whole JSON object. Each piece is looked at once."""
        return self.whole.after(self.pieces)

    def beat(self) -> None:
        """Write an empty piece."""
        if self.head:
            self.events.piece(self.head, "")

    def close(self, status: str) -> Json | None:
        item = self._filled(status)
        if item is None:
            return None
        if self.field:
            text = item[self.field]
            told = self.plain or self.input.begun if self.field == "input" else self.pieces
            if text and not told:
                self.events.piece(self.head, text)
            self.events.say(f"{self.event}.done", **self.place, **{self.field: text})
        else:
            self.events.say(
                "response.output_item.added", output_index=self.index, item={**item, "status": "in_progress"}
            )
        self.events.say("response.output_item.done", output_index=self.index, item=item)
        return item

    def so_far(self) -> Json | None:
        """Return the item as it stands in an answer that has failed."""
        return self._filled("incomplete")

    def _filled(self, status: str) -> Json | None:
        """Return the item with its arguments. Raises BadOutput for those of a finished call that do not fit its tool."""
        text = "".join(self.pieces)
        cut = status == "incomplete"
        match self.field:
            case "arguments":
                return {**self.item, "status": status, "arguments": text or ("" if cut else "{}")}
            case "input" if self.plain:
                return {**self.item, "status": status, "input": text}
            case "input" if self.input.begun:
                if not cut:
                    self.input.check(self.tool.name, text)
                return {**self.item, "status": status, "input": "".join(self.input.pieces)}
            case "input":
                return {**self.item, "status": status, "input": cut_input(text) if cut else custom_input(text)}
        if cut:  # its fields may be half of what was meant
            return None
        return {**self.item, "status": status, **typed_fields(self.tool.kind, text)}


_TOKENS: Final = re.compile(r'["\\{}\[\]]')


class Wholeness:
    """Finds the end of a JSON object or array in text that comes in pieces, each of which is read once."""

    def __init__(self) -> None:
        self.seen = 0  # pieces
        self.depth = 0
        self.quoted = False
        self.begun = False
        self.escaped = False

    def after(self, pieces: list[str]) -> bool:
        """Whether the value is whole with these pieces, of which earlier calls have seen the first."""
        for piece in pieces[self.seen :] if self.seen < len(pieces) else ():
            self._read(piece)
        self.seen = len(pieces)
        return self.begun and self.depth == 0

    def _read(self, piece: str) -> None:
        start = 0
        if self.escaped and piece:
            start, self.escaped = 1, False
        while (found := _TOKENS.search(piece, start)) is not None:
            start = found.end()
            match found[0]:
                case "\\":
                    if self.quoted:
                        self.escaped = start == len(piece)
                        start += 1
                case '"':
                    self.quoted = not self.quoted
                case _ if self.quoted:
                    pass
                case "{" | "[":
                    self.depth, self.begun = self.depth + 1, True
                case _:
                    self.depth -= 1
