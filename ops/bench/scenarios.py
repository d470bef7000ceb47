"""What is measured: client APIs, prompts, and the table of scenarios."""

import base64
import json
import random
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, Final

Messages = list[dict[str, Any]]  # as of chat completions
SENTENCE: Final = "a gateway reads what one side says and writes it to the other without losing a word or any time"


@dataclass(frozen=True)
class Api:
    """A way for a request to go. upstream: a key of Server.models; done: what a complete stream ends with."""

    path: str
    upstream: str
    body: Callable[[Messages], dict[str, Any]]
    done: bytes


def chat(messages: Messages) -> dict[str, Any]:
    return {"messages": messages, "max_tokens": 1024}


def claude(messages: Messages) -> dict[str, Any]:
    """The same as a request of Anthropic's Messages API."""
    turns = [{**message, "content": _claude(message["content"])} for message in messages[1:]]
    return {"system": messages[0]["content"], "messages": turns, "max_tokens": 1024}


def _claude(content: Any) -> Any:
    if isinstance(content, str):
        return content
    text, image = content
    data = image["image_url"]["url"].partition(",")[2]
    return [text, {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": data}}]


def responses(messages: Messages) -> dict[str, Any]:
    """The same as a request of OpenAI's Responses API."""
    turns = [{**message, "content": _responses(message["content"])} for message in messages[1:]]
    return {"instructions": messages[0]["content"], "input": turns, "max_output_tokens": 1024, "store": False}


def _responses(content: Any) -> Any:
    if isinstance(content, str):
        return content
    text, image = content
    picture = {"type": "input_image", "image_url": image["image_url"]["url"], "detail": "auto"}
    return [{"type": "input_text", "text": text["text"]}, picture]


# Behind the name of a scenario stands the API: S2@messages-hub.
APIS: Final = {
    "chat": Api("/chat/completions", "gpt", chat, b"data: [DONE]"),
    "claude": Api("/chat/completions", "claude", chat, b"data: [DONE]"),
    "gemini": Api("/chat/completions", "gemini", chat, b"data: [DONE]"),
    "messages": Api("/messages", "claude", claude, b'"message_stop"'),
    "messages-hub": Api("/messages", "plain", claude, b'"message_stop"'),
    "responses": Api("/responses", "gpt", responses, b'"response.completed"'),
    "responses-hub": Api("/responses", "plain", responses, b'"response.completed"'),
}


@dataclass(frozen=True)
class Scenario:
    """chunks: of an answer that the upstream is asked to stream; delay: seconds between two; rate: requests a second.

    run: how it is measured (RUNS of measure.py). warm, seconds: before a window and of it; ramp: until all clients have begun.
    """

    name: str
    what: str
    api: str = "chat"
    prompt: str = "small"
    stream: bool = False
    chunks: int = 200
    delay: float = 0
    clients: int = 64
    rate: float = 0
    ramp: float = 0
    warm: float = 1
    seconds: float = 4
    run: str = "traffic"

    @property
    def unit(self) -> str:
        return {"start": "start"}.get(self.run, "chunk" if self.stream else "request")

    def scaled(self, scale: float) -> "Scenario":
        """The same with all times multiplied."""
        return replace(self, ramp=self.ramp * scale, warm=self.warm * scale, seconds=self.seconds * scale)


_ROWS: Final = [
    Scenario("S1", "small request, whole, 64 clients flat out"),
    Scenario("S1x", "the same, translated to Claude", api="claude"),
    Scenario("S1-150", "small request, 150 a second", rate=150),
    Scenario("S2", "200 chunks flat out, 32 streams", stream=True, clients=32),
    Scenario("S3", "the same, translated from Claude", api="claude", stream=True, clients=32),
    Scenario("S4-100", "100 streams, a chunk each 20 ms", stream=True, chunks=250, delay=0.02, clients=100, ramp=2, warm=3),
    Scenario("S4-1000", "1,000 of them", stream=True, chunks=500, delay=0.02, clients=1000, ramp=5, warm=7, seconds=8),
    Scenario("S5", "5 MB image", prompt="image", clients=4),
    Scenario("S6", "start to the first answer", run="start"),
    Scenario("S7", "400 kB of history", prompt="long", clients=8),
    Scenario("flood", "50 requests a second beside 10,000 with a wrong key each", rate=50, clients=64, run="flood"),
    Scenario(
        "line", "20 paced streams beside bodies of 30 MB: the worst gap",
        stream=True, chunks=250, delay=0.02, clients=20, ramp=0.5, warm=1, run="line",
    ),
    Scenario("growth", "10,000 keys, a minute of traffic: the last seconds beside the first", run="growth"),
]  # fmt: skip
_EVERYWHERE: Final = ("S1", "S2", "S4-100", "S5", "S7")  # measured in all APIs
SCENARIOS: Final = {row.name: row for row in _ROWS} | {
    f"{row.name}@{api}": replace(row, name=f"{row.name}@{api}", api=api)
    for row in _ROWS
    if row.name in _EVERYWHERE
    for api in APIS
    if api not in ("chat", "claude")
}
CORE: Final = ("S1", "S1x", "S1-150", "S2", "S3", "S4-100", "S5", "S6", "S7")


def chosen(names: str) -> list[Scenario]:
    """The scenarios of a list with commas; `core` and `all` are lists too. Raises KeyError."""
    lists = {"core": CORE, "all": tuple(SCENARIOS)}
    return [SCENARIOS[each] for name in names.split(",") for each in lists.get(name, (name,))]


def body(api: Api, model: str, prompt: str, stream: bool) -> bytes:
    """A request's body."""
    asked = {"model": model, **api.body(_prompt(prompt))} | ({"stream": True} if stream else {})
    return json.dumps(asked, separators=(",", ":")).encode()


@cache
def _prompt(kind: str) -> Messages:
    system = {"role": "system", "content": "You are a helpful assistant."}
    match kind:
        case "small":
            return [system, {"role": "user", "content": "Tell me a short story about a gateway."}]
        case "long":
            turns = [{"role": ("user", "assistant")[n % 2], "content": _text(2000, n)} for n in range(199)]
            return [system, *turns]
    size = {"image": 5_000_000, "huge": 30_000_000}[kind]
    url = "data:image/png;base64," + base64.b64encode(_png(size * 3 // 4)).decode()
    asked = [{"type": "text", "text": "What is in it?"}, {"type": "image_url", "image_url": {"url": url}}]
    return [system, {"role": "user", "content": asked}]


def _text(size: int, seed: int) -> str:
    return " ".join(random.Random(seed).choices(SENTENCE.split(), k=size))[:size]


def _png(size: int) -> bytes:
    """A picture of noise, of about so many bytes."""
    width = 1024
    height = size // (3 * width + 1)
    noise = random.Random(1)
    rows = b"".join(b"\0" + noise.randbytes(3 * width) for _ in range(height))

    def part(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    top = part(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + top + part(b"IDAT", zlib.compress(rows, 0)) + part(b"IEND", b"")
