"""What hosts do differently on the way back, made one: streams of our own making, cut everywhere, whole values out.

The numbers are those of the specification's list of edge cases.
"""

import json
from typing import Any

import pytest
import replay
from chat_oracle import check
from cuts import CUTS
from translators import made_call, translator_of

from providers import codec, openai
from providers.chunks import collect
from providers.contract import Json, Upstream
from providers.errors import Failure, Overloaded, UpstreamBadOutput, UpstreamTruncated
from providers.hosts import HOSTS
from providers.sse import Event

DONE = b"data: [DONE]\n\n"
USAGE = {"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7}


def read(raw: bytes, host: str = "openai", size: int | None = None) -> list[Json]:
    """The chunks of a stream."""
    return list(replay.chunks(openai, raw, size, call=made_call({}, True), to=Upstream(host, "m", host=HOSTS[host])))


def whole(raw: bytes, host: str = "openai") -> Json:
    """A whole answer."""
    translator = translator_of("openai", made_call({}, False), Upstream(host, "m", host=HOSTS[host]))
    with pytest.raises(StopIteration) as end:
        translator.send(Event("", codec.decode(raw)))
    [body] = end.value.value
    return dict(body)


def sse(*events: Any, end: str = "\n\n", colon: str = ": ") -> bytes:
    return "".join(f"data{colon}{json.dumps(event, ensure_ascii=False)}{end}" for event in events).encode()


def part(delta: Json, finish: str | None = None, **more: Any) -> Json:
    """A chunk as a host sends it."""
    return {"choices": [{"index": 0, "delta": delta, "finish_reason": finish}], **more}


def chunk(delta: Json, finish: str | None = None, **more: Any) -> Json:
    """A chunk as the server gets it."""
    return {"choices": [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}], **more}


def tally(**more: Any) -> Json:
    return {"choices": [], "usage": USAGE | more}


def fragment(**call: Any) -> Json:
    return {"tool_calls": [call]}


HELLO = part({"role": "assistant", "content": "你好"})
HEARD = chunk({"role": "assistant", "content": "你好"})
END = chunk({}, "stop")

STREAMS: dict[str, tuple[str, bytes, list[Json]]] = {
    "79 DeepSeek waits with comments and blank lines": (
        "deepseek",
        b": keep-alive\n\n\n\n: keep-alive\n\n" + sse(HELLO) + b": keep-alive\n\n" + sse(part({}, "stop")) + DONE,
        [HEARD, END],
    ),
    "80, 84 DeepSeek: usage on the finish, its cache counted its own way": (
        "deepseek",
        sse(
            part({"role": "assistant", "content": None, "reasoning_content": ""}),
            part({"content": None, "reasoning_content": "Hm."}),
            part({"content": "Hi", "reasoning_content": None}),
            part({"content": ""}, "stop", usage=USAGE | {"prompt_cache_hit_tokens": 4, "prompt_cache_miss_tokens": 1}),
        )
        + DONE,
        [
            chunk({"role": "assistant", "content": None, "reasoning_content": ""}),
            chunk({"content": None, "reasoning_content": "Hm."}),
            chunk({"content": "Hi", "reasoning_content": None}),
            chunk({"content": ""}),
            END,
            tally(prompt_cache_hit_tokens=4, prompt_cache_miss_tokens=1, prompt_tokens_details={"cached_tokens": 4}),
        ],
    ),
    "86, 87 OpenRouter: comments, role in every chunk, the finish twice, usage beside a choice": (
        "openrouter",
        b": OPENROUTER PROCESSING\n\n"
        + sse(
            part({"role": "assistant", "content": "", "reasoning": "Hm."}, provider="X"),
            part({"role": "assistant", "content": "Hi", "reasoning": None}),
            {"choices": [{"index": 0, "delta": {"role": "assistant", "content": "!"}, "finish_reason": "length",
                          "native_finish_reason": "max_tokens"}]},
            part({"role": "assistant", "content": ""}, "length"),
            part({"role": "assistant", "content": ""}, usage=USAGE),
        )
        + DONE,
        [
            chunk({"role": "assistant", "content": "", "reasoning_content": "Hm."}),
            chunk({"content": "Hi"}),
            chunk({"content": "!"}),
            chunk({"content": ""}),
            chunk({"content": ""}),
            chunk({}, "length"),
            tally(),
        ],
    ),
    "89 Groq: usage in x_groq and beside the finish; ids that change": (
        "groq",
        sse(
            part({"role": "assistant", "content": ""}, id="a", x_groq={"id": "req"}),
            part({"content": "Hi", "reasoning": "Hm.", "channel": "final"}, id="b"),
            part({}, "stop", id="c", usage=USAGE, x_groq={"id": "req", "usage": USAGE}),
        )
        + DONE,
        [
            chunk({"role": "assistant", "content": ""}, id="a", x_groq={"id": "req"}),
            chunk({"content": "Hi", "channel": "final", "reasoning_content": "Hm."}, id="b"),
            END | {"x_groq": {"id": "req"}},
            tally(),
        ],
    ),
    "89 Groq: usage in x_groq alone": (
        "groq",
        sse(HELLO, part({}, "stop", x_groq={"usage": USAGE})) + DONE,
        [HEARD, END, tally()],
    ),
    "90 Mistral: thinking in a list, then text": (
        "mistral",
        sse(
            part({"role": "assistant", "content": ""}),
            part({"content": [{"type": "thinking", "thinking": [{"type": "text", "text": "Okay"}]}]}),
            part({"content": [{"type": "thinking", "thinking": [{"type": "text", "text": "."}], "closed": True},
                              {"type": "text", "text": "Hi"}]}),
            part({"content": "!"}, "model_length", usage=USAGE),
        )
        + DONE,
        [
            chunk({"role": "assistant", "content": ""}),
            chunk({"reasoning_content": "Okay"}),
            chunk({"content": "Hi", "reasoning_content": "."}),
            chunk({"content": "!"}),
            chunk({}, "length"),
            tally(),
        ],
    ),
    "94 tool calls without index, one of them without arguments": (
        "mistral",
        sse(
            part({"role": "assistant", "content": "", "tool_calls": [
                {"id": "aaaaaaaaa", "function": {"name": "f", "arguments": {"a": "北"}}},
                {"id": "bbbbbbbbb", "function": {"name": "g", "arguments": ""}},
            ]}, "tool_calls"),
        )
        + DONE,
        [
            chunk({"role": "assistant", "content": "", "tool_calls": [
                {"id": "aaaaaaaaa", "function": {"name": "f", "arguments": '{"a":"北"}'}, "index": 0, "type": "function"},
                {"id": "bbbbbbbbb", "function": {"name": "g", "arguments": ""}, "index": 1, "type": "function"},
            ]}),
            chunk(fragment(index=1, function={"arguments": "{}"})),
            chunk({}, "tool_calls"),
        ],
    ),
    "95 a finish and no [DONE]: Cerebras": ("cerebras", sse(HELLO, part({}, "stop")), [HEARD, END]),
    "95 the same in CRLF, without the last blank line: Perplexity": (
        "perplexity",
        sse(HELLO, part({}, "stop", usage=USAGE), end="\r\n\r\n")[:-4],
        [HEARD, END, tally()],
    ),
    "[DONE] and no finish": ("ollama", sse(HELLO) + DONE, [HEARD, END]),
    "Together: eos beside the last word; a call that ends in stop": (
        "together",
        sse(HELLO, part({"content": "."}, "eos")) + DONE,
        [HEARD, chunk({"content": "."}), END],
    ),
    "Ollama: calls whole, and stop": (
        "ollama",
        sse(part({"role": "assistant", "content": "", "reasoning": "Hm."}),
            part(fragment(id="call_1", index=0, type="function", function={"name": "f", "arguments": "{}"})),
            part({}, "stop")) + DONE,
        [
            chunk({"role": "assistant", "content": "", "reasoning_content": "Hm."}),
            chunk(fragment(id="call_1", index=0, type="function", function={"name": "f", "arguments": ""})),
            chunk(fragment(index=0, function={"arguments": "{}"})),
            chunk({}, "tool_calls"),
        ],
    ),
    "Azure: a first chunk without choices": (
        "azure",
        sse({"choices": [], "id": "", "prompt_filter_results": [1]}, HELLO, part({}, "stop"), {"choices": [], "usage": USAGE})
        + DONE,
        [HEARD | {"prompt_filter_results": [1]}, END, tally()],
    ),
    "Cerebras, Hugging Face: time_info beside the finish and its usage": (
        "cerebras",
        sse(HELLO, part({}, "stop", usage=USAGE, time_info={"queue_time": 0.1}, system_fingerprint="fp_1")) + DONE,
        [HEARD, END | {"time_info": {"queue_time": 0.1}, "system_fingerprint": "fp_1"}, tally() | {"system_fingerprint": "fp_1"}],
    ),
    "Groq: what only the usage chunk says is said twice, for those who do not get it": (
        "groq",
        sse(HELLO, part({}, "stop", x_groq={"id": "req", "usage": USAGE}, usage_breakdown=None),
            {"choices": [], "usage": USAGE, "service_tier": "on_demand", "system_fingerprint": "fp_1"}) + DONE,
        [
            HEARD,
            END | {"x_groq": {"id": "req"}, "service_tier": "on_demand", "system_fingerprint": "fp_1"},
            tally() | {"service_tier": "on_demand", "system_fingerprint": "fp_1"},
        ],
    ),
    "fields beside an empty delta ride on the next chunk, whose own win": (
        "vllm",
        sse(HELLO, part({}, weather="fine", system_fingerprint="old"), part({"content": ""}, tide="low"),
            part({"content": "!"}, system_fingerprint="new"), part({}, "stop")) + DONE,
        [
            HEARD,
            part({"content": ""}, tide="low", weather="fine", system_fingerprint="old"),
            part({"content": "!"}, system_fingerprint="new"),
            END,
        ],
    ),
    "a choice that says nothing but a field of its own": (
        "azure",
        sse(HELLO, {"choices": [{"index": 0, "delta": {}, "finish_reason": None, "content_filter_offsets": {"start": 0}}]},
            part({}, "stop")) + DONE,
        [
            HEARD,
            {"choices": [{"index": 0, "delta": {}, "logprobs": None, "finish_reason": None,
                          "content_filter_offsets": {"start": 0}}]},
            END,
        ],
    ),
    "Moonshot: usage inside the last choice": (
        "moonshot",
        sse(HELLO, {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop", "usage": USAGE}]}) + DONE,
        [HEARD, END, tally()],
    ),
    "usage inside a delta, and beside a text": (
        "vllm",
        sse(part({"role": "assistant", "content": "你好", "usage": USAGE}), part({}, "stop")) + DONE,
        [HEARD, END, tally()],
    ),
    "usage in other words": (
        "vllm",
        sse(HELLO, part({}, "stop", usage={"input_tokens": 5, "output_tokens": 2, "cached_tokens": 4, "reasoning_tokens": 1}))
        + DONE,
        [HEARD, END, tally(input_tokens=5, output_tokens=2, cached_tokens=4, reasoning_tokens=1,
                           prompt_tokens_details={"cached_tokens": 4}, completion_tokens_details={"reasoning_tokens": 1})],
    ),
    "what comes beside the usage rides on the finish": (
        "openai",
        sse(HELLO, part({}, "stop"), {"choices": [], "usage": USAGE, "moderation": {"flagged": False}}) + DONE,
        [HEARD, END | {"moderation": {"flagged": False}}, tally()],
    ),
    "100 no space after data, U+2028 inside": (
        "vllm",
        sse(part({"role": "assistant", "content": "a\u2028b"}), part({}, "stop"), colon=":", end="\r\n\r\n") + DONE,
        [chunk({"role": "assistant", "content": "a\u2028b"}), END],
    ),
    "a host that cannot stream and sends the message at once": (
        "vllm",
        sse({"choices": [{"index": 0, "message": {"role": "assistant", "content": "你好"}, "finish_reason": "stop"}]}) + DONE,
        [HEARD, END],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", STREAMS)
@pytest.mark.parametrize("size", CUTS)
def test_a_stream(name: str, size: int | None) -> None:
    host, raw, expected = STREAMS[name]
    chunks = read(raw, host, size)
    assert chunks == expected
    check(chunks)


def test_calls_without_ids_get_one() -> None:
    raw = sse(part(fragment(index=0, function={"name": "f", "arguments": '{"a":1}'})), part({}, "stop")) + DONE
    [call] = read(raw, "llamacpp")[0]["choices"][0]["delta"]["tool_calls"]
    assert call.pop("id").startswith("call_")
    assert call == {"index": 0, "type": "function", "function": {"name": "f", "arguments": '{"a":1}'}}


MESSAGE = {"role": "assistant", "content": "你好"}


def body(message: Json, finish: str | None = "stop", **more: Any) -> bytes:
    choice = {"index": 0, "message": message, "finish_reason": finish}
    return json.dumps({"choices": [choice], "usage": USAGE, **more}).encode()


def answer(message: Json, finish: str = "stop", usage: Json | None = None) -> Json:
    choice = {
        "index": 0,
        "message": {"role": "assistant", "refusal": None} | message,
        "finish_reason": finish,
        "logprobs": None,
    }
    return {"choices": [choice], "usage": usage or USAGE}


WHOLES: list[tuple[str, bytes, Json]] = [
    ("deepseek", b"\n\n\n \n" + body(MESSAGE), answer({"content": "你好"})),
    ("deepseek", body(MESSAGE | {"reasoning_content": "Hm."}), answer({"content": "你好", "reasoning_content": "Hm."})),
    ("deepseek", body(MESSAGE, usage=USAGE | {"prompt_cache_hit_tokens": 4}),
     answer({"content": "你好"}, usage=USAGE | {"prompt_cache_hit_tokens": 4, "prompt_tokens_details": {"cached_tokens": 4}})),
    ("openrouter", body(MESSAGE | {"reasoning": "Hm."}, provider="X"),
     answer({"content": "你好", "reasoning_content": "Hm."})),
    ("mistral", body({"content": [{"type": "thinking", "thinking": [{"type": "text", "text": "Hm."}]},
                                  {"type": "text", "text": "你好"}]}, "model_length"),
     answer({"content": "你好", "reasoning_content": "Hm."}, "length")),
    ("moonshot", json.dumps({"choices": [{"message": MESSAGE, "finish_reason": "stop", "usage": USAGE}]}).encode(),
     answer({"content": "你好"})),
    ("vllm", json.dumps({"choices": [{"message": MESSAGE | {"usage": USAGE}, "finish_reason": "stop"}]}).encode(),
     answer({"content": "你好"})),
    ("groq", body(MESSAGE, usage=None, x_groq={"usage": USAGE}), answer({"content": "你好"})),
    ("vllm", body({"content": None, "tool_calls": [], "function_call": None}), answer({"content": ""})),
    ("vllm", body({"content": None, "tool_calls": [{"id": "c", "function": {"name": "f", "arguments": "null"}}]}),
     answer({"content": None, "tool_calls": [{"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}]},
            "tool_calls")),
    ("cerebras", body(MESSAGE, time_info={"total_time": 1}), answer({"content": "你好"}) | {"time_info": {"total_time": 1}}),
    ("groq", body(MESSAGE, x_groq={"id": "a", "usage": USAGE}), answer({"content": "你好"}) | {"x_groq": {"id": "a"}}),
    ("together", body(MESSAGE, "eos"), answer({"content": "你好"})),
    ("vllm", body({"content": "<think>\nHm.</think>\n\n你好"}), answer({"content": "你好", "reasoning_content": "Hm."})),
    ("vllm", body({"content": "<think>Hm.</think>"}), answer({"content": "", "reasoning_content": "Hm."})),
    ("vllm", body({"content": {"a": "北"}}), answer({"content": '{"a":"北"}'})),
    ("ollama", body({"content": "", "tool_calls": [{"id": "c", "index": 0, "function": {"name": "f", "arguments": {}}}]}),
     answer({"content": "", "tool_calls": [{"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}]},
            "tool_calls")),
    ("vllm", body(MESSAGE, None, usage=None),
     answer({"content": "你好"}, usage={"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0})),
]  # fmt: skip


@pytest.mark.parametrize(("host", "raw", "expected"), WHOLES)
def test_a_whole_answer(host: str, raw: bytes, expected: Json) -> None:
    assert whole(raw, host) == expected


@pytest.mark.parametrize(
    ("raw", "kind"),
    [
        (body(MESSAGE, "insufficient_system_resource"), Overloaded),
        (body(MESSAGE, "load"), UpstreamTruncated),
        (b'{"choices": []}', UpstreamBadOutput),
        (b'{"choices": [{"message": {"content": "a", "tool_calls": 7}}]}', UpstreamBadOutput),
        (b'{"choices": {"0": {"message": {"content": "a"}}}}', UpstreamBadOutput),
        (
            b'{"choices": [{"message": {"content": "a", "tool_calls": {"0": {"id": "c", "function": {"name": "f"}}}}}]}',
            UpstreamBadOutput,
        ),
        (body({"content": [{"type": "image", "data": "AA=="}]}), UpstreamBadOutput),
        (b"[]", UpstreamBadOutput),
    ],
)
def test_a_whole_answer_that_is_none(raw: bytes, kind: type[Failure]) -> None:
    translator = translator_of("openai", made_call({}, False), Upstream("x", "m", host=HOSTS["deepseek"]))
    with pytest.raises(kind):
        translator.send(Event("", codec.decode(raw)))


@pytest.mark.parametrize("size", CUTS)
@pytest.mark.parametrize(
    "raw",
    [b"", sse(HELLO), sse(HELLO, part({"content": ""})), b": keep-alive\n\n", sse({"choices": [], "usage": USAGE})],
)
def test_a_stream_that_just_stops(raw: bytes, size: int | None) -> None:
    """92: how Ollama hides that it failed."""
    with pytest.raises(UpstreamTruncated):
        read(raw, "ollama", size)


@pytest.mark.parametrize("name", [name for name in STREAMS if "call" not in name])
def test_the_sum_of_a_stream_is_a_whole_answer(name: str) -> None:
    host, raw, expected = STREAMS[name]
    choice = collect(read(raw, host))["choices"][0]
    texts = [each["choices"][0]["delta"] for each in expected if each["choices"]]
    assert choice["message"]["content"] == "".join(delta.get("content") or "" for delta in texts)
    assert choice["finish_reason"] == [c["choices"][0]["finish_reason"] for c in expected if c["choices"]][-1]


PICTURE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}}
CALLED = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}


@pytest.mark.parametrize(
    ("events", "message", "finish"),
    [
        ([part({}, "stop")], {"content": ""}, "stop"),
        *(
            ([*before, {"choices": [{"index": 0, "delta": delta, "message": MESSAGE, "finish_reason": "stop"}]}],
             {"content": "你好"}, "stop")
            for before in ([], [part({"role": "assistant", "content": ""})])
            for delta in ({}, None, {"content": ""}, {"role": "assistant"})
        ),
        ([HELLO, {"choices": [{"index": 0, "delta": {}, "message": MESSAGE, "finish_reason": "stop"}]}],
         {"content": "你好"}, "stop"),
        ([part({"role": "assistant"}), part({"content": "你好"}), part({}, "stop")], {"content": "你好"}, "stop"),
        ([{"choices": [{"index": 0, "text": "你好", "finish_reason": "stop"}]}], {"content": "你好"}, "stop"),
        ([part({"content": [{"type": "refusal", "refusal": "No."}]}), part({}, "stop")],
         {"content": None, "refusal": "No."}, "stop"),
        ([part({}, "stop"), part({"tool_calls": [{"index": 0, **CALLED}]})],
         {"content": None, "tool_calls": [CALLED]}, "tool_calls"),
        ([HELLO, part({}, "stop"), part({"tool_calls": [{"index": 0, **CALLED}]}), part({}, "stop")],
         {"content": "你好", "tool_calls": [CALLED]}, "tool_calls"),
        ([HELLO, part({}, "length"), part({}, "stop")], {"content": "你好"}, "length"),
    ],
)  # fmt: skip
def test_where_hosts_put_what_they_stream(events: list[Json], message: Json, finish: str) -> None:
    choice = collect(read(sse(*events) + DONE))["choices"][0]
    assert (choice["message"], choice["finish_reason"]) == ({"role": "assistant", "refusal": None} | message, finish)


def test_a_streamed_picture_among_the_content_parts() -> None:
    chunks = read(sse(part({"content": [{"type": "text", "text": "A"}, PICTURE]}), part({}, "stop")) + DONE)
    assert chunks == [chunk({"role": "assistant", "content": "A", "images": [PICTURE]}), END]


@pytest.mark.parametrize(
    "event",
    [
        {"choices": {"index": 0, "delta": {"content": "a"}}},
        part({"tool_calls": {"0": {"id": "c", "index": 0, "function": {"name": "f"}}}}),
        part({"content": [{"type": "image", "data": "AA=="}]}),
    ],
)
def test_a_stream_of_another_shape(event: Json) -> None:
    with pytest.raises(UpstreamBadOutput):
        read(sse(HELLO, event, part({}, "stop")) + DONE)


def test_a_failure_after_a_first_finish() -> None:
    with pytest.raises(Overloaded):
        read(sse(HELLO, part({}, "stop"), part({}, "insufficient_system_resource")) + DONE)


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        ({"delta": MESSAGE}, {"content": "你好"}),
        ({"message": None, "delta": MESSAGE}, {"content": "你好"}),
        ({"text": "你好"}, {"content": "你好"}),
        ({"message": None, "text": "你好"}, {"content": "你好"}),
        ({"message": {"content": [{"type": "refusal", "refusal": "No."}]}}, {"content": None, "refusal": "No."}),
        ({"message": {"content": [PICTURE]}}, {"content": "", "images": [PICTURE]}),
    ],
)
def test_where_hosts_put_a_whole_answer(choice: Json, message: Json) -> None:
    raw = json.dumps({"choices": [{"index": 0, "finish_reason": "stop", **choice}], "usage": USAGE}).encode()
    assert whole(raw) == answer(message)


@pytest.mark.parametrize("index", [0.0, "0", None])
def test_an_index_that_is_no_integer(index: Any) -> None:
    raw = sse({"choices": [{"index": index, "delta": {"content": "Hi"}, "finish_reason": "stop"}]}) + DONE
    assert collect(read(raw))["choices"] == [
        {
            "index": 0,
            "message": {"role": "assistant", "content": "Hi", "refusal": None},
            "logprobs": None,
            "finish_reason": "stop",
        }
    ]


@pytest.mark.parametrize("index", [0.5, "x", "9" * 5000, True, [], {}, -1, "-1", 10**12])
def test_an_index_that_is_none(index: Any) -> None:
    raw = sse({"choices": [{"index": index, "delta": {"content": "Hi"}, "finish_reason": "stop"}]}) + DONE
    with pytest.raises(UpstreamBadOutput):
        read(raw)
