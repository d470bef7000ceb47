"""A Gemini answer from bytes to chunks, without sockets."""

from itertools import count
from typing import Any

import replay
from msgspec.structs import replace
from replay import STREAMS

from providers import gemini
from providers.contract import Call, Translator, Upstream
from providers.hosts import PLAIN
from providers.models import ModelFacts

UPSTREAM = Upstream(
    "gemini", "gemini-x", "https://generativelanguage.googleapis.com/v1beta", "key", host=PLAIN["gemini"]
)

# Shaped like the rows of models.yaml.
GEMINI_2 = ModelFacts(budget=True, reasoning="on", json_with_tools=False)
GEMINI_3 = ModelFacts(
    reasoning="always",
    efforts=("minimal", "low", "medium", "high"),
    call_ids=True,
    signatures=True,
    penalties=False,
    logprobs=False,
    candidates=1,
    max_output=65536,
)


NOTHING_KNOWN = ModelFacts()


def to(facts: ModelFacts = NOTHING_KNOWN, **fields: Any) -> Upstream:
    return replace(UPSTREAM, facts=facts, **fields)


def asked(body: dict[str, Any] | None = None, facts: ModelFacts = NOTHING_KNOWN, **fields: Any) -> Call:
    """The call for a request; ids of tool calls are id-1, id-2, …"""
    ids = count(1)
    body = {"model": "m", "messages": [{"role": "user", "content": "x"}], **(body or {})}
    return gemini.build_request(body, to(facts, **fields), lambda: f"id-{next(ids)}")


def feed(translator: Translator, data: bytes) -> list[dict[str, Any]]:
    """The chunks of a stream's bytes, before its end."""
    return [chunk for event in replay.events(data) for chunk in translator.send(event)]


def ended(translator: Translator) -> list[dict[str, Any]]:
    """The last chunks, made when the upstream has closed."""
    try:
        translator.send(None)
    except StopIteration as end:
        return list(end.value)
    raise AssertionError("the translator waits to be continued")


def run(data: bytes | str, size: int | None = None, call: Call | None = None, **fields: Any) -> list[dict[str, Any]]:
    """All chunks of a stream: bytes, or the name of one under streams/."""
    if isinstance(data, str):
        data = (STREAMS / f"gemini_{data}.sse").read_bytes()
    return list(replay.chunks(gemini, data, size, call=call or asked(**fields), to=to(**fields)))
