"""What the modes, the operators and the search from a product give, over a snapshot of both channels."""

from __future__ import annotations

from itertools import chain

import numpy as np
import pytest
from fakes import shop_titles, write_bundle, write_catalog

from index.algebra import Region
from index.build import build
from index.channels import Channels
from index.exact import scan
from index.expression import And, ExpressionError, Not, Or, Text
from index.operators import from_json, parse
from index.search import EmptyTextError, Searcher, UnknownProductError
from model import hyperboloid, lorentz
from model.text import words

TITLES = [*shop_titles(898), "oak door twin 7", "oak door twin 7"]
QUERIES = ["cordless drill", "acme oak door", "white vanity 12", "brass"]
MODES = ("hybrid", "hyperboloid", "lexical")
EVERYTHING = 900


@pytest.fixture(scope="module", params=["flat", "cells", "hnsw"])
def searcher(request, tmp_path_factory):
    directory = tmp_path_factory.mktemp("modes")
    write_bundle(directory / "model", TITLES)
    catalog = write_catalog(directory / "catalog.csv", TITLES)
    place = build(
        bundle_dir=directory / "model",
        catalog=catalog,
        root=directory / "index",
        backend=request.param,
        target_recall=0.9,
        queries=QUERIES,
    ).directory
    searcher = Searcher.open(place)
    yield searcher
    searcher.close()


def ids(result):
    return [hit.product.product_id for hit in result.hits]


def contained(searcher, query):
    everything = searcher.search(query, mode="hyperboloid", limit=EVERYTHING)
    found = {hit.product.product_id for hit in everything.hits if hit.contained}
    assert everything.total.relation == "eq"
    assert everything.total.value == len(found)
    return found


def hold(*wanted, without=()):
    """Ids of the products whose title holds all the ``wanted`` words and none of ``without``."""
    return {
        f"p{i}"
        for i, title in enumerate(TITLES)
        if set(wanted) <= set(words(title)) and not set(without) & set(words(title))
    }


# Modes


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("query", ["oak door", parse("drill OR hammer NOT cordless")])
def test_hits_fall_by_score_and_measure_alike_in_every_mode(searcher, mode, query):
    result = searcher.search(query, mode=mode, limit=40)
    assert result.mode == mode
    scores = [hit.score for hit in result.hits]
    assert scores == sorted(scores, reverse=True)
    everything = searcher.search(query, mode="hyperboloid", limit=EVERYTHING)
    measured = {hit.product.product_id: (hit.distance, hit.contained) for hit in everything.hits}
    for hit in result.hits:
        distance, inside = measured[hit.product.product_id]
        assert hit.distance == pytest.approx(distance, abs=1e-6)
        assert hit.contained == inside
    assert result.total == everything.total
    assert result.generality == everything.generality


def test_lexical_hits_are_those_of_the_index_by_its_scores(searcher):
    result = searcher.search("cordless oak drill", mode="lexical", limit=50)
    scores = searcher.channels.lexical.scores("cordless oak drill")
    rows = searcher.channels.lexical.search("cordless oak drill", 50)
    assert ids(result) == [f"p{row}" for row in rows]
    np.testing.assert_allclose([hit.score for hit in result.hits], scores[rows], rtol=1e-6)


def test_lexical_hits_end_where_no_word_is_shared(searcher):
    oak = hold("oak")
    assert 0 < len(oak) < EVERYTHING
    assert set(ids(searcher.search("oak", mode="lexical", limit=EVERYTHING))) == oak
    assert searcher.search("oak", mode="lexical", offset=len(oak)).hits == ()


def test_hybrid_hits_are_ordered_by_the_fusion_of_both_channels(searcher):
    everything = searcher.search("acme oak door", limit=EVERYTHING).hits
    distances = np.array([hit.distance for hit in everything], dtype=np.float32)
    rows = [int(hit.product.product_id[1:]) for hit in everything]
    fused = searcher.snapshot.manifest.fusion.fuse(distances, searcher.channels.lexical.scores("acme oak door")[rows])
    np.testing.assert_allclose([hit.score for hit in everything], fused, rtol=1e-6)


def test_hybrid_finds_what_only_one_channel_finds(searcher, monkeypatch):
    monkeypatch.setattr(Channels, "near", lambda *_args, **_options: [np.array([1, 2])])
    found = set(ids(searcher.search("ladder", limit=EVERYTHING)))
    assert found == hold("ladder") | {"p1", "p2"}


@pytest.mark.parametrize("mode", MODES)
def test_scores_of_chosen_products_are_those_of_the_hits(searcher, mode):
    hits = searcher.search("acme oak door", mode=mode, limit=EVERYTHING).hits
    # in reciprocal ranks, the score depends on which products are ranked: all of them, here
    found = searcher.scores("acme oak door", [f"p{i}" for i in range(EVERYTHING)], mode=mode)
    assert len(found) == EVERYTHING
    assert {hit.product.product_id: hit.score for hit in hits} == pytest.approx(
        {hit.product.product_id: found[hit.product.product_id] for hit in hits}, rel=1e-5
    )
    assert searcher.scores("acme oak door", ["nope"], mode=mode) == {}


@pytest.mark.parametrize("mode", MODES)
def test_pages_join_without_gap_or_repeat_in_every_mode(searcher, mode):
    pages = [ids(searcher.search("steel ladder", mode=mode, limit=7, offset=offset)) for offset in range(0, 35, 7)]
    assert list(chain.from_iterable(pages)) == ids(searcher.search("steel ladder", mode=mode, limit=35))


@pytest.mark.parametrize("mode", MODES)
def test_a_query_without_a_word_is_refused_in_every_mode(searcher, mode):
    with pytest.raises(EmptyTextError):
        searcher.search("?!", mode=mode)


# Operators


def test_a_text_as_an_expression_is_the_text(searcher):
    for mode in MODES:
        plain, leaf = (searcher.search(query, mode=mode) for query in ("oak door", Text("oak door")))
        assert plain.hits == leaf.hits
        assert (plain.total, plain.generality) == (leaf.total, leaf.generality)


def test_an_expression_of_one_text_has_the_log_volume_of_its_hyperboloid(searcher):
    (limit,) = searcher.channels.encoder.encode_queries(["oak door"]).limits
    generality = searcher.search("oak door").generality
    assert generality == pytest.approx(float(hyperboloid.log_volume(limit)), rel=1e-4)


def test_what_operators_contain_is_the_algebra_of_what_their_members_contain(searcher):
    drill, cordless, steel = (contained(searcher, text) for text in ("drill", "cordless", "steel"))
    assert all((drill, cordless, steel, drill & steel, drill - cordless))
    assert contained(searcher, parse("drill AND steel")) == drill & steel
    assert contained(searcher, parse("drill OR steel")) == drill | steel
    assert contained(searcher, parse("drill NOT cordless")) == drill - cordless
    assert contained(searcher, parse("drill AND NOT (cordless OR steel)")) == drill - cordless - steel
    assert contained(searcher, parse("drill AND (cordless OR NOT steel)")) == drill & cordless | drill - steel
    assert contained(searcher, from_json({"and": ["drill", {"not": "cordless"}]})) == drill - cordless


@pytest.mark.parametrize("mode", MODES)
def test_a_contradiction_contains_nothing_and_still_ranks(searcher, mode):
    result = searcher.search(And((Text("oak door"), Not(Text("oak door")))), mode=mode)
    assert (result.total.value, result.total.relation) == (0, "eq")
    assert result.generality is None
    assert len(result.hits) == 10
    assert not any(hit.contained for hit in result.hits)


def test_what_not_excludes_comes_after_what_it_leaves(searcher):
    expression = parse("drill NOT cordless")
    drills, cordless = hold("drill", without=["cordless"]), hold("drill", "cordless")
    assert len(drills) >= 20
    assert len(cordless) >= 5
    lexical = ids(searcher.search(expression, mode="lexical", limit=EVERYTHING))
    assert set(lexical[: len(drills)]) == drills
    assert set(lexical[len(drills) :]) == cordless
    best = ids(searcher.search(expression, mode="hybrid", limit=20))
    assert not set(best) & cordless
    assert set(ids(searcher.search("drill", mode="hybrid", limit=20))) & cordless


@pytest.mark.parametrize("mode", ["lexical", "hybrid"])
def test_an_excluded_word_that_is_read_as_two_excludes_what_holds_both(searcher, mode):
    assert searcher.channels.lexical.corrected("cordlessdrill") == "cordless drill"
    joined = searcher.search(parse("drill NOT cordlessdrill"), mode=mode, limit=20)
    apart = searcher.search(parse('drill NOT "cordless drill"'), mode=mode, limit=20)
    assert [(hit.product.product_id, hit.score) for hit in joined.hits] == [
        (hit.product.product_id, hit.score) for hit in apart.hits
    ]
    assert not set(ids(joined)) & hold("cordless", "drill")


def test_an_and_finds_in_words_only_what_shares_some_with_each_text(searcher):
    found = ids(searcher.search(parse("oak AND drill"), mode="lexical", limit=EVERYTHING))
    assert set(found) == hold("oak", "drill")
    assert found


def test_in_hybrid_a_product_with_the_excluded_words_is_moved_away_by_the_reach_of_their_box(searcher):
    everything = searcher.search(parse("drill NOT cordless"), limit=EVERYTHING).hits
    regions = searcher.channels.encoder.encode_queries(["cordless"])
    corner = regions.centres[0] + regions.limits[0]
    reach = lorentz.dist(regions.centres[0], corner, c=searcher.snapshot.manifest.geometry.curvature)
    cordless = hold("cordless")
    moved = [hit.distance + float(reach) * (hit.product.product_id in cordless) for hit in everything]
    rows = [int(hit.product.product_id[1:]) for hit in everything]
    words = np.where(
        [hit.product.product_id in cordless for hit in everything],
        -1.0,
        searcher.channels.lexical.scores("drill")[rows],
    )
    fused = searcher.snapshot.manifest.fusion.fuse(np.array(moved, dtype=np.float32), words.astype(np.float32))
    np.testing.assert_allclose([hit.score for hit in everything], fused, rtol=1e-6)


def test_an_excluded_product_of_a_hyperboloid_search_is_penalised_and_no_other(searcher):
    plain = {hit.product.product_id: hit for hit in searcher.search("drill", mode="hyperboloid", limit=900).hits}
    excluded = contained(searcher, "cordless")
    for hit in searcher.search(parse("drill NOT cordless"), mode="hyperboloid", limit=EVERYTHING).hits:
        before = plain[hit.product.product_id].distance
        if hit.product.product_id in excluded:
            assert hit.distance > before + 0.1
        else:
            assert hit.distance == pytest.approx(before, abs=1e-6)


@pytest.mark.parametrize("text", ["brass lamp OR oak door", "door AND white", "(saw OR door) AND steel NOT oak"])
def test_candidates_of_an_expression_hold_its_exact_top(searcher, text):
    exact = ids(searcher.search(parse(text), mode="hyperboloid", limit=EVERYTHING))[:30]
    assert len(set(exact) & set(ids(searcher.search(parse(text), mode="hyperboloid", limit=30)))) >= 25


def test_an_expression_that_cannot_be_searched_is_refused(searcher):
    for expression in (Not(Text("door")), Or(tuple(Text(f"w{i}") for i in range(17))), And(()), Text("!")):
        with pytest.raises(ExpressionError):
            searcher.search(expression)
        with pytest.raises(ExpressionError):
            searcher.scores(expression, ["p1"])


# Similar products


def test_similar_products_are_those_nearest_by_plain_distance_without_the_product_itself(searcher):
    points, c = searcher.snapshot.points, searcher.snapshot.manifest.geometry.curvature
    result = searcher.similar("p17", limit=30)
    distances = lorentz.dist(points, points[17], c=c)
    rows = [int(product_id[1:]) for product_id in ids(result)]
    assert 17 not in rows
    np.testing.assert_allclose([hit.distance for hit in result.hits], distances[rows], rtol=1e-4, atol=1e-6)
    exact = scan(points, Region.around(points[17], np.zeros_like(points[17])), c=c, gamma=1.0, count=31).rows
    assert len(set(rows) & {int(row) for row in exact}) >= 27
    assert (result.mode, result.generality) == ("hyperboloid", None)


def test_only_a_product_at_the_same_point_is_contained_in_a_similar_search(searcher):
    result = searcher.similar("p898", limit=5)
    assert ids(result)[0] == "p899"
    assert result.hits[0].distance == 0
    assert [hit.contained for hit in result.hits] == [True, False, False, False, False]
    assert result.total.value == 1


def test_similar_pages_join_and_end_before_the_product_itself(searcher):
    assert len(ids(searcher.similar("p3", limit=EVERYTHING))) == EVERYTHING - 1
    pages = [ids(searcher.similar("p3", limit=7, offset=offset)) for offset in (0, 7)]
    assert list(chain.from_iterable(pages)) == ids(searcher.similar("p3", limit=14))


def test_similar_to_an_unknown_product_says_which(searcher):
    with pytest.raises(UnknownProductError, match="there is no product 'nope'"):
        searcher.similar("nope")
    with pytest.raises(ValueError, match="limit is 0"):
        searcher.similar("p3", limit=0)
