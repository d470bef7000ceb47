"""What a request costs and, before it is made, may cost: micro-USD from the facts of a model, tokens from its body.

Prices are USD per million tokens, so micro-USD per token. An unknown price is None, never 0. Sums are exact (integers of
a millionth of a micro-USD) and rounded up once, at the end: what is paid for never reads as free.
"""

from contextlib import suppress
from functools import lru_cache
from math import ceil
from typing import Any, Final, NamedTuple

from providers.contract import Json, Upstream
from providers.models import Price

_SCALE: Final = 10**6
_SANE: Final = 10**12  # tokens: no upstream may say more
_PART: Final = 1000  # tokens an image, a sound or a file is taken for: what it holds cannot be told by its bytes
_LONGEST: Final = 131_072  # tokens of an answer, where nothing is known of the model
_LUMP: Final = 10  # bytes: deltas that are shorter on average are tokens, one by one


class Usage(NamedTuple):
    """Tokens. cached and written (to the upstream's cache) are part of prompt; reasoning is part of completion."""

    prompt: int = 0
    completion: int = 0
    cached: int = 0
    written: int = 0
    reasoning: int = 0


NOTHING: Final = Usage()


def usage_of(body: Json | None) -> Usage:
    """OpenAI's usage object → Usage; NOTHING when the upstream told nothing."""
    if not body:
        return NOTHING
    prompt, completion = _count(body.get("prompt_tokens")), _count(body.get("completion_tokens"))
    before, after = body.get("prompt_tokens_details"), body.get("completion_tokens_details")
    cached = written = reasoning = 0
    if isinstance(before, dict):
        cached, written = _count(before.get("cached_tokens")), _count(before.get("cache_write_tokens"))
    if isinstance(after, dict):
        reasoning = _count(after.get("reasoning_tokens"))
    cached = min(cached, prompt)
    return Usage(prompt, completion, cached, min(written, prompt - cached), min(reasoning, completion))


def _count(value: Any) -> int:
    if type(value) is int and 0 <= value <= _SANE:
        return value
    return int(min(value, _SANE)) if isinstance(value, int | float) and value > 0 else 0


def cost(used: Usage, to: Upstream) -> int | None:
    """Micro-USD that these tokens cost at this target; None where a price that is needed is unknown."""
    if to.host.free or used == NOTHING:
        return 0
    facts = to.facts
    if facts.price is None:
        return None
    long = facts.long_context
    rates = _rates(long if long is not None and used.prompt > long.above else facts.price, facts.price)
    sum = 0
    for tokens, rate in zip((used.prompt - used.cached - used.written, *used[1:4]), rates, strict=True):
        if tokens:
            if rate is None:
                return None
            sum += tokens * rate
    return -(-sum // _SCALE)


@lru_cache(1024)
def _rates(price: Price, base: Price) -> tuple[int | None, ...]:
    """What a token of a fresh prompt, an answer, a cached and a newly cached prompt costs, in millionths of a micro-USD.

    What a long context's price leaves out is as in the base price; what says nothing of the cache counts it as fresh.
    """
    names = (("input",), ("output",), ("cache_read", "input"), ("cache_write", "input"))
    listed = ((getattr(row, name) for name in each for row in (price, base)) for each in names)
    dollars = [next((value for value in values if value is not None), None) for values in listed]
    return tuple(None if value is None else round(value * _SCALE) for value in dollars)


def priced(body: Json, to: Upstream) -> bool:
    """Whether any answer of this target to such a request can be priced."""
    return cost(Usage(1, int("messages" in body)), to) is not None


def text_size(body: Json, size: int) -> int:
    """Return the bytes of text in a long request: the base64 of an image says nothing about its tokens.

    size: bytes of the request, which are returned where the body is nested too deeply to be walked.
    """
    with suppress(RecursionError):  # a schema nested by the hundreds
        size = sum(_text_bytes(body[name]) for name in ("messages", "tools", "input") if name in body)
    return size


def prompt_estimate(size: int, to: Upstream) -> int:
    """Return the tokens the prompt may have, bytes / 4, bounded by what the model reads.

    size: bytes of the request, which hold what is said, and the tools; of a long one, its text_size.
    """
    return max(1, min(size // 4, to.facts.context or size))


def _text_bytes(value: Any) -> int:
    """Bytes of the texts in a value; parts that are not text count as _PART tokens each."""
    match value:
        case str():
            return len(value) if value.isascii() else len(value.encode("utf-8", "surrogatepass"))
        case {"type": "image_url" | "input_audio" | "file"}:
            return _PART * 4
        case dict():
            return sum([len(name) + 4 + _text_bytes(each) for name, each in value.items()])
        case list():
            return sum([_text_bytes(each) for each in value])
    return 4


def most(body: Json, size: int, to: Upstream, assumed: int) -> Usage:
    """What a request may use at most: its prompt and, of a chat, all the tokens it allows for each answer it wants.

    size: as of prompt_estimate.
    assumed: tokens of an answer to a request that names no limit. Bounded by what the model writes.
    """
    prompt = prompt_estimate(size, to)
    if "messages" not in body:  # embeddings are no tokens
        return Usage(prompt)
    given = body.get("max_completion_tokens") or body.get("max_tokens")
    longest = to.facts.max_output or _LONGEST
    answer = min(int(given or assumed), longest)
    return Usage(prompt, answer * int(body.get("n") or 1))


def streamed_estimate(size: int, deltas: int) -> int:
    """Tokens in `deltas` pieces of text of `size` bytes in all.

    Most hosts send a token at a time, so that the pieces are counted; those that send lumps are counted by bytes / 4.
    """
    if deltas <= 0 or size <= 0:
        return 0
    return deltas if size <= deltas * _LUMP else ceil(size / 4)
