"""Schemas of older drafts in the words of JSON Schema 2020-12. https://json-schema.org/draft/2020-12/release-notes, and those of
2019-09, 7 and 6.

Clients take their schemas from MCP servers, OpenAPI 3.0 and code generators, which write any draft. The schema given is never
changed.
"""

import re
from typing import Final

from ..contract import Json
from . import json_schema

_MAYBE_OLD: Final = frozenset(
    {"$schema", "$id", "id", "additionalItems", "dependencies", "divisibleBy", "items", "properties", "required"}
    | {"exclusiveMinimum", "exclusiveMaximum"}
)
_OLD: Final = frozenset({"$schema", "id", "additionalItems", "dependencies", "divisibleBy"})
_BOUNDS: Final = (("minimum", "exclusiveMinimum"), ("maximum", "exclusiveMaximum"))
_ANCHOR: Final = re.compile(r"[A-Za-z_][A-Za-z0-9._-]*")


def modern(schema: Json, param: str) -> Json:
    """The schema in the words of draft 2020-12, without $schema; the same object where it holds nothing older.

    The schema is tidy (tidy_schemas.py). param: the request field, for errors. Raises BadRequest for
    a schema that needs rewriting and is nested too deeply.
    """
    if not any(map(_is_old, json_schema.walk(schema))):
        return schema
    whole = json_schema.rewrite(schema, _modern, param)
    if isinstance(whole.get("required"), bool):
        del whole["required"]
    return whole


def _is_old(node: Json) -> bool:
    if _MAYBE_OLD.isdisjoint(node):  # nearly all: keep it cheap
        return False
    return (
        not _OLD.isdisjoint(node)
        or type(node.get("items")) is list
        or type(node.get("required")) is bool
        or type(node.get("exclusiveMinimum")) is bool
        or type(node.get("exclusiveMaximum")) is bool
        or (type(name := node.get("$id")) is str and not name.endswith("#") and "#" in name)
    )


def _modern(node: Json) -> Json:
    """One schema, whose children are modern already, but for a `required` of draft 3, which belongs to their parent."""
    node.pop("$schema", None)
    _name(node)
    for bound, exclusive in _BOUNDS:
        if isinstance(is_exclusive := node.get(exclusive), bool):
            del node[exclusive]
            if is_exclusive and bound in node:
                node[exclusive] = node.pop(bound)
    rest = node.pop("additionalItems", None)
    if isinstance(node.get("items"), list):
        node["prefixItems"] = node.pop("items")
        if rest is not None:
            node["items"] = rest
    if "divisibleBy" in node:
        node.setdefault("multipleOf", node.pop("divisibleBy"))
    _dependencies(node)
    _required(node)
    return node


def _name(node: Json) -> None:
    """`id` (draft 4) and an $id that is a fragment (draft 6, 7): $anchor. An id that no reference can mean is left out."""
    for word in ("id", "$id"):
        if isinstance(name := node.get(word), str):
            base, _, fragment = name.partition("#")
            if word == "id" or fragment:
                del node[word]
                if word == "$id" and base:
                    node[word] = base
                elif not base and _ANCHOR.fullmatch(fragment):
                    node.setdefault("$anchor", fragment)


def _dependencies(node: Json) -> None:
    if not isinstance(dependencies := node.pop("dependencies", None), dict):
        return
    lists = {n: [v] if isinstance(v, str) else v for n, v in dependencies.items() if isinstance(v, str | list)}
    others = {name: value for name, value in dependencies.items() if isinstance(value, dict | bool)}
    for word, found in ("dependentRequired", lists), ("dependentSchemas", others):
        if found:
            have = node.get(word)
            node[word] = {**found, **(have if isinstance(have, dict) else {})}


def _required(node: Json) -> None:
    """`required: true` inside a property (draft 3) → the property's name in the list of the object that holds it."""
    if isinstance(properties := node.get("properties"), dict):
        wanted = [name for name, one in properties.items() if isinstance(one, dict) and one.get("required") is True]
        if wanted:
            have = names if isinstance(names := node.get("required"), list) else []
            known = {name for name in have if isinstance(name, str)}
            node["required"] = [*have, *(name for name in wanted if name not in known)]
    for child in json_schema.children(node):
        if isinstance(child.get("required"), bool):
            del child["required"]
