"""The fused kernel against the CPU's scan and the oracle: interpreted by NumPy, or on a GPU where there is one."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest
from fakes import hierarchical_points
from oracles import conjunction as oracle
from places import has_gpu

from index.algebra import COLLAPSED, Box, Region
from index.boxes import Boxes
from index.exact import scan

torch = pytest.importorskip("torch", reason="torch is not installed: there is no device but the CPU without it")
if not has_gpu():
    os.environ["TRITON_INTERPRET"] = "1"
pytest.importorskip("triton", reason="triton is not installed: on Linux it comes with PyPI's torch")

from index import fused  # noqa: E402 - it needs both
from index.resident import ROWS, ResidentPoints  # noqa: E402

PLACE = "cuda:0" if has_gpu() else "cpu"
# the kernel itself is compiled on a GPU alone; elsewhere its text is run, operation by operation
pytestmark = [pytest.mark.gpu] if has_gpu() else []


def moved(array):
    return torch.tensor(array, device=PLACE)


def nearest(points, region, count, *, c, gamma=0.8, mask=None):
    boxes = Boxes.of(region, c=c, move=moved)
    held = ResidentPoints(points, place=PLACE, c=c, gamma=gamma)
    found = fused.nearest(
        held._tiles, len(points), boxes, count, c=c, gamma=gamma, mask=None if mask is None else moved(mask)
    )
    return found.cpu().numpy()


def made(points, parts, seed, spread):
    chance = np.random.default_rng(seed)

    def some(count, spread):
        centres = points[chance.integers(len(points), size=count)] * np.float32(0.9)
        limits = (spread * chance.lognormal(size=(count, points.shape[1]))).astype(np.float32)
        return list(zip(centres, limits, strict=True))

    conjunctions = [(some(held, spread), some(excluded, 3 * spread)) for held, excluded in parts]
    return conjunctions, Region(
        tuple(
            Box.between([Box.around(*h) for h in held], [Box.around(*e) for e in excluded])
            for held, excluded in conjunctions
        )
    )


SHAPES = {"one box": [(1, 0)], "an AND": [(2, 0)], "exclusions": [(1, 2)], "a union": [(1, 0), (2, 1), (1, 3), (1, 0)]}


@pytest.mark.parametrize("c", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dim", [5, 64])
def test_the_kernel_finds_the_top_that_a_float64_oracle_finds(c, shape, dim):
    points = hierarchical_points(120, dim, c=c or 1.0)
    parts, region = made(points, SHAPES[shape], 4, 0.3)
    expected = np.array(
        [min(oracle(x, *part, collapsed=COLLAPSED, c=c, gamma=0.8)[0] for part in parts) for x in points]
    )
    rows = nearest(points, region, 20, c=c)
    np.testing.assert_allclose(expected[rows], np.sort(expected)[:20], rtol=2e-4, atol=2e-5)
    assert len(set(rows.tolist())) == 20


@pytest.mark.parametrize(("count", "size", "dim"), [(1, 1, 3), (100, 1000, 50), (700, 700, 16), (7, 130, 256)])
def test_the_top_does_not_depend_on_how_rows_fall_into_tiles(count, size, dim):
    points = hierarchical_points(size, dim)
    _, region = made(points, SHAPES["a union"], 1, 0.3)
    rows = nearest(points, region, count, c=1.0)
    expected = scan(points, region, c=1.0, gamma=0.8, count=count)
    distances, _ = region.measure(points, rows, c=1.0, gamma=0.8)
    np.testing.assert_allclose(distances, expected.distances, rtol=2e-5, atol=2e-6)
    assert len(set(rows.tolist())) == count


def test_a_top_that_is_scattered_over_all_tiles_is_found_whole():
    points = np.float32(5.0) + hierarchical_points(12 * ROWS, 4)
    scattered = ROWS * np.arange(12) + 7 * np.arange(12)
    points[scattered] = np.float32(0.01) * np.arange(48, dtype=np.float32).reshape(12, 4)
    region = Region.around(np.zeros(4, dtype=np.float32), np.full(4, 0.1, dtype=np.float32))
    assert nearest(points, region, 12, c=1.0).tolist() == scattered.tolist()


def test_sixteen_boxes_are_measured_as_one_after_another():
    points = hierarchical_points(600, 16)
    _, region = made(points, [(1, 1)] * 16, 2, 0.2)
    rows = nearest(points, region, 50, c=1.0)
    expected = scan(points, region, c=1.0, gamma=0.8, count=50)
    np.testing.assert_allclose(
        region.measure(points, rows, c=1.0, gamma=0.8)[0], expected.distances, rtol=2e-5, atol=2e-6
    )


def test_rows_that_the_mask_stops_are_not_found():
    points = hierarchical_points(900, 32)
    _, region = made(points, SHAPES["one box"], 3, 0.3)
    mask = np.random.default_rng(0).random(900) < 0.1
    rows = nearest(points, region, 60, c=1.0, mask=mask)
    expected = scan(points, region, c=1.0, gamma=0.8, count=60, mask=mask)
    np.testing.assert_array_equal(np.sort(rows), np.sort(expected.rows))
    assert mask[rows].all()


def test_a_point_in_its_own_box_is_the_nearest_and_its_twin_is_as_near():
    points = hierarchical_points(300, 8)
    points[200] = points[17]
    region = Region.around(points[17], np.zeros(8, dtype=np.float32))
    assert sorted(nearest(points, region, 2, c=1.0).tolist()) == [17, 200]


COMPILED = """
from triton import compile
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from index.fused import _WARPS, _measure

for generation in (80, 90):
    for mask in ("constexpr", "*i1"):
        kinds = dict.fromkeys(("tiles", "sides", "excluded", "reach", "first", "distances", "minima"), "*fp32")
        kinds |= {"mask": mask, "size": "i32", "boxes": "i32", "c": "fp32", "gamma": "fp32"}
        known = {"dim": 50, "rows": 256, "flat": False, **({"mask": None} if mask == "constexpr" else {})}
        source = ASTSource(_measure, {name: kinds.get(name, "constexpr") for name in _measure.arg_names}, known)
        options = {"num_warps": _WARPS, "enable_fp_fusion": True}
        print(len(compile(source, target=GPUTarget("cuda", generation, 32), options=options).asm["cubin"]))
"""


def test_the_kernel_compiles_for_gpus_of_two_generations_where_there_is_none(tmp_path):
    """What NumPy interprets need not compile; to compile it takes no GPU, as Triton brings NVIDIA's assembler."""
    surroundings = {**os.environ, "TRITON_CACHE_DIR": str(tmp_path), "PYTHONPATH": os.pathsep.join(sys.path)}
    surroundings.pop("TRITON_INTERPRET", None)
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", COMPILED], env=surroundings, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.split()) == 4
