"""A cache of the reasoning that came before tool calls, for clients that cannot return it.

Claude, Gemini, DeepSeek and OpenAI's reasoning models want their reasoning returned with the tool's result, signed and
unaltered; most OpenAI clients return only id, name and arguments of a call. So it is stored here under the call's id and
added to the next request. What the client itself returns wins. A missing entry is safe: the request is sent without the
earlier reasoning.

It is bounded in calls and in bytes; the longest unused are removed first. What one request may get back is bounded too: many
of its messages may name one call. It is in memory only: a restart empties it.
"""

from collections import OrderedDict
from collections.abc import Iterable
from sys import getsizeof
from typing import Any, NamedTuple

from providers import codec
from providers.contract import Json
from providers.runs import Run

# Stored of a message: reasoning_content and these lists; of each call: extra_content.
_LISTS = ("thinking_blocks", "reasoning_items", "output_order")
# The fields of a call that are read, and the type each must have: upstreams send other types.
_PARTS = {"id": str, "function": dict, "custom": dict, "extra_content": dict}
_OVERHEAD = 300  # bytes that a stored call takes beside its content

Key = tuple[str, str]  # scope, tool call id


class _Record(NamedTuple):
    """What is stored of one assistant message with tool calls."""

    serial: int
    keys: tuple[Key, ...]
    names: dict[str, str]  # call id → name of the tool: ids of some upstreams (call_0) are not unique
    fields: bytes  # JSON: it cannot be changed, and is small
    extras: dict[str, bytes]  # call id → extra_content
    size: int


class ReasoningCache:
    """The cache. capacity: tool calls; limit: bytes in all.

    scope separates conversations: it names the client and the upstream. Ids are only as unique as the upstream that made
    them, and one client's reasoning must not reach another's conversation.
    """

    def __init__(self, capacity: int = 10_000, limit: int = 32 * 2**20) -> None:
        self._capacity = capacity
        self.limit = limit
        self._records: dict[Key, _Record] = {}
        self._ages: OrderedDict[int, _Record] = OrderedDict()  # by serial number, longest unused first
        self._serial = 0
        self.size = 0

    def __len__(self) -> int:
        """Return the number of tool calls stored."""
        return len(self._records)

    def collector(self, scope: str = "") -> "ReasoningCollector":
        """Return a collector for the chunks of one answer."""
        return ReasoningCollector(self, scope)

    def restore(self, body: Json, scope: str = "") -> Json:
        """Return the chat request with the reasoning that its assistant messages lack; the same object when there is none.

        At most a quarter of the cache's bytes is added, to the latest messages first.
        """
        if not self._records:
            return body
        messages: list[Json] | None = None
        allowance = _Allowance(self.limit // 4)
        for at in range(len(body["messages"]) - 1, -1, -1):
            message = body["messages"][at]
            if message.get("tool_calls") and (whole := self._restored(message, scope, allowance)) is not message:
                messages = messages or list(body["messages"])
                messages[at] = whole
        return body if messages is None else {**body, "messages": messages}

    def _restored(self, message: Json, scope: str, allowance: "_Allowance") -> Json:
        """Return an assistant message with what it lacks; the same object when there is nothing to add."""
        added: Json = {}
        calls = message["tool_calls"]
        for at, call in enumerate(calls):
            record = self._records.get((scope, call.get("id", "")))
            if record is None or record.names[call["id"]] != _name(call):
                continue
            self._ages.move_to_end(record.serial)
            if not added and (fields := allowance.fields(record)):
                added = _lost(message, fields)
                allowance.take(len(record.fields) if added else 0)
            extra = record.extras.get(call["id"])
            if extra and call.get("extra_content") is None and allowance.take(len(extra)):
                calls = list(calls) if calls is message["tool_calls"] else calls
                calls[at] = {**call, "extra_content": codec.decode(extra)}
        if calls is not message["tool_calls"]:
            added["tool_calls"] = calls
        return {**message, **added} if added else message

    def store(self, calls: dict[str, Json], fields: Json, scope: str) -> None:
        """Store fields of a message and extra_content of its calls (by id). For ReasoningCollector."""
        extras = {id: codec.encode(extra) for id, call in calls.items() if (extra := call.get("extra_content"))}
        if not extras and not fields:
            return
        encoded = codec.encode(fields) if fields else b""
        keys = tuple((scope, id) for id in calls)
        names = {id: _name(call) for id, call in calls.items()}
        texts = sum(getsizeof(id) + getsizeof(name) for id, name in names.items())
        size = len(encoded) + sum(map(len, extras.values())) + texts + _OVERHEAD * len(keys)
        if size > self.limit or len(keys) > self._capacity:
            return
        for key in keys:
            if key in self._records:
                self._forget(self._records[key])
        self._serial += 1
        record = self._ages[self._serial] = _Record(self._serial, keys, names, encoded, extras, size)
        self._records |= dict.fromkeys(keys, record)
        self.size += size
        while len(self._records) > self._capacity or self.size > self.limit:
            self._forget(next(iter(self._ages.values())))

    def _forget(self, record: _Record) -> None:
        """Remove a record and its calls."""
        for key in record.keys:
            del self._records[key]
        del self._ages[record.serial]
        self.size -= record.size


class _Allowance:
    """The bytes that may still be added to one request, and the fields decoded for it, once each."""

    def __init__(self, left: int) -> None:
        self._left = left
        self._decoded: dict[int, Json] = {}

    def take(self, size: int) -> bool:
        """Take so many bytes, if as many are left; return whether they were."""
        if size > self._left:
            return False
        self._left -= size
        return True

    def fields(self, record: _Record) -> Json:
        """Return the fields of a record; none where they are longer than what is left."""
        if not record.fields or len(record.fields) > self._left:
            return {}
        fields = self._decoded.get(record.serial)
        if fields is None:
            fields = self._decoded[record.serial] = codec.decode(record.fields)
        return fields


class ReasoningCollector:
    """Collects, from the chunks of one answer, the reasoning that belongs to the tool calls of its first choice."""

    def __init__(self, cache: ReasoningCache, scope: str) -> None:
        self._cache = cache
        self._scope = scope
        self._calls: dict[int, Json] = {}  # under id: the object that has it, in which a renderer may yet change it
        self._lists: dict[str, list[Any]] = {}
        self._reasoning: list[str] = []
        self._size = 0

    def see(self, chunks: Iterable[Json]) -> None:
        """Collect what is to be stored of these chunks."""
        if type(chunks) is Run and chunks.field == "content":
            return
        for chunk in chunks:
            self._see(chunk)

    def _see(self, chunk: Json) -> None:
        choices = chunk["choices"]
        if not choices:
            return
        delta = choices[0].get("delta")
        # Nearly every chunk is a piece of content.
        if not delta or ("content" in delta and len(delta) == 1) or choices[0].get("index"):
            return
        self.see_message(delta)

    def see_message(self, delta: Json) -> None:
        """Collect what is to be stored of a piece of the message, or of the whole. Fields of a wrong type are ignored."""
        if (text := delta.get("reasoning_content")) and isinstance(text, str):
            self._size += len(text)
            if self._size <= self._cache.limit:
                self._reasoning.append(text)
        for name in _LISTS:
            if (more := delta.get(name)) and isinstance(more, list) and all(isinstance(each, dict) for each in more):
                self._size += len(codec.encode(more))
                if self._size <= self._cache.limit:
                    self._lists.setdefault(name, []).extend(more)
        calls = delta.get("tool_calls")
        for n, call in enumerate(calls if isinstance(calls, list) else ()):
            if isinstance(call, dict):
                known = self._calls.setdefault(index if isinstance(index := call.get("index"), int) else n, {})
                for name, kind in _PARTS.items():
                    if (part := call.get(name)) and isinstance(part, kind) and name not in known:
                        known[name] = call if name == "id" else part

    def commit(self) -> None:
        """Store what was collected; call it when the answer is complete. One that was cut short cannot be continued."""
        fields: Json = dict(self._lists)
        if self._reasoning:
            fields["reasoning_content"] = "".join(self._reasoning)
        calls = {call["id"]["id"]: call for call in self._calls.values() if "id" in call}
        if calls:
            self._cache.store(calls, fields, self._scope)


def _lost(message: Json, fields: Json) -> Json:
    """Return those fields that the client did not return, in their own form or in OpenRouter's."""
    there = ("thinking_blocks",) if message.get("reasoning_details") else ()
    return {name: value for name, value in fields.items() if message.get(name) is None and name not in there}


def _name(call: Json) -> str:
    """Return the name of the tool that is called."""
    name = (call.get("function") or call.get("custom") or {}).get("name")
    return name if isinstance(name, str) else ""
