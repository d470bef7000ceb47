"""The order of a chat request's messages, as a host demands it. Pure, copy on write.

Chat templates of open models, and some hosts, take one system message at the start, and user and assistant in turn.
"""

from itertools import chain, groupby
from typing import Any, Final

from ..common.tools import called_name
from ..common.turns import EMPTY, START, as_system, content_text
from ..contract import Json
from ..hosts import Host

_DONE: Final = "OK."  # what the assistant says of a tool's result, where it must say something
_BELOW: Final = "[see the image below]"  # what stands in a tool's result for what the user's next message shows
SYSTEM_GAP: Final = "\n\n"
_TURNS: Final = ("user", "assistant")


def in_order(messages: list[Json], host: Host) -> list[Json]:
    """The messages as the host takes them one after another; those that are {} are left out."""
    if not all(messages):
        messages = list(filter(None, messages)) or [{"role": "user", "content": EMPTY}]
    if host.merge_system:
        messages = _one_system(messages)
    if host.alternate:
        messages = _in_turn(messages)
    if not host.after_results:
        messages = _results_answered(messages)
    return messages


def results_lifted(messages: list[Json]) -> list[Json]:
    """Images and files of tools' results as the user's, behind the last result: most hosts take texts only of a tool.

    The same list where there are none.
    """
    for message in messages:
        if message["role"] == "tool" and _is_more_than_text(message.get("content")):
            break
    else:
        return messages
    out: list[Json] = []
    names: dict[str, str] = {}  # of the tools that were called, by id of the call
    lifted: list[Json] = []
    for message in messages:
        if message["role"] != "tool" and lifted:
            out.append({"role": "user", "content": lifted})
            lifted = []
        for call in message.get("tool_calls") or ():
            names[call["id"]] = called_name(call)
        if message["role"] == "tool" and _is_more_than_text(content := message["content"]):
            ident = str(message.get("tool_call_id") or "")
            named = " ".join(filter(None, (names.get(ident) or message.get("name"), f"({ident})")))
            lifted.append({"type": "text", "text": f"Images returned by tool {named}:"})
            lifted += [part for part in content if part.get("type") != "text"]
            texts = [part for part in content if part.get("type") == "text"]
            message = message | {"content": [*texts, {"type": "text", "text": _BELOW}] if texts else _BELOW}
        out.append(message)
    return [*out, {"role": "user", "content": lifted}] if lifted else out


def _is_more_than_text(content: Any) -> bool:
    return type(content) is list and any(part.get("type") != "text" for part in content)


def gap(role: str) -> str:
    """What stands between the parts of a message: system texts are joined alike, whether they were parts or messages."""
    return SYSTEM_GAP if role in ("system", "developer") else "\n"


def _one_system(messages: list[Json]) -> list[Json]:
    """The system messages at the start as one; later ones as the user's, marked as what they are.

    Templates refuse a second one. vLLM, llama.cpp, Ollama: "System message must be at the beginning."; Mistral: 400
    "Unexpected role 'system' after role 'assistant'".
    """
    count = next((i for i, message in enumerate(messages) if message["role"] != "system"), len(messages))
    first, rest = messages[:count], messages[count:]
    if count > 1:
        first = [
            first[0]
            | {"content": SYSTEM_GAP.join(content_text(message.get("content"), SYSTEM_GAP) for message in first)}
        ]
    if any(message["role"] == "system" for message in rest):
        rest = [_as_users(message) if message["role"] == "system" else message for message in rest]
    elif count < 2:
        return messages
    return first + rest


def _as_users(message: Json) -> Json:
    return {"role": "user", "content": as_system(content_text(message.get("content"), SYSTEM_GAP))}


def _in_turn(messages: list[Json]) -> list[Json]:
    """User and assistant in turn, the user first: neighbours of one role become one message.

    Perplexity: 400 "After the (optional) system message(s), user and assistant roles should be alternating."; templates:
    "Conversation roles must alternate user/assistant/user/assistant/...".
    """
    runs = [(role, list(run)) for role, run in groupby(messages, key=lambda message: message["role"])]
    out = list(chain.from_iterable([_together(run)] if role in _TURNS and len(run) > 1 else run for role, run in runs))
    start = next((i for i, message in enumerate(out) if message["role"] != "system"), len(out))
    if start < len(out) and out[start]["role"] == "assistant":
        out.insert(start, {"role": "user", "content": START})
    return out


def _together(run: list[Json]) -> Json:
    """One message for several of one role: their contents and tool calls in a row, of other fields the first."""
    whole: Json = {}
    for message in reversed(run):
        whole |= message
    if any(message.get("name") != whole.get("name") for message in run):
        del whole["name"]
    contents = [content for message in run if (content := message.get("content"))]
    if all(isinstance(content, str) for content in contents):
        whole["content"] = SYSTEM_GAP.join(contents) or whole.get("content")
    else:
        whole["content"] = list(chain.from_iterable(map(_parts, contents)))
    for key in ("reasoning_content", "reasoning"):
        if texts := [text for message in run if isinstance(text := message.get(key), str)]:
            whole[key] = SYSTEM_GAP.join(texts)
    if calls := [call for message in run for call in message.get("tool_calls") or ()]:
        whole["tool_calls"] = calls
    return whole


def _parts(content: Any) -> list[Json]:
    return content if isinstance(content, list) else [{"type": "text", "text": content}]


def _results_answered(messages: list[Json]) -> list[Json]:
    """A short answer between the result of a tool and what the user says next.

    Mistral: 400 "Unexpected role 'user' after role 'tool'".
    """
    out: list[Json] = []
    for message in messages:
        if message["role"] == "user" and out and out[-1]["role"] == "tool":
            out.append({"role": "assistant", "content": _DONE})
        out.append(message)
    return out
