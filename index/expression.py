"""Queries as expressions: texts joined by AND, OR and NOT, and the normal form in which they are answered.

An expression is a tree. Whatever it says, it can be said as a union of *conjunctions*, each of which holds some
texts and excludes others: its disjunctive normal form. There may be at most ``MAX_BOXES`` of them, as each costs a
search of its own, and each must hold a text: excluding alone says nothing of what to look for.

Every node remembers where it was written: a character offset into a text, or a JSON pointer (RFC 6901).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import chain, product
from typing import TYPE_CHECKING

from index.places import MisplacedError, Place
from model.text import words

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_BOXES = 16
MAX_DEPTH = 32
"""How deep operators may be nested."""
MAX_TEXTS = 64
"""How many texts an expression may name, repetitions counted."""
MAX_WORDS = 512
"""How many words these may have together, repetitions counted: every one is looked up in the whole catalogue."""


class ExpressionError(MisplacedError):
    """A query that no search can be made of."""

    what = "the query"


@dataclass(frozen=True, slots=True)
class Text:
    """What a shopper would type, taken literally."""

    text: str
    place: Place = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class And:
    """All of its operands at once."""

    operands: tuple[Expression, ...]
    place: Place = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Or:
    """At least one of its operands."""

    operands: tuple[Expression, ...]
    place: Place = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Not:
    """What its operand is not."""

    operand: Expression
    place: Place = field(default=None, compare=False)


Expression = Text | And | Or | Not


@dataclass(frozen=True, slots=True)
class Conjunction:
    """Texts to hold, of which there is at least one, and texts to exclude; each once, in the order of the alphabet.

    In a normal form a text is its words with a space between each two, so that what reads alike is one text.
    """

    positive: tuple[str, ...]
    negative: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Clause:
    """A conjunction in the making: its texts, and where each was written."""

    positive: dict[str, Place]
    negative: dict[str, Place]

    @property
    def key(self) -> tuple[frozenset[str], frozenset[str]]:
        return frozenset(self.positive), frozenset(self.negative)

    def narrower(self, other: _Clause) -> bool:
        """Whether it asks for all that ``other`` asks for, and for something else too."""
        held, excluded = self.positive.keys() >= other.positive.keys(), self.negative.keys() >= other.negative.keys()
        return held and excluded and self.key != other.key

    def joined(self, other: _Clause) -> _Clause:
        return _Clause({**other.positive, **self.positive}, {**other.negative, **self.negative})


def texts(expression: Expression) -> list[Text]:
    """The texts of an expression, left to right.

    Raises:
        ExpressionError: it is nested deeper than ``MAX_DEPTH`` or names more than ``MAX_TEXTS`` texts.
    """
    found: list[Text] = []
    for text in _texts(expression, 0):
        found.append(text)
        if len(found) > MAX_TEXTS:
            raise ExpressionError(f"names more than {MAX_TEXTS} texts; leave some out", text.place)
    return found


def normal_form(expression: Expression) -> tuple[Conjunction, ...]:
    """The conjunctions whose union an expression is, each once, and none that only narrows another.

    Raises:
        ExpressionError: an operand is empty, a conjunction only excludes, or there is too much of something:
            ``MAX_DEPTH``, ``MAX_TEXTS``, ``MAX_WORDS``, ``MAX_BOXES``.
    """
    count = 0
    for text in texts(expression):
        found = words(text.text)
        if not found:
            raise ExpressionError(f"{text.text!r} has no letter or digit to search by", text.place)
        count += len(found)
        if count > MAX_WORDS:
            raise ExpressionError(f"comes to {count} words here; its texts may have {MAX_WORDS} together", text.place)
    clauses = _clauses(expression, negated=False, place=None)
    for clause in clauses:
        if not clause.positive:
            raise ExpressionError(
                "NOT only excludes: say with AND what to look for, as in `drill NOT cordless`",
                next(iter(clause.negative.values())),
            )
    return tuple(Conjunction(tuple(sorted(clause.positive)), tuple(sorted(clause.negative))) for clause in clauses)


def _texts(expression: Expression, depth: int) -> Iterator[Text]:
    if depth > MAX_DEPTH:
        raise too_deep(expression.place)
    if isinstance(expression, Text):
        yield expression
        return
    operands = (expression.operand,) if isinstance(expression, Not) else expression.operands
    if not operands:
        raise ExpressionError("has an operator without an operand", expression.place)
    for operand in operands:
        yield from _texts(operand, depth + 1)


def too_deep(place: Place) -> ExpressionError:
    """The error of what is nested deeper than ``MAX_DEPTH``."""
    return ExpressionError(f"nests operators more than {MAX_DEPTH} deep; write it flatter", place)


def _clauses(expression: Expression, *, negated: bool, place: Place) -> list[_Clause]:
    """Clauses of the expression, or of its negation; ``place`` is that of the NOT around it."""
    if isinstance(expression, Text):
        here = {" ".join(words(expression.text)): place if negated else expression.place}
        return [_Clause({}, here) if negated else _Clause(here, {})]
    if isinstance(expression, Not):
        return _clauses(expression.operand, negated=not negated, place=expression.place)
    parts = [_clauses(operand, negated=negated, place=place) for operand in expression.operands]
    # De Morgan: a negated AND is the union of its negated operands, and the other way round
    if isinstance(expression, Or) is not negated:
        return _distinct(chain.from_iterable(parts), expression.place)
    joined = parts[0]
    for part in parts[1:]:
        joined = _distinct((left.joined(right) for left, right in product(joined, part)), expression.place)
    return joined


def _distinct(clauses: Iterator[_Clause], place: Place) -> list[_Clause]:
    once: dict[tuple[frozenset[str], frozenset[str]], _Clause] = {}
    for clause in clauses:
        once.setdefault(clause.key, clause)
    found = [clause for clause in once.values() if not any(clause.narrower(other) for other in once.values())]
    if len(found) > MAX_BOXES:
        raise ExpressionError(
            f"comes to {len(found)} alternatives once its brackets are multiplied out; at most {MAX_BOXES} can be "
            "searched",
            place,
        )
    return found
