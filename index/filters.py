"""Filters: which products a caller wants to be looked at, as a tree of tests on columns.

A test on a product that has no value there fails, and NOT is the complement: ``NOT price < 50`` holds where the price
is 50 or more, and where there is none.

:mod:`index.filter_syntax` reads filters from texts and from JSON; :mod:`index.columns` says which rows pass.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from index.places import MisplacedError, Place

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

MAX_DEPTH = 32
"""How deep AND, OR and NOT may be nested."""
MAX_VALUES = 1_000
"""How many values a filter may name."""

ColumnType = Literal["text", "number", "boolean"]
Value = str | float | bool
"""bool before float where it matters: True is no number."""


class FilterError(MisplacedError):
    """A filter that cannot be used."""

    what = "the filter"


@dataclass(frozen=True, slots=True)
class OneOf:
    """The column has one of these values."""

    column: str
    values: tuple[Value, ...]
    place: Place = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Bound:
    """An end of a range."""

    value: Value
    inclusive: bool = True


@dataclass(frozen=True, slots=True)
class Range:
    """The column lies between two bounds, of which one may be open; texts in the order of their characters."""

    column: str
    low: Bound | None = None
    high: Bound | None = None
    place: Place = field(default=None, compare=False)

    @property
    def empty(self) -> bool:
        """Whether no value can lie in it."""
        if self.low is None or self.high is None or type(self.low.value) is not type(self.high.value):
            return False
        if self.low.value == self.high.value:
            return not (self.low.inclusive and self.high.inclusive)
        return self.low.value > self.high.value  # type: ignore[operator]  # of one type, as was just seen


@dataclass(frozen=True, slots=True)
class Under:
    """The column is a path at or below ``path``, level by level."""

    column: str
    path: str
    place: Place = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Missing:
    """The product has no value in the column."""

    column: str
    place: Place = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class AllOf:
    """All of its operands hold."""

    operands: tuple[Filter, ...]
    place: Place = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class AnyOf:
    """At least one of its operands holds."""

    operands: tuple[Filter, ...]
    place: Place = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Negation:
    """Its operand does not hold."""

    operand: Filter
    place: Place = field(default=None, compare=False)


Test = OneOf | Range | Under | Missing
Filter = Test | AllOf | AnyOf | Negation


def check(wanted: Filter) -> None:
    """Refuse a filter that could not hold for any columns.

    Raises:
        FilterError: it is nested deeper than ``MAX_DEPTH``, names more than ``MAX_VALUES`` values, or asks for a range
            in which no value lies.
    """
    named = 0
    for part in _parts(wanted, 0):
        if isinstance(part, OneOf):
            named += len(part.values)
        if named > MAX_VALUES:
            raise FilterError(f"names more than {MAX_VALUES:,} values", part.place)
        if isinstance(part, Range):
            _check_range(part)
        elif isinstance(part, AllOf):
            _check_ranges(part)


def check_types(wanted: Filter, types: Mapping[str, ColumnType]) -> None:
    """Refuse a filter that does not suit the columns there are.

    Raises:
        FilterError: there is no such column, it holds values of another type, or it is no path.
    """
    for part in _parts(wanted, 0):
        if isinstance(part, (AllOf, AnyOf, Negation)):
            continue
        held = types.get(part.column)
        if held is None:
            raise FilterError(unknown_column(part.column, types), part.place)
        if isinstance(part, Under) and held != "text":
            raise FilterError(f"asks what is under a path in {part.column}, which holds {HELD[held]}", part.place)
        for value in _values(part):
            if type_of(value) != held:
                raise FilterError(f"compares {part.column}, which holds {HELD[held]}, with {_shown(value)}", part.place)


def unknown_column(name: str, types: Mapping[str, ColumnType]) -> str:
    """What is wrong with naming a column that is not there, with a list of those that are."""
    return f"names the column {name!r}; the columns are {', '.join(sorted(types))}"


def type_of(value: Value) -> ColumnType:
    """The type of the columns that hold such values."""
    if isinstance(value, bool):
        return "boolean"
    return "text" if isinstance(value, str) else "number"


HELD: Mapping[ColumnType, str] = {"text": "texts", "number": "numbers", "boolean": "true and false"}
"""What a column of each type holds, in words."""


def _parts(wanted: Filter, depth: int) -> Iterator[Filter]:
    if depth > MAX_DEPTH:
        raise FilterError(f"nests more than {MAX_DEPTH} deep; write it flatter", wanted.place)
    yield wanted
    if isinstance(wanted, Negation):
        yield from _parts(wanted.operand, depth + 1)
    elif isinstance(wanted, (AllOf, AnyOf)):
        for operand in wanted.operands:
            yield from _parts(operand, depth + 1)


def _values(test: Test) -> tuple[Value, ...]:
    if isinstance(test, OneOf):
        return test.values
    if isinstance(test, Range):
        return tuple(bound.value for bound in (test.low, test.high) if bound is not None)
    return ()


def _check_range(span: Range) -> None:
    if span.empty:
        assert span.low is not None
        assert span.high is not None
        raise FilterError(
            f"wants {span.column} {'at least' if span.low.inclusive else 'above'} {_shown(span.low.value)} and "
            f"{'at most' if span.high.inclusive else 'below'} {_shown(span.high.value)}, which no value is",
            span.place,
        )


def _check_ranges(both: AllOf) -> None:
    """Refuse ranges of one column that have nothing in common; those of different types are no range's fault."""
    found: dict[tuple[str, ColumnType], Range] = {}
    for span in both.operands:
        if not isinstance(span, Range):
            continue
        types = {type_of(value) for value in _values(span)}
        if len(types) == 1:
            key = (span.column, types.pop())
            found[key] = _joined(found[key], span) if key in found else span
            _check_range(found[key])


def _joined(left: Range, right: Range) -> Range:
    """What two ranges of one column, whose values are of one type, have in common."""
    lows = [bound for bound in (left.low, right.low) if bound is not None]
    highs = [bound for bound in (left.high, right.high) if bound is not None]
    return Range(
        left.column,
        max(lows, key=lambda low: (low.value, not low.inclusive), default=None),
        min(highs, key=lambda high: (high.value, high.inclusive), default=None),
        right.place,
    )


def _shown(value: Value) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return f'"{value[:80]}"'
    return f"{value:g}"
