"""A chat request as OpenAI's Responses API takes it. https://platform.openai.com/docs/api-reference/responses/create

Stateless: nothing is stored there (`store: false`), so reasoning comes and goes encrypted, and the client's messages
stay the whole conversation. What Responses cannot do is dropped where it only tunes, refused where the answer would be
misread. Fields that are in neither API's documentation pass, as they do on chat completions.
"""

from collections.abc import Iterable, Iterator
from functools import partial
from typing import Any, Final

from ...common import output_order, tool_names
from ...common.tools import tool_name
from ...contract import Call, Json, Upstream
from ...endpoints import endpoint, key_header
from ...errors import Unsupported
from ..messages import omit, shortened
from ..params import drop, model_rules, refuse, snapped
from ..request import CHAT_ONLY, TOOL_NAME_LENGTH, fit_format
from ..tools import fitted_schema
from . import stream
from .pairs import BY_KIND, PARTS, PLACES, flat, put, translated

_DROPPED: Final = ("seed", "presence_penalty", "frequency_penalty", "logit_bias", "prediction", "web_search_options",
                   "store", "cache_control")  # fmt: skip
_MARKS: Final = frozenset({"cache_control"})
_LEAST_OUTPUT: Final = 16  # tokens; less is a 400
_LONGEST_ID: Final = 64  # characters of a call_id; more is a 400


def build_request(body: Json, upstream: Upstream) -> Call:
    """The call for a validated chat request; always streamed. Raises Unsupported."""
    changed: list[str] = []
    body, names = tool_names.renamed(body, upstream.host.tool_names, TOOL_NAME_LENGTH)
    out = body.copy()
    out.pop("stream_options", None)  # usage comes in any case
    refuse(out, CHAT_ONLY, "this model, which is served by /v1/responses")
    drop(out, _DROPPED, changed)
    thinks = _reasoning(out, upstream, changed)
    model_rules(out, upstream.facts, thinks, changed)
    _limit(out, changed)
    fit_format(out, upstream.host)
    _text(out)
    if "tools" in out:
        out["tools"] = [_tool(tool, upstream, f"tools[{n}]") for n, tool in enumerate(out["tools"])]
    if "tool_choice" in out:
        out["tool_choice"] = _choice(out["tool_choice"])
    messages = out.pop("messages")
    if any("name" in message for message in messages):
        changed.append("messages.name")
    out |= {
        "model": upstream.model,
        "input": list(_items(messages)),
        "stream": True,
        "store": False,
        "include": ["reasoning.encrypted_content"],
    }
    url = endpoint(upstream.host, upstream.base_url, upstream.model, "responses")
    read = partial(stream.translate, names=names)
    return Call(url, key_header(upstream.host, upstream.api_key), out, True, read, tuple(changed))


def _reasoning(out: Json, upstream: Upstream, changed: list[str]) -> bool:
    """Effort and, where the operator wants one, a summary. Returns whether the model will reason."""
    effort = out.pop("reasoning_effort", None)
    reasoning = dict(out.get("reasoning") or {})
    if effort is not None:
        sent = snapped(effort, upstream.facts)
        if sent != effort:
            changed.append("reasoning_effort")
        reasoning["effort"] = sent
    # Not by default: OpenAI refuses it to organisations that it has not verified.
    if (summary := upstream.options.get("reasoning_summary")) and upstream.reasoning:
        reasoning.setdefault("summary", summary)
    if reasoning:
        out["reasoning"] = reasoning
    effort = reasoning.get("effort")
    return effort != "none" and (effort is not None or upstream.facts.reasoning in ("on", "always"))


def _limit(out: Json, changed: list[str]) -> None:
    for name in "max_completion_tokens", "max_tokens":
        if name in out:
            limit = out.pop(name)
            put(out, PLACES[name], max(limit, _LEAST_OUTPUT))
            if limit < _LEAST_OUTPUT:
                changed.append(name)


def _text(out: Json) -> None:
    for name in "response_format", "verbosity":
        if name in out:
            put(out, PLACES[name], translated(name, out.pop(name)))


# Tools: the same, but flat


def _tool(tool: Json, upstream: Upstream, at: str) -> Json:
    match tool:
        case {"type": "function", "function": function}:
            function = {name: value for name, value in function.items() if value is not None}
            function = fitted_schema(omit(function, upstream.host.strip), upstream.host, f"{at}.function.parameters")
            # Strict is the default there, and refuses most schemas; on chat completions it is not.
            strict = bool(function.get("strict"))
            none = {"type": "object", "properties": {}} | ({"additionalProperties": False} if strict else {})
            return {"type": "function", "parameters": none, **function, "strict": strict}
        case {"type": "custom", "custom": custom}:
            custom = omit(custom, upstream.host.strip)
            match custom.get("format"):
                case {"type": "grammar", "grammar": dict()}:
                    custom = custom | {"format": flat(custom["format"])}
            return {"type": "custom", **custom}
    return tool


def _choice(choice: Any) -> Any:
    match choice:
        case {"type": "function" | "custom"}:
            return _named(choice)
        case {"type": "allowed_tools", "allowed_tools": {"tools": tools}}:
            return {**flat(choice), "tools": [_named(tool) for tool in tools]}
    return choice


def _named(tool: Json) -> Json:
    return {"type": tool["type"], "name": tool_name(tool)} if tool["type"] in ("function", "custom") else tool


# Messages


def _items(messages: Iterable[Json]) -> Iterator[Json]:
    """The conversation as items: messages, reasoning, calls and their outputs each stand for themselves."""
    kinds: dict[str, str] = {}  # call id → function_call or custom_tool_call
    for index, message in enumerate(messages):
        match message["role"]:
            case "assistant":
                for item in _turn(message):
                    if "call_id" in item:
                        kinds[item["call_id"]] = item["type"]
                    yield item
            case "tool":
                ident = message["tool_call_id"]
                kind = kinds.get(shortened(ident, _LONGEST_ID), "function_call")
                yield {
                    "type": f"{kind}_output",
                    "call_id": shortened(ident, _LONGEST_ID),
                    "output": _content(message["content"], index),
                }
            case role:
                yield {"role": role, "content": _content(message["content"], index)}


def _turn(message: Json) -> Iterator[Json]:
    """The items of an assistant message, in the order they came in (providers/common/output_order.py) where it is known.

    Reasoning goes back as it came, before what it led to; anything else is a 400. A message keeps its phase: without it
    models stop early.
    """
    reasoning = list(_reasoned(message.get("reasoning_items")))
    pieces = output_order.arranged(message, reasoning)
    if pieces is None:
        yield from reasoning
        if content := list(_said(message)):
            yield {"role": "assistant", "content": content}
        yield from map(_call, message.get("tool_calls") or ())
        return
    for entry, piece in pieces:
        match entry["type"]:
            case "text" if piece:
                phase = {"phase": entry["phase"]} if isinstance(entry.get("phase"), str) else {}
                text = {"type": "output_text", "text": piece}
                yield {"type": "message", "role": "assistant", "content": [text], **phase}
            case "call":
                yield _call(piece)
            case "thinking":
                yield piece
    if refusal := message.get("refusal"):
        yield {"role": "assistant", "content": [{"type": "refusal", "refusal": refusal}]}


def _reasoned(items: Any) -> Iterator[Json]:
    """The reasoning among what a client brings back as such; anything else is left out."""
    for item in items if isinstance(items, list) else ():
        match item:
            case {"type": "reasoning"}:
                yield item


def _said(message: Json) -> Iterator[Json]:
    content = message.get("content") or ()
    for part in ({"type": "text", "text": content},) if isinstance(content, str) else content:
        if part["type"] == "refusal":
            yield {"type": "refusal", "refusal": part["refusal"]}
        elif part.get("text"):
            yield {"type": "output_text", "text": part["text"]}
    if refusal := message.get("refusal"):
        yield {"type": "refusal", "refusal": refusal}


def _call(call: Json) -> Json:
    form = BY_KIND["custom" if "custom" in call else "function"]
    tool = call[form.kind]
    said = tool.get(form.field) or ("" if form.kind == "custom" else "{}")
    return {"type": form.item, "call_id": shortened(call["id"], _LONGEST_ID), "name": tool["name"], form.field: said}


def _content(content: Any, index: int) -> Any:
    """What a user, a system message or a tool says: a text stays one."""
    if not isinstance(content, list):
        return content
    return [_part(part, f"messages[{index}].content[{place}]") for place, part in enumerate(content)]


def _part(part: Json, param: str) -> Json:
    match part:
        case {"type": "text", "text": text}:
            return {"type": PARTS["text"], "text": text}
        case {"type": "image_url", "image_url": {"url": url, **more}}:
            return {"type": PARTS["image_url"], "image_url": url, "detail": more.get("detail") or "auto"}
        case {"type": "image_url", "image_url": str(url)}:
            return {"type": PARTS["image_url"], "image_url": url, "detail": "auto"}
        case {"type": "file", "file": file}:
            return {"type": PARTS["file"], **omit(file, _MARKS)}
    raise Unsupported(f"This model does not take content parts of the type '{part['type']}'.", param=f"{param}.type")
