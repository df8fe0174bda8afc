"""Ranks over all products, and what they come to: MRR and Recall@k, apart for head, torso, tail and cold."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from benchmarks.behaviour.task import SEGMENTS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from benchmarks.behaviour.task import Later, Task

_BATCH = 256
_SAMPLES = 1000
_MOST_PAIRS = 5000


class Ranker(Protocol):
    """A system: scores of all products (B, N) for queries by their places in the task (B,); larger is better."""

    def scores(self, queries: NDArray[np.int64]) -> NDArray[np.float32]:
        """Scores of all products for each of ``queries``."""
        ...


def ranks(ranker: Ranker, later: Later, *, known: Mapping[int, NDArray[np.int64]], masked: bool) -> NDArray[np.float64]:
    """The rank of each pair's product among all products, (P,), from 1; equal scores share the mean of their places.

    With ``masked``, products that the query is known to lead to are left out of the ranking, unless they are what is
    asked for.
    """
    found = np.empty(len(later.query))
    for start in range(0, len(found), _BATCH):
        part = slice(start, start + _BATCH)
        queries, places = np.unique(later.query[part], return_inverse=True)
        scores = ranker.scores(queries)[places]
        own = scores[np.arange(len(places)), later.product[part]].copy()
        if masked:
            for row, query in enumerate(later.query[part].tolist()):
                scores[row, known.get(query, ())] = -np.inf
        better, equal = (scores > own[:, None]).sum(1), (scores == own[:, None]).sum(1)
        found[part] = 1.0 + better + 0.5 * np.maximum(equal - 1, 0)
    return found


def measures(ranks_: NDArray[np.float64], weights: NDArray[Any] | None = None, *, k: int = 10) -> dict[str, float]:
    """MRR and Recall@k of ranks (P,), the mean by ``weights`` (P,); with no ranks there is nothing."""
    if not len(ranks_):
        return {"pairs": 0}
    mean = lambda values: round(float(np.average(values, weights=weights)), 5)  # noqa: E731
    return {"pairs": len(ranks_), "MRR": mean(1.0 / ranks_), f"Recall@{k}": mean(ranks_ <= k)}


def evaluate(ranker: Ranker, task: Task, later: Later) -> tuple[dict[str, Any], NDArray[np.float64]]:
    """Figures of a system on one part, and the ranks of its new pairs.

    *new*: pairs that were never clicked before, each once, known products of the query masked; apart by segments.
    *clicks*: every click of the part, nothing masked; what a shop would see. Of many pairs a sample.
    """
    known = task.known()
    new = later.where(later.new)
    found = ranks(ranker, new, known=known, masked=True)
    by: dict[str, Any] = {"new": {"all": measures(found)}}
    for kind, places in (("products", new.product), ("queries", new.query)):
        segment = task.segments("query" if kind == "queries" else "product")[places]
        by["new"][kind] = {name: measures(found[segment == i]) for i, name in enumerate(SEGMENTS)}
    later = later.some(_MOST_PAIRS)
    every = ranks(ranker, later, known=known, masked=False)
    segment = task.segments("product")[later.product]
    by["clicks"] = {"all": measures(every, later.count)}
    by["clicks"]["products"] = {
        name: measures(every[segment == i], later.count[segment == i]) for i, name in enumerate(SEGMENTS)
    }
    return by, found


def bootstrap(
    values: NDArray[np.float64], groups: NDArray[np.int64], *, seed: int = 0, samples: int = _SAMPLES
) -> tuple[float, float]:
    """The middle 95 % of the mean of ``values`` (P,) when whole ``groups`` (P,), queries say, are drawn anew."""
    _, place = np.unique(groups, return_inverse=True)
    totals, sizes = np.bincount(place, weights=values), np.bincount(place)
    drawn = np.random.default_rng(seed).integers(len(sizes), size=(samples, len(sizes)))
    means = totals[drawn].sum(1) / sizes[drawn].sum(1)
    low, high = np.quantile(means, (0.025, 0.975))
    return float(low), float(high)
