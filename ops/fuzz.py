#!/usr/bin/env python3
"""Fuzzing led by coverage: whatever bytes an upstream or a client sends, the only exception is Failure.

    python ops/fuzz.py answers|requests [--seconds 60] [--corpus FOLDER]

answers: upstream answers, whole and streamed, through the decoder and the translator of each protocol. requests: request
bodies, parsed and translated for each protocol. Starts from tests/streams and a few requests; half of the changes are of
bytes, half of one value of the JSON. Stops at the first exception of another kind and leaves its bytes in a file.

An answer that breaks its translator (KeyError and its like) is a Failure to the client, and known: the places where that
happens are printed as they are found. tests/providers/test_fuzz.py is the everyday version, without coverage.

Needs atheris (pip install atheris; Python up to 3.13), which the tests do not.
"""

import argparse
import json
import logging
import random
import sys
import tempfile
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

try:
    import atheris
except ImportError:
    sys.exit("ops/fuzz.py needs atheris: pip install atheris, in an environment of its own")

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "support")]

with atheris.instrument_imports(include=["dialects", "gateway", "providers", "server.outbound"]):
    from simulated import PROTOCOLS, play, run, target

    from dialects.chat import request
    from providers import PROVIDERS, codec
    from providers.errors import Failure

KINDS = ("text/event-stream", "text/event-stream", "application/json", "")
STATUSES = (200, 200, 200, 200, 200, 200, 400, 429)
TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {"a": {}}}}}
CALL = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
REQUESTS: list[dict[str, Any]] = [
    {"messages": [{"role": "system", "content": "s"}, {"role": "user", "content": [{"type": "text", "text": "x"}]}]},
    {"messages": [{"role": "user", "content": "x"}], "tools": [TOOL], "tool_choice": "auto", "stream": True},
    {
        "messages": [
            {"role": "user", "content": "x"},
            {"role": "assistant", "content": None, "tool_calls": [CALL]},
            {"role": "tool", "tool_call_id": "c", "content": "1"},
        ],
        "tools": [TOOL],
        "reasoning_effort": "high",
    },
    {
        "messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:image/png;base64,AA"}}]}],
        "response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": TOOL["function"]["parameters"]}},
        "stop": ["a"], "temperature": 1, "max_completion_tokens": 9, "stream_options": {"include_usage": True},
    },
]  # fmt: skip


def answers(data: bytes) -> None:
    """The first three bytes choose protocol, way and cuts; the rest is what the upstream says."""
    if len(data) < 4:
        return
    way, cut, rest = data[1], data[2] % 64, data[3:]
    pieces = [rest[i : i + cut] for i in range(0, len(rest), cut)] if cut else [rest]
    protocol = PROTOCOLS[data[0] % 3]
    run(play(protocol, pieces, way & 1 == 0, KINDS[way >> 1 & 3], way & 8 > 0, STATUSES[way >> 4 & 7]))


def asked(data: bytes) -> None:
    """A request body for each protocol. Nothing but what is the client's fault may be wrong with it."""
    try:
        body = request.parse(data).body
    except Failure as failure:
        assert 400 <= failure.status < 500, failure
        return
    for protocol in PROTOCOLS:
        try:
            codec.encode(PROVIDERS[protocol].build_request(body, target(protocol)).body)
        except Failure as failure:
            assert 400 <= failure.status < 500, failure


def mutated(data: bytes, limit: int, seed: int) -> bytes:
    """Half of the time libFuzzer's changes of bytes, else one of the JSON values in `data` changed at one place."""
    chance = random.Random(seed)
    texts = [text for text in data.split(b"\n") if b"{" in text]
    if texts and chance.random() < 0.5:
        old = chance.choice(texts)
        begin = old.index(b"{")
        try:
            value = json.loads(old[begin:])
        except ValueError:
            pass
        else:
            new = json.dumps(changed(value, chance)).encode()
            return data.replace(old, old[:begin] + new, 1)[:limit]
    return bytes(atheris.Mutate(data, limit))


def changed(value: Any, chance: random.Random) -> Any:
    """The value with one place in it replaced, taken away or given twice."""
    if isinstance(value, dict) and value and chance.random() < 0.9:
        name = chance.choice(list(value))
        if chance.random() < 0.1:
            return {each: value[each] for each in value if each != name}
        return {**value, name: changed(value[name], chance)}
    if isinstance(value, list) and value and chance.random() < 0.9:
        i = chance.randrange(len(value))
        return [*value[:i], changed(value[i], chance), *value[i + chance.randrange(2) :]]
    simple = [None, True, -1, 0, 1.5, 2**66, "", "x", "\ud83d", [], {}, [[]], [None], {"a": {}}, "stop", "tool_calls"]
    return chance.choice([*simple, [value], {"type": value}, str(value)])


class Places(logging.Handler):
    """Prints each place where an answer broke its translator, once."""

    def __init__(self) -> None:
        super().__init__()
        self._known: set[str] = set()

    def emit(self, record: logging.LogRecord) -> None:
        error = record.exc_info[1] if record.exc_info else None
        if error is None:
            return
        last = traceback.extract_tb(error.__traceback__)[-1]
        place = f"{Path(last.filename).name}:{last.lineno} {type(error).__name__}: {last.line}"
        if place not in self._known:
            self._known.add(place)
            print(f"broke a translator: {place}", file=sys.stderr)


def seeds(what: str, folder: Path) -> None:
    if what == "requests":
        for i, body in enumerate(REQUESTS):
            (folder / f"request-{i}").write_bytes(json.dumps({"model": "m", **body}).encode())
        return
    for path in sorted((ROOT / "tests" / "streams").glob("*.sse")):
        for protocol in range(3):
            (folder / f"{path.stem}-{protocol}").write_bytes(bytes([protocol, 0, 0]) + path.read_bytes()[:4000])


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("what", choices=["answers", "requests"])
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--corpus", type=Path)
    options = parser.parse_args()
    logging.basicConfig(handlers=[Places()])
    test: Callable[[bytes], None] = answers if options.what == "answers" else asked
    with tempfile.TemporaryDirectory() as folder:
        corpus = options.corpus or Path(folder)
        corpus.mkdir(exist_ok=True)
        seeds(options.what, corpus)
        limits = [f"-max_total_time={options.seconds}", "-max_len=4096", "-timeout=10", "-print_final_stats=1"]
        atheris.Setup([sys.argv[0], *limits, str(corpus)], test, custom_mutator=mutated)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
