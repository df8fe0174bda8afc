"""The exact containment scan: every point, no index. It is the ground truth of recall."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from index.rerank import Ranking, rerank
from model import lorentz

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from index.algebra import Region

BLOCK = 8192
_SEEDS = 4
"""How many times ``count`` rows are ranked first, to learn a distance that most other rows cannot beat."""
_ROUNDING = 1.0 + 1e-5


def scan(
    points: NDArray[np.float32],
    region: Region,
    *,
    c: float,
    gamma: float,
    count: int,
    among: NDArray[np.int64] | None = None,
) -> Ranking:
    """The ``count`` ≥ 1 rows of ``points`` (N, d) nearest to ``region`` by containment, or of the rows ``among`` them.

    A row is passed over only if it cannot be one of them: d_out + γ·d_in ≥ γ·(d_out + d_in) ≥ γ·dist(x, m), and the
    last is one matrix product for all rows and each of the region's centres. Memory is a few numbers a row and
    ``BLOCK`` whole rows.
    """
    lower = gamma * _lower_bounds(points, region, among, c=c)
    seeds = min(len(lower), _SEEDS * count)
    places = np.argpartition(lower, seeds - 1) if seeds else np.empty(0, dtype=np.int64)
    by_bound, lower = (places if among is None else among[places]), lower[places]
    best = rerank(points, by_bound[:seeds], region, c=c, gamma=gamma).head(count)
    for start in range(seeds, len(by_bound), BLOCK):
        block = slice(start, start + BLOCK)
        able = by_bound[block][lower[block] <= best.distances[-1] * _ROUNDING]
        if len(able):
            best = best.merge(rerank(points, able, region, c=c, gamma=gamma)).head(count)
    return best


def _lower_bounds(
    points: NDArray[np.float32], region: Region, among: NDArray[np.int64] | None, *, c: float
) -> NDArray[np.float32]:
    """Lower bounds of the distances to the nearest of the region's centres, (N) or (K)."""

    def nearest(x: NDArray[np.float32]) -> NDArray[np.float32]:
        bounds = [_at_least(x, box.centre, c=c) for box in region.boxes]
        return bounds[0] if len(bounds) == 1 else np.min(bounds, axis=0)

    if among is None:
        return nearest(points)
    blocks = [nearest(points[among[start : start + BLOCK]]) for start in range(0, len(among), BLOCK)]
    return np.concatenate(blocks) if blocks else np.empty(0, dtype=np.float32)


def _at_least(points: NDArray[np.float32], centre: NDArray[np.float32], *, c: float) -> NDArray[np.float32]:
    """Lower bounds (N) of dist(x, m): the matrix-product form less its worst rounding in float32."""
    worst = (len(centre) + 4) * float(np.finfo(np.float32).eps)
    product = points @ centre
    if c == 0:
        squares = np.einsum("nd,nd->n", points, points) + centre @ centre
        return np.asarray(np.sqrt(np.maximum(squares * (1.0 - worst) - 2.0 * product, 0.0)))
    times = lorentz.time(points, c=c) * lorentz.time(centre, c=c)
    half_u = 0.5 * (c * (times * (1.0 - worst) - product) - 1.0)
    return np.asarray(np.arcsinh(np.sqrt(np.maximum(half_u, 0.0))) * (2.0 / math.sqrt(c)))
