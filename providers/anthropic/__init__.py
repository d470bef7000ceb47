"""Anthropic Messages: Claude. https://platform.claude.com/docs/en/api/messages"""

from typing import Annotated, Final

from msgspec import Meta

from ..contract import Json, Native, Upstream, no_embeddings
from .errors import parse_error
from .params import thinking_for
from .request import build_request

__all__ = ["answer_limit", "build_embeddings", "build_request", "must_inline", "native", "options", "parse_error"]

native: Final[Native] = {}
build_embeddings = no_embeddings


def answer_limit(body: Json, to: Upstream) -> int | None:
    """See contract.Provider: Claude is always sent a limit, and what it thinks is part of that."""
    return thinking_for(body, to.facts, to.reasoning, {}).max_tokens


# web_search: clients may ask for it (it costs extra); headers: sent with every call, such as anthropic-beta.
options: Final = {
    "web_search": bool,
    "headers": dict[Annotated[str, Meta(pattern=r"^[\w!#$%&'*+.^`|~-]+$")], Annotated[str, Meta(pattern=r"^[ -~]*$")]],
}


def must_inline(url: str, to: Upstream) -> bool:
    """Claude fetches https images itself; http ones it refuses."""
    return url[:7].lower() == "http://"
