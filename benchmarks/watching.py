"""What watching costs: ``python -m benchmarks.watching --data … --index … --out …``.

Two things: how long it takes to record one search in the metrics of one process, and in those that several share; and
how long searches take, arriving at a steady rate on one thread, while the recall probe does nothing, runs as often as
it is set to, and runs all the time.
"""

from __future__ import annotations

import argparse
import gc
import itertools
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.folder import queries_of
from benchmarks.provenance import record
from service.metrics_directory import DIRECTORY

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from index.search import Searcher
    from service.probe import RecallProbe

PACKAGES = ("saddle", "prometheus-client", "faiss-cpu", "numpy")
_TIMES = 20_000
_ROUNDS = 3
_WARM = 200
# in a process of its own: the client looks for the directory when it is imported
_RECORDING = """
import sys, time
from prometheus_client import CollectorRegistry
from index.results import Hit, SearchResult, Timings, Total
from model.catalog import Product
from service.metrics import Metrics
metrics, times = Metrics(CollectorRegistry()), int(sys.argv[1])
hits = tuple(Hit(Product(str(i), "t"), 0.0, 0.0, True) for i in range(10))
stages = Timings(**dict.fromkeys(Timings.__dataclass_fields__, 0.001))
result = SearchResult(hits, Total(10, "eq"), (), "hybrid", None, "s", "m", stages, 700)
def record():
    metrics.stages(result.timings)
    metrics.measured(result.measured)
    metrics.answered(result)
    metrics.request(method="GET", route="/v1/search", status=200, seconds=0.004)
for _ in range(1000):
    record()
started = time.perf_counter()
for _ in range(times):
    record()
seconds = time.perf_counter() - started
started = time.perf_counter()
for _ in range(20):
    metrics.encoded("")
print(1e6 * seconds / times, 1e3 * (time.perf_counter() - started) / 20)
"""


def main(arguments: list[str] | None = None) -> None:
    """Measure and write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with judgments.csv.gz")
    parser.add_argument("--index", type=Path, required=True, help="index root")
    parser.add_argument("--out", type=Path, required=True, help="JSON file to write")
    parser.add_argument("--rate", type=float, default=50.0, help="searches a second")
    parser.add_argument("--seconds", type=float, default=15.0, help="length of each phase")
    asked = parser.parse_args(arguments)
    found = {"recording": _recording(), "probe": _probing(asked)}
    record(
        asked.out,
        "watching",
        f"python -m benchmarks.watching --data … --index … (rate {asked.rate:g})",
        PACKAGES,
        found,
    )
    print(json.dumps(found, indent=2))


def _recording() -> dict[str, Any]:
    """Microseconds to record a search and milliseconds to show all metrics, the median of some runs."""
    found = {}
    for name, shared in (("one_process", False), ("shared_files", True)):
        runs = []
        for _ in range(_ROUNDS):
            with tempfile.TemporaryDirectory() as directory:
                environment = {**os.environ, **({DIRECTORY: directory} if shared else {})}
                command = [sys.executable, "-c", _RECORDING, str(_TIMES)]
                done = subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE, text=True)
                runs.append([float(number) for number in done.stdout.split()])
        record, show = (round(statistics.median(column), 3) for column in zip(*runs, strict=True))
        found[name] = {"search_us": record, "scrape_ms": show}
    return found


def _probing(asked: argparse.Namespace) -> dict[str, Any]:
    """The phases in turn, several times, and their times together."""
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    from index.root import current
    from index.search import Searcher

    searcher = Searcher.open(current(asked.index))
    queries = itertools.cycle(queries_of(asked.data, "dev"))
    for _ in range(_WARM):
        searcher.search(next(queries))
    # as the service does, else a collection of all garbage stops everything for a second
    sys.setswitchinterval(0.0005)
    gc.collect(1)
    gc.freeze()
    phases = {"off": 0.0, "as_set": 6.0, "always": 1e6}
    times: dict[str, list[float]] = {name: [] for name in phases}
    told: dict[str, dict[str, float]] = {name: {} for name in phases}
    for _ in range(_ROUNDS):
        for name, a_minute in phases.items():
            with _probe(searcher, a_minute, told[name]) as probe:
                times[name] += _searched(searcher, queries, probe, rate=asked.rate, seconds=asked.seconds)
    searcher.close()
    found = {name: {**_cuts(times[name]), **told[name]} for name in phases}
    return {"products": searcher.size, "searches_a_second": asked.rate, **found}


@contextmanager
def _probe(searcher: Searcher, a_minute: float, told: dict[str, float]) -> Iterator[RecallProbe]:
    """A probe of answers of ``searcher``, and at the end how many there were, and their mean recall, in ``told``."""
    import asyncio
    import threading

    from prometheus_client import CollectorRegistry

    from service.metrics import Metrics
    from service.probe import RecallProbe

    class Live:
        @contextmanager
        def lease(self) -> Iterator[Searcher]:
            yield searcher

    registry = CollectorRegistry()
    probe = RecallProbe(Live(), Metrics(registry), a_minute=a_minute)  # type: ignore[arg-type]  # what it needs of one
    ending, begun = threading.Event(), threading.Event()

    async def run() -> None:
        async with probe.running():
            begun.set()
            await asyncio.to_thread(ending.wait)

    thread = threading.Thread(target=partial(asyncio.run, run()))
    thread.start()
    begun.wait()
    try:
        yield probe
    finally:
        ending.set()
        thread.join()
    labels = {"mode": "hybrid"}
    for name, part in (("probes", "count"), ("recall_sum", "sum")):
        value = registry.get_sample_value(f"saddle_probe_recall_ratio_{part}", labels) or 0.0
        told[name] = round(told.get(name, 0.0) + value, 3)


def _searched(
    searcher: Searcher, queries: Iterator[str], probe: RecallProbe, *, rate: float, seconds: float
) -> list[float]:
    """Seconds from when each search was due to its answer."""
    began, found = time.perf_counter(), []
    for number in range(int(rate * seconds)):
        due = began + number / rate
        time.sleep(max(0.0, due - time.perf_counter()))
        query = next(queries)
        question = partial(_question, query)
        result = question(searcher)
        found.append(time.perf_counter() - due)
        probe.offer(question, result)
    return found


def _question(query: str, searcher: Searcher) -> Any:
    return searcher.search(query)


def _cuts(times: Sequence[float]) -> dict[str, float]:
    cuts = statistics.quantiles(times, n=1000)
    names = (("median_ms", 500), ("p95_ms", 950), ("p99_ms", 990))
    return {"searches": len(times), **{name: round(1e3 * cuts[i - 1], 3) for name, i in names}}


if __name__ == "__main__":
    main()
