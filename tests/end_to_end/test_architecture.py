"""Five rings, imports pointing inward; the three inner ones touch no socket, file, clock or variable.

Inside providers/ and server/ imports point one way too.
"""

import ast
import builtins
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
from process import ROOT

from providers import PROVIDERS
from providers.hosts import HOSTS

RINGS = [
    "providers",
    "dialects",
    "gateway",
    "server",
    "modelserver",
]  # from the inside out: each may import those before it
PURE = ["providers", "dialects", "gateway"]
# Inside a ring, from the inside out: each file or folder may import those of its own line and of the lines before it. A file
# in a folder may stand in another line than the rest of it.
ORDERS = {
    "providers": [
        "bounded_dict codec density endpoints errors hosts models model_table near_words raw_json",
        "sse",
        "contract",
        "catalogue chunks common frames runs",
        "anthropic echo gemini openai",
    ],
    "server": [
        "aiohttp_internals answer auth content_encoding event_stream key_file markdown masking paths preflight terminal"
        " throttle tracebacks worker",
        "json_answer logs page",
        "admission docs process.listener process.memory process.systemd responses_store",
        "outbound usage",
        "config_file discovery generations managed_keys traces",
        "state",
        "responses",
        "request",
        "error_response ingress inspector prometheus whole_response",
        "admin attempts calls counting delivery explain handlers middleware model_targets openapi passing reading rendering"
        " responses_endpoints",
        "process",
        "commands",
    ],
}
PROTOCOLS = ["anthropic", "echo", "gemini", "openai"]
IMPURE = {
    "aiohttp",
    "asyncio",
    "socket",
    "time",
    "os",
    "sqlite3",
    "ssl",
    "threading",
    "pathlib",
    "subprocess",
    "selectors",
}
TOUCHES = {"open", "read_text", "read_bytes", "write_text", "write_bytes", "getenv", "environ", "now", "today"}


def files(ring: str) -> list[Path]:
    return [ROOT / f"{ring}.py"] if ring == "modelserver" else sorted((ROOT / ring).rglob("*.py"))


def imports(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Line and top-level name of every absolute import, those inside functions included."""
    for node in ast.walk(tree):
        match node:
            case ast.Import(names=names):
                yield from ((node.lineno, alias.name.split(".")[0]) for alias in names)
            case ast.ImportFrom(module=str(module), level=0):
                yield node.lineno, module.split(".")[0]


def named(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Line and text of every string that is compared with, or matched against."""
    for node in ast.walk(tree):
        match node:
            case ast.Compare(left=left, comparators=right):
                sides = [left, *right]
            case ast.MatchValue(value=value):
                sides = [value]
            case _:
                continue
        for side in sides:
            for each in ast.walk(side):
                if isinstance(each, ast.Constant) and isinstance(each.value, str):
                    yield each.lineno, each.value


@cache
def parsed(ring: str) -> list[tuple[str, ast.Module]]:
    return [(path.relative_to(ROOT).as_posix(), ast.parse(path.read_text(encoding="utf-8"))) for path in files(ring)]


@pytest.mark.parametrize("ring", RINGS)
def test_imports_point_inward(ring: str):
    outer = RINGS[RINGS.index(ring) + 1 :]
    found = [f"{name}:{line}: {what}" for name, tree in parsed(ring) for line, what in imports(tree) if what in outer]
    assert files(ring) and found == []


@pytest.mark.parametrize("ring", ["providers", "dialects", "gateway", "server"])
def test_relative_imports_stay_in_the_ring(ring: str):
    steep = [
        f"{name}:{node.lineno}"
        for name, tree in parsed(ring)
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.level > name.count("/")
    ]
    assert steep == []


def module(name: str) -> str:
    """The dotted name of a file, its ring left out: "" for the ring itself."""
    return name.removesuffix(".py").removesuffix("/__init__").partition("/")[2].replace("/", ".")


def inner_imports(ring: str) -> Iterator[tuple[str, int, str, str]]:
    """File, line, the importing and the imported module, for every import inside a ring; their names as of `module`."""
    known = {module(name) for name, _ in parsed(ring)}
    for name, tree in parsed(ring):
        folder = name.split("/")[1:-1]
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and (node.level or node.module.split(".")[0] == ring):
                inside = (node.module or "").split(".")
                above = [*folder[: len(folder) + 1 - node.level], *inside] if node.level else inside[1:]
                for alias in node.names:
                    whole = ".".join([*filter(None, above), alias.name])
                    yield name, node.lineno, module(name), whole if whole in known else whole.rpartition(".")[0]


def line_of(order: list[str], name: str) -> int:
    """The place in an order of a module, or of the folder that it is in; -1 where it has none."""
    while name:
        for at, names in enumerate(order):
            if name in names.split():
                return at
        name = name.rpartition(".")[0]
    return -1


@pytest.mark.parametrize("ring", ORDERS)
def test_every_file_has_a_place_in_the_order(ring: str):
    order = ORDERS[ring]
    modules = {module(name) for name, _ in parsed(ring)} - {""}
    assert [name for name in sorted(modules) if line_of(order, name) < 0] == []
    stale = [
        each
        for names in order
        for each in names.split()
        if not any(f"{name}.".startswith(f"{each}.") for name in modules)
    ]
    assert stale == []


@pytest.mark.parametrize("ring", ORDERS)
def test_imports_inside_a_ring_point_one_way(ring: str):
    order = ORDERS[ring]
    found = [
        f"{name}:{line}: {what}"
        for name, line, by, what in inner_imports(ring)
        if by and line_of(order, by) < line_of(order, what)
    ]
    assert found == []


@pytest.mark.parametrize("ring", [ring for ring in RINGS if ring != "modelserver"])
def test_no_files_import_each_other(ring: str):
    imported: dict[str, set[str]] = {}
    for _, _, by, what in inner_imports(ring):
        imported.setdefault(by, set()).add(what)
    circles = [name for name in imported if name in reached(imported, name)]
    assert circles == []


def reached(imported: dict[str, set[str]], start: str) -> set[str]:
    """The modules that a module imports, by way of others too."""
    found: set[str] = set()
    waiting = [*imported.get(start, ())]
    while waiting:
        if (name := waiting.pop()) not in found:
            found.add(name)
            waiting += imported.get(name, ())
    return found


def test_no_protocol_imports_another():
    # The built-in model answers in OpenAI's form, and is read as OpenAI is.
    found = [
        f"{name}:{line}: {what}"
        for name, line, by, what in inner_imports("providers")
        if (mine := by.partition(".")[0]) in PROTOCOLS
        and (other := what.partition(".")[0]) in PROTOCOLS
        and other != mine
        and (mine, other) != ("echo", "openai")
    ]
    assert found == []


@pytest.mark.parametrize("ring", PURE)
def test_the_inner_rings_import_nothing_impure(ring: str):
    found = [f"{name}:{line}: {what}" for name, tree in parsed(ring) for line, what in imports(tree) if what in IMPURE]
    assert found == []


@pytest.mark.parametrize("ring", PURE)
def test_the_inner_rings_read_no_file_clock_or_variable(ring: str):
    found = []
    for name, tree in parsed(ring):
        for node in ast.walk(tree):
            what = node.id if isinstance(node, ast.Name) else node.attr if isinstance(node, ast.Attribute) else ""
            built_in = isinstance(node, ast.Name) or what not in vars(builtins)  # a method may be called open
            if what in TOUCHES and built_in:
                found.append(f"{name}:{node.lineno}: {what}")
    assert found == []


@pytest.mark.parametrize("ring", ["dialects", "gateway", "server", "modelserver"])
def test_no_provider_is_named_in_a_decision(ring: str):
    # The server's ask command and banner prefer the model `echo`: that is a public model's name, looked up as data.
    known = {*PROVIDERS, *HOSTS}
    data = {("server/commands/banner.py", "echo"), ("server/commands/arguments.py", "echo")}
    found = [
        f"{name}:{line}: {text}"
        for name, tree in parsed(ring)
        for line, text in named(tree)
        if text in known and (name, text) not in data
    ]
    assert found == []


@pytest.mark.parametrize(
    "source, expected",
    [
        ("import os.path", [(1, "os")]),
        ("from server import http", [(1, "server")]),
        ("from . import http", []),
        ("def f():\n    import ssl", [(2, "ssl")]),
    ],
)
def test_the_reading_of_imports(source: str, expected: list[tuple[int, str]]):
    assert list(imports(ast.parse(source))) == expected


@pytest.mark.parametrize(
    "source", ["if a == 'echo': pass", "x = a in ('b', 'echo')", "match a:\n    case {'p': 'echo'}: pass"]
)
def test_the_reading_of_comparisons(source: str):
    assert "echo" in [text for _, text in named(ast.parse(source))]
