"""Which conversation a request belongs to: its client's name for it, else a hash of how it begins. Pure.

All requests of a conversation are sent to one target and one key while both are healthy (gateway/affinity.py).
"""

from collections.abc import Mapping
from hashlib import blake2b
from typing import Any, Final

from providers.contract import Json

from .contract import ClientRequest

HEADERS: Final = ("x-claude-code-session-id", "session-id", "session_id", "x-session-id")
_LOOKED: Final = 4096  # characters of the system text, and of the first message
_SYSTEM: Final = ("system", "developer")
# How a note of Claude Code's about itself begins, a text of the system prompt. It may change with every request.
BILLING: Final = "x-anthropic-billing-header:"


def conversation_of(asked: ClientRequest, headers: Mapping[str, str]) -> str:
    """Return what is the same in all requests of a conversation; "" for requests that are part of none.

    headers: of the HTTP request, looked up without regard to case.
    """
    if asked.session:
        return asked.session
    if isinstance(name := asked.body.get("prompt_cache_key"), str) and name:
        return name
    if name := name_in(headers):
        return name
    messages: list[Json] = asked.body.get("messages", [])
    if not messages:
        return ""
    leading = next((n for n, message in enumerate(messages) if message["role"] not in _SYSTEM), len(messages))
    first = next((message.get("content") for message in messages[leading:] if message["role"] == "user"), None)
    return beginning([message.get("content") for message in messages[:leading]], first)


def name_in(headers: Mapping[str, str]) -> str:
    """Return the name that a client gives its conversation, "" where it gives none."""
    return next((name for header in HEADERS if (name := headers.get(header, ""))), "")


def beginning(system: list[Any], first: Any) -> str:
    """Return a hash of the system texts and the first message of a user. Each is a text, or a list of parts with texts."""
    text = "\0".join((*("".join(_texts(each)) for each in system), ""))
    said = "".join(_texts(first))
    begins = f"{len(text)}\0{text[:_LOOKED]}\0{len(said)}\0{said[:_LOOKED]}"
    return blake2b(begins.encode("utf-8", "replace"), digest_size=16).hexdigest()


def _texts(content: Any) -> list[str]:
    if isinstance(content, str):
        return [content]
    parts = content if isinstance(content, list) else []
    found = [text for part in parts if isinstance(part, dict) and isinstance(text := part.get("text"), str)]
    return [text for text in found if not text.startswith(BILLING)]
