"""Where a conversation belongs, by a rendezvous hash: each place gets a number from the conversation and its own name.

The same in every process, without a store. A place that is gone changes nothing for conversations of other places, and
each place is first as often as its weight says. Pure.
"""

from collections.abc import Callable, Iterable
from hashlib import blake2b
from math import log
from typing import Final, TypeVar

T = TypeVar("T")
_RANGE: Final = 2**64


def ranked(
    places: Iterable[T], conversation: str, name: Callable[[T], str], weight: Callable[[T], float] = lambda _: 1.0
) -> list[T]:
    """Return places in the order in which a conversation is to try them."""
    return sorted(places, key=lambda place: -log(_share(conversation, name(place))) / weight(place))


def _share(conversation: str, name: str) -> float:
    """Return a number above 0 and below 1 for a conversation and the name of a place."""
    digest = blake2b(f"{conversation}\0{name}".encode("utf-8", "replace"), digest_size=8).digest()
    return (int.from_bytes(digest) + 0.5) / _RANGE
