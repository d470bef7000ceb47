"""Requests of the Responses API that are passed on as they are, and what is learned of their answers.

Numbers are the acceptance cases of the Responses API.
"""

import copy
import json
from typing import Any

import pytest
from model_table import MODELS
from msgspec.structs import replace

from dialects import seal
from dialects.responses import compaction, outgoing
from providers.contract import Call, Ended, Upstream
from providers.errors import BadRequest, ContextLengthExceeded, Failure, UpstreamError, UpstreamTruncated
from providers.hosts import HOSTS
from providers.openai.native import NATIVE, build_responses
from providers.openai.responses.watch import watch
from providers.sse import Event

Json = dict[str, Any]
HEX = "0123456789abcdef" * 2
HI = {"role": "user", "content": "Hi"}
OPT_IN = replace(HOSTS["vllm"], responses_native=True)


def to(host: str = "openai", **row: Any) -> Upstream:
    known = replace(HOSTS[host], **row)
    return Upstream(host, "model-1", "https://api.test/v1", "k", host, known, MODELS.of("model-1", host))


def built(raw: Json, target: Upstream | None = None, headers: dict[str, str] | None = None) -> Call | None:
    before = copy.deepcopy(raw)
    call = build_responses(raw, headers or {}, target or to())
    assert raw == before
    return call


def call_of(raw: Json, target: Upstream | None = None, headers: dict[str, str] | None = None) -> Call:
    call = built(raw, target, headers)
    assert call is not None
    return call


@pytest.mark.case(responses=76)
def test_nothing_but_the_model_is_changed():
    raw = {
        "zeta": {"unknown": [1, None]},
        "model": "public",
        "input": [HI, {"type": "brand_new", "id": "x_1"}, {"type": "item_reference", "id": "msg_1"}],
        "tools": [{"type": "file_search", "vector_store_ids": ["vs_1"]}, {"type": "tomorrow"}],
        "previous_response_id": "resp_1",
        "background": False,
        "stream": True,
        "store": None,
    }
    call = call_of(raw)
    assert list(call.body) == list(raw)
    assert call.body == {**raw, "model": "model-1"}
    assert (call.url, call.headers, call.stream, call.dropped) == (
        "https://api.test/v1/responses",
        {"Authorization": "Bearer k"},
        True,
        (),
    )
    assert call.native is watch


@pytest.mark.case(responses=76)
def test_azure_has_its_own_header():
    call = call_of({"model": "m", "input": "Hi"}, to("azure_v1"))
    assert (call.url, call.headers) == ("https://api.test/v1/responses", {"api-key": "k"})


@pytest.mark.parametrize(
    "host, more, taken",
    [
        ("openai", {"tools": [{"type": "custom", "name": "apply_patch"}]}, True),
        ("xai", {"tools": [{"type": "function", "name": "f"}, {"type": "x_search"}]}, True),
        ("xai", {"tools": [{"type": "custom", "name": "apply_patch"}]}, False),
        ("xai", {"tools": [{"type": "namespace", "tools": [{"type": "custom"}]}]}, False),
        ("xai", {"input": [HI, {"type": "custom_tool_call", "call_id": "c"}]}, False),
        ("xai", {"previous_response_id": "resp_1"}, True),
        ("deepseek", {"tools": [{"type": "custom", "name": "apply_patch"}, {"type": "web_search"}]}, True),
        ("deepseek", {"tools": [{"type": "file_search"}]}, False),
        ("deepseek", {"tools": ["broken"]}, False),
        ("deepseek", {"input": [HI, {"type": "additional_tools", "tools": [{"type": "mcp"}]}]}, False),
        (
            "deepseek",
            {"input": [HI, {"type": "reasoning", "content": [{"type": "reasoning_text", "text": "x"}]}]},
            True,
        ),
        ("deepseek", {"previous_response_id": "resp_1"}, False),
        ("deepseek", {"background": True}, False),
        ("deepseek", {"background": False, "conversation": None}, True),
        ("openrouter", {}, False),
        ("groq", {}, False),
        ("vllm", {}, False),
        ("azure", {}, False),
    ],
    ids=str,
)
@pytest.mark.case(responses=83)
def test_a_row_says_what_a_host_takes(host: str, more: Json, taken: bool):
    assert (built({"model": "m", "input": "Hi", **more}, to(host)) is not None) is taken


@pytest.mark.case(responses=83)
def test_a_host_that_takes_it_by_choice():
    target = replace(to("vllm"), host=OPT_IN)
    assert built({"model": "m", "input": [HI], "tools": [{"type": "function", "name": "f"}]}, target) is not None
    assert built({"model": "m", "input": [HI], "tools": [{"type": "custom", "name": "f"}]}, target) is None


@pytest.mark.case(responses=83)
def test_hidden_reasoning_is_translated():
    assert built({"model": "m", "input": "Hi"}, replace(to(), reasoning=False)) is None


@pytest.mark.case(responses=78)
def test_openrouter_by_choice():
    call = call_of(
        {"model": "m", "input": "Hi", "store": True, "client_metadata": {"a": 1}},
        to("openrouter", responses_native=True),
    )
    assert call.body == {"model": "model-1", "input": "Hi"}
    assert call.dropped == ("store", "client_metadata")


@pytest.mark.case(responses=78)
def test_what_is_dropped_and_asks_for_nothing_is_not_said():
    call = call_of({"model": "m", "input": "Hi", "store": False}, to("openrouter", responses_native=True))
    assert (call.body, call.dropped) == ({"model": "model-1", "input": "Hi"}, ())


THOUGHT = {"type": "reasoning", "id": "rs_1", "summary": [], "content": [{"type": "reasoning_text", "text": "x"}]}
OTHERS = {"type": "reasoning", "id": "rs_2", "summary": [], "encrypted_content": "gAAA"}


@pytest.mark.parametrize(
    "host, left, dropped",
    [("openai", [OTHERS, HI], ("input.reasoning",)), ("deepseek", [THOUGHT, OTHERS, HI], ())],
    ids=str,
)
@pytest.mark.case(responses=80)
def test_openai_takes_no_reasoning_that_can_be_read(host: str, left: list[Json], dropped: tuple[str, ...]):
    call = call_of({"model": "m", "input": [THOUGHT, OTHERS, HI]}, to(host))
    assert (call.body["input"], call.dropped) == (left, dropped)


def refused(message: str = "bad", code: str | None = None, status: int = 400) -> Failure:
    failure = BadRequest(message, code=code)
    failure.upstream_status = status
    return failure


@pytest.mark.parametrize(
    "failure",
    [
        refused(code="invalid_encrypted_content"),
        refused("The encrypted content gAAA could not be verified."),
        refused("Encrypted content could not be decrypted or parsed."),
        refused("This reasoning was not issued to this caller."),
    ],
    ids=str,
)
@pytest.mark.case(responses=80)
def test_reasoning_of_another_account_is_left_out_once(failure: Failure):
    call = call_of({"model": "m", "input": [OTHERS, HI], "x": 1})
    assert call.repair is not None
    repaired = call.repair(failure)
    assert repaired is not None
    assert repaired.body == {"model": "model-1", "input": [HI], "x": 1}
    assert repaired.dropped == ("input.reasoning",)


@pytest.mark.parametrize(
    "given, failure",
    [
        ([HI], refused(code="invalid_encrypted_content")),
        ([HI, {"type": "compaction", "encrypted_content": "x"}], refused(code="invalid_encrypted_content")),
        ([OTHERS, HI], refused("Invalid value: 'x'.", code="invalid_value")),
        ([OTHERS, HI], refused(code="invalid_encrypted_content", status=500)),
        ("Hi", refused(code="invalid_encrypted_content")),
    ],
    ids=str,
)
@pytest.mark.case(responses=80)
def test_other_refusals_stand(given: Any, failure: Failure):
    call = call_of({"model": "m", "input": given})
    assert call.repair is not None and call.repair(failure) is None


def test_headers_go_by_a_closed_list():
    sent = {
        "openai-beta": "responses_websockets=2026-02-06",
        "session_id": "s",
        "thread-id": "t",
        "x-client-request-id": "r",
        "cookie": "c",
        "x-codex-turn-metadata": "{}",
        "session-id": "é",
    }
    assert call_of({"model": "m", "input": "Hi"}, headers=sent).headers == {
        "Authorization": "Bearer k",
        "openai-beta": "responses_websockets=2026-02-06",
        "session_id": "s",
        "thread-id": "t",
        "x-client-request-id": "r",
    }


@pytest.mark.parametrize("host, there", [("openai", True), ("azure_v1", True), ("deepseek", False), ("vllm", False)])
@pytest.mark.case(responses=86)
def test_compaction_and_counting_are_the_hosts_that_keep_responses(host: str, there: bool):
    for name in ("compact", "input_tokens"):
        call = NATIVE[f"responses/{name}"]({"model": "m", "input": "Hi"}, {}, to(host))
        assert (call is not None) is there
        if call is not None:
            assert (call.url, call.stream) == (f"https://api.test/v1/responses/{name}", False)


# What is this server's own


@pytest.mark.case(responses=79)
def test_own_ids_and_own_reasoning_go_to_no_upstream():
    raw = {
        "model": "m",
        "input": [
            HI,
            {
                "type": "reasoning",
                "id": f"rs_ms{HEX}0000",
                "summary": [],
                "encrypted_content": seal.envelope({"by": "a"}),
            },
            {"type": "reasoning", "summary": [], "encrypted_content": seal.envelope({"by": "a"})},
            {"type": "function_call", "id": f"fc_ms{HEX}0001", "call_id": "toolu_1", "name": "f", "arguments": "{}"},
            {"type": "function_call_output", "call_id": "toolu_1", "output": "ok"},
            {"type": "message", "id": "msg_68af", "role": "assistant", "content": []},
            OTHERS,
            "odd",
        ],
    }
    before = copy.deepcopy(raw)
    cleaned, dropped = outgoing.cleaned(raw)
    assert raw == before
    assert cleaned["input"] == [
        HI,
        {"type": "function_call", "call_id": "toolu_1", "name": "f", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "toolu_1", "output": "ok"},
        {"type": "message", "id": "msg_68af", "role": "assistant", "content": []},
        OTHERS,
        "odd",
    ]
    assert dropped == ("input.reasoning",)


@pytest.mark.parametrize("given", ["Hi", [HI, OTHERS, 5, None], None, {}], ids=str)
@pytest.mark.case(responses=76)
def test_what_holds_nothing_of_ours_stays_the_same_object(given: Any):
    raw = {"model": "m", "input": given}
    assert outgoing.cleaned(raw) == (raw, ())
    assert outgoing.cleaned(raw)[0] is raw


@pytest.mark.case(responses=86)
def test_an_own_summary_goes_as_a_message():
    sealed = compaction.sealed("The goal is é.")
    raw = {"input": [{"type": "compaction", "id": f"cmp_ms{HEX}0000", "encrypted_content": sealed}, HI]}
    text = "Summary of the conversation so far, made by the assistant:\n\nThe goal is é."
    message = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": text}]}
    assert outgoing.cleaned(raw) == ({"input": [message, HI]}, ())


@pytest.mark.parametrize(
    "text",
    ["", "msc1:", "msc1:!!!", "msc1:AAAA", "msc1:" + "A" * 2**21, "gAAAA", None, 5, ["msc1:"], "msc1:eyJ2IjoyfQ", "msc1:é"],
    ids=lambda text: str(text)[:10],
)  # fmt: skip
@pytest.mark.case(responses=86)
def test_what_is_no_own_summary(text: Any):
    assert compaction.opened(text) is None


def test_the_defaults_of_the_configuration_have_their_own_places():
    missing = {"temperature": 0.7, "max_tokens": 5, "reasoning_effort": "low", "seed": 1, "verbosity": "low"}
    raw = {"model": "m", "reasoning": {"summary": "auto"}, "text": {"verbosity": "high"}}
    assert outgoing.with_defaults(raw, missing) == {
        "model": "m",
        "reasoning": {"summary": "auto", "effort": "low"},
        "text": {"verbosity": "high"},
        "temperature": 0.7,
        "max_output_tokens": 5,
    }


@pytest.mark.parametrize(
    "given, triggered",
    [
        ([HI, {"type": "compaction_trigger"}], True),
        ([HI], False),
        ("compaction_trigger", False),
        (None, False),
    ],
    ids=str,
)
@pytest.mark.case(responses=87)
def test_a_trigger_is_the_last_item(given: Any, triggered: bool):
    assert compaction.triggered({"input": given}) is triggered


@pytest.mark.parametrize(
    "given",
    [[{"type": "compaction_trigger"}, HI], [{"type": "compaction_trigger"}, {"type": "compaction_trigger"}]],
    ids=str,
)
@pytest.mark.case(responses=87)
def test_a_trigger_elsewhere_is_refused(given: Any):
    with pytest.raises(BadRequest) as raised:
        compaction.triggered({"input": given})
    assert raised.value.param == "input[0]"


@pytest.mark.case(responses=86)
def test_what_a_model_is_asked_for_a_summary():
    tool = {"type": "function", "function": {"name": "f"}}
    body = {
        "model": "m",
        "messages": [HI],
        "tools": [tool],
        "tool_choice": "required",
        "response_format": {"type": "json_object"},
        "reasoning_effort": "xhigh",
        "stream": True,
        "max_completion_tokens": 5,
    }
    asked = compaction.question(body)
    *before, question = asked.pop("messages")
    assert before == [HI] and question["role"] == "user" and "hand-over" in question["content"]
    assert asked == {
        "model": "m",
        "tools": [tool],
        "tool_choice": "none",
        "reasoning_effort": "low",
        "stream": True,
        "max_completion_tokens": 8192,
    }


@pytest.mark.case(responses=86)
def test_the_users_latest_messages_stay_beside_a_summary():
    long = {"role": "user", "content": "x" * 70_000}
    assistant = {"type": "message", "role": "assistant", "content": "y"}
    assert compaction.latest([HI, long, assistant, OTHERS, HI]) == [HI, long, HI]
    assert compaction.latest([long, long, HI]) == [long, HI]
    assert compaction.latest(5) == []


# What is learned of an answer that passes


USAGE = {
    "input_tokens": 5,
    "input_tokens_details": {"cached_tokens": 3},
    "output_tokens": 4,
    "output_tokens_details": {"reasoning_tokens": 1},
    "total_tokens": 9,
}
COUNTED = {
    "prompt_tokens": 5,
    "completion_tokens": 4,
    "total_tokens": 9,
    "prompt_tokens_details": {"cached_tokens": 3},
    "completion_tokens_details": {"reasoning_tokens": 1},
}
BEGINS: list[Json] = [
    {"type": "response.created", "response": {"id": "resp_1", "output": []}},
    {"type": "response.in_progress", "response": {"id": "resp_1", "output": []}},
]
SAYS: list[Json] = [
    {"type": "response.output_item.added", "output_index": 0, "item": {"type": "message"}},
    {"type": "response.output_text.delta", "output_index": 0, "delta": "x" * 200},
    {"type": "response.brand_new", "anything": 1},
]


def seen(*events: Json, named: bool = True) -> tuple[list[Json], bool]:
    """The chunks of a stream, and whether the watcher ended by itself."""
    watcher = watch(True)
    chunks: list[Json] = []
    for each in events:
        try:
            chunks += watcher.send(Event(each["type"] if named else "", json.dumps(each).encode()))  # type: ignore[arg-type]
        except StopIteration as end:
            return chunks + end.value, True
    return chunks, False


def usage_of(chunks: list[Json]) -> Json | None:
    found = [each["usage"] for each in chunks if each.get("usage")]
    assert len(found) <= 1
    return {name: value for name, value in found[0].items() if name in COUNTED} if found else None


@pytest.mark.parametrize("kind", ["completed", "incomplete"])
@pytest.mark.case(responses=76)
def test_usage_is_the_terminal_events(kind: str):
    response = {"id": "resp_1", "status": kind, "usage": USAGE, "output": [], "service_tier": "flex"}
    chunks, ended = seen(*BEGINS, *SAYS, {"type": f"response.{kind}", "response": response})
    assert ended
    counted = usage_of(chunks)
    assert counted is not None and counted["prompt_tokens"] == 5 and counted["completion_tokens"] == 4
    assert chunks[-1]["service_tier"] == "flex"


@pytest.mark.parametrize("usage", [None, {}, [], "many", {"input_tokens": "x"}, {"input_tokens": {}}], ids=str)
@pytest.mark.case(responses=76)
def test_usage_of_another_form_breaks_nothing(usage: Any):
    chunks, ended = seen(*BEGINS, *SAYS, {"type": "response.completed", "response": {"usage": usage}})
    assert ended and any(choice["finish_reason"] for each in chunks for choice in each["choices"])


@pytest.mark.case(responses=78)
def test_a_stream_that_ends_with_done():
    call = call_of({"model": "m", "input": "Hi"}, to("openrouter", responses_native=True))
    assert call.native is not None
    watcher = call.native(True)
    for each in (*BEGINS, *SAYS):
        watcher.send(Event(each["type"], json.dumps(each).encode()))
    end = {"type": "response.completed", "response": {"usage": USAGE}}
    chunks = watcher.send(Event("response.completed", json.dumps(end).encode()))
    assert type(chunks) is Ended and usage_of(chunks) is not None
    with pytest.raises(StopIteration):
        watcher.send(Event("", b"[DONE]"))


@pytest.mark.case(responses=77)
def test_what_only_opens_an_answer_says_nothing():
    assert seen(*BEGINS) == ([], False)


@pytest.mark.case(responses=77)
def test_a_stream_without_an_end():
    watcher = watch(True)
    for each in (*BEGINS, *SAYS):
        watcher.send(Event(each["type"], json.dumps(each).encode()))
    with pytest.raises(UpstreamTruncated):
        watcher.send(None)


FAILED = {"type": "response.failed", "response": {"error": {"code": "server_error", "message": "Oh."}, "usage": USAGE}}
NESTED = {
    "type": "error",
    "error": {"type": "invalid_request_error", "code": "context_length_exceeded", "message": "Long."},
}
FLAT = {"type": "error", "code": "server_error", "message": "Oh.", "param": None}


@pytest.mark.parametrize(
    "event, kind",
    [(FAILED, UpstreamError), (NESTED, ContextLengthExceeded), (FLAT, UpstreamError)],
    ids=["failed", "nested", "flat"],
)
@pytest.mark.case(responses=77)
def test_a_failure_before_anything_was_said_is_raised(event: Json, kind: type[Failure]):
    with pytest.raises(kind):
        seen(*BEGINS, event)


@pytest.mark.case(responses=77)
def test_a_failure_after_that_passes_and_is_counted():
    watcher = watch(True)
    for each in (*BEGINS, *SAYS, FLAT):
        watcher.send(Event(each["type"], json.dumps(each).encode()))
    chunks = watcher.send(Event("response.failed", json.dumps(FAILED).encode()))
    assert type(chunks) is Ended and isinstance(chunks, list)
    assert usage_of(chunks) is not None
    with pytest.raises(StopIteration):
        watcher.send(None)


@pytest.mark.case(responses=84)
def test_a_whole_answer_is_counted():
    watcher = watch(False)
    with pytest.raises(StopIteration) as end:
        watcher.send(Event("", {"object": "response", "error": None, "output": [], "usage": USAGE}))
    (answer,) = end.value.value
    assert answer["choices"][0]["message"] == {"role": "assistant", "content": ""}
    assert answer["usage"]["prompt_tokens"] == 5


@pytest.mark.case(responses=84)
def test_a_whole_answer_that_is_an_error():
    watcher = watch(False)
    with pytest.raises(UpstreamError):
        watcher.send(Event("", {"object": "response", "error": {"code": "server_error", "message": "Oh."}}))
