"""A conversation that ends with the assistant's words: the model is to go on from them, and each host has a rule of its own.

Host.last_assistant says what a host demands. What no row knows is learnt from the host's error, and the call is made again.
Pure, copy on write.
"""

import re
from functools import partial
from typing import Any, Final

from ..chunks import chunk
from ..common.turns import GO_ON
from ..contract import Call, Json, Translator, Upstream, edited
from ..errors import Failure

_CONTINUE: Final[Json] = {"role": "user", "content": GO_ON}
# Fields by which clients mark it, in the words of Mistral and DeepSeek, or of Moonshot and DashScope.
_MARKS: Final = ("prefix", "partial")
# "Assistant response prefill is incompatible with enable_thinking." (llama.cpp), "This model does not support assistant
# message prefill. The conversation must end with a user message." (Claude behind a relay), "Last message must have role
# `user`." (Perplexity), "Expected last role User or Tool …" (Mistral), "the role of last message must be user" (Baidu).
_REFUSED: Final = re.compile(r"\bprefill\b|\blast (?:message|role)\b|\bmust end with a user\b", re.IGNORECASE)


def is_prefilled(messages: list[Json]) -> bool:
    """Whether the last message is the assistant's words, which nothing follows."""
    return bool(messages) and messages[-1]["role"] == "assistant" and not messages[-1].get("tool_calls")


def ended(out: Json, given: list[Json], upstream: Upstream, thinks: bool) -> None:
    """End the messages of a request as the host demands. given: the client's messages. Changes `out`, not its messages."""
    messages = out["messages"]
    if not is_prefilled(messages):
        return
    host = upstream.host
    marked = is_marked(given)
    can = upstream.base_url.rstrip("/").endswith(host.prefill_base) and bool(host.prefill or host.prefill_fields)
    demanded = host.last_assistant == "marked" or (host.last_assistant == "marked_thinking" and thinks)
    if host.last_assistant == "user" or not upstream.facts.prefill or (demanded and not can):
        out["messages"] = [*messages, _CONTINUE]
    elif can and (marked or demanded):
        last = {name: value for name, value in messages[-1].items() if name not in _MARKS}
        out["messages"] = [*messages[:-1], last | ({host.prefill: True} if host.prefill else {})]
        out |= host.prefill_fields


def is_marked(messages: list[Json]) -> bool:
    """Whether the client has marked its last message as the beginning of the answer."""
    return any(messages[-1].get(mark) is True for mark in _MARKS)


def repaired(call: Call, failure: Failure) -> Call | None:
    """Return the call with a user's word at its end, where the host has refused it because the assistant has the last."""
    if failure.upstream_status not in (400, 422) or not _REFUSED.search(failure.message):
        return None
    messages = [*call.body["messages"], _CONTINUE]
    return call._replace(body=call.body | {"messages": messages})


def without_echo(translator: Translator, words: str) -> Translator:
    """The translator of an answer, without the assistant's words that it begins with: Mistral repeats them."""
    left: dict[int, str] = {}  # choice → words that it has not repeated yet
    return edited(translator, partial(_cut, left=left, words=words))


def _cut(chunks: list[Json], left: dict[int, str], words: str) -> list[Json]:
    """Take the words off the contents of these chunks, in place; a choice that says others gets back what was held."""
    place = 0
    while place < len(chunks):
        for choice in chunks[place]["choices"]:
            index = choice["index"]
            if not (awaited := left.setdefault(index, words)):
                continue
            said = choice["delta"] if "delta" in choice else choice["message"]
            text: Any = said.get("content")
            held = words[: len(words) - len(awaited)]
            ends = bool(choice.get("finish_reason"))
            if type(text) is not str or not text:
                if ends and held:  # it ended in the middle of them
                    chunks.insert(place, chunk({"content": held}, index=index))
                    place, left[index] = place + 1, ""
            elif text.startswith(awaited):
                said["content"], left[index] = text[len(awaited) :], ""
            elif awaited.startswith(text) and not ends:
                said["content"], left[index] = "", awaited[len(text) :]
            else:
                said["content"], left[index] = held + text, ""
        place += 1
    return chunks
