"""JSON Schema, walked and rewritten: what providers need to know of a schema, and how it becomes what they take.

https://json-schema.org/draft/2020-12. A schema is the client's, so what rewrites it is bounded in depth and size, and
references are only followed inside the document. Rules are applied to schemas only: a property that happens to be
called "title" or "const" is not a keyword.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final
from urllib.parse import unquote

from . import wire
from .contract import Json
from .errors import BadRequest

MAX_DEPTH: Final = 64  # schemas inside schemas
MAX_NODES: Final = 10_000  # schemas in all, once references are inlined

# Keywords whose value is a schema, a list of schemas, or schemas by name (JSON Schema 2020-12 and its drafts).
ONE = ("items", "additionalProperties", "not", "contains", "propertyNames", "if", "then", "else", "additionalItems",
       "unevaluatedItems", "unevaluatedProperties")  # fmt: skip
LIST = ("anyOf", "oneOf", "allOf", "prefixItems", "items")
DEFS = ("$defs", "definitions")
NAMED = ("properties", "patternProperties", "dependentSchemas", "dependencies", *DEFS)


_HOLDERS: Final = frozenset((*ONE, *LIST, *NAMED))


def children(schema: Json) -> Iterator[Json]:
    """The schemas directly inside this one."""
    if _HOLDERS.isdisjoint(schema):
        return
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
    for key in unquote(ref[1:]).split("/")[1:]:
        key = key.replace("~1", "/").replace("~0", "~")
        if isinstance(at, list):
            at = at[int(key)] if key.isdecimal() and len(key) < 9 and int(key) < len(at) else None
        else:
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


def rewritten(schema: Json, rule: Callable[[Json], Json], param: str, depth: int = 0) -> Json:
    """A copy of a schema in which every subschema is what `rule` makes of it, innermost first.

    rule gets a fresh dict that it may change. param: the request field, for the error. Raises BadRequest when the
    schema is nested too deeply.
    """
    if depth > MAX_DEPTH:
        raise too_large(param)
    return rule(_mapped(schema, lambda inner, _: rewritten(inner, rule, param, depth + 1)))


def _mapped(schema: Json, change: Callable[[Json, str | None], Json]) -> Json:
    """A copy of a schema with the schemas directly inside it changed; `change` also gets a property's name."""
    out: Json = {}
    for keyword, value in schema.items():
        match value:
            case dict() if keyword in ONE:
                value = change(value, None)
            case list() if keyword in LIST:
                value = [change(item, None) if isinstance(item, dict) else item for item in value]
            case dict() if keyword in NAMED:
                value = {name: change(item, name) if isinstance(item, dict) else item for name, item in value.items()}
        out[keyword] = value
    return out


def inline(schema: Json, param: str) -> Json:
    """A copy of a schema with every `$ref` replaced by what it points to.

    Where that leads back into itself the `$ref` stays, alone in its schema, and its target is kept under `$defs`.
    Raises BadRequest for a reference to nowhere or out of the document, for a cycle that no optional property breaks
    (a value of it could never end; upstreams refuse it), and for schemas too deep or too large.
    """
    return _Inliner(schema, param).whole()


class _Inliner:
    def __init__(self, root: Json, param: str) -> None:
        self.root, self.param = root, param
        self.kept: dict[str, str] = {}  # reference that stays → its name under $defs
        self.nodes = 0

    def whole(self) -> Json:
        schema = self.expand(self.root, {"#": 0}, 0, 0)
        defs: Json = {}
        while todo := [ref for ref, name in self.kept.items() if name not in defs]:
            for ref in todo:
                defs[self.kept[ref]] = self.expand(self.target(ref), {ref: 0}, 0, 0)
        return {**schema, "$defs": defs} if defs else schema

    def expand(self, node: Json, inside: dict[str, int], optional: int, depth: int) -> Json:
        """node, inlined. inside: the references it stands in, with how many optional properties led to each."""
        self.nodes += 1
        if depth > MAX_DEPTH or self.nodes > MAX_NODES:
            raise too_large(self.param)
        if isinstance(ref := node.get("$ref"), str):
            return self.follow(ref, node, inside, optional, depth)
        required = names if isinstance(names := node.get("required"), list) else ()

        def inner(child: Json, name: str | None) -> Json:
            return self.expand(child, inside, optional + (name is not None and name not in required), depth + 1)

        return _mapped({keyword: value for keyword, value in node.items() if keyword not in DEFS}, inner)

    def follow(self, ref: str, node: Json, inside: dict[str, int], optional: int, depth: int) -> Json:
        if ref in inside:
            if inside[ref] == optional:
                raise BadRequest(
                    f"The schema contains itself through required properties only ({ref}): make one of them optional.",
                    param=self.param,
                    code="invalid_schema",
                )
            name = "root" if ref == "#" else ref.rpartition("/")[2]
            while name in self.kept.values() and self.kept.get(ref) != name:
                name += "_"
            self.kept[ref] = name
            return {"$ref": f"#/$defs/{name}"}
        beside = {keyword: value for keyword, value in node.items() if keyword != "$ref"}
        return self.expand({**self.target(ref), **beside}, {**inside, ref: optional}, optional, depth + 1)

    def target(self, ref: str) -> Json:
        node = resolve(self.root, ref)
        if node is None:
            raise BadRequest(
                f"The schema refers to {ref[:100]!r}, which it does not hold.", param=self.param, code="invalid_schema"
            )
        return node


def described(node: Json, keywords: Iterable[str]) -> Json:
    """Move keywords that an upstream does not know into the schema's description, where the model reads them."""
    notes = []
    for keyword in keywords:
        if keyword in node:
            value = node.pop(keyword)
            notes.append(f"{keyword}: {value if isinstance(value, str) else wire.text(value)}")
    if notes:
        said = node.get("description")
        node["description"] = f"{said} ({', '.join(notes)})" if said else ", ".join(notes)
    return node


def any_of(node: Json) -> Json:
    """Say oneOf as anyOf: no upstream tells them apart."""
    if isinstance(choices := node.pop("oneOf", None), list):
        have = node.get("anyOf")
        node["anyOf"] = [*have, *choices] if isinstance(have, list) else choices
    return node


def all_of(node: Json) -> Json:
    """Merge the branches of allOf into the schema that holds them; the schema's own keywords win."""
    if not isinstance(branches := node.pop("allOf", None), list):
        return node
    for branch in branches:
        if not isinstance(branch, dict):
            continue
        for keyword, value in branch.items():
            match keyword, node.get(keyword), value:
                case "properties", dict(have), dict():
                    node[keyword] = {**value, **have}
                case "required", list(have), list():
                    node[keyword] = [*have, *(name for name in value if name not in have)]
                case _:
                    node.setdefault(keyword, value)
    return node


def too_large(param: str) -> BadRequest:
    """The error for a schema with too many levels or parts."""
    return BadRequest(
        f"The schema is too large: at most {MAX_DEPTH} levels and {MAX_NODES} parts, references counted as what they"
        " stand for.",
        param=param,
        code="invalid_schema",
    )
