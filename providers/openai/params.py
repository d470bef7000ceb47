"""The parameters of a chat request as a host and a model take them: left out, refused, renamed, clamped.

/v1/responses shares most of it. Each function changes `out`, a copy of the client's body, and adds what it changed to `changed`.
"""

from collections.abc import Iterable
from typing import Any, Final

from ..contract import Json, Upstream
from ..errors import Unsupported
from ..hosts import Host
from ..models import EFFORTS, ModelFacts, nearest_effort
from .tools import has_functions

_UNKNOWN: Final = ModelFacts()
_SAMPLING: Final = ("temperature", "top_p", "presence_penalty", "frequency_penalty", "logit_bias")
_PENALTIES: Final = ("presence_penalty", "frequency_penalty")
_LOGPROBS: Final = ("logprobs", "top_logprobs")
# Values that ask for what happens anyway: a host that does not know the parameter loses nothing.
_DEFAULTS: Final[Json] = {
    "n": 1,
    "temperature": 1,
    "top_p": 1,
    "presence_penalty": 0,
    "frequency_penalty": 0,
    "logit_bias": {},
    "logprobs": False,
    "top_logprobs": 0,
    "modalities": ["text"],
    "parallel_tool_calls": True,
    "service_tier": "auto",
    "store": False,
    "metadata": {},
    "stop": [],
}


def asks(name: str, value: Any) -> bool:
    """Whether a parameter asks for more than what happens anyway."""
    return value is not None and value != _DEFAULTS.get(name)


def refuse(out: Json, names: Iterable[str], who: str) -> None:
    """Leave out these parameters. Raises Unsupported for one that asks for something."""
    for name in names:
        if name in out:
            if asks(name, out[name]):
                raise Unsupported(f"Unsupported parameter: '{name}' is not supported by {who}.", param=name)
            del out[name]


def drop(out: Json, names: Iterable[str], changed: list[str]) -> None:
    """Leave out these parameters."""
    changed.extend(name for name in names if name in out and asks(name, out.pop(name)))


def set_limit(out: Json, host: Host, facts: ModelFacts) -> None:
    """The limit of the answer under the name the model takes; a host that renames it has the last word."""
    if facts.max_tokens == "both" or "max_completion_tokens" in host.rename:
        return
    if facts.max_tokens == "max_tokens":
        if "max_completion_tokens" in out:
            out["max_tokens"] = out.pop("max_completion_tokens")
    elif "max_tokens" in out:
        value = out.pop("max_tokens")
        out.setdefault("max_completion_tokens", value)  # which wins where both are given


def rename_and_clamp(out: Json, host: Host, changed: list[str]) -> None:
    """Give parameters their names there, and bring numbers within the bounds that the host takes."""
    for name, there in host.rename.items():
        if name in out:
            out[there] = out.pop(name)
    for name, (least, most) in host.clamp.items():
        if name in out and not least <= out[name] <= most:
            out[name] = min(max(out[name], least), most)
            changed.append(name)


def set_effort(out: Json, upstream: Upstream, changed: list[str]) -> bool:
    """Put reasoning_effort into the host's terms. Returns whether the model will reason."""
    host, facts = upstream.host, upstream.facts
    effort = out.get("reasoning_effort")
    if facts.chat_tools != "yes" and host.openai_rules and has_functions(out):
        if facts.chat_tools == "no":
            raise Unsupported("This model takes function tools only on /v1/responses.", param="tools")
        if effort != "none" and (effort is not None or facts.reasoning == "on"):
            effort = out["reasoning_effort"] = "none"
            changed.append("reasoning_effort")
    if effort is None:
        return thinks_unasked(out, facts)
    if host.openai_rules and facts.reasoning == "no" and facts != _UNKNOWN:
        drop(out, ("reasoning_effort",), changed)
        return False
    if effort == "none" and host.no_thinking:
        if facts.reasoning != "always":
            del out["reasoning_effort"]
            out |= host.no_thinking
            return False
        if not facts.efforts:  # it cannot reason less either
            drop(out, ("reasoning_effort",), changed)
            return True
    sent = snapped(host.efforts.get(effort, effort), facts)
    if sent != effort or not host.effort:
        changed.append("reasoning_effort")
    if host.effort != ("reasoning_effort",):
        del out["reasoning_effort"]
    _put(out, host.effort, sent)
    if sent == "none":
        return False
    out |= host.thinking
    return True


def thinks_unasked(out: Json, facts: ModelFacts) -> bool:
    """Whether the model reasons when no effort is given: by a switch of the host's own, else by its habit.

    Switches: thinking, of DeepSeek, Z.ai, Moonshot and MiniMax; enable_thinking, of Qwen; reasoning, of OpenRouter.
    """
    if "thinking" not in out and "enable_thinking" not in out and "reasoning" not in out:
        return facts.reasoning in ("on", "always")
    match out.get("thinking"), out.get("enable_thinking"), out.get("reasoning"):
        case ({"type": "disabled"}, _, _) | (_, False, _) | (_, _, {"enabled": False} | {"effort": "none"}):
            return facts.reasoning == "always"
        case ({"type": "enabled" | "adaptive"}, _, _) | (_, True, _) | (_, _, {"enabled": True} | {"effort": str()}):
            return True
    return facts.reasoning in ("on", "always")


def snapped(effort: str, facts: ModelFacts) -> str:
    """Return the nearest effort that the model takes; a word that is no effort passes."""
    return (nearest_effort(effort, facts.efforts) if effort in EFFORTS else None) or effort


def _put(out: Json, path: tuple[str, ...], value: Any) -> None:
    """Set a value at a path of keys, copying the objects on the way."""
    for key in path[:-1]:
        out[key] = dict(out.get(key) or {})
        out = out[key]
    if path:
        out[path[-1]] = value


def model_rules(out: Json, facts: ModelFacts, thinks: bool, changed: list[str]) -> None:
    """What the model refuses on any host."""
    if facts.sampling in ("no", "ignored") or (facts.sampling == "without_reasoning" and thinks):
        refuse(out, _LOGPROBS, "this model while it reasons" if thinks else "this model")
        drop(out, _SAMPLING, changed)
    if not facts.penalties:
        drop(out, _PENALTIES, changed)
    if not facts.parallel_tools:
        drop(out, ("parallel_tool_calls",), changed)
    if not facts.stop:
        refuse(out, ("stop",), "this model")


def set_stream_options(out: Json, host: Host) -> None:
    """Ask for usage in a stream, where the host takes that."""
    if not host.usage:
        out.pop("stream_options", None)
    elif out.get("stream"):
        options = out.get("stream_options")
        if not options:
            out["stream_options"] = {"include_usage": True}
        elif not options.get("include_usage"):
            out["stream_options"] = options | {"include_usage": True}
