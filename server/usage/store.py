"""The usage ledger on disk: one SQLite file, one row per request, written by one thread.

A request costs the event loop two appends of immutable values to a deque. The thread collects for at most
a tenth of a second and writes all of it in one transaction (WAL, synchronous=NORMAL: a kill -9 loses at most what was still
collected; a power cut may lose the last transactions). A request that ends in the batch it began in is written once.

`requests` holds the rows, deleted after the retention; `days` the sums of each day, key and model, which budgets and
summaries read and which stay; `hours` the same of the last two weeks. All change in one transaction. A row without a status is
open: one that a dead process left behind is settled as `crashed` at the next start. Several processes may write to one file.

When the disk is full, the database locked or the file gone, rows wait in bounded memory. Sums are complete even where rows
have to be dropped.

database.py opens the file and checks it while the server runs; migrations.py makes its tables.
"""

import contextlib
import sqlite3
import threading
import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from functools import lru_cache
from itertools import chain
from operator import add
from typing import Any, Final, NamedTuple, Protocol, TypeVar
from urllib.parse import quote

from msgspec.structs import astuple, replace

from gateway.words import counted

from .. import logs
from ..throttle import Throttle
from . import database, migrations
from .rows import UsageRow, summed

T = TypeVar("T")

BATCH: Final = 0.08  # seconds in which rows are collected
PAUSE: Final = 1.0  # seconds until the next try, after writing has failed
LOOK: Final = 1.0  # seconds between two checks of the file
WAITING: Final = 20_000  # rows that wait in memory meanwhile
NAMES: Final = 200  # different models of a day and key in `days`: clients invent names, and the sums stay for ever
OTHER: Final = "other"  # the model of all others
_DAYS: Final = 3  # for which these names are remembered: requests that run over midnight belong to the day before
_SWEEP: Final = 3600.0  # seconds between deletions of old rows
_SWEPT: Final = 2000  # rows deleted in one transaction
_GROUP: Final = 32  # rows written by one statement: each costs the loop a change of threads, and has at most 999 values
_TOLD: Final = 600.0  # seconds for which /healthz says that the file had to be restored


class Opened(Protocol):
    """A request that has begun, as an immutable value."""

    @property
    def id(self) -> int:
        """As in its row."""

    def row(self) -> UsageRow:
        """Its row, without a status."""


class Question(NamedTuple):
    """A query to run when all rows enqueued before it have been written, and none after it, as far as that was possible."""

    query: Callable[[sqlite3.Connection], Any]
    answer: "Future[Any]"


Sums = dict[tuple[str, str, str], list[int]]  # hour, key, model → as migrations.SUMS

_ADD: Final = {
    table: f"INSERT INTO {table} VALUES (?, ?, ?, {', '.join('?' * len(migrations.SUMS))}){migrations.ADD}"  # noqa: S608
    for table in migrations.PERIODS
}


class UsageStore:
    """The file at `path`. Raises OSError when it cannot be used.

    failing: the last try to write failed; failures, dropped: how often, and rows that memory had no room for.
    """

    def __init__(self, path: str, retention_days: int) -> None:
        self.path = path
        self.failing = False
        self.failures = self.dropped = 0
        self._unreadable = ""  # why the last reading failed
        self._happened = ("", 0.0)  # why the file had to be restored, and when (monotonic)
        self._retention = retention_days
        self._queue: deque[UsageRow | Opened | Question] = deque()
        self._rows: dict[int, UsageRow | Opened] = {}  # taken from the queue, not yet written
        self._sums: Sums = {}
        self._trying: Sums = {}  # sums of a transaction that has failed
        self._names: dict[str, dict[str, set[str]]] = {}  # day → key → models that have sums of their own
        self._batch = 1  # number of the next transaction
        self._throttle = Throttle(1, 60.0)
        self._wake = threading.Event()
        self._stopping = False
        try:
            self._file = database.Database(path, self._add_again)
        except (sqlite3.Error, OSError) as error:
            raise OSError(
                f"the usage file {path} cannot be used: {getattr(error, 'strerror', None) or error}"
            ) from None
        if self._file.unwritten is not None:
            self._complain(self._file.unwritten)
        self._run = self._file.run  # of the ids that number() gives
        self._next = self._run * migrations.RUN
        self._swept = time.monotonic() - _SWEEP
        self._looked = time.monotonic()
        self._unrestored = False  # whether the file could not be restored
        self._thread = threading.Thread(target=self._write_rows, name="usage", daemon=True)
        self._thread.start()

    # Called on the event loop

    def next_id(self) -> int:
        """Return the id of a new row."""
        self._next += 1
        return self._next

    def enqueue(self, row: "UsageRow | Opened") -> None:
        """Add a request's row to the queue of the thread: when it has begun, and again, once, when it has ended."""
        self._queue.append(row)
        if not self._wake.is_set():
            self._wake.set()

    def ask(self, query: Callable[[sqlite3.Connection], T]) -> "Future[T]":
        """Run a query in the store's thread, after all rows enqueued until now (sqlite3.Error, OSError)."""
        answer: Future[T] = Future()
        self._queue.append(Question(query, answer))
        self._wake.set()
        return answer

    def spent(self, since: Iterable[str]) -> "Future[list[dict[str, int]]]":
        """Query what each key has spent since each of these days, in micro-USD, of all rows enqueued until now.

        What could not yet be written is counted too. since: texts made by gateway.spending.since.
        """
        return self.ask(lambda connection: [self._spent(connection, day) for day in since])

    def problems(self) -> list[str]:
        """Return what does not work, in a few words each."""
        found = []
        if self.failing:
            found.append(f"usage cannot be written: {counted(self.waiting, 'row')} waiting, {self.dropped} dropped")
        if self._unreadable:
            found.append(f"usage cannot be read: {self._unreadable}")
        what, at = self._happened
        if what and time.monotonic() < at + _TOLD:
            found.append(f"the usage file {what}")
        return found

    @property
    def waiting(self) -> int:
        """Return the number of rows not yet written."""
        return len(self._queue) + len(self._rows)

    # Called in other threads

    def read(self, query: Callable[[sqlite3.Connection], T]) -> T:
        """Run a query after all rows enqueued before. Blocks: call it in a thread.

        Raises sqlite3.Error, which problems() then reports. Never makes a file.
        """
        self.flush()
        try:
            found = self._read(query)
        except sqlite3.Error as error:
            self._unreadable = str(error)
            if database.broken(error):
                self._file.doubted = True
            raise
        self._unreadable = ""
        return found

    def _read(self, query: Callable[[sqlite3.Connection], T]) -> T:
        address = f"file:{quote(self.path)}?mode=rw"
        with contextlib.closing(sqlite3.connect(address, uri=True, timeout=1.0, isolation_level=None)) as connection:
            connection.execute("PRAGMA query_only=1")
            return query(connection)

    def flush(self, patience: float = 2.0) -> None:
        """Wait until the enqueued rows have been written, or writing has failed."""
        with contextlib.suppress(TimeoutError):
            self.ask(lambda _: None).result(patience)

    def close(self) -> None:
        """Write what is waiting and end the thread."""
        self._stopping = True
        self._wake.set()
        self._thread.join(5.0)
        if not self._thread.is_alive():
            self._file.close()
        if self._rows:
            logs.LOGGER.warning(
                "usage was lost that could not be written to %s: %s", self.path, counted(len(self._rows), "row")
            )

    # The thread

    def _write_rows(self) -> None:
        while True:
            due = self._wake.wait(LOOK)
            if due and not self._stopping and not self._has_question():
                time.sleep(BATCH if not self.failing else PAUSE)
            self._wake.clear()
            last = self._stopping  # read after clear(): what is set from now on wakes the next round
            question = self._drain_queue()
            self._work(look=last or question is not None)
            while question is not None:
                self._reply(question)
                question = self._drain_queue()
                self._work()
            if last:
                return
            if not self.failing and time.monotonic() - self._swept >= _SWEEP:
                self._delete_expired()

    def _work(self, look: bool = False) -> None:
        """Check the file if it is time to, and write the rows."""
        now = time.monotonic()
        if look or self._unrestored or now >= self._looked + LOOK:
            self._looked = now
            try:
                self._look()
            except (sqlite3.Error, OSError) as error:
                self._unrestored = True  # rows written to a file that is gone would be lost
                self._complain(error)
                return
            self._unrestored = False
        if self._rows or self._sums or self._trying or self.failing:
            self._write()

    def _look(self) -> None:
        if what := self._file.look():
            self._happened = what, time.monotonic()
            logs.LOGGER.warning("the usage file %s %s", self.path, what)
        if self._unreadable:
            with contextlib.suppress(sqlite3.Error):
                self._read(lambda connection: connection.execute("SELECT 1 FROM days, requests LIMIT 1").fetchall())
                self._unreadable = ""

    def _has_question(self) -> bool:
        return bool(self._queue) and isinstance(self._queue[-1], Question)

    def _drain_queue(self) -> Question | None:
        """Move the queue's rows to the batch, up to a question, which is returned."""
        question, rows = None, []
        for _ in range(len(self._queue)):
            item = self._queue.popleft()
            if isinstance(item, Question):
                question = item
                break
            rows.append(item)
        self._add_to_batch(rows)
        return question

    def _add_again(self, row: Any) -> None:
        """Add a request again that was only in a file that is gone. row: as in its table, its id counted from 0."""
        number, *values = row
        self._add_to_batch([UsageRow(self._run * migrations.RUN + number, *values)])

    def _add_to_batch(self, rows: "list[UsageRow | Opened]") -> None:
        """Add rows to the batch, and those that have ended to the sums. Drops the oldest rows where too many wait."""
        ended: defaultdict[tuple[int, str, str], list[UsageRow]] = defaultdict(list)
        for row in rows:
            self._rows[row.id] = row
            if isinstance(row, UsageRow):
                ended[row.at // 3_600_000, row.key, row.model].append(row)
        for (number, key, model), some in ended.items():
            hour = _hour(number)
            sums = self._sums.setdefault((hour, key, self._name(_day(hour), key, model)), [0] * len(migrations.SUMS))
            sums[:] = map(add, sums, summed(some))
        while len(self._rows) > WAITING:
            del self._rows[next(iter(self._rows))]
            self.dropped += 1

    def _name(self, day: str, key: str, model: str) -> str:
        """Return the model under which requests are summed up: so many different ones for each day and key, then OTHER."""
        names = self._names.setdefault(day, {}).setdefault(key, set())
        while len(self._names) > _DAYS:
            del self._names[min(self._names)]
        if len(names) < NAMES:
            names.add(model)
        return model if model in names else OTHER

    def _reply(self, question: Question) -> None:
        if not question.answer.set_running_or_notify_cancel():
            return
        try:
            found = question.query(self._file.connection)
        except Exception as error:
            question.answer.set_exception(error)
        else:
            question.answer.set_result(found)

    def _spent(self, connection: sqlite3.Connection, since: str) -> dict[str, int]:
        self._forget_done(connection)
        rows = connection.execute("SELECT key, sum(cost) FROM days WHERE day >= ? GROUP BY key", (since,))
        spent = {key: int(cost) for key, cost in rows.fetchall()}
        at = migrations.SUMS.index("cost")
        for pending in (self._sums, self._trying):
            for (hour, key, _), sums in pending.items():
                if _day(hour) >= since:
                    spent[key] = spent.get(key, 0) + sums[at]
        return spent

    def _forget_done(self, connection: sqlite3.Connection) -> None:
        """Drop the sums of the last transaction if it was committed, although it said that it was not."""
        done = connection.execute("SELECT batch FROM runs WHERE run = ?", (self._file.run,)).fetchone()
        if done and done[0] == self._batch:
            self._trying, self._batch = {}, self._batch + 1

    def _write(self) -> None:
        """Write all rows and sums in one transaction; after a failure they stay for the next."""
        connection = self._file.connection
        rows: list[UsageRow] = [each if isinstance(each, UsageRow) else each.row() for each in self._rows.values()]
        if shift := (self._file.run - self._run) * migrations.RUN:  # another file, where another run may have these ids
            rows = [replace(row, id=row.id + shift) for row in rows]
        try:
            connection.execute("BEGIN IMMEDIATE")
            self._forget_done(connection)
            for key, sums in self._sums.items():
                self._trying[key] = list(map(add, self._trying.get(key, [0] * len(migrations.SUMS)), sums))
            self._sums = {}
            for start in range(0, len(rows), _GROUP):
                group = rows[start : start + _GROUP]
                connection.execute(_insert(len(group)), [*chain.from_iterable(map(astuple, group))])
            told = self._trying.items()
            connection.executemany(_ADD["hours"], [(*key, *added) for key, added in told])
            connection.executemany(_ADD["days"], [(_day(hour), *names, *added) for (hour, *names), added in told])
            connection.execute("INSERT OR REPLACE INTO runs VALUES (?, ?)", (self._file.run, self._batch))
            connection.execute("COMMIT")
        except sqlite3.Error as error:
            database.rollback(connection)
            if database.broken(error):
                self._file.damaged = True
            self._complain(error)
            return
        self._rows, self._trying, self._batch = {}, {}, self._batch + 1
        if self.failing:
            self.failing = False
            logs.LOGGER.info("the usage file can be written again, and what was waiting has been")

    def _complain(self, error: Exception) -> None:
        """Count a failure, and log it once a minute."""
        self.failing = True
        self.failures += 1
        if self._throttle.allows("", time.monotonic()):
            logs.LOGGER.warning(
                "usage cannot be written to %s: %s. %s waiting in memory, %d dropped (their sums are kept).",
                self.path, error, counted(self.waiting, "row"), self.dropped,
            )  # fmt: skip

    def _delete_expired(self) -> None:
        """Delete rows that are too old, a few at a time: other processes may wait to write. Ids grow with time."""
        self._swept = time.monotonic()
        before = int((time.time() - self._retention * 86_400) * 1000)
        oldest = "SELECT id, at FROM requests ORDER BY id LIMIT ?"
        try:
            last_hours = time.gmtime(time.time() - migrations.HOURS * 86_400)
            hour = time.strftime(migrations.PERIODS["hours"], last_hours)
            self._file.connection.execute("DELETE FROM hours WHERE hour < ?", (hour,))
            while True:
                query = f"SELECT max(id), count(*) FROM ({oldest}) WHERE at < ?"  # noqa: S608 (constants)
                last, count = self._file.connection.execute(query, (_SWEPT, before)).fetchone()
                if last is not None:
                    self._file.connection.execute("DELETE FROM requests WHERE id <= ? AND at < ?", (last, before))
                if count < _SWEPT:
                    return
        except sqlite3.Error as error:
            self._complain(error)


@lru_cache(_GROUP)
def _insert(rows: int) -> str:
    """Return the statement that writes so many rows."""
    row = f"({', '.join('?' * len(UsageRow.__struct_fields__))})"
    return f"INSERT OR REPLACE INTO requests VALUES {', '.join([row] * rows)}"  # noqa: S608 (constants)


@lru_cache(4)
def _hour(number: int) -> str:
    """Return an hour since the Unix epoch, as in its table."""
    return time.strftime(migrations.PERIODS["hours"], time.gmtime(number * 3600))


def _day(hour: str) -> str:
    """Return the day of an hour, as in its table."""
    return hour[:10]
