"""The census: which of all points a region contains, found axis by axis without measuring a distance."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, Self

import numpy as np

from index.kernels import sifted

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from index.algebra import Box, Region

CENSUS_UP_TO = 200_000
"""Products up to which the census is worth its memory and its share of a search."""
_LEVELS = 256
_FIRST = 64


class Known(NamedTuple):
    """Rows (K) of which it is known whether the region contains them (K)."""

    rows: NDArray[np.int64]
    inside: NDArray[np.bool_]


@dataclass(frozen=True)
class Scale:
    """256 steps on each axis, from ``least`` on (d), ``rate`` of them to the unit (d)."""

    least: NDArray[np.float32]
    rate: NDArray[np.float32]

    @classmethod
    def of(cls, points: NDArray[np.float32]) -> Self:
        """Steps between the extremes of ``points`` (N, d)."""
        least = points.min(axis=0)
        extent = points.max(axis=0) - least
        # one step on an axis on which all points agree
        return cls(least, (np.float32(_LEVELS) / np.where(extent > 0, extent, np.inf)).astype(np.float32))

    def step(self, x: NDArray[np.float32]) -> NDArray[np.uint8]:
        """The step of each coordinate of ``x`` (..., d); every operation keeps the order of coordinates."""
        steps = np.minimum(np.maximum((x - self.least) * self.rate, 0), _LEVELS - 1)
        return np.asarray(steps, dtype=np.uint8)


@dataclass(frozen=True)
class Census:
    """Finds those of ``points`` (N, d) that a region contains; safe to call from several threads at once.

    Each coordinate is kept as one of 256 ``steps`` (d, N), axis by axis, a quarter of the points' memory. The steps
    rise with the coordinates, so a row whose step lies outside a box' steps lies outside the box; only the rows that no
    axis rules out are compared exactly. The axes on which a box is narrow for how far the points spread come first;
    those on which it holds all from ``least`` to ``most`` (d), between which all points lie, do not come at all.
    """

    points: NDArray[np.float32]
    steps: NDArray[np.uint8]
    scale: Scale
    least: NDArray[np.float32]
    most: NDArray[np.float32]

    @classmethod
    def of(cls, points: NDArray[np.float32]) -> Self:
        """A census of ``points`` on a scale of their own."""
        scale = Scale.of(points)
        return cls(points, np.ascontiguousarray(scale.step(points).T), scale, points.min(axis=0), points.max(axis=0))

    def rows(self, region: Region, known: Known | None = None) -> NDArray[np.int64]:
        """Rows of the points that ``region`` contains, each once; those ``known`` come first and are not looked up."""
        left = [self._left(box) for box in region.boxes if not box.empty]
        rows = left[0] if len(left) == 1 else np.unique(np.concatenate([*left, np.empty(0, dtype=np.int64)]))
        if known is None:
            return rows[region.inside(self.points, rows)]
        unknown = np.ones(len(self.points), dtype=np.bool_)
        unknown[known.rows] = False
        rows = rows[unknown[rows]]
        return np.concatenate((known.rows[known.inside], rows[region.inside(self.points, rows)]))

    def _left(self, box: Box) -> NDArray[np.int64]:
        """Rows of the points that ``box``, its exclusions aside, may contain, in order."""
        order = np.argsort((box.hi - box.lo) * self.scale.rate)
        order = order[(box.lo > self.least)[order] | (box.hi < self.most)[order]]  # others rule no row out
        return sifted(self.steps, order, self.scale.step(box.lo), self.scale.step(box.hi))


class GrowingCensus:
    """What a census needs of points that are added one batch after the other, on the ``scale`` of others.

    One thread adds; a census that was taken before does not change.
    """

    def __init__(self, scale: Scale) -> None:
        dim = len(scale.least)
        self._scale = scale
        self._steps = np.empty((dim, _FIRST), dtype=np.uint8)
        self._count = 0
        self._least = np.full(dim, np.inf, dtype=np.float32)
        self._most = -self._least

    def extend(self, points: NDArray[np.float32]) -> None:
        """Add ``points`` (n, d)."""
        count = self._count + len(points)
        if count > self._steps.shape[1]:
            grown = np.empty((len(self._steps), max(count, 2 * self._steps.shape[1])), dtype=np.uint8)
            grown[:, : self._count] = self._steps[:, : self._count]
            self._steps = grown
        self._steps[:, self._count : count] = self._scale.step(points).T
        self._least = np.minimum(self._least, points.min(axis=0))
        self._most = np.maximum(self._most, points.max(axis=0))
        self._count = count

    def of(self, points: NDArray[np.float32]) -> Census:
        """The census of ``points`` (n, d), which are all that were added."""
        return Census(points, self._steps[:, : len(points)], self._scale, self._least, self._most)
