"""How many candidates a snapshot needs, found by measuring the recall of the exact containment top."""

from __future__ import annotations

import os
import random
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from index.algebra import Region
from index.exact import heights, scan
from index.rerank import rerank
from index.snapshot import CandidateSettings
from model.text import words

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

    from index.candidates import CandidateIndex
    from model.bundle import Geometry
    from model.hyperboloid import Hyperboloids

DEPTH = 100
"""Recall is that of the containment top this deep."""
QUERIES = 100
_COUNTS = (100, 150, 200, 300, 400, 500, 600, 700, 850, 1000, 1400, 2000, 2800, 4000, 5600, 8000)
_MAX_WORDS = 4


@dataclass(frozen=True, slots=True)
class _Choice:
    """Settings, and the mean recall they give."""

    count: int
    ef_search: int | None
    recall: float


def sample_queries(titles: Sequence[str], *, count: int, seed: int) -> list[str]:
    """``count`` queries of one to four words each, cut from ``titles``, which must have words."""
    chance = random.Random(seed)  # noqa: S311 - a sample, not a secret
    queries = []
    for _ in range(count):
        of_title = words(chance.choice(titles))
        kept = sorted(chance.sample(range(len(of_title)), min(len(of_title), chance.randint(1, _MAX_WORDS))))
        queries.append(" ".join(of_title[i] for i in kept))
    return queries


def calibrate(
    index: CandidateIndex,
    points: NDArray[np.float32],
    regions: Hyperboloids,
    *,
    geometry: Geometry,
    target_recall: float,
    on_progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> CandidateSettings:
    """The cheapest settings under which candidates for ``regions`` (Q) reach ``target_recall``.

    The walk's effort grows until it suffices, then the fewest of its candidates that do are taken. If none
    suffices, the best is taken.
    """
    efforts = _efforts(index)
    work = len(regions) + len(efforts)
    truths = []
    for truth in _truths(points, regions, geometry):
        truths.append(truth)
        on_progress(len(truths), work)
    tried: list[_Choice] = []
    for effort in efforts:
        tried.append(_choose(index, regions, truths, effort=effort, target_recall=target_recall))
        on_progress(len(regions) + len(tried), work)
        if tried[-1].recall >= target_recall:
            break
    best = max(tried, key=lambda choice: choice.recall)
    seconds = _latency(index, points, regions, geometry=geometry, choice=best)
    on_progress(work, work)
    return CandidateSettings(
        backend=index.backend,
        count=best.count,
        ef_search=best.ef_search,
        recall=best.recall,
        target_recall=target_recall,
        depth=DEPTH,
        queries=len(regions),
        latency_seconds=seconds,
    )


def _truths(points: NDArray[np.float32], regions: Hyperboloids, geometry: Geometry) -> Iterator[NDArray[np.int64]]:
    """Rows of the exact containment top of each region, computed on all cores."""
    known = heights(points, c=geometry.curvature)

    def top(region: int) -> NDArray[np.int64]:
        sought = Region.around(regions.centres[region], regions.limits[region])
        return scan(points, sought, c=geometry.curvature, gamma=geometry.gamma, count=DEPTH, known=known).rows

    with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        yield from pool.map(top, range(len(regions)))


def _counts(index: CandidateIndex) -> list[int]:
    return sorted({min(count, len(index)) for count in _COUNTS})


def _efforts(index: CandidateIndex) -> list[int]:
    """Lengths of candidate lists to try: growing ones of a graph, one of a flat scan, as all cost alike."""
    return _counts(index) if index.backend == "hnsw" else _counts(index)[-1:]


def _choose(
    index: CandidateIndex,
    regions: Hyperboloids,
    truths: Sequence[NDArray[np.int64]],
    *,
    effort: int,
    target_recall: float,
) -> _Choice:
    """The fewest candidates that reach the target at this effort, or all of them if none do.

    One walk serves every count: fewer candidates of the same effort are the first of the same list.
    """

    def found(region: int) -> NDArray[np.float64]:
        rows = index.search(regions.centres[region], effort, ef_search=effort)
        hits = np.cumsum(np.isin(rows, truths[region]))
        return np.array([hits[:count][-1] / len(truths[region]) for count in counts])

    counts = [count for count in _counts(index) if count <= effort]
    with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        recalls = np.mean(list(pool.map(found, range(len(regions)))), axis=0)
    enough = int(np.argmax(recalls >= target_recall)) if recalls[-1] >= target_recall else -1
    ef_search = effort if index.backend == "hnsw" else None
    return _Choice(counts[enough], ef_search, float(recalls[enough]))


def _latency(
    index: CandidateIndex,
    points: NDArray[np.float32],
    regions: Hyperboloids,
    *,
    geometry: Geometry,
    choice: _Choice,
) -> float:
    """Median seconds of candidates and exact order, one region after another on one thread."""
    seconds = []
    for centre, limit in zip(regions.centres, regions.limits, strict=True):
        started = time.perf_counter()
        rows = index.search(centre, choice.count, ef_search=choice.ef_search)
        rerank(points, rows, Region.around(centre, limit), c=geometry.curvature, gamma=geometry.gamma)
        seconds.append(time.perf_counter() - started)
    return float(np.median(seconds))
