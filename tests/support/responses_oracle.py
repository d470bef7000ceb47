"""What the official openai SDK reads of a /v1/responses answer, as a chat client should hear it.

Streams are read through the SDK's own decoder: of its events the last whole response counts, which is not what the code
under test looks at.
"""

from typing import Any

import httpx2 as httpx
from chat_oracle import Choice, Said
from openai import APIError, OpenAI

Json = dict[str, Any]


def read(body: bytes, kind: str, streamed: bool) -> tuple[Json | None, str]:
    """The response at the end, and the error that the SDK raised or was told of.

    The SDK forgets a last event that lacks its blank line, which two recorders left out: it is added.
    """
    body += b"\n\n" if streamed else b""
    transport = httpx.MockTransport(lambda request: httpx.Response(200, content=body, headers={"content-type": kind}))
    last: Json | None = None
    with OpenAI(
        base_url="http://x/v1", api_key="-", max_retries=0, http_client=httpx.Client(transport=transport)
    ) as sdk:
        try:
            if not streamed:
                last = sdk.responses.create(model="m", input="x").model_dump(exclude_unset=True, warnings=False)
            else:
                for event in sdk.responses.create(model="m", input="x", stream=True):
                    told = event.model_dump(exclude_unset=True, warnings=False)
                    if told["type"] == "error":
                        return last, told.get("message") or str(told.get("error"))
                    if told["type"] in ("response.completed", "response.incomplete", "response.failed"):
                        last = told["response"]
        except APIError as error:
            return last, error.message or "error"
    return last, "failed" if last and last.get("status") == "failed" else ""


def said(response: Json) -> Said:
    """A whole response as a chat answer."""
    items = response.get("output") or []
    messages = [item["content"] for item in items if item["type"] == "message"]
    parts = [part for content in messages for part in content]
    texts = ["".join(part["text"] for part in content if part["type"] == "output_text") for content in messages]
    calls = tuple(
        (item["call_id"], item["name"], item.get("arguments") or item.get("input") or "{}")
        for item in items
        if item["type"] in ("function_call", "custom_tool_call")
    )
    thoughts = [
        part["text"]
        for item in items
        if item["type"] == "reasoning"
        for part in [*(item.get("summary") or ()), *(item.get("content") or ())]
    ]
    finish = "tool_calls" if calls else "stop"
    if response.get("status") == "incomplete":
        reason = (response.get("incomplete_details") or {}).get("reason")
        finish = "content_filter" if reason == "content_filter" else "length"
    cited = [a for part in parts for a in part.get("annotations") or () if a["type"] == "url_citation"]
    choice = Choice(
        content="\n\n".join(filter(None, texts)),  # messages are texts of their own
        reasoning="\n\n".join(thoughts),
        refusal="".join(part["refusal"] for part in parts if part["type"] == "refusal"),
        calls=calls,
        finish=finish,
        logprobs=0,
        audio="",
        more=len(cited),
    )
    return Said({0: choice}, _usage(response.get("usage")))


def _usage(usage: Any) -> tuple[int, int, int, int] | None:
    if not usage:
        return None
    read, written = usage.get("input_tokens_details") or {}, usage.get("output_tokens_details") or {}
    cached, reasoning = read.get("cached_tokens") or 0, written.get("reasoning_tokens") or 0
    return usage["input_tokens"], usage["output_tokens"], cached, reasoning
