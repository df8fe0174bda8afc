"""Text into terms, and terms into features: the one tokeniser that training and serving share.

A text is normalised (compatibility forms, no accents, no case) and cut into words: runs of letters, and numbers with
their fractions, so that ``4x8`` and ``4 x 8`` read alike. Marks that are more of a letter than an accent on it, such as
the vowel signs of India's scripts, stay with theirs. Words are the *terms* by default; with ``terms="trigram"``
every overlapping character trigram is a term of its own, as in the ANTHEM paper. A term is described by *features*: the
word itself if the vocabulary has it, and its trigrams, ``#`` marking the word's ends. A trigram that the vocabulary
lacks falls into one of a few hash buckets, so an unknown word still finds its own kind.
"""

from __future__ import annotations

import re
import unicodedata
import zlib
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

_WORD = re.compile(r"\d+(?:[./]\d+)*|[^\W\d_]+")
_MIXED_NUMBER = re.compile(r"(?<=\d)(?=[¼-¾⅐-⅞↉])")
_FRACTION_SLASH = {0x2044: "/"}  # NFKD writes ½ with U+2044
# Soft hyphens, joiners and variation selectors: inside of words, and seen by nobody.
_UNSEEN = dict.fromkeys((0xAD, 0x34F, 0x200C, 0x200D, *range(0xFE00, 0xFE10), *range(0xE0100, 0xE01F0)))

PADDING = 0
HASH_BUCKETS = 1024
MAX_FEATURES = 24

Terms = Literal["word", "trigram"]


def normalize(text: str) -> str:
    """Case-folded text in compatibility form, without accents; ``1½`` becomes ``1 1/2``."""
    apart = _MIXED_NUMBER.sub(" ", text.translate(_UNSEEN))
    # twice: compatibility forms may bring capitals (™), and folding may bring what decomposes
    folded = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", apart).casefold())
    return "".join(char for char in folded.translate(_FRACTION_SLASH) if not _is_accent(unicodedata.combining(char)))


def words(text: str) -> list[str]:
    """The words of ``text`` in order: runs of letters, and numbers such as ``12``, ``0.5`` or ``3/4``."""
    if text.isascii():
        return _WORD.findall(text.lower())
    normal = normalize(text)
    return [normal[found.start() : found.end()] for found in _WORD.finditer(_lettered(normal))]


def _is_accent(combining_class: int) -> bool:
    """Whether marks of a canonical combining class may be left out.

    They may if they are points of Hebrew and Arabic (10 to 35), laid over a letter (1) or put beside it (200 up). What
    is in between and below, such as nuktas, viramas, voicing marks and the vowels of Thai, makes another letter.
    """
    return combining_class == 1 or 10 <= combining_class <= 35 or combining_class >= 200


def _lettered(text: str) -> str:
    """``text`` with a letter for every mark that follows one: to a regular expression a mark is none."""
    if not any(unicodedata.category(char).startswith("M") for char in text):
        return text
    seen: list[str] = []
    for char in text:
        after_letter = bool(seen) and seen[-1].isalpha()
        seen.append("a" if after_letter and unicodedata.category(char).startswith("M") else char)
    return "".join(seen)


def trigrams(word: str) -> list[str]:
    """Overlapping character trigrams of ``#word#``: ``saw`` gives ``#sa``, ``saw``, ``aw#``."""
    marked = f"#{word}#"
    return [marked[i : i + 3] for i in range(max(1, len(marked) - 2))]


@dataclass(frozen=True, slots=True)
class TermBatch:
    """Texts as arrays, each distinct term described once.

    ``features`` (T, F) int64 holds the feature ids of the batch's T distinct terms, padded with 0; row 0 is the padding
    term. ``terms`` (B, L) int64 points into those rows, padded with 0.
    """

    features: NDArray[np.int64]
    terms: NDArray[np.int64]


class Vocabulary(BaseModel):
    """Everything a tokeniser must remember: written into the bundle as ``tokenizer.json``."""

    model_config = ConfigDict(frozen=True)

    terms: Terms
    max_query_terms: int
    max_title_terms: int
    trigrams: tuple[str, ...]
    words: tuple[str, ...]

    @classmethod
    def learn(
        cls,
        texts: Iterable[str],
        *,
        terms: Terms = "word",
        min_count: int = 2,
        max_query_terms: int | None = None,
        max_title_terms: int | None = None,
    ) -> Vocabulary:
        """Collect the trigrams and words seen at least ``min_count`` times in ``texts``, the most frequent first."""
        word_counts = Counter(word for text in texts for word in words(text))
        trigram_counts: Counter[str] = Counter()
        for word, count in word_counts.items():
            for trigram in trigrams(word):
                trigram_counts[trigram] += count
        default_query, default_title = (16, 40) if terms == "word" else (48, 160)
        return cls(
            terms=terms,
            max_query_terms=max_query_terms or default_query,
            max_title_terms=max_title_terms or default_title,
            trigrams=_frequent(trigram_counts, min_count),
            words=_frequent(word_counts, min_count) if terms == "word" else (),
        )

    @property
    def size(self) -> int:
        """Number of feature ids, padding and hash buckets included."""
        return self.first_word + len(self.words)

    @property
    def first_word(self) -> int:
        """The id of the first whole-word feature; ids below it are padding, hash buckets and trigrams."""
        return 1 + HASH_BUCKETS + len(self.trigrams)


class Tokenizer:
    """Texts to :class:`TermBatch` under a fixed vocabulary."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        self.vocabulary = vocabulary
        self._trigram_ids = {t: 1 + HASH_BUCKETS + i for i, t in enumerate(vocabulary.trigrams)}
        self._word_ids = {w: vocabulary.first_word + i for i, w in enumerate(vocabulary.words)}
        self._seen: dict[str, list[int]] = {}  # features of known words, so no larger than the vocabulary

    @classmethod
    def load(cls, path: Path) -> Tokenizer:
        """Read ``tokenizer.json``.

        Raises:
            ValueError: the file is not a vocabulary.
        """
        return cls(Vocabulary.model_validate_json(path.read_bytes()))

    def terms(self, text: str) -> list[str]:
        """The terms of ``text`` in order, as strings."""
        found = words(text)
        if self.vocabulary.terms == "word":
            return found
        return [trigram for word in found for trigram in trigrams(word)]

    def features(self, term: str) -> list[int]:
        """Feature ids of one term: its word feature, if known, then its trigrams; at most ``MAX_FEATURES``."""
        if self.vocabulary.terms == "trigram":
            return [self._trigram_id(term)]
        if (seen := self._seen.get(term)) is not None:
            return seen
        ids = [self._trigram_id(trigram) for trigram in trigrams(term)]
        if (word_id := self._word_ids.get(term)) is None:
            return ids[:MAX_FEATURES]
        return self._seen.setdefault(term, [word_id, *ids][:MAX_FEATURES])

    def knows(self, word: str) -> bool:
        """Whether the vocabulary has ``word`` as a whole; with trigram terms it has none."""
        return word in self._word_ids

    def batch(self, texts: Sequence[str], *, max_terms: int) -> TermBatch:
        """Tokenise ``texts``, each cut to ``max_terms`` terms."""
        rows: dict[str, int] = {}
        indices = [[rows.setdefault(term, len(rows) + 1) for term in self.terms(text)[:max_terms]] for text in texts]
        return TermBatch(
            features=pad([[], *(self.features(term) for term in rows)]),
            terms=pad(indices),
        )

    def queries(self, texts: Sequence[str]) -> TermBatch:
        """Tokenise queries."""
        return self.batch(texts, max_terms=self.vocabulary.max_query_terms)

    def titles(self, texts: Sequence[str]) -> TermBatch:
        """Tokenise product titles."""
        return self.batch(texts, max_terms=self.vocabulary.max_title_terms)

    def _trigram_id(self, trigram: str) -> int:
        known = self._trigram_ids.get(trigram)
        return 1 + zlib.crc32(trigram.encode()) % HASH_BUCKETS if known is None else known


def pad(rows: Sequence[Sequence[int]]) -> NDArray[np.int64]:
    """Ragged rows of ids as one array (len(rows), longest ≥ 1), filled up with ``PADDING``."""
    lengths = np.fromiter((len(row) for row in rows), dtype=np.int64, count=len(rows))
    width = max(1, int(lengths.max(initial=0)))
    padded = np.full((len(rows), width), PADDING, dtype=np.int64)
    padded[np.arange(width) < lengths[:, None]] = np.fromiter(
        (item for row in rows for item in row), dtype=np.int64, count=int(lengths.sum())
    )
    return padded


def _frequent(counts: Counter[str], min_count: int) -> tuple[str, ...]:
    """Keys seen at least ``min_count`` times, by falling count and then by name, so that the order is the data's."""
    kept = [(key, count) for key, count in counts.items() if count >= min_count]
    return tuple(key for key, _ in sorted(kept, key=lambda item: (-item[1], item[0])))
