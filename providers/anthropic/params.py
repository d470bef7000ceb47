"""The parameters that are not messages or tools: what Claude takes of them, and how the model is to think.

https://platform.claude.com/docs/en/api/messages under version 2023-06-01, which still knows temperature. What differs
between models is in providers/models.yaml.
"""

import hashlib
from typing import Any, NamedTuple

from ..contract import Json
from ..errors import BadRequest, Unsupported
from ..models import EFFORTS, ModelFacts, nearest_effort
from .messages import thoughts

# What another part of the translation, or the dialect, reads.
_READ = frozenset(
    {"model", "messages", "stream", "stream_options", "tools", "tool_choice", "parallel_tool_calls", "response_format"}
    | {"max_tokens", "max_completion_tokens", "temperature", "top_p", "stop", "reasoning_effort", "web_search_options"}
    | {"user", "safety_identifier", "metadata", "service_tier", "cache_control", "prompt_cache_retention"}
)
# Values that ask for nothing but what happens anyway.
_IDLE: Json = {
    "n": 1,
    "logprobs": False,
    "top_logprobs": 0,
    "modalities": ["text"],
    "presence_penalty": 0,
    "frequency_penalty": 0,
    "logit_bias": {},
    "store": False,
    "temperature": 1,
    "top_p": 1,
}
# Parameters without which the client would misread the answer.
_REFUSED = {
    "n": "This model gives one answer only.",
    "logprobs": "This model does not give log probabilities.",
    "top_logprobs": "This model does not give log probabilities.",
    "modalities": "This model answers in text only.",
    "audio": "This model answers in text only.",
}
_TIERS = {"auto": "auto", "default": "standard_only"}
_BUDGETS = {"minimal": 1024, "low": 2048, "medium": 8192, "high": 16384, "xhigh": 32768, "max": 32768}
_LEAST_BUDGET = 1024
_LEAST_OUTPUT = 4096  # asked of a model whose limit is unknown


class Thinking(NamedTuple):
    """How the model is to think, and the tokens it may write in all."""

    max_tokens: int
    on: bool  # it thinks in this request: thinking blocks may be sent back to it
    thinking: Json | None = None
    effort: str | None = None  # output_config.effort

    @property
    def budget(self) -> bool:
        return self.thinking is not None and self.thinking["type"] == "enabled"


def refuse(body: Json) -> None:
    """Raises Unsupported for a parameter whose absence the client would not notice."""
    for name, why in _REFUSED.items():
        if name in body and body[name] != _IDLE.get(name):
            raise Unsupported(why, param=name)


def remaining_params(body: Json, facts: ModelFacts, thinking: bool, dropped: dict[str, None]) -> Json:
    """The request's sampling, stop, metadata and tier fields. Adds to dropped what is left out or changed."""
    made = _sampling(body, facts, thinking, dropped)
    if stop := body.get("stop"):
        stops = [stop] if isinstance(stop, str) else stop
        if said := [one for one in stops if one.strip()]:
            made["stop_sequences"] = said
        if len(said) < len(stops):
            dropped["stop"] = None
    metadata = body.get("metadata") or {}
    if user := body.get("user") or body.get("safety_identifier") or metadata.get("user_id"):
        # It must not be an e-mail address or a name, and need not be more than constant.
        made["metadata"] = {"user_id": hashlib.sha256(str(user).encode(errors="replace")).hexdigest()}
    if metadata and metadata.keys() != {"user_id"}:
        dropped["metadata"] = None
    if tier := body.get("service_tier"):
        if tier in _TIERS:
            made["service_tier"] = _TIERS[tier]
        else:
            dropped["service_tier"] = None
    if not body.keys() <= _READ:
        dropped |= dict.fromkeys(n for n, value in body.items() if n not in _READ and _IDLE.get(n, _NOTHING) != value)
    return made


_NOTHING: Any = object()


def _sampling(body: Json, facts: ModelFacts, thinking: bool, dropped: dict[str, None]) -> Json:
    asked = {name: value for name in ("temperature", "top_p") if (value := body.get(name)) is not None}
    # Even with adaptive thinking: "`temperature` may only be set to 1 when thinking is enabled or in adaptive mode".
    if thinking or facts.sampling not in ("yes", "without_reasoning"):
        dropped |= dict.fromkeys(name for name, value in asked.items() if value != _IDLE[name])
        return {}
    if asked.get("temperature", 0) > 1:
        dropped["temperature"] = None
        asked["temperature"] = 1.0
    if len(asked) < 2:
        return asked
    # From 4.5 on they are refused together: the one that asks for something stays.
    if asked["temperature"] == _IDLE["temperature"] and "temperature" not in dropped:
        return {"top_p": asked["top_p"]}
    if asked["top_p"] != _IDLE["top_p"]:
        dropped["top_p"] = None
    return {"temperature": asked["temperature"]}


def thinking_for(body: Json, facts: ModelFacts, shown: bool, dropped: dict[str, None]) -> Thinking:
    """max_tokens and reasoning_effort → how the model is to think. shown: the client gets to see it.

    Adds to dropped what is clamped or cannot be had.
    """
    name = "max_completion_tokens" if "max_completion_tokens" in body else "max_tokens"
    wanted: int | None = body.get(name)
    most = facts.max_output
    limit = wanted or facts.default_output or most or _LEAST_OUTPUT
    if most and limit > most:
        limit = most
        dropped[name] = None
    usual = Thinking(limit, facts.reasoning in ("on", "always"))
    effort = body.get("reasoning_effort")
    if effort is None:
        return usual
    if effort == "none":
        return _without(usual, facts, dropped)
    if effort not in EFFORTS:
        raise BadRequest(f"reasoning_effort must be one of {', '.join(EFFORTS)}.", param="reasoning_effort")
    if "adaptive" in facts.thinking:
        thinking: Json = {"type": "adaptive"}
        if shown:
            thinking["display"] = "summarized"  # newer models show nothing unless asked
        return Thinking(limit, True, thinking, _effort(effort, facts, dropped))
    if "enabled" in facts.thinking:
        visible = wanted is not None and name == "max_tokens"  # which meant the answer alone
        return _on_budget(usual, effort, visible, body["messages"], facts, dropped)
    dropped["reasoning_effort"] = None
    return usual


def tolerate_old_blocks(thinking: Thinking) -> Thinking:
    """Thinking that goes on without the blocks it brings back when something before them has changed.

    Some models refuse the request instead, and a gateway cannot promise an unchanged history: clients edit it, a forced
    tool may have cut the tools, the reasoning cache may have lost it. Where no thinking was asked for, adaptive is what these
    models do anyway. https://platform.claude.com/docs/en/build-with-claude/preserved-thinking
    """
    binding = {"block_binding": {"prefix_mismatch_behavior": "drop_block"}}
    return thinking._replace(thinking={**(thinking.thinking or {"type": "adaptive"}), **binding})


def _without(usual: Thinking, facts: ModelFacts, dropped: dict[str, None]) -> Thinking:
    if "adaptive" not in facts.thinking:  # thinks only when told to
        return usual
    if "disabled" in facts.thinking:
        return usual._replace(on=False, thinking={"type": "disabled"})
    dropped["reasoning_effort"] = None
    if "between_tools" in facts.thinking:
        # It does think, but has no word for tolerance towards old blocks (see tolerant).
        return usual._replace(on=not facts.bound_thinking, thinking={"type": "between_tools"})
    return usual._replace(effort=_effort("low", facts, {}))


def _effort(wanted: str, facts: ModelFacts, dropped: dict[str, None]) -> str | None:
    """Return the model's own level for an effort; one that is not the same is named in `dropped`."""
    effort = nearest_effort(wanted, facts.efforts)
    if effort != wanted:
        dropped["reasoning_effort"] = None
    return effort


def _on_budget(
    usual: Thinking, effort: str, visible: bool, messages: list[Json], facts: ModelFacts, dropped: dict[str, None]
) -> Thinking:
    budget = _BUDGETS[effort]
    limit = usual.max_tokens
    if visible:
        limit = min(limit + budget, facts.max_output or limit + budget)
    # It must think before every call of a turn that goes on, and may not go on from words of ours.
    if limit <= _LEAST_BUDGET or not _may_resume(messages):
        dropped["reasoning_effort"] = None
        return usual
    thinking = {"type": "enabled", "budget_tokens": min(budget, limit - 1)}
    level = _effort(effort, facts, {}) if facts.efforts else None
    return Thinking(limit, True, thinking, level)


def _may_resume(messages: list[Json]) -> bool:
    last = next((message for message in reversed(messages) if message["role"] == "assistant"), None)
    if last is None:
        return True
    if last is messages[-1]:
        return False
    return not last.get("tool_calls") or bool(thoughts(last))
