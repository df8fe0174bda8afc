from __future__ import annotations

import numpy as np
import oracles_image as oracles
import pytest

from model.image.surface import Surface
from model.image.tree import read_paths


def test_classes_are_whole_paths_and_levels_go_from_fine_to_broad():
    tree, labels = read_paths(["A > B > C", "A > B > D", "A > E > C", "F > G > H", "A > B > C"])
    assert tree.names == (
        ("A > B > C", "A > B > D", "A > E > C", "F > G > H"),
        ("A > B", "A > E", "F > G"),
        ("A", "F"),
    )
    assert labels.tolist() == [0, 1, 2, 3, 0]
    assert tree.nodes.tolist() == [[0, 0, 1, 2], [0, 0, 0, 1]]
    assert (tree.classes, tree.levels) == (4, 3)


def test_a_short_path_stands_for_itself_on_the_levels_that_it_lacks():
    tree, labels = read_paths(["A > B > C", "A > B > D", "A", "E>F"])
    assert tree.names[0] == ("A", "A > B > C", "A > B > D", "E > F")
    assert tree.names[1] == ("A", "A > B", "E > F")
    assert labels.tolist() == [1, 2, 0, 3]


def test_a_level_that_tells_nothing_apart_or_no_less_than_the_one_below_is_left_out():
    assert read_paths(["R > A", "R > B"])[0].levels == 1
    assert read_paths(["A > x > 1", "B > y > 2", "B > y > 3"])[0].levels == 2
    assert read_paths(["A", "B"])[0].nodes.shape == (0, 2)


def test_a_path_without_a_level_is_refused():
    with pytest.raises(ValueError, match="no level"):
        read_paths(["A", " > "])


@pytest.mark.parametrize("surface", [Surface(dim=4), Surface(kind="sheet", dim=4, curvature=1.3, radius=1.5)])
def test_squares_are_squared_distances_and_points_stay_where_the_surface_says(surface):
    rng = np.random.default_rng(1)
    points = surface.place(5 * rng.standard_normal((6, 4)))
    found = surface.squares(points, points[:2])
    for i, j in np.ndindex(6, 2):
        assert found[i, j] == pytest.approx(oracles.squared(points[i], points[j], surface), rel=1e-6, abs=1e-9)
    if surface.kind == "sphere":
        assert np.linalg.norm(points, axis=1) == pytest.approx(np.ones(6))
        assert found == pytest.approx(2 - 2 * points @ points[:2].T, abs=1e-9)
    else:
        far = np.arcsinh(np.sqrt(surface.curvature) * np.linalg.norm(points, axis=1)) / np.sqrt(surface.curvature)
        assert (far < surface.radius).all()


def test_a_surface_that_contradicts_itself_is_refused():
    with pytest.raises(ValueError, match="a sphere cannot have curvature 1"):
        Surface(curvature=1.0)
    with pytest.raises(ValueError, match="a sheet cannot have curvature 0"):
        Surface(kind="sheet")
