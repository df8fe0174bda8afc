"""Until when a request is worth answering."""

from __future__ import annotations

from contextvars import ContextVar

DEADLINE: ContextVar[float | None] = ContextVar("deadline", default=None)
"""When the request at hand should have been answered, in ``time.monotonic()`` seconds; None if it may take for ever."""


class DeadlineExceededError(Exception):
    """The request's deadline passed before its work was begun."""
