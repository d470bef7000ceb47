"""Responses kept for a while, so that a client may go on with a conversation by its id: one SQLite table, in memory or in a file.

Each belongs to the client key that asked for it: lookups name the owner, and another's id is as unknown as one that never
was. A response that is used counts as new, and so do those it goes on from; the one that was left alone for longest goes
first when there is no more room. Pins say which key and which provider an id of an upstream's belongs to; they hold no text.

A file is read and written by one thread. Memory is worked on at once.
"""

import asyncio
import os
import sqlite3
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, Final, NamedTuple, TypeVar

from dialects.responses.state import by_ident
from providers import codec, density
from providers.contract import Json

from . import logs
from .worker import Worker, done

T = TypeVar("T")
Row = tuple[str, str | None, bytes]  # of the table: id, parent, data
MEMORY: Final = "memory"
OFF: Final = "off"
LARGEST: Final = 4 * 2**20  # bytes of one response, its input included; a larger one is not kept
PINS: Final = 20_000
_AT_A_TIME: Final = 500  # ids
PIN_SECONDS: Final = 30 * 86_400.0
_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS responses (
    owner TEXT NOT NULL, id TEXT NOT NULL, parent TEXT, used REAL NOT NULL, size INTEGER NOT NULL, data BLOB NOT NULL,
    PRIMARY KEY (owner, id));
CREATE INDEX IF NOT EXISTS responses_used ON responses (used);
CREATE TABLE IF NOT EXISTS items (
    owner TEXT NOT NULL, id TEXT NOT NULL, response TEXT NOT NULL, PRIMARY KEY (owner, id)) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS items_response ON items (owner, response);
CREATE TABLE IF NOT EXISTS pins (
    id TEXT PRIMARY KEY, owner TEXT NOT NULL, provider TEXT NOT NULL, used REAL NOT NULL) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS pins_used ON pins (used);
"""


class Stored(NamedTuple):
    """One response. input: the items of its own request, each with an id; those before are its parent's."""

    id: str
    parent: str | None
    provider: str  # who answered: its name in config.yaml
    native: bool  # in the upstream's own words: the id is the upstream's
    input: list[Json]
    response: Json


class Pin(NamedTuple):
    """Whose an upstream's id is."""

    owner: str
    provider: str


class ResponsesStore:
    """The responses at `path` (memory, off, or a file). now: the clock, Unix time. Raises OSError for a file that cannot be used.

    ttl: seconds that a response is kept after it was used last; room: bytes for all of them together.
    """

    def __init__(
        self, path: str, ttl: float, room: int, now: Callable[[], float], worker: Worker | None = None
    ) -> None:
        """worker: what decodes and encodes large responses; None: the event loop."""
        self.on = path != OFF
        self._worker = worker
        self.ttl, self.room, self._now = ttl, room, now
        self._thread = None if path in (MEMORY, OFF) else ThreadPoolExecutor(1, "responses")
        try:
            self._db, self._size, self._pins = (
                _opened(path) if self._thread is None else self._thread.submit(_opened, path).result()
            )
        except (sqlite3.Error, OSError) as error:
            self.close()
            raise OSError(
                f"the file of responses {path} cannot be used: {getattr(error, 'strerror', None) or error}"
            ) from None

    def close(self) -> None:
        """Write what is waiting and close the file."""
        if self._thread is not None:
            if hasattr(self, "_db"):
                self._thread.submit(self._db.close)
            self._thread.shutdown()

    async def put(self, owner: str, stored: Stored, large: bool = False) -> bool:
        """Keep a response, and forget what there is no more room for. Return whether it was kept.

        large: it is to be encoded outside of the event loop.
        """
        values = [stored.provider, stored.native, stored.input, stored.response]
        data = await done(self._worker if large else None, partial(codec.encode, values))
        if not self.on or len(data) > min(LARGEST, self.room):
            return False
        items = [*by_ident((*stored.input, *stored.response["output"]))]
        return await self._run(self._put, owner, stored.id, stored.parent, data, items) is not None

    async def get(self, owner: str, ident: str) -> Stored | None:
        """Return a response; None where this owner has none of this id. It counts as used, and so do its ancestors."""
        chain = await self._run(self._chain, owner, ident, False)
        return (await self._all_decoded(chain))[0] if chain else None

    async def chain(self, owner: str, ident: str) -> list[Stored] | None:
        """Return a response behind all that it goes on from, oldest first; None where any of them is gone."""
        chain = await self._run(self._chain, owner, ident, True)
        return await self._all_decoded(chain[::-1]) if chain else None

    async def _all_decoded(self, rows: Sequence[Row]) -> list[Stored]:
        """Return what rows hold; many bytes are decoded outside of the event loop."""
        large = sum([len(row[2]) for row in rows]) > density.SMALL
        return await done(self._worker if large else None, lambda: [_decoded(row) for row in rows])

    async def delete(self, owner: str, ident: str) -> bool:
        """Forget a response. Return whether there was one."""
        return bool(await self._run(self._delete, owner, ident))

    async def items(self, owner: str, idents: Iterable[str]) -> dict[str, Json]:
        """Return those of these items that are part of a response of this owner, by id. The responses count as used."""
        once = dict.fromkeys(idents)
        found: dict[str, Json] = {}
        used: set[str] = set()
        for some in _in_turns(once):
            for response in (
                await self._run(self._responses_of, owner, [each for each in some if each not in found]) or ()
            ):
                for stored in await self._all_decoded(await self._run(self._used, owner, response, used) or ()):
                    for item in (*stored.input, *stored.response["output"]):
                        if isinstance(item, dict) and isinstance(ident := item.get("id"), str) and ident in once:
                            found[ident] = item
                await asyncio.sleep(0)
            await asyncio.sleep(0)
        return found

    async def pin(self, owner: str, provider: str, idents: Sequence[str]) -> None:
        """Note that these ids belong to this owner at this provider."""
        await self._run(self._pin, owner, provider, idents)

    async def pinned(self, idents: Sequence[str]) -> dict[str, Pin]:
        """Return whose these ids are, where that is known."""
        found: dict[str, Pin] = {}
        for some in _in_turns(idents):
            found |= await self._run(self._pinned, some) or {}
            await asyncio.sleep(0)
        return found

    async def unpin(self, ident: str) -> None:
        """Forget whose this id is."""
        await self._run(self._unpin, ident)

    async def _run(self, work: Callable[..., T], *arguments: Any) -> T | None:
        """Return what `work` returns; None, and a line in the log, where the file cannot be used: then nothing is known."""
        if self._thread is None:
            return work(*arguments)
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, work, *arguments)
        except sqlite3.Error as error:
            logs.LOGGER.warning("the file of responses cannot be used: %s", error)
            return None

    # In the store's thread, where there is one

    def _put(self, owner: str, ident: str, parent: str | None, data: bytes, items: list[str]) -> bool:
        now, before = self._now(), self._size
        try:
            self._write(owner, ident, parent, data, items, now)
        except sqlite3.Error:
            self._size = before
            raise
        return True

    def _write(self, owner: str, ident: str, parent: str | None, data: bytes, items: list[str], now: float) -> None:
        with self._db:
            self._forget(owner, ident)
            self._db.execute(
                "INSERT INTO responses VALUES (?, ?, ?, ?, ?, ?)", (owner, ident, parent, now, len(data), data)
            )
            self._db.executemany(
                "INSERT OR REPLACE INTO items VALUES (?, ?, ?)", [(owner, each, ident) for each in items]
            )
            self._size += len(data)
            self._touch(owner, parent, now, set())
            self._expire(now)
            while self._size > self.room:
                oldest = self._db.execute(
                    "SELECT owner, id FROM responses WHERE NOT (owner = ? AND id = ?) ORDER BY used, rowid LIMIT 1",
                    (owner, ident),
                ).fetchone()
                self._forget(*oldest)

    def _expire(self, now: float) -> None:
        for row in self._db.execute("SELECT owner, id FROM responses WHERE used <= ?", (now - self.ttl,)).fetchall():
            self._forget(*row)

    def _chain(self, owner: str, ident: str, whole: bool) -> list[Row]:
        """Return the rows of a response and, where they are asked for, those it goes on from; none where one is gone."""
        now = self._now()
        rows: list[Row] = []
        seen: set[str] = set()  # an upstream may use an id again
        at: str | None = ident
        with self._db:
            self._expire(now)
            while at is not None and at not in seen:
                seen.add(at)
                query = "SELECT id, parent, data FROM responses WHERE owner = ? AND id = ?"
                row = self._db.execute(query, (owner, at)).fetchone()
                if row is None:
                    return [] if whole else rows
                rows.append(row)
                at = row[1] if whole else None
            self._touch(owner, ident, now, set())
        return rows

    def _touch(self, owner: str, ident: str | None, now: float, used: set[str]) -> None:
        """Count a response and all that it goes on from as used now, up to one of `used`. Adds them to it."""
        while ident is not None and ident not in used:
            used.add(ident)
            self._db.execute("UPDATE responses SET used = ? WHERE owner = ? AND id = ?", (now, owner, ident))
            row = self._db.execute("SELECT parent FROM responses WHERE owner = ? AND id = ?", (owner, ident)).fetchone()
            ident = row[0] if row else None

    def _delete(self, owner: str, ident: str) -> int:
        with self._db:
            self._expire(self._now())
            return self._forget(owner, ident)

    def _forget(self, owner: str, ident: str) -> int:
        row = self._db.execute("SELECT size FROM responses WHERE owner = ? AND id = ?", (owner, ident)).fetchone()
        if row is None:
            return 0
        self._size -= row[0]
        self._db.execute("DELETE FROM items WHERE owner = ? AND response = ?", (owner, ident))
        return self._db.execute("DELETE FROM responses WHERE owner = ? AND id = ?", (owner, ident)).rowcount

    def _responses_of(self, owner: str, idents: Sequence[str]) -> list[str]:
        """Return the responses that these items are part of."""
        with self._db:
            self._expire(self._now())
        query = "SELECT DISTINCT response FROM json_each(?) CROSS JOIN items ON owner = ? AND items.id = value"
        return [row[0] for row in self._db.execute(query, (codec.encode_text(idents), owner))]

    def _used(self, owner: str, ident: str, used: set[str]) -> list[Row]:
        """Return the row of a response, which counts as used. used: those that have been counted."""
        with self._db:
            self._touch(owner, ident, self._now(), used)
        query = "SELECT id, parent, data FROM responses WHERE owner = ? AND id = ?"
        return self._db.execute(query, (owner, ident)).fetchall()

    def _pin(self, owner: str, provider: str, idents: Sequence[str]) -> None:
        now = self._now()
        with self._db:
            rows = [(ident, owner, provider, now) for ident in idents]
            self._db.executemany("INSERT OR REPLACE INTO pins VALUES (?, ?, ?, ?)", rows)
            self._pins += len(rows)  # at most: some may have been known
            if self._pins > PINS:
                oldest = "DELETE FROM pins WHERE id IN (SELECT id FROM pins ORDER BY used DESC LIMIT -1 OFFSET ?)"
                self._db.execute(oldest, (PINS * 9 // 10,))
                self._pins = self._db.execute("SELECT count(*) FROM pins").fetchone()[0]

    def _unpin(self, ident: str) -> None:
        with self._db:
            self._db.execute("DELETE FROM pins WHERE id = ?", (ident,))

    def _pinned(self, idents: Sequence[str]) -> dict[str, Pin]:
        now = self._now()
        with self._db:
            query = "SELECT id, owner, provider FROM pins WHERE used > ? AND id IN (SELECT value FROM json_each(?))"
            rows = self._db.execute(query, (now - PIN_SECONDS, codec.encode_text(idents))).fetchall()
            self._db.executemany("UPDATE pins SET used = ? WHERE id = ?", [(now, row[0]) for row in rows])
        return {ident: Pin(owner, provider) for ident, owner, provider in rows}


def _in_turns(idents: Iterable[str]) -> list[list[str]]:
    """Return these ids, each once, in groups that are looked up at a time: between them the event loop gets its turn."""
    once = [*dict.fromkeys(idents)]
    return [once[at : at + _AT_A_TIME] for at in range(0, len(once), _AT_A_TIME)]


def _opened(path: str) -> tuple[sqlite3.Connection, int, int]:
    """Return a connection to the table, the bytes in it and the pins."""
    if path in (MEMORY, OFF):
        connection = sqlite3.connect(":memory:", check_same_thread=False)
    else:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
        connection = sqlite3.connect(path)
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=NORMAL")
    connection.executescript(_SCHEMA)
    size, pins = connection.execute(
        "SELECT (SELECT coalesce(sum(size), 0) FROM responses), (SELECT count(*) FROM pins)"
    ).fetchone()
    return connection, size, pins


def _decoded(row: Row) -> Stored:
    ident, parent, data = row
    provider, native, given, response = codec.decode(data)
    return Stored(ident, parent, provider, native, given, response)
