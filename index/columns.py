"""Columns: the values of products by row, stored so that a filter is a pass over small numbers.

A text column is a sorted dictionary of its values and a code for each row, a number column is its numbers, NaN where
there is none, and a boolean column is numbers too. Every test then comes to comparing numbers, or to looking codes up
in a table that says of each value whether it passes.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

from index.filters import AllOf, AnyOf, Bound, Filter, Missing, Negation, OneOf, Range, Test
from model.catalog import LEVEL_SEPARATOR

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from numpy.typing import NDArray

    from index.filters import ColumnType, Value

    Mask = NDArray[np.bool_]
    _Keys = NDArray[np.int32] | NDArray[np.int64] | NDArray[np.float64]

NO_CODE = -1
"""The code of a row without a value."""
_AFTER_SEPARATOR = LEVEL_SEPARATOR[:-1] + chr(ord(LEVEL_SEPARATOR[-1]) + 1)
"""What follows every path below another one, in the order of texts."""


class Dictionary(Protocol):
    """The distinct values of a text column by code."""

    def __len__(self) -> int:
        """How many values there are."""

    def __getitem__(self, code: int) -> str:
        """The value of a code."""

    def one_of(self, values: Collection[str]) -> Mask:
        """Which codes are those of ``values``, (D)."""

    def within(self, low: Bound | None, high: Bound | None) -> Mask:
        """Which codes are those of values between the bounds, (D)."""

    def under(self, path: str) -> Mask:
        """Which codes are those of ``path`` and the paths below it, (D)."""

    def ranks(self, codes: NDArray[np.int32]) -> NDArray[np.int64] | NDArray[np.int32]:
        """Numbers in the order of the values of ``codes`` (K), ``NO_CODE`` where there is none."""


class SortedDictionary:
    """Values in the order of their characters; ``values`` are read one at a time, so they may lie in a mapped file."""

    def __init__(self, values: Sequence[str]) -> None:
        self._values = values

    def __len__(self) -> int:
        return len(self._values)

    def __getitem__(self, code: int) -> str:
        return self._values[code]

    def one_of(self, values: Collection[str]) -> Mask:
        """See :class:`Dictionary`."""
        passes = np.zeros(len(self), dtype=np.bool_)
        for value in values:
            place = bisect_left(self._values, value)
            if place < len(self) and self._values[place] == value:
                passes[place] = True
        return passes

    def within(self, low: Bound | None, high: Bound | None) -> Mask:
        """See :class:`Dictionary`."""
        start, end = 0, len(self)
        if low is not None:
            start = (bisect_left if low.inclusive else bisect_right)(self._values, low.value)
        if high is not None:
            end = (bisect_right if high.inclusive else bisect_left)(self._values, high.value)
        passes = np.zeros(len(self), dtype=np.bool_)
        passes[start:end] = True
        return passes

    def under(self, path: str) -> Mask:
        """See :class:`Dictionary`."""
        below = self.within(Bound(path + LEVEL_SEPARATOR), Bound(path + _AFTER_SEPARATOR, inclusive=False))
        return below | self.one_of((path,))

    def ranks(self, codes: NDArray[np.int32]) -> NDArray[np.int32]:
        """See :class:`Dictionary`."""
        return codes


@dataclass(frozen=True)
class TextColumn:
    """``codes`` (N) int32 into ``dictionary``, ``NO_CODE`` where there is no value."""

    codes: NDArray[np.int32]
    dictionary: Dictionary
    kind: ColumnType = "text"

    def passing(self, test: Test) -> Mask:
        """Which rows pass ``test``, (N)."""
        if isinstance(test, Missing):
            return np.asarray(self.codes == NO_CODE)
        if isinstance(test, OneOf):
            passes = self.dictionary.one_of([str(value) for value in test.values])
        elif isinstance(test, Range):
            passes = self.dictionary.within(test.low, test.high)
        else:
            passes = self.dictionary.under(test.path)
        # one more at the end: what NO_CODE finds
        return np.append(passes, False)[self.codes]

    def order(self, rows: NDArray[np.int64], *, descending: bool) -> NDArray[np.int64]:
        """``rows`` (K) by value, equal values by row number, those without one last."""
        ranks = self.dictionary.ranks(self.codes[rows])
        return _ordered(rows, ranks, ranks == NO_CODE, descending=descending)

    def counts(self, rows: NDArray[np.int64]) -> dict[Value, int]:
        """How often each value occurs among ``rows`` (K)."""
        return _counted(self, self.codes[rows], rows)

    def value(self, row: int) -> str | None:
        """The value in ``row``."""
        code = int(self.codes[row])
        return None if code == NO_CODE else self.dictionary[code]


@dataclass(frozen=True)
class NumberColumn:
    """``numbers`` (N) float64, NaN where there is no value; of a boolean column 0 and 1."""

    numbers: NDArray[np.float64]
    kind: ColumnType = "number"

    def passing(self, test: Test) -> Mask:
        """Which rows pass ``test``, (N)."""
        if isinstance(test, Missing):
            return np.isnan(self.numbers)
        if isinstance(test, OneOf):
            return np.isin(self.numbers, [float(value) for value in test.values])
        assert isinstance(test, Range), "only texts are paths"
        passes = ~np.isnan(self.numbers)
        if test.low is not None:
            low = float(test.low.value)
            passes &= self.numbers >= low if test.low.inclusive else self.numbers > low
        if test.high is not None:
            high = float(test.high.value)
            passes &= self.numbers <= high if test.high.inclusive else self.numbers < high
        return passes

    def order(self, rows: NDArray[np.int64], *, descending: bool) -> NDArray[np.int64]:
        """``rows`` (K) by value, equal values by row number, those without one last."""
        return _ordered(rows, self.numbers[rows], np.isnan(self.numbers[rows]), descending=descending)

    def counts(self, rows: NDArray[np.int64]) -> dict[Value, int]:
        """How often each value occurs among ``rows`` (K)."""
        return _counted(self, self.numbers[rows], rows)

    def value(self, row: int) -> float | bool | None:
        """The value in ``row``."""
        number = float(self.numbers[row])
        if number != number:
            return None
        return bool(number) if self.kind == "boolean" else number


@dataclass(frozen=True)
class AbsentColumn:
    """A column of which none of the rows has a value."""

    rows: int
    kind: ColumnType = "text"

    def passing(self, test: Test) -> Mask:
        """Which rows pass ``test``, (N)."""
        return np.full(self.rows, isinstance(test, Missing))

    def order(self, rows: NDArray[np.int64], *, descending: bool) -> NDArray[np.int64]:  # noqa: ARG002
        """``rows`` (K) by row number."""
        return np.sort(rows)

    def counts(self, rows: NDArray[np.int64]) -> dict[Value, int]:  # noqa: ARG002
        """Nothing."""
        return {}

    def value(self, row: int) -> None:  # noqa: ARG002
        """None."""
        return


Column = TextColumn | NumberColumn | AbsentColumn


class Columns:
    """The columns of the same rows by name; a name that is none of theirs is a column without values."""

    def __init__(self, columns: Mapping[str, Column], *, rows: int) -> None:
        self._columns = columns
        self._rows = rows

    def __len__(self) -> int:
        return self._rows

    def __getitem__(self, name: str) -> Column:
        return self._columns.get(name) or AbsentColumn(self._rows)

    @property
    def types(self) -> dict[str, ColumnType]:
        """What each column holds."""
        return {name: column.kind for name, column in self._columns.items()}

    def passing(self, wanted: Filter) -> Mask:
        """Which rows pass a filter that suits these columns (:func:`index.filters.check_types`), (N)."""
        if isinstance(wanted, Negation):
            return ~self.passing(wanted.operand)
        if isinstance(wanted, AllOf):
            return np.asarray(np.all([self.passing(operand) for operand in wanted.operands], axis=0))
        if isinstance(wanted, AnyOf):
            return np.asarray(np.any([self.passing(operand) for operand in wanted.operands], axis=0))
        return self[wanted.column].passing(wanted)


def _counted(column: Column, keys: _Keys, rows: NDArray[np.int64]) -> dict[Value, int]:
    _, places, counts = np.unique(keys, return_index=True, return_counts=True)
    values = map(column.value, rows[places].tolist())
    return {value: count for value, count in zip(values, counts.tolist(), strict=True) if value is not None}


def _ordered(
    rows: NDArray[np.int64], keys: _Keys, missing: NDArray[np.bool_], *, descending: bool
) -> NDArray[np.int64]:
    # int32 codes are at least -1, so their negative is one of them too
    return rows[np.lexsort((rows, -keys if descending else keys, missing))]
