import pytest


def test_the_picture_of_dimensions_has_a_line_for_each_system_that_was_swept():
    plots = pytest.importorskip("benchmarks.plots", exc_type=ModuleNotFoundError)
    figure = {"mean": 0.5, "std": None}
    swept = [
        {"data": "homedepot", "system": system, "dim": dim, "test": {"retrieve": {"R(rel=4)@10": figure}}}
        for system in ("anthem", "e-anthem", "knrm")
        for dim in (None, 16, 8)
    ]
    tree = {"data": "flipkart", "system": "anthem", "dim": 8, "measures": {"found@100": figure}}
    panels = plots.dims({"systems": [*swept, tree]}).axes
    drawn = [{line.get_label(): list(line[0].get_xdata()) for line in panel.containers} for panel in panels]
    assert drawn == [{"anthem": [8, 16], "e-anthem": [8, 16]}, {"anthem": [8]}]
