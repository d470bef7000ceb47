"""Answers, and JSON inside strings, take at most 12 times their bytes of memory; dense ones are refused, not parsed."""

import gc
import json
import tracemalloc
from base64 import b64encode
from collections.abc import Callable
from struct import pack
from typing import Any

import embedded
import httpx2 as httpx
import pytest
from http_client import ask, whole
from process import Process, config
from scripted import Upstream, answer, sse, stream
from test_anthropic_edge import CALL as CLAUDE
from test_anthropic_edge import TO, opened, start
from translators import translator_of

from dialects.validation import count_inside
from providers import PROVIDERS, density
from providers.common.arguments import Arguments
from providers.contract import Json
from providers.contract import Upstream as Target
from providers.errors import BadRequest, UpstreamBadOutput
from providers.sse import Decoder, Event
from server.outbound.document import parsed

SIZE = 2**19  # bytes of an answer
DENSE = ["{}", "[]", "[[]]", '{"a":0}', '{"a":{}}', '[{"":[]}]', "[0]"]
USAGE = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
LOGPROB = {"token": " a", "logprob": -0.12345, "bytes": [32, 97]}


def many(item: str, size: int = SIZE) -> str:
    """A list of as many items as fit."""
    return f"[{','.join([item] * (size // (len(item) + 1)))}]"


def peak(work: Callable[[], object]) -> int:
    """The bytes of memory that some work takes at once."""
    gc.collect()
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def completion(field: str, value: str, content: str = "hi") -> bytes:
    message = f'{{"role":"assistant","content":"{content}"}}'
    return f'{{"choices":[{{"index":0,"message":{message},"finish_reason":"stop"}}],"{field}":{value}}}'.encode()


def event(value: str) -> bytes:
    return f'data: {{"choices":[{{"index":0,"delta":{{"annotations":{value}}}}}]}}\n\n'.encode()


def kept(piece: bytes, times: int) -> list[Event]:
    decoder = Decoder()
    decoder.keep()
    return [each for _ in range(times) for each in decoder.feed(piece)]


# Where an answer is read: text of a value → bytes read, and how.
READERS: dict[str, Callable[[str], Callable[[], object]]] = {
    "whole": lambda value: lambda: parsed(completion("x", value), None),
    "event": lambda value: lambda: Decoder().feed(event(value)),
    "event of two documents": lambda value: lambda: Decoder().feed(b"data: {}" + event(value)[6:]),
    "events that are kept": lambda value: lambda: kept(event(value[:4000].rpartition(",")[0] + "]"), SIZE // 4000),
}


@pytest.mark.parametrize("item", DENSE)
@pytest.mark.parametrize("reader", READERS)
def test_a_dense_answer_is_refused(reader: str, item: str) -> None:
    read = READERS[reader](many(item))

    def refused() -> None:
        with pytest.raises(UpstreamBadOutput) as caught:
            read()
        assert (caught.value.status, caught.value.code) == (502, "upstream_too_large")

    # Events that are kept may take what one of them may.
    assert peak(refused) < (128 * density.ANSWER if reader == "events that are kept" else density.TIMES * SIZE)


FINE: dict[str, str] = {
    "a text": json.dumps("x" * SIZE),
    "a text of marks": json.dumps("{},[]," * (SIZE // 6)),
    "a text of quoted marks": json.dumps('{"a":[]},' * (SIZE // 12)),
    "numbers": many("-0.0123456789"),
    "integers": many("-123"),
    "small integers": many("7"),
    "small integers, spaced": f"[{', '.join(['42'] * (SIZE // 4))}]",
    "log probabilities": many(json.dumps(LOGPROB, separators=(",", ":"))),
    "few dense values": many("[[]]", 150_000),
}


@pytest.mark.parametrize("name", FINE)
@pytest.mark.parametrize("reader", ["whole", "event"])
def test_what_takes_little_memory_passes(reader: str, name: str) -> None:
    found: list[object] = []
    taken = peak(lambda: found.append(READERS[reader](FINE[name])()))
    assert found and taken < density.TIMES * SIZE


def test_small_events_are_kept() -> None:
    """The chunks of 3,000 words a second for ten minutes, in a few bytes more than they must have."""
    piece = sse({"id": "x", "created": 1, "choices": [{"index": 0, "delta": {"content": "a, b"}}]}, done=False)
    assert len(kept(piece, 20_000)) == 20_000


def embeds(vector: str, inputs: int, more: str = "0", form: str = "float") -> Json:
    each = f'{{"index":0,"embedding":{vector}}}'
    body = f'{{"data":[{",".join([each] * inputs)}],"x":{more}}}'.encode()
    return embedded.answer({"input": ["a"] * inputs, "encoding_format": form}, Target("up", "m"), [parsed(body, None)])


@pytest.mark.parametrize("form", ["float", "base64"])
@pytest.mark.parametrize("packed", [False, True])
def test_many_embeddings_pass(form: str, packed: bool) -> None:
    numbers = [0.0123456789] * 3072
    vector = json.dumps(b64encode(pack("<3072f", *numbers)).decode() if packed else numbers)
    found: list[Json] = []
    taken = peak(lambda: found.append(embeds(vector, 60, form=form)))
    assert len(found[0]["data"]) == 60
    assert taken < density.TIMES * 60 * len(vector)


@pytest.mark.parametrize("item", DENSE)
def test_dense_embeddings_are_refused(item: str) -> None:
    with pytest.raises(UpstreamBadOutput) as caught:
        embeds("[0.5]", 1, many(item))
    assert caught.value.code == "upstream_too_large"


# JSON inside strings


@pytest.mark.parametrize("item", DENSE)
def test_dense_arguments_of_an_answer_stay_text(item: str) -> None:
    text = f'{{"a":{many(item)}}}'
    twice = json.dumps(text)
    for given in (text, twice):
        arguments = Arguments()
        said: list[str] = []
        assert peak(lambda: said.append(arguments.add(given))) < density.TIMES * SIZE  # noqa: B023
        assert said[0] + arguments.rest() in (text, twice)


@pytest.mark.parametrize("item", DENSE)
def test_dense_arguments_of_a_custom_tool_are_not_made(item: str) -> None:
    events = [
        start(),
        opened(0, type="tool_use", id="c", name="f", input={}),
        {
            "type": "content_block_delta",
            "index": 0,
            "delta": {"type": "input_json_delta", "partial_json": f'{{"x":{many(item)},"input":"hi"}}'},
        },
        {"type": "content_block_stop", "index": 0},
    ]
    body = {
        "model": "m",
        "messages": [{"role": "user", "content": "x"}],
        "tools": [{"type": "custom", "custom": {"name": "f"}}],
        "max_tokens": 9,
    }
    call = PROVIDERS["anthropic"].build_request(body, TO)
    translator = translator_of("anthropic", call, TO)
    chunks: list[Json] = []

    def work() -> None:
        for each in events:
            chunks.extend(translator.send(Event("", each)))

    assert peak(work) < density.TIMES * SIZE
    assert [
        tool["custom"]["input"]
        for chunk in chunks
        for choice in chunk["choices"]
        for tool in choice["delta"].get("tool_calls", ())
        if tool["custom"].get("input")
    ] == ["hi"]


def test_what_is_kept_is_counted_as_the_memory_it_takes() -> None:
    """Blocks of thinking, held until the end: 32 MiB of them may be, or fewer that take as much as 12 times that."""
    block = opened(0, type="thinking", thinking="x", more=json.loads(many("[[]]", 200_000)))["content_block"]
    translator = translator_of("anthropic", CLAUDE, TO)
    translator.send(Event("", start()))
    with pytest.raises(UpstreamBadOutput):
        for n in range(60):  # 12 MB
            translator.send(Event("", {"type": "content_block_start", "index": n, "content_block": block}))


def called(arguments: str) -> Json:
    return {"role": "assistant", "tool_calls": [{"id": "c", "function": {"name": "f", "arguments": arguments}}]}


def told(content: Any, role: str = "tool") -> Json:
    return {"role": role, "tool_call_id": "c", "content": content}


DENSE_TEXT = f'{{"a":{many("{}", 2 * SIZE)}}}'
IN_STRINGS: dict[str, list[Json]] = {
    "arguments": [called(DENSE_TEXT)],
    "arguments of many calls": [called(f'{{"a":{many("{}", 3000)}}}')] * 300,
    "a result": [told(DENSE_TEXT)],
    "a result in parts": [
        told([{"type": "text", "text": '{"a":"'}, {"type": "text", "text": f'","b":{many("{}", 2 * SIZE)}}}'}])
    ],
    "a result of a function": [told(DENSE_TEXT, "function")],
}


@pytest.mark.parametrize("name", IN_STRINGS)
def test_values_inside_of_strings_count_with_those_of_the_body(name: str) -> None:
    def refused() -> None:
        with pytest.raises(BadRequest) as caught:
            count_inside({"messages": IN_STRINGS[name]}, 0)
        assert (caught.value.status, caught.value.code) == (400, "too_many_values")

    assert peak(refused) < density.TIMES * SIZE


def test_values_inside_of_strings_are_counted_where_they_are_parsed() -> None:
    body = {
        "messages": [
            {"role": "user", "content": DENSE_TEXT},
            called('{"a": [1, "x,y", {}]}'),
            called(""),
            {"role": "assistant", "tool_calls": [{"custom": {"input": DENSE_TEXT}}]},
            {"role": "assistant", "content": "x", "tool_calls": None},
            told('{"b": [1, 2]}'),
            told("Rows: [1, 2]"),
            told(many("{}")),
            told([{"type": "text", "text": '{"c"'}, {"type": "text", "text": ": {}}"}]),
            told(None),
        ]
    }
    assert count_inside(body, 0) == 5 + 3 + 2
    assert count_inside({"input": "x"}, 0) == 0


# the whole process


def ask_with(server: Process, model: str, *history: Json, **more: Any) -> httpx.Response:
    body = {"model": model, "messages": [{"role": "user", "content": "x"}, *history], **more}
    with httpx.Client(timeout=60, trust_env=False) as http:
        return http.post(f"{server.url}/chat/completions", content=json.dumps(body, separators=(",", ":")).encode())


def test_a_dense_answer_fails_and_a_large_one_passes(upstream: Upstream, scripted: Callable[..., str]) -> None:
    text = "x" * 6_000_000
    end = sse({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
    large = scripted(answer(whole(text)))
    words = scripted(
        stream(sse({"choices": [{"index": 0, "delta": {"content": "x" * 1000}}]}, done=False) * 3000 + end)
    )
    logged = scripted(answer(whole() | {"logprobs": [LOGPROB] * 30_000}))
    dense = scripted(answer(json.loads(completion("x", many("[[]]")))))
    events = scripted(stream(event(many("{}", 50_000)) * 100 + end))
    vectors = {"data": [{"index": 0, "embedding": [0.0123456789] * 3072}] * 100, "usage": USAGE}
    many_vectors = scripted(answer(vectors))
    rows = scripted(answer(vectors | {"x": [[[]]] * 600_000}))
    with Process(config(upstream)) as server:
        assert ask_with(server, f"up/{large}").json()["choices"][0]["message"]["content"] == text
        assert len(ask_with(server, f"up/{words}").json()["choices"][0]["message"]["content"]) == 3_000_000
        assert len(ask_with(server, f"up/{logged}").json()["logprobs"]) == 30_000
        for name in (dense, events):
            failed = ask_with(server, f"up/{name}")
            assert (failed.status_code, failed.json()["error"]["code"]) == (502, "upstream_too_large")
        with httpx.Client(timeout=60, trust_env=False) as http:
            url, given = f"{server.url}/embeddings", ["x"] * 100
            got = http.post(url, json={"model": f"up/{many_vectors}", "input": given}).json()["data"]
            assert [len(each["embedding"]) for each in got] == [3072] * 100
            failed = http.post(url, json={"model": f"up/{rows}", "input": given})
            assert (failed.status_code, failed.json()["error"]["code"]) == (502, "upstream_too_large")
        assert ask(server, "echo").text == "Hello"
    upstream.requests.clear()


@pytest.mark.parametrize("name", ["arguments", "a result"])
def test_dense_strings_of_a_request_are_refused(upstream: Upstream, name: str) -> None:
    with Process(config(upstream)) as server:
        history = IN_STRINGS[name] if name == "arguments" else [called("{}"), *IN_STRINGS[name]]
        history = [*history, told("1")] if name == "arguments" else history
        refused = ask_with(server, "echo", *history)
        assert (refused.status_code, refused.json()["error"]["code"]) == (400, "too_many_values")
        assert ask(server, "echo").text == "Hello"
