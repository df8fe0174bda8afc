"""Points on a torch device: on the CPU wherever torch is, on a GPU where there is one."""

from __future__ import annotations

import gc
import logging

import numpy as np
import pytest
from fakes import hierarchical_points
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles import conjunction as oracle
from places import PLACES

from index.algebra import COLLAPSED, Box, Region
from index.exact import scan
from index.selection import Selection

torch = pytest.importorskip("torch", reason="torch is not installed: there is no device but the CPU without it")

from index import resident  # noqa: E402 - it needs torch
from index.resident import ResidentPoints  # noqa: E402

NO_LIVE = np.empty((0, 9), dtype=np.float32)


def hyperboloids(points, count, seed, spread):
    """Centres and limits around some of ``points``, so that boxes hold a few and overlap now and then."""
    chance = np.random.default_rng(seed)
    centres = points[chance.integers(len(points), size=count)] * chance.uniform(0.8, 1.2, (count, 1))
    limits = spread * chance.lognormal(size=(count, points.shape[1]))
    return [
        (centre.astype(np.float32), limit.astype(np.float32)) for centre, limit in zip(centres, limits, strict=True)
    ]


def union(points, parts, seed, spread):
    """A region and what it is made of: conjunctions of ``parts``, (held, excluded) numbers of boxes each."""
    made = [
        (hyperboloids(points, held, seed + i, spread), hyperboloids(points, excluded, seed + 50 + i, 2 * spread))
        for i, (held, excluded) in enumerate(parts)
    ]
    boxes = tuple(Box.between([Box.around(*h) for h in held], [Box.around(*e) for e in out]) for held, out in made)
    return Region(boxes), made


@pytest.mark.parametrize("place", PLACES)
@given(
    c=st.sampled_from([0.0, 0.25, 1.0, 4.0]),
    gamma=st.sampled_from([0.1, 0.74, 1.0]),
    spread=st.sampled_from([0.0, 0.3, 3.0]),
    parts=st.lists(st.tuples(st.integers(1, 2), st.integers(0, 2)), min_size=1, max_size=4),
    seed=st.integers(0, 100),
)
@settings(max_examples=25, deadline=None)
def test_distances_and_containment_are_those_of_a_float64_oracle(place, c, gamma, spread, parts, seed):
    points = hierarchical_points(60, 9, seed=seed)
    region, made = union(points, parts, seed, spread)
    rows = np.random.default_rng(seed).permutation(60)[:15]
    distances, inside = ResidentPoints(points, place=place, c=c, gamma=gamma).measure(region, rows, NO_LIVE)
    for row, distance, contained in zip(rows, distances, inside, strict=True):
        expected = [oracle(points[row], *part, collapsed=COLLAPSED, c=c, gamma=gamma) for part in made]
        assert distance == pytest.approx(min(found for found, _ in expected), rel=2e-4, abs=2e-4)
        assert contained == any(within for _, within in expected)


@pytest.mark.parametrize("place", PLACES)
@given(
    c=st.sampled_from([0.0, 1.0]),
    parts=st.lists(st.tuples(st.integers(1, 2), st.integers(0, 2)), min_size=1, max_size=16),
    seed=st.integers(0, 100),
)
@settings(max_examples=25, deadline=None)
def test_the_device_measures_what_the_cpu_measures(place, c, parts, seed):
    points = hierarchical_points(300, 9, c=c, seed=seed)
    region, _ = union(points, parts, seed, 0.4)
    rows = np.arange(300)
    here = region.measure(points, rows, c=c, gamma=0.8)
    there = ResidentPoints(points, place=place, c=c, gamma=0.8).measure(region, rows, NO_LIVE)
    np.testing.assert_allclose(there[0], here[0], rtol=2e-5, atol=2e-6)
    np.testing.assert_array_equal(there[1], here[1])


@pytest.mark.parametrize("place", PLACES)
def test_an_and_of_boxes_that_do_not_overlap_contains_not_even_the_point_between_them(place):
    far = np.full(9, 2.0, dtype=np.float32)
    region = Region((Box.between([Box.around(-far, 0.1 * far), Box.around(far, 0.1 * far)]),))
    points = np.zeros((1, 9), dtype=np.float32)
    distances, inside = ResidentPoints(points, place=place, c=1.0, gamma=0.8).measure(region, np.arange(1), NO_LIVE)
    assert (distances[0], inside[0]) == (0.0, False)


@pytest.mark.parametrize("place", PLACES)
def test_rows_measured_one_by_one_are_those_measured_together(place):
    points = hierarchical_points(40, 9)
    region, _ = union(points, [(1, 1), (2, 0)], 1, 0.5)
    held = ResidentPoints(points, place=place, c=1.0, gamma=0.8)
    together = held.measure(region, np.arange(40), NO_LIVE)
    alone = [held.measure(region, np.array([row]), NO_LIVE) for row in range(40)]
    np.testing.assert_allclose(together[0], np.concatenate([one[0] for one in alone]), rtol=1e-6)
    np.testing.assert_array_equal(together[1], np.concatenate([one[1] for one in alone]))
    assert [len(part) for part in held.measure(region, np.empty(0, dtype=np.int64), NO_LIVE)] == [0, 0]


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("c", [0.0, 1.0])
@pytest.mark.parametrize("count", [1, 100, 2000])
def test_the_scan_finds_the_top_that_the_cpu_finds(place, c, count, monkeypatch):
    monkeypatch.setattr(resident, "TILES", 3)
    points = hierarchical_points(2000, 9, c=c)
    held = ResidentPoints(points, place=place, c=c, gamma=0.8)
    for seed, parts in enumerate([[(1, 0)], [(1, 1)], [(2, 0), (1, 2), (1, 0)]]):
        region, _ = union(points, parts, seed, 0.3)
        rows = held.nearest(region, count)
        expected = scan(points, region, c=c, gamma=0.8, count=count)
        assert len(set(rows.tolist())) == count
        distances, _ = region.measure(points, rows, c=c, gamma=0.8)
        np.testing.assert_allclose(distances, expected.distances, rtol=2e-5, atol=2e-6)


@pytest.mark.parametrize("place", PLACES)
def test_of_a_selection_only_what_passes_is_found_and_all_of_it_if_it_is_little(place):
    points = hierarchical_points(2000, 9)
    region, _ = union(points, [(1, 0)], 3, 0.3)
    held = ResidentPoints(points, place=place, c=1.0, gamma=0.8)
    half = Selection(np.random.default_rng(0).random(2000) < 0.5)
    expected = scan(points, region, c=1.0, gamma=0.8, count=100, mask=half.mask)
    found = held.nearest(region, 100, half)
    np.testing.assert_allclose(
        region.measure(points, found, c=1.0, gamma=0.8)[0], expected.distances, rtol=2e-5, atol=2e-6
    )
    assert half.mask[found].all()
    few = Selection(np.isin(np.arange(2000), [5, 77, 1999]))
    assert sorted(held.nearest(region, 100, few).tolist()) == [5, 77, 1999]
    assert len(held.nearest(region, 100, Selection(np.zeros(2000, dtype=np.bool_)))) == 0


def test_the_mask_of_a_selection_is_copied_once_and_kept_only_as_long_as_the_selection():
    points = hierarchical_points(50, 9)
    region, _ = union(points, [(1, 0)], 3, 0.3)
    held = ResidentPoints(points, place="cpu", c=1.0, gamma=0.8)
    selection = Selection(np.arange(50) < 20)
    held.nearest(region, 5, selection)
    first = held._masks[selection]
    held.nearest(region, 5, selection)
    assert held._masks[selection] is first
    del selection
    gc.collect()
    assert not len(held._masks)


@pytest.mark.parametrize("place", PLACES)
def test_live_rows_are_measured_beside_the_snapshots_however_many_are_added(place):
    points = hierarchical_points(5000, 9)
    region, _ = union(points, [(1, 1), (1, 0)], 3, 0.5)
    held = ResidentPoints(points[:300], place=place, c=1.0, gamma=0.8)
    for live in (0, 3, 1500, 1500, 4700, 10):  # the last by a search that began before
        rows = np.random.default_rng(live).permutation(300 + live)
        distances, inside = held.measure(region, rows, points[300 : 300 + live])
        expected = region.measure(points, rows, c=1.0, gamma=0.8)
        np.testing.assert_allclose(distances, expected[0], rtol=2e-5, atol=2e-6)
        np.testing.assert_array_equal(inside, expected[1])


@pytest.mark.gpu
def test_on_a_gpu_the_scan_is_the_fused_kernel(caplog):
    if not torch.cuda.is_available():
        pytest.skip("there is no CUDA device")
    with caplog.at_level(logging.WARNING):
        held = ResidentPoints(hierarchical_points(50, 9), place="cuda:0", c=1.0, gamma=0.8)
    assert held.fused
    assert not caplog.records


def test_where_the_kernel_cannot_be_compiled_the_points_are_scanned_without_it_and_it_is_said(caplog, monkeypatch):
    points = hierarchical_points(50, 9)
    held = ResidentPoints(points, place="cpu", c=1.0, gamma=0.8)
    assert not held.fused
    monkeypatch.setitem(__import__("sys").modules, "index.fused", None)
    with caplog.at_level(logging.WARNING):
        assert held._compiled() == held._in_blocks
    assert "without the fused kernel" in caplog.text
