"""A chat request as a host takes it: applies a row of hosts.py and a model's facts. Pure, copy on write.

What only tunes is dropped, clamped or translated, and named for the header x-modelserver-dropped; what the client would
misread without it is a 400. Renaming is neither. The order matters in one place: whether the model will reason decides
which sampling parameters and tool choices it takes, so efforts come first.
"""

from functools import partial
from typing import Any, Final

from ..common.tidy_schemas import tidied
from ..common.tool_names import fitted, renamed
from ..contract import Call, Json, Upstream
from ..endpoints import endpoint, key_header
from ..hosts import NAMED, Host
from . import prefill, stream
from .messages import edit_messages, json_schema_in_words
from .params import (
    asks,
    drop,
    model_rules,
    refuse,
    rename_and_clamp,
    set_effort,
    set_limit,
    set_stream_options,
    thinks_unasked,
)
from .tools import edit_tools, has_functions

# Parameters that /v1/responses lacks.
CHAT_ONLY: Final = ("n", "stop", "logprobs", "top_logprobs", "modalities", "audio")
_SCHEMA_NAME: Final = "answer"  # of a schema for the answer that has none
TOOL_NAME_LENGTH: Final = 64  # characters of a tool's name that had to change


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
    if facts.chat_tools == "yes" or not has_functions(body):
        return False
    if facts.chat_tools == "no":
        return True
    if (effort := body.get("reasoning_effort")) is not None:
        return bool(effort != "none")
    return thinks_unasked(body, facts) and not any(asks(name, body.get(name)) for name in CHAT_ONLY)


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
    set_limit(out, host, facts)
    thinks = set_effort(out, upstream, changed)
    model_rules(out, facts, thinks, changed)
    if host.rename or host.clamp:
        rename_and_clamp(out, host, changed)
    if "cache_control" in out and "cache_control" in host.strip:
        drop(out, ("cache_control",), changed)
    if "tools" in out or "tool_choice" in out:
        edit_tools(out, upstream, thinks, changed)
    if host.expose and upstream.reasoning and facts.reasoning != "no" and "include_reasoning" not in out:
        out |= {name: value for name, value in host.expose.items() if name not in out}
    set_stream_options(out, host)
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


def must_inline(url: str, upstream: Upstream) -> bool:
    """Whether the host leaves fetching to us."""
    return upstream.host.inline_images
