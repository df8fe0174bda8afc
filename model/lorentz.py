"""Geometry of the Lorentz model, with flat space as its limit.

Conventions, kept by every function here and by every caller:

* The curvature is −c with ``c >= 0``, always explicit and keyword-only. ``c = 0`` is Euclidean space: every formula
  below has that limit, so the flat twin of a model is the same code with another number.
* A point is stored by its d *space components* x; its time component is x₀ = √(1/c + ‖x‖²). Any x ∈ ℝᵈ is a point.
* Arrays are NumPy arrays or torch tensors, coordinates on the last axis; both get the same code through the array API.
* Elementwise functions broadcast all axes but the last. ``pairwise_dist`` is the matrix-product form: fast, good to
  1e-2 near zero distance in float32, for candidates and in-batch softmax only.

Formulas: Nickel & Kiela 2018 (Lorentz distance, exponential map); Law et al. 2019 (Lorentzian midpoint).
"""

from __future__ import annotations

import math
from typing import Any

from array_api_compat import array_namespace, is_torch_namespace

Array = Any
"""A NumPy array or a torch tensor."""

_TINY = 1e-12  # what keeps a square root's gradient finite, far below what float32 resolves here


def time(x: Array, *, c: float) -> Array:
    """Time components x₀ = √(1/c + ‖x‖²) of points ``x`` (..., d) → (...); needs c > 0."""
    xp = array_namespace(x)
    return xp.sqrt(1.0 / c + _dot(x, x))


def dist(x: Array, y: Array, *, c: float) -> Array:
    """Geodesic distance of ``x`` and ``y`` (..., d) → (...), exact near zero and with a zero gradient at zero.

    With u = c/2·(‖x−y‖² − (x₀−y₀)²), the distance is arccosh(1 + u)/√c. The time difference is taken as
    (x−y)·(x+y)/(x₀+y₀), which keeps the digits that arccosh(−c⟨x,y⟩) would lose. In float32 the relative error is
    below 1e-5, but for pairs almost on one ray from the origin, where it reaches 3e-5 at radius 3 and 2e-3 at 5.
    """
    xp = array_namespace(x, y)
    difference = x - y
    square = _dot(difference, difference)
    if c == 0:
        return _safe_sqrt(square)
    time_difference = _dot(difference, x + y) / (time(x, c=c) + time(y, c=c))
    excess = (c / 2.0) * (square - time_difference * time_difference)
    excess = xp.where(excess > 0, excess, xp.zeros_like(excess))
    # log1p, unlike arccosh and asinh, is precise near 0 and vectorised in every library
    return xp.log1p(excess + _safe_sqrt(excess * (excess + 2.0))) / math.sqrt(c)


def pairwise_dist(x: Array, y: Array, *, c: float) -> Array:
    """Distances of all ``x`` (N, d) to all ``y`` (M, d) → (N, M), by one matrix product."""
    xp = array_namespace(x, y)
    product = x @ y.T
    if c == 0:
        squares = _dot(x, x)[:, None] + _dot(y, y)[None, :] - 2.0 * product
        return xp.sqrt(xp.clip(squares, min=_TINY))
    excess = xp.clip(c * (time(x, c=c)[:, None] * time(y, c=c)[None, :] - product) - 1.0, min=_TINY)
    return xp.log1p(excess + xp.sqrt(excess * (excess + 2.0))) / math.sqrt(c)


def exp_map0(v: Array, *, c: float) -> Array:
    """Tangent vectors at the origin ``v`` (..., d) → points: sinh(√c‖v‖)/(√c‖v‖)·v."""
    if c == 0:
        return v
    xp = array_namespace(v)
    norm = math.sqrt(c) * _norm(v)
    return v * (xp.sinh(norm) / norm)


def log_map0(x: Array, *, c: float) -> Array:
    """Points ``x`` (..., d) → tangent vectors at the origin, the inverse of :func:`exp_map0`."""
    if c == 0:
        return x
    xp = array_namespace(x)
    norm = math.sqrt(c) * _norm(x)
    return x * (xp.asinh(norm) / norm)


def radius(x: Array, *, c: float) -> Array:
    """Distance of points ``x`` (..., d) from the origin → (...)."""
    xp = array_namespace(x)
    norm = _safe_sqrt(_dot(x, x))
    return norm if c == 0 else xp.asinh(math.sqrt(c) * norm) / math.sqrt(c)


def bound(v: Array, *, limit: float) -> Array:
    """Tangent vectors ``v`` (..., d), softly shortened below ``limit``: r becomes limit·tanh(r/limit)."""
    xp = array_namespace(v)
    norm = _norm(v)
    return v * (limit * xp.tanh(norm / limit) / norm)


def at_radius(v: Array, radius: float) -> Array:
    """Tangent vectors ``v`` (..., d), all made ``radius`` long."""
    return v * (radius / _norm(v))


def midpoint(x: Array, weights: Array, *, c: float) -> Array:
    """Weighted Lorentzian midpoint of ``x`` (..., L, d) under ``weights`` (..., L) ≥ 0 → (..., d).

    The weighted sum in ambient space, scaled back to the sheet. It does not depend on the order of the points, and a
    weight of zero removes one. Spread-out points have a midpoint nearer to the origin than any of them.
    """
    xp = array_namespace(x, weights)
    total = _weighted_sum(x, weights)
    if c == 0:
        return total / xp.sum(weights, axis=-1)[..., None]
    total_time = xp.sum(weights * time(x, c=c), axis=-1)
    # A sum of time-like vectors is time-like: the square root is real.
    norm = xp.sqrt(total_time * total_time - _dot(total, total))
    return total / (math.sqrt(c) * norm)[..., None]


def exp_midpoint0(v: Array, weights: Array, *, limit: float, c: float) -> Array:
    """Midpoint of the softly bounded points of tangent vectors ``v`` (..., L, d) under ``weights`` (..., L) → (..., d).

    The same as ``midpoint(exp_map0(bound(v, limit=limit), c=c), weights, c=c)``, but every point is its vector times a
    number, so the points are never made: one norm and one product of ``weights`` with ``v``.
    """
    xp = array_namespace(v, weights)
    square = _dot(v, v)
    norm = xp.sqrt(xp.where(square > 0, square, xp.ones_like(square)))
    distance = limit * xp.tanh(xp.where(square > 0, norm, xp.zeros_like(norm)) / limit)
    if c == 0:
        return _weighted_sum(v, weights * distance / norm) / xp.sum(weights, axis=-1)[..., None]
    reach = math.sqrt(c) * distance
    total = _weighted_sum(v, weights * xp.sinh(reach) / (math.sqrt(c) * norm))
    total_time = xp.sum(weights * xp.cosh(reach), axis=-1) / math.sqrt(c)
    return total / (math.sqrt(c) * xp.sqrt(total_time * total_time - _dot(total, total)))[..., None]


def _dot(x: Array, y: Array) -> Array:
    """Σ xᵢyᵢ over the last axis."""
    xp = array_namespace(x, y)
    # NumPy's vecdot makes no temporary; torch's is a batched matrix product of single rows, slow to go back through
    return xp.sum(x * y, axis=-1) if is_torch_namespace(xp) else xp.vecdot(x, y)


def _norm(v: Array) -> Array:
    """Norms of ``v`` (..., d) → (..., 1), with 1 for a zero vector, so that a quotient by one is finite."""
    xp = array_namespace(v)
    square = _dot(v, v)[..., None]
    return xp.sqrt(xp.where(square > 0, square, xp.ones_like(square)))


def _weighted_sum(v: Array, weights: Array) -> Array:
    """Σ weightsₗ·vₗ over the last axis but one, as a matrix product: (..., L, d), (..., L) → (..., d)."""
    return (weights[..., None, :] @ v)[..., 0, :]


def _safe_sqrt(square: Array) -> Array:
    """√max(square, 0) whose gradient at zero is zero, not infinite."""
    xp = array_namespace(square)
    positive = square > 0
    return xp.where(positive, xp.sqrt(xp.where(positive, square, xp.ones_like(square))), xp.zeros_like(square))
