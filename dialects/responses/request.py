"""A placeholder: texts and calls of functions only."""

from collections.abc import Mapping

from providers.contract import Json
from providers.errors import BadRequest, Unsupported

from .. import seal
from ..contract import ClientRequest
from ..validation import check_model, read_json
from . import compaction
from .wanted import Wanted


def parse(data: bytes, headers: Mapping[str, str]) -> ClientRequest:
    raw = read_json(data)
    if not isinstance(raw, dict):
        raise BadRequest("The request body must be a JSON object.", code="invalid_json")
    model = raw.get("model")
    if not isinstance(model, str) or not model:
        raise BadRequest("You must provide a model.", param="model", code="missing_required_parameter")
    check_model(model)
    if raw.get("background") or raw.get("conversation") or raw.get("prompt"):
        name = next(name for name in ("background", "conversation", "prompt") if raw.get(name))
        raise BadRequest(f"Unsupported parameter: '{name}'.", param=name, code="unsupported_parameter")
    messages: list[Json] = []
    if raw.get("instructions"):
        messages.append({"role": "system", "content": raw["instructions"]})
    given = raw.get("input")
    items = [{"role": "user", "content": given}] if isinstance(given, str) else given or []
    if not items:
        raise BadRequest("Missing required parameter: 'input'.", param="input", code="missing_required_parameter")
    for item in items:
        match item:
            case {"role": str(role), "content": str(text)}:
                messages.append({"role": role, "content": text})
            case {"role": str(role), "content": list(parts)}:
                messages.append({"role": role, "content": "".join(part["text"] for part in parts)})
            case {"type": "function_call", "call_id": call, "name": name, "arguments": arguments}:
                function = {"name": name, "arguments": arguments}
                call = {"id": call, "type": "function", "function": function}
                messages.append({"role": "assistant", "content": None, "tool_calls": [call]})
            case {"type": "function_call_output", "call_id": call, "output": output}:
                messages.append({"role": "tool", "tool_call_id": call, "content": output})
            case {"type": "compaction", "encrypted_content": text} if (summary := compaction.opened(text)) is not None:
                messages.append({"role": "user", "content": compaction.as_message(summary)["content"][0]["text"]})
            case {"type": "item_reference"}:
                raise BadRequest("Item not found.", param="input")
    for n, tool in enumerate(raw.get("tools") or ()):
        if tool.get("type") not in ("function", "custom"):
            raise Unsupported("This tool needs a model served natively.", param=f"tools[{n}].type")
    body: Json = {"model": model, "messages": messages}
    stream = raw.get("stream") is True
    if stream:
        body |= {"stream": True, "stream_options": {"include_usage": True}}
    if raw.get("max_output_tokens"):
        body["max_completion_tokens"] = raw["max_output_tokens"]
    if tools := raw.get("tools"):
        body["tools"] = [{"type": "function", "function": {k: v for k, v in t.items() if k != "type"}} for t in tools]
    assert seal
    return ClientRequest(body, raw, stream, headers=headers, answer=Wanted(raw))
