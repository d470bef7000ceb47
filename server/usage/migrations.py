"""The tables of the usage ledger; server/usage/store.py says what they hold.

The first process that opens a file makes them, in one transaction; the others wait for it. A file that another version has
made is refused.
"""

import sqlite3
from typing import Final

VERSION: Final = 3  # of the schema
_TABLES: Final = f"""
CREATE TABLE IF NOT EXISTS requests (
    id INTEGER PRIMARY KEY, at INTEGER NOT NULL, request TEXT NOT NULL, key TEXT NOT NULL, model TEXT NOT NULL,
    upstream TEXT NOT NULL, stream INTEGER NOT NULL, status INTEGER, code TEXT NOT NULL, prompt INTEGER NOT NULL,
    completion INTEGER NOT NULL, cached INTEGER NOT NULL, reasoning INTEGER NOT NULL, cost INTEGER,
    estimated INTEGER NOT NULL, first_ms INTEGER, total_ms INTEGER, saved INTEGER, listed INTEGER);
CREATE INDEX IF NOT EXISTS requests_by_key ON requests (key);
CREATE INDEX IF NOT EXISTS requests_open ON requests (id) WHERE status IS NULL;
CREATE TABLE IF NOT EXISTS days (
    day TEXT, key TEXT, model TEXT, requests INTEGER NOT NULL, prompt INTEGER NOT NULL, completion INTEGER NOT NULL,
    cached INTEGER NOT NULL, reasoning INTEGER NOT NULL, cost INTEGER NOT NULL, unpriced INTEGER NOT NULL,
    errors INTEGER NOT NULL DEFAULT 0, saved INTEGER NOT NULL DEFAULT 0, PRIMARY KEY (day, key, model)) WITHOUT ROWID;
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
)  # of `days`
ORDER: Final = {"runs": ("run",), "days": ("day", "key", "model"), "requests": ("id",)}  # the tables, by their keys
CRASHED: Final = (
    # A crash counts as a 500. The prompt is counted: the upstream had most likely read it.
    f"""INSERT INTO days SELECT date(at / 1000, 'unixepoch'), key, model, count(*), sum(prompt), sum(completion), sum(cached),
           sum(reasoning), coalesce(sum(cost), 0), sum(cost IS NULL), count(*),
           sum(coalesce(saved, 0))
       FROM requests WHERE status IS NULL AND id / {RUN} = ? GROUP BY 1, 2, 3
       ON CONFLICT DO UPDATE SET """  # noqa: S608
    + ", ".join(f"{name} = {name} + excluded.{name}" for name in SUMS),
    f"UPDATE requests SET status = 500, code = 'crashed', estimated = 1 WHERE status IS NULL AND id / {RUN} = ?",  # noqa: S608
)
ENDED: Final = (  # unless something of the run is open
    f"DELETE FROM runs WHERE run = ? AND NOT EXISTS (SELECT 1 FROM requests WHERE status IS NULL AND id / {RUN} = ?)"  # noqa: S608
)
LAST_RUN: Final = f"""SELECT max(coalesce((SELECT max(run) FROM runs), 0),
    coalesce((SELECT max(id) FROM requests), 0) / {RUN})"""  # noqa: S608 (constants)
_PATIENCE: Final = 60_000  # milliseconds that another process may take to make the tables


def prepare(connection: sqlite3.Connection) -> None:
    """Make the tables where there are none: all of them, or nothing. Raises sqlite3.Error, also for another version's file."""
    if _version(connection) == VERSION:
        return
    connection.execute(f"PRAGMA busy_timeout={_PATIENCE}")
    connection.execute("BEGIN IMMEDIATE")
    if _version(connection) != VERSION:  # another process may have made them while this one waited
        for statement in _TABLES.split(";"):  # executescript() would commit first
            connection.execute(statement)
    connection.execute("COMMIT")
    connection.execute("PRAGMA busy_timeout=1000")


def _version(connection: sqlite3.Connection) -> int:
    """Return the version of the tables, 0 where there are none. Raises sqlite3.DatabaseError for another one than ours."""
    version = int(connection.execute("PRAGMA user_version").fetchone()[0])
    if version not in (0, VERSION):
        than = "a newer" if version > VERSION else "an older"
        raise sqlite3.DatabaseError(f"it was made by {than} version ({version})")
    return version
