"""Turns: providers that insist on alternating roles get neighbours of one role as one turn."""

from collections.abc import Iterable, Iterator

from ..contract import Json


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
