"""What is refused of a Responses request, and by what path of that request: the real process, every kind of target.

No path or word of the chat request that it is translated to reaches the client.
"""

import re
from collections.abc import Iterator
from typing import Any

import httpx2 as httpx
import pytest
from process import Process
from scripted import Upstream, answer

Json = dict[str, Any]
CONFIG = """
server: {{port: 0}}
providers:
  echo: {{options: {{delay: 0}}}}
  claude: {{host: anthropic, base_url: "{url}/v1", api_key: "sk-upstream-canary"}}
  gemini: {{base_url: "{url}/v1beta", api_key: "sk-upstream-canary"}}
  chat: {{protocol: openai, base_url: "{url}/v1", api_key: "sk-upstream-canary"}}
models: {{echo: echo}}
"""
MODELS = {
    "claude": "claude/claude-sonnet-4-5",
    "gemini": "gemini/gemini-2.5-flash",
    "echo": "echo",
    "chat": "chat/refused",
}
HI: Json = {"role": "user", "content": "Hi"}
TEXT: Json = {"type": "input_text", "text": "a"}
PNG = "data:image/png;base64,iVBORw0KGgo="
ARRAY: Json = {"type": "function", "name": "f", "parameters": {"type": "array"}}
AUDIO: Json = {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "xyz"}}
NO_URL: Json = {"type": "input_image", "image_url": "nonsense"}
CALL: Json = {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"}
OUT: Json = {"type": "function_call_output", "call_id": "c", "output": "ok"}


def user(*parts: Json) -> Json:
    return {"role": "user", "content": list(parts)}


def form(**fields: Any) -> Json:
    return {"text": {"format": {"type": "json_schema", "name": "n", **fields}}}


def nested(**function: Any) -> Json:
    return {"tools": [{"type": "web_search"}, {"type": "namespace", "name": "n", "tools": [
        {"type": "function", "name": "g"}, {"type": "function", "name": "f", **function}]}]}  # fmt: skip


# Who refuses it, its input, other fields, and the path that the error names.
REFUSED: dict[str, tuple[str, Any, Json, str]] = {
    "model": ("echo", [HI], {"model": 5}, "model"),
    "input": ("echo", 5, {}, "input"),
    "no-input": ("echo", None, {}, "input"),
    "item": ("echo", [HI, 5], {}, "input[1]"),
    "item-without-type": ("echo", [HI, {}], {}, "input[1].type"),
    "role": ("echo", [HI, {"role": "boss", "content": "x"}], {}, "input[1].role"),
    "content": ("echo", [HI, {"role": "user", "content": 5}], {}, "input[1].content"),
    "part": ("echo", [HI, user(TEXT, {"type": "what"})], {}, "input[1].content[1].type"),
    "part-text": ("echo", [HI, user(TEXT, {"type": "input_text", "text": 5})], {}, "input[1].content[1].text"),
    "image": ("claude", [HI, user(TEXT, NO_URL)], {}, "input[1].content[1].image_url"),
    "image-behind-instructions": ("gemini", [user(TEXT, NO_URL)], {"instructions": "x"}, "input[0].content[1].image_url"),
    "image-data": (
        "gemini", [HI, user(TEXT, {"type": "input_image", "image_url": "data:image/png;base64,@@"})], {},
        "input[1].content[1].image_url"),
    "image-address": (
        "claude", [HI, user({"type": "input_image", "image_url": "http://10.0.0.1/x.png"}, TEXT)], {},
        "input[1].content[0].image_url"),
    "image-behind-thoughts": (
        "claude", [HI, user({"type": "summary_text", "text": "t"}, TEXT, NO_URL)], {}, "input[1].content[2].image_url"),
    "file": (
        "claude", [HI, user(TEXT, {"type": "input_file", "filename": "a.zip", "file_data": "UEsDBA=="})], {},
        "input[1].content[1].file_data"),
    "file-id": ("claude", [user({"type": "input_file", "file_id": "f"})], {}, "input[0].content[0].file_id"),
    "file-url": (
        "claude", [user({"type": "input_file", "file_url": "http://10.0.0.1/a.pdf"})], {}, "input[0].content[0].file_url"),
    "audio": ("claude", [HI, user(TEXT, AUDIO)], {}, "input[1].content[1].input_audio"),
    "audio-format": ("gemini", [HI, user(TEXT, AUDIO)], {}, "input[1].content[1].input_audio.format"),
    "image-of-the-system": ("claude", [{"role": "developer", "content": [{"type": "input_image", "image_url": PNG}]}, HI], {},
        "input[0].content"),
    "call-without-name": ("echo", [HI, {**CALL, "name": ""}, OUT], {}, "input[1].name"),
    "call-name": ("echo", [HI, {**CALL, "name": 5}, OUT], {}, "input[1].name"),
    "call-id": ("echo", [HI, {**CALL, "call_id": 5}, OUT], {}, "input[1].call_id"),
    "call-twice": ("claude", [HI, CALL, CALL, OUT, OUT], {}, "input[2].call_id"),
    "output": ("echo", [HI, CALL, {**OUT, "output": 5}], {}, "input[2].output"),
    "output-part": ("echo", [HI, CALL, {**OUT, "output": [TEXT, {"type": "what"}]}], {}, "input[2].output[1].type"),
    "output-image": ("claude", [HI, CALL, {**OUT, "output": [TEXT, NO_URL]}], {}, "input[2].output[1].image_url"),
    "output-image-of-an-interrupted-call": (
        "gemini", [HI, CALL, user(TEXT), {**OUT, "output": [TEXT, NO_URL]}], {}, "input[3].output[1].image_url"),
    "output-audio": ("gemini", [HI, CALL, {**OUT, "output": [AUDIO]}], {}, "input[2].output[0].input_audio.format"),
    "call-without-output": ("echo", [HI, CALL], {}, "input"),
    "output-without-call": ("echo", [HI, OUT], {}, "input"),
    "compaction": ("claude", [HI, {"type": "compaction", "encrypted_content": "gAAA"}], {}, "input[1]"),
    "instructions": ("echo", [HI], {"instructions": []}, "instructions"),
    "stream": ("echo", [HI], {"stream": "x"}, "stream"),
    "temperature": ("echo", [HI], {"temperature": "hot"}, "temperature"),
    "top_p": ("echo", [HI], {"top_p": 2}, "top_p"),
    "limit": ("echo", [HI], {"max_output_tokens": 0}, "max_output_tokens"),
    "limit-type": ("claude", [HI], {"max_output_tokens": "x"}, "max_output_tokens"),
    "reasoning": ("echo", [HI], {"reasoning": 5}, "reasoning"),
    "effort": ("echo", [HI], {"reasoning": {"effort": 5}}, "reasoning.effort"),
    "effort-claude": ("claude", [HI], {"reasoning": {"effort": "huge"}}, "reasoning.effort"),
    "effort-gemini": ("gemini", [HI], {"reasoning": {"effort": "huge"}}, "reasoning.effort"),
    "text": ("echo", [HI], {"text": 5}, "text"),
    "verbosity": ("echo", [HI], {"text": {"verbosity": 5}}, "text.verbosity"),
    "format": ("echo", [HI], {"text": {"format": 5}}, "text.format"),
    "format-type": ("echo", [HI], {"text": {"format": {"type": "xml"}}}, "text.format.type"),
    "format-name": ("echo", [HI], {"text": {"format": {"type": "json_schema", "schema": {}}}}, "text.format.name"),
    "format-schema": ("echo", [HI], form(schema=5), "text.format.schema"),
    "format-of-a-list": ("claude", [HI], form(schema={"type": "array"}, strict=True), "text.format.schema.type"),
    "logprobs": ("claude", [HI], {"include": ["message.output_text.logprobs"]}, "include"),
    "top_logprobs": ("echo", [HI], {"top_logprobs": 99}, "top_logprobs"),
    "include": ("echo", [HI], {"include": 5}, "include"),
    "tools": ("echo", [HI], {"tools": 5}, "tools"),
    "tool": ("echo", [HI], {"tools": [5]}, "tools[0]"),
    "tool-type": ("echo", [HI], {"tools": [{}]}, "tools[0].type"),
    "tool-name": ("echo", [HI], {"tools": [{"type": "web_search"}, {"type": "function"}]}, "tools[1].name"),
    "tool-parameters": ("claude", [HI], {"tools": [{"type": "web_search"}, ARRAY]}, "tools[1].parameters.type"),
    "tool-of-a-namespace": ("gemini", [HI], nested(parameters={"type": "array"}), "tools[1].tools[1].parameters.type"),
    "tool-of-an-item": ("claude", [{"type": "additional_tools", "tools": [ARRAY]}, HI], {}, "input[0].tools[0].parameters.type"),
    "tool-of-another-server": ("claude", [HI], {"tools": [ARRAY, {"type": "mcp"}]}, "tools[1].type"),
    "choice": ("echo", [HI], {"tool_choice": "x"}, "tool_choice"),
    "choice-name": ("echo", [HI], {"tools": [ARRAY], "tool_choice": {"type": "function", "name": "g"}}, "tool_choice"),
    "parallel": ("echo", [HI], {"parallel_tool_calls": "x"}, "parallel_tool_calls"),
    "tier": ("echo", [HI], {"service_tier": 5}, "service_tier"),
    "background": ("echo", [HI], {"background": True}, "background"),
    "conversation": ("echo", [HI], {"conversation": "c"}, "conversation"),
    "prompt": ("echo", [HI], {"prompt": {"id": "p"}}, "prompt"),
    "moderation": ("echo", [HI], {"moderation": {}}, "moderation"),
    "previous": ("echo", [HI], {"previous_response_id": "resp_x"}, "previous_response_id"),
}  # fmt: skip
_CHAT = re.compile(
    r"\bmessages\[|max_completion_tokens|reasoning_effort|response_format|json_schema\.|\btool_calls|\.function\b"
)


@pytest.fixture(scope="module")
def server(upstream: Upstream) -> Iterator[Process]:
    with Process(CONFIG.format(url=upstream.url)) as process:
        yield process


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize(("target", "given", "fields", "param"), REFUSED.values(), ids=REFUSED)
def test_a_refusal_names_the_clients_own_path(
    server: Process, http: httpx.Client, target: str, given: Any, fields: Json, param: str, streamed: bool
):
    found = http.post(
        f"{server.url}/responses", json={"model": MODELS[target], "input": given, "stream": streamed, **fields}
    )
    error = found.json()["error"]
    assert (found.status_code, error["param"]) == (400, param)
    assert error.keys() == {"message", "type", "param", "code"} and error["type"] == "invalid_request_error"
    assert not _CHAT.search(error["message"])


@pytest.mark.parametrize(
    ("given", "param"),
    [
        ([user(TEXT, NO_URL)], "input[0].content[1].image_url"),
        ([HI, user(TEXT, {"type": "what"})], "input[1].content[1].type"),
        ([HI, CALL, {**OUT, "output": 5}], "input[2].output"),
    ],
    ids=["by the provider", "a part", "an output"],
)
def test_paths_count_what_the_client_sent_not_what_it_goes_on_from(
    server: Process, http: httpx.Client, given: list[Json], param: str
):
    url = f"{server.url}/responses"
    first = http.post(url, json={"model": "echo", "input": [HI, HI]}).json()["id"]
    found = http.post(url, json={"model": MODELS["claude"], "input": given, "previous_response_id": first})
    error = found.json()["error"]
    assert (found.status_code, error["param"]) == (400, param)
    assert "'input[" not in error["message"] or f"'{param}" in error["message"]


def test_what_was_kept_may_be_at_fault(server: Process, http: httpx.Client):
    """Echo takes an image that Claude does not: then the conversation is named, which the client did not send again."""
    url = f"{server.url}/responses"
    first = http.post(url, json={"model": "echo", "input": [user(TEXT, NO_URL)]}).json()["id"]
    found = http.post(url, json={"model": MODELS["claude"], "input": "Hi", "previous_response_id": first})
    assert (found.status_code, found.json()["error"]["param"]) == (400, "previous_response_id")


@pytest.mark.parametrize(
    ("param", "told"),
    [
        ("messages[2].content", "input"),
        ("messages.2.content", "input"),
        ("reasoning_effort", "reasoning.effort"),
        ("max_completion_tokens", "max_output_tokens"),
        ("response_format.json_schema", "text.format"),
        ("temperature", "temperature"),
    ],
)
def test_an_upstreams_refusal_of_a_translated_request(
    server: Process, upstream: Upstream, http: httpx.Client, param: str, told: str
):
    """Its places of messages are not ours: the input is named."""
    message = f"Invalid value for '{param}'."
    error = {"message": message, "type": "invalid_request_error", "param": param, "code": "invalid_value"}
    upstream.script("refused", answer({"error": error}, 400))
    found = http.post(f"{server.url}/responses", json={"model": MODELS["chat"], "input": [HI, HI]})
    assert (found.status_code, found.json()["error"]["param"]) == (400, told)
    assert not _CHAT.search(found.json()["error"]["message"])
