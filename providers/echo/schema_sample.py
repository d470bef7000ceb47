"""An instance of a JSON schema: what echo fills tool arguments and structured answers with. Deterministic, bounded.

Bounded in the values that are made, and in bytes: those of what the instance holds, and one for each entry of a schema
that is looked at, each time it is. A large schema may have a large instance.
"""

from collections.abc import Callable
from typing import Any, Final

from .. import codec
from ..common.json_schema import resolve
from ..contract import Json
from ..errors import BadRequest

_DEPTH: Final = 12  # a recursive schema ends here
_VALUES: Final = 2000  # of an instance, and one more for each 16 bytes of its schema
_BYTES: Final = 2**16  # of an instance, and entries looked at; four more for each byte of its schema
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


class SampleBudget:
    """The whole schema, for `$ref`, and how many values and bytes may still be made of it."""

    __slots__ = ("bytes", "most_bytes", "most_values", "root", "values")

    def __init__(self, root: Any) -> None:
        size = len(codec.encode(root))
        self.root = root
        self.values = self.most_values = _VALUES + size // 16
        self.bytes = self.most_bytes = _BYTES + 4 * size

    def spend(self, bytes: int, values: int = 0) -> None:
        """Count what is about to be made or looked at. Raises ValueError when it is too much."""
        self.values -= values
        self.bytes -= bytes
        if self.values < 0 or self.bytes < 0:
            raise ValueError(f"it asks for more than {self.most_values} values or {self.most_bytes} bytes")

    def given(self, value: Any) -> Any:
        """Return a value that the schema holds; counts its bytes."""
        self.spend(len(codec.encode(value)))
        return value

    def shallow(self, depth: int) -> bool:
        """Whether only what is required is still filled in."""
        return depth >= _DEPTH or self.values < self.most_values // 2 or self.bytes < self.most_bytes // 2


def sample(schema: Any, param: str) -> Any:
    """The smallest instance of `schema` that shows its shape: every property, one item per list, the first alternative.

    Beyond a depth of 12, or half of what is allowed, only what is required is filled in. param: the request field that
    holds the schema. Raises BadRequest for what is not a JSON schema, or asks for too much.
    """
    try:
        return _instance(schema, SampleBudget(schema), 0)
    except (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError) as error:
        raise BadRequest(
            f"Invalid value for '{param}': echo cannot make an instance of this JSON schema: {error}."[:300],
            param=param,
            code="invalid_value",
        ) from error


def _instance(schema: Any, work: SampleBudget, depth: int) -> Any:
    work.spend(8, values=1)
    if not isinstance(schema, dict):
        return "echo" if schema is True else None
    work.spend(len(schema))
    for key in ("const", "default"):
        if key in schema:
            return work.given(schema[key])
    if schema.get("enum"):
        return work.given(schema["enum"][0])
    if depth > 3 * _DEPTH:
        return None
    if isinstance(ref := schema.get("$ref"), str):
        return _instance(_find(ref, work), work, depth + 1)
    if isinstance(all_of := schema.get("allOf"), list):
        return _instance(_joined(schema, all_of, work), work, depth + 1)
    for key in ("anyOf", "oneOf"):
        if schema.get(key):
            options = schema[key]
            work.spend(len(options))
            end = next((each for each in options if isinstance(each, dict) and each.get("type") == "null"), options[0])
            rest = {k: v for k, v in schema.items() if k not in ("anyOf", "oneOf")}
            chosen = end if work.shallow(depth) else options[0]
            return _instance(_joined(rest, [chosen], work) if rest else chosen, work, depth + 1)
    return _MAKERS.get(_type(schema), _object)(schema, work, depth)


def _type(schema: Json) -> str:
    kind = schema.get("type")
    if isinstance(kind, list):
        kind = next((each for each in kind if each != "null"), "null")
    if kind is None:
        kind = "object" if "properties" in schema else "array" if "items" in schema else "string"
    return str(kind)


def _find(ref: str, work: SampleBudget) -> Any:
    """The schema a local reference (`#`, `#/$defs/x`) points to; an unknown one allows everything."""
    work.spend(len(ref))
    found = resolve(work.root, ref)
    return True if found is None else found


def _joined(schema: Json, parts: list[Any], work: SampleBudget) -> Json:
    joined: Json = {key: value for key, value in schema.items() if key != "allOf"}
    properties: Json = {}
    required: list[Any] = []
    for part in (joined, *parts):
        part = _find(part["$ref"], work) if isinstance(part, dict) and "$ref" in part else part
        if isinstance(part, dict):
            more, names = part.get("properties", {}), part.get("required", ())
            work.spend(len(part) + len(more) + len(names))
            properties.update(more.items())
            required.extend(names)
            joined |= part
    if properties:
        joined["properties"] = properties
    if required:
        joined["required"] = required
    return joined


def _object(schema: Json, work: SampleBudget, depth: int) -> Json:
    properties = schema.get("properties") or {}
    names = schema.get("required") or ()
    work.spend(len(properties) + len(names))
    required = {name for name in names if isinstance(name, str)}
    shallow = work.shallow(depth)
    wanted = [name for name in properties if not shallow or name in required]
    others = schema.get("additionalProperties") or True
    wanted += sorted(required - properties.keys())
    work.spend(sum(map(len, wanted)))
    return {name: _instance(properties.get(name, others), work, depth + 1) for name in wanted}


def _array(schema: Json, work: SampleBudget, depth: int) -> list[Any]:
    prefix, items = schema.get("prefixItems") or [], schema.get("items", True)
    count = max(schema.get("minItems", 0), len(prefix) or (0 if work.shallow(depth) else 1))
    if items is False:
        count = len(prefix)
    count = int(min(count, schema.get("maxItems", count)))
    work.spend(count, values=count)
    return [_instance(prefix[i] if i < len(prefix) else items, work, depth + 1) for i in range(count)]


def _number(schema: Json, work: SampleBudget, depth: int) -> float:
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


def _string(schema: Json, work: SampleBudget, depth: int) -> str:
    text = _FORMATS.get(str(schema.get("format")), "echo")
    least, most = int(schema.get("minLength", 0)), schema.get("maxLength")
    work.spend(least)
    return text.ljust(least, "o")[: int(most) if most is not None else None]


_MAKERS: Final[dict[str, Callable[[Json, SampleBudget, int], Any]]] = {
    "object": _object,
    "array": _array,
    "string": _string,
    "number": _number,
    "integer": _number,
    "boolean": lambda schema, work, depth: True,
    "null": lambda schema, work, depth: None,
}
