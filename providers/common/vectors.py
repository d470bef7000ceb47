"""Embeddings: the calls of a request as one, and vectors as floats or as base64 of little-endian 32 bit floats.

https://platform.openai.com/docs/api-reference/embeddings. openai-python asks for base64 by default; either form is made of
the other. A request may need several calls, one after the other; each answer comes whole.
"""

import struct
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from math import isfinite, sqrt
from typing import Any, Final

import msgspec

from .. import codec
from ..contract import Call, CannedReply, Json, Translator, prime
from ..errors import Failure, UpstreamBadOutput
from ..sse import DONE
from .usage import MOST

Vector = list[float] | str  # floats, or base64
_MANY: Final = 64  # vectors: of more, each is encoded alone, because one long step would keep other threads waiting


# The upstream's answers → vectors in the order of the inputs, and the prompt's tokens.
ReadVectors = Callable[[list[Any]], tuple[Iterable[Vector], int]]


def embeddings_call(
    url: str,
    headers: Mapping[str, str],
    bodies: list[Json],
    vectors: ReadVectors,
    request: Json,
    dropped: tuple[str, ...] = (),
    reply: CannedReply | None = None,
) -> Call:
    """Return the call for the first of `bodies`, at least one; its translator goes on with the others.

    request: the client's, for which it returns OpenAI's answer, without the model's name, as the only chunk.
    """
    read = partial(_translate, more=bodies[1:], vectors=vectors, request=request)
    return Call(url, headers, bodies[0], False, read, dropped, reply=reply)


def _translate(call: Call, streamed: bool, more: list[Json], vectors: ReadVectors, request: Json) -> Translator:
    return prime(_all_answers(call, more, vectors, request))


def _all_answers(call: Call, more: list[Json], vectors: ReadVectors, request: Json) -> Translator:
    """Take the answers of all calls. A failure of a later one knows what those before it have used."""
    answers: list[Any] = []
    made: list[Json] | Call = []
    try:
        for following in (*more, None):
            value: Any = None
            while (event := (yield made)) is not None:
                made = []
                value = value if event.data == DONE else event.data
            answers.append(value)
            made = [] if following is None else call._replace(body=following)
    except Failure as failure:
        if answers:
            failure.usage = _usage_of(answers, vectors)
        raise
    return [_answer(answers, vectors, request)]


def _answer(answers: list[Any], read: ReadVectors, request: Json) -> Json:
    wanted = count_inputs(request["input"])
    form: Callable[[Vector], Any] = packed if request.get("encoding_format") == "base64" else listed
    if wanted > _MANY:
        made = form
        form = lambda vector: msgspec.Raw(codec.encode(made(vector)))  # noqa: E731
    try:
        vectors, tokens = read(answers)
        data = [{"object": "embedding", "index": i, "embedding": form(vector)} for i, vector in enumerate(vectors)]
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError, struct.error) as error:
        raise UpstreamBadOutput("The upstream's answer does not have the shape of embeddings.") from error
    if len(data) != wanted:
        raise UpstreamBadOutput(f"The upstream answered {len(data)} embeddings for {wanted} inputs.")
    return {"object": "list", "data": data, "usage": _usage(tokens)}


def _usage_of(answers: list[Any], read: ReadVectors) -> Json:
    """Return the usage of some of the calls, counted or not."""
    try:
        return _usage(read(answers)[1])
    except (AttributeError, LookupError, TypeError, ValueError, Failure):
        return _usage(0)


def _usage(tokens: int) -> Json:
    tokens = min(tokens, MOST)
    return {"prompt_tokens": tokens, "total_tokens": tokens}


def count_inputs(given: Any) -> int:
    """Return how many inputs there are: a text is one, and so is one array of tokens."""
    return len(given) if isinstance(given, list) and not isinstance(given[0], int) else 1


def packed(vector: Vector) -> str:
    """Return a vector as base64. Raises what a value that is no vector raises."""
    if isinstance(vector, str):
        listed(vector)
        return vector
    return b64encode(struct.pack(f"<{len(vector)}f", *finite(vector))).decode()


def listed(vector: Vector) -> list[float]:
    """Return a vector as floats. Raises what a value that is no vector raises."""
    if not isinstance(vector, str):
        return finite(vector)
    data = b64decode(vector, validate=True)
    return finite(list(struct.unpack(f"<{len(data) // 4}f", data)))


def of_length_one(vector: Sequence[float]) -> list[float]:
    """Return the vector as OpenAI's are: of length 1, because clients compare by dot product. Raises ValueError."""
    numbers = finite(vector)
    length = sqrt(sum(value * value for value in numbers))
    if not isfinite(length):
        raise ValueError("a vector without a length")
    exact = not length or abs(length - 1) < 1e-3
    return numbers if exact else [value / length for value in numbers]


def finite(vector: Sequence[float]) -> list[float]:
    """Return a vector that holds finite numbers and nothing else; one that does not would poison the client's index.

    Some models answer NaN for some texts (ollama#14657, llama.cpp#13854), which JSON cannot even say. Raises ValueError.
    """
    numbers = msgspec.convert(vector, list[float])
    if not numbers or not isfinite(sum(numbers)):
        raise ValueError("not a vector of finite numbers")
    return numbers
