"""What points and queries become so that an inner product has the order that candidates are wanted in.

The order of the distance to a box' centre m is that of ⟨m, x⟩ = m·x − m₀x₀, an inner product as it stands:

    centre:  φ(x) = [x, x₀]          ψ(m) = [m, −m₀]
    at c = 0:  φ(x) = [x, ‖x‖²]      ψ(m) = [2m, −1]

It does not see the limit ℓ. A quadratic with a weight for each axis does, and is an inner product of lifted vectors:

    region:  φ(x) = [x, x∘x, x₀]     ψ(m, ℓ) = [2w∘m, w₀ − w, −2w₀m₀]
    ψ·φ = const − Σ wᵢ(xᵢ − mᵢ)² + w₀(x₀ − m₀)²          wᵢ = 1/(ℓᵢ + ε), mean 1; w₀ = minᵢ wᵢ

With w = w₀ = 1 it is the first again; w₀ above the least weight would have far points outscore the centre. At c = 0
there is no time component, and no w₀. A lifted vector has xᵢ and xᵢ² side by side, so that what codes few columns at a
time codes what is of one axis together.

Vectors that are no points, but whose inner product is wanted itself, are taken as they are (*inner*).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from index.algebra import Box
    from index.shapes import Form

    Vectors = NDArray[np.float32]

EPSILON = 0.1
"""ε of the weights, in space components: much less lets a few narrow axes decide alone."""


def indexed(points: Vectors, *, c: float, form: Form) -> Vectors:
    """φ of ``points`` (N, d): (N, w), see :func:`width`."""
    if form == "inner":
        return np.ascontiguousarray(points, dtype=np.float32)
    squares = _squares(points)
    count, dim = points.shape
    vectors = np.empty((count, width(dim, form)), dtype=np.float32)
    if form == "centre":
        vectors[:, :dim] = points
    else:
        vectors[:, : 2 * dim : 2] = points
        np.square(points, out=vectors[:, 1 : 2 * dim : 2])
    vectors[:, -1] = np.sqrt(1.0 / c + squares) if c else squares
    return vectors


def sought(box: Box, *, c: float, form: Form) -> Vectors:
    """ψ of ``box``: (w), the vector whose inner product with φ(x) is the greater, the nearer x is."""
    if form == "inner":
        return box.centre
    centre = box.centre.astype(np.float64)
    dim = len(centre)
    query = np.empty(width(dim, form))
    top = np.sqrt(1.0 / c + centre @ centre) if c else 0.0
    if form == "centre":
        query[:dim] = centre if c else 2.0 * centre
        query[-1] = -top if c else -1.0
        return query.astype(np.float32)
    weights = 1.0 / (0.5 * (box.hi.astype(np.float64) - box.lo) + EPSILON)
    weights /= weights.mean()
    least = weights.min() if c else 0.0
    query[: 2 * dim : 2] = 2.0 * weights * centre
    query[1 : 2 * dim : 2] = least - weights
    query[-1] = -2.0 * least * top
    return query.astype(np.float32)


def largest_square(vectors: Iterable[Vectors]) -> float:
    """M² of :func:`lengthened` for all blocks of ``vectors``, (N, w) each."""
    return max(float(_squares(block).max()) for block in vectors)


def lengthened(vectors: Vectors, largest: float) -> Vectors:
    """``vectors`` φ (N, w) with a column √(M² − ‖φ‖²), for indexes that know L2 only: (N, w + 1).

    All are of the length M then, and for a query ψ with a zero more, ‖stored − query‖² = M² + ‖ψ‖² − 2ψ·φ has the order
    of the inner product. Graphs need it: on the product itself they fail (recall 0.02 to 0.65, whatever the effort).
    """
    rest = np.sqrt(np.maximum(largest - _squares(vectors), 0.0))
    return np.ascontiguousarray(np.column_stack((vectors, rest)), dtype=np.float32)


def width(dim: int, form: Form) -> int:
    """Length of the vectors of points with ``dim`` coordinates."""
    return {"centre": dim + 1, "region": 2 * dim + 1, "inner": dim}[form]


def columns_an_axis(form: Form) -> int:
    """How many columns of a vector are of one axis."""
    return 2 if form == "region" else 1


def _squares(vectors: Vectors) -> NDArray[np.float64]:
    return np.asarray(np.einsum("nd,nd->n", vectors, vectors, dtype=np.float64))
