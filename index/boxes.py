"""A region as one array of numbers: what a device is told of it, in one copy."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from index.algebra import Region

Array = Any
"""A NumPy array or a torch tensor, float32."""


@dataclass(frozen=True, slots=True)
class Boxes:
    """The B boxes of a region, and the E boxes that they exclude, those of the first box first.

    ``sides`` (B, 3, d) are lower faces, upper faces and centres; ``excluded`` (E, 3, d) likewise, with their ``reach``
    (E), see :mod:`index.algebra`. Box b excludes those from ``first[b]`` up to ``first[b + 1]``, whole numbers (B + 1).
    """

    sides: Array
    excluded: Array
    reach: Array
    first: Array

    @classmethod
    def of(cls, region: Region, *, c: float, move: Callable[[Array], Array]) -> Boxes:
        """The boxes of ``region``, which exclude none that exclude others; ``move`` puts an array where it is used."""
        within = [box.excluded for box in region.boxes]
        excluded = [box for boxes in within for box in boxes]
        first = list(accumulate(map(len, within), initial=0))
        parts = [
            np.stack([part for box in (*region.boxes, *excluded) for part in (box.lo, box.hi, box.centre)]),
            np.array([box.reach(c=c) for box in excluded], dtype=np.float32),
            np.array(first, dtype=np.float32),
        ]
        moved = move(np.concatenate([part.ravel() for part in parts]))
        faces, dim = parts[0].shape
        sides = moved[: faces * dim].reshape(faces // 3, 3, dim)
        reach = moved[faces * dim : faces * dim + len(excluded)]
        return cls(sides[: len(region.boxes)], sides[len(region.boxes) :], reach, moved[-len(first) :])
