"""Echo's embeddings: the same unit vector for the same input, always, with no model behind it.

Texts that differ have vectors that have nothing to do with each other. The names that misbehave do so here as well.
"""

import hashlib
import struct
from functools import partial
from math import sqrt
from typing import Any, Final

from .. import codec
from ..common.vectors import embeddings_call
from ..contract import Call, Json, Upstream
from ..errors import BadRequest
from ..openai.embeddings import read
from .chat import count_words
from .scenarios import simulate

_SIZE: Final = 1536  # dimensions, as text-embedding-3-small has
_MOST: Final = 4096
_NUMBERS: Final = 2**20  # in one answer


def build_embeddings(body: Json, upstream: Upstream) -> Call:
    """Return a call that is answered here. Raises ModelNotFound for a name that is neither echo nor a magic one, BadRequest."""
    given, size = body["input"], body.get("dimensions", _SIZE)
    if size > _MOST:
        raise BadRequest(
            f"echo's embeddings have at most {_MOST} dimensions.", param="dimensions", code="invalid_value"
        )
    inputs = given if isinstance(given, list) and not isinstance(given[0], int) else [given]
    if len(inputs) * size > _NUMBERS:
        raise BadRequest(
            f"echo's embeddings have at most {_NUMBERS} numbers in one answer: {len(inputs)} inputs of {size} dimensions "
            "are more. Send fewer inputs, or ask for fewer dimensions.",
            param="input",
            code="invalid_value",
        )
    data = [{"object": "embedding", "index": i, "embedding": vector(each, size)} for i, each in enumerate(inputs)]
    tokens = sum(count_words(each) if isinstance(each, str) else len(each) for each in inputs)
    answer = {"object": "list", "data": data, "usage": {"prompt_tokens": tokens, "total_tokens": tokens}}
    reply = simulate(upstream.model, codec.encode(answer))
    return embeddings_call("echo:", {}, [body], partial(read, upstream=upstream), body, reply=reply)


def vector(given: Any, size: int) -> list[float]:
    """The vector of a text or of an array of tokens: `size` numbers, of length 1 together."""
    data = given.encode("utf-8", "surrogatepass") if isinstance(given, str) else codec.encode(given)
    numbers = struct.unpack(f"<{size}h", hashlib.shake_128(data).digest(2 * size))
    length = sqrt(sum(number * number for number in numbers)) or 1.0
    return [number / length for number in numbers]
