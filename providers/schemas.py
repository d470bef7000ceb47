"""JSON Schemas of tools and answers, fitted to what an upstream takes. https://json-schema.org/draft/2020-12

A schema is the client's, so it is bounded in depth and size and its references are only followed inside the document.
`inline` resolves them; `walk` then applies one protocol's rule to every schema in the tree, and only there: a property
that happens to be called "title" or "const" is not a keyword.
"""

from collections.abc import Callable, Iterable
from typing import Final
from urllib.parse import unquote

from . import wire
from .contract import Json
from .errors import BadRequest

MAX_DEPTH: Final = 64  # schemas inside schemas
MAX_NODES: Final = 10_000  # schemas in all, once references are inlined

# Where a schema holds other schemas: under the keyword itself, in a list, or by name.
_ONE = frozenset(
    {"items", "additionalItems", "additionalProperties", "contains", "propertyNames", "not", "if", "then", "else"}
)
_MANY = frozenset({"anyOf", "oneOf", "allOf", "prefixItems", "items"})
_NAMED = frozenset({"properties", "patternProperties", "dependentSchemas", "$defs", "definitions"})


def walk(schema: Json, visit: Callable[[Json], Json], param: str, depth: int = 0) -> Json:
    """A copy of a schema in which every subschema is what `visit` makes of it, innermost first.

    visit gets a fresh dict that it may change. param: the request field, for the error. Raises BadRequest when the
    schema is nested too deeply.
    """
    if depth > MAX_DEPTH:
        raise _too_large(param)
    node = dict(schema)
    for keyword, value in schema.items():
        match value:
            case dict() if keyword in _ONE:
                node[keyword] = walk(value, visit, param, depth + 1)
            case list() if keyword in _MANY:
                node[keyword] = [walk(v, visit, param, depth + 1) if isinstance(v, dict) else v for v in value]
            case dict() if keyword in _NAMED:
                node[keyword] = {
                    k: walk(v, visit, param, depth + 1) if isinstance(v, dict) else v for k, v in value.items()
                }
    return visit(node)


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
            raise _too_large(self.param)
        if isinstance(ref := node.get("$ref"), str):
            return self.follow(ref, node, inside, optional, depth)
        required = names if isinstance(names := node.get("required"), list) else ()
        out: Json = {}
        for keyword, value in node.items():
            match value:
                case _ if keyword in ("$defs", "definitions"):
                    continue
                case dict() if keyword in _ONE:
                    out[keyword] = self.expand(value, inside, optional, depth + 1)
                case list() if keyword in _MANY:
                    out[keyword] = [
                        self.expand(v, inside, optional, depth + 1) if isinstance(v, dict) else v for v in value
                    ]
                case dict() if keyword in _NAMED:
                    out[keyword] = {
                        k: self.expand(v, inside, optional + (k not in required), depth + 1)
                        if isinstance(v, dict)
                        else v
                        for k, v in value.items()
                    }
                case _:
                    out[keyword] = value
        return out

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
        node = self.root if ref.startswith("#") else None
        try:
            for step in unquote(ref[1:]).split("/")[1:]:
                step = step.replace("~1", "/").replace("~0", "~")
                node = node[int(step)] if isinstance(node, list) else node[step]  # type: ignore[index]
        except (KeyError, IndexError, ValueError, TypeError):
            node = None
        if not isinstance(node, dict):
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


def _too_large(param: str) -> BadRequest:
    return BadRequest(
        f"The schema is too large: at most {MAX_DEPTH} levels and {MAX_NODES} parts, references counted as what they"
        " stand for.",
        param=param,
        code="invalid_schema",
    )
