from __future__ import annotations

import math

import numpy as np
import oracles
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from model.losses import listwise, membership

laws = settings(max_examples=60, deadline=None)
scores = arrays(np.float64, (3, 5), elements=st.floats(-8, 8))
gains = arrays(np.float64, (3, 5), elements=st.sampled_from([0.0, 0.0, 0.1, 0.5, 1.0]))
excesses = arrays(np.float64, (2, 4, 3), elements=st.floats(-0.8, 0.8))
sides = arrays(np.int64, (2, 4), elements=st.sampled_from([-1, 0, 1]))  # out, neither, in


@given(scores=scores, gains=gains)
@laws
def test_listwise_agrees_with_a_loop(scores, gains):
    found = float(listwise(torch.from_numpy(scores), torch.from_numpy(gains)))
    assert found == pytest.approx(oracles.listwise(scores, gains), rel=1e-9, abs=1e-9)


@given(scores=scores, gains=gains, factor=st.floats(0.1, 10), shift=st.floats(-5, 5))
@laws
def test_listwise_ignores_the_scale_of_gains_and_a_shift_of_scores(scores, gains, factor, shift):
    loss = float(listwise(torch.from_numpy(scores), torch.from_numpy(gains)))
    scaled = float(listwise(torch.from_numpy(scores + shift), torch.from_numpy(factor * gains)))
    assert scaled == pytest.approx(loss, rel=1e-6, abs=1e-9)


def test_rows_without_gains_do_not_count():
    scores = torch.tensor([[1.0, 2.0], [3.0, -4.0]])
    alone = listwise(scores[:1], torch.tensor([[0.0, 1.0]]))
    assert float(listwise(scores, torch.tensor([[0.0, 1.0], [0.0, 0.0]]))) == pytest.approx(float(alone))
    nothing = scores.clone().requires_grad_()
    loss = listwise(nothing, torch.zeros(2, 2))
    loss.backward()
    assert float(loss.detach()) == 0.0
    assert nothing.grad is not None
    assert not nothing.grad.any()


def test_an_entry_of_minus_infinity_is_left_out_with_a_finite_gradient():
    scores = torch.tensor([[1.0, 2.0, -math.inf]], requires_grad=True)
    loss = listwise(scores, torch.tensor([[0.0, 1.0, 0.0]]))
    loss.backward()
    shorter = listwise(torch.tensor([[1.0, 2.0]]), torch.tensor([[0.0, 1.0]]))
    assert float(loss.detach()) == pytest.approx(float(shorter))
    assert scores.grad is not None
    assert scores.grad.isfinite().all()
    assert float(scores.grad[0, 2]) == 0.0


def test_the_best_scores_are_those_that_follow_the_gains():
    wanted = torch.tensor([[0.7, 0.2, 0.1]])
    best = float(listwise(wanted.log(), wanted))
    for other in ([0.2, 0.7, 0.1], [0.34, 0.33, 0.33], [0.98, 0.01, 0.01]):
        assert float(listwise(torch.tensor([other]).log(), wanted)) > best


def belongs(excess, side, *, outside_weight=1.8):
    excess, side = torch.as_tensor(excess), torch.as_tensor(side)
    return membership(excess, side > 0, side < 0, outside_weight=outside_weight)


@given(excess=excesses, side=sides, weight=st.floats(0.1, 5))
@laws
def test_membership_agrees_with_a_loop(excess, side, weight):
    found = float(belongs(excess, side, outside_weight=weight))
    expected = oracles.membership(excess, side > 0, side < 0, outside_weight=weight)
    assert found == pytest.approx(expected, rel=1e-9, abs=1e-9)


@given(excess=excesses, side=sides)
@laws
def test_membership_pulls_in_what_belongs_inside_pushes_out_what_does_not_and_leaves_the_rest(excess, side):
    beyond = torch.from_numpy(excess).requires_grad_()
    belongs(beyond, side).backward()
    assert beyond.grad is not None
    assert beyond.grad.isfinite().all()
    for gradient, where in zip(beyond.grad.flatten(0, 1), side.flatten(), strict=True):
        signs = torch.sign(gradient)
        assert (signs * where >= 0).all()
        assert bool(signs.any()) == bool(where)


def test_membership_counts_the_axis_on_which_a_product_is_furthest_out():
    worst = float(belongs([[[0.5, -0.5, -0.5]]], [[1]]))
    assert worst == pytest.approx(float(belongs([[[0.5, 0.2, -0.5]]], [[1]])), rel=1e-3)
    assert worst > 10 * float(belongs([[[-0.5, -0.5, -0.5]]], [[1]]))


def test_a_box_with_nothing_to_hold_and_nothing_to_keep_out_loses_nothing():
    assert float(belongs([[[0.1, 0.2]], [[-0.3, 0.1]]], [[0], [0]])) == 0.0
