"""What each client key has used of its limits, read from the usage file, for `modelserver.py keys` and the page."""

import sqlite3
from typing import Final

import msgspec

from gateway.spending import Period, period_at, since

_PERIODS: Final[tuple[Period, ...]] = ("day", "month", "total")


class Used(msgspec.Struct):
    """What one key has used. Money is micro-USD."""

    minute: tuple[int, int] = (0, 0)  # requests and tokens of the last minute
    running: int = 0
    spent: dict[str, int] = {}  # period → cost
    today: int = 0  # requests
    last: str = ""  # the last day with a request, "": never


def used_by_keys(connection: sqlite3.Connection, now: float) -> dict[str, Used]:
    """Return what each key has used, by its name. now: Unix time. Raises sqlite3.Error."""
    used: dict[str, Used] = {}

    def of(key: str) -> Used:
        return used.setdefault(key, Used(spent={}))

    today, _ = period_at("day", now)
    for period in _PERIODS:
        query = "SELECT key, sum(cost), sum(requests), max(day) FROM days WHERE day >= ? GROUP BY key"
        for key, cost, requests, last in connection.execute(query, (since(period, today),)):
            of(key).spent[period], of(key).last = cost, last
            if period == "day":
                of(key).today = requests
    latest = "SELECT key, at, prompt + completion AS tokens FROM requests ORDER BY id DESC LIMIT 100000"
    minute = f"SELECT key, count(*), sum(tokens) FROM ({latest}) WHERE at >= ? GROUP BY key"  # noqa: S608 (constants)
    for key, requests, tokens in connection.execute(minute, (int((now - 60) * 1000),)):
        of(key).minute = requests, tokens
    for key, running in connection.execute("SELECT key, count(*) FROM requests WHERE status IS NULL GROUP BY key"):
        of(key).running = running
    return used
