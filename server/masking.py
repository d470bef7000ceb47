"""Secrets masked in what the inspector keeps: in headers and URLs by their names, in bytes wherever they stand."""

import re
from codecs import getincrementaldecoder
from collections.abc import Mapping
from itertools import islice
from typing import Final
from urllib.parse import urlsplit

from providers.contract import Json

# Names of headers and query parameters that carry secrets; not x-ratelimit-limit-tokens.
_SECRET_NAME = re.compile(
    r"auth|(^|[-_])key$|apikey|secret|cookie|(access|security|session|id)[-_]token", re.IGNORECASE
)
# Characters: a shorter secret is masked in its header, but not searched for: it would be found everywhere.
SHORTEST_SECRET: Final = 8
_MOST_SECRETS: Final = 32  # words of a client's headers that are searched for: each costs a look at every byte
_SCHEMES: Final = ("bearer", "basic", "token")


def masked_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """Headers with the values of those that may hold a secret shortened."""
    return {
        name: " ".join([word if word.lower() in _SCHEMES else _short(word) for word in value.split(" ")])
        if _SECRET_NAME.search(name)
        else value
        for name, value in headers.items()
    }


def secrets_in(headers: Mapping[str, str]) -> set[str]:
    """Return the words of a client's headers that are to be masked wherever they stand."""
    words = (word for name, value in headers.items() if _SECRET_NAME.search(name) for word in value.split(" "))
    return set(islice((word for word in words if len(word) >= SHORTEST_SECRET), _MOST_SECRETS))


def _short(secret: str) -> str:
    """A key's first letters and its last four: enough to know which one it was."""
    return f"{secret[:3]}…{secret[-4:]}" if len(secret) >= 16 else "…"


def masked_url(url: str) -> str:
    """The URL with every query value shortened whose name speaks of a secret."""
    query = urlsplit(url).query
    for pair in query.split("&"):
        name, _, value = pair.partition("=")
        if value and _SECRET_NAME.search(name):
            url = url.replace(f"{name}={value}", f"{name}={_short(value)}")
    return url


def masked_texts(pieces: list[tuple[float, bytes]], secrets: list[str]) -> list[Json]:
    """Pieces of one stream of bytes as text. Neither a secret nor a character can hide behind a cut."""
    whole = b"".join([data for _, data in pieces])
    for secret in secrets:
        whole = whole.replace(secret.encode(), b"*" * len(secret.encode()))
    decode = getincrementaldecoder("utf-8")("replace").decode
    texts, start = [], 0
    for at, data in pieces:
        texts.append({"at": at, "data": decode(whole[start : start + len(data)])})
        start += len(data)
    return texts


def masked_text(data: bytes, secrets: list[str]) -> str:
    """Return bytes as text, without these secrets."""
    return "".join(piece["data"] for piece in masked_texts([(0.0, data)], secrets))
