"""The exact scan on a GPU against reading the same bytes once: ``python -m benchmarks.gpu --out benchmarks/gpu.json``.

Ten million points lie on the device as a service would hold them. Measured are one pass that only reads them (torch's
sum), the scan for the top 100 of a region as a search asks for it, row numbers back on the CPU included, the re-ranking
of 300 rows, and on a sample of the points how much of the CPU's containment top 100 is found, by the scan and by
FAISS's GPU indexes. It needs a CUDA device.

The points are those of a snapshot (``--points …/points.npy``), repeated and perturbed until they are enough; without,
they are drawn like trained ones: a tree of three levels, radii from 1.3 to 1.8, log-normal limits of median 0.22.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from benchmarks.provenance import machine, record, versions
from index.algebra import Box, Region
from index.candidates_gpu import GpuCandidates
from index.exact import scan
from index.resident import ResidentPoints, check
from index.selection import Selection
from model import lorentz

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from index.device import Finder

PACKAGES = ("saddle", "torch", "triton", "faiss-gpu-cuvs", "faiss-cpu", "numpy")
TOP = 100
RERANKED = 300
WARM = 5
C, GAMMA = 1.0, 0.8
_MEDIAN_LIMIT, _SPREAD_OF_LIMITS = 0.22, 0.5
_PERTURBED = 0.1
_BLOCK = 1 << 16
_TIE = 1.0 + 1e-5


def main(arguments: list[str] | None = None) -> None:
    """Measure and write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="JSON file to write")
    parser.add_argument("--points", type=Path, help="points.npy of a snapshot to make points from")
    parser.add_argument("--rows", type=int, default=10_000_000, help="how many points")
    parser.add_argument("--dim", type=int, default=64, help="their axes, where they are drawn")
    parser.add_argument("--sample", type=int, default=200_000, help="rows on which recall is measured")
    parser.add_argument("--queries", type=int, default=50, help="regions of each kind")
    parser.add_argument("--seed", type=int, default=0, help="seed of points and regions")
    parser.add_argument("--gpu", type=int, default=0, help="number of the device")
    asked = parser.parse_args(arguments)
    try:
        check(asked.gpu)
    except RuntimeError as error:
        sys.exit(f"benchmarks.gpu needs a GPU: {error}. Nothing was measured and {asked.out} was not written.")
    if asked.points is None:
        points = drawn(asked.rows, asked.dim, seed=asked.seed)
    else:
        points = repeated(np.load(asked.points, mmap_mode="r"), asked.rows, seed=asked.seed)
    found = measured(
        points, place=f"cuda:{asked.gpu}", sample=asked.sample, queries=asked.queries, seed=asked.seed, gpu=asked.gpu
    )
    record(
        asked.out,
        "gpu",
        f"python -m benchmarks.gpu --rows {len(points)}" + (" --points …" if asked.points else ""),
        PACKAGES,
        {
            "machine": {**machine(), "gpu": torch.cuda.get_device_name(asked.gpu)},
            "versions": {**versions(PACKAGES), "cuda": torch.version.cuda},
            "seed": asked.seed,
            "points": "repeated and perturbed" if asked.points else "drawn",
            **found,
        },
    )
    print(json.dumps(found, indent=2))


def drawn(count: int, dim: int, *, seed: int) -> NDArray[np.float32]:
    """``count`` points of a tree of three levels, each a step out from its parent."""
    chance = np.random.default_rng(seed)
    parents = np.zeros((1, dim), dtype=np.float32)
    for children, length in ((20, 1.0), (4000, 0.8)):
        parents = parents[chance.integers(len(parents), size=children)] + np.float32(
            length / np.sqrt(dim)
        ) * chance.standard_normal((children, dim), dtype=np.float32)
    points = np.empty((count, dim), dtype=np.float32)
    for start in range(0, count, _BLOCK):
        block = points[start : start + _BLOCK]
        steps = np.float32(0.7 / np.sqrt(dim)) * chance.standard_normal(block.shape, dtype=np.float32)
        block[:] = lorentz.exp_map0(parents[chance.integers(len(parents), size=len(block))] + steps, c=C)
    return points


def repeated(points: NDArray[np.float32], count: int, *, seed: int) -> NDArray[np.float32]:
    """``count`` points, each one of ``points`` (N, d) moved by a tenth of how far each axis spreads."""
    chance = np.random.default_rng(seed)
    spread = np.float32(_PERTURBED) * points[:: max(1, len(points) // _BLOCK)].std(axis=0)
    made = np.empty((count, points.shape[1]), dtype=np.float32)
    for start in range(0, count, _BLOCK):
        block = made[start : start + _BLOCK]
        block[:] = points[np.arange(start, start + len(block)) % len(points)]
        block += spread * chance.standard_normal(block.shape, dtype=np.float32)
    return made


def regions(points: NDArray[np.float32], count: int, *, boxes: int, seed: int) -> list[Region]:
    """``count`` unions of ``boxes`` hyperboloids around places near some of ``points``."""
    chance = np.random.default_rng(seed)
    axes = points[:_BLOCK].std(axis=0)

    def box() -> Box:
        centre = points[chance.integers(len(points))] + 0.3 * axes * chance.standard_normal(points.shape[1])
        limit = _MEDIAN_LIMIT * chance.lognormal(sigma=_SPREAD_OF_LIMITS, size=points.shape[1])
        return Box.around(centre.astype(np.float32), limit.astype(np.float32))

    return [Region(tuple(box() for _ in range(boxes))) for _ in range(count)]


def measured(
    points: NDArray[np.float32], *, place: str, sample: int, queries: int, seed: int, gpu: int | None
) -> dict[str, Any]:
    """All that is measured on the torch device ``place``, FAISS's indexes on the GPU of the number ``gpu`` if given."""
    held = ResidentPoints(points, place=place, c=C, gamma=GAMMA)
    read = timed(lambda _: float(held._tiles.sum()), range(queries), place=place)
    scans = {}
    half = Selection(np.random.default_rng(seed).random(len(points)) < 0.5)
    for name, boxes, selection in (
        ("one box", 1, None),
        ("4 boxes", 4, None),
        ("16 boxes", 16, None),
        ("half of the rows pass", 1, half),
    ):
        asked = regions(points, queries, boxes=boxes, seed=seed + boxes)
        scans[name] = timed(lambda region: held.nearest(region, TOP, selection), asked, place=place)  # noqa: B023
    asked = regions(points, queries, boxes=1, seed=seed)
    rows = np.random.default_rng(seed).integers(len(points), size=RERANKED)
    none = np.empty((0, points.shape[1]), dtype=np.float32)
    return {
        "rows": len(points),
        "dim": points.shape[1],
        "bytes": points.nbytes,
        "top": TOP,
        "queries": queries,
        "kernel": "fused" if held.fused else "torch, in blocks",
        "read": read,
        "read_bytes_per_second": points.nbytes / read["median_seconds"],
        "scan": scans,
        "scan_to_read": {name: scan["median_seconds"] / read["median_seconds"] for name, scan in scans.items()},
        "rerank": {"rows": RERANKED, **timed(lambda region: held.measure(region, rows, none), asked, place=place)},
        "recall": recalls(points[:: max(1, len(points) // sample)][:sample], asked, place=place, gpu=gpu),
    }


def timed(work: Callable[[Any], object], over: Sequence[Any], *, place: str) -> dict[str, float]:
    """Median and 99th percentile of the seconds that ``work`` takes with each of ``over``, after some to warm up."""
    on_gpu = place.startswith("cuda")
    seconds = []
    for turn, what in enumerate([*over[:WARM], *over]):
        if on_gpu:
            torch.cuda.synchronize(place)
        started = time.perf_counter()
        work(what)
        if on_gpu:
            torch.cuda.synchronize(place)
        if turn >= min(WARM, len(over)):
            seconds.append(time.perf_counter() - started)
    return {"median_seconds": float(np.median(seconds)), "p99_seconds": float(np.percentile(seconds, 99))}


def recalls(
    points: NDArray[np.float32], asked: Sequence[Region], *, place: str, gpu: int | None
) -> dict[str, dict[str, Any]]:
    """Share of the CPU's containment top that is found; what is as near as its last, up to rounding, counts."""
    held = ResidentPoints(points, place=place, c=C, gamma=GAMMA)
    last = [float(scan(points, region, c=C, gamma=GAMMA, count=TOP).distances[-1]) for region in asked]

    def recall(rows: Sequence[NDArray[np.int64]]) -> float:
        shares = [
            np.count_nonzero(region.measure(points, np.unique(found), c=C, gamma=GAMMA)[0] <= reach * _TIE) / TOP
            for region, found, reach in zip(asked, rows, last, strict=True)
        ]
        return float(np.mean(np.minimum(shares, 1.0)))

    found: dict[str, dict[str, Any]] = {
        "scan": {"rows": len(points), "recall": recall([held.nearest(region, TOP) for region in asked])}
    }
    finders: tuple[Finder, ...] = ("flat", "cagra")
    for finder in finders if gpu is not None else ():
        assert gpu is not None
        try:
            index = GpuCandidates.build(points, c=C, finder=finder, number=gpu)
        except ValueError as error:
            found[finder] = {"not measured": str(error)}
            continue
        rows = [index.search(region.boxes[0].centre, RERANKED) for region in asked]
        took = timed(lambda region: index.search(region.boxes[0].centre, RERANKED), asked, place=place)  # noqa: B023
        found[finder] = {"rows": len(points), "candidates": RERANKED, "recall": recall(rows), **took}
    return found


if __name__ == "__main__":
    main()
