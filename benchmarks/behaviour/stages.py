"""Where the time and the memory of a call go, seen from beside it: which of the calls that it makes is under way."""

from __future__ import annotations

import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import CodeType, TracebackType

_EVERY = 0.02
_STATUS, _CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")
_FORGET_PEAK = "5"
_SHORT = 1.0


class Stages:
    """While a ``with`` block runs, minutes and the peak of resident memory of each call that ``function`` makes.

    It is looked for on the stack of the thread that enters the block. Linux alone can tell a stage's own peak.
    """

    def __init__(self, function: Callable[..., object]) -> None:
        self._code: CodeType = function.__code__
        self._thread = threading.get_ident()
        self._over = threading.Event()
        self._watcher = threading.Thread(target=self._watch, daemon=True)
        self._seconds: dict[str, float] = {}
        self._core_seconds: dict[str, float] = {}
        self._peaks: dict[str, float] = {}

    def __enter__(self) -> Self:
        self._watcher.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._watcher.join()

    def told(self) -> dict[str, dict[str, float]]:
        """Minutes, core minutes and GiB by stage, in order; what is over within a second is told together."""
        found: dict[str, dict[str, float]] = {}
        for stage, seconds in self._seconds.items():
            name = stage if seconds >= _SHORT else "rest"
            told = found.setdefault(name, {"minutes": 0.0, "core_minutes": 0.0, "peak_gib": 0.0})
            told["minutes"] += seconds / 60
            told["core_minutes"] += self._core_seconds[stage] / 60
            told["peak_gib"] = max(told["peak_gib"], self._peaks[stage])
        return {name: {key: round(value, 2) for key, value in told.items()} for name, told in found.items()}

    def _watch(self) -> None:
        stage, wall, core = None, time.monotonic(), time.process_time()
        over = False
        while not over:
            over = self._over.wait(_EVERY)
            current = self._stage()
            if current == stage and not over:
                continue
            now, spent, peak = time.monotonic(), time.process_time(), _peak_gib()
            if stage is not None:
                self._seconds[stage] = self._seconds.get(stage, 0.0) + now - wall
                self._core_seconds[stage] = self._core_seconds.get(stage, 0.0) + spent - core
                self._peaks[stage] = max(self._peaks.get(stage, 0.0), peak)
            _CLEAR.write_text(_FORGET_PEAK, encoding="ascii")
            stage, wall, core = current, now, spent

    def _stage(self) -> str | None:
        """What the function has called last and not come back from; its own name if nothing, None if it is not run."""
        called: CodeType | None = None
        frame = sys._current_frames()[self._thread]
        while frame is not None and frame.f_code is not self._code:
            called, frame = frame.f_code, frame.f_back  # type: ignore[assignment]
        return None if frame is None else (called or self._code).co_qualname


def _peak_gib() -> float:
    for line in _STATUS.read_text(encoding="ascii").splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 2**20
    raise OSError(f"{_STATUS} does not tell the peak of resident memory")
