"""Answers of the hub through the Responses dialect, and what is true of every stream of it."""

import json
from collections.abc import Iterable, Sequence
from typing import Any

import httpx2 as httpx
from openai import OpenAI

from dialects.contract import ClientRequest, Envelope, end_of
from dialects.responses.stream import Answered, completion, render
from dialects.responses.wanted import LoweredTool, Wanted
from providers.contract import Batch
from providers.errors import Failure

Json = dict[str, Any]
UNIQUE = "0123456789abcdef" * 2
ENVELOPE = Envelope(UNIQUE, 1700000000, "m", "req_1", "claude", "claude-x")
TERMINAL = ("response.completed", "response.incomplete", "response.failed")


def request(tools: dict[str, LoweredTool] | None = None, body: Json | None = None, **wanted: Any) -> ClientRequest:
    return ClientRequest({}, stream=True, answer=Wanted(body or {"model": "m", "input": "x"}, tools or {}, **wanted))


def stream(chunks: Iterable[Json], asked: ClientRequest | None = None, reasoning: bool = True, size: int = 1) -> bytes:
    """The bytes of a streamed answer; a failure of the machine's own ends it as the server would end it."""
    renderer = render(asked or request(), ENVELOPE, reasoning)
    given, data = list(chunks), b""
    try:
        for start in range(0, len(given), size):
            data += renderer.send(Batch(given[start : start + size]))
        return data + end_of(renderer)
    except Failure as failure:
        return data + end_of(renderer, failure)


def failing(chunks: Iterable[Json], failure: Failure, asked: ClientRequest | None = None) -> bytes:
    renderer: Answered = render(asked or request(), ENVELOPE, True)
    return b"".join(bytes(renderer.send(Batch([chunk]))) for chunk in chunks) + end_of(renderer, failure)


def events(data: bytes) -> list[Json]:
    """The events of a stream; each is framed as OpenAI frames them."""
    found = []
    blocks = data.decode().split("\n\n")
    assert blocks.pop() == ""
    for block in blocks:
        name, line = block.split("\n")
        event = json.loads(line.removeprefix("data: "))
        assert name == f"event: {event['type']}"
        found.append(event)
    return found


def checked(data: bytes) -> list[Json]:
    """The events, after the rules that hold for every stream have been checked."""
    found = events(data)
    assert [event["sequence_number"] for event in found] == list(range(len(found)))
    assert [event["type"] for event in found[:2]] == ["response.created", "response.in_progress"]
    assert [n for n, event in enumerate(found) if event["type"] in TERMINAL] == [len(found) - 1]
    last = found[-1]["response"]
    assert {event["response"]["id"] for event in found if "response" in event} == {last["id"]}
    done: list[Json] = []
    current: Json | None = None
    texts: dict[str, str] = {}
    part = None
    for event in found[2:-1]:
        kind = event["type"]
        if kind == "error":
            continue
        if kind == "response.in_progress":  # said again while nothing comes, as long as there is no item
            assert current is None and not done
            continue
        if kind == "response.output_item.added":
            assert current is None and event["output_index"] == len(done)
            current, texts = event["item"], {}
            continue
        assert current is not None and event["output_index"] == len(done)
        if kind == "response.output_item.done":
            assert event["item"]["id"] == current["id"] and part is None
            done.append(event["item"])
            current = None
            continue
        assert event["item_id"] == current["id"]
        if kind.endswith("part.added"):
            assert part is None
            part = event.get("content_index", event.get("summary_index"))
            texts = {}
        elif kind.endswith("part.done"):
            assert part == event.get("content_index", event.get("summary_index"))
            part = None
        elif kind.endswith(".delta"):
            base = kind.removesuffix(".delta")
            texts[base] = texts.get(base, "") + event["delta"]
        elif kind.endswith(".done"):
            base = kind.removesuffix(".done")
            whole = next(event[name] for name in ("text", "refusal", "arguments", "input") if name in event)
            assert whole == texts.get(base, "")
    if found[-1]["type"] != "response.failed":
        assert current is None and [unsaid(each) for each in done] == [unsaid(each) for each in last["output"]]
        assert "error" not in {event["type"] for event in found}
    else:
        assert [unsaid(each) for each in last["output"][: len(done)]] == [unsaid(each) for each in done]
        assert found[-2]["type"] == "error"
        assert all(item.get("status", "incomplete") == "incomplete" for item in last["output"][len(done) :])
    return found


def unsaid(item: Json) -> Json:
    """An item without citations: some come when it is done."""
    parts = [{**part, "annotations": []} if "annotations" in part else part for part in item.get("content") or ()]
    return {**item, "content": parts}


def whole(
    answer: Json, asked: ClientRequest | None = None, reasoning: bool = True, chunks: Sequence[Json] = ()
) -> Json:
    return completion(asked or request(), answer, ENVELOPE, reasoning, chunks)


def sdk(data: bytes, **headers: str) -> OpenAI:
    response = httpx.Response(200, content=data, headers={"content-type": "text/event-stream"})
    transport = httpx.MockTransport(lambda request: response)
    return OpenAI(base_url="http://x/v1", api_key="-", max_retries=0, http_client=httpx.Client(transport=transport))


def accumulated(data: bytes) -> Json:
    """The Response that the SDK's strict accumulation makes of a stream."""
    with sdk(data) as client, client.responses.stream(model="m", input="x") as streamed:
        last: Any = None
        for event in streamed:
            last = event
        told: Json = last.response.model_dump(exclude_unset=True, warnings=False)
    for item in told["output"]:
        item.pop("parsed_arguments", None)
        for part in item.get("content") or ():
            part.pop("parsed", None)
    return told
