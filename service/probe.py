"""The recall probe: now and then a live search is run again exactly, and what it was given is held against that.

So recall is known on the queries of the day, as the snapshot was calibrated on others. A probe looks at every product,
so there are only a few a minute, one at a time, on a thread of its own that rests nine times as long as it scans. Its
priority is that of other threads that compute: one of still lower priority that holds the interpreter and is not run
would stop all of them.
"""

from __future__ import annotations

import asyncio
import random
import threading
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import structlog

from service.live import NotReadyError
from service.threads import pool

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from concurrent.futures import Future

    from index.results import SearchResult
    from index.search import Searcher
    from service.live import LiveSearcher
    from service.metrics import Metrics

MOST_HITS = 100
"""Longer pages are not run again: to read so many products stands in others' way."""
_REST = 9.0
"""How long to rest, for each second of scanning."""

log = structlog.get_logger()


class _StoppingError(Exception):
    """The service is about to end."""


class RecallProbe:
    """Runs some of the searches that ``live`` answers again, exactly, and tells ``metrics`` their recall.

    Args:
        live: whose answers are looked into.
        metrics: where their recall is recorded.
        a_minute: how many searches are run again in a minute, at most and on average; 0 for none.
        clock: seconds that only grow.
        rest: how long to rest, for each second of scanning.
    """

    def __init__(
        self,
        live: LiveSearcher,
        metrics: Metrics,
        *,
        a_minute: float,
        clock: Callable[[], float] = time.monotonic,
        rest: float = _REST,
    ) -> None:
        self._live = live
        self._metrics = metrics
        self._per_second = a_minute / 60
        self._clock = clock
        self._rest = rest
        self._due = 0.0
        self._probing: Future[None] | None = None
        self._stopping = threading.Event()
        self._thread = pool("probe", threads=1)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Take searches while the context lasts; one that is being run again then is given up."""
        self._postpone()
        try:
            yield
        finally:
            self._stopping.set()
            await asyncio.to_thread(self._thread.shutdown)

    def offer(self, question: Callable[[Searcher], SearchResult], result: SearchResult) -> None:
        """Run ``question``, which was answered by ``result``, again if it is time to; returns at once.

        The gaps between probes are random, so that they fall in with no rhythm of the queries. What is not
        looked for by distance from a query is left alone.
        """
        if not self._per_second or self._clock() < self._due:
            return
        if result.mode not in ("hybrid", "hyperboloid") or not 0 < len(result.hits) <= MOST_HITS:
            return
        if self._probing is not None and not self._probing.done():
            return
        self._postpone()
        given = frozenset(hit.product.product_id for hit in result.hits)
        self._probing = self._thread.submit(self._probe, question, given, result.snapshot)

    def _postpone(self) -> None:
        if self._per_second:
            self._due = self._clock() + random.expovariate(self._per_second)

    def _probe(self, question: Callable[[Searcher], SearchResult], given: frozenset[str], snapshot: str) -> None:
        try:
            with self._live.lease() as searcher:
                if searcher.snapshot_id != snapshot:
                    self._metrics.probe_lost("outdated")
                    return
                exact = question(searcher.exactly(self._pause))
            hits = [hit.product.product_id for hit in exact.hits]
            if hits:
                self._metrics.probed(exact.mode, len(given.intersection(hits)) / len(hits))
        except NotReadyError:
            self._metrics.probe_lost("outdated")
        except _StoppingError:
            return
        except Exception as error:  # whatever it is, it must not be lost in a thread
            self._metrics.probe_lost("failed")
            log.exception("probe failed", exc_info=error)

    def _pause(self, seconds: float) -> None:
        if self._stopping.wait(self._rest * seconds):
            raise _StoppingError
