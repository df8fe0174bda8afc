"""BM25 by bm25s with an English stemmer and stop words: a system to beat, and the candidates of those that re-rank."""

from __future__ import annotations

from typing import TYPE_CHECKING

import bm25s
import Stemmer

from model.metrics import RETRIEVE_DEPTH

if TYPE_CHECKING:
    from collections.abc import Sequence


class Bm25:
    """A :class:`~benchmarks.compare.score.Ranker` that needs no training."""

    def __init__(self, texts: Sequence[str]) -> None:
        self._stemmer = Stemmer.Stemmer("english")
        self._index = bm25s.BM25()
        tokens = bm25s.tokenize(list(texts), stopwords="en", stemmer=self._stemmer, show_progress=False)
        self._index.index(tokens, show_progress=False)
        self._depth = min(RETRIEVE_DEPTH, len(texts))
        self._nearest: dict[str, list[int]] = {}

    def nearest(self, queries: Sequence[str]) -> list[list[int]]:
        """The best rows for each query that share a word with it, best first; remembered from call to call."""
        new = [query for query in queries if query not in self._nearest]
        if new:
            rows, scores = self._index.retrieve(self._tokens(new), k=self._depth, show_progress=False)
            for query, found, values in zip(new, rows.tolist(), scores.tolist(), strict=True):
                self._nearest[query] = [row for row, value in zip(found, values, strict=True) if value > 0]
        return [self._nearest[query] for query in queries]

    def scores(self, queries: Sequence[str], rows: Sequence[Sequence[int]]) -> list[list[float]]:
        """The score of each listed row for its query."""
        found = []
        for tokens, listed in zip(self._tokens(queries), rows, strict=True):
            # bm25s refuses a query of stop words alone
            found.append(self._index.get_scores(tokens)[list(listed)].tolist() if tokens else [0.0] * len(listed))
        return found

    def _tokens(self, queries: Sequence[str]) -> list[list[str]]:
        return bm25s.tokenize(
            list(queries), stopwords="en", stemmer=self._stemmer, return_ids=False, show_progress=False
        )
