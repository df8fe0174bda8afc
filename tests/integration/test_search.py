"""The pipeline itself, in the hyperboloid's mode where the mode matters; the others have a file of their own."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from itertools import chain

import numpy as np
import pytest
from fakes import shop_titles, write_bundle, write_catalog

from index.algebra import Region
from index.build import build
from index.candidates import CandidateIndex
from index.exact import scan
from index.lexical import LexicalIndex
from index.search import MAX_DEPTH, EmptyTextError, Searcher
from index.snapshot import Snapshot, SnapshotError
from model.runtime import TextEncoder

TITLES = shop_titles(900)
QUERIES = ["cordless drill", "acme oak door", "white vanity 12", "brass", "unheardof wörd 7"]


@pytest.fixture(scope="module", params=[("flat", 1.0), ("cells", 1.0), ("hnsw", 1.0), ("hnsw", 0.0)], ids=str)
def place(request, tmp_path_factory):
    """The directory of a snapshot of each kind."""
    backend, curvature = request.param
    directory = tmp_path_factory.mktemp("search")
    write_bundle(directory / "model", TITLES, curvature=curvature)
    catalog = write_catalog(directory / "catalog.csv", TITLES)
    report = build(
        bundle_dir=directory / "model",
        catalog=catalog,
        root=directory / "index",
        backend=backend,
        target_recall=0.95,
        queries=QUERIES,
    )
    return report.directory


@pytest.fixture
def searcher(place):
    searcher = Searcher.open(place)
    yield searcher
    searcher.close()


def ids(result):
    return [hit.product.product_id for hit in result.hits]


def exact_ids(place, query, count):
    snapshot = Snapshot.open(place)
    regions = TextEncoder(place / "encoder").encode_queries([query])
    geometry = snapshot.manifest.geometry
    centre, limit = regions.centres[0], regions.limits[0]
    found = scan(snapshot.points, Region.around(centre, limit), c=geometry.curvature, gamma=geometry.gamma, count=count)
    return [snapshot.documents.product(int(row)).product_id for row in found.rows]


def test_hits_are_the_exact_containment_top(place, searcher):
    recalls = [
        np.isin(exact_ids(place, query, 20), ids(searcher.search(query, mode="hyperboloid", limit=20)))
        for query in QUERIES
    ]
    assert np.mean(recalls) >= 0.95


def test_an_answer_says_what_it_was_found_with(place, searcher):
    result = searcher.search("cordless drill", mode="hyperboloid", limit=5)
    assert result.mode == "hyperboloid"
    assert (result.snapshot, result.model) == (place.name, Snapshot.open(place).manifest.model)
    assert searcher.snapshot_id == result.snapshot
    assert searcher.model_version == result.model
    assert searcher.size == 900
    distances = [hit.distance for hit in result.hits]
    assert distances == sorted(distances)
    assert [hit.score for hit in result.hits] == [-distance for distance in distances]
    timings = result.timings
    assert min(timings.encode, timings.candidates, timings.rerank, timings.fetch) > 0


def test_the_whole_catalogue_is_reachable_and_then_the_total_is_exact(searcher):
    result = searcher.search("oak door", limit=5000)
    assert sorted(ids(result)) == sorted(f"p{i}" for i in range(900))
    assert result.total.relation == "eq"
    assert result.total.value == sum(hit.contained for hit in result.hits)
    assert ids(searcher.search("oak door", limit=5000, offset=899)) == ids(result)[899:]
    assert searcher.search("oak door", offset=900).hits == ()


def test_the_total_is_exact_however_short_the_page(searcher):
    totals = [searcher.search("brass", limit=limit).total for limit in (3, 900)]
    assert totals[0] == totals[1]
    assert totals[0].relation == "eq"
    assert totals[0].value > 0


def test_without_a_census_the_total_of_candidates_is_a_lower_bound(place, monkeypatch):
    monkeypatch.setattr("index.answering.CENSUS_UP_TO", 899)
    searcher = Searcher.open(place)
    try:
        everything = searcher.search("brass", mode="hyperboloid", limit=900).total
        some = searcher.search("brass", mode="hyperboloid", limit=3).total
    finally:
        searcher.close()
    assert (everything.relation, some.relation) == ("eq", "gte")
    assert some.value <= everything.value


def test_pages_join_without_gap_or_repeat(searcher):
    page = [ids(searcher.search("steel ladder", limit=7, offset=offset)) for offset in range(0, 49, 7)]
    assert list(chain.from_iterable(page)) == ids(searcher.search("steel ladder", limit=49))


@pytest.mark.parametrize("limit", [1, 150, 300, 640])
def test_there_are_always_as_many_hits_as_asked_for(searcher, limit):
    hits = ids(searcher.search("quiet lamp", limit=limit, offset=40))
    assert len(hits) == len(set(hits)) == limit


def test_a_page_is_full_even_where_the_graph_reaches_too_few(place, searcher, monkeypatch):
    monkeypatch.setattr(CandidateIndex, "search", lambda *_args, **_options: np.arange(3))
    result = searcher.search("oak door", mode="hyperboloid", limit=10)
    assert ids(result) == exact_ids(place, "oak door", 10)


def test_searching_together_is_searching_one_by_one(searcher):
    queries = QUERIES * 8
    alone = [searcher.search(query) for query in queries]
    with ThreadPoolExecutor(max_workers=4) as pool:
        together = list(pool.map(searcher.search, queries))
    assert [result.hits for result in together] == [result.hits for result in alone]
    assert [result.total for result in together] == [result.total for result in alone]


def test_scores_are_those_of_the_hits_and_unknown_products_are_left_out(searcher):
    hits = searcher.search("acme oak door", mode="hyperboloid", limit=30).hits
    wanted = [*(hit.product.product_id for hit in hits), "nope", "p99999", ""]
    found = searcher.scores("acme oak door", wanted, mode="hyperboloid")
    assert found == pytest.approx({hit.product.product_id: hit.score for hit in hits}, abs=1e-6)
    assert searcher.scores("acme oak door", ["nope"]) == {}


@pytest.mark.parametrize("query", ["", "   ", "!?", "😀", "\x00\x1f"])
def test_a_query_without_a_letter_or_digit_is_refused(searcher, query):
    with pytest.raises(EmptyTextError):
        searcher.search(query)


@pytest.mark.parametrize("query", ['1/2" pvc pipe', "a" * 10_000, "drill 😀 \x00 (((", "ÄÖÜ"])
def test_any_other_text_is_answered(searcher, query):
    assert len(searcher.search(query).hits) == 10


@pytest.mark.parametrize(("limit", "offset"), [(0, 0), (-1, 0), (10, -1), (MAX_DEPTH, 1), (1, MAX_DEPTH), (10**9, 0)])
def test_a_page_out_of_range_is_refused_with_its_numbers(searcher, limit, offset):
    with pytest.raises(ValueError, match=rf"limit is {limit} and offset {offset}"):
        searcher.search("drill", limit=limit, offset=offset)


def test_a_candidate_index_of_other_rows_is_refused(place, monkeypatch):
    monkeypatch.setattr(CandidateIndex, "__len__", lambda _self: 7)
    with pytest.raises(SnapshotError, match="900 products, but its candidate index holds 7"):
        Searcher.open(place)


def test_a_lexical_index_of_other_rows_is_refused(place, monkeypatch):
    monkeypatch.setattr(LexicalIndex, "__len__", lambda _self: 7)
    with pytest.raises(SnapshotError, match="900 products, but its lexical index holds 7"):
        Searcher.open(place)
