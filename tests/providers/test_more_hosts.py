"""Hosts that joined the table last: whole requests in, whole requests out, and the answers that only they give.

What each row says stands in its host's documentation, which the row names.
"""

from typing import Any

import pytest
from model_table import MODELS
from msgspec.structs import replace
from test_host_answers import chunk, part, read, sse, whole

from providers import codec
from providers.contract import Json, Upstream
from providers.endpoints import endpoint, key_header
from providers.errors import Unsupported
from providers.hosts import HOSTS
from providers.openai.request import build, build_request

NEW = ("cohere", "minimax", "qianfan", "volcengine", "hunyuan", "tokenhub", "stepfun", "spark", "baichuan", "modelscope",
       "nebius", "novita", "sambanova", "hyperbolic", "nvidia", "scaleway", "github", "vercel", "cloudflare",
       "databricks")  # fmt: skip
OPENAIS = {"store": True, "metadata": {"a": "b"}, "prompt_cache_key": "k", "verbosity": "low", "safety_identifier": "s"}


def to(host: str, model: str) -> Upstream:
    return Upstream(host, model, HOSTS[host].base_url, "k", host, HOSTS[host], MODELS.of(model, host))


def function(name: str = "f", **more: Any) -> Json:
    return {"type": "function", "function": {"name": name, **more}}


def call(ident: str = "c1") -> Json:
    return {"id": ident, "type": "function", "function": {"name": "f", "arguments": "{}"}}


HI: list[Json] = [{"role": "user", "content": "hi"}]
LAX: Json = {"type": "object", "properties": {}}
PARTS = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]

# what it shows · host · model · parameters · parameters there · what the header names
CASES: list[tuple[str, str, str, Json, Json, tuple[str, ...]]] = [
    ("Cohere: its own ranges, its own name, and the two efforts that it knows", "cohere", "command-a-reasoning-08-2025",
     {"max_completion_tokens": 9, "top_p": 1.0, "presence_penalty": -1, "reasoning_effort": "medium", "user": "u", **OPENAIS},
     {"max_tokens": 9, "top_p": 0.99, "presence_penalty": 0, "reasoning_effort": "high"},
     ("store", "metadata", "prompt_cache_key", "safety_identifier", "verbosity", "user", "reasoning_effort", "top_p",
      "presence_penalty")),
    ("Cohere: usage is not asked for, and no tool choice is sent", "cohere", "command-a-03-2025",
     {"stream": True, "tools": [function(parameters=LAX)], "tool_choice": "required"},
     {"stream": True, "tools": [function(parameters=LAX)]}, ("tool_choice",)),
    ("MiniMax: thinking that is on or off, and parameters of functions", "minimax", "MiniMax-M3",
     {"reasoning_effort": "high", "temperature": 0, "seed": 1, "tools": [function(strict=True)], "tool_choice": "auto"},
     {"thinking": {"type": "adaptive"}, "temperature": 0.01, "tools": [function(parameters=LAX)]},
     ("seed", "reasoning_effort", "temperature")),
    ("MiniMax: none", "minimax", "MiniMax-M3", {"reasoning_effort": "none"}, {"thinking": {"type": "disabled"}}, ()),
    ("MiniMax: M2 cannot stop thinking", "minimax", "MiniMax-M2.7", {"reasoning_effort": "none"}, {}, ("reasoning_effort",)),
    ("Qianfan: thinking has a switch", "qianfan", "qwen3-14b", {"reasoning_effort": "low", "seed": 1},
     {"enable_thinking": True, "seed": 1}, ("reasoning_effort",)),
    ("Ark: its efforts, and off", "volcengine", "doubao-seed-2-1-pro-260915",
     {"reasoning_effort": "max", "max_completion_tokens": 9}, {"reasoning_effort": "high", "max_completion_tokens": 9},
     ("reasoning_effort",)),
    ("Ark: none", "volcengine", "doubao-seed-2-1-pro-260915", {"reasoning_effort": "none"},
     {"thinking": {"type": "disabled"}}, ()),
    ("TokenHub: thinking has a switch", "tokenhub", "glm-5", {"reasoning_effort": "high"},
     {"thinking": {"type": "enabled"}}, ("reasoning_effort",)),
    ("StepFun: three efforts", "stepfun", "step-3.7-flash", {"reasoning_effort": "xhigh", "max_completion_tokens": 9},
     {"reasoning_effort": "high", "max_tokens": 9}, ("reasoning_effort",)),
    ("SambaNova: what it ignores is named", "sambanova", "gpt-oss-120b", {"seed": 1, "frequency_penalty": 1, "top_k": 3},
     {"top_k": 3}, ("frequency_penalty", "seed")),
    ("Baichuan: temperatures up to 1", "baichuan", "Baichuan4-Turbo", {"temperature": 1.5}, {"temperature": 1},
     ("temperature",)),
    ("Vercel takes what OpenAI takes", "vercel", "openai/gpt-4o", OPENAIS, OPENAIS, ()),
]  # fmt: skip


@pytest.mark.parametrize(
    ("host", "model", "given", "sent", "named"), [case[1:] for case in CASES], ids=[c[0] for c in CASES]
)
def test_parameters(host: str, model: str, given: Json, sent: Json, named: tuple[str, ...]) -> None:
    body, dropped = build({"model": "m", "messages": HI, **given}, to(host, model))
    assert {name: value for name, value in body.items() if name != "messages"} == {"model": model, **sent}
    assert {*dropped} == {*named}


@pytest.mark.parametrize(
    "host", ["cohere", "minimax", "qianfan", "volcengine", "hunyuan", "spark", "baichuan", "sambanova", "nvidia"]
)
def test_several_answers_are_refused(host: str) -> None:
    with pytest.raises(Unsupported) as refused:
        build({"model": "m", "messages": HI, "n": 2}, to(host, "m"))
    assert refused.value.param == "n"


ASKED: list[Json] = [
    {"role": "system", "content": "A"},
    {"role": "developer", "content": PARTS},
    {"role": "user", "content": "hi"},
    {"role": "user", "content": "there"},
    {"role": "assistant", "content": None, "tool_calls": [call()]},
    {"role": "tool", "tool_call_id": "c1", "content": PARTS},
]
CALLED: Json = {"role": "assistant", "content": None, "tool_calls": [call()]}
# The same conversation, as each host takes it.
TURNS: dict[str, list[Json]] = {
    "minimax": [
        {"role": "system", "content": "A\n\na\n\nb"},
        *ASKED[2:4],
        CALLED,
        {"role": "tool", "tool_call_id": "c1", "content": "a\nb"},
    ],
    "qianfan": [
        {"role": "system", "content": "A\n\na\n\nb"},
        {"role": "user", "content": "hi\n\nthere"},
        CALLED,
        {"role": "tool", "tool_call_id": "c1", "content": "a\nb"},
    ],
    "cloudflare": [
        {"role": "system", "content": "A"},
        {"role": "system", "content": "a\n\nb"},
        *ASKED[2:4],
        CALLED | {"content": ""},
        {"role": "tool", "tool_call_id": "c1", "content": "a\nb"},
    ],
    "github": ASKED,
}


@pytest.mark.parametrize("host", TURNS)
def test_a_conversation(host: str) -> None:
    given = codec.decode(codec.encode(ASKED))
    body, _ = build({"model": "m", "messages": given, "tools": [function(parameters=LAX)]}, to(host, "m"))
    assert body["messages"] == TURNS[host]
    assert given == ASKED


@pytest.mark.parametrize("host", NEW)
def test_every_row_has_an_address_and_a_key(host: str) -> None:
    row = HOSTS[host]
    base = row.base_url or "https://h.example/v1"
    built = build_request({"model": "m", "messages": HI, "stream": True}, replace(to(host, "m"), base_url=base))
    assert built.url == endpoint(row, base, "m") == f"{base}/chat/completions"
    assert built.headers == key_header(row, "k") == {"Authorization": "Bearer k"}
    assert row.key_variable and base.startswith("https://") and not base.endswith("/")


# Answers

SPARK: Json = {"code": 0, "message": "Success", "sid": "cha0"}


def test_a_single_call_that_is_no_list() -> None:
    """Spark sends the call itself in place of a list of calls, streamed and whole (xfyun.cn/doc/spark)."""
    said = {"index": 0, "type": "function", "function": {"name": "f", "arguments": '{"x":1}'}}
    [first, last] = read(sse(part({"role": "assistant", "content": "", "tool_calls": said}, **SPARK),
                             part({}, "tool_calls", **SPARK)) + b"data: [DONE]\n\n", "spark")  # fmt: skip
    [made] = first["choices"][0]["delta"].pop("tool_calls")
    assert made.pop("id").startswith("call_") and made == {"index": 0, **said}
    assert first["choices"] == [
        {"index": 0, "delta": {"role": "assistant", "content": ""}, "logprobs": None, "finish_reason": None}
    ]
    assert last["choices"] == chunk({}, "tool_calls")["choices"]
    message = {"role": "assistant", "content": "", "tool_calls": {"type": "function", "function": said["function"]}}
    answer = whole(codec.encode({**SPARK, "choices": [{"index": 0, "message": message}]}), "spark")
    [made] = answer["choices"][0]["message"]["tool_calls"]
    assert made.pop("id").startswith("call_") and made == message["tool_calls"]
    assert answer["choices"][0]["finish_reason"] == "tool_calls"


@pytest.mark.parametrize("nothing", [{}, None, [], ""])
def test_no_call_at_all(nothing: Any) -> None:
    [first, last] = read(
        sse(part({"content": "Hi", "tool_calls": nothing}), part({}, "stop")) + b"data: [DONE]\n\n", "spark"
    )
    assert (first["choices"][0]["delta"], last["choices"][0]["finish_reason"]) == (
        {"role": "assistant", "content": "Hi"},
        "stop",
    )
    message = {"role": "assistant", "content": "Hi", "tool_calls": nothing}
    answer = whole(codec.encode({"choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}), "spark")
    assert answer["choices"][0]["message"] == {"role": "assistant", "content": "Hi", "refusal": None}


# How hosts put thinking into the list of a content: Mistral; Databricks, with Claude; relays.
THINKING: list[Json] = [
    {"type": "thinking", "thinking": "hm"},
    {"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]},
    {"type": "reasoning", "summary": [{"type": "summary_text", "text": "hm", "signature": "s"}]},
    {"type": "reasoning", "text": "hm"},
    {"type": "thinking", "text": "hm"},
    {"type": "reasoning", "reasoning": "hm"},
]


@pytest.mark.parametrize("thought", THINKING)
def test_thinking_in_a_list_is_no_content(thought: Json) -> None:
    content = [thought, {"type": "text", "text": "Hi"}]
    [first, last] = read(sse(part({"role": "assistant", "content": content}), part({}, "stop")), "databricks")
    assert first["choices"][0]["delta"] == {"role": "assistant", "content": "Hi", "reasoning_content": "hm"}
    assert last["choices"][0]["finish_reason"] == "stop"
    message = {"role": "assistant", "content": content}
    answer = whole(codec.encode({"choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}), "databricks")
    assert answer["choices"][0]["message"] == {
        "role": "assistant", "content": "Hi", "reasoning_content": "hm", "refusal": None,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("word", "reason"), [("ERROR_TOXIC", "content_filter"), ("ERROR_LIMIT", "length"), ("COMPLETE", "stop")]
)
def test_words_of_cohere_for_an_end(word: str, reason: str) -> None:
    chunks = read(sse(part({"content": "Hi"}), part({}, word)), "cohere")
    assert chunks[-1]["choices"][0]["finish_reason"] == reason


@pytest.mark.parametrize("host", ["mistral", "xai", "zhipu", "minimax", "qianfan"])
@pytest.mark.parametrize(
    ("given", "sent"),
    [
        (None, LAX),
        ({}, LAX),
        ({"type": "object"}, LAX),
        ({"type": "object", "additionalProperties": {"type": "string"}},
         LAX | {"additionalProperties": {"type": "string"}}),
        (LAX | {"properties": {"a": {"type": "string"}}}, LAX | {"properties": {"a": {"type": "string"}}}),
    ],
)  # fmt: skip
def test_parameters_that_say_nothing_are_an_object(host: str, given: Json | None, sent: Json) -> None:
    """Hosts that want parameters are not content with {}: MiniMax, "function parameters is empty (2013)"."""
    tool = function() if given is None else function(parameters=given)
    body, _ = build({"model": "m", "messages": HI, "tools": [tool]}, to(host, "m"))
    assert body["tools"] == [function(parameters=sent)]
