"""Several processes that answer on one port, and one that does nothing but see to it that they are there.

All take connections from the same listening socket, so what one of them has not taken yet another can. They share the
snapshot's files, which are mapped into memory, and learn of each other's changes from the journal.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from multiprocessing.connection import wait
from typing import TYPE_CHECKING

import structlog

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable
    from multiprocessing.context import SpawnProcess

    from service.settings import Settings

    Serve = Callable[[Settings, socket.socket], None]

_LOOK_SECONDS = 0.5
_FIRST_PAUSE_SECONDS = 0.5
_LONGEST_PAUSE_SECONDS = 30.0
_STEADY_SECONDS = 30.0
"""Who lived this long did not die of how it started."""
_KILL_SECONDS = 5.0
"""How much longer than its requests may take a worker gets to end."""

log = structlog.get_logger()


class Workers:
    """As many processes as ``settings`` say, each doing ``serve`` with the settings and the socket ``listening``.

    ``serve`` must be importable by its name, and return after SIGTERM.
    """

    def __init__(self, serve: Serve, settings: Settings, listening: socket.socket) -> None:
        self._serve = serve
        self._settings = settings
        self._listening = listening
        self._stopping = False
        self._running: dict[SpawnProcess, float] = {}
        self._deaths = 0
        self._start_at = 0.0

    def run(self) -> None:
        """Keep them running until SIGTERM or Ctrl-C; then let them answer what they were asked, and end."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._stop)
        while not self._stopping:
            if time.monotonic() >= self._start_at:
                while len(self._running) < self._settings.workers:
                    self._start()
            wait([process.sentinel for process in self._running], timeout=_LOOK_SECONDS)
            self._bury()
        self._end()

    def _stop(self, *_: object) -> None:
        self._stopping = True

    def _start(self) -> None:
        # not a fork: threads and what they hold would not survive one
        process = multiprocessing.get_context("spawn").Process(
            target=_work, args=(self._serve, self._settings, self._listening), name="worker"
        )
        process.start()
        self._running[process] = time.monotonic()
        log.info("worker started", pid=process.pid)

    def _bury(self) -> None:
        """Forget who has died; after the second death in a row soon after a start, pause before the next start."""
        for process, since in list(self._running.items()):
            if process.is_alive():
                continue
            lived = time.monotonic() - since
            self._deaths = 0 if lived >= _STEADY_SECONDS else self._deaths + 1
            pause = min(_FIRST_PAUSE_SECONDS * 2.0 ** (self._deaths - 1), _LONGEST_PAUSE_SECONDS)
            self._start_at = time.monotonic() + (pause if self._deaths > 1 else 0.0)
            log.error("worker died", pid=process.pid, exit_code=process.exitcode, lived_seconds=round(lived, 3))
            del self._running[process]
            process.close()

    def _end(self) -> None:
        for process in self._running:
            process.terminate()
        patience = time.monotonic() + self._settings.drain_seconds + self._settings.shutdown_seconds + _KILL_SECONDS
        for process in self._running:
            process.join(max(0.0, patience - time.monotonic()))
            if process.is_alive():
                log.error("worker killed, as it did not end", pid=process.pid)
                process.kill()
                process.join()


def _work(serve: Serve, settings: Settings, listening: socket.socket) -> None:
    threading.Thread(target=_follow_parent, name="parent", daemon=True).start()
    serve(settings, listening)


def _follow_parent() -> None:
    """End when the parent does: nobody would replace or stop this process then."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os.kill(os.getpid(), signal.SIGTERM)
