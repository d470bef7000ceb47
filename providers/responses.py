"""Chat completions by way of OpenAI's Responses API, for models that take tools, or anything, only there.

https://platform.openai.com/docs/api-reference/responses-streaming and recorded streams. The request is built in
responses_request.py. An answer is a list of output items: messages, function calls and reasoning make the chat answer;
items of OpenAI's own tools pass by. Each piece is told twice, as deltas and in the item when it is done: deltas make
the stream, and what had none is taken from the item, so that a whole answer goes the same way. Deltas that do not add up
to the item have lost a piece: the answer is broken.
"""

from typing import Any, Final
from zlib import crc32

from .chat import chunk, tool_call, usage_chunk
from .contract import Call, Json, Translator, Upstream, prime
from .errors import BadOutput, Truncated, UpstreamFailed
from .finish import reason_of
from .openai_errors import in_band
from .responses_request import BRIDGED, Bridged, request
from .sse import refuse_value
from .tool_names import given_back
from .usage import count, usage

__all__ = ["BRIDGED", "Bridged", "request", "stream"]

# Item type → tool call type, the field that grows, and its name in a chat completion.
_CALLS: Final = {
    "function_call": ("function", "arguments"),
    "custom_tool_call": ("custom", "input"),
}


def stream(call: Call, to: Upstream) -> Translator:
    """The translator of a call's answer, primed. Raises Truncated, BadOutput, and what the upstream says went wrong."""
    names = call.state.names if isinstance(call.state, Bridged) else None
    return prime(given_back(prime(_translate()), names) if names else _translate())


def _translate() -> Translator:
    answer = _Answer()
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
                    answer.hear(data["output_index"], "output_text", data.get("content_index", ""), data["delta"])
                    chunks = [chunk({"content": data["delta"]})]
                case "response.completed" | "response.incomplete" | "response.failed" | "response.cancelled":
                    return answer.opening() + answer.end(data["response"])
                case "error":
                    raise in_band(data.get("error") or data)
                case str(kind):
                    chunks = answer.tell(kind, data)
                case None if data.get("error"):
                    raise in_band(data["error"])
                case None if "output" in data:  # a whole answer
                    return answer.opening() + answer.end(data)
        except (AttributeError, LookupError, TypeError) as odd:
            raise BadOutput("The upstream sent an event of an unknown shape.") from odd
        if not answer.opened:
            chunks = answer.opening() + chunks
    raise Truncated


class _Answer:
    """The state of one answer. Each method gives the chunks that it makes."""

    def __init__(self) -> None:
        self.opened = False
        # Sums of the texts that came as deltas, by output index, kind and part; part None: of the whole item.
        self.heard: dict[tuple[int, str, Any], tuple[int, int]] = {}
        self.places: dict[Any, int] = {}  # id of an item → output index, for events that leave it out
        self.calls: dict[int, int] = {}  # output index → number of the tool call
        self.kinds: list[str] = []  # of the tool calls, by number
        self.done: set[Any] = set()  # output indexes of items, or ids where there was no index
        self.reasoning: list[Json] = []  # whole items: the keeper's
        self.thought: Any = None  # the part of a summary that was last heard of

    def opening(self) -> list[Json]:
        first = [] if self.opened else [chunk({"role": "assistant", "content": ""})]
        self.opened = True
        return first

    def hear(self, at: int, kind: str, part: Any, text: str) -> None:
        """Note a delta."""
        data = _bytes(text)
        for key in ((at, kind, part), (at, kind, None)):
            size, check = self.heard.get(key, (0, 0))
            self.heard[key] = size + len(data), crc32(data, check)

    def was_heard(self, at: Any, kind: str, text: str | None, part: Any = None) -> bool:
        """Whether a text came as deltas. Raises BadOutput when they do not add up to it. Hosts may leave it empty."""
        heard = self.heard.get((at, kind, part))
        if heard is not None and text and heard != (len(data := _bytes(text)), crc32(data)):
            raise BadOutput("The upstream's pieces do not add up to its answer: some were lost.")
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
            case "response.function_call_arguments.delta" | "response.custom_tool_call_input.delta":
                at = data["output_index"]
                return self._grow(at, data["delta"]) if at in self.calls else []
            case "response.output_text.done" | "response.refusal.done":
                text, part = data.get("text") or data.get("refusal"), data.get("content_index", "")
                self.was_heard(data["output_index"], kind.split(".")[1], text, part)
            case "response.function_call_arguments.done" | "response.custom_tool_call_input.done":
                self.was_heard(data["output_index"], "call", data.get("arguments") or data.get("input"))
            case "response.output_text.annotation.added":
                return _annotations([data["annotation"]])
            case "response.output_item.added":
                at, item = data["output_index"], data["item"]
                self.places[item.get("id")] = at
                return self._open(at, item) if item["type"] in _CALLS else []
            case "response.output_item.done":
                item = data["item"]
                return self._item(data.get("output_index", self.places.get(item.get("id"))), item)
        return []

    def _think(self, part: tuple[int, str, int], text: str) -> list[Json]:
        self.hear(part[0], part[1], part[2], text)
        if self.thought is not None and self.thought != part:
            text = "\n\n" + text
        self.thought = part
        return [chunk({"reasoning_content": text})]

    def _open(self, at: int, item: Json) -> list[Json]:
        kind, text = _CALLS[item["type"]]
        self.calls[at] = len(self.kinds)
        self.kinds.append(kind)
        first = {"index": self.calls[at], "id": item["call_id"], "type": kind}
        return [chunk({"tool_calls": [{**first, kind: {"name": item["name"], text: ""}}]})]

    def _grow(self, at: int, text: str) -> list[Json]:
        self.hear(at, "call", 0, text)
        number = self.calls[at]
        if self.kinds[number] == "function":
            return [chunk(tool_call(number, {"arguments": text}))]
        return [chunk({"tool_calls": [{"index": number, "custom": {"input": text}}]})]

    def _item(self, at: Any, item: Json) -> list[Json]:
        """An item that is done: what of it came in no delta."""
        self.done.add(item.get("id") if at is None else at)  # ids alone are not unique at xAI
        match item:
            case {"type": "message", "content": parts}:
                return self._message(at, parts)
            case {"type": "reasoning"}:
                self.reasoning.append(item)
                chunks: list[Json] = []
                for name in "summary", "content":
                    texts = [part["text"] for part in item.get(name) or ()]
                    if not self.was_heard(at, name, "".join(texts)):
                        for index, text in enumerate(texts):
                            chunks += self._think((at, name, index), text)
                return chunks
            case {"type": "function_call" | "custom_tool_call" as kind}:
                chunks = [] if at in self.calls else self._open(at, item)
                text = item.get(_CALLS[kind][1]) or ("{}" if kind == "function_call" else "")
                heard = self.was_heard(at, "call", item.get(_CALLS[kind][1]))
                return chunks + (self._grow(at, text) if text and not heard else [])
        return []

    def _message(self, at: int, parts: list[Json]) -> list[Json]:
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
                    chunks += [chunk({"content": text}), *_annotations(part.get("annotations") or ())]
                case {"type": "refusal", "refusal": str(text)} if text:
                    chunks.append(chunk({"refusal": text}))
        return chunks

    def end(self, response: Json) -> list[Json]:
        """The last chunks. Raises what kept the response from being complete."""
        books = _usage(response.get("usage"))
        match response.get("status"):
            case "completed":
                finish = "tool_calls" if self.kinds else "stop"
            case "incomplete":
                details = response.get("incomplete_details") or {}
                finish = reason_of(details.get("reason"), default="length")
            case _:
                wrong = response.get("error")
                failed = in_band(wrong) if wrong else UpstreamFailed("The upstream did not complete its answer.")
                failed.usage = books
                raise failed
        chunks: list[Json] = []
        for at, item in enumerate(response.get("output") or ()):
            if at not in self.done and item.get("id", at) not in self.done:
                chunks += self._item(at, item)
        if self.kinds and finish == "stop":  # some had come only now
            finish = "tool_calls"
        if self.reasoning:
            chunks.append(chunk({"reasoning_items": self.reasoning}))
        chunks.append(chunk({}, finish))
        if tier := response.get("service_tier"):
            chunks[-1]["service_tier"] = tier
        if not books:
            return chunks
        return [*chunks, usage_chunk(books) | ({"service_tier": tier} if tier else {})]


def _bytes(text: str) -> bytes:
    """A text in a form that is the same wherever it is cut, inside an emoji too."""
    return text.encode("utf-16-le", "surrogatepass")


def _annotations(found: Any) -> list[Json]:
    """Citations of web pages, the one kind that chat completions knows."""
    cited = [
        {"type": "url_citation", "url_citation": {name: value for name, value in each.items() if name != "type"}}
        for each in found
        if each["type"] == "url_citation"
    ]
    return [chunk({"annotations": cited})] if cited else []


def _usage(books: Any) -> Json | None:
    if not isinstance(books, dict) or not books:
        return None
    read, written = (
        details if isinstance(details := books.get(f"{side}_tokens_details"), dict) else {}
        for side in ("input", "output")
    )
    return usage(
        count(books.get("input_tokens")),
        count(books.get("output_tokens")),
        cached=count(read.get("cached_tokens")),
        written=count(read.get("cache_write_tokens")),
        reasoning=count(written.get("reasoning_tokens")),
    )
