from __future__ import annotations

import numpy as np
import oracles
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from model import hyperboloid, lorentz
from model.hyperboloid import Hyperboloids

DIM = 5

vectors = arrays(np.float32, DIM, elements=st.floats(-3, 3, width=32))
limits = arrays(np.float32, DIM, elements=st.floats(2**-10, 2, width=32))
curvatures = st.sampled_from([0.0, 0.1, 1.0, 4.0])
gammas = st.floats(0.01, 0.99)
laws = settings(max_examples=50, deadline=None)


@st.composite
def boxed(draw) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A point, a centre and a limit; the point is inside, on faces and corners, or anywhere."""
    centre, limit = draw(vectors), draw(limits)
    anywhere = draw(vectors)
    steps = draw(arrays(np.float32, DIM, elements=st.sampled_from([-1.0, -0.5, 0.0, 0.3, 1.0])))
    inside = np.minimum(np.maximum(centre + steps * limit, centre - limit), centre + limit)
    return draw(st.sampled_from([anywhere, inside, centre])), centre, limit


@given(box=boxed(), c=curvatures, gamma=gammas)
@laws
def test_containment_distance_agrees_with_a_loop_over_axes(box, c, gamma):
    x, centre, limit = box
    found = float(hyperboloid.containment(x, centre, limit, c=c, gamma=gamma))
    # float32 rounds the faces themselves by about 1e-7 of their place
    assert found == pytest.approx(oracles.containment(x, centre, limit, c=c, gamma=gamma), rel=1e-4, abs=5e-6)
    wide = [array.astype(np.float64) for array in box]
    assert float(hyperboloid.containment(*wide, c=c, gamma=gamma)) == pytest.approx(
        oracles.containment(*wide, c=c, gamma=gamma), rel=1e-7, abs=1e-8
    )
    assert bool(hyperboloid.contains(*wide)) == oracles.contains(*wide)


@given(box=boxed(), c=curvatures)
@laws
def test_inside_is_exactly_where_nothing_is_outside(box, c):
    x, centre, limit = box
    outside, _ = hyperboloid.containment_parts(x, centre, limit, c=c)
    inside = bool(hyperboloid.contains(x, centre, limit))
    assert inside == bool(((centre - limit <= x) & (x <= centre + limit)).all())
    assert outside == 0.0 if inside else outside >= 0.0
    if not inside and np.abs(hyperboloid.nearest(x, centre, limit) - x).max() > 1e-6:
        assert outside > 0.0


@given(x=vectors, centre=vectors, c=curvatures, gamma=gammas)
@laws
def test_a_vanishing_limit_leaves_the_distance_to_the_centre(x, centre, c, gamma):
    nothing = np.full(DIM, 1e-7, dtype=np.float32)
    found = float(hyperboloid.containment(x, centre, nothing, c=c, gamma=gamma))
    assert found == pytest.approx(oracles.dist(x, centre, c=c), rel=1e-4, abs=1e-5)


@given(box=boxed(), growth=arrays(np.float32, DIM, elements=st.floats(0, 2, width=32)))
@laws
def test_a_growing_limit_never_lets_go_of_a_point_nor_moves_away_from_it(box, growth):
    x, centre, limit = box
    before, after = hyperboloid.nearest(x, centre, limit), hyperboloid.nearest(x, centre, limit + growth)
    if hyperboloid.contains(x, centre, limit):
        assert hyperboloid.contains(x, centre, limit + growth)
    assert (np.abs(x - after) <= np.abs(x - before)).all()
    assert hyperboloid.log_volume(limit + growth) >= hyperboloid.log_volume(limit)


@given(box=boxed(), c=curvatures)
@laws
def test_going_by_the_nearest_point_is_no_short_cut(box, c):
    x, centre, limit = (array.astype(np.float64) for array in box)
    outside, inside = hyperboloid.containment_parts(x, centre, limit, c=c)
    assert outside + inside >= oracles.dist(x, centre, c=c) * (1 - 1e-6) - 1e-6
    assert hyperboloid.containment(x, centre, limit, c=c, gamma=0.3) <= outside + inside


@given(boxes=st.lists(boxed(), min_size=1, max_size=6), c=curvatures, gamma=gammas)
@laws
def test_a_batch_gives_what_its_rows_give_alone(boxes, c, gamma):
    x, centre, limit = (np.stack(arrays_of) for arrays_of in zip(*boxes, strict=True))
    table = hyperboloid.containment(x[None], centre[:, None], limit[:, None], c=c, gamma=gamma)
    within = hyperboloid.contains(x[None], centre[:, None], limit[:, None])
    assert table.shape == within.shape == (len(boxes), len(boxes))
    for i in range(len(boxes)):
        for j in range(len(boxes)):
            alone = hyperboloid.containment(x[j], centre[i], limit[i], c=c, gamma=gamma)
            assert table[i, j] == pytest.approx(float(alone), rel=1e-5, abs=1e-6)
            assert within[i, j] == hyperboloid.contains(x[j], centre[i], limit[i])


@given(box=boxed(), c=curvatures, gamma=gammas)
@laws
def test_torch_computes_what_numpy_does(box, c, gamma):
    tensors = [torch.from_numpy(array) for array in box]
    found = hyperboloid.containment(*tensors, c=c, gamma=torch.tensor(gamma))
    assert float(found) == pytest.approx(float(hyperboloid.containment(*box, c=c, gamma=gamma)), rel=1e-4, abs=5e-6)
    assert bool(hyperboloid.contains(*tensors)) == bool(hyperboloid.contains(*box))
    assert float(hyperboloid.log_volume(tensors[2])) == pytest.approx(
        float(np.sum(np.log(box[2].astype(np.float64)))), rel=1e-4, abs=1e-4
    )


def test_the_nearest_point_is_clamped_on_each_axis_alone():
    x = np.array([2.0, -2.0, 0.1])
    centre, limit = np.zeros(3), np.array([1.0, 0.5, 0.2])
    np.testing.assert_array_equal(hyperboloid.nearest(x, centre, limit), [1.0, -0.5, 0.1])


def test_with_gamma_one_half_the_way_inside_counts_half():
    centre, limit = np.zeros(3), np.full(3, 1.0)
    x = np.array([0.6, 0.0, 0.0])
    expected = 0.5 * float(lorentz.dist(x, centre, c=1.0))
    assert float(hyperboloid.containment(x, centre, limit, c=1.0, gamma=0.5)) == pytest.approx(expected)


@pytest.mark.parametrize("c", [0.0, 1.0])
def test_gradients_reach_centre_and_limit_and_stay_finite_on_the_border(c):
    centre = torch.tensor([[0.3, -0.2], [0.3, -0.2]], requires_grad=True)
    limit = torch.tensor([[0.5, 0.5], [0.5, 0.5]], requires_grad=True)
    x = torch.tensor([[2.0, 1.0], [0.8, -0.2]])  # far outside, and on a face
    hyperboloid.containment(x, centre, limit, c=c, gamma=0.9).sum().backward()
    for gradient in (centre.grad, limit.grad):
        assert gradient is not None
        assert gradient.isfinite().all()
        assert (gradient[0] != 0).all()


def test_a_batch_of_regions_knows_its_length():
    assert len(Hyperboloids(centres=np.zeros((3, 2)), limits=np.ones((3, 2)))) == 3
