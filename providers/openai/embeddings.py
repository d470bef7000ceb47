"""Embeddings of OpenAI and the hosts that imitate it: the request passes, with what the host's row says."""

import struct
from base64 import b64decode
from collections.abc import Iterable, Sequence
from math import isfinite, sqrt
from typing import Any, Final

import msgspec

from ..common.usage import count
from ..contract import Call, Json, Upstream
from ..errors import BadOutput
from ..hosts import endpoint, key_header
from .errors import refuse_errors
from .request import drop

_PASS: Final = frozenset({"model", "input", "dimensions"})


def calls(body: Json, to: Upstream) -> list[Call]:
    """One call, as this host takes it. Vectors are asked for as floats where it is not sure to know base64."""
    host, changed = to.host, list[str]()
    out = body | {"model": to.model}
    drop(out, [name for name in host.drop if name not in _PASS], changed)
    if not host.openai_rules:
        out.pop("encoding_format", None)
    for name, there in host.embed_rename.items():
        if name in out:
            out[there] = out.pop(name)
    url = endpoint(host, to.base_url, to.model, "embeddings")
    return [Call(url, key_header(host, to.api_key), out, False, tuple(changed))]


def read(answers: list[Any], to: Upstream) -> tuple[Iterable[Any], int]:
    """Vectors in the order of their indexes, and the prompt's tokens (0 where the host does not count)."""
    [body] = answers
    if not isinstance(body, dict):
        raise BadOutput("The upstream's answer is not a JSON object.", code="upstream_bad_json")
    refuse_errors("", body)
    data = sorted(body["data"], key=lambda each: each.get("index") or 0)
    told = usage if isinstance(usage := body.get("usage"), dict) else {}
    vectors = (each["embedding"] for each in data)
    if to.host.embed_int8:
        vectors = (_from_int8(vector) for vector in vectors)
    return vectors, count(told.get("prompt_tokens"))


def _from_int8(vector: str) -> list[float]:
    data = b64decode(vector, validate=True)
    return of_length_one(struct.unpack(f"{len(data)}b", data))


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
