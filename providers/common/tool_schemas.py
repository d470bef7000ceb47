"""Tools' parameters as strict upstreams take them: with a plain object at the top, and unions they can read.

Pure; the schema given is never changed.
"""

from collections.abc import Iterable
from collections.abc import Set as AbstractSet
from typing import Any, Final, NamedTuple

from .. import codec
from ..contract import Json
from . import json_schema

UNIONS: Final = ("anyOf", "oneOf", "allOf")
_UNIONS: Final = frozenset(UNIONS)
_NOT_AT_THE_TOP: Final = frozenset({"enum", "const", "not"})
_LONGEST_NOTE: Final = 2000  # characters
_ADDED: Final = 4096  # bytes that references may add to any schema: a request may have many


def plain_object(schema: Json, param: str) -> Json:
    """A tool's parameters as an object schema with type and properties, and no union at the top.

    The same object where it is one. OpenAI and DeepSeek: 400 "schema must be a JSON Schema of 'type: "object"', got 'type:
    null'", 400 "In context=(), object schema missing properties", 400 "schema must have type 'object' and not have
    'oneOf'/'anyOf'/'allOf'/'enum'/'not' at the top level". param: the request field, for errors. Raises BadRequest.
    """
    out = without_top_unions(without_top_reference(schema), param)
    kind = out.get("type")
    if kind is None or (isinstance(kind, list) and "object" in kind):
        out = out | {"type": "object"}
    if out["type"] == "object" and "properties" not in out and "$ref" not in out:
        out = out | {"properties": {}}
    return (
        out if _NOT_AT_THE_TOP.isdisjoint(out) else json_schema.move_to_description(dict(out), ("enum", "const", "not"))
    )


def without_top_reference(schema: Json) -> Json:
    """The schema with what its reference points to in its place; the same object where there is no reference at the top.

    Definitions stay where they are. A reference into itself, or to nowhere, stays: it is the upstream's to refuse.
    """
    trail = _trail(schema, schema, frozenset({id(schema)}))
    return _joined(trail) if len(trail) > 1 else schema


def _trail(root: Json, node: Json, inside: AbstractSet[int]) -> list[Json]:
    """`node` and the schemas that its reference leads to, one through the other.

    It ends at a reference to nowhere, or to a schema that is part of it or whose id is in `inside`.
    """
    trail, seen = [node], set[int]()
    while isinstance(ref := trail[-1].get("$ref"), str):
        target = json_schema.resolve(root, ref)
        if target is None or id(target) in inside or id(target) in seen:
            break
        seen.add(id(target))
        trail.append(target)
    return trail


def _joined(trail: list[Json]) -> Json:
    """The last schema of a trail, with the keywords of those before it in the place of its own.

    Made in one go: one copy for each reference would cost the square of a long trail.
    """
    out = dict(trail[-1])
    for node in reversed(trail[:-1]):
        out |= {word: value for word, value in node.items() if word != "$ref"}
    return out


def typed_unions(schema: Json, param: str) -> Json:
    """The schema without a type beside anyOf, keywords beside $ref, and lists of items; the same object if it has none.

    Moonshot: 400 "not a valid moonshot flavored json schema, details: <At path 'root': when using anyOf, type should be
    defined in anyOf items instead of the parent schema>". param: the request field, for errors. Raises BadRequest.
    """
    return json_schema.rewrite(schema, _typed, param) if any(map(_is_untyped, json_schema.walk(schema))) else schema


def _is_untyped(node: Json) -> bool:
    return (
        "oneOf" in node
        or ("anyOf" in node and "type" in node)
        or ("$ref" in node and len(node) > 1)
        or isinstance(node.get("items"), list)
    )


def _typed(node: Json) -> Json:
    if "$ref" in node:
        return {word: node[word] for word in ("$ref", *json_schema.DEFS) if word in node}
    node = json_schema.one_of_to_any_of(node)
    if isinstance(branches := node.get("anyOf"), list) and (kind := node.pop("type", None)) is not None:
        own = ("type", "anyOf", "$ref")
        node["anyOf"] = [
            one if not isinstance(one, dict) or any(word in one for word in own) else {"type": kind, **one}
            for one in branches
        ]
    if isinstance(items := node.get("items"), list):
        node["items"] = items[0] if len(items) == 1 else {"anyOf": items} if items else {}
    return node


def without_top_unions(schema: Json, param: str) -> Json:
    """An object schema without anyOf, oneOf and allOf at its top that takes what this one takes, and more.

    The properties of all branches are merged. Of anyOf and oneOf, what every branch requires stays required, and the
    branches are told in the description; of allOf, everything. The same object where there is no union at the top. param:
    the request field, for errors. Raises BadRequest for a schema that is too large.
    """
    if _UNIONS.isdisjoint(schema) or not any(isinstance(schema.get(word), list) for word in UNIONS):
        return schema
    if any(ref.startswith(tuple(f"#/{word}/" for word in UNIONS)) for ref in json_schema.refs(schema)):
        schema = json_schema.inline(
            schema, param, json_schema.Room(schema, added=_ADDED)
        )  # the places those references name are about to go
    merge = _Merge(schema, param)
    out = {"type": "object", **merge.flat(schema, frozenset(), 0).schema}
    if note := merge.note():
        out["description"] = f"{said} ({note})" if (said := out.get("description")) else note
    return out


class _Flat(NamedTuple):
    """A schema without unions at its top. loose: properties that another branch of a union may hold in any form."""

    schema: Json
    loose: AbstractSet[str]


class _Merge:
    """One schema being merged: counts the work, and collects what is lost."""

    def __init__(self, root: Json, param: str) -> None:
        self.root, self.param = root, param
        self.work = 0
        self.notes: list[str] = []

    def spend(self, parts: int) -> None:
        self.work += parts
        if self.work > json_schema.MAX_NODES:
            raise json_schema.too_large(self.param)

    def flat(self, node: Json, inside: frozenset[int], depth: int) -> _Flat:
        """`node` without unions at its top. inside: the ids of the schemas that references led through."""
        if depth > json_schema.MAX_DEPTH:
            raise json_schema.too_large(self.param)
        node, inside = self.followed(node, inside) if depth else (node, inside)
        own = {word: value for word, value in node.items() if word not in UNIONS}
        parts = [_Flat(own, frozenset())]
        for word in "allOf", "anyOf", "oneOf":
            branches = listed if isinstance(listed := node.get(word), list) else ()
            flat = [self.flat(branch, inside, depth + 1) for branch in branches if isinstance(branch, dict)]
            parts += [self.either(word, flat)] if flat and word != "allOf" else flat
        return self.together(parts)

    def followed(self, node: Json, inside: frozenset[int]) -> tuple[Json, frozenset[int]]:
        """`node` with what its reference points to in its place; a reference into itself, or to nowhere, says nothing."""
        trail = _trail(self.root, node, inside)
        for target in trail[1:]:
            self.spend(1 + len(target))
        if len(trail) > 1:
            node, inside = _joined(trail), inside.union(map(id, trail[1:]))
        if isinstance(node.get("$ref"), str):
            node = {word: value for word, value in node.items() if word != "$ref"}
        return node, inside

    def together(self, parts: list[_Flat]) -> _Flat:
        """What all of the parts take, in the words of the first where they differ."""
        out: Json = {}
        for part in reversed(parts):
            out |= part.schema
        strict: dict[str, list[Any]] = {}
        loose: dict[str, list[Any]] = {}
        required: dict[str, None] = {}
        for part in parts:
            properties, names = _properties(part.schema), _names(part.schema)
            self.spend(1 + len(properties) + len(names))
            required |= dict.fromkeys(names)
            for name, one in properties.items():
                (loose if name in part.loose or one in ({}, True) else strict).setdefault(name, []).append(one)
        if named := dict.fromkeys(name for part in parts for name in _properties(part.schema)):
            out["properties"] = {
                name: self.all_of(strict[name]) if name in strict else self.any_of(loose[name]) for name in named
            }
        if required:
            out["required"] = list(required)
        closed = [part.schema["additionalProperties"] for part in parts if "additionalProperties" in part.schema]
        if closed:
            out["additionalProperties"] = False if False in closed else self.all_of(closed)
        return _Flat(out, loose.keys() - strict.keys())

    def either(self, word: str, branches: list[_Flat]) -> _Flat:
        """What takes all that any of the branches takes; a branch that is no object takes no tool's parameters."""
        objects = [one.schema for one in branches if _is_object(one.schema)]
        if not objects:
            return _Flat({"type": branches[0].schema.get("type")}, frozenset())
        found: dict[str, list[Any]] = {}
        for schema in objects:
            for name, one in _properties(schema).items():
                found.setdefault(name, []).append(one)
        out: Json = {}
        if found:
            out["properties"] = {name: self.any_of(ones) for name, ones in found.items()}
        common = set(_names(objects[0])).intersection(*map(_names, objects))
        if required := [name for name in dict.fromkeys(_names(objects[0])) if name in common]:
            out["required"] = required
        if all(schema.get("additionalProperties") is False for schema in objects):
            out["additionalProperties"] = False
        if len(objects) > 1:
            self.tell(word, objects)
        return _Flat(out, frozenset(found))

    def all_of(self, ones: list[Any]) -> Any:
        """One schema for several that must all hold."""
        different = self.distinct(ones)
        return different[0] if len(different) == 1 else {"allOf": different}

    def any_of(self, ones: list[Any]) -> Any:
        """One schema for several of which any may hold; an empty one lets everything in."""
        different = self.distinct(ones)
        if len(different) == 1:
            return different[0]
        return {"anyOf": different} if all(different) and True not in different else {}

    def distinct(self, ones: list[Any]) -> list[Any]:
        different = list({id(one): one for one in ones}.values())
        if len(different) < 2:
            return different
        texts = {codec.encode_text(one): one for one in different}
        self.spend(sum(map(len, texts)) // 100)
        return list(texts.values())

    def tell(self, word: str, objects: list[Json]) -> None:
        which = "one" if word == "oneOf" else "at least one"
        self.notes.append(f"Give {which} of these sets of properties: {'; '.join(map(_told, objects))}.")

    def note(self) -> str:
        text = " ".join(dict.fromkeys(self.notes))
        return text if len(text) <= _LONGEST_NOTE else f"{text[:_LONGEST_NOTE]}…"


def _told(branch: Json) -> str:
    """A branch in words: the names it requires, with the one value they may have, and in brackets those it only takes."""
    properties, required = _properties(branch), dict.fromkeys(_names(branch))
    told = [name + _value(properties.get(name)) for name in required]
    told += [f"[{name}]" for name in properties if name not in required]
    return ", ".join(told) or "none"


def _value(schema: Any) -> str:
    match schema:
        case {"const": value} | {"enum": [value]}:
            return f" = {codec.encode_text(value)[:100]}"
    return ""


def _is_object(schema: Json) -> bool:
    kind = schema.get("type")
    return kind in (None, "object") or (isinstance(kind, list) and "object" in kind)


def _properties(schema: Json) -> Json:
    properties = schema.get("properties")
    return properties if isinstance(properties, dict) else {}


def _names(schema: Json) -> list[str]:
    names: Iterable[Any] = required if isinstance(required := schema.get("required"), list) else ()
    return [name for name in names if isinstance(name, str)]
