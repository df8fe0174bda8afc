"""From the journal to the searcher: what is acknowledged is shown, folded in by the next build, and never lost."""

from __future__ import annotations

import gc
import json
import os
import sqlite3
import time
import weakref

import numpy as np
import pytest
from fakes import shop_titles, write_bundle

from index.build import BuildError, build
from index.changes import Changes, UnsuitableProductError
from index.journal import JOURNAL, Change, Journal
from index.root import current, prune
from index.search import Searcher, UnknownProductError
from model.catalog import Product
from model.runtime import EmptyTextError

TITLES = shop_titles(200, seed=9)


class Root:
    """An index root with a catalogue of the first 100 products."""

    def __init__(self, directory):
        self.directory = directory
        self.path = directory / "index"
        self.model("model", seed=0)
        self.catalog = directory / "catalog.jsonl"
        self.catalog.write_text("\n".join(json.dumps({"product_id": f"p{i}", "title": TITLES[i]}) for i in range(100)))
        os.utime(self.catalog, (time.time() - 3600, time.time() - 3600))
        self.build()

    def model(self, name, *, seed):
        return write_bundle(self.directory / name, TITLES, seed=seed)

    def build(self, model="model", **options):
        return build(bundle_dir=self.directory / model, catalog=self.catalog, root=self.path, **options)

    def open(self):
        searcher = Searcher.open(current(self.path))
        changes = Changes(searcher, Journal(self.path / JOURNAL))
        changes.catch_up()
        return searcher, changes


@pytest.fixture
def root(tmp_path):
    return Root(tmp_path)


def ids(searcher):
    return {hit.product.product_id for hit in searcher.search("drill", mode="hyperboloid", limit=1000).hits}


def store(changes, *products):
    sequence = changes.store(products)
    changes.catch_up()
    return sequence


NEW = Product("new", "quixotic gizmo", price=3.0)


def test_what_one_searcher_stored_another_shows_after_catching_up(root):
    searcher, changes = root.open()
    other, others = root.open()
    store(changes, NEW)
    changes.delete(["p7"])
    assert changes.catch_up() == 1
    assert others.catch_up() == 2
    assert others.catch_up() == 0
    for one in (searcher, other):
        assert one.find("new")[0] == NEW
        assert "p7" not in ids(one)
        assert one.size == 100
    np.testing.assert_array_equal(searcher.find("new")[1], other.find("new")[1])


def test_what_was_stored_is_there_after_a_restart(root):
    _, changes = root.open()
    store(changes, NEW)
    changes.delete(["p7"])
    again, _ = root.open()
    assert again.find("new")[0] == NEW
    assert "p7" not in ids(again)


def test_a_build_folds_in_what_is_newer_than_the_catalogue_and_leaves_what_came_later(root):
    _, changes = root.open()
    store(changes, NEW, Product("p3", "another title for three"))
    changes.delete(["p7"])
    report = root.build()
    assert (report.folded, report.products) == (3, 100)
    changes.store([Product("later", "came after the build")])
    searcher, after = root.open()
    assert searcher.snapshot.documents.row("new") is not None
    assert searcher.snapshot.documents.row("p7") is None
    assert searcher.snapshot.documents.row("later") is None
    assert {"new", "later"} <= ids(searcher)
    assert searcher.find("p3")[0].title == "another title for three"
    assert after.shown == 4


def test_a_catalogue_newer_than_the_changes_wins(root):
    _, changes = root.open()
    store(changes, NEW, Product("p3", "another title for three"))
    report = root.build(as_of=time.time() + 1)
    assert report.folded == 0
    searcher, _ = root.open()
    assert ids(searcher) == {f"p{i}" for i in range(100)}
    assert searcher.find("p3")[0].title == TITLES[3]


def test_going_back_to_an_older_snapshot_shows_all_that_came_after_it(root):
    first = current(root.path)
    _, changes = root.open()
    store(changes, NEW)
    root.build(as_of=time.time() + 1)
    with Journal(root.path / JOURNAL) as journal:
        old = Searcher.open(first)
        Changes(old, journal).catch_up()
        assert old.find("new")[0] == NEW


def test_a_catalogue_older_than_what_was_pruned_is_refused(root):
    _, changes = root.open()
    store(changes, NEW)
    root.build(as_of=time.time() + 1)
    prune(root.path, keep=1)
    with pytest.raises(BuildError, match=r"live changes until .* were pruned: give a newer catalogue"):
        root.build()
    assert root.build(as_of=time.time() + 2).products == 100


def test_another_model_encodes_the_changes_again_and_the_journal_keeps_that(root):
    searcher, changes = root.open()
    store(changes, NEW)
    root.model("other", seed=5)
    root.build("other", as_of=0.0)
    changes.store([Product("later", "cordless drill")])  # by the old model, after the build
    other, _ = root.open()
    assert other.model_version != searcher.model_version
    expected = other.channels.encoder.encode_products(["cordless drill"])[0]
    np.testing.assert_allclose(other.find("later")[1], expected, rtol=1e-6)
    with Journal(root.path / JOURNAL) as journal:
        (entry,) = journal.since(1)
        assert entry.model == other.model_version


def test_the_changes_of_a_lost_journal_are_not_taken_for_those_of_a_new_one(root):
    _, changes = root.open()
    store(changes, *(Product(f"n{i}", "gizmo") for i in range(5)))
    root.build()
    for name in (JOURNAL, f"{JOURNAL}-wal", f"{JOURNAL}-shm"):
        (root.path / name).unlink(missing_ok=True)
    searcher, new = root.open()
    store(new, NEW)
    assert new.shown == 1
    assert searcher.find("new")[0] == NEW
    assert searcher.find("n3")[0].title == "gizmo"


def test_a_journal_put_back_as_it_was_before_the_snapshot_shows_what_comes_after(root):
    _, changes = root.open()
    store(changes, Product("kept", "gizmo"))
    with Journal(root.path / JOURNAL) as journal, sqlite3.connect(root.directory / "backup.sqlite") as backup:
        journal._reader.backup(backup)
    store(changes, *(Product(f"n{i}", "gizmo") for i in range(5)))
    root.build(as_of=0.0)
    for name in (JOURNAL, f"{JOURNAL}-wal", f"{JOURNAL}-shm"):
        (root.path / name).unlink(missing_ok=True)
    (root.directory / "backup.sqlite").rename(root.path / JOURNAL)
    searcher, again = root.open()
    assert store(again, NEW) == 7
    assert searcher.find("new")[0] == NEW
    assert root.open()[0].find("new")[0] == NEW  # also after a restart


def test_a_journal_whose_changes_were_all_lost_goes_on_after_the_snapshot(tmp_path):
    with Journal(tmp_path / JOURNAL) as journal:
        journal.go_on_after(41)
        assert journal.append([Change("p", None)], model="m") == 42
        journal.go_on_after(7)
        assert journal.append([Change("p", None)], model="m") == 43


def test_a_product_of_another_kind_is_refused_and_nothing_of_its_batch_stored(root):
    searcher, changes = root.open()
    store(changes, Product("a", "gizmo", attributes={"volts": 18.0, "kit": True}))
    for spoilt, said in (
        (Product("b", "gizmo", attributes={"volts": "many"}), "has a text in the column volts, which holds numbers"),
        (Product("b", "gizmo", attributes={"kit": 1.0}), "has a number in the column kit, which holds true and false"),
    ):
        with pytest.raises(UnsuitableProductError, match=said):
            changes.store([NEW, spoilt])
    with pytest.raises(EmptyTextError):
        changes.store([NEW, Product("b", "!!!")])
    changes.catch_up()
    with pytest.raises(UnknownProductError):
        searcher.find("new")


def test_columns_without_end_are_refused_so_that_the_next_snapshot_can_be_built(root, monkeypatch):
    """Each costs a place for every live product, and a snapshot has so many at most."""
    searcher, changes = root.open()
    most = len(searcher.types) + 3
    monkeypatch.setattr("index.changes.MOST_COLUMNS", most, raising=False)
    store(changes, Product("a", "gizmo", attributes={"volts": 18.0, "kit": True}))
    for products in (
        [Product("b", "gizmo", attributes={"amps": 1.0, "watts": 2.0})],
        [Product("b", "gizmo", attributes={"amps": 1.0}), Product("c", "gizmo", attributes={"watts": 2.0})],
    ):
        with pytest.raises(UnsuitableProductError, match=f"has a new column watts.*there are {most} already"):
            changes.store(products)
        changes.catch_up()
        with pytest.raises(UnknownProductError):
            searcher.find("b")
    store(changes, Product("b", "gizmo", attributes={"amps": 1.0, "volts": 12.0}))
    assert searcher.find("b")[0].attributes == {"amps": 1.0, "volts": 12.0}


def test_a_long_journal_comes_to_light_in_pieces_with_rests_between(root, monkeypatch):
    _, changes = root.open()
    changes.store([Product(f"n{i}", f"gizmo {i}") for i in range(300)])
    searcher = Searcher.open(current(root.path))
    moments, rests = [], []
    monkeypatch.setattr("index.changes.time.sleep", lambda rest: (rests.append(rest), moments.append(searcher.size)))
    behind = Changes(searcher, Journal(root.path / JOURNAL))
    assert behind.catch_up(rest=0.5) == 300
    assert moments == sorted(moments)
    assert moments[0] < 400 == moments[-1]
    assert min(rests) > 0
    assert behind.shown == 300


@pytest.fixture
def sharing(root):
    """Two searchers of one snapshot after the same changes: one that read them, and one that shares the rows."""
    searcher, changes = root.open()
    journal = Journal(root.path / JOURNAL)
    changes = Changes(searcher, journal)
    store(changes, NEW, Product("p3", "another title for three", attributes={"volts": 18.0}))
    changes.delete(["p7"])
    changes.catch_up()
    other = Searcher.open(current(root.path))
    others = Changes(other, journal, beside=changes)
    assert other.rows is searcher.rows
    assert others.catch_up() == 3
    return searcher, changes, other, others


def test_a_searcher_that_shares_the_rows_of_another_shows_the_same(sharing):
    searcher, _, other, others = sharing
    assert ids(other) == ids(searcher)
    assert other.find("p3")[0] == searcher.find("p3")[0]
    assert (other.size, other.types, others.shown) == (100, searcher.types, 3)
    for mode in ("hybrid", "lexical"):
        found = [searcher.search("another quixotic gizmo", mode=mode, limit=20) for searcher in sharing[::2]]
        assert found[0].hits == found[1].hits


def test_what_either_reads_of_the_journal_both_show_when_they_look(sharing):
    searcher, changes, other, others = sharing
    store(others, Product("later", "sundry doodad"))
    assert other.find("later")[0].title == "sundry doodad"
    with pytest.raises(UnknownProductError):
        searcher.find("later")
    assert not searcher.search("doodad", mode="lexical").hits
    assert changes.catch_up() == 1
    assert searcher.search("doodad", mode="lexical").hits[0].product.product_id == "later"
    changes.delete(["later"])
    changes.catch_up()
    assert other.find("later")[0].title == "sundry doodad"
    assert others.catch_up() == 1
    with pytest.raises(UnknownProductError):
        other.find("later")


def test_of_the_rows_it_shares_a_snapshot_shows_none_that_it_holds_itself(root):
    searcher, _ = root.open()
    journal = Journal(root.path / JOURNAL)
    changes = Changes(searcher, journal)
    store(changes, Product("p3", "another title for three"))
    changes.delete(["p7"])
    root.build(as_of=time.time() + 1)  # the catalogue is newer: p3 and p7 are what they were
    store(changes, NEW, Product("p5", "another title for five"))
    folded = Searcher.open(current(root.path))
    others = Changes(folded, journal, beside=changes)
    assert folded.rows is searcher.rows
    assert others.shown == 2
    others.catch_up()
    assert ids(folded) == {*(f"p{i}" for i in range(100)), "new"}
    assert [folded.find(f"p{i}")[0].title for i in (3, 5)] == [TITLES[3], "another title for five"]
    assert folded.size == 101
    titles = [hit.product.title for hit in folded.search("another title", mode="lexical").hits]
    assert titles == ["another title for five"]


@pytest.mark.parametrize("why", ["another model", "another type", "folded", "older", "another journal"])
def test_rows_that_do_not_suit_are_read_again(root, why):
    first = current(root.path)
    _, changes = root.open()
    if why == "older":
        store(changes, Product("p1", "early"))
        root.build(as_of=0.0)
    searcher = Searcher.open(current(root.path))
    journal = Journal(root.path / JOURNAL)
    changes = Changes(searcher, journal)
    store(changes, NEW, Product("x", "gizmo", attributes={"volts": 18.0}))
    if why == "another model":
        root.model("other", seed=5)
        root.build("other", as_of=0.0)
    elif why == "another type":
        with root.catalog.open("a") as file:
            file.write('\n{"product_id": "q", "title": "lamp", "volts": "many"}')
        root.build(as_of=0.0)
    elif why == "folded":
        root.build(as_of=0.0)
    elif why == "another journal":
        journal = Journal(root.path / "other.sqlite")
    later = 1 if why == "folded" else 9
    store(changes, *(Product(f"later{i}", "cordless gizmo") for i in range(later)))
    other = Searcher.open(first if why == "older" else current(root.path))
    others = Changes(other, journal, beside=changes)
    others.catch_up()
    assert other.rows is not searcher.rows
    if why != "another journal":
        assert {"new", "x", "later0"} <= ids(other)
    alone = Searcher.open(other.snapshot.directory)
    Changes(alone, journal).catch_up()
    assert ids(other) == ids(alone)


def test_a_searcher_that_is_let_go_takes_its_memory_with_it(root):
    """At once: a collection that looks for what it left would hold up the searches on the next one."""
    searcher, changes = root.open()
    store(changes, NEW)
    searcher.search("gizmo")
    kept = [weakref.ref(searcher), weakref.ref(searcher.channels.lexical), weakref.ref(searcher.snapshot)]
    searcher.close()
    gc.disable()
    try:
        del searcher, changes
        assert [ref() for ref in kept] == [None, None, None]
    finally:
        gc.enable()
