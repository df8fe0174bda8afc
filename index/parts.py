"""Rows by the tables that hold their columns, and what comes of several tables as one: an order."""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from index.columns import Columns
    from index.filters import Value
    from index.refinement import Sort


class Part(NamedTuple):
    """Some ``rows`` (K) of a table of columns, and what is added to their numbers among all tables."""

    columns: Columns
    rows: NDArray[np.int64]
    offset: int


def in_column_order(sort: Sort, parts: Sequence[Part]) -> NDArray[np.int64]:
    """The rows of all ``parts`` by the column of ``sort``, equal values by row number, those without one last."""
    ordered = [(part, part.columns[sort.column].order(part.rows, descending=sort.descending)) for part in parts]
    filled = [(part, rows) for part, rows in ordered if len(rows)]
    if len(filled) <= 1:
        return np.concatenate([rows + part.offset for part, rows in filled] or [np.empty(0, dtype=np.int64)])
    keyed = list(chain.from_iterable(_keyed(part, rows, sort.column) for part, rows in filled))
    present = [(value, row) for value, row in keyed if value is not None]
    present.sort(key=lambda pair: pair[1])
    present.sort(key=lambda pair: pair[0], reverse=sort.descending)
    return np.array(
        [*(row for _, row in present), *sorted(row for value, row in keyed if value is None)], dtype=np.int64
    )


def _keyed(part: Part, rows: NDArray[np.int64], column: str) -> Iterator[tuple[Value | None, int]]:
    found = part.columns[column]
    return ((found.value(row), row + part.offset) for row in rows.tolist())
