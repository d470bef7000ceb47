"""Claude's errors: HTTP bodies and `error` events → failures. https://platform.claude.com/docs/en/api/errors"""

import re
from typing import Any

from .. import codec
from ..common.error_codes import sharp_code, status_of
from ..common.error_shapes import as_words, opened, told_instead
from ..contract import Json
from ..errors import Failure, ModelNotFound, from_upstream, words_of

# Error types of the API as HTTP statuses: in a stream there is no other. https://platform.claude.com/docs/en/api/errors
_STATUS = {
    "invalid_request_error": 400,
    "authentication_error": 401,
    "billing_error": 402,
    "permission_error": 403,
    "not_found_error": 404,
    "conflict_error": 409,
    "request_too_large": 413,
    "rate_limit_error": 429,
    "api_error": 500,
    "timeout_error": 504,
    "overloaded_error": 529,
}

# Where the upstream speaks about this server's account, or says nothing.
_WORDS = {
    403: "The upstream does not permit this request.",
    409: "The upstream is busy with a conflicting request. Try again.",
    429: "The upstream's rate limit is reached. Try again later.",
    504: "The upstream took too long.",
}

# Claude begins its complaints with a path into its own body: the parameter of ours it stands for.
_PARAMS = {
    "messages": "messages",
    "system": "messages",
    "max_tokens": "max_completion_tokens",
    "temperature": "temperature",
    "top_p": "top_p",
    "stop_sequences": "stop",
    "tools": "tools",
    "tool_choice": "tool_choice",
    "thinking": "reasoning_effort",
    "output_config": "response_format",
}

_PATH = re.compile(r"(\w+)[.:]")

# Characters of an upstream's message that are looked at: one of the patterns below costs the square of what it is given.
_LONGEST = 1000

_SCRUB = (
    (re.compile(r"[^.;]*https?://\S+[^.;]*[.;]?"), ""),  # advice that points to the upstream's pages
    (re.compile(r"\s*\((?:org|request)[^)]*\)|\breq_\w+"), ""),
    (re.compile(r"\bclaude-[\w.@-]*\w", re.IGNORECASE), "the model"),
    (re.compile(r"\b(?:anthropic|claude)(?:'s)?\b", re.IGNORECASE), "the upstream"),
)


def parse_error(status: int, body: bytes) -> Failure:
    """An upstream failure → ours. Retry-After is a header: the caller sets Failure.retry_after."""
    try:
        data = codec.decode(body)
    except ValueError:
        data = None if body.lstrip()[:1] == b"<" else words_of(body)
    return to_failure(data, status)


def to_failure(data: Any, status: int | None = None) -> Failure:
    """Error data, in any of the shapes gateways in between make of it → ours. status: None in a stream."""
    wrong = _read(data)
    kind, message = wrong.get("type"), as_words(wrong.get("message"), _LONGEST)
    details = wrong.get("details")
    code = details.get("error_code") if isinstance(details, dict) else None
    code = code if isinstance(code, str) else sharp_code(wrong)
    status = (
        status
        if status is not None and status >= 400
        else (_STATUS.get(kind) if isinstance(kind, str) else None) or status_of(wrong)
    )
    if "usage limits" in message.lower():  # "You have reached your specified API usage limits": the operator's own cap
        code = "billing_error"
    words = _WORDS.get(status)
    if words is None and (status < 500 or status == 529):
        words = _scrubbed(message)
    if status == 404 and message.startswith("model:"):
        words = "The upstream does not know this model."
    path = _PATH.match(message)
    param = _PARAMS.get(path[1]) if path and status == 400 else None
    words = words or "The upstream failed. Try again later."
    failure = from_upstream(status, words, code=code, param=param, said=message)
    if isinstance(failure, ModelNotFound):
        failure.certain = message.startswith("model:")
    return failure


def _read(data: Any) -> Json:
    """Return what went wrong as one object, with type and message."""
    if isinstance(data, list):
        data = data[0] if data else None
    if isinstance(data, dict):
        return told_instead(data, sure=False) or {}
    return opened(data) if isinstance(data, str) else {}


def _scrubbed(message: str) -> str:
    for pattern, instead in _SCRUB:
        message = pattern.sub(instead, message)
    return message.strip()
