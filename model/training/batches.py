"""Training batches: judged queries with all their products, and pseudo-queries with the titles they came from.

Every product of a batch is a candidate of every query of it, so a batch's products are one shared list and its gains a
matrix, (Q, P).
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from model.text import TermBatch, words
from model.training.phrasing import Phrasing
from model.training.pseudo import answers, cut_for_split, typed_by_hand

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from model.text import Tokenizer
    from model.training.examples import Examples, Grades

GAINS = np.array([0.0, 0.0, 0.0, 0.1, 0.5, 0.8, 1.0], dtype=np.float32)
"""What a product of grade 0 to 6 gains in a listwise loss."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Q queries, judged ones first, and P products.

    ``gains`` (Q, P) tells how much each product answers each query, ``grades`` (J, P) int8 the judges' grades of the J
    judged queries, −1 where there is none.
    """

    queries: TermBatch
    products: TermBatch
    gains: NDArray[np.float32]
    grades: NDArray[np.int8]


@dataclass(frozen=True, slots=True)
class BatchShape:
    """How many queries of each kind a batch holds, and what is left out at random."""

    judged: int = 192
    pseudo: int = 384
    products_per_query: int = 12
    word_dropout: float = 0.1
    """Share of whole-word features left out, so that trigrams learn to stand alone."""
    query_dropout: float = 0.1
    """Share of terms left out of judged queries, which are few and seen often: never twice alike."""
    title_dropout: float = 0.03
    """Share of terms left out of titles."""


class BatchSource:
    """Batches by number: batch n is a function of the seed and n, so a resumed run sees what it would have seen."""

    def __init__(self, examples: Examples, tokenizer: Tokenizer, shape: BatchShape, *, seed: int) -> None:
        self._seed = seed
        self._shape = shape
        self._tokenizer = tokenizer
        self._graded: Mapping[str, Grades] = examples.train
        self._judged = list(examples.train)
        self._titles = tokenizer.titles(examples.texts)
        limit = tokenizer.vocabulary.max_title_terms
        self._title_words = [words(text)[:limit] for text in examples.texts]
        self._phrasing = Phrasing.learn(self._title_words, examples.train)

    def batch(self, number: int) -> Batch:
        """Draw batch ``number``."""
        rng = random.Random(f"{self._seed}/{number}")
        shape = self._shape
        judged = rng.sample(self._judged, min(shape.judged, len(self._judged)))
        pseudo_count = shape.pseudo + shape.judged - len(judged)
        pseudo = cut_for_split(self._title_words, self._phrasing, rng, count=pseudo_count, split="train")
        columns: dict[int, int] = {}
        for row in [row for query in judged for row in self._some_products(query, rng)] + [row for row, _ in pseudo]:
            columns.setdefault(row, len(columns))
        gains = np.zeros((len(judged) + len(pseudo), len(columns)), dtype=np.float32)
        grades = np.full((len(judged), len(columns)), -1, dtype=np.int8)
        for i, query in enumerate(judged):
            graded = self._graded[query]
            for row in graded.keys() & columns.keys():  # another query may have brought along an answer of this one
                grades[i, columns[row]] = graded[row]
        gains[: len(judged)] = np.where(grades >= 0, GAINS[grades], 0.0)
        queries = [query for _, query in pseudo]
        gains[len(judged) :] = answers(queries, [self._title_words[row] for row in columns])
        typed = [" ".join(typed_by_hand(words(text), rng)) for text in judged]
        batch = self._tokenizer.queries(typed + [query.text for query in queries])
        dropout = np.random.default_rng((self._seed, number))
        terms = batch.terms.copy()
        terms[: len(judged)] = _drop_terms(terms[: len(judged)], self._shape.query_dropout, dropout)
        return Batch(
            queries=TermBatch(features=self._drop_words(batch.features, dropout), terms=terms),
            products=self._titles_of(np.fromiter(columns, dtype=np.int64), dropout),
            gains=gains,
            grades=grades,
        )

    def _some_products(self, query: str, rng: random.Random) -> list[int]:
        """At most ``products_per_query`` of a judged query's products."""
        graded = self._graded[query]
        return rng.sample(list(graded), min(self._shape.products_per_query, len(graded)))

    def _titles_of(self, rows: NDArray[np.int64], dropout: np.random.Generator) -> TermBatch:
        """The titles of ``rows``, with the features of the terms that they use."""
        used, terms = np.unique(self._titles.terms[rows], return_inverse=True)
        if used[0] != 0:  # no title was padded: the padding term still has to be row 0
            used, terms = np.concatenate([[0], used]), terms + 1
        return TermBatch(
            features=self._drop_words(self._titles.features[used], dropout),
            terms=_drop_terms(terms.reshape(len(rows), -1), self._shape.title_dropout, dropout),
        )

    def _drop_words(self, features: NDArray[np.int64], dropout: np.random.Generator) -> NDArray[np.int64]:
        # a word's own feature comes first; its trigrams always stay, so no term is left without features
        kept = features.copy()
        is_word = features[:, 0] >= self._tokenizer.vocabulary.first_word
        kept[is_word & (dropout.random(len(features)) < self._shape.word_dropout), 0] = 0
        return kept


def _drop_terms(terms: NDArray[np.int64], share: float, dropout: np.random.Generator) -> NDArray[np.int64]:
    """``terms`` (B, L) with a share of them left out, though never all of a text's; padding stays at the end."""
    kept = np.where(dropout.random(terms.shape) < share, 0, terms)
    kept = np.where(kept.any(axis=1, keepdims=True), kept, terms)
    return np.take_along_axis(kept, np.argsort(kept == 0, axis=1, kind="stable"), axis=1)
