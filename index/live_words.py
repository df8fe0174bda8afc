"""The words of live products: postings that grow, scored by the BM25 of the snapshot they come after."""

from __future__ import annotations

import math
from array import array
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Corpus:
    """What BM25 knows of the texts of a snapshot: how many, their mean length, how many have a term; and its k₁, b."""

    texts: int
    average_length: float
    frequency: Callable[[str], int]
    k1: float
    b: float


class LiveWords:
    """BM25 of texts that are added in row order; one thread adds, any number score the rows that they know of.

    A term weighs what it weighs in the snapshot, so a product that changes its price keeps its score; a term that the
    snapshot lacks weighs by how many of all texts have it.
    """

    def __init__(self, corpus: Corpus) -> None:
        self._corpus = corpus
        self._postings: dict[str, _Postings] = {}
        self._texts = 0

    def append(self, row: int, terms: Sequence[str]) -> None:
        """Add the text in ``row``, which has these terms, repeated ones repeated."""
        self._texts += 1
        corpus = self._corpus
        damping = corpus.k1 * (1.0 - corpus.b + corpus.b * len(terms) / corpus.average_length)
        for term, count in Counter(terms).items():
            weight = count / (damping + count)
            postings = self._postings.get(term)
            if postings is None:
                self._postings[term] = _Postings(array("q", (row,)), array("f", (weight,)))
            else:
                # weights first: whoever sees the row sees its weight
                postings.weights.append(weight)
                postings.rows.append(row)

    def has(self, term: str) -> bool:
        """Whether any of the texts has ``term``."""
        return term in self._postings

    def scores(self, terms: Sequence[str], rows: int) -> NDArray[np.float32]:
        """BM25 of the first ``rows`` texts for a query of ``terms``, repeated ones repeated."""
        scores = np.zeros(rows, dtype=np.float32)
        for term in terms:
            postings = self._postings.get(term)
            if postings is not None:
                found, weights = postings.first(rows)
                scores[found] += np.float32(self._weight(term)) * weights
        return scores

    def _weight(self, term: str) -> float:
        """Lucene's inverse document frequency."""
        texts, having = self._corpus.texts, self._corpus.frequency(term)
        if not having:
            texts, having = texts + self._texts, len(self._postings[term].rows)
        return math.log(1.0 + (texts - having + 0.5) / (having + 0.5))


@dataclass(frozen=True, slots=True)
class _Postings:
    """The rows (P) of the texts that have a term, rising, and how much it counts in each (P), one at least.

    There are very many of them, most very short: to add to a list of numbers of Python's costs a tenth of what NumPy's
    would.
    """

    rows: array[int]
    weights: array[float]

    def first(self, rows: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Those of the first ``rows`` texts."""
        # copies: an array that is looked into cannot grow
        found = np.frombuffer(self.rows[:], dtype=np.int64)
        weights = np.frombuffer(self.weights[: len(found)], dtype=np.float32)
        count = np.searchsorted(found, rows)
        return found[:count], weights[:count]
