"""One search on its way: what it is after, and what was found so far."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from index.algebra import Region
from index.channels import Place
from index.refinement import NOTHING, Refinement

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from index.expression import Conjunction
    from index.results import Mode
    from index.view import View

NOWHERE = Place(Region(()))
"""The place of a search whose texts are not encoded yet."""


@dataclass(frozen=True, slots=True)
class Sought:
    """What a search is after, and among which rows; the row ``without`` is none of them."""

    place: Place
    mode: Mode
    view: View
    page: slice
    refinement: Refinement = NOTHING
    conjunctions: tuple[Conjunction, ...] = ()
    without: int | None = None
    picture: NDArray[np.float32] | None = None
    """Where the picture lies that is asked with (d)."""

    @property
    def region(self) -> Region:
        """Where its answers lie."""
        return self.place.region

    @property
    def by_region(self) -> bool:
        """Whether hits are looked for near its region."""
        return bool(self.region.boxes) and self.mode not in ("lexical", "behaviour")


@dataclass(frozen=True, slots=True)
class Scored:
    """Rows, their scores, their distances and whether the region contains them, (K) each."""

    rows: NDArray[np.int64]
    scores: NDArray[np.float32]
    distances: NDArray[np.float32]
    inside: NDArray[np.bool_]

    def best(self, count: int) -> Scored:
        """The ``count`` highest scores, or all if there are fewer, by falling score, equal scores by row number."""
        rows, scores = self.rows, self.scores
        if count >= len(rows):
            return self.taken(np.lexsort((rows, -scores)))
        # with every row that scores as the last of them does: the row number says which of those are in
        enough = np.flatnonzero(scores >= np.partition(scores, -count)[-count])
        return self.taken(enough[np.lexsort((rows[enough], -scores[enough]))][:count])

    def taken(self, places: slice | NDArray[np.int64]) -> Scored:
        """What stands in these places."""
        return Scored(self.rows[places], self.scores[places], self.distances[places], self.inside[places])


@dataclass(frozen=True, slots=True)
class Inside:
    """The rows that the region contains, in no order; all of them, or those among the rows that were looked at."""

    rows: NDArray[np.int64]
    complete: bool
