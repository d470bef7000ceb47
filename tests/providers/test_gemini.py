"""Gemini's answers: event streams and errors → chunks and failures. D58 … D78 are acceptance cases of the product."""

import json
import re
from typing import Any

import pytest
import replay
from cuts import CUTS
from gemini_run import GEMINI_3, STREAMS, asked, ended, feed, run, to
from hypothesis import given
from hypothesis import strategies as st
from translators import translator_of

from providers import codec, gemini
from providers.chunks import collect
from providers.contract import Call
from providers.errors import Failure, RateLimitExceeded, UpstreamBadOutput, UpstreamTruncated
from providers.sse import DONE, Cut, Event


def chunk(delta: dict[str, Any], finish: str | None = None, index: int = 0, logprobs: Any = None) -> dict[str, Any]:
    return {"choices": [{"index": index, "delta": delta, "logprobs": logprobs, "finish_reason": finish}]}


def tally(prompt: int, completion: int, total: int, cached: int = 0, reasoning: int = 0) -> dict[str, Any]:
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": total,
        "prompt_tokens_details": {"cached_tokens": cached, "cache_write_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": reasoning},
    }


def used(*counts: int, **details: int) -> dict[str, Any]:
    return {"choices": [], "usage": tally(*counts, **details)}


def called(index: int, id: str, name: str, arguments: str, signature: str | None = None) -> dict[str, Any]:
    call: dict[str, Any] = {"index": index, "id": id, "type": "function"}
    if signature:
        call["extra_content"] = {"google": {"thought_signature": signature}}
    return chunk({"tool_calls": [{**call, "function": {"name": name, "arguments": arguments}}]})


def image(index: int, url: str) -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": url}, "index": index}


ROLE = chunk({"role": "assistant", "content": ""})
NO_TEXT = chunk({"role": "assistant", "content": None})  # opens an answer that begins with something else
RENAMED = asked({"tools": [{"type": "function", "function": {"name": "7_day"}}]})

ANSWERS = {
    "text-with-thoughts-D78": (
        "text",
        [
            NO_TEXT,
            chunk({"reasoning_content": "**先想一想**\n\n"}),
            chunk({"content": "你好，\u2028世"}),
            chunk({"content": "界 👋\n"}),
            chunk({"content": "data: not a field\r\n"}),
            chunk({"extra_content": {"google": {"thought_signature": "c2lnbmVk"}}}, "stop"),
            used(257, 52, 309, cached=200, reasoning=40),
        ],
    ),
    "call-then-stop-D63": (
        "call",
        [
            NO_TEXT,
            called(0, "id-1", "get_country", "{}", "QUJD"),
            chunk({}, "tool_calls"),
            used(29, 212, 241, reasoning=202),
        ],
    ),
    "parallel-calls-D65": (
        "parallel",
        [
            ROLE,
            chunk({"content": "查三个城市。"}),
            called(0, "fc_a", "weather", '{"city":"北京","days":3}', "Zmlyc3Q="),
            called(1, "fc_b", "weather", '{"city":"São Paulo"}'),
            called(2, "fc_c", "7_day", '{"line":"a\u2028b"}'),
            chunk({}, "tool_calls"),
            used(80, 104, 184, reasoning=60),
        ],
    ),
    "usage-corrected-D68": (
        "counts",
        [
            ROLE,
            chunk({"content": "One"}),
            chunk({"content": " two"}),
            chunk({"content": " three."}),
            chunk({}, "stop"),
            used(257, 8, 265),
        ],
    ),
    "prompt-blocked-D69": (
        "blocked",
        [ROLE, chunk({"refusal": "Prompt blocked: SAFETY"}), chunk({}, "content_filter"), used(5, 0, 5)],
    ),
    "two-candidates": (
        "two",
        [
            ROLE,
            chunk({"content": "甲"}),
            chunk({"role": "assistant", "content": ""}, index=1),
            chunk({"content": "乙"}, index=1),
            chunk({"content": "一"}),
            chunk({"content": "二"}, index=1),
            chunk({}, "stop"),
            chunk({}, "length", index=1),
            used(7, 4, 11),
        ],
    ),
    "images": (
        "image",
        [
            ROLE,
            chunk({"content": "A cat:"}),
            chunk({"images": [image(0, "data:image/png;base64,iVBORw0KGgo=")]}),
            chunk({"images": [image(1, "data:image/jpeg;base64,/9j/4AA=")]}),
            chunk({"content": "and its twin."}),
            chunk({}, "stop"),
            used(6, 2584, 2590),
        ],
    ),
    "logprobs": (
        "logprobs",
        [
            ROLE,
            chunk(
                {"content": "好"},
                logprobs={
                    "content": [
                        {
                            "token": "好",
                            "logprob": -0.5,
                            "bytes": [229, 165, 189],
                            "top_logprobs": [
                                {"token": "好", "logprob": -0.5, "bytes": [229, 165, 189]},
                                {"token": "a", "logprob": -1.5, "bytes": [97]},
                            ],
                        }
                    ],
                    "refusal": None,
                },
            ),
            chunk({}, "stop"),
            used(3, 1, 4),
        ],
    ),
}


@pytest.mark.parametrize("size", CUTS)
@pytest.mark.parametrize(("name", "expected"), ANSWERS.values(), ids=ANSWERS)
def test_stream(name: str, expected: list[dict[str, Any]], size: int | None) -> None:
    call = asked({"tools": [{"type": "function", "function": {"name": "7_day"}}], "n": 2})
    assert run(name, size, call) == expected


FAILURES = {
    "malformed-call-D70": ("malformed", [], UpstreamBadOutput, "upstream_bad_output", None, tally(12, 0, 12)),
    "cut-D71": (
        "cut",
        [ROLE, chunk({"content": "half of an"}), chunk({"content": " answer"})],
        UpstreamTruncated,
        "upstream_truncated",
        None,
        tally(9, 4, 13),
    ),
    "error-event-D72": (
        "error",
        [ROLE, chunk({"content": "Then"})],
        RateLimitExceeded,
        "rate_limit_exceeded",
        1.0,
        tally(9, 1, 10),
    ),
}


@pytest.mark.parametrize("size", CUTS)
@pytest.mark.parametrize(("name", "before", "kind", "code", "wait", "spent"), FAILURES.values(), ids=FAILURES)
def test_stream_fails(
    name: str,
    before: list[Any],
    kind: type[Failure],
    code: str,
    wait: float | None,
    spent: dict[str, Any],
    size: int | None,
) -> None:
    data = (STREAMS / f"gemini_{name}.sse").read_bytes()
    got: list[Any] = []
    with pytest.raises(kind) as caught:
        got.extend(replay.chunks(gemini, data, size, call=asked(), to=to()))
    assert got == before
    assert caught.value.usage == spent
    assert (caught.value.code, caught.value.retry_after) == (code, wait)
    assert "1234" not in caught.value.message


@pytest.mark.case(chat=71)
def test_one_of_two_candidates_is_cut() -> None:
    data = (STREAMS / "gemini_two.sse").read_bytes().replace(b'"finishReason": "MAX_TOKENS", ', b"")
    with pytest.raises(UpstreamTruncated):
        run(data, call=asked({"n": 2}))


@pytest.mark.parametrize(
    ("finishes", "inside", "complete"),
    [
        (["STOP"], False, True),
        (["STOP"], True, False),
        ([None, "STOP"], False, True),
        (["STOP", "STOP"], False, False),
        (["STOP", None], False, False),
    ],
)
def test_an_end_that_is_not_clean(finishes: list[Any], inside: bool, complete: bool) -> None:
    """Some models say STOP in every event: it is no sign that nothing was lost with the connection."""
    translator = translator_of("gemini", asked(), to())
    for finish in finishes:
        translator.send(Event("", candidate({"text": "x"}, finish=finish)))
    with pytest.raises(StopIteration if complete else UpstreamTruncated):
        translator.send(Event("", Cut(inside)))
        translator.send(None)


def test_an_answer_without_alt_sse_is_a_list() -> None:
    translator = translator_of("gemini", asked(), to())
    chunks = translator.send(Event("", [candidate({"text": "a"}), candidate({"text": "b"})]))
    with pytest.raises(StopIteration) as end:
        translator.send(None)
    assert [*chunks, *end.value.value] == [ROLE, chunk({"content": "a"}), chunk({"content": "b"}), chunk({}, "stop")]


def test_nothing_before_the_end_is_truncated() -> None:
    with pytest.raises(UpstreamTruncated):
        run(b"")


@pytest.mark.case(chat=78)
def test_thoughts_are_hidden_on_request() -> None:
    hidden = run("text", reasoning=False)
    assert not any("reasoning_content" in choice["delta"] for piece in hidden for choice in piece["choices"])
    assert hidden[-1] == used(257, 52, 309, cached=200, reasoning=40)


def test_whole_answer_is_the_sum_of_its_chunks() -> None:
    assert collect(run("parallel", call=RENAMED)) == {
        "choices": [
            {
                "index": 0,
                "message": {
                    "role": "assistant",
                    "content": "查三个城市。",
                    "refusal": None,
                    "tool_calls": [
                        {
                            "id": "fc_a",
                            "type": "function",
                            "extra_content": {"google": {"thought_signature": "Zmlyc3Q="}},
                            "function": {"name": "weather", "arguments": '{"city":"北京","days":3}'},
                        },
                        {
                            "id": "fc_b",
                            "type": "function",
                            "function": {"name": "weather", "arguments": '{"city":"São Paulo"}'},
                        },
                        {
                            "id": "fc_c",
                            "type": "function",
                            "function": {"name": "7_day", "arguments": '{"line":"a\u2028b"}'},
                        },
                    ],
                },
                "logprobs": None,
                "finish_reason": "tool_calls",
            }
        ],
        "usage": tally(80, 104, 184, reasoning=60),
    }


MESSAGES = {
    "text": (
        "text",
        {
            "role": "assistant",
            "content": "你好，\u2028世界 👋\ndata: not a field\r\n",
            "refusal": None,
            "reasoning_content": "**先想一想**\n\n",
            "extra_content": {"google": {"thought_signature": "c2lnbmVk"}},
        },
    ),
    "blocked-D69": ("blocked", {"role": "assistant", "content": None, "refusal": "Prompt blocked: SAFETY"}),
    "images": (
        "image",
        {
            "role": "assistant",
            "content": "A cat:and its twin.",
            "refusal": None,
            "images": [image(0, "data:image/png;base64,iVBORw0KGgo="), image(1, "data:image/jpeg;base64,/9j/4AA=")],
        },
    ),
}


@pytest.mark.parametrize(("name", "message"), MESSAGES.values(), ids=MESSAGES)
def test_whole_message(name: str, message: dict[str, Any]) -> None:
    assert collect(run(name))["choices"][0]["message"] == message


@pytest.mark.case(chat=77)
def test_continuation() -> None:
    """An answer cut at the upstream's limit goes on in a second request: one role, one finish, both bills."""
    call = asked({"max_tokens": 5000})
    translator = translator_of("gemini", call, to())
    first = feed(translator, (STREAMS / "gemini_leg_1.sse").read_bytes())
    following = translator.send(None)
    assert following == call._replace(body={**call.body, "continuationToken": "dG9rZW4x"})
    second = feed(translator, (STREAMS / "gemini_leg_2.sse").read_bytes())
    assert [*first, *second, *ended(translator)] == [
        ROLE,
        chunk({"content": "第一"}),
        chunk({"content": "部分"}),
        chunk({"content": "，第二部分"}),
        chunk({"content": "。"}),
        chunk({}, "stop"),
        used(20, 200, 220, reasoning=20),
    ]


@pytest.mark.case(chat=77)
def test_an_answer_that_never_ends() -> None:
    """Each leg costs: an upstream that always has more to say, and counts nothing, is asked 32 times."""
    call = asked()
    translator = translator_of("gemini", call, to())
    leg = json.dumps({"candidates": [{
        "content": {"parts": [{"text": "on "}]}, "finishReason": "CONTINUATION", "continuationToken": "dA=="
    }]})  # fmt: skip
    for n in range(1, 32):
        feed(translator, f"data: {leg}\r\n\r\n".encode())
        assert isinstance(translator.send(None), Call), n
    feed(translator, f"data: {leg}\r\n\r\n".encode())
    assert ended(translator) == [chunk({}, "length")]


@pytest.mark.case(chat=77)
def test_nobody_continues() -> None:
    """A server that does not go on says None again and gets finish_reason length."""
    translator = translator_of("gemini", asked(), to())
    feed(translator, (STREAMS / "gemini_leg_1.sse").read_bytes())
    assert isinstance(translator.send(None), Call)
    assert ended(translator) == [chunk({}, "length"), used(10, 120, 130, reasoning=20)]


@pytest.mark.parametrize(
    ("body", "cut"),
    [({"max_tokens": 120}, None), ({}, b"continuationToken")],
    ids=["the client's limit is reached", "no token"],
)
@pytest.mark.case(chat=77)
def test_not_to_be_continued(body: dict[str, Any], cut: bytes | None) -> None:
    call = asked(body)
    data = (STREAMS / "gemini_leg_1.sse").read_bytes()
    chunks = run(data.replace(cut, b"other") if cut else data, call=call)
    assert chunks[-2:] == [chunk({}, "length"), used(10, 120, 130, reasoning=20)]


@pytest.mark.case(chat=77)
def test_continued_and_cut_is_truncated() -> None:
    translator = translator_of("gemini", asked(), to())
    feed(translator, (STREAMS / "gemini_leg_1.sse").read_bytes())
    assert isinstance(translator.send(None), Call)
    feed(translator, (STREAMS / "gemini_leg_2.sse").read_bytes().partition(b"\r\n\r\n")[0])
    with pytest.raises(UpstreamTruncated):
        ended(translator)


@pytest.mark.case(chat=77)
def test_a_leg_without_progress_is_the_last() -> None:
    leg = {"candidates": [{"finishReason": "CONTINUATION", "continuationToken": "dA==", "content": {}}]}
    translator = translator_of("gemini", asked(), to())
    feed(translator, (STREAMS / "gemini_leg_1.sse").read_bytes())
    assert isinstance(translator.send(None), Call)
    assert translator.send(Event("", leg)) == []
    assert ended(translator)[0] == chunk({}, "length")


def candidate(*parts: dict[str, Any], finish: str | int | None = "STOP") -> dict[str, Any]:
    return {"candidates": [{"content": {"role": "model", "parts": list(parts)}, "finishReason": finish}]}


def answered(*events: Any, **fields: Any) -> list[dict[str, Any]]:
    translator = translator_of("gemini", fields.pop("call", None) or asked(**fields), to(**fields))
    return [piece for event in events for piece in translator.send(Event("", event))] + ended(translator)


CALL = {"functionCall": {"name": "f", "args": {"a": 1}}}
TEXT = {"text": "t"}
FINISHES = [
    ("STOP", [TEXT], "stop"),
    ("STOP", [], "stop"),
    ("STOP", [CALL], "tool_calls"),
    ("MAX_TOKENS", [TEXT], "length"),
    ("MAX_TOKENS", [CALL], "length"),
    ("CONTINUATION", [TEXT], "length"),
    *[
        (reason, [TEXT], "content_filter")
        for reason in (
            *("SAFETY", "RECITATION", "LANGUAGE", "BLOCKLIST", "PROHIBITED_CONTENT", "SPII", "ESCALATION"),
            *("IMAGE_SAFETY", "IMAGE_PROHIBITED_CONTENT", "IMAGE_OTHER", "IMAGE_RECITATION", "MODEL_ARMOR"),
            "PUP_LIMITED_DISABLED",
        )
    ],
    ("OTHER", [TEXT], "stop"),
    ("OTHER", [], "content_filter"),
    ("OTHER", [CALL], "tool_calls"),
    ("FINISH_REASON_UNSPECIFIED", [], "content_filter"),
    ("OF_TOMORROW", [TEXT], "stop"),
]


@pytest.mark.parametrize(("reason", "parts", "finish"), FINISHES)
def test_finish(reason: str, parts: list[Any], finish: str) -> None:
    assert answered(candidate(*parts, finish=reason))[-1] == chunk({}, finish)


@pytest.mark.parametrize(
    "reason",
    [
        *("MALFORMED_FUNCTION_CALL", "UNEXPECTED_TOOL_CALL", "TOO_MANY_TOOL_CALLS", "MALFORMED_RESPONSE"),
        *("MISSING_THOUGHT_SIGNATURE", "NO_IMAGE"),
    ],
)
@pytest.mark.case(chat=70)
def test_unreadable_output_is_an_error(reason: str) -> None:
    with pytest.raises(UpstreamBadOutput) as caught:
        answered(candidate(finish=reason))
    assert caught.value.body() == {
        "error": {
            "message": f"The model's answer could not be read ({reason}). Repeat the request.",
            "type": "server_error",
            "param": None,
            "code": "upstream_bad_output",
        }
    }


USAGE = {
    "thoughts beside": ((10, 5, 7, 0, 0, 22), tally(10, 12, 22, reasoning=7)),
    "thoughts inside": ((10, 12, 7, 0, 0, 22), tally(10, 12, 22, reasoning=7)),
    "tool use is prompt": ((10, 5, 7, 3, 0, 25), tally(13, 12, 25, reasoning=7)),
    "cached": ((10, 5, 0, 0, 8, 15), tally(10, 5, 15, cached=8)),
    "no total": ((10, 5, 7, 0, 0, None), tally(10, 12, 22, reasoning=7)),
    "more cached than prompt": ((10, 5, 0, 0, 11, 15), tally(10, 5, 15, cached=10)),
    "more thoughts than output": ((1, 5, 7, 0, 0, 6), tally(1, 5, 6, reasoning=5)),
    "nonsense": (("a", -1, None, 0, 0, 0), tally(0, 0, 0)),
}
COUNTS = (
    *("promptTokenCount", "candidatesTokenCount", "thoughtsTokenCount", "toolUsePromptTokenCount"),
    *("cachedContentTokenCount", "totalTokenCount"),
)


@pytest.mark.parametrize(("counts", "expected"), USAGE.values(), ids=USAGE)
def test_usage(counts: tuple[Any, ...], expected: dict[str, Any]) -> None:
    event = {**candidate(TEXT), "usageMetadata": dict(zip(COUNTS, counts, strict=True))}
    assert answered(event)[-1] == {"choices": [], "usage": expected}


def test_no_usage_no_usage_chunk() -> None:
    assert answered(candidate(TEXT)) == [ROLE, chunk({"content": "t"}), chunk({}, "stop")]


@pytest.mark.case(defects="U4")
def test_usage_of_every_chunk_is_not_added_up() -> None:
    event = {**candidate(TEXT, finish=None), "usageMetadata": {"promptTokenCount": 5, "candidatesTokenCount": 1}}
    last = {**candidate(TEXT), "usageMetadata": {"promptTokenCount": 5, "candidatesTokenCount": 3}}
    assert answered(event, event, last)[-1] == used(5, 3, 8)


@pytest.mark.case(defects="T6")
def test_a_call_in_one_event_and_stop_in_the_next() -> None:
    """Also where every event repeats STOP, as older models do."""
    for finish in (None, "STOP"):
        assert answered(candidate(CALL, finish=finish), candidate({"text": ""})) == [
            NO_TEXT,
            called(0, "id-1", "f", '{"a":1}'),
            chunk({}, "tool_calls"),
        ]


SIGNED = {"thoughtSignature": "QUJD"}
SNAKE = {"function_call": CALL["functionCall"]}
BESIDE_A_CALL: dict[str, tuple[dict[str, Any], dict[str, Any], str | None]] = {
    "an empty text": ({"text": "", **CALL, **SIGNED}, {}, "QUJD"),
    "a text": ({"text": "t", **CALL, **SIGNED}, {"content": "t"}, "QUJD"),
    "a null text": ({"text": None, **CALL}, {}, None),
    "a thought": ({"thought": True, **CALL, **SIGNED}, {}, "QUJD"),
    "a thought with text": ({"thought": True, "text": "Hm.", **CALL}, {"reasoning_content": "Hm."}, None),
    "nothing, in the other spelling": (SNAKE, {}, None),
    "a signature, in the other spelling": ({**SNAKE, "thought_signature": "QUJD"}, {}, "QUJD"),
}


@pytest.mark.parametrize(("part", "beside", "signature"), BESIDE_A_CALL.values(), ids=BESIDE_A_CALL)
def test_a_call_is_seen_whatever_its_part_holds_too(
    part: dict[str, Any], beside: dict[str, Any], signature: str | None
) -> None:
    call = called(0, "id-1", "f", '{"a":1}', signature)["choices"][0]["delta"]
    _, *rest = answered(candidate(part))
    assert rest == [chunk({**beside, **call}), chunk({}, "tool_calls")]


def test_null_is_absence_in_an_event() -> None:
    event = {**candidate(TEXT, {"text": "u", "functionCall": None}), "error": None, "promptFeedback": None}
    assert answered(event) == [ROLE, chunk({"content": "t"}), chunk({"content": "u"}), chunk({}, "stop")]


def test_parts_of_googles_own_tools_add_nothing() -> None:
    parts = [
        {"executableCode": {"language": "PYTHON", "code": "1"}},
        {"codeExecutionResult": {"outcome": "OUTCOME_OK"}},
        {"toolCall": {}, "thoughtSignature": "x"},
        {"inlineData": {"mimeType": "audio/L16", "data": "AAAA"}},
        {"inlineData": {"mimeType": "image/png", "data": "AAAA"}, "thought": True},
    ]
    assert answered(candidate(*parts, TEXT)) == [ROLE, chunk({"content": "t"}), chunk({}, "stop")]


def test_custom_tool_call_comes_back_as_text() -> None:
    call = asked({"tools": [{"type": "custom", "custom": {"name": "run"}}]})
    assert answered(candidate({"functionCall": {"name": "run", "args": {"input": "ls -l"}}}), call=call)[1] == chunk(
        {"tool_calls": [{"index": 0, "id": "id-1", "type": "custom", "custom": {"name": "run", "input": "ls -l"}}]}
    )


def test_ids_are_made_once_for_each_call() -> None:
    chunks = answered(candidate(CALL, CALL))
    assert [call["id"] for piece in chunks for call in piece["choices"][0]["delta"].get("tool_calls", ())] == [
        "id-1",
        "id-2",
    ]
    body = {"model": "m", "messages": [{"role": "user", "content": "x"}]}
    made = {gemini.build_request(body, to()).read.keywords["state"].new_id() for _ in range(100)}
    assert len(made) == 100
    assert all(len(id) == 29 and id.startswith("call_") and int(id[5:], 16) for id in made)


ODD = {
    "no object": 7,
    "empty list": [],
    "text": "hello",
    "candidates of a wrong type": {"candidates": 3},
    "a candidate of a wrong type": {"candidates": [None]},
    "parts of a wrong type": {"candidates": [{"content": {"parts": [5]}}]},
    "a part that is a text": {"candidates": [{"content": {"parts": ["t"]}, "finishReason": "STOP"}]},
    "one part, not in a list": {"candidates": [{"content": {"parts": {"text": "t"}}, "finishReason": "STOP"}]},
    "a text instead of parts": {"candidates": [{"content": {"parts": ""}, "finishReason": "STOP"}]},
    "a call of a wrong type": {"candidates": [{"content": {"parts": [{"functionCall": 5}]}}]},
    "a call without a name": {"candidates": [{"content": {"parts": [{"functionCall": {}}]}}]},
    "a call in pieces": {
        "candidates": [{"content": {"parts": [{"functionCall": {"name": "f", "willContinue": True}}]}}]
    },
    "neither answer nor reason": {"usageMetadata": {"promptTokenCount": 5}},
    "a block without reason": {"promptFeedback": {}},
}


@pytest.mark.parametrize("event", ODD.values(), ids=ODD)
def test_events_of_unknown_shape(event: Any) -> None:
    with pytest.raises(UpstreamBadOutput):
        answered(event)


words = st.sampled_from(
    [
        *("candidates", "content", "parts", "index", "finishReason", "continuationToken", "usageMetadata", "error"),
        *("promptFeedback", "blockReason", "text", "thought", "functionCall", "name", "args", "inlineData", "mimeType"),
        *("data", "thoughtSignature", "logprobsResult", "chosenCandidates", "promptTokenCount", "code", "status"),
    ]
)
leaves = st.none() | st.booleans() | st.integers() | st.sampled_from(["", "STOP", "image/png", "\ud83d"])
jsons = st.recursive(
    leaves, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=4), max_leaves=20
)
parts = st.lists(st.dictionaries(words, jsons, max_size=3) | jsons, max_size=3)
candidates = st.fixed_dictionaries({"content": st.fixed_dictionaries({"parts": parts}) | jsons, "finishReason": leaves})
events = st.fixed_dictionaries({"candidates": st.lists(candidates, max_size=2)}, optional={"usageMetadata": jsons})


@given(st.lists(events | jsons, min_size=1, max_size=3))
def test_any_event_is_read_or_refused(odd: list[Any]) -> None:
    try:
        chunks = answered(*odd)
    except Failure:
        return
    for piece in chunks:
        codec.encode(piece)
    collect(chunks)


def test_a_proxys_done_is_ignored() -> None:
    assert answered(candidate(TEXT), DONE)[-1] == chunk({}, "stop")


# --- errors

RETRY = {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "34.4s"}
BAD_KEY = {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "API_KEY_INVALID", "domain": "googleapis.com"}
OVERFLOW = "The input token count (2000000) exceeds the maximum number of tokens allowed (1048576)."


def status(code: int, name: str, message: str = "words", *details: dict[str, Any]) -> dict[str, Any]:
    return {"error": {"code": code, "message": message, "status": name, "details": list(details)}}


AUTH = "The upstream refused this server's credentials. Tell the operator of this server."
FAILED = "The upstream failed to answer. Retry later."
ERRORS = {
    "retry-delay-D73": (
        (429, status(429, "RESOURCE_EXHAUSTED", "Quota of project 12", {"violations": []}, RETRY)),
        (
            429,
            "rate_limit_error",
            None,
            "rate_limit_exceeded",
            "The upstream's rate limit is reached. Retry later.",
            35,
        ),
    ),
    "bad-key-D74": (
        (400, status(400, "INVALID_ARGUMENT", "API key not valid.", BAD_KEY)),
        (502, "server_error", None, "upstream_auth_error", AUTH, None),
    ),
    "in-a-list-D74": (
        (400, [status(400, "INVALID_ARGUMENT", "API key not valid.", BAD_KEY)]),
        (502, "server_error", None, "upstream_auth_error", AUTH, None),
    ),
    "overflow-D75": (
        (400, status(400, "INVALID_ARGUMENT", OVERFLOW)),
        (400, "invalid_request_error", "messages", "context_length_exceeded", OVERFLOW, None),
    ),
    "invalid": (
        (400, status(400, "INVALID_ARGUMENT", "JSON mode is not enabled for models/gemini-2.5-flash-image")),
        (400, "invalid_request_error", None, None, "JSON mode is not enabled for this model", None),
    ),
    "region": (
        (400, status(400, "FAILED_PRECONDITION", "User location is not supported for the API use.")),
        (403, "invalid_request_error", None, "permission_denied", "The upstream does not allow this request.", None),
    ),
    "forbidden": (
        (403, status(403, "PERMISSION_DENIED", "no access to project 7")),
        (403, "invalid_request_error", None, "permission_denied", "The upstream does not allow this request.", None),
    ),
    "service-disabled": (
        (403, status(403, "PERMISSION_DENIED", "in project 7", {"reason": "SERVICE_DISABLED"})),
        (502, "server_error", None, "upstream_auth_error", AUTH, None),
    ),
    "unauthenticated": (
        (401, status(401, "UNAUTHENTICATED")),
        (502, "server_error", None, "upstream_auth_error", AUTH, None),
    ),
    "no-such-model": (
        (404, status(404, "NOT_FOUND", "models/x is not found")),
        (404, "invalid_request_error", "model", "model_not_found", "The upstream does not know this model.", None),
    ),
    "internal": ((500, status(500, "INTERNAL")), (502, "server_error", None, "upstream_error", FAILED, None)),
    "overloaded": (
        (503, status(503, "UNAVAILABLE")),
        (503, "server_error", None, "overloaded", "The upstream is overloaded. Retry later.", None),
    ),
    "deadline": (
        (504, status(504, "DEADLINE_EXCEEDED")),
        (
            *(504, "server_error", None, "upstream_timeout"),
            *("The upstream took too long to answer. Retry, or ask for less.", None),
        ),
    ),
    "text-in-error": (
        (400, {"error": "bad thing"}),
        (400, "invalid_request_error", None, None, "bad thing", None),
    ),
    "detail": ((422, {"detail": "odd"}), (400, "invalid_request_error", None, None, "odd", None)),
    "no-words": (
        (400, {}),
        (400, "invalid_request_error", None, None, "The upstream refused the request as invalid.", None),
    ),
    "html": ((400, b"<html>models at 10.0.0.3</html>"), (502, "server_error", None, "upstream_error", FAILED, None)),
    "html-503": (
        (503, b"<html>nginx</html>"),
        (503, "server_error", None, "overloaded", "The upstream is overloaded. Retry later.", None),
    ),
    "plain-text": ((400, b"bad request\n"), (400, "invalid_request_error", None, None, "bad request", None)),
    "odd-details": (
        (429, {"error": {"details": [3, {"retryDelay": "soon"}], "message": 5}}),
        (
            429,
            "rate_limit_error",
            None,
            "rate_limit_exceeded",
            "The upstream's rate limit is reached. Retry later.",
            None,
        ),
    ),
}


@pytest.mark.parametrize(("upstream", "expected"), ERRORS.values(), ids=ERRORS)
def test_error(upstream: tuple[int, Any], expected: tuple[Any, ...]) -> None:
    code, body = upstream
    failure = gemini.parse_error(code, body if isinstance(body, bytes) else json.dumps(body).encode())
    assert (failure.status, *failure.body()["error"].values(), failure.retry_after) == (
        *(expected[0], expected[4], expected[1], expected[2], expected[3]),
        expected[5],
    )


STREAM_ERRORS = {
    "by-name": ({"error": {"status": "UNAVAILABLE", "message": "x"}}, 503),
    "by-code": ({"error": {"code": 503, "message": "x"}}, 503),
    "in-a-list": ([{"error": {"code": 503, "status": "UNAVAILABLE"}}], 503),
    "neither": ({"error": {"message": "x"}}, 502),
    "text": ({"error": "x"}, 502),
    "no-http-status": ({"error": {"code": 14}}, 502),
}


@pytest.mark.parametrize(("event", "expected"), STREAM_ERRORS.values(), ids=STREAM_ERRORS)
def test_error_inside_a_stream(event: Any, expected: int) -> None:
    with pytest.raises(Failure) as caught:
        answered(candidate(TEXT, finish=None), event)
    assert caught.value.status == expected


@pytest.mark.case(defects="R4")
def test_three_turns_with_parallel_calls() -> None:
    """An agent that keeps what it got: every signature and id goes back on its own part."""
    history: list[dict[str, Any]] = [{"role": "user", "content": "Weather?"}]
    streams = [
        [
            candidate(
                {"text": "Looking."},
                {"functionCall": {"id": "a", "name": "w", "args": {"c": 1}}, "thoughtSignature": "UzE="},
                {"functionCall": {"id": "b", "name": "w", "args": {"c": 2}}},
            )
        ],
        [candidate({"functionCall": {"id": "c", "name": "w", "args": {"c": 3}}, "thoughtSignature": "UzI="})],
        [candidate({"text": "Sunny."}, {"text": "", "thoughtSignature": "UzM="})],
    ]
    for events in streams:
        call = asked({"messages": history}, GEMINI_3)
        message = collect(answered(*events, call=call))["choices"][0]["message"]
        history.append(message)
        ids = [tool["id"] for tool in message.get("tool_calls", ())]
        history += [{"role": "tool", "tool_call_id": id, "content": f"result {id}"} for id in reversed(ids)]
    history.append({"role": "user", "content": "Thanks"})

    kept = asked({"messages": history}, GEMINI_3).body["contents"]
    assert kept == agent_turns("UzE=", "UzI=", "UzM=")

    for message in history:
        message.pop("extra_content", None)
        for tool in message.get("tool_calls", ()):
            tool.pop("extra_content", None)
    lost = asked({"messages": history}, GEMINI_3).body["contents"]
    dummy = "c2tpcF90aG91Z2h0X3NpZ25hdHVyZV92YWxpZGF0b3I="
    assert lost == agent_turns(dummy, dummy, None)


def agent_turns(first: str, second: str, text: str | None) -> list[dict[str, Any]]:
    def call(id: str, c: int, **signature: str) -> dict[str, Any]:
        return {"functionCall": {"id": id, "name": "w", "args": {"c": c}}, **signature}

    def result(id: str) -> dict[str, Any]:
        return {"functionResponse": {"id": id, "name": "w", "response": {"output": f"result {id}"}}}

    return [
        {"role": "user", "parts": [{"text": "Weather?"}]},
        {
            "role": "model",
            "parts": [{"text": "Looking."}, call("a", 1, thoughtSignature=first), call("b", 2)],
        },
        {"role": "user", "parts": [result("a"), result("b")]},
        {"role": "model", "parts": [call("c", 3, thoughtSignature=second)]},
        {"role": "user", "parts": [result("c")]},
        {"role": "model", "parts": [{"text": "Sunny.", **({"thoughtSignature": text} if text else {})}]},
        {"role": "user", "parts": [{"text": "Thanks"}]},
    ]


def _snake(value: Any) -> Any:
    """The same with the names of fields as Python writes them."""
    if isinstance(value, list):
        return [_snake(each) for each in value]
    if not isinstance(value, dict):
        return value
    return {re.sub("[A-Z]", lambda found: f"_{found[0].lower()}", name): _snake(each) for name, each in value.items()}


def test_a_relay_that_writes_names_as_python_does() -> None:
    """Google's SDK reads both, so does this: the end, the usage, signatures, pictures, and what blocked a prompt."""
    picture = {"inlineData": {"mimeType": "image/png", "data": "aGk="}}
    called = {"functionCall": {"name": "f", "args": {"a": 1}}, "thoughtSignature": "s"}
    usage = {"promptTokenCount": 3, "candidatesTokenCount": 2, "thoughtsTokenCount": 1, "totalTokenCount": 6}
    parts = [{"text": "hm", "thought": True}, {"text": "Hi", "thoughtSignature": "t"}, picture, called]
    whole = {
        "candidates": [{"content": {"role": "model", "parts": parts}, "finishReason": "STOP"}],
        "usageMetadata": usage,
    }
    blocked = {"promptFeedback": {"blockReason": "SAFETY"}, "usageMetadata": {"promptTokenCount": 3}}
    for data in (whole, blocked):
        camel, snake = (f"data: {json.dumps(each)}\r\n\r\n".encode() for each in (data, _snake(data)))
        assert run(snake) == run(camel)
