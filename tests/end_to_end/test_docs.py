"""config.yaml is the reference: every key of gateway/config_schema.py, its default and its limits stand in it, and it loads."""

import re
import types
from collections.abc import Iterator
from typing import Annotated, Any, Literal, NamedTuple, Union, get_args, get_origin

import msgspec
import pytest
import yaml
from model_table import FACTS
from process import ROOT

from gateway import config_schema
from gateway.config import load
from gateway.config_schema import Config, KeyConfig, ProviderConfig, RouteConfig, Section

FIRST_LINE = (
    "# yaml-language-server: $schema=config.schema.json\n"  # for editors; it looks like a key that is commented out
)
EXAMPLE = (ROOT / "config.yaml").read_text(encoding="utf-8").removeprefix(FIRST_LINE)
LINE = re.compile(
    r"^(?P<indent> *)(?P<off># )?(?P<inner> *)(?:- )?(?P<key>[\w.-]+|\"[^\"]+\"):"
    r"(?: +(?P<value>[^#\n]*?))?\s*(?:#\s*(?P<note>.*))?$"
)
NAMES = {("providers",), ("models",)}  # sections whose keys are the user's names


class Entry(NamedTuple):
    """What config.yaml says of a key: its value, as YAML reads it, and the comment behind it."""

    value: Any
    note: str
    commented: bool


def entries() -> dict[tuple[str, ...], Entry]:
    """Every key of the example, commented out or not, by its path; a user's name stands as *."""
    found: dict[tuple[str, ...], Entry] = {}
    above: list[tuple[int, str]] = []
    for line in EXAMPLE.splitlines():
        match = LINE.match(line)
        if match is None:
            continue
        # `# ` takes two columns, as does `- `: a commented key stands as deep as it would without.
        depth = len(match["indent"]) + len(match["inner"]) + (2 if re.search(r"^\W*- ", line) else 0)
        while above and above[-1][0] >= depth:
            above.pop()
        parents = tuple(name for _, name in above)
        name = "*" if parents in NAMES else match["key"]
        above.append((depth, name))
        found.setdefault(
            (*parents, name),
            Entry(yaml.safe_load(match["value"] or "null"), match["note"] or "", bool(match["off"])),
        )
    return found


def fields(
    kind: type[Section], path: tuple[str, ...] = (), seen: set[type[Section]] | None = None
) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every field of the schema with its path, those of sections in sections included, at the first place that has them."""
    seen = seen if seen is not None else set()
    for field in msgspec.structs.fields(kind):
        here = (*path, field.name)
        yield here, field
        for inner, name in sections(field.type):
            if inner not in seen:
                seen.add(inner)
                yield from fields(inner, (*here, "*") if name else here, seen)


def sections(kind: Any) -> Iterator[tuple[type[Section], bool]]:
    """The sections a type holds, and whether they stand under names of the user's."""
    origin, inside = get_origin(kind), get_args(kind)
    if isinstance(kind, type) and issubclass(kind, Section):
        yield kind, False
    elif origin is dict:
        yield from ((section, True) for section, _ in sections(inside[1]))
    elif origin in (tuple, Union, types.UnionType):
        for each in inside:
            yield from sections(each)


FIELDS = dict(fields(Config))
ENTRIES = entries()
DOCUMENTED = [path for path in FIELDS if path != ()]


def said(path: tuple[str, ...]) -> str:
    """The comments that speak about a key: behind it, and behind or above the section it stands in."""
    above = ENTRIES[path[:-1]].note if path[:-1] in ENTRIES else ""
    return f"{ENTRIES[path].note} {above}"


def test_the_walk_finds_all_sections():
    kinds = {kind for kind in vars(config_schema).values() if isinstance(kind, type) and issubclass(kind, Section)} - {
        Section
    }
    walked = {Config}
    for field in FIELDS.values():
        walked |= {section for section, _ in sections(field.type)}
    assert walked == kinds
    assert ("server", "timeouts", "connect") in FIELDS and ("models", "*", "defaults") in FIELDS


@pytest.mark.parametrize("path", DOCUMENTED, ids=".".join)
def test_every_key_is_documented(path: tuple[str, ...]):
    assert path in ENTRIES, f"config.yaml does not mention {'.'.join(path)}"


@pytest.mark.parametrize("path", sorted(ENTRIES), ids=".".join)
def test_nothing_else_is_documented(path: tuple[str, ...]):
    free = ("defaults", "model_facts")  # what stands there is the upstream's, or models.yaml's
    assert path in FIELDS or path[0] in free or path[:-1] in NAMES, f"the schema has no {'.'.join(path)}"


WRITTEN = [
    path
    for path, field in FIELDS.items()
    if not field.required
    and not any(True for _ in sections(field.type))
    and path[0] in ("server", "usage", "shared_state")
    and path != ("usage", "path")  # the example has a ledger
] + [("strict_params",), ("model_facts",)]


@pytest.mark.parametrize("path", WRITTEN, ids=".".join)
def test_the_value_shown_is_the_default(path: tuple[str, ...]):
    shown: Any = {path[-1]: ENTRIES[path].value}
    for name in reversed(path[:-1]):
        shown = {name: shown}
    read: Any = load(yaml.safe_dump(shown), {}, "families: {}\nmodels: {}").config
    default: Any = Config()
    for name in path:
        read, default = getattr(read, name), getattr(default, name)
    assert read == default


@pytest.mark.parametrize(
    "path, default",
    [
        (("keys", "models"), '["*"]'),
        (("keys", "rpm"), "0"),
        (("keys", "tpm"), "0"),
        (("keys", "concurrency"), "0"),
        (("keys", "budget_usd"), "0"),
        (("keys", "budget_period"), "month"),
        (("keys", "expires"), "none"),
        (("usage", "path"), "none"),
        (("providers", "*", "on_disconnect"), "cancel"),
        (("providers", "*", "finish_seconds"), "60"),
        (("providers", "*", "protocol"), "that of the known name"),
        (("providers", "*", "host"), "its own name"),
        (("providers", "*", "reasoning"), "true"),
    ],
    ids=lambda each: ".".join(each) if isinstance(each, tuple) else None,
)
def test_defaults_of_examples_are_told_in_words(path: tuple[str, ...], default: str):
    assert f"default {default}" in said(path) or f"default: {default}" in said(path)


def limits(kind: Any) -> dict[str, float]:
    if get_origin(kind) is not Annotated:
        return {}
    meta = get_args(kind)[1]
    return {name: bound for name in ("ge", "gt", "le", "lt") if (bound := getattr(meta, name, None)) is not None}


def words(bound: float) -> str:
    """A bound as config.yaml writes it."""
    for unit, size in (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)):
        if bound >= size and bound % size == 0:
            return f"{bound // size}{unit}"
    return f"{bound:g}" if bound < 1e6 else str(bound)


LIMITED = [path for path, field in FIELDS.items() if limits(field.type)]


@pytest.mark.parametrize("path", LIMITED, ids=".".join)
def test_limits_are_told(path: tuple[str, ...]):
    for name, bound in limits(FIELDS[path].type).items():
        if (name, bound) != ("gt", 0):  # a time of nothing needs no word
            assert re.search(rf"(?<![\w.]){re.escape(words(bound))}(?![\w.])", said(path)), (
                f"{words(bound)} is not told"
            )


def test_there_are_limits_to_tell():
    assert {("server", "port"), ("server", "max_body"), ("server", "drain"), ("server", "timeouts", "total")} <= {
        *LIMITED
    }


CHOICES = [path for path, field in FIELDS.items() if get_origin(field.type) is Literal]


@pytest.mark.parametrize("path", CHOICES, ids=".".join)
def test_choices_are_told(path: tuple[str, ...]):
    assert all(word in f"{said(path)} {ENTRIES[path].value}" for word in get_args(FIELDS[path].type))


def test_the_example_loads_without_any_environment():
    settings = load(EXAMPLE, {}, FACTS)
    assert settings.off["openai"] == "OPENAI_API_KEY"
    assert {*settings.off} == {*settings.config.providers} - {"echo"}
    assert list(settings.routes.public(("*",))) == ["echo"]
    assert settings.config.defaults == {"temperature": 0.7}
    assert settings.keys == {}


def test_the_example_loads_with_a_key():
    settings = load(EXAMPLE, {"OPENAI_API_KEY": "sk-test"}, FACTS)
    assert "openai" not in settings.off
    assert list(settings.routes.public(("*",)))[:3] == ["echo", "gpt-6-astra", "gpt-6-sol"]


def uncommented() -> str:
    """The example with every commented key in use: a comment that is no key stays one."""
    lines = []
    for line in EXAMPLE.splitlines():
        match = re.match(r"^( *)# ( *(?:- )?[\w\"*.-]+:(?: .*)?)$", line)
        lines.append(f"{match[1]}{match[2]}" if match else line)
    return "\n".join(lines)


def test_every_line_of_the_example_is_valid():
    environment = {name: f"sk-{name}" for name in re.findall(r"\$\{(\w+)\}", EXAMPLE)}
    environment |= {name: "https://x.example.com" for name in environment if name.endswith(("_URL", "_ENDPOINT"))}
    settings = load(uncommented(), environment, FACTS)
    assert [caller.name for caller in settings.keys.values()] == ["laptop", "team"]
    assert {*settings.providers} >= {"openai", "echo", "mine"} and settings.off == {}
    assert settings.config.models["my-model"] == RouteConfig(
        targets=("mine/my-model", "openai/gpt-5.4"), first_byte=600.0
    )
    assert settings.config.server == Config().server
    assert {type(each) for each in settings.config.providers.values()} == {ProviderConfig}
    assert {type(each) for each in settings.config.keys} == {KeyConfig}
