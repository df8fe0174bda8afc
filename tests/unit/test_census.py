from __future__ import annotations

import numpy as np
import pytest
from fakes import hierarchical_points
from hypothesis import given, settings
from hypothesis import strategies as st

from index.algebra import Box, Region
from index.census import Census, GrowingCensus

DIM = 20
POINTS = hierarchical_points(3000, DIM)
CENSUS = Census.of(POINTS)


def counted(region):
    return len(CENSUS.rows(region))


def truth(region, points=POINTS):
    return int(np.count_nonzero(region.contains(points)))


def box(row, limit, *, excluded=()):
    centre = POINTS[row % len(POINTS)]
    return Box.between([Box.around(centre, np.broadcast_to(np.float32(limit), (DIM,)))], excluded)


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 2999), st.floats(0, 4, width=32)), min_size=1, max_size=4),
    st.tuples(st.integers(0, 2999), st.floats(0, 4, width=32)),
)
def test_it_counts_what_the_region_contains(parts, excluded):
    for taken_off in ((), (box(*excluded),)):
        region = Region(tuple(box(row, limit, excluded=taken_off) for row, limit in parts))
        assert counted(region) == truth(region)


def test_the_counts_it_is_tested_with_are_of_every_size():
    counts = [counted(Region((box(7, limit),))) for limit in (0, 0.3, 0.6, 1.0, 5.0)]
    assert counts[0] == 1
    assert counts == sorted(counts)
    assert 1 < counts[2] < len(POINTS) // 10 < counts[3] < counts[4] == len(POINTS)


def test_points_on_the_faces_count():
    low, high = np.min(POINTS[:50], axis=0), np.max(POINTS[:50], axis=0)
    region = Region((Box(lo=low, hi=high, centre=(low + high) / 2),))
    assert counted(region) == truth(region) >= 50


def test_a_region_beyond_all_points_or_an_empty_one_counts_nothing():
    beyond = Box.around(np.full(DIM, 50, dtype=np.float32), np.ones(DIM, dtype=np.float32))
    assert counted(Region((beyond,))) == 0
    assert counted(Region((Box.between([box(0, 1), beyond]),))) == 0
    assert counted(Region((box(0, 9, excluded=(box(0, 9),)),))) == 0


def test_alternatives_that_overlap_count_once():
    assert counted(Region((box(0, 1), box(0, 1)))) == counted(Region((box(0, 1),)))


@pytest.mark.parametrize("count", [1, 2, 500])
def test_axes_on_which_all_points_agree_are_fine(count):
    points = np.tile(POINTS[:count], (1, 1))
    points[:, 3:] = 0.25
    census = Census.of(points)
    region = Region((Box.around(points[0], np.full(DIM, 0.1, dtype=np.float32)),))
    assert len(census.rows(region)) == truth(region, points) >= 1
    elsewhere = Region((Box.around(points[0] + np.float32(1), np.full(DIM, 0.5, dtype=np.float32)),))
    assert len(census.rows(elsewhere)) == truth(elsewhere, points) == 0


@settings(deadline=None)
@given(st.integers(0, 2999), st.floats(0, 4, width=32), st.floats(0.25, 3, width=32))
def test_points_that_came_later_are_counted_on_the_scale_of_the_first(row, limit, stretch):
    """Also those that lie beyond the extremes of the points that the scale was made of."""
    growing = GrowingCensus(Census.of(POINTS[:500]).scale)
    added = POINTS[500:900] * np.float32(stretch)
    region = Region((box(row, limit),))
    before = growing.of(added[:0])
    for start in range(0, len(added), 90):
        growing.extend(added[start : start + 90])
        there = added[: start + 90]
        assert len(growing.of(there).rows(region)) == truth(region, there)
    assert len(before.rows(region)) == 0
