"""OpenAI's Responses API. https://platform.openai.com/docs/api-reference/responses"""

from typing import Final

from providers.openai.native import HEADERS as headers

from ..contract import HeaderForm
from .errors import error_body, error_status
from .front import behind, parse
from .params import PARAMETERS as parameters
from .stream import Answered, completion, render

__all__ = [
    "Answered",
    "begins_early",
    "behind",
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

header_form: Final = HeaderForm()
operation: Final = "responses"
keep_alive: Final = b": keep-alive\n\n"
begins_early: Final = True
told_in_stream: Final[frozenset[str]] = frozenset({"context_length_exceeded"})
