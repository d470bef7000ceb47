"""The page in a real browser: Debian's Chromium, driven by Playwright, against the real process.

Every visit ends by looking back: no script error, no message on the console, no dialog, no request to another host.
"""

import base64
import json
import re
import shutil
import struct
import subprocess
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from openai import OpenAI
from process import ROOT, Process, config
from scripted import Script, Upstream, sse, stream

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
FLAGS = [
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync"),
]
VIEWS = ("docs", "models", "playground", "usage", "inspector", "admin")
PLAIN: Any = {"locale": "en-US", "viewport": {"width": 1280, "height": 900}}
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


def ask(site: Process, model: str, text: str = "Hello", **more: Any) -> None:
    with OpenAI(base_url=site.url, api_key="sk-canary-of-the-client-0001", max_retries=0) as sdk:
        list(
            sdk.chat.completions.create(model=model, messages=[{"role": "user", "content": text}], stream=True, **more)
        )


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


@contextmanager
def browsing(chromium: Any, root: str, **options: Any) -> Iterator[Browsing]:
    """A page in a new tab, or with options in a new window, which costs Chromium three times as much CPU."""
    context = chromium.new_context(**{**PLAIN, **options}) if options else chromium.contexts[0]
    browsing = Browsing(context.new_page(), root)
    try:
        yield browsing
        assert browsing.trouble == []
    finally:
        if options:
            context.close()
        else:
            forget(context, root)


def forget(context: Any, root: str) -> None:
    """Close all but the first page of a window, and remove what they stored: a new tab finds nothing, as a new window."""
    first, *others = context.pages
    for page in others:
        page.close()
    context.clear_cookies()
    context.clear_permissions()
    devtools = context.new_cdp_session(first)
    devtools.send("Storage.clearDataForOrigin", {"origin": root, "storageTypes": "all"})
    devtools.send("Network.clearBrowserCache")
    devtools.detach()


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    """The browser. Skips where it, or what drives it, is not installed."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: tests/requirements.txt")
    if CHROMIUM is None:
        pytest.skip("Chromium is not installed: apt-get install chromium")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        browser.new_context(**PLAIN).new_page()  # the window whose tabs the tests get
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


@pytest.fixture(scope="module")
def example() -> Iterator[Process]:
    """The example configuration with a key, or an address, for every provider."""
    text = re.sub(r"(?m)^  port: 8080 .*$", "  port: 0", (ROOT / "config.yaml").read_text(encoding="utf-8"))
    text = re.sub(r"(?m)^usage: *\n(?: +.*\n)*", "", text)
    names = re.findall(r"\$\{(\w+)\}", text)
    env = {name: "https://x.example.com/v1" if name.endswith(("_URL", "_ENDPOINT")) else "sk-fake" for name in names}
    with Process(text, env=env) as process:
        yield process


@pytest.fixture
def browser(chromium: Any, site: Process) -> Iterator[Browsing]:
    with browsing(chromium, site.root) as found:
        yield found


def npm(package: str, folder: Path) -> Path:
    """The folder node_modules with a package, pinned, from the npm registry, installed below this folder. Skips without it."""
    for command in ("node", "npm"):
        if not shutil.which(command):
            pytest.skip(f"{command} is not installed: apt-get install nodejs npm")
    flags = ("--no-audit", "--no-fund", "--no-save", "--ignore-scripts", "--fetch-retries=0", "--prefix", str(folder))
    try:
        subprocess.run(
            ["npm", "install", *flags, package], cwd=folder, capture_output=True, text=True, timeout=90, check=True
        )
    except subprocess.SubprocessError as error:
        told = str(getattr(error, "stderr", None) or error).strip()[-300:]
        pytest.skip(f"the npm registry does not give {package}: {told}")
    return folder / "node_modules"


@pytest.fixture(scope="session")
def axe(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The accessibility checker's source."""
    folder = npm("axe-core@4.14.1", tmp_path_factory.mktemp("npm"))
    return (folder / "axe-core" / "axe.min.js").read_text(encoding="utf-8")


def serious(page: Any, axe: str) -> list[Any]:
    """What the accessibility checker has against a page: rules, each with the elements."""
    page.evaluate(axe)
    found = page.evaluate("axe.run(document, { resultTypes: ['violations'] })")
    return [
        (rule["id"], [node["html"][:200] for node in rule["nodes"][:3]])
        for rule in found["violations"]
        if rule["impact"] in ("serious", "critical")
    ]
