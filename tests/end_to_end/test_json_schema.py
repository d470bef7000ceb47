"""config.schema.json is made from the schema of the loader, takes what the loader takes, and refuses only what it refuses."""

import copy
import json
import random
import re
from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from jsonschema import Draft7Validator
from process import ROOT, run
from test_docs import EXAMPLE, FACTS, uncommented

from gateway.config import load
from gateway.json_schema import SCHEMA_FILE, schema
from gateway.problems import ConfigError

SHIPPED = json.loads((ROOT / SCHEMA_FILE).read_text(encoding="utf-8"))
VALIDATOR = Draft7Validator(SHIPPED)
NAMES = re.findall(r"\$\{(\w+)\}", EXAMPLE)
ENVIRONMENT = {
    name: "https://x.example.com" if name.endswith(("_URL", "_ENDPOINT")) else f"sk-{name}" for name in NAMES
}
SMALL = "families: {}\nmodels: {}\n"


class Editor(yaml.SafeLoader):
    """Reads YAML 1.2, as editors do: `on` and `no` are texts, as is a date."""


Editor.yaml_implicit_resolvers = {
    first: [
        (tag, re.compile("^(?:true|false)$") if tag.endswith(":bool") else pattern)
        for tag, pattern in resolvers
        if not tag.endswith(":timestamp")
    ]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def read(text: str) -> Any:
    """A YAML text as an editor reads it."""
    return yaml.load(text, Loader=Editor)  # noqa: S506


def loads(document: Any) -> bool:
    try:
        load(yaml.dump(document, Dumper=yaml.CSafeDumper, allow_unicode=True), ENVIRONMENT, SMALL)
    except ConfigError:
        return False
    return True


WHOLE = read(uncommented())


def test_the_shipped_schema_is_the_one_that_is_made() -> None:
    Draft7Validator.check_schema(SHIPPED)
    assert schema() == SHIPPED, "python modelserver.py schema > config.schema.json"
    assert json.loads(run("schema").stdout) == SHIPPED


def test_the_example_names_it_in_its_first_line_and_fits() -> None:
    first = (ROOT / "config.yaml").read_text(encoding="utf-8").partition("\n")[0]
    assert first == f"# yaml-language-server: $schema={SCHEMA_FILE}"
    assert list(VALIDATOR.iter_errors(read(EXAMPLE))) == []
    assert list(VALIDATOR.iter_errors(WHOLE)) == []
    assert loads(WHOLE)


WRONG = [
    "sever: {}",
    "server: {prot: 1}",
    "server: {port: 70000}",
    "server: {port: x}",
    "server: {port: 1.5}",
    "server: {max_body: 1GB}",
    "server: {max_body: 3}",
    "server: {log: yaml}",
    "server: {fetch_images: maybe}",
    "server: {timeouts: {total: 0}}",
    "server: []",
    "keys: {}",
    "keys: [{key: k}]",
    "keys: [{name: a, budget_period: week}]",
    "keys: [{name: a, models: echo}]",
    "providers: {openai: {api_key: {a: b}}}",
    "providers: {mine: {overrides: {dorp: [seed]}}}",
    "providers: {mine: {overrides: {protocol: openai}}}",
    "providers: {mine: {overrides: {clamp: {temperature: [0]}}}}",
    "providers: {mine: {on_disconnect: drain}}",
    "models: {a: {first_byte: 5}}",
    "models: {a: {targets: {echo: 0}}}",
    "usage: {retention_days: 0}",
    "shared_state: {on_unavailable: ajar}",
]


@pytest.mark.parametrize("text", WRONG)
def test_what_is_wrong_is_seen_in_the_editor(text: str) -> None:
    assert list(VALIDATOR.iter_errors(read(text)))
    assert not loads(read(text))


RIGHT = [
    "",
    "server:",
    "server: {port: '8080', max_body: '${SIZE}', fetch_images: 'No', drain: '1e3', host: '${HOST}'}",
    "server: {max_event: 32 KiB, allowed_hosts: [1, true]}",
    "keys: [{name: 1, sha256: 5, models: [no, 1.10]}]",
    "providers: {mine: {host: '${HOST}', protocol: openai, overrides: {forced_tools: no, clamp: {temperature: [0, '1']}}}}",
    "models: {a: 5, b: [1], c: {targets: {x: 0.5, y: '2'}}}",
    "defaults: {temperature: 1, stop: [a]}",
    "shared_state: redis://x",
]


@pytest.mark.parametrize("text", RIGHT)
def test_what_the_loader_may_read_is_not_refused(text: str) -> None:
    assert list(VALIDATOR.iter_errors(read(text) if text else {})) == []


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path of every value below this one."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, each in items:
        yield (*path, name)
        yield from places(each, (*path, name))


OTHERS = [
    None,
    "x",
    "",
    5,
    -1,
    0,
    1.5,
    1e12,
    True,
    [],
    {},
    ["x"],
    {"x": 1},
    [["x"]],
    "5",
    " 7 ",
    "1KiB",
    "${OPENAI_API_KEY}",
]


def test_what_the_schema_refuses_the_loader_refuses() -> None:
    chance = random.Random(7)
    everywhere = list(places(WHOLE))
    refused = 0
    for path in [*chance.choices(everywhere, k=500), *everywhere[:: len(everywhere) // 40]]:
        document = copy.deepcopy(WHOLE)
        above: Any = document
        for name in path[:-1]:
            above = above[name]
        above[path[-1]] = copy.deepcopy(chance.choice(OTHERS))
        if chance.random() < 0.1 and isinstance(above, dict):
            above[chance.choice(["x", "rest", "benched"])] = 1
        if not VALIDATOR.is_valid(document):
            refused += 1
            assert not loads(document), (path, above[path[-1]])
    assert refused > 100


def test_a_real_document_with_known_facts_loads() -> None:
    assert load(EXAMPLE, ENVIRONMENT, FACTS).providers
