"""GET /v1/usage and the billing pages: who sees what, and whether it is true."""

import csv
import io
from typing import Any

import httpx2 as httpx
import pytest
from process import Process, config
from scripted import CLOSE, Upstream, answer, sse, stream
from usage_helpers import at_once, counted, piece, settings, usage

KEYS = ["budget_usd: 2, budget_period: month", "rpm: 100", "admin: true"]
FIRST_MODEL, SECOND_MODEL = "up/priced-report", "up/report-unknown"


@pytest.fixture(scope="module")
def server(upstream: Upstream, tmp_path_factory: pytest.TempPathFactory) -> Any:
    upstream.script("priced-report", counted(100, 10, cached_tokens=40, cache_write_tokens=0))
    upstream.script("report-unknown", counted(5, 5))
    upstream.script("report-broken", answer({"error": {"message": "no"}}, 500))
    upstream.script("report-half", [*stream(sse(piece("Half"), done=False), end=False), 0.1, CLOSE])
    with Process(settings(upstream, tmp_path_factory.mktemp("ledger"), KEYS)) as server:
        for key, model, count in (
            ("sk-canary-0", FIRST_MODEL, 3),
            ("sk-canary-1", FIRST_MODEL, 2),
            ("sk-canary-1", SECOND_MODEL, 4),
        ):
            for _ in range(count):
                assert at_once(1, [server], model, key=key, max_tokens=10)[0][0] == 200
        assert at_once(1, [server], "up/report-broken", key="sk-canary-1")[0][0] == 502
        [(status, _, told)] = at_once(
            1, [server], "up/report-half", key="sk-canary-1", stream=True
        )  # ends with an error
        assert status == 200 and '"error"' in told and "[DONE]" not in told
        yield server


def get(server: Process, path: str, key: str = "sk-canary-0", root: str = "", **query: str) -> httpx.Response:
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    return httpx.get(f"{root or server.url}/{path}", params=query, headers=headers)


SAVED = 40 * 0.0009  # dollars, by the cache
ONE = 60 * 0.001 + 40 * 0.0001 + 10 * 0.002  # dollars of one answer of the first model


def test_a_key_sees_its_own(server: Process) -> None:
    told = usage(server)
    assert (told["object"], told["key"]) == ("usage", "k0")
    sums = {"requests": 3, "prompt_tokens": 300, "completion_tokens": 30, "cached_tokens": 120, "reasoning_tokens": 0}
    sums |= {
        "cost_usd": pytest.approx(3 * ONE),
        "unpriced_requests": 0,
        "errors": 0,
        "saved_usd": pytest.approx(3 * SAVED),
    }
    assert told["by_day"] == [{"day": told["to"], **sums}]
    assert told["by_model"] == [{"model": FIRST_MODEL, **sums}]
    assert told["by_key"] == [{"key": "k0", **sums}]
    assert len(told["requests"]) == 3
    latest = told["requests"][0]
    assert latest.pop("first_ms") <= latest.pop("total_ms")
    assert latest.pop("time").startswith(told["to"])
    assert latest.pop("request_id").startswith("req_")
    assert latest == {
        "key": "k0", "model": FIRST_MODEL, "upstream": "up/priced-report", "status": 200, "code": "", "stream": False,
        "prompt_tokens": 100, "completion_tokens": 10, "cached_tokens": 40, "reasoning_tokens": 0,
        "cost_usd": pytest.approx(ONE), "estimated": False, "saved_usd": pytest.approx(SAVED), "listed_usd": pytest.approx(ONE),
    }  # fmt: skip
    budget = told["limits"].pop("budget")
    assert budget["resets_at"].endswith("-01T00:00:00Z")
    assert (budget["usd"], budget["period"], budget["spent_usd"]) == (2, "month", pytest.approx(3 * ONE))
    assert told["limits"] == {"rpm": None, "tpm": None, "concurrency": None}


def test_unknown_prices_are_null_and_counted(server: Process) -> None:
    told = usage(server, "sk-canary-1")
    by_model = {row["model"]: row for row in told["by_model"]}
    assert (by_model[SECOND_MODEL]["cost_usd"], by_model[SECOND_MODEL]["unpriced_requests"]) == (0, 4)
    assert [row["cost_usd"] for row in told["requests"] if row["model"] == SECOND_MODEL] == [None] * 4
    [broken] = [row for row in told["requests"] if row["status"] == 502]
    assert (broken["code"], broken["prompt_tokens"], broken["cost_usd"]) == ("upstream_error", 0, 0)
    assert told["limits"] == {"rpm": 100, "tpm": None, "concurrency": None}


def test_errors_are_counted_by_day_model_and_key(server: Process) -> None:
    """The refused answer and the stream that began well; which one it was, the rows tell."""
    told = usage(server, "sk-canary-1")
    assert [row["errors"] for row in told["by_day"]] == [2]
    assert {row["model"]: row["errors"] for row in told["by_model"] if row["errors"]} == {
        "up/report-broken": 1,
        "up/report-half": 1,
    }
    assert {row["key"]: row["errors"] for row in usage(server, "sk-canary-2")["by_key"]} == {"k0": 0, "k1": 2}
    wrong = {(row["status"], row["code"]) for row in told["requests"] if row["code"]}
    assert wrong == {(502, "upstream_error"), (200, "upstream_truncated")}
    for by, name in (("day", told["to"]), ("model", "up/report-half"), ("key", "k1")):
        rows = {row[by]: row for row in csv.DictReader(io.StringIO(usage(server, "sk-canary-1", format="csv", by=by)))}
        assert rows[name]["errors"] == ("1" if by == "model" else "2")


def test_an_admin_key_sees_all_and_others_do_not(server: Process) -> None:
    told = usage(server, "sk-canary-2")
    assert told["key"] is None
    assert {row["key"]: row["requests"] for row in told["by_key"]} == {"k0": 3, "k1": 8}
    assert len(told["requests"]) == 11
    assert usage(server, "sk-canary-2", key="k0")["by_day"] == usage(server)["by_day"]
    assert (
        usage(server, "sk-canary-2", limit="4", key="k1")["requests"]
        == usage(server, "sk-canary-1", limit="4")["requests"]
    )
    assert usage(server, key="k0")["by_day"] == usage(server)["by_day"]
    headers = {"Authorization": "Bearer sk-canary-1"}
    refused = httpx.get(f"{server.url}/usage", params={"key": "k0"}, headers=headers)
    assert (refused.status_code, refused.json()["error"]["code"]) == (403, "permission_denied")
    assert get(server, "usage", key="").status_code == 401


def test_csv(server: Process) -> None:
    rows = list(csv.DictReader(io.StringIO(usage(server, "sk-canary-1", format="csv"))))
    assert [row["model"] for row in rows].count(SECOND_MODEL) == 4
    assert {row["cost_usd"] for row in rows if row["model"] == SECOND_MODEL} == {""}
    [day] = csv.DictReader(io.StringIO(usage(server, format="csv", by="day")))
    assert (day["requests"], float(day["cost_usd"])) == ("3", pytest.approx(3 * ONE))
    assert usage(server, "sk-canary-2", format="csv", key="nobody").count("\n") == 1  # the names of the columns


def test_a_spreadsheet_finds_no_formulas(server: Process) -> None:
    headers = {"Authorization": "Bearer sk-canary-2", "x-request-id": "=HYPERLINK(1)"}
    body = {"model": "echo", "messages": [{"role": "user", "content": "x"}]}
    assert httpx.post(f"{server.url}/chat/completions", json=body, headers=headers).status_code == 200
    assert "'=HYPERLINK(1)" in usage(server, "sk-canary-2", format="csv", key="k2")


@pytest.mark.parametrize(
    ("query", "param"),
    [
        ({"days": "0"}, "days"),
        ({"days": "x"}, "days"),
        ({"days": "99999"}, "days"),
        ({"limit": "-1"}, "limit"),
        ({"limit": "10001"}, "limit"),
        ({"format": "xml"}, "format"),
        ({"format": "csv", "by": "hour"}, "by"),
    ],
)
def test_questions_that_make_no_sense_are_refused(server: Process, query: dict[str, str], param: str) -> None:
    response = get(server, "usage", **query)
    assert response.status_code == 400
    assert response.json()["error"]["param"] == param


@pytest.mark.parametrize("prefix", ["", "/v1"])
def test_chat_clients_read_a_balance(server: Process, prefix: str) -> None:
    def page(name: str, key: str, **query: str) -> Any:
        return get(server, f"dashboard/billing/{name}", key, f"{server.root}{prefix}", **query).json()

    dates = {"start_date": "2020-01-01", "end_date": "2020-01-02"}
    assert page("subscription", "sk-canary-0")["hard_limit_usd"] == 2
    assert page("usage", "sk-canary-0", **dates)["total_usage"] == pytest.approx(
        3 * ONE * 100
    )  # cents of the budget's period
    assert page("subscription", "sk-canary-1")["hard_limit_usd"] == 100_000_000
    assert page("usage", "sk-canary-1")["total_usage"] == pytest.approx(2 * ONE * 100)
    assert page("usage", "sk-canary-1", **dates)["total_usage"] == 0
    assert page("usage", "sk-canary-1", start_date="yesterday")["error"]["param"] == "start_date"


def test_without_a_ledger_there_is_nothing_to_see(upstream: Upstream) -> None:
    with Process(config(upstream, "keys: [{name: k, key: sk-canary-0}]")) as server:
        assert at_once(1, [server], "echo")[0][0] == 200
        assert get(server, "usage").json()["error"]["code"] == "usage_off"
        assert get(server, "dashboard/billing/subscription").status_code == 200
