"""The arguments of a tool call in a stream: text in pieces, which adds up to one JSON object.

Hosts send the object itself, null, a placeholder ("{}") before or after the real arguments, the same once more, or the
object encoded twice. Whether a call's arguments are complete decides whether another fragment at the same place goes on
with it; it is found out only when that is asked.
"""

import re
from typing import Any, Final

from .. import codec, density
from ..contract import Json
from ..errors import UpstreamBadOutput

RAW: Final = "_raw_arguments"  # key of the text of arguments that are no object, for upstreams and clients that take objects only
# Placeholders at the start of a text that goes on with the real arguments.
_PLACEHOLDERS: Final = re.compile(r'(?:\s*+(?:\{\s*+\}|\[\s*+\]|null|""))++(?=\s*+[{"])')
_MAYBE: Final = frozenset({"{", "[", "n", "nu", "nul"})  # the beginning of a placeholder, or of the arguments
_INK: Final = re.compile(r"\S")
_NOTHING: Final = frozenset({"", "{}", "null", "[]", '""'})  # what is sent where there are no arguments, or not yet
_BEGINS: Final = ("{", "[", "n")  # how a placeholder or the same once more begins
_UNREAD: Final = 64 * 1024  # characters that are kept before they are read unasked


def as_text(value: Any) -> str:
    """Arguments as JSON text; some hosts send the object itself, or null.

    Raises UpstreamBadOutput for an object with a number that JSON does not know: with null in its place it is another call.
    """
    if isinstance(value, str):
        return value
    text = "" if value is None else codec.encode_text(value)
    if "null" in text and not codec.is_json(value):
        raise UpstreamBadOutput("The upstream sent arguments of a tool call with a number that is none.")
    return text


def decoded(text: str) -> Any:
    """Return the value that whole arguments are, None where they are no JSON: models do write broken JSON."""
    try:
        return codec.decode(text.encode("utf-8", "surrogatepass"))
    except ValueError:
        return None


def as_object(text: str) -> Json | None:
    """Return the object that whole arguments are, None where they are none."""
    value = decoded(text)
    return value if isinstance(value, dict) else None


def say_nothing(text: str) -> bool:
    """Whether arguments that begin with this text are none, or a placeholder for those that follow."""
    return len(text) < 16 and "".join(text.split()) in _NOTHING


def without_placeholders(text: str) -> str:
    """Return arguments without the placeholders and blanks that stand before them."""
    begin = _PLACEHOLDERS.match(text)
    return (text if begin is None else text[begin.end() :]).lstrip()


def real_one(text: str) -> str:
    """The one document in arguments that hold several: placeholders, the same once more, an object encoded twice.

    Text that is no JSON, or holds several different documents, stays as it is; so does text of very many values, which
    would take much more memory than its own.
    """
    if density.is_dense(text):
        return text
    found: list[str] = []
    at = 0
    while (begin := _INK.search(text, at)) is not None:
        try:
            value, at = codec.document(text, begin.start())
        except (ValueError, RecursionError):
            return text
        part = text[begin.start() : at]
        if isinstance(value, str) and _is_object(value):
            part = value
        if not say_nothing(part) and part not in found:
            found.append(part)
            if len(found) > 1:
                return text
    return "{}" if not found else text if found[0] == text.strip() else found[0]


def _is_object(text: str) -> bool:
    try:
        return isinstance(codec.document(text.strip())[0], dict)
    except (ValueError, RecursionError):
        return False


class Beginning:
    """The beginning of one call's arguments: placeholders are removed. What may become one is held back."""

    __slots__ = ("held",)

    def __init__(self) -> None:
        self.held = ""

    def add(self, piece: str) -> str:
        """Add a piece. Return what of the arguments has come with it; from then on no piece needs to be added."""
        text, self.held = without_placeholders(self.held + piece), ""
        if say_nothing(text):
            return ""
        if len(text) < 16 and "".join(text.split()) in _MAYBE:
            self.held = text
            return ""
        return text


class Arguments:
    """What has come of one call's arguments. The text is kept as long as it is short, to know it when it comes again."""

    __slots__ = (
        *("_again", "_beginning", "_depth", "_escaped", "_held", "_pieces", "_quoted", "_said", "_size", "_unread"),
        "given",
    )

    def __init__(self) -> None:
        self.given = False  # whether there are any, placeholders apart
        self._beginning = Beginning()
        self._held: list[str] | None = None  # a JSON text, not passed on yet: it may hold the object
        self._said: list[str] | None = []  # what was read, while short
        self._size = 0  # characters in that
        self._again = 0  # how much of it has come once more
        self._pieces: list[str] = []  # not read yet
        self._unread = 0  # characters in them
        self._depth = 0
        self._quoted = self._escaped = False

    def add(self, piece: str) -> str:
        """Add a piece. Return what of it the client is to get: a placeholder or a repetition is held back."""
        if not self.given:
            piece = self._beginning.add(piece)
            if not piece:
                return ""
            self.given = True
            begin = piece.strip()
            if begin[:1] == '"':
                self._held = []
            elif begin[-1:] == "}":
                piece = real_one(piece)
                if say_nothing(piece):
                    self.given = False
                    return ""
        elif self._held is None and (self._again or piece == '""' or piece.lstrip()[:1] in _BEGINS):
            piece = self._unrepeated(piece)
            if not piece:
                return ""
        self._pieces.append(piece)
        self._unread += len(piece)
        if self._unread > _UNREAD:
            self._read()
        return piece if self._held is None else self._decoded(self._held, piece)

    def rest(self) -> str:
        """What the client must get at the end: `{}` where there were none, not an empty text, and what is held back."""
        return "".join(self._held or ()) if self.given else self._beginning.held or "{}"

    def _decoded(self, held: list[str], piece: str) -> str:
        """Hold a piece of a JSON text back. Return the object in it, or the text as it is, once it is whole or too long."""
        held.append(piece)
        self._read()
        if self._quoted and self._said is not None:
            return ""
        self._held = None
        text = "".join(held)
        if say_nothing(text):
            self.given, self._said = False, []
            return ""
        return real_one(text)

    def _unrepeated(self, piece: str) -> str:
        """Return what of a piece after complete arguments is to go on: nothing of a placeholder or of the same again."""
        if not self.complete:
            return piece
        if not self._again and say_nothing(piece):
            return ""
        if self._said is None:
            return piece
        text = "".join(self._said).strip()
        self._said = [text]
        more = piece if self._again else piece.lstrip()
        if text.startswith(more, self._again) and self._again + len(more) < len(text):
            self._again += len(more)
            return ""
        held, left = text[: self._again], len(text) - self._again
        self._again = 0
        if len(more.rstrip()) == left and text.endswith(more.rstrip()):
            return ""
        if say_nothing(held + piece):
            return ""
        self._said = None
        return held + piece

    @property
    def complete(self) -> bool:
        """Whether they are a whole JSON value. Each piece is read once, however often this is asked."""
        self._read()
        return self.given and self._depth <= 0 and not self._quoted

    def _read(self) -> None:
        text = "".join(self._pieces)
        self._pieces.clear()
        self._unread = 0
        if not text:
            return
        if self._said is not None:
            self._said.append(text)
            self._size += len(text)
            if self._size > _UNREAD:
                self._said = None
        for at in range(0, len(text), _UNREAD):
            self._follow(text[at : at + _UNREAD])

    def _follow(self, text: str) -> None:
        """Note where in the JSON a piece ends: how deep, and whether inside a string or an escape."""
        text = (text[1:] if self._escaped else text).replace("\\\\", "")
        self._escaped = text.endswith("\\")
        parts = text.replace('\\"', "").split('"')
        structure = "".join(parts[self._quoted :: 2])
        count = structure.count
        self._depth += count("{") + count("[") - count("}") - count("]")
        self._quoted ^= len(parts) % 2 == 0
