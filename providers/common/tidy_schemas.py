"""JSON Schemas without what validators refuse and generators write all the same. Pure; the schema given is never changed.

Nulls for absent keywords, PHP's empty list where it means an empty object, booleans where a schema is expected, arrays that
do not say of what, `required` that names twice or names what is not there. The schema lets the same values through.
"""

from typing import Any, Final

from ..contract import Json
from . import json_schema

VALUES: Final = ("const", "default")  # keywords whose value may be null
_UNIONS: Final = ("anyOf", "oneOf", "allOf")
_LISTS: Final = frozenset({*_UNIONS, "prefixItems"})
_OBJECTS: Final = frozenset({"additionalProperties", "unevaluatedProperties"})  # may be booleans, but no lists
_SCHEMAS: Final = json_schema.ONE - _OBJECTS - {"additionalItems", "unevaluatedItems"}
_NOT_EMPTY: Final = frozenset({"enum", "type", *_LISTS, *_OBJECTS, *_SCHEMAS, *json_schema.NAMED})
_ELSEWHERE: Final = frozenset(
    {*_UNIONS, "$ref", "patternProperties", "if"}
)  # where required properties may be declared
_NEVER: Final[Json] = {"not": {}}  # what no value fits


def tidied(schema: Json, param: str) -> Json:
    """The schema without what validators refuse; the same object where there is nothing to do.

    OpenAI: 400 "In context=('properties', 'a'), array schema missing items", "[] is not of type 'object'", "None is not of
    type 'array'", "True is not of type 'object'"; Claude: 400 "JSON schema is invalid"; Gemini: 400 "items: missing field",
    "property is not defined". param: the request field, for errors. Raises BadRequest where it is nested too deeply.
    """
    if not any(map(_is_untidy, json_schema.walk(schema))):
        return schema
    return json_schema.rewrite(schema, _tidy, param)


def _is_untidy(node: Json) -> bool:
    for word, value in node.items():
        kind = type(value)
        if kind is str:
            if word == "type" and value == "array" and "items" not in node:
                return True
            if word == "required":
                return True
        elif kind is list:
            if not value:
                if word in _NOT_EMPTY:
                    return True
            elif word in _LISTS:
                if any(type(one) is not dict for one in value):
                    return True
            elif word == "required":
                if _required(node, value) is not value:
                    return True
            elif word == "type" and (None in value or ("array" in value and "items" not in node)):
                return True
        elif kind is dict:
            if word == "required":
                return True
            if word in json_schema.NAMED and any(_is_untidy_child(word, one) for one in value.values()):
                return True
        elif value is None:
            if word not in VALUES:
                return True
        elif kind is bool and word in _SCHEMAS:
            return True
    return False


def _is_untidy_child(word: str, one: Any) -> bool:
    return type(one) is not dict and (
        one is None or one is True or one is False or (one == [] and word != "dependencies")
    )


def _tidy(node: Json) -> Json:
    """One schema, whose children are tidy already, unless they are no objects."""
    out: Json = {}
    for word, value in node.items():
        if value is None and word not in VALUES:
            continue
        if value == [] and word in _NOT_EMPTY:
            if word in ("properties", "items", *_OBJECTS):
                out[word] = {}
        elif word in _LISTS and isinstance(value, list):
            if listed := [_schema(one) for one in value if one is not None]:
                out[word] = listed
        elif word in json_schema.NAMED and isinstance(value, dict):
            out[word] = {
                name: _schema(one) if _is_untidy_child(word, one) else one
                for name, one in value.items()
                if one is not False or word != "properties"
            }
        elif word in _SCHEMAS and isinstance(value, bool):
            out[word] = _schema(value)
        elif word == "type" and isinstance(value, list):
            out[word] = ["null" if kind is None else kind for kind in value]
        else:
            out[word] = value
    _items(out, node)
    names = out.get("required")
    if isinstance(names, list):
        out["required"] = _required(out, names)
    elif isinstance(names, str):
        out["required"] = _required(out, [names])
    elif isinstance(names, dict):
        del out["required"]
    return out


def _schema(value: Any) -> Any:
    """The schema that a boolean, a null or PHP's empty object stands for."""
    return _NEVER if value is False else {} if value is True or value is None or value == [] else value


def _items(out: Json, node: Json) -> None:
    """Say of what an array is: of anything, where nothing else is said."""
    if node.get("items") is False:  # nothing after prefixItems
        out["items"] = {}
        before = out.get("prefixItems")
        out.setdefault("maxItems", len(before) if isinstance(before, list) else 0)
    kind = out.get("type")
    if kind == "array" or (isinstance(kind, list) and "array" in kind):
        out.setdefault("items", {})


def _required(node: Json, names: list[Any]) -> list[Any]:
    """The names that are required, each once, and only of properties that the schema may hold; the same list if all are."""
    properties = node.get("properties")
    known = properties if isinstance(properties, dict) and _closed(node) else None
    wanted = [name for name in names if isinstance(name, str) and (known is None or name in known)]
    once = list(dict.fromkeys(wanted))
    return names if len(once) == len(names) else once


def _closed(node: Json) -> bool:
    """Whether a property that the schema does not name is one that nobody describes."""
    return node.get("additionalProperties") in (None, False, []) and _ELSEWHERE.isdisjoint(node)
