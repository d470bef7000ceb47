"""OpenAI requests → Gemini's. D58 … D78 are acceptance cases of the product, P2, R4 … defects of other gateways."""

import base64
import copy
from typing import Any

import msgspec
import pytest
from gemini_run import GEMINI_2, GEMINI_3, UPSTREAM, asked, to

from providers import gemini
from providers.errors import BadRequest, Unsupported
from providers.models import ModelFacts

Json = dict[str, Any]
DUMMY = "c2tpcF90aG91Z2h0X3NpZ25hdHVyZV92YWxpZGF0b3I="


def encoded(head: bytes) -> str:
    return base64.b64encode(head.ljust(48, b"\0")).decode()


PNG, JPEG, GIF, PDF = (encoded(h) for h in (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"GIF89a", b"%PDF-1.7"))


def user(*texts: str) -> Json:
    return {"role": "user", "parts": [{"text": text} for text in texts]}


def model(*parts: Json) -> Json:
    return {"role": "model", "parts": list(parts)}


def says(role: str, content: Any, **more: Any) -> Json:
    return {"role": role, "content": content, **more}


def calls(*made: tuple[str, str, str], **more: Any) -> Json:
    return {
        "role": "assistant",
        "content": None,
        "tool_calls": [
            {"id": id, "type": "function", "function": {"name": name, "arguments": arguments}, **more}
            for id, name, arguments in made
        ],
    }


def result(id: str, content: Any) -> Json:
    return {"role": "tool", "tool_call_id": id, "content": content}


def function(name: str, parameters: Any = None, **more: Any) -> Json:
    return {
        "type": "function",
        "function": {"name": name, **({"parameters": parameters} if parameters else {}), **more},
    }


def call_part(name: str, args: Json, **signature: str) -> Json:
    return {"functionCall": {"name": name, "args": args}, **signature}


def result_part(name: str, response: Json) -> Json:
    return {"functionResponse": {"name": name, "response": response}}


X = user("x")
WEATHER = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}

CONVERSATIONS: dict[str, tuple[ModelFacts, list[Json], list[Json]]] = {
    "parts-of-a-user": (
        GEMINI_2,
        [says("user", [{"type": "text", "text": "a"}, {"type": "text", "text": ""}, {"type": "text", "text": "b"}])],
        [user("a", "b")],
    ),
    "empty-user": (GEMINI_2, [says("user", "")], [user("(empty message)")]),
    "neighbours-merge": (
        GEMINI_2,
        [says("user", "a"), says("user", "b"), says("assistant", "c"), says("assistant", "d"), says("user", "e")],
        [user("a", "b"), model({"text": "c"}, {"text": "d"}), user("e")],
    ),
    "empty-assistant-vanishes": (
        GEMINI_2,
        [says("user", "a"), says("assistant", ""), says("user", "b")],
        [user("a", "b")],
    ),
    "starts-with-the-model": (
        GEMINI_2,
        [says("assistant", "hi"), says("user", "x")],
        [user("(conversation start)"), model({"text": "hi"}), X],
    ),
    "ends-with-the-model": (
        GEMINI_2,
        [says("user", "x"), says("assistant", "so")],
        [X, model({"text": "so"}), user("Continue.")],
    ),
    "nothing-left": (GEMINI_2, [says("assistant", "")], [user("(conversation start)")]),
    "refusal": (
        GEMINI_2,
        [says("user", "x"), says("assistant", None, refusal="No."), says("user", "why")],
        [X, model({"text": "No."}), user("why")],
    ),
    "refusal-part": (
        GEMINI_2,
        [says("user", "x"), says("assistant", [{"type": "refusal", "refusal": "No."}]), says("user", "why")],
        [X, model({"text": "No."}), user("why")],
    ),
    "later-system": (
        GEMINI_2,
        [says("user", "x"), says("system", "Be brief."), says("developer", [{"type": "text", "text": "In verse."}])],
        [user("x", "<system>\nBe brief.\n</system>", "<system>\nIn verse.\n</system>")],
    ),
    "results-first-and-in-call-order": (
        GEMINI_2,
        [
            says("user", "x"),
            calls(("i", "f", "{}"), ("j", "g", '{"a":"\u2028"}')),
            says("system", "Hurry."),
            result("j", "2"),
            result("i", '{"n":1}'),
            says("user", "and?"),
        ],
        [
            X,
            model(call_part("f", {}), call_part("g", {"a": "\u2028"})),
            {
                "role": "user",
                "parts": [
                    result_part("f", {"n": 1}),
                    result_part("g", {"output": "2"}),
                    {"text": "<system>\nHurry.\n</system>"},
                    {"text": "and?"},
                ],
            },
        ],
    ),
    "ids-used-again": (
        GEMINI_2,
        [says("user", "x"), calls(("i", "f", "")), result("i", "1"), calls(("i", "g", "")), result("i", "2")],
        [
            X,
            model(call_part("f", {})),
            {"role": "user", "parts": [result_part("f", {"output": "1"})]},
            model(call_part("g", {})),
            {"role": "user", "parts": [result_part("g", {"output": "2"})]},
        ],
    ),
    "ids-D66-gemini-2": (
        GEMINI_2,
        [says("user", "x"), calls(("call_1", "f", "{}")), result("call_1", "ok")],
        [X, model(call_part("f", {})), {"role": "user", "parts": [result_part("f", {"output": "ok"})]}],
    ),
    "ids-D66-gemini-3-and-lost-signature-D64": (
        GEMINI_3,
        [
            says("user", "x"),
            calls(("call_1", "f", "{}"), ("call_2", "f", "{}")),
            result("call_1", "a"),
            result("call_2", "b"),
        ],
        [
            X,
            model(
                {"functionCall": {"id": "call_1", "name": "f", "args": {}}, "thoughtSignature": DUMMY},
                {"functionCall": {"id": "call_2", "name": "f", "args": {}}},
            ),
            {
                "role": "user",
                "parts": [
                    {"functionResponse": {"id": "call_1", "name": "f", "response": {"output": "a"}}},
                    {"functionResponse": {"id": "call_2", "name": "f", "response": {"output": "b"}}},
                ],
            },
        ],
    ),
    "odd-arguments": (
        GEMINI_2,
        [
            says("user", "x"),
            calls(("i", "f", "[1]"), ("j", "f", '{"cut'), ("k", "f", " ")),
            *(result(i, "") for i in "ijk"),
        ],
        [
            X,
            model(
                call_part("f", {"_raw_arguments": "[1]"}),
                call_part("f", {"_raw_arguments": '{"cut'}),
                call_part("f", {}),
            ),
            {"role": "user", "parts": [result_part("f", {"output": ""})] * 3},
        ],
    ),
    "results-D67": (
        GEMINI_2,
        [
            *(says("user", "x"), calls(*((i, "f", "{}") for i in "abcde"))),
            *(result("a", "72F"), result("b", '{"t":1}'), result("c", '["t"]'), result("d", "{broken")),
            result("e", [{"type": "text", "text": text} for text in ("one", " two", "three", "", "four\n", "five")]),
        ],
        [
            X,
            model(*[call_part("f", {})] * 5),
            {
                "role": "user",
                "parts": [
                    result_part("f", {"output": "72F"}),
                    result_part("f", {"t": 1}),
                    result_part("f", {"output": '["t"]'}),
                    result_part("f", {"output": "{broken"}),
                    result_part("f", {"output": "one two\nthree\nfour\nfive"}),
                ],
            },
        ],
    ),
    "image-in-a-result": (
        GEMINI_2,
        [
            *(says("user", "x"), calls(("i", "shoot", "{}"))),
            result(
                "i",
                [{"type": "text", "text": "see"}, {"type": "image_url", "image_url": {"url": f"data:;base64,{PNG}"}}],
            ),
        ],
        [
            X,
            model(call_part("shoot", {})),
            {
                "role": "user",
                "parts": [
                    result_part("shoot", {"output": "see"}),
                    {"inlineData": {"mimeType": "image/png", "data": PNG}},
                ],
            },
        ],
    ),
    "custom-call": (
        GEMINI_2,
        [
            says("user", "x"),
            {
                "role": "assistant",
                "tool_calls": [{"id": "i", "type": "custom", "custom": {"name": "run", "input": "ls"}}],
            },
            result("i", "a.txt"),
        ],
        [
            X,
            model(call_part("run", {"input": "ls"})),
            {"role": "user", "parts": [result_part("run", {"output": "a.txt"})]},
        ],
    ),
    "files": (
        GEMINI_2,
        [
            says(
                "user",
                [
                    {"type": "file", "file": {"file_data": f"data:application/pdf;base64,{PDF}", "filename": "a.pdf"}},
                    {"type": "file", "file": {"file_data": "data:text/plain,hi%21"}},
                    {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "mp3"}},
                    {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}},
                    {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{JPEG}", "detail": "low"}},
                    {"type": "image_url", "image_url": {"url": "https://www.youtube.com/watch?v=1"}},
                    {
                        "type": "image_url",
                        "image_url": {"url": "https://generativelanguage.googleapis.com/v1beta/files/abc"},
                    },
                ],
            )
        ],
        [
            {
                "role": "user",
                "parts": [
                    {"inlineData": {"mimeType": "application/pdf", "data": PDF}},
                    {"inlineData": {"mimeType": "text/plain", "data": "aGkh"}},
                    {"inlineData": {"mimeType": "audio/mp3", "data": "AAAA"}},
                    {"inlineData": {"mimeType": "audio/wav", "data": "AAAA"}},
                    {"inlineData": {"mimeType": "image/jpeg", "data": JPEG}},
                    {"fileData": {"fileUri": "https://www.youtube.com/watch?v=1"}},
                    {"fileData": {"fileUri": "https://generativelanguage.googleapis.com/v1beta/files/abc"}},
                ],
            }
        ],
    ),
}


@pytest.mark.parametrize(("facts", "messages", "contents"), CONVERSATIONS.values(), ids=CONVERSATIONS)
def test_conversation(facts: ModelFacts, messages: list[Json], contents: list[Json]) -> None:
    before = copy.deepcopy(messages)
    assert asked({"messages": messages}, facts).body == {"contents": contents}
    assert messages == before, "the request is never changed"


SYSTEM = {
    "system-and-user-D58": (
        [says("system", "A"), says("user", "x")],
        {"systemInstruction": {"parts": [{"text": "A"}]}, "contents": [X]},
    ),
    "several": (
        [
            says("system", "A"),
            says("developer", [{"type": "text", "text": "B"}, {"type": "text", "text": "C"}]),
            says("user", "x"),
        ],
        {"systemInstruction": {"parts": [{"text": "A\n\nB\n\nC"}]}, "contents": [X]},
    ),
    "only-system": ([says("system", "x")], {"contents": [X]}),
    "only-systems": (
        [says("system", "A"), says("system", "x")],
        {"systemInstruction": {"parts": [{"text": "A"}]}, "contents": [X]},
    ),
    "empty": ([says("system", ""), says("user", "x")], {"contents": [X]}),
}


@pytest.mark.parametrize(("messages", "body"), SYSTEM.values(), ids=SYSTEM)
def test_system(messages: list[Json], body: Json) -> None:
    assert asked({"messages": messages}).body == body


def test_the_list_of_models_is_asked_for_as_everything_is() -> None:
    host = msgspec.structs.replace(UPSTREAM.host, query={"tenant": "a b"})
    made = gemini.build_models(msgspec.structs.replace(UPSTREAM, base_url="https://test/v1beta/", host=host))
    assert made.url == "https://test/v1beta/models?tenant=a%20b&pageSize=1000"


def test_the_call_itself() -> None:
    call = asked({}, model="models with/odd ids", base_url="https://example.com/v1beta/")
    assert call.url == "https://example.com/v1beta/models/models%20with%2Fodd%20ids:streamGenerateContent?alt=sse"
    assert call.headers == {"x-goog-api-key": "key"}
    assert call.stream
    assert "key" not in call.url


@pytest.mark.parametrize(
    ("asks", "known", "streamed"),
    [
        ({"max_tokens": 21_333}, {}, False),
        ({"max_tokens": 21_334}, {}, True),
        ({"max_completion_tokens": 100, "stream": True}, {}, True),
        ({"max_tokens": 30_000}, {"max_output": 8192}, False),  # cut to what the model writes
        ({}, {"max_output": 8192}, False),
        ({}, {"max_output": 65_536}, True),
        ({}, {}, True),  # how long it may be is not known
    ],
)
def test_a_short_answer_is_asked_whole(asks: Json, known: Json, streamed: bool) -> None:
    call = asked(asks, model="g", base_url="https://example.com/v1beta", facts=ModelFacts(**known))
    operation = "streamGenerateContent?alt=sse" if streamed else "generateContent"
    assert (call.url, call.stream) == (f"https://example.com/v1beta/models/g:{operation}", streamed)


F = function("f", WEATHER)
DECLARED = [{"functionDeclarations": [{"name": "f", "parametersJsonSchema": WEATHER}]}]
TOOLS: dict[str, tuple[Json, Json]] = {
    "no-parameters-D59": (
        {"tools": [function("f"), function("g", {"type": "object", "properties": {}}, description="G.")]},
        {"tools": [{"functionDeclarations": [{"name": "f"}, {"name": "g", "description": "G."}]}]},
    ),
    "schema-D60": (
        {"tools": [function("f", {"properties": {"a": {"const": "a", "title": "T", "$schema": "s"}}})]},
        {
            "tools": [
                {
                    "functionDeclarations": [
                        {
                            "name": "f",
                            "parametersJsonSchema": {
                                "type": "object",
                                "properties": {"a": {"enum": ["a"], "type": "string"}},
                            },
                        }
                    ]
                }
            ]
        },
    ),
    "choice-D61-named": (
        {"tools": [F], "tool_choice": {"type": "function", "function": {"name": "f"}}},
        {
            "tools": DECLARED,
            "toolConfig": {"functionCallingConfig": {"mode": "ANY", "allowedFunctionNames": ["f"]}},
        },
    ),
    **{
        f"choice-D61-{choice}": (
            {"tools": [F], "tool_choice": choice},
            {"tools": DECLARED, "toolConfig": {"functionCallingConfig": {"mode": mode}}},
        )
        for choice, mode in {"required": "ANY", "none": "NONE", "auto": "AUTO"}.items()
    },
    "strict": (
        {"tools": [function("f", WEATHER, strict=True)], "tool_choice": "auto"},
        {"tools": DECLARED, "toolConfig": {"functionCallingConfig": {"mode": "VALIDATED"}}},
    ),
    "strict-without-choice": (
        {"tools": [function("f", WEATHER, strict=True)]},
        {"tools": DECLARED, "toolConfig": {"functionCallingConfig": {"mode": "VALIDATED"}}},
    ),
    "strict-but-required": (
        {"tools": [function("f", WEATHER, strict=True)], "tool_choice": "required"},
        {"tools": DECLARED, "toolConfig": {"functionCallingConfig": {"mode": "ANY"}}},
    ),
    "not-all-strict": (
        {"tools": [function("f", WEATHER, strict=True), function("g")]},
        {"tools": [{"functionDeclarations": [*DECLARED[0]["functionDeclarations"], {"name": "g"}]}]},
    ),
    "allowed-tools": (
        {
            "tools": [F, function("g")],
            "tool_choice": {
                "type": "allowed_tools",
                "allowed_tools": {"mode": "required", "tools": [{"type": "function", "function": {"name": "f"}}]},
            },
        },
        {"tools": DECLARED, "toolConfig": {"functionCallingConfig": {"mode": "ANY"}}},
    ),
    "custom": (
        {
            "tools": [{"type": "custom", "custom": {"name": "run", "description": "Runs."}}],
            "tool_choice": {"type": "custom", "custom": {"name": "run"}},
        },
        {
            "tools": [
                {
                    "functionDeclarations": [
                        {
                            "name": "run",
                            "description": "Runs.",
                            "parametersJsonSchema": {
                                "type": "object",
                                "properties": {"input": {"type": "string"}},
                                "required": ["input"],
                            },
                        }
                    ]
                }
            ],
            "toolConfig": {"functionCallingConfig": {"mode": "ANY", "allowedFunctionNames": ["run"]}},
        },
    ),
}


@pytest.mark.parametrize(("asks", "expected"), TOOLS.values(), ids=TOOLS)
def test_tools(asks: Json, expected: Json) -> None:
    call = asked(asks)
    assert call.body == {"contents": [X], **expected}
    assert call.dropped == ()


def test_names_gemini_refuses_are_mapped_there_and_back() -> None:
    odd = ["7_day", "-x", "_7_day", "get weather", "get_weather", "天气", "预报", "fine.name-1:2", "a" * 200]
    call = asked(
        {
            "tools": [function(name) for name in odd],
            "tool_choice": {"type": "function", "function": {"name": "-x"}},
            "messages": [
                says("user", "x"),
                calls(("i", "7_day", "{}"), ("j", "9lives", "{}")),
                result("i", ""),
                result("j", ""),
            ],
        }
    )
    sent = [declared["name"] for declared in call.body["tools"][0]["functionDeclarations"]]
    assert sent == [
        "_7_day_2",
        "_-x",
        "_7_day",
        "get_weather_2",
        "get_weather",
        "__",
        "___2",
        "fine.name-1:2",
        "a" * 100,
    ]
    assert call.body["toolConfig"]["functionCallingConfig"]["allowedFunctionNames"] == ["_-x"]
    assert call.body["contents"][1:] == [
        model(call_part("_7_day_2", {}), call_part("_9lives", {})),
        {"role": "user", "parts": [result_part("_7_day_2", {"output": ""}), result_part("_9lives", {"output": ""})]},
    ]
    assert [call.read.keywords["state"].names[name] for name in sent] == odd


LIMITED = ModelFacts(max_output=100, sampling="ignored", penalties=False)
SETTINGS: dict[str, tuple[ModelFacts, Json, Json, tuple[str, ...]]] = {
    "all-taken": (
        GEMINI_2,
        {
            "temperature": 0,
            "top_p": 0.5,
            "presence_penalty": 1,
            "frequency_penalty": -1,
            "seed": 7,
            "stop": ["a", ""],
            "max_completion_tokens": 9,
            "n": 2,
            "logprobs": True,
            "top_logprobs": 3,
        },
        {
            "temperature": 0,
            "topP": 0.5,
            "presencePenalty": 1,
            "frequencyPenalty": -1,
            "seed": 7,
            "stopSequences": ["a"],
            "maxOutputTokens": 9,
            "candidateCount": 2,
            "responseLogprobs": True,
            "logprobs": 3,
        },
        (),
    ),
    "ignored-and-clamped": (
        LIMITED,
        {"temperature": 1, "top_p": 1, "presence_penalty": 1, "frequency_penalty": 1, "max_tokens": 101, "stop": "end"},
        {"maxOutputTokens": 100, "stopSequences": ["end"]},
        ("temperature", "top_p", "presence_penalty", "frequency_penalty", "max_tokens"),
    ),
    "no-words-for-it": (
        GEMINI_2,
        {
            "logit_bias": {"1": 2},
            "prediction": {},
            "store": True,
            "user": "u",
            "metadata": {"a": "b"},
            "verbosity": "low",
            "parallel_tool_calls": False,
            "service_tier": "scale",
            "top_k": 3,
            "odd\r\nname": 1,
        },
        {"topK": 3},
        (
            *("service_tier", "logit_bias", "prediction", "store", "user", "metadata", "verbosity"),
            "parallel_tool_calls",
        ),
    ),
    "asks-for-nothing": (
        GEMINI_2,
        {
            "logit_bias": {},
            "store": False,
            "metadata": {},
            "parallel_tool_calls": True,
            "service_tier": "auto",
            "n": 1,
            "logprobs": False,
            "modalities": ["text"],
            "response_format": {"type": "text"},
            "stop": [],
            "stream_options": {"include_usage": True},
        },
        {},
        (),
    ),
    "images-out": (GEMINI_2, {"modalities": ["text", "image"]}, {"responseModalities": ["TEXT", "IMAGE"]}, ()),
    "json-object": (
        GEMINI_2,
        {"response_format": {"type": "json_object"}},
        {"responseMimeType": "application/json"},
        (),
    ),
    "json-schema-P2": (
        GEMINI_2,
        {
            "response_format": {
                "type": "json_schema",
                "json_schema": {"name": "a", "strict": True, "schema": {**WEATHER, "additionalProperties": False}},
            }
        },
        {"responseMimeType": "application/json", "responseJsonSchema": {**WEATHER, "additionalProperties": False}},
        (),
    ),
}


@pytest.mark.parametrize(("facts", "asks", "config", "dropped"), SETTINGS.values(), ids=SETTINGS)
def test_settings(facts: ModelFacts, asks: Json, config: Json, dropped: tuple[str, ...]) -> None:
    call = asked(asks, facts)
    assert call.body == {"contents": [X], **({"generationConfig": config} if config else {})}
    assert call.dropped == dropped


@pytest.mark.case(defects="P2")
def test_json_schema_is_never_lost_with_tools() -> None:
    wanted = {"type": "json_schema", "json_schema": {"name": "a", "schema": WEATHER}}
    body = asked({"response_format": wanted, "tools": [F]}, GEMINI_3).body
    assert body["generationConfig"] == {"responseMimeType": "application/json", "responseJsonSchema": WEATHER}
    with pytest.raises(Unsupported) as caught:
        asked({"response_format": wanted, "tools": [F]}, GEMINI_2)
    assert caught.value.param == "response_format"


@pytest.mark.parametrize("tier", ["flex", "priority"])
def test_service_tier(tier: str) -> None:
    assert asked({"service_tier": tier}).body == {"contents": [X], "serviceTier": tier}


def test_safety_settings_come_from_the_configuration_only() -> None:
    settings = [{"category": "HARM_CATEGORY_HARASSMENT", "threshold": "BLOCK_NONE"}]
    body = {"safety_settings": [{"category": "HARM_CATEGORY_HATE_SPEECH", "threshold": "OFF"}]}
    assert asked(body, options={"safety_settings": settings}).body == {"contents": [X], "safetySettings": settings}
    assert asked(body).body == {"contents": [X]}


LEVELS = ("low", "medium", "high")
G38 = ModelFacts(reasoning="always", efforts=LEVELS)
G35 = ModelFacts(reasoning="always", efforts=("minimal", *LEVELS))
PRO = ModelFacts(budget=True, reasoning="always")
SHOWN = {"includeThoughts": True}
EFFORTS: list[tuple[str, ModelFacts, str, Json | None, bool]] = [
    ("D62 3.8-flash", G38, "minimal", {"thinkingLevel": "low", **SHOWN}, False),
    ("D62 3.5-flash", G35, "minimal", {"thinkingLevel": "minimal", **SHOWN}, True),
    ("D62 2.5-flash", GEMINI_2, "minimal", {"thinkingBudget": 512, **SHOWN}, True),
    ("2.5-flash", GEMINI_2, "none", {"thinkingBudget": 0}, True),
    ("2.5-flash", GEMINI_2, "low", {"thinkingBudget": 1024, **SHOWN}, True),
    ("2.5-flash", GEMINI_2, "medium", {"thinkingBudget": 8192, **SHOWN}, True),
    ("2.5-flash", GEMINI_2, "high", {"thinkingBudget": 24576, **SHOWN}, True),
    ("2.5-flash", GEMINI_2, "xhigh", {"thinkingBudget": 24576, **SHOWN}, False),
    ("2.5-flash", GEMINI_2, "max", {"thinkingBudget": 24576, **SHOWN}, False),
    ("2.5-pro", PRO, "none", {"thinkingBudget": 128}, False),
    ("2.5-pro", PRO, "low", {"thinkingBudget": 1024, **SHOWN}, True),
    ("3.8-flash", G38, "none", {"thinkingLevel": "low"}, False),
    ("3.5-flash", G35, "none", {"thinkingLevel": "minimal"}, False),
    ("3.5-flash", G35, "low", {"thinkingLevel": "low", **SHOWN}, True),
    ("3.5-flash", G35, "medium", {"thinkingLevel": "medium", **SHOWN}, True),
    ("3.5-flash", G35, "high", {"thinkingLevel": "high", **SHOWN}, True),
    ("3.5-flash", G35, "max", {"thinkingLevel": "high", **SHOWN}, False),
    ("no medium", ModelFacts(efforts=("low", "high")), "medium", {"thinkingLevel": "high", **SHOWN}, False),
    ("does not reason", ModelFacts(), "high", None, False),
    ("does not reason", ModelFacts(), "none", None, True),
]


@pytest.mark.parametrize(("name", "facts", "effort", "thinking", "exact"), EFFORTS)
def test_reasoning_effort(name: str, facts: ModelFacts, effort: str, thinking: Json | None, exact: bool) -> None:
    call = asked({"reasoning_effort": effort}, facts)
    assert call.body.get("generationConfig") == (thinking and {"thinkingConfig": thinking})
    assert call.dropped == (() if exact else ("reasoning_effort",))


def test_thoughts_are_not_asked_for_when_nobody_sees_them() -> None:
    call = asked({"reasoning_effort": "high"}, GEMINI_2, reasoning=False)
    assert call.body["generationConfig"] == {"thinkingConfig": {"thinkingBudget": 24576}}


def signed(signature: Any) -> Json:
    return {"extra_content": {"google": {"thought_signature": signature}}}


@pytest.mark.parametrize(
    ("kept", "sent"),
    [
        (["QQ==", None], ["QQ==", None]),
        ([None, None], [DUMMY, None]),
        (["", None], [DUMMY, None]),
        ([7, None], [DUMMY, None]),
        (["QQ==", "Qg=="], ["QQ==", "Qg=="]),
        ([None, "Qg=="], [DUMMY, "Qg=="]),
    ],
    ids=["kept", "lost", "empty", "no text", "both", "first lost"],
)
@pytest.mark.case(defects="R4")
def test_signatures(kept: list[Any], sent: list[str | None]) -> None:
    message = calls(("a", "f", "{}"), ("b", "f", "{}"))
    for call, signature in zip(message["tool_calls"], kept, strict=True):
        call |= signed(signature) if signature is not None else {}
    messages = [says("user", "x"), message, result("a", ""), result("b", "")]
    parts = asked({"messages": messages}, GEMINI_3).body["contents"][1]["parts"]
    assert [part.get("thoughtSignature") for part in parts] == sent
    older = asked({"messages": messages}, GEMINI_2).body["contents"][1]["parts"]
    assert [part.get("thoughtSignature") for part in older] == [None if s == DUMMY else s for s in sent]


def content(*parts: Json) -> Json:
    return {"messages": [says("system", "s"), says("user", [{"type": "text", "text": "t"}, *parts])]}


def picture(url: str) -> Json:
    return {"type": "image_url", "image_url": {"url": url}}


URL = "messages[1].content[1].image_url.url"
ANY = ModelFacts()
REFUSED: dict[str, tuple[ModelFacts, Json, type[BadRequest], str, str | None]] = {
    "gif-D76": (ANY, content(picture(f"data:image/gif;base64,{GIF}")), BadRequest, URL, "invalid_image_format"),
    "gif-declared-png": (
        ANY,
        content(picture(f"data:image/png;base64,{GIF}")),
        BadRequest,
        URL,
        "invalid_image_format",
    ),
    "pdf-as-image": (ANY, content(picture(f"data:image/png;base64,{PDF}")), BadRequest, URL, "invalid_image_format"),
    "not-fetched": (ANY, content(picture("https://example.com/a.png")), BadRequest, URL, "invalid_image_url"),
    "bucket": (ANY, content(picture("gs://bucket/a.png")), BadRequest, URL, "invalid_image_url"),
    "bad-base64": (ANY, content(picture("data:image/png;base64,!!!!")), BadRequest, URL, "invalid_base64"),
    "file-id": (
        ANY,
        content({"type": "file", "file": {"file_id": "file-1"}}),
        Unsupported,
        "messages[1].content[1].file.file_id",
        "unsupported_value",
    ),
    "file-without-type": (
        ANY,
        content({"type": "file", "file": {"file_data": "data:;base64,AAAA"}}),
        BadRequest,
        "messages[1].content[1].file.file_data",
        None,
    ),
    "audio-format": (
        ANY,
        content({"type": "input_audio", "input_audio": {"data": "AAAA", "format": "midi"}}),
        Unsupported,
        "messages[1].content[1].input_audio.format",
        "unsupported_value",
    ),
    "part-type": (ANY, content({"type": "hologram"}), Unsupported, "messages[1].content[1]", "unsupported_value"),
    "stray-result": (
        ANY,
        {"messages": [says("user", "x"), result("i", "1")]},
        BadRequest,
        "messages[1].tool_call_id",
        None,
    ),
    "n": (ANY, {"n": 9}, Unsupported, "n", "unsupported_value"),
    "n-gemini-3": (GEMINI_3, {"n": 2}, Unsupported, "n", "unsupported_value"),
    "logprobs": (GEMINI_3, {"logprobs": True}, Unsupported, "logprobs", "unsupported_value"),
    "web-search": (ANY, {"web_search_options": {}}, Unsupported, "web_search_options", "unsupported_value"),
    "audio-out": (ANY, {"modalities": ["text", "audio"]}, Unsupported, "modalities", "unsupported_value"),
    "audio": (ANY, {"audio": {"voice": "v"}}, Unsupported, "audio", "unsupported_value"),
    "tools": (ModelFacts(tools=False), {"tools": [F]}, Unsupported, "tools", "unsupported_value"),
    "grammar": (
        ANY,
        {"tools": [F, {"type": "custom", "custom": {"name": "g", "format": {"type": "grammar", "grammar": {}}}}]},
        Unsupported,
        "tools[1].custom.format",
        "unsupported_value",
    ),
    "json-with-tools": (
        GEMINI_2,
        {"tools": [F], "response_format": {"type": "json_object"}},
        Unsupported,
        "response_format",
        "unsupported_value",
    ),
    "no-json-schema": (
        ModelFacts(json_schema=False),
        {"response_format": {"type": "json_schema", "json_schema": {"name": "a", "schema": WEATHER}}},
        Unsupported,
        "response_format",
        "unsupported_value",
    ),
    "effort": (ANY, {"reasoning_effort": "enormous"}, BadRequest, "reasoning_effort", None),
    "endless-tool-schema": (
        ANY,
        {"tools": [F, function("g", {"properties": {"a": {"$ref": "#"}}, "required": ["a"]})]},
        BadRequest,
        "tools[1].function.parameters",
        "invalid_schema",
    ),
    "schema-of-an-allowed-tool": (
        ANY,
        {
            "tools": [F, function("g", {"properties": {"a": {"$ref": "#/nowhere"}}})],
            "tool_choice": {
                "type": "allowed_tools",
                "allowed_tools": {"mode": "auto", "tools": [{"type": "function", "function": {"name": "g"}}]},
            },
        },
        BadRequest,
        "tools[1].function.parameters",
        "invalid_schema",
    ),
    "endless-answer-schema": (
        ANY,
        {"response_format": {"type": "json_schema", "json_schema": {"name": "a", "schema": {"$ref": "#"}}}},
        BadRequest,
        "response_format.json_schema.schema",
        "invalid_schema",
    ),
}


@pytest.mark.parametrize(("facts", "asks", "kind", "param", "code"), REFUSED.values(), ids=REFUSED)
def test_refused(facts: ModelFacts, asks: Json, kind: type[BadRequest], param: str, code: str | None) -> None:
    with pytest.raises(BadRequest) as caught:
        asked(asks, facts)
    assert (type(caught.value), caught.value.param, caught.value.code) == (kind, param, code)


@pytest.mark.parametrize(
    ("url", "fetched"),
    [
        ("https://example.com/a.png", True),
        ("http://example.com/a.png", True),
        ("HTTPS://EXAMPLE.COM/A.PNG", True),
        ("https://example.com/v1beta/files/abc", True),
        ("https://generativelanguage.googleapis.com/v1beta/files/abc", False),
        ("https://generativelanguage.googleapis.com.evil.example/files/abc", True),
        ("https://user@generativelanguage.googleapis.com/v1beta/files/abc", True),
        ("http://generativelanguage.googleapis.com/v1beta/files/abc", True),
        ("https://generativelanguage.googleapis.com/v1beta/models", True),
        ("https://www.youtube.com/watch?v=1", False),
        ("https://youtu.be/1", False),
        ("https://notyoutube.com/1", True),
        ("http://[bad", True),
        ("data:image/png;base64,AAAA", False),
        ("gs://bucket/a.png", False),
    ],
)
@pytest.mark.case(chat=76)
def test_fetches(url: str, fetched: bool) -> None:
    assert gemini.must_inline(url, UPSTREAM) is fetched


def test_the_text_signature_goes_back_on_the_text() -> None:
    message = says("assistant", "hello", **signed("QQ=="))
    contents = asked({"messages": [says("user", "x"), message, says("user", "y")]}, GEMINI_3).body["contents"]
    assert contents[1] == model({"text": "hello", "thoughtSignature": "QQ=="})


def test_request_is_a_provider_function_of_two_arguments() -> None:
    body = {"model": "m", "messages": [says("user", "x")]}
    assert gemini.build_request(body, to()).body == {"contents": [X]}
