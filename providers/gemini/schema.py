"""JSON Schema as Gemini takes it, for parametersJsonSchema and responseJsonSchema.

Sources: google-genai 3.4.0, GenerateContentConfig.response_json_schema (the keywords; cyclic references only in
optional properties); pydantic-ai GoogleJsonSchemaTransformer (const, title, string formats).
"""

from typing import Any, Final

from .. import codec
from ..common import json_schema
from ..common.tidy_schemas import tidied
from ..contract import Json
from ..errors import BadRequest

KEYWORDS: Final = frozenset(
    {
        *("$defs", "$ref", "type", "format", "description", "enum", "anyOf", "minimum", "maximum"),
        *("items", "prefixItems", "minItems", "maxItems"),
        *("properties", "additionalProperties", "required", "propertyOrdering"),
    }
)
# Rules for the value that Gemini does not enforce but a model can follow.
_NOTED = (
    *("pattern", "minLength", "maxLength", "exclusiveMinimum", "exclusiveMaximum", "multipleOf", "uniqueItems"),
    "default",
)
_HOLDING: Final = ("properties", "anyOf", "$ref")  # keywords by which a cleaned schema lets an object hold something
_FORMATS: Final = {
    "integer": ("int32", "int64"),
    "number": ("float", "double"),
}  # others are refused, or only described
_TYPES: Final[dict[type, str]] = {str: "string", bool: "boolean", int: "integer", float: "number"}


def clean(schema: Json, param: str, room: json_schema.Room) -> Json:
    """A JSON Schema → the part of it that Gemini takes; what it does not know goes into descriptions or away.

    param: the request field, for errors. room: of all schemas of the request. Raises BadRequest as schemas.inline does.
    """
    return json_schema.rewrite(
        json_schema.inline(tidied(schema, param), param, room, json_schema.merge_all_of), _fit, param
    )


def parameters(schema: Json, param: str, room: json_schema.Room) -> Json | None:
    """A tool's parameters → parametersJsonSchema, or None where they allow nothing: that is declared by leaving it out.

    Of all ways to allow properties without a name of their own, Gemini knows additionalProperties. Raises as clean does.
    """
    whole = dict(tidied(schema, param))
    patterns, rest = whole.pop("patternProperties", None), whole.pop("unevaluatedProperties", None)
    patterns = patterns if isinstance(patterns, dict) else {}
    found = [one for one in (*patterns.values(), rest) if isinstance(one, dict) or one is True]
    if found and whole.get("additionalProperties") in (None, False):
        if patterns:
            whole["names match"] = " or ".join(patterns)
            json_schema.move_to_description(whole, ["names match"])
        whole["additionalProperties"] = True if True in found else found[0] if len(found) == 1 else {"anyOf": found}
    cleaned = clean(whole, param, room)
    kind = cleaned.get("type", "object")
    if kind != "object" and not (isinstance(kind, list) and "object" in kind):
        raise BadRequest("Parameters must be a schema of type object.", param=f"{param}.type")
    holds = cleaned.get("additionalProperties", False) is not False or not cleaned.keys().isdisjoint(_HOLDING)
    return {**cleaned, "type": "object"} if holds else None


def _fit(node: Json) -> Json:
    if not node:
        return node
    node = json_schema.one_of_to_any_of(node)
    if "$ref" in node:
        return {"$ref": node["$ref"]}
    if "const" in node:
        node["enum"] = [node.pop("const")]
    if isinstance(node.get("items"), list):
        node["prefixItems"] = node.pop("items")
    if not isinstance(node.get("items"), dict):
        node.pop("items", None)
        if "array" in (kind if isinstance(kind := node.get("type"), list) else [kind]):
            node["items"] = {}
    if node.get("default", 0) is None:
        del node["default"]
    json_schema.move_to_description(
        node, _NOTED if node.get("format") in _FORMATS.get(str(node.get("type")), ()) else ("format", *_NOTED)
    )
    _type(node)
    _properties(node)
    node = _enum(node)
    return {keyword: value for keyword, value in node.items() if keyword in KEYWORDS}


def _type(node: Json) -> None:
    """Name the type where the other keywords give it away; `nullable` is OpenAPI's word for a type list with null."""
    if "type" not in node:
        values = node.get("enum")
        kinds = {_TYPES.get(type(value)) for value in values} if isinstance(values, list) else set()
        if len(kinds) == 1 and (kind := kinds.pop()):
            node["type"] = kind
        elif node.get("properties"):
            node["type"] = "object"
    if node.pop("nullable", False) and isinstance(kind := node.get("type"), str) and kind != "null":
        node["type"] = [kind, "null"]


def _properties(node: Json) -> None:
    """Gemini refuses empty `properties`, booleans in it, and `required` names that it does not hold."""
    properties, required = node.pop("properties", None), node.pop("required", None)
    if not isinstance(properties, dict):
        return
    held = {
        name: {} if value is True else value
        for name, value in properties.items()
        if isinstance(value, dict) or value is True
    }
    if held:
        node["properties"] = held
    if isinstance(required, list) and (names := [name for name in required if isinstance(name, str) and name in held]):
        node["required"] = names


def _enum(node: Json) -> Json:
    """Gemini's enum holds texts and numbers, of one type. null, and another type, become choices beside it.

    Texts that are empty, booleans and objects are only described: "enum[0]: cannot be empty".
    """
    values = node.get("enum")
    if not isinstance(values, list) or not values:
        node.pop("enum", None)
        return node
    if node.get("type") in (None, "string") and {*map(type, values)} == {str} and "" not in values:  # nearly always
        return node if "type" in node else {**node, "type": "string"}
    types = kind if isinstance(kind := node.get("type"), list) else [kind]
    declared = [kind for kind in types if kind not in (None, "null")]
    if declared == ["string"]:
        values = node["enum"] = [codec.encode_text(value) if _is_number(value) else value for value in values]
    kinds: dict[str, list[Any]] = {}
    for value in values:
        if value is not None:
            kinds.setdefault(_kind(value), []).append(value)
    if "integer" in kinds and ("number" in kinds or declared == ["number"]):
        kinds["number"] = [value for value in values if _is_number(value)]
        del kinds["integer"]
    if "" in kinds or (declared and not all(kind in declared for kind in kinds)):
        return json_schema.move_to_description(node, ["enum"])
    if len(kinds) == 1 and None not in values:
        return {**node, "type": node.get("type") or next(iter(kinds))}
    choices: list[Json] = [{"enum": some, "type": kind} for kind, some in kinds.items()]
    choices += [{"type": "null"}] * (None in values)
    said = {"description": node["description"]} if "description" in node else {}
    return (choices[0] if len(choices) == 1 else {"anyOf": choices}) | said


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _kind(value: Any) -> str:
    """The type of a value that Gemini's enum may hold, "" of others."""
    return _TYPES[type(value)] if _is_number(value) or (isinstance(value, str) and value) else ""
