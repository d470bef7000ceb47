"""Translators of calls that a test makes by hand."""

from functools import partial
from typing import Any, NamedTuple

from providers.anthropic import stream as claude_stream
from providers.anthropic.message_state import Way
from providers.contract import Call, Translator, Upstream
from providers.gemini import stream as gemini_stream
from providers.openai import stream as chat_stream
from providers.openai.responses import stream as responses_stream

Json = dict[str, Any]


class ByHand(NamedTuple):
    """Stands in Call.read for a call that no provider has built: what its translator is to know."""

    state: Any = None

    def __call__(self, call: Call, streamed: bool) -> Translator:
        raise AssertionError("use translator_of()")


def made_call(body: Json | None = None, stream: bool = True, state: Any = None) -> Call:
    """A call made by hand. state: a Way, a gemini State, tools' names, or ON_RESPONSES."""
    return Call("", {}, body or {}, stream, ByHand(state))


ON_RESPONSES = "responses"  # the state of a call to /v1/responses


def translator_of(protocol: str, call: Call, to: Upstream) -> Translator:
    """The translator of a call's answer."""
    if not isinstance(call.read, ByHand):
        return call.read(call, call.stream)
    state = call.read.state
    match getattr(protocol, "__name__", protocol).rpartition(".")[2]:  # or its module
        case "anthropic":
            read = partial(claude_stream.translate, way=state or Way(), reasoning=to.reasoning)
        case "gemini":
            read = partial(gemini_stream.translate, state=state, reasoning=to.reasoning)
        case _ if state == ON_RESPONSES:
            read = partial(responses_stream.translate)
        case _:
            read = partial(chat_stream.translate, upstream=to, names=state or {})
    return read(call, call.stream)
