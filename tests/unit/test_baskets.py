from __future__ import annotations

import csv
import gzip
import json

import numpy as np
import pytest
import torch

from benchmarks.behaviour import baskets
from benchmarks.behaviour.basket_rankers import Network, Training, as_clicks, cosines, ease, left_out, together
from benchmarks.behaviour.baskets import Asked, Baskets, best
from benchmarks.tables import behaviour as tables

PRODUCTS = 100


@pytest.fixture(scope="module")
def shop():
    """Baskets of products of one of four kinds, which the rest of their number tells."""
    rng = np.random.default_rng(0)
    members = [np.unique(kind + 4 * rng.integers(0, 25, 6)) for kind in rng.integers(0, 4, 400)]
    members = [items for items in members if len(items) > 1]
    return Baskets([str(i) for i in range(PRODUCTS)], [f"ware {i}" for i in range(PRODUCTS)], members)


@pytest.fixture(scope="module")
def features():
    drawn = torch.randn(PRODUCTS, 32, generator=torch.Generator().manual_seed(0))
    return torch.nn.functional.normalize(drawn, dim=1)


@pytest.fixture(scope="module")
def incidence(shop):
    held = np.zeros((len(shop.members), PRODUCTS))
    for row, items in enumerate(shop.members):
        held[row, items] = 1
    return held


def test_one_item_of_each_basket_is_held_out(shop):
    asked = Asked(shop.members, seed=0)
    for rest, item, items in zip(asked.rests, asked.items, shop.members, strict=True):
        assert sorted([*rest.tolist(), item]) == items.tolist()


def test_hits_share_what_ties_decide():
    asked = Asked([np.array([0, 1, 5])], seed=0)
    asked.rests, asked.items = [np.array([0, 1])], [5]
    speaks = torch.zeros(50, 50)
    assert asked.hits(speaks)[0] == pytest.approx(20 / 48)
    speaks[1, 5] = 1.0
    assert asked.hits(speaks)[0] == 1.0


def test_a_basket_is_ranked_by_the_sum_of_what_its_members_say(shop):
    speaks = torch.rand(PRODUCTS, PRODUCTS, generator=torch.Generator().manual_seed(1))
    asked = Asked(shop.members[:20], seed=0)
    for hit, rest, item in zip(asked.hits(speaks), asked.rests, asked.items, strict=True):
        scores = speaks.numpy()[rest].sum(0)
        scores[rest] = -np.inf
        assert hit == (item in np.argsort(-scores)[: baskets.K])


@pytest.mark.parametrize(("shrink", "power", "shares"), [(0.0, 1.0, False), (10.0, 2.0, False), (10.0, 1.5, True)])
def test_item_knn_is_the_cosine_of_two_products_baskets_shrunk_sharpened_and_shared_out(
    shop, incidence, shrink, power, shares
):
    shared = incidence.T @ incidence
    bought = np.maximum(np.diag(shared), 1)
    exact = (shared / (np.sqrt(np.outer(bought, bought)) + shrink)) ** power
    np.fill_diagonal(exact, 0)
    if shares:
        exact /= exact.sum(1, keepdims=True)
    found = cosines(together(shop.members, PRODUCTS), shrink=shrink, power=power, shares=shares)
    np.testing.assert_allclose(found, exact, atol=3e-6)


def test_item_knn_gives_ties_to_what_is_bought_more(shop, incidence):
    found = cosines(together(shop.members, PRODUCTS), shrink=0.0, power=1.0, shares=False)
    strangers = np.flatnonzero((incidence.T @ incidence)[0] == 0)  # share no basket with the first product
    assert (
        found[0, strangers].numpy().argsort(kind="stable") == incidence.sum(0)[strangers].argsort(kind="stable")
    ).all()


def test_ease_is_the_ridge_regression_of_each_product_on_the_others(shop, incidence):
    found = ease(together(shop.members, PRODUCTS), penalty=7.0).numpy()
    for product in (0, 41):
        others = np.delete(np.arange(PRODUCTS), product)
        x, y = incidence[:, others], incidence[:, product]
        exact = np.linalg.solve(x.T @ x + 7.0 * np.eye(len(others)), x.T @ y)
        np.testing.assert_allclose(found[others, product], exact, atol=1e-5)
        assert found[product, product] == 0


def test_what_is_left_out_of_a_basket_is_told_by_the_mean_of_its_rest():
    rng = np.random.default_rng(0)
    speaks = rng.random((9, 9))
    np.fill_diagonal(speaks, 0)
    members = [np.array([0, 3, 4]), np.array([1, 8])]
    exact = np.mean(
        [np.mean([-np.log(np.mean([speaks[j, i] for j in items if j != i])) for i in items]) for items in members]
    )
    assert left_out(torch.from_numpy(speaks).float(), members).item() == pytest.approx(exact, rel=1e-5)


@pytest.mark.parametrize("own", [False, True])
def test_the_network_learns_to_find_what_was_held_out(shop, features, own):
    dev = Asked(shop.part(0.8, 0.9), seed=0)
    network = Network(shop.part(0.0, 0.8), features, own=own, seed=0)
    assert network.fit(dev.recall, Training(steps=60, rate=0.02, batch=64)) > 0.6  # chance is 0.2
    speaks = network.speaks()
    np.testing.assert_allclose(speaks.sum(1), 1.0, rtol=1e-4)
    assert speaks.diagonal().abs().max() == 0
    assert dev.recall(speaks) > 0.6


def test_baskets_in_a_batch_are_in_no_hypergraph_that_they_are_asked_of(shop, features, monkeypatch):
    network = Network(shop.part(0.0, 0.8), features, own=False, seed=0)
    channels, seen = network._channels, []
    monkeypatch.setattr(
        network, "_speaks", lambda graphs: seen.append(graphs) or torch.full((PRODUCTS,) * 2, 0.01, requires_grad=True)
    )
    asked = []
    monkeypatch.setattr(
        "benchmarks.behaviour.basket_rankers.left_out",
        lambda speaks, members: asked.append(members) or left_out(speaks, members),
    )
    network.fit(lambda _: 0.0, Training(steps=3, rate=0.01, batch=64, dropped=0.0))
    for graphs, members in zip(seen[:3], asked, strict=True):
        left = graphs.gather.straight.to_dense()[:, channels.queries :]
        empty = np.flatnonzero(left.sum(1).numpy() == 0)
        assert sorted(map(tuple, members)) == sorted(tuple(network._baskets[i]) for i in empty)


def test_the_best_on_dev_is_taken_and_the_first_of_equals(shop):
    dev = Asked(shop.part(0.8, 0.9), seed=0)
    good = cosines(together(shop.part(0.0, 0.8), PRODUCTS), shrink=0.0, power=1.0, shares=False)
    chosen, speaks = best([({"made": "badly"}, -good), ({"made": "well"}, good), ({"made": "again"}, 2 * good)], dev)
    assert chosen == {"made": "well", "dev": pytest.approx(dev.recall(good), abs=1e-5)}
    assert speaks is good


def test_a_basket_is_a_session_of_its_own(shop):
    clicks = as_clicks(shop.members[:3])
    assert [clicks.product[clicks.session == i].tolist() for i in range(3)] == [m.tolist() for m in shop.members[:3]]


@pytest.mark.slow
def test_a_file_of_baskets_becomes_a_report(shop, tmp_path, monkeypatch):
    monkeypatch.setattr(baskets, "NETWORKS", {"hypergraph": (False, Training(steps=2, rate=0.01, every=1))})
    folder = tmp_path / "online_retail"
    folder.mkdir()
    with gzip.open(folder / "baskets.csv.gz", "wt", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("basket_id", "time", "product_id", "title"))
        for number, items in enumerate(shop.members):
            writer.writerows((number, f"2011-01-01T00:{number:05}", item, shop.texts[item]) for item in items)
    out = tmp_path / "baskets.json"
    said = ["--data", str(tmp_path), "--work", str(tmp_path / "work"), "--out", str(out), "--text-steps", "20"]
    baskets.main([*said, "--seeds", "0,1", "--threads", "1"])
    report = json.loads(out.read_bytes())
    assert report["baskets"] == len(shop.members)
    assert report["Recall@20"].keys() == {"popularity", "text", "item-knn", "item-knn, tuned", "ease", "hypergraph"}
    assert [run["seed"] for run in report["rankers"]["hypergraph"]["runs"]] == [0, 1]
    for gain in report["gains"]:
        assert gain["95 %"][0] <= gain["difference"] <= gain["95 %"][1]
    monkeypatch.setattr(tables, "read", lambda _: report)
    head, _, *lines = tables.behaviour_baskets().splitlines()
    assert head == "| ranker | Recall@20 | over item-knn | over item-knn, tuned | over ease |"
    assert [line.split(" | ")[0].removeprefix("| ") for line in lines] == list(report["Recall@20"])
    assert lines[-1].count("95 %") == 3
