"""The words of live products: postings that grow, scored by the BM25 of the snapshot they come after."""

from __future__ import annotations

import math
from array import array
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from index.growing import Growing

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
    """The words of texts that are added in row order; one thread adds, any number score the rows that they know of.

    They are scored by the BM25 of a snapshot: a term weighs what it weighs there, so a product that changes its price
    keeps its score; a term that the snapshot lacks weighs by how many of all texts have it.
    """

    def __init__(self) -> None:
        self._postings: dict[str, _Postings] = {}
        self._lengths: Growing[np.float32] = Growing(np.float32)

    def extend(self, texts: Sequence[Sequence[str]]) -> None:
        """Add texts, each as its terms, repeated ones repeated."""
        start = len(self._lengths)
        self._lengths.extend([len(terms) for terms in texts])
        for row, terms in enumerate(texts, start):
            for term, count in Counter(terms).items():
                postings = self._postings.get(term)
                if postings is None:
                    self._postings[term] = _Postings(array("q", (row,)), array("f", (count,)))
                else:
                    # counts first: whoever sees the row sees its count
                    postings.counts.append(count)
                    postings.rows.append(row)

    def has(self, term: str) -> bool:
        """Whether any of the texts has ``term``."""
        return term in self._postings

    def having(self, term: str, rows: int) -> NDArray[np.int64]:
        """Which of the first ``rows`` texts have ``term`` (K), rising."""
        postings = self._postings.get(term)
        return np.empty(0, dtype=np.int64) if postings is None else postings.first(rows)[0]

    def scores(self, terms: Sequence[str], rows: int, corpus: Corpus) -> NDArray[np.float32]:
        """BM25 of the first ``rows`` texts for a query of ``terms``, repeated ones repeated, as ``corpus`` has it."""
        scores = np.zeros(rows, dtype=np.float32)
        lengths = self._lengths.view
        for term in terms:
            postings = self._postings.get(term)
            if postings is not None:
                found, counts = postings.first(rows)
                damping = corpus.k1 * (1.0 - corpus.b + corpus.b / corpus.average_length * lengths[found])
                scores[found] += np.float32(self._weight(term, corpus)) * (counts / (damping + counts))
        return scores

    def _weight(self, term: str, corpus: Corpus) -> float:
        """Lucene's inverse document frequency."""
        texts, having = corpus.texts, corpus.frequency(term)
        if not having:
            texts, having = texts + len(self._lengths), len(self._postings[term].rows)
        return math.log(1.0 + (texts - having + 0.5) / (having + 0.5))


@dataclass(frozen=True, slots=True)
class _Postings:
    """The rows (P) of the texts that have a term, rising, and how often each has it (P), one at least.

    There are very many of them, most very short: to add to a list of numbers of Python's costs a tenth of what NumPy's
    would.
    """

    rows: array[int]
    counts: array[float]

    def first(self, rows: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Those of the first ``rows`` texts."""
        # copies: an array that is looked into cannot grow
        found = np.frombuffer(self.rows[:], dtype=np.int64)
        counts = np.frombuffer(self.counts[: len(found)], dtype=np.float32)
        known = np.searchsorted(found, rows)
        return found[:known], counts[:known]
