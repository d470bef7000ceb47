"""What clients speak, pure: one package per client API. DIALECTS is the whole list."""

from . import chat, responses
from .contract import ClientRequest, Dialect, Envelope

DIALECTS: dict[str, Dialect] = {"chat/completions": chat, "responses": responses}

__all__ = ["DIALECTS", "ClientRequest", "Dialect", "Envelope", "dialect_of"]


def dialect_of(path: str) -> Dialect:
    """Return the dialect in whose form an error at this path is told: chat's for paths of no dialect."""
    operation = path.removeprefix("/v1").strip("/")
    for name, dialect in DIALECTS.items():
        if operation == name or operation.startswith(f"{name}/"):
            return dialect
    return chat
