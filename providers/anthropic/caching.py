"""Marks for Claude's prompt cache, on requests whose client sets none.

https://platform.claude.com/docs/en/build-with-claude/prompt-caching: a mark (`cache_control`) has everything up to it kept,
for five minutes or an hour. Reading that costs a tenth of a fresh prompt or less, writing it a quarter more (an hour: twice
as much). A mark finds what an earlier one has written at the same place, or up to 20 blocks before it. So three places are
marked: the end of what stays (tools and system), the end of the request before this one, and the end of this one.
"""

from typing import Any, Final

from ..contract import Json, Upstream

MOST: Final = 4  # marks that a request may have
MARK: Final = "cache_control"
_BYTES: Final = 4  # of a token
# prompt_cache_retention → the ttl of a mark; None: Claude's usual five minutes.
_TTLS: Final = {"in_memory": None, "in-memory": None, "5m": None, "1h": "1h", "24h": "1h"}
_RETENTION: Final = "prompt_cache_retention"


def mark(request: Json, body: Json, upstream: Upstream, dropped: dict[str, None]) -> tuple[str, ...]:
    """Add marks to a Messages request that has none, where that pays. Changes `request`; returns what was added.

    body: the client's request. Adds to dropped the marks that are more than Claude takes, and a retention that is not had.
    """
    given = _marked(request)
    if given:
        for holder in given[1 : 1 - MOST]:
            del holder[MARK]
            dropped[MARK] = None
    added = not given and upstream.cache and _pays(request, body, upstream.facts.cache_minimum)
    retention = None if (named := body.get(_RETENTION)) is None else str(named)
    if added:
        ttl = _TTLS.get(retention or "in_memory")
        _add(request, {"type": "ephemeral", "ttl": ttl} if ttl else {"type": "ephemeral"})
    if retention is not None and (not added or retention == "24h" or retention not in _TTLS):
        dropped[_RETENTION] = None
    return (MARK,) if added else ()


def _marked(request: Json) -> list[Json]:
    """Return what of a request has a mark, in the order of the prompt."""
    system = request.get("system")
    marked = [tool for tool in request["tools"] if MARK in tool] if "tools" in request else []
    if isinstance(system, list):
        marked += [block for block in system if MARK in block]
    marked += [block for turn in request["messages"] for block in turn["content"] if MARK in block]
    if MARK in request:  # stands for the last block
        marked.append(request)
    return marked


def _pays(request: Json, body: Json, minimum: int | None) -> bool:
    """Whether the prompt is likely to come again, with more behind it, and is long enough to be kept."""
    if minimum is None:
        return False
    again = bool(body.get("tools")) or any(message["role"] == "assistant" for message in body["messages"])
    return again and _reaches(request, minimum * _BYTES)


def _reaches(request: Json, size: int) -> bool:
    """Whether the texts of a prompt have so many bytes. Looks at no more of them than it must."""
    rest: list[Any] = [request["messages"], request.get("system"), request.get("tools")]
    while rest and size > 0:
        match rest.pop():
            case str(text):
                size -= len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))
            case {"type": "base64"}:
                pass  # the bytes of an image or a file are no text
            case dict(value):
                rest += value.values()
            case list(value):
                rest += value
    return size <= 0


def _add(request: Json, made: Json) -> None:
    if isinstance(text := request.get("system"), str):
        request["system"] = [{"type": "text", "text": text}]
    stays = request.get("system") or request.get("tools")
    ends = [turn["content"] for turn in request["messages"] if turn["role"] == "user"][-2:]
    for blocks in filter(None, (stays, *ends)):
        blocks[-1] = {**blocks[-1], MARK: made}
