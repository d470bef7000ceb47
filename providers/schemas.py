"""JSON Schema, walked: what providers need to know of a schema before they may send it."""

from collections.abc import Iterator
from typing import Any

from .contract import Json

# Keywords whose value is a schema, a list of schemas, or schemas by name (JSON Schema 2020-12 and its drafts).
ONE = ("items", "additionalProperties", "not", "contains", "propertyNames", "if", "then", "else")
LIST = ("anyOf", "oneOf", "allOf", "prefixItems")
NAMED = ("properties", "$defs", "definitions", "patternProperties")


def children(schema: Json) -> Iterator[Json]:
    """The schemas directly inside this one."""
    for keyword in ONE:
        if isinstance(value := schema.get(keyword), dict):
            yield value
    for keyword in LIST:
        if isinstance(value := schema.get(keyword), list):
            yield from (item for item in value if isinstance(item, dict))
    for keyword in NAMED:
        if isinstance(value := schema.get(keyword), dict):
            yield from (item for item in value.values() if isinstance(item, dict))


def walk(schema: Json) -> Iterator[Json]:
    """This schema and every one inside it, references not followed. Never recursive: depth is the client's choice."""
    todo = [schema]
    while todo:
        yield (one := todo.pop())
        todo.extend(children(one))


def resolve(root: Json, ref: str) -> Json | None:
    """The schema a local reference (`#/$defs/Node`) names, or None."""
    at: Any = root
    if not ref.startswith("#"):
        return None
    for key in ref[1:].split("/")[1:]:
        key = key.replace("~1", "/").replace("~0", "~")
        at = at.get(key) if isinstance(at, dict) else None
    return at if isinstance(at, dict) else None


def refs(schema: Json) -> set[str]:
    """Every reference made anywhere inside a schema."""
    return {ref for one in walk(schema) if isinstance(ref := one.get("$ref"), str)}


def recursive(root: Json) -> bool:
    """Whether a reference leads, directly or through others, to a schema that holds it."""
    holds = {ref: refs(target) for ref in refs(root) if (target := resolve(root, ref)) is not None}
    if "#" in holds:
        return True
    # What cannot be peeled off from the ends, name by name, is a circle.
    while ends := [ref for ref, inner in holds.items() if not inner & holds.keys()]:
        for ref in ends:
            del holds[ref]
    return bool(holds)
