"""Recorded exchanges with the real Gemini API, when the corpus is at hand: answers, errors and requests."""

import json
import re
from collections import Counter
from typing import Any

import corpus
import gemini_oracle as oracle
import pytest
import replay
from corpus import check_all, short
from cuts import FEW
from gemini_reverse import Inexpressible, canonical, differs, openai_request
from msgspec.structs import replace

from providers import gemini
from providers.chunks import collect
from providers.contract import Call, Upstream
from providers.errors import UpstreamBadOutput, UpstreamTruncated
from providers.models import ModelFacts

pytestmark = [
    corpus.needed,
    # google-genai's own, for values that are newer than its enums.
    pytest.mark.filterwarnings("ignore:.* is not a valid:UserWarning"),
]


STREAMS, WHOLES = corpus.load("gemini-stream"), corpus.load("gemini-generate")
ANSWERED = [x for x in STREAMS if x["response"]["status"] == 200]
WIRE = [x for x in ANSWERED if x["fidelity"] == "wire"]
FAILED = [x for x in STREAMS + WHOLES if x["response"]["status"] >= 400]

UPSTREAM = Upstream("gemini", "gemini-x", "https://generativelanguage.googleapis.com/v1beta", "key")
CALL = gemini.build_request({"model": "m", "messages": [{"role": "user", "content": "x"}]}, UPSTREAM)

seen: Counter[str] = Counter()
exceptions: list[str] = []


def translated(body: bytes, size: int | None, call: Call = CALL) -> list[dict[str, Any]]:
    return list(replay.chunks(gemini, body, size, call=call, to=UPSTREAM))


def framed(exchange: dict[str, Any]) -> tuple[bytes, str | None]:
    """The stream's bytes, as we ask for them, and what had to be done to get them so."""
    body: str = exchange["response"]["body"]
    if "data:" in body[:8]:
        return body.encode(), None
    events = json.loads(body)
    events = events if isinstance(events, list) else [events]
    note = "a JSON array (no alt=sse), framed as SSE here"
    if "enum_int" in exchange["features"]:
        note += "; integer enums ($alt=json;enum-encoding=int) named here"
        for event in events:
            event["usageMetadata"] = {k: v for k, v in event["usageMetadata"].items() if k.endswith("Count")}
            for candidate in event["candidates"]:
                candidate.pop("safetyRatings", None)
                if "finishReason" in candidate:
                    candidate["finishReason"] = {1: "STOP", 2: "MAX_TOKENS"}[candidate["finishReason"]]
    return "".join(f"data: {json.dumps(event)}\r\n\r\n" for event in events).encode(), note


def expected(body: bytes) -> tuple[oracle.Answer, str | None]:
    """What google-genai reads, and what had to be changed for it to read at all."""
    try:
        return oracle.reads(oracle.responses(body)), None
    except ValueError:
        # One recorder replaced the signature by a word that is not base64.
        mended = body.replace(b'"thought_abc123"', b'"dGhvdWdodA=="')
        assert mended != body
        return oracle.reads(oracle.responses(mended)), "its signature is not base64, google-genai refuses it"


def compare(exchange: dict[str, Any], size: int | None) -> list[str]:
    """Translate an exchange and compare; returns what is exceptional about it."""
    body, note = framed(exchange)
    theirs, mended = expected(body)
    notes = [text for text in (note, mended) if text]
    if any(f'"finishReason": "{reason}"' in body.decode() for reason in oracle.BROKEN):
        with pytest.raises(UpstreamBadOutput):
            translated(body, size)
        return [*notes, "unreadable output by its finishReason: an error, as it must be"]
    chunks = translated(body, size)
    ours = oracle.same_ids(oracle.said(chunks), theirs)
    if mended:
        blank = {i: c._replace(signatures=[]) for i, c in ours.choices.items()}
        ours = ours._replace(choices=blank)
        theirs = theirs._replace(choices={i: c._replace(signatures=[]) for i, c in theirs.choices.items()})
    assert ours == theirs
    assert_whole_is_sum(chunks)
    return notes


def assert_whole_is_sum(chunks: list[dict[str, Any]]) -> None:
    whole, parts = collect(chunks), oracle.said(chunks)
    for choice in whole["choices"]:
        message, part = choice["message"], parts.choices[choice["index"]]
        assert (message["content"] or "") == part.text
        assert message.get("reasoning_content", "") == part.reasoning
        assert len(message.get("tool_calls", ())) == len(part.calls)
        assert choice["finish_reason"] == part.finish


@pytest.mark.parametrize("size", FEW)
def test_wire_streams(size: int | None) -> None:
    def check(exchange: dict[str, Any]) -> None:
        notes = compare(exchange, size)
        if size is None:
            seen["wire streams"] += 1
            exceptions.extend(f"{short(exchange)}: {note}" for note in notes)

    check_all(check, WIRE)


def test_reframed_streams() -> None:
    check_all(reframed_stream, [x for x in ANSWERED if x["fidelity"] != "wire"])


def reframed_stream(exchange: dict[str, Any]) -> None:
    if "partial_args" in exchange["features"]:  # Vertex's streamFunctionCallArguments, which we never ask for
        with pytest.raises(UpstreamBadOutput):
            translated(framed(exchange)[0], None)
        exceptions.append(f"{short(exchange)}: arguments in pieces, a Vertex option: refused")
        return
    seen["streams of other fidelity"] += 1
    exceptions.extend(f"{short(exchange)}: {note}" for note in compare(exchange, None))


def test_whole_answers_as_one_event() -> None:
    """generateContent answers are what a stream of one event would be; they hold what few streams do."""
    check_all(whole_answer_as_one_event, [x for x in WHOLES if x["response"]["status"] == 200])


def whole_answer_as_one_event(exchange: dict[str, Any]) -> None:
    data = json.loads(exchange["response"]["body"])
    if not isinstance(data, dict) or not {"candidates", "promptFeedback"} & data.keys():
        exceptions.append(f"{short(exchange)}: no answer of generateContent: {', '.join(data)}")
        return
    if not data.get("candidates") and "blockReason" not in data["promptFeedback"]:
        with pytest.raises(UpstreamBadOutput):
            translated(framed(exchange)[0], None)
        exceptions.append(f"{short(exchange)}: neither candidates nor a reason to block: an error, as it must be")
        return
    reasons = {candidate.get("finishReason") for candidate in data.get("candidates", ())}
    if None in reasons:
        with pytest.raises(UpstreamTruncated):
            translated(f"data: {json.dumps(data)}\r\n\r\n".encode(), None)
        exceptions.append(f"{short(exchange)}: no finishReason: truncated")
        return
    exceptions.extend(f"{short(exchange)}: {note}" for note in compare(exchange, None) if "array" not in note)
    seen["whole answers"] += 1


# (HTTP status, sign in the body) → our status and code: MAPPING of every recorded failure.
ERRORS = [
    (400, "API_KEY_INVALID", 502, "upstream_auth_error"),
    (403, "SERVICE_DISABLED", 502, "upstream_auth_error"),
    (403, "IAM_PERMISSION_DENIED", 502, "upstream_auth_error"),
    (400, "exceeds the maximum number of tokens", 400, "context_length_exceeded"),
    (400, "FAILED_PRECONDITION", 403, "permission_denied"),
    (400, "INVALID_ARGUMENT", 400, None),
    (404, "NOT_FOUND", 404, "model_not_found"),
    (429, "RESOURCE_EXHAUSTED", 429, "rate_limit_exceeded"),
    (500, "INTERNAL", 502, "upstream_error"),
    (503, "UNAVAILABLE", 503, "overloaded"),
]


def test_recorded_errors() -> None:
    check_all(recorded_error, FAILED)


def recorded_error(exchange: dict[str, Any]) -> None:
    status, body = exchange["response"]["status"], exchange["response"]["body"]
    ours = next(row for row in ERRORS if row[0] == status and row[1] in body)
    for wrapped in (body, f"[{body}]"):
        failure = gemini.parse_error(status, wrapped.encode())
        assert (failure.status, failure.code) == ours[2:]
        assert failure.retry_after == (35 if "34.4s" in body else None)
        assert not re.search(r"models/|projects?[/ ]\d|gemini-\d|https://console", failure.message)
    seen["errors"] += 1


MODEL_2 = ModelFacts(budget=True, reasoning="on", json_with_tools=True)
MODEL_3 = ModelFacts(
    reasoning="always", efforts=("minimal", "low", "medium", "high"), call_ids=True, signatures=True, penalties=False
)
REQUESTS = [x for x in STREAMS + WHOLES if x["request"] and isinstance(x["request"].get("body"), (dict, str))]


def test_recorded_requests() -> None:
    check_all(recorded_request, REQUESTS)


def recorded_request(exchange: dict[str, Any]) -> None:
    """The OpenAI-shaped twin of a recorded request becomes a request that Google's types take, and means the same."""
    try:
        recorded = canonical(exchange["request"]["body"])
        body = openai_request(recorded)
    except Inexpressible as why:
        inexpressible[str(why)] += 1
        return
    is_3 = str(exchange["model"]).startswith("gemini-3") or "latest" in str(exchange["model"])
    call = gemini.build_request(body, replace(UPSTREAM, facts=MODEL_3 if is_3 else MODEL_2))
    oracle.Body.model_validate(call.body)
    difference = differs(recorded, call.body, is_3)
    seen["requests"] += 1
    seen["requests with the same contents as recorded"] += not difference
    if difference:
        changed[difference] += 1
        assert difference != "other contents"


inexpressible: Counter[str] = Counter()
changed: Counter[str] = Counter()


def test_report(capsys: pytest.CaptureFixture[str]) -> None:
    """Runs last: says what was compared and every exception."""
    if not seen:
        pytest.skip("nothing was compared in this run")
    with capsys.disabled():
        print("\n" + "\n".join(f"{count:4} {name}" for name, count in seen.items()))
        print("exceptions:", *sorted(exceptions), sep="\n  ")
        print("requests no OpenAI request expresses:", *inexpressible.most_common(), sep="\n  ")
        print("requests with other contents than recorded:", *changed.most_common(), sep="\n  ")
    if seen["wire streams"]:
        assert seen["wire streams"] == len(WIRE)
