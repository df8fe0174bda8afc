"""Attention grids: which terms of a title answer which terms of a query, after the fact.

The score is the containment distance of one point to one hyperboloid, and no part of it is a sum over pairs of terms.
A grid is therefore *post hoc*: it is computed from both towers' attention and from where either tower puts a term that
stands alone, and no search ever reads it. Query term i has the hyperboloid Hᵢ of a query of that term only, title term
j the point xⱼ of its vector after the title's self-attention, as if it were all of the title. With α a query term's
share of the attention over pairs, β the attention over the title's terms, and τ the temperature of the softmax over
products that the model was trained with,

    gridᵢⱼ = αᵢ · βⱼ·exp(−containment(Hᵢ, xⱼ)/τ) / Σₖ βₖ·exp(−containment(Hᵢ, xₖ)/τ)

So a row spreads its query term's weight over the title's terms as the model would choose among them: rows sum to α, the
whole grid to 1, and a column's sum is the share of the query that its title term answers. What a title does not
answer shows as a row spread thinly, not as a row of zeros.
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
    are the terms' own hyperboloids, ``points`` (M, d) the title terms' own points. ``title_weights`` (M) is the
    attention over the title's terms and sums to 1. ``temperature`` divides distances in the softmax over products.
    """

    query_terms: tuple[str, ...]
    title_terms: tuple[str, ...]
    pairs: Array
    centres: Array
    limits: Array
    title_weights: Array
    points: Array
    temperature: float


def term_weights(pairs: Array) -> Array:
    """α: each query term's share of the attention over ``pairs`` (L, L) → (L); a pair counts half for each."""
    xp = array_namespace(pairs)
    return 0.5 * (xp.sum(pairs, axis=0) + xp.sum(pairs, axis=1))


def grid(attention: Attention, *, c: float, gamma: float) -> Array:
    """The attention grid of a query's L and a title's M terms, (L, M) ≥ 0 of sum 1."""
    xp = array_namespace(attention.points)
    distances = hyperboloid.containment(
        attention.points[None, :, :], attention.centres[:, None, :], attention.limits[:, None, :], c=c, gamma=gamma
    )
    # shape: (L, M); no weight is so small that its logarithm is infinite
    tiny = xp.finfo(attention.title_weights.dtype).tiny
    logits = xp.log(xp.clip(attention.title_weights, min=tiny))[None, :] - distances / attention.temperature
    shares = xp.exp(logits - xp.max(logits, axis=1, keepdims=True))
    rows = shares / xp.sum(shares, axis=1, keepdims=True)
    return term_weights(attention.pairs)[:, None] * rows
