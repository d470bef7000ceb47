"""The ids in a host's list of models, whatever shape it has.

https://platform.openai.com/docs/api-reference/models/list, https://platform.claude.com/docs/en/api/models-list,
https://ai.google.dev/api/models#method:-models.list; Together sends the bare list, Ollama null where it has none.
"""

from collections.abc import Mapping
from typing import Any, Final

from ..contract import Call, Translator, prime
from ..errors import UpstreamBadOutput

_MOST: Final = 2000  # ids of one provider
_LONGEST: Final = 200  # characters of one
_SLASHES: Final = 6  # in one
_NAMES: Final = ("id", "name", "model")


def list_call(url: str, headers: Mapping[str, str]) -> Call:
    """Return the call that asks a host for its models, answered as OpenAI's list of them."""
    return Call(url, headers, b"", False, lambda call, streamed: prime(_read()), method="GET")


def _read() -> Translator:
    event = yield []
    found = ids(event.data if event is not None else None)
    return [{"object": "list", "data": [{"id": each} for each in found]}]


def ids(data: Any) -> list[str]:
    """Return the ids that can be asked for, each once. Raises UpstreamBadOutput for what is no list of models."""
    match data:
        case {"data": list(listed)} | {"models": list(listed)} | list(listed):
            pass
        case {"data": None} | {"models": None}:
            listed = []
        case _:
            raise UpstreamBadOutput("The upstream's list of models is none.")
    found: dict[str, None] = {}
    for each in listed:
        if isinstance(each, dict):
            name = next((value for name in _NAMES if isinstance(value := each.get(name), str) and value), "")
            name = name.removeprefix("models/")
            if name and len(name) <= _LONGEST and name.isprintable() and name.count("/") <= _SLASHES:
                found[name] = None
    return list(found)[:_MOST]
