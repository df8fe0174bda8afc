"""A search that looks at every product is what the others' recall is measured against."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from fakes import bring, shop_titles, write_bundle, write_catalog

from index.algebra import Region
from index.build import build
from index.exact import scan
from index.filter_syntax import parse
from index.journal import Change
from index.refinement import Refinement
from index.search import Searcher
from model.catalog import Product, searchable_text

TITLES = shop_titles(900)
QUERIES = ["cordless drill", "acme oak door", "white vanity 12", "brass"]


@pytest.fixture(scope="module", params=["cells", "hnsw"])
def searcher(request, tmp_path_factory):
    directory = tmp_path_factory.mktemp("exact")
    write_bundle(directory / "model", TITLES)
    catalog = write_catalog(directory / "catalog.csv", TITLES)
    built = build(
        bundle_dir=directory / "model",
        catalog=catalog,
        root=directory / "index",
        backend=request.param,
        queries=QUERIES,
    )
    searcher = Searcher.open(built.directory)
    yield searcher
    searcher.close()


def ids(result):
    return [hit.product.product_id for hit in result.hits]


def oracle(searcher, query, count):
    found = searcher.channels.encoder.encode_queries([searcher.channels.read(query)])
    geometry = searcher.snapshot.manifest.geometry
    region = Region.around(found.centres[0], found.limits[0])
    ranking = scan(searcher.snapshot.points, region, c=geometry.curvature, gamma=geometry.gamma, count=count)
    return [f"p{row}" for row in ranking.rows]


@pytest.mark.parametrize("query", QUERIES)
def test_it_finds_what_a_scan_of_all_points_finds(searcher, query):
    assert ids(searcher.exactly().search(query, mode="hyperboloid", limit=40)) == oracle(searcher, query, 40)


def test_it_shows_what_candidates_miss(searcher):
    class FarOff:
        def search_many(self, regions, count, *, effort=None):
            return [np.arange(len(TITLES), dtype=np.int64)[::7][:count] for _ in regions]

    blind = Searcher(searcher.snapshot, replace(searcher.channels, candidates=FarOff()))
    given = set(ids(blind.search("cordless drill", mode="hyperboloid", limit=40)))
    exact = ids(blind.exactly().search("cordless drill", mode="hyperboloid", limit=40))
    assert exact == oracle(searcher, "cordless drill", 40)
    assert len(given.intersection(exact)) < 20


@pytest.mark.parametrize("mode", ["hybrid", "lexical"])
def test_words_count_in_it_as_they_do_elsewhere(searcher, mode):
    usual, exact = (each.search("cordless drill", mode=mode, limit=10) for each in (searcher, searcher.exactly()))
    assert len(set(ids(usual)).intersection(ids(exact))) >= 9
    assert (exact.total, exact.generality, exact.mode) == (usual.total, usual.generality, mode)


def test_it_keeps_to_filters(searcher):
    wanted = Refinement(filter=parse('title = "' + TITLES[17] + '"'))
    assert ids(searcher.exactly().search("brass", mode="hyperboloid", refinement=wanted)) == ["p17"]


def test_it_sees_changes_as_soon_as_the_searcher_it_was_made_of(searcher):
    exact = searcher.exactly()
    product = Product("new", "cordless drill cordless drill 18 V")
    (point,) = searcher.encode([product])
    before = ids(exact.search(searchable_text(product), mode="hyperboloid"))
    bring(searcher, [Change("new", product, point)])
    after = ids(exact.search(searchable_text(product), mode="hyperboloid"))
    assert "new" not in before
    assert "new" in after
