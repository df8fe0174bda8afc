"""The exact containment scan: every point, no index. It is the ground truth of recall."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from index.rerank import Ranking, rerank
from model import lorentz

if TYPE_CHECKING:
    from numpy.typing import NDArray

BLOCK = 8192
_SEEDS = 4
"""How many times ``count`` rows are ranked first, to learn a distance that most other rows cannot beat."""
_ROUNDING = 1.0 + 1e-5


def scan(
    points: NDArray[np.float32],
    centre: NDArray[np.float32],
    limit: NDArray[np.float32],
    *,
    c: float,
    gamma: float,
    count: int,
) -> Ranking:
    """The ``count`` ≥ 1 rows of ``points`` (N, d) nearest by containment to (centre, limit), (d) each.

    A row is passed over only if it cannot be among them: d_out + γ·d_in ≥ γ·(d_out + d_in) ≥ γ·dist(x, m),
    and the last is one matrix product for all rows. Memory is a few numbers a row and ``BLOCK`` whole rows.
    """
    lower = gamma * _at_least(points, centre, c=c)
    seeds = min(len(points), _SEEDS * count)
    by_bound = np.argpartition(lower, seeds - 1) if seeds else np.empty(0, dtype=np.int64)
    best = rerank(points, by_bound[:seeds], centre, limit, c=c, gamma=gamma).head(count)
    rest = by_bound[seeds:]
    for start in range(0, len(rest), BLOCK):
        block = rest[start : start + BLOCK]
        able = block[lower[block] <= best.distances[-1] * _ROUNDING]
        if len(able):
            best = best.merge(rerank(points, able, centre, limit, c=c, gamma=gamma)).head(count)
    return best


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
