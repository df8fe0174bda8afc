from __future__ import annotations

import json

import pytest
import typer
from fakes import shop_titles, write_bundle, write_catalog
from typer.testing import CliRunner

from benchmarks.robustness import MODES
from index.build import build
from index.expression import ExpressionError
from index.search import ModeError, UnknownProductError
from service.commands.evaluate import evaluate
from service.commands.search import search
from service.commands.similar import similar

TITLES = shop_titles(200)


@pytest.fixture(scope="module")
def saddle(tmp_path_factory):
    """Runs one command on an index of 200 products; what it raises comes through."""
    directory = tmp_path_factory.mktemp("shop")
    write_bundle(directory / "model", TITLES)
    catalog = write_catalog(directory / "catalog.csv", TITLES)
    build(bundle_dir=directory / "model", catalog=catalog, root=directory / "index", threads=1)
    app = typer.Typer()
    for command in (search, similar, evaluate):
        app.command(command.__name__)(command)

    def run(*arguments):
        called = [*map(str, arguments), "--index", str(directory / "index")]
        result = CliRunner().invoke(app, called, catch_exceptions=False, env={"COLUMNS": "160"})
        assert result.exit_code == 0, result.output
        return result.stdout

    return run


def found(printed):
    return [hit["product"]["product_id"] for hit in json.loads(printed)["hits"]]


@pytest.mark.parametrize("mode", ["hybrid", "hyperboloid", "lexical"])
def test_search_finds_in_the_mode_asked_for_and_names_it(saddle, mode):
    printed = saddle("search", "oak door", "--mode", mode, "--limit", 5)
    document = json.loads(saddle("search", "oak door", "--mode", mode, "--limit", 5, "--json"))
    assert document["mode"] == mode
    assert f"{mode} · " in printed
    assert f"{document['total']['value']} products in the hyperboloid" in printed
    assert f"generality {document['generality']:.1f}" in printed
    for hit in document["hits"]:
        assert hit["product"]["product_id"] in printed
        assert f"{hit['score']:.4f}" in printed


def test_search_reads_operators_only_when_told_to(saddle):
    arguments = ("search", "drill NOT cordless", "--mode", "lexical", "--limit", 100, "--json")
    plain, read = (json.loads(saddle(*arguments, *more)) for more in ((), ("--operators",)))
    assert plain["query"] == read["query"] == "drill NOT cordless"
    best = [hit["product"]["title"] for hit in read["hits"] if hit["score"] > 0]
    assert best
    assert not any("cordless" in title for title in best)
    assert any("cordless" in hit["product"]["title"] for hit in plain["hits"][: len(best)])


def test_a_contradiction_is_answered_without_volume(saddle):
    printed = saddle("search", "oak NOT oak", "--operators")
    assert "0 products in the hyperboloid · no volume" in printed


def test_search_refuses_operators_that_it_cannot_read(saddle):
    with pytest.raises(ExpressionError, match="at character 4 opens a bracket"):
        saddle("search", "oak (door", "--operators")
    with pytest.raises(ExpressionError, match="NOT only excludes"):
        saddle("search", "NOT door", "--operators")


def test_similar_prints_the_nearest_products_but_not_the_one_asked_for(saddle):
    printed = saddle("similar", "p17", "--limit", 5)
    ids = found(saddle("similar", "p17", "--limit", 5, "--json"))
    assert len(ids) == 5
    assert "p17" not in ids
    assert all(product_id in printed for product_id in ids)
    with pytest.raises(UnknownProductError, match="no product 'p999'"):
        saddle("similar", "p999")


def test_similar_takes_a_filter(saddle):
    assert found(saddle("similar", "p17", "--filter", 'product_id IN ("p17", "p3")', "--json")) == ["p3"]


@pytest.fixture(scope="module")
def judgments(tmp_path_factory):
    file = tmp_path_factory.mktemp("judged") / "judgments.csv"
    lines = [f"{title},p{i},3" for i, title in enumerate(TITLES[:40])]
    file.write_text("\n".join(["query,product_id,relevance", *lines]))
    return file


def test_evaluate_measures_the_mode_asked_for_also_each_that_is_benchmarked(saddle, judgments):
    arguments = ("evaluate", "--judgments", judgments, "--split", "all")
    for mode in MODES:
        measured = json.loads(saddle(*arguments, "--mode", mode, "--json"))
        assert measured["mode"] == mode
        assert measured["metrics"]["retrieve"]["R(rel=4)@10"] > 0.9
    assert "lexical · 40 queries" in saddle(*arguments, "--mode", "lexical")


def test_evaluate_says_that_there_are_no_clicks_to_measure(saddle, judgments):
    with pytest.raises(ModeError, match="no behaviour channel"):
        saddle("evaluate", "--judgments", judgments, "--split", "all", "--mode", "behaviour")
