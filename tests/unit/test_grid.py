from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from oracles import containment

from model.grid import Attention, grid, term_weights

GAMMA, C = 0.9, 1.0


def attention(seed, *, query=3, title=5, dim=4, temperature=0.2):
    chance = np.random.default_rng(seed)
    pairs = np.triu(chance.random((query, query)))
    weights = chance.random(title)
    return Attention(
        query_terms=tuple(f"q{i}" for i in range(query)),
        title_terms=tuple(f"t{j}" for j in range(title)),
        pairs=(pairs / pairs.sum()).astype(np.float32),
        centres=chance.normal(size=(query, dim)).astype(np.float32),
        limits=(0.1 + chance.random((query, dim))).astype(np.float32),
        title_weights=(weights / weights.sum()).astype(np.float32),
        without=chance.normal(size=(title, dim)).astype(np.float32),
        temperature=temperature,
    )


attentions = st.builds(
    attention,
    st.integers(0, 2**32 - 1),
    query=st.integers(1, 6),
    title=st.integers(1, 9),
    temperature=st.floats(0.01, 10.0),
)


def slow(of):
    """The formula in float64, cell by cell."""
    alpha = [0.5 * float(of.pairs[i].sum() + of.pairs[:, i].sum()) for i in range(len(of.query_terms))]
    rows = []
    for i, share in enumerate(alpha):
        distances = [containment(x, of.centres[i], of.limits[i], c=C, gamma=GAMMA) for x in of.without]
        shares = [np.exp((distance - max(distances)) / of.temperature) for distance in distances]
        rows.append([share * value / sum(shares) for value in shares])
    return np.array(rows)


@given(attentions)
def test_a_grid_is_the_formula(of):
    np.testing.assert_allclose(grid(of, c=C, gamma=GAMMA), slow(of), atol=2e-4)


@given(attentions)
def test_a_grid_has_no_negative_cell_and_its_rows_sum_to_the_weights_of_their_terms(of):
    cells = grid(of, c=C, gamma=GAMMA)
    assert cells.shape == (len(of.query_terms), len(of.title_terms))
    assert (cells >= 0).all()
    np.testing.assert_allclose(cells.sum(axis=1), term_weights(of.pairs), atol=1e-5)
    assert cells.sum() == pytest.approx(1.0, abs=1e-5)


@given(attentions)
def test_the_weights_of_terms_sum_to_one_and_a_pair_counts_half_for_each(of):
    weights = term_weights(of.pairs)
    assert weights.sum() == pytest.approx(1.0, abs=1e-5)
    lone = np.zeros_like(of.pairs)
    lone[0, -1] = 1.0
    expected = np.zeros(len(of.query_terms))
    expected[0] += 0.5
    expected[-1] += 0.5
    np.testing.assert_array_equal(term_weights(lone), expected)


@given(attentions, st.randoms(use_true_random=False))
def test_other_orders_of_terms_give_the_same_grid_in_that_order(of, chance):
    order = chance.sample(range(len(of.title_terms)), len(of.title_terms))
    shuffled = replace(of, without=of.without[order])
    np.testing.assert_allclose(
        grid(shuffled, c=C, gamma=GAMMA), grid(of, c=C, gamma=GAMMA)[:, order], rtol=1e-3, atol=1e-6
    )


@given(attentions, st.floats(1.5, 4.0))
def test_a_row_scales_with_its_terms_weight(of, factor):
    scaled = of.pairs.copy()
    scaled[0, 0] *= factor
    before, after = grid(of, c=C, gamma=GAMMA)[0], grid(replace(of, pairs=scaled), c=C, gamma=GAMMA)[0]
    ratio = term_weights(scaled)[0] / term_weights(of.pairs)[0]
    np.testing.assert_allclose(after, ratio * before, rtol=1e-4, atol=1e-7)


def test_a_term_that_is_missed_more_gets_more_and_a_lower_temperature_sharpens_that():
    of = attention(3, query=1, title=2)
    missed = int(np.argmax([containment(x, of.centres[0], of.limits[0], c=C, gamma=GAMMA) for x in of.without]))
    wide, sharp = (grid(replace(of, temperature=t), c=C, gamma=GAMMA)[0, missed] for t in (1.0, 0.1))
    assert 0.5 < wide < sharp <= 1.0


def test_far_terms_and_a_low_temperature_do_not_underflow():
    of = attention(6, temperature=1e-4)
    cells = grid(replace(of, without=30.0 * of.without), c=C, gamma=GAMMA)
    assert cells.sum() == pytest.approx(1.0, abs=1e-5)


def test_torch_gives_the_same_grid():
    of = attention(7)
    arrays = {name: torch.from_numpy(getattr(of, name)) for name in ("pairs", "centres", "limits", "without")}
    tensors = replace(of, **arrays)
    np.testing.assert_allclose(grid(tensors, c=C, gamma=GAMMA).numpy(), grid(of, c=C, gamma=GAMMA), atol=1e-5)
