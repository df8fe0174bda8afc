"""How many requests a second a key may make: token buckets."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


class TokenBucket:
    """A bucket that holds ``burst`` requests and gets ``rate`` new ones a second; it begins full."""

    def __init__(self, *, rate: float, burst: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.rate = rate
        self.burst = burst
        self._clock = clock
        self._tokens = float(burst)
        self._then = clock()

    def take(self) -> float:
        """Take a request out; 0 if there was one, else the seconds until there will be."""
        now = self._clock()
        self._tokens = min(self.burst, self._tokens + (now - self._then) * self.rate)
        self._then = now
        if self._tokens >= 1.0:
            self._tokens -= 1.0
            return 0.0
        return (1.0 - self._tokens) / self.rate

    def charge(self, requests: int) -> None:
        """Take out what a request turned out to be worth besides; the next have to wait until that is there again."""
        self._tokens -= requests
