"""What one search looks at: the rows of a snapshot and the live ones after them, and which of them may be hits."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from index.algebra import Region
    from index.filters import Filter
    from index.live import LiveView
    from index.selection import Selection


_SCANNED_A_FETCHED = 4
"""How many rows can be scanned exactly in the time that one more candidate takes."""


@dataclass(frozen=True)
class View:
    """The rows of a snapshot, whose points are ``snapshot_points`` (N, d), and the ``live`` ones after them.

    A row may be a hit if its product is still there and passes the filter ``wanted``, if there is one; ``filtered``
    are the snapshot's rows that pass it.
    """

    snapshot_points: NDArray[np.float32]
    live: LiveView
    wanted: Filter | None = None
    filtered: Selection | None = None

    @cached_property
    def live_rows(self) -> NDArray[np.int64]:
        """The live rows that may be hits."""
        alive = self.live.alive
        if self.wanted is not None and len(alive):
            alive = alive[self.live.columns.passing(self.wanted)[alive]]
        return alive + self.live.base

    @property
    def able(self) -> int:
        """How many of the snapshot's rows may be hits, if none has gone."""
        return self.live.base if self.filtered is None else len(self.filtered)

    def fetched(self, count: int) -> int | None:
        """How many rows to fetch so that ``count`` may be hits, if the filter has nothing to do with what is sought.

        None if so few pass the filter that it is cheaper to look at all of them.
        """
        if self.filtered is None:
            return count
        fetched = math.ceil(count * self.live.base / max(1, self.able))
        return None if _SCANNED_A_FETCHED * fetched >= self.able else fetched

    @property
    def whole(self) -> bool:
        """Whether every row may be a hit."""
        return self.filtered is None and self.live.untouched

    @property
    def size(self) -> int:
        """How many rows may be hits, an upper bound where there is a filter and rows that passed it are gone."""
        return self.live.size if self.filtered is None else len(self.filtered) + len(self.live_rows)

    def may_be_hits(self, rows: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Which of ``rows`` (K) may be hits (K)."""
        may = self.live.there(rows)
        if self.filtered is not None:
            live = rows >= self.live.base
            may[~live] &= self.filtered.mask[rows[~live]]
            may[live] &= np.isin(rows[live], self.live_rows)
        return may

    def among(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Those of ``rows`` that may be hits."""
        return rows if self.whole else rows[self.may_be_hits(rows)]

    def standing(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Those of the snapshot's ``rows`` that may be hits, and the live ones that took the place of others."""
        return self.among(rows if self.live.untouched else np.union1d(rows, self.live.instead(rows)))

    def measure(
        self, region: Region, rows: NDArray[np.int64], *, c: float, gamma: float
    ) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Containment distances (K) of ``rows`` (K) from ``region``, and which of them lie inside (K)."""
        if not self.live.count:
            return region.measure(self.snapshot_points, rows, c=c, gamma=gamma)
        distances, inside = np.empty(len(rows), dtype=np.float32), np.empty(len(rows), dtype=np.bool_)
        live = rows >= self.live.base
        for part, points, base in ((~live, self.snapshot_points, 0), (live, self.live.points, self.live.base)):
            distances[part], inside[part] = region.measure(points, rows[part] - base, c=c, gamma=gamma)
        return distances, inside

    def points(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """The points of ``rows`` (K), (K, d)."""
        if not self.live.count:
            return self.snapshot_points[rows]
        live = rows >= self.live.base
        points = np.empty((len(rows), self.snapshot_points.shape[1]), dtype=np.float32)
        points[~live] = self.snapshot_points[rows[~live]]
        points[live] = self.live.points[rows[live] - self.live.base]
        return points
