"""The ledger as a file: batches, failures, several processes, old rows."""

import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from msgspec.structs import astuple
from process import ROOT

from server.usage import store as module
from server.usage.rows import UsageRow
from server.usage.store import UsageStore


class Entry(NamedTuple):
    """A request: open as it is, ended by its row."""

    id: int
    at: float | None = None
    model: str = "m"

    def row(self, status: int | None = None, code: str = "") -> UsageRow:
        at = int((time.time() if self.at is None else self.at) * 1000)
        open, tokens = status is None, (7, 0 if status is None else 5, 0, 0)
        return UsageRow(
            self.id, at, f"r{self.id}", "k", self.model, "u", False, status, code, *tokens, 3, open, 1, 2
        )  # fmt: skip

    def end(self, status: int = 200, code: str = "") -> UsageRow:
        return self.row(status, code)


def put(store: UsageStore, count: int, **entry: Any) -> None:
    for _ in range(count):
        store.enqueue(Entry(store.next_id(), **entry).end())


def query(path: Path, sql: str) -> list[Any]:
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(sql).fetchall()


SUMS = "SELECT sum(requests), sum(prompt), sum(completion), sum(cost) FROM days"


def test_rows_and_their_sums_are_the_same_requests_however_many_come_at_once(tmp_path: Path) -> None:
    """Batches of none to 150 rows, of all kinds: what was written is what was enqueued, and the sums are those of the rows."""
    path, now, written = tmp_path / "u.db", int(time.time() * 1000), []
    store = UsageStore(str(path), 90)
    for size in (1, 31, 32, 33, 64, 0, 150):
        rows = [
            UsageRow(
                store.next_id(), now - i * 1_300_000, f"r{i}", "ab"[i % 2], f"m{i % 3}", "u/m", i % 2,
                (200, 200, 404, 499, 200)[i % 5], ("", "", "x", "client_closed", "late")[i % 5],
                i, 2 * i, i % 4, i % 7, None if i % 6 == 0 else 10 * i, i % 2, i or None, i,
                None if i % 9 == 0 else i % 3 - 1, i,
            )
            for i in range(size)
        ]  # fmt: skip
        for row in rows[::3]:  # these have been written while they ran
            store.enqueue(Entry(row.id))
        if size == 150:
            store.flush()
        for row in rows:
            store.enqueue(row)
        store.flush()
        written += rows
    store.close()
    assert query(path, "SELECT * FROM requests ORDER BY id") == [astuple(row) for row in written]
    of_rows = """SELECT strftime('{}', at / 1000, 'unixepoch') AS period, key, model, count(*), sum(prompt),
        sum(completion), sum(cached), sum(reasoning), coalesce(sum(cost), 0), sum(cost IS NULL),
        sum(status != 499 AND (status >= 400 OR code != '')), sum(coalesce(saved, 0))
        FROM requests GROUP BY 1, 2, 3 ORDER BY 1, 2, 3"""
    for table, form in (("days", "%Y-%m-%d"), ("hours", "%Y-%m-%dT%H")):
        assert query(path, f"SELECT * FROM {table} ORDER BY 1, 2, 3") == query(path, of_rows.format(form))


def test_a_row_opens_and_settles_and_is_summed_once(tmp_path: Path) -> None:
    path = tmp_path / "u.db"
    store = UsageStore(str(path), 90)
    slow, fast = Entry(store.next_id()), Entry(store.next_id())
    store.enqueue(slow)
    store.enqueue(fast)
    store.enqueue(fast.end())
    store.flush()
    assert store.waiting == 0  # nothing stays in memory
    assert query(path, "SELECT id, status FROM requests") == [(slow.id, None), (fast.id, 200)]
    assert query(path, SUMS) == [(1, 7, 5, 3)]
    store.enqueue(slow.end())
    store.close()
    assert query(path, "SELECT status FROM requests") == [(200,), (200,)]
    assert query(path, SUMS) == [(2, 14, 10, 6)]
    assert query(path, "SELECT * FROM runs") == []


def test_a_transaction_that_failed_after_it_was_done_is_not_added_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PAUSE", 0.01)
    path = tmp_path / "u.db"
    store = UsageStore(str(path), 90)
    good = store._file.connection

    class Liar:
        """Commits, and says that it could not."""

        def __getattr__(self, name: str) -> Any:
            return getattr(good, name)

        def execute(self, sql: str, *values: Any) -> Any:
            done = good.execute(sql, *values)
            if sql == "COMMIT" and not store.failing:
                raise sqlite3.OperationalError("disk I/O error")
            return done

    store._file.connection = Liar()  # type: ignore[assignment]
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
    store = UsageStore(str(path), 90)
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
    store = UsageStore(str(path), 90)
    put(store, 11, at=time.time() - 91 * 86_400)
    put(store, 3, at=time.time() - 89 * 86_400)
    store.close()
    store = UsageStore(str(path), 90)  # the first batch of a run sweeps
    put(store, 1)
    store.flush()
    store.close()
    assert query(path, "SELECT count(*) FROM requests") == [(4,)]
    assert query(path, SUMS) == [(15, 105, 75, 45)]
    assert query(path, "SELECT sum(requests) FROM hours") == [(1,)]  # theirs do not


def test_ids_never_meet(tmp_path: Path) -> None:
    path = tmp_path / "u.db"
    for _ in range(3):
        store = UsageStore(str(path), 90)
        put(store, 2)
        store.close()
    assert query(path, "SELECT count(*), count(DISTINCT id) FROM requests") == [(6, 6)]


@pytest.mark.parametrize("what", ["text", "folder", "newer", "older"])
def test_a_file_that_cannot_be_the_ledger_is_an_error_at_the_start(tmp_path: Path, what: str) -> None:
    path = tmp_path / "u.db"
    match what:
        case "text":
            path.write_text("not a database, but a text that is long enough to be read as the head of one " * 9)
        case "folder":
            path = tmp_path / "none" / "u.db"
        case "newer" | "older":
            with closing(sqlite3.connect(path)) as connection:
                connection.execute(f"PRAGMA user_version = {4 if what == 'newer' else 2}")
    with pytest.raises(OSError, match=r"the usage file .* cannot be used"):
        UsageStore(str(path), 90)
    if what in ("newer", "older"):
        assert query(path, "SELECT count(*) FROM sqlite_master") == [(0,)]  # nothing was made in it


ENDS = [(200, ""), (200, "upstream_truncated"), (499, "client_closed"), (499, "upstream_error"), (400, "invalid_value"),
        (429, "rate_limit_exceeded"), (500, "internal_error"), (502, "upstream_error"), (404, "")]  # fmt: skip
WRONG = 6  # of them: neither the first nor the clients that left


def test_errors_are_summed(tmp_path: Path) -> None:
    path = tmp_path / "u.db"
    store = UsageStore(str(path), 90)
    for status, code in ENDS:
        store.enqueue(Entry(store.next_id()).end(status, code))
    store.enqueue(Entry(store.next_id()))  # open: nobody knows yet
    store.flush()
    assert query(path, "SELECT requests, errors FROM days") == [(len(ENDS), WRONG)]
    store.close()


OPEN = """
import sys
from server.usage.store import UsageStore
input()
store = UsageStore(sys.argv[1], 36_500)
print("open")
input()
store.close()
"""


def test_several_processes_make_one_file_once(tmp_path: Path) -> None:
    path = tmp_path / "u.db"
    command = [sys.executable, "-c", OPEN, str(path)]
    pipe = subprocess.PIPE
    crowd = [subprocess.Popen(command, cwd=ROOT, stdin=pipe, stdout=pipe, stderr=pipe, text=True) for _ in range(4)]
    for each in crowd:
        assert each.stdin
        each.stdin.write("go\n")
        each.stdin.flush()
    for each in crowd:
        assert each.stdout and each.stdout.readline() == "open\n", each.stderr and each.stderr.read()
    assert query(path, "SELECT count(*) FROM runs") == [(4,)]
    for each in crowd:
        assert each.communicate("end\n") == ("", "") and each.returncode == 0


def test_what_a_day_and_a_key_have_spent(tmp_path: Path) -> None:
    store = UsageStore(str(tmp_path / "u.db"), 90)
    put(store, 2, at=1_764_000_000)  # 2025-11-24
    put(store, 3, at=1_764_100_000)  # 2025-11-25
    assert store.spent(["", "2025-11-25", "2025-11-26"]).result() == [{"k": 15}, {"k": 9}, {}]
    store.close()


def test_models_that_clients_invent_do_not_grow_the_sums_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "NAMES", 3)
    path = tmp_path / "u.db"
    store = UsageStore(str(path), 90)
    for at in (1_764_000_000, 1_764_100_000):
        for n in (0, 1, 2, 3, 4, 0):
            store.enqueue(Entry(store.next_id(), at, f"m{n}").end())
    store.close()
    sums = "SELECT day, model, requests, cost FROM days ORDER BY day, model"
    day = [("m0", 2, 6), ("m1", 1, 3), ("m2", 1, 3), ("other", 2, 6)]
    assert query(path, sums) == [(at, *each) for at in ("2025-11-24", "2025-11-25") for each in day]
    assert query(path, "SELECT count(DISTINCT model) FROM requests") == [(5,)]  # rows do not stay for ever


def test_what_is_asked_is_of_all_that_was_put_before_and_of_nothing_after(tmp_path: Path) -> None:
    """Whether it could be written or not: a reload goes on from these sums."""
    path = tmp_path / "u.db"
    store = UsageStore(str(path), 90)
    put(store, 2)
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        for before in (2, 5):
            answers = []
            for _ in range(3):
                answers.append(store.spent([""]))
                put(store, 1)
            assert [answer.result() for answer in answers] == [[{"k": 3 * (before + n)}] for n in range(3)]
            if not other.in_transaction:
                other.execute("BEGIN IMMEDIATE")
        other.execute("ROLLBACK")
    store.close()
    assert query(path, SUMS) == [(8, 56, 40, 24)]


def damage(path: Path, first: int) -> None:
    """Overwrite pages of a database, from the one with this number on."""
    with path.open("r+b") as file:
        file.seek(first * 4096)
        file.write(b"\xff" * (path.stat().st_size - first * 4096))


def test_a_damaged_file_is_an_error_at_the_start(tmp_path: Path) -> None:
    path = tmp_path / "u.db"
    store = UsageStore(str(path), 90)
    put(store, 500)
    store.close()
    damage(path, 4)
    with pytest.raises(
        OSError, match=r"cannot be used: it is damaged \(.+\): move it away, or put a copy in its place"
    ):
        UsageStore(str(path), 90)


def test_damage_that_reading_meets_is_told_and_what_is_left_is_written_again(tmp_path: Path) -> None:
    path = tmp_path / "u.db"
    store = UsageStore(str(path), 90)
    put(store, 500)
    store.flush()
    store._file.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    damage(path, 4)
    with pytest.raises(sqlite3.DatabaseError):
        store.read(lambda connection: connection.execute("SELECT count(*), sum(prompt) FROM requests").fetchall())
    assert "usage cannot be read: database disk image is malformed" in store.problems()
    put(store, 1)
    assert store.read(lambda connection: connection.execute("SELECT sum(requests) FROM days").fetchall()) == [(501,)]
    [told] = store.problems()
    assert told.startswith("the usage file was damaged: it is now u.db-broken-2")
    store.close()


def test_reading_never_makes_a_file(tmp_path: Path) -> None:
    path = tmp_path / "ledger" / "u.db"
    path.parent.mkdir()
    store = UsageStore(str(path), 90)
    path.parent.rename(tmp_path / "elsewhere")
    with pytest.raises(sqlite3.Error):
        store.read(lambda connection: connection.execute(SUMS).fetchall())
    assert not path.exists() and store.failing
    assert any("cannot be read" in words for words in store.problems())
    (tmp_path / "elsewhere").rename(path.parent)
    store.close()


def test_another_file_of_ours_in_its_place_is_taken_over(tmp_path: Path) -> None:
    """A copy of this one knows the run, another one gets a new one. What this process has booked is booked there too."""
    path = tmp_path / "u.db"
    for name in ("copy", "other"):
        other = UsageStore(str(tmp_path / name), 90)
        put(other, 3)
        if name == "copy":
            (tmp_path / "copy").rename(path)
            for end in ("-wal", "-shm", "-runs"):
                (tmp_path / f"copy{end}").rename(f"{path}{end}")
            other.path = other._file.path = str(path)
            other.close()
            store = UsageStore(str(path), 90)
        else:
            other.close()
    late = Entry(store.next_id())
    store.enqueue(late)
    put(store, 2)
    store.flush()
    with closing(sqlite3.connect(path)) as source, closing(sqlite3.connect(tmp_path / "copied")) as target:
        source.backup(target)
    put(store, 4)
    store.flush()  # into the file that goes
    (tmp_path / "copied").replace(path)
    store.flush()
    assert [words.split(", which")[0] for words in store.problems()] == ["the usage file was replaced by another one"]
    store.enqueue(late.end())
    store.flush()
    assert query(path, SUMS) == [(3 + 2 + 4 + 1, 70, 50, 30)]
    assert query(path, "SELECT count(*) FROM requests WHERE status IS NULL") == [(0,)]
    (tmp_path / "other").replace(path)
    put(store, 5)
    store.flush()
    assert query(path, SUMS) == [(3 + 7 + 5, 105, 75, 45)]
    assert query(path, "SELECT count(*) FROM requests") == [(15,)]
    store.close()


WRITES = """
import sys, time
from server.usage.rows import UsageRow
from server.usage.store import UsageStore
store, end = UsageStore(sys.argv[1], 90), time.monotonic() + 2.5
print("open", flush=True)
while time.monotonic() < end:
    at = int(time.time() * 1000)
    store.enqueue(UsageRow(store.next_id(), at, "r", sys.argv[2], "m", "u", False, 200, "", 7, 5, 0, 0, 3, False, 1, 2))
    time.sleep(0.01)
store.close()
print(store.next_id() % 2**40 - 1)
"""


@pytest.mark.parametrize("ends", [("",), ("", "-wal", "-shm", "-runs")])
def test_several_processes_go_on_with_one_file_that_has_vanished(tmp_path: Path, ends: tuple[str, ...]) -> None:
    path = tmp_path / "u.db"
    commands = [[sys.executable, "-c", WRITES, str(path), key] for key in ("a", "b")]
    crowd = [
        subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for command in commands
    ]
    for each in crowd:
        assert each.stdout and each.stdout.readline() == "open\n"
    time.sleep(0.5)
    for end in ends:
        Path(f"{path}{end}").unlink()
    said = [each.communicate() for each in crowd]
    assert [text.count("the usage file") for _, text in said] == [1, 1], said
    counts = [int(number) for number, _ in said]
    assert query(path, "SELECT key, sum(requests), sum(cost) FROM days GROUP BY key ORDER BY key") == [
        (key, count, 3 * count) for key, count in zip("ab", counts, strict=True)
    ]
    hours = "SELECT substr(hour, 1, 10), key, model, sum(requests), sum(cost) FROM hours GROUP BY 1, 2, 3"
    assert query(path, hours) == query(path, "SELECT day, key, model, requests, cost FROM days ORDER BY 1, 2, 3")
    assert query(path, "SELECT count(*) FROM requests") == [(sum(counts),)]
