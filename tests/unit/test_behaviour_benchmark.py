from __future__ import annotations

import json
from types import SimpleNamespace

import numpy as np
import pytest

from benchmarks.behaviour import __main__ as command
from benchmarks.behaviour import cells, dev, report, searches
from benchmarks.behaviour.baselines import ItemKnn, Popularity, TextAlone, Together, train_light_gcn
from benchmarks.behaviour.cells import CURVES, MAIN_SHOP, NETWORKS, Cell, every_cell, shop_of, spearman
from benchmarks.behaviour.data import ShopOf
from benchmarks.behaviour.dev import Dev
from benchmarks.behaviour.fused import fused
from benchmarks.behaviour.score import bootstrap, evaluate
from benchmarks.behaviour.task import SEGMENTS, Task
from benchmarks.tables import behaviour as tables
from model.behaviour.clicks import Clicks
from model.behaviour.graphs import build
from model.hyperboloid import Hyperboloids, containment
from model.sample.behaviour import Habits
from model.sample.shop import Shop

QUERIES, PRODUCTS = 10, 40


@pytest.fixture(scope="module")
def task():
    """Queries and products of two kinds, sessions too; the last query has no click."""
    rng = np.random.default_rng(0)
    kind = rng.integers(0, 2, 500)
    query = (kind + 2 * rng.integers(0, 4, 500)).astype(np.int32)
    product = (kind + 2 * (20 * rng.random(500) ** 2).astype(np.int64)).astype(np.int32)
    session = (kind + 2 * rng.integers(0, 70, 500)).astype(np.int32)
    clicks = Clicks(tuple(map(str, range(QUERIES))), query, product, session, np.arange(500.0))
    return Task.split("two kinds", [str(i) for i in range(PRODUCTS)], ["text"] * PRODUCTS, clicks)


@pytest.fixture(scope="module")
def graphs(task):
    return build(task.train, PRODUCTS)


def test_item_knn_is_cosine_of_sessions_by_number_of_clicks(task, graphs):
    incidence = np.zeros((PRODUCTS, graphs.sessions))
    incidence[graphs.product[graphs.member_pair], graphs.member_session] = 1
    sizes = np.maximum(incidence.sum(1), 1)
    cosine = incidence @ incidence.T / np.sqrt(np.outer(sizes, sizes))
    clicks = np.zeros((QUERIES, PRODUCTS))
    clicks[graphs.query, graphs.product] = graphs.count
    found = ItemKnn(task, graphs).scores(np.arange(QUERIES))
    np.testing.assert_allclose(found, clicks @ cosine, rtol=1e-4, atol=1e-3)
    popular = np.bincount(task.train.product, minlength=PRODUCTS)
    assert (found[9].argsort(kind="stable") == popular.argsort(kind="stable")).all()


def test_light_gcn_learns_and_popularity_answers_what_it_does_not_know(task, graphs):
    def right(ranker):
        best = ranker.scores(np.arange(8)).argmax(1)
        return float((best % 2 == np.arange(8) % 2).mean())

    ranker = train_light_gcn(task, graphs, seed=0, judge=right, steps=60)
    assert right(ranker) == 1.0
    popular = Popularity(task).scores(np.array([9]))
    assert (ranker.scores(np.array([9])).argsort(kind="stable") == popular.argsort(kind="stable")).all()


def test_the_text_is_ranked_by_containment(task):
    rng = np.random.default_rng(1)
    centres, points = rng.normal(size=(2, 6)).astype(np.float32), rng.normal(size=(PRODUCTS, 6)).astype(np.float32)
    limits = np.full((2, 6), 0.5, dtype=np.float32)
    geometry = SimpleNamespace(curvature=1.0, gamma=0.8)
    text = TextAlone(Hyperboloids(centres=centres, limits=limits), points, geometry)
    for query in (0, 1):
        exact = containment(points, centres[query][None], limits[query][None], c=1.0, gamma=0.8)
        assert (text.scores(np.array([query]))[0].argsort() == (-exact).argsort()).all()
    alone = Together(text, Popularity(task), 0.0).scores(np.array([1]))[0]
    assert (alone.argsort() == text.scores(np.array([1]))[0].argsort()).all()


def test_figures_are_told_for_all_and_for_every_segment(task):
    found, ranks = evaluate(Popularity(task), task, task.test)
    assert len(ranks) == task.test.new.sum() == found["new"]["all"]["pairs"]
    for kind in ("products", "queries"):
        assert sum(part["pairs"] for part in found["new"][kind].values()) == len(ranks)
    assert found["new"]["all"]["MRR"] == pytest.approx((1 / ranks).mean(), abs=1e-5)


class Knowing:
    """A ranker that puts one product first for each query."""

    def __init__(self, first):
        self.first = first

    def scores(self, queries):
        found = np.zeros((len(queries), PRODUCTS), dtype=np.float32)
        for row, query in enumerate(queries.tolist()):
            found[row, self.first.get(query, ())] = 1.0
        return found


def test_the_weight_for_new_pairs_is_chosen_on_new_pairs_however_few_there_are(task, monkeypatch):
    """One knows what was clicked before and another what is new: each is heard where it is right."""
    monkeypatch.setattr(dev, "MOST_PAIRS", 2)
    assert not task.dev.some(2).new.any()
    new, old = (
        Knowing({query: part.product[part.query == query] for query in range(QUERIES)})
        for part in (task.dev.where(task.dev.new), task.dev.where(~task.dev.new))
    )
    found = fused(old, new, task, Dev(task))
    assert found["new"]["weight"] > 0
    assert found["clicks"]["weight"] == 0
    assert found["new"].keys() == {"weight", "all", "products", "queries"}


def test_spearman_is_the_correlation_of_ranks():
    assert spearman(np.array([1.0, 2.0, 9.0]), np.array([1.0, 10.0, 11.0])) == pytest.approx(1.0)
    assert spearman(np.array([1.0, 1.0, 3.0]), np.array([5.0, 5.0, 2.0])) == pytest.approx(-1.0)
    assert spearman(np.array([1.0, 2.0, 3.0, 4.0]), np.array([2.0, 1.0, 4.0, 3.0])) == pytest.approx(0.6)


def test_there_are_eight_ways_and_each_switch_is_one_of_the_recipe():
    assert len(NETWORKS) == 8
    recipe = NETWORKS["two+pretraining+dropedge"].recipe(seed=3, steps=7)
    assert (recipe.sessions, recipe.pretraining_steps > 0, recipe.drop_pairs > 0) == (True, True, True)
    plain = NETWORKS["bipartite"].recipe(seed=3, steps=7)
    assert (plain.sessions, plain.pretraining_steps, plain.drop_pairs) == (False, 0, 0.0)
    names = [cell.name for cell in every_cell([0, 1])]
    assert len(set(names)) == len(names)
    assert {f"bestbuy-{name}-s1" for name in NETWORKS} <= set(names)


def test_the_headlines_systems_are_on_every_point_of_the_curves_beside_text_and_popularity():
    names = {cell.name for cell in every_cell([0, 2])}
    for shop in CURVES:
        for system in ("two+pretraining", "bipartite+pretraining", "text", "popularity"):
            assert {f"{shop.name}-{system}-s0", f"{shop.name}-{system}-s2"} <= names


def test_every_seed_of_a_curve_has_a_shop_of_its_own_and_the_large_shop_is_one():
    point = CURVES[-1]
    first, second = (shop_of(Cell(point.name, "text", seed)) for seed in (0, 1))
    assert (first, second.seed) == (point, 1)
    assert second.name != first.name
    assert shop_of(Cell(MAIN_SHOP.name, "text", 1)) == MAIN_SHOP
    assert shop_of(Cell("bestbuy", "text", 1)) is None


def test_a_shop_of_another_seed_has_other_products_and_is_kept_in_another_file(tmp_path):
    tasks = [ShopOf(60, 300, seed=seed).task(tmp_path) for seed in (0, 1, 1)]
    assert tasks[0].texts != tasks[1].texts == tasks[2].texts
    assert (tasks[1].test.product == tasks[2].test.product).all()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["shop60-300.npz", "shop60s1-300.npz"]
    assert tasks[1].name.partition("-")[0] != tasks[0].name.partition("-")[0]  # encoders are kept by this


@pytest.mark.slow
@pytest.mark.parametrize("shop", CURVES, ids=lambda shop: shop.name)
def test_points_of_the_curves_differ_in_habits_and_not_in_the_number_of_clicks(shop):
    """A tenth of the sessions, which come in the same proportions."""
    made = Shop(shop.products, sessions=shop.sessions // 10, habits=Habits(tail=shop.tail, noise=shop.noise))
    assert sum(event.event == "click" for event in made.interactions()) == pytest.approx(24_000, rel=0.02)


@pytest.mark.slow
def test_cells_are_run_once_recorded_and_collected(tmp_path, monkeypatch, capsys):
    small = ShopOf(150, 1200)
    monkeypatch.setattr(cells, "MAIN_SHOP", small)
    monkeypatch.setattr(cells, "CURVES", (ShopOf(140, 1200, noise=0.5),))
    monkeypatch.setattr(cells, "PRETRAINING_STEPS", 2)
    out = tmp_path / "records"
    said = [
        "--data",
        str(tmp_path),
        "--work",
        str(tmp_path / "work"),
        "--out",
        str(out),
        "--seeds",
        "0",
        "--steps",
        "4",
    ]
    said += ["--text-steps", "20", "--threads", "1"]
    for asked in ("shop150-text-s0", "shop150-*e+pretraining-s0", "shop150-two+pretraining-s0"):
        command.main([*said, "--cells", asked])
    names = {path.stem for path in out.glob("*.json")}
    assert names == {f"shop150-{system}-s0" for system in ("text", "bipartite+pretraining", "two+pretraining")}
    record = json.loads((out / "shop150-two+pretraining-s0.json").read_bytes())
    assert record["graph"]["sessions"] > 100
    assert len(record["generator"]) == 12
    assert set(record["test"]["new"]) == {"all", "products", "queries"}
    assert set(record["fused"]) == {"new", "clicks"}
    summary = json.loads(out.with_suffix(".json").read_bytes())
    assert summary["cells"] == len(names)
    (gain,) = [g for g in summary["gains"] if (g["data"], g["system"]) == ("shop150", "two+pretraining")]
    assert gain["MRR"]["95 %"][0] <= gain["MRR"]["difference"] <= gain["MRR"]["95 %"][1]
    capsys.readouterr()
    command.main([*said, "--cells", "shop150-text-*"])
    assert "skipped" in capsys.readouterr().err
    assert cells.Bench(tmp_path, tmp_path, out, None, print).lacks(Cell("bestbuy", "text", 0)).endswith("bestbuy_games")


def test_seeds_become_a_mean_and_a_spread():
    parts = [{"MRR": value, "pairs": 7, "by": {"tail": value}} for value in (0.1, 0.3)]
    found = report.merged(parts)
    assert found["pairs"] == 7
    assert found["by"]["tail"] == found["MRR"] == {"mean": pytest.approx(0.2), "std": pytest.approx(0.1414, abs=1e-3)}


def test_a_figure_that_a_seed_lacks_is_the_mean_of_the_others():
    parts = [{"tail": {"pairs": 0}}, {"tail": {"pairs": 3, "MRR": 0.5}}]
    assert report.merged(parts)["tail"]["MRR"] == {"mean": 0.5, "std": None}


def write_cell(folder, system, seed, ranks, *, query, segment, shop=None):
    """A record and its ranks, as far as a report reads them."""
    pairs = len(ranks)
    record = {
        "data": "data",
        "system": system,
        "seed": seed,
        "seconds": 1.0,
        "test": {"new": {"all": {"pairs": pairs, "MRR": float((1 / ranks).mean())}}},
        "graph": {"pairs": 100 + seed},
        "shop": None if shop is None else {"tail": 3.0, "noise": 0.0, "seed": shop},
        **dict.fromkeys(("measured", "commit", "generator", "machine", "versions", "threads"), "same"),
    }
    (folder / f"data-{system}-s{seed}.json").write_text(json.dumps(record), encoding="utf-8")
    columns = {"query": query, "product": np.arange(pairs), "segment": segment}
    np.savez(folder / f"data-{system}-s{seed}.npz", ranks=ranks.astype(np.float32), **columns)


@pytest.fixture
def measured(tmp_path):
    """Ranks of two systems with two seeds, on 30 pairs of 10 queries; every other pair is of the tail."""
    rng = np.random.default_rng(0)
    return {
        "ranks": {system: rng.integers(1, 40, (2, 30)) for system in ("two", "bipartite")},
        "query": np.repeat(np.arange(10), 3),
        "segment": np.tile([0, 2], 15),
    }


def write_cells(folder, measured, shops):
    for system, ranks in measured["ranks"].items():
        for seed, shop in enumerate(shops):
            write_cell(
                folder, system, seed, ranks[seed], query=measured["query"], segment=measured["segment"], shop=shop
            )


def test_seeds_on_the_same_pairs_are_averaged_and_the_tail_has_an_interval_of_its_own(tmp_path, measured):
    write_cells(tmp_path, measured, (None, None))
    found = report.collect(tmp_path)
    (gain,) = found["gains"]
    assert (gain["seeds"], gain["pairs"], gain["tail"]["pairs"]) == (2, 30, 15)
    mine, theirs = (1 / measured["ranks"][system] for system in ("two", "bipartite"))
    assert gain["MRR"]["difference"] == pytest.approx((mine - theirs).mean())
    assert gain["MRR"]["95 %"] == pytest.approx(bootstrap((mine - theirs).mean(0), measured["query"]))
    tail = measured["segment"] == 2
    assert gain["tail"]["MRR"]["relative"] == pytest.approx(mine[:, tail].mean() / theirs[:, tail].mean() - 1)
    between = bootstrap((mine - theirs).mean(0)[tail], measured["query"][tail])
    assert gain["tail"]["MRR"]["95 %"] == pytest.approx(between)
    assert gain["tail"]["Recall@10"]["95 %"][0] <= gain["tail"]["Recall@10"]["difference"]
    assert found["shops"] == {}


def test_seeds_with_shops_of_their_own_are_more_pairs_of_more_queries(tmp_path, measured):
    write_cells(tmp_path, measured, (0, 1))
    found = report.collect(tmp_path)
    (gain,) = found["gains"]
    assert (gain["pairs"], gain["tail"]["pairs"]) == (60, 30)
    mine, theirs = (1 / measured["ranks"][system] for system in ("two", "bipartite"))
    queries = np.concatenate([measured["query"], 10 + measured["query"]])
    assert gain["MRR"]["95 %"] == pytest.approx(bootstrap((mine - theirs).ravel(), queries))
    assert found["shops"] == {"data": {"tail": 3.0, "noise": 0.0, "seed": [0, 1]}}
    assert found["graphs"]["data"]["pairs"]["mean"] == 100.5


def test_a_gain_over_nothing_is_a_difference_alone_and_a_tail_without_pairs_has_none(tmp_path, measured):
    measured["ranks"]["bipartite"][:] = 30
    measured["segment"][:] = 0
    write_cells(tmp_path, measured, (0, 1))
    (gain,) = report.collect(tmp_path)["gains"]
    assert gain["Recall@10"]["relative"] is None
    assert gain["tail"] == {"pairs": 0}


def test_tables_tell_the_gains_with_intervals_and_do_without_what_is_not_measured(tmp_path, measured, monkeypatch):
    write_cells(tmp_path, measured, (0, 1))
    curves = report.collect(tmp_path)
    monkeypatch.setattr(tables, "read", lambda _: curves)
    (line,) = tables.behaviour_curves().splitlines()[2:]
    assert line.startswith("| 3 | 0 | bipartite | 2 | 60 | 30 | ")
    low, high = curves["gains"][0]["tail"]["MRR"]["95 %"]
    assert f"95 %: {low:+.4f} to {high:+.4f}" in line
    assert len(tables.behaviour_gains().splitlines()) == 2
    assert tables.behaviour_shop() == "Not measured yet."
    # as it was before there were curves, and intervals of tails
    gain = curves["gains"][0] | {"data": "bestbuy", "tail": {"MRR": 0.125}}
    monkeypatch.setattr(tables, "read", lambda _: {"gains": [gain], "systems": []})
    assert tables.behaviour_gains().endswith(" | +12.5% |  |")
    assert tables.behaviour_curves() == "Not measured yet."


def test_what_was_asked_is_compared_with_all_that_is_measured_and_a_miss_is_called_one(monkeypatch):
    gain = {"data": "bestbuy", "system": "two+pretraining", "MRR": {"relative": 0.05}}
    gain["tail"] = {"MRR": {"relative": 0.25}, "Recall@10": {"relative": 0.07}}
    attention = {"spearman_with_log_degree": {"mean": 0.6}}
    run = {"clicks": {"product tail": {"gain": 0.02}, "product cold": {"gain": -0.1}}, "milliseconds": {"added": 0.4}}
    reports = {
        "behaviour": {
            "gains": [gain],
            "systems": [{"data": "bestbuy", "system": "two+pretraining+dropedge", "attention": attention}],
        },
        "behaviour_searches": {"benchmark": "behaviour_searches", "bestbuy": [run, run]},
        "behaviour_scale": {"edges": 1_400_000, "sessions": 470_000, "peak_gib": 2.6, "minutes": 12.0},
        "baskets": {"gains": [{"ranker": "hypergraph", "than": "item-knn", "difference": 0.02}]},
    }
    monkeypatch.setattr(tables, "read", reports.__getitem__)
    lines = tables.behaviour_asked().splitlines()[2:]
    missed = [line.split(" | ")[0].removeprefix("| ") for line in lines if "**missed**" in line]
    assert missed == [
        "bestbuy, tail: Recall@10 gained by the second channel, both pre-trained",
        "bestbuy, Spearman of the hypergraph's weight with log-degree, two+pretraining+dropedge",
        "bestbuy, what the channel adds to RR@100 of fused searches, cold products' clicks",
        "its hyperedges",
    ]
    assert len(lines) == 12
    assert not any("head products" in line for line in lines)


def test_systems_on_different_pairs_are_not_compared(tmp_path, measured):
    write_cells(tmp_path, measured, (0,))
    ranks = measured["ranks"]["two"][0]
    write_cell(tmp_path, "two", 0, ranks, query=measured["query"][::-1], segment=measured["segment"], shop=0)
    with pytest.raises(ValueError, match="data: two and bipartite were measured on different pairs"):
        report.collect(tmp_path)


@pytest.mark.slow
def test_searches_are_compared_with_the_channel_and_without(tmp_path, monkeypatch):
    monkeypatch.setattr(searches, "_SHOPS", {"shop150": ShopOf(150, 1200)})
    out = tmp_path / "searches.json"
    said = ["--work", str(tmp_path / "work"), "--out", str(out), "--shops", "shop150", "--seeds", "0"]
    searches.main([*said, "--text-steps", "20", "--minutes", "0.05"])
    (found,) = json.loads(out.read_bytes())["shop150"]
    assert found["products"] == 150
    for part in ("clicks", "new"):
        every = found[part]["all"]
        assert every["between"][0] <= every["gain"] <= every["between"][1]
        difference = every["with"]["RR@100"] - every["without"]["RR@100"]
        assert every["gain"] == pytest.approx(difference, abs=2e-4)
        assert (
            sum(found[part][f"product {name}"]["pairs"] for name in SEGMENTS if f"product {name}" in found[part])
            == (every["pairs"])
        )
    assert found["fusion"]["without"]["behaviour_weight"] == 0
    assert found["milliseconds"].keys() == {"with", "without", "added"}
