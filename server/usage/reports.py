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
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final, TypeVar

from aiohttp import web

from gateway.limits import KINDS
from gateway.settings import Caller
from gateway.spending import period_at
from providers.contract import Json
from providers.errors import BadRequest, NotFound, Overloaded, PermissionDenied

from ..json_answer import json_answer
from .ledger import Ledger

T = TypeVar("T")
_COUNTED: Final = [kind.name for kind in KINDS if kind.over != "period"]
Table = tuple[list[str], list[tuple[Any, ...]]]  # names of the columns, rows
_TABLES: Final = {"request": "requests", "day": "by_day", "model": "by_model", "key": "by_key"}
UNLIMITED: Final = 100_000_000  # USD: what one-api tells clients that want a number where there is no limit
_SUMS: Final = """sum(requests) AS requests, sum(prompt) AS prompt_tokens, sum(completion) AS completion_tokens,
    sum(cached) AS cached_tokens, sum(reasoning) AS reasoning_tokens, sum(cost) / 1e6 AS cost_usd,
    sum(unpriced) AS unpriced_requests, sum(errors) AS errors, sum(saved) / 1e6 AS saved_usd"""
_ROW: Final = """strftime('%Y-%m-%dT%H:%M:%S', at / 1000, 'unixepoch') || printf('.%03dZ', at % 1000) AS time,
    request AS request_id, key, model, upstream, status, code, stream, prompt AS prompt_tokens,
    completion AS completion_tokens, cached AS cached_tokens, reasoning AS reasoning_tokens, cost / 1e6 AS cost_usd,
    estimated, first_ms, total_ms, saved / 1e6 AS saved_usd, listed / 1e6 AS listed_usd"""
_MOST: Final = 1000  # rows of each table of sums
_FLAGS: Final = ("stream", "estimated")


async def usage(ledger: Ledger, caller: Caller, query: Mapping[str, str]) -> web.Response:
    """Answer GET /v1/usage. query: days, limit (of the latest requests), key (admin), format (json, csv), by (for CSV).

    Raises BadRequest, PermissionDenied for another's key, NotFound without a usage file, Overloaded when it cannot be read.
    """
    days, limit = _number(query, "days", 30, 36_500), _number(query, "limit", 50, 10_000)
    key = _whose(caller, query)
    today = datetime.fromtimestamp(time.time(), UTC).date()
    since = (today - timedelta(days=days - 1)).isoformat()
    tables = await read_ledger(ledger, lambda connection: _tables(connection, key, since, limit))
    match query.get("format", "json"):
        case "csv":
            table = tables.get(_TABLES.get(query.get("by", "request"), ""))
            if table is None:
                raise BadRequest(f"'by' must be one of {', '.join(_TABLES)}.", param="by")
            return web.Response(text=_csv(table), content_type="text/csv", charset="utf-8")
        case "json":
            body: Json = {"object": "usage", "key": key, "from": since, "to": today.isoformat(), "limits": None}
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
    wanted = query.get("key")
    if caller.admin:
        return wanted
    if wanted not in (None, caller.name):
        raise PermissionDenied("This key may only see its own usage. Keys with `admin: true` see all.", param="key")
    return caller.name


def _tables(connection: sqlite3.Connection, key: str | None, since: str, limit: int) -> dict[str, Table]:
    values = {"since": since, "key": key, "limit": limit}
    mine = "key = :key" if key is not None else "true"

    def table(sql: str) -> Table:
        cursor = connection.execute(sql, values)
        return [column[0] for column in cursor.description], cursor.fetchall()

    def sums(name: str, order: str) -> Table:
        which = f"FROM days WHERE day >= :since AND {mine}"
        return table(f"SELECT {name}, {_SUMS} {which} GROUP BY 1 ORDER BY {order} LIMIT {_MOST}")

    return {
        "by_day": sums("day", "day DESC"),
        "by_model": sums("model", "cost_usd DESC, requests DESC"),
        "by_key": sums("key", "cost_usd DESC, requests DESC"),
        "requests": table(f"SELECT {_ROW} FROM requests WHERE {mine} ORDER BY id DESC LIMIT :limit"),  # noqa: S608
    }


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
            "resets_at": f"{datetime.fromtimestamp(ends, UTC):%Y-%m-%dT%H:%M:%SZ}" if ends else None,
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


def _day(query: Mapping[str, str], name: str) -> str | None:
    try:
        return date.fromisoformat(query[name]).isoformat() if query.get(name) else None
    except ValueError:
        raise BadRequest(f"'{name}' must be a date such as 2026-11-23.", param=name) from None
