"""OpenAI, and every host that imitates it: chat completions, or /v1/responses where only that will do."""

from typing import Final, Literal

from ..contract import Call, Json, Upstream, named_limit, no_count
from . import request as chat_request
from .embeddings import build_embeddings
from .errors import parse_error
from .native import NATIVE as native
from .passing import build_models, pass_on
from .request import must_inline
from .responses import request as responses_request

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

build_count = no_count
answer_limit = named_limit
options: Final = {"reasoning_summary": Literal["auto", "concise", "detailed"]}  # asked for on /v1/responses


def build_request(body: Json, upstream: Upstream) -> Call:
    """Return the call that this host and this model take. Raises Unsupported, BadRequest."""
    if chat_request.needs_responses(body, upstream):
        return responses_request.build_request(body, upstream)
    return chat_request.build_request(body, upstream)
