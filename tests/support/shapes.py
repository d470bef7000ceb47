"""Inputs of a given size in their worst shapes: deep, wide, repeated, many empties, one huge text.

Each function takes a count n and returns an input whose size is proportional to it.
"""

import json
from collections.abc import Callable, Iterator
from typing import Any, Final

Json = dict[str, Any]
Make = Callable[[int], Any]

HI: Final[Json] = {"role": "user", "content": "hi"}
LARGEST_HASH: Final = 2**61 - 1  # Python's hash of an integer is the rest of a division by this


def user(content: Any) -> Json:
    return {"role": "user", "content": content}


def call(id: str, name: str = "f", arguments: str = "{}") -> Json:
    return {"id": id, "type": "function", "function": {"name": name, "arguments": arguments}}


def called(*calls: Json, **more: Any) -> Json:
    return {"role": "assistant", "content": None, "tool_calls": list(calls), **more}


def result(id: str, content: Any = "1") -> Json:
    return {"role": "tool", "tool_call_id": id, "content": content}


def tool(name: str, parameters: Json | None = None, **more: Any) -> Json:
    return {"type": "function", "function": {"name": name, "parameters": parameters or {}, **more}}


def turns(n: int, id: Callable[[int], str]) -> list[Json]:
    """n assistant turns with a call each, and its result."""
    return [HI, *(message for i in range(n) for message in (called(call(id(i))), result(id(i))))]


def image(n: int) -> Json:
    return {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "iVBORw0KGgo" * n}}


# Messages of a chat request that every protocol takes.
MESSAGES: Final[dict[str, Make]] = {
    "one huge text": lambda n: [user("x" * n)],
    "one text of many escapes": lambda n: [user("\x00" * n)],
    "one text of blanks": lambda n: [user(" " * n)],
    "one text of many words": lambda n: [user("a " * n)],
    "many messages": lambda n: [HI] * n,
    "many empty messages": lambda n: [user("")] * n,
    "many system messages": lambda n: [{"role": "system", "content": "x"}] * n + [HI],
    "system messages between": lambda n: [HI, {"role": "system", "content": "x"}] * n,
    "many parts": lambda n: [user([{"type": "text", "text": "x"}] * n)],
    "many empty parts": lambda n: [user([{"type": "text", "text": ""}] * n + [{"type": "text", "text": "x"}])],
    "calls of one turn": lambda n: [
        HI,
        called(*(call(f"c{i}") for i in range(n))),
        *(result(f"c{i}") for i in range(n)),
    ],
    "calls of one turn, answered backwards": lambda n: [
        HI,
        called(*(call(f"c{i}") for i in range(n))),
        *(result(f"c{i}") for i in reversed(range(n))),
    ],
    "calls of many tools": lambda n: [
        HI,
        called(*(call(f"c{i}", f"f{i}") for i in range(n))),
        *(result(f"c{i}") for i in range(n)),
    ],
    "calls of tools whose names differ in a sign": lambda n: [
        HI,
        called(*(call(f"c{i}", "a" * 100 + f"!{i}") for i in range(n))),
        *(result(f"c{i}") for i in range(n)),
    ],
    "results without calls": lambda n: [*(result(f"c{i}") for i in range(n)), HI],
    "calls without results": lambda n: [m for i in range(n) for m in (called(call(f"c{i}")), HI)],
    "one call many times, then its results": lambda n: [*[called(call("c"))] * n, HI, *[result("c")] * n, HI],
    "calls, then their results": lambda n: [
        *(called(call(f"c{i}")) for i in range(n)),
        HI,
        *(result(f"c{i}") for i in range(n)),
        HI,
    ],
    "one id in many turns": lambda n: turns(n, lambda i: "call_0"),
    "ids that become one": lambda n: turns(n, lambda i: f"call:{'!' * (i % 40)}"),
    "ids of many turns": lambda n: turns(n, lambda i: f"call_{i}"),
    "huge arguments": lambda n: [HI, called(call("c", "f", '{"a":"' + "x" * n + '"}')), result("c")],
    "arguments that are no JSON": lambda n: [HI, called(call("c", "f", "{" * n)), result("c")],
    "a huge result": lambda n: [HI, called(call("c")), result("c", "x" * n)],
    "results of many parts": lambda n: [HI, called(call("c")), result("c", [{"type": "text", "text": "x"}] * n)],
    "thinking brought back": lambda n: [
        HI,
        called(call("c"), thinking_blocks=[{"type": "thinking", "thinking": "x", "signature": "y"}] * n),
        result("c"),
    ],
    "reasoning brought back": lambda n: [HI, called(call("c"), reasoning_content="x" * n), result("c")],
    "fields of a message": lambda n: [HI, {"role": "assistant", "content": "x"} | {f"f{i}": 0 for i in range(n)}, HI],
    "many images": lambda n: [user([image(4)] * n)],
    "a huge image": lambda n: [user([image(n)])],
    "a data URI without a comma": lambda n: [user([{"type": "image_url", "image_url": {"url": "data:" + ";" * n}}])],
    "a data URI of many options": lambda n: [
        user([{"type": "image_url", "image_url": {"url": "data:image/png" + ";a=b" * n + ";base64,iVBORw0KGgo="}}])
    ],
    "a textual file": lambda n: [user([{"type": "file", "file": {"file_data": "data:text/plain," + "x" * n}}])],
    "a textual file of escapes": lambda n: [
        user([{"type": "file", "file": {"file_data": "data:text/plain," + "%41%" * n}}])
    ],
    "a huge URL": lambda n: [user([{"type": "image_url", "image_url": {"url": "https://x/" + "a" * n}}])],
}


def _named(n: int, one: Callable[[int], Any]) -> Json:
    return {f"p{i}": one(i) for i in range(n)}


def _nested(n: int, around: Callable[[Any], Any]) -> Any:
    schema: Any = {"type": "string"}
    for _ in range(min(n, 200)):  # more is refused before it is looked at: see "an unknown deep field"
        schema = around(schema)
    return schema


def _chain(n: int) -> Json:
    """References that lead to references, with a word of its own beside each."""
    return {"$ref": "#/$defs/d0", "$defs": {f"d{i}": {"$ref": f"#/$defs/d{i + 1}", f"w{i}": i} for i in range(n)}}


def _spellings() -> Iterator[str]:
    """Ways to spell `#/$defs/abcdefgh`: any of its letters may be escaped."""
    for mask in range(2**8):
        yield "#/$defs/" + "".join(f"%{ord(c):x}" if mask >> k & 1 else c for k, c in enumerate("abcdefgh"))


def _object(**properties: Any) -> Json:
    return {"type": "object", "properties": properties, "additionalProperties": False, "required": [*properties]}


# JSON schemas, for tools and for response_format.
SCHEMAS: Final[dict[str, Make]] = {
    "many properties": lambda n: _object(**_named(n, lambda i: {"type": "string"})),
    "many properties of anything": lambda n: _object(**_named(n, lambda i: True)),
    "many empty properties": lambda n: {"type": "object", "properties": _named(n, lambda i: {})},
    "required names without properties": lambda n: {
        "type": "object",
        "properties": _named(n, lambda i: {}),
        "required": [f"q{i}" for i in range(n)],
    },
    "required names, filled in": lambda n: {
        "type": "object",
        "required": [f"q{i}" for i in range(n)],
        "additionalProperties": {"const": "x" * n},
    },
    "deep objects": lambda n: _nested(n, lambda inner: _object(a=inner)),
    "deep arrays": lambda n: _nested(n, lambda inner: {"type": "array", "items": inner}),
    "deep allOf": lambda n: _nested(n, lambda inner: {"allOf": [inner]}),
    "many values": lambda n: _object(a={"type": "string", "enum": [f"v{i}" for i in range(n)]}),
    "many values, null among them": lambda n: _object(a={"enum": [None, *(f"v{i}" for i in range(n))]}),
    "many alternatives": lambda n: _object(a={"anyOf": [{"type": "string"}] * n}),
    "many alternatives, said twice": lambda n: _object(a={"anyOf": [{}] * n, "oneOf": [{}] * n}),
    "a tuple": lambda n: _object(a={"type": "array", "prefixItems": [{"type": "string"}] * n}),
    "a huge description": lambda n: _object(a={"type": "string", "description": "x" * n}),
    "many unknown keywords": lambda n: _object(a={"type": "string"} | {f"x-{i}": 0 for i in range(n)}),
    "references to a large object": lambda n: {
        **_object(**_named(n, lambda i: {"$ref": "#/$defs/a"})),
        "$defs": {"a": _object(**_named(n, lambda i: {"type": "string"}))},
    },
    "references to an object of anything": lambda n: {
        **_object(**_named(n, lambda i: {"$ref": "#/$defs/a"})),
        "$defs": {"a": {"type": "object", "properties": _named(n, lambda i: True)}},
    },
    "references to a long description": lambda n: {
        **_object(**_named(n, lambda i: {"$ref": "#/$defs/a"})),
        "$defs": {"a": {"type": "string", "description": "x" * n}},
    },
    "references to many values": lambda n: {
        **_object(**_named(n, lambda i: {"$ref": "#/$defs/a"})),
        "$defs": {"a": {"enum": [f"v{i}" for i in range(n)]}},
    },
    "one reference in many spellings": lambda n: {
        **_object(**{f"r{i}": {"$ref": ref} for i, ref in zip(range(n), _spellings(), strict=False)}),
        "$defs": {"abcdefgh": _object(**_named(n, lambda i: {"type": "string"}))},
    },
    "a chain of references": lambda n: {
        "$defs": {f"d{i}": _object(a={"$ref": f"#/$defs/d{i + 1}"}) for i in range(n)} | {f"d{n}": {}},
        "$ref": "#/$defs/d0",
    },
    "a chain of references, backwards": lambda n: {
        "$defs": {f"d{i}": _object(a={"$ref": f"#/$defs/d{i - 1}"}) for i in range(1, n)} | {"d0": {}},
        **_object(a={"$ref": f"#/$defs/d{n - 1}"}),
    },
    "a chain of references, a word beside each": _chain,
    "a branch of a chain of references": lambda n: {"anyOf": [{"$ref": "#/$defs/d0"}], "$defs": _chain(n)["$defs"]},
    "two references at each step": lambda n: {
        "$defs": {f"d{i}": _object(a={"$ref": f"#/$defs/d{i + 1}"}, b={"$ref": f"#/$defs/d{i + 1}"}) for i in range(n)}
        | {f"d{n}": {}},
        "$ref": "#/$defs/d0",
    },
    "cycles of one name": lambda n: {
        "$defs": {f"d{i}": {"T": {"properties": {"x": {"$ref": f"#/$defs/d{i}/T"}}}} for i in range(n)},
        "properties": {f"r{i}": {"$ref": f"#/$defs/d{i}/T"} for i in range(n)},
    },
    "cycles of a long name": lambda n: {
        "$defs": {"T" * n: {"properties": {f"x{i}": {"$ref": "#/$defs/" + "T" * n} for i in range(8)}}},
        "properties": {f"r{i}": {"$ref": "#/$defs/" + "T" * n} for i in range(8)},
    },
    "a long reference, referred to": lambda n: {
        "$defs": {"a": {"$ref": "#/$defs/" + "b" * n}, "b" * n: {}},
        "properties": _named(n, lambda i: {"$ref": "#/$defs/a"}),
    },
    "allOf of required": lambda n: {
        "allOf": [{"required": [f"a{i}" for i in range(n)]}, {"required": [f"b{i}" for i in range(n)]}]
    },
    "allOf of many required": lambda n: {"allOf": [{"required": [f"a{i}"]} for i in range(n)]},
    "allOf of many properties": lambda n: {"allOf": [{"properties": {f"p{i}": {"type": "null"}}} for i in range(n)]},
    "alternatives beside many properties": lambda n: {
        "type": "array",
        "minItems": n,
        "items": {"$ref": "#/$defs/a"},
        "$defs": {"a": {"anyOf": [{"type": "null"}], "properties": _named(n, lambda i: True)}},
    },
    "an array of a long constant": lambda n: {"type": "array", "minItems": n, "items": {"const": "c" * n}},
    "a tuple of a long constant": lambda n: {
        "prefixItems": [{"$ref": "#/$defs/a"}] * n,
        "type": "array",
        "$defs": {"a": {"default": "c" * n}},
    },
    "a long text": lambda n: {"type": "string", "minLength": n},
}


def _chat(**fields: Any) -> bytes:
    return json.dumps({"model": "m", "messages": [HI], **fields}).encode()


def _numbers(text: bytes) -> bytes:
    return b'{"model":"m","messages":[{"role":"user","content":"hi"}],"x":' + text + b"}"


# Whole bodies of chat requests, as bytes: those of MESSAGES and others.
BODIES: Final[dict[str, Callable[[int], bytes]]] = {
    **{name: lambda n, make=make: _chat(messages=make(n)) for name, make in MESSAGES.items()},
    "unknown fields": lambda n: _chat(**{f"f{i}": 0 for i in range(n)}),
    "an unknown deep field": lambda n: _numbers(b"[" * n + b"]" * n),
    "an unknown wide field": lambda n: _chat(x=[0] * n),
    "an unknown field of objects": lambda n: _chat(x=[{"a": 0}] * n),
    "a name of slashes": lambda n: _chat(model="echo/" + "a/" * n),
    "a long name": lambda n: _chat(model="echo/" + "a" * n),
    "an integer of many digits": lambda n: _numbers(b"1" * n),
    "a decimal of many digits": lambda n: _numbers(b"0." + b"1" * n),
    "many long integers": lambda n: _numbers(b"[" + b",".join([b"1" * 40] * n) + b"]"),
    "out of range, after a text": lambda n: _numbers(b'["' + b"x" * n + b'",1e999]'),
    "out of range, after many values": lambda n: _numbers(b"[" + b"0," * n + b"1e999]"),
    "out of range, in a list under a long name": lambda n: _numbers(b'{"' + b"k" * n + b'":[' + b"0," * n + b"1e999]}"),
    "half a surrogate pair at the end": lambda n: _numbers(b'"' + "汉".encode() * n + b'\\ud800"'),
    "many escapes": lambda n: _numbers(b'"' + b"\\u6c49" * n + b'"'),
    "bad UTF-8 at the end": lambda n: _numbers(b'"' + b"x" * n + b'\xff"'),
    "cut short": lambda n: b'{"model":"m","messages":[' + b'{"role":"user","content":"hi"},' * n,
    "tool choice of many": lambda n: _chat(
        tools=[tool("f")],
        tool_choice={
            "type": "allowed_tools",
            "allowed_tools": {"mode": "auto", "tools": [{"type": "function", "function": {"name": "f"}}] * n},
        },
    ),
    "many tools": lambda n: _chat(tools=[tool(f"t{i}") for i in range(n)]),
    "functions called, answered in the order of the calls": lambda n: _chat(
        messages=[
            HI,
            *({"role": "assistant", "content": None, "function_call": {"name": f"f{i}"}} for i in range(n)),
            *({"role": "function", "name": f"f{i}", "content": "1"} for i in range(n)),
        ]
    ),
    "one function called often": lambda n: _chat(
        messages=[
            HI,
            *({"role": "assistant", "content": None, "function_call": {"name": "f"}} for i in range(n)),
            *({"role": "function", "name": "f", "content": "1"} for i in range(n)),
        ]
    ),
    "a result of no call": lambda n: _chat(messages=[HI, result("x" * n)]),
    "calls without results": lambda n: _chat(messages=[HI, called(*(call(f"c{i}") for i in range(n)))]),
    "a long stop": lambda n: _chat(stop="x" * n),
}

EMBEDDINGS: Final[dict[str, Make]] = {
    "one huge text": lambda n: "x" * n,
    "many words": lambda n: "a " * n,
    "many texts": lambda n: ["x"] * n,
    "many empty texts": lambda n: ["x"] * n + [""],
    "many tokens": lambda n: [1] * n,
    "tokens and a text": lambda n: [1] * n + ["x"],
    "many arrays of tokens": lambda n: [[1]] * n,
    "arrays of many tokens": lambda n: [[1] * n] * 4,
}

# Several tools that share a large part each, and a tool with many references.
TOOLS: Final[dict[str, Make]] = {
    "many tools": lambda n: [tool(f"t{i}", _object(a={"type": "string"})) for i in range(n)],
    "many strict tools": lambda n: [tool(f"t{i}", _object(a={"type": "string"}), strict=True) for i in range(n)],
    "tools of one name": lambda n: [tool("t")] * n,
    "tools whose names become one": lambda n: [tool("a" * 100 + "!" * (i % 50)) for i in range(n)],
    "tools that stand for an answer": lambda n: [
        tool("json_response"),
        *(tool(f"json_response_{i + 2}") for i in range(n)),
    ],
    "references of several tools": lambda n: [
        tool(f"t{i}", SCHEMAS["references to a long description"](n // 4)) for i in range(4)
    ],
    "a tool of a huge description": lambda n: [tool("t", description="x" * n)],
}
