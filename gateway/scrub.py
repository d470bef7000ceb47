"""Remove secrets from errors and log lines: an upstream's text may quote the key it was sent, or name its host."""

import json
import re
from collections.abc import Iterable, Iterator
from typing import Final
from urllib.parse import urlsplit

SECRET: Final = "[secret]"  # noqa: S105
HOST: Final = "[upstream]"
_SHORTEST: Final = 6  # characters: a shorter secret would blank out words
_STRIDE: Final = 8  # characters between two looks at a text, at most; each secret is known by as many pieces
_FEW: Final = 32  # secrets that are searched for one by one, which is faster
# Keys by their shape: they may be somebody else's. OpenAI, Anthropic and their followers; Google; Groq, xAI and others.
_SHAPES: Final = (
    r"\bsk-[\w-]{8,}",
    r"\bAIza[\w-]{10,}",
    r"\b(?:gsk_|xai-|pplx-|hf_|r8_|nvapi-|csk-|fw_)[\w-]{16,}",
    r"(?i:\bbearer )[\w.~+/=-]{8,}",
    r"(?i:[?&](?:api[_-]?)?key=)[^&\s\"']+",
)
_SHAPE: Final = re.compile("|".join(_SHAPES))
# A text without any of these has none of those shapes. By a character that is rare in the log and found fast.
_SIGNS: Final = {
    "-": ("sk-", "nvapi-"),
    "_": ("gsk_", "hf_", "r8_"),
    "A": ("AIza",),
    "x": ("xai-", "pplx-"),
    "w": ("fw_",),
    " ": ("earer ", "EARER "),
    "=": ("ey=", "EY="),
}


class Scrubber:
    """Returns a text without secrets and hosts of upstreams. Its work grows with the text, not with the number of secrets.

    A secret anywhere in a text has one of its first pieces of six characters at a place that is a multiple of the stride, so
    only these places are looked at. secrets: keys of the configuration, as they are; urls: addresses of upstreams.
    """

    def __init__(self, secrets: Iterable[str] = (), urls: Iterable[str] = ()) -> None:
        known = {form for secret in secrets if len(secret) >= _SHORTEST for form in (secret, json.dumps(secret)[1:-1])}
        hosts = {name for url in urls for name in _names(url)}
        self._known = known
        self._lengths = sorted({*map(len, known)}, reverse=True)  # the longest first: one secret may begin like another
        self._stride = min(_STRIDE, self._lengths[-1] - _SHORTEST + 1) if known else 1
        self._pieces = {form[i : i + _SHORTEST] for form in known for i in range(self._stride)}
        self._hosts = tuple(hosts)
        self._host = re.compile("|".join(re.escape(name) for name in sorted(hosts, key=len, reverse=True)) or "(?!)")

    def __call__(self, text: str) -> str:
        spans = [found.span() for found in _SHAPE.finditer(text)] if _may_have_a_shape(text) else []
        if len(self._known) > _FEW or any(form in text for form in self._known):
            places = range(0, len(text) - _SHORTEST + 1, self._stride)
            for place in [i for i in places if text[i : i + _SHORTEST] in self._pieces]:
                spans += self._around(text, place)
        if spans:
            text = _blanked(text, sorted(spans))
        return self._host.sub(HOST, text) if any(host in text for host in self._hosts) else text

    def _around(self, text: str, place: int) -> Iterator[tuple[int, int]]:
        """Yield where the secrets stand that have a piece at this place of a text."""
        for start in range(max(0, place - self._stride + 1), place + 1):
            for length in self._lengths:
                if text[start : start + length] in self._known:
                    yield start, start + length
                    break


def _may_have_a_shape(text: str) -> bool:
    """Whether a text has one of the signs of a key by its shape."""
    return any(rare in text and any(sign in text for sign in signs) for rare, signs in _SIGNS.items())


def _blanked(text: str, spans: list[tuple[int, int]]) -> str:
    """Return a text with SECRET in place of these parts; parts that overlap are one. spans: in order."""
    pieces: list[str] = []
    shown = 0  # all before it is done
    for start, end in spans:
        if start >= shown:
            pieces += text[shown:start], SECRET
        shown = max(shown, end)
    return "".join([*pieces, text[shown:]])


def _names(url: str) -> list[str]:
    """Return how a text may name the host of a URL; this machine only with its port, `localhost` is no secret."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    near = host in ("localhost", "::1") or host.startswith("127.")
    return [name for name in (parts.netloc, "" if near else host) if name and (not near or ":" in name)]
