"""A chat request as a host takes it: applies a row of hosts.py and a model's facts. Pure, copy on write.

What only tunes is dropped, clamped or translated, and named for the header x-modelserver-dropped; what the client would
misread without it is a 400. Renaming is neither. The order matters in one place: whether the model will reason decides
which sampling parameters and tool choices it takes, so efforts come first.
"""

from collections.abc import Iterable
from functools import partial
from typing import Any, Final

from ..common import tool_schemas
from ..common.tidy_schemas import tidied
from ..common.tool_names import fitted, renamed
from ..contract import Call, Json, Upstream
from ..errors import BadRequest, Unsupported
from ..hosts import NAMED, Host, endpoint, key_header
from ..models import EFFORTS, ModelFacts, nearest_effort
from . import prefill, stream
from .messages import edit_messages, json_schema_in_words, omit, stripped

_UNKNOWN: Final = ModelFacts()
_SAMPLING: Final = ("temperature", "top_p", "presence_penalty", "frequency_penalty", "logit_bias")
_PENALTIES: Final = ("presence_penalty", "frequency_penalty")
_LOGPROBS: Final = ("logprobs", "top_logprobs")
# Parameters that /v1/responses lacks.
CHAT_ONLY: Final = ("n", "stop", "logprobs", "top_logprobs", "modalities", "audio")
_STRICT: Final = frozenset({"strict"})
_NO_PARAMETERS: Final[Json] = {"type": "object", "properties": {}}
_WITH_PARAMETERS: Final = ("properties", "anyOf", "oneOf", "allOf", "$ref")  # one of these is in every other schema
_SCHEMA_NAME: Final = "answer"  # of a schema for the answer that has none
TOOL_NAME_LENGTH: Final = 64  # characters of a tool's name that had to change
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


def build_request(body: Json, upstream: Upstream) -> Call:
    """The chat request as this host and this model take it.

    Raises Unsupported, BadRequest.
    """
    body, names = renamed(body, upstream.host.tool_names, TOOL_NAME_LENGTH)
    edited, dropped = build(body, upstream)
    url = endpoint(upstream.host, upstream.base_url, upstream.model)
    read = partial(stream.translate, upstream=upstream, names=names)
    call = Call(url, key_header(upstream.host, upstream.api_key), edited, body.get("stream") is True, read, dropped)
    if prefill.is_prefilled(messages := edited["messages"]):
        words = messages[-1].get("content")
        if upstream.host.prefill_echoed and isinstance(words, str) and not prefill.is_marked(body["messages"]):
            call = call._replace(read=partial(read, echo=words))
        return call._replace(repair=partial(prefill.repaired, call))
    return call


def needs_responses(body: Json, upstream: Upstream) -> bool:
    """Whether only /v1/responses can serve this chat request.

    OpenAI's models from gpt-5.4 on refuse function tools on chat completions while they reason, some reason always, and
    some are not served there at all (openai/openai-openapi#541, litellm#34569). A model that reasons unless it is told not to
    does so here too, where the request says nothing of it and /v1/responses has all that it asks for.
    """
    if not upstream.host.responses:
        return False
    facts = upstream.facts
    if not facts.chat:
        return True
    if facts.chat_tools == "yes" or not _has_functions(body):
        return False
    if facts.chat_tools == "no":
        return True
    if (effort := body.get("reasoning_effort")) is not None:
        return bool(effort != "none")
    return thinks_unasked(body, facts) and not any(_asks(name, body.get(name)) for name in CHAT_ONLY)


def build(body: Json, upstream: Upstream) -> tuple[Json, tuple[str, ...]]:
    """A validated chat request → the body for `to`, and the parameters that were dropped, clamped or emulated.

    The body names the upstream's model and, where the host takes it, asks for usage. Raises Unsupported for parameters
    without which the answer would be misread, BadRequest for images the host cannot read. Ask needs_responses first:
    a request that belongs there and comes here loses its reasoning, or is Unsupported.
    """
    host, facts = upstream.host, upstream.facts
    out = body.copy()
    out["model"] = upstream.model
    changed: list[str] = []
    if host.refuse:
        refuse(out, host.refuse, "this model's host")
    if host.drop:
        drop(out, host.drop, changed)
    _limit(out, host, facts)
    thinks = _effort(out, upstream, changed)
    model_rules(out, facts, thinks, changed)
    if host.rename or host.clamp:
        _rename_and_clamp(out, host, changed)
    if "cache_control" in out and "cache_control" in host.strip:
        drop(out, ("cache_control",), changed)
    if "tools" in out or "tool_choice" in out:
        _tools(out, upstream, thinks, changed)
    if host.expose and upstream.reasoning and facts.reasoning != "no" and "include_reasoning" not in out:
        out |= {name: value for name, value in host.expose.items() if name not in out}
    _stream_options(out, host)
    if host.named is not NAMED and any(_loses_name(message, host) for message in out["messages"]):
        changed.append("messages.name")
    out["messages"] = edit_messages(out["messages"], host, thinks and (host.reasoning_back or facts.reasoning_back))
    prefill.ended(out, body["messages"], upstream, thinks)
    if "response_format" in out:
        fit_format(out, host)
        if not host.json_schema and (out["response_format"] or {}).get("type") == "json_schema":
            json_schema_in_words(out)
            changed.append("response_format")
    return out, tuple(changed)


def fit_format(out: Json, host: Host) -> None:
    """Give a JSON schema for the answer a name that the host takes, and tidy it; no answer repeats the name."""
    match out.get("response_format"):
        case {"type": "json_schema", "json_schema": dict(named), **more}:
            fit: Json = named | {"name": _schema_name(named.get("name"), host)}
            if isinstance(schema := named.get("schema"), dict):
                fit["schema"] = tidied(schema, "response_format.json_schema.schema")
            out["response_format"] = {"type": "json_schema", **more, "json_schema": fit}


def _schema_name(name: Any, host: Host) -> str:
    """OpenAI: 400 "Missing required parameter: 'response_format.json_schema.name'", or the same complaints as of a tool's."""
    if not isinstance(name, str) or not name:
        return _SCHEMA_NAME
    return fitted([name], host.tool_names, TOOL_NAME_LENGTH)[name] if host.tool_names else name


def _loses_name(message: Json, host: Host) -> bool:
    """Whether a speaker's name is left out. A tool's result is known by its id."""
    return bool(message.get("name")) and (role := message["role"]) != "tool" and role not in host.named


def _asks(name: str, value: Any) -> bool:
    return value is not None and value != _DEFAULTS.get(name)


def refuse(out: Json, names: Iterable[str], who: str) -> None:
    for name in names:
        if name in out:
            if _asks(name, out[name]):
                raise Unsupported(f"Unsupported parameter: '{name}' is not supported by {who}.", param=name)
            del out[name]


def drop(out: Json, names: Iterable[str], changed: list[str]) -> None:
    changed.extend(name for name in names if name in out and _asks(name, out.pop(name)))


def _limit(out: Json, host: Host, facts: ModelFacts) -> None:
    """The limit of the answer under the name the model takes; a host that renames it has the last word."""
    if facts.max_tokens == "both" or "max_completion_tokens" in host.rename:
        return
    if facts.max_tokens == "max_tokens":
        if "max_completion_tokens" in out:
            out["max_tokens"] = out.pop("max_completion_tokens")
    elif "max_tokens" in out:
        value = out.pop("max_tokens")
        out.setdefault("max_completion_tokens", value)  # which wins where both are given


def _rename_and_clamp(out: Json, host: Host, changed: list[str]) -> None:
    for name, there in host.rename.items():
        if name in out:
            out[there] = out.pop(name)
    for name, (least, most) in host.clamp.items():
        if name in out and not least <= out[name] <= most:
            out[name] = min(max(out[name], least), most)
            changed.append(name)


def _effort(out: Json, upstream: Upstream, changed: list[str]) -> bool:
    """Put reasoning_effort into the host's terms. Returns whether the model will reason."""
    host, facts = upstream.host, upstream.facts
    effort = out.get("reasoning_effort")
    if facts.chat_tools != "yes" and host.openai_rules and _has_functions(out):
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


def _stream_options(out: Json, host: Host) -> None:
    if not host.usage:
        out.pop("stream_options", None)
    elif out.get("stream"):
        options = out.get("stream_options")
        if not options:
            out["stream_options"] = {"include_usage": True}
        elif not options.get("include_usage"):
            out["stream_options"] = options | {"include_usage": True}


# Tools


def _has_functions(body: Json) -> bool:
    return any(_is_function(tool) for tool in body.get("tools") or ())


def _is_function(tool: Json) -> bool:
    return bool(tool.get("type", "function") == "function")


def _tools(out: Json, upstream: Upstream, thinks: bool, changed: list[str]) -> None:
    host = upstream.host
    tools = out.get("tools") or []
    if not host.custom_tools:
        for index, tool in enumerate(tools):
            if not _is_function(tool):
                raise Unsupported("This model's host takes function tools only.", param=f"tools[{index}].type")
    edited = [_tool(tool, host, f"tools[{index}].function.parameters") for index, tool in enumerate(tools)]
    if edited != tools:
        out["tools"] = tools = edited
    choice = out.get("tool_choice")
    match choice:
        case {"type": "allowed_tools", "allowed_tools": {"mode": mode, "tools": allowed}} if not host.openai_rules:
            names = {_name(tool) for tool in allowed}
            out["tools"] = [tool for tool in tools if _name(tool) in names]
            if not out["tools"]:
                raise BadRequest(
                    "tool_choice allows none of the tools.",
                    param="tool_choice.allowed_tools.tools",
                    code="invalid_value",
                )
            out["tool_choice"] = choice = mode
    if choice is None or choice == "auto":
        if host.forced_tools == "none":
            out.pop("tool_choice", None)
        return
    if host.forced_tools == "none":
        del out["tool_choice"]
        if choice == "none":
            out.pop("tools", None)
        else:
            changed.append("tool_choice")
    elif choice != "none" and (
        host.forced_tools == "no"
        or (host.forced_tools == "without_thinking" and thinks)
        or not upstream.facts.forced_tools
    ):
        out["tool_choice"] = "auto"
        changed.append("tool_choice")
    elif isinstance(choice, str) and choice in host.tool_choice:
        out["tool_choice"] = host.tool_choice[choice]


def _tool(tool: Json, host: Host, param: str) -> Json:
    """A tool as the host takes it; the same object where there is nothing to change."""
    if host.strip:
        tool = stripped(tool, host.strip)
    if not isinstance(function := tool.get("function"), dict):
        return tool
    fit = function if host.strict_tools or "strict" not in function else omit(function, _STRICT)
    fit = fitted_schema(fit, host, param)
    return tool if fit is function else tool | {"function": fit}


def fitted_schema(function: Json, host: Host, param: str) -> Json:
    """A function with parameters that the host takes; the same object where there is nothing to change."""
    parameters = function.get("parameters")
    if not isinstance(parameters, dict):
        return function if host.bare_tools or parameters is not None else function | {"parameters": _NO_PARAMETERS}
    schema = tool_schemas.without_top_reference(tidied(parameters, param))
    if not host.bare_tools and schema.keys().isdisjoint(_WITH_PARAMETERS):
        schema = {**_NO_PARAMETERS, **schema}
    if not host.any_parameters:
        schema = tool_schemas.plain_object(schema, param)
    if not host.typed_unions:
        schema = tool_schemas.typed_unions(schema, param)
    return function if schema is parameters else function | {"parameters": schema}


def _name(tool: Json) -> Any:
    return tool.get(tool.get("type", "function"), {}).get("name")


def must_inline(url: str, upstream: Upstream) -> bool:
    """Whether the host leaves fetching to us."""
    return upstream.host.inline_images
