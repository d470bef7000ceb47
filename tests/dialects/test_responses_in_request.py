"""Responses requests as chat requests. Numbers in ids are those of the acceptance cases."""

import json
from typing import Any

import corpus
import pytest

from dialects import seal
from dialects.responses import compaction
from dialects.responses.params import within
from dialects.responses.request import parse
from dialects.responses.state import NotHere
from dialects.responses.tables import flattened
from dialects.responses.wanted import LoweredTool
from providers import PROVIDERS
from providers.contract import Upstream
from providers.errors import BadRequest, Failure, Unsupported
from providers.hosts import HOSTS
from providers.models import ModelFacts
from providers.openai.responses.request import build_request as bridge

Json = dict[str, Any]
PNG = "data:image/png;base64,iVBORw0KGgo="


def asked(input: Any = "Hi", **fields: Any):
    return parse(json.dumps({"model": "m", "input": input, **fields}).encode(), {})


def refused(input: Any = "Hi", **fields: Any) -> Failure:
    with pytest.raises(Failure) as error:
        asked(input, **fields)
    return error.value


def user(text: str) -> Json:
    return {"role": "user", "content": text}


def fc(ident: str, name: str = "f", arguments: str = "{}", **more: Any) -> Json:
    return {"type": "function_call", "call_id": ident, "name": name, "arguments": arguments, **more}


def out(ident: str, output: Any = "ok") -> Json:
    return {"type": "function_call_output", "call_id": ident, "output": output}


def called(ident: str, name: str = "f", arguments: str = "{}") -> Json:
    return {"id": ident, "type": "function", "function": {"name": name, "arguments": arguments}}


def turn(*calls: Json, content: Any = None) -> Json:
    return {"role": "assistant", "content": content, "tool_calls": list(calls)}


def tool(ident: str, content: Any = "ok") -> Json:
    return {"role": "tool", "tool_call_id": ident, "content": content}


def part(kind: str, **more: Any) -> Json:
    return {"type": kind, **more}


def said(*parts: Json) -> Json:
    return {"type": "message", "role": "assistant", "content": list(parts)}


MESSAGES = {
    "1-text": ("Hi", {}, [user("Hi")]),
    "1-empty-text": ("", {}, [user("")]),
    "2-instructions-first": (
        [{"role": "developer", "content": "X"}, user("Hi")],
        {"instructions": "Be brief"},
        [{"role": "system", "content": "Be brief"}, {"role": "system", "content": "X"}, user("Hi")],
    ),
    "3-parts": (
        [
            {"role": "user", "content": [part("input_text", text="a"), part("input_image", image_url=PNG, detail="low")]},
            said(part("output_text", text="x"), part("refusal", refusal="no")),
            {"role": "user", "content": [part("input_image", image_url=PNG, detail="original")]},
        ],
        {},
        [
            {"role": "user", "content": [part("text", text="a"), part("image_url", image_url={"url": PNG, "detail": "low"})]},
            {"role": "assistant", "content": [part("text", text="x"), part("refusal", refusal="no")]},
            {"role": "user", "content": [part("image_url", image_url={"url": PNG, "detail": "high"})]},
        ],
    ),
    "5-file": (
        [{"role": "user", "content": [part("input_file", filename="a.pdf", file_data="JVBERi0=")]}],
        {},
        [{"role": "user", "content": [
            part("file", file={"filename": "a.pdf", "file_data": "data:application/pdf;base64,JVBERi0="})]}],
    ),
    # whatever the machine's /etc/mime.types says
    "5-document": (
        [{"role": "user", "content": [part("input_file", filename="A.DOCX", file_data="UEsDBA==")]}],
        {},
        [{"role": "user", "content": [part("file", file={"filename": "A.DOCX", "file_data":
            "data:application/vnd.openxmlformats-officedocument.wordprocessingml.document;base64,UEsDBA=="})]}],
    ),
    "6-call": ([fc("c1", arguments=""), out("c1")], {}, [turn(called("c1")), tool("c1")]),
    "7-order-of-outputs": (
        [fc("c1"), fc("c2"), out("c2", "b"), out("c1", "a")],
        {},
        [turn(called("c1"), called("c2")), tool("c1", "a"), tool("c2", "b")],
    ),
    "8-interrupted": ([fc("c1"), user("wait"), out("c1")], {}, [turn(called("c1")), tool("c1"), user("wait")]),
    "9-ids-used-again": (
        [fc("c1"), out("c1", "1"), fc("c1"), out("c1", "2")],
        {},
        [turn(called("c1")), tool("c1", "1"), turn(called("c1")), tool("c1", "2")],
    ),
    "11-output-of-parts": (
        [fc("c1"), out("c1", [part("output_text", text="x")])], {}, [turn(called("c1")), tool("c1", "x")]
    ),
    "11-output-with-image": (
        [fc("c1"), out("c1", [part("input_text", text="see"), part("input_image", image_url=PNG)])],
        {},
        [turn(called("c1")), tool("c1", [part("text", text="see"), part("image_url", image_url={"url": PNG})])],
    ),
    "13-null-output": ([fc("c1"), out("c1", None)], {}, [turn(called("c1")), tool("c1", "")]),
    "20-additional-tools-make-no-message": (
        [{"type": "additional_tools", "tools": []}, user("Hi")], {}, [user("Hi")]
    ),
    "21-own-compaction": (
        [{"type": "compaction", "encrypted_content": compaction.sealed("S")}],
        {},
        [user("Summary of the conversation so far, made by the assistant:\n\nS")],
    ),
    "21-mcp": (
        [user("Hi"), {"type": "mcp_call", "name": "n", "arguments": "{}", "output": "42"}],
        {},
        [user("Hi"), {"role": "assistant", "content": "[tool n {} → 42]"}],
    ),
    "25-custom": (
        [part("custom_tool_call", call_id="c", name="p", input="X"),
         part("custom_tool_call_output", call_id="c", output="done")],
        {},
        [turn(called("c", "p", '{"input":"X"}')), tool("c", "done")],
    ),
    "26-namespace": (
        [fc("c", "query", namespace="mcp__db"), out("c")], {}, [turn(called("c", "mcp__db__query")), tool("c")]
    ),
    "33-local-shell": (
        [part("local_shell_call", id="l", call_id="c", action={
            "type": "exec", "command": ["ls"], "env": {}, "timeout_ms": 5, "working_directory": "/"}),
         part("local_shell_call_output", id="c", output="o")],
        {},
        [turn(called("c", "local_shell", '{"command":["ls"],"workdir":"/","timeout_ms":5}')), tool("c", "o")],
    ),
    "33-shell": (
        [part("shell_call", call_id="c", action={"commands": ["ls"]}),
         part("shell_call_output", call_id="c", output=[
             {"stdout": "a", "stderr": "", "outcome": {"type": "exit", "exit_code": 0}}])],
        {},
        [turn(called("c", "shell", '{"commands":["ls"]}')),
         tool("c", '[{"stdout":"a","stderr":"","outcome":{"type":"exit","exit_code":0}}]')],
    ),
    "34-apply-patch": (
        [part("apply_patch_call", call_id="c", operation={"type": "delete_file", "path": "a"}),
         part("apply_patch_call_output", call_id="c", status="completed", output="gone")],
        {},
        [turn(called("c", "apply_patch", '{"operation":{"type":"delete_file","path":"a"}}')),
         tool("c", '{"status":"completed","output":"gone"}')],
    ),
    "35-tool-search": (
        [part("tool_search_call", call_id="c", execution="client", arguments={"q": "x"}),
         part("tool_search_output", call_id="c", execution="client", tools=[part("function", name="f", description="d")])],
        {},
        [turn(called("c", "tool_search", '{"q":"x"}')), tool("c", '[{"name":"f","description":"d"}]')],
    ),
    "texts-of-a-turn": (
        [said(part("output_text", text="a")), said(part("output_text", text="b")), fc("c"),
         said(part("output_text", text="d")), out("c")],
        {},
        [{"role": "assistant", "content": "a"},
         turn(called("c"), content=[part("text", text="b"), part("text", text="d")]), tool("c")],
    ),
    "plain-reasoning": (
        [part("reasoning", summary=[], content=[part("reasoning_text", text="t")]), fc("c"), out("c")],
        {},
        [{**turn(called("c")), "reasoning_content": "t"}, tool("c")],
    ),
}  # fmt: skip


@pytest.mark.parametrize(("input", "fields", "messages"), MESSAGES.values(), ids=MESSAGES)
def test_items(input: Any, fields: Json, messages: list[Json]):
    request = asked(input, **fields)
    assert request.body["messages"] == messages
    assert request.dropped == ()
    assert set(request.body) <= {"model", "messages", "tools"}
    assert request.raw == {"model": "m", "input": input, **fields}


PARTS = [{"role": "user", "content": [part("input_image")]}]
REFUSED: dict[str, tuple[Any, Json, str | None, str | None]] = {
    "4-neither": (PARTS, {}, "missing_required_parameter", "input[0].content[0]"),
    "4-file-id": (
        [{"role": "user", "content": [part("input_image", file_id="f")]}], {}, "unsupported_value",
        "input[0].content[0].file_id"),
    "4-unknown": ([{"role": "user", "content": [part("input_video")]}], {}, "invalid_value", "input[0].content[0].type"),
    "5-file-url": (
        [{"role": "user", "content": [part("input_file", file_url="http://10.0.0.1/a")]}], {}, "unsupported_value",
        "input[0].content[0].file_url"),
    "10-no-output": ([fc("c1")], {}, None, "input"),
    "10-no-call": ([out("c9")], {}, None, "input"),
    "12-reference": ([part("item_reference", id="msg_x")], {}, None, "input"),
    "15-limit": ("Hi", {"max_output_tokens": 0}, "integer_below_min_value", "max_output_tokens"),
    "17-background": ("Hi", {"background": True}, "unsupported_parameter", "background"),
    "17-conversation": ("Hi", {"conversation": "c"}, "unsupported_parameter", "conversation"),
    "17-both": ("Hi", {"conversation": "c", "previous_response_id": "r"}, "invalid_value", "previous_response_id"),
    "17-prompt": ("Hi", {"prompt": {"id": "p"}}, "unsupported_parameter", "prompt"),
    "17-moderation": ("Hi", {"moderation": {}}, "unsupported_parameter", "moderation"),
    "19-model": ("Hi", {"model": ""}, "missing_required_parameter", "model"),
    "19-input": ([], {"instructions": "x"}, "missing_required_parameter", "input"),
    "21-foreign-compaction": ([part("compaction", encrypted_content="gAAA")], {}, "invalid_encrypted_content", "input[0]"),
    "28-two-types": (
        "Hi", {"tools": [part("function", name="a"), part("custom", name="a")]}, "invalid_value", "tools[1].name"),
    "29-nothing-required": ("Hi", {"tools": [part("web_search")], "tool_choice": "required"}, "invalid_value", "tool_choice"),
    "31-unknown": (
        "Hi", {"tools": [part("function", name="a")], "tool_choice": part("function", name="b")}, "invalid_value",
        "tool_choice"),
    "68-previous": ("Hi", {"previous_response_id": "r"}, "previous_response_not_found", "previous_response_id"),
    "87-trigger": ([part("compaction_trigger"), user("Hi")], {}, "invalid_value", "input[0]"),
    "14-format-name": (
        "Hi", {"text": {"format": {"type": "json_schema", "schema": {}}}}, "missing_required_parameter", "text.format.name"),
    "14-format": ("Hi", {"text": {"format": {"type": "xml"}}}, "invalid_value", "text.format.type"),
    "effort": ("Hi", {"reasoning": {"effort": 3}}, "invalid_type", "reasoning.effort"),
    "parameters": (
        "Hi", {"tools": [part("web_search"), part("function", name="a", parameters=3)]}, "invalid_type", "tools[1].parameters"),
    "duplicate-in-a-turn": (
        [part("reasoning", id="r", summary=[]), part("reasoning", id="r", summary=[])], {}, None, "input"),
    "no-call-id": ([part("function_call", name="f", arguments="{}")], {}, "missing_required_parameter", "input[0].call_id"),
    "item": ([3], {}, "invalid_type", "input[0]"),
    "detail": ([{"role": "user", "content": 3}], {}, "invalid_type", "input[0].content"),
    "include": ("Hi", {"include": "x"}, "invalid_type", "include"),
    **{f"30-{kind}": ("Hi", {"tools": [part(kind)]}, "unsupported_value", "tools[0].type")
       for kind in ("file_search", "mcp", "code_interpreter", "computer", "computer_use_preview")},
}  # fmt: skip


@pytest.mark.parametrize(("input", "fields", "code", "param"), REFUSED.values(), ids=REFUSED)
def test_refused(input: Any, fields: Json, code: str | None, param: str):
    failure = refused(input, **fields)
    assert (failure.code, failure.param) == (code, param)
    assert isinstance(failure, BadRequest | NotHere)
    assert "messages" not in failure.message and "max_completion" not in failure.message


@pytest.mark.case(responses=10)
@pytest.mark.case(responses=12)
def test_words_of_errors():
    assert refused([fc("c1")]).message == "No tool output found for function call c1."
    assert refused([out("c9")]).message == "No tool call found for function call output with call_id c9."
    missing = refused([part("item_reference", id="msg_x")])
    assert (missing.status, missing.message) == (404, "Item with id 'msg_x' not found.")
    assert "store` set to true" in refused([part("item_reference", id="msg_x")], store=False).message


SETTINGS: dict[str, tuple[Json, Json, tuple[str, ...]]] = {
    "13-unknown": ({"foo": 1, "top_k": 5}, {"top_k": 5}, ("foo",)),
    "14-schema": (
        {"text": {"format": {"type": "json_schema", "name": "n", "schema": {}, "strict": True, "description": None}}},
        {"response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": {}, "strict": True}}},
        (),
    ),
    "14-text": ({"text": {"format": {}, "verbosity": "low"}}, {"verbosity": "low"}, ()),
    "14-null": ({"text": None}, {}, ()),
    "15-limit": ({"max_output_tokens": 5}, {"max_completion_tokens": 5}, ()),
    "16-reasoning": (
        {"reasoning": {"effort": "xhigh", "summary": "auto", "context": "all", "mode": "standard"}},
        {"reasoning_effort": "xhigh"},
        ("reasoning.context",),
    ),
    "16-truncation": ({"truncation": "auto"}, {}, ("truncation",)),
    "16-no-truncation": ({"truncation": "disabled", "background": False}, {}, ()),
    "18-ignored": (
        {"client_metadata": {}, "include": [], "metadata": {"a": "b"}, "max_tool_calls": 3, "store": False, "stream_options": {}},
        {},
        (),
    ),
    "logprobs": ({"top_logprobs": 2}, {"logprobs": True, "top_logprobs": 2}, ()),
    "no-logprobs": ({"top_logprobs": 0}, {}, ()),
    "passed": ({"temperature": 1, "user": "u"}, {"temperature": 1, "user": "u"}, ()),
}  # fmt: skip


@pytest.mark.parametrize(("fields", "body", "dropped"), SETTINGS.values(), ids=SETTINGS)
def test_settings(fields: Json, body: Json, dropped: tuple[str, ...]):
    request = asked(**fields)
    assert request.body == {"model": "m", "messages": [user("Hi")], **body}
    assert request.dropped == dropped


@pytest.mark.case(responses=6)
@pytest.mark.case(responses=13)
@pytest.mark.case(responses=47)
def test_what_is_dropped_of_the_input():
    foreign = part("reasoning", summary=[], encrypted_content="gAAA")
    request = asked([part("brand_new_item"), part("web_search_call"), foreign, fc("c"), out("c")])
    assert request.dropped == ("input.brand_new_item", "input.web_search_call", "input.reasoning")
    assert asked([part("reasoning", summary=[]), user("Hi")]).dropped == ()
    broken = part("reasoning", summary=[], encrypted_content="msr1:%%%")
    assert asked([broken, fc("c"), out("c")]).dropped == ("input.reasoning",)


@pytest.mark.case(responses=20)
@pytest.mark.case(responses=35)
def test_updates_and_tools_of_items():
    request = asked(
        [{"type": "additional_tools", "tools": [part("function", name="a"), part("function", name="b")]},
         {"type": "configuration_update", "reasoning": {"effort": "low"}}, user("Hi")],
        reasoning={"effort": "high"},
    )  # fmt: skip
    assert [each["function"]["name"] for each in request.body["tools"]] == ["a", "b"]
    assert request.body["reasoning_effort"] == "low"
    assert request.body["messages"] == [user("Hi")]


def test_functions_22():
    tools = asked(tools=[part("function", name="a", parameters=None), part("function", name="b", strict=True)]).body[
        "tools"
    ]
    nothing = {"type": "object", "properties": {}}
    assert [each["function"] for each in tools] == [
        {"name": "a", "parameters": nothing, "strict": False},
        {"name": "b", "parameters": nothing, "strict": True},
    ]


def test_a_custom_tool_23():
    grammar = {"type": "grammar", "syntax": "lark", "definition": "start: X"}
    request = asked(tools=[part("custom", name="apply_patch", description="Edit.", format=grammar)])
    (function,) = [each["function"] for each in request.body["tools"]]
    assert function["name"] == "apply_patch" and function["strict"] is False
    assert function["parameters"]["required"] == ["input"]
    assert function["description"].startswith("Edit.") and function["description"].endswith("start: X")
    assert request.dropped == ("tools.format",)
    assert request.answer.tools == {"apply_patch": LoweredTool("custom", "apply_patch", None)}


@pytest.mark.case(responses=26)
@pytest.mark.case(responses=27)
def test_namespaces():
    inside = [part("function", name="query", description="Q."), part("custom", name="run")]
    request = asked(tools=[part("namespace", name="mcp__db", description="DB.", tools=inside)])
    assert request.answer.tools == {
        "mcp__db__query": LoweredTool("function", "query", "mcp__db"),
        "mcp__db__run": LoweredTool("custom", "run", "mcp__db"),
    }
    assert request.body["tools"][0]["function"]["description"] == "DB.\n\nQ."
    long = flattened("q" * 40, "n" * 40)
    assert len(long) == 64 and long == flattened("q" * 40, "n" * 40) != flattened("q" * 41, "n" * 40)
    assert flattened("a.b", "n/ü") == "n____a_b" and flattened("a.b") == "a.b"


def test_equal_names_28():
    tools = [
        part("function", name="a", description="1"),
        part("function", name="b"),
        part("function", name="a", description="2"),
    ]
    found = asked(tools=tools).body["tools"]
    assert [(each["function"]["name"], each["function"].get("description")) for each in found] == [
        ("a", "2"),
        ("b", None),
    ]


def test_tools_that_leave_29():
    request = asked(tools=[part("web_search"), part("image_generation")], tool_choice="auto", parallel_tool_calls=False)
    assert request.body == {"model": "m", "messages": [user("Hi")]}
    assert request.dropped == ("tools.web_search", "tools.image_generation")


CHOICES = {
    "31-function": (part("function", name="f"), part("function", function={"name": "f"})),
    "31-custom": (part("custom", name="g"), part("function", function={"name": "g"})),
    "31-shell": (part("shell"), part("function", function={"name": "shell"})),
    "32-allowed": (
        part("allowed_tools", mode="required", tools=[part("function", name="f"), part("web_search")]),
        part("allowed_tools", allowed_tools={"mode": "required", "tools": [part("function", function={"name": "f"})]}),
    ),
    "none": ("none", "none"),
}


@pytest.mark.parametrize(("given", "chat"), CHOICES.values(), ids=CHOICES)
def test_tool_choice(given: Any, chat: Any):
    tools = [part("function", name="f"), part("custom", name="g"), part("shell")]
    request = asked(tools=tools, tool_choice=given, parallel_tool_calls=False)
    assert request.body["tool_choice"] == chat
    assert request.body["parallel_tool_calls"] is False


def test_seals_go_to_their_message_45():
    fields = {"by": "claude", "model": "x", "blocks": [{"type": "thinking", "thinking": "t", "signature": "s"}]}
    own = part("reasoning", id="rs_ms1", summary=[], encrypted_content=seal.envelope(fields))
    request = asked([user("Hi"), own, fc("c"), out("c")])
    assert request.seals == {1: [fields]}
    restored = seal.restore(request.body, request.seals, "claude", "x")
    assert restored["messages"][1]["thinking_blocks"] == fields["blocks"]
    late = asked([user("Hi"), said(part("output_text", text="x")), own, user("more")])
    assert late.seals == {1: [fields]}
    second = asked(
        [user("Hi"), said(part("output_text", text="x")), own, said(part("output_text", text="y")), user("more")]
    )
    assert second.seals == {2: [fields]}


def test_what_the_answer_depends_on():
    wanted = asked(reasoning={"summary": "auto"}, include=["reasoning.encrypted_content"]).answer
    assert (wanted.summary, wanted.carried, wanted.logprobs) == (True, True, False)
    wanted = asked(include=["message.output_text.logprobs"]).answer
    assert (wanted.summary, wanted.carried, wanted.logprobs) == (False, False, True)


ADDRESSES = {
    "messages[0].content": "instructions",
    "messages[1].content[1].image_url.url": "input[0].content[2].image_url",
    "messages[2].content[1]": "input[2].content[1]",
    "messages[2].tool_calls[0].id": "input[3].call_id",
    "messages[2].tool_calls[0].function.arguments": "input[3].arguments",
    "messages[3].content": "input[4].output",
    "messages[3].tool_call_id": "input[4].call_id",
    "messages[9].role": "input",
    "tools[1].function.parameters": "tools[1].tools[0].parameters",
    "reasoning_effort": "reasoning.effort",
    "max_completion_tokens": "max_output_tokens",
    "response_format.json_schema.schema": "text.format.schema",
    "verbosity": "text.verbosity",
    "tool_choice.function.name": "tool_choice.name",
    "tool_choice.allowed_tools.tools": "tool_choice.tools",
    "tools[1].function.parameters.properties.function": "tools[1].tools[0].parameters.properties.function",
    "messages.1.content": "input",
    "logprobs": "include",
    "max_tokens_per_x": "max_tokens_per_x",
    "top_k": "top_k",
}


@pytest.mark.parametrize(("hub", "own"), ADDRESSES.items(), ids=ADDRESSES)
def test_paths(hub: str, own: str):
    content = [part("input_text", text="a"), part("summary_text", text="no"), part("input_image", image_url=PNG)]
    texts = [part("output_text", text="x"), part("output_text", text="y")]
    request = asked(
        [{"role": "user", "content": content}, part("reasoning", summary=[]), said(*texts), fc("c"), out("c")],
        instructions="I",
        tools=[part("function", name="f"), part("namespace", name="n", tools=[part("function", name="g")])],
    )
    assert within(hub, request.answer.places) == own


def test_paths_behind_a_stored_conversation():
    request = asked([user("a"), user("b")])
    places = request.answer.places._replace(before=1)
    assert within("messages[0].content", places) == "previous_response_id"
    assert within("messages[1].content", places) == "input[0].content"
    assert within("tools[0].type", places) == "tools[0].type" and within("messages[1].role") == "input"


@pytest.mark.parametrize(
    "path", [*ADDRESSES.values(), "tools[0].parameters.properties.function.type", "input[1].content[0]"]
)
def test_the_clients_own_paths_stay(path: str):
    assert within(path) == path


@pytest.mark.parametrize("row", sorted(HOSTS))
@pytest.mark.parametrize("case", MESSAGES)
def test_every_provider_takes_it_or_says_unsupported(case: str, row: str):
    given, fields, _ = MESSAGES[case]
    host = HOSTS[row]
    upstream = Upstream(
        name="p", model="echo", base_url="https://h", api_key="k", row=row, host=host, facts=ModelFacts()
    )
    try:
        PROVIDERS[host.protocol].build_request(asked(given, **fields).body, upstream)
    except Unsupported as failure:
        assert failure.param
    except BadRequest as failure:
        assert failure.param and "image" in f"{failure.message}"


ROUND = [
    "1-text",
    "2-instructions-first",
    "3-parts",
    "6-call",
    "7-order-of-outputs",
    "9-ids-used-again",
    "11-output-of-parts",
]


@pytest.mark.parametrize("case", ROUND)
def test_through_the_bridge_and_back(case: str):
    chat = MESSAGES[case][2]
    upstream = Upstream(name="p", model="m", base_url="https://h", host=HOSTS["openai"])
    sent = bridge({"model": "m", "messages": chat}, upstream).body
    back = parse(json.dumps(sent).encode(), {}).body["messages"]
    assert back == chat


@corpus.needed
def test_recorded_requests_are_taken_or_refused_for_what_only_their_server_has():
    taken = 0
    for exchange in (*corpus.load("openai-responses"), *corpus.load("compat-responses")):
        body = exchange["request"].get("body")
        if not isinstance(body, dict) or "input" not in body or not body.get("model"):
            continue
        try:
            parse(json.dumps(body).encode(), {})
            taken += 1
        except Unsupported as failure:
            assert failure.param
    assert taken > 200


def test_fields_come_in_one_order_in_every_process() -> None:
    given: Json = {
        "model": "m",
        "input": "Hi",
        "reasoning": {"effort": "low"},
        "max_output_tokens": 50,
        "temperature": 1,
    }
    given["text"] = {"format": {"type": "json_object"}, "verbosity": "low"}
    body = parse(json.dumps(given).encode()).body
    assert list(body) == [
        *(
            "temperature",
            "model",
            "messages",
            "max_completion_tokens",
            "reasoning_effort",
            "verbosity",
            "response_format",
        ),
    ]
