"""Fusion: what the channels say of one query's candidates made one score.

Learnt weights make it −(distance weight)·distance + (lexical weight)·BM25 + (behaviour weight)·behaviour, where there
is a behaviour channel; what that tells of queries that no shopper asked before has a weight of its own. Of a product
that nobody clicked the channel tells nothing: it gets what products of its distance and BM25 have on average. Nothing
in the sum depends on which other candidates there are, so a deeper page never reorders the pages before it. Without
anything to learn from, the channels' ranks are fused (Cormack, Clarke and Büttcher, *Reciprocal rank fusion outperforms
Condorcet and individual rank learning methods*, SIGIR 2009).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, Literal, NamedTuple, Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

from model.metrics import RELEVANT_GRADE, RETRIEVE_DEPTH, measure

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    from index.behaviour import BehaviourScores

RANK_CONSTANT = 60
"""k of reciprocal rank fusion, as in its paper."""
FEWEST_QUERIES = 20
"""Judged queries below which no weights are learnt."""

_RIDGE = 1e-3
_STEPS = 30
_ENOUGH = 1e-9


class Expected(BaseModel):
    """The behaviour score that a product may be expected to have, by what the other channels say of it."""

    model_config = ConfigDict(frozen=True)

    constant: float = 0.0
    distance: float = 0.0
    """What a unit of containment distance changes."""
    lexical: float = 0.0
    """What a unit of BM25 changes."""

    def of(self, distances: NDArray[np.float32], lexical: NDArray[np.float32]) -> NDArray[np.float32]:
        """The scores (K) of products at these distances (K) and with this BM25 (K)."""
        return self.constant + self.distance * distances + self.lexical * lexical


class Expectations(BaseModel):
    """What is expected of products that nobody clicked: under queries that shoppers asked before, and under others."""

    model_config = ConfigDict(frozen=True)

    asked: Expected = Expected()
    unasked: Expected = Expected()

    def heard(
        self, distances: NDArray[np.float32], lexical: NDArray[np.float32], behaviour: BehaviourScores
    ) -> NDArray[np.float32]:
        """What the behaviour channel says (K), or may be expected to where it has nothing to say."""
        expected = (self.asked if behaviour.known else self.unasked).of(distances, lexical)
        return np.where(behaviour.told, behaviour.scores, expected)


class Parts(NamedTuple):
    """What each channel brings to the scores of some candidates (K each); their sum is the score."""

    hyperboloid: NDArray[np.float32]
    lexical: NDArray[np.float32]
    behaviour: NDArray[np.float32]


class Fusion(BaseModel):
    """How the channels' scores become one, and what that was learnt on."""

    model_config = ConfigDict(frozen=True)

    method: Literal["weighted", "reciprocal_rank"] = "reciprocal_rank"
    distance_weight: Annotated[float, Field(ge=0.0)] = 0.0
    """What one unit of containment distance costs; of weighted fusion only."""
    lexical_weight: Annotated[float, Field(ge=0.0)] = 0.0
    """What one unit of BM25 brings; of weighted fusion only."""
    behaviour_weight: Annotated[float, Field(ge=0.0)] = 0.0
    """What one unit of the behaviour channel's score brings, where shoppers asked the query before."""
    unasked_weight: Annotated[float, Field(ge=0.0)] = 0.0
    """The same where they did not."""
    expected: Expectations = Expectations()
    """What stands for the behaviour score of a product that nobody clicked."""
    queries: int = 0
    """How many queries there were to learn from."""
    optimistic: bool = False
    """Whether the text encoder was trained on some of them, for want of others: then it weighs more than it should."""
    metrics: dict[str, dict[str, float]] = {}
    """Retrieve metrics on those queries, by mode, and of ``text``, what hybrid is without the behaviour channel, if
    there is one; none where ir-measures is not installed."""

    @model_validator(mode="after")
    def _weighs_something(self) -> Self:
        if self.method == "weighted" and not sum(self.weights) > 0:
            raise ValueError("all weights of a weighted fusion are 0: one must be above")
        return self

    @property
    def weights(self) -> tuple[float, float, float, float]:
        """All of them, in the order of :func:`_features`."""
        return self.distance_weight, self.lexical_weight, self.behaviour_weight, self.unasked_weight

    def fuse(
        self,
        distances: NDArray[np.float32],
        lexical: NDArray[np.float32],
        behaviour: BehaviourScores | None = None,
    ) -> NDArray[np.float32]:
        """One score (K) float32 for every candidate, higher is better.

        Args:
            distances: containment distances (K) of the union of all channels' candidates.
            lexical: BM25 (K) of the same rows; up to 0 where the lexical channel would not have found them.
            behaviour: what the behaviour channel says of them, if there is one. Where ranks are fused it is heard if
                shoppers asked the query before; else it has nothing but the text to go by, which others read better.
                For what it tells nothing of, the mean of the other channels then stands.
        """
        if self.method == "weighted":
            by_distance, by_words, by_clicks = self.parts(distances, lexical, behaviour)
            return by_distance + by_words + by_clicks
        by_rank = reciprocal_ranks(-distances) + np.where(lexical > 0, reciprocal_ranks(lexical), 0.0)
        if behaviour is not None and behaviour.known:
            by_rank += np.where(behaviour.told, reciprocal_ranks(behaviour.scores), by_rank / 2)
        return by_rank.astype(np.float32)

    def parts(
        self,
        distances: NDArray[np.float32],
        lexical: NDArray[np.float32],
        behaviour: BehaviourScores | None = None,
    ) -> Parts:
        """What a weighted fusion adds up of the same candidates, as :meth:`fuse` has them."""
        clicks = np.zeros_like(distances)
        if behaviour is not None:
            weight = self.behaviour_weight if behaviour.known else self.unasked_weight
            clicks = np.asarray(weight * self.expected.heard(distances, lexical, behaviour), dtype=np.float32)
        return Parts(-self.distance_weight * distances, self.lexical_weight * lexical, clicks)


@dataclass(frozen=True, slots=True)
class Judged:
    """The candidates of one judged query: ``rows`` (K), what the channels say of them (K); and grades by row."""

    rows: NDArray[np.int64]
    distances: NDArray[np.float32]
    lexical: NDArray[np.float32]
    grades: Mapping[int, int]
    behaviour: BehaviourScores | None = None

    @property
    def gains(self) -> NDArray[np.float64]:
        """What finding each candidate is worth (K): 0 if it is not relevant, else 1 up."""
        gains = np.zeros(len(self.rows))
        for row, grade in self.grades.items():
            gains[self.rows == row] = max(0, grade - RELEVANT_GRADE + 1)
        return gains


def union(rows: NDArray[np.int64], others: NDArray[np.int64]) -> NDArray[np.int64]:
    """The rows of two channels, each once, by row number."""
    return np.union1d(rows, others)


def learn(judged: Sequence[Judged]) -> Fusion:
    """The weights that make the relevant candidates of ``judged`` queries likeliest, or reciprocal ranks.

    The likelihood is ListNet's: of each query, the softmax of the scores against the gains. Reciprocal ranks are taken
    if fewer than ``FEWEST_QUERIES`` queries have a relevant candidate, or if no channel tells those from the rest.
    """
    fusion = _learnt(judged)
    if fusion.method == "reciprocal_rank":
        return fusion
    try:
        metrics = {
            "hybrid": _measure(judged, lambda query: fusion.fuse(query.distances, query.lexical, query.behaviour)),
            "hyperboloid": _measure(judged, lambda query: -query.distances),
            "lexical": _measure(judged, lambda query: np.where(query.lexical > 0, query.lexical, -np.inf)),
        }
        if any(query.behaviour is not None for query in judged):
            text = _learnt([replace(query, behaviour=None) for query in judged])
            metrics["text"] = _measure(judged, lambda query: text.fuse(query.distances, query.lexical))
            metrics["behaviour"] = _measure(judged, _behaviour_alone)
    except ModuleNotFoundError:  # the metrics are for people; the weights do without
        metrics = {}
    return fusion.model_copy(update={"metrics": metrics})


def _learnt(judged: Sequence[Judged]) -> Fusion:
    """The fusion that :func:`learn` finds, not measured yet."""
    useful = [query for query in judged if query.gains.any()]
    expected = Expectations(asked=_expected(judged, known=True), unasked=_expected(judged, known=False))
    weights = _most_likely(useful, expected) if len(useful) >= FEWEST_QUERIES else np.zeros(4)
    if not weights.any():
        return Fusion(queries=len(judged))
    names = ("distance_weight", "lexical_weight", "behaviour_weight", "unasked_weight")
    found = dict(zip(names, weights.tolist(), strict=True))
    return Fusion(method="weighted", **found, expected=expected, queries=len(judged))


def _expected(judged: Sequence[Judged], *, known: bool) -> Expected:
    """The behaviour score by distance and BM25, by least squares over all candidates that clicks tell of."""
    heard = [
        (query.distances[told], query.lexical[told], query.behaviour.scores[told])
        for query in judged
        if query.behaviour is not None and query.behaviour.known == known and (told := query.behaviour.told).any()
    ]
    if not heard:
        return Expected()
    distances, lexical, scores = (np.concatenate(part).astype(np.float64) for part in zip(*heard, strict=True))
    columns = np.stack([np.ones_like(distances), distances, lexical], axis=1)
    constant, distance, lexical_ = np.linalg.lstsq(columns, scores, rcond=None)[0].tolist()
    return Expected(constant=constant, distance=distance, lexical=lexical_)


def _behaviour_alone(query: Judged) -> NDArray[np.float32]:
    return np.zeros_like(query.distances) if query.behaviour is None else query.behaviour.scores


def reciprocal_ranks(scores: NDArray[np.float32]) -> NDArray[np.float64]:
    """What the rank of each of ``scores`` (K) is worth (K), the highest first; equal scores share the first rank."""
    falling = -scores
    return 1.0 / (RANK_CONSTANT + np.searchsorted(np.sort(falling), falling, side="left") + 1)


def _features(query: Judged, expected: Expectations) -> NDArray[np.float64]:
    """What is weighed of each candidate (K, 4): nearness, BM25, behaviour where the query is known and where not."""
    features = np.zeros((len(query.rows), 4))
    features[:, 0], features[:, 1] = -query.distances, query.lexical
    if query.behaviour is not None:
        features[:, 2 if query.behaviour.known else 3] = expected.heard(query.distances, query.lexical, query.behaviour)
    return features


def _most_likely(judged: Sequence[Judged], expected: Expectations) -> NDArray[np.float64]:
    """Weights (4) ≥ 0 that maximise the likelihood, less a slight penalty on their squares.

    What would have to weigh less than nothing weighs 0, the worst first, and the others are sought again without it.
    ``expected`` stands for what the behaviour channel cannot tell.
    """
    features = [_features(query, expected) for query in judged]
    scale = np.concatenate(features).std(axis=0)
    free = scale > _ENOUGH
    scale += _ENOUGH
    targets = [query.gains / query.gains.sum() for query in judged]
    scaled = [feature / scale for feature in features]
    while ((weights := _ascend(scaled, targets, free=free)) < 0).any():
        free[weights.argmin()] = False
    return np.asarray(weights / scale)


def _ascend(
    features: Sequence[NDArray[np.float64]], targets: Sequence[NDArray[np.float64]], *, free: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """Newton's method on the concave likelihood, in the weights (W) that are ``free``; the others stay 0."""
    weights = np.zeros(len(free))
    value, gradient, curvature = _likelihood(weights, features, targets)
    for _ in range(_STEPS):
        step = np.zeros(len(free))
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
    """Mean log-likelihood less the penalty, its gradient (W) and its negative Hessian (W, W)."""
    size = len(weights)
    value, gradient, curvature = 0.0, np.zeros(size), np.zeros((size, size))
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
        curvature / count + 2 * _RIDGE * np.eye(size),
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
