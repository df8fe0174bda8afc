"""From the journal to the searcher: what is acknowledged is shown, folded in by the next build, and never lost."""

from __future__ import annotations

import gc
import json
import os
import time
import weakref

import numpy as np
import pytest
from fakes import shop_titles, write_bundle

from index.build import BuildError, build
from index.changes import Changes, UnsuitableProductError
from index.journal import JOURNAL, Journal
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


def test_a_long_journal_comes_to_light_in_pieces_with_rests_between(root, monkeypatch):
    _, changes = root.open()
    changes.store([Product(f"n{i}", f"gizmo {i}") for i in range(300)])
    searcher = Searcher.open(current(root.path))
    pieces, rests = [], []
    apply = searcher.apply
    monkeypatch.setattr(searcher, "apply", lambda batch: (pieces.append(len(batch)), apply(batch)))
    monkeypatch.setattr("index.changes.time.sleep", rests.append)
    behind = Changes(searcher, Journal(root.path / JOURNAL))
    assert behind.catch_up(rest=0.5) == 300
    assert sum(pieces) == 300
    assert max(pieces) < 300
    assert len(rests) == len(pieces)
    assert min(rests) > 0
    assert behind.shown == 300


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
