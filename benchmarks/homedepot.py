"""Train, index and search the Home Depot set with several seeds, and measure all of it: ``make bench DATA=folder``.

The folder holds ``products.csv.gz`` (product_id, title) and ``judgments.csv.gz`` (query, product_id, relevance). Every
step is the command that a user would type; queries of the test split are neither trained nor tuned on.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.faithfulness import faithfulness
from benchmarks.folder import JUDGMENTS, PRODUCTS, queries_of
from benchmarks.provenance import commit, record
from benchmarks.regions import regions
from benchmarks.robustness import MODES, robustness
from index.root import current
from index.search import Searcher
from model.catalog import Rejects, read_judgments, split_of
from model.metrics import grade

if TYPE_CHECKING:
    from collections.abc import Sequence

PACKAGES = ("torch", "numpy", "faiss-cpu", "bm25s", "onnxruntime", "ir-measures", "saddle")
WARM_UP = 50


def main() -> None:
    """Run the benchmark and write its JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder with products.csv.gz and judgments.csv.gz")
    parser.add_argument("--out", type=Path, required=True, help="JSON file to write")
    parser.add_argument("--minutes", type=float, default=25.0, help="training budget of each seed")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--work", type=Path, help="folder that keeps models for later runs; by default temporary")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        work = asked.work or Path(temporary)
        runs = [measure(asked.data, work / f"seed-{s}", minutes=asked.minutes, seed=s) for s in asked.seeds]
        alone = without_judgments(asked.data, work / "catalogue", minutes=asked.minutes, seed=asked.seeds[0])
        found = {
            "seeds": asked.seeds,
            "test": spread([run["evaluate"]["test"] for run in runs]),
            "regions": spread([run["regions"] for run in runs]),
            "robustness": spread([run["robustness"] for run in runs]),
            "faithfulness": spread([{"share": run["faithfulness"]["share"]} for run in runs]),
            "runs": runs,
            "without_judgments": alone,
            "latency": latency(work / f"seed-{asked.seeds[0]}" / "index", asked.data),
        }
    command = f"make bench DATA=… (minutes {asked.minutes:g}, seeds {asked.seeds})"
    record(asked.out, "homedepot", command, PACKAGES, found)
    print(json.dumps({name: found[name] for name in ("test", "regions", "robustness", "latency")}, indent=2))


def measure(data: Path, work: Path, *, minutes: float, seed: int) -> dict[str, Any]:
    """Train with one seed, index and evaluate; everything measured, by step."""
    work.mkdir(parents=True, exist_ok=True)
    products, judgments = data / PRODUCTS, data / JUDGMENTS
    model, index = work / "model", work / "index"
    trained = train(
        model, work / "trained.json", "--catalog", products, "--interactions", judgments, minutes=minutes, seed=seed
    )
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
            "train": trained,
            "reindex": indexed,
            "evaluate": evaluated,
            "regions": regions(searcher, grades),
            "robustness": robustness(searcher, judged),
            "faithfulness": faithfulness(searcher, grades),
        }
    finally:
        searcher.close()


def without_judgments(data: Path, work: Path, *, minutes: float, seed: int) -> dict[str, Any]:
    """The same from the catalogue alone: pseudo-queries to train on, and reciprocal rank to fuse by."""
    work.mkdir(parents=True, exist_ok=True)
    model, index = work / "model", work / "index"
    trained = train(model, work / "trained.json", "--catalog", data / PRODUCTS, minutes=minutes, seed=seed)
    saddle("reindex", "--model", model, "--catalog", data / PRODUCTS, "--out", index)
    return {"train": trained, "evaluate": {"test": by_mode(index, data / JUDGMENTS, "test")}}


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


def train(model: Path, record: Path, *data: object, **options: object) -> dict[str, Any]:
    """Train, or take the model that an earlier run with the same options left; what is known of it either way."""
    if not record.exists():
        began = time.perf_counter()
        words = [word for name, value in options.items() for word in (f"--{name}", value)]
        manifest = saddle("train", *data, "--out", model, *words)
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


def latency(root: Path, data: Path) -> dict[str, Any]:
    """Milliseconds of ``Searcher.search`` and its stages: one thread, one test query at a time, ten hits."""
    queries = queries_of(data, "test")
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
