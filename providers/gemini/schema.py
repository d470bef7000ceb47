"""JSON Schema as Gemini takes it, for parametersJsonSchema and responseJsonSchema.

Sources: google-genai 3.4.0, GenerateContentConfig.response_json_schema (the keywords; cyclic references only in
optional properties); pydantic-ai GoogleJsonSchemaTransformer (const, title, string formats).
"""

from typing import Any, Final

from ..common import json_schema
from ..contract import Json

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
_TYPES: Final[dict[type, str]] = {str: "string", bool: "boolean", int: "integer", float: "number"}


def clean(schema: Json, param: str, room: json_schema.Room) -> Json:
    """A JSON Schema → the part of it that Gemini takes; what it does not know goes into descriptions or away.

    param: the request field, for errors. room: of all schemas of the request. Raises BadRequest as schemas.inline does.
    """
    return json_schema.rewrite(json_schema.inline(schema, param, room, json_schema.merge_all_of), _fit, param)


def parameters(schema: Json, param: str, room: json_schema.Room) -> Json | None:
    """A tool's parameters → parametersJsonSchema, or None where they allow nothing: that is declared by leaving it out.

    Of all ways to allow properties without a name of their own, Gemini knows additionalProperties. Raises as clean does.
    """
    whole = dict(schema)
    patterns, rest = whole.pop("patternProperties", None), whole.pop("unevaluatedProperties", None)
    patterns = patterns if isinstance(patterns, dict) else {}
    found = [one for one in (*patterns.values(), rest) if isinstance(one, dict) or one is True]
    if found and whole.get("additionalProperties") in (None, False):
        if patterns:
            whole["names match"] = " or ".join(patterns)
            json_schema.move_to_description(whole, ["names match"])
        whole["additionalProperties"] = True if True in found else found[0] if len(found) == 1 else {"anyOf": found}
    cleaned = clean(whole, param, room)
    holds = cleaned.get("additionalProperties", False) is not False or not cleaned.keys().isdisjoint(_HOLDING)
    return {"type": "object", **cleaned} if holds else None


def _fit(node: Json) -> Json:
    node = json_schema.one_of_to_any_of(node)
    if "$ref" in node:
        return {"$ref": node["$ref"]}
    if "const" in node:
        node["enum"] = [node.pop("const")]
    if isinstance(node.get("items"), list):
        node["prefixItems"] = node.pop("items")
    if not isinstance(node.get("items"), dict):
        node.pop("items", None)
    json_schema.move_to_description(node, _NOTED if node.get("type") in ("integer", "number") else ("format", *_NOTED))
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
    """Gemini's enum holds strings and numbers. null becomes a choice beside it; anything else is only described."""
    if not isinstance(values := node.get("enum"), list):
        node.pop("enum", None)
        return node
    plain = [value for value in values if _is_plain(value)]
    if plain == values and plain:
        return node
    if plain and len(plain) + values.count(None) == len(values):
        kind = node.pop("type", None)
        kinds = [k for k in (kind if isinstance(kind, list) else [kind]) if k not in (None, "null")]
        one: Json = {"enum": plain, "type": kinds[0] if kinds else _TYPES[type(plain[0])]}
        said = {"description": node["description"]} if "description" in node else {}
        return {"anyOf": [one, {"type": "null"}], **said}
    return json_schema.move_to_description(node, ["enum"])


def _is_plain(value: Any) -> bool:
    return isinstance(value, (str, int, float)) and not isinstance(value, bool)
