from __future__ import annotations

import math

import numpy as np
import oracles
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from model import lorentz

CURVATURES = [0.1, 1.0, 4.0]
ALL_CURVATURES = [0.0, *CURVATURES]
DIM = 6
KINDS = {"numpy": np.asarray, "torch": torch.from_numpy}

axes = st.floats(-1, 1, width=32)
directions = arrays(np.float32, DIM, elements=axes).filter(lambda v: np.linalg.norm(v) > 0.1)
radii = st.floats(0, 5)
curvatures = st.sampled_from(ALL_CURVATURES)
bent = st.sampled_from(CURVATURES)
laws = settings(max_examples=40, deadline=None)


def at(direction: np.ndarray, radius: float, c: float) -> np.ndarray:
    """The float32 point in ``direction``, ``radius`` from the origin."""
    unit = direction.astype(np.float64) / np.linalg.norm(direction.astype(np.float64))
    reach = radius if c == 0 else math.sinh(math.sqrt(c) * radius) / math.sqrt(c)
    return (unit * reach).astype(np.float32)


@st.composite
def points(draw, count: int, c: float, *, furthest: float = 5.0) -> list[np.ndarray]:
    # √c·radius is what float32 has to hold: sinh(10) would leave no digits for anything else
    reach = furthest / max(1.0, math.sqrt(c))
    return [at(draw(directions), draw(st.floats(0, reach)), c) for _ in range(count)]


@st.composite
def scattered(draw, count: int, c: float) -> list[np.ndarray]:
    """Points of which no two lie on one ray: digits are hardest to keep there, and it has a test of its own."""
    chance = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    reach = 5.0 / max(1.0, math.sqrt(c))
    return [at(chance.normal(size=DIM), chance.uniform(0, reach), c) for _ in range(count)]


@pytest.mark.parametrize("kind", KINDS)
@given(data=st.data(), c=curvatures)
@laws
def test_distance_agrees_with_the_definition_in_fifty_digits(kind, data, c):
    x, y = data.draw(scattered(2, c))
    found = float(lorentz.dist(KINDS[kind](x), KINDS[kind](y), c=c))
    assert found == pytest.approx(oracles.dist(x, y, c=c), rel=1e-5, abs=1e-7)


@given(data=st.data(), c=curvatures, gap=st.sampled_from([1e-4, 1e-3, 1e-2, 0.1]))
@laws
def test_distance_agrees_with_the_definition_for_near_pairs(data, c, gap):
    x, towards = data.draw(scattered(2, c))
    y = x + (gap * towards / max(1e-3, np.linalg.norm(towards))).astype(np.float32)
    assert float(lorentz.dist(x, y, c=c)) == pytest.approx(oracles.dist(x, y, c=c), rel=1e-5, abs=1e-9)


@given(direction=directions, radius=radii, gap=st.sampled_from([1e-3, 1e-2, 0.1, 1.0]), c=curvatures)
@laws
def test_distance_agrees_with_the_definition_for_pairs_on_one_ray(direction, radius, gap, c):
    x, y = at(direction, radius / max(1.0, math.sqrt(c)), c), at(direction, (radius + gap) / max(1.0, math.sqrt(c)), c)
    assert float(lorentz.dist(x, y, c=c)) == pytest.approx(oracles.dist(x, y, c=c), rel=2e-3, abs=1e-7)


@given(data=st.data(), c=curvatures)
@laws
def test_distance_is_symmetric_and_exactly_zero_on_itself(data, c):
    x, y = data.draw(points(2, c))
    assert lorentz.dist(x, y, c=c) == lorentz.dist(y, x, c=c)
    assert lorentz.dist(x, x, c=c) == 0.0
    assert float(lorentz.dist(torch.from_numpy(x), torch.from_numpy(x.copy()), c=c)) == 0.0


@given(data=st.data(), c=curvatures)
@laws
def test_no_detour_is_shorter(data, c):
    x, y, z = data.draw(points(3, c))
    direct, first, second = (float(lorentz.dist(a, b, c=c)) for a, b in ((x, z), (x, y), (y, z)))
    assert direct <= (first + second) * (1 + 1e-5) + 1e-6


@given(data=st.data(), c=st.sampled_from([0.25, 2.0, 4.0]))
@laws
def test_curvature_only_scales(data, c):
    x, y = data.draw(scattered(2, c))
    scale = np.float32(math.sqrt(c))
    expected = float(lorentz.dist(scale * x, scale * y, c=1.0)) / math.sqrt(c)
    assert float(lorentz.dist(x, y, c=c)) == pytest.approx(expected, rel=1e-4, abs=1e-6)
    weights = np.array([0.3, 0.7], dtype=np.float32)
    both = np.stack([x, y])
    np.testing.assert_allclose(
        scale * lorentz.midpoint(both, weights, c=c),
        lorentz.midpoint(scale * both, weights, c=1.0),
        rtol=2e-4,
        atol=2e-4 * (1 + np.abs(both).max()),
    )


@given(data=st.data())
@laws
def test_vanishing_curvature_is_flat_space(data):
    x, y = (point.astype(np.float64) for point in data.draw(points(2, 0.0)))
    c = 1e-5  # below, what keeps a matrix's square root from zero is no longer small: √(2e-12/c)
    both, weights = np.stack([x, y]), np.array([0.2, 0.8])
    pairs = [
        (lorentz.dist(x, y, c=c), lorentz.dist(x, y, c=0)),
        (lorentz.pairwise_dist(both, both, c=c), lorentz.pairwise_dist(both, both, c=0)),
        (lorentz.exp_map0(x, c=c), lorentz.exp_map0(x, c=0)),
        (lorentz.log_map0(x, c=c), lorentz.log_map0(x, c=0)),
        (lorentz.radius(x, c=c), lorentz.radius(x, c=0)),
        (lorentz.midpoint(both, weights, c=c), lorentz.midpoint(both, weights, c=0)),
        (
            lorentz.exp_midpoint0(both, weights, limit=4.0, c=c),
            lorentz.exp_midpoint0(both, weights, limit=4.0, c=0),
        ),
    ]
    for bent_value, flat_value in pairs:
        np.testing.assert_allclose(bent_value, flat_value, rtol=1e-4, atol=1e-3)
    np.testing.assert_allclose(lorentz.dist(x, y, c=0), np.linalg.norm(x - y), rtol=1e-12)


@given(direction=directions, radius=radii, c=curvatures)
@laws
def test_logarithm_undoes_exponential_and_radius_is_the_vectors_norm(direction, radius, c):
    v = at(direction, radius / max(1.0, math.sqrt(c)), 0.0)
    x = lorentz.exp_map0(v, c=c)
    np.testing.assert_allclose(lorentz.log_map0(x, c=c), v, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(lorentz.exp_map0(lorentz.log_map0(x, c=c), c=c), x, rtol=1e-4, atol=1e-6)
    norm = float(np.linalg.norm(v.astype(np.float64)))
    assert float(lorentz.radius(x, c=c)) == pytest.approx(norm, rel=1e-5, abs=1e-6)
    assert oracles.dist(np.zeros(DIM), x, c=c) == pytest.approx(norm, rel=1e-5, abs=1e-6)


@given(direction=directions, length=st.floats(1e-3, 1e4), limit=st.floats(0.5, 6))
@laws
def test_a_bounded_vector_keeps_its_direction_and_stays_below_the_limit(direction, length, limit):
    v = at(direction, length, 0.0)
    bounded = lorentz.bound(v, limit=limit).astype(np.float64)
    size, before = np.linalg.norm(bounded), np.linalg.norm(v.astype(np.float64))
    assert size <= limit * (1 + 1e-6)
    assert size <= before * (1 + 1e-6)
    assert size == pytest.approx(limit * math.tanh(before / limit), rel=1e-5)
    np.testing.assert_allclose(bounded / size, v / before, atol=1e-6)


@given(direction=directions, length=st.floats(1e-3, 1e4), radius=st.floats(0.5, 6))
@laws
def test_a_vector_put_at_a_radius_keeps_its_direction(direction, length, radius):
    v = at(direction, length, 0.0)
    found = lorentz.at_radius(v, radius).astype(np.float64)
    assert np.linalg.norm(found) == pytest.approx(radius, rel=1e-5)
    np.testing.assert_allclose(found / radius, v / np.linalg.norm(v.astype(np.float64)), atol=1e-6)
    np.testing.assert_array_equal(lorentz.at_radius(np.zeros_like(v), radius), np.zeros_like(v))


@given(data=st.data(), c=curvatures)
@laws
def test_midpoint_agrees_with_explicit_ambient_vectors(data, c):
    rows = data.draw(points(4, c, furthest=3.0))
    weights = data.draw(st.lists(st.floats(0.0625, 1, width=32), min_size=4, max_size=4))
    found = lorentz.midpoint(np.stack(rows), np.array(weights, dtype=np.float32), c=c)
    # The sheet is steep far out: what counts is how far the two answers are apart on it
    assert oracles.dist(found, oracles.midpoint(rows, weights, c=c), c=c) < 1e-3
    exact = lorentz.midpoint(np.stack(rows).astype(np.float64), np.array(weights), c=c)
    np.testing.assert_allclose(exact, oracles.midpoint(rows, weights, c=c), rtol=1e-9, atol=1e-9)


@given(data=st.data(), c=curvatures, order=st.permutations(range(4)), factor=st.floats(0.01, 100))
@laws
def test_midpoint_knows_neither_order_nor_the_scale_of_weights_nor_points_of_no_weight(data, c, order, factor):
    rows = np.stack(data.draw(points(4, c, furthest=2.0))).astype(np.float64)
    weights = np.array(data.draw(st.lists(st.floats(0.05, 1), min_size=4, max_size=4)))
    middle = lorentz.midpoint(rows, weights, c=c)
    same = {"rtol": 1e-9, "atol": 1e-9}
    np.testing.assert_allclose(lorentz.midpoint(rows[list(order)], weights[list(order)], c=c), middle, **same)
    np.testing.assert_allclose(lorentz.midpoint(rows, factor * weights, c=c), middle, **same)
    without = np.where(np.arange(4) == order[0], 0.0, weights)
    kept = np.arange(4) != order[0]
    np.testing.assert_allclose(
        lorentz.midpoint(rows, without, c=c), lorentz.midpoint(rows[kept], weights[kept], c=c), **same
    )


@given(data=st.data(), c=curvatures)
@laws
def test_the_midpoint_of_two_equal_weights_halves_the_way(data, c):
    x, y = (row.astype(np.float64) for row in data.draw(points(2, c, furthest=3.0)))
    middle = lorentz.midpoint(np.stack([x, y]), np.array([0.4, 0.4]), c=c)
    half = oracles.dist(x, y, c=c) / 2
    assert oracles.dist(x, middle, c=c) == pytest.approx(half, rel=1e-6, abs=1e-6)
    assert oracles.dist(y, middle, c=c) == pytest.approx(half, rel=1e-6, abs=1e-6)


@given(data=st.data(), c=curvatures, limit=st.floats(1, 4))
@laws
def test_the_midpoint_of_tangent_vectors_is_that_of_their_bounded_points(data, c, limit):
    limit /= max(1.0, math.sqrt(c))
    tangents = np.stack(data.draw(points(4, 0.0, furthest=6.0)))
    weights = np.array(data.draw(st.lists(st.floats(0.0625, 1, width=32), min_size=4, max_size=4)), dtype=np.float32)
    found = lorentz.exp_midpoint0(tangents, weights, limit=limit, c=c)
    placed = [oracles.place(v, radius=limit, c=c) for v in tangents]
    np.testing.assert_allclose(found, oracles.midpoint(placed, weights.tolist(), c=c), rtol=5e-3, atol=5e-4)
    exact, wide = tangents.astype(np.float64), weights.astype(np.float64)
    np.testing.assert_allclose(
        lorentz.exp_midpoint0(exact, wide, limit=limit, c=c),
        lorentz.midpoint(lorentz.exp_map0(lorentz.bound(exact, limit=limit), c=c), wide, c=c),
        rtol=1e-9,
        atol=1e-12,
    )


@pytest.mark.parametrize("kind", KINDS)
@given(data=st.data(), c=curvatures)
@laws
def test_the_matrix_form_agrees_with_the_elementwise_one(kind, data, c):
    rows = np.stack(data.draw(points(5, c, furthest=3.5)))
    x, y = KINDS[kind](rows[:2]), KINDS[kind](rows[1:])
    found = lorentz.pairwise_dist(x, y, c=c)
    assert tuple(found.shape) == (2, 4)
    expected = [[oracles.dist(a, b, c=c) for b in rows[1:]] for a in rows[:2]]
    np.testing.assert_allclose(np.asarray(found), expected, atol=2e-2)
    exact = lorentz.pairwise_dist(rows[:2].astype(np.float64), rows[1:].astype(np.float64), c=c)
    np.testing.assert_allclose(exact, expected, atol=1e-5)


@given(data=st.data(), c=curvatures)
@laws
def test_numpy_and_torch_compute_the_same(data, c):
    rows = np.stack(data.draw(points(4, c, furthest=3.0)))
    weights = np.array([0.1, 0.2, 0.3, 0.4], dtype=np.float32)
    functions = [
        lambda x, w: lorentz.dist(x[:2], x[2:], c=c),
        lambda x, w: lorentz.pairwise_dist(x[:2], x[2:], c=c),
        lambda x, w: lorentz.log_map0(x, c=c),
        lambda x, w: lorentz.exp_map0(lorentz.log_map0(x, c=c), c=c),
        lambda x, w: lorentz.radius(x, c=c),
        lambda x, w: lorentz.bound(x, limit=2.0),
        lambda x, w: lorentz.at_radius(x, 2.0),
        lambda x, w: lorentz.midpoint(x, w, c=c),
        lambda x, w: lorentz.exp_midpoint0(x, w, limit=2.0, c=c),
    ]
    for function in functions:
        tensor = function(torch.from_numpy(rows).double(), torch.from_numpy(weights).double())
        array = function(rows.astype(np.float64), weights.astype(np.float64))
        assert isinstance(array, np.ndarray)
        np.testing.assert_allclose(tensor.numpy(), array, rtol=1e-6, atol=1e-7)
        narrow = function(rows, weights)
        assert narrow.dtype == np.float32
        assert function(torch.from_numpy(rows), torch.from_numpy(weights)).dtype == torch.float32


@given(data=st.data(), c=bent)
@laws
def test_a_point_lies_on_the_sheet(data, c):
    (x,) = data.draw(points(1, c))
    x = x.astype(np.float64)
    assert float(x @ x - lorentz.time(x, c=c) ** 2) == pytest.approx(-1 / c, rel=1e-6)


@pytest.mark.parametrize("c", ALL_CURVATURES)
def test_gradients_are_finite_at_coincident_points_and_zero_vectors(c):
    start = torch.tensor([[0.0] * DIM, [0.5] * DIM, [0.5] * DIM])
    weights = torch.tensor([0.2, 0.3, 0.5])
    functions = [
        lambda x: lorentz.dist(x, x.detach(), c=c),
        lambda x: lorentz.dist(x[1], x[2], c=c),
        lambda x: lorentz.pairwise_dist(x, x.detach(), c=c),
        lambda x: lorentz.exp_map0(x, c=c),
        lambda x: lorentz.log_map0(x, c=c),
        lambda x: lorentz.radius(x, c=c),
        lambda x: lorentz.bound(x, limit=2.0),
        lambda x: lorentz.at_radius(x, 2.0),
        lambda x: lorentz.midpoint(x, weights, c=c),
        lambda x: lorentz.exp_midpoint0(x, weights, limit=2.0, c=c),
    ]
    for number, function in enumerate(functions):
        x = start.clone().requires_grad_()
        value = function(x)
        assert value.isfinite().all(), number
        value.sum().backward()
        assert x.grad is not None
        assert x.grad.isfinite().all(), number


def test_distance_pulls_points_together_along_the_gradient():
    x = torch.tensor([1.0, 0.5, -0.3], requires_grad=True)
    y = torch.tensor([-0.4, 0.2, 0.9])
    before = lorentz.dist(x, y, c=1.0)
    before.backward()
    with torch.no_grad():
        assert lorentz.dist(x - 0.01 * x.grad, y, c=1.0) < before


@given(data=st.data(), c=curvatures)
@laws
def test_leading_axes_broadcast(data, c):
    rows = np.stack(data.draw(points(6, c, furthest=3.0)))
    table = lorentz.dist(rows[:2, None], rows[None, 2:], c=c)
    assert table.shape == (2, 4)
    for i in range(2):
        for j in range(4):
            assert table[i, j] == pytest.approx(float(lorentz.dist(rows[i], rows[2 + j], c=c)), rel=1e-6, abs=1e-7)
