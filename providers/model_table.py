"""Read models.yaml, and look a model up in it by id or pattern. config.yaml can override it.

Lookup, first hit wins: the id as it is; without a vendor's prefix (`openai/gpt-4o`); without the date of a snapshot
(`gpt-4o-2024-08-06`); the pattern with the most literal characters; else ModelFacts(), which promises nothing.
"""

import re
from collections.abc import Iterator, Mapping
from datetime import date
from fnmatch import translate
from functools import lru_cache
from typing import Any, Final, get_args

import msgspec
import yaml

from .bounded_dict import BoundedDict
from .models import LongContext, ModelFacts, OffPeak, Price
from .near_words import closest

_FIELDS: Final = {field.name: field for field in msgspec.structs.fields(ModelFacts)}
_OWN: Final = (
    "price",
    "long_context",
    "off_peak",
    "released",
    "shutdown",
)  # `like` does not copy these, nor `provider`
_LOCAL: Final = (
    "provider",
    "released",
    "context",
    "max_output",
    "price",
    "long_context",
)  # what models.local.yaml may say
_SNAPSHOT: Final = re.compile(r"[-@](?:\d{4}-\d\d-\d\d|\d{8}|\d{4}|latest)(?:-v\d+(?::\d+)?)?$|:[a-z]+$", re.ASCII)
_SET: Final = re.compile(r"\[[^\]]*\]|[*?]")  # the parts of a pattern that are not literal
_REMEMBERED: Final = 1024  # lookups kept: with wildcard routes the ids are the clients' choice
_PREFIXES: Final = 4  # vendors' prefixes that an id may have

Row = Mapping[str, Any]


class ModelTable:
    """The table, ready for lookups."""

    def __init__(self) -> None:
        self._rows: dict[tuple[str, str], ModelFacts] = {}  # (provider or "", id in lower case)
        self._patterns: dict[tuple[str, str], ModelFacts] = {}  # the same
        self._ranked: list[tuple[str, str, ModelFacts]] = []  # those, most specific first
        self._found: BoundedDict[tuple[str, str], ModelFacts] = BoundedDict(_REMEMBERED)

    @classmethod
    def parse(cls, text: str, extra: Mapping[str, Row] | None = None, local: str = "") -> "ModelTable":
        """models.yaml, and the user's rows over it: each overrides fields of a row, or adds one (ids may be patterns).

        local: the text of models.local.yaml, whose prices and windows lie between the two. A price replaces the row's prices
        as a whole. Raises ValueError naming row and field.
        """
        data = _read(text)
        families, rows = _mapping(data, "families"), _mapping(data, "models")
        listed = list(_listed(rows))
        for name, row in (*families.items(), *listed):
            _check(name, row)
        models = cls()
        for name, row in listed:
            fields = _resolved(name, row, families, rows)
            models._add(name, fields.pop("provider", ""), _model(name, fields))
        models._rank()
        for name, row in _local(local):
            models._override(name, row, families, rows)
        for name, row in (extra or {}).items():
            models._override(name, row, families, rows)
        return models

    @property
    def listed(self) -> Mapping[tuple[str, str], ModelFacts]:
        """Its rows, patterns aside: provider ("": any) and id in lower case → facts."""
        return self._rows

    def of(self, model: str, provider: str = "") -> ModelFacts:
        """The facts about `model` (an upstream id) as `provider` (a row of hosts.py) serves it."""
        key = provider, model
        found = self._found.get(key)
        if found is None:
            found = self._found[key] = self._of(model, provider)
        return found

    def _of(self, model: str, provider: str) -> ModelFacts:
        names = list(_names(model.lower(), provider))
        for by, name in names:
            for listed in name, name.replace(".", "-"):  # OpenRouter writes claude-haiku-4.5
                for row in (by, listed), ("", listed):
                    if row in self._rows:
                        return self._rows[row]
        for wanted, pattern, facts in self._ranked:
            if any(wanted in ("", by) and _compiled(pattern).match(name) for by, name in names):
                return facts
        return ModelFacts()

    def _override(self, name: str, row: Row, families: Row, rows: Row) -> None:
        _check(name, row)
        fields = _resolved(name, row, families, rows)
        given = fields.pop("provider", "")
        for provider in [given] if given else [by for by, listed in self._rows if listed == name.lower()] or [""]:
            pattern = self._patterns.get((provider, name.lower()))
            known = pattern if pattern else self._of(_literal(name), provider)
            kept = {field: getattr(known, field) for field in (_OWN if "like" in row else _FIELDS)}
            if "price" in row:
                kept["long_context"] = kept["off_peak"] = None
            if _is_pattern(name) and not pattern:
                kept |= dict.fromkeys(_OWN)  # what one model costs says nothing about others
            self._add(name, provider, _model(name, kept | fields))
        if _is_pattern(name):
            self._rank()

    def _add(self, name: str, provider: str, facts: ModelFacts) -> None:
        key = provider, name.lower()
        if _is_pattern(name):
            self._patterns[key] = facts
        else:
            self._rows[key] = facts

    def _rank(self) -> None:
        later = reversed(self._patterns.items())  # of equals, the user's
        order = sorted(later, key=lambda item: (len(_literal(item[0][1])), bool(item[0][0])), reverse=True)
        self._ranked = [(*key, facts) for key, facts in order]
        self._found.clear()


def _local(text: str) -> Iterator[tuple[str, Row]]:
    """Yield the rows of models.local.yaml. Raises ValueError for what it may not say."""
    if not text:
        return
    try:
        for name, row in _listed(_mapping(_read(text), "models")):
            _check(name, row)
            if wrong := [field for field in row if field not in _LOCAL]:
                raise ValueError(
                    f"{name}: {wrong[0]}: it may hold prices, windows and releases only ({', '.join(_LOCAL)})"
                )
            yield name, row
    except (yaml.YAMLError, RecursionError):
        raise ValueError(
            "models.local.yaml: not valid YAML: delete it, or write it anew with `models update`"
        ) from None
    except ValueError as error:
        raise ValueError(f"models.local.yaml: {str(error).removeprefix('models.yaml: ')}") from None


def _listed(rows: Row) -> Iterator[tuple[str, Any]]:
    """Yield id and row of each model: one that several hosts serve has a list of rows."""
    for name, value in rows.items():
        for row in value if isinstance(value, list) else [value]:
            yield name, row


def _read(text: str) -> Any:
    """Return what a YAML text holds, as dicts, lists and texts. Raises yaml.YAMLError, and RecursionError where it is deep.

    Scalars stay text, and are typed by the fields they land in: `no`, `on` and 2026-10-23 are words to us.
    """
    return _plain(yaml.compose(text, Loader=yaml.CBaseLoader))


def _plain(node: Any) -> Any:
    """Return a node as what it holds: all of them take a quarter of the time that a yaml.Constructor would."""
    match node:
        case yaml.ScalarNode():
            return node.value
        case yaml.SequenceNode():
            return [_plain(each) for each in node.value]
        case yaml.MappingNode():
            return {str(_plain(key)): _plain(value) for key, value in node.value}


@lru_cache(4096)
def _compiled(pattern: str) -> re.Pattern[str]:
    """Compile a pattern, when an id is first compared with it."""
    return re.compile(translate(pattern))


def without_snapshot(model: str) -> str:
    """Return an id without the date of a snapshot."""
    return _SNAPSHOT.sub("", model)


def _names(model: str, provider: str) -> Iterator[tuple[str, str]]:
    """The (provider, id) a model may be listed under, nearest first."""
    for _ in range(_PREFIXES + 1):
        yield provider, model
        if model != (plain := _SNAPSHOT.sub("", model)):
            yield provider, plain
        prefix, slash, model = model.partition("/")
        if not slash:
            return
        provider = provider or prefix


def _literal(name: str) -> str:
    return _SET.sub("", name)


def _is_pattern(name: str) -> bool:
    return _SET.search(name) is not None


def _mapping(data: Any, name: str) -> dict[str, Any]:
    value = data.get(name) if isinstance(data, dict) else None
    if not isinstance(value, dict):
        raise ValueError(f"models.yaml: {name}: expected a mapping of rows")  # noqa: TRY004 (configuration)
    return value


def _check(name: str, row: Any) -> None:
    if not isinstance(row, Mapping):
        raise ValueError(f"{name}: expected fields such as {{vision: true}}")  # noqa: TRY004 (configuration)
    for field in row:
        if field not in _FIELDS and field not in ("like", "provider"):
            raise ValueError(f"{name}: {field}: unknown field{_meant(field, [*_FIELDS, 'like', 'provider'])}")
    if not isinstance(row.get("provider", ""), str):
        raise ValueError(f"{name}: provider: expected a name such as groq")  # noqa: TRY004 (configuration)
    for field, kind in (("price", Price), ("long_context", LongContext), ("off_peak", OffPeak)):
        prices = row.get(field)
        for part in prices if isinstance(prices, Mapping) else ():
            if part not in kind.__struct_fields__:
                raise ValueError(f"{name}: {field}.{part}: unknown field{_meant(part, kind.__struct_fields__)}")


def _resolved(name: str, row: Any, families: Row, rows: Row, seen: tuple[str, ...] = ()) -> dict[str, Any]:
    """The fields of a row, those of the row it is `like` included."""
    fields = dict(row)
    like = fields.pop("like", None)
    if like is None:
        return fields
    if like in seen:
        raise ValueError(f"{name}: like: {like} is like itself")
    other = families.get(like, rows.get(like))
    if other is None:
        raise ValueError(f"{name}: like: there is no row {like!r}{_meant(like, [*families, *rows])}")
    if isinstance(other, list):
        other = other[0]
    base = _resolved(like, other, families, rows, (*seen, like))
    return {field: value for field, value in base.items() if field not in (*_OWN, "provider")} | fields


def _model(name: str, fields: Row) -> ModelFacts:
    fields = {field: None if value == "null" else value for field, value in fields.items()}
    if isinstance(shutdown := fields.get("shutdown"), date):
        fields["shutdown"] = shutdown.isoformat()  # config.yaml's reader may have recognised it
    try:
        return msgspec.convert(fields, ModelFacts, strict=False, from_attributes=True)
    except msgspec.ValidationError as error:
        what, _, path = str(error).partition(" - at `$.")
        path = path.rstrip("`")
        field = re.split(r"[.\[]", path)[0]
        words = list(_words(_FIELDS[field].type))
        expected = f"; expected {', '.join(words)}" if words else ""
        if words and isinstance(fields[field], bool):
            expected += ", in quotes: YAML reads a bare yes, no, on or off as true or false"
        raise ValueError(f"{name}: {path}: {what}{expected}") from None


def _words(kind: Any) -> Iterator[str]:
    """The values a field's Literal lists."""
    for part in get_args(kind):
        if isinstance(part, str):
            yield part
        else:
            yield from _words(part)


def _meant(name: str, known: Any) -> str:
    close = closest(str(name), known)
    return f", did you mean {close!r}?" if close else ""
