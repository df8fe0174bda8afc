"""The GPU's benchmark, as far as it can be run without one."""

from __future__ import annotations

import numpy as np
import pytest
from places import has_gpu

from model import lorentz

gpu = pytest.importorskip("benchmarks.gpu", reason="torch is not installed")


@pytest.mark.skipif(has_gpu(), reason="there is a GPU, so it measures")
def test_without_a_gpu_it_says_so_and_writes_nothing(tmp_path):
    with pytest.raises(SystemExit, match=r"needs a GPU: torch .* finds no CUDA device\. Nothing was measured"):
        gpu.main(["--out", str(tmp_path / "gpu.json")])
    assert not list(tmp_path.iterdir())


def test_points_are_drawn_on_radii_as_trained_ones_have():
    radii = lorentz.radius(gpu.drawn(5000, 64, seed=1), c=gpu.C)
    assert 1.0 < np.percentile(radii, 5) < np.percentile(radii, 95) < 2.1


def test_repeated_points_lie_near_those_they_repeat_and_are_none_of_them():
    points = gpu.drawn(300, 16, seed=1)
    made = gpu.repeated(points, 1000, seed=2)
    assert made.shape == (1000, 16)
    moved = lorentz.dist(made, points[np.arange(1000) % 300], c=1.0)
    assert 0 < moved.min() <= moved.max() < 1.0


def test_all_of_the_cpus_top_is_found_and_every_ratio_is_of_the_times_beside_it():
    found = gpu.measured(gpu.drawn(3000, 16, seed=0), place="cpu", sample=1000, queries=3, seed=0, gpu=None)
    assert found["recall"] == {"scan": {"rows": 1000, "recall": 1.0}}
    assert found["kernel"] == "torch, in blocks"
    for name, ratio in found["scan_to_read"].items():
        assert ratio == found["scan"][name]["median_seconds"] / found["read"]["median_seconds"]
