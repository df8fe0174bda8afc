from __future__ import annotations

import subprocess
import sys

import pytest

FREED = """
import numpy as np
from pathlib import Path
from service.memory import give_back


def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4 // 1024


kept, freed = [], []
for _ in range(2000):
    freed.append(np.ones(100_000, dtype=np.uint8))
    kept.append(np.ones(200, dtype=np.uint8))
freed.clear()
before = resident()
give_back()
print(before - resident())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="/proc and glibc")
def test_what_was_freed_between_blocks_in_use_is_given_back():
    done = subprocess.run([sys.executable, "-c", FREED], check=True, capture_output=True, text=True)
    assert int(done.stdout) > 50
