"""What states of networks and weights of fusion are chosen by."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from benchmarks.behaviour.score import ranks

if TYPE_CHECKING:
    from benchmarks.behaviour.score import Ranker
    from benchmarks.behaviour.task import Task

MOST_PAIRS = 2000


class Dev:
    """The dev clicks of ``task``; of new pairs and of all a seeded sample each, where there are many."""

    def __init__(self, task: Task) -> None:
        self._known = task.known()
        # most pairs are repeats: a sample of all would hold few new ones
        self._new = task.dev.where(task.dev.new).some(MOST_PAIRS)
        self._every = task.dev.some(MOST_PAIRS)

    def new(self, ranker: Ranker) -> float:
        """MRR of new pairs, each once, among the products that the query did not lead to."""
        return float((1.0 / ranks(ranker, self._new, known=self._known, masked=True)).mean())

    def clicks(self, ranker: Ranker) -> float:
        """MRR of all clicks, among all products."""
        reciprocal = 1.0 / ranks(ranker, self._every, known=self._known, masked=False)
        return float(np.average(reciprocal, weights=self._every.count))
