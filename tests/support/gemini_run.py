"""A Gemini answer from bytes to chunks, without sockets."""

from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

from cuts import pieces
from translators import translator_of

from providers import gemini
from providers.contract import Call, Translator, Upstream
from providers.hosts import PLAIN
from providers.models import ModelFacts
from providers.sse import Decoder

STREAMS = Path(__file__).parents[1] / "streams"
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


def feed(translator: Translator, data: bytes, size: int | None = None) -> list[dict[str, Any]]:
    """The chunks of a stream's bytes, before its end."""
    decoder = Decoder()
    chunks: list[dict[str, Any]] = []
    for piece in pieces(data, size):
        for event in decoder.feed(piece):
            chunks += translator.send(event)
    for event in decoder.flush():
        chunks += translator.send(event)
    return chunks


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
    translator = translator_of("gemini", call or asked(**fields), to(**fields))
    return [*feed(translator, data, size), *ended(translator)]
