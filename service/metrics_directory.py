"""Where several processes that answer on one port keep their metrics, so that any of them can show those of all.

Nothing here imports ``prometheus_client``, which looks for the directory once, when it is imported.
"""

from __future__ import annotations

import os
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

DIRECTORY = "PROMETHEUS_MULTIPROC_DIR"
"""The environment variable that names the directory to ``prometheus_client``."""


@contextmanager
def shared() -> Iterator[Path]:
    """An empty directory in which this process and those it starts meanwhile keep their metrics.

    It is the one that ``PROMETHEUS_MULTIPROC_DIR`` names, which then stays, or a new one, which goes.

    Raises:
        RuntimeError: ``prometheus_client`` is imported already.
    """
    if "prometheus_client" in sys.modules:
        raise RuntimeError(f"prometheus_client was imported before {DIRECTORY} was there to be seen")
    given = os.environ.get(DIRECTORY)
    if given is not None:
        directory = Path(given)
        directory.mkdir(parents=True, exist_ok=True)
        for left in directory.glob("*.db"):
            left.unlink()
        yield directory
        return
    with tempfile.TemporaryDirectory(prefix="saddle-metrics-") as made:
        os.environ[DIRECTORY] = made
        try:
            yield Path(made)
        finally:
            del os.environ[DIRECTORY]
