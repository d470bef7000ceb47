"""OpenAI, and every host that imitates it: chat completions, or /v1/responses where only that will do."""

from typing import Final, Literal

from ..contract import Call, Json, Translator, Upstream, named_limit, no_continuation
from . import request as chat_request
from . import stream as chat_stream
from .errors import parse_error
from .request import must_inline
from .responses import request as responses_request
from .responses import stream as responses_stream

__all__ = ["answer_limit", "build_request", "continuation", "must_inline", "options", "parse_error", "translate"]

answer_limit = named_limit
continuation = no_continuation
options: Final = {"reasoning_summary": Literal["auto", "concise", "detailed"]}  # asked for on /v1/responses


def build_request(body: Json, to: Upstream) -> Call:
    """Return the call that this host and this model take. Raises Unsupported, BadRequest."""
    if chat_request.needs_responses(body, to):
        return responses_request.build_request(body, to)
    return chat_request.build_request(body, to)


def translate(call: Call, to: Upstream) -> Translator:
    """Return the primed translator of this call's answer."""
    if isinstance(call.state, responses_request.Bridged):
        return responses_stream.translate(call, to)
    return chat_stream.translate(call, to)
