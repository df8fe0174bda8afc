import json
from typing import NamedTuple

import pytest

from benchmarks.cells import chosen, summarise


class Cell(NamedTuple):
    name: str


CELLS = [Cell("a-s0"), Cell("a-s1"), Cell("b-a-s1"), Cell("c-s1")]


def test_cells_are_chosen_by_several_patterns_each_once_and_in_the_order_asked_for():
    assert [cell.name for cell in chosen(CELLS, "c-s1,a-*,*a-s1")] == ["c-s1", "a-s0", "a-s1", "b-a-s1"]


def test_a_pattern_that_fits_no_cell_is_named_among_others_that_do():
    with pytest.raises(SystemExit, match="no cell is called d-\\*; there are: a-s0, a-s1"):
        chosen(CELLS, "a-s0,d-*")


def test_a_summary_that_tells_of_cells_without_a_record_is_not_written_over(tmp_path):
    out = tmp_path / "some.d"
    told = [{"data": "shop", "system": "a", "dim": None, "seeds": [0, 1], "MRR": 0.5}]
    summarise(out, lambda _: {"systems": told})
    before = out.with_suffix(".json").read_bytes()
    told = [{**told[0], "seeds": [1]}, {"data": "shop", "system": "b", "seeds": [0]}]
    with pytest.raises(SystemExit, match="has no record of shop-a-s0, which"):
        summarise(out, lambda _: {"systems": told})
    assert out.with_suffix(".json").read_bytes() == before


def test_a_summary_gains_cells_and_takes_new_figures(tmp_path):
    out = tmp_path / "some.d"
    row = {"system": "a", "surface": "sphere", "seeds": [0]}
    for systems in ([{**row, "MRR": 0.5}], [{**row, "seeds": [0, 1], "MRR": 0.4}, {**row, "system": "b"}]):
        summarise(out, lambda _, systems=systems: {"systems": systems})
        assert json.loads(out.with_suffix(".json").read_bytes())["systems"] == systems
