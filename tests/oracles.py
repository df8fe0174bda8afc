"""Slow, obvious versions of the formulas, in float64 or better, one number at a time, from the definitions.

Nothing here shares a line with :mod:`model`: points are made explicitly as ambient vectors, pairs in loops, and
distances as arccosh of the Lorentz product in fifty decimal digits, where cancellation is no matter.
"""

from __future__ import annotations

import math
from decimal import Decimal, localcontext
from functools import cache
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
_REACH = 1.5
_BREADTH_REACH = 3.0
_MARK = 3.0
_MARK_LENGTH = 0.03
_CEILING = 1.01
_SLACK = 0.3
_NO_LIMIT = 1e-6
_SHARPNESS = 25.0
_WIDTH = 0.1


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
    total = np.sum([w * row for w, row in zip(weights, rows, strict=True)], axis=0)
    return np.asarray(total / _thickness(rows, weights, c=c))


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


def conjunction(
    x: ArrayLike,
    held: Sequence[tuple[ArrayLike, ArrayLike]],
    excluded: Sequence[tuple[ArrayLike, ArrayLike]],
    *,
    collapsed: float,
    c: float,
    gamma: float,
) -> tuple[float, bool]:
    """Distance and containment of one point under an AND of boxes, some of them negated, given as (centre, limit)."""
    centre, limit = [], []
    for middles, reaches in zip(
        zip(*(_floats(m) for m, _ in held), strict=True), zip(*(_floats(w) for _, w in held), strict=True), strict=True
    ):
        low = max(m - reach for m, reach in zip(middles, reaches, strict=True))
        high = min(m + reach for m, reach in zip(middles, reaches, strict=True))
        centre.append((low + high) / 2)
        limit.append((high - low) / 2 if low <= high else collapsed)
    penalty = 0.0
    for middle, reach in excluded:
        if contains(x, middle, reach):
            shares = [abs(v - m) / w for v, m, w in zip(_floats(x), _floats(middle), _floats(reach), strict=True)]
            corner = [m + w for m, w in zip(_floats(middle), _floats(reach), strict=True)]
            penalty = max(penalty, dist(middle, corner, c=c) * (2.0 - max(shares)))
    inside = all(contains(x, *box) for box in held) and not any(contains(x, *box) for box in excluded)
    return containment(x, centre, limit, c=c, gamma=gamma) + penalty, inside


def query_region(weights: Weights, config: EncoderConfig, terms: Sequence[Sequence[int]]) -> tuple[Vector, Vector]:
    """Centre and limit of one query, its ``terms`` given as lists of feature ids: every pair made explicitly."""
    c, radius = config.curvature, config.radius
    vectors, marks, breadths = _terms(weights, config, terms)
    points = [place(vector, radius=radius, c=c) for vector in vectors]
    pairs = list(combinations_with_replacement(range(len(terms)), 2))
    logits, middles, parts = [], [], []
    for i, j in pairs:
        left, right = vectors[i], vectors[j]
        own = 0.5 * (_linear(weights, "query.own", left)[0] + _linear(weights, "query.own", right)[0])
        affinity = _linear(weights, "query.pair", left) @ _linear(weights, "query.pair", right)
        logits.append(own + affinity / math.sqrt(config.attention_dim))
        share = _linear(weights, "query.share", left)[0] - _linear(weights, "query.share", right)[0]
        first = 1.0 / (1.0 + math.exp(-share))
        shares = [first, 1.0 - first]
        middles.append(midpoint([points[i], points[j]], shares, c=c))
        parts.append(np.array(shares) / _thickness([points[i], points[j]], shares, c=c))
    attention = _softmax(logits)
    totals = [0.0] * len(terms)
    for (i, j), a, (first, second) in zip(pairs, attention, parts, strict=True):
        totals[i] += a * first
        totals[j] += a * second
    effective = math.fsum(totals) ** 2 / math.fsum(total * total for total in totals)
    middle = midpoint(middles, attention, c=c)
    centre = _head(weights, config, "query.head", middle, stretch=math.sqrt(effective))
    if not config.presence:
        return centre, np.full(config.dim, _NO_LIMIT)
    past = np.exp(weights["query.raw_limit"]) * _bounded_exp(math.fsum(breadths), _BREADTH_REACH)
    low, high = _presence_box(weights, marks)
    return (
        np.concatenate([centre, (high + low) / 2]),
        np.concatenate([np.abs(centre) + past, (high - low) / 2]),
    )


def product_point(weights: Weights, config: EncoderConfig, terms: Sequence[Sequence[int]]) -> Vector:
    """Point of one title, its ``terms`` given as lists of feature ids."""
    vectors, marks, _ = _terms(weights, config, terms)
    last = config.max_title_terms - 1
    points, logits, stretches = [], [], []
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
        stretches.append(_linear(weights, "product.stretch.linear", vector)[0])
        points.append(place(contextual, radius=config.radius, c=config.curvature))
    middle = midpoint(points, _softmax(logits), c=config.curvature)
    placed = _head(weights, config, "product.head", middle, stretch=_bounded_exp(math.fsum(stretches)))
    shown = [_MARK_LENGTH * max(mark[axis] for mark in marks) for axis in range(config.presence)]
    return np.concatenate([placed, shown])


def listwise(scores: ArrayLike, gains: ArrayLike) -> float:
    """ListNet's cross-entropy, averaged over the rows that have a gain, term by term."""
    losses = []
    for row, wanted in zip(np.asarray(scores, dtype=float), np.asarray(gains, dtype=float), strict=True):
        total = math.fsum(wanted)
        if total == 0:
            continue
        log_sum = math.log(math.fsum(math.exp(score) for score in row))
        losses.append(-math.fsum(g / total * (s - log_sum) for s, g in zip(row, wanted, strict=True) if g > 0))
    return _mean(losses)


def membership(excess: ArrayLike, inside: ArrayLike, outside: ArrayLike, *, outside_weight: float) -> float:
    """Logistic loss of the smooth maximum of each product's excesses, product by product."""
    losses = []
    for boxes, held, kept in zip(np.asarray(excess, dtype=float), np.asarray(inside), np.asarray(outside), strict=True):
        beyond = [
            math.log(math.fsum(math.exp(_SHARPNESS * value) for value in axes)) / (_SHARPNESS * _WIDTH)
            for axes in boxes
        ]
        missed = [math.log1p(math.exp(value)) for value, counts in zip(beyond, held, strict=True) if counts]
        let_in = [math.log1p(math.exp(-value)) for value, counts in zip(beyond, kept, strict=True) if counts]
        losses.append(_mean(missed) + outside_weight * _mean(let_in))
    return _mean(losses)


def bm25(documents: Sequence[Sequence[str]], query: Sequence[str], *, k1: float, b: float) -> Vector:
    """BM25 of each document, term by term, as Lucene has it: no (k₁ + 1), and an idf that is never negative."""
    average = math.fsum(len(document) for document in documents) / len(documents)
    scores = []
    for document in documents:
        score = 0.0
        for term in query:
            frequency = document.count(term)
            holders = sum(term in other for other in documents)
            idf = math.log(1.0 + (len(documents) - holders + 0.5) / (holders + 0.5))
            score += idf * frequency / (frequency + k1 * (1.0 - b + b * len(document) / average))
        scores.append(score)
    return np.array(scores)


@cache
def edits(a: str, b: str) -> int:
    """How many insertions, deletions, replacements and swaps of neighbours turn ``a`` into ``b``, each place once."""
    if not a or not b:
        return len(a) + len(b)
    ways = [edits(a[1:], b) + 1, edits(a, b[1:]) + 1, edits(a[1:], b[1:]) + (a[0] != b[0])]
    if len(a) > 1 and len(b) > 1 and (a[0], a[1]) == (b[1], b[0]):
        ways.append(edits(a[2:], b[2:]) + 1)
    return min(ways)


def _terms(
    weights: Weights, config: EncoderConfig, terms: Sequence[Sequence[int]]
) -> tuple[list[Vector], list[Vector], list[float]]:
    """Every term's vector, marks and breadth, from its features' rows of the table."""
    vectors, marks, breadths = [], [], []
    places = config.dim - config.presence
    for features in terms:
        rows = [weights["embedding.table.weight"][feature] for feature in features]
        total = np.sum(rows, axis=0) / math.sqrt(len(rows))
        vectors.append(total[:places])
        marks.append(np.array([_MARK * math.tanh(value / _MARK) for value in total[places:]]))
        breadths.append(sum(weights["embedding.breadth"][feature] for feature in features) / math.sqrt(len(features)))
    return vectors, marks, breadths


def _presence_box(weights: Weights, marks: Sequence[Vector]) -> tuple[Vector, Vector]:
    """Lower and upper faces of what all of a query's terms ask for, axis by axis."""
    low = [max(-_MARK, *(mark[axis] - _SLACK for mark in marks)) for axis in range(len(marks[0]))]
    return _MARK_LENGTH * np.array(low), np.full(len(low), _MARK_LENGTH * _CEILING * _MARK)


def _thickness(points: Sequence[Vector], weights: Sequence[float], *, c: float) -> float:
    """What a weighted sum of points is divided by to lie on the sheet: √(−c⟨s,s⟩_L), or Σ weights if c is 0."""
    if c == 0:
        return math.fsum(weights)
    ambient = [np.array([math.sqrt(1.0 / c + float(row @ row)), *row]) for row in points]
    total = np.sum([w * vector for w, vector in zip(weights, ambient, strict=True)], axis=0)
    return math.sqrt(c * (float(total[0]) ** 2 - float(total[1:] @ total[1:])))


def _head(weights: Weights, config: EncoderConfig, name: str, point: Vector, *, stretch: float) -> Vector:
    c, radius = config.curvature, config.radius
    norm = float(np.linalg.norm(point))
    tangent = point if c == 0 or norm == 0 else point / norm * math.asinh(math.sqrt(c) * norm) / math.sqrt(c)
    mapped = stretch * _linear(weights, f"{name}.linear", tangent)
    if not config.spherical:
        return place(mapped, radius=radius, c=c)
    reach = radius if c == 0 else math.sinh(math.sqrt(c) * radius) / math.sqrt(c)
    return np.asarray(mapped / np.linalg.norm(mapped) * reach)


def _bounded_exp(value: float, reach: float = _REACH) -> float:
    return math.exp(reach * math.tanh(value / reach))


def _linear(weights: Weights, name: str, vector: Vector) -> Vector:
    product = weights[f"{name}.weight"] @ vector
    return np.asarray(product + weights[f"{name}.bias"] if f"{name}.bias" in weights else product)


def _softmax(logits: Sequence[float]) -> list[float]:
    powers = [math.exp(logit - max(logits)) for logit in logits]
    return [power / math.fsum(powers) for power in powers]


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values) if values else 0.0


def _decimals(x: ArrayLike) -> list[Decimal]:
    return [Decimal(value) for value in _floats(x)]


def _floats(x: ArrayLike) -> list[float]:
    return [float(value) for value in np.asarray(x, dtype=np.float64)]
