from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest
from fakes import hierarchical_points
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles import containment as oracle

from index.kernels import containment, within
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
        "assert within(one, np.arange(1), one[0], one[0], np.arange(2)).all()"
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


@pytest.mark.parametrize("axes", [[0, 1, 2], [2], [1, 0], []])
def test_rows_within_are_those_between_the_faces_on_all_axes(axes):
    points = np.random.default_rng(0).normal(size=(200, 3)).astype(np.float32)
    lo, hi = np.array([-0.5, 0.0, -9.0], dtype=np.float32), np.array([0.5, 1.0, 0.1], dtype=np.float32)
    rows = np.arange(0, 200, 2)
    expected = ((points[rows] >= lo) & (points[rows] <= hi))[:, axes].all(axis=1)
    np.testing.assert_array_equal(within(points, rows, lo, hi, np.array(axes, dtype=np.int64)), expected)
