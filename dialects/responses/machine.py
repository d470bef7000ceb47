"""Chunks of the hub → events and the Response. Pure: what it makes depends on nothing but what it is fed.

One item is open at a time; the next is added when it is done. Pieces of a call that comes while another is unfinished wait
for their turn.
"""

from typing import Any, Final

from providers import codec
from providers.common import output_order
from providers.contract import Json
from providers.errors import Failure, UpstreamBadOutput
from providers.openai.responses.pairs import BY_KIND, INCOMPLETE

from .. import seal
from ..contract import Envelope
from .errors import stream_error
from .events import Events
from .output_items import Call, Message, Reasoning
from .response_object import LARGEST_STORED, ended, flat_annotation, response_object, usage_of
from .wanted import LoweredTool, Wanted

# Fields of a delta that come when a piece of thinking is done.
_CLOSING: Final = ("thinking_blocks", "reasoning_items")


class Machine:
    """The state of one answer. `events.data` holds what is to be sent; `response` is the Response once the answer has ended."""

    def __init__(self, wanted: Wanted, envelope: Envelope, reasoning: bool, quiet: bool = False) -> None:
        self.wanted = wanted
        self.answer_by(envelope, reasoning)
        self.events = Events(quiet)
        self.begun = response_object(wanted, envelope)
        self.response: Json | None = None
        self.opened = False
        self.output: list[Json] = []
        self.item: Message | Reasoning | Call | None = None
        self.carry: Json = {}  # what the next reasoning item is to carry
        self.call = -1  # the hub's index of the open call
        self.closed: dict[
            int, str
        ] = {}  # and of those that are done → what may still come: translators give none "{}" late
        self.waiting: dict[int, list[Json]] = {}  # and of those that wait → their pieces
        self.early: list[Json] = []  # citations that come before any text
        self.refused = False
        self.finish: str | None = None
        self.usage: Json | None = None
        self.tier: str | None = None

    def answer_by(self, envelope: Envelope, reasoning: bool) -> None:
        """Go by who gives the answer, and by whether the client is shown what it thinks."""
        self.envelope = envelope
        self.shown, self.carried = reasoning and self.wanted.summary, reasoning and self.wanted.carried

    def open(self) -> None:
        """Write what a stream begins with, unless it has begun."""
        if not self.opened:
            self.opened = True
            self.events.say("response.created", response=self.begun)
            self.events.say("response.in_progress", response=self.begun)

    def feed(self, chunk: Json) -> None:
        """Write the events of a chunk. Raises BadOutput for pieces that belong nowhere."""
        self.open()
        if usage := chunk.get("usage"):
            self.usage = usage
        if tier := chunk.get("service_tier"):
            self.tier = tier
        for choice in chunk["choices"]:
            if choice.get("index", 0) == 0:
                self._delta(choice["delta"], choice.get("logprobs"))
                self.finish = self.finish or choice.get("finish_reason")

    def end(self) -> None:
        """Write the end of an answer that is complete. Raises BadOutput if it is not."""
        if self.finish is None:
            raise UpstreamBadOutput("The upstream ended its answer without saying why.")
        self.open()
        reason = None if self.finish == "content_filter" and self.refused else INCOMPLETE.get(self.finish)
        status = "incomplete" if reason else "completed"
        self._close(status)
        if self.carry:
            self._carry_on()
        if not self.output and status == "completed":
            self._message().text("")
            self._close(status)
        self._ended(status, {"reason": reason} if reason else None)
        self.events.say(f"response.{status}", response=self.response)

    def fail(self, failure: Failure) -> None:
        """Write the end of an answer that has failed."""
        self.open()
        told, error = stream_error(failure)
        so_far = self.item.so_far() if self.item is not None else None
        output = [*self.output, so_far] if so_far is not None else self.output
        self.events.say("error", **told)
        self.response = ended(self.begun, "failed", output, error=error, usage=self._usage(), store=False)
        self.events.say("response.failed", response=self.response)

    def beat(self) -> None:
        """Write an event that says nothing: some clients count events, not bytes, to see whether a stream is alive."""
        if self.item is not None and self.item.head:  # it has been shown
            self.item.beat()
        elif not self.output:
            if self.opened:
                self.events.say("response.in_progress", response=self.begun)
            self.open()

    def _ended(self, status: str, incomplete: Json | None) -> None:
        more: Json = {"incomplete_details": incomplete, "usage": self._usage(), "service_tier": self.tier or "default"}
        self.response = ended(self.begun, status, self.output, **more)
        if self.wanted.stored and len(codec.encode(self.response)) > LARGEST_STORED:
            self.response["store"] = False

    def _usage(self) -> Json | None:
        return usage_of(self.usage) if self.usage else None

    def _delta(self, delta: Json, logprobs: Any) -> None:
        if text := delta.get("reasoning_content"):
            self._thinks(text)
        if self.carried and (order := delta.get(output_order.FIELD)) and any(delta.get(field) for field in _CLOSING):
            self.carry["order"] = order
        for name, field in seal.FIELDS.items():
            if found := delta.get(field):
                self._carries(name, found, field in _CLOSING)
        if text := delta.get("content"):
            asked = logprobs.get("content") if logprobs and self.wanted.logprobs else None
            self._message().text(text, [_logprob(each) for each in asked] if asked else None)
            if self.early:
                early, self.early = self.early, []
                self._cite(early)
        if text := delta.get("refusal"):
            self.refused = True
            self._message().refusal(text)
        if cited := delta.get("annotations"):
            self._cite([each for each in cited if each.get("type") == "url_citation"])
        for piece in delta.get("tool_calls") or ():
            self._call_piece(piece)
        for image in delta.get("images") or ():
            self._image(image)

    # Thinking

    def _thinks(self, text: str) -> None:
        if self.carried:
            self.carry.setdefault("text", []).append(text)
        if self.shown:
            if not isinstance(self.item, Reasoning):
                self._close()
                self.item = Reasoning(self.events, self._ident("rs"), len(self.output))
            self.item.text(text)
        elif self.carried and self.item is not None:
            self._close()

    def _carries(self, name: str, found: list[Json], closing: bool) -> None:
        """Keep what the upstream wants back. closing: it came with the end of a piece of thinking, whose item is done."""
        if self.carried:
            self.carry.setdefault(name, []).extend(found)
        if closing and isinstance(self.item, Reasoning):
            self._close()

    def _sealed(self) -> str:
        """Take what is carried; return it sealed. The text goes only where nothing says the same."""
        carry, self.carry = self.carry, {}
        text = "".join(carry.pop("text", ()))
        if text and not (carry.get("blocks") or carry.get("items")):
            carry["text"] = text
        return seal.envelope({"by": self.envelope.provider, "model": self.envelope.upstream_model, **carry})

    def _carry_on(self) -> None:
        """Write a reasoning item that only carries."""
        item = Reasoning(self.events, self._ident("rs"), len(self.output))
        item.seal(self._sealed())
        self.output.append(item.close("completed"))

    # Items

    def _ident(self, short: str) -> str:
        return f"{short}_ms{self.envelope.unique}{len(self.output):04x}"

    def _close(self, status: str = "completed") -> None:
        """Close the open item, and calls that wait behind it."""
        self._close_one(status)
        while self.waiting:
            self._open_waiting()
            self._close_one(status)

    def _close_one(self, status: str = "completed") -> None:
        item = self.item
        if isinstance(item, Call):
            self.closed[self.call] = "" if item.pieces else "{}"
            self.call = -1
            if not item.field and item.complete():
                status = "completed"
        elif isinstance(item, Reasoning) and self.carry:
            item.seal(self._sealed())
        if item is not None:
            # It raises for arguments that do not fit: then the item stays open, and is told as incomplete.
            done = item.close(status)
            if done is not None:
                self.output.append(done)
        self.item = None

    def _message(self) -> Message:
        """Return the open message; opens one where something else is open."""
        if not isinstance(self.item, Message):
            self._close()
            if self.carry:
                self._carry_on()
            self.item = Message(self.events, self._ident("msg"), len(self.output))
        return self.item

    def _cite(self, cited: list[Json]) -> None:
        """Tell citations, or keep them until there is a text."""
        part = self.item.text_part if isinstance(self.item, Message) else None
        if part is not None and isinstance(self.item, Message):
            self.item.cite(cited)
        elif (last := self._last_text()) is not None:
            last["annotations"] += [flat_annotation(each, len(last["text"])) for each in cited]
        else:
            self.early += cited

    def _last_text(self) -> Json | None:
        """Return the last text that is closed: only its copy in the Response can still be told of citations."""
        open_parts = self.item.item["content"] if isinstance(self.item, Message) else []
        for item in [{"content": open_parts}, *reversed(self.output)]:
            for part in reversed(item.get("content") or ()):
                if part["type"] == "output_text":
                    found: Json = part
                    return found
        return None

    def _image(self, image: Json) -> None:
        self._close()
        if self.carry:
            self._carry_on()
        url: str = image["image_url"]["url"]
        data = url.partition(";base64,")[2] if url.startswith("data:") else url
        item: Json = {"id": self._ident("ig"), "type": "image_generation_call", "status": "completed", "result": data}
        at = len(self.output)
        self.events.say(
            "response.output_item.added", output_index=at, item={**item, "status": "in_progress", "result": None}
        )
        self.events.say("response.output_item.done", output_index=at, item=item)
        self.output.append(item)

    # Calls

    def _call_piece(self, piece: Json) -> None:
        index = piece["index"]
        if index == self.call:
            self._arguments(piece)
        elif index in self.waiting:
            self.waiting[index].append(piece)
        elif index in self.closed:
            if _payload(piece)[1].strip() not in ("", self.closed[index]):
                raise UpstreamBadOutput("The upstream went on with a tool call that was over.")
            return
        elif isinstance(self.item, Call) and (self.waiting or not self.item.complete()):
            self.waiting[index] = [piece]
        else:
            self._close()
            self._open_call(piece)
        while self.waiting and isinstance(self.item, Call) and self.item.complete():
            self._close_one()
            self._open_waiting()

    def _open_waiting(self) -> None:
        first, *more = self.waiting.pop(min(self.waiting))
        self._open_call(first)
        for piece in more:
            self._arguments(piece)

    def _open_call(self, piece: Json) -> None:
        call_id, name = piece.get("id") or "", _payload(piece)[0]
        if self.carried and (extra := piece.get("extra_content")):
            self.carry.setdefault("extra", {})[call_id] = extra
        if self.carry:
            self._carry_on()
        custom = "custom" in piece  # the hub's own kind of it: its input is no JSON
        tool = self.wanted.tools.get(name) or LoweredTool("custom" if custom else "function", name)
        self.item = Call(self.events, self.envelope.unique, len(self.output), call_id, tool, custom)
        self.call = piece["index"]
        self._arguments(piece)

    def _arguments(self, piece: Json) -> None:
        assert isinstance(self.item, Call)
        self.item.arguments(_payload(piece)[1])


def _logprob(entry: Json) -> Json:
    """Return a token's probability with the bytes that the Responses API always has."""
    known = entry.get("bytes")
    whole = {**entry, "bytes": list(entry["token"].encode("utf-8", "replace")) if known is None else known}
    return (
        whole | {"top_logprobs": [_logprob(each) for each in entry["top_logprobs"]]}
        if "top_logprobs" in entry
        else whole
    )


def _payload(piece: Json) -> tuple[str, str]:
    """Return the name, and the arguments or the input, that a piece of a call brings; "" for what it does not."""
    form = BY_KIND["custom" if piece.get("custom") else "function"]
    said = piece.get(form.kind) or {}
    return said.get("name") or "", said.get(form.field) or ""
