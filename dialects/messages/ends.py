"""The first event of a message, and what the last ones say: what was used, and why it ended. Pure."""

from typing import Any, Final

from providers.common.usage import count
from providers.contract import Json

from ..contract import Envelope
from .wanted import Wanted

_BASE62: Final = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_PER_TOKEN: Final = 4  # characters, where the upstream has not counted
_NEAR: Final = 16  # tokens by which an answer that fills the context may miss its end
_REASONS: Final = {"length": "max_tokens", "content_filter": "refusal"}


def message_start(envelope: Envelope) -> Json:
    """Return the event that opens a message. Its prompt is an estimate, which the last event replaces."""
    message: Json = {
        "id": f"msg_01{_base62(int(envelope.unique, 16))}",
        "type": "message",
        "role": "assistant",
        "model": envelope.model,
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "stop_details": None,
        "usage": {**_usage(max(1, envelope.prompt_tokens), 0, 0, 1), "service_tier": "standard"},
    }
    return {"type": "message_start", "message": message}


def used(told: Json, envelope: Envelope, shown: int) -> Json:
    """Return the usage of a message. Input tokens are never 0: clients would go on with the estimate beside what was cached.

    told: by the upstream, {} where it was not; shown: characters of the answer.
    """
    if not told:
        return _usage(max(1, envelope.prompt_tokens), 0, 0, max(1, shown // _PER_TOKEN))
    prompt, output = count(told.get("prompt_tokens")), count(told.get("completion_tokens"))
    before = told.get("prompt_tokens_details") or {}
    thought = count((told.get("completion_tokens_details") or {}).get("reasoning_tokens"))
    read = min(count(before.get("cached_tokens")), max(prompt - 1, 0))
    written = min(count(before.get("cache_write_tokens")), max(prompt - 1 - read, 0))
    usage = _usage(max(1, prompt - read - written), written, read, output)
    return {**usage, "output_tokens_details": {"thinking_tokens": thought}} if thought else usage


def stop_reason(finish: str | None, stopped_by: Any, calls: bool, wanted: Wanted, usage: Json, context: int) -> str:
    """Return why a message ended. usage: used(); context: Envelope.context."""
    if finish == "length" and context:
        answer = usage["output_tokens"]
        prompt = usage["input_tokens"] + usage["cache_creation_input_tokens"] + usage["cache_read_input_tokens"]
        if answer < wanted.max_tokens and prompt + answer >= context - _NEAR:
            return "model_context_window_exceeded"
    if reason := _REASONS.get(finish or ""):
        return reason
    if calls:
        return "tool_use"
    return "stop_sequence" if finish == "stop" and stopped_by in wanted.stop_sequences else "end_turn"


def _usage(prompt: int, written: int, read: int, output: int) -> Json:
    return {
        "input_tokens": prompt,
        "cache_creation_input_tokens": written,
        "cache_read_input_tokens": read,
        "cache_creation": {"ephemeral_5m_input_tokens": written, "ephemeral_1h_input_tokens": 0},
        "output_tokens": output,
    }


def _base62(number: int) -> str:
    """Return a number of 128 bits in 22 digits."""
    digits = ""
    for _ in range(22):
        number, digit = divmod(number, 62)
        digits = _BASE62[digit] + digits
    return digits
