"""Until when a request is worth answering: its deadline, and work that is begun before it or not at all."""

from __future__ import annotations

import time
from contextvars import ContextVar
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

_Answer = TypeVar("_Answer")

DEADLINE: ContextVar[float | None] = ContextVar("deadline", default=None)
"""When the request at hand should have been answered, in ``time.monotonic()`` seconds; None if it may take for ever."""


class DeadlineExceededError(Exception):
    """The request's deadline passed before its work was begun, or while it waited for an answer."""

    def __init__(self, message: str = "the deadline passed before there was an answer") -> None:
        super().__init__(message)


def begun_in_time(work: Callable[[], _Answer]) -> Callable[[], _Answer]:
    """``work``, for another thread, to be begun before the deadline of the request that calls this, or not at all.

    Raises:
        DeadlineExceededError: when it is called too late.
    """
    until = DEADLINE.get()
    if until is None:
        return work

    def begun() -> _Answer:
        if time.monotonic() > until:
            raise DeadlineExceededError
        return work()

    return begun
