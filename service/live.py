"""The live searcher: answers from the current snapshot, and follows CURRENT to the next one without a pause.

A search leases the searcher that is current when it starts, and keeps it until it ends. A new snapshot is
opened and warmed beside the old one, then the reference is swapped; the old one is closed when its last lease
ends.
"""

from __future__ import annotations

import asyncio
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import structlog

from index.search import Searcher
from index.snapshot import current

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from pathlib import Path

    from service.metrics import Metrics

_Answer = TypeVar("_Answer")

# The first runs of a graph of each length allocate; callers should not wait for that.
_WARM_UP = ("pipe", "cordless drill", "white interior door 36 x 80 in. with frame")
_MAX_BACKOFF_SECONDS = 60.0

log = structlog.get_logger()


class NotReadyError(Exception):
    """There is no snapshot to answer from yet."""


@dataclass(slots=True)
class _Held:
    """A searcher and how many use it: the searches under way and, while it is current, the live searcher."""

    directory: Path
    searcher: Searcher
    users: int = 1


class LiveSearcher:
    """Searches the current snapshot under the index root ``root``, on ``threads`` threads of its own.

    Args:
        root: directory with ``CURRENT``; it may be empty, or missing, until the first snapshot is published.
        threads: how many searches run at once.
        reload_seconds: how often ``CURRENT`` is read.
        metrics: where loaded and failed snapshots are recorded.
        open_searcher: opens one snapshot directory.
    """

    def __init__(
        self,
        root: Path,
        *,
        threads: int,
        reload_seconds: float,
        metrics: Metrics,
        open_searcher: Callable[[Path], Searcher] = Searcher.open,
    ) -> None:
        self._root = root
        self._reload_seconds = reload_seconds
        self._metrics = metrics
        self._open_searcher = open_searcher
        self._pool = ThreadPoolExecutor(max_workers=threads, thread_name_prefix="search")
        self._lock = threading.Lock()
        self._held: _Held | None = None
        self._refused: Path | None = None
        self._refusals = 0
        self._retry_at = 0.0
        self._absence = ""

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Follow ``CURRENT`` while the context lasts, then let searches finish and close the snapshot."""
        stopping = asyncio.Event()
        watcher = asyncio.create_task(self._watch(stopping))
        try:
            yield
        finally:
            stopping.set()
            await watcher
            await asyncio.to_thread(self._pool.shutdown)
            self._replace(None)

    async def ask(self, question: Callable[[Searcher], _Answer]) -> _Answer:
        """What ``question`` gets from the current searcher, off the event loop.

        Raises:
            NotReadyError: no snapshot is loaded yet.
        """

        def leased() -> _Answer:
            with self.lease() as searcher:
                return question(searcher)

        return await asyncio.get_running_loop().run_in_executor(self._pool, leased)

    @contextmanager
    def lease(self) -> Iterator[Searcher]:
        """The current searcher, which stays open until the context ends, whatever is published meanwhile.

        Raises:
            NotReadyError: no snapshot is loaded yet.
        """
        with self._lock:
            held = self._held
            if held is None:
                raise NotReadyError("no snapshot is loaded yet; `saddle reindex` publishes one")
            held.users += 1
        try:
            yield held.searcher
        finally:
            self._release(held)

    def reload(self) -> None:
        """Look at ``CURRENT`` once and take up the snapshot it names, if that is a new one.

        Never raises. A snapshot that cannot be loaded is logged and counted, the one before serves on, and it
        is tried again only after a growing pause.
        """
        try:
            directory = current(self._root)
        except (OSError, ValueError) as error:
            self._report_absence(str(error))
            return
        self._absence = ""
        if self._held is not None and self._held.directory == directory:
            self._refused = None
            return
        if directory == self._refused and time.monotonic() < self._retry_at:
            return
        started = time.perf_counter()
        try:
            searcher = self._open(directory)
        except Exception as error:  # noqa: BLE001 - whatever is wrong with a new snapshot, the old one serves on
            self._refuse(directory, error)
            return
        self._refused = None
        self._replace(_Held(directory, searcher))
        snapshot, model, products = searcher.snapshot_id, searcher.model_version, searcher.size
        self._metrics.snapshot_loaded(snapshot=snapshot, model=model, products=products)
        seconds = round(time.perf_counter() - started, 3)
        log.info("snapshot loaded", snapshot=snapshot, model=model, products=products, seconds=seconds)

    async def _watch(self, stopping: asyncio.Event) -> None:
        while not stopping.is_set():
            await asyncio.to_thread(self.reload)
            with suppress(TimeoutError):
                await asyncio.wait_for(stopping.wait(), self._reload_seconds)

    def _open(self, directory: Path) -> Searcher:
        searcher = self._open_searcher(directory)
        try:
            for query in _WARM_UP:
                searcher.search(query, limit=10, offset=0)
        except BaseException:
            searcher.close()
            raise
        return searcher

    def _replace(self, held: _Held | None) -> None:
        with self._lock:
            replaced, self._held = self._held, held
        if replaced is not None:
            self._release(replaced)

    def _release(self, held: _Held) -> None:
        with self._lock:
            held.users -= 1
            unused = held.users == 0
        if unused:
            held.searcher.close()

    def _refuse(self, directory: Path, error: Exception) -> None:
        self._refusals = self._refusals + 1 if directory == self._refused else 1
        self._refused = directory
        pause = min(_MAX_BACKOFF_SECONDS, self._reload_seconds * 2.0**self._refusals)
        self._retry_at = time.monotonic() + pause
        self._metrics.snapshot_failed()
        log.error("snapshot refused", directory=str(directory), retry_seconds=pause, exc_info=error)

    def _report_absence(self, reason: str) -> None:
        """Log why there is no current snapshot, once and not every second; a failure if one was served."""
        if reason == self._absence:
            return
        self._absence = reason
        if self._held is None:
            log.warning("no snapshot yet", reason=reason)
        else:
            self._metrics.snapshot_failed()
            log.error("snapshot lost", reason=reason, serving=self._held.searcher.snapshot_id)
