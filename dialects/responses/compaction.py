"""A conversation made shorter: what the model is asked for, and the item that its summary comes and goes in. Pure.

Clients that know OpenAI have it do this, in two ways: by POST /v1/responses/compact, whose answer is the next input, and by
an ordinary request that ends in an item of type compaction_trigger, whose answer is one item of type compaction.
"""

from typing import Any, Final

from providers import codec
from providers.contract import Json
from providers.errors import BadRequest, UpstreamBadOutput

from .. import seal

MARK: Final = "msc1:"
TRIGGER: Final = "compaction_trigger"
_HEADING: Final = "Summary of the conversation so far, made by the assistant:\n\n"
_QUESTION: Final = (
    "The conversation is about to be replaced by a summary, with which you will go on. Write it now, as a hand-over to "
    "yourself: the goal, the decisions and why they were made, the state of the work, files and names that matter, the "
    "steps that are open, and what the user said last. Answer with the summary alone. Do not call tools."
)
_TOKENS: Final = 8192  # of a summary, at most
_KEPT: Final = 4 * 20_000  # characters of the user's latest messages that stay beside it
# What makes no sense of a summary.
_NOT_ASKED: Final = ("response_format", "parallel_tool_calls", "stop", "logprobs", "top_logprobs", "max_tokens", "n")


def sealed(text: str) -> str:
    """Return the encrypted_content of an item that holds this summary."""
    return seal.encrypted_content(MARK, codec.encode({"v": 1, "text": text}))


def opened(text: Any) -> str | None:
    """Return the summary that an encrypted_content of ours holds; None for any other value."""
    match seal.content_of(MARK, text):
        case {"v": 1, "text": str(summary)}:
            return summary
    return None


def as_message(summary: str) -> Json:
    """Return the message in which a summary goes to a model."""
    return {"type": "message", "role": "user", "content": [{"type": "input_text", "text": _HEADING + summary}]}


def triggered(raw: Any) -> bool:
    """Whether a request asks to have its conversation made shorter. Raises BadRequest where the item is not the last one."""
    given = raw.get("input") if isinstance(raw, dict) else None
    if not isinstance(given, list):
        return False
    places = [n for n, item in enumerate(given) if isinstance(item, dict) and item.get("type") == TRIGGER]
    if places and places != [len(given) - 1]:
        raise BadRequest(
            f"An item of type '{TRIGGER}' must be the last one of the input.",
            param=f"input[{places[0]}]",
            code="invalid_value",
        )
    return bool(places)


def without_trigger(raw: Json) -> Json:
    """Return a request without its last item."""
    return {**raw, "input": raw["input"][:-1]}


def question(body: Json) -> Json:
    """Return the chat request that asks for a summary of this one's conversation."""
    asked = {name: value for name, value in body.items() if name not in _NOT_ASKED}
    asked["messages"] = [*body["messages"], {"role": "user", "content": _QUESTION}]
    asked["max_completion_tokens"] = _TOKENS
    if "tools" in asked:
        asked["tool_choice"] = "none"
    else:
        asked.pop("tool_choice", None)
    if "reasoning_effort" in asked:
        asked["reasoning_effort"] = "low"
    return asked


def item(response: Json, unique: str) -> Json:
    """Return the item that holds the summary which a Response object says. Raises UpstreamBadOutput where it says none."""
    texts = [
        part.get("text") or ""
        for each in response["output"]
        if each.get("type") == "message"
        for part in each["content"]
        if part.get("type") == "output_text"
    ]
    text = "".join(texts).strip()
    if not text or response.get("status") != "completed":
        raise UpstreamBadOutput("The model did not give a whole summary of the conversation.")
    return {"id": f"cmp_ms{unique}0000", "type": "compaction", "encrypted_content": sealed(text)}


def latest(given: Any) -> list[Json]:
    """Return the user's messages of an input that fit beside a summary, the latest of them."""
    if isinstance(given, str):
        given = [{"type": "message", "role": "user", "content": [{"type": "input_text", "text": given}]}]
    kept: list[Json] = []
    room = _KEPT
    items: list[Any] = given if isinstance(given, list) else []
    for each in reversed(items):
        if isinstance(each, dict) and each.get("role") == "user" and each.get("type") in (None, "message"):
            room -= len(codec.encode(each.get("content")))
            if room < 0:
                break
            kept.append(each)
    return kept[::-1]
