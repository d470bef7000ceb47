"""keys.yaml: the client keys that `modelserver.py keys` writes, beside those of config.yaml. It holds digests only."""

import json
from typing import Any, Final

import msgspec

from .config_schema import KeyConfig, Section

KEY_FILE: Final = "keys.yaml"
_HEAD: Final = """\
# The client keys that `python modelserver.py keys` manages; it writes this file anew, so comments are not kept.
# A row is one of `keys` in config.yaml, with the SHA-256 of the key. Only the server's user may read this file.
"""


class KeyFile(Section, frozen=True):
    """The whole file."""

    keys: tuple[KeyConfig, ...] = ()


def text_of(keys: tuple[KeyConfig, ...]) -> str:
    """Return the file that holds these keys, one a line; what has its default is left out."""
    rows = [f"  - {{{', '.join(_fields(key))}}}" for key in keys]
    return _HEAD + "\n".join(["keys:", *rows] if rows else ["keys: []"]) + "\n"


def _fields(key: KeyConfig) -> list[str]:
    fields = msgspec.structs.fields(key)
    given = {field.name: getattr(key, field.name) for field in fields if getattr(key, field.name) != field.default}
    return [f"{name}: {_scalar(value)}" for name, value in given.items()]


def _scalar(value: Any) -> str:
    """Return a value as JSON, which YAML reads as well."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return json.dumps(value, ensure_ascii=False)
