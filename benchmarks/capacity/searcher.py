"""What a search costs without HTTP: CPU seconds a query of ``Searcher.search_many``, and the share of each stage.

python -m benchmarks.capacity.searcher --data … --index …
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.folder import queries_of

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

if TYPE_CHECKING:
    from collections.abc import Sequence

    from index.search import Search, Searcher

MODES = ("hyperboloid", "hybrid")
BATCHES = (1, 2, 4, 8, 16, 32)
_ROUNDS = 3


def main() -> None:
    """Measure and print the JSON."""
    from index.root import current
    from index.search import Search, Searcher

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--index", type=Path, required=True)
    asked = parser.parse_args()
    searcher = Searcher.open(current(asked.index))
    queries = queries_of(asked.data, "dev")
    found = {
        mode: {size: _measured(searcher, [Search(query, mode) for query in queries], size) for size in BATCHES}
        for mode in MODES
    }
    json.dump(found, sys.stdout)


def _measured(searcher: Searcher, asked: Sequence[Search], size: int) -> dict[str, Any]:
    """CPU microseconds a query, the least of some rounds, and how the time was spread over the stages."""
    best: dict[str, Any] = {}
    for _ in range(_ROUNDS):
        stages: dict[str, float] = {}
        started = time.process_time()
        for first in range(0, len(asked), size):
            answers = searcher.search_many(asked[first : first + size])
            timings: Any = answers[0].timings  # type: ignore[union-attr]  # none of these queries is refused
            for stage in timings.__dataclass_fields__:
                stages[stage] = stages.get(stage, 0.0) + getattr(timings, stage)
        cpu = 1e6 * (time.process_time() - started) / len(asked)
        if not best or cpu < best["cpu_us"]:
            whole = sum(stages.values())
            best = {"cpu_us": round(cpu, 1), "shares": {name: round(one / whole, 4) for name, one in stages.items()}}
    return best


if __name__ == "__main__":
    main()
