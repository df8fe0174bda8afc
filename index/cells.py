"""Cells: points grouped around centroids, coded as what sets them apart from these, and looked at cell by cell.

A query's inner product with the vectors of a cell has the mean ψ·μ and, axes taken as independent, the variance
Σ ψᵢ²σᵢ². The cells of the highest means are looked at first. What the last of the wanted candidates scores there is
the mark for all other cells: those are opened whose mean lies at most ``reach`` deviations below it. So a query whose
nearest points lie together costs a few cells, and one whose nearest lie all over the place gets as many as it takes.

Within a cell a vector's residual φ − μ is coded by one of sixteen levels a column, and codes are summed in registers,
as in :mod:`index.candidates`. Residuals are small, so that half a byte a column tells points apart for which codes of
whole vectors would need many more candidates. Vectors are grouped by L2 and asked by inner product.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Self

import faiss
import numpy as np

from index.shapes import INDEX

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    Vectors = NDArray[np.float32]

SPREADS = "spreads.npy"
REACHES = (1.5, 1.75, 2.0, 2.25, 2.5, 2.75, 3.0)
"""Deviations to try when a snapshot is calibrated."""

_FIRST = 16
"""Cells that are looked at before the others are judged."""
_CELLS_PER_ROOT = 4.0
_SAMPLED_A_CELL = 40
_ROUNDS = 8
_SEED = 0
_CODED_COLUMNS_SAMPLE = 65_536


class Cells:
    """Coded vectors in cells; searching takes one thread and is safe from many.

    Args:
        index: the codes, by cell.
        centroids: (K, w), the cells' means.
        spreads: (K, w), the variances of their vectors.
    """

    def __init__(self, index: faiss.IndexIVFPQFastScan, centroids: Vectors, spreads: Vectors) -> None:
        self._index = index
        self._centroids = centroids
        self._spreads = spreads

    @classmethod
    def build(cls, sample: Callable[[int], Vectors], blocks: Iterator[Vectors], *, count: int) -> Self:
        """Group and code ``count`` vectors, which come in ``blocks`` in the order of their rows.

        ``sample`` gives that many of them, or all, drawn evenly.
        """
        cells = max(1, min(round(_CELLS_PER_ROOT * math.sqrt(count)), count // _SAMPLED_A_CELL))
        drawn = sample(_SAMPLED_A_CELL * cells)
        size = drawn.shape[1]
        clustering = faiss.Kmeans(size, cells, niter=_ROUNDS, seed=_SEED, max_points_per_centroid=_SAMPLED_A_CELL)
        clustering.train(drawn)
        centroids: Vectors = np.asarray(clustering.centroids)
        nearest = faiss.IndexFlatL2(size)
        nearest.add(centroids)
        index = faiss.IndexIVFPQFastScan(nearest, size, cells, size, 4, faiss.METRIC_INNER_PRODUCT)
        index.by_residual = True
        index.train(drawn[:: max(1, len(drawn) // _CODED_COLUMNS_SAMPLE)])
        for block in blocks:
            index.add(block)
        return cls(index, centroids, _spreads(drawn, nearest, centroids))

    @classmethod
    def load(cls, index: faiss.IndexIVFPQFastScan, directory: Path) -> Self:
        """The cells of an ``index`` that was read from ``directory``, where :meth:`save` wrote it.

        Raises:
            ValueError: what was written beside it is not there or does not suit it.
        """
        beside = directory / SPREADS
        try:
            spreads = np.load(beside, allow_pickle=False)
        except OSError as error:
            raise ValueError(f"{beside} cannot be read: {error}") from error
        centroids = index.quantizer.reconstruct_n(0, index.nlist)
        if spreads.shape != centroids.shape:
            raise ValueError(f"{beside} is of shape {spreads.shape}, but the cells beside it of {centroids.shape}")
        return cls(index, centroids, spreads)

    def save(self, directory: Path) -> None:
        """Write codes and spreads to ``directory``."""
        faiss.write_index(self._index, str(directory / INDEX))
        np.save(directory / SPREADS, self._spreads, allow_pickle=False)

    def __len__(self) -> int:
        return int(self._index.ntotal)

    def search(self, query: Vectors, count: int, *, reach: float) -> NDArray[np.int64]:
        """Up to ``count`` rows of the highest inner products with ``query`` (w), the highest first."""
        means = self._centroids @ query
        best = _highest(means, min(_FIRST, len(means)))
        scores, rows = self._look(query, best, means, count)
        mark = scores[-1] if rows[-1] >= 0 else -np.inf
        tops = means + np.float32(reach) * np.sqrt(self._spreads @ (query * query))
        tops[best] = -np.inf
        more = np.flatnonzero(tops > mark)
        if len(more):
            more_scores, more_rows = self._look(query, more, means, count)
            kept = _highest(np.concatenate((scores, more_scores)), count)
            rows = np.concatenate((rows, more_rows))[kept]
        return rows[rows >= 0]

    def _look(
        self, query: Vectors, cells: NDArray[np.int64], means: Vectors, count: int
    ) -> tuple[Vectors, NDArray[np.int64]]:
        """The ``count`` best of some ``cells``: scores falling, and rows; −1 where there are fewer."""
        scores, rows = np.empty(count, dtype=np.float32), np.empty(count, dtype=np.int64)
        known = np.ascontiguousarray(means[cells])
        arrays = [faiss.swig_ptr(array) for array in (cells, known, scores, rows)]
        parameters = faiss.SearchParametersIVF(nprobe=len(cells))  # type: ignore[call-arg]  # stubs have another class
        # the wrapper for arrays takes the number of cells from the index, which searches share
        self._index.search_preassigned_c(1, faiss.swig_ptr(query), count, *arrays, False, parameters, None)  # type: ignore[attr-defined]
        return scores, rows


def _spreads(drawn: Vectors, nearest: faiss.IndexFlatL2, centroids: Vectors) -> Vectors:
    """Variances (K, w) of the ``drawn`` vectors around their ``centroids``, the mean one where none or one fell."""
    _, found = nearest.search(drawn, 1)
    cells = found[:, 0]
    squares = np.zeros(centroids.shape)
    np.add.at(squares, cells, (drawn - centroids[cells]) ** 2)
    sizes = np.bincount(cells, minlength=len(centroids))
    spreads = squares / np.maximum(sizes, 1)[:, None]
    spreads[sizes <= 1] = squares.sum(axis=0) / max(1, len(drawn))
    return spreads.astype(np.float32)


def _highest(values: NDArray[np.float32], count: int) -> NDArray[np.int64]:
    """Places of the ``count`` highest ``values``, the highest first."""
    places = np.argpartition(values, -count)[-count:] if count < len(values) else np.arange(len(values))
    return np.ascontiguousarray(places[np.argsort(-values[places], kind="stable")])
