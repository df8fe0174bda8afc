from __future__ import annotations

import math

import numpy as np
import pytest
from fakes import hierarchical_points
from hypothesis import given, settings
from hypothesis import strategies as st

from index import exact
from index.algebra import Box, Region
from index.exact import ExactCandidates, scan


def oracle(points, centre, limit, *, c, gamma):
    """Containment distances in float64, one point at a time, from the definitions."""

    def dist(x, y):
        if c == 0:
            return float(np.linalg.norm(x - y))
        product = x @ y - math.sqrt(1 / c + x @ x) * math.sqrt(1 / c + y @ y)
        return math.acosh(max(1.0, -c * product)) / math.sqrt(c)

    points, centre, limit = (a.astype(np.float64) for a in (points, centre, limit))
    distances = []
    for x in points:
        p = np.clip(x, centre - limit, centre + limit)
        distances.append(dist(x, p) + gamma * dist(centre, p))
    return np.array(distances)


def region(dim, seed, spread=0.2):
    chance = np.random.default_rng(seed)
    centre = chance.normal(size=dim) * 0.4
    return centre.astype(np.float32), (spread * chance.lognormal(size=dim)).astype(np.float32)


@given(
    c=st.sampled_from([0.0, 0.1, 1.0, 4.0]),
    gamma=st.sampled_from([0.1, 0.7, 1.0]),
    scale=st.sampled_from([0.1, 1.0, 5.0]),
    count=st.integers(1, 40),
    seed=st.integers(0, 1000),
)
@settings(max_examples=40, deadline=None)
def test_the_scan_finds_the_top_that_a_float64_oracle_finds(c, gamma, scale, count, seed):
    points = (scale * np.random.default_rng(seed).normal(size=(300, 6))).astype(np.float32)
    centre, limit = region(6, seed)
    expected = oracle(points, centre, limit, c=c, gamma=gamma)
    found = scan(points, Region.around(centre, limit), c=c, gamma=gamma, count=count)
    np.testing.assert_allclose(found.distances, np.sort(expected)[:count], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(expected[found.rows], found.distances, rtol=1e-4, atol=1e-5)
    assert len(set(found.rows.tolist())) == count


def test_the_answer_does_not_depend_on_the_block_size(monkeypatch):
    points = hierarchical_points(3000, 16)
    centre, limit = points[7], np.full(16, 0.1, dtype=np.float32)
    whole = scan(points, Region.around(centre, limit), c=1.0, gamma=0.5, count=50)
    monkeypatch.setattr(exact, "BLOCK", 64)
    blocks = scan(points, Region.around(centre, limit), c=1.0, gamma=0.5, count=50)
    np.testing.assert_array_equal(whole.rows, blocks.rows)
    np.testing.assert_array_equal(whole.distances, blocks.distances)


@pytest.mark.parametrize("c", [0.0, 1.0])
def test_the_bound_never_exceeds_what_it_bounds(c):
    points = np.concatenate((hierarchical_points(500, 32), 30 * hierarchical_points(500, 32)))
    centre = points[3]
    bound = exact._at_least(points, exact.heights(points, c=c), centre[:, None], c=c)[:, 0]
    true = oracle(points, centre, np.zeros(32, dtype=np.float32), c=c, gamma=1.0)
    assert (bound <= (np.cosh(true) if c else true * true) * (1 + 1e-5)).all()


@pytest.mark.parametrize("c", [0.0, 1.0])
def test_a_union_is_scanned_among_some_rows_as_an_oracle_does_it(c):
    points = hierarchical_points(2000, 12)
    among = np.flatnonzero(np.random.default_rng(1).random(2000) < 0.3)
    parts = [region(12, seed) for seed in (1, 2, 3)]
    union = Region(tuple(Box.around(*part) for part in parts))
    expected = np.min([oracle(points[among], *part, c=c, gamma=0.7) for part in parts], axis=0)
    known = exact.heights(points, c=c)
    mask = np.isin(np.arange(2000), among)
    masked = scan(points, union, c=c, gamma=0.7, count=30, mask=mask, known=known)
    np.testing.assert_allclose(masked.distances, np.sort(expected)[:30], rtol=1e-4, atol=1e-5)
    assert mask[masked.rows].all()
    few = np.flatnonzero(mask)[:7]
    rare = scan(points, union, c=c, gamma=0.7, count=30, mask=np.isin(np.arange(2000), few))
    assert sorted(rare.rows.tolist()) == few.tolist()
    for already in (known, None):
        found = scan(points, union, c=c, gamma=0.7, count=30, among=among, known=already)
        np.testing.assert_allclose(found.distances, np.sort(expected)[:30], rtol=1e-4, atol=1e-5)
        assert set(found.rows.tolist()) <= set(among.tolist())


def test_asking_for_more_than_there_is_gives_all_rows_in_order():
    points = hierarchical_points(20, 8)
    found = scan(points, Region.around(points[0], np.full(8, 0.1, dtype=np.float32)), c=1.0, gamma=0.5, count=100)
    assert sorted(found.rows.tolist()) == list(range(20))
    assert (np.diff(found.distances) >= 0).all()


@given(count=st.integers(1, 400), boxes=st.integers(1, 3), seed=st.integers(0, 100))
@settings(max_examples=25, deadline=None)
def test_candidates_by_scans_of_pieces_are_those_of_one_scan(count, boxes, seed):
    points = hierarchical_points(1000, 8, seed=seed)
    several = Region(tuple(Box.around(*region(8, seed + number)) for number in range(boxes)))
    waited = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(exact, "PIECE", 300)
        found = ExactCandidates(points, c=1.0, gamma=0.8, pause=waited.append)
        (rows,) = found.search_many([several.boxes], count)
    expected = scan(points, several, c=1.0, gamma=0.8, count=count)
    np.testing.assert_array_equal(rows, expected.rows)
    assert len(waited) == 4
    assert all(seconds > 0 for seconds in waited)


def test_no_candidates_are_found_where_none_are_asked_for():
    points = hierarchical_points(100, 8)
    (rows,) = ExactCandidates(points, c=1.0, gamma=0.8).search_many([Region.around(*region(8, 1)).boxes], 0)
    assert not len(rows)
