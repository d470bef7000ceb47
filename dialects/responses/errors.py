"""Failures as a client of the Responses API is told of them: as an HTTP error, or inside a stream."""

import re
from collections.abc import Mapping
from math import ceil
from typing import Final

from providers.contract import Json
from providers.errors import (
    BadRequest,
    BudgetExceeded,
    ContextLengthExceeded,
    Failure,
    Overloaded,
    QuotaExhausted,
    RateLimitExceeded,
    RequestTooLarge,
    UpstreamAuthError,
    UpstreamBadOutput,
    UpstreamTimeout,
    UpstreamTruncated,
)

# Parameter of the hub → the client's word for it.
parameters: Final[Mapping[str, str]] = {
    "messages": "input",
    "max_completion_tokens": "max_output_tokens",
    "max_tokens": "max_output_tokens",
    "reasoning_effort": "reasoning.effort",
    "response_format": "text.format",
    "verbosity": "text.verbosity",
    "web_search_options": "tools.web_search",
    "logprobs": "include",
}
# What a failure is inside a stream: the first row of which it is an instance. Clients decide by it whether to try again.
_CODES: Final[tuple[tuple[type[Failure], str], ...]] = (
    (ContextLengthExceeded, "context_length_exceeded"),
    (QuotaExhausted, "insufficient_quota"),
    (BudgetExceeded, "insufficient_quota"),
    (Overloaded, "server_is_overloaded"),
    (RateLimitExceeded, "rate_limit_exceeded"),
    (BadRequest, "invalid_prompt"),
    (RequestTooLarge, "invalid_prompt"),
    (UpstreamTruncated, "upstream_truncated"),
    (UpstreamBadOutput, "upstream_bad_output"),
    (UpstreamTimeout, "upstream_timeout"),
    (UpstreamAuthError, "upstream_auth_error"),
)
_SHUTDOWN: Final = "server_shutting_down"
_HEAD: Final = re.compile(r"[a-z_]+")
_MESSAGES: Final = re.compile(r"\bmessages(?:\[\d+\](?:\.[a-z_]+|\[\d+\])*|(?='))")


def error_status(failure: Failure) -> int:
    """Return the status that a failure has by itself."""
    return failure.status


def error_body(failure: Failure, request_id: str) -> Json:
    """Return OpenAI's error object, with its four keys."""
    error = failure.body()["error"]
    return {"error": {**error, "message": _in_words(failure.message), "param": _param(failure.param)}}


def stream_error(failure: Failure) -> tuple[Json, Json]:
    """Return what the events error (without its number) and response.failed say of a failure."""
    code, message = _code(failure), _in_words(failure.message)
    if code == "rate_limit_exceeded" and failure.retry_after is not None:
        message = f"{message.rstrip()} Please try again in {max(1, ceil(failure.retry_after))}s."
    said: Json = {"code": code, "message": message, "param": _param(failure.param)}
    return {**said, "error": {"type": failure.type, **said}}, {"code": code, "message": message}


def _code(failure: Failure) -> str:
    if failure.code == _SHUTDOWN:
        return "server_error"
    return next((code for kind, code in _CODES if isinstance(failure, kind)), "server_error")


def _param(param: str | None) -> str | None:
    """Return a parameter as the client calls it. No path into messages is any of the client's: it becomes its input."""
    head = _HEAD.match(param) if param else None
    if param is None or head is None or head[0] not in parameters:
        return param
    name = parameters[head[0]]
    return name if head[0] == "messages" else name + param[head.end() :]


def _in_words(message: str) -> str:
    return _MESSAGES.sub("input", message) if "messages" in message else message
