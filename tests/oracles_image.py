"""The image channel's formulas, slowly and in float64, one number at a time, as the papers print them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import oracles

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike

    from model.image.surface import Surface


def squared(x: ArrayLike, y: ArrayLike, surface: Surface) -> float:
    """d² of two points."""
    return oracles.dist(x, y, c=surface.curvature) ** 2


def proxy_nca(squares: ArrayLike, labels: Sequence[int], *, scale: float) -> float:
    """Proxy-NCA as published, over all proxies but the right one, turned into the softmax that has it as well.

    The published loss is log((1 − p)/p) of the right proxy's probability p, and the other −log p.
    """
    losses = []
    for row, own in zip(np.asarray(squares, dtype=float), labels, strict=True):
        others = math.fsum(math.exp(-scale * value) for place, value in enumerate(row) if place != own)
        published = -math.log(math.exp(-scale * row[own]) / others)
        probability = 1 / (1 + math.exp(published))
        losses.append(published - math.log(1 - probability))
    return math.fsum(losses) / len(losses)


def proxy_anchor(cosines: ArrayLike, labels: Sequence[int], *, alpha: float, delta: float) -> float:
    """Proxy-Anchor of pictures × proxies."""
    s = np.asarray(cosines, dtype=float)
    pulled, pushed, with_pictures = 0.0, 0.0, 0
    for proxy in range(s.shape[1]):
        own = [s[i, proxy] for i, label in enumerate(labels) if label == proxy]
        others = [s[i, proxy] for i, label in enumerate(labels) if label != proxy]
        if own:
            with_pictures += 1
            pulled += math.log(1 + math.fsum(math.exp(-alpha * (value - delta)) for value in own))
        pushed += math.log(1 + math.fsum(math.exp(alpha * (value + delta)) for value in others))
    return pulled / with_pictures + pushed / s.shape[1]


def map_at_r(points: ArrayLike, labels: Sequence[int], surface: Surface) -> float:
    """MAP@R, each picture a query for all the others."""
    rows = np.asarray(points, dtype=float)
    found = []
    for query, label in enumerate(labels):
        others = [row for row in range(len(rows)) if row != query]
        wanted = sum(labels[row] == label for row in others)
        if not wanted:
            continue
        order = sorted(others, key=lambda row: (squared(rows[query], rows[row], surface), row))
        right, total = 0, 0.0
        for rank, row in enumerate(order[:wanted], start=1):
            if labels[row] == label:
                right += 1
                total += right / rank
        found.append(total / wanted)
    return math.fsum(found) / len(found)
