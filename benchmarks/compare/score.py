"""Scoring: what a ranker must answer, and its metrics in the two protocols."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from model.metrics import RETRIEVE_DEPTH, measure

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch import Tensor

    from benchmarks.compare.data import Shop, Split

_PART = 64

Metrics = dict[str, dict[str, float]]
"""Metrics by protocol and name."""


class Ranker(Protocol):
    """A system made ready to rank one shop's products."""

    def nearest(self, queries: Sequence[str]) -> list[list[int]]:
        """Rows of the best products for each query, best first, at most ``RETRIEVE_DEPTH``."""

    def scores(self, queries: Sequence[str], rows: Sequence[Sequence[int]]) -> list[list[float]]:
        """How well each listed row answers its query; larger is better."""


class VectorRanker:
    """Inner products of encoded queries with the products' vectors, all of them."""

    def __init__(self, encode: Callable[[Sequence[str]], Tensor], products: Tensor) -> None:
        self._encode = encode
        self._products = products

    def nearest(self, queries: Sequence[str]) -> list[list[int]]:
        """Rows of the largest inner products."""
        depth = min(RETRIEVE_DEPTH, len(self._products))
        found: list[list[int]] = (self._encode(queries) @ self._products.T).topk(depth, dim=1).indices.tolist()
        return found

    def scores(self, queries: Sequence[str], rows: Sequence[Sequence[int]]) -> list[list[float]]:
        """Inner products with the listed rows."""
        vectors = self._encode(queries)
        return [(self._products[list(row)] @ vector).tolist() for row, vector in zip(rows, vectors, strict=True)]


def evaluate(ranker: Ranker, shop: Shop, split: Split) -> Metrics:
    """Metrics of both protocols over the queries of ``split``, products being judged by their rows."""
    graded = shop.judged[split]
    queries = list(graded)
    retrieved: dict[str, dict[str, float]] = {}
    ranked: dict[str, dict[str, float]] = {}
    for start in range(0, len(queries), _PART):
        part = queries[start : start + _PART]
        for query, rows in zip(part, ranker.nearest(part), strict=True):
            # scores that fall with the rank, so that equal ones are measured in the order given
            retrieved[query] = {str(row): -float(rank) for rank, row in enumerate(rows)}
        judged = [list(graded[query]) for query in part]
        for query, rows, scores in zip(part, judged, ranker.scores(part, judged), strict=True):
            ranked[query] = {str(row): score for row, score in zip(rows, scores, strict=True)}
    qrels = {query: {str(row): grade for row, grade in rows.items()} for query, rows in graded.items()}
    return {"retrieve": measure(retrieved, qrels, "retrieve"), "rank": measure(ranked, qrels, "rank")}
