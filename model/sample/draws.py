"""Seeded draws: one named stream of random numbers for each part of the shop."""

from __future__ import annotations

import zlib
from bisect import bisect_right
from itertools import accumulate
from statistics import NormalDist
from typing import TYPE_CHECKING, TypeVar

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

T = TypeVar("T")

_BLOCK = 4096
_NORMAL = NormalDist()


def stream(seed: int, name: str) -> np.random.Generator:
    """The generator of the stream ``name``; streams of one seed are independent of each other."""
    return np.random.Generator(np.random.PCG64([seed, zlib.crc32(name.encode())]))


def steady(*names: str) -> float:
    """A number in [0, 1) that belongs to ``names`` whatever the seed: a trait of the made-up world."""
    return zlib.crc32("/".join(names).encode()) / 2**32


def cumulative(weights: Iterable[float]) -> tuple[float, ...]:
    """Running totals of ``weights`` > 0, scaled to end at 1, as :meth:`Draws.weighted` wants them."""
    totals = list(accumulate(weights))
    return tuple(total / totals[-1] for total in totals)


class Draws:
    """Single draws from one stream, all made of its uniform doubles, which are the same on every platform."""

    def __init__(self, seed: int, name: str) -> None:
        self._generator = stream(seed, name)
        self._block: list[float] = []

    def uniform(self) -> float:
        """A number in [0, 1)."""
        if not self._block:
            self._block = self._generator.random(_BLOCK).tolist()
        return self._block.pop()

    def normal(self) -> float:
        """A standard normal number."""
        return _NORMAL.inv_cdf(max(self.uniform(), 1e-12))

    def chance(self, probability: float) -> bool:
        """True with ``probability``."""
        return self.uniform() < probability

    def below(self, count: int) -> int:
        """A whole number in [0, count)."""
        return int(self.uniform() * count)

    def pick(self, items: Sequence[T]) -> T:
        """One of ``items``, each as likely as the others."""
        return items[self.below(len(items))]

    def usual(self, items: Sequence[T], share: float) -> T:
        """The first of ``items`` with probability ``share``, otherwise one of the others."""
        if len(items) == 1 or self.chance(share):
            return items[0]
        return items[1 + self.below(len(items) - 1)]

    def weighted(self, totals: Sequence[float]) -> int:
        """An index drawn by the weights behind ``totals`` (:func:`cumulative`)."""
        return min(bisect_right(totals, self.uniform()), len(totals) - 1)

    def shuffled(self, items: Sequence[T]) -> list[T]:
        """``items`` in random order."""
        return [item for _, item in sorted(((self.uniform(), item) for item in items), key=lambda pair: pair[0])]
