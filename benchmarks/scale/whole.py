"""A whole index from its catalogue: how long it takes to build and to open, what it weighs, and how fast it answers."""

from __future__ import annotations

import csv
import json
import shutil
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.homedepot import saddle
from benchmarks.scale.titles import titles
from index.root import current

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

_OPENED = """
import json, sys, time
from pathlib import Path
import numpy as np
from index.search import Searcher
directory, queries = Path(sys.argv[1]), json.loads(sys.stdin.read())
started = time.perf_counter()
searcher = Searcher.open(directory)
opened = time.perf_counter() - started
found = {"open_seconds": opened}
for mode in ("hyperboloid", "lexical", "hybrid"):
    seconds = []
    for query in queries:
        started = time.perf_counter()
        searcher.search(query, mode=mode)
        seconds.append(time.perf_counter() - started)
    found[mode] = {"median_seconds": float(np.median(seconds)), "p99_seconds": float(np.percentile(seconds, 99))}
memory = dict(line.split()[:2] for line in Path("/proc/self/smaps_rollup").read_text().splitlines()[1:])
found["resident_bytes"] = 1024 * int(memory["Rss:"])
found["private_bytes"] = 1024 * (int(memory["Private_Clean:"]) + int(memory["Private_Dirty:"]))
print(json.dumps(found))
"""


def whole(model: Path, real: Sequence[str], queries: Sequence[str], count: int, work: Path) -> dict[str, Any]:
    """Build, open and search ``count`` products with the commands that a user would type."""
    catalog, root = work / "catalog.csv", work / "index"
    shutil.rmtree(root, ignore_errors=True)
    chance = np.random.default_rng(0)
    with catalog.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(("product_id", "title", "brand", "price"))
        for place, title in enumerate(titles(real, count)):
            writer.writerow((f"p{place}", title, title.split()[0], f"{chance.lognormal(3.5, 1.2):.2f}"))
    started = time.perf_counter()
    report = saddle("reindex", "--model", model, "--catalog", catalog, "--out", root)
    seconds = time.perf_counter() - started
    directory = current(root)
    sizes = json.loads((directory / "manifest.json").read_bytes())["files"]
    done = subprocess.run(
        [sys.executable, "-c", _OPENED, str(directory)],
        input=json.dumps(list(queries)),
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return {
        "products": count,
        "reindex_seconds": seconds,
        "stages": report["seconds"],
        "bytes": {name: file["size"] for name, file in sizes.items()},
        **json.loads(done.stdout),
    }
