"""What clients of Gemini's own API are told beside the provider's answers: errors in the shape of google.rpc.Status.

https://google.aip.dev/193, https://ai.google.dev/gemini-api/docs/troubleshooting
"""

import re
from typing import Any, Final

from providers.contract import Json
from providers.errors import Failure

from ..contract import HeaderForm
from . import GEMINI_METHODS

operation: Final = "generateContent"
_OWN: Final = re.compile(rf"/v1(?:alpha|beta)/|/v1/models/.+:(?:{'|'.join(GEMINI_METHODS)})\Z", re.DOTALL)
header_form: Final = HeaderForm(google_key=True)
_STATUS: Final = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    405: "UNIMPLEMENTED",
    408: "DEADLINE_EXCEEDED",
    409: "ABORTED",
    413: "INVALID_ARGUMENT",
    415: "INVALID_ARGUMENT",
    429: "RESOURCE_EXHAUSTED",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}
# Of a tool, the members by which the client runs it; a tool may hold several.
_RUN_BY_CLIENTS: Final = frozenset({"functionDeclarations", "computerUse"})
_WORD: Final = re.compile("_([a-z])")


def upstream_tools(tools: Any) -> tuple[str, ...]:
    """Return "tools." and the name of each tool that Google runs. tools: of a request; malformed ones are its to refuse.

    A name may be written in either way that protobuf knows: google_search is googleSearch.
    """
    members = [name for tool in tools if isinstance(tool, dict) for name in tool] if isinstance(tools, list) else []
    names = (_WORD.sub(lambda found: found[1].upper(), name) for name in members)
    return tuple(dict.fromkeys(f"tools.{name[:100]}" for name in names if name not in _RUN_BY_CLIENTS))


def is_own(path: str) -> bool:
    """Whether a path is one of Gemini's own API."""
    return _OWN.match(path) is not None


def error_status(failure: Failure) -> int:
    """Return the HTTP status of an error."""
    return failure.status


def error_body(failure: Failure, request_id: str) -> Json:
    """Return the body of an error: SDKs read its numbers and its status, people its message."""
    info = {
        "@type": "type.googleapis.com/google.rpc.ErrorInfo",
        "reason": (failure.code or failure.type).upper(),
        "domain": "modelserver",
        "metadata": {"request_id": request_id},
    }
    status = _STATUS.get(failure.status, "INTERNAL")
    return {"error": {"code": failure.status, "message": failure.message, "status": status, "details": [info]}}
