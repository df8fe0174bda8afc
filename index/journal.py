"""The journal: every change of a product since the catalogue was read, on disk before it is acknowledged.

A SQLite file in WAL mode with full sync beside the snapshots. Changes are numbered in the order in which they were
committed. Changes that several threads bring at the same time share a commit, and so a sync of the disk. Each change of
a product carries its point, with the version of the encoder bundle it was encoded by.
"""

from __future__ import annotations

import sqlite3
import threading
import time
import uuid
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, Self

import numpy as np
import orjson

from model.catalog import Product

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

JOURNAL = "journal.sqlite"
FORMAT = 1

_BUSY_SECONDS = 10.0
_RETRY_SECONDS = 0.01
_SCHEMA = """
CREATE TABLE identity (id TEXT NOT NULL, pruned_before REAL NOT NULL DEFAULT 0);
CREATE TABLE changes (
    sequence INTEGER PRIMARY KEY AUTOINCREMENT,
    product_id TEXT NOT NULL,
    product BLOB,
    changed REAL NOT NULL
);
CREATE INDEX changes_of_product ON changes (product_id, sequence);
CREATE TABLE points (
    sequence INTEGER PRIMARY KEY REFERENCES changes ON DELETE CASCADE,
    model TEXT NOT NULL,
    point BLOB NOT NULL
);
"""
_ENTRIES = """
SELECT changes.sequence, product_id, product, changed, model, point
FROM changes LEFT JOIN points ON points.sequence = changes.sequence
WHERE changes.sequence > :after AND changes.sequence <= :last AND NOT EXISTS (
    SELECT 1 FROM changes AS later
    WHERE later.product_id = changes.product_id AND later.sequence > changes.sequence AND later.sequence <= :last
)
ORDER BY changes.sequence LIMIT :most
"""
_INSERT_CHANGES = "INSERT INTO changes (product_id, product, changed) VALUES "
_INSERT_POINTS = "INSERT INTO points (sequence, model, point) VALUES "
_ROWS_A_STATEMENT = 128
_RECENT = 4096
"""How many changes of its own a process remembers, so that it need not read them back."""


class JournalError(ValueError):
    """A file that is not a usable journal."""


@dataclass(frozen=True, slots=True)
class Change:
    """What is to become of one product: it is stored as ``product`` with its ``point`` (d), or deleted if None."""

    product_id: str
    product: Product | None
    point: NDArray[np.float32] | None = None


@dataclass(frozen=True, slots=True)
class Entry:
    """A change as it was committed: its number, when it came (Unix seconds), and the bundle that made its point."""

    sequence: int
    change: Change
    changed: float
    model: str | None


class _Row(NamedTuple):
    """A change as the tables hold it."""

    product_id: str
    product: bytes | None
    point: bytes | None
    model: str


@dataclass(slots=True)
class _Waiting:
    """Changes that wait for a commit, and what became of them."""

    changes: Sequence[Change]
    rows: Sequence[_Row]
    model: str
    last: int = 0
    error: Exception | None = None
    done: bool = False


class Journal:
    """Changes in the file ``path``, which is made if it is not there; safe to use from several threads and processes.

    Raises:
        JournalError: the file is another kind of file, or of another format.
        OSError: it cannot be made, or not be written to.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._waiting: list[_Waiting] = []
        self._queue = threading.Lock()
        self._committing = threading.Lock()
        self._reading = threading.Lock()
        self._recent: tuple[Entry, ...] = ()
        try:
            self._writer = _connect(path)
            self._reader = _connect(path)
            _prepare(self._writer, path)
            (self.id,) = self._reader.execute("SELECT id FROM identity").fetchone()
        except sqlite3.OperationalError as error:
            raise OSError(f"{path} cannot be opened for writing: {error}") from error
        except sqlite3.DatabaseError as error:
            raise JournalError(f"{path} is not a journal that can be read: {error}") from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def append(self, changes: Sequence[Change], *, model: str) -> int:
        """Commit ``changes``, all or none, and return the number of the last; ``model`` made their points.

        When it returns, the changes are on disk. Of several threads that wait, one commits for all.

        Raises:
            sqlite3.Error: they could not be written, as on a full disk; none of them was.
        """
        mine = _Waiting(changes, [_row(change, model) for change in changes], model)
        with self._queue:
            self._waiting.append(mine)
        with self._committing:
            if not mine.done:
                with self._queue:
                    group, self._waiting = self._waiting, []
                self._commit(group)
        if mine.error is not None:
            raise mine.error
        return mine.last

    def since(self, sequence: int, *, upto: int | None = None, most: int | None = None) -> list[Entry]:
        """The last change of each product after ``sequence``, and not after ``upto``, in their order.

        Not more than the first ``most`` of them, if that is given.
        """
        with self._read() as reader:
            last = self._last(reader) if upto is None else upto
            recent = self._remembered(sequence, last)
            # another process may have pruned what is remembered here
            if recent is not None and self._first(reader) <= sequence + 1:
                return recent[:most]
            asked = {"after": sequence, "last": last, "most": -1 if most is None else most}
            return [_entry(row) for row in reader.execute(_ENTRIES, asked)]

    def last(self) -> int:
        """The number of the last change, 0 if there was none."""
        with self._read() as reader:
            return self._last(reader)

    def first_after(self, sequence: int) -> float | None:
        """When the first change after ``sequence`` came, in Unix seconds; None if none did."""
        with self._read() as reader:
            found = reader.execute(
                "SELECT changed FROM changes WHERE sequence > ? ORDER BY sequence LIMIT 1", (sequence,)
            ).fetchone()
            return None if found is None else float(found[0])

    def go_on_after(self, sequence: int) -> None:
        """Number the changes that come next from ``sequence`` on, if there are not as many yet."""
        with self._committing, self._transaction():
            known = self._writer.execute(
                "UPDATE sqlite_sequence SET seq = max(seq, ?) WHERE name = 'changes'", (sequence,)
            )
            if not known.rowcount:
                self._writer.execute("INSERT INTO sqlite_sequence (name, seq) VALUES ('changes', ?)", (sequence,))

    def version(self) -> int:
        """A number that changes when the journal has: much cheaper to ask for than the changes."""
        with self._read() as reader:
            (version,) = reader.execute("PRAGMA data_version").fetchone()
            return int(version)

    def replace_points(self, points: Sequence[tuple[int, NDArray[np.float32]]], *, model: str) -> None:
        """Store the points that ``model`` gives the products of these changes, for whoever replays them next."""
        rows = [(sequence, model, _stored(point)) for sequence, point in points]
        with self._committing, self._transaction():
            self._recent = ()
            self._writer.executemany(
                "INSERT OR REPLACE INTO points SELECT ?, ?, ? WHERE EXISTS (SELECT 1 FROM changes WHERE sequence = ?)",
                [(*row, row[0]) for row in rows],
            )

    def prune(self, sequence: int, *, before: float) -> int:
        """Forget the changes up to ``sequence`` that came before a moment; return how many they were."""
        with self._committing, self._transaction():
            self._recent = ()
            self._writer.execute("UPDATE identity SET pruned_before = max(pruned_before, ?)", (before,))
            forgotten = self._writer.execute(
                "DELETE FROM changes WHERE sequence <= ? AND changed <= ?", (sequence, before)
            )
            return forgotten.rowcount

    def pruned_before(self) -> float:
        """The moment before which changes may have been forgotten, in Unix seconds."""
        with self._read() as reader:
            (before,) = reader.execute("SELECT pruned_before FROM identity").fetchone()
            return float(before)

    def close(self) -> None:
        """Close the file; nothing may be asked after."""
        self._writer.close()
        self._reader.close()

    def _commit(self, group: Sequence[_Waiting]) -> None:
        """Write a group in one transaction; if that fails, each by itself, so that each gets its own fate."""
        try:
            self._write(group)
        except Exception as error:  # noqa: BLE001 - whatever it was, whoever waits must hear of it
            if len(group) > 1:
                for one in group:
                    self._commit([one])
            else:
                group[0].error = error
        for one in group:
            one.done = True

    def _write(self, group: Sequence[_Waiting]) -> None:
        now = time.time()
        with self._transaction():
            for one in group:
                for start in range(0, len(one.rows), _ROWS_A_STATEMENT):
                    one.last = self._insert(one.rows[start : start + _ROWS_A_STATEMENT], now)
        for one in group:
            self._remember(one, now)

    def _insert(self, rows: Sequence[_Row], now: float) -> int:
        """Insert ``rows`` by two statements, as each costs two turns at the interpreter; the number of the last."""
        inserted = self._writer.execute(
            _INSERT_CHANGES + _rows_of_three(len(rows)),
            [value for row in rows for value in (row.product_id, row.product, now)],
        )
        last = inserted.lastrowid
        assert last is not None
        # in one transaction numbers follow each other
        numbered = enumerate(rows, start=last - len(rows) + 1)
        points = [(sequence, row.model, row.point) for sequence, row in numbered if row.point is not None]
        if points:
            self._writer.execute(
                _INSERT_POINTS + _rows_of_three(len(points)), [value for point in points for value in point]
            )
        return last

    def _remember(self, written: _Waiting, now: float) -> None:
        """Keep what was just written, as long as no other process wrote in between; the oldest are forgotten."""
        first = written.last - len(written.changes) + 1
        entries = tuple(
            Entry(sequence, change, now, None if change.point is None else written.model)
            for sequence, change in enumerate(written.changes, start=first)
        )
        follows = bool(self._recent) and self._recent[-1].sequence == first - 1
        self._recent = (*self._recent, *entries)[-_RECENT:] if follows else entries[-_RECENT:]

    def _remembered(self, after: int, last: int) -> list[Entry] | None:
        """What :meth:`since` finds, if this process wrote all of it and remembers; else None."""
        recent = self._recent  # replaced whole, never changed
        if not recent or not recent[0].sequence - 1 <= after <= last <= recent[-1].sequence:
            return None
        first = recent[0].sequence
        found = recent[after + 1 - first : last + 1 - first]
        later = {entry.change.product_id: entry for entry in found}
        return list(found) if len(later) == len(found) else sorted(later.values(), key=lambda entry: entry.sequence)

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        # immediate: two processes that write wait for each other at the beginning and not half-way
        self._writer.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._writer.execute("COMMIT")
        finally:
            if self._writer.in_transaction:  # SQLite ends some that fail by itself, such as on a full disk
                self._writer.execute("ROLLBACK")

    @contextmanager
    def _read(self) -> Iterator[sqlite3.Connection]:
        with self._reading:
            yield self._reader

    @staticmethod
    def _first(reader: sqlite3.Connection) -> int:
        """The number of the first change that is left, or 0."""
        (first,) = reader.execute("SELECT coalesce(min(sequence), 0) FROM changes").fetchone()
        return int(first)

    @staticmethod
    def _last(reader: sqlite3.Connection) -> int:
        # not the largest that is left: numbers go on where they were after all changes were pruned
        found = reader.execute("SELECT seq FROM sqlite_sequence WHERE name = 'changes'").fetchone()
        return 0 if found is None else int(found[0])


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False)
    _switch_to_wal(connection)
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA foreign_keys = ON")
    return connection


def _switch_to_wal(connection: sqlite3.Connection) -> None:
    """Switch, and again while others do the same: SQLite does not wait where two would wait for each other."""
    deadline = time.monotonic() + _BUSY_SECONDS
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
            time.sleep(_RETRY_SECONDS)
        else:
            return


def _prepare(connection: sqlite3.Connection, path: Path) -> None:
    """Make the tables of a new file; refuse those of another format."""
    connection.execute("BEGIN IMMEDIATE")
    (found,) = connection.execute("PRAGMA user_version").fetchone()
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    if found == 0 and tables == 0:
        for statement in _SCHEMA.split(";"):
            connection.execute(statement)
        connection.execute("INSERT INTO identity (id) VALUES (?)", (uuid.uuid4().hex,))
        connection.execute(f"PRAGMA user_version = {FORMAT}")
    connection.execute("COMMIT")
    if found not in (0, FORMAT) or (found == 0 and tables):
        raise JournalError(f"{path} has the format {found}, this release reads {FORMAT}")


def _row(change: Change, model: str) -> _Row:
    product = None if change.product is None else orjson.dumps(change.product, default=dict)
    return _Row(change.product_id, product, None if change.point is None else _stored(change.point), model)


def _rows_of_three(count: int) -> str:
    """The places of that many rows of three values."""
    return ", ".join(["(?, ?, ?)"] * count)


def _stored(point: NDArray[np.float32]) -> bytes:
    return point.astype("<f4").tobytes()


def _entry(row: tuple[int, str, bytes | None, float, str | None, bytes | None]) -> Entry:
    sequence, product_id, product, changed, model, point = row
    change = Change(
        product_id,
        None if product is None else Product(**orjson.loads(product)),
        None if point is None else np.frombuffer(point, dtype="<f4"),
    )
    return Entry(sequence, change, changed, model)
