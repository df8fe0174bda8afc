"""Admission: what cannot be answered soon is refused at once, before a byte of its body is read.

Under load the requests inside are those in work and those that wait for them, so how many may be inside decides how
long each of them takes. The right number depends on the machine, the catalogue, the queries and how well they batch; it
is therefore not set but found: as many as are answered within the target time, half of them sooner. Whenever all places
were taken, it is corrected by what the last requests took.
"""

from __future__ import annotations

import statistics
import time
from typing import TYPE_CHECKING

import structlog

from service.errors import Refusal, refuse
from service.scopes import route_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from service.metrics import Metrics

MAX_OTHERS = 16
"""Requests besides plain searches that may be inside: each may bring a body of 32 MiB."""
_LEAST, _FIRST, _MOST = 8, 32, 1024
_FEW = 16
"""Answers to look at before a correction, or as many as there are places if that is more: one turn of the queue."""
_SHRINK, _GROW = 0.5, 1.25
"""How far one correction goes at most. Down faster than up: what was let in too much is waited for by all behind it."""
_BRISK = 0.1
"""Answers within this share of the target did not wait (but were remembered, say) and tell nothing of those that do."""
_LOG_SECONDS = 10.0
_OVERLOADED = Refusal(429, "overloaded", "there are more requests than can be answered soon", ((b"retry-after", b"1"),))

log = structlog.get_logger()


class AdaptiveLimit:
    """How many requests may be inside, so that half of them are answered within ``target`` seconds.

    There are ``first`` places to begin with, so that some bursts pass before anything is known, and never fewer than
    ``least``: on a slow machine the target gives way, not the service.
    """

    def __init__(self, *, target: float, least: int = _LEAST, first: int = _FIRST, most: int = _MOST) -> None:
        self.inside = 0
        self._target = target
        self._least = least
        self._most = most
        self._places = float(first)
        self._pressed = False
        self._took: list[float] = []
        self._answers = 0

    @property
    def places(self) -> int:
        """How many may be inside by now."""
        return int(self._places)

    def enter(self) -> bool:
        """Take a place, if there is one."""
        if self.inside >= self.places:
            self._pressed = True
            return False
        self.inside += 1
        return True

    def leave(self, took: float | None) -> None:
        """Give the place back after an answer that took so many seconds; None if there was none worth the name."""
        self.inside -= 1
        if took is None:
            return
        self._answers += 1
        if took > _BRISK * self._target:
            self._took.append(took)
        if self._answers >= max(_FEW, self.places):
            self._correct()

    def _correct(self) -> None:
        # while there are places to spare, times say nothing about their number
        if self._pressed:
            factor = self._target / statistics.median(self._took) if self._took else _GROW
            self._places *= min(max(factor, _SHRINK), _GROW)
            self._places = min(max(self._places, self._least), self._most)
        self._pressed = False
        self._took.clear()
        self._answers = 0


class FixedLimit:
    """At most so many requests inside."""

    def __init__(self, places: int) -> None:
        self.inside = 0
        self.places = places

    def enter(self) -> bool:
        """Take a place, if there is one."""
        if self.inside >= self.places:
            return False
        self.inside += 1
        return True

    def leave(self, took: float | None) -> None:  # noqa: ARG002 - how long it took does not matter here
        """Give the place back."""
        self.inside -= 1


class AdmissionMiddleware:
    """Lets requests through to ``app`` while there is room, and answers 429 beyond that; probes always pass.

    Args:
        app: the application.
        target_seconds: in how many seconds half of the searches should be answered when there are too many.
        metrics: where refusals are counted.
        clock: seconds that only grow.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        target_seconds: float,
        metrics: Metrics,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._app = app
        self._searches = AdaptiveLimit(target=target_seconds)
        self._others = FixedLimit(MAX_OTHERS)
        self._metrics = metrics
        self._clock = clock
        self._refused = 0
        self._log_at = 0.0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one ASGI connection."""
        if scope["type"] != "http" or (route := route_of(scope)).is_probe:
            await self._app(scope, receive, send)
            return
        limit = self._searches if route.is_search and not route.is_heavy else self._others
        if not limit.enter():
            await self._refuse(scope, send, limit.places)
            return
        entered = self._clock()
        status = 0

        async def send_noted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, send_noted)
        finally:
            # an error is answered faster than a search, and who hangs up is not answered at all
            told = 200 <= status < 300 or status == 504
            limit.leave(self._clock() - entered if told else None)

    async def _refuse(self, scope: Scope, send: Send, places: int) -> None:
        self._metrics.refused("overloaded")
        await refuse(scope, send, _OVERLOADED)
        self._refused += 1
        now = self._clock()
        if now >= self._log_at:
            # a line for each would be work of its own, just when there is too much
            log.warning("overloaded", refused=self._refused, places=places)
            self._refused = 0
            self._log_at = now + _LOG_SECONDS
