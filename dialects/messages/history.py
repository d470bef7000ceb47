"""The messages of a Messages request → those of a chat request.

Turns of one role that follow each other are one, as they are for Claude. A user's turn becomes the results of its tools, in
the order of the calls, and one message with the rest. A system turn stays where it is.
"""

from typing import Any, Final

import msgspec

from providers import codec
from providers.common import output_order
from providers.common.turns import EMPTY
from providers.contract import Json
from providers.errors import Unsupported

from .. import seal
from ..conversations import BILLING
from . import content
from .content import Block
from .reading import Reading, invalid, object_at, text_at

_ROLES: Final = ("user", "assistant", "system")
_PREFILL: Final = (
    "This model does not support assistant message prefill. The conversation must end with a user message."
)


class _Turn(msgspec.Struct):
    role: str
    blocks: list[Block]
    index: int  # of its first message


def chat_messages(system: Any, messages: list[Any], reading: Reading) -> list[Json]:
    """Return the messages of a chat request. Raises BadRequest for what is malformed, Unsupported for a prefill."""
    turns = _turns(messages, reading)
    leading = _system(system, reading)
    while turns and turns[0].role == "system":
        leading += _texts(turns.pop(0), reading)
    made: list[Json] = [{"role": "system", "content": content.joined(leading)}] if leading else []
    calls: dict[str, str] = {}  # of the assistant's turn before, without results yet: the client's id → the id sent
    asked = 0  # the index of the message that made them
    late: list[Json] = []  # system turns between calls and their results: they come behind the results
    for place, turn in enumerate(turns):
        match turn.role:
            case "system":
                if said := _texts(turn, reading):
                    (late if calls else made).append({"role": "system", "content": content.joined(said)})
            case "assistant":
                if calls:
                    raise _unanswered(asked, calls)
                message, calls = _assistant(turn, reading, len(made))
                asked = turn.index
                if place == len(turns) - 1 and not calls:
                    if message["content"] not in ("", EMPTY):
                        raise Unsupported(_PREFILL, param="messages")
                    reading.seals.pop(len(made), None)
                else:
                    made.append(message)
            case _:
                made += _user(turn, calls, asked, reading)
                made += late
                calls, late = {}, []
    if calls:
        raise _unanswered(asked, calls)
    return made if any(message["role"] != "system" for message in made) else [*made, _said(EMPTY)]


def _said(words: str) -> Json:
    return {"role": "user", "content": words}


def _turns(messages: list[Any], reading: Reading) -> list[_Turn]:
    """Return the turns, neighbours of one role as one. Notes the effort that a system turn sets."""
    turns: list[_Turn] = []
    last_user = max(
        (i for i, each in enumerate(messages) if isinstance(each, dict) and each.get("role") == "user"), default=-1
    )
    for i, value in enumerate(messages):
        message = object_at(value, f"messages.{i}")
        role = text_at(message.get("role"), f"messages.{i}.role")
        if role not in _ROLES:
            raise invalid(f"messages.{i}.role", "Input should be 'user', 'assistant' or 'system'")
        blocks = content.blocks_of(message.get("content"), f"messages.{i}.content")
        if role == "system":
            match message.get("output_config"):
                case {"effort": str(effort)}:
                    reading.effort = effort
            if not blocks or (message.get("clear_at") == "next_user_message" and i < last_user):
                continue
        if turns and turns[-1].role == role:
            turns[-1].blocks += blocks
        else:
            turns.append(_Turn(role, blocks, i))
    return turns


def _system(value: Any, reading: Reading) -> list[Json]:
    """Return the parts of the system prompt, without Claude Code's note about itself: it would change with each request."""
    if value is None:
        return []
    blocks = content.blocks_of(value, "system")
    if blocks and str(blocks[0][1].get("text")).startswith(BILLING):
        del blocks[0]
    return _texts(_Turn("system", blocks, 0), reading)


def _texts(turn: _Turn, reading: Reading) -> list[Json]:
    """Return the texts of a system turn; what is no text is named."""
    made = [part for at, block in turn.blocks for part in content.parts(at, block, reading)]
    return [part if part["type"] == "text" else content.text(f"[{part['type']} omitted]") for part in made]


def _user(turn: _Turn, calls: dict[str, str], asked: int, reading: Reading) -> list[Json]:
    """Return the messages of a user's turn: results in the order of `calls`, which they answer, then what else it says."""
    results: dict[str, Json] = {}
    rest: list[Json] = []
    for at, block in turn.blocks:
        if block["type"] != "tool_result":
            rest += content.parts(at, block, reading)
            continue
        ident = text_at(block.get("tool_use_id"), f"{at}.tool_use_id")
        if ident not in calls:
            raise invalid(
                at,
                f"unexpected `tool_use_id` found in `tool_result` blocks: {ident[:100]}. Each `tool_result` block must "
                "have a corresponding `tool_use` block in the previous message.",
            )
        if ident in results:
            raise invalid(
                at,
                f"each tool_use must have a single result. Found multiple `tool_result` blocks with id: {ident[:100]}",
            )
        results[ident] = {
            "role": "tool",
            "tool_call_id": calls[ident],
            "content": content.result(at, block, reading),
        } | content.cache_mark(block)
    if missing := {ident: sent for ident, sent in calls.items() if ident not in results}:
        raise _unanswered(asked, missing)
    made = [results[ident] for ident in calls]
    if rest or not made:
        made.append({"role": "user", "content": content.joined(rest) or EMPTY})
    return made


def _unanswered(index: int, calls: dict[str, str]) -> Exception:
    return invalid(
        f"messages.{index}",
        "`tool_use` ids were found without `tool_result` blocks immediately after: "
        f"{', '.join(calls)[:1000]}. Each `tool_use` block must have a corresponding `tool_result` block in the next message.",
    )


def _assistant(turn: _Turn, reading: Reading, place: int) -> tuple[Json, dict[str, str]]:
    """Return an assistant's message, which is messages[place], and the ids of its calls: the client's → the one sent."""
    said: list[Json] = []
    calls: dict[str, Json] = {}
    thoughts: list[str] = []
    signed: list[Json] = []
    seals: list[Json] = []
    order: list[Json] = []
    found: list[str] = []  # texts of tools that Anthropic ran: neighbours become one part
    end = 0
    for at, block in [*turn.blocks, ("", {"type": ""})]:
        kind = block["type"]
        made: list[Json] = []
        if content.is_server_block(kind):
            found.append(content.server_text(block, reading))
            continue
        if found:
            made.append(content.text("\n".join(found)))
            found = []
        match kind:
            case "":
                pass
            case "tool_use":
                call = _call(at, block, reading)
                if (ident := block["id"]) in calls:
                    raise invalid(f"{at}.id", "`tool_use` ids must be unique")
                calls[ident] = call
            case "thinking" | "redacted_thinking":
                if (thought := _thinking(block, thoughts, seals)) is not None:
                    signed.append(thought)
                    order.append({"type": "thinking"})
            case _:
                made += content.parts(at, block, reading)
        for part in made:
            if part["type"] != "text":
                part = content.text(f"[{part['type']} omitted]")
            said.append(part)
            order.append({"type": "text", "start": end, "end": (end := end + len(part["text"]))})
        if kind == "tool_use":
            order.append({"type": "call", "id": calls[block["id"]]["id"]})
    message: Json = {"role": "assistant", "content": content.joined(said)}
    if thoughts:
        message["reasoning_content"] = "\n".join(thoughts)
    if signed:
        message |= {"thinking_blocks": signed, **output_order.told(order)}
    if calls:
        message["tool_calls"] = list(calls.values())
    elif not said and not thoughts and not signed:
        message["content"] = EMPTY
    if seals:
        reading.seals[place] = seals
    return message, {ident: call["id"] for ident, call in calls.items()}


def _thinking(block: Json, thoughts: list[str], seals: list[Json]) -> Json | None:
    """Return a block that Claude signed. Adds to thoughts the text of any other, and to seals what it carries."""
    match block:
        case {"type": "redacted_thinking", "data": str(data)}:
            return {"type": "redacted_thinking", "data": data}
        case {"type": "thinking", "signature": str(signature)} if signature and not signature.startswith(
            seal.SIGNATURE
        ):
            words = block.get("thinking")
            return {"type": "thinking", "thinking": words if isinstance(words, str) else "", "signature": signature}
    if carried := seal.opened(block.get("signature")):
        seals.append(carried)
    if isinstance(words := block.get("thinking"), str) and words:
        thoughts.append(words)
    return None


def _call(at: str, block: Json, reading: Reading) -> Json:
    ident = text_at(block.get("id"), f"{at}.id")
    name = text_at(block.get("name"), f"{at}.name")
    match block.get("input"):
        case {"_raw_arguments": str(arguments), **more} if not more:
            pass
        case given:
            arguments = codec.encode_text({} if given is None else given)
    sent = reading.call_id(ident)
    reading.call_ids |= {ident, sent}
    function = {"name": reading.tool_name(name), "arguments": arguments}
    return {"id": sent, "type": "function", "function": function} | content.cache_mark(block)
