"""What all cells say together: mean and spread over seeds for every system."""

from __future__ import annotations

import json
import statistics
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from benchmarks.compare.cells import Record

MEASURED = ("dev", "test", "measures")
PROVENANCE = {"commits": "commit", "machines": "machine", "versions": "versions", "threads": "threads"}
"""What a report calls all different values of a record's field."""


def collect(folder: Path) -> dict[str, Any]:
    """The records in ``folder``, one row for each system, and for each dimension where those are swept."""
    records = [json.loads(path.read_bytes()) for path in sorted(folder.glob("*.json"))]
    groups: dict[tuple[str, str, int], list[Record]] = {}
    for record in records:
        groups.setdefault((record["data"], record["system"], record["dim"] or 0), []).append(record)
    return {
        "benchmark": "compare",
        "command": "python -m benchmarks.compare --data …",
        "cells": len(records),
        "measured": max((record["measured"] for record in records), default=None),
        **{plural: together(records, name) for plural, name in PROVENANCE.items()},
        "systems": [_row(groups[key]) for key in sorted(groups)],
    }


def _row(records: Sequence[Record]) -> Record:
    """One system's records, one for each seed, as one."""
    first = records[0]
    return {
        "data": first["data"],
        "system": first["system"],
        "dim": first["dim"],
        "re_ranks": first.get("re_ranks"),
        "seeds": sorted(record["seed"] for record in records),
        "parameters": first["parameters"],
        "seconds": spread([record["seconds"] for record in records]),
        "core_seconds": spread([record["core_seconds"] for record in records]),
        "steps": spread([record["steps"] for record in records]),
        "stopped_early": sum(record["stopped_early"] for record in records),
        **{part: merged([record[part] for record in records]) for part in MEASURED if part in first},
    }


def merged(parts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Nested figures of the same shape, each replaced by its mean and spread."""
    return {
        key: merged([part[key] for part in parts]) if isinstance(value, dict) else spread([part[key] for part in parts])
        for key, value in parts[0].items()
    }


def spread(values: Sequence[float]) -> dict[str, float | None]:
    """Mean, and standard deviation between seeds; with one seed there is none."""
    return {"mean": statistics.fmean(values), "std": statistics.stdev(values) if len(values) > 1 else None}


def together(records: Sequence[Record], name: str) -> list[Any]:
    """The different values of a field, in the order in which they come."""
    found: list[Any] = []
    for record in records:
        if record[name] not in found:
            found.append(record[name])
    return found
