"""The built-in model: its answers are played as if they came over a socket, in OpenAI's format."""

from typing import Annotated, Final

from msgspec import Meta

from ..contract import Native, Upstream, named_limit, no_count, no_models
from .chat import build_request
from .completions import pass_on
from .embeddings import build_embeddings
from .scenarios import parse_error

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
build_count = no_count
build_models = no_models
answer_limit = named_limit
options: Final = {"delay": Annotated[float, Meta(ge=0, le=60)]}  # seconds between words


def must_inline(url: str, upstream: Upstream) -> bool:
    """Nothing is fetched: echo works offline."""
    return False
