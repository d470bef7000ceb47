"""Gemini's embeddings. https://ai.google.dev/api/embeddings

One text goes to embedContent, several to batchEmbedContents, a hundred at a time. A vector that was asked to be shorter
is not of length 1, as OpenAI's always are, and is made so: clients compare by dot product.
"""

from collections.abc import Iterable, Iterator
from typing import Any, Final

from ..common.error_shapes import told_instead
from ..common.usage import count
from ..common.vectors import embeddings_call, of_length_one
from ..contract import Call, Json, Upstream
from ..endpoints import endpoint, key_header
from ..errors import Unsupported
from .errors import failure

_BATCH: Final = 100  # requests in one batch
_READ: Final = frozenset({"model", "input", "dimensions", "encoding_format"})  # any other parameter is named as dropped


def build_embeddings(body: Json, upstream: Upstream) -> Call:
    """Return the call for all inputs. Raises Unsupported for tokens: they are another model's words."""
    texts = [body["input"]] if isinstance(body["input"], str) else body["input"]
    if not isinstance(texts[0], str):
        raise Unsupported("This model takes texts, not arrays of tokens.", param="input")
    size = {"outputDimensionality": body["dimensions"]} if "dimensions" in body else {}
    asked = [{"model": f"models/{upstream.model}", "content": {"parts": [{"text": text}]}, **size} for text in texts]
    operation, bodies = "embedContent", asked
    if len(asked) > 1:
        operation = "batchEmbedContents"
        bodies = [{"requests": asked[i : i + _BATCH]} for i in range(0, len(asked), _BATCH)]
    url = endpoint(upstream.host, upstream.base_url, upstream.model, operation)
    dropped = tuple(name for name, value in body.items() if name not in _READ and value is not None)
    return embeddings_call(url, key_header(upstream.host, upstream.api_key), bodies, read, body, dropped)


def read(answers: list[Any]) -> tuple[Iterable[Any], int]:
    """Vectors of length 1, and the prompt's tokens (0 from models that do not count them)."""
    for each in answers:
        if "error" in each or ("embedding" not in each and "embeddings" not in each and told_instead(each, sure=False)):
            raise failure(None, each)
    told = (usage if isinstance(usage := each.get("usageMetadata"), dict) else {} for each in answers)
    return _vectors(answers), sum(count(each.get("promptTokenCount")) for each in told)


def _vectors(answers: list[Any]) -> Iterator[list[float]]:
    for answer in answers:
        for each in answer["embeddings"] if "embeddings" in answer else [answer["embedding"]]:
            yield of_length_one(each["values"])
