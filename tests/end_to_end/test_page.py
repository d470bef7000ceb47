"""The page as a whole: its files, languages and key, what names may do to it, and every size. Its views: test_page_*.py."""

import json
import re
import shutil
from pathlib import Path
from typing import Any

import httpx2 as httpx
import pytest
from browser import NAMES, VIEWS, Browsing, ask, browsing, paste, png, serious
from conftest import LAPTOP
from process import Process

from server.page import FOLDER, POLICY, Site

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


# The frame


def test_language_and_theme_are_remembered(browser: Browsing) -> None:
    page = browser.open()
    assert page.inner_text("#views").split() == ["Docs", "Models", "Playground", "Usage", "Inspector", "Admin"]
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
    """Every text is a pair, none is empty or has another's name, and no placeholder is unknown."""
    text = (FOLDER / "text.js").read_text(encoding="utf-8")
    ui = text.partition("const UI = {")[2].partition("\n};")[0]
    entries = re.findall(r"^  (\w+): \[\s*(\".*?\"),\s*(\".*?\"),?\s*\],?$", ui, re.MULTILINE | re.DOTALL)
    names = {name for name, *_ in entries}
    assert len(names) == len(entries)  # JavaScript would take the last of two
    used = set()
    for file in FOLDER.glob("*.js"):
        source = file.read_text(encoding="utf-8")
        used |= set(re.findall(r"\b(?:text|counted)\(\"(\w+)\"[,)]", source)) | set(
            re.findall(r"[{,] \"?t(?:-[\w-]+)?\"?: \"(\w+)\"", source)
        )
    assert used - names == set()
    assert {*re.findall(r"\{\{(\w+)\}\}", text)} == {
        *("base", "origin", "model", "reasoner", "completer", "embedder", "curl", "python", "anthropic", "node")
    }


def test_a_view_that_cannot_be_filled_says_so_and_tries_again(browser: Browsing) -> None:
    browser.expected.add(503)
    page = browser.page
    wrong = {"error": {"message": "Not now.", "type": "server_error", "code": "overloaded", "param": None}}
    for view, path in (
        ("models", "**/v1/models"),
        ("usage", "**/v1/usage?**"),
        ("inspector", "**/inspector/exchanges"),
        ("admin", "**/admin/providers"),
    ):
        page.route(path, lambda route: route.fulfill(status=503, json=wrong))
        browser.open(view)
        failure = page.locator(f"#view-{view} .failure")
        failure.locator(".happened", has_text="Not available at the moment · overloaded HTTP 503").wait_for()
        page.unroute(path)
        failure.locator(".retry").click()
        failure.wait_for(state="detached")


# Keys


def test_the_key_stays_in_this_tab(chromium: Any, keyed: Process) -> None:
    with browsing(chromium, keyed.root) as browser:
        browser.expected.add(401)
        page = browser.open()
        page.locator(".badge.up").wait_for()
        assert "needs a key" in page.inner_text("#auth") and "MODELSERVER_KEY" in page.inner_text("#quickstart")
        page.click("#views >> text=Playground")  # it says what is needed, and asks for no name of a model
        assert page.locator("#play-log .empty").inner_text().split("\n")[0] == "Enter your API key first. API key"
        assert page.locator("#play-model option").all_inner_texts() == ["Enter your API key first."]
        assert page.locator("#play-other").is_hidden()
        page.click("#views >> text=Docs")
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


def test_names_never_become_html(browser: Browsing) -> None:
    page = browser.open("models")
    page.locator(".models tbody tr").nth(len(NAMES)).wait_for()
    names = page.locator(".models th a").all_text_contents()
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
    page.locator(f"#view-{view.partition('/')[0]} h1").first.wait_for(state="attached")
    match view:
        case "docs":
            page.locator(".badge.up").wait_for()
            page.locator("#list-models .chips code").first.wait_for()
        case "models":
            page.locator(".models tbody").first.wait_for()
        case "models/resilient":
            page.locator("#model-code").wait_for()
        case "playground":
            page.locator(".settings").evaluate("one => (one.open = true)")
            page.select_option("#play-effort", "low")
            paste(page, "long" * 30, png(2, 2))
            browser.say("One word that is long: " + "long" * 60)
            browser.say("And a failure", "echo-429")
        case "usage":
            page.locator("table.latest").wait_for()
            page.locator("#usage-days").evaluate("one => (one.open = true)")
        case "inspector":
            page.locator("#exchanges button").first.click()
            page.locator(".timeline").wait_for()
        case "admin":
            page.locator("#admin-providers .card").first.wait_for()
    return page


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("locale", ["zh-CN", "en-US"])
def test_nothing_is_wider_than_a_phone(chromium: Any, site: Process, locale: str, theme: str) -> None:
    options = {"locale": locale, "viewport": {"width": 360, "height": 740}, "color_scheme": theme}
    with browsing(chromium, site.root, **options) as browser:
        browser.expected |= {429}
        ask(site, "resilient")
        for view in (*VIEWS, "models/resilient"):
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
    """Tables of which a part has to be scrolled to at the side."""
    return list(
        page.eval_on_selector_all(
            ".scroll",
            """all => all.filter(one => one.checkVisibility())
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
            if view == "docs":  # every section has space above and below, whether it has code or not
                paddings = page.locator(".doc").evaluate_all(
                    "all => all.map(one => getComputedStyle(one).paddingBlock)"
                )
                assert {*paddings} == {"44px"}
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
        for view in (*VIEWS, "models/resilient"):
            page = filled(browser, view)
            assert serious(page, axe) == [], view
