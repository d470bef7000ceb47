"""Make an upstream's usage canonical: what OpenAI's usage object says, whatever an upstream counted, or claims to have.

Every number of tokens is an integer from 0 to 2³¹ − 1, total is prompt + completion, and each detail is at most what it is
part of. Pure and without a bound of its own on what is likely: gateway/pricing.py decides whether a request can have used so
much.
"""

from typing import Any, Final

Json = dict[str, Any]

MOST: Final = 2**31 - 1  # tokens: the largest integer that every JSON reader takes
_SAFE: Final = 2**53  # of numbers that are no tokens: exact in every JSON reader
_DEEP: Final = 4  # levels of fields that hosts add
# Other names that hosts have for the numbers of a usage object: each stands in where OpenAI's own is missing.
_SPELLINGS: Final = {
    "prompt_tokens": ("input_tokens", "promptTokens", "inputTokens"),
    "completion_tokens": ("output_tokens", "completionTokens", "outputTokens"),
    "total_tokens": ("totalTokens",),
    "prompt_tokens_details": ("input_tokens_details",),
    "completion_tokens_details": ("output_tokens_details",),
}
_CACHED: Final = ("cached_tokens", "cache_read_input_tokens", "prompt_cache_hit_tokens")


def count(value: Any) -> int:
    """Return a number of tokens as an integer from 0 to MOST; 0 for what is no number of tokens (true, NaN, -1, "9")."""
    if type(value) is int or (type(value) is float and value.is_integer()):
        return min(max(int(value), 0), MOST)
    return 0


def usage(prompt: int, completion: int, *, cached: int = 0, written: int = 0, reasoning: int = 0) -> Json:
    """Return OpenAI's usage object; all in tokens. cached and written are part of prompt, reasoning is part of completion."""
    prompt, completion, cached = min(prompt, MOST), min(completion, MOST), min(cached, prompt, MOST)
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
        "prompt_tokens_details": {"cached_tokens": cached, "cache_write_tokens": min(written, prompt - cached)},
        "completion_tokens_details": {"reasoning_tokens": min(reasoning, completion)},
    }


def usage_of(told: Any) -> Json:
    """Return the canonical form of a usage object in OpenAI's shape; unknown fields stay where JSON knows their values.

    DeepSeek's cache counter goes where OpenAI has it. What a host leaves out of one sum and counts in total_tokens is added
    there, since it is paid: reasoning at xAI, heard sound at Mistral.
    """
    told = told if isinstance(told, dict) else _NOTHING
    if not told.keys() <= _CANONICAL:
        told = _respell(told)
    prompt, completion = count(told.get("prompt_tokens")), count(told.get("completion_tokens"))
    before, after = told.get("prompt_tokens_details"), told.get("completion_tokens_details")
    if (rest := count(told.get("total_tokens")) - prompt - completion) > 0:
        if isinstance(after, dict) and rest == count(after.get("reasoning_tokens")):
            completion = min(completion + rest, MOST)
        elif isinstance(before, dict) and rest == count(before.get("audio_tokens")):
            prompt = min(prompt + rest, MOST)
    usage: Json = {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}
    if before is not None:
        before = _parts(before, prompt)
        if written := before.get("cache_write_tokens"):
            before = before | {"cache_write_tokens": min(written, prompt - before.get("cached_tokens", 0))}
        usage["prompt_tokens_details"] = before
    if after is not None:
        usage["completion_tokens_details"] = _parts(after, completion)
    if told.keys() <= usage.keys():
        return usage
    return _parts({name: value for name, value in told.items() if name not in usage}, MOST) | usage


_NOTHING: Final[Json] = {}
_CANONICAL: Final = frozenset(
    {"prompt_tokens", "completion_tokens", "total_tokens", "prompt_tokens_details", "completion_tokens_details"}
)
_NO_JSON: Final[Any] = object()  # stands for a value that not every JSON reader takes


def _respell(upstream: Json) -> Json:
    """Return a copy of an upstream's usage with OpenAI's names where the host has others for the same numbers."""
    usage = dict(upstream)
    for name, others in _SPELLINGS.items():
        if usage.get(name) is None and (found := next((usage[o] for o in others if usage.get(o)), None)) is not None:
            usage[name] = found
    before, after = usage.get("prompt_tokens_details") or {}, usage.get("completion_tokens_details") or {}
    cached = next((hit for name in _CACHED if (hit := count(usage.get(name)))), 0)
    if cached and isinstance(before, dict) and not before.get("cached_tokens"):
        usage["prompt_tokens_details"] = {**before, "cached_tokens": cached}
    thought = count(usage.get("reasoning_tokens"))
    if thought and isinstance(after, dict) and not after.get("reasoning_tokens"):
        usage["completion_tokens_details"] = {**after, "reasoning_tokens": thought}
    return usage


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
