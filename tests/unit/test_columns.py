from __future__ import annotations

import json

import numpy as np
import pyarrow as pa
import pytest
from fakes import COLUMN_NUMBERS, COLUMN_TEXTS, VARIED_PRODUCTS, columns_of, varied_product
from hypothesis import given, settings
from hypothesis import strategies as st

from index import column_files
from index.column_files import COLUMNS, ColumnsWriter, load_columns
from index.filter_syntax import parse
from index.filters import (
    AllOf,
    AnyOf,
    Bound,
    FilterError,
    Missing,
    Negation,
    OneOf,
    Range,
    Under,
    check_types,
)
from model.catalog import CatalogError


@pytest.fixture(scope="module")
def columns(tmp_path_factory):
    return columns_of(VARIED_PRODUCTS, tmp_path_factory.mktemp("columns"))


def oracle(wanted, product):
    """Whether one product passes, from the definitions."""
    if isinstance(wanted, Negation):
        return not oracle(wanted.operand, product)
    if isinstance(wanted, AllOf):
        return all(oracle(operand, product) for operand in wanted.operands)
    if isinstance(wanted, AnyOf):
        return any(oracle(operand, product) for operand in wanted.operands)
    value = {
        "brand": product.brand or None,
        "category_path": product.category_path or None,
        "price": product.price,
        "kit": product.attributes.get("kit"),
    }[wanted.column]
    if isinstance(wanted, Missing):
        return value is None
    if value is None:
        return False
    if isinstance(wanted, OneOf):
        return value in wanted.values
    if isinstance(wanted, Under):
        return value == wanted.path or value.startswith(f"{wanted.path} > ")
    above = wanted.low is None or value > wanted.low.value or (wanted.low.inclusive and value == wanted.low.value)
    below = wanted.high is None or value < wanted.high.value or (wanted.high.inclusive and value == wanted.high.value)
    return above and below


texts = st.sampled_from([*COLUMN_TEXTS[1:], "Behring", "Zoo > "])
numbers = st.sampled_from([*COLUMN_NUMBERS[1:], 2.0])


def bounds(values):
    return st.none() | st.builds(Bound, values, inclusive=st.booleans())


tests = st.one_of(
    st.builds(OneOf, st.sampled_from(["brand", "category_path"]), st.lists(texts, min_size=1, max_size=3).map(tuple)),
    st.builds(OneOf, st.just("price"), st.lists(numbers, min_size=1, max_size=3).map(tuple)),
    st.builds(OneOf, st.just("kit"), st.sampled_from([(True,), (False,), (True, False)])),
    st.builds(Range, st.sampled_from(["brand", "category_path"]), bounds(texts), bounds(texts)),
    st.builds(Range, st.just("price"), bounds(numbers), bounds(numbers)),
    st.builds(Under, st.just("category_path"), texts),
    st.builds(Missing, st.sampled_from(["brand", "category_path", "price", "kit"])),
)
filters = st.recursive(
    tests,
    lambda inner: st.one_of(
        st.builds(Negation, inner),
        st.builds(AllOf, st.lists(inner, min_size=1, max_size=3).map(tuple)),
        st.builds(AnyOf, st.lists(inner, min_size=1, max_size=3).map(tuple)),
    ),
    max_leaves=6,
)


@given(wanted=filters)
@settings(max_examples=300, deadline=None)
def test_a_filter_passes_the_rows_that_an_oracle_passes(wanted, columns):
    check_types(wanted, columns.types)
    expected = [oracle(wanted, product) for product in VARIED_PRODUCTS]
    assert columns.passing(wanted).tolist() == expected


def test_every_column_but_the_description_can_be_filtered_by(columns):
    assert columns.types == {
        "product_id": "text", "title": "text", "brand": "text", "category_path": "text", "image": "text",
        "price": "number", "kit": "boolean", "mixed": "text",
    }  # fmt: skip
    assert np.flatnonzero(columns.passing(parse('product_id = "p17"'))).tolist() == [17]
    assert np.flatnonzero(columns.passing(parse('title IN ("title 3", "title 30")'))).tolist() == [3, 30]
    assert columns.passing(parse("image IS NULL")).all()


def test_a_column_of_several_types_holds_texts_as_they_would_be_written(columns):
    for i, text in ((1, "red"), (2, "4"), (3, "true"), (4, "4.5")):
        rows = np.flatnonzero(columns.passing(parse(f'mixed = "{text}"')))
        assert rows.tolist() == list(range(i, 120, 5))


def test_values_are_read_back(columns):
    for row in (0, 1, 2, 3, 17, 119):
        assert columns["brand"].value(row) == (VARIED_PRODUCTS[row].brand or None)
        assert columns["price"].value(row) == VARIED_PRODUCTS[row].price
        assert columns["kit"].value(row) is VARIED_PRODUCTS[row].attributes.get("kit")


@pytest.mark.parametrize(("name", "descending"), [("price", False), ("price", True), ("brand", False), ("brand", True)])
def test_rows_are_ordered_by_value_then_by_row_and_those_without_one_come_last(columns, name, descending):
    rows = np.arange(119, 20, -1)
    found = columns[name].order(rows, descending=descending).tolist()
    values = {row: columns[name].value(row) for row in rows.tolist()}
    present = sorted(row for row in values if values[row] is not None)
    present.sort(key=lambda row: values[row], reverse=descending)
    assert found == present + sorted(row for row in values if values[row] is None)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("size = 3", "names the column 'size'; the columns are brand, category_path, image, kit, mixed, price"),
        ('price < "50"', 'compares price, which holds numbers, with "50"'),
        ("brand = 3", "compares brand, which holds texts, with 3"),
        ("kit = 1", "compares kit, which holds true and false, with 1"),
        ("price = true", "compares price, which holds numbers, with true"),
        ('price UNDER "Tools"', "asks what is under a path in price, which holds numbers"),
        ("brand IS NULL AND NOT nope IS NULL", "names the column 'nope'"),
    ],
)
def test_a_filter_that_does_not_suit_the_columns_is_refused(columns, text, said):
    with pytest.raises(FilterError) as caught:
        check_types(parse(text), columns.types)
    assert said in caught.value.message
    assert caught.value.position is not None


def test_a_catalogue_of_too_many_columns_is_refused(monkeypatch):
    monkeypatch.setattr(column_files, "MAX_COLUMNS", 10)
    writer = ColumnsWriter()
    with pytest.raises(CatalogError, match="has 11 columns by product 1; at most 10"):
        writer.append([varied_product(0, **{f"a{i}": 1.0 for i in range(5)})])


def test_no_products_make_empty_columns(tmp_path):
    columns = columns_of([], tmp_path)
    assert len(columns) == 0
    assert columns.passing(parse('brand = "Acme"')).tolist() == []


def test_a_file_of_another_kind_is_refused(tmp_path):
    (tmp_path / COLUMNS).write_text(json.dumps({}))
    with pytest.raises((pa.ArrowException, ValueError)):
        load_columns(tmp_path / COLUMNS)
