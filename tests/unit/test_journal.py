from __future__ import annotations

import sqlite3
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

from index.journal import JOURNAL, Change, Journal, JournalError
from model.catalog import Product

POINT = np.arange(4, dtype=np.float32)


def upsert(i, *, title="a title"):
    product = Product(f"p{i}", f"{title} {i}", price=1.5, attributes={"kit": True, "volts": 18.0, "colour": "größe"})
    return Change(product.product_id, product, POINT + i)


def delete(i):
    return Change(f"p{i}", None)


@pytest.fixture
def journal(tmp_path):
    with Journal(tmp_path / JOURNAL) as opened:
        yield opened


def same(entry, change):
    assert (entry.change.product_id, entry.change.product) == (change.product_id, change.product)
    if change.point is None:
        assert entry.change.point is None
    else:
        np.testing.assert_array_equal(entry.change.point, change.point)


def test_changes_come_back_as_they_were_in_their_order(journal):
    changes = [upsert(1), delete(2), upsert(3, title="another")]
    before = time.time()
    assert journal.append(changes[:2], model="m1") == 2
    assert journal.append(changes[2:], model="m2") == 3
    entries = journal.since(0)
    assert [entry.sequence for entry in entries] == [1, 2, 3]
    assert [entry.model for entry in entries] == ["m1", None, "m2"]
    for entry, change in zip(entries, changes, strict=True):
        same(entry, change)
        assert before <= entry.changed <= time.time()
    assert [entry.sequence for entry in journal.since(2)] == [3]
    assert journal.last() == 3


def test_another_process_sees_what_was_acknowledged_and_the_version_tells_it(journal, tmp_path):
    with Journal(tmp_path / JOURNAL) as other:
        assert other.id == journal.id
        before = other.version()
        assert other.version() == before
        journal.append([upsert(1)], model="m")
        assert other.version() != before
        same(other.since(0)[0], upsert(1))


def test_of_several_changes_of_a_product_the_last_counts(journal):
    journal.append([upsert(1), upsert(2), delete(1)], model="m")
    journal.append([upsert(2, title="newer"), upsert(3)], model="m")
    entries = journal.since(0)
    assert [entry.sequence for entry in entries] == [3, 4, 5]
    same(entries[0], delete(1))
    same(entries[1], upsert(2, title="newer"))


def test_an_empty_change_is_none(journal):
    assert journal.since(0) == []
    assert journal.last() == 0


def test_pruned_changes_are_gone_with_their_points_and_numbers_go_on(journal, tmp_path):
    journal.append([upsert(i) for i in range(5)], model="m")
    assert journal.prune(5, before=1.0) == 0
    assert journal.prune(3, before=time.time()) == 3
    assert [entry.sequence for entry in journal.since(0)] == [4, 5]
    assert journal.prune(5, before=time.time()) == 2
    assert journal.pruned_before() == pytest.approx(time.time(), abs=60)
    assert journal.last() == 5
    assert journal.append([upsert(9)], model="m") == 6
    with sqlite3.connect(tmp_path / JOURNAL) as raw:
        assert raw.execute("SELECT count(*) FROM points").fetchone() == (1,)


def test_points_of_another_model_replace_those_of_the_first(journal):
    journal.append([upsert(1), delete(2), upsert(3)], model="m1")
    journal.replace_points([(1, POINT * 2), (3, POINT * 3), (77, POINT)], model="m2")
    entries = journal.since(0)
    assert [entry.model for entry in entries] == ["m2", None, "m2"]
    np.testing.assert_array_equal(entries[2].change.point, POINT * 3)


def test_all_changes_of_a_call_are_written_or_none(journal):
    spoilt = Change("p2", Product("p2", "x", attributes={"a": float}))  # type: ignore[dict-item]
    with pytest.raises(TypeError):
        journal.append([upsert(1), spoilt], model="m")
    assert journal.since(0) == []
    assert journal.append([upsert(1)], model="m") == 1


def test_a_thread_whose_change_fails_does_not_take_others_with_it(journal, monkeypatch):
    write = Journal._write

    def fails(self, group):
        if any(change.product_id == "p13" for one in group for change in one.rows):
            raise sqlite3.OperationalError("disk is full")
        write(self, group)

    monkeypatch.setattr(Journal, "_write", fails)
    failed = []

    def bring(i):
        try:
            journal.append([upsert(i)], model="m")
        except sqlite3.OperationalError:
            failed.append(i)

    threads = [threading.Thread(target=bring, args=(i,)) for i in range(30)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == [13]
    assert {entry.change.product_id for entry in journal.since(0)} == {f"p{i}" for i in range(30)} - {"p13"}


def test_threads_that_wait_share_a_commit(journal, monkeypatch):
    commits = []
    write = Journal._write
    gate = threading.Event()

    def slow(self, group):
        assert gate.wait(timeout=10)
        commits.append(len(group))
        write(self, group)

    monkeypatch.setattr(Journal, "_write", slow)
    threads = [threading.Thread(target=lambda i=i: journal.append([upsert(i)], model="m")) for i in range(20)]
    for thread in threads:
        thread.start()
    while len(journal._waiting) < 19:
        time.sleep(0.001)
    gate.set()
    for thread in threads:
        thread.join()
    assert commits == [1, 19]
    assert len(journal.since(0)) == 20


def test_two_processes_write_at_once_and_lose_nothing(tmp_path):
    script = (
        "import sys; from pathlib import Path; from index.journal import *\n"
        "with Journal(Path(sys.argv[1])) as journal:\n"
        "    for i in range(40): journal.append([Change(f'{sys.argv[2]}{i}', None)], model='m')\n"
    )
    command = [sys.executable, "-c", script, str(tmp_path / JOURNAL)]
    writers = [subprocess.Popen([*command, name]) for name in "ab"]
    assert [writer.wait(timeout=60) for writer in writers] == [0, 0]
    with Journal(tmp_path / JOURNAL) as journal:
        found = [entry.change.product_id for entry in journal.since(0)]
    assert sorted(found) == sorted(f"{name}{i}" for name in "ab" for i in range(40))
    for name in "ab":
        assert [one for one in found if one.startswith(name)] == [f"{name}{i}" for i in range(40)]


def test_a_file_of_another_kind_is_refused_and_kept(tmp_path):
    path = tmp_path / JOURNAL
    path.write_bytes(b"not a database at all" * 100)
    with pytest.raises(JournalError, match="is not a journal that can be read"):
        Journal(path)
    assert path.read_bytes() == b"not a database at all" * 100


def test_another_format_is_refused(tmp_path):
    path = tmp_path / JOURNAL
    Journal(path).close()
    with sqlite3.connect(path) as raw:
        raw.execute("PRAGMA user_version = 9")
    raw.close()
    with pytest.raises(JournalError, match="has the format 9, this release reads 1"):
        Journal(path)


def test_what_a_process_remembers_is_what_the_journal_holds(journal, tmp_path, monkeypatch):
    """Own changes are not read back; whoever else writes or prunes, the answer is that of one who reads them all."""
    monkeypatch.setattr("index.journal._RECENT", 6)
    with Journal(tmp_path / JOURNAL) as other, Journal(tmp_path / JOURNAL) as reader:

        def check():
            for after in range(journal.last() + 2):
                for most in (None, 2):
                    mine, read = journal.since(after, most=most), reader.since(after, most=most)
                    assert [one.sequence for one in mine] == [one.sequence for one in read]
                    for one, same_one in zip(mine, read, strict=True):
                        same(one, same_one.change)
                        assert (one.model, one.changed) == (same_one.model, same_one.changed)

        for step in range(6):
            journal.append([upsert(step), delete(step + 1), upsert(2, title=f"title {step}")], model=f"m{step}")
            check()
            if step == 2:
                other.append([upsert(9), delete(1)], model="other")
                check()
        other.prune(17, before=time.time())
        check()
        journal.replace_points([(20, POINT * 2)], model="newer")
        check()


def test_what_was_just_written_is_not_read_back(journal, monkeypatch):
    journal.append([upsert(1), delete(2)], model="m")
    monkeypatch.setattr("index.journal._entry", lambda _: pytest.fail("read back"))
    assert [entry.sequence for entry in journal.since(0)] == [1, 2]
    assert [entry.sequence for entry in journal.since(1)] == [2]


def test_more_changes_than_a_statement_takes_keep_their_points(journal, tmp_path):
    changes = [delete(i) if i % 7 == 0 else upsert(i) for i in range(300)]
    assert journal.append(changes, model="m") == 300
    with Journal(tmp_path / JOURNAL) as other:
        entries = other.since(0)
    assert [entry.sequence for entry in entries] == list(range(1, 301))
    for entry, change in zip(entries, changes, strict=True):
        same(entry, change)


def test_a_file_that_others_are_just_making_is_tried_again(tmp_path, monkeypatch):
    """SQLite does not wait where waiting for each other would last for ever; it says so to one of the two at once."""

    class Busy(sqlite3.Connection):
        refusals = 3

        def execute(self, statement, *values):
            if statement.startswith("PRAGMA journal_mode") and Busy.refusals:
                Busy.refusals -= 1
                error = sqlite3.OperationalError("database is locked")
                error.sqlite_errorcode = sqlite3.SQLITE_BUSY
                raise error
            return super().execute(statement, *values)

    connect = sqlite3.connect
    monkeypatch.setattr(sqlite3, "connect", lambda path, **options: connect(path, factory=Busy, **options))
    with Journal(tmp_path / JOURNAL) as journal:
        assert journal.last() == 0
    assert Busy.refusals == 0


def test_a_file_that_stays_locked_is_given_up_in_time(tmp_path, monkeypatch):
    monkeypatch.setattr("index.journal._BUSY_SECONDS", 0.2)
    other = sqlite3.connect(tmp_path / JOURNAL, isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    with pytest.raises(OSError, match="database is locked"):
        Journal(tmp_path / JOURNAL)
    other.close()


class Failing:
    """A connection whose next COMMIT fails as on a full disk; ``ended`` says whether SQLite rolled back by itself."""

    def __init__(self, connection, *, ended):
        self._connection = connection
        self._ended = ended
        self._failing = True

    def __getattr__(self, name):
        return getattr(self._connection, name)

    def execute(self, statement, *values):
        if statement == "COMMIT" and self._failing:
            self._failing = False
            if self._ended:
                self._connection.execute("ROLLBACK")
            raise sqlite3.OperationalError("database or disk is full")
        return self._connection.execute(statement, *values)


@pytest.mark.parametrize("ended", [False, True])
def test_a_commit_that_fails_is_told_and_the_next_change_is_kept(journal, ended):
    journal._writer = Failing(journal._writer, ended=ended)
    with pytest.raises(sqlite3.OperationalError, match="disk is full"):
        journal.append([upsert(1)], model="m")
    journal.append([upsert(2)], model="m")
    assert [entry.change.product_id for entry in journal.since(0)] == ["p2"]
