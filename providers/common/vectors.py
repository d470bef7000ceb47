"""Vectors of embeddings: lists of floats, or base64 of little-endian 32 bit floats. Either is made of the other."""

import struct
from base64 import b64decode, b64encode
from collections.abc import Sequence
from math import isfinite, sqrt

import msgspec

Vector = list[float] | str  # floats, or base64


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
