"""The SQLite file of the usage ledger: it is opened, checked while the server runs, and restored where it was lost.

A file may be deleted, replaced or overwritten while the server runs (a backup, logrotate, `git clean`). SQLite goes on writing to
the file that it has open, and all of that would be lost at the end. So the store checks once a second that the path still
leads to the file it writes to. If not, what can be read through the open file is written to the path again; a file that was
put there is used if it is a usage file, and renamed if it is not.

Which processes run is known by locks on bytes of a file beside the database, one per run: the kernel releases them however a
process ends. Byte 0 is locked while a file is restored, so that two processes do not do it at once.
"""

import contextlib
import os
import sqlite3
import time
from collections.abc import Callable, Iterator
from io import BufferedRandom
from pathlib import Path
from typing import Any, Final

from . import migrations

try:
    import fcntl
except ImportError:  # Windows: other processes are taken for dead
    fcntl = None  # type: ignore[assignment]

_PRIVATE: Final = 0o600  # names of keys, models, times and costs are private
_BESIDE: Final = ("-wal", "-shm")  # what SQLite writes beside a file that is open
_HEAD: Final = b"SQLite format 3\0"
_CHECKED: Final = 2**24  # bytes of a file that is checked before it is used: a larger one would delay the start
_PATIENCE: Final = 1.0  # seconds that others may hold the file, once it is open
_BATCH: Final = 1000  # rows copied at once
_BROKEN: Final = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
Place = tuple[int, int]  # device and inode


class Damaged(sqlite3.DatabaseError):
    """A check of the file has failed."""


class Database:
    """The file at `path`, open. Raises sqlite3.Error or OSError when it cannot be used.

    again: called with rows of this run that have ended and must be written again, their ids counted from 0;
    connection: to write with; run: the number of this process in the file; unwritten: why its start could not be written.
    """

    def __init__(self, path: str, again: Callable[[Any], None]) -> None:
        self.path, self._again = path, again
        self.damaged = False  # whether a write has failed so
        self.doubted = False  # whether a read has
        self.unwritten: sqlite3.Error | None = None
        self.run = 0
        self._locks: BufferedRandom | None = None
        try:
            self._open()
        except BaseException:
            if self._locks is not None:
                self._locks.close()
            raise

    def _open(self) -> None:
        """Open the file at the path, or make it, and begin a run in it."""
        file = os.open(self.path, os.O_RDWR | os.O_CREAT, _PRIVATE)  # SQLite gives -wal and -shm the same mode
        connection = None
        try:
            connection = _connect(self.path)
            migrations.prepare(connection)
            if os.fstat(file).st_size <= _CHECKED:
                check(connection)
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("PRAGMA synchronous=NORMAL")
            run = self._begin(connection)
            connection.execute(f"PRAGMA busy_timeout={_PATIENCE * 1000:.0f}")
        except BaseException:
            if connection is not None:
                connection.close()
            os.close(file)
            raise
        self.connection, self.run, self._file = connection, run, file
        self._place = _place_of(os.fstat(file))
        self._beside = {end: place(self.path + end) for end in _BESIDE}
        self.damaged = False

    def _begin(self, connection: sqlite3.Connection) -> int:
        """Take a number for this run, or the one that the file has of it. At the start, settle what dead runs left open.

        Later, the next start settles it: the file of locks may be a new one, in which other processes have no locks yet.
        """
        self._open_locks()
        # Before anything is written: on a full disk this is all that is possible.
        runs = [run for (run,) in connection.execute("SELECT run FROM runs").fetchall()]
        run = self.run if self.run in runs else int(connection.execute(migrations.LAST_RUN).fetchone()[0]) + 1
        while not self._lock(run):
            run += 1
        try:
            connection.execute("BEGIN IMMEDIATE")
            for (other,) in connection.execute("SELECT run FROM runs").fetchall():
                if not self.run and other != run and self._lock(other):
                    for statement in migrations.CRASHED:
                        connection.execute(statement, (other,))
                    connection.execute("DELETE FROM runs WHERE run = ?", (other,))
                    self._unlock(other)
            connection.execute("INSERT OR IGNORE INTO runs VALUES (?, 0)", (run,))
            connection.execute("COMMIT")
        except sqlite3.OperationalError as error:
            rollback(connection)
            if error.sqlite_errorcode & 0xFF not in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_BUSY):
                raise
            self.unwritten = error  # the next start settles what this one could not
        return run

    def close(self) -> None:
        """End the run and close the file."""
        with contextlib.suppress(sqlite3.Error):
            self.connection.execute(migrations.ENDED, (self.run, self.run))
        self.connection.close()
        os.close(self._file)
        if self._locks is not None:
            self._locks.close()

    # The runs

    def _open_locks(self) -> bool:
        """Open the file of locks and return True, unless it is open: closing a second descriptor would drop all locks."""
        path = f"{self.path}-runs"
        if self._locks is not None and _place_of(os.fstat(self._locks.fileno())) == place(path):
            return False
        before, self._locks = self._locks, open(path, "a+b", opener=_privately)  # noqa: SIM115 (held until the end)
        if before is not None:
            before.close()
        return True

    def _lock(self, run: int) -> bool:
        """Lock this run's byte; return whether that was possible, which means that no other process has this run."""
        if fcntl is None:
            return True
        assert self._locks is not None
        try:
            fcntl.lockf(self._locks, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, run)
        except OSError:
            return False
        return True

    def _unlock(self, run: int) -> None:
        if fcntl is not None:
            assert self._locks is not None
            fcntl.lockf(self._locks, fcntl.LOCK_UN, 1, run)

    # Changes of the file from outside

    def look(self) -> str:
        """Restore the file if it was changed from outside; return what has happened to it, "" when nothing has.

        Raises sqlite3.Error or OSError when it cannot be restored: the open file stays, and the next look tries again.
        """
        if self._open_locks():
            self._lock(self.run)
        if not self._wrong():
            return ""
        if fcntl is not None:
            assert self._locks is not None
            fcntl.lockf(self._locks, fcntl.LOCK_EX, 1, 0)
        try:
            return self._restore_path(self._wrong())  # another process may have been first
        finally:
            self._unlock(0)

    def _wrong(self) -> str:
        """Return what is wrong with the path: "deleted", "replaced", "torn" from the files beside it, "damaged" or ""."""
        try:
            found = Path(self.path).stat()
        except FileNotFoundError:
            return "deleted"
        if _place_of(found) != self._place:
            return "replaced" if found.st_size else "deleted"
        for end, was in self._beside.items():
            now = place(self.path + end)
            if was is None:
                self._beside[end] = now
            elif was != now:
                return "torn"
        os.lseek(self._file, 0, os.SEEK_SET)
        if os.read(self._file, len(_HEAD)) != _HEAD:
            return "damaged"
        if self.doubted:
            self.doubted = False
            self.damaged = self.damaged or self._is_broken()
        return "damaged" if self.damaged else ""

    def _is_broken(self) -> bool:
        """Whether a new connection finds the file broken; this one may still have its pages in memory."""
        with contextlib.closing(_connect(self.path)) as connection:
            try:
                check(connection)
            except sqlite3.Error as error:
                return broken(error)
        return False

    def _restore_path(self, wrong: str) -> str:
        match wrong:
            case "deleted":
                return f"was deleted, and has been written again{self._restore()}"
            case "torn":
                return f"was without its {' or '.join(_BESIDE)}, and has been written again{self._restore()}"
            case "damaged":
                aside = self._move_aside()
                return f"was damaged: it is now {aside}, and what could be read has been written again{self._restore()}"
            case "replaced":
                self._forget_beside()  # SQLite would take them for those of the new file
                try:
                    self._take_over()
                except sqlite3.DatabaseError as error:
                    if not broken(error):
                        raise
                    aside = self._move_aside()
                    lost = self._restore()
                    return f"was replaced by one that is no database: that is now {aside}, ours has been written again{lost}"
                return "was replaced by another one, which is used from now on"
        return ""

    def _restore(self) -> str:
        """Write what can be read through the open file to a new one, and use that. Returns a text about losses."""
        fresh = f"{self.path}-new"
        Path(fresh).unlink(missing_ok=True)
        os.close(os.open(fresh, os.O_RDWR | os.O_CREAT | os.O_EXCL, _PRIVATE))
        with contextlib.closing(_connect(fresh)) as target:
            migrations.prepare(target)
            whole = _copy(self.connection, target)
        self._forget_beside()
        Path(fresh).replace(self.path)
        self._take_over()
        return "" if whole else ", but not all of it could be read"

    def _take_over(self) -> None:
        """Use the file that is at the path now. Calls `again` with the rows that this run has written and that file lacks."""
        connection, file, run = self.connection, self._file, self.run
        self._open()
        for row in _missed(connection, self.connection, run):
            self._again(row)
        connection.close()  # SQLite notices that it was moved, and does not touch the path
        os.close(file)

    def _forget_beside(self) -> None:
        """Delete our -wal and -shm, if they are still there: they belong to the file that is open, not to the path."""
        for end, was in self._beside.items():
            if was is not None and place(self.path + end) == was:
                Path(self.path + end).unlink(missing_ok=True)

    def _move_aside(self) -> str:
        """Rename a broken file; returns its new name."""
        aside = f"{self.path}-broken-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}"
        for end in ("", "-wal"):
            with contextlib.suppress(FileNotFoundError):
                Path(self.path + end).replace(aside + end)
        return Path(aside).name


def check(connection: sqlite3.Connection) -> None:
    """Read the whole database. Raises Damaged when it is, another sqlite3.Error when it cannot be read."""
    found = str(connection.execute("PRAGMA quick_check(1)").fetchone()[0])
    if found != "ok":
        raise Damaged(f"it is damaged ({found.splitlines()[-1]}): move it away, or put a copy in its place")


def broken(error: sqlite3.Error) -> bool:
    """Whether an error says that the file is no database any more."""
    return isinstance(error, Damaged) or getattr(error, "sqlite_errorcode", 0) & 0xFF in _BROKEN


def rollback(connection: sqlite3.Connection) -> None:
    """End a transaction that has failed."""
    with contextlib.suppress(sqlite3.Error):
        if connection.in_transaction:
            connection.execute("ROLLBACK")


def place(path: str) -> Place | None:
    """Return device and inode of the file at a path, None where there is none."""
    try:
        return _place_of(Path(path).stat())
    except OSError:
        return None


def _place_of(found: os.stat_result) -> Place:
    return found.st_dev, found.st_ino


def _privately(path: str, flags: int) -> int:
    return os.open(path, flags, _PRIVATE)


def _connect(path: str) -> sqlite3.Connection:
    return sqlite3.connect(path, timeout=_PATIENCE, isolation_level=None, check_same_thread=False)


def _copy(source: sqlite3.Connection, target: sqlite3.Connection) -> bool:
    """Copy all rows that can be read; returns whether that is all. Raises sqlite3.Error of the target."""
    whole = True
    target.execute("BEGIN IMMEDIATE")
    for table, order in migrations.ORDER.items():
        forwards = _rows(source, f"SELECT * FROM {table} ORDER BY {', '.join(order)}")  # noqa: S608 (constants)
        backwards = _rows(source, f"SELECT * FROM {table} ORDER BY {', '.join(f'{name} DESC' for name in order)}")  # noqa: S608
        for rows in (forwards, backwards):  # the second only where the first broke off
            broke = True
            for batch in rows:
                broke = batch is None
                if batch:
                    marks = ", ".join("?" * len(batch[0]))
                    target.executemany(f"INSERT OR IGNORE INTO {table} VALUES ({marks})", batch)  # noqa: S608
            if not broke:
                break
            whole = False
    target.execute("COMMIT")
    return whole


def _missed(source: sqlite3.Connection, target: sqlite3.Connection, run: int) -> Iterator[Any]:
    """Yield the rows of a run that have ended, as far as they can be read, and that the target does not have."""
    ids = run * migrations.RUN, (run + 1) * migrations.RUN
    known = "SELECT 1 FROM requests WHERE (id, at, request) = (?, ?, ?) AND status IS NOT NULL"
    with contextlib.suppress(sqlite3.DatabaseError):
        for row in source.execute(
            "SELECT * FROM requests WHERE status IS NOT NULL AND id >= ? AND id < ? ORDER BY id", ids
        ):
            if target.execute(known, row[:3]).fetchone() is None:
                yield (row[0] % migrations.RUN, *row[1:])


def _rows(source: sqlite3.Connection, query: str) -> Iterator[list[tuple[object, ...]] | None]:
    """Yield batches of rows; at last an empty one, or None where reading failed."""
    try:
        cursor = source.execute(query)
        while batch := cursor.fetchmany(_BATCH):
            yield batch
        yield []
    except sqlite3.DatabaseError:
        yield None
