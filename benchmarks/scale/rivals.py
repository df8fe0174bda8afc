"""What a user would pick instead, on the same vectors by their own metric: hnswlib, usearch, LanceDB and FAISS's graph.

All look for the nearest by the Lorentz distance to a point, which is what every one of them can be made to order by: by
L2 over vectors of one length (:func:`index.vectors.lengthened`). Ours looks for the same, with limits of zero.
"""

from __future__ import annotations

import shutil
import time
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    Vectors = NDArray[np.float32]

DEPTH = 100
_LINKS = 16
_EF_CONSTRUCTION = 100
_EFFORTS = (100, 150, 200, 300, 400, 600, 800, 1000, 1400, 2000, 2800, 4000)


class Rival(NamedTuple):
    """A ready index: its name, how long it took to build, and how to ask it for rows at each of its efforts."""

    name: str
    seconds: float
    efforts: Sequence[int]
    ask: Callable[[Vectors, int], NDArray[np.int64]]


def measured(rival: Rival, queries: Vectors, truths: Sequence[NDArray[np.int64]], *, target: float) -> dict[str, Any]:
    """Recall and median latency of a rival on one thread as its effort grows, until it reaches the target."""
    curve = []
    for effort in rival.efforts:
        recalls, seconds = [], []
        for query, truth in zip(queries, truths, strict=True):
            started = time.perf_counter()
            rows = rival.ask(query, effort)
            seconds.append(time.perf_counter() - started)
            recalls.append(np.isin(rows, truth).sum() / len(truth))
        latency = float(np.median(seconds))
        curve.append({"effort": effort, "recall": float(np.mean(recalls)), "latency_seconds": latency})
        if curve[-1]["recall"] >= target:
            break
    return {"name": rival.name, "build_seconds": rival.seconds, "curve": curve}


def _hnswlib(stored: Vectors, _: Path) -> Rival:
    import hnswlib

    started = time.perf_counter()
    index = hnswlib.Index(space="l2", dim=stored.shape[1])
    index.init_index(max_elements=len(stored), M=_LINKS, ef_construction=_EF_CONSTRUCTION, random_seed=0)
    index.add_items(stored)
    seconds = time.perf_counter() - started
    index.set_num_threads(1)

    def ask(query: Vectors, effort: int) -> NDArray[np.int64]:
        index.set_ef(effort)
        return np.asarray(index.knn_query(query[None, :], k=DEPTH)[0][0], dtype=np.int64)

    return Rival("hnswlib", seconds, _EFFORTS, ask)


def _usearch(stored: Vectors, _: Path) -> Rival:
    from usearch.index import Index

    started = time.perf_counter()
    index = Index(ndim=stored.shape[1], metric="l2sq", dtype="f32", connectivity=_LINKS, expansion_add=_EF_CONSTRUCTION)
    index.add(np.arange(len(stored), dtype=np.uint64), stored)
    seconds = time.perf_counter() - started

    def ask(query: Vectors, effort: int) -> NDArray[np.int64]:
        index.expansion_search = effort
        return np.asarray(index.search(query, DEPTH, threads=1).keys, dtype=np.int64)

    return Rival("usearch", seconds, _EFFORTS, ask)


def _lancedb(stored: Vectors, work: Path) -> Rival:
    import lancedb
    import pyarrow as pa

    started, place = time.perf_counter(), work / "lance"
    shutil.rmtree(place, ignore_errors=True)
    vectors = pa.FixedSizeListArray.from_arrays(pa.array(stored.reshape(-1)), stored.shape[1])
    rows = pa.table({"row": pa.array(np.arange(len(stored))), "vector": vectors})
    table = lancedb.connect(place).create_table("products", rows)
    # of its indexes the one for speed at a high recall
    table.create_index(metric="l2", vector_column_name="vector", index_type="IVF_HNSW_SQ")
    seconds = time.perf_counter() - started

    def ask(query: Vectors, effort: int) -> NDArray[np.int64]:
        # by far the most is lost by its quantised order, so as many as are found are ordered exactly
        found = table.search(query).limit(DEPTH).nprobes(effort // 10).ef(effort).refine_factor(effort // DEPTH)
        return np.asarray(found.select(["row", "_distance"]).to_arrow()["row"].to_numpy(), dtype=np.int64)

    return Rival("lancedb", seconds, _EFFORTS, ask)


RIVALS: dict[str, Callable[[Vectors, Path], Rival]] = {"hnswlib": _hnswlib, "usearch": _usearch, "lancedb": _lancedb}
"""Each builds an index over vectors (N, w), and may use a folder."""
