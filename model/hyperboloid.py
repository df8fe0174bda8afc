"""Hyperboloids: the regions that queries become, and how far a product is from one.

A hyperboloid is a centre m and a limit ℓ > 0, both (..., d): the axis-aligned box from m − ℓ to m + ℓ in *space
components*. Its nearest point to x, in coordinates, is p = clamp(x, m − ℓ, m + ℓ). Then

    containment distance = dist(x, p) + γ·dist(m, p),   0 < γ < 1,   and   contains(x) ⇔ p = x.

Functions take NumPy arrays or torch tensors and broadcast all axes but the last, as in :mod:`model.lorentz`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from array_api_compat import array_namespace

from model import lorentz

if TYPE_CHECKING:
    from model.lorentz import Array


@dataclass(frozen=True, slots=True)
class Hyperboloids:
    """A batch of query regions: ``centres`` (B, d) and ``limits`` (B, d) > 0, in space components."""

    centres: Array
    limits: Array

    def __len__(self) -> int:
        return int(self.centres.shape[0])


def nearest(x: Array, centre: Array, limit: Array) -> Array:
    """The point of each box nearest to ``x`` in coordinates, (..., d)."""
    xp = array_namespace(x, centre, limit)
    # minimum and maximum, not clip: gradients then reach the limit from both faces
    return xp.minimum(xp.maximum(x, centre - limit), centre + limit)


def containment_parts(x: Array, centre: Array, limit: Array, *, c: float) -> tuple[Array, Array]:
    """``(d_out, d_in)``: distance from ``x`` to its nearest point of the box, and from that point to the centre."""
    p = nearest(x, centre, limit)
    return lorentz.dist(x, p, c=c), lorentz.dist(centre, p, c=c)


def containment(x: Array, centre: Array, limit: Array, *, c: float, gamma: float | Array) -> Array:
    """Containment distance d_out + γ·d_in of ``x`` to the box (centre, limit), (..., d) → (...)."""
    outside, inside = containment_parts(x, centre, limit, c=c)
    return outside + gamma * inside


def contains(x: Array, centre: Array, limit: Array) -> Array:
    """Whether ``x`` lies in the box, borders included, (..., d) → (...) of bool."""
    xp = array_namespace(x, centre, limit)
    return xp.all(nearest(x, centre, limit) == x, axis=-1)


def log_volume(limit: Array) -> Array:
    """Log-volume Σ log ℓᵢ of boxes with limits (..., d) → (...): the larger, the broader the query."""
    xp = array_namespace(limit)
    return xp.sum(xp.log(limit), axis=-1)
