"""What an import makes: our configuration as a mapping, and a line for each thing that was not carried over."""

import json
import re
from typing import Any, NamedTuple

from providers.contract import Json

_PLAIN = re.compile(r"[A-Za-z_][\w./-]*")
_NOT_PLAIN = frozenset({"true", "false", "yes", "no", "on", "off", "null", "y", "n"})


class Left(NamedTuple):
    """One thing that was not carried over, or not as it was. path: where it is in the file; why, and what to do."""

    path: str
    why: str
    what_to_do: str

    def __str__(self) -> str:
        return f"{self.path}: {self.why}. {self.what_to_do}."


class Imported(NamedTuple):
    """config: in the order in which it is to be written."""

    config: Json
    left: list[Left]

    def text(self, source: str) -> str:
        """Return config.yaml, with what was not carried over in comments at its top. source: what it was made from."""
        head = [f"# Made from {source} by `python modelserver.py import`; `check` tells what is wrong with it."]
        if self.left:
            head += ["#", "# Not carried over, or not as it was:"]
            head += [f"# - {' '.join(str(each).split())}" for each in self.left]
        return "\n".join([*head, "", *_lines(self.config, 0), ""])


def _lines(value: Json, depth: int) -> list[str]:
    """Return a mapping as YAML: two levels in lines of their own, what is in them on one line."""
    lines: list[str] = []
    for name, each in value.items():
        if isinstance(each, dict) and each and depth < 1:
            lines += [f"{'  ' * depth}{_word(name)}:", *_lines(each, depth + 1), *([""] if depth == 0 else [])]
        elif isinstance(each, list) and each and depth < 1:
            lines += [f"{_word(name)}:", *(f"  - {_inline(item)}" for item in each), ""]
        else:
            lines.append(f"{'  ' * depth}{_word(name)}: {_inline(each)}")
    return lines


def _inline(value: Any) -> str:
    match value:
        case dict():
            return "{" + ", ".join(f"{_word(name)}: {_inline(each)}" for name, each in value.items()) + "}"
        case list() | tuple():
            return "[" + ", ".join(map(_inline, value)) + "]"
        case str():
            return _word(value)
    return json.dumps(value)


def _word(text: str) -> str:
    """Return a text as YAML, in double quotes unless it needs none anywhere."""
    if _PLAIN.fullmatch(text) and text.lower() not in _NOT_PLAIN:
        return text
    return json.dumps(text, ensure_ascii=not text.isprintable())
