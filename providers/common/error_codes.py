"""What the types, codes and words of an error stand for, in all protocols: an HTTP status, or a failure of its own."""

import re
from collections.abc import Iterator
from typing import Final

from ..contract import Json
from ..errors import NO_MODEL, NO_MONEY, SHARP, TOO_LONG_WORDS
from .error_shapes import as_words

# In-band errors have no HTTP status: the type or code they carry stands for one.
STATUS_OF_KIND: Final = {
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
    # Types and codes of DashScope, vLLM, Moonshot, Google, Mistral
    "invalidparameter": 400,
    "badrequesterror": 400,
    "bad_request": 400,
    "invalid_argument": 400,
    "datainspectionfailed": 400,
    "data_inspection_failed": 400,
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
    "throttling": 429,
    "ratelimiterror": 429,
    "rate_limit_reached_error": 429,
    "rate_limited": 429,
    "too_many_requests": 429,
    "resource_exhausted": 429,
    "engine_overloaded_error": 503,
    "overloaded": 503,
    "unavailable": 503,
    # Volcengine Ark (volcengine.com/docs/82379/1299023) and Tencent Cloud (tencentcloud.com/document/product/1284/75543)
    "badrequest": 400,
    "missingparameter": 400,
    "invalidparametervalue": 400,
    "authfailure": 401,
    "unauthorizedoperation": 403,
    "notfound": 404,
    "toomanyrequests": 429,
    "ratelimitexceeded": 429,
    "requestlimitexceeded": 429,
    "limitexceeded": 429,
    "serveroverloaded": 503,
    "resourceinsufficient": 503,
    "resourceunavailable": 503,
    "internalserviceerror": 500,
    "internalerror": 500,
    "failedoperation": 500,
    # Z.ai (docs.bigmodel.cn/cn/api/api-code, docs.z.ai/api-reference/api-code)
    **dict.fromkeys(("1000", "1001", "1002", "1003", "1004", "1110", "1111", "1112", "1121"), 401),
    **dict.fromkeys(("1200", "1210", "1212", "1213", "1214", "1215", "1261", "1300", "1301"), 400),
    "1220": 403,
    **dict.fromkeys(("1221", "1222"), 404),
    **dict.fromkeys(("1302", "1303", "1305", "1312", "1313"), 429),
    "1120": 503,
    # Spark (xfyun.cn/doc/spark; from memory): busy with this account; too fast, by the day, the second, at once
    **dict.fromkeys(("10007", "11201", "11202", "11203"), 429),
    **dict.fromkeys(("10013", "10014", "10019", "10163", "10907"), 400),
    "11200": 403,
    "10110": 503,
    # SiliconFlow (docs.siliconflow.cn/docs/api/chat-completions-post; bodies that its users report)
    "20015": 400,
    "30014": 401,
    **dict.fromkeys(("50501", "50505", "50508", "50603"), 503),
    **dict.fromkeys(map(str.lower, NO_MODEL), 404),
    **dict.fromkeys(map(str.lower, NO_MONEY - {"insufficient_quota"}), 402),
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

# What an error without a known code says, in lower case: patterns.
_WORDS: Final = {
    400: TOO_LONG_WORDS,
    429: r"rate.?limit|too many requests|requests? too frequent|try again in \d|请求过于频繁|速率限制|限流",
    401: r"unauthori[sz]ed|(?:invalid|incorrect|missing) (?:api.?key|token|credential)|authentication (?:failed|error)",
    404: r"model .{0,100}(?:not found|does not exist|not exist)|no such model",
    503: r"overloaded|no healthy upstream|server (?:is )?busy|service (?:is )?unavailable|系统繁忙",
    504: r"timed? ?out",
}


def known_status(kind: object) -> int | None:
    """Return the HTTP status that a type or code stands for, or what stands before its first dot; None where none is known."""
    name = str(kind).lower() if isinstance(kind, int | str) else ""
    found = STATUS_OF_KIND.get(name)
    return STATUS_OF_KIND.get(name.partition(".")[0]) if found is None else found


def status_of(wrong: Json) -> int:
    """Return the HTTP status that an error object stands for: by its numbers, its code or type, or its words; else 500."""
    told = [wrong.get(name) for name in ("status_code", "statusCode", "http_code", "status", "code", "type")]
    for value in told:
        if isinstance(value, int | str) and str(value).isdecimal() and 400 <= int(str(value)[:9]) < 600:
            return int(value)
    for value in told:
        if (named := known_status(value)) is not None:
            return named
    words = as_words(wrong.get("message"), _LOOKED_AT).lower()
    return next((status for status, pattern in _WORDS.items() if re.search(pattern, words)), 500)


def sharp_code(wrong: Json) -> str | None:
    """Return the name of an error for which there is a failure of its own, whatever its status (SHARP); None for any other."""
    code = wrong.get("code")
    found = None
    for kind in str(code) if isinstance(code, int | str) else "", *kinds_of(wrong):
        for name in kind, kind.lower():
            if name in SHARP:
                found = name
    return found


def kinds_of(wrong: Json) -> Iterator[str]:
    """What an error calls itself besides its code: its type, and what OpenRouter says of the host behind it."""
    metadata = wrong.get("metadata")
    more = metadata if isinstance(metadata, dict) else {}
    for kind in wrong.get("type"), more.get("error_type"), more.get("provider_code"):
        if isinstance(kind, str):
            yield kind
