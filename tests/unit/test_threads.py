from __future__ import annotations

import os
import sys
import threading

import pytest

from service.threads import STEPS, pool


@pytest.mark.skipif(sys.platform != "linux", reason="priorities are a process's here")
def test_threads_that_compute_stand_back_and_nobody_else_does():
    before = os.getpriority(os.PRIO_PROCESS, threading.get_native_id())
    with pool("test", threads=2) as threads:
        niceness = threads.submit(lambda: os.getpriority(os.PRIO_PROCESS, threading.get_native_id())).result()
    assert niceness == min(19, before + STEPS)
    assert os.getpriority(os.PRIO_PROCESS, threading.get_native_id()) == before
