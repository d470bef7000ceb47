"""The books on disk: one SQLite file, one row per request, written by one thread.

A request costs the event loop two appends to a deque. The thread collects for at most a tenth of a second and writes all of
it in one transaction (WAL, synchronous=NORMAL: a kill -9 loses at most what was still collected; a power cut may lose the
last transactions). A request that ends in the batch it began in is written once.

`requests` holds the rows, deleted after the retention; `days` the sums of each day, key and model, which budgets and
summaries read and which stay. Both change in one transaction. A row without a status is open: one that a dead process left
behind is settled as `crashed` at the next start. Which processes live is known by locks on bytes of a file beside the
database, one per run: the kernel lets go of them whatever the end. Several processes may write to one file.

When the disk is full or the database locked, rows wait in bounded memory. Sums are kept even where rows have to go.

tables.py makes the tables, and brings those of an older version up to date.
"""

import contextlib
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable
from functools import lru_cache
from operator import add
from pathlib import Path
from typing import Final, NamedTuple, Protocol, TypeVar

from . import logs, tables

try:
    import fcntl
except ImportError:  # Windows: other processes are taken for dead
    fcntl = None  # type: ignore[assignment]

T = TypeVar("T")

BATCH: Final = 0.08  # seconds in which rows are collected
PAUSE: Final = 1.0  # seconds until the next try, after writing has failed
WAITING: Final = 20_000  # rows kept in memory meanwhile
_RUN: Final = 2**40  # ids of one run: run * _RUN + n
_SWEEP: Final = 3600.0  # seconds between deletions of old rows
_SWEPT: Final = 2000  # rows deleted in one transaction


class Row(NamedTuple):
    """One request. Tokens of an open row are its prompt's estimate, its cost what that costs. Times are milliseconds."""

    id: int
    at: int  # Unix time at its start
    request: str
    key: str
    model: str
    upstream: str
    stream: bool
    status: int | None  # HTTP's; 499: the client left; None: not yet known
    code: str  # of the error, if any
    prompt: int
    completion: int
    cached: int
    reasoning: int
    cost: int | None  # micro-USD; None: the price is unknown
    estimated: bool
    first_ms: int | None
    total_ms: int | None

    @property
    def failed(self) -> bool:
        """Whether it counts as an error: an error status, or a stream that began well and ended with an error event.

        A client that left is none, whatever happened meanwhile. tables.FAILED says the same in SQL.
        """
        return self.status is not None and self.status != 499 and (self.status >= 400 or self.code != "")


class Entry(Protocol):
    """What makes a row: one that is put as open, and put again when it has ended."""

    id: int
    status: int | None  # set last
    booked: bool  # the store's own

    def row(self) -> Row:
        """The row as it stands."""


_SUMS: Final = ("requests", "prompt", "completion", "cached", "reasoning", "cost", "unpriced", "errors")
_INSERT: Final = f"INSERT OR REPLACE INTO requests VALUES ({', '.join('?' * len(Row._fields))})"  # noqa: S608 (constants)
_ADD: Final = (
    f"INSERT INTO days VALUES (?, ?, ?, {', '.join('?' * len(_SUMS))}) ON CONFLICT DO UPDATE SET "  # noqa: S608
    + ", ".join(f"{name} = {name} + excluded.{name}" for name in _SUMS)
)
_CRASHED: Final = (
    # A crash is a 500 that nobody was sent. The prompt is booked: the upstream had most likely read it.
    f"""INSERT INTO days SELECT date(at / 1000, 'unixepoch'), key, model, count(*), sum(prompt), sum(completion), sum(cached),
           sum(reasoning), coalesce(sum(cost), 0), sum(cost IS NULL), count(*)
       FROM requests WHERE status IS NULL AND id / {_RUN} = ? GROUP BY 1, 2, 3
       ON CONFLICT DO UPDATE SET """  # noqa: S608
    + ", ".join(f"{name} = {name} + excluded.{name}" for name in _SUMS),
    f"UPDATE requests SET status = 500, code = 'crashed', estimated = 1 WHERE status IS NULL AND id / {_RUN} = ?",  # noqa: S608
)


_ENDED: Final = (  # unless something of it is open
    f"DELETE FROM runs WHERE run = ? AND NOT EXISTS (SELECT 1 FROM requests WHERE status IS NULL AND id / {_RUN} = ?)"  # noqa: S608
)
_LAST_RUN: Final = f"""SELECT max(coalesce((SELECT max(run) FROM runs), 0),
    coalesce((SELECT max(id) FROM requests), 0) / {_RUN})"""  # noqa: S608 (constants)


class Store:
    """The file at `path`. Raises OSError when it cannot be used.

    failing: the last try to write failed; failures, dropped: how often, and rows that memory had no room for.
    """

    def __init__(self, path: str, retention_days: int) -> None:
        self.path = path
        self.failing = False
        self.failures = self.dropped = 0
        self._retention = retention_days
        self._queue: deque[Entry | threading.Event] = deque()
        self._rows: dict[int, Entry | Row] = {}  # taken from the queue, not yet written
        self._days: dict[tuple[str, str, str], list[int]] = {}
        self._trying: dict[tuple[str, str, str], list[int]] = {}  # sums of a transaction that has failed
        self._batch = 1  # number of the next transaction
        self._quiet_until = 0.0
        self._wake = threading.Event()
        self._stopping = False
        try:
            self._connection = self._connect()
            self.run = self._begin()
        except sqlite3.Error as error:
            raise OSError(f"the usage file {path} cannot be used: {error}") from None
        self._next = self.run * _RUN
        self._swept = time.monotonic() - _SWEEP
        self._thread = threading.Thread(target=self._write_rows, name="usage", daemon=True)
        self._thread.start()

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self.path, timeout=1.0, isolation_level=None, check_same_thread=False)
        try:
            tables.prepare(connection, self._refuse_to_share)
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("PRAGMA synchronous=NORMAL")
        except BaseException:
            connection.close()
            raise
        return connection

    def _refuse_to_share(self, connection: sqlite3.Connection) -> None:
        """Raise if a process of version 1 lives: it could write nothing any more once the table of days has changed."""
        with Path(f"{self.path}-runs").open("a+b") as self._locks:
            for (run,) in connection.execute("SELECT run FROM runs").fetchall():
                if not self._lock(run):
                    raise sqlite3.DatabaseError("an older version of this server is using it: stop that one first")

    def _begin(self) -> int:
        """Take a number for this run, and settle what runs that are no more left open."""
        connection = self._connection
        self._locks = Path(f"{self.path}-runs").open("a+b")  # noqa: SIM115 (held until the end)
        # Before anything is written: on a full disk this is all that is possible.
        run = int(connection.execute(_LAST_RUN).fetchone()[0]) + 1
        while not self._lock(run):
            run += 1
        try:
            connection.execute("BEGIN IMMEDIATE")
            for (other,) in connection.execute("SELECT run FROM runs").fetchall():
                if other != run and self._lock(other):
                    for statement in _CRASHED:
                        connection.execute(statement, (other,))
                    connection.execute("DELETE FROM runs WHERE run = ?", (other,))
                    self._unlock(other)
            connection.execute("INSERT INTO runs VALUES (?, 0)", (run,))
            connection.execute("COMMIT")
        except sqlite3.OperationalError as error:
            _rollback(connection)
            if error.sqlite_errorcode & 0xFF not in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_BUSY):
                raise
            self._complain(error)  # the next start settles what this one could not
        return run

    def _lock(self, run: int) -> bool:
        """Whether this run's byte could be locked: its process is not alive."""
        if fcntl is None:
            return True
        try:
            fcntl.lockf(self._locks, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, run)
        except OSError:
            return False
        return True

    def _unlock(self, run: int) -> None:
        if fcntl is not None:
            fcntl.lockf(self._locks, fcntl.LOCK_UN, 1, run)

    # What the event loop calls

    def number(self) -> int:
        """The id of a new row."""
        self._next += 1
        return self._next

    def put(self, entry: Entry) -> None:
        """Write an entry's row, soon."""
        self._queue.append(entry)
        if not self._wake.is_set():
            self._wake.set()

    @property
    def waiting(self) -> int:
        """Rows not yet written."""
        return len(self._queue) + len(self._rows)

    # What other threads call

    def read(self, query: Callable[[sqlite3.Connection], T]) -> T:
        """What `query` makes of the books, with all that was put before. Blocks: call it in a thread.

        Raises sqlite3.Error.
        """
        self.flush()
        with contextlib.closing(sqlite3.connect(self.path, timeout=1.0, isolation_level=None)) as connection:
            connection.execute("PRAGMA query_only=1")
            return query(connection)

    def flush(self, patience: float = 2.0) -> None:
        """Wait until what was put has been written, or writing has failed."""
        written = threading.Event()
        self._queue.append(written)
        self._wake.set()
        written.wait(patience)

    def spent(self, since: str) -> dict[str, int]:
        """Micro-USD that each key has spent since a day (YYYY-MM-DD). Blocks."""

        def query(connection: sqlite3.Connection) -> dict[str, int]:
            rows = connection.execute("SELECT key, sum(cost) FROM days WHERE day >= ? GROUP BY key", (since,))
            return {key: int(cost) for key, cost in rows.fetchall()}

        return self.read(query)

    def close(self) -> None:
        """Write what is waiting and end the thread."""
        self._stopping = True
        self._wake.set()
        self._thread.join(5.0)
        if not self._thread.is_alive():
            with contextlib.suppress(sqlite3.Error):
                self._connection.execute(_ENDED, (self.run, self.run))
            self._connection.close()
        self._locks.close()
        if self._rows:
            logs.LOGGER.warning(
                "%d rows of usage were lost: they could not be written to %s", len(self._rows), self.path
            )

    # The thread

    def _write_rows(self) -> None:
        while True:
            self._wake.wait(PAUSE if self.failing else _SWEEP)
            if not self._stopping and not self._flushing():
                time.sleep(BATCH if not self.failing else PAUSE)
            self._wake.clear()
            last = self._stopping  # read after clear(): what is set from now on wakes the next round
            flushed = self._take()
            if self._rows or self.failing:
                self._write()
            for event in flushed:
                event.set()
            if last:
                return
            if not self.failing and time.monotonic() - self._swept >= _SWEEP:
                self._sweep()

    def _flushing(self) -> bool:
        return bool(self._queue) and isinstance(self._queue[-1], threading.Event)

    def _take(self) -> list[threading.Event]:
        """Move the queue's rows to the batch; returns who waits for it to be written."""
        flushed = []
        for _ in range(len(self._queue)):
            entry = self._queue.popleft()
            if isinstance(entry, threading.Event):
                flushed.append(entry)
            elif not entry.booked:  # else it had ended before it was taken for the first time
                self._rows[entry.id] = entry
                if entry.status is not None:
                    self._book(entry)
        while len(self._rows) > WAITING:
            del self._rows[next(iter(self._rows))]
            self.dropped += 1
        return flushed

    def _book(self, entry: Entry) -> Row:
        """The entry's row; if it has ended, it is added to the sums, once, and the entry is let go."""
        row = entry.row()
        if row.status is not None:
            entry.booked = True
            self._rows[row.id] = row
            sums = self._days.setdefault((_day(row.at // 86_400_000), row.key, row.model), [0] * len(_SUMS))
            counted = row.prompt, row.completion, row.cached, row.reasoning
            amounts = 1, *counted, row.cost or 0, row.cost is None, row.failed
            sums[:] = map(add, sums, amounts)
        return row

    def _write(self) -> None:
        """One transaction with all there is; on failure it stays for the next."""
        connection = self._connection
        # What is open here may end at any time: its row and the sums must agree.
        rows = [each if isinstance(each, Row) else self._book(each) for each in list(self._rows.values())]
        try:
            connection.execute("BEGIN IMMEDIATE")
            done = connection.execute("SELECT batch FROM runs WHERE run = ?", (self.run,)).fetchone()
            if done and done[0] == self._batch:  # the last one was committed, although it said that it was not
                self._trying, self._batch = {}, self._batch + 1
            for key, sums in self._days.items():
                self._trying[key] = list(map(add, self._trying.get(key, [0] * len(_SUMS)), sums))
            self._days = {}
            connection.executemany(_INSERT, rows)
            connection.executemany(_ADD, [(*key, *sums) for key, sums in self._trying.items()])
            connection.execute("INSERT OR REPLACE INTO runs VALUES (?, ?)", (self.run, self._batch))
            connection.execute("COMMIT")
        except sqlite3.Error as error:
            _rollback(connection)
            self._complain(error)
            return
        self._rows, self._trying, self._batch = {}, {}, self._batch + 1
        if self.failing:
            self.failing = False
            logs.LOGGER.info("the usage file can be written again, and what was waiting has been")

    def _complain(self, error: sqlite3.Error) -> None:
        """Count it, and say so once a minute."""
        self.failing = True
        self.failures += 1
        if time.monotonic() >= self._quiet_until:
            self._quiet_until = time.monotonic() + 60
            logs.LOGGER.warning(
                "usage cannot be written to %s: %s. %d rows wait in memory, %d were dropped (their sums are kept).",
                self.path, error, self.waiting, self.dropped,
            )  # fmt: skip

    def _sweep(self) -> None:
        """Delete rows that are too old, a few at a time: others may want to write. Ids grow with time."""
        self._swept = time.monotonic()
        before = int((time.time() - self._retention * 86_400) * 1000)
        oldest = "SELECT id, at FROM requests ORDER BY id LIMIT ?"
        try:
            while True:
                query = f"SELECT max(id), count(*) FROM ({oldest}) WHERE at < ?"  # noqa: S608 (constants)
                last, count = self._connection.execute(query, (_SWEPT, before)).fetchone()
                if last is not None:
                    self._connection.execute("DELETE FROM requests WHERE id <= ? AND at < ?", (last, before))
                if count < _SWEPT:
                    return
        except sqlite3.Error as error:
            self._complain(error)


@lru_cache(4)
def _day(number: int) -> str:
    """YYYY-MM-DD of a day since the Unix epoch."""
    return time.strftime("%Y-%m-%d", time.gmtime(number * 86_400))


def _rollback(connection: sqlite3.Connection) -> None:
    with contextlib.suppress(sqlite3.Error):
        if connection.in_transaction:
            connection.execute("ROLLBACK")
