"""Recorded answers of Claude, passed on to Messages clients: byte for byte, wherever the network cuts them."""

import json
from collections.abc import Iterator
from typing import Any

import corpus
import httpx2 as httpx
import pytest
from corpus import Exchange, short
from cuts import pieces
from process import Process
from scripted import Upstream, answer, stream

from providers.anthropic.watch import watch
from providers.frames import Frames

pytestmark = corpus.needed

RECORDED = [x for x in corpus.load("anthropic-messages") if x["response"]["status"] == 200]
# Two answers in one stream: SDKs refuse the second message_start, and so do we.
SPLICED = [x for x in RECORDED if "spliced-message-start" in x["id"]]
STREAMS = [x for x in RECORDED if x["response"]["stream"] and x not in SPLICED]
WIRE_STREAMS = [x for x in STREAMS if x["fidelity"] == "wire"]
WHOLE = [x for x in RECORDED if not x["response"]["stream"]]
REFUSED = [x for x in corpus.load("anthropic-messages") if x["response"]["status"] in (400, 413, 422)]
ASK: Any = {"model": "", "max_tokens": 100, "messages": [{"role": "user", "content": "hi"}]}


@pytest.fixture(scope="module")
def recorded() -> Iterator[Upstream]:
    with Upstream() as upstream:
        yield upstream


@pytest.fixture(scope="module")
def claude(recorded: Upstream) -> Iterator[Process]:
    text = f'server: {{port: 0}}\nproviders:\n  claude: {{protocol: anthropic, base_url: "{recorded.url}", api_key: sk-ant-x}}\n'
    with Process(text) as server:
        yield server


def ask(http: httpx.Client, claude: Process, model: str, body: Any = None, streamed: bool = False) -> httpx.Response:
    asked = {**ASK, **(body or {}), "model": f"claude/{model}"} | ({"stream": True} if streamed else {})
    return http.post(f"{claude.url}/messages", json=asked, headers={"anthropic-version": "2023-06-01"})


def first(data: bytes) -> bytes:
    """Return a stream up to the end of its message: a few recordings hold the next request's answer too."""
    message, stop, rest = data.partition(b"event: message_stop")
    return message + stop + rest[: rest.find(b"\n\n") + 2] if b"\n\n" in rest else data


def body_of(exchange: Exchange) -> Any:
    """The request's body, as far as it was recorded and could be sent to /v1/messages."""
    body = exchange["request"].get("body")
    return body if isinstance(body, dict) and body.get("messages") else None


def test_how_many_there_are() -> None:
    assert (len(WIRE_STREAMS), len(STREAMS), len(WHOLE), len(REFUSED)) == (160, 265, 378, 4)


@pytest.mark.parametrize(("cut", "step"), [(1, 10), (7, 1), (64, 5)])
@pytest.mark.case(messages=10)
def test_frames_in_pieces(cut: int, step: int) -> None:
    for exchange in STREAMS[::step]:
        data = corpus.body_of(exchange)
        assert passed_on(data, cut) == first(data), exchange["id"]


def passed_on(data: bytes, cut: int) -> bytes:
    """Return what goes to the client of a stream that comes in pieces."""
    frames, watcher, out = Frames(), watch(True), b""
    try:
        for piece in [*pieces(data, cut), b""]:
            events = frames.feed(piece) if piece else frames.flush()
            out += frames.raw
            for event in events:
                watcher.send(event)
    except StopIteration as end:
        [used] = end.value
        assert used["usage"]["completion_tokens"] and used["usage_early"] is False
        return out
    raise AssertionError("no message_stop was seen")


@pytest.mark.parametrize(("cut", "step"), [(None, 1), (64, 5), (7, 10), (1, 20)])
@pytest.mark.case(messages=10)
def test_streams(http: httpx.Client, claude: Process, recorded: Upstream, cut: int | None, step: int) -> None:
    for exchange in STREAMS[::step]:
        data = corpus.body_of(exchange)
        model = recorded.script(f"{short(exchange)}-{cut}", stream(data, cut))
        got = ask(http, claude, model, streamed=True)
        assert (got.status_code, got.content) == (200, first(data)), exchange["id"]


def test_a_second_beginning_is_an_error(http: httpx.Client, claude: Process, recorded: Upstream) -> None:
    [exchange] = SPLICED
    got = ask(http, claude, recorded.script("spliced", stream(corpus.body_of(exchange))), streamed=True)
    assert (got.status_code, got.json()["error"]["type"]) == (502, "api_error")


@pytest.mark.case(messages=11)
def test_whole_answers(http: httpx.Client, claude: Process, recorded: Upstream) -> None:
    for exchange in WHOLE:
        model = recorded.script(short(exchange), answer(corpus.body_of(exchange), headers={"request-id": "req_theirs"}))
        got = ask(http, claude, model)
        assert got.content == corpus.body_of(exchange), exchange["id"]
        assert got.headers["request-id"] == "req_theirs"
        assert got.headers["x-request-id"] != "req_theirs"


@pytest.mark.case(messages=12)
def test_requests_arrive_as_they_were(http: httpx.Client, claude: Process, recorded: Upstream) -> None:
    seen = 0
    for exchange in RECORDED:
        if (body := body_of(exchange)) is None:
            continue
        model = recorded.script(f"asked-{short(exchange)}", answer({"content": []}))
        got = ask(http, claude, model, {**body, "stream": False})
        assert got.status_code == 200, got.text
        [sent] = recorded.of(model)
        theirs = {**body, "stream": False, "model": model}
        fitted = {name for name, value in theirs.items() if sent.json.get(name) != value}
        assert fitted <= {"thinking", "output_config", "temperature", "top_p", "top_k", "tool_choice", "max_tokens"}
        assert got.headers.get("x-modelserver-dropped", "") == "" or fitted
        seen += 1
    assert seen > 250


@pytest.mark.case(messages=17)
def test_refusals(http: httpx.Client, claude: Process, recorded: Upstream) -> None:
    for exchange in REFUSED:
        data = corpus.body_of(exchange)
        model = recorded.script(short(exchange), answer(data, 400, {"request-id": "req_theirs"}))
        got = ask(http, claude, model)
        if b"usage limits" in data or b"credit balance" in data:
            assert got.status_code == 503
            continue
        assert (got.status_code, got.content) == (400, data)
        assert got.headers["request-id"] == "req_theirs"
        json.loads(got.content)
