"""The tables of the books (server/usage/store.py says what they hold), and how those of an older version become ours.

A file is brought up to date at the start, in one transaction, by whichever process comes first; the others wait for it. One
that a newer version has made is refused.
"""

import sqlite3
from collections.abc import Callable
from typing import Final

VERSION: Final = 2  # of the schema
_TABLES: Final = f"""
CREATE TABLE IF NOT EXISTS requests (
    id INTEGER PRIMARY KEY, at INTEGER NOT NULL, request TEXT NOT NULL, key TEXT NOT NULL, model TEXT NOT NULL,
    upstream TEXT NOT NULL, stream INTEGER NOT NULL, status INTEGER, code TEXT NOT NULL, prompt INTEGER NOT NULL,
    completion INTEGER NOT NULL, cached INTEGER NOT NULL, reasoning INTEGER NOT NULL, cost INTEGER,
    estimated INTEGER NOT NULL, first_ms INTEGER, total_ms INTEGER);
CREATE INDEX IF NOT EXISTS requests_by_key ON requests (key);
CREATE INDEX IF NOT EXISTS requests_open ON requests (id) WHERE status IS NULL;
CREATE TABLE IF NOT EXISTS days (
    day TEXT, key TEXT, model TEXT, requests INTEGER NOT NULL, prompt INTEGER NOT NULL, completion INTEGER NOT NULL,
    cached INTEGER NOT NULL, reasoning INTEGER NOT NULL, cost INTEGER NOT NULL, unpriced INTEGER NOT NULL,
    errors INTEGER NOT NULL DEFAULT 0, PRIMARY KEY (day, key, model)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS runs (run INTEGER PRIMARY KEY, batch INTEGER NOT NULL);
PRAGMA user_version = {VERSION};
"""
FAILED: Final = "status != 499 AND (status >= 400 OR code != '')"  # of an open row: NULL
# Version 1 had no errors. They are counted from the rows that are still there; the sums stay as they are.
_FROM_1: Final = f"""
ALTER TABLE days ADD COLUMN errors INTEGER NOT NULL DEFAULT 0;
UPDATE days SET errors = found.errors
    FROM (SELECT date(at / 1000, 'unixepoch') AS day, key, model, count(*) AS errors FROM requests
          WHERE {FAILED} GROUP BY 1, 2, 3) AS found
    WHERE (days.day, days.key, days.model) = (found.day, found.key, found.model);
PRAGMA user_version = {VERSION};
"""  # noqa: S608 (constants)
RUN: Final = 2**40  # ids of one run: run * RUN + n
SUMS: Final = ("requests", "prompt", "completion", "cached", "reasoning", "cost", "unpriced", "errors")  # of `days`
ORDER: Final = {"runs": ("run",), "days": ("day", "key", "model"), "requests": ("id",)}  # the tables, by their keys
CRASHED: Final = (
    # A crash is a 500 that nobody was sent. The prompt is booked: the upstream had most likely read it.
    f"""INSERT INTO days SELECT date(at / 1000, 'unixepoch'), key, model, count(*), sum(prompt), sum(completion), sum(cached),
           sum(reasoning), coalesce(sum(cost), 0), sum(cost IS NULL), count(*)
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
_UPGRADES: Final = {0: _TABLES, 1: _FROM_1}  # from which version
_PATIENCE: Final = 60_000  # milliseconds that another process may take to bring the file up to date


def prepare(connection: sqlite3.Connection, refuse_to_share: Callable[[sqlite3.Connection], None]) -> None:
    """Make the tables, or bring those of an older version up to date: all of it, or nothing.

    refuse_to_share: raises if an older process has the file open. Raises sqlite3.Error.
    """
    if _version(connection) == VERSION:
        return
    connection.execute(f"PRAGMA busy_timeout={_PATIENCE}")
    connection.execute("BEGIN IMMEDIATE")
    version = _version(connection)  # another process may have done it while this one waited
    if version == 1:
        refuse_to_share(connection)
    for statement in _UPGRADES.get(version, "").split(";"):  # executescript() would commit first
        connection.execute(statement)
    connection.execute("COMMIT")
    connection.execute("PRAGMA busy_timeout=1000")


def _version(connection: sqlite3.Connection) -> int:
    """The version of the tables; 0: there are none. Raises sqlite3.DatabaseError for one that is newer than ours."""
    version = int(connection.execute("PRAGMA user_version").fetchone()[0])
    if version > VERSION:
        raise sqlite3.DatabaseError(f"it was made by a newer version ({version})")
    return version
