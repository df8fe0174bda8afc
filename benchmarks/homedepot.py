"""Train, index and search the Home Depot set with several seeds, and measure all of it: ``make bench DATA=folder``.

The folder holds ``products.csv.gz`` (product_id, title) and ``judgments.csv.gz`` (query, product_id, relevance). Every
step is the command that a user would type; queries of the test split are neither trained nor tuned on.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from benchmarks.faithfulness import faithfulness
from benchmarks.provenance import commit, machine, versions
from benchmarks.regions import regions
from benchmarks.robustness import robustness
from index.search import Mode, Searcher
from index.snapshot import current
from model.catalog import Rejects, read_judgments, split_of
from model.metrics import grade

if TYPE_CHECKING:
    from collections.abc import Sequence

PACKAGES = ("torch", "numpy", "faiss-cpu", "bm25s", "onnxruntime", "ir-measures", "saddle")
PRODUCTS, JUDGMENTS = "products.csv.gz", "judgments.csv.gz"
MODEL, RECORD, ALONE = "model", "trained.json", "catalogue"
MODES = get_args(Mode)
WARM_UP = 50


def main() -> None:
    """Run the benchmark and write its JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder with products.csv.gz and judgments.csv.gz")
    parser.add_argument("--out", type=Path, required=True, help="JSON file to write")
    parser.add_argument("--minutes", type=float, default=25.0, help="training budget of each seed")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--at-once", type=int, default=2, help="models trained side by side, sharing the cores")
    parser.add_argument("--work", type=Path, help="folder that keeps models for later runs; by default temporary")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        work = asked.work or Path(temporary)
        train_all(asked.data, work, asked.seeds, minutes=asked.minutes, at_once=asked.at_once)
        runs = [measure(asked.data, work / f"seed-{seed}", seed) for seed in asked.seeds]
        alone = without_judgments(asked.data, work / ALONE)
        report = {
            "benchmark": "homedepot",
            "command": f"make bench DATA=… (minutes {asked.minutes:g}, seeds {asked.seeds}, at once {asked.at_once})",
            "measured": datetime.now(UTC).isoformat(timespec="seconds"),
            "commit": commit(),
            "machine": machine(),
            "versions": versions(PACKAGES),
            "seeds": asked.seeds,
            "test": spread([run["evaluate"]["test"] for run in runs]),
            "regions": spread([run["regions"] for run in runs]),
            "robustness": spread([run["robustness"] for run in runs]),
            "faithfulness": spread([{"share": run["faithfulness"]["share"]} for run in runs]),
            "runs": runs,
            "without_judgments": alone,
            "latency": latency(work / f"seed-{asked.seeds[0]}" / "index", asked.data / JUDGMENTS),
        }
    asked.out.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    print(json.dumps({name: report[name] for name in ("test", "regions", "robustness", "latency")}, indent=2))


def train_all(data: Path, work: Path, seeds: Sequence[int], *, minutes: float, at_once: int) -> None:
    """Train with every seed, and with the first one on the catalogue alone; ``at_once`` at a time."""
    jobs = [(f"seed-{seed}", seed, ("--interactions", data / JUDGMENTS)) for seed in seeds]
    jobs.append((ALONE, seeds[0], ()))

    def run(job: tuple[str, int, tuple[object, ...]]) -> None:
        name, seed, interactions = job
        train(work / name, "--catalog", data / PRODUCTS, *interactions, minutes=minutes, seed=seed, threads=threads)

    threads = max(1, (os.cpu_count() or 1) // at_once)
    with ThreadPoolExecutor(max_workers=at_once) as pool:
        list(pool.map(run, jobs))


def measure(data: Path, work: Path, seed: int) -> dict[str, Any]:
    """Index and evaluate what was trained with one seed; everything measured, by step."""
    products, judgments = data / PRODUCTS, data / JUDGMENTS
    model, index = work / MODEL, work / "index"
    indexed = saddle("reindex", "--model", model, "--catalog", products, "--judgments", judgments, "--out", index)
    del indexed["directory"]  # where it happened to be
    evaluated = {split: by_mode(index, judgments, split) for split in ("dev", "test")}
    judged = [j for j in read_judgments(judgments, Rejects()) if split_of(j.query) == "test"]
    grades: dict[str, dict[str, int]] = defaultdict(dict)
    for judgment in judged:
        grades[judgment.query][judgment.product_id] = grade(judgment.relevance)
    searcher = Searcher.open(current(index))
    try:
        return {
            "seed": seed,
            "train": record(work),
            "reindex": indexed,
            "evaluate": evaluated,
            "regions": regions(searcher, grades),
            "robustness": robustness(searcher, judged),
            "faithfulness": faithfulness(searcher, grades),
        }
    finally:
        searcher.close()


def without_judgments(data: Path, work: Path) -> dict[str, Any]:
    """The same from the catalogue alone: pseudo-queries to train on, and reciprocal rank to fuse by."""
    index = work / "index"
    saddle("reindex", "--model", work / MODEL, "--catalog", data / PRODUCTS, "--out", index)
    return {"train": record(work), "evaluate": {"test": by_mode(index, data / JUDGMENTS, "test")}}


def by_mode(index: Path, judgments: Path, split: str) -> dict[str, Any]:
    """The metrics of each way to search."""
    return {
        mode: saddle("evaluate", "--index", index, "--judgments", judgments, "--split", split, "--mode", mode)[
            "metrics"
        ]
        for mode in MODES
    }


def spread(reports: Sequence[Any]) -> Any:
    """Mean and sample standard deviation of every number that reports of one shape have; what is none stays out."""
    first = reports[0]
    if isinstance(first, dict):
        return {
            key: spread([report[key] for report in reports])
            for key, value in first.items()
            if isinstance(value, (dict, list, float, int)) and key != "seed"
        }
    if isinstance(first, list):
        return [spread(parts) for parts in zip(*reports, strict=True)]
    return {"mean": statistics.mean(reports), "std": statistics.stdev(reports) if len(reports) > 1 else None}


def train(work: Path, *data: object, minutes: float, seed: int, threads: int) -> None:
    """Train into ``work``, unless an earlier run with the same options has."""
    work.mkdir(parents=True, exist_ok=True)
    options = {"minutes": minutes, "seed": seed, "threads": threads}
    if not (work / RECORD).exists():
        began, at = time.perf_counter(), commit()
        words = (*data, "--out", work / MODEL, "--minutes", minutes, "--seed", seed)
        manifest = saddle("train", *words, threads=threads)
        made = {
            "options": options,
            "commit": at,
            "seconds_whole_command": round(time.perf_counter() - began, 1),
            "bundle": manifest,
        }
        (work / RECORD).write_text(json.dumps(made), encoding="utf-8")
    if (found := record(work)["options"]) != options:
        sys.exit(f"{work} was trained with {found}, not {options}; choose another --work")


def record(work: Path) -> dict[str, Any]:
    """What is known of the training in ``work``."""
    found: dict[str, Any] = json.loads((work / RECORD).read_bytes())
    return found


def saddle(*words: object, threads: int | None = None) -> dict[str, Any]:
    """The JSON that a ``saddle`` command prints; ``threads`` of torch's, by default as many as there are cores."""
    command = [str(Path(sys.executable).with_name("saddle")), *map(str, words), "--json"]
    environment = os.environ if threads is None else {**os.environ, "OMP_NUM_THREADS": str(threads)}
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, env=environment)
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def latency(root: Path, judgments: Path) -> dict[str, Any]:
    """Milliseconds of ``Searcher.search`` and its stages: one thread, one test query at a time, ten hits."""
    with gzip.open(judgments, "rt", encoding="utf-8") as file:
        queries = sorted({row["query"] for row in csv.DictReader(file) if split_of(row["query"]) == "test"})
    searcher = Searcher.open(current(root), threads=1)
    for query in queries[:WARM_UP]:
        searcher.search(query)
    timed = {}
    for mode in MODES:
        whole, stages = [], []
        for query in queries:
            began = time.perf_counter()
            result = searcher.search(query, mode=mode)
            whole.append(time.perf_counter() - began)
            stages.append(result.timings)
        timed[mode] = {
            "search_ms": percentiles(whole),
            **{f"{stage}_ms": percentiles([getattr(timings, stage) for timings in stages])
               for stage in ("encode", "candidates", "rerank", "fetch")},
        }  # fmt: skip
    searcher.close()
    return {"queries": len(queries), **timed}


def percentiles(seconds: list[float]) -> dict[str, float]:
    """Median, 95th and 99th percentile, in milliseconds."""
    cuts = statistics.quantiles(seconds, n=100)
    return {"median": round(1e3 * cuts[49], 3), "p95": round(1e3 * cuts[94], 3), "p99": round(1e3 * cuts[98], 3)}


if __name__ == "__main__":
    main()
