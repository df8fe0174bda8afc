from __future__ import annotations

import numpy as np
import pytest
from fakes import hierarchical_points

from index.algebra import Box
from index.vectors import EPSILON, columns_an_axis, indexed, largest_square, lengthened, sought, width
from model import lorentz

CURVATURES = [0.0, 0.25, 1.0, 4.0]


def box(dim, *, seed, spread=0.0):
    chance = np.random.default_rng(seed)
    limit = np.exp(chance.normal(-1.5, spread, size=dim)).astype(np.float32)
    return Box.around(hierarchical_points(1, dim, seed=seed)[0], limit)


def products(points, asked, *, c, form):
    """Inner products in float64, of vectors as they are stored."""
    vectors = indexed(points, c=c, form=form).astype(np.float64)
    return vectors @ sought(asked, c=c, form=form).astype(np.float64)


@pytest.mark.parametrize("c", CURVATURES)
@pytest.mark.parametrize("seed", range(5))
def test_the_order_by_centre_is_that_of_the_distance_to_it(c, seed):
    points, asked = hierarchical_points(500, 12), box(12, seed=seed)
    nearest_first = np.argsort(-products(points, asked, c=c, form="centre"))
    distances = lorentz.dist(points.astype(np.float64), asked.centre.astype(np.float64), c=c)
    assert (np.diff(distances[nearest_first]) > -1e-6).all()


@pytest.mark.parametrize("c", CURVATURES)
@pytest.mark.parametrize("seed", range(5))
def test_the_order_by_region_is_that_of_the_weighted_quadratic(c, seed):
    points, asked = hierarchical_points(500, 12), box(12, seed=seed, spread=0.8)
    x, m = points.astype(np.float64), asked.centre.astype(np.float64)
    weights = 1.0 / (0.5 * (asked.hi.astype(np.float64) - asked.lo) + EPSILON)
    weights /= weights.mean()
    quadratic = -(weights * (x - m) ** 2).sum(axis=1)
    if c:
        quadratic += weights.min() * (np.sqrt(1 / c + (x**2).sum(axis=1)) - np.sqrt(1 / c + m @ m)) ** 2
    found = products(points, asked, c=c, form="region")
    np.testing.assert_allclose(found - found[0], quadratic - quadratic[0], atol=2e-5)


@pytest.mark.parametrize("c", CURVATURES)
def test_a_limit_that_is_the_same_on_all_axes_leaves_the_order_by_centre(c):
    points, asked = hierarchical_points(300, 12), box(12, seed=1)
    by_centre = np.argsort(-products(points, asked, c=c, form="centre"))
    ordered = products(points, asked, c=c, form="region")[by_centre]
    assert (np.diff(ordered) < 1e-5).all()


@pytest.mark.parametrize("form", ["centre", "region"])
def test_vectors_are_as_wide_as_is_said(form):
    points = hierarchical_points(7, 5)
    assert indexed(points, c=1.0, form=form).shape == (7, width(5, form))
    assert sought(box(5, seed=0), c=1.0, form=form).shape == (width(5, form),)
    assert width(5, form) == 5 * columns_an_axis(form) + 1


@pytest.mark.parametrize("form", ["centre", "region"])
def test_lengthened_vectors_are_of_one_length_and_near_by_l2_as_by_the_product(form):
    vectors = indexed(hierarchical_points(300, 6), c=1.0, form=form)
    query = sought(box(6, seed=2, spread=0.5), c=1.0, form=form).astype(np.float64)
    largest = largest_square([vectors[:100], vectors[100:]])
    stored = lengthened(vectors, largest).astype(np.float64)
    np.testing.assert_allclose((stored**2).sum(axis=1), largest, rtol=1e-5)
    squares = ((stored - np.append(query, 0.0)) ** 2).sum(axis=1)
    np.testing.assert_allclose(squares, largest + query @ query - 2 * (vectors.astype(np.float64) @ query), rtol=1e-4)
