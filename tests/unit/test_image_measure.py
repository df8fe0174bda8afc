from __future__ import annotations

from importlib.util import find_spec

import numpy as np
import oracles_image as oracles
import pytest

from model.image.measure import mistakes, nearest, retrieval
from model.image.surface import Surface

SPHERE = Surface(dim=3)
SHEET = Surface(kind="sheet", dim=3, curvature=1.0, radius=2.0)


def scattered(surface, count=40, classes=6, seed=0):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, count)
    return surface.place(rng.standard_normal((count, 3)) + np.eye(classes, 3)[labels]), labels


@pytest.mark.parametrize("surface", [SPHERE, SHEET], ids=["sphere", "sheet"])
def test_map_at_r_agrees_with_its_definition(surface):
    points, labels = scattered(surface)
    labels[0] = 6  # alone in its class: nothing to find
    assert retrieval(points, labels, surface)["MAP@R"] == pytest.approx(
        oracles.map_at_r(points, labels, surface), rel=1e-9
    )


@pytest.mark.skipif(find_spec("pytorch_metric_learning") is None, reason="pytorch-metric-learning is not installed")
def test_measures_are_those_of_pytorch_metric_learning():
    import torch
    from pytorch_metric_learning.distances import LpDistance
    from pytorch_metric_learning.utils.accuracy_calculator import AccuracyCalculator
    from pytorch_metric_learning.utils.inference import CustomKNN

    points, labels = scattered(SPHERE, count=60)
    calculator = AccuracyCalculator(
        include=("precision_at_1", "mean_average_precision_at_r"), knn_func=CustomKNN(LpDistance()), k="max_bin_count"
    )
    theirs = calculator.get_accuracy(torch.from_numpy(points), torch.from_numpy(labels))
    mine = retrieval(points, labels, SPHERE)
    assert mine["R@1"] == pytest.approx(theirs["precision_at_1"])
    assert mine["MAP@R"] == pytest.approx(theirs["mean_average_precision_at_r"])


def test_recall_asks_whether_any_of_the_nearest_is_right():
    points = SPHERE.place(np.array([[1, 0.0, 0], [1, 0.1, 0], [1, 0.3, 0], [1, 0.6, 0]]))
    labels = np.array([0, 1, 1, 0])
    assert nearest(points, SPHERE, 2).tolist() == [[1, 2], [0, 2], [1, 3], [2, 1]]
    found = retrieval(points, labels, SPHERE)
    assert found["R@1"] == 0.25
    assert found["R@2"] == 0.5
    assert found["R@4"] == found["R@8"] == 1.0


def test_a_picture_alone_in_its_class_is_no_query_but_can_be_found():
    points = SPHERE.place(np.array([[1, 0.0, 0], [1, 0.1, 0], [-1, 0, 0], [1, 0.06, 0]]))
    found = retrieval(points, np.array([0, 0, 0, 1]), SPHERE)
    assert found["R@1"] == pytest.approx(1 / 3)
    assert found["R@2"] == 1.0
    assert set(retrieval(points, np.arange(4), SPHERE).values()) == {0.0}


def test_mistakes_are_told_by_how_far_off_they_are():
    points = SPHERE.place(np.array([[1, 0, 0], [1, 0.1, 0], [0, 1, 0], [0, 1, 0.1], [0, 0, 1], [0.1, 0, 1]]))
    labels = np.array([0, 1, 1, 2, 2, 0])
    finer, broader = np.array([0, 0, 1, 2, 3, 0]), np.array([0, 0, 1, 1, 1, 0])
    found = mistakes(points, labels, [finer, broader], SPHERE)
    assert found == {"wrong": 1.0, "level1": pytest.approx(2 / 6), "level2": pytest.approx(4 / 6)}
    right = mistakes(points, np.array([0, 0, 1, 1, 2, 2]), [finer], SPHERE)
    assert right == {"wrong": 0.0, "level1": 0.0}
