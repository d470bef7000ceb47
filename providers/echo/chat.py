"""The built-in model: answers offline, deterministically, in OpenAI's wire format, with no key and no bill.

It says the last user message back, word by word. It calls the tools that tool_choice or the user asks for, with a JSON schema
it answers an instance, of images it tells type and pixel size; a reasoning_effort makes it think aloud. Its magic names
misbehave on purpose, so that a client's error handling can be tested; `SCENARIOS` (scenarios.py) is the whole list.

The answer is played as if it came over a socket (contract.CannedReply), through the same decoder and translator as any other.
"""

import re
from collections.abc import Iterable, Iterator
from functools import partial
from itertools import islice
from typing import Any, Final

from .. import codec
from ..common import media
from ..common.tools import new_call_id
from ..common.turns import EMPTY
from ..contract import Call, CannedReply, Json, ReplyStep, Upstream
from ..errors import BadRequest
from ..openai.stream import translate
from . import schema_sample
from .scenarios import NEVER, Scenario, scene_of

DELAY: Final = 0.02  # seconds between words; the provider's `delay` setting
MAX_LENGTH: Final = 2**20  # characters of an answer, all choices together
_MAX_WORDS: Final = 2**18  # … and words
_WORDS = re.compile(r"\s*\S+\s*?(?=\s|$)|\s+")
_PIECE: Final = 2**16  # characters of a text whose words are counted at once
_ASKS = re.compile(
    r"(?:\b(?:call|use)\s{1,9}(?:the\s)?(?:(?:tool|function)\s)?|(?:调用|使用))\s?[`'\"]?([\w-]{1,128})", re.I
)
_CALLED: Final = ("function", "custom")  # the types of tools that a client runs


def build_request(body: Json, upstream: Upstream) -> Call:
    """A call that is answered here. Raises ModelNotFound for a name that is neither echo nor a magic one."""
    streamed = body.get("stream") is True
    read = partial(translate, upstream=upstream)
    scene, seconds, reply = scene_of(upstream.model)
    if reply is not None:
        return Call("echo:", {}, body, streamed, read, reply=reply)
    pace = scene.between(seconds)
    delay = float(upstream.options.get("delay", DELAY)) if pace is None else pace
    answer = EchoAnswer(body, scene)
    steps = answer.streamed(delay) if streamed else answer.whole(delay)
    first = ReplyStep(scene.first(seconds), b"")
    kind = "text/event-stream" if streamed else "application/json"
    cut = scene.stops_halfway == "cut"
    return Call(
        "echo:", {}, body, streamed, read, reply=CannedReply(200, {"Content-Type": kind}, _after(first, steps), cut)
    )


def _after(first: ReplyStep, steps: Iterator[ReplyStep]) -> Iterator[ReplyStep]:
    yield first
    yield from steps


class EchoAnswer:
    """One answer of echo: its words or its tool calls, its finish, its usage."""

    def __init__(self, body: Json, scene: Scenario) -> None:
        self.scene = scene
        self.calls = _calls(body)
        self.choices = range(int(body.get("n", 1)))
        text = "" if self.calls else _text(body)
        for stop in filter(None, _list(body.get("stop"))):
            text = text.split(stop, 1)[0]
        limit = body.get("max_completion_tokens", body.get("max_tokens"))
        self.text, words, cut = _within(text, limit, len(self.choices))
        self.finish = "tool_calls" if self.calls else "length" if cut else scene.finish
        for call in self.calls:
            _check_size(len(codec.encode_text(call)) * len(self.choices), 0)
        effort = body.get("reasoning_effort", "none")
        self.thoughts = _WORDS.findall(f"I was asked to think with {effort} effort, and will repeat what was said.")
        if effort == "none":
            self.thoughts = []
        prompt = sum(count_words(_said(message)) for message in body["messages"])
        completion = words + len(self.thoughts) + sum(len(codec.encode_text(call)) // 4 for call in self.calls)
        self.usage = {
            "prompt_tokens": prompt,
            "completion_tokens": completion,
            "total_tokens": prompt + completion,
            "prompt_tokens_details": {"cached_tokens": 0},
            "completion_tokens_details": {"reasoning_tokens": len(self.thoughts)},
        }
        self.pieces = words + len(self.thoughts)
        self.halfway = (words + 1) // 2 if scene.stops_halfway else None

    def deltas(self) -> Iterator[Json]:
        """The answer in pieces, the role first."""
        yield {"role": "assistant", "content": None if self.calls else "", "refusal": None}
        yield from ({"reasoning_content": word} for word in self.thoughts)
        yield from ({"content": word} for word in islice(_words(self.text), self.halfway))
        for k, call in enumerate(self.calls):
            kind = call["type"]
            field = "arguments" if kind == "function" else "input"
            opened = {"index": k, "id": call["id"], "type": kind, kind: {"name": call[kind]["name"], field: ""}}
            yield {"tool_calls": [opened]}
            pieces = re.findall(r".{1,12}", call[kind][field], re.DOTALL)
            yield from ({"tool_calls": [{"index": k, kind: {field: piece}}]} for piece in pieces)

    def streamed(self, delay: float) -> Iterator[ReplyStep]:
        """As an event stream, a step for each delta."""
        wait = 0.0
        for delta in self.deltas():
            yield ReplyStep(wait, self._event(delta, None))
            wait = delay
        match self.scene.stops_halfway:
            case "error":
                wrong = {"message": "This is the error that echo-error always stops with.", "type": "server_error"}
                yield ReplyStep(delay, b"data: " + codec.encode({"error": wrong}) + b"\n\n")
            case "stall":
                yield ReplyStep(NEVER, b"")
            case "":
                yield ReplyStep(delay, self._event({}, self.finish))
                yield ReplyStep(
                    0.0, b"data: " + codec.encode({"choices": [], "usage": self.usage}) + b"\n\ndata: [DONE]\n\n"
                )

    def _event(self, delta: Json, finish: str | None) -> bytes:
        choices = [{"index": i, "delta": delta, "logprobs": None, "finish_reason": finish} for i in self.choices]
        return b"data: " + codec.encode({"object": "chat.completion.chunk", "choices": choices}) + b"\n\n"

    def whole(self, delay: float) -> Iterator[ReplyStep]:
        """As one JSON body, after the time that the stream would have taken."""
        message: Json = {"role": "assistant", "content": None if self.calls else self.text, "refusal": None}
        if self.calls:
            message["tool_calls"] = self.calls
        if self.thoughts:
            message["reasoning_content"] = "".join(self.thoughts)
        body = codec.encode(
            {
                "object": "chat.completion",
                "choices": [
                    {"index": i, "message": message, "logprobs": None, "finish_reason": self.finish}
                    for i in self.choices
                ],
                "usage": self.usage,
            }
        )
        match self.scene.stops_halfway:
            case "stall":
                yield ReplyStep(NEVER, b"")
            case "error":
                yield ReplyStep(0.0, b'{"error":{"message":"This is the error that echo-error always stops with."}}')
            case "cut" | "end":
                yield ReplyStep(delay * self.pieces, body[: len(body) // 2])
            case _:
                yield ReplyStep(delay * self.pieces, body)


def _words(text: str) -> Iterator[str]:
    """The words of a text, each with the blanks before it; together they are the text."""
    return (match[0] for match in _WORDS.finditer(text))


def _within(text: str, limit: int | None, choices: int) -> tuple[str, int, bool]:
    """The first `limit` words of a text, how many they are, and whether there are more.

    Raises BadRequest for a text that is too long for an answer of so many choices.
    """
    count = length = 0
    for word in _words(text):
        if limit is not None and count >= limit:
            return text[:length], count, True
        count += 1
        length += len(word)
        _check_size(length * choices, count * choices)
    return text, count, False


def _check_size(length: int, words: int) -> None:
    if length > MAX_LENGTH or words > _MAX_WORDS:
        raise BadRequest(
            f"echo's answer would be too long: it has at most {MAX_LENGTH} characters and {_MAX_WORDS} words, those of all "
            "choices (n) together. Send a shorter message, or max_completion_tokens.",
            param="messages",
            code="invalid_value",
        )


def count_words(text: str) -> int:
    """How many words _WORDS finds in a text, without making them all at once."""
    count = 0
    for at in range(0, len(text), _PIECE):
        count += len(text[at : at + _PIECE].split())
        count -= at > 0 and not (text[at - 1].isspace() or text[at].isspace())  # a word that the cut made two of
    return count + text[-1:].isspace()


def _text(body: Json) -> str:
    """What echo answers: an instance of the asked schema, or the last user message with its images described."""
    said = next((_said(message) for message in reversed(body["messages"]) if message["role"] == "user"), "")
    match body.get("response_format"):
        case {"type": "json_schema", "json_schema": {"schema": dict(schema)}}:
            return codec.encode_text(schema_sample.sample(schema, "response_format.json_schema.schema"))
        case {"type": "json_object"}:
            _check_size(len(said), 0)
            return codec.encode_text({"echo": said})
    return said or EMPTY


def _said(message: Json) -> str:
    content = message.get("content")
    if isinstance(content, list):
        return " ".join(_part(part) for part in content)
    return content or ""


def _part(part: Json) -> str:
    match part:
        case {"text": str(text)}:
            return text
        case {"type": "image_url", "image_url": {"url": str(url)}} if media.is_data_uri(url):
            image = media.data_uri(url, "messages")
            size = media.pixels(image)
            return f"[{image.type}, {size[0]} x {size[1]} pixels]" if size else f"[{image.type}]"
        case {"type": "image_url"}:
            return "[an image by URL: echo fetches nothing]"
        case {"type": "file", "file": {"filename": str(name)}}:
            return f"[the file {name}]"
    return f"[{part.get('type')}]"


def _calls(body: Json) -> list[Json]:
    """Return the tool calls that tool_choice asks for: the named tool, or for "required" the first one.

    Where it leaves the choice to the model, the last user message decides: "call get_weather".
    """
    tools = {tool[tool["type"]]["name"]: tool for tool in body.get("tools", ()) if tool["type"] in _CALLED}
    match body.get("tool_choice"):
        case "required":
            names = list(tools)[:1]
        case {"function": {"name": str(name)}} | {"custom": {"name": str(name)}}:
            names = [name]
        case {"allowed_tools": {"mode": "required", "tools": [*allowed]}}:
            names = [tool[tool["type"]]["name"] for tool in allowed if tool["type"] in _CALLED][:1]
        case None | "auto":
            names = _asked_for(body, tools)
        case {"allowed_tools": {"tools": [*allowed]}}:
            names = _asked_for(body, [tool[tool["type"]]["name"] for tool in allowed if tool["type"] in _CALLED])
        case _:
            names = []
    # Once its result is there, the tool is not called again: an agent's loop over echo comes to an end.
    if names and body["messages"][-1]["role"] == "tool":
        return []
    return [_call(tools[name]) for name in names if name in tools]


def _asked_for(body: Json, names: Iterable[str]) -> list[str]:
    """Return the first of these tools that the last user message asks for by name, in a list, or none."""
    said = next((_said(message) for message in reversed(body["messages"]) if message["role"] == "user"), "")
    known = set(names)
    found = (match[1] for match in _ASKS.finditer(said)) if known else ()
    return [name for name in found if name in known][:1]


def _call(tool: Json) -> Json:
    if tool["type"] == "custom":
        return {"id": new_call_id(), "type": "custom", "custom": {"name": tool["custom"]["name"], "input": "echo"}}
    function = tool["function"]
    arguments = codec.encode_text(
        schema_sample.sample({"type": "object", **(function.get("parameters") or {})}, "tools")
    )
    return {"id": new_call_id(), "type": "function", "function": {"name": function["name"], "arguments": arguments}}


def _list(value: Any) -> list[str]:
    return [value] if isinstance(value, str) else value or []
