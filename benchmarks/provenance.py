"""What a figure has to be quoted with: the commit, the machine and the versions it was measured on."""

from __future__ import annotations

import json
import os
import platform
import subprocess
from contextlib import suppress
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


def commit() -> str:
    """The commit measured, with a mark if the tree differs from it."""
    described = subprocess.run(
        ["git", "describe", "--always", "--dirty", "--abbrev=12"], check=True, stdout=subprocess.PIPE, text=True
    )
    return described.stdout.strip()


def machine() -> dict[str, Any]:
    """What it ran on."""
    names = [
        line.partition(":")[2].strip()
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        if line.startswith("model name")
    ]
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {"cpu": names[0] if names else platform.processor(), "cores": os.cpu_count(), "memory_gib": memory >> 30}


def versions(packages: Iterable[str]) -> dict[str, str]:
    """Python's version, and those of ``packages`` that are installed."""
    found = {"python": platform.python_version()}
    for name in packages:
        with suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


def record(
    out: Path,
    benchmark: str,
    command: str,
    packages: Iterable[str],
    found: Mapping[str, Any],
    *,
    at: str | None = None,
) -> None:
    """Write what was ``found`` to ``out``, below all that it has to be quoted with.

    ``at`` is the commit, where it had to be asked for before.
    """
    told = {
        "benchmark": benchmark,
        "command": command,
        "measured": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": at or commit(),
        "machine": machine(),
        "versions": versions(packages),
        **found,
    }
    out.write_text(json.dumps(told, indent=2) + "\n", encoding="utf-8")
