"""Failures of OpenAI and of the hosts that imitate it, in our words: HTTP answers, and errors inside a 200.

https://platform.openai.com/docs/guides/error-codes; openai 3.54.0, types/responses/response_error.py; recorded bodies.
"""

import re
from collections.abc import Iterator
from typing import Any, Final

from . import wire
from .contract import Json
from .errors import NO_MODEL, NO_MONEY, TOO_LONG, TOO_LONG_WORDS, Failure, UpstreamFailed, from_upstream
from .wrongs import opened, told_instead, told_of, wait_of

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
    "gateway_timeout": 504,
    # Types and codes of DashScope, vLLM, Moonshot, Z.ai, SiliconFlow, Google, Mistral
    "invalidparameter": 400,
    "badrequesterror": 400,
    "bad_request": 400,
    "invalid_argument": 400,
    "datainspectionfailed": 400,
    "data_inspection_failed": 400,
    "1210": 400,
    "1213": 400,
    "1214": 400,
    "1261": 400,
    "1301": 400,
    "20015": 400,
    "exceed_context_size_error": 400,
    "invalidapikey": 401,
    "authenticationerror": 401,
    "unauthorized": 401,
    "unauthenticated": 401,
    "invalid_authentication_error": 401,
    "incorrect_api_key_error": 401,
    "invalid_token": 401,
    "accessdenied": 403,
    "forbidden": 403,
    "modelnotfound": 404,
    "notfounderror": 404,
    "1211": 404,
    "20012": 404,
    "throttling": 429,
    "throttling.ratequota": 429,
    "throttling.burstrate": 429,
    "throttling.allocationquota": 429,
    "ratelimiterror": 429,
    "rate_limit_reached_error": 429,
    "rate_limited": 429,
    "too_many_requests": 429,
    "resource_exhausted": 429,
    "engine_overloaded_error": 503,
    "1302": 429,
    "1303": 429,
    "1305": 429,
    "overloaded": 503,
    "unavailable": 503,
    "50501": 503,
    "50505": 503,
    **dict.fromkeys(NO_MONEY - {"insufficient_quota"}, 402),
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
_LOOKED_AT: Final = 1000  # characters of a message
# What an error without a known code says, in lower case.
_WORDS: Final = {
    400: TOO_LONG_WORDS,
    429: re.compile(r"rate.?limit|too many requests|requests? too frequent|try again in \d|请求过于频繁|速率限制|限流"),
    401: re.compile(
        r"unauthori[sz]ed|(?:invalid|incorrect|missing) (?:api.?key|token|credential)|authentication (?:failed|error)"
    ),
    404: re.compile(r"model .{0,100}(?:not found|does not exist|not exist)|no such model"),
    503: re.compile(r"overloaded|no healthy upstream|server (?:is )?busy|service (?:is )?unavailable|系统繁忙"),
    504: re.compile(r"timed? ?out"),
}  # fmt: skip
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


def refuse_errors(name: str, data: Json, answers: bool = True) -> None:
    """Raise what the upstream says went wrong, in whatever shape (wrongs.py), or by the name of its event.

    answers: whether `data` holds a piece of an answer. One that does is no error because it says `"msg": "ok"` beside it.
    """
    wrong: Json | None
    if name == "error":
        wrong = told_instead(data, sure=False) or data
    elif answers:
        wrong = told_of(data) or (data if data.get("object") == "error" else None)
    else:
        wrong = told_instead(data)
    if wrong:
        raise in_band(wrong)


def in_band(wrong: Any) -> Failure:
    """An error found inside a 200 answer (an object, or a text) → Failure."""
    wrong = opened(wrong)
    if not any(wrong.values()):
        return UpstreamFailed("The upstream failed while answering.")
    return _named(status_of(wrong), wrong)


def status_of(wrong: Json) -> int:
    """Return the HTTP status that an error object stands for: by its numbers, its code or type, or its words; else 500."""
    told = [wrong.get(name) for name in ("status_code", "statusCode", "http_code", "status", "code", "type")]
    for value in told:
        if isinstance(value, int | str) and str(value).isdecimal() and 400 <= int(str(value)[:9]) < 600:
            return int(value)
    for value in told:
        if (named := _STATUS.get(str(value).lower())) is not None:
            return named
    words = str(wrong.get("message") or "")[:_LOOKED_AT].lower()
    return next((status for status, pattern in _WORDS.items() if pattern.search(words)), 500)


def error(status: int, body: bytes) -> Failure:
    """An HTTP error answer → Failure. Its body may be an object, a one-element array, text or HTML."""
    wrong: Any
    try:
        wrong = wire.decode(body)
    except ValueError:
        text = body[:300].decode("utf-8", errors="replace").strip()
        wrong = "" if text.startswith("<") else text
    if isinstance(wrong, list) and wrong:
        wrong = wrong[0]
    if isinstance(wrong, dict):
        wrong = told_instead(wrong, sure=False) or wrong
    else:
        wrong = opened(wrong if isinstance(wrong, str) else None)
        wrong["message"] = str(wrong.get("message") or "")[:300]
    return _named(status, wrong)


def _named(status: int, wrong: Json) -> Failure:
    code, param = wrong.get("code"), wrong.get("param")
    code = str(code) if type(code) in (int, str) else None
    if code and code.isdigit() and code not in TOO_LONG and code not in NO_MONEY:  # a number is the status once more
        code = None
    code = sharp_code(wrong) or code
    if status in (400, 500):  # some hosts have one status for all that goes wrong
        named = (_STATUS.get(kind.lower()) for kind in (code or "", *_kinds(wrong)))
        status = next((known for known in named if known in (401, 402, 429)), status)
    return from_upstream(
        status,
        _words(wrong) or f"The upstream answered with HTTP status {status}.",
        code=code,
        param=_PARAMS.get(param, param) if isinstance(param, str) else None,
        retry_after=wait_of(wrong),
    )


def sharp_code(wrong: Json) -> str | None:
    """Return the name of an error for which there is a failure of its own, whatever its status: no model, too long, no money."""
    code = wrong.get("code")
    found = None
    for kind in str(code) if isinstance(code, int | str) else "", *_kinds(wrong):
        for name in kind, kind.lower():
            if name in NO_MODEL or name in TOO_LONG or name in NO_MONEY:
                found = name
    return found


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
    message = message if isinstance(message, str) else wire.text(message)[:300]
    return _ACCOUNT.sub("…", message)


def _inner(raw: str) -> Any:
    try:
        inner = wire.decode(raw.encode())
    except ValueError:
        return raw[:300]
    wrong = inner.get("error", inner) if isinstance(inner, dict) else inner
    return wrong.get("message") or wrong if isinstance(wrong, dict) else wrong
