"""Embeddings: what each protocol makes of OpenAI's request, and of its own answers. EMBEDDERS is the whole list.

https://platform.openai.com/docs/api-reference/embeddings. Unlike a chat, a request may need several calls; their answers
come back whole. A vector is a list of floats, or base64 of little-endian 32 bit floats, which openai-python asks for by
default: either is made of the other.
"""

import struct
from collections.abc import Callable, Iterable
from typing import Any, Final, NamedTuple

import msgspec

from . import codec
from .common.usage import MOST
from .common.vectors import Vector, listed, packed
from .contract import Call, Json, Upstream
from .echo import embeddings as echo
from .errors import Failure, Unsupported, UpstreamBadOutput
from .gemini import embeddings as gemini
from .openai import embeddings as openai


class Embedder(NamedTuple):
    """One protocol's way."""

    # Request (validated by gateway.embeddings) → the calls to make, one after the other. Never mutates it.
    calls: Callable[[Json, Upstream], list[Call]]
    # Their answers → vectors in the order of the inputs, and the prompt's tokens.
    read: Callable[[list[Any], Upstream], tuple[Iterable[Vector], int]]


EMBEDDERS: Final[dict[str, Embedder]] = {
    "openai": Embedder(openai.calls, openai.read),
    "gemini": Embedder(gemini.calls, gemini.read),
    "echo": Embedder(echo.calls, openai.read),
}


def calls(body: Json, to: Upstream) -> list[Call]:
    """The calls that answer a request; at least one. Raises Unsupported, NoSuchModel, BadRequest."""
    embedder = EMBEDDERS.get(to.host.protocol)
    if embedder is None:
        raise Unsupported("This model's provider has no embeddings.", param="model")
    return embedder.calls(body, to)


def answer(body: Json, to: Upstream, answers: list[Any], large: bool = False) -> Json:
    """The answers of those calls → OpenAI's, without the model's name. Raises Failure.

    large: each vector is encoded alone, because one long step would keep other threads waiting.
    """
    wanted = count(body["input"])
    form: Callable[[Vector], Any] = packed if body.get("encoding_format") == "base64" else listed
    if large:
        made = form
        form = lambda vector: msgspec.Raw(codec.encode(made(vector)))  # noqa: E731
    try:
        vectors, tokens = EMBEDDERS[to.host.protocol].read(answers, to)
        data = [{"object": "embedding", "index": i, "embedding": form(vector)} for i, vector in enumerate(vectors)]
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError, struct.error) as error:
        raise UpstreamBadOutput("The upstream's answer does not have the shape of embeddings.") from error
    if len(data) != wanted:
        raise UpstreamBadOutput(f"The upstream answered {len(data)} embeddings for {wanted} inputs.")
    return {"object": "list", "data": data, "usage": _usage(tokens)}


def usage_of(to: Upstream, answers: list[Any]) -> Json:
    """Return the usage of some of the calls, counted or not, where the others failed."""
    try:
        return _usage(EMBEDDERS[to.host.protocol].read(answers, to)[1])
    except (AttributeError, LookupError, TypeError, ValueError, Failure):
        return _usage(0)


def _usage(tokens: int) -> Json:
    tokens = min(tokens, MOST)
    return {"prompt_tokens": tokens, "total_tokens": tokens}


def count(given: Any) -> int:
    """How many inputs there are: a text is one, and so is one array of tokens."""
    return len(given) if isinstance(given, list) and not isinstance(given[0], int) else 1
