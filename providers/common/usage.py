"""Make an upstream's usage canonical: what OpenAI's usage object says, whatever an upstream counted, or claims to have.

Every number of tokens is an integer from 0 to 2³¹ − 1, total is prompt + completion, and each detail is at most what it is
part of. Pure and without a bound of its own on what is likely: gateway/pricing.py decides whether a request can have used so
much.

Hosts differ in what is part of what. total_tokens decides, where a host tells it: what is in the total and in neither sum is
added, and a part that is larger than its whole is cut (recorded: OpenRouter estimates reasoning_tokens, xAI tells more cached
than prompt). Without a total such a part was counted beside its whole, and is added.
"""

from collections.abc import Sequence
from typing import Any, Final

Json = dict[str, Any]

MOST: Final = 2**31 - 1  # tokens: the largest integer that every JSON reader takes
_SAFE: Final = 2**53  # of numbers that are no tokens: exact in every JSON reader
_DEEP: Final = 4  # levels of fields that hosts add
_DIGITS: Final = 10  # of a number of tokens that comes as a text
# OpenAI's two names of each number: in a chat completion, and in a Response.
RESPONSES: Final = {
    "prompt_tokens": "input_tokens",
    "prompt_tokens_details": "input_tokens_details",
    "completion_tokens": "output_tokens",
    "completion_tokens_details": "output_tokens_details",
    "total_tokens": "total_tokens",
}
# Other names that hosts have for the numbers of a usage object: each stands in where OpenAI's own is missing, or 0.
_SPELLINGS: Final = {
    "prompt_tokens": (
        *(RESPONSES["prompt_tokens"], "promptTokens", "inputTokens", "promptTokenCount", "prompt_token_count"),
        *("input_token_count", "prompt_eval_count"),
    ),
    "completion_tokens": (
        *(
            RESPONSES["completion_tokens"],
            "completionTokens",
            "outputTokens",
            "candidatesTokenCount",
            "candidates_token_count",
        ),
        *("generated_token_count", "eval_count"),
    ),
    "total_tokens": ("totalTokens", "totalTokenCount", "total_token_count"),
    **{name: (RESPONSES[name],) for name in ("prompt_tokens_details", "completion_tokens_details")},
}
_OWN_NAMES: Final = {other: name for name, others in _SPELLINGS.items() for other in others}
# The names that Claude, and Bedrock, give to parts of the prompt that are in no other number.
_READ: Final = ("cache_read_input_tokens", "cacheReadInputTokens")
_WRITTEN: Final = ("cache_creation_input_tokens", "cacheWriteInputTokens")
_CACHED: Final = (
    *("cached_tokens", *_READ, "prompt_cache_hit_tokens"),
    *("cachedContentTokenCount", "cached_content_token_count", "cachedTokens"),
)
_MISSED: Final = "prompt_cache_miss_tokens"
# DashScope and relays of Claude: what was written to the cache, inside prompt_tokens_details.
_WRITTEN_PARTS: Final = ("cache_creation_input_tokens", "cache_creation_tokens", "cached_creation_tokens")
_REASONING: Final = ("reasoning_tokens", "reasoningTokens", "thoughtsTokenCount", "thoughts_token_count")
_THOUGHTS: Final = ("thoughtsTokenCount", "thoughts_token_count")  # Gemini's: beside candidatesTokenCount
_THINKING: Final = ("thinking_tokens",)  # Claude's: inside output_tokens_details
_TOOL_USE: Final = ("toolUsePromptTokenCount", "tool_use_prompt_token_count")  # Gemini's: beside promptTokenCount
# Names beside those of the sums: without one of them the sums are all there is.
_APART: Final = frozenset({*_CACHED, *_WRITTEN, _MISSED, *_REASONING, *_TOOL_USE})
_TOTALS: Final = frozenset({"total_tokens", *_SPELLINGS["total_tokens"]})
_DETAILS: Final = frozenset(
    name for own in ("prompt_tokens_details", "completion_tokens_details") for name in (own, *_SPELLINGS[own])
)
# What `merged` keeps of an earlier usage object. An upstream must not fill memory with names of its own.
_PARTS: Final = frozenset(
    {*_CACHED, *_WRITTEN, *_WRITTEN_PARTS, _MISSED, "reasoning_tokens", "cache_write_tokens", "audio_tokens"}
)
_COUNTERS: Final = _PARTS | {
    *("prompt_tokens", *_SPELLINGS["prompt_tokens"], "completion_tokens", *_SPELLINGS["completion_tokens"]),
    *(*_REASONING, *_TOOL_USE),
}


def count(value: Any) -> int:
    """Return a number of tokens as an integer from 0 to MOST; 0 for what is no number of tokens (true, NaN, -1, "many").

    A text of digits is a number: protobuf writes 64 bit integers so.
    """
    if type(value) is int and 0 <= value <= MOST:  # nearly always
        return value
    if type(value) is int or (type(value) is float and value.is_integer()):
        return min(max(int(value), 0), MOST)
    if type(value) is str and len(value) <= _DIGITS and value.isascii() and value.isdigit():
        return min(int(value), MOST)
    return 0


def usage(
    prompt: int, completion: int, *, cached: int = 0, written: int = 0, hour: int = 0, reasoning: int = 0
) -> Json:
    """Return OpenAI's usage object; all in tokens. cached and written are part of prompt, reasoning is part of completion.

    hour: of those written, the ones that are cached for an hour; told where there are any.
    """
    prompt, completion = min(prompt, MOST), min(completion, MOST)
    cached = cached and min(cached, prompt)
    before = {"cached_tokens": cached, "cache_write_tokens": written and min(written, prompt - cached)}
    if hour:
        before["cache_write_1h_tokens"] = min(hour, before["cache_write_tokens"])
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
        "prompt_tokens_details": before,
        "completion_tokens_details": {"reasoning_tokens": reasoning and min(reasoning, completion)},
    }


def usage_of(told: Any) -> Json:
    """Return the canonical form of a usage object in any protocol's words; unknown fields stay where JSON knows their values."""
    told, prompt, completion = _sums(told)
    usage: Json = {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}
    if (before := told.get("prompt_tokens_details")) is not None:
        usage["prompt_tokens_details"] = _before(before, prompt)
    if (after := told.get("completion_tokens_details")) is not None:
        usage["completion_tokens_details"] = _parts(after, completion)
    if told.keys() <= usage.keys():
        return usage
    return _parts({name: value for name, value in told.items() if name not in usage}, MOST) | usage


def spent(told: Any) -> Json:
    """Return what a usage object in any protocol's words counts, as `usage` says it and without the fields of its host."""
    told, prompt, completion = _sums(told)
    before, after = told.get("prompt_tokens_details"), told.get("completion_tokens_details")
    if not before and not after:
        return usage(prompt, completion)
    before, after = _before(before, prompt), _parts(after, completion)
    return usage(
        prompt,
        completion,
        cached=before.get("cached_tokens", 0),
        written=before.get("cache_write_tokens", 0),
        reasoning=after.get("reasoning_tokens", 0),
    )


def total_of(calls: Sequence[Any]) -> Json:
    """Return the sum of what several calls, which made one answer, have counted."""
    if len(calls) == 1:
        return spent(calls[0])
    sums = [0] * 5
    for each in map(spent, calls):
        before, after = each["prompt_tokens_details"], each["completion_tokens_details"]
        counts = each["prompt_tokens"], each["completion_tokens"], *before.values(), after["reasoning_tokens"]
        sums = [a + b for a, b in zip(sums, counts, strict=True)]
    prompt, completion, cached, written, reasoning = sums
    return usage(prompt, completion, cached=cached, written=written, reasoning=reasoning)


def merged(before: Any, after: Any) -> Any:
    """Return what two usage objects of one stream say together: the later one, and what only the earlier one counts.

    Hosts tell usage again as it grows, or its parts in different events, or end with zeros.
    """
    if not before or not isinstance(before, dict) or not isinstance(after, dict):
        return after if isinstance(after, dict) else before
    whole = after.keys() >= before.keys() and _DETAILS.isdisjoint(after)
    if whole and 0 not in (said := after.values()) and None not in said:
        return after
    if not any(count(value) or (name in _DETAILS and value) for name, value in after.items() if name in _TOLD):
        return before
    kept: Json = {}
    for name, value in before.items():
        if name in _COUNTERS and not count(after.get(name)) and count(value):
            kept[name] = value
        elif name in _DETAILS and isinstance(value, dict):
            later = after.get(name)
            later = later if isinstance(later, dict) else _NOTHING
            known = {n: v for n, v in value.items() if n in _COUNTERS and not count(later.get(n)) and count(v)}
            kept[name] = later | known
    if not kept.keys() <= _KEPT_ALWAYS and _is_complete(after):
        kept = {name: value for name, value in kept.items() if name in _KEPT_ALWAYS}
    return after | kept if kept else after


def _is_complete(told: Json) -> bool:
    """Whether a usage object has tokens of both sides and its own total of them: what it leaves out is 0."""
    sums = usage_of(told)
    total = next((found for name in _TOTALS if (found := count(told.get(name)))), 0)
    return bool(total == sums["total_tokens"] and sums["prompt_tokens"] and sums["completion_tokens"])


_TOLD: Final = _COUNTERS | _TOTALS | _DETAILS
_KEPT_ALWAYS: Final = _PARTS | _DETAILS
_NOTHING: Final[Json] = {}
_CANONICAL: Final = frozenset(
    {"prompt_tokens", "completion_tokens", "total_tokens", "prompt_tokens_details", "completion_tokens_details"}
)
_NO_JSON: Final[Any] = object()  # stands for a value that not every JSON reader takes


def _sums(told: Any) -> tuple[Json, int, int]:
    """Return a usage object under OpenAI's names, and the tokens of prompt and completion that it counts."""
    told = told if isinstance(told, dict) else _NOTHING
    if not told.keys() <= _CANONICAL:
        told = _respelled(told)
    prompt, completion = count(told.get("prompt_tokens")), count(told.get("completion_tokens"))
    if (total := told.get("total_tokens")) != prompt + completion:
        before, after = told.get("prompt_tokens_details"), told.get("completion_tokens_details")
        if total or before or after:
            prompt, completion = _settled(prompt, completion, count(total), before, after)
    return told, prompt, completion


def _before(told: Any, prompt: int) -> Json:
    """Return the details of a prompt of so many tokens, with those written to the cache under one name."""
    before = _parts(told, prompt)
    if written := before.get("cache_write_tokens") or (len(before) > 2 and _first(before, _WRITTEN_PARTS)):
        before = before | {"cache_write_tokens": min(written, prompt - before.get("cached_tokens", 0))}
    return before


def _settled(prompt: int, completion: int, total: int, before: Any, after: Any) -> tuple[int, int]:
    """Return prompt and completion with what the host counts beside them. total: the host's, 0 where it tells none."""
    before, after = before if isinstance(before, dict) else _NOTHING, after if isinstance(after, dict) else _NOTHING
    cached, reasoning = count(before.get("cached_tokens")), count(after.get("reasoning_tokens"))
    if not total:
        prompt += cached if cached > prompt else 0
        completion += reasoning if reasoning > completion else 0
    elif (rest := total - prompt - completion) > 0 and (prompt or completion):
        if not prompt:
            prompt = rest
        elif completion and (
            rest == count(before.get("audio_tokens")) or rest == cached != reasoning
        ):  # sound: Mistral
            prompt += rest
        elif reasoning and rest == cached + reasoning:
            prompt, completion = prompt + cached, completion + reasoning
        else:  # reasoning: xAI tells how much of it, Google's endpoint for OpenAI's clients only the total
            completion += rest
    return min(prompt, MOST), min(completion, MOST)


def _respelled(upstream: Json) -> Json:
    """Return a copy of an upstream's usage with OpenAI's names where the host has others for the same numbers."""
    usage = upstream.copy()
    for other, value in upstream.items():
        if value and (name := _OWN_NAMES.get(other)) and not usage.get(name):
            usage[name] = value
    if _APART.isdisjoint(upstream) and not usage.get("completion_tokens_details"):
        return usage
    own = count(upstream.get("prompt_tokens")) > 0
    prompt, completion = count(usage.get("prompt_tokens")), count(usage.get("completion_tokens"))
    total = count(usage.get("total_tokens"))
    written = _first(usage, _WRITTEN)
    apart = _first(usage, _READ) + written
    if apart > prompt or (apart and (total == prompt + completion + apart if own else total != prompt + completion)):
        usage["prompt_tokens"] = prompt + apart
    elif not prompt:
        usage["prompt_tokens"] = count(usage.get("prompt_cache_hit_tokens")) + count(usage.get(_MISSED))
    elif more := _first(usage, _TOOL_USE):
        usage["prompt_tokens"] = prompt = prompt + more
    if (thoughts := _first(usage, _THOUGHTS)) and total != prompt + completion:
        usage["completion_tokens"] = completion + thoughts
    _put(usage, "prompt_tokens_details", "cached_tokens", _first(usage, _CACHED))
    _put(usage, "prompt_tokens_details", "cache_write_tokens", written)
    after = usage.get("completion_tokens_details")
    thought = _first(after, _THINKING) if isinstance(after, dict) else 0
    _put(usage, "completion_tokens_details", "reasoning_tokens", _first(usage, _REASONING) or thought)
    return usage


def _first(told: Json, names: tuple[str, ...]) -> int:
    """Return the first of these numbers that an object tells; 0 where it tells none."""
    for name in names:
        if name in told and (found := count(told[name])):
            return found
    return 0


def _put(usage: Json, where: str, name: str, value: int) -> None:
    """Set a detail of a usage object to a number that the host told elsewhere, unless it is there."""
    details = given if isinstance(given := usage.get(where), dict) else _NOTHING
    if value and not details.get(name):
        usage[where] = {**details, name: value}


def _parts(told: Any, whole: int) -> Json:
    """Return the fields of an object: numbers of tokens as integers up to `whole`, others where JSON knows their values."""
    if not isinstance(told, dict):
        return {}
    for value in told.values():
        if type(value) is not int or not 0 <= value <= whole:
            break
    else:  # nearly always
        return told
    parts: Json = {}
    for name, value in told.items():
        if type(value) is not int or not 0 <= value <= whole:
            value = min(count(value), whole) if name.endswith("_tokens") else _plain(value)
        if value is not _NO_JSON:
            parts[name] = value
    return parts


def _plain(value: Any, deep: int = 0) -> Any:
    """Return a value without the numbers that JSON, or many of its readers, do not know."""
    match value:
        case int() | float():
            return value if abs(value) <= _SAFE else _NO_JSON
        case dict() | list() if deep == _DEEP:
            return _NO_JSON
        case dict():
            inside = ((name, _plain(each, deep + 1)) for name, each in value.items())
            return {name: each for name, each in inside if each is not _NO_JSON}
        case list():
            return [plain for each in value if (plain := _plain(each, deep + 1)) is not _NO_JSON]
    return value
