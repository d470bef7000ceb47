"""The most that a request of a key with a budget or a tpm may use, and the limit of its answer that enforces it. Pure.

The client's max_tokens is reserved. A request that names none is given one (usage.cap_output): usage.reserve_tokens, and
room to think for a model that reasons. Where the whole tpm, or the whole budget, does not cover that, it is what they cover:
a small limit allows short answers rather than none. With cap_output off, the model's longest answer is reserved.
"""

from typing import Any, Final

from providers import PROVIDERS
from providers.contract import Json, Upstream
from providers.errors import Failure
from providers.openai.params import thinks_unasked

from .config_schema import UsageConfig as UsageSettings
from .estimates import Prompt
from .limits import Limits
from .pricing import TokenUsage, cost
from .routing import Target, with_defaults

_LONGEST: Final = 131_072  # tokens of an answer, where nothing is known of the model
_LEAST: Final = 16  # tokens of an answer that is worth its prompt, and the least that OpenAI takes
# reasoning_effort → tokens a model may think on top of its answer; as many as providers allow those who think by budget.
_THINKING: Final = {
    "none": 0,
    "minimal": 1024,
    "low": 2048,
    "medium": 8192,
    "high": 24_576,
    "xhigh": 32_768,
    "max": 32_768,
}


def reserved(
    body: Json, measured: Prompt, target: Target, settings: UsageSettings, limits: Limits
) -> tuple[Target, TokenUsage]:
    """Return the target, with the limit that is to be sent where none is named, and what the request may use at most there."""
    upstream = target.upstream
    prompt, context = measured.most or 1, upstream.facts.context
    if context is not None and prompt > context:
        prompt = context
    longest = upstream.facts.max_output or _LONGEST
    if "messages" not in body:
        return target, TokenUsage(prompt, _of_bytes(prompt, longest, measured, upstream, limits))
    asked = with_defaults(body, target)
    answers = int(asked.get("n") or 1)
    limit_of = PROVIDERS[upstream.host.protocol].answer_limit
    try:
        sent = limit_of(asked, upstream)
    except Failure:  # this target refuses the request
        return target, TokenUsage(prompt)
    natural = sent if sent and sent < longest else longest
    tier = asked.get("service_tier")
    if "max_tokens" in asked or "max_completion_tokens" in asked:
        answer = natural if sent else _covered(prompt, natural, answers, tier, measured.hour, upstream, limits)
        return target, TokenUsage(prompt, answer * answers)
    wanted = min(natural, settings.reserve_tokens + _thinking(asked, upstream)) if settings.cap_output else natural
    answer = _covered(prompt, wanted, answers, tier, measured.hour, upstream, limits)
    if settings.cap_output and answer < (sent or answer + 1):
        name = upstream.limit_name
        held = limit_of(asked | {name: answer}, upstream)
        if held is None:  # this host takes no limit
            return target, TokenUsage(
                prompt, _covered(prompt, natural, answers, tier, measured.hour, upstream, limits) * answers
            )
        answer = held
        defaults = {**target.defaults, name: answer}
        target = Target(upstream, defaults, target.weight, target.first_byte, f"{name}={answer}", target.on)
    return target, TokenUsage(prompt, answer * answers)


def _of_bytes(prompt: int, longest: int, measured: Prompt, upstream: Upstream, limits: Limits) -> int:
    """Return the tokens of all answers to a request that is no chat: to it no limit can be added."""
    if measured.answer is None:  # embeddings are no tokens
        return 0
    answer = min(measured.answer or longest, longest)
    if not measured.answer:
        answer = _covered(prompt, answer, measured.answers, measured.tier, measured.hour, upstream, limits)
    return answer * measured.answers


def most_costly(used: TokenUsage, upstream: Upstream, tier: Any = None, hour: bool = False) -> int:
    """Return the micro-USD that a request costs at most: writing to a cache can cost more than reading. 0 where unknown.

    hour: whether it may have its prompt cached for an hour, which costs more yet.
    """
    most = cost(used, upstream, tier) or 0
    if upstream.facts.price is not None and upstream.facts.price.cache_write is not None:
        prompt = used.prompt
        written = TokenUsage(prompt, used.completion, written=prompt, hour=prompt if hour else 0)
        most = max(most, cost(written, upstream, tier) or 0)
    return most


def _thinking(asked: Json, upstream: Upstream) -> int:
    """Return the tokens that a model is to have for thinking, on top of its answer."""
    match asked:  # what OpenRouter and DashScope take passes through
        case {"thinking": {"budget_tokens": int(tokens)}} | {"reasoning": {"max_tokens": int(tokens)}}:
            return max(tokens, 0)
        case {"thinking_budget": int(tokens)}:
            return max(tokens, 0)
        case {"reasoning_effort": effort} | {"reasoning": {"effort": effort}}:
            pass
        case _:
            effort = None
    if effort is None:
        effort = "medium" if thinks_unasked(asked, upstream.facts) else "none"
    return _THINKING.get(effort, 0) if isinstance(effort, str) else 0


def _covered(prompt: int, answer: int, answers: int, tier: Any, hour: bool, upstream: Upstream, limits: Limits) -> int:
    """Return the longest answer, up to `answer` tokens, that an unused tpm and an unused budget cover."""
    if limits.tokens:
        answer = min(answer, (limits.tokens - prompt) // answers)
    if limits.budget and answer > 0:
        most = most_costly(TokenUsage(prompt, answer * answers), upstream, tier, hour)
        if most > limits.budget:
            base = most_costly(TokenUsage(prompt), upstream, tier, hour)
            answer = answer * (limits.budget - base) // (most - base) if most > base else 0
    return max(answer, _LEAST)
