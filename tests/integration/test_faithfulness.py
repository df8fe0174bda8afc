"""``benchmarks/faithfulness.py`` and the searching half of ``benchmarks/robustness.py``, on a small shop."""

from __future__ import annotations

import importlib.util
from dataclasses import replace
from pathlib import Path

import pytest
from fakes import shop_titles, write_bundle, write_catalog

from index.build import build
from index.search import Searcher
from model.catalog import Judgment

TITLES = shop_titles(200)
QUERIES = [" ".join(title.split()[1:4]) for title in TITLES[:40]]


def _benchmark(name):
    path = Path(__file__).parents[2] / "benchmarks" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


faithfulness, robustness = _benchmark("faithfulness"), _benchmark("robustness")


def open_shop(directory, **options):
    write_bundle(directory / "model", TITLES, **options)
    catalog = write_catalog(directory / "catalog.csv", TITLES)
    report = build(bundle_dir=directory / "model", catalog=catalog, root=directory / "index", queries=QUERIES[:2])
    return Searcher.open(report.directory)


@pytest.fixture(scope="module")
def searcher(tmp_path_factory):
    searcher = open_shop(tmp_path_factory.mktemp("words"))
    yield searcher
    searcher.close()


def test_grids_are_faithful_and_measured_alike_every_time(searcher):
    found = faithfulness.faithfulness(searcher, QUERIES, hits=30)
    assert found["hits"] == 30
    assert found["share"] > 0.6  # of a mean of random vectors
    assert found["median_cost_of_highest"] > found["median_cost_of_lowest"]
    assert faithfulness.faithfulness(searcher, reversed(QUERIES), hits=30) == found


def test_grids_that_are_upside_down_are_found_out(searcher, monkeypatch):
    def inverted(*arguments):
        found = explain(*arguments)
        terms = tuple(replace(term, answers=-term.answers) for term in found.title_terms)
        return replace(found, title_terms=terms)

    explain = faithfulness.explain
    monkeypatch.setattr(faithfulness, "explain", inverted)
    assert faithfulness.faithfulness(searcher, QUERIES, hits=30)["share"] < 0.4


def test_a_tie_is_no_success(searcher, monkeypatch):
    monkeypatch.setattr(faithfulness, "_removal_costs", lambda _searcher, found: [0.0] * len(found.title_terms))
    assert faithfulness.faithfulness(searcher, QUERIES, hits=30)["share"] == 0.0


def test_too_few_hits_are_an_error_that_counts_them(searcher):
    with pytest.raises(ValueError, match="3 queries yield 2 hits"):
        faithfulness.faithfulness(searcher, [*QUERIES[:2], "?!"], hits=30)


def test_titles_are_not_cut_by_trigrams(tmp_path):
    searcher = open_shop(tmp_path, terms="trigram")
    with pytest.raises(ValueError, match="a bundle of words is needed"):
        faithfulness.faithfulness(searcher, QUERIES, hits=5)
    searcher.close()


def test_robustness_compares_each_kind_on_the_queries_it_changes(searcher):
    judgments = [Judgment(query, f"p{i}", 3.0) for i, query in enumerate(QUERIES)]
    found = robustness.robustness(searcher, judgments, modes=("hyperboloid", "lexical"))
    assert found["queries"] == len(set(QUERIES))
    for mode in ("hyperboloid", "lexical"):
        assert 0.0 < found[mode]["clean"] <= 1.0
        assert found[mode]["upper"]["lost"] == pytest.approx(0.0)
        assert found[mode]["edit"]["queries"] == len(set(QUERIES))
        assert found[mode]["edit"]["clean"] == found[mode]["clean"]
        edit = found[mode]["edit"]
        assert edit["lost"] == pytest.approx(1.0 - edit["perturbed"] / edit["clean"])
    assert "units" not in found["hyperboloid"]


def test_what_is_not_found_any_more_is_lost(searcher, monkeypatch):
    judgments = [Judgment(title, f"p{i}", 3.0) for i, title in enumerate(TITLES[:9])]
    texts = {TITLES[0]: "?!", TITLES[1]: TITLES[150]}
    monkeypatch.setattr(robustness, "perturbations", lambda *_arguments, **_options: {"nonsense": texts})
    found = robustness.robustness(searcher, judgments, modes=("hyperboloid",))["hyperboloid"]["nonsense"]
    assert (found["queries"], found["clean"], found["perturbed"], found["lost"]) == (2, 1.0, 0.0, 1.0)
