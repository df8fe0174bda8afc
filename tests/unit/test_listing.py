from __future__ import annotations

from dataclasses import replace

import pytest

from index.results import Hit, SearchResult, Timings, Total
from model.catalog import Product
from service.listing import print_table

HITS = tuple(
    Hit(Product(f"P{number:07}", "white oak door with frame " * 5), score=-12.3456, distance=2.3456, contained=True)
    for number in range(12)
)
RESULT = SearchResult(
    hits=HITS,
    total=Total(12, "eq"),
    facets=(),
    mode="hybrid",
    generality=-6.0,
    snapshot="20261121T144745-46c5ac",
    model="anthem-a822e1b0254f",
    timings=Timings(encode=0.0, candidates=0.0, rerank=0.0, fuse=0.0, fetch=0.0),
    measured=12,
)


def test_a_title_turns_nothing_that_stands_beside_it(capsys):
    title = "drill \u202eevil\u2066 דלת \u200f"
    print_table(replace(RESULT, hits=(replace(HITS[0], product=Product("P1", title)),)), took_ms=4.9)
    assert "drill evil דלת \u200f" in capsys.readouterr().out


@pytest.mark.parametrize("columns", [80, 120])
def test_a_long_title_is_cut_before_anything_that_a_person_would_copy(columns, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", str(columns))
    print_table(RESULT, took_ms=4.9)
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= columns
    for hit, line in zip(HITS, lines[1:], strict=False):
        assert hit.product.product_id in line
        assert "white oak" in line
        assert "-12.3456" in line
        assert "2.3456" in line
