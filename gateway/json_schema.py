"""Make a JSON schema of config.yaml from gateway/config_schema.py, for editors.

It refuses nothing that the loader takes: values may be given as quoted texts, and hold ${NAME}, wherever the loader reads
them so. What types cannot say (a provider that a target names, two keys of one name) is for `check`.
"""

import types
from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal, Union, get_args, get_origin

import msgspec

from providers import PROVIDERS
from providers.contract import Json
from providers.hosts import HOSTS

from .config_schema import Config, FieldsOf, ProviderConfig, Section
from .yaml_reader import BOOLS, SIZES, UNITS, field_types

SCHEMA_FILE: Final = "config.schema.json"
_VARIABLE: Final = r"\$\{"  # a text that may become anything
_SCALAR: Final = ["string", "number", "boolean"]  # what YAML makes of a text without quotes; ours stays a text
_NUMBERS: Final = {
    int: r"^\s*[+-]?[0-9_]+\s*$",
    float: r"^\s*[+-]?([0-9._]+([eE][+-]?[0-9]+)?|[iI][nN][fF]([iI][nN][iI][tT][yY])?|[nN][aA][nN])\s*$",
}
_SIZE: Final = rf"^\s*[0-9]+ ?({'|'.join(filter(None, UNITS))})?\s*$"
_BOUNDS: Final = {"ge": "minimum", "gt": "exclusiveMinimum", "le": "maximum", "lt": "exclusiveMaximum"}


def schema() -> Json:
    """Return the schema of the whole file."""
    kinds: dict[str, Json] = {}
    whole = _section(Config, kinds)
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "ModelServer's config.yaml",
        **whole,
        "definitions": dict(sorted(kinds.items())),
    }


def _of(kind: Any, kinds: dict[str, Json]) -> Json:
    """Return the schema of a type. kinds: those of sections, which are added."""
    origin, inside = get_origin(kind), get_args(kind)
    if kind is Any:
        return {}
    if kind in SIZES:
        return _number("integer", inside[1], _SIZE)
    if isinstance(kind, type) and issubclass(kind, Section):
        if kind.__name__ not in kinds:
            kinds[kind.__name__] = {}
            kinds[kind.__name__] = _section(kind, kinds)
        return {"$ref": f"#/definitions/{kind.__name__}"}
    if origin is Annotated and isinstance(inside[1], FieldsOf):
        return _fields_of(inside[1], kinds)
    if origin is Annotated:
        return _scalar(inside[0], inside[1])
    if origin in (dict, Mapping):
        return {"type": ["object", "null"], "additionalProperties": _of(inside[1], kinds)}
    if origin is frozenset:
        return {"type": "array", "items": _of(inside[0], kinds)}
    if origin is tuple:
        length = {} if ... in inside else {"minItems": len(inside), "maxItems": len(inside)}
        return {"type": "array", "items": _of(inside[0], kinds), **length}
    if origin in (Union, types.UnionType):
        return {"anyOf": [_of(each, kinds) for each in inside if each is not type(None)]}
    return _scalar(kind, None)


def _section(kind: type[Section], kinds: dict[str, Json]) -> Json:
    fields = msgspec.structs.fields(kind)
    made: Json = {"type": ["object", "null"], "additionalProperties": False, "properties": {}}
    if text := (kind.__doc__ or "").strip():
        made["description"] = " ".join(text.split())
    for field in fields:
        found = _of(field.type, kinds)
        if isinstance(field.default, (str, int, float)) and "$ref" not in found:
            found = {**found, "default": field.default}
        made["properties"][field.name] = found
    if required := [field.name for field in fields if field.required]:
        made |= {"type": "object", "required": required}
    if kind is ProviderConfig:  # names that are listed while one types
        for name, known in (("host", HOSTS), ("protocol", PROVIDERS)):
            made["properties"][name] = {"anyOf": [{"enum": list(known)}, _scalar(str, None)]}
    return made


def _fields_of(part: FieldsOf, kinds: dict[str, Json]) -> Json:
    given = {name: kind for name, kind in field_types(part.kind).items() if name not in part.elsewhere}
    properties = {name: _of(kind, kinds) for name, kind in given.items()}
    return {"type": ["object", "null"], "additionalProperties": False, "properties": properties}


def _scalar(kind: Any, bounds: Any) -> Json:
    """Return the schema of a value that the loader reads from its text. bounds: a msgspec.Meta, or None."""
    if get_origin(kind) is Literal:
        words = list(get_args(kind))
        spoken = [{"type": "boolean"}] if {*words} & BOOLS.keys() else []  # YAML may read `no` as false
        return {"anyOf": [{"enum": words}, {"type": "string", "pattern": _VARIABLE}, *spoken]}
    if kind is str:
        return {"type": _SCALAR}
    if kind is bool:
        any_case = "|".join("".join(f"[{letter}{letter.upper()}]" for letter in word) for word in BOOLS)
        return {"anyOf": [{"type": "boolean"}, {"type": "string", "pattern": f"^({any_case})$|{_VARIABLE}"}]}
    return _number("integer" if kind is int else "number", bounds, _NUMBERS[kind])


def _number(name: str, bounds: Any, pattern: str) -> Json:
    """Return the schema of a number, or of a text of this pattern that stands for one."""
    limits = {word: bound for side, word in _BOUNDS.items() if (bound := getattr(bounds, side, None)) is not None}
    return {"anyOf": [{"type": name, **limits}, {"type": "string", "pattern": f"{pattern}|{_VARIABLE}"}]}
