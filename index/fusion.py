"""Fusion: the containment distances and the BM25 scores of one query's candidates made one score.

Learnt weights make it −(distance weight)·distance + (lexical weight)·BM25. Nothing in that depends on which other
candidates there are, so a deeper page never reorders the pages before it. Without judgments to learn from, the ranks in
both channels are fused (Cormack, Clarke and Büttcher, *Reciprocal rank fusion outperforms Condorcet and individual rank
learning methods*, SIGIR 2009).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal, Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

from model.metrics import RELEVANT_GRADE, RETRIEVE_DEPTH, measure

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

RANK_CONSTANT = 60
"""k of reciprocal rank fusion, as in its paper."""
FEWEST_QUERIES = 20
"""Judged queries below which no weights are learnt."""

_RIDGE = 1e-3
_STEPS = 30
_ENOUGH = 1e-9


class Fusion(BaseModel):
    """How the two channels' scores become one, and what that was learnt on."""

    model_config = ConfigDict(frozen=True)

    method: Literal["weighted", "reciprocal_rank"] = "reciprocal_rank"
    distance_weight: Annotated[float, Field(ge=0.0)] = 0.0
    """What one unit of containment distance costs; of weighted fusion only."""
    lexical_weight: Annotated[float, Field(ge=0.0)] = 0.0
    """What one unit of BM25 brings; of weighted fusion only."""
    queries: int = 0
    """How many judged queries there were to learn from."""
    metrics: dict[str, dict[str, float]] = {}
    """Retrieve metrics on those queries: ``hybrid``, ``hyperboloid`` and ``lexical``; none where ir-measures is not
    installed."""

    @model_validator(mode="after")
    def _weighs_something(self) -> Self:
        if self.method == "weighted" and not self.distance_weight + self.lexical_weight > 0:
            raise ValueError("both weights of a weighted fusion are 0: one must be above")
        return self

    def fuse(self, distances: NDArray[np.float32], lexical: NDArray[np.float32]) -> NDArray[np.float32]:
        """One score (K) float32 for every candidate, higher is better.

        Args:
            distances: containment distances (K) of the union of both channels' candidates.
            lexical: BM25 (K) of the same rows; up to 0 where the lexical channel would not have found them.
        """
        if self.method == "weighted":
            return np.asarray(self.lexical_weight * lexical - self.distance_weight * distances, dtype=np.float32)
        by_rank = 1.0 / (RANK_CONSTANT + _ranks(distances))
        by_rank += np.where(lexical > 0, 1.0 / (RANK_CONSTANT + _ranks(-lexical)), 0.0)
        return by_rank.astype(np.float32)


@dataclass(frozen=True, slots=True)
class Judged:
    """The candidates of one judged query: ``rows`` (K), ``distances`` (K), ``lexical`` (K); and grades by row."""

    rows: NDArray[np.int64]
    distances: NDArray[np.float32]
    lexical: NDArray[np.float32]
    grades: Mapping[int, int]

    @property
    def gains(self) -> NDArray[np.float64]:
        """What finding each candidate is worth (K): 0 if it is not relevant, else 1 up."""
        gains = np.zeros(len(self.rows))
        for row, grade in self.grades.items():
            gains[self.rows == row] = max(0, grade - RELEVANT_GRADE + 1)
        return gains


def union(rows: NDArray[np.int64], others: NDArray[np.int64]) -> NDArray[np.int64]:
    """The rows of both channels, each once, by row number."""
    return np.union1d(rows, others)


def learn(judged: Sequence[Judged]) -> Fusion:
    """The weights that make the relevant candidates of ``judged`` queries likeliest, or reciprocal ranks.

    The likelihood is ListNet's: of each query, the softmax of the scores against the gains. Reciprocal ranks are taken
    if fewer than ``FEWEST_QUERIES`` queries have a relevant candidate, or if neither channel tells those from the rest.
    """
    useful = [query for query in judged if query.gains.any()]
    by_rank = Fusion(queries=len(judged))
    if len(useful) < FEWEST_QUERIES:
        return by_rank
    distance_weight, lexical_weight = _most_likely(useful)
    if distance_weight == lexical_weight == 0.0:
        return by_rank
    fusion = Fusion(
        method="weighted", distance_weight=distance_weight, lexical_weight=lexical_weight, queries=len(judged)
    )
    try:
        metrics = {
            "hybrid": _measure(judged, lambda query: fusion.fuse(query.distances, query.lexical)),
            "hyperboloid": _measure(judged, lambda query: -query.distances),
            "lexical": _measure(judged, lambda query: np.where(query.lexical > 0, query.lexical, -np.inf)),
        }
    except ModuleNotFoundError:  # the metrics are for people; the weights do without
        metrics = {}
    return fusion.model_copy(update={"metrics": metrics})


def _ranks(values: NDArray[np.float32]) -> NDArray[np.int64]:
    """Rank of each value from 1, the smallest first; equal values share the first of their ranks."""
    return np.searchsorted(np.sort(values), values, side="left") + 1


def _most_likely(judged: Sequence[Judged]) -> tuple[float, float]:
    """Weights of distance and BM25 ≥ 0 that maximise the likelihood, less a slight penalty on their squares.

    If one of them would have to be negative it is 0, and the other is sought alone.
    """
    features = [np.stack((-query.distances, query.lexical), axis=1).astype(float) for query in judged]
    scale = np.concatenate(features).std(axis=0) + _ENOUGH
    targets = [query.gains / query.gains.sum() for query in judged]
    scaled = [feature / scale for feature in features]
    both = np.array([True, True])
    weights = _ascend(scaled, targets, free=both)
    if (weights < 0).any():
        weights = np.maximum(_ascend(scaled, targets, free=weights > 0), 0.0)
    distance_weight, lexical_weight = (weights / scale).tolist()
    return distance_weight, lexical_weight


def _ascend(
    features: Sequence[NDArray[np.float64]], targets: Sequence[NDArray[np.float64]], *, free: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """Newton's method on the concave likelihood, in the weights (2) that are ``free``; the others stay 0."""
    weights = np.zeros(2)
    value, gradient, curvature = _likelihood(weights, features, targets)
    for _ in range(_STEPS):
        step = np.zeros(2)
        step[free] = np.linalg.solve(curvature[np.ix_(free, free)], gradient[free])
        length = 1.0
        # a whole step may overshoot where the likelihood is far from a parabola
        while (tried := _likelihood(weights + length * step, features, targets))[0] < value and length > _ENOUGH:
            length /= 2
        gained = tried[0] - value
        if gained <= _ENOUGH:
            break
        weights = weights + length * step
        value, gradient, curvature = tried
    return weights


def _likelihood(
    weights: NDArray[np.float64], features: Sequence[NDArray[np.float64]], targets: Sequence[NDArray[np.float64]]
) -> tuple[float, NDArray[np.float64], NDArray[np.float64]]:
    """Mean log-likelihood less the penalty, its gradient (2) and its negative Hessian (2, 2)."""
    value, gradient, curvature = 0.0, np.zeros(2), np.zeros((2, 2))
    for feature, target in zip(features, targets, strict=True):
        logits = feature @ weights
        logits -= logits.max()
        odds = np.exp(logits)
        chances = odds / odds.sum()
        value += float(target @ logits - np.log(odds.sum()))
        expected = chances @ feature
        gradient += target @ feature - expected
        curvature += feature.T @ (chances[:, None] * feature) - np.outer(expected, expected)
    count = len(features)
    return (
        value / count - _RIDGE * float(weights @ weights),
        gradient / count - 2 * _RIDGE * weights,
        curvature / count + 2 * _RIDGE * np.eye(2),
    )


def _measure(judged: Sequence[Judged], score: Callable[[Judged], NDArray[np.float32]]) -> dict[str, float]:
    """Retrieve metrics of the candidates in the order of ``score``, equal scores by row; −∞ is not retrieved."""
    run, qrels = {}, {}
    for number, query in enumerate(judged):
        scores = score(query)
        order = np.lexsort((query.rows, -scores))[:RETRIEVE_DEPTH]
        retrieved = query.rows[order[np.isfinite(scores[order])]]
        run[str(number)] = {str(row): -float(rank) for rank, row in enumerate(retrieved)}
        qrels[str(number)] = {str(row): grade for row, grade in query.grades.items()}
    return measure(run, qrels, "retrieve")
