"""Memory that was freed, and that the C library keeps for itself."""

from __future__ import annotations

import ctypes
import sys


def give_back() -> None:
    """Give memory that is free back to the system, where the C library is one that can: glibc.

    It keeps what lies between blocks that are still in use, which after a snapshot was closed is a good part of it; the
    next one seldom fits in there, so the process would grow.
    """
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None:
            trim(0)
