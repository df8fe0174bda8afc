from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
from fakes import hierarchical_points
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles import containment as oracle

from index.kernels import containment, sifted, within
from model import hyperboloid


def boxes(points, seed, spread):
    chance = np.random.default_rng(seed)
    centre = points[chance.integers(len(points))] * np.float32(chance.uniform(0.5, 1.5))
    return centre, (spread * chance.lognormal(size=points.shape[1])).astype(np.float32)


@given(
    c=st.sampled_from([0.0, 0.25, 1.0, 4.0]),
    gamma=st.sampled_from([0.1, 0.74, 1.0]),
    spread=st.sampled_from([0.0, 0.1, 1.0, 50.0]),
    scale=st.sampled_from([0.1, 1.0, 10.0]),
    seed=st.integers(0, 100),
)
@settings(max_examples=60, deadline=None)
def test_distances_are_those_of_a_float64_oracle(c, gamma, spread, scale, seed):
    points = np.float32(scale) * hierarchical_points(60, 9, seed=seed)
    centre, limit = boxes(points, seed, spread)
    rows = np.random.default_rng(seed).permutation(60)[:20]
    distances, inside = containment(points, rows, centre - limit, centre + limit, centre, c, gamma)
    expected = [oracle(points[row], centre, limit, c=c, gamma=gamma) for row in rows]
    np.testing.assert_allclose(distances, expected, rtol=2e-4, atol=2e-4 * scale)
    np.testing.assert_array_equal(inside, hyperboloid.contains(points[rows], centre, limit))


def test_where_nothing_can_be_kept_it_is_compiled_all_the_same():
    script = (
        "import numpy as np; from index.kernels import within; one = np.ones((1, 2), dtype=np.float32)\n"
        "assert within(one, np.arange(1), one[0], one[0]).all()"
    )
    nowhere = {**os.environ, "NUMBA_CACHE_LOCATOR_CLASSES": "UserProvidedCacheLocator"}
    nowhere.pop("NUMBA_CACHE_DIR", None)
    done = subprocess.run([sys.executable, "-c", script], env=nowhere, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_no_rows_have_no_distances():
    points = hierarchical_points(5, 4)
    distances, inside = containment(points, np.empty(0, dtype=np.int64), *points[:3], 1.0, 0.5)
    assert (len(distances), len(inside)) == (0, 0)


def test_a_mapped_read_only_file_is_measured_as_an_array_is(tmp_path):
    points = hierarchical_points(50, 6)
    np.save(tmp_path / "points.npy", points)
    mapped = np.asarray(np.load(tmp_path / "points.npy", mmap_mode="r"))
    box = (points[0] - 0.1, points[0] + 0.1, points[0], 1.0, 0.5)
    for mine, theirs in zip(
        containment(mapped, np.arange(50), *box), containment(points, np.arange(50), *box), strict=True
    ):
        np.testing.assert_array_equal(mine, theirs)


@given(dim=st.integers(1, 70), count=st.integers(0, 40), wide=st.floats(0, 3, width=32), seed=st.integers(0, 99))
@settings(max_examples=60, deadline=None)
def test_rows_within_are_those_between_the_faces_on_all_axes(dim, count, wide, seed):
    chance = np.random.default_rng(seed)
    points = chance.normal(size=(60, dim)).astype(np.float32)
    lo, hi = points[0] - np.float32(wide), points[0] + np.float32(wide)
    points[1] = lo  # on a face is inside
    points[2] = np.nextafter(hi, np.float32(np.inf))
    rows = np.concatenate((np.arange(3), chance.integers(0, 60, count)))
    expected = ((points[rows] >= lo) & (points[rows] <= hi)).all(axis=1)
    np.testing.assert_array_equal(within(points, rows, lo, hi), expected)
    assert within(points, rows, lo, hi)[:3].tolist() == [True, True, False]


@given(
    size=st.sampled_from([1, 100, 4096, 4097, 9000]),
    axes=st.integers(0, 9),
    wide=st.integers(0, 200),
    seed=st.integers(0, 99),
)
@settings(max_examples=60, deadline=None)
def test_sifting_loses_no_column_and_keeps_few_that_do_not_belong(size, axes, wide, seed):
    chance = np.random.default_rng(seed)
    steps = chance.integers(0, 256, (9, size), dtype=np.uint8)
    lo = chance.integers(0, 256 - wide, 9, dtype=np.uint8)
    hi = (lo + wide).astype(np.uint8)
    order = chance.permutation(9)[:axes]
    rows = sifted(steps, order, lo, hi)
    belong = ((steps >= lo[:, None]) & (steps <= hi[:, None]))[order].all(axis=0)
    assert np.isin(np.flatnonzero(belong), rows).all()
    assert (np.diff(rows) > 0).all()
    assert len(rows) - np.count_nonzero(belong) <= 64 * -(-size // 4096)


def test_rows_are_measured_alike_whatever_company_they_are_in():
    points = hierarchical_points(80, 40)
    box = (points[0] - 0.2, points[0] + 0.2, points[0], 1.0, 0.5)
    every = containment(points, np.arange(80), *box)
    for rows in (np.arange(0), np.arange(1), np.arange(79, 60, -1), np.array([5, 5, 5, 70, 3, 2, 1, 0, 9])):
        for mine, whole in zip(containment(points, rows, *box), every, strict=True):
            np.testing.assert_array_equal(mine, whole[rows])
