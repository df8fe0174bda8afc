"""Spelling: the catalogue's own words as the dictionary, searched by symmetric deletion.

Two words are one edit apart (a letter more, less or other, or two neighbours swapped) only if they agree after at most
one deletion in each. So a dictionary of all words with one letter deleted answers in a few look-ups what would else be
a comparison with every word (W. Garbe's SymSpell). Deletions are kept as sorted checksums, which only propose words;
the words themselves decide.
"""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Self

import numpy as np
import orjson

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

WORDS = "words.json"
DELETIONS = "deletions.npy"

_SHORTEST = 4
"""Shorter words are left alone: nearly all are one edit from another."""
_LONGEST = 24
_SHORTEST_PART = 3


class Spelling:
    """Corrects words that the catalogue lacks; safe to use from several threads at once.

    ``words`` are the catalogue's, the most frequent first; ``deletions`` (2, M) uint32 holds sorted checksums of words
    with at most one letter deleted, and below them the places of those words in ``words``.
    """

    def __init__(self, words: Sequence[str], deletions: NDArray[np.uint32]) -> None:
        self._words = words
        self._places = {word: place for place, word in enumerate(words)}
        self._checksums, self._owners = deletions

    @classmethod
    def learn(cls, counts: Mapping[str, int]) -> Self:
        """The dictionary of all words in ``counts``, with how often each occurs."""
        words = sorted(counts, key=lambda word: (-counts[word], word))
        kept = [i for i, word in enumerate(words) if _SHORTEST_PART <= len(word) <= _LONGEST and word.isalpha()]
        deletions = [_deletions(words[i]) for i in kept]
        checksums = np.array([_checksum(shorter) for found in deletions for shorter in found], dtype=np.uint32)
        owners = np.repeat(np.array(kept, dtype=np.uint32), [len(found) for found in deletions])
        order = np.lexsort((owners, checksums))
        return cls(words, np.stack((checksums[order], owners[order])))

    @classmethod
    def load(cls, directory: Path) -> Self:
        """Read what :meth:`save` wrote, the deletions mapped into memory.

        Raises:
            OSError: a file is missing.
            ValueError: the files are not such a dictionary.
        """
        deletions = np.load(directory / DELETIONS, mmap_mode="r", allow_pickle=False)
        return cls(orjson.loads((directory / WORDS).read_bytes()), np.asarray(deletions))

    def save(self, directory: Path) -> None:
        """Write the dictionary to ``directory``."""
        (directory / WORDS).write_bytes(orjson.dumps(list(self._words)))
        np.save(directory / DELETIONS, np.stack((self._checksums, self._owners)), allow_pickle=False)

    def corrected(self, word: str) -> list[str]:
        """The word most likely meant by one that the catalogue lacks, or the two that it joins, or itself.

        That is the most frequent word one edit away; if there is none, the two words that make up ``word``, the rarer
        of which is the most frequent. Numbers and words too short or too long to tell are returned as they are.
        """
        if not (_SHORTEST <= len(word) <= _LONGEST and word.isalpha()):
            return [word]
        nearest = self._nearest(word)
        return [nearest] if nearest else self._parts(word) or [word]

    def _nearest(self, word: str) -> str | None:
        checksums = np.array([_checksum(shorter) for shorter in _deletions(word)], dtype=np.uint32)
        first = np.searchsorted(self._checksums, checksums, side="left")
        last = np.searchsorted(self._checksums, checksums, side="right")
        owners = {int(i) for a, b in zip(first, last, strict=True) for i in self._owners[a:b]}
        return next((self._words[i] for i in sorted(owners) if _one_edit_apart(word, self._words[i])), None)

    def _parts(self, word: str) -> list[str] | None:
        cuts = range(_SHORTEST_PART, len(word) - _SHORTEST_PART + 1)
        pairs = [(word[:i], word[i:]) for i in cuts if word[:i] in self._places and word[i:] in self._places]
        return list(min(pairs, key=lambda pair: max(self._places[part] for part in pair))) if pairs else None


def _deletions(word: str) -> set[str]:
    """``word`` and all that is left of it when one letter goes."""
    return {word, *(word[:i] + word[i + 1 :] for i in range(len(word)))}


def _checksum(word: str) -> int:
    return zlib.crc32(word.encode())


def _one_edit_apart(a: str, b: str) -> bool:
    """Whether one letter inserted, deleted or replaced, or two neighbours swapped, makes ``a`` into ``b``."""
    i = next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))
    replaced = a[i + 1 :] == b[i + 1 :] and len(a) == len(b)
    swapped = a[i : i + 2] == b[i : i + 2][::-1] and a[i + 2 :] == b[i + 2 :]
    return a != b and (replaced or swapped or a[i + 1 :] == b[i:] or a[i:] == b[i + 1 :])
