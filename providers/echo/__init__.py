"""The built-in model: its answers are played as if they came over a socket, in OpenAI's format."""

from typing import Annotated, Final

from msgspec import Meta

from ..contract import Upstream, named_limit, no_continuation
from ..openai import translate
from .chat import build_request, parse_error

__all__ = ["answer_limit", "build_request", "continuation", "must_inline", "options", "parse_error", "translate"]

answer_limit = named_limit
continuation = no_continuation
options: Final = {"delay": Annotated[float, Meta(ge=0, le=60)]}  # seconds between words


def must_inline(url: str, to: Upstream) -> bool:
    """Nothing is fetched: echo works offline."""
    return False
