"""Anthropic Messages: Claude. https://platform.claude.com/docs/en/api/messages"""

from typing import Annotated, Final

from msgspec import Meta

from ..contract import Call, Json, Translator, Upstream, no_continuation, prime
from .errors import parse_error
from .params import thinking_for
from .request import build_request
from .stream import message_chunks

__all__ = ["answer_limit", "build_request", "continuation", "must_inline", "options", "parse_error", "translate"]

continuation = no_continuation


def answer_limit(body: Json, to: Upstream) -> int | None:
    """See contract.Provider: Claude is always sent a limit, and what it thinks is part of that."""
    return thinking_for(body, to.facts, to.reasoning, {}).max_tokens


def translate(call: Call, to: Upstream) -> Translator:
    """The translator of this call's answer, primed. See contract.Translator."""
    return prime(message_chunks(call.state, to.reasoning))


# web_search: clients may ask for it (it costs extra); headers: sent with every call, such as anthropic-beta.
options: Final = {
    "web_search": bool,
    "headers": dict[Annotated[str, Meta(pattern=r"^[\w!#$%&'*+.^`|~-]+$")], Annotated[str, Meta(pattern=r"^[ -~]*$")]],
}


def must_inline(url: str, to: Upstream) -> bool:
    """Claude fetches https images itself; http ones it refuses."""
    return url[:7].lower() == "http://"
