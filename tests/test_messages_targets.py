"""Messages requests as particular targets are sent them. Ids name the acceptance cases of the specification."""

import base64
import json
from typing import Any

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


def test_images_of_results_follow_as_the_users__case_33() -> None:
    messages = sent(history([IMAGE]), "openai")["messages"]
    assert messages[2:] == [
        {"role": "tool", "tool_call_id": "toolu_1", "content": "[see the image below]"},
        {"role": "user", "content": [{"type": "text", "text": "Images returned by tool Read (toolu_1):"}, URL]},
    ]


def test_two_results_have_one_message_behind_both__case_33() -> None:
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


def test_responses_claude_and_gemini_keep_them_in_the_result__case_33() -> None:
    output = sent(history([IMAGE]), "openai", ModelFacts(chat=False))["input"][2]["output"]
    assert output == [{"type": "input_image", "image_url": URL["image_url"]["url"], "detail": "auto"}]
    assert sent(history([IMAGE]), "anthropic")["messages"][2]["content"][0]["content"] == [IMAGE]
    parts = sent(history([IMAGE]), "gemini")["contents"][2]["parts"]
    assert "functionResponse" in parts[0]
    assert "inlineData" in json.dumps(parts)
    assert "see the image below" not in json.dumps(parts)
