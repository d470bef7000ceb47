"""Remove secrets from errors and log lines: an upstream's text may quote the key it was sent, or name its host."""

import json
import re
from collections.abc import Iterable
from typing import Final
from urllib.parse import urlsplit

SECRET: Final = "[secret]"  # noqa: S105
HOST: Final = "[upstream]"
_SHORTEST: Final = 6  # characters: a shorter secret would blank out words
# Keys by their shape: they may be somebody else's. OpenAI, Anthropic and their followers; Google; Groq, xAI and others.
_SHAPES: Final = (
    r"\bsk-[\w-]{8,}",
    r"\bAIza[\w-]{10,}",
    r"\b(?:gsk_|xai-|pplx-|hf_|r8_|nvapi-|csk-|fw_)[\w-]{16,}",
    r"(?i:\bbearer )[\w.~+/=-]{8,}",
    r"(?i:[?&](?:api[_-]?)?key=)[^&\s\"']+",
)
_SIGNS: Final = (
    "sk-",
    "AIza",
    "gsk_",
    "xai-",
    "pplx-",
    "hf_",
    "r8_",
    "nvapi-",
    "csk-",
    "fw_",
    "earer ",
    "EARER ",
    "ey=",
    "EY=",
)


class Scrubber:
    """Returns a text without secrets and hosts of upstreams.

    secrets: keys of the configuration, as they are; urls: addresses of upstreams.
    """

    def __init__(self, secrets: Iterable[str] = (), urls: Iterable[str] = ()) -> None:
        known = {form for secret in secrets if len(secret) >= _SHORTEST for form in (secret, json.dumps(secret)[1:-1])}
        hosts = {name for url in urls for name in _names(url)}
        self._signs = (*_SIGNS, *known, *hosts)
        # The longest first: one secret may begin like another.
        literal = [re.escape(each) for each in sorted(known, key=len, reverse=True)]
        self._secret = re.compile("|".join([*literal, *_SHAPES]))
        self._host = re.compile("|".join(re.escape(name) for name in sorted(hosts, key=len, reverse=True)) or "(?!)")

    def __call__(self, text: str) -> str:
        if not any(sign in text for sign in self._signs):
            return text
        return self._host.sub(HOST, self._secret.sub(SECRET, text))


def _names(url: str) -> list[str]:
    """Return how a text may name the host of a URL; this machine only with its port, `localhost` is no secret."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    near = host in ("localhost", "::1") or host.startswith("127.")
    return [name for name in (parts.netloc, "" if near else host) if name and (not near or ":" in name)]
