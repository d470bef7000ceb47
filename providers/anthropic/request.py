"""Anthropic Messages: Claude. https://platform.claude.com/docs/en/api/messages

params.py, tools.py and messages.py build the request, caching.py marks it, stream.py reads the answer.
Rules: a client that does not stream is answered whole, unless the answer may be long (ModelFacts.whole_output); what only
tunes an answer is dropped and named; what the client would misread is refused; what a model takes is data (Upstream.facts).
"""

from collections.abc import Mapping
from functools import partial
from types import MappingProxyType

from ..common import tool_names
from ..contract import Call, Json, Upstream
from ..endpoints import endpoint, key_header
from ..errors import BadRequest
from ..hosts import PLAIN
from . import caching
from .message_state import Way
from .messages import history
from .params import refuse, remaining_params, thinking_for, tolerate_old_blocks
from .stream import translate
from .tools import toolbox, with_history

# This version still takes temperature and top_p where the model does; 2026-10-21 refuses them everywhere.
_VERSION = "2023-06-01"
_TOOL_NAME, _LONGEST_TOOL_NAME = "[a-zA-Z0-9_-]{1,128}", 128
_BINDING = "thinking-binding-controls-2026-08-01"


def build_request(body: Json, upstream: Upstream) -> Call:
    """An OpenAI chat request → the Messages call. See contract.Provider."""
    refuse(body)
    body, names = tool_names.renamed(body, _TOOL_NAME, _LONGEST_TOOL_NAME)
    dropped: dict[str, None] = {}
    thinking = thinking_for(body, upstream.facts, upstream.reasoning, dropped)
    try:
        box = toolbox(body, upstream, thinking_budget=thinking.budget, dropped=dropped)
    except RecursionError:
        raise BadRequest("A schema is nested too deeply.", param="tools") from None
    forced = box.choice is not None and box.choice["type"] in ("any", "tool")
    # Neither goes on from words of ours: thinking, a forced call and a grammar all begin the answer themselves.
    prefill = upstream.facts.prefill and not (thinking.on or forced or box.format)
    past = history(body["messages"], thinking=thinking.on, prefill=prefill, lines=box.lines)
    if past.tools:
        box = with_history(box)
    binding = upstream.facts.bound_thinking and past.thinking
    if binding:
        thinking = tolerate_old_blocks(thinking)
    streamed = body.get("stream") is True or thinking.max_tokens > upstream.facts.whole_output
    sent: Json = {"model": upstream.model, "max_tokens": thinking.max_tokens, "messages": past.messages}
    if past.system:
        sent["system"] = past.system
    if box.tools:
        sent["tools"] = box.tools
        if box.choice:
            sent["tool_choice"] = box.choice
    if thinking.thinking:
        sent["thinking"] = thinking.thinking
    if thinking.effort or box.format:
        config = {"effort": thinking.effort, "format": box.format}
        sent["output_config"] = {name: value for name, value in config.items() if value}
    if mark := body.get(caching.MARK):
        sent[caching.MARK] = mark
    sent |= remaining_params(body, upstream.facts, thinking.on, dropped)
    if streamed:
        sent["stream"] = True
    added = caching.mark(sent, body, upstream, dropped)
    headers = headers_for(upstream, _BINDING if binding else None)
    read = partial(translate, way=Way(box.custom, box.json_tool, names), reasoning=upstream.reasoning)
    return Call(messages_url(upstream, "messages"), headers, sent, streamed, read, tuple(dropped), added=added)


def messages_url(upstream: Upstream, operation: str, query: Mapping[str, str] = MappingProxyType({})) -> str:
    """Return where Messages requests for this host go. Its address may lack /v1, as clients of Anthropic's are given it."""
    base = upstream.base_url.rstrip("/")
    if upstream.host.path == PLAIN["anthropic"].path and not base.endswith("/v1"):
        base += "/v1"
    return endpoint(upstream.host, base, upstream.model, operation, query)


def headers_for(upstream: Upstream, beta: str | None = None) -> dict[str, str]:
    """Return the headers of a call that is made here. beta: one that it needs."""
    headers = {"anthropic-version": _VERSION, **key_header(upstream.host, upstream.api_key)}
    if own := upstream.options.get("headers"):
        headers |= own
    if beta:
        headers["anthropic-beta"] = ",".join(filter(None, (headers.get("anthropic-beta"), beta)))
    return headers
