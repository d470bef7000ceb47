"""Anthropic Messages: Claude. https://platform.claude.com/docs/en/api/messages"""

from typing import Annotated, Final

from msgspec import Meta

from ..common.model_ids import list_call
from ..contract import Call, Json, Native, Upstream, no_count, no_embeddings, not_passed
from .errors import parse_error
from .native import build as build_natively
from .native import build_count as count_natively
from .params import thinking_for
from .request import build_request, headers_for, messages_url

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

native: Final[Native] = {"messages": build_natively, "messages/count_tokens": count_natively}
build_count = no_count
build_embeddings = no_embeddings
pass_on = not_passed


def answer_limit(body: Json, upstream: Upstream) -> int | None:
    """See contract.Provider: Claude is always sent a limit, and what it thinks is part of that."""
    return thinking_for(body, upstream.facts, upstream.reasoning, {}).max_tokens


# web_search: clients may ask for it (it costs extra); headers: sent with every call, such as anthropic-beta; betas: patterns
# of the anthropic-beta values that Messages clients may send on, without it all.
options: Final = {
    "web_search": bool,
    "betas": list[str],
    "headers": dict[Annotated[str, Meta(pattern=r"^[\w!#$%&'*+.^`|~-]+$")], Annotated[str, Meta(pattern=r"^[ -~]*$")]],
}


def build_models(upstream: Upstream) -> Call:
    """Return the call that lists the models. https://platform.claude.com/docs/en/api/models-list"""
    return list_call(messages_url(upstream, "models", {"limit": "1000"}), headers_for(upstream))


def must_inline(url: str, upstream: Upstream) -> bool:
    """Claude fetches https images itself; http ones it refuses."""
    return url[:7].lower() == "http://"
