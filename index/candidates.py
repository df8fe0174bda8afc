"""Candidates: the rows that a region's exact order is taken of.

FAISS is known here, in :mod:`index.cells` and in :mod:`index.candidates_gpu` only.

What is looked for is the highest inner product with vectors that :mod:`index.vectors` makes of points and boxes.

* **flat** scans all vectors.
* **codes** scans codes: every two coordinates are one of sixteen, learnt for these two, so a point is a quarter of a
  byte an axis; a query's inner products with the sixteen are tabulated, and sums of table entries are taken in
  registers for 32 points at once (André, Kermarrec and Le Scouarnec, *Cache locality is not enough: high-performance
  nearest neighbor search with product quantization fast scan*, VLDB 2015). It reads 16 times less than a flat scan, and
  is as good for queries far from all points as for others, which a graph is not.
* **cells** looks at codes of the likely cells only, see :mod:`index.cells`.
* **hnsw** walks a graph (Malkov and Yashunin, *Efficient and robust approximate nearest neighbor search using
  hierarchical navigable small world graphs*, TPAMI 2020) over vectors that are all of one length.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Self

import faiss
import numpy as np

from index.cells import Cells
from index.shapes import INDEX, Shape
from index.vectors import columns_an_axis, indexed, largest_square, lengthened, sought, width

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from index.algebra import Box
    from index.shapes import Form

    Vectors = NDArray[np.float32]

_CODED_AXES = 2
_TRAINED_ON = 20_000
_FEWEST_TO_TRAIN = 1_000
_LINKS = 16
_EF_CONSTRUCTION = 100
_BLOCK = 8192
_PRODUCTS = 1 << 24
"""Inner products to keep at a time, where several queries share a scan: 64 MB."""


class CandidateIndex:
    """All points of a snapshot, to find those nearest to boxes. Searching takes one thread and is safe from many.

    Args:
        index: the vectors, as their backend keeps them.
        form: which vectors they are.
        c: of the curvature −c.
    """

    def __init__(self, index: faiss.Index | Cells, *, form: Form, c: float) -> None:
        self._index = index
        self._form: Form = form
        self._c = c

    @classmethod
    def build(
        cls,
        points: Vectors,
        *,
        c: float,
        shape: Shape,
        on_progress: Callable[[int], None] = lambda _: None,
    ) -> Self:
        """Index ``points`` (N, d), at least one, on all cores; ``on_progress`` hears how many rows are in."""
        done = 0

        def blocks() -> Iterator[Vectors]:
            nonlocal done
            for start in range(0, len(points), _BLOCK):
                yield indexed(points[start : start + _BLOCK], c=c, form=shape.form)
                done = min(start + _BLOCK, len(points))
                on_progress(done)

        def sample(count: int) -> Vectors:
            rows = np.linspace(0, len(points) - 1, min(len(points), max(count, _FEWEST_TO_TRAIN)), dtype=np.int64)
            return indexed(points[np.resize(rows, max(len(rows), _FEWEST_TO_TRAIN))], c=c, form=shape.form)

        index: faiss.Index | Cells
        match shape.backend:
            case "flat":
                index = _filled(faiss.IndexFlatIP(width(points.shape[1], shape.form)), blocks())
            case "codes":
                group = _CODED_AXES * columns_an_axis(shape.form)
                index = _codes(sample(_TRAINED_ON), blocks(), group=group)
            case "cells":
                index = Cells.build(sample, blocks(), count=len(points))
            case "hnsw":
                index = _graph(blocks, width(points.shape[1], shape.form))
        return cls(index, form=shape.form, c=c)

    @classmethod
    def load(cls, directory: Path, *, form: Form, c: float) -> Self:
        """Map an index that :meth:`save` wrote into memory.

        Raises:
            ValueError: FAISS cannot read it, or a file of it is missing.
        """
        path = directory / INDEX
        try:
            index = faiss.read_index(str(path), faiss.IO_FLAG_MMAP_IFC)
        except RuntimeError as error:
            raise ValueError(f"{path} is not an index that FAISS {faiss.__version__} can read: {error}") from error
        if isinstance(index, faiss.IndexIVFPQFastScan):
            return cls(Cells.load(index, directory), form=form, c=c)
        return cls(index, form=form, c=c)

    def save(self, directory: Path) -> None:
        """Write the index to ``directory``, which is made."""
        directory.mkdir()
        if isinstance(self._index, Cells):
            self._index.save(directory)
        else:
            faiss.write_index(self._index, str(directory / INDEX))

    def __len__(self) -> int:
        return len(self._index) if isinstance(self._index, Cells) else int(self._index.ntotal)

    @property
    def shape(self) -> Shape:
        """Which index this is."""
        if isinstance(self._index, Cells):
            return Shape("cells", self._form)
        if isinstance(self._index, faiss.IndexPQFastScan):
            return Shape("codes", self._form)
        return Shape("hnsw" if isinstance(self._index, faiss.IndexHNSWFlat) else "flat", self._form)

    def search(self, boxes: Sequence[Box], count: int, *, effort: float | None = None) -> NDArray[np.int64]:
        """Rows of up to ``count`` points for each of ``boxes``, the nearest first, those of several boxes each once.

        ``effort`` is how many rows a graph's walk keeps, at least ``count``, or how far cells are looked for, in
        deviations; scans know none. A graph may reach fewer rows than asked for.
        """
        return self.search_many((boxes,), count, effort=effort)[0]

    def search_many(
        self, regions: Sequence[Sequence[Box]], count: int, *, effort: float | None = None
    ) -> list[NDArray[np.int64]]:
        """What :meth:`search` finds for the boxes of each of several ``regions``; scans go over the vectors once."""
        count = min(count, len(self))
        if count == 0:
            return [np.empty(0, dtype=np.int64) for _ in regions]
        queries = np.stack([sought(box, c=self._c, form=self._form) for boxes in regions for box in boxes])
        found = iter(self._found(queries, count, effort))
        return [self._once([next(found) for _ in boxes], count) for boxes in regions]

    def _once(self, found: Sequence[NDArray[np.int64]], count: int) -> NDArray[np.int64]:
        """The rows ``found`` for a region's boxes, each once."""
        rows = found[0] if len(found) == 1 else np.unique(np.concatenate(found))
        if count == len(self) > len(rows):  # a scan of codes leaves out what ties with the last
            rows = np.concatenate((rows, np.setdiff1d(np.arange(count), rows)))
        return rows

    def _found(self, queries: Vectors, count: int, effort: float | None) -> list[NDArray[np.int64]]:
        """Rows for each of ``queries`` (B, w)."""
        if isinstance(self._index, Cells):
            return [self._index.search(query, count, reach=effort or 0.0) for query in queries]
        params = None
        match self.shape.backend:
            case "flat" if len(queries) > 1:
                most = max(1, _PRODUCTS // len(self))
                groups = (queries[start : start + most] for start in range(0, len(queries), most))
                return [rows for group in groups for rows in self._scanned(group, count)]
            case "hnsw":
                kept = max(int(effort or 0), count)
                params = faiss.SearchParametersHNSW(efSearch=kept)  # type: ignore[attr-defined]  # stubs lack it
                queries = np.pad(queries, ((0, 0), (0, 1)))
            case "codes":
                queries = _padded(queries, _CODED_AXES * columns_an_axis(self._form))
        with _on_one_thread():
            found = self._index.search(queries, count, params=params)[1]
        return [rows[rows >= 0] for rows in found]

    def _scanned(self, queries: Vectors, count: int) -> list[NDArray[np.int64]]:
        """Rows for several ``queries`` (B, w) by a matrix product a block, which reads the vectors once for all."""
        assert isinstance(self._index, faiss.IndexFlatIP)
        vectors = faiss.rev_swig_ptr(self._index.get_xb(), len(self) * queries.shape[1]).reshape(len(self), -1)
        products = np.empty((len(queries), len(self)), dtype=np.float32)
        for start in range(0, len(self), _BLOCK):
            block = slice(start, start + _BLOCK)
            np.matmul(queries, vectors[block].T, out=products[:, block])
        found = []
        for product in products:
            rows = np.argpartition(product, -count)[-count:]
            found.append(rows[np.argsort(-product[rows], kind="stable")])
        return found


@contextmanager
def _on_one_thread() -> Iterator[None]:
    """Keep FAISS from taking a thread for each query: other searches have theirs."""
    before = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(1)
    try:
        yield
    finally:
        faiss.omp_set_num_threads(before)


def _filled(index: faiss.Index, blocks: Iterator[Vectors]) -> faiss.Index:
    for block in blocks:
        index.add(block)
    return index


def _codes(sample: Vectors, blocks: Iterator[Vectors], *, group: int) -> faiss.Index:
    sample = _padded(sample, group)
    size = sample.shape[1]
    index = faiss.IndexPQFastScan(size, size // group, 4, faiss.METRIC_INNER_PRODUCT)
    index.train(sample)
    return _filled(index, (_padded(block, group) for block in blocks))


def _graph(blocks: Callable[[], Iterator[Vectors]], size: int) -> faiss.Index:
    """A graph over vectors of ``size`` columns, which are gone through twice."""
    largest = largest_square(blocks())
    index = faiss.IndexHNSWFlat(size + 1, _LINKS)
    index.hnsw.efConstruction = _EF_CONSTRUCTION
    return _filled(index, (lengthened(block, largest) for block in blocks()))


def _padded(vectors: Vectors, group: int) -> Vectors:
    """``vectors`` (N, w) with zeros until their columns fill groups of this size."""
    return np.ascontiguousarray(np.pad(vectors, ((0, 0), (0, -vectors.shape[1] % group))))
