"""A service under measurement: a process of its own, on a core of its own where that is wished."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_PATIENCE = 120.0
_LOOK_SECONDS = 0.1
_PAGE = os.sysconf("SC_PAGE_SIZE")


class Served(NamedTuple):
    """Where a service answers, and its process."""

    port: int
    process: int

    @property
    def url(self) -> str:
        """The root of its addresses."""
        return f"http://127.0.0.1:{self.port}"

    def cpu(self) -> float:
        """CPU seconds that it has used, as its threads' clocks have them."""
        tasks = Path(f"/proc/{self.process}/task").iterdir()
        return sum(int((task / "schedstat").read_text(encoding="utf-8").split()[0]) for task in tasks) / 1e9

    def resident(self) -> int:
        """Bytes of memory, the pages of mapped files included."""
        return int(Path(f"/proc/{self.process}/statm").read_text(encoding="utf-8").split()[1]) * _PAGE

    def metric(self, name: str) -> float:
        """A sample of its metrics."""
        with urllib.request.urlopen(f"{self.url}/metrics") as response:
            found = re.search(rf"^{re.escape(name)} (\S+)$", response.read().decode(), re.MULTILINE)
        if found is None:
            raise KeyError(name)
        return float(found[1])


@contextmanager
def serving(
    module: str,
    *arguments: object,
    ready: str = "/readyz",
    core: int | None = None,
    environment: Mapping[str, str] | None = None,
    log: Path | None = None,
) -> Iterator[Served]:
    """``python -m module arguments``, from when it answers on the path ``ready``; ``PORT`` among them becomes a port.

    What it logs is written to ``log``, or to nowhere.

    Raises:
        RuntimeError: it ended, or did not answer within two minutes.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    pinned = [] if core is None else ["taskset", "--cpu-list", str(core)]
    told = [str(port) if one == "PORT" else str(one) for one in arguments]
    command = [*pinned, sys.executable, "-m", module, *told]
    with (
        Path(log or os.devnull).open("w", encoding="utf-8") as told_to,
        subprocess.Popen(command, env={**os.environ, **(environment or {})}, stderr=told_to) as process,
    ):
        served = Served(port, process.pid)
        try:
            until = time.monotonic() + _PATIENCE
            while not _answers(f"{served.url}{ready}"):
                if time.monotonic() > until or process.poll() is not None:
                    raise RuntimeError(f"{' '.join(command)} does not answer")
                time.sleep(_LOOK_SECONDS)
            yield served
        finally:
            process.terminate()


def saddle(index: Path) -> tuple[object, ...]:
    """What :func:`serving` is given for ``saddle serve`` over an index root."""
    return "service", "serve", "--index", index, "--port", "PORT"


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url) as response:
            return bool(response.status == 200)
    except urllib.error.HTTPError:
        return False
    except OSError:
        return False
