"""JSON Schemas: references, walking, and Gemini's part of the language."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from providers.common import json_schema
from providers.errors import BadRequest
from providers.gemini import schema as gemini_schema
from providers.gemini.schema import KEYWORDS

Json = dict[str, Any]


def clean(schema: Json, param: str) -> Json:
    return gemini_schema.clean(schema, param, json_schema.Room(schema))


def holder(**properties: Any) -> Json:
    return {"type": "object", "properties": properties}


STR = {"type": "string"}
NODE = {"type": "object", "properties": {"value": STR, "next": {"$ref": "#/$defs/Node"}}, "required": ["value"]}

CLEANED: dict[str, tuple[Json, Json]] = {
    "const-D60": ({"const": "a", "title": "T", "$schema": "…"}, {"enum": ["a"], "type": "string"}),
    "const-number": ({"const": 3}, {"enum": [3], "type": "integer"}),
    "const-boolean": ({"const": True}, {"type": "boolean", "description": "enum: [true]"}),
    "const-null": ({"const": None, "description": "D"}, {"type": "null", "description": "D"}),
    "property-named-like-a-keyword": (
        holder(title=STR, const={"type": "integer", "title": "gone"}, pattern=STR),
        holder(title=STR, const={"type": "integer"}, pattern=STR),
    ),
    "format-and-pattern": (
        {"type": "string", "format": "date", "pattern": "^a", "description": "D"},
        {"type": "string", "description": "D (format: date, pattern: ^a)"},
    ),
    "number-format-stays": ({"type": "integer", "format": "int64"}, {"type": "integer", "format": "int64"}),
    "bounds": (
        {"type": "number", "minimum": 1, "exclusiveMaximum": 5, "multipleOf": 0.5, "default": 2},
        {"type": "number", "minimum": 1, "description": "exclusiveMaximum: 5, multipleOf: 0.5, default: 2"},
    ),
    "one-of": (
        {"oneOf": [STR, {"type": "null"}], "anyOf": [{"type": "integer"}]},
        {"anyOf": [{"type": "integer"}, STR, {"type": "null"}]},
    ),
    "all-of": (
        {
            "allOf": [{**holder(a=STR), "required": ["a"]}, {**holder(b={"title": "B"}), "required": ["b", "a"]}],
            "description": "D",
        },
        {"type": "object", "description": "D", "properties": {"a": STR, "b": {}}, "required": ["a", "b"]},
    ),
    "all-of-over-properties": (
        {**holder(a={"description": "own"}), "allOf": [holder(a={"description": "other"}), {"required": ["a"]}]},
        {**holder(a={"description": "own"}), "required": ["a"]},
    ),
    "nullable": ({"type": "string", "nullable": True}, {"type": ["string", "null"]}),
    "type-list": (
        {"type": ["string", "null"], "maxLength": 3},
        {"type": ["string", "null"], "description": "maxLength: 3"},
    ),
    "enum-with-null": (
        {"type": ["string", "null"], "enum": ["a", None], "description": "D"},
        {"anyOf": [{"enum": ["a"], "type": "string"}, {"type": "null"}], "description": "D"},
    ),
    "enum-with-null-first": (
        {"type": ["null", "string"], "enum": [None, "a"]},
        {"anyOf": [{"enum": ["a"], "type": "string"}, {"type": "null"}]},
    ),
    "enum-of-objects": ({"enum": [{"a": 1}]}, {"description": 'enum: [{"a":1}]'}),
    "enum-is-no-list": ({"type": "string", "enum": "a"}, {"type": "string"}),
    "tuple": (
        {"type": "array", "items": [STR, {"type": "integer"}], "additionalItems": False, "uniqueItems": True},
        {"type": "array", "prefixItems": [STR, {"type": "integer"}], "items": {}, "description": "uniqueItems: true"},
    ),
    "items-boolean": ({"type": "array", "items": True}, {"type": "array", "items": {}}),
    "items-missing": ({"type": ["array", "null"]}, {"type": ["array", "null"], "items": {}}),
    "formats-of-numbers": (
        holder(a={"type": "integer", "format": "uint32"}, b={"type": "number", "format": "decimal"}),
        holder(
            a={"type": "integer", "description": "format: uint32"},
            b={"type": "number", "description": "format: decimal"},
        ),
    ),
    "enum-of-numbers-as-texts": (
        {"type": "string", "enum": [1, "a", 2.5]},
        {"type": "string", "enum": ["1", "a", "2.5"]},
    ),
    "enum-of-two-types": (
        {"enum": [1, "a", None]},
        {"anyOf": [{"enum": [1], "type": "integer"}, {"enum": ["a"], "type": "string"}, {"type": "null"}]},
    ),
    "enum-of-numbers": ({"enum": [1, 2.5]}, {"enum": [1, 2.5], "type": "number"}),
    "enum-of-another-type": ({"type": "integer", "enum": ["1"]}, {"type": "integer", "description": 'enum: ["1"]'}),
    "enum-with-an-empty-text": (
        {"type": "string", "enum": ["", "a"]},
        {"type": "string", "description": 'enum: ["","a"]'},
    ),
    "enum-of-nothing": ({"type": "string", "enum": []}, {"type": "string"}),
    "nulls": (
        {"type": "string", "description": None, "default": None, "enum": None, "title": None},
        {"type": "string"},
    ),
    "branches-that-are-no-schemas": ({"anyOf": [STR, None, True]}, {"anyOf": [STR, {}]}),
    "boolean-properties": (holder(a=True, b=False), holder(a={})),
    "required-without-property": ({**holder(a=STR), "required": ["a", "b"]}, {**holder(a=STR), "required": ["a"]}),
    "required-alone": ({"type": "object", "required": ["a"]}, {"type": "object"}),
    "required-is-no-list": ({**holder(a=STR), "required": True}, holder(a=STR)),
    "required-is-a-name": ({**holder(a=STR), "required": "a"}, {**holder(a=STR), "required": ["a"]}),
    "properties-are-none": ({"properties": 1, "required": [None]}, {"type": "object"}),
    "any-of-is-none": ({"anyOf": None, "oneOf": [STR]}, {"anyOf": [STR]}),
    "empty-properties": ({"type": "object", "properties": {}}, {"type": "object"}),
    "additional-properties": (
        {**holder(a=STR), "additionalProperties": {"type": "string", "minLength": 1}},
        {**holder(a=STR), "additionalProperties": {"type": "string", "description": "minLength: 1"}},
    ),
    "unknown-keywords": (
        {
            "type": "object",
            "$id": "x",
            "examples": [1],
            "discriminator": {},
            "patternProperties": {"^a": STR},
            "not": {},
        },
        {"type": "object"},
    ),
    "ref-T12": (
        {"$defs": {"A": {"type": "string", "title": "A"}}, **holder(a={"$ref": "#/$defs/A", "description": "D"})},
        holder(a={"type": "string", "description": "D"}),
    ),
    "ref-in-definitions": (
        {
            "definitions": {"a/b": {"$ref": "#/definitions/c%20d"}, "c d": STR},
            **holder(a={"$ref": "#/definitions/a~1b"}),
        },
        holder(a=STR),
    ),
    "ref-to-a-property": (holder(a=STR, b={"items": {"$ref": "#/properties/a"}}), holder(a=STR, b={"items": STR})),
    "ref-through-a-list": (
        {"anyOf": [STR, {"items": {"$ref": "#/anyOf/0"}}]},
        {"anyOf": [STR, {"items": STR}]},
    ),
    "cycle-in-optional-property": (
        {"$defs": {"Node": NODE}, "$ref": "#/$defs/Node"},
        {
            **NODE,
            "properties": {"value": STR, "next": {"$ref": "#/$defs/Node"}},
            "$defs": {"Node": NODE},
        },
    ),
    "cycle-to-the-root": (
        holder(children={"type": "array", "items": {"$ref": "#", "description": "lost: a reference stands alone"}}),
        {
            **holder(children={"type": "array", "items": {"$ref": "#/$defs/root"}}),
            "$defs": {"root": holder(children={"type": "array", "items": {"$ref": "#/$defs/root"}})},
        },
    ),
    "cycle-through-two": (
        {"$defs": {"A": holder(b={"$ref": "#/$defs/B"}), "B": holder(a={"$ref": "#/$defs/A"})}, "$ref": "#/$defs/A"},
        {
            **holder(b=holder(a={"$ref": "#/$defs/A"})),
            "$defs": {"A": holder(b=holder(a={"$ref": "#/$defs/A"}))},
        },
    ),
    "T12": (
        {
            "$schema": "http://json-schema.org/draft-07/schema#",
            "type": "object",
            "additionalProperties": False,
            "properties": {
                "n": {"type": "integer", "exclusiveMinimum": 0},
                "who": {"allOf": [{"$ref": "#/definitions/Who"}], "default": None},
            },
            "required": ["n"],
            "definitions": {"Who": {"title": "Who", "enum": ["me", "you"]}},
        },
        {
            "type": "object",
            "additionalProperties": False,
            "properties": {
                "n": {"type": "integer", "description": "exclusiveMinimum: 0"},
                "who": {"enum": ["me", "you"], "type": "string"},
            },
            "required": ["n"],
        },
    ),
}


@pytest.mark.parametrize(("schema", "cleaned"), CLEANED.values(), ids=CLEANED)
def test_clean(schema: Json, cleaned: Json) -> None:
    assert clean(schema, "p") == cleaned
    if "$defs" not in cleaned:  # a cycle is unrolled once more
        assert clean(cleaned, "p") == cleaned, "cleaning what is clean changes nothing"


def nested(depth: int) -> Json:
    schema: Json = STR
    for _ in range(depth):
        schema = {"type": "array", "items": schema}
    return schema


BOMB = {
    "$defs": {f"d{i}": holder(a={"$ref": f"#/$defs/d{i + 1}"}, b={"$ref": f"#/$defs/d{i + 1}"}) for i in range(30)},
    "$ref": "#/$defs/d0",
}
BOMB["$defs"]["d30"] = STR  # type: ignore[index]
BAD = {
    "endless": {**holder(a={"$ref": "#"}), "required": ["a"]},
    "endless-list": {**holder(a={"type": "array", "items": {"$ref": "#"}}), "required": ["a"]},
    "itself": {"$defs": {"A": {"$ref": "#/$defs/A"}}, "$ref": "#/$defs/A"},
    "nowhere": holder(a={"$ref": "#/$defs/A"}),
    "not-a-schema": {"$defs": {"A": 5}, **holder(a={"$ref": "#/$defs/A"})},
    "not-an-index": {"anyOf": [STR], **holder(a={"$ref": "#/anyOf/first"})},
    "elsewhere": holder(a={"$ref": "https://example.com/schema.json"}),
    "too-deep": nested(json_schema.MAX_DEPTH + 1),
    "too-many": BOMB,
}


@pytest.mark.parametrize("schema", BAD.values(), ids=BAD)
def test_bad(schema: Json) -> None:
    with pytest.raises(BadRequest) as caught:
        clean(schema, "tools[0].function.parameters")
    assert (caught.value.param, caught.value.code) == ("tools[0].function.parameters", "invalid_schema")


def test_rewriting_bounds_its_depth() -> None:
    with pytest.raises(BadRequest):
        json_schema.rewrite(nested(json_schema.MAX_DEPTH + 1), lambda node: node, "p")


def test_rewriting_copies() -> None:
    schema = holder(a={"type": "object", "properties": {"b": STR}})
    assert json_schema.rewrite(schema, lambda node: {**node, "seen": True}, "p") == {
        **holder(a={"type": "object", "properties": {"b": {**STR, "seen": True}}, "seen": True}),
        "seen": True,
    }
    assert schema == holder(a={"type": "object", "properties": {"b": STR}})


def test_two_cycles_of_one_name_keep_apart() -> None:
    one, two = holder(x={"$ref": "#/$defs/T"}), holder(y={"$ref": "#/definitions/T"})
    schema = {
        "$defs": {"T": one},
        "definitions": {"T": two},
        **holder(a={"$ref": "#/$defs/T"}, b={"$ref": "#/definitions/T"}),
    }
    assert clean(schema, "p") == {
        **holder(a=holder(x={"$ref": "#/$defs/T"}), b=holder(y={"$ref": "#/$defs/T_2"})),
        "$defs": {"T": holder(x={"$ref": "#/$defs/T"}), "T_2": holder(y={"$ref": "#/$defs/T_2"})},
    }


def test_two_spellings_of_one_cycle_are_one() -> None:
    schema = {"$defs": {"T": holder(x={"$ref": "#/$defs/%54"})}, **holder(a={"$ref": "#/$defs/T"})}
    assert clean(schema, "p") == {
        **holder(a=holder(x={"$ref": "#/$defs/%54"})),
        "$defs": {"%54": holder(x={"$ref": "#/$defs/%54"})},
    }


def shared(parts: int, text: int) -> Json:
    """A schema of which `parts` properties refer to one that is described by `text` characters."""
    return {
        **holder(**{f"p{i}": {"$ref": "#/$defs/a"} for i in range(parts)}),
        "$defs": {"a": {"description": "x" * text}},
    }


def test_references_may_add_256_kib_or_three_times_what_was_sent() -> None:
    few = clean(shared(40, 6000), "p")  # 240 kB of a schema of 7 kB
    assert few == holder(**{f"p{i}": {"description": "x" * 6000} for i in range(40)})
    with pytest.raises(BadRequest):
        clean(shared(50, 6000), "p")
    large = shared(5, 200_000) | {"description": "y" * 200_000}  # a megabyte of a schema of 400 kB
    assert clean(large, "p")["properties"]["p4"] == {"description": "x" * 200_000}


def test_the_schemas_of_a_request_share_their_room() -> None:
    tools = [shared(20, 6000) for _ in range(3)]  # 120 kB each
    room = json_schema.Room(tools)
    with pytest.raises(BadRequest) as caught:
        for i, tool in enumerate(tools):
            gemini_schema.clean(tool, f"tools[{i}].function.parameters", room)
    assert (caught.value.param, caught.value.code) == ("tools[2].function.parameters", "invalid_schema")


anything = st.none() | st.booleans() | st.integers(-3, 3) | st.sampled_from(["a", "string", "null", "#", "#/$defs/A"])
words = st.sampled_from([*sorted(KEYWORDS), "A", "const", "oneOf", "allOf", "nullable", "default", "title", "not"])
jsons = st.recursive(
    anything, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=5), max_leaves=25
)


@given(st.dictionaries(words, jsons, max_size=6))
def test_any_schema_is_cleaned_or_refused(schema: Json) -> None:
    try:
        cleaned = clean(schema, "p")
    except BadRequest:
        return
    assert {keyword for node in json_schema.walk(cleaned) for keyword in node} <= KEYWORDS
