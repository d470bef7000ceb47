"""Recorded traffic of OpenAI and Azure, replayed through the real process, beside what the SDK makes of the same bytes.

The recordings are not part of this repository: the test is skipped where their folder is absent. Of openai-chat.jsonl.gz
it takes what is wire truth (fidelity `wire`) and really came from a provider (provenance `recorded`, or `recorded-body`,
whose request is unknown and replaced by a plain one); `fixture-edited` exchanges are hand-made and left out.
"""

import copy
import gzip
import json
import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest
from cuts import FEW
from jsonschema import Draft202012Validator
from openai import OpenAI
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from process import ROOT, Process
from scripted import Upstream, answer, stream

CORPUS = Path(os.environ.get("MODELSERVER_CORPUS", ROOT.parent / "shared" / "corpus"))
SCHEMAS = CORPUS.parent / "spec" / "openapi" / "chat.schemas.json"
FILE = CORPUS / "openai-chat.jsonl.gz"
pytestmark = pytest.mark.skipif(not FILE.exists(), reason="the recordings are not here")

Json = dict[str, Any]
HELLO = {"messages": [{"role": "user", "content": "Hello"}]}
OURS = ("id", "created", "model", "object")  # the envelope, which the server owns
_TEXTS = ("content", "refusal", "reasoning_content", "arguments", "name", "transcript", "data")

# What the gateway changes on purpose (spec/MAPPING.md §7), and what differs because our own validation comes first.
STOP = "finish_reason stop with tool calls: tool_calls"
NO_FINISH = "[DONE], or a whole answer, without finish_reason: stop, or tool_calls"
NO_ARGUMENTS = "a tool call that never got arguments: {}"
ROUTER = "OpenRouter's provider and native_finish_reason: removed"
INDEX = "index in the tool calls of a whole answer: removed"
NO_MESSAGE = "a choice without a message: an empty one"
IN_200 = "an error inside a 200 answer: its status"
INGRESS = "a request that OpenAI refused, refused here already, for what this gateway finds first"

# Exchange → why its answer is not what the SDK gets directly. The table is exact.
_EXCEPTIONS: dict[tuple[str, ...], str] = {
    (STOP,): """
        activeagent__integration-open_ai-chat-common_format-tools_test-test_agent_common_format_tool_choice_specific-0
        crewAI__crewai-utilities-test_agent_emits_execution_started_and_completed_events-1
        openinference__openinference-instrumentation-instructor-instructor-async_instructor_instrumentation
        openinference__openinference-instrumentation-instructor-instructor-streaming
        req_llm__openai-gpt_4-object_streaming
        req_llm__openai-gpt_4o-object_streaming
    """,
    (INGRESS,): """
        ai-gateway__internal-testopenai-chat-bad-request
        crewAI__crewai-test_custom_llm_within_crew-0
    """,
    (NO_ARGUMENTS,): """
        chatlas__test_provider_databricks-test_databricks_tool_variations-2
        chatlas__test_provider_databricks-test_databricks_tool_variations_async-2
    """,
    (NO_FINISH,): """
        dd-trace-py__openai-v1-chat_completion_image_input
        openai-dotnet__ChatTests-ChatWithAudioAsync-1
        openai-dotnet__ChatTests-ChatWithBasicAudioOutput
        openai-dotnet__ChatTests-ChatWithBasicAudioOutputAsync
    """,
    (ROUTER,): """
        llm__test_tools_streaming-test_tools_streaming_variant_a-1
        llm__test_tools_streaming-test_tools_streaming_variant_c-1
        llm__test_tools_streaming-test_tools_streaming_variant_d-1
    """,
    (ROUTER, NO_FINISH): """
        llm__test_tools_streaming-test_tools_streaming_variant_b-0
    """,
    (ROUTER, NO_ARGUMENTS): """
        llm__test_tools_streaming-test_tools_streaming_variant_d-0
    """,
    (NO_MESSAGE,): """
        openllmetry__opentelemetry-instrumentation-openai-test_azure-test_chat_content_filtering-0
    """,
    (IN_200,): """
        openllmetry__opentelemetry-instrumentation-openai-test_azure-test_prompt_content_filtering-0
    """,
    (INDEX,): """
        ruby_llm__chat_function_calling_azure_grok-4-1-fast-non-reasoning_can_handle_multiple_tool_calls_in_a_single_response-0
        ruby_llm__chat_function_calling_azure_grok-4-1-fast-non-reasoning_can_use_parallel_tool_calls-0
    """,
}  # fmt: skip
EXCEPTIONS = {f"openai-chat/{name}": set(why) for why, names in _EXCEPTIONS.items() for name in names.split()}


def exchanges() -> list[Json]:
    if not FILE.exists():
        return []
    with gzip.open(FILE, "rt", encoding="utf-8") as lines:
        every = [json.loads(line) for line in lines]
    return [e for e in every if e["fidelity"] == "wire" and e["provenance"] in ("recorded", "recorded-body")]


EXCHANGES = exchanges()


@pytest.fixture(scope="module")
def ours(server: Process) -> Iterator[OpenAI]:
    with OpenAI(base_url=server.url, api_key="-", max_retries=0) as client:
        yield client


@pytest.fixture(scope="module")
def theirs(upstream: Upstream) -> Iterator[OpenAI]:
    with OpenAI(base_url=f"{upstream.url}/v1", api_key="-", max_retries=0) as client:
        yield client


def replay(upstream: Upstream, exchange: Json, name: str, cut: int | None = None) -> None:
    """Have the upstream give a model's recorded answer."""
    response = exchange["response"]
    data = response["body"].encode()
    headers = {k.lower(): v for k, v in (response["headers"] or {}).items()}
    if response["stream"]:
        upstream.script(name, stream(data, cut))
    else:
        kind = headers.get("content-type", "application/json")
        after = {"Retry-After": headers["retry-after"]} if "retry-after" in headers else {}
        upstream.script(name, answer(data, response["status"], after, kind, cut))


def request_of(exchange: Json, model: str) -> Json:
    """The recorded request, for another model, and with usage asked for when it streams: both sides are to have it."""
    body = exchange["request"]["body"]
    body = dict(body) if isinstance(body, dict) and body.get("messages") else dict(HELLO)
    body["model"] = model
    if exchange["response"]["stream"]:
        body["stream"], body["stream_options"] = True, {**(body.get("stream_options") or {}), "include_usage": True}
    else:
        body.pop("stream", None)
        body.pop("stream_options", None)
    return body


def ask(client: OpenAI, body: Json) -> Json:
    """What the SDK makes of an answer: a whole one, a stream's sum, or an error."""
    try:
        if not body.get("stream"):
            return client.post("/chat/completions", body=body, cast_to=ChatCompletion).to_dict()
        chunks = client.post(
            "/chat/completions",
            body=body,
            cast_to=ChatCompletion,
            stream=True,
            stream_cls=openai.Stream[ChatCompletionChunk],
        )
        return summed([chunk.to_dict() for chunk in chunks])
    except openai.APIStatusError as error:
        return {"error": error}


def summed(chunks: list[Json]) -> Json:
    """Chunks of a stream → what they add up to; written for this test, it shares nothing with the gateway's own."""
    whole: Json = {"choices": {}}
    for chunk in chunks:
        whole |= {k: v for k, v in chunk.items() if k != "choices" and v is not None}
        for choice in chunk.get("choices", ()):
            have = whole["choices"].setdefault(choice["index"], {"message": {}})
            for key, value in choice.items():
                if key == "delta":
                    add(have["message"], value or {})
                elif key == "logprobs" and value:
                    add(have.setdefault("logprobs", {}), value)
                elif value is not None and key != "index" and not (key == "finish_reason" and "finish_reason" in have):
                    have[key] = value
    return whole


def add(have: Json, more: Json) -> None:
    for key, value in more.items():
        if key == "tool_calls" and value:
            calls = have.setdefault("tool_calls", {})
            for call in value:
                add(calls.setdefault(call["index"], {}), {k: v for k, v in call.items() if k != "index"})
        elif isinstance(value, dict):
            add(have.setdefault(key, {}), value)
        elif isinstance(value, list):
            have[key] = have.get(key, []) + value
        elif isinstance(value, str) and key in _TEXTS:
            have[key] = have.get(key, "") + value
        elif value is not None:
            have[key] = value


def plain(value: Any) -> Any:
    """Without what says nothing: null, empty texts, lists and objects; and without what the gateway owns or removes."""
    if isinstance(value, dict):
        kept = {k: plain(v) for k, v in value.items() if k != "obfuscation"}
        return {k: v for k, v in kept.items() if v is not None and v != "" and v != [] and v != {}}
    if isinstance(value, list):
        return [plain(each) for each in value]
    return value


def compared(body: Json) -> Json:
    return {k: v for k, v in plain(body).items() if k not in OURS}


def settled(direct: Json) -> tuple[Json, set[str]]:
    """What the gateway should make of an answer that the SDK got directly, and the names of what it changes."""
    whole, notes = copy.deepcopy(direct), set()
    if whole.pop("provider", None):
        notes.add(ROUTER)
    usage = whole.get("usage", {})
    cached = usage.get("prompt_tokens_details", {}).get("cached_tokens", 0)
    if cached > usage.get("prompt_tokens", cached):  # Azure's Grok: a part of the prompt is no more than the prompt
        usage["prompt_tokens_details"]["cached_tokens"] = usage["prompt_tokens"]
    choices = whole.get("choices", [])
    for choice in choices.values() if isinstance(choices, dict) else choices:
        if choice.pop("native_finish_reason", None):
            notes.add(ROUTER)
        if "message" not in choice:
            notes.add(NO_MESSAGE)
        message = choice.setdefault("message", {"role": "assistant"})
        calls = message.get("tool_calls", {})
        for call in calls.values() if isinstance(calls, dict) else calls:
            if call.pop("index", None) is not None:
                notes.add(INDEX)
            if "arguments" not in call.get("function", {"arguments": ""}):
                call["function"]["arguments"] = "{}"
                notes.add(NO_ARGUMENTS)
        finish = choice.get("finish_reason")
        if finish is None or (finish == "stop" and calls):
            choice["finish_reason"] = "tool_calls" if calls else "stop"
            notes.add(STOP if finish else NO_FINISH)
    return whole, notes


def expected_error(exchange: Json) -> tuple[tuple[int, str, str | None], set[str]]:
    """Status, type and code by spec/MAPPING.md §5 for a recorded failure."""
    status, notes = exchange["response"]["status"], set()
    try:
        error = json.loads(exchange["response"]["body"]).get("error", {})
    except ValueError:
        error = {}
    code = error.get("code")
    if status == 200:
        status, notes = error["status"], {IN_200}
    if INGRESS in EXCEPTIONS.get(exchange["id"], ()):
        first = {"unsupported_parameter": "integer_below_min_value", "missing_required_parameter": "invalid_value"}
        code, notes = first[code], {INGRESS}
    if status == 401:
        return (502, "server_error", "upstream_auth_error"), notes
    if status == 429 and code == "insufficient_quota":
        return (503, "server_error", "upstream_quota_exhausted"), notes
    if status == 429:
        return (429, "rate_limit_error", "rate_limit_exceeded"), notes
    if status == 503:
        return (503, "server_error", "overloaded"), notes
    if status == 404:  # whatever they call it: DeploymentNotFound, "404"
        code = "model_not_found"
    return (status, "invalid_request_error", code), notes


def difference(exchange: Json, ours: Json, theirs: Json) -> tuple[str, set[str]]:
    """What is not as it should be, or nothing; and what the gateway changed on purpose."""
    wrong = ours.get("error")
    if "error" in theirs:
        expected, notes = expected_error(exchange)
        got = (wrong.status_code, wrong.type, wrong.code) if wrong is not None else "no error"
        return "" if got == expected else f"error {got}, expected {expected}", notes
    if wrong is not None:
        return f"error {wrong.message}", set()
    mine, (direct, notes) = compared(ours), settled(compared(theirs))
    keys = [key for key in mine.keys() | direct.keys() if mine.get(key) != direct.get(key)]
    return "; ".join(f"{key}: {mine.get(key)!r} != {direct.get(key)!r}" for key in sorted(keys)), notes


def test_every_exchange(upstream: Upstream, ours: OpenAI, theirs: OpenAI, capsys: pytest.CaptureFixture[str]) -> None:
    """Content, tool calls, finish, usage, refusal, logprobs, annotations and all unknown fields are the same."""
    found: dict[str, set[str]] = {}
    wrong: dict[str, str] = {}
    counts = Counter[str]()
    for n, exchange in enumerate(EXCHANGES):
        name = f"corpus-{n}"
        replay(upstream, exchange, name)
        mine = ask(ours, request_of(exchange, f"up/{name}"))
        direct = ask(theirs, request_of(exchange, name))
        counts["error" if "error" in direct else "stream" if exchange["response"]["stream"] else "whole"] += 1
        told, notes = difference(exchange, mine, direct)
        if told:
            wrong[exchange["id"]] = told
        if notes:
            found[exchange["id"]] = notes
    with capsys.disabled():
        print(f"\ncorpus: {len(EXCHANGES)} exchanges replayed, {dict(counts)}; {len(found)} exceptions")
        for ident, notes in found.items():
            print(f"  {ident.removeprefix('openai-chat/')}: {'; '.join(sorted(notes))}")
    assert not wrong, json.dumps(wrong, indent=1)[:4000]
    assert found == EXCEPTIONS


def as_stream(whole: Json) -> Json:
    """A whole answer in the form that `summed` gives a stream."""
    whole = settled(whole)[0]
    for choice in whole["choices"]:
        calls = choice["message"].get("tool_calls")
        if calls:
            choice["message"]["tool_calls"] = dict(enumerate(calls))
    whole["choices"] = {c["index"]: {k: v for k, v in c.items() if k != "index"} for c in whole["choices"]}
    return whole


def test_whole_answers_for_a_client_that_streams(upstream: Upstream, ours: OpenAI, theirs: OpenAI) -> None:
    """A host that cannot stream answers in JSON: the stream made of it says all that the answer does."""
    wrong: dict[str, str] = {}
    for n, exchange in enumerate(EXCHANGES):
        response = exchange["response"]
        if response["stream"] or response["status"] != 200 or IN_200 in EXCEPTIONS.get(exchange["id"], ()):
            continue
        replay(upstream, exchange, f"json-{n}")
        body = request_of(exchange, f"up/json-{n}")
        mine = compared(ask(ours, {**body, "stream": True, "stream_options": {"include_usage": True}}))
        direct = as_stream(compared(ask(theirs, {**body, "model": f"json-{n}"})))
        if mine != direct:
            wrong[exchange["id"]] = f"{mine!r:.500} != {direct!r:.500}"
    assert not wrong, json.dumps(wrong, indent=1)[:6000]


def test_cuts_do_not_show(upstream: Upstream, ours: OpenAI) -> None:
    """A sample of streams, every fifteenth and all with more than ASCII in few bytes, cut at 1, 7 and 64 bytes."""
    streams = [e for e in EXCHANGES if e["response"]["stream"]]
    sample = [e for e in streams[::15] if len(e["response"]["body"]) < 12_000]
    sample += [e for e in streams if "non_ascii" in e["features"] and len(e["response"]["body"]) < 6_000][:5]
    assert len(sample) >= 10
    for n, exchange in enumerate(sample):
        got = []
        for cut in FEW:
            replay(upstream, exchange, f"cut-{n}", cut)
            got.append(compared(ask(ours, request_of(exchange, f"up/cut-{n}"))))
        assert got[1:] == got[:1] * 3, exchange["id"]


@pytest.mark.skipif(not SCHEMAS.exists(), reason="OpenAI's schemas are not here")
def test_every_answer_fits_openais_schema(upstream: Upstream, server: Process, http: Any) -> None:
    definitions = json.loads(SCHEMAS.read_text(encoding="utf-8"))["$defs"]

    def validator(name: str) -> Draft202012Validator:
        return Draft202012Validator({"$ref": f"#/$defs/{name}", "$defs": definitions})

    whole, chunk = validator("CreateChatCompletionResponse"), validator("CreateChatCompletionStreamResponse")
    wrong = Counter[str]()
    checked = 0
    for n, exchange in enumerate(EXCHANGES):
        if exchange["response"]["status"] != 200:
            continue
        replay(upstream, exchange, f"schema-{n}")
        got = http.post(f"{server.url}/chat/completions", json=request_of(exchange, f"up/schema-{n}"))
        if got.status_code != 200:
            assert IN_200 in EXCEPTIONS[exchange["id"]]
            continue
        if exchange["response"]["stream"]:
            frames = [frame.removeprefix("data: ") for frame in got.text.split("\n\n")[:-1]]
            bodies = [json.loads(frame) for frame in frames if frame != "[DONE]"]
            bodies = bodies[:20] + bodies[20::10] + bodies[-3:]  # the middle of a long stream is all alike
        else:
            bodies = [got.json()]
        for body in bodies:
            checked += 1
            for error in (chunk if exchange["response"]["stream"] else whole).iter_errors(body):
                wrong[f"{exchange['id']}: {error.json_path}: {error.message[:200]}"] += 1
    assert not wrong, json.dumps(wrong, indent=1)[:4000]
    assert checked > len(EXCHANGES)
