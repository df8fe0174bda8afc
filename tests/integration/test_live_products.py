"""Live changes: a snapshot with changes answers as a snapshot built with them would."""

from __future__ import annotations

import random
import threading

import numpy as np
import pytest
from fakes import bring, shop_titles, write_bundle

from index.build import build
from index.explain import explain
from index.filter_syntax import parse
from index.journal import Change
from index.refinement import Refinement, Sort
from index.search import Searcher, UnknownProductError
from model.catalog import Product, searchable_text

TITLES = shop_titles(700, seed=4)
START = 400
QUERIES = ["cordless drill", "acme oak door", "brass", "white steel lamp 12"]
ALL = Refinement(facets=("brand", "price", "stock", "colour"), facet_size=1000)


def product(i, title=None, **attributes):
    title = title or TITLES[i]
    return Product(
        f"p{i}", title, brand=title.split()[0], category_path=("A > B", "A", "C")[i % 3], price=float(i % 40) or None,
        attributes={"stock": float(i % 5), **attributes},
    )  # fmt: skip


def write(path, products):
    import json

    lines = [
        {**p.attributes, "product_id": p.product_id, "title": p.title, "brand": p.brand, "price": p.price,
         "category_path": p.category_path}
        for p in products
    ]  # fmt: skip
    path.write_text("\n".join(map(json.dumps, lines)))
    return path


class Shop:
    """A searcher that takes changes, and the catalogue as it should be by now."""

    def __init__(self, directory, *, backend="flat"):
        write_bundle(directory / "model", TITLES)
        self.directory, self.backend = directory, backend
        self.products = {p.product_id: p for p in map(product, range(START))}
        self.searcher = self.rebuilt("first")

    def rebuilt(self, name):
        """A searcher of a snapshot built from the catalogue as it should be."""
        catalog = write(self.directory / f"{name}.jsonl", self.products.values())
        report = build(
            bundle_dir=self.directory / "model", catalog=catalog, root=self.directory / name, backend=self.backend
        )
        return Searcher.open(report.directory)

    def change(self, *changes):
        """Apply upserts of products and deletions of ids at once."""
        stored = [one for one in changes if isinstance(one, Product)]
        points = self.searcher.channels.encoder.encode_products([searchable_text(p) for p in stored])
        of_id = {p.product_id: point for p, point in zip(stored, points, strict=True)}
        found = [
            Change(one.product_id, one, of_id[one.product_id]) if isinstance(one, Product) else Change(one, None)
            for one in changes
        ]
        bring(self.searcher, found)
        for one in changes:
            if isinstance(one, Product):
                self.products[one.product_id] = one
            else:
                self.products.pop(one, None)


@pytest.fixture(params=["flat", "cells", "hnsw"])
def shop(request, tmp_path):
    made = Shop(tmp_path, backend=request.param)
    yield made
    made.searcher.close()


@pytest.fixture(scope="module", params=["flat", "cells", "hnsw"])
def changed(request, tmp_path_factory):
    """A shop after some hundred changes of every kind, and a searcher of one built as it is then."""
    shop = Shop(tmp_path_factory.mktemp("changed"), backend=request.param)
    chance = random.Random(7)
    for round_ in range(30):
        changes = []
        for _ in range(chance.randint(1, 12)):
            i = chance.randrange(len(TITLES))
            if chance.random() < 0.3:
                changes.append(f"p{i}")
            elif chance.random() < 0.3:
                changes.append(product(i, title=f"zyxo {TITLES[(i + 1) % len(TITLES)]}", colour=f"c{round_}"))
            else:
                changes.append(product(i))
        shop.change(*changes)
    anew = shop.rebuilt("anew")
    yield shop, anew
    shop.searcher.close()
    anew.close()


def as_told(result):
    return {hit.product.product_id: (hit.product, round(hit.distance, 4), hit.contained) for hit in result.hits}


@pytest.mark.parametrize("query", QUERIES)
@pytest.mark.parametrize("text", [None, "price < 20", "NOT stock = 3 AND brand = 'acme'", "colour IS NOT NULL"])
def test_a_changed_shop_answers_as_one_built_anew(changed, query, text):
    shop, anew = changed
    wanted = None if text is None else parse(text)
    refinement = Refinement(filter=wanted, facets=ALL.facets, facet_size=1000)
    here = shop.searcher.search(query, mode="hyperboloid", limit=1000, refinement=refinement)
    there = anew.search(query, mode="hyperboloid", limit=1000, refinement=refinement)
    assert as_told(here) == as_told(there)
    assert [hit.distance for hit in here.hits] == pytest.approx([hit.distance for hit in there.hits], abs=1e-5)
    assert here.total == there.total
    assert here.facets == there.facets
    for mode in ("lexical", "hybrid"):
        mine = shop.searcher.search(query, mode=mode, limit=1000, refinement=refinement)
        theirs = anew.search(query, mode=mode, limit=1000, refinement=refinement)
        assert as_told(mine) == as_told(theirs)
        assert mine.facets == theirs.facets
    assert shop.searcher.size == anew.size == len(shop.products)
    assert shop.searcher.types == {**anew.types, "colour": "text"}


@pytest.mark.parametrize("sort", ["price", "-price", "brand", "-title", "colour"])
def test_the_order_by_a_column_is_that_of_one_built_anew(changed, sort):
    shop, anew = changed
    refinement = Refinement(sort=Sort.parse(sort))
    answers = [
        searcher.search("cordless drill", mode="hyperboloid", limit=60, refinement=refinement)
        for searcher in (shop.searcher, anew)
    ]
    column = sort.removeprefix("-")
    keys = [[getattr(hit.product, column, None) or hit.product.attributes.get(column) for hit in answer.hits
             if hit.contained] for answer in answers]  # fmt: skip
    assert keys[0] == keys[1]


def test_a_product_is_found_by_its_new_title_and_not_by_its_old(shop):
    shop.change(product(3, title="quixotic gizmo"))
    (hit,) = shop.searcher.search("quixotic", mode="lexical").hits
    assert hit.product.title == "quixotic gizmo"
    everything = shop.searcher.search("quixotic gizmo", limit=1000).hits
    assert [hit.product.title for hit in everything if hit.product.product_id == "p3"] == ["quixotic gizmo"]
    assert len(everything) == START


def test_a_word_that_only_a_live_product_has_is_not_corrected(shop):
    shop.change(product(3, title="drilx special"))
    assert shop.searcher.channels.read("drilx") == "drilx"
    assert shop.searcher.search("drilx", mode="lexical").hits[0].product.product_id == "p3"


def test_a_product_stored_again_as_it_was_keeps_its_scores(shop):
    before = shop.searcher.search("acme oak door", mode="lexical", limit=50)
    chosen = before.hits[0].product
    shop.change(chosen)
    after = shop.searcher.search("acme oak door", mode="lexical", limit=50)
    scores = {hit.product.product_id: hit.score for hit in before.hits}
    found = {hit.product.product_id: hit.score for hit in after.hits}
    assert found[chosen.product_id] == pytest.approx(scores[chosen.product_id], rel=1e-5)


def test_deleted_products_are_nowhere(shop):
    gone = [hit.product.product_id for hit in shop.searcher.search("cordless drill", limit=30).hits]
    shop.change(*gone)
    for mode in ("hybrid", "hyperboloid", "lexical"):
        found = shop.searcher.search("cordless drill", mode=mode, limit=1000).hits
        assert not {hit.product.product_id for hit in found} & set(gone)
    with pytest.raises(UnknownProductError):
        shop.searcher.find(gone[0])
    with pytest.raises(UnknownProductError):
        shop.searcher.similar(gone[0])
    with pytest.raises(UnknownProductError):
        explain(shop.searcher, "drill", gone[0])
    assert shop.searcher.scores("drill", [gone[0], "p399"]).keys() <= {"p399"}


def test_live_products_are_explained_and_have_similar_ones(shop):
    shop.change(product(500), product(501))
    assert explain(shop.searcher, "acme door", "p500").product == product(500)
    found = shop.searcher.similar("p500", limit=1000).hits
    assert len(found) == START + 1
    assert {"p501", "p3"} <= {hit.product.product_id for hit in found}
    assert shop.searcher.find("p501")[0] == product(501)


def test_deleting_what_is_not_there_changes_nothing(shop):
    shop.change("nope", "p1", "p1")
    shop.change("p1")
    assert shop.searcher.size == START - 1


def test_a_shop_whose_products_are_all_gone_answers_with_nothing(shop):
    shop.change(*(f"p{i}" for i in range(START)))
    result = shop.searcher.search("drill")
    assert (result.hits, result.total.value, shop.searcher.size) == ((), 0, 0)
    shop.change(product(5))
    assert [hit.product.product_id for hit in shop.searcher.search("drill").hits] == ["p5"]


def test_every_search_sees_all_of_a_change_or_nothing_of_it(shop):
    """Two products swap a word, over and over: at every moment exactly one of them has it."""
    stop = threading.Event()
    torn = []

    def look():
        while not stop.is_set():
            hits = shop.searcher.search("quixotic", mode="lexical", limit=10).hits
            titles = [hit.product.title for hit in hits]
            if len(hits) != 1 or titles[0] != f"quixotic {hits[0].product.product_id}":
                torn.append(titles)

    shop.change(product(1, title="quixotic p1"), product(2, title="plain p2"))
    threads = [threading.Thread(target=look) for _ in range(3)]
    for thread in threads:
        thread.start()
    for i in range(200):
        a, b = (1, 2) if i % 2 else (2, 1)
        shop.change(product(a, title=f"quixotic p{a}"), product(b, title=f"plain p{b}"))
    stop.set()
    for thread in threads:
        thread.join()
    assert torn == []


def test_many_gone_near_a_query_leave_no_gap(shop):
    """The whole neighbourhood of a query is stored again: pages are full, and of the new products."""
    ids = [hit.product.product_id for hit in shop.searcher.search("cordless drill", mode="hyperboloid", limit=300).hits]
    shop.change(*(product(int(i[1:])) for i in ids))
    found = shop.searcher.search("cordless drill", mode="hyperboloid", limit=300).hits
    assert len(found) == 300
    assert np.mean([hit.product.product_id in set(ids) for hit in found]) > 0.98


def test_of_a_product_that_is_changed_twice_at_once_the_last_change_counts(shop):
    shop.change(product(3, title="quixotic gizmo"), product(500), product(3, title="gizmo again"), "p500")
    assert shop.searcher.find("p3")[0].title == "gizmo again"
    assert shop.searcher.search("quixotic", mode="lexical").hits == ()
    with pytest.raises(UnknownProductError):
        shop.searcher.find("p500")
    assert shop.searcher.size == START
