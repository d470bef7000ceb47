"""Chat completions by way of OpenAI's Responses API, for models that take tools, or anything, only there.

https://platform.openai.com/docs/api-reference/responses-streaming and recorded streams. The request is built in
request.py. An answer is a list of output items: messages, function calls and reasoning make the chat answer;
items of OpenAI's own tools pass by. Each piece is told twice, as deltas and in the item when it is done: deltas make
the stream, and what had none is taken from the item, so that a whole answer goes the same way. Deltas that do not add up
to the item have lost a piece: the answer is broken.

An answer may hold several messages: remarks between tool calls (phase commentary) and the final answer. Their texts are
texts of their own, with a blank line between them; where JSON was asked for, the final answer is the content.
"""

from collections.abc import Mapping
from typing import Any, Final
from zlib import crc32

from ...chunks import after_opening, chunk, tool_call, usage_chunk
from ...common import output_order
from ...common.arguments import Beginning, as_text, real_one, say_nothing, without_placeholders
from ...common.bounds import MAX_CALLS, Kept, too_many_calls
from ...common.error_shapes import told_instead
from ...common.finish_reasons import reason_of
from ...common.tool_names import given_back
from ...common.tools import CallIds
from ...common.typed import DELTA, typed
from ...common.typed import text as text_of
from ...common.usage import spent
from ...contract import Call, Json, Translator, prime
from ...errors import UpstreamBadOutput, UpstreamError, UpstreamTruncated
from ...sse import refuse_value
from ..errors import in_band
from .pairs import BY_ITEM, BY_KIND, CALLS, nested

_PIECES: Final = frozenset(f"{form.event}.delta" for form in CALLS)
_OFFSETS: Final = ("start_index", "end_index")
_NOWHERE: Final = {"start": 0}
_NO_NAMES: Final[Mapping[str, str]] = {}


def translate(call: Call, streamed: bool, names: Mapping[str, str] = _NO_NAMES) -> Translator:
    """Return the primed translator of a call's answer, which may be whole in any case: the response is one event.

    names: of tools that were renamed, the name sent → the client's. The translator raises UpstreamTruncated,
    UpstreamBadOutput, and what the upstream says went wrong.
    """
    form = (call.body.get("text") or {}).get("format") or {}
    translator = _translate(ResponseState(form.get("type", "text") != "text", bool(call.body.get("tools"))))
    return prime(given_back(prime(translator), names) if names else translator)


def _translate(answer: "ResponseState") -> Translator:
    chunks: list[Json] = []
    while (event := (yield chunks)) is not None:
        data = event.data
        chunks = []
        if type(data) is not dict:
            if event.name == "error":
                raise in_band(data)
            refuse_value(event)
            continue
        try:
            match data.get("type"):
                case "response.output_text.delta":
                    at, text = data["output_index"], data["delta"]
                    answer.hear(at, "output_text", data.get("content_index", ""), text)
                    if at == answer.writing:
                        answer.length += len(text)
                        chunks = [chunk({"content": text})]
                    else:
                        chunks = answer.begun(answer.write(at, text))
                case "response.completed" | "response.incomplete" | "response.failed" | "response.cancelled":
                    return answer.begun(answer.end(data["response"]))
                case "error":
                    raise in_band(data.get("error") or data)
                case str(kind):
                    chunks = answer.begun(answer.tell(kind, data))
                case None if "output" in data and not data.get("error"):  # a whole answer
                    return answer.begun(answer.end(data))
                case None if wrong := told_instead(data):
                    raise in_band(wrong)
        except (AttributeError, LookupError, TypeError) as odd:
            raise UpstreamBadOutput("The upstream sent an event of an unknown shape.") from odd
    raise UpstreamTruncated


class ResponseState:
    """The state of one answer. Each method gives the chunks that it makes."""

    def __init__(self, json: bool, tools: bool) -> None:
        self.json = json  # the content is to be one JSON value
        self.tools = tools  # there may be remarks between calls
        self.opened = False
        self.kept = Kept()  # all that the following fields hold
        self.order: dict[Any, Json] = {}  # output index → what output_order says of the item
        self.writing: Any = None  # output index of the message whose text goes to the client at once
        self.wrote: Any = None  # … whose text did so last
        self.length = 0  # characters of content so far
        self.held: list[str] = []  # text of a message that may not be the final answer
        # Sums of the texts that came as deltas, by output index, kind and part; part None: of the whole item.
        self.heard: dict[tuple[Any, str, Any], tuple[int, int]] = {}
        self.places: dict[Any, int] = {}  # id of an item → output index, for events that leave it out
        self.calls: dict[int, int] = {}  # output index → number of the tool call
        self.unopened: dict[Any, Any] = {}  # output index of arguments that came before their call → id of the item
        self.kinds: list[str] = []  # of the tool calls, by number
        self.ids = CallIds()
        self.beginnings: dict[int, Beginning] = {}  # by number of the tool call, until its arguments have begun
        self.done: set[Any] = set()  # output indexes of items, or ids where there was no index
        self.reasoning: list[Json] = []  # whole items: for the reasoning cache
        self.thought: Any = None  # the part of a summary that was last heard of

    def begun(self, chunks: list[Json]) -> list[Json]:
        """The chunks, after the one that opens the answer if they are its first."""
        if self.opened or not chunks:
            return chunks
        self.opened = True
        return after_opening(chunks)

    def hear(self, at: Any, kind: str, part: Any, text: str) -> None:
        """Note a delta that says something."""
        if not text:
            return
        data = _bytes(text)
        for key in ((at, kind, part), (at, kind, None)):
            if (sum := self.heard.get(key)) is None:
                self.kept.add()
                sum = 0, 0
            self.heard[key] = sum[0] + len(data), crc32(data, sum[1])

    def was_heard(self, at: Any, kind: str, text: str | None, part: Any = None) -> bool:
        """Whether a text came as deltas. Raises UpstreamBadOutput when they do not add up to it. Hosts may leave it empty."""
        heard = self.heard.get((at, kind, part))
        if heard is not None and text and heard != (len(data := _bytes(text)), crc32(data)):
            raise UpstreamBadOutput("The upstream's pieces do not add up to its answer: some were lost.")
        return heard is not None

    def tell(self, kind: str, data: Json) -> list[Json]:
        """What an event adds. Those that only announce or repeat, and those of OpenAI's own tools, add nothing."""
        match kind:
            case "response.refusal.delta":
                self.hear(data["output_index"], "refusal", data.get("content_index", ""), data["delta"])
                return [chunk({"refusal": data["delta"]})]
            case "response.reasoning_summary_text.delta":
                return self._think((data["output_index"], "summary", data["summary_index"]), data["delta"])
            case "response.reasoning_text.delta":
                return self._think((data["output_index"], "content", data["content_index"]), data["delta"])
            case str() if kind in _PIECES:
                at = self._expect(data)
                return self._grow(at, as_text(data["delta"])) if at in self.calls else []
            case "response.output_text.done" | "response.refusal.done":
                text, part = data.get("text") or data.get("refusal"), data.get("content_index", "")
                self.was_heard(data["output_index"], kind.split(".")[1], text, part)
            case "response.function_call_arguments.done":
                self.was_heard(self._expect(data), "call", _begun(data.get("arguments")))
            case "response.custom_tool_call_input.done":
                self.was_heard(self._expect(data), "call", data.get("input"))
            case "response.output_text.annotation.added":
                return self._annotations(data["output_index"], [data["annotation"]])
            case "response.output_item.added":
                at, item = data["output_index"], data["item"]
                self.kept.add()
                self.places[item.get("id")] = at
                self._place(at, item)
                return self._open(at, item) if item["type"] in BY_ITEM else []
            case "response.output_item.done":
                item = data["item"]
                return self._item(data.get("output_index", self.places.get(item.get("id"))), item)
        return []

    def _place(self, at: Any, item: Json) -> None:
        """Note where an item stands among the others."""
        if at in self.order:
            return
        self.kept.add()
        match item:
            case {"type": "message"}:
                phase = {"phase": item["phase"]} if isinstance(item.get("phase"), str) else {}
                self.order[at] = {"type": "text", "start": self.length, "end": self.length, **phase}
            case {"type": "reasoning"}:
                self.order[at] = {"type": "thinking"}
            case {"type": "function_call" | "custom_tool_call"}:
                self.order[at] = {"type": "call", "id": ""}  # as the client will know it
            case _:
                self.order[at] = {"type": "other"}

    def write(self, at: Any, text: str) -> list[Json]:
        """Text of a message that is not the one being written: a blank line keeps it apart from what came before.

        Where JSON was asked for, a remark is left out, and a text that may be one is held back until the end.
        """
        if not text:
            return []
        self._place(at, {"type": "message"})
        place = self.order[at]
        if self.json and place.get("phase", "final_answer") != "final_answer":
            return []
        if self.json and self.tools and "phase" not in place:
            if self.wrote != at:
                self.held, self.wrote = [], at
            self.kept.add(len(text))
            self.held.append(text)
            return []
        self.held = []
        self._written()
        gap = "\n\n" if self.length and self.wrote != at else ""
        if place["start"] == place["end"]:
            place["start"] = place["end"] = self.length + len(gap)
        self.writing = self.wrote = at
        self.length += len(gap) + len(text)
        return [chunk({"content": gap + text})]

    def _think(self, part: tuple[Any, str, int], text: str) -> list[Json]:
        self.hear(*part, text)
        if self.thought is not None and self.thought != part:
            text = "\n\n" + text
        self.thought = part
        return [chunk({"reasoning_content": text})]

    def _expect(self, data: Json) -> Any:
        """Return the output index of a piece of arguments, and note one whose call is yet to come."""
        at = data["output_index"]
        if at not in self.calls and at not in self.unopened:
            self.kept.add()
            self.unopened[at] = data.get("item_id")
        return at

    def _open(self, at: int, item: Json) -> list[Json]:
        form = BY_ITEM[item["type"]]
        self.places.setdefault(item.get("id"), at)
        if len(self.kinds) >= MAX_CALLS:
            raise too_many_calls()
        name = text_of(item.get("name"))
        if not name:
            raise UpstreamBadOutput("The upstream sent a tool call without a name.")
        number = self.calls[at] = len(self.kinds)
        self.kinds.append(form.kind)
        if form.kind == "function":
            self.beginnings[number] = Beginning()
        ident = self.order[at]["id"] = self.ids.own(item.get("call_id"))
        first = {"index": number, "id": ident, "type": form.kind}
        return [chunk({"tool_calls": [{**first, form.kind: {"name": name, form.field: ""}}]})]

    def _grow(self, at: Any, piece: str) -> list[Json]:
        """A piece of a call's arguments. A placeholder before the real ones is left out: the item says what they are."""
        number = self.calls[at]
        if (beginning := self.beginnings.get(number)) is not None:
            piece = beginning.add(piece)
            if not piece:
                return []
            del self.beginnings[number]
        return self._argue(at, piece)

    def _argue(self, at: Any, text: str) -> list[Json]:
        number = self.calls[at]
        self.hear(at, "call", 0, text)
        form = BY_KIND[self.kinds[number]]
        return [chunk({"tool_calls": [{"index": number, form.kind: {form.field: text}}]})]

    def _item(self, at: Any, item: Json) -> list[Json]:
        """An item that is done: what of it came in no delta."""
        at = item.get("id") if at is None else at  # ids alone are not unique at xAI
        self.kept.add()
        self.done.add(at)
        self._place(at, item)
        match item:
            case {"type": "message", "content": parts}:
                chunks = self._message(at, parts)
                self._written()
                return chunks
            case {"type": "reasoning"}:
                self.kept.add_json(item)
                self.reasoning.append(item)
                chunks = []
                for name in "summary", "content":
                    texts = [part["text"] for part in item.get(name) or ()]
                    if not self.was_heard(at, name, "".join(texts)):
                        for index, text in enumerate(texts):
                            chunks += self._think((at, name, index), text)
                return chunks
            case {"type": "function_call" | "custom_tool_call" as kind}:
                chunks = [] if at in self.calls else self._open(at, item)
                said = item.get(BY_ITEM[kind].field)
                text = real_one(as_text(said)) if kind == "function_call" else as_text(said)
                if self.was_heard(at, "call", _begun(said) if kind == "function_call" else text):
                    return chunks
                if kind == "function_call" and say_nothing(text):
                    return [*chunks, chunk(tool_call(self.calls[at], {"arguments": "{}"}))]
                return chunks + (self._argue(at, text) if text else [])
        return []

    def _written(self) -> None:
        """Note where the text of the message that was written ends."""
        if self.writing is not None:
            self.order[self.writing]["end"] = self.length
        self.writing = None

    def _message(self, at: Any, parts: list[Json]) -> list[Json]:
        heard = {
            kind: self.was_heard(at, kind, "".join(part.get(field) or "" for part in parts if part["type"] == kind))
            for kind, field in (("output_text", "text"), ("refusal", "refusal"))
        }
        chunks: list[Json] = []
        for part in parts:
            if heard.get(part["type"]):
                continue
            match part:
                case {"type": "output_text", "text": str(text)} if text:
                    chunks += self.write(at, text)
                    chunks += self._annotations(at, part.get("annotations") or ())
                case {"type": "refusal", "refusal": str(text)} if text:
                    chunks.append(chunk({"refusal": text}))
        return chunks

    def _annotations(self, at: Any, found: Any) -> list[Json]:
        """Citations of web pages, the one kind that chat completions knows; places count in the whole content."""
        start = self.order.get(at, _NOWHERE)["start"]
        cited = [
            nested(
                {
                    name: value + start if name in _OFFSETS and type(value) is int else value
                    for name, value in each.items()
                }
            )
            for each in found
            if each["type"] == "url_citation"
        ]
        if not cited:
            return []
        delta: Json = {"annotations": cited}
        typed(delta, DELTA)
        return [chunk(delta)]

    def end(self, response: Json) -> list[Json]:
        """The last chunks. Raises what kept the response from being complete."""
        told = response.get("usage")
        usage = spent(told) if isinstance(told, dict) and told else None
        match response.get("status"):
            case "completed":
                finish = "tool_calls" if self.kinds else "stop"
            case "incomplete":
                details = response.get("incomplete_details") or {}
                finish = reason_of(details.get("reason"), default="length")
            case _:
                wrong = response.get("error")
                failed = in_band(wrong) if wrong else UpstreamError("The upstream did not complete its answer.")
                failed.usage = usage
                raise failed
        chunks: list[Json] = []
        for at, item in enumerate(response.get("output") or ()):
            if at not in self.done and item.get("id", at) not in self.done:
                chunks += self._item(at, item)
        if response["status"] == "completed" and any(
            at not in self.calls and self.places.get(ident) not in self.calls for at, ident in self.unopened.items()
        ):
            raise UpstreamBadOutput("The upstream sent arguments of a tool call that it did not send.")
        if self.held:
            chunks.append(chunk({"content": "".join(self.held)}))
        if self.kinds and finish == "stop":  # some had come only now
            finish = "tool_calls"
        self._written()
        kept: Json = {"reasoning_items": self.reasoning} if self.reasoning else {}
        kept |= output_order.told(list(self.order.values()))
        if kept:
            chunks.append(chunk(kept))
        chunks.append(chunk({}, finish))
        if (tier := response.get("service_tier")) and isinstance(tier, str):
            chunks[-1]["service_tier"] = tier
        if not usage:
            return chunks
        return [*chunks, usage_chunk(usage) | ({"service_tier": tier} if isinstance(tier, str) and tier else {})]


def _begun(arguments: Any) -> str | None:
    """Return what the deltas of a function's arguments must add up to; None where the event says nothing of it."""
    return without_placeholders(arguments) if isinstance(arguments, str) and not say_nothing(arguments) else None


def _bytes(text: str) -> bytes:
    """A text in a form that is the same wherever it is cut, inside an emoji too."""
    return text.encode("utf-16-le", "surrogatepass")
