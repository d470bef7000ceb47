"""The parameters of a Messages request that are neither messages nor tools → those of a chat request."""

from collections.abc import Callable
from hashlib import sha256
from typing import Any, Final

from providers.contract import Json
from providers.errors import Unsupported
from providers.models import effort_of_budget

from .reading import Reading, invalid, list_at, object_at
from .tools import fits

_MOST_STOPS: Final = 4
CLAUDE_EFFORTS: Final = ("low", "medium", "high", "xhigh", "max")  # values of output_config.effort


def put_parameters(given: Json, body: Json, reading: Reading) -> None:
    """Add what a client's parameters ask for to a chat request.

    Raises BadRequest for values that are wrong, Unsupported for what only Claude can do.
    """
    for name, value in given.items():
        if value is not None and name not in _READ:
            _PARAMETERS.get(name, _unknown)(name, value, body, reading)
    _put_thinking(given, body, reading)


def _unknown(name: str, value: Any, body: Json, reading: Reading) -> None:
    reading.drop(name[:100])


def _quiet(name: str, value: Any, body: Json, reading: Reading) -> None:
    """What only saves money, or informs."""


def _max_tokens(name: str, value: Any, body: Json, reading: Reading) -> None:
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if _not_negative(name, value) == 0:
        raise Unsupported("max_tokens: 0 only warms a cache of Claude's; this model has none", param=name)
    body["max_completion_tokens"] = value


def _share(name: str, value: Any, body: Json, reading: Reading) -> None:
    if type(value) not in (int, float):
        raise invalid(name, "Input should be a valid number")
    if not 0 <= value <= 1:
        raise invalid(name, "range: 0..1")
    body[name] = value


def _top_k(name: str, value: Any, body: Json, reading: Reading) -> None:
    body[name] = _not_negative(name, value)


def _not_negative(name: str, value: Any) -> int:
    """Return a value that is an integer from 0 on. Raises BadRequest for any other."""
    if type(value) is not int:
        raise invalid(name, "Input should be a valid integer")
    if value < 0:
        raise invalid(name, "Input should be greater than or equal to 0")
    return value


def _stops(name: str, value: Any, body: Json, reading: Reading) -> None:
    texts = list_at(value, name)
    if not all(isinstance(each, str) for each in texts):
        raise invalid(name, "Input should be a list of strings")
    texts = [each for each in texts if each.strip()]
    if len(texts) > _MOST_STOPS:
        reading.drop(name)
    if texts:
        body["stop"] = texts[:_MOST_STOPS]


def _output_config(name: str, value: Any, body: Json, reading: Reading) -> None:
    for inner, each in object_at(value, name).items():
        if inner == "format" and each is not None:
            _format(f"{name}.{inner}", each, body, reading)
        elif inner != "effort" and each is not None:
            reading.drop(f"{name}.{inner[:100]}")


def _format(name: str, value: Any, body: Json, reading: Reading) -> None:
    match object_at(value, name):
        case {"type": "json_schema", "schema": dict(schema)}:
            named = {"name": "output", "schema": schema, "strict": fits(schema)}
            body["response_format"] = {"type": "json_schema", "json_schema": named}
        case {"type": "json_schema"}:
            raise invalid(f"{name}.schema", "Input should be an object")
        case _:
            raise invalid(f"{name}.type", "Input should be 'json_schema'")


def _metadata(name: str, value: Any, body: Json, reading: Reading) -> None:
    user = object_at(value, name).get("user_id")
    if isinstance(user, str) and user:  # Claude Code's has 150 characters, the conversation among them: OpenAI takes 64
        digest = sha256(user.encode("utf-8", "surrogatepass")).hexdigest()
        body |= {"safety_identifier": digest, "prompt_cache_key": digest}


def _service_tier(name: str, value: Any, body: Json, reading: Reading) -> None:
    match value:
        case "standard_only":
            body[name] = "default"
        case "auto":
            pass
        case _:
            reading.drop(name)


def _speed(name: str, value: Any, body: Json, reading: Reading) -> None:
    if value != "standard":
        reading.drop(name)


def _context_management(name: str, value: Any, body: Json, reading: Reading) -> None:
    if not isinstance(value, dict) or value.get("edits") != []:
        reading.drop(name)


def _only_claude(*nothing: Any) -> Callable[[str, Any, Json, Reading], None]:
    """Return what refuses a parameter, unless its value is one that asks for nothing."""

    def refuse(name: str, value: Any, body: Json, reading: Reading) -> None:
        if value not in nothing:
            raise Unsupported(f"{name}: this model cannot do what it asks for; only Claude can", param=name)

    return refuse


def _put_thinking(given: Json, body: Json, reading: Reading) -> None:
    """Add the reasoning_effort, and note whether, and how, the client is shown what the model thinks."""
    config = given.get("output_config")
    effort = reading.effort or (config.get("effort") if isinstance(config, dict) else None)
    if effort is not None and effort not in CLAUDE_EFFORTS:
        reading.drop("output_config.effort")
        effort = None
    thinking = object_at({} if given.get("thinking") is None else given["thinking"], "thinking")
    match thinking.get("type"):
        case "disabled" | "between_tools":
            if effort is not None:
                reading.drop("output_config.effort")
            effort = "none"
        case "enabled":
            budget = thinking.get("budget_tokens")
            if type(budget) is int and effort is None:
                effort = effort_of_budget(budget)
            reading.thinking = True
        case "adaptive" | "auto":
            reading.thinking = True
        case None:
            if thinking:
                raise invalid("thinking.type", "Field required")
        case _:
            reading.drop("thinking")
    reading.thinking_text = thinking.get("display") != "omitted"
    if effort is not None:
        body["reasoning_effort"] = effort


# What other parts of the translation read.
_READ: Final = frozenset({"model", "messages", "system", "stream", "tools", "tool_choice", "thinking"})
_PARAMETERS: Final[dict[str, Callable[[str, Any, Json, Reading], None]]] = {
    "max_tokens": _max_tokens,
    "temperature": _share,
    "top_p": _share,
    "top_k": _top_k,
    "stop_sequences": _stops,
    "output_config": _output_config,
    "output_format": _format,
    "metadata": _metadata,
    "service_tier": _service_tier,
    "speed": _speed,
    "context_management": _context_management,
    "inference_geo": _only_claude("global"),
    "compaction": _only_claude(),
    "thread": _only_claude(),
    "container": _only_claude(),
    "billing_policy": _only_claude("self", {"type": "self"}),
    "mcp_servers": _only_claude([]),
    **dict.fromkeys(
        (
            *("cache_control", "fallbacks", "fallback_credit_token", "diagnostics", "user_profile_id", "workspace_id"),
            *("betas", "safeguards"),
        ),
        _quiet,
    ),
}
