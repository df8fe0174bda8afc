"""Candidates: the products nearest to a query's centre. The only module that knows FAISS.

The order wanted is that of the Lorentz distance to the centre m, which is the order of −⟨m, x⟩ = m₀x₀ − m·x.
Graph indexes fail on that inner product (recall 0.02 to 0.65, whatever the effort), so it is turned into
plain L2. With z = (x, x₀) stored as (z, √(M² − ‖z‖²)) and the query as (m, −m₀, 0), all that is stored has
the norm M, and

    ‖stored − query‖² = M² + ‖m‖² + m₀² + 2·(m₀x₀ − m·x)

has exactly that order. At curvature 0 the points are stored as they are.
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

Backend = Literal["flat", "hnsw"]

FLAT_BELOW = 20_000
"""Products below which the flat scan is the default: there it is as fast as the graph, and exact."""
_LINKS = 16
_EF_CONSTRUCTION = 100
_BLOCK = 8192


def default_backend(products: int) -> Backend:
    """The backend that suits a catalogue of this size."""
    return "flat" if products < FLAT_BELOW else "hnsw"


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
        width = points.shape[1] + (2 if c else 0)
        index = _empty(width, backend)
        largest = _largest_square(points)
        for start in range(0, len(points), _BLOCK):
            index.add(_stored(points[start : start + _BLOCK], c=c, largest=largest))
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
        return "hnsw" if isinstance(self._index, faiss.IndexHNSWFlat) else "flat"

    def search(self, centre: NDArray[np.float32], count: int, *, ef_search: int | None = None) -> NDArray[np.int64]:
        """Rows of up to ``count`` points, the nearest to ``centre`` (d) first.

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
        _, (rows,) = self._index.search(_query(centre, c=self._c), count, params=params)
        return np.asarray(rows[rows >= 0])


def _empty(width: int, backend: Backend) -> faiss.Index:
    if backend == "flat":
        return faiss.IndexFlatL2(width)
    index = faiss.IndexHNSWFlat(width, _LINKS)
    index.hnsw.efConstruction = _EF_CONSTRUCTION
    return index


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
