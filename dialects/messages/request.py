"""A client's Messages request: from bytes to a chat request, and to the members that native calls are made of.

https://platform.claude.com/docs/en/api/messages. Two kinds of fault: what no target could make sense of is refused here;
what cannot be said in the hub's form is kept as ClientRequest.refusal, because a target that speaks Messages may take it.
"""

import re
from collections.abc import Mapping
from typing import Any, Final

from providers import raw_json
from providers.contract import Json
from providers.errors import BadRequest, Failure
from providers.raw_json import Members

from .. import validation
from ..contract import NO_HEADERS, ClientRequest
from .content import text
from .estimate import without_data
from .fitted import fit
from .history import chat_messages
from .params import put_parameters
from .reading import Reading, invalid, list_at, object_at, text_at
from .session import named, session
from .tools import put_tools, upstream_tools
from .wanted import Wanted

_WINDOW: Final = re.compile(r"(\[1m\])+$", re.IGNORECASE)  # Claude Code's mark of a long context, never an upstream's
_ESCAPE: Final = re.compile(
    rb"\\(?:u[dD][89aAbB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|u[dD][89a-fA-F][0-9a-fA-F]{2}|.)", re.DOTALL
)
_HALF: Final = 6  # bytes of an escape that is half of a pair


def parse(data: bytes, headers: Mapping[str, str] = NO_HEADERS) -> ClientRequest:
    """Return the request that these bytes hold. Raises BadRequest, ModelNotFound."""
    return _parsed(data, headers, limited=True)


def parse_count(data: bytes, headers: Mapping[str, str] = NO_HEADERS) -> ClientRequest:
    """Return a request whose tokens are to be counted: it needs no max_tokens. Raises BadRequest, ModelNotFound."""
    return _parsed(data, headers, limited=False)


def _parsed(data: bytes, headers: Mapping[str, str], limited: bool) -> ClientRequest:
    given = _read(data)
    try:
        raw = raw_json.members(data)
    except ValueError:
        raise BadRequest("The request body is not a JSON object.", code="invalid_json") from None
    model = _model(given.get("model"))
    messages = given.get("messages")
    if messages is None:
        raise invalid("messages", "Field required")
    if not list_at(messages, "messages"):
        raise invalid("messages", "at least one message is required")
    stream = given.get("stream") is True
    reading = Reading()
    refusal: Failure | None = None
    try:
        if limited and given.get("max_tokens") is None:
            raise invalid("max_tokens", "Field required")
        body = _chat(given, reading)
    except BadRequest as failure:
        refusal = failure.with_traceback(None)
        reading = Reading()
        body = _measured(given, raw)
    body = {"model": model, **body}
    if stream:
        body |= {"stream": True, "stream_options": {"include_usage": True}}
    return ClientRequest(
        body,
        raw,
        stream,
        tool_calls=any("tool_calls" in message for message in body["messages"]),
        images=reading.images,
        headers=headers,
        seals=reading.seals,
        answer=_wanted(given, reading),
        session=session(given, headers),
        session_name=named(headers),
        refusal=refusal,
        dropped=tuple(reading.dropped),
        upstream_tools=upstream_tools(given),
        fit=fit,
    )


def _measured(given: Json, raw: Members) -> Json:
    """Return what stands for a request that cannot be translated: what its tokens and its price are reserved by."""
    said = without_data(b"\n".join(bytes(raw[name]) for name in ("system", "tools", "messages") if name in raw))
    part = text(said, {"cache_control": {"ttl": "1h"}} if '"1h"' in said else None)
    limit = given.get("max_tokens")
    limited = {"max_completion_tokens": limit} if isinstance(limit, int) and limit > 0 else {}
    return {"messages": [{"role": "user", "content": [part]}], **limited}


def _chat(given: Json, reading: Reading) -> Json:
    """Return the chat request, without a model. Raises BadRequest, and Unsupported for what only Claude can do."""
    body: Json = {"messages": chat_messages(given.get("system"), given["messages"], reading)}
    put_tools(given.get("tools"), given.get("tool_choice"), body, reading)
    put_parameters(given, body, reading)
    return body


def _wanted(given: Json, reading: Reading) -> Wanted:
    stops, limit = given.get("stop_sequences"), given.get("max_tokens")
    return Wanted(
        thinking=reading.thinking,
        thinking_text=reading.thinking_text,
        tool_names=reading.tool_names,
        call_ids=frozenset(reading.call_ids),
        stop_sequences=tuple(each for each in stops if isinstance(each, str)) if isinstance(stops, list) else (),
        max_tokens=limit if isinstance(limit, int) else 0,
    )


def _model(value: Any) -> str:
    """Return the name of a model, without Claude Code's mark of a long context."""
    name = text_at(value, "model")
    if not name:
        raise invalid("model", "String should have at least 1 character")
    validation.check_model(name)
    return _WINDOW.sub("", name) or name


def _read(data: bytes) -> Json:
    """Return the request's members. Half of a surrogate pair becomes U+FFFD: models write them, and clients bring them back."""
    try:
        value = validation.read_json(data)
    except BadRequest:
        mended = _ESCAPE.sub(_whole, data)
        if mended == data:
            raise
        value = validation.read_json(mended)
    return object_at(value, "body")


def _whole(escape: re.Match[bytes]) -> bytes:
    is_half = len(escape[0]) == _HALF and escape[0][2:4].lower() in _HALVES
    return rb"\ufffd" if is_half else escape[0]


_HALVES: Final = (b"d8", b"d9", b"da", b"db", b"dc", b"dd", b"de", b"df")
