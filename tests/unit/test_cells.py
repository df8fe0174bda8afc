from typing import NamedTuple

import pytest

from benchmarks.cells import chosen


class Cell(NamedTuple):
    name: str


CELLS = [Cell("a-s0"), Cell("a-s1"), Cell("b-a-s1"), Cell("c-s1")]


def test_cells_are_chosen_by_several_patterns_each_once_and_in_the_order_asked_for():
    assert [cell.name for cell in chosen(CELLS, "c-s1,a-*,*a-s1")] == ["c-s1", "a-s0", "a-s1", "b-a-s1"]


def test_a_pattern_that_fits_no_cell_is_named_among_others_that_do():
    with pytest.raises(SystemExit, match="no cell is called d-\\*; there are: a-s0, a-s1"):
        chosen(CELLS, "a-s0,d-*")
