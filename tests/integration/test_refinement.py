"""Filters, order and facets through the whole pipeline, against what the catalogue says."""

from __future__ import annotations

import json
import random

import numpy as np
import pytest
from fakes import shop_titles, write_bundle

from index.build import build
from index.exact import scan
from index.filter_syntax import parse
from index.refinement import Refinement, RefinementError, Sort
from index.search import FilterError, Searcher
from model.text import words

TITLES = shop_titles(1200)
PATHS = ("Tools > Borers", "Tools > Saws > Jig", "Paint", "Toolshed", "")
QUERY = "cordless steel drill"


def row(i):
    chance = random.Random(i)
    return {
        "product_id": f"p{i}",
        "title": TITLES[i],
        "brand": TITLES[i].split()[0],
        "category_path": PATHS[i % 5],
        "price": None if i % 11 == 0 else round(chance.uniform(1, 100), 2),
        "stock": i % 7,
        "rare": i % 400 == 3,
    }


ROWS = [row(i) for i in range(len(TITLES))]


@pytest.fixture(scope="module", params=["flat", "cells", "hnsw"])
def searcher(request, tmp_path_factory):
    directory = tmp_path_factory.mktemp("refined")
    write_bundle(directory / "model", TITLES)
    catalog = directory / "catalog.jsonl"
    catalog.write_text("\n".join(map(json.dumps, ROWS)))
    report = build(bundle_dir=directory / "model", catalog=catalog, root=directory / "index", backend=request.param)
    opened = Searcher.open(report.directory)
    yield opened
    opened.close()


def refined(text=None, **parts):
    return Refinement(filter=None if text is None else parse(text), **parts)


FILTERS = {
    "price < 50": lambda row: row["price"] is not None and row["price"] < 50,
    "NOT price < 50": lambda row: not (row["price"] is not None and row["price"] < 50),
    'brand IN ("acme", "cobalt") AND stock >= 3': lambda row: row["brand"] in ("acme", "cobalt") and row["stock"] >= 3,
    'category_path UNDER "Tools"': lambda row: row["category_path"].startswith("Tools > "),
    "rare = true": lambda row: row["rare"],
    'product_id = "p77"': lambda row: row["product_id"] == "p77",
    "price IS NULL AND category_path IS NULL": lambda row: row["price"] is None and not row["category_path"],
}


@pytest.mark.parametrize("mode", ["hybrid", "hyperboloid", "lexical"])
@pytest.mark.parametrize("text", FILTERS)
def test_hits_pass_the_filter_and_there_are_as_many_as_pass(searcher, text, mode):
    passing = {row["product_id"] for row in ROWS if FILTERS[text](row)}
    result = searcher.search(QUERY, mode=mode, limit=1000, refinement=refined(text))
    found = [hit.product.product_id for hit in result.hits]
    assert len(set(found)) == len(found)
    assert set(found) <= passing
    asked = set(words(QUERY))
    expected = passing if mode != "lexical" else {p for p in passing if asked & set(words(TITLES[int(p[1:])]))}
    assert len(found) == min(1000, len(expected))


@pytest.mark.parametrize("text", FILTERS)
def test_the_filtered_order_is_that_of_an_exact_scan_of_what_passes(searcher, text):
    geometry, snapshot = searcher.snapshot.manifest.geometry, searcher.snapshot
    rows = np.array([i for i, row in enumerate(ROWS) if FILTERS[text](row)])
    region = searcher.channels.place(_plain(QUERY)).region
    exact = scan(snapshot.points, region, c=geometry.curvature, gamma=geometry.gamma, count=100, among=rows)
    result = searcher.search(QUERY, mode="hyperboloid", limit=100, refinement=refined(text))
    assert [hit.product.product_id for hit in result.hits] == [f"p{i}" for i in exact.rows]


@pytest.mark.parametrize("text", FILTERS)
def test_the_total_counts_what_is_contained_and_passes(searcher, text):
    region = searcher.channels.place(_plain(QUERY)).region
    inside = region.contains(searcher.snapshot.points)
    result = searcher.search(QUERY, limit=5, refinement=refined(text))
    assert result.total.relation == "eq"
    assert result.total.value == sum(bool(inside[i]) and FILTERS[text](row) for i, row in enumerate(ROWS))


def matching(searcher, mode, keep=lambda _row: True):
    """Rows of the products that match the query, from the definitions."""
    inside = searcher.channels.place(_plain(QUERY)).region.contains(searcher.snapshot.points)
    holding = np.array([set(words(QUERY)) <= set(words(title)) for title in TITLES])
    matched = {"hyperboloid": inside, "lexical": holding, "hybrid": inside | holding}[mode]
    return [i for i, row in enumerate(ROWS) if matched[i] and keep(row)]


@pytest.mark.parametrize("mode", ["hybrid", "hyperboloid", "lexical"])
@pytest.mark.parametrize("text", [None, "price < 50"])
def test_facets_count_the_products_that_match(searcher, mode, text):
    rows = matching(searcher, mode, FILTERS.get(text, lambda _row: True))
    refinement = refined(text, facets=("brand", "stock", "rare"), facet_size=100)
    brand, stock, rare = searcher.search(QUERY, mode=mode, limit=3, refinement=refinement).facets
    for facet, name in ((brand, "brand"), (stock, "stock"), (rare, "rare")):
        expected = {}
        for i in rows:
            expected[ROWS[i][name]] = expected.get(ROWS[i][name], 0) + 1
        assert dict(facet.counts) == expected
    assert rows, "the query was chosen so that something matches"


@pytest.mark.parametrize("mode", ["hybrid", "hyperboloid", "lexical"])
@pytest.mark.parametrize("descending", [False, True])
def test_sorted_by_a_column_matching_products_come_first_and_in_order(searcher, mode, descending):
    rows = matching(searcher, mode)
    priced = [i for i in rows if ROWS[i]["price"] is not None]
    priced.sort(key=lambda i: ROWS[i]["price"], reverse=descending)
    expected = [f"p{i}" for i in priced] + [f"p{i}" for i in rows if ROWS[i]["price"] is None]
    refinement = refined(sort=Sort("price", descending=descending))
    pages = [searcher.search(QUERY, mode=mode, limit=40, offset=at, refinement=refinement) for at in (0, 40)]
    found = [hit.product.product_id for page in pages for hit in page.hits]
    assert found[: len(expected)] == expected[: len(found)]
    assert len(set(found)) == len(found)
    if mode != "hybrid":  # there a score is that of a rank among the candidates
        scores = {hit.product.product_id: hit.score for hit in searcher.search(QUERY, mode=mode, limit=80).hits}
        both = [hit for page in pages for hit in page.hits if hit.product.product_id in scores]
        assert both
        assert [hit.score for hit in both] == pytest.approx([scores[hit.product.product_id] for hit in both])


def test_sorted_by_distance_hits_are_those_of_the_same_search(searcher):
    result = searcher.search(QUERY, limit=50, refinement=refined(sort=Sort("distance")))
    distances = [hit.distance for hit in result.hits]
    assert distances == sorted(distances)


def test_products_similar_to_one_can_be_filtered_and_never_are_that_one(searcher):
    result = searcher.similar("p21", limit=1000, refinement=refined("stock = 0"))
    found = {hit.product.product_id for hit in result.hits}
    assert found == {row["product_id"] for row in ROWS if row["stock"] == 0} - {"p21"}


def test_a_refinement_that_does_not_suit_the_columns_is_refused(searcher):
    with pytest.raises(FilterError, match="names the column 'size'; the columns are brand, category_path"):
        searcher.search(QUERY, refinement=refined("size = 3"))
    with pytest.raises(FilterError, match="holds numbers"):
        searcher.similar("p1", refinement=refined('price = "3"'))
    for parts in ({"sort": Sort("size")}, {"facets": ("brand", "size")}, {"fields": ("title", "size")}):
        with pytest.raises(RefinementError, match="names the column 'size'") as caught:
            searcher.search(QUERY, refinement=refined(**parts))
        assert caught.value.part == next(iter(parts))


def test_the_same_filter_again_costs_no_second_pass(searcher, monkeypatch):
    searcher.search(QUERY, refinement=refined("stock < 5 AND price > 3"))
    monkeypatch.setattr(type(searcher.snapshot.columns), "passing", None)
    assert searcher.search(QUERY, refinement=refined("stock<5 and price>3")).hits


def _plain(query):
    from index.expression import Conjunction

    return (Conjunction((query,)),)
