"""Anthropic's Messages. https://platform.claude.com/docs/en/api/messages

A stand-in until request.py, stream.py, message.py and errors.py are here: native calls, and text alone for others.
"""

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from providers import codec, raw_json
from providers.contract import Json
from providers.errors import BadRequest, Failure, Overloaded, Unsupported

from ..contract import NO_HEADERS, ClientRequest, Envelope, HeaderForm, Renderer
from .session import named, session

__all__ = [
    "completion",
    "error_body",
    "error_status",
    "header_form",
    "headers",
    "keep_alive",
    "operation",
    "parameters",
    "parse",
    "render",
    "told_in_stream",
]

operation: Final = "messages"
keep_alive: Final = b'event: ping\ndata: {"type": "ping"}\n\n'
headers: Final = frozenset({"anthropic-*", "x-claude-code-session-id", "?beta"})
header_form: Final = HeaderForm(
    limits="anthropic-ratelimit-{of}-{value}",
    moments=True,
    request_id="request-id",
    two_keys=True,
    unknown_key="invalid x-api-key",
)
told_in_stream: Final[frozenset[str]] = frozenset()
parameters: Final[Mapping[str, str]] = {"max_completion_tokens": "max_tokens"}


def parse(data: bytes, headers: Mapping[str, str] = NO_HEADERS) -> ClientRequest:
    """Return the request that these bytes hold. Raises BadRequest."""
    try:
        raw = raw_json.members(data)
    except ValueError:
        raise BadRequest("The request body is not a JSON object.") from None
    if "model" not in raw:
        raise BadRequest("model: Field required")
    model, messages = (codec.decode(bytes(raw.get(name, b"null"))) for name in ("model", "messages"))
    if not isinstance(model, str) or not model:
        raise BadRequest("model: Input should be a valid string")
    if not isinstance(messages, list) or not messages:
        raise BadRequest("messages: Field required")
    stream = bytes(raw.get("stream", b"")) == b"true"
    body: Json = {"model": model, "messages": [], "stream": stream}
    refusal: Failure | None = None
    for message in messages:
        match message:
            case {"role": str(role), "content": str(text) | [{"type": "text", "text": str(text)}]}:
                body["messages"].append({"role": role, "content": text})
            case _:
                body["messages"].append({"role": "user", "content": codec.encode_text(message)})
                refusal = Unsupported("Only texts are translated so far.")
    if "max_tokens" in raw:
        body["max_completion_tokens"] = codec.decode(bytes(raw["max_tokens"]))
    else:
        refusal = BadRequest("max_tokens: Field required")
    return ClientRequest(
        body,
        raw,
        stream,
        headers=headers,
        refusal=refusal,
        session=session(raw, headers),
        session_name=named(headers),
    )


def render(request: ClientRequest, envelope: Envelope, reasoning: bool) -> Renderer:
    """Return the primed renderer of a streamed answer."""
    renderer = _render(envelope)
    next(renderer)
    return renderer


def _render(envelope: Envelope) -> Renderer:
    made, started = b"", False
    try:
        while (batch := (yield made)) is not None:
            made = b""
            for chunk in batch.chunks:
                for choice in chunk["choices"]:
                    if text := (choice.get("delta") or {}).get("content"):
                        if not started:
                            usage = {"input_tokens": envelope.prompt_tokens, "output_tokens": 1}
                            message = {**_message(envelope, [], None), "usage": usage}
                            block = {"type": "text", "text": ""}
                            made += _event("message_start", message=message)
                            made += _event("content_block_start", index=0, content_block=block)
                            started = True
                        delta = {"type": "text_delta", "text": text}
                        made += _event("content_block_delta", index=0, delta=delta)
    except Failure as failure:
        return _event("error", **{n: v for n, v in error_body(failure, envelope.request_id).items() if n != "type"})
    delta = {"stop_reason": "end_turn", "stop_sequence": None, "stop_details": None}
    usage = {"input_tokens": envelope.prompt_tokens, "output_tokens": 1}
    return (
        _event("content_block_stop", index=0)
        + _event("message_delta", delta=delta, usage=usage)
        + _event("message_stop")
    )


def completion(request: ClientRequest, answer: Json, envelope: Envelope, reasoning: bool) -> Json:
    """Return a whole answer as a message."""
    text = answer["choices"][0]["message"]["content"] or ""
    message = _message(envelope, [{"type": "text", "text": text}], "end_turn")
    return {**message, "usage": {"input_tokens": envelope.prompt_tokens, "output_tokens": 1}}


def error_status(failure: Failure) -> int:
    """Return the HTTP status of an error."""
    return 529 if type(failure) is Overloaded else failure.status


def error_body(failure: Failure, request_id: str) -> Json:
    """Return the body of an error."""
    kinds = {
        401: "authentication_error",
        403: "permission_error",
        404: "not_found_error",
        413: "request_too_large",
        429: "rate_limit_error",
        504: "timeout_error",
        529: "overloaded_error",
    }
    status = error_status(failure)
    kind = kinds.get(status, "invalid_request_error" if status < 500 else "api_error")
    return {"type": "error", "error": {"type": kind, "message": failure.message}, "request_id": request_id}


def _message(envelope: Envelope, content: list[Any], stop: str | None) -> Json:
    return {
        "id": f"msg_{envelope.unique}",
        "type": "message",
        "role": "assistant",
        "model": envelope.model,
        "content": content,
        "stop_reason": stop,
        "stop_sequence": None,
        "stop_details": None,
    }


def _event(name: str, **fields: Any) -> bytes:
    return b"event: " + name.encode() + b"\ndata: " + msgspec.json.encode({"type": name, **fields}) + b"\n\n"
