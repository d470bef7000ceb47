"""What clients send back of a conversation, and hosts refuse: for every row of the hosts and every protocol.

The requests are read and translated; what comes of them is held to the official SDKs' own types.
"""

import json
from typing import Any

import claude_requests
import gemini_oracle
import pydantic
import pytest
from model_table import MODELS
from openai.types.chat import ChatCompletionMessageParam
from openai.types.responses import ResponseInputItemParam

from dialects.chat import request
from providers import PROVIDERS
from providers.contract import Call, Upstream
from providers.hosts import HOSTS

Json = dict[str, Any]
MODEL = {"openai": "gpt-4o", "anthropic": "claude-sonnet-5-5", "gemini": "gemini-3.8-flash"}
CHAT = [name for name, host in HOSTS.items() if host.protocol == "openai"]
STRICT = sorted(name for name in CHAT if not HOSTS[name].openai_rules)
MESSAGE: pydantic.TypeAdapter[Any] = pydantic.TypeAdapter(ChatCompletionMessageParam)
ITEM: pydantic.TypeAdapter[Any] = pydantic.TypeAdapter(ResponseInputItemParam)
USER: Json = {"role": "user", "content": "hi"}
SAID: Json = {"role": "assistant", "content": "a"}


def call(ident: str = "c1", **more: Any) -> Json:
    return {"id": ident, "type": "function", "function": {"name": "f", "arguments": "{}"}} | more


def called(*calls: Json) -> Json:
    return {"role": "assistant", "content": None, "tool_calls": [*calls]}


def result(ident: str = "c1", content: Any = "x") -> Json:
    return {"role": "tool", "tool_call_id": ident, "content": content}


def asked(host: str, messages: list[Json], model: str = "", **more: Any) -> Call:
    """The call for a client's chat request at the host of this name."""
    row, model = HOSTS[host], model or MODEL.get(host, "m")
    body = request.parse(json.dumps({"model": "m", "messages": messages, **more}).encode()).body
    to = Upstream(host, model, row.base_url or "http://h", "k", host=row, facts=MODELS.of(model, host))
    return PROVIDERS[row.protocol].build_request(body, to)


def sent(host: str, *messages: Json, **more: Any) -> list[Json]:
    return list(asked(host, [*messages], **more).body["messages"])


# Refusals

NO = {"type": "refusal", "refusal": "No."}
REFUSED: dict[str, tuple[Json, str]] = {
    "a part": ({"role": "assistant", "content": [NO]}, "No."),
    "a part after a text": ({"role": "assistant", "content": [{"type": "text", "text": "Hm."}, NO]}, "Hm.\nNo."),
    "the field alone": ({"role": "assistant", "content": None, "refusal": "No."}, "No."),
    "the field beside an empty text": ({"role": "assistant", "content": "", "refusal": "No."}, "No."),
    "the field beside a text": ({"role": "assistant", "content": "Hm.", "refusal": "No."}, "Hm.\nNo."),
}


@pytest.mark.parametrize(("message", "text"), REFUSED.values(), ids=REFUSED)
def test_a_refusal_of_the_past_is_said_to_all(message: Json, text: str) -> None:
    for host in STRICT:
        content = sent(host, USER, message, USER)[1]["content"]
        assert content == text or content == [{"type": "text", "text": one} for one in text.split("\n")], host
    for host in ("openai", "azure", "azure_v1"):
        assert sent(host, USER, message, USER)[1] == message
    blocks = [{"type": "text", "text": one} for one in text.split("\n")]
    assert asked("anthropic", [USER, message, USER]).body["messages"][1] == {"role": "assistant", "content": blocks}
    parts = [{"text": one} for one in text.split("\n")]
    assert asked("gemini", [USER, message, USER]).body["contents"][1] == {"role": "model", "parts": parts}
    items = asked("openai", [USER, message, USER], "gpt-5.5-pro").body["input"]
    assert [part.get("refusal") or part["text"] for part in items[1]["content"]] == text.split("\n")


# Messages that say nothing

NOTHING: dict[str, Json] = {
    "null": {"role": "assistant", "content": None},
    "no content": {"role": "assistant"},
    "an empty text": {"role": "assistant", "content": ""},
    "no parts": {"role": "assistant", "content": []},
    "an empty part": {"role": "assistant", "content": [{"type": "text", "text": ""}]},
    "an empty refusal": {"role": "assistant", "content": None, "refusal": "", "tool_calls": []},
    "a system message": {"role": "system", "content": ""},
}


@pytest.mark.parametrize("message", NOTHING.values(), ids=NOTHING)
def test_a_message_that_says_nothing_is_left_out(message: Json) -> None:
    for host in CHAT:
        assert sent(host, USER, SAID, message, USER) == [USER, SAID, USER], host
        assert sent(host, message) == [{"role": "user", "content": "(empty message)"}], host
    assert [turn["role"] for turn in asked("anthropic", [USER, SAID, message, USER]).body["messages"]] == [
        "user",
        "assistant",
        "user",
    ]
    assert len(asked("gemini", [USER, SAID, message, USER]).body["contents"]) == 3


def test_no_message_goes_without_content() -> None:
    """xAI: "Each message must have at least one content element"; DeepSeek: "missing field `content`"."""
    bare = {name: value for name, value in called(call()).items() if name != "content"}
    thought = {"role": "assistant", "content": None, "reasoning_content": "Hm."}
    for host in CHAT:
        past = sent(host, USER, bare, result(), USER)
        assert past[1]["content"] == (None if HOSTS[host].null_content else ""), host
        thoughts = [each for each in sent(host, USER, thought, USER) if each["role"] == "assistant"]
        assert [each["content"] for each in thoughts] in ([], [""]), host
    for host in ("xai", "moonshot", "perplexity", "lmstudio"):
        assert sent(host, {"role": "user", "content": ""}) == [{"role": "user", "content": "(empty message)"}]
        assert all(each["role"] != "assistant" for each in sent(host, USER, thought))
    assert sent("openai", {"role": "user", "content": ""}) == [{"role": "user", "content": ""}]


# Calls and results


@pytest.mark.parametrize("arguments", [None, "", {}, "missing"])
def test_a_call_has_a_type_and_arguments(arguments: Any) -> None:
    function = {"name": "f"} | ({} if arguments == "missing" else {"arguments": arguments})
    custom = {"id": "c2", "custom": {"name": "g"}}
    history = [USER, called({"id": "c1", "function": function}), result()]
    for host in CHAT:
        made = sent(host, *history)[1]["tool_calls"][0]
        assert (made["type"], made["function"]) == ("function", {"name": "f", "arguments": "{}"}), host
    assert sent("openai", USER, called(custom), result("c2"))[1]["tool_calls"] == [
        {"id": "c2", "type": "custom", "custom": {"name": "g", "input": ""}}
    ]
    assert asked("anthropic", history).body["messages"][1]["content"][0]["input"] == {}
    assert asked("gemini", history).body["contents"][1]["parts"][0]["functionCall"]["args"] == {}
    assert asked("openai", history, "gpt-5.5-pro").body["input"][1]["arguments"] == "{}"


def test_calls_without_an_id_are_answered_in_their_order() -> None:
    bare = [{"function": {"name": name, "arguments": {"n": 1}}} for name in "fg"]
    history = [USER, called(*bare), result("", "one"), {"role": "tool", "content": "two"}, USER]
    made = sent("openai", *history)
    assert made == [
        USER,
        called(
            {"id": "call_1_0", "type": "function", "function": {"name": "f", "arguments": '{"n":1}'}},
            {"id": "call_1_1", "type": "function", "function": {"name": "g", "arguments": '{"n":1}'}},
        ),
        result("call_1_0", "one"),
        result("call_1_1", "two"),
        USER,
    ]
    results = asked("anthropic", history).body["messages"][2]["content"][:2]
    assert [one["tool_use_id"] for one in results] == ["call_1_0", "call_1_1"]
    assert sent("openai", USER, called(bare[0]), result("theirs"))[2] == result("call_1_0")


def test_results_go_as_texts_where_lists_are_refused() -> None:
    parts = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    lists = {host for host in CHAT if sent(host, USER, called(call()), result(content=parts))[2]["content"] != "a\nb"}
    assert lists == {"openai", "azure", "azure_v1", "openrouter", "dashscope", "github", "vercel"}


# Names, roles, order

NAMED = [{"role": "system", "content": "S", "name": "s"}, USER | {"name": "Ada L."}, SAID | {"name": "b|t"}, USER]


@pytest.mark.parametrize(
    ("host", "names", "dropped"),
    [
        ("openai", ["s", "Ada_L._51f52a", "b_t_76de7d"], ()),
        ("mistral", [], ("messages.name",)),
        ("xai", ["Ada L."], ("messages.name",)),
        ("perplexity", [], ("messages.name",)),
        ("deepseek", ["s", "Ada L.", "b|t"], ()),
    ],
)
def test_names_of_speakers(host: str, names: list[str], dropped: tuple[str, ...]) -> None:
    """OpenAI: "Invalid 'messages[1].name': string does not match pattern"; Mistral: "Extra inputs are not permitted"."""
    made = asked(host, NAMED)
    assert [message["name"] for message in made.body["messages"] if "name" in message] == names
    assert made.dropped == dropped
    tool = result() | {"name": "f"}
    assert asked(host, [USER, called(call()), tool]).dropped == ()


def test_developers_are_known_to_few() -> None:
    told = {"role": "developer", "content": "D"}
    assert {host for host in CHAT if sent(host, told, USER)[0]["role"] == "developer"} == {
        *("openai", "azure_v1", "openrouter", "cohere", "github", "vercel"),
    }


LATER = [{"role": "system", "content": "S"}, USER, SAID, {"role": "system", "content": "M"}, USER]
MARKED = "<system>\nM\n</system>"


def test_a_system_message_in_the_middle() -> None:
    first, *_ = LATER
    apart = [first, USER, SAID, {"role": "user", "content": MARKED}, USER]
    together = [first, USER, SAID, {"role": "user", "content": f"{MARKED}\n\nhi"}]
    for host in CHAT:
        turns = together if HOSTS[host].alternate else apart if HOSTS[host].merge_system else LATER
        assert sent(host, *LATER) == turns, host
    refuse = {host for host in CHAT if sent(host, *LATER) != LATER}
    assert refuse == {
        *("mistral", "perplexity", "ollama", "vllm", "llamacpp", "lmstudio"),
        *("minimax", "qianfan", "hunyuan", "spark"),
    }


def test_user_and_assistant_take_turns() -> None:
    picture = {"type": "image_url", "image_url": {"url": "https://a.test/a.png"}}
    history = [
        SAID,
        USER | {"name": "a"},
        {"role": "user", "content": [picture]},
        {"role": "assistant", "content": "a", "reasoning_content": "one"},
        called(call("abcdefgh1")) | {"reasoning_content": "two"},
        result("abcdefgh1"),
    ]
    for host in ("vllm", "llamacpp"):
        key = HOSTS[host].reasoning_key
        assert sent(host, *history) == [
            {"role": "user", "content": "(conversation start)"},
            SAID,
            {"role": "user", "content": [{"type": "text", "text": "hi"}, picture]},
            {"role": "assistant", "content": "a", "tool_calls": [call("abcdefgh1")], key: "one\n\ntwo"},
            result("abcdefgh1"),
        ]
    assert sent("mistral", *history[1:]) == [
        USER,
        {"role": "user", "content": [picture]},
        {"role": "assistant", "content": "a"},
        called(call("abcdefgh1")),
        result("abcdefgh1"),
    ]


def test_mistral_answers_a_result_before_the_user_speaks() -> None:
    """Mistral: 400 "Unexpected role 'user' after role 'tool'"."""
    history = [USER, called(call("abcdefgh1")), result("abcdefgh1")]
    system = {"role": "system", "content": "M"}
    assert sent("mistral", *history, USER) == [*history, {"role": "assistant", "content": "OK."}, USER]
    assert sent("mistral", *history, system)[3:] == [
        {"role": "assistant", "content": "OK."},
        {"role": "user", "content": MARKED},
    ]
    assert sent("groq", *history, USER) == [*history, USER]


# All of it at once

ODD = [
    {"role": "developer", "content": [{"type": "text", "text": ""}]},
    {"role": "developer", "content": [{"type": "text", "text": "D"}], "name": "d d"},
    USER | {"name": "a b"},
    {"role": "user", "content": ""},
    *(message for message, _ in REFUSED.values()),
    *NOTHING.values(),
    called({"id": "c1", "function": {"name": "f"}}, {"id": "c2", "function": {"name": "f", "arguments": None}}),
    result("c1", [{"type": "text", "text": "a"}]) | {"name": "f"},
    result("c2", ""),
    {"role": "system", "content": "M"},
    USER,
    {"role": "assistant", "content": [], "reasoning_content": "Hm."},
]


@pytest.mark.parametrize("host", CHAT)
def test_every_row_sends_what_the_sdk_knows(host: str) -> None:
    made = asked(host, ODD).body["messages"]
    for message in made:
        MESSAGE.validate_python(
            {name: value for name, value in message.items() if name not in ("reasoning_content", "reasoning")}
        )
        assert message.get("content") is not None or message.get("tool_calls") or message.get("refusal"), message
    before = json.dumps(made)
    assert json.dumps(asked(host, made).body["messages"]) == before, "what a host takes is not edited again"


def test_other_protocols_send_what_their_sdks_know() -> None:
    claude_requests.validate(asked("anthropic", ODD).body)
    gemini_oracle.Body.model_validate(asked("gemini", ODD).body)
    for item in asked("openai", ODD, "gpt-5.5-pro").body["input"]:
        if item.get("role") != "assistant":  # the SDK's type of what a model said demands an id, the API does not
            ITEM.validate_python(item)


def test_nothing_stands_alone() -> None:
    """`stop: []`, tool_choice and the like without tools, null for anything."""
    alone = {"tools": None, "stop": None, "tool_choice": "auto", "parallel_tool_calls": False, "stream_options": None}
    for host in CHAT:
        for stop in ({}, {"stop": []}, {"stop": ""}, {"stop": [""]}):
            assert asked(host, [USER], **alone | stop).body == {
                "model": asked(host, [USER]).body["model"],
                "messages": [USER],
            }
        assert asked(host, [USER], stop=["", "x"]).body["stop"] == ["x"]
