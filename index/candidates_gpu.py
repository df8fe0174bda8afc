"""Candidates from FAISS's GPU indexes, over lengthened vectors (:mod:`index.vectors`), where L2 has the order wanted.

They know a region's centre alone, as all of FAISS's indexes do; the fused scan of :mod:`index.fused` knows the region.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, Literal, Self

import faiss
import numpy as np

from index.vectors import indexed, largest_square, lengthened, sought, width

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from index.algebra import Box

_gpu: Any = faiss  # its stubs know the CPU's classes alone
_BLOCK = 1 << 16
_MOST = {"flat": 2048, "cagra": 512}
"""How many rows FAISS's kernels can find at once."""
_DEGREE = 32
_EFFORT = 64
"""The least length of CAGRA's list of candidates."""


class GpuCandidates:
    """All points of a snapshot on a GPU, by distance to a centre; safe to use from several threads, one at a time."""

    def __init__(self, index: Any, resources: Any, *, finder: Literal["flat", "cagra"], c: float) -> None:
        self._index, self._resources = index, resources  # FAISS does not keep the latter alive
        self._finder, self._c = finder, c
        self._searching = threading.Lock()
        self.most = _MOST[finder]

    @classmethod
    def build(cls, points: NDArray[np.float32], *, c: float, finder: Literal["flat", "cagra"], number: int) -> Self:
        """Index ``points`` (N, d) on the GPU ``number``.

        Raises:
            ValueError: this FAISS was built without GPUs, or finds too few.
            RuntimeError: FAISS's own, where memory is short.
        """
        if not hasattr(_gpu, "StandardGpuResources"):
            raise ValueError(f"FAISS {faiss.__version__} is built for CPUs alone; the extra saddle[gpu] has the other")
        if number >= _gpu.get_num_gpus():
            raise ValueError(f"FAISS {faiss.__version__} finds {_gpu.get_num_gpus()} GPUs, numbered from 0")

        def blocks() -> Iterator[NDArray[np.float32]]:
            for start in range(0, len(points), _BLOCK):
                yield indexed(points[start : start + _BLOCK], c=c, form="centre")

        largest = largest_square(blocks())
        stored = (lengthened(block, largest) for block in blocks())
        resources = _gpu.StandardGpuResources()
        size = width(points.shape[1], "centre") + 1
        config = _gpu.GpuIndexFlatConfig() if finder == "flat" else _gpu.GpuIndexCagraConfig()
        config.device = number
        if finder == "flat":
            index = _gpu.GpuIndexFlatL2(resources, size, config)
            for block in stored:
                index.add(block)
        else:
            config.graph_degree, config.intermediate_graph_degree = _DEGREE, 2 * _DEGREE
            index = _gpu.GpuIndexCagra(resources, size, faiss.METRIC_L2, config)
            index.train(np.concatenate(list(stored)))
        return cls(index, resources, finder=finder, c=c)

    def search(self, box: Box, count: int) -> NDArray[np.int64]:
        """Up to ``count`` rows, at most ``most``, the nearest to the centre of ``box`` first; CAGRA may reach fewer."""
        params = None
        if self._finder == "cagra":
            params = _gpu.SearchParametersCagra()
            params.itopk_size = max(_EFFORT, -(-count // 32) * 32)
        query = np.append(sought(box, c=self._c, form="centre"), np.float32(0.0))[None, :]
        with self._searching:  # the memory it works in is one for all
            _, (rows,) = self._index.search(query, count, params=params)
        return np.asarray(rows[rows >= 0])
