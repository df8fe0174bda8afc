"""Grids: which terms of a title answer which terms of a query, after the fact.

The score is the containment distance of one point to one hyperboloid, and no part of it is a sum over pairs of terms.
A grid is therefore *post hoc*, and no search ever reads it: it is found by taking each term of the title away
(occlusion; Zeiler and Fergus, *Visualizing and understanding convolutional networks*, ECCV 2014). Query term i has the
hyperboloid Hᵢ of a query of that term only, and x₋ⱼ is where the title lies without its term j. With α a query term's
share of the attention over pairs, and τ the temperature of the softmax over products that the model was trained with,

    gridᵢⱼ = αᵢ · exp(containment(Hᵢ, x₋ⱼ)/τ) / Σₖ exp(containment(Hᵢ, x₋ₖ)/τ)

So a row spreads its query term's weight over the terms of the title, the more to a term, the farther from what the
query term asks for the title would be without it: rows sum to α, the whole grid to 1, and a column's sum is the share
of the query that its title term answers. What a title does not answer shows as a row spread thinly.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from array_api_compat import array_namespace

from model import hyperboloid

if TYPE_CHECKING:
    from model.lorentz import Array


@dataclass(frozen=True, slots=True)
class Attention:
    """What the two towers attend to in one query of L terms and one title of M terms, in d dimensions.

    ``pairs`` (L, L) is the attention over the query's intersections and sums to 1: entry (i, j), i < j, is that of
    terms i and j, the diagonal holds the terms themselves, and below it all is zero. ``centres`` and ``limits`` (L, d)
    are the terms' own hyperboloids, ``without`` (M, d) the points of the title without each of its terms; of a title of
    one term it is the title's own. ``title_weights`` (M) is the attention over the title's terms and sums to 1.
    ``temperature`` divides distances in the softmax over products.
    """

    query_terms: tuple[str, ...]
    title_terms: tuple[str, ...]
    pairs: Array
    centres: Array
    limits: Array
    title_weights: Array
    without: Array
    temperature: float


def term_weights(pairs: Array) -> Array:
    """α: each query term's share of the attention over ``pairs`` (L, L) → (L); a pair counts half for each."""
    xp = array_namespace(pairs)
    return 0.5 * (xp.sum(pairs, axis=0) + xp.sum(pairs, axis=1))


def grid(attention: Attention, *, c: float, gamma: float) -> Array:
    """The grid of a query's L and a title's M terms, (L, M) ≥ 0 of sum 1."""
    xp = array_namespace(attention.without)
    distances = hyperboloid.containment(
        attention.without[None, :, :], attention.centres[:, None, :], attention.limits[:, None, :], c=c, gamma=gamma
    )
    # shape: (L, M)
    farther = distances - xp.max(distances, axis=1, keepdims=True)
    shares = xp.exp(farther / attention.temperature)
    rows = shares / xp.sum(shares, axis=1, keepdims=True)
    return term_weights(attention.pairs)[:, None] * rows
