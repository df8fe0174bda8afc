from __future__ import annotations

import pytest

from index.live_columns import LiveColumns


@pytest.fixture
def columns():
    growing = LiveColumns({"colour": "text"})
    growing.extend(0, [{"volts": 18.0}, {"colour": "red", "kit": True}])
    return growing


def test_a_column_is_of_the_first_value_that_comes(columns):
    assert columns.types == {"volts": "number", "colour": "text", "kit": "boolean"}


def test_a_column_that_a_snapshot_has_keeps_its_type_whatever_comes():
    growing = LiveColumns({"size": "text"})
    growing.extend(0, [{"size": 12.0}])
    assert growing.types == {"size": "text"}
    assert growing.first(1)["size"].value(0) == "12"


def test_another_snapshot_whose_columns_are_of_the_same_types_is_kept_to_as_well(columns):
    assert columns.expect({"colour": "text", "volts": "number", "size": "text"})
    columns.extend(2, [{"size": 12.0}])
    assert columns.types["size"] == "text"


@pytest.mark.parametrize("types", [{"colour": "number"}, {"volts": "text"}, {"kit": "number", "colour": "text"}])
def test_another_snapshot_whose_columns_are_of_other_types_is_not(columns, types):
    assert not columns.expect({**types, "size": "text"})
    columns.extend(2, [{"size": 12.0}])
    assert columns.types["size"] == "number"
