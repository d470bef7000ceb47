"""The openai protocol: what hosts really send → the one behaviour that clients see."""

import json
import re
from collections.abc import Iterable
from copy import deepcopy
from typing import Any

import pytest
import replay
from cuts import CUTS
from hypothesis import given
from hypothesis import strategies as st
from replay import STREAMS
from translators import ByHand, made_call, translator_of

from providers import errors, openai
from providers.chunks import collect
from providers.contract import Call, Upstream
from providers.errors import Failure
from providers.hosts import Host
from providers.sse import DONE, Event

TO = Upstream("mine", "m-1", "https://llm.example.com/v1", "sk-test")
STREAMED, WHOLE = made_call({"n": 2}, True), made_call({}, False)
NEW = "call_NEW"  # stands for an id that was made here
Json = dict[str, Any]


def answer_to(events: Iterable[Event | None], to: Upstream = TO, call: Call = STREAMED) -> list[Json]:
    """The chunks that events make; None is the upstream's end."""
    return list(replay.translated(translator_of("openai", call, to), events))


def of_stream(stream: bytes, size: int | None = None, to: Upstream = TO) -> list[Json]:
    """The chunks of an upstream's bytes, read in pieces of a size; None: whole."""
    return seen(list(replay.chunks(openai, stream, size, call=STREAMED, to=to)))


def frames(*events: Json | str, done: bool = True) -> bytes:
    texts = [each if isinstance(each, str) else json.dumps(each) for each in (*events, *(["[DONE]"] if done else []))]
    return "".join(f"data: {text}\n\n" for text in texts).encode()


def seen(chunks: list[Json]) -> list[Json]:
    """Chunks without the envelope, which is the server's, and with made ids told apart from given ones."""
    text = re.sub(r'"call_[0-9a-f]{24}"', f'"{NEW}"', json.dumps(chunks))
    return [
        {k: v for k, v in chunk.items() if k not in ("id", "object", "created", "model")} for chunk in json.loads(text)
    ]


def say(delta: Json, finish: str | None = None, index: int = 0, **more: Any) -> Json:
    return {"choices": [{"index": index, "delta": delta, "logprobs": None, "finish_reason": finish, **more}]}


def tally(prompt: int, completion: int, **more: Any) -> Json:
    usage = {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}
    return {"choices": [], "usage": {**usage, **more}}


def opens(index: int, ident: str, name: str, arguments: str, **more: Any) -> Json:
    function = {"name": name, "arguments": arguments}
    return {"index": index, "id": ident, "type": "function", "function": function, **more}


def goes_on(index: int, arguments: str) -> Json:
    return {"index": index, "function": {"arguments": arguments}}


def called(*fragments: Json) -> Json:
    return say({"tool_calls": [*fragments]})


def probability(token: str) -> Json:
    said = [{"token": token, "logprob": -0.1, "bytes": [ord(token)], "top_logprobs": []}]
    return {"content": said, "refusal": None}


def cited(end: int) -> Json:
    citation = {"start_index": 0, "end_index": end, "url": "https://example.com", "title": "E"}
    return {"type": "url_citation", "url_citation": citation}


ROLE = say({"role": "assistant", "content": ""})
OPENAI = {"service_tier": "default", "system_fingerprint": "fp_1"}
DETAILS = {"prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0}}
DEEPSEEK = {
    "prompt_cache_hit_tokens": 512,
    "prompt_cache_miss_tokens": 88,
    "completion_tokens_details": {"reasoning_tokens": 1},
    "prompt_tokens_details": {"cached_tokens": 512},
}

EXPECTED: dict[str, list[Json]] = {
    "text": [
        {**say({"role": "assistant", "content": "", "refusal": None}), **OPENAI},
        {**say({"content": "你好"}), **OPENAI},
        {**say({"content": "，世界\u2028😀"}), **OPENAI},
        {**say({}, "stop"), **OPENAI},
        {**tally(9, 4, **DETAILS), **OPENAI},
    ],
    "tools": [
        say({"role": "assistant", "content": None, "refusal": None, "tool_calls": [opens(0, "call_a", "weather", "")]}),
        called(goes_on(0, '{"city":')),
        called(goes_on(0, '"北京"}')),
        called(opens(1, "call_b", "time", "")),
        called(goes_on(1, "{}")),
        say({}, "tool_calls"),
    ],
    "tools_without_index": [
        ROLE,
        called(opens(0, "call_a", "weather", '{"city":')),
        called(goes_on(0, '"Rome"}')),
        called(opens(1, "call_b", "time", ""), opens(2, "call_c", "time", "")),
        called(goes_on(1, "{}")),
        called(goes_on(2, "{}")),
        say({}, "tool_calls"),
    ],
    "tools_all_index_0": [
        say({"role": "assistant", "content": None}),
        called(opens(0, "call_a", "weather", "")),
        called(opens(1, "call_b", "time", '{"zone"')),
        called(goes_on(1, ':"UTC"}')),
        say({"content": ""}),
        called(goes_on(0, "{}")),
        say({}, "tool_calls"),
    ],
    "tools_without_ids": [
        say({"role": "assistant"}),
        called(opens(0, NEW, "weather", "")),
        called(opens(1, NEW, "time", "")),
        called(goes_on(0, "{}")),
        called(goes_on(1, "{}")),
        say({}, "tool_calls"),
    ],
    "tools_repeated": [
        say({"role": "assistant", "tool_calls": [opens(0, "call_a", "weather", "")]}),
        called(goes_on(0, '{"a"')),
        called(goes_on(0, ":1}")),
        say({"content": "x"}),
        say({}, "tool_calls"),
    ],
    "tools_odd_arguments": [
        say({"role": "assistant", "tool_calls": [opens(0, "call_a", "weather", '{"city":"北京","n":[1]}')]}),
        called(opens(1, "call_b", "time", "")),
        called(opens(2, "call_c", "now", "")),
        called({"index": 3, "id": "call_d", "type": "function", "function": {"arguments": ""}}),
        called({"index": 3, "function": {"name": "late", "arguments": ""}}),
        called({"index": 4, "id": "call_e", "type": "custom", "custom": {"name": "shell", "input": ""}}),
        called({"index": 4, "custom": {"input": "ls"}}),
        called(goes_on(1, "{}")),
        called(goes_on(2, "{}")),
        called(goes_on(3, "{}")),
        say({}, "tool_calls"),
    ],
    "usage_on_finish": [
        say({"role": "assistant", "content": None, "reasoning_content": ""}),
        say({"content": None, "reasoning_content": "Hm"}),
        say({"content": "Hi", "reasoning_content": None}),
        say({"content": "", "reasoning_content": None}),
        say({}, "stop"),
        tally(600, 3, **DEEPSEEK),
    ],
    "groq": [
        {**ROLE, "x_groq": {"id": "req_1"}},
        say({"reasoning_content": "Hm"}),
        say({"content": "Hi"}),
        {**say({}, "stop"), "x_groq": {"id": "req_1"}},
        tally(5, 2, queue_time=0.1),
    ],
    "openrouter": [
        say(
            {
                "role": "assistant",
                "content": "",
                "reasoning_details": [{"type": "reasoning.text", "text": "Hm"}],
                "reasoning_content": "Hm",
            }
        ),
        say({"content": "One"}),
        say({"content": ""}),
        say({"content": ""}),
        say({"content": ""}),
        say({}, "length"),
        tally(3, 2, cost=0.01),
    ],
    "mistral": [
        ROLE,
        say({"reasoning_content": "Okay"}),
        say({"content": "Hi", "reasoning_content": ", 好"}),
        say({"content": " you!"}),
        say({"content": ""}),
        say({}, "length"),
        tally(1, 2),
    ],
    "two_choices": [
        ROLE,
        say({"role": "assistant", "content": ""}, index=1),
        say({"content": "a"}, index=1),
        say({"content": "b"}),
        say({"content": "c"}),
        say({}, "stop"),
        say({}, "length", index=1),
    ],
    "logprobs": [
        say({"role": "assistant", "content": "", "refusal": None}),
        {"choices": [{"index": 0, "delta": {"content": "a"}, "logprobs": probability("a"), "finish_reason": None}]},
        {"choices": [{"index": 0, "delta": {"content": "b"}, "logprobs": probability("b"), "finish_reason": None}]},
        say({}, "stop"),
    ],
    "refusal": [
        say({"role": "assistant", "content": None, "refusal": ""}),
        say({"refusal": "I "}),
        say({"refusal": "cannot."}),
        say({}, "stop"),
    ],
    "unknown_fields": [
        {
            **say(
                {"role": "assistant", "content": "Hi", "mood": "good"},
                content_filter_results={"hate": {"filtered": False}},
            ),
            "prompt_filter_results": [{"prompt_index": 0}],
        },
        say({"annotations": [cited(1)]}),
        {**say({"annotations": [cited(2)]}), "weather": "fine"},
        {**say({}, "stop", content_filter_results={}), "moderation": {"flagged": False}},
    ],
    "one_chunk": [
        say({"role": "assistant", "content": "Hi"}),
        say({}, "stop"),
        tally(1, 1),
    ],
    "messages": [
        say({"role": "assistant", "content": "One "}),
        say({"content": "two"}),
        say({"content": ""}),
        say({}, "stop"),
    ],
}


@pytest.mark.parametrize("size", CUTS)
@pytest.mark.parametrize("name", EXPECTED)
def test_streams(name: str, size: int | None):
    assert of_stream((STREAMS / f"{name}.sse").read_bytes(), size) == EXPECTED[name]


def test_every_recorded_stream_is_read():
    others = ("claude_", "gemini_")  # read by the tests of these protocols
    ours = {path.stem for path in STREAMS.glob("*.sse") if not path.stem.startswith(others)}
    assert ours == {*EXPECTED, *BROKEN}


def text(content: str | None, finish: str = "stop", **more: Any) -> Json:
    message = {"role": "assistant", "content": content, "refusal": None, **more}
    return {"index": 0, "message": message, "logprobs": None, "finish_reason": finish}


def function(ident: str, name: str, arguments: str) -> Json:
    return {"id": ident, "type": "function", "function": {"name": name, "arguments": arguments}}


ANSWERS: dict[str, Json] = {
    "text": {**OPENAI, "choices": [text("你好，世界\u2028😀")], "usage": tally(9, 4, **DETAILS)["usage"]},
    "tools": {
        "choices": [
            text(
                None,
                "tool_calls",
                tool_calls=[function("call_a", "weather", '{"city":"北京"}'), function("call_b", "time", "{}")],
            )
        ]
    },
    "tools_odd_arguments": {
        "choices": [
            text(
                None,
                "tool_calls",
                tool_calls=[
                    function("call_a", "weather", '{"city":"北京","n":[1]}'),
                    function("call_b", "time", "{}"),
                    function("call_c", "now", "{}"),
                    function("call_d", "late", "{}"),
                    {"id": "call_e", "type": "custom", "custom": {"name": "shell", "input": "ls"}},
                ],
            )
        ]
    },
    "usage_on_finish": {
        "choices": [text("Hi", reasoning_content="Hm")],
        "usage": tally(600, 3, **DEEPSEEK)["usage"],
    },
    "mistral": {"choices": [text("Hi you!", "length", reasoning_content="Okay, 好")], "usage": tally(1, 2)["usage"]},
    "two_choices": {"choices": [text("bc"), {**text("a", "length"), "index": 1}]},
    "logprobs": {
        "choices": [
            {
                **text("ab"),
                "logprobs": {
                    "content": [*probability("a")["content"], *probability("b")["content"]],
                    "refusal": None,
                },
            }
        ]
    },
    "refusal": {"choices": [text(None, refusal="I cannot.")]},
    "unknown_fields": {
        "prompt_filter_results": [{"prompt_index": 0}],
        "weather": "fine",
        "moderation": {"flagged": False},
        "choices": [
            {
                **text("Hi", mood="good", annotations=[cited(1), cited(2)]),
                "content_filter_results": {},
            }
        ],
    },
    "messages": {"choices": [text("One two")]},
}


@pytest.mark.parametrize("size", CUTS)
@pytest.mark.parametrize("name", ANSWERS)
def test_what_streams_add_up_to(name: str, size: int | None):
    assert collect(of_stream((STREAMS / f"{name}.sse").read_bytes(), size)) == ANSWERS[name]


@pytest.mark.parametrize("name", ANSWERS)
def test_the_whole_answer_equals_the_stream(name: str):
    """An upstream that sends the sum as one body gives the client the same."""
    whole = deepcopy(ANSWERS[name])
    for choice in whole["choices"]:
        choice["message"] = {key: value for key, value in choice["message"].items() if value is not None}
    [body] = answer_to([Event("", whole)], call=WHOLE)
    zeros = tally(0, 0)["usage"]
    assert body == {"usage": zeros, **ANSWERS[name]}


@pytest.mark.parametrize("name", ANSWERS)
def test_a_host_that_answers_a_streamed_call_whole(name: str):
    chunks = seen(answer_to([Event("", deepcopy(ANSWERS[name])), None]))
    assert collect(chunks) == ANSWERS[name]
    assert sum(choice["finish_reason"] is not None for chunk in chunks for choice in chunk["choices"]) == len(
        ANSWERS[name]["choices"]
    )


@pytest.mark.parametrize("name", EXPECTED)
def test_invariants(name: str):
    chunks = of_stream((STREAMS / f"{name}.sse").read_bytes())
    choices = [choice for chunk in chunks for choice in chunk["choices"]]
    for index in {choice["index"] for choice in choices}:
        mine = [choice for choice in choices if choice["index"] == index]
        assert ["role" in choice["delta"] for choice in mine] == [True] + [False] * (len(mine) - 1)
        assert [choice["finish_reason"] is not None for choice in mine] == [False] * (len(mine) - 1) + [True]
        fragments = [fragment for choice in mine for fragment in choice["delta"].get("tool_calls", ())]
        starts = [fragment["index"] for fragment in fragments if "id" in fragment]
        assert starts == list(range(len(starts)))
        for k in starts:
            bodies = [fragment.get("function") for fragment in fragments if fragment["index"] == k]
            if all(bodies):
                assert sum("name" in body for body in bodies) == 1
                json.loads("".join(body.get("arguments", "") for body in bodies))
    usage = [chunk for chunk in chunks if "usage" in chunk]
    assert len(usage) <= 1 and all(chunk["choices"] == [] for chunk in usage)


def test_reasoning_that_is_hidden_is_hidden_by_the_server():
    """Not here: the reasoning cache must see it first."""
    hidden = Upstream("mine", "m-1", reasoning=False)
    raw = (STREAMS / "mistral.sse").read_bytes()
    assert of_stream(raw, to=hidden) == of_stream(raw)
    whole = {"choices": [{"message": {"content": "Hi", "reasoning": "Hm"}}]}
    [body] = answer_to([Event("", whole)], hidden, WHOLE)
    assert body["choices"][0]["message"]["reasoning_content"] == "Hm"


def c(delta: Any, finish: Any = None, **more: Any) -> Json:
    return {"choices": [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish, **more}]}


HI = c({"role": "assistant", "content": "Hi"})
SAID = say({"role": "assistant", "content": "Hi"})
SMALL: dict[str, tuple[bytes, list[Json]]] = {
    "DONE without a finish": (frames(HI), [SAID, say({}, "stop")]),
    "DONE without a finish after a call": (
        frames(c({"tool_calls": [opens(0, "a", "f", "{}")]})),
        [say({"role": "assistant", "tool_calls": [opens(0, "a", "f", "")]}), called(goes_on(0, "{}")), say({}, "tool_calls")],
    ),
    "a finish without DONE": (frames(HI, c({}, "stop"), done=False), [SAID, say({}, "stop")]),
    "nothing counts after DONE": (frames(HI, c({}, "stop")) + frames(c({"content": "!"})), [SAID, say({}, "stop")]),
    "a finish of its own": (frames(HI, c({}, "eos")), [SAID, say({}, "stop")]),
    "stop_sequence": (frames(HI, c({}, "stop_sequence")), [SAID, say({}, "stop")]),
    "an unknown finish": (frames(HI, c({}, "tired")), [SAID, say({}, "stop")]),
    "a finish of another protocol": (frames(HI, c({}, "MAX_TOKENS")), [SAID, say({}, "length")]),
    "a finish with a blank": (frames(HI, c({}, "length ")), [SAID, say({}, "length")]),
    "a function_call of which nothing came": (frames(HI, c({}, "function_call")), [SAID, say({}, "stop")]),
    "a finish of another type": (frames(HI, c({}, 5)), [SAID, say({}, "stop")]),
    "a cut tool call": (
        frames(c({"tool_calls": [opens(0, "a", "f", '{"')]}), c({}, "length")),
        [say({"role": "assistant", "tool_calls": [opens(0, "a", "f", '{"')]}), say({}, "length")],
    ),
    "an empty finish in mid-stream": (
        frames(c({"content": "Hi"}, ""), c({"content": "!"}, ""), c({}, "length")),
        [SAID, say({"content": "!"}), say({}, "length")],
    ),
    "a role in every delta": (
        frames(HI, c({"role": "assistant", "content": "!"}), c({"role": "assistant"}, "stop")),
        [SAID, say({"content": "!"}), say({}, "stop")],
    ),
    "a role null": (frames(c({"role": None, "content": "Hi"}), c({}, "stop")), [SAID, say({}, "stop")]),
    "another role": (frames(c({"role": "bot", "content": "Hi"}), c({}, "stop")), [SAID, say({}, "stop")]),
    "no role": (frames(c({"content": "Hi"}), c({}, "stop")), [SAID, say({}, "stop")]),
    "no delta": (
        frames({"choices": [{"index": 0, "finish_reason": None}]}, c({}, "stop")),
        [say({"role": "assistant"}), say({}, "stop")],
    ),
    "no index": (
        frames({"choices": [{"delta": {"content": "Hi"}}]}, {"choices": [{"delta": {}, "finish_reason": "stop"}]}),
        [SAID, say({}, "stop")],
    ),
    "no logprobs": (
        frames(HI, {"choices": [{"index": 0, "delta": {"content": "!"}, "finish_reason": None}]}, c({}, "stop")),
        [
            SAID,
            {"choices": [{"index": 0, "delta": {"content": "!"}, "finish_reason": None}]},
            say({}, "stop"),
        ],
    ),
    "a message beside the delta": (
        frames(HI, {"choices": [{"index": 0, "delta": {"content": "!"}, "message": {"content": "Hi!"},
                                 "finish_reason": None}]}, c({}, "stop")),
        [SAID, say({"content": "!"}), say({}, "stop")],
    ),
    "native_finish_reason without logprobs": (
        frames(HI, {"choices": [{"index": 0, "delta": {"content": "!"}, "finish_reason": None,
                                 "native_finish_reason": None}]}, c({}, "stop")),
        [SAID, say({"content": "!"}), say({}, "stop")],
    ),
    "text after the finish": (
        frames(HI, c({}, "stop"), c({"content": "!"})),
        [SAID, say({"content": "!"}), say({}, "stop")],
    ),
    "empty tool_calls": (frames(c({"content": "Hi", "tool_calls": []}), c({}, "stop")), [SAID, say({}, "stop")]),
    "functions of old": (
        frames(c({"function_call": {"name": "f", "arguments": ""}}), c({"function_call": {"arguments": "{}"}}),
               c({}, "function_call")),
        [
            say({"role": "assistant", "function_call": {"name": "f", "arguments": ""}}),
            say({"function_call": {"arguments": "{}"}}),
            say({}, "function_call"),
        ],
    ),
    "two fragments of one call in one chunk": (
        frames(c({"tool_calls": [opens(0, "a", "f", "{"), {"index": 0, "function": {"arguments": "}"}}]}), c({}, "stop")),
        [
            say({"role": "assistant", "tool_calls": [opens(0, "a", "f", "")]}),
            called(goes_on(0, "{}")),
            say({}, "tool_calls"),
        ],
    ),
    "calls by name alone": (
        frames(c({"tool_calls": [{"function": {"name": "f", "arguments": "{}"}}]}),
               c({"tool_calls": [{"function": {"name": "f", "arguments": '{"a":1}'}}]}), c({}, "stop")),
        [
            say({"role": "assistant", "tool_calls": [opens(0, NEW, "f", "")]}),
            called(opens(1, NEW, "f", '{"a":1}')),
            called(goes_on(0, "{}")),
            say({}, "tool_calls"),
        ],
    ),
    "another id on each fragment": (
        frames(c({"tool_calls": [opens(0, "a", "f", "{")]}),
               c({"tool_calls": [{"index": 0, "id": "b", "function": {"arguments": "}"}}]}), c({}, "stop")),
        [
            say({"role": "assistant", "tool_calls": [opens(0, "a", "f", "")]}),
            called(goes_on(0, "{}")),
            say({}, "tool_calls"),
        ],
    ),
    "unknown fields of a call": (
        frames(c({"tool_calls": [opens(0, "a", "f", "{}", extra_content={"x": 1})]}), c({}, "stop")),
        [
            say({"role": "assistant", "tool_calls": [opens(0, "a", "f", "", extra_content={"x": 1})]}),
            called(goes_on(0, "{}")),
            say({}, "tool_calls"),
        ],
    ),
    "both reasoning names": (
        frames(c({"reasoning": "Hm", "reasoning_content": "Hm"}), c({}, "stop")),
        [say({"role": "assistant", "reasoning_content": "Hm"}), say({}, "stop")],
    ),
    "reasoning null": (frames(c({"content": "Hi", "reasoning": None}), c({}, "stop")), [SAID, say({}, "stop")]),
    "usage on every chunk: the last": (
        frames({**HI, "usage": {"prompt_tokens": 1}}, {**c({}, "stop"), "usage": {"prompt_tokens": 1, "completion_tokens": 2}}),
        [SAID, say({}, "stop"), tally(1, 2)],
    ),
    "usage of wrong types": (
        frames(HI, {**c({}, "stop"), "usage": {"prompt_tokens": None, "completion_tokens": "2", "total_tokens": -1}}),
        [SAID, say({}, "stop"), tally(0, 2)],
    ),
    "usage null, no usage": (frames({**HI, "usage": None}, c({}, "stop")), [SAID, say({}, "stop")]),
    "choices null": (frames({"choices": None}, HI, c({}, "stop")), [SAID, say({}, "stop")]),
    "events that are no objects": (frames("5", '"x"', "[]", "null", HI, c({}, "stop")), [SAID, say({}, "stop")]),
    "an error that is none": (
        frames({**HI, "error": None}, c({}, "stop")),
        [{**SAID, "error": None}, say({}, "stop")],
    ),
    "half an emoji": (
        b'data: {"choices":[{"index":0,"delta":{"content":"\\ud83d"},"logprobs":null,"finish_reason":null}]}\n\n'
        b'data: {"choices":[{"index":0,"delta":{"content":"\\ude00"},"logprobs":null,"finish_reason":"stop"}]}\n\n',
        [say({"role": "assistant", "content": "\ud83d"}), say({"content": "\ude00"}), say({}, "stop")],
    ),
}  # fmt: skip


@pytest.mark.parametrize("size", CUTS)
@pytest.mark.parametrize("stream, expected", SMALL.values(), ids=SMALL)
def test_small_streams(stream: bytes, expected: list[Json], size: int | None):
    assert of_stream(stream, size) == expected


def said(failure: Failure) -> tuple[int, str, str | None, str]:
    return failure.status, failure.type, failure.code, failure.message


TRUNCATED = (502, "server_error", "upstream_truncated", "The upstream closed the stream before completion.")
NO_ANSWER = (502, "server_error", "upstream_bad_output", "The upstream ended its stream without an answer.")
OVERLOADED = (503, "server_error", "overloaded", "The upstream ran out of resources while answering. Try again later.")
MALFORMED = (
    502,
    "server_error",
    "upstream_bad_output",
    "The upstream's answer does not have the shape of a chat completion.",
)
NO_KEY = (
    502,
    "server_error",
    "upstream_auth_error",
    "The upstream refused this server's credentials. Tell the operator of this server.",
)
NO_QUOTA = (
    503,
    "server_error",
    "upstream_quota_exhausted",
    "The upstream account of this server has no quota left. Tell the operator of this server.",
)


def named(event: str, data: Json | str) -> bytes:
    return f"event: {event}\n".encode() + frames(data, done=False)


BROKEN: dict[str, bytes] = {name: (STREAMS / f"{name}.sse").read_bytes() for name in ("groq_error", "openrouter_error")}
FAILURES: dict[str, tuple[bytes, tuple[int, str, str | None, str]]] = {
    "groq_error": (
        BROKEN["groq_error"],
        (400, "invalid_request_error", "tool_use_failed", "Failed to call a function."),
    ),
    "openrouter_error": (BROKEN["openrouter_error"], (400, "invalid_request_error", None, "Token limit reached")),
    "nothing": (b"", TRUNCATED),
    "comments only": (b": ping\n\n: ping\n\n", TRUNCATED),
    "DONE only": (frames(), NO_ANSWER),
    "usage and DONE only": (frames({"choices": [], "usage": {}}), NO_ANSWER),
    "no finish, no DONE": (frames(HI, done=False), TRUNCATED),
    "an empty delta, no finish, no DONE": (frames(HI, c({}), done=False), TRUNCATED),
    "one of two choices finished": (frames(HI, {"choices": [{**HI["choices"][0], "index": 1}]}, c({}, "stop"), done=False),
                                    TRUNCATED),
    "cut in mid-event": (frames(HI, c({}, "stop"))[:-90], TRUNCATED),
    "usage but no finish": (frames(HI, {"choices": [], "usage": {"prompt_tokens": 1}}, done=False), TRUNCATED),
    "finish error": (
        frames(HI, c({}, "error")),
        (502, "server_error", "upstream_error", "The upstream failed while answering."),
    ),
    "finish insufficient_system_resource": (frames(HI, c({}, "insufficient_system_resource")), OVERLOADED),
    "finish load": (frames(c({}, "load")), TRUNCATED),
    "finish unload": (frames(HI, c({}, "unload")), TRUNCATED),
    "an error object": (
        frames(HI, {"error": {"message": "No.", "type": "server_error", "param": None, "code": None}}),
        (502, "server_error", "upstream_error", "No."),
    ),
    "an error text": (frames(HI, {"error": "No."}), (502, "server_error", "upstream_error", "No.")),
    "an error after the finish": (frames(HI, c({}, "stop"), {"error": "No."}),
                                  (502, "server_error", "upstream_error", "No.")),
    "an error with choices": (frames({**HI, "error": {"message": "No.", "code": 429}}),
                              (429, "rate_limit_error", "rate_limit_exceeded", "No.")),
    "an error within a choice": (frames(HI, c({"content": "!"}, error={"message": "No.", "code": 503})),
                                 (503, "server_error", "overloaded", "No.")),
    "an error within a finish": (frames(HI, c({}, "stop", error={"message": "No."})),
                                 (502, "server_error", "upstream_error", "No.")),
    "an error event without error": (named("error", {"message": "No.", "code": 503}),
                                     (503, "server_error", "overloaded", "No.")),
    "an error event of text": (named("error", '"No."'), (502, "server_error", "upstream_error", "No.")),
    "an error event of plain text": (b"event: error\ndata: out of memory\n\n",
                                     (502, "server_error", "upstream_error", "out of memory")),
    "an error: field": (b'error: {"code":400,"message":"No.","type":"invalid_request_error"}\n\n',
                        (400, "invalid_request_error", None, "No.")),
    "Anthropic's error": (frames({"type": "error", "error": {"type": "overloaded_error", "message": "No."}}),
                          (503, "server_error", "overloaded", "No.")),
    "vLLM's error": (frames({"object": "error", "message": "No.", "type": "BadRequestError", "code": 400}),
                     (400, "invalid_request_error", None, "No.")),
    "x_groq's error": (frames({**HI, "x_groq": {"id": "r", "error": "No."}}),
                       (502, "server_error", "upstream_error", "No.")),
    "an error of no words": (frames({"error": {"code": 503}}),
                             (503, "server_error", "overloaded", "The upstream answered with HTTP status 503.")),
    "an error of rate": (frames({"error": {"message": "Slow.", "type": "tokens", "code": "rate_limit_exceeded"}}),
                         (429, "rate_limit_error", "rate_limit_exceeded", "Slow.")),
    "an error of money": (frames({"error": {"message": "You.", "type": "insufficient_quota", "code": "insufficient_quota"}}),
                          NO_QUOTA),
    "an error of our key": (frames({"error": {"message": "Bad key sk-test", "code": "invalid_api_key"}}), NO_KEY),
    "an error of length": (frames({"error": {"message": "Long.", "type": "invalid_request_error",
                                             "code": "context_length_exceeded"}}),
                           (400, "invalid_request_error", "context_length_exceeded", "Long.")),
    "three events that are not JSON": (frames("<a>", "<b>", "<c>"),
                                       (502, "server_error", "upstream_bad_output",
                                        "The upstream sent events that are not JSON.")),
    "a choice of null": (frames({"choices": [None]}), MALFORMED),
    "a choice of text": (frames({"choices": ["Hi"]}), MALFORMED),
    "a delta of text": (frames(c("Hi")), MALFORMED),
    "an index of another type": (frames({"choices": [{"index": [], "delta": {}}]}), MALFORMED),
    "two types of index": (frames(HI, {"choices": [{**HI["choices"][0], "index": "one"}]}), MALFORMED),
    "tool calls of another type": (frames(c({"tool_calls": 5})), MALFORMED),
    "a function of text": (frames(c({"tool_calls": [{"index": 0, "function": "f"}]})), MALFORMED),
    "a finish of a list": (frames(c({}, ["stop"])), MALFORMED),
}  # fmt: skip


@pytest.mark.parametrize("size", CUTS)
@pytest.mark.parametrize("stream, expected", FAILURES.values(), ids=FAILURES)
def test_streams_that_fail(stream: bytes, expected: tuple[int, str, str | None, str], size: int | None):
    with pytest.raises(Failure) as caught:
        of_stream(stream, size)
    assert said(caught.value) == expected


USAGE = {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3}


def whole(message: Json, finish: Any = "stop", **more: Any) -> Json:
    return {"id": "x", "choices": [{"index": 0, "message": message, "finish_reason": finish}], "usage": USAGE, **more}


def answered(message: Json, finish: str = "stop", **more: Any) -> Json:
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": finish}
    return {"id": "x", "choices": [choice], "usage": USAGE, **more}


PLAIN = {"role": "assistant", "content": "Hi", "refusal": None}
BODIES: dict[str, tuple[Json, Json]] = {
    "plain": (whole(PLAIN), answered(PLAIN)),
    "no role, no refusal": (whole({"content": "Hi"}), answered(PLAIN)),
    "another role": (whole({"role": "bot", "content": "Hi"}), answered(PLAIN)),
    "no content": (whole({"role": "assistant"}), answered({**PLAIN, "content": ""})),
    "no message": ({"choices": [{}]}, {**answered({**PLAIN, "content": ""}), "usage": tally(0, 0)["usage"]}
                   | {"id": "x"}),
    "unknown fields": (
        whole({**PLAIN, "mood": "good", "annotations": [cited(1)]}, service_tier="flex", weather="fine"),
        answered({**PLAIN, "mood": "good", "annotations": [cited(1)]}, service_tier="flex", weather="fine"),
    ),
    "junk": (
        whole(PLAIN, provider="P", x_groq={"id": "r"}, prompt_token_ids=[1], prompt_logprobs=None, obfuscation="x",
              kv_transfer_params={}),
        answered(PLAIN, x_groq={"id": "r"}),
    ),
    "a native finish": (
        {**whole(PLAIN), "choices": [{**whole(PLAIN)["choices"][0], "native_finish_reason": "STOP"}]},
        answered(PLAIN),
    ),
    "no finish": (whole(PLAIN, None), answered(PLAIN)),
    "an empty finish": (whole(PLAIN, ""), answered(PLAIN)),
    "a finish of its own": (whole(PLAIN, "model_length"), answered(PLAIN, "length")),
    "a refusal": (
        whole({"content": None, "refusal": "No."}),
        answered({"role": "assistant", "content": None, "refusal": "No."}),
    ),
    "audio": (
        whole({"content": None, "audio": {"id": "a"}}),
        answered({"role": "assistant", "content": None, "refusal": None, "audio": {"id": "a"}}),
    ),
    "tool calls out of shape": (
        whole({"content": None, "tool_calls": [
            {"index": 0, "function": {"name": "f", "arguments": {"a": "北"}}},
            {"id": "b", "function": {"name": "g", "arguments": ""}},
            {"id": "c", "type": "function", "function": {"name": "h"}, "extra": 1},
            {"id": "d", "type": "custom", "custom": {"name": "i", "input": "x"}},
        ]}),
        answered({"role": "assistant", "content": None, "refusal": None, "tool_calls": [
            function(NEW, "f", '{"a":"北"}'),
            function("b", "g", "{}"),
            {**function("c", "h", "{}"), "extra": 1},
            {"id": "d", "type": "custom", "custom": {"name": "i", "input": "x"}},
        ]}, "tool_calls"),
    ),
    "no tool calls": (whole({"content": "Hi", "tool_calls": []}), answered(PLAIN)),
    "tool calls null": (whole({"content": "Hi", "tool_calls": None}), answered(PLAIN)),
    "a function call of old": (
        whole({"content": None, "function_call": {"name": "f", "arguments": "{}"}}, "function_call"),
        answered({"role": "assistant", "content": None, "refusal": None,
                  "function_call": {"name": "f", "arguments": "{}"}}, "function_call"),
    ),
    "reasoning": (
        whole({"content": "Hi", "reasoning": "Hm"}),
        answered({**PLAIN, "reasoning_content": "Hm"}),
    ),
    "a content list": (
        whole({"content": [{"type": "thinking", "thinking": "Hm"}, {"type": "text", "text": "H"}, "i"]}),
        answered({**PLAIN, "reasoning_content": "Hm"}),
    ),
    "a content list of thoughts": (
        whole({"content": [{"type": "thinking", "thinking": "Hm"}]}),
        answered({**PLAIN, "content": "", "reasoning_content": "Hm"}),
    ),
    "DeepSeek's cache": (
        {**whole(PLAIN), "usage": {"prompt_tokens": 600, "completion_tokens": 1, "prompt_cache_hit_tokens": 512}},
        {**answered(PLAIN), "usage": {"prompt_tokens": 600, "completion_tokens": 1, "total_tokens": 601,
                                      "prompt_cache_hit_tokens": 512, "prompt_tokens_details": {"cached_tokens": 512}}},
    ),
    "DeepSeek's cache beside OpenAI's": (
        {**whole(PLAIN), "usage": {**USAGE, "prompt_cache_hit_tokens": 5, "prompt_tokens_details": {"cached_tokens": 1}}},
        {**answered(PLAIN), "usage": {**USAGE, "prompt_cache_hit_tokens": 5, "prompt_tokens_details": {"cached_tokens": 1}}},
    ),
    "no usage": ({"id": "x", "choices": whole(PLAIN)["choices"]}, {**answered(PLAIN), "usage": tally(0, 0)["usage"]}),
    "usage null": ({**whole(PLAIN), "usage": None}, {**answered(PLAIN), "usage": tally(0, 0)["usage"]}),
}  # fmt: skip


@pytest.mark.parametrize("upstream, expected", BODIES.values(), ids=BODIES)
def test_whole_answers(upstream: Json, expected: Json):
    [body] = answer_to([Event("", {"id": "x", **deepcopy(upstream)})], call=WHOLE)
    assert json.loads(re.sub(r'"call_[0-9a-f]{24}"', f'"{NEW}"', json.dumps(body))) == expected


def test_made_ids_differ():
    calls = [{"function": {"name": "f"}}, {"function": {"name": "f"}}]
    [body] = answer_to([Event("", whole({"tool_calls": calls}))], call=WHOLE)
    first, second = (call["id"] for call in body["choices"][0]["message"]["tool_calls"])
    assert first != second and re.fullmatch("call_[0-9a-f]{24}", first) and re.fullmatch("call_[0-9a-f]{24}", second)


NO_JSON = (502, "server_error", "upstream_bad_json")
BAD_BODIES: dict[str, tuple[Any, tuple[int, str, str | None, str]]] = {
    "a list": ([], (*NO_JSON, "The upstream's answer is not a JSON object.")),
    "null": (None, (*NO_JSON, "The upstream's answer is not a JSON object.")),
    "no choices": ({"id": "x"}, (*NO_JSON, "The upstream's answer holds no choices.")),
    "choices empty": ({"choices": []}, (*NO_JSON, "The upstream's answer holds no choices.")),
    "choices of text": ({"choices": ["Hi"]}, (*NO_JSON, "The upstream's answer holds no choices.")),
    "a message of text": ({"choices": [{"message": "Hi"}]}, MALFORMED),
    "a call of text": (whole({"tool_calls": ["f"]}), MALFORMED),
    "an error": ({"error": {"message": "No.", "code": 503}}, (503, "server_error", "overloaded", "No.")),
    "an error beside choices": (
        {**whole(PLAIN), "error": "No."},
        (502, "server_error", "upstream_error", "No."),
    ),
    "an error in a choice": (
        {"choices": [{"message": PLAIN, "error": {"code": 429, "message": "No."}}]},
        (429, "rate_limit_error", "rate_limit_exceeded", "No."),
    ),
    "finish error": (
        whole(PLAIN, "error"),
        (502, "server_error", "upstream_error", "The upstream failed while answering."),
    ),
    "finish insufficient_system_resource": (whole(PLAIN, "insufficient_system_resource"), OVERLOADED),
    "finish load": (whole(PLAIN, "load"), TRUNCATED),
}


@pytest.mark.parametrize("body, expected", BAD_BODIES.values(), ids=BAD_BODIES)
def test_whole_answers_that_fail(body: Any, expected: tuple[int, str, str | None, str]):
    with pytest.raises(Failure) as caught:
        answer_to([Event("", deepcopy(body))], call=WHOLE)
    assert said(caught.value) == expected


def test_a_whole_answer_that_never_comes():
    with pytest.raises(errors.UpstreamTruncated):
        answer_to([None], call=WHOLE)


ERROR_BODIES: dict[str, tuple[int, bytes, tuple[int, str, str | None, str, str | None]]] = {
    "OpenAI's": (
        400,
        b'{"error":{"message":"Bad.","type":"invalid_request_error","param":"seed","code":"invalid_value"}}',
        (400, "invalid_request_error", "invalid_value", "Bad.", "seed"),
    ),
    "422": (422, b'{"error":{"message":"Bad."}}', (400, "invalid_request_error", None, "Bad.", None)),
    "detail": (400, b'{"detail":"Bad."}', (400, "invalid_request_error", None, "Bad.", None)),
    "detail, FastAPI's list": (
        422,
        b'{"detail":[{"loc":["body","n"],"msg":"too many"}]}',
        (400, "invalid_request_error", None, "too many", "n"),
    ),
    "an error text": (400, b'{"error":"Bad."}', (400, "invalid_request_error", None, "Bad.", None)),
    "a list": (
        429,
        b'[{"error":{"message":"Slow."}}]',
        (429, "rate_limit_error", "rate_limit_exceeded", "Slow.", None),
    ),
    "a bare object": (400, b'{"message":"Bad.","code":7}', (400, "invalid_request_error", None, "Bad.", None)),
    "a message that is no text": (
        400,
        b'{"error":{"message":{"a":1}}}',
        (400, "invalid_request_error", None, '{"a":1}', None),
    ),
    "text": (500, b"upstream is sad", (502, "server_error", "upstream_error", "upstream is sad", None)),
    "long text": (500, b"word " * 1000, (502, "server_error", "upstream_error", "word " * 59 + "word…", None)),
    "long text without a blank, of which half may be half of a key": (
        500,
        b"x" * 1000,
        (502, "server_error", "upstream_error", "The upstream answered with HTTP status 500.", None),
    ),
    "bad UTF-8": (500, b"sad \xff", (502, "server_error", "upstream_error", "sad \ufffd", None)),
    "HTML": (
        502,
        b"\n <html><body>Bad Gateway from 10.0.0.7</body></html>",
        (502, "server_error", "upstream_error", "The upstream answered with HTTP status 502.", None),
    ),
    "nothing": (
        503,
        b"",
        (503, "server_error", "overloaded", "The upstream answered with HTTP status 503.", None),
    ),
    "an empty object": (
        500,
        b"{}",
        (502, "server_error", "upstream_error", "The upstream answered with HTTP status 500.", None),
    ),
    "our key": (401, b'{"error":{"message":"Incorrect API key provided: sk-test"}}', (*NO_KEY, None)),
    "Ollama's unknown model": (
        404,
        b'{"error":{"message":"model \'x\' not found","type":"not_found_error","param":null,"code":null}}',
        (404, "invalid_request_error", "model_not_found", "model 'x' not found", "model"),
    ),
    "money": (429, b'{"error":{"message":"You.","code":"insufficient_quota"}}', (*NO_QUOTA, None)),
}


@pytest.mark.parametrize("status, body, expected", ERROR_BODIES.values(), ids=ERROR_BODIES)
def test_error_answers(status: int, body: bytes, expected: tuple[int, str, str | None, str, str | None]):
    failure = openai.parse_error(status, body)
    assert (*said(failure), failure.param) == expected
    assert failure.body()["error"].keys() == {"message", "type", "param", "code"}


UNREAD = ByHand()
REQUESTS: dict[str, tuple[Json, Upstream, Call]] = {
    "whole": (
        {"model": "public", "messages": [{"role": "user", "content": "x"}], "top_k": 5},
        TO,
        Call(
            "https://llm.example.com/v1/chat/completions",
            {"Authorization": "Bearer sk-test"},
            {"model": "m-1", "messages": [{"role": "user", "content": "x"}], "top_k": 5},
            False,
            UNREAD,
        ),
    ),
    "streamed": (
        {"model": "public", "messages": [], "stream": True},
        TO,
        Call(
            "https://llm.example.com/v1/chat/completions",
            {"Authorization": "Bearer sk-test"},
            {"model": "m-1", "messages": [], "stream": True, "stream_options": {"include_usage": True}},
            True,
            UNREAD,
        ),
    ),
    "streamed, usage refused, other options": (
        {
            "model": "p",
            "messages": [],
            "stream": True,
            "stream_options": {"include_usage": False, "include_obfuscation": False},
        },
        Upstream("mine", "m", "http://x"),
        Call(
            "http://x/chat/completions",
            {},
            {
                "model": "m",
                "messages": [],
                "stream": True,
                "stream_options": {"include_usage": True, "include_obfuscation": False},
            },
            True,
            UNREAD,
        ),
    ),
    "a host without stream_options": (
        {"model": "p", "messages": [], "stream": True, "stream_options": {"include_usage": True}},
        Upstream("mine", "m", "http://x", host=Host(usage=False)),
        Call("http://x/chat/completions", {}, {"model": "m", "messages": [], "stream": True}, True, UNREAD),
    ),
}


@pytest.mark.parametrize("body, to, expected", REQUESTS.values(), ids=REQUESTS)
def test_requests(body: Json, to: Upstream, expected: Call):
    before = deepcopy(body)
    assert openai.build_request(body, to)._replace(read=UNREAD) == expected
    assert body == before


def test_images_are_fetched_upstream():
    assert not openai.must_inline("https://example.com/a.png", TO)


scraps = st.recursive(
    st.none() | st.booleans() | st.integers(-1, 3) | st.sampled_from(["", "a", "stop", "error"]),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(
        st.sampled_from([
            "index", "delta", "message", "finish_reason", "content", "tool_calls", "id", "function", "name", "arguments",
            "type", "text", "thinking", "logprobs", "role", "reasoning", "usage", "error",
        ]),
        inner, max_size=4),
    max_leaves=10,
)  # fmt: skip
bodies = st.fixed_dictionaries(
    {"choices": st.lists(scraps, max_size=3) | scraps}, optional={"usage": scraps, "x_groq": scraps, "object": scraps}
)


@given(st.lists(bodies | scraps, max_size=4), st.booleans(), st.sampled_from([STREAMED, WHOLE]))
def test_whatever_the_upstream_says_is_an_answer_or_a_failure(events: list[Any], done: bool, call: Call):
    try:
        chunks = answer_to(
            [*(Event("", data) for data in events), *([Event("", DONE)] if done else []), None], call=call
        )
        if call is STREAMED:
            collect(chunks)
    except Failure as failure:
        assert failure.body()["error"]["message"]
