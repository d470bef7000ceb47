"""A placeholder for what renders: texts and calls of functions only. What must survive: parse is front's, and headers."""

from collections.abc import Mapping
from typing import Any, Final

from providers import codec
from providers.chunks import collect
from providers.contract import Json
from providers.errors import Failure
from providers.openai.native import HEADERS as headers

from ..chat.stream import escape_line_ends
from ..contract import ClientRequest, Envelope, HeaderForm, Renderer
from .front import parse
from .passing import verbatim

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
    "verbatim",
]  # fmt: skip

operation: Final = "responses"
header_form: Final = HeaderForm()
keep_alive: Final = b": keep-alive\n\n"
told_in_stream: Final[frozenset[str]] = frozenset({"context_length_exceeded"})
parameters: Final[Mapping[str, str]] = {"reasoning_effort": "reasoning.effort"}


def error_body(failure: Failure, request_id: str) -> Json:
    return failure.body()


def error_status(failure: Failure) -> int:
    return failure.status


def completion(request: ClientRequest, answer: Json, envelope: Envelope, reasoning: bool) -> Json:
    message, usage = answer["choices"][0]["message"], answer.get("usage")
    output: list[Json] = []
    if message.get("content"):
        part = {"type": "output_text", "text": message["content"], "annotations": [], "logprobs": []}
        ident = f"msg_ms{envelope.unique}0000"
        output.append({"id": ident, "type": "message", "status": "completed", "role": "assistant", "content": [part]})
    for n, call in enumerate(message.get("tool_calls") or (), len(output)):
        ident = f"fc_ms{envelope.unique}{n:04x}"
        named = {"call_id": call["id"], **call["function"]}
        output.append({"id": ident, "type": "function_call", "status": "completed", **named})
    told: Any = usage and {
        "input_tokens": usage["prompt_tokens"],
        "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
        "output_tokens": usage["completion_tokens"],
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": usage["total_tokens"],
    }
    return {
        "id": f"resp_ms{envelope.unique}",
        "object": "response",
        "created_at": envelope.created,
        "completed_at": envelope.created,
        "status": "completed",
        "error": None,
        "incomplete_details": None,
        "model": envelope.model,
        "output": output,
        "instructions": request.raw.get("instructions"),
        "previous_response_id": request.answer.previous,
        "parallel_tool_calls": True,
        "store": request.answer.stored,
        "tool_choice": "auto",
        "tools": request.raw.get("tools") or [],
        "usage": told,
        "metadata": {},
    }


def render(request: ClientRequest, envelope: Envelope, reasoning: bool) -> Renderer:
    renderer = _render(request, envelope, reasoning)
    next(renderer)
    return renderer


def _render(request: ClientRequest, envelope: Envelope, reasoning: bool) -> Renderer:
    chunks: list[Json] = []
    try:
        while (batch := (yield b"")) is not None:
            chunks += batch.chunks
    except Failure as failure:
        wrong = {"code": failure.code, "message": failure.message}
        return _event("error", 0, {"error": wrong}) + _event("response.failed", 1, {"response": {"error": wrong}})
    response = completion(request, collect(chunks), envelope, reasoning)
    begun = {**response, "status": "in_progress", "output": [], "usage": None}
    data = _event("response.created", 0, {"response": begun})
    for n, item in enumerate(response["output"]):
        data += _event("response.output_item.added", 1 + 2 * n, {"output_index": n, "item": item})
        data += _event("response.output_item.done", 2 + 2 * n, {"output_index": n, "item": item})
    return data + _event("response.completed", 1 + 2 * len(response["output"]), {"response": response})


def _event(kind: str, number: int, payload: Json) -> bytes:
    data = bytearray(f"event: {kind}\ndata: ".encode())
    data += codec.encode({"type": kind, "sequence_number": number, **payload}) + b"\n\n"
    return bytes(escape_line_ends(data))
