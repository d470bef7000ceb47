"""The pieces of OpenAI-shaped answers, made canonical whatever host sent them."""

from collections.abc import Iterable
from typing import Any, Final

from .. import codec
from ..common.arguments import Arguments, as_text, real_one, say_nothing
from ..common.bounds import MAX_CALLS, too_many_calls
from ..common.think_tags import split
from ..common.tools import CallIds, new_call_id
from ..common.typed import DELTA, TEXTS, text, thinking, typed
from ..common.usage import merged
from ..contract import Json
from ..errors import UpstreamBadOutput

# What OpenAI's own chunks hold. Anything else is looked at: it may be an error, junk, or something worth keeping.
KNOWN_CHUNK: Final = frozenset(
    {"id", "object", "created", "model", "choices", "service_tier", "system_fingerprint", "usage"}
)
_PLACES_OF_USAGE: Final = ("x_groq", "metadata", "message")
_NAMES_OF_USAGE: Final = ("usageMetadata", "usage_metadata", "token_usage")  # Gemini behind a relay; LangChain
_USAGE_ELSEWHERE: Final = frozenset({*_PLACES_OF_USAGE, *_NAMES_OF_USAGE})
# Of no use to a client, or another host's name.
_JUNK: Final = frozenset({"obfuscation", "provider", "prompt_token_ids", "prompt_logprobs", "kv_transfer_params"})


def drop_private_fields(data: Json) -> Any:
    """Remove what clients should not see from a chunk or an answer. Return the usage that stands in another place than
    OpenAI's, if any.
    """
    if not _JUNK.isdisjoint(data):
        for name in _JUNK & data.keys():
            del data[name]
    told: Any = None
    if _USAGE_ELSEWHERE.isdisjoint(data):
        return told
    for place in _PLACES_OF_USAGE:
        if isinstance(there := data.get(place), dict):
            told = merged(told, there.get("usage"))
            if rest := {name: value for name, value in there.items() if name not in ("usage", "error")}:
                data[place] = rest
            else:
                del data[place]
    for name in _NAMES_OF_USAGE:
        told = merged(told, data.pop(name, None))
    return told


def whole_message(message: Json, think_tags: bool) -> Json:
    """The message of a whole answer in canonical form. think_tags: reasoning may be in its content, in tags."""
    message = unify_reasoning({"role": "assistant", **message})
    message["role"] = "assistant"
    if think_tags and isinstance(text := message.get("content"), str) and text:
        set_text(message, *split(text))
    if calls := listed(message.pop("tool_calls", None)):
        ids = CallIds()
        calls = [_whole_call(call, ids) for call in calls]
        if len(calls) > MAX_CALLS:
            raise too_many_calls()
    if called := message.pop("function_call", None):
        message["function_call"] = {**called, "arguments": as_text(called.get("arguments"))}
    if calls:
        message["tool_calls"] = calls
    message.setdefault("content", None)
    message.setdefault("refusal", None)
    if message["content"] is None and not (calls or message["refusal"] or message.get("audio")):
        message["content"] = "" if "function_call" not in message else None
    return message


def listed(calls: Any) -> list[Any]:
    """The tool calls of a message or a delta as a list: Spark sends one by itself, others null. Raises TypeError."""
    match calls:
        case list():
            return calls
        case {"function": _} | {"custom": _}:
            return [calls]
    if calls:
        raise TypeError("tool calls that are no list")
    return []


def _kind(call: Json) -> str:
    return "custom" if call.get("type") == "custom" or "custom" in call else "function"


def _whole_call(call: Json, ids: CallIds) -> Json:
    kind = _kind(call)
    call = {key: value for key, value in call.items() if key != "index"}
    call["id"], call["type"] = ids.own(call.get("id")), kind
    function = dict(call.get(kind) or {})
    if (name := text(function.pop("name", None))) is not None:
        function = {"name": name, **function}
    if kind == "custom":
        call[kind] = function | {"input": as_text(function.get("input"))}
        return call
    arguments = real_one(as_text(function.get("arguments")))
    call[kind] = function | {"arguments": "{}" if say_nothing(arguments) else arguments}
    return call


def unify_reasoning(delta: Json) -> Json:
    """Bring reasoning text to `reasoning_content`, content to a text and all else to its type, in place.

    Mistral streams `content` as a list of text and thinking parts; OpenRouter, Groq and Ollama say `reasoning`.
    """
    thought = delta.pop("reasoning", None) if "reasoning" in delta else None
    if thought is not None and not delta.get("reasoning_content") and (thought := thinking(thought)) is not None:
        delta["reasoning_content"] = thought
    content = delta.get("content")
    if type(content) is dict:  # Cloudflare: the object that a JSON schema asked for
        delta["content"] = codec.encode_text(content)
    elif type(content) is list:
        texts, thoughts = _split(content)
        refused = "".join(part["refusal"] for part in content if _part_type(part) == "refusal")
        images = [_image(part) for part in content if "image" in _part_type(part)]
        delta["content"] = texts
        if thoughts:
            delta["reasoning_content"] = (delta.get("reasoning_content") or "") + thoughts
        if refused:
            delta["refusal"] = (delta.get("refusal") or "") + refused
        if images:
            delta["images"] = [*(delta.get("images") or ()), *images]
        if not texts and (thoughts or refused or images):
            del delta["content"]
    for name, value in delta.items():
        if value is not None and name in DELTA and (type(value) is not str or name not in TEXTS):
            typed(delta, DELTA)
            break
    return delta


def set_text(delta: Json, thought: str, content: str) -> None:
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
            case {"type": "thinking" | "reasoning"}:
                thoughts += _thoughts(part)
            case {"text": str(said)}:
                texts.append(said)
    return "".join(texts), "".join(thoughts)


def _thoughts(part: Json) -> Iterable[str]:
    """The text of a thinking part: under Mistral's name for it, or Databricks' (summary); in parts of its own, or not."""
    told = (part[name] for name in ("thinking", "reasoning", "summary", "text", "content") if part.get(name))
    match next(told, None):
        case str(thought):
            yield thought
        case list(inner):
            yield _split(inner)[0]


def _part_type(part: Any) -> str:
    return str(part.get("type")) if isinstance(part, dict) else ""


def _image(part: Json) -> Json:
    """A content part → one of `images`. Raises UpstreamBadOutput for a picture in another form: it must not vanish."""
    match part:
        case {"type": "image_url", "image_url": {"url": str(url)} | str(url)}:
            return {"type": "image_url", "image_url": {"url": url}}
    raise UpstreamBadOutput("The upstream sent an image in a form that cannot be passed on.")


class _ToolCall:
    """One tool call of a stream so far."""

    __slots__ = ("again", "arguments", "batch", "id", "kind", "name", "place")

    def __init__(self, place: int, kind: str) -> None:
        self.place = place  # the index that the client sees
        self.kind = kind  # function or custom
        self.id: Any = None  # as the host gave it, if it did
        self.name: Any = None
        self.arguments = Arguments()
        self.batch = 0  # number of the delta that last spoke of it
        self.again = False  # it was complete when its beginning came again: arguments that follow are another call's


class ToolCallNumbering:
    """Numbers one choice's tool calls 0, 1, 2 in order of appearance, however the host numbered them.

    Hosts leave out `index`, give every call index 0, leave out ids, give several calls one id, or repeat id and name on
    each fragment. A fragment belongs to a call already seen by its id, else by its index. It opens a new call where it
    cannot belong to that one: it brings another name, a name and another id, or a beginning after complete arguments.
    """

    __slots__ = ("_batch", "_by_id", "_by_index", "_calls")

    def __init__(self) -> None:
        self._calls: list[_ToolCall] = []
        self._by_id: dict[Any, _ToolCall] = {}
        self._by_index: dict[Any, _ToolCall] = {}
        self._batch = 0

    @property
    def any(self) -> bool:
        return bool(self._calls)

    def rest(self) -> list[tuple[int, str]]:
        """The calls whose arguments have something left to say at the end, and what: `{}` where none ever came."""
        return [
            (call.place, rest) for call in self._calls if call.kind == "function" and (rest := call.arguments.rest())
        ]

    def fragments(self, calls: list[Any]) -> list[Json]:
        """The fragments of one delta in canonical form. Raises UpstreamBadOutput for more calls than an answer may have."""
        self._batch += 1
        if len(calls) == 1 and (known := self._going_on(calls[0])) is not None:
            piece = known.arguments.add(calls[0]["function"]["arguments"])
            return [{"index": known.place, "function": {"arguments": piece}}] if piece else []
        return [fragment for call in calls if isinstance(call, dict) and (fragment := self._fragment(call))]

    def _going_on(self, call: Any) -> _ToolCall | None:
        """The call of a fragment that is nothing but more arguments: nearly all are, and nothing is to be decided."""
        if type(call) is dict and len(call) == 2 and type(function := call.get("function")) is dict:
            known = self._by_index.get(call.get("index"))
            if len(function) == 1 and type(function.get("arguments")) is str:
                return known if known is not None and known.kind == "function" and not known.again else None
        return None

    def _fragment(self, call: Json) -> Json | None:
        kind = _kind(call)
        field = "input" if kind == "custom" else "arguments"
        body = dict(call.get(kind) or {})
        name, piece = text(body.pop("name", None)) or None, as_text(body.pop(field, None))
        ident, index = text(call.get("id")) or None, call.get("index")
        known = self._found(ident, index)
        new = known is None or self._begins(known, ident, index, name, piece)
        if known is None or new:
            if known is not None and known.again:
                name = name or known.name
            fragment = {**call, "id": new_call_id() if ident is None or ident in self._by_id else ident, "type": kind}
            known = self._open(index, kind)
        else:
            fragment = {key: value for key, value in call.items() if key not in ("id", "type", kind)}
            if name and known.arguments.complete:
                piece = ""  # the whole call once more
        fragment["index"] = known.place
        known.batch = self._batch
        if ident is not None and known.id is None:
            known.id, self._by_id[ident] = ident, known
        if name is not None and known.name is None:
            known.name = body["name"] = name
        if kind == "function":
            piece = known.arguments.add(piece)
        if piece or "name" in body or new:
            body[field] = piece
        if body:
            fragment[kind] = body
        return fragment if len(fragment) > 1 else None

    def _open(self, index: Any, kind: str) -> _ToolCall:
        if len(self._calls) >= MAX_CALLS:
            raise too_many_calls()
        known = self._by_index[index] = _ToolCall(len(self._calls), kind)
        self._calls.append(known)
        return known

    def _found(self, ident: Any, index: Any) -> _ToolCall | None:
        """The call that a fragment's id and index point to. Ids need not be unique: then the index decides."""
        at = self._by_index.get(index) if index is not None else self._calls[-1] if self._calls else None
        if ident is None or (at is not None and at.id == ident):
            return at
        return self._by_id.get(ident, at)

    def _begins(self, found: _ToolCall, ident: Any, index: Any, name: Any, piece: str) -> bool:
        """Whether a fragment that points to `found` opens another call instead."""
        argues = bool(piece.strip())
        if name is None and (ident is None or ident == found.id):
            return found.again and argues
        if name is not None and found.name is not None and name != found.name:
            return True
        given, complete = found.arguments.given, found.arguments.complete
        if ident is not None and ident == found.id:  # repeated, unless it is another call of the same id
            return complete and argues and index is not None and self._by_index.get(index) is not found
        if name is not None and ident is not None:
            return found.id is not None or given
        if name is not None and found.name is not None and (index is None or found.batch == self._batch):
            return complete or not given
        found.again = complete and name is not None
        return complete and argues
