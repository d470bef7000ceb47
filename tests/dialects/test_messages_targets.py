"""Messages requests as particular targets are sent them. Ids name the acceptance cases of the specification."""

import base64
import json
from typing import Any

import pytest

from dialects import seal
from dialects.messages import request
from providers import PROVIDERS
from providers.contract import Upstream
from providers.hosts import HOSTS
from providers.models import ModelFacts

Json = dict[str, Any]
PNG = base64.b64encode(b"\x89PNG\r\n\x1a\n" + bytes(24)).decode()
IMAGE = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PNG}}
URL = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG}"}}
TOOL = {"name": "Read", "input_schema": {"type": "object", "properties": {}}}

NOTHING_KNOWN = ModelFacts()


def history(*results: Any, after: Any = ()) -> list[Json]:
    """A turn whose calls toolu_1, toolu_2 … have these results, and what the user says beside them."""
    uses = [{"type": "tool_use", "id": f"toolu_{n}", "name": "Read", "input": {}} for n, _ in enumerate(results, 1)]
    found = [{"type": "tool_result", "tool_use_id": f"toolu_{n}", "content": c} for n, c in enumerate(results, 1)]
    return [
        {"role": "user", "content": "go"},
        {"role": "assistant", "content": uses},
        {"role": "user", "content": [*found, *after]},
    ]


def sent(messages: list[Json], row: str, facts: ModelFacts = NOTHING_KNOWN) -> Json:
    """What a host is sent for a request."""
    got = request.parse(json.dumps({"model": "m", "max_tokens": 9, "messages": messages, "tools": [TOOL]}).encode())
    assert got.refusal is None
    host = HOSTS[row]
    return dict(
        PROVIDERS[host.protocol].build_request(got.body, Upstream("p", "m", "http://u", host=host, facts=facts)).body
    )


@pytest.mark.case(messages=33)
def test_images_of_results_follow_as_the_users() -> None:
    messages = sent(history([IMAGE]), "openai")["messages"]
    assert messages[2:] == [
        {"role": "tool", "tool_call_id": "toolu_1", "content": "[see the image below]"},
        {"role": "user", "content": [{"type": "text", "text": "Images returned by tool Read (toolu_1):"}, URL]},
    ]


@pytest.mark.case(messages=33)
def test_two_results_have_one_message_behind_both() -> None:
    said = {"type": "text", "text": "and now?"}
    messages = sent(history([{"type": "text", "text": "ok"}, IMAGE], "plain", [IMAGE], after=[said]), "together")[
        "messages"
    ]
    assert messages[2:] == [
        {"role": "tool", "tool_call_id": "toolu_1", "content": "ok\n[see the image below]"},
        {"role": "tool", "tool_call_id": "toolu_2", "content": "plain"},
        {"role": "tool", "tool_call_id": "toolu_3", "content": "[see the image below]"},
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "Images returned by tool Read (toolu_1):"},
                URL,
                {"type": "text", "text": "Images returned by tool Read (toolu_3):"},
                URL,
            ],
        },
        {"role": "user", "content": "and now?"},
    ]


@pytest.mark.case(messages=33)
def test_responses_claude_and_gemini_keep_them_in_the_result() -> None:
    output = sent(history([IMAGE]), "openai", ModelFacts(chat=False))["input"][2]["output"]
    assert output == [{"type": "input_image", "image_url": URL["image_url"]["url"], "detail": "auto"}]
    assert sent(history([IMAGE]), "anthropic")["messages"][2]["content"][0]["content"] == [IMAGE]
    parts = sent(history([IMAGE]), "gemini")["contents"][2]["parts"]
    assert "functionResponse" in parts[0]
    assert "inlineData" in json.dumps(parts)
    assert "see the image below" not in json.dumps(parts)


def asked_again(thinking: Json, row: str, provider: str, facts: ModelFacts = NOTHING_KNOWN) -> Json:
    """What a host is sent of a conversation in which the call call_1 has this thinking before it."""
    use = {"type": "tool_use", "id": "call_1", "name": "Read", "input": {}}
    found = {"type": "tool_result", "tool_use_id": "call_1", "content": "x"}
    messages = [
        {"role": "user", "content": "go"},
        {"role": "assistant", "content": [thinking, use]},
        {"role": "user", "content": [found]},
    ]
    body = {"model": "m", "max_tokens": 9, "messages": messages, "tools": [TOOL]}
    got = request.parse(json.dumps(body).encode())
    host = HOSTS[row]
    to = Upstream(provider, "m", "http://u", host=host, facts=facts)
    return dict(PROVIDERS[host.protocol].build_request(seal.restore(got.body, got.seals, provider, "m"), to).body)


def ours(text: str = "hm", **sealed: Any) -> Json:
    return {"type": "thinking", "thinking": text, "signature": seal.signature({"model": "m", **sealed})}


SIGNED: Json = {"type": "thinking", "thinking": "hm", "signature": "EqQBClaude"}


@pytest.mark.parametrize(
    ("thinking", "row", "expected"),
    [(ours(by="deepseek"), "deepseek", "hm"), (ours(by="deepseek"), "openai", None), (SIGNED, "deepseek", None)],
)
@pytest.mark.case(messages=36)
def test_thinking_goes_to_hosts_that_take_it(thinking: Json, row: str, expected: str | None) -> None:
    assert asked_again(thinking, row, row)["messages"][1].get("reasoning_content") == expected


@pytest.mark.parametrize(("provider", "kept"), [("openai", True), ("azure", False)])
@pytest.mark.case(messages=37)
def test_sealed_items_go_back_to_who_made_them(provider: str, kept: bool) -> None:
    item = {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "e"}
    sent = asked_again(ours(by="openai", items=[item]), "openai", provider, ModelFacts(chat=False))["input"]
    assert [each for each in sent if each.get("type") == "reasoning"] == [item] * kept


@pytest.mark.case(messages=38)
def test_a_signature_goes_back_to_gemini() -> None:
    thinking = ours("", by="gemini", extra={"call_1": {"google": {"thought_signature": "c2lnbmVk"}}})
    parts = asked_again(thinking, "gemini", "gemini", ModelFacts(signatures=True))["contents"][1]["parts"]
    assert [part["thoughtSignature"] for part in parts if "functionCall" in part] == ["c2lnbmVk"]


@pytest.mark.case(messages=27)
def test_cache_marks_stay_where_they_are_read() -> None:
    mark = {"cache_control": {"type": "ephemeral"}}
    system = [{"type": "text", "text": "A", **mark}, {"type": "text", "text": "B"}]
    body = {"model": "m", "max_tokens": 9, "system": system, "messages": [{"role": "user", "content": "go"}]}
    got = request.parse(json.dumps(body).encode())
    for row, marked in (("openrouter", system), ("openai", [{"type": "text", "text": "A"}, system[1]])):
        to = Upstream("p", "m", "http://u", host=HOSTS[row])
        assert PROVIDERS["openai"].build_request(got.body, to).body["messages"][0] == {
            "role": "system",
            "content": marked,
        }


@pytest.mark.case(messages=40)
def test_a_system_turn_where_templates_take_one() -> None:
    turns = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}, {"role": "user", "content": "c"}]
    turns.insert(2, {"role": "system", "content": "S"})
    messages = sent(turns, "vllm")["messages"]
    assert [message["role"] for message in messages] == ["user", "assistant", "user"]
    assert "<system>\nS\n</system>" in messages[2]["content"]
