"""Stopping in good order: first no longer ready, then no longer listening, then gone, with nothing unanswered.

On SIGTERM ``/readyz`` answers 503 while everything else is still answered, so that balancers and Kubernetes stop
sending before the port closes, and every answer ends its connection, so that no request is on its way on one that is
about to be closed. After that uvicorn takes no more connections and waits for what is inside.
"""

from __future__ import annotations

import signal
import time
from typing import TYPE_CHECKING

import structlog
import uvicorn

if TYPE_CHECKING:
    from types import FrameType

log = structlog.get_logger()


class Draining:
    """Whether the service is about to stop."""

    def __init__(self) -> None:
        self.begun = False


class DrainingServer(uvicorn.Server):
    """A server that goes on answering for ``seconds`` after SIGTERM; a second signal, or Ctrl-C, stops it at once."""

    def __init__(self, config: uvicorn.Config, *, draining: Draining, seconds: float) -> None:
        super().__init__(config)
        self._draining = draining
        self._seconds = seconds
        self._signalled: tuple[float, int, FrameType | None] | None = None

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Begin to stop."""
        waits = sig == signal.SIGTERM and not self._draining.begun and self.started
        self._draining.begun = True
        if waits:
            self._signalled = time.monotonic(), sig, frame
        else:
            super().handle_exit(sig, frame)

    async def on_tick(self, counter: int) -> bool:
        """Whether to stop; asked ten times a second."""
        if self._signalled is not None:
            since, sig, frame = self._signalled
            if time.monotonic() - since >= self._seconds:
                self._signalled = None
                super().handle_exit(sig, frame)
        return await super().on_tick(counter)
