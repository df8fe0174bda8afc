"""How metrics reach a scraper, from one process or from several that answer on one port.

Several processes keep their numbers in files of a directory (see :mod:`service.metrics_directory`), from which
whichever of them is scraped adds up those of all: ``prometheus_client``'s multi-process mode. What cannot be added up,
as that library has no way to take a label back, is told by the one that is scraped.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, ProcessCollector, disable_created_metrics
from prometheus_client.core import CounterMetricFamily
from prometheus_client.exposition import choose_encoder
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead

from service.metrics_directory import DIRECTORY

if TYPE_CHECKING:
    from collections.abc import Iterable

    from prometheus_client.core import Metric
    from prometheus_client.registry import Collector

_OF_THE_LIVING = "gauge_livesum_*.db"
_LEAST = {"process_max_fds", "process_start_time_seconds"}
"""What of several processes is not a sum: the tightest limit, and since when there has been one."""


class Exposition:
    """What a scraper is shown: the metrics in ``registry``, or those of all processes if they share a directory.

    ``others`` are collected in this process only.
    """

    def __init__(self, registry: CollectorRegistry, *others: Collector) -> None:
        # as many series again, and several processes could not tell them
        disable_created_metrics()  # type: ignore[no-untyped-call]
        shared = os.environ.get(DIRECTORY)
        self._directory = None if shared is None else Path(shared)
        self._registry = registry
        if self._directory is not None:
            self._registry = CollectorRegistry()
            MultiProcessCollector(self._registry, path=str(self._directory))  # type: ignore[no-untyped-call]
        for other in (*others, _Processes(self._directory)):
            self._registry.register(other)

    def encoded(self, accept: str) -> tuple[bytes, str]:
        """The exposition in the format that ``accept`` asks for, and its media type."""
        if self._directory is not None:
            _forget_the_dead(self._directory)
        encode, media_type = choose_encoder(accept)
        return encode(self._registry), media_type


def _pid(file: Path) -> int:
    return int(file.stem.rsplit("_", 1)[1])


def _living(directory: Path) -> list[int]:
    return sorted(map(_pid, directory.glob(_OF_THE_LIVING)))


def _forget_the_dead(directory: Path) -> None:
    """Take out of the gauges what processes left in them that have gone, by whatever end."""
    for pid in _living(directory):
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            with suppress(FileNotFoundError):  # another scrape may be at it, too
                mark_process_dead(pid, path=str(directory))  # type: ignore[no-untyped-call]


class _Processes:
    """CPU, memory and files of the processes that answer, taken together, and how many have died."""

    def __init__(self, directory: Path | None) -> None:
        self._directory = directory

    def collect(self) -> Iterable[Metric]:
        directory = self._directory
        pids = [os.getpid()] if directory is None else _living(directory)
        found: dict[str, Metric] = {}
        for pid in pids:
            for metric in ProcessCollector(pid=lambda pid=pid: pid, registry=None).collect():  # type: ignore[misc]
                _merge(found, metric)
        yield from found.values()
        seen = len(pids) if directory is None else len(set(map(_pid, directory.glob("*.db"))))
        yield CounterMetricFamily(
            "saddle_worker_deaths", "Processes that answered requests and have gone.", max(0, seen - len(pids))
        )


def _merge(found: dict[str, Metric], metric: Metric) -> None:
    before = found.setdefault(metric.name, metric)
    if before is not metric:
        (old,), (new,) = before.samples, metric.samples
        value = min(old.value, new.value) if metric.name in _LEAST else old.value + new.value
        before.samples = [old._replace(value=value)]
