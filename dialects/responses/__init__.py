"""OpenAI's Responses API. https://platform.openai.com/docs/api-reference/responses"""

from typing import Final

from .errors import error_body, error_status, parameters
from .request import headers, parse
from .stream import Answered, completion, render

__all__ = [
    "Answered",
    "completion",
    "error_body",
    "error_status",
    "headers",
    "keep_alive",
    "operation",
    "parameters",
    "parse",
    "render",
    "told_in_stream",
]

operation: Final = "responses"
keep_alive: Final = b": keep-alive\n\n"
told_in_stream: Final[frozenset[str]] = frozenset({"context_length_exceeded"})
