"""Exact order: the containment distances of chosen rows, nearest first."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from index.algebra import Region


@dataclass(frozen=True, slots=True)
class Ranking:
    """Rows of the point matrix by rising containment distance, equal distances by row number.

    ``rows`` (K) int64, ``distances`` (K) float32, ``contained`` (K) bool: whether it lies in the region.
    """

    rows: NDArray[np.int64]
    distances: NDArray[np.float32]
    contained: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.rows)

    def head(self, count: int) -> Ranking:
        """The first ``count`` rows."""
        return Ranking(self.rows[:count], self.distances[:count], self.contained[:count])

    def moved(self, by: int) -> Ranking:
        """The same with row numbers that are higher by so much."""
        return Ranking(self.rows + by, self.distances, self.contained)

    def merge(self, other: Ranking) -> Ranking:
        """One ranking of the rows of both, which must share none."""
        return _ordered(
            np.concatenate((self.rows, other.rows)),
            np.concatenate((self.distances, other.distances)),
            np.concatenate((self.contained, other.contained)),
        )


def rerank(points: NDArray[np.float32], rows: NDArray[np.int64], region: Region, *, c: float, gamma: float) -> Ranking:
    """Order ``rows`` (K) of ``points`` (N, d) by containment distance to ``region``."""
    return _ordered(rows, *region.measure(points, rows, c=c, gamma=gamma))


def _ordered(rows: NDArray[np.int64], distances: NDArray[np.float32], contained: NDArray[np.bool_]) -> Ranking:
    # one number for both: the bits of floats that are not negative rise with them
    keys = np.ascontiguousarray(distances + np.float32(0.0)).view(np.uint32).astype(np.uint64) << np.uint64(32)
    order = np.argsort(keys | rows.astype(np.uint64))
    return Ranking(rows[order], distances[order], contained[order])
