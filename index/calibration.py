"""Which candidate index suits a snapshot, and how many candidates it must give.

What is measured is the recall of the exact containment top, and the time that it takes.
"""

from __future__ import annotations

import os
import random
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np

from index.algebra import Region
from index.cells import REACHES
from index.exact import BLOCK, heights, scan
from index.rerank import rerank
from index.snapshot import CandidateSettings, Trial
from index.vectors import indexed, sought
from model.text import words

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

    from index.candidates import CandidateIndex
    from index.shapes import Form
    from model.bundle import Geometry
    from model.hyperboloid import Hyperboloids

DEPTH = 100
"""Recall is that of the containment top this deep."""
QUERIES = 100
_COUNTS = (100, 150, 200, 300, 400, 500, 600, 700, 850, 1000, 1400, 2000, 2800, 4000, 5600, 8000)
_MAX_WORDS = 4
_SAVED_BY_LIFT = 2.0
_LIFT_QUERIES = 16


def sample_queries(titles: Sequence[str], *, count: int, seed: int) -> list[str]:
    """``count`` queries of one to four words each, cut from ``titles``, which must have words."""
    chance = random.Random(seed)  # noqa: S311 - a sample, not a secret
    queries = []
    for _ in range(count):
        of_title = words(chance.choice(titles))
        kept = sorted(chance.sample(range(len(of_title)), min(len(of_title), chance.randint(1, _MAX_WORDS))))
        queries.append(" ".join(of_title[i] for i in kept))
    return queries


class Calibration:
    """Measures candidate indexes of the same ``points`` (N, d) by the exact containment top of ``regions`` (Q).

    ``truths`` are the rows of the exact answers; ``on_progress`` hears how many of them are known, and of how many, as
    they are computed on all cores.
    """

    def __init__(
        self,
        points: NDArray[np.float32],
        regions: Hyperboloids,
        *,
        geometry: Geometry,
        target_recall: float,
        on_progress: Callable[[int, int], None] = lambda _done, _total: None,
    ) -> None:
        self._points = points
        self._geometry = geometry
        self._target = target_recall
        self._regions = [Region.around(*each) for each in zip(regions.centres, regions.limits, strict=True)]
        self.truths: list[NDArray[np.int64]] = []
        known = heights(points, c=geometry.curvature)

        def top(region: Region) -> NDArray[np.int64]:
            return scan(points, region, c=geometry.curvature, gamma=geometry.gamma, count=DEPTH, known=known).rows

        with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
            for truth in pool.map(top, self._regions):
                self.truths.append(truth)
                on_progress(len(self.truths), len(self._regions))

    def lift_pays(self) -> bool:
        """Whether limits say so much that an order that sees them needs far fewer candidates than one that does not.

        A lifted vector is twice as long, so no more than half as many are worth it. Both orders are exact here.
        """
        return _SAVED_BY_LIFT * self._needed("region") <= self._needed("centre")

    def trial(self, index: CandidateIndex) -> Trial:
        """The fastest settings at which ``index`` reaches the target, or those of the highest recall if none does."""
        settings = [self._enough(index, effort) for effort in efforts(index)]
        return choose([self._timed(index, *each) for each in settings], self._target)

    def measured(self, index: CandidateIndex, count: int, effort: float | None) -> Trial:
        """What ``index`` gives at these settings."""
        return self._timed(index, count, effort, float(self._recalls(index, [count], effort)[0]))

    def settings(self, trials: Sequence[Trial]) -> CandidateSettings:
        """The best of ``trials``, and all of them."""
        return CandidateSettings(
            **choose(trials, self._target).model_dump(),
            target_recall=self._target,
            depth=DEPTH,
            queries=len(self._regions),
            tried=tuple(trials),
        )

    def _enough(self, index: CandidateIndex, effort: float | None) -> tuple[int, float | None, float]:
        """The fewest candidates that reach the target at this effort, or all of them if none do, and their recall."""
        recalls: Iterator[tuple[int, float]]
        counts = able(index, effort)
        if index.shape.backend == "cells":
            recalls = ((count, float(self._recalls(index, [count], effort)[0])) for count in counts)
        else:  # fewer candidates are the first of the same list
            recalls = zip(counts, self._recalls(index, counts, effort).tolist(), strict=True)
        found = (0, -1.0)
        for count, recall in recalls:
            found = max(found, (count, recall), key=lambda each: each[1])
            if recall >= self._target:
                break
        return found[0], effort, found[1]

    def _recalls(self, index: CandidateIndex, counts: Sequence[int], effort: float | None) -> NDArray[np.float64]:
        """Mean recall of the first of as many candidates as the last of ``counts``, for each of them."""

        def found(place: int) -> NDArray[np.float64]:
            truth = self.truths[place]
            hits = np.cumsum(np.isin(index.search(self._regions[place].boxes, counts[-1], effort=effort), truth))
            return np.array([hits[:count][-1] / len(truth) for count in counts])

        with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
            return np.asarray(np.mean(list(pool.map(found, range(len(self._regions)))), axis=0))

    def _timed(self, index: CandidateIndex, count: int, effort: float | None, recall: float) -> Trial:
        """Median seconds of candidates and exact order, one region after another on one thread."""
        seconds = []
        for region in self._regions:
            started = time.perf_counter()
            rows = index.search(region.boxes, count, effort=effort)
            rerank(self._points, rows, region, c=self._geometry.curvature, gamma=self._geometry.gamma)
            seconds.append(time.perf_counter() - started)
        backend, form = index.shape
        latency = float(np.median(seconds))
        return Trial(backend=backend, form=form, count=count, effort=effort, recall=recall, latency_seconds=latency)

    def _needed(self, form: Form) -> int:
        """How many candidates an exact order of ``form`` needs to reach the target, one more than tried if none do."""
        c = self._geometry.curvature
        queries = np.stack(
            [sought(region.boxes[0], c=c, form=form) for region in self._regions[:_LIFT_QUERIES]], axis=1
        )
        products = np.empty((queries.shape[1], len(self._points)), dtype=np.float32)
        for start in range(0, len(self._points), BLOCK):
            block = slice(start, start + BLOCK)
            products[:, block] = (indexed(self._points[block], c=c, form=form) @ queries).T
        counts = _counts(len(self._points))
        held = np.zeros(len(counts))
        for row, truth in zip(products, self.truths, strict=False):
            # how many come before each row of the truth
            before = len(row) - np.searchsorted(np.sort(row), row[truth], side="right")
            held += [np.count_nonzero(before < count) / len(truth) for count in counts]
        enough = np.flatnonzero(held / len(products) >= self._target)
        return counts[enough[0]] if len(enough) else counts[-1] + 1


def choose(trials: Sequence[Trial], target_recall: float) -> Trial:
    """The fastest of the trials that reached the target, or the one of the highest recall if none did."""
    reached = [trial for trial in trials if trial.recall >= target_recall]
    if reached:
        return min(reached, key=lambda trial: trial.latency_seconds)
    return max(trials, key=lambda trial: trial.recall)


def _counts(products: int) -> list[int]:
    return sorted({min(count, products) for count in _COUNTS})


def able(index: CandidateIndex, effort: float | None) -> list[int]:
    """The numbers of candidates that are worth asking ``index`` for at this effort."""
    return [count for count in _counts(len(index)) if index.shape.backend != "hnsw" or count <= (effort or 0)]


def efforts(index: CandidateIndex) -> Sequence[float | None]:
    """The efforts that ``index`` may be asked to make, one None where there is nothing to choose."""
    match index.shape.backend:
        case "hnsw":
            return _counts(len(index))
        case "cells":
            return REACHES
        case _:
            return (None,)
