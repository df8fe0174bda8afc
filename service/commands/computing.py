"""How torch computes where people train."""

from __future__ import annotations

import os


def prepare(threads: int | None = None) -> None:
    """Import torch so that it shares the cores with whatever else uses them; ``threads`` are all cores by default.

    A core that something else uses would stall every parallel step while the other threads spin; but a thread that
    sleeps at once is woken a thousand times a step. So they spin for microseconds.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    os.environ.setdefault("GOMP_SPINCOUNT", "2000")
    import torch

    if threads is not None:
        torch.set_num_threads(threads)
