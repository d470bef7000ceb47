"""Every error code that the code base can produce stands, with its status and type, on the page and in the documentation."""

import ast
import inspect
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
from process import ROOT

from dialects.validation import number
from providers import errors
from providers.errors import BadRequest, Failure

CLASSES = {name: kind for name, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, Failure)}
CLASSES["Kind"] = errors.RateLimitExceeded  # a row of gateway/limits.py, whose code that is given
FILES = [
    ROOT / "modelserver.py",
    *(file for ring in ("server", "gateway", "dialects", "providers") for file in (ROOT / ring).rglob("*.py")),
]
# Codes that are worked out: a new one of these has to be looked at.
COMPUTED = {
    "code",  # the upstream's own, which is passed on (providers/), and two that stand elsewhere too (dialects/embeddings.py)
    "kind.code",  # of a row of gateway/limits.py: rate_limit_exceeded, budget_exceeded
    "missing_code(model)",  # missing_required_parameter, invalid_type
    "f\"{name}_{side.replace('minimum', 'min').replace('maximum', 'max').replace(' ', '_')}_value\"",  # bounds() has them
}
Row = tuple[int, str, str]  # status, type, code


@cache
def nodes() -> list[tuple[Path, ast.Call | ast.Assign]]:
    """Every call and assignment, with its file."""
    trees = [(file, ast.parse(file.read_text(encoding="utf-8"))) for file in FILES]
    return [(file, node) for file, tree in trees for node in ast.walk(tree) if isinstance(node, ast.Call | ast.Assign)]


def calls() -> Iterator[tuple[str, ast.expr]]:
    """What is called, and the code it is given, wherever one is."""
    for _, node in nodes():
        if isinstance(node, ast.Call) and (codes := [each.value for each in node.keywords if each.arg == "code"]):
            name = node.func.id if isinstance(node.func, ast.Name) else ast.unparse(node.func)
            yield from ((name, code) for code in codes)


def bounds() -> Iterator[str]:
    """The codes of a number that is out of its bounds."""
    for whole in (True, False):
        for value in (-1, 9):
            with pytest.raises(BadRequest) as caught:
                number(0, 1, whole=whole)(value, "n")
            assert caught.value.code
            yield caught.value.code


@cache
def produced() -> set[Row]:
    found = {(kind.status, kind.type, kind.code) for kind in CLASSES.values() if kind.code}
    for name, value in calls():
        if isinstance(value, ast.Constant) and name in CLASSES:
            found.add((CLASSES[name].status, CLASSES[name].type, str(value.value)))
    return found | {(400, BadRequest.type, code) for code in bounds()}


def documented(file: str) -> list[Row]:
    """The rows of the table of errors, one for each code."""
    text = (ROOT / file).read_text(encoding="utf-8")
    if file.endswith(".js"):
        rows = re.findall(r'^ +\["(\d{3})", "`(\w+)`", "([^"]+)", \[', text, re.MULTILINE)
    else:
        rows = re.findall(r"^\| (\d{3}) \| `(\w+)` \| ([^|]+) \|", text, re.MULTILINE)
    return [(int(status), kind, code) for status, kind, codes in rows for code in re.findall(r"`(\w+)`", codes)]


@pytest.mark.parametrize("file", ["web/text.js", "docs/en/errors.md", "docs/zh/errors.md"])
def test_every_code_is_documented_and_no_other(file: str) -> None:
    rows = documented(file)
    assert len(rows) == len({*rows}), "a code stands twice"
    assert produced() - {*rows} == set(), "not documented"
    assert {*rows} - produced() == set(), "documented, but nothing answers with it"


def test_no_code_escapes_the_search() -> None:
    """Codes are constants that are given to a class of providers/errors.py, but for a few that are known."""
    found = [*calls()]
    assert {ast.unparse(value) for _, value in found if not isinstance(value, ast.Constant)} == COMPUTED
    assert {name for name, value in found if isinstance(value, ast.Constant)} <= CLASSES.keys()
    assert len(produced()) > 50
    for file, node in nodes():
        match node:
            case ast.Assign(targets=[ast.Attribute(value=ast.Name(id=of), attr="code")]):
                # the failure's, the log's, a scrubbed copy's
                assert of in ("self", "record", "shown"), (file, node.lineno)
