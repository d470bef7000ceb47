"""Every recorded Claude stream against the anthropic SDK, and every recorded request that OpenAI's shape can express."""

import copy
import json
from collections import Counter
from contextlib import suppress
from typing import Any

import claude_facts
import claude_requests
import corpus
import oracles
import pytest
import replay
from cuts import FEW
from translators import made_call, translator_of

from providers import Upstream, anthropic
from providers.anthropic.message_state import Way
from providers.chunks import collect
from providers.errors import Failure
from providers.sse import Event

TO = Upstream("anthropic", "claude-test", "https://api.test")
CALL = made_call({}, True, Way())


EXCHANGES = corpus.load("anthropic-messages")
pytestmark = pytest.mark.skipif(not EXCHANGES, reason="no recordings are here")
STREAMS = [e for e in EXCHANGES if e["response"]["stream"] and e["response"]["status"] == 200]
WIRE = [e for e in STREAMS if e["fidelity"] == "wire"]
REFRAMED = [e for e in STREAMS if e["fidelity"] == "sse-reframed"]


def compare(streams: list[dict[str, Any]]) -> tuple[int, Counter[str], dict[str, str]]:
    """How many streams were compared; which the SDK itself cannot read; which differ, and how.

    All in pieces of seven bytes, every tenth at other cuts too.
    """
    unread: Counter[str] = Counter()
    failed: dict[str, str] = {}
    compared = 0
    for exchange in streams:
        raw = exchange["response"]["body"].encode("utf-8", errors="surrogatepass")
        try:
            expected = oracles.claude(raw)
        except Exception as no:
            unread[f"{exchange['id']}: {type(no).__name__}: {str(no)[:200]}"] += 1
            continue
        compared += 1
        for size in FEW if compared % 10 == 0 else (7,):
            try:
                chunks = list(replay.chunks(anthropic, raw, size, call=CALL, to=TO))
                oracles.check_chunks(chunks)
                got: Any = oracles.completion(collect(chunks))
            except Exception as no:
                got = f"{type(no).__name__}: {no}"
            if got != expected:
                failed[exchange["id"]] = f"cut {size}\n got {got}\n sdk {expected}"
    return compared, unread, failed


def test_every_stream_gives_what_the_sdk_accumulates() -> None:
    compared, unread, failed = compare(WIRE)
    print(f"\nwire streams {len(WIRE)}, compared {compared}, differ {len(failed)}, unread by the SDK {len(unread)}")
    print("\n".join(unread))
    assert not failed, "\n".join(f"{id}: {why[:1500]}" for id, why in failed.items())
    assert compared + len(unread) == len(WIRE)
    assert compared >= 160


def whole(message: dict[str, Any]) -> oracles.Answer:
    """What a client gets of a message that came in one piece."""
    translator = translator_of("anthropic", CALL, TO)
    with pytest.raises(StopIteration) as end:
        translator.send(Event("", message))
    said = oracles.completion(collect(end.value.value))
    said.usage["prompt_tokens_details"].pop("cache_write_1h_tokens", None)  # which OpenAI's object has no place for
    return said


def test_every_answer_in_one_piece() -> None:
    answers = [e for e in EXCHANGES if not e["response"]["stream"] and e["response"]["status"] == 200]
    messages = [message for e in answers if (message := body_of(e)).get("type") == "message"]
    for message in messages:
        theirs = oracles.claude_message(message)
        if theirs.calls and theirs.finish == "stop":  # of recordings that were made by hand
            theirs = theirs._replace(finish="tool_calls")
        assert whole(copy.deepcopy(message)) == theirs
    assert len(messages) >= 100


def test_what_a_stream_accumulates_says_the_same_in_one_piece() -> None:
    compared = 0
    for exchange in WIRE:
        raw = exchange["response"]["body"].encode("utf-8", errors="surrogatepass")
        message: dict[str, Any] | None = None
        with suppress(Exception):  # what the SDK cannot read is counted above
            message = oracles.accumulated(raw)
        if message is None:
            continue
        assert whole(copy.deepcopy(message)) == oracles.claude_message(message), exchange["id"]
        compared += 1
    assert compared >= 160


def body_of(exchange: dict[str, Any]) -> dict[str, Any]:
    body = exchange["response"]["body"]
    found: dict[str, Any] = json.loads(body) if isinstance(body, str) else body
    return found


def test_every_stream_that_was_framed_again() -> None:
    """The events are Claude's, the frames a recorder's. Some hold several answers one after the other."""
    true = [e for e in REFRAMED if e["provenance"] != "fixture-edited"]
    single = [e for e in true if e["response"]["body"].count('"message_stop"') == 1]
    compared, unread, failed = compare(single)
    print(f"\nreframed streams {len(REFRAMED)}, of one answer {len(single)}, compared {compared}, differ {len(failed)}")
    print("\n".join((*unread, *failed)))
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


def why_other(recorded: dict[str, Any]) -> str:
    """The rule of the mapping that changes this conversation, or ""."""
    messages = recorded["messages"]
    if any(message["role"] == "system" for message in messages):
        return "system message in the middle"
    if messages[0]["role"] == "assistant":
        return "begins with the assistant"
    if messages[-1]["role"] == "assistant":
        return "prefill that the model refuses"
    blocks = [block for message in messages if isinstance(message["content"], list) for block in message["content"]]
    if any(block["type"] == "image" and block["source"].get("media_type") == "image/png" for block in blocks):
        return "image type corrected by its first bytes"
    return ""


def test_every_request_that_openai_can_express() -> None:
    inexpressible: Counter[str] = Counter()
    refused: Counter[str] = Counter()
    failed: list[str] = []
    differ: Counter[str] = Counter()
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
        to = Upstream(
            "anthropic", recorded["model"], "https://api.test", cache=False, facts=claude_facts.facts(recorded["model"])
        )
        try:
            call = anthropic.build_request(body, to)
        except Failure as no:
            refused[f"{exchange['response']['status']} {no.param} {no.message[:80]}"] += 1
            continue
        try:
            claude_requests.validate(call.body)
            valid += 1
        except Exception as no:
            failed.append(f"{exchange['id']}: {no}")
        if plain(call.body["messages"]) != plain(recorded["messages"]):
            differ[why_other(recorded)] += 1
    print(f"\nrequests {len(EXCHANGES)}, valid {valid}, refused by us {sum(refused.values())}: {dict(refused)}")
    print(f"inexpressible {sum(inexpressible.values())}: {dict(inexpressible.most_common())}")
    print(f"valid, but not word for word the recorded conversation: {dict(differ)}")
    assert not failed, "\n".join(failed)[:5000]
    assert valid > 400
    assert "" not in differ, "a conversation was changed for no reason known"
    assert all(reason.startswith("400 ") for reason in refused), "we refuse what the API took"


def test_every_recorded_error_is_named_and_says_nothing_of_the_account() -> None:
    kinds: Counter[str] = Counter()
    for exchange in EXCHANGES:
        status = exchange["response"]["status"]
        if status < 400:
            continue
        failure = anthropic.parse_error(status, exchange["response"]["body"].encode())
        kinds[f"{status} → {failure.status} {failure.code}"] += 1
        low = failure.message.lower()
        assert failure.message
        assert not [word for word in ("anthropic", "claude", "http", "org", "req_", "<", "api-key") if word in low]
    print(f"\nerrors {dict(kinds)}")
    assert kinds == {
        "400 → 400 None": 4,
        "401 → 502 upstream_auth_error": 4,
        "404 → 404 model_not_found": 7,
        "429 → 429 rate_limit_exceeded": 11,
        "500 → 502 upstream_error": 1,
        "529 → 503 overloaded": 1,
    }
