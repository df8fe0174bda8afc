from __future__ import annotations

import json
import string

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from index.expression import And, ExpressionError, Not, Or, Text, normal_form
from index.operators import from_json, parse

T = Text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("fire tv stick", T("fire tv stick")),
        ("  fire\t tv ", T("fire tv")),
        ("fire tv stick AND alexa", And((T("fire tv stick"), T("alexa")))),
        ("fire OR kindle", Or((T("fire"), T("kindle")))),
        ("drill NOT cordless", And((T("drill"), Not(T("cordless"))))),
        ("drill AND NOT cordless", And((T("drill"), Not(T("cordless"))))),
        ("NOT refurbished", Not(T("refurbished"))),
        ("NOT NOT a", Not(Not(T("a")))),
        ("a AND b OR c AND d", Or((And((T("a"), T("b"))), And((T("c"), T("d")))))),
        ("a OR b NOT c", Or((T("a"), And((T("b"), Not(T("c"))))))),
        ("a AND b AND c", And((T("a"), T("b"), T("c")))),
        ("(a OR b) AND c", And((Or((T("a"), T("b"))), T("c")))),
        ("door (oak OR pine)", And((T("door"), Or((T("oak"), T("pine")))))),
        ("NOT (a OR b) c", And((Not(Or((T("a"), T("b")))), T("c")))),
        ("((a))", T("a")),
        ('"fire AND (ice"', T("fire AND (ice")),
        ('"fire tv" stick', And((T("fire tv"), T("stick")))),
        ("rock and roll or not", T("rock and roll or not")),
        ("And Or Not", T("And Or Not")),
        ("ANDROID NOTE", T("ANDROID NOTE")),
        ("a(b)c", And((T("a"), T("b"), T("c")))),
        ("1/2 in. pipe", T("1/2 in. pipe")),
    ],
)
def test_operator_syntax_is_read_by_its_grammar(text, expected):
    assert parse(text) == expected


@pytest.mark.parametrize(
    ("text", "position", "reason"),
    [
        ("", 0, "ends where"),
        ("   ", 3, "ends where"),
        ("(a", 0, "never closed"),
        ("a AND (b OR c", 6, "never closed"),
        ("a)", 1, "never opened"),
        ("(a))", 3, "never opened"),
        ('a "b', 2, "never closed"),
        ('1/2" pipe', 3, "never closed"),
        ("a AND", 5, "ends where"),
        ("AND a", 0, "'AND'"),
        ("a OR OR b", 5, "'OR'"),
        ("a AND OR b", 6, "'OR'"),
        ("()", 1, r"'\)'"),
        ("a AND ()", 7, r"'\)'"),
        ('a AND ""', 6, "no letter or digit"),
        ("a AND !!", 6, "no letter or digit"),
        ("NOT", 3, "ends where"),
        ("a NOT", 5, "ends where"),
        ("NOT (", 5, "ends where"),
    ],
)
def test_what_cannot_be_read_is_refused_at_its_character(text, position, reason):
    with pytest.raises(ExpressionError, match=reason) as caught:
        parse(text)
    assert caught.value.position == position


@pytest.mark.parametrize(
    "text",
    ["NOT " * 200 + "a", "(" * 200 + "a" + ")" * 200, "a AND (" * 200 + "a" + ")" * 200, "(" * 100_000, "NOT(" * 9999],
)
def test_operators_nested_two_hundred_times_are_refused_where_it_gets_too_deep(text):
    with pytest.raises(ExpressionError, match="deep") as caught:
        normal_form(parse(text))
    assert 0 < caught.value.position < 300


def test_positions_of_a_normal_form_are_those_of_the_text():
    with pytest.raises(ExpressionError, match="only excludes") as caught:
        normal_form(parse("drill OR NOT cordless"))
    assert caught.value.position == 9


def refusal(read, value) -> ExpressionError | None:
    try:
        read(value)
    except ExpressionError as error:
        return error
    return None


PIECES = st.sampled_from(["AND", "OR", "NOT", "(", ")", '"', " ", "drill", "saw 12", "!", "½", "\n"])


@settings(deadline=None)
@given(st.lists(PIECES, max_size=60).map("".join) | st.lists(PIECES, max_size=60).map(" ".join) | st.text())
def test_any_text_is_read_or_refused_inside_it(text):
    error = refusal(parse, text)
    assert error is None or 0 <= error.position <= len(text)


def written(expression) -> str:
    match expression:
        case Text(text):
            return f'"{text}"'
        case And(operands):
            return "(" + " AND ".join(map(written, operands)) + ")"
        case Or(operands):
            return "(" + " OR ".join(map(written, operands)) + ")"
        case Not(operand):
            return f"NOT {written(operand)}"


def as_json(expression):
    match expression:
        case Text(text):
            return text
        case And(operands):
            return {"and": [as_json(operand) for operand in operands]}
        case Or(operands):
            return {"or": [as_json(operand) for operand in operands]}
        case Not(operand):
            return {"not": as_json(operand)}


TREES = st.recursive(
    st.text(string.ascii_letters + " ()", min_size=1).filter(lambda text: any(map(str.isalpha, text))).map(Text),
    lambda inner: st.one_of(
        st.lists(inner, min_size=2, max_size=3).map(lambda operands: And(tuple(operands))),
        st.lists(inner, min_size=2, max_size=3).map(lambda operands: Or(tuple(operands))),
        inner.map(Not),
    ),
    max_leaves=6,
)


@settings(deadline=None)
@given(TREES)
def test_what_is_written_out_is_read_back(tree):
    assert parse(written(tree)) == tree
    assert from_json(json.loads(json.dumps(as_json(tree)))) == tree


@pytest.mark.parametrize(
    ("value", "pointer"),
    [
        (None, ""),
        (7, ""),
        (True, ""),
        ([], ""),
        (["a"], ""),
        ({}, ""),
        ({"and": ["a"], "or": ["b"]}, ""),
        ({"xor": ["a"]}, ""),
        ({"and": []}, "/and"),
        ({"and": "a"}, "/and"),
        ({"or": {"not": "a"}}, "/or"),
        ({"and": ["a", ""]}, "/and/1"),
        ({"and": ["a", {"or": ["b", "?!"]}]}, "/and/1/or/1"),
        ({"not": None}, "/not"),
        ("", ""),
        ("!!", ""),
    ],
)
def test_json_of_another_form_is_refused_at_its_pointer(value, pointer):
    with pytest.raises(ExpressionError) as caught:
        from_json(value)
    assert caught.value.pointer == pointer


def test_json_nested_two_hundred_times_is_refused_where_it_gets_too_deep():
    value = "a"
    for _ in range(200):
        value = {"and": [value, "b"]}
    with pytest.raises(ExpressionError, match="deep") as caught:
        normal_form(from_json(value))
    assert caught.value.pointer.startswith("/and/0/and/0")


def test_json_operands_know_where_they_stand():
    with pytest.raises(ExpressionError, match="only excludes") as caught:
        normal_form(from_json({"or": ["drill", {"not": "saw"}]}))
    assert caught.value.pointer == "/or/1"


@settings(deadline=None)
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
        lambda inner: (
            st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["and", "or", "not", "x"]), inner, max_size=2)
        ),
    )
)
def test_any_json_is_read_or_refused(value):
    error = refusal(from_json, value)
    assert error is None or error.pointer is not None
