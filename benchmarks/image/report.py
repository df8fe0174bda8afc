"""What all cells say together: mean and spread over seeds for every system, and HPL beside its base loss."""

from __future__ import annotations

import json
import statistics
from typing import TYPE_CHECKING, Any

from benchmarks.compare.report import PROVENANCE, merged, spread, together
from benchmarks.image.systems import BASES, SURFACES

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from benchmarks.image.cells import Record

PARTS = ("seen", "unseen")
COMPARED = ("R@1", "MAP@R")


def collect(folder: Path) -> dict[str, Any]:
    """The records in ``folder``: a row for each system and surface, and what HPL gained in each pairing."""
    records = [json.loads(path.read_bytes()) for path in sorted(folder.glob("*.json"))]
    groups: dict[tuple[str, str], list[Record]] = {}
    for record in records:
        groups.setdefault((record["system"], record["surface"]), []).append(record)
    return {
        "benchmark": "image",
        "command": "python -m benchmarks.image --data …",
        "cells": len(records),
        "stages": sorted({record["stage"] for record in records}),
        "measured": max((record["measured"] for record in records), default=None),
        **{plural: together(records, name) for plural, name in PROVENANCE.items()},
        "systems": [_row(groups[key]) for key in sorted(groups)],
        "gains": [
            gain
            for surface in SURFACES
            for base in BASES
            for tree in ("given", "learnt")
            if (gain := _gain(groups, surface, base, tree)) is not None
        ],
    }


def _row(records: Sequence[Record]) -> Record:
    first = records[0]
    return {
        "system": first["system"],
        "surface": first["surface"],
        "seeds": sorted(record["seed"] for record in records),
        "core_seconds": spread([record["core_seconds"] for record in records]),
        **{part: merged([record[part] for record in records]) for part in PARTS},
    }


def _gain(groups: dict[tuple[str, str], list[Record]], surface: str, base: str, tree: str) -> Record | None:
    """What HPL has over its base loss, seed by seed; None where no seed has both."""
    flat = {record["seed"]: record for record in groups.get((f"{base}-flat", surface), ())}
    deep = {record["seed"]: record for record in groups.get((f"{base}-{tree}", surface), ())}
    seeds = sorted(flat.keys() & deep.keys())
    if not seeds:
        return None
    found: Record = {"base": base, "tree": tree, "surface": surface, "seeds": seeds}
    for part in PARTS:
        found[part] = {}
        for measure in COMPARED:
            differences = [deep[seed][part][measure] - flat[seed][part][measure] for seed in seeds]
            found[part][measure] = {**spread(differences), "ahead": statistics.fmean(differences) > 0}
        for level in ("level1", "level2"):
            differences = [deep[seed][part]["mistakes"][level] - flat[seed][part]["mistakes"][level] for seed in seeds]
            found[part][f"mistakes in the right {level}"] = {
                **spread(differences),
                "ahead": statistics.fmean(differences) > 0,
            }
    return found
