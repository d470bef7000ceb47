"""Every recorded Claude stream against the anthropic SDK, and every recorded request that OpenAI's shape can express.

Skipped where the recordings are absent. MODELSERVER_CORPUS: their folder.
"""

import gzip
import json
import os
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

import claude_facts
import claude_requests
import oracles
import replay
from providers import Call, Upstream, anthropic
from providers.anthropic_stream import Way
from providers.chat import collect
from providers.errors import Failure

CORPUS = Path(os.environ.get("MODELSERVER_CORPUS") or Path(__file__).resolve().parents[2] / "shared" / "corpus")
FILE = CORPUS / "anthropic-messages.jsonl.gz"
pytestmark = pytest.mark.skipif(not FILE.exists(), reason=f"no recordings at {CORPUS}")

TO = Upstream("anthropic", "claude-test", "https://api.test")
CALL = Call("", {}, {}, True, (), Way())


def exchanges() -> list[dict[str, Any]]:
    if not FILE.exists():
        return []
    with gzip.open(FILE, "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


EXCHANGES = exchanges()
STREAMS = [
    e for e in EXCHANGES if e["fidelity"] == "wire" and e["response"]["stream"] and e["response"]["status"] == 200
]


def test_every_stream_gives_what_the_sdk_accumulates() -> None:
    failed: dict[str, str] = {}
    exceptions: Counter[str] = Counter()
    compared = 0
    for exchange in STREAMS:
        raw = exchange["response"]["body"].encode("utf-8", errors="surrogatepass")
        try:
            expected = oracles.claude(raw)
        except Exception as no:
            exceptions[f"{exchange['id']}: the SDK itself fails: {type(no).__name__}: {no}"] += 1
            continue
        for size in (1, 7, 64, 0):
            try:
                chunks = list(replay.chunks(anthropic, raw, size, call=CALL, to=TO))
                oracles.check_chunks(chunks)
                got = oracles.completion(collect(chunks))
                if got != expected:
                    failed[exchange["id"]] = f"cut {size}\n got {got}\n sdk {expected}"
            except Exception as no:
                failed[exchange["id"]] = f"cut {size}: {type(no).__name__}: {no}"
        compared += 1
    print(f"\nstreams {len(STREAMS)}, compared {compared} at 4 cuts, exceptions {len(exceptions)}")
    print("\n".join(exceptions))
    assert not failed, "\n".join(f"{id}: {why[:1500]}" for id, why in failed.items())


def plain(turns: list[dict[str, Any]]) -> list[Any]:
    """Turns with what has two spellings spelled one way: a text as a block, a result's text as a list."""
    out: list[Any] = []
    for turn in turns:
        blocks = turn["content"]
        if isinstance(blocks, str):
            blocks = [{"type": "text", "text": blocks}]
        spelled = []
        for block in blocks:
            block = {name: value for name, value in block.items() if name not in ("is_error", "caller", "citations")}
            if isinstance(block.get("content"), str):
                block["content"] = [{"type": "text", "text": block["content"]}] if block["content"].strip() else []
            if block.get("content") == []:
                del block["content"]
            if block["type"] != "text" or block["text"].strip():
                spelled.append(block)
        if out and out[-1][0] == turn["role"]:
            out[-1][1].extend(spelled)
        else:
            out.append((turn["role"], spelled))
    return out


def test_every_request_that_openai_can_express() -> None:
    inexpressible: Counter[str] = Counter()
    refused: Counter[str] = Counter()
    failed: list[str] = []
    differ: list[str] = []
    valid = 0
    for exchange in EXCHANGES:
        recorded = exchange["request"]["body"]
        if not isinstance(recorded, dict) or "model" not in recorded:
            inexpressible["no request body or model recorded"] += 1
            continue
        try:
            body = claude_requests.openai_request(recorded)
        except claude_requests.Inexpressible as why:
            inexpressible[str(why)] += 1
            continue
        to = Upstream("anthropic", recorded["model"], "https://api.test", facts=claude_facts.facts(recorded["model"]))
        try:
            call = anthropic.request(body, to)
        except Failure as no:
            refused[f"{exchange['response']['status']} {no.param} {no.message[:80]}"] += 1
            continue
        try:
            claude_requests.validate(call.body)
            valid += 1
        except Exception as no:
            failed.append(f"{exchange['id']}: {no}")
        if plain(call.body["messages"]) != plain(recorded["messages"]):
            differ.append(exchange["id"])
    print(f"\nrequests {len(EXCHANGES)}, valid {valid}, refused by us {sum(refused.values())}: {dict(refused)}")
    print(f"inexpressible {sum(inexpressible.values())}: {dict(inexpressible.most_common())}")
    print(f"conversation differs from the recorded one: {len(differ)}")
    print("\n".join(differ))
    assert not failed, "\n".join(failed)[:5000]
