"""The page's view of usage: charts, sums, the latest requests, CSV."""

from pathlib import Path
from typing import Any

from browser import PAYLOADS, Browsing, browsing
from process import Process, config


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
