"""What the service counts and times, for Prometheus."""

from __future__ import annotations

import platform
from importlib.metadata import version
from typing import TYPE_CHECKING

from prometheus_client import Counter, Gauge, Histogram, Info, ProcessCollector

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

    from index.search import Timings

# The client's defaults begin at 5 ms, where a search has long ended.
_REQUEST_BUCKETS = (
    0.001,
    0.002,
    0.003,
    0.005,
    0.0075,
    0.01,
    0.025,
    0.05,
    0.1,
    0.25,
    0.5,
    1.0,
    2.5,
    5.0,
    10.0,
)
_STAGE_BUCKETS = (0.0005, 0.001, 0.0015, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0)
# A label per method that a caller makes up would never stop growing.
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


class Metrics:
    """The service's metrics, in ``registry``."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.registry = registry
        ProcessCollector(registry=registry)
        Info("saddle_build", "The running release.", registry=registry).info(
            {"version": version("saddle"), "python": platform.python_version()}
        )
        self._requests = Counter(
            "saddle_http_requests_total",
            "HTTP requests answered.",
            ("method", "route", "status"),
            registry=registry,
        )
        self._answered: dict[tuple[str, str, int], tuple[Counter, Histogram]] = {}
        self._request_seconds = Histogram(
            "saddle_http_request_duration_seconds",
            "Time from a request's head to the end of its response.",
            ("method", "route"),
            buckets=_REQUEST_BUCKETS,
            registry=registry,
        )
        self._refused = Counter(
            "saddle_http_refused_total",
            "HTTP requests refused at the door.",
            ("reason",),
            registry=registry,
        )
        self._stage_seconds = Histogram(
            "saddle_search_stage_seconds",
            "Time a search spent in each stage.",
            ("stage",),
            buckets=_STAGE_BUCKETS,
            registry=registry,
        )
        self._snapshot = Gauge(
            "saddle_snapshot_info",
            "1 for the snapshot that serves.",
            ("snapshot", "model"),
            registry=registry,
        )
        self._products = Gauge("saddle_snapshot_products", "Products in the snapshot that serves.", registry=registry)
        self._loaded = Gauge(
            "saddle_snapshot_loaded_timestamp_seconds",
            "Unix time at which the snapshot that serves was loaded.",
            registry=registry,
        )
        self._load_failures = Counter(
            "saddle_snapshot_load_failures_total",
            "Attempts to load a snapshot that failed.",
            registry=registry,
        )

    def request(self, *, method: str, route: str, status: int, seconds: float) -> None:
        """Count one HTTP request; ``route`` is the template, not the path that was asked for."""
        method = method if method in _METHODS else "other"
        known = self._answered.get((method, route, status))
        if known is None:
            # looked up once: labels are checked at every look, which costs more than the counting
            known = self._requests.labels(method, route, str(status)), self._request_seconds.labels(method, route)
            self._answered[method, route, status] = known
        counter, histogram = known
        counter.inc()
        histogram.observe(seconds)

    def refused(self, reason: str) -> None:
        """Count a request that was refused at the door, by the ``code`` that it was told."""
        self._refused.labels(reason).inc()

    def stages(self, timings: Timings) -> None:
        """Record how long each stage of one search took."""
        for stage in ("encode", "candidates", "rerank", "fetch"):
            self._stage_seconds.labels(stage).observe(getattr(timings, stage))

    def snapshot_loaded(self, *, snapshot: str, model: str, products: int) -> None:
        """Record which snapshot serves from now on."""
        self._snapshot.clear()
        self._snapshot.labels(snapshot, model).set(1)
        self._products.set(products)
        self._loaded.set_to_current_time()

    def snapshot_failed(self) -> None:
        """Count a snapshot that could not be loaded."""
        self._load_failures.inc()
