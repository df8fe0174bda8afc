"""How long a query takes to encode by itself, on one thread, spelling included.

In a search it takes longer, as the scans before it have filled the caches.

    python -m benchmarks.encoding --data folder --index var/index --out benchmarks/encoding.json
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

from benchmarks.folder import queries_of
from benchmarks.homedepot import WARM_UP, percentiles
from benchmarks.provenance import record
from index.changes import opened
from index.expression import Conjunction

PACKAGES = ("numpy", "onnxruntime", "saddle")


def main() -> None:
    """Measure one index and write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with judgments.csv.gz")
    parser.add_argument("--index", type=Path, required=True, help="index root")
    parser.add_argument("--out", type=Path, required=True, help="JSON file to write")
    asked = parser.parse_args()
    queries = queries_of(asked.data, "test")
    seconds = []
    with opened(asked.index, threads=1) as searcher:
        for query in [*queries[:WARM_UP], *queries]:
            began = time.perf_counter()
            searcher.channels.place((Conjunction((query,)),))
            seconds.append(time.perf_counter() - began)
        model = searcher.model_version
    found = {"model": model, "queries": len(queries), "encode_ms": percentiles(seconds[WARM_UP:])}
    record(asked.out, "encoding", "python -m benchmarks.encoding --data … --index …", PACKAGES, found)
    print(json.dumps(found["encode_ms"]))


if __name__ == "__main__":
    main()
