"""The conversation, as Claude takes it: system apart, user and assistant in turn, every call answered in the next turn.

https://platform.claude.com/docs/en/agents-and-tools/tool-use/handle-tool-calls: a user turn that answers tool calls
begins with the results; an assistant turn begins with its thinking. Neighbours of one role become one turn: that is
what keeps the results of parallel calls together.
"""

import base64
import hashlib
import re
from collections.abc import Iterable, Iterator
from itertools import takewhile
from typing import Any, NamedTuple

from ..common import media, output_order, tools
from ..common.arguments import RAW, as_object
from ..common.turns import EMPTY, GO_ON, START, as_system, merge_turns
from ..contract import Json
from ..errors import BadRequest, Unsupported

_SYSTEM = ("system", "developer")
_IMAGES = frozenset({"image/jpeg", "image/png", "image/gif", "image/webp"})
_THINKING = ("thinking", "redacted_thinking")
_FOREIGN = re.compile(r"[^a-zA-Z0-9_-]")


class History(NamedTuple):
    """system: text, or blocks where one of them is marked for the cache; None when there is none."""

    system: str | list[Json] | None
    messages: list[Json]
    tools: bool  # whether tool calls or results are part of it
    thinking: bool  # whether thinking blocks are


def history(messages: list[Json], *, thinking: bool, prefill: bool, lines: Iterable[str] = ()) -> History:
    """OpenAI messages (validated) → Claude's system and turns.

    thinking: whether thinking blocks may be sent. prefill: whether the last turn may be the assistant's.
    lines: what the gateway adds to the system prompt. Raises BadRequest and Unsupported that name message and part.
    """
    blocks: list[Json] = []
    leading, last = 0, len(messages) - 1
    while leading < last and messages[leading]["role"] in _SYSTEM:
        blocks += _texts(messages[leading], leading)
        leading += 1
    if messages[leading]["role"] in _SYSTEM:
        messages = [*messages[:leading], {**messages[leading], "role": "user"}]
    blocks += map(_text, lines)
    turns = list(merge_turns(_turns(messages, leading, thinking), "content"))
    if not turns or turns[0]["role"] == "assistant":
        turns.insert(0, _user(START))
    if turns[-1]["role"] == "assistant":
        _end(turns, prefill)
    _order(turns)
    kinds = {block["type"] for turn in turns for block in turn["content"]}
    return History(
        _system(blocks),
        turns,
        tools=not kinds.isdisjoint(("tool_use", "tool_result")),
        thinking=not kinds.isdisjoint(("thinking", "redacted_thinking")),
    )


def thoughts(message: Json) -> list[Json]:
    """The signed thinking a client brought back on an assistant message, as Claude gave it: altered, it is refused.

    None where there are several beside a text or several calls and nothing says in which order: in another, they are
    refused too. One call alone comes last.
    """
    if (given := message.get("thinking_blocks")) is not None:
        found = map(_signed, _list(given))
    else:
        found = map(_thought, _list(message.get("reasoning_details")))
    blocks = [block for block in found if block]
    calls = message.get("tool_calls") or ()
    mixed = len(blocks) > 1 and (len(calls) > 1 or (calls and message.get("content")))
    return [] if mixed and output_order.arranged(message, blocks) is None else blocks


def tool_id(id: str) -> str:
    """A tool call's id in Claude's alphabet; one that had to change stays unique by its hash."""
    clean = _FOREIGN.sub("_", id)
    return clean if clean == id and id else f"{clean}_{hashlib.sha1(id.encode(errors='replace')).hexdigest()[:6]}"  # noqa: S324


def _turns(messages: list[Json], first: int, thinking: bool) -> Iterator[Json]:
    """One turn per message, blocks not yet in order."""
    calls: dict[str, str] = {}  # of the assistant turn being answered: the client's id → the id sent
    distinct = tools.Distinct()
    unanswered: set[str] = set()
    run: list[Json] = []  # the first blocks of neighbouring assistant messages, which become one turn
    for index in range(first, len(messages)):
        message = messages[index]
        role = message["role"]
        if run and role != "assistant":
            run = []
        match role:
            case "assistant":
                _check_answered(unanswered, index)
                calls = _ids(message, index, distinct)
                unanswered = set(calls)
                blocks = _marked(_assistant(message, index, calls, thinking), message)
                if run and run[0]["type"] not in _THINKING:  # a turn that thinks begins with it
                    lead = list(takewhile(lambda block: block["type"] in _THINKING, blocks))
                    run[:0] = lead
                    blocks = blocks[len(lead) :]
                run = run or blocks
                yield {"role": "assistant", "content": blocks}
            case "tool":
                id = message["tool_call_id"]
                if id not in unanswered:
                    known = "already has a result" if id in calls else "is not a tool call of the assistant turn before"
                    raise BadRequest(f"The tool call {id[:100]!r} {known}.", param=f"messages[{index}].tool_call_id")
                unanswered.remove(id)
                yield {"role": "user", "content": _marked([_result(message, index, calls[id])], message)}
            case "user":
                blocks = _parts(message, index) or [_text(EMPTY)]
                yield {"role": "user", "content": _marked(blocks, message)}
            case _:
                blocks = _texts(message, index)
                text = "\n\n".join(block["text"] for block in blocks)
                mark = _cache(blocks[-1]) if blocks else {}
                yield {"role": "user", "content": [_text(as_system(text)) | mark] if text else []}
    _check_answered(unanswered, len(messages) - 1)


def _check_answered(unanswered: set[str], index: int) -> None:
    if unanswered:
        raise BadRequest(
            "An assistant message with 'tool_calls' must be followed by tool messages responding to each "
            f"'tool_call_id'. These have no response: {', '.join(sorted(unanswered))[:1000]}",
            param=f"messages[{index}].role",
        )


def _ids(message: Json, index: int, distinct: tools.Distinct) -> dict[str, str]:
    """The ids of a message's tool calls → those sent: unique, though some clients count anew in each turn."""
    ids: dict[str, str] = {}
    for n, call in enumerate(message.get("tool_calls") or ()):
        if call["id"] in ids:
            at = f"messages[{index}].tool_calls[{n}].id"
            raise BadRequest(f"The tool call id {call['id'][:100]!r} is used twice.", param=at)
        ids[call["id"]] = distinct(tool_id(call["id"]))
    return ids


def _order(turns: list[Json]) -> None:
    """Results in the order of their calls, then the rest."""
    asked: list[str] = []
    for turn in turns:
        blocks = turn["content"]
        if turn["role"] == "assistant":
            asked = [block["id"] for block in blocks if block["type"] == "tool_use"]
        elif asked:
            place = {id: n for n, id in enumerate(asked)}
            blocks.sort(key=lambda block, place=place: place.get(block.get("tool_use_id"), len(place)))
            asked = []


def _end(turns: list[Json], prefill: bool) -> None:
    """A last turn that is the assistant's: the beginning of the answer, where the model can go on from one."""
    block = turns[-1]["content"][-1]
    if prefill and block["type"] == "text":
        turns[-1]["content"][-1] = {**block, "text": block["text"].rstrip()}  # trailing blanks are refused
    else:
        turns.append(_user(GO_ON))


def _system(blocks: list[Json]) -> str | list[Json] | None:
    texts: list[str] = []
    for block in blocks:
        if "cache_control" in block:
            return blocks
        texts.append(block["text"])
    return "\n\n".join(texts) or None


def _assistant(message: Json, index: int, ids: dict[str, str], thinking: bool) -> list[Json]:
    if message.get("audio"):
        raise Unsupported("This model does not take audio.", param=f"messages[{index}].audio")
    blocks = thoughts(message) if thinking else []
    refusal = [_text(said)] if isinstance(said := message.get("refusal"), str) and said.strip() else []
    if blocks and (pieces := output_order.arranged(message, blocks)) is not None:
        return [block for entry, piece in pieces if (block := _arranged(entry, piece, ids))] + refusal
    blocks += _parts(message, index) + refusal
    for call in message.get("tool_calls") or ():
        blocks.append({"type": "tool_use", "id": ids[call["id"]], **_call(call)} | _cache(call))
    return blocks


def _arranged(entry: Json, piece: Any, ids: dict[str, str]) -> Json | None:
    """The block of one piece of an answer (order.arranged), or None for a blank text, which Claude refuses."""
    match entry["type"]:
        case "text":
            return _text(piece) if piece.strip() else None
        case "call":
            return {"type": "tool_use", "id": ids[piece["id"]], **_call(piece)} | _cache(piece)
    thought: Json = piece
    return thought


def _call(call: Json) -> Json:
    name = tools.tool_name(call)
    if "function" not in call or call.get("type") == "custom":
        return {"name": name, "input": {"input": call["custom"].get("input", "")}}
    arguments = call["function"].get("arguments") or "{}"
    given = as_object(arguments)
    return {"name": name, "input": {RAW: arguments} if given is None else given}


def _result(message: Json, index: int, id: str) -> Json:
    result: Json = {"type": "tool_result", "tool_use_id": id}
    content = message.get("content")
    if isinstance(content, str):
        return {**result, "content": content} if content.strip() else result
    blocks = _parts(message, index)
    for block in blocks:  # "cache_control may not be specified within tool_result.content": it belongs on the result
        if mark := block.pop("cache_control", None):
            result["cache_control"] = mark
    return {**result, "content": blocks} if blocks else result


def _parts(message: Json, index: int) -> list[Json]:
    """The content of any message as blocks, without the blank texts that Claude refuses."""
    content = message.get("content")
    if isinstance(content, str):
        return [_text(content)] if content and not content.isspace() else []
    blocks: list[Json] = []
    for n, part in enumerate(content or ()):
        block = _block(part, f"messages[{index}].content[{n}]")
        if block["type"] != "text" or block["text"].strip():
            blocks.append(block | _cache(part))
    return blocks


def _texts(message: Json, index: int) -> list[Json]:
    blocks = _marked(_parts(message, index), message)
    for block in blocks:
        if block["type"] != "text":
            raise Unsupported("System messages hold text only.", param=f"messages[{index}].content")
    return blocks


def _block(part: Json, at: str) -> Json:
    match part:
        case {"type": "text", "text": str(text)} | {"type": "refusal", "refusal": str(text)}:
            return _text(text)
        case {"type": "image_url", "image_url": {"url": str(url)}}:
            return {"type": "image", "source": _image(url, f"{at}.image_url.url")}
        case {"type": "file", "file": dict(file)}:
            return _document(file, f"{at}.file")
        case {"type": "input_audio"}:
            raise Unsupported("This model does not take audio.", param=f"{at}.input_audio")
    raise Unsupported(f"This model does not take content parts of type {part.get('type')!r}.", param=f"{at}.type")


def _image(url: str, at: str) -> Json:
    if media.is_data_uri(url):
        image = media.data_uri(url, at)
        if image.type not in _IMAGES:
            raise BadRequest(
                f"This model takes JPEG, PNG, GIF and WebP images, not {image.type}.",
                param=at,
                code="invalid_image_format",
            )
        return {"type": "base64", "media_type": image.type, "data": image.data}
    if url[:8].lower() != "https://":  # http:// images were fetched on the way here, where that is allowed
        raise BadRequest("An image URL must be https:// or a data URI.", param=at, code="invalid_image_url")
    return {"type": "url", "url": url}


def _document(file: Json, at: str) -> Json:
    if not (uri := file.get("file_data")):
        raise Unsupported("Files can only be sent inline, as file_data.", param=f"{at}.file_id")
    document = media.data_uri(uri, f"{at}.file_data")
    match document.type:
        case "application/pdf":
            source = {"type": "base64", "media_type": document.type, "data": document.data}
        case "text/plain":
            text = base64.b64decode(document.data).decode("utf-8", errors="replace")
            source = {"type": "text", "media_type": document.type, "data": text}
        case other:
            raise Unsupported(f"This model takes PDF and plain text files, not {other}.", param=f"{at}.file_data")
    title = {"title": file["filename"]} if file.get("filename") else {}
    return {"type": "document", "source": source, **title}


def _cache(thing: Json) -> Json:
    """The cache mark of a message, part or call: not OpenAI's, but the only way for its clients to cache a prompt."""
    return {"cache_control": thing["cache_control"]} if thing.get("cache_control") else {}


def _marked(blocks: list[Json], message: Json) -> list[Json]:
    """A mark on a message is one on its last block; thinking cannot carry it."""
    if (mark := message.get("cache_control")) and blocks and blocks[-1]["type"] not in _THINKING:
        blocks[-1]["cache_control"] = mark
    return blocks


def _text(text: str) -> Json:
    return {"type": "text", "text": text}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _user(text: str) -> Json:
    return {"role": "user", "content": [_text(text)]}


def _signed(block: Any) -> Json | None:
    """A block with Claude's own fields only: a cache mark or an index beside them is refused."""
    match block:
        case {"type": "thinking", "thinking": str(text), "signature": str(signature)}:
            return {"type": "thinking", "thinking": text, "signature": signature}
        case {"type": "redacted_thinking", "data": str(data)}:
            return {"type": "redacted_thinking", "data": data}
    return None


def _thought(detail: Any) -> Json | None:
    """OpenRouter's form of a thinking block → Claude's. https://openrouter.ai/docs/use-cases/reasoning-tokens"""
    if not isinstance(detail, dict) or not str(detail.get("format") or "anthropic").startswith("anthropic"):
        return None
    match detail:
        case {"type": "reasoning.text", "signature": str(signature)}:
            return {"type": "thinking", "thinking": detail.get("text") or "", "signature": signature}
        case {"type": "reasoning.encrypted", "data": str(data)}:
            return {"type": "redacted_thinking", "data": data}
    return None
