"""What google-genai's own code reads from the bytes of a Gemini answer: an implementation that is not ours.

`reads(body)` and `said(chunks)` both give an Answer: what Google's SDK and what our chunks make of the same stream.
"""

import base64
import json
from collections import defaultdict
from collections.abc import Iterable
from typing import Any, NamedTuple

import httpx2
import pydantic
from google.genai import types
from google.genai._api_client import HttpResponse
from google.genai.models import _GenerateContentResponse_from_mldev

Call = tuple[str | None, str, str]  # upstream id or None, name, arguments as canonical JSON


class Choice(NamedTuple):
    text: str
    reasoning: str
    calls: list[Call]
    signatures: list[str | None]  # of the calls
    images: list[str]  # as data URIs
    finish: str | None


class Answer(NamedTuple):
    choices: dict[int, Choice]
    refused: bool  # the prompt was blocked
    usage: tuple[int, int, int, int] | None  # prompt, completion, cached, reasoning


# What OpenAI's words are for google-genai's enum, written down a second time.
_STOPS = {"STOP": "stop", "MAX_TOKENS": "length", "CONTINUATION": "length"}
_FILTERS = {
    *("SAFETY", "RECITATION", "LANGUAGE", "BLOCKLIST", "PROHIBITED_CONTENT", "SPII"),
    *("IMAGE_SAFETY", "IMAGE_PROHIBITED_CONTENT", "IMAGE_OTHER", "IMAGE_RECITATION"),
    *("ESCALATION", "PUP_LIMITED_DISABLED", "MODEL_ARMOR"),
}
BROKEN = {
    *("MALFORMED_FUNCTION_CALL", "UNEXPECTED_TOOL_CALL", "TOO_MANY_TOOL_CALLS", "MALFORMED_RESPONSE"),
    *("MISSING_THOUGHT_SIGNATURE", "NO_IMAGE"),
}


def responses(body: bytes) -> list[types.GenerateContentResponse]:
    """The SDK's SSE reader and types over an event stream."""
    http = HttpResponse({}, response_stream=httpx2.Response(200, content=body))
    return [response(data) for data in http.segments()]


def response(data: Any) -> types.GenerateContentResponse:
    return types.GenerateContentResponse._from_response(
        response=_GenerateContentResponse_from_mldev(data, None, None), kwargs={"config": {}}
    )


def reads(events: Iterable[types.GenerateContentResponse]) -> Answer:
    """A stream of the SDK's responses → the answer."""
    parts: dict[int, list[types.Part]] = defaultdict(list)
    finish: dict[int, str] = {}
    blocked, usage = False, None
    for event in events:
        usage = event.usage_metadata or usage
        blocked = blocked or bool(event.prompt_feedback and event.prompt_feedback.block_reason)
        for candidate in event.candidates or ():
            index = candidate.index or 0
            parts[index] += (candidate.content.parts if candidate.content else None) or []
            if candidate.finish_reason:
                finish[index] = candidate.finish_reason.value
    if blocked and not parts:
        parts[0], finish[0] = [], "SAFETY"
    choices = {index: _choice(those, finish.get(index)) for index, those in parts.items()}
    return Answer(choices, blocked, _usage(usage))


def _choice(parts: list[types.Part], finish: str | None) -> Choice:
    calls = [part for part in parts if part.function_call]
    text = "".join(part.text for part in parts if part.text and not part.thought)
    reason = "content_filter" if finish in _FILTERS else _STOPS.get(finish or "")
    if finish and reason in ("stop", None):
        reason = "tool_calls" if calls else reason or ("stop" if text else "content_filter")
    return Choice(
        text=text,
        reasoning="".join(part.text for part in parts if part.text and part.thought),
        calls=[
            (part.function_call.id, part.function_call.name or "", canonical(part.function_call.args or {}))
            for part in calls
            if part.function_call
        ],
        signatures=[_base64(part.thought_signature) for part in calls],
        images=[
            f"data:{part.inline_data.mime_type};base64,{_base64(part.inline_data.data)}"
            for part in parts
            if part.inline_data and (part.inline_data.mime_type or "").startswith("image/") and not part.thought
        ],
        finish=reason,
    )


def _usage(usage: types.GenerateContentResponseUsageMetadata | None) -> tuple[int, int, int, int] | None:
    if usage is None:
        return None
    prompt = (usage.prompt_token_count or 0) + (usage.tool_use_prompt_token_count or 0)
    output, thoughts = usage.candidates_token_count or 0, usage.thoughts_token_count or 0
    completion = output if prompt + output == usage.total_token_count else output + thoughts
    return prompt, completion, usage.cached_content_token_count or 0, thoughts


def said(chunks: Iterable[dict[str, Any]]) -> Answer:
    """Our chunks → the answer. Holds the rules of a stream, too: role first and once, one finish, dense indexes."""
    deltas: dict[int, list[dict[str, Any]]] = defaultdict(list)
    finish: dict[int, str] = {}
    usage = None
    for chunk in chunks:
        assert usage is None, "nothing may follow the usage chunk"
        if not chunk["choices"]:
            usage = chunk["usage"]
            continue
        for choice in chunk["choices"]:
            assert choice["index"] not in finish, "nothing may follow the finish chunk"
            assert ("role" in choice["delta"]) == (choice["index"] not in deltas), "role: first, and once"
            deltas[choice["index"]].append(choice["delta"])
            if choice["finish_reason"]:
                finish[choice["index"]] = choice["finish_reason"]
    choices = {}
    for index, pieces in deltas.items():
        calls = [call for piece in pieces for call in piece.get("tool_calls", ())]
        assert [call["index"] for call in calls] == list(range(len(calls)))
        choices[index] = Choice(
            text="".join(piece.get("content") or "" for piece in pieces),
            reasoning="".join(piece.get("reasoning_content", "") for piece in pieces),
            calls=[
                (call["id"], call["function"]["name"], canonical(json.loads(call["function"]["arguments"])))
                for call in calls
            ],
            signatures=[call.get("extra_content", {}).get("google", {}).get("thought_signature") for call in calls],
            images=[image["image_url"]["url"] for piece in pieces for image in piece.get("images", ())],
            finish=finish.get(index),
        )
    refused = any("refusal" in piece for pieces in deltas.values() for piece in pieces)
    return Answer(choices, refused, usage and _books(usage))


def _books(usage: dict[str, Any]) -> tuple[int, int, int, int]:
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]
    return (
        usage["prompt_tokens"],
        usage["completion_tokens"],
        usage["prompt_tokens_details"]["cached_tokens"],
        usage["completion_tokens_details"]["reasoning_tokens"],
    )


def same_ids(ours: Answer, theirs: Answer) -> Answer:
    """Ours with the ids that we made up taken out again where Gemini gave none."""
    return ours._replace(
        choices={
            index: choice._replace(
                calls=[
                    (given[0], *call[1:]) if given[0] is None and call[0].startswith("call_") else call
                    for call, given in zip(choice.calls, theirs.choices[index].calls, strict=True)
                ]
            )
            for index, choice in ours.choices.items()
        }
    )


def canonical(value: Any) -> str:
    return json.dumps(value, sort_keys=True)


def _base64(data: bytes | None) -> str | None:
    return base64.b64encode(data).decode() if data is not None else None


class Body(pydantic.BaseModel, extra="forbid"):
    """A generateContent request as google-genai's types know it: an unknown field or value is an error."""

    contents: list[types.Content]
    systemInstruction: types.Content | None = None
    tools: list[types.Tool] | None = None
    toolConfig: types.ToolConfig | None = None
    safetySettings: list[types.SafetySetting] | None = None
    generationConfig: types.GenerationConfig | None = None
    serviceTier: types.ServiceTier | None = None
    continuationToken: str | None = None
