"""Refinements: what a caller makes of an answer beside the query, by the columns of the catalogue."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from index.filters import check_types, unknown_column

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from index.filters import ColumnType, Filter

FACET_SIZE = 20
PROSE = "description"
"""What a product has to be read, and is no column."""
DISTANCE = "distance"
"""What sorts by containment distance instead of by a column."""


class RefinementError(ValueError):
    """A column that is not there; ``part`` says which part of the refinement names it."""

    def __init__(self, part: str, message: str) -> None:
        super().__init__(f"{part} {message}")
        self.part = part
        self.message = message


@dataclass(frozen=True, slots=True)
class Sort:
    """The order of hits: by ``column``, products without a value last, or by ``DISTANCE``."""

    column: str
    descending: bool = False

    @classmethod
    def parse(cls, text: str) -> Sort:
        """Read ``price``, or ``-price`` for the highest first."""
        return cls(text.removeprefix("-"), descending=text.startswith("-"))


@dataclass(frozen=True, slots=True)
class Refinement:
    """Which products may be hits, in which order hits come, and the columns whose values are counted.

    Without ``sort`` hits come by their score. ``facets`` count at most ``facet_size`` values each. ``fields`` are the
    columns of a hit that the caller wants to see, all if None.
    """

    filter: Filter | None = None
    sort: Sort | None = None
    facets: tuple[str, ...] = ()
    facet_size: int = FACET_SIZE
    fields: tuple[str, ...] | None = None

    def check(self, types: Mapping[str, ColumnType]) -> None:
        """Refuse a refinement that does not suit the columns there are.

        Raises:
            FilterError: the filter does not.
            RefinementError: ``sort``, ``facets`` or ``fields`` name another column.
        """
        if self.filter is not None:
            check_types(self.filter, types)
        if self.sort is not None and self.sort.column != DISTANCE:
            _check_columns("sort", (self.sort.column,), types)
        _check_columns("facets", self.facets, types)
        _check_columns("fields", self.fields or (), {**types, PROSE: "text"})


def _check_columns(part: str, names: Iterable[str], types: Mapping[str, ColumnType]) -> None:
    for name in names:
        if name not in types:
            raise RefinementError(part, unknown_column(name, types))


NOTHING = Refinement()
"""A refinement that refines nothing."""
