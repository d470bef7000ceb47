"""Gemini's failures, google.rpc.Status in all its wrappings, in our words.

https://ai.google.dev/gemini-api/docs/troubleshooting, https://google.aip.dev/193; recorded bodies.

The upstream's own message reaches the client only for a 400, where it speaks about the request; elsewhere it names
projects, quotas and model ids of the operator.
"""

import re
from math import ceil
from typing import Any, Final

from .. import codec
from ..common.error_codes import sharp_code, status_of
from ..common.error_shapes import told_instead
from ..contract import Json
from ..errors import Failure, UpstreamError, from_upstream, shortened, words_of

# google.rpc.Code by name, for errors inside a stream that carry no usable number. FAILED_PRECONDITION is how Gemini
# refuses a region or an account without billing: under 400, but no other request would fare better.
_STATUS: Final = {
    "INVALID_ARGUMENT": 400,
    "OUT_OF_RANGE": 400,
    "UNAUTHENTICATED": 401,
    "PERMISSION_DENIED": 403,
    "FAILED_PRECONDITION": 403,
    "NOT_FOUND": 404,
    "ABORTED": 409,
    "ALREADY_EXISTS": 409,
    "RESOURCE_EXHAUSTED": 429,
    "CANCELLED": 500,
    "INTERNAL": 500,
    "UNAVAILABLE": 503,
    "DEADLINE_EXCEEDED": 504,
}
# google.rpc.ErrorInfo.reason: this server's key or project is at fault, whatever the status says.
_OUR_KEY: Final = frozenset(
    {
        *("API_KEY_INVALID", "API_KEY_EXPIRED", "API_KEY_SERVICE_BLOCKED", "API_KEY_HTTP_REFERRER_BLOCKED"),
        *("API_KEY_IP_ADDRESS_BLOCKED", "API_KEY_ANDROID_APP_BLOCKED", "API_KEY_IOS_APP_BLOCKED", "CONSUMER_INVALID"),
        *("CONSUMER_SUSPENDED", "SERVICE_DISABLED", "IAM_PERMISSION_DENIED", "ACCESS_TOKEN_EXPIRED"),
        *("ACCESS_TOKEN_SCOPE_INSUFFICIENT", "CREDENTIALS_MISSING", "USER_PROJECT_DENIED"),
    }
)
_WORDS: Final = {
    403: "The upstream does not allow this request.",
    404: "The upstream does not know this model.",
    409: "The upstream is busy with a request like this. Retry.",
    413: "The request is too large for the upstream. Send smaller images or files.",
    429: "The upstream's rate limit is reached. Retry later.",
    503: "The upstream is overloaded. Retry later.",
    504: "The upstream took too long to answer. Retry, or ask for less.",
}
_LONGEST: Final = 2000  # characters of an upstream's message that are looked at
_FAILED: Final = "The upstream failed to answer. Retry later."


def parse_error(status: int, body: bytes) -> Failure:
    """Upstream HTTP failure → ours. body: JSON object, one-element array, or whatever a proxy on the way wrote."""
    try:
        data = codec.decode(body)
    except (ValueError, RecursionError):
        text = words_of(body)
        if status in (400, 422) and (not text or text[:1] == "<"):
            return UpstreamError(_FAILED)
        return _failure(status, text, ())
    return failure(status, data)


def failure(status: int | None, data: Any) -> Failure:
    """A decoded error → ours. status: of the HTTP answer, or None inside a stream, where the error brings its own."""
    while isinstance(data, list) and data:
        data = data[0]
    found: Json = (told_instead(data, sure=False) or {}) if isinstance(data, dict) else {}
    name = found.get("status")
    if status is None or name == "FAILED_PRECONDITION":
        status = _STATUS.get(name, 0) if isinstance(name, str) else 0
        status = status or status_of(found)
    details = found.get("details")
    message = found.get("message")
    return _failure(
        status,
        shortened(message, _LONGEST) if isinstance(message, str) else "",
        [detail for detail in details if isinstance(detail, dict)] if isinstance(details, list) else (),
        sharp_code(found),
    )


def _failure(status: int, message: str, details: Any, code: str | None = None) -> Failure:
    retry_after: float | None = None
    for detail in details:
        match detail:
            case {"reason": "BILLING_DISABLED"}:
                status = 402
            case {"reason": str(reason)} if reason in _OUR_KEY:
                status = 401
            case {"retryDelay": str(delay)}:
                retry_after = _seconds(delay)
    if status not in (400, 422):
        words = _WORDS.get(status, _FAILED)
        return from_upstream(status, words, code=code, retry_after=retry_after, said=message)
    # "models/gemini-2.5-flash-image" is the upstream's name for what the client calls something else.
    message = re.sub(r"\bmodels/[\w.-]+", "this model", message).strip()
    return from_upstream(status, message or "The upstream refused the request as invalid.", code=code)


def _seconds(duration: str) -> float | None:
    """A protobuf Duration in JSON ("34.4s") → whole seconds, rounded up."""
    match = re.fullmatch(r"(\d{1,9}(?:\.\d{1,9})?)s", duration)
    return float(ceil(float(match[1]))) if match else None
