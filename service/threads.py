"""Threads that compute, which stand back behind the event loop.

Where cores are few, the loop has to wait for one that computes, and with it every request that could be refused, read
or written at once. Threads of lower priority let it go first; by so little that one which is holding the interpreter
while other processes want its core is not kept from going on for long.
"""

from __future__ import annotations

import os
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

STEPS = 5
"""How much nicer they are than the process began."""


def pool(name: str, *, threads: int) -> ThreadPoolExecutor:
    """Threads for work that the event loop waits for, or not."""
    return ThreadPoolExecutor(threads, thread_name_prefix=name, initializer=stand_back)


def stand_back() -> None:
    """Lower the priority of the thread that calls; once is for all, as it cannot be raised again."""
    if sys.platform == "linux":  # elsewhere priorities are a process's
        thread = threading.get_native_id()
        with suppress(OSError):  # where that is forbidden, things are as they would be without
            os.setpriority(os.PRIO_PROCESS, thread, min(19, os.getpriority(os.PRIO_PROCESS, thread) + STEPS))
