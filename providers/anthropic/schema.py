"""What of a JSON Schema Claude's structured output can hold, and the schema as Claude takes it.

https://platform.claude.com/docs/en/build-with-claude/structured-outputs: objects are closed, nothing is recursive,
ranges and lengths are refused. Rewriting follows anthropic 2.12.0 (lib/_parse/_transform.py): what the grammar cannot
hold is told in the description, so that the model still reads it.
"""

from itertools import islice
from typing import Any

from .. import codec
from ..common import json_schema, older_drafts, tool_schemas
from ..common.tidy_schemas import tidied
from ..contract import Json

MAX_OPTIONAL = 10  # in response_format: from about 11 the grammar may be refused as too complex
MAX_OPTIONAL_STRICT = 24  # per request, in strict tools
MAX_UNIONS = 16  # per request
MAX_STRICT = 20  # strict tools per request
_MAX_PARTS = 10_000  # no grammar holds that many
_MAX_REFS = 500  # … of them references

_KEPT = frozenset({"type", "enum", "const", "default", "title", "description", "required"})
_FORMATS = frozenset({"date-time", "time", "date", "duration", "email", "hostname", "uri", "ipv4", "ipv6", "uuid"})
_DEFS = ("$defs", "definitions")
_SILENT = frozenset(
    {"$schema", "$id", "$comment", "examples", "readOnly", "writeOnly", "deprecated", "additionalProperties", *_DEFS}
)
_TYPING = ("type", "enum", "const", "anyOf", "oneOf", "allOf", "$ref")


def holds(schema: Json) -> bool:
    """Whether a grammar can be made of it: no recursion, no open maps, nothing of any type."""
    every = list(islice(json_schema.walk(schema), _MAX_PARTS + 1))
    refs = {ref for one in every if isinstance(ref := one.get("$ref"), str)}
    if len(every) > _MAX_PARTS or len(refs) > _MAX_REFS:
        return False
    return not any(map(_odd, every)) and not json_schema.recursive(schema) and not any(map(_open, every))


def optional(schema: Json) -> int:
    """How many properties may be left out."""
    return sum(
        len(one["properties"].keys() - set(one.get("required") or ()))
        for one in json_schema.walk(schema)
        if isinstance(one.get("properties"), dict)
    )


def unions(schema: Json) -> int:
    """How many places may hold one of several types."""
    return sum(
        1 for one in json_schema.walk(schema) if "anyOf" in one or "oneOf" in one or isinstance(one.get("type"), list)
    )


def _odd(schema: Json) -> bool:
    """Whether a keyword of this schema, its children aside, holds what it may not: for the upstream to refuse."""
    return not (
        isinstance(schema.get("properties") or {}, dict)
        and isinstance(schema.get("format", ""), str)
        and all(isinstance(name, str) for name in _listed(schema, "required"))
        and all(isinstance(one, dict) for keyword in ("anyOf", "oneOf", "allOf") for one in _listed(schema, keyword))
    )


def _listed(schema: Json, keyword: str) -> list[Any]:
    """The list that a keyword holds, [] where it is missing, [None] where it holds no list."""
    value = schema.get(keyword)
    return value if isinstance(value, list) else [] if value is None else [None]


def _open(schema: Json) -> bool:
    """Whether this schema, its children aside, lets anything in."""
    properties = schema.get("properties") or {}
    if not properties and not any(keyword in schema for keyword in _TYPING):
        return True
    if schema.get("additionalProperties") not in (None, False) or "patternProperties" in schema:
        return True
    if schema.get("type") == "object" and not properties and schema.get("additionalProperties") is None:
        return True
    if schema.get("type") == "array" and not isinstance(schema.get("items"), dict):
        return True
    return not all(isinstance(value, dict) for value in properties.values())


def cleaned(schema: Json) -> Json:
    """The schema as structured output takes it: closed objects, anyOf for oneOf, ranges moved into descriptions."""
    out: Json = {}
    for keyword in _DEFS:
        if isinstance(schema.get(keyword), dict):
            out[keyword] = _each(schema[keyword])
    if "$ref" in schema:
        return {**out, "$ref": schema["$ref"]}
    told: Json = {}
    for keyword, value in schema.items():
        match keyword, value:
            case ("anyOf", list()) | ("oneOf", list()) if "anyOf" not in out:
                out["anyOf"] = [cleaned(one) for one in value]
            case "allOf", list():
                out["allOf"] = [cleaned(one) for one in value]
            case "items", dict():
                out["items"] = cleaned(value)
            case "properties", dict():
                out["properties"] = _each(value)
            case ("minItems", 0 | 1) | ("format", _) if keyword == "minItems" or value in _FORMATS:
                out[keyword] = value
            case _ if keyword in _KEPT:
                out[keyword] = value
            case _ if keyword not in _SILENT:
                told[keyword] = value
    if told:
        facts = ", ".join(f"{k}: {v if isinstance(v, str) else codec.encode_text(v)}" for k, v in told.items())
        out["description"] = "\n\n".join(filter(None, (schema.get("description"), f"{{{facts}}}")))
    if schema.get("type") == "object" or "properties" in schema:
        out["additionalProperties"] = False
    return out


def _each(named: Json) -> Json:
    return {name: cleaned(one) if isinstance(one, dict) else one for name, one in named.items()}


def as_input(schema: Any, param: str) -> Json:
    """A tool's parameters as an input_schema: an object in draft 2020-12, whatever was left out or null.

    Claude: 400 "JSON schema is invalid. It must match JSON Schema draft 2020-12", and 400 "input_schema does not support
    oneOf, allOf, or anyOf at the top level". param: the request field, for errors. Raises BadRequest.
    """
    return tool_schemas.plain_object(older_drafts.modern(tidied(schema or {}, param), param), param)
