"""Why an answer ended: an upstream's word → one of OpenAI's four, a closed list that clients validate.

One table for all protocols and hosts, in any capitals: relays pass on the words of the protocol behind them untranslated.
Some words say that the answer broke off: they are failures, whatever came before. One that nobody has documented does not
reach the client; the caller's default stands for it, and the log names it once.
"""

import logging
from collections.abc import Callable
from functools import lru_cache
from typing import Any, Final

from ..errors import Failure, Overloaded, UpstreamBadOutput, UpstreamError, UpstreamTruncated

_LOGGER: Final = logging.getLogger("modelserver")


def _failed(word: str) -> Failure:
    return UpstreamError("The upstream failed while answering.")


def _unreadable(word: str) -> Failure:
    return UpstreamBadOutput(f"The model's answer could not be read ({word}). Repeat the request.")


_REASONS: Final = {
    form: reason
    for reason, words in {
        "stop": "stop eos eos_token end end_turn stop_sequence stop_token pause_turn complete completed finished",
        "length": (
            "length max_length model_length max_tokens max_output_tokens max_completion_tokens token_limit compaction "
            "continuation context_length_exceeded model_context_window_exceeded error_limit"
        ),
        "tool_calls": "tool_calls tool_call tool_use function_calls",
        "function_call": "function_call",  # of hosts that still answer with one
        "content_filter": (
            "content_filter content_filtered sensitive refusal safety recitation language blocklist prohibited_content "
            "spii image_safety image_prohibited_content image_recitation image_other escalation pup_limited_disabled "
            "model_armor guardrail_intervened error_toxic"
        ),
    }.items()
    for word in words.split()
    for form in (word, word.upper())  # as Google writes them
}
_BROKEN: Final = (
    *("error", "failed", "abort", "aborted", "cancelled", "canceled", "timeout"),
    *("network_error", "internal_error", "server_error", "user_cancel"),
)
# The model's answer could not be read. "stop" would make the client take half an answer, or none, for a whole one.
_UNREADABLE: Final = (
    *("malformed_function_call", "malformed_tool_call", "unexpected_tool_call", "too_many_tool_calls"),
    *("malformed_response", "missing_thought_signature", "no_image"),
)
_FAILURES: Final[dict[str, Callable[[str], Failure]]] = {
    **dict.fromkeys(_BROKEN, _failed),
    **dict.fromkeys(_UNREADABLE, _unreadable),
    "insufficient_system_resource": lambda _: Overloaded(
        "The upstream ran out of resources while answering. Try again later."
    ),
    # Ollama: the model came or went instead of answering.
    "load": lambda _: UpstreamTruncated(),
    "unload": lambda _: UpstreamTruncated(),
}
_UNSAID: Final = frozenset({"", "null", "none", "other", "unknown", "unspecified", "finish_reason_unspecified"})


def failure_of(word: Any) -> Failure | None:
    """The failure that a word stands for, if it stands for one."""
    if type(word) is str and word in _REASONS:
        return None
    failure = _FAILURES.get(_plain(word))
    return failure(word.strip()) if failure is not None else None


def reason_of(word: Any, called: bool = False, old: bool = False, default: str = "stop") -> str:
    """OpenAI's finish_reason for an upstream's word. Logs a word that is unknown, for which `default` stands.

    called: whether the answer holds tool calls, which some words leave unsaid; old: whether it holds a function_call of old.
    Raises the failure that a word stands for, and TypeError for what cannot be a word.
    """
    try:
        reason = _REASONS.get(word) or _translated(word, default)
    except TypeError:  # it has no hash
        raise TypeError("a finish_reason that is no word") from None
    if called and reason in ("stop", "function_call"):
        return "tool_calls"
    return "stop" if reason == "function_call" and not old else reason


def _translated(word: Any, default: str) -> str:
    """The same for a word that is not written as in the table."""
    plain = _plain(word)
    if plain in _FAILURES:
        raise _FAILURES[plain](word.strip())
    if plain not in _REASONS and word is not None and plain not in _UNSAID:
        _note(str(word)[:64])
    return _REASONS.get(plain, default)


def _plain(word: Any) -> str:
    if not isinstance(word, str):
        return "" if not word else repr(word)[:64]
    return word.strip().lower().replace("-", "_").replace(" ", "_")


@lru_cache(256)
def _note(word: str) -> None:
    """Log an unknown word: the cache keeps it from being logged again."""
    _LOGGER.warning("an upstream ended an answer with %r, which is no finish_reason that is known here", word)
