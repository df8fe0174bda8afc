"""Searches answered together are answered as each would be alone."""

from __future__ import annotations

import json
import random
from dataclasses import replace

import pytest
from fakes import bring, shop_titles, write_bundle

from index.build import build
from index.expression import And, Not, Or, Text
from index.filter_syntax import parse as parse_filter
from index.journal import Change
from index.operators import parse
from index.refinement import Refinement, Sort
from index.search import Search, Searcher, Similar
from model.catalog import Product

TITLES = shop_titles(800, seed=2)
QUERIES = ["cordless drill", "acme oak door", "brass", "white vanity 12", "unheardof wörd 7", "steel", "drilx"]
EXPRESSIONS = ["drill AND cordless", "brass OR (steel NOT lamp)", "door NOT oak", "vanity OR drill OR lamp"]
FILTERS = [None, "price < 20", "price < 1", 'brand = "acme" OR stock >= 3', "NOT stock = 0"]


def product(i):
    return {
        "product_id": f"p{i}",
        "title": TITLES[i],
        "brand": TITLES[i].split()[0],
        "price": float(i % 40) or None,
        "stock": i % 5,
    }


def opened(directory, backend):
    write_bundle(directory / "model", TITLES)
    catalog = directory / "catalog.jsonl"
    catalog.write_text("\n".join(json.dumps(product(i)) for i in range(700)))
    report = build(bundle_dir=directory / "model", catalog=catalog, root=directory / "index", backend=backend)
    return Searcher.open(report.directory)


@pytest.fixture(scope="module", params=["flat", "codes", "cells", "hnsw", "codes and changes"])
def searcher(request, tmp_path_factory):
    backend = request.param.split()[0]
    searcher = opened(tmp_path_factory.mktemp("together"), backend)
    if "changes" in request.param:
        stored = [
            Product(f"p{i}", TITLES[i], brand="acme", price=float(i % 30), attributes={"stock": 1.0})
            for i in range(600, 800)
        ]
        points = searcher.encode(stored)
        changes = [Change(one.product_id, one, point) for one, point in zip(stored, points, strict=True)]
        bring(searcher, [*changes, *(Change(f"p{i}", None) for i in range(0, 200, 3))])
    yield searcher
    searcher.close()


def asked(chance):
    """Any of the searches that there can be, some of which cannot be answered."""
    wanted = chance.choice(FILTERS)
    refinement = Refinement(
        filter=None if wanted is None else parse_filter(wanted),
        sort=chance.choice([None, None, None, Sort("price"), Sort("distance", descending=True)]),
        facets=chance.choice([(), (), ("brand", "price")]),
    )
    limit, offset = chance.choice([(10, 0), (10, 0), (1, 0), (25, 5), (700, 0), (300, 400)])
    if chance.random() < 0.2:
        refinement = replace(refinement, facets=(), sort=None)
        return Similar(f"p{chance.randrange(820)}", limit, offset, refinement)
    query = chance.choice([*QUERIES, *map(parse, EXPRESSIONS)])
    if chance.random() < 0.2:
        ill = [
            Search("—…!"),
            Search(query, limit=0),
            Search(query, refinement=Refinement(facets=("nonesuch",))),
            Search(query, refinement=Refinement(filter=parse_filter("brand > 3"))),
            Search(Or((Text("drill"), Text("!!")))) if chance.random() < 0.5 else Search(query, offset=10_000),
        ]
        return chance.choice(ill)
    return Search(query, chance.choice(["hybrid", "hyperboloid", "lexical"]), limit, offset, refinement)


def alone(searcher, one):
    try:
        if isinstance(one, Similar):
            return searcher.similar(one.product_id, limit=one.limit, offset=one.offset, refinement=one.refinement)
        return searcher.search(one.query, mode=one.mode, limit=one.limit, offset=one.offset, refinement=one.refinement)
    except (ValueError, LookupError) as error:
        return error


def assert_same(together, single):
    if isinstance(single, Exception):
        assert type(together) is type(single)
        assert str(together) == str(single)
        return
    assert not isinstance(together, Exception), together
    assert [hit.product for hit in together.hits] == [hit.product for hit in single.hits]
    for name in ("score", "distance", "contained"):
        mine, theirs = ([getattr(hit, name) for hit in result.hits] for result in (together, single))
        assert mine == pytest.approx(theirs, rel=1e-5, abs=1e-5)
    if single.generality is None:
        assert together.generality is None
    else:
        assert together.generality == pytest.approx(single.generality, rel=1e-5)
    for name in ("total", "facets", "mode", "snapshot", "model"):
        assert getattr(together, name) == getattr(single, name)


@pytest.mark.parametrize("seed", range(3))
def test_together_is_as_alone(searcher, seed):
    chance = random.Random(seed)
    everything = [asked(chance) for _ in range(90)]
    assert sum(isinstance(alone(searcher, one), Exception) for one in everything) > 5
    while everything:
        count = chance.choice([1, 2, 7, 32])
        batch, everything = everything[:count], everything[count:]
        for together, one in zip(searcher.search_many(batch), batch, strict=True):
            assert_same(together, alone(searcher, one))


def test_nothing_asked_is_nothing_answered(searcher):
    assert searcher.search_many([]) == []


def test_the_same_search_twice_is_answered_twice(searcher):
    first, second = searcher.search_many([Search("brass"), Search("brass")])
    assert first.hits == second.hits != ()


def test_a_text_without_a_word_spoils_no_other(searcher):
    answers = searcher.search_many(
        [Search("!!"), Search("brass"), Search(And((Text("steel"), Not(Text("…"))))), Search("drill")]
    )
    assert [isinstance(answer, ValueError) for answer in answers] == [True, False, True, False]
    assert "'!!'" in str(answers[0])
    assert answers[3].hits == searcher.search("drill").hits


def test_all_see_the_same_products_and_stages_are_timed_for_all_of_them(searcher):
    first, second = searcher.search_many([Search("brass"), Similar("p1")])
    assert first.timings == second.timings
    assert min(first.timings.encode, first.timings.candidates, first.timings.rerank, first.timings.fetch) > 0
    assert first.measured > 0
