"""What clients speak, pure: one package per client API. DIALECTS is the whole list."""

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Final

from . import chat, messages, responses
from .contract import ClientRequest, Dialect, Envelope, ErrorForm
from .passing import google

DIALECTS: dict[str, Dialect] = {"chat/completions": chat, "messages": messages, "responses": responses}

__all__ = ["DIALECTS", "ClientRequest", "Dialect", "Envelope", "dialect_of"]

# Clients add a path of their own to the address they were given, whatever it ends in.
_PREFIX: Final = re.compile(r"(?:/anthropic)?(?:/v1){0,2}/")


def dialect_of(path: str, headers: Mapping[str, str]) -> ErrorForm:
    """Return the dialect of a path; of others, the one whose clients send such headers: in its form errors are told."""
    return _of_path(path) or (messages if "anthropic-version" in headers else chat)


@lru_cache(256)
def _of_path(path: str) -> ErrorForm | None:
    prefix = _PREFIX.match(path)
    operation = path[prefix.end() if prefix else 0 :].rstrip("/").removeprefix("explain/")
    for name, dialect in DIALECTS.items():
        if operation == name or operation.startswith(f"{name}/"):
            return dialect
    return google if google.is_own(path) else None
