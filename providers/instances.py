"""An instance of a JSON schema: what echo fills tool arguments and structured answers with. Deterministic, bounded."""

from collections.abc import Callable
from typing import Any, Final

from .contract import Json
from .errors import BadRequest

_DEPTH: Final = 12  # a recursive schema ends here
_SIZE: Final = 20_000  # values and characters of an instance
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


class _Work:
    """The whole schema, for `$ref`, and how many values and characters may still be made of it."""

    __slots__ = ("left", "root")

    def __init__(self, root: Any) -> None:
        self.root, self.left = root, _SIZE

    def spend(self, count: int) -> None:
        self.left -= count
        if self.left < 0:
            raise ValueError(f"it asks for more than {_SIZE} values and characters")

    def shallow(self, depth: int) -> bool:
        """Whether only what is required is still filled in."""
        return depth >= _DEPTH or self.left < _SIZE // 2


def instance(schema: Any, param: str) -> Any:
    """The smallest instance of `schema` that shows its shape: every property, one item per list, the first alternative.

    Beyond a depth of 12, or 10 000 values, only what is required is filled in. param: the request field that holds the
    schema. Raises BadRequest for what is not a JSON schema, or asks for too much.
    """
    try:
        return _instance(schema, _Work(schema), 0)
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        raise BadRequest(
            f"Invalid value for '{param}': echo cannot make an instance of this JSON schema: {error}."[:300],
            param=param,
            code="invalid_value",
        ) from error


def _instance(schema: Any, work: _Work, depth: int) -> Any:
    work.spend(1)
    if not isinstance(schema, dict):
        return "echo" if schema is True else None
    for key in ("const", "default"):
        if key in schema:
            return schema[key]
    if schema.get("enum"):
        return schema["enum"][0]
    if depth > 3 * _DEPTH:
        return None
    if isinstance(ref := schema.get("$ref"), str):
        return _instance(_find(ref, work.root), work, depth + 1)
    if isinstance(all_of := schema.get("allOf"), list):
        return _instance(_joined(schema, all_of, work.root), work, depth + 1)
    for key in ("anyOf", "oneOf"):
        if schema.get(key):
            options = schema[key]
            end = next((each for each in options if isinstance(each, dict) and each.get("type") == "null"), options[0])
            rest = {k: v for k, v in schema.items() if k not in ("anyOf", "oneOf")}
            chosen = end if work.shallow(depth) else options[0]
            return _instance(_joined(rest, [chosen], work.root) if rest else chosen, work, depth + 1)
    return _MAKERS.get(_type(schema), _object)(schema, work, depth)


def _type(schema: Json) -> str:
    kind = schema.get("type")
    if isinstance(kind, list):
        kind = next((each for each in kind if each != "null"), "null")
    if kind is None:
        kind = "object" if "properties" in schema else "array" if "items" in schema else "string"
    return str(kind)


def _find(ref: str, root: Any) -> Any:
    """The schema a local reference (`#`, `#/$defs/x`) points to; an unknown one allows everything."""
    found: Any = root
    for name in ref.removeprefix("#").split("/")[1:]:
        name = name.replace("~1", "/").replace("~0", "~")
        match found:
            case dict():
                found = found.get(name, True)
            case list() if name.isdecimal() and int(name) < len(found):
                found = found[int(name)]
            case _:
                return True
    return found


def _joined(schema: Json, parts: list[Any], root: Any) -> Json:
    joined: Json = {key: value for key, value in schema.items() if key != "allOf"}
    for part in parts:
        part = _find(part["$ref"], root) if isinstance(part, dict) and "$ref" in part else part
        if isinstance(part, dict):
            properties = {**joined.get("properties", {}), **part.get("properties", {})}
            required = [*joined.get("required", ()), *part.get("required", ())]
            joined |= part
            if properties:
                joined["properties"] = properties
            if required:
                joined["required"] = required
    return joined


def _object(schema: Json, work: _Work, depth: int) -> Json:
    properties = schema.get("properties") or {}
    required = {name for name in schema.get("required") or () if isinstance(name, str)}
    wanted = {name: properties[name] for name in properties if name in required or not work.shallow(depth)}
    value = {name: _instance(each, work, depth + 1) for name, each in wanted.items()}
    others = schema.get("additionalProperties") or True
    return value | {name: _instance(others, work, depth + 1) for name in sorted(required - value.keys())}


def _array(schema: Json, work: _Work, depth: int) -> list[Any]:
    prefix, items = schema.get("prefixItems") or [], schema.get("items", True)
    count = max(schema.get("minItems", 0), len(prefix) or (0 if work.shallow(depth) else 1))
    if items is False:
        count = len(prefix)
    count = int(min(count, schema.get("maxItems", count)))
    work.spend(count)
    return [_instance(prefix[i] if i < len(prefix) else items, work, depth + 1) for i in range(count)]


def _number(schema: Json, work: _Work, depth: int) -> float:
    whole = _type(schema) == "integer"
    step = schema.get("multipleOf") or (1 if whole else 0)
    lows = [schema[key] for key in ("minimum", "exclusiveMinimum") if key in schema]
    highs = [schema[key] for key in ("maximum", "exclusiveMaximum") if key in schema]
    middle = [(max(lows) + min(highs)) / 2] if lows and highs else []
    # From what is nearest to zero: an integer of zod or int() has the bounds ±(2**53 - 1), and 1 is a better example.
    for start in (*sorted((1, *lows, *highs), key=abs), *middle):
        for near in (start, start + (step or 0.5), start - (step or 0.5)):
            for value in (-(-near // step) * step, near // step * step) if step else (near,):
                if _fits(value, schema, whole):
                    return int(value) if whole else value
    return 1


def _fits(value: float, schema: Json, whole: bool) -> bool:
    return (
        schema.get("minimum", value) <= value <= schema.get("maximum", value)
        and ("exclusiveMinimum" not in schema or value > schema["exclusiveMinimum"])
        and ("exclusiveMaximum" not in schema or value < schema["exclusiveMaximum"])
        and not (whole and value % 1)
    )


def _string(schema: Json, work: _Work, depth: int) -> str:
    text = _FORMATS.get(str(schema.get("format")), "echo")
    least, most = int(schema.get("minLength", 0)), schema.get("maxLength")
    work.spend(least)
    return text.ljust(least, "o")[: int(most) if most is not None else None]


_MAKERS: Final[dict[str, Callable[[Json, _Work, int], Any]]] = {
    "object": _object,
    "array": _array,
    "string": _string,
    "number": _number,
    "integer": _number,
    "boolean": lambda schema, work, depth: True,
    "null": lambda schema, work, depth: None,
}
