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


def test_the_picture_of_gains_has_a_curve_over_each_habit_with_the_other_as_usual():
    plots = pytest.importorskip("benchmarks.plots", exc_type=ModuleNotFoundError)
    habits = {"usual": (1.0, 0.0), "tail3": (3.0, 0.0), "tail0": (0.0, 0.0), "noise1": (1.0, 1.0), "large": (1.0, 0.0)}
    shops = {
        name: {"products": 50 if name == "large" else 10, "tail": tail, "noise": noise}
        for name, (tail, noise) in habits.items()
    }
    found = {"difference": 0.1, "95 %": [0.0, 0.3]}
    gains = [
        {"data": data, "than": than, "tail": {"pairs": 9, "MRR": found, "Recall@10": found}}
        for data in ("bestbuy", *shops)
        for than in ("bipartite+pretraining", "bipartite+dropedge", "bipartite")
    ]
    gains.append({"data": "tail0", "than": "bipartite", "tail": {"pairs": 0}})
    panels = plots.gains({"shops": shops, "gains": gains}).axes
    for panel, at in zip(panels, [[0, 1, 3], [0, 1], [0, 1, 3], [0, 1]], strict=True):
        drawn = {line.get_label(): list(line[0].get_xdata()) for line in panel.containers}
        assert drawn == {"over bipartite+pretraining": at, "over bipartite+dropedge": at}
