"""The page's list of models."""

import re
from typing import Any

import pytest
from browser import Browsing, ask, browsing
from openai import InternalServerError
from process import Process, config
from scripted import Upstream, answer


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
