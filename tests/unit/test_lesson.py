from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import pytest

from model.behaviour.clicks import Census, Clicks
from model.behaviour.graphs import build
from model.training.behaviour.lesson import Lesson, _split

PRODUCTS, START = 9, 1_700_000_000.0


def clicks_of(*times):
    """Clicks at ``times``, NaN last as they are always kept, each on another pair than the one before."""
    count = len(times)
    query, product = (np.arange(count) // PRODUCTS).astype(np.int32), (np.arange(count) % PRODUCTS).astype(np.int32)
    time = START + np.sort(np.array(times, dtype=np.float64))
    return Clicks(tuple(f"query {i}" for i in range(count)), query, product, np.full(count, -1, dtype=np.int32), time)


def keys_of(clicks):
    return clicks.query.astype(np.int64) * PRODUCTS + clicks.product


def moment(seconds):
    return datetime.fromtimestamp(START + seconds, UTC).isoformat(timespec="seconds")


def lesson(clicks, until):
    nothing = np.empty(0, dtype=np.int64)
    return Lesson([], [], clicks, nothing, nothing, until, 0, Census())


def test_the_last_tenth_in_time_is_for_dev():
    clicks = clicks_of(*range(100))
    train, dev, until = _split(clicks, PRODUCTS, seed=0)
    assert keys_of(train).tolist() == keys_of(clicks)[:90].tolist()
    assert dev.tolist() == sorted(keys_of(clicks)[90:].tolist())
    assert until == moment(89)
    assert lesson(train, until).remarks() == []


@pytest.mark.parametrize("untimed", [1, 40])
def test_clicks_without_a_time_are_learnt_from_and_the_others_split_by_time(untimed):
    clicks = clicks_of(*range(60), *[np.nan] * untimed)
    train, dev, until = _split(clicks, PRODUCTS, seed=0)
    keys = keys_of(clicks)
    assert keys_of(train).tolist() == [*keys[:54].tolist(), *keys[60:].tolist()]
    assert dev.tolist() == sorted(keys[54:60].tolist())
    assert until == moment(53)


def test_where_most_clicks_have_no_time_chance_decides_and_it_is_said():
    clicks = clicks_of(*range(30), *[np.nan] * 70)
    train, dev, until = _split(clicks, PRODUCTS, seed=0)
    assert (len(dev), len(train), until) == (10, 90, None)
    assert sorted([*keys_of(train).tolist(), *dev.tolist()]) == sorted(keys_of(clicks).tolist())
    assert _split(clicks, PRODUCTS, seed=1)[1].tolist() != dev.tolist()
    assert lesson(train, until).remarks() == [
        "most clicks have no time: the pairs to choose by are drawn by chance and are not the latest"
    ]


@pytest.mark.parametrize("times", [range(100), [*range(50), *[np.nan] * 50], [np.nan] * 100])
def test_no_graph_knows_a_pair_that_was_clicked_late_only(times):
    clicks = clicks_of(*times)
    train, dev, _ = _split(clicks, PRODUCTS, seed=0)
    graphs = build(train, PRODUCTS)
    assert len(dev)
    assert not np.isin(dev, graphs.query.astype(np.int64) * PRODUCTS + graphs.product).any()


@pytest.mark.parametrize(("time", "known"), [(1.0, True), (np.nan, False)])
def test_a_pair_that_is_clicked_again_is_known_by_its_earlier_clicks_alone(time, known):
    clicks = clicks_of(*np.arange(100) * time)
    clicks.product[:], clicks.query[:] = 0, np.arange(100) % 10
    train, dev, _ = _split(clicks, PRODUCTS, seed=0)
    assert len(train) == 90
    assert np.isin(dev, keys_of(train)).all() == known == np.isin(dev, keys_of(train)).any()
