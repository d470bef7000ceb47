"""The page in a real browser: Debian's Chromium, driven by Playwright, against the real process.

Every test ends by looking back: no script error, no message on the console, no dialog, no request to another host.
"""

import base64
import json
import re
import shutil
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx2 as httpx
import pytest
from conftest import LAPTOP
from openai import APIError, InternalServerError, OpenAI
from process import ROOT, Process, config, environment
from scripted import FOREVER, Script, Upstream, answer, chunked, sse, stream

from server.page import FOLDER, POLICY, Site

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: tests/requirements.txt")
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed: apt-get install chromium")

FLAGS = [
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync"),
]
VIEWS = ("docs", "models", "playground", "usage", "inspector")
TEN = ["简介", "快速开始", "认证", "模型列表", "聊天补全", "流式响应", "工具调用", "图片输入", "错误处理", "代码示例"]
NPM = ("openai@6.49.0", "axe-core@4.14.1")  # what the Node snippets import, and the accessibility checker
PATIENCE = 15_000  # ms a browser may take for what is sure to happen

Scripted = Callable[..., str]


def png(width: int, height: int) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = b"".join(b"\0" + b"\xc0\x39\x2b" * width for _ in range(height))
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


# What models, upstreams and files may be called or say. Each would call alert, or another host, if it ever became HTML.
EVIL = "//evil.example/x"
PAYLOADS = [
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    f"<img src={EVIL}>",
    "<svg onload=alert(1)>",
    "<svg><script>alert(1)</script></svg>",
    "<svg><animate onbegin=alert(1) attributeName=x dur=1s>",
    f'<iframe src="{EVIL}"></iframe>',
    "<iframe srcdoc='<script>parent.alert(1)</script>'></iframe>",
    "<iframe src=javascript:alert(1)>",
    "<a href=javascript:alert(1) autofocus onfocus=alert(1)>x</a>",
    "[x](javascript:alert(1))",
    f"![x](https:{EVIL})",
    f'<link rel=stylesheet href="{EVIL}">',
    f"<style>@import '{EVIL}';</style>",
    f"<style>*{{background:url({EVIL})}}</style>",
    f"<div style=\"background:url('{EVIL}')\">",
    f'<form action="{EVIL}"><input type=submit autofocus onfocus=alert(1)>',
    f'<meta http-equiv=refresh content="0;url={EVIL}">',
    f'<base href="{EVIL}/">',
    f'<object data="{EVIL}"></object>',
    "<embed src=javascript:alert(1)>",
    "<video><source onerror=alert(1)></video>",
    f"<audio src={EVIL} onerror=alert(1)>",
    "<details open ontoggle=alert(1)>",
    "<body onload=alert(1)>",
    "<math><mtext><table><mglyph><style><img src=x onerror=alert(1)>",
    '"><img src=x onerror=alert(1)>',
    "'-alert(1)-'",
    "</textarea></title></pre><script>alert(1)</script>",
    '<template><img src=x onerror=alert(1)></template><noscript><p title="</noscript><img src=x onerror=alert(1)>">',
    "{{constructor.constructor('alert(1)')()}}${alert(1)}",
    "\u202e<ScRiPt>alert(1)</ScRiPt>\u2028<!--><img/src/onerror=alert(1)>",
]


NAMES = [name for name in PAYLOADS if "*" not in name]  # in a model's name it is a wildcard


def chunk(finish: str | None = None, **delta: Any) -> dict[str, Any]:
    choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
    return {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice]}


def said(text: str, *more: Any) -> Script:
    return stream(sse(chunk(role="assistant", content=""), chunk(content=text), *more, chunk("stop")))


class Browsing:
    """A page, and what must not happen on it. expected: HTTP errors that the test provokes, which Chromium reports."""

    def __init__(self, page: Any, root: str) -> None:
        self.page, self.root = page, root
        self.expected: set[int] = set()
        self.trouble: list[str] = []
        page.set_default_timeout(PATIENCE)
        page.on("console", self._console)
        page.on("pageerror", lambda error: self.trouble.append(f"error: {error}"))
        page.on("dialog", self._dialog)
        page.on("request", self._request)

    def _console(self, message: Any) -> None:
        status = re.search(r"the server responded with a status of (\d+)", message.text)
        if message.type in ("error", "warning") and not (status and int(status[1]) in self.expected):
            self.trouble.append(f"console: {message.text}")

    def _dialog(self, dialog: Any) -> None:
        self.trouble.append(f"dialog: {dialog.message}")
        dialog.dismiss()

    def _request(self, request: Any) -> None:
        parts = urlsplit(request.url)
        if parts.scheme not in ("data", "blob") and parts.netloc != urlsplit(self.root).netloc:
            self.trouble.append(f"request to {request.url}")

    def open(self, view: str = "docs") -> Any:
        self.page.goto(f"{self.root}/#{view}")
        if view == "playground":  # its models have arrived
            self.page.locator("#play-model option").nth(1).wait_for(state="attached")
        return self.page

    def say(self, text: str, model: str = "echo") -> Any:
        """Send a message in the playground; the answer's element when it is complete."""
        page = self.page
        options = page.eval_on_selector_all("#play-model option", "all => all.map(one => one.value)")
        if model in options:
            page.select_option("#play-model", model)
        else:
            page.select_option("#play-model", "\0other")
            page.fill("#play-other", model)
        turns = page.locator(".turn.assistant").count()
        page.fill("#play-message", text)
        page.click("#play-send")
        turn = page.locator(".turn.assistant").nth(turns)
        turn.locator(".stats").wait_for()
        return turn


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def site(upstream: Upstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    """A keyless server that keeps a ledger, whose inspector is on, with models of evil names beside echo."""
    evil = "\n".join(f"{json.dumps(name)}: echo/echo" for name in NAMES)
    more = f'inspector: {{enabled: true}}\nusage: {{path: "{tmp_path_factory.mktemp("ledger")}/usage.db"}}'
    models = f"{evil}\nresilient: [echo/echo-503, echo/echo]\ntight: up/tight"
    with Process(config(upstream, more, models=models)) as process:
        yield process


@pytest.fixture(scope="session")
def node_modules(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the packages of NPM, pinned, from the npm registry."""
    for command in ("node", "npm"):
        if not shutil.which(command):
            pytest.skip(f"{command} is not installed: apt-get install nodejs npm")
    folder = tmp_path_factory.mktemp("npm")
    command = [
        "npm",
        "install",
        "--no-audit",
        "--no-fund",
        "--no-save",
        "--ignore-scripts",
        "--fetch-retries=0",
        "--prefix",
        str(folder),
        *NPM,
    ]
    try:
        subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=90, check=True)
    except subprocess.SubprocessError as error:
        told = str(getattr(error, "stderr", None) or error).strip()[-300:]
        pytest.skip(f"the npm registry does not give {' and '.join(NPM)}: {told}")
    return folder / "node_modules"


@pytest.fixture(scope="module")
def example() -> Iterator[Process]:
    """The example configuration with a key, or an address, for every provider."""
    text = re.sub(r"(?m)^  port: 8080 .*$", "  port: 0", (ROOT / "config.yaml").read_text(encoding="utf-8"))
    text = re.sub(r"(?m)^usage: *\n(?: +.*\n)*", "", text)
    names = re.findall(r"\$\{(\w+)\}", text)
    env = {name: "https://x.example.com/v1" if name.endswith(("_URL", "_ENDPOINT")) else "sk-fake" for name in names}
    with Process(text, env=env) as process:
        yield process


@contextmanager
def browsing(chromium: Any, root: str, **options: Any) -> Iterator[Browsing]:
    context = chromium.new_context(**{"locale": "en-US", "viewport": {"width": 1280, "height": 900}, **options})
    browsing = Browsing(context.new_page(), root)
    try:
        yield browsing
        assert browsing.trouble == []
    finally:
        context.close()


@pytest.fixture
def browser(chromium: Any, site: Process) -> Iterator[Browsing]:
    with browsing(chromium, site.root) as found:
        yield found


# The files


def test_the_page_is_small_and_has_no_weak_spot(site: Process, http: httpx.Client) -> None:
    html = http.get(site.root, headers={"Accept": "text/html,*/*"})
    assert html.headers["cache-control"] == "no-store" and html.headers["content-security-policy"] == POLICY
    assert html.headers["referrer-policy"] == "no-referrer" and html.headers["x-content-type-options"] == "nosniff"
    assert "unsafe" not in POLICY and "frame-ancestors 'none'" in POLICY
    assert not re.search(r"<script>|<style|\sstyle=|\son\w+=", html.text)
    assert not re.search(r"https?://", html.text)
    weight, names = len(html.content), {*re.findall(r'"(/web/[^"]+)"', html.text)}
    seen: set[str] = set()
    while names - seen:
        name = (names - seen).pop()
        seen.add(name)
        file = http.get(f"{site.root}{name}")
        assert file.headers["cache-control"] == "public, max-age=31536000, immutable"
        shared = http.get(f"{site.root}{name}", headers={"Origin": "http://localhost:3000"})
        assert shared.headers["vary"] == "Accept-Encoding, Origin"
        assert file.headers["content-encoding"] == "gzip"
        weight += len(file.content)
        names |= {*re.findall(r'"(/web/[^"]+)"', file.text)}
    assert len(seen) == len([*FOLDER.iterdir()]) - 2, (
        "every file but the HTML and the icon is served under its hashed name"
    )
    assert weight < 300_000
    plain = http.get(f"{site.root}{min(seen)}", headers={"Accept-Encoding": "identity"})
    assert "content-encoding" not in plain.headers and plain.status_code == 200
    icon = http.get(f"{site.root}/favicon.ico")
    assert icon.headers["content-type"] == "image/x-icon" and icon.content[:4] == b"\0\0\1\0"
    assert http.get(f"{site.root}/web/app.js").json()["error"]["code"] == "unknown_url"
    assert http.get(f"{site.root}/web/..%2fconfig.yaml").status_code == 404


def test_names_change_with_the_content_of_what_they_name(tmp_path: Path) -> None:
    shutil.copytree(FOLDER, tmp_path, dirs_exist_ok=True)
    before = Site("1", tmp_path)
    (tmp_path / "text.js").write_text("export const text = () => 'new';", encoding="utf-8")
    after = Site("1", tmp_path)
    changed = {name.split(".")[0] for name in set(before.assets) - set(after.assets)}
    assert {"text", "dom", "app", "docs"} <= changed and "early" not in changed and "style" not in changed


def test_the_introduction_speaks_to_callers() -> None:
    """Not to the operator: no key of config.yaml, nobody to ask."""
    text = (FOLDER / "text.js").read_text(encoding="utf-8")
    intro = text[text.index('id: "intro"') : text.index('id: "quickstart"')]
    assert not re.search(r"operator|管理员|config\.yaml|on_disconnect", intro)
    assert "原始数据" not in text and "暂停使用" not in text


def test_programs_get_text(site: Process, http: httpx.Client) -> None:
    for headers in ({"Accept": "*/*"}, {"Accept": "text/plain"}):
        got = http.get(site.root, headers=headers)
        assert got.headers["content-type"].startswith("text/plain") and f"{site.url}\n" in got.text
    assert http.head(site.root).status_code == 200


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
        assert page.locator(".clients tr").count() >= 14
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
    page.locator(".badge.down").wait_for()
    assert "没有应答" in page.inner_text("#badge")
    ailing = {"status": "ok", "version": "1", "trouble": ["The disk is full."]}
    page.route("**/healthz", lambda route: route.fulfill(json=ailing))
    page.click("#language")
    page.locator(".badge.ailing").wait_for()
    assert "The disk is full." in page.inner_text("#badge")


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


def test_language_and_theme_are_remembered(browser: Browsing) -> None:
    page = browser.open()
    assert page.inner_text("#views").split() == ["Docs", "Models", "Playground", "Usage", "Inspector"]
    page.click("#language")
    assert page.get_attribute("html", "lang") == "zh" and page.inner_text("#views").split()[0] == "文档"
    assert "一个地址" in page.inner_text("h1")
    page.click("#theme")
    theme = page.get_attribute("html", "data-theme")
    paper = page.evaluate("getComputedStyle(document.body).backgroundColor")
    page.reload()
    assert page.get_attribute("html", "lang") == "zh" and page.get_attribute("html", "data-theme") == theme == "dark"
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == paper == "rgb(16, 19, 18)"
    for view in VIEWS:
        page.goto(f"{browser.root}/#{view}")
        page.click("#language")
        page.click("#language")


def test_everything_is_said_in_both_languages() -> None:
    """Every text is a pair, none is empty, and no placeholder is unknown."""
    text = (FOLDER / "text.js").read_text(encoding="utf-8")
    entries = re.findall(r"^  (\w+): \[\s*(\".*?\"),\s*(\".*?\"),?\s*\],?$", text, re.MULTILINE | re.DOTALL)
    names = {name for name, *_ in entries}
    used = set()
    for file in FOLDER.glob("*.js"):
        source = file.read_text(encoding="utf-8")
        used |= set(re.findall(r"\b(?:text|counted)\(\"(\w+)\"[,)]", source)) | set(
            re.findall(r"[{,] \"?t(?:-[\w-]+)?\"?: \"(\w+)\"", source)
        )
    assert used - names == set()
    assert {*re.findall(r"\{\{(\w+)\}\}", text)} == {
        *("base", "origin", "model", "reasoner", "embedder", "curl", "python", "anthropic", "node")
    }


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


def snippets(page: Any, language: str) -> dict[str, str]:
    """Section → the snippet in this language, as a reader would copy it."""
    page.locator(".tabs button", has_text=re.compile(f"^{language}$", re.IGNORECASE)).first.click()
    page.locator(f"pre[data-language={language}]").first.wait_for()
    found = page.eval_on_selector_all(
        f".doc pre[data-language={language}]", "all => all.map(one => [one.closest('.doc').id, one.textContent])"
    )
    return dict(found)


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
    out = {}
    for section, source in found.items():
        (tmp_path / f"{section}.mjs").write_text(source, encoding="utf-8")
        done = subprocess.run(["node", f"{section}.mjs"], cwd=tmp_path, capture_output=True, text=True, env=ENV)
        assert done.returncode == 0 and done.stdout, (section, done.stderr)
        out[section] = done.stdout
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


# Models


def test_models(browser: Browsing) -> None:
    page = browser.open("models")
    row = page.locator(".models tr", has=page.locator("th button", has_text=re.compile("^echo$")))
    row.wait_for()
    assert {"tools", "vision", "reasoning", "JSON", "free"} <= {*row.inner_text().split()}
    page.fill("input[type=search]", "resil")
    assert page.locator(".models tbody tr:not(.group)").count() == 1
    page.locator(".models button", has_text="Try").click()
    page.locator("#play-model").wait_for()
    assert page.input_value("#play-model") == "resilient"


def test_a_model_that_rests(chromium: Any, upstream: Upstream) -> None:
    """Up, resting, up again: as told each time the view is visited."""
    upstream.script("tired", answer({"error": {"message": "broken"}}, 500))
    text = config(upstream, server="cooldown: {failures: 2, seconds: 4}", models="tired: up/tired")
    with Process(text) as server, browsing(chromium, server.root) as browser:
        page = browser.open("models")
        state = page.locator(".models tr", has=page.locator("th button", has_text="tired")).locator(".state")
        state.wait_for()
        assert state.inner_text() == "up" and state.get_attribute("class") == "state up"
        for _ in range(2):
            with pytest.raises(InternalServerError):
                ask(server, "tired")
        page.click("#views >> text=Docs")
        page.click("#views >> text=Models")
        page.locator(".models .state.cooling_down").wait_for()
        assert state.inner_text() == "cooling down" and page.locator(".models .state.cooling_down").count() == 1
        page.wait_for_function(
            """() => { location.hash = location.hash === "#models" ? "#docs" : "#models";
                       return !document.querySelector(".models .state.cooling_down"); }""",
            polling=500,
        )
        assert state.text_content() == "up" and state.get_attribute("class") == "state up"


def test_models_that_make_embeddings_are_no_chat_models(chromium: Any, example: Process) -> None:
    with browsing(chromium, example.root) as browser:
        page = browser.open("models")
        row = page.locator(".models tr", has=page.locator("th button", has_text="text-embedding-3-small"))
        row.wait_for()
        assert row.locator(".chip").all_inner_texts() == ["embeddings"] and row.locator("button.small").count() == 0
        browser.open("playground")
        names = page.locator("#play-model option").all_inner_texts()
        assert "gpt-4o" in names and not [name for name in names if "embed" in name]
        browser.open()
        page.locator("#list-models .chips code").nth(9).wait_for()
        assert "text-embedding-3-small" in page.inner_text("#embeddings pre")
        names = page.locator(".hero select option").all_inner_texts()
        assert "gpt-4o" in names and not [name for name in names if "embed" in name]


def test_a_server_with_nothing_but_echo_says_how_to_get_more(chromium: Any, server: Process, site: Process) -> None:
    for root, alone in ((server.root, True), (site.root, False)):
        with browsing(chromium, root) as browser:
            page = browser.open()
            page.locator("#list-models .chips code").first.wait_for()
            assert ("OPENAI_API_KEY" in page.inner_text("#quickstart")) is alone


# The playground


def test_a_streamed_answer(browser: Browsing) -> None:
    browser.open("playground")
    turn = browser.say("Hello, 世界! <b>&amp;")
    assert turn.locator(".said").inner_text() == "Hello, 世界! <b>&amp;"
    stats = turn.locator(".stats").inner_text()
    assert all(name in stats for name in ("first token", "total", "in", "out", "cost", "$0", "stop", "echo/echo"))
    turn.locator("summary", has_text="Wire").click()
    assert '"include_usage": true' in turn.locator(".raw pre").nth(0).inner_text()
    assert "x-request-id: req_" in turn.locator(".raw pre").nth(1).inner_text()
    assert "data: [DONE]" in turn.locator(".raw pre").nth(2).inner_text()
    again = browser.say("And you?")
    body = json.loads(again.locator(".raw pre").nth(0).text_content())
    assert [message["role"] for message in body["messages"]] == ["user", "assistant", "user"]


def test_every_control_reaches_the_request(browser: Browsing) -> None:
    page = browser.open("playground")
    page.fill("#play-system", "Be brief.")
    page.fill("#play-temperature", "0.3")
    page.fill("#play-max", "2")
    page.select_option("#play-effort", "low")
    page.uncheck("#play-stream")
    turn = browser.say("one two three four")
    assert turn.locator(".said").inner_text() == "one two" and "low effort" in turn.locator(".thinking").inner_text()
    assert "length" in turn.locator(".stats").inner_text()
    body = json.loads(turn.locator(".raw pre").nth(0).text_content())
    assert body == {
        "model": "echo",
        "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "one two three four"}],
        "temperature": 0.3,
        "max_tokens": 2,
        "reasoning_effort": "low",
    }


def test_structured_output_and_a_wrong_schema(browser: Browsing) -> None:
    page = browser.open("playground")
    page.click(".more summary")
    page.locator(".more button", has_text="Insert example").nth(1).click()
    assert json.loads(browser.say("A city").locator(".said pre").inner_text()) == {"city": "echo", "population": 1}
    page.fill("#play-schema", "{")
    page.fill("#play-message", "again")
    page.click("#play-send")
    page.locator("#toast.shown", has_text="is not valid JSON").wait_for()
    assert page.locator(".turn").count() == 2


def test_tool_calls(browser: Browsing) -> None:
    page = browser.open("playground")
    page.click(".more summary")
    page.locator(".more button", has_text="Insert example").nth(0).click()
    turn = browser.say("The weather in Paris?")
    assert (
        "get_weather" in turn.locator(".call").inner_text() and '"city": "echo"' in turn.locator(".args").inner_text()
    )
    turn.locator("textarea").fill('{"celsius": 21}')
    page.click("#play-results")
    final = page.locator(".turn.assistant").nth(1)
    final.locator(".stats").wait_for()
    assert '{"celsius": 21}' in page.locator(".turn.tool").inner_text()
    assert final.locator(".said").inner_text() == "The weather in Paris?"


MARKDOWN = """# Title

A **bold** and *slanted* `code` [good](https://good.example/a) [bad](javascript:alert(1)) [data](data:text/html,x)
![pixel](https://evil.example/x.png) <img src=//evil.example/y onerror=alert(1)> <script>alert(1)</script>

1. one
   - inner
2. two

| Left | Right |
|------|------:|
| a    | <b>b  |

```html
<script>alert(1)</script>
```

> quoted [worse](vbscript:x)"""


def test_markdown_is_drawn_and_inert(browser: Browsing) -> None:
    """Structure becomes elements; whatever would load, run or lead elsewhere than to http(s) and mail stays text."""
    page = browser.open("playground")
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    said = browser.say(MARKDOWN).locator(".said")
    names = said.evaluate("one => [...new Set([...one.querySelectorAll('*')].map(each => each.localName))].sort()")
    assert names == [
        *("a", "blockquote", "button", "code", "div", "em", "figcaption", "figure", "li", "ol", "p", "pre", "span"),
        *("strong", "table", "tbody", "td", "th", "thead", "tr", "ul"),
    ]
    links = said.locator("a").evaluate_all("all => all.map(one => [one.textContent, one.href, one.rel, one.target])")
    safe = ["noopener noreferrer nofollow", "_blank"]
    assert links == [
        ["good", "https://good.example/a", *safe],
        ["pixel (https://evil.example/x.png)", "https://evil.example/x.png", *safe],
    ]
    text = said.inner_text()
    assert "[bad](javascript:alert(1))" in text and "[data](data:text/html,x)" in text and "(vbscript:x)" in text
    assert "<img src=//evil.example/y onerror=alert(1)>" in text and said.locator("[role=heading]").count() == 1
    assert said.locator("ol > li").count() == 2 and said.locator("ol ul li").inner_text() == "inner"
    assert [each.strip() for each in said.locator("tr").all_inner_texts()] == ["Left\tRight", "a\t<b>b"]
    said.locator(".copy").click()
    assert page.evaluate("navigator.clipboard.readText()") == "<script>alert(1)</script>"
    page.locator(".turn.assistant .actions >> text=Copy").click()
    assert page.evaluate("navigator.clipboard.readText()") == MARKDOWN
    toast, composer = page.locator("#toast.shown").bounding_box(), page.locator(".composer").bounding_box()
    assert toast["y"] + toast["height"] < composer["y"]


def test_markdown_that_grows_is_drawn_as_the_whole(browser: Browsing) -> None:
    """Cut at every place, and drawn piece by piece, it ends as what it is when drawn at once."""
    page = browser.open("playground")
    module = page.evaluate(
        "performance.getEntriesByType('resource').map(one => one.name).find(name => name.includes('/markdown.'))"
    )
    differ = page.evaluate(
        """async ([module, source]) => {
            const { Markdown, markdown } = await import(module);
            const whole = markdown(source).innerHTML, wrong = [];
            for (let step = 1; step < 40; step += 1) {
                const node = document.createElement("div"), drawn = new Markdown(node);
                for (let at = step; at < source.length; at += step) drawn.draw(source.slice(0, at));
                drawn.draw(source);
                if (node.innerHTML !== whole) wrong.push(step);
            }
            return wrong;
        }""",
        [module, MARKDOWN + "\n\n- a\n\n- b\n  c\n\nend\n***\n~~~\nopen"],
    )
    assert differ == []


def test_markdown_takes_time_in_proportion(browser: Browsing) -> None:
    """What makes other parsers slow is drawn before the test's patience is over."""
    page = browser.open("playground")
    module = page.evaluate(
        "performance.getEntriesByType('resource').map(one => one.name).find(name => name.includes('/markdown.'))"
    )
    for unit in ("**a ", "[", "![a](", "`", "_a", "> ", "- ", "| a ", "  - x\n", "~~a ", "<", "\\"):
        page.evaluate("async ([module, text]) => void (await import(module)).markdown(text)", [module, unit * 30_000])


def test_enter_sends_and_shift_enter_breaks(browser: Browsing) -> None:
    page = browser.open("playground")
    page.select_option("#play-model", "echo")
    page.wait_for_function("() => document.activeElement.id === 'play-message' || document.activeElement.blur()")
    page.focus("#play-message")
    page.keyboard.type("one")
    page.keyboard.press("Shift+Enter")
    page.keyboard.type("two")
    page.locator("#play-message").dispatch_event("keydown", {"key": "Enter", "isComposing": True})  # ends a word
    assert page.locator(".turn").count() == 0
    page.keyboard.press("Enter")
    page.locator(".turn.assistant .stats").wait_for()
    assert page.locator(".turn.user .said").inner_text() == "one\ntwo" and page.input_value("#play-message") == ""
    page.wait_for_function("() => document.activeElement.id === 'play-message'")


def test_a_conversation_outlasts_a_reload(browser: Browsing) -> None:
    page = browser.open("playground")
    page.fill("#play-system", "Be brief.")
    page.locator("#play-sampling summary").click()
    page.fill("#play-seed", "7")
    page.select_option("#play-effort", "low")
    browser.say("Remember **this**", "resilient")
    page.fill("#play-message", "half a thought")
    page.reload()
    page.locator(".turn.assistant .stats").wait_for()
    assert page.locator(".turn.user .said").inner_text() == "Remember **this**"
    assert page.locator(".turn.assistant strong").inner_text() == "this"
    assert page.input_value("#play-message") == "half a thought" and page.input_value("#play-seed") == "7"
    page.wait_for_function("() => document.querySelector('#play-model').value === 'resilient'")
    assert page.input_value("#play-effort") == "low" and page.input_value("#play-system") == "Be brief."
    body = json.loads(browser.say("And now?").locator(".raw pre").nth(0).text_content())
    assert [each["role"] for each in body["messages"]] == ["system", "user", "assistant", "user"]
    other = page.context.new_page()
    other.goto(f"{browser.root}/#playground")
    other.locator("#play-model option").nth(1).wait_for(state="attached")
    assert other.locator(".turn").count() == 0  # it stays in its tab
    page.click("#play-new")
    page.reload()
    page.locator("#play-log .empty").wait_for()


def test_a_turn_is_edited_asked_again_and_deleted(browser: Browsing) -> None:
    page = browser.open("playground")
    for text in ("first", "second"):
        browser.say(text)
    said = page.locator(".turn .said")
    page.locator(".turn.user").nth(0).locator("text=Edit").click()
    page.locator(".edit textarea").fill("changed")
    page.locator(".edit button.primary").click()
    page.wait_for_function("() => document.querySelectorAll('.turn .stats').length === 1")
    assert said.all_inner_texts() == ["changed", "changed"]  # sent again from there
    page.locator(".turn.assistant >> text=Edit").click()
    page.locator(".edit textarea").fill("my own words")
    page.locator(".edit button.primary").click()
    assert said.all_inner_texts() == ["changed", "my own words"]
    page.locator(".turn.assistant >> text=Retry").click()
    page.wait_for_function("() => document.querySelector('.turn.assistant .said')?.innerText === 'changed'")
    browser.say("third")
    page.locator(".turn.user").nth(0).locator("text=Delete").click()
    assert said.all_inner_texts() == ["changed", "third", "third"]


def test_all_parameters(browser: Browsing) -> None:
    page = browser.open("playground")
    page.locator("#play-sampling summary").click()
    for name, value in (("top-p", "0.5"), ("seed", "7"), ("n", "2"), ("presence", "0.1"), ("frequency", "-1")):
        page.fill(f"#play-{name}", value)
    page.fill("#play-ends", "END\n\\n\\n")
    page.fill("#play-extra", '{"user": "me", "n": 1}')
    body = json.loads(browser.say("Hi").locator(".raw pre").nth(0).text_content())
    assert body == {
        "model": "echo",
        "messages": [{"role": "user", "content": "Hi"}],
        "stream": True,
        "stream_options": {"include_usage": True},
        "top_p": 0.5,
        "seed": 7,
        "n": 1,
        "presence_penalty": 0.1,
        "frequency_penalty": -1,
        "stop": ["END", "\n\n"],
        "user": "me",
    }
    page.fill("#play-extra", "[1]")
    page.fill("#play-message", "again")
    page.click("#play-send")
    page.locator("#toast.shown", has_text="is not valid JSON").wait_for()


def test_every_choice_is_shown(browser: Browsing, scripted: Scripted) -> None:
    second = {
        **chunk(content="the other <b>"),
        "choices": [{**chunk(content="the other <b>")["choices"][0], "index": 1}],
    }
    page = browser.open("playground")
    page.locator("#play-sampling summary").click()
    page.fill("#play-n", "2")
    turn = browser.say("Go", f"up/{scripted(said('the one', second))}")
    assert turn.locator(".said").all_inner_texts() == ["the one", "the other <b>"]


def test_where_a_request_would_go(browser: Browsing) -> None:
    page = browser.open("playground")
    page.select_option("#play-model", "resilient")
    page.fill("#play-message", "Hello")
    page.click("#play-explain")
    targets = page.locator("#explain-dialog li")
    targets.nth(1).wait_for()
    assert [text.split("\n")[0] for text in targets.locator("h3").all_inner_texts()] == ["echo/echo-503", "echo/echo"]
    assert targets.locator(".state").all_inner_texts() == ["asked first", "asked next if that fails"]
    assert '"content": "Hello"' in targets.nth(1).locator("pre").text_content()
    page.locator("#explain-dialog button", has_text="Close").click()
    assert page.locator(".turn").count() == 0 and page.locator("#explain-dialog").is_hidden()
    browser.expected.add(404)
    page.select_option("#play-model", "\0other")
    page.fill("#play-other", "no-such-model")
    page.click("#play-explain")
    page.locator("#explain-dialog .failure code", has_text="model_not_found").wait_for()


def paste(page: Any, name: str, data: bytes, kind: str = "image/png", event: str = "paste") -> None:
    """What a browser does when files are pasted into, or dropped on, the message."""
    page.evaluate(
        """([name, data, kind, event]) => {
            const bytes = Uint8Array.from(atob(data), (char) => char.charCodeAt(0));
            const carried = new DataTransfer();
            carried.items.add(new File([bytes], name, { type: kind }));
            const target = document.getElementById("play-message");
            const options = { bubbles: true, cancelable: true };
            target.dispatchEvent(event === "paste"
                ? new ClipboardEvent("paste", { ...options, clipboardData: carried })
                : new DragEvent("drop", { ...options, dataTransfer: carried }));
        }""",
        [name, base64.b64encode(data).decode(), kind, event],
    )


def test_images(browser: Browsing) -> None:
    page = browser.open("playground")
    paste(page, "pasted.png", png(5, 4))
    page.locator("#play-images img").wait_for()
    paste(page, "dropped.png", png(7, 6), event="drop")
    page.locator("#play-images figure").nth(1).wait_for()
    page.set_input_files("#play-file", {"name": "chosen.png", "mimeType": "image/png", "buffer": png(9, 8)})
    page.locator("#play-images figure").nth(2).wait_for()
    page.fill("#play-url", "https://evil.example/cat.png")  # shown as text: nothing is fetched from other hosts
    page.click("#play-add-url")
    page.locator("#play-images figure").nth(3).wait_for()
    paste(page, "notes.txt", b"hi", "text/plain")
    page.locator("#toast.shown", has_text="notes.txt is not an image").or_(
        page.locator("#toast.shown", has_text="notes.txt: is not an image")
    ).wait_for()
    page.locator("#play-images button").nth(1).click()
    answered = browser.say("See:").locator(".said").inner_text()
    assert "[image/png, 5 x 4 pixels]" in answered and "[image/png, 9 x 8 pixels]" in answered
    assert "by URL" in answered and "7 x 6" not in answered


def test_stop_reaches_the_upstream(browser: Browsing, upstream: Upstream, scripted: Scripted) -> None:
    half = stream(sse(chunk(role="assistant", content=""), chunk(content="half of"), done=False), end=False)
    name = scripted([*half, FOREVER])
    page = browser.open("playground")
    page.select_option("#play-model", "\0other")
    page.fill("#play-other", f"up/{name}")
    page.fill("#play-message", "Go")
    page.click("#play-send")
    page.locator(".said", has_text="half of").wait_for()
    page.click("#play-stop")
    request = upstream.wait(name)
    request.wait_left()
    assert request.peer_left
    turn = page.locator(".turn.assistant")
    turn.locator(".stats").wait_for()
    assert "Stopped" in turn.inner_text() and "half of" in turn.inner_text()
    assert page.locator("#play-send").is_visible() and page.locator("#play-stop").is_hidden()


@pytest.mark.parametrize(
    ("model", "status", "happened", "first"),
    [
        ("echo-429", 429, "Too many requests · rate_limit_exceeded HTTP 429", "wait 1 s, then try again."),
        ("echo-error", 502, "The upstream failed · upstream_error HTTP 502", "try again; an operator"),
        ("echo-end", 200, "The stream broke off · upstream_truncated", "the upstream's answer is incomplete"),
        ("no-such-model", 404, "There is no such model or address · model_not_found HTTP 404", "see GET /v1/models"),
    ],
)
def test_errors_in_words(browser: Browsing, model: str, status: int, happened: str, first: str) -> None:
    """What happened, a sentence, what to do first; the JSON as it came is folded, and no 200 is called an error."""
    browser.expected.add(status)
    page = browser.open("playground")
    failure = browser.say("This will go wrong", model).locator(".failure")
    assert failure.locator(".happened").inner_text() == happened
    assert failure.locator(".first").inner_text().startswith(f"First: {first}")
    assert failure.locator(".says").inner_text() and "HTTP 200" not in failure.inner_text()
    assert failure.locator("pre").is_hidden()
    error = json.loads(failure.locator("pre").text_content())["error"]
    assert error["message"] == failure.locator(".says").text_content()
    assert page.locator(".raw pre").nth(2).text_content()
    failure.locator("button", has_text="Retry").click()
    page.locator(".turn.assistant:not(.busy) .failure .happened", has_text=happened).wait_for()
    assert page.locator(".turn").count() == 2
    assert browser.say("And on we go").locator(".said").inner_text() == "And on we go"


def test_a_stream_that_broke_off_is_not_called_200(browser: Browsing, site: Process) -> None:
    with pytest.raises(APIError):
        ask(site, "echo-end")
    page = browser.open("inspector")
    page.locator("#exchanges button", has_text="echo-end").first.click()
    page.locator(".attempt").wait_for()
    assert page.locator("#exchanges button", has_text="echo-end").first.locator(".state").inner_text() == "broke off"
    assert page.locator(".attempt .state").inner_text() == "broke off"
    browser.open("usage")
    page.locator(".latest tr", has_text="echo-end").first.wait_for()
    assert page.locator(".latest tr", has_text="echo-end").first.locator(".state").inner_text() == "broke off"
    assert "200" not in page.locator(".state.bad").all_inner_texts()


def test_a_view_that_cannot_be_filled_says_so_and_tries_again(browser: Browsing) -> None:
    browser.expected.add(503)
    page = browser.page
    wrong = {"error": {"message": "Not now.", "type": "server_error", "code": "overloaded", "param": None}}
    for view, path in (
        ("models", "**/v1/models"),
        ("usage", "**/v1/usage?**"),
        ("inspector", "**/inspector/exchanges"),
    ):
        page.route(path, lambda route: route.fulfill(status=503, json=wrong))
        browser.open(view)
        failure = page.locator(f"#view-{view} .failure")
        failure.locator(".happened", has_text="Not available at the moment · overloaded HTTP 503").wait_for()
        page.unroute(path)
        failure.locator(".retry").click()
        failure.wait_for(state="detached")


def test_an_error_in_the_middle(browser: Browsing, scripted: Scripted) -> None:
    wrong = sse({"error": {"message": "The roof is on fire.", "type": "server_error"}}, done=False)
    half = stream(sse(chunk(role="assistant", content=""), chunk(content="half of"), done=False), end=False)
    browser.open("playground")
    turn = browser.say("Go", f"up/{scripted([*half, 0.3, *chunked(wrong)])}")
    assert turn.locator(".said").inner_text() == "half of" and "on fire" in turn.locator(".failure").inner_text()
    assert "The stream broke off" in turn.inner_text() and "HTTP 200" not in turn.locator(".failure").inner_text()
    assert "[DONE]" not in turn.locator(".raw").text_content()


def test_the_cost_is_that_of_whoever_answered(chromium: Any, upstream: Upstream) -> None:
    """Not of the target that the model's card speaks of; unknown where the price is."""
    usage = {"prompt_tokens": 1000, "completion_tokens": 500, "total_tokens": 1500}
    whole = answer(
        {
            "choices": [{"index": 0, "message": {"role": "assistant", "content": "Hi"}, "finish_reason": "stop"}],
            "usage": usage,
        }
    )
    for name in ("cheap", "dear", "unpriced"):
        upstream.script(name, whole)
    upstream.script("gone", answer({"error": {"message": "gone"}}, 404))
    prices = {"dear": (30, 60), "gone": (1, 2), "cheap": (1, 2)}
    facts = "model_facts:\n" + "".join(
        f"  {name}: {{price: {{input: {asked}, output: {said}}}}}\n" for name, (asked, said) in prices.items()
    )
    models = "first: up/cheap\nsecond: [up/gone, up/dear]\nthird: [up/gone, up/unpriced]"
    with Process(config(upstream, facts, models=models)) as server, browsing(chromium, server.root) as browser:
        page = browser.open("playground")
        page.uncheck("#play-stream")
        for model, cost in (("first", "≈ $0.002"), ("second", "≈ $0.06"), ("third", "unknown")):
            stats = browser.say("Hi", model).locator(".stats > div", has_text="cost").inner_text()
            assert stats.split("\n")[-1].strip() == cost, model


def test_what_was_dropped_is_shown(browser: Browsing, scripted: Scripted) -> None:
    page = browser.open("playground")
    page.route(
        "**/v1/chat/completions",
        lambda route: route.fulfill(
            response=(got := route.fetch()), headers={**got.headers, "x-modelserver-dropped": "top_k"}
        ),
    )
    assert "dropped or changed\ntop_k" in re.sub(r"\s*\n\s*", "\n", browser.say("Hi").locator(".stats").inner_text())


# Usage


def test_usage_of_a_server_that_keeps_none(chromium: Any, server: Process) -> None:
    with browsing(chromium, server.root) as browser:
        page = browser.open("usage")
        page.locator("#usage-off").wait_for()
        assert "usage: {path: usage.db}" in page.inner_text("#usage-off")
        page.click("#views >> text=Docs")
        assert "keeps no usage" in page.inner_text("#limits")


def test_usage_charts(browser: Browsing) -> None:
    """With the answer that GET /v1/usage gives: drawn by day and by model, and nothing of it becomes HTML."""
    page = browser.page
    today = page.evaluate("new Date().toISOString().slice(0, 10)")
    tokens = {"prompt_tokens": 1200, "completion_tokens": 300, "cached_tokens": 0, "reasoning_tokens": 0}
    sums = {"requests": 3, "errors": 7, **tokens}
    requests = [
        {"time": f"{today}T10:00:0{n}.000Z", "key": "laptop", "model": "gpt-4o", "upstream": "openai/gpt-4o", "status": status,
         "code": code, "cost_usd": 0.0012, "estimated": False, "total_ms": 812, **tokens}
        for n, (status, code) in enumerate([(200, ""), (429, "rate_limit_exceeded"), (499, "")])
    ]  # fmt: skip
    costs = {"gpt-4o": (0.0036, 0), PAYLOADS[1]: (0, 3)}
    data = {
        "object": "usage", "key": None, "from": "2026-01-01", "to": today,
        "limits": {"rpm": 60, "tpm": None, "concurrency": None,
                   "budget": {"usd": 5, "period": "month", "spent_usd": 1.25, "resets_at": "2030-01-01T00:00:00Z"}},
        "by_day": [{"day": today, "cost_usd": 0.0036, "unpriced_requests": 1, **sums}],
        "by_model": [{"model": name, "cost_usd": cost, "saved_usd": 0 if unpriced else 0.002, "unpriced_requests": unpriced,
                      **sums} for name, (cost, unpriced) in costs.items()],
        "by_key": [{"key": name, "cost_usd": 0.0036, "unpriced_requests": 1, **sums} for name in ("laptop", PAYLOADS[0])],
        "requests": requests,
    }  # fmt: skip
    page.route("**/v1/usage?**", lambda route: route.fulfill(json=data))
    browser.open("usage")
    page.locator(".chart").first.wait_for()
    totals = [text.split("\n") for text in page.locator(".chart figcaption").all_inner_texts()]
    assert totals == [["Requests", "3"], ["Tokens", "1.5K"], ["Cost", "$0.0036 +"], ["Errors", "7"]]
    rows = [
        [cell.strip() for cell in text.split("\t")]
        for text in page.locator(".shares:visible").nth(0).locator("tbody tr").all_inner_texts()
    ]
    assert [row[4:7] for row in rows] == [["$0.0036", "$0.002", "7"], ["unknown", "", "7"]]
    assert page.locator(".latest .state.bad").all_inner_texts() == ["429"]  # as the server counts: no client that left
    assert page.locator(".chart rect").count() == 4 * 30 and "$1.25 / $5.00" in page.inner_text(".limits")
    assert (
        PAYLOADS[1] in page.locator(".shares:visible").nth(0).inner_text()
        and page.locator(".latest tbody tr").count() == 3
    )
    page.select_option("#view-usage .head select", "7")
    page.wait_for_function("() => document.querySelectorAll('.chart rect').length === 28")


def test_usage_after_requests(chromium: Any, tmp_path: Path) -> None:
    text = config(None, f'usage: {{path: "{tmp_path}/usage.db"}}')
    with Process(text) as server, browsing(chromium, server.root) as browser:
        browser.expected |= {429}
        browser.open("playground")
        browser.say("one two three")
        browser.say("begins well", "echo-cut")
        browser.say("never begins", "echo-429")
        page = browser.open("usage")
        page.wait_for_function(
            """() => document.querySelector('.chart strong')?.textContent === '3'
                     || void document.querySelector('#view-usage .head button')?.click()""",
            polling=300,
        )
        assert page.inner_text(".chart.errors strong") == "2"
        wrong = {
            row.split("\t")[0]: row.split("\t")[6] for row in page.locator(".shares:visible tbody tr").all_inner_texts()
        }
        assert wrong == {"echo": "0", "echo-cut": "1", "echo-429": "1"}
        with page.expect_download() as download:
            page.click("#usage-csv")
        assert "echo" in Path(download.value.path()).read_text(encoding="utf-8")


# The inspector


def ask(site: Process, model: str, text: str = "Hello", **more: Any) -> None:
    with OpenAI(base_url=site.url, api_key="sk-canary-of-the-client-0001", max_retries=0) as sdk:
        list(
            sdk.chat.completions.create(model=model, messages=[{"role": "user", "content": text}], stream=True, **more)
        )


def test_inspector(browser: Browsing, site: Process, scripted: Scripted) -> None:
    ask(site, "resilient", "Two tries, 两次")
    page = browser.open("inspector")
    page.locator("#exchanges button", has_text="resilient").first.click()
    page.locator(".attempt").nth(1).wait_for()
    assert "echo/echo-503" in page.locator(".attempt").nth(0).inner_text()
    assert "overloaded" in page.locator(".attempt").nth(0).inner_text()
    up, down = page.locator(".timeline .up"), page.locator(".timeline .down")
    assert "echo-503 always" in up.nth(0).inner_text() and "两次" in "".join(down.all_inner_texts())
    assert "[DONE]" in down.last.inner_text()
    seen = "n => document.querySelectorAll('#exchanges li').length === n + 1"
    before = page.locator("#exchanges li").count()
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.click("#exchange >> text=Copy as curl")
    curl = page.evaluate("navigator.clipboard.readText()")
    done = subprocess.run(["bash", "-c", curl], capture_output=True, text=True, encoding="utf-8", check=True)
    assert "data: [DONE]" in done.stdout and "两次" in done.stdout
    page.wait_for_function(seen, arg=before)  # live: it appears by itself
    page.locator("summary", has_text="Client request: headers").click()
    assert "sk-…0001" in page.inner_text("#exchange") and "canary-of-the-client" not in page.content()
    page.click("#replay")
    page.wait_for_function(seen, arg=before + 1)
    name = scripted(said("Hi"))
    ask(site, f"up/{name}", max_completion_tokens=9)  # live: it appears by itself
    page.locator("#exchanges button", has_text=name).click()
    page.locator(".attempt", has_text=f"up/{name}").wait_for()
    assert "canary" not in page.inner_text("#exchange")
    page.click("text=Open in playground")
    page.locator("#play-send").wait_for()
    assert page.input_value("#play-message") == "Hello" and page.input_value("#play-other") == f"up/{name}"
    assert page.input_value("#play-max") == "9"
    browser.open("inspector")
    page.click("#inspector-clear")
    page.locator("#exchanges .empty").wait_for()


def test_each_exchange_has_an_address(browser: Browsing, site: Process) -> None:
    for model in ("resilient", "echo"):
        ask(site, model)
    page = browser.open("inspector")
    page.locator("#exchanges .chosen .what", has_text=re.compile("^echo$")).wait_for()  # the newest
    page.locator("#exchange .attempt", has_text="echo/echo").wait_for()
    page.locator("#exchanges button", has_text="resilient").first.click()
    page.wait_for_url(re.compile(r"#inspector/\d+$"))
    address = page.url
    page.locator(".attempt").nth(1).wait_for()
    page.locator("#exchanges button", has_text=re.compile("^200echo")).first.click()
    page.wait_for_function("() => document.querySelectorAll('.attempt').length === 1")
    page.go_back()
    page.locator(".attempt").nth(1).wait_for()
    page.reload()
    page.locator(".attempt").nth(1).wait_for()
    assert page.url == address and page.locator("#views [aria-current]").inner_text() == "Inspector"
    browser.expected.add(404)
    browser.open("inspector/999999")
    page.locator("#exchange .failure code", has_text="not_found").wait_for()


def test_exchanges_are_filtered(browser: Browsing, site: Process) -> None:
    page = browser.open("inspector")
    page.locator("#inspector-clear").click()
    page.locator("#exchanges .empty").wait_for()
    ask(site, "resilient")
    with pytest.raises(APIError):
        ask(site, "echo-end")
    httpx.post(
        f"{site.url}/messages", json={"model": "echo", "max_tokens": 9, "messages": [{"role": "user", "content": "Hi"}]}
    )
    page.wait_for_function("() => document.querySelectorAll('#exchanges button').length === 3")
    names = page.locator("#exchanges .what")
    assert "Stream" in page.locator("#exchanges button", has_text="resilient").inner_text()
    assert "Stream" not in page.locator("#exchanges button", has_text="messages").inner_text()
    page.fill("#exchanges-words", "RESIL")
    assert names.all_inner_texts() == ["resilient"]
    page.fill("#exchanges-words", "")
    page.select_option("#exchanges-kind", "bad")
    assert names.all_inner_texts() == ["echo-end"]
    page.select_option("#exchanges-api", "messages")
    assert page.locator("#exchanges .empty").inner_text() == "No exchange matches."
    page.select_option("#exchanges-kind", "")
    assert names.all_inner_texts() == ["echo · messages"]
    page.click("#language")
    assert names.all_inner_texts() == ["echo · messages"]  # and so it stays


def test_inspector_that_is_off(chromium: Any, server: Process) -> None:
    with browsing(chromium, server.root) as browser:
        page = browser.open("inspector")
        page.locator("#inspector-off").wait_for()
        assert "inspector: {enabled: true}" in page.inner_text("#inspector-off")


# Keys


def test_the_key_stays_in_this_tab(chromium: Any, keyed: Process) -> None:
    with browsing(chromium, keyed.root) as browser:
        browser.expected.add(401)
        page = browser.open()
        page.locator(".badge.up").wait_for()
        assert "needs a key" in page.inner_text("#auth") and "MODELSERVER_KEY" in page.inner_text("#quickstart")
        page.click("#key")
        page.fill("#key-input", "sk-wrong")
        page.click("#key-dialog .primary")
        page.locator(".wrong", has_text="not accepted").wait_for()
        page.fill("#key-input", LAPTOP)
        page.click("#key-dialog .primary")
        page.locator("#key.set").wait_for()
        page.locator("#list-models .chips code", has_text="echo").wait_for()
        browser.open("playground")
        assert browser.say("With a key").locator(".said").inner_text() == "With a key"
        assert LAPTOP not in page.content() + page.url + json.dumps(
            page.evaluate("JSON.stringify(localStorage)")
        ) + page.evaluate("document.cookie")
        assert page.evaluate("sessionStorage.getItem('key')") == LAPTOP
        page.click("#key")
        page.locator("#key-dialog button", has_text="Forget").click()
        page.locator("#key:not(.set)").wait_for()
        assert page.evaluate("sessionStorage.getItem('key')") is None


# What must never happen


def test_model_output_never_becomes_html(browser: Browsing, upstream: Upstream) -> None:
    page = browser.open("playground")
    assert len(PAYLOADS) >= 30
    browser.expected.add(400)
    for text in PAYLOADS:
        call = {
            "index": 0,
            "id": text,
            "type": "function",
            "function": {"name": text, "arguments": json.dumps({"x": text})},
        }
        whole = stream(sse(chunk(role="assistant", content=""), chunk(reasoning_content=text), chunk(content=text),
                           chunk(tool_calls=[call]), chunk("tool_calls")))  # fmt: skip
        wrong = answer({"error": {"message": text, "type": text, "code": text, "param": text}}, 400)
        upstream.script("tight", whole, wrong)
        turn = browser.say(text, "tight")
        shown = f"x (https:{EVIL})" if text.startswith("![") else text  # an image is only a link
        assert turn.locator(".said").text_content() == shown and turn.locator(".thinking pre").text_content() == text
        turn = browser.say(text, "tight")
        assert json.loads(turn.locator(".failure pre").text_content())["error"]["message"] == text
        assert turn.locator(".failure .says").text_content() == text
        page.click("#play-new")
    page.wait_for_timeout(300)  # for what would have been loaded


def test_names_never_become_html(browser: Browsing) -> None:
    page = browser.open("models")
    page.locator(".models tbody tr").nth(len(NAMES)).wait_for()
    names = page.locator(".models th button").all_text_contents()
    assert {*NAMES} <= {*names}
    browser.open()
    page.locator("#list-models .chips code").nth(len(NAMES)).wait_for()
    page.select_option(".hero select", NAMES[1])
    assert NAMES[1] not in page.inner_text("#quickstart pre")  # quotes and brackets would break the code
    browser.open("playground")
    for text in NAMES:
        paste(page, text, png(2, 2))
        page.locator("#play-images figcaption").last.wait_for()
        assert page.locator("#play-images figcaption").last.text_content() == text
        turn = browser.say(text, text)
        assert turn.locator("h2").text_content() == text
        page.click("#play-new")
    browser.open("inspector")
    page.locator("#exchanges button", has_text="onerror").first.click()
    page.locator(".timeline").wait_for()
    page.wait_for_timeout(300)


def test_the_browser_holds_us_to_it(browser: Browsing) -> None:
    """The policy is not only sent: what our code never does, it cannot do."""
    page = browser.open()
    refused = page.evaluate(
        """() => { try { document.body.innerHTML = "<b>x</b>"; return false; } catch { return true; } }"""
    )
    assert refused and browser.trouble
    browser.trouble.clear()


# Every size, everyone


def filled(browser: Browsing, view: str) -> Any:
    """A view with something of everything it shows."""
    page = browser.open(view)
    page.locator(f"#view-{view} h1").first.wait_for(state="attached")
    match view:
        case "docs":
            page.locator(".badge.up").wait_for()
            page.locator("#list-models .chips code").first.wait_for()
        case "models":
            page.locator(".models tbody").first.wait_for()
        case "playground":
            page.locator(".settings").evaluate("one => (one.open = true)")
            page.select_option("#play-effort", "low")
            paste(page, "long" * 30, png(2, 2))
            browser.say("One word that is long: " + "long" * 60)
            browser.say("And a failure", "echo-429")
        case "usage":
            page.locator(".latest").wait_for()
            page.locator("#usage-days").evaluate("one => (one.open = true)")
        case "inspector":
            page.locator("#exchanges button").first.click()
            page.locator(".timeline").wait_for()
    return page


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("locale", ["zh-CN", "en-US"])
def test_nothing_is_wider_than_a_phone(chromium: Any, site: Process, locale: str, theme: str) -> None:
    options = {"locale": locale, "viewport": {"width": 360, "height": 740}, "color_scheme": theme}
    with browsing(chromium, site.root, **options) as browser:
        browser.expected |= {429}
        ask(site, "resilient")
        for view in VIEWS:
            page = filled(browser, view)
            width = page.evaluate("document.scrollingElement.scrollWidth")
            assert width <= 360, view
            assert cut_off(page) == [], view
            for link in page.locator("#views a").all():  # none has to be looked for
                box = link.bounding_box()
                assert box and box["x"] >= 0 and box["x"] + box["width"] <= 360, view
            assert page.locator(".bar").bounding_box()["height"] < 110


def test_a_phone_follows_the_answer(chromium: Any, site: Process) -> None:
    with browsing(chromium, site.root, viewport={"width": 360, "height": 640}) as browser:
        page = browser.open("playground")
        browser.say("The first question, which is long. " * 20)
        turn = browser.say("The second question. " * 20)
        for shown in (turn.locator(".stats"), page.locator("#play-send")):
            box = shown.bounding_box()
            assert box and box["y"] >= 0 and box["y"] + box["height"] <= 640


def cut_off(page: Any) -> list[str]:
    """Tables of which a part has to be scrolled to at the side, but for those with many columns of numbers."""
    return list(
        page.eval_on_selector_all(
            ".scroll",
            """all => all.filter(one => one.checkVisibility() && !one.querySelector(".share, .latest"))
                .filter(one => one.scrollWidth > one.clientWidth).map(one => one.innerText.slice(0, 100))""",
        )
    )


@pytest.mark.parametrize("locale", ["zh-CN", "en-US"])
def test_tables_fit_on_a_desktop(chromium: Any, example: Process, locale: str) -> None:
    """The models of the example configuration, with everything that is known of them."""
    with browsing(chromium, example.root, locale=locale) as browser:
        for view in ("docs", "models"):
            page = filled(browser, view)
            assert cut_off(page) == [], view
        assert page.locator(".models tbody tr:not(.group)").count() > 40
        assert page.locator("#model-list button.small").first.is_visible()


def test_the_keyboard_and_names(browser: Browsing) -> None:
    """By hand: where focus goes first, one heading, landmarks, and a name for every control."""
    page = browser.open()
    page.locator(".badge.up").wait_for()
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"
    for view in VIEWS:
        browser.open(view)
        page.locator(f"#view-{view} h1").first.wait_for(state="attached")
        assert page.locator("h1:visible, h1.offscreen:visible").count() == 1, view
        nameless = page.evaluate(
            """() => [...document.querySelectorAll("button, input, select, textarea, a, img, [role=img], summary")]
                .filter((one) => one.checkVisibility())
                .filter((one) => !(one.ariaLabel || one.alt || one.innerText?.trim() || one.labels?.[0]?.innerText.trim()))
                .map((one) => one.outerHTML)"""
        )
        assert nameless == [], view
    assert page.locator("header, main, nav:visible").count() >= 3


@pytest.fixture(scope="session")
def axe(node_modules: Path) -> str:
    """The accessibility checker's source."""
    return (node_modules / "axe-core" / "axe.min.js").read_text(encoding="utf-8")


@pytest.mark.parametrize(("theme", "width"), [("light", 1280), ("dark", 390)])  # colours do not depend on the width
def test_axe_finds_nothing_serious(chromium: Any, site: Process, axe: str, theme: str, width: int) -> None:
    ask(site, "resilient")
    options = {
        "color_scheme": theme,
        "locale": "zh-CN" if theme == "dark" else "en-US",
        "viewport": {"width": width, "height": 900},
        "bypass_csp": True,
        "reduced_motion": "reduce",
    }
    with browsing(chromium, site.root, **options) as browser:
        browser.expected |= {429}
        for view in VIEWS:
            page = filled(browser, view)
            page.evaluate(axe)
            found = page.evaluate("axe.run(document, { resultTypes: ['violations'] })")
            serious = [
                (rule["id"], [node["html"][:200] for node in rule["nodes"][:3]])
                for rule in found["violations"]
                if rule["impact"] in ("serious", "critical")
            ]
            assert serious == [], view
