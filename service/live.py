"""The live searcher: answers from the current snapshot and the journal, and follows both without a pause.

A search leases the searcher that is current when it starts, and keeps it until it ends. A new snapshot is
opened and warmed beside the old one, then the reference is swapped; the old one is closed when its last lease
ends.

A change is written to the journal, then brought to the searcher that is current by then, and only then acknowledged. A
swap waits for that and the other way round, so what was acknowledged is never missing, not for a moment. What other
processes wrote is looked for every ``POLL_SECONDS``.

Changes and new snapshots are worked on by threads of their own, so that no search waits for one of them, and what a new
snapshot has to be shown of the journal is shown in small pieces with rests between.
"""

from __future__ import annotations

import asyncio
import gc
import threading
import time
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import structlog

from index.changes import Changes
from index.journal import JOURNAL, Journal
from index.root import current, place_of, point_at
from index.search import Searcher
from service.cache import Version
from service.deadline import begun_in_time
from service.memory import give_back
from service.threads import pool, stand_back

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from pathlib import Path

    from index.changes import Lag
    from service.metrics import Metrics

_Answer = TypeVar("_Answer")

# The first runs of a graph of each length allocate; callers should not wait for that.
_WARM_UP = ("pipe", "cordless drill", "white interior door 36 x 80 in. with frame")
_MAX_BACKOFF_SECONDS = 60.0
POLL_SECONDS = 0.02
"""How often the journal is looked at for what other processes wrote."""
_CHANGERS = 4
"""Threads that changes are made on: several, so that those who wait for the disk can share a commit."""
_REST = 3.0
"""How long to rest from replaying the journal beside searches, for each second of it."""
_FEW = 64
"""Changes that may be left to be shown while all others wait."""

log = structlog.get_logger()


class NotReadyError(Exception):
    """There is no snapshot to answer from yet."""


class ReadOnlyError(Exception):
    """There is no journal to keep changes in."""


@dataclass(slots=True)
class _Held:
    """A searcher and how many use it: the searches under way and, while it is current, the live searcher."""

    directory: Path
    searcher: Searcher
    changes: Changes | None
    """None where the index root cannot be written to."""
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
        self._pool = pool("search", threads=threads)
        self._changers = pool("change", threads=_CHANGERS)
        self._swapper = pool("swap", threads=1)
        self._lock = threading.Lock()
        self._held: _Held | None = None
        self._journal: Journal | None = None
        self._journal_version = 0
        self._showing = threading.Lock()
        self._looking = threading.Lock()
        self._refused: Path | None = None
        self._refusals = 0
        self._retry_at = 0.0
        self._absence = ""
        self._closed = False
        """Whether a snapshot was replaced since memory was last given back."""

    @asynccontextmanager
    async def running(self, *, warm: bool = False) -> AsyncIterator[None]:
        """Follow ``CURRENT`` while the context lasts, then let searches finish and close the snapshot.

        With ``warm`` the context begins when the snapshot that is current by then was opened, if there is one.
        """
        if warm:
            await asyncio.to_thread(self.reload)
        stopping = threading.Event()
        tasks = ((self.reload, self._reload_seconds), (self._look_at_journal, min(POLL_SECONDS, self._reload_seconds)))
        followers = [threading.Thread(target=_repeat, args=(*task, stopping), name="follower") for task in tasks]
        for follower in followers:
            follower.start()
        try:
            yield
        finally:
            stopping.set()
            for follower in followers:
                await asyncio.to_thread(follower.join)
            for threads in (self._swapper, self._changers, self._pool):
                await asyncio.to_thread(threads.shutdown)
            self._replace(None)
            if self._journal is not None:
                self._journal.close()

    async def ask(self, question: Callable[[Searcher], _Answer]) -> _Answer:
        """What ``question`` gets from the current searcher, off the event loop.

        Raises:
            NotReadyError: no snapshot is loaded yet.
            DeadlineExceededError: no thread was free before the request's deadline.
        """

        def leased() -> _Answer:
            with self.lease() as searcher:
                return question(searcher)

        return await self.run(begun_in_time(leased))

    def run(self, work: Callable[[], _Answer]) -> asyncio.Future[_Answer]:
        """Do ``work`` on one of the threads that search."""
        return asyncio.get_running_loop().run_in_executor(self._pool, work)

    @property
    def version(self) -> Version | None:
        """What a search that begins now sees, or less; None if no snapshot is loaded yet."""
        held = self._held
        return None if held is None else Version(held.searcher.snapshot_id, held.searcher.shown)

    async def change(self, action: Callable[[Changes], _Answer]) -> _Answer:
        """What ``action`` makes of the changes, off the event loop; when it returns, searches see what it did.

        Raises:
            NotReadyError: no snapshot is loaded yet.
            ReadOnlyError: the index root cannot be written to.
            DeadlineExceededError: no thread was free before the request's deadline; nothing was changed.
        """

        def changed() -> _Answer:
            with self._lease() as held:
                if held.changes is None:
                    raise ReadOnlyError("the index root cannot be written to, so there is no journal for changes")
                answer = action(held.changes)
            self.catch_up()
            return answer

        return await asyncio.get_running_loop().run_in_executor(self._changers, begun_in_time(changed))

    async def switch(self, chosen: Callable[[], str]) -> str:
        """Make the snapshot whose id is ``chosen`` current and answer from it, off the event loop; return its id.

        Raises:
            UnknownSnapshotError: there is none of that id.
            SnapshotError: it is damaged; the one before stays current.
        """

        def switched() -> str:
            snapshot_id = chosen()
            self.activate(snapshot_id)
            return snapshot_id

        return await asyncio.get_running_loop().run_in_executor(self._swapper, switched)

    def activate(self, snapshot_id: str) -> None:
        """Make a snapshot current and answer from it; opening it is what checks it, and that is done once.

        Raises:
            UnknownSnapshotError: there is none of that id.
            SnapshotError: it is damaged; the one before stays current.
        """
        directory = place_of(self._root, snapshot_id)
        with self._looking:
            started = time.perf_counter()
            held = self._open(directory)  # also if it is what is answered from: its files may be damaged by now
            point_at(self._root, snapshot_id)
            self._take_up(held, started)

    @contextmanager
    def lease(self) -> Iterator[Searcher]:
        """The current searcher, which stays open until the context ends, whatever is published meanwhile.

        Raises:
            NotReadyError: no snapshot is loaded yet.
        """
        with self._lease() as held:
            yield held.searcher

    def lag(self) -> Lag | None:
        """How far the current searcher is behind the journal; None where there is no journal, or no searcher."""
        held = self._held
        return None if held is None or held.changes is None else held.changes.lag()

    def catch_up(self) -> None:
        """Bring all that the journal holds to the current searcher."""
        with self._showing:
            held = self._held
            if held is not None and held.changes is not None:
                held.changes.catch_up()

    @contextmanager
    def _lease(self) -> Iterator[_Held]:
        with self._lock:
            held = self._held
            if held is None:
                raise NotReadyError("no snapshot is loaded yet; `saddle reindex` publishes one")
            held.users += 1
        try:
            yield held
        finally:
            self._release(held)

    def reload(self) -> None:
        """Look at ``CURRENT`` once and take up the snapshot it names, if that is a new one.

        Never raises. A snapshot that cannot be loaded is logged and counted, the one before serves on, and it
        is tried again only after a growing pause.
        """
        with self._looking:
            self._look_at_current()

    def _look_at_current(self) -> None:
        try:
            directory = current(self._root)
        except (OSError, ValueError) as error:
            self._report_absence(str(error))
            return
        self._absence = ""
        if self._held is not None and self._held.directory == directory:
            self._refused = None
            if self._closed:  # by now: no search goes on for as long as it is between two looks
                self._closed = False
                give_back()
            return
        if directory == self._refused and time.monotonic() < self._retry_at:
            return
        started = time.perf_counter()
        try:
            held = self._open(directory)
        except Exception as error:  # noqa: BLE001 - whatever is wrong with a new snapshot, the old one serves on
            self._refuse(directory, error)
            return
        self._take_up(held, started)

    def _take_up(self, held: _Held, started: float) -> None:
        self._refused = None
        # what was opened stays for long: no collection of all garbage, during which nothing else runs, need look at it
        gc.collect(1)
        gc.freeze()
        self._replace(held)
        searcher = held.searcher
        snapshot, model, products = searcher.snapshot_id, searcher.model_version, searcher.size
        self._metrics.snapshot_loaded(
            snapshot=snapshot, model=model, products=products, size=searcher.bytes, created=searcher.created
        )
        seconds = round(time.perf_counter() - started, 3)
        log.info("snapshot loaded", snapshot=snapshot, model=model, products=products, seconds=seconds)

    def _look_at_journal(self) -> None:
        """Catch up if another process wrote; never raises."""
        if self._journal is None:
            return
        try:
            version = self._journal.version()
            if version != self._journal_version:
                self.catch_up()
                self._journal_version = version
        except Exception as error:
            log.exception("changes not shown", exc_info=error)

    def _open(self, directory: Path) -> _Held:
        searcher = self._open_searcher(directory)
        try:
            journal = self._open_journal()
            beside = None if self._held is None else self._held.changes
            changes = None if journal is None else Changes(searcher, journal, beside=beside)
            if changes is not None:
                self._replay(changes)
            for query in _WARM_UP:
                searcher.search(query, limit=10, offset=0)
        except BaseException:
            searcher.close()
            raise
        return _Held(directory, searcher, changes)

    def _replay(self, changes: Changes) -> None:
        """Show what the journal holds, and what comes in the meantime, until little is left."""
        rest = 0.0 if self._held is None else _REST
        while changes.catch_up(rest=rest) > _FEW:
            pass

    def _open_journal(self) -> Journal | None:
        """The journal of the index root, opened once; None if the root is read-only and has none.

        Raises:
            JournalError: the file is no journal.
        """
        if self._journal is None:
            try:
                self._journal = Journal(self._root / JOURNAL)
            except OSError as error:
                log.warning("no live changes", reason=str(error))
        return self._journal

    def _replace(self, held: _Held | None) -> None:
        with self._showing:
            if held is not None and held.changes is not None:
                held.changes.catch_up()
            with self._lock:
                replaced, self._held = self._held, held
        if replaced is not None:
            self._release(replaced)
            self._closed = True

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


def _repeat(task: Callable[[], None], seconds: float, stopping: threading.Event) -> None:
    """Do ``task`` every so many seconds until ``stopping`` is set."""
    stand_back()
    while not stopping.is_set():
        task()
        stopping.wait(seconds)
