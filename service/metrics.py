"""What the service counts and times, for Prometheus: requests, searches, snapshots, the journal and the recall probe.

Every gauge says how those of several workers become one number (``multiprocess_mode``); counters and histograms are
added up. No label takes a value that callers make up.
"""

from __future__ import annotations

import platform
from dataclasses import fields
from importlib.metadata import version
from typing import TYPE_CHECKING, NamedTuple, get_args

from prometheus_client import Counter, Gauge, Histogram
from prometheus_client.core import GaugeMetricFamily

from index.results import Mode, Timings
from service.exposition import Exposition

if TYPE_CHECKING:
    from collections.abc import Iterable

    from prometheus_client import CollectorRegistry
    from prometheus_client.core import Metric

    from index.changes import Lag
    from index.results import SearchResult

# The client's defaults begin at 5 ms, where a search has long ended.
_REQUEST_BUCKETS = (0.001, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
_STAGE_BUCKETS = (0.0005, 0.001, 0.0015, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0)
_BATCH_BUCKETS = (1, 2, 4, 8, 16, 32, 64, 128, 256)
_ROW_BUCKETS = (100, 200, 500, 1_000, 2_000, 5_000, 10_000, 50_000, 200_000, 1_000_000, 10_000_000)
_RECALL_BUCKETS = (0.0, 0.5, 0.7, 0.8, 0.9, 0.95, 0.98, 0.999, 1.0)
# A label per method that a caller makes up would never stop growing.
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_STAGES = tuple(field.name for field in fields(Timings))


class _Given(NamedTuple):
    """What is counted of the searches of one mode."""

    searches: Counter
    without_hits: Counter
    nothing_contained: Counter
    hits: Counter
    contained: Counter


class Metrics:
    """The service's metrics, in ``registry``; of all workers, if they share a directory when this is made."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry
        build = self._gauge("saddle_build_info", "1 for the release that runs.", "max", "version", "python")
        build.labels(version("saddle"), platform.python_version()).set(1)
        self._of_requests()
        self._of_searches()
        self._of_snapshots()
        self._of_the_probe()
        self._serving = _Serving()
        self._exposition = Exposition(registry, self._serving)

    def _of_requests(self) -> None:
        self._requests = self._counter(
            "saddle_http_requests_total", "HTTP requests answered.", "method", "route", "status"
        )
        self._request_seconds = self._histogram(
            "saddle_http_request_duration_seconds",
            "Time from a request's head to the end of its response.",
            _REQUEST_BUCKETS,
            "method",
            "route",
        )
        # looking labels up takes longer than counting
        self._answered: dict[tuple[str, str, int], tuple[Counter, Histogram]] = {}
        self._refused = self._counter("saddle_requests_refused_total", "Requests refused unread, by why.", "reason")
        self._workers = self._gauge("saddle_workers", "Processes that answer requests.", "livesum")
        self._ready = self._gauge("saddle_workers_ready", "Processes that have a snapshot to answer from.", "livesum")

    def _of_searches(self) -> None:
        stages = self._histogram(
            "saddle_search_stage_seconds", "Time a search spent in each stage.", _STAGE_BUCKETS, "stage"
        )
        self._stage_seconds = stages
        self._timed = {stage: stages.labels(stage) for stage in _STAGES}
        counters = [
            self._counter(name, text, "mode")
            for name, text in (
                ("saddle_searches_total", "Searches answered."),
                ("saddle_searches_without_hits_total", "Searches answered with no hit."),
                ("saddle_searches_nothing_contained_total", "Searches in whose region no product is known to be."),
                ("saddle_search_hits_total", "Hits given."),
                ("saddle_search_hits_contained_total", "Hits given that lie in the query's region."),
            )
        ]
        # there from the start: a rate is only seen between two samples
        self._given = {mode: _Given(*(counter.labels(mode) for counter in counters)) for mode in get_args(Mode)}
        self._measured = self._histogram(
            "saddle_search_measured_rows", "Rows whose exact distance a search took.", _ROW_BUCKETS
        )
        self._batches = self._histogram("saddle_batch_queries", "Queries computed together.", _BATCH_BUCKETS)
        self._queued = self._gauge("saddle_queue_depth", "Searches that wait to be computed.", "livesum")
        lookups = self._counter("saddle_cache_lookups_total", "Searches looked for in the cache.", "result")
        self._looked_up = {hit: lookups.labels("hit" if hit else "miss") for hit in (True, False)}

    def _of_snapshots(self) -> None:
        self._products = self._gauge(
            "saddle_snapshot_products", "Products in the snapshot that serves.", "livemostrecent"
        )
        self._bytes = self._gauge("saddle_snapshot_bytes", "Size of the snapshot's files.", "livemostrecent")
        self._created = self._gauge(
            "saddle_snapshot_created_timestamp_seconds",
            "Unix time at which the snapshot that serves was published; the oldest of all workers'. 0 without one.",
            "livemin",
        )
        self._loaded = self._gauge(
            "saddle_snapshot_loaded_timestamp_seconds",
            "Unix time at which the snapshot that serves was loaded; 0 without one.",
            "livemax",
        )
        self._load_failures = self._counter(
            "saddle_snapshot_load_failures_total", "Attempts to load a snapshot that failed."
        )
        self._unfolded = self._gauge(
            "saddle_journal_unfolded_changes", "Changes since those that the snapshot holds.", "livemax"
        )
        self._unseen = self._gauge(
            "saddle_journal_unseen_changes", "Changes in the journal that searches do not see yet.", "livemax"
        )
        self._unseen_seconds = self._gauge(
            "saddle_journal_unseen_seconds", "How long the oldest change that searches do not see waits.", "livemax"
        )

    def _of_the_probe(self) -> None:
        self._recall = self._histogram(
            "saddle_probe_recall_ratio",
            "Share of the exact answer's hits that a live search was given.",
            _RECALL_BUCKETS,
            "mode",
        )
        probes = self._counter("saddle_probes_total", "Live searches taken to be run exactly.", "outcome")
        self._probes = {name: probes.labels(name) for name in ("measured", "outdated", "failed")}

    # HTTP

    def request(self, *, method: str, route: str, status: int, seconds: float) -> None:
        """Count one HTTP request; ``route`` is the template, not the path that was asked for."""
        method = method if method in _METHODS else "other"
        known = self._answered.get((method, route, status))
        if known is None:
            known = self._requests.labels(method, route, str(status)), self._request_seconds.labels(method, route)
            self._answered[method, route, status] = known
        count, timed = known
        count.inc()
        timed.observe(seconds)

    def refused(self, reason: str) -> None:
        """Count a request that was refused at the door, by the ``code`` that it was told."""
        self._refused.labels(reason).inc()

    def started(self) -> None:
        """Count this process among those that answer."""
        self._workers.set(1)

    # Searches

    def stages(self, timings: Timings) -> None:
        """Record how long each stage of one search took."""
        for name, timed in self._timed.items():
            timed.observe(getattr(timings, name))

    def stage(self, name: str, seconds: float) -> None:
        """Record how long a stage took that is no part of the searcher's ``Timings``."""
        timed = self._timed.get(name)
        (self._stage_seconds.labels(name) if timed is None else timed).observe(seconds)

    def measured(self, rows: int) -> None:
        """Record of how many rows a search took the exact distance."""
        self._measured.observe(rows)

    def answered(self, result: SearchResult) -> None:
        """Count what a search was given, computed for it or not."""
        given = self._given[result.mode]
        given.searches.inc()
        given.hits.inc(len(result.hits))
        given.contained.inc(sum(hit.contained for hit in result.hits))
        if not result.hits:
            given.without_hits.inc()
        if not result.total.value:
            given.nothing_contained.inc()

    def batch(self, size: int) -> None:
        """Record how many queries were computed together."""
        self._batches.observe(size)

    def queue(self, depth: int) -> None:
        """Record how many searches of this process wait."""
        self._queued.set(depth)

    def cache(self, hit: bool) -> None:
        """Count a look into the cache."""
        self._looked_up[hit].inc()

    # Snapshots and the journal

    def snapshot_loaded(self, *, snapshot: str, model: str, products: int, size: int, created: float) -> None:
        """Record which snapshot serves from now on: ``size`` bytes, published at ``created`` (Unix seconds)."""
        self._serving.names = (snapshot, model)
        self._products.set(products)
        self._bytes.set(size)
        self._created.set(created)
        self._loaded.set_to_current_time()
        self._ready.set(1)

    def snapshot_failed(self) -> None:
        """Count a snapshot that could not be loaded."""
        self._load_failures.inc()

    def journal(self, lag: Lag) -> None:
        """Record how far the snapshot, and what searches see, are behind the journal."""
        self._unfolded.set(lag.unfolded)
        self._unseen.set(lag.unseen)
        self._unseen_seconds.set(lag.seconds)

    # The probe

    def probed(self, mode: str, recall: float) -> None:
        """Record the recall (0 to 1) of a search that was run again exactly."""
        self._probes["measured"].inc()
        self._recall.labels(mode).observe(recall)

    def probe_lost(self, outcome: str) -> None:
        """Count a probe that said nothing: ``outdated``, as the snapshot was replaced, or ``failed``."""
        self._probes[outcome].inc()

    # Exposition

    def encoded(self, accept: str) -> tuple[bytes, str]:
        """All metrics in the format that ``accept`` asks for, and its media type."""
        return self._exposition.encoded(accept)

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(name, text, labels, registry=self._registry)

    def _gauge(self, name: str, text: str, of_several: str, *labels: str) -> Gauge:
        return Gauge(name, text, labels, registry=self._registry, multiprocess_mode=of_several)  # type: ignore[arg-type]

    def _histogram(self, name: str, text: str, buckets: tuple[float, ...], *labels: str) -> Histogram:
        return Histogram(name, text, labels, buckets=buckets, registry=self._registry)


class _Serving:
    """Which snapshot this process answers from; a collector, as a gauge could not forget the one before."""

    names: tuple[str, str] | None = None

    def collect(self) -> Iterable[Metric]:
        family = GaugeMetricFamily(
            "saddle_snapshot_info", "1 for the snapshot that serves.", labels=("snapshot", "model")
        )
        if self.names is not None:
            family.add_metric(self.names, 1)
        yield family
