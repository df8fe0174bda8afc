from __future__ import annotations

import numpy as np
from fakes import hierarchical_points

from index.algebra import Region
from index.rerank import rerank
from model import hyperboloid

POINTS = hierarchical_points(400, 12)
CENTRE = POINTS[5] * np.float32(0.9)
LIMIT = np.full(12, 1.0, dtype=np.float32)
REGION = Region.around(CENTRE, LIMIT)


def test_distances_and_containment_are_those_of_the_geometry():
    rows = np.arange(0, 400, 3)
    found = rerank(POINTS, rows, REGION, c=1.0, gamma=0.8)
    x = POINTS[found.rows]
    expected = hyperboloid.containment(x, CENTRE, LIMIT, c=1.0, gamma=0.8)
    np.testing.assert_allclose(found.distances, expected, rtol=1e-5)
    np.testing.assert_array_equal(found.contained, hyperboloid.contains(x, CENTRE, LIMIT))
    assert sorted(found.rows.tolist()) == rows.tolist()
    assert (np.diff(found.distances) >= 0).all()
    assert 0 < found.contained.sum() < len(found)


def test_the_order_does_not_depend_on_the_order_of_the_candidates():
    rows = np.arange(400)
    shuffled = np.random.default_rng(0).permutation(rows)
    there = rerank(POINTS, rows, REGION, c=0.0, gamma=0.8)
    again = rerank(POINTS, shuffled, REGION, c=0.0, gamma=0.8)
    np.testing.assert_array_equal(there.rows, again.rows)


def test_equal_distances_are_ordered_by_row():
    twins = np.repeat(POINTS[:3], 4, axis=0)
    found = rerank(twins, np.arange(12)[::-1], REGION, c=1.0, gamma=0.8)
    for start in range(0, 12, 4):
        group = found.rows[start : start + 4]
        assert group.tolist() == list(range(group[0], group[0] + 4))


def test_merged_rankings_are_one_ranking():
    whole = rerank(POINTS, np.arange(400), REGION, c=1.0, gamma=0.8)
    even = rerank(POINTS, np.arange(0, 400, 2), REGION, c=1.0, gamma=0.8)
    odd = rerank(POINTS, np.arange(1, 400, 2), REGION, c=1.0, gamma=0.8)
    np.testing.assert_array_equal(even.merge(odd).rows, whole.rows)
    np.testing.assert_array_equal(even.merge(odd).contained, whole.contained)


def test_no_candidates_rank_as_nothing():
    assert len(rerank(POINTS, np.empty(0, dtype=np.int64), REGION, c=1.0, gamma=0.8)) == 0
