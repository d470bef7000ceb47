"""Thinking blocks that Claude did not sign, taken out of a history that is sent to it.

Claude refuses a block whose signature is not its own, in every later request too: the conversation would be lost. Blocks
that it signed stay, even without a text: the signature is what it thought.
"""

import re
from typing import Final

import msgspec

from .. import codec, density, raw_json
from ..contract import Json
from ..raw_json import Members

MARK: Final = b"bW9kZWxzZXJ2ZXIv"  # how signatures of this server begin (dialects/seal.py)
_SIGNATURE: Final = b'"signature"'
_UNSIGNED: Final = re.compile(_SIGNATURE + rb'\s*+:\s*+""')


def without_foreign(raw: Members, dropped: dict[str, None]) -> Members:
    """Return the members of a Messages request without thinking of other models. Adds to dropped what goes with it.

    What is not the expected JSON is Claude's to refuse. Bytes of messages without such blocks stay.
    """
    told = bytes(raw.get("messages", b""))
    if not _may_be_foreign(told):
        return raw
    try:
        messages = [_without(each) for each in raw_json.items(told)]
    except ValueError:
        return raw
    kept = [message for message, _ in messages if message is not None]
    if all(not removed for _, removed in messages):
        return raw
    members: Members = {**raw, "messages": msgspec.Raw(raw_json.listed(kept))}
    return _without_thinking(members, dropped) if _turn_goes_on(messages) else members


def _without(message: msgspec.Raw) -> tuple[msgspec.Raw | None, bool]:
    """Return a message without foreign thinking, None where nothing is left of it, and whether something was removed."""
    data = bytes(message)
    if not _may_be_foreign(data):
        return message, False
    members = raw_json.members(data)
    if not bytes(members.get("content", b"")).startswith(b"["):
        return message, False
    blocks = raw_json.items(members["content"])
    kept = [block for block in blocks if not _foreign(bytes(block))]
    if len(kept) == len(blocks):
        return message, False
    if not kept:
        return None, True
    return msgspec.Raw(raw_json.joined({**members, "content": raw_json.listed(kept)})), True


def _may_be_foreign(data: bytes) -> bool:
    """Whether there may be such a block. Most requests have no signature at all, which is found out fast."""
    return _SIGNATURE in density.outline(data) and (MARK in data or _UNSIGNED.search(data) is not None)


def _foreign(block: bytes) -> bool:
    if not _may_be_foreign(block):
        return False
    match codec.decode(block):
        case {"type": "thinking", "signature": str(signature)}:
            return not signature or signature.startswith(MARK.decode())
    return False


def _turn_goes_on(messages: list[tuple[msgspec.Raw | None, bool]]) -> bool:
    """Whether the assistant's last message has lost a block, and only results of its calls follow."""
    for message, removed in reversed(messages):
        if message is None:
            continue
        match codec.decode(bytes(message)):
            case {"role": "assistant"}:
                return removed
            case {"role": "user", "content": list(blocks)} if any(
                isinstance(block, dict) and block.get("type") == "tool_result" for block in blocks
            ):
                continue
            case {"role": "system"}:
                continue
        return False
    return False


def _without_thinking(members: Members, dropped: dict[str, None]) -> Members:
    """Leave `thinking` out where it is `enabled`: such a turn must begin with a block. What edits need it goes too."""
    match _decoded(members, "thinking"):
        case {"type": "enabled"}:
            pass
        case _:
            return members
    dropped["thinking"] = None
    members = {name: value for name, value in members.items() if name != "thinking"}
    match _decoded(members, "context_management"):
        case {"edits": list(edits), **rest}:
            left = [edit for edit in edits if not _clears_thinking(edit)]
            if left or rest:
                members["context_management"] = msgspec.Raw(codec.encode({**rest, "edits": left}))
            else:
                del members["context_management"]
    return members


def _clears_thinking(edit: object) -> bool:
    return isinstance(edit, dict) and str(edit.get("type")).startswith("clear_thinking_")


def _decoded(members: Members, name: str) -> Json | None:
    value = codec.decode(bytes(members[name])) if name in members else None
    return value if isinstance(value, dict) else None
