"""What no request tells is looked at now and then: that this process answers, how far the journal is ahead."""

from __future__ import annotations

import asyncio
import threading
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import structlog

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from service.live import LiveSearcher
    from service.metrics import Metrics

_SECONDS = 1.0

log = structlog.get_logger()


@asynccontextmanager
async def watching(live: LiveSearcher, metrics: Metrics) -> AsyncIterator[None]:
    """Keep what ``metrics`` say of ``live`` up to date while the context lasts."""
    metrics.started()
    stopping = threading.Event()
    thread = threading.Thread(target=_watch, args=(live, metrics, stopping), name="watch")
    thread.start()
    try:
        yield
    finally:
        stopping.set()
        await asyncio.to_thread(thread.join)


def _watch(live: LiveSearcher, metrics: Metrics, stopping: threading.Event) -> None:
    while not stopping.wait(_SECONDS):
        try:
            lag = live.lag()
        except Exception as error:  # whatever the journal has, the next look may find it mended
            log.exception("journal not measured", exc_info=error)
            continue
        if lag is not None:
            metrics.journal(lag)
