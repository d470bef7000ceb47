"""Five rings, imports pointing inward; the three inner ones touch no socket, file, clock or variable."""

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
