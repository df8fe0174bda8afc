"""The device setting: where points lie and are measured, what finds candidates there, and where encoders run.

Nothing here needs torch unless a GPU is asked for. A setting that this machine cannot honour is no error: what cannot
be done there is done where it can be, as exactly, and one warning names what was asked, what is used, and why.
"""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Self, cast

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from index.resident import ResidentPoints

Finder = Literal["scan", "flat", "cagra"]
"""What finds candidates on a GPU: the fused scan of all points by containment, or one of FAISS's indexes by distance
to the centre."""

_SETTING = re.compile(r"cpu|cuda(?::(?P<number>[0-9]+))?(?:/(?P<finder>scan|flat|cagra))?")

log = logging.getLogger(__name__)


class DeviceError(ValueError):
    """A device setting that means nothing."""


@dataclass(frozen=True, slots=True)
class Device:
    """The CPU, if ``number`` is None, or the GPU of that number and what finds candidates on it."""

    number: int | None = None
    finder: Finder = "scan"

    @classmethod
    def parse(cls, setting: str) -> Self:
        """Read ``cpu``, ``cuda`` or ``cuda:N``, the last two perhaps with ``/scan``, ``/flat`` or ``/cagra``.

        Raises:
            DeviceError: it is something else.
        """
        found = _SETTING.fullmatch(setting)
        if found is None:
            raise DeviceError(
                f"the device is {setting!r}, but must be cpu, cuda or cuda:N, the last two perhaps with /scan (the "
                "default), /flat or /cagra behind"
            )
        if setting == "cpu":
            return cls()
        return cls(int(found["number"] or 0), cast("Finder", found["finder"] or "scan"))

    def __str__(self) -> str:
        return "cpu" if self.number is None else f"cuda:{self.number}/{self.finder}"


CPU = Device()


def hold(points: NDArray[np.float32], device: Device, *, c: float, gamma: float) -> ResidentPoints | None:
    """``points`` (N, d) on the GPU that was asked for; None, and a warning if one was, if they stay where they are."""
    if device.number is None:
        return None
    try:
        return _held(points, device, device.number, c=c, gamma=gamma)
    except ModuleNotFoundError as error:
        reason = f"{error.name} is not installed"
    except RuntimeError as error:  # torch's, and what it raises where memory is short is one of them
        reason = str(error)
    log.warning("points stay on the cpu, not on %s as asked: %s", device, reason)
    return None


def _held(points: NDArray[np.float32], device: Device, number: int, *, c: float, gamma: float) -> ResidentPoints:
    """``points`` (N, d) on a GPU, and the index that was asked for, if this FAISS has it.

    Raises:
        ModuleNotFoundError: torch is not installed.
        RuntimeError: there is no such GPU, or it has too little room.
    """
    from index.resident import ResidentPoints, check

    check(number)
    resident = ResidentPoints(points, place=f"cuda:{number}", c=c, gamma=gamma)
    if device.finder != "scan":
        from index.candidates_gpu import GpuCandidates

        try:
            resident.index = GpuCandidates.build(points, c=c, finder=device.finder, number=number)
        except (ValueError, RuntimeError) as error:
            log.warning("candidates are found by the fused scan, not by %s as asked: %s", device, error)
    return resident
