"""The two ways to write an expression: operators in a text, and JSON.

In a text::

    either   = both { "OR" both }
    both     = operand { [ "AND" ] operand }
    operand  = "NOT" operand | "(" either ")" | '"' phrase '"' | word { word }

Operators are written in capitals; in small letters they are words. AND binds tighter than OR, and NOT tighter than
both; operands side by side are joined by AND, so that ``drill NOT cordless`` is ``drill AND NOT cordless``. Words side
by side are one text, and so is a quoted phrase, in which operators and brackets are words like any other.

In JSON a string is a text, and ``{"and": [...]}``, ``{"or": [...]}`` and ``{"not": ...}`` nest.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from index.expression import MAX_DEPTH, And, Expression, ExpressionError, Not, Or, Text, too_deep
from index.places import described
from model.text import words

_TOKEN = re.compile(r'(?P<space>\s+)|(?P<bracket>[()])|"(?P<phrase>[^"]*)"|(?P<quote>")|(?P<word>[^\s()"]+)')
_OPERATORS = frozenset({"AND", "OR", "NOT"})

Kind = Literal["AND", "OR", "NOT", "(", ")", "word", "phrase", "end"]


@dataclass(frozen=True, slots=True)
class _Token:
    kind: Kind
    text: str
    place: int


def parse(text: str) -> Expression:
    """Read operator syntax.

    Raises:
        ExpressionError: a bracket or a quote has no partner, an operand is missing or has no letter or digit, or
            operators are nested too deep; ``position`` is the offset in ``text``.
    """
    parser = _Parser(_tokens(text))
    expression = parser.either(0)
    if parser.next.kind == ")":
        raise ExpressionError("closes a bracket that was never opened", parser.next.place)
    return expression


def from_json(value: object) -> Expression:
    """Read the JSON form, as ``json.loads`` gives it.

    Raises:
        ExpressionError: it is not such a form, an operand is missing or has no letter or digit, or operators are
            nested too deep; ``pointer`` says where.
    """
    return _from_json(value, "", 0)


class _Parser:
    """Recursive descent over tokens; ``depth`` counts the brackets and NOTs around a place."""

    def __init__(self, tokens: list[_Token]) -> None:
        self._tokens = tokens
        self._at = 0

    @property
    def next(self) -> _Token:
        """The token not read yet."""
        return self._tokens[self._at]

    def either(self, depth: int) -> Expression:
        place = self.next.place
        operands = [self._both(depth)]
        while self.next.kind == "OR":
            self._take()
            operands.append(self._both(depth))
        return operands[0] if len(operands) == 1 else Or(tuple(operands), place)

    def _both(self, depth: int) -> Expression:
        place = self.next.place
        operands = [self._operand(depth)]
        while self.next.kind not in ("OR", ")", "end"):
            if self.next.kind == "AND":
                self._take()
            operands.append(self._operand(depth))
        return operands[0] if len(operands) == 1 else And(tuple(operands), place)

    def _operand(self, depth: int) -> Expression:
        token = self._take()
        if token.kind in ("NOT", "(") and depth == MAX_DEPTH:
            raise too_deep(token.place)
        if token.kind == "NOT":
            return Not(self._operand(depth + 1), token.place)
        if token.kind == "(":
            inner = self.either(depth + 1)
            if self._take().kind != ")":
                raise ExpressionError("opens a bracket that is never closed", token.place)
            return inner
        if token.kind == "phrase":
            return _text(token.text, token.place)
        if token.kind == "word":
            found = [token.text]
            while self.next.kind == "word":
                found.append(self._take().text)
            return _text(" ".join(found), token.place)
        fault = "ends" if token.kind == "end" else f"has {token.text!r}"
        raise ExpressionError(f"{fault} where a text, a bracket or NOT should stand", token.place)

    def _take(self) -> _Token:
        token = self.next
        # the end is never passed, so whoever looks for more finds the end again
        self._at = min(self._at + 1, len(self._tokens) - 1)
        return token


def _tokens(text: str) -> list[_Token]:
    tokens = []
    for match in _TOKEN.finditer(text):
        found = match[0]
        place = match.start()
        if match.lastgroup == "quote":
            raise ExpressionError('opens a quote that is never closed; for inches write in, as in "1/2 in pipe"', place)
        if match.lastgroup == "phrase":
            tokens.append(_Token("phrase", match["phrase"], place))
        elif match.lastgroup == "bracket" or found in _OPERATORS:
            tokens.append(_Token(found, found, place))  # type: ignore[arg-type]  # one of the kinds, by the pattern
        elif match.lastgroup == "word":
            tokens.append(_Token("word", found, place))
    return [*tokens, _Token("end", "", len(text))]


def _text(text: str, place: int | str) -> Text:
    if not words(text):
        raise ExpressionError(f"has {text!r} as an operand, in which no letter or digit is", place)
    return Text(text, place)


def _from_json(value: object, pointer: str, depth: int) -> Expression:
    if isinstance(value, str):
        return _text(value, pointer)
    if not isinstance(value, dict) or len(value) != 1 or not value.keys() <= {"and", "or", "not"}:
        raise ExpressionError(
            f'is {described(value)}; write a string, {{"and": [...]}}, {{"or": [...]}} or {{"not": ...}}', pointer
        )
    if depth == MAX_DEPTH:
        raise too_deep(pointer)
    ((operator, inner),) = value.items()
    below = f"{pointer}/{operator}"
    if operator == "not":
        return Not(_from_json(inner, below, depth + 1), pointer)
    if not isinstance(inner, list) or not inner:
        raise ExpressionError(f"is {described(inner)}; write a list of at least one operand", below)
    operands = tuple(_from_json(operand, f"{below}/{i}", depth + 1) for i, operand in enumerate(inner))
    return And(operands, pointer) if operator == "and" else Or(operands, pointer)
