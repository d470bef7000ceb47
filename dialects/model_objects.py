"""What is known of a model, in the words that clients look for in GET /v1/models: those of OpenRouter's list.

Chatbox, Cherry Studio and others read `pricing` and `supported_parameters` where they find them, and so does our page. What
is not known is left out: a price that is absent is unknown, never free.
"""

from datetime import datetime
from typing import Final

from providers.contract import Json, Upstream
from providers.models import ModelFacts, Price

_SAMPLING: Final = ("temperature", "top_p", "presence_penalty", "frequency_penalty")
_PRICES: Final = {
    "input": "prompt",
    "output": "completion",
    "cache_read": "input_cache_read",
    "cache_write": "input_cache_write",
}

UNKNOWN: Final = 1_764_000_000  # Unix time; `created` must be a number, also of a model whose release is not known
_FREE: Final = Price(input=0.0, output=0.0)


def described(upstream: Upstream) -> Json:
    """The fields of a model's card that say what is known of this target."""
    facts = upstream.facts
    price = _FREE if upstream.host.free else facts.price
    inputs = [name for name, takes in (("image", facts.vision), ("file", facts.pdf), ("audio", facts.audio)) if takes]
    outputs = ["embeddings" if facts.embeds else "text"]
    card: Json = {
        "architecture": {"input_modalities": ["text", *inputs], "output_modalities": outputs},
        "supported_parameters": _parameters(facts),
    }
    if facts.context:
        card["context_length"] = facts.context
    if facts.max_output:
        card["top_provider"] = {"context_length": facts.context, "max_completion_tokens": facts.max_output}
    if price and (pricing := per_token(price)):
        card["pricing"] = pricing
    if facts.efforts:
        card["reasoning_efforts"] = list(facts.efforts)
    if facts.released:
        card["released"] = facts.released
    if facts.shutdown:
        card["expiration_date"] = facts.shutdown
    return card


def created(facts: ModelFacts) -> int:
    """Return when a model was released, as Unix time: the first day of that month."""
    if facts.released is None:
        return UNKNOWN
    return int(datetime.fromisoformat(f"{facts.released}-01T00:00:00+00:00").timestamp())


def _parameters(facts: ModelFacts) -> list[str]:
    if facts.embeds:
        return []
    names = ["max_tokens"]
    if facts.sampling in ("yes", "without_reasoning"):
        names += _SAMPLING if facts.penalties else _SAMPLING[:2]
    if facts.stop:
        names.append("stop")
    if facts.tools:
        names += ["tools", "tool_choice"]
    names.append("response_format")
    if facts.json_schema:
        names.append("structured_outputs")
    if facts.reasoning != "no":
        names += ["reasoning", "reasoning_effort"]
    return names


def per_token(price: Price) -> dict[str, str]:
    """US dollars per token, as text: a float of that size would lose digits on its way."""
    given = {theirs: getattr(price, ours) for ours, theirs in _PRICES.items()}
    return {name: f"{value / 1e6:.12f}".rstrip("0").rstrip(".") for name, value in given.items() if value is not None}
