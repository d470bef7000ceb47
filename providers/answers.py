"""The pieces of OpenAI-shaped answers, made canonical whatever host sent them."""

import secrets
from collections.abc import Iterable
from typing import Any, Final

from . import wire
from .contract import Json
from .think import split

# What OpenAI's own chunks hold. Anything else is looked at: it may be an error, junk, or something worth keeping.
KNOWN_CHUNK: Final = frozenset(
    {"id", "object", "created", "model", "choices", "service_tier", "system_fingerprint", "usage"}
)
# Of no use to a client, or another host's name.
_JUNK = ("obfuscation", "x_groq", "provider", "prompt_token_ids", "prompt_logprobs", "kv_transfer_params")


def new_call_id() -> str:
    """A tool call id in OpenAI's form."""
    return f"call_{secrets.token_hex(12)}"


def tidy(data: Json) -> Any:
    """Remove what clients should not see; returns the usage that Groq hides in x_groq, if any."""
    groq = data.get("x_groq")
    for name in _JUNK:
        data.pop(name, None)
    return groq.get("usage") if isinstance(groq, dict) else None


def whole_message(message: Json, think_tags: bool) -> Json:
    """The message of a whole answer in canonical form. think_tags: reasoning may be in its content, in tags."""
    message = reasoning({"role": "assistant", **message})
    message["role"] = "assistant"
    if think_tags and isinstance(text := message.get("content"), str) and text:
        said(message, *split(text))
    calls = [_whole_call(call) for call in message.pop("tool_calls", None) or ()]
    if calls:
        message["tool_calls"] = calls
    message.setdefault("content", None)
    message.setdefault("refusal", None)
    if message["content"] is None and not (calls or message["refusal"] or message.get("audio")):
        message["content"] = "" if "function_call" not in message else None
    return message


def _whole_call(call: Json) -> Json:
    call = {key: value for key, value in call.items() if key != "index"}
    call["id"] = call.get("id") or new_call_id()
    call["type"] = call.get("type") or "function"
    if isinstance(function := call.get("function"), dict):
        call["function"] = {**function, "arguments": _arguments(function.get("arguments")) or "{}"}
    return call


def reasoning(delta: Json) -> Json:
    """Bring reasoning text to `reasoning_content` and content to a text, whatever form the host gave them.

    Mistral streams `content` as a list of text and thinking parts; OpenRouter, Groq and Ollama say `reasoning`.
    """
    thought = delta.pop("reasoning", None) if "reasoning" in delta else None
    if isinstance(thought, str) and not delta.get("reasoning_content"):
        delta["reasoning_content"] = thought
    content = delta.get("content")
    if type(content) is dict:  # Cloudflare: the object that a JSON schema asked for
        delta["content"] = wire.text(content)
    elif type(content) is list:
        texts, thoughts = _split(content)
        delta["content"] = texts
        if thoughts:
            delta["reasoning_content"] = (delta.get("reasoning_content") or "") + thoughts
            if not texts:
                del delta["content"]
    return delta


def said(delta: Json, thought: str, content: str) -> None:
    """Put a text that was split into its two parts back: `content` changes, `thought` is added to the reasoning."""
    delta.pop("content", None)
    if content:
        delta["content"] = content
    if thought:
        delta["reasoning_content"] = (delta.get("reasoning_content") or "") + thought


def _split(parts: Iterable[Any]) -> tuple[str, str]:
    """A content list → (its text, its thinking)."""
    texts: list[str] = []
    thoughts: list[str] = []
    for part in parts:
        match part:
            case str():
                texts.append(part)
            case {"type": "thinking", "thinking": list(inner)}:
                thoughts.append(_split(inner)[0])
            case {"type": "thinking", "thinking": str(text)}:
                thoughts.append(text)
            case {"text": str(text)}:
                texts.append(text)
    return "".join(texts), "".join(thoughts)


def _arguments(value: Any) -> str:
    """Tool arguments as JSON text; some hosts send the object itself, or null."""
    return value if isinstance(value, str) else "" if value is None else wire.text(value)


class ToolCalls:
    """Numbers one choice's tool calls 0, 1, 2 in order of appearance, however the host numbered them.

    Hosts leave out `index`, give every call index 0, leave out ids, or repeat id and name on each fragment. A fragment
    belongs to a call already seen by its id, else by its index; it opens a new one when it brings an id or a name that
    the call at its index does not have.
    """

    __slots__ = ("_by_index", "_calls")

    def __init__(self) -> None:
        self._calls: list[Json] = []  # id, whether it has arguments and a name, of each call
        self._by_index: dict[Any, int] = {}

    @property
    def any(self) -> bool:
        return bool(self._calls)

    def without_arguments(self) -> list[int]:
        """The calls that never got arguments: a client must read `{}`, not an empty text."""
        return [k for k, call in enumerate(self._calls) if not call["arguments"]]

    def fragments(self, calls: Iterable[Any]) -> list[Json]:
        return [fragment for call in calls if isinstance(call, dict) and (fragment := self._fragment(call))]

    def _fragment(self, call: Json) -> Json | None:
        kind = "custom" if call.get("type") == "custom" or "custom" in call else "function"
        text = "input" if kind == "custom" else "arguments"
        body = dict(call.get(kind) or {})
        if text in body:
            body[text] = _arguments(body[text])
        k = self._known(call, body.get("name"))
        if k is None:
            k = len(self._calls)
            ident = call.get("id") or new_call_id()
            self._calls.append({"id": ident, "arguments": False, "name": body.get("name")})
            self._by_index[call.get("index")] = k
            body.setdefault(text, "")
            opened = {**call, "index": k, "id": ident, "type": kind, kind: body}
        else:
            if self._calls[k]["name"]:
                body.pop("name", None)
            else:
                self._calls[k]["name"] = body.get("name")
            opened = {key: value for key, value in call.items() if key not in ("id", "type", kind)}
            opened |= {"index": k} | ({kind: body} if body else {})
            if opened.keys() == {"index"}:
                return None
        self._calls[k]["arguments"] |= kind == "custom" or bool(body.get(text))
        return opened

    def _known(self, call: Json, name: Any) -> int | None:
        """The call this fragment goes on with, or None: it opens a new one."""
        ident, index = call.get("id"), call.get("index")
        if ident:
            for k, have in enumerate(self._calls):
                if have["id"] == ident:
                    return k
        if not self._calls:
            return None
        found = self._by_index.get(index) if index is not None else len(self._calls) - 1
        if found is None:
            return None
        another = name and (ident or (index is None and self._calls[found]["name"]))
        return None if another else found
