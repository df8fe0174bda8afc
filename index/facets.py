"""Facets: how many of the matched products have which value in a column."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING

from model.catalog import LEVEL_SEPARATOR

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from index.filters import Value
    from index.parts import Part

PATH = "category_path"
"""The column whose values are counted with all the paths above them."""


@dataclass(frozen=True, slots=True)
class Facet:
    """The values of one column among the matched products.

    ``counts`` has the most frequent values, equally frequent ones in their order; ``values`` says how many different
    ones there are, ``missing`` how many products have none. ``least`` and ``greatest`` are of a column of numbers.
    """

    column: str
    counts: tuple[tuple[Value, int], ...]
    values: int
    missing: int
    least: float | None = None
    greatest: float | None = None


def facet(name: str, parts: Sequence[Part], *, size: int) -> Facet:
    """Count the values of column ``name`` among the rows of ``parts``."""
    counted: Counter[Value] = Counter()
    missing = 0
    for columns, rows, _ in parts:
        found = columns[name].counts(rows)
        missing += len(rows) - sum(found.values())
        counted.update(_with_paths_above(found) if name == PATH else found)
    best = sorted(counted.items(), key=lambda item: (-item[1], item[0]))[:size]
    numbers = [value for value in counted if isinstance(value, float)]
    return Facet(
        column=name,
        counts=tuple(best),
        values=len(counted),
        missing=missing,
        least=min(numbers, default=None),
        greatest=max(numbers, default=None),
    )


def _with_paths_above(counts: Mapping[Value, int]) -> Counter[Value]:
    above: Counter[Value] = Counter()
    for path, count in counts.items():
        for prefix in accumulate(str(path).split(LEVEL_SEPARATOR), lambda left, level: left + LEVEL_SEPARATOR + level):
            above[prefix] += count
    return above
