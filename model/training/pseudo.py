"""Pseudo-queries: queries cut from titles, whose right answers are known exactly.

A pseudo-query is a few words of one title; every title that holds all of them answers it. They teach a shop's own
vocabulary before anyone has searched, and give broad queries as many positives as they deserve. Where there are judged
queries they are put as people put theirs (:mod:`model.training.phrasing`).
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from model.catalog import CatalogError, split_of

if TYPE_CHECKING:
    import random
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from model.training.phrasing import Phrasing

_LENGTHS = (1, 2, 2, 2, 3, 3, 3, 4, 4, 5)
"""Words a pseudo-query has, each entry as likely as the others."""
_TYPO_SHARE = 0.1
_MOST_DRAWS = 1_000
_LETTERS = "abcdefghijklmnopqrstuvwxyz"


@dataclass(frozen=True, slots=True)
class PseudoQuery:
    """Words of one title, and how the shopper would have typed them."""

    words: tuple[str, ...]
    text: str


def cut(title: Sequence[str], phrasing: Phrasing, rng: random.Random) -> PseudoQuery:
    """A pseudo-query of one to five words of ``title`` in their order; now and then one is misspelt."""
    chosen = phrasing.choose(title, min(len(title), rng.choice(_LENGTHS)), rng)
    said = [phrasing.say(word, rng) for word in chosen]
    return PseudoQuery(words=chosen, text=" ".join(typed_by_hand(said, rng)))


def cut_for_split(
    titles: Sequence[Sequence[str]], phrasing: Phrasing, rng: random.Random, *, count: int, split: str
) -> list[tuple[int, PseudoQuery]]:
    """``count`` pseudo-queries of one split with the rows of the titles they came from.

    The split is that of the query's text, so a pseudo-query of the dev split is never trained on.

    Raises:
        CatalogError: so few words that hardly any query of that split can be cut from them.
    """
    found: list[tuple[int, PseudoQuery]] = []
    for drawn in itertools.count(1):
        if len(found) == count:
            break
        if drawn > _MOST_DRAWS * count:
            raise CatalogError(
                f"the catalogue's {len(titles):,} titles have too few words to train on: of {drawn:,} queries cut from "
                f"them, {len(found)} were of the {split} split, and {count} are needed"
            )
        row = rng.randrange(len(titles))
        query = cut(titles[row], phrasing, rng)
        if split_of(query.text) == split:
            found.append((row, query))
    return found


def typed_by_hand(typed: Sequence[str], rng: random.Random) -> list[str]:
    """Words as a hurried shopper types them: now and then one is misspelt."""
    return [misspell(word, rng) if rng.random() < _TYPO_SHARE else word for word in typed]


def misspell(word: str, rng: random.Random) -> str:
    """``word`` of four letters or more with one of them, at random, left out, doubled, replaced or swapped."""
    if len(word) < 4 or not word.isalpha():
        return word
    i = rng.randrange(len(word) - 1)
    edits = (
        word[:i] + word[i + 1 :],
        word[:i] + word[i] + word[i:],
        word[:i] + rng.choice(_LETTERS) + word[i + 1 :],
        word[:i] + word[i + 1] + word[i] + word[i + 2 :],
    )
    return rng.choice(edits)


def answers(queries: Sequence[PseudoQuery], titles: Sequence[Sequence[str]]) -> NDArray[np.bool_]:
    """Which of ``titles`` hold all words of which query, (Q, P)."""
    wanted = {word for query in queries for word in query.words}
    postings: dict[str, list[int]] = defaultdict(list)
    for column, title in enumerate(titles):
        for word in wanted.intersection(title):
            postings[word].append(column)
    holds = np.zeros((len(wanted), len(titles)), dtype=bool)
    rows = {word: i for i, word in enumerate(wanted)}
    for word, columns in postings.items():
        holds[rows[word], columns] = True
    found = np.empty((len(queries), len(titles)), dtype=bool)
    for i, query in enumerate(queries):
        found[i] = holds[[rows[word] for word in query.words]].all(axis=0)
    return found
