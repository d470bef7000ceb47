"""Google Gemini, generateContent. https://ai.google.dev/api/generate-content"""

from typing import Any, Final

from ..contract import Native, named_limit
from .count import build_count
from .embeddings import build_embeddings
from .errors import parse_error
from .messages import must_inline
from .passing import build_models, pass_on
from .request import build_request

__all__ = [
    "answer_limit",
    "build_count",
    "build_embeddings",
    "build_models",
    "build_request",
    "must_inline",
    "native",
    "options",
    "parse_error",
    "pass_on",
]

native: Final[Native] = {}
answer_limit = named_limit
options: Final = {"safety_settings": list[dict[str, Any]]}  # as Gemini's safetySettings
