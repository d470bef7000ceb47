"""The page's view of usage: the chart, sums, the latest requests, CSV."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from browser import PAYLOADS, browsing
from process import Process, config
from usage_helpers import past


def test_usage_of_a_server_that_keeps_none(chromium: Any, server: Process) -> None:
    with browsing(chromium, server.root) as browser:
        page = browser.open("usage")
        page.locator("#usage-off").wait_for()
        assert "usage: {path: usage.db}" in page.inner_text("#usage-off")
        page.click("#views >> text=Docs")
        assert "keeps no usage" in page.inner_text("#limits")


KEY = "sk-canary-of-an-admin-0123"
BUDGET = "sk-canary-with-a-budget-01"
MANY = [f"model-{n:02}" for n in range(24)]


@pytest.fixture(scope="module")
def past_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    """A server whose ledger holds two months: many models, two keys, names that are HTML, errors, what caches have saved."""
    small = {"cost": 2500, "prompt": 1500, "first_ms": 800, "total_ms": 2000}
    path = past(
        tmp_path_factory.mktemp("ledger") / "usage.db",
        {"ago": 40, "key": "laptop", "model": "gpt-4o", "times": 2, "cost": 500_000},
        *({"ago": 20, "key": "laptop", "model": name, **small} for name in MANY),
        {"ago": 3, "key": PAYLOADS[0], "model": PAYLOADS[1], "times": 30, "cost": None, "saved": None, "prompt": 10},
        {"ago": 1, "key": "laptop", "model": "gpt-4o", "times": 5, "cost": 120_000, "saved": 30_000, "cached": 50},
        {"ago": 1, "key": "laptop", "model": "gpt-4o", "status": 429, "code": "rate_limit_exceeded", "cost": 0, "completion": 0},
        {"ago": 1, "key": "laptop", "model": "gpt-4o", "status": 499, "code": "client_closed", "cost": 1000, "estimated": True},
    )  # fmt: skip
    keys = f"""keys:
  - {{name: boss, key: {KEY}, admin: true}}
  - {{name: laptop, key: {BUDGET}, rpm: 60, budget_usd: 5, budget_period: month}}"""
    with Process(config(None, f'{keys}\nusage: {{path: "{path}", retention_days: 3650}}')) as process:
        yield process


@contextmanager
def visiting(chromium: Any, server: Process, key: str = KEY, **options: Any) -> Iterator[Any]:
    """The view of usage, with a key."""
    with browsing(chromium, server.root, **options) as browser:
        browser.page.add_init_script(f"sessionStorage.setItem('key', '{key}')")
        page = browser.open("usage")
        page.locator("#usage-chart").wait_for()
        yield page


def tiles(page: Any) -> dict[str, list[str]]:
    """What the tiles say: their names, amounts, and what stands below those."""
    told = [text.split("\n") for text in page.locator(".tile").all_inner_texts()]
    return {name: rest for name, *rest in told}


def legend(page: Any) -> list[str]:
    return [" ".join(text.split()) for text in page.locator(".legend li").all_inner_texts()]


def column(page: Any, table: str, number: int) -> list[str]:
    return list(page.locator(f"table.{table} tbody tr td:nth-child({number})").all_inner_texts())


def test_one_chart_of_each_measure(chromium: Any, past_server: Process) -> None:
    with visiting(chromium, past_server) as page:
        assert tiles(page) == {
            "Requests": ["61", "+2,950 % vs. 2"], "Tokens": ["37.6K", "+16,991 % vs. 220"],
            "Cost": ["$0.66 +", "−34 % vs. $1.00"], "Saved by cache": ["$0.15"], "Errors": ["1"],
            "First token p50": ["100 ms", "p95 800 ms"], "Total time p50": ["400 ms", "p95 2.00 s"],
        }  # fmt: skip
        assert legend(page)[:3] == [f"{PAYLOADS[1]} 30", "gpt-4o 7", "model-00 1"]
        assert legend(page)[-2:] == ["Others 20", "previous period 2"]
        assert page.locator(".plot .layer").count() == 1 + 1 + 4 + 1  # days and layers with something in them
        assert page.locator(".plot .before").count() == 1
        marks = page.locator(".plot text[text-anchor=end]").all_text_contents()
        assert marks == ["0", "10", "20", "30"]
        page.click("#measure-costs")
        assert page.inner_text("#usage-chart h2") == "Cost" and legend(page)[0] == "gpt-4o $0.6010"
        marks = page.locator(".plot text[text-anchor=end]").all_text_contents()
        assert marks == ["$0.00", "$0.50", "$1.00"]  # the period before had more on one day
        assert "unknown price" in page.inner_text("#usage-chart")
        page.click("#measure-firstToken")
        assert legend(page) == ["p50 100 ms", "p95 800 ms"] and page.locator(".plot .dot").count() == 2 * 3
        page.click("#measure-requests")
        page.click("#stack-key")
        page.locator(".legend li", has_text="laptop").wait_for()
        assert legend(page) == ["laptop 31", f"{PAYLOADS[0]} 30", "previous period 2"]


def test_the_chart_tells_of_a_day(chromium: Any, past_server: Process) -> None:
    """To a pointer, and to the keyboard; and again of all when that leaves."""
    with visiting(chromium, past_server) as page:
        page.select_option("#usage-days-shown", "7")
        page.wait_for_function("() => document.querySelector('.plot').ariaValueMax === '7'")
        whole = page.inner_text(".legend")
        box = page.locator(".plot svg").bounding_box()
        page.mouse.move(box["x"] + box["width"] * 3.5 / 7, box["y"] + 100)  # three days ago
        date = page.evaluate(
            "ago => new Date(Date.now() - ago * 864e5).toLocaleDateString('en-US', {weekday: 'short', year: 'numeric', "
            "month: 'short', day: 'numeric', timeZone: 'UTC'})",
            3,
        )
        assert page.inner_text(".legend").startswith(date)
        assert legend(page) == [f"{PAYLOADS[1]} 30", "gpt-4o 0"] and page.inner_text(".legend strong") == "30"
        page.mouse.move(5, 5)
        assert page.inner_text(".legend") == whole
        page.focus(".plot")
        for _ in range(2):
            page.keyboard.press("ArrowLeft")
        told = page.get_attribute(".plot", "aria-valuetext")
        assert told.endswith(f": 7, {PAYLOADS[1]} 0, gpt-4o 7") and page.get_attribute(".plot", "aria-valuenow") == "6"
        page.keyboard.press("Escape")
        assert page.inner_text(".legend") == whole


def test_short_periods_are_shown_by_hours(chromium: Any, past_server: Process) -> None:
    """By the visitor's clock; a day has nothing else, a week is chosen to."""
    reach = "most => document.querySelector('.plot').ariaValueMax === most"
    with visiting(chromium, past_server, timezone_id="Asia/Shanghai") as page:
        assert page.locator("#points-hour").count() == 0
        page.select_option("#usage-days-shown", "7")
        page.wait_for_function(reach, arg="7")
        page.focus("#points-hour")
        page.keyboard.press("Enter")
        page.wait_for_function(reach, arg="168")
        assert page.evaluate("document.activeElement.id") == "points-hour"
        assert legend(page) == [f"{PAYLOADS[1]} 30", "gpt-4o 7"] and page.locator(".plot .layer").count() == 2
        assert page.locator(".plot text[text-anchor=middle]").count() == 7  # the midnights
        page.focus(".plot")
        told = ""
        while not told.endswith("gpt-4o 7"):
            page.keyboard.press("ArrowLeft")
            told = page.get_attribute(".plot", "aria-valuetext")
        assert ", 20:00: 7," in told  # noon by UTC
        page.locator("#usage-days").evaluate("one => (one.open = true)")
        assert (
            page.locator("table.sums-hour tbody th, table.sums-hour tbody td:first-child")
            .all_inner_texts()[0]
            .endswith("20:00")
        )
        page.select_option("#usage-days-shown", "1")
        page.wait_for_function(reach, arg="24")
        assert page.locator("#points-hour").count() == 0 and "Last 24 hours" in page.inner_text("#usage-chart")
        page.select_option("#usage-days-shown", "30")
        page.wait_for_function(reach, arg="30")


def test_tables_are_folded_and_summed(chromium: Any, past_server: Process) -> None:
    with visiting(chromium, past_server) as page:
        rows = page.locator("table.sums-model tbody tr")
        assert rows.count() == 20
        sums = [text.strip() for text in page.locator("table.sums-model tfoot tr > *").all_inner_texts()]
        assert sums[:7] == ["Sum · 26", "61", "37,000", "600", "$0.6610 +", "$0.1500", "1"]
        page.click("text=Show all 26")
        assert rows.count() == 26 and page.evaluate("document.activeElement.textContent") == "Show the first 20"
        costs = [text.removesuffix(" +") for text in column(page, "sums-model", 5)]
        assert {*costs} == {"$0.6010", "$0.0025", "unknown"}  # each with four digits
        assert column(page, "sums-model", 8)[:2] == ["100 ms / 100 ms", "800 ms / 800 ms"]
        assert page.locator("table.latest tbody tr").count() == 20
        page.click("#language")
        assert rows.count() == 26  # and so it stays
        assert page.inner_text("table.sums-model tfoot th") == "合计 · 26"


def test_usage_is_narrowed(chromium: Any, past_server: Process) -> None:
    with visiting(chromium, past_server) as page:
        page.focus("#usage-model")
        page.select_option("#usage-model", "gpt-4o")
        page.wait_for_function("() => document.querySelector('.tile strong').textContent === '7'")
        assert legend(page) == ["gpt-4o 7", "previous period 2"]
        assert page.evaluate("document.activeElement.id") == "usage-model"  # where it was
        assert page.locator("#usage-model option").count() == 27  # the others can still be chosen
        page.select_option("#usage-status", "error")
        page.wait_for_function("() => document.querySelectorAll('table.latest tbody tr').length === 1")
        assert "429\nrate_limit_exceeded" in page.inner_text("table.latest tbody")
        with page.expect_download() as download:
            page.click("#usage-csv")
        assert Path(download.value.path()).read_text(encoding="utf-8").count("\n") == 2
        page.select_option("#usage-status", "running")
        page.locator("#usage-body .empty", has_text="No request matches.").wait_for()
        page.select_option("#usage-status", "")
        page.select_option("#usage-model", "")
        page.select_option("#usage-key", PAYLOADS[0])
        page.wait_for_function("() => document.querySelector('.tile strong').textContent === '30'")
        assert PAYLOADS[0] in page.inner_text("table.latest tbody tr >> nth=0")
        page.click("#measure-costs")  # of none of these the price is known: that is not nothing
        assert tiles(page)["Cost"] == ["unknown"] and page.inner_text(".legend strong") == "unknown"


def test_a_key_sees_its_budget_and_no_other_key(chromium: Any, past_server: Process) -> None:
    with visiting(chromium, past_server, BUDGET) as page:
        assert page.locator("#usage-key, #stack-key, table.sums-key").count() == 0
        assert tiles(page)["Requests"][0] == "31"
        assert re.search(r"budget\s\$\d\.\d\d / \$5\.00", page.inner_text(".limits"))
        assert page.locator("dl > div > :not(dt, dd)").count() == 0  # as screen readers want lists


@pytest.mark.parametrize("locale", ["zh-CN", "en-US"])
def test_rows_are_cards_on_a_phone(chromium: Any, past_server: Process, locale: str) -> None:
    with visiting(chromium, past_server, locale=locale, viewport={"width": 390, "height": 800}) as page:
        page.locator("#usage-days").evaluate("one => (one.open = true)")
        for measure in ("requests", "totalTime"):
            page.click(f"#measure-{measure}")
            assert page.evaluate("document.scrollingElement.scrollWidth") <= 390
        wide = "all => all.filter(one => one.scrollWidth > one.clientWidth).map(one => one.innerText.slice(0, 80))"
        assert page.eval_on_selector_all("#view-usage .scroll", wide) == []
        label = page.eval_on_selector(
            "table.latest td:nth-child(3)", "one => getComputedStyle(one, '::before').content"
        )
        assert label == ('"模型"' if locale == "zh-CN" else '"Model"')


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
            """() => document.querySelector('.tile strong')?.textContent === '3'
                     || void document.querySelector('#usage-refresh')?.click()""",
            polling=300,
        )
        assert page.inner_text("#measure-errors strong") == "2"
        wrong = {
            row.split("\t")[0]: row.split("\t")[6]
            for row in page.locator("table.sums-model tbody tr").all_inner_texts()
        }
        assert wrong == {"echo": "0", "echo-cut": "1", "echo-429": "1"}
        with page.expect_download() as download:
            page.click("#usage-csv")
        assert "echo" in Path(download.value.path()).read_text(encoding="utf-8")
