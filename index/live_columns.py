"""The columns of live products: they grow row by row, and are filtered by as those of a snapshot are."""

from __future__ import annotations

import math
from collections import defaultdict
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from index.column_files import as_text
from index.columns import NO_CODE, Columns, NumberColumn, TextColumn
from index.filters import type_of
from index.growing import Growing
from model.catalog import LEVEL_SEPARATOR

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from numpy.typing import NDArray

    from index.columns import Mask
    from index.filters import Bound, ColumnType, Value

_Key = TypeVar("_Key", np.int32, np.float64)


class GrowingDictionary:
    """Values in the order in which they came: a :class:`~index.columns.Dictionary` that compares them all."""

    def __init__(self) -> None:
        self._values: list[str] = []
        self._codes: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._values)

    def __getitem__(self, code: int) -> str:
        return self._values[code]

    def code(self, value: str) -> int:
        """The code of ``value``, a new one if it is new."""
        found = self._codes.setdefault(value, len(self._values))
        if found == len(self._values):
            self._values.append(value)
        return found

    def one_of(self, values: Collection[str]) -> Mask:
        """See :class:`~index.columns.Dictionary`."""
        passes = np.zeros(len(self), dtype=np.bool_)
        passes[[self._codes[value] for value in values if value in self._codes]] = True
        return passes

    def within(self, low: Bound | None, high: Bound | None) -> Mask:
        """See :class:`~index.columns.Dictionary`."""
        return np.array([_within(value, low, high) for value in list(self._values)], dtype=np.bool_)

    def under(self, path: str) -> Mask:
        """See :class:`~index.columns.Dictionary`."""
        below = path + LEVEL_SEPARATOR
        return np.array([value == path or value.startswith(below) for value in list(self._values)], dtype=np.bool_)

    def ranks(self, codes: NDArray[np.int32]) -> NDArray[np.int64]:
        """See :class:`~index.columns.Dictionary`."""
        values = sorted({self._values[code] for code in set(codes.tolist()) if code != NO_CODE})
        rank = {self._codes[value]: place for place, value in enumerate(values)}
        return np.array([rank.get(code, NO_CODE) for code in codes.tolist()], dtype=np.int64)


class LiveColumns:
    """Columns that take products' values in row order; one thread adds, any number read what was there before.

    ``types`` are those of the columns of snapshots, which the live ones keep: a value that a column cannot hold is
    missing there.
    """

    def __init__(self, types: Mapping[str, ColumnType]) -> None:
        self._expected = dict(types)
        self._growing: dict[str, _GrowingTexts | _GrowingNumbers] = {}
        self.types: Mapping[str, ColumnType] = {}
        """What each column holds that live products have."""

    def expect(self, types: Mapping[str, ColumnType]) -> bool:
        """Keep to the types of another snapshot's columns as well; False if they are not those that are kept to."""
        if any(self._expected.get(name, kind) != kind for name, kind in types.items()):
            return False
        self._expected.update(types)
        return True

    def extend(self, start: int, products: Sequence[Mapping[str, Value]]) -> None:
        """Store the values of ``products`` in the rows from ``start`` on."""
        found: dict[str, dict[int, Value]] = defaultdict(dict)
        for row, values in enumerate(products, start):
            for name, value in values.items():
                found[name][row] = value
        for name, of_rows in found.items():
            column = self._growing.get(name)
            if column is None:
                kind = self._expected.setdefault(name, type_of(next(iter(of_rows.values()))))
                column = self._growing[name] = _GrowingTexts() if kind == "text" else _GrowingNumbers(kind)
            column.put(of_rows)
        if len(self.types) < len(self._growing):
            self.types = {name: column.kind for name, column in self._growing.items()}

    def first(self, rows: int) -> Columns:
        """The columns of the first ``rows`` products."""
        return Columns({name: column.first(rows) for name, column in self._growing.copy().items()}, rows=rows)


class _GrowingTexts:
    kind: ColumnType = "text"

    def __init__(self) -> None:
        self._dictionary = GrowingDictionary()
        self._codes: Growing[np.int32] = Growing(np.int32)

    def put(self, values: Mapping[int, Value]) -> None:
        codes = {row: self._dictionary.code(as_text(value)) for row, value in values.items()}
        self._codes.extend(_spread(codes, start=len(self._codes), missing=NO_CODE))

    def first(self, rows: int) -> TextColumn:
        return TextColumn(_padded(self._codes.view, rows, NO_CODE), self._dictionary)


class _GrowingNumbers:
    def __init__(self, kind: ColumnType) -> None:
        self.kind = kind
        self._numbers: Growing[np.float64] = Growing(np.float64)

    def put(self, values: Mapping[int, Value]) -> None:
        numbers = {row: float(value) if type_of(value) == self.kind else math.nan for row, value in values.items()}
        self._numbers.extend(_spread(numbers, start=len(self._numbers), missing=math.nan))

    def first(self, rows: int) -> NumberColumn:
        return NumberColumn(_padded(self._numbers.view, rows, math.nan), self.kind)


def _spread(keys: Mapping[int, float], *, start: int, missing: float) -> list[float]:
    """The keys of the rows from ``start`` to the last of ``keys``, which rise; ``missing`` in those between."""
    last: int = next(reversed(list(keys)))
    return [keys.get(row, missing) for row in range(start, last + 1)]


def _padded(keys: NDArray[_Key], rows: int, missing: float) -> NDArray[_Key]:
    """The keys of the first ``rows`` rows, ``missing`` where a column has not come as far."""
    first = keys[:rows]
    return first if len(first) == rows else np.append(first, np.full(rows - len(first), missing, dtype=keys.dtype))


def _within(value: str, low: Bound | None, high: Bound | None) -> bool:
    above = low is None or value > str(low.value) or (low.inclusive and value == low.value)
    below = high is None or value < str(high.value) or (high.inclusive and value == high.value)
    return above and below
