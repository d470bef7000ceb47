"""README and docs/: the same in both languages, nothing missing, nothing twice, every link leads somewhere, and all code runs."""

import contextlib
import importlib.util
import io
import json
import os
import re
import shutil
import subprocess
import tomllib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import httpx2 as httpx
import openai
import pytest
import yaml
from documents import (
    ADDRESS,
    LANGUAGES,
    READMES,
    Block,
    blocks,
    files,
    first_cells,
    of_language,
    page,
    pages,
)
from model_table import FACTS
from process import ROOT, Process
from test_docs import ENTRIES, FIELDS, WRITTEN, sections

from dialects import DIALECTS
from dialects.conversations import HEADERS as SESSIONS
from gateway.config import load
from gateway.limits import header_names
from modelserver import routes
from server.commands.arguments import COMMANDS
from server.docs import Docs
from server.explain import HEADER
from server.markdown import blocks as parts
from server.markdown import slug

EXAMPLE = yaml.load((ROOT / "config.yaml").read_text(encoding="utf-8"), Loader=yaml.CSafeLoader)
CONFIG = """
server: {port: 0}
providers: {echo: {options: {delay: 0}}}
models: {echo: echo, "echo-*": echo, "claude-*": echo/echo, "gpt-*": echo/echo}
"""


@pytest.fixture(scope="module")
def server() -> Iterator[Process]:
    with Process(CONFIG) as process:
        yield process


# The same in both languages


def test_both_languages_have_the_same_pages() -> None:
    english, chinese = ({Path(path).name for path in pages(language) if "/" in path} for language in LANGUAGES)
    assert english == chinese


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_contents_name_every_page_once(language: str) -> None:
    listed = [f"{name}.md" for _, name, _ in Docs().contents(language)]
    assert sorted([*listed, "README.md"]) == sorted(Path(path).name for path in pages(language) if "/" in path)


def uncommented(block: Block) -> str:
    return re.sub(r"\s+(?:#|//) .*", "", block.text)


def test_both_languages_have_the_same_code() -> None:
    english, chinese = (
        [
            (Path(block.page).name.replace(".zh-CN", ""), block.language, uncommented(block))
            for block in blocks(language)
        ]
        for language in LANGUAGES
    )
    assert english == chinese and english


@pytest.mark.parametrize("file", READMES.values())
def test_a_readme_is_short(file: str) -> None:
    assert len((ROOT / file).read_text(encoding="utf-8").splitlines()) <= 150


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_picture_of_the_page_is_small_and_in_the_language(language: str) -> None:
    """tests/support/screenshot.py makes it."""
    [path] = re.findall(r"^!\[.+\]\((.+)\)$", (ROOT / READMES[language]).read_text(encoding="utf-8"), re.MULTILINE)
    data = (ROOT / path).read_bytes()
    assert path == f"docs/page.{language}.png" and data.startswith(b"\x89PNG") and len(data) < 200_000


@pytest.mark.parametrize(("file", "words"), [("README.md", ", seven packages."), ("README.zh-CN.md", "、七个依赖包")])
def test_the_packages_are_counted(file: str, words: str) -> None:
    asked, locked = (
        re.findall(r"^\w[\w.-]*==", (ROOT / name).read_text(), re.MULTILINE)
        for name in ("requirements.txt", "requirements.lock")
    )
    text = (ROOT / file).read_text(encoding="utf-8")
    assert len(asked) == 7 and words in text
    assert f" | {len(locked)} | `grep -c '==' requirements.lock` |" in text


def anchors(file: Path) -> set[str]:
    heads = [lines[0].lstrip("# ") for lines in parts(file.read_text(encoding="utf-8")) if lines[0].startswith("#")]
    assert len(heads) == len({*map(slug, heads)}), f"a heading of {file.name} stands twice"
    return {slug(head) for head in heads}


@pytest.mark.parametrize("file", files(), ids=lambda file: str(file.relative_to(ROOT)))
def test_every_link_leads_somewhere(file: Path) -> None:
    text = re.sub(r"^```.*?^```$", "", file.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    for to in re.findall(r"\]\((?!https?://)([^)]+)\)", text):
        path, _, anchor = to.partition("#")
        target = (file.parent / path).resolve() if path else file
        assert target.exists(), to
        if anchor:
            assert anchor in anchors(target), to


# Nothing missing, nothing twice


def once(documented: list[str], produced: set[str]) -> None:
    """Compare what tables name with what there is."""
    assert [name for name, count in Counter(documented).items() if count > 1] == [], "documented twice"
    assert produced - {*documented} == set(), "not documented"
    assert {*documented} - produced == set(), "documented, but there is no such thing"


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_header_is_documented_once(language: str, server: Process, http: httpx.Client) -> None:
    shown = http.get(f"{server.url}/models", headers={"Origin": "http://localhost:3000"})
    exposed = {*shown.headers["access-control-expose-headers"].split(", ")}
    # Names that stand in the code alone would be missed by the list of what web pages may read.
    sources = [file for ring in ("server", "gateway", "dialects") for file in (ROOT / ring).rglob("*.py")]
    written = {name for file in sources for name in re.findall(r'"(x-modelserver-[a-z-]*[a-z])"', file.read_text())}
    asked = {
        "authorization",
        "x-api-key",
        "x-goog-api-key",
        "content-encoding",
        "anthropic-version",
        "x-forwarded-proto",
    }
    assert {name for form in DIALECTS.values() for name in header_names(form.header_form)} <= exposed
    once(first_cells(page(language, "headers")), exposed | written | {*SESSIONS, HEADER} | asked)


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_code_of_no_failure_is_documented_too(language: str) -> None:
    """Of the refused upgrade, which is answered without a class of providers/errors.py; test_codes.py looks at these."""
    assert page(language, "errors").count("`websocket_not_supported`") == 1


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_command_is_documented_once(language: str) -> None:
    named = [re.findall(r"modelserver\.py \[?(\w+)", row) for row in first_cells(page(language, "commands"))]
    assert {*COMMANDS} == {name for names in named for name in names}
    assert [name for name, count in Counter(first_cells(page(language, "commands"))).items() if count > 1] == []


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_route_is_documented(language: str) -> None:
    cells = [
        cell.split()[-1].split("|")[0]
        for row in re.findall(r"^\| (.*?) \|", page(language, "api"), re.MULTILINE)
        for cell in re.findall(r"`([^`]+)`", row)
    ]
    whole, ends = (
        {cell for cell in cells if not cell.startswith("…")},
        [cell[1:] for cell in cells if cell.startswith("…")],
    )
    ours = {"/web/{name}", "/docs/", "/docs/{language}/", "/docs/style.css"}  # the page's own, and other spellings
    theirs = re.compile(r"/api/.*|/v1/v1/.*|/anthropic/.*|/\{path.*|/p/.*|.*\{model.*|/v1beta/.*")
    for route in routes():
        path = re.sub(r"\{(\w+):.*?\}", r"{\1}", route.path)
        prefixed = path.startswith(("/v1/", "/v2/", "/docs", "/inspector", "/admin")) or path.count("/") == 1
        if path in ours or theirs.fullmatch(path) or (path != "/" and path.endswith("/")) or not prefixed:
            continue
        known = path in whole or f"/v1{path}" in whole or any(path.endswith(end) for end in ends)
        assert known or path.replace("{name}", "{page}") in whole, path


LEAVES = {".".join(path) for path, field in FIELDS.items() if path[-1] == "targets" or not [*sections(field.type)]}


def test_every_key_of_the_configuration_has_a_line_in_chinese() -> None:
    text = page("zh", "configuration").partition("## 每一个键")[2]
    once([name for name in first_cells(text) if name != "defaults"], LEAVES - {"defaults"})


def test_the_defaults_in_chinese_are_those() -> None:
    text = page("zh", "configuration").partition("## 每一个键")[2]
    rows = dict(re.findall(r"^\| `([\w.*]+)` \| (.*?) \|", text, re.MULTILINE))
    for path in WRITTEN:
        shown = rows[".".join(path)]
        if shown != "无":
            assert yaml.safe_load(shown.split("`")[1]) == ENTRIES[path].value, path


def test_every_key_of_the_configuration_stands_in_it_once() -> None:
    """A second line for a key would be a second truth. The sections of routes and targets have names that repeat."""
    lines = re.findall(r"^(?:# )?( *)([\w.-]+):", (ROOT / "config.yaml").read_text(encoding="utf-8"), re.MULTILINE)
    assert [name for name, count in Counter(name for depth, name in lines if not depth).items() if count > 1] == []


# All code runs


def here(block: Block, server: Process) -> str:
    return block.text.replace(ADDRESS, server.root)


OUTPUT = {
    'input="Hello!").output_text': "Hello!\n",
    'model="echo", stream=True': "Hello!",
    "previous_response_id": "And again.\n",
    "client.messages.create": "Hello!\n",
    "Runner.run_sync": "Hello!\n",
}


@pytest.mark.parametrize("block", of_language("python"), ids=lambda block: block.name)
def test_python(block: Block, server: Process) -> None:
    if "from agents import" in block.text and importlib.util.find_spec("agents") is None:
        pytest.skip("the Agents SDK is not installed")
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        if "echo-cut" in block.text:
            with pytest.raises(openai.APIError, match=r"^The upstream closed the stream before completion\.$"):
                exec(here(block, server), {})  # noqa: S102 (our own documentation)
            assert printed.getvalue() == "one two"
            return
        exec(here(block, server), {})  # noqa: S102
    [expected] = [text for mark, text in OUTPUT.items() if mark in block.text]
    assert printed.getvalue() == expected


@pytest.mark.parametrize("block", of_language("js", "ts"), ids=lambda block: block.name)
def test_node(block: Block, server: Process, tmp_path: Path) -> None:
    """Its syntax; and what it says, where MODELSERVER_AI_SDK names a folder whose node_modules have the packages."""
    if not (node := shutil.which("node")):
        pytest.skip("node is not installed: apt-get install nodejs")
    script = tmp_path / "example.mjs"
    script.write_text(here(block, server), encoding="utf-8")
    subprocess.run([node, "--check", script], check=True, timeout=30)
    modules = Path(os.environ.get("MODELSERVER_AI_SDK", "/nonexistent"), "node_modules")
    if all((modules / name).exists() for name in re.findall(r'from "([^"]+)"', block.text)):
        (tmp_path / "node_modules").symlink_to(modules)
        done = subprocess.run([node, script], check=True, timeout=60, capture_output=True, text=True)
        assert done.stdout == "Hello!\n"


@pytest.mark.parametrize("block", of_language("yaml"), ids=lambda block: block.name)
def test_yaml(block: Block) -> None:
    """A piece of a configuration, put into the example, is read without a mistake."""
    text = re.sub("sha256: …", lambda found: f"sha256: {found.start():064x}", block.text)
    sections = {*re.findall(r"^(\w+):", text, re.MULTILINE)} | ({"models"} if "providers:" in text else set())
    rest = {name: section for name, section in EXAMPLE.items() if name not in sections}
    made = f"{yaml.safe_dump(rest)}\n{text}"
    names = re.findall(r"\$\{(\w+)\}", made)
    url = "https://x.example.com/v1"
    assert load(made, {name: url if name.endswith(("_URL", "_ENDPOINT")) else f"sk-{name}" for name in names}, FACTS)


@pytest.mark.parametrize("block", of_language("toml"), ids=lambda block: block.name)
def test_toml(block: Block) -> None:
    codex = tomllib.loads(block.text)
    assert codex["model_providers"][codex["model_provider"]] == {
        "name": "ModelServer",
        "base_url": f"{ADDRESS}/v1",
        "env_key": "MODELSERVER_KEY",
        "wire_api": "responses",
    }


CLAUDE = """#!/bin/sh
curl -sf "$ANTHROPIC_BASE_URL/v1/messages" -H "Authorization: Bearer $ANTHROPIC_AUTH_TOKEN" -H "anthropic-version: 2023-06-01" \\
  -d '{"model": "'"$ANTHROPIC_MODEL"'", "max_tokens": 9, "messages": [{"role": "user", "content": "Hello!"}]}'
"""


@pytest.mark.parametrize("block", of_language("bash"), ids=lambda block: block.name)
def test_bash(block: Block, server: Process, tmp_path: Path) -> None:
    """The variables for Claude Code lead a program in its place to this server."""
    (tmp_path / "claude").write_text(CLAUDE)
    (tmp_path / "claude").chmod(0o755)
    script = here(block, server).replace("sk-…", "any ")
    environment = {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    done = subprocess.run(["bash", "-e", "-c", script], env=environment, capture_output=True, text=True, timeout=30)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["content"][0]["text"] == "Hello!"


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_first_answer_is_what_the_readme_shows(language: str, server: Process) -> None:
    """.ci/run runs the first and the third command, and the second against the first."""
    found = blocks(language)
    start, curl, tests = [block for block in found if block.language == "sh"]
    assert {start.page, curl.page, tests.page} == {READMES[language]}
    assert "requirements.lock" in start.text and "tests/requirements.txt" in tests.text
    [shown] = [block.text for block in found if block.page == READMES[language] and not block.language]
    done = subprocess.run(["bash", "-c", here(curl, server)], capture_output=True, text=True, timeout=30, check=True)
    lines = [line for line in done.stdout.splitlines() if line]
    told = shown.splitlines()
    assert len(lines) == len(told)
    assert all(line.startswith(begin.removesuffix("…")) for line, begin in zip(lines, told, strict=True))


def test_every_language_of_code_is_run() -> None:
    run = {"python", "js", "ts", "yaml", "toml", "bash", "sh", ""}
    assert {block.language for language in LANGUAGES for block in blocks(language)} <= run
