"""The tables of the usage ledger; server/usage/store.py says what they hold.

The first process that opens a file makes them, in one transaction; the others wait for it. A file that another version has
made is refused. `hours` came later: it is added where it is missing, and versions that do not know it leave it alone.
"""

import sqlite3
from typing import Final

VERSION: Final = 3  # of the schema
HOURS: Final = 15  # days for which `hours` is kept: a week, the one before it, and today
_SUMS: Final = """requests INTEGER NOT NULL, prompt INTEGER NOT NULL, completion INTEGER NOT NULL,
    cached INTEGER NOT NULL, reasoning INTEGER NOT NULL, cost INTEGER NOT NULL, unpriced INTEGER NOT NULL,
    errors INTEGER NOT NULL DEFAULT 0, saved INTEGER NOT NULL DEFAULT 0"""
_TABLES: Final = f"""
CREATE TABLE IF NOT EXISTS requests (
    id INTEGER PRIMARY KEY, at INTEGER NOT NULL, request TEXT NOT NULL, key TEXT NOT NULL, model TEXT NOT NULL,
    upstream TEXT NOT NULL, stream INTEGER NOT NULL, status INTEGER, code TEXT NOT NULL, prompt INTEGER NOT NULL,
    completion INTEGER NOT NULL, cached INTEGER NOT NULL, reasoning INTEGER NOT NULL, cost INTEGER,
    estimated INTEGER NOT NULL, first_ms INTEGER, total_ms INTEGER, saved INTEGER, listed INTEGER);
CREATE INDEX IF NOT EXISTS requests_by_key ON requests (key);
CREATE INDEX IF NOT EXISTS requests_open ON requests (id) WHERE status IS NULL;
CREATE TABLE IF NOT EXISTS days (
    day TEXT, key TEXT, model TEXT, {_SUMS}, PRIMARY KEY (day, key, model)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS hours (
    hour TEXT, key TEXT, model TEXT, {_SUMS}, PRIMARY KEY (hour, key, model)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS runs (run INTEGER PRIMARY KEY, batch INTEGER NOT NULL);
PRAGMA user_version = {VERSION};
"""
RUN: Final = 2**40  # ids of one run: run * RUN + n
SUMS: Final = (
    "requests",
    "prompt",
    "completion",
    "cached",
    "reasoning",
    "cost",
    "unpriced",
    "errors",
    "saved",
)  # of `days` and `hours`
PERIODS: Final = {"days": "%Y-%m-%d", "hours": "%Y-%m-%dT%H"}  # the tables of sums, and how they write their periods
ORDER: Final = {  # the tables, by their keys
    "runs": ("run",),
    "days": ("day", "key", "model"),
    "hours": ("hour", "key", "model"),
    "requests": ("id",),
}
ADD: Final = " ON CONFLICT DO UPDATE SET " + ", ".join(f"{name} = {name} + excluded.{name}" for name in SUMS)


def _summed(table: str, errors: str, which: str) -> str:
    """Return the statement that adds rows to a table of sums. errors: how many of them count as such; constants only."""
    return f"""INSERT INTO {table} SELECT strftime('{PERIODS[table]}', at / 1000, 'unixepoch'), key, model, count(*), sum(prompt),
           sum(completion), sum(cached), sum(reasoning), coalesce(sum(cost), 0), sum(cost IS NULL), {errors},
           sum(coalesce(saved, 0))
       FROM requests WHERE {which} GROUP BY 1, 2, 3{ADD}"""  # noqa: S608


_EARLIER: Final = _summed(
    "hours",
    "sum(status != 499 AND (status >= 400 OR code != ''))",  # as UsageRow.failed
    f"status IS NOT NULL AND at >= (SELECT max(at) FROM requests) - {HOURS * 86_400_000}",  # noqa: S608 (constants)
)
CRASHED: Final = (
    # A crash counts as a 500. The prompt is counted: the upstream had most likely read it.
    *(_summed(table, "count(*)", f"status IS NULL AND id / {RUN} = ?") for table in PERIODS),
    f"UPDATE requests SET status = 500, code = 'crashed', estimated = 1 WHERE status IS NULL AND id / {RUN} = ?",  # noqa: S608
)
ENDED: Final = (  # unless something of the run is open
    f"DELETE FROM runs WHERE run = ? AND NOT EXISTS (SELECT 1 FROM requests WHERE status IS NULL AND id / {RUN} = ?)"  # noqa: S608
)
LAST_RUN: Final = f"""SELECT max(coalesce((SELECT max(run) FROM runs), 0),
    coalesce((SELECT max(id) FROM requests), 0) / {RUN})"""  # noqa: S608 (constants)
_PATIENCE: Final = 20_000  # milliseconds that another process may take to make the tables


def prepare(connection: sqlite3.Connection) -> None:
    """Make the tables that are missing: all of them, or nothing. Raises sqlite3.Error, also for another version's file.

    The connection's patience with others that hold the file is long from now on: it is for the caller to set it back.
    """
    connection.execute(f"PRAGMA busy_timeout={_PATIENCE}")  # reading waits as well for who makes them
    if _version(connection) == VERSION and _has_hours(connection):
        return
    connection.execute("BEGIN IMMEDIATE")
    if _version(connection) != VERSION or not _has_hours(connection):  # another process may have made them meanwhile
        for statement in (*_TABLES.split(";"), _EARLIER):  # executescript() would commit first
            connection.execute(statement)
    connection.execute("COMMIT")


def _has_hours(connection: sqlite3.Connection) -> bool:
    return connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'hours'").fetchone() is not None


def _version(connection: sqlite3.Connection) -> int:
    """Return the version of the tables, 0 where there are none. Raises sqlite3.DatabaseError for another one than ours."""
    version = int(connection.execute("PRAGMA user_version").fetchone()[0])
    if version not in (0, VERSION):
        than = "a newer" if version > VERSION else "an older"
        raise sqlite3.DatabaseError(f"it was made by {than} version ({version})")
    return version
