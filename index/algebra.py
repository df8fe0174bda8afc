"""What an expression means in either channel: boxes that intersect, unite and exclude, and BM25 that does the same.

Among hyperboloids the operators are set algebra, taken axis by axis in space components (see
:mod:`model.hyperboloid`). Every conjunction of the normal form is one box:

* AND is the intersection: the highest of the lower faces, the lowest of the upper ones, the centre in the middle. On
  an axis where its members do not overlap, it collapses to the middle of the gap; then it contains nothing, but
  still says which products are between them all.
* NOT leaves nothing of what it excludes ``contained`` and adds a penalty to its distance: the *reach* r of the
  excluded box, from its centre to its corner, times 1 + depth, where depth is 0 on the faces and 1 at the centre.
  Outside the excluded box the penalty is 0. Of several exclusions the greatest penalty counts.
* OR is the least of its members' distances.

AND and NOT take the maximum of faces and penalties, and OR the minimum of distances, so the laws of sets hold to the
last bit: the order, the brackets and the repetition of operands change nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, reduce
from typing import TYPE_CHECKING, Self

import numpy as np

from index.kernels import containment, within
from model import hyperboloid, lorentz

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    from index.expression import Conjunction

    Vector = NDArray[np.float32]
    Hyperboloid = tuple[Vector, Vector]
    """Centre and limit, (d) each."""
    Measured = tuple[Vector, NDArray[np.bool_]]
    """Distances (K) float32, and whether each of those measured is contained (K)."""

COLLAPSED = 1e-3
"""The limit of an intersection on an axis where its members do not overlap, in space components."""


@dataclass(frozen=True)
class Box:
    """A box less the boxes it excludes: ``lo``, ``hi`` and ``centre`` (d) float32, ``excluded`` other boxes.

    ``empty`` says that no point can be contained; distances are still those to ``lo`` and ``hi``.
    """

    lo: Vector
    hi: Vector
    centre: Vector
    excluded: tuple[Box, ...] = ()
    empty: bool = False

    @classmethod
    def around(cls, centre: Vector, limit: Vector) -> Self:
        """The box of one hyperboloid; a ``limit`` of zero makes a point of it."""
        return cls(lo=centre - limit, hi=centre + limit, centre=centre)

    @classmethod
    def between(cls, held: Sequence[Box], excluded: Sequence[Box] = ()) -> Self:
        """The intersection of at least one box, less the boxes ``excluded``."""
        if len(held) == 1 and not excluded:
            return cls(held[0].lo, held[0].hi, held[0].centre)
        lo = np.max([box.lo for box in held], axis=0)
        hi = np.min([box.hi for box in held], axis=0)
        apart = lo > hi
        # of one box the centre is kept as it is: halving the faces' sum would round it
        middle = held[0].centre if len(held) == 1 else np.float32(0.5) * (lo + hi)
        swallowed = any(bool((box.lo <= lo).all() and (hi <= box.hi).all()) for box in excluded)
        return cls(
            lo=np.where(apart, middle - np.float32(COLLAPSED), lo),
            hi=np.where(apart, middle + np.float32(COLLAPSED), hi),
            centre=middle,
            excluded=tuple(excluded),
            empty=bool(apart.any()) or swallowed,
        )

    @property
    def log_volume(self) -> float | None:
        """Log-volume Σ log ℓᵢ, exclusions not taken off; None if the box has no volume."""
        limit = 0.5 * (self.hi.astype(np.float64) - self.lo)
        return None if self.empty or not limit.all() else float(hyperboloid.log_volume(limit))

    def reach(self, *, c: float) -> float:
        """Distance from the centre to the corner ``hi``."""
        return float(lorentz.dist(self.centre, self.hi, c=c))

    def contains(self, x: Vector) -> NDArray[np.bool_]:
        """Which of ``x`` (K, d) lie inside, faces included, and in nothing excluded (K)."""
        return self.inside(x, np.arange(len(x)))

    def inside(self, points: Vector, rows: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Which of ``rows`` (K) of ``points`` (N, d) lie inside, faces included, and in nothing excluded (K)."""
        if self.empty:
            return np.zeros(len(rows), dtype=np.bool_)
        inside = within(points, rows, self.lo, self.hi)
        for box in self.excluded:
            inside &= ~box.inside(points, rows)
        return inside

    def measure(self, points: Vector, rows: NDArray[np.int64], *, c: float, gamma: float) -> Measured:
        """Containment distances of ``rows`` (K) of ``points`` (N, d), penalties added, and which lie inside."""
        distances, inside = containment(points, rows, self.lo, self.hi, self.centre, c, gamma)
        if self.excluded:
            x = points[rows]
            distances = distances + np.max([box.penalty(x, c=c) for box in self.excluded], axis=0)
            inside &= ~np.any([box.inside(points, rows) for box in self.excluded], axis=0)
        return distances, np.zeros_like(inside) if self.empty else inside

    def penalty(self, x: Vector, *, c: float) -> Vector:
        """What excluding this box adds to the distances of ``x`` (K, d): reach · (1 + depth) inside, 0 outside."""
        penalties = np.zeros(len(x), dtype=np.float32)
        inside = np.flatnonzero(self.contains(x))
        # a limit below the centre's last digit leaves no width to divide by
        limit = np.maximum(np.float32(0.5) * (self.hi - self.lo), np.finfo(np.float32).tiny)
        shares = np.abs(x[inside] - self.centre) / limit
        penalties[inside] = self.reach(c=c) * (2.0 - np.minimum(shares.max(axis=1, initial=0.0), 1.0))
        return penalties


@dataclass(frozen=True)
class Region:
    """A union of at least one box: where the answers to an expression lie."""

    boxes: tuple[Box, ...]

    @classmethod
    def around(cls, centre: Vector, limit: Vector) -> Self:
        """The region of one hyperboloid; a ``limit`` of zero makes a point of it."""
        return cls((Box.around(centre, limit),))

    @classmethod
    def of(cls, conjunctions: Sequence[Conjunction], hyperboloids: Mapping[str, Hyperboloid]) -> Self:
        """The region of a normal form, given the hyperboloid of each of its texts."""

        def single(texts: Sequence[str]) -> list[Box]:
            return [Box.around(*hyperboloids[text]) for text in texts]

        return cls(tuple(Box.between(single(part.positive), single(part.negative)) for part in conjunctions))

    @cached_property
    def generality(self) -> float | None:
        """Log of the sum of the boxes' volumes, None if none has any.

        An upper bound of the region's own: overlaps are counted twice and exclusions not at all. Of one text it is
        the log-volume Σ log ℓᵢ of its hyperboloid.
        """
        volumes = [volume for box in self.boxes if (volume := box.log_volume) is not None]
        if len(volumes) <= 1:
            return volumes[0] if volumes else None
        return float(np.logaddexp.reduce(volumes))

    def exclusion(self, *, c: float) -> float:
        """The farthest reach among the excluded boxes, 0 if nothing is excluded."""
        return max((box.reach(c=c) for part in self.boxes for box in part.excluded), default=0.0)

    def contains(self, x: Vector) -> NDArray[np.bool_]:
        """Which of ``x`` (K, d) any of the boxes contains (K)."""
        return self.inside(x, np.arange(len(x)))

    def inside(self, points: Vector, rows: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Which of ``rows`` (K) of ``points`` (N, d) any of the boxes contains (K)."""
        if len(self.boxes) == 1:
            return self.boxes[0].inside(points, rows)
        return np.asarray(np.any([box.inside(points, rows) for box in self.boxes], axis=0))

    def measure(self, points: Vector, rows: NDArray[np.int64], *, c: float, gamma: float) -> Measured:
        """Distances of ``rows`` (K) of ``points`` (N, d) to the nearest of the boxes, and which lie in any of them."""
        distances, inside = self.boxes[0].measure(points, rows, c=c, gamma=gamma)
        for box in self.boxes[1:]:
            further, also = box.measure(points, rows, c=c, gamma=gamma)
            distances, inside = np.minimum(distances, further), inside | also
        return distances, inside


@dataclass(frozen=True, slots=True)
class LexicalScores:
    """BM25 of an expression over all rows: ``scores`` (N) float32, and which of them it finds (N).

    Found, or ``matched``, is what shares a word with every text that one of its conjunctions asks for.
    """

    scores: NDArray[np.float32]
    matched: NDArray[np.bool_]

    def order(self) -> NDArray[np.float32]:
        """Numbers (N) in the order of the scores, above 0 for what is matched and 0 elsewhere."""
        least = self.scores.min(initial=0.0)
        above = self.scores if least == 0 else self.scores - least + np.float32(1.0)
        return np.where(self.matched, above, np.float32(0.0))

    def without(self, rows: NDArray[np.int64]) -> LexicalScores:
        """The same as if ``rows`` (K) shared no word."""
        scores, matched = self.scores.copy(), self.matched.copy()
        scores[rows], matched[rows] = 0.0, False
        return LexicalScores(scores, matched)


def lexical_scores(
    conjunctions: Sequence[Conjunction],
    scores: Callable[[str], NDArray[np.float32]],
    holding: Callable[[str], NDArray[np.int64]],
) -> LexicalScores:
    """The lexical channel's reading of a normal form.

    AND is the sum and OR the greatest; what shares words with only some of an AND's texts is scored, but not matched.
    NOT excludes what holds every word of its text: it loses all it scored and owes what the excluded text scores, so
    that it comes after all that is not excluded.

    Args:
        conjunctions: the normal form.
        scores: BM25 (N) of one text, an array of its own.
        holding: the rows (K) that hold every word of one text.
    """
    found = [_conjunction_scores(part, scores, holding) for part in conjunctions]
    return LexicalScores(
        scores=np.max([part.scores for part in found], axis=0) if len(found) > 1 else found[0].scores,
        matched=np.any([part.matched for part in found], axis=0) if len(found) > 1 else found[0].matched,
    )


def lexical_matches(
    conjunctions: Sequence[Conjunction], holding: Callable[[str], NDArray[np.int64]]
) -> NDArray[np.int64]:
    """The rows (K), rising, that hold every word of what a normal form asks for, and not all of what it excludes.

    ``holding`` gives the rows that hold every word of one text.
    """

    def matched(part: Conjunction) -> NDArray[np.int64]:
        return reduce(np.setdiff1d, map(holding, part.negative), reduce(np.intersect1d, map(holding, part.positive)))

    return reduce(np.union1d, map(matched, conjunctions))


def _conjunction_scores(
    part: Conjunction,
    scores: Callable[[str], NDArray[np.float32]],
    holding: Callable[[str], NDArray[np.int64]],
) -> LexicalScores:
    total = scores(part.positive[0])
    matched = total > 0
    for text in part.positive[1:]:
        found = scores(text)
        total, matched = total + found, matched & (found > 0)
    for text in part.negative:
        if len(excluded := holding(text)):
            total[excluded] = np.minimum(total[excluded], -scores(text)[excluded])
    return LexicalScores(total, matched)
