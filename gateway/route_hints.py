"""Find the path of this server that is nearest to one of another API that a client has sent."""

import re
from collections.abc import Iterable
from typing import Final

from providers.near_words import closest

_CHAT: Final = "POST /v1/chat/completions, which takes every model in OpenAI's format"
_MESSAGES: Final = "POST /v1/messages, and POST /v1/messages/count_tokens"
_MODELS: Final = "GET /v1/models"
_ALL: Final = (
    "This server has POST /v1/chat/completions, POST /v1/messages, POST /v1/messages/count_tokens, POST /v1/embeddings, "
    "images, audio, moderations, completions and rerank under /v1, "
    "GET /v1/models, GET /v1/usage and the page at /."
)
# The first that matches the beginning of a path, without /v1 in front.
_NEAREST: Final = (
    (r"/v1/", "the same path with /v1 once: the client's base URL ends in /v1 already"),
    (r"/.*/chat/completions/?$", "POST /v1/chat/completions: the client's base URL should end in /v1"),
    (r"/.*/embeddings/?$", "POST /v1/embeddings: the client's base URL should end in /v1"),
    (r"/(?:messages|complete)(?:/|$)", _MESSAGES),
    (r"/.*/messages/?$", "POST /v1/messages: the client's base URL should end before /v1"),
    (r"/files|/batches|/fine_tuning", "/p/{provider}/…, for keys with `passthrough: true`"),
    (r"/(?:chat|completions|responses|api/chat|api/generate|engines)\b", _CHAT),
    (r"/.*:(?:streamG|g)enerateContent", "POST /v1beta/models/{model}:generateContent, for models of Gemini"),
    (r"/.*:(?:batchE|e)mbedContents?|/api/embed", "POST /v1/embeddings"),
    (r"/api/(?:tags|show|ps|version)|/v1beta/models|/openai/models", _MODELS),
)


def nearest(path: str, served: Iterable[str]) -> str:
    """Return a sentence that names what is served nearest to a path, or what there is. served: known paths."""
    path = path[:200]
    short = path.removeprefix("/v1") if path.startswith("/v1/") else path
    for pattern, ours in _NEAREST:
        if re.match(pattern, short):
            return f"The nearest here is {ours}."
    close = closest(path[:60], sorted(served), 0.8)
    return f"Did you mean {close}?" if close else _ALL
