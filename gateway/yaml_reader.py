"""Read YAML as typed sections, strictly: every mistake is found in one run, with its line and, where it helps, a guess.

It walks YAML's node tree along the types of gateway/config_schema.py. Scalars are read as what the schema says, from the text
as written: a model called `no`, `1.10` or `12:30` keeps its name. Anchors are refused: they hide where a value comes from
and can grow without bound. `${NAME}`, `${file:PATH}` and `${credential:NAME}` in a string are replaced from the environment that
is passed in.
"""

import re
import types
from collections.abc import Iterable, Mapping
from functools import cache
from typing import Annotated, Any, Final, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

import msgspec
import yaml
from yaml.reader import ReaderError

from .config_schema import RENAMED, ByteBudget, FieldsOf, Memory, Section, Size
from .problems import Problem, Unreadable, guess
from .yaml_mistakes import COLON, COMMENT, explained, hint, line_of, lines_in

T = TypeVar("T")

_VARIABLE = re.compile(r"\$\{(\w+|(?:file|credential):[^{}]+)\}")
_SIZE = re.compile(r"(\d+) ?(B|KiB|MiB|GiB|)")
UNITS: Final = {"": 1, "B": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}
SIZES: Final = (Size, ByteBudget, Memory)
BOOLS: Final = {"true": True, "false": False, "yes": True, "no": False, "on": True, "off": False}  # in any case
_NULL: Final = "tag:yaml.org,2002:null"
_NAMES: Final = {str: "a text", int: "an integer", float: "a number", bool: "true or false"}
# Attribute of a YAML event → the message for a file that uses it.
_REFUSED: Final = {
    "anchor": "YAML anchors and aliases are not allowed: write it out; a text that begins with & or * must be in quotes",
    "tag": "YAML tags are not allowed: a text that begins with ! must be in quotes",
}
_BAD: Final[Any] = object()  # stands for a value whose mistake is already noted


class YamlReader:
    """Reads one document.

    problems: mistakes; warnings: what is allowed and probably a mistake; unset: path → the variable in its text that is
    not set; expanded: paths whose texts hold a variable's value. source: the file's name, where it is not the configuration.
    """

    def __init__(self, text: str, environment: Mapping[str, str], source: str = "") -> None:
        self._source = source
        self.problems: list[Problem] = []
        self.warnings: list[Problem] = []
        self.unset: dict[str, str] = {}
        self.expanded: set[str] = set()
        self._lines: dict[str, int] = {}
        self._positions: dict[
            str, list[int]
        ] = {}  # path of a list → positions in the file of the items that could be read
        self._environment = environment
        self._text = lines_in(text)
        self._root = self._compose(text)

    def read(self, kind: type[T]) -> T | None:
        """Return the document as `kind`, None where it is not one; only complete when there are no problems."""
        if self._root is None:
            return None if self.problems else kind()
        value = self._value(self._root, kind, "")
        return None if value is _BAD else value

    def note(self, path: str, message: str) -> None:
        """Add a mistake found later; its line is that of `path`, or of the nearest parent that the file has."""
        self._note(self._line_of(path), path, message)

    def wrong(self, path: str) -> bool:
        """Whether a mistake has been noted at this path or below it."""
        return any(problem.path == path or problem.path.startswith(f"{path}.") for problem in self.problems)

    def warn(self, path: str, message: str) -> None:
        """Add a warning, with a line as `note` finds it."""
        self.warnings.append(Problem(self._line_of(path), path, f"warning: {message}", self._source))

    def _line_of(self, path: str) -> int:
        while path and path not in self._lines:
            path = path[: max(path.rfind("."), path.rfind("["), 0)]
        return self._lines.get(path, 1)

    def item(self, path: str, i: int) -> str:
        """Return the path, in the file, of item `i` of the list that was read at `path`."""
        return f"{path}[{self._positions[path][i]}]"

    def _note(self, line: int, path: str, message: str) -> Any:
        self.problems.append(Problem(line, path, message, self._source))
        return _BAD

    def _compose(self, text: str) -> yaml.Node | None:
        try:
            for event in yaml.parse(text, Loader=yaml.CSafeLoader):
                for what, reason in _REFUSED.items():
                    if getattr(event, what, None) is not None:
                        self._note(line_of(event.start_mark), "", reason)
                        return None
            return yaml.compose(text, Loader=yaml.CSafeLoader)
        except yaml.MarkedYAMLError as error:
            line, message = explained(error, text)
            self._note(line, "", f"not valid YAML: {message}")
        except ReaderError as error:
            line = text.encode()[: error.position].count(b"\n") + 1
            self._note(line, "", "not valid YAML: the line holds a control character, such as NUL or ESC: remove it")
        except (yaml.YAMLError, ValueError, RecursionError) as error:
            self._note(1, "", f"not valid YAML: {' '.join(str(error).split())}")
        return None

    def _value(self, node: yaml.Node, kind: Any, path: str) -> Any:
        line = line_of(node.start_mark)
        self._lines.setdefault(path, line)
        origin = get_origin(kind)
        if kind is Any:
            return self._json(node, path)
        if isinstance(kind, type) and issubclass(kind, Section):
            return self._section(node, kind, path)
        if isinstance(part := getattr(kind, "__metadata__", (None,))[0], FieldsOf):
            return self._part(node, part, path)
        if origin in (dict, Mapping):
            return self._mapping(node, get_args(kind)[1], path)
        if origin is frozenset:
            items = self._list(node, get_args(kind)[0], path)
            return items if items is _BAD else frozenset(items)
        if origin is tuple:
            return self._list(node, get_args(kind)[0], path, None if ... in get_args(kind) else len(get_args(kind)))
        if origin in (Union, types.UnionType):
            return self._either(node, get_args(kind), path)
        return self._scalar(node, kind, path, line)

    def _pairs(self, node: yaml.Node, path: str) -> Iterable[tuple[str, yaml.Node, int]]:
        """Yield key, value and line of each item of a mapping. Notes keys that are no texts or are given twice."""
        if not isinstance(node, yaml.MappingNode):
            if node.tag != _NULL:  # an empty section is an empty mapping
                listed = isinstance(node, yaml.SequenceNode)
                more = "; leave out the dash or the [ ] around it" if listed else hint(node.value)
                self._note(line_of(node.start_mark), path, f"expected a mapping (key: value){more}")
            return
        seen: dict[str, int] = {}
        for key, value in node.value:
            line = line_of(key.start_mark)
            if not isinstance(key, yaml.ScalarNode):
                self._note(line, path, "keys must be plain texts")
            elif key.value in seen:
                self._note(line, _join(path, key.value), f"given twice (first in line {seen[key.value]})")
            else:
                seen[key.value] = line
                yield key.value, value, line

    def _section(self, node: yaml.Node, kind: type[Section], path: str) -> Any:
        fields = _fields(kind)
        values: dict[str, Any] = {}
        before = len(self.problems)
        for name, value, line in self._pairs(node, path):
            where = _join(path, name)
            if new := RENAMED.get(kind, {}).get(name):
                self._note(line, where, f"renamed to {new}")
                self._value(value, fields[new].type, where)  # for the mistakes in it
                continue
            if name not in fields:
                # `api_key:sk-…` without a space is a key to YAML: what stands behind the colon may be a secret.
                name, colon, _ = name.partition(":")
                more = f"; {COLON}" if colon else guess(name, fields) or f"; known are {', '.join(fields)}"
                if name.strip() != name:
                    more = "; a blank that is no plain space stands beside it: remove it"
                self._note(line, _join(path, name.strip()), f"unknown key{more}")
                continue
            self._lines[where] = line
            values[name] = self._value(value, fields[name].type, where)
        for field in fields.values():
            if field.required and field.name not in values and len(self.problems) == before:
                self._note(line_of(node.start_mark), path, f"the key '{field.name}' is missing")
        if len(self.problems) > before:
            # What is right stays, so that later checks can find more mistakes in the same go.
            values = {name: value for name, value in values.items() if value is not _BAD}
            if any(field.required and field.name not in values for field in fields.values()):
                return _BAD
        return kind(**values)

    def _part(self, node: yaml.Node, part: FieldsOf, path: str) -> dict[str, Any]:
        """Return those fields of a struct that are given, each read as its type."""
        kinds = field_types(part.kind)
        values: dict[str, Any] = {}
        for name, value, line in self._pairs(node, path):
            where = _join(path, name)
            self._lines[where] = line
            if name in part.elsewhere:
                self._note(line, where, f"belongs one level up, beside '{path.rpartition('.')[2]}'")
            elif name not in kinds:
                self._note(line, where, f"unknown key{guess(name, kinds) or '; known are ' + ', '.join(kinds)}")
            else:
                values[name] = self._value(value, kinds[name], where)
        return {name: value for name, value in values.items() if value is not _BAD}

    def _mapping(self, node: yaml.Node, kind: Any, path: str) -> dict[str, Any]:
        values = {}
        for name, value, line in self._pairs(node, path):
            where = _join(path, name)
            self._lines[where] = line
            values[name] = self._value(value, kind, where)
        return {name: value for name, value in values.items() if value is not _BAD}

    def _list(self, node: yaml.Node, kind: Any, path: str, length: int | None = None) -> Any:
        if not isinstance(node, yaml.SequenceNode):
            return self._note(line_of(node.start_mark), path, "expected a list ([a, b] or lines with '- ')")
        if length is not None and len(node.value) != length:
            return self._note(line_of(node.start_mark), path, f"expected a list of {length}")
        values = [(i, self._value(each, kind, f"{path}[{i}]")) for i, each in enumerate(node.value)]
        self._positions[path] = [i for i, value in values if value is not _BAD]
        return tuple(value for _, value in values if value is not _BAD)

    def _either(self, node: yaml.Node, kinds: tuple[Any, ...], path: str) -> Any:
        """Read the node as the member of a union that has its form: a text, a list or a mapping."""
        for kind in kinds:
            origin = get_origin(kind)
            listed = origin is tuple
            mapped = origin is dict or (isinstance(kind, type) and issubclass(kind, Section))
            if isinstance(node, yaml.SequenceNode) == listed and isinstance(node, yaml.MappingNode) == mapped:
                return self._value(node, kind, path)
        return self._note(line_of(node.start_mark), path, "has the wrong form; see the example config.yaml")

    def _scalar(self, node: yaml.Node, kind: Any, path: str, line: int) -> Any:
        base = get_args(kind)[0] if get_origin(kind) is Annotated else kind
        words = get_args(base) if get_origin(base) is Literal else ()
        expected = " or ".join(words) if words else "a size such as 32MiB" if kind in SIZES else _NAMES[base]
        if not isinstance(node, yaml.ScalarNode) or (node.tag == _NULL and not node.style):
            more = f"; {COMMENT}" if re.match(r"\s*#", self._behind(node)) else ""
            return self._note(line, path, f"expected {expected}{more}")
        if not node.style and re.match(r"\s+#\S", self._behind(node)):
            self.warn(path, COMMENT)
        text = self._expanded(node, path)
        if text in words or text is _BAD:
            return text
        if new := RENAMED.get(base, {}).get(text):
            return self._note(line, path, f"{text} is renamed to {new}")
        if words:
            return self._note(line, path, f"expected {expected}{guess(text, words)}")
        try:
            value: Any = _bytes(text) if kind in SIZES else _PARSE[base](text)
        except (ValueError, KeyError):
            return self._note(line, path, f"expected {expected}")
        try:
            return msgspec.convert(value, kind)
        except msgspec.ValidationError as error:
            return self._note(line, path, str(error).replace("`", "'"))

    def _behind(self, node: yaml.Node) -> str:
        """Return what stands behind a value in its last line."""
        mark = node.end_mark
        return self._text[mark.line][mark.column :] if mark.line < len(self._text) else ""

    def _expanded(self, node: yaml.ScalarNode, path: str) -> Any:
        """Return a scalar's text with the values of its variables. Notes a file that cannot be read."""

        def value(match: re.Match[str]) -> str:
            found = self._environment.get(match[1], "")
            if not found:
                self.unset[path] = match[1]
            return found

        if "${" not in node.value:
            return node.value
        self.expanded.add(path)
        try:
            return _VARIABLE.sub(value, node.value)
        except Unreadable as error:
            return self._note(line_of(node.start_mark), path, str(error))

    def _json(self, node: yaml.Node, path: str) -> Any:
        """Return a value without a type (a default, an option) as YAML reads it, if JSON has such values, else as text."""
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, Any, path)
        if isinstance(node, yaml.SequenceNode):
            return list(self._list(node, Any, path))
        assert isinstance(node, yaml.ScalarNode)
        text = self._expanded(node, path)
        if text is _BAD:
            return text
        kind = node.tag.rpartition(":")[2]
        if node.style or kind not in ("int", "float", "bool", "null"):
            return text
        try:
            return _PARSE[{"int": int, "float": float, "bool": bool, "null": None}[kind]](text)
        except (ValueError, KeyError):
            return text  # 12:30 and 0o17 are numbers to YAML 1.1 alone


@cache
def _fields(kind: type[Section]) -> dict[str, Any]:
    """Return the fields of a section by name."""
    return {field.name: field for field in msgspec.structs.fields(kind)}


@cache
def field_types(kind: type) -> dict[str, Any]:
    """Return the fields of a struct with their types."""
    hints = get_type_hints(kind)
    return {field.name: hints[field.name] for field in msgspec.structs.fields(kind)}


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _bytes(text: str) -> int:
    match = _SIZE.fullmatch(text.strip())
    if not match:
        raise ValueError(text)
    return int(match[1]) * UNITS[match[2]]


_PARSE: Final[dict[Any, Any]] = {
    str: str,
    int: int,
    float: float,
    bool: lambda text: BOOLS[text.lower()],
    None: lambda text: None,
}
