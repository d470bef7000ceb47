"""OpenAI request → Claude request: the acceptance cases 14 to 41, each with its whole upstream body."""

import base64
import copy
import hashlib
from typing import Any, NamedTuple

import claude_facts as facts
import claude_requests
import pytest
from translators import translator_of

from providers import Upstream, anthropic
from providers.chunks import collect
from providers.errors import BadRequest, Unsupported
from providers.hosts import PLAIN
from providers.models import ModelFacts
from providers.sse import Event

Json = dict[str, Any]

HI: Json = {"role": "user", "content": "x"}
F: Json = {"type": "function", "function": {"name": "f", "description": "does f", "parameters": {"type": "object"}}}
G: Json = {"type": "function", "function": {"name": "g"}}
CLAUDE_F: Json = {"name": "f", "description": "does f", "input_schema": {"type": "object", "properties": {}}}
CLAUDE_G: Json = {"name": "g", "input_schema": {"type": "object", "properties": {}}}
SIGNED: Json = {"type": "thinking", "thinking": "想一想\u2028…", "signature": "c2ln"}
JPEG = base64.b64encode(b"\xff\xd8\xff\xe0" + bytes(60)).decode()
PDF = base64.b64encode(b"%PDF-1.7 " + bytes(60)).decode()


def text(*texts: str) -> list[Json]:
    return [{"type": "text", "text": one} for one in texts]


def user(*texts: str) -> Json:
    return {"role": "user", "content": text(*texts)}


def assistant(*texts: str) -> Json:
    return {"role": "assistant", "content": text(*texts)}


def call(id: str = "call_1", name: str = "f", arguments: str = "{}") -> Json:
    return {"id": id, "type": "function", "function": {"name": name, "arguments": arguments}}


def use(id: str = "call_1", name: str = "f", **given: Any) -> Json:
    return {"type": "tool_use", "id": id, "name": name, "input": given}


def tool(id: str = "call_1", content: Any = "ok") -> Json:
    return {"role": "tool", "tool_call_id": id, "content": content}


def result(id: str = "call_1", content: Any = "ok") -> Json:
    return {"type": "tool_result", "tool_use_id": id, "content": content}


def to(model: ModelFacts, **options: Any) -> Upstream:
    return Upstream("anthropic", "claude", "https://api.test", "key", facts=model, options=options)


class Case(NamedTuple):
    """A request and the whole body it becomes, but for model, stream, and max_tokens where the model's own is meant."""

    id: str
    asked: Json
    expected: Json
    dropped: tuple[str, ...] = ()
    model: ModelFacts = facts.HAIKU_4_5


def history(id: str, messages: list[Json], expected: list[Json], model: ModelFacts = facts.HAIKU_4_5) -> Case:
    """A case about messages: whoever calls tools has f and g."""
    tools = {"tools": [F, G]} if any(message.get("tool_calls") for message in messages) else {}
    claude = {"tools": [CLAUDE_F, CLAUDE_G]} if tools else {}
    return Case(id, {"messages": messages, **tools}, {"messages": expected, **claude}, model=model)


def params(id: str, asked: Json, expected: Json, model: ModelFacts, *dropped: str) -> Case:
    """A case about parameters: the conversation is one word."""
    return Case(id, {"messages": [HI], **asked}, {"messages": [user("x")], **expected}, dropped, model)


def form(schema: Json, **more: Any) -> Json:
    return {"response_format": {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema, **more}}}


NODE: Json = {
    "type": "object",
    "properties": {"next": {"anyOf": [{"$ref": "#/$defs/Node"}, {"type": "null"}]}},
    "required": ["next"],
}
RECURSIVE: Json = {"$ref": "#/$defs/Node", "$defs": {"Node": NODE}}
RANGED: Json = {
    "$schema": "http://json-schema.org/draft-07/schema#",
    "type": "object",
    "properties": {
        "n": {"type": "integer", "minimum": 1, "maximum": 9, "description": "数"},
        "at": {"type": "string", "format": "date-time"},
        "re": {"type": "string", "pattern": "^a", "format": "regex"},
        "one": {"oneOf": [{"type": "string"}, {"type": "null"}]},
        "all": {"type": "array", "items": {"type": "object", "properties": {"x": {"const": 1}}}, "minItems": 2},
    },
    "required": ["n", "at", "re", "one"],
}
CLEANED: Json = {
    "type": "object",
    "properties": {
        "n": {"type": "integer", "description": "数\n\n{minimum: 1, maximum: 9}"},
        "at": {"type": "string", "format": "date-time"},
        "re": {"type": "string", "description": "{pattern: ^a, format: regex}"},
        "one": {"anyOf": [{"type": "string"}, {"type": "null"}]},
        "all": {
            "type": "array",
            "items": {"type": "object", "properties": {"x": {"const": 1}}, "additionalProperties": False},
            "description": "{minItems: 2}",
        },
    },
    "required": ["n", "at", "re", "one"],
    "additionalProperties": False,
}

MESSAGES = [
    Case(
        "14 leading system and developer",
        {"messages": [{"role": "system", "content": "A"}, {"role": "developer", "content": "B"}, HI]},
        {"system": "A\n\nB", "messages": [user("x")]},
    ),
    Case(
        "14 system parts, marked for the cache",
        {
            "messages": [
                {"role": "system", "content": [*text("A"), {**text("B")[0], "cache_control": {"type": "ephemeral"}}]},
                HI,
            ]
        },
        {
            "system": [*text("A"), {"type": "text", "text": "B", "cache_control": {"type": "ephemeral"}}],
            "messages": [user("x")],
        },
    ),
    history(
        "15 system between turns",
        [
            {"role": "user", "content": "u1"},
            {"role": "assistant", "content": "a1"},
            {"role": "system", "content": "S"},
            {"role": "user", "content": "u2"},
        ],
        [user("u1"), assistant("a1"), user("<system>\nS\n</system>", "u2")],
    ),
    history(
        "15 system between call and result goes behind the result",
        [HI, {"role": "assistant", "tool_calls": [call()]}, {"role": "system", "content": "S"}, tool()],
        [
            user("x"),
            {"role": "assistant", "content": [use()]},
            {"role": "user", "content": [result(), *text("<system>\nS\n</system>")]},
        ],
    ),
    history("16 only system", [{"role": "system", "content": "A"}], [user("A")]),
    Case(
        "16 two systems, nothing else",
        {"messages": [{"role": "system", "content": "A"}, {"role": "system", "content": "B"}]},
        {"system": "A", "messages": [user("B")]},
    ),
    history("17 user, user", [HI, {"role": "user", "content": "y"}], [user("x", "y")]),
    history(
        "18 assistant first",
        [{"role": "assistant", "content": "a"}, HI],
        [user("(conversation start)"), assistant("a"), user("x")],
    ),
    history(
        "19 prefill", [HI, {"role": "assistant", "content": "Sure: "}], [user("x"), assistant("Sure:")], facts.HAIKU_4_5
    ),
    history(
        "19 no prefill",
        [HI, {"role": "assistant", "content": "Sure: "}],
        [user("x"), assistant("Sure: "), user("Continue.")],
        facts.OPUS_5_5,
    ),
    history("20 empty user", [{"role": "user", "content": ""}], [user("(empty message)")]),
    history(
        "20 blank parts",
        [{"role": "user", "content": text(" \n", "x", "")}, {"role": "assistant", "content": " "}, HI],
        [user("x", "x")],
    ),
    history(
        "21 empty text beside a call",
        [HI, {"role": "assistant", "content": "", "tool_calls": [call()]}, tool()],
        [user("x"), {"role": "assistant", "content": [use()]}, {"role": "user", "content": [result()]}],
    ),
    history(
        "22 no arguments",
        [HI, {"role": "assistant", "content": None, "tool_calls": [call(arguments="")]}, tool()],
        [user("x"), {"role": "assistant", "content": [use()]}, {"role": "user", "content": [result()]}],
    ),
    history(
        "23 arguments that are no object",
        [
            HI,
            {
                "role": "assistant",
                "tool_calls": [call("a", "f", "{bad"), call("b", "f", "[1]"), call("c", "f", '{"北":"\\n\u2028"}')],
            },
            *(tool(id) for id in "abc"),
        ],
        [
            user("x"),
            {
                "role": "assistant",
                "content": [
                    use("a", _raw_arguments="{bad"),
                    use("b", _raw_arguments="[1]"),
                    use("c", 北="\n\u2028"),
                ],
            },
            {"role": "user", "content": [result(id) for id in "abc"]},
        ],
    ),
    history(
        "24 ids",
        [HI, {"role": "assistant", "tool_calls": [call("call|1:x")]}, tool("call|1:x")],
        [
            user("x"),
            {"role": "assistant", "content": [use("call_1_x_6cd491")]},
            {"role": "user", "content": [result("call_1_x_6cd491")]},
        ],
    ),
    history(
        "24 ids used again in a later turn",
        [HI, *([{"role": "assistant", "tool_calls": [call("f:0")]}, tool("f:0")] * 2)],
        [
            user("x"),
            {"role": "assistant", "content": [use("f_0_d1dda5")]},
            {"role": "user", "content": [result("f_0_d1dda5")]},
            {"role": "assistant", "content": [use("f_0_d1dda5_2")]},
            {"role": "user", "content": [result("f_0_d1dda5_2")]},
        ],
    ),
    history(
        "25 results in call order, then text",
        [
            HI,
            {"role": "assistant", "tool_calls": [call("call_1"), call("call_2", "g")]},
            tool("call_2", "二"),
            tool("call_1", "一"),
            {"role": "user", "content": "go"},
        ],
        [
            user("x"),
            {"role": "assistant", "content": [use("call_1"), use("call_2", "g")]},
            {"role": "user", "content": [result("call_1", "一"), result("call_2", "二"), *text("go")]},
        ],
    ),
    history(
        "26 result contents",
        [
            HI,
            {"role": "assistant", "tool_calls": [call("a"), call("b"), call("c")]},
            tool("a", ""),
            tool("b", text("a", "b")),
            tool("c", [{"type": "image_url", "image_url": {"url": "https://x.test/a.png"}}]),
        ],
        [
            user("x"),
            {"role": "assistant", "content": [use("a"), use("b"), use("c")]},
            {
                "role": "user",
                "content": [
                    {"type": "tool_result", "tool_use_id": "a"},
                    result("b", text("a", "b")),
                    result("c", [{"type": "image", "source": {"type": "url", "url": "https://x.test/a.png"}}]),
                ],
            },
        ],
    ),
    history(
        "40 images",
        [
            {
                "role": "user",
                "content": [
                    {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{JPEG}", "detail": "high"}},
                    {"type": "image_url", "image_url": {"url": "https://x.test/图.webp"}},
                ],
            }
        ],
        [
            {
                "role": "user",
                "content": [
                    {"type": "image", "source": {"type": "base64", "media_type": "image/jpeg", "data": JPEG}},
                    {"type": "image", "source": {"type": "url", "url": "https://x.test/图.webp"}},
                ],
            }
        ],
    ),
    history(
        "40 files",
        [
            {
                "role": "user",
                "content": [
                    {"type": "file", "file": {"file_data": f"data:application/pdf;base64,{PDF}", "filename": "a.pdf"}},
                    {
                        "type": "file",
                        "file": {"file_data": "data:text/plain;base64," + base64.b64encode("你好".encode()).decode()},
                    },
                ],
            }
        ],
        [
            {
                "role": "user",
                "content": [
                    {
                        "type": "document",
                        "source": {"type": "base64", "media_type": "application/pdf", "data": PDF},
                        "title": "a.pdf",
                    },
                    {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "你好"}},
                ],
            }
        ],
    ),
    Case(
        "41 tool blocks without tools",
        {"messages": [HI, {"role": "assistant", "tool_calls": [call()]}, tool()]},
        {
            "messages": [
                user("x"),
                {"role": "assistant", "content": [use()]},
                {"role": "user", "content": [result()]},
            ],
            "tools": [
                {
                    "name": "noop",
                    "description": "Not to be called.",
                    "input_schema": {"type": "object", "properties": {}},
                }
            ],
            "tool_choice": {"type": "none"},
        },
    ),
    Case(
        "cache_control on message, call, result and tool",
        {
            "messages": [
                {"role": "user", "content": "x", "cache_control": {"type": "ephemeral"}},
                {"role": "assistant", "tool_calls": [{**call(), "cache_control": {"type": "ephemeral", "ttl": "1h"}}]},
                {**tool(), "cache_control": {"type": "ephemeral"}},
            ],
            "tools": [{**F, "cache_control": {"type": "ephemeral"}}],
        },
        {
            "messages": [
                {"role": "user", "content": [{**text("x")[0], "cache_control": {"type": "ephemeral"}}]},
                {"role": "assistant", "content": [{**use(), "cache_control": {"type": "ephemeral", "ttl": "1h"}}]},
                {"role": "user", "content": [{**result(), "cache_control": {"type": "ephemeral"}}]},
            ],
            "tools": [{**CLAUDE_F, "cache_control": {"type": "ephemeral"}}],
        },
    ),
    history(
        "refusals are text",
        [
            HI,
            {"role": "assistant", "content": None, "refusal": "no"},
            HI,
            {"role": "assistant", "content": [{"type": "refusal", "refusal": "no"}]},
            HI,
        ],
        [user("x"), assistant("no"), user("x"), assistant("no"), user("x")],
    ),
]

PARAMS = [
    params("27 no limit, opus-5-5", {}, {"max_tokens": 128_000}, facts.OPUS_5_5),
    params("27 no limit, haiku-4-5", {}, {"max_tokens": 64_000}, facts.HAIKU_4_5),
    params("27 no limit, older model", {}, {"max_tokens": 4096}, facts.OPUS_4),
    params("27 no limit, unknown model", {}, {"max_tokens": 4096}, facts.UNKNOWN),
    params("27 clamped", {"max_tokens": 999_999}, {"max_tokens": 64_000}, facts.HAIKU_4_5, "max_tokens"),
    params("27 either name", {"max_completion_tokens": 5}, {"max_tokens": 5}, facts.HAIKU_4_5),
    params("28 clamped", {"temperature": 1.7}, {"temperature": 1.0}, facts.HAIKU_4_5, "temperature"),
    params("28 not taken", {"temperature": 1.7}, {}, facts.SONNET_5_5, "temperature"),
    params("28 the default asks for nothing", {"temperature": 1, "top_p": 1}, {}, facts.SONNET_5_5),
    params("29 both", {"temperature": 0.5, "top_p": 0.9}, {"temperature": 0.5}, facts.OPUS_4_6, "top_p"),
    params("29 both, one default", {"temperature": 1, "top_p": 0.9}, {"top_p": 0.9}, facts.OPUS_4_6),
    params("29 both, clamped", {"temperature": 2, "top_p": 1}, {"temperature": 1.0}, facts.OPUS_4_6, "temperature"),
    params(
        "30 dropped",
        {"seed": 1, "logit_bias": {"1": 2}, "presence_penalty": 1, "verbosity": "low", "new_2027": True},
        {},
        facts.HAIKU_4_5,
        *("seed", "logit_bias", "presence_penalty", "verbosity", "new_2027"),
    ),
    params(
        "30 idle values are no drops",
        {"n": 1, "logprobs": False, "presence_penalty": 0, "store": False, "modalities": ["text"], "logit_bias": {}},
        {},
        facts.HAIKU_4_5,
    ),
    params("31 stop", {"stop": ["\n", "END"]}, {"stop_sequences": ["END"]}, facts.HAIKU_4_5, "stop"),
    params("31 stop, one", {"stop": "END"}, {"stop_sequences": ["END"]}, facts.HAIKU_4_5),
    *(
        params(
            f"32 {name}",
            asked,
            {"metadata": {"user_id": hashlib.sha256(b"a@b.c").hexdigest()}},
            facts.HAIKU_4_5,
            *dropped,
        )
        for name, asked, dropped in (
            ("user", {"user": "a@b.c"}, ()),
            ("safety_identifier", {"safety_identifier": "a@b.c"}, ()),
            ("metadata", {"metadata": {"user_id": "a@b.c", "team": "t"}}, ("metadata",)),
        )
    ),
    params("32 tier", {"service_tier": "default"}, {"service_tier": "standard_only"}, facts.HAIKU_4_5),
    params("32 tier not there", {"service_tier": "flex"}, {}, facts.HAIKU_4_5, "service_tier"),
    params(
        "33 required, serial",
        {"tools": [F], "tool_choice": "required", "parallel_tool_calls": False},
        {"tools": [CLAUDE_F], "tool_choice": {"type": "any", "disable_parallel_tool_use": True}},
        facts.HAIKU_4_5,
    ),
    params(
        "33 none, serial",
        {"tools": [F], "tool_choice": "none", "parallel_tool_calls": False},
        {"tools": [CLAUDE_F], "tool_choice": {"type": "none"}},
        facts.HAIKU_4_5,
    ),
    params(
        "33 serial alone",
        {"tools": [F], "parallel_tool_calls": False},
        {"tools": [CLAUDE_F], "tool_choice": {"type": "auto", "disable_parallel_tool_use": True}},
        facts.HAIKU_4_5,
    ),
    params("33 a choice among no tools", {"tool_choice": "auto"}, {}, facts.HAIKU_4_5),
    params("33 serial without tools", {"parallel_tool_calls": False}, {}, facts.HAIKU_4_5),
    params(
        "34 named, forced",
        {"tools": [F, G], "tool_choice": {"type": "function", "function": {"name": "f"}}},
        {"tools": [CLAUDE_F, CLAUDE_G], "tool_choice": {"type": "tool", "name": "f"}},
        facts.HAIKU_4_5,
    ),
    params(
        "34 named, forcing refused",
        {"tools": [F, G], "tool_choice": {"type": "function", "function": {"name": "f"}}},
        {
            "system": "You must answer by calling the tool f.",
            "tools": [CLAUDE_F],
            "tool_choice": {"type": "auto"},
        },
        facts.OPUS_5_5,
        "tool_choice",
    ),
    params(
        "34 required, forcing refused",
        {"tools": [F, G], "tool_choice": "required"},
        {
            "system": "You must answer by calling one of the tools.",
            "tools": [CLAUDE_F, CLAUDE_G],
            "tool_choice": {"type": "auto"},
        },
        facts.OPUS_5_5,
        "tool_choice",
    ),
    params(
        "34 named while thinking on a budget",
        {
            "tools": [F, G],
            "tool_choice": {"type": "function", "function": {"name": "f"}},
            "reasoning_effort": "minimal",
        },
        {
            "system": "You must answer by calling the tool f.",
            "tools": [CLAUDE_F],
            "tool_choice": {"type": "auto"},
            "thinking": {"type": "enabled", "budget_tokens": 1024},
        },
        facts.HAIKU_4_5,
        "tool_choice",
    ),
    params(
        "11 allowed_tools",
        {
            "tools": [F, G],
            "tool_choice": {
                "type": "allowed_tools",
                "allowed_tools": {"mode": "required", "tools": [{"type": "function", "function": {"name": "f"}}]},
            },
        },
        {"tools": [CLAUDE_F], "tool_choice": {"type": "any"}},
        facts.HAIKU_4_5,
    ),
    params(
        "35 json_schema",
        form(RANGED),
        {"output_config": {"format": {"type": "json_schema", "schema": CLEANED}}},
        facts.SONNET_5_5,
    ),
    params(
        "36 recursive: a forced tool",
        form(RECURSIVE, description="a list"),
        {
            "tools": [
                {"name": "json_response", "description": "a list", "input_schema": {**NODE, "$defs": {"Node": NODE}}}
            ],
            "tool_choice": {"type": "tool", "name": "json_response"},
        },
        facts.HAIKU_4_5,
        "response_format",
    ),
    params(
        "36 recursive: asked for",
        form(RECURSIVE),
        {
            "system": "You must answer by calling the tool json_response.",
            "tools": [
                {
                    "name": "json_response",
                    "description": "Give the answer by calling this tool.",
                    "input_schema": {**NODE, "$defs": {"Node": NODE}},
                }
            ],
            "tool_choice": {"type": "auto"},
        },
        facts.OPUS_5_5,
        "response_format",
    ),
    params(
        "36 older model, beside a tool",
        {"tools": [F], **form({"type": "object", "properties": {"a": {"type": "string"}}})},
        {
            "tools": [
                CLAUDE_F,
                {
                    "name": "json_response",
                    "description": "Give the answer by calling this tool.",
                    "input_schema": {"type": "object", "properties": {"a": {"type": "string"}}},
                },
            ],
            "tool_choice": {"type": "any"},
            "max_tokens": 4096,
        },
        facts.OPUS_4,
        "response_format",
    ),
    params(
        "36 json_object",
        {"response_format": {"type": "json_object"}},
        {"system": "Reply with one JSON object only."},
        facts.HAIKU_4_5,
        "response_format",
    ),
    params(
        "37 manual, budget below max_tokens",
        {"reasoning_effort": "high", "max_completion_tokens": 5000, "temperature": 0.2},
        {"max_tokens": 5000, "thinking": {"type": "enabled", "budget_tokens": 4999}},
        facts.HAIKU_4_5,
        "temperature",
    ),
    params(
        "37 manual, legacy max_tokens is the visible part",
        {"reasoning_effort": "high", "max_tokens": 5000},
        {"max_tokens": 21_384, "thinking": {"type": "enabled", "budget_tokens": 16_384}},
        facts.HAIKU_4_5,
    ),
    params(
        "37 manual, legacy max_tokens at the model's limit",
        {"reasoning_effort": "max", "max_tokens": 60_000},
        {"max_tokens": 64_000, "thinking": {"type": "enabled", "budget_tokens": 32_768}},
        facts.HAIKU_4_5,
    ),
    params(
        "37 manual, no room",
        {"reasoning_effort": "low", "max_completion_tokens": 1024},
        {"max_tokens": 1024},
        facts.HAIKU_4_5,
        "reasoning_effort",
    ),
    params(
        "37 manual with effort",
        {"reasoning_effort": "max"},
        {"thinking": {"type": "enabled", "budget_tokens": 32_768}, "output_config": {"effort": "high"}},
        facts.OPUS_4_5,
    ),
    params(
        "37 adaptive",
        {"reasoning_effort": "high"},
        {"thinking": {"type": "adaptive", "display": "summarized"}, "output_config": {"effort": "high"}},
        facts.OPUS_5_5,
    ),
    params(
        "37 adaptive, weakest",
        {"reasoning_effort": "minimal", "temperature": 0.3},
        {"thinking": {"type": "adaptive", "display": "summarized"}, "output_config": {"effort": "low"}},
        facts.OPUS_4_6,
        "reasoning_effort",
        "temperature",
    ),
    params(
        "37 none, sonnet-5-5",
        {"reasoning_effort": "none"},
        {"thinking": {"type": "between_tools"}},
        facts.SONNET_5_5,
        "reasoning_effort",
    ),
    params(
        "37 none, opus-5-5",
        {"reasoning_effort": "none"},
        {"output_config": {"effort": "low"}},
        facts.OPUS_5_5,
        "reasoning_effort",
    ),
    params("37 none, haiku-5-5", {"reasoning_effort": "none"}, {"thinking": {"type": "disabled"}}, facts.HAIKU_5_5),
    params("37 none, manual", {"reasoning_effort": "none"}, {}, facts.HAIKU_4_5),
    params("37 a model that does not think", {"reasoning_effort": "high"}, {}, facts.UNKNOWN, "reasoning_effort"),
    params(
        "38 xhigh on opus-4-6",
        {"reasoning_effort": "xhigh"},
        {"thinking": {"type": "adaptive", "display": "summarized"}, "output_config": {"effort": "max"}},
        facts.OPUS_4_6,
        "reasoning_effort",
    ),
    Case(
        "39 manual, last calls unsigned",
        {
            "messages": [HI, {"role": "assistant", "tool_calls": [call()]}, tool()],
            "tools": [F],
            "reasoning_effort": "high",
            "temperature": 0.5,
        },
        {
            "messages": [
                user("x"),
                {"role": "assistant", "content": [use()]},
                {"role": "user", "content": [result()]},
            ],
            "tools": [CLAUDE_F],
            "temperature": 0.5,
        },
        ("reasoning_effort",),
    ),
    Case(
        "39 manual, last calls signed",
        {
            "messages": [HI, {"role": "assistant", "thinking_blocks": [SIGNED], "tool_calls": [call()]}, tool()],
            "tools": [F],
            "reasoning_effort": "minimal",
        },
        {
            "messages": [
                user("x"),
                {"role": "assistant", "content": [SIGNED, use()]},
                {"role": "user", "content": [result()]},
            ],
            "tools": [CLAUDE_F],
            "thinking": {"type": "enabled", "budget_tokens": 1024},
        },
    ),
    Case(
        "39 manual and prefill do not meet",
        {"messages": [HI, {"role": "assistant", "content": "Sure: "}], "reasoning_effort": "high"},
        {"messages": [user("x"), assistant("Sure:")]},
        ("reasoning_effort",),
    ),
    Case(
        "39 adaptive thinking and prefill do not meet",
        {"messages": [HI, {"role": "assistant", "content": "Sure: "}], "reasoning_effort": "low"},
        {
            "messages": [user("x"), assistant("Sure: "), user("Continue.")],
            "thinking": {"type": "adaptive", "display": "summarized"},
            "output_config": {"effort": "low"},
        },
        model=ModelFacts(thinking=("adaptive",), efforts=("low",)),
    ),
    Case(
        "34 a forced call and prefill do not meet",
        {
            "messages": [HI, {"role": "assistant", "content": "Sure: "}],
            "tools": [F],
            "tool_choice": "required",
        },
        {
            "messages": [user("x"), assistant("Sure: "), user("Continue.")],
            "tools": [CLAUDE_F],
            "tool_choice": {"type": "any"},
        },
    ),
    params(
        "custom tool",
        {"tools": [{"type": "custom", "custom": {"name": "sh", "description": "runs", "format": {"type": "text"}}}]},
        {
            "tools": [
                {
                    "name": "sh",
                    "description": "runs",
                    "input_schema": {
                        "type": "object",
                        "properties": {"input": {"type": "string"}},
                        "required": ["input"],
                    },
                }
            ]
        },
        facts.HAIKU_4_5,
    ),
    params(
        "strict tool",
        {"tools": [{"type": "function", "function": {"name": "f", "parameters": RANGED, "strict": True}}]},
        {"tools": [{"name": "f", "input_schema": CLEANED, "strict": True}]},
        facts.HAIKU_4_5,
    ),
    params(
        "strict tool that cannot be",
        {
            "tools": [
                G,
                {"type": "function", "function": {"name": "f", "parameters": {**RECURSIVE}, "strict": True}},
            ]
        },
        {"tools": [CLAUDE_G, {"name": "f", "input_schema": {**NODE, "$defs": {"Node": NODE}}}]},
        facts.HAIKU_4_5,
        "tools[1].function.strict",
    ),
]


@pytest.mark.parametrize("case", [pytest.param(case, id=case.id) for case in (*MESSAGES, *PARAMS)])
def test_request(case: Case) -> None:
    asked = {"model": "public-name", **case.asked}
    before = copy.deepcopy(asked)
    made = anthropic.build_request(asked, to(case.model))
    limit = case.model.default_output or case.model.max_output or 4096
    expected = {"model": "claude", "max_tokens": limit, **case.expected}
    streamed = bool(case.asked.get("stream")) or expected["max_tokens"] > 21_333
    assert made.body == {**expected, "stream": True} if streamed else expected
    assert made.stream is streamed
    assert made.dropped == case.dropped
    assert asked == before, "the request is never changed"
    claude_requests.validate(made.body)


def part(**fields: Any) -> Json:
    return {"messages": [HI, {"role": "user", "content": [*text("x"), fields]}]}


REFUSED = [
    ("30 n", {"n": 2}, Unsupported, "n", "unsupported_value"),
    ("30 logprobs", {"logprobs": True}, Unsupported, "logprobs", "unsupported_value"),
    ("30 top_logprobs", {"top_logprobs": 2}, Unsupported, "top_logprobs", "unsupported_value"),
    ("30 audio", {"modalities": ["text", "audio"]}, Unsupported, "modalities", "unsupported_value"),
    ("30 web search", {"web_search_options": {"user_location": None}}, Unsupported, "web_search_options", None),
    (
        "40 bmp",
        part(type="image_url", image_url={"url": "data:image/bmp;base64,Qk0="}),
        BadRequest,
        "messages[1].content[1].image_url.url",
        "invalid_image_format",
    ),
    (
        "40 http",
        part(type="image_url", image_url={"url": "http://127.0.0.1/x.png"}),
        BadRequest,
        "messages[1].content[1].image_url.url",
        "invalid_image_url",
    ),
    (
        "40 other scheme",
        part(type="image_url", image_url={"url": "file:///etc/passwd"}),
        BadRequest,
        "messages[1].content[1].image_url.url",
        "invalid_image_url",
    ),
    (
        "40 not base64",
        part(type="image_url", image_url={"url": "data:image/png;base64,***"}),
        BadRequest,
        "messages[1].content[1].image_url.url",
        "invalid_base64",
    ),
    (
        "file_id",
        part(type="file", file={"file_id": "f"}),
        Unsupported,
        "messages[1].content[1].file.file_id",
        None,
    ),
    (
        "other file",
        part(type="file", file={"file_data": "data:application/zip;base64,UEsDBA=="}),
        Unsupported,
        "messages[1].content[1].file.file_data",
        None,
    ),
    (
        "audio in",
        part(type="input_audio", input_audio={"data": "", "format": "wav"}),
        Unsupported,
        "messages[1].content[1].input_audio",
        None,
    ),
    (
        "grammar",
        {"tools": [G, {"type": "custom", "custom": {"name": "c", "format": {"type": "grammar", "grammar": {}}}}]},
        Unsupported,
        "tools[1].custom.format",
        None,
    ),
    (
        "parameters of no object",
        {"tools": [{"type": "function", "function": {"name": "f", "parameters": {"type": "string"}}}]},
        BadRequest,
        "tools[0].function.parameters.type",
        None,
    ),
    (
        "a choice that is no tool",
        {"tools": [F], "tool_choice": {"type": "function", "function": {"name": "h"}}},
        BadRequest,
        "tool_choice",
        None,
    ),
    (
        "answer of no object, model without grammar",
        form({"type": "array", "items": {}}),
        Unsupported,
        "response_format.json_schema.schema.type",
        None,
    ),
]


@pytest.mark.parametrize(("asked", "kind", "param", "code"), [pytest.param(*row[1:], id=row[0]) for row in REFUSED])
def test_refused(asked: Json, kind: type[BadRequest], param: str, code: str | None) -> None:
    with pytest.raises(kind) as refused:
        anthropic.build_request({"model": "m", "messages": [HI], **asked}, to(facts.HAIKU_4_5))
    assert type(refused.value) is kind
    assert refused.value.param == param
    assert refused.value.code == (code or kind.code)


@pytest.mark.case(chat=36)
def test_the_answering_tool_becomes_the_content() -> None:
    made = anthropic.build_request({"model": "m", "messages": [HI], **form(RECURSIVE)}, to(facts.HAIKU_4_5))
    translator = translator_of("anthropic", made, to(facts.HAIKU_4_5))
    chunks: list[Json] = []
    use = {"type": "tool_use", "id": "toolu_1", "name": "json_response", "input": {}}
    for data in (
        {"type": "message_start", "message": {"usage": {"input_tokens": 9, "output_tokens": 1}}},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Here you are:"}},
        {"type": "content_block_stop", "index": 0},
        {"type": "content_block_start", "index": 1, "content_block": use},
        {"type": "content_block_delta", "index": 1, "delta": {"type": "input_json_delta", "partial_json": '{"next"'}},
        {"type": "content_block_delta", "index": 1, "delta": {"type": "input_json_delta", "partial_json": ": null}"}},
        {"type": "content_block_stop", "index": 1},
        {"type": "message_delta", "delta": {"stop_reason": "tool_use"}, "usage": {"output_tokens": 7}},
    ):
        chunks += translator.send(Event("", data))
    with pytest.raises(StopIteration) as end:
        translator.send(Event("", {"type": "message_stop"}))
    assert collect([*chunks, *end.value.value])["choices"] == [
        {
            "index": 0,
            "message": {"role": "assistant", "content": '{"next": null}', "refusal": None},
            "logprobs": None,
            "finish_reason": "stop",
        }
    ]


@pytest.mark.parametrize(
    ("base", "url"),
    [
        ("https://api.anthropic.com", "https://api.anthropic.com/v1/messages"),
        ("https://api.anthropic.com/v1/", "https://api.anthropic.com/v1/messages"),
        ("http://127.0.0.1:9/claude", "http://127.0.0.1:9/claude/v1/messages"),
    ],
)
def test_where_and_how_it_is_sent(base: str, url: str) -> None:
    upstream = Upstream(
        "a", "claude", base, "sk", host=PLAIN["anthropic"], options={"headers": {"anthropic-beta": "b-1"}}
    )
    made = anthropic.build_request({"model": "m", "messages": [HI]}, upstream)
    assert made.url == url
    assert made.headers == {
        "anthropic-version": "2023-06-01",
        "x-api-key": "sk",
        "anthropic-beta": "b-1",
    }
    listing = anthropic.build_models(upstream)
    assert (listing.url, listing.headers) == (url.replace("messages", "models?limit=1000"), made.headers)


def test_web_search_where_it_is_enabled() -> None:
    place = {"type": "approximate", "approximate": {"city": "北京", "country": "CN"}}
    asked = {"model": "m", "messages": [HI], "web_search_options": {"user_location": place}}
    made = anthropic.build_request(asked, to(facts.HAIKU_4_5, web_search=True))
    assert made.body["tools"] == [
        {
            "type": "web_search_20250305",
            "name": "web_search",
            "max_uses": 5,
            "user_location": {"type": "approximate", "city": "北京", "country": "CN"},
        }
    ]
    claude_requests.validate(made.body)


def test_an_empty_object_asks_for_a_web_search() -> None:
    asked = {"model": "m", "messages": [HI], "web_search_options": {}}
    made = anthropic.build_request(asked, to(facts.HAIKU_4_5, web_search=True))
    assert made.body["tools"] == [{"type": "web_search_20250305", "name": "web_search", "max_uses": 5}]
    assert made.dropped == ()
    with pytest.raises(Unsupported) as refused:
        anthropic.build_request(asked, to(facts.HAIKU_4_5))
    assert refused.value.param == "web_search_options"


def test_marks_go_where_claude_takes_them() -> None:
    """Not into thinking ("thinking.cache_control: Extra inputs are not permitted"), not inside a tool_result."""
    mark = {"cache_control": {"type": "ephemeral"}}
    thought = {"type": "thinking", "thinking": "t", "signature": "s"}
    redacted = {"type": "redacted_thinking", "data": "d"}
    asked = {
        "model": "m",
        "messages": [
            HI,
            {
                "role": "assistant",
                "content": None,
                "thinking_blocks": [{**thought, **mark, "index": 0}, {**redacted, **mark}],
                "tool_calls": [call()],
            },
            {**tool(), "content": [{**text("a")[0], **mark}, *text("b")]},
        ],
    }
    made = anthropic.build_request(asked, to(facts.OPUS_5_5))
    assert made.body["messages"][1:] == [
        {"role": "assistant", "content": [thought, redacted, use()]},
        {"role": "user", "content": [{**result(), "content": [*text("a"), *text("b")], **mark}]},
    ]


def test_an_effort_that_nobody_knows() -> None:
    for model in facts.HAIKU_4_5, facts.OPUS_5_5:
        with pytest.raises(BadRequest) as refused:
            anthropic.build_request({"model": "m", "messages": [HI], "reasoning_effort": "ultra"}, to(model))
        assert refused.value.param == "reasoning_effort"


def test_an_answer_by_a_tool_has_a_schema_that_claude_takes() -> None:
    branches = [{"type": "object", "properties": {name: {"type": "string"}}, "required": [name]} for name in "ab"]
    wanted = {"type": "json_schema", "json_schema": {"name": "n", "schema": {"oneOf": branches}}}
    made = anthropic.build_request({"model": "m", "messages": [HI], "response_format": wanted}, to(facts.OPUS_4))
    assert made.body["tools"][0]["input_schema"] == {
        "type": "object",
        "properties": {"a": {"type": "string"}, "b": {"type": "string"}},
        "description": "Give one of these sets of properties: a; b.",
    }


def test_thinking_is_only_summarised_for_those_who_see_it() -> None:
    upstream = Upstream("a", "claude", facts=facts.OPUS_5_5, reasoning=False)
    made = anthropic.build_request({"model": "m", "messages": [HI], "reasoning_effort": "low"}, upstream)
    assert made.body["thinking"] == {"type": "adaptive"}


@pytest.mark.parametrize(
    ("url", "ours"),
    [("http://x.test/a.png", True), ("HTTP://x", True), ("https://x.test/a.png", False), ("data:,", False)],
)
@pytest.mark.case(chat=40)
def test_which_images_are_fetched_here(url: str, ours: bool) -> None:
    assert anthropic.must_inline(url, to(facts.HAIKU_4_5)) is ours
