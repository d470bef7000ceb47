"""Whatever passes a client's or an upstream's bytes costs work and memory in proportion to them, whatever their shape.

Each row of the tables is an input of n things and what is done with it. n grows until the work can be measured; then it is
done at 16n. Where each thing costs about the same as before, the row passes; where it costs 3 times as much, it fails; in
between it is done at 64n, and where that costs more again, at 256n: there work with the square shows, while what a busy
machine or its caches add does not grow on. Memory, which no other process changes, is measured at n and at 4n: at most 5
times as much. A refusal is a result like any other, and the time until it counts. Work that stays too small to be measured
is compared with what can be.

A second table holds bodies of one size to absolute bounds: 12 times their bytes of memory from parsing to the upstream's
body, and CPU in multiples of what this machine needs for a loop of known length.
"""

import asyncio
import gc
import json
import time
import tracemalloc
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import count
from math import inf
from struct import pack
from typing import Any, NamedTuple

import embedded
import pytest
import shapes
from cached import remember
from cuts import pieces
from model_table import FACTS
from shapes import HI, LARGEST_HASH, Json, Make, call, called
from translators import translator_of

from dialects import embeddings as embeddings_in
from dialects import validation
from dialects.chat import functions, request
from dialects.chat.stream import escape_line_ends
from dialects.passing import json_model
from dialects.passing.form import FormScanner, boundary_of
from dialects.passing.usage import UsageWatch
from dialects.responses.stream import Passed
from gateway.config import load
from gateway.estimates import measure
from gateway.reasoning_cache import ReasoningCache
from gateway.scrub import Scrubber
from providers import PROVIDERS, codec, density
from providers.chunks import collect
from providers.common.arguments import Arguments
from providers.common.think_tags import ThinkTags
from providers.contract import Upstream
from providers.errors import Failure, UpstreamTruncated
from providers.hosts import HOSTS
from providers.model_table import ModelTable
from providers.models import ModelFacts
from providers.sse import DONE, Decoder, Event
from server.attempts import header_safe
from server.masking import masked_headers, masked_texts, secrets_in
from server.outbound.exchange import parse_retry_after
from server.responses import Conversation
from server.responses_store import ResponsesStore, Stored

FLOOR = 0.0008  # seconds of CPU that can be measured
SURE, MOST = 1.3, 3.0  # CPU for each thing, beside that at the size before: in proportion; beside that at n: not
PAIRS, ALL_PAIRS = 3, 8  # measurements of n and of more, one after the other: to be sure, and before a row fails
ENOUGH = 0.2  # seconds: work that takes so long is not done at a larger size
SPACE, LEAST = 5, 2**21  # memory at 4n, beside that at n; bytes that count as the least (buffers grow by doubling)
MAKING, LARGEST = 0.0025, 2**14  # seconds of making an input, things: larger ones are not tried

CONFIG = "providers: {up: {protocol: openai, base_url: 'http://up/v1'}, echo: {}}\nmodels: {a: up, 'b-*': up}\n"


class Row(NamedTuple):
    """What is measured. floor: seconds of CPU at n; more where the work for each thing hides what grows."""

    make: Make
    run: Callable[[Any], object]
    floor: float = FLOOR


# References to n objects of n properties each: the bound on schemas (json_schema.MAX_NODES) comes at 140 of them.
FLOORS = {"references to an object of anything": 0.01}

# Where requests go: one target for each protocol, and hosts that want the most changes.
TO = {
    "openai": Upstream("openai", "m", host=HOSTS["openai"]),
    "responses": Upstream("openai", "m", host=HOSTS["openai"], facts=ModelFacts(chat=False)),
    "mistral": Upstream("mistral", "m", host=HOSTS["mistral"]),
    "vllm": Upstream("mine", "m", host=HOSTS["vllm"]),
    "deepseek": Upstream("deepseek", "m", host=HOSTS["deepseek"]),
    "anthropic": Upstream("anthropic", "m", host=HOSTS["anthropic"], facts=ModelFacts(thinking=("adaptive",))),
    "gemini": Upstream("gemini", "m", host=HOSTS["gemini"]),
    "echo": Upstream("echo", "echo", host=HOSTS["echo"], options={"delay": 0.0}),
}


def sent(to: Upstream, body: Json) -> int:
    """Make the upstream's request of a chat request, or echo's whole answer; returns its bytes."""
    call = PROVIDERS[to.host.protocol].build_request(body, to)
    if call.reply is not None:
        return sum(len(step.data) for step in call.reply.steps)
    return len(codec.encode(call.body))


def sends(target: str, make: Make, field: str, around: Callable[[Any], Any] = lambda value: value) -> Row:
    """What `make` gives, as a field of a chat request to a target."""

    def body(n: int) -> bytes:
        return json.dumps({"model": "m", "messages": [HI], field: around(make(n))}).encode()

    return Row(body, lambda data: sent(TO[target], request.parse(data).body))


def answer_format(schema: Json) -> Json:
    return {"type": "json_schema", "json_schema": {"name": "a", "schema": schema}}


def strict_tool(schema: Json) -> list[Json]:
    return [shapes.tool("f", schema, strict=True)]


def answered(target: str, events: list[Any], stream: bool = True) -> None:
    """Translate an upstream's events, and put the chunks together."""
    to = TO[target]
    provider = PROVIDERS[to.host.protocol]
    call = provider.build_request({"model": "m", "messages": [HI], "stream": stream}, to)
    translator = translator_of(provider, call, to)
    chunks: list[Json] = []
    try:
        for event in events:
            chunks += translator.send(event if isinstance(event, Event) else Event("", event))
        translator.send(None)
    except StopIteration as end:
        chunks += end.value or []
    if stream:
        collect(chunks)


def says(delta: Json, index: Any = 0, finish: str | None = None) -> Json:
    return {"choices": [{"index": index, "delta": delta, "finish_reason": finish}]}


STOP = [says({}, finish="stop"), DONE]


def fragment(i: int, id: str | None = None, **more: Any) -> Json:
    named = {"id": id, "type": "function"} if id else {}
    return {"index": i, **named, "function": {"name": "f", "arguments": "{}"} if id else {"arguments": "x"}, **more}


def blocks(*inner: Json) -> list[Json]:
    return [
        {"type": "message_start", "message": {"usage": {"input_tokens": 1}}},
        *inner,
        {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 1}},
        {"type": "message_stop"},
    ]


def block(i: int, content: Json, *deltas: Json) -> list[Json]:
    return [
        {"type": "content_block_start", "index": i, "content_block": content},
        *({"type": "content_block_delta", "index": i, "delta": delta} for delta in deltas),
        {"type": "content_block_stop", "index": i},
    ]


def each_block(n: int, one: Callable[[int], list[Json]]) -> list[Json]:
    return blocks(*(event for i in range(n) for event in one(i)))


TEXT, TOOL_USE = {"type": "text", "text": ""}, {"type": "tool_use", "name": "f", "input": {}}


def candidate(parts: list[Json], index: int = 0, **more: Any) -> Json:
    return {"candidates": [{"index": index, "content": {"parts": parts}, "finishReason": "STOP", **more}]}


def function_call(i: int) -> Json:
    return {"type": "function_call", "id": f"i{i}", "call_id": f"c{i}", "name": "f", "arguments": "{}"}


def items(n: int, item: Callable[[int], Json], heard: bool = True) -> list[Json]:
    """n items of a Responses answer, each told when it is done, if heard, and once more at the end."""
    done = [{"type": "response.output_item.done", "output_index": i, "item": item(i)} for i in range(n)]
    end = {"status": "completed", "output": [item(i) for i in range(n)]}
    return [*(done if heard else ()), {"type": "response.completed", "response": end}]


# Name → (target, n → the events of a stream).
STREAMS: dict[str, tuple[str, Make]] = {
    "openai: many texts": (
        "openai",
        lambda n: [says({"content": "x"})] * 1 + [says({"content": "x"}) for _ in range(n)] + STOP,
    ),
    "openai: one huge text": ("openai", lambda n: [says({"content": "x" * n}), *STOP]),
    "openai: reasoning in pieces": ("openai", lambda n: [*(says({"reasoning": "x"}) for _ in range(n)), *STOP]),
    "openai: many calls": (
        "openai",
        lambda n: [*(says({"tool_calls": [fragment(i, f"c{i}")]}) for i in range(n)), *STOP],
    ),
    "openai: many calls in one chunk": (
        "openai",
        lambda n: [says({"tool_calls": [fragment(i, f"c{i}") for i in range(n)]}), *STOP],
    ),
    "openai: many calls under one index": (
        "openai",
        lambda n: [*(says({"tool_calls": [fragment(0, f"c{i}")]}) for i in range(n)), *STOP],
    ),
    "openai: many calls under indexes of one hash": (
        "openai",
        lambda n: [*(says({"tool_calls": [fragment(i * LARGEST_HASH, f"c{i}")]}) for i in range(n)), *STOP],
    ),
    "openai: arguments in pieces": (
        "openai",
        lambda n: [*(says({"tool_calls": [fragment(0, "" if i else "c")]}) for i in range(n)), *STOP],
    ),
    "openai: many choices": (
        "openai",
        lambda n: [*(says({"content": "x"}, i) for i in range(n)), *(says({}, i, "stop") for i in range(n)), DONE],
    ),
    "openai: many choices under indexes of one hash": (
        "openai",
        lambda n: [*(says({"content": "x"}, i * LARGEST_HASH, "stop") for i in range(n)), DONE],
    ),
    "openai: many choices in one chunk": (
        "openai",
        lambda n: [
            {"choices": [{"index": i, "delta": {"content": "x"}, "finish_reason": "stop"} for i in range(n)]},
            DONE,
        ],
    ),
    "openai: fields without choices": ("openai", lambda n: [*({f"f{i}": 0} for i in range(n)), *STOP]),
    "openai: fields beside choices": (
        "openai",
        lambda n: [*({f"f{i}": 0, **says({"content": "x"})} for i in range(n)), *STOP],
    ),
    "openai: unknown fields of a delta": ("openai", lambda n: [*(says({f"f{i}": 0}) for i in range(n)), *STOP]),
    "openai: a list that grows": ("openai", lambda n: [*(says({"annotations": [0]}) for i in range(n)), *STOP]),
    "openai: lists of parts": ("mistral", lambda n: [says({"content": [{"type": "text", "text": "x"}] * n}), *STOP]),
    "openai: log probabilities": (
        "openai",
        lambda n: [
            *(
                {"choices": [{"index": 0, "delta": {}, "logprobs": {"content": [0]}, "finish_reason": None}]}
                for _ in range(n)
            ),
            *STOP,
        ],
    ),
    "openai: blanks before a think tag": ("vllm", lambda n: [*(says({"content": " "}) for _ in range(n)), *STOP]),
    "openai: thoughts in pieces": (
        "vllm",
        lambda n: [says({"content": "<think>"}), *(says({"content": "</thin"}) for _ in range(n)), *STOP],
    ),
    "openai: an error of a long text": ("openai", lambda n: [{"error": {"message": "a" * n, "code": 400}}]),
    "anthropic: texts of one block": (
        "anthropic",
        lambda n: blocks(*block(0, TEXT, *({"type": "text_delta", "text": "x"} for _ in range(n)))),
    ),
    "anthropic: many blocks": (
        "anthropic",
        lambda n: each_block(n, lambda i: block(i, TEXT, {"type": "text_delta", "text": "x"})),
    ),
    "anthropic: blocks that stay open": (
        "anthropic",
        lambda n: each_block(n, lambda i: block(i, TEXT | {"citations": []})[:1]),
    ),
    "anthropic: many calls": ("anthropic", lambda n: each_block(n, lambda i: block(i, TOOL_USE | {"id": f"c{i}"}))),
    "anthropic: many calls under indexes of one hash": (
        "anthropic",
        lambda n: each_block(n, lambda i: block(i * LARGEST_HASH, TOOL_USE | {"id": f"c{i}"})[:1]),
    ),
    "anthropic: arguments in pieces": (
        "anthropic",
        lambda n: blocks(
            *block(0, TOOL_USE | {"id": "c"}, *({"type": "input_json_delta", "partial_json": "x"} for _ in range(n)))
        ),
    ),
    "anthropic: thoughts": (
        "anthropic",
        lambda n: each_block(
            n,
            lambda i: block(
                i,
                {"type": "thinking", "thinking": "", "signature": ""},
                {"type": "thinking_delta", "thinking": "x"},
                {"type": "signature_delta", "signature": "y"},
            ),
        ),
    ),
    "anthropic: thoughts of one block": (
        "anthropic",
        lambda n: blocks(
            *block(
                0,
                {"type": "thinking", "thinking": "", "signature": ""},
                *({"type": "thinking_delta", "thinking": "x"} for _ in range(n)),
            )
        ),
    ),
    "anthropic: sources of one block": (
        "anthropic",
        lambda n: blocks(
            *block(0, TEXT, *({"type": "citations_delta", "citation": {"url": "https://x"}} for _ in range(n)))
        ),
    ),
    "anthropic: counts": (
        "anthropic",
        lambda n: blocks(*({"type": "message_delta", "delta": {}, "usage": {f"f{i}": 1}} for i in range(n))),
    ),
    "anthropic: an error of one letter": (
        "anthropic",
        lambda n: [{"type": "error", "error": {"type": "invalid_request_error", "message": "a" * n}}],
    ),
    "gemini: many texts": ("gemini", lambda n: [candidate([{"text": "x"}]) for _ in range(n)]),
    "gemini: many parts": ("gemini", lambda n: [candidate([{"text": "x"}] * n)]),
    "gemini: many calls": (
        "gemini",
        lambda n: [candidate([{"functionCall": {"name": "f", "args": {}}}]) for _ in range(n)],
    ),
    "gemini: many thoughts": ("gemini", lambda n: [candidate([{"text": "x", "thought": True}]) for _ in range(n)]),
    "gemini: many candidates": ("gemini", lambda n: [candidate([{"text": "x"}], i) for i in range(n)]),
    "gemini: many candidates under indexes of one hash": (
        "gemini",
        lambda n: [candidate([{"text": "x"}], i * LARGEST_HASH) for i in range(n)],
    ),
    "gemini: log probabilities": (
        "gemini",
        lambda n: [
            candidate([{"text": "x"}], logprobsResult={"chosenCandidates": [{"token": "x"}] * n}),
        ],
    ),
    "gemini: images": (
        "gemini",
        lambda n: [candidate([{"inlineData": {"mimeType": "image/png", "data": "x"}}] * n)],
    ),
    "gemini: an error of a long text": (
        "gemini",
        lambda n: [{"error": {"status": "INVALID_ARGUMENT", "message": "models/" * n}}],
    ),
    "responses: many texts": (
        "responses",
        lambda n: [
            *({"type": "response.output_text.delta", "output_index": 0, "delta": "x"} for _ in range(n)),
            *items(0, function_call),
        ],
    ),
    "responses: many calls": ("responses", lambda n: items(n, function_call)),
    "responses: many calls at the end": ("responses", lambda n: items(n, function_call, heard=False)),
    "responses: many messages": (
        "responses",
        lambda n: items(
            n, lambda i: {"type": "message", "content": [{"type": "output_text", "text": "x"}]}, heard=False
        ),
    ),
    "responses: a message of many parts": (
        "responses",
        lambda n: items(1, lambda i: {"type": "message", "content": [{"type": "output_text", "text": "x"}] * n}),
    ),
    "responses: many thoughts": (
        "responses",
        lambda n: items(n, lambda i: {"type": "reasoning", "id": f"r{i}", "summary": [{"text": "x"}]}),
    ),
    "responses: many sources": (
        "responses",
        lambda n: [
            *(
                {"type": "response.output_text.annotation.added", "annotation": {"type": "url_citation", "url": "x"}}
                for _ in range(n)
            ),
            *items(0, function_call),
        ],
    ),
}


def whole(message: Json) -> Json:
    return {"choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}


# Whole answers of OpenAI-compatible hosts.
WHOLES: dict[str, tuple[str, Make]] = {
    "many choices": ("openai", lambda n: {"choices": [{"message": {"content": "x"}} for _ in range(n)]}),
    "many calls": ("openai", lambda n: whole({"tool_calls": [fragment(i, f"c{i}") for i in range(n)]})),
    "many parts": ("mistral", lambda n: whole({"content": [{"type": "text", "text": "x"}] * n})),
    "a text of blanks": ("vllm", lambda n: whole({"content": " " * n})),
    "a text of tags": ("vllm", lambda n: whole({"content": "<think>" * n})),
    "unknown fields": ("openai", lambda n: whole({"content": "x"}) | {f"f{i}": 0 for i in range(n)}),
}


def decoded(reads: list[bytes]) -> None:
    decoder = Decoder()
    for piece in reads:
        decoder.feed(piece)
    decoder.flush()


# Bytes of an event stream, in the pieces that the network gave.
READS: dict[str, Make] = {
    "many events": lambda n: [b'data: {"a":1}\n\n' * n],
    "many events, cut small": lambda n: pieces(b'data: {"a":1}\n\n' * n, 5),
    "one long event, cut small": lambda n: pieces(b'data: "' + b"x" * 16 * n + b'"\n\n', 16),
    "lines of one event": lambda n: [b"data: 1\n" * n],
    "lines of one event, cut small": lambda n: pieces(b"data:\n" * n, 6),
    "empty lines": lambda n: pieces(b"\n" * n, 64),
    "ends of lines in two bytes": lambda n: pieces(b"data: 1\r\n\r\n" * n, 3),
    "comments": lambda n: pieces(b": x\n\n" * n, 64),
    "names": lambda n: pieces(b"event: x\n" * n, 64),
    "named events": lambda n: [b"event: x\ndata: 1\n\n" * n],
    "errors": lambda n: [b"error: x\n" * n],
}

# Error answers of an upstream, for every protocol.
ERRORS: dict[str, Make] = {
    "one letter": lambda n: {"error": {"type": "invalid_request_error", "message": "a" * n}},
    "a letter that many words begin with": lambda n: {"error": {"message": "e" * n}},
    "addresses": lambda n: {"error": {"type": "invalid_request_error", "message": "https://x. " * n}},
    "beginnings of addresses": lambda n: {"error": {"message": "http" * n}},
    "names of models": lambda n: {"error": {"message": "models/" * n}},
    "accounts": lambda n: {"error": {"message": "org-proj_" * n}},
    "parentheses": lambda n: {"error": {"message": " (org" * n}},
    "blanks": lambda n: {"error": {"message": " " * n}},
    "details": lambda n: {"error": {"message": "x", "details": [{"retryDelay": "1s"}] * n}},
    "places": lambda n: {"detail": [{"loc": ["body"] * n, "msg": "x"}]},
    "words": lambda n: {"error": {"message": "the key of a team: account 'x " * n}},
    "a message that is an object": lambda n: {"error": {"message": {"a": "x" * n}, "type": {"a": "x" * n}}},
    "a long code": lambda n: {"error": {"message": "x", "code": "c" * n, "param": "p" * n}},
    "what a host behind it said": lambda n: {
        "error": {"message": "Provider returned error", "metadata": {"raw": "[" * n}}
    },
}


# Requests of which the model alone is read.
PASSED: dict[str, Callable[[int], bytes]] = {
    "a long name": lambda n: b'{"' + b"x" * n + b'":1,"model":"m"}',
    "escapes in a name": lambda n: b'{"' + b"\\n" * n + b'":1,"model":"m"}',
    "many names": lambda n: b"{" + b"".join(b'"%d":0,' % i for i in range(n)) + b'"model":"m"}',
    "blanks": lambda n: b"{" + b" " * n + b'"model"' + b" " * n + b':"m"}',
    "a long text": lambda n: b'{"prompt":"' + b"x" * n + b'","model":"m"}',
    "one name twice": lambda n: b"{" + b'"a":0,' * n + b'"model":"m"}',
}


def kept(records: int, calls: int, text: str) -> ReasoningCache:
    """A cache with some answers of some calls each, c0, c1 …"""
    cache = ReasoningCache()
    for k in range(records):
        made = [call(f"c{k * calls + i}") for i in range(calls)]
        remember(cache, {"tool_calls": made, "reasoning_content": text})
    return cache


def naming(messages: int, calls: int, **more: Any) -> Json:
    """A request whose messages name some calls each, the same ones."""
    return {"messages": [called(*(call(f"c{i}") for i in range(calls)), **more)] * messages}


def restore(value: tuple[ReasoningCache, Json]) -> int:
    return len(codec.encode(value[0].restore(value[1])))


def watched(chunks: list[Json]) -> None:
    collector = ReasoningCache().collector()
    for chunk in chunks:
        collector.see([chunk])
    collector.commit()


def fed(pieces: list[str]) -> None:
    tags = ThinkTags()
    for piece in pieces:
        tags.feed(piece)
    tags.end()


def embeds(protocol: str) -> Callable[[bytes], object]:
    to = TO[protocol]
    return lambda data: [codec.encode(each.body) for each in embedded.calls(embeddings_in.parse(data).body, to)]


def vectors(n: int, one: Any, form: str) -> tuple[Json, list[Any]]:
    body = {"model": "m", "input": ["x"] * n, "encoding_format": form}
    return body, [{"data": [{"index": n - i, "embedding": one} for i in range(n)]}]


def shown(value: tuple[list[bytes], list[str]]) -> None:
    """What the inspector does to show the reads of an exchange."""
    pieces, words = value
    headers = {"authorization": " ".join(words), "x-other": "x" * len(words)}
    masked_headers(headers)
    masked_texts([(0.0, piece) for piece in pieces], list(secrets_in(headers)))


def summed(pieces: list[bytes]) -> None:
    held = density.Sum()
    for piece in pieces:
        held.add(piece)


def told_whole(pieces: list[bytes]) -> None:
    seen = density.Whole()
    for piece in pieces:
        seen.add(piece)


def passed(reads: list[bytes]) -> None:
    """What a native answer of the Responses API is looked at for."""
    known = Passed()
    for raw in reads:
        known.see(raw)
    known.failed(UpstreamTruncated(), {"created_at": 1})


def named(n: int, each: int) -> tuple[ResponsesStore, bytes]:
    """A store of n responses of so many items, and a request that names all of those."""
    store = ResponsesStore("memory", 1000.0, 2**30, lambda: 1.0)
    for at in range(n):
        items = [{"id": f"msg_{at}_{i}", "type": "message"} for i in range(each)]
        answer = {"id": f"resp_{at}", "output": [], "status": "completed"}
        asyncio.run(store.put("", Stored(f"resp_{at}", None, "echo", False, items, answer)))
    given = [{"type": "item_reference", "id": f"msg_{at}_{i}"} for at in range(n) for i in range(each)]
    return store, codec.encode({"model": "m", "input": given})


def resolved(value: tuple[ResponsesStore, bytes]) -> None:
    store, data = value
    asyncio.run(Conversation("", store, False).resolve(data, False, 2**30, None))


def scanned(form: bytes) -> None:
    FormScanner(b"b", lambda name: None).feed(form)


def part(header: bytes, value: bytes = b"") -> bytes:
    """A form up to the end of its first part."""
    return b"--b\r\nContent-Disposition: form-data" + header + b"\r\n\r\n" + value + b"\r\n--b"


def told(answer: bytes) -> None:
    watch = UsageWatch()
    watch.see(answer)
    watch.usage()


MODELS = ModelTable.parse(FACTS)
ROUTES = load(CONFIG, {}, FACTS).routes
SCRUB = Scrubber(["sk-secret-of-the-config"], ["https://upstream.example.com/v1"])
NUMBERS = count()  # what was looked up is kept: each name is asked for once


SLASHES = ModelTable.parse('{families: {}, models: {"*-a": {}}}')  # of so few rows that their number hides nothing


def looked_up(name: str) -> None:
    MODELS.of(name, f"provider{next(NUMBERS)}")


def counted(data: bytes) -> None:
    """Count values as where there are too many to count roughly."""
    density.values(data, 0)
    density.Sum().add(data)


PACKED = b64encode(pack("<8f", *[0.5] * 8)).decode()

OTHERS: dict[str, Row] = {
    "a model's name of slashes, looked up": Row(lambda n: "a/" * n, looked_up),
    "a model's name of slashes, looked up in a small table": Row(
        lambda n: "a/" * n, lambda name: SLASHES.of(name, f"provider{next(NUMBERS)}")
    ),
    "a model's name of colons, looked up": Row(lambda n: "a:b" * n, looked_up),
    "a model's name of dates, looked up": Row(lambda n: "-2024" * n, looked_up),
    "a model's name of slashes, routed": Row(
        lambda n: "a/" * n, lambda name: ROUTES.resolve(f"up/{next(NUMBERS)}{name}", ("*",))
    ),
    "a model's name of slashes, not allowed": Row(
        lambda n: "up/" + "a/" * n, lambda name: ROUTES.resolve(name, ("a",))
    ),
    "a model's name of no provider": Row(lambda n: "a/" * n, lambda name: ROUTES.resolve(name, ("*",))),
    "names in a header": Row(lambda n: ",".join(f"f{i}" for i in range(n)), lambda names: header_safe(names[:200])),
    **{
        f"Retry-After: {name}": Row(lambda n, make=make: make(min(n, 2000)), lambda text: parse_retry_after(text, 0.0))
        for name, make in {
            "digits": lambda n: "1" * n,
            "blanks": lambda n: " " * n,
            "a decimal": lambda n: "0." + "1" * n,
            "words": lambda n: "Mon, " * n,
            "colons": lambda n: "Sat, 28 Nov 2026 " + "11:" * n,
            "dashes": lambda n: "28-" * n,
        }.items()
    },
    **{
        f"scrub: {text!r}": Row(lambda n, text=text: text * n, SCRUB)
        for text in ("sk-", "sk-a ", "bearer ", "Bearer a", "?key=", "&api_key", "AIza", "gsk_", "x", "hf_hf_ ")
    },
    "cache: calls of two answers": Row(lambda n: (kept(2, n, "x"), naming(1, 2 * n)), restore),
    "cache: many messages name one answer": Row(lambda n: (kept(1, 1, "x" * n), naming(n, 1)), restore),
    "cache: many calls of an answer that was brought back": Row(
        lambda n: (kept(1, n, "x" * 100 * n), naming(1, n, reasoning_content="x")), restore
    ),
    "cache: many answers": Row(lambda n: (kept(n, 1, "x"), naming(1, n)), restore),
    "cache: many calls go by": Row(
        lambda n: [says({"tool_calls": [fragment(i, f"c{i}")], "reasoning_content": "x"}) for i in range(n)], watched
    ),
    "cache: one call goes by in pieces": Row(
        lambda n: [says({"tool_calls": [fragment(0, "c")], "thinking_blocks": [0]}) for i in range(n)], watched
    ),
    "think tags: blanks": Row(lambda n: [" "] * n, fed),
    "think tags: beginnings": Row(lambda n: ["<think>", *["</thin"] * n], fed),
    "legacy: answers": Row(
        lambda n: {"choices": [{"message": {"tool_calls": [{}] * n}}] * 1}, functions.answer_with_function
    ),
    "one line": Row(lambda n: bytearray("\u2028\u0085".encode() * n), escape_line_ends),
    "the estimate of a prompt": Row(
        lambda n: {"messages": [{"role": "user", "content": [{"type": "text", "text": "x"}] * n}]},
        lambda body: measure(body, 10**6, True),
    ),
    "inspector: many reads": Row(lambda n: ([b"x"] * n, ["secret-word"]), shown),
    "inspector: many secrets": Row(lambda n: ([b"x" * 100 * n], [f"secret-{i}" for i in range(n)]), shown),
    **{
        f"density: {name}": Row(lambda n, text=text: text * 64 * n, counted)
        for name, text in {
            "objects": b"{},",
            "strings": b'"ab",',
            "numbers": b"0.1,",
            "backslashes": b"\\",
            "quotes": b'"',
            "escaped quotes": b'\\"',
        }.items()
    },
    "whole JSON in many pieces": Row(lambda n: [b'{"a":"}"},' * 64] * n, told_whole),
    "density: many events": Row(lambda n: [b'"ab",[]' * 8] * n, summed),
    "density: JSON inside of many strings": Row(
        lambda n: {"messages": [called(call("c", arguments='{"a":[1]}')), {"role": "tool", "content": "{}"}] * n},
        lambda body: validation.count_inside(body, 0),
    ),
    "density: JSON inside of a result of many parts": Row(
        lambda n: {"messages": [{"role": "tool", "content": [{"type": "text", "text": '{"'}] * n}]},
        lambda body: validation.count_inside(body, 0),
    ),
    **{
        f"arguments in one piece: {text!r}": Row(
            lambda n, text=text: text * 16 * n, lambda text: Arguments().add(text) or Arguments().rest()
        )
        for text in ("{", '"', "\\", '{"a":1}', "[[]],", " ")
    },
    **{
        f"responses natively: {name}": Row(make, passed)
        for name, make in {
            "many beginnings in a line": lambda n: [b'data: {"type":"response.created",' * min(n, 2**15) + b"\n\n"],
            "many beginnings": lambda n: [b'data: {"type":"response.created"}\n\n' * n],
            "many reads of beginnings": lambda n: [b'data: {"type":"response.created"}\n\n'] * n,
            "many ends": lambda n: [b'data: {"type":"response.completed"}\n\n' * n],
            "many numbers": lambda n: [b'data: {"sequence_number":1}\n\n' * n],
            "digits": lambda n: [b'data: {"sequence_number":' + b"1" * n + b"}\n\n"],
            "blanks": lambda n: [b'data: {"sequence_number"' + b" " * n + b":1}\n\n"],
        }.items()
    },
    **{
        f"form: {name}": Row(make, scanned)
        for name, make in {
            "blanks in a header": lambda n: part(b" " * min(n, 8000) + b"x"),
            "blanks behind a name": lambda n: part(b'; name="a"' + b" " * min(n, 8000) + b"x"),
            "semicolons in a header": lambda n: part(b"; " * min(n, 4000) + b"x"),
            "names in a header": lambda n: part(b";name=a" * min(n, 1000) + b'"'),
            "escapes in the name of a file": lambda n: part(b'; filename="' + b"\\a" * min(n, 4000)),
            "a long value": lambda n: part(b'; name="a"', b"-" * n),
            "many parts before a long value": lambda n: (
                part(b'; name="a"')[:-3] * min(n, 900) + part(b'; name="a"', b"-" * 1024 * n)
            ),
            "a value of line breaks": lambda n: part(b'; name="a"', b"\r\n" * n),
        }.items()
    },
    "form: blanks in its Content-Type": Row(
        lambda n: "multipart/form-data;" + " " * min(n, 8000) + "x", lambda kind: boundary_of([kind])
    ),
    "form: parameters in its Content-Type": Row(
        lambda n: "multipart/form-data" + "; a=b" * min(n, 2000), lambda kind: boundary_of([kind])
    ),
    **{f"passing: {name}": Row(make, json_model.read) for name, make in PASSED.items()},
    **{
        f"usage in bytes: {name}": Row(make, told)
        for name, make in {
            "many": lambda n: b'"usage":{' * n,
            "blanks": lambda n: b'"usage"' + b" " * n,
            "texts": lambda n: b'"usage":{' + b'"' * n,
            "empty": lambda n: b'"usage":{}' * n,
        }.items()
    },
    "responses: many items of one response are named": Row(lambda n: named(1, 100 * min(n, 512)), resolved),
    "responses: items of many responses are named": Row(lambda n: named(8 * min(n, 512), 1), resolved),
    "embeddings: many large answers": Row(
        lambda n: vectors(n, [0.5] * 8, "float"),
        lambda value: codec.encode(embedded.answer(value[0], TO["openai"], value[1])),
    ),
    "embeddings: many answers": Row(
        lambda n: vectors(n, [0.5] * 8, "float"), lambda value: embedded.answer(value[0], TO["openai"], value[1])
    ),
    "embeddings: many answers, unpacked": Row(
        lambda n: vectors(n, PACKED, "float"), lambda value: embedded.answer(value[0], TO["openai"], value[1])
    ),
    "embeddings: many answers, packed": Row(
        lambda n: vectors(n, [0.5] * 8, "base64"), lambda value: embedded.answer(value[0], TO["openai"], value[1])
    ),
}

ASKED = ("mistral", "responses", "anthropic", "gemini", "echo")


def rows() -> Iterator[tuple[str, Row]]:
    for name, make in shapes.BODIES.items():
        yield f"parse: {name}", Row(make, request.parse)
    for target in ASKED:
        for name, make in shapes.MESSAGES.items():
            yield f"{target} request: {name}", sends(target, make, "messages")
        for name, make in shapes.TOOLS.items():
            yield f"{target} request: {name}", sends(target, make, "tools")
    for name, make in shapes.SCHEMAS.items():
        for target in ("deepseek", "anthropic", "gemini", "echo"):
            row = sends(target, make, "response_format", answer_format)
            yield f"{target} schema: {name}", row._replace(floor=max(row.floor, FLOORS.get(name, 0.0)))
        yield f"anthropic strict tool: {name}", sends("anthropic", make, "tools", strict_tool)
    for name, make in shapes.EMBEDDINGS.items():
        for target in ("openai", "gemini", "echo"):
            data = lambda n, make=make: json.dumps({"model": "echo", "input": make(n)}).encode()  # noqa: E731
            yield f"{target} embeddings: {name}", Row(data, embeds(target))
    for name, (target, make) in STREAMS.items():
        floor = 3 * FLOOR if any(word in name for word in ("call", "choice", "candidate", "block")) else FLOOR
        yield f"stream of {name}", Row(make, lambda events, target=target: answered(target, events), floor)
    for name, (target, make) in WHOLES.items():
        yield f"whole answer: {name}", Row(make, lambda body, target=target: answered(target, [body], stream=False))
    for name, make in READS.items():
        yield f"read: {name}", Row(make, decoded)
    for protocol in ("openai", "anthropic", "gemini"):
        for name, make in ERRORS.items():
            yield (
                f"{protocol} error: {name}",
                Row(
                    lambda n, make=make: json.dumps(make(n)).encode(),
                    lambda body, p=protocol: PROVIDERS[p].parse_error(400, body),
                ),
            )
    yield from OTHERS.items()


ROWS = dict(rows())


class Work:
    """A row at one size."""

    def __init__(self, row: Row, n: int) -> None:
        self._row, self.n = row, n
        self._input: Any = None

    def input(self) -> Any:
        """The input, made anew where the last use may have changed it."""
        if not isinstance(self._input, bytes | str):
            self._input = self._row.make(self.n)
        return self._input

    def cpu(self, times: int = 1) -> float:
        """Seconds of CPU, the least of several times. A refusal is a result like any other."""
        return min(self._cpu() for _ in range(times))

    def _cpu(self) -> float:
        value = self.input()
        start = time.thread_time()
        with suppress(Failure):
            self._row.run(value)
        return time.thread_time() - start

    def memory(self) -> int:
        """Bytes at the peak, beside the input."""
        value = self.input()
        tracemalloc.start()
        try:
            with suppress(Failure):
                self._row.run(value)
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()


def measurable(row: Row) -> int:
    """A size at which the work can be measured, or the largest that can be made in reasonable time."""
    n = 8
    while n < LARGEST:
        work = Work(row, n)
        start = time.thread_time()
        work.input()
        made = time.thread_time() - start
        spent = work.cpu(2)  # the first time, caches are empty
        if made > MAKING or spent >= row.floor:
            break
        n *= 4 if spent < row.floor / 8 else 2
    return n


@pytest.fixture(scope="module", autouse=True)
def no_collector() -> Iterator[None]:
    """Without the cycle collector, whose runs belong to whoever comes last. What there is by now is left alone."""
    gc.collect()
    gc.freeze()
    gc.disable()
    yield
    gc.enable()
    gc.unfreeze()


@pytest.fixture(autouse=True)
def collected() -> Iterator[None]:
    yield
    gc.collect()


def growth(once: Work, more: Work, floor: float) -> tuple[float, float]:
    """How many times its cost at n each thing costs at more; seconds at more. The least of pairs measured together."""
    least, large = inf, inf
    for tried in range(ALL_PAIRS):
        small, large = max(once.cpu(3), floor), more.cpu()
        least = min(least, large / small * once.n / more.n)
        if least <= SURE or (tried + 1 >= PAIRS and least <= MOST):
            break
    return least, large


@pytest.mark.parametrize("name", ROWS)
def test_work_and_memory_grow_in_proportion_to_the_size(name: str) -> None:
    row = ROWS[name]
    n = measurable(row)
    once, before = Work(row, n), 1.0
    for times in (16, 64, 256):
        each, spent = growth(once, Work(row, times * n), row.floor)
        assert each <= MOST, f"each of {times * n} things costs {each:.1f} times as much as each of {n}"
        if each <= SURE * before or spent > ENOUGH:
            break
        before = each
    # Tracing makes everything slower, but n and 4n will do.
    little, much = once.memory(), Work(row, 4 * n).memory()
    assert much <= SPACE * max(little, LEAST), f"{n} things need {little} bytes, {4 * n} need {much}"


# Absolute bounds

SIZE = 2**17  # bytes of a body
MEMORY = 12  # bytes of memory for each byte of a body, from its parsing to the upstream's body
LOOPS = 8  # CPU of a body, in loops of as many steps as it has bytes


# Bodies of many small values: Python's objects for them are larger than their bytes. How many of these a body may hold is
# bounded where bodies are read; here they are only kept from growing.
DENSE = dict.fromkeys(
    (
        *(
            "many names",
            "many messages",
            "many empty messages",
            "many system messages",
            "system messages between",
            "many parts",
        ),
        *("many empty parts", "calls of one turn", "calls of one turn, answered backwards", "calls of many tools"),
        *("results without calls", "calls without results", "one call many times, then its results"),
        *(
            "calls, then their results",
            "one id in many turns",
            "ids that become one",
            "ids of many turns",
            "results of many parts",
        ),
        *("an unknown field of objects", "tool choice of many", "many tools", "one function called often"),
        "functions called, answered in the order of the calls",
    ),
    24,
)


def of_size(make: Callable[[int], bytes]) -> bytes:
    """A body of about SIZE bytes."""
    n = 16
    while len(data := make(2 * n)) < SIZE and n < SIZE:
        n *= 2
    return make(max(1, 2 * n * SIZE // len(data)))


def through(data: bytes) -> None:
    """What a request costs in this process, whichever protocol it goes to: each is measured alone by the callers."""
    body = request.parse(data).body
    for target in ASKED:
        try:
            sent(TO[target], body)
        except Failure:
            continue


# Shared with tests of whole processes: n → a body of n things.
BOUNDED: dict[str, Callable[[int], bytes]] = shapes.BODIES


def loops(work: Work, most: int) -> float:
    """What a body of SIZE costs, in loops of as many steps; the least of several times, where it is more than `most`."""
    least = inf
    for _ in range(ALL_PAIRS):
        start = time.thread_time()
        sum(1 for _ in range(SIZE))
        loop = time.thread_time() - start
        least = min(least, work.cpu(2) / loop)
        if least < most:
            break
    return least


@pytest.mark.parametrize("name", BOUNDED)
def test_a_body_has_bounds(name: str) -> None:
    data = of_size(BOUNDED[name])
    work = Work(Row(lambda n: data, through), 1)
    assert loops(work, LOOPS * len(ASKED)) < LOOPS * len(ASKED)
    assert work.memory() < DENSE.get(name, MEMORY) * max(len(data), SIZE // 4)


@pytest.mark.parametrize("name", PASSED)
def test_a_body_that_passes_has_bounds(name: str) -> None:
    data = of_size(PASSED[name])
    assert Work(Row(lambda n: data, json_model.read), 1).memory() < DENSE.get(name, MEMORY) * len(data)


@pytest.mark.parametrize("name", ERRORS)
@pytest.mark.parametrize("protocol", ["openai", "anthropic", "gemini"])
def test_an_error_has_bounds(name: str, protocol: str) -> None:
    data = of_size(lambda n: json.dumps(ERRORS[name](n)).encode())
    work = Work(Row(lambda n: data, lambda body: PROVIDERS[protocol].parse_error(400, body)), 1)
    assert loops(work, 5) < 5
