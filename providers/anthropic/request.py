"""Anthropic Messages: Claude. https://platform.claude.com/docs/en/api/messages

anthropic_params, anthropic_tools and anthropic_messages build the request, anthropic_stream reads the answer.
Rules: the upstream is always asked to stream; what only tunes an answer is dropped and named; what the client would
misread is refused; what a model takes is data (Upstream.facts).
"""

import re
from typing import Annotated, Any, Final

from msgspec import Meta

from .. import codec
from ..common import tool_names
from ..contract import Call, Json, Translator, Upstream, no_continuation, prime
from ..errors import BadRequest, Failure, from_upstream
from .messages import history
from .params import others, refuse, think, tolerant
from .stream import Way, message_chunks
from .tools import toolbox, with_history

# This version still takes temperature and top_p where the model does; 2026-10-21 refuses them everywhere.
_VERSION = "2023-06-01"
_TOOL_NAME, _LONGEST_TOOL_NAME = "[a-zA-Z0-9_-]{1,128}", 128
_BINDING = "thinking-binding-controls-2026-08-01"
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
_LONGEST = 1000  # characters of an upstream's message that are looked at
_SCRUB = (
    (re.compile(r"[^.;]*https?://\S+[^.;]*[.;]?"), ""),  # advice that points to the upstream's pages
    (re.compile(r"\s*\((?:org|request)[^)]*\)|\breq_\w+"), ""),
    (re.compile(r"\bclaude-[\w.@-]*\w", re.IGNORECASE), "the model"),
    (re.compile(r"\b(?:anthropic|claude)(?:'s)?\b", re.IGNORECASE), "the upstream"),
)


def build_request(body: Json, to: Upstream) -> Call:
    """An OpenAI chat request → the Messages call. See contract.Provider."""
    refuse(body)
    body, names = tool_names.renamed(body, _TOOL_NAME, _LONGEST_TOOL_NAME)
    dropped: dict[str, None] = {}
    thinking = think(body, to.facts, to.reasoning, dropped)
    try:
        box = toolbox(body, to, thinking_budget=thinking.budget, dropped=dropped)
    except RecursionError:
        raise BadRequest("A schema is nested too deeply.", param="tools") from None
    forced = box.choice is not None and box.choice["type"] in ("any", "tool")
    # Neither goes on from words of ours: thinking, a forced call and a grammar all begin the answer themselves.
    prefill = to.facts.prefill and not (thinking.on or forced or box.format)
    past = history(body["messages"], thinking=thinking.on, prefill=prefill, lines=box.lines)
    if past.tools:
        box = with_history(box)
    binding = to.facts.bound_thinking and past.thinking
    if binding:
        thinking = tolerant(thinking)
    config = {"effort": thinking.effort, "format": box.format}
    optional = {
        "system": past.system,
        "tools": box.tools,
        "tool_choice": box.tools and box.choice,
        "thinking": thinking.thinking,
        "output_config": {name: value for name, value in config.items() if value},
    }
    upstream: Json = {
        "model": to.model,
        "max_tokens": thinking.max_tokens,
        "messages": past.messages,
        **{name: value for name, value in optional.items() if value},
        **others(body, to.facts, thinking.on, dropped),
        "stream": True,
    }
    headers = _headers(to, _BINDING if binding else None)
    return Call(_url(to), headers, upstream, True, tuple(dropped), Way(box.custom, box.json_tool, names))


def answer_limit(body: Json, to: Upstream) -> int | None:
    """See contract.Provider: Claude is always sent a limit, and what it thinks is part of that."""
    return think(body, to.facts, to.reasoning, {}).max_tokens


def translate(call: Call, to: Upstream) -> Translator:
    """The translator of this call's answer, primed. See contract.Translator."""
    return prime(message_chunks(call.state, to.reasoning, _failure))


def parse_error(status: int, body: bytes) -> Failure:
    """An upstream failure → ours. Retry-After is a header: the caller sets Failure.retry_after."""
    try:
        data = codec.decode(body)
    except ValueError:
        data = None if body.lstrip()[:1] == b"<" else body[:300].decode("utf-8", errors="replace")
    return _failure(data, status)


continuation = no_continuation
# web_search: clients may ask for it (it costs extra); headers: sent with every call, such as anthropic-beta.
options: Final = {
    "web_search": bool,
    "headers": dict[Annotated[str, Meta(pattern=r"^[\w!#$%&'*+.^`|~-]+$")], Annotated[str, Meta(pattern=r"^[ -~]*$")]],
}


def must_inline(url: str, to: Upstream) -> bool:
    """Claude fetches https images itself; http ones it refuses."""
    return url[:7].lower() == "http://"


def _failure(data: Any, status: int | None = None) -> Failure:
    """Error data, in any of the shapes gateways in between make of it → ours. status: None in a stream."""
    kind, message, code = _read(data)
    status = status if status is not None and status >= 400 else _STATUS.get(kind, 500)
    if "usage limits" in message.lower():  # "You have reached your specified API usage limits": the operator's own cap
        code = "billing_error"
    words = _WORDS.get(status)
    if words is None and (status < 500 or status == 529):
        words = _scrubbed(message)
    if status == 404 and message.startswith("model:"):
        words = "The upstream does not know this model."
    path = _PATH.match(message)
    param = _PARAMS.get(path[1]) if path and status == 400 else None
    return from_upstream(status, words or "The upstream failed. Try again later.", code=code, param=param)


def _read(data: Any) -> tuple[str, str, str | None]:
    """Type, message and code."""
    if isinstance(data, list):
        data = data[0] if data else None
    match data:
        case {"error": dict(inner)}:
            details = inner.get("details")
            code = details.get("error_code") if isinstance(details, dict) else None
            return str(inner.get("type")), str(inner.get("message") or ""), code if isinstance(code, str) else None
        case {"error": str(message)} | {"detail": str(message)} | {"message": str(message)} | str(message):
            return "", message, None
    return "", "", None


def _scrubbed(message: str) -> str:
    message = message[:_LONGEST]  # first: one of the patterns costs the square of what it is given
    for pattern, instead in _SCRUB:
        message = pattern.sub(instead, message)
    return message.strip()


def _url(to: Upstream) -> str:
    base = to.base_url.rstrip("/")
    return f"{base}/messages" if base.endswith("/v1") else f"{base}/v1/messages"


def _headers(to: Upstream, beta: str | None) -> dict[str, str]:
    headers = {"anthropic-version": _VERSION, "accept-encoding": "identity"}
    if to.api_key:
        headers["x-api-key"] = to.api_key
    headers |= to.options.get("headers") or {}
    if beta:
        headers["anthropic-beta"] = ",".join(filter(None, (headers.get("anthropic-beta"), beta)))
    return headers
