"""An instance of a JSON schema: what echo fills tool arguments and structured answers with. Deterministic, bounded."""

from collections.abc import Callable
from typing import Any, Final

from .contract import Json

_DEPTH: Final = 12  # a recursive schema ends here
_FORMATS: Final = {
    "date-time": "2026-01-01T00:00:00Z",
    "date": "2026-01-01",
    "time": "00:00:00Z",
    "duration": "PT1M",
    "email": "echo@example.com",
    "hostname": "example.com",
    "uri": "https://example.com/",
    "uri-reference": "/",
    "ipv4": "192.0.2.1",
    "ipv6": "2001:db8::1",
    "uuid": "00000000-0000-4000-8000-000000000000",
}


def instance(schema: Any, root: Json | None = None, depth: int = 0) -> Any:
    """The smallest instance of `schema` that shows its shape: every property, one item per list, the first alternative.

    root: the whole schema, for `$ref`. Beyond a depth of 12 only what is required is filled in.
    """
    if not isinstance(schema, dict):
        return "echo" if schema is True else None
    root = schema if root is None else root
    for key in ("const", "default"):
        if key in schema:
            return schema[key]
    if schema.get("enum"):
        return schema["enum"][0]
    if isinstance(ref := schema.get("$ref"), str):
        return instance(_find(ref, root), root, depth + 1) if depth < 3 * _DEPTH else None
    if isinstance(all_of := schema.get("allOf"), list):
        return instance(_joined(schema, all_of, root), root, depth + 1)
    for key in ("anyOf", "oneOf"):
        if schema.get(key):
            options = schema[key]
            end = next((each for each in options if isinstance(each, dict) and each.get("type") == "null"), options[0])
            rest = {k: v for k, v in schema.items() if k not in ("anyOf", "oneOf")}
            chosen = end if depth >= _DEPTH else options[0]
            return instance({**rest, **chosen} if isinstance(chosen, dict) else chosen, root, depth + 1)
    return _MAKERS.get(_type(schema), _object)(schema, root, depth)


def _type(schema: Json) -> str:
    kind = schema.get("type")
    if isinstance(kind, list):
        kind = next((each for each in kind if each != "null"), "null")
    if kind is None:
        kind = "object" if "properties" in schema else "array" if "items" in schema else "string"
    return str(kind)


def _find(ref: str, root: Json) -> Any:
    """The schema a local reference (`#`, `#/$defs/x`) points to; an unknown one allows everything."""
    found: Any = root
    for name in ref.removeprefix("#").split("/")[1:]:
        name = name.replace("~1", "/").replace("~0", "~")
        found = found.get(name, True) if isinstance(found, dict) else True
    return found


def _joined(schema: Json, parts: list[Any], root: Json) -> Json:
    joined: Json = {key: value for key, value in schema.items() if key != "allOf"}
    for part in parts:
        part = _find(part["$ref"], root) if isinstance(part, dict) and "$ref" in part else part
        if isinstance(part, dict):
            properties = {**joined.get("properties", {}), **part.get("properties", {})}
            required = [*joined.get("required", ()), *part.get("required", ())]
            joined |= part
            if properties:
                joined |= {"properties": properties, "required": required}
    return joined


def _object(schema: Json, root: Json, depth: int) -> Json:
    properties = schema.get("properties") or {}
    required = set(schema.get("required") or ())
    wanted = properties if depth < _DEPTH else {name: properties[name] for name in properties if name in required}
    value = {name: instance(each, root, depth + 1) for name, each in wanted.items()}
    value |= dict.fromkeys(sorted(required - value.keys()), "echo")
    return value


def _array(schema: Json, root: Json, depth: int) -> list[Any]:
    prefix = [instance(each, root, depth + 1) for each in schema.get("prefixItems") or ()]
    least, most = schema.get("minItems", 0), schema.get("maxItems")
    count = max(least, 1 if depth < _DEPTH and not prefix else 0)
    count = count if most is None else min(count, most)
    items = schema.get("items", True)
    return prefix + [instance(items, root, depth + 1) for _ in range(count - len(prefix))]


def _number(schema: Json, root: Json, depth: int) -> float:
    step = schema.get("multipleOf") or (1 if _type(schema) == "integer" else 0)
    low = schema.get("minimum")
    if (above := schema.get("exclusiveMinimum")) is not None:
        low = above + (step or 0.5)
    high = schema.get("maximum")
    if (below := schema.get("exclusiveMaximum")) is not None:
        high = below - (step or 0.5)
    value: float = low if low is not None else 1 if high is None else min(1, high)
    if step:
        value = -(-value // step) * step  # the next multiple
    return int(value) if _type(schema) == "integer" else value


def _string(schema: Json, root: Json, depth: int) -> str:
    text = _FORMATS.get(str(schema.get("format")), "echo")
    most = schema.get("maxLength")
    return text.ljust(schema.get("minLength", 0), "o")[: most if most is not None else None]


_MAKERS: Final[dict[str, Callable[[Json, Json, int], Any]]] = {
    "object": _object,
    "array": _array,
    "string": _string,
    "number": _number,
    "integer": _number,
    "boolean": lambda schema, root, depth: True,
    "null": lambda schema, root, depth: None,
}
