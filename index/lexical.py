"""The lexical channel: BM25 over the words of the same text that the encoder sees.

Words are those of :func:`model.text.words`, stemmed by the English Snowball stemmer, which leaves other scripts as they
are. Nothing is a stop word: in a product's title ``in`` is a unit, and what is everywhere weighs next to nothing
anyway. A query's words that the catalogue lacks are corrected (:mod:`index.spelling`), and two words that the catalogue
also writes as one (``dish washer``) count as that one too.
"""

from __future__ import annotations

from array import array
from collections import Counter
from functools import lru_cache
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple, Self

import bm25s
import numpy as np
import orjson
import Stemmer

from index.live_words import Corpus, LiveWords
from index.spelling import DELETIONS, WORDS, Spelling
from model.text import words

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

LEXICAL = "lexical"
LEXICAL_CANDIDATES = 200
"""Products of highest BM25 that join the candidates of a hybrid search, at least."""

_BM25_FILES = {
    "data_name": "scores.npy",
    "indices_name": "rows.npy",
    "indptr_name": "starts.npy",
    "vocab_name": "terms.json",
    "params_name": "bm25.json",
}
CORPUS = "corpus.json"
FILES = (*_BM25_FILES.values(), CORPUS, WORDS, DELETIONS)
"""Names of all files of a lexical index."""

_K1 = 0.6
"""Saturation: less than the usual 1.2 to 2, as a word that a title repeats says little more."""
_B = 0.75
_SHORTEST_JOIN = 4


class Wording(NamedTuple):
    """What BM25 says of one row for one text: its ``score``, and which of the corrected text's words the row has.

    A word that the row has only as one with its neighbour counts as had.
    """

    score: float
    shared: tuple[str, ...]
    missing: tuple[str, ...]


class LexicalWriter:
    """Collects texts in row order, then writes their index."""

    def __init__(self) -> None:
        self._stemmer = _stemmer()
        self._terms: dict[str, int] = {}
        self._term_of_word: dict[str, int] = {}
        self._counts: Counter[str] = Counter()
        self._rows: list[array[int]] = []

    def append(self, texts: Iterable[str]) -> None:
        """Add ``texts``, in row order."""
        for text in texts:
            found = words(text)
            self._counts.update(found)
            self._rows.append(array("I", map(self._term, found)))

    def save(self, directory: Path) -> None:
        """Index what was added, one row at least, and write it to ``directory``, which is made."""
        index = bm25s.BM25(k1=_K1, b=_B, method="lucene")
        index.index((self._rows, self._terms), create_empty_token=False, show_progress=False)
        index.save(directory, show_progress=False, allow_pickle=False, **_BM25_FILES)
        average = sum(map(len, self._rows)) / len(self._rows)
        (directory / CORPUS).write_bytes(orjson.dumps({"average_length": average}))
        Spelling.learn(self._counts).save(directory)

    def _term(self, word: str) -> int:
        term = self._term_of_word.get(word)
        if term is None:
            term = self._terms.setdefault(self._stemmer.stemWord(word), len(self._terms))
            self._term_of_word[word] = term
        return term


class LexicalIndex:
    """BM25 of every row of a snapshot, and of live rows after them; safe to use from several threads at once."""

    def __init__(self, index: bm25s.BM25, spelling: Spelling, *, average_length: float) -> None:
        self._index = index
        self._spelling = spelling
        self._corpus = Corpus(len(self), average_length, lambda term: len(_rows(index, term)), k1=_K1, b=_B)
        self.live = LiveWords()
        """The words of the live rows."""

    @classmethod
    def load(cls, directory: Path) -> Self:
        """Map what :class:`LexicalWriter` wrote into memory.

        Raises:
            ValueError: the files are not such an index.
        """
        try:
            index = bm25s.BM25.load(directory, mmap=True, allow_pickle=False, show_progress=False, **_BM25_FILES)
            corpus = orjson.loads((directory / CORPUS).read_bytes())
            return cls(index, Spelling.load(directory), average_length=corpus["average_length"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ValueError(f"{directory} holds no lexical index: {error}") from error

    def __len__(self) -> int:
        return int(self._index.scores["num_docs"])

    def corrected(self, text: str, *, knows: Callable[[str], bool] = lambda _: False) -> str:
        """``text`` with every word that the catalogue lacks corrected, or as it is if there is none to correct.

        A word that the catalogue lacks and its neighbour become one where the catalogue has them as one. What the
        reader ``knows`` of itself is left alone: shoppers have words that no title has.
        """
        found = words(text)
        corrected = self._correct(found, knows)
        return text if corrected == found else " ".join(corrected)

    def scores(self, text: str, *, live: int = 0) -> NDArray[np.float32]:
        """BM25 of every row for the corrected ``text``, and of the first ``live`` rows after them (N + live), float32.

        It is 0 where they share no word.
        """
        found = self._correct(words(text))
        terms = [*_stems(found), *_stems(_joins(found))]
        scores: NDArray[np.float32] = self._index.get_scores_from_ids(self._index.get_tokens_ids(terms))
        return np.concatenate((scores, self.live.scores(terms, live, self._corpus))) if live else scores

    def holding(self, text: str, *, live: int = 0) -> NDArray[np.int64]:
        """The rows (K), rising, that hold every word of the corrected ``text``, of as many as :meth:`scores` scores.

        Two neighbouring words are held by the one that they make, too.
        """
        terms = set(self._ways(text).values())
        if not terms:
            return np.empty(0, dtype=np.int64)
        fewest, *others = sorted((self._having(either, live) for either in terms), key=len)
        for rows in others:
            fewest = fewest[np.isin(fewest, rows, assume_unique=True)]
        return fewest

    def wording(self, text: str, row: int, *, live: int = 0) -> Wording:
        """What BM25 says of ``row`` for ``text``, of as many rows as :meth:`scores` scores."""
        had = {word: bool(np.isin(row, self._having(either, live))) for word, either in self._ways(text).items()}
        return Wording(
            score=float(self.scores(text, live=live)[row]),
            shared=tuple(word for word, has in had.items() if has),
            missing=tuple(word for word, has in had.items() if not has),
        )

    def search(self, text: str, count: int) -> NDArray[np.int64]:
        """Up to ``count`` rows (K) that share a word with the corrected ``text``, the highest BM25 first."""
        return best(self.scores(text), count)

    def _ways(self, text: str) -> dict[str, frozenset[str]]:
        """The words of the corrected ``text``, each with the terms of which one is enough to hold it."""
        found = self._correct(words(text))
        joins = [_join(*pair) for pair in pairwise(found)]
        # each word as itself, and as one with the word before it and the word after it
        beside = zip(found, [None, *joins], [*joins, None], strict=False)
        return {each[0]: frozenset(_stems([way for way in each if way is not None])) for each in beside}

    def _having(self, terms: Iterable[str], live: int) -> NDArray[np.int64]:
        """The rows, rising, that have any of ``terms``, of the snapshot and of the first ``live`` after it."""
        rows: list[NDArray[np.int32] | NDArray[np.int64]] = []
        for term in terms:
            rows += [_rows(self._index, term), self.live.having(term, live) + len(self)]
        return np.unique(np.concatenate(rows))

    def _correct(self, found: Sequence[str], knows: Callable[[str], bool] = lambda _: False) -> list[str]:
        corrected: list[str] = []
        rest = list(reversed(found))
        while rest:
            word = rest.pop()
            if rest and (joined := self._joined(word, rest[-1])):
                corrected.append(joined)
                rest.pop()
            else:
                corrected += [word] if self._knows(word) or knows(word) else self._spelling.corrected(word)
        return corrected

    def _joined(self, first: str, second: str) -> str | None:
        """Two words as one, if the catalogue has that one and lacks one of the two."""
        joined = _join(first, second)
        if joined is None or not self._knows(joined) or (self._knows(first) and self._knows(second)):
            return None
        return joined

    def _knows(self, word: str) -> bool:
        stem = _stem(word)
        return stem in self._index.vocab_dict or self.live.has(stem)


def best(scores: NDArray[np.float32], count: int) -> NDArray[np.int64]:
    """Up to ``count`` rows of positive ``scores`` (N), the highest first, equal scores by row."""
    kept = np.flatnonzero(scores > 0)
    if len(kept) > count:
        # every row that scores as the last of them does: which of those are taken is the row number's to say
        kept = kept[scores[kept] >= np.partition(scores[kept], -count)[-count]]
    return kept[np.lexsort((kept, -scores[kept]))][:count]


def terms_of(text: str) -> list[str]:
    """What the words of ``text`` are indexed as, in their order."""
    return _stems(words(text))


def _rows(index: bm25s.BM25, term: str) -> NDArray[np.int32]:
    """The rows of ``index`` that have ``term``, as it holds them."""
    number = index.vocab_dict.get(term)
    if number is None:
        return np.empty(0, dtype=np.int32)
    starts, rows = index.scores["indptr"], index.scores["indices"]
    found: NDArray[np.int32] = rows[starts[number] : starts[number + 1]]
    return found


def _joins(found: Sequence[str]) -> list[str]:
    """Neighbouring words written as one."""
    return [joined for pair in pairwise(found) if (joined := _join(*pair))]


def _join(first: str, second: str) -> str | None:
    """Two words written as one, but not numbers and nothing short."""
    joined = first + second
    return joined if len(joined) >= _SHORTEST_JOIN and joined.isalpha() else None


def _stems(found: Sequence[str]) -> list[str]:
    return [_stem(word) for word in found]


@lru_cache(maxsize=1 << 16)
def _stem(word: str) -> str:
    # a stemmer of its own each time, as none may be shared between threads; kept are the stems
    stem: str = _stemmer().stemWord(word)
    return stem


def _stemmer() -> Stemmer.Stemmer:
    return Stemmer.Stemmer("english")
