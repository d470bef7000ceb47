"""The path under a provider's base_url that a client of /p/{provider}/… names. What could lead out of there is refused."""

import re
from typing import Final
from urllib.parse import parse_qsl, unquote_to_bytes, urlencode

from providers.errors import NotFound

_ASIDE: Final = frozenset({"", ".", ".."})
_PLAIN: Final = re.compile(rb"[^\x00-\x20\x7f\\;%]+")  # with %, what was encoded twice
_KEYS: Final = frozenset({"key", "api_key", "api-key", "apikey", "access_token", "token"})


def under_base(path: str) -> str:
    """Return a path as it is to follow base_url. path: as it was sent, percent-encoded. Raises NotFound.

    It is looked at after decoding: hosts decode it too, and what is a step up for them must be one here.
    """
    decoded = unquote_to_bytes(path)
    steps = decoded.removesuffix(b"/").split(b"/")
    if (
        not (path.isascii() and _PLAIN.fullmatch(decoded))
        or decoded.count(b"/") != path.count("/")
        or not _ASIDE.isdisjoint(step.decode("latin-1") for step in steps)
        or steps[0].endswith(b":")  # the scheme of an address
    ):
        raise NotFound(
            "This path does not stay under the provider's base_url: send one without '..', '.', '//', ';' and backslashes, "
            "also encoded ones, as in /p/openai/files/file-123."
        )
    return f"/{path}"


def without_keys(query: str) -> str:
    """Return a query without the parameters that hold a client's key: it is not the provider's."""
    pairs = parse_qsl(query, keep_blank_values=True)
    if query.isascii() and not any(name.lower() in _KEYS for name, _ in pairs):
        return query
    return urlencode([(name, value) for name, value in pairs if name.lower() not in _KEYS], errors="replace")
