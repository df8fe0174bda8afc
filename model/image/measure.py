"""How well pictures find their like: R@k and MAP@R among themselves, and how far off the mistakes are.

Every picture is a query for all the others. One that is alone in its class has nothing to find and does not count. The
measures are those of the field: R@k asks whether any of the k nearest is of the query's class; MAP@R is the mean of the
precisions at the ranks of the right ones among the R nearest, R being how many there are (Musgrave et al. 2020).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from model.image.surface import Surface

RANKS = (1, 2, 4, 8)
_QUERIES = 512


def nearest(points: NDArray[np.float32], surface: Surface, depth: int) -> NDArray[np.int64]:
    """The ``depth`` nearest others of each of ``points`` (N, d), nearest first: (N, ≤ depth)."""
    exact = points.astype(np.float64)
    depth = min(depth, len(points) - 1)
    found = np.empty((len(points), depth), dtype=np.int64)
    for start in range(0, len(points), _QUERIES):
        rows = np.arange(start, min(start + _QUERIES, len(points)))
        squares = surface.squares(exact[rows], exact)
        squares[np.arange(len(rows)), rows] = np.inf
        found[rows] = np.argsort(squares, axis=1, kind="stable")[:, :depth]
    return found


def retrieval(points: NDArray[np.float32], labels: NDArray[np.int64], surface: Surface) -> dict[str, float]:
    """R@1, R@2, R@4, R@8 and MAP@R of ``points`` (N, d) of the classes ``labels`` (N); all zero if nothing counts."""
    others = np.bincount(labels)[labels] - 1
    counted = np.flatnonzero(others > 0)
    if not len(counted):
        return {**{f"R@{rank}": 0.0 for rank in RANKS}, "MAP@R": 0.0}
    found = nearest(points, surface, max(*RANKS, int(others.max())))[counted]
    right = labels[found] == labels[counted, None]
    ranks = np.arange(1, right.shape[1] + 1)
    within = ranks <= others[counted, None]
    precision = np.cumsum(right, axis=1) / ranks
    average = (precision * right * within).sum(axis=1) / others[counted]
    return {
        **{f"R@{rank}": float(right[:, :rank].any(axis=1).mean()) for rank in RANKS},
        "MAP@R": float(average.mean()),
    }


def mistakes(
    points: NDArray[np.float32], labels: NDArray[np.int64], nodes: Sequence[NDArray[np.int64]], surface: Surface
) -> dict[str, float]:
    """How reasonable the wrong nearest ones are: the share that is in the right node of each of ``nodes``.

    Args:
        points: (N, d).
        labels: (N) classes; a picture alone in its class does not count.
        nodes: the node (N) of each picture on coarser levels, finest first.
        surface: where the points lie.

    Returns:
        ``wrong``, the share of queries whose nearest is of another class, and of those ``level1``, ``level2`` and so
        on, the shares that share the query's node there; zero where no query went wrong.
    """
    counted = np.flatnonzero(np.bincount(labels)[labels] > 1)
    first = nearest(points, surface, 1)[counted, 0]
    wrong = labels[first] != labels[counted]
    shares = {
        f"level{level}": float((node[first] == node[counted])[wrong].mean()) if wrong.any() else 0.0
        for level, node in enumerate(nodes, start=1)
    }
    return {"wrong": float(wrong.mean()) if len(counted) else 0.0, **shares}
