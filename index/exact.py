"""The exact containment scan: every point, no index. It is the ground truth of recall."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING

import numpy as np

from index.algebra import Region
from index.rerank import Ranking, rerank
from model import lorentz

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from index.algebra import Box

BLOCK = 8192
PIECE = 65_536
"""Rows that are scanned between two pauses."""
_SEEDS = 4
"""How many times ``count`` rows are ranked first, to learn a distance that most other rows cannot beat."""
_ROUNDING = 1.0 + 1e-5


def heights(points: NDArray[np.float32], *, c: float) -> NDArray[np.float32]:
    """What a scan needs of ``points`` (N, d) beside them: time components (N), or squared norms at c = 0."""
    if c == 0:
        return np.asarray(np.einsum("nd,nd->n", points, points))
    return np.asarray(lorentz.time(points, c=c))


def scan(
    points: NDArray[np.float32],
    region: Region,
    *,
    c: float,
    gamma: float,
    count: int,
    among: NDArray[np.int64] | None = None,
    mask: NDArray[np.bool_] | None = None,
    known: NDArray[np.float32] | None = None,
) -> Ranking:
    """The ``count`` ≥ 1 rows of ``points`` (N, d) nearest to ``region`` by containment, or of the rows ``among`` them.

    A row is passed over only if it cannot be one of them: d_out + γ·d_in ≥ γ·(d_out + d_in) ≥ γ·dist(x, m), and what
    the last is monotone in is one matrix product for all rows and each of the region's centres. ``known`` are the
    :func:`heights` of all points, computed if they are not given. Memory is a few numbers a row and ``BLOCK`` rows.

    ``mask`` (N) says the same as ``among`` where it is most rows: all are looked at in passing, and none is copied.
    """
    bounds = _bounds(points, region, among, known, c=c)
    able_count = len(bounds)
    if mask is not None:
        bounds[~mask] = np.inf
        able_count = int(np.count_nonzero(mask))
    seeds = min(able_count, _SEEDS * count)
    first = np.argpartition(bounds, seeds - 1)[:seeds] if seeds else np.empty(0, dtype=np.int64)

    def ranked(places: NDArray[np.int64]) -> Ranking:
        return rerank(points, places if among is None else among[places], region, c=c, gamma=gamma)

    best = ranked(first).head(count)
    bounds[first] = np.inf
    able = np.flatnonzero(bounds <= _bound_at(best, c=c, gamma=gamma)) if seeds < able_count else first[:0]
    able = able[np.argsort(bounds[able])]
    for start in range(0, len(able), BLOCK):
        block = able[start : start + BLOCK]
        block = block[bounds[block] <= _bound_at(best, c=c, gamma=gamma)]
        if not len(block):
            break
        best = best.merge(ranked(block)).head(count)
    return best


class ExactCandidates:
    """Finds rows as a candidate index does, but by scanning all ``points`` (N, d): what others are held against.

    It goes through them in pieces and calls ``pause`` after each, with the seconds that it took, so that those with
    more pressing work can be let past.
    """

    def __init__(
        self, points: NDArray[np.float32], *, c: float, gamma: float, pause: Callable[[float], None] = lambda _: None
    ) -> None:
        self._points = points
        self._c, self._gamma = c, gamma
        self._pause = pause

    def search_many(
        self,
        regions: Sequence[Sequence[Box]],
        count: int,
        *,
        effort: float | None = None,  # noqa: ARG002
    ) -> list[NDArray[np.int64]]:
        """For each union of boxes the ``count`` rows nearest to it by containment, the nearest first, each once."""
        return [self._search(Region(tuple(boxes)), count) for boxes in regions]

    def _search(self, region: Region, count: int) -> NDArray[np.int64]:
        best: Ranking | None = None
        for start in range(0, len(self._points), PIECE) if count else ():
            started = time.perf_counter()
            piece = self._points[start : start + PIECE]
            near = scan(piece, region, c=self._c, gamma=self._gamma, count=min(count, len(piece))).moved(start)
            best = near if best is None else best.merge(near).head(count)
            self._pause(time.perf_counter() - started)
        return np.empty(0, dtype=np.int64) if best is None else best.rows


def _bounds(
    points: NDArray[np.float32],
    region: Region,
    among: NDArray[np.int64] | None,
    known: NDArray[np.float32] | None,
    *,
    c: float,
) -> NDArray[np.float32]:
    """Lower bounds, (N) or (K), of what the distance to the nearest of the region's centres grows with."""
    centres = np.stack([box.centre for box in region.boxes], axis=1)

    def nearest(x: NDArray[np.float32], height: NDArray[np.float32]) -> NDArray[np.float32]:
        bounds = _at_least(x, height, centres, c=c)
        return bounds[:, 0] if len(region.boxes) == 1 else bounds.min(axis=1)

    if among is None:
        return nearest(points, heights(points, c=c) if known is None else known)
    found = np.empty(len(among), dtype=np.float32)
    for start in range(0, len(among), BLOCK):
        rows = among[start : start + BLOCK]
        x = points[rows]
        found[start : start + BLOCK] = nearest(x, heights(x, c=c) if known is None else known[rows])
    return found


def _at_least(
    x: NDArray[np.float32], height: NDArray[np.float32], centres: NDArray[np.float32], *, c: float
) -> NDArray[np.float32]:
    """−c⟨x, m⟩ of ``x`` (K, d) and ``centres`` (d, B), or the squared distance at c = 0: (K, B).

    It is the matrix-product form less its worst rounding in float32.
    """
    worst = np.float32((len(centres) + 4) * np.finfo(np.float32).eps)
    product = x @ centres
    top = heights(np.ascontiguousarray(centres.T), c=c)
    if c == 0:
        return np.asarray((height[:, None] + top) * (1 - worst) - 2 * product)
    return np.asarray(np.float32(c) * (height[:, None] * top * (1 - worst) - product))


def _bound_at(best: Ranking, *, c: float, gamma: float) -> float:
    """The bound above which a row is farther than the last of ``best``."""
    reach = float(best.distances[-1]) * _ROUNDING / gamma
    if c == 0:
        return reach * reach
    # beyond this a float32 bound could not tell anyway
    return math.cosh(min(reach * math.sqrt(c), 80.0))
