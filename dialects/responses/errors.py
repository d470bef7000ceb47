"""Failures as a client of the Responses API is told of them: as an HTTP error, or inside a stream."""

import re
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

from .params import PARAMETERS, within

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
# Names of chat's parameters that are no words of any language.
_NAMES: Final = re.compile(rf"\b(?:{'|'.join(sorted((each for each in PARAMETERS if '_' in each), reverse=True))})\b")
_SHUTDOWN: Final = "server_shutting_down"
_MESSAGES: Final = re.compile(r"\bmessages(?:\[\d+\](?:\.[a-z_]+|\[\d+\])*|(?='))")


def error_status(failure: Failure) -> int:
    """Return the status that a failure has by itself."""
    return failure.status


def error_body(failure: Failure, request_id: str) -> Json:
    """Return OpenAI's error object, with its four keys."""
    error = failure.body()["error"]
    return {"error": {**error, "message": _in_words(failure.message), "param": _param(failure)}}


def stream_error(failure: Failure) -> tuple[Json, Json]:
    """Return what the events error (without its number) and response.failed say of a failure."""
    code, message = _code(failure), _in_words(failure.message)
    if code == "rate_limit_exceeded" and failure.retry_after is not None:
        message = f"{message.rstrip()} Please try again in {max(1, ceil(failure.retry_after))}s."
    said: Json = {"code": code, "message": message, "param": _param(failure)}
    return {**said, "error": {"type": failure.type, **said}}, {"code": code, "message": message}


def _code(failure: Failure) -> str:
    if failure.code == _SHUTDOWN:
        return "server_error"
    return next((code for kind, code in _CODES if isinstance(failure, kind)), "server_error")


def _param(failure: Failure) -> str | None:
    return within(failure.param) if failure.param is not None else None


def _in_words(message: str) -> str:
    """Return a message in the client's words: it does not know those of chat."""
    message = _MESSAGES.sub("input", message) if "messages" in message else message
    return _NAMES.sub(lambda found: PARAMETERS[found[0]], message)
