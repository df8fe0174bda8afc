"""Candidates: the products nearest to a query's centre. The only module that knows FAISS.

The order wanted is that of the Lorentz distance to the centre m, which is the order of −⟨m, x⟩ = m₀x₀ − m·x.
Graph indexes fail on that inner product (recall 0.02 to 0.65, whatever the effort), so it is turned into
plain L2. With z = (x, x₀) stored as (z, √(M² − ‖z‖²)) and the query as (m, −m₀, 0), all that is stored has
the norm M, and

    ‖stored − query‖² = M² + ‖m‖² + m₀² + 2·(m₀x₀ − m·x)

has exactly that order. At curvature 0 the points are stored as they are.

A scan of *codes* needs no such turn. Every two coordinates of z are one of sixteen, learnt for these two, so a point
is a quarter of a byte an axis; a query's inner products with the sixteen are tabulated, and sums of table entries are
taken in registers for 32 points at once (André, Kermarrec and Le Scouarnec, *Cache locality is not enough:
high-performance nearest neighbor search with product quantization fast scan*, VLDB 2015). It reads 16 times less than
the points, and is as good for queries far from all points as for others, which a graph is not.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal, Self

import faiss
import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

Backend = Literal["flat", "codes", "hnsw"]

FLAT_BELOW = 20_000
"""Products below which the flat scan is the default: there it is fast enough, and exact."""
CODES_BELOW = 300_000
"""Products below which the scan of codes is, as it takes a third of a millisecond for 50,000 of 256 axes."""
_TRAINED_ON = 20_000
_FEWEST_TO_TRAIN = 1_000
_LINKS = 16
_EF_CONSTRUCTION = 100
_BLOCK = 8192


def default_backend(products: int) -> Backend:
    """The backend that suits a catalogue of this size."""
    if products < FLAT_BELOW:
        return "flat"
    return "codes" if products < CODES_BELOW else "hnsw"


class CandidateIndex:
    """All points of a snapshot, by distance to a centre. Searching takes one thread and is safe from many."""

    def __init__(self, index: faiss.Index, *, c: float) -> None:
        self._index = index
        self._c = c

    @classmethod
    def build(
        cls,
        points: NDArray[np.float32],
        *,
        c: float,
        backend: Backend,
        on_progress: Callable[[int], None] = lambda _: None,
    ) -> Self:
        """Index ``points`` (N, d) on all cores; ``on_progress`` hears how many rows are in."""
        index = _empty(points, backend, c=c)
        largest = 0.0 if backend == "codes" else _largest_square(points)
        for start in range(0, len(points), _BLOCK):
            block = points[start : start + _BLOCK]
            index.add(_coded(block, c=c) if backend == "codes" else _stored(block, c=c, largest=largest))
            on_progress(index.ntotal)
        return cls(index, c=c)

    @classmethod
    def load(cls, path: Path, *, c: float) -> Self:
        """Map an index that :meth:`save` wrote into memory.

        Raises:
            ValueError: FAISS cannot read the file.
        """
        try:
            return cls(faiss.read_index(str(path), faiss.IO_FLAG_MMAP_IFC), c=c)
        except RuntimeError as error:
            raise ValueError(f"{path} is not an index that FAISS {faiss.__version__} can read: {error}") from error

    def save(self, path: Path) -> None:
        """Write the index to ``path``."""
        faiss.write_index(self._index, str(path))

    def __len__(self) -> int:
        return int(self._index.ntotal)

    @property
    def backend(self) -> Backend:
        """Which index this is."""
        if isinstance(self._index, faiss.IndexPQFastScan):
            return "codes"
        return "hnsw" if isinstance(self._index, faiss.IndexHNSWFlat) else "flat"

    def search(self, centre: NDArray[np.float32], count: int, *, ef_search: int | None = None) -> NDArray[np.int64]:
        """Rows of up to ``count`` points, the nearest to ``centre`` (d) first, by codes as near as those can tell.

        The graph is walked with an effort of ``ef_search``, at least ``count``, and may reach fewer rows than
        asked for. The flat scan is exact and takes no effort.
        """
        count = min(count, len(self))
        if count == 0:
            return np.empty(0, dtype=np.int64)
        params = None
        if self.backend == "hnsw":
            effort = max(ef_search or 0, count)
            params = faiss.SearchParametersHNSW(efSearch=effort)  # type: ignore[attr-defined]  # stubs lack it
        query = _coded_query(centre, c=self._c) if self.backend == "codes" else _query(centre, c=self._c)
        _, (rows,) = self._index.search(query, count, params=params)
        found = np.asarray(rows[rows >= 0])
        if count == len(self) > len(found):  # a scan of codes leaves out what ties with the last
            found = np.concatenate((found, np.setdiff1d(np.arange(count), found)))
        return found


def _empty(points: NDArray[np.float32], backend: Backend, *, c: float) -> faiss.Index:
    if backend == "codes":
        return _trained_codes(points, c=c)
    width = points.shape[1] + (2 if c else 0)
    if backend == "flat":
        return faiss.IndexFlatL2(width)
    index = faiss.IndexHNSWFlat(width, _LINKS)
    index.hnsw.efConstruction = _EF_CONSTRUCTION
    return index


def _trained_codes(points: NDArray[np.float32], *, c: float) -> faiss.Index:
    rows = np.linspace(0, len(points) - 1, min(len(points), _TRAINED_ON), dtype=np.int64)
    sample = _coded(points[np.resize(rows, max(len(rows), _FEWEST_TO_TRAIN))], c=c)
    width = sample.shape[1]
    index = faiss.IndexPQFastScan(width, width // 2, 4, faiss.METRIC_INNER_PRODUCT if c else faiss.METRIC_L2)
    index.train(sample)
    return index


def _coded(points: NDArray[np.float32], *, c: float) -> NDArray[np.float32]:
    """Vectors to code for ``points`` (N, d): z, or the points at c = 0, and a zero where their width is odd."""
    z = points if c == 0 else np.column_stack((points, np.sqrt(1.0 / c + _squares(points))))
    return np.ascontiguousarray(np.pad(z, ((0, 0), (0, z.shape[1] % 2))), dtype=np.float32)


def _coded_query(centre: NDArray[np.float32], *, c: float) -> NDArray[np.float32]:
    """The vector whose inner product with what is coded is ⟨m, x⟩, (1, w), or the centre itself at c = 0."""
    query = _coded(centre[None, :], c=c)
    if c:
        query[0, len(centre)] *= -1.0
    return query


def _largest_square(points: NDArray[np.float32]) -> float:
    """Largest ‖x‖² of all ``points``, in float64: what M² is made of."""
    return max((float(_squares(points[i : i + _BLOCK]).max()) for i in range(0, len(points), _BLOCK)), default=0.0)


def _squares(points: NDArray[np.float32]) -> NDArray[np.float64]:
    return np.asarray(np.einsum("nd,nd->n", points, points, dtype=np.float64))


def _stored(points: NDArray[np.float32], *, c: float, largest: float) -> NDArray[np.float32]:
    """Vectors to index for ``points`` (N, d): (N, d + 2), or the points themselves at c = 0."""
    if c == 0:
        return np.ascontiguousarray(points)
    squares = _squares(points)
    stored = np.empty((len(points), points.shape[1] + 2), dtype=np.float32)
    stored[:, :-2] = points
    stored[:, -2] = np.sqrt(1.0 / c + squares)
    # M² − ‖z‖² with ‖z‖² = 1/c + 2‖x‖²: written so, the 1/c cancels before anything is rounded
    stored[:, -1] = np.sqrt(np.maximum(2.0 * (largest - squares), 0.0))
    return stored


def _query(centre: NDArray[np.float32], *, c: float) -> NDArray[np.float32]:
    """The vector to look for, (1, d + 2), or (1, d) at c = 0."""
    if c == 0:
        return np.ascontiguousarray(centre[None, :])
    query = np.zeros((1, len(centre) + 2), dtype=np.float32)
    query[0, :-2] = centre
    query[0, -2] = -math.sqrt(1.0 / c + float(_squares(centre[None, :])[0]))
    return query
