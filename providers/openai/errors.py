"""Failures of OpenAI and of the hosts that imitate it, in our words: HTTP answers, and errors inside a 200.

https://platform.openai.com/docs/guides/error-codes; openai 3.54.0, types/responses/response_error.py; recorded bodies.
"""

import re
from typing import Any, Final

from .. import codec
from ..common.error_codes import kinds_of, known_status, sharp_code, status_of
from ..common.error_shapes import as_words, opened, told_instead, told_of, wait_of
from ..contract import Json
from ..errors import SHARP, WORDY, Failure, UpstreamError, from_upstream, shortened, words_of

# Ids of accounts and keys, which messages quote. xAI: "Team: 0f3a…, API key ID: 91bc…".
_ACCOUNT: Final = re.compile(
    r"(\b(?:team|key|account|project|workspace)(?: id)?:? )[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
    r"|(?<=account )'[\w-]{6,}'"  # NVIDIA
    r"|\b(?:org|proj|sk)[-_][\w*-]{6,}",
    re.IGNORECASE,
)

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
        return UpstreamError("The upstream failed while answering.")
    return _named(status_of(wrong), wrong)


def parse_error(status: int, body: bytes) -> Failure:
    """An HTTP error answer → Failure. Its body may be an object, a one-element array, text or HTML."""
    wrong: Any
    try:
        wrong = codec.decode(body)
    except ValueError:
        text = words_of(body)
        wrong = "" if text.startswith("<") else text
    if isinstance(wrong, list) and wrong:
        wrong = wrong[0]
    if isinstance(wrong, dict):
        wrong = told_instead(wrong, sure=False) or wrong
    else:
        wrong = opened(wrong if isinstance(wrong, str) else None)
        wrong["message"] = as_words(wrong.get("message"), WORDY)
    return _named(status, wrong)


def _named(status: int, wrong: Json) -> Failure:
    code, param = wrong.get("code"), wrong.get("param")
    code = str(code) if type(code) in (int, str) else None
    if code and code.isdigit() and code not in SHARP:  # a number is the status once more
        code = None
    code = sharp_code(wrong) or code
    if status in (400, 500):  # some hosts have one status for all that goes wrong
        named = (known_status(kind) for kind in (code or "", *kinds_of(wrong)))
        status = next((known for known in named if known in (401, 402, 429)), status)
    return from_upstream(
        status,
        _words(wrong) or f"The upstream answered with HTTP status {status}.",
        code=code,
        param=_PARAMS.get(param, param) if isinstance(param, str) else None,
        retry_after=wait_of(wrong),
    )


def _words(wrong: Json) -> str:
    """What an error says, without the ids of the operator's account."""
    message = wrong.get("message") or wrong.get("msg") or ""
    match wrong.get("metadata"):  # OpenRouter only wraps what the host behind it said
        case {"raw": str(raw)} if message == "Provider returned error":
            message = _inner(raw)
    return _ACCOUNT.sub(r"\1…", as_words(message))


def _inner(raw: str) -> Any:
    try:
        inner = codec.decode(raw.encode())
    except ValueError:
        return shortened(raw, WORDY)
    wrong = inner.get("error", inner) if isinstance(inner, dict) else inner
    return wrong.get("message") or wrong if isinstance(wrong, dict) else wrong
