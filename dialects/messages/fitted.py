"""A chat request made of a Messages request, as a model takes it by what is known of it.

Clients of Claude send what Claude takes: a limit that no smaller model has, stop sequences, images. They keep all of it in
what they send next, so that a refusal would end the conversation. It is left out instead, and named.
"""

from typing import Final

from providers.contract import Json, Upstream

from .content import text

_LIMIT: Final = "max_completion_tokens"
# Type of a part → what is known of a model that does not read it, what stands for it, and its name for the client.
_READS: Final = {
    "image_url": ("vision", "[image omitted: this model does not read images]", "messages.image"),
    "file": ("pdf", "[document omitted: this model does not read PDFs]", "messages.document"),
}


def fit(body: Json, upstream: Upstream) -> tuple[Json, tuple[str, ...]]:
    """Return the request as this target takes it, the same one where there is nothing to do, and what was changed."""
    facts, host = upstream.facts, upstream.host
    dropped: dict[str, None] = {}
    out = body
    if facts.max_output and (limit := body.get(_LIMIT)) and limit > facts.max_output:
        out = {**out, _LIMIT: facts.max_output}
        dropped[_LIMIT] = None
    for name, taken in ("stop", facts.stop and "stop" not in host.refuse), ("top_k", host.top_k):
        if name in body and not taken:
            out = {each: value for each, value in out.items() if each != name}
            dropped[name] = None
    if unread := {kind for kind, (fact, _, _) in _READS.items() if getattr(facts, fact) is False}:
        messages = [_without(message, unread, dropped) for message in body["messages"]]
        if any(new is not old for new, old in zip(messages, body["messages"], strict=True)):
            out = {**out, "messages": messages}
    return out, tuple(dropped)


def _without(message: Json, unread: set[str], dropped: dict[str, None]) -> Json:
    """Return a message in which texts stand for the parts of these types."""
    parts = message.get("content")
    if type(parts) is not list or not any(part["type"] in unread for part in parts):
        return message
    made: list[Json] = []
    for part in parts:
        if part["type"] in unread:
            _, words, name = _READS[part["type"]]
            dropped[name] = None
            part = text(words, part)
        made.append(part)
    return {**message, "content": made}
