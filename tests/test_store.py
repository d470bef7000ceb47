"""The books as a file: batches, failures, several processes, old rows."""

import sqlite3
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from server import store as module
from server.store import Row, Store


class Entry:
    """As books.Entry: open, then ended."""

    booked = False

    def __init__(self, id: int, at: float | None = None) -> None:
        self.id, self.status = id, None
        self.at = int((time.time() if at is None else at) * 1000)

    def row(self) -> Row:
        open = self.status is None
        return Row(
            self.id, self.at, f"r{self.id}", "k", "m", "u", False, self.status, "", 7, 0 if open else 5, 0, 0, 3, open, 1, 2
        )  # fmt: skip

    def end(self) -> "Entry":
        self.status = 200
        return self


def put(store: Store, count: int, **entry: Any) -> None:
    for _ in range(count):
        store.put(Entry(store.number(), **entry).end())


def query(path: Path, sql: str) -> list[Any]:
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(sql).fetchall()


SUMS = "SELECT sum(requests), sum(prompt), sum(completion), sum(cost) FROM days"


def test_a_row_opens_and_settles_and_is_summed_once(tmp_path: Path) -> None:
    path = tmp_path / "u.db"
    store = Store(str(path), 90)
    slow, fast = Entry(store.number()), Entry(store.number())
    store.put(slow)
    store.put(fast)
    store.put(fast.end())
    store.flush()
    assert store.waiting == 0  # nothing stays in memory
    assert query(path, "SELECT id, status FROM requests") == [(slow.id, None), (fast.id, 200)]
    assert query(path, SUMS) == [(1, 7, 5, 3)]
    store.put(slow.end())
    store.close()
    assert query(path, "SELECT status FROM requests") == [(200,), (200,)]
    assert query(path, SUMS) == [(2, 14, 10, 6)]
    assert query(path, "SELECT * FROM runs") == []


def test_a_transaction_that_failed_after_it_was_done_is_not_added_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PAUSE", 0.01)
    path = tmp_path / "u.db"
    store = Store(str(path), 90)
    good = store._connection

    class Liar:
        """Commits, and says that it could not."""

        def __getattr__(self, name: str) -> Any:
            return getattr(good, name)

        def execute(self, sql: str, *values: Any) -> Any:
            done = good.execute(sql, *values)
            if sql == "COMMIT" and not store.failing:
                raise sqlite3.OperationalError("disk I/O error")
            return done

    store._connection = Liar()  # type: ignore[assignment]
    put(store, 3)
    store.flush()
    put(store, 2)
    store.flush()
    store.close()
    assert store.failures >= 1
    assert query(path, "SELECT count(*) FROM requests") == [(5,)]
    assert query(path, SUMS) == [(5, 35, 25, 15)]


def test_memory_is_bounded_and_sums_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "WAITING", 10)
    monkeypatch.setattr(module, "PAUSE", 0.01)
    path = tmp_path / "u.db"
    store = Store(str(path), 90)
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        put(store, 25)
        store.flush(5)
        assert (store.failing, store.dropped, store.waiting) == (True, 15, 10)
        other.execute("ROLLBACK")
    store.close()
    assert query(path, "SELECT count(*) FROM requests") == [(10,)]
    assert query(path, SUMS) == [(25, 175, 125, 75)]


def test_old_rows_are_deleted_and_the_sums_of_their_days_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_SWEPT", 4)
    path = tmp_path / "u.db"
    store = Store(str(path), 90)
    put(store, 11, at=time.time() - 91 * 86_400)
    put(store, 3, at=time.time() - 89 * 86_400)
    store.close()
    store = Store(str(path), 90)  # the first batch of a run sweeps
    put(store, 1)
    store.flush()
    store.close()
    assert query(path, "SELECT count(*) FROM requests") == [(4,)]
    assert query(path, SUMS) == [(15, 105, 75, 45)]


def test_ids_never_meet(tmp_path: Path) -> None:
    path = tmp_path / "u.db"
    for _ in range(3):
        store = Store(str(path), 90)
        put(store, 2)
        store.close()
    assert query(path, "SELECT count(*), count(DISTINCT id) FROM requests") == [(6, 6)]


@pytest.mark.parametrize("what", ["text", "folder", "newer"])
def test_a_file_that_cannot_be_the_books_is_an_error_at_the_start(tmp_path: Path, what: str) -> None:
    path = tmp_path / "u.db"
    match what:
        case "text":
            path.write_text("not a database, but a text that is long enough to be read as the head of one " * 9)
        case "folder":
            path = tmp_path / "none" / "u.db"
        case "newer":
            with closing(sqlite3.connect(path)) as connection:
                connection.execute("PRAGMA user_version = 2")
    with pytest.raises(OSError, match=r"the usage file .* cannot be used"):
        Store(str(path), 90)


def test_what_a_day_and_a_key_have_spent(tmp_path: Path) -> None:
    store = Store(str(tmp_path / "u.db"), 90)
    put(store, 2, at=1_764_000_000)  # 2025-11-24
    put(store, 3, at=1_764_100_000)  # 2025-11-25
    assert store.spent("") == {"k": 15}
    assert store.spent("2025-11-25") == {"k": 9}
    assert store.spent("2025-11-26") == {}
    store.close()
