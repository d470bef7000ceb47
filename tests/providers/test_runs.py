"""Runs: what is read without decoding each event is what decoding gives, however the stream is cut."""

import asyncio
import json
import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, cast

import corpus
import pytest
import replay
from corpus import Exchange
from cuts import pieces
from hypothesis import given
from hypothesis import strategies as st
from translators import made_call, translator_of

from dialects import chat, messages, responses
from dialects.contract import ClientRequest, Dialect, Envelope, end_of
from gateway.config_schema import ServerConfig
from gateway.estimates import Prompt
from gateway.record import RequestRecord
from providers.contract import Batch, Json, Upstream
from providers.errors import Failure
from providers.hosts import HOSTS
from providers.runs import Run
from server.outbound.batches import BatchStream
from server.outbound.exchange import Exchange as UpstreamExchange
from server.outbound.opening import Begun
from server.outbound.pool import ConnectionPools
from server.usage.meter import UsageMeter

DIALECTS: dict[str, Dialect] = {"chat": chat, "messages": messages, "responses": responses}
_CALL_ID = re.compile(rb"call_[0-9a-f]{24}")  # made up where the upstream gave none
ENVELOPE = Envelope("0" * 32, 1_700_000_000, "m", "req_1")


class Answer:
    """An upstream's answer that arrives in these reads."""

    status, headers = 200, cast(Mapping[str, str], {})

    def __init__(self, reads: list[bytes]) -> None:
        self._reads = reads

    async def read(self, patience: float = 0.0) -> bytes:
        return self._reads.pop(0) if self._reads else b""

    async def pour(self, take: Callable[[bytes], bool], patience: float) -> None:
        while self._reads:
            if not take(self._reads.pop(0)):
                break

    def finish(self) -> None: ...

    def close(self) -> None: ...


class Told:
    """What a client is told of an answer, and what is counted of it."""

    def __init__(self, dialect: Dialect, body: Json, shown: bool) -> None:
        """shown: whether the client is shown what the model thinks."""
        self.renderer = dialect.render(ClientRequest(body, stream=True), ENVELOPE, shown)
        self.meter = UsageMeter(cast(RequestRecord, None), cast(Prompt, None), Upstream("x", "m"), 0.0)
        self.data = b""
        self.in_runs = 0

    def take(self, batch: Batch) -> bool:
        self.in_runs += len(batch.chunks) if isinstance(batch.chunks, Run) else 0
        self.meter.count_chunks(batch.chunks)
        self.data += self.renderer.send(batch)
        return len(self.data) % 31 != 0  # now and then the client is slow


async def _read(told: Told, reads: list[bytes], protocol: str, host: str, pours: bool) -> tuple[bytes, int, int]:
    to = Upstream("x", "m", host=HOSTS[host])
    call = made_call()
    call = call._replace(read=lambda call, _: translator_of(protocol, made_call(), to))
    first, *rest = reads
    begun = Begun(Answer(rest), first, True)
    stream = BatchStream(UpstreamExchange(to, call, 30.0), cast(ConnectionPools, None), ServerConfig(), 0, begun)
    try:
        async for batch in stream:
            told.take(batch)
            if pours:
                await stream.pour(told.take)
        data = told.data + end_of(told.renderer)
    except Failure as failure:
        data = told.data
        with suppress(Failure, RuntimeError):  # the renderer may be what failed
            data += end_of(told.renderer, failure)
    return _CALL_ID.sub(b"call_x", data), told.meter.sent, told.meter.deltas


async def _check(reads: list[bytes], protocol: str, host: str, body: Json, shown: bool) -> int:
    seen = 0
    for dialect in DIALECTS.values():
        fast, slow = Told(dialect, body, shown), Told(dialect, body, shown)
        ours = await _read(fast, reads, protocol, host, True)
        assert ours == await _read(slow, reads, protocol, host, False)
        assert slow.in_runs == 0
        seen = fast.in_runs
    return seen


def check(
    reads: list[bytes], protocol: str = "openai", host: str = "vllm", body: Json | None = None, shown: bool = True
) -> int:
    """Compare what the clients of each API are told with what decoding gives. Return how many chunks were not decoded."""
    return asyncio.run(_check(reads, protocol, host, body or {}, shown))


def event(value: Json | str, name: str = "", spaces: bool = False) -> bytes:
    data = value if isinstance(value, str) else json.dumps(value, separators=None if spaces else (",", ":"))
    return f"event: {name}\ndata: {data}\n\n".encode() if name else f"data: {data}\n\n".encode()


def piece(text: str, created: int = 1, **more: Any) -> Json:
    choice = {"index": 0, "delta": {"content": text}, "logprobs": None, "finish_reason": None}
    return {
        "id": "c-1",
        "object": "chat.completion.chunk",
        "created": created,
        "model": "up",
        "choices": [choice],
        **more,
    }


def delta(delta: Json, finish: str | None = None) -> Json:
    return {"id": "c-1", "created": 1, "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}


USAGE: Json = {"id": "c-1", "choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 9, "total_tokens": 12}}
FIRST = event(delta({"role": "assistant", "content": ""}))
LAST = [event(delta({}, "stop")), event(USAGE), event("[DONE]")]


def paced(events: list[bytes]) -> list[bytes]:
    """Reads of one event each."""
    return events


def bursts(events: list[bytes], size: int) -> list[bytes]:
    """Reads of so many bytes, which end anywhere."""
    return pieces(b"".join(events), size)


WORDS = [f" word{number}" for number in range(40)]
MOST = (
    24  # of them: not the first, nor two to learn from, nor those that wait for a slow client, and the next after each
)


@pytest.mark.parametrize("spaces", [False, True])
def test_most_of_a_stream_is_a_run(spaces: bool) -> None:
    events = [FIRST, *(event(piece(word), spaces=spaces) for word in WORDS), *LAST]
    assert check(paced(events)) > MOST
    assert check(bursts([FIRST, *(event(piece(word), spaces=spaces) for word in WORDS * 5), *LAST], 3000)) > MOST * 5
    assert check([b"".join(events[:2]), b"".join(events[2:])]) > MOST
    assert check(paced(events), body={"stream_options": {"include_usage": True}}) > MOST


def padded(text: str, padding: str, **more: Any) -> bytes:
    return event({**piece(text), "usage": None, "obfuscation": padding, **more})


@pytest.mark.parametrize("size", [1, 3000, 10**6])
def test_padding_that_differs_in_each_event(size: int) -> None:
    events = [padded(word, "aB3xYz" * 3 + "q" * (number % 7)) for number, word in enumerate(WORDS * 5)]
    reads = paced([FIRST, *events, *LAST]) if size == 1 else bursts([FIRST, *events, *LAST], size)
    assert check(reads) > MOST * 5 * 0.7
    assert check(reads, body={"stream_options": {"include_usage": True}}) > MOST * 5 * 0.7


@pytest.mark.parametrize(
    "odd",
    [
        padded("x", ""),
        padded("x", "a b"),
        padded("x", 'a"b'),
        padded("x", "\u00e9"),
        padded('say "it" \\ with\ttabs', "abc"),
        padded('","usage":null,"obfuscation":"', "abc"),
        padded("x", "abc", note="abc"),
        padded("abc", "abc"),
        padded("x", "abc", usage={"prompt_tokens": 1, "completion_tokens": 2}),
        padded("x", "abc").replace(b'"abc"', b'"abc","note":"abc"'),
        padded("x", "abc").replace(b'"abc"', b'"abc","obfuscation":"d"'),
        padded("x", "abc").replace(b'"abc"', b"null"),
        padded("x", "abc").replace(b'"abc"', b'"ab\\u0063"'),
        padded("x", "abc").replace(b'"abc"', b'"abc" '),
        event(piece("x")),
        padded("x", "abc") + padded("y", "abcd"),
    ],
)
def test_padding_of_other_forms(odd: bytes) -> None:
    words = [padded(word, f"pad{number}") for number, word in enumerate(WORDS[:9])]
    events = [FIRST, *words, odd, *words, *LAST]
    assert check(paced(events)) >= 5
    for size in (100, 333, 1000, 2500, 5000):
        check(bursts(events, size))
    check(paced([FIRST, *[odd] * 6, *words, *LAST]))


def _noted_first(word: str, note: str) -> bytes:
    return event({**piece(word), "note": note, "obfuscation": "same"})


def test_a_field_that_is_like_the_padding() -> None:
    for noted in (lambda word, note: padded(word, "same", note=note), _noted_first):
        alike = [noted(word, "same") for word in WORDS[:6]]
        other = [noted(word, f"other{number}") for number, word in enumerate(WORDS)]
        check(paced([FIRST, *alike, *other, *LAST]))
    first = [event({"obfuscation": f"pad{number}", **piece(word)}) for number, word in enumerate(WORDS)]
    assert check(paced([FIRST, *first, *LAST])) == 0


def test_a_read_that_has_all() -> None:
    words = [f"{word} and more of it" for word in WORDS * 9]
    events = [FIRST, *(event(piece(word)) for word in words), *LAST]
    assert check(bursts(events, 200_000)) > len(words) * 0.7


def test_a_stream_of_claude() -> None:
    def said(text: str) -> bytes:
        block = {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": text}}
        return event(block, "content_block_delta")

    raw = (replay.STREAMS / "claude_text.sse").read_bytes()
    begin, first, rest = raw.partition(b"event: content_block_delta\n")
    events = [begin, *map(said, WORDS), first + rest]
    assert check(paced(events), "anthropic", "anthropic") > MOST
    assert check(bursts([begin, *map(said, WORDS * 5), first + rest], 3000), "anthropic", "anthropic") > MOST * 5


@pytest.mark.parametrize(
    "odd",
    [
        event(piece('say "it" \\ with\ttabs\nand lines\u2028here')),
        event(piece("")),
        event(piece("\u00a0caf\u00e9\u3000\U0001f600")),
        event(piece("")).replace(b'""', b'"\\ud83d"'),
        event(piece("")).replace(b'""', b'"\\u0041\\/"'),
        event(piece("")).replace(b'""', b'"\xff\xfe"'),
        event(piece("")).replace(b'""', b'"a\tb"'),
        event(piece("")).replace(b'""', b'""b"'),
        event(piece("")).replace(b'""', b'"a'),
        event(piece("")).replace(b'""', b'"a\\"'),
        event(piece("x")).replace(b"\n\n", b"\n"),
        event(piece("x")).replace(b"\n\n", b"\r\n\r\n"),
        event(piece("x", created=2)),
        event(piece("x", usage={"prompt_tokens": 1, "completion_tokens": 2})),
        event(piece("x", error={"message": "no", "code": 500})),
        event(piece("x"), "error"),
        event(piece("x", content="y")),
        event(piece("x")) + event(piece("x")),
        event(delta({"content": "x", "reasoning_content": "y"})),
        event(delta({"tool_calls": [{"index": 0, "id": "c", "function": {"name": "f", "arguments": ""}}]})),
        event(delta({"content": "x"}, "length")),
        b": a comment\n\n",
        b": a comment\n",
        b"id: 7\n",
        b"event: message\n",
        b"\n",
        b"data: words\n\n",
        b"data: {}\n\n",
        event("[DONE]"),
    ],
)
def test_what_is_not_of_the_run(odd: bytes) -> None:
    words = [event(piece(word)) for word in WORDS[:9]]
    events = [FIRST, *words, odd, *words, *LAST]
    assert check(paced(events)) >= 5
    for size in (100, 333, 1000, 2500, 5000):
        check(bursts(events, size))
    check([b"".join(events[:2]), b"".join(events[2:])])


def test_texts_that_stand_elsewhere_too() -> None:
    """What was learnt is where a text stands, not a place where the same letters stand by chance."""
    chunks = [{**piece(word), "note": {"content": word}} for word in WORDS]
    assert check(paced([FIRST, *map(event, chunks), *LAST])) == 0
    moved = [
        event(piece("")).replace(b'""', b'"\\u0062"').replace(b'"c-1"', b'"%b"' % c) for c in (b"b", b"c", b"d", b"e")
    ]
    assert check(paced([FIRST, *moved, *LAST])) == 0


@pytest.mark.parametrize(
    "form",
    [
        {"reasoning_content": "{}"},
        {"reasoning": "{}"},
        {"content": None, "reasoning_content": "{}"},
        {"content": "{}", "reasoning_content": None},
        {"role": "assistant", "content": "{}"},
        {"content": "", "reasoning": "{}"},
    ],
)
def test_thinking_and_other_forms(form: Json) -> None:
    words = [delta({name: value and value.format(word) for name, value in form.items()}) for word in WORDS]
    events = [FIRST, *map(event, words), *LAST]
    in_runs = check(paced(events))
    assert in_runs > 15 or form.get("content") == ""
    asked = {"stream_options": {"include_usage": True}}
    check(bursts(events, 700), body=asked)
    check([b"".join(events[:4]), *events[4:]], shown=False)


def test_think_tags_and_other_choices() -> None:
    events = [FIRST, *(event(piece(word)) for word in ["<think>", "a", "b", "c", "d", "</think>", *WORDS]), *LAST]
    assert check(paced(events), host="ollama") < len(WORDS)
    assert check(paced(events), host="openai") > 0
    two = [json.loads(event(piece(word))[6:]) for word in WORDS]
    for number, chunk in enumerate(two):
        chunk["choices"][0]["index"] = number % 2
    check(paced([*map(event, two), *LAST]), body={"n": 2})


@given(
    st.lists(
        st.one_of(
            st.text(max_size=6),
            st.text(alphabet='ab "\\\n\té{}:,', max_size=6),
            st.sampled_from(['"}}\n\n', "data: ", '","', "\\", "\\n", "logprobs"]),
        ),
        max_size=30,
    ),
    st.booleans(),
    st.integers(40, 3000),
)
def test_any_texts(texts: list[str], ascii_only: bool, size: int) -> None:
    chunks = [json.dumps(piece(text), ensure_ascii=ascii_only).encode("utf-8", "surrogatepass") for text in texts]
    events = [FIRST, *(b"data: %b\n\n" % chunk for chunk in chunks), *LAST]
    check(paced(events))
    check(bursts(events, size))


STREAMS = {"claude": "anthropic", "gemini": "gemini"}


@pytest.mark.parametrize("name", sorted(path.name for path in replay.STREAMS.glob("*.sse")))
def test_our_streams(name: str) -> None:
    protocol = STREAMS.get(name.partition("_")[0], "openai")
    raw = (replay.STREAMS / name).read_bytes()
    for reads in (_events(raw), pieces(raw, 64), pieces(raw, 1000), [raw]):
        check(reads, protocol, {"openai": "vllm"}.get(protocol, protocol))


def _events(raw: bytes) -> list[bytes]:
    end = b"\r\n\r\n" if b"\r\n\r\n" in raw else b"\n\n"
    return [block + end for block in raw.split(end) if block]


RECORDED = sorted(
    path.name.partition(".")[0]
    for path in corpus.CORPUS.glob("*.gz")
    if "-chat." in path.name or "messages" in path.name
)


@corpus.needed
@pytest.mark.parametrize("name", RECORDED)
def test_recorded_streams(name: str) -> None:
    protocol, host = ("anthropic", "anthropic") if name == "anthropic-messages" else ("openai", "vllm")

    def check_one(exchange: Exchange) -> None:
        raw = corpus.body_of(exchange)
        check(_events(raw) if len(raw) % 2 else pieces(raw, 1500), protocol, host)

    corpus.check_all(check_one, [each for each in corpus.wire(name) if each["response"]["stream"]])
