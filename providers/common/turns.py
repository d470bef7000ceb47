"""Turns: providers that insist on alternating roles get neighbours of one role as one turn, and a text where one is missing."""

from collections.abc import Iterable, Iterator
from typing import Any, Final

from ..contract import Json

START: Final = "(conversation start)"  # the user's, where the assistant would speak first
GO_ON: Final = "Continue."  # the user's, where the assistant would speak last
EMPTY: Final = "(empty message)"  # what stands for a message that says nothing and cannot be left out


def as_system(text: str) -> str:
    """Return the text of a later system message as the user's, marked as what it is."""
    return f"<system>\n{text}\n</system>"


def content_text(content: Any, gap: str = "") -> str:
    """Return the text of a message's content, which is a string, parts or nothing. gap: what stands between parts."""
    if isinstance(content, list):
        return gap.join([part.get("text") or part.get("refusal") or "" for part in content])
    return content or ""


def merge_turns(turns: Iterable[Json], content: str) -> Iterator[Json]:
    """Join neighbouring turns of the same role; content: the key of their list of parts. Turns without parts vanish.

    The turns are the caller's own fresh dicts; their lists are extended in place.
    """
    last: Json | None = None
    for turn in turns:
        if not turn[content]:
            continue
        if last is not None and last["role"] == turn["role"]:
            last[content] += turn[content]
            continue
        if last is not None:
            yield last
        last = turn
    if last is not None:
        yield last
