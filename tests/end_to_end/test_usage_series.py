"""GET /v1/usage for a chart: a series by day and name, the period before, percentiles; narrowed by model and status."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx2 as httpx
import pytest
from process import Process
from usage_helpers import day, past, rows, settings, usage

from server.usage.store import UsageStore

BOSS = "sk-canary-1"
NAMES = [f"model-{n}" for n in range(9)]  # each with more requests than the one before


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    folder = tmp_path_factory.mktemp("ledger")
    past(
        folder / "usage.db",
        {"ago": 9, "model": "old", "times": 4, "cost": 5000},
        {"ago": 14, "model": "older"},  # before the period before
        *(
            {"ago": 2, "model": name, "times": n + 1, "cost": 0, "prompt": n, "completion": 0}
            for n, name in enumerate(NAMES)
        ),
        {"ago": 1, "model": "dear", "cost": 70_000, "prompt": 0, "completion": 0},
        {"ago": 1, "model": "cached", "cost": 0, "saved": 3000, "prompt": 0, "completion": 0},
        *({"model": "slow", "first_ms": n, "total_ms": 10 * n, "cost": 0} for n in range(1, 101)),
        {"model": "slow", "first_ms": 9999, "total_ms": 99_999, "status": 502, "code": "upstream_error", "cost": 0},
        {"model": "slow", "first_ms": 9999, "total_ms": 99_999, "status": 200, "code": "upstream_truncated", "cost": 0},
        {"model": "slow", "first_ms": 9999, "total_ms": 99_999, "status": 499, "code": "client_closed", "cost": 0},
        {"key": "k1", "model": "slow", "first_ms": None, "total_ms": 1, "cost": 0},
    )
    with Process(settings(None, folder, ["rpm: 100", "admin: true"])) as server:
        yield server


def series(server: Process, caller: str = BOSS, **query: Any) -> Any:
    return usage(server, caller, **{"days": 7, "series": "model", "limit": 1, **query})


def test_a_series_names_what_is_most_of_any_measure(server: Process) -> None:
    told = series(server)
    rows = {(row["day"], row["model"]): row for row in told["series"]}
    # Of 13 models: the six with the most requests, then the dear and the cached one; the smallest are one row.
    shown = {"slow", "dear", "cached", *NAMES[4:]}
    assert {name for _, name in rows} == {*shown, None}
    others = rows[day(2), None]
    assert (others["requests"], others["prompt_tokens"], others["cost_usd"]) == (1 + 2 + 3 + 4, 0 + 2 + 6 + 12, 0)
    assert rows[day(2), "model-8"]["requests"] == 9
    assert rows[day(1), "dear"]["cost_usd"] == 0.07 and rows[day(1), "cached"]["saved_usd"] == 0.003
    for measure in ("requests", "prompt_tokens", "errors"):
        assert sum(row[measure] for row in rows.values()) == sum(row[measure] for row in told["by_day"])


def test_the_period_before_is_as_long(server: Process) -> None:
    told = series(server)
    assert [(row["day"], row["requests"], row["cost_usd"]) for row in told["previous"]] == [(day(9), 4, 0.02)]
    assert [row["day"] for row in series(server, days=8)["previous"]] == [day(9), day(14)]
    assert series(server, days=30)["previous"] == []


def test_percentiles_are_of_answers_that_succeeded(server: Process) -> None:
    told = series(server, model="slow")
    times = {"first_p50_ms": 50, "first_p95_ms": 95, "total_p50_ms": 500, "total_p95_ms": 950}
    assert told["times"] == [{"period": "all", "requests": 100, **times}]
    assert told["times_by_day"] == [{"day": day(0), "requests": 100, **times}]
    assert told["times_by_model"] == [{"model": "slow", "requests": 100, **times}]
    by_key = series(server, series="key")
    assert [row["key"] for row in by_key["times_by_key"]] == ["k0"] and "times_by_model" not in by_key
    assert {row["key"] for row in by_key["series"]} == {"k0", "k1"}


def test_a_report_is_narrowed(server: Process) -> None:
    told = series(server, model="slow", limit=200)
    assert [row["model"] for row in told["by_model"]] == ["slow"] and {row["model"] for row in told["series"]} == {
        "slow"
    }
    assert told["by_day"][0]["requests"] == 104 and told["previous"] == []
    seen = {
        status: [
            (row["status"], row["code"]) for row in series(server, model="slow", status=status, limit=200)["requests"]
        ]
        for status in ("ok", "error", "left", "running")
    }
    assert seen == {
        "ok": [(200, "")] * 101,
        "error": [(200, "upstream_truncated"), (502, "upstream_error")],
        "left": [(499, "client_closed")],
        "running": [],
    }
    assert usage(server, BOSS, format="csv", status="left").count("\n") == 2
    assert usage(server, BOSS, format="csv", by="model", model="dear", days=7).count("\n") == 2
    assert series(server, model="none")["by_day"] == []
    assert usage(server, BOSS, key="")["key"] is None  # what a form sends for "all"


def test_a_key_sees_only_its_own_series(server: Process) -> None:
    told = series(server, "sk-canary-0", series="key")
    assert {row["key"] for row in told["series"]} == {"k0"} and [row["key"] for row in told["times_by_key"]] == ["k0"]
    refused = httpx.get(
        f"{server.url}/usage", params={"key": "k1", "series": "key"}, headers={"Authorization": "Bearer sk-canary-0"}
    )
    assert refused.status_code == 403


def test_without_a_series_nothing_more_is_told(server: Process) -> None:
    assert usage(server).keys() == {"object", "key", "from", "to", "limits", "by_day", "by_model", "by_key", "requests"}


def test_a_report_by_hours(tmp_path: Path) -> None:
    """Of the last hours, however the days lie; sums by model and key are of the same hours."""
    path = past(
        tmp_path / "usage.db",
        {"hours": 200, "model": "old", "times": 2},  # more than a week
        {"hours": 30, "model": "before", "times": 3, "cost": 7000},
        {"hours": 3, "model": "a", "times": 2, "first_ms": 10, "total_ms": 20},
        {"hours": 3, "model": "b", "status": 502, "code": "upstream_error", "cost": None, "saved": None},
        {"hours": 1, "model": "a", "key": "k1"},
    )
    at = {row["model"]: row["at"] for row in rows(tmp_path)}
    told = {name: f"{datetime.fromtimestamp(ms / 1000, UTC):%Y-%m-%dT%H:00Z}" for name, ms in at.items()}
    with Process(settings(None, tmp_path, ["rpm: 100", "admin: true"])) as server:
        day = series(server, bucket="hour", days=1)
        span = datetime.fromisoformat(day["to"]) - datetime.fromisoformat(day["from"])
        assert span == timedelta(hours=23) and "by_day" not in day
        assert [(row["hour"], row["requests"], row["errors"]) for row in day["by_hour"]][1:] == [(told["b"], 3, 1)]
        assert [(row["hour"], row["model"], row["requests"], row["cost_usd"], row["unpriced_requests"])
            for row in day["series"]][1:] == [(told["b"], "a", 2, 0.002, 0), (told["b"], "b", 1, 0, 1)]  # fmt: skip
        assert [(row["hour"], row["requests"], row["cost_usd"]) for row in day["previous"]] == [
            (told["before"], 3, 0.021)
        ]
        assert {row["model"]: row["requests"] for row in day["by_model"]} == {"a": 3, "b": 1}
        assert {row["key"]: row["requests"] for row in day["by_key"]} == {"k0": 3, "k1": 1}
        times = {row["hour"]: (row["requests"], row["first_p95_ms"]) for row in day["times_by_hour"]}
        assert times == {told["b"]: (2, 10), told["a"]: (1, 100)} and day["times"][0]["requests"] == 3
        week = series(server, bucket="hour", days=7, series="key")
        assert [row["hour"] for row in week["by_hour"]] == [told["a"], told["b"], told["before"]]
        assert [row["requests"] for row in week["previous"]] == [2]
        assert usage(server, "sk-canary-0", bucket="hour")["from"] == week["from"]  # as many days as there are
        lines = usage(server, BOSS, bucket="hour", days=1, format="csv", by="hour").splitlines()
        assert [line.split(",")[:2] for line in lines] == [["hour", "requests"], [told["a"], "1"], [told["b"], "3"]]
        refused = httpx.get(
            f"{server.url}/usage", params={"bucket": "hour", "days": 8}, headers={"Authorization": f"Bearer {BOSS}"}
        )
        assert (refused.status_code, refused.json()["error"]["param"]) == (400, "days")
    # A file of before has no such table: it is made of the rows, once.
    with closing(sqlite3.connect(path)) as connection:
        known = connection.execute("SELECT * FROM hours ORDER BY hour, model").fetchall()
        connection.execute("DROP TABLE hours")
    for _ in range(2):
        UsageStore(str(path), 90).close()
        with closing(sqlite3.connect(path)) as connection:
            assert connection.execute("SELECT * FROM hours ORDER BY hour, model").fetchall() == known
    assert len(known) == 5


@pytest.mark.parametrize("query", [{"series": "upstream"}, {"status": "200"}, {"bucket": "minute"}])
def test_what_there_is_no_series_of_is_refused(server: Process, query: dict[str, str]) -> None:
    response = httpx.get(f"{server.url}/usage", params=query, headers={"Authorization": f"Bearer {BOSS}"})
    assert response.status_code == 400 and response.json()["error"]["param"] == next(iter(query))
