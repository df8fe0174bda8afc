"""When a request is sent again, and after how long."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import random


@dataclass(frozen=True, slots=True)
class Retry:
    """How often and how patiently a request is repeated.

    The pause before the n-th repetition is random, between nothing and ``first_pause`` · 2ⁿ⁻¹ seconds, but at most
    ``longest_pause``: clients that were refused together do not come back together. Where the service asked for a
    pause, that comes first, unless it is longer than ``longest_wait``: then the error is raised at once.
    """

    attempts: int = 3
    """How often a request is sent at most; 1 never repeats."""
    first_pause: float = 0.1
    longest_pause: float = 5.0
    longest_wait: float = 30.0

    def __post_init__(self) -> None:
        if self.attempts < 1:
            raise ValueError(f"attempts is {self.attempts}; a request is sent at least once")

    def pause(self, attempt: int, retry_after: float | None, *, rng: random.Random) -> float | None:
        """Seconds to wait after the ``attempt``-th one failed, from 1; None if it was the last."""
        if attempt >= self.attempts or (retry_after is not None and retry_after > self.longest_wait):
            return None
        most = min(self.longest_pause, self.first_pause * 2.0 ** (attempt - 1))
        return (retry_after or 0.0) + rng.uniform(0.0, most)


NEVER = Retry(attempts=1)


def retry_after_of(value: str | None, *, now: datetime | None = None) -> float | None:
    """The seconds that a Retry-After header asks for, given as seconds or as a date; None if it says nothing."""
    if value is None:
        return None
    text = value.strip()
    if text.isascii() and text.isdecimal():
        return float(text)
    try:
        moment = parsedate_to_datetime(text)
    except ValueError:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return max(0.0, (moment - (now or datetime.now(UTC))).total_seconds())
