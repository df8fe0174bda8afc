"""The two ways to write a filter: a text, and JSON.

In a text, with operators in any case::

    price < 50 AND brand IN ("3M", "Behr") AND NOT category_path UNDER "Tools > Hand Tools"
    (rating >= 4.5 OR price BETWEEN 10 AND 20) AND in_stock = true AND colour IS NOT NULL

AND binds tighter than OR, and NOT tighter than both. A text stands in double or single quotes, with a backslash before
a quote or a backslash that is part of it; the name of a column that is not one word stands in backticks.

In JSON the same is written as objects, all of whose members must hold::

    {"price": {"lt": 50}, "brand": ["3M", "Behr"], "not": {"category_path": {"under": "Tools > Hand Tools"}}}
    {"or": [{"rating": {"gte": 4.5}}, {"price": {"gte": 10, "lte": 20}}], "in_stock": true, "not": {"colour": null}}
"""

from __future__ import annotations

import math
import re
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple

import lark

from index.filters import (
    MAX_DEPTH,
    AllOf,
    AnyOf,
    Bound,
    Filter,
    FilterError,
    Missing,
    Negation,
    OneOf,
    Range,
    Under,
    Value,
    check,
)
from index.places import described

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from index.places import Place

MAX_LENGTH = 8_192
"""Characters that a filter's text may have."""

_GRAMMAR = r"""
    ?start: any
    ?any: all ("OR"i all)*
    ?all: one ("AND"i one)*
    ?one: NOT one                              -> negation
        | "(" any ")"
        | column COMPARISON value               -> comparison
        | column "BETWEEN"i value "AND"i value  -> between
        | column "IN"i "(" value ("," value)* ")"       -> one_of
        | column NOT "IN"i "(" value ("," value)* ")"  -> none_of
        | column "UNDER"i STRING                -> under
        | column "IS"i "NULL"i                  -> missing
        | column "IS"i NOT "NULL"i             -> present
    column: NAME | QUOTED_NAME
    value: STRING | NUMBER | BOOLEAN

    NOT: "NOT"i
    COMPARISON: "<=" | ">=" | "!=" | "<" | ">" | "="
    BOOLEAN.2: /(true|false)\b/i
    NUMBER: /[-+]?(\d+(\.\d*)?|\.\d+)([eE][-+]?\d+)?(?![\w.])/
    STRING: /"(\\.|[^"\\])*"|'(\\.|[^'\\])*'/s
    QUOTED_NAME: /`[^`]+`/
    NAME: /[^\W\d]\w*/i
    %import common.WS
    %ignore WS
"""
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)


def parse(text: str) -> Filter:
    """Read a filter's text.

    Raises:
        FilterError: it does not follow the grammar, it is too long or too deep, or no value can pass it; ``position``
            is the offset in ``text``.
    """
    if len(text) > MAX_LENGTH:
        raise FilterError(f"is {len(text):,} characters long; at most {MAX_LENGTH:,} are allowed")
    try:
        wanted: Filter = _parser().parse(text)  # type: ignore[assignment]  # the transformer leaves no tree
    except lark.UnexpectedInput as error:
        raise _unexpected(text, error) from error
    check(wanted)
    return wanted


def from_json(value: object) -> Filter:
    """Read the JSON form, as ``json.loads`` gives it.

    Raises:
        FilterError: it is not such a form, it is too deep, or no value can pass it; ``pointer`` says where.
    """
    wanted = _from_json(value, "", 0)
    check(wanted)
    return wanted


@lark.v_args(inline=True)
class _Reader(lark.Transformer[Any, Filter]):
    """Makes filters of what the grammar finds; a test stands where the name of its column stands."""

    def any(self, *operands: Filter) -> Filter:
        return AnyOf(operands, operands[0].place)

    def all(self, *operands: Filter) -> Filter:
        return AllOf(operands, operands[0].place)

    def negation(self, sign: lark.Token, operand: Filter) -> Filter:
        return Negation(operand, sign.start_pos)

    def comparison(self, column: _Name, sign: lark.Token, value: Value) -> Filter:
        return _COMPARISONS[sign](column.name, value, column.place)

    def between(self, column: _Name, low: Value, high: Value) -> Filter:
        return Range(column.name, Bound(low), Bound(high), column.place)

    def one_of(self, column: _Name, *values: Value) -> Filter:
        return OneOf(column.name, values, column.place)

    def none_of(self, column: _Name, _sign: lark.Token, *values: Value) -> Filter:
        return Negation(self.one_of(column, *values), column.place)

    def under(self, column: _Name, path: str) -> Filter:
        return Under(column.name, _unquoted(path), column.place)

    def missing(self, column: _Name) -> Filter:
        return Missing(column.name, column.place)

    def present(self, column: _Name, _sign: lark.Token) -> Filter:
        return Negation(self.missing(column), column.place)

    def column(self, name: lark.Token) -> _Name:
        return _Name(name[1:-1] if name.type == "QUOTED_NAME" else str(name), name.start_pos)

    def value(self, token: lark.Token) -> Value:
        if token.type == "NUMBER":
            return _number(token, token.start_pos)
        return token.lower() == "true" if token.type == "BOOLEAN" else _unquoted(token)


class _Name(NamedTuple):
    """A column's name and where it stands."""

    name: str
    place: int | None


_COMPARISONS: Mapping[str, Callable[[str, Value, int | None], Filter]] = {
    "=": lambda column, value, place: OneOf(column, (value,), place),
    "!=": lambda column, value, place: Negation(OneOf(column, (value,), place), place),
    "<": lambda column, value, place: Range(column, None, Bound(value, inclusive=False), place),
    "<=": lambda column, value, place: Range(column, None, Bound(value), place),
    ">": lambda column, value, place: Range(column, Bound(value, inclusive=False), None, place),
    ">=": lambda column, value, place: Range(column, Bound(value), None, place),
}


@cache
def _parser() -> lark.Lark:
    return lark.Lark(_GRAMMAR, parser="lalr", transformer=_Reader())


def _unquoted(token: str) -> str:
    return _ESCAPED.sub(r"\1", token[1:-1])


def _unexpected(text: str, error: lark.UnexpectedInput) -> FilterError:
    """What of ``text`` cannot be read, in words that help."""
    at_end = isinstance(error, lark.UnexpectedToken) and error.token.type == "$END"
    place = len(text) if at_end or error.pos_in_stream is None else error.pos_in_stream
    if place >= len(text):
        return FilterError("ends where more should follow", len(text))
    found = text[place]
    if found in "\"'`" and found not in text[place + 1 :]:
        return FilterError(f"opens a quote {found} that is never closed", place)
    word = re.match(r"\w+|.", text[place:], re.DOTALL)
    assert word is not None
    expected: set[str] = getattr(error, "allowed" if isinstance(error, lark.UnexpectedCharacters) else "expected")
    hint = "; a text stands in quotes" if "STRING" in expected else ""
    return FilterError(f"has {word[0][:80]} where it cannot be read{hint}", place)


def _from_json(value: object, pointer: str, depth: int) -> Filter:
    if not isinstance(value, dict) or not value:
        raise FilterError(f'is {described(value)}; write an object such as {{"price": {{"lt": 50}}}}', pointer)
    if depth > MAX_DEPTH:
        raise FilterError(f"nests more than {MAX_DEPTH} deep; write it flatter", pointer)
    members = [_member(name, inner, f"{pointer}/{_escaped(name)}", depth) for name, inner in value.items()]
    return members[0] if len(members) == 1 else AllOf(tuple(members), pointer)


def _member(name: str, inner: object, pointer: str, depth: int) -> Filter:
    if name == "not":
        return Negation(_from_json(inner, pointer, depth + 1), pointer)
    if name in ("and", "or"):
        if not isinstance(inner, list) or not inner:
            raise FilterError(f"is {described(inner)}; write a list of at least one filter", pointer)
        operands = tuple(_from_json(operand, f"{pointer}/{i}", depth + 1) for i, operand in enumerate(inner))
        return AllOf(operands, pointer) if name == "and" else AnyOf(operands, pointer)
    if inner is None:
        return Missing(name, pointer)
    if isinstance(inner, dict):
        return _condition(name, inner, pointer)
    if isinstance(inner, list):
        if not inner:
            raise FilterError("is an empty list, which no value is in", pointer)
        return OneOf(name, tuple(_value(one, f"{pointer}/{i}") for i, one in enumerate(inner)), pointer)
    return OneOf(name, (_value(inner, pointer),), pointer)


def _condition(column: str, wanted: dict[str, object], pointer: str) -> Filter:
    if wanted.keys() == {"under"}:
        path = wanted["under"]
        if not isinstance(path, str):
            raise FilterError(f"is {described(path)}; a path is a string", f"{pointer}/under")
        return Under(column, path, pointer)
    low_ends, high_ends = wanted.keys() & {"gt", "gte"}, wanted.keys() & {"lt", "lte"}
    if not wanted or wanted.keys() - low_ends - high_ends or max(len(low_ends), len(high_ends)) > 1:
        raise FilterError(
            'is no condition on a column; write one of "gt" and "gte", one of "lt" and "lte", or "under"', pointer
        )
    low, high = (
        [Bound(_value(wanted[name], f"{pointer}/{name}"), name.endswith("e")) for name in ends]
        for ends in (low_ends, high_ends)
    )
    return Range(column, low[0] if low else None, high[0] if high else None, pointer)


def _value(value: object, pointer: str) -> Value:
    if isinstance(value, (str, bool)):
        return value
    if isinstance(value, (int, float)):
        return _number(value, pointer)
    raise FilterError(f"is {described(value)}; a value is a string, a number, true or false", pointer)


def _number(written: str | float, place: Place) -> float:
    try:
        number = float(written)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise FilterError("has a number that is too large", place)
    return number


def _escaped(name: str) -> str:
    """A member's name as it stands in a JSON pointer."""
    return name.replace("~", "~0").replace("/", "~1")
