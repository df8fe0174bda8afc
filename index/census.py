"""The census: which of all points a region contains, found axis by axis without measuring a distance."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from index.kernels import within

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from index.algebra import Box, Region

CENSUS_UP_TO = 200_000
"""Products up to which the census is worth its memory and its share of a search."""
_LEVELS = 256
_AXES_A_LOOK = 8
_FEW = 30
"""With a thirtieth of the rows left it is cheaper to compare these exactly than all rows on more axes."""


class Census:
    """Finds the points of a region; safe to call from several threads at once.

    Each coordinate is kept as one of 256 steps between its axis' extremes, axis by axis, a quarter of the points'
    memory. The steps rise with the coordinates, so a row whose step lies outside a box' steps lies outside the box;
    only the rows that no axis rules out are compared exactly. The axes on which a box is narrow for how far the
    points spread come first.
    """

    def __init__(self, points: NDArray[np.float32]) -> None:
        self._points = points
        self._least = points.min(axis=0)
        self._most = points.max(axis=0)
        extent = self._most - self._least
        # one step on an axis on which all points agree
        self._scale = (np.float32(_LEVELS) / np.where(extent > 0, extent, np.inf)).astype(np.float32)
        self._steps = np.ascontiguousarray(self._step(points).T)

    def rows(self, region: Region) -> NDArray[np.int64]:
        """Rows of the points that ``region`` contains, in order."""
        rows = [self._inside(box) for box in region.boxes]
        return rows[0] if len(rows) == 1 else np.unique(np.concatenate(rows))

    def _step(self, x: NDArray[np.float32]) -> NDArray[np.uint8]:
        """The step of each coordinate of ``x`` (..., d); every operation keeps the order of coordinates."""
        return np.asarray(np.clip((x - self._least) * self._scale, 0, _LEVELS - 1), dtype=np.uint8)

    def _inside(self, box: Box) -> NDArray[np.int64]:
        """Rows of the points that ``box`` contains."""
        if box.empty:
            return np.empty(0, dtype=np.int64)
        order = np.argsort((box.hi - box.lo) * self._scale)
        order = order[(box.lo > self._least)[order] | (box.hi < self._most)[order]]  # others rule no row out
        lo, hi = self._step(box.lo), self._step(box.hi)
        left = np.ones(len(self._points), dtype=np.bool_)
        for start in range(0, len(order), _AXES_A_LOOK):
            for axis in order[start : start + _AXES_A_LOOK]:
                # unsigned: what lies below lo wraps around to more than the width
                left &= self._steps[axis] - lo[axis] <= hi[axis] - lo[axis]
            if np.count_nonzero(left) * _FEW <= len(left):
                break
        rows = np.flatnonzero(left)
        rows = rows[within(self._points, rows, box.lo, box.hi, order)]
        if box.excluded:
            x = self._points[rows]
            rows = rows[~np.any([excluded.contains(x) for excluded in box.excluded], axis=0)]
        return rows
