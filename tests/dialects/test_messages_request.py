"""Requests of Anthropic's Messages, read into chat requests. Ids name the acceptance cases of the specification."""

import base64
import contextlib
import json
from typing import Any

import corpus
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dialects import seal
from dialects.contract import ClientRequest
from dialects.messages import request
from dialects.messages.estimate import estimate
from providers import PROVIDERS
from providers.contract import Upstream
from providers.errors import BadRequest, ModelNotFound, Unsupported
from providers.hosts import HOSTS
from providers.models import ModelFacts

Json = dict[str, Any]
PNG = base64.b64encode(b"\x89PNG\r\n\x1a\n" + bytes(24)).decode()
PDF = base64.b64encode(b"%PDF-1.4 " + bytes(60)).decode()
GO = [{"role": "user", "content": "go"}]
TOOL = {"name": "A", "input_schema": {"type": "object", "properties": {}}}
IMAGE = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PNG}}


def asked(messages: Any = GO, /, **more: Any) -> ClientRequest:
    body = {"model": "m", "max_tokens": 100, "messages": messages, **more}
    return request.parse(json.dumps(body).encode())


def told(messages: Any = GO, /, **more: Any) -> Json:
    """The chat request; what stands there always is left out."""
    got = asked(messages, **more)
    assert got.refusal is None, got.refusal
    return {n: v for n, v in got.body.items() if n not in ("model", "max_completion_tokens")}


def refusal(messages: Any = GO, /, **more: Any) -> BadRequest:
    got = asked(messages, **more)
    assert isinstance(got.refusal, BadRequest)
    return got.refusal


def said(*blocks: Any, role: str = "user", **more: Any) -> Json:
    return {"role": role, "content": list(blocks), **more}


def text(words: str, **more: Any) -> Json:
    return {"type": "text", "text": words, **more}


def use(ident: str, name: str = "A", given: Any = None) -> Json:
    return {"type": "tool_use", "id": ident, "name": name, "input": given or {}}


def result(ident: str, *content: Any, **more: Any) -> Json:
    return {"type": "tool_result", "tool_use_id": ident, **({"content": content[0]} if content else {}), **more}


def called(ident: str, name: str = "A", arguments: str = "{}") -> Json:
    return {"id": ident, "type": "function", "function": {"name": name, "arguments": arguments}}


def stepped(*content: Any, tool: str = "A", **more: Any) -> list[Json]:
    """A call t1 and its result."""
    return [said(text("q")), said(use("t1", tool), role="assistant"), said(result("t1", *content, **more))]


MARK = {"cache_control": {"type": "ephemeral"}}
BILLING = "x-anthropic-billing-header: cc_version=2.1.37.0d9; cc_entrypoint=cli; cch=fa690;"


@pytest.mark.parametrize(
    ("body", "message"),
    [
        pytest.param({"messages": GO, "max_tokens": 5}, "model: Field required", id="4-model"),
        pytest.param({"model": "m", "max_tokens": 5}, "messages: Field required", id="messages-missing"),
        pytest.param({"model": "m", "messages": []}, "messages: at least one message is required", id="messages-empty"),
        pytest.param({"model": "m", "messages": 5}, "messages: Input should be a valid list", id="messages-no-list"),
        pytest.param([], "body: Input should be an object", id="no-object"),
    ],
)
def test_what_no_target_could_take(body: Any, message: str):
    with pytest.raises(BadRequest) as caught:
        request.parse(json.dumps(body).encode())
    assert caught.value.message == message


@pytest.mark.case(messages=4)
def test_max_tokens_is_only_missed_by_others_than_claude():
    got = request.parse(json.dumps({"model": "m", "messages": GO}).encode())
    assert got.refusal is not None and got.refusal.message == "max_tokens: Field required"
    assert got.raw is not None and list(got.raw) == ["model", "messages"]
    assert request.parse_count(json.dumps({"model": "m", "messages": GO}).encode()).refusal is None


def test_not_json_and_a_name_too_long():
    with pytest.raises(BadRequest):
        request.parse(b"{")
    with pytest.raises(ModelNotFound):
        asked(model="m" * 300)


@pytest.mark.parametrize("name", ["claude-opus-5", "claude-opus-5[1m]", "claude-opus-5[1M][1m]"])
@pytest.mark.case(messages=6)
def test_the_mark_of_a_long_context(name: str):
    assert asked(model=name).body["model"] == "claude-opus-5"


@pytest.mark.case(messages=12)
def test_members_stay_as_they_came_and_half_a_pair_is_mended_for_others():
    data = b'{"model":"m","max_tokens":5,"temperature":1e-1,'
    data += b'"messages":[{"role":"user","content":"a\\ud83d \\\\ud83d \\ud83d\\ude00"}]}'
    got = request.parse(data)
    assert bytes(got.raw["temperature"]) == b"1e-1" and b"a\\ud83d " in bytes(got.raw["messages"])
    assert got.body["messages"] == [{"role": "user", "content": "a\ufffd \\ud83d 😀"}]


def test_a_streamed_request_asks_for_usage():
    got = asked(stream=True)
    assert got.stream and got.body["stream"] is True and got.body["stream_options"] == {"include_usage": True}


USER = {"role": "user", "content": "go"}


@pytest.mark.parametrize(
    ("system", "expected"),
    [
        pytest.param("A", [{"role": "system", "content": "A"}], id="27-text"),
        pytest.param(
            [text("A", **MARK), text("B")],
            [{"role": "system", "content": [text("A", **MARK), text("B")]}],
            id="27-blocks",
        ),
        pytest.param([text(BILLING), text("B")], [{"role": "system", "content": "B"}], id="28"),
        pytest.param([text(" ")], [], id="blank"),
        pytest.param(None, [], id="null"),
    ],
)
def test_system(system: Any, expected: list[Json]):
    assert told(system=system)["messages"] == [*expected, USER]


T1, T2 = called("t1"), called("t2")


@pytest.mark.parametrize(
    ("messages", "expected"),
    [
        pytest.param(
            [
                said(text("q")),
                said(use("t1"), use("t2"), role="assistant"),
                said(result("t2", "2"), result("t1", "1"), text("go")),
            ],
            [
                {"role": "user", "content": "q"},
                {"role": "assistant", "content": "", "tool_calls": [T1, T2]},
                {"role": "tool", "tool_call_id": "t1", "content": "1"},
                {"role": "tool", "tool_call_id": "t2", "content": "2"},
                USER,
            ],
            id="29",
        ),
        pytest.param(
            [said(text("q")), said(use("t1"), role="assistant"), said(text("a")), said(result("t1", "1"))],
            [
                {"role": "user", "content": "q"},
                {"role": "assistant", "content": "", "tool_calls": [T1]},
                {"role": "tool", "tool_call_id": "t1", "content": "1"},
                {"role": "user", "content": "a"},
            ],
            id="30",
        ),
        pytest.param(
            [
                said(text("q")),
                said(text("s"), role="system"),
                said(text("a"), text(""), role="assistant"),
                said(text("go")),
            ],
            [
                {"role": "user", "content": "q"},
                {"role": "system", "content": "s"},
                {"role": "assistant", "content": "a"},
                USER,
            ],
            id="40-in-place",
        ),
        pytest.param(
            [{"role": "system", "content": "s"}, said(text("go"))],
            [{"role": "system", "content": "s"}, USER],
            id="system-first",
        ),
        pytest.param(
            [said(text("q")), said(text("s"), role="system", clear_at="next_user_message"), said(text("go"))],
            [{"role": "user", "content": [text("q"), text("go")]}],
            id="clear-at",
        ),
        pytest.param(
            [
                said(text("q")),
                said(use("t1"), role="assistant"),
                {"role": "system", "content": "s"},
                said(result("t1", "1")),
            ],
            [
                {"role": "user", "content": "q"},
                {"role": "assistant", "content": "", "tool_calls": [T1]},
                {"role": "tool", "tool_call_id": "t1", "content": "1"},
                {"role": "system", "content": "s"},
            ],
            id="system-before-results",
        ),
        pytest.param(
            [said(text("go")), said({"type": "thinking", "thinking": "h", "signature": ""}, role="assistant")],
            [USER],
            id="thinking-last",
        ),
        pytest.param([said(text(""))], [{"role": "user", "content": "(empty message)"}], id="empty"),
        pytest.param(
            [said(text("go")), said(role="assistant"), said(text("go"))],
            [USER, {"role": "assistant", "content": "(empty message)"}, USER],
            id="empty-assistant",
        ),
        pytest.param(
            [{"role": "system", "content": "s"}],
            [{"role": "system", "content": "s"}, {"role": "user", "content": "(empty message)"}],
            id="only-system",
        ),
    ],
)
def test_turns(messages: list[Json], expected: list[Json]):
    assert told(messages)["messages"] == expected


@pytest.mark.parametrize(
    ("messages", "begins"),
    [
        pytest.param(
            [said(text("a"), result("toolu_x"))],
            "messages.0.content.1: unexpected `tool_use_id` found in `tool_result` blocks: toolu_x.",
            id="31-unknown",
        ),
        pytest.param(
            [*stepped()[:2], said(text("a"))],
            "messages.1: `tool_use` ids were found without `tool_result` blocks immediately after: t1.",
            id="31-missing",
        ),
        pytest.param(
            stepped()[:2],
            "messages.1: `tool_use` ids were found without `tool_result` blocks immediately after: t1.",
            id="31-missing-at-end",
        ),
        pytest.param(
            [*stepped(), said(result("t1"))],
            "messages.3.content.0: each tool_use must have a single result.",
            id="31-twice",
        ),
        pytest.param([said(text("a"), role="tool")], "messages.0.role: ", id="role"),
        pytest.param([{"role": "user", "content": 5}], "messages.0.content: ", id="content"),
        pytest.param([said(5)], "messages.0.content.0: ", id="block"),
        pytest.param([said({})], "messages.0.content.0.type: Field required", id="type"),
    ],
)
def test_malformed_messages(messages: list[Json], begins: str):
    failure = refusal(messages)
    assert failure.message.startswith(begins) and not isinstance(failure, Unsupported)


@pytest.mark.case(messages=41)
def test_a_prefill_is_for_other_targets():
    failure = refusal([*GO, {"role": "assistant", "content": "{"}])
    assert isinstance(failure, Unsupported) and failure.message == (
        "This model does not support assistant message prefill. The conversation must end with a user message."
    )


IMAGE_PART = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG}"}}


@pytest.mark.parametrize(
    ("content", "more", "expected"),
    [
        pytest.param(("",), {}, "", id="32-empty"),
        pytest.param((), {}, "", id="32-absent"),
        pytest.param(([text("a"), text("b")],), {}, [text("a"), text("b")], id="32-two"),
        pytest.param(("no such file",), {"is_error": True}, "Error: no such file", id="32-error"),
        pytest.param(("Error: x",), {"is_error": True}, "Error: x", id="32-error-said"),
        pytest.param(([text("x")],), {"is_error": True}, "Error: x", id="error-blocks"),
        pytest.param(([IMAGE],), {}, [IMAGE_PART], id="33-image-stays"),
        pytest.param(([{"type": "tool_reference", "tool_name": "D"}],), {}, "Tool D is now available.", id="52-words"),
        pytest.param(([{"type": "new", "x": 1}],), {}, "[new block omitted]", id="unknown"),
    ],
)
def test_results(content: tuple[Any, ...], more: Json, expected: Any):
    assert told(stepped(*content, **more))["messages"][-1] == {
        "role": "tool",
        "tool_call_id": "t1",
        "content": expected,
    }


def document(source: Json, **more: Any) -> Json:
    return {"type": "document", "source": source, **more}


BASE64 = {"type": "base64", "media_type": "application/pdf", "data": PDF}
FILE = {"type": "file", "file": {"filename": "document.pdf", "file_data": f"data:application/pdf;base64,{PDF}"}}


@pytest.mark.parametrize(
    ("block", "expected", "dropped"),
    [
        pytest.param(IMAGE, [IMAGE_PART], [], id="image"),
        pytest.param({**IMAGE, **MARK}, [{**IMAGE_PART, **MARK}], [], id="image-marked"),
        pytest.param(
            {"type": "image", "source": {"type": "base64", "media_type": "image/gif", "data": PNG}},
            [IMAGE_PART],
            [],
            id="image-by-its-bytes",
        ),
        pytest.param(
            {"type": "image", "source": {"type": "url", "url": "https://x/y"}},
            [{"type": "image_url", "image_url": {"url": "https://x/y"}}],
            [],
            id="image-url",
        ),
        pytest.param(
            {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "%%"}},
            "[image block omitted]",
            ["messages.image"],
            id="image-broken",
        ),
        pytest.param(
            document({"type": "file", "file_id": "f_1"}),
            "[file f_1: not available to this model]",
            ["messages.file"],
            id="35-file",
        ),
        pytest.param(document(BASE64), [FILE], [], id="35-pdf"),
        pytest.param(
            document({"type": "text", "media_type": "text/plain", "data": "W"}, title='T "1"'),
            '<document title="T &quot;1&quot;">W</document>',
            [],
            id="35-text",
        ),
        pytest.param(
            document({"type": "content", "content": [text("a"), IMAGE]}, context="c", citations={"enabled": True}),
            [text("<document>\nc\n"), text("a"), IMAGE_PART, text("</document>")],
            ["citations"],
            id="document-content",
        ),
        pytest.param(
            document({"type": "url", "url": "https://x"}),
            "[document https://x]",
            ["messages.document"],
            id="document-url",
        ),
        pytest.param(
            {"type": "search_result", "source": "s", "title": "t", "content": [text("a")]},
            '<search_result source="s" title="t">\na\n</search_result>',
            [],
            id="search-result",
        ),
        pytest.param(
            {"type": "compaction", "content": "C"},
            "<conversation_summary>C</conversation_summary>",
            [],
            id="compaction",
        ),
        pytest.param(
            {"type": "container_upload", "file_id": "f"},
            "[container_upload block omitted]",
            ["messages.container_upload"],
            id="container-upload",
        ),
        pytest.param(
            {"type": "from_the_future"}, "[from_the_future block omitted]", ["messages.from_the_future"], id="unknown"
        ),
        pytest.param({"type": "compaction", "content": None}, "(empty message)", [], id="compaction-failed"),
        pytest.param({"type": "mcp_tool_listing"}, "(empty message)", [], id="quiet"),
    ],
)
def test_blocks(block: Json, expected: Any, dropped: list[str]):
    got = asked([said(block)])
    assert got.body["messages"] == [{"role": "user", "content": expected}]
    assert list(got.dropped) == dropped
    assert got.images == ("image_url" in str(expected))


def thought(words: str, signature: str) -> Json:
    return {"type": "thinking", "thinking": words, "signature": signature}


def test_cases_36_to_38_thinking_of_others_is_text_and_a_seal_and_claudes_stays_signed():
    carried = {"by": "deepseek", "items": [{"id": "rs_1"}]}
    signed = thought("c", "EqQB")
    messages = [
        said(text("q")),
        said(thought("hm", seal.signature(carried)), thought("x", ""), use("t1"), role="assistant"),
        said(result("t1", "1")),
        said(signed, text("a"), role="assistant"),
        said(text("go")),
    ]
    got = asked(messages, system="S")
    assert got.seals == {2: [carried]} and got.tool_calls
    first, second = got.body["messages"][2], got.body["messages"][4]
    assert first == {"role": "assistant", "content": "", "reasoning_content": "hm\nx", "tool_calls": [T1]}
    assert second == {"role": "assistant", "content": "a", "thinking_blocks": [signed]}


@pytest.mark.case(messages=39)
def test_what_anthropics_servers_found():
    found = {"type": "web_search_result", "title": "Title", "url": "https://x", "encrypted_content": "E"}
    blocks = [
        {"type": "server_tool_use", "id": "s1", "name": "web_search", "input": {"query": "x"}},
        {"type": "web_search_tool_result", "tool_use_id": "s1", "content": [found]},
        text("so"),
    ]
    got = asked([*GO, said(*blocks, role="assistant"), *GO])
    words = '[web_search {"query":"x"}]\n- Title: https://x'
    assert got.body["messages"][1] == {"role": "assistant", "content": [text(words), text("so")]}
    assert got.dropped == ("messages.server_tool",)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        pytest.param({}, (None, False, []), id="absent"),
        pytest.param({"output_config": {"effort": "low"}}, ("low", False, []), id="effort-alone"),
        pytest.param({"thinking": {"type": "adaptive"}}, (None, True, []), id="42-adaptive"),
        pytest.param({"thinking": {"type": "auto"}}, (None, True, []), id="auto"),
        pytest.param(
            {"thinking": {"type": "adaptive"}, "output_config": {"effort": "xhigh"}}, ("xhigh", True, []), id="42-xhigh"
        ),
        pytest.param({"thinking": {"type": "disabled"}}, ("none", False, []), id="42-disabled"),
        pytest.param(
            {"thinking": {"type": "between_tools"}, "output_config": {"effort": "low"}},
            ("none", False, ["output_config.effort"]),
            id="between-tools",
        ),
        *[
            pytest.param({"thinking": {"type": "enabled", "budget_tokens": n}}, (effort, True, []), id=f"42-budget-{n}")
            for n, effort in [(2000, "low"), (8192, "medium"), (31999, "high"), (32768, "xhigh")]
        ],
    ],
)
def test_thinking(given: Json, expected: tuple[str | None, bool, list[str]]):
    got = asked(**given)
    assert (got.body.get("reasoning_effort"), got.answer.thinking, list(got.dropped)) == expected


@pytest.mark.case(messages=40)
def test_a_system_turn_may_set_the_effort():
    turn = said(role="system", output_config={"effort": "low"})
    assert told([*GO, turn], output_config={"effort": "high"})["reasoning_effort"] == "low"
    assert not asked(thinking={"type": "adaptive", "display": "omitted"}).answer.thinking_text


CLOSED = {"type": "object", "properties": {"a": {}}, "required": ["a"], "additionalProperties": False}


@pytest.mark.parametrize(
    ("given", "expected", "dropped"),
    [
        pytest.param({"temperature": 0.5, "top_p": 1}, {"temperature": 0.5, "top_p": 1}, [], id="sampling"),
        pytest.param({"top_k": 5}, {"top_k": 5}, [], id="45"),
        pytest.param(
            {"stop_sequences": ["a", " ", "b", "c", "d", "e", "f"]},
            {"stop": ["a", "b", "c", "d"]},
            ["stop_sequences"],
            id="44",
        ),
        pytest.param({"stop_sequences": []}, {}, [], id="no-stops"),
        *[
            pytest.param(
                {"output_config": {"format": {"type": "json_schema", "schema": schema}}},
                {
                    "response_format": {
                        "type": "json_schema",
                        "json_schema": {"name": "output", "schema": schema, "strict": strict},
                    }
                },
                [],
                id=f"47-{strict}",
            )
            for schema, strict in [(CLOSED, True), ({**CLOSED, "required": []}, False)]
        ],
        pytest.param(
            {"context_management": {"edits": [{}]}, "output_config": {"task_budget": {}}, "speed": "fast"},
            {},
            ["context_management", "output_config.task_budget", "speed"],
            id="48-dropped",
        ),
        pytest.param(
            {"context_management": {"edits": []}, "speed": "standard", "mcp_servers": []}, {}, [], id="nothing-asked"
        ),
        pytest.param(
            {"inference_geo": "global", "container": None, "cache_control": {"type": "ephemeral"}}, {}, [], id="quiet"
        ),
        pytest.param({"service_tier": "auto"}, {}, [], id="tier-auto"),
        pytest.param({"service_tier": "standard_only"}, {"service_tier": "default"}, [], id="tier-standard"),
        pytest.param({"from_the_future": 1, "also": None}, {}, ["from_the_future"], id="unknown"),
        pytest.param({"fallbacks": [], "diagnostics": {}, "betas": ["x"]}, {}, [], id="quiet-members"),
    ],
)
def test_parameters(given: Json, expected: Json, dropped: list[str]):
    got = asked(**given)
    assert told(**given) == {"messages": GO, **expected}
    assert list(got.dropped) == dropped


@pytest.mark.case(messages=46)
def test_a_users_id_is_hashed():
    body = told(metadata={"user_id": "u" * 150})
    assert body["safety_identifier"] == body["prompt_cache_key"]
    assert len(body["safety_identifier"]) == 64 and body != told(metadata={"user_id": "v" * 150})


@pytest.mark.parametrize(
    "given",
    [
        pytest.param({"max_tokens": 0}, id="43"),
        pytest.param({"container": "c"}, id="48-container"),
        pytest.param({"mcp_servers": [{"name": "x"}]}, id="48-mcp"),
        pytest.param({"thread": {"id": "t"}}, id="48-thread"),
        pytest.param({"compaction": {}}, id="48-compaction"),
        pytest.param({"inference_geo": "us"}, id="48-geo"),
    ],
)
def test_what_only_claude_can_do(given: Json):
    failure = refusal(**given)
    assert isinstance(failure, Unsupported) and failure.param == next(iter(given))


@pytest.mark.parametrize("given", [{"temperature": 2}, {"top_p": "x"}, {"max_tokens": "5"}, {"stop_sequences": "a"}])
def test_wrong_parameters(given: Json):
    assert refusal(**given).message.startswith(f"{next(iter(given))}: ")


def function(name: str = "A", parameters: Any = None, **more: Any) -> Json:
    return {
        "type": "function",
        "function": {"name": name, **more, "parameters": parameters or {"type": "object", "properties": {}}},
    }


SEARCH = {"type": "web_search_20250305", "name": "web_search"}


@pytest.mark.case(messages=49)
def test_tools_of_anthropics_servers():
    got = asked(tools=[TOOL, SEARCH])
    assert got.body["tools"] == [function()] and got.dropped == ("tools.web_search_20250305",)
    for more in ({"tools": [SEARCH]}, {"tools": [TOOL, SEARCH], "tool_choice": {"type": "tool", "name": "web_search"}}):
        failure = refusal(**more)
        assert isinstance(failure, Unsupported) and "web_search_20250305 runs on Anthropic's servers" in failure.message


@pytest.mark.case(messages=50)
def test_tools_that_claude_knows_by_type():
    editor = {"type": "text_editor_20250728", "name": "str_replace_based_edit_tool"}
    bash, edit = told(tools=[{"type": "bash_20250124", "name": "bash"}, editor])["tools"]
    assert bash["function"]["name"] == "bash"
    assert list(bash["function"]["parameters"]["properties"]) == ["command", "restart"]
    assert edit["function"]["name"] == "str_replace_based_edit_tool"
    assert "undo_edit" not in edit["function"]["parameters"]["properties"]["command"]["enum"]


@pytest.mark.case(messages=51)
def test_long_names_of_tools():
    name = "mcp." * 22 + "xx"
    messages = [said(text("q")), said(use("t1", name), role="assistant"), said(result("t1"))]
    got = asked(messages, tools=[{**TOOL, "name": name}], tool_choice={"type": "tool", "name": name})
    sent = got.body["tools"][0]["function"]["name"]
    assert len(sent) == 64 and got.answer.tool_names == {sent: name}
    assert got.body["tool_choice"] == {"type": "function", "function": {"name": sent}}
    assert got.body["messages"][1]["tool_calls"][0]["function"]["name"] == sent


@pytest.mark.case(messages=52)
def test_deferred_tools():
    tools = [TOOL, {**TOOL, "name": "D", "defer_loading": True}]
    reference = [{"type": "tool_reference", "tool_name": "D"}]
    removal = said({"type": "tool_removal", "tool": {"type": "tool_reference", "name": "D"}}, role="system")
    search = {"type": "tool_search_tool_bm25_20251119", "name": "s"}
    assert told(tools=tools)["tools"] == [function()]
    assert told(stepped(reference), tools=tools)["tools"] == [function(), function("D")]
    assert told([*stepped(reference), removal], tools=tools)["tools"] == [function()]
    assert told(tools=[*tools, search])["tools"] == [function(), function("D")]
    assert asked(tools=[*tools, search]).dropped == ("tools.tool_search",)


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        pytest.param(
            {"type": "any", "disable_parallel_tool_use": True},
            {"tool_choice": "required", "parallel_tool_calls": False},
            id="53-any",
        ),
        pytest.param({"type": "none"}, {"tool_choice": "none"}, id="53-none"),
        pytest.param({"type": "auto"}, {"tool_choice": "auto"}, id="auto"),
        pytest.param(
            {"type": "tool", "name": "A"}, {"tool_choice": {"type": "function", "function": {"name": "A"}}}, id="tool"
        ),
    ],
)
def test_tool_choice(choice: Json, expected: Json):
    assert told(tools=[TOOL], tool_choice=choice) == {"messages": GO, "tools": [function()], **expected}


def test_tool_choice_without_tools():
    assert told(tools=[], tool_choice={"type": "auto"}) == {"messages": GO}
    assert refusal(tool_choice={"type": "any"}).message.startswith("tool_choice: ")


@pytest.mark.case(messages=54)
def test_ids_of_calls():
    messages = [said(text("q")), said(use("functions.Bash:0"), role="assistant"), said(result("functions.Bash:0"))]
    got = asked(messages)
    _, assistant, tool = got.body["messages"]
    sent = tool["tool_call_id"]
    assert sent == assistant["tool_calls"][0]["id"] and sent.startswith("call_") and len(sent) == 29
    assert got.answer.call_ids == {sent, "functions.Bash:0"}


@pytest.mark.parametrize(
    ("tool", "expected"),
    [
        pytest.param({"name": "A", "input_schema": {"type": "object", "properties": None}}, function(), id="55-null"),
        pytest.param(
            {**TOOL, "type": "custom", "eager_input_streaming": True, **MARK}, {**function(), **MARK}, id="custom"
        ),
        pytest.param(
            {**TOOL, "description": "d", "input_examples": [{"a": 1}]},
            function(description='d\nExample input: {"a":1}'),
            id="examples",
        ),
        pytest.param(
            {"name": "A", "input_schema": CLOSED, "strict": True},
            {"type": "function", "function": {"name": "A", "parameters": CLOSED, "strict": True}},
            id="strict",
        ),
    ],
)
def test_tools(tool: Json, expected: Json):
    assert told(tools=[tool])["tools"] == [expected]


@pytest.mark.parametrize("schema", [{"type": "array"}, [], "x", None])
@pytest.mark.case(messages=55)
def test_schemas(schema: Any):
    assert refusal(tools=[{"name": "A", "input_schema": schema}]).message.startswith("tools.0.input_schema")


def test_tools_left_out_and_strict_that_does_not_fit():
    code = {**TOOL, "name": "C", "allowed_callers": ["code_execution_20250825"]}
    loose = {"name": "A", "input_schema": {**CLOSED, "required": []}, "strict": True}
    got = asked(tools=[code, loose])
    assert [tool["function"]["name"] for tool in got.body["tools"]] == ["A"]
    assert got.dropped == ("tools.allowed_callers", "tools.strict")


@pytest.mark.case(messages=78)
def test_broken_arguments_come_back():
    messages = [
        said(text("q")),
        said(use("t1", given={"_raw_arguments": '{"a":'}), role="assistant"),
        said(result("t1")),
    ]
    assert told(messages)["messages"][1]["tool_calls"] == [called("t1", arguments='{"a":')]


@pytest.mark.case(messages=89)
def test_the_estimate_counts_all_three_and_no_base64():
    least = estimate(asked())
    assert least >= 1
    assert estimate(asked(system="s" * 400)) == pytest.approx(least + 110, abs=20)
    assert estimate(asked(tools=[TOOL])) > least
    big = {"type": "base64", "media_type": "image/png", "data": PNG * 1000}
    assert 1600 <= estimate(asked([said({"type": "image", "source": big})])) < 1700
    assert 2500 <= estimate(asked([said(document(BASE64))])) < 2600


TARGETS = [
    Upstream("p", "m", base_url="https://x/v1", api_key="k", row=name, host=HOSTS[name], facts=ModelFacts())
    for name in ("openai", "deepseek", "groq", "mistral", "openrouter", "anthropic", "gemini")
]


def image_urls(body: Json) -> list[str]:
    contents = [message["content"] for message in body["messages"] if isinstance(message["content"], list)]
    return [part["image_url"]["url"] for content in contents for part in content if part["type"] == "image_url"]


def every_provider_takes(got: ClientRequest) -> None:
    for to in TARGETS:
        body = seal.restore(got.body, got.seals, to.name, to.model)
        provider = PROVIDERS[to.host.protocol]
        if any(provider.must_inline(url, to) for url in image_urls(body)):
            continue  # the server fetches these before
        with contextlib.suppress(Unsupported):
            provider.build_request(body, to)


WORDS = st.sampled_from(["", " ", "a", "\u2028", "x" * 70, "{"])
JSONS = st.recursive(
    st.none() | st.booleans() | WORDS | st.integers(0, 3),
    lambda of: st.lists(of, max_size=2) | st.dictionaries(WORDS, of, max_size=2),
    max_leaves=4,
)
SIMPLE = (
    WORDS.map(text)
    | st.sampled_from(
        [
            IMAGE,
            document(BASE64),
            document({"type": "url", "url": "u"}),
            {"type": "compaction", "content": None},
            {"type": "redacted_thinking", "data": "d"},
            thought("t", seal.signature({"by": "p", "items": [{"type": "reasoning"}], "text": "t"})),
            thought("", "EqQB"),
            thought("u", ""),
            {"type": "tool_reference", "tool_name": "A"},
        ]
    )
    | st.builds(
        lambda kind, more: {**more, "type": kind},
        st.sampled_from(
            [
                "image",
                "document",
                "search_result",
                "server_tool_use",
                "web_search_tool_result",
                "mcp_tool_use",
                "mcp_tool_result",
                "code_execution_tool_result",
                "container_upload",
                "tool_addition",
                "new",
            ]
        ),
        st.dictionaries(
            st.sampled_from(["source", "content", "input", "name", "tool", "title", "cache_control"]), JSONS
        ),
    )
)


@st.composite
def histories(draw: st.DrawFn) -> list[Json]:
    made = [said(*draw(st.lists(SIMPLE, max_size=3)))]
    for turn in range(draw(st.integers(0, 3))):
        ids = [f"toolu.{turn}.{n}" for n in range(draw(st.integers(0, 2)))]
        calls = [use(ident, draw(st.sampled_from(["A", "b.c"])), draw(JSONS)) for ident in ids]
        made.append(said(*draw(st.permutations([*draw(st.lists(SIMPLE, max_size=3)), *calls])), role="assistant"))
        answers = [result(ident, *draw(st.lists(st.lists(SIMPLE, max_size=2) | WORDS, max_size=1))) for ident in ids]
        made.append(said(*draw(st.permutations([*draw(st.lists(SIMPLE, max_size=2)), *answers]))))
        if draw(st.booleans()):
            made.append(said(*draw(st.lists(SIMPLE, max_size=2)), role="system"))
    return made


@settings(max_examples=60, deadline=None)
@given(histories())
def test_what_sits_in_a_history_is_never_refused(messages: list[Json]):
    got = asked(messages, tools=[TOOL])
    assert got.refusal is None, got.refusal
    every_provider_takes(got)


@corpus.needed
def test_recorded_requests_are_taken_by_every_provider():
    refused: dict[str, int] = {}
    seen = 0
    for exchange in corpus.load("anthropic-messages"):
        body = exchange["request"].get("body")
        if exchange["response"]["status"] != 200 or not isinstance(body, dict) or not body.get("messages"):
            continue
        got = request.parse(
            json.dumps({"model": "m", "max_tokens": 9, **body}).encode()
        )  # Bedrock names the model in the path
        seen += 1
        if got.refusal is None:
            every_provider_takes(got)
        else:
            refused[got.refusal.message.split(":")[0]] = refused.get(got.refusal.message.split(":")[0], 0) + 1
            assert isinstance(got.refusal, Unsupported), (exchange["id"], got.refusal)
    assert seen > 200, refused


def test_what_only_claude_takes_is_measured_whole():
    """Limits are reserved by what stands for a request that cannot be translated: its answer, all it says, what it caches."""
    system = [{"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral", "ttl": "1h"}}]
    got = asked(system=system, tools=[{"name": "add", "input_schema": {"type": "object"}}], container="c")
    assert got.refusal is not None and got.body["max_completion_tokens"] == 100
    [part] = got.body["messages"][0]["content"]
    assert all(word in part["text"] for word in ("Be brief.", "add", "go"))
    assert part["cache_control"]["ttl"] == "1h"
    assert "max_completion_tokens" not in asked(max_tokens="many").body


@pytest.mark.parametrize(
    ("tools", "messages", "expected"),
    [
        (
            [{"type": "web_search_20250305"}, {"type": "bash_20250124"}, {}, {"type": None}, 5],
            GO,
            ("tools.web_search",),
        ),
        ([{"type": "bash_code_execution_20250825"}], GO, ("tools.bash_code_execution",)),
        ({}, GO, ()),
        (
            [],
            [
                *GO,
                said(
                    {
                        "type": "compaction",
                        "tool_changes": [
                            {
                                "type": "tool_addition",
                                "tool": {"type": "tool_definition", "definition": {"type": "advisor_20260301"}},
                            }
                        ],
                    },
                    role="assistant",
                ),
                *GO,
            ],
            ("tools.advisor",),
        ),
    ],
)
def test_tools_that_run_upstream(tools: Any, messages: Any, expected: tuple[str, ...]):
    assert asked(messages, tools=tools).upstream_tools == expected
