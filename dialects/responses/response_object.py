"""The Response object, with every key that it has: clients validate it. Pure."""

from typing import Any, Final

from providers.common.usage import RESPONSES, spent
from providers.contract import Json
from providers.openai.responses.pairs import flat

from ..contract import Envelope
from .wanted import Wanted

LARGEST_STORED: Final = 4 * 2**20  # bytes of an answer that is kept under its id

_AS_ASKED: Final[dict[str, Any]] = {
    "instructions": None,
    "max_output_tokens": None,
    "max_tool_calls": None,
    "prompt_cache_key": None,
    "safety_identifier": None,
    "user": None,
    "parallel_tool_calls": True,
    "temperature": 1.0,
    "top_p": 1.0,
    "presence_penalty": 0.0,
    "frequency_penalty": 0.0,
    "top_logprobs": 0,
    "tool_choice": "auto",
    "metadata": {},
}
_FORMAT: Final[Json] = {"type": "text"}


def response_object(wanted: Wanted, envelope: Envelope) -> Json:
    """Return the Response of an answer that has begun."""
    asked = wanted.body
    reasoning, text = _object(asked.get("reasoning")), _object(asked.get("text"))
    return {
        "id": f"resp_ms{envelope.unique}",
        "object": "response",
        "created_at": int(envelope.created),
        "completed_at": None,
        "status": "in_progress",
        "error": None,
        "incomplete_details": None,
        "model": envelope.model,
        "output": [],
        "previous_response_id": wanted.previous,
        "background": False,
        "store": wanted.stored,
        **{name: default if asked.get(name) is None else asked[name] for name, default in _AS_ASKED.items()},
        "reasoning": {"effort": reasoning.get("effort"), "summary": _summary(reasoning)},
        "service_tier": "auto",
        "text": {"format": _format(text.get("format")), "verbosity": text.get("verbosity") or "medium"},
        "tools": [_tool(tool) for tool in asked.get("tools") or ()],
        "truncation": "disabled",
        "usage": None,
    }


def ended(response: Json, status: str, output: list[Json], **more: Any) -> Json:
    """Return the Response at its end. The one given is not changed."""
    completed = response["created_at"] if status == "completed" else None
    return {**response, "status": status, "output": output, "completed_at": completed, **more}


def _object(value: Any) -> Json:
    return value if isinstance(value, dict) else {}


def _summary(reasoning: Json) -> Any:
    return reasoning.get("summary") or reasoning.get("generate_summary")


def _format(asked: Any) -> Json:
    match asked:
        case {"type": "json_schema"}:
            echo = {"type": "json_schema", "name": asked.get("name"), "description": asked.get("description")}
            return {**echo, "schema": asked.get("schema"), "strict": bool(asked.get("strict"))}
        case {"type": str()}:
            return dict(asked)
    return dict(_FORMAT)


def _tool(tool: Any) -> Any:
    if not isinstance(tool, dict) or tool.get("type") != "function":
        return tool
    had = {"description": tool.get("description"), "parameters": tool.get("parameters")}
    return {**tool, **had, "strict": bool(tool.get("strict"))}


def usage_of(usage: Json) -> Json:
    """Return a usage of the hub as the Responses API tells it: all seven numbers, whatever is missing there."""
    told = spent(usage)
    return {responses: told[chat] for chat, responses in RESPONSES.items()}


def flat_annotation(annotation: Json, length: int) -> Json:
    """Return a citation of the hub as the Responses API has it. length: of the text so far, where it names no place."""
    cited = flat({**annotation, "url_citation": _object(annotation.get("url_citation"))})
    start, end = cited.get("start_index"), cited.get("end_index")
    placed = isinstance(start, int) and isinstance(end, int)
    return {
        "type": "url_citation",
        "start_index": start if placed else length,
        "end_index": end if placed else length,
        "url": cited.get("url") or "",
        "title": cited.get("title") or "",
    }
