"""Titles of a catalogue larger than any at hand: real ones, then real ones changed as a shop's variants are."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_OTHER_MAKE = 0.7
_OTHER_NUMBER = 0.7
_WORD_LESS = 0.5
_WORD_MORE = 0.5
_FEWEST_WORDS = 4


def titles(real: Sequence[str], count: int, *, seed: int = 0) -> Iterator[str]:
    """``count`` titles: the ``real`` ones, then changed ones, in the same order whatever the count.

    Seven in ten get the first word of another title, which mostly is its make; each number becomes another with the
    same chance; every second one loses a word, and every second one gets one of another title.
    """
    chance = random.Random(seed)
    split = [words for title in real if (words := title.split())]
    numbers = [word for words in split for word in words if _has_digit(word)]
    for place in range(count):
        words = split[place % len(split)]
        yield " ".join(words if place < len(split) else _changed(words, split, numbers, chance))


def _changed(
    words: Sequence[str], split: Sequence[Sequence[str]], numbers: Sequence[str], chance: random.Random
) -> list[str]:
    changed = [
        chance.choice(numbers) if _has_digit(word) and chance.random() < _OTHER_NUMBER else word for word in words
    ]
    if chance.random() < _OTHER_MAKE:
        changed[0] = chance.choice(split)[0]
    if len(changed) > _FEWEST_WORDS and chance.random() < _WORD_LESS:
        changed.pop(chance.randrange(1, len(changed)))
    if chance.random() < _WORD_MORE:
        changed.insert(chance.randrange(len(changed) + 1), chance.choice(chance.choice(split)))
    return changed


def _has_digit(word: str) -> bool:
    return any(letter.isdigit() for letter in word)
