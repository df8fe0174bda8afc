"""Train, index and search the Home Depot set, and measure all of it: ``make bench DATA=folder``.

The folder holds ``products.csv.gz`` (product_id, title) and ``judgments.csv.gz`` (query, product_id, relevance). Every
step is the command that a user would type; queries of the test split are neither trained nor tuned on.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

PACKAGES = ("torch", "numpy", "faiss-cpu", "onnxruntime", "ir-measures", "saddle")
WARM_UP = 50


def main() -> None:
    """Run the benchmark and write its JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder with products.csv.gz and judgments.csv.gz")
    parser.add_argument("--out", type=Path, required=True, help="JSON file to write")
    parser.add_argument("--minutes", type=float, default=14.0, help="training budget")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--work", type=Path, help="folder that keeps the model for later runs; by default temporary")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        work = asked.work or Path(temporary)
        report = measure(asked.data, work, minutes=asked.minutes, seed=asked.seed)
    asked.out.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(report, indent=2))


def measure(data: Path, work: Path, *, minutes: float, seed: int) -> dict[str, Any]:
    """Train, index, evaluate and time; everything measured, by step."""
    products, judgments = data / "products.csv.gz", data / "judgments.csv.gz"
    model, index = work / "model", work / "index"
    trained = train(model, work / "trained.json", products, judgments, minutes=minutes, seed=seed)
    indexed = saddle("reindex", "--model", model, "--catalog", products, "--out", index)
    del indexed["directory"]  # where it happened to be
    evaluated = {
        split: saddle("evaluate", "--index", index, "--judgments", judgments, "--split", split)
        for split in ("dev", "test")
    }
    return {
        "benchmark": "homedepot",
        "command": f"make bench DATA=… (minutes {minutes:g}, seed {seed})",
        "measured": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": commit(),
        "machine": machine(),
        "versions": {"python": platform.python_version(), **{name: version(name) for name in PACKAGES}},
        "seed": seed,
        "train": trained,
        "reindex": indexed,
        "evaluate": evaluated,
        "latency": latency(index, judgments),
    }


def train(model: Path, record: Path, products: Path, judgments: Path, **options: object) -> dict[str, Any]:
    """Train, or take the model that an earlier run with the same options left; what is known of it either way."""
    if not record.exists():
        began = time.perf_counter()
        words = [word for name, value in options.items() for word in (f"--{name}", value)]
        manifest = saddle("train", "--catalog", products, "--interactions", judgments, "--out", model, *words)
        made = {
            "options": options,
            "commit": commit(),
            "seconds_whole_command": round(time.perf_counter() - began, 1),
            "bundle": manifest,
        }
        record.write_text(json.dumps(made), encoding="utf-8")
    trained: dict[str, Any] = json.loads(record.read_bytes())
    if trained["options"] != options:
        sys.exit(f"{record} was trained with {trained['options']}, not {options}; choose another --work")
    return trained


def saddle(*words: object) -> dict[str, Any]:
    """The JSON that a ``saddle`` command prints."""
    command = [str(Path(sys.executable).with_name("saddle")), *map(str, words), "--json"]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE)
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def latency(root: Path, judgments: Path) -> dict[str, Any]:
    """Milliseconds of ``Searcher.search`` and its stages: one thread, one test query at a time, ten hits."""
    from index.search import Searcher
    from index.snapshot import current
    from model.catalog import split_of

    with gzip.open(judgments, "rt", encoding="utf-8") as file:
        queries = sorted({row["query"] for row in csv.DictReader(file) if split_of(row["query"]) == "test"})
    searcher = Searcher.open(current(root), threads=1)
    for query in queries[:WARM_UP]:
        searcher.search(query)
    whole, stages = [], []
    for query in queries:
        began = time.perf_counter()
        result = searcher.search(query)
        whole.append(time.perf_counter() - began)
        stages.append(result.timings)
    searcher.close()
    return {
        "queries": len(queries),
        "search_ms": percentiles(whole),
        **{f"{stage}_ms": percentiles([getattr(timings, stage) for timings in stages])
           for stage in ("encode", "candidates", "rerank", "fetch")},
    }  # fmt: skip


def percentiles(seconds: list[float]) -> dict[str, float]:
    """Median, 95th and 99th percentile, in milliseconds."""
    cuts = statistics.quantiles(seconds, n=100)
    return {"median": round(1e3 * cuts[49], 3), "p95": round(1e3 * cuts[94], 3), "p99": round(1e3 * cuts[98], 3)}


def commit() -> str:
    """The commit measured, with a mark if the tree differs from it."""
    described = subprocess.run(
        ["git", "describe", "--always", "--dirty", "--abbrev=12"], check=True, stdout=subprocess.PIPE, text=True
    )
    return described.stdout.strip()


def machine() -> dict[str, Any]:
    """What it ran on."""
    names = [
        line.partition(":")[2].strip()
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        if line.startswith("model name")
    ]
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {"cpu": names[0] if names else platform.processor(), "cores": os.cpu_count(), "memory_gib": memory >> 30}


if __name__ == "__main__":
    main()
