"""Slow, obvious versions of the formulas, in float64 or better, one number at a time, from the definitions.

Nothing here shares a line with :mod:`model`: points are made explicitly as ambient vectors, pairs in loops, and
distances as arccosh of the Lorentz product in fifty decimal digits, where cancellation is no matter.
"""

from __future__ import annotations

import math
from decimal import Decimal, localcontext
from itertools import combinations_with_replacement
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import ArrayLike, NDArray

    from model.encoders import EncoderConfig

    Vector = NDArray[np.float64]
    Weights = Mapping[str, NDArray[np.float64]]

_DIGITS = 50


def dist(x: ArrayLike, y: ArrayLike, *, c: float) -> float:
    """arccosh(−c⟨x,y⟩_L)/√c of two points, or their Euclidean distance if c is 0."""
    with localcontext() as context:
        context.prec = _DIGITS
        a, b = _decimals(x), _decimals(y)
        if c == 0:
            return float(sum(((p - q) ** 2 for p, q in zip(a, b, strict=True)), Decimal(0)).sqrt())
        curvature = Decimal(float(c))
        time_a = (1 / curvature + sum(p * p for p in a)).sqrt()
        time_b = (1 / curvature + sum(q * q for q in b)).sqrt()
        z = curvature * (time_a * time_b - sum(p * q for p, q in zip(a, b, strict=True)))
        z = max(z, Decimal(1))
        return float((z + (z * z - 1).sqrt()).ln() / curvature.sqrt())


def place(tangent: ArrayLike, *, radius: float, c: float) -> Vector:
    """The point in the direction of ``tangent``, at radius·tanh(‖tangent‖/radius) from the origin."""
    vector = np.asarray(tangent, dtype=np.float64)
    norm = math.sqrt(math.fsum(value * value for value in vector.tolist()))
    if norm == 0:
        return np.zeros_like(vector)
    reach = radius * math.tanh(norm / radius)
    return vector / norm * (reach if c == 0 else math.sinh(math.sqrt(c) * reach) / math.sqrt(c))


def midpoint(points: Sequence[ArrayLike], weights: Sequence[float], *, c: float) -> Vector:
    """The weighted sum of whole ambient vectors (time first), scaled back to the sheet."""
    rows = [np.asarray(point, dtype=np.float64) for point in points]
    if c == 0:
        return np.sum([w * row for w, row in zip(weights, rows, strict=True)], axis=0) / math.fsum(weights)
    ambient = [np.array([math.sqrt(1.0 / c + float(row @ row)), *row]) for row in rows]
    total = np.sum([w * vector for w, vector in zip(weights, ambient, strict=True)], axis=0)
    lorentz_square = float(total[1:] @ total[1:]) - float(total[0]) ** 2
    return np.asarray(total[1:] / math.sqrt(-c * lorentz_square))


def nearest(x: ArrayLike, centre: ArrayLike, limit: ArrayLike) -> Vector:
    """The point of the box nearest to ``x``, axis by axis."""
    found = []
    for value, middle, reach in zip(_floats(x), _floats(centre), _floats(limit), strict=True):
        if value < middle - reach:
            found.append(middle - reach)
        elif value > middle + reach:
            found.append(middle + reach)
        else:
            found.append(value)
    return np.array(found)


def containment(x: ArrayLike, centre: ArrayLike, limit: ArrayLike, *, c: float, gamma: float) -> float:
    """d_out + γ·d_in of one point and one box."""
    p = nearest(x, centre, limit)
    return dist(x, p, c=c) + gamma * dist(centre, p, c=c)


def contains(x: ArrayLike, centre: ArrayLike, limit: ArrayLike) -> bool:
    """Whether no axis puts ``x`` outside."""
    for value, middle, reach in zip(_floats(x), _floats(centre), _floats(limit), strict=True):
        if value < middle - reach or value > middle + reach:
            return False
    return True


def query_region(weights: Weights, config: EncoderConfig, terms: Sequence[Sequence[int]]) -> tuple[Vector, Vector]:
    """Centre and limit of one query, its ``terms`` given as lists of feature ids: every pair made explicitly."""
    c, radius = config.curvature, config.radius
    vectors = [_term_vector(weights, features) for features in terms]
    points = [place(vector, radius=radius, c=c) for vector in vectors]
    logits, middles, logs = [], [], []
    for i, j in combinations_with_replacement(range(len(terms)), 2):
        left, right = vectors[i], vectors[j]
        own = 0.5 * (_linear(weights, "query.own", left)[0] + _linear(weights, "query.own", right)[0])
        affinity = _linear(weights, "query.pair", left) @ _linear(weights, "query.pair", right)
        logits.append(own + affinity / math.sqrt(config.attention_dim))
        share = _linear(weights, "query.share", left)[0] - _linear(weights, "query.share", right)[0]
        first = 1.0 / (1.0 + math.exp(-share))
        middles.append(midpoint([points[i], points[j]], [first, 1.0 - first], c=c))
        limits = [np.exp(_linear(weights, "query.limit", vector)) for vector in (left, right)]
        logs.append(np.log(np.minimum(*limits)))
    attention = _softmax(logits)
    centre = _head(weights, config, "query.head", midpoint(middles, attention, c=c))
    return centre, np.exp(np.sum([a * log for a, log in zip(attention, logs, strict=True)], axis=0))


def product_point(weights: Weights, config: EncoderConfig, terms: Sequence[Sequence[int]]) -> Vector:
    """Point of one title, its ``terms`` given as lists of feature ids."""
    vectors = [_term_vector(weights, features) for features in terms]
    last = config.max_title_terms - 1
    points, logits = [], []
    for i, vector in enumerate(vectors):
        query = _linear(weights, "product.query", vector)
        affinities = [
            float(query @ _linear(weights, "product.key", other)) / math.sqrt(config.attention_dim) for other in vectors
        ]
        seen = [
            a * _linear(weights, "product.value", other) for a, other in zip(_softmax(affinities), vectors, strict=True)
        ]
        contextual = vector + np.sum(seen, axis=0)
        start, end = weights["product.position"]
        stands = start[min(i, last)] + end[min(len(terms) - 1 - i, last)]
        logits.append(_linear(weights, "product.own", contextual)[0] + stands)
        points.append(place(contextual, radius=config.radius, c=config.curvature))
    return _head(weights, config, "product.head", midpoint(points, _softmax(logits), c=config.curvature))


def listwise(scores: ArrayLike, gains: ArrayLike) -> float:
    """ListNet's cross-entropy, averaged over the rows that have a gain, term by term."""
    losses = []
    for row, wanted in zip(np.asarray(scores, dtype=float), np.asarray(gains, dtype=float), strict=True):
        total = math.fsum(wanted)
        if total == 0:
            continue
        log_sum = math.log(math.fsum(math.exp(score) for score in row))
        losses.append(-math.fsum(g / total * (s - log_sum) for s, g in zip(row, wanted, strict=True) if g > 0))
    return math.fsum(losses) / len(losses) if losses else 0.0


def _term_vector(weights: Weights, features: Sequence[int]) -> Vector:
    rows = [weights["embedding.table.weight"][feature] for feature in features]
    return np.asarray(np.sum(rows, axis=0) / math.sqrt(len(rows)))


def _head(weights: Weights, config: EncoderConfig, name: str, point: Vector) -> Vector:
    c = config.curvature
    norm = float(np.linalg.norm(point))
    tangent = point if c == 0 or norm == 0 else point / norm * math.asinh(math.sqrt(c) * norm) / math.sqrt(c)
    return place(_linear(weights, f"{name}.linear", tangent), radius=config.radius, c=c)


def _linear(weights: Weights, name: str, vector: Vector) -> Vector:
    product = weights[f"{name}.weight"] @ vector
    return np.asarray(product + weights[f"{name}.bias"] if f"{name}.bias" in weights else product)


def _softmax(logits: Sequence[float]) -> list[float]:
    powers = [math.exp(logit - max(logits)) for logit in logits]
    return [power / math.fsum(powers) for power in powers]


def _decimals(x: ArrayLike) -> list[Decimal]:
    return [Decimal(value) for value in _floats(x)]


def _floats(x: ArrayLike) -> list[float]:
    return [float(value) for value in np.asarray(x, dtype=np.float64)]
