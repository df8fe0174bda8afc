"""Which word of a text stands for which word of another: IBM Model 1, learnt by expectation maximisation.

A query is taken for a translation of a title that answers it: each of its words was typed for one word of the title, or
for none, and which one is found from what goes together over all pairs. As Brown et al. (1993), section 4.1, and Berger
and Lafferty (1999) for queries and documents; all pairs at once, in arrays.
"""

from __future__ import annotations

from collections import defaultdict
from itertools import count
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

NOTHING = ""
"""The shown word of typed words that no other explains."""
_ROUNDS = 5
_SAME = 5.0
"""How much likelier a word stands for itself than for any other, before anything is known."""


class Aligned(NamedTuple):
    """Word pairs in no order: ``times[i]`` is how often, as expected, ``typed[i]`` was typed for ``shown[i]``."""

    typed: list[str]
    shown: list[str]
    times: NDArray[np.float64]


def align(pairs: Sequence[tuple[Sequence[str], Sequence[str]]]) -> Aligned:
    """What was typed for what, from ``pairs`` of typed and shown words; a word shown twice counts once.

    Memory is linear in the sum over pairs of typed times shown words, some 50 bytes each.
    """
    # words are numbered as they come
    typed, shown = defaultdict[str, int](count().__next__), defaultdict[str, int](count().__next__)
    nothing = shown[NOTHING]
    sources = [[nothing, *(shown[word] for word in dict.fromkeys(words))] for _, words in pairs]
    targets = [[typed[word] for word in words] for words, _ in pairs]
    # one link for every typed word (its place) and every word that it may stand for
    lengths = np.repeat(_numbers(map(len, sources)), _numbers(map(len, targets)))
    place = np.repeat(np.arange(len(lengths)), lengths)
    source = _numbers(word for words, asked in zip(sources, targets, strict=True) for _ in asked for word in words)
    target = _numbers(word for words in targets for word in words)[place]
    kinds, link = np.unique(target * len(shown) + source, return_inverse=True)
    kind_typed, kind_shown = np.divmod(kinds, len(shown))
    names = list(typed), list(shown)
    typed_of, shown_of = [names[0][i] for i in kind_typed], [names[1][i] for i in kind_shown]
    likelihood = np.array([_SAME if a == b else 1.0 for a, b in zip(typed_of, shown_of, strict=True)])
    for _ in range(_ROUNDS):
        share = likelihood[link]
        share /= np.bincount(place, share)[place]
        times: NDArray[np.float64] = np.asarray(np.bincount(link, share), dtype=np.float64)
        likelihood = times / np.bincount(kind_shown, times)[kind_shown]
    return Aligned(typed_of, shown_of, times)


def _numbers(values: Iterable[int]) -> NDArray[np.int64]:
    return np.fromiter(values, dtype=np.int64)
