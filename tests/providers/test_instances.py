"""Instances of JSON schemas, with jsonschema as the judge."""

from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from providers.echo.schema_sample import sample
from providers.errors import BadRequest

Json = dict[str, Any]
NODE = {"type": "object", "properties": {"next": {"$ref": "#"}, "name": {"type": "string"}}}


def nested(depth: int) -> Json:
    """What NODE, referring to itself, becomes: each object and each reference is a level."""
    return {} if depth >= 12 else {"next": nested(depth + 2), "name": "echo"}


CASES: dict[str, tuple[Any, Any]] = {
    "anything": ({}, "echo"),
    "true": (True, "echo"),
    "a text": ({"type": "string"}, "echo"),
    "a short text": ({"type": "string", "maxLength": 2}, "ec"),
    "a long text": ({"type": "string", "minLength": 7}, "echoooo"),
    "a long text, as a decimal": ({"type": "string", "minLength": 5.0, "maxLength": 6.0}, "echoo"),
    "a date": ({"type": "string", "format": "date"}, "2026-01-01"),
    "a time": ({"type": "string", "format": "date-time"}, "2026-01-01T00:00:00Z"),
    "an unknown format": ({"type": "string", "format": "colour"}, "echo"),
    "an integer": ({"type": "integer"}, 1),
    "an integer of zod, or of int()": (
        {"type": "integer", "minimum": -9007199254740991, "maximum": 9007199254740991},
        1,
    ),
    "a strict one": ({"type": "integer", "exclusiveMinimum": -(2**63), "exclusiveMaximum": 2**63}, 1),
    "a positive one": ({"type": "integer", "exclusiveMinimum": 0, "maximum": 9007199254740991}, 1),
    "a number within wide bounds": ({"type": "number", "minimum": -1e308, "maximum": 1e308}, 1),
    "from zero": ({"type": "integer", "minimum": 0, "maximum": 9}, 0),
    "an adult": ({"type": "integer", "minimum": 18}, 18),
    "a negative": ({"type": "integer", "maximum": -3, "multipleOf": 2}, -4),
    "between multiples": ({"type": "integer", "maximum": 5, "multipleOf": 10}, 0),
    "a strict minimum": ({"type": "integer", "exclusiveMinimum": 0.5, "exclusiveMaximum": 2}, 1),
    "two minimums": ({"type": "integer", "minimum": 5, "exclusiveMinimum": 0}, 5),
    "a narrow number": ({"type": "number", "exclusiveMinimum": 0, "maximum": 0.25}, 0.25),
    "a narrower number": ({"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 0.25}, 0.125),
    "true or false": ({"type": "boolean"}, True),
    "null": ({"type": "null"}, None),
    "a type or null": ({"type": ["null", "integer"]}, 1),
    "an enum": ({"type": "string", "enum": ["b", "a"]}, "b"),
    "a const": ({"const": None}, None),
    "a default": ({"type": "integer", "default": 7}, 7),
    "a list": ({"type": "array", "items": {"type": "integer"}}, [1]),
    "a list of three": ({"type": "array", "items": {"type": "integer"}, "minItems": 3}, [1, 1, 1]),
    "a list of none": ({"type": "array", "items": {"type": "integer"}, "maxItems": 0}, []),
    "a list that may hold nothing": ({"type": "array", "items": False}, []),
    "a tuple": ({"type": "array", "prefixItems": [{"type": "integer"}, {"type": "null"}]}, [1, None]),
    "a tuple and more": ({"prefixItems": [{"const": 1}], "items": {"const": 2}, "minItems": 3}, [1, 2, 2]),
    "a tuple cut short": ({"type": "array", "prefixItems": [{"const": 1}, {"const": 2}], "maxItems": 1}, [1]),
    "an object": (
        {"type": "object", "properties": {"a": {"type": "string"}, "b": {"type": "boolean"}}, "required": ["a"]},
        {"a": "echo", "b": True},
    ),
    "an object without type": ({"properties": {"a": {"type": "null"}}}, {"a": None}),
    "an object of anything": ({"type": "object"}, {}),
    "required, not described": ({"type": "object", "required": ["b", "a"]}, {"a": "echo", "b": "echo"}),
    "required, described for all": (
        {"type": "object", "required": ["a"], "additionalProperties": {"type": "integer"}},
        {"a": 1},
    ),
    "anyOf": ({"anyOf": [{"type": "integer"}, {"type": "null"}]}, 1),
    "oneOf": ({"oneOf": [{"const": "a"}, {"const": "b"}]}, "a"),
    "anyOf beside properties": (
        {
            "type": "object",
            "properties": {"a": {"const": 1}},
            "required": ["a"],
            "anyOf": [{"properties": {"b": {"const": 2}}, "required": ["b"]}],
        },
        {"a": 1, "b": 2},
    ),
    "allOf": (
        {
            "allOf": [
                {"type": "object", "properties": {"a": {"const": 1}}, "required": ["a"]},
                {"$ref": "#/$defs/b"},
                {"required": ["c"]},
            ],
            "$defs": {"b": {"properties": {"b": {"const": 2}}, "required": ["b"]}},
        },
        {"a": 1, "b": 2, "c": "echo"},
    ),
    "a reference": ({"$ref": "#/$defs/a~1b", "$defs": {"a/b": {"type": "integer"}}}, 1),
    "a reference into a list": (
        {
            "type": "object",
            "properties": {
                "a": {"anyOf": [{"type": "null"}, {"type": "integer"}]},
                "b": {"$ref": "#/properties/a/anyOf/1"},
            },
        },
        {"a": None, "b": 1},
    ),
    "a reference to nothing": ({"$ref": "#/$defs/a"}, "echo"),
    "a list that holds itself": (NODE, nested(0)),
}


@pytest.mark.parametrize("schema, expected", CASES.values(), ids=CASES)
def test_instances(schema: Any, expected: Any):
    made = sample(schema, "tools")
    assert (made, type(made)) == (expected, type(expected))
    if schema != {"$ref": "#/$defs/a"}:  # which only we forgive
        jsonschema.Draft202012Validator(schema).validate(made)


def only(*names: str, **schemas: Any) -> Json:
    return {"type": "object", "properties": dict.fromkeys(names, schemas), "required": [*names]}


BROKEN: dict[str, Any] = {
    "properties a list": {"type": "object", "properties": ["a"]},
    "required a number": {"type": "object", "required": 5},
    "an enum of a number": {"enum": 5},
    "a minimum of text": {"type": "integer", "minimum": "a"},
    "minLength of text": {"type": "string", "minLength": "a"},
    "anyOf an object": {"anyOf": {"a": 1}},
    "a text of gigabytes": {"type": "string", "minLength": 10**12},
    "a list of billions": {"type": "array", "minItems": 10**12},
    "a tree that never ends": only("a", "b", "c", "d", **{"$ref": "#"}),
}


@pytest.mark.parametrize("schema", BROKEN.values(), ids=BROKEN)
def test_broken_and_endless_schemas_are_refused(schema: Any):
    with pytest.raises(BadRequest) as caught:
        sample(schema, "tools")
    assert (caught.value.param, caught.value.code) == ("tools", "invalid_value")
    assert caught.value.message.startswith(
        "Invalid value for 'tools': echo cannot make an instance of this JSON schema: "
    )
    assert len(caught.value.message) <= 300


@pytest.mark.parametrize(
    "schema",
    [
        {"allOf": [{"$ref": "#"}]},
        {"anyOf": [{"$ref": "#"}]},
        {"$ref": "#"},
        {"type": "array", "items": {"$ref": "#"}, "minItems": 1},
        {"type": "object", "properties": {"a": {"$ref": "#"}}, "required": ["a"]},
    ],
    ids=["allOf", "anyOf", "$ref", "items", "required"],
)
def test_schemas_that_go_round_come_to_an_end(schema: Json):
    sample(schema, "tools")


def size(value: Any) -> int:
    inside = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return 1 + sum(size(each) for each in inside)


def test_a_broad_tree_stays_small_and_valid():
    tree = {"type": "object", "properties": {f"p{i}": {"$ref": "#"} for i in range(20)}}
    made = sample(tree, "tools")
    assert 10 < size(made) <= 20_000
    jsonschema.validate(made, tree)


names = st.sampled_from(["a", "b", "c"])
bounds = st.integers(-50, 50)


def numbers(kind: str) -> st.SearchStrategy[Json]:
    """Numeric schemas that some number fits: an interval of at least two steps."""

    def build(low: int, span: int, keys: tuple[str, str], step: float | None) -> Json:
        width = span + 2 * (step or 1)
        schema = {"type": kind, keys[0]: low, keys[1]: low + width}
        return schema | ({"multipleOf": step} if step else {})

    steps = st.sampled_from([None, 1, 2, 5]) if kind == "integer" else st.sampled_from([None, 0.25, 0.5, 2])
    keys = st.tuples(st.sampled_from(["minimum", "exclusiveMinimum"]), st.sampled_from(["maximum", "exclusiveMaximum"]))
    one_side = st.builds(
        lambda key, bound: {"type": kind, key: bound},
        st.sampled_from(["minimum", "exclusiveMinimum", "maximum", "exclusiveMaximum"]),
        bounds,
    )
    return st.builds(build, bounds, st.integers(0, 20), keys, steps) | one_side


strings = st.builds(
    lambda low, span, both: {"type": "string", "minLength": low} | ({"maxLength": low + span} if both else {}),
    st.integers(0, 9),
    st.integers(0, 9),
    st.booleans(),
)
simple = st.one_of(
    numbers("integer"),
    numbers("number"),
    strings,
    st.sampled_from([{"type": "boolean"}, {"type": "null"}, {"type": ["integer", "null"]}, {}, True]),
    st.sampled_from(["date", "email", "uuid", "ipv4", "ipv6", "uri"]).map(
        lambda form: {"type": "string", "format": form}
    ),
    st.lists(st.text(max_size=3) | bounds, min_size=1, max_size=3).map(lambda values: {"enum": values}),
    (st.none() | st.booleans() | st.text(max_size=3)).map(lambda value: {"const": value}),
    bounds.map(lambda value: {"type": "integer", "default": value}),
    st.just({"$ref": "#/$defs/named"}),
)


def larger(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    objects = st.builds(
        lambda properties, required, closed: {
            "type": "object",
            "properties": properties,
            "required": [*dict.fromkeys(name for name in required if name in properties or not closed)],
            "additionalProperties": not closed,
        },
        st.dictionaries(names, inner, max_size=3),
        st.lists(names, max_size=3),
        st.booleans(),
    )
    lists = st.builds(
        lambda items, least, more: {"type": "array", "items": items, "minItems": least, "maxItems": least + more},
        inner,
        st.integers(0, 3),
        st.integers(0, 2),
    )
    tuples = st.builds(
        lambda prefix, most: (
            {"type": "array", "prefixItems": prefix, "items": False} | ({"maxItems": most} if most else {})
        ),
        st.lists(inner, min_size=1, max_size=3),
        st.integers(0, 3),
    )
    joined = st.builds(
        lambda one, other: {
            "allOf": [
                {"type": "object", "properties": {"x": one}, "required": ["x"]},
                {"type": "object", "properties": {"y": other}, "required": ["y"]},
            ]
        },
        inner,
        inner,
    )
    beside = st.builds(
        lambda one, other: {
            "type": "object",
            "properties": {"x": one},
            "required": ["x"],
            "anyOf": [{"properties": {"y": other}, "required": ["y"]}, {"required": ["z"]}],
        },
        inner,
        inner,
    )
    either = st.lists(inner, min_size=1, max_size=3).map(lambda options: {"anyOf": options})
    apart = inner.map(lambda one: {"oneOf": [one, {"type": "object", "required": ["never"], "maxProperties": 0}]})
    return st.one_of(objects, lists, tuples, joined, beside, either, apart)


schemas = st.recursive(simple, larger, max_leaves=12)


@given(schemas, simple.filter(lambda schema: "$ref" not in str(schema)))
def test_instances_are_valid(schema: Any, shared: Any):
    whole = {"type": "object", "properties": {"it": schema}, "required": ["it"], "$defs": {"named": shared}}
    made = sample(whole, "tools")
    judge = jsonschema.Draft202012Validator(whole, format_checker=jsonschema.FormatChecker())
    assert [error.message for error in judge.iter_errors(made)] == []
    assert sample(whole, "tools") == made


scraps = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 10**9) | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "type",
                    "properties",
                    "required",
                    "items",
                    "prefixItems",
                    "minItems",
                    "maxItems",
                    "minimum",
                    "maximum",
                    "multipleOf",
                    "minLength",
                    "maxLength",
                    "enum",
                    "anyOf",
                    "allOf",
                    "$ref",
                    "format",
                    "additionalProperties",
                ]
            ),
            inner | st.sampled_from(["object", "array", "integer", "number", "string", "#", "#/items"]),
            max_size=5,
        )
    ),
    max_leaves=12,
)


@given(scraps)
def test_any_schema_has_an_instance_or_is_refused(schema: Any):
    try:
        sample(schema, "tools")
    except BadRequest as failure:
        assert failure.param == "tools"


GROWS: dict[str, Any] = {
    "const": {"type": "array", "minItems": 1000, "items": {"const": "c" * 50_000}},
    "default": {"type": "array", "minItems": 1000, "items": {"default": "c" * 50_000}},
    "enum": {"type": "array", "minItems": 1000, "items": {"enum": ["c" * 50_000]}},
    "additionalProperties": {
        "type": "object",
        "required": [f"r{i}" for i in range(1000)],
        "additionalProperties": {"const": "c" * 50_000},
    },
    "prefixItems": {
        "type": "array",
        "prefixItems": [{"$ref": "#/$defs/a"}] * 1000,
        "$defs": {"a": {"const": "c" * 50_000}},
    },
    "names": {
        "type": "array",
        "minItems": 1000,
        "items": {"type": "object", "required": ["n" * 50_000]},
    },
}


@pytest.mark.parametrize("schema", GROWS.values(), ids=GROWS)
def test_what_a_schema_holds_is_counted_each_time_it_is_used(schema: Json):
    with pytest.raises(BadRequest) as caught:
        sample(schema, "tools")
    assert (caught.value.param, caught.value.code) == ("tools", "invalid_value")


def test_a_large_schema_has_a_large_instance():
    schema = only(
        *(f"property_{i}" for i in range(5000)), type="string", description="What it is about, in some words."
    )
    assert sample(schema, "tools") == {f"property_{i}": "echo" for i in range(5000)}
