"""Input items → chat messages. Pure, one pass.

Neighbouring items of the assistant's (reasoning, messages, calls) are a turn: one message, reasoning in front, texts, calls.
Outputs stand behind the message that holds their call, in the order of the calls, wherever the client had put them.
"""

from typing import Any, Final

import msgspec

from providers.common import output_order
from providers.contract import Json
from providers.errors import BadRequest, Unsupported

from .. import seal
from ..validation import unsupported_value, wrong_type
from . import compaction
from .calls import called, report, result, text_of
from .content import Parts, parts, plain
from .params import Place
from .state import item_not_found
from .tables import CALLS, OUTPUTS

_ROLES: Final = {"user": "user", "assistant": "assistant", "system": "system", "developer": "system"}
_REASONING: Final = "input.reasoning"


class _Call(msgspec.Struct):
    kind: str  # type of its item
    chat: Json
    path: str
    output: tuple[Json, Place] | None = None


class _Said(msgspec.Struct):
    """A message of the assistant's, as it grows."""

    path: str
    parts: Parts = []
    calls: list[_Call] = []
    seals: list[Json] = []
    thoughts: list[str] = []
    order: list[Json] = []
    length: int = 0  # characters of its texts


class Reader(msgspec.Struct):
    """The conversation as chat messages, and what the items say beside it."""

    store: Any = None
    dropped: dict[str, None] = {}
    tools: list[tuple[Any, str]] = []
    changed: Json = {}  # fields of the request that an item replaces
    _entries: list[_Said | tuple[Json, Place]] = []
    _turn: _Said | None = None
    _late: _Said | None = None  # reasoning behind a text: of the same message, unless another one follows
    _waiting: dict[str, list[_Call]] = {}
    _ids: set[str] = set()  # of the turn's items

    def add(self, role: str, content: Any, place: Place) -> None:
        """Add a message that is not the assistant's."""
        self._end()
        self._entries.append(({"role": role, "content": content}, place))

    def read(self, items: list[Any]) -> None:
        """Add the items of a request. Raises BadRequest, Unsupported, NotHere."""
        for index, item in enumerate(items):
            at = f"input[{index}]"
            if not isinstance(item, dict):
                raise wrong_type("an object", item, at)
            self._item(item, at)
        self._end()
        for calls in self._waiting.values():
            for call in calls:
                ident = call.chat["id"][:200]
                words = "custom tool call" if call.kind == "custom_tool_call" else "function call"
                raise BadRequest(f"No tool output found for {words} {ident}.", param="input")

    def messages(self) -> tuple[list[Json], list[Place], dict[int, list[Json]]]:
        """Return the messages, where each came from, and the seals by index of their message."""
        messages: list[Json] = []
        places: list[Place] = []
        seals: dict[int, list[Json]] = {}
        for entry in self._entries:
            if isinstance(entry, tuple):
                messages.append(entry[0])
                places.append(entry[1])
                continue
            if not entry.parts and not entry.calls:
                if entry.seals or entry.thoughts:
                    self.dropped[_REASONING] = None
                continue
            if entry.seals:
                seals[len(messages)] = entry.seals
            messages.append(_message(entry))
            made = Place(entry.path, "content", [at for _, at in entry.parts], [call.path for call in entry.calls])
            places.append(made)
            for call in entry.calls:
                if call.output is not None:
                    messages.append(call.output[0])
                    places.append(call.output[1])
        return messages, places, seals

    def _item(self, item: Json, at: str) -> None:
        kind = item.get("type")
        if kind is None:
            kind = "message" if "role" in item else "item_reference" if "id" in item else None
        match kind:
            case "message":
                self._message(item, at)
            case "reasoning":
                self._unique(item)
                self._reasoning(item)
            case "item_reference":
                raise item_not_found(str(item.get("id")), self.store)
            case "additional_tools" | "tool_search_output":
                self._tools(item, at)
                if kind == "tool_search_output":
                    self._output(item, kind, at)
            case "configuration_update":
                self.changed |= {name: item[name] for name in ("reasoning", "text") if item.get(name) is not None}
            case "compaction" if (summary := compaction.opened(item.get("encrypted_content"))) is not None:
                self.add("user", compaction.as_message(summary)["content"][0]["text"], Place(at, "encrypted_content"))
            case "compaction" | "compaction_summary" | "context_compaction":
                raise Unsupported(
                    "This conversation was made shorter by another server, and only its models can read the summary: go on "
                    "with an OpenAI model served natively.",
                    param=at,
                    code="invalid_encrypted_content",
                )
            case compaction.TRIGGER:
                raise BadRequest(
                    f"An item of type '{kind}' must be the last one of the input.", param=at, code="invalid_value"
                )
            case "mcp_call":
                self._text(report(item), at)
            case "agent_message":
                made = parts(item.get("content"), f"{at}.content")
                self.add("user", plain(made), Place(at, "content", [path for _, path in made]))
            case str() if kind in CALLS:
                self._unique(item)
                self._call(item, kind, at)
            case str() if kind in OUTPUTS:
                self._output(item, kind, at)
            case str():
                self.dropped[f"input.{kind[:64]}"] = None
            case _:
                raise BadRequest(
                    f"Missing required parameter: '{at}.type'.", param=f"{at}.type", code="missing_required_parameter"
                )

    def _message(self, item: Json, at: str) -> None:
        role = item.get("role")
        if not isinstance(role, str) or role not in _ROLES:
            raise unsupported_value(role, tuple(_ROLES), f"{at}.role")
        if role != "assistant":
            made = parts(item.get("content"), f"{at}.content")
            self.add(_ROLES[role], plain(made), Place(at, "content", [path for _, path in made]))
            return
        self._unique(item)
        content = item.get("content")
        made = parts("" if content is None else content, f"{at}.content")
        said = self._said(at)
        if said.parts and not said.calls:
            said = self._next(at)
        for part, path in made:
            if part.get("text") != "":
                self._add_part(said, part, path, item.get("phase"))

    def _text(self, text: str, at: str) -> None:
        self._add_part(self._said(at), {"type": "text", "text": text}, at, None)

    def _add_part(self, said: _Said, part: Json, path: str, phase: Any) -> None:
        said.parts.append((part, path))
        start = said.length
        said.length += len(part.get("text") or "")
        phased = {"phase": phase} if isinstance(phase, str) else {}
        said.order.append({"type": "text", "start": start, "end": said.length, **phased})

    def _said(self, at: str) -> _Said:
        """Return the assistant's message that is being made; begin one where there is none."""
        if self._turn is None:
            self._turn = _Said(at)
            self._entries.append(self._turn)
        return self._turn

    def _next(self, at: str) -> _Said:
        """Begin another message of the same turn; reasoning that stood in front of it is its own."""
        late, self._late = self._late, None
        self._turn = late or _Said(at)
        self._turn.path = at
        self._entries.append(self._turn)
        return self._turn

    def _settle(self) -> None:
        """Give reasoning that came late to the message in front of it."""
        late, self._late = self._late, None
        if late is not None and self._turn is not None:
            self._turn.seals += late.seals
            self._turn.thoughts += late.thoughts
            self._turn.order += late.order

    def _end(self) -> None:
        """End the turn: what follows is not the assistant's."""
        self._settle()
        self._turn = None
        self._ids.clear()

    def _unique(self, item: Json) -> None:
        """Refuse an item that stands twice in a turn. Over turns ids do repeat: some upstreams count anew in each answer."""
        ident = item.get("id")
        if isinstance(ident, str) and ident:
            if self._turn is not None and ident in self._ids:
                raise BadRequest(f"Duplicate item found with id {ident[:200]}.", param="input")
            self._ids.add(ident)

    def _reasoning(self, item: Json) -> None:
        said = self._said("input")
        if said.parts and not said.calls:
            said = self._late = self._late or _Said("input")
        text, held = item.get("encrypted_content"), [item.get(name) for name in ("encrypted_content", "summary")]
        if isinstance(text, str) and text.startswith(seal.ENVELOPE):
            fields = seal.opened(text)
            if fields is None:
                self.dropped[_REASONING] = None
                return
            said.seals.append(fields)
            said.order += [{"type": "thinking"}] * (len(fields.get("blocks", ())) + len(fields.get("items", ())))
            return
        if any(held):
            self.dropped[_REASONING] = None
        content = item.get("content")
        for part in content if isinstance(content, list) else ():
            match part:
                case {"text": str(thought)} if thought:
                    said.thoughts.append(thought)

    def _call(self, item: Json, kind: str, at: str) -> None:
        if kind == "tool_search_call" and (item.get("execution") == "server" or item.get("call_id") is None):
            return  # what was found is among the tools
        ident = text_of(item, "call_id", at, item.get("id") if kind == "local_shell_call" else None)
        name, arguments = called(item, kind, at)
        self._settle()
        said = self._said(at)
        call = _Call(kind, {"id": ident, "type": "function", "function": {"name": name, "arguments": arguments}}, at)
        said.calls.append(call)
        said.order.append({"type": "call", "id": ident})
        self._waiting.setdefault(ident, []).append(call)
        other = item.get("id")
        if kind == "local_shell_call" and isinstance(other, str) and other != ident:
            self._aliases(other, ident)

    def _aliases(self, other: str, ident: str) -> None:
        """Let an output that names the call's item find the call."""
        self._waiting.setdefault(other, self._waiting[ident])

    def _output(self, item: Json, kind: str, at: str) -> None:
        if kind == "tool_search_output" and (item.get("execution") == "server" or item.get("call_id") is None):
            return
        ident = text_of(item, "call_id", at, item.get("id") if kind == "local_shell_call_output" else None)
        calls = self._waiting.get(ident)
        if not calls:
            words = kind.replace("_", " ")
            raise BadRequest(f"No tool call found for {words} with call_id {ident[:200]}.", param="input")
        self._end()
        call = calls.pop()
        content, paths = result(item, kind, at)
        message = {"role": "tool", "tool_call_id": call.chat["id"], "content": content}
        call.output = message, Place(at, "output", paths)

    def _tools(self, item: Json, at: str) -> None:
        tools = item.get("tools")
        if not isinstance(tools, list):
            raise wrong_type("an array of objects", tools, f"{at}.tools")
        self.tools += [(tool, f"{at}.tools[{n}]") for n, tool in enumerate(tools)]


def _message(said: _Said) -> Json:
    message: Json = {"role": "assistant", "content": plain(said.parts) if said.parts else None}
    if said.thoughts:
        message["reasoning_content"] = "\n\n".join(said.thoughts)
    if said.calls:
        message["tool_calls"] = [call.chat for call in said.calls]
    if any(entry["type"] == "thinking" for entry in said.order):
        message |= output_order.told(_in_front(said.order))
    return message


def _in_front(order: list[Json]) -> list[Json]:
    """Return an order with the thinking of its end first: no model thinks last in a turn that calls.

    Translators tell what is to be carried at the end of an answer. Where it did not come first its seal says the order.
    """
    end = len(order)
    while end and order[end - 1]["type"] == "thinking":
        end -= 1
    return order[end:] + order[:end]
