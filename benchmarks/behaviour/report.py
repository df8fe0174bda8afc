"""What all cells say together: mean and spread over seeds, and how sure the difference of two systems is."""

from __future__ import annotations

import json
import statistics
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.behaviour.score import bootstrap

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from benchmarks.behaviour.cells import Record

MEASURED = ("dev", "test", "fused", "attention", "mappers")
_SECOND_CHANNEL = (
    ("two", "bipartite"),
    ("two+pretraining", "bipartite+pretraining"),
    ("two+dropedge", "bipartite+dropedge"),
    ("two+pretraining+dropedge", "bipartite+pretraining+dropedge"),
)


def collect(folder: Path) -> dict[str, Any]:
    """The records in ``folder``, a row for each system on each data set."""
    records = [json.loads(path.read_bytes()) for path in sorted(folder.glob("*.json"))]
    groups: dict[tuple[str, str], list[Record]] = {}
    for record in records:
        groups.setdefault((record["data"], record["system"]), []).append(record)
    systems = {key: _row(group) for key, group in sorted(groups.items())}
    return {
        "benchmark": "behaviour",
        "command": "python -m benchmarks.behaviour --data … --work …",
        "cells": len(records),
        "measured": max((record["measured"] for record in records), default=None),
        **{
            plural: _distinct(records, name)
            for plural, name in (
                ("commits", "commit"),
                ("generators", "generator"),
                ("machines", "machine"),
                ("versions", "versions"),
                ("threads", "threads"),
            )
        },
        "graphs": {record["data"]: record["graph"] for record in records},
        "systems": list(systems.values()),
        "gains": [
            {**gain, "tail": _tail_gain(systems[data, better], systems[data, than])}
            for data in dict.fromkeys(data for data, _ in sorted(groups))
            for better, than in _SECOND_CHANNEL
            if (gain := _gain(folder, data, better, than)) is not None
        ],
    }


def _row(records: Sequence[Record]) -> Record:
    """One system's records, one for each seed, as one."""
    first = records[0]
    return {
        "data": first["data"],
        "system": first["system"],
        "seeds": sorted(record["seed"] for record in records),
        "seconds": merged([record["seconds"] for record in records]),
        **{part: merged([record[part] for record in records]) for part in MEASURED if first.get(part)},
    }


def merged(parts: Sequence[Any]) -> Any:
    """Nested figures of the same shape, each replaced by its mean and spread; counts stay what they are."""
    if isinstance(parts[0], dict):
        return {key: merged([part[key] for part in parts]) for key in parts[0]}
    if isinstance(parts[0], int) and len(set(parts)) == 1:
        return parts[0]
    return {"mean": statistics.fmean(parts), "std": statistics.stdev(parts) if len(parts) > 1 else None}


def _gain(folder: Path, data: str, better: str, than: str) -> Record | None:
    """What the second channel brings on new test pairs, seeds averaged, with what the bootstrap over queries leaves."""
    found = [
        [np.load(path, allow_pickle=False) for path in sorted(folder.glob(f"{data}-{system}-s?.npz"))]
        for system in (better, than)
    ]
    if not found[0] or len(found[0]) != len(found[1]):
        return None
    query = found[0][0]["query"]
    ranks = [np.stack([part["ranks"] for part in parts]) for parts in found]
    measures = {"MRR": 1.0 / np.array(ranks), "Recall@10": (np.array(ranks) <= 10).astype(np.float64)}
    told: Record = {"data": data, "system": better, "than": than, "seeds": len(found[0])}
    for name, values in measures.items():
        mine, theirs = values.mean(axis=1)
        low, high = bootstrap(mine - theirs, query)
        told[name] = {
            "relative": float(mine.mean() / theirs.mean() - 1.0),
            "difference": float((mine - theirs).mean()),
            "95 %": [low, high],
        }
    return told


def _tail_gain(better: Record, than: Record) -> dict[str, float]:
    """By what part the figures of new pairs with tail products are higher, seeds averaged."""
    mine, theirs = (row["test"]["new"]["products"]["tail"] for row in (better, than))
    return {
        name: mine[name]["mean"] / theirs[name]["mean"] - 1.0 for name in ("MRR", "Recall@10") if theirs[name]["mean"]
    }


def _distinct(records: Sequence[Record], name: str) -> list[Any]:
    found: list[Any] = []
    for record in records:
        if record[name] not in found:
            found.append(record[name])
    return found
