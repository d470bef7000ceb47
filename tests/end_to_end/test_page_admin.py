"""The page's administration: how providers are, keys with their limits, a new key that is shown once, one that is disabled."""

import re
from collections.abc import Iterator
from typing import Any

import httpx2 as httpx
import pytest
from browser import PAYLOADS, Browsing, browsing, serious
from process import Process, config
from scripted import Upstream, answer

BOSS, USER = "sk-admin-canary-0003", "sk-admin-canary-0004"
# A key's name, or a provider's, as long as either may be.
EVIL = [name for name in PAYLOADS if len(name) <= 100 and name.isprintable()]
PROVIDERS = [name for name in EVIL if not {*"/*'"} & {*name}]


@pytest.fixture(scope="module")
def managed(upstream: Upstream) -> Iterator[Process]:
    """A server with an administrator's key and another; its provider's models fail. Its names are evil."""
    upstream.script("cold", answer({"error": {"message": "broken"}}, 500))
    evil = "\n".join(f"'{name}': {{protocol: echo}}" for name in PROVIDERS)
    away = 'away: {protocol: openai, api_key: "${NOT_SET_HERE}", base_url: "https://x.example.com/v1"}'
    keys = f"""
keys:
  - {{name: boss, key: "{BOSS}", admin: true}}
  - {{name: user, key: "{USER}", rpm: 60, budget_usd: 5, budget_period: day, models: [echo]}}
usage: {{path: usage.db}}
"""
    cooldown = "cooldown: {failures: 2, seconds: 3000}"
    with Process(config(upstream, keys, server=cooldown, providers=f"{evil}\n{away}")) as server:
        call = {"json": {"model": "up/cold", "messages": [{"role": "user", "content": "x"}]}, "headers": bearer(BOSS)}
        for _ in range(2):
            assert httpx.post(f"{server.url}/chat/completions", **call).status_code == 502
        ask_ = {"json": {"model": "echo", "messages": [{"role": "user", "content": "x"}]}, "headers": bearer(USER)}
        assert httpx.post(f"{server.url}/chat/completions", **ask_).status_code == 200
        yield server


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


@pytest.fixture
def boss(chromium: Any, managed: Process) -> Iterator[Browsing]:
    with browsing(chromium, managed.root) as browser:
        browser.page.add_init_script(f"sessionStorage.setItem('key', '{BOSS}')")
        yield browser


def card(page: Any, name: str) -> Any:
    return page.locator("#admin-keys .card").filter(has=page.locator("h3", has_text=re.compile(f"^{re.escape(name)}")))


def test_providers_and_keys(boss: Browsing) -> None:
    page = boss.open("admin")
    up = page.locator("#admin-providers .card", has=page.locator("h3 > span:first-child", has_text=re.compile("^up$")))
    up.wait_for()
    assert up.locator("h3 .state").inner_text() == "cooling down"
    resting = r"cold cooling down 2 failures in a row · again in (3000|2\d{3}) s"
    assert re.match(resting, up.locator(".plain li").nth(0).inner_text())
    assert "upstream_error up/cold" in re.sub(r"\s+", " ", up.locator(".faults").inner_text())
    up.locator("summary", has_text="1 earlier one").click()
    page.locator("#admin-providers summary", has_text="1 provider is off: a variable is not set").click()
    assert page.locator("#admin-providers > details li").inner_text() == "away NOT_SET_HERE"
    with page.expect_response("**/admin/keys"):  # it looks again, and what was folded out stays so
        page.click("#view-admin .head button")
    page.wait_for_function("() => document.querySelectorAll('#admin-providers details[open] li').length === 2")
    user = card(page, "user")
    assert user.locator(".limit dt").all_inner_texts() == ["Requests a minute", "Budget · a day"]
    assert user.locator(".limit dd").nth(0).inner_text() in ("0 / 60", "1 / 60")
    assert user.locator(".limit").nth(1).locator("dd").first.inner_text() == "$0 / $5.00"
    assert "1 request · $0" in user.inner_text() and "Stands in config.yaml: change it there." in user.inner_text()
    assert (
        "no limits" in card(page, "boss").inner_text() and card(page, "boss").locator(".chip").inner_text() == "admin"
    )
    page.click("#language")
    assert up.locator("h3 .state").inner_text() == "冷却中" and "每分钟请求" in user.inner_text()


def test_a_new_key_is_shown_once_and_disabled_after_a_second_look(boss: Browsing, managed: Process) -> None:
    page = boss.open("admin")
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.fill("#new-name", "team")
    page.fill("#new-rpm", "30")
    page.fill("#new-budget_usd", "2.5x")
    boss.expected |= {400}
    page.click("#admin-add [type=submit]")
    page.locator(
        "#new-said .failure .says", has_text="expected dollars such as 5 or 0.50, up to 100000, but got '2.5x'"
    ).wait_for()
    page.click("#language")
    page.click("#language")
    assert page.input_value("#new-name") == "team"  # what was typed stays
    page.fill("#new-budget_usd", "2.5")
    page.select_option("#new-budget_period", "day")
    page.fill("#new-models", "echo, gpt-*")
    page.click("#admin-add [type=submit]")
    page.locator("#made-key").wait_for()
    key = page.inner_text("#made-key")
    page.click("#made-dialog .copy")
    assert page.evaluate("navigator.clipboard.readText()") == key and key.startswith("sk-ms-")
    assert "Shown this once" in page.inner_text("#made-dialog")
    page.click("#made-dialog .primary")
    page.locator("#made-dialog").wait_for(state="hidden")
    kept = page.evaluate(
        "document.documentElement.outerHTML + JSON.stringify({...localStorage}) + JSON.stringify({...sessionStorage})"
    )
    assert key not in kept and page.input_value("#new-name") == ""
    team = card(page, "team")
    team.wait_for()
    assert "0 / 30" in team.inner_text() and "$0 / $2.50" in team.inner_text() and "gpt-*" in team.inner_text()
    models = f"{managed.url}/models"
    assert httpx.get(models, headers=bearer(key)).status_code == 200
    team.locator("button", has_text="Disable").click()
    assert httpx.get(models, headers=bearer(key)).status_code == 200  # not yet
    team.locator("button", has_text="Cancel").click()
    team.locator("button", has_text="Disable").click()
    team.locator("button", has_text="Really disable?").click()
    team.locator(".state", has_text="disabled").wait_for()
    assert httpx.get(models, headers=bearer(key)).json()["error"]["code"] == "key_disabled"
    team.locator("button", has_text="Enable").click()
    team.locator(".state", has_text="on").wait_for()
    page.fill("#new-name", "team")
    page.click("#admin-add [type=submit]")
    page.locator("#new-said .says", has_text="keys.yaml has a key 'team'").wait_for()
    assert key not in managed.out + managed.err


def test_names_are_inert(boss: Browsing, managed: Process) -> None:
    page = boss.open("admin")
    page.locator("#admin-keys .card").first.wait_for()
    for name in EVIL[:6]:
        page.fill("#new-name", name)
        page.fill("#new-models", name.replace(",", ""))
        page.click("#admin-add [type=submit]")
        page.locator("#made-key").wait_for()
        assert page.inner_text("#made-title") == f"New key: {name}"
        page.click("#made-dialog .primary")
        page.locator("#admin-keys .card h3 > span:first-child", has_text=name).wait_for()
    names = page.locator("#admin-keys h3 > span:first-child").all_text_contents()
    assert {*EVIL[:6]} <= {*names}
    shown = page.locator("#admin-providers .card h3 > span:first-child").all_text_contents()
    assert len(PROVIDERS) > 5 and {*PROVIDERS} <= {*shown}
    page.wait_for_timeout(300)  # for what would have been loaded


def test_it_is_for_administrators(chromium: Any, managed: Process) -> None:
    with browsing(chromium, managed.root) as browser:
        browser.expected.add(403)
        page = browser.open("admin")
        page.locator("#view-admin .empty", has_text="Enter your API key first.").wait_for()
        page.evaluate(f"sessionStorage.setItem('key', '{USER}')")
        page.reload()
        page.locator("#view-admin .empty", has_text="This needs a key with admin: true").wait_for()
        assert page.locator("#admin-add").count() == 0


def test_the_first_key_of_a_server_without_keys(chromium: Any, upstream: Upstream) -> None:
    with Process(config(upstream)) as server, browsing(chromium, server.root) as browser:
        page = browser.open("admin")
        page.locator("#admin-keys .note", has_text="With the first key every request needs one").wait_for()
        page.fill("#new-name", "me")
        page.check("#new-admin")
        page.click("#admin-add [type=submit]")
        page.locator("#made-dialog", has_text="It is the first key").wait_for()
        key = page.inner_text("#made-key")
        page.click("#made-dialog button:has-text('Use it in this tab')")
        card(page, "me").wait_for()
        page.locator("#key.set").wait_for()
        assert page.evaluate("sessionStorage.getItem('key')") == key and key not in page.content()
        browser.open("playground")
        assert browser.say("With the new key").locator(".said").inner_text() == "With the new key"


@pytest.mark.parametrize(("theme", "width", "locale"), [("light", 1280, "en-US"), ("dark", 360, "zh-CN")])
def test_everybody_can_use_it(chromium: Any, managed: Process, axe: str, theme: str, width: int, locale: str) -> None:
    options = {"color_scheme": theme, "locale": locale, "viewport": {"width": width, "height": 900}, "bypass_csp": True}
    with browsing(chromium, managed.root, reduced_motion="reduce", **options) as browser:
        browser.page.add_init_script(f"sessionStorage.setItem('key', '{BOSS}')")
        page = browser.open("admin")
        card(page, "user").wait_for()
        page.locator("#admin-providers > details").evaluate("one => (one.open = true)")
        assert page.evaluate("document.scrollingElement.scrollWidth") <= width
        assert serious(page, axe) == []
