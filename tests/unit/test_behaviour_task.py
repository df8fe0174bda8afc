"""The benchmark's split: nothing that is to be predicted may be passed over, in either graph."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.behaviour.score import bootstrap, measures, ranks
from benchmarks.behaviour.task import SEGMENTS, Later, Task
from model.behaviour.clicks import Clicks
from model.behaviour.graphs import build

PRODUCTS = 30


@pytest.fixture(scope="module")
def clicks():
    rng = np.random.default_rng(0)
    query, product = rng.integers(0, 12, 400), (PRODUCTS * rng.random(400) ** 3).astype(np.int64)
    session = np.sort(rng.integers(0, 60, 400))
    columns = (column.astype(np.int32) for column in (query, product, session))
    return Clicks(tuple(str(i) for i in range(12)), *columns, time=np.arange(400.0))


@pytest.fixture(scope="module")
def task(clicks):
    return Task.split("shop", [str(i) for i in range(PRODUCTS)], ["title"] * PRODUCTS, clicks)


def leaks(task, graphs) -> list[tuple[int, int]]:
    """Pairs to be predicted that a graph holds: as an edge, or as what brought a product into a session."""
    edges = {(int(q), int(p)) for q, p in zip(graphs.query, graphs.product, strict=True)}
    members = {(int(graphs.query[m]), int(graphs.product[m])) for m in graphs.member_pair}
    asked = set()
    for later in (task.dev, task.test):
        asked |= set(zip(later.query[later.new].tolist(), later.product[later.new].tolist(), strict=True))
    return sorted(asked & (edges | members))


def test_no_pair_that_is_asked_for_is_in_a_graph(task):
    assert task.dev.new.sum() > 5
    assert task.test.new.sum() > 5
    assert leaks(task, build(task.train, PRODUCTS)) == []


def test_a_test_click_put_into_the_training_is_found_out(task, clicks):
    """The check above is able to fail: one later click among the train clicks, and it does."""
    first = int(np.flatnonzero(task.test.new)[0])
    pair = task.test.query[first], task.test.product[first]
    place = int(np.flatnonzero((clicks.query == pair[0]) & (clicks.product == pair[1]))[0])
    spoilt = clicks.where(np.isin(np.arange(400), [*range(320), place]))
    assert leaks(task, build(spoilt, PRODUCTS)) == [pair]


def test_no_session_holds_a_later_click_of_its_own(task, clicks):
    """A session that goes on after the split is cut: only its train part is a hyperedge."""
    across = clicks.session[319]
    assert across == clicks.session[320]
    graphs = build(task.train, PRODUCTS)
    uncut = build(clicks, PRODUCTS)
    assert len(graphs.member_pair) < len(uncut.member_pair)
    train_pairs = set(zip(task.train.query.tolist(), task.train.product.tolist(), strict=True))
    assert {(int(graphs.query[m]), int(graphs.product[m])) for m in graphs.member_pair} <= train_pairs


def test_parts_follow_each_other_in_time_and_new_means_never_clicked_before(task, clicks):
    assert len(task.train) == 320
    seen = set(zip(task.train.query.tolist(), task.train.product.tolist(), strict=True))
    for later, part in ((task.dev, slice(320, 360)), (task.test, slice(360, 400))):
        pairs = list(zip(later.query.tolist(), later.product.tolist(), strict=True))
        clicked = list(zip(clicks.query[part].tolist(), clicks.product[part].tolist(), strict=True))
        assert dict(zip(pairs, later.count.tolist(), strict=True)) == {pair: clicked.count(pair) for pair in clicked}
        assert [pair not in seen for pair in pairs] == later.new.tolist()
        seen |= set(clicked)


def test_a_split_by_time_needs_times(clicks):
    untimed = Clicks(clicks.queries, clicks.query, clicks.product, clicks.session, np.full(400, np.nan))
    with pytest.raises(ValueError, match="wants every click's time"):
        Task.split("shop", [], [], untimed)


def test_segments_share_out_the_clicks_and_cold_is_what_has_none(task):
    counts = np.bincount(task.train.product, minlength=PRODUCTS)
    segment = task.segments("product")
    assert {SEGMENTS[i] for i in segment[counts == 0]} <= {"cold"}
    assert (segment[counts > 0] < 3).all()
    assert counts[segment == 0].sum() >= 160 > counts[segment == 0].sum() - counts[segment == 0].min()
    assert counts[segment == 0].min() >= counts[segment == 1].max() >= counts[segment == 2].max()


class Fixed:
    def __init__(self, scores):
        self.table = np.array(scores, dtype=np.float32)

    def scores(self, queries):
        return self.table[queries].copy()


def later_of(*pairs):
    query, product = np.array(pairs).T
    return Later(query, product, np.ones(len(pairs), dtype=np.int64), np.ones(len(pairs), dtype=np.bool_))


def test_ranks_are_over_all_products_and_ties_share_their_places():
    ranker = Fixed([[5, 4, 4, 4, 1], [0, 0, 0, 0, 0]])
    later = later_of((0, 0), (0, 1), (0, 4), (1, 2))
    known = {0: np.array([0, 4])}
    assert ranks(ranker, later, known=known, masked=False).tolist() == [1.0, 3.0, 5.0, 3.0]
    # known ones are left out, but for what is asked
    assert ranks(ranker, later, known=known, masked=True).tolist()[1:] == [2.0, 4.0, 3.0]


def test_measures_and_intervals_are_what_they_say():
    found = measures(np.array([1.0, 2.0, 20.0]), np.array([1, 1, 2]))
    assert found == {"pairs": 3, "MRR": pytest.approx((1 + 0.5 + 0.1) / 4), "Recall@10": 0.5}
    assert measures(np.array([])) == {"pairs": 0}
    values = np.random.default_rng(0).normal(1.0, 1.0, 2000)
    low, high = bootstrap(values, np.arange(2000))
    assert low < values.mean() < high
    assert high - low == pytest.approx(2 * 1.96 / np.sqrt(2000), rel=0.15)
    # pairs of one query are not independent: the same numbers in blocks are less sure
    low_blocks, high_blocks = bootstrap(np.repeat(values[:200], 10), np.repeat(np.arange(200), 10))
    assert high_blocks - low_blocks > 2 * (high - low)
