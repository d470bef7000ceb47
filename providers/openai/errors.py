"""Failures of OpenAI and of the hosts that imitate it, in our words: HTTP answers, and errors inside a 200.

https://platform.openai.com/docs/guides/error-codes; openai 3.54.0, types/responses/response_error.py; recorded bodies.
"""

import re
from collections.abc import Iterator
from typing import Any, Final

from .. import codec
from ..contract import Json
from ..errors import NO_MODEL, TOO_LONG, Failure, UpstreamError, from_upstream

_ACCOUNT: Final = re.compile(r"\b(?:org|proj|sk)[-_][\w*-]{6,}")  # ids and keys, which messages quote

# In-band errors have no HTTP status: the type or code they carry stands for one.
_STATUS: Final = {
    "invalid_request_error": 400,
    "context_length_exceeded": 400,
    "content_filter": 400,
    "authentication_error": 401,
    "invalid_api_key": 401,
    "permission_error": 403,
    "permission_denied": 403,
    "not_found_error": 404,
    "model_not_found": 404,
    "rate_limit_error": 429,
    "rate_limit_exceeded": 429,
    "tokens": 429,
    "requests": 429,
    "insufficient_quota": 429,
    "slow_down": 503,
    "server_is_overloaded": 503,
    "overloaded_error": 503,
    "service_unavailable_error": 503,
    "service_unavailable": 503,
    "timeout": 504,
    "server_error": 500,
    "api_error": 500,  # of /v1/responses: what is wrong with the request, found too late for a status
    **dict.fromkeys(
        (
            *("invalid_prompt", "bio_policy", "misalignment_policy_violation", "data_residency_mismatch"),
            *("invalid_image", "invalid_image_format", "invalid_base64_image", "invalid_image_url"),
            *("image_too_large", "image_too_small", "image_parse_error", "image_content_policy_violation"),
            *("invalid_image_mode", "image_file_too_large", "unsupported_image_media_type", "empty_image_file"),
            *("failed_to_download_image", "image_file_not_found"),
        ),
        400,
    ),
}
# Parameters of /v1/responses → what the client called them.
_PARAMS: Final = {
    "input": "messages",
    "max_output_tokens": "max_completion_tokens",
    "reasoning": "reasoning_effort",
    "reasoning.effort": "reasoning_effort",
    "text": "response_format",
    "text.format": "response_format",
    "text.verbosity": "verbosity",
}


def refuse_errors(name: str, data: Json) -> None:
    """Raise what the upstream says went wrong, in whatever shape: {"error": …}, event: error, x_groq, object: error."""
    wrong = data.get("error")
    if not wrong and isinstance(groq := data.get("x_groq"), dict):
        wrong = groq.get("error")
    if not wrong and (name == "error" or data.get("object") == "error"):
        wrong = data
    if wrong:
        raise in_band(wrong)


def in_band(wrong: Any) -> Failure:
    """An error found inside a 200 answer (an object, or a text) → Failure."""
    if not isinstance(wrong, dict):
        return UpstreamError(str(wrong)[:300] or "The upstream failed while answering.")
    code, kind = wrong.get("code"), wrong.get("type")
    status = next(
        (
            value
            for value in (
                wrong.get("status_code"),
                wrong.get("status"),
                code,
                _STATUS.get(str(code)),
                _STATUS.get(str(kind)),
            )
            if isinstance(value, int) and 400 <= value < 600
        ),
        500,
    )
    return _named(status, wrong)


def parse_error(status: int, body: bytes) -> Failure:
    """An HTTP error answer → Failure. Its body may be an object, a one-element array, text or HTML."""
    try:
        wrong = codec.decode(body)
    except ValueError:
        text = body[:300].decode("utf-8", errors="replace").strip()
        wrong = "" if text.startswith("<") else text
    if isinstance(wrong, list) and wrong:
        wrong = wrong[0]
    if isinstance(wrong, dict):
        wrong = wrong.get("error") or wrong.get("detail") or wrong
    match wrong:
        case [{"loc": [*place], "msg": str(text)}, *_]:  # FastAPI, which Mistral and vLLM are built with
            wrong = {"message": text, "param": ".".join(str(step) for step in place if step != "body")}
    if isinstance(wrong, dict):
        return _named(status, wrong)
    words = _ACCOUNT.sub("…", str(wrong)[:300]) if wrong else f"The upstream answered with HTTP status {status}."
    return from_upstream(status, words)


def _named(status: int, wrong: Json) -> Failure:
    code, param = wrong.get("code"), wrong.get("param")
    if not isinstance(code, str) or (code.isdigit() and code not in TOO_LONG):  # a number is the status once more
        code = None
    for kind in _kinds(wrong):
        if kind in NO_MODEL or kind in TOO_LONG:
            code = kind
    return from_upstream(
        status,
        _words(wrong) or f"The upstream answered with HTTP status {status}.",
        code=code,
        param=_PARAMS.get(param, param) if isinstance(param, str) else None,
    )


def _kinds(wrong: Json) -> Iterator[str]:
    """What an error calls itself besides its code: its type, and what OpenRouter says of the host behind it."""
    metadata = wrong.get("metadata")
    more = metadata if isinstance(metadata, dict) else {}
    for kind in wrong.get("type"), more.get("error_type"), more.get("provider_code"):
        if isinstance(kind, str):
            yield kind


def _words(wrong: Json) -> str:
    """What an error says, without the ids of the operator's account."""
    message = wrong.get("message") or wrong.get("msg") or ""
    match wrong.get("metadata"):  # OpenRouter only wraps what the host behind it said
        case {"raw": str(raw)} if message == "Provider returned error":
            message = _inner(raw)
    message = message if isinstance(message, str) else codec.encode_text(message)[:300]
    return _ACCOUNT.sub("…", message)


def _inner(raw: str) -> Any:
    try:
        inner = codec.decode(raw.encode())
    except ValueError:
        return raw[:300]
    wrong = inner.get("error", inner) if isinstance(inner, dict) else inner
    return wrong.get("message") or wrong if isinstance(wrong, dict) else wrong
