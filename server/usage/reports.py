"""Reports of the usage ledger: GET /v1/usage, and the two pages of OpenAI's old billing API that chat clients read.

A caller sees what its own key has used; an admin key sees all keys, or one of them. Sums come from the table of days, which
outlives the rows. Costs of models whose price is unknown are null in a row and left out of sums, which say how many. Sums
count as errors what UsageRow.failed does: error answers and streams that broke off, not clients that left.
"""

import asyncio
import csv
import io
import sqlite3
import time
from collections.abc import Callable, Collection, Mapping
from datetime import date, datetime, timedelta
from functools import lru_cache
from heapq import nlargest
from operator import itemgetter
from typing import Any, Final, NamedTuple, TypeVar

from aiohttp import web

from gateway.limits import KINDS
from gateway.metrics import percentile
from gateway.settings import Caller
from gateway.spending import period_at
from gateway.words import moment
from providers.contract import Json
from providers.errors import BadRequest, NotFound, Overloaded, PermissionDenied

from ..json_answer import json_answer
from . import migrations
from .ledger import Ledger

T = TypeVar("T")
_COUNTED: Final = [kind.name for kind in KINDS if kind.over != "period"]
Table = tuple[list[str], list[tuple[Any, ...]]]  # names of the columns, rows
_TABLES: Final = {"request": "requests", "day": "by_day", "hour": "by_hour", "model": "by_model", "key": "by_key"}
UNLIMITED: Final = 100_000_000  # USD: what one-api tells clients that want a number where there is no limit
_SUMS: Final = """sum(requests) AS requests, sum(prompt) AS prompt_tokens, sum(completion) AS completion_tokens,
    sum(cached) AS cached_tokens, sum(reasoning) AS reasoning_tokens, sum(cost) / 1e6 AS cost_usd,
    sum(unpriced) AS unpriced_requests, sum(errors) AS errors, sum(saved) / 1e6 AS saved_usd"""
_ROW: Final = """strftime('%Y-%m-%dT%H:%M:%S', at / 1000, 'unixepoch') || printf('.%03dZ', at % 1000) AS time,
    request AS request_id, key, model, upstream, status, code, stream, prompt AS prompt_tokens,
    completion AS completion_tokens, cached AS cached_tokens, reasoning AS reasoning_tokens, cost / 1e6 AS cost_usd,
    estimated, first_ms, total_ms, saved / 1e6 AS saved_usd, listed / 1e6 AS listed_usd"""
_MOST: Final = 1000  # rows of each table of sums
_POINTS: Final = 10_000  # rows of a series: a day of a name
_TOP: Final = 6  # names with the most of each measure: a series has a row for each of them and one for all others
_MEASURES: Final = ("requests", "prompt_tokens", "completion_tokens", "cost_usd", "saved_usd", "errors")
_SEARCHED: Final = 10_000  # latest requests that are searched, or of which times are told
_FLAGS: Final = ("stream", "estimated")
_BY: Final = ("model", "key")  # what a series may be of
_STATUS: Final = {
    "ok": "status < 400 AND code = ''",
    "error": "status != 499 AND (status >= 400 OR code != '')",  # as UsageRow.failed
    "left": "status = 499",
    "running": "status IS NULL",
}
_TIMES: Final = ("first_p50_ms", "first_p95_ms", "total_p50_ms", "total_p95_ms")


class _Bucket(NamedTuple):
    """What a report sums up by: the sums of its table are added to those of the period, and are the points of its series."""

    table: str
    name: str  # of its column
    shown: str  # SQL of what stands there
    seconds: int
    form: str  # of strftime, as in the table
    most: int  # days that a report may be of


_BUCKETS: Final = {
    "day": _Bucket("days", "day", "day", 86_400, migrations.PERIODS["days"], 36_500),
    "hour": _Bucket(
        "hours", "hour", "hour || ':00Z' AS hour", 3600, migrations.PERIODS["hours"], migrations.HOURS // 2
    ),
}


class _Asked(NamedTuple):
    """What a report is to be of. Fields are named in SQL as :field. None and "": all."""

    bucket: str
    since: str  # as in the bucket's table
    before: str  # since which the period before it lasted
    since_ms: int
    limit: int  # of the latest requests
    key: str | None
    model: str
    status: str
    series: str

    @property
    def which(self) -> str:
        """Return the SQL condition of days and requests: constants only."""
        told = [f"{name} = :{name}" for name in ("key", "model") if getattr(self, name) not in (None, "")]
        return " AND ".join(told) or "true"


async def usage(ledger: Ledger, caller: Caller, query: Mapping[str, str]) -> web.Response:
    """Answer GET /v1/usage.

    query: days, bucket (day, hour), limit (of the latest requests), key (admin), model, status (of the latest requests),
    series (for a chart), format (json, csv), by (for CSV). Raises BadRequest, PermissionDenied for another's key, NotFound
    without a usage file, Overloaded when it cannot be read.
    """
    bucket = _BUCKETS[_one_of(query, "bucket", _BUCKETS) or "day"]
    days, limit = _number(query, "days", min(30, bucket.most), bucket.most), _number(query, "limit", 50, 10_000)
    key, model = _whose(caller, query), query.get("model", "")
    status, series = _one_of(query, "status", _STATUS), _one_of(query, "series", _BY)
    points = days * 86_400 // bucket.seconds
    now = int(time.time()) // bucket.seconds  # since the epoch, in days or hours
    first, before, last = (_written(bucket, at) for at in (now + 1 - points, now + 1 - 2 * points, now))
    since_ms = (now + 1 - points) * bucket.seconds * 1000
    asked = _Asked(bucket.name, first, before, since_ms, limit, key, model, status, series)
    tables = await read_ledger(ledger, lambda connection: _tables(connection, asked))
    match query.get("format", "json"):
        case "csv":
            table = tables.get(_TABLES.get(query.get("by", "request"), ""))
            if table is None:
                raise BadRequest(
                    f"'by' must be one of {', '.join(n for n in _TABLES if _TABLES[n] in tables)}.", param="by"
                )
            return web.Response(text=_csv(table), content_type="text/csv", charset="utf-8")
        case "json":
            body: Json = {
                "object": "usage",
                "key": key,
                "from": _told(bucket, first),
                "to": _told(bucket, last),
                "limits": None,
            }
            if caller.limits is not None:
                body["limits"] = await _limits(ledger, caller)
            for name, (columns, rows) in tables.items():
                body[name] = [dict(zip(columns, row, strict=True)) for row in rows]
            for row in body["requests"]:
                row |= {flag: bool(row[flag]) for flag in _FLAGS}
            return json_answer(body)
    raise BadRequest("'format' must be json or csv.", param="format")


def _whose(caller: Caller, query: Mapping[str, str]) -> str | None:
    """Return the key whose usage is requested, None for all. Raises PermissionDenied."""
    wanted = query.get("key") or None
    if caller.admin:
        return wanted
    if wanted not in (None, caller.name):
        raise PermissionDenied("This key may only see its own usage. Keys with `admin: true` see all.", param="key")
    return caller.name


def _tables(connection: sqlite3.Connection, asked: _Asked) -> dict[str, Table]:
    values, which, bucket = asked._asdict(), asked.which, _BUCKETS[asked.bucket]
    since = f"{bucket.name} >= :since"

    def table(sql: str) -> Table:
        cursor = connection.execute(sql, values)
        return [column[0] for column in cursor.description], cursor.fetchall()

    def sums(*names: str, order: str, period: str = since, most: int = _MOST) -> Table:
        grouped = ", ".join(str(n) for n, _ in enumerate(names, 1))
        where = f"FROM {bucket.table} WHERE {period} AND {which} GROUP BY {grouped} ORDER BY {order} LIMIT {most}"
        return table(f"SELECT {', '.join(names)}, {_SUMS} {where}")

    matching = f"{which} AND {_STATUS.get(asked.status, 'true')}"
    if asked.model or asked.status or asked.series:  # no index finds these
        mine = "key = :key" if asked.key is not None else "true"
        oldest = f"SELECT id FROM requests WHERE {mine} ORDER BY id DESC LIMIT 1 OFFSET {_SEARCHED}"  # noqa: S608
        values["floor"] = (connection.execute(oldest, values).fetchone() or (0,))[0]
        matching = f"id > :floor AND {matching}"
    latest, dearest = f"{bucket.name} DESC", "cost_usd DESC, requests DESC"
    tables = {
        f"by_{bucket.name}": sums(bucket.shown, order=latest),
        "by_model": sums("model", order=dearest),
        "by_key": sums("key", order=dearest),
        "requests": table(f"SELECT {_ROW} FROM requests WHERE {matching} ORDER BY id DESC LIMIT :limit"),  # noqa: S608
    }
    if name := asked.series:
        top = {f"top{n}": each for n, each in enumerate(_top(tables[f"by_{name}"]))}
        values |= top
        shown = f"CASE WHEN {name} IN ({', '.join(f':{n}' for n in top)}) THEN {name} END AS {name}"
        tables["series"] = sums(bucket.shown, shown, order=latest, most=_POINTS)
        tables["previous"] = sums(
            bucket.shown, order=latest, period=f"{bucket.name} >= :before AND {bucket.name} < :since"
        )
        times = f"""SELECT at / {bucket.seconds * 1000}, {name}, first_ms, total_ms FROM requests WHERE id > :floor AND {which}
            AND at >= :since_ms AND first_ms IS NOT NULL AND {_STATUS["ok"]}"""  # noqa: S608
        answers = connection.execute(times, values).fetchall()
        tables["times"] = _times("period", answers, lambda answer: "all")
        tables[f"times_by_{bucket.name}"] = _times(
            bucket.name, answers, lambda answer: _told(bucket, _written(bucket, answer[0]))
        )
        tables[f"times_by_{name}"] = _times(name, answers, itemgetter(1))
    return tables


def _top(table: Table) -> list[str]:
    """Return the names, of a table of sums, that have the most of any measure."""
    columns, rows = table
    found: dict[str, None] = {}
    for at in map(columns.index, _MEASURES):
        most = nlargest(_TOP, (row for row in rows if row[at]), key=lambda row: row[at])
        found |= dict.fromkeys(row[0] for row in most)
    return list(found)


def _times(name: str, answers: list[tuple[Any, ...]], group: Callable[[tuple[Any, ...]], Any]) -> Table:
    """Return how long answers took, half and 95 of 100 of them at most, by `group`. answers: day, name, first_ms, total_ms."""
    grouped: dict[Any, tuple[list[int], list[int]]] = {}
    for answer in answers:
        first, total = grouped.setdefault(group(answer), ([], []))
        first.append(answer[2])
        total.append(answer[3])
    rows = [
        (key, len(taken[0]), *(percentile(ordered, share) for ordered in map(sorted, taken) for share in (0.5, 0.95)))
        for key, taken in grouped.items()
    ]
    rows.sort(key=itemgetter(1), reverse=True)
    return [name, "requests", *_TIMES], rows[:_MOST]


@lru_cache(1024)
def _written(bucket: _Bucket, number: int) -> str:
    """Return a day or an hour since the Unix epoch as the bucket's table writes it."""
    return (datetime(1970, 1, 1) + timedelta(seconds=number * bucket.seconds)).strftime(bucket.form)


def _told(bucket: _Bucket, written: str) -> str:
    """Return a day or an hour as answers write it: 2026-11-28, 2026-11-28T14:00Z."""
    return written if bucket.name == "day" else f"{written}:00Z"


def _csv(table: Table) -> str:
    columns, rows = table
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([[_cell(value) for value in row] for row in rows])
    return out.getvalue()


def _cell(value: Any) -> Any:
    """Return a value that a spreadsheet may read: a text that it would take for a formula gets a quote in front."""
    return f"'{value}" if isinstance(value, str) and value[:1] in ("=", "+", "-", "@", "\t") else value


async def _limits(ledger: Ledger, caller: Caller) -> Json:
    """Return the caller's limits and how much of its budget is spent."""
    limits = caller.limits
    assert limits is not None
    body: Json = {name: getattr(limits, name) or None for name in _COUNTED}
    if limits.budget:
        _, ends = period_at(limits.period, time.time())
        body["budget"] = {
            "usd": limits.budget / 1e6,
            "period": limits.period,
            "spent_usd": await ledger.limiter.spent(caller.name) / 1e6,
            "resets_at": moment(ends) if ends else None,
        }
    return body


def subscription(caller: Caller) -> Json:
    """Answer GET /dashboard/billing/subscription: the budget, in the form that chat clients read."""
    limit = caller.limits.budget / 1e6 if caller.limits and caller.limits.budget else UNLIMITED
    return {
        "object": "billing_subscription",
        "has_payment_method": True,
        "soft_limit_usd": limit,
        "hard_limit_usd": limit,
        "system_hard_limit_usd": limit,
        "access_until": int(caller.expires),
    }


async def billed(ledger: Ledger, caller: Caller, query: Mapping[str, str]) -> Json:
    """Answer GET /dashboard/billing/usage: what was spent, in cents.

    Clients show the difference to the limit as a balance. With a budget it is therefore what the running period has cost,
    whatever dates they ask for; without one, what the days from start_date until before end_date have.
    """
    if caller.limits is not None and caller.limits.budget:
        micro = await ledger.limiter.spent(caller.name)
    else:
        start, end = _day(query, "start_date") or "", _day(query, "end_date") or "9999-12-31"
        sql = "SELECT coalesce(sum(cost), 0) FROM days WHERE key = ? AND day >= ? AND day < ?"
        micro = await read_ledger(
            ledger, lambda connection: connection.execute(sql, (caller.name, start, end)).fetchone()[0]
        )
    return {"object": "list", "total_usage": micro / 10_000}


async def read_ledger(ledger: Ledger, query: Callable[[sqlite3.Connection], T]) -> T:
    if ledger.store is None:
        raise NotFound("This server keeps no usage: its operator can give usage.path a file.", code="usage_off")
    try:
        return await asyncio.to_thread(ledger.store.read, query)
    except sqlite3.Error:
        raise Overloaded("The usage file cannot be read just now. Try again later.", code="usage_unavailable") from None


def _number(query: Mapping[str, str], name: str, default: int, most: int) -> int:
    text = query.get(name, str(default))
    if not (text.isascii() and text.isdigit() and len(text) < 9 and 1 <= int(text) <= most):
        raise BadRequest(f"'{name}' must be a number from 1 to {most}.", param=name)
    return int(text)


def _one_of(query: Mapping[str, str], name: str, values: Collection[str]) -> str:
    """Return a parameter that has one of these values, "" where it is left out. Raises BadRequest."""
    text = query.get(name, "")
    if text and text not in values:
        raise BadRequest(f"'{name}' must be one of {', '.join(values)}.", param=name)
    return text


def _day(query: Mapping[str, str], name: str) -> str | None:
    try:
        return date.fromisoformat(query[name]).isoformat() if query.get(name) else None
    except ValueError:
        raise BadRequest(f"'{name}' must be a date such as 2026-11-23.", param=name) from None
