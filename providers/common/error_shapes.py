"""Where an upstream says that something went wrong, and in whose words: every shape that hosts have → one object.

The object is OpenAI's error, as far as the host fills it: message, code, type, param, status. Beside OpenAI's own shape:
FastAPI's `detail`, MiniMax's `base_resp`, Tencent Cloud's `Response.Error`, Baidu's `error_code` and `error_msg`,
`{"code": …, "msg": …}` of DashScope, SiliconFlow and Z.ai, `{"success": false}`, `errors` of Cloudflare, and JSON inside a text.
"""

import re
from typing import Any, Final

from .. import codec
from ..errors import LONGEST_MESSAGE, WORDY, shortened

Json = dict[str, Any]

_NESTED: Final = 4  # errors inside errors that are opened
_MESSAGES: Final = ("message", "msg", "error_msg", "status_msg", "error_message", "errorMessage", "error_description",
                    "detail", "description", "reason", "title")  # a title is less than any other  # fmt: skip
_CODES: Final = ("code", "error_code", "errcode", "err_code", "errorCode")
_STATUSES: Final = ("status_code", "statusCode", "http_code", "status")
_FINE: Final = frozenset({"", "0", "200", "20000", "ok", "success", "succeeded", "true", "false", "none"})
_FAILED: Final = frozenset({"error", "failed", "failure", "fail"})
# Names of which one at least is in every error that is not told by the name of its event.
SIGNS: Final = frozenset(
    {
        "error",
        "errors",
        "x_groq",
        "base_resp",
        "Response",
        "detail",
        "success",
        "status",
        *_MESSAGES,
        *_CODES,
        *_STATUSES,
    }
)
# Names of which one is in every error that is told beside an answer.
TOLD: Final = frozenset({"error", "x_groq", "Response", "base_resp"})
# Fields that say how long to wait → seconds in one of theirs.
_WAITS: Final = {"retry_after": 1.0, "retryAfter": 1.0, "retry-after": 1.0, "retry_after_seconds": 1.0, "retry_after_ms": 0.001,
                 "retryAfterMs": 0.001, "retry-after-ms": 0.001}  # fmt: skip
_UNITS: Final = {"ms": 0.001, "millisecond": 0.001, "s": 1.0, "sec": 1.0, "second": 1.0, "m": 60.0, "min": 60.0, "minute": 60.0,
                 "h": 3600.0, "hour": 3600.0}  # fmt: skip
_NUMBER: Final = re.compile(r"\d{1,9}(?:\.\d{1,9})?", re.ASCII)
# "Please try again in 1m2.5s", "retry after 26 seconds"
_WAIT: Final = re.compile(
    r"(?:try again|retry|retrying|wait)(?: again)?(?: in| after| for)? "
    r"((?:\d{1,9}(?:\.\d{1,9})? ?(?:ms|milliseconds?|s|sec|seconds?|m|min|minutes?|h|hours?)\b ?|\d{1,9}[hm](?=\d)){1,3})",
    re.ASCII | re.IGNORECASE,
)
_PIECE: Final = re.compile(r"(\d+(?:\.\d+)?) ?([a-z]+)")
_WORD: Final = re.compile(r"[a-zA-Z][\w.-]{0,63}", re.ASCII)
# Numbers that hosts give their errors → the HTTP status that they stand for. platform.minimax.io/docs/api-reference/errorcode;
# not in what could be read of it on 2026-11-28, and from its users: 1013, 1026, 1033, 1042, 2061, 2062.
_MINIMAX: Final = {
    "1000": 500, "1001": 504, "1002": 429, "1004": 401, "1008": 402, "1013": 500, "1024": 500, "1026": 400, "1027": 400,
    "1033": 500, "1039": 429, "1041": 429, "1042": 400, "2013": 400, "2045": 429, "2049": 401, "2056": 402, "2062": 429,
}  # fmt: skip
# ai.baidu.com/ai-doc/WENXINWORKSHOP/tlmyncueh, which says of 15 that a retry solves it, of 17 that the day's calls or the money
# are used up, and calls 100 an access token that is none. 336004 to 336007, 336100 and above: from memory, but for 336103.
_BAIDU: Final = {
    "1": 500, "2": 503, "3": 404, "4": 429, "6": 403, "13": 401, "14": 401, "15": 503, "17": 402, "18": 429, "19": 402,
    "100": 401, "110": 401, "111": 401, "336000": 500, "336001": 400, "336002": 400, "336003": 400, "336004": 403,
    "336005": 403, "336006": 400, "336007": 400, "336100": 503, "336103": 400, "336104": 400, "336117": 400,
    "336120": 400, "336122": 400, "336123": 400, "336200": 500, "336303": 402, "336501": 429, "336502": 429,
}  # fmt: skip


def told_of(data: Json) -> Json | None:
    """Return the error that a body tells beside, or instead of, an answer; None where it says nothing of the kind."""
    if TOLD.isdisjoint(data):
        return None
    match data:
        case {"error": wrong} if wrong:
            return opened(wrong, data)
        case {"x_groq": {"error": wrong}} if wrong:
            return opened(wrong)
        case {"Response": {"Error": {"Code": str(code), **more}}}:
            return {"message": more.get("Message"), "code": code}
        case {"base_resp": {"status_code": code} as wrong} if not _is_fine(code):
            return {"message": wrong.get("status_msg"), "code": code, "status": _MINIMAX.get(str(code), 500)}
    return None


def told_instead(data: Json, sure: bool = True) -> Json | None:
    """Return the error that a body without an answer tells; None where it says nothing of the kind.

    sure: words alone are no error.
    """
    if found := told_of(data):
        return found
    match data:
        case {"errors": [wrong, *_]} | {"errors": dict() | str() as wrong} if wrong:
            return opened(wrong, data)
        case {"error_code": code} if not _is_fine(code):
            return _flat(data) | ({"status": _BAIDU[str(code)]} if str(code) in _BAIDU else {})
        case {"detail": wrong} if wrong:
            return opened(wrong, data)
    failed = (
        data.get("success") is False
        or "error" in (data.get("object"), data.get("type"))
        or any(not _is_fine(data.get(name)) for name in _CODES)
        or any(_is_failed(data.get(name)) for name in _STATUSES)
    )
    flat = _flat(data)
    return flat if failed or (not sure and flat.get("message")) else None


def opened(wrong: Any, around: Json | None = None, deep: int = 0) -> Json:
    """Return an error object of what stands in the place of one: an object, a list of them, a text, JSON in a text, or true.

    around: the object that it stands in.
    """
    around = around or {}
    if deep == _NESTED:
        return {}
    match wrong:
        case str() if (inner := _inside(wrong)) is not None:
            return opened(inner, around, deep + 1)
        case str() as text:
            flat = _flat(around)
            said = next((m for name in _MESSAGES[:-1] if isinstance(m := around.get(name), str) and m != text), None)
            kind = {"type": text} if said and _WORD.fullmatch(text) else {}
            return flat | kind | {"message": said or text}
        case [{"loc": [*place], "msg": str(text)}, *_]:  # FastAPI, which Mistral and vLLM are built with
            return {"message": text, "param": ".".join(str(step) for step in place if step != "body")}
        case [first, *_]:
            return opened(first, around, deep + 1)
        case {"error": dict() | str() | list() as inner} if inner and not wrong.get("message"):
            return opened(inner, wrong, deep + 1)
        case {"errors": [inner, *_]} if not wrong.get("message"):
            return opened(inner, wrong, deep + 1)
        case dict():
            flat = _flat(wrong)
            message = flat.get("message")
            inner = _inside(message) if isinstance(message, str) else message
            if isinstance(inner, dict | list) and inner:
                found = opened(inner, None, deep + 1)
                return flat | {name: value for name, value in found.items() if value is not None}
            return flat
    return _flat(around)


def as_words(message: Any, most: int = LONGEST_MESSAGE) -> str:
    """Return what stands in the place of a message as a text, or the beginning of a long one."""
    if isinstance(message, str):
        return shortened(message, most)
    return shortened(codec.encode_text(message), WORDY) if message else ""


def _flat(data: Json) -> Json:
    """Return an object with what it says under OpenAI's names."""
    flat = dict(data)
    for name, others in ("message", _MESSAGES), ("code", _CODES):
        if not flat.get(name):
            flat[name] = next((value for other in others if (value := data.get(other)) not in (None, "")), None)
    return flat


def _inside(text: str) -> Any:
    """Return the JSON that a text is, or None."""
    if not text.lstrip().startswith(("{", "[")):
        return None
    try:
        inner = codec.decode(text.encode("utf-8", "replace"))
    except ValueError:
        return None
    return inner or None


def _is_fine(code: Any) -> bool:
    return code is None or isinstance(code, dict | list | float) or str(code).strip().lower() in _FINE


def _is_failed(status: Any) -> bool:
    if isinstance(status, int):
        return 400 <= status < 600
    return isinstance(status, str) and (
        status.strip().lower() in _FAILED or (status.strip()[:1] in "45" and status.isdigit())
    )


def wait_of(wrong: Json) -> float | None:
    """Return the seconds that an error asks its client to wait, by a field of its own or in its words; None where by neither."""
    for name, unit in _WAITS.items():
        value = wrong.get(name)
        if isinstance(value, int | float | str) and _NUMBER.fullmatch(str(value).strip()):
            return float(value) * unit
    message = wrong.get("message")
    if isinstance(message, str) and (found := _WAIT.search(message[:2000])):
        return sum(float(n) * _UNITS[u if u in _UNITS else u[:-1]] for n, u in _PIECE.findall(found[1].lower()))
    return None
