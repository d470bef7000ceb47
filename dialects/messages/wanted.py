"""What the answer to a Messages request depends on: made by the request's parser, read by its renderer."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple


class Wanted(NamedTuple):
    """ClientRequest.answer of the Messages dialect."""

    thinking: bool = False  # thinking blocks are part of the answer
    thinking_text: bool = True  # with their text; False: `display: omitted`, blocks without text
    tool_names: Mapping[str, str] = MappingProxyType({})  # name sent to the upstream → the client's
    call_ids: frozenset[str] = frozenset()  # of the calls in the history: an answer must not use one again
    stop_sequences: tuple[str, ...] = ()  # the client's
    max_tokens: int = 0  # the client's limit; 0: none
