"""Candidates at scale: ``python -m benchmarks.scale --data … --work … --out benchmarks/scale.json``.

A model of 64 axes is trained on Home Depot's titles and its training queries, and encodes a catalogue of millions of
titles made of the real ones. Measured on dev queries as people typed them, on one thread:

* recall of the exact containment top 100 against latency, of every kind of candidate index, at every size;
* the same beside hnswlib, usearch and LanceDB, for the nearest to a point, which all of them can order by;
* recall and latency under filters, by the share of products that pass;
* bytes a product; and a whole index of the middle size, built from its catalogue, opened and searched.

What is trained, encoded and measured is kept in --work, so that a run that was stopped goes on.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import faiss
import numpy as np

from benchmarks.folder import JUDGMENTS, PRODUCTS, products_of, queries_of
from benchmarks.homedepot import saddle
from benchmarks.provenance import commit, machine, versions
from benchmarks.scale.filters import filtered
from benchmarks.scale.rivals import RIVALS, measured
from benchmarks.scale.titles import titles
from benchmarks.scale.whole import whole
from index.algebra import Box, Region
from index.calibration import DEPTH, Calibration, able, efforts
from index.candidates import CandidateIndex
from index.exact import heights, scan
from index.points import load_points
from index.shapes import Shape, contenders
from index.vectors import indexed, largest_square, lengthened, sought
from model.hyperboloid import Hyperboloids
from model.runtime import TextEncoder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from index.shapes import Backend
    from index.snapshot import Trial

PACKAGES = ("saddle", "faiss-cpu", "numpy", "numba", "onnxruntime", "hnswlib", "usearch", "lancedb")
TARGET = 0.98
OURS: tuple[Backend, ...] = ("codes", "cells")
_DIM = 64
_MINUTES = 7
_QUERIES = 200
_ALL_UP_TO = 1_000_000
"""Products up to which graphs and region-aware vectors are built too, likely or not."""
_ALL_BUT_FEW = 0.999
_BLOCK = 1 << 16


def main(arguments: list[str] | None = None) -> None:
    """Measure what the file in --work lacks, and write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with products.csv.gz and judgments.csv.gz")
    parser.add_argument("--work", type=Path, required=True, help="folder for the model, points and parts: 3 GB")
    parser.add_argument("--out", type=Path, required=True, help="JSON file to write")
    parser.add_argument("--sizes", default="54667,100000,1000000,5000000", help="products, with commas between")
    asked = parser.parse_args(arguments)
    asked.work.mkdir(parents=True, exist_ok=True)
    sizes = sorted(int(size) for size in asked.sizes.split(","))
    model = _model(asked.data, asked.work)
    encoder = TextEncoder(model)
    points = _points(asked.data, model, asked.work, max(sizes))
    regions = encoder.encode_queries(_queries(asked.data))
    middle = sizes[-2] if len(sizes) > 1 else sizes[-1]
    parts: dict[str, Callable[[], Any]] = {
        **{f"size-{size}": lambda size=size: _size(points[:size], regions, encoder) for size in sizes},
        **{f"rivals-{backend}": lambda own=backend: _ours(points[:middle], regions, encoder, own) for backend in OURS},
        **{
            f"rivals-{name}": lambda rival=name: _rival(points[:middle], regions, encoder, rival, asked.work)
            for name in RIVALS
        },
        "filters": lambda: filtered(points[:middle], regions, encoder, target=TARGET),
        "whole": lambda: whole(model, _real(asked.data), _queries(asked.data), middle, asked.work),
    }
    for name, measure in parts.items():
        kept = asked.work / f"{name}.json"
        if not kept.exists():
            _say(name)
            began = time.monotonic()
            kept.write_text(json.dumps({"commit": commit(), **measure()}, indent=2), encoding="utf-8")
            _say(f"    {time.monotonic() - began:.0f} s")
    found = {name: json.loads((asked.work / f"{name}.json").read_bytes()) for name in parts}
    report = {
        "benchmark": "scale",
        "command": "python -m benchmarks.scale --data … --work … --out benchmarks/scale.json",
        "measured": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": commit(),
        "machine": machine(),
        "versions": versions(PACKAGES),
        "seed": 0,
        "dim": _DIM,
        "queries": len(regions),
        "target_recall": TARGET,
        "sizes": [found.pop(f"size-{size}") for size in sizes],
        "rivals": {"products": middle, "systems": [found.pop(f"rivals-{name}") for name in (*OURS, *RIVALS)]},
        **found,
    }
    asked.out.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")


def _model(data: Path, work: Path) -> Path:
    model = work / "model"
    if not model.exists():
        _say("model")
        pairs = ("--catalog", data / PRODUCTS, "--interactions", data / JUDGMENTS)
        saddle("train", *pairs, "--out", model, "--dim", _DIM, "--minutes", _MINUTES)
    return model


def _real(data: Path) -> list[str]:
    return [product["title"] for product in products_of(data)]


def _queries(data: Path) -> list[str]:
    dev = queries_of(data, "dev")
    return dev[:: len(dev) // _QUERIES][:_QUERIES]


def _points(data: Path, model: Path, work: Path, count: int) -> NDArray[np.float32]:
    """The points of ``count`` titles, encoded once."""
    path = work / f"points-{count}.npy"
    if not path.exists():
        _say(f"encoding {count:,} titles")
        encoder = TextEncoder(model)
        written = np.lib.format.open_memmap(path.with_suffix(".part"), mode="w+", dtype=np.float32, shape=(count, _DIM))
        made, start = titles(_real(data), count), 0
        with ThreadPoolExecutor(2) as pool:
            while blocks := [block for _ in range(2) if (block := list(islice(made, _BLOCK)))]:
                for encoded in pool.map(encoder.encode_products, blocks):
                    written[start : start + len(encoded)] = encoded
                    start += len(encoded)
        written.flush()
        path.with_suffix(".part").rename(path)
    return load_points(path)


def _size(points: NDArray[np.float32], regions: Hyperboloids, encoder: TextEncoder) -> dict[str, Any]:
    """Every contender at one size, beside what scans take."""
    geometry = encoder.manifest.geometry
    calibration = Calibration(points, regions, geometry=geometry, target_recall=TARGET)
    shapes = contenders("auto", len(points), lifted=len(points) <= _ALL_UP_TO)
    if len(points) <= _ALL_UP_TO:
        shapes += contenders("hnsw", len(points), lifted=False)
    trials = []
    for shape in shapes:
        started = time.perf_counter()
        index = CandidateIndex.build(points, c=geometry.curvature, shape=shape)
        built = time.perf_counter() - started
        found = calibration.trial(index).model_dump()
        trials.append(
            {**found, "build_seconds": built, "curve": [each.model_dump() for each in curve(calibration, index)]}
        )
        _say(f"    {shape}: {found['recall']:.4f} of {found['count']} in {1e3 * found['latency_seconds']:.2f} ms")
    return {
        "products": len(points),
        "lift_pays": calibration.lift_pays(),
        "scans": _scans(points, regions, encoder),
        "trials": trials,
    }


def curve(calibration: Calibration, index: CandidateIndex) -> list[Trial]:
    """What ``index`` gives as effort and candidates grow, up to where it finds all but one in a thousand."""
    found: list[Trial] = []
    for effort in efforts(index):
        # more of the same walk cost next to nothing, so a graph's are all taken
        counts = able(index, effort)[-1:] if index.shape.backend == "hnsw" else able(index, effort)
        for count in counts:
            found.append(calibration.measured(index, count, effort))
            if found[-1].recall >= _ALL_BUT_FEW:
                break
        if index.shape.backend == "hnsw" and found[-1].recall >= _ALL_BUT_FEW:
            break
    return found


def _scans(points: NDArray[np.float32], regions: Hyperboloids, encoder: TextEncoder) -> dict[str, float]:
    """Median seconds of the exact containment scan, and of FAISS's flat product over the Lorentz coordinates."""
    geometry = encoder.manifest.geometry
    known = heights(points, c=geometry.curvature)
    boxes = [Box.around(*each) for each in zip(regions.centres[:30], regions.limits[:30], strict=True)]
    flat = faiss.IndexFlatIP(points.shape[1] + 1)
    for block in _blocks(points, geometry.curvature):
        flat.add(block)
    return {
        "exact_containment_seconds": _median(
            lambda box: scan(
                points, Region((box,)), c=geometry.curvature, gamma=geometry.gamma, count=DEPTH, known=known
            ),
            boxes,
        ),
        "flat_product_seconds": _median(
            lambda box: flat.search(sought(box, c=geometry.curvature, form="centre")[None, :], DEPTH), boxes
        ),
    }


def _to_centres(points: NDArray[np.float32], regions: Hyperboloids, encoder: TextEncoder) -> Calibration:
    """What the nearest to each query's centre are."""
    centres = Hyperboloids(centres=regions.centres, limits=np.zeros_like(regions.limits))
    return Calibration(points, centres, geometry=encoder.manifest.geometry, target_recall=TARGET)


def _ours(points: NDArray[np.float32], regions: Hyperboloids, encoder: TextEncoder, backend: Backend) -> dict[str, Any]:
    """The nearest to a query's centre by one of our indexes."""
    calibration = _to_centres(points, regions, encoder)
    started = time.perf_counter()
    index = CandidateIndex.build(points, c=encoder.manifest.geometry.curvature, shape=Shape(backend))
    built = time.perf_counter() - started
    trial = calibration.trial(index)
    return {"name": f"Saddle, {backend}", "build_seconds": built, "curve": [trial.model_dump()]}


def _rival(
    points: NDArray[np.float32], regions: Hyperboloids, encoder: TextEncoder, name: str, work: Path
) -> dict[str, Any]:
    """The same by one of others'."""
    c = encoder.manifest.geometry.curvature
    calibration = _to_centres(points, regions, encoder)
    largest = largest_square(_blocks(points, c))
    stored = np.concatenate([lengthened(block, largest) for block in _blocks(points, c)])
    boxes = [Box.around(centre, np.zeros_like(centre)) for centre in regions.centres]
    queries = np.stack([np.append(sought(box, c=c, form="centre"), np.float32(0.0)) for box in boxes])
    return measured(RIVALS[name](stored, work), queries, calibration.truths, target=TARGET)


def _blocks(points: NDArray[np.float32], c: float) -> Iterator[NDArray[np.float32]]:
    for start in range(0, len(points), _BLOCK):
        yield indexed(points[start : start + _BLOCK], c=c, form="centre")


def _median(ask: Callable[[Box], object], boxes: list[Box]) -> float:
    seconds = []
    for box in boxes:
        started = time.perf_counter()
        ask(box)
        seconds.append(time.perf_counter() - started)
    return float(np.median(seconds))


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    faiss.omp_set_num_threads(2)
    main()
