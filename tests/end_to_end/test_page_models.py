"""The page's list of models, and its view of one."""

import re
import subprocess
import sys
from typing import Any
from urllib.parse import quote

import httpx2 as httpx
import pytest
from browser import NAMES, Browsing, ask, browsing
from openai import InternalServerError
from process import Process, config, environment
from scripted import Upstream, answer


def test_models(browser: Browsing) -> None:
    page = browser.open("models")
    row = page.locator(".models tr", has=page.locator("th a", has_text=re.compile("^echo$")))
    row.wait_for()
    assert {"tools", "vision", "reasoning", "JSON", "free"} <= {*row.inner_text().split()}
    page.fill("#models-words", "resil")
    assert page.locator(".models tbody tr:not(.group)").count() == 1
    page.locator(".models button.small", has_text="Try").click()
    page.locator("#play-model").wait_for()
    assert page.input_value("#play-model") == "resilient"


def test_a_model_that_rests(chromium: Any, upstream: Upstream) -> None:
    """Up, resting, up again: as told each time the view is visited."""
    upstream.script("tired", answer({"error": {"message": "broken"}}, 500))
    text = config(upstream, server="cooldown: {failures: 2, seconds: 4}", models="tired: up/tired")
    with Process(text) as server, browsing(chromium, server.root) as browser:
        page = browser.open("models")
        state = page.locator(".models tr", has=page.locator("th a", has_text="tired")).locator(".state")
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
        row = page.locator(".models tr", has=page.locator("th a", has_text="text-embedding-3-small"))
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


def names(page: Any) -> list[str]:
    return list(page.locator(".models tbody th a").all_inner_texts())


def test_models_are_sorted_and_narrowed(chromium: Any, example: Process) -> None:
    with browsing(chromium, example.root) as browser:
        page = browser.open("models")
        page.locator(".models .group").first.wait_for()
        grouped = names(page)
        cards = {card["id"]: card for card in httpx.get(f"{example.url}/models").json()["data"]}
        price = {name: float(card.get("pricing", {}).get("prompt", "nan")) for name, card in cards.items()}
        known = [name for name in cards if price[name] == price[name]]
        page.click("#sort-price")
        assert page.locator(".models .group").count() == 0 and page.input_value("#models-order") == "cheapest"
        assert page.get_attribute(".models th.col-price", "aria-sort") == "ascending"
        assert [price[name] for name in names(page)[: len(known)]] == sorted(price[name] for name in known)
        page.click("#sort-price")
        assert [price[name] for name in names(page)[: len(known)]] == sorted(
            (price[name] for name in known), reverse=True
        )
        assert page.evaluate("document.activeElement.id") == "sort-price"
        page.click("#sort-price")
        assert names(page) == grouped
        page.select_option("#models-order", "context")
        windows = [cards[name].get("context_length", 0) for name in names(page)]
        assert windows == sorted(windows, reverse=True) and windows[0] >= 1_000_000
        page.select_option("#models-order", "newest")
        months = [cards[name].get("released", "") for name in names(page)]
        assert months == sorted(months, reverse=True) and months[-1] == ""
        page.select_option("#models-order", "context")
        page.locator(".toggles button", has_text="vision").click()
        page.locator(".toggles button", has_text="tools").click()
        page.select_option("#models-price", "1")
        page.select_option("#models-context", "1000000")
        wanted = {
            name for name, card in cards.items()
            if "image" in card["architecture"]["input_modalities"] and "tools" in card["supported_parameters"]
            and price[name] <= 1e-6 and card.get("context_length", 0) >= 1_000_000
        }  # fmt: skip
        assert {*names(page)} == wanted and 0 < len(wanted) < 40
        page.fill("#models-words", "no such model")
        page.click("#models-all")
        assert len(names(page)) == len(cards) and page.input_value("#models-price") == ""


def test_one_model_has_an_address(chromium: Any, upstream: Upstream) -> None:
    """Its targets in their order, each with its state, prices, window and what is dropped; its other names; code that runs."""
    upstream.script("tired", answer({"error": {"message": "broken"}}, 500))
    upstream.script("fresh", answer({"choices": [{"message": {"content": "Hi"}, "finish_reason": "stop"}]}))
    facts = """
model_facts:
  tired: {context: 8000, price: {input: 1, output: 2, cache_read: 0.1}, stop: false, penalties: false}
  fresh: {context: 32000, max_output: 4000, price: {input: 3, output: 15},
    long_context: {above: 16000, input: 6, output: 22.5}}"""
    pool = "[{target: up/tired, on: [context]}, up/fresh]"
    models = f"pool: {pool}\nsame: {pool}"
    text = config(upstream, facts, server="cooldown: {failures: 1, seconds: 60}", models=models)
    with Process(text) as server, browsing(chromium, server.root) as browser:
        page = browser.open("models")
        page.locator(".models th a", has_text="pool").click()
        page.wait_for_url("**/#models/pool")
        page.locator(".target").nth(1).wait_for()
        first, second = [" ".join(target.split()) for target in page.locator(".target").all_inner_texts()]
        assert first.startswith(
            "1 up/tired up Context 8K Max output unknown $ / million tokens: in / out $1.00 / $2.00 Cache read $0.10"
        )
        assert first.endswith(
            "Dropped or changed for it presence_penalty frequency_penalty Refused by it stop The next is also asked after context"
        )
        assert second.startswith("2 up/fresh up Context 32K Max output 4K $ / million tokens: in / out $3.00 / $15.00")
        assert "Longer prompts > 16K $6.00 / $22.50" in second
        assert "Takes all the usual parameters." in second
        assert page.locator(".aliases a").all_inner_texts() == ["same"]
        ask(server, "pool")
        page.click("#views >> text=Docs")
        page.go_back()
        page.locator(".target .state.cooling_down").wait_for()
        assert page.locator(".target .state").all_inner_texts() == ["cooling down", "up"]
        assert page.locator(".facts .state").inner_text() == "up"  # for there is another
        page.click(".aliases a")
        page.wait_for_url("**/#models/same")
        page.locator("h1", has_text="same").wait_for()
        page.click("#model-try")
        page.locator("#play-send").wait_for()
        assert page.input_value("#play-model") == "same"
        browser.expected.add(404)
        browser.open("models/none")
        page.locator("#view-models .failure code", has_text="model_not_found").wait_for()
        page.click(".back a")
        page.locator(".models th a", has_text="pool").wait_for()


@pytest.mark.parametrize("name", [NAMES[6], NAMES[0], NAMES[-1]])
def test_the_view_of_a_model_with_an_evil_name(browser: Browsing, site: Process, name: str) -> None:
    page = browser.open(f"models/{quote(name, safe='')}")
    page.locator("#model-code").wait_for()
    assert page.text_content("#view-models h1") == name
    assert {*NAMES} - {name} < {*page.locator(".aliases a").all_text_contents()}
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    for language in ("curl", "python"):
        page.click(f"#model-code-{language}")
        page.click("#model-code .copy")
        code = page.evaluate("navigator.clipboard.readText()")
        command = ["bash", "-c", code] if language == "curl" else [sys.executable, "-c", code]
        done = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", env=environment(), check=True)
        assert "Hello!" in done.stdout
    page.locator(".aliases a", has_text=NAMES[1]).first.click()
    page.wait_for_function("name => document.querySelector('#view-models h1').textContent === name", arg=NAMES[1])


def test_a_model_of_embeddings_is_called_as_one(chromium: Any, example: Process) -> None:
    with browsing(chromium, example.root) as browser:
        page = browser.open("models/text-embedding-3-small")
        page.locator("#model-code").wait_for()
        assert page.locator("#model-try").count() == 0
        for language, called in (
            ("curl", "/v1/embeddings"),
            ("python", "embeddings.create"),
            ("node", "embeddings.create"),
        ):
            page.click(f"#model-code-{language}")
            assert called in page.inner_text("#model-code pre") and "chat" not in page.inner_text("#model-code pre")
        page.reload()
        page.locator("#model-code-node[aria-pressed=true]").wait_for()  # as it was chosen
