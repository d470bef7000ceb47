"""OpenAI's chat completions: the hub's own form, so that little is left to do. https://platform.openai.com/docs/api-reference/chat"""

from collections.abc import Mapping, Sequence
from typing import Final

from providers.contract import Json
from providers.errors import Failure

from ..contract import ClientRequest, Envelope, HeaderForm
from . import functions
from .request import parse
from .stream import hide_reasoning, render

__all__ = [
    "begins_early",
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

operation: Final = "chat/completions"
keep_alive: Final = b": keep-alive\n\n"
begins_early: Final = None
headers: Final[frozenset[str]] = frozenset()
told_in_stream: Final[frozenset[str]] = frozenset()
header_form: Final = HeaderForm()
parameters: Final[Mapping[str, str]] = {}


def completion(
    request: ClientRequest, answer: Json, envelope: Envelope, reasoning: bool, chunks: Sequence[Json] = ()
) -> Json:
    """Return a whole answer as the client asked for it. Changes `answer`."""
    if not reasoning:
        for choice in answer["choices"]:
            hide_reasoning(choice["message"])
    if request.answer:
        answer = functions.answer_with_function(answer)
    answer["id"], answer["object"] = f"chatcmpl-{envelope.unique}", "chat.completion"
    answer["created"], answer["model"] = envelope.created, envelope.model
    return answer


def error_body(failure: Failure, request_id: str) -> Json:
    """Return OpenAI's error object."""
    return failure.body()


def error_status(failure: Failure) -> int:
    """Return the status that a failure has by itself."""
    return failure.status
