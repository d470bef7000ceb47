"""The messages of a chat request as a host takes them: small steps, chosen by its row. Pure, copy on write."""

import re
from hashlib import sha1
from typing import Any, Final, Protocol

from .. import codec
from ..common.media import data_uri, is_data_uri
from ..common.turns import EMPTY, content_text
from ..contract import Json
from ..errors import BadRequest
from ..hosts import NAMED, Host
from .turns import SYSTEM_GAP, gap, in_order, results_lifted

_NINE: Final = re.compile(r"[A-Za-z0-9]{9}", re.ASCII)
SHORTENED: Final = 37  # characters of an id that was too long
_UNFIT_IN_NAMES: Final = re.compile(r"[\s<|\\/>]")
_LONGEST_NAME: Final = 64  # characters
_BASE62: Final = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


class Step(Protocol):
    """One edit of one message, which is messages[index]. Returns the message itself where there is nothing to do.

    The last step returns {} for a message that is to be left out.
    """

    def __call__(self, message: Json, host: Host, index: int) -> Json: ...


def edit_messages(messages: list[Json], host: Host, reasoning_back: bool) -> list[Json]:
    """The messages as `host` takes them; reasoning_back: whether those with tool calls must bring reasoning back."""
    if not host.tool_images:
        messages = results_lifted(messages)
    edited = messages
    steps: list[Step] = []
    for index, message in enumerate(messages):
        text = message.get("content")
        if len(message) == 2 and type(text) is str and text and message["role"] not in host.roles:
            continue  # to a role and a text there is nothing to do
        if edited is messages:
            edited, steps = messages.copy(), _steps(host, reasoning_back)
        for step in steps:
            message = step(message, host, index)
        edited[index] = message
    return in_order(edited, host)


def _steps(host: Host, reasoning_back: bool) -> list[Step]:
    steps: list[Step] = [_empty, _fit_name if host.openai_rules else _refusal_as_text]
    if host.strip:
        steps.append(_strip)
    if host.roles:
        steps.append(_role)
    if host.named is not NAMED:
        steps.append(_no_name)
    if host.reasoning_key:
        steps.append(_reasoning)
    if reasoning_back:
        steps.append(_reasoning_back)
    if host.tool_ids == "nine":
        steps.append(_ids)
    if host.tool_id_length:
        steps.append(_short_ids)
    if host.join_text:
        steps.append(_joined)
    if host.images:
        steps.append(_images)
    steps.append(_content)
    return steps


_NOTHING: Final[tuple[Any, ...]] = (None, "", [], {})
# Fields of a message that say something even so: some hosts want them back.
_SAY: Final = frozenset({"role", "content", "tool_call_id", "reasoning_content", "reasoning"})


def _empty(message: Json, host: Host, index: int) -> Json:
    """Leave out what means nothing: client libraries write it by default, and strict hosts refuse it.

    OpenAI: 400 "Invalid 'messages[1].tool_calls': empty array"; DeepSeek: 400 "Empty tool_calls is not supported in
    message"; vLLM: 400 for arguments that are no JSON; Claude behind a relay: "text content blocks must be non-empty".
    """
    if not all(message.values()):
        nothing = frozenset(name for name, value in message.items() if value in _NOTHING and name not in _SAY)
        message = omit(message, nothing) if nothing else message
    content = message.get("content")
    if type(content) is list and not (content and all(map(_holds, content))):
        left = [part for part in content if _holds(part)]
        message = message | {"content": left or ""}
    calls = message.get("tool_calls")
    if calls and not all(map(_argues, calls)):
        message = message | {"tool_calls": [call if _argues(call) else _without_arguments(call) for call in calls]}
    return message


def _holds(part: Json) -> bool:
    """Whether a content part is more than an empty text."""
    return (kind := part.get("type")) not in ("text", "refusal") or part.get(kind) != ""


def _refusal_as_text(message: Json, host: Host, index: int) -> Json:
    """Say what the assistant refused in its content: hosts other than OpenAI know neither the field nor the part."""
    content = message.get("content")
    if type(content) is list and any(part.get("type") == "refusal" for part in content):
        content = [_text_part(part) if part.get("type") == "refusal" else part for part in content]
        message = message | {"content": content}
    if message["role"] != "assistant" or not isinstance(refusal := message.get("refusal"), str):
        return message
    more: Any = [*content, {"type": "text", "text": refusal}] if isinstance(content, list) else refusal
    if isinstance(content, str) and content:
        more = f"{content}\n{refusal}"
    return omit(message, _REFUSAL) | {"content": more}


_REFUSAL: Final = frozenset({"refusal"})


def _text_part(part: Json) -> Json:
    return omit(part, _REFUSAL) | {"type": "text", "text": part.get("refusal") or ""}


def _no_name(message: Json, host: Host, index: int) -> Json:
    """Leave out a name where the host knows none for that role; edit() reports it."""
    return omit(message, _NAME) if "name" in message and message["role"] not in host.named else message


_NAME: Final = frozenset({"name"})


def _fit_name(message: Json, host: Host, index: int) -> Json:
    """Give a speaker a name that OpenAI takes, distinct as it was.

    OpenAI: 400 "Invalid 'messages[0].name': string does not match pattern. Expected a string that matches the pattern
    '^[^\\s<|\\\\/>]+$'."
    """
    if not isinstance(name := message.get("name"), str):
        return message
    fit = _UNFIT_IN_NAMES.sub("_", name)
    if fit == name and len(name) <= _LONGEST_NAME:
        return message
    digest = sha1(name.encode("utf-8", "surrogatepass"), usedforsecurity=False).hexdigest()[:6]
    return message | {"name": f"{fit[: _LONGEST_NAME - 7]}_{digest}"}


def _argues(call: Json) -> bool:
    """Whether a tool call has no arguments that are empty."""
    function = call.get("function")
    return not isinstance(function, dict) or bool(function.get("arguments", "{}"))


def _without_arguments(call: Json) -> Json:
    return call | {"function": call["function"] | {"arguments": "{}"}}


def _role(message: Json, host: Host, index: int) -> Json:
    role = message["role"]
    return message | {"role": host.roles[role]} if role in host.roles else message


def _strip(message: Json, host: Host, index: int) -> Json:
    if not host.strip.isdisjoint(message):
        message = omit(message, host.strip)
    if type(message.get("content")) is not str or "tool_calls" in message:
        for name in "content", "tool_calls":
            if isinstance(items := message.get(name), list):
                fit = [stripped(item, host.strip) for item in items]
                if fit != items:
                    message = message | {name: fit}
    return message


def stripped(value: Json, names: frozenset[str]) -> Json:
    """A part, a tool or a tool call without these fields, also in the objects directly inside it.

    The same object where there is nothing to leave out.
    """
    out = value if names.isdisjoint(value) else omit(value, names)
    for name, inner in out.items():
        if type(inner) is dict and not names.isdisjoint(inner):
            out = out | {name: omit(inner, names)}
    return out


def omit(value: Json, names: frozenset[str]) -> Json:
    return {name: item for name, item in value.items() if name not in names}


def _reasoning(message: Json, host: Host, index: int) -> Json:
    """Reasoning goes back under the name the host gave it; this server calls it reasoning_content."""
    if "reasoning_content" not in message or host.reasoning_key == "reasoning_content":
        return message
    return {host.reasoning_key: message["reasoning_content"]} | omit(message, frozenset({"reasoning_content"}))


def _reasoning_back(message: Json, host: Host, index: int) -> Json:
    """Give a blank to an assistant message with tool calls that brings no reasoning back, where the host demands some.

    DeepSeek: 400 "The reasoning_content in the thinking mode must be passed back to the API."; Moonshot: 400 "thinking is
    enabled but reasoning_content is missing in assistant tool call message at index 1".
    """
    key = host.reasoning_key or "reasoning_content"
    if not message.get("tool_calls") or isinstance(message.get(key), str):
        return message
    return message | {key: message.get("reasoning") or " "}


def _ids(message: Json, host: Host, index: int) -> Json:
    if calls := message.get("tool_calls"):
        return message | {"tool_calls": [call | {"id": mistral_id(call["id"])} for call in calls]}
    if isinstance(ident := message.get("tool_call_id"), str):
        return message | {"tool_call_id": mistral_id(ident)}
    return message


def _short_ids(message: Json, host: Host, index: int) -> Json:
    if "tool_calls" not in message and "tool_call_id" not in message:
        return message
    most = host.tool_id_length
    if (calls := message.get("tool_calls")) and any(len(call["id"]) > most for call in calls):
        return message | {"tool_calls": [call | {"id": shortened(call["id"], most)} for call in calls]}
    if isinstance(ident := message.get("tool_call_id"), str) and len(ident) > most:
        return message | {"tool_call_id": shortened(ident, most)}
    return message


def shortened(call_id: str, most: int) -> str:
    """A tool call id of at most `most` characters (SHORTENED or more), always the same one for one id. vLLM's have 46."""
    if len(call_id) <= most:
        return call_id
    digest = sha1(call_id.encode("utf-8", "surrogatepass"), usedforsecurity=False).hexdigest()
    return f"call_{digest}"[:SHORTENED]


def mistral_id(call_id: str) -> str:
    """A tool call id as Mistral takes it: nine letters or digits, always the same nine for one id."""
    if _NINE.fullmatch(call_id):
        return call_id
    number = int.from_bytes(sha1(call_id.encode("utf-8", "surrogatepass"), usedforsecurity=False).digest())
    digits = ""
    for _ in range(9):
        number, digit = divmod(number, 62)
        digits += _BASE62[digit]
    return digits


def _joined(message: Json, host: Host, index: int) -> Json:
    parts = message.get("content")
    if not isinstance(parts, list) or any(part.get("type") != "text" for part in parts):
        return message
    return message | {"content": content_text(parts, gap(message["role"]))}


# Fields of a message beside which it says nothing, where it has no content.
_ABOUT: Final = frozenset({"role", "content", "name", "refusal"})
_REASONED: Final = frozenset({"reasoning_content", "reasoning", "reasoning_details"})


def _content(message: Json, host: Host, index: int) -> Json:
    """Give a message without content what the host takes in its place, or return {}: it is left out.

    An assistant or system message that says nothing is left out, as for Claude, Gemini and /v1/responses. OpenAI: 400
    "Invalid value for 'content': expected a string, got null."; Mistral: 400 "Assistant message must have either content
    or tool_calls, but not none."; xAI: 400 "Each message must have at least one content element."; DeepSeek: 422 "missing
    field `content`".
    """
    if content := message.get("content"):
        return message
    role = message["role"]
    if message.get("tool_calls"):
        there = content if host.null_content else content or ""
        return message if "content" in message and there is content else message | {"content": there}
    if role == "assistant":
        if host.openai_rules and (message.get("refusal") or message.get("audio")):
            return message
        if message.keys() <= (_ABOUT if host.empty_text else _ABOUT | _REASONED):
            return {}
    elif role in ("system", "developer"):
        return {}
    elif not host.empty_text:
        return message | {"content": EMPTY}
    return message | {"content": ""} if content is None else message


def _images(message: Json, host: Host, index: int) -> Json:
    parts = message.get("content")
    for place, part in enumerate(parts if isinstance(parts, list) else ()):
        if part.get("type") == "image_url" and is_data_uri(url := part["image_url"]["url"]):
            param = f"messages[{index}].content[{place}].image_url.url"
            if (kind := data_uri(url, param).type) not in host.images:
                raise BadRequest(
                    f"This model does not read images of the type {kind}; it takes {', '.join(host.images)}.",
                    param=param,
                    code="invalid_image_format",
                )
    return message


def json_schema_in_words(out: Json) -> None:
    """response_format json_schema → json_object, the schema in the system message: most models keep to it."""
    schema = out["response_format"].get("json_schema") or {}
    words = "Answer with one JSON object and nothing else. It must fit this JSON schema:\n"
    words += codec.encode_text(schema.get("schema", {}))
    if said := schema.get("description"):
        words += f"\nIt is: {said}"
    messages = out["messages"]
    first = messages[0]
    if first["role"] == "system":
        first = first | {"content": f"{content_text(first.get('content'), SYSTEM_GAP)}{SYSTEM_GAP}{words}"}
        out["messages"] = [first, *messages[1:]]
    else:
        out["messages"] = [{"role": "system", "content": words}, *messages]
    out["response_format"] = {"type": "json_object"}
