"""Tools' parameters of any draft, as strict upstreams take them; jsonschema judges what is valid and what is let through."""

import copy
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft4Validator, Draft7Validator, Draft202012Validator
from rewritten import check_rewrite

from providers.anthropic.schema import as_input
from providers.common.older_drafts import modern
from providers.common.tool_schemas import UNIONS, plain_object, typed_unions, without_top_unions
from providers.errors import BadRequest

Json = dict[str, Any]
STR, INT, BOOL = {"type": "string"}, {"type": "integer"}, {"type": "boolean"}


def holder(required: list[str] | None = None, **properties: Any) -> Json:
    return {"type": "object", "properties": properties} | ({"required": required} if required else {})


# What it shows → the schema, and the same in draft 2020-12.
OLD: dict[str, tuple[Json, Json]] = {
    "nothing older": (holder(a={"exclusiveMinimum": 0}), holder(a={"exclusiveMinimum": 0})),
    "exclusive bounds (draft 4)": (
        holder(a={"type": "integer", "minimum": 0, "exclusiveMinimum": True, "maximum": 9, "exclusiveMaximum": True}),
        holder(a={"type": "integer", "exclusiveMinimum": 0, "exclusiveMaximum": 9}),
    ),
    "inclusive ones": (holder(a={"minimum": 1, "exclusiveMinimum": False}), holder(a={"minimum": 1})),
    "exclusive of nothing": (holder(a={"exclusiveMaximum": True}), holder(a={})),
    "$schema, at any depth": (
        {"$schema": "http://json-schema.org/draft-07/schema#", **holder(a={"$schema": "x", "type": "string"})},
        holder(a=STR),
    ),
    "id (draft 4)": ({"id": "http://a.test/x#", **holder(a={"id": "a", "type": "string"})}, holder(a=STR)),
    "ids that are anchors": (
        holder(a={"id": "#one", "type": "string"}, b={"$id": "#two", "type": "string"}, c={"$ref": "#one"}),
        holder(a={"$anchor": "one", "type": "string"}, b={"$anchor": "two", "type": "string"}, c={"$ref": "#one"}),
    ),
    "an id that is one still": ({"$id": "http://a.test/x", **holder()}, {"$id": "http://a.test/x", **holder()}),
    "a fragment too many": ({"$id": "http://a.test/x#/y", **holder()}, {"$id": "http://a.test/x", **holder()}),
    "tuples": (
        holder(a={"items": [STR, {"minimum": 0, "exclusiveMinimum": True}], "additionalItems": {"id": "i", **INT}}),
        holder(a={"prefixItems": [STR, {"exclusiveMinimum": 0}], "items": INT}),
    ),
    "closed tuples": (
        holder(a={"items": [STR], "additionalItems": False}),
        holder(a={"prefixItems": [STR], "items": False}),
    ),
    "additionalItems of a list": (holder(a={"items": STR, "additionalItems": False}), holder(a={"items": STR})),
    "dependencies": (
        holder(a=STR) | {"dependencies": {"a": ["b"], "c": "a", "b": {"properties": {"x": {"id": "x"}}}}},
        holder(a=STR)
        | {"dependentRequired": {"a": ["b"], "c": ["a"]}, "dependentSchemas": {"b": {"properties": {"x": {}}}}},
    ),
    "required: true (draft 3)": (
        holder(["b"], a={"type": "string", "required": True}, b={"required": True}, c={"required": False})
        | {"required": ["b"]},
        holder(["b", "a"], a=STR, b={}, c={}),
    ),
    "required: true where no property is": (
        {"required": True, **holder(a={"items": {"required": True, "type": "string"}})},
        holder(a={"items": STR}),
    ),
    "divisibleBy (draft 3)": (holder(a={"divisibleBy": 2}), holder(a={"multipleOf": 2})),
    "properties that are called like keywords": (
        {"properties": {"id": STR, "exclusiveMinimum": BOOL, "dependencies": INT, "required": BOOL, "$schema": STR}},
        {"properties": {"id": STR, "exclusiveMinimum": BOOL, "dependencies": INT, "required": BOOL, "$schema": STR}},
    ),
    "in definitions and branches": (
        holder(a={"anyOf": [{"minimum": 0, "exclusiveMinimum": True}]}) | {"definitions": {"D": {"id": "d", **STR}}},
        holder(a={"anyOf": [{"exclusiveMinimum": 0}]}) | {"definitions": {"D": STR}},
    ),
}


@pytest.mark.parametrize(("schema", "expected"), OLD.values(), ids=OLD)
def test_an_older_schema_in_todays_words(schema: Json, expected: Json) -> None:
    check_rewrite(modern, schema, expected)
    Draft202012Validator.check_schema(expected)


ITEM = st.sampled_from([0, 1, 2, 5, "a", "b", None, True])
VALUES = st.one_of(ITEM, st.lists(ITEM, max_size=3), st.dictionaries(st.sampled_from("abc"), ITEM, max_size=3))
BOUND = {"minimum": st.integers(0, 3), "maximum": st.integers(2, 5)}
FOUR = st.fixed_dictionaries(
    {}, optional=BOUND | {"exclusiveMinimum": st.booleans(), "exclusiveMaximum": st.booleans()}
)
SEVEN = st.fixed_dictionaries(
    {},
    optional={
        "items": st.one_of(st.lists(st.sampled_from([STR, INT]), min_size=1), st.sampled_from([STR, INT])),
        "additionalItems": st.sampled_from([True, False, STR]),
        "dependencies": st.dictionaries(
            st.sampled_from("ab"), st.sampled_from([["b"], ["c"], {"required": ["c"]}, {"properties": {"a": INT}}])
        ),
    },
)


@settings(max_examples=200, deadline=None)
@given(st.one_of(FOUR, SEVEN), VALUES)
def test_the_meaning_stays(schema: Json, value: Any) -> None:
    """What a validator of the old draft says of a value, one of 2020-12 says of the new schema."""
    bounds = {"exclusiveMinimum": "minimum", "exclusiveMaximum": "maximum"}
    if any(flag in schema and bound not in schema for flag, bound in bounds.items()):
        return  # draft 4 forbids it
    old = Draft7Validator if schema.keys().isdisjoint(bounds) else Draft4Validator
    assert Draft202012Validator(modern(schema, "p")).is_valid(value) == old(schema).is_valid(value)


ONE = {"anyOf": [holder(["id"], id=STR), holder(["slug"], slug=STR)]}
# What it shows → the schema, and an object without unions at its top.
MERGED: dict[str, tuple[Json, Json]] = {
    "nothing at the top": (holder(a={"anyOf": [STR, INT]}), holder(a={"anyOf": [STR, INT]})),
    "anyOf": (
        ONE,
        holder(id=STR, slug=STR) | {"description": "Give at least one of these sets of properties: id; slug."},
    ),
    "oneOf of tagged objects": (
        {
            "oneOf": [
                holder(["kind", "x"], kind={"const": "a"}, x=INT) | {"additionalProperties": False},
                holder(["kind"], kind={"enum": ["b"]}, y=STR) | {"additionalProperties": False},
            ],
            "description": "D",
        },
        holder(["kind"], kind={"anyOf": [{"const": "a"}, {"enum": ["b"]}]}, x=INT, y=STR)
        | {
            "additionalProperties": False,
            "description": 'D (Give one of these sets of properties: kind = "a", x; kind = "b", [y].)',
        },
    ),
    "only what is required differs": (
        holder(a=STR, b=STR) | {"anyOf": [{"required": ["a"]}, {"required": ["b"], "properties": {"b": {}}}]},
        holder(a=STR, b=STR) | {"description": "Give at least one of these sets of properties: a; b."},
    ),
    "allOf": (
        {"allOf": [holder(["a"], a=STR), holder(["b", "a"], b=INT)], **holder(["c"], c=STR)},
        holder(["c", "a", "b"], c=STR, a=STR, b=INT),
    ),
    "allOf of one property": (
        {"allOf": [holder(a={"type": "string", "maxLength": 3}), holder(a={"pattern": "^x"}), holder(a={})]},
        holder(a={"allOf": [{"type": "string", "maxLength": 3}, {"pattern": "^x"}]}),
    ),
    "a union in a union": (
        {"anyOf": [{"oneOf": [holder(["a"], a=STR), holder(["b"], b=STR)]}, holder(["c"], c=STR)]},
        holder(a=STR, b=STR, c=STR)
        | {
            "description": "Give one of these sets of properties: a; b. "
            "Give at least one of these sets of properties: [a], [b]; c."
        },
    ),
    "references": (
        {
            "anyOf": [{"$ref": "#/$defs/A"}, {"$ref": "#/$defs/B"}],
            "$defs": {"A": holder(["a"], a=STR), "B": holder(b=INT)},
        },
        holder(a=STR, b=INT)
        | {
            "$defs": {"A": holder(["a"], a=STR), "B": holder(b=INT)},
            "description": "Give at least one of these sets of properties: a; [b].",
        },
    ),
    "a branch for null": ({"anyOf": [holder(["a"], a=STR), {"type": "null"}]}, holder(["a"], a=STR)),
    "a branch that lets anything in": (
        {"anyOf": [holder(a=STR), holder(a={})]},
        holder(a={}) | {"description": "Give at least one of these sets of properties: [a]; [a]."},
    ),
    "a branch that holds itself": (
        {"anyOf": [{"$ref": "#/$defs/A"}], "$defs": {"A": {"anyOf": [holder(a=STR), {"$ref": "#/$defs/A"}]}}},
        holder(a=STR)
        | {
            "$defs": {"A": {"anyOf": [holder(a=STR), {"$ref": "#/$defs/A"}]}},
            "description": "Give at least one of these sets of properties: [a]; none.",
        },
    ),
    "references into the union": (
        {"anyOf": [holder(a=STR), holder(b={"$ref": "#/anyOf/0/properties/a"})]},
        holder(a=STR, b=STR) | {"description": "Give at least one of these sets of properties: [a]; [b]."},
    ),
}


@pytest.mark.parametrize(("schema", "expected"), MERGED.values(), ids=MERGED)
def test_unions_at_the_top_are_merged(schema: Json, expected: Json) -> None:
    before = copy.deepcopy(schema)
    made = without_top_unions(schema, "p")
    assert made == expected
    assert schema == before
    assert not made.keys() & {*UNIONS}
    assert without_top_unions(made, "p") is made
    Draft202012Validator.check_schema(made)


BRANCHES = st.lists(
    st.fixed_dictionaries(
        {"type": st.just("object")},
        optional={
            "properties": st.dictionaries(
                st.sampled_from("abc"), st.sampled_from([STR, INT, {}, {"const": 1}]), max_size=3
            ),
            "required": st.lists(st.sampled_from("abc"), unique=True),
            "additionalProperties": st.just(False),
        },
    ),
    min_size=1,
    max_size=3,
)


@settings(max_examples=300, deadline=None)
@given(
    st.fixed_dictionaries({}, optional=dict.fromkeys(UNIONS, BRANCHES)),
    st.dictionaries(st.sampled_from("abcd"), st.sampled_from([1, "x"]), max_size=4),
)
def test_what_was_let_through_is_let_through(schema: Json, arguments: Json) -> None:
    """Of calls with properties that a branch they fit names: one that no branch names could have been anything."""
    if Draft202012Validator(schema | {"unevaluatedProperties": False}).is_valid(arguments):
        made = without_top_unions(schema, "p")
        assert Draft202012Validator(made).is_valid(arguments), made


def test_references_are_not_multiplied_out() -> None:
    """n references to a schema of m properties are n·m parts: more than a schema may have."""
    big = holder(**{f"p{n}": STR for n in range(500)})
    hidden = {"allOf": [{"allOf": [{"$ref": "#/$defs/big"}]} for _ in range(500)], "$defs": {"big": big}}
    with pytest.raises(BadRequest) as refused:
        without_top_unions(hidden, "tools[0].function.parameters")
    assert (refused.value.param, refused.value.code) == ("tools[0].function.parameters", "invalid_schema")
    deep: Json = holder(a=STR)
    for _ in range(70):
        deep = {"anyOf": [deep]}
    with pytest.raises(BadRequest):
        without_top_unions(deep, "p")


def test_a_note_is_short() -> None:
    names = [f"property_number_{n}" for n in range(300)]
    made = without_top_unions({"anyOf": [holder([name], **{name: STR}) for name in names]}, "p")
    assert len(made["description"]) == 2001
    assert list(made["properties"]) == names


TYPED: dict[str, tuple[Json, Json]] = {
    "type beside anyOf": (
        holder(a={"type": ["string", "null"], "anyOf": [{"minLength": 1}, {"type": "null"}, {"$ref": "#/$defs/A"}]}),
        holder(a={"anyOf": [{"type": ["string", "null"], "minLength": 1}, {"type": "null"}, {"$ref": "#/$defs/A"}]}),
    ),
    "oneOf": (
        holder(a={"type": "string", "oneOf": [{"const": "x"}]}),
        holder(a={"anyOf": [{"type": "string", "const": "x"}]}),
    ),
    "beside $ref": (holder(a={"$ref": "#/$defs/A", "description": "d"}), holder(a={"$ref": "#/$defs/A"})),
    "tuples": (
        holder(a={"items": [STR, INT]}, b={"items": [STR]}),
        holder(a={"items": {"anyOf": [STR, INT]}}, b={"items": STR}),
    ),
    "nothing to do": (
        holder(a={"anyOf": [STR, INT]}, b={"$ref": "#"}),
        holder(a={"anyOf": [STR, INT]}, b={"$ref": "#"}),
    ),
}


@pytest.mark.parametrize(("schema", "expected"), TYPED.values(), ids=TYPED)
def test_moonshots_flavour(schema: Json, expected: Json) -> None:
    check_rewrite(typed_unions, schema, expected)


def test_a_plain_object() -> None:
    same = holder(a=STR)
    assert plain_object(same, "p") is same
    assert plain_object({}, "p") == {"type": "object", "properties": {}}
    assert plain_object({"type": "object"}, "p") == {"type": "object", "properties": {}}
    assert plain_object({"properties": {"a": STR}}, "p") == holder(a=STR)
    assert plain_object({"type": "string"}, "p") == {"type": "string"}
    defs = {"A": holder(a=STR), "B": {"$ref": "#/$defs/A"}}
    assert plain_object({"$ref": "#/$defs/B", "$defs": defs}, "p") == holder(a=STR) | {"$defs": defs}
    assert plain_object(holder(a=STR) | {"not": {"required": ["b"]}, "description": "D"}, "p") == holder(a=STR) | {
        "description": 'D (not: {"required":["b"]})'
    }
    assert plain_object({"type": "object", "$ref": "#/$defs/A"}, "p") == {"type": "object", "$ref": "#/$defs/A"}


def test_an_input_schema() -> None:
    assert as_input(None, "p") == {"type": "object", "properties": {}}
    assert as_input({"type": ["object", "null"]}, "p") == {"type": "object", "properties": {}}
    assert as_input({"$ref": "#/$defs/A", "$defs": {}}, "p") == {"$ref": "#/$defs/A", "$defs": {}, "type": "object"}
    assert as_input({"anyOf": [STR, {"type": "null"}]}, "p") == {"type": "string"}
    old = holder(ttl={"type": "integer", "minimum": 0, "exclusiveMinimum": True})
    assert as_input({"$schema": "http://json-schema.org/draft-04/schema#", **old}, "p") == holder(
        ttl={"type": "integer", "exclusiveMinimum": 0}
    )
