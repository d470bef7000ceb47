"""The table of hosts, and what it makes of requests: whole bodies in, whole bodies out."""

import copy
import re
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from model_table import MODELS
from msgspec.structs import replace

from providers.contract import Json, Upstream
from providers.endpoints import endpoint, key_header
from providers.errors import BadRequest, Failure, Unsupported
from providers.hosts import HOSTS, Host
from providers.openai.messages import mistral_id
from providers.openai.request import build, needs_responses

EFFORTS = ("none", "minimal", "low", "medium", "high", "xhigh", "max")
PNG = "data:image/png;base64,iVBORw0KGgoAAAANSUhEUg=="
GIF = "data:image/png;base64,R0lGODlhAQABAIAAAAAAAA=="


def to(host: str, model: str, **changes: Any) -> Upstream:
    return Upstream(name=host, model=model, host=replace(HOSTS[host], **changes), facts=MODELS.of(model, host))


def user(text: str = "hi") -> Json:
    return {"role": "user", "content": text}


def tool(name: str = "f", **more: Any) -> Json:
    return {"type": "function", "function": {"name": name} | more}


def named(name: str) -> Json:
    return {"type": "function", "function": {"name": name}}


def call(id: str, **more: Any) -> Json:
    return {"id": id, "type": "function", "function": {"name": "f", "arguments": "{}"}} | more


def argued(id: str, arguments: str | None) -> Json:
    return call(id, function={"name": "f", "arguments": arguments})


def picture(url: str) -> Json:
    return {"role": "user", "content": [{"type": "image_url", "image_url": {"url": url}}]}


MARK = {"type": "ephemeral"}
SCHEMA = {"type": "json_schema", "json_schema": {"name": "a", "schema": {"type": "object"}, "description": "An a."}}
IN_WORDS = (
    "Answer with one JSON object and nothing else. It must fit this JSON schema:\n"
    '{"type":"object"}\nIt is: An a.'
)  # fmt: skip
TOOL_TURNS = [
    user(),
    {"role": "assistant", "content": None, "tool_calls": [call("call_abcdef123")]},
    {"role": "tool", "tool_call_id": "call_abcdef123", "content": "72F"},
]

# what it shows · host · model · body (model and messages are added) · what arrives there · what the header names
Case = tuple[str, str, str, Json, Json, tuple[str, ...]]
CASES: list[Case] = [
    ("nothing to do", "openai", "gpt-4o", {"temperature": 0.2}, {"temperature": 0.2}, ()),
    ("unknown parameters pass", "openai", "gpt-4o", {"new_in_2027": {"a": 1}}, {"new_in_2027": {"a": 1}}, ()),
    (
        "usage is always asked for in a stream",
        "openai",
        "gpt-4o",
        {"stream": True, "stream_options": {"include_obfuscation": False}},
        {"stream": True, "stream_options": {"include_obfuscation": False, "include_usage": True}},
        (),
    ),
    (
        "… and never where the host does not know it",
        "mistral",
        "mistral-large-4",
        {"stream": True, "stream_options": {"include_usage": True}},
        {"stream": True},
        (),
    ),
    # 96
    (
        "96: tools on gpt-5.6 without an effort switch reasoning off, where they must stay on chat completions",
        "openai",
        "gpt-5.6-terra",
        {"tools": [tool()]},
        {"tools": [tool()], "reasoning_effort": "none"},
        ("reasoning_effort",),
    ),
    ("tools on gpt-5.4 do not, it is off", "openai", "gpt-5.4", {"tools": [tool()]}, {"tools": [tool()]}, ()),
    (
        "without reasoning, sampling is taken again",
        "openai",
        "gpt-5.6-terra",
        {"tools": [tool()], "temperature": 0.2, "logprobs": True, "reasoning_effort": "none"},
        {"tools": [tool()], "temperature": 0.2, "logprobs": True, "reasoning_effort": "none"},
        (),
    ),
    (
        "custom tools do not",
        "openai",
        "gpt-5.6-terra",
        {"tools": [{"type": "custom", "custom": {"name": "c"}}]},
        {"tools": [{"type": "custom", "custom": {"name": "c"}}]},
        (),
    ),
    (
        "a host without /v1/responses: tools win over the effort",
        "azure",
        "gpt-5.6-terra",
        {"tools": [tool()], "reasoning_effort": "high"},
        {"tools": [tool()], "reasoning_effort": "none"},
        ("reasoning_effort",),
    ),
    (
        "OpenRouter knows nothing of that rule",
        "openrouter",
        "openai/gpt-5.6-terra",
        {"tools": [tool()], "reasoning_effort": "high"},
        {"tools": [tool()], "reasoning": {"effort": "high"}},
        (),
    ),
    # 97
    (
        "97: gpt-5 samples by itself and has its own name for the limit",
        "openai",
        "gpt-5",
        {"temperature": 0.2, "top_p": 0.9, "presence_penalty": 1, "logit_bias": {"1": 2}, "max_tokens": 50},
        {"max_completion_tokens": 50},
        ("temperature", "top_p", "presence_penalty", "logit_bias"),
    ),
    (
        "defaults are no loss",
        "openai",
        "gpt-5",
        {"temperature": 1, "top_p": 1.0, "frequency_penalty": 0, "logprobs": False},
        {},
        (),
    ),
    (
        "gpt-5.2 samples while it does not reason",
        "openai",
        "gpt-5.2",
        {"temperature": 0.2, "max_tokens": 50},
        {"temperature": 0.2, "max_completion_tokens": 50},
        (),
    ),
    (
        "… and not while it does",
        "openai",
        "gpt-5.2",
        {"temperature": 0.2, "reasoning_effort": "low"},
        {"reasoning_effort": "low"},
        ("temperature",),
    ),
    (
        "o3 takes no parallel_tool_calls",
        "openai",
        "o3",
        {"tools": [tool()], "parallel_tool_calls": False},
        {"tools": [tool()]},
        ("parallel_tool_calls",),
    ),
    # 98
    (
        "98: chat takes no max",
        "openai",
        "gpt-5.4",
        {"reasoning_effort": "max"},
        {"reasoning_effort": "xhigh"},
        ("reasoning_effort",),
    ),
    (
        "98: … on any model",
        "openai",
        "gpt-6-astra",
        {"reasoning_effort": "max"},
        {"reasoning_effort": "xhigh"},
        ("reasoning_effort",),
    ),
    (
        "effort: the next stronger",
        "openai",
        "gpt-5.6-sol",
        {"reasoning_effort": "minimal"},
        {"reasoning_effort": "low"},
        ("reasoning_effort",),
    ),
    (
        "effort: else the strongest",
        "openai",
        "gpt-5.1",
        {"reasoning_effort": "xhigh"},
        {"reasoning_effort": "high"},
        ("reasoning_effort",),
    ),
    (
        "effort: what cannot be off is weak",
        "openai",
        "o3",
        {"reasoning_effort": "none"},
        {"reasoning_effort": "low"},
        ("reasoning_effort",),
    ),
    (
        "effort: nothing for gpt-4o",
        "openai",
        "gpt-4o",
        {"reasoning_effort": "low", "temperature": 0.5},
        {"temperature": 0.5},
        ("reasoning_effort",),
    ),
    (
        "effort: an unknown deployment may reason",
        "azure",
        "prod",
        {"reasoning_effort": "max"},
        {"reasoning_effort": "xhigh"},
        ("reasoning_effort",),
    ),
    # 81–83
    (
        "81: DeepSeek ignores max_completion_tokens",
        "deepseek",
        "deepseek-flash",
        {"max_completion_tokens": 100},
        {"max_tokens": 100},
        (),
    ),
    (
        "82: DeepSeek wants reasoning back",
        "deepseek",
        "deepseek-flash",
        {"messages": [*TOOL_TURNS, {"role": "assistant", "content": "72F"}]},
        {
            "messages": [
                user(),
                TOOL_TURNS[1] | {"reasoning_content": " "},
                TOOL_TURNS[2],
                {"role": "assistant", "content": "72F"},
                user("Continue."),
            ]
        },
        (),
    ),
    (
        "82: … and gets what there is",
        "deepseek",
        "deepseek-flash",
        {"messages": [user(), TOOL_TURNS[1] | {"reasoning_content": "Hm.", "refusal": None}, TOOL_TURNS[2]]},
        {"messages": [user(), TOOL_TURNS[1] | {"reasoning_content": "Hm."}, TOOL_TURNS[2]]},
        (),
    ),
    (
        "82: … but not when it does not think",
        "deepseek",
        "deepseek-flash",
        {"messages": TOOL_TURNS, "reasoning_effort": "none"},
        {"messages": TOOL_TURNS, "thinking": {"type": "disabled"}},
        (),
    ),
    (
        "83: no forced tools while it thinks",
        "deepseek",
        "deepseek-flash",
        {"tools": [tool()], "tool_choice": "required"},
        {"tools": [tool()], "tool_choice": "auto"},
        ("tool_choice",),
    ),
    (
        "83: … nor named ones",
        "deepseek",
        "deepseek-v4-pro",
        {"tools": [tool()], "tool_choice": named("f")},
        {"tools": [tool()], "tool_choice": "auto"},
        ("tool_choice",),
    ),
    (
        "83: … only then",
        "deepseek",
        "deepseek-flash",
        {"tools": [tool()], "tool_choice": "required", "thinking": {"type": "disabled"}, "temperature": 0.3},
        {"tools": [tool()], "tool_choice": "required", "thinking": {"type": "disabled"}, "temperature": 0.3},
        (),
    ),
    (
        "83: a schema in words, in a system message of its own",
        "deepseek",
        "deepseek-flash",
        {"response_format": SCHEMA},
        {
            "response_format": {"type": "json_object"},
            "messages": [{"role": "system", "content": IN_WORDS}, user()],
        },
        ("response_format",),
    ),
    (
        "83: … or in the one that is there",
        "deepseek",
        "deepseek-flash",
        {"response_format": SCHEMA, "messages": [{"role": "developer", "content": "Be brief."}, user()]},
        {
            "response_format": {"type": "json_object"},
            "messages": [{"role": "system", "content": f"Be brief.\n\n{IN_WORDS}"}, user()],
        },
        ("response_format",),
    ),
    *(
        (
            f"DeepSeek's effort for {ours}",
            "deepseek",
            "deepseek-flash",
            {"reasoning_effort": ours, "temperature": 0.3},
            {"reasoning_effort": theirs},
            ("reasoning_effort", "temperature") if ours != theirs else ("temperature",),
        )
        for ours, theirs in {"minimal": "low", "low": "low", "medium": "high", "high": "high", "xhigh": "high"}.items()
    ),
    ("DeepSeek takes max", "deepseek", "deepseek-flash", {"reasoning_effort": "max"}, {"reasoning_effort": "max"}, ()),
    (
        "DeepSeek drops what it does not know",
        "deepseek",
        "deepseek-flash",
        {"store": True, "metadata": {"a": "b"}, "service_tier": "auto", "n": 1},
        {},
        ("store", "metadata"),
    ),
    # 91
    (
        "91: Mistral's ids are nine letters or digits",
        "mistral",
        "mistral-large-4",
        {"messages": TOOL_TURNS},
        {
            "messages": [
                user(),
                {"role": "assistant", "content": None, "tool_calls": [call(mistral_id("call_abcdef123"))]},
                {"role": "tool", "tool_call_id": mistral_id("call_abcdef123"), "content": "72F"},
            ]
        },
        (),
    ),
    (
        "Mistral's words",
        "mistral",
        "mistral-large-4",
        {"seed": 7, "max_completion_tokens": 9, "tools": [tool()], "tool_choice": "required", "user": "u"},
        {
            "random_seed": 7,
            "max_tokens": 9,
            "tools": [tool(parameters={"type": "object", "properties": {}})],
            "tool_choice": "any",
        },
        ("user",),
    ),
    (
        "Mistral reasons or not",
        "mistral",
        "mistral-small-latest",
        {"reasoning_effort": "low"},
        {"reasoning_effort": "high"},
        ("reasoning_effort",),
    ),
    (
        "Mistral checks messages",
        "mistral",
        "mistral-large-4",
        {
            "messages": [
                {"role": "developer", "content": [{"type": "text", "text": "S", "cache_control": {"type": "e"}}]},
                {"role": "assistant", "content": "a", "reasoning_content": "r", "refusal": None, "annotations": []},
                user(),
            ]
        },
        {
            "messages": [
                {"role": "system", "content": "S"},
                {"role": "assistant", "content": "a"},
                user(),
            ]
        },
        (),
    ),
    # 92
    (
        "92: Ollama",
        "ollama",
        "llama3.1",
        {
            "max_completion_tokens": 5,
            "user": "u",
            "messages": [
                {"role": "developer", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]},
                picture(PNG),
                {"role": "assistant", "content": None, "tool_calls": [call("c")], "reasoning_content": "r"},
                {"role": "tool", "tool_call_id": "c", "content": "t"},
            ],
        },
        {
            "max_tokens": 5,
            "messages": [
                {"role": "system", "content": "a\n\nb"},
                picture(PNG),
                {"reasoning": "r", "role": "assistant", "content": "", "tool_calls": [call("c")]},
                {"role": "tool", "tool_call_id": "c", "content": "t"},
            ],
        },
        ("user",),
    ),
    ("Ollama: no tools", "ollama", "llama3.1", {"tools": [tool()], "tool_choice": "none"}, {}, ()),
    ("Ollama: auto", "ollama", "llama3.1", {"tools": [tool()], "tool_choice": "auto"}, {"tools": [tool()]}, ()),
    (
        "Ollama: forced",
        "ollama",
        "llama3.1",
        {"tools": [tool()], "tool_choice": named("f")},
        {"tools": [tool()]},
        ("tool_choice",),
    ),
    # the others
    (
        "the model's limit goes by the model's name",
        "groq",
        "openai/gpt-oss-120b",
        {"max_completion_tokens": 9, "reasoning_format": "hidden"},
        {"max_tokens": 9, "reasoning_format": "hidden"},
        (),
    ),
    (
        "the newer limit wins",
        "ollama",
        "x",
        {"max_completion_tokens": 9, "max_tokens": 8},
        {"max_tokens": 9},
        (),
    ),
    (
        "… under any name",
        "openai",
        "gpt-5",
        {"max_completion_tokens": 9, "max_tokens": 8},
        {"max_completion_tokens": 9},
        (),
    ),
    (
        "… and either",
        "groq",
        "openai/gpt-oss-20b",
        {"max_completion_tokens": 9, "max_tokens": 8, "include_reasoning": True},
        {"max_tokens": 9, "include_reasoning": True},
        (),
    ),
    (
        "a model without penalties",
        "openrouter",
        "google/gemini-3.5-flash",
        {"presence_penalty": 1, "temperature": 0.1},
        {"temperature": 0.1},
        ("presence_penalty",),
    ),
    (
        "a model that ignores sampling is not sent any",
        "openrouter",
        "google/gemini-3.8-flash",
        {"temperature": 0.1},
        {},
        ("temperature",),
    ),
    (
        "a model whose tools cannot be forced",
        "openrouter",
        "anthropic/claude-opus-5.5",
        {"tools": [tool()], "tool_choice": named("f")},
        {"tools": [tool()], "tool_choice": "auto"},
        ("tool_choice",),
    ),
    (
        "an effort joins what the client says of reasoning",
        "openrouter",
        "x/y",
        {"reasoning": {"exclude": True}, "reasoning_effort": "low"},
        {"reasoning": {"exclude": True, "effort": "low"}},
        (),
    ),
    (
        "thinking switched on by hand",
        "deepseek",
        "deepseek-chat",
        {"thinking": {"type": "enabled"}, "tools": [tool()], "tool_choice": "required"},
        {"thinking": {"type": "enabled"}, "tools": [tool()], "tool_choice": "auto"},
        ("tool_choice",),
    ),
    (
        "what always thinks thinks least",
        "moonshot",
        "kimi-k3",
        {"reasoning_effort": "none"},
        {"reasoning_effort": "low"},
        ("reasoning_effort",),
    ),
    ("… or as ever", "moonshot", "kimi-k2.7-code", {"reasoning_effort": "none"}, {}, ("reasoning_effort",)),
    (
        "… and others stop",
        "moonshot",
        "kimi-k2.6",
        {"reasoning_effort": "none"},
        {"thinking": {"type": "disabled"}},
        (),
    ),
    (
        "a tool without a type is a function",
        "groq",
        "x",
        {"tools": [{"function": {"name": "f"}}]},
        {"tools": [{"function": {"name": "f"}}]},
        (),
    ),
    (
        "82: … an empty one will do",
        "deepseek",
        "deepseek-flash",
        {"messages": [user(), TOOL_TURNS[1] | {"reasoning_content": ""}, TOOL_TURNS[2]]},
        {"messages": [user(), TOOL_TURNS[1] | {"reasoning_content": ""}, TOOL_TURNS[2]]},
        (),
    ),
    (
        "Groq",
        "groq",
        "openai/gpt-oss-120b",
        {"reasoning_effort": "max", "presence_penalty": 1, "n": 1, "logprobs": False, "store": False},
        {"reasoning_effort": "high", "reasoning_format": "parsed"},
        ("presence_penalty", "reasoning_effort"),
    ),
    (
        "Groq shows reasoning as the client wants it",
        "groq",
        "openai/gpt-oss-120b",
        {"include_reasoning": False},
        {"include_reasoning": False},
        (),
    ),
    ("Groq's other models have none", "groq", "llama-3.3-70b-versatile", {}, {}, ()),
    (
        "vLLM's templates take one system message",
        "vllm",
        "qwen",
        {
            "messages": [
                {"role": "system", "content": "a"},
                {"role": "developer", "content": [{"type": "text", "text": "b"}]},
                user(),
                {"role": "system", "content": "c"},
            ]
        },
        {
            "messages": [
                {"role": "system", "content": "a\n\nb"},
                user(f"{user()['content']}\n\n<system>\nc\n</system>"),
            ]
        },
        (),
    ),
    (
        "Qwen thinks by a switch",
        "dashscope",
        "qwen-plus",
        {"reasoning_effort": "high"},
        {"enable_thinking": True},
        ("reasoning_effort",),
    ),
    (
        "… and stops by it",
        "dashscope",
        "qwen-plus",
        {"reasoning_effort": "none", "tools": [tool(strict=True)], "tool_choice": "required"},
        {"enable_thinking": False, "tools": [tool()], "tool_choice": "required"},
        (),
    ),
    (
        "… and while it thinks, tools are its choice",
        "dashscope",
        "qwen-plus",
        {"enable_thinking": True, "tools": [tool()], "tool_choice": "required"},
        {"enable_thinking": True, "tools": [tool()], "tool_choice": "auto"},
        ("tool_choice",),
    ),
    (
        "Moonshot's temperatures end at 1",
        "moonshot",
        "moonshot-v1-8k",
        {"temperature": 1.5, "tools": [tool(strict=True)], "tool_choice": "required"},
        {"temperature": 1, "tools": [tool()], "tool_choice": "auto"},
        ("temperature", "tool_choice"),
    ),
    (
        "Kimi K3 samples by itself there, and knows three efforts",
        "moonshot",
        "kimi-k3",
        {"temperature": 0.5, "reasoning_effort": "medium", "tools": [tool()], "tool_choice": "none"},
        {"reasoning_effort": "high", "tools": [tool()], "tool_choice": "none"},
        ("reasoning_effort", "temperature"),
    ),
    (
        "allowed tools, where the host does not know them",
        "fireworks",
        "x",
        {
            "tools": [tool("a"), tool("b")],
            "tool_choice": {"type": "allowed_tools", "allowed_tools": {"mode": "required", "tools": [tool("a")]}},
        },
        {"tools": [tool("a")], "tool_choice": "any"},
        (),
    ),
    *(
        (
            f"what means nothing in messages is left out: {host}",
            host,
            "x",
            {
                "messages": [
                    {"role": "user", "content": [], "name": ""},
                    {"role": "assistant", "content": "b", "tool_calls": [], "function_call": None, "annotations": []},
                    {"role": "assistant", "content": None, "tool_calls": [argued("c", ""), argued("d", None)]},
                    {"role": "tool", "tool_call_id": "c", "content": ""},
                    {"role": "tool", "tool_call_id": "d", "content": [{"type": "text", "text": ""}]},
                    {"role": "user", "content": [{"type": "text", "text": ""}, *picture("https://a/b.png")["content"]]},
                ]
            },
            {
                "messages": [
                    {"role": "user", "content": ""},
                    {"role": "assistant", "content": "b"},
                    {"role": "assistant", "content": None, "tool_calls": [call("c"), call("d")]},
                    {"role": "tool", "tool_call_id": "c", "content": ""},
                    {"role": "tool", "tool_call_id": "d", "content": ""},
                    {"role": "user", "content": [*picture("https://a/b.png")["content"]]},
                ]
            },
            (),
        )
        for host in ("openai", "groq", "openrouter", "together")
    ),
    (
        "Kimi wants reasoning back as well, while it thinks",
        "moonshot",
        "kimi-k2.6",
        {"messages": TOOL_TURNS},
        {"messages": [user(), TOOL_TURNS[1] | {"reasoning_content": " "}, TOOL_TURNS[2]]},
        (),
    ),
    (
        "… and always, if it always does",
        "moonshot",
        "kimi-k3",
        {"messages": TOOL_TURNS, "reasoning_effort": "none"},
        {"messages": [user(), TOOL_TURNS[1] | {"reasoning_content": " "}, TOOL_TURNS[2]], "reasoning_effort": "low"},
        ("reasoning_effort",),
    ),
    (
        "… and gets what there is",
        "moonshot",
        "kimi-k2.5",
        {"messages": [user(), TOOL_TURNS[1] | {"reasoning_content": "Hm."}, TOOL_TURNS[2]]},
        {"messages": [user(), TOOL_TURNS[1] | {"reasoning_content": "Hm."}, TOOL_TURNS[2]]},
        (),
    ),
    (
        "… and none when it does not think",
        "moonshot",
        "kimi-k2.6",
        {"messages": TOOL_TURNS, "thinking": {"type": "disabled"}},
        {"messages": TOOL_TURNS, "thinking": {"type": "disabled"}},
        (),
    ),
    ("… or cannot", "moonshot", "moonshot-v1-8k", {"messages": TOOL_TURNS}, {"messages": TOOL_TURNS}, ()),
    (
        "Kimi wants it through OpenRouter too",
        "openrouter",
        "moonshotai/kimi-k2.6",
        {"messages": TOOL_TURNS},
        {"messages": [user(), TOOL_TURNS[1] | {"reasoning_content": " "}, TOOL_TURNS[2]]},
        (),
    ),
    *(
        (
            f"so does DeepSeek: {model}",
            "openrouter",
            f"deepseek/{model}",
            {"messages": TOOL_TURNS},
            {"messages": [user(), TOOL_TURNS[1] | {"reasoning_content": " "}, TOOL_TURNS[2]]},
            (),
        )
        for model in ("deepseek-v4-pro", "deepseek-v4-flash", "deepseek-v4-flash:free", "deepseek-v5-exp")
    ),
    (
        "… unless it does not think",
        "openrouter",
        "deepseek/deepseek-v4-pro",
        {"messages": TOOL_TURNS, "reasoning_effort": "none"},
        {"messages": TOOL_TURNS, "reasoning": {"effort": "none"}},
        (),
    ),
    (
        "… in OpenRouter's own words",
        "openrouter",
        "deepseek/deepseek-v4-pro",
        {"messages": TOOL_TURNS, "reasoning": {"enabled": False}, "temperature": 0.5},
        {"messages": TOOL_TURNS, "reasoning": {"enabled": False}, "temperature": 0.5},
        (),
    ),
    (
        "… which wants none of others",
        "openrouter",
        "z-ai/glm-5",
        {"messages": TOOL_TURNS},
        {"messages": TOOL_TURNS},
        (),
    ),
    *(
        (
            f"{host} takes texts, not lists of them",
            host,
            "x",
            {"messages": [{"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]}]},
            {"messages": [user("a\nb")]},
            (),
        )
        for host in ("deepseek", "together", "moonshot", "zhipu", "siliconflow", "cerebras", "huggingface", "lmstudio")
    ),
    ("… unless there is more", "deepseek", "x", {"messages": [picture(PNG)]}, {"messages": [picture(PNG)]}, ()),
    (
        "Mistral caches by a key",
        "mistral",
        "mistral-large-4",
        {"prompt_cache_key": "k", "safety_identifier": "s"},
        {"prompt_cache_key": "k"},
        ("safety_identifier",),
    ),
    (
        "Moonshot too, and knows who is who",
        "moonshot",
        "kimi-k2.6",
        {"prompt_cache_key": "k", "safety_identifier": "s"},
        {"prompt_cache_key": "k", "safety_identifier": "s"},
        (),
    ),
    ("Cerebras too", "cerebras", "x", {"prompt_cache_key": "k"}, {"prompt_cache_key": "k"}, ()),
    (
        "a null is no id",
        "mistral",
        "mistral-large-4",
        {"messages": [user() | {"tool_call_id": None}]},
        {"messages": [user() | {"tool_call_id": None}]},
        (),
    ),
    *(
        (
            f"{host} sees no marks, at any depth",
            host,
            "x",
            {
                "cache_control": MARK,
                "messages": [
                    {
                        "role": "user",
                        "content": [
                            {
                                "type": "image_url",
                                "image_url": {"url": PNG, "cache_control": MARK},
                                "cache_control": MARK,
                            }
                        ],
                    },
                    {
                        "role": "assistant",
                        "content": "a",
                        "tool_calls": [
                            {"id": "abcDEF123", "type": "function", "function": {"name": "f", "cache_control": MARK}}
                        ],
                    },
                    {"role": "tool", "tool_call_id": "abcDEF123", "content": "t", "cache_control": MARK},
                ],
                "tools": [tool(cache_control=MARK, parameters={"type": "object", "properties": {"cache_control": {}}})],
            },
            {
                "messages": [
                    {"role": "user", "content": [{"type": "image_url", "image_url": {"url": PNG}}]},
                    {
                        "role": "assistant",
                        "content": "a",
                        "tool_calls": [{"id": "abcDEF123", "type": "function", "function": {"name": "f"}}],
                    },
                    {"role": "tool", "tool_call_id": "abcDEF123", "content": "t"},
                ],
                "tools": [tool(parameters={"type": "object", "properties": {"cache_control": {}}})],
            },
            ("cache_control",),
        )
        for host in (
            "openai",
            "azure",
            "azure_v1",
            "deepseek",
            "groq",
            "mistral",
            "together",
            "xai",
            "moonshot",
            "siliconflow",
            "fireworks",
            "deepinfra",
            "cerebras",
            "perplexity",
            "huggingface",
        )
    ),
    (
        "a schema of Moonshot's flavour",
        "moonshot",
        "x",
        {
            "tools": [
                tool(
                    parameters={"type": "object", "properties": {"a": {"type": "string", "anyOf": [{"minLength": 1}]}}}
                )
            ]
        },
        {
            "tools": [
                tool(
                    parameters={"type": "object", "properties": {"a": {"anyOf": [{"type": "string", "minLength": 1}]}}}
                )
            ]
        },
        (),
    ),
    (
        "strict hosts see nothing of other providers",
        "openai",
        "gpt-4o",
        {
            "messages": [
                {"role": "user", "content": [{"type": "text", "text": "a", "cache_control": {"type": "ephemeral"}}]},
                {"role": "assistant", "content": "b", "thinking_blocks": [1], "reasoning_content": "r"}
                | {"tool_calls": [call("c", index=0, extra_content={"google": {}})]},
                {"role": "tool", "tool_call_id": "c", "content": "t"},
            ],
            "tools": [tool() | {"cache_control": {"type": "ephemeral"}}],
        },
        {
            "messages": [
                {"role": "user", "content": [{"type": "text", "text": "a"}]},
                {"role": "assistant", "content": "b", "tool_calls": [call("c")]},
                {"role": "tool", "tool_call_id": "c", "content": "t"},
            ],
            "tools": [tool()],
        },
        (),
    ),
]


@pytest.mark.parametrize(("title", "host", "model", "body", "there", "names"), CASES, ids=[c[0] for c in CASES])
def test_a_request_as_a_host_takes_it(
    title: str, host: str, model: str, body: Json, there: Json, names: tuple[str, ...]
) -> None:
    request = {"model": "public", "messages": [user()]} | body
    before = copy.deepcopy(request)
    upstream = to(host, model)
    edited, changed = build(request, upstream)
    assert edited == {"model": model, "messages": [user()]} | there
    assert list(changed) == list(names)
    assert request == before
    if not needs_responses(request, upstream):  # what a host takes is not edited again
        assert build(edited, upstream)[0] == edited


DEEP: Json = {"type": "object"}
for _ in range(70):
    DEEP = {"anyOf": [DEEP]}
REFUSED: list[tuple[str, str, Json, type[Failure], str]] = [
    ("groq", "x", {"n": 2}, Unsupported, "n"),
    ("groq", "x", {"logprobs": True}, Unsupported, "logprobs"),
    ("ollama", "x", {"n": 2}, Unsupported, "n"),
    ("mistral", "x", {"modalities": ["text", "audio"]}, Unsupported, "modalities"),
    ("openai", "gpt-5", {"logprobs": True}, Unsupported, "logprobs"),
    ("openai", "gpt-5.2", {"top_logprobs": 3, "reasoning_effort": "high"}, Unsupported, "top_logprobs"),
    ("openai", "o3", {"stop": ["\n"]}, Unsupported, "stop"),
    ("azure", "gpt-6-astra", {"tools": [tool()]}, Unsupported, "tools"),
    ("deepseek", "x", {"tools": [tool(), {"type": "custom", "custom": {"name": "c"}}]}, Unsupported, "tools[1].type"),
    ("ollama", "x", {"messages": [user(), picture(GIF)]}, BadRequest, "messages[1].content[0].image_url.url"),
    ("groq", "x", {"tools": [tool()], "tool_choice": {"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": []}}},
     BadRequest, "tool_choice.allowed_tools.tools"),
    ("openai", "x", {"tools": [tool(parameters={"anyOf": [{"anyOf": [DEEP]}]})]}, BadRequest, "tools[0].function.parameters"),
]  # fmt: skip


@pytest.mark.parametrize(("host", "model", "body", "kind", "param"), REFUSED)
def test_what_would_be_misread_is_refused(host: str, model: str, body: Json, kind: type[Failure], param: str) -> None:
    with pytest.raises(kind) as refused:
        build({"model": "m", "messages": [user()]} | body, to(host, model))
    assert refused.value.param == param


RESPONSES: list[tuple[str, str, Json, bool]] = [
    ("openai", "gpt-5.6-terra", {"tools": [tool()], "reasoning_effort": "low"}, True),
    ("openai", "gpt-5.6-terra", {"tools": [tool()], "reasoning_effort": "none"}, False),
    ("openai", "gpt-5.6-terra", {"tools": [tool()]}, True),
    ("openai", "gpt-5.6-terra", {"tools": [tool()], "logprobs": True}, False),
    ("azure", "gpt-5.6-terra", {"tools": [tool()]}, False),
    ("openai", "gpt-5.6-terra", {"reasoning_effort": "low"}, False),
    ("openai", "gpt-5.4", {"tools": [tool()], "reasoning_effort": "low"}, True),
    ("openai", "gpt-5.2", {"tools": [tool()], "reasoning_effort": "low"}, False),
    ("openai", "gpt-6-astra", {"tools": [tool()]}, True),
    ("openai", "gpt-6.1-sol", {"tools": [tool()], "reasoning_effort": "none"}, True),
    ("openai", "gpt-6-astra", {"tools": [{"type": "custom", "custom": {"name": "c"}}]}, False),
    ("openai", "gpt-6-astra", {}, False),
    ("openai", "gpt-5.5-pro", {}, True),
    ("openai", "gpt-7-nova", {"tools": [tool()]}, True),
    ("azure", "gpt-6-astra", {"tools": [tool()]}, False),
    ("azure_v1", "gpt-6-astra", {"tools": [tool()]}, True),
    ("openrouter", "openai/gpt-6-astra", {"tools": [tool()]}, False),
]


@pytest.mark.parametrize(("host", "model", "body", "expected"), RESPONSES)
def test_what_only_responses_can_serve(host: str, model: str, body: Json, expected: bool) -> None:
    assert needs_responses({"model": "m", "messages": [user()]} | body, to(host, model)) is expected


def test_a_request_is_shared_not_copied() -> None:
    body = {"model": "m", "messages": [user(str(n)) for n in range(5)], "tools": [tool()]}
    for host in ("openrouter", "openai", "deepseek"):
        edited, _ = build(body, to(host, "gpt-4o"))
        assert all(new is old for new, old in zip(edited["messages"], body["messages"], strict=True))
        assert edited["tools"] is body["tools"]


def test_the_client_may_not_see_reasoning() -> None:
    hidden = replace(to("groq", "openai/gpt-oss-120b"), reasoning=False)
    assert build({"model": "m", "messages": [user()]}, hidden)[0] == {
        "model": "openai/gpt-oss-120b",
        "messages": [user()],
    }


def test_nine() -> None:
    assert (mistral_id("abcDEF123"), len(mistral_id("call_abcdef123"))) == ("abcDEF123", 9)
    assert mistral_id("call_1") == mistral_id("call_1") != mistral_id("call_2")
    assert all(re.fullmatch("[A-Za-z0-9]{9}", mistral_id(text)) for text in ("", "call_1", "ü", "\ud83d", "x" * 99))


# Parameters with values that hosts disagree about.
bodies = st.fixed_dictionaries(
    {"messages": st.sampled_from([[user()], TOOL_TURNS, [picture(PNG)], [picture("https://a.test/a.png")]])},
    optional={
        "max_tokens": st.just(5),
        "max_completion_tokens": st.just(6),
        "temperature": st.sampled_from([0, 1, 2]),
        "top_p": st.sampled_from([0.5, 1]),
        "n": st.sampled_from([1, 2]),
        "seed": st.just(1),
        "logprobs": st.booleans(),
        "stop": st.just(["x"]),
        "reasoning_effort": st.sampled_from(EFFORTS),
        "response_format": st.sampled_from([{"type": "text"}, {"type": "json_object"}, SCHEMA]),
        "tools": st.lists(st.sampled_from([tool(), tool("g", strict=True)]), min_size=1),
        "tool_choice": st.sampled_from(["auto", "none", "required", named("f")]),
        "parallel_tool_calls": st.booleans(),
        "stream": st.booleans(),
        "store": st.booleans(),
        "unknown": st.just({"a": [1]}),
    },
)
names = ["gpt-4o", "gpt-5", "gpt-5.6-terra", "gpt-6-astra", "o3", "deepseek-flash", "openai/gpt-oss-120b", "x"]


@settings(max_examples=150, deadline=None)
@given(
    body=bodies,
    host=st.sampled_from([name for name in HOSTS if HOSTS[name].protocol == "openai"]),
    model=st.sampled_from(names),
)
def test_every_row_keeps_its_promises(body: Json, host: str, model: str) -> None:
    upstream = to(host, model)
    before = copy.deepcopy(body)
    try:
        edited, changed = build({"model": "m"} | body, upstream)
    except Unsupported as refused:
        assert refused.param
        return
    finally:
        assert body == before
    row, facts = upstream.host, upstream.facts
    assert edited["unknown" if "unknown" in body else "model"] == ({"a": [1]} if "unknown" in body else model)
    assert set(changed) <= set(body) | {"reasoning_effort"}
    assert not set(row.drop) & set(edited)
    assert not set(row.rename) & set(edited)
    assert not ({"n", "logprobs"} & set(row.refuse) & set(edited))
    if "max_tokens" in body or "max_completion_tokens" in body:
        limits = {"max_tokens", "max_completion_tokens"} & set(edited)
        assert limits == ({"max_tokens", "max_completion_tokens"} & set(body)) or len(limits) == 1
    if facts.efforts and "reasoning_effort" in edited:
        assert edited["reasoning_effort"] in {*facts.efforts, *row.efforts.values()}
    for message in edited["messages"]:
        assert not row.strip & set(message)
        assert message["role"] not in row.roles
        assert row.null_content or message["content"] is not None
        for made in message.get("tool_calls", ()):
            assert row.tool_ids == "any" or re.fullmatch("[A-Za-z0-9]{9}", made["id"])


@pytest.mark.parametrize("name", HOSTS)
def test_a_row_is_well_formed(name: str) -> None:
    host = HOSTS[name]
    assert re.fullmatch(r"[a-z][a-z0-9_]*", name)
    assert host.protocol in ("openai", "anthropic", "gemini", "echo")
    own = name in ("azure", "azure_v1", "cloudflare", "databricks")  # each user has another address
    if not own and name != "echo":
        assert re.fullmatch(r"https?://[a-z0-9.:/_-]+[a-z0-9]", host.base_url)
    if host.free:
        assert not host.key_variable
        assert host.base_url.startswith("http://127.0.0.1:") or name == "echo"
    else:
        assert re.fullmatch(r"[A-Z][A-Z_]+_(API_KEY|SECRET_KEY|TOKEN)", host.key_variable)
        assert host.base_url.startswith("https://") or own
    assert re.fullmatch(r"[A-Za-z-]+: .*\{key\}", host.auth)
    assert len({*host.drop}) == len(host.drop)
    assert not {*host.drop} & {*host.refuse}
    assert not {*host.drop, *host.refuse} & {*host.rename, *host.rename.values(), *host.clamp}
    assert {*host.efforts, *host.efforts.values()} <= {*EFFORTS}
    assert not {"messages", "model", "tools", "stream", "response_format"} & {*host.drop, *host.refuse, *host.rename}
    assert host.reasoning_key not in host.strip
    assert not host.reasoning_back or host.reasoning_key
    assert not host.images or host.inline_images
    assert host.responses <= host.openai_rules
    if host.tool_names:
        assert re.fullmatch(host.tool_names, "get_weather-2") and not re.fullmatch(host.tool_names, "a.b")
        assert re.fullmatch(host.tool_names, "a" * 64) and not re.fullmatch(host.tool_names, "a" * 65)
    assert set(host.tool_choice) <= {"auto", "none", "required"}
    assert "developer" not in host.roles.values()
    # what config.yaml says of a host is read into the same shape: every field must survive that
    assert msgspec.convert(msgspec.to_builtins(host), Host) == host


def test_all_hosts_are_there() -> None:
    assert list(HOSTS) == [
        *("openai", "azure", "azure_v1", "deepseek", "groq", "mistral", "openrouter", "together", "xai", "moonshot"),
        *("zhipu", "dashscope", "siliconflow", "fireworks", "deepinfra", "cerebras", "perplexity", "huggingface"),
        *(
            "cohere",
            "minimax",
            "qianfan",
            "volcengine",
            "hunyuan",
            "tokenhub",
            "stepfun",
            "spark",
            "baichuan",
            "modelscope",
        ),
        *(
            "nebius",
            "novita",
            "sambanova",
            "hyperbolic",
            "nvidia",
            "scaleway",
            "github",
            "vercel",
            "cloudflare",
            "databricks",
        ),
        *("ollama", "vllm", "llamacpp", "lmstudio", "anthropic", "gemini", "echo"),
    ]


URLS: list[tuple[str, Callable[[], str], str]] = [
    ("openai", lambda: endpoint(HOSTS["openai"], "https://api.openai.com/v1/", "gpt-4o"), "https://api.openai.com/v1/chat/completions"),
    ("embeddings", lambda: endpoint(HOSTS["openai"], "https://h/v1", "m", "embeddings"), "https://h/v1/embeddings"),
    (
        "azure",
        lambda: endpoint(HOSTS["azure"], "https://n.openai.azure.com", "my gpt/4"),
        "https://n.openai.azure.com/openai/deployments/my%20gpt%2F4/chat/completions?api-version=2024-10-21",
    ),
    ("azure v1", lambda: endpoint(HOSTS["azure_v1"], "https://n/openai/v1", "m"), "https://n/openai/v1/chat/completions"),
    ("anthropic", lambda: endpoint(HOSTS["anthropic"], "https://a/v1", "m", "messages"), "https://a/v1/messages"),
    (
        "gemini",
        lambda: endpoint(HOSTS["gemini"], "https://g/v1beta", "gemini-4-argon", "streamGenerateContent"),
        "https://g/v1beta/models/gemini-4-argon:streamGenerateContent",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("url", "expected"), [(url, expected) for _, url, expected in URLS], ids=[u[0] for u in URLS])
def test_where_a_call_goes(url: Callable[[], str], expected: str) -> None:
    assert url() == expected


def test_how_a_key_travels() -> None:
    headers = {name: key_header(HOSTS[name], "k{e}y") for name in ("openai", "azure", "anthropic", "gemini")}
    assert headers == {
        "openai": {"Authorization": "Bearer k{e}y"},
        "azure": {"api-key": "k{e}y"},
        "anthropic": {"x-api-key": "k{e}y"},
        "gemini": {"x-goog-api-key": "k{e}y"},
    }
    assert key_header(HOSTS["ollama"], "") == {}


SO_FAR = {"role": "assistant", "content": "It is "}
PREFIXED, PARTIAL, UNMARKED = SO_FAR | {"prefix": True}, SO_FAR | {"partial": True}, SO_FAR | {"prefix": False}
GO_ON = user("Continue.")
# host, model, base URL, the client's last message → the messages that end the conversation there, and other fields
ENDS: list[tuple[str, str, str, Json, list[Json], Json]] = [
    ("openai", "gpt-4o", "", SO_FAR, [SO_FAR], {}),
    ("openai", "gpt-4o", "", PREFIXED, [SO_FAR], {}),
    ("groq", "llama-3.3-70b", "", PARTIAL, [SO_FAR], {}),
    ("mistral", "mistral-large", "", SO_FAR, [PREFIXED], {}),
    ("mistral", "mistral-large", "", UNMARKED, [PREFIXED], {}),
    ("mistral", "mistral-large", "", PARTIAL, [PREFIXED], {}),
    ("deepseek", "deepseek-flash", "https://api.deepseek.com", SO_FAR, [SO_FAR, GO_ON], {}),
    ("deepseek", "deepseek-flash", "https://api.deepseek.com/beta/", SO_FAR, [PREFIXED], {}),
    ("deepseek", "deepseek-flash", "https://api.deepseek.com/beta", PARTIAL, [PREFIXED], {}),
    ("moonshot", "kimi-k2", "", SO_FAR, [SO_FAR], {}),
    ("moonshot", "kimi-k2", "", PREFIXED, [PARTIAL], {}),
    ("dashscope", "qwen-plus", "", PREFIXED, [PARTIAL], {}),
    ("dashscope", "qwen-plus", "", PARTIAL, [PARTIAL], {}),
    ("perplexity", "sonar", "", PREFIXED, [SO_FAR, GO_ON], {}),
    ("vllm", "qwen3", "", SO_FAR, [SO_FAR], {}),
    ("vllm", "qwen3", "", PREFIXED, [SO_FAR], {"continue_final_message": True, "add_generation_prompt": False}),
    ("openrouter", "anthropic/claude-opus-4.6", "", SO_FAR, [SO_FAR, GO_ON], {}),
    ("openrouter", "anthropic/claude-haiku-4.5", "", SO_FAR, [SO_FAR], {}),
]


@pytest.mark.parametrize("host, model, base_url, last, ends, fields", ENDS)
def test_a_conversation_that_ends_with_the_assistants_words(
    host: str, model: str, base_url: str, last: Json, ends: list[Json], fields: Json
):
    body = {"messages": [user(), last]}
    before = copy.deepcopy(body)
    made, _ = build(body, replace(to(host, model), base_url=base_url))
    assert made == {"model": model, "messages": [user(), *ends]} | fields
    assert body == before


def test_deepseek_takes_the_assistants_words_while_it_does_not_think():
    made, _ = build({"messages": [user(), SO_FAR], "reasoning_effort": "none"}, to("deepseek", "deepseek-flash"))
    assert made["messages"] == [user(), SO_FAR]


def test_calls_are_no_words_of_the_assistants():
    asked = [user(), {"role": "assistant", "content": "x", "tool_calls": [call("abcDEF123")]}]
    made, _ = build({"messages": asked}, to("mistral", "mistral-large"))
    assert made["messages"] == asked
