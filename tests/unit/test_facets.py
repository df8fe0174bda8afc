from __future__ import annotations

import numpy as np
import pytest
from fakes import VARIED_PRODUCTS, columns_of, varied_product

from index.facets import facet
from index.parts import Part


@pytest.fixture(scope="module")
def columns(tmp_path_factory):
    return columns_of(VARIED_PRODUCTS, tmp_path_factory.mktemp("facets"))


ALL = np.arange(len(VARIED_PRODUCTS))


def test_values_are_counted_over_the_rows_and_no_others(columns):
    rows = np.arange(0, 60, 2)
    found = facet("brand", [Part(columns, rows, 0)], size=100)
    expected = {}
    for row in rows.tolist():
        expected[VARIED_PRODUCTS[row].brand] = expected.get(VARIED_PRODUCTS[row].brand, 0) + 1
    assert found.missing == expected.pop("", 0)
    assert dict(found.counts) == expected
    assert found.values == len(expected)


def test_the_most_frequent_come_first_and_only_as_many_as_asked(tmp_path):
    brands = ["b"] * 3 + ["a"] * 3 + ["c"] * 5 + ["d"]
    columns = columns_of([varied_product(i, brand=brand) for i, brand in enumerate(brands)], tmp_path)
    found = facet("brand", [Part(columns, np.arange(len(brands)), 0)], size=3)
    assert found.counts == (("c", 5), ("a", 3), ("b", 3))
    assert found.values == 4


def test_numbers_come_with_their_least_and_greatest_and_booleans_as_booleans(columns):
    prices = facet("price", [Part(columns, ALL, 0)], size=2)
    assert (prices.least, prices.greatest, prices.missing) == (-1.0, 1e9, 20)
    kits = facet("kit", [Part(columns, ALL, 0)], size=5)
    assert kits.counts == ((False, 40), (True, 40))
    assert [type(value) for value, _ in kits.counts] == [bool, bool]
    assert kits.least is None


def test_a_category_counts_what_is_below_it(tmp_path):
    paths = ["A > B", "A > B > C", "A", "D", ""]
    columns = columns_of([varied_product(i, path=path) for i, path in enumerate(paths)], tmp_path)
    found = facet("category_path", [Part(columns, np.arange(5), 0)], size=10)
    assert found.counts == (("A", 3), ("A > B", 2), ("A > B > C", 1), ("D", 1))
    assert found.missing == 1


def test_several_tables_are_counted_as_one(columns):
    halves = [Part(columns, ALL[:50], 0), Part(columns, ALL[50:], 0)]
    for name in ("brand", "category_path", "price", "kit"):
        assert facet(name, halves, size=50) == facet(name, [Part(columns, ALL, 0)], size=50)
