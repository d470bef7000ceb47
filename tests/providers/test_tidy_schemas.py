"""Schemas that validators refuse, made tidy; and where they, and the names of schemas, go for every row and protocol."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from jsonschema.exceptions import SchemaError
from rewritten import check_rewrite
from test_histories import CHAT, HOSTS, asked

from providers.anthropic.schema import as_input
from providers.common.tidy_schemas import tidied
from providers.errors import BadRequest

Json = dict[str, Any]
STR = {"type": "string"}
INT = {"type": "integer"}


def holder(required: Any = None, **properties: Any) -> Json:
    return {"type": "object", "properties": properties} | ({} if required is None else {"required": required})


# What it shows → the schema, and the same as no validator refuses it.
UNTIDY: dict[str, tuple[Json, Json]] = {
    "PHP's empty object": ({"type": "object", "properties": []}, holder()),
    "… inside": (holder(a={"type": "object", "properties": []}, b=[]), holder(a=holder(), b={})),
    "… elsewhere": (
        holder() | {"additionalProperties": [], "patternProperties": [], "$defs": [], "not": []},
        holder() | {"additionalProperties": {}},
    ),
    "arrays of anything": (
        holder(a={"type": "array"}, b={"type": ["array", "null"]}, c={"type": "array", "items": []}),
        holder(
            a={"type": "array", "items": {}},
            b={"type": ["array", "null"], "items": {}},
            c={"type": "array", "items": {}},
        ),
    ),
    "booleans": (
        holder(a={"items": True}, b=True, c=False, d={"anyOf": [True, STR]}, e={"not": True}),
        holder(a={"items": {}}, b={}, d={"anyOf": [{}, STR]}, e={"not": {}}),
    ),
    "closed tuples": (
        holder(a={"prefixItems": [STR, True], "items": False}, b={"items": False}),
        holder(a={"prefixItems": [STR, {}], "items": {}, "maxItems": 2}, b={"items": {}, "maxItems": 0}),
    ),
    "nulls": (
        holder(a={"type": None, "description": None, "items": None}, b={"const": None, "default": None}, c=None)
        | {"required": None, "title": None},
        holder(a={}, b={"const": None, "default": None}, c={}),
    ),
    "null as a type and a branch": (
        holder(a={"type": ["string", None]}, b={"anyOf": [STR, None]}),
        holder(a={"type": ["string", "null"]}, b={"anyOf": [STR]}),
    ),
    "lists of nothing": (
        holder(a={"anyOf": [], "oneOf": [], "allOf": [], "enum": [], "type": [], "prefixItems": []}),
        holder(a={}),
    ),
    "required: unknown, twice, no names": (holder(["a", "z", "a", 1], a=STR), holder(["a"], a=STR)),
    "required: no list": (
        holder(a=holder("x", x=STR), b=holder({}, x=STR)),
        holder(a=holder(["x"], x=STR), b=holder(x=STR)),
    ),
    "required that another part describes": (
        {"anyOf": [{"required": ["a"]}, {"required": ["b"]}], **holder(["c"], a=STR)},
        {"anyOf": [{"required": ["a"]}, {"required": ["b"]}], **holder(["c"], a=STR)},
    ),
    "required of a map": (
        holder(["z"], a=STR) | {"additionalProperties": STR},
        holder(["z"], a=STR) | {"additionalProperties": STR},
    ),
    "properties that are called like keywords": (
        {"properties": dict.fromkeys(("items", "required", "enum", "type", "anyOf"), STR)},
        {"properties": dict.fromkeys(("items", "required", "enum", "type", "anyOf"), STR)},
    ),
    "values, which are no schemas": (
        holder(a={"default": {"properties": []}, "enum": [[], None, True], "const": []}),
        holder(a={"default": {"properties": []}, "enum": [[], None, True], "const": []}),
    ),
}


@pytest.mark.parametrize(("schema", "expected"), UNTIDY.values(), ids=UNTIDY)
def test_a_schema_is_made_tidy(schema: Json, expected: Json) -> None:
    check_rewrite(tidied, schema, expected)
    Draft202012Validator.check_schema(expected)


INNER = st.sampled_from([STR, INT, {}, True, False])
SCHEMAS = st.fixed_dictionaries(
    {},
    optional={
        "type": st.sampled_from(["array", "object", "string", ["array", "null"]]),
        "items": INNER,
        "prefixItems": st.lists(INNER, min_size=1, max_size=2),
        "anyOf": st.lists(INNER, min_size=1, max_size=2),
        "not": INNER,
        "required": st.just(["a"]),
        "properties": st.dictionaries(st.just("a"), st.sampled_from([STR, INT, {}, True]), min_size=1),
        "maxItems": st.integers(0, 2),
    },
)
VALUES = st.sampled_from([None, 1, "a", [], [1], ["a", 1], [1, 2, 3], {}, {"a": 1}, {"a": "x"}, {"b": 1}])


@settings(max_examples=300, deadline=None)
@given(SCHEMAS, VALUES)
def test_a_tidy_schema_lets_the_same_through(schema: Json, value: Any) -> None:
    assert Draft202012Validator(tidied(schema, "p")).is_valid(value) >= Draft202012Validator(schema).is_valid(value)
    if "maxItems" not in schema:
        assert Draft202012Validator(tidied(schema, "p")).is_valid(value) == Draft202012Validator(schema).is_valid(value)


ODD_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(0, 2) | st.sampled_from(["a", "array", "object"]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(
        st.sampled_from(["type", "items", "properties", "required", "anyOf", "enum", "not", "$ref", "$defs"]), inner, max_size=4
    ),
    max_leaves=12,
)  # fmt: skip


@settings(max_examples=200, deadline=None)
@given(
    st.dictionaries(
        st.sampled_from(["type", "items", "properties", "required", "anyOf", "additionalProperties"]), ODD_VALUES
    )
)
def test_any_schema_is_tidied_once(schema: Json) -> None:
    made = tidied(schema, "p")
    assert tidied(made, "p") == made
    as_input(schema, "p")


# Where they go


def tool(**more: Any) -> Json:
    return {"type": "function", "function": {"name": "f", **more}}


def parameters(host: str, schema: Any, model: str = "") -> Any:
    """The parameters of a tool as the upstream gets them."""
    made = asked(host, [{"role": "user", "content": "hi"}], model, tools=[tool(parameters=schema)]).body["tools"][0]
    if host == "gemini":
        return made["functionDeclarations"][0].get("parametersJsonSchema")
    return made.get("input_schema") or made.get("parameters") or made["function"]["parameters"]


EVERYWHERE = [*((host, "") for host in CHAT), ("openai", "gpt-6-astra"), ("anthropic", ""), ("gemini", "")]
MENDED = (
    "PHP's empty object",
    "arrays of anything",
    "null as a type and a branch",
    "required: unknown, twice, no names",
)


@pytest.mark.parametrize(("host", "model"), EVERYWHERE)
def test_a_tools_schema_is_tidy_everywhere(host: str, model: str) -> None:
    for what in MENDED:
        schema, expected = UNTIDY[what]
        assert parameters(host, schema, model) == (None if host == "gemini" and expected == holder() else expected), (
            what
        )
    assert parameters(host, [], model) in (None, {}, holder())
    named = holder(x=STR)
    referred = parameters(host, {"$ref": "#/$defs/A", "$defs": {"A": named}}, model)
    assert referred in (named, named | {"$defs": {"A": named}})


def test_a_tool_without_parameters() -> None:
    """Mistral: 422 "parameters: Field required"."""
    user = [{"role": "user", "content": "hi"}]
    given = {host for host in CHAT if "parameters" in asked(host, user, tools=[tool()]).body["tools"][0]["function"]}
    assert given == {"mistral", "xai", "zhipu", "minimax", "qianfan"}
    for strict in ({}, {"strict": True}):
        flat = asked("openai", user, "gpt-6-astra", tools=[tool(**strict)]).body["tools"][0]
        closed = {"additionalProperties": False} if strict else {}
        assert flat == {"type": "function", "name": "f", "parameters": holder() | closed, "strict": bool(strict)}


@pytest.mark.parametrize("host", ["anthropic", "gemini"])
def test_parameters_are_an_object(host: str) -> None:
    for schema in (STR, {"type": "array", "items": STR}):
        with pytest.raises(BadRequest) as refused:
            parameters(host, schema)
        assert refused.value.param == "tools[0].function.parameters.type"
    assert parameters(host, holder(a=STR) | {"type": ["object", "null"]}) == holder(a=STR)


def answer_format(schema: Any, **more: Any) -> Json:
    return {"type": "json_schema", "json_schema": {"name": "n", "schema": schema} | more}


def test_a_schema_for_the_answer_is_tidy_everywhere() -> None:
    user = [{"role": "user", "content": "hi"}]
    schema = holder(a={"type": "array", "items": STR, "description": None}, b={"type": "object", "properties": []})
    tidy = holder(a={"type": "array", "items": STR}, b=holder())
    for host in CHAT:
        made = asked(host, user, response_format=answer_format(schema)).body
        if HOSTS[host].json_schema:
            assert made["response_format"] == answer_format(tidy), host
        else:
            assert '"description":null' not in made["messages"][0]["content"]
        assert asked(host, user, response_format=answer_format([])).body["response_format"]
    made = asked("openai", user, "gpt-5.5-pro", response_format=answer_format(schema)).body
    assert made["text"]["format"] == {"type": "json_schema", "name": "n", "schema": tidy}
    made = asked("anthropic", user, response_format=answer_format(holder(a={"type": "string", "title": None}))).body
    assert made["output_config"]["format"]["schema"] == holder(a=STR) | {"additionalProperties": False}
    made = asked("gemini", user, response_format=answer_format(schema)).body
    assert made["generationConfig"]["responseJsonSchema"] == holder(
        a={"type": "array", "items": STR}, b={"type": "object"}
    )


@pytest.mark.parametrize(
    ("name", "there"),
    [
        ("missing", "answer"),
        (None, "answer"),
        ("", "answer"),
        ("a b/c.d", "a_b_c_d"),
        ("x" * 80, "x" * 64),
        ("ok-1", "ok-1"),
    ],
)
def test_the_name_of_a_schema_fits(name: Any, there: str) -> None:
    """OpenAI: 400 "Missing required parameter: 'response_format.json_schema.name'", or that it does not match the pattern."""
    user = [{"role": "user", "content": "hi"}]
    wanted = answer_format(holder(a=STR), name=name)
    if name == "missing":
        del wanted["json_schema"]["name"]
    for host in CHAT:
        if not HOSTS[host].json_schema:
            continue
        made = asked(host, user, response_format=wanted)
        fits = there if HOSTS[host].tool_names or there == "answer" else name
        assert made.body["response_format"]["json_schema"]["name"] == fits, host
        assert made.dropped == ()
    assert asked("openai", user, "gpt-5.5-pro", response_format=wanted).body["text"]["format"]["name"] == there


def test_what_was_refused() -> None:
    """The schemas above are what validators refuse: else there were nothing to mend."""
    for what in ("PHP's empty object", "lists of nothing", "null as a type and a branch", "required: no list"):
        with pytest.raises(SchemaError):
            Draft202012Validator.check_schema(UNTIDY[what][0])
