"""Benchmarks that consist of trials of settings, all in one file; a run that is stopped goes on with the next."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from benchmarks.provenance import commit, record

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

Trial = dict[str, Any]


def run(
    out: Path,
    trials: Iterable[Trial],
    measure: Callable[[Trial], Trial],
    *,
    benchmark: str,
    command: str,
    packages: Iterable[str],
) -> None:
    """Measure the ``trials`` that ``out`` lacks, of seed 0, and write it anew after each."""
    at = commit()  # before the file changes the tree
    done: list[Trial] = json.loads(out.read_bytes())["trials"] if out.exists() else []
    for trial in trials:
        if not any(trial.items() <= made.items() for made in done):
            done.append({**trial, **measure(trial), "commit": at})
            record(out, benchmark, command, packages, {"seed": 0, "trials": done}, at=at)
