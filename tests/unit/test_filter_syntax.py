from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from index.filter_syntax import MAX_LENGTH, from_json, parse
from index.filters import (
    MAX_DEPTH,
    MAX_VALUES,
    AllOf,
    AnyOf,
    Bound,
    FilterError,
    Missing,
    Negation,
    OneOf,
    Range,
    Under,
)

UNDER_50 = Range("price", None, Bound(50.0, inclusive=False))
BRANDS = OneOf("brand", ("3M", "Behr"))


@pytest.mark.parametrize(
    ("text", "form", "meant"),
    [
        ("price < 50", {"price": {"lt": 50}}, UNDER_50),
        ("price<=50", {"price": {"lte": 50}}, Range("price", None, Bound(50.0))),
        ("price > -1.5e1", {"price": {"gt": -15}}, Range("price", Bound(-15.0, inclusive=False))),
        ("price>=.5", {"price": {"gte": 0.5}}, Range("price", Bound(0.5))),
        ("price between 1 AND 2", {"price": {"gte": 1, "lte": 2}}, Range("price", Bound(1.0), Bound(2.0))),
        ("brand = '3M'", {"brand": "3M"}, OneOf("brand", ("3M",))),
        ('brand IN ("3M","Behr")', {"brand": ["3M", "Behr"]}, BRANDS),
        ('brand not in ("3M","Behr")', {"not": {"brand": ["3M", "Behr"]}}, Negation(BRANDS)),
        ("in_stock = TRUE", {"in_stock": True}, OneOf("in_stock", (True,))),
        ("volts != 18", {"not": {"volts": 18}}, Negation(OneOf("volts", (18.0,)))),
        ('category_path UNDER "Tools > Saws"', {"category_path": {"under": "Tools > Saws"}},
         Under("category_path", "Tools > Saws")),
        ("colour is null", {"colour": None}, Missing("colour")),
        ("colour IS NOT NULL", {"not": {"colour": None}}, Negation(Missing("colour"))),
        ('`screen size` = "5\\""', {"screen size": '5"'}, OneOf("screen size", ('5"',))),
        ('price < 50 AND brand IN ("3M", "Behr")', {"price": {"lt": 50}, "brand": ["3M", "Behr"]},
         AllOf((UNDER_50, BRANDS))),
        ('NOT (price < 50 OR brand IN ("3M", "Behr"))',
         {"not": {"or": [{"price": {"lt": 50}}, {"brand": ["3M", "Behr"]}]}},
         Negation(AnyOf((UNDER_50, BRANDS)))),
    ],
)  # fmt: skip
def test_text_and_json_mean_the_same(text, form, meant):
    assert parse(text) == meant
    assert from_json(json.loads(json.dumps(form))) == meant


def test_not_binds_tighter_than_and_and_and_tighter_than_or():
    a, b, c = (OneOf(name, (1.0,)) for name in "abc")
    assert parse("NOT a = 1 AND b = 1 OR c = 1") == AnyOf((AllOf((Negation(a), b)), c))
    assert parse("NOT a = 1 AND (b = 1 OR c = 1)") == AllOf((Negation(a), AnyOf((b, c))))


def test_a_column_may_be_called_like_a_word_of_the_grammar_or_begin_like_one():
    assert parse("order = 1 AND notes = 1") == AllOf((OneOf("order", (1.0,)), OneOf("notes", (1.0,))))
    assert parse("`and` = 1") == OneOf("and", (1.0,))
    assert parse("größe > 4") == Range("größe", Bound(4.0, inclusive=False))


@pytest.mark.parametrize(
    ("text", "position", "said"),
    [
        ("", 0, "ends where more should follow"),
        ("price <", 7, "ends where more should follow"),
        ("(price < 5", 10, "ends where more should follow"),
        ("price < 5)", 9, "has ) where it cannot be read"),
        ("brand = 3M", 8, "has 3M where it cannot be read; a text stands in quotes"),
        ("brand = Behr", 8, "a text stands in quotes"),
        ('brand = "Behr', 8, 'opens a quote " that is never closed'),
        ("a = 1 b = 2", 6, "has b where it cannot be read"),
        ("price = 1e999", 8, "has a number that is too large"),
        ("a = 1 AND price BETWEEN 20 AND 10", 10, "wants price at least 20 and at most 10"),
        ("price > 20 AND a = 1 AND price < 10", 25, "wants price above 20 and below 10"),
        ("price >= 5 AND price < 5", 15, "wants price at least 5 and below 5"),
        ('name > "b" AND name < "a"', 15, 'wants name above "b" and below "a"'),
        ("NOT " * (MAX_DEPTH + 1) + "a = 1", 4 * MAX_DEPTH + 4, f"nests more than {MAX_DEPTH} deep"),
        (f"a IN ({','.join(['1'] * (MAX_VALUES + 1))})", 0, "names more than 1,000 values"),
    ],
)
def test_a_text_that_is_no_filter_is_refused_with_its_position(text, position, said):
    with pytest.raises(FilterError) as caught:
        parse(text)
    assert said in caught.value.message
    assert caught.value.position == position


def test_a_text_that_is_too_long_is_refused_unread():
    with pytest.raises(FilterError, match=f"at most {MAX_LENGTH:,} are allowed"):
        parse("a" * (MAX_LENGTH + 1))


@pytest.mark.parametrize(
    ("form", "pointer", "said"),
    [
        ({}, "", "is an object with 0 keys"),
        (["a"], "", "is a list of 1"),
        ({"and": []}, "/and", "is a list of 0; write a list of at least one filter"),
        ({"or": {"a": 1}}, "/or", "write a list of at least one filter"),
        ({"or": [{"a": 1}, 3]}, "/or/1", "is a number"),
        ({"price": {}}, "/price", "is no condition on a column"),
        ({"price": {"gt": 1, "gte": 2}}, "/price", "is no condition on a column"),
        ({"price": {"above": 1}}, "/price", "is no condition on a column"),
        ({"price": {"gt": None}}, "/price/gt", "is null; a value is"),
        ({"price": {"gt": 10**400}}, "/price/gt", "has a number that is too large"),
        ({"price": {"gt": 20, "lt": 10}}, "/price", "wants price above 20 and below 10"),
        ({"brand": []}, "/brand", "is an empty list"),
        ({"brand": [["3M"]]}, "/brand/0", "is a list of 1; a value is"),
        ({"path": {"under": 3}}, "/path/under", "is a number; a path is a string"),
        ({"a/b~c": {"gt": []}}, "/a~1b~0c/gt", "is a list of 0"),
    ],
)
def test_json_that_is_no_filter_is_refused_with_a_pointer(form, pointer, said):
    with pytest.raises(FilterError) as caught:
        from_json(form)
    assert said in caught.value.message
    assert caught.value.pointer == pointer


def test_json_that_nests_too_deep_is_refused():
    form: dict = {"a": 1}
    for _ in range(MAX_DEPTH + 2):
        form = {"not": form}
    with pytest.raises(FilterError, match="deep"):
        from_json(form)


def test_200_brackets_around_a_test_are_read():
    assert parse("(" * 200 + "a = 1" + ")" * 200) == OneOf("a", (1.0,))


@given(text=st.text(alphabet="ab1 ()=<>\"'`.,\\ANDORNTIS", max_size=40))
def test_whatever_is_typed_is_a_filter_or_refused_with_a_position(text):
    position = 0
    try:
        parse(text)
    except FilterError as error:
        position = error.position
    assert position in range(len(text) + 1)
