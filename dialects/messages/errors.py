"""Failures in Anthropic's shape, in the words that its clients act on. https://platform.claude.com/docs/en/api/errors

Claude Code compacts its conversation, or asks for less, when it reads that a prompt is too long; else its session is stuck.
"""

import re
from typing import Final

from providers import errors
from providers.contract import Json
from providers.errors import Failure

# Kind of failure → HTTP status and Anthropic's type. The nearest class counts.
_KINDS: Final[dict[type, tuple[int, str]]] = {
    errors.BadRequest: (400, "invalid_request_error"),
    errors.AuthenticationError: (401, "authentication_error"),
    errors.PermissionDenied: (403, "permission_error"),
    errors.NotFound: (404, "not_found_error"),
    errors.MethodNotAllowed: (405, "invalid_request_error"),
    errors.RequestTimeout: (408, "timeout_error"),
    errors.Conflict: (409, "conflict_error"),
    errors.RequestTooLarge: (413, "request_too_large"),
    errors.UnsupportedEncoding: (415, "invalid_request_error"),
    errors.RateLimitExceeded: (429, "rate_limit_error"),
    errors.UpstreamError: (502, "api_error"),
    errors.Overloaded: (529, "overloaded_error"),
    errors.QuotaExhausted: (503, "api_error"),
    errors.UpstreamTimeout: (504, "timeout_error"),
    Failure: (500, "api_error"),
}
_NAMED: Final = re.compile(r"[`']([^`']+)[`']")
_OURS: Final = re.compile(r"prompt is too long: \d+ tokens > \d+ maximum|exceed context limit: \d+ \+ \d+ > \d+")
_NEGATIVE: Final = re.compile(r"max_(?:completion_)?tokens\b.{0,80}(?:got|negative|:) ?-\d", re.IGNORECASE | re.DOTALL)
_N, _X, _L = (rf"(?P<{name}>\d[\d,]*)" for name in ("prompt", "limit", "context"))
# How upstreams tell the size of the prompt, the limit of the answer and the model's context; the first that fits counts.
_SIZES: Final = (
    rf"context length is (?:only )?{_L} .*?\({_N} (?:in|of|from) [^,]*?, {_X} (?:in|for) the (?:completion|output)",
    rf"context length is (?:only )?{_L} .*?{_N} tokens from the input.*?{_X} tokens for the completion",
    rf"passed {_N} input tokens and requested {_X} output tokens.*?context length is (?:only )?{_L}",
    rf"max_new_tokens`? must be <= {_L}.*?given: {_N} `?inputs`? tokens and {_X}",
    rf"max_(?:completion_)?tokens\S* is too large: {_X}\..*?context length is {_L} tokens and your request has {_N}",
    rf"input token count \(?{_N}\)? exceeds .*?\(?{_L}\)?\.?$",
    rf"prompt token count of {_N} exceeds the limit of {_L}",
    rf"request \({_N} tokens\) exceeds .*?\({_L} tokens\)",
    rf"current length is {_N} while limit is {_L}",
    rf"maximum (?:context|prompt) length is {_L} .*?(?:requested|resulted in|contains|has) (?:about )?{_N}",
)


def error_status(failure: Failure) -> int:
    """Return the HTTP status of an error: 529 where this server, or all upstreams, have no room."""
    return _kind(failure)[0]


def error_body(failure: Failure, request_id: str) -> Json:
    """Return Anthropic's error object, which is also the data of an error event."""
    error = {"type": _kind(failure)[1], "message": _message(failure)}
    return {"type": "error", "error": error, "request_id": request_id}


def _kind(failure: Failure) -> tuple[int, str]:
    if _is_budget(failure):
        return 429, "billing_error"
    return next(_KINDS[each] for each in type(failure).__mro__ if each in _KINDS)


def _is_budget(failure: Failure) -> bool:
    return isinstance(failure, errors.BudgetExceeded) and failure.code == "budget_exceeded"


def _message(failure: Failure) -> str:
    match failure:
        case errors.ContextLengthExceeded():
            return _too_long(failure.message)
        case errors.BadRequest() if _NEGATIVE.search(failure.message):  # NVIDIA NIM: what is left for the answer
            return "prompt is too long"
        case errors.BudgetExceeded(period=str(period)) if period:
            return f"spend limit reached ({period})"
        case errors.ModelNotFound() if found := _NAMED.search(failure.message):
            return f"model: {found[1]}. {failure.message}"
    return failure.message


def _too_long(message: str) -> str:
    """Return what an upstream said of a prompt that is too long in Anthropic's words, with its numbers if it told any."""
    if _OURS.search(message):
        return message
    for size in _SIZES:
        if found := re.search(size, message, re.IGNORECASE | re.DOTALL):
            prompt, limit, context = (
                int(text.replace(",", "")) if (text := found.groupdict().get(name)) else 0
                for name in ("prompt", "limit", "context")
            )
            if limit and prompt <= context:
                return (
                    f"input length and `max_tokens` exceed context limit: {prompt} + {limit} > {context}, "
                    "decrease input length or `max_tokens` and try again"
                )
            return f"prompt is too long: {prompt} tokens > {context} maximum"
    return "prompt is too long"
