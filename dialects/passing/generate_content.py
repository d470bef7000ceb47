"""What a request of Gemini's own API says of the size of its answer, and which tools Google would run for it.

Google's APIs take each name in two spellings, and what is not clear is taken for not said.
https://ai.google.dev/api/generate-content
"""

import re
from collections.abc import Iterator, Set
from typing import Any, Final

from providers import raw_json
from providers.contract import Json

_CAPITAL: Final = re.compile("[A-Z]")
_RUN_BY_CLIENTS: Final = ("function_declarations", "computer_use")
_CONFIG: Final = "generation_config"


def longest(members: raw_json.Members) -> int:
    """Return the tokens that each answer may have; 0 where the request does not say."""
    return _number(members, "max_output_tokens")


def answers(members: raw_json.Members) -> int:
    """Return how many answers are asked for; 0 where the request does not say."""
    return _number(members, "candidate_count")


def upstream_tools(members: raw_json.Members) -> tuple[str, ...]:
    """Return "tools." and the name of each tool that is not the client's to run."""
    found: dict[str, None] = {}
    for value in _named(members, "tools"):
        for tool in value if isinstance(value, list) else [value]:
            for name in map(_plain, tool if isinstance(tool, dict) else ()):
                if name not in _RUN_BY_CLIENTS:
                    found[f"tools.{name[:100]}"] = None
    return tuple(found)


def fields(members: raw_json.Members, known: Set[str]) -> Json:
    """Return those of these names that a request has beside what this module reads, in the spelling that is known."""
    found = ((name if name in known else _plain(name), value) for name, value in members.items())
    return {name: raw_json.decoded(value) for name, value in found if name in known and _plain(name) != _CONFIG}


def _number(members: raw_json.Members, wanted: str) -> int:
    values = [
        each for config in _named(members, _CONFIG) if isinstance(config, dict) for each in _spelled(config, wanted)
    ]
    return values[0] if len(values) == 1 and type(values[0]) is int and values[0] > 0 else 0


def _named(members: raw_json.Members, wanted: str) -> Iterator[Any]:
    return (raw_json.decoded(value) for name, value in members.items() if _plain(name) == wanted)


def _spelled(values: Json, wanted: str) -> Iterator[Any]:
    return (value for name, value in values.items() if _plain(name) == wanted)


def _plain(name: str) -> str:
    """Return a name as it is spelled with underscores."""
    return _CAPITAL.sub(lambda letter: f"_{letter[0].lower()}", name)
