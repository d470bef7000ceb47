"""JSON Schema, walked and rewritten: what providers need to know of a schema, and how it becomes what they take.

https://json-schema.org/draft/2020-12. A schema is the client's, so what rewrites it is bounded in depth and size (Room),
and references are only followed inside the document. A reference is known by the schema it leads to, not by its
spelling: `#/$defs/a` and `#/$defs/%61` are one. Rules are applied to schemas only: a property that happens to be called
"title" or "const" is not a keyword.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final
from urllib.parse import unquote

from .. import codec
from ..contract import Json
from ..errors import BadRequest
from .tools import Distinct

MAX_DEPTH: Final = 64  # schemas inside schemas
MAX_NODES: Final = 20_000  # schemas of a request, once references are inlined
_ADDED: Final = 256 * 2**10  # bytes that references may add to any request
_GROWTH: Final = 3  # … or so many times the bytes of its schemas, where that is more

# Keywords whose value is a schema, a list of schemas, or schemas by name (JSON Schema 2020-12 and its drafts).
ONE = frozenset(
    {"items", "additionalProperties", "not", "contains", "propertyNames", "if", "then", "else", "additionalItems"}
    | {"unevaluatedItems", "unevaluatedProperties"}
)
LIST = frozenset({"anyOf", "oneOf", "allOf", "prefixItems", "items"})
DEFS = ("$defs", "definitions")
NAMED = frozenset({"properties", "patternProperties", "dependentSchemas", "dependencies", *DEFS})
_HOLDERS: Final = ONE | LIST | NAMED


def children(schema: Json) -> list[Json]:
    """The schemas directly inside this one."""
    found: list[Json] = []
    for keyword, value in schema.items():
        if keyword in _HOLDERS:
            match value:
                case dict() if keyword in ONE:
                    found.append(value)
                case dict() if keyword in NAMED:
                    found += [item for item in value.values() if type(item) is dict]
                case list() if keyword in LIST:
                    found += [item for item in value if type(item) is dict]
    return found


def walk(schema: Json) -> Iterator[Json]:
    """This schema and every one inside it, references not followed. Never recursive: depth is the client's choice."""
    todo = [schema]
    while todo:
        yield (one := todo.pop())
        todo += children(one)


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
    """Whether a reference leads, directly or through others, to a schema that holds it. Visits each schema once."""
    inside: set[int] = set()  # ids of the schemas that the one at hand stands in, or is referred to by
    done: set[int] = set()
    todo: list[tuple[Json, bool]] = [(root, False)]
    while todo:
        node, leaving = todo.pop()
        if leaving:
            inside.remove(id(node))
            done.add(id(node))
        elif id(node) in inside:
            return True
        elif id(node) not in done:
            inside.add(id(node))
            todo.append((node, True))
            todo += [(child, False) for child in children(node)]
            if isinstance(ref := node.get("$ref"), str) and (target := resolve(root, ref)) is not None:
                todo.append((target, False))
    return False


def rewrite(schema: Json, rule: Callable[[Json], Json], param: str, depth: int = 0) -> Json:
    """A copy of a schema in which every subschema is what `rule` makes of it, innermost first.

    rule gets a fresh dict that it may change. param: the request field, for the error. Raises BadRequest when the
    schema is nested too deeply.
    """
    if depth > MAX_DEPTH:
        raise too_large(param)
    if not schema:
        return rule({})
    return rule(_mapped(schema, lambda inner, _: rewrite(inner, rule, param, depth + 1)))


def _mapped(schema: Json, change: Callable[[Json, str | None], Json]) -> Json:
    """A copy of a schema with the schemas directly inside it changed; `change` also gets a property's name."""
    out: Json = {}
    for keyword, value in schema.items():
        if keyword in _HOLDERS:
            match value:
                case dict() if keyword in ONE:
                    value = change(value, None)
                case list() if keyword in LIST:
                    value = [change(item, None) if type(item) is dict else item for item in value]
                case dict() if keyword in NAMED:
                    value = {name: change(item, name) if type(item) is dict else item for name, item in value.items()}
        out[keyword] = value
    return out


class Room:
    """What the schemas of one request may still grow to, references counted as what they stand for.

    schemas: what the client sent, of which the size allowed depends. added: bytes that references may add to any.
    """

    def __init__(self, *schemas: Any, added: int = _ADDED) -> None:
        self._schemas = schemas
        self._nodes = MAX_NODES
        self._least = self._added = added
        self._measured = False

    def node(self, param: str) -> None:
        """Count one schema. Raises BadRequest when there are too many; param: the request field, for the error."""
        self._nodes -= 1
        if self._nodes < 0:
            raise too_large(param)

    def add(self, size: int, param: str) -> None:
        """Count the bytes of what a reference is replaced by. Raises BadRequest when there are too many."""
        self._added -= size
        if self._added < 0 and not self._measured:
            self._measured = True
            self._added += max(0, _GROWTH * sum(len(codec.encode(schema)) for schema in self._schemas) - self._least)
        if self._added < 0:
            raise too_large(param)


def inline(schema: Json, param: str, room: Room, rule: Callable[[Json], Json] = lambda node: node) -> Json:
    """A copy of a schema with every `$ref` replaced by what it points to, each subschema then changed by `rule`.

    Where that leads back into itself the `$ref` stays, alone in its schema, and its target is kept under `$defs`.
    rule: as for `rewritten`. Raises BadRequest for a reference to nowhere or out of the document, for a cycle that no
    optional property breaks (a value of it could never end; upstreams refuse it), and for schemas too deep or too large.
    """
    return _Inliner(schema, param, room, rule).whole()


class _Inliner:
    def __init__(self, root: Json, param: str, room: Room, rule: Callable[[Json], Json]) -> None:
        self.root, self.param, self.room, self.rule = root, param, room, rule
        self.targets: dict[str, Json] = {}  # reference → the schema it names
        self.sizes: dict[int, int] = {}  # id of such a schema → bytes
        self.kept: dict[int, str] = {}  # id of a schema whose references stay → its name under $defs
        self.waiting: list[Json] = []  # those of them that are not yet under $defs
        self.distinct = Distinct()

    def whole(self) -> Json:
        schema = self.expand(self.root, {id(self.root): 0}, 0, 0)
        defs: Json = {}
        while self.waiting:
            target = self.waiting.pop()
            self.room.add(self.size(target), self.param)
            defs[self.kept[id(target)]] = self.expand(target, {id(target): 0}, 0, 0)
        return {**schema, "$defs": defs} if defs else schema

    def expand(self, node: Json, inside: dict[int, int], optional: int, depth: int) -> Json:
        """node, inlined. inside: the targets it stands in, with how many optional properties led to each."""
        if not node:  # anything: nothing is added
            return node
        self.room.node(self.param)
        if depth > MAX_DEPTH:
            raise too_large(self.param)
        if isinstance(ref := node.get("$ref"), str):
            return self.follow(ref, node, inside, optional, depth)
        names = node.get("required")
        required = frozenset(name for name in names if isinstance(name, str)) if isinstance(names, list) else ()

        def inner(child: Json, name: str | None) -> Json:
            return self.expand(child, inside, optional + (name is not None and name not in required), depth + 1)

        return self.rule(_mapped({keyword: value for keyword, value in node.items() if keyword not in DEFS}, inner))

    def follow(self, ref: str, node: Json, inside: dict[int, int], optional: int, depth: int) -> Json:
        target = self.target(ref)
        at = id(target)
        if at in inside:
            if inside[at] == optional:
                raise BadRequest(
                    f"The schema contains itself through required properties only ({ref[:100]}): make one of them "
                    "optional.",
                    param=self.param,
                    code="invalid_schema",
                )
            if at not in self.kept:
                self.kept[at] = self.distinct("root" if target is self.root else ref.rpartition("/")[2])
                self.waiting.append(target)
            self.room.add(len(self.kept[at]), self.param)
            return {"$ref": f"#/$defs/{self.kept[at]}"}
        self.room.add(self.size(target), self.param)
        beside = {keyword: value for keyword, value in node.items() if keyword != "$ref"}
        return self.expand({**target, **beside}, {**inside, at: optional}, optional, depth + 1)

    def target(self, ref: str) -> Json:
        node = self.targets.get(ref)
        if node is None and (node := resolve(self.root, ref)) is None:
            raise BadRequest(
                f"The schema refers to {ref[:100]!r}, which it does not hold.", param=self.param, code="invalid_schema"
            )
        self.targets[ref] = node
        return node

    def size(self, target: Json) -> int:
        size = self.sizes.get(id(target))
        if size is None:
            size = self.sizes[id(target)] = len(codec.encode(target))
        return size


def move_to_description(node: Json, keywords: Iterable[str]) -> Json:
    """Move keywords that an upstream does not know into the schema's description, where the model reads them."""
    notes = []
    for keyword in keywords:
        if keyword in node:
            value = node.pop(keyword)
            notes.append(f"{keyword}: {value if isinstance(value, str) else codec.encode_text(value)}")
    if notes:
        said = node.get("description")
        node["description"] = f"{said} ({', '.join(notes)})" if said else ", ".join(notes)
    return node


def one_of_to_any_of(node: Json) -> Json:
    """Say oneOf as anyOf: no upstream tells them apart."""
    if isinstance(choices := node.pop("oneOf", None), list):
        have = node.get("anyOf")
        node["anyOf"] = [*have, *choices] if isinstance(have, list) else choices
    return node


def merge_all_of(node: Json) -> Json:
    """Merge the branches of allOf into the schema that holds them; the schema's own keywords win.

    Changes the `properties` of the schema and its branches, which must be fresh, as `inline` makes them.
    """
    if not isinstance(branches := node.pop("allOf", None), list):
        return node
    required: dict[str, None] = {}
    for branch in branches:
        if not isinstance(branch, dict):
            continue
        for keyword, value in branch.items():
            match keyword, node.get(keyword), value:
                case "properties", dict(have), dict():
                    for name, each in value.items():
                        have.setdefault(name, each)
                case "required", list(), list():
                    required |= dict.fromkeys(_texts(value))
                case _:
                    node.setdefault(keyword, value)
    if required:
        node["required"] = list(dict.fromkeys(_texts(node["required"])) | required)
    return node


def _texts(values: list[Any]) -> Iterator[str]:
    return (value for value in values if isinstance(value, str))


def too_large(param: str) -> BadRequest:
    """The error for schemas with too many levels, parts or bytes."""
    return BadRequest(
        f"The schemas of this request are too large: they may have {MAX_DEPTH} levels and {MAX_NODES} parts, and their "
        f"references may add {_ADDED // 2**10} KiB, or {_GROWTH} times what was sent. Refer less often to large parts, or "
        "shorten them.",
        param=param,
        code="invalid_schema",
    )
