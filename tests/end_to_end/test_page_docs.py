"""The page's documentation: what it says of this server, and that every piece of its code runs."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import documents
import httpx2 as httpx
import pytest
from browser import Browsing, browsing, npm, png
from conftest import LAPTOP
from process import Process, environment

TEN = ["简介", "快速开始", "认证", "模型列表", "聊天补全", "流式响应", "工具调用", "图片输入", "错误处理", "代码示例"]


# The documentation


def test_first_visit(chromium: Any, site: Process) -> None:
    with browsing(chromium, site.root, locale="zh-CN") as browser:
        page = browser.open()
        page.locator(".badge.up").wait_for()
        version = httpx.get(f"{site.root}/healthz").json()["version"]
        badge = page.inner_text("#badge")
        assert "服务运行中" in badge and f"v{version}" in badge and "OpenAI 兼容" in badge
        assert page.inner_text("#base-url") == site.url
        titles = [re.sub(r"^\d+\s*|\s*#$", "", title) for title in page.locator(".doc h2").all_inner_texts()]
        assert [title for title in titles if title in TEN] == TEN
        page.locator(".clients tr").nth(24).wait_for()
        assert site.url in page.inner_text("#quickstart") and "echo" in page.inner_text("#list-models .chips")
        page.click("#hero-run")
        page.locator("#hero-wire li", has_text="[DONE]").wait_for()
        page.click(".contents >> text=图片输入")
        assert page.evaluate("location.hash") == "#images"


def test_the_badge_tells_when_the_server_is_gone(browser: Browsing) -> None:
    page = browser.open()
    page.locator(".badge.up").wait_for()
    page.route("**/healthz", lambda route: route.fulfill(status=503, body="{}"))
    browser.expected.add(503)
    page.click("#language")  # which draws it again
    page.locator(".badge.down", has_text="没有应答").wait_for()
    ailing = {"status": "ok", "version": "1", "trouble": ["The disk is full."]}
    page.route("**/healthz", lambda route: route.fulfill(json=ailing))
    page.click("#language")
    page.locator(".badge.ailing", has_text="The disk is full.").wait_for()


def test_one_model_is_one_model(chromium: Any, server: Process, site: Process) -> None:
    """In English a single thing has no s; in Chinese all are alike."""
    several = len(httpx.get(f"{site.url}/models").json()["data"])
    for root, english, chinese in (
        (server.root, "1 model available", "1 个模型可用"),
        (site.root, f"{several} models available", f"{several} 个模型可用"),
    ):
        with browsing(chromium, root) as browser:
            page = browser.open()
            page.locator("#badge-text", has_text=re.compile(rf"· {english}$")).wait_for()
            page.click("#views >> text=Models")
            page.locator("#model-list [role=status]", has_text=re.compile(f"^{english}$")).wait_for()
            page.click("#language")
            page.locator("#model-list [role=status]", has_text=re.compile(f"^{chinese}$")).wait_for()
            page.click("#views >> text=文档")
            page.locator("#badge-text", has_text=re.compile(rf"· {chinese}$")).wait_for()


def test_a_server_with_nothing_but_echo_says_how_to_get_more(chromium: Any, server: Process, site: Process) -> None:
    for root, alone in ((server.root, True), (site.root, False)):
        with browsing(chromium, root) as browser:
            page = browser.open()
            page.locator("#list-models .chips code").first.wait_for()
            assert ("OPENAI_API_KEY" in page.inner_text("#quickstart")) is alone


def test_the_responses_of_the_documentation_are_echos(browser: Browsing) -> None:
    """Each is asked for when it is opened: whole, streamed, a tool call, an error, another API's."""
    browser.expected |= {404, 502}
    page = browser.open()
    page.locator("#quickstart .response").wait_for()
    shown = {}
    for section in ("quickstart", "streaming", "tools", "errors", "embeddings", "list-models", "messages", "headers"):
        page.click(f"#{section} .response")
        page.locator(f"#{section} pre[data-response]").wait_for()
        shown[section] = page.text_content(f"#{section} pre[data-response]")
    whole = json.loads(shown["quickstart"].partition("\n\n")[2])
    assert shown["quickstart"].startswith("HTTP 200\ncontent-type: application/json\n")
    assert (whole["model"], whole["choices"][0]["message"]["content"]) == ("echo", "Hello!")
    assert '"object":"chat.completion.chunk"' in shown["streaming"] and "data: [DONE]" in shown["streaming"]
    assert '"name": "get_weather"' in shown["tools"] and shown["errors"].startswith("HTTP 404")
    assert '"code": "model_not_found"' in shown["errors"] and '"object": "embedding"' in shown["embeddings"]
    assert '"id": "echo"' in shown["list-models"] and '"type": "message"' in shown["messages"]
    assert "x-request-id: req_" in shown["headers"]
    page.click("#tools .response")
    assert page.locator("#tools pre[data-response]").is_hidden()


def test_every_route_is_in_the_documentation(browser: Browsing) -> None:
    page = browser.open()
    page.locator("#bytes table").wait_for()
    text = page.locator("#view-docs").text_content()
    served = httpx.get(f"{browser.root}/openapi.json").json()["paths"]
    paths = {re.sub(r"^/v1/models/\{model\}", "", path) for path in served}  # Gemini's, which stand under /v1beta
    assert len(paths) > 30 and [path for path in sorted(paths) if path not in text] == []
    others = (
        "/v2/rerank",
        "/p/{provider}/{path}",
        "/healthz",
        "/readyz",
        "/metrics",
        "/openapi.json",
        "/inspector/exchanges",
    )
    assert [path for path in others if path not in text] == []


WORDS = """all => all.map(one => [one.querySelector('code').textContent,
    [...one.querySelectorAll('.chip')].map(each => each.textContent)])"""


def test_models_have_a_word(chromium: Any, example: Process) -> None:
    """New, the newest of its family here, cheap, reasoning: where the documentation and the playground list models."""
    with browsing(chromium, example.root) as browser:
        browser.page.clock.set_fixed_time("2026-12-31T12:00:00Z")
        page = browser.open()
        page.locator("#list-models .chips code").nth(9).wait_for()
        shown = dict(page.locator("#list-models .chips > span").evaluate_all(WORDS))
        expected = {
            "gpt-6.1-sol": ["NEW", "reasoning"], "gpt-4o": [], "gpt-4o-mini": ["cheap"], "o1": ["reasoning"],
            "claude-sonnet-5-5": ["NEW", "reasoning"], "claude-haiku-5-5": ["NEW", "newest", "cheap", "reasoning"],
            "claude-sonnet-4-6": ["reasoning"], "gemini-pro": ["reasoning"], "gpt-oss-20b": ["cheap", "reasoning"],
            "llama-4-maverick": ["newest", "cheap"], "llama-3.1": ["cheap"], "echo": [], "text-embedding-3-small": [],
        }  # fmt: skip
        assert {name: shown.get(name) for name in expected} == expected
        page.click("#language")
        page.locator("#list-models .chip", has_text="便宜").first.wait_for()
        page.click("#language")
        browser.open("playground")
        options = page.locator("#play-model option").all_inner_texts()
        assert "gpt-4o" in options and "gpt-4o-mini · cheap" in options and "o1 · reasoning" in options
        assert "gpt-6.1-sol · NEW, reasoning" in options
        browser.page.clock.set_fixed_time("2027-01-01T12:00:00Z")  # the fourth month after
        page.reload()
        page.locator("#play-model option", has_text="gpt-6.1-sol · reasoning").wait_for(state="attached")


def test_the_first_example_tells_when_a_stream_breaks_off(browser: Browsing) -> None:
    browser.open()
    page = browser.page
    page.locator("#list-models .chips code").first.wait_for()
    page.route("**/v1/chat/completions", lambda route: route.fulfill(
        body='data: {"choices":[]}\n\ndata: {"error":{"message":"x"}}\n\n', content_type="text/event-stream"))  # fmt: skip
    page.click("#hero-run")
    wrong = page.locator("#hero-wire .bad")
    wrong.nth(1).wait_for()
    assert "The stream broke off" in wrong.nth(1).inner_text() and '"error"' in wrong.nth(0).inner_text()


def test_the_documentation_is_searched_and_its_sections_have_addresses(browser: Browsing) -> None:
    page = browser.open()
    page.locator("#list-models .chips code").first.wait_for()
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.fill("#docs-search", "upstream_TRUNCATED 502")
    assert page.locator(".doc:visible").evaluate_all("all => all.map(one => one.id)") == ["errors"]
    assert page.locator(".contents li:visible").all_inner_texts() == ["Errors"]
    page.fill("#docs-search", "no such words anywhere")
    assert page.locator("#docs-none").inner_text() == "Nothing found."
    page.fill("#docs-search", "")
    assert page.locator(".doc:visible").count() == page.locator(".doc").count()
    page.click("#images .anchor")
    assert page.evaluate("navigator.clipboard.readText()") == f"{browser.root}/#images"


def test_the_whole_documentation_is_one_click_away(browser: Browsing) -> None:
    page = browser.open()
    page.locator(".badge.up").wait_for()
    page.click("#docs-all")
    page.wait_for_url("**/docs/en/")
    browser.open()
    page.click("#language")
    page.click("#docs-all")
    page.wait_for_url("**/docs/zh/")
    assert page.get_attribute("html", "lang") == "zh" and page.locator("h1").count() == 1


def test_copying(chromium: Any, site: Process) -> None:
    with browsing(chromium, site.root, permissions=["clipboard-read", "clipboard-write"]) as browser:
        page = browser.open("clients")
        page.click(".clients tr:has-text('NextChat') button")
        assert page.evaluate("navigator.clipboard.readText()") == site.root
        page.locator("#toast.shown").wait_for()
        page.click(".clients tr:has-text('Cursor') button")
        assert page.evaluate("navigator.clipboard.readText()") == site.url
        page.click("#quickstart .copy")
        assert page.evaluate("navigator.clipboard.readText()") == page.text_content("#quickstart pre")


def test_what_to_paste_is_what_the_documentation_says(chromium: Any, site: Process) -> None:
    """The rows are read from docs/, with this server's address; names of models are those of this server."""
    with browsing(chromium, site.root, locale="zh-CN") as browser:
        page = browser.open("clients")
        for language, word in (("zh", "环境变量"), ("en", "in the environment")):
            page.locator(f".clients td:has-text('{word}')").first.wait_for()
            written = re.findall(
                r"^\| ([^|]+) \| `http://127.0.0.1:8080(/v1)?` \| (.*) \|$", documents.page(language, "clients"), re.M
            )
            rows = page.eval_on_selector_all(
                ".clients tr", "all => all.map(row => [...row.children].map(one => one.innerText.trim()))"
            )
            plain = [re.sub(r"[`*]|\[([^]]+)\]\([^)]*\)", r"\1", where) for _, _, where in written]
            assert [row[:2] for row in rows] == [[name, f"{site.root}{version}"] for name, version, _ in written]
            assert [row[2].replace("echo", "gpt-4o") for row in rows] == plain and len(rows) > 24
            page.click("#language")


# The snippets


RUNNER = """
import contextlib, io, json, sys
said = []
for source in json.load(sys.stdin):
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        exec(compile(source, "snippet", "exec"), {"__name__": "__main__"})
    said.append(out.getvalue())
json.dump(said, sys.__stdout__)
"""


def run_python(sources: list[str], folder: Path) -> list[str]:
    """What each prints, in one interpreter: importing the SDK takes longer than all of them."""
    command = [sys.executable, "-c", RUNNER]
    done = subprocess.run(command, input=json.dumps(sources), capture_output=True, text=True, cwd=folder, env=ENV)
    assert done.returncode == 0, done.stderr
    return list(json.loads(done.stdout))


NODE_RUNNER = """
import { readFileSync } from 'node:fs';
const said = [], write = process.stdout.write.bind(process.stdout);
for (const file of JSON.parse(readFileSync(0, 'utf8'))) {
  let out = '';
  process.stdout.write = (text) => { out += text; return true; };
  await import(`./${file}`);
  said.push(out);
}
write(JSON.stringify(said));
"""


def run_node(sources: dict[str, str], folder: Path) -> list[str]:
    """What each prints, in one process, as run_python does. The folder has their node_modules."""
    for section, source in sources.items():
        (folder / f"{section}.mjs").write_text(source, encoding="utf-8")
    (folder / "runner.mjs").write_text(NODE_RUNNER, encoding="utf-8")
    files = json.dumps([f"{section}.mjs" for section in sources])
    done = subprocess.run(["node", "runner.mjs"], input=files, capture_output=True, text=True, cwd=folder, env=ENV)
    assert done.returncode == 0, done.stderr
    return list(json.loads(done.stdout))


def snippets(page: Any, language: str) -> dict[str, str]:
    """Section → the snippet in this language, as a reader would copy it."""
    page.locator(".tabs button", has_text=re.compile(f"^{language}$", re.IGNORECASE)).first.click()
    page.locator(f"pre[data-language={language}]").first.wait_for()
    found = page.eval_on_selector_all(
        f".doc pre[data-language={language}]", "all => all.map(one => [one.closest('.doc').id, one.textContent])"
    )
    return dict(found)


@pytest.fixture(scope="session")
def node_modules(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what the Node snippets import."""
    return npm("openai@6.49.0", tmp_path_factory.mktemp("npm"))


@pytest.fixture(params=["without keys", "with keys"])
def snippet_page(request: pytest.FixtureRequest, chromium: Any, site: Process) -> Iterator[Any]:
    """The documentation of a server with and without keys, to which the examples are then fitted."""
    keyed = request.param == "with keys"
    server = request.getfixturevalue("keyed") if keyed else site
    with browsing(chromium, server.root, permissions=["clipboard-read", "clipboard-write"]) as browser:
        if keyed:
            browser.page.add_init_script(f"sessionStorage.setItem('key', '{LAPTOP}')")
        page = browser.open()
        page.locator("#list-models .chips code").first.wait_for()
        page.select_option(".hero select", "echo")
        yield page
        assert LAPTOP not in page.content()  # the snippets take it from the environment


ENV = environment(MODELSERVER_KEY=LAPTOP)


def composed(page: Any, button: str) -> list[str]:
    """What the playground copies for a streamed and a whole request, with everything that needs quoting."""
    page.click("#views >> text=Playground")
    page.select_option("#play-model", "echo")
    page.fill("#play-message", QUOTED)
    page.fill("#play-max", "50")
    found = []
    for streamed in (True, False):
        page.set_checked("#play-stream", streamed)
        page.click(f"text={button}")
        found.append(page.evaluate("navigator.clipboard.readText()"))
    assert found[0] != found[1]
    return found


QUOTED = 'it\'s "me" `$HOME` \\n 你好 ${x}'


def test_every_curl_line_runs(snippet_page: Any) -> None:
    found = snippets(snippet_page, "curl")
    assert len(found) >= 12
    found |= dict(zip(("streamed", "whole"), composed(snippet_page, "Copy as curl"), strict=True))
    said = {}
    for section, source in found.items():
        done = subprocess.run(["bash", "-ec", source], capture_output=True, text=True, encoding="utf-8", env=ENV)
        assert done.returncode == 0 and done.stdout, (section, done.stderr)
        wrong = section in ("errors", "echo")
        assert ('"error":{' in done.stdout.replace(" ", "")) is wrong, (section, done.stdout)
        said[section] = done.stdout
    assert json.loads(said["whole"])["choices"][0]["message"]["content"] == QUOTED
    assert "data: [DONE]" in said["streamed"] and "data: [DONE]" in said["streaming"]
    assert "200 OK" in said["headers"] and "404 Not Found" in said["errors"]


def test_every_python_snippet_runs(snippet_page: Any, tmp_path: Path) -> None:
    (tmp_path / "photo.png").write_bytes(png(4, 3))
    found = snippets(snippet_page, "python")
    assert len(found) >= 10
    found |= dict(zip(("streamed", "whole"), composed(snippet_page, "Copy as Python"), strict=True))
    out = dict(zip(found, run_python([*found.values()], tmp_path), strict=True))
    assert out["quickstart"] == "Hello!\n"
    assert out["streaming"].startswith("Count to five.\n") and "tokens" in out["streaming"]
    assert "[image/png, 4 x 3 pixels]" in out["images"]
    assert out["errors"].startswith("404 model_not_found")
    assert "name='echo' age=1" in out["structured"] and "low effort" in out["reasoning"]
    assert "echo" in out["list-models"] and all(out.values())
    assert out["streamed"].strip() == out["whole"].strip() == QUOTED


def test_every_node_snippet_runs(snippet_page: Any, tmp_path: Path, node_modules: Path) -> None:
    (tmp_path / "node_modules").symlink_to(node_modules)
    (tmp_path / "photo.png").write_bytes(png(4, 3))
    found = snippets(snippet_page, "node")
    assert len(found) >= 10
    found |= dict(zip(("streamed", "whole"), composed(snippet_page, "Copy as Node"), strict=True))
    out = dict(zip(found, run_node(found, tmp_path), strict=True))
    assert all(out.values())
    assert out["quickstart"] == "Hello!\n" and out["streaming"].strip() == "Count to five."
    assert "[image/png, 4 x 3 pixels]" in out["images"] and out["errors"].startswith("404 model_not_found")
    assert "low effort" in out["reasoning"] and "name: 'echo'" in out["structured"]
    assert out["streamed"].strip() == out["whole"].strip() == QUOTED


def test_no_snippet_is_left_out(snippet_page: Any) -> None:
    """Every block of code in the documentation is one that the tests above run."""
    run: set[str] = set()
    for language in ("curl", "python", "node"):
        found = snippets(snippet_page, language)
        assert len(found) == snippet_page.locator(f".doc pre[data-language={language}]").count()  # one in a section
        run |= {f"{section} {language}" for section in found}
    tabs = snippet_page.eval_on_selector_all(
        ".doc .code",
        """all => all.flatMap(one => [...one.querySelectorAll('.tabs button, .tabs.one')]
            .map(tab => `${one.closest('.doc').id} ${tab.textContent.toLowerCase()}`))""",
    )
    assert {*tabs} == run and len(tabs) == len({*tabs})
    assert snippet_page.locator(".doc pre:not([data-language])").count() == 0
