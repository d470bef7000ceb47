"""The page's inspector: exchanges, their addresses, filters and replay."""

import re
import subprocess
from typing import Any

import httpx2 as httpx
import pytest
from browser import Browsing, Scripted, ask, browsing, said
from openai import APIError
from process import Process


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
    page.wait_for_function("document.querySelector('#play-message')?.value === 'Hello'")  # once the models are listed
    assert page.input_value("#play-other") == f"up/{name}"
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
    httpx.post(
        f"{site.url}/completions", json={"model": "echo", "prompt": "Hi"}
    )  # an API that was called can be chosen
    page.locator("#exchanges-api option", has_text=re.compile("^completions$")).wait_for(state="attached")
    page.select_option("#exchanges-api", "completions")
    assert names.all_inner_texts() == ["echo · completions"]
    page.select_option("#exchanges-api", "messages")
    page.click("#language")
    assert names.all_inner_texts() == ["echo · messages"]  # and so it stays


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


def test_inspector_that_is_off(chromium: Any, server: Process) -> None:
    with browsing(chromium, server.root) as browser:
        page = browser.open("inspector")
        page.locator("#inspector-off").wait_for()
        assert "inspector: {enabled: true}" in page.inner_text("#inspector-off")
